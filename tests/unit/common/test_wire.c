/*
 * The wire: every message comes back, its bytes are those kept in tests/data/fuzz/wire (the format
 * may not change by accident, and the fuzzer begins from them), and damaged, cut or hostile bytes
 * are refused. ASSENT_GOLDEN_REWRITE=1 writes the kept files anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/limits.h"
#include "assent/map.h"
#include "assent/wire.h"
#include "tests/support/support.h"

static struct as_bytes text_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static const struct as_identity identity = {
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

#define GID "assent/demo/5f3a9c01d2e4b687/7.42/1/order-4711"

static struct as_bytes two_rows(void)
{
    static uint8_t memory[1000];
    struct as_buf rows = {.data = memory, .cap = sizeof(memory), .max = sizeof(memory)};
    struct as_wire_prepared one = {text_of(GID), text_of("agent"), 0x1fffefdfc, 61000, true};
    struct as_wire_prepared two = {text_of("a foreign one"), text_of("ann"), 7, 0, false};

    as_wire_prepared_put(&rows, &one);
    as_wire_prepared_put(&rows, &two);
    assert_int_equal(rows.err, AS_OK);
    return as_buf_bytes(&rows);
}

static struct as_bytes two_nodes(void)
{
    static uint8_t memory[1000];
    struct as_buf nodes = {.data = memory, .cap = sizeof(memory), .max = sizeof(memory)};
    struct as_wire_node one = {1, text_of("10.0.0.1:7481")}, two = {0x1020, text_of("h:1")};

    as_wire_node_put(&nodes, &one);
    as_wire_node_put(&nodes, &two);
    assert_int_equal(nodes.err, AS_OK);
    return as_buf_bytes(&nodes);
}

/* One message of each type, every field with a value of its own. */
static struct as_wire_msg example(enum as_wire_type type)
{
    const struct as_wire_branch branch = {0x102, 3, {7, 0x1122334455667788}};
    struct as_wire_msg msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = type;
    switch (type) {
    case AS_WIRE_HELLO:
        msg.hello = (struct as_wire_hello){1, 2, text_of("demo"), text_of("agent a on host"), 2};
        break;
    case AS_WIRE_WELCOME:
        msg.welcome = (struct as_wire_welcome){1, 0x5f3a9c01d2e4b687, text_of("demo"), 0x203};
        break;
    case AS_WIRE_REFUSE:
        msg.refuse = text_of("another cluster");
        break;
    case AS_WIRE_LEADER:
        msg.term = 7;
        break;
    case AS_WIRE_PARTICIPANT:
        msg.participant = (struct as_wire_participant){0x102,
                                                       true,
                                                       text_of("bank_a"),
                                                       identity,
                                                       5,
                                                       7000000000000000001,
                                                       3,
                                                       150018,
                                                       64,
                                                       8,
                                                       AS_PROOF_MARKER,
                                                       text_of("synchronous_commit is off")};
        break;
    case AS_WIRE_ROTATE:
        msg.rotate.slot = 0x102;
        msg.rotate.counter = 99;
        break;
    case AS_WIRE_STATUS:
        msg.status = (struct as_wire_status){
            0x102, 1, 2, 3, 4, 5, 6, -7, text_of("assent/demo/x"), true, 8, 9, 10, -11};
        break;
    case AS_WIRE_EXECUTE:
        msg.execute =
            (struct as_wire_execute){branch, 30000, text_of("order-4711"), text_of("work")};
        break;
    case AS_WIRE_VOTE:
        msg.vote = (struct as_wire_vote){branch,
                                         AS_VOTE_NO,
                                         0x100000002,
                                         identity,
                                         text_of("results"),
                                         AS_REASON_STATEMENT_FAILED,
                                         -1,
                                         "23505",
                                         text_of("duplicate")};
        break;
    case AS_WIRE_READ_FINISH:
        msg.read_finish = branch;
        break;
    case AS_WIRE_COMMIT:
    case AS_WIRE_ABORT:
        msg.decision =
            (struct as_wire_decision){branch, 0x100000002, identity, text_of("order-4711")};
        break;
    case AS_WIRE_ACK:
        msg.ack = (struct as_wire_ack){branch, AS_ACK_LOST_PREPARE, text_of("gone")};
        break;
    case AS_WIRE_INQUIRE:
        msg.inquire = (struct as_wire_inquire){branch, text_of("order-4711")};
        break;
    case AS_WIRE_ANSWER:
        msg.answer = (struct as_wire_answer){branch, AS_ANSWER_UNKNOWN};
        break;
    case AS_WIRE_PING:
    case AS_WIRE_PONG:
        msg.ping = 0xfedcba9876543210;
        break;
    case AS_WIRE_PEER:
        msg.peer = (struct as_wire_welcome){3, 0x5f3a9c01d2e4b687, text_of("demo"), 0};
        break;
    case AS_WIRE_RAFT:
        msg.raft = text_of("a message of Raft");
        break;
    case AS_WIRE_FORWARD:
    case AS_WIRE_FORWARDED:
        msg.forward.number = 0x0102030405060708;
        msg.forward.bytes = text_of("a request");
        break;
    case AS_WIRE_LIST:
        msg.list = (struct as_wire_list){0x102, 0x1122334455667788, text_of(GID)};
        break;
    case AS_WIRE_LISTED:
        msg.listed = (struct as_wire_listed){0x102, 0x1122334455667788, AS_ASKED_DONE,     3,
                                             4,     two_rows(),         text_of("not all")};
        break;
    case AS_WIRE_RESOLVE:
        msg.resolve =
            (struct as_wire_resolve){0x102, 0x1122334455667788, true, 0x1fffefdfc, text_of(GID)};
        break;
    case AS_WIRE_RESOLVED:
        msg.resolved = (struct as_wire_resolved){0x102, 0x1122334455667788, AS_ASKED_REFUSED, true,
                                                 text_of("permission denied")};
        break;
    case AS_WIRE_NODES:
        msg.nodes = two_nodes();
        break;
    case AS_WIRE_FORWARD_REFUSED:
        msg.forward_refused = 0x0102030405060708;
        break;
    case AS_WIRE_TYPE_END:
        break;
    }
    return msg;
}

