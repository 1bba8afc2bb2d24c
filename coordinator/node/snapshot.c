/*
 * Snapshots of the table: taken here, sent to a node that lags too far behind, received from the
 * leader. The first chunk is the node's own: who the members were at that index; the table's follow.
 *
 * Fault model: one that cannot be finished is given up, and the log stays longer. A received one
 * counts only when the log has made it durable; until then the old table answers.
 */
#include <string.h>

#include "coordinator/node/internal.h"

#define SNAPSHOT_CHUNK_BYTES (64u << 10)
#define SNAPSHOT_RETRY AS_SECOND

/* --- Taken here --- */

void node_snapshot_stop(struct node *node)
{
    txn_snapshot_end(node->txn);
    node->snapshot_running = false;
    as_buf_clear(&node->snapshot_chunk);
}

static as_err put_members(struct node *node)
{
    struct raft_members members;
    as_err err = raft_members_at(node->raft, node->snapshot_index, &members);

    if (err)
        return err;
    raft_members_put(&node->snapshot_chunk, &members);
    return node->snapshot_chunk.err;
}

static void snapshot_next(struct node *node)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_CHUNK};
    as_err err;

    as_buf_clear(&node->snapshot_chunk);
    if (!node->snapshot_begun)
        err = put_members(node);
    else
        err = txn_snapshot_next(node->txn, &node->snapshot_chunk, SNAPSHOT_CHUNK_BYTES,
                                &event.chunk.last);
    node->snapshot_begun = true;
    if (err) {
        /* Out of memory: the log stays longer, nothing else; the next one comes when more is
         * logged. */
        event.kind = LOG_SNAPSHOT_GIVE_UP;
        node_snapshot_stop(node);
    } else {
        event.chunk.bytes = as_buf_bytes(&node->snapshot_chunk);
        if (event.chunk.last)
            node_snapshot_stop(node);
    }
    (void)node_log(node, &event);
}

/*
 * Writing one costs as much as the table is large, so the log grows as much in between: else a large
 * table under load would do little but write itself. Not more than Raft keeps in memory, which has
 * what the snapshot has not.
 */
static uint64_t due_bytes(const struct node *node)
{
    uint64_t newest = log_snapshot_bytes(node->log), least = node->config.snapshot_bytes;

    if (newest > NODE_SNAPSHOT_BYTES_MAX)
        newest = NODE_SNAPSHOT_BYTES_MAX;
    return newest > least ? newest : least;
}

/* A newer snapshot makes a follower that is being sent one begin anew: it is waited for, but not for
 * ever. */
static bool is_due(const struct node *node)
{
    uint64_t bytes = log_bytes_since_snapshot(node->log), due;
    struct raft_status raft;

    if (txn_applied_index(node->txn) <= log_snapshot_index(node->log))
        return false;
    if (node->snapshot_wished)
        return true;
    if (bytes < node->config.snapshot_bytes)
        return false;
    due = due_bytes(node);
    raft_look(node->raft, &raft);
    return bytes >= (raft.sending == 0 ? due : due + node->config.snapshot_bytes);
}

/* A node that joins has entries of before the first list of members that it is told; a snapshot without one cannot be read. */
static bool knows_members(const struct node *node)
{
    struct raft_members members;

    return !raft_members_at(node->raft, txn_applied_index(node->txn), &members) &&
           members.count > 0;
}

/* For a backup. One that is being written began before, so another one follows it. */
void node_snapshot(struct node *node)
{
    node->snapshot_wished = txn_applied_index(node->txn) > log_snapshot_index(node->log);
    node_turn_end(node);
}

