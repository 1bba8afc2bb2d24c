/*
 * The follower: entries from the leader (Raft paper 5.3, figure 2 "AppendEntries RPC"), and what it
 * owes.
 *
 * Fault model: appends come late, twice, and in any order. An entry is acknowledged once it is
 * durable, by a match that covers only what is equal to the leader's log.
 */
#include <string.h>

#include "coordinator/raft/core.h"

/* 5.3: the entry before the new ones must be ours too. Everything up to our commit is: that every
 * leader of a later term has (5.4). */
static bool prev_fits(const struct raft *raft, uint64_t index, uint64_t term)
{
    if (index <= raft->commit)
        return true;
    return index <= raft->tail.last_index && raft_tail_term(&raft->tail, index) == term;
}

/* With a hint, so that the leader goes back a term at a time instead of an entry (5.3). */
static void reject(struct raft *raft, const struct raft_message *message)
{
    uint64_t prev = message->append.prev_index;

    raft->owed.reject = true;
    raft->owed.rejection = (struct raft_message){.type = RAFT_REJECT};
    raft->owed.rejection.reject.prev_index = prev;
    raft->owed.rejection.reject.hint_index = raft->tail.last_index + 1;
    if (prev <= raft->tail.last_index) {
        uint64_t term = raft_tail_term(&raft->tail, prev);

        raft->owed.rejection.reject.hint_term = term;
        raft->owed.rejection.reject.hint_index = raft_tail_seek(&raft->tail, term);
    }
}

bool raft_is_full(const struct raft *raft, uint64_t last)
{
    const struct raft_tail *tail = &raft->tail;

    return last - tail->base_index >= raft->config.tail_entries_max ||
           raft_tail_span(tail, 0, last + 1) >= raft->config.tail_bytes_max;
}

/* False: this entry cannot be taken now, nor any behind it. Only what is committed counts, for only
 * that can go into a snapshot: were uncommitted entries to keep out a new leader's NOOP, nothing
 * could ever be committed again. What may be uncommitted is the leader's to bound. */
static bool may_append(const struct raft *raft, const struct raft_entry *entry)
{
    return !raft_is_full(raft, raft->commit) &&
           RAFT_ENTRY_HEADER + entry->payload.len <= raft->config.page_bytes;
}

/* Returns the last index up to which our log now equals the leader's. */
static uint64_t take_entries(struct raft *raft, const struct raft_message *message)
{
    struct as_reader in = as_reader_of(message->append.entries);
    uint64_t index = message->append.prev_index;
    const uint8_t *bytes = in.at;
    struct raft_entry entry;

    for (; raft_entry_take(&in, &entry); bytes = in.at) {
        index++;
        if (index <= raft->tail.base_index)
            continue;
        if (index <= raft->tail.last_index) {
            if (raft_tail_term(&raft->tail, index) == entry.term) {
                struct as_bytes ours = raft_tail_bytes(&raft->tail, index);

                /* An (index, term) never has two contents. */
                AS_ASSERT(ours.len == (size_t)(in.at - bytes) &&
                          memcmp(ours.data, bytes, ours.len) == 0);
                continue;
            }
            raft_truncate(raft, index);
            raft->truncated = index;
            raft_trace(raft, AS_TRACE_RAFT_TRUNCATED, index);
        }
        if (!may_append(raft, &entry))
            return index - 1;
        raft_append(raft, &entry);
    }
    return index;
}

void raft_on_append(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    uint64_t last;

    if (raft_leads(raft) || raft_is_emptied(raft, message->append.voter))
        return; /* election safety: nobody else leads this term */
    raft_hear_leader(raft, from);
    if (message->append.round > raft->round) {
        raft->round = message->append.round;
        raft->owed.ack = true;
    }
    if (message->append.commit > raft->leader_commit)
        raft->leader_commit = message->append.commit;
    if (raft->receiving.last) {
        raft->owed.ack = true; /* we live, but our log is about to be replaced */
        return;
    }
    if (!prev_fits(raft, message->append.prev_index, message->append.prev_term)) {
        reject(raft, message);
        return;
    }
    last = take_entries(raft, message);
    if (last > raft->matched)
        raft->matched = last;
    /* What is new is acknowledged when it is durable; what is not, at once. */
    if (!raft->unwritten)
        raft->owed.ack = true;
    if (message->append.count > 0 && raft->receiving.index)
        raft_snapshot_drop(raft);
}

/* Called by raft_settle, when term and vote are durable. */
void raft_send_owed(struct raft *raft)
{
    uint64_t match = raft->durable < raft->matched ? raft->durable : raft->matched;
    struct raft_message *message;

    if (raft->owed.requests) {
        raft->owed.requests = false;
        raft_send_requests(raft);
    }
    if (raft->owed.vote) {
        raft_send(raft, raft->owed.vote, RAFT_VOTE_REPLY)->vote_reply.granted = true;
        raft->owed.vote = 0;
    }
    if (!raft->owed.ack_to)
        return;
    if (raft->owed.reject) {
        raft->owed.reject = false;
        message = raft_send(raft, raft->owed.ack_to, RAFT_REJECT);
        message->reject = raft->owed.rejection.reject;
        message->reject.round = raft->round;
    }
    if (raft->owed.ack || match > raft->owed.acked) {
        raft->owed.ack = false;
        raft->owed.acked = match;
        message = raft_send(raft, raft->owed.ack_to, RAFT_ACK);
        message->ack.match = match;
        message->ack.round = raft->round;
    }
    if (raft->owed.chunk) {
        raft->owed.chunk = false;
        message = raft_send(raft, raft->owed.ack_to, RAFT_SNAPSHOT_REPLY);
        message->snapshot_reply.index = raft->receiving.index;
        message->snapshot_reply.chunk = raft->receiving.chunk;
    }
}
