/*
 * The node's door to the world, on libuv. Fault model: include/assent/env.h. A failed sync ends the
 * process with exit code 70 (EX_SOFTWARE): it is never retried.
 *
 * A turn of the loop: what came in is given to the node and the API, which only gather;
 * env_turn_end then writes to the log, the agents and the clients, each once.
 */
#include "coordinator/shell/env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assent/crash.h"
#include "common/uv/say.h"

#define EXIT_FATAL 70
/* On a disk slower than this the loop must not wait for it: others would. */
#define IN_PLACE_NS_MAX (500 * AS_US)
#define PASSES_MAX 3

_Noreturn void env_end_process(const char *why)
{
    say(AS_TRACE_ALARM, "fatal", "why", why, NULL);
    _exit(EXIT_FATAL);
}

/* --- Time and chance --- */

static as_time env_now(struct as_env *env)
{
    return pulse_now(&env->pulse);
}

static int64_t env_wall_ms(struct as_env *env)
{
    return pulse_wall_ms(&env->pulse);
}

static uint64_t env_random(struct as_env *env)
{
    return pulse_random(&env->pulse);
}

static void env_timer_arm(struct as_env *env, as_time at)
{
    pulse_arm(&env->pulse, at);
}

static void on_beat(void *ctx)
{
    struct as_env *env = ctx;

    node_on_timer(env->node);
}

/* --- Connections of agents and nodes --- */

static void env_net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    env->stirred = true;
    net_dial(env->net, connection, address);
}

static void env_net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    env->stirred = true;
    if (!local_send(env->local, connection, bytes))
        net_send(env->net, connection, bytes);
}

static void env_net_close(struct as_env *env, uint64_t connection)
{
    env->stirred = true;
    if (!local_hang_up(env->local, connection))
        net_close(env->net, connection);
}

/* The link to the agent in this process has no certificates, and needs none. */
static const struct as_principal *env_net_principal(struct as_env *env, uint64_t connection)
{
    return local_owns(env->local, connection) ? NULL : net_principal(env->net, connection);
}

static void on_accepted(void *ctx, uint64_t connection, const char *peer)
{
    struct as_env *env = ctx;

    node_on_accepted(env->node, connection, peer);
}

static void on_connected(void *ctx, uint64_t connection)
{
    struct as_env *env = ctx;

    node_on_connected(env->node, connection);
}

static void on_bytes(void *ctx, uint64_t connection, struct as_bytes bytes)
{
    struct as_env *env = ctx;

    node_on_bytes(env->node, connection, bytes);
}

static void on_closed(void *ctx, uint64_t connection, as_err err)
{
    struct as_env *env = ctx;

    node_on_closed(env->node, connection, err);
}

const struct net_callbacks shell_net_callbacks = {NULL, on_accepted, on_connected, on_bytes,
                                                  on_closed};

/* --- The log's disk --- */

static void begin_op(struct as_env *env, const struct as_disk_op *op)
{
    if (disk_start(env->disk, op) != AS_OK)
        env_end_process("out of memory for a disk operation");
}

/* A WRITE waits for the end of the turn: only then is it known whether anything else can run
 * meanwhile. */
static void env_disk_start(struct as_env *env, const struct as_disk_op *op)
{
    env->stirred = true;
    if (op->kind == AS_DISK_WRITE && !env->holding) {
        env->held = *op;
        env->holding = true;
    } else {
        begin_op(env, op);
    }
}

/* Of the last writes, those in place and those of the helper thread alike. */
static void measure_sync(struct as_env *env)
{
    env->sync_ns += ((as_time)(uv_hrtime() - env->write_began) - env->sync_ns) / 8;
}

void env_on_disk_done(void *ctx, uint64_t ticket, as_err err)
{
    struct as_env *env = ctx;

    if (ticket == env->held.ticket)
        measure_sync(env);
    node_on_disk_done(env->node, ticket, err);
}

/*
 * One transaction in flight, and it waits for this write, here or at the leader: nothing else to do
 * meanwhile, so two wake-ups of threads are saved. With more of them, requests that arrive during
 * the sync are better read.
 */
static bool write_in_place(struct as_env *env)
{
    return env->sync_in_place && !disk_writing(env->disk) && env->sync_ns <= IN_PLACE_NS_MAX &&
           node_waits_for_log(env->node);
}

/* True if the write is done already, and the node has been told. */
static bool begin_held(struct as_env *env)
{
    as_err err;

    if (!env->holding)
        return false;
    env->holding = false;
    env->write_began = uv_hrtime();
    if (!write_in_place(env)) {
        begin_op(env, &env->held);
        return false;
    }
    local_turn_end(env->local);
    net_flush(env->net);
    err = disk_write_here(env->disk, &env->held);
    measure_sync(env);
    pulse_turn(&env->pulse); /* time has passed, and its end is an event like any other */
    node_on_disk_done(env->node, env->held.ticket, err);
    return true;
}

/* --- The rest --- */

static void env_client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    env->stirred = true;
    if (env->api) /* NULL: not listening yet, so nobody waits */
        api_reply(env->api, client, reply);
}

static void env_forwarded(struct as_env *env, uint64_t forward, struct as_bytes request)
{
    env->stirred = true; /* the end of the turn has something to do */
    if (env->api)
        api_forwarded(env->api, forward, request);
}

static void env_forward_done(struct as_env *env, uint64_t client, as_err err, struct as_bytes reply)
{
    env->stirred = true;
    if (env->api)
        api_forward_done(env->api, client, err, reply);
}

static void env_pg_start(struct as_env *env, const struct as_pg_op *op)
{
    (void)env;
    (void)op;
    AS_ASSERT(false); /* a node has no databases; its host has (local.c) */
}

static void env_pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    (void)env;
    (void)participant;
    (void)op_id;
    AS_ASSERT(false); /* a node has no databases */
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    (void)env;
    say_trace(trace);
}

static void env_fatal(struct as_env *env, const char *why)
{
    (void)env;
    env_end_process(why);
}

const struct as_env_ops shell_env_ops = {
    .now = env_now,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .timer_arm = env_timer_arm,
    .net_dial = env_net_dial,
    .net_send = env_net_send,
    .net_close = env_net_close,
    .net_principal = env_net_principal,
    .disk_start = env_disk_start,
    .client_reply = env_client_reply,
    .forwarded = env_forwarded,
    .forward_done = env_forward_done,
    .pg_start = env_pg_start,
    .pg_cancel = env_pg_cancel,
    .trace = env_trace,
    .fatal = env_fatal,
};

as_err env_init(struct as_env *env)
{
    return pulse_init(&env->pulse, &env->loop, on_beat, env);
}

/*
 * The order is one of speed only: the log's write is begun first, because it takes longest; then
 * agents and databases get their part, so that they work while the clients are answered. While
 * libmicrohttpd writes answers it also reads new requests: their branches leave in the same turn. A
 * crash anywhere here loses effects that the node may lose (architecture.md, the contract of a pure
 * core, 3).
 */
void env_turn_end(struct as_env *env)
{
    int pass = 0;

    do {
        do {
            while (local_turn(env->local)) {
            }
            node_turn_end(env->node);
        } while (begin_held(env) || local_turn(env->local));
        local_turn_end(env->local);
        net_flush(env->net);
        env->stirred = false;
        api_turn_end(env->api);
    } while (env->stirred && ++pass < PASSES_MAX);
    if (env->stirred)
        pulse_again(&env->pulse);
    else
        AS_CRASH_FLUSHED();
    pulse_turn(&env->pulse);
}
