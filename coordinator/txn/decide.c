/*
 * The decision (R2): COMMIT is proposed here and nowhere else, once per attempt; and abort is
 * decided here. Fault model: a crash before the proposal, or before it is durable, is an abort that
 * everybody presumes (R3); after that it is a commit that the next leader finds in its log. Memory
 * may be short before a decision, never in it.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/txn/core.h"

/* --- Reasons --- */

static struct txn_blob *reason_blob(void)
{
    struct txn_blob *blob = as_alloc(sizeof(*blob) + sizeof(struct as_reason));

    if (blob)
        blob->len = sizeof(struct as_reason);
    return blob;
}

struct txn_blob *txn_reason_new(enum as_reason_code code, const char *message)
{
    struct txn_blob *blob = reason_blob();

    if (blob)
        as_reason_set(txn_reason(blob), code, message);
    return blob;
}

struct txn_blob *txn_reason_of_branch(const struct txn_branch *branch, enum as_reason_code code,
                                      struct as_bytes message)
{
    struct txn_blob *blob = reason_blob();
    struct as_reason *reason;

    if (!blob)
        return NULL;
    reason = txn_reason(blob);
    as_reason_set_bytes(reason, code, message);
    reason->branch = branch->number;
    if (branch->participant)
        memcpy(reason->participant, branch->participant->name, sizeof(reason->participant));
    return blob;
}

/* --- Commit --- */

as_err txn_decide_reserve(struct txn *txn, const struct txn_run *run)
{
    return txn_waiters_reserve(txn, run, run->branch_count + TXN_LAZY_EFFECTS + 4,
                               TXN_COMMIT_BYTES(run->branch_count) + TXN_LAZY_BYTES + 64);
}

/* R10: the others have all voted yes; now each read-only branch commits, and that is its vote. */
static void close_reads(struct txn *txn, struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        struct txn_branch *branch = &run->branches[i];

        if (branch->state != TXN_BRANCH_READY)
            continue;
        branch->state = TXN_BRANCH_CLOSING;
        run->reads_missing++;
        txn_send(txn, branch->session, AS_WIRE_READ_FINISH)->read_finish = txn_wire_branch(branch);
    }
}

/* R10: only read: nothing is logged, so nothing of it is known afterwards. */
static void conclude_reads(struct txn *txn, struct txn_run *run)
{
    txn->counts.committed++;
    txn->counts.finished++;
    run->decided_ms = txn->wall_ms;
    txn_votes_close(txn, run);
    txn_run_move(txn, run, TXN_RUN_GONE);
    txn_waiters_tell(txn, run, false);
    txn_run_gone(txn, run);
}

static void propose_commit(struct txn *txn, struct txn_run *run)
{
    struct txn_record record;
    uint32_t count = 0;

    record.type = TXN_RECORD_COMMIT;
    run->decided_ms = txn->wall_ms;
    memcpy(record.commit.id, run->id, sizeof(run->id));
    record.commit.attempt = run->attempt;
    memcpy(record.commit.body_hash, run->body_hash, AS_HASH_LEN);
    record.commit.created_ms = run->created_ms;
    record.commit.decided_ms = run->decided_ms;
    for (uint32_t i = 0; i < run->branch_count; i++) {
        const struct txn_branch *branch = &run->branches[i];

        if (branch->read_only)
            continue;
        record.commit.branches[count++] = (struct txn_record_branch){
            .number = branch->number,
            .participant = branch->participant->id,
            .xid = branch->xid,
            .identity = branch->identity,
        };
    }
    record.commit.branch_count = count;
    txn_run_move(txn, run, TXN_RUN_DECIDING);
    /* A crash here: all is prepared and nothing is written. The next leader answers abort (R3). */
    AS_CRASH_POINT("node.commit.proposed");
    txn_trace(txn, AS_TRACE_TXN_PROPOSED, run, (uint64_t)(txn->now - run->since));
    run->since = txn->now;
    txn_propose(txn, &record, true, run->attempt, TXN_COMMIT_BYTES(count));
    txn_lazy_ride(txn);
}

