/*
 * What a service sees: commit, every kind of abort, participants that are down, duplicate ids,
 * heuristics, full slots. One sandbox for all of it; each test uses ids and accounts of its own.
 */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>

static struct sandbox sandbox;

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

static void post(const char *body, struct answer *answer)
{
    http(&sandbox, "/v1/transactions", body, DEADLINE_MS, answer);
}

static void get_txn(const char *id, const char *query, struct answer *answer)
{
    char path[160];

    snprintf(path, sizeof(path), "/v1/transactions/%s%s", id, query);
    http(&sandbox, path, NULL, DEADLINE_MS, answer);
}

static int64_t balance(int database, int64_t account)
{
    PGconn *db = db_connect(&sandbox, database);
    char sql[128];
    int64_t value;

    snprintf(sql, sizeof(sql), "SELECT balance FROM accounts WHERE id = %lld", (long long)account);
    value = db_number(db, sql);
    PQfinish(db);
    return value;
}

/* --- Commit --- */

static void commits_in_both_databases(void **state)
{
    int64_t a = balance(0, 1), b = balance(1, 2);
    struct answer answer;
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "commit-1", 1, 2, 7, NULL);
    post(body, &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "id"), "commit-1");
    assert_string_equal(answer_text(&answer, "state"), "committed");
    assert_string_equal(answer_text(&answer, "applied"), "true");
    assert_string_equal(answer_text(&answer, "branches.0.state"), "committed");
    assert_string_equal(answer_text(&answer, "branches.1.participant"), "bank_b");
    assert_true(strncmp(answer_text(&answer, "branches.0.gid"), "assent/", 7) == 0);
    answer_free(&answer);
    assert_int_equal(balance(0, 1), a - 7);
    assert_int_equal(balance(1, 2), b + 7);
    assert_int_equal(ledger_count(&sandbox, 0, "commit-1"), 1);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);

    get_txn("commit-1", "", &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "state"), "committed");
    answer_free(&answer);
}

static void returns_rows_as_text(void **state)
{
    struct answer answer;
    const char *body = "{\"id\":\"rows-1\",\"branches\":["
                       "{\"participant\":\"bank_a\",\"read_only\":true,\"statements\":[{\"sql\":"
                       "\"SELECT $1::text AS "
                       "t, $2::bigint AS n, $3::text AS nothing, $4::boolean AS yes, "
                       "$5::jsonb->>'k' AS k\",\"params\":"
                       "[\"h\\u00e9 \\\"q\\\"\",9007199254740993,null,true,{\"k\":[1,2]}]}]},"
                       "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE accounts SET "
                       "balance = balance "
                       "WHERE id < 4 RETURNING id\",\"expect_rows\":3}]}]}";

    (void)state;
    post(body, &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "branches.0.state"), "read_only");
    assert_string_equal(answer_text(&answer, "branches.0.results.0.columns.1"), "n");
    assert_string_equal(answer_text(&answer, "branches.0.results.0.rows.0.0"), "h\u00e9 \"q\"");
    assert_string_equal(answer_text(&answer, "branches.0.results.0.rows.0.1"), "9007199254740993");
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(
        cJSON_GetArrayItem(
            cJSON_GetObjectItem(
                cJSON_GetArrayItem(
                    cJSON_GetObjectItem(
                        cJSON_GetArrayItem(cJSON_GetObjectItem(answer.json, "branches"), 0),
                        "results"),
                    0),
                "rows"),
            0),
        2)));
    assert_string_equal(answer_text(&answer, "branches.0.results.0.rows.0.3"), "t");
    assert_string_equal(answer_text(&answer, "branches.0.results.0.rows.0.4"), "[1, 2]");
    assert_string_equal(answer_text(&answer, "branches.1.results.0.rows.2.0"), "3");
    answer_free(&answer);
}

static void only_read_only_branches_log_nothing(void **state)
{
    struct answer answer;

    (void)state;
    post("{\"id\":\"ro-1\",\"branches\":[{\"participant\":\"bank_a\",\"read_only\":true,"
         "\"statements\":"
         "[{\"sql\":\"SELECT count(*) FROM accounts\"}]}]}",
         &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "state"), "committed");
    answer_free(&answer);
    post("{\"id\":\"ro-2\",\"branches\":[{\"participant\":\"bank_a\",\"read_only\":true,"
         "\"statements\":"
         "[{\"sql\":\"UPDATE accounts SET balance = 0\"}]}]}",
         &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "statement_failed");
    assert_string_equal(answer_text(&answer, "reason.sqlstate"), "25006");
    answer_free(&answer);
}

/* --- Abort --- */

