/*
 * The node behind a fake env: a disk in memory whose operations end when the test says so, agents
 * that are scripted frames, a clock that the test moves.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/env.h"
#include "assent/work.h"
#include "coordinator/node/node.h"

#define FILES_MAX 16
#define OPS_MAX 64
#define FRAMES_MAX 256
#define AGENT_A 11
#define AGENT_B 13

struct file {
    char name[AS_FILE_NAME_MAX + 1];
    uint8_t *data;
    size_t len;
};

struct frame {
    uint64_t connection;
    enum as_wire_type type;
    struct as_wire_branch branch;
    uint64_t xid;
    uint64_t term;
    uint64_t ticket;
    uint8_t version;
    char refusal[100];
};

/* The world of one node. */
static struct {
    struct file files[FILES_MAX];
    struct as_disk_op ops[OPS_MAX];
    int op_count;
    as_err disk_err; /* what every operation ends with */
    bool disk_full;  /* no new file can be made */
    struct frame frames[FRAMES_MAX];
    int frame_count;
    uint64_t closed[16];
    int closed_count;
    int replies;
    bool refused;
    enum as_refusal refusal;
    enum as_txn_state state;
    bool applied;
    bool resolved;
    struct as_prepared_view prepared;
    as_time now;
    as_time timer_at;
    bool fatal;
    uint64_t snapshot_written; /* the last one's index */
    struct as_buf scratch;
} world;

/* --- The disk --- */

static struct file *file_of(const char *name, bool make)
{
    struct file *spare = NULL;

    for (int i = 0; i < FILES_MAX; i++) {
        if (world.files[i].data && strcmp(world.files[i].name, name) == 0)
            return &world.files[i];
        if (!world.files[i].data && !spare)
            spare = &world.files[i];
    }
    if (!make)
        return NULL;
    assert_non_null(spare);
    snprintf(spare->name, sizeof(spare->name), "%s", name);
    spare->data = calloc(1, 1);
    spare->len = 0;
    return spare;
}

static as_err disk_write(void *ctx, const char *name, uint64_t offset, struct as_bytes bytes)
{
    struct file *file = file_of(name, true);

    (void)ctx;
    if (offset + bytes.len > file->len) {
        file->data = realloc(file->data, offset + bytes.len + 1);
        memset(file->data + file->len, 0, offset + bytes.len - file->len);
        file->len = offset + bytes.len;
    }
    memcpy(file->data + offset, bytes.data, bytes.len);
    return AS_OK;
}

static as_err disk_create(void *ctx, const char *name, uint64_t size)
{
    struct file *file = file_of(name, true);

    (void)ctx;
    free(file->data);
    file->data = calloc(1, size + 1);
    file->len = size;
    return AS_OK;
}

static as_err disk_remove(void *ctx, const char *name)
{
    struct file *file = file_of(name, false);

    (void)ctx;
    if (file) {
        free(file->data);
        file->data = NULL;
    }
    return AS_OK;
}

static as_err disk_rename(void *ctx, const char *name, const char *to)
{
    struct file *file = file_of(name, false);

    if (!file)
        return AS_ERR_NOTFOUND;
    assert_int_equal(disk_remove(ctx, to), AS_OK);
    snprintf(file->name, sizeof(file->name), "%s", to);
    return AS_OK;
}

static as_err disk_list(void *ctx, void (*each)(void *, const char *, uint64_t), void *each_ctx)
{
    (void)ctx;
    for (int i = 0; i < FILES_MAX; i++)
        if (world.files[i].data)
            each(each_ctx, world.files[i].name, world.files[i].len);
    return AS_OK;
}

static as_err disk_read(void *ctx, const char *name, uint64_t offset, void *ret_data, size_t len,
                        size_t *ret_len)
{
    const struct file *file = file_of(name, false);

    (void)ctx;
    if (!file)
        return AS_ERR_NOTFOUND;
    *ret_len = offset >= file->len ? 0 : len < file->len - offset ? len : file->len - offset;
    memcpy(ret_data, file->data + offset, *ret_len);
    return AS_OK;
}

static const struct as_disk disk = {NULL,        disk_list,   disk_read,  disk_write,
                                    disk_create, disk_rename, disk_remove};

