/*
 * R9: one outcome per id. A committed id stays committed, whoever asks, with whatever body; a new attempt begins only
 * where none has committed. An acknowledged outcome survives every crash.
 */
#include "observe.h"
#include "oracle.h"

/* Whether the outcome must still be known: younger than retention_ms of the log's time, which is no faster than ours
 * but for the drift. */
bool rule_r9_kept(const struct sim *sim, const struct sim_attempt *attempt)
{
    as_time age = sim->now - attempt->begun_at; /* at least: its log time is that of its proposal */

    return sim->plan.retention_ms == 0 || age < (as_time)sim->plan.retention_ms * AS_MS / 10 * 9;
}

static bool known_commit(const struct sim *sim, const struct sim_txn *txn)
{
    /* A leader among others hears of a majority a little later than we see it on the disks. */
    return txn->committed && rule_r9_kept(sim, txn->committed) &&
           (sim->lone || txn->committed->told);
}

/* A GET is linearizable: what was told before it was asked is seen, whoever answers. Others may be answered by a leader
 * that was deposed and does not know yet. */
static bool must_know(const struct sim_request *request)
{
    const struct sim *sim = request->node->sim;
    const struct sim_txn *txn = request->txn;

    if (request->read != NODE_READ_LINEARIZABLE)
        return rule_reads_must_know(request);
    return known_commit(sim, txn) &&
           (rule_raft_newest(request->node) ||
            (request->get && txn->committed->told && txn->committed->told_at < request->sent_at));
}

void rule_r9_begins(struct as_env *env, struct sim_attempt *attempt)
{
    if (!rule_raft_newest(env))
        return; /* it may not know; nothing that it begins can commit any more */
    SIM_CHECK(attempt->sim, "R9", !known_commit(attempt->sim, attempt->txn),
              "%s (%llu.%llu) begins, and %s has committed", ATTEMPT_ARGS(attempt),
              attempt->txn->id);
}

static bool other_body_known(const struct sim *sim, const struct sim_request *request)
{
    for (uint32_t i = 0; i < sim->attempt_count; i++) {
        if (sim->attempts[i]->txn == request->txn && sim->attempts[i]->variant != request->variant)
            return true;
    }
    return false;
}

static void reply_refused(struct sim *sim, struct sim_request *request, enum as_refusal refusal)
{
    const struct sim_txn *txn = request->txn;

    sim->counts.refused++;
    if (refusal == AS_REFUSAL_NOT_FOUND)
        SIM_CHECK(sim, "R9", !must_know(request), "%s has committed, and is not found", txn->id);
    if (refusal == AS_REFUSAL_ID_REUSED)
        SIM_CHECK(sim, "R9", other_body_known(sim, request),
                  "%s is refused as reused, and there is no other body", txn->id);
    if (refusal == AS_REFUSAL_ID_EXPIRED)
        SIM_CHECK(sim, "R9", !must_know(request), "%s has committed, and has expired", txn->id);
}

static void reply_committed(struct sim *sim, struct sim_request *request,
                            const struct as_txn_view *view)
{
    struct sim_txn *txn = request->txn;
    struct sim_attempt *attempt = attempt_of(sim, view->attempt);

    SIM_CHECK(sim, "R9", request->get || attempt->variant == request->variant,
              "%s (%llu.%llu) is the answer to a request with another body", ATTEMPT_ARGS(attempt));
    SIM_CHECK(sim, "R9",
              request->read != NODE_READ_LINEARIZABLE || !known_commit(sim, txn) ||
                  txn->committed == attempt,
              "%s (%llu.%llu) is answered as committed, and another attempt has",
              ATTEMPT_ARGS(attempt));
    if (!attempt->told)
        attempt->told_at = sim->now;
    attempt->told = true;
    txn->committed_said = attempt->committed_said = true;
    txn->said_at = sim->now;
}

static void reply_aborted(struct sim *sim, struct sim_request *request,
                          const struct as_txn_view *view)
{
    struct sim_attempt *attempt = attempt_of(sim, view->attempt);

    SIM_CHECK(sim, "R9", !must_know(request), "%s has committed, and is answered as aborted",
              request->txn->id);
    if (!attempt)
        return; /* nothing of it was dispatched */
    SIM_CHECK(
        sim, "R1",
        !attempt->durable && (!attempt->proposed ||
                              attempt->attempt.term != sim->oracle->leads[request->node->proc]),
        "%s (%llu.%llu) is answered as aborted, and its COMMIT is written", ATTEMPT_ARGS(attempt));
    attempt->aborted_said = true;
}

void rule_r9_reply(struct sim_request *request, const struct as_reply *reply)
{
    struct sim *sim = request->node->sim;
    const struct as_txn_view *view = reply->view;

    SIM_CHECK(sim, "R9", strcmp(reply->id, request->txn->id) == 0, "%s is answered with %s",
              request->txn->id, reply->id);
    if (reply->refused) {
        reply_refused(sim, request, reply->refusal);
        return;
    }
    if (view->state == AS_TXN_COMMITTED)
        reply_committed(sim, request, view);
    else if (view->state == AS_TXN_ABORTED)
        reply_aborted(sim, request, view);
    else
        SIM_CHECK(sim, "R9", !must_know(request), "%s has committed, and is answered as undecided",
                  request->txn->id);
    if (!request->settled || !known_commit(sim, request->txn))
        return;
    rule_r7_settled(request->txn->committed, view);
    SIM_CHECK(sim, "durability", view->state == AS_TXN_COMMITTED && view->applied,
              "after healing %s is not answered as committed and applied", request->txn->id);
}