static struct as_bytes sub(struct as_bytes bytes, size_t len)
{
    return (struct as_bytes){bytes.data, len};
}

/* Takes from memory of exactly that length, so that a sanitizer sees a read behind it. */
static as_err take_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct as_wire_msg msg;
    size_t used = 0;
    as_err err;

    assert_non_null(copy);
    memcpy(copy, data, len);
    err = as_wire_take((struct as_bytes){copy, len}, &msg, &used);
    assert_int_equal(used == 0, err != AS_OK);
    free(copy);
    return err;
}

static void assert_same_text(struct as_bytes a, struct as_bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.data, b.data, a.len);
}

static void assert_same_branch(struct as_wire_branch a, struct as_wire_branch b)
{
    assert_int_equal(a.slot, b.slot);
    assert_int_equal(a.number, b.number);
    assert_true(as_attempt_equal(a.attempt, b.attempt));
}

static void a_vote_field_by_field(void **state)
{
    struct as_wire_msg in = example(AS_WIRE_VOTE), out;
    struct as_buf buf;
    size_t used;

    (void)state;
    as_buf_init(&buf, 1000);
    as_wire_put(&buf, &in);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    assert_int_equal(used, buf.len);
    assert_int_equal(out.type, AS_WIRE_VOTE);
    assert_same_branch(out.vote.branch, in.vote.branch);
    assert_int_equal(out.vote.vote, AS_VOTE_NO);
    assert_true(out.vote.xid == 0x100000002);
    assert_memory_equal(&out.vote.identity, &identity, sizeof(identity));
    assert_same_text(out.vote.results, in.vote.results);
    assert_int_equal(out.vote.code, AS_REASON_STATEMENT_FAILED);
    assert_int_equal(out.vote.statement, -1);
    assert_string_equal(out.vote.sqlstate, "23505");
    assert_same_text(out.vote.message, in.vote.message);
    as_buf_close(&buf);
}

