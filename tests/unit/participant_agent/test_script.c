/*
 * Golden scripts of the agent: tests/data/agent. Node N and participant P count from 0; #N is the
 * Nth operation.
 *
 *   agent [nodes=N] [participants=N] [prepared_max=N] [queue_max=N] [named=1]   a new agent, started
 *   connected N | closed N | advance MS | drain | counts
 *   welcome N [incarnation=X] [cluster=NAME] | leader N TERM | refuse N | ping N | garbage N |
 * hello N rotate N P [counter=C] execute N TERM.SEQ/BRANCH [slot=P] [id=ID] [timeout=MS] [read_only]
 *       [operation=NAME] [expect=N] [sql=WORD] (SQL of one word)
 *   operations P [NAME=WORD[,ROWS]]...
 *   commit|abort|read_finish|pending|unknown N TERM.SEQ/BRANCH [slot=P] [id=ID] [xid=N]
 * [identity=A] up P [identity=A] [max=N] [marker] | down P done #N STATUS [fields]
 * [row=GID,XID,AGE[,OWNER]]...
 *   list N TICKET [slot=P] [gid=GID] | resolve N TICKET commit|abort gid=GID xid=N [slot=P]
 */
#include "../participant_branch/golden.h"
#include "fake.h"
#include "participant/agent/operations.h"

#include "../participant_branch/names.h"

#define OPS_MAX 256
#define INCARNATION 0x5f3a9c01d2e4b687u

struct script {
    struct as_env env;
    struct agent *agent;
    struct golden *golden;
    struct {
        uint64_t id;
        uint32_t participant;
        enum as_pg_kind kind;
    } ops[OPS_MAX];
    int op_count;
    uint64_t connections[AGENT_NODES_MAX];
};

static int node_of(const struct script *script, uint64_t connection)
{
    for (int i = 0; i < AGENT_NODES_MAX; i++) {
        if (script->connections[i] == connection)
            return i;
    }
    fail_msg("line %d: no open connection %llu", script->golden->line,
             (unsigned long long)connection);
    return 0;
}

static int op_of(const struct script *script, uint64_t id)
{
    for (int i = 0; i < script->op_count; i++) {
        if (script->ops[i].id == id)
            return i;
    }
    fail_msg("line %d: no such operation", script->golden->line);
    return 0;
}

static void on_dialed(void *test, uint64_t connection, const char *address)
{
    struct script *script = test;
    int node = address[4] - '0'; /* "node0:1" */

    script->connections[node] = connection;
    golden_put(script->golden, "  dial %s\n", address);
}

static void on_closed(void *test, uint64_t connection)
{
    struct script *script = test;
    int node = node_of(script, connection);

    script->connections[node] = 0;
    golden_put(script->golden, "  close %d\n", node);
}

static void put_branch(struct golden *golden, const struct as_wire_branch *branch)
{
    golden_put(golden, " %llu.%llu/%u slot=%u", (unsigned long long)branch->attempt.term,
               (unsigned long long)branch->attempt.seq, branch->number, branch->slot);
}

static void put_status(struct golden *golden, const struct as_wire_status *status)
{
    golden_put(golden,
               " slot=%u used=%u prepared=%u in_doubt=%u orphaned=%u foreign=%u queued=%u "
               "oldest=%lld",
               status->slot, status->slots_used, status->prepared, status->in_doubt,
               status->orphaned, status->foreign, status->queued, (long long)status->oldest_age_ms);
    if (!status->audited)
        golden_put(golden, " version=1");
    if (status->xmin_age || status->foreign_xmin_age)
        golden_put(golden, " xmin=%u ours=%u foreign_xmin=%u foreign_oldest=%lld", status->xmin_age,
                   status->slots_ours, status->foreign_xmin_age,
                   (long long)status->foreign_oldest_age_ms);
}