static as_err carry_out(const struct as_disk_op *op)
{
    switch (op->kind) {
    case AS_DISK_WRITE:
    case AS_DISK_APPEND:
        return disk_write(NULL, op->name, op->offset, op->bytes);
    case AS_DISK_CREATE:
        return disk_create(NULL, op->name, op->size);
    case AS_DISK_RENAME:
        return disk_rename(NULL, op->name, op->to);
    case AS_DISK_REMOVE:
        return disk_remove(NULL, op->name);
    case AS_DISK_SYNC:
        return AS_OK;
    case AS_DISK_READ: {
        size_t len = 0;
        as_err err = disk_read(NULL, op->name, op->offset, op->into, (size_t)op->size, &len);

        return err ? err : len == op->size ? AS_OK : AS_ERR_IO;
    }
    }
    return AS_ERR_INVALID;
}

/* --- The env --- */

static as_time env_now(struct as_env *env)
{
    (void)env;
    return world.now;
}

static int64_t env_wall(struct as_env *env)
{
    (void)env;
    return 1700000000000 + world.now / AS_MS;
}

static uint64_t env_random(struct as_env *env)
{
    (void)env;
    return 42;
}

static void env_timer(struct as_env *env, as_time at)
{
    (void)env;
    world.timer_at = at;
}

static void env_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    struct as_wire_msg msg;
    size_t used;

    (void)env;
    while (bytes.len > 0) {
        struct frame *frame = &world.frames[world.frame_count++];

        assert_true(world.frame_count <= FRAMES_MAX);
        assert_int_equal(as_wire_take(bytes, &msg, &used), AS_OK);
        *frame = (struct frame){.connection = connection, .type = msg.type};
        frame->version = msg.version;
        if (msg.type == AS_WIRE_REFUSE)
            (void)snprintf(frame->refusal, sizeof(frame->refusal), "%.*s", (int)msg.refuse.len,
                           (const char *)msg.refuse.data);
        if (msg.type == AS_WIRE_EXECUTE)
            frame->branch = msg.execute.branch;
        else if (msg.type == AS_WIRE_COMMIT || msg.type == AS_WIRE_ABORT) {
            frame->branch = msg.decision.branch;
            frame->xid = msg.decision.xid;
        } else if (msg.type == AS_WIRE_LEADER) {
            frame->term = msg.term;
        } else if (msg.type == AS_WIRE_LIST) {
            frame->ticket = msg.list.ticket;
        } else if (msg.type == AS_WIRE_RESOLVE) {
            frame->ticket = msg.resolve.ticket;
            frame->xid = msg.resolve.xid;
        }
        bytes.data += used;
        bytes.len -= used;
    }
}

static void env_close(struct as_env *env, uint64_t connection)
{
    (void)env;
    assert_true(world.closed_count < 16);
    world.closed[world.closed_count++] = connection;
}

static void env_disk(struct as_env *env, const struct as_disk_op *op)
{
    (void)env;
    assert_true(world.op_count < OPS_MAX);
    world.ops[world.op_count++] = *op;
}

static void env_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    (void)env;
    (void)client;
    world.replies++;
    world.refused = reply->refused;
    world.refusal = reply->refusal;
    if (reply->view) {
        world.state = reply->view->state;
        world.applied = reply->view->applied;
    }
    if (reply->prepared)
        world.prepared = reply->prepared->rows[0];
    world.resolved = reply->resolved != NULL;
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    (void)env;
    if (trace->kind == AS_TRACE_SNAPSHOT_WRITTEN)
        world.snapshot_written = trace->number;
}

static void env_fatal(struct as_env *env, const char *why)
{
    (void)env;
    (void)why;
    world.fatal = true;
}

static const struct as_env_ops env_ops = {
    .now = env_now,
    .wall_ms = env_wall,
    .random = env_random,
    .timer_arm = env_timer,
    .net_send = env_send,
    .net_close = env_close,
    .disk_start = env_disk,
    .client_reply = env_reply,
    .trace = env_trace,
    .fatal = env_fatal,
};

/* --- Driving it --- */

