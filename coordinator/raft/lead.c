/*
 * The leader: replication, commit, heartbeats, check-quorum and transfer (Raft paper 5.3, 5.4.2;
 * thesis 3.10, 6.2, 10.2).
 *
 * A peer's progress:  PROBE (one message at a time, to find where the logs agree)
 *                     -> PIPELINE (sends on without waiting, within a window)
 *                     -> SENDING_SNAPSHOT (what it lacks was cut)
 *
 * Fault model: any message may be lost. A heartbeat names the last entry that was sent, so a peer
 * that lacks it rejects, and what was lost is sent again. Who is not heard by a majority does not
 * lead.
 */
#include "coordinator/raft/core.h"

static as_time ms(uint32_t count)
{
    return (as_time)count * AS_MS;
}

static uint64_t last_index(const struct raft *raft)
{
    return raft->tail.last_index;
}

void raft_probe(struct raft_peer *peer, uint64_t next)
{
    peer->progress = RAFT_PROBE;
    peer->probing = false;
    peer->next = next > peer->match ? next : peer->match + 1;
}

void raft_become_leader(struct raft *raft)
{
    raft->role = RAFT_LEADER;
    raft->leader = raft->config.id;
    raft->owed.requests = false;
    raft->lead_at = raft->now;
    raft->lead_time_ms = raft_tail_time_ms(&raft->tail, last_index(raft));
    raft->heartbeat_at = raft->now + ms(raft->config.heartbeat_ms);
    raft->round = 0;
    raft->transfer_to = 0;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];

        *peer = (struct raft_peer){.id = peer->id, .voter = peer->voter, .heard_at = raft->now};
        raft_probe(peer, last_index(raft) + 1);
    }
    raft->noop_index = raft_lead_append(raft, RAFT_ENTRY_NOOP, (struct as_bytes){NULL, 0});
    raft_trace(raft, AS_TRACE_RAFT_ELECTED, raft->term);
}

void raft_lead_close(struct raft *raft)
{
    raft_reads_refuse(raft);
    raft->transfer_to = 0;
}

/* Log time moves with the leader's monotonic clock, and not at all across a change of term. */
uint64_t raft_lead_append(struct raft *raft, uint8_t type, struct as_bytes payload)
{
    int64_t before = raft_tail_time_ms(&raft->tail, last_index(raft));
    int64_t time_ms = raft->lead_time_ms + (raft->now - raft->lead_at) / AS_MS;
    struct raft_entry entry = {.term = raft->term,
                               .time_ms = time_ms > before ? time_ms : before,
                               .type = type,
                               .payload = payload};

    raft_append(raft, &entry);
    return last_index(raft);
}

enum raft_refusal raft_propose(struct raft *raft, const struct raft_event *event,
                               uint64_t *ret_index)
{
    size_t len = event->propose.payload.len;

    AS_ASSERT(event->propose.type != RAFT_ENTRY_NOOP && event->propose.type != RAFT_ENTRY_MEMBERS);
    if (!raft_leads(raft) || event->propose.term != raft->term)
        return RAFT_REFUSED_NOT_LEADER; /* R1: as the leader of that very term */
    if (raft->transfer_to)
        return RAFT_REFUSED_TRANSFERRING;
    if (len > raft->config.page_bytes - RAFT_ENTRY_HEADER)
        return RAFT_REFUSED_TOO_BIG;
    if (raft_is_full(raft, last_index(raft)))
        return RAFT_REFUSED_TAIL_FULL;
    *ret_index = raft_lead_append(raft, event->propose.type, event->propose.payload);
    return RAFT_REFUSED_NONE;
}

/* --- Committing --- */

uint64_t raft_majority(const struct raft *raft, uint64_t own,
                       uint64_t (*value)(const struct raft_peer *peer))
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    uint32_t count = 0, voters = raft_voter_count(&raft->members);

    for (uint32_t i = 0; i <= raft->peer_count; i++) {
        bool self = i == raft->peer_count;
        uint64_t number = self ? own : value(&raft->peers[i]);
        uint32_t at = count;

        if (self ? !raft_is_voter(raft) : !raft->peers[i].voter)
            continue;
        for (; at > 0 && sorted[at - 1] < number; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = number;
        count++;
    }
    AS_ASSERT(count == voters && count > 0);
    return sorted[voters / 2];
}

