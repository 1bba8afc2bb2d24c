/*
 * Branches on a real PostgreSQL: what is prepared, what is refused and how, and what must not be
 * left behind.
 */
#include "server.h"

static int setup(void **state)
{
    (void)state;
    server_make("");
    sql("CREATE ROLE app LOGIN; CREATE ROLE other; GRANT other TO app;"
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= "
        "0));"
        "INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 10) i;"
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);"
        "CREATE SEQUENCE numbers;"
        "CREATE TABLE tricky (id int);"
        "CREATE FUNCTION trick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM set_config('role', 'other', false), set_config('work_mem', '77MB', false), "
        "pg_advisory_lock(99); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER trick AFTER INSERT ON tricky DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION trick();"
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO app, other;"
        "GRANT ALL ON SEQUENCE numbers TO app, other; GRANT CREATE ON DATABASE postgres TO app");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_remove();
    release_work();
    return 0;
}

/* One connection, so that each branch follows the one before on the same session. */
static int open_one(void **state)
{
    char dsn[200];

    (void)state;
    snprintf(dsn, sizeof dsn, "host=%s dbname=postgres user=app", server.dir);
    room_open_dsn(dsn, 1, AS_PROOF_XACT_STATUS, false);
    WAIT_FOR(room.ups == 1);
    return 0;
}

static int close_one(void **state)
{
    (void)state;
    room_close();
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
    return 0;
}

static void drop_it(void)
{
    assert_status(finish(AS_PG_ROLLBACK_PREPARED, gid_last, 0, 0), AS_PG_OK);
}

static void test_prepare_and_commit(void **state)
{
    struct answer *answer, *commit;
    char xid[32];

    (void)state;
    answer =
        PREPARE("UPDATE accounts SET balance = balance - $1 WHERE id = $2", "=1", "$7", "$1",
                "UPDATE accounts SET balance = balance + $1 WHERE id = $2 RETURNING id, balance, "
                "NULL AS none",
                "=1", "$7", "$2");
    assert_status(answer, AS_PG_OK);
    assert_true(answer->done.prepared);
    assert_string_equal(answer->results, "[1][1]\nid|balance|none\n2|107|NULL");
    snprintf(xid, sizeof xid, "%llu", (unsigned long long)answer->done.xid);
    assert_string_equal(sql("SELECT transaction FROM pg_prepared_xacts"), xid);
    assert_string_equal(sql("SELECT gid FROM pg_prepared_xacts"), gid_last);
    assert_string_equal(sql("SELECT balance FROM accounts WHERE id = 1"), "100");
    commit = finish(AS_PG_COMMIT_PREPARED, gid_last, answer->done.connection, answer->done.xid);
    assert_status(commit, AS_PG_OK);
    assert_string_equal(sql("SELECT string_agg(balance::text, ',' ORDER BY id) FROM accounts "
                            "WHERE id < 3"),
                        "93,107");
    /* the second time the statements are prepared already */
    answer = PREPARE("UPDATE accounts SET balance = balance - $1 WHERE id = $2", "=1", "$7", "$2");
    assert_status(answer, AS_PG_OK);
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid_last, 0, 0), AS_PG_OK);
}

static void test_failed_statement(void **state)
{
    struct answer *answer;
    uint64_t connection;

    (void)state;
    answer = PREPARE("UPDATE accounts SET balance = balance - 1 WHERE id = 1", "SELECT 1 / $1::int",
                     "$0", "SELECT 3");
    assert_status(answer, AS_PG_REFUSED);
    assert_false(answer->done.prepared);
    assert_int_equal(answer->done.code, AS_REASON_NONE);
    assert_int_equal(answer->done.statement, 1);
    assert_string_equal(answer->done.sqlstate, "22012");
    assert_string_equal(answer->message, "division by zero");
    connection = answer->done.connection;
    /* a statement that does not parse, and one after it that was never sent before */
    answer = PREPARE("SELECT 4", "SELEKT", "SELECT 5");
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.statement, 1);
    assert_string_equal(answer->done.sqlstate, "42601");
    answer = PREPARE("SELECT 5", "SELECT 4");
    assert_status(answer, AS_PG_OK);
    assert_string_equal(answer->results, "[1]\n?column?\n5[1]\n?column?\n4");
    assert_int_equal(answer->done.connection, connection);
    drop_it();
    answer = PREPARE("UPDATE accounts SET balance = -1 WHERE id = 1");
    assert_string_equal(answer->done.sqlstate, "23514");
    answer = PREPARE("SELECT 1; SELECT 2");
    assert_string_equal(answer->done.sqlstate, "42601");
}

