/*
 * Outcomes: by id, by attempt, in the ring in order of decision, and open (table.h tells what that
 * means). Fault model: memory may be short; a caller reserves first, and entering cannot fail then.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* How many outcomes one entry may move out of the ring: the work of an entry has a bound. */
#define EVICT_MOVES_MAX 8

uint64_t txn_id_hash(const struct txn *txn, const char *id)
{
    return as_hash(id, strlen(id), txn->hash_seed);
}

uint64_t txn_attempt_hash(const struct txn *txn, struct as_attempt attempt)
{
    return as_hash(&attempt, sizeof(attempt), txn->hash_seed);
}

static struct txn_outcome *outcome_at(const struct txn *txn, uint32_t handle)
{
    return handle == AS_MAP_NONE ? NULL : txn_slots_get(&txn->table.outcomes, handle);
}

static bool match_id(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct txn_outcome *outcome = txn_slots_get(&txn->table.outcomes, handle);

    return strcmp(outcome->id, key) == 0;
}

static bool match_attempt(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct txn_outcome *outcome = txn_slots_get(&txn->table.outcomes, handle);

    return as_attempt_equal(outcome->attempt, *(const struct as_attempt *)key);
}

struct txn_outcome *txn_outcome_by_id(const struct txn *txn, const char *id)
{
    return outcome_at(txn, as_map_find(&txn->table.by_id, txn_id_hash(txn, id), id, match_id, txn));
}

struct txn_outcome *txn_outcome_by_attempt(const struct txn *txn, struct as_attempt attempt)
{
    return outcome_at(txn, as_map_find(&txn->table.by_attempt, txn_attempt_hash(txn, attempt),
                                       &attempt, match_attempt, txn));
}

void txn_outcome_expect(const struct txn *txn, const char *id, struct as_attempt attempt)
{
    if (id)
        as_map_expect(&txn->table.by_id, txn_id_hash(txn, id));
    as_map_expect(&txn->table.by_attempt, txn_attempt_hash(txn, attempt));
}

struct txn_outcome_branch *txn_outcome_branch(const struct txn_outcome *outcome, uint32_t number)
{
    for (uint32_t i = 0; i < outcome->branch_count; i++) {
        if (outcome->branches[i].number == number)
            return &outcome->branches[i];
    }
    return NULL;
}

/* --- Making --- */

struct txn_outcome *txn_outcome_committed(const char *id, uint32_t branch_count)
{
    size_t id_size = strlen(id) + 1, branches_size;
    struct txn_outcome *outcome;
    char *id_at;

    branches_size = branch_count * sizeof(struct txn_outcome_branch);
    outcome = as_alloc(sizeof(*outcome) + branches_size + id_size);
    if (!outcome)
        return NULL;
    *outcome = (struct txn_outcome){.committed = true, .branch_count = (uint8_t)branch_count};
    outcome->branches = (struct txn_outcome_branch *)(outcome + 1);
    id_at = (char *)(outcome + 1) + branches_size;
    memcpy(id_at, id, id_size);
    outcome->id = id_at;
    return outcome;
}

size_t txn_why_size(const struct as_reason *reason)
{
    return sizeof(struct txn_why) + strlen(reason->participant) + 1 + strlen(reason->message) + 1;
}

static void why_put(struct txn_why *why, const struct as_reason *reason)
{
    size_t name_size = strlen(reason->participant) + 1;

    why->code = reason->code;
    why->branch = reason->branch;
    why->statement = reason->statement;
    memcpy(why->sqlstate, reason->sqlstate, sizeof(why->sqlstate));
    why->message_at = (uint16_t)name_size;
    memcpy(why->texts, reason->participant, name_size);
    memcpy(why->texts + name_size, reason->message, strlen(reason->message) + 1);
}