static void op_done(struct node *node, int at)
{
    struct as_disk_op op = world.ops[at];
    as_err err = world.disk_err;

    assert_true(at < world.op_count);
    if (world.disk_full && op.kind == AS_DISK_CREATE)
        err = AS_ERR_NOSPACE;
    if (!err)
        err = carry_out(&op);
    world.op_count--;
    memmove(world.ops + at, world.ops + at + 1,
            (size_t)(world.op_count - at) * sizeof(world.ops[0]));
    node_on_disk_done(node, op.ticket, err);
    node_turn_end(node);
}

/* Ends the oldest disk operation under way. */
static void disk_done(struct node *node)
{
    op_done(node, 0);
}

static void disk_settle(struct node *node)
{
    while (world.op_count > 0)
        disk_done(node);
}

/* Moves the clock, firing the node's timer each time it is due. */
static void advance(struct node *node, as_time by)
{
    as_time until = world.now + by;

    while (world.timer_at <= until) {
        if (world.timer_at > world.now)
            world.now = world.timer_at;
        world.timer_at = AS_NEVER;
        node_on_timer(node);
        node_turn_end(node);
        disk_settle(node);
    }
    world.now = until;
}

static void agent_says(struct node *node, uint64_t connection, const struct as_wire_msg *msg)
{
    as_buf_clear(&world.scratch);
    as_wire_put(&world.scratch, msg);
    assert_int_equal(world.scratch.err, AS_OK);
    node_on_bytes(node, connection, as_buf_bytes(&world.scratch));
    node_turn_end(node);
}

static struct as_bytes text(const char *chars)
{
    return (struct as_bytes){(const uint8_t *)chars, strlen(chars)};
}

static void agent_joins(struct node *node, uint64_t connection, const char *participant)
{
    struct as_wire_msg hello = {
        .type = AS_WIRE_HELLO,
        .hello = {.agent_id = connection, .cluster = text("demo"), .name = text("test")}};
    struct as_wire_msg facts = {
        .type = AS_WIRE_PARTICIPANT,
        .participant = {.up = true,
                        .name = text(participant),
                        .identity = {{1}},
                        .counter = 1,
                        .system_id = 5,
                        .timeline = 1,
                        .server_version = 150018,
                        .prepared_max = 100,
                        .connections = 4},
    };

    node_on_accepted(node, connection, "test");
    agent_says(node, connection, &hello);
    agent_says(node, connection, &facts);
    disk_settle(node);
}

static struct node_config config_of(void)
{
    struct node_config config = {
        .log = {.cluster = "demo", .incarnation = 77, .node = 1, .segment_bytes = 1 << 20}};

    return config;
}

static struct node *start(void)
{
    struct node_config config = config_of();
    struct log_report report;
    struct node *node;

    config.log.incarnation = 0;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    disk_settle(node);
    return node;
}

/* A crash: what the disk holds stays, everything else is gone. */
static struct node *crash_and_start(struct node *node)
{
    node_free(node);
    world.op_count = world.frame_count = world.closed_count = 0;
    world.timer_at = AS_NEVER;
    return start();
}

static int setup(void **state)
{
    struct node_config config = config_of();

    (void)state;
    memset(&world, 0, sizeof(world));
    world.timer_at = AS_NEVER;
    world.now = AS_SECOND;
    as_buf_init(&world.scratch, AS_FRAME_BYTES_MAX);
    assert_int_equal(log_bootstrap(&config.log, &disk), AS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < FILES_MAX; i++)
        free(world.files[i].data);
    as_buf_close(&world.scratch);
    return 0;
}

static int count_frames(enum as_wire_type type)
{
    int count = 0;

    for (int i = 0; i < world.frame_count; i++)
        count += world.frames[i].type == type;
    return count;
}

static const struct frame *last_frame(enum as_wire_type type)
{
    for (int i = world.frame_count; i-- > 0;)
        if (world.frames[i].type == type)
            return &world.frames[i];
    fail_msg("no %s was sent", as_wire_type_text(type));
    return NULL;
}

static void submit(struct node *node, const char *id)
{
    static const uint8_t work[] = {0};
    struct as_submit_branch branches[2] = {
        {.participant = text("bank_a"), .work = {work, sizeof(work)}},
        {.participant = text("bank_b"), .work = {work, sizeof(work)}}};
    struct as_submit request = {
        .timeout_ms = 30000, .wait = AS_WAIT_APPLIED, .branch_count = 2, .branches = branches};

    snprintf(request.id, sizeof(request.id), "%s", id);
    world.replies = 0;
    node_submit(node, 1, &request);
    node_turn_end(node);
}

