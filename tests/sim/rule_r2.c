/*
 * R2: unanimity, and single dispatch. COMMIT is proposed only after a yes (or read-only) of every branch of that very
 * attempt; a branch is dispatched once and runs once, and its vote is the truth about what is prepared.
 */
#include "observe.h"
#include "oracle.h"

void rule_r2_execute_sent(struct sim_branch *branch, const struct as_wire_execute *execute)
{
    struct sim *sim = branch->attempt->sim;

    (void)execute;
    SIM_CHECK(sim, "R2", !branch->executed, "%s (%llu.%llu/%u) is dispatched twice",
              BRANCH_ARGS(branch));
    SIM_CHECK(sim, "R3", !branch->attempt->aborted_said && !branch->attempt->durable,
              "%s (%llu.%llu/%u) is dispatched after its decision", BRANCH_ARGS(branch));
    branch->executed = true;
}

static const struct txn_record_branch *recorded(const struct txn_record *record, uint32_t number)
{
    for (uint32_t i = 0; i < record->commit.branch_count; i++) {
        if (record->commit.branches[i].number == number)
            return &record->commit.branches[i];
    }
    return NULL;
}

void rule_r2_proposed(struct sim_attempt *attempt, const struct txn_record *record)
{
    struct sim *sim = attempt->sim;
    uint32_t writers = 0;

    for (uint32_t i = 0; i < attempt->branch_count; i++) {
        const struct sim_branch *branch = &attempt->branches[i];
        const struct txn_record_branch *in = recorded(record, branch->number);

        SIM_CHECK(sim, "R2", branch->read_only ? branch->read : branch->yes && !branch->no,
                  "COMMIT of %s (%llu.%llu/%u) is proposed without its yes", BRANCH_ARGS(branch));
        if (branch->read_only)
            continue;
        writers++;
        SIM_CHECK(sim, "R7",
                  in && in->xid == branch->vote_xid &&
                      memcmp(&in->identity, &branch->vote_identity, sizeof in->identity) == 0,
                  "COMMIT of %s (%llu.%llu/%u) does not have the xid and identity of its vote",
                  BRANCH_ARGS(branch));
    }
    SIM_CHECK(sim, "R10", writers == record->commit.branch_count,
              "COMMIT of %s (%llu.%llu) has a branch that wrote nothing", ATTEMPT_ARGS(attempt));
}

void rule_r2_prepare_starts(struct sim_branch *branch)
{
    struct sim *sim = branch->attempt->sim;

    SIM_CHECK(sim, "R2", branch->executed, "%s (%llu.%llu/%u) runs and was not dispatched",
              BRANCH_ARGS(branch));
    SIM_CHECK(sim, "R2", branch->prepares == 0, "%s (%llu.%llu/%u) runs a second time",
              BRANCH_ARGS(branch));
    branch->prepares++;
}

static void yes_sent(struct sim_branch *branch, const struct as_wire_vote *vote)
{
    struct sim *sim = branch->attempt->sim;
    const struct sim_tx *tx = branch->tx;

    SIM_CHECK(sim, "R2", tx && !branch->no && !branch->yes,
              "%s (%llu.%llu/%u) votes yes, and is not prepared or has voted before",
              BRANCH_ARGS(branch));
    SIM_CHECK(sim, "R11", !branch->warned,
              "%s (%llu.%llu/%u) votes yes, and its PREPARE does not count", BRANCH_ARGS(branch));
    /* After a failover or a restore another agent may be told to write a new token while the branch runs: the old one
     * then proves nothing any more, which is safe. */
    SIM_CHECK(
        sim, "R7",
        vote->xid == tx->xid &&
            (memcmp(&vote->identity, &tx->identity, sizeof tx->identity) == 0 || tx->db->disturbed),
        "the yes of %s (%llu.%llu/%u) has an xid and an identity that are not its own",
        BRANCH_ARGS(branch));
    branch->yes = true;
    branch->vote_xid = vote->xid;
    branch->vote_identity = vote->identity;
}

void rule_r2_vote_sent(struct sim_branch *branch, const struct as_wire_vote *vote)
{
    struct sim *sim = branch->attempt->sim;

    switch (vote->vote) {
    case AS_VOTE_YES:
        yes_sent(branch, vote);
        break;
    case AS_VOTE_NO:
        SIM_CHECK(sim, "R2", !branch->yes && !branch->read,
                  "%s (%llu.%llu/%u) votes no after its yes", BRANCH_ARGS(branch));
        branch->no = true;
        break;
    case AS_VOTE_READY:
        branch->ready = true;
        break;
    case AS_VOTE_READ_ONLY:
        SIM_CHECK(sim, "R10", branch->ready && branch->read_only && branch->read_committed,
                  "%s (%llu.%llu/%u) votes read-only, and its COMMIT has not succeeded",
                  BRANCH_ARGS(branch));
        branch->read = true;
        break;
    }
}
