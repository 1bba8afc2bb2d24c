/*
 * One step: reserve, handle, settle. Here stand the two rules on which everything rests that is
 * said about crashes (raft.h): raft_send and raft_settle.
 *
 * Fault model: a step that finds no memory has changed nothing. The process may die after any step,
 * with any part of its effects carried out.
 */
#include "coordinator/raft/raft.h"

#include <string.h>

#include "assent/alloc.h"
#include "coordinator/raft/core.h"

/* In one step, besides one for each read that waits: messages to every peer, and the rest. */
#define EFFECTS_MAX (RAFT_PEERS_MAX * (RAFT_SENDS_PER_FLUSH + 4) + 16)
/* What any step may append by itself: NOOP and MEMBERS. */
#define OWN_ENTRIES 2
#define OWN_BYTES (2 * RAFT_ENTRY_HEADER + RAFT_MEMBERS_BYTES_MAX)

/* --- Effects --- */

struct raft_effect *raft_emit(struct raft *raft, enum raft_effect_kind kind)
{
    struct raft_effect *effect;

    AS_ASSERT(raft->effect_count < raft->effect_cap);
    effect = &raft->effects[raft->effect_count++];
    effect->kind = kind;
    return effect;
}

void raft_trace(struct raft *raft, enum as_trace_kind kind, uint64_t number)
{
    raft_emit(raft, RAFT_TRACE)->trace = (struct as_trace){.kind = kind, .number = number};
}

bool raft_hard_state_durable(const struct raft *raft)
{
    return !raft->vote_unwritten && raft->vote_write <= raft->persisted_write;
}

struct raft_message *raft_send(struct raft *raft, uint64_t to, enum raft_message_type type)
{
    struct raft_effect *effect = raft_emit(raft, RAFT_SEND);

    AS_ASSERT(raft_hard_state_durable(raft) && to != raft->config.id);
    effect->send.to = to;
    memset(&effect->send.message, 0, sizeof(effect->send.message));
    effect->send.message.type = type;
    effect->send.message.term = raft->term;
    return &effect->send.message;
}

/* --- The log --- */

void raft_append(struct raft *raft, const struct raft_entry *entry)
{
    raft_tail_append(&raft->tail, entry);
    if (!raft->unwritten)
        raft->unwritten = raft->tail.last_index;
    if (entry->type == RAFT_ENTRY_MEMBERS) {
        struct raft_entry kept;

        raft_tail_entry(&raft->tail, raft->tail.last_index, &kept);
        raft_members_append(raft, &kept);
    }
}

void raft_truncate(struct raft *raft, uint64_t from)
{
    /* State machine safety: what is committed is in the log of every later leader (5.4). */
    AS_ASSERT(from > raft->commit && from > raft->tail.base_index);
    raft_tail_truncate(&raft->tail, from);
    if (raft->durable >= from)
        raft->durable = from - 1;
    if (raft->taken >= from)
        raft->taken = from - 1;
    if (raft->members_index >= from) {
        raft_members_reload(raft);
        raft_trace(raft, AS_TRACE_RAFT_MEMBERS, raft->members_index);
    }
}

void raft_commit_to(struct raft *raft, uint64_t index)
{
    uint64_t before = raft->commit;

    if (index <= before)
        return;
    AS_ASSERT(index <= raft->tail.last_index);
    raft->commit = index;
    if (raft_leads(raft) && before < raft->noop_index && index >= raft->noop_index) {
        raft_reads_ready(raft);
        if (raft->members_index == 0) {
            /* From now on the log says who counts, not the config of any node. */
            uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];
            uint32_t len = raft_members_encode(&raft->members, bytes);

            raft_lead_append(raft, RAFT_ENTRY_MEMBERS, (struct as_bytes){bytes, len});
        }
    }
    if (raft->members_index <= before || raft->members_index > index)
        return;
    if (raft_member_find(&raft->members, raft->config.id) || !raft->listed)
        return; /* one that joins reads lists from before its time first */
    /* Removed, and it is for good (6: "the leader steps down once it has committed"). The next one
     * need not wait for a timeout. */
    raft_trace(raft, AS_TRACE_RAFT_REMOVED, index);
    if (raft_leads(raft)) {
        raft->transfer_to = 0;
        (void)raft_transfer(raft, 0);
        raft_become_follower(raft, raft->term, 0);
    }
}