static void answer_all(struct node *node, enum as_wire_type asked)
{
    int count = world.frame_count;

    for (int i = 0; i < count; i++) {
        struct frame frame = world.frames[i];
        struct as_wire_msg msg;

        if (frame.type != asked)
            continue;
        if (asked == AS_WIRE_EXECUTE)
            msg = (struct as_wire_msg){.type = AS_WIRE_VOTE,
                                       .vote = {.branch = frame.branch,
                                                .vote = AS_VOTE_YES,
                                                .xid = 700 + frame.branch.number,
                                                .identity = {{1}},
                                                .statement = -1}};
        else
            msg = (struct as_wire_msg){.type = AS_WIRE_ACK,
                                       .ack = {.branch = frame.branch, .ack = AS_ACK_COMMITTED}};
        agent_says(node, frame.connection, &msg);
    }
}

/* --- Tests --- */

static void leads_only_when_its_noop_is_durable(void **state)
{
    struct node_config config = config_of();
    struct log_report report;
    struct node_info info;
    struct node *node;

    (void)state;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    node_info(node, &info);
    assert_false(info.leading);
    submit(node, "too-early");
    assert_true(world.refused);
    assert_int_equal(world.refusal, AS_REFUSAL_NO_LEADER);
    disk_settle(node);
    node_info(node, &info);
    assert_true(info.leading);
    assert_int_equal(info.term, 1);
    node = crash_and_start(node);
    node_info(node, &info);
    assert_int_equal(info.term, 2);
    node_free(node);
}

/* R1: no commit message and no answer leaves before the record is durable and applied. */
static void commits_only_what_is_durable(void **state)
{
    struct node *node = start();

    (void)state;
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    submit(node, "t1");
    assert_int_equal(count_frames(AS_WIRE_EXECUTE), 2);
    answer_all(node, AS_WIRE_EXECUTE);
    assert_true(world.op_count > 0); /* the write is under way */
    assert_int_equal(count_frames(AS_WIRE_COMMIT), 0);
    assert_int_equal(world.replies, 0);
    disk_settle(node);
    assert_int_equal(count_frames(AS_WIRE_COMMIT), 2);
    assert_int_equal(world.replies, 0);
    answer_all(node, AS_WIRE_COMMIT);
    assert_int_equal(world.replies, 1);
    assert_int_equal(world.state, AS_TXN_COMMITTED);
    assert_true(world.applied);
    node_free(node);
}

static void a_failed_write_ends_it(void **state)
{
    struct node *node = start();

    (void)state;
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    submit(node, "t1");
    answer_all(node, AS_WIRE_EXECUTE);
    world.disk_err = AS_ERR_IO;
    disk_done(node);
    assert_true(world.fatal);
    assert_int_equal(count_frames(AS_WIRE_COMMIT), 0);
    assert_int_equal(world.replies, 0);
    /* Nothing that comes later makes it go on. */
    agent_says(node, AGENT_A, &(struct as_wire_msg){.type = AS_WIRE_PING});
    submit(node, "t2");
    node_free(node);
}

/* R8: a decision outlives the leader; the next one commands the agents by itself, with what proves
 * the outcome. */
