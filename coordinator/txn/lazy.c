/*
 * FINISH and ABORT records: nobody waits for them (R8), so they gather and travel together. Fault
 * model: the log may drop one (no space); what is not applied after a while is proposed again, and
 * folding it twice changes nothing. A crash loses what gathered: the next leader tells those
 * branches again, or presumes abort.
 */
#include <string.h>

#include "coordinator/txn/core.h"

/* So many make it worth while to send FINISH beside a COMMIT, without waiting for lazy_ms. */
#define RIDE_MIN 32u
#define PROPOSE_AGAIN (10 * AS_SECOND)

static as_time lazy_delay(const struct txn *txn)
{
    return (as_time)txn->drive.lazy_ms * AS_MS;
}

void txn_lazy_add(struct txn *txn, struct txn_run *run)
{
    struct txn_drive *drive = &txn->drive;
    uint32_t *count = run->outcome ? &drive->finishing_count : &drive->aborting_count;

    AS_ASSERT(run->outcome ? run->unacknowledged == 0 : run->state == TXN_RUN_ABORTING);
    if (drive->finishing_count + drive->aborting_count == 0)
        drive->gathered_at = txn->now;
    txn_list_append(run->outcome ? &drive->finishing : &drive->aborting, &run->lazy);
    run->lazy_at = AS_NEVER;
    (*count)++;
    txn_timer_soon(txn, &drive->lazy,
                   *count >= TXN_LAZY_COUNT ? txn->now : drive->gathered_at + lazy_delay(txn));
}

static void uncount(struct txn *txn, const struct txn_run *run)
{
    if (run->lazy_at != AS_NEVER)
        return; /* proposed: in no count */
    if (run->outcome)
        txn->drive.finishing_count--;
    else
        txn->drive.aborting_count--;
}

void txn_lazy_remove(struct txn *txn, struct txn_run *run)
{
    if (!txn_link_in(&run->lazy))
        return;
    uncount(txn, run);
    txn_link_remove(&run->lazy);
}

/* On its way: it goes when its record is applied. */
static void proposed(struct txn *txn, struct txn_run *run)
{
    uncount(txn, run);
    run->lazy_at = txn->now;
    txn_link_remove(&run->lazy);
    txn_list_append(&txn->drive.proposed, &run->lazy);
    txn_timer_soon(txn, &txn->drive.lazy, txn->now + PROPOSE_AGAIN);
}

static void propose_finish(struct txn *txn)
{
    struct txn_link *head = &txn->drive.finishing;
    struct txn_record record = {.type = TXN_RECORD_FINISH};
    uint8_t attempts[TXN_LAZY_COUNT * 16];
    struct as_buf buf = {.data = attempts, .cap = sizeof(attempts), .max = sizeof(attempts)};

    while (!txn_list_empty(head) && record.finish.count < TXN_LAZY_COUNT) {
        struct txn_run *run = TXN_OF(head->next, struct txn_run, lazy);

        as_put_u64(&buf, run->attempt.term);
        as_put_u64(&buf, run->attempt.seq);
        record.finish.count++;
        proposed(txn, run);
    }
    record.finish.attempts = as_buf_bytes(&buf);
    txn_propose(txn, &record, false, (struct as_attempt){0, 0}, 2 + buf.len);
}

void txn_lazy_finish_now(struct txn *txn, const struct txn_run *run)
{
    struct txn_record record = {.type = TXN_RECORD_FINISH};
    uint8_t attempt[16];
    struct as_buf buf = {.data = attempt, .cap = sizeof(attempt), .max = sizeof(attempt)};

    as_put_u64(&buf, run->attempt.term);
    as_put_u64(&buf, run->attempt.seq);
    record.finish.count = 1;
    record.finish.attempts = as_buf_bytes(&buf);
    txn_propose(txn, &record, false, (struct as_attempt){0, 0}, 2 + buf.len);
}

void txn_lazy_ride(struct txn *txn)
{
    const struct txn_drive *drive = &txn->drive;

    if (drive->finishing_count >= RIDE_MIN ||
        (drive->finishing_count > 0 && txn->now - drive->gathered_at >= lazy_delay(txn) / 2))
        propose_finish(txn);
}

static void propose_abort(struct txn *txn, struct txn_run *run)
{
    struct txn_record record = {.type = TXN_RECORD_ABORT};

    memcpy(record.abort.id, run->id, sizeof(record.abort.id));
    record.abort.attempt = run->attempt;
    memcpy(record.abort.body_hash, run->body_hash, AS_HASH_LEN);
    record.abort.created_ms = run->created_ms;
    record.abort.decided_ms = run->decided_ms;
    record.abort.reason = *txn_reason(run->reason);
    if (!as_participant_valid(record.abort.reason.participant,
                              strlen(record.abort.reason.participant)))
        record.abort.reason.participant[0] = 0;
    txn_propose(txn, &record, false, (struct as_attempt){0, 0}, TXN_ABORT_BYTES);
    proposed(txn, run);
}

void txn_lazy_abort_now(struct txn *txn, struct txn_run *run)
{
    if (run->state == TXN_RUN_ABORTING && run->lazy_at == AS_NEVER)
        propose_abort(txn, run);
}

/* What the log did not take, or not for long, is gathered again. */
static void gather_again(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;

    while (!txn_list_empty(&drive->proposed)) {
        struct txn_run *run = TXN_OF(drive->proposed.next, struct txn_run, lazy);

        if (txn->now - run->lazy_at < PROPOSE_AGAIN)
            return;
        txn_link_remove(&run->lazy);
        txn_lazy_add(txn, run);
    }
}

static void arm_again(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;
    as_time at = AS_NEVER;

    if (drive->finishing_count + drive->aborting_count > 0)
        at = drive->gathered_at + lazy_delay(txn);
    else if (!txn_list_empty(&drive->proposed))
        at = TXN_OF(drive->proposed.next, struct txn_run, lazy)->lazy_at + PROPOSE_AGAIN;
    txn_timer_set(txn, &drive->lazy, at);
}

as_err txn_due_lazy(struct txn *txn, uint32_t *budget)
{
    struct txn_drive *drive = &txn->drive;
    bool some = false;

    gather_again(txn);
    while (drive->finishing_count + drive->aborting_count > 0 && *budget > 0) {
        if (txn_out_reserve(&txn->out, 1, TXN_LAZY_BYTES + TXN_ABORT_BYTES))
            return some ? AS_OK : AS_ERR_NOMEM;
        if (drive->finishing_count > 0)
            propose_finish(txn);
        else
            propose_abort(txn, TXN_OF(drive->aborting.next, struct txn_run, lazy));
        some = true;
        (*budget)--;
    }
    if (*budget > 0)
        arm_again(txn);
    return AS_OK;
}