static bool has_reads(const struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].state == TXN_BRANCH_READY)
            return true;
    }
    return false;
}

static bool only_reads(const struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (!run->branches[i].read_only)
            return false;
    }
    return true;
}

void txn_decide(struct txn *txn, struct txn_run *run)
{
    if (run->votes_missing > 0 || run->reads_missing > 0)
        return;
    if (has_reads(run))
        close_reads(txn, run);
    else if (only_reads(run))
        conclude_reads(txn, run);
    else
        propose_commit(txn, run);
}

/* --- Abort --- */

void txn_votes_close(struct txn *txn, struct txn_run *run)
{
    (void)txn;
    for (uint32_t i = 0; i < run->branch_count; i++)
        txn_link_remove(&run->branches[i].link);
}

void txn_rollback(struct txn *txn, struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        const struct txn_branch *branch = &run->branches[i];

        if (branch->state < TXN_BRANCH_EXECUTING || branch->state > TXN_BRANCH_CLOSING ||
            !txn_session_find(txn, branch->session))
            continue; /* nothing of it is left there, or the agent will ask (R6) */
        txn_send_decision(txn, branch->session, AS_WIRE_ABORT, branch);
    }
    txn_votes_close(txn, run);
}

as_err txn_abort(struct txn *txn, struct txn_run *run, struct txn_blob *reason)
{
    const struct as_reason *why = txn_reason(reason);

    if (txn_waiters_reserve(txn, run, run->branch_count + 1, 0))
        return AS_ERR_NOMEM;
    txn_rollback(txn, run);
    txn_run_move(txn, run, TXN_RUN_ABORTING);
    run->reason = reason;
    run->decided_ms = txn->wall_ms;
    txn->counts.aborted[why->code]++;
    txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_TXN_ABORTED,
                                          .attempt = run->attempt,
                                          .branch = why->branch,
                                          .id = run->id,
                                          .name = why->participant[0] ? why->participant : NULL,
                                          .detail = why->message});
    txn_waiters_tell(txn, run, false);
    txn_timer_stop(txn, &run->timer);
    txn_run_drop_results(txn, run);
    txn_lazy_add(txn, run);
    return AS_OK;
}

/* The voting time is up; the first branch that has not voted is named. */
as_err txn_abort_late(struct txn *txn, struct txn_run *run)
{
    const struct txn_branch *late = NULL;
    struct txn_blob *reason;
    char message[96];

    for (uint32_t i = 0; i < run->branch_count && !late; i++) {
        if (txn_link_in(&run->branches[i].link))
            late = &run->branches[i];
    }
    AS_ASSERT(late);
    snprintf(message, sizeof(message), "this branch had not voted after %u ms", run->timeout_ms);
    reason = txn_reason_of_branch(late, AS_REASON_TIMEOUT,
                                  (struct as_bytes){(const uint8_t *)message, strlen(message)});
    if (!reason)
        return AS_ERR_NOMEM;
    if (txn_abort(txn, run, reason)) {
        as_free(reason);
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}

/*
 * R4: the log never accepted the COMMIT, so nothing of it can ever be committed. No ABORT is
 * proposed: of one attempt never both (R2), and whoever asks hears abort from R3's last row.
 */
as_err txn_on_refused(struct txn *txn, const struct txn_event *event)
{
    struct txn_run *run = txn_run_by_attempt(txn, event->refused.attempt);

    if (!run || run->state != TXN_RUN_DECIDING)
        return txn_acknowledgers_refuse(txn, event->refused.attempt, event->refused.why);
    if (txn_waiters_reserve(txn, run, run->branch_count + 1, 0))
        return AS_ERR_NOMEM;
    txn_rollback(txn, run);
    txn->counts.aborted[AS_REASON_OVERLOADED]++;
    txn_trace_put(txn, &(struct as_trace){.kind = AS_TRACE_TXN_ABORTED,
                                          .attempt = run->attempt,
                                          .id = run->id,
                                          .detail = "the log did not accept the decision"});
    txn_waiters_refuse(txn, run, event->refused.why);
    txn_run_gone(txn, run);
    return AS_OK;
}