static void put_vote(struct golden *golden, const struct as_wire_vote *vote)
{
    put_branch(golden, &vote->branch);
    golden_put(golden, " %s", vote_names[vote->vote]);
    if (vote->vote == AS_VOTE_YES)
        golden_put(golden, " xid=%llu identity=%c", (unsigned long long)vote->xid,
                   identity_name(&vote->identity));
    if (vote->vote == AS_VOTE_NO)
        golden_put(golden, " %s statement=%d sqlstate=%s \"%.*s\"", as_reason_text(vote->code),
                   vote->statement, vote->sqlstate, (int)vote->message.len, vote->message.data);
}

static void put_listed(struct golden *golden, const struct as_wire_listed *listed)
{
    struct as_reader in = as_reader_of(listed->rows);
    struct as_wire_prepared row;

    golden_put(golden, " slot=%u ticket=%llu %s total=%u foreign=%u \"%.*s\"", listed->slot,
               (unsigned long long)listed->ticket, asked_names[listed->asked], listed->total,
               listed->foreign, (int)listed->message.len, listed->message.data);
    while (in.left && !as_wire_prepared_take(&in, &row))
        golden_put(golden, " [%.*s %llu %lld %.*s%s]", (int)row.gid.len, row.gid.data,
                   (unsigned long long)row.xid, (long long)row.age_ms, (int)row.owner.len,
                   row.owner.data, row.waits ? " waits" : "");
}

static void on_sent(void *test, uint64_t connection, const struct as_wire_msg *msg)
{
    struct script *script = test;
    struct golden *golden = script->golden;

    golden_put(golden, "  send %d %s", node_of(script, connection), as_wire_type_text(msg->type));
    switch (msg->type) {
    case AS_WIRE_HELLO:
        golden_put(golden, " incarnation=%llx", (unsigned long long)msg->hello.incarnation);
        if (msg->version == 1)
            golden_put(golden, " version=1");
        break;
    case AS_WIRE_PARTICIPANT:
        golden_put(golden, " slot=%u %.*s %s identity=%c \"%.*s\"", msg->participant.slot,
                   (int)msg->participant.name.len, msg->participant.name.data,
                   msg->participant.up ? "up" : "down", identity_name(&msg->participant.identity),
                   (int)msg->participant.detail.len, msg->participant.detail.data);
        break;
    case AS_WIRE_STATUS:
        put_status(golden, &msg->status);
        break;
    case AS_WIRE_VOTE:
        put_vote(golden, &msg->vote);
        break;
    case AS_WIRE_ACK:
        put_branch(golden, &msg->ack.branch);
        golden_put(golden, " %s \"%.*s\"", ack_names[msg->ack.ack], (int)msg->ack.message.len,
                   msg->ack.message.data);
        break;
    case AS_WIRE_INQUIRE:
        put_branch(golden, &msg->inquire.branch);
        golden_put(golden, " id=%.*s", (int)msg->inquire.id.len, msg->inquire.id.data);
        break;
    case AS_WIRE_LISTED:
        put_listed(golden, &msg->listed);
        break;
    case AS_WIRE_RESOLVED:
        golden_put(golden, " slot=%u ticket=%llu %s%s \"%.*s\"", msg->resolved.slot,
                   (unsigned long long)msg->resolved.ticket, asked_names[msg->resolved.asked],
                   msg->resolved.tag ? " by its tag" : "", (int)msg->resolved.message.len,
                   msg->resolved.message.data);
        break;
    default:
        break;
    }
    golden_put(golden, "\n");
}

/* Of work that is not the usual one. */
static void put_work(struct golden *golden, struct as_bytes work)
{
    struct as_work_reader in;
    struct as_statement statement;

    for (int i = 0; i < 2; i++) {
        struct as_bytes usual = fake_work(i);

        if (!work.len || (work.len == usual.len && memcmp(work.data, usual.data, work.len) == 0))
            return;
    }
    assert_int_equal(as_work_check(work), AS_OK);
    assert_int_equal(as_work_open(&in, work), AS_OK);
    assert_false(in.operations); /* PostgreSQL's side knows none */
    for (uint32_t i = 0; i < in.statement_count; i++) {
        assert_int_equal(as_work_next_statement(&in, &statement), AS_OK);
        golden_put(golden, " sql=\"%s\" expect=%lld", (const char *)statement.sql.data,
                   (long long)statement.expect_rows);
    }
}

