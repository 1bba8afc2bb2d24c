/*
 * An operator and prepared transactions that are stuck (R6): what is listed, what may be resolved and
 * what may not, and that the database then holds what was decided. Three nodes: the one that is asked
 * need not lead.
 */
#include "harness.h"

#include <stdio.h>
#include <unistd.h>

static struct sandbox sandbox;

static int setup(void **state)
{
    static const char *const nodes[] = {"--nodes", "3", NULL};

    (void)state;
    sandbox_start(&sandbox, nodes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

/* --- A person at the database --- */

static int64_t balance(int64_t account)
{
    PGconn *db = db_connect(&sandbox, 0);
    char sql[128];
    int64_t value;

    snprintf(sql, sizeof(sql), "SELECT balance FROM accounts WHERE id = %lld", (long long)account);
    value = db_number(db, sql);
    PQfinish(db);
    return value;
}

/* A prepared transaction of that name in bank_a which gives 5 to the account. */
static void prepare_by_hand(const char *gid, int64_t account)
{
    PGconn *db = db_connect(&sandbox, 0);
    char sql[512];

    snprintf(sql, sizeof(sql),
             "BEGIN; UPDATE accounts SET balance = balance + 5 WHERE id = %lld; "
             "PREPARE TRANSACTION '%s'",
             (long long)account, gid);
    db_exec(db, sql);
    PQfinish(db);
}

static void finish_by_hand(const char *verb, const char *gid)
{
    PGconn *db = db_connect(&sandbox, 0);
    char sql[512];

    snprintf(sql, sizeof(sql), "%s PREPARED '%s'", verb, gid);
    db_exec(db, sql);
    PQfinish(db);
}

/* --- Asking, at whichever node --- */

/* Who that is in the log: with TLS the nodes know whose token our requests show. */
static const char *known_as(const char *who)
{
    static char text[64];

    snprintf(text, sizeof(text), "%s%s", getenv("ASSENT_TLS") ? "token:all " : "", who);
    return text;
}

static void ask(const char *path, const char *body, struct answer *answer)
{
    static int turn;

    http_at(sandbox.nodes[turn++ % sandbox.node_count].api, NULL, path, body, DEADLINE_MS, answer);
}

/* A field of that gid's row in bank_a's list; "" if it is not listed. */
static void listed(const char *gid, const char *field, char ret_text[64])
{
    const cJSON *row;
    struct answer answer;

    ret_text[0] = 0;
    ask("/v1/participants/bank_a/prepared", NULL, &answer);
    assert_status(&answer, 200);
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(answer.json, "prepared"))
    {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, field));

        if (strcmp(cJSON_GetObjectItem(row, "gid")->valuestring, gid) == 0)
            snprintf(ret_text, 64, "%s", text ? text : "null");
    }
    answer_free(&answer);
}

static void assert_listed(const char *gid, const char *field, const char *expected)
{
    char text[64];

    listed(gid, field, text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s is \"%s\", not \"%s\"", gid, field, text, expected);
}

static void resolve(const char *gid, const char *decision, const char *more, struct answer *answer)
{
    char path[512], body[512];

    snprintf(path, sizeof(path), "/v1/participants/bank_a/prepared/%s/resolve", gid);
    snprintf(body, sizeof(body),
             "{\"decision\":\"%s\",\"reason\":\"ticket 812\",\"who\":\"ann\"%s}", decision, more);
    ask(path, body, answer);
}

static void refused(const char *gid, const char *decision, const char *more, long status,
                    const char *code)
{
    struct answer answer;

    resolve(gid, decision, more, &answer);
    if (answer.status != status || strcmp(answer_text(&answer, "code"), code) != 0)
        fail_msg("%s of %s: not %ld %s but %ld %s", decision, gid, status, code, answer.status,
                 answer.body);
    answer_free(&answer);
}

static void resolved(const char *gid, const char *decision, const char *more, const char *outcome)
{
    struct answer answer;

    resolve(gid, decision, more, &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "gid"), gid);
    assert_string_equal(answer_text(&answer, "outcome"), outcome);
    assert_string_equal(answer_text(&answer, "proof"), "command_tag");
    assert_string_equal(answer_text(&answer, "who"), known_as("ann"));
    answer_free(&answer);
}

static const char *gid_of(const char *incarnation, const char *rest)
{
    static char text[4][256];
    static int next;
    char *gid = text[next++ % 4];

    snprintf(gid, sizeof(text[0]), "assent/sandbox/%s/%s", incarnation, rest);
    return gid;
}