/* --- Settling --- */

static void settle_writes(struct raft *raft)
{
    struct raft_effect *effect;

    if (raft->vote_unwritten) {
        effect = raft_emit(raft, RAFT_WRITE_VOTE);
        effect->vote.write = raft->vote_write = ++raft->write_last;
        effect->vote.term = raft->term;
        effect->vote.voted_for = raft->voted_for;
        raft->vote_unwritten = false;
    }
    if (raft->truncated) {
        effect = raft_emit(raft, RAFT_WRITE_TRUNCATE);
        effect->truncate.write = ++raft->write_last;
        effect->truncate.first = raft->truncated;
        raft->truncated = 0;
    }
    if (raft->unwritten) {
        uint64_t last = raft->tail.last_index;

        effect = raft_emit(raft, RAFT_WRITE_ENTRIES);
        effect->entries.write = raft->write_last + 1;
        effect->entries.first = raft->unwritten;
        effect->entries.count = (uint32_t)(last - raft->unwritten + 1);
        for (uint64_t i = raft->unwritten; i <= last; i++)
            raft_tail_slot(&raft->tail, i)->write = ++raft->write_last;
        raft->unwritten = 0;
    }
}

static void settle_news(struct raft *raft)
{
    struct raft_effect *effect;

    if (raft->told.role != raft->role || raft->told.term != raft->term ||
        raft->told.leader != raft->leader) {
        effect = raft_emit(raft, RAFT_ROLE_CHANGED);
        effect->role.role = raft->told.role = raft->role;
        effect->role.term = raft->told.term = raft->term;
        effect->role.leader = raft->told.leader = raft->leader;
    }
    if (raft->told.commit < raft->commit) {
        effect = raft_emit(raft, RAFT_COMMITTED);
        effect->committed.first = raft->told.commit + 1;
        effect->committed.last = raft->told.commit = raft->commit;
    }
}

/*
 * The end of every step. A follower learns of commits only as far as earlier steps gave the log
 * their entries: those of this step may still be refused for want of room.
 */
static void settle(struct raft *raft)
{
    if (!raft_leads(raft)) {
        uint64_t known = raft->leader_commit < raft->matched ? raft->leader_commit : raft->matched;

        raft_commit_to(raft, known < raft->taken ? known : raft->taken);
    }
    raft->taken = raft->tail.last_index;
    if (raft_leads(raft))
        raft_reads_serve(raft);
    settle_writes(raft);
    settle_news(raft);
    if (raft_hard_state_durable(raft))
        raft_send_owed(raft);
}

/* --- Handling --- */

static void persisted(struct raft *raft, uint64_t write)
{
    if (write > raft->persisted_write)
        raft->persisted_write = write;
    while (raft->durable < raft->tail.last_index &&
           raft_tail_slot(&raft->tail, raft->durable + 1)->write <= raft->persisted_write)
        raft->durable++;
    if (raft_leads(raft))
        raft_advance_commit(raft);
}

/* The log did not take these entries. Nobody has seen them: they are sent by a later step only, and
 * no commit was told of them. So their places may be taken by others of the same term. */
static as_err write_refused(struct raft *raft, uint64_t write)
{
    uint64_t from = raft->tail.last_index + 1;

    if (write == 0 || write > raft->write_last || write <= raft->persisted_write)
        return AS_ERR_INVALID;
    while (from > raft->tail.base_index + 1 &&
           raft_tail_slot(&raft->tail, from - 1)->write >= write)
        from--;
    if (from > raft->tail.last_index || raft_tail_slot(&raft->tail, from)->write != write ||
        from <= raft->commit)
        return AS_ERR_INVALID;
    raft_truncate(raft, from);
    raft->write_last = write - 1;
    if (raft->matched >= from)
        raft->matched = from - 1;
    if (raft_leads(raft) && from <= raft->noop_index)
        raft_become_follower(raft, raft->term, 0);
    return AS_OK;
}

