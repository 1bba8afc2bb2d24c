/*
 * R1: the decision is the log. No commit message and no "committed" answer leaves before the COMMIT record is durable;
 * the oracle reads the bytes that the disk has synced.
 */
#include "observe.h"
#include "oracle.h"

static struct sim_attempt *commit_of(struct sim *sim, const struct txn_entry *entry,
                                     struct txn_record *record)
{
    struct sim_attempt *attempt;

    if (entry->type != TXN_RECORD_COMMIT)
        return NULL;
    SIM_CHECK(sim, "log", !txn_record_take(entry->type, entry->payload, record),
              "a COMMIT record cannot be read");
    attempt = attempt_of(sim, record->commit.attempt);
    SIM_CHECK(sim, "R2", attempt && strcmp(attempt->txn->id, record->commit.id) == 0,
              "COMMIT of %s, attempt %llu.%llu, which was never dispatched", record->commit.id,
              (unsigned long long)record->commit.attempt.term,
              (unsigned long long)record->commit.attempt.seq);
    SIM_CHECK(sim, "R1", entry->term == attempt->attempt.term,
              "%s (%llu.%llu) is committed in term %llu", ATTEMPT_ARGS(attempt),
              (unsigned long long)entry->term);
    return attempt;
}

void rule_r1_written(struct sim *sim, struct as_env *env, const struct txn_entry *entry)
{
    static struct txn_record record;
    struct sim_attempt *attempt = commit_of(sim, entry, &record);

    (void)env;
    if (!attempt)
        return;
    rule_r2_proposed(attempt, &record);
    attempt->proposed = true;
}

/* The attempt whose COMMIT this entry is; NULL: none. */
struct sim_attempt *rule_r1_attempt(struct sim *sim, const struct txn_entry *entry)
{
    static struct txn_record record;
    struct sim_attempt *attempt = commit_of(sim, entry, &record);

    if (attempt)
        rule_r2_proposed(attempt, &record);
    return attempt;
}

/* A majority holds it: this is the decision. */
void rule_r1_committed(struct sim_attempt *attempt)
{
    struct sim_txn *txn = attempt->txn;
    struct sim *sim = attempt->sim;

    if (attempt->durable)
        return;
    SIM_SAY(sim, 1, "COMMIT of %s (%llu.%llu) is durable", ATTEMPT_ARGS(attempt));
    SIM_CHECK(sim, "R3", !attempt->aborted_said,
              "%s (%llu.%llu) commits, and was said to be aborted", ATTEMPT_ARGS(attempt));
    SIM_CHECK(sim, "R9", !txn->committed || !rule_r9_kept(sim, txn->committed),
              "%s (%llu.%llu) commits, and another attempt of it has", ATTEMPT_ARGS(attempt));
    attempt->durable = true;
    txn->committed = attempt;
    sim->counts.committed++;
}

static bool is_durable(struct sim_attempt *attempt)
{
    if (!attempt->durable)
        rule_raft_recount(attempt->sim);
    return attempt->durable;
}

void rule_r1_commit_sent(struct sim_branch *branch, const struct as_wire_decision *decision)
{
    struct sim *sim = branch->attempt->sim;

    SIM_CHECK(sim, "R1", is_durable(branch->attempt),
              "an agent is told to commit %s (%llu.%llu/%u) before its COMMIT is durable",
              BRANCH_ARGS(branch));
    SIM_CHECK(sim, "R7",
              decision->xid == 0 || (decision->xid == branch->vote_xid &&
                                     memcmp(&decision->identity, &branch->vote_identity,
                                            sizeof decision->identity) == 0),
              "COMMIT of %s (%llu.%llu/%u) names another xid or identity than its vote",
              BRANCH_ARGS(branch));
    if (!branch->attempt->told)
        branch->attempt->told_at = sim->now;
    branch->commit_told = branch->attempt->told = true;
}

static bool only_read(const struct sim_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->branch_count; i++) {
        if (!attempt->branches[i].read)
            return false;
    }
    return true;
}

void rule_r1_answer(struct sim_request *request, const struct as_txn_view *view)
{
    struct sim *sim = request->node->sim;
    struct sim_attempt *attempt = attempt_of(sim, view->attempt);

    if (view->state != AS_TXN_COMMITTED)
        return;
    SIM_CHECK(sim, "R1", attempt && attempt->txn == request->txn,
              "%s is answered as committed, by an attempt that is none of it", view->id);
    SIM_CHECK(sim, "R1", only_read(attempt) || is_durable(attempt),
              "%s (%llu.%llu) is answered as committed before its COMMIT is durable",
              ATTEMPT_ARGS(attempt));
    for (uint32_t i = 0; i < attempt->branch_count && view->applied; i++) {
        const struct sim_branch *branch = &attempt->branches[i];

        SIM_CHECK(sim, "R8",
                  branch->read_only || branch->committed_ever || branch->heuristic ||
                      branch->tx->db->restored,
                  "%s (%llu.%llu/%u) is answered as applied, and never was", BRANCH_ARGS(branch));
    }
}
