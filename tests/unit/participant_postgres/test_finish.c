/*
 * Finishing, probing and scanning on a real PostgreSQL: what the agent is told about prepared
 * transactions (R6, R7).
 */
#include "participant/postgres/inside.h"
#include "server.h"

static int setup(void **state)
{
    (void)state;
    server_make("");
    sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);"
        "INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 100) i; CREATE ROLE app LOGIN;"
        "GRANT ALL ON accounts TO app;");
    sql("CREATE DATABASE elsewhere");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_remove();
    release_work();
    return 0;
}

static int open_room(void **state)
{
    (void)state;
    room_open(2, AS_PROOF_XACT_STATUS);
    return 0;
}

static int open_marker(void **state)
{
    (void)state;
    room_open(2, AS_PROOF_MARKER);
    return 0;
}

static int close_room(void **state)
{
    (void)state;
    room_close();
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
    return 0;
}

#define UPDATE "UPDATE accounts SET balance = balance + 1 WHERE id = 1"

static void test_not_there(void **state)
{
    struct answer *answer;

    (void)state;
    answer = finish(AS_PG_COMMIT_PREPARED, "assent/demo/5f3a9c01d2e4b687/9.9/1/none", 0, 0);
    assert_status(answer, AS_PG_REFUSED);
    assert_string_equal(answer->done.sqlstate, "42704");
    answer = finish(AS_PG_ROLLBACK_PREPARED, "assent/demo/5f3a9c01d2e4b687/9.9/1/none", 0, 0);
    assert_string_equal(answer->done.sqlstate, "42704");
    answer = finish(AS_PG_COMMIT_PREPARED, "assent/demo'/", 0, 0);
    assert_status(answer, AS_PG_REFUSED);
}

/* Errors of operations that share connections stay apart. */
static void test_many_at_once(void **state)
{
    uint64_t branches[40], ends[40];
    char gids[40][AS_GID_LEN_MAX + 1];
    char text[100];

    (void)state;
    for (int i = 0; i < 16; i++) {
        snprintf(text, sizeof text, "UPDATE accounts SET balance = 0 WHERE id = %d", i + 10);
        branches[i] = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, TEXTS(text));
        strcpy(gids[i], gid_last);
    }
    for (int i = 0; i < 16; i++)
        assert_status(wait_for(branches[i]), AS_PG_OK);
    for (int i = 0; i < 16; i++) {
        struct as_pg_op op = {.kind = i % 3 == 0 ? AS_PG_ROLLBACK_PREPARED : AS_PG_COMMIT_PREPARED};

        strcpy(op.gid, i % 5 == 1 ? "assent/demo/5f3a9c01d2e4b687/9.9/1/none" : gids[i]);
        ends[i] = start(&op);
    }
    for (int i = 0; i < 16; i++) {
        if (i % 5 == 1) {
            assert_status(wait_for(ends[i]), AS_PG_REFUSED);
            assert_status(finish(AS_PG_ROLLBACK_PREPARED, gids[i], 0, 0), AS_PG_OK);
        } else {
            assert_status(wait_for(ends[i]), AS_PG_OK);
        }
    }
    assert_string_equal(sql("SELECT count(*) FROM accounts WHERE balance = 0"), "8");
}