static as_err start(struct raft *raft)
{
    if (raft->started)
        return AS_ERR_INVALID;
    raft->started = true;
    if (raft->term < raft_tail_term(&raft->tail, raft->tail.last_index)) {
        raft->term = raft_tail_term(&raft->tail, raft->tail.last_index);
        raft->voted_for = 0;
    }
    raft->durable = raft->taken = raft->tail.last_index;
    raft->commit = raft->told.commit = raft->tail.base_index;
    raft->matched = raft->commit;
    raft->told.term = raft->term;
    raft_reset_election(raft);
    /* A group of one needs nobody's vote. */
    if (raft_is_voter(raft) && raft_voter_count(&raft->members) == 1)
        raft_campaign(raft, false);
    return AS_OK;
}

/* Terms first (5.1): an older one is answered so that its sender learns ours, a later one is taken
 * over. A term to come, of a pre-vote, is neither. */
static bool agree_on_term(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    enum raft_message_type type = message->type;

    if (message->term < raft->term) {
        if (!raft_hard_state_durable(raft))
            return false;
        if (type == RAFT_APPEND || type == RAFT_SNAPSHOT)
            raft_send(raft, from, RAFT_REJECT);
        else if (type == RAFT_VOTE || type == RAFT_PRE_VOTE)
            raft_send(raft, from, type == RAFT_VOTE ? RAFT_VOTE_REPLY : RAFT_PRE_VOTE_REPLY);
        return false;
    }
    if (message->term == raft->term || type == RAFT_PRE_VOTE ||
        (type == RAFT_PRE_VOTE_REPLY && message->vote_reply.granted))
        return true;
    /* A removed or cut off node must not unseat a leader that the others hear (thesis 4.2.3). */
    if (type == RAFT_VOTE && raft_is_sticky(raft) && !message->vote.transfer)
        return false;
    raft_become_follower(raft, message->term, 0);
    return true;
}

static void receive(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    if (from == raft->config.id || !agree_on_term(raft, from, message))
        return;
    switch (message->type) {
    case RAFT_PRE_VOTE:
        raft_on_pre_vote(raft, from, message);
        break;
    case RAFT_VOTE:
        raft_on_vote(raft, from, message);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_on_vote_reply(raft, from, message);
        break;
    case RAFT_APPEND:
        raft_on_append(raft, from, message);
        break;
    case RAFT_ACK:
        raft_on_ack(raft, from, message);
        break;
    case RAFT_REJECT:
        raft_on_reject(raft, from, message);
        break;
    case RAFT_SNAPSHOT:
        raft_on_snapshot(raft, from, message);
        break;
    case RAFT_SNAPSHOT_REPLY:
        raft_on_snapshot_reply(raft, from, message);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(raft, from);
        break;
    case RAFT_MESSAGE_COUNT:
        break;
    }
}

static void timer(struct raft *raft)
{
    if (raft_leads(raft)) {
        if (raft->now >= raft->heartbeat_at)
            raft_lead_tick(raft);
    } else if (raft->now >= raft->election_at) {
        raft_reset_election(raft);
        raft_campaign(raft, false);
    }
}

static void peer_up(struct raft *raft, uint64_t id)
{
    struct raft_peer *peer = raft_leads(raft) ? raft_peer_find(raft, id) : NULL;

    if (peer && peer->progress == RAFT_PROBE)
        peer->probing = false;
}