static void a_failed_statement_aborts_everywhere(void **state)
{
    int64_t a = balance(0, 5);
    struct answer answer;

    (void)state;
    post("{\"id\":\"fail-1\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":[{\"sql\":"
         "\"UPDATE "
         "accounts SET balance = balance - 1 WHERE id = 5\"}]},{\"participant\":\"bank_b\","
         "\"statements\":[{\"sql\":\"SELECT 1\"},{\"sql\":\"UPDATE accounts SET balance = -1 WHERE "
         "id = "
         "5\"}]}]}",
         &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "state"), "aborted");
    assert_string_equal(answer_text(&answer, "reason.code"), "statement_failed");
    assert_string_equal(answer_text(&answer, "reason.participant"), "bank_b");
    assert_string_equal(answer_text(&answer, "reason.sqlstate"), "23514");
    answer_free(&answer);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(balance(0, 5), a);
    get_txn("fail-1", "", &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "state"), "aborted");
    answer_free(&answer);
}

static void expect_rows_is_a_vote(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "expect-1", 1, 999999999, 7, NULL);
    post(body, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "expectation_failed");
    assert_string_equal(answer_text(&answer, "reason.participant"), "bank_b");
    answer_free(&answer);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(ledger_count(&sandbox, 0, "expect-1"), 0);
}

static void an_aborted_id_may_be_tried_again(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "expect-1", 1, 2, 7, NULL);
    post(body, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
    assert_int_equal(ledger_count(&sandbox, 1, "expect-1"), 1);
}

static void a_timeout_aborts(void **state)
{
    struct answer answer;
    char body[2048];
    PGconn *holder = db_connect(&sandbox, 1);

    (void)state;
    db_exec(holder, "BEGIN; UPDATE accounts SET balance = balance WHERE id = 8");
    transfer_body(body, sizeof(body), "timeout-1", 1, 8, 7, ",\"timeout_ms\":400");
    post(body, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "timeout");
    answer_free(&answer);
    /* The branch that had prepared must go although the other one still waits for a lock. */
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    db_exec(holder, "ROLLBACK");
    PQfinish(holder);
    assert_int_equal(ledger_count(&sandbox, 0, "timeout-1"), 0);
    assert_int_equal(ledger_count(&sandbox, 1, "timeout-1"), 0);
}

static void a_refused_prepare_aborts(void **state)
{
    struct answer answer;

    (void)state;
    post("{\"id\":\"refused-1\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":[{\"sql\":"
         "\"CREATE TEMP TABLE t (a int)\"}]}]}",
         &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "prepare_refused");
    assert_string_equal(answer_text(&answer, "reason.sqlstate"), "0A000");
    answer_free(&answer);
}

static void an_unknown_participant_aborts(void **state)
{
    struct answer answer;

    (void)state;
    post("{\"id\":\"nobody-1\",\"branches\":[{\"participant\":\"nobody\",\"statements\":[{\"sql\":"
         "\"SELECT 1\"}]}]}",
         &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "unknown_participant");
    answer_free(&answer);
}

/* --- Waiting --- */

static void wait_none_is_told_later(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "none-1", 1, 2, 1, ",\"wait\":\"none\"");
    post(body, &answer);
    assert_status(&answer, 202);
    answer_free(&answer);
    get_txn("none-1", "?wait_ms=30000", &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "state"), "committed");
    answer_free(&answer);
}

/* --- Duplicate ids --- */

#define DUPLICATES 12

struct duplicate {
    pthread_t thread;
    struct answer answer;
    const char *body;
};

static void *post_duplicate(void *ctx)
{
    struct duplicate *duplicate = ctx;

    post(duplicate->body, &duplicate->answer);
    return NULL;
}

static void duplicate_ids_run_once(void **state)
{
    struct duplicate duplicates[DUPLICATES];
    int64_t a = balance(0, 11);
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "dup-1", 11, 12, 5, NULL);
    for (int i = 0; i < DUPLICATES; i++) {
        duplicates[i].body = body;
        assert_int_equal(
            pthread_create(&duplicates[i].thread, NULL, post_duplicate, &duplicates[i]), 0);
    }
    for (int i = 0; i < DUPLICATES; i++)
        pthread_join(duplicates[i].thread, NULL);
    for (int i = 0; i < DUPLICATES; i++) {
        assert_status(&duplicates[i].answer, 200);
        assert_string_equal(answer_text(&duplicates[i].answer, "attempt"),
                            answer_text(&duplicates[0].answer, "attempt"));
    }
    for (int i = 0; i < DUPLICATES; i++)
        answer_free(&duplicates[i].answer);
    assert_int_equal(balance(0, 11), a - 5);
}

static void an_id_with_another_body_is_refused(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    transfer_body(body, sizeof(body), "dup-1", 11, 12, 6, NULL);
    post(body, &answer);
    assert_status(&answer, 422);
    assert_string_equal(answer_text(&answer, "code"), "id_reused");
    assert_string_equal(answer.content_type, "application/problem+json");
    answer_free(&answer);
}

