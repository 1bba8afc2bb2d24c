/*
 * Requests of clients: submit and get (R9). Fault model: any request may come twice, at the same
 * time or hours later; a crash after the run is registered loses it, which is an abort. Memory may
 * be short before anything changed.
 */
#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/txn/core.h"

/* How far a client's clock may run ahead of the leader's before its UUIDv7 counts as from the
 * future. */
#define FUTURE_MS_MAX 60000

/* --- Answers to what is known already --- */

static as_err reply_run(struct txn *txn, uint64_t client, const struct txn_run *run)
{
    if (!client)
        return AS_OK;
    if (txn_out_reserve(&txn->out, 1, txn_view_bytes(run->branch_count)))
        return AS_ERR_NOMEM;
    txn_reply(txn, client, run->id, txn_view_run(txn, run));
    return AS_OK;
}

static as_err reply_outcome(struct txn *txn, uint64_t client, const struct txn_outcome *outcome)
{
    if (!client)
        return AS_OK;
    if (txn_out_reserve(&txn->out, 1, txn_view_bytes(outcome->branch_count)))
        return AS_ERR_NOMEM;
    txn_reply(txn, client, outcome->id, txn_view_outcome(txn, outcome));
    return AS_OK;
}

static as_err wait_for(struct txn *txn, uint64_t client, struct txn_run *run,
                       enum txn_waiter_kind kind, uint32_t timeout_ms)
{
    struct txn_waiter *waiter = txn_waiter_new(txn, client);

    if (!waiter)
        return AS_ERR_NOMEM;
    txn_waiter_enter(txn, waiter, run, kind, txn->now + (as_time)timeout_ms * AS_MS);
    return AS_OK;
}

static uint32_t timeout_of(const struct as_submit *submit)
{
    if (submit->timeout_ms == 0)
        return AS_TIMEOUT_MS_DEFAULT;
    return submit->timeout_ms < AS_TIMEOUT_MS_MAX ? submit->timeout_ms : AS_TIMEOUT_MS_MAX;
}

/* A heuristic branch will not be applied before an operator came: nobody is kept waiting for that.
 */
static bool worth_waiting(const struct txn_run *run, enum as_wait wait)
{
    if (wait == AS_WAIT_NONE)
        return false;
    if (txn_run_undecided(run))
        return true;
    return wait == AS_WAIT_APPLIED && run->state == TXN_RUN_COMMITTED && run->outcome->waiting == 0;
}

/* The same id and body: joins the first, whose outcome is this one's too (R9). */
static as_err join(struct txn *txn, uint64_t client, const struct as_submit *submit,
                   struct txn_run *run)
{
    if (memcmp(run->body_hash, submit->body_hash, AS_HASH_LEN) != 0)
        return txn_refuse(txn, client, submit->id, AS_REFUSAL_ID_REUSED);
    if (!client)
        return AS_OK;
    if (!worth_waiting(run, submit->wait))
        return reply_run(txn, client, run);
    return wait_for(txn, client, run,
                    submit->wait == AS_WAIT_APPLIED ? TXN_WAITS_APPLIED : TXN_WAITS_DECIDED,
                    timeout_of(submit));
}

/* --- A new attempt --- */

static uint32_t classify(const struct txn *txn, const struct as_submit *submit, bool known)
{
    const struct txn_drive *drive = &txn->drive;
    int64_t log_ms = txn->table.time_ms + (txn->now - drive->applied_at) / AS_MS, born_ms;

    if (!known && as_id_uuid7_ms(submit->id, strlen(submit->id), &born_ms) &&
        (born_ms <= txn->table.evicted_ms || born_ms > txn->wall_ms + FUTURE_MS_MAX))
        return AS_REFUSAL_ID_EXPIRED;
    if (drive->undecided >= drive->undecided_max)
        return AS_REFUSAL_OVERLOADED;
    if (!known && !txn_outcome_room(txn, drive->undecided, log_ms))
        return AS_REFUSAL_OUTCOMES_FULL;
    return AS_REFUSAL_COUNT;
}

/* Everything that beginning may need, gathered before anything changes. */
struct beginning {
    struct txn_run *run;
    struct txn_waiter *waiter;
    struct txn_blob *reason; /* not NULL: aborted at once, nothing is dispatched */
};

static void beginning_discard(struct txn *txn, struct beginning *begin)
{
    if (begin->run) {
        as_free(begin->run->names);
        txn_run_discard(txn, begin->run);
    }
    txn_waiter_discard(txn, begin->waiter);
    as_free(begin->reason);
}

