/*
 * The bytes of messages, entries and lists of members. Integers are little-endian. Fault model: any
 * bytes may come; what is taken encodes back to the same bytes, anything else is MALFORMED.
 */
#include <string.h>

#include "assent/map.h"
#include "coordinator/raft/raft.h"
#include "coordinator/raft/tail.h"

const char *raft_message_text(enum raft_message_type type)
{
    static const char *const texts[] = {
#define MESSAGE_TEXT(name, text) #name,
        RAFT_MESSAGE_MAP(MESSAGE_TEXT)
#undef MESSAGE_TEXT
    };

    return (size_t)type < AS_COUNT_OF(texts) ? texts[type] : "?";
}

const char *raft_refusal_text(enum raft_refusal refusal)
{
    static const char *const texts[] = {
#define REFUSAL_TEXT(name, text) text,
        RAFT_REFUSAL_MAP(REFUSAL_TEXT)
#undef REFUSAL_TEXT
    };

    return (size_t)refusal < AS_COUNT_OF(texts) ? texts[refusal] : "?";
}

uint64_t raft_chunk_checksum(uint64_t index, uint32_t chunk, bool last, struct as_bytes bytes)
{
    uint64_t seed = index * 0x9e3779b97f4a7c15u + ((uint64_t)chunk << 1 | last);

    return as_hash(bytes.len ? bytes.data : (const uint8_t *)"", bytes.len, seed);
}

static bool take_bool(struct as_reader *in)
{
    uint8_t value = as_read_u8(in);

    if (value > 1)
        in->bad = true;
    return value == 1;
}

/* A term, an index, a round: no cluster counts further, and nothing here needs to fear an overflow.
 */
static uint64_t take_number(struct as_reader *in)
{
    uint64_t value = as_read_u64(in);

    if (value > INT64_MAX / 2)
        in->bad = true;
    return value;
}

/* --- Entries --- */

void raft_entry_put(struct as_buf *buf, const struct raft_entry *entry)
{
    as_put_u64(buf, entry->term);
    as_put_i64(buf, entry->time_ms);
    as_put_u8(buf, entry->type);
    as_put_bytes32(buf, entry->payload);
}

bool raft_entry_take(struct as_reader *in, struct raft_entry *ret_entry)
{
    if (in->left == 0 || in->bad)
        return false;
    ret_entry->index = 0;
    ret_entry->term = as_read_u64(in);
    ret_entry->time_ms = as_read_i64(in);
    ret_entry->type = as_read_u8(in);
    ret_entry->payload = as_read_bytes32(in);
    return !in->bad;
}

/* Terms grow along the log and end at the leader's own; what Raft itself reads can be read. */
static bool entries_are_sound(const struct raft_message *message)
{
    struct as_reader in = as_reader_of(message->append.entries);
    uint64_t term = message->append.prev_term;
    struct raft_members members;
    struct raft_entry entry;
    uint64_t count = 0;

    while (raft_entry_take(&in, &entry)) {
        if (entry.term < term || entry.term == 0 || entry.term > message->term)
            return false;
        if (entry.type == RAFT_ENTRY_MEMBERS && raft_members_take(entry.payload, &members))
            return false;
        term = entry.term;
        count++;
    }
    return !in.bad && count == message->append.count;
}

/* --- Members --- */

const struct raft_member *raft_member_find(const struct raft_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].id == id)
            return &members->list[i];
    }
    return NULL;
}

void raft_members_put(struct as_buf *buf, const struct raft_members *members)
{
    as_put_u8(buf, (uint8_t)members->count);
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->list[i];

        as_put_u64(buf, member->id);
        as_put_u8(buf, member->role == RAFT_VOTER);
        as_put_text8(buf, member->address, strlen(member->address));
    }
}

static void take_members(struct as_reader *in, struct raft_members *members)
{
    uint32_t voters = 0;
    uint64_t id = 0;

    members->count = as_read_u8(in);
    if (members->count > RAFT_MEMBERS_MAX)
        in->bad = true;
    for (uint32_t i = 0; i < members->count && !in->bad; i++) {
        struct raft_member *member = &members->list[i];

        member->id = as_read_u64(in);
        member->role = take_bool(in) ? RAFT_VOTER : RAFT_LEARNER;
        as_read_string8(in, member->address, sizeof(member->address));
        if (member->id <= id)
            in->bad = true;
        id = member->id;
        voters += member->role == RAFT_VOTER;
    }
    if (voters == 0)
        in->bad = true;
}

as_err raft_members_take(struct as_bytes bytes, struct raft_members *ret)
{
    struct as_reader in = as_reader_of(bytes);
    struct raft_members members;

    memset(&members, 0, sizeof(members));
    take_members(&in, &members);
    if (!as_reader_done(&in))
        return AS_ERR_MALFORMED;
    *ret = members;
    return AS_OK;
}

/* --- Messages --- */

