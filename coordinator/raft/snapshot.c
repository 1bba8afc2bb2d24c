/*
 * Snapshots (Raft paper 7, figure 13): the leader's end reads its newest one chunk by chunk and
 * sends a chunk when the one before was stored; the follower's end checks each and has it stored.
 * After the last one the follower's log starts anew behind the snapshot.
 *
 * Fault model: chunks and answers are lost, doubled and late; either node may restart. The follower
 * always says which chunk it wants, so the leader needs to remember nothing. A newer snapshot, or
 * another leader's, starts from its first chunk.
 */
#include <string.h>

#include "coordinator/raft/core.h"

/* --- Our own --- */

void raft_snapshot_set(struct raft *raft, uint64_t index, uint64_t term, int64_t time_ms,
                       const struct raft_members *members)
{
    raft->snapshot_index = index;
    raft->snapshot_term = term;
    raft->snapshot_time_ms = time_ms;
    raft->snapshot_members_len = raft_members_encode(members, raft->snapshot_members);
}

/* What lies behind the snapshot may go, but a little is kept: a peer that lags by less than that
 * needs no snapshot. */
static void cut_tail(struct raft *raft)
{
    uint64_t low = raft->tail.base_index, high = raft->snapshot_index;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (raft_tail_span(&raft->tail, middle + 1, raft->snapshot_index + 1) >
                raft->config.tail_keep_bytes ||
            raft->snapshot_index - middle > raft->config.tail_entries_max / 2)
            low = middle + 1;
        else
            high = middle;
    }
    raft_members_rebase(raft, low);
    raft_tail_cut(&raft->tail, low);
}

as_err raft_snapshot_taken(struct raft *raft, uint64_t index, uint64_t term)
{
    struct raft_members members;

    if (index <= raft->snapshot_index)
        return AS_OK; /* a received one overtook it */
    if (index > raft->durable || index > raft->commit ||
        raft_tail_term(&raft->tail, index) != term || raft_members_at(raft, index, &members))
        return AS_ERR_INVALID;
    raft_snapshot_set(raft, index, term, raft_tail_time_ms(&raft->tail, index), &members);
    cut_tail(raft);
    return AS_OK;
}

/* --- The leader's end --- */

static as_time retry(const struct raft *raft)
{
    return (as_time)raft->config.snapshot_retry_ms * AS_MS;
}

/* One at a time; but one whose answer does not come is forgotten after a while. */
static void read_chunk(struct raft *raft, struct raft_peer *peer)
{
    struct raft_effect *effect;

    if (peer->chunk_reading && raft->now < peer->chunk_again)
        return;
    if (peer->snapshot != raft->snapshot_index) {
        peer->snapshot = raft->snapshot_index;
        peer->chunk = 0;
    }
    peer->chunk_reading = true;
    peer->chunk_again = raft->now + retry(raft);
    effect = raft_emit(raft, RAFT_SNAPSHOT_READ);
    effect->snapshot_read.peer = peer->id;
    effect->snapshot_read.index = peer->snapshot;
    effect->snapshot_read.chunk = peer->chunk;
}

void raft_snapshot_send(struct raft *raft, struct raft_peer *peer)
{
    AS_ASSERT(raft->snapshot_index >= raft->tail.base_index && raft->snapshot_index > 0);
    peer->progress = RAFT_SENDING_SNAPSHOT;
    peer->snapshot = 0;
    raft_trace(raft, AS_TRACE_RAFT_SNAPSHOT_SENDING, peer->id);
    read_chunk(raft, peer);
}

void raft_snapshot_tick(struct raft *raft, struct raft_peer *peer)
{
    if (raft->now >= peer->chunk_again)
        read_chunk(raft, peer);
}

as_err raft_on_chunk_read(struct raft *raft, const struct raft_event *event)
{
    struct raft_peer *peer = raft_leads(raft) ? raft_peer_find(raft, event->chunk.peer) : NULL;
    struct raft_message *message;

    if (event->chunk.bytes.len > RAFT_CHUNK_BYTES_MAX)
        return AS_ERR_INVALID;
    if (!peer || !peer->chunk_reading)
        return AS_OK;
    peer->chunk_reading = false;
    peer->chunk_again = raft->now + retry(raft);
    if (event->chunk.err || peer->progress != RAFT_SENDING_SNAPSHOT ||
        !raft_hard_state_durable(raft))
        return AS_OK; /* asked for anew by the tick */
    if (peer->snapshot != event->chunk.index || peer->chunk != event->chunk.chunk ||
        peer->snapshot != raft->snapshot_index) {
        read_chunk(raft, peer); /* another one is wanted since */
        return AS_OK;
    }
    message = raft_send(raft, peer->id, RAFT_SNAPSHOT);
    message->snapshot.index = raft->snapshot_index;
    message->snapshot.snapshot_term = raft->snapshot_term;
    message->snapshot.time_ms = raft->snapshot_time_ms;
    message->snapshot.chunk = peer->chunk;
    message->snapshot.last = event->chunk.last;
    message->snapshot.voter = peer->voter;
    message->snapshot.members =
        (struct as_bytes){raft->snapshot_members, raft->snapshot_members_len};
    message->snapshot.bytes = event->chunk.bytes;
    message->snapshot.checksum = raft_chunk_checksum(raft->snapshot_index, peer->chunk,
                                                     event->chunk.last, event->chunk.bytes);
    return AS_OK;
}

