#include "load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define CLIENTS 4
#define ASK_MS 2000
#define BACK_OFF_US 5000 /* a client's, not a wait of the test's */
#define CHECK_MS 40000   /* for what nobody asked about to come to its end */

enum known { ABORTED, COMMITTED, UNKNOWN };

struct outcome {
    char id[40];
    enum known known;
};

struct client {
    pthread_t thread;
    int number;
    int node; /* whom it asks */
    struct outcome *outcomes;
    int count, cap;
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

/* The same id until its outcome is known (R9); but every seventh client that is not told goes away. */
static void transfer(struct client *client, struct outcome *outcome, const char *body)
{
    outcome->known = UNKNOWN;
    while (!atomic_load(&give_up)) {
        struct answer answer;
        long status;

        http_at(sandbox->nodes[client->node].api, NULL, "/v1/transactions", body, ASK_MS, &answer);
        status = answer.status;
        answer_free(&answer);
        if (is_final(status)) {
            outcome->known = status == 409 ? ABORTED : COMMITTED;
            atomic_fetch_add(&committed_count, outcome->known == COMMITTED);
            if (outcome->known == ABORTED)
                usleep(BACK_OFF_US);
            return;
        }
        client->node = (client->node + 1) % sandbox->node_count;
        if (client->count % 7 == 6)
            return;
        usleep(BACK_OFF_US);
    }
}

static struct outcome *outcome_new(struct client *client)
{
    if (client->count == client->cap) {
        client->cap = client->cap ? client->cap * 2 : 1024;
        client->outcomes =
            realloc(client->outcomes, (size_t)client->cap * sizeof(*client->outcomes));
        if (!client->outcomes)
            abort(); /* a thread of its own cannot fail the test otherwise */
    }
    return &client->outcomes[client->count];
}

/* Every fifth transfer names an account that does not exist: an abort after the other branch may
 * have prepared. */
static void *client_run(void *ctx)
{
    struct client *client = ctx;

    while (!atomic_load(&stop) && !atomic_load(&give_up)) {
        struct outcome *outcome = outcome_new(client);
        int account = 1 + client->number * 100 + client->count % 50;
        char body[2048];

        snprintf(outcome->id, sizeof(outcome->id), "load-%d-%d", client->number, client->count);
        transfer_body(body, sizeof(body), outcome->id, account,
                      client->count % 5 == 4 ? 999999999 : account + 50, 1, NULL);
        transfer(client, outcome, body);
        client->count++;
    }
    return NULL;
}

void load_start(const struct sandbox *in)
{
    if (running)
        fail_msg("a test before this one failed, and its load is running still");
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

int64_t load_wait_ms(int64_t ms)
{
    int64_t begin = now_ms(), at = begin, longest = 0;

    do {
        int64_t before = at;

        load_wait_commits(1);
        at = now_ms();
        if (at - before > longest)
            longest = at - before;
    } while (at - begin < ms);
    return longest;
}

/* --- Checks --- */

/* Every id in the ledger of one database, sorted; they live as long as `result`. */
struct ledger {
    PGresult *result;
    char **ids;
    int count;
};

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void ledger_read(int database, struct ledger *ret_ledger)
{
    PGconn *db = db_connect(sandbox, database);
    PGresult *result = PQexec(db, "SELECT txn FROM ledger WHERE txn LIKE 'load-%'");
    int count = PQntuples(result);

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    *ret_ledger =
        (struct ledger){result, calloc((size_t)count + 1, sizeof(*ret_ledger->ids)), count};
    assert_non_null(ret_ledger->ids);
    for (int i = 0; i < count; i++)
        ret_ledger->ids[i] = PQgetvalue(result, i, 0);
    qsort(ret_ledger->ids, (size_t)count, sizeof(*ret_ledger->ids), compare_text);
    for (int i = 1; i < count; i++)
        if (strcmp(ret_ledger->ids[i - 1], ret_ledger->ids[i]) == 0)
            fail_msg("%s stands twice in database %d", ret_ledger->ids[i], database);
    PQfinish(db);
}

static void ledger_free(struct ledger *ledger)
{
    free(ledger->ids);
    PQclear(ledger->result);
}

static bool stands_in(const struct ledger *ledger, const char *id)
{
    return bsearch(&id, ledger->ids, (size_t)ledger->count, sizeof(*ledger->ids), compare_text);
}

struct figures {
    int committed, aborted, unknown, unknown_there;
};

/* False: one of unknown outcome is in one database only, still. */
static bool outcomes_hold(const struct ledger ledgers[2], struct figures *ret_figures)
{
    struct figures figures = {0};
    bool hold = true;

    for (int c = 0; c < CLIENTS; c++) {
        for (int i = 0; i < clients[c].count; i++) {
            const struct outcome *outcome = &clients[c].outcomes[i];
            bool a = stands_in(&ledgers[0], outcome->id), b = stands_in(&ledgers[1], outcome->id);

            if (outcome->known != UNKNOWN && (a != b || a != (outcome->known == COMMITTED)))
                fail_msg("%s was answered %s, but is%s in database 0 and is%s in database 1",
                         outcome->id, outcome->known == COMMITTED ? "committed" : "aborted",
                         a ? "" : " not", b ? "" : " not");
            hold &= a == b;
            figures.committed += outcome->known == COMMITTED;
            figures.aborted += outcome->known == ABORTED;
            figures.unknown += outcome->known == UNKNOWN;
            figures.unknown_there += outcome->known == UNKNOWN && a && b;
        }
    }
    *ret_figures = figures;
    return hold;
}

/* What nobody asked about may have been on its way still when we looked. */
static bool ledgers_hold(void *ctx)
{
    struct figures *figures = ctx;
    struct ledger ledgers[2];
    bool hold;

    ledger_read(0, &ledgers[0]);
    ledger_read(1, &ledgers[1]);
    hold = outcomes_hold(ledgers, figures) && ledgers[0].count == ledgers[1].count &&
           ledgers[0].count == figures->committed + figures->unknown_there;
    ledger_free(&ledgers[0]);
    ledger_free(&ledgers[1]);
    return hold;
}

void load_check(int64_t prepared_gone_ms)
{
    struct figures figures;

    wait_nothing_prepared(sandbox, prepared_gone_ms);
    wait_for("both databases hold the same transfers, and no others", ledgers_hold, &figures,
             CHECK_MS);
    wait_nothing_prepared(sandbox, prepared_gone_ms);
    assert_int_equal(money_total(sandbox), money);
    print_message("%d committed, %d aborted, %d of unknown outcome (%d of them committed)\n",
                  figures.committed, figures.aborted, figures.unknown, figures.unknown_there);
}
