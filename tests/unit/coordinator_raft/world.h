/*
 * A small world for the consensus core: nodes with disks that may lose what was not synced, a
 * network that loses, doubles and reorders, and an oracle that sees every effect and knows nothing
 * of the core's insides:
 *
 *   election safety        one leader in a term (told by ROLE_CHANGED)
 *   leader append-only     a leader truncates nothing
 *   log matching           equal (index, term) means an equal log up to there: one chained hash for
 *                          each (index, term) ever written
 *   leader completeness    a new leader's log holds all that was ever committed
 *   state machine safety   one entry committed at each index
 *   durability             what is acknowledged, voted or committed stands on the disks that say so
 *   reads                  an index never lies below what was committed when the read was asked
 */
#ifndef ASSENT_TEST_RAFT_WORLD_H
#define ASSENT_TEST_RAFT_WORLD_H

#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/map.h"
#include "assent/rng.h"
#include "coordinator/raft/raft.h"

#define NODES 7
#define INDEX_MAX 6000
#define TERM_MAX 4000
#define PENDING_MAX 4096
#define MESSAGES_MAX 400
#define READS_MAX 4096
#define CHUNKS 4
#define EVENT(what)     \
    (struct raft_event) \
    {                   \
        .kind = what    \
    }

struct kept { /* an entry as it was written; lives as long as the world */
    struct kept *older, *version;
    struct raft_entry entry;
    uint64_t chain; /* hash of it and all before */
    uint8_t payload[];
};

struct image { /* a snapshot */
    uint64_t index, term, chain;
    int64_t time_ms;
    struct raft_members members;
};

enum write_kind { WRITE_VOTE, WRITE_TRUNCATE, WRITE_ENTRY };

struct write {
    enum write_kind kind;
    uint64_t number, term, voted_for, first;
    struct kept *kept;
};

struct disk {
    uint64_t vote_term, voted_for;
    struct image image;
    struct kept *log[INDEX_MAX];
    uint64_t last;
};

struct node {
    uint64_t id; /* 0: no such node */
    struct raft *raft;
    bool bootstrapped, wiped;
    struct disk disk;
    struct write pending[PENDING_MAX];
    uint32_t pending_count;
    uint64_t numbers;            /* of writes given in this life */
    struct kept *log[INDEX_MAX]; /* as given to the log */
    uint64_t last;
    uint64_t applied, applied_chain;
    struct raft_effect reading[NODES]; /* SNAPSHOT_READ not answered yet */
    uint32_t reading_count;
    bool storing;
    struct raft_effect store; /* SNAPSHOT_WRITE not answered yet */
    struct image received;
    uint32_t received_chunks;
    bool flush;
};

struct packet {
    uint64_t from, to;
    as_time at; /* not before */
    size_t len;
    uint8_t *bytes;
};

struct rates { /* swarm: drawn by the seed; in percent unless said otherwise */
    unsigned lose, late, twice, crash, cut, refuse, disturb, snapshot, member, read, propose;
    as_time pace; /* time of a step */
    unsigned deliver, sync;
    bool small;
    unsigned storm;
    bool tiny;       /* one entry in a message */
    unsigned starve; /* of APPENDs, lost: elections go on, replication does not */
};

static struct world {
    uint64_t seed;
    struct as_rng rng;
    struct rates rates;
    int founders;
    as_time now;
    struct node nodes[NODES];
    uint64_t next_id, next_payload;
    struct packet packets[MESSAGES_MAX];
    uint32_t packet_count;
    bool cut[NODES][NODES];
    bool healing;
    struct kept *all;                 /* ever written */
    struct kept *versions[INDEX_MAX]; /* all that were ever written at an index */
    struct kept *committed[INDEX_MAX];
    uint64_t committed_in[INDEX_MAX]; /* the term of the leader that committed it */
    uint64_t commit_max;
    uint64_t leader_of[TERM_MAX];
    uint64_t vote_of[NODES * 4][TERM_MAX]; /* by id */
    uint64_t reads[READS_MAX];             /* what was committed when it was asked */
    uint64_t read_count, reads_answered, reads_refused;
    uint64_t elections, installs, truncations, changes, emptied;
} world;

