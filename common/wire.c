/*
 * Frames and messages of the link between agent and node. Fault model: the peer may be broken, of
 * another version or no peer of ours at all; bytes may be damaged. Nothing is handed out before the
 * checksum held, and then every enum, bool and length is still checked, because a checksum proves
 * no good will.
 *
 * Each message is a list of fields, used for both directions: what is put is what is taken.
 */
#include "assent/wire.h"

#include <string.h>

#include "assent/map.h"
#include "common/text.h"

enum field_kind {
    FIELD_END,
    FIELD_NUMBER, /* 2, 4 or 8 bytes, as wide as the field */
    FIELD_BOOL,
    FIELD_ENUM,     /* u8, from `min` to `max` */
    FIELD_TOKEN,    /* struct as_identity */
    FIELD_SQLSTATE, /* char[6]: text8, five characters or none */
    FIELD_TEXT,     /* struct as_bytes: text8 up to `max` */
    FIELD_PEOPLE,   /* struct as_bytes: text16, cut to AS_WIRE_TEXT_MAX */
    FIELD_BYTES,    /* struct as_bytes: bytes32 */
    FIELD_GID,      /* struct as_bytes: text8 that is a gid; with `min` 0 it may be empty */
    FIELD_PREPARED, /* struct as_bytes: bytes32 of rows */
    FIELD_NODES,    /* struct as_bytes: bytes32 of nodes */
};

struct field {
    uint16_t offset;
    uint8_t kind;
    uint8_t size;
    uint8_t min, max;
    uint8_t
        since; /* the layout that added it; fields of a later one stand behind those of earlier ones */
};

#define MEMBER(member) offsetof(struct as_wire_msg, member)
#define WIDTH(member) sizeof(((struct as_wire_msg *)0)->member)
#define FIELD_SINCE(since, kind, member, min, max)           \
    {                                                        \
        MEMBER(member), kind, WIDTH(member), min, max, since \
    }
#define FIELD(kind, member, min, max) FIELD_SINCE(1, kind, member, min, max)
#define NUMBER(member) FIELD(FIELD_NUMBER, member, 0, 0)
#define NUMBER_SINCE(since, member) FIELD_SINCE(since, FIELD_NUMBER, member, 0, 0)
#define BOOL(member) FIELD(FIELD_BOOL, member, 0, 1)
#define ENUM(member, min, max) FIELD(FIELD_ENUM, member, min, max)
#define TOKEN(member) FIELD(FIELD_TOKEN, member, 0, 0)
#define SQLSTATE(member) FIELD(FIELD_SQLSTATE, member, 0, 0)
#define TEXT(member, max) FIELD(FIELD_TEXT, member, 0, max)
#define PEOPLE(member) FIELD(FIELD_PEOPLE, member, 0, 0)
#define BYTES(member) FIELD(FIELD_BYTES, member, 0, 0)
#define GID(member, min) FIELD(FIELD_GID, member, min, AS_GID_LEN_MAX)
#define PREPARED(member) FIELD(FIELD_PREPARED, member, 0, 0)
#define NODES(member) FIELD(FIELD_NODES, member, 0, 0)
#define BRANCH(member)                                                       \
    NUMBER(member.slot), NUMBER(member.number), NUMBER(member.attempt.term), \
        NUMBER(member.attempt.seq)
#define FIELDS(...)                  \
    (const struct field[])           \
    {                                \
        __VA_ARGS__,                 \
        {                            \
            0, FIELD_END, 0, 0, 0, 0 \
        }                            \
    }

#define DECISION_FIELDS                                                             \
    FIELDS(BRANCH(decision.branch), NUMBER(decision.xid), TOKEN(decision.identity), \
           TEXT(decision.id, AS_ID_LEN_MAX))

