/*
 * Reading a snapshot into a new core. Fault model: any bytes at all, cut anywhere; what is not
 * exactly a snapshot of ours is CORRUPT, and the core that was to hold it is thrown away.
 */
#include <stdlib.h>
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/snapshot.h"

/* No item is larger: a length beyond it is not believed. */
#define ITEM_LEN_MAX ((size_t)SNAPSHOT_HEAD_LEN_MAX)

static void take_array(struct as_reader *in, void *ret_data, size_t len)
{
    struct as_bytes bytes = as_read_bytes(in, len);

    if (bytes.len == len)
        memcpy(ret_data, bytes.data, len);
    else
        memset(ret_data, 0, len);
}

static as_err take_participant(struct txn *txn, struct as_reader *in)
{
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    struct txn_participant *participant;

    as_read_string8(in, name, sizeof(name));
    if (!as_participant_valid(name, strlen(name)) || txn_participant_find(txn, name, strlen(name)))
        return AS_ERR_CORRUPT;
    if (txn_participant_make(txn, name, &participant))
        return AS_ERR_NOMEM;
    take_array(in, participant->identity.token, AS_IDENTITY_LEN);
    participant->counter = as_read_u64(in);
    participant->system_id = as_read_u64(in);
    participant->timeline = as_read_u32(in);
    return AS_OK;
}

static as_err take_head(struct txn *txn, struct as_reader *in)
{
    struct txn_table *table = &txn->table;
    uint32_t count;

    if (as_read_u32(in) != SNAPSHOT_MAGIC || as_read_u8(in) != SNAPSHOT_VERSION)
        return AS_ERR_CORRUPT;
    table->index = as_read_u64(in);
    table->term = as_read_u64(in);
    table->time_ms = as_read_i64(in);
    table->set.horizon.term = as_read_u64(in);
    table->set.horizon.seq = as_read_u64(in);
    table->evicted_ms = as_read_i64(in);
    count = as_read_u16(in);
    if (count > AS_PARTICIPANTS_MAX)
        return AS_ERR_CORRUPT;
    for (uint32_t i = 0; i < count; i++) {
        as_err err = take_participant(txn, in);

        if (err)
            return err;
    }
    return AS_OK;
}

static as_err take_chunk(struct txn *txn, struct as_reader *in)
{
    struct as_attempt at;
    struct txn_chunk *chunk;

    at.term = as_read_u64(in);
    at.seq = as_read_u64(in);
    if (in->bad || at.seq % TXN_CHUNK_BITS != 0 || at.seq > INT64_MAX || at.term == 0 ||
        txn_set_chunk(&txn->table.set, at))
        return AS_ERR_CORRUPT;
    if (txn_set_reserve(&txn->table.set, at))
        return AS_ERR_NOMEM;
    chunk = txn_set_chunk(&txn->table.set, at);
    for (size_t i = 0; i < AS_COUNT_OF(chunk->bits); i++)
        chunk->bits[i] = as_read_u64(in);
    return AS_OK;
}

/* What stands in an OUTCOME before its branches. */
struct outcome_head {
    unsigned flags;
    char id[AS_ID_LEN_MAX + 1];
    struct as_attempt attempt;
    uint8_t body_hash[AS_HASH_LEN];
    uint64_t index;
    int64_t created_ms, decided_ms, time_ms;
    uint8_t branch_count;
};

static as_err take_outcome_head(struct as_reader *in, struct outcome_head *ret)
{
    ret->flags = as_read_u8(in);
    as_read_string8(in, ret->id, sizeof(ret->id));
    ret->attempt.term = as_read_u64(in);
    ret->attempt.seq = as_read_u64(in);
    take_array(in, ret->body_hash, AS_HASH_LEN);
    ret->index = as_read_u64(in);
    ret->created_ms = as_read_i64(in);
    ret->decided_ms = as_read_i64(in);
    ret->time_ms = as_read_i64(in);
    ret->branch_count = as_read_u8(in);
    if (in->bad || !as_id_valid(ret->id, strlen(ret->id)) || ret->branch_count > AS_BRANCHES_MAX ||
        ret->flags > (SNAPSHOT_RING | 15u))
        return AS_ERR_CORRUPT;
    if ((ret->flags & SNAPSHOT_COMMITTED) && ((ret->flags & SNAPSHOT_WHY) || ret->branch_count < 1))
        return AS_ERR_CORRUPT;
    return AS_OK;
}

static as_err take_branch(const struct txn *txn, struct as_reader *in, struct txn_outcome *outcome,
                          struct txn_outcome_branch *branch)
{
    uint8_t acknowledged;

