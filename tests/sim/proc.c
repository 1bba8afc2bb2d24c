/*
 * A process: its clock, its timer, its turns and its death; and `struct as_env_ops`, the door through which
 * node and agent act on the world.
 *
 * A turn is as in the shells: what came in is handled at once, and what follows (a log write, frames) leaves at
 * the end of the turn, a little later, together with what came in meanwhile.
 */
#include "db.h"
#include "observe.h"
#include "sim.h"

bool proc_alive(const struct as_env *env)
{
    return env->up && !env->dying;
}

/* --- The clock: of its own origin, and it drifts --- */

as_time proc_local(const struct as_env *env)
{
    as_time now = env->sim->now;

    return env->clock_base + now + now / 1000000 * env->drift_ppm;
}

static as_time until_local(const struct as_env *env, as_time at)
{
    as_time left = at - proc_local(env);

    return left <= 0 ? 0 : left - left / 1000000 * env->drift_ppm;
}

static as_time env_now(struct as_env *env)
{
    return proc_local(env);
}

static int64_t env_wall_ms(struct as_env *env)
{
    return env->wall_base_ms + proc_local(env) / AS_MS;
}

static uint64_t env_random(struct as_env *env)
{
    return as_rng_next(&env->sim->rng) | 1;
}

/* --- The timer --- */

static void timer_fires(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->proc;

    env->timer = NULL;
    sim_mix(sim, 't', env->proc);
    if (env->is_node)
        node_on_timer(env->node);
    else
        agent_on_timer(env->agent);
    proc_after(env);
}

/* A little late, as every timer; the drift's rounding never makes it early. */
static void env_timer_arm(struct as_env *env, as_time at)
{
    struct sim *sim = env->sim;

    if (env->timer)
        sim_cancel(sim, env->timer);
    env->timer = NULL;
    if (at == AS_NEVER || env->dying)
        return;
    env->timer = sim_at(sim, sim->now + until_local(env, at) + sim_between(sim, 2 * AS_US, AS_MS),
                        env, timer_fires, NULL, 0, 0);
}

/* --- Turns --- */

static void turn_ends(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->proc;

    (void)sim;
    env->turn_due = false;
    if (env->is_node)
        node_proc_turn(env);
    if (env->dying)
        proc_after(env);
    else
        net_flush(env);
}

void proc_after(struct as_env *env)
{
    struct sim *sim = env->sim;

    if (env->dying) {
        proc_crash(env, false);
        return;
    }
    if (!env->up || env->turn_due)
        return;
    env->turn_due = true;
    sim_at(sim, sim->now + sim_latency(sim, sim->plan.turn_max), env, turn_ends, NULL, 0, 0);
}

/* --- Birth and death --- */

void proc_init(struct sim *sim, struct as_env *env, uint32_t proc, bool is_node)
{
    int64_t drift = (int64_t)sim->plan.drift_ppm_max;

    *env = (struct as_env){.sim = sim,
                           .proc = proc,
                           .is_node = is_node,
                           .connection_last = 1, /* even ones are the diallers' */
                           .clock_base = sim_between(sim, AS_SECOND, 100000 * AS_SECOND),
                           .drift_ppm = sim_between(sim, -drift, drift)};
    env->id = proc + 1;
    env->joins = is_node && proc >= sim->plan.nodes;
    env->wall_base_ms = 1700000000000 - env->clock_base / AS_MS;
    snprintf(env->name, sizeof env->name, "%s%u", is_node ? "node" : "agent",
             is_node ? proc : proc - sim->node_count);
}

static void boots(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->what;

    (void)sim;
    if (env->up || env->life != event->a)
        return;
    if (env->is_node)
        node_proc_boot(env);
    else
        agent_proc_boot(env);
}

void proc_boot_at(struct as_env *env, as_time at)
{
    sim_at(env->sim, at, NULL, boots, env, env->life, 0);
}

void proc_crash(struct as_env *env, bool power)
{
    struct sim *sim = env->sim;

    if (!env->up)
        return;
    SIM_SAY(sim, 1, "%s dies%s", env->name, power ? ", and its power is cut" : "");
    sim_mix(sim, 'x', env->proc);
    sim->counts.crashes++;
    env->up = env->dying = env->turn_due = false;
    env->timer = env->held = NULL;
    env->life++;
    env->paused_until = 0;
    net_proc_died(env);
    if (env->is_node) {
        disk_died(env, power);
        node_proc_stop(env);
        clients_node_died(env);
    } else {
        pg_agent_died(env);
        observe_agent_died(env);
        agent_proc_stop(env);
    }
    proc_boot_at(env, sim->now + sim_latency(sim, sim->healed ? 500 * AS_MS : sim->plan.restart));
}

/* --- The door --- */

static void env_net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    if (!env->dying)
        net_dial(env, connection, address);
}

static void env_net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    if (env->dying)
        return;
    observe_sent(env, connection, bytes);
    net_send(env, connection, bytes);
}

static void env_net_close(struct as_env *env, uint64_t connection)
{
    if (!env->dying)
        net_close(env, connection);
}

static void env_disk_start(struct as_env *env, const struct as_disk_op *op)
{
    if (!env->dying)
        disk_start(env, op);
}

static void env_client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    if (!env->dying)
        client_reply(env, client, reply);
}

static void env_forwarded(struct as_env *env, uint64_t forward, struct as_bytes request)
{
    if (!env->dying)
        pass_arrives(env, forward, request);
}

static void env_forward_done(struct as_env *env, uint64_t client, as_err err, struct as_bytes reply)
{
    if (!env->dying)
        pass_done(env, client, err, reply);
}

static void env_pg_start(struct as_env *env, const struct as_pg_op *op)
{
    if (!env->dying)
        pg_start(env, op);
}

static void env_pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    if (!env->dying)
        pg_cancel(env, participant, op_id);
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    SIM_SAY(env->sim, as_trace_level_of(trace->kind) == AS_TRACE_DEBUG ? 2 : 1,
            "%s: %s %llu %llu.%llu/%u %s %s%s%s", env->name, as_trace_name(trace->kind),
            (unsigned long long)trace->number, (unsigned long long)trace->attempt.term,
            (unsigned long long)trace->attempt.seq, trace->branch, trace->id ? trace->id : "",
            trace->name ? trace->name : "", trace->detail ? ": " : "",
            trace->detail ? trace->detail : "");
    sim_mix(env->sim, (uint64_t)trace->kind, trace->attempt.seq);
    if (env->is_node)
        observe_trace(env, trace);
}

static void env_fatal(struct as_env *env, const char *why)
{
    SIM_SAY(env->sim, 1, "%s ends: %s", env->name, why);
    SIM_CHECK(env->sim, "fatal", env->is_node && disk_failed(env),
              "%s ends without a failed disk operation: %s", env->name, why);
    env->dying = true;
}

const struct as_env_ops sim_env_ops = {
    .now = env_now,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .timer_arm = env_timer_arm,
    .net_dial = env_net_dial,
    .net_send = env_net_send,
    .net_close = env_net_close,
    .disk_start = env_disk_start,
    .client_reply = env_client_reply,
    .forwarded = env_forwarded,
    .forward_done = env_forward_done,
    .pg_start = env_pg_start,
    .pg_cancel = env_pg_cancel,
    .trace = env_trace,
    .fatal = env_fatal,
};