static uint64_t below(uint64_t bound)
{
    return as_rng_below(&world.rng, bound);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

static struct node *node_of(uint64_t id)
{
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].id == id && id != 0)
            return &world.nodes[i];
    }
    return NULL;
}

/* assert_* with the seed, so that a failure can be replayed. */
#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition))                                                                 \
            fail_msg("ASSENT_SEED=%llu: %s", (unsigned long long)world.seed, #condition); \
    } while (0)

static void step(struct node *node, struct raft_event event);

/* --- The oracle --- */

static uint64_t chain_before(const struct node *node, uint64_t index)
{
    if (index - 1 == node->disk.image.index)
        return node->disk.image.chain;
    CHECK(index >= 2 && node->log[index - 1]);
    return node->log[index - 1]->chain;
}

/* Log matching: the same (index, term) was always written behind the same log. */
static struct kept *keep(const struct node *node, const struct raft_entry *entry)
{
    uint64_t chain = as_hash(entry->payload.data ? entry->payload.data : (const uint8_t *)"",
                             entry->payload.len, chain_before(node, entry->index));
    struct kept *kept;

    chain = as_hash(&entry->term, sizeof(entry->term), chain + entry->type);
    chain = as_hash(&entry->time_ms, sizeof(entry->time_ms), chain);
    for (kept = world.versions[entry->index]; kept; kept = kept->version) {
        if (kept->entry.term == entry->term) {
            CHECK(kept->chain == chain); /* log matching */
            return kept;
        }
    }
    kept = malloc(sizeof(*kept) + entry->payload.len);
    assert_non_null(kept);
    *kept = (struct kept){.older = world.all,
                          .version = world.versions[entry->index],
                          .entry = *entry,
                          .chain = chain};
    if (entry->payload.len)
        memcpy(kept->payload, entry->payload.data, entry->payload.len);
    kept->entry.payload.data = kept->payload;
    world.all = world.versions[entry->index] = kept;
    return kept;
}

static bool holds(const struct disk *disk, const struct kept *kept)
{
    uint64_t index = kept->entry.index;

    return index <= disk->image.index || (index <= disk->last && disk->log[index] == kept);
}

static void check_role(const struct node *node, const struct raft_effect *effect)
{
    if (effect->role.role != RAFT_LEADER)
        return;
    world.elections++;
    CHECK(effect->role.term < TERM_MAX);
    CHECK(!world.leader_of[effect->role.term] ||
          world.leader_of[effect->role.term] == node->id); /* election safety */
    world.leader_of[effect->role.term] = node->id;
    for (uint64_t i = node->disk.image.index + 1; i <= world.commit_max; i++)
        CHECK(world.committed_in[i] >= effect->role.term ||
              (i <= node->last && node->log[i] == world.committed[i])); /* leader completeness */
}

/* A majority of those who count for this node has it on disk. */
static void check_durable(const struct node *node, const struct kept *kept)
{
    const struct raft_members *members = raft_members(node->raft);
    uint32_t voters = 0, have = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct node *other = node_of(members->list[i].id);

        if (members->list[i].role != RAFT_VOTER)
            continue;
        voters++;
        /* One that was wiped had it once; it does not vote any more, which is as good. */
        have += other && (holds(&other->disk, kept) || other->wiped);
    }
    CHECK(have > voters / 2);
}

static void check_committed(struct node *node, uint64_t first, uint64_t last)
{
    struct raft_status status;

    raft_look(node->raft, &status);
    CHECK(first == node->applied + 1);
    for (uint64_t i = first; i <= last; i++) {
        struct raft_entry entry;
        struct kept *kept = node->log[i];

        CHECK(i <= node->last && kept);
        CHECK(raft_entry(node->raft, i, &entry) == AS_OK && entry.term == kept->entry.term);
        if (!world.committed[i]) {
            CHECK(i == world.commit_max + 1);
            check_durable(node, kept);
            world.committed[i] = kept;
            world.committed_in[i] = status.term;
            world.commit_max = i;
        }
        CHECK(world.committed[i] == kept); /* state machine safety */
        node->applied = i;
        node->applied_chain = kept->chain;
    }
}