static as_err keep_names(struct txn_run *run, const struct as_submit *submit)
{
    size_t size = (size_t)run->branch_count * (AS_PARTICIPANT_LEN_MAX + 1);
    struct txn_blob *names = as_alloc(sizeof(*names) + size);

    if (!names)
        return AS_ERR_NOMEM;
    memset(names->data, 0, size);
    for (uint32_t i = 0; i < run->branch_count; i++) {
        struct as_bytes name = submit->branches[i].participant;

        memcpy(names->data + (size_t)i * (AS_PARTICIPANT_LEN_MAX + 1), name.data,
               name.len < AS_PARTICIPANT_LEN_MAX ? name.len : AS_PARTICIPANT_LEN_MAX);
    }
    run->names = names;
    return AS_OK;
}

static as_err refuse_branch(struct txn_run *run, const struct as_submit *submit, uint32_t i,
                            struct txn_blob **ret_reason)
{
    static const char unknown[] = "no agent has ever served this participant";
    static const char unavailable[] = "no agent serves this participant now";
    const struct txn_branch *branch = &run->branches[i];
    bool known = branch->participant != NULL;
    struct as_bytes name = submit->branches[i].participant;
    struct as_reason *reason;

    *ret_reason = txn_reason_of_branch(
        branch, known ? AS_REASON_PARTICIPANT_UNAVAILABLE : AS_REASON_UNKNOWN_PARTICIPANT,
        known ? (struct as_bytes){(const uint8_t *)unavailable, sizeof(unavailable) - 1}
              : (struct as_bytes){(const uint8_t *)unknown, sizeof(unknown) - 1});
    if (!*ret_reason)
        return AS_ERR_NOMEM;
    reason = txn_reason(*ret_reason);
    if (!known && name.len > 0)
        memcpy(reason->participant, name.data,
               name.len < AS_PARTICIPANT_LEN_MAX ? name.len : AS_PARTICIPANT_LEN_MAX);
    return AS_OK;
}

/* All checks before anything is dispatched: of a transaction that cannot run, no branch runs. */
static as_err find_participants(struct txn *txn, const struct as_submit *submit,
                                struct beginning *begin)
{
    struct txn_run *run = begin->run;
    uint32_t missing = UINT32_MAX, idle = UINT32_MAX;

    for (uint32_t i = run->branch_count; i-- > 0;) {
        struct txn_branch *branch = &run->branches[i];
        struct as_bytes name = submit->branches[i].participant;

        branch->participant = txn_participant_find(txn, (const char *)name.data, name.len);
        branch->read_only = submit->branches[i].read_only;
        if (!branch->participant)
            missing = i;
        else if (branch->participant->serving_count == 0)
            idle = i;
    }
    if (missing != UINT32_MAX && keep_names(run, submit))
        return AS_ERR_NOMEM;
    if (missing != UINT32_MAX)
        return refuse_branch(run, submit, missing, &begin->reason);
    if (idle != UINT32_MAX)
        return refuse_branch(run, submit, idle, &begin->reason);
    return AS_OK;
}

static as_err prepare(struct txn *txn, uint64_t client, const struct as_submit *submit,
                      struct beginning *begin)
{
    size_t bytes = txn_view_bytes(submit->branch_count) + 64;

    begin->run = txn_run_new(txn, submit->id, submit->branch_count);
    if (!begin->run || find_participants(txn, submit, begin) || txn_run_reserve(txn))
        return AS_ERR_NOMEM;
    /* Also where the answer comes at once: a waiter is how every answer finds its client. */
    if (client) {
        begin->waiter = txn_waiter_new(txn, client);
        if (!begin->waiter)
            return AS_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < submit->branch_count; i++)
        bytes += TXN_ALIGN(submit->branches[i].work.len + 1);
    return txn_out_reserve(&txn->out, submit->branch_count + 4, bytes);
}

/* R2: once, to one session; its vote counts only there. */
static void dispatch(struct txn *txn, struct txn_run *run, const struct as_submit *submit)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        struct txn_branch *branch = &run->branches[i];
        struct txn_serving *serving = txn_serving_next(branch->participant);
        struct as_bytes work = submit->branches[i].work;
        struct as_wire_execute *execute;

        branch->session = serving->session->id;
        branch->slot = serving->slot;
        branch->state = TXN_BRANCH_EXECUTING;
        txn_list_append(&serving->session->votes, &branch->link);
        execute = &txn_send(txn, branch->session, AS_WIRE_EXECUTE)->execute;
        execute->branch = txn_wire_branch(branch);
        execute->timeout_ms = run->timeout_ms;
        execute->id = (struct as_bytes){(const uint8_t *)run->id, strlen(run->id)};
        execute->work.data =
            (const uint8_t *)txn_out_text(&txn->out, (const char *)work.data, work.len);
        execute->work.len = work.len;
    }
    run->votes_missing = run->branch_count;
}

