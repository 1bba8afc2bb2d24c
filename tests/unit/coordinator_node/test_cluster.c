/*
 * Several nodes in one process: connections are queues, disks are in memory, the clock moves when
 * nothing is left to do. Agents are scripted: they vote yes and acknowledge.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/fake_disk.h"
#include "assent/env.h"
#include "coordinator/node/node.h"
#include "coordinator/txn/txn.h"

#define NODES_MAX 4
#define PIPES_MAX 256
#define LETTERS_MAX 4096
#define CLIENT 9

struct as_env {
    uint32_t number; /* of the node, from 1 */
    struct node *node;
    struct fake_disk disk;
    as_time timer_at;
    uint64_t accepted_last;
    bool born;              /* its log has been made */
    bool cut;               /* nothing gets in or out */
    uint32_t leaders_heard; /* LEADER frames to its agent */
    uint32_t nodes_named;   /* in the last NODES frame to its agent */
    uint32_t commits_sent, executes_sent;
    uint32_t executes_lost; /* sent to the one that stands still */
    bool agent;             /* one is connected */
    bool silent;            /* it does not vote */
    int replies;
    bool refused;
    enum as_refusal refusal;
    enum as_txn_state state;
    char forwarded[64];
    uint64_t forward;
    char answer[64];
    as_err answer_err;
    int answers, answers_busy;
};

/* A connection between two nodes. */
struct pipe {
    struct as_env *end[2];
    uint64_t number[2];
};

enum letter_kind { LETTER_CONNECT, LETTER_BYTES, LETTER_CLOSED };
struct letter {
    enum letter_kind kind;
    struct pipe *pipe;
    int to; /* which end */
    uint8_t *bytes;
    size_t len;
};

static struct {
    struct as_env nodes[NODES_MAX];
    struct pipe pipes[PIPES_MAX];
    uint32_t pipe_count;
    struct letter letters[LETTERS_MAX];
    uint32_t letter_first, letter_last;
    struct as_buf scratch;
    as_time now;
    uint64_t random;
} world;

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
    return world.random = world.random * 6364136223846793005u + 1442695040888963407u;
}

static void env_timer(struct as_env *env, as_time at)
{
    env->timer_at = at;
}

static void post(enum letter_kind kind, struct pipe *pipe, int to, struct as_bytes bytes)
{
    struct letter *letter = &world.letters[world.letter_last++ % LETTERS_MAX];

    assert_true(world.letter_last - world.letter_first < LETTERS_MAX);
    *letter = (struct letter){.kind = kind, .pipe = pipe, .to = to, .len = bytes.len};
    letter->bytes = malloc(bytes.len + 1);
    if (bytes.len > 0)
        memcpy(letter->bytes, bytes.data, bytes.len);
}

static struct pipe *pipe_of(const struct as_env *env, uint64_t connection, int *ret_end)
{
    for (uint32_t i = 0; i < world.pipe_count; i++)
        for (*ret_end = 0; *ret_end < 2; ++*ret_end)
            if (world.pipes[i].end[*ret_end] == env &&
                world.pipes[i].number[*ret_end] == connection)
                return &world.pipes[i];
    return NULL;
}

static const struct as_bytes no_bytes;

static void env_dial(struct as_env *env, uint64_t connection, const char *address)
{
    struct pipe *pipe = &world.pipes[world.pipe_count++];
    unsigned number;

    assert_true(world.pipe_count < PIPES_MAX);
    assert_int_equal(sscanf(address, "node-%u", &number), 1);
    pipe->end[0] = env;
    pipe->number[0] = connection;
    pipe->end[1] = &world.nodes[number - 1];
    pipe->number[1] = pipe->end[1]->accepted_last += 2;
    post(LETTER_CONNECT, pipe, 1, no_bytes);
}

/* The agent of a node: a connection that no other node has; and one that joins later, and falls silent. */
#define AGENT 1
#define STANDS_STILL 3
#define FORWARDS_MAX 8192 /* as in cluster.c */
#define FORWARDS_OF_ONE 4100

