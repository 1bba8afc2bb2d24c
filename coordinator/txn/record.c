/*
 * Payloads of log records. Fault model: `take` gets any bytes at all (the log's checksum says only
 * that they are what was written, perhaps by another version); a record that is not exactly right
 * is refused.
 */
#include "coordinator/txn/record.h"

#include <string.h>

/* A FINISH larger than this is nothing the drive writes. */
#define FINISH_ATTEMPTS_MAX 4096

static void put_id(struct as_buf *buf, const char *id)
{
    as_put_text8(buf, id, strlen(id));
}

static void put_attempt(struct as_buf *buf, struct as_attempt attempt)
{
    as_put_u64(buf, attempt.term);
    as_put_u64(buf, attempt.seq);
}

static void put_commit(struct as_buf *buf, const struct txn_record *record)
{
    put_id(buf, record->commit.id);
    put_attempt(buf, record->commit.attempt);
    as_put_bytes(buf, record->commit.body_hash, AS_HASH_LEN);
    as_put_i64(buf, record->commit.created_ms);
    as_put_i64(buf, record->commit.decided_ms);
    as_put_u8(buf, (uint8_t)record->commit.branch_count);
    for (uint32_t i = 0; i < record->commit.branch_count; i++) {
        const struct txn_record_branch *branch = &record->commit.branches[i];

        as_put_u8(buf, (uint8_t)branch->number);
        as_put_u16(buf, (uint16_t)branch->participant);
        as_put_u64(buf, branch->xid);
        as_put_bytes(buf, branch->identity.token, AS_IDENTITY_LEN);
    }
}

static void put_abort(struct as_buf *buf, const struct txn_record *record)
{
    const struct as_reason *reason = &record->abort.reason;

    put_id(buf, record->abort.id);
    put_attempt(buf, record->abort.attempt);
    as_put_bytes(buf, record->abort.body_hash, AS_HASH_LEN);
    as_put_i64(buf, record->abort.created_ms);
    as_put_i64(buf, record->abort.decided_ms);
    as_put_u8(buf, (uint8_t)reason->code);
    as_put_u8(buf, (uint8_t)reason->branch);
    as_put_u32(buf, (uint32_t)reason->statement);
    as_put_text8(buf, reason->sqlstate, strlen(reason->sqlstate));
    as_put_text8(buf, reason->participant, strlen(reason->participant));
    as_put_text16(buf, reason->message, strlen(reason->message));
}

static void put_participant(struct as_buf *buf, const struct txn_record *record)
{
    put_id(buf, record->participant.name);
    as_put_bytes(buf, record->participant.identity.token, AS_IDENTITY_LEN);
    as_put_u64(buf, record->participant.counter);
    as_put_u64(buf, record->participant.system_id);
    as_put_u32(buf, record->participant.timeline);
}

static void put_resolve(struct as_buf *buf, const struct txn_record *record)
{
    char gid[AS_GID_LEN_MAX + 1];
    size_t len = as_gid_format(&record->resolve.gid, gid);

    as_put_u16(buf, (uint16_t)record->resolve.participant);
    as_put_text8(buf, gid, len);
    as_put_u64(buf, record->resolve.xid);
    as_put_u8(buf, record->resolve.commit);
    as_put_text16(buf, (const char *)record->resolve.who.data, record->resolve.who.len);
    as_put_text16(buf, (const char *)record->resolve.why.data, record->resolve.why.len);
}

void txn_record_put(struct as_buf *buf, const struct txn_record *record)
{
    switch (record->type) {
    case TXN_RECORD_COMMIT:
        put_commit(buf, record);
        break;
    case TXN_RECORD_FINISH:
        as_put_u16(buf, (uint16_t)record->finish.count);
        as_put_bytes(buf, record->finish.attempts.data, record->finish.attempts.len);
        break;
    case TXN_RECORD_ABORT:
        put_abort(buf, record);
        break;
    case TXN_RECORD_HEURISTIC:
        put_attempt(buf, record->heuristic.attempt);
        as_put_u8(buf, (uint8_t)record->heuristic.branch);
        as_put_u8(buf, (uint8_t)record->heuristic.what);
        as_put_u16(buf, (uint16_t)record->heuristic.participant);
        put_id(buf, record->heuristic.id);
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        put_attempt(buf, record->acknowledge.attempt);
        as_put_u8(buf, (uint8_t)record->acknowledge.branch);
        as_put_text16(buf, (const char *)record->acknowledge.who.data, record->acknowledge.who.len);
        as_put_text16(buf, (const char *)record->acknowledge.why.data, record->acknowledge.why.len);
        break;
    case TXN_RECORD_HORIZON:
        put_attempt(buf, record->horizon);
        break;
    case TXN_RECORD_PARTICIPANT:
        put_participant(buf, record);
        break;
    case TXN_RECORD_RESOLVE:
        put_resolve(buf, record);
        break;
    case TXN_RECORD_NOOP:
    case TXN_RECORD_END:
        break;
    }
}