static void test_probe(void **state)
{
    struct answer *answer = PREPARE(UPDATE);
    uint64_t xid = answer->done.xid;
    char gid[AS_GID_LEN_MAX + 1];

    (void)state;
    strcpy(gid, gid_last);
    answer = finish(AS_PG_PROBE, gid, 0, xid);
    assert_status(answer, AS_PG_OK);
    assert_true(answer->done.listed);
    assert_int_equal(answer->done.listed_xid32, (uint32_t)xid);
    assert_int_equal(answer->done.xact, AS_PG_XACT_IN_PROGRESS);
    assert_memory_equal(&answer->done.identity, &room.up.identity, sizeof room.up.identity);
    assert_false(answer->done.marker);
    finish(AS_PG_COMMIT_PREPARED, gid, 0, xid);
    answer = finish(AS_PG_PROBE, gid, 0, xid);
    assert_false(answer->done.listed);
    assert_int_equal(answer->done.xact, AS_PG_XACT_COMMITTED);
    answer = PREPARE(UPDATE);
    xid = answer->done.xid;
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, xid);
    answer = finish(AS_PG_PROBE, gid_last, 0, xid);
    assert_int_equal(answer->done.xact, AS_PG_XACT_ABORTED);
    /* an id that this history has not reached: 22023 */
    answer = finish(AS_PG_PROBE, gid_last, 0, xid + 1000000);
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.xact, AS_PG_XACT_INVALID);
    assert_memory_equal(&answer->done.identity, &room.up.identity, sizeof room.up.identity);
    answer = finish(AS_PG_PROBE, gid_last, 0, 0);
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.xact, AS_PG_XACT_NONE);
    /* the row was written in another history: no identity */
    sql("UPDATE assent.identity SET timeline = timeline + 1");
    answer = finish(AS_PG_PROBE, gid_last, 0, xid);
    assert_status(answer, AS_PG_OK);
    for (size_t i = 0; i < AS_IDENTITY_LEN; i++)
        assert_int_equal(answer->done.identity.token[i], 0);
    sql("UPDATE assent.identity SET timeline = timeline - 1");
}

static void test_marker(void **state)
{
    struct answer *answer = PREPARE("SET ROLE app", UPDATE);
    char gid[AS_GID_LEN_MAX + 1];

    (void)state;
    assert_status(answer, AS_PG_OK);
    strcpy(gid, gid_last);
    assert_false(finish(AS_PG_PROBE, gid, 0, answer->done.xid)->done.marker);
    finish(AS_PG_COMMIT_PREPARED, gid, 0, 0);
    assert_true(finish(AS_PG_PROBE, gid, 0, 1)->done.marker);
    answer = PREPARE(UPDATE);
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0);
    answer = finish(AS_PG_PROBE, gid_last, 0, UINT64_MAX >> 2);
    assert_int_equal(answer->done.xact, AS_PG_XACT_INVALID);
    assert_false(answer->done.marker);
    assert_int_equal(room.up.proof, AS_PROOF_MARKER);
}

static void test_scan(void **state)
{
    struct answer *answer = PREPARE(UPDATE);
    uint64_t xid = answer->done.xid;
    PGconn *conn;
    char dsn[200];

    (void)state;
    sql("BEGIN; PREPARE TRANSACTION 'somebody else''s'");
    sql("BEGIN; PREPARE TRANSACTION 'assent/other/5f3a9c01d2e4b687/1.1/1/x'");
    snprintf(dsn, sizeof dsn, "host=%s dbname=elsewhere user=boss", server.dir);
    conn = PQconnectdb(dsn);
    PQclear(PQexec(conn, "BEGIN; PREPARE TRANSACTION 'assent/demo/5f3a9c01d2e4b687/1.1/2/x'"));
    answer = finish(AS_PG_SCAN, "", 0, 0);
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.row_count, 1);
    assert_string_equal(answer->gids[0], gid_last);
    assert_int_equal(answer->done.foreign, 2);
    assert_int_equal(answer->done.slots_used, 4);
    assert_int_equal(answer->done.slots_ours, 2); /* the one of the other database too */
    assert_true(answer->done.xmin_age > answer->done.foreign_xmin_age);
    assert_true(answer->done.foreign_xmin_age > 0);
    assert_in_range(answer->done.foreign_oldest_age_ms, 0, 60000);
    /* LIST: the foreign ones too, with whole transaction ids and owners */
    answer = finish(AS_PG_LIST, "", 0, 0);
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.row_count, 3);
    assert_string_equal(answer->gids[0], gid_last);
    assert_string_equal(answer->gids[1], "somebody else's");
    assert_int_equal(answer->xids[0], xid);
    assert_true(answer->xids[1] > xid && answer->xids[2] > answer->xids[1]);
    assert_string_equal(answer->owners[0], "boss");
    assert_string_equal(answer->owners[1], "boss");
    /* a gid of another database: PROBE does not see it either, and COMMIT PREPARED is refused */
    assert_false(finish(AS_PG_PROBE, "assent/demo/5f3a9c01d2e4b687/1.1/2/x", 0, 3)->done.listed);
    answer = finish(AS_PG_COMMIT_PREPARED, "assent/demo/5f3a9c01d2e4b687/1.1/2/x", 0, 0);
    assert_string_equal(answer->done.sqlstate, "0A000");
    PQclear(PQexec(conn, "ROLLBACK PREPARED 'assent/demo/5f3a9c01d2e4b687/1.1/2/x'"));
    PQfinish(conn);
    sql("ROLLBACK PREPARED 'somebody else''s'");
    sql("ROLLBACK PREPARED 'assent/other/5f3a9c01d2e4b687/1.1/1/x'");
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0);
    assert_int_equal(finish(AS_PG_SCAN, "", 0, 0)->done.row_count, 0);
}