void node_snapshot_if_due(struct node *node)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_BEGIN};
    uint64_t before_index = node->snapshot_index, before_term = node->snapshot_term;
    bool wished = node->snapshot_wished;

    if (node->snapshot_running || node->failed || node->ops->now(node->env) < node->snapshot_at ||
        !is_due(node) || !knows_members(node))
        return;
    if (txn_snapshot_begin(node->txn, &event.snapshot.index, &event.snapshot.term))
        return;
    /* Applied may be what a majority has durable, and this node not yet: it waits for its own. */
    if (event.snapshot.index == 0 || event.snapshot.index > log_persisted_index(node->log)) {
        txn_snapshot_end(node->txn);
        return;
    }
    node->snapshot_running = true;
    node->snapshot_wished = false;
    node->snapshot_begun = false;
    node->snapshot_index = event.snapshot.index;
    node->snapshot_term = event.snapshot.term;
    /* The log may be busy with the last one still: Raft must hear of that when it is done, or it goes on to send one
     * that is gone. */
    if (node_log(node, &event)) {
        node->snapshot_at = node->ops->now(node->env) + SNAPSHOT_RETRY;
        node->snapshot_wished = wished;
        node->snapshot_index = before_index;
        node->snapshot_term = before_term;
    }
}

/* For want of space. */
static void snapshot_given_up(struct node *node)
{
    node_snapshot_stop(node);
    node->snapshot_at = node->ops->now(node->env) + SNAPSHOT_RETRY;
}

static void snapshot_done(struct node *node, uint64_t index)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_TAKEN,
                               .snapshot = {index, node->snapshot_term}};

    if (index == node->snapshot_index)
        (void)node_raft(node, &event);
}

/* --- Of opening --- */

as_err node_replay_snapshot(struct node *node, struct as_bytes chunk, bool last)
{
    as_err err;

    if (node->replayed_members.count == 0)
        return last ? AS_ERR_CORRUPT : raft_members_take(chunk, &node->replayed_members);
    err = txn_restore(node->txn, chunk, last);
    if (err || !last)
        return err;
    node->applied = node->committed = txn_applied_index(node->txn);
    return raft_load_snapshot(node->raft, node->applied, txn_applied_term(node->txn),
                              txn_log_time_ms(node->txn), &node->replayed_members);
}

/* --- Sent to a node that lags --- */

/* A peer waits for one chunk at a time: a newer wish replaces the older one. */
void node_snapshot_read(struct node *node, uint64_t peer, uint64_t index, uint32_t chunk)
{
    uint32_t i = node->chunk_reading ? 1 : 0;

    while (i < node->chunk_count && node->chunks[i].peer != peer)
        i++;
    if (i == AS_COUNT_OF(node->chunks))
        return; /* Raft asks again */
    if (i == node->chunk_count)
        node->chunk_count++;
    node->chunks[i].peer = peer;
    node->chunks[i].index = index;
    node->chunks[i].chunk = chunk;
}

static void chunk_answer(struct node *node, const struct log_chunk *chunk)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_CHUNK,
                               .chunk = {node->chunks[0].peer, chunk->index, chunk->number,
                                         chunk->last, chunk->err, chunk->bytes}};

    node->chunk_reading = false;
    node->chunk_count--;
    memmove(node->chunks, node->chunks + 1, node->chunk_count * sizeof(node->chunks[0]));
    (void)node_raft(node, &event);
}

static void chunks_read(struct node *node)
{
    while (node->chunk_count > 0 && !node->chunk_reading && !node->failed) {
        struct log_event event = {.kind = LOG_READ_CHUNK,
                                  .read = {node->chunks[0].index, node->chunks[0].chunk}};
        as_err err;

        node->chunk_reading = true;
        err = node_log(node, &event); /* it may be answered in this very call */
        if (err == AS_ERR_BUSY || err == AS_ERR_NOMEM) {
            node->chunk_reading = false;
            return; /* Raft asks again */
        }
        if (err)
            chunk_answer(node, &(struct log_chunk){.index = event.read.index,
                                                   .number = event.read.number,
                                                   .err = err});
    }
}

/* --- Received from the leader --- */

void node_snapshot_write(struct node *node, const struct raft_effect *effect)
{
    as_buf_clear(&node->received.bytes);
    as_put_bytes(&node->received.bytes, effect->snapshot_write.bytes.data,
                 effect->snapshot_write.bytes.len);
    node->received.index = effect->snapshot_write.index;
    node->received.term = effect->snapshot_write.term;
    node->received.chunk = effect->snapshot_write.chunk;
    node->received.last = effect->snapshot_write.last;
    node->received.begin = effect->snapshot_write.chunk == 0;
    node->received.pending = true;
    node->received.given = false;
    node->received.drop = false;
}