static as_err handle(struct raft *raft, const struct raft_event *event,
                     struct raft_effects *effects)
{
    if (!raft->started && event->kind != RAFT_START)
        return AS_ERR_INVALID;
    switch (event->kind) {
    case RAFT_START:
        return start(raft);
    case RAFT_MESSAGE:
        receive(raft, event->message.from, event->message.message);
        return AS_OK;
    case RAFT_PEER_UP:
        peer_up(raft, event->peer);
        return AS_OK;
    case RAFT_PEER_DOWN:
        raft_on_peer_down(raft, event->peer);
        return AS_OK;
    case RAFT_PROPOSE:
        effects->refusal = raft_propose(raft, event, &effects->index);
        return AS_OK;
    case RAFT_FLUSH:
        if (raft_leads(raft))
            raft_lead_flush(raft);
        return AS_OK;
    case RAFT_PERSISTED:
        if (event->write > raft->write_last)
            return AS_ERR_INVALID;
        persisted(raft, event->write);
        return AS_OK;
    case RAFT_WRITE_REFUSED:
        return write_refused(raft, event->write);
    case RAFT_READ_INDEX:
        raft_read_request(raft, event->request);
        return AS_OK;
    case RAFT_TRANSFER:
        effects->refusal = raft_transfer(raft, event->peer);
        return AS_OK;
    case RAFT_MEMBER:
        effects->refusal = raft_members_change(raft, event, &effects->index);
        return AS_OK;
    case RAFT_SNAPSHOT_TAKEN:
        return raft_snapshot_taken(raft, event->snapshot.index, event->snapshot.term);
    case RAFT_SNAPSHOT_CHUNK:
        return raft_on_chunk_read(raft, event);
    case RAFT_SNAPSHOT_STORED:
        raft_on_stored(raft, event->stored.index, event->stored.chunk);
        return AS_OK;
    case RAFT_SNAPSHOT_INSTALLED:
        return raft_on_installed(raft, event->snapshot.index, event->snapshot.term);
    case RAFT_SNAPSHOT_FAILED:
        raft_on_snapshot_failed(raft, event->snapshot.index);
        return AS_OK;
    case RAFT_TIMER:
        timer(raft);
        return AS_OK;
    }
    return AS_ERR_INVALID;
}

/* --- Reserving --- */

static as_err reserve_effects(struct raft *raft)
{
    size_t wanted = EFFECTS_MAX + raft->read_count + 1;
    struct raft_effect *effects;

    if (wanted <= raft->effect_cap)
        return AS_OK;
    wanted += wanted / 2;
    effects = as_resize(raft->effects, wanted * sizeof(*effects));
    if (!effects)
        return AS_ERR_NOMEM;
    raft->effects = effects;
    raft->effect_cap = wanted;
    return AS_OK;
}

static as_err reserve_reads(struct raft *raft)
{
    uint32_t cap = raft->read_cap ? raft->read_cap * 2 : 64;
    struct raft_read *reads;

    if (raft->read_count < raft->read_cap || raft->read_count >= raft->config.reads_max)
        return AS_OK;
    reads = as_alloc(cap * sizeof(*reads));
    if (!reads)
        return AS_ERR_NOMEM;
    for (uint32_t i = 0; i < raft->read_count; i++)
        reads[i] = raft->reads[(raft->read_head + i) & (raft->read_cap - 1)];
    as_free(raft->reads);
    raft->reads = reads;
    raft->read_cap = cap;
    raft->read_head = 0;
    return AS_OK;
}

static as_err raft_reserve(struct raft *raft, const struct raft_event *event)
{
    uint64_t count = OWN_ENTRIES, bytes = OWN_BYTES;
    as_err err = reserve_effects(raft);

    if (!err && event->kind == RAFT_READ_INDEX)
        err = reserve_reads(raft);
    if (err)
        return err;
    if (event->kind == RAFT_PROPOSE) {
        count++;
        bytes += RAFT_ENTRY_HEADER + event->propose.payload.len;
        if (event->propose.payload.len > raft->config.page_bytes)
            return AS_OK; /* it will be refused */
    } else if (event->kind == RAFT_MESSAGE && event->message.message->type == RAFT_APPEND) {
        count += event->message.message->append.count;
        bytes += event->message.message->append.entries.len;
    }
    return raft_tail_reserve(&raft->tail, count, bytes);
}

as_err raft_step(struct raft *raft, const struct raft_event *event,
                 struct raft_effects *ret_effects)
{
    struct raft_effects effects = {0};
    as_err err;

    *ret_effects = effects;
    raft->effect_count = 0;
    err = raft_reserve(raft, event);
    if (err)
        return err;
    raft->now = event->now;
    err = handle(raft, event, &effects);
    if (err) {
        AS_ASSERT(raft->effect_count == 0);
        return err;
    }
    settle(raft);
    effects.list = raft->effects;
    effects.count = raft->effect_count;
    *ret_effects = effects;
    return AS_OK;
}

as_time raft_deadline(const struct raft *raft)
{
    if (!raft->started)
        return AS_NEVER;
    if (raft_leads(raft))
        return raft->peer_count > 0 ? raft->heartbeat_at : AS_NEVER;
    return raft_may_campaign(raft) ? raft->election_at : AS_NEVER;
}
