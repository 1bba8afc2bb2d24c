/*
 * After the decision is applied: every branch is told to commit until it acknowledges (R1, R8).
 * Each participant has its own queues, so a dead one delays no other.
 *
 * Fault model: a message may be lost with its session, a participant may be away for days, an agent
 * may answer "not now" for ever. A crash loses only who has acknowledged; the next leader tells all
 * of them again.
 */
#include <string.h>

#include "assent/crash.h"
#include "coordinator/txn/core.h"

/* Queue 0 is told as soon as somebody serves; a branch told for the nth time waits in queue n. */
#define LEVEL_LAST (TXN_QUEUES - 1)

static as_time backoff(struct txn *txn, unsigned level)
{
    as_time max = (as_time)txn->drive.resend_max_ms * AS_MS;
    as_time delay = (as_time)txn->drive.resend_first_ms * AS_MS << (level - 1);

    if (delay > max || level == LEVEL_LAST)
        delay = max;
    /* Up to a quarter less, so that those who fell silent together do not come back together. */
    return delay - (as_time)as_rng_below(&txn->drive.rng, (uint64_t)delay / 4 + 1);
}

/* To the session that voted, for its connection may still be open (R7); else, or if nothing is heard
 * of that one, to any that serves. */
static void tell(struct txn *txn, struct txn_branch *branch)
{
    struct txn_participant *participant = branch->participant;
    struct txn_serving *serving = txn_serving_of(participant, branch->session, branch->slot);

    if (!serving || serving->session->silent)
        serving = txn_serving_next(participant);
    branch->session = serving->session->id;
    branch->slot = serving->slot;
    branch->level = (uint8_t)(branch->level < LEVEL_LAST ? branch->level + 1 : LEVEL_LAST);
    branch->due_at = txn->now + backoff(txn, branch->level);
    txn_link_remove(&branch->link);
    txn_list_append(&participant->queue[branch->level], &branch->link);
    txn_send_decision(txn, branch->session, AS_WIRE_COMMIT, branch);
}

void txn_queue_urgent(struct txn *txn, struct txn_branch *branch)
{
    struct txn_participant *participant = branch->participant;

    branch->level = 0;
    participant->queued++;
    txn_list_append(&participant->queue[0], &branch->link);
    if (participant->serving_count > 0)
        txn_timer_soon(txn, &participant->resend, txn->now);
}

static void unqueue(struct txn_branch *branch)
{
    if (!txn_link_in(&branch->link))
        return;
    txn_link_remove(&branch->link);
    branch->participant->queued--;
}

void txn_participant_hurry(struct txn *txn, struct txn_participant *participant)
{
    for (int level = 1; level < TXN_QUEUES; level++)
        txn_list_splice(&participant->queue[0], &participant->queue[level]);
    if (!txn_list_empty(&participant->queue[0]) && participant->serving_count > 0)
        txn_timer_soon(txn, &participant->resend, txn->now);
}

static struct txn_branch *first_of(struct txn_link *queue)
{
    return txn_list_empty(queue) ? NULL : TXN_OF(queue->next, struct txn_branch, link);
}

static struct txn_branch *next_due(struct txn *txn, struct txn_participant *participant)
{
    for (int level = 0; level < TXN_QUEUES; level++) {
        struct txn_branch *branch = first_of(&participant->queue[level]);

        /* What comes back from another queue's backoff starts at its own. */
        if (branch && level == 0)
            branch->level = 0;
        if (branch && (level == 0 || branch->due_at <= txn->now))
            return branch;
    }
    return NULL;
}

/* A queue's first one is its earliest, but for the jitter. */
static void arm(struct txn *txn, struct txn_participant *participant)
{
    as_time at = AS_NEVER;

    for (int level = 1; level < TXN_QUEUES; level++) {
        const struct txn_branch *branch = first_of(&participant->queue[level]);

        if (branch && branch->due_at < at)
            at = branch->due_at;
    }
    txn_timer_set(txn, &participant->resend, at);
}

as_err txn_due_resend(struct txn *txn, struct txn_participant *participant, uint32_t *budget)
{
    struct txn_branch *branch;
    bool some = false;

    if (participant->serving_count == 0) {
        txn_timer_stop(txn, &participant->resend); /* until somebody serves it again */
        return AS_OK;
    }
    while (*budget > 0 && (branch = next_due(txn, participant))) {
        if (txn_out_reserve(&txn->out, 1, 0))
            return some ? AS_OK : AS_ERR_NOMEM;
        tell(txn, branch);
        some = true;
        (*budget)--;
    }
    if (*budget > 0)
        arm(txn, participant);
    return AS_OK;
}

/* --- The decision is applied --- */