static void agent_hears(struct as_env *env, struct as_bytes bytes);
static void nobody_hears(struct as_env *env, struct as_bytes bytes);

static void env_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    int end;
    struct pipe *pipe;

    if (connection == AGENT) {
        agent_hears(env, bytes);
        return;
    }
    if (connection == STANDS_STILL) {
        nobody_hears(env, bytes);
        return;
    }
    pipe = pipe_of(env, connection, &end);
    assert_non_null(pipe);
    post(LETTER_BYTES, pipe, !end, bytes);
}

static void env_close(struct as_env *env, uint64_t connection)
{
    int end;
    struct pipe *pipe = pipe_of(env, connection, &end);

    if (!pipe)
        return;
    pipe->number[end] = 0;
    post(LETTER_CLOSED, pipe, !end, no_bytes);
}

static void env_disk(struct as_env *env, const struct as_disk_op *op)
{
    fake_start(&env->disk, op);
}

static void env_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    assert_int_equal(client, CLIENT);
    env->replies++;
    env->refused = reply->refused;
    env->refusal = reply->refusal;
    if (!reply->refused)
        env->state = reply->view->state;
}

static void env_forwarded(struct as_env *env, uint64_t forward, struct as_bytes request)
{
    env->forward = forward;
    snprintf(env->forwarded, sizeof(env->forwarded), "%.*s", (int)request.len,
             (const char *)request.data);
}

static void env_forward_done(struct as_env *env, uint64_t client, as_err err, struct as_bytes reply)
{
    assert_int_equal(client, CLIENT);
    env->answer_err = err;
    env->answers++;
    env->answers_busy += err == AS_ERR_BUSY;
    snprintf(env->answer, sizeof(env->answer), "%.*s", (int)reply.len, (const char *)reply.data);
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    if (getenv("ASSENT_TRACE"))
        fprintf(stderr, "%8.3f node %u %s %llu %s\n", (double)world.now / 1e9, env->number,
                as_trace_name(trace->kind), (unsigned long long)trace->number,
                trace->detail ? trace->detail : "");
}

static void env_fatal(struct as_env *env, const char *why)
{
    fail_msg("node %u must end: %s", env->number, why);
}

static const struct as_env_ops env_ops = {
    .now = env_now,
    .wall_ms = env_wall,
    .random = env_random,
    .timer_arm = env_timer,
    .net_dial = env_dial,
    .net_send = env_send,
    .net_close = env_close,
    .disk_start = env_disk,
    .client_reply = env_reply,
    .forwarded = env_forwarded,
    .forward_done = env_forward_done,
    .trace = env_trace,
    .fatal = env_fatal,
};

/* --- Agents --- */

static struct as_bytes text(const char *chars)
{
    return (struct as_bytes){(const uint8_t *)chars, strlen(chars)};
}

/* What agents have to say is said when the node is not inside a call: at the end of its turn. */
static struct {
    struct as_env *env;
    uint64_t connection;
    struct as_wire_msg msg;
} sayings[64];
static uint32_t saying_count;

static void says(struct as_env *env, uint64_t connection, const struct as_wire_msg *msg)
{
    assert_true(saying_count < 64);
    sayings[saying_count].env = env;
    sayings[saying_count].connection = connection;
    sayings[saying_count++].msg = *msg;
}

static uint32_t count_nodes(struct as_bytes nodes)
{
    struct as_reader in = as_reader_of(nodes);
    struct as_wire_node node;
    uint32_t count = 0;

    for (; in.left > 0 && as_wire_node_take(&in, &node) == AS_OK; count++)
        assert_memory_equal(node.address.data, "node-", 5);
    return count;
}

