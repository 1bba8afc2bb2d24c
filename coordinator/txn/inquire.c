/*
 * What a leader answers about an attempt (R3), row by row. Fault model: a gid is something any
 * database user can write, so an inquiry may be about anything; it never changes a term or a vote.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

enum verdict { SILENCE, LATE_TERM, COMMIT, PENDING, UNKNOWN, ABORT };

static enum verdict judge(const struct txn *txn, struct as_attempt attempt)
{
    const struct txn_run *run = txn_run_by_attempt(txn, attempt);

    if (!txn->drive.leading)
        return SILENCE;
    if (attempt.term > txn->drive.term)
        return LATE_TERM;
    if (txn_table_committed(txn, attempt))
        return COMMIT;
    if (run && run->state == TXN_RUN_DECIDING)
        return SILENCE;
    if (run && txn_run_undecided(run))
        return PENDING;
    if (as_attempt_compare(attempt, txn->table.set.horizon) <= 0)
        return UNKNOWN;
    if (attempt.term == txn->drive.term && attempt.seq > txn->drive.seq)
        return SILENCE;
    return ABORT;
}

/* Only the inquiry tells the id of an attempt that no record speaks of: an acknowledgement does
 * not. */
static void remember(struct txn *txn, struct as_attempt attempt, struct as_bytes id)
{
    struct txn_drive *drive = &txn->drive;
    struct txn_doubt *doubt;

    if (txn_run_by_attempt(txn, attempt) || txn_outcome_by_attempt(txn, attempt) ||
        txn_doubt_id(txn, attempt) || !as_id_valid((const char *)id.data, id.len))
        return;
    doubt = &drive->doubts[drive->doubt_next++ % TXN_DOUBTS];
    *doubt = (struct txn_doubt){.attempt = attempt};
    memcpy(doubt->id, id.data, id.len);
}

const char *txn_doubt_id(const struct txn *txn, struct as_attempt attempt)
{
    for (uint32_t i = 0; txn->drive.doubts && i < TXN_DOUBTS; i++) {
        if (txn->drive.doubts[i].id[0] && as_attempt_equal(txn->drive.doubts[i].attempt, attempt))
            return txn->drive.doubts[i].id;
    }
    return NULL;
}

static struct as_wire_decision *decision(struct txn *txn, uint64_t session, enum as_wire_type type,
                                         const struct as_wire_inquire *inquire)
{
    struct as_wire_decision *decision = &txn_send(txn, session, type)->decision;

    *decision = (struct as_wire_decision){.branch = inquire->branch};
    decision->id.data =
        (const uint8_t *)txn_out_text(&txn->out, (const char *)inquire->id.data, inquire->id.len);
    decision->id.len = inquire->id.len;
    return decision;
}

static void answer(struct txn *txn, uint64_t session, const struct as_wire_inquire *inquire,
                   enum as_answer what)
{
    txn_send(txn, session, AS_WIRE_ANSWER)->answer =
        (struct as_wire_answer){.branch = inquire->branch, .answer = what};
}

static void warn(struct txn *txn, enum as_trace_kind kind, uint64_t session,
                 const struct as_wire_inquire *inquire)
{
    txn_trace_put(txn, &(struct as_trace){.kind = kind,
                                          .attempt = inquire->branch.attempt,
                                          .branch = inquire->branch.number,
                                          .number = session});
}

static void unknown(struct txn *txn, uint64_t session, const struct as_wire_inquire *inquire)
{
    answer(txn, session, inquire, AS_ANSWER_UNKNOWN);
    warn(txn, AS_TRACE_UNKNOWN_INQUIRED, session, inquire);
}

/*
 * Committed. What proves the branch's outcome (R7) is known as long as the outcome is kept; xid 0
 * says that it is not. A branch that stands in no record is none whose statements an agent ran, so
 * it is not ours to commit (R8): unknown.
 */
static void committed(struct txn *txn, uint64_t session, const struct as_wire_inquire *inquire)
{
    const struct txn_outcome *outcome = txn_outcome_by_attempt(txn, inquire->branch.attempt);
    const struct txn_outcome_branch *branch = NULL;
    struct as_wire_decision *commit;

    if (outcome) {
        branch = txn_outcome_branch(outcome, inquire->branch.number);
        if (!branch) {
            unknown(txn, session, inquire);
            return;
        }
    }
    commit = decision(txn, session, AS_WIRE_COMMIT, inquire);
    if (branch) {
        commit->xid = branch->xid;
        commit->identity = branch->identity;
    }
}

as_err txn_on_inquire(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_inquire *inquire = event->inquire.inquire;
    uint64_t session = event->inquire.session;

    if (txn_out_reserve(&txn->out, 2, inquire->id.len + 1))
        return AS_ERR_NOMEM;
    if (!txn->drive.doubts)
        txn->drive.doubts = as_alloc_zero(TXN_DOUBTS, sizeof(*txn->drive.doubts));
    if (!txn->drive.doubts)
        return AS_ERR_NOMEM;
    txn->counts.inquiries++;
    switch (judge(txn, inquire->branch.attempt)) {
    case SILENCE:
        break;
    case LATE_TERM:
        warn(txn, AS_TRACE_LATE_TERM, session, inquire);
        break;
    case COMMIT:
        committed(txn, session, inquire);
        break;
    case PENDING:
        answer(txn, session, inquire, AS_ANSWER_PENDING);
        break;
    case UNKNOWN:
        unknown(txn, session, inquire);
        break;
    case ABORT:
        remember(txn, inquire->branch.attempt, inquire->id);
        decision(txn, session, AS_WIRE_ABORT, inquire);
        break;
    }
    return AS_OK;
}
