/*
 * Heuristic outcomes (R7): logged, shown, and kept until an operator acknowledges them. Fault
 * model: an operator may ask twice, or about what is none; the log may not take the record now.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* An operator whose acknowledgement is not applied by then is told to ask again. */
#define ACKNOWLEDGE_WAIT (30 * AS_SECOND)

static enum as_branch_state state_of(enum as_ack ack)
{
    switch (ack) {
    case AS_ACK_HEURISTIC_COMMIT:
        return AS_BRANCH_HEURISTIC_COMMIT;
    case AS_ACK_LOST_PREPARE:
        return AS_BRANCH_LOST_PREPARE;
    case AS_ACK_UNVERIFIED:
        return AS_BRANCH_UNVERIFIED;
    default:
        return AS_BRANCH_HEURISTIC_ABORT;
    }
}

void txn_propose_heuristic(struct txn *txn, struct as_attempt attempt, uint32_t branch,
                           enum as_ack ack, uint32_t participant, const char *id)
{
    struct txn_record record = {.type = TXN_RECORD_HEURISTIC};

    record.heuristic.attempt = attempt;
    record.heuristic.branch = branch;
    record.heuristic.what = state_of(ack);
    record.heuristic.participant = participant;
    memcpy(record.heuristic.id, id, strlen(id) + 1);
    txn_propose(txn, &record, false, (struct as_attempt){0, 0}, TXN_SMALL_RECORD_BYTES);
}

/*
 * An abort found the branch committed. Nobody is told again about an aborted attempt, so this is
 * said once: its id comes from the run, the outcome, or the inquiry that was answered with abort.
 */
as_err txn_on_ack_aborted(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_ack *ack = event->ack.ack;
    struct as_attempt attempt = ack->branch.attempt;
    struct txn_run *run = txn_run_by_attempt(txn, attempt);
    const struct txn_outcome *outcome = txn_outcome_by_attempt(txn, attempt);
    const struct txn_participant *participant =
        txn_serving_participant(txn, event->ack.session, ack->branch.slot);
    const char *id = run ? run->id : outcome ? outcome->id : txn_doubt_id(txn, attempt);

    if (ack->ack != AS_ACK_HEURISTIC_COMMIT || txn_table_committed(txn, attempt) || !participant ||
        !id || ack->branch.number < 1 || ack->branch.number > AS_BRANCHES_MAX)
        return AS_OK;
    if (txn_out_reserve(&txn->out, 2, TXN_SMALL_RECORD_BYTES + TXN_ABORT_BYTES + 32))
        return AS_ERR_NOMEM;
    if (run)
        txn_lazy_abort_now(txn, run); /* so that the outcome says why it was aborted */
    txn_propose_heuristic(txn, attempt, ack->branch.number, ack->ack, participant->id, id);
    return AS_OK;
}

/* --- An operator acknowledges --- */

/* The outcome of this id whose branch waits; a superseded attempt may be it. */
static struct txn_outcome *find_waiting(struct txn *txn, const char *id, uint32_t number)
{
    struct txn_link *open = &txn->table.open;

    for (struct txn_link *link = open->prev; link != open; link = link->prev) {
        struct txn_outcome *outcome = TXN_OF(link, struct txn_outcome, open);
        const struct txn_outcome_branch *branch;

        if (outcome->waiting == 0 || strcmp(outcome->id, id) != 0)
            continue;
        branch = txn_outcome_branch(outcome, number);
        if (branch && branch->heuristic && !branch->acknowledged)
            return outcome;
    }
    return NULL;
}

static struct txn_acknowledger *acknowledger_new(struct txn *txn, uint64_t client, const char *id,
                                                 struct as_attempt attempt, uint32_t branch)
{
    struct txn_acknowledger *acknowledger;

    if (txn_timer_reserve(txn))
        return NULL;
    acknowledger = as_alloc_zero(1, sizeof(*acknowledger));
    if (!acknowledger)
        return NULL;
    acknowledger->timer.kind = TXN_TIMER_ACKNOWLEDGER;
    acknowledger->client = client;
    acknowledger->attempt = attempt;
    acknowledger->branch = branch;
    memcpy(acknowledger->id, id, strlen(id) + 1);
    return acknowledger;
}

static void acknowledger_leave(struct txn *txn, struct txn_acknowledger *acknowledger)
{
    txn_timer_stop(txn, &acknowledger->timer);
    txn->drive.timers--;
    txn_link_remove(&acknowledger->link);
    txn_out_free(&txn->out, &acknowledger->trash);
}

