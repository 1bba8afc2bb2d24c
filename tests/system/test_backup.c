/*
 * A backup of the decision log, the loss of every node, and a cluster of three made of the backup (decisions/0015): what it
 * holds is finished, what was decided later is a person's, and no money is made or lost.
 */
#include "harness.h"
#include "nodes.h"

#include <stdio.h>
#include <unistd.h>

#define INCARNATION "00000000c0ffee01"
#define A 0
#define B 1
#define C 2

static struct sandbox sandbox;
static char backup[300];
static char uuid[80], uuid_body[2048]; /* a transaction after the backup whose id bears its time */
static int64_t total;

static int setup(void **state)
{
    static const char *const three[] = {"--nodes", "3", "--databases", "3", NULL};

    (void)state;
    sandbox_start(&sandbox, three);
    snprintf(backup, sizeof(backup), "%s/log.backup", sandbox.dir);
    total = money_total(&sandbox);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

/* --- Transactions --- */

/* One from account 1 of the first database to that of the second: its number is the account's, so that a test can block it. */
static void body_of(char *ret_body, size_t size, const char *id, int from, int to, int account,
                    const char *more)
{
    static const char branch[] =
        "{\"participant\":\"%s\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
        "balance %c 1 WHERE id = $1\",\"params\":[%d],\"expect_rows\":1},{\"sql\":\"INSERT INTO "
        "ledger (txn, account, amount) VALUES ($1, $2, 1)\",\"params\":[\"%s\",%d]}]}";
    char first[600], second[600], named[100] = "";

    snprintf(first, sizeof(first), branch, sandbox.participant[from], '-', account,
             id ? id : "unnamed", account);
    snprintf(second, sizeof(second), branch, sandbox.participant[to], '+', account,
             id ? id : "unnamed", account);
    if (id)
        snprintf(named, sizeof(named), "\"id\":\"%s\",", id);
    snprintf(ret_body, size, "{%s%s\"branches\":[%s,%s]}", named, more, first, second);
}

static void ask(int place, const char *path, const char *body, struct answer *answer)
{
    http_at(sandbox.nodes[place].api, NULL, path, body, DEADLINE_MS, answer);
}

static void transfer(int place, const char *id, int from, int to)
{
    struct answer answer;
    char body[2048];

    body_of(body, sizeof(body), id, from, to, 1, "");
    ask(place, "/v1/transactions", body, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
}

struct wanted {
    const char *id, *field, *value;
};

static bool shows(void *ctx)
{
    const struct wanted *wanted = ctx;
    struct answer answer;
    char path[128];
    bool right;

    snprintf(path, sizeof(path), "/v1/transactions/%s", wanted->id);
    ask(0, path, NULL, &answer);
    if (strcmp(wanted->field, "applied") == 0)
        right =
            cJSON_IsTrue(cJSON_GetObjectItem(answer.json, "applied")) == (wanted->value[0] == 't');
    else
        right = strcmp(answer_text(&answer, wanted->field), wanted->value) == 0;
    answer_free(&answer);
    return right;
}

static void wait_shows(const char *id, const char *field, const char *value)
{
    struct wanted wanted = {id, field, value};

    wait_for(id, shows, &wanted, DEADLINE_MS);
}

/* Its first branch, in `from`, is prepared; its second, in `to`, waits for the lock of the connection that is returned. */
static PGconn *hold(const char *id, int from, int to, int account)
{
    PGconn *holder = db_connect(&sandbox, to);
    struct answer answer;
    char sql[128], body[2048];

    snprintf(sql, sizeof(sql), "BEGIN; UPDATE accounts SET balance = balance WHERE id = %d",
             account);
    db_exec(holder, sql);
    body_of(body, sizeof(body), id, from, to, account, "\"wait\":\"none\",\"timeout_ms\":600000,");
    ask(0, "/v1/transactions", body, &answer);
    assert_status(&answer, 202);
    answer_free(&answer);
    wait_shows(id, "branches.0.state", "prepared");
    return holder;
}

static void let_go(PGconn *holder)
{
    db_exec(holder, "COMMIT");
    PQfinish(holder);
}

/* --- The backup --- */

static int verify(const char *path)
{
    return run_assent((const char *[]){"log", "verify", path, NULL}, NULL);
}

static void a_backup_is_taken_while_it_runs(void **state)
{
    int node = (leader_find(&sandbox) + 1) % 3; /* any will do */
    const char *const args[] = {
        "backup", "--data", sandbox.nodes[node].dir, "--api", sandbox.nodes[node].api, backup,
        "--json", NULL};
    const char *const another[] = {
        "backup", "--data", sandbox.nodes[node].dir, "--api", sandbox.nodes[(node + 1) % 3].api,
        NULL,     NULL};
    const char *wrong[AS_COUNT_OF(another)];
    char other[320], *out;
    PGconn *holder;
    cJSON *json;

    (void)state;
    transfer(0, "before-1", A, B);
    transfer(1, "before-2", C, B);
    /* Decided, and not finished in bank_a. */
    holder = hold("kept-1", A, B, 7);
    sandbox_do(&sandbox, "kill", "agent-bank_a", NULL);
    let_go(holder);
    wait_shows("kept-1", "state", "committed");
    wait_caught_up(&sandbox, node);

    assert_int_equal(run_assent(args, &out), 0);
    json = cJSON_Parse(out);
    assert_non_null(json);
    assert_int_equal(cJSON_GetObjectItem(json, "outcomes")->valueint, 3);
    assert_int_equal(cJSON_GetObjectItem(json, "unfinished")->valueint, 1);
    assert_string_equal(cJSON_GetObjectItem(json, "incarnation")->valuestring, sandbox.incarnation);
    cJSON_Delete(json);
    free(out);
    assert_int_equal(verify(backup), 0);
    assert_int_equal(run_assent(args, NULL), 1); /* never written over */
    assert_int_equal(verify(backup), 0);
    /* The node that was asked is not the one whose directory was named. */
    memcpy(wrong, another, sizeof(wrong));
    snprintf(other, sizeof(other), "%s.other", backup);
    wrong[5] = other;
    assert_int_equal(run_assent(wrong, NULL), 1);
    assert_int_equal(access(other, F_OK), -1);
}

/* The last entry is one of Raft's own, which no snapshot waits for. */
static void a_backup_behind_a_change_of_members(void **state)
{
    int leader = leader_find(&sandbox);
    char path[320];
    const char *const args[] = {
        "backup", "--data", sandbox.nodes[leader].dir, "--api", sandbox.nodes[leader].api,
        path,     NULL};

    (void)state;
    snprintf(path, sizeof(path), "%s.members", backup);
    assert_int_equal(cluster_command(&sandbox, "add", 9, "127.0.0.1:9"), 0);
    assert_int_equal(run_assent(args, NULL), 0);
    assert_int_equal(verify(path), 0);
    assert_int_equal(cluster_command(&sandbox, "remove", 9, NULL), 0);
}

static void a_damaged_backup_is_refused(void **state)
{
    char path[320], command[800];
    long size, at[4];
    FILE *file;

    (void)state;
    snprintf(path, sizeof(path), "%s.damaged", backup);
    file = fopen(backup, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    fclose(file);
    at[0] = 40;
    at[1] = 600;
    at[2] = size / 2;
    at[3] = size - 4;
    for (size_t i = 0; i < AS_COUNT_OF(at) + 1; i++) {
        snprintf(command, sizeof(command), "cp %s %s", backup, path);
        assert_int_equal(system(command), 0);
        if (i == AS_COUNT_OF(at)) {
            assert_int_equal(truncate(path, size - 33), 0);
        } else {
            int byte;

            file = fopen(path, "r+");
            assert_non_null(file);
            assert_int_equal(fseek(file, at[i], SEEK_SET), 0);
            byte = fgetc(file);
            assert_int_equal(fseek(file, at[i], SEEK_SET), 0);
            assert_true(fputc(byte ^ 1, file) >= 0);
            fclose(file);
        }
        if (verify(path) != 1)
            fail_msg("a backup that is damaged at byte %ld passes", i < 4 ? at[i] : size);
    }
}

/* --- More happens, and all is lost --- */

static void everything_is_lost_after_more_was_decided(void **state)
{
    struct answer answer;
    PGconn *open, *late;
    char command[800];

    (void)state;
    transfer(0, "after-1", B, C);
    body_of(uuid_body, sizeof(uuid_body), NULL, B, C, 1, "");
    ask(0, "/v1/transactions", uuid_body, &answer);
    assert_status(&answer, 200);
    snprintf(uuid, sizeof(uuid), "%s", answer_text(&answer, "id"));
    answer_free(&answer);
    /* One is decided and not finished in bank_c, one not even decided. */
    open = hold("open-1", C, B, 8);
    late = hold("late-1", C, B, 9);
    sandbox_do(&sandbox, "kill", "agent-bank_c", NULL);
    let_go(late);
    wait_shows("late-1", "state", "committed");
    for (int i = 0; i < 3; i++)
        sandbox_do(&sandbox, "kill", sandbox.nodes[i].name, NULL);
    sandbox_do(&sandbox, "kill", "agent-bank_b", NULL);
    let_go(open);
    assert_int_equal(db_prepared_count(&sandbox, A), 1);
    assert_int_equal(db_prepared_count(&sandbox, C), 2);
    for (int i = 0; i < 3; i++) {
        snprintf(command, sizeof(command), "rm -rf %s", sandbox.nodes[i].dir);
        assert_int_equal(system(command), 0);
    }
}

/* --- A cluster is made of it --- */

static int restore(int place)
{
    char command[1200];
    int status;

    snprintf(command, sizeof(command),
             AS_TEST_BIN "/assentd --config %s/etc/%s.ini --restore %s --no-run 2>>%s/restore.log",
             sandbox.dir, sandbox.nodes[place].name, backup, sandbox.dir);
    status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void give_incarnation(int place)
{
    char command[800];

    snprintf(command, sizeof(command), "sed -i 's/^incarnation=.*/incarnation=%s/' %s/etc/%s.ini",
             INCARNATION, sandbox.dir, sandbox.nodes[place].name);
    assert_int_equal(system(command), 0);
}

static void a_cluster_of_three_is_made_of_it(void **state)
{
    static const char *const agents[] = {"agent-bank_a", "agent-bank_b", "agent-bank_c"};

    (void)state;
    assert_int_equal(restore(0), 1); /* under the incarnation that it had */
    for (int i = 0; i < 3; i++) {
        give_incarnation(i);
        assert_int_equal(restore(i), 0);
        assert_int_equal(verify(sandbox.nodes[i].dir), 0);
    }
    assert_int_equal(restore(0), 1); /* there is a log now */
    for (int i = 0; i < 3; i++)
        sandbox_do(&sandbox, "restart", sandbox.nodes[i].name, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(agents); i++)
        sandbox_do(&sandbox, "restart", agents[i], NULL);
}

static bool is_served(void *ctx)
{
    struct answer answer;
    const cJSON *one;
    int up = 0;

    (void)ctx;
    ask(0, "/v1/participants", NULL, &answer);
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer.json, "participants"))
    {
        up += strcmp(cJSON_GetObjectItem(one, "state")->valuestring, "up") == 0;
    }
    answer_free(&answer);
    return up == 3;
}

/* What is prepared there of that id: its gid, and what the log answers. */
static void listed(int database, const char *id, char ret_gid[256], char ret_answer[32])
{
    char path[128];
    const cJSON *row;
    struct answer answer;

    ret_gid[0] = ret_answer[0] = 0;
    snprintf(path, sizeof(path), "/v1/participants/%s/prepared", sandbox.participant[database]);
    ask(1, path, NULL, &answer);
    assert_status(&answer, 200);
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(answer.json, "prepared"))
    {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, "answer"));

        assert_string_equal(cJSON_GetObjectItem(row, "state")->valuestring, "other_incarnation");
        if (strcmp(cJSON_GetObjectItem(row, "id")->valuestring, id) != 0)
            continue;
        snprintf(ret_gid, 256, "%s", cJSON_GetObjectItem(row, "gid")->valuestring);
        snprintf(ret_answer, 32, "%s", text ? text : "null");
    }
    answer_free(&answer);
}

