/*
 * Who counts (Raft paper 6; thesis 4). One member changes at a time, so any majority of the old
 * list and any of the new one have a node in common. A list is in force as soon as it is in the
 * log; if its entry is truncated the list before is in force again.
 *
 * A change waits until this term's NOOP is committed, and until the change before it is: without
 * that two leaders could each change the list in their own way, with majorities that do not meet.
 */
#include <string.h>

#include "coordinator/raft/core.h"

struct raft_peer *raft_peer_find(struct raft *raft, uint64_t id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

uint32_t raft_voter_count(const struct raft_members *members)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++)
        count += members->list[i].role == RAFT_VOTER;
    return count;
}

static bool votes(const struct raft_members *members, uint64_t id)
{
    const struct raft_member *member = raft_member_find(members, id);

    return member && member->role == RAFT_VOTER;
}

bool raft_is_voter(const struct raft *raft)
{
    return votes(&raft->members, raft->config.id);
}

/* A voter has promised things on its disk, and a node that knows of no members has an empty one.
 * Only a learner may be that: who was promoted had its own listing on disk before. */
bool raft_is_emptied(struct raft *raft, bool voter)
{
    if (raft->members.count > 0 || !voter)
        return false;
    if (!raft->emptied)
        raft_trace(raft, AS_TRACE_RAFT_EMPTIED, raft->config.id);
    raft->emptied = true;
    return true;
}

/* Thesis 4.2.2: a voter that is being removed still campaigns, without counting itself, until that
 * is committed: it may be the only one whose log lets it win. */
bool raft_may_campaign(const struct raft *raft)
{
    return raft_is_voter(raft) || (raft->leaving && raft->members_index > raft->commit);
}

void raft_members_set(struct raft *raft, const struct raft_members *members, uint64_t index)
{
    struct raft_peer old[RAFT_PEERS_MAX];
    uint32_t old_count = raft->peer_count;

    memcpy(old, raft->peers, sizeof(old));
    raft->leaving = raft_is_voter(raft) && !votes(members, raft->config.id);
    raft->listed |= raft_member_find(members, raft->config.id) != NULL;
    raft->members = *members;
    raft->members_index = index;
    raft->peer_count = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->list[i];
        struct raft_peer *peer = &raft->peers[raft->peer_count];
        uint32_t at = 0;

        if (member->id == raft->config.id)
            continue;
        while (at < old_count && old[at].id != member->id)
            at++;
        if (at < old_count) {
            *peer = old[at];
        } else {
            *peer = (struct raft_peer){.id = member->id, .heard_at = raft->now};
            raft_probe(peer, raft->tail.last_index + 1);
        }
        peer->voter = member->role == RAFT_VOTER;
        raft->peer_count++;
    }
}

void raft_members_append(struct raft *raft, const struct raft_entry *entry)
{
    struct raft_members members;
    as_err err = raft_members_take(entry->payload, &members);

    AS_ASSERT(!err); /* raft_message_take has read it, or we made it */
    raft_members_set(raft, &members, entry->index);
    raft_trace(raft, AS_TRACE_RAFT_MEMBERS, entry->index);
}

/* The newest list in the tail up to `index`; false: it is the base's. */
static bool find_in_tail(const struct raft *raft, uint64_t index, struct raft_members *ret,
                         uint64_t *ret_index)
{
    struct raft_entry entry;

    for (; index > raft->tail.base_index; index--) {
        raft_tail_entry(&raft->tail, index, &entry);
        if (entry.type == RAFT_ENTRY_MEMBERS) {
            as_err err = raft_members_take(entry.payload, ret);

            AS_ASSERT(!err);
            *ret_index = index;
            return true;
        }
    }
    return false;
}

void raft_members_reload(struct raft *raft)
{
    struct raft_members members;
    uint64_t index;

    if (find_in_tail(raft, raft->tail.last_index, &members, &index))
        raft_members_set(raft, &members, index);
    else
        raft_members_set(raft, &raft->base_members, raft->base_members_index);
    raft->leaving = false;
}

void raft_members_rebase(struct raft *raft, uint64_t to)
{
    if (raft->members_index <= to) {
        raft->base_members = raft->members;
        raft->base_members_index = raft->members_index;
    } else {
        (void)find_in_tail(raft, to, &raft->base_members, &raft->base_members_index);
    }
}

as_err raft_members_at(const struct raft *raft, uint64_t index, struct raft_members *ret)
{
    uint64_t at;

    if (index < raft->tail.base_index || index > raft->tail.last_index)
        return AS_ERR_NOTFOUND;
    if (index >= raft->members_index)
        *ret = raft->members;
    else if (!find_in_tail(raft, index, ret, &at))
        *ret = raft->base_members;
    return AS_OK;
}