static void a_participant_field_by_field(void **state)
{
    struct as_wire_msg in = example(AS_WIRE_PARTICIPANT), out;
    struct as_buf buf;
    size_t used;

    (void)state;
    as_buf_init(&buf, 1000);
    as_wire_put(&buf, &in);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    assert_int_equal(out.participant.slot, 0x102);
    assert_true(out.participant.up);
    assert_same_text(out.participant.name, in.participant.name);
    assert_memory_equal(&out.participant.identity, &identity, sizeof(identity));
    assert_int_equal(out.participant.counter, 5);
    assert_true(out.participant.system_id == 7000000000000000001);
    assert_int_equal(out.participant.timeline, 3);
    assert_int_equal(out.participant.server_version, 150018);
    assert_int_equal(out.participant.prepared_max, 64);
    assert_int_equal(out.participant.connections, 8);
    assert_int_equal(out.participant.proof, AS_PROOF_MARKER);
    assert_same_text(out.participant.detail, in.participant.detail);
    as_buf_close(&buf);
}

static void compare_with_file(const char *name, struct as_bytes bytes)
{
    char path[300];
    uint8_t kept[1000];
    size_t len;
    FILE *file;

    snprintf(path, sizeof(path), AS_TEST_DATA "/fuzz/wire/%s", name);
    if (getenv("ASSENT_GOLDEN_REWRITE")) {
        file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
        fclose(file);
        return;
    }
    file = fopen(path, "rb");
    if (!file)
        fail_msg("missing: %s", path);
    len = fread(kept, 1, sizeof(kept), file);
    fclose(file);
    if (len != bytes.len || memcmp(kept, bytes.data, len) != 0)
        fail_msg("%s: the bytes of this message changed; if meant, raise AS_WIRE_VERSION", name);
}

static void every_message_comes_back_and_keeps_its_bytes(void **state)
{
    struct as_buf buf, again;

    (void)state;
    as_buf_init(&buf, 1000);
    as_buf_init(&again, 1000);
    for (unsigned type = AS_WIRE_HELLO; type < AS_WIRE_TYPE_END; type++) {
        struct as_wire_msg msg = example((enum as_wire_type)type), out;
        size_t used;

        as_buf_clear(&buf);
        as_buf_clear(&again);
        as_wire_put(&buf, &msg);
        assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
        assert_int_equal(used, buf.len);
        assert_int_equal(out.type, type);
        as_wire_put(&again, &out);
        assert_same_text(as_buf_bytes(&again), as_buf_bytes(&buf));
        compare_with_file(as_wire_type_text((enum as_wire_type)type), as_buf_bytes(&buf));
    }
    as_buf_close(&buf);
    as_buf_close(&again);
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(as_wire_type_text(AS_WIRE_READ_FINISH), "READ_FINISH");
    assert_string_equal(as_wire_type_text((enum as_wire_type)0), "?");
    assert_string_equal(as_wire_type_text(AS_WIRE_TYPE_END), "?");
}

/* A stream of all messages, cut anywhere: whole frames are taken, for the rest more is asked. */
static void a_stream_may_be_cut_anywhere(void **state)
{
    size_t ends[AS_WIRE_TYPE_END], count = 0;
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 10000);
    for (unsigned type = AS_WIRE_HELLO; type < AS_WIRE_TYPE_END; type++) {
        struct as_wire_msg msg = example((enum as_wire_type)type);

        as_wire_put(&buf, &msg);
        ends[count++] = buf.len;
    }
    for (size_t cut = 0; cut <= buf.len; cut++) {
        struct as_bytes rest = sub(as_buf_bytes(&buf), cut);
        struct as_wire_msg msg;
        size_t used, taken = 0, at = 0;
        as_err err;

        while ((err = as_wire_take(rest, &msg, &used)) == AS_OK) {
            at += used;
            assert_int_equal(at, ends[taken++]);
            rest = (struct as_bytes){rest.data + used, rest.len - used};
        }
        assert_int_equal(err, AS_ERR_AGAIN);
        assert_true(taken == count || cut < ends[taken]);
        assert_int_equal(take_copy(buf.data + at, cut - at), AS_ERR_AGAIN);
    }
    as_buf_close(&buf);
}

/*
 * A flip in the length may ask for more bytes; with all the bytes that a stream may bring, it is
 * refused. No flip is ever taken.
 */