static const struct message {
    const char *name;
    const struct field *fields;
} messages[AS_WIRE_TYPE_END] = {
    [AS_WIRE_HELLO] = {"HELLO", FIELDS(NUMBER(hello.agent_id), NUMBER(hello.incarnation),
                                       TEXT(hello.cluster, AS_CLUSTER_LEN_MAX),
                                       TEXT(hello.name, UINT8_MAX), NUMBER_SINCE(2, hello.speaks))},
    [AS_WIRE_WELCOME] = {"WELCOME", FIELDS(NUMBER(welcome.node_id), NUMBER(welcome.incarnation),
                                           TEXT(welcome.cluster, AS_CLUSTER_LEN_MAX),
                                           NUMBER_SINCE(2, welcome.speaks))},
    [AS_WIRE_REFUSE] = {"REFUSE", FIELDS(PEOPLE(refuse))},
    [AS_WIRE_LEADER] = {"LEADER", FIELDS(NUMBER(term))},
    [AS_WIRE_PARTICIPANT] = {"PARTICIPANT",
                             FIELDS(NUMBER(participant.slot), BOOL(participant.up),
                                    TEXT(participant.name, AS_PARTICIPANT_LEN_MAX),
                                    TOKEN(participant.identity), NUMBER(participant.counter),
                                    NUMBER(participant.system_id), NUMBER(participant.timeline),
                                    NUMBER(participant.server_version),
                                    NUMBER(participant.prepared_max),
                                    NUMBER(participant.connections),
                                    ENUM(participant.proof, AS_PROOF_XACT_STATUS, AS_PROOF_MARKER),
                                    PEOPLE(participant.detail))},
    [AS_WIRE_ROTATE] = {"ROTATE", FIELDS(NUMBER(rotate.slot), NUMBER(rotate.counter))},
    [AS_WIRE_STATUS] = {"STATUS",
                        FIELDS(NUMBER(status.slot), NUMBER(status.slots_used),
                               NUMBER(status.prepared), NUMBER(status.in_doubt),
                               NUMBER(status.orphaned), NUMBER(status.foreign),
                               NUMBER(status.queued), NUMBER(status.oldest_age_ms),
                               TEXT(status.oldest_gid, AS_GID_LEN_MAX),
                               FIELD_SINCE(2, FIELD_BOOL, status.audited, 0, 1),
                               NUMBER_SINCE(2, status.slots_ours), NUMBER_SINCE(2, status.xmin_age),
                               NUMBER_SINCE(2, status.foreign_xmin_age),
                               NUMBER_SINCE(2, status.foreign_oldest_age_ms))},
    [AS_WIRE_EXECUTE] = {"EXECUTE", FIELDS(BRANCH(execute.branch), NUMBER(execute.timeout_ms),
                                           TEXT(execute.id, AS_ID_LEN_MAX), BYTES(execute.work))},
    [AS_WIRE_VOTE] = {"VOTE",
                      FIELDS(BRANCH(vote.branch), ENUM(vote.vote, AS_VOTE_NO, AS_VOTE_READ_ONLY),
                             NUMBER(vote.xid), TOKEN(vote.identity), BYTES(vote.results),
                             ENUM(vote.code, 0, AS_REASON_COUNT - 1), NUMBER(vote.statement),
                             SQLSTATE(vote.sqlstate), PEOPLE(vote.message))},
    [AS_WIRE_READ_FINISH] = {"READ_FINISH", FIELDS(BRANCH(read_finish))},
    [AS_WIRE_COMMIT] = {"COMMIT", DECISION_FIELDS},
    [AS_WIRE_ABORT] = {"ABORT", DECISION_FIELDS},
    [AS_WIRE_ACK] = {"ACK",
                     FIELDS(BRANCH(ack.branch), ENUM(ack.ack, AS_ACK_COMMITTED, AS_ACK_RETRY),
                            PEOPLE(ack.message))},
    [AS_WIRE_INQUIRE] = {"INQUIRE",
                         FIELDS(BRANCH(inquire.branch), TEXT(inquire.id, AS_ID_LEN_MAX))},
    [AS_WIRE_ANSWER] = {"ANSWER",
                        FIELDS(BRANCH(answer.branch),
                               ENUM(answer.answer, AS_ANSWER_PENDING, AS_ANSWER_UNKNOWN))},
    [AS_WIRE_PING] = {"PING", FIELDS(NUMBER(ping))},
    [AS_WIRE_PONG] = {"PONG", FIELDS(NUMBER(ping))},
    [AS_WIRE_PEER] = {"PEER", FIELDS(NUMBER(peer.node_id), NUMBER(peer.incarnation),
                                     TEXT(peer.cluster, AS_CLUSTER_LEN_MAX))},
    [AS_WIRE_RAFT] = {"RAFT", FIELDS(BYTES(raft))},
    [AS_WIRE_FORWARD] = {"FORWARD", FIELDS(NUMBER(forward.number), BYTES(forward.bytes))},
    [AS_WIRE_FORWARDED] = {"FORWARDED", FIELDS(NUMBER(forward.number), BYTES(forward.bytes))},
    [AS_WIRE_LIST] = {"LIST", FIELDS(NUMBER(list.slot), NUMBER(list.ticket), GID(list.gid, 0))},
    [AS_WIRE_LISTED] = {"LISTED", FIELDS(NUMBER(listed.slot), NUMBER(listed.ticket),
                                         ENUM(listed.asked, AS_ASKED_DONE, AS_ASKED_UNKNOWN),
                                         NUMBER(listed.total), NUMBER(listed.foreign),
                                         PREPARED(listed.rows), PEOPLE(listed.message))},
    [AS_WIRE_RESOLVE] = {"RESOLVE",
                         FIELDS(NUMBER(resolve.slot), NUMBER(resolve.ticket), BOOL(resolve.commit),
                                NUMBER(resolve.xid), GID(resolve.gid, 1))},
    [AS_WIRE_RESOLVED] = {"RESOLVED", FIELDS(NUMBER(resolved.slot), NUMBER(resolved.ticket),
                                             ENUM(resolved.asked, AS_ASKED_DONE, AS_ASKED_UNKNOWN),
                                             BOOL(resolved.tag), PEOPLE(resolved.message))},
    [AS_WIRE_NODES] = {"NODES", FIELDS(NODES(nodes))},
    [AS_WIRE_FORWARD_REFUSED] = {"FORWARD_REFUSED", FIELDS(NUMBER(forward_refused))},
};