static uint64_t match_of(const struct raft_peer *peer)
{
    return peer->match;
}

/* An entry of an earlier term is never committed by counting, only along with one of this term: a
 * later leader could still replace it (5.4.2, figure 8). Our own disk is one of those counted. */
void raft_advance_commit(struct raft *raft)
{
    uint64_t index = raft_majority(raft, raft->durable, match_of);

    if (index > raft->commit && raft_tail_term(&raft->tail, index) == raft->term)
        raft_commit_to(raft, index);
}

/* --- Sending --- */

static struct raft_message *send_empty(struct raft *raft, const struct raft_peer *peer)
{
    struct raft_message *message = raft_send(raft, peer->id, RAFT_APPEND);
    uint64_t prev = peer->next - 1;

    /* It lacks what we have cut: then before the first entry, which fits everybody. */
    if (peer->progress == RAFT_SENDING_SNAPSHOT || prev < raft->tail.base_index)
        prev = 0;
    message->append.prev_index = prev;
    message->append.prev_term = prev ? raft_tail_term(&raft->tail, prev) : 0;
    message->append.commit = raft->commit;
    message->append.round = raft->round;
    message->append.voter = peer->voter;
    return message;
}

/* As many as one message may carry; returns the last one's index. */
static uint64_t send_entries(struct raft *raft, const struct raft_peer *peer)
{
    struct raft_message *message = send_empty(raft, peer);

    if (peer->next <= last_index(raft))
        message->append.entries = raft_tail_run(&raft->tail, peer->next, raft->config.message_bytes,
                                                &message->append.count);
    return peer->next - 1 + message->append.count;
}

static bool window_is_open(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->next - peer->match - 1 < raft->config.window_entries &&
           raft_tail_span(&raft->tail, peer->match + 1, peer->next) < raft->config.window_bytes;
}

static void flush_peer(struct raft *raft, struct raft_peer *peer, bool round)
{
    uint32_t sent = 0;

    if (peer->progress != RAFT_SENDING_SNAPSHOT && peer->next <= raft->tail.base_index)
        raft_snapshot_send(raft, peer);
    if (peer->progress == RAFT_PROBE && !peer->probing) {
        peer->sent = send_entries(raft, peer);
        peer->probing = true;
        sent++;
    }
    while (peer->progress == RAFT_PIPELINE && peer->next <= last_index(raft) &&
           sent < RAFT_SENDS_PER_FLUSH && window_is_open(raft, peer)) {
        peer->next = send_entries(raft, peer) + 1;
        sent++;
    }
    if (round && sent == 0)
        send_empty(raft, peer);
}

void raft_lead_flush(struct raft *raft)
{
    bool round = raft_reads_want_round(raft);

    if (!raft_hard_state_durable(raft))
        return; /* a group of one that has just begun, with a learner */
    raft->round += round;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        flush_peer(raft, &raft->peers[i], round);
    raft_transfer_continue(raft);
}

/* --- Time --- */

/* Check-quorum (thesis 6.2): a leader cut off from a majority stops being one. */
static bool has_quorum(const struct raft *raft)
{
    uint32_t heard = raft_is_voter(raft);

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];

        heard += peer->voter && raft->now <= peer->heard_at + ms(raft->config.election_max_ms);
    }
    return heard > raft_voter_count(&raft->members) / 2;
}