/* --- Reading: the sticky error of the reader collects every objection --- */

static void object(struct as_reader *in)
{
    in->bad = true;
    in->left = 0;
}

static void take_id(struct as_reader *in, char ret_id[AS_ID_LEN_MAX + 1])
{
    as_read_string8(in, ret_id, AS_ID_LEN_MAX + 1);
    if (!as_id_valid(ret_id, strlen(ret_id)))
        object(in);
}

static struct as_attempt take_attempt(struct as_reader *in)
{
    struct as_attempt attempt;

    attempt.term = as_read_u64(in);
    attempt.seq = as_read_u64(in);
    if (attempt.term == 0 || attempt.seq == 0 || attempt.term > INT64_MAX ||
        attempt.seq > INT64_MAX)
        object(in);
    return attempt;
}

static void take_array(struct as_reader *in, uint8_t *ret_data, size_t len)
{
    struct as_bytes bytes = as_read_bytes(in, len);

    memset(ret_data, 0, len);
    if (bytes.len == len)
        memcpy(ret_data, bytes.data, len);
}

static uint32_t take_branch_number(struct as_reader *in)
{
    uint32_t number = as_read_u8(in);

    if (number < 1 || number > AS_BRANCHES_MAX)
        object(in);
    return number;
}

static uint32_t take_participant_id(struct as_reader *in)
{
    uint32_t participant = as_read_u16(in);

    if (participant >= AS_PARTICIPANTS_MAX)
        object(in);
    return participant;
}

static void take_commit(struct as_reader *in, struct txn_record *ret)
{
    uint32_t count, last = 0;

    take_id(in, ret->commit.id);
    ret->commit.attempt = take_attempt(in);
    take_array(in, ret->commit.body_hash, AS_HASH_LEN);
    ret->commit.created_ms = as_read_i64(in);
    ret->commit.decided_ms = as_read_i64(in);
    count = as_read_u8(in);
    if (count < 1 || count > AS_BRANCHES_MAX) {
        object(in);
        count = 0;
    }
    ret->commit.branch_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct txn_record_branch *branch = &ret->commit.branches[i];

        branch->number = take_branch_number(in);
        branch->participant = take_participant_id(in);
        branch->xid = as_read_u64(in);
        take_array(in, branch->identity.token, AS_IDENTITY_LEN);
        if (branch->number <= last)
            object(in); /* twice the same branch, or out of order */
        last = branch->number;
    }
}

static void take_finish(struct as_reader *in, struct txn_record *ret)
{
    uint32_t count = as_read_u16(in);

    if (count < 1 || count > FINISH_ATTEMPTS_MAX)
        object(in);
    ret->finish.count = count;
    ret->finish.attempts = as_read_bytes(in, (size_t)count * 16);
}

static void take_abort(struct as_reader *in, struct txn_record *ret)
{
    struct as_reason *reason = &ret->abort.reason;
    struct as_bytes message;
    uint8_t code;

    take_id(in, ret->abort.id);
    ret->abort.attempt = take_attempt(in);
    take_array(in, ret->abort.body_hash, AS_HASH_LEN);
    ret->abort.created_ms = as_read_i64(in);
    ret->abort.decided_ms = as_read_i64(in);
    code = as_read_u8(in);
    *reason = (struct as_reason){.code = AS_REASON_NONE}; /* no byte of it is left to chance */
    reason->code = code < AS_REASON_COUNT ? (enum as_reason_code)code : AS_REASON_NONE;
    reason->branch = as_read_u8(in);
    reason->statement = (int32_t)as_read_u32(in);
    as_read_string8(in, reason->sqlstate, sizeof(reason->sqlstate));
    as_read_string8(in, reason->participant, sizeof(reason->participant));
    message = as_read_text16(in);
    if (code >= AS_REASON_COUNT || reason->branch > AS_BRANCHES_MAX || reason->statement < -1 ||
        (reason->sqlstate[0] && strlen(reason->sqlstate) != 5) || message.len > AS_REASON_LEN_MAX ||
        (message.len && memchr(message.data, 0, message.len))) {
        object(in);
        return;
    }
    if (message.len > 0)
        memcpy(reason->message, message.data, message.len);
    reason->message[message.len] = 0;
}

static void take_heuristic(struct as_reader *in, struct txn_record *ret)
{
    uint8_t what;

    ret->heuristic.attempt = take_attempt(in);
    ret->heuristic.branch = take_branch_number(in);
    what = as_read_u8(in);
    ret->heuristic.what = (enum as_branch_state)what;
    if (!as_branch_state_heuristic((enum as_branch_state)what))
        object(in);
    ret->heuristic.participant = take_participant_id(in);
    take_id(in, ret->heuristic.id);
}