static void the_next_start_finishes_what_was_decided(void **state)
{
    struct node *node = start();

    (void)state;
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    submit(node, "t1");
    answer_all(node, AS_WIRE_EXECUTE);
    disk_settle(node);
    node = crash_and_start(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    advance(node, AS_MS);
    assert_int_equal(count_frames(AS_WIRE_COMMIT), 2);
    for (int i = 0; i < world.frame_count; i++)
        if (world.frames[i].type == AS_WIRE_COMMIT)
            assert_int_equal(world.frames[i].xid, 700 + world.frames[i].branch.number);
    node_free(node);
}

/* R3: what was undecided when the leader died is answered abort by the next one. */
static void the_next_start_aborts_what_was_not_decided(void **state)
{
    struct node *node = start();
    struct as_wire_branch branch = {0, 1, {1, 1}};

    (void)state;
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    submit(node, "t1");
    node = crash_and_start(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_says(node, AGENT_A,
               &(struct as_wire_msg){.type = AS_WIRE_INQUIRE,
                                     .inquire = {.branch = branch, .id = text("t1")}});
    assert_int_equal(count_frames(AS_WIRE_ABORT), 1);
    node_free(node);
}

static void bad_bytes_end_the_session_only(void **state)
{
    static const uint8_t garbage[64] = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3};
    struct node *node = start();

    (void)state;
    node_on_accepted(node, AGENT_A, "test");
    node_on_bytes(node, AGENT_A, (struct as_bytes){garbage, sizeof(garbage)});
    assert_int_equal(world.closed_count, 1);
    node_on_accepted(node, AGENT_B, "test");
    agent_says(node, AGENT_B,
               &(struct as_wire_msg){.type = AS_WIRE_PING}); /* HELLO must be first */
    assert_int_equal(world.closed_count, 2);
    agent_joins(node, AGENT_A + 10, "bank_a");
    assert_int_equal(count_frames(AS_WIRE_WELCOME), 1);
    assert_int_equal(count_frames(AS_WIRE_LEADER), 1);
    node_free(node);
}

static void an_agent_of_another_cluster_is_refused(void **state)
{
    struct node *node = start();
    struct as_wire_msg hello = {.type = AS_WIRE_HELLO, .hello = {.cluster = text("other")}};

    (void)state;
    node_on_accepted(node, AGENT_A, "test");
    agent_says(node, AGENT_A, &hello);
    assert_int_equal(count_frames(AS_WIRE_REFUSE), 1);
    assert_int_equal(world.closed_count, 1);
    node_on_accepted(node, AGENT_B, "test");
    hello.hello.cluster = text("demo");
    hello.hello.incarnation = 78; /* of a cluster of that name that was wiped and rebuilt */
    agent_says(node, AGENT_B, &hello);
    assert_int_equal(count_frames(AS_WIRE_REFUSE), 2);
    node_free(node);
}

/* An agent of version 1 is welcomed in that; one of a version to come is told so, in words that it knows. */
static void versions_are_negotiated(void **state)
{
    struct as_wire_msg hello = {.type = AS_WIRE_HELLO, .version = 1};
    struct node *node = start();

    (void)state;
    hello.hello.cluster = text("demo");
    node_on_accepted(node, AGENT_A, "test");
    agent_says(node, AGENT_A, &hello);
    assert_int_equal(count_frames(AS_WIRE_WELCOME), 1);
    assert_int_equal(last_frame(AS_WIRE_WELCOME)->version, 1);
    hello.version = 0;
    node_on_accepted(node, AGENT_B, "test");
    agent_says(node, AGENT_B, &hello);
    assert_int_equal(last_frame(AS_WIRE_WELCOME)->version, AS_WIRE_VERSION);

    as_buf_clear(&world.scratch);
    as_wire_put(&world.scratch, &hello);
    world.scratch.data[AS_FRAME_VERSION_AT] = 9;
    node_on_accepted(node, AGENT_B + 1, "test");
    node_on_bytes(node, AGENT_B + 1, as_buf_bytes(&world.scratch));
    assert_int_equal(count_frames(AS_WIRE_REFUSE), 1);
    assert_string_equal(last_frame(AS_WIRE_REFUSE)->refusal,
                        "written by an unsupported format version (9; this program speaks 1 to 2)");
    assert_int_equal(world.closed[world.closed_count - 1], AGENT_B + 1);
    node_free(node);
}

/* Frames may come in any pieces. */
static void frames_split_anywhere(void **state)
{
    struct as_wire_msg hello = {.type = AS_WIRE_HELLO, .hello = {.cluster = text("demo")}};
    struct node *node = start();

    (void)state;
    as_buf_clear(&world.scratch);
    as_wire_put(&world.scratch, &hello);
    as_wire_put(&world.scratch, &(struct as_wire_msg){.type = AS_WIRE_PING, .ping = 9});
    node_on_accepted(node, AGENT_A, "test");
    for (size_t i = 0; i < world.scratch.len; i++)
        node_on_bytes(node, AGENT_A, (struct as_bytes){world.scratch.data + i, 1});
    assert_int_equal(count_frames(AS_WIRE_WELCOME), 1);
    assert_int_equal(count_frames(AS_WIRE_PONG), 1);
    assert_int_equal(world.closed_count, 0);
    node_free(node);
}

static void a_silent_session_is_pinged_then_closed(void **state)
{
    struct node *node = start();

    (void)state;
    agent_joins(node, AGENT_A, "bank_a");
    advance(node, 3 * AS_SECOND);
    assert_true(count_frames(AS_WIRE_PING) >= 2);
    assert_int_equal(world.closed_count, 0);
    advance(node, 10 * AS_SECOND);
    assert_int_equal(world.closed_count, 1);
    assert_int_equal(world.closed[0], AGENT_A);
    node_free(node);
}

static void draining_takes_no_new_work(void **state)
{
    struct node *node = start();

    (void)state;
    assert_true(node_drain(node));
    submit(node, "t1");
    assert_true(world.refused);
    assert_int_equal(world.refusal, AS_REFUSAL_SHUTTING_DOWN);
    node_free(node);
}

/* A snapshot is taken while transactions go on, and the next start reads it. */
static void snapshots_shorten_the_log(void **state)
{
    struct node_config config = config_of();
    struct log_report report;
    struct node_info info;
    struct node *node;
    char id[32];

    (void)state;
    config.log.segment_bytes = 64 << 10;
    config.snapshot_bytes = 32 << 10;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    disk_settle(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof(id), "s-%d", i);
        world.frame_count = 0;
        submit(node, id);
        answer_all(node, AS_WIRE_EXECUTE);
        disk_settle(node);
        answer_all(node, AS_WIRE_COMMIT);
        assert_int_equal(world.replies, 1);
    }
    advance(node, AS_SECOND);
    node_free(node);
    world.frame_count = 0;
    config.log.incarnation = 0;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    assert_true(report.snapshot_index > 0);
    assert_true(report.segments <= 4);
    node_start(node);
    disk_settle(node);
    node_get(node, 5, "s-0", 0, NODE_READ_LINEARIZABLE, 0);
    assert_false(world.refused);
    assert_int_equal(world.state, AS_TXN_COMMITTED);
    assert_true(world.applied);
    node_info(node, &info);
    assert_true(info.applied_index > 600);
    node_free(node);
}

