/*
 * The agent's door to the world, on libuv. What came in during a turn of the loop is given to the
 * agent, which only gathers; host_turn_end lets the bytes leave.
 *
 * Fault model: killed at any instruction; what was prepared waits in the database for the next
 * agent (R6), what was not is rolled back by the server when the connection ends.
 */
#include "participant/host/host.h"

#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "common/uv/net.h"
#include "common/uv/pulse.h"
#include "common/uv/say.h"

/* What the agent knows as its env. */
struct as_env {
    struct pulse pulse;
    struct net *net;
    struct pg *pg;
    struct agent *agent;
    struct host_link link;
    uint64_t linked; /* the connection that goes over the link; 0: none does */
    uint32_t participant_count;
    bool *up; /* each of them; owned */
    void (*fatal)(const char *why);
};

struct host {
    struct as_env env;
};

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

    agent_on_timer(env->agent);
}

/* --- Sessions with nodes --- */

static void env_net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    if (env->link.dial && strcmp(address, HOST_LINK_ADDRESS) == 0) {
        env->linked = connection;
        env->link.dial(env->link.ctx, connection);
    } else {
        net_dial(env->net, connection, address);
    }
}

static void env_net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    if (connection == env->linked)
        env->link.send(env->link.ctx, connection, bytes);
    else
        net_send(env->net, connection, bytes);
}

static void env_net_close(struct as_env *env, uint64_t connection)
{
    if (connection == env->linked) {
        env->linked = 0;
        env->link.close(env->link.ctx, connection);
    } else {
        net_close(env->net, connection);
    }
}

/* The node in this process has no certificate, and needs none. */
static const struct as_principal *env_net_principal(struct as_env *env, uint64_t connection)
{
    return connection == env->linked ? NULL : net_principal(env->net, connection);
}

static void on_connected(void *ctx, uint64_t connection)
{
    struct as_env *env = ctx;

    agent_on_connected(env->agent, connection);
}

static void on_bytes(void *ctx, uint64_t connection, struct as_bytes bytes)
{
    struct as_env *env = ctx;

    agent_on_bytes(env->agent, connection, bytes);
}

static void on_closed(void *ctx, uint64_t connection, as_err err)
{
    struct as_env *env = ctx;

    agent_on_closed(env->agent, connection, err);
}

void host_on_connected(struct host *host, uint64_t connection)
{
    if (connection == host->env.linked)
        on_connected(&host->env, connection);
}

void host_on_bytes(struct host *host, uint64_t connection, struct as_bytes bytes)
{
    if (connection == host->env.linked)
        on_bytes(&host->env, connection, bytes);
}

void host_on_closed(struct host *host, uint64_t connection, as_err err)
{
    if (connection != host->env.linked)
        return;
    host->env.linked = 0;
    on_closed(&host->env, connection, err);
}

/* --- PostgreSQL --- */

static void env_pg_start(struct as_env *env, const struct as_pg_op *op)
{
    pg_start(env->pg, op);
}

static void env_pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    pg_cancel(env->pg, participant, op_id);
}

static void on_pg_up(void *ctx, const struct as_pg_up *up)
{
    struct as_env *env = ctx;

    env->up[up->participant] = true;
    agent_on_pg_up(env->agent, up);
}

static void on_pg_down(void *ctx, uint32_t participant, const char *why)
{
    struct as_env *env = ctx;

    env->up[participant] = false;
    agent_on_pg_down(env->agent, participant, why);
}

static void on_pg_done(void *ctx, const struct as_pg_done *done)
{
    struct as_env *env = ctx;

    agent_on_pg_done(env->agent, done);
}

/* --- The rest of the door --- */

static void env_disk_start(struct as_env *env, const struct as_disk_op *op)
{
    (void)env;
    (void)op;
    AS_ASSERT(false); /* an agent has no log */
}

static void env_client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    (void)env;
    (void)client;
    (void)reply;
    AS_ASSERT(false); /* an agent has no clients */
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    (void)env;
    say_trace(trace);
}

static void env_fatal(struct as_env *env, const char *why)
{
    env->fatal(why);
}

static const struct as_env_ops env_ops = {
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
    .pg_start = env_pg_start,
    .pg_cancel = env_pg_cancel,
    .trace = env_trace,
    .fatal = env_fatal,
};

/* --- Opening and closing --- */

static as_err open_agent(struct as_env *env, const struct agent_config *given,
                         const struct host_participants *participants)
{
    struct agent_participant_config *list = as_alloc_zero(participants->count, sizeof(*list));
    struct agent_config config = *given;
    as_err err;

    if (!list)
        return AS_ERR_NOMEM;
    host_participants_agent(participants, list);
    config.participants = list;
    config.participant_count = participants->count;
    err = agent_new(&env->agent, &config, env, &env_ops);
    as_free(list);
    return err;
}