struct count {
    const char *name;
    double value;
};

static bool participant_counts(void *ctx)
{
    const struct count *count = ctx;
    const cJSON *agent;
    struct answer answer;
    double found = -1;

    ask("/v1/participants/bank_a", NULL, &answer);
    cJSON_ArrayForEach(agent, cJSON_GetObjectItem(answer.json, "agents"))
    {
        if (cJSON_GetObjectItem(agent, count->name))
            found = cJSON_GetObjectItem(agent, count->name)->valuedouble;
    }
    answer_free(&answer);
    return found == count->value;
}

/* --- The tests --- */

static void an_orphan_of_another_incarnation_is_resolved_both_ways(void **state)
{
    const char *first = gid_of("00000000000000aa", "1.1/1/old-1");
    const char *second = gid_of("00000000000000aa", "1.2/1/old-2");
    struct count two = {"orphaned", 2}, none = {"orphaned", 0};

    (void)state;
    prepare_by_hand(first, 1);
    prepare_by_hand(second, 2);
    assert_listed(first, "state", "other_incarnation");
    assert_listed(second, "id", "old-2");
    assert_listed(second, "attempt", "1.2");
    assert_listed(second, "incarnation", "00000000000000aa");
    assert_listed(second, "answer", "null");
    assert_listed(second, "owner", "assent");
    wait_for("both are counted", participant_counts, &two, DEADLINE_MS);
    refused(first, "abort", "", 409, "other_incarnation");
    assert_int_equal(db_prepared_count(&sandbox, 0), 2);
    resolved(first, "abort", ",\"other_incarnation\":true", "aborted");
    resolved(second, "commit", ",\"other_incarnation\":true", "committed");
    assert_int_equal(balance(1), 1000);
    assert_int_equal(balance(2), 1005);
    assert_int_equal(db_prepared_count(&sandbox, 0), 0);
    wait_for("none is counted any more", participant_counts, &none, DEADLINE_MS);
    refused(second, "commit", ",\"other_incarnation\":true", 404, "not_prepared");
}

struct audit {
    int ours, foreign; /* prepared */
    bool held;         /* both hold vacuum back by more than a few transactions */
};

/* What the standing audit says of bank_a, by the node that leads: agents tell all nodes the same. */
static bool is_audited(void *ctx)
{
    const struct audit *expected = ctx;
    struct answer answer;
    const cJSON *agent;
    bool right = false;

    ask("/v1/participants/bank_a", NULL, &answer);
    cJSON_ArrayForEach(agent, cJSON_GetObjectItem(answer.json, "agents"))
    {
        int past = expected->held ? 20 : 0;

#define FIGURE(name) cJSON_GetNumberValue(cJSON_GetObjectItem(agent, name))
        right = FIGURE("prepared_used_ours") == expected->ours &&
                FIGURE("prepared_used_foreign") == expected->foreign &&
                FIGURE("foreign") == expected->foreign && FIGURE("audit_age_ms") >= 0 &&
                (FIGURE("xmin_age") > past) == (expected->ours > 0) &&
                (FIGURE("foreign_xmin_age") > past) == (expected->foreign > 0) &&
                (FIGURE("foreign_oldest_age_ms") > 0) == (expected->foreign > 0);
#undef FIGURE
    }
    answer_free(&answer);
    return right;
}

/* One of ours that nobody can answer for, and a foreign one: how they hold back vacuum is told, and neither is touched. */
static void the_audit_tells_what_holds_back_vacuum(void **state)
{
    struct audit both = {1, 1, false}, held = {1, 1, true}, none = {0, 0, false};
    const char *ours = gid_of("00000000000000cc", "1.1/1/held");
    const char *const list[] = {"participant", "list", "--api", sandbox.nodes[0].api, NULL};
    PGconn *db = db_connect(&sandbox, 0);
    char *out;

    (void)state;
    wait_for("nothing is prepared", is_audited, &none, DEADLINE_MS);
    prepare_by_hand("it is foreign", 3);
    prepare_by_hand(ours, 4);
    wait_for("both are seen", is_audited, &both, DEADLINE_MS);
    for (int i = 0; i < 30; i++)
        db_exec(db, "UPDATE accounts SET balance = balance WHERE id = 11");
    wait_for("vacuum is held back", is_audited, &held, DEADLINE_MS);
    assert_int_equal(run_assent(list, &out), 0);
    assert_non_null(strstr(out, "XMIN AGE"));
    assert_non_null(strstr(out, "AUDITED"));
    free(out);
    assert_int_equal(db_prepared_count(&sandbox, 0), 2);
    finish_by_hand("ROLLBACK", "it is foreign");
    resolved(ours, "abort", ",\"other_incarnation\":true", "aborted");
    wait_for("nothing is held back any more", is_audited, &none, DEADLINE_MS);
    PQfinish(db);
}