void txn_committed(struct txn *txn, struct txn_run *run, struct txn_outcome *outcome,
                   uint64_t index)
{
    run->outcome = outcome;
    run->index = index;
    txn_run_move(txn, run, TXN_RUN_COMMITTED);
    txn->counts.committed++;
    txn_trace(txn, AS_TRACE_TXN_COMMITTED, run, (uint64_t)(txn->now - run->since));
    run->since = txn->now;
    for (uint32_t i = 0; i < run->branch_count; i++) {
        struct txn_branch *branch = &run->branches[i];

        if (branch->read_only)
            continue;
        branch->state = TXN_BRANCH_COMMITTING;
        run->unacknowledged++;
        branch->level = 0;
        branch->participant->queued++;
        if (branch->participant->serving_count == 0) {
            txn_list_append(&branch->participant->queue[0], &branch->link);
        } else {
            tell(txn, branch);
            txn_timer_soon(txn, &branch->participant->resend, branch->due_at);
        }
    }
    txn_waiters_tell(txn, run, true);
    if (run->waiter_count == 0)
        txn_run_drop_results(txn, run);
}

/* --- Acknowledgements --- */

static void finished(struct txn *txn, struct txn_run *run)
{
    txn_run_move(txn, run, TXN_RUN_FINISHED);
    txn->counts.finished++;
    txn_trace(txn, AS_TRACE_TXN_FINISHED, run, (uint64_t)(txn->now - run->since));
    txn_waiters_tell(txn, run, false);
    txn_timer_stop(txn, &run->timer);
    txn_run_drop_results(txn, run);
    if (!txn_link_in(&run->lazy))
        txn_lazy_add(txn, run);
}

/*
 * FINISH does not wait for an operator: what stands in no log is asked again by the next leader, and a database that has
 * failed over meanwhile may not be able to prove any more what it had acknowledged (decisions/0016).
 */
void txn_acknowledged(struct txn *txn, struct txn_run *run)
{
    if (run->unacknowledged > 0)
        return;
    if (run->heuristics == 0)
        finished(txn, run);
    else if (!run->outcome->acknowledged && !txn_link_in(&run->lazy))
        txn_lazy_add(txn, run);
}

void txn_branch_done(struct txn *txn, struct txn_branch *branch)
{
    struct txn_run *run = branch->run;

    AS_ASSERT(branch->state == TXN_BRANCH_COMMITTING || branch->state == TXN_BRANCH_HEURISTIC);
    unqueue(branch);
    if (branch->state == TXN_BRANCH_COMMITTING)
        run->unacknowledged--;
    else
        run->heuristics--;
    branch->state = TXN_BRANCH_DONE;
    txn_acknowledged(txn, run);
}

/* It waits for an operator from now on, not for its agent: resending ends, and so does waiting. */
void txn_branch_heuristic(struct txn *txn, struct txn_branch *branch)
{
    struct txn_run *run = branch->run;

    AS_ASSERT(branch->state == TXN_BRANCH_COMMITTING);
    unqueue(branch);
    branch->state = TXN_BRANCH_HEURISTIC;
    run->unacknowledged--;
    run->heuristics++;
    txn_waiters_tell(txn, run, false);
    txn_run_drop_results(txn, run);
    txn_acknowledged(txn, run);
}

static as_err ack_committed(struct txn *txn, struct txn_branch *branch)
{
    if (txn_waiters_reserve(txn, branch->run, 1, 0))
        return AS_ERR_NOMEM;
    /* A crash here: this branch is finished and nobody knows; the next leader tells it again. */
    AS_CRASH_POINT("node.branch.acknowledged");
    txn_branch_done(txn, branch);
    return AS_OK;
}

static as_err ack_heuristic(struct txn *txn, struct txn_branch *branch, enum as_ack ack)
{
    if (txn_out_reserve(&txn->out, 1, TXN_SMALL_RECORD_BYTES))
        return AS_ERR_NOMEM;
    /* Not forced: as long as it is not applied the branch is told again and says so again. */
    txn_propose_heuristic(txn, branch->run->attempt, branch->number, ack, branch->participant->id,
                          branch->run->id);
    return AS_OK;
}

as_err txn_on_ack(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_ack *ack = event->ack.ack;
    struct txn_run *run = txn_run_by_attempt(txn, ack->branch.attempt);
    struct txn_branch *branch;

    if (!txn->drive.leading)
        return AS_OK;
    if (!run || run->state == TXN_RUN_ABORTING)
        return txn_on_ack_aborted(txn, event);
    branch = txn_run_branch(run, ack->branch.number);
    if (!branch || branch->state != TXN_BRANCH_COMMITTING)
        return AS_OK; /* said before, or nothing was asked */
    if ((branch->session != event->ack.session || branch->slot != ack->branch.slot) &&
        txn_serving_participant(txn, event->ack.session, ack->branch.slot) != branch->participant)
        return AS_OK; /* one participant does not speak for another */
    switch (ack->ack) {
    case AS_ACK_COMMITTED:
        return ack_committed(txn, branch);
    case AS_ACK_HEURISTIC_ABORT:
    case AS_ACK_LOST_PREPARE:
    case AS_ACK_UNVERIFIED:
        return ack_heuristic(txn, branch, ack->ack);
    case AS_ACK_ABORTED:
    case AS_ACK_HEURISTIC_COMMIT:
    case AS_ACK_RETRY:
        break; /* the first two do not answer a commit; the third is what backoff is for */
    }
    return AS_OK;
}
