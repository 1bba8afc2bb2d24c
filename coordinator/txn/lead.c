/*
 * Leading and resigning (R3, R4), and what an applied entry means to the leader. Fault model:
 * leadership may end at any moment; what is volatile goes with it, what the table holds is finished
 * by the next leader.
 */
#include <string.h>

#include "assent/crash.h"
#include "coordinator/txn/core.h"

/* --- Leading --- */

/* A committed transaction whose branches are not known to be finished: told again, all of it, but for
 * those of which FINISH has said that they are (R8). */
static as_err adopt(struct txn *txn, struct txn_outcome *outcome)
{
    struct txn_run *run = txn_run_new(txn, outcome->id, outcome->branch_count);

    if (!run || txn_run_reserve(txn)) {
        txn_run_discard(txn, run);
        return AS_ERR_NOMEM;
    }
    run->attempt = outcome->attempt;
    memcpy(run->body_hash, outcome->body_hash, AS_HASH_LEN);
    run->created_ms = outcome->created_ms;
    run->decided_ms = outcome->decided_ms;
    run->index = outcome->index;
    run->outcome = outcome;
    run->since = txn->now;
    run->deadline = AS_NEVER;
    txn_run_enter(txn, run);
    txn_run_move(txn, run, TXN_RUN_COMMITTED);
    for (uint32_t i = 0; i < run->branch_count; i++) {
        const struct txn_outcome_branch *from = &outcome->branches[i];
        struct txn_branch *branch = &run->branches[i];

        branch->number = (uint8_t)from->number;
        branch->participant = txn->table.participants[from->participant];
        branch->xid = from->xid;
        branch->identity = from->identity;
        branch->state = TXN_BRANCH_DONE;
        if (from->heuristic ? from->acknowledged : outcome->acknowledged)
            continue;
        if (from->heuristic) {
            branch->state = TXN_BRANCH_HEURISTIC;
            run->heuristics++;
        } else {
            branch->state = TXN_BRANCH_COMMITTING;
            run->unacknowledged++;
            txn_queue_urgent(txn, branch);
        }
    }
    return AS_OK;
}

static struct txn_run *next_run(const struct txn *txn, uint32_t *handle)
{
    while (*handle < txn->drive.runs.chunk_count * TXN_SLOTS_CHUNK) {
        void *object = txn_slots_get(&txn->drive.runs, (*handle)++);

        if (!((uintptr_t)object & 1u))
            return object;
    }
    return NULL;
}

/* Forgets every run; whoever waited has been answered. */
static void drop_runs(struct txn *txn)
{
    struct txn_run *run;
    uint32_t handle = 0;

    while ((run = next_run(txn, &handle))) {
        for (uint32_t i = 0; i < run->branch_count; i++)
            txn_link_remove(&run->branches[i].link);
        txn_run_gone(txn, run);
    }
    for (uint32_t i = 0; i < txn->table.participant_count; i++) {
        txn->table.participants[i]->queued = 0;
        txn_timer_stop(txn, &txn->table.participants[i]->resend);
    }
}

as_err txn_on_lead(struct txn *txn, const struct txn_event *event)
{
    struct txn_drive *drive = &txn->drive;
    struct txn_link *open = &txn->table.open;
    uint64_t term = drive->term, seq = drive->seq;

    AS_ASSERT(!drive->leading && event->term > drive->term);
    if (txn_servings_reserve(txn))
        return AS_ERR_NOMEM;
    drive->term = event->term;
    drive->seq = 0;
    for (struct txn_link *link = open->next; link != open; link = link->next) {
        struct txn_outcome *outcome = TXN_OF(link, struct txn_outcome, open);

        if (outcome->committed && !outcome->finished && adopt(txn, outcome)) {
            drop_runs(txn);
            drive->term = term;
            drive->seq = seq;
            return AS_ERR_NOMEM;
        }
    }
    drive->leading = true;
    drive->horizon_proposed = false;
    txn_timer_soon(txn, &drive->adopted_timer, txn->now);
    txn_servings_evaluate(txn);
    return AS_OK;
}

/* Adopted ones of which no agent has a branch to acknowledge: only FINISH is missing. */
as_err txn_due_adopted(struct txn *txn)
{
    struct txn_run *run;
    uint32_t handle = 0;

    while ((run = next_run(txn, &handle))) {
        if (run->state != TXN_RUN_COMMITTED || run->unacknowledged > 0)
            continue;
        if (txn_waiters_reserve(txn, run, 1, 0))
            return AS_ERR_NOMEM;
        txn_acknowledged(txn, run);
    }
    txn_timer_stop(txn, &txn->drive.adopted_timer);
    return AS_OK;
}

/* --- Resigning --- */

static as_err resign_reserve(struct txn *txn)
{
    size_t effects = 1 + txn_acknowledger_count(txn) + txn->drive.ask_count, bytes = 0;
    struct txn_run *run;
    uint32_t handle = 0;

    while ((run = next_run(txn, &handle))) {
        effects += run->branch_count + run->waiter_count;
        if (run->waiter_count > 0)
            bytes += txn_view_bytes(run->branch_count);
    }
    return txn_out_reserve(&txn->out, effects, bytes);
}