static int rename_under_way(void)
{
    int at = 0;

    while (at < world.op_count && world.ops[at].kind != AS_DISK_RENAME)
        at++;
    return at < world.op_count ? at : -1;
}

static void disk_settle_but_renames(struct node *node)
{
    for (int at = 0; at < world.op_count;) {
        if (world.ops[at].kind == AS_DISK_RENAME) {
            at++;
        } else {
            op_done(node, at);
            at = 0;
        }
    }
}

/* The log is at the last steps of one when the next is due, and refuses that. Raft must hear of the first one all the
 * same, or it goes on to send an older one, which is gone. */
static void a_snapshot_done_while_the_next_is_asked_for_is_told(void **state)
{
    struct node_config config = config_of();
    struct log_report report;
    struct node_info info;
    struct node *node;

    (void)state;
    config.log.segment_bytes = 64 << 10;
    config.snapshot_bytes = 32 << 10;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    disk_settle(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    for (int i = 0, after = 0; after < 3; i++) {
        char id[32];

        snprintf(id, sizeof(id), "s-%d", i);
        world.frame_count = 0;
        submit(node, id);
        answer_all(node, AS_WIRE_EXECUTE);
        disk_settle_but_renames(node);
        answer_all(node, AS_WIRE_COMMIT);
        disk_settle_but_renames(node);
        assert_in_range(i, 0, 2000);
        if (rename_under_way() >= 0) {
            world.now += AS_SECOND; /* it is asked for again after a while, with more applied */
            after++;
        }
    }
    node_info(node, &info);
    assert_int_equal(info.snapshot_index, 0);
    disk_settle(node);
    assert_true(world.snapshot_written > 0);
    node_info(node, &info);
    assert_int_equal(info.snapshot_index, world.snapshot_written);
    node_free(node);
}

/* Each costs as much as the table holds, which here is nearly all that was ever logged. */
static void snapshots_get_rarer_as_the_table_grows(void **state)
{
    struct node_config config = config_of();
    struct node_metrics metrics;
    struct log_report report;
    struct node *node;
    char id[32];

    (void)state;
    config.snapshot_bytes = 4 << 10;
    config.ping_ms = 3600000;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    disk_settle(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof(id), "s-%d", i);
        world.frame_count = 0;
        submit(node, id);
        answer_all(node, AS_WIRE_EXECUTE);
        disk_settle(node);
        answer_all(node, AS_WIRE_COMMIT);
        advance(node, AS_SECOND);
    }
    node_metrics(node, &metrics);
    assert_true(metrics.log.bytes > 100 << 10);
    assert_in_range(metrics.log.snapshots, 3, 12);
    node_free(node);
}