static void test_expectation(void **state)
{
    struct answer *answer;

    (void)state;
    answer = PREPARE("SELECT 1", "=1", "UPDATE accounts SET balance = 1 WHERE id = $1", "=1",
                     "$4711", "SELECT 1", "=5");
    assert_status(answer, AS_PG_EXPECTATION);
    assert_true(answer->done.prepared);
    assert_int_equal(answer->done.code, AS_REASON_EXPECTATION_FAILED);
    assert_int_equal(answer->done.statement, 1);
    assert_string_equal(answer->message, "expected 1 row, got 0");
    drop_it();
}

static void test_refused_at_prepare(void **state)
{
    struct answer *answer;

    (void)state;
    answer = PREPARE("INSERT INTO child VALUES (1)");
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.code, AS_REASON_NONE);
    assert_int_equal(answer->done.statement, -1);
    assert_string_equal(answer->done.sqlstate, "23503");
    answer = PREPARE("CREATE TEMP TABLE t (i int)");
    assert_status(answer, AS_PG_REFUSED);
    assert_string_equal(answer->done.sqlstate, "0A000");
    answer = PREPARE("DECLARE c CURSOR WITH HOLD FOR SELECT 1");
    assert_string_equal(answer->done.sqlstate, "0A000");
    answer = PREPARE("SELECT pg_notify('a', 'b')");
    assert_string_equal(answer->done.sqlstate, "0A000");
    /* In no transaction any more: a success with the tag ROLLBACK. The agent refuses such
     * statements (R11). */
    answer = PREPARE("ROLLBACK");
    assert_status(answer, AS_PG_REFUSED);
    assert_false(answer->done.prepared);
    assert_non_null(strstr(answer->message, "ROLLBACK"));
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
}

static void test_owner(void **state)
{
    struct answer *answer;

    (void)state;
    answer = PREPARE("SET ROLE other", "UPDATE accounts SET balance = balance + 0 WHERE id = 1",
                     "SELECT set_config('role', 'other', true), current_user");
    assert_status(answer, AS_PG_OK);
    assert_string_equal(sql("SELECT owner FROM pg_prepared_xacts"), "app");
    assert_status(finish(AS_PG_COMMIT_PREPARED, gid_last, answer->done.connection, 0), AS_PG_OK);
    /* a deferred trigger would change the role after everything else, at PREPARE */
    answer = PREPARE("INSERT INTO tricky VALUES (1)");
    assert_status(answer, AS_PG_OK);
    assert_string_equal(sql("SELECT owner FROM pg_prepared_xacts"), "app");
    assert_string_equal(sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    drop_it();
    answer = PREPARE("SELECT current_user, current_setting('work_mem')");
    assert_string_equal(answer->results, "[1]\ncurrent_user|current_setting\napp|4MB");
    drop_it();
}

static void look_for_leaks(void)
{
    struct answer *answer =
        PREPARE("SELECT current_setting('work_mem'), current_setting('synchronous_commit'), "
                "current_setting('search_path'), current_setting('default_transaction_read_only'), "
                "current_user, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')");

    assert_status(answer, AS_PG_OK);
    assert_non_null(strstr(answer->results, "\n4MB|on|\"$user\", public|off|app|0"));
    drop_it();
    answer = PREPARE("SELECT lastval()");
    assert_status(answer, AS_PG_REFUSED);
    assert_string_equal(answer->done.sqlstate, "55000");
}

#define DIRT                                                                                    \
    "SET work_mem = '99MB'", "SET LOCAL synchronous_commit = off", "SET search_path = nowhere", \
        "SELECT set_config('default_transaction_read_only', 'on', false)",                      \
        "SELECT pg_advisory_lock(42)", "SELECT nextval('public.numbers')", "SET ROLE other"

static void test_nothing_leaks(void **state)
{
    struct answer *answer;

    (void)state;
    answer = PREPARE(DIRT);
    assert_status(answer, AS_PG_OK);
    assert_string_equal(sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    drop_it();
    look_for_leaks();
    answer = PREPARE(DIRT, "SELECT 1 / 0");
    assert_status(answer, AS_PG_REFUSED);
    look_for_leaks();
    answer = PREPARE(DIRT, "CREATE TEMP TABLE t (i int)");
    assert_status(answer, AS_PG_REFUSED);
    look_for_leaks();
}

static void test_isolation(void **state)
{
    static const char *const names[] = {"read committed", "repeatable read", "serializable"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        char wanted[64];
        struct answer *answer =
            wait_for(start_branch(AS_PG_PREPARE, (enum as_isolation)i, 0,
                                  TEXTS("SELECT current_setting('transaction_isolation') AS a, "
                                        "current_setting('transaction_read_only') AS b")));

        snprintf(wanted, sizeof wanted, "[1]\na|b\n%s|off", names[i]);
        assert_string_equal(answer->results, wanted);
        drop_it();
    }
}

static PGconn *lock_row(const char *id)
{
    PGconn *conn = server_connect();
    char text[100];

    snprintf(text, sizeof text, "BEGIN; UPDATE accounts SET balance = balance WHERE id = %s", id);
    PQclear(PQexec(conn, text));
    assert_int_equal(PQtransactionStatus(conn), PQTRANS_INTRANS);
    return conn;
}

/* The loop must turn meanwhile: what is waited for happens on the room's own connections. */
static void wait_until_blocked(int count)
{
    char wanted[16];

    snprintf(wanted, sizeof wanted, "%d", count);
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                    wanted) == 0);
}