static void agent_hears(struct as_env *env, struct as_bytes bytes)
{
    struct as_wire_msg msg, answer;
    size_t used;

    for (; bytes.len > 0; bytes.data += used, bytes.len -= used) {
        assert_int_equal(as_wire_take(bytes, &msg, &used), AS_OK);
        env->leaders_heard += msg.type == AS_WIRE_LEADER;
        if (msg.type == AS_WIRE_NODES)
            env->nodes_named = count_nodes(msg.nodes);
        env->commits_sent += msg.type == AS_WIRE_COMMIT;
        env->executes_sent += msg.type == AS_WIRE_EXECUTE;
        if (msg.type == AS_WIRE_PING)
            answer = (struct as_wire_msg){.type = AS_WIRE_PONG, .ping = msg.ping};
        else if (msg.type == AS_WIRE_EXECUTE && !env->silent)
            answer = (struct as_wire_msg){.type = AS_WIRE_VOTE,
                                          .vote = {.branch = msg.execute.branch,
                                                   .vote = AS_VOTE_YES,
                                                   .xid = 700,
                                                   .identity = {{1}},
                                                   .statement = -1}};
        else if (msg.type == AS_WIRE_COMMIT && !env->silent)
            answer = (struct as_wire_msg){
                .type = AS_WIRE_ACK,
                .ack = {.branch = msg.decision.branch, .ack = AS_ACK_COMMITTED}};
        else
            continue;
        says(env, AGENT, &answer);
    }
}

static void nobody_hears(struct as_env *env, struct as_bytes bytes)
{
    struct as_wire_msg msg;
    size_t used;

    for (; bytes.len > 0; bytes.data += used, bytes.len -= used) {
        assert_int_equal(as_wire_take(bytes, &msg, &used), AS_OK);
        env->executes_lost += msg.type == AS_WIRE_EXECUTE;
    }
}

static void joins(struct as_env *env, uint64_t connection)
{
    struct as_wire_msg hello = {
        .type = AS_WIRE_HELLO,
        .hello = {.agent_id = env->number, .cluster = text("demo"), .name = text("test")}};
    struct as_wire_msg facts = {.type = AS_WIRE_PARTICIPANT,
                                .participant = {.up = true,
                                                .name = text("bank_a"),
                                                .identity = {{1}},
                                                .counter = 1,
                                                .system_id = 5,
                                                .timeline = 1,
                                                .server_version = 150018,
                                                .prepared_max = 100,
                                                .connections = 4}};

    node_on_accepted(env->node, connection, "test");
    says(env, connection, &hello);
    says(env, connection, &facts);
}

/* --- Time --- */

static bool deliver(void)
{
    struct letter letter;
    struct as_env *to;
    uint64_t number;

    if (world.letter_first == world.letter_last)
        return false;
    letter = world.letters[world.letter_first++ % LETTERS_MAX];
    to = letter.pipe->end[letter.to];
    number = letter.pipe->number[letter.to];
    if (to->cut || letter.pipe->end[!letter.to]->cut || number == 0) {
        free(letter.bytes); /* what a cut link swallows is lost with it */
        return true;
    }
    switch (letter.kind) {
    case LETTER_CONNECT:
        if (to->node) {
            node_on_accepted(to->node, number, "test");
            node_on_connected(letter.pipe->end[0]->node, letter.pipe->number[0]);
            node_turn_end(letter.pipe->end[0]->node);
        } else {
            letter.pipe->number[1] = 0;
            post(LETTER_CLOSED, letter.pipe, 0, no_bytes);
        }
        break;
    case LETTER_BYTES:
        node_on_bytes(to->node, number, (struct as_bytes){letter.bytes, letter.len});
        break;
    case LETTER_CLOSED:
        letter.pipe->number[letter.to] = 0;
        node_on_closed(to->node, number, AS_OK);
        break;
    }
    if (to->node)
        node_turn_end(to->node);
    free(letter.bytes);
    return true;
}