    *branch = (struct txn_outcome_branch){.number = as_read_u16(in)};
    branch->participant = as_read_u16(in);
    branch->xid = as_read_u64(in);
    take_array(in, branch->identity.token, AS_IDENTITY_LEN);
    branch->heuristic = as_read_u8(in);
    acknowledged = as_read_u8(in);
    branch->acknowledged = acknowledged == 1;
    if (in->bad || branch->number < 1 || branch->number > AS_BRANCHES_MAX ||
        branch->participant >= txn->table.participant_count || acknowledged > 1 ||
        (branch->heuristic && !as_branch_state_heuristic((enum as_branch_state)branch->heuristic)))
        return AS_ERR_CORRUPT;
    if (branch->acknowledged && !branch->heuristic)
        return AS_ERR_CORRUPT;
    outcome->heuristics = (uint8_t)(outcome->heuristics + (branch->heuristic != 0));
    outcome->waiting =
        (uint8_t)(outcome->waiting + (branch->heuristic && !branch->acknowledged ? 1 : 0));
    return AS_OK;
}

static as_err take_why(struct as_reader *in, struct as_reason *ret)
{
    uint32_t code = as_read_u32(in);
    struct as_bytes message;

    *ret = (struct as_reason){.branch = as_read_u32(in)};
    ret->code = code < AS_REASON_COUNT ? (enum as_reason_code)code : AS_REASON_NONE;
    ret->statement = (int32_t)as_read_u32(in);
    take_array(in, ret->sqlstate, sizeof(ret->sqlstate));
    as_read_string8(in, ret->participant, sizeof(ret->participant));
    message = as_read_text16(in);
    if (in->bad || code >= AS_REASON_COUNT || ret->sqlstate[5] || message.len > AS_REASON_LEN_MAX ||
        (message.len > 0 && memchr(message.data, 0, message.len)))
        return AS_ERR_CORRUPT;
    if (message.len > 0)
        memcpy(ret->message, message.data, message.len);
    return AS_OK;
}

/* Branches come before the reason, and the reason is in the outcome's block: so it is read ahead.
 */
static as_err take_block(struct as_reader in, const struct outcome_head *head,
                         struct txn_outcome **ret)
{
    struct as_reason reason;
    as_err err;