static void test_timeout_and_cancel(void **state)
{
    const char *const *update = TEXTS("UPDATE accounts SET balance = 5 WHERE id = 9");
    PGconn *locker = lock_row("9");
    struct answer *answer;
    uint64_t first, second, connection;

    (void)state;
    answer = wait_for(start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 300, update));
    assert_status(answer, AS_PG_CANCELLED);
    assert_int_equal(answer->done.code, AS_REASON_TIMEOUT);
    assert_int_equal(answer->done.statement, 0);
    assert_string_equal(answer->message, "timed out after 300 ms");
    connection = answer->done.connection;
    first = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, update);
    second = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, update);
    wait_until_blocked(1);
    cancel(second);
    answer = wait_for(second);
    assert_status(answer, AS_PG_CANCELLED);
    assert_int_equal(answer->done.code, AS_REASON_CLIENT_ABORT);
    assert_int_equal(answer->done.statement, -1);
    cancel(first);
    answer = wait_for(first);
    assert_status(answer, AS_PG_CANCELLED);
    assert_int_equal(answer->done.code, AS_REASON_CLIENT_ABORT);
    /* timed out in the queue */
    first = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, update);
    answer = wait_for(start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 50, update));
    assert_status(answer, AS_PG_CANCELLED);
    assert_non_null(strstr(answer->message, "waiting"));
    PQfinish(locker);
    answer = wait_for(first);
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.connection, connection); /* the same session all the way */
    assert_status(finish(AS_PG_ROLLBACK_PREPARED, answer->done.id ? gid_last : "", 0, 0),
                  AS_PG_REFUSED);
    assert_string_equal(sql("SELECT count(*) FROM pg_prepared_xacts"), "1");
    sql("DO $$ BEGIN END $$");
    snprintf(gid_last, sizeof gid_last, "%s", sql("SELECT gid FROM pg_prepared_xacts"));
    drop_it();
}

static void test_lock_timeout_is_a_conflict(void **state)
{
    PGconn *locker = lock_row("8");
    struct answer *answer;

    (void)state;
    answer = PREPARE("SET LOCAL lock_timeout = 50", "UPDATE accounts SET balance = 5 WHERE id = 8");
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.code, AS_REASON_NONE);
    assert_int_equal(answer->done.statement, 1);
    PQfinish(locker);
}

static void test_slots_full(void **state)
{
    PGconn *conn = server_connect();
    struct answer *answer;
    char text[100];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "BEGIN; PREPARE TRANSACTION 'foreign-%d'", i);
        PQclear(PQexec(conn, text));
    }
    answer = PREPARE("SELECT 1");
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.code, AS_REASON_NONE);
    assert_string_equal(answer->done.sqlstate, "53200");
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "ROLLBACK PREPARED 'foreign-%d'", i);
        PQclear(PQexec(conn, text));
    }
    PQfinish(conn);
    assert_status(PREPARE("SELECT 1"), AS_PG_OK);
    drop_it();
}