/* Nothing unsynced leaks to another node. */
static void check_sent(const struct node *node, const struct raft_message *message)
{
    const struct disk *disk = &node->disk;
    bool to_come = message->type == RAFT_PRE_VOTE ||
                   (message->type == RAFT_PRE_VOTE_REPLY && message->vote_reply.granted);
    uint64_t term = disk->vote_term;

    if (disk->last > disk->image.index && disk->log[disk->last]->entry.term > term)
        term = disk->log[disk->last]->entry.term;
    if (disk->image.term > term)
        term = disk->image.term;
    CHECK(message->term - (message->type == RAFT_PRE_VOTE) <= term || to_come);
    if (message->type == RAFT_ACK)
        CHECK(message->ack.match <= disk->last);
}

static void check_vote(const struct node *node, uint64_t term, uint64_t candidate)
{
    CHECK(node->id < NODES * 4 && term < TERM_MAX);
    CHECK(!node->wiped || candidate == 0);
    CHECK(node->disk.vote_term == term && node->disk.voted_for == candidate);
    CHECK(!world.vote_of[node->id][term] || world.vote_of[node->id][term] == candidate);
    world.vote_of[node->id][term] = candidate;
}

static void check_read(const struct raft_effect *effect)
{
    CHECK(effect->read.index >= world.reads[effect->read.request]);
    world.reads_answered++;
}

/* --- Network --- */

static void post(struct node *node, uint64_t to, const struct raft_message *message)
{
    struct as_buf buf;

    check_sent(node, message);
    if (message->type == RAFT_VOTE)
        check_vote(node, message->term, node->id);
    if (message->type == RAFT_VOTE_REPLY && message->vote_reply.granted)
        check_vote(node, message->term, to);
    if (world.packet_count == MESSAGES_MAX || !node_of(to) ||
        (!world.healing && chance(world.rates.lose)))
        return;
    if (message->type == RAFT_APPEND && !world.healing && chance(world.rates.starve))
        return;
    as_buf_init(&buf, RAFT_MESSAGE_BYTES_MAX);
    raft_message_put(&buf, message);
    assert_int_equal(buf.err, AS_OK);
    if (message->type == RAFT_SNAPSHOT && !world.healing && chance(5))
        buf.data[buf.len - 1] ^= 1; /* within the chunk */
    world.packets[world.packet_count++] =
        (struct packet){.from = node->id, .to = to, .len = buf.len, .bytes = buf.data};
    if (!world.healing && chance(world.rates.late))
        world.packets[world.packet_count - 1].at = world.now + (as_time)below(4) * AS_SECOND;
}

static void deliver(uint32_t at)
{
    struct packet packet = world.packets[at];
    struct node *from = node_of(packet.from), *to = node_of(packet.to);
    struct raft_message message;
    bool twice = !world.healing && chance(world.rates.twice);

    if (packet.at > world.now && !world.healing)
        return;
    if (!twice)
        memmove(&world.packets[at], &world.packets[at + 1],
                (--world.packet_count - at) * sizeof(packet));
    if (to && to->raft && (!from || !world.cut[from - world.nodes][to - world.nodes])) {
        struct raft_event event = {.kind = RAFT_MESSAGE};

        assert_int_equal(raft_message_take((struct as_bytes){packet.bytes, packet.len}, &message),
                         AS_OK);
        event.message.from = packet.from;
        event.message.message = &message;
        step(to, event);
    }
    if (!twice)
        as_buf_close(&(struct as_buf){.data = packet.bytes, .cap = packet.len});
}

/* --- Disk --- */

static void apply_write(struct disk *disk, const struct write *write)
{
    switch (write->kind) {
    case WRITE_VOTE:
        CHECK(write->term > disk->vote_term ||
              (write->term == disk->vote_term &&
               (!disk->voted_for || disk->voted_for == write->voted_for)));
        disk->vote_term = write->term;
        disk->voted_for = write->voted_for;
        break;
    case WRITE_TRUNCATE:
        CHECK(write->first <= disk->last && write->first > disk->image.index);
        disk->last = write->first - 1;
        break;
    case WRITE_ENTRY:
        if (write->kept->entry.index <= disk->image.index)
            break; /* of before the snapshot was installed */
        CHECK(write->kept->entry.index == disk->last + 1);
        disk->log[++disk->last] = write->kept;
        break;
    }
}