static void every_flipped_bit_is_refused(void **state)
{
    static uint8_t stream[AS_FRAME_BYTES_MAX];
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    for (unsigned type = AS_WIRE_HELLO; type < AS_WIRE_TYPE_END; type++) {
        struct as_wire_msg msg = example((enum as_wire_type)type), out;
        size_t used;

        as_buf_clear(&buf);
        as_wire_put(&buf, &msg);
        memset(stream, 0, 4096);
        memcpy(stream, buf.data, buf.len);
        for (size_t bit = 0; bit < 8 * buf.len; bit++) {
            as_err err;

            buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
            err = take_copy(buf.data, buf.len);
            assert_true(err == AS_ERR_CHECKSUM || err == AS_ERR_MALFORMED ||
                        err == AS_ERR_VERSION || err == AS_ERR_TOOBIG ||
                        (err == AS_ERR_AGAIN && bit < 32));
            if (bit < 32) {
                err = as_wire_take((struct as_bytes){stream, sizeof(stream)}, &out, &used);
                assert_true(err == AS_ERR_CHECKSUM || err == AS_ERR_TOOBIG);
            }
            buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(take_copy(buf.data, buf.len), AS_OK);
    }
    as_buf_close(&buf);
}

/* Gives changed bytes a right length and checksum: then only the checks of the fields are left. */
static void seal(struct as_buf *buf)
{
    uint64_t head = 0, checksum;

    buf->data[0] = (uint8_t)(buf->len - AS_FRAME_HEADER_LEN);
    buf->data[1] = (uint8_t)((buf->len - AS_FRAME_HEADER_LEN) >> 8);
    for (int i = 0; i < 8; i++)
        head |= (uint64_t)buf->data[i] << (8 * i);
    checksum = as_hash(buf->data + AS_FRAME_HEADER_LEN, buf->len - AS_FRAME_HEADER_LEN, head);
    for (int i = 0; i < 8; i++)
        buf->data[8 + i] = (uint8_t)(checksum >> (8 * i));
}

static void a_right_checksum_proves_no_good_will(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 4000);
    for (unsigned type = AS_WIRE_HELLO; type < AS_WIRE_TYPE_END; type++) {
        struct as_wire_msg msg = example((enum as_wire_type)type);

        as_buf_clear(&buf);
        as_wire_put(&buf, &msg);
        as_put_u8(&buf, 0); /* more than the message */
        seal(&buf);
        assert_int_equal(take_copy(buf.data, buf.len), AS_ERR_MALFORMED);
        buf.len--;
        seal(&buf);
        assert_int_equal(take_copy(buf.data, buf.len), AS_OK);
        while (buf.len > AS_FRAME_HEADER_LEN) { /* less and less of it */
            buf.len--;
            seal(&buf);
            assert_int_equal(take_copy(buf.data, buf.len), AS_ERR_MALFORMED);
        }
    }
    as_buf_close(&buf);
}

/* One payload byte of a message set to `value`, sealed. */
static as_err take_with(enum as_wire_type type, size_t offset, uint8_t value)
{
    struct as_wire_msg msg = example(type);
    struct as_buf buf;
    as_err err;

    as_buf_init(&buf, 1000);
    as_wire_put(&buf, &msg);
    assert_true(AS_FRAME_HEADER_LEN + offset < buf.len);
    buf.data[AS_FRAME_HEADER_LEN + offset] = value;
    seal(&buf);
    err = take_copy(buf.data, buf.len);
    as_buf_close(&buf);
    return err;
}

static void values_out_of_range_are_refused(void **state)
{
    const size_t branch = 2 + 4 + 8 + 8, vote_code = branch + 1 + 8 + 16 + 4 + 7;

    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        const uint8_t byte = (uint8_t)value;

        assert_int_equal(take_with(AS_WIRE_PARTICIPANT, 2, byte),
                         value <= 1 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_PARTICIPANT, 56, byte),
                         value <= 1 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_VOTE, branch, byte),
                         value >= 1 && value <= 4 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_VOTE, vote_code, byte),
                         value < AS_REASON_COUNT ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_ACK, branch, byte),
                         value >= 1 && value <= 7 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_ANSWER, branch, byte),
                         value >= 1 && value <= 2 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_LISTED, 10, byte),
                         value >= 1 && value <= 8 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_RESOLVE, 10, byte),
                         value <= 1 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_RESOLVED, 10, byte),
                         value >= 1 && value <= 8 ? AS_OK : AS_ERR_MALFORMED);
        assert_int_equal(take_with(AS_WIRE_RESOLVED, 11, byte),
                         value <= 1 ? AS_OK : AS_ERR_MALFORMED);
    }
    assert_int_equal(take_with(AS_WIRE_VOTE, vote_code + 1 + 4 + 1, 'a'),
                     AS_ERR_MALFORMED); /* sqlstate */
    assert_int_equal(take_with(AS_WIRE_VOTE, vote_code + 1 + 4 + 1, 0), AS_ERR_MALFORMED);
    assert_int_equal(take_with(AS_WIRE_VOTE, vote_code + 1 + 4 + 1, 'Z'), AS_OK);
}