static void a_foreign_one_is_shown_and_not_touched(void **state)
{
    const char *other = "assent/another/00000000000000aa/1.1/1/x";

    (void)state;
    prepare_by_hand("it is mine", 3);
    prepare_by_hand(other, 4);
    assert_listed("it is mine", "state", "foreign");
    assert_listed("it is mine", "id", "null");
    assert_listed(other, "state", "foreign");
    refused("it%20is%20mine", "abort", "", 409, "foreign_gid");
    refused(other, "abort", ",\"other_incarnation\":true", 409, "foreign_gid");
    assert_int_equal(db_prepared_count(&sandbox, 0), 2);
    finish_by_hand("ROLLBACK", "it is mine");
    finish_by_hand("ROLLBACK", other);
}

/* A gid of ours that stands in no record of its attempt, as of a branch that no agent ran. */
static void an_unknown_branch_is_resolved_both_ways(void **state)
{
    char attempt[64], rest[128], body[2048];
    struct answer answer;
    const char *gid;

    (void)state;
    transfer_body(body, sizeof(body), "known-1", 5, 6, 1, NULL);
    ask("/v1/transactions", body, &answer);
    assert_status(&answer, 200);
    snprintf(attempt, sizeof(attempt), "%s", answer_text(&answer, "attempt"));
    answer_free(&answer);
    for (int commit = 0; commit < 2; commit++) {
        snprintf(rest, sizeof(rest), "%s/9/known-1", attempt);
        gid = gid_of(sandbox.incarnation, rest);
        prepare_by_hand(gid, 7);
        assert_listed(gid, "state", "orphaned");
        assert_listed(gid, "answer", "unknown");
        resolved(gid, commit ? "commit" : "abort", "", commit ? "committed" : "aborted");
        assert_int_equal(balance(7), commit ? 1005 : 1000);
    }
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

/* Its first branch has voted. */
static bool is_prepared(void *ctx)
{
    struct answer answer;
    bool prepared;

    (void)ctx;
    ask("/v1/transactions/held-1", NULL, &answer);
    prepared = strcmp(answer_text(&answer, "branches.0.state"), "prepared") == 0;
    answer_free(&answer);
    return prepared;
}

static bool is_committed(void *ctx)
{
    struct answer answer;
    bool committed;

    (void)ctx;
    ask("/v1/transactions/held-1", NULL, &answer);
    committed = strcmp(answer_text(&answer, "state"), "committed") == 0;
    answer_free(&answer);
    return committed;
}

/* Undecided, decided and not finished, finished: the log answers for it, so nobody else may. */
static void what_the_log_answers_for_is_refused(void **state)
{
    PGconn *holder = db_connect(&sandbox, 1);
    struct answer answer;
    char body[2048], gid[256];

    (void)state;
    db_exec(holder, "BEGIN; UPDATE accounts SET balance = balance WHERE id = 9");
    transfer_body(body, sizeof(body), "held-1", 8, 9, 3, ",\"wait\":\"none\",\"timeout_ms\":60000");
    ask("/v1/transactions", body, &answer);
    assert_status(&answer, 202);
    snprintf(gid, sizeof(gid), "%s", answer_text(&answer, "branches.0.gid"));
    answer_free(&answer);
    wait_for("the first branch is prepared", is_prepared, NULL, DEADLINE_MS);
    assert_listed(gid, "answer", "pending");
    refused(gid, "abort", "", 409, "undecided");
    refused(gid, "commit", "", 409, "undecided");

    sandbox_do(&sandbox, "kill", "database-bank_a", NULL);
    db_exec(holder, "COMMIT");
    wait_for("it is committed", is_committed, NULL, DEADLINE_MS);
    refused(gid, "abort", "", 409, "decided_commit");
    refused(gid, "commit", "", 409, "decided_commit");
    sandbox_do(&sandbox, "restart", "database-bank_a", NULL);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    refused(gid, "abort", "", 409, "decided_commit");
    assert_int_equal(ledger_count(&sandbox, 0, "held-1"), 1);
    assert_int_equal(ledger_count(&sandbox, 1, "held-1"), 1);
    PQfinish(holder);
}

/* In every node's log stands who resolved the branch of that id, and why. A follower's may come a moment later. */
static void wait_logged(const char *id, const char *who, const char *why)
{
    char names[64], says[200], *out;

    snprintf(names, sizeof(names), "/%s\",\"xid\":", id);
    snprintf(says, sizeof(says), "\"who\":\"%s\",\"why\":\"%s\"", who, why);
    for (int i = 0; i < sandbox.node_count; i++) {
        const char *const dump[] = {"log", "dump", sandbox.nodes[i].dir, NULL};
        int64_t until = now_ms() + DEADLINE_MS;
        bool there = false;

        while (!there && now_ms() < until) {
            const char *line;

            assert_int_equal(run_assent(dump, &out), 0);
            line = strstr(out, names);
            there = line && strstr(line, says);
            free(out);
        }
        assert_true(there);
    }
}

static void who_and_why_are_in_the_log_of_every_node(void **state)
{
    const char *gid = gid_of("00000000000000bb", "3.1/2/cli-1");
    const char *const show[] = {"participant", "prepared",           "bank_a",
                                "--api",       sandbox.nodes[1].api, NULL};
    const char *const act[] = {"participant",
                               "resolve",
                               "bank_a",
                               gid,
                               "--decision",
                               "abort",
                               "--reason",
                               "ticket 900",
                               "--who",
                               "bob the operator",
                               "--other-incarnation",
                               "--api",
                               sandbox.nodes[2].api,
                               NULL};
    const char *const no_reason[] = {"participant", "resolve", "bank_a", gid,
                                     "--decision",  "abort",   NULL};
    char *out;

    (void)state;
    prepare_by_hand(gid, 10);
    assert_int_equal(run_assent(no_reason, &out), 2);
    free(out);
    assert_int_equal(run_assent(show, &out), 0);
    assert_non_null(strstr(out, "other_incarnation"));
    assert_non_null(strstr(out, gid));
    free(out);
    assert_int_equal(run_assent(act, &out), 0);
    assert_non_null(strstr(out, "aborted at bank_a (proof: command_tag)"));
    free(out);
    assert_int_equal(run_assent(act, &out), 1);
    free(out);
    wait_logged("cli-1", known_as("bob the operator"), "ticket 900");
}

/* Of whoever shows no token, his certificate. */
static void a_certificates_name_is_in_the_log(void **state)
{
    const char *gid = gid_of("00000000000000bb", "3.2/1/cli-2");
    const char *const act[] = {
        "participant",        "resolve",    "bank_a", gid,   "--decision",          "abort",
        "--reason",           "ticket 901", "--who",  "bob", "--other-incarnation", "--api",
        sandbox.nodes[1].api, NULL};
    char certificate[400], key[400], *out;

    (void)state;
    snprintf(certificate, sizeof(certificate), "%s/etc/tls/operator-sandbox.pem", sandbox.dir);
    snprintf(key, sizeof(key), "%s/etc/tls/operator-sandbox-key.pem", sandbox.dir);
    prepare_by_hand(gid, 11);
    unsetenv("ASSENT_TOKEN");
    setenv("ASSENT_CERTIFICATE", certificate, 1);
    setenv("ASSENT_KEY", key, 1);
    assert_int_equal(run_assent(act, &out), 0);
    free(out);
    wait_logged("cli-2", "cert:sandbox bob", "ticket 901");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_orphan_of_another_incarnation_is_resolved_both_ways),
        cmocka_unit_test(a_foreign_one_is_shown_and_not_touched),
        cmocka_unit_test(the_audit_tells_what_holds_back_vacuum),
        cmocka_unit_test(an_unknown_branch_is_resolved_both_ways),
        cmocka_unit_test(what_the_log_answers_for_is_refused),
        cmocka_unit_test(who_and_why_are_in_the_log_of_every_node),
    };
    const struct CMUnitTest tls[] = {
        cmocka_unit_test(an_orphan_of_another_incarnation_is_resolved_both_ways),
        cmocka_unit_test(who_and_why_are_in_the_log_of_every_node),
        cmocka_unit_test(a_certificates_name_is_in_the_log),
    };

    return getenv("ASSENT_TLS") ? cmocka_run_group_tests(tls, setup, teardown)
                                : cmocka_run_group_tests(tests, setup, teardown);
}
