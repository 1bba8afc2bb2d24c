/*
 * What a leader answers about an attempt (R3), row by row. Fault model: a gid is something any
 * database user can write, so an inquiry may be about anything; it never changes a term or a vote.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/*
 * A branch that stands in no record of its attempt is none whose statements an agent ran, so it is
 * not ours to commit (R8), and a gid with another id than its attempt's is somebody's invention.
 */
static bool recorded(const struct txn_outcome *outcome, uint32_t number, struct as_bytes id)
{
    return txn_outcome_branch(outcome, number) && strlen(outcome->id) == id.len &&
           memcmp(outcome->id, id.data, id.len) == 0;
}

enum as_verdict txn_verdict(const struct txn *txn, struct as_attempt attempt, uint32_t number,
                            struct as_bytes id)
{
    const struct txn_run *run = txn_run_by_attempt(txn, attempt);
    const struct txn_outcome *outcome = txn_outcome_by_attempt(txn, attempt);

    if (!txn->drive.leading || attempt.term > txn->drive.term)
        return AS_VERDICT_NONE;
    if (txn_table_committed(txn, attempt))
        return !outcome || recorded(outcome, number, id) ? AS_VERDICT_COMMIT : AS_VERDICT_UNKNOWN;
    if (run && run->state == TXN_RUN_DECIDING)
        return AS_VERDICT_NONE;
    if (run && txn_run_undecided(run))
        return AS_VERDICT_PENDING;
    if (as_attempt_compare(attempt, txn->table.set.horizon) <= 0)
        return AS_VERDICT_UNKNOWN;
    if (attempt.term == txn->drive.term && attempt.seq > txn->drive.seq)
        return AS_VERDICT_NONE;
    return AS_VERDICT_ABORT;
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

/* What proves the branch's outcome (R7) is known as long as the outcome is kept; xid 0 says that it
 * is not. */
static void committed(struct txn *txn, uint64_t session, const struct as_wire_inquire *inquire)
{
    const struct txn_outcome *outcome = txn_outcome_by_attempt(txn, inquire->branch.attempt);
    const struct txn_outcome_branch *branch =
        outcome ? txn_outcome_branch(outcome, inquire->branch.number) : NULL;
    struct as_wire_decision *commit = decision(txn, session, AS_WIRE_COMMIT, inquire);

    if (branch) {
        commit->xid = branch->xid;
        commit->identity = branch->identity;
    }
}

as_err txn_on_inquire(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_inquire *inquire = event->inquire.inquire;
    struct as_attempt attempt = inquire->branch.attempt;
    uint64_t session = event->inquire.session;

    if (txn_out_reserve(&txn->out, 2, inquire->id.len + 1))
        return AS_ERR_NOMEM;
    if (!txn->drive.doubts)
        txn->drive.doubts = as_alloc_zero(TXN_DOUBTS, sizeof(*txn->drive.doubts));
    if (!txn->drive.doubts)
        return AS_ERR_NOMEM;
    txn->counts.inquiries++;
    switch (txn_verdict(txn, attempt, inquire->branch.number, inquire->id)) {
    case AS_VERDICT_NONE:
    case AS_VERDICT_COUNT:
        if (txn->drive.leading && attempt.term > txn->drive.term)
            warn(txn, AS_TRACE_LATE_TERM, session, inquire);
        break;
    case AS_VERDICT_COMMIT:
        committed(txn, session, inquire);
        break;
    case AS_VERDICT_PENDING:
        answer(txn, session, inquire, AS_ANSWER_PENDING);
        break;
    case AS_VERDICT_UNKNOWN:
        answer(txn, session, inquire, AS_ANSWER_UNKNOWN);
        warn(txn, AS_TRACE_UNKNOWN_INQUIRED, session, inquire);
        break;
    case AS_VERDICT_ABORT:
        remember(txn, attempt, inquire->id);
        decision(txn, session, AS_WIRE_ABORT, inquire);
        break;
    }
    return AS_OK;
}
