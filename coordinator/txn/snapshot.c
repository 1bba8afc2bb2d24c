/*
 * Snapshots of the table, and the digest. A snapshot holds the table as it was when it began, while
 * the table goes on: whatever changes before it was written is saved as it was (touch), and what is
 * new bears the snapshot's number and is passed over.
 *
 * Fault model: memory may be short; then a snapshot is given up and the table goes on.
 */
#include "coordinator/txn/snapshot.h"

#include <string.h>

/* --- Writing items --- */

static size_t item_begin(struct as_buf *buf, enum snapshot_item type)
{
    as_put_u8(buf, (uint8_t)type);
    as_put_u32(buf, 0);
    return buf->len;
}

static void item_end(struct as_buf *buf, size_t start)
{
    size_t len = buf->len - start;

    if (buf->err)
        return;
    for (int i = 0; i < 4; i++)
        buf->data[start - 4 + (size_t)i] = (uint8_t)(len >> (8 * i));
}

static void put_head(struct as_buf *buf, const struct txn_table *table)
{
    size_t start = item_begin(buf, SNAPSHOT_HEAD);

    as_put_u32(buf, SNAPSHOT_MAGIC);
    as_put_u8(buf, SNAPSHOT_VERSION);
    as_put_u64(buf, table->index);
    as_put_u64(buf, table->term);
    as_put_i64(buf, table->time_ms);
    as_put_u64(buf, table->set.horizon.term);
    as_put_u64(buf, table->set.horizon.seq);
    as_put_i64(buf, table->evicted_ms);
    as_put_u16(buf, (uint16_t)table->participant_count);
    for (uint32_t i = 0; i < table->participant_count; i++) {
        const struct txn_participant *participant = table->participants[i];

        as_put_text8(buf, participant->name, strlen(participant->name));
        as_put_bytes(buf, participant->identity.token, AS_IDENTITY_LEN);
        as_put_u64(buf, participant->counter);
        as_put_u64(buf, participant->system_id);
        as_put_u32(buf, participant->timeline);
    }
    item_end(buf, start);
}

static bool chunk_empty(const struct txn_chunk *chunk)
{
    for (size_t i = 0; i < AS_COUNT_OF(chunk->bits); i++) {
        if (chunk->bits[i])
            return false;
    }
    return true;
}

static void put_chunk(struct as_buf *buf, const struct txn_chunk *chunk)
{
    size_t start = item_begin(buf, SNAPSHOT_CHUNK);

    as_put_u64(buf, chunk->first.term);
    as_put_u64(buf, chunk->first.seq);
    for (size_t i = 0; i < AS_COUNT_OF(chunk->bits); i++)
        as_put_u64(buf, chunk->bits[i]);
    item_end(buf, start);
}

static void put_why(struct as_buf *buf, const struct txn_why *why)
{
    const char *message = why->texts + why->message_at;

    as_put_u32(buf, (uint32_t)why->code);
    as_put_u32(buf, why->branch);
    as_put_u32(buf, (uint32_t)why->statement);
    as_put_bytes(buf, why->sqlstate, sizeof(why->sqlstate));
    as_put_text8(buf, why->texts, strlen(why->texts));
    as_put_text16(buf, message, strlen(message));
}

static void put_outcome(struct as_buf *buf, const struct txn_outcome *outcome)
{
    size_t start = item_begin(buf, SNAPSHOT_OUTCOME);
    unsigned flags = (outcome->committed ? SNAPSHOT_COMMITTED : 0u) |
                     (outcome->finished || outcome->acknowledged ? SNAPSHOT_FINISHED : 0u) |
                     (outcome->named ? SNAPSHOT_NAMED : 0u) | (outcome->why ? SNAPSHOT_WHY : 0u) |
                     (txn_link_in(&outcome->ring) ? SNAPSHOT_RING : 0u);

    as_put_u8(buf, (uint8_t)flags);
    as_put_text8(buf, outcome->id, strlen(outcome->id));
    as_put_u64(buf, outcome->attempt.term);
    as_put_u64(buf, outcome->attempt.seq);
    as_put_bytes(buf, outcome->body_hash, AS_HASH_LEN);
    as_put_u64(buf, outcome->index);
    as_put_i64(buf, outcome->created_ms);
    as_put_i64(buf, outcome->decided_ms);
    as_put_i64(buf, outcome->time_ms);
    as_put_u8(buf, outcome->branch_count);
    for (uint32_t i = 0; i < outcome->branch_count; i++) {
        const struct txn_outcome_branch *branch = &outcome->branches[i];

        as_put_u16(buf, branch->number);
        as_put_u16(buf, branch->participant);
        as_put_u64(buf, branch->xid);
        as_put_bytes(buf, branch->identity.token, AS_IDENTITY_LEN);
        as_put_u8(buf, branch->heuristic);
        as_put_u8(buf, branch->acknowledged);
    }
    if (outcome->why)
        put_why(buf, outcome->why);
    item_end(buf, start);
}

