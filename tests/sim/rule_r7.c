/*
 * R7: proven outcomes. An acknowledgement is true, and a heuristic outcome is reported where somebody's hand, a failover
 * or a restore made one, and nowhere else.
 */
#include "observe.h"
#include "oracle.h"

static bool committed_now(const struct sim_branch *branch)
{
    return branch->tx && branch->tx->state == TX_COMMITTED;
}

static bool excused(const struct sim_branch *branch, enum as_ack ack)
{
    if (branch->tx && branch->tx->db->restored)
        return true;
    switch (ack) {
    case AS_ACK_HEURISTIC_ABORT:
        return branch->attempt->durable && (branch->hand_rollback || branch->undone);
    case AS_ACK_HEURISTIC_COMMIT:
        return !branch->attempt->durable && branch->hand_commit;
    case AS_ACK_LOST_PREPARE:
        return branch->attempt->durable &&
               (branch->undone || branch->tx->db->disturbed || branch->forgotten);
    case AS_ACK_UNVERIFIED: /* of an evicted outcome xid and identity are not known any more */
        return branch->attempt->durable &&
               (!rule_r9_kept(branch->attempt->sim, branch->attempt) || branch->forgotten ||
                branch->undone || branch->tx->db->disturbed);
    default:
        return true;
    }
}

void rule_r7_ack_sent(struct as_env *env, struct sim_branch *branch, const struct as_wire_ack *ack)
{
    struct sim *sim = env->sim;

    if (ack->ack == AS_ACK_COMMITTED)
        SIM_CHECK(
            sim, "R7",
            branch->attempt->durable && (branch->committed_ever || branch->tx->db->restored ||
                                         (branch->imposed && !rule_r9_kept(sim, branch->attempt))),
            "%s (%llu.%llu/%u) is acknowledged as committed, and never was", BRANCH_ARGS(branch));
    if (ack->ack == AS_ACK_ABORTED) {
        SIM_CHECK(sim, "R7", !branch->attempt->durable,
                  "%s (%llu.%llu/%u) is acknowledged as aborted, and is committed",
                  BRANCH_ARGS(branch));
        SIM_CHECK(sim, "R7",
                  !committed_now(branch) || branch->heuristic ||
                      (branch->hand_commit && !(branch->xid_told >> env->proc & 1)) ||
                      branch->undone || branch->forgotten || branch->tx->db->disturbed,
                  "%s (%llu.%llu/%u) is acknowledged as aborted, and somebody has committed it",
                  BRANCH_ARGS(branch));
    }
    SIM_CHECK(sim, "R7", excused(branch, ack->ack),
              "%s (%llu.%llu/%u) is reported as a heuristic outcome (%d), and nobody made one",
              BRANCH_ARGS(branch), (int)ack->ack);
    if (ack->ack > AS_ACK_ABORTED && ack->ack < AS_ACK_RETRY) {
        branch->heuristic = ack->ack;
        sim->counts.heuristic++;
    }
}

/* A committed branch that a person has rolled back is shown as what it is, for good. */
void rule_r7_settled(struct sim_attempt *attempt, const struct as_txn_view *view)
{
    for (uint32_t i = 0; i < view->branch_count; i++) {
        const struct as_branch_view *shown = &view->branches[i];
        const struct sim_branch *branch = &attempt->branches[shown->number - 1];
        bool lost = attempt->durable && branch->tx && branch->tx->state != TX_COMMITTED &&
                    branch->hand_rollback && !branch->undone && !branch->tx->db->restored;

        SIM_CHECK(attempt->sim, "R7", !lost || as_branch_state_heuristic(shown->state),
                  "%s (%llu.%llu/%u) was rolled back by hand, and is shown as %s",
                  BRANCH_ARGS(branch), as_branch_state_text(shown->state));
    }
}

/* A client sees a heuristic outcome only if an agent has reported one. */
void rule_r7_view(struct sim *sim, struct sim_attempt *attempt, const struct as_txn_view *view)
{
    for (uint32_t i = 0; i < view->branch_count; i++) {
        const struct as_branch_view *shown = &view->branches[i];

        if (!as_branch_state_heuristic(shown->state))
            continue;
        SIM_CHECK(sim, "R7",
                  attempt && shown->number >= 1 && shown->number <= attempt->branch_count &&
                      attempt->branches[shown->number - 1].heuristic,
                  "%s shows branch %u as %s, and no agent has reported that", view->id,
                  shown->number, as_branch_state_text(shown->state));
    }
}
