/*
 * kill -9 at every named crash point (include/assent/crash.h) while money moves: of the
 * coordinator, of an agent, and of the database while an agent stands at the point. After the
 * restart nothing may stay prepared for more than ten seconds, the money must be all there, and
 * every acknowledged transfer must stand in both databases exactly once, every aborted one in none.
 * A point that is never hit fails.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "assent/crash.h"

#define CLIENTS 4
#define PREPARED_GONE_MS 10000
#define TRANSFERS_AFTER 8 /* that must commit after the restart before a round ends */

#ifdef AS_CRASH_POINTS

static struct sandbox sandbox;
static int64_t money;

static const char *const points[] = {
#define POINT_NAME(name) name,
    AS_CRASH_MAP(POINT_NAME)
#undef POINT_NAME
};

/* --- Load: clients that retry an id until they know its outcome --- */

struct outcome {
    char id[48];
    bool committed;
};

struct client {
    pthread_t thread;
    int number;
    struct outcome outcomes[20000];
    int count;
};

static struct client clients[CLIENTS];
static atomic_bool stop_load;
static atomic_bool give_up; /* a test failed: do not wait for outcomes any more */
static atomic_int committed_count;

static bool is_final(long status)
{
    return status == 200 || status == 202 || status == 409;
}

/* Every fifth transfer names an account that does not exist: an abort after the other branch may
 * have prepared. */
static void *client_run(void *ctx)
{
    struct client *client = ctx;

    for (int i = 0; !atomic_load(&stop_load) && client->count < 20000; i++) {
        struct outcome *outcome = &client->outcomes[client->count];
        bool fails = i % 5 == 4;
        struct answer answer;
        char body[2048];

        snprintf(outcome->id, sizeof(outcome->id), "crash-%d-%d", client->number, client->count);
        transfer_body(body, sizeof(body), outcome->id, 1 + client->number * 100 + i % 50,
                      fails ? 999999999 : 51 + client->number * 100 + i % 50, 1, NULL);
        while (!atomic_load(&give_up)) {
            http(&sandbox, "/v1/transactions", body, 5000, &answer);
            if (is_final(answer.status))
                break;
            answer_free(&answer);
            usleep(5000); /* a client's back-off, not a wait of the test's */
        }
        if (atomic_load(&give_up))
            break;
        outcome->committed = answer.status != 409;
        client->count++;
        if (outcome->committed)
            atomic_fetch_add(&committed_count, 1);
        answer_free(&answer);
    }
    return NULL;
}

static bool load_running;

static void load_start(void)
{
    load_running = true;
    atomic_store(&stop_load, false);
    atomic_store(&committed_count, 0);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]), 0);
}