/* A wait for a synchronous standby that is cancelled is a success with a WARNING: no vote, no
 * acknowledgement (R11). */
static void test_warned(void **state)
{
    struct answer *answer;
    struct as_pg_op op = {.kind = AS_PG_COMMIT_PREPARED};
    uint64_t id;

    (void)state;
    standby_wanted(true);
    id = start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0,
                      TEXTS("UPDATE accounts SET balance = balance WHERE id = 1"));
    WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "1") == 0);
    cancel(id);
    answer = wait_for(id);
    assert_status(answer, AS_PG_WARNED);
    assert_true(answer->done.prepared);
    assert_non_null(strstr(answer->message, "canceling wait for synchronous replication"));
    strcpy(op.gid, gid_last);
    id = start(&op);
    WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "1") == 0);
    cancel(id);
    assert_status(wait_for(id), AS_PG_WARNED);
    standby_wanted(false);
    /* a warning of the branch's own is its own affair */
    answer = PREPARE("DO $$ BEGIN RAISE WARNING 'hot'; END $$");
    assert_status(answer, AS_PG_OK);
    drop_it();
}

static void test_cache_is_bounded(void **state)
{
    struct answer *answer;
    char text[64];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, "SELECT %d", i);
        answer = PREPARE(text);
        assert_status(answer, AS_PG_OK);
        drop_it();
    }
    answer =
        PREPARE("SELECT count(*) <= 257 AS few FROM pg_prepared_statements WHERE name LIKE 's%'");
    assert_string_equal(answer->results, "[1]\nfew\nt");
    drop_it();
    answer = PREPARE("SELECT 7"); /* was evicted */
    assert_string_equal(answer->results, "[1]\n?column?\n7");
    drop_it();
}

static void test_stale_plans(void **state)
{
    struct answer *answer;

    (void)state;
    sql("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1); "
        "GRANT SELECT ON changing TO app");
    assert_status(PREPARE("SELECT * FROM changing"), AS_PG_OK);
    drop_it();
    sql("ALTER TABLE changing ADD b int DEFAULT 2");
    assert_string_equal(PREPARE("SELECT * FROM changing")->done.sqlstate, "0A000");
    answer = PREPARE("SELECT * FROM changing");
    assert_string_equal(answer->results, "[1]\na|b\n1|2");
    drop_it();
    /* somebody drops what is prepared behind our back */
    assert_status(PREPARE("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"), AS_PG_REFUSED);
    answer = PREPARE("SELECT * FROM changing");
    assert_status(answer, AS_PG_OK);
    drop_it();
}

static void test_large_results(void **state)
{
    struct answer *answer;
    uint64_t connection;

    (void)state;
    answer = PREPARE("SELECT 1", "SELECT repeat('x', 1000) FROM generate_series(1, 100000000)");
    assert_status(answer, AS_PG_EXPECTATION);
    assert_int_equal(answer->done.code, AS_REASON_STATEMENT_FAILED);
    assert_int_equal(answer->done.statement, 1);
    assert_false(answer->done.prepared);
    connection = answer->done.connection;
    /* so short that it is over before the cancel arrives, or not: both are right, but nothing may
     * be left */
    answer = PREPARE("SELECT repeat('x', 600000)", "SELECT repeat('y', 600000)");
    assert_status(answer, AS_PG_EXPECTATION);
    if (answer->done.prepared)
        drop_it();
    answer = PREPARE("SELECT repeat('x', 3000)");
    assert_status(answer, AS_PG_OK);
    assert_int_equal(answer->done.connection, connection);
    assert_int_equal(strlen(answer->results), strlen("[1]\nrepeat\n") + 3000);
    drop_it();
}