void txn_why_reason(const struct txn_why *why, struct as_reason *ret_reason)
{
    if (!why) {
        as_reason_set(ret_reason, AS_REASON_NONE,
                      "no leader decided this attempt, so it is aborted; a branch of it was "
                      "committed by somebody else");
        return;
    }
    *ret_reason =
        (struct as_reason){.code = why->code, .branch = why->branch, .statement = why->statement};
    memcpy(ret_reason->sqlstate, why->sqlstate, sizeof(why->sqlstate));
    memcpy(ret_reason->participant, why->texts, why->message_at);
    memcpy(ret_reason->message, why->texts + why->message_at,
           strlen(why->texts + why->message_at) + 1);
}

struct txn_outcome *txn_outcome_aborted(const char *id, const struct as_reason *reason)
{
    size_t why_size = reason ? txn_why_size(reason) : 0, id_size = strlen(id) + 1;
    struct txn_outcome *outcome = as_alloc(sizeof(*outcome) + why_size + id_size);
    char *id_at;

    if (!outcome)
        return NULL;
    *outcome = (struct txn_outcome){.committed = false};
    if (reason) {
        outcome->why = (struct txn_why *)(void *)(outcome + 1);
        why_put(outcome->why, reason);
    }
    id_at = (char *)(outcome + 1) + why_size;
    memcpy(id_at, id, id_size);
    outcome->id = id_at;
    return outcome;
}

as_err txn_outcome_make_branches(struct txn_outcome *outcome)
{
    size_t size = AS_BRANCHES_MAX * sizeof(struct txn_outcome_branch);
    struct txn_blob *blob;

    if (outcome->branches)
        return AS_OK;
    blob = as_alloc(sizeof(*blob) + size);
    if (!blob)
        return AS_ERR_NOMEM;
    outcome->branches = (struct txn_outcome_branch *)(void *)blob->data;
    return AS_OK;
}

/* The block of those, if it is one of its own. */
static struct txn_blob *own_branches(const struct txn_outcome *outcome)
{
    return outcome->committed || !outcome->branches
               ? NULL
               : TXN_OF(outcome->branches, struct txn_blob, data);
}

void txn_outcome_discard(struct txn_outcome *outcome)
{
    if (!outcome)
        return;
    as_free(own_branches(outcome));
    as_free(outcome);
}

/* --- Entering and leaving --- */

as_err txn_outcome_reserve(struct txn *txn)
{
    struct txn_table *table = &txn->table;

    if (txn_slots_reserve(&table->outcomes) || as_map_reserve(&table->by_id, 1) ||
        as_map_reserve(&table->by_attempt, 1))
        return AS_ERR_NOMEM;
    return AS_OK;
}

void txn_outcome_map(struct txn *txn, struct txn_outcome *outcome)
{
    struct txn_table *table = &txn->table;

    outcome->handle = txn_slots_take(&table->outcomes, outcome);
    outcome->gen = table->snap.gen; /* made after a snapshot began: no part of it */
    txn_must(as_map_insert(&table->by_attempt, txn_attempt_hash(txn, outcome->attempt),
                           outcome->handle));
    if (outcome->named)
        txn_must(as_map_insert(&table->by_id, txn_id_hash(txn, outcome->id), outcome->handle));
    table->count++;
    table->unfinished += outcome->committed && !outcome->finished;
    table->waiting += outcome->waiting;
}

static void leave_ring(struct txn *txn, struct txn_outcome *outcome)
{
    if (!txn_link_in(&outcome->ring))
        return;
    txn_snapshot_unlink(txn, &outcome->ring);
    if (txn->table.page_at == outcome)
        txn->table.page_at = NULL;
    txn_link_remove(&outcome->ring);
}

static void leave_open(struct txn *txn, struct txn_outcome *outcome)
{
    if (!txn_link_in(&outcome->open))
        return;
    txn_snapshot_unlink(txn, &outcome->open);
    txn_link_remove(&outcome->open);
}

