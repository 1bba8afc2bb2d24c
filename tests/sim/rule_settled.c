/*
 * After healing everything comes to its end: nothing is undecided, unfinished, prepared, or waits for an answer.
 */
#include "coordinator/node/internal.h"
#include "observe.h"
#include "oracle.h"

static const char *node_unsettled(const struct as_env *env)
{
    struct txn_counts counts;
    struct node_info info;

    if (!env->up || env->turn_due)
        return "a node is not up";
    node_info(env->node, &info);
    if (!info.leading)
        return "a node does not lead";
    if (info.applied_index != info.last_index)
        return "a node's log has entries that are not applied";
    txn_count(env->node->txn, &counts);
    return counts.undecided    ? "an attempt is undecided"
           : counts.unfinished ? "a committed transaction is not finished"
           : counts.heuristic  ? "a heuristic outcome is not acknowledged"
                               : NULL;
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
    const char *why = NULL;

    for (uint32_t p = 0; p < sim->proc_count && !why; p++)
        why = sim->procs[p].is_node ? node_unsettled(&sim->procs[p])
                                    : agent_unsettled(&sim->procs[p]);
    for (uint32_t d = 0; d < sim->plan.dbs && !why; d++)
        why = db_prepared_count(&sim->dbs[d]) ? "a branch is prepared" : NULL;
    return why ? why : clients_waiting(sim) ? "a client waits for its answer" : NULL;
}