/* The first `count` of what waits become durable. */
static void sync_some(struct node *node, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        apply_write(&node->disk, &node->pending[i]);
    node->pending_count -= count;
    memmove(node->pending, node->pending + count, node->pending_count * sizeof(node->pending[0]));
}

static void sync_and_tell(struct node *node, uint32_t count)
{
    struct raft_event event = {.kind = RAFT_PERSISTED};

    if (count == 0)
        return;
    event.write = node->pending[count - 1].number;
    sync_some(node, count);
    step(node, event);
}

static struct write *pend(struct node *node, enum write_kind kind, uint64_t number)
{
    struct write *write = &node->pending[node->pending_count++];

    CHECK(node->pending_count <= PENDING_MAX);
    CHECK(number == node->numbers + 1); /* in step with the log's own */
    node->numbers = number;
    *write = (struct write){.kind = kind, .number = number};
    return write;
}

/* Returns the number of the write that was refused; 0: none. */
static uint64_t write_entries(struct node *node, const struct raft_effect *effect)
{
    for (uint32_t i = 0; i < effect->entries.count; i++) {
        struct raft_entry entry;

        if (!world.healing && below(1000) < world.rates.refuse)
            return effect->entries.write + i;
        CHECK(raft_entry(node->raft, effect->entries.first + i, &entry) == AS_OK);
        CHECK(entry.index == node->last + 1 && entry.index < INDEX_MAX);
        node->log[++node->last] = keep(node, &entry);
        pend(node, WRITE_ENTRY, effect->entries.write + i)->kept = node->log[node->last];
    }
    return 0;
}

/* --- Snapshots --- */

/* Who the cluster began with. */
static struct raft_members founders(void)
{
    struct raft_members members = {.count = (uint32_t)world.founders};

    for (uint32_t i = 0; i < members.count; i++)
        members.list[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
    return members;
}

/* By the oracle's own reading of the log. */
static struct raft_members members_at(uint64_t index)
{
    struct raft_members members = founders();

    while (index > 0 && world.committed[index]->entry.type != RAFT_ENTRY_MEMBERS)
        index--;
    if (index > 0)
        assert_int_equal(raft_members_take(world.committed[index]->entry.payload, &members), AS_OK);
    return members;
}

static bool same_members(const struct raft_members *a, const struct raft_members *b)
{
    bool same = a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->list[i].id == b->list[i].id && a->list[i].role == b->list[i].role;
    return same;
}

static void put_number(uint8_t *to, uint64_t number)
{
    memcpy(to, &number, sizeof(number));
}

static void answer_read(struct node *node)
{
    struct raft_effect read = node->reading[--node->reading_count];
    struct raft_event event = {.kind = RAFT_SNAPSHOT_CHUNK};
    uint8_t bytes[16];

    put_number(bytes, node->disk.image.chain);
    put_number(bytes + 8, read.snapshot_read.chunk);
    event.chunk.peer = read.snapshot_read.peer;
    event.chunk.index = node->disk.image.index;
    event.chunk.chunk = read.snapshot_read.chunk;
    event.chunk.last = read.snapshot_read.chunk == CHUNKS - 1;
    event.chunk.bytes = (struct as_bytes){bytes, sizeof(bytes)};
    if (read.snapshot_read.index != node->disk.image.index || read.snapshot_read.chunk >= CHUNKS ||
        (!world.healing && chance(5)))
        event.chunk.err = AS_ERR_NOTFOUND;
    step(node, event);
}

static void begin_store(struct node *node, const struct raft_effect *effect)
{
    uint64_t chain, chunk;

    CHECK(effect->snapshot_write.bytes.len == 16);
    memcpy(&chain, effect->snapshot_write.bytes.data, 8);
    memcpy(&chunk, effect->snapshot_write.bytes.data + 8, 8);
    if (effect->snapshot_write.chunk == 0)
        node->received_chunks = 0;
    CHECK(chunk == effect->snapshot_write.chunk && chunk == node->received_chunks);
    node->received_chunks++;
    node->received = (struct image){
        .index = effect->snapshot_write.index, .term = effect->snapshot_write.term, .chain = chain};
    node->store = *effect;
    node->storing = true;
}

static void install(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_INSTALLED};
    struct image *image = &node->disk.image;