static bool say(void)
{
    struct as_env *env;
    struct as_wire_msg msg;
    uint64_t connection = sayings[0].connection;

    if (saying_count == 0)
        return false;
    env = sayings[0].env;
    msg = sayings[0].msg;
    memmove(sayings, sayings + 1, --saying_count * sizeof(sayings[0]));
    if (!env->node)
        return true;
    as_buf_clear(&world.scratch);
    as_wire_put(&world.scratch, &msg);
    node_on_bytes(env->node, connection, as_buf_bytes(&world.scratch));
    node_turn_end(env->node);
    return true;
}

static bool sync_disk(struct as_env *env)
{
    struct as_disk_op op;
    as_err err;

    if (!env->node || env->disk.queued == 0)
        return false;
    err = fake_finish(&env->disk, 0, &op);
    node_on_disk_done(env->node, op.ticket, err);
    node_turn_end(env->node);
    return true;
}

static void settle(void)
{
    bool moved;

    do {
        moved = say() || deliver();
        for (int i = 0; i < NODES_MAX && !moved; i++)
            moved = sync_disk(&world.nodes[i]);
    } while (moved);
}

/* Everybody's timers, in their order. */
static void advance(as_time by)
{
    as_time until = world.now + by;

    for (;;) {
        struct as_env *next = NULL;

        settle();
        for (int i = 0; i < NODES_MAX; i++) {
            struct as_env *env = &world.nodes[i];

            if (env->node && env->timer_at <= until && (!next || env->timer_at < next->timer_at))
                next = env;
        }
        if (!next)
            break;
        if (next->timer_at > world.now)
            world.now = next->timer_at;
        next->timer_at = AS_NEVER;
        node_on_timer(next->node);
        node_turn_end(next->node);
    }
    world.now = until;
}

/* --- Nodes --- */

static void open_node(struct as_env *env, uint32_t members, uint64_t snapshot_bytes)
{
    struct node_config config = {
        .log = {.cluster = "demo", .incarnation = 77, .node = env->number, .segment_bytes = 65536},
        .raft.tail_keep_bytes = 1, /* so that a snapshot is needed soon */
        .snapshot_bytes = snapshot_bytes,
        .joins = members == 0,
    };
    struct as_disk door = fake_door(&env->disk);
    struct log_report report;

    config.raft.members.count = members;
    for (uint32_t i = 0; i < members; i++) {
        config.raft.members.list[i].id = i + 1;
        config.raft.members.list[i].role = RAFT_VOTER;
        snprintf(config.raft.members.list[i].address, RAFT_ADDRESS_LEN_MAX, "node-%u", i + 1);
    }
    env->timer_at = AS_NEVER;
    if (!env->born)
        assert_int_equal(log_bootstrap(&config.log, &door), AS_OK);
    env->born = true;
    if (node_open(&env->node, &config, &door, env, &env_ops, &report))
        fail_msg("node %u does not open: %s", env->number, report.detail);
    node_start(env->node);
    joins(env, AGENT);
}

/* Its connections end, what its disk had not synced is lost or not. */
static void kill_node(struct as_env *env)
{
    node_free(env->node);
    env->node = NULL;
    fake_kill(&env->disk);
    for (uint32_t i = 0; i < world.pipe_count; i++)
        for (int end = 0; end < 2; end++)
            if (world.pipes[i].end[end] == env && world.pipes[i].number[end]) {
                world.pipes[i].number[end] = 0;
                post(LETTER_CLOSED, &world.pipes[i], !end, no_bytes);
            }
}

static struct as_env *leader(void)
{
    struct as_env *found = NULL;

    for (int i = 0; i < NODES_MAX; i++) {
        struct node_info info;

        if (!world.nodes[i].node || world.nodes[i].cut)
            continue;
        node_info(world.nodes[i].node, &info);
        if (info.leading)
            found = &world.nodes[i];
    }
    return found;
}

static struct as_env *leader_after(as_time by)
{
    struct as_env *found;

    advance(by);
    found = leader();
    assert_non_null(found);
    return found;
}

static struct as_env *follower(void)
{
    for (int i = 0; i < NODES_MAX; i++)
        if (world.nodes[i].node && !world.nodes[i].cut && &world.nodes[i] != leader())
            return &world.nodes[i];
    return NULL;
}

