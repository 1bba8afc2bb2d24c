/*
 * One seed: a time of faults, then everything heals, and all must come to its end.
 */
#include "observe.h"
#include "sim.h"

#define SETTLE_MAX (180 * AS_SECOND)
#define SETTLE_LOOK (100 * AS_MS)
#define HAND_OVER_MAX (10 * AS_SECOND)
#define STEPS_MAX 5000000

static void run_until(struct sim *sim, as_time until)
{
    while (sim_step(sim, until))
        SIM_CHECK(sim, "settled", sim->steps < STEPS_MAX, "it does not come to an end");
}

static void settle(struct sim *sim)
{
    as_time limit = sim->now + SETTLE_MAX;
    const char *why;

    while ((why = observe_unsettled(sim)) != NULL) {
        SIM_CHECK(sim, "settled", sim->now < limit, "%.0f s after healing %s",
                  (double)SETTLE_MAX / (double)AS_SECOND, why);
        run_until(sim, sim->now + SETTLE_LOOK);
    }
}

static void build(struct sim *sim)
{
    sim->node_count = sim->plan.nodes + sim->plan.spares;
    sim->proc_count = sim->node_count + sim->plan.agents;
    sim->lone = sim->node_count == 1 && !sim->plan.on[SIM_NODE_WIPE];
    sim->id_last = sim->node_count;
    net_open(sim);
    observe_open(sim);
    storm_start(sim);
    dbs_open(sim);
    for (uint32_t p = 0; p < sim->proc_count; p++)
        proc_init(sim, &sim->procs[p], p, p < sim->node_count);
    for (uint32_t p = 0; p < sim->proc_count; p++) {
        if (p < sim->node_count)
            node_proc_boot(&sim->procs[p]);
        else
            agent_proc_boot(&sim->procs[p]);
    }
    clients_start(sim);
    faults_start(sim);
    operator_start(sim);
}

static void tear_down(struct sim *sim)
{
    for (uint32_t p = 0; p < sim->proc_count; p++) {
        struct as_env *env = &sim->procs[p];

        env->dying = true;
        if (env->is_node) {
            node_proc_stop(env);
            disk_free(env);
        } else {
            agent_proc_stop(env);
        }
    }
    net_close_all(sim);
    sim_close(sim);
}

uint64_t sim_run(struct sim *sim, uint64_t seed, int verbose)
{
    sim_open(sim, seed, verbose);
    build(sim);
    run_until(sim, sim->plan.duration);
    faults_heal(sim);
    if (sim->full) {
        run_until(sim, sim->now + HAND_OVER_MAX);
        rule_full_handed_over(sim);
        faults_space(sim);
    }
    settle(sim);
    clients_ask_all(sim);
    settle(sim);
    observe_end(sim);
    SIM_SAY(sim, 1, "the end: %llu events, trace %016llx", (unsigned long long)sim->steps,
            (unsigned long long)sim->hash);
    tear_down(sim);
    return sim->hash;
}