static void resolve(int database, const char *gid, const char *decision, long status,
                    const char *code)
{
    struct answer answer;
    char path[512], body[256];

    snprintf(path, sizeof(path), "/v1/participants/%s/prepared/%s/resolve",
             sandbox.participant[database], gid);
    snprintf(body, sizeof(body),
             "{\"decision\":\"%s\",\"reason\":\"ticket 900\",\"other_incarnation\":true}",
             decision);
    ask(2, path, body, &answer);
    if (answer.status != status || strcmp(answer_text(&answer, "code"), code) != 0)
        fail_msg("%s of %s: not %ld %s but %ld %s", decision, gid, status, code, answer.status,
                 answer.body);
    answer_free(&answer);
}

static void what_the_backup_holds_is_finished(void **state)
{
    const char *const settle[] = {"participant", "settle", "--api", sandbox.nodes[0].api, NULL};
    char gid[256], answer[32], *out;

    (void)state;
    wait_for("all three are served", is_served, NULL, DEADLINE_MS);
    wait_shows("before-1", "state", "committed");
    wait_shows("kept-1", "state", "committed");
    wait_shows("kept-1", "applied", "false");
    listed(A, "kept-1", gid, answer);
    assert_string_equal(answer, "commit");
    resolve(A, gid, "abort", 409, "decided_commit");
    assert_int_equal(run_assent(settle, &out), 1); /* two others are left, for a person */
    assert_non_null(strstr(out, "1 committed"));
    assert_non_null(strstr(out, "bank_c: 2 more"));
    free(out);
    wait_shows("kept-1", "applied", "true");
    assert_int_equal(ledger_count(&sandbox, A, "kept-1"), 1);
    assert_int_equal(ledger_count(&sandbox, B, "kept-1"), 1);
}