/* A gid is one of Assent's wherever a message is about one; only LIST may leave it out. */
static void a_gid_is_one(void **state)
{
    const size_t list = 2 + 8 + 1, resolve = 2 + 8 + 1 + 8 + 1;
    struct as_wire_msg msg = example(AS_WIRE_LIST), out;
    struct as_buf buf;
    size_t used;

    (void)state;
    assert_int_equal(take_with(AS_WIRE_LIST, list, 'A'), AS_ERR_MALFORMED);
    assert_int_equal(take_with(AS_WIRE_RESOLVE, resolve, 'A'), AS_ERR_MALFORMED);
    assert_int_equal(take_with(AS_WIRE_RESOLVE, resolve + 7, '/'), AS_ERR_MALFORMED);
    as_buf_init(&buf, 1000);
    msg.list.gid = text_of("");
    as_wire_put(&buf, &msg);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    assert_int_equal(out.list.gid.len, 0);
    as_buf_clear(&buf);
    msg = example(AS_WIRE_RESOLVE);
    msg.resolve.gid = text_of("");
    as_wire_put(&buf, &msg);
    assert_int_equal(take_copy(buf.data, buf.len), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

/* LISTED around these rows. */
static as_err take_rows(struct as_bytes rows)
{
    struct as_wire_msg msg = example(AS_WIRE_LISTED);
    struct as_buf buf;
    as_err err;

    msg.listed.rows = rows;
    as_buf_init(&buf, AS_FRAME_BYTES_MAX);
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.err, AS_OK);
    err = take_copy(buf.data, buf.len);
    as_buf_close(&buf);
    return err;
}

/* What is taken holds whole rows, so that who reads them meets no error. */
static void rows_are_whole(void **state)
{
    uint8_t bytes[200];
    struct as_bytes rows = {bytes, two_rows().len};
    size_t first = 1 + strlen(GID) + 1 + strlen("agent") + 8 + 8 + 1;
    struct as_reader in = as_reader_of(rows);
    struct as_wire_prepared row, kept;
    struct as_buf many;

    (void)state;
    memcpy(bytes, two_rows().data, rows.len);
    for (size_t len = 0; len <= rows.len; len++)
        assert_int_equal(take_rows(sub(rows, len)),
                         len == 0 || len == first || len == rows.len ? AS_OK : AS_ERR_MALFORMED);
    for (unsigned value = 0; value < 256; value++) {
        bytes[first - 1] = (uint8_t)value; /* waits */
        assert_int_equal(take_rows(rows), value <= 1 ? AS_OK : AS_ERR_MALFORMED);
    }
    bytes[first - 1] = 1;
    assert_int_equal(as_wire_prepared_take(&in, &row), AS_OK);
    assert_same_text(row.gid, text_of(GID));
    assert_same_text(row.owner, text_of("agent"));
    assert_true(row.xid == 0x1fffefdfc && row.age_ms == 61000 && row.waits);
    assert_int_equal(as_wire_prepared_take(&in, &row), AS_OK);
    assert_same_text(row.gid, text_of("a foreign one"));
    assert_true(row.xid == 7 && row.age_ms == 0 && !row.waits);
    assert_true(as_reader_done(&in));
    kept = row;
    assert_int_equal(as_wire_prepared_take(&in, &row), AS_ERR_MALFORMED);
    assert_memory_equal(&row, &kept, sizeof(row));

    bytes[1] = 0;
    assert_int_equal(take_rows(rows), AS_ERR_MALFORMED); /* a NUL in a gid */
    bytes[1] = 'a';
    bytes[0] = AS_GID_LEN_MAX + 1;
    assert_int_equal(take_rows(rows), AS_ERR_MALFORMED);

    as_buf_init(&many, AS_FRAME_BYTES_MAX);
    for (int i = 0; i < AS_PREPARED_LISTED_MAX; i++)
        as_wire_prepared_put(&many, &kept);
    assert_int_equal(take_rows(as_buf_bytes(&many)), AS_OK);
    as_wire_prepared_put(&many, &kept);
    assert_int_equal(take_rows(as_buf_bytes(&many)), AS_ERR_MALFORMED);
    as_buf_close(&many);
}

/* NODES around these. */
static as_err take_nodes(struct as_bytes nodes)
{
    struct as_wire_msg msg = {.type = AS_WIRE_NODES, .nodes = nodes};
    struct as_buf buf;
    as_err err;

    as_buf_init(&buf, AS_FRAME_BYTES_MAX);
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.err, AS_OK);
    err = take_copy(buf.data, buf.len);
    as_buf_close(&buf);
    return err;
}