static void put_body(struct as_buf *buf, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        as_put_u64(buf, message->vote.last_index);
        as_put_u64(buf, message->vote.last_term);
        as_put_u8(buf, message->vote.transfer);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        as_put_u8(buf, message->vote_reply.granted);
        break;
    case RAFT_APPEND:
        as_put_u64(buf, message->append.prev_index);
        as_put_u64(buf, message->append.prev_term);
        as_put_u64(buf, message->append.commit);
        as_put_u64(buf, message->append.round);
        as_put_u8(buf, message->append.voter);
        as_put_u32(buf, message->append.count);
        as_put_bytes32(buf, message->append.entries);
        break;
    case RAFT_ACK:
        as_put_u64(buf, message->ack.match);
        as_put_u64(buf, message->ack.round);
        break;
    case RAFT_REJECT:
        as_put_u64(buf, message->reject.prev_index);
        as_put_u64(buf, message->reject.hint_index);
        as_put_u64(buf, message->reject.hint_term);
        as_put_u64(buf, message->reject.round);
        break;
    case RAFT_SNAPSHOT:
        as_put_u64(buf, message->snapshot.index);
        as_put_u64(buf, message->snapshot.snapshot_term);
        as_put_i64(buf, message->snapshot.time_ms);
        as_put_u32(buf, message->snapshot.chunk);
        as_put_u8(buf, message->snapshot.last);
        as_put_u8(buf, message->snapshot.voter);
        as_put_u64(buf, message->snapshot.checksum);
        as_put_bytes32(buf, message->snapshot.members);
        as_put_bytes32(buf, message->snapshot.bytes);
        break;
    case RAFT_SNAPSHOT_REPLY:
        as_put_u64(buf, message->snapshot_reply.index);
        as_put_u32(buf, message->snapshot_reply.chunk);
        break;
    case RAFT_TIMEOUT_NOW:
    case RAFT_MESSAGE_COUNT:
        break;
    }
}

void raft_message_put(struct as_buf *buf, const struct raft_message *message)
{
    as_put_u8(buf, (uint8_t)message->type);
    as_put_u64(buf, message->term);
    put_body(buf, message);
}

static void take_append(struct as_reader *in, struct raft_message *message)
{
    message->append.prev_index = take_number(in);
    message->append.prev_term = take_number(in);
    message->append.commit = take_number(in);
    message->append.round = take_number(in);
    message->append.voter = take_bool(in);
    message->append.count = as_read_u32(in);
    message->append.entries = as_read_bytes32(in);
    /* Index 0 is before the first entry and has no term. */
    if ((message->append.prev_index == 0) != (message->append.prev_term == 0))
        in->bad = true;
    if (!in->bad && !entries_are_sound(message))
        in->bad = true;
}

static void take_snapshot(struct as_reader *in, struct raft_message *message)
{
    struct raft_members members;

    message->snapshot.index = take_number(in);
    message->snapshot.snapshot_term = take_number(in);
    message->snapshot.time_ms = as_read_i64(in);
    message->snapshot.chunk = as_read_u32(in);
    message->snapshot.last = take_bool(in);
    message->snapshot.voter = take_bool(in);
    message->snapshot.checksum = as_read_u64(in);
    message->snapshot.members = as_read_bytes32(in);
    message->snapshot.bytes = as_read_bytes32(in);
    if (message->snapshot.index == 0 || message->snapshot.snapshot_term == 0 ||
        message->snapshot.bytes.len > RAFT_CHUNK_BYTES_MAX)
        in->bad = true;
    if (!in->bad && raft_members_take(message->snapshot.members, &members))
        in->bad = true;
}

static void take_body(struct as_reader *in, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        message->vote.last_index = take_number(in);
        message->vote.last_term = take_number(in);
        message->vote.transfer = take_bool(in);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        message->vote_reply.granted = take_bool(in);
        break;
    case RAFT_APPEND:
        take_append(in, message);
        break;
    case RAFT_ACK:
        message->ack.match = take_number(in);
        message->ack.round = take_number(in);
        break;
    case RAFT_REJECT:
        message->reject.prev_index = take_number(in);
        message->reject.hint_index = take_number(in);
        message->reject.hint_term = take_number(in);
        message->reject.round = take_number(in);
        break;
    case RAFT_SNAPSHOT:
        take_snapshot(in, message);
        break;
    case RAFT_SNAPSHOT_REPLY:
        message->snapshot_reply.index = take_number(in);
        message->snapshot_reply.chunk = as_read_u32(in);
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    case RAFT_MESSAGE_COUNT:
        in->bad = true;
    }
}

as_err raft_message_take(struct as_bytes bytes, struct raft_message *ret_message)
{
    struct as_reader in = as_reader_of(bytes);
    struct raft_message message;
    uint8_t type = as_read_u8(&in);

    memset(&message, 0, sizeof(message));
    if (bytes.len > RAFT_MESSAGE_BYTES_MAX || type >= RAFT_MESSAGE_COUNT)
        return AS_ERR_MALFORMED;
    message.type = (enum raft_message_type)type;
    message.term = take_number(&in);
    take_body(&in, &message);
    if (!as_reader_done(&in))
        return AS_ERR_MALFORMED;
    /* There is no term 0; but a node that has not seen any can refuse a pre-vote. */
    if (message.term == 0 && message.type != RAFT_PRE_VOTE_REPLY)
        return AS_ERR_MALFORMED;
    *ret_message = message;
    return AS_OK;
}