static void on_started(void *test, const struct as_pg_op *op)
{
    struct script *script = test;

    assert_true(script->op_count < OPS_MAX);
    script->ops[script->op_count].id = op->id;
    script->ops[script->op_count].participant = op->participant;
    script->ops[script->op_count].kind = op->kind;
    golden_put(script->golden, "  pg #%d p%u %s", script->op_count++, op->participant,
               op_names[op->kind]);
    if (op->gid[0])
        golden_put(script->golden, " %s", op->gid);
    if (op->connection)
        golden_put(script->golden, " connection=%llu", (unsigned long long)op->connection);
    if (op->xid)
        golden_put(script->golden, " xid=%llu", (unsigned long long)op->xid);
    if (op->timeout_ms)
        golden_put(script->golden, " timeout=%u", op->timeout_ms);
    if (op->kind == AS_PG_READ_COMMIT || op->kind == AS_PG_READ_ABORT)
        golden_put(script->golden, " target=#%d", op_of(script, op->target));
    put_work(script->golden, op->work);
    if (op->counter)
        golden_put(script->golden, " counter=%llu", (unsigned long long)op->counter);
    golden_put(script->golden, "\n");
}

static void on_cancelled(void *test, uint32_t participant, uint64_t op_id)
{
    struct script *script = test;
    int op = op_of(script, op_id);

    assert_int_equal(script->ops[op].participant, participant);
    golden_put(script->golden, "  cancel #%d\n", op);
}

static void on_traced(void *test, const struct as_trace *trace)
{
    struct script *script = test;

    golden_put(script->golden, "  trace %s", as_trace_name(trace->kind));
    if (trace->branch)
        golden_put(script->golden, " %llu.%llu/%u", (unsigned long long)trace->attempt.term,
                   (unsigned long long)trace->attempt.seq, trace->branch);
    if (trace->name)
        golden_put(script->golden, " %s", trace->name);
    if (trace->detail)
        golden_put(script->golden, " \"%s\"", trace->detail);
    golden_put(script->golden, "\n");
}

static void script_close(struct script *script)
{
    agent_free(script->agent);
    fake_close(&script->env);
    script->agent = NULL;
}

static void new_agent(struct script *script)
{
    struct agent_participant_config participants[2] = {{.name = "bank_a"}, {.name = "bank_b"}};
    struct agent_config config = {.cluster = "demo", .name = "test", .participants = participants};
    struct golden *golden = script->golden;

    script_close(script);
    *script = (struct script){.golden = golden};
    fake_init(&script->env, 1);
    script->env.test = script;
    script->env.dialed = on_dialed;
    script->env.closed = on_closed;
    script->env.sent = on_sent;
    script->env.started = on_started;
    script->env.cancelled = on_cancelled;
    script->env.traced = on_traced;
    config.node_count = (uint32_t)golden_number(golden, "nodes", 1);
    config.participant_count = (uint32_t)golden_number(golden, "participants", 1);
    participants[0].prepared_max = (uint32_t)golden_number(golden, "prepared_max", 0);
    participants[0].queue_max = (uint32_t)golden_number(golden, "queue_max", 0);
    participants[0].named = golden_number(golden, "named", 0);
    for (uint32_t i = 0; i < config.node_count; i++)
        snprintf(config.nodes[i], sizeof config.nodes[i], "node%u:1", i);
    assert_int_equal(agent_new(&script->agent, &config, &script->env, &fake_ops), AS_OK);
    agent_start(script->agent);
}

static struct as_wire_branch branch_of(const struct golden *golden)
{
    unsigned long long term = 0, seq = 0;
    unsigned number = 0;

    if (golden->count < 3 || sscanf(golden->words[2], "%llu.%llu/%u", &term, &seq, &number) != 3)
        fail_msg("%s:%d: no branch", golden->file, golden->line);
    return (struct as_wire_branch){(uint16_t)golden_number(golden, "slot", 0), number, {term, seq}};
}