/* --- What changes under a snapshot --- */

void txn_snapshot_touch(struct txn *txn, struct txn_outcome *outcome)
{
    struct txn_snapshot *snap = &txn->table.snap;

    if (!snap->active || outcome->gen == snap->gen)
        return;
    outcome->gen = snap->gen;
    put_outcome(&snap->saved, outcome);
    snap->saved_items++;
    snap->failed |= snap->saved.err != AS_OK;
}

void txn_snapshot_touch_chunk(struct txn *txn, struct as_attempt attempt)
{
    struct txn_snapshot *snap = &txn->table.snap;
    struct txn_chunk *chunk;

    if (!snap->active)
        return;
    chunk = txn_set_chunk(&txn->table.set, attempt);
    if (!chunk || chunk->gen == snap->gen)
        return;
    chunk->gen = snap->gen;
    if (chunk_empty(chunk))
        return;
    put_chunk(&snap->saved, chunk);
    snap->saved_items++;
    snap->failed |= snap->saved.err != AS_OK;
}

void txn_snapshot_unlink(struct txn *txn, const struct txn_link *link)
{
    struct txn_snapshot *snap = &txn->table.snap;

    if (snap->ring_at == link)
        snap->ring_at = link->next;
    if (snap->open_at == link)
        snap->open_at = link->next;
}

/* --- Writing a snapshot --- */

as_err txn_snapshot_begin(struct txn *txn, uint64_t *ret_index, uint64_t *ret_term)
{
    struct txn_table *table = &txn->table;
    struct txn_snapshot *snap = &table->snap;

    if (snap->active)
        return AS_ERR_BUSY;
    as_buf_clear(&snap->head);
    as_buf_clear(&snap->saved);
    put_head(&snap->head, table);
    if (snap->head.err)
        return snap->head.err;
    snap->active = true;
    snap->failed = false;
    snap->gen++;
    snap->stage = TXN_SNAP_HEAD;
    snap->chunk = (struct as_attempt){0, 0};
    snap->ring_at = table->ring.next;
    snap->open_at = table->open.next;
    snap->saved_at = 0;
    snap->items = snap->saved_items = 0;
    *ret_index = table->index;
    *ret_term = table->term;
    return AS_OK;
}

/* Each of these writes until the buffer holds `limit` bytes; true when its part is through. */

static bool next_chunks(struct txn *txn, struct as_buf *buf, size_t limit)
{
    struct txn_snapshot *snap = &txn->table.snap;

    while (buf->len < limit && !buf->err) {
        struct txn_chunk *chunk = txn_set_from(&txn->table.set, snap->chunk);

        if (!chunk)
            return true;
        if (chunk->gen != snap->gen && !chunk_empty(chunk)) {
            put_chunk(buf, chunk);
            snap->items++;
        }
        chunk->gen = snap->gen;
        snap->chunk = (struct as_attempt){chunk->first.term, chunk->first.seq + 1};
    }
    return false;
}

static void write_outcome(struct txn_snapshot *snap, struct as_buf *buf, size_t *limit,
                          struct txn_outcome *outcome)
{
    if (outcome->gen == snap->gen) {
        *limit -= *limit > buf->len ? 1 : 0; /* passing over is work too */
        return;
    }
    outcome->gen = snap->gen;
    put_outcome(buf, outcome);
    snap->items++;
}

static bool next_ring(struct txn *txn, struct as_buf *buf, size_t limit)
{
    struct txn_snapshot *snap = &txn->table.snap;

    while (buf->len < limit && !buf->err) {
        if (snap->ring_at == &txn->table.ring)
            return true;
        write_outcome(snap, buf, &limit, TXN_OF(snap->ring_at, struct txn_outcome, ring));
        snap->ring_at = snap->ring_at->next;
    }
    return false;
}

static bool next_open(struct txn *txn, struct as_buf *buf, size_t limit)
{
    struct txn_snapshot *snap = &txn->table.snap;

    while (buf->len < limit && !buf->err) {
        if (snap->open_at == &txn->table.open)
            return true;
        write_outcome(snap, buf, &limit, TXN_OF(snap->open_at, struct txn_outcome, open));
        snap->open_at = snap->open_at->next;
    }
    return false;
}

