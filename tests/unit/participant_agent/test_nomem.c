/*
 * Out of memory at every allocation in turn: whatever fails, each EXECUTE is answered by a vote, each
 * COMMIT by an acknowledgement, LIST and RESOLVE by theirs, or the session is ended (R2); never by
 * silence on a session that goes on.
 */
#include "fake.h"

#define BRANCHES 40
#define STRANGERS 80 /* decided commit, and not known to this agent */

struct stage {
    struct as_env env;
    struct agent *agent;
    uint64_t connection;
    bool open;
    struct {
        enum as_vote vote;
        enum as_ack ack;
    } seen[BRANCHES + STRANGERS];
    uint32_t listed, resolved; /* answers */
    struct as_pg_op ops[2 * (BRANCHES + STRANGERS)];
    uint32_t op_count;
};

static uint8_t results[100000]; /* opaque to the agent */

static void on_dialed(void *test, uint64_t connection, const char *address)
{
    struct stage *stage = test;

    (void)address;
    stage->connection = connection;
}

static void on_closed(void *test, uint64_t connection)
{
    struct stage *stage = test;

    assert_int_equal(connection, stage->connection);
    stage->open = false;
}

static void on_sent(void *test, uint64_t connection, const struct as_wire_msg *msg)
{
    struct stage *stage = test;

    assert_true(stage->open && connection == stage->connection);
    if (msg->type == AS_WIRE_VOTE)
        stage->seen[msg->vote.branch.attempt.seq - 1].vote = msg->vote.vote;
    stage->listed += msg->type == AS_WIRE_LISTED;
    stage->resolved += msg->type == AS_WIRE_RESOLVED;
    if (msg->type == AS_WIRE_ACK)
        stage->seen[msg->ack.branch.attempt.seq - 1].ack = msg->ack.ack;
}

static void on_started(void *test, const struct as_pg_op *op)
{
    struct stage *stage = test;

    assert_true(stage->op_count < AS_COUNT_OF(stage->ops));
    stage->ops[stage->op_count++] = *op;
}

static void on_cancelled(void *test, uint32_t participant, uint64_t op_id)
{
    (void)test;
    (void)participant;
    (void)op_id;
}

static void on_traced(void *test, const struct as_trace *trace)
{
    (void)test;
    (void)trace;
}

#define STRANGE_GID "assent/demo/00000000000000aa/7.1/1/a"

/* Everything that was asked of PostgreSQL succeeds. */
static void complete(struct stage *stage)
{
    static const struct as_pg_prepared row = {STRANGE_GID, "agent", 77, 5000};

    while (stage->op_count > 0) {
        struct as_pg_op op = stage->ops[--stage->op_count];
        struct as_pg_done done = {.id = op.id,
                                  .participant = op.participant,
                                  .kind = op.kind,
                                  .status = AS_PG_OK,
                                  .message = "",
                                  .prepared = true,
                                  .xid = 77,
                                  .connection = 5,
                                  .listed = true,
                                  .listed_xid32 = 77,
                                  .rows = &row,
                                  .row_count = op.kind == AS_PG_LIST,
                                  .results = {results, stage->op_count % 8 ? 8 : sizeof results}};

        agent_on_pg_done(stage->agent, &done);
    }
}

static void say(struct stage *stage, enum as_wire_type type, uint64_t seq)
{
    struct as_wire_branch branch = {0, 1, {7, seq}};
    struct as_wire_msg msg = {.type = type};

    if (type == AS_WIRE_WELCOME)
        msg.welcome = (struct as_wire_welcome){1, 5, fake_text("demo"), 2};
    else if (type == AS_WIRE_LEADER)
        msg.term = 7;
    else if (type == AS_WIRE_EXECUTE)
        msg.execute = (struct as_wire_execute){branch, 1000, fake_text("a"), fake_work(false)};
    else
        msg.decision = (struct as_wire_decision){.branch = branch, .xid = 77, .id = fake_text("a")};
    if (stage->open)
        fake_feed(&stage->env, stage->agent, stage->connection, &msg);
}