uint32_t raft_members_encode(const struct raft_members *members,
                             uint8_t ret_bytes[RAFT_MEMBERS_BYTES_MAX])
{
    struct as_buf buf = {
        .data = ret_bytes, .cap = RAFT_MEMBERS_BYTES_MAX, .max = RAFT_MEMBERS_BYTES_MAX};

    raft_members_put(&buf, members);
    AS_ASSERT(!buf.err);
    return (uint32_t)buf.len;
}

/* --- Changing one --- */

static enum raft_refusal add(struct raft_members *members, uint64_t id, const char *address)
{
    struct raft_member *member;
    uint32_t at = members->count;

    if (raft_member_find(members, id))
        return RAFT_REFUSED_IS_MEMBER;
    if (members->count == RAFT_MEMBERS_MAX)
        return RAFT_REFUSED_TOO_MANY;
    if (id == 0 || !address || strlen(address) > RAFT_ADDRESS_LEN_MAX)
        return RAFT_REFUSED_TOO_BIG;
    for (; at > 0 && members->list[at - 1].id > id; at--)
        members->list[at] = members->list[at - 1];
    member = &members->list[at];
    memset(member, 0, sizeof(*member));
    member->id = id;
    member->role = RAFT_LEARNER;
    memcpy(member->address, address, strlen(address) + 1);
    members->count++;
    return RAFT_REFUSED_NONE;
}

/* And is alive: a voter that never answers again would be missed for the majority, and where there is one other voter
 * nothing could be committed any more, its removal neither. */
static bool caught_up(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->progress == RAFT_PIPELINE &&
           raft->now <= peer->heard_at + (as_time)raft->config.election_min_ms * AS_MS &&
           peer->match + raft->config.caught_up_entries >= raft->tail.last_index;
}

/* Only one that has caught up: else the new majority may have to wait for its snapshot. */
static enum raft_refusal promote(struct raft *raft, struct raft_members *members, uint64_t id)
{
    struct raft_peer *peer = raft_peer_find(raft, id);

    if (!peer || peer->voter)
        return RAFT_REFUSED_NO_SUCH_MEMBER;
    /* Its listing as a learner must be on its disk: see raft_is_emptied. */
    if (!caught_up(raft, peer) || peer->match < raft->members_index)
        return RAFT_REFUSED_NOT_CAUGHT_UP;
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].id == id)
            members->list[i].role = RAFT_VOTER;
    }
    return RAFT_REFUSED_NONE;
}

static enum raft_refusal remove_one(struct raft_members *members, uint64_t id)
{
    uint32_t at = 0;

    while (at < members->count && members->list[at].id != id)
        at++;
    if (at == members->count)
        return RAFT_REFUSED_NO_SUCH_MEMBER;
    if (members->list[at].role == RAFT_VOTER && raft_voter_count(members) == 1)
        return RAFT_REFUSED_LAST_VOTER;
    members->count--;
    for (; at < members->count; at++)
        members->list[at] = members->list[at + 1];
    return RAFT_REFUSED_NONE;
}

enum raft_refusal raft_members_change(struct raft *raft, const struct raft_event *event,
                                      uint64_t *ret_index)
{
    struct raft_members members = raft->members;
    enum raft_refusal refusal = RAFT_REFUSED_NONE;
    uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];

    if (!raft_leads(raft))
        return RAFT_REFUSED_NOT_LEADER;
    if (raft->transfer_to)
        return RAFT_REFUSED_TRANSFERRING;
    if (!raft_is_ready(raft))
        return RAFT_REFUSED_NOT_READY;
    if (raft->members_index > raft->commit)
        return RAFT_REFUSED_CHANGING;
    switch (event->member.change) {
    case RAFT_MEMBER_ADD:
        refusal = add(&members, event->member.id, event->member.address);
        break;
    case RAFT_MEMBER_PROMOTE:
        refusal = promote(raft, &members, event->member.id);
        break;
    case RAFT_MEMBER_REMOVE:
        refusal = remove_one(&members, event->member.id);
        break;
    }
    if (!refusal) {
        uint32_t len = raft_members_encode(&members, bytes);

        *ret_index = raft_lead_append(raft, RAFT_ENTRY_MEMBERS, (struct as_bytes){bytes, len});
    }
    return refusal;
}

as_err raft_peer(const struct raft *raft, uint64_t id, struct raft_peer_view *ret)
{
    for (uint32_t i = 0; raft_leads(raft) && i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];

        if (peer->id != id)
            continue;
        *ret = (struct raft_peer_view){
            .id = id,
            .progress = peer->progress,
            .match = peer->match,
            .next = peer->next,
            .heard_at = peer->heard_at,
            .caught_up = caught_up(raft, peer) && peer->match >= raft->members_index,
            .chunk = peer->chunk,
        };
        return AS_OK;
    }
    return AS_ERR_NOTFOUND;
}
