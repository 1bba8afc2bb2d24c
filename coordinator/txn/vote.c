/*
 * Votes (R2, R10). A vote counts only from the session and slot that the branch was dispatched to,
 * for that very attempt, while it is undecided. Fault model: votes may come late, twice, from
 * others, or not at all; an agent that says what it cannot say is taken for a no.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* The branch that this vote may speak for; NULL: it counts for nothing. */
static struct txn_branch *voter(struct txn *txn, uint64_t session, const struct as_wire_vote *vote)
{
    struct txn_run *run = txn_run_by_attempt(txn, vote->branch.attempt);
    struct txn_branch *branch;

    if (!run || (run->state != TXN_RUN_ACTIVE && run->state != TXN_RUN_PREPARING))
        return NULL;
    branch = txn_run_branch(run, vote->branch.number);
    if (!branch || branch->session != session || branch->slot != vote->branch.slot)
        return NULL;
    return branch;
}

static as_err vote_no(struct txn *txn, struct txn_branch *branch, const struct as_wire_vote *vote)
{
    bool plain = vote->vote == AS_VOTE_NO;
    enum as_reason_code code = AS_REASON_PREPARE_REFUSED;
    struct txn_blob *blob;
    struct as_reason *reason;
    enum txn_branch_state before = (enum txn_branch_state)branch->state;
    static const char odd[] = "the agent's vote does not fit this branch";

    if (plain && vote->code > AS_REASON_NONE && vote->code < AS_REASON_COUNT)
        code = vote->code;
    blob = txn_reason_of_branch(branch, code,
                                plain ? vote->message
                                      : (struct as_bytes){(const uint8_t *)odd, sizeof(odd) - 1});
    if (!blob)
        return AS_ERR_NOMEM;
    reason = txn_reason(blob);
    if (plain) {
        reason->statement = vote->statement < -1 ? -1 : vote->statement;
        memcpy(reason->sqlstate, vote->sqlstate, sizeof(reason->sqlstate));
        if (strnlen(reason->sqlstate, sizeof(reason->sqlstate)) != 5)
            memset(reason->sqlstate, 0, sizeof(reason->sqlstate));
        if (before !=
            TXN_BRANCH_PREPARED) /* one that said yes before is told to abort like the rest */
            branch->state = TXN_BRANCH_REFUSED;
    }
    if (txn_abort(txn, branch->run, blob)) {
        branch->state = (uint8_t)before;
        as_free(blob);
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}

/* The vote that was awaited: keeps what came with it, and decides if it was the last. */
static as_err vote_counts(struct txn *txn, struct txn_branch *branch,
                          const struct as_wire_vote *vote, enum txn_branch_state state)
{
    struct txn_run *run = branch->run;
    struct txn_blob *results = NULL;

    if (vote->results.len > 0 && state != TXN_BRANCH_READ) {
        results = txn_blob_new(vote->results.data, vote->results.len);
        if (!results)
            return AS_ERR_NOMEM;
    }
    if (txn_decide_reserve(txn, run)) {
        as_free(results);
        return AS_ERR_NOMEM;
    }
    if (results)
        branch->results = results;
    branch->state = (uint8_t)state;
    if (state == TXN_BRANCH_PREPARED) {
        branch->xid = vote->xid;
        branch->identity = vote->identity;
    }
    if (state == TXN_BRANCH_READ)
        run->reads_missing--;
    else
        run->votes_missing--;
    if (state != TXN_BRANCH_READY)
        txn_link_remove(&branch->link); /* if its session ends now, its vote stands */
    if (run->state == TXN_RUN_ACTIVE)
        txn_run_move(txn, run, TXN_RUN_PREPARING);
    txn_decide(txn, run);
    return AS_OK;
}

/* What a vote says of a branch in each state: it counts, was said before, or cannot be. */
enum verdict { COUNTS, AGAIN, CANNOT };

static enum verdict judge(const struct txn_branch *branch, enum as_vote vote)
{
    switch (branch->state) {
    case TXN_BRANCH_EXECUTING:
        return vote == (branch->read_only ? AS_VOTE_READY : AS_VOTE_YES) ? COUNTS : CANNOT;
    case TXN_BRANCH_PREPARED:
        return vote == AS_VOTE_YES ? AGAIN : CANNOT;
    case TXN_BRANCH_READY:
        return vote == AS_VOTE_READY ? AGAIN : CANNOT;
    case TXN_BRANCH_CLOSING:
        return vote == AS_VOTE_READ_ONLY ? COUNTS : vote == AS_VOTE_READY ? AGAIN : CANNOT;
    case TXN_BRANCH_READ:
        return vote == AS_VOTE_READ_ONLY || vote == AS_VOTE_READY ? AGAIN : CANNOT;
    default:
        return AGAIN;
    }
}

as_err txn_on_vote(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_vote *vote = event->vote.vote;
    struct txn_branch *branch = voter(txn, event->vote.session, vote);
    enum txn_branch_state next = TXN_BRANCH_PREPARED;

    if (!branch)
        return AS_OK;
    if (vote->vote == AS_VOTE_NO)
        return vote_no(txn, branch, vote);
    switch (judge(branch, vote->vote)) {
    case COUNTS:
        if (branch->read_only)
            next = branch->state == TXN_BRANCH_CLOSING ? TXN_BRANCH_READ : TXN_BRANCH_READY;
        return vote_counts(txn, branch, vote, next);
    case AGAIN:
        return AS_OK;
    case CANNOT:
        break;
    }
    return vote_no(txn, branch, vote);
}

/* Its session ended before it voted: the vote is no (R2). */
as_err txn_vote_lost(struct txn *txn, struct txn_branch *branch)
{
    static const char message[] = "the agent's session ended before this branch had voted";
    struct txn_blob *reason =
        txn_reason_of_branch(branch, AS_REASON_PARTICIPANT_UNAVAILABLE,
                             (struct as_bytes){(const uint8_t *)message, sizeof(message) - 1});

    if (!reason)
        return AS_ERR_NOMEM;
    if (txn_abort(txn, branch->run, reason)) {
        as_free(reason);
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}