static void nodes_are_whole(void **state)
{
    uint8_t bytes[200];
    struct as_bytes nodes = {bytes, two_nodes().len};
    size_t first = 8 + 1 + strlen("10.0.0.1:7481");
    struct as_reader in = as_reader_of(nodes);
    struct as_wire_node node, kept;
    struct as_buf many;

    (void)state;
    memcpy(bytes, two_nodes().data, nodes.len);
    for (size_t len = 0; len <= nodes.len; len++)
        assert_int_equal(take_nodes(sub(nodes, len)),
                         len == 0 || len == first || len == nodes.len ? AS_OK : AS_ERR_MALFORMED);
    assert_int_equal(as_wire_node_take(&in, &node), AS_OK);
    assert_true(node.id == 1);
    assert_same_text(node.address, text_of("10.0.0.1:7481"));
    assert_int_equal(as_wire_node_take(&in, &node), AS_OK);
    assert_true(node.id == 0x1020);
    assert_same_text(node.address, text_of("h:1"));
    assert_true(as_reader_done(&in));
    kept = node;

    bytes[9] = 0;
    assert_int_equal(take_nodes(nodes), AS_ERR_MALFORMED); /* a NUL in an address */
    bytes[9] = '1';
    bytes[0] = 0;
    assert_int_equal(take_nodes(nodes), AS_ERR_MALFORMED); /* no id */

    as_buf_init(&many, AS_FRAME_BYTES_MAX);
    for (int i = 0; i < AS_NODES_MAX; i++)
        as_wire_node_put(&many, &kept);
    assert_int_equal(take_nodes(as_buf_bytes(&many)), AS_OK);
    as_wire_node_put(&many, &kept);
    assert_int_equal(take_nodes(as_buf_bytes(&many)), AS_ERR_MALFORMED);
    as_buf_clear(&many);
    kept.address.len = 0;
    as_wire_node_put(&many, &kept);
    assert_int_equal(take_nodes(as_buf_bytes(&many)), AS_ERR_MALFORMED);
    as_buf_close(&many);
}

/* A frame of that type around any payload. */
static as_err take_payload(enum as_wire_type type, struct as_bytes payload)
{
    struct as_buf buf;
    as_err err;

    as_buf_init(&buf, 10000);
    memset(as_buf_extend(&buf, AS_FRAME_HEADER_LEN), 0, AS_FRAME_HEADER_LEN);
    buf.data[4] = (uint8_t)type;
    buf.data[AS_FRAME_VERSION_AT] = 1;
    as_put_bytes(&buf, payload.data, payload.len);
    seal(&buf);
    err = take_copy(buf.data, buf.len);
    as_buf_close(&buf);
    return err;
}