    if (head->flags & SNAPSHOT_COMMITTED) {
        *ret = txn_outcome_committed(head->id, head->branch_count);
        return *ret ? AS_OK : AS_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < head->branch_count; i++)
        (void)as_read_bytes(&in, 2 + 2 + 8 + AS_IDENTITY_LEN + 1 + 1);
    if (head->flags & SNAPSHOT_WHY) {
        err = take_why(&in, &reason);
        if (err)
            return err;
    }
    *ret = txn_outcome_aborted(head->id, head->flags & SNAPSHOT_WHY ? &reason : NULL);
    if (!*ret)
        return AS_ERR_NOMEM;
    if (head->branch_count > 0 && txn_outcome_make_branches(*ret)) {
        txn_outcome_discard(*ret);
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}

static as_err fill_outcome(const struct txn *txn, struct as_reader *in,
                           const struct outcome_head *head, struct txn_outcome *outcome)
{
    struct as_reason reason;

    outcome->attempt = head->attempt;
    memcpy(outcome->body_hash, head->body_hash, AS_HASH_LEN);
    outcome->index = head->index;
    outcome->created_ms = head->created_ms;
    outcome->decided_ms = head->decided_ms;
    outcome->time_ms = head->time_ms;
    outcome->finished = (head->flags & SNAPSHOT_FINISHED) != 0;
    outcome->named = (head->flags & SNAPSHOT_NAMED) != 0;
    outcome->branch_count = head->branch_count;
    for (uint32_t i = 0; i < head->branch_count; i++) {
        as_err err = take_branch(txn, in, outcome, &outcome->branches[i]);

        if (err)
            return err;
        for (uint32_t before = 0; before < i; before++) {
            if (outcome->branches[before].number == outcome->branches[i].number)
                return AS_ERR_CORRUPT;
        }
    }
    if (outcome->committed && outcome->finished && outcome->waiting > 0) {
        outcome->finished = false;
        outcome->acknowledged = true;
    }
    if (head->flags & SNAPSHOT_WHY)
        return take_why(in, &reason);
    return AS_OK;
}

static as_err reserve_all(struct txn_restore *restore)
{
    size_t cap = restore->cap ? restore->cap * 2 : 64;
    struct txn_outcome **all;

    if (restore->count < restore->cap)
        return AS_OK;
    all = as_resize(restore->all, cap * sizeof(struct txn_outcome *));
    if (!all)
        return AS_ERR_NOMEM;
    restore->all = all;
    restore->cap = cap;
    return AS_OK;
}

static as_err take_outcome(struct txn *txn, struct as_reader *in)
{
    struct txn_restore *restore = &txn->table.restore;
    struct txn_outcome *outcome;
    struct outcome_head head;
    as_err err = take_outcome_head(in, &head);

    if (err)
        return err;
    if (reserve_all(restore) || txn_outcome_reserve(txn))
        return AS_ERR_NOMEM;
    err = take_block(*in, &head, &outcome);
    if (err)
        return err;
    err = fill_outcome(txn, in, &head, outcome);
    /* Nothing holds an outcome that is neither in the ring nor open, and only a named one is in the
     * ring. */
    if (!err && (txn_outcome_by_attempt(txn, outcome->attempt) ||
                 (outcome->named && txn_outcome_by_id(txn, outcome->id)) ||
                 (!(head.flags & SNAPSHOT_RING) && !txn_outcome_open(outcome)) ||
                 ((head.flags & SNAPSHOT_RING) && !outcome->named)))
        err = AS_ERR_CORRUPT;
    if (err) {
        txn_outcome_discard(outcome);
        return err;
    }
    txn_outcome_map(txn, outcome);
    /* Linked to itself until all are there and their order is known. */
    if (head.flags & SNAPSHOT_RING)
        txn_list_init(&outcome->ring);
    restore->all[restore->count++] = outcome;
    return AS_OK;
}

static int compare_index(const void *a, const void *b)
{
    const struct txn_outcome *const *left = a, *const *right = b;

    return (*left)->index < (*right)->index ? -1 : (*left)->index > (*right)->index;
}

static as_err link_all(struct txn *txn)
{
    struct txn_restore *restore = &txn->table.restore;

    if (restore->count > 0)
        qsort(restore->all, restore->count, sizeof(struct txn_outcome *), compare_index);
    for (size_t i = 1; i < restore->count; i++) {
        if (restore->all[i]->index == restore->all[i - 1]->index)
            return AS_ERR_CORRUPT;
    }
    for (size_t i = 0; i < restore->count; i++) {
        struct txn_outcome *outcome = restore->all[i];

        if (txn_link_in(&outcome->ring))
            txn_list_append(&txn->table.ring, &outcome->ring);
        if (txn_outcome_open(outcome))
            txn_list_append(&txn->table.open, &outcome->open);
    }
    as_free(restore->all);
    restore->all = NULL;
    restore->count = restore->cap = 0;
    return AS_OK;
}

static as_err take_end(struct txn *txn, struct as_reader *in)
{
    if (as_read_u64(in) != txn->table.restore.items)
        return AS_ERR_CORRUPT;
    txn->table.restore.ended = true;
    return link_all(txn);
}

static as_err take_item(struct txn *txn, uint8_t type, struct as_bytes payload)
{
    struct txn_restore *restore = &txn->table.restore;
    struct as_reader in = as_reader_of(payload);
    as_err err = AS_ERR_CORRUPT;

    if (restore->ended || restore->begun == (type == SNAPSHOT_HEAD))
        return AS_ERR_CORRUPT;
    restore->items += type == SNAPSHOT_CHUNK || type == SNAPSHOT_OUTCOME;
    if (type == SNAPSHOT_HEAD) {
        restore->begun = true;
        err = take_head(txn, &in);
    } else if (type == SNAPSHOT_CHUNK) {
        err = take_chunk(txn, &in);
    } else if (type == SNAPSHOT_OUTCOME) {
        err = take_outcome(txn, &in);
    } else if (type == SNAPSHOT_END) {
        err = take_end(txn, &in);
    }
    if (err)
        return err;
    return as_reader_done(&in) ? AS_OK : AS_ERR_CORRUPT;
}

/* Takes whole items off the front; returns what is left. */
static as_err take_items(struct txn *txn, struct as_bytes *bytes)
{
    while (bytes->len >= SNAPSHOT_ITEM_HEADER_LEN) {
        struct as_reader in = as_reader_of(*bytes);
        uint8_t type = as_read_u8(&in);
        uint32_t len = as_read_u32(&in);
        as_err err;

        if (len > ITEM_LEN_MAX)
            return AS_ERR_CORRUPT;
        if (len > in.left)
            return AS_OK;
        err = take_item(txn, type, as_read_bytes(&in, len));
        if (err)
            return err;
        *bytes = (struct as_bytes){in.at, in.left};
    }
    return AS_OK;
}

as_err txn_restore(struct txn *txn, struct as_bytes chunk, bool last)
{
    struct txn_restore *restore = &txn->table.restore;
    struct as_bytes bytes;
    as_err err;

    AS_ASSERT(restore->begun || txn->table.index == 0);
    as_put_bytes(&restore->rest, chunk.data, chunk.len);
    if (restore->rest.err)
        return restore->rest.err;
    bytes = as_buf_bytes(&restore->rest);
    err = take_items(txn, &bytes);
    if (err)
        return err;
    as_buf_consume(&restore->rest, restore->rest.len - bytes.len);
    if (!last)
        return AS_OK;
    if (!restore->ended || restore->rest.len > 0)
        return AS_ERR_CORRUPT;
    as_buf_close(&restore->rest);
    return AS_OK;
}

void txn_restore_close(struct txn *txn)
{
    struct txn_restore *restore = &txn->table.restore;

    as_buf_close(&restore->rest);
    /* Given up before they were linked: nothing else holds them. */
    for (size_t i = 0; i < restore->count; i++)
        txn_outcome_discard(restore->all[i]);
    as_free(restore->all);
    restore->all = NULL;
    restore->count = restore->cap = 0;
}