static as_err begin_run(struct txn *txn, uint64_t client, const struct as_submit *submit)
{
    struct beginning begin = {.run = NULL};
    struct txn_run *run;
    bool answer_now = submit->wait == AS_WAIT_NONE;

    if (prepare(txn, client, submit, &begin)) {
        beginning_discard(txn, &begin);
        return AS_ERR_NOMEM;
    }
    run = begin.run;
    run->attempt = (struct as_attempt){txn->drive.term, ++txn->drive.seq};
    memcpy(run->body_hash, submit->body_hash, AS_HASH_LEN);
    run->created_ms = txn->wall_ms;
    run->timeout_ms = timeout_of(submit);
    run->since = txn->now;
    run->deadline = txn->now + (as_time)run->timeout_ms * AS_MS;
    txn_run_enter(txn, run);
    txn_run_move(txn, run, TXN_RUN_ACTIVE);
    txn_timer_set(txn, &run->timer, run->deadline);
    if (begin.waiter)
        txn_waiter_enter(txn, begin.waiter, run,
                         submit->wait == AS_WAIT_APPLIED ? TXN_WAITS_APPLIED : TXN_WAITS_DECIDED,
                         run->deadline);
    /* A crash here: nobody but this process has heard of the attempt. */
    AS_CRASH_POINT("node.attempt.registered");
    txn_trace(txn, AS_TRACE_TXN_BEGUN, run, 0);
    if (begin.reason) {
        txn_must(txn_abort(txn, run, begin.reason)); /* from what was reserved above */
        return AS_OK;
    }
    dispatch(txn, run, submit);
    if (answer_now)
        txn_waiters_tell(txn, run, false);
    return AS_OK;
}

as_err txn_on_submit(struct txn *txn, const struct txn_event *event)
{
    const struct as_submit *submit = event->submit.submit;
    uint64_t client = event->submit.client;
    const struct txn_outcome *outcome;
    struct txn_run *run;
    uint32_t refusal;

    AS_ASSERT(submit->branch_count >= 1 && submit->branch_count <= AS_BRANCHES_MAX);
    AS_ASSERT(as_id_valid(submit->id, strlen(submit->id)));
    if (!txn->drive.leading) /* R9: nothing begins before this leader's own NOOP is applied */
        return txn_refuse(txn, client, submit->id, AS_REFUSAL_NO_LEADER);
    run = txn_run_by_id(txn, submit->id);
    if (run && run->state != TXN_RUN_ABORTING)
        return join(txn, client, submit, run);
    outcome = txn_outcome_by_id(txn, submit->id);
    if (outcome && outcome->committed) {
        if (memcmp(outcome->body_hash, submit->body_hash, AS_HASH_LEN) != 0)
            return txn_refuse(txn, client, submit->id, AS_REFUSAL_ID_REUSED);
        return reply_outcome(txn, client, outcome);
    }
    refusal = classify(txn, submit, run || outcome);
    if (refusal != AS_REFUSAL_COUNT)
        return txn_refuse(txn, client, submit->id, (enum as_refusal)refusal);
    return begin_run(txn, client, submit);
}

as_err txn_on_get(struct txn *txn, const struct txn_event *event)
{
    uint64_t client = event->get.client;
    const struct txn_outcome *outcome;
    struct txn_run *run;

    /* Whether this node's table is new enough is the node's to say (coordinator/node/read.c). */
    run = txn_run_by_id(txn, event->get.id);
    if (run && txn_run_undecided(run) && event->get.wait_ms > 0 && client)
        return wait_for(txn, client, run, TXN_WAITS_TOLD, event->get.wait_ms);
    if (run)
        return reply_run(txn, client, run);
    outcome = txn_outcome_by_id(txn, event->get.id);
    if (outcome)
        return reply_outcome(txn, client, outcome);
    return txn_refuse(txn, client, event->get.id, AS_REFUSAL_NOT_FOUND);
}

void txn_on_forget(struct txn *txn, uint64_t client)
{
    struct txn_waiter *waiter = txn_waiter_find(txn, client);

    if (waiter)
        txn_waiter_leave(txn, waiter);
    else if (!txn_acknowledger_forget(txn, client))
        txn_ask_forget(txn, client);
}