/* One transfer with everything that follows; false: it was refused. */
static bool transfer(struct node *node, int number)
{
    char id[32];

    snprintf(id, sizeof(id), "f-%d", number);
    world.frame_count = 0;
    submit(node, id);
    answer_all(node, AS_WIRE_EXECUTE);
    disk_settle(node);
    answer_all(node, AS_WIRE_COMMIT);
    assert_int_equal(world.replies, 1);
    return !world.refused;
}

static struct as_gid gid_of(const char *gid)
{
    struct as_gid parsed;

    assert_int_equal(as_gid_parse(gid, strlen(gid), &parsed), AS_OK);
    return parsed;
}

/* The agent lists one row for the last LIST. */
static void answer_list(struct node *node, struct as_gid gid)
{
    uint8_t memory[300];
    struct as_buf rows = {.data = memory, .cap = sizeof(memory), .max = sizeof(memory)};
    const struct frame *frame = &world.frames[world.frame_count - 1];
    char name[AS_GID_LEN_MAX + 1];
    struct as_wire_prepared row = {.xid = 900, .age_ms = 5000, .waits = true};

    assert_int_equal(frame->type, AS_WIRE_LIST);
    row.gid = (struct as_bytes){(const uint8_t *)name, as_gid_format(&gid, name)};
    as_wire_prepared_put(&rows, &row);
    agent_says(node, frame->connection,
               &(struct as_wire_msg){.type = AS_WIRE_LISTED,
                                     .listed = {.ticket = frame->ticket,
                                                .asked = AS_ASKED_DONE,
                                                .total = 1,
                                                .rows = as_buf_bytes(&rows)}});
}

static void resolve(struct node *node, struct as_gid gid, bool other)
{
    struct as_resolve resolve = {.participant = "bank_a",
                                 .gid = gid,
                                 .other_incarnation = other,
                                 .who = text("ann"),
                                 .why = text("ticket 812")};

    world.replies = 0;
    world.refused = false;
    node_resolve(node, 1, &resolve);
    node_turn_end(node);
}

/* A full disk refuses new work, keeps what it has, and goes on by itself. */
static void a_full_disk_refuses_new_work(void **state)
{
    struct node_config config = config_of();
    struct log_report report;
    struct node_info info;
    struct node *node;
    int number = 0;

    (void)state;
    config.log.segment_bytes = 64 << 10;
    assert_int_equal(node_open(&node, &config, &disk, NULL, &env_ops, &report), AS_OK);
    node_start(node);
    disk_settle(node);
    agent_joins(node, AGENT_A, "bank_a");
    agent_joins(node, AGENT_B, "bank_b");
    world.disk_full = true;
    while (transfer(node, number))
        assert_true(++number < 10000);
    assert_int_equal(world.refusal, AS_REFUSAL_DISK_FULL);
    /* The branches that had prepared for it are told to abort (R4). */
    assert_int_equal(count_frames(AS_WIRE_ABORT), 2);
    assert_int_equal(count_frames(AS_WIRE_COMMIT), 0);
    node_info(node, &info);
    assert_true(info.disk_full);
    resolve(node, gid_of("assent/demo/000000000000004e/1.1/1/t1"), true);
    assert_int_equal(world.refusal, AS_REFUSAL_DISK_FULL);
    advance(node, 5 * AS_SECOND);
    agent_says(node, AGENT_A, &(struct as_wire_msg){.type = AS_WIRE_PING});
    agent_says(node, AGENT_B, &(struct as_wire_msg){.type = AS_WIRE_PING});
    assert_false(transfer(node, number + 1));

    world.disk_full = false;
    advance(node, 2 * AS_SECOND);
    assert_true(transfer(node, number + 2));
    node_info(node, &info);
    assert_false(info.disk_full);
    assert_false(world.fatal);
    node_free(node);
}