static void test_copy_and_malformed(void **state)
{
    static const uint8_t broken[] = "SELECT 12";
    struct as_pg_op op = {.kind = AS_PG_PREPARE, .gid = "assent/demo/5f3a9c01d2e4b687/1.1/1/x"};
    char gid[AS_GID_LEN_MAX + 1];
    struct as_buf buf;
    struct answer *answer;

    (void)state;
    answer = PREPARE("COPY accounts TO STDOUT");
    assert_status(answer, AS_PG_LOST);
    strcpy(gid, gid_last);
    /* lost means that it may have happened: the server may even have gone on to PREPARE */
    WAIT_FOR(strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle'"), "1") == 0);
    (void)finish(AS_PG_ROLLBACK_PREPARED, gid, 0, 0);
    assert_status(PREPARE("SELECT 1"), AS_PG_OK);
    drop_it();
    as_buf_init(&buf, 1000);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 2);
    as_work_put_statement(&buf, (struct as_bytes){(const uint8_t *)"SELECT 1", 8}, -1, 0);
    as_work_put_statement(&buf, (struct as_bytes){broken, sizeof broken - 1}, -1, 0);
    op.work = as_buf_bytes(&buf);
    *(char *)memchr(buf.data, '2', buf.len) = '\0'; /* libpq would end the text here */
    answer = wait_for(start(&op));
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.statement, 1);
    op.work.len = 3;
    assert_status(wait_for(start(&op)), AS_PG_REFUSED);
    op.work = as_buf_bytes(&buf);
    strcpy(op.gid, "assent/demo/'; DROP TABLE accounts; --");
    assert_status(wait_for(start(&op)), AS_PG_REFUSED);
    as_buf_close(&buf);
    assert_status(PREPARE("SELECT 1"), AS_PG_OK);
    drop_it();
}

static void test_read_only(void **state)
{
    struct answer *answer;
    uint64_t id;

    (void)state;
    answer = READ("SELECT count(*) FROM accounts", "=1");
    assert_status(answer, AS_PG_OK);
    assert_string_equal(answer->results, "[1]\ncount\n10");
    id = answer->done.id;
    assert_string_equal(
        sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"), "1");
    assert_status(read_end(AS_PG_READ_COMMIT, id), AS_PG_OK);
    assert_status(read_end(AS_PG_READ_COMMIT, id), AS_PG_LOST); /* it is not open any more */
    answer = READ("UPDATE accounts SET balance = 0");
    assert_status(answer, AS_PG_REFUSED);
    assert_string_equal(answer->done.sqlstate, "25006");
    assert_status(read_end(AS_PG_READ_COMMIT, answer->done.id), AS_PG_LOST);
    /* it cannot talk itself out of being read-only */
    answer = READ("SET TRANSACTION READ WRITE", "UPDATE accounts SET balance = 0");
    assert_status(answer, AS_PG_REFUSED);
    assert_int_equal(answer->done.statement, 0);
    answer = READ("SELECT 1", "=2");
    assert_status(answer, AS_PG_EXPECTATION);
    assert_string_equal(
        sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"), "0");
    answer = READ("SELECT 1");
    assert_status(read_end(AS_PG_READ_ABORT, answer->done.id), AS_PG_OK);
    /* what only COMMIT lets live on */
    assert_string_equal(READ("CREATE TEMP TABLE t (i int)")->done.sqlstate, "25006");
    answer = READ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT pg_advisory_lock(7)",
                  "SET work_mem = '9MB'", "DO $$ BEGIN EXECUTE 'LISTEN a'; END $$");
    assert_status(answer, AS_PG_OK);
    assert_status(read_end(AS_PG_READ_COMMIT, answer->done.id), AS_PG_OK);
    answer = READ("SELECT (SELECT count(*) FROM pg_cursors WHERE is_holdable), "
                  "current_setting('work_mem'), (SELECT count(*) FROM pg_listening_channels()), "
                  "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')");
    assert_non_null(strstr(answer->results, "\n0|4MB|0|0"));
    assert_status(read_end(AS_PG_READ_ABORT, answer->done.id), AS_PG_OK);
}

static void test_many_statements(void **state)
{
    static const char *texts[1001];
    struct answer *answer;

    (void)state;
    for (int i = 0; i < 1000; i++)
        texts[i] =
            i % 2 ? "SELECT 1 WHERE false" : "UPDATE accounts SET balance = balance WHERE id = 3";
    answer = wait_for(start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, texts));
    assert_status(answer, AS_PG_OK);
    drop_it();
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_prepare_and_commit),
        ONE(test_failed_statement),
        ONE(test_expectation),
        ONE(test_refused_at_prepare),
        ONE(test_owner),
        ONE(test_nothing_leaks),
        ONE(test_isolation),
        ONE(test_timeout_and_cancel),
        ONE(test_lock_timeout_is_a_conflict),
        ONE(test_slots_full),
        ONE(test_warned),
        ONE(test_cache_is_bounded),
        ONE(test_stale_plans),
        ONE(test_large_results),
        ONE(test_copy_and_malformed),
        ONE(test_read_only),
        ONE(test_many_statements),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