/* The end of an outcome that is in no list any more. */
static void leave(struct txn *txn, struct txn_outcome *outcome)
{
    struct txn_table *table = &txn->table;
    struct txn_blob *branches = own_branches(outcome);
    int64_t born_ms;

    AS_ASSERT(!txn_outcome_open(outcome) && !txn_link_in(&outcome->ring));
    if (outcome->named) {
        /* R9: a UUIDv7 not younger than this one may be an id that was forgotten here. */
        if (as_id_uuid7_ms(outcome->id, strlen(outcome->id), &born_ms) &&
            born_ms > table->evicted_ms)
            table->evicted_ms = born_ms;
        as_map_remove(&table->by_id, txn_id_hash(txn, outcome->id), outcome->handle);
    }
    as_map_remove(&table->by_attempt, txn_attempt_hash(txn, outcome->attempt), outcome->handle);
    txn_slots_drop(&table->outcomes, outcome->handle);
    table->count--;
    if (branches)
        txn_out_free(&txn->out, &branches->trash);
    txn_out_free(&txn->out, &outcome->trash);
}

void txn_outcome_settle(struct txn *txn, struct txn_outcome *outcome)
{
    struct txn_link *at;

    if (!txn_outcome_open(outcome)) {
        leave_open(txn, outcome);
        if (!txn_link_in(&outcome->ring))
            leave(txn, outcome);
        return;
    }
    if (txn_link_in(&outcome->open))
        return;
    /* Nearly always the newest one; an aborted one that opens late is far behind, and rare. */
    at = &txn->table.open;
    while (at->prev != &txn->table.open &&
           TXN_OF(at->prev, struct txn_outcome, open)->index > outcome->index)
        at = at->prev;
    txn_link_before(at, &outcome->open);
}

/* Its id names a later one from now on. */
static void supersede(struct txn *txn, struct txn_outcome *outcome)
{
    AS_ASSERT(!outcome->committed); /* R1: a committed id is final */
    txn_snapshot_touch(txn, outcome);
    as_map_remove(&txn->table.by_id, txn_id_hash(txn, outcome->id), outcome->handle);
    outcome->named = false;
    leave_ring(txn, outcome);
    txn_outcome_settle(txn, outcome);
}

void txn_outcome_enter(struct txn *txn, struct txn_outcome *outcome, bool named)
{
    struct txn_outcome *before = named ? txn_outcome_by_id(txn, outcome->id) : NULL;

    if (before)
        supersede(txn, before);
    outcome->named = named;
    txn_outcome_map(txn, outcome);
    if (named)
        txn_list_append(&txn->table.ring, &outcome->ring);
    txn_outcome_settle(txn, outcome);
}

/* --- Room (R9) --- */

static bool young(const struct txn *txn, const struct txn_outcome *outcome, int64_t time_ms)
{
    return time_ms - outcome->time_ms < (int64_t)txn->table.retention_ms;
}

void txn_outcome_evict(struct txn *txn)
{
    struct txn_table *table = &txn->table;

    for (int i = 0; i < EVICT_MOVES_MAX && table->count > table->outcomes_max; i++) {
        struct txn_outcome *oldest;

        if (txn_list_empty(&table->ring))
            return;
        oldest = TXN_OF(table->ring.next, struct txn_outcome, ring);
        if (young(txn, oldest, table->time_ms))
            return;
        txn_snapshot_touch(txn, oldest);
        leave_ring(txn, oldest);
        txn_outcome_settle(txn, oldest); /* an open one stays, until it is finished */
    }
}

bool txn_outcome_room(const struct txn *txn, uint32_t coming, int64_t time_ms)
{
    const struct txn_table *table = &txn->table;

    if ((uint64_t)table->count + coming < table->outcomes_max)
        return true;
    if (txn_list_empty(&table->ring) || table->unfinished >= table->outcomes_max)
        return false;
    return !young(txn, TXN_OF(table->ring.next, struct txn_outcome, ring), time_ms);
}
