/*
 * A coordinator process: opens its log, leads, runs, dies, and opens its log again.
 */
#include "observe.h"
#include "sim.h"

#define SEGMENT_BYTES 65536

static struct node_config config_of(struct as_env *env)
{
    const struct sim_plan *plan = &env->sim->plan;
    struct node_config config = {
        .log = {.cluster = SIM_CLUSTER,
                .incarnation = SIM_INCARNATION,
                .node = env->id,
                .segment_bytes = SEGMENT_BYTES},
        .txn = {.seed = as_rng_next(&env->sim->rng) | 1,
                .outcomes_max = plan->outcomes_max,
                .retention_ms = plan->retention_ms,
                .committed_bytes_max = plan->committed_bytes_max,
                .resend_first_ms = plan->resend_first_ms,
                .resend_max_ms = plan->resend_max_ms,
                .lazy_ms = plan->lazy_ms},
        .snapshot_bytes = plan->snapshot_bytes,
        .raft = {.members = {.count = env->joins ? 0 : plan->nodes},
                 .message_bytes = plan->message_bytes,
                 .window_entries = plan->window_entries,
                 .caught_up_entries = plan->caught_up_entries,
                 .tail_keep_bytes = plan->tail_keep_bytes},
        .joins = env->joins,
    };

    for (uint32_t i = 0; i < config.raft.members.count; i++) {
        struct raft_member *member = &config.raft.members.list[i];

        member->id = i + 1;
        member->role = RAFT_VOTER;
        snprintf(member->address, sizeof member->address, "node%u", i);
    }
    return config;
}

static void boots_again(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->what;

    (void)sim;
    if (!env->up && env->life == event->a)
        node_proc_boot(env);
}

/* It did not open. A rotten log must not; otherwise the process died on the way, or its disk failed. */
static void not_opened(struct as_env *env, as_err err, const struct log_report *report)
{
    struct sim *sim = env->sim;
    bool failed = disk_failed(env);

    SIM_SAY(sim, 1, "%s does not open: %s; %s", env->name, as_err_text(err), report->detail);
    env->up = env->dying = false;
    env->life++;
    if (env->rotten) { /* a backup is put back */
        SIM_CHECK(sim, "log", failed || err == AS_ERR_CORRUPT, "a rotten log was answered with: %s",
                  as_err_text(err));
        disk_unrot(env);
        env->rotten = false;
    } else {
        SIM_CHECK(sim, "log", failed, "%s cannot open its own log: %s; %s", env->name,
                  as_err_text(err), report->detail);
    }
    disk_died(env, failed && sim_percent(sim, 50));
    sim_at(sim, sim->now + sim_latency(sim, 2 * AS_SECOND), NULL, boots_again, env, env->life, 0);
}

void node_proc_boot(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct node_config config = config_of(env);
    struct log_report report = {.detail = ""};
    struct as_disk door;
    as_err err = AS_OK;

    if (!env->born) {
        if (!env->disk)
            disk_new(env);
        disk_fill(env, false);
        (void)disk_failed(env);
        env->born = true;
        door = disk_door(env);
        err = log_bootstrap(&config.log, &door);
        AS_ASSERT(!err);
    } else if (sim_strikes_in(sim, SIM_NODE_OPEN, 40)) {
        disk_fail_soon(env, AS_ERR_IO, sim_below(sim, 40));
    }
    env->up = true;
    door = disk_door(env);
    err = node_open(&env->node, &config, &door, env, &sim_env_ops, &report);
    sim_mix(sim, 'o', (uint64_t)err);
    if (err) {
        env->node = NULL;
        not_opened(env, err, &report);
        return;
    }
    SIM_CHECK(sim, "log", !env->rotten, "%s has opened a log with a flipped bit in it", env->name);
    (void)disk_failed(env);
    SIM_SAY(sim, 1, "%s starts: %llu records, %llu bytes cut", env->name,
            (unsigned long long)report.records, (unsigned long long)report.cut_bytes);
    observe_opened(env);
    node_start(env->node);
    proc_after(env);
}

void node_proc_stop(struct as_env *env)
{
    node_free(env->node);
    env->node = NULL;
}

/* As in coordinator/shell/env.c: where nothing else could run meanwhile, the log syncs in place. */
void node_proc_turn(struct as_env *env)
{
    for (;;) {
        node_turn_end(env->node);
        if (env->dying || !env->held || !env->sim->plan.in_place || !node_waits_for_log(env->node))
            break;
        net_flush(env);
        disk_write_here(env);
    }
    env->held = NULL;
}