/* nodes CONNECTION [ID:NODE]...: node 2 is at "node2:1". */
static struct as_bytes nodes_of(const struct golden *golden, struct as_buf *buf)
{
    for (int i = 2; i < golden->count; i++) {
        unsigned id, at;
        char address[32];

        if (sscanf(golden->words[i], "%u:%u", &id, &at) != 2)
            fail_msg("%s:%d: not ID:NODE", golden->file, golden->line);
        snprintf(address, sizeof address, "node%u:1", at);
        as_wire_node_put(buf, &(struct as_wire_node){id, fake_text(address)});
    }
    return as_buf_bytes(buf);
}

static struct as_bytes work_of(const struct golden *golden, struct as_buf *buf)
{
    const char *sql = golden_word(golden, "sql");
    const char *operation = golden_word(golden, "operation");
    int64_t expect_rows = (int64_t)golden_number(golden, "expect", (uint64_t)AS_EXPECT_NONE);

    if (!sql && !operation)
        return fake_work(golden_word(golden, "read_only"));
    as_work_put_begin(buf, AS_ISOLATION_READ_COMMITTED, golden_word(golden, "read_only") != NULL,
                      sql && operation ? 2 : 1);
    if (sql)
        as_work_put_statement(buf, fake_text(sql), expect_rows, 0);
    if (operation)
        as_work_put_operation(buf, 0, fake_text(operation), expect_rows, 0);
    return as_buf_bytes(buf);
}

static void message(struct script *script, const char *word)
{
    static const struct {
        const char *word;
        enum as_wire_type type;
    } types[] = {
        {"welcome", AS_WIRE_WELCOME}, {"leader", AS_WIRE_LEADER},
        {"nodes", AS_WIRE_NODES},     {"refuse", AS_WIRE_REFUSE},
        {"ping", AS_WIRE_PING},       {"rotate", AS_WIRE_ROTATE},
        {"execute", AS_WIRE_EXECUTE}, {"commit", AS_WIRE_COMMIT},
        {"abort", AS_WIRE_ABORT},     {"read_finish", AS_WIRE_READ_FINISH},
        {"pending", AS_WIRE_ANSWER},  {"unknown", AS_WIRE_ANSWER},
        {"hello", AS_WIRE_HELLO},     {"list", AS_WIRE_LIST},
        {"resolve", AS_WIRE_RESOLVE},
    };
    struct golden *golden = script->golden;
    uint64_t connection = script->connections[atoi(golden->words[1])];
    const char *id = golden_word(golden, "id");
    const char *cluster = golden_word(golden, "cluster");
    const char *gid = golden_word(golden, "gid");
    struct as_bytes id_bytes = fake_text(id ? id : "order-1");
    struct as_wire_msg msg = {0};
    struct as_buf nodes, work;

    as_buf_init(&work, 10000);
    for (size_t i = 0; i < AS_COUNT_OF(types); i++) {
        if (strcmp(types[i].word, word) == 0)
            msg.type = types[i].type;
    }
    as_buf_init(&nodes, 10000);
    switch (msg.type) {
    case AS_WIRE_NODES:
        msg.nodes = nodes_of(golden, &nodes);
        break;
    case AS_WIRE_WELCOME:
        msg.welcome = (struct as_wire_welcome){golden_number(golden, "node", 1),
                                               golden_number(golden, "incarnation", INCARNATION),
                                               fake_text(cluster ? cluster : "demo"), 2};
        msg.version = (uint8_t)golden_number(golden, "version", 0);
        break;
    case AS_WIRE_LEADER:
        msg.term = strtoull(golden->words[2], NULL, 10);
        break;
    case AS_WIRE_REFUSE:
        msg.refuse = fake_text(golden->count > 2 ? as_err_text(AS_ERR_VERSION) : "not here");
        break;
    case AS_WIRE_ROTATE:
        msg.rotate.slot = (uint16_t)atoi(golden->words[2]);
        msg.rotate.counter = golden_number(golden, "counter", 0);
        break;
    case AS_WIRE_EXECUTE:
        msg.execute = (struct as_wire_execute){branch_of(golden),
                                               (uint32_t)golden_number(golden, "timeout", 30000),
                                               id_bytes, work_of(golden, &work)};
        break;
    case AS_WIRE_COMMIT:
    case AS_WIRE_ABORT:
        msg.decision =
            (struct as_wire_decision){branch_of(golden), golden_number(golden, "xid", 0),
                                      identity_of(golden_word(golden, "identity")), id_bytes};
        break;
    case AS_WIRE_READ_FINISH:
        msg.read_finish = branch_of(golden);
        break;
    case AS_WIRE_ANSWER:
        msg.answer = (struct as_wire_answer){branch_of(golden),
                                             *word == 'p' ? AS_ANSWER_PENDING : AS_ANSWER_UNKNOWN};
        break;
    case AS_WIRE_LIST:
        msg.list =
            (struct as_wire_list){(uint16_t)golden_number(golden, "slot", 0),
                                  strtoull(golden->words[2], NULL, 10), fake_text(gid ? gid : "")};
        break;
    case AS_WIRE_RESOLVE:
        msg.resolve = (struct as_wire_resolve){(uint16_t)golden_number(golden, "slot", 0),
                                               strtoull(golden->words[2], NULL, 10),
                                               strcmp(golden->words[3], "commit") == 0,
                                               golden_number(golden, "xid", 0), fake_text(gid)};
        break;
    case AS_WIRE_PING:
    case AS_WIRE_HELLO:
        break;
    default:
        fail_msg("%s:%d: no such command: %s", golden->file, golden->line, word);
    }
    fake_feed(&script->env, script->agent, connection, &msg);
    as_buf_close(&nodes);
    as_buf_close(&work);
}