void raft_lead_tick(struct raft *raft)
{
    raft->heartbeat_at = raft->now + ms(raft->config.heartbeat_ms);
    if (!has_quorum(raft)) {
        raft_trace(raft, AS_TRACE_RAFT_QUORUM_LOST, raft->term);
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    if (raft->transfer_to && raft->now >= raft->transfer_until)
        raft->transfer_to = 0; /* it did not work: go on leading */
    raft->transfer_sent = false;
    if (!raft_hard_state_durable(raft))
        return;
    raft->round += raft_reads_want_round(raft);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        send_empty(raft, &raft->peers[i]);
        if (raft->peers[i].progress == RAFT_SENDING_SNAPSHOT)
            raft_snapshot_tick(raft, &raft->peers[i]);
    }
    raft_transfer_continue(raft);
}

/* --- Answers --- */

static struct raft_peer *heard(struct raft *raft, uint64_t from, uint64_t round)
{
    struct raft_peer *peer = raft_leads(raft) ? raft_peer_find(raft, from) : NULL;

    if (!peer)
        return NULL;
    peer->heard_at = raft->now;
    if (round > peer->round && round <= raft->round)
        peer->round = round;
    return peer;
}

static void go_on_from(struct raft_peer *peer, uint64_t next)
{
    peer->progress = RAFT_PIPELINE;
    peer->next = next;
}

void raft_on_ack(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    struct raft_peer *peer = heard(raft, from, message->ack.round);
    uint64_t match = message->ack.match;

    if (!peer || match > last_index(raft))
        return;
    if (match > peer->match)
        peer->match = match;
    if (peer->progress == RAFT_PIPELINE) {
        if (peer->next <= match)
            peer->next = match + 1;
    } else if (peer->progress == RAFT_PROBE) {
        if (match + 1 >= peer->next)
            go_on_from(peer, (peer->probing && peer->sent > match ? peer->sent : match) + 1);
    } else if (peer->match >= raft->tail.base_index) {
        go_on_from(peer, peer->match + 1);
    }
    raft_advance_commit(raft);
}

/* Where the logs may agree: the last entry of the follower's term there, if we have that term; else
 * before its first entry of it (5.3). */
void raft_on_reject(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    struct raft_peer *peer = heard(raft, from, message->reject.round);
    uint64_t prev = message->reject.prev_index, next = message->reject.hint_index;

    if (!peer || peer->progress == RAFT_SENDING_SNAPSHOT || prev <= peer->match ||
        prev >= peer->next || (peer->progress == RAFT_PROBE && prev != peer->next - 1))
        return; /* late: it was answered otherwise since */
    if (message->reject.hint_term) {
        uint64_t behind = raft_tail_seek(&raft->tail, message->reject.hint_term + 1);

        if (behind > raft->tail.base_index &&
            raft_tail_term(&raft->tail, behind - 1) == message->reject.hint_term)
            next = behind;
    }
    raft_probe(peer, next < prev ? next : prev);
}

/* --- Transfer (thesis 3.10) --- */

enum raft_refusal raft_transfer(struct raft *raft, uint64_t to)
{
    struct raft_peer *best = NULL;

    if (!raft_leads(raft))
        return RAFT_REFUSED_NOT_LEADER;
    if (raft->transfer_to)
        return RAFT_REFUSED_TRANSFERRING;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];

        if (peer->voter && (to == 0 || to == peer->id) && (!best || peer->match > best->match))
            best = peer;
    }
    if (!best)
        return to ? RAFT_REFUSED_NO_SUCH_MEMBER : RAFT_REFUSED_LAST_VOTER;
    raft->transfer_to = best->id;
    raft->transfer_until = raft->now + ms(raft->config.election_max_ms);
    raft->transfer_sent = false;
    raft_trace(raft, AS_TRACE_RAFT_TRANSFER, best->id);
    raft_transfer_continue(raft);
    return RAFT_REFUSED_NONE;
}

/* It is told to campaign once it has all: then nobody's log is ahead of its own. */
void raft_transfer_continue(struct raft *raft)
{
    struct raft_peer *peer = raft->transfer_to ? raft_peer_find(raft, raft->transfer_to) : NULL;

    if (!peer || raft->transfer_sent || peer->match < last_index(raft) ||
        !raft_hard_state_durable(raft))
        return;
    raft->transfer_sent = true;
    raft_send(raft, peer->id, RAFT_TIMEOUT_NOW);
}