static void the_header_has_one_form(void **state)
{
    struct as_wire_msg msg = example(AS_WIRE_PING);
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    as_wire_put(&buf, &msg);
    for (size_t at = 4; at < 8; at++) {
        const uint8_t before = buf.data[at];

        for (unsigned value = 0; value < 256; value++) {
            as_err expected = AS_ERR_MALFORMED;

            if (value == before)
                expected = AS_OK;
            else if (at == 4 && (value == AS_WIRE_PONG || value == AS_WIRE_LEADER ||
                                 value == AS_WIRE_FORWARD_REFUSED))
                expected = AS_OK; /* these hold one number too */
            else if (at == 5)
                expected = AS_ERR_VERSION;
            buf.data[at] = (uint8_t)value;
            seal(&buf);
            assert_int_equal(take_copy(buf.data, buf.len), expected);
        }
        buf.data[at] = before;
    }
    as_buf_close(&buf);
}

/* What programs of version 1 send and expect: their bytes are kept beside those of today. */
static void older_layouts_are_spoken(void **state)
{
    static const enum as_wire_type changed[] = {AS_WIRE_HELLO, AS_WIRE_WELCOME, AS_WIRE_STATUS};
    struct as_buf buf, again;

    (void)state;
    as_buf_init(&buf, 1000);
    as_buf_init(&again, 1000);
    for (size_t i = 0; i < AS_COUNT_OF(changed); i++) {
        struct as_wire_msg msg = example(changed[i]), out;
        char name[40];
        size_t used;

        as_buf_clear(&buf);
        as_buf_clear(&again);
        msg.version = 1;
        as_wire_put(&buf, &msg);
        (void)snprintf(name, sizeof(name), "%s.1", as_wire_type_text(changed[i]));
        compare_with_file(name, as_buf_bytes(&buf));
        assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
        assert_int_equal(out.version, 1);
        as_wire_put(&again, &out);
        assert_same_text(as_buf_bytes(&again), as_buf_bytes(&buf));
        if (changed[i] == AS_WIRE_STATUS)
            assert_true(!out.status.audited && out.status.xmin_age == 0);
        else
            assert_int_equal(changed[i] == AS_WIRE_HELLO ? out.hello.speaks : out.welcome.speaks,
                             0);
        buf.data[AS_FRAME_VERSION_AT] = AS_WIRE_VERSION + 1; /* a layout to come */
        seal(&buf);
        assert_int_equal(take_copy(buf.data, buf.len), AS_ERR_VERSION);
    }
    as_buf_close(&buf);
    as_buf_close(&again);
}

static void texts_have_their_limits(void **state)
{
    uint8_t text[3000];
    struct as_buf buf;
    struct as_wire_msg msg, out;
    size_t used;

    (void)state;
    memset(text, 'x', sizeof(text));
    as_buf_init(&buf, 10000);
    for (size_t len = AS_CLUSTER_LEN_MAX; len <= AS_CLUSTER_LEN_MAX + 1; len++) {
        as_buf_clear(&buf);
        as_put_u64(&buf, 1);
        as_put_u64(&buf, 1);
        as_put_text8(&buf, (const char *)text, len);
        assert_int_equal(take_payload(AS_WIRE_WELCOME, as_buf_bytes(&buf)),
                         len <= AS_CLUSTER_LEN_MAX ? AS_OK : AS_ERR_MALFORMED);
        msg = example(AS_WIRE_WELCOME);
        msg.welcome.cluster = (struct as_bytes){text, len};
        as_buf_clear(&buf);
        as_wire_put(&buf, &msg);
        assert_int_equal(buf.err, len <= AS_CLUSTER_LEN_MAX ? AS_OK : AS_ERR_TOOBIG);
    }
    for (size_t len = AS_WIRE_TEXT_MAX; len <= AS_WIRE_TEXT_MAX + 1; len++) {
        as_buf_clear(&buf);
        as_put_text16(&buf, (const char *)text, len);
        assert_int_equal(take_payload(AS_WIRE_REFUSE, as_buf_bytes(&buf)),
                         len <= AS_WIRE_TEXT_MAX ? AS_OK : AS_ERR_MALFORMED);
    }
    /* A text for people never costs a message: it is cut. */
    msg = example(AS_WIRE_REFUSE);
    msg.refuse = (struct as_bytes){text, sizeof(text)};
    as_buf_clear(&buf);
    as_wire_put(&buf, &msg);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    assert_int_equal(out.refuse.len, AS_WIRE_TEXT_MAX);
    assert_memory_equal(out.refuse.data + AS_WIRE_TEXT_MAX - 4, "x...", 4);
    as_buf_close(&buf);
}