_Static_assert(sizeof(enum as_vote) == sizeof(uint32_t), "enums are read and written as uint32_t");
_Static_assert(sizeof(bool) == 1, "bools are read and written as one byte");
_Static_assert(AS_REASON_COUNT <= UINT8_MAX, "enums travel as u8");

const char *as_wire_type_text(enum as_wire_type type)
{
    return (size_t)type < AS_WIRE_TYPE_END && messages[type].name ? messages[type].name : "?";
}

static bool is_sqlstate(const char *text, size_t len)
{
    if (len != 0 && len != 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'A' && text[i] <= 'Z'))
            return false;
    }
    return true;
}

static void put_number(struct as_buf *buf, const void *from, size_t size)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (size) {
    case 2:
        memcpy(&u16, from, 2);
        as_put_u16(buf, u16);
        break;
    case 4:
        memcpy(&u32, from, 4);
        as_put_u32(buf, u32);
        break;
    default:
        AS_ASSERT(size == 8);
        memcpy(&u64, from, 8);
        as_put_u64(buf, u64);
    }
}

static void put_people(struct as_buf *buf, struct as_bytes text)
{
    char cut[AS_WIRE_TEXT_MAX];

    if (text.len > sizeof(cut)) {
        text.len = as_text_cut(text, sizeof(cut), cut);
        text.data = (const uint8_t *)cut;
    }
    as_put_text16(buf, (const char *)text.data, text.len);
}

static void put_text(struct as_buf *buf, struct as_bytes text, size_t max)
{
    if (text.len <= max)
        as_put_text8(buf, (const char *)text.data, text.len);
    else if (!buf->err)
        buf->err = AS_ERR_TOOBIG;
}

static void put_field(struct as_buf *buf, const struct field *field, const void *from)
{
    const struct as_bytes *bytes = from;
    uint32_t number;
    size_t len;

    switch ((enum field_kind)field->kind) {
    case FIELD_NUMBER:
        put_number(buf, from, field->size);
        break;
    case FIELD_BOOL:
        as_put_u8(buf, *(const bool *)from);
        break;
    case FIELD_ENUM:
        memcpy(&number, from, sizeof(number));
        AS_ASSERT(number >= field->min && number <= field->max);
        as_put_u8(buf, (uint8_t)number);
        break;
    case FIELD_TOKEN:
        as_put_bytes(buf, from, AS_IDENTITY_LEN);
        break;
    case FIELD_SQLSTATE:
        /* It comes from a server: one of another form is left out rather than cost the session. */
        len = strnlen(from, field->size);
        as_put_text8(buf, from, is_sqlstate(from, len) ? len : 0);
        break;
    case FIELD_TEXT:
    case FIELD_GID:
        put_text(buf, *bytes, field->max);
        break;
    case FIELD_PEOPLE:
        put_people(buf, *bytes);
        break;
    case FIELD_BYTES:
    case FIELD_PREPARED:
    case FIELD_NODES:
        as_put_bytes32(buf, *bytes);
        break;
    case FIELD_END:
        break;
    }
}