static bool next_saved(struct txn *txn, struct as_buf *buf, size_t limit)
{
    struct txn_snapshot *snap = &txn->table.snap;

    /* Whole items only matter to a reader's comfort: restoring takes any cut. */
    if (buf->len < limit && snap->saved_at < snap->saved.len) {
        size_t len = snap->saved.len - snap->saved_at;

        if (len > limit - buf->len)
            len = limit - buf->len;
        as_put_bytes(buf, snap->saved.data + snap->saved_at, len);
        snap->saved_at += len;
    }
    return snap->saved_at == snap->saved.len;
}

static bool next_stage(struct txn *txn, struct as_buf *buf, size_t limit)
{
    struct txn_snapshot *snap = &txn->table.snap;

    switch (snap->stage) {
    case TXN_SNAP_HEAD:
        as_put_bytes(buf, snap->head.data, snap->head.len);
        return true;
    case TXN_SNAP_SET:
        return next_chunks(txn, buf, limit);
    case TXN_SNAP_RING:
        return next_ring(txn, buf, limit);
    case TXN_SNAP_OPEN:
        return next_open(txn, buf, limit);
    case TXN_SNAP_SAVED:
        return next_saved(txn, buf, limit);
    }
    return true;
}

as_err txn_snapshot_next(struct txn *txn, struct as_buf *buf, size_t target, bool *ret_done)
{
    struct txn_snapshot *snap = &txn->table.snap;
    size_t limit = buf->len + (target ? target : 1), start;

    AS_ASSERT(snap->active);
    *ret_done = false;
    while (!snap->failed && !buf->err) {
        if (!next_stage(txn, buf, limit))
            break;
        if (snap->stage == TXN_SNAP_SAVED) {
            start = item_begin(buf, SNAPSHOT_END);
            as_put_u64(buf, snap->items + snap->saved_items);
            item_end(buf, start);
            *ret_done = true;
            break;
        }
        snap->stage++;
    }
    if (snap->failed || buf->err) {
        snap->failed = true; /* what was passed is lost: it can only be given up */
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}

void txn_snapshot_end(struct txn *txn)
{
    struct txn_snapshot *snap = &txn->table.snap;

    snap->active = false;
    snap->ring_at = snap->open_at = NULL;
    as_buf_close(&snap->head);
    as_buf_close(&snap->saved);
}

as_err txn_snapshot_forget(uint8_t *chunk, size_t len, int64_t wall_ms)
{
    const size_t at = SNAPSHOT_ITEM_HEADER_LEN + SNAPSHOT_HEAD_EVICTED;
    struct as_reader in = as_reader_of((struct as_bytes){chunk, len});

    if (as_read_u8(&in) != SNAPSHOT_HEAD || as_read_u32(&in) < SNAPSHOT_HEAD_EVICTED + 8 ||
        as_read_u32(&in) != SNAPSHOT_MAGIC || as_read_u8(&in) != SNAPSHOT_VERSION || len < at + 8)
        return AS_ERR_CORRUPT;
    for (size_t i = 0; i < 8; i++)
        chunk[at + i] = (uint8_t)((uint64_t)wall_ms >> (8 * i));
    return AS_OK;
}

/* --- Digest --- */

uint64_t txn_digest(struct txn *txn)
{
    struct txn_table *table = &txn->table;
    uint8_t bytes[SNAPSHOT_HEAD_LEN_MAX + SNAPSHOT_ITEM_HEADER_LEN];
    struct as_buf buf = {.data = bytes, .cap = sizeof(bytes), .max = sizeof(bytes)};
    struct as_attempt at = {0, 0};
    struct txn_chunk *chunk;
    uint64_t hash;

    put_head(&buf, table);
    hash = as_hash(buf.data, buf.len, 0);
    while ((chunk = txn_set_from(&table->set, at))) {
        at = (struct as_attempt){chunk->first.term, chunk->first.seq + 1};
        if (chunk_empty(chunk))
            continue;
        as_buf_clear(&buf);
        put_chunk(&buf, chunk);
        hash = as_hash(buf.data, buf.len, hash);
    }
    for (struct txn_link *link = table->ring.next; link != &table->ring; link = link->next) {
        as_buf_clear(&buf);
        put_outcome(&buf, TXN_OF(link, struct txn_outcome, ring));
        hash = as_hash(buf.data, buf.len, hash);
    }
    for (struct txn_link *link = table->open.next; link != &table->open; link = link->next) {
        as_buf_clear(&buf);
        put_outcome(&buf, TXN_OF(link, struct txn_outcome, open));
        hash = as_hash(buf.data, buf.len, hash);
    }
    AS_ASSERT(!buf.err);
    return hash;
}