static void an_odd_sqlstate_is_left_out(void **state)
{
    struct as_wire_msg msg = example(AS_WIRE_VOTE), out;
    struct as_buf buf;
    size_t used;

    (void)state;
    as_buf_init(&buf, 1000);
    memcpy(msg.vote.sqlstate, "2350", 5);
    as_wire_put(&buf, &msg);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    assert_string_equal(out.vote.sqlstate, "");
    as_buf_close(&buf);
}

static void empty_bytes_may_be_null_or_not(void **state)
{
    struct as_wire_msg msg = example(AS_WIRE_EXECUTE), out;
    struct as_buf a, b;
    size_t used;

    (void)state;
    as_buf_init(&a, 1000);
    as_buf_init(&b, 1000);
    msg.execute.work = (struct as_bytes){NULL, 0};
    as_wire_put(&a, &msg);
    msg.execute.work = text_of("");
    as_wire_put(&b, &msg);
    assert_same_text(as_buf_bytes(&a), as_buf_bytes(&b));
    assert_int_equal(as_wire_take(as_buf_bytes(&a), &out, &used), AS_OK);
    assert_int_equal(out.execute.work.len, 0);
    as_buf_close(&a);
    as_buf_close(&b);
}

static void the_largest_frame(void **state)
{
    struct as_wire_msg msg = example(AS_WIRE_EXECUTE), out;
    const size_t head = AS_FRAME_HEADER_LEN + 22 + 4 + 11 + 4;
    uint8_t *work = calloc(1, AS_FRAME_BYTES_MAX);
    struct as_buf buf;
    size_t used;

    (void)state;
    assert_non_null(work);
    as_buf_init(&buf, 2 * AS_FRAME_BYTES_MAX);
    msg.execute.work = (struct as_bytes){work, AS_FRAME_BYTES_MAX - head};
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(buf.len, AS_FRAME_BYTES_MAX);
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    msg.execute.work.len++;
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    assert_int_equal(buf.len, AS_FRAME_BYTES_MAX); /* as before, and in error */
    assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.len, AS_FRAME_BYTES_MAX);
    /* A length over the limit is refused at its header: nobody waits for such a frame. */
    buf.data[0]++;
    assert_int_equal(take_copy(buf.data, AS_FRAME_HEADER_LEN), AS_ERR_TOOBIG);
    as_buf_close(&buf);
    free(work);
}

static void put_two(void *ctx)
{
    struct as_wire_msg msg = example(AS_WIRE_EXECUTE), out;
    static uint8_t work[2000];
    size_t used, len;
    struct as_buf buf;

    (void)ctx;
    as_buf_init(&buf, 10000);
    as_wire_put(&buf, &msg);
    assert_int_equal(buf.err, test_allocation_failed() ? AS_ERR_NOMEM : AS_OK);
    len = buf.len;
    assert_int_equal(len == 0, buf.err != AS_OK);
    msg.execute.work = (struct as_bytes){work, sizeof(work)};
    as_wire_put(&buf, &msg);
    if (buf.err)
        assert_int_equal(buf.len, len);
    if (len > 0)
        assert_int_equal(as_wire_take(as_buf_bytes(&buf), &out, &used), AS_OK);
    as_buf_close(&buf);
}

static void no_memory_leaves_whole_frames(void **state)
{
    (void)state;
    test_fail_each_allocation(put_two, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vote_field_by_field),
        cmocka_unit_test(a_participant_field_by_field),
        cmocka_unit_test(every_message_comes_back_and_keeps_its_bytes),
        cmocka_unit_test(older_layouts_are_spoken),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(a_stream_may_be_cut_anywhere),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(a_right_checksum_proves_no_good_will),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(a_gid_is_one),
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(nodes_are_whole),
        cmocka_unit_test(the_header_has_one_form),
        cmocka_unit_test(texts_have_their_limits),
        cmocka_unit_test(an_odd_sqlstate_is_left_out),
        cmocka_unit_test(empty_bytes_may_be_null_or_not),
        cmocka_unit_test(the_largest_frame),
        cmocka_unit_test(no_memory_leaves_whole_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