static void load_stop(void)
{
    atomic_store(&stop_load, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    load_running = false;
}

static bool some_committed(void *ctx)
{
    (void)ctx;
    return atomic_load(&committed_count) >= TRANSFERS_AFTER;
}

/* --- Checks --- */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every id in the ledger of one database, sorted; the ids outlive the result only in `ret_result`.
 */
static char **ledger_ids(int database, PGresult **ret_result, int *ret_count)
{
    PGconn *db = db_connect(&sandbox, database);
    char **ids;

    *ret_result = PQexec(db, "SELECT txn FROM ledger WHERE txn LIKE 'crash-%'");
    assert_int_equal(PQresultStatus(*ret_result), PGRES_TUPLES_OK);
    *ret_count = PQntuples(*ret_result);
    ids = calloc((size_t)*ret_count + 1, sizeof(*ids));
    for (int i = 0; i < *ret_count; i++)
        ids[i] = PQgetvalue(*ret_result, i, 0);
    qsort(ids, (size_t)*ret_count, sizeof(*ids), compare_text);
    PQfinish(db);
    return ids;
}

static void check_ledger(int database)
{
    int count, committed = 0;
    PGresult *result;
    char **ids = ledger_ids(database, &result, &count);

    for (int i = 1; i < count; i++)
        if (strcmp(ids[i - 1], ids[i]) == 0)
            fail_msg("%s stands twice in database %d", ids[i], database);
    for (int c = 0; c < CLIENTS; c++) {
        for (int i = 0; i < clients[c].count; i++) {
            const struct outcome *outcome = &clients[c].outcomes[i];
            const char *id = outcome->id;
            bool there = bsearch(&id, ids, (size_t)count, sizeof(*ids), compare_text) != NULL;

            if (there != outcome->committed)
                fail_msg("%s was answered %s, but is %s in database %d", id,
                         outcome->committed ? "committed" : "aborted",
                         there ? "there" : "not there", database);
            committed += outcome->committed;
        }
    }
    assert_int_equal(count, committed);
    free(ids);
    PQclear(result);
}

static void check_all(void)
{
    wait_nothing_prepared(&sandbox, PREPARED_GONE_MS);
    assert_int_equal(money_total(&sandbox), money);
    check_ledger(0);
    check_ledger(1);
}

/* --- Rounds --- */

struct round {
    const char *point;
    const char *process;
    char reached[512], go_on[512];
};

static bool reached(void *ctx)
{
    const struct round *round = ctx;

    return access(round->reached, F_OK) == 0;
}

static bool dead(void *ctx)
{
    const struct round *round = ctx;

    return !sandbox_running(&sandbox, round->process);
}

/* ASSENT_CRASH_POINT=name runs the rounds of that one alone. */
static bool point_wanted(const char *point)
{
    const char *only = getenv("ASSENT_CRASH_POINT");

    return !only || strcmp(only, point) == 0;
}

static void round_begin(struct round *round, const char *point, bool pause)
{
    char at[128], dir[320], action[320];
    const char *env[] = {at, dir, action, NULL};
    char what[160];

    print_message("crash point %s%s\n", point, pause ? ", killing the database" : "");
    round->point = point;
    round->process = strncmp(point, "agent.", 6) == 0 ? agent_of("bank_a") : "node-1";
    snprintf(at, sizeof(at), "ASSENT_CRASH_AT=%s", point);
    snprintf(dir, sizeof(dir), "ASSENT_CRASH_DIR=%s", sandbox.dir);
    snprintf(action, sizeof(action),
             pause ? "ASSENT_CRASH_ACTION=pause:%s" : "ASSENT_CRASH_ACTION=kill", sandbox.dir);
    snprintf(round->reached, sizeof(round->reached), "%s/%s.reached", sandbox.dir, point);
    snprintf(round->go_on, sizeof(round->go_on), "%s/%s.continue", sandbox.dir, point);
    unlink(round->reached);
    unlink(round->go_on);
    /* It may come to its point, and die, before it is ready: then this says so, and that is fine.
     */
    sandbox_try(&sandbox, "restart", round->process, env);
    load_start();
    snprintf(what, sizeof(what), "crash point %s is hit", point);
    wait_for(what, reached, round, DEADLINE_MS);
}

static void round_end(void)
{
    atomic_store(&committed_count, 0);
    wait_for("transfers commit again", some_committed, NULL, DEADLINE_MS);
    load_stop();
    check_all();
}

static void killed_at_every_point(void **state)
{
    struct round round;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(points); i++) {
        if (!point_wanted(points[i]))
            continue;
        round_begin(&round, points[i], false);
        wait_for("the process is dead", dead, &round, DEADLINE_MS);
        sandbox_do(&sandbox, "restart", round.process, NULL);
        round_end();
    }
}

static void database_killed_at_every_point_of_the_agent(void **state)
{
    struct round round;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(points); i++) {
        FILE *file;

        if (strncmp(points[i], "agent.", 6) != 0 || !point_wanted(points[i]))
            continue;
        round_begin(&round, points[i], true);
        sandbox_do(&sandbox, "kill", "database-bank_a", NULL);
        file = fopen(round.go_on, "w");
        assert_non_null(file);
        fclose(file);
        sandbox_do(&sandbox, "restart", "database-bank_a", NULL);
        round_end();
    }
}

static int setup(void **state)
{
    /* Small segments and frequent snapshots, so that their crash points come up too. */
    static const char *const extra[] = {"--set", "log.segment_kib=64", "--set",
                                        "log.snapshot_kib=32", NULL};

    (void)state;
    sandbox_start(&sandbox, extra);
    money = money_total(&sandbox);
    for (int i = 0; i < CLIENTS; i++)
        clients[i].number = i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (load_running) {
        atomic_store(&give_up, true);
        load_stop();
        sandbox_print_logs(&sandbox); /* a round failed */
    }
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_point),
        cmocka_unit_test(database_killed_at_every_point_of_the_agent),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

#else

int main(void)
{
    print_message(
        "crash points are built in with -DAS_CRASH_POINTS=ON (presets dev, asan-ubsan, tsan)\n");
    return 0;
}

#endif