static struct answer *rotate(uint64_t counter)
{
    struct as_pg_op op = {.kind = AS_PG_ROTATE, .counter = counter};

    return wait_for(start(&op));
}

/* R7: a row whose counter is lower than the cluster remembers is of storage that was rolled back. */
static void test_rotate(void **state)
{
    struct as_identity before = room.up.identity;
    uint64_t counter = room.up.counter;

    (void)state;
    assert_status(rotate(counter + 1), AS_PG_OK);
    assert_int_equal(room.ups, 2);
    assert_memory_not_equal(&before, &room.up.identity, sizeof before);
    assert_int_equal(room.up.counter, counter);
    assert_memory_equal(&finish(AS_PG_PROBE, "x", 0, 3)->done.identity, &room.up.identity,
                        sizeof before);
}

/* Another agent has started on this database: the coordinator remembers its counter, and this one is told to rotate.
 * A new token would make everything unprovable that was voted under the old one. */
static void test_rotate_after_another_start(void **state)
{
    struct as_identity before = room.up.identity;
    uint64_t counter = room.up.counter;

    (void)state;
    sql("UPDATE assent.identity SET counter = counter + 1");
    assert_status(rotate(counter + 1), AS_PG_OK);
    assert_int_equal(room.ups, 2);
    assert_memory_equal(&before, &room.up.identity, sizeof before);
    assert_int_equal(room.up.counter, counter + 1);
}

static void test_stale(void **state)
{
    struct answer *answer = PREPARE(UPDATE);
    uint64_t connection = answer->done.connection;
    char pids[200], *rest = NULL;

    (void)state;
    assert_true(connection != 0);
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid_last, connection + 1, 0), AS_PG_STALE);
    snprintf(pids, sizeof pids, "%s",
             sql("SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name = "
                 "'assent-agent'"));
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        "'assent-agent'");
    /* a backend closes its socket with its last breath */
    for (char *pid = strtok_r(pids, " ", &rest); pid; pid = strtok_r(NULL, " ", &rest))
        WAIT_FOR(kill(atoi(pid), 0) != 0);
    turn(); /* sees the ends of all of them */
    answer = finish(AS_PG_COMMIT_PREPARED, gid_last, connection, 0);
    assert_status(answer, AS_PG_STALE);
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "1");
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid_last, 0, 0), AS_PG_OK);
}

/* Branches that wait for the locks of prepared ones take every connection for work: finishing has
 * its own. */
static void test_finishing_never_waits(void **state)
{
    struct answer *answer = PREPARE(UPDATE);
    char gid[AS_GID_LEN_MAX + 1];
    uint64_t waiting[12];

    (void)state;
    assert_status(answer, AS_PG_OK);
    strcpy(gid, gid_last);
    for (int i = 0; i < 12; i++)
        waiting[i] = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                                  TEXTS("UPDATE accounts SET balance = balance + 1 WHERE id = 1"));
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                    "2") == 0);
    assert_status(finish(AS_PG_PROBE, gid, 0, answer->done.xid), AS_PG_OK);
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid, answer->done.connection, 0), AS_PG_OK);
    /* PostgreSQL decides which of two waiting branches is next */
    for (int i = 0; i < 12; i++) {
        WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_prepared_xacts"), "1") == 0);
        snprintf(gid, sizeof gid, "%s", sql("SELECT gid FROM pg_prepared_xacts"));
        WAIT_FOR(finish(AS_PG_COMMIT_PREPARED, gid, 0, 0)->done.status == AS_PG_OK);
    }
    for (int i = 0; i < 12; i++)
        assert_status(wait_for(waiting[i]), AS_PG_OK);
}