static void take_participant(struct as_reader *in, struct txn_record *ret)
{
    as_read_string8(in, ret->participant.name, sizeof(ret->participant.name));
    if (!as_participant_valid(ret->participant.name, strlen(ret->participant.name)))
        object(in);
    take_array(in, ret->participant.identity.token, AS_IDENTITY_LEN);
    ret->participant.counter = as_read_u64(in);
    ret->participant.system_id = as_read_u64(in);
    ret->participant.timeline = as_read_u32(in);
}

static void take_resolve(struct as_reader *in, struct txn_record *ret)
{
    struct as_bytes gid;
    uint8_t commit;

    ret->resolve.participant = take_participant_id(in);
    gid = as_read_text8(in);
    ret->resolve.xid = as_read_u64(in);
    commit = as_read_u8(in);
    ret->resolve.commit = commit == 1;
    ret->resolve.who = as_read_text16(in);
    ret->resolve.why = as_read_text16(in);
    if (in->bad || commit > 1 || as_gid_parse((const char *)gid.data, gid.len, &ret->resolve.gid) ||
        ret->resolve.who.len < 1 || ret->resolve.who.len > AS_WHO_LEN_MAX ||
        ret->resolve.why.len < 1 || ret->resolve.why.len > AS_REASON_LEN_MAX)
        object(in);
}

as_err txn_record_take(uint8_t type, struct as_bytes payload, struct txn_record *ret)
{
    struct as_reader in = as_reader_of(payload);

    ret->type = (enum txn_record_type)type;
    switch (type) {
    case TXN_RECORD_NOOP:
        break;
    case TXN_RECORD_COMMIT:
        take_commit(&in, ret);
        break;
    case TXN_RECORD_FINISH:
        take_finish(&in, ret);
        for (uint32_t i = 0; !in.bad && i < ret->finish.count; i++) {
            struct as_reader one = {ret->finish.attempts.data + 16 * (size_t)i, 16, false};

            take_attempt(&one);
            in.bad |= one.bad;
        }
        break;
    case TXN_RECORD_ABORT:
        take_abort(&in, ret);
        break;
    case TXN_RECORD_HEURISTIC:
        take_heuristic(&in, ret);
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        ret->acknowledge.attempt = take_attempt(&in);
        ret->acknowledge.branch = take_branch_number(&in);
        ret->acknowledge.who = as_read_text16(&in);
        ret->acknowledge.why = as_read_text16(&in);
        break;
    case TXN_RECORD_HORIZON:
        ret->horizon = take_attempt(&in);
        break;
    case TXN_RECORD_PARTICIPANT:
        take_participant(&in, ret);
        break;
    case TXN_RECORD_RESOLVE:
        take_resolve(&in, ret);
        break;
    default:
        return AS_ERR_MALFORMED;
    }
    return as_reader_done(&in) ? AS_OK : AS_ERR_MALFORMED;
}

bool txn_record_peek(uint8_t type, struct as_bytes payload, char ret_id[AS_ID_LEN_MAX + 1],
                     struct as_attempt *ret_attempt)
{
    struct as_reader in = as_reader_of(payload);

    if (type != TXN_RECORD_COMMIT && type != TXN_RECORD_ABORT)
        return false;
    as_read_string8(&in, ret_id, AS_ID_LEN_MAX + 1);
    ret_attempt->term = as_read_u64(&in);
    ret_attempt->seq = as_read_u64(&in);
    return !in.bad;
}

struct as_attempt txn_record_attempt(const struct txn_record *finish, uint32_t i)
{
    struct as_reader in = {finish->finish.attempts.data + 16 * (size_t)i, 16, false};
    struct as_attempt attempt;

    AS_ASSERT(i < finish->finish.count);
    attempt.term = as_read_u64(&in);
    attempt.seq = as_read_u64(&in);
    return attempt;
}

const char *txn_record_type_text(uint8_t type)
{
    static const char *const texts[TXN_RECORD_END] = {
        [TXN_RECORD_NOOP] = "NOOP",           [TXN_RECORD_COMMIT] = "COMMIT",
        [TXN_RECORD_FINISH] = "FINISH",       [TXN_RECORD_ABORT] = "ABORT",
        [TXN_RECORD_HEURISTIC] = "HEURISTIC", [TXN_RECORD_ACKNOWLEDGE] = "ACKNOWLEDGE",
        [TXN_RECORD_HORIZON] = "HORIZON",     [TXN_RECORD_PARTICIPANT] = "PARTICIPANT",
        [TXN_RECORD_RESOLVE] = "RESOLVE",
    };

    return type > 0 && type < TXN_RECORD_END ? texts[type] : "?";
}
