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
    node_log(node, &event);
}

void node_snapshot_if_due(struct node *node)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_BEGIN};

    if (node->snapshot_running || node->failed ||
        log_bytes_since_snapshot(node->log) < node->config.snapshot_bytes)
        return;
    if (txn_snapshot_begin(node->txn, &event.snapshot.index, &event.snapshot.term))
        return;
    /* Applied may be what a majority has durable, and this node not yet: it waits for its own. */
    if (event.snapshot.index == 0 || event.snapshot.index > log_persisted_index(node->log)) {
        txn_snapshot_end(node->txn);
        return;
    }
    node->snapshot_running = true;
    node->snapshot_begun = false;
    node->snapshot_index = event.snapshot.index;
    node->snapshot_term = event.snapshot.term;
    node_log(node, &event);
}

static void snapshot_done(struct node *node, uint64_t index)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_TAKEN,
                               .snapshot = {index, node->snapshot_term}};

    if (index == node->snapshot_index)
        (void)node_raft(node, &event);
}

void node_snapshot_effects(struct node *node, const struct log_effects *effects)
{
    uint64_t done = effects->snapshot_done;

    if (effects->snapshot_given_up && node->snapshot_running)
        node_snapshot_stop(node); /* for want of space: the next one comes when more is logged */
    else if (effects->snapshot_wants_chunk && node->snapshot_running)
        snapshot_next(node);
    if (done)
        snapshot_done(node, done);
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

/* --- Sent, received --- */

void node_snapshot_read(struct node *node, uint64_t peer, uint64_t index, uint32_t chunk)
{
    (void)node;
    (void)peer;
    (void)index;
    (void)chunk;
}

void node_snapshot_write(struct node *node, const struct raft_effect *effect)
{
    (void)node;
    (void)effect;
}

void node_snapshot_drop(struct node *node)
{
    (void)node;
}

void node_snapshot_settle(struct node *node)
{
    (void)node;
}
