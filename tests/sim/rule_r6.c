/*
 * R6: no branch decides alone. What voted yes is finished by a coordinator's word only; and what is committed is the very
 * transaction that voted (R7).
 */
#include "observe.h"
#include "oracle.h"

void rule_r6_finish_starts(struct sim_branch *branch, bool commit)
{
    struct sim *sim = branch->attempt->sim;

    if (commit)
        SIM_CHECK(sim, "R6", branch->commit_told,
                  "COMMIT PREPARED of %s (%llu.%llu/%u) without a coordinator's word",
                  BRANCH_ARGS(branch));
    else
        SIM_CHECK(
            sim, "R6", branch->abort_told || !branch->yes,
            "ROLLBACK PREPARED of %s (%llu.%llu/%u), which voted yes, without a coordinator's "
            "word",
            BRANCH_ARGS(branch));
}

void rule_r6_finished(struct sim_tx *tx, bool commit)
{
    struct sim_branch *branch = tx->branch;
    struct sim *sim = branch->attempt->sim;

    SIM_CHECK(sim, "atomicity", branch->attempt->durable == commit,
              "%s (%llu.%llu/%u) is %s, and that is not the decision", BRANCH_ARGS(branch),
              commit ? "committed" : "rolled back");
    /* Once the outcome is evicted its xid is not known any more, and the gid alone must do (R8). */
    if (commit && rule_r9_kept(sim, branch->attempt))
        SIM_CHECK(sim, "R7", !tx->impostor && tx->xid == branch->vote_xid,
                  "COMMIT PREPARED of %s (%llu.%llu/%u) has committed another transaction",
                  BRANCH_ARGS(branch));
}