/*
 * R4: what the log never accepted is aborted, here and now. Of what it accepted the outcome is
 * unknown here: no abort is sent, and the client asks again, at any node. What is committed is
 * committed.
 */
static void resign_run(struct txn *txn, struct txn_run *run)
{
    switch (run->state) {
    case TXN_RUN_ACTIVE:
    case TXN_RUN_PREPARING:
        txn_rollback(txn, run);
        txn_waiters_refuse(txn, run, AS_REFUSAL_NO_LEADER);
        break;
    case TXN_RUN_DECIDING:
        txn_waiters_refuse(txn, run, AS_REFUSAL_OUTCOME_UNKNOWN);
        break;
    default:
        txn_waiters_tell(txn, run, false);
        break;
    }
}

as_err txn_on_resign(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;
    struct txn_run *run;
    uint32_t handle = 0;

    if (!drive->leading)
        return AS_OK;
    if (resign_reserve(txn))
        return AS_ERR_NOMEM;
    txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_RESIGNED, .number = drive->term});
    while ((run = next_run(txn, &handle)))
        resign_run(txn, run);
    txn_must(txn_acknowledgers_refuse(txn, (struct as_attempt){0, 0}, AS_REFUSAL_OUTCOME_UNKNOWN));
    txn_asks_refuse(txn);
    drop_runs(txn);
    txn_servings_stop(txn);
    txn_timer_stop(txn, &drive->lazy);
    txn_timer_stop(txn, &drive->serve_timer);
    txn_timer_stop(txn, &drive->adopted_timer);
    drive->leading = false;
    return AS_OK;
}

/* --- Applied --- */

/* R8: below the lowest undecided attempt, and low enough to free a quarter of the set, not more. */
static struct as_attempt horizon_wanted(const struct txn *txn)
{
    const struct txn_drive *drive = &txn->drive;
    struct as_attempt horizon =
        txn_set_horizon_for(&txn->table.set, drive->committed_bytes_max / 4);
    struct as_attempt below = {drive->term, drive->seq};

    for (const struct txn_link *link = drive->live.next; link != &drive->live; link = link->next) {
        const struct txn_run *run = TXN_OF(link, struct txn_run, live);

        if (txn_run_undecided(run)) {
            below.seq = run->attempt.seq - 1; /* 0 is a number no attempt has: it is below all */
            break;
        }
    }
    if (as_attempt_compare(horizon, below) > 0)
        horizon = below;
    if (horizon.seq == 0 || as_attempt_compare(horizon, txn->table.set.horizon) <= 0)
        return (struct as_attempt){0, 0};
    return horizon;
}

static void propose_horizon(struct txn *txn)
{
    struct txn_record record = {.type = TXN_RECORD_HORIZON};

    if (txn->table.set.bytes <= txn->drive.committed_bytes_max || txn->drive.horizon_proposed)
        return;
    record.horizon = horizon_wanted(txn);
    if (record.horizon.term == 0)
        return;
    txn->drive.horizon_proposed = true;
    txn_propose(txn, &record, false, (struct as_attempt){0, 0}, TXN_SMALL_RECORD_BYTES);
}

static void applied_commit(struct txn *txn, const struct txn_record *record,
                           const struct txn_folded *folded, uint64_t index)
{
    struct txn_run *run = txn_run_by_attempt(txn, record->commit.attempt);
    bool ours = run && run->state == TXN_RUN_DECIDING;

    if (!folded->effective) {
        txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_COMMIT_WITHOUT_EFFECT,
                                              .attempt = record->commit.attempt,
                                              .number = index,
                                              .id = txn_out_text(&txn->out, record->commit.id,
                                                                 strlen(record->commit.id))});
        if (ours) { /* on no node it is committed, so R3 answers abort */
            txn_rollback(txn, run);
            txn_waiters_refuse(txn, run, AS_REFUSAL_OUTCOME_UNKNOWN);
            txn_run_gone(txn, run);
        }
        return;
    }
    if (!txn->drive.leading)
        return;
    if (ours) {
        /* A crash here: committed, and no agent knows. The next leader finds it in its log (R8). */
        AS_CRASH_POINT("node.commit.applied");
        txn_committed(txn, run, folded->outcome, index);
    }
    propose_horizon(txn);
}

static void applied_finish(struct txn *txn, const struct txn_record *record)
{
    for (uint32_t i = 0; i < record->finish.count; i++) {
        struct txn_run *run = txn_run_by_attempt(txn, txn_record_attempt(record, i));

        if (!run || !run->outcome)
            continue;
        if (run->state == TXN_RUN_FINISHED && run->outcome->finished)
            txn_run_gone(txn, run);
        else
            txn_lazy_remove(txn, run); /* an operator's word finishes it (R7) */
    }
}

