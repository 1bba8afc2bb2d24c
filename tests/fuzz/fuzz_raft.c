/*
 * What another coordinator sends: messages of Raft, and lists of members. The first byte says how
 * they are read. A message that is taken encodes back to the same bytes, its entries are as many as
 * it says, and a core that gets it, whatever it is, goes on: it loses no committed entry and never
 * sends in a term that is not durable (it asserts that itself).
 *
 *   0  one message                       1  a list of members
 *   2  a follower's life: u8 from, u16 length, message, again and again
 *   3  the same with a leader
 */
#include "assent/limits.h"
#include "coordinator/raft/raft.h"
#include "tests/fuzz/fuzz.h"

static void one_message(struct as_bytes bytes)
{
    struct raft_message message;
    struct raft_entry entry;
    struct as_reader in;
    struct as_buf buf;
    uint32_t count = 0;

    if (raft_message_take(bytes, &message))
        return;
    as_buf_init(&buf, RAFT_MESSAGE_BYTES_MAX);
    raft_message_put(&buf, &message);
    AS_ASSERT(!buf.err && fuzz_same(as_buf_bytes(&buf), bytes));
    as_buf_close(&buf);
    if (message.type != RAFT_APPEND)
        return;
    in = as_reader_of(message.append.entries);
    while (raft_entry_take(&in, &entry))
        count++;
    AS_ASSERT(count == message.append.count && as_reader_done(&in));
}

static void one_list(struct as_bytes bytes)
{
    struct raft_members members;
    struct as_buf buf;

    if (raft_members_take(bytes, &members))
        return;
    as_buf_init(&buf, 4096);
    raft_members_put(&buf, &members);
    AS_ASSERT(!buf.err && fuzz_same(as_buf_bytes(&buf), bytes));
    as_buf_close(&buf);
}

/* --- A core that hears all this --- */

struct life {
    struct raft *raft;
    uint64_t writes, committed;
    as_time now;
};

static void step(struct life *life, struct raft_event event)
{
    struct raft_effects effects;
    struct raft_entry entry;

    event.now = life->now += AS_MS;
    AS_ASSERT(raft_step(life->raft, &event, &effects) == AS_OK);
    for (size_t i = 0; i < effects.count; i++) {
        const struct raft_effect *effect = &effects.list[i];

        if (effect->kind == RAFT_WRITE_VOTE) {
            life->writes = effect->vote.write;
        } else if (effect->kind == RAFT_WRITE_TRUNCATE) {
            AS_ASSERT(effect->truncate.first > life->committed);
            life->writes = effect->truncate.write;
        } else if (effect->kind == RAFT_WRITE_ENTRIES) {
            life->writes = effect->entries.write + effect->entries.count - 1;
        } else if (effect->kind == RAFT_COMMITTED) {
            AS_ASSERT(effect->committed.first == life->committed + 1);
            life->committed = effect->committed.last;
            AS_ASSERT(raft_entry(life->raft, life->committed, &entry) == AS_OK);
        }
    }
}

static void say(struct life *life, enum raft_message_type type, uint64_t term)
{
    struct raft_message message = {.type = type, .term = term, .vote_reply = {.granted = true}};
    struct raft_event event = {.kind = RAFT_MESSAGE, .message = {2, &message}};

    step(life, event);
}

static void persist(struct life *life)
{
    step(life, (struct raft_event){.kind = RAFT_PERSISTED, .write = life->writes});
}

static void lead(struct life *life)
{
    life->now = raft_deadline(life->raft);
    step(life, (struct raft_event){.kind = RAFT_TIMER});
    say(life, RAFT_PRE_VOTE_REPLY, 1);
    persist(life);
    say(life, RAFT_VOTE_REPLY, 1);
    step(life, (struct raft_event){.kind = RAFT_FLUSH});
}

/* Peers do not lie about the log: what contradicts a committed entry, or holds another content for
 * an (index, term), ends the process, and is left out here. */
static bool is_honest(const struct life *life, const struct raft_message *message)
{
    struct as_reader in;
    struct raft_entry theirs, ours;
    uint64_t index;

    if (message->type != RAFT_APPEND)
        return true;
    in = as_reader_of(message->append.entries);
    for (index = message->append.prev_index + 1; raft_entry_take(&in, &theirs); index++) {
        if (raft_entry(life->raft, index, &ours))
            continue;
        if (ours.term != theirs.term ? index <= life->committed
                                     : ours.type != theirs.type || ours.time_ms != theirs.time_ms ||
                                           !fuzz_same(ours.payload, theirs.payload))
            return false;
    }
    return true;
}

static void hear(struct life *life, uint8_t from, struct as_bytes bytes)
{
    struct raft_message message;
    struct raft_event event = {.kind = RAFT_MESSAGE, .message = {from % 5 + 1, &message}};

    if (raft_message_take(bytes, &message) || !is_honest(life, &message))
        return;
    step(life, event);
    if (from & 0x80)
        persist(life);
    if (from & 0x40)
        step(life, (struct raft_event){.kind = RAFT_FLUSH});
    if (from & 0x20 && raft_deadline(life->raft) != AS_NEVER) {
        life->now = raft_deadline(life->raft);
        step(life, (struct raft_event){.kind = RAFT_TIMER});
    }
}

static void a_life(struct as_reader in, bool leads)
{
    struct raft_config config = {.id = 1, .seed = 1, .page_bytes = 4096, .members = {.count = 3}};
    struct life life = {0};

    for (uint32_t i = 0; i < 3; i++)
        config.members.list[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
    AS_ASSERT(raft_new(&life.raft, &config) == AS_OK);
    step(&life, (struct raft_event){.kind = RAFT_START});
    if (leads)
        lead(&life);
    while (in.left > 0 && !in.bad) {
        uint8_t from = as_read_u8(&in);

        hear(&life, from, as_read_text16(&in));
    }
    raft_free(life.raft);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct as_bytes rest;

    if (size < 1)
        return 0;
    rest = (struct as_bytes){data + 1, size - 1};
    if (data[0] == 0)
        one_message(rest);
    else if (data[0] == 1)
        one_list(rest);
    else
        a_life(as_reader_of(rest), data[0] & 1);
    return 0;
}