void raft_on_snapshot_reply(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    struct raft_peer *peer = raft_leads(raft) ? raft_peer_find(raft, from) : NULL;

    if (!peer)
        return;
    peer->heard_at = raft->now;
    /* The same chunk again: it is on its way, or will be sent again by the tick. */
    if (peer->progress != RAFT_SENDING_SNAPSHOT ||
        message->snapshot_reply.index != peer->snapshot ||
        message->snapshot_reply.chunk == peer->chunk)
        return;
    peer->chunk = message->snapshot_reply.chunk;
    read_chunk(raft, peer);
}

/* --- The follower's end --- */

void raft_snapshot_drop(struct raft *raft)
{
    raft->receiving.index = 0;
    raft->receiving.storing = false;
    raft->owed.chunk = false;
    raft_emit(raft, RAFT_SNAPSHOT_DROP);
}

/* Everything in it is in our log already. */
static bool is_superfluous(const struct raft *raft, const struct raft_message *message)
{
    uint64_t index = message->snapshot.index;

    return index <= raft->commit ||
           (index <= raft->tail.last_index &&
            raft_tail_term(&raft->tail, index) == message->snapshot.snapshot_term);
}

/* False: not this one, or not now. */
static bool begin_receiving(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    struct raft_members members;

    if (raft_members_take(message->snapshot.members, &members))
        return false;
    raft->receiving.index = message->snapshot.index;
    raft->receiving.term = message->snapshot.snapshot_term;
    raft->receiving.time_ms = message->snapshot.time_ms;
    raft->receiving.from = from;
    raft->receiving.chunk = 0;
    raft->receiving.members = members;
    return true;
}

void raft_on_snapshot(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    struct raft_effect *effect;

    if (raft_leads(raft) || raft_is_emptied(raft, message->snapshot.voter))
        return;
    raft_hear_leader(raft, from);
    if (raft->receiving.storing)
        return; /* one thing at a time: it comes again */
    if (is_superfluous(raft, message)) {
        if (message->snapshot.index > raft->matched)
            raft->matched = message->snapshot.index;
        raft->owed.ack = true;
        return;
    }
    if ((raft->receiving.index != message->snapshot.index || raft->receiving.from != from) &&
        !begin_receiving(raft, from, message))
        return;
    if (message->snapshot.chunk != raft->receiving.chunk) {
        raft->owed.chunk = true;
        return;
    }
    if (raft_chunk_checksum(message->snapshot.index, message->snapshot.chunk,
                            message->snapshot.last,
                            message->snapshot.bytes) != message->snapshot.checksum) {
        raft_trace(raft, AS_TRACE_RAFT_CHUNK_DAMAGED, from);
        return;
    }
    raft->receiving.storing = true;
    raft->receiving.last = message->snapshot.last;
    effect = raft_emit(raft, RAFT_SNAPSHOT_WRITE);
    effect->snapshot_write.index = raft->receiving.index;
    effect->snapshot_write.term = raft->receiving.term;
    effect->snapshot_write.time_ms = raft->receiving.time_ms;
    effect->snapshot_write.chunk = message->snapshot.chunk;
    effect->snapshot_write.last = message->snapshot.last;
    effect->snapshot_write.bytes = message->snapshot.bytes;
}

void raft_on_stored(struct raft *raft, uint64_t index, uint32_t chunk)
{
    if (!raft->receiving.storing || raft->receiving.last || raft->receiving.index != index ||
        raft->receiving.chunk != chunk)
        return;
    raft->receiving.storing = false;
    raft->receiving.chunk++;
    raft->owed.chunk = true;
}

/* Figure 13, 7: the whole log goes. One that had the snapshot's last entry had no need of it. */
as_err raft_on_installed(struct raft *raft, uint64_t index, uint64_t term)
{
    if (!raft->receiving.last || raft->receiving.index != index || raft->receiving.term != term)
        return AS_ERR_INVALID;
    raft_tail_reset(&raft->tail, index, term, raft->receiving.time_ms);
    raft->durable = raft->taken = raft->commit = raft->told.commit = index;
    raft->matched = index;
    raft->base_members = raft->receiving.members;
    raft->base_members_index = index;
    raft_members_set(raft, &raft->base_members, index);
    raft_snapshot_set(raft, index, term, raft->receiving.time_ms, &raft->base_members);
    memset(&raft->receiving, 0, sizeof(raft->receiving));
    raft->owed.chunk = false;
    raft->owed.ack = true;
    raft_trace(raft, AS_TRACE_RAFT_SNAPSHOT_INSTALLED, index);
    return AS_OK;
}

void raft_on_snapshot_failed(struct raft *raft, uint64_t index)
{
    if (raft->receiving.index != index)
        return;
    memset(&raft->receiving, 0, sizeof(raft->receiving));
    raft->owed.chunk = false;
}
