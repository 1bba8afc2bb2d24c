/*
 * A rolling upgrade: a log that a released format wrote, grown to three nodes, and then every node and every agent restarted
 * in turn as an operator does it (SIGTERM, start, wait), while clients move money. A client repeats under the same id what it
 * is told to repeat; everything else would fail it.
 */
#include "harness.h"
#include "nodes.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define GOLDEN AS_TEST_DATA "/log/format-2"
#define INCARNATION "e8d932aeb5d3acd7" /* of GOLDEN/one */
#define CLIENTS 4
#define ASK_MS 10000
#define BACK_OFF_US 20000 /* a client's, not a wait of the test's */
#define QUIET_MS \
    60000 /* the longest that nothing may be committed: an agent's restart, on a busy machine */

static struct sandbox sandbox;
static int64_t total;

static int setup(void **state)
{
    static const char *const one[] = {"--nodes", "1", "--incarnation", INCARNATION, NULL};

    (void)state;
    sandbox_start(&sandbox, one);
    total = money_total(&sandbox);
    return 0;
}

/* --- Clients --- */

static pthread_t threads[CLIENTS];
static atomic_bool stop;
static atomic_int done, repeated;
static _Atomic(char *) failed; /* what a client was told that it cannot repeat */

/* True: committed. Again: not now, whatever the reason, but nothing was refused for good. */
static bool was_told(const struct answer *answer, bool *ret_again)
{
    *ret_again = answer->status == 0 || answer->status == 503 ||
                 (answer->status == 409 &&
                  strcmp(answer_text(answer, "reason.code"), "participant_unavailable") == 0);
    return answer->status == 200 || answer->status == 202;
}

static void *client_run(void *ctx)
{
    int number = (int)(intptr_t)ctx, node = number;

    for (int i = 0; !atomic_load(&stop); i++) {
        char id[40], body[2048];
        bool committed = false;

        snprintf(id, sizeof(id), "up-%d-%d", number, i);
        transfer_body(body, sizeof(body), id, 1 + number, 11 + number, 1, NULL);
        while (!committed && !atomic_load(&failed)) {
            struct answer answer;
            bool again;

            node = (node + 1) % sandbox.node_count;
            http_at(sandbox.nodes[node].api, NULL, "/v1/transactions", body, ASK_MS, &answer);
            committed = was_told(&answer, &again);
            if (!committed && !again)
                atomic_store(&failed, strdup(answer.body));
            answer_free(&answer);
            if (again) {
                atomic_fetch_add(&repeated, 1);
                usleep(BACK_OFF_US);
            }
        }
        if (!committed)
            return NULL;
        atomic_fetch_add(&done, 1);
    }
    return NULL;
}

static void clients_start(void)
{
    for (intptr_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, client_run, (void *)i), 0);
}

static void clients_stop(void)
{
    atomic_store(&stop, true);
    for (int i = 0; i < CLIENTS; i++)
        if (threads[i])
            pthread_join(threads[i], NULL);
    memset(threads, 0, sizeof(threads));
}

static bool went_on(void *ctx)
{
    if (atomic_load(&failed))
        fail_msg("a client was told: %s", atomic_load(&failed));
    return atomic_load(&done) >= *(const int *)ctx;
}

static void wait_done(int more)
{
    int wanted = atomic_load(&done) + more;

    wait_for("money moves", went_on, &wanted, QUIET_MS);
}

static int teardown(void **state)
{
    (void)state;
    clients_stop();
    sandbox_stop(&sandbox);
    return 0;
}

/* --- An older log, grown --- */

static void a_log_of_an_older_format_is_grown(void **state)
{
    char command[2000];

    (void)state;
    sandbox_do(&sandbox, "kill", "node-1", NULL);
    snprintf(command, sizeof(command), "rm -rf %s && cp -r %s/one %s && chmod 700 %s",
             sandbox.nodes[0].dir, GOLDEN, sandbox.nodes[0].dir, sandbox.nodes[0].dir);
    assert_int_equal(system(command), 0);
    sandbox_do(&sandbox, "restart", "node-1", NULL);
    for (int i = 1; i < 3; i++) {
        const char *const args[] = {"sandbox", "add-node", "--dir", sandbox.dir, "--json", NULL};
        cJSON *node;
        char *out;

        assert_int_equal(run_assent(args, &out), 0);
        node = cJSON_Parse(out);
        assert_non_null(node);
        sandbox.nodes[i].id = i + 1;
        snprintf(sandbox.nodes[i].name, sizeof(sandbox.nodes[i].name), "node-%d", i + 1);
        snprintf(sandbox.nodes[i].api, sizeof(sandbox.nodes[i].api), "%s",
                 cJSON_GetObjectItem(node, "api")->valuestring);
        snprintf(sandbox.nodes[i].dir, sizeof(sandbox.nodes[i].dir), "%s/node-%d", sandbox.dir,
                 i + 1);
        sandbox.node_count = i + 1;
        cJSON_Delete(node);
        free(out);
    }
}

/* --- One after the other --- */

static bool has_ended(void *ctx)
{
    return !sandbox_running(&sandbox, ctx);
}

static void restart(const char *name)
{
    char copy[32];
    pid_t pid = sandbox_pid(&sandbox, name);

    snprintf(copy, sizeof(copy), "%s", name);
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_for("it ends by itself", has_ended, copy, DEADLINE_MS);
    sandbox_do(&sandbox, "restart", name, NULL);
    wait_done(10);
}

static double term_of(int place)
{
    struct answer answer;
    double term;

    http_at(sandbox.nodes[place].api, NULL, "/v1/cluster", NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    term = cJSON_GetObjectItem(answer.json, "term")->valuedouble;
    answer_free(&answer);
    return term;
}

static void everything_is_restarted_under_load(void **state)
{
    int leader;
    double term;

    (void)state;
    clients_start();
    wait_done(20);
    leader = leader_find(&sandbox);
    term = term_of(leader);
    for (int i = 1; i <= 3; i++) { /* the leader last */
        int place = (leader + i) % 3;

        restart(sandbox.nodes[place].name);
        wait_caught_up(&sandbox, place);
    }
    /* It handed over: one election, by its word, and no other. */
    assert_true(term_of(leader) == term + 1);
    assert_true(log_says(&sandbox, sandbox.nodes[leader].name, "event=stopped"));
    for (int i = 0; i < sandbox.database_count; i++) {
        char name[80];

        snprintf(name, sizeof(name), "agent-%s", sandbox.participant[i]);
        restart(name);
    }
}

static void every_outcome_is_right(void **state)
{
    (void)state;
    clients_stop();
    if (atomic_load(&failed))
        fail_msg("a client was told: %s", atomic_load(&failed));
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
    assert_int_equal(money_total(&sandbox), total);
    for (int database = 0; database < 2; database++) {
        PGconn *db = db_connect(&sandbox, database);

        assert_int_equal(db_number(db, "SELECT count(*) FROM ledger WHERE txn LIKE 'up-%'"),
                         atomic_load(&done));
        assert_int_equal(db_number(db, "SELECT count(DISTINCT txn) FROM ledger"),
                         atomic_load(&done));
        PQfinish(db);
    }
    print_message("%d transfers, %d times one was sent again\n", atomic_load(&done),
                  atomic_load(&repeated));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_of_an_older_format_is_grown),
        cmocka_unit_test(everything_is_restarted_under_load),
        cmocka_unit_test(every_outcome_is_right),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
