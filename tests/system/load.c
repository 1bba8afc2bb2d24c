#include "load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define CLIENTS 4
#define TRANSFERS_MAX 20000
#define ASK_MS 5000

struct outcome {
    char id[48];
    bool committed;
};

struct client {
    pthread_t thread;
    int number;
    int node; /* whom it asks */
    struct outcome outcomes[TRANSFERS_MAX];
    int count;
};

static const struct sandbox *sandbox;
static struct client clients[CLIENTS];
static int64_t money; /* at the first start */
static bool running;
static atomic_bool stop;
static atomic_bool give_up; /* a test failed: do not wait for outcomes any more */
static atomic_int committed_count, committed_wanted;

static bool is_final(long status)
{
    return status == 200 || status == 202 || status == 409;
}

/* The same id until its outcome is known (R9). */
static void transfer(struct client *client, struct outcome *outcome, const char *body)
{
    while (!atomic_load(&give_up)) {
        struct answer answer;
        bool known;

        http_at(sandbox->nodes[client->node].api, NULL, "/v1/transactions", body, ASK_MS, &answer);
        known = is_final(answer.status);
        outcome->committed = answer.status != 409;
        answer_free(&answer);
        if (known) {
            client->count++;
            if (outcome->committed)
                atomic_fetch_add(&committed_count, 1);
            return;
        }
        client->node = (client->node + 1) % sandbox->node_count;
        usleep(5000); /* a client's back-off, not a wait of the test's */
    }
}

/* Every fifth transfer names an account that does not exist: an abort after the other branch may
 * have prepared. */
static void *client_run(void *ctx)
{
    struct client *client = ctx;

    while (!atomic_load(&stop) && !atomic_load(&give_up) && client->count < TRANSFERS_MAX) {
        struct outcome *outcome = &client->outcomes[client->count];
        int account = 1 + client->number * 100 + client->count % 50;
        char body[2048];

        snprintf(outcome->id, sizeof(outcome->id), "load-%d-%d", client->number, client->count);
        transfer_body(body, sizeof(body), outcome->id, account,
                      client->count % 5 == 4 ? 999999999 : account + 50, 1, NULL);
        transfer(client, outcome, body);
    }
    return NULL;
}

void load_start(const struct sandbox *in)
{
    if (!sandbox)
        money = money_total(in);
    sandbox = in;
    running = true;
    atomic_store(&stop, false);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].number = i;
        clients[i].node = i % sandbox->node_count;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]), 0);
    }
}

void load_stop(void)
{
    atomic_store(&stop, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    running = false;
}

bool load_abandon(void)
{
    if (!running)
        return false;
    atomic_store(&give_up, true);
    load_stop();
    return true;
}

static bool enough_committed(void *ctx)
{
    (void)ctx;
    return atomic_load(&committed_count) >= atomic_load(&committed_wanted);
}

void load_wait_commits(int count)
{
    atomic_store(&committed_wanted, atomic_load(&committed_count) + count);
    wait_for("transfers commit", enough_committed, NULL, DEADLINE_MS);
}

/* --- Checks --- */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every id in the ledger of one database, sorted; the ids live as long as `ret_result`. */
static char **ledger_ids(int database, PGresult **ret_result, int *ret_count)
{
    PGconn *db = db_connect(sandbox, database);
    char **ids;

    *ret_result = PQexec(db, "SELECT txn FROM ledger WHERE txn LIKE 'load-%'");
    assert_int_equal(PQresultStatus(*ret_result), PGRES_TUPLES_OK);
    *ret_count = PQntuples(*ret_result);
    ids = calloc((size_t)*ret_count + 1, sizeof(*ids));
    assert_non_null(ids);
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

void load_check(int64_t prepared_gone_ms)
{
    wait_nothing_prepared(sandbox, prepared_gone_ms);
    assert_int_equal(money_total(sandbox), money);
    check_ledger(0);
    check_ledger(1);
}
