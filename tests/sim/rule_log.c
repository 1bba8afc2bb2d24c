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

/* A copy of the node's disk, opened, with every entry in the table: a lone node's log is committed
 * as far as it goes. NULL: it does not open. */
static struct node *mirror_open(struct as_env *env, struct as_env *mirror)
{
    struct sim *sim = env->sim;
    struct node_config config = env->node->config;
    struct txn_effects effects;
    struct log_report report;
    struct raft_status raft;
    struct node *node;
    struct as_disk door;
    as_err err;

    *mirror = (struct as_env){.sim = sim, .is_node = true, .name = "a copy", .proc = env->proc};
    disk_copy(mirror, env);
    door = disk_door(mirror);
    config.txn.seed = 12345; /* the table does not depend on it */
    err = node_open(&node, &config, &door, mirror, &sim_env_ops, &report);
    SIM_CHECK(sim, "log", !err, "a copy of the log of %s does not open: %s", env->name,
              report.detail);
    raft_look(node->raft, &raft);
    for (uint64_t i = node->applied + 1; i <= raft.last_index; i++) {
        struct raft_entry entry;
        struct txn_event event = {.kind = TXN_APPLY};

        AS_ASSERT(raft_entry(node->raft, i, &entry) == AS_OK);
        event.entry =
            (struct txn_entry){entry.index, entry.term, entry.time_ms, entry.type, entry.payload};
        if (entry.type != RAFT_ENTRY_MEMBERS)
            SIM_CHECK(sim, "log", txn_step(node->txn, &event, &effects) == AS_OK,
                      "entry %llu of %s cannot be applied", (unsigned long long)i, env->name);
    }
    return node;
}

static void mirror_close(struct as_env *mirror, struct node *node)
{
    node_free(node);
    disk_free(mirror);
}

void rule_log_opened(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct as_env mirror;
    struct as_txn_view view;
    struct node *node;

    if (!sim->lone)
        return; /* rule_raft.c looks at the entries: which of them are committed only a leader knows */
    forget_proposals(sim);
    node = mirror_open(env, &mirror);
    for (uint32_t i = 0; i < sim->attempt_count; i++) {
        const struct sim_attempt *attempt = sim->attempts[i];
        as_err err;

        if (!attempt->durable || !rule_r9_kept(sim, attempt))
            continue;
        err = txn_view(node->txn, attempt->txn->id, &view);
        SIM_CHECK(sim, "durability",
                  !err && view.state == AS_TXN_COMMITTED &&
                      as_attempt_equal(view.attempt, attempt->attempt),
                  "%s (%llu.%llu) was durably committed, and %s has lost it in a restart",
                  ATTEMPT_ARGS(attempt), env->name);
    }
    mirror_close(&mirror, node);
}

static void replay(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct as_env mirror;
    struct node *node = mirror_open(env, &mirror);

    SIM_CHECK(sim, "log", txn_applied_index(node->txn) == txn_applied_index(env->node->txn),
              "the log of %s ends at %llu, and its table is at %llu", env->name,
              (unsigned long long)txn_applied_index(node->txn),
              (unsigned long long)txn_applied_index(env->node->txn));
    SIM_CHECK(sim, "log", txn_digest(node->txn) == txn_digest(env->node->txn),
              "replaying the log of %s gives another table than it has", env->name);
    mirror_close(&mirror, node);
}

/* Equal tables at equal index. */
static void compare(struct as_env *first, struct as_env *other)
{
    struct sim *sim = first->sim;

    SIM_CHECK(sim, "log",
              txn_applied_index(other->node->txn) == txn_applied_index(first->node->txn),
              "%s has applied %llu, and %s %llu", other->name,
              (unsigned long long)txn_applied_index(other->node->txn), first->name,
              (unsigned long long)txn_applied_index(first->node->txn));
    SIM_CHECK(sim, "log", txn_digest(other->node->txn) == txn_digest(first->node->txn),
              "%s and %s have different tables", other->name, first->name);
}

/* A node that was removed knows of nothing that came later. */
void rule_log_end(struct sim *sim)
{
    struct as_env *first = NULL;

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct as_env *env = &sim->procs[i];

        if (!members_has(sim, env))
            continue;
        first = first ? first : env;
        compare(first, env);
        replay(env);
    }
}