static bool take_number(struct as_reader *in, void *to, size_t size)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (size) {
    case 2:
        u16 = as_read_u16(in);
        memcpy(to, &u16, 2);
        break;
    case 4:
        u32 = as_read_u32(in);
        memcpy(to, &u32, 4);
        break;
    default:
        AS_ASSERT(size == 8);
        u64 = as_read_u64(in);
        memcpy(to, &u64, 8);
    }
    return true;
}

static bool take_enum(struct as_reader *in, const struct field *field, void *to)
{
    uint32_t number = as_read_u8(in);

    memcpy(to, &number, sizeof(number));
    return number >= field->min && number <= field->max;
}

static bool is_gid(struct as_bytes text, bool needed)
{
    struct as_gid gid;

    return text.len == 0 ? !needed : !as_gid_parse((const char *)text.data, text.len, &gid);
}

void as_wire_prepared_put(struct as_buf *rows, const struct as_wire_prepared *row)
{
    as_put_text8(rows, (const char *)row->gid.data, row->gid.len);
    as_put_text8(rows, (const char *)row->owner.data, row->owner.len);
    as_put_u64(rows, row->xid);
    as_put_i64(rows, row->age_ms);
    as_put_u8(rows, row->waits);
}

static bool is_name(struct as_bytes text, size_t max)
{
    return text.len <= max && (text.len == 0 || !memchr(text.data, 0, text.len));
}

as_err as_wire_prepared_take(struct as_reader *rows, struct as_wire_prepared *ret_row)
{
    struct as_wire_prepared row = {.gid = as_read_text8(rows)};
    uint8_t waits;

    row.owner = as_read_text8(rows);
    row.xid = as_read_u64(rows);
    row.age_ms = as_read_i64(rows);
    waits = as_read_u8(rows);
    row.waits = waits == 1;
    if (rows->bad || waits > 1 || !is_name(row.gid, AS_GID_LEN_MAX) ||
        !is_name(row.owner, AS_ROLE_LEN_MAX))
        return AS_ERR_MALFORMED;
    *ret_row = row;
    return AS_OK;
}

static bool are_rows(struct as_bytes bytes)
{
    struct as_reader in = as_reader_of(bytes);
    struct as_wire_prepared row;

    for (int count = 0; in.left > 0; count++) {
        if (count == AS_PREPARED_LISTED_MAX || as_wire_prepared_take(&in, &row))
            return false;
    }
    return true;
}

void as_wire_node_put(struct as_buf *nodes, const struct as_wire_node *node)
{
    as_put_u64(nodes, node->id);
    as_put_text8(nodes, (const char *)node->address.data, node->address.len);
}

as_err as_wire_node_take(struct as_reader *nodes, struct as_wire_node *ret_node)
{
    struct as_wire_node node = {.id = as_read_u64(nodes)};

    node.address = as_read_text8(nodes);
    if (nodes->bad || node.id == 0 || node.address.len == 0 || !is_name(node.address, UINT8_MAX))
        return AS_ERR_MALFORMED;
    *ret_node = node;
    return AS_OK;
}

static bool are_nodes(struct as_bytes bytes)
{
    struct as_reader in = as_reader_of(bytes);
    struct as_wire_node node;

    for (int count = 0; in.left > 0; count++) {
        if (count == AS_NODES_MAX || as_wire_node_take(&in, &node))
            return false;
    }
    return true;
}

/* False: the value is none that this field can have. Reads past the end show in the reader. */
static bool take_field(struct as_reader *in, const struct field *field, void *to)
{
    struct as_bytes *bytes = to;
    struct as_bytes token;
    uint8_t flag;

    switch ((enum field_kind)field->kind) {
    case FIELD_NUMBER:
        return take_number(in, to, field->size);
    case FIELD_BOOL:
        flag = as_read_u8(in);
        *(bool *)to = flag == 1;
        return flag <= 1;
    case FIELD_ENUM:
        return take_enum(in, field, to);
    case FIELD_TOKEN:
        token = as_read_bytes(in, AS_IDENTITY_LEN);
        if (token.data)
            memcpy(to, token.data, AS_IDENTITY_LEN);
        return true;
    case FIELD_SQLSTATE:
        as_read_string8(in, to, field->size);
        return is_sqlstate(to, strlen(to));
    case FIELD_TEXT:
        *bytes = as_read_text8(in);
        return bytes->len <= field->max;
    case FIELD_PEOPLE:
        *bytes = as_read_text16(in);
        return bytes->len <= AS_WIRE_TEXT_MAX;
    case FIELD_BYTES:
        *bytes = as_read_bytes32(in);
        return true;
    case FIELD_GID:
        *bytes = as_read_text8(in);
        return is_gid(*bytes, field->min > 0);
    case FIELD_PREPARED:
        *bytes = as_read_bytes32(in);
        return are_rows(*bytes);
    case FIELD_NODES:
        *bytes = as_read_bytes32(in);
        return are_nodes(*bytes);
    case FIELD_END:
        break;
    }
    return false;
}