static void what_was_decided_later_is_a_persons(void **state)
{
    const char *const settle[] = {"participant", "settle", "--api", sandbox.nodes[0].api, NULL};
    char gid[256], said[32];

    (void)state;
    listed(C, "late-1", gid, said);
    assert_string_equal(said, "null");
    assert_int_equal(ledger_count(&sandbox, B, "late-1"), 1); /* it took place */
    resolve(C, gid, "commit", 200, "");
    listed(C, "open-1", gid, said);
    assert_string_equal(said, "null");
    assert_int_equal(ledger_count(&sandbox, B, "open-1"), 0); /* it did not */
    resolve(C, gid, "abort", 200, "");
    assert_int_equal(run_assent(settle, NULL), 0);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(money_total(&sandbox), total);
}

/* What the log has forgotten is never run again by mistake, where its id tells how old it is. */
static void forgotten_ids(void **state)
{
    struct answer answer;
    char path[128], body[2200];

    (void)state;
    ask(0, "/v1/transactions/after-1", NULL, &answer);
    assert_status(&answer, 404);
    answer_free(&answer);
    snprintf(path, sizeof(path), "/v1/transactions/%s", uuid);
    ask(0, path, NULL, &answer);
    assert_status(&answer, 404);
    answer_free(&answer);
    snprintf(body, sizeof(body), "{\"id\":\"%s\",%s", uuid, uuid_body + 1);
    ask(0, "/v1/transactions", body, &answer);
    assert_status(&answer, 422);
    assert_string_equal(answer_text(&answer, "code"), "id_expired");
    answer_free(&answer);
    /* One that the backup holds is answered as it was. */
    body_of(body, sizeof(body), "before-1", A, B, 1, "");
    ask(1, "/v1/transactions", body, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
    assert_int_equal(ledger_count(&sandbox, A, "before-1"), 1);
}

static void it_goes_on(void **state)
{
    struct answer answer;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char id[32];

        snprintf(id, sizeof(id), "new-%d", i);
        transfer(i, id, i, (i + 1) % 3);
    }
    ask(0, "/v1/cluster", NULL, &answer);
    assert_string_equal(answer_text(&answer, "incarnation"), INCARNATION);
    /* No attempt's number is used twice, whatever terms the lost cluster went through. */
    assert_true(cJSON_GetObjectItem(answer.json, "term")->valuedouble > 1000000);
    answer_free(&answer);
    transfer(0, NULL, A, B);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(money_total(&sandbox), total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_taken_while_it_runs),
        cmocka_unit_test(a_backup_behind_a_change_of_members),
        cmocka_unit_test(a_damaged_backup_is_refused),
        cmocka_unit_test(everything_is_lost_after_more_was_decided),
        cmocka_unit_test(a_cluster_of_three_is_made_of_it),
        cmocka_unit_test(what_the_backup_holds_is_finished),
        cmocka_unit_test(what_was_decided_later_is_a_persons),
        cmocka_unit_test(forgotten_ids),
        cmocka_unit_test(it_goes_on),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