    CHECK(node->received_chunks == CHUNKS);
    CHECK(node->received.index > image->index && node->received.index <= world.commit_max);
    CHECK(world.committed[node->received.index]->chain == node->received.chain);
    sync_and_tell(node, node->pending_count);
    if (!node->raft)
        return;
    *image = node->received;
    image->time_ms = world.committed[image->index]->entry.time_ms;
    image->members = members_at(image->index);
    node->disk.last = node->last = image->index;
    node->applied = image->index;
    node->applied_chain = image->chain;
    world.installs++;
    event.snapshot.index = image->index;
    event.snapshot.term = image->term;
    step(node, event);
    if (node->raft)
        CHECK(same_members(raft_members(node->raft), &image->members));
}

static void finish_store(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED};

    node->storing = false;
    if (!world.healing && chance(5)) {
        event.kind = RAFT_SNAPSHOT_FAILED;
        event.snapshot.index = node->store.snapshot_write.index;
    } else if (node->store.snapshot_write.last) {
        install(node);
        return;
    } else {
        event.stored.index = node->store.snapshot_write.index;
        event.stored.chunk = node->store.snapshot_write.chunk;
    }
    step(node, event);
}

static void take_snapshot(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_TAKEN};
    struct image image = {.index = node->applied, .chain = node->applied_chain};
    struct disk *disk = &node->disk;
    struct raft_members members;
    struct raft_effects effects;
    struct raft_status status;

    raft_look(node->raft, &status);
    if (node->applied <= disk->image.index || node->storing)
        return;
    event.snapshot.index = image.index;
    event.snapshot.term = node->log[image.index]->entry.term;
    if (node->applied > status.durable_index) {
        /* Never past what is durable here. */
        CHECK(raft_step(node->raft, &event, &effects) == AS_ERR_INVALID);
        return;
    }
    CHECK(disk->last >= node->applied && disk->log[node->applied] == node->log[node->applied]);
    image.term = node->log[image.index]->entry.term;
    image.time_ms = node->log[image.index]->entry.time_ms;
    image.members = members_at(image.index);
    CHECK(raft_members_at(node->raft, image.index, &members) == AS_OK);
    CHECK(members.count == 0 || same_members(&members, &image.members));
    disk->image = image;
    step(node, event);
}

/* --- Life and death --- */

static void crash(struct node *node)
{
    if (!node->raft)
        return;
    raft_free(node->raft);
    node->raft = NULL;
    sync_some(node, (uint32_t)below(node->pending_count + 1)); /* any part of what was not synced */
    node->pending_count = 0;
    node->reading_count = 0;
    node->storing = false;
}

static struct raft_config config_of(const struct node *node)
{
    struct raft_config config = {.id = node->id, .seed = below(UINT64_MAX), .page_bytes = 4096};

    config.message_bytes = world.rates.tiny ? 1 : world.rates.small ? 300 : 3000;
    config.window_entries = world.rates.small ? 4 : 1000;
    config.window_bytes = world.rates.small ? 1000 : 100000;
    config.tail_keep_bytes = world.rates.small ? 200 : 3000;
    config.tail_bytes_max = world.rates.small ? 6000 : 60000;
    config.caught_up_entries = 3;
    config.snapshot_retry_ms = 50;
    if (node->bootstrapped)
        config.members = founders();
    return config;
}

static void start(struct node *node)
{
    struct raft_config config = config_of(node);
    const struct disk *disk = &node->disk;

    CHECK(!node->raft);
    assert_int_equal(raft_new(&node->raft, &config), AS_OK);
    if (disk->image.index)
        assert_int_equal(raft_load_snapshot(node->raft, disk->image.index, disk->image.term,
                                            disk->image.time_ms, &disk->image.members),
                         AS_OK);
    if (disk->vote_term)
        assert_int_equal(raft_load_vote(node->raft, disk->vote_term, disk->voted_for), AS_OK);
    node->last = disk->last;
    for (uint64_t i = disk->image.index + 1; i <= disk->last; i++) {
        node->log[i] = disk->log[i];
        assert_int_equal(raft_load_entry(node->raft, &disk->log[i]->entry), AS_OK);
    }
    node->applied = disk->image.index;
    node->applied_chain = disk->image.chain;
    node->numbers = 0;
    step(node, EVENT(RAFT_START));
}