/* operations P NAME=WORD[,ROWS]... */
static void operations(struct script *script)
{
    struct golden *golden = script->golden;
    struct operations *operations = NULL;
    char text[1000] = "", error[256];
    size_t len = 0;

    for (int i = 2; i < golden->count; i++) {
        char name[64], sql[64];
        int rows = 0;
        int count = sscanf(golden->words[i], "%63[^=]=%63[^,],%d", name, sql, &rows);

        assert_true(count >= 2);
        len += (size_t)snprintf(text + len, sizeof text - len, "-- name: %s\n", name);
        if (count == 3)
            len += (size_t)snprintf(text + len, sizeof text - len, "-- expect_rows: %d\n", rows);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s\n", sql);
    }
    if (len)
        assert_int_equal(operations_parse(fake_text(text), &operations, error), AS_OK);
    agent_operations(script->agent, (uint32_t)atoi(golden->words[1]), operations);
}

static void done(struct script *script)
{
    struct golden *golden = script->golden;
    int op = atoi(golden->words[1] + 1);
    struct as_pg_done done = done_of(golden, golden->words[2]);
    struct as_pg_prepared rows[GOLDEN_WORDS_MAX];

    done.id = script->ops[op].id;
    done.participant = script->ops[op].participant;
    done.kind = script->ops[op].kind;
    done.rows = rows;
    for (int i = 3; i < golden->count; i++) {
        char *word = golden->words[i];

        if (strncmp(word, "row=", 4) != 0)
            continue;
        word += 4;
        rows[done.row_count].gid = strsep(&word, ",");
        rows[done.row_count].xid = strtoull(strsep(&word, ","), NULL, 10);
        rows[done.row_count].age_ms = atoi(strsep(&word, ","));
        rows[done.row_count++].owner = word ? word : "agent";
    }
    agent_on_pg_done(script->agent, &done);
}