static void submit(struct as_env *env, const char *id)
{
    static const uint8_t work[] = {0};
    struct as_submit_branch branches[1] = {
        {.participant = text("bank_a"), .work = {work, sizeof(work)}}};
    struct as_submit request = {
        .timeout_ms = 30000, .wait = AS_WAIT_APPLIED, .branch_count = 1, .branches = branches};

    snprintf(request.id, sizeof(request.id), "%s", id);
    env->replies = 0;
    node_submit(env->node, CLIENT, &request);
    node_turn_end(env->node);
}

static void commit(struct as_env *env, const char *id)
{
    submit(env, id);
    settle();
    assert_int_equal(env->replies, 1);
    assert_false(env->refused);
    assert_int_equal(env->state, AS_TXN_COMMITTED);
}

/* What the table of this very node holds. */
static bool knows(struct as_env *env, const char *id)
{
    env->replies = 0;
    node_get(env->node, CLIENT, id, 0, NODE_READ_EVENTUAL, 0);
    assert_int_equal(env->replies, 1);
    return !env->refused && env->state == AS_TXN_COMMITTED;
}

static void count_linked(void *ctx, const struct node_member_view *view)
{
    *(int *)ctx += view->linked;
}

static int linked(struct as_env *env)
{
    int count = 0;

    node_members(env->node, count_linked, &count);
    return count;
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    saying_count = 0;
    world.now = AS_SECOND;
    world.random = 42;
    as_buf_init(&world.scratch, AS_FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        world.nodes[i].number = i + 1;
        world.nodes[i].timer_at = AS_NEVER;
        world.nodes[i].accepted_last = STANDS_STILL;
        fake_init(&world.nodes[i].disk, i + 1);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < NODES_MAX; i++) {
        node_free(world.nodes[i].node);
        fake_close(&world.nodes[i].disk);
    }
    while (world.letter_first < world.letter_last)
        free(world.letters[world.letter_first++ % LETTERS_MAX].bytes);
    as_buf_close(&world.scratch);
    return 0;
}

static void three_nodes(uint64_t snapshot_bytes)
{
    for (int i = 0; i < 3; i++)
        open_node(&world.nodes[i], 3, snapshot_bytes);
}

/* --- Tests --- */

static void one_leads_and_all_hold_what_is_committed(void **state)
{
    struct as_env *first;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    assert_int_equal(first->leaders_heard, 1);
    commit(first, "one");
    advance(AS_SECOND); /* FINISH, and heartbeats that tell how far is committed */
    for (int i = 0; i < 3; i++)
        assert_true(knows(&world.nodes[i], "one"));
    assert_ptr_equal(leader(), first);
}

static void the_next_leader_finishes_what_was_decided(void **state)
{
    struct as_env *first, *next;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    commit(first, "one");
    advance(AS_SECOND); /* its FINISH */
    submit(first, "two");
    for (int i = 0; i < 3; i++)
        world.nodes[i].silent = true; /* votes are on their way, no acknowledgement will be */
    settle();
    assert_int_equal(first->commits_sent, 1 + 1);
    kill_node(first);
    for (int i = 0; i < 3; i++)
        world.nodes[i].silent = false;
    next = leader_after(2 * AS_SECOND);
    assert_ptr_not_equal(next, first);
    assert_int_equal(next->commits_sent, 1);
    assert_true(knows(next, "one"));
    assert_true(knows(next, "two"));
    commit(next, "three");
    open_node(first, 3, 0);
    advance(2 * AS_SECOND);
    assert_true(knows(first, "three"));
}

