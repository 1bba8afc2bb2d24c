/*
 * Up and down on a real PostgreSQL: preflight, lost connections, restarts, identity, closing; and
 * the participant without a database.
 */
#include "server.h"

static int setup(void **state)
{
    (void)state;
    server_make("");
    sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);"
        "INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 100) i;"
        "CREATE ROLE app LOGIN; CREATE ROLE poor LOGIN;");
    sql("CREATE DATABASE bare");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_remove();
    release_work();
    return 0;
}

static void test_facts(void **state)
{
    uint64_t counter;
    struct as_identity identity;

    (void)state;
    room_open(3, AS_PROOF_XACT_STATUS);
    assert_int_equal(room.up.prepared_max, 20);
    assert_int_equal(room.up.connections, 3);
    assert_int_equal(room.up.timeline, 1);
    assert_true(room.up.server_version >= 130000);
    assert_string_equal(room.detail, "");
    counter = room.up.counter;
    identity = room.up.identity;
    room_close();
    /* another start: the counter grows, the token stays */
    room_open(3, AS_PROOF_XACT_STATUS);
    assert_int_equal(room.up.counter, counter + 1);
    assert_memory_equal(&room.up.identity, &identity, sizeof identity);
    room_close();
    /* another history: a new token */
    sql("UPDATE assent.identity SET system_id = system_id + 1");
    room_open(3, AS_PROOF_XACT_STATUS);
    assert_int_equal(room.up.counter, counter + 2);
    assert_memory_not_equal(&room.up.identity, &identity, sizeof identity);
    room_close();
}

static void test_warnings(void **state)
{
    (void)state;
    sql("ALTER SYSTEM SET fsync = off");
    sql("ALTER SYSTEM SET synchronous_commit = off");
    sql("SELECT pg_reload_conf()");
    sql("BEGIN; PREPARE TRANSACTION 'assent/demo/5f3a9c01d2e4b687/1.1/1/x'");
    sql("GRANT CREATE ON DATABASE postgres TO app; GRANT ALL ON SCHEMA assent TO app;"
        "GRANT ALL ON ALL TABLES IN SCHEMA assent TO app");
    {
        char dsn[200];

        snprintf(dsn, sizeof dsn, "host=%s dbname=postgres user=app options='-c work_mem=3MB'",
                 server.dir);
        room_open_dsn(dsn, 1, AS_PROOF_XACT_STATUS, false);
    }
    WAIT_FOR(room.ups == 1);
    assert_non_null(strstr(room.detail, "fsync is off"));
    assert_non_null(strstr(room.detail, "synchronous_commit is off"));
    assert_non_null(strstr(room.detail, "1 prepared transactions belong to another role than app"));
    assert_string_equal(PREPARE("SET synchronous_commit = off")->message, "");
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0);
    assert_string_equal(PREPARE("SELECT current_setting('synchronous_commit') AS a, "
                                "current_setting('work_mem') AS b")
                            ->results,
                        "[1]\na|b\non|3MB");
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0);
    assert_string_equal(
        finish(AS_PG_COMMIT_PREPARED, "assent/demo/5f3a9c01d2e4b687/1.1/1/x", 0, 0)->done.sqlstate,
        "42501");
    room_close();
    sql("ROLLBACK PREPARED 'assent/demo/5f3a9c01d2e4b687/1.1/1/x'");
    sql("ALTER SYSTEM RESET ALL");
    sql("SELECT pg_reload_conf()");
}

static void refused(const char *dsn, const char *part_of_why)
{
    struct as_pg_op op = {.kind = AS_PG_SCAN};

    room_open_dsn(dsn, 1, AS_PROOF_XACT_STATUS, false);
    WAIT_FOR(room.downs > 0);
    if (!strstr(room.why, part_of_why))
        fail_msg("%s", room.why);
    assert_status(wait_for(start(&op)), AS_PG_UNAVAILABLE);
    room_close();
}

static void test_refusals(void **state)
{
    char dsn[200];

    (void)state;
    refused("no such = thing", "dsn: ");
    refused("host=/nowhere dbname=x", "/nowhere");
    snprintf(dsn, sizeof dsn, "host=%s dbname=nope user=boss", server.dir);
    refused(dsn, "\"nope\" does not exist");
    snprintf(dsn, sizeof dsn, "host=%s dbname=bare user=poor", server.dir);
    refused(dsn, "GRANT CREATE ON DATABASE \"bare\" TO \"poor\"");
}

static void test_disabled(void **state)
{
    (void)state;
    server_stop(SIGINT);
    server_configure("max_prepared_transactions = 0\n");
    server_start();
    refused(server.dsn, "max_prepared_transactions is 0");
    refused(server.dsn, "restart PostgreSQL");
    server_stop(SIGINT);
    server_configure("max_prepared_transactions = 20\n");
    server_start();
}

