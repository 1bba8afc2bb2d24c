/*
 * Named operations on a real PostgreSQL: bank_a runs nothing else, bank_b runs any SQL.
 */
#include "nodes.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define DEBIT                                                                                   \
    "-- name: debit\n-- expect_rows: 1\nUPDATE accounts SET balance = balance - $2 WHERE id = " \
    "$1\n"

static struct sandbox sandbox;
static char file[300];

static void write_operations(const char *text)
{
    FILE *out = fopen(file, "we");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static bool participant_up(void *ctx)
{
    struct answer answer;
    bool up;

    (void)ctx;
    http(&sandbox, "/v1/participants/bank_a", NULL, DEADLINE_MS, &answer);
    up = answer.status == 200 && strstr(answer.body, "\"state\":\"up\"");
    answer_free(&answer);
    return up;
}

static void append_config(const char *text)
{
    char path[400];
    FILE *out;

    snprintf(path, sizeof(path), "%s/etc/%s.ini", sandbox.dir, agent_of("bank_a"));
    out = fopen(path, "ae");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
    char text[400];

    (void)state;
    sandbox_start(&sandbox, NULL);
    snprintf(file, sizeof(file), "%s/etc/bank_a.sql", sandbox.dir);
    write_operations("-- What a shop may do.\n\n" DEBIT
                     "\n-- name: balance\nSELECT balance FROM accounts WHERE id = $1\n");
    snprintf(text, sizeof(text), "\n[participant.bank_a]\noperations = %s\nsql = named\n", file);
    append_config(text);
    sandbox_do(&sandbox, "kill", agent_of("bank_a"), NULL);
    sandbox_do(&sandbox, "restart", agent_of("bank_a"), NULL);
    wait_for("bank_a is served", participant_up, NULL, DEADLINE_MS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

static int64_t balance(int database, int account)
{
    PGconn *db = db_connect(&sandbox, database);
    char sql[100];
    int64_t value;

    snprintf(sql, sizeof(sql), "SELECT balance FROM accounts WHERE id = %d", account);
    value = db_number(db, sql);
    PQfinish(db);
    return value;
}

/* `statement` at bank_a, and 5 more on account 1 of bank_b. */
static void run(const char *id, const char *statement, struct answer *ret_answer)
{
    char body[1000];

    snprintf(body, sizeof(body),
             "{\"id\":\"%s\",\"branches\":["
             "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
             "balance + 5 WHERE id = 1\"}]},"
             "{\"participant\":\"bank_a\",\"statements\":[%s]}]}",
             id, statement);
    http(&sandbox, "/v1/transactions", body, DEADLINE_MS, ret_answer);
}

/* Commits. */
static void assert_runs(const char *id, const char *statement)
{
    struct answer answer;

    run(id, statement, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
}

/* Aborts, and changes nothing anywhere. */
static void assert_refused(const char *id, const char *statement, const char *code,
                           const char *sqlstate, const char *message)
{
    int64_t a = balance(0, 1), b = balance(1, 1);
    struct answer answer;

    run(id, statement, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), code);
    assert_string_equal(answer_text(&answer, "reason.sqlstate"), sqlstate);
    assert_string_equal(answer_text(&answer, "reason.participant"), "bank_a");
    if (!strstr(answer_text(&answer, "reason.message"), message))
        fail_msg("%s", answer_text(&answer, "reason.message"));
    answer_free(&answer);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(balance(0, 1), a);
    assert_int_equal(balance(1, 1), b);
}

static void an_operation_runs_as_sql_does(void **state)
{
    int64_t a = balance(0, 1), b = balance(1, 1);
    struct answer answer;

    (void)state;
    run("ops-1",
        "{\"operation\":\"debit\",\"params\":[1,5]},{\"operation\":\"balance\",\"params\":[1]}",
        &answer);
    assert_status(&answer, 200);
    assert_non_null(strstr(answer.body, "\"columns\":[\"balance\"]"));
    answer_free(&answer);
    assert_int_equal(balance(0, 1), a - 5);
    assert_int_equal(balance(1, 1), b + 5);
    /* R9: the name is part of the body. */
    assert_runs("ops-1", "{\"operation\":\"debit\",\"params\":[1,5]},"
                         "{\"params\":[1],\"operation\":\"balance\"}");
    assert_int_equal(balance(0, 1), a - 5);
    run("ops-1",
        "{\"operation\":\"debit\",\"params\":[1,5]},{\"operation\":\"debit\",\"params\":[1]}",
        &answer);
    assert_status(&answer, 422);
    assert_string_equal(answer_text(&answer, "code"), "id_reused");
    answer_free(&answer);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    assert_refused("ops-2", "{\"sql\":\"UPDATE accounts SET balance = 0\"}", "statement_failed",
                   "OP001", "named operations only");
    assert_refused("ops-3",
                   "{\"operation\":\"debit\",\"params\":[1,5]},{\"sql\":\"DELETE FROM accounts\"}",
                   "statement_failed", "OP001", "named operations only");
    assert_refused("ops-4", "{\"operation\":\"credit\",\"params\":[1,5]}", "statement_failed",
                   "OP002", "no operation \"credit\"");
    assert_refused("ops-5", "{\"operation\":\"debit\",\"params\":[1,5],\"expect_rows\":2}",
                   "statement_failed", "OP003", "expects 1 rows");
    /* As with SQL of one's own. */
    assert_refused("ops-6", "{\"operation\":\"debit\",\"params\":[1]}", "statement_failed", "08P01",
                   "parameter");
    assert_refused("ops-7", "{\"operation\":\"debit\",\"params\":[1,\"1; DROP TABLE accounts\"]}",
                   "statement_failed", "22P02", "");
    assert_refused("ops-8", "{\"operation\":\"debit\",\"params\":[-1,5]}", "expectation_failed", "",
                   "expected 1 row");
}

static void reload(const char *what)
{
    char name[80];

    snprintf(name, sizeof(name), "%s", agent_of("bank_a"));
    kill(sandbox_pid(&sandbox, name), SIGHUP);
    wait_log_says(&sandbox, name, what);
}

static void they_are_read_again(void **state)
{
    int64_t a = balance(0, 1);

    (void)state;
    write_operations(DEBIT "-- name: debit\nSELECT 1\n");
    reload("event=operations_not_reloaded");
    assert_runs("ops-10", "{\"operation\":\"balance\",\"params\":[1]}");
    write_operations(
        "-- name: debit\nUPDATE accounts SET balance = balance - $2 * 2 WHERE id = $1\n");
    reload("event=operations_reloaded");
    assert_runs("ops-11", "{\"operation\":\"debit\",\"params\":[1,5]}");
    assert_int_equal(balance(0, 1), a - 10);
    assert_refused("ops-12", "{\"operation\":\"balance\",\"params\":[1]}", "statement_failed",
                   "OP002", "no operation \"balance\"");
}

/* What --check-config says, and the daemon at its start. */
static void a_bad_file_is_found_before_the_start(void **state)
{
    char command[700], said[1000] = "";
    size_t len;
    FILE *out;

    (void)state;
    write_operations("-- name: debit\nCOMMIT\n");
    snprintf(command, sizeof(command), AS_TEST_BIN "/%s --config %s/etc/%s.ini --check-config 2>&1",
             no_agents() ? "assentd" : "assent-agent", sandbox.dir, agent_of("bank_a"));
    out = popen(command, "r");
    assert_non_null(out);
    len = fread(said, 1, sizeof(said) - 1, out);
    said[len] = 0;
    assert_int_equal(WEXITSTATUS(pclose(out)), 2);
    if (!strstr(said, "bank_a.sql: line 1: \"debit\": COMMIT is not allowed"))
        fail_msg("%s", said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_runs_as_sql_does),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(they_are_read_again),
        cmocka_unit_test(a_bad_file_is_found_before_the_start),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