static struct node *new_node(bool bootstrapped)
{
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].id)
            continue;
        memset(&world.nodes[i], 0, sizeof(world.nodes[i]));
        world.nodes[i].id = ++world.next_id;
        world.nodes[i].bootstrapped = bootstrapped;
        start(&world.nodes[i]);
        return &world.nodes[i];
    }
    return NULL;
}

/* --- Steps --- */

/* Returns the number of a refused write; 0: none. */
static uint64_t carry_out(struct node *node, const struct raft_effect *effect)
{
    struct raft_status status;

    switch (effect->kind) {
    case RAFT_SEND:
        post(node, effect->send.to, &effect->send.message);
        break;
    case RAFT_WRITE_VOTE: {
        struct write *write = pend(node, WRITE_VOTE, effect->vote.write);

        write->term = effect->vote.term;
        write->voted_for = effect->vote.voted_for;
        break;
    }
    case RAFT_WRITE_TRUNCATE:
        raft_look(node->raft, &status);
        CHECK(status.role != RAFT_LEADER); /* leader append-only */
        CHECK(effect->truncate.first > world.commit_max ||
              !world.committed[effect->truncate.first] ||
              node->log[effect->truncate.first] != world.committed[effect->truncate.first]);
        world.truncations++;
        node->last = effect->truncate.first - 1;
        pend(node, WRITE_TRUNCATE, effect->truncate.write)->first = effect->truncate.first;
        break;
    case RAFT_WRITE_ENTRIES:
        return write_entries(node, effect);
    case RAFT_READ_REFUSED:
        world.reads_refused++;
        break;
    case RAFT_READ_READY:
        check_read(effect);
        break;
    case RAFT_SNAPSHOT_READ:
        CHECK(node->reading_count < NODES);
        node->reading[node->reading_count++] = *effect;
        break;
    case RAFT_SNAPSHOT_WRITE:
        CHECK(!node->storing);
        begin_store(node, effect);
        break;
    case RAFT_SNAPSHOT_DROP:
        node->storing = false;
        break;
    case RAFT_TRACE:
        world.emptied += effect->trace.kind == AS_TRACE_RAFT_EMPTIED;
        break;
    case RAFT_COMMITTED:
    case RAFT_ROLE_CHANGED:
        break; /* below: the oracle sees them after the writes of the step */
    }
    return 0;
}

static bool is_write(const struct raft_effect *effect)
{
    return effect->kind == RAFT_WRITE_VOTE || effect->kind == RAFT_WRITE_TRUNCATE ||
           effect->kind == RAFT_WRITE_ENTRIES;
}

/* Now and then the node dies with only a part of a step's effects carried out: of the writes a
 * prefix, of the others any. */
static void step(struct node *node, struct raft_event event)
{
    struct raft_effects effects;
    uint64_t refused = 0;
    bool dies = !world.healing && event.kind != RAFT_START && below(1000) < world.rates.crash;
    bool writes = true;
    as_err err;

    event.now = world.now;
    err = raft_step(node->raft, &event, &effects);
    if (err)
        fail_msg("ASSENT_SEED=%llu: event %d: %s", (unsigned long long)world.seed, event.kind,
                 as_err_text(err));
    node->flush = node->flush || event.kind != RAFT_FLUSH;
    for (size_t i = 0; i < effects.count && !refused; i++) {
        if (dies && chance(50)) {
            writes = writes && !is_write(&effects.list[i]);
            continue;
        }
        if (writes || !is_write(&effects.list[i]))
            refused = carry_out(node, &effects.list[i]);
    }
    for (size_t i = 0; i < effects.count && !dies; i++) {
        if (effects.list[i].kind == RAFT_ROLE_CHANGED)
            check_role(node, &effects.list[i]);
        if (effects.list[i].kind == RAFT_COMMITTED)
            check_committed(node, effects.list[i].committed.first, effects.list[i].committed.last);
    }
    if (dies)
        crash(node);
    else if (refused)
        step(node, (struct raft_event){.kind = RAFT_WRITE_REFUSED, .write = refused});
}

#endif