static void a_leader_that_is_cut_off_steps_down_and_says_nothing(void **state)
{
    struct as_env *first, *next;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    commit(first, "one");
    first->cut = true;
    submit(first, "two");
    settle();
    assert_int_equal(first->replies, 0); /* its COMMIT is durable here, and nowhere else */
    assert_int_equal(first->commits_sent, 1);
    first->replies = 0;
    next = leader_after(2 * AS_SECOND);
    assert_ptr_not_equal(next, first);
    assert_true(first->refused);
    assert_int_equal(first->refusal, AS_REFUSAL_OUTCOME_UNKNOWN); /* R4 */
    assert_int_equal(first->commits_sent, 1);
    node_get(first->node, CLIENT, "one", 0, NODE_READ_LINEARIZABLE, 0);
    assert_int_equal(first->refusal, AS_REFUSAL_NO_LEADER);
    commit(next, "three");
    first->cut = false;
    advance(10 * AS_SECOND);
    assert_true(knows(first, "three"));
    assert_false(knows(first, "two")); /* cut off its log: never committed */
}

static void a_linearizable_read_needs_a_majority(void **state)
{
    struct as_env *first;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    commit(first, "one");
    first->replies = 0;
    node_get(first->node, CLIENT, "one", 0, NODE_READ_LINEARIZABLE, 0);
    node_turn_end(first->node);
    assert_int_equal(first->replies, 0); /* others must say first that nobody else leads */
    settle();
    assert_int_equal(first->replies, 1);
    assert_int_equal(first->state, AS_TXN_COMMITTED);
    first->cut = true;
    first->replies = 0;
    node_get(first->node, CLIENT, "one", 0, NODE_READ_LINEARIZABLE, 0);
    node_turn_end(first->node);
    advance(3 * AS_SECOND);
    assert_int_equal(first->replies, 1);
    assert_true(first->refused);
}

static void a_session_read_waits_for_its_index(void **state)
{
    struct as_env *first, *other;
    struct node_info info;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    other = follower();
    commit(first, "one");
    advance(AS_SECOND);
    node_info(other->node, &info);
    other->replies = 0;
    node_get(other->node, CLIENT, "two", 0, NODE_READ_SESSION, info.applied_index + 1);
    assert_int_equal(other->replies, 0);
    commit(first, "two");
    advance(AS_SECOND);
    assert_int_equal(other->replies, 1);
    assert_int_equal(other->state, AS_TXN_COMMITTED);
    other->replies = 0;
    node_get(other->node, CLIENT, "two", 0, NODE_READ_SESSION, info.applied_index + 1000);
    advance(3 * AS_SECOND);
    assert_int_equal(other->replies, 1);
    assert_int_equal(other->refusal, AS_REFUSAL_NO_LEADER);
}

static void a_request_is_passed_on_to_the_leader(void **state)
{
    struct as_env *first, *other;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    other = follower();
    assert_false(node_forward(first->node, CLIENT, text("to myself")));
    assert_true(node_forward(other->node, CLIENT, text("please")));
    settle();
    assert_string_equal(first->forwarded, "please");
    node_forward_reply(first->node, first->forward, text("done"));
    settle();
    assert_int_equal(other->answer_err, AS_OK);
    assert_string_equal(other->answer, "done");
    assert_true(node_forward(other->node, CLIENT, text("again")));
    settle();
    kill_node(first);
    settle();
    assert_int_equal(other->answer_err, AS_ERR_CLOSED); /* carried out or not, nobody knows */
}

/* Requests of two nodes, more together than one takes. */
static void too_many_requests_passed_on_are_refused(void **state)
{
    struct as_env *first;
    uint32_t count = 0;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    for (int i = 0; i < 3; i++) {
        struct as_env *env = &world.nodes[i];

        for (int n = 0; env != first && n < FORWARDS_OF_ONE; n++) {
            assert_true(node_forward(env->node, CLIENT, text("please")));
            settle();
            count++;
        }
    }
    assert_int_equal(count, 2 * FORWARDS_OF_ONE);
    assert_int_equal(first->answers, 0);
    for (int i = 0; i < 3; i++)
        if (&world.nodes[i] != first)
            assert_int_equal(world.nodes[i].answers, world.nodes[i].answers_busy);
    assert_int_equal(world.nodes[0].answers + world.nodes[1].answers + world.nodes[2].answers,
                     2 * FORWARDS_OF_ONE - FORWARDS_MAX);
    node_forward_refuse(first->node, first->forward);
    settle();
    assert_int_equal(world.nodes[0].answers_busy + world.nodes[1].answers_busy +
                         world.nodes[2].answers_busy,
                     2 * FORWARDS_OF_ONE - FORWARDS_MAX + 1);
    for (int i = 0; i < 3; i++) /* and nobody's link was cut */
        assert_int_equal(linked(&world.nodes[i]), 3);
}