#define TERMINATE(which)                                                                        \
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() " \
        "AND " which)

static void test_lost(void **state)
{
    struct answer *answer;
    PGconn *locker = server_connect();
    uint64_t id, read;

    (void)state;
    room_open(4, AS_PROOF_XACT_STATUS);
    PQclear(PQexec(locker, "BEGIN; UPDATE accounts SET balance = 1 WHERE id = 1"));
    id = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                      TEXTS("UPDATE accounts SET balance = 2 WHERE id = 1"));
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                    "1") == 0);
    TERMINATE("wait_event_type = 'Lock'");
    answer = wait_for(id);
    assert_status(answer, AS_PG_LOST);
    assert_int_equal(answer->done.code, AS_REASON_PARTICIPANT_UNAVAILABLE);
    PQfinish(locker);
    assert_status(PREPARE("SELECT 1"), AS_PG_OK);
    finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0);
    /* while PREPARE itself waits: what it waits for has happened */
    standby_wanted(true);
    id = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                      TEXTS("UPDATE accounts SET balance = 2 WHERE id = 1"));
    WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "1") == 0);
    TERMINATE("wait_event = 'SyncRep'");
    assert_status(wait_for(id), AS_PG_LOST);
    standby_wanted(false);
    WAIT_FOR(finish(AS_PG_PROBE, gid_last, 0, 0)->done.listed);
    assert_status(finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0), AS_PG_OK);
    /* an open READ */
    read = READ("SELECT 1")->done.id;
    TERMINATE("state = 'idle in transaction'");
    WAIT_FOR(
        strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"),
               "0") == 0);
    for (int i = 0; i < 3; i++)
        turn();
    assert_status(read_end(AS_PG_READ_COMMIT, read), AS_PG_LOST);
    assert_int_equal(room.downs, 0);
    room_close();
}

static void test_restart(void **state)
{
    struct answer *answer;
    uint64_t id, queued, counter;
    PGconn *locker = server_connect();

    (void)state;
    room_open(1, AS_PROOF_XACT_STATUS);
    counter = room.up.counter;
    answer = PREPARE("UPDATE accounts SET balance = 5 WHERE id = 5");
    PQclear(PQexec(locker, "BEGIN; UPDATE accounts SET balance = 1 WHERE id = 1"));
    id = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                      TEXTS("UPDATE accounts SET balance = 2 WHERE id = 1"));
    queued = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, TEXTS("SELECT 1"));
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                    "1") == 0);
    server_stop(SIGQUIT); /* as a crash of the server */
    PQfinish(locker);
    assert_status(wait_for(id), AS_PG_LOST);
    WAIT_FOR(room.downs > 0);
    assert_status(wait_for(queued), AS_PG_UNAVAILABLE);
    server_start();
    WAIT_FOR(room.ups == 2);
    assert_int_equal(room.up.counter, counter); /* the process did not start anew */
    assert_status(finish(AS_PG_COMMIT_PREPARED, sql("SELECT gid FROM pg_prepared_xacts"), 0, 0),
                  AS_PG_OK);
    assert_string_equal(sql("SELECT balance FROM accounts WHERE id = 5"), "5");
    (void)answer;
    room_close();
}

/* A connection that meets another identity takes the whole pool with it. */
static void test_identity_changes_under_way(void **state)
{
    struct as_identity identity;
    uint64_t first;

    (void)state;
    room_open(4, AS_PROOF_XACT_STATUS);
    identity = room.up.identity;
    sql("UPDATE assent.identity SET token = gen_random_uuid()");
    first = READ("SELECT 1")->done.id;
    WAIT_FOR((READ("SELECT 1"), room.ups == 2)); /* more open reads need more connections */
    assert_memory_not_equal(&room.up.identity, &identity, sizeof identity);
    assert_status(read_end(AS_PG_READ_COMMIT, first), AS_PG_LOST);
    room_close();
}

/* Not by ending its sessions: one that is slow to die may outlive the first that is opened anew. */
static void lose_server(void)
{
    uint32_t downs = room.downs;

    server_stop(SIGINT);
    WAIT_FOR(room.downs > downs);
    server_start();
}