/* --- Participants that are down --- */

static bool participants_up(void *ctx)
{
    struct answer answer;
    const cJSON *participant;
    int up = 0;

    (void)ctx;
    http(&sandbox, "/v1/participants", NULL, DEADLINE_MS, &answer);
    cJSON_ArrayForEach(participant, cJSON_GetObjectItem(answer.json, "participants"))
    {
        const cJSON *state = cJSON_GetObjectItem(participant, "state");

        up += cJSON_IsString(state) && strcmp(state->valuestring, "up") == 0;
    }
    answer_free(&answer);
    return up == sandbox.database_count;
}

static void a_dead_agent_before_its_vote_aborts(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    if (no_agents())
        skip(); /* the coordinator would be dead with it */
    sandbox_do(&sandbox, "kill", "agent-bank_b", NULL);
    transfer_body(body, sizeof(body), "down-1", 1, 2, 7, NULL);
    post(body, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "participant_unavailable");
    assert_string_equal(answer_text(&answer, "reason.participant"), "bank_b");
    answer_free(&answer);
    sandbox_do(&sandbox, "restart", "agent-bank_b", NULL);
    wait_for("participants up again", participants_up, NULL, DEADLINE_MS);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

static void a_dead_database_before_its_vote_aborts(void **state)
{
    struct answer answer;
    char body[2048];

    (void)state;
    sandbox_do(&sandbox, "kill", "database-bank_b", NULL);
    transfer_body(body, sizeof(body), "down-2", 1, 2, 7, NULL);
    post(body, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "reason.code"), "participant_unavailable");
    answer_free(&answer);
    sandbox_do(&sandbox, "restart", "database-bank_b", NULL);
    wait_for("participants up again", participants_up, NULL, DEADLINE_MS);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

/* bank_a's vote is in while bank_b waits for a lock: then bank_a dies, and the decision must still
 * be kept. */
static void kill_after_vote(const char *id, const char *victim)
{
    PGconn *holder = db_connect(&sandbox, 1);
    struct duplicate client = {.body = NULL};
    struct answer answer;
    char body[2048];
    int64_t until = now_ms() + DEADLINE_MS;

    db_exec(holder, "BEGIN; UPDATE accounts SET balance = balance WHERE id = 21");
    transfer_body(body, sizeof(body), id, 20, 21, 3, ",\"wait\":\"decided\"");
    client.body = body;
    assert_int_equal(pthread_create(&client.thread, NULL, post_duplicate, &client), 0);
    while (db_prepared_count(&sandbox, 0) != 1)
        assert_true(now_ms() < until);
    sandbox_do(&sandbox, "kill", victim, NULL);
    db_exec(holder, "COMMIT");
    PQfinish(holder);
    pthread_join(client.thread, NULL);
    /* The vote was in the coordinator's hands or not yet; either way the outcome is one for both.
     */
    assert_true(client.answer.status == 200 || client.answer.status == 202 ||
                client.answer.status == 409);
    sandbox_do(&sandbox, "restart", victim, NULL);
    wait_for("participants up again", participants_up, NULL, DEADLINE_MS);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    get_txn(id, "?wait_ms=30000", &answer);
    assert_status(&answer, 200);
    assert_int_equal(ledger_count(&sandbox, 0, id),
                     strcmp(answer_text(&answer, "state"), "committed") == 0);
    assert_int_equal(ledger_count(&sandbox, 1, id), ledger_count(&sandbox, 0, id));
    if (client.answer.status != 409)
        assert_int_equal(ledger_count(&sandbox, 0, id), 1);
    answer_free(&answer);
    answer_free(&client.answer);
}

static void a_dead_agent_after_its_vote_is_finished_later(void **state)
{
    (void)state;
    if (no_agents())
        skip();
    kill_after_vote("down-3", "agent-bank_a");
}

static void a_dead_database_after_its_vote_is_finished_later(void **state)
{
    (void)state;
    kill_after_vote("down-4", "database-bank_a");
}

/* --- Heuristic outcome --- */

struct heuristic {
    char id[65];
    char want[32];
};

static bool branch_is(void *ctx)
{
    struct heuristic *heuristic = ctx;
    struct answer answer;
    bool met;

    get_txn(heuristic->id, "", &answer);
    met = strcmp(answer_text(&answer, "branches.0.state"), heuristic->want) == 0;
    answer_free(&answer);
    return met;
}

static bool list_holds(const char *query, const char *id)
{
    struct answer answer;
    const cJSON *txn;
    bool found = false;
    char path[128];

    snprintf(path, sizeof(path), "/v1/transactions?%s", query);
    http(&sandbox, path, NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    cJSON_ArrayForEach(txn, cJSON_GetObjectItem(answer.json, "transactions"))
    {
        found |= strcmp(cJSON_GetObjectItem(txn, "id")->valuestring, id) == 0;
    }
    answer_free(&answer);
    return found;
}

static void a_branch_rolled_back_by_hand_is_reported(void **state)
{
    struct heuristic heuristic = {"heur-1", "heuristic_abort"};
    struct duplicate client = {.body = NULL};
    PGconn *holder = db_connect(&sandbox, 1);
    PGconn *person = db_connect(&sandbox, 0);
    int64_t until = now_ms() + DEADLINE_MS;
    struct answer answer;
    char body[2048], sql[400];
    PGresult *gid;

    (void)state;
    db_exec(holder, "BEGIN; UPDATE accounts SET balance = balance WHERE id = 31");
    transfer_body(body, sizeof(body), heuristic.id, 30, 31, 3, NULL);
    client.body = body;
    assert_int_equal(pthread_create(&client.thread, NULL, post_duplicate, &client), 0);
    while (db_prepared_count(&sandbox, 0) != 1)
        assert_true(now_ms() < until);
    gid = PQexec(person, "SELECT gid FROM pg_prepared_xacts");
    snprintf(sql, sizeof(sql), "ROLLBACK PREPARED '%s'", PQgetvalue(gid, 0, 0));
    PQclear(gid);
    db_exec(person, sql);
    db_exec(holder, "COMMIT");
    pthread_join(client.thread, NULL);
    assert_status(&client.answer, 202);
    assert_string_equal(answer_text(&client.answer, "applied"), "false");
    answer_free(&client.answer);
    wait_for("the heuristic abort is shown", branch_is, &heuristic, DEADLINE_MS);
    assert_true(list_holds("state=heuristic", heuristic.id));

    http(&sandbox, "/v1/transactions/heur-1/branches/1/acknowledge",
         "{\"reason\":\"repaired by hand\"}", DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
    assert_false(list_holds("state=heuristic", heuristic.id));
    http(&sandbox, "/v1/transactions/heur-1/branches/1/acknowledge", "{\"reason\":\"again\"}",
         DEADLINE_MS, &answer);
    assert_status(&answer, 409);
    assert_string_equal(answer_text(&answer, "code"), "not_heuristic");
    answer_free(&answer);

    /* Repair what the person did, so that the money is right for the tests behind this one. */
    db_exec(person, "UPDATE accounts SET balance = balance - 3 WHERE id = 30");
    PQfinish(person);
    PQfinish(holder);
}

/* --- Many at once --- */

/* Accounts of each thread's own: two transfers that lock the same two rows in different order are a
 * deadlock across databases, which only a timeout ends. */
static void *transfer_many(void *ctx)
{
    const char *name = ctx;
    int64_t first = 100 + (name[0] - 'a') * 100;
    char id[64], body[2048];

    for (int i = 0; i < 25; i++) {
        struct answer answer;

        snprintf(id, sizeof(id), "many-%s-%d", name, i);
        transfer_body(body, sizeof(body), id, first + i, first + 50 + i, 1, NULL);
        post(body, &answer);
        if (answer.status != 200)
            return "a transfer did not commit";
        answer_free(&answer);
    }
    return NULL;
}

static void money_is_conserved_under_load(void **state)
{
    static const char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    pthread_t threads[AS_COUNT_OF(names)];
    int64_t total = money_total(&sandbox);

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(names); i++)
        pthread_create(&threads[i], NULL, transfer_many, (void *)(uintptr_t)names[i]);
    for (size_t i = 0; i < AS_COUNT_OF(names); i++) {
        void *why;

        pthread_join(threads[i], &why);
        if (why)
            fail_msg("%s", (const char *)why);
    }
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(money_total(&sandbox), total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_in_both_databases),
        cmocka_unit_test(returns_rows_as_text),
        cmocka_unit_test(only_read_only_branches_log_nothing),
        cmocka_unit_test(a_failed_statement_aborts_everywhere),
        cmocka_unit_test(expect_rows_is_a_vote),
        cmocka_unit_test(an_aborted_id_may_be_tried_again),
        cmocka_unit_test(a_timeout_aborts),
        cmocka_unit_test(a_refused_prepare_aborts),
        cmocka_unit_test(an_unknown_participant_aborts),
        cmocka_unit_test(wait_none_is_told_later),
        cmocka_unit_test(duplicate_ids_run_once),
        cmocka_unit_test(an_id_with_another_body_is_refused),
        cmocka_unit_test(a_dead_agent_before_its_vote_aborts),
        cmocka_unit_test(a_dead_database_before_its_vote_aborts),
        cmocka_unit_test(a_dead_agent_after_its_vote_is_finished_later),
        cmocka_unit_test(a_dead_database_after_its_vote_is_finished_later),
        cmocka_unit_test(a_branch_rolled_back_by_hand_is_reported),
        cmocka_unit_test(money_is_conserved_under_load),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