void node_snapshot_drop(struct node *node)
{
    node->received.pending = false;
    node->received.drop = true;
}

static void received_forget(struct node *node)
{
    txn_free(node->received.txn);
    node->received.txn = NULL;
    node->received.pending = node->received.given = node->received.wanted = false;
    as_buf_clear(&node->received.bytes);
}

static void received_failed(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_FAILED,
                               .snapshot = {node->received.index, node->received.term}};

    received_forget(node);
    (void)node_log(node, &(struct log_event){.kind = LOG_INSTALL_GIVE_UP});
    (void)node_raft(node, &event);
}

static as_err received_begin(struct node *node)
{
    struct log_event event = {.kind = LOG_INSTALL_BEGIN,
                              .install = {node->received.index, node->received.term}};
    as_err err;

    txn_free(node->received.txn);
    node->received.txn = NULL;
    node->received.begin = node->received.wanted = false;
    err = txn_new(&node->received.txn, &node->config.txn);
    return err ? err : node_log(node, &event);
}

/* The first chunk is the members': Raft has them from the message. */
static as_err received_give(struct node *node)
{
    struct as_bytes bytes = as_buf_bytes(&node->received.bytes);
    struct log_event event = {.kind = LOG_INSTALL_CHUNK,
                              .chunk = {.bytes = bytes, .last = node->received.last}};
    as_err err = node->received.bytes.err;

    node->received.pending = node->received.wanted = false;
    node->received.given = true;
    if (!err && node->received.chunk > 0)
        err = txn_restore(node->received.txn, bytes, node->received.last);
    return err ? err : node_log(node, &event);
}

static void received_stored(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED,
                               .stored = {node->received.index, node->received.chunk}};

    node->received.given = false;
    (void)node_raft(node, &event);
}

void node_snapshot_settle(struct node *node)
{
    as_err err = AS_OK;

    if (node->received.drop) {
        node->received.drop = false;
        received_forget(node);
        (void)node_log(node, &(struct log_event){.kind = LOG_INSTALL_GIVE_UP});
    }
    if (node->received.pending && node->received.begin)
        err = received_begin(node);
    if (!err && node->received.pending && node->received.wanted)
        err = received_give(node);
    if (err && !node->failed)
        received_failed(node);
    chunks_read(node);
}

/* The old table goes, with whatever this follower was still to be told of it. A crash here: the log
 * opens with the snapshot. */
static void received_installed(struct node *node, uint64_t index)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_INSTALLED,
                               .snapshot = {index, node->received.term}};

    if (!node->received.txn || index != node->received.index) {
        node_fail(node, "the log has installed a snapshot that the table does not have");
        return;
    }
    if (node->snapshot_running)
        node_snapshot_stop(node);
    txn_free(node->txn);
    node->txn = node->received.txn;
    node->received.txn = NULL;
    received_forget(node);
    node->applied = node->committed = index;
    (void)node_raft(node, &event);
    node_sessions_serve(node);
}

void node_snapshot_effects(struct node *node, const struct log_effects *effects)
{
    struct log_effects said = *effects; /* the next step of the log takes them away */

    if (said.chunk.index && node->chunk_reading)
        chunk_answer(node, &said.chunk);
    if (said.snapshot_given_up && node->snapshot_running)
        snapshot_given_up(node);
    else if (said.snapshot_wants_chunk && node->snapshot_running)
        snapshot_next(node);
    if (said.snapshot_done)
        snapshot_done(node, said.snapshot_done);
    if (said.install_wants_chunk) {
        node->received.wanted = true;
        if (node->received.given)
            received_stored(node);
    }
    if (said.install_given_up && node->received.txn)
        received_failed(node);
    if (said.install_done)
        received_installed(node, said.install_done);
}