/* R7: the agent comes back to storage that is older than what it has read before: a new token, before anything else. */
static void test_storage_rolled_back(void **state)
{
    struct as_identity identity;
    uint64_t counter;
    char token[64];

    (void)state;
    room_open(1, AS_PROOF_XACT_STATUS);
    identity = room.up.identity;
    counter = room.up.counter;
    lose_server();
    WAIT_FOR(room.ups == 2);
    assert_memory_equal(&room.up.identity, &identity, sizeof identity);
    sql("UPDATE assent.identity SET counter = counter - 1");
    lose_server();
    WAIT_FOR(room.ups == 3);
    assert_memory_not_equal(&room.up.identity, &identity, sizeof identity);
    assert_int_equal(room.up.counter, counter - 1);
    /* Somebody has told the two histories apart already: once is enough. */
    sql("UPDATE assent.identity SET counter = 0, token = gen_random_uuid()");
    identity = room.up.identity;
    strcpy(token, sql("SELECT token FROM assent.identity"));
    lose_server();
    WAIT_FOR(room.ups == 4);
    assert_memory_not_equal(&room.up.identity, &identity, sizeof identity);
    assert_string_equal(sql("SELECT token FROM assent.identity"), token);
    room_close();
}

static void test_close_under_way(void **state)
{
    PGconn *locker = server_connect();
    uint64_t ids[6];

    (void)state;
    room_open(2, AS_PROOF_XACT_STATUS);
    PQclear(PQexec(locker, "BEGIN; UPDATE accounts SET balance = 1 WHERE id = 1"));
    for (int i = 0; i < 6; i++)
        ids[i] = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                              TEXTS("UPDATE accounts SET balance = 2 WHERE id = 1"));
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                    "2") == 0);
    room_close();
    for (int i = 0; i < 6; i++)
        assert_true(room.answers[ids[i] % OPS_MAX].there);
    /* the executing ones were cancelled, not left behind to prepare later */
    for (int i = 0;
         i < DEADLINE_S * 10 &&
         strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), "0") !=
             0;
         i++)
        usleep(100000);
    assert_string_equal(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                        "0");
    PQfinish(locker);
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
}

#define LOCK_WAITERS "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

static bool lock_waiters_become(const char *count)
{
    time_t until = time(NULL) + DEADLINE_S;

    while (strcmp(sql(LOCK_WAITERS), count) != 0) {
        if (time(NULL) > until)
            return false;
        usleep(10000);
    }
    return true;
}

/* kill -9 of an agent whose branch waits for a lock: it is not left behind to prepare later (R6). */
static void test_killed(void **state)
{
    PGconn *locker = server_connect();
    bool waits, ends;
    pid_t child;

    (void)state;
    PQclear(PQexec(locker, "BEGIN; UPDATE accounts SET balance = 1 WHERE id = 1"));
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        room_open(1, AS_PROOF_XACT_STATUS);
        start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                     TEXTS("UPDATE accounts SET balance = 2 WHERE id = 1"));
        for (;;)
            turn();
    }
    waits = lock_waiters_become("1");
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(waits);
    ends = lock_waiters_become("0");
    PQfinish(locker);
    assert_true(ends);
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
}

static void test_queue_is_bounded(void **state)
{
    struct as_pg_op op = {.kind = AS_PG_READ, .gid = ""};
    uint32_t overloaded = 0;
    struct as_buf buf;

    (void)state;
    room_open(1, AS_PROOF_XACT_STATUS);
    op.work = work(&buf, AS_ISOLATION_READ_COMMITTED, TEXTS("SELECT pg_sleep(3600)"));
    for (int i = 0; i < 10100; i++)
        start(&op);
    for (int i = 0; i < 3; i++)
        turn();
    for (int i = 0; i < OPS_MAX; i++)
        overloaded += room.answers[i].there && room.answers[i].done.status == AS_PG_UNAVAILABLE &&
                      room.answers[i].done.code == AS_REASON_OVERLOADED;
    /* the first one runs, or waits too because its connection is not there yet */
    assert_in_range(overloaded, 99, 100);
    room.counting = true;
    room.ended = 0;
    room_close();
    room.counting = false;
    assert_int_equal(room.ended, 10100 - overloaded);
    as_buf_close(&buf);
}

static void test_null(void **state)
{
    struct answer *answer;

    (void)state;
    room_open_dsn("", 0, AS_PROOF_XACT_STATUS, true);
    WAIT_FOR(room.ups == 1);
    answer = PREPARE("UPDATE x", "SELECT 1");
    assert_status(answer, AS_PG_OK);
    assert_true(answer->done.prepared);
    assert_true(answer->done.xid != 0);
    assert_string_equal(answer->results, "[1][1]");
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid_last, answer->done.connection, 0), AS_PG_OK);
    assert_string_equal(PREPARE("UPDATE x")->results, "[1]");
    assert_status(finish(AS_PG_SCAN, "", 0, 0), AS_PG_OK);
    assert_int_equal(finish(AS_PG_PROBE, gid_last, 0, 1)->done.xact, AS_PG_XACT_COMMITTED);
    answer = READ("SELECT 1");
    assert_status(read_end(AS_PG_READ_COMMIT, answer->done.id), AS_PG_OK);
    room_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_identity_changes_under_way),
        cmocka_unit_test(test_storage_rolled_back),
        cmocka_unit_test(test_close_under_way),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_disabled),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