static void ask(struct stage *stage)
{
    struct as_wire_msg list = {.type = AS_WIRE_LIST, .list = {.ticket = 1}};
    struct as_wire_msg resolve = {
        .type = AS_WIRE_RESOLVE,
        .resolve = {.ticket = 2, .commit = true, .xid = 77, .gid = fake_text(STRANGE_GID)}};

    if (stage->open)
        fake_feed(&stage->env, stage->agent, stage->connection, &list);
    complete(stage);
    if (stage->open)
        fake_feed(&stage->env, stage->agent, stage->connection, &resolve);
    complete(stage);
    if (stage->open)
        assert_true(stage->listed == 1 && stage->resolved == 1);
}

static void play(struct stage *stage)
{
    struct as_pg_up up = {.prepared_max = 10, .detail = ""};

    agent_start(stage->agent);
    agent_on_pg_up(stage->agent, &up);
    stage->open = true;
    agent_on_connected(stage->agent, stage->connection);
    say(stage, AS_WIRE_WELCOME, 0);
    say(stage, AS_WIRE_LEADER, 0);
    for (uint64_t seq = 1; seq <= BRANCHES; seq++)
        say(stage, AS_WIRE_EXECUTE, seq);
    complete(stage);
    fake_advance(&stage->env, stage->agent, 1500 * AS_MS);
    for (uint64_t seq = 1; seq <= BRANCHES && stage->open; seq++)
        assert_true(stage->seen[seq - 1].vote);
    for (uint64_t seq = 1; seq <= BRANCHES + STRANGERS; seq++) {
        if (seq > BRANCHES || stage->seen[seq - 1].vote == AS_VOTE_YES)
            say(stage, AS_WIRE_COMMIT, seq);
    }
    complete(stage);
    for (uint64_t seq = 1; seq <= BRANCHES + STRANGERS && stage->open; seq++) {
        if (seq > BRANCHES || stage->seen[seq - 1].vote == AS_VOTE_YES)
            assert_true(stage->seen[seq - 1].ack);
    }
    ask(stage);
}

static void body(void *ctx)
{
    static const struct agent_participant_config participant = {.name = "bank_a"};
    struct agent_config config = {
        .cluster = "demo", .node_count = 1, .participant_count = 1, .participants = &participant};
    struct stage *stage = ctx;
    as_err err;

    memset(stage, 0, sizeof *stage);
    fake_init(&stage->env, 1);
    stage->env.in_pieces = true;
    stage->env.test = stage;
    stage->env.dialed = on_dialed;
    stage->env.closed = on_closed;
    stage->env.sent = on_sent;
    stage->env.started = on_started;
    stage->env.cancelled = on_cancelled;
    stage->env.traced = on_traced;
    strcpy(config.nodes[0], "node0:1");
    err = agent_new(&stage->agent, &config, &stage->env, &fake_ops);
    assert_int_equal(err, test_allocation_failed() ? AS_ERR_NOMEM : AS_OK);
    if (!err)
        play(stage);
    agent_free(err ? NULL : stage->agent);
    fake_close(&stage->env);
}

static void test_nobody_is_left_waiting(void **state)
{
    static struct stage stage;

    (void)state;
    test_fail_each_allocation(body, &stage);
    /* The last run had no failure: as many as there are slots, and all of the strangers. */
    for (uint32_t i = 0; i < BRANCHES + STRANGERS; i++) {
        if (i < 10)
            assert_int_equal(stage.seen[i].vote, AS_VOTE_YES);
        else if (i < BRANCHES)
            assert_int_equal(stage.seen[i].vote, AS_VOTE_NO);
        assert_int_equal(stage.seen[i].ack, i < 10 || i >= BRANCHES ? AS_ACK_COMMITTED : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_left_waiting),
    };

    fake_work(false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