/* R6: who decides and why is durable before the agent is told; what the node can answer for it
 * refuses. */
static void an_operator_finishes_what_nobody_can_answer_for(void **state)
{
    const struct as_gid ours = gid_of("assent/demo/000000000000004d/1.1/1/t1");
    const struct as_gid other = gid_of("assent/demo/000000000000004e/1.1/1/t1");
    struct node_metrics metrics;
    struct node *node = start();
    const struct frame *frame;

    (void)state;
    node = crash_and_start(node); /* term 2: what is of term 1 is aborted */
    agent_joins(node, AGENT_A, "bank_a");
    node_prepared(node, 1, "bank_a");
    answer_list(node, other);
    assert_int_equal(world.replies, 1);
    assert_int_equal(world.prepared.state, AS_PREPARED_OTHER_INCARNATION);
    node_prepared(node, 1, "bank_a");
    answer_list(node, ours);
    assert_int_equal(world.replies, 2);
    assert_int_equal(world.prepared.state, AS_PREPARED_IN_DOUBT);
    assert_int_equal(world.prepared.verdict, AS_VERDICT_ABORT);

    resolve(node, ours, true);
    assert_int_equal(world.refusal, AS_REFUSAL_DECIDED_ABORT);
    resolve(node, gid_of("assent/other/000000000000004e/1.1/1/t1"), true);
    assert_int_equal(world.refusal, AS_REFUSAL_FOREIGN_GID);
    resolve(node, other, false);
    assert_int_equal(world.refusal, AS_REFUSAL_OTHER_INCARNATION);

    resolve(node, other, true);
    assert_int_equal(world.replies, 0);
    answer_list(node, other);
    assert_true(world.op_count > 0); /* the write is under way */
    assert_int_equal(count_frames(AS_WIRE_RESOLVE), 0);
    disk_settle(node);
    assert_int_equal(count_frames(AS_WIRE_RESOLVE), 1);
    frame = &world.frames[world.frame_count - 1];
    assert_int_equal(frame->xid, 900);
    assert_int_equal(world.replies, 0);
    agent_says(
        node, AGENT_A,
        &(struct as_wire_msg){.type = AS_WIRE_RESOLVED,
                              .resolved = {.ticket = frame->ticket, .asked = AS_ASKED_DONE}});
    assert_int_equal(world.replies, 1);
    assert_true(world.resolved && !world.refused);
    node_metrics(node, &metrics);
    assert_int_equal(metrics.txn.resolved_abort, 1);
    assert_int_equal(metrics.txn.resolved_commit, 0);

    /* A session that ends is no answer, and the log that holds a RESOLVE opens again. */
    resolve(node, other, true);
    node_on_closed(node, AGENT_A, AS_OK);
    node_turn_end(node);
    assert_int_equal(world.replies, 1);
    assert_int_equal(world.refusal, AS_REFUSAL_PARTICIPANT_DOWN);
    node = crash_and_start(node);
    assert_false(world.fatal);
    (void)node_drain(node);
    resolve(node, other, true);
    assert_int_equal(world.refusal, AS_REFUSAL_SHUTTING_DOWN);
    node_free(node);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(leads_only_when_its_noop_is_durable),
        TEST(commits_only_what_is_durable),
        TEST(a_failed_write_ends_it),
        TEST(the_next_start_finishes_what_was_decided),
        TEST(the_next_start_aborts_what_was_not_decided),
        TEST(bad_bytes_end_the_session_only),
        TEST(an_agent_of_another_cluster_is_refused),
        TEST(versions_are_negotiated),
        TEST(frames_split_anywhere),
        TEST(a_silent_session_is_pinged_then_closed),
        TEST(draining_takes_no_new_work),
        TEST(snapshots_shorten_the_log),
        TEST(snapshots_get_rarer_as_the_table_grows),
        TEST(a_snapshot_done_while_the_next_is_asked_for_is_told),
        TEST(a_full_disk_refuses_new_work),
        TEST(an_operator_finishes_what_nobody_can_answer_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