static void counts(struct script *script)
{
    struct agent_counts counts;

    agent_count(script->agent, &counts);
    golden_put(script->golden,
               "  executed=%llu yes=%llu no=%llu read_only=%llu committed=%llu aborted=%llu "
               "heuristic=%llu resolved=%llu inquiries=%llu fenced=%llu branches=%u queued=%u\n",
               (unsigned long long)counts.executed, (unsigned long long)counts.voted_yes,
               (unsigned long long)counts.voted_no, (unsigned long long)counts.voted_read_only,
               (unsigned long long)counts.committed, (unsigned long long)counts.aborted,
               (unsigned long long)counts.heuristic, (unsigned long long)counts.resolved,
               (unsigned long long)counts.inquiries, (unsigned long long)counts.fenced,
               counts.branches, counts.queued);
}

static void participant(struct script *script, bool up)
{
    struct golden *golden = script->golden;
    struct as_pg_up facts = {.participant = (uint32_t)atoi(golden->words[1]),
                             .identity = identity_of(golden_word(golden, "identity")),
                             .prepared_max = (uint32_t)golden_number(golden, "max", 10),
                             .proof = golden_word(golden, "marker") ? AS_PROOF_MARKER
                                                                    : AS_PROOF_XACT_STATUS,
                             .detail = ""};

    if (up)
        agent_on_pg_up(script->agent, &facts);
    else
        agent_on_pg_down(script->agent, facts.participant, "connection refused");
}

static void command(void *ctx, struct golden *golden)
{
    struct script *script = ctx;
    const char *word = golden->words[0];
    uint64_t connection = golden->count > 1 && golden->words[1][0] <= '9'
                              ? script->connections[atoi(golden->words[1]) % AGENT_NODES_MAX]
                              : 0;

    script->golden = golden;
    if (strcmp(word, "agent") == 0) {
        new_agent(script);
    } else if (strcmp(word, "connected") == 0) {
        agent_on_connected(script->agent, connection);
    } else if (strcmp(word, "closed") == 0) {
        script->connections[atoi(golden->words[1])] = 0;
        agent_on_closed(script->agent, connection, AS_OK);
    } else if (strcmp(word, "advance") == 0) {
        fake_advance(&script->env, script->agent, atoi(golden->words[1]) * AS_MS);
    } else if (strcmp(word, "drain") == 0) {
        golden_put(golden, "  %s\n", agent_drain(script->agent) ? "drained" : "draining");
    } else if (strcmp(word, "counts") == 0) {
        counts(script);
    } else if (strcmp(word, "garbage") == 0) {
        agent_on_bytes(script->agent, connection, fake_text("HTTP/1.1 400 Bad Request\r\n\r\n"));
    } else if (strcmp(word, "up") == 0 || strcmp(word, "down") == 0) {
        participant(script, *word == 'u');
    } else if (strcmp(word, "operations") == 0) {
        operations(script);
    } else if (strcmp(word, "done") == 0) {
        done(script);
    } else {
        message(script, word);
    }
}

static void run(const char *name)
{
    struct script script = {.golden = NULL};
    char path[512];

    test_leaks_begin();
    snprintf(path, sizeof path, AS_TEST_DATA "/agent/%s.txt", name);
    golden_run(path, command, &script);
    script_close(&script);
    test_leaks_end();
}

static void test_session(void **state)
{
    (void)state;
    run("session");
}

static void test_nodes(void **state)
{
    (void)state;
    run("nodes");
}

static void test_moved(void **state)
{
    (void)state;
    run("moved");
}

static void test_branch(void **state)
{
    (void)state;
    run("branch");
}

static void test_operations(void **state)
{
    (void)state;
    run("operations");
}

static void test_admission(void **state)
{
    (void)state;
    run("admission");
}

static void test_scan(void **state)
{
    (void)state;
    run("scan");
}

static void test_version(void **state)
{
    (void)state;
    run("version");
}

static void test_ask(void **state)
{
    (void)state;
    run("ask");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session),   cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_moved),     cmocka_unit_test(test_branch),
        cmocka_unit_test(test_admission), cmocka_unit_test(test_operations),
        cmocka_unit_test(test_scan),      cmocka_unit_test(test_ask),
        cmocka_unit_test(test_version),
    };

    fake_work(false);
    fake_work(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
