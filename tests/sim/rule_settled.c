/*
 * After healing everything comes to its end: nothing is undecided, unfinished, prepared, or waits for an answer.
 */
#include "coordinator/node/internal.h"
#include "observe.h"
#include "oracle.h"

static const char *leader_unsettled(const struct as_env *env)
{
    struct txn_counts counts;

    txn_count(env->node->txn, &counts);
    return counts.undecided    ? "an attempt is undecided"
           : counts.unfinished ? "a committed transaction is not finished"
           : counts.heuristic  ? "a heuristic outcome is not acknowledged"
                               : NULL;
}

static const char *nodes_unsettled(const struct sim *sim)
{
    static char why[160];
    const struct as_env *leader = NULL;
    struct node_info info;
    uint64_t last;

    if (members_unsettled(sim))
        return members_unsettled(sim);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!members_has(sim, &sim->procs[i]))
            continue; /* it may know of nothing any more */
        if (!sim->procs[i].up || sim->procs[i].turn_due)
            return "a node is not up";
        node_info(sim->procs[i].node, &info);
        if (info.leading && leader)
            return "two nodes lead";
        if (info.leading)
            leader = &sim->procs[i];
    }
    if (!leader)
        return "no node leads";
    node_info(leader->node, &info);
    last = info.last_index;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!members_has(sim, &sim->procs[i]))
            continue;
        node_info(sim->procs[i].node, &info);
        if (info.applied_index != last || info.last_index != last || info.persisted_index != last) {
            snprintf(why, sizeof why,
                     "%s has applied %llu of %llu (persisted %llu); the leader has %llu",
                     sim->procs[i].name, (unsigned long long)info.applied_index,
                     (unsigned long long)info.last_index, (unsigned long long)info.persisted_index,
                     (unsigned long long)last);
            return why;
        }
    }
    return leader_unsettled(leader);
}

static const char *agent_unsettled(const struct as_env *env)
{
    struct agent_counts counts;

    if (!env->up)
        return "an agent is not up";
    agent_count(env->agent, &counts);
    for (uint32_t i = 0; i < env->view_count; i++) {
        if (!env->views[i].up)
            return "an agent is not connected to its database";
    }
    return counts.branches ? "an agent has a branch" : NULL;
}

const char *rule_settled(struct sim *sim)
{
    const char *why = nodes_unsettled(sim);

    for (uint32_t p = sim->node_count; p < sim->proc_count && !why; p++)
        why = agent_unsettled(&sim->procs[p]);
    for (uint32_t d = 0; d < sim->plan.dbs && !why; d++)
        why = db_prepared_count(&sim->dbs[d]) ? "a branch is prepared" : NULL;
    return why ? why : clients_waiting(sim) ? "a client waits for its answer" : NULL;
}