static void applied_heuristic(struct txn *txn, const struct txn_folded *folded)
{
    const struct txn_outcome *outcome = folded->outcome;
    struct txn_run *run;
    struct txn_branch *branch;

    if (!folded->effective || !txn->drive.leading)
        return;
    txn_trace_put(
        txn, &(struct as_trace){
                 .kind = AS_TRACE_HEURISTIC,
                 .attempt = outcome->attempt,
                 .branch = folded->branch->number,
                 .id = outcome->id,
                 .name = txn->table.participants[folded->branch->participant]->name,
                 .detail = as_branch_state_text((enum as_branch_state)folded->branch->heuristic)});
    run = txn_run_by_attempt(txn, outcome->attempt);
    branch = run ? txn_run_branch(run, folded->branch->number) : NULL;
    if (branch && branch->state == TXN_BRANCH_COMMITTING)
        txn_branch_heuristic(txn, branch);
}

static void applied_acknowledge(struct txn *txn, const struct txn_record *record,
                                const struct txn_folded *folded)
{
    struct txn_outcome *outcome = folded->outcome;
    struct txn_branch *branch;
    struct txn_run *run;

    if (!outcome || !txn->drive.leading)
        return;
    run = txn_run_by_attempt(txn, outcome->attempt);
    if (folded->effective) {
        txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_ACKNOWLEDGED,
                                              .attempt = outcome->attempt,
                                              .branch = record->acknowledge.branch,
                                              .id = outcome->id});
        branch = run ? txn_run_branch(run, record->acknowledge.branch) : NULL;
        if (branch && branch->state == TXN_BRANCH_HEURISTIC)
            txn_branch_done(txn, branch);
    }
    txn_acknowledgers_tell(txn, outcome, record->acknowledge.branch,
                           run && run->outcome ? txn_view_run(txn, run)
                                               : txn_view_outcome(txn, outcome));
    if (run && run->state == TXN_RUN_FINISHED && outcome->finished) {
        /* To a node from before decision 0016 the first FINISH said nothing. */
        txn_lazy_finish_now(txn, run);
        txn_run_gone(txn, run);
    }
}

static void applied(struct txn *txn, const struct txn_record *record,
                    const struct txn_folded *folded, uint64_t index)
{
    struct txn_run *run;

    switch (record->type) {
    case TXN_RECORD_COMMIT:
        applied_commit(txn, record, folded, index);
        break;
    case TXN_RECORD_FINISH:
        applied_finish(txn, record);
        break;
    case TXN_RECORD_ABORT:
        run = txn_run_by_attempt(txn, record->abort.attempt);
        if (run && run->state == TXN_RUN_ABORTING)
            txn_run_gone(txn, run);
        break;
    case TXN_RECORD_HEURISTIC:
        applied_heuristic(txn, folded);
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        applied_acknowledge(txn, record, folded);
        break;
    case TXN_RECORD_HORIZON:
        txn->drive.horizon_proposed = false;
        if (folded->effective && txn->drive.leading)
            txn_trace_put(txn,
                          &(struct as_trace){.kind = AS_TRACE_HORIZON, .attempt = record->horizon});
        break;
    case TXN_RECORD_PARTICIPANT:
        if (!folded->effective)
            break;
        if (folded->identity_changed && txn->drive.leading)
            txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_IDENTITY_CHANGED,
                                                  .name = folded->participant->name});
        txn_participant_applied(txn, folded->participant);
        break;
    case TXN_RECORD_RESOLVE:
        if (txn->drive.leading)
            txn_resolve_applied(txn, record);
        break;
    case TXN_RECORD_NOOP:
    case TXN_RECORD_END:
        break;
    }
}

/* What the leader may have to say of this entry, at most. */
static as_err apply_reserve(struct txn *txn, const struct txn_record *record)
{
    const struct txn_run *run = NULL;
    size_t effects = 4 + txn_acknowledger_count(txn) + txn->drive.ask_count;
    size_t bytes = 3 * txn_view_bytes(AS_BRANCHES_MAX);

    if (record->type == TXN_RECORD_FINISH || record->type == TXN_RECORD_NOOP)
        return AS_OK;
    if (record->type == TXN_RECORD_RESOLVE)
        return txn_out_reserve(&txn->out, effects, TXN_RESOLVED_BYTES);
    if (record->type == TXN_RECORD_COMMIT)
        run = txn_run_by_attempt(txn, record->commit.attempt);
    else if (record->type == TXN_RECORD_HEURISTIC)
        run = txn_run_by_attempt(txn, record->heuristic.attempt);
    else if (record->type == TXN_RECORD_ACKNOWLEDGE)
        run = txn_run_by_attempt(txn, record->acknowledge.attempt);
    if (run)
        effects += run->branch_count + run->waiter_count;
    return txn_out_reserve(&txn->out, effects, bytes + TXN_SMALL_RECORD_BYTES + 128);
}

as_err txn_on_apply(struct txn *txn, const struct txn_event *event)
{
    struct txn_folded folded;
    struct txn_record record;
    as_err err;

    if (txn_record_take(event->entry.type, event->entry.payload, &record))
        return AS_ERR_CORRUPT;
    err = apply_reserve(txn, &record);
    if (!err)
        err = txn_table_fold(txn, &event->entry, &record, &folded);
    if (err)
        return err;
    txn->drive.applied_at = txn->now;
    applied(txn, &record, &folded, event->entry.index);
    return AS_OK;
}