/* Its link is given up after five seconds only; the client need not wait for that. */
static void a_request_passed_on_to_a_silent_leader_ends_with_the_next(void **state)
{
    struct as_env *first, *other;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    other = follower();
    assert_true(node_forward(other->node, CLIENT, text("please")));
    settle();
    first->cut = true;
    assert_int_equal(other->answer_err, AS_OK);
    assert_ptr_not_equal(leader_after(2 * AS_SECOND), first);
    assert_int_equal(other->answer_err, AS_ERR_CLOSED);
}

/* A leader that serves participants itself takes these along when it stands still. Nothing tells the next one so, unless
 * it asks. */
static void who_does_not_answer_the_new_leader_comes_last(void **state)
{
    struct as_env *first, *next;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    for (int i = 0; i < 3; i++)
        joins(&world.nodes[i], STANDS_STILL);
    settle();
    first->cut = true;
    next = leader_after(AS_SECOND / 2);
    assert_ptr_not_equal(next, first);
    for (int i = 0; i < 4; i++)
        commit(next, (char[]){(char)('a' + i), 0});
    assert_int_equal(next->executes_lost, 0);
}

/* Nor does one that was not heard of between two pings. */
static void who_does_not_answer_a_ping_comes_last(void **state)
{
    struct as_env *first;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    joins(first, STANDS_STILL);
    advance(3 * AS_SECOND);
    for (int i = 0; i < 4; i++)
        commit(first, (char[]){(char)('a' + i), 0});
    assert_int_equal(first->executes_lost, 0);
}

static void a_node_joins_and_another_is_removed(void **state)
{
    struct as_env *first, *fourth = &world.nodes[3], *gone;
    struct node_info info;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    commit(first, "one");
    assert_int_equal(first->nodes_named, 3);
    open_node(fourth, 0, 0);
    advance(AS_SECOND);
    assert_int_equal(node_member_change(first->node, RAFT_MEMBER_ADD, fourth->number, "node-4"),
                     RAFT_REFUSED_NONE);
    advance(2 * AS_SECOND);
    assert_true(knows(fourth, "one"));
    node_info(fourth->node, &info);
    assert_int_equal(info.leader, first->number);
    assert_int_equal(first->nodes_named, 4);
    assert_int_equal(info.applied_index, info.last_index); /* which is a MEMBERS entry */
    gone = follower();
    assert_int_equal(node_member_change(first->node, RAFT_MEMBER_REMOVE, gone->number, NULL),
                     RAFT_REFUSED_NONE);
    advance(2 * AS_SECOND);
    commit(first, "two");
    assert_int_equal(first->nodes_named, 3);
    assert_ptr_equal(leader(), first); /* the removed one disturbs nobody */
    kill_node(gone);
    kill_node(first);
    first = leader_after(3 * AS_SECOND); /* two of three: the fourth is a voter */
    commit(first, "three");
}

/* The list has one member then, and it is another one: it must hear of that. */
static void a_leader_of_two_removes_itself(void **state)
{
    struct as_env *first, *next;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    next = follower();
    assert_int_equal(
        node_member_change(first->node, RAFT_MEMBER_REMOVE, 6 - first->number - next->number, NULL),
        RAFT_REFUSED_NONE);
    advance(AS_SECOND);
    assert_int_equal(node_member_change(first->node, RAFT_MEMBER_REMOVE, first->number, NULL),
                     RAFT_REFUSED_NONE);
    assert_ptr_equal(leader_after(2 * AS_SECOND), next);
    commit(next, "one");
}