static as_err open_operations(struct host *host, const struct host_participants *participants,
                              char ret_error[512])
{
    struct operations **list = as_alloc_zero(participants->count, sizeof(*list));
    as_err err = AS_ERR_NOMEM;

    snprintf(ret_error, 512, "out of memory");
    if (list)
        err = host_participants_operations(participants, list, ret_error);
    for (uint32_t i = 0; !err && i < participants->count; i++)
        agent_operations(host->env.agent, i, list[i]);
    as_free(list);
    return err;
}

bool host_reload(struct host *host, const struct host_participants *participants)
{
    bool any = false;
    char why[512];

    for (uint32_t i = 0; i < participants->count; i++)
        any |= participants->list[i].operations[0] != '\0';
    if (!any)
        return false;
    if (open_operations(host, participants, why))
        say(AS_TRACE_ALARM, "operations_not_reloaded", "why", why, "text",
            "the operations loaded before stay in use", NULL);
    else
        say(AS_TRACE_INFO, "operations_reloaded", NULL);
    return true;
}

static as_err open_pg(struct as_env *env, uv_loop_t *loop, const char *cluster,
                      const struct host_participants *participants)
{
    const struct pg_callbacks callbacks = {env, on_pg_up, on_pg_down, on_pg_done};
    struct pg_participant_config *list = as_alloc_zero(participants->count, sizeof(*list));
    struct pg_config config = {.participant_count = participants->count, .participants = list};
    as_err err;

    if (!list)
        return AS_ERR_NOMEM;
    memcpy(config.cluster, cluster, sizeof(config.cluster));
    host_participants_pg(participants, list);
    err = pg_new(&env->pg, &config, loop, &callbacks);
    as_free(list);
    return err;
}

as_err host_open(struct host **ret_host, uv_loop_t *loop, const struct agent_config *config,
                 const struct host_participants *participants, const struct host_link *link,
                 struct tls_credentials *credentials, void (*fatal)(const char *why))
{
    struct host *host = as_alloc_zero(1, sizeof(*host));
    struct net_callbacks callbacks = {NULL, NULL, on_connected, on_bytes, on_closed};
    struct as_env *env;
    char why[512];
    as_err err;

    if (!host)
        return AS_ERR_NOMEM;
    env = &host->env;
    env->fatal = fatal;
    env->participant_count = participants->count;
    env->up = as_alloc_zero(participants->count, sizeof(*env->up));
    if (!env->up) {
        as_free(host);
        return AS_ERR_NOMEM;
    }
    if (link)
        env->link = *link;
    callbacks.ctx = env;
    err = pulse_init(&env->pulse, loop, on_beat, env);
    if (err) {
        as_free(env->up);
        as_free(host);
        return err;
    }
    err = net_new(&env->net, loop, &callbacks);
    if (!err && credentials)
        net_tls(env->net, credentials);
    if (!err)
        err = open_agent(env, config, participants);
    if (!err) {
        err = open_operations(host, participants, why);
        if (err)
            say(AS_TRACE_ALARM, "operations_not_loaded", "why", why, NULL);
    }
    if (!err)
        err = open_pg(env, loop, config->cluster, participants);
    if (err) {
        host_free(host);
        return err;
    }
    agent_start(env->agent);
    *ret_host = host;
    return AS_OK;
}

uint32_t host_up_count(const struct host *host)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < host->env.participant_count; i++)
        count += host->env.up[i];
    return count;
}

void host_tls(struct host *host, struct tls_credentials *credentials)
{
    net_tls(host->env.net, credentials);
}

void host_turn_end(struct host *host)
{
    net_flush(host->env.net);
    pg_flush(host->env.pg);
    pulse_turn(&host->env.pulse);
}

bool host_drain(struct host *host)
{
    return agent_drain(host->env.agent);
}

void host_close(struct host *host, void (*closed)(void *ctx), void *ctx)
{
    pg_close(host->env.pg, closed, ctx);
}

static void on_pulse_closed(uv_handle_t *handle)
{
    struct pulse *pulse = handle->data;

    as_free((char *)pulse - offsetof(struct host, env.pulse));
}

void host_free(struct host *host)
{
    if (!host)
        return;
    pg_free(host->env.pg);
    net_free(host->env.net);
    agent_free(host->env.agent);
    as_free(host->env.up);
    uv_close((uv_handle_t *)&host->env.pulse.timer, on_pulse_closed);
}
