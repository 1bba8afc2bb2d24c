/*
 * Clients that wait for a run. One that waits as long as the run may vote rides on the run's
 * deadline; others have a timer of their own. Fault model: memory may be short before anything
 * changed; never after.
 */
#include "assent/alloc.h"
#include "coordinator/txn/core.h"

#define WAITERS_KEPT 512u

static uint64_t client_hash(const struct txn *txn, uint64_t client)
{
    return as_hash(&client, sizeof(client), txn->hash_seed);
}

static bool match_client(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct txn_waiter *waiter = txn_slots_get(&txn->drive.waiters, handle);

    return waiter->client == *(const uint64_t *)key;
}

struct txn_waiter *txn_waiter_find(const struct txn *txn, uint64_t client)
{
    uint32_t at = as_map_find(&txn->drive.waiters_by_client, client_hash(txn, client), &client,
                              match_client, txn);

    return at == AS_MAP_NONE ? NULL : txn_slots_get(&txn->drive.waiters, at);
}

/* With room for it everywhere: entering cannot fail, and discarding leaves no trace. */
struct txn_waiter *txn_waiter_new(struct txn *txn, uint64_t client)
{
    struct txn_drive *drive = &txn->drive;
    struct txn_waiter *waiter = drive->waiters_free;

    if (txn_slots_reserve(&drive->waiters) || as_map_reserve(&drive->waiters_by_client, 1) ||
        txn_timer_reserve(txn))
        return NULL;
    if (waiter) {
        drive->waiters_free = waiter->next_free;
        drive->waiters_free_count--;
    } else {
        waiter = as_alloc(sizeof(*waiter));
        if (!waiter)
            return NULL;
    }
    *waiter = (struct txn_waiter){.client = client};
    waiter->timer.kind = TXN_TIMER_WAITER;
    return waiter;
}

void txn_waiter_discard(struct txn *txn, struct txn_waiter *waiter)
{
    if (!waiter)
        return;
    if (txn->drive.waiters_free_count >= WAITERS_KEPT) {
        as_free(waiter);
        return;
    }
    waiter->next_free = txn->drive.waiters_free;
    txn->drive.waiters_free = waiter;
    txn->drive.waiters_free_count++;
}

void txn_waiter_enter(struct txn *txn, struct txn_waiter *waiter, struct txn_run *run,
                      enum txn_waiter_kind kind, as_time deadline)
{
    waiter->run = run;
    waiter->kind = kind;
    waiter->rides = deadline == run->deadline && run->timer.node.slot;
    waiter->handle = txn_slots_take(&txn->drive.waiters, waiter);
    txn_must(as_map_insert(&txn->drive.waiters_by_client, client_hash(txn, waiter->client),
                           waiter->handle));
    txn_list_append(&run->waiters, &waiter->link);
    run->waiter_count++;
    txn->drive.timers++;
    if (!waiter->rides)
        txn_timer_set(txn, &waiter->timer, deadline);
}

void txn_waiter_leave(struct txn *txn, struct txn_waiter *waiter)
{
    txn_link_remove(&waiter->link);
    waiter->run->waiter_count--;
    txn_timer_stop(txn, &waiter->timer);
    txn->drive.timers--;
    as_map_remove(&txn->drive.waiters_by_client, client_hash(txn, waiter->client), waiter->handle);
    txn_slots_drop(&txn->drive.waiters, waiter->handle);
    txn_waiter_discard(txn, waiter);
}

as_err txn_waiters_reserve(struct txn *txn, const struct txn_run *run, size_t effects, size_t bytes)
{
    return txn_out_reserve(&txn->out, run->waiter_count + effects,
                           txn_view_bytes(run->branch_count) + bytes);
}

void txn_waiters_tell(struct txn *txn, struct txn_run *run, bool decided_only)
{
    struct txn_link *link = run->waiters.next, *next;
    struct as_txn_view *view = NULL;

    for (; link != &run->waiters; link = next) {
        struct txn_waiter *waiter = TXN_OF(link, struct txn_waiter, link);

        next = link->next;
        if (decided_only && waiter->kind == TXN_WAITS_APPLIED)
            continue;
        if (!view)
            view = txn_view_run(txn, run);
        txn_reply(txn, waiter->client, run->id, view);
        txn_waiter_leave(txn, waiter);
    }
}

void txn_waiters_refuse(struct txn *txn, struct txn_run *run, enum as_refusal why)
{
    while (!txn_list_empty(&run->waiters)) {
        struct txn_waiter *waiter = TXN_OF(run->waiters.next, struct txn_waiter, link);

        txn_reply_refused(txn, waiter->client, run->id, why);
        txn_waiter_leave(txn, waiter);
    }
}

/*
 * What is known now: the decision (202 if it is not applied everywhere), or for one who only asked,
 * the state. One who wants a decision that is not there must ask again.
 */
void txn_waiter_expire(struct txn *txn, struct txn_waiter *waiter)
{
    struct txn_run *run = waiter->run;

    if (txn_run_undecided(run) && waiter->kind != TXN_WAITS_TOLD)
        txn_reply_refused(txn, waiter->client, run->id, AS_REFUSAL_OUTCOME_UNKNOWN);
    else
        txn_reply(txn, waiter->client, run->id, txn_view_run(txn, run));
    txn_waiter_leave(txn, waiter);
}

void txn_waiters_close(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;

    for (uint32_t c = 0; c < drive->waiters.chunk_count; c++) {
        for (uint32_t i = 0; i < TXN_SLOTS_CHUNK; i++) {
            void *object = drive->waiters.chunks[c][i];

            if (!((uintptr_t)object & 1u))
                as_free(object);
        }
    }
    while (drive->waiters_free) {
        struct txn_waiter *waiter = drive->waiters_free;

        drive->waiters_free = waiter->next_free;
        as_free(waiter);
    }
    txn_slots_close(&drive->waiters);
    as_map_close(&drive->waiters_by_client);
}
