/*
 * An agent process.
 */
#include "db.h"
#include "sim.h"

void agent_proc_boot(struct as_env *env)
{
    struct sim *sim = env->sim;
    uint32_t index = env->proc - sim->node_count;
    struct agent_participant_config participants[SIM_DBS_MAX];
    struct agent_config config = {
        .cluster = SIM_CLUSTER, .node_count = sim->node_count, .participants = participants};
    as_err err;

    memset(participants, 0, sizeof participants);
    env->views = sim_alloc(sim, SIM_DBS_MAX * sizeof *env->views);
    env->view_count = 0;
    for (uint32_t db = 0; db < sim->plan.dbs; db++) {
        if (!sim->plan.serves[index][db])
            continue;
        env->views[env->view_count] =
            (struct sim_view){.agent = env, .db = &sim->dbs[db], .index = env->view_count};
        snprintf(participants[env->view_count].name, sizeof participants[0].name, "%s",
                 sim->dbs[db].name);
        participants[env->view_count].queue_max = 8;
        env->view_count++;
    }
    config.participant_count = env->view_count;
    snprintf(config.name, sizeof config.name, "%s", env->name);
    for (uint32_t i = 0; i < sim->node_count; i++)
        snprintf(config.nodes[i], sizeof config.nodes[i], "node%u", i);
    env->up = true;
    SIM_SAY(sim, 1, "%s starts", env->name);
    err = agent_new(&env->agent, &config, env, &sim_env_ops);
    AS_ASSERT(!err);
    agent_start(env->agent);
    pg_views_start(env);
    proc_after(env);
}

void agent_proc_stop(struct as_env *env)
{
    agent_free(env->agent);
    env->agent = NULL;
}