as_err txn_on_acknowledge(struct txn *txn, const struct txn_event *event)
{
    const char *id = event->acknowledge.id;
    uint64_t client = event->acknowledge.client;
    struct txn_record record = {.type = TXN_RECORD_ACKNOWLEDGE};
    struct txn_acknowledger *acknowledger = NULL;
    struct txn_outcome *outcome;
    size_t size;

    if (!txn->drive.leading)
        return txn_refuse(txn, client, id, AS_REFUSAL_NO_LEADER);
    outcome = find_waiting(txn, id, event->acknowledge.branch);
    if (!outcome)
        return txn_refuse(txn, client, id,
                          txn_run_by_id(txn, id) || txn_outcome_by_id(txn, id)
                              ? AS_REFUSAL_NOT_HEURISTIC
                              : AS_REFUSAL_NOT_FOUND);
    record.acknowledge.attempt = outcome->attempt;
    record.acknowledge.branch = event->acknowledge.branch;
    record.acknowledge.who = event->acknowledge.who;
    record.acknowledge.why = event->acknowledge.why;
    size = 32 + record.acknowledge.who.len + record.acknowledge.why.len;
    if (client) {
        acknowledger =
            acknowledger_new(txn, client, id, outcome->attempt, record.acknowledge.branch);
        if (!acknowledger)
            return AS_ERR_NOMEM;
    }
    if (txn_out_reserve(&txn->out, 1, size)) {
        as_free(acknowledger);
        return AS_ERR_NOMEM;
    }
    if (acknowledger) {
        txn->drive.timers++;
        txn_list_append(&txn->drive.acknowledgers, &acknowledger->link);
        txn_timer_set(txn, &acknowledger->timer, txn->now + ACKNOWLEDGE_WAIT);
    }
    txn_propose(txn, &record, true, outcome->attempt, size);
    return AS_OK;
}

uint32_t txn_acknowledger_count(const struct txn *txn)
{
    const struct txn_link *head = &txn->drive.acknowledgers;
    uint32_t count = 0;

    for (const struct txn_link *link = head->next; link != head; link = link->next)
        count++;
    return count;
}

void txn_acknowledgers_tell(struct txn *txn, const struct txn_outcome *outcome, uint32_t branch,
                            const struct as_txn_view *view)
{
    struct txn_link *head = &txn->drive.acknowledgers, *link = head->next, *next;

    for (; link != head; link = next) {
        struct txn_acknowledger *one = TXN_OF(link, struct txn_acknowledger, link);

        next = link->next;
        if (!as_attempt_equal(one->attempt, outcome->attempt) || one->branch != branch)
            continue;
        txn_reply(txn, one->client, one->id, view);
        acknowledger_leave(txn, one);
    }
}

as_err txn_acknowledgers_refuse(struct txn *txn, struct as_attempt attempt, enum as_refusal why)
{
    struct txn_link *head = &txn->drive.acknowledgers, *link = head->next, *next;
    bool all = attempt.term == 0;

    if (txn_out_reserve(&txn->out, txn_acknowledger_count(txn), 0))
        return AS_ERR_NOMEM;
    for (; link != head; link = next) {
        struct txn_acknowledger *one = TXN_OF(link, struct txn_acknowledger, link);

        next = link->next;
        if (!all && !as_attempt_equal(one->attempt, attempt))
            continue;
        txn_reply_refused(txn, one->client, one->id, why);
        acknowledger_leave(txn, one);
    }
    return AS_OK;
}

as_err txn_due_acknowledger(struct txn *txn, struct txn_acknowledger *acknowledger)
{
    if (txn_out_reserve(&txn->out, 1, 0))
        return AS_ERR_NOMEM;
    txn_reply_refused(txn, acknowledger->client, acknowledger->id, AS_REFUSAL_OUTCOME_UNKNOWN);
    acknowledger_leave(txn, acknowledger);
    return AS_OK;
}

bool txn_acknowledger_forget(struct txn *txn, uint64_t client)
{
    struct txn_link *head = &txn->drive.acknowledgers;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_acknowledger *one = TXN_OF(link, struct txn_acknowledger, link);

        if (one->client == client) {
            acknowledger_leave(txn, one);
            return true;
        }
    }
    return false;
}

void txn_acknowledgers_close(struct txn *txn)
{
    struct txn_link *head = &txn->drive.acknowledgers;

    while (!txn_list_empty(head)) {
        struct txn_acknowledger *one = TXN_OF(head->next, struct txn_acknowledger, link);

        txn_link_remove(&one->link);
        as_free(one);
    }
}