static void store(uint8_t *to, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

/* Its first eight bytes as a number are the seed, so that they are under the checksum too. */
static uint64_t frame_checksum(uint64_t head, const uint8_t *payload, size_t len)
{
    return as_hash(payload, len, head);
}

/* The newest layout of this type. */
static uint8_t newest(enum as_wire_type type)
{
    uint8_t version = 1;

    for (const struct field *field = messages[type].fields; field->kind != FIELD_END; field++)
        version = field->since > version ? field->since : version;
    return version;
}

void as_wire_put(struct as_buf *buf, const struct as_wire_msg *msg)
{
    size_t start = buf->len, len;
    uint8_t version;
    uint8_t *frame;
    uint64_t head;

    if (buf->err)
        return;
    AS_ASSERT((size_t)msg->type < AS_WIRE_TYPE_END && messages[msg->type].name);
    version = newest(msg->type);
    version = msg->version > 0 && msg->version < version ? msg->version : version;
    (void)as_buf_extend(buf, AS_FRAME_HEADER_LEN);
    for (const struct field *field = messages[msg->type].fields;
         field->kind != FIELD_END && field->since <= version; field++)
        put_field(buf, field, (const uint8_t *)msg + field->offset);
    if (!buf->err && buf->len - start > AS_FRAME_BYTES_MAX)
        buf->err = AS_ERR_TOOBIG;
    if (buf->err) {
        buf->len = start;
        return;
    }
    frame = buf->data + start;
    len = buf->len - start - AS_FRAME_HEADER_LEN;
    head = (uint64_t)len | (uint64_t)msg->type << 32 | (uint64_t)version << 40;
    store(frame, head, 8);
    store(frame + 8, frame_checksum(head, frame + AS_FRAME_HEADER_LEN, len), 8);
}

static as_err take_fields(enum as_wire_type type, uint8_t version, struct as_bytes payload,
                          struct as_wire_msg *ret_msg)
{
    struct as_reader in = as_reader_of(payload);
    struct as_wire_msg msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = type;
    msg.version = version;
    for (const struct field *field = messages[type].fields;
         field->kind != FIELD_END && field->since <= version; field++) {
        if (!take_field(&in, field, (uint8_t *)&msg + field->offset))
            return AS_ERR_MALFORMED;
    }
    if (!as_reader_done(&in))
        return AS_ERR_MALFORMED;
    *ret_msg = msg;
    return AS_OK;
}

as_err as_wire_take(struct as_bytes bytes, struct as_wire_msg *ret_msg, size_t *ret_used)
{
    struct as_reader in = as_reader_of(bytes);
    uint64_t head = as_read_u64(&in);
    uint64_t checksum = as_read_u64(&in);
    size_t len = (size_t)(head & UINT32_MAX);
    size_t type = head >> 32 & UINT8_MAX;
    uint8_t version = head >> 40 & UINT8_MAX;
    struct as_bytes payload;
    as_err err;

    if (in.bad)
        return AS_ERR_AGAIN;
    if (version < 1 || version > AS_WIRE_VERSION)
        return AS_ERR_VERSION;
    if (type >= AS_WIRE_TYPE_END || !messages[type].name || head >> 48 != 0)
        return AS_ERR_MALFORMED;
    if (version > newest((enum as_wire_type)type))
        return AS_ERR_VERSION;
    /* Before waiting for it: a false length must not make anybody gather without end. */
    if (len > AS_FRAME_BYTES_MAX - AS_FRAME_HEADER_LEN)
        return AS_ERR_TOOBIG;
    if (len > in.left)
        return AS_ERR_AGAIN;
    payload = as_read_bytes(&in, len);
    if (frame_checksum(head, payload.data, payload.len) != checksum)
        return AS_ERR_CHECKSUM;
    err = take_fields((enum as_wire_type)type, version, payload, ret_msg);
    if (err)
        return err;
    *ret_used = AS_FRAME_HEADER_LEN + len;
    return AS_OK;
}
