/*
 * The log holds what was durable, across every crash; and replaying it gives the table that the node has.
 */
#include "coordinator/node/internal.h"
#include "observe.h"
#include "oracle.h"

/* What a COMMIT that did not become durable said is over: whoever asks is told abort now. */
static void forget_proposals(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->attempt_count; i++)
        sim->attempts[i]->proposed = sim->attempts[i]->durable;
}

void rule_log_opened(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct as_txn_view view;

    forget_proposals(sim);
    for (uint32_t i = 0; i < sim->attempt_count; i++) {
        const struct sim_attempt *attempt = sim->attempts[i];
        as_err err;

        if (!attempt->durable || !rule_r9_kept(sim, attempt))
            continue;
        err = txn_view(env->node->txn, attempt->txn->id, &view);
        SIM_CHECK(sim, "durability",
                  !err && view.state == AS_TXN_COMMITTED &&
                      as_attempt_equal(view.attempt, attempt->attempt),
                  "%s (%llu.%llu) was durably committed, and %s has lost it in a restart",
                  ATTEMPT_ARGS(attempt), env->name);
    }
}

static void replay(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct as_env mirror = {.sim = sim, .is_node = true, .name = "a copy", .proc = env->proc};
    struct node_config config = env->node->config;
    struct log_report report;
    struct node *node;
    struct as_disk door;
    as_err err;

    disk_copy(&mirror, env);
    door = disk_door(&mirror);
    config.txn.seed = 12345; /* the table does not depend on it */
    err = node_open(&node, &config, &door, &mirror, &sim_env_ops, &report);
    SIM_CHECK(sim, "log", !err, "a copy of the log of %s does not open: %s", env->name,
              report.detail);
    SIM_CHECK(sim, "log", txn_applied_index(node->txn) == txn_applied_index(env->node->txn),
              "the log of %s ends at %llu, and its table is at %llu", env->name,
              (unsigned long long)txn_applied_index(node->txn),
              (unsigned long long)txn_applied_index(env->node->txn));
    SIM_CHECK(sim, "log", txn_digest(node->txn) == txn_digest(env->node->txn),
              "replaying the log of %s gives another table than it has", env->name);
    node_free(node);
    disk_free(&mirror);
}

void rule_log_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.nodes; i++)
        replay(&sim->procs[i]);
}