static void a_node_that_lags_far_behind_gets_the_snapshot(void **state)
{
    struct as_env *first, *last;
    char id[32];

    (void)state;
    three_nodes(2000);
    first = leader_after(AS_SECOND);
    last = follower();
    kill_node(last);
    assert_int_equal(node_member_change(first->node, RAFT_MEMBER_REMOVE, last->number, NULL),
                     RAFT_REFUSED_NONE);
    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        commit(first, id);
        advance(100 * AS_MS);
    }
    open_node(&world.nodes[3], 0, 2000);
    assert_int_equal(node_member_change(first->node, RAFT_MEMBER_ADD, 4, "node-4"),
                     RAFT_REFUSED_NONE);
    advance(5 * AS_SECOND);
    assert_true(knows(&world.nodes[3], "many-0"));
    assert_true(knows(&world.nodes[3], "many-59"));
    commit(first, "more");
    advance(AS_SECOND);
    assert_true(knows(&world.nodes[3], "more"));
}

/* Elections, each with a vote to be written, do not end a node whose log has no room for one more. */
static void a_full_disk_takes_votes_until_there_is_no_room(void **state)
{
    struct as_env *first;
    char id[32];

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    if (first->number != 3)
        assert_int_equal(node_transfer(first->node, 3), RAFT_REFUSED_NONE);
    assert_int_equal(leader_after(AS_SECOND)->number, 3);
    for (int i = 0; i < 2; i++)
        world.nodes[i].disk.space = fake_used(&world.nodes[i].disk);
    for (int i = 0; i < 2000 && (first = leader()) != NULL; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        submit(first, id);
        advance(20 * AS_MS);
        if (first->refused)
            break;
    }
    for (int i = 0; i < 300; i++) { /* the third loses its majority and asks for votes again */
        world.nodes[2].cut = true;
        advance(400 * AS_MS);
        world.nodes[2].cut = false;
        advance(600 * AS_MS);
    }
    for (int i = 0; i < 2; i++)
        world.nodes[i].disk.space = 0;
    first = leader_after(5 * AS_SECOND);
    commit(first, "more");
    advance(AS_SECOND);
    for (int i = 0; i < 2; i++)
        assert_true(knows(&world.nodes[i], "more"));
}

static void a_leader_whose_disk_is_full_hands_over(void **state)
{
    struct as_env *first, *next;
    char id[32];

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    first->disk.space = fake_used(&first->disk);
    for (int i = 0; i < 2000 && leader() == first; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        submit(first, id);
        advance(20 * AS_MS);
    }
    next = leader_after(3 * AS_SECOND);
    assert_ptr_not_equal(next, first);
    commit(next, "more"); /* its own disk and the third make a majority */
    advance(20 * AS_SECOND);
    assert_ptr_equal(leader(), next);
}

static void leadership_is_handed_over(void **state)
{
    struct as_env *first, *next;

    (void)state;
    three_nodes(0);
    first = leader_after(AS_SECOND);
    commit(first, "one");
    assert_int_equal(node_transfer(first->node, follower()->number), RAFT_REFUSED_NONE);
    next = leader_after(AS_SECOND);
    assert_ptr_not_equal(next, first);
    commit(next, "two");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_leads_and_all_hold_what_is_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_leader_finishes_what_was_decided, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leader_that_is_cut_off_steps_down_and_says_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_linearizable_read_needs_a_majority, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_read_waits_for_its_index, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_is_passed_on_to_the_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_passed_on_to_a_silent_leader_ends_with_the_next,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_requests_passed_on_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_answer_the_new_leader_comes_last, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_does_not_answer_a_ping_comes_last, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_joins_and_another_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leader_of_two_removes_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leader_whose_disk_is_full_hands_over, setup, teardown),
        cmocka_unit_test_setup_teardown(leadership_is_handed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_takes_votes_until_there_is_no_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_node_that_lags_far_behind_gets_the_snapshot, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