static int open_small(void **state)
{
    (void)state;
    room_open(1, AS_PROOF_XACT_STATUS);
    WAIT_FOR(room.pg->parts[0].usable == 3); /* the two that are kept for finishing, too */
    return 0;
}

/* Every connection is at a decision that takes long: what comes then is sent behind one, and each still ends by
 * itself. To cancel what stands behind must not hit the decision before it. */
static void test_behind_decisions(void **state)
{
    char gids[8][AS_GID_LEN_MAX + 1];
    struct answer *answer;
    uint64_t ends[8], branch, lost;
    char text[100];

    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "UPDATE accounts SET balance = 7 WHERE id = %d", 40 + i);
        assert_status(PREPARE(text), AS_PG_OK);
        strcpy(gids[i], gid_last);
    }
    standby_wanted(true);
    for (int i = 0; i < 7; i++) {
        struct as_pg_op op = {.kind = AS_PG_COMMIT_PREPARED};

        strcpy(op.gid, i == 5 ? "assent/demo/5f3a9c01d2e4b687/9.9/1/none" : gids[i]);
        ends[i] = start(&op);
    }
    WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "3") == 0);
    branch = start_branch(AS_PG_READ, AS_ISOLATION_READ_COMMITTED, 0, TEXTS("SELECT 42 AS a"));
    lost = start_branch(AS_PG_READ, AS_ISOLATION_READ_COMMITTED, 0, TEXTS("SELECT 43 AS a"));
    cancel(branch);
    for (int i = 0; i < 5; i++)
        turn();
    standby_wanted(false);
    for (int i = 0; i < 7; i++) {
        answer = wait_for(ends[i]);
        if (i == 5)
            assert_string_equal(answer->done.sqlstate, "42704");
        else
            assert_status(answer, AS_PG_OK);
    }
    answer = wait_for(branch);
    if (answer->done.status == AS_PG_OK)
        assert_status(read_end(AS_PG_READ_ABORT, branch), AS_PG_OK);
    else
        assert_status(answer, AS_PG_CANCELLED);
    answer = wait_for(lost);
    assert_string_equal(answer->results, "[1]\na\n43");
    assert_status(read_end(AS_PG_READ_COMMIT, lost), AS_PG_OK);
    assert_string_equal(sql("SELECT count(*) FROM accounts WHERE balance = 7"), "6");
    assert_status(finish(AS_PG_ROLLBACK_PREPARED, gids[5], 0, 0), AS_PG_OK);
    assert_status(finish(AS_PG_ROLLBACK_PREPARED, gids[7], 0, 0), AS_PG_OK);
}

/* All that was sent on a connection is lost with it. */
static void test_lost_behind_decisions(void **state)
{
    char gids[4][AS_GID_LEN_MAX + 1];
    uint64_t ends[4], branch;

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_status(PREPARE("SELECT 1"), AS_PG_OK);
        strcpy(gids[i], gid_last);
    }
    standby_wanted(true);
    for (int i = 0; i < 4; i++) {
        struct as_pg_op op = {.kind = AS_PG_COMMIT_PREPARED};

        strcpy(op.gid, gids[i]);
        ends[i] = start(&op);
    }
    branch = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, TEXTS("SELECT 1"));
    WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "3") == 0);
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    for (int i = 0; i < 4; i++)
        assert_status(wait_for(ends[i]), AS_PG_LOST);
    assert_status(wait_for(branch), AS_PG_LOST);
    standby_wanted(false);
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"), "1") == 0);
    snprintf(gids[0], sizeof gids[0], "%s", sql("SELECT gid FROM pg_prepared_xacts"));
    while (gids[0][0]) {
        (void)finish(AS_PG_ROLLBACK_PREPARED, gids[0], 0, 0);
        snprintf(gids[0], sizeof gids[0], "%s", sql("SELECT gid FROM pg_prepared_xacts"));
    }
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_room)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_room, test_not_there),
        WITH(open_room, test_many_at_once),
        WITH(open_room, test_probe),
        WITH(open_marker, test_marker),
        WITH(open_room, test_scan),
        WITH(open_room, test_rotate),
        WITH(open_room, test_rotate_after_another_start),
        WITH(open_room, test_stale),
        WITH(open_room, test_finishing_never_waits),
        WITH(open_small, test_behind_decisions),
        WITH(open_small, test_lost_behind_decisions),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
