/*
 * The same transfer with no coordinator: hand-written two-phase commit by libpq, as fast as it can
 * be done.
 *
 * Each client has one connection to each database. To both at once goes one pipeline: BEGIN, the
 * UPDATE, PREPARE TRANSACTION, one Sync; when both have answered, COMMIT PREPARED goes to both at
 * once. BEGIN and UPDATE are prepared statements; the other two name a new gid each time. It keeps
 * no decision log: after a crash between the two phases nobody would know what to do. That is what
 * Assent is compared with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "assent/rng.h"
#include "cli/bench.h"

enum phase { PREPARING, COMMITTING, UNDOING, IDLE };

struct side {
    PGconn *connection;
    bool waits;  /* its Sync has not come back */
    bool failed; /* in this phase */
};

struct pair {
    struct side side[2];
    enum phase phase;
    uint64_t number;
    as_time begin;
};

struct bare {
    struct bench_run *run;
    struct pair *pairs;
    struct as_rng rng;
    int epoll;
    uint64_t next_number;
    uint64_t idle;
    bool broken; /* a connection is lost: the run is over */
};

static const char *const updates[2] = {"UPDATE accounts SET balance = balance - $1 WHERE id = $2",
                                       "UPDATE accounts SET balance = balance + $1 WHERE id = $2"};

static bool done_well(PGresult *result, ExecStatusType wanted)
{
    bool well = PQresultStatus(result) == wanted;

    PQclear(result);
    return well;
}

static bool side_open(struct bare *bare, struct pair *pair, uint32_t client, int which)
{
    struct side *side = &pair->side[which];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = client * 2 + (uint32_t)which};
    bool well;

    side->connection = PQconnectdb(bare->run->dsn[which]);
    well = PQstatus(side->connection) == CONNECTION_OK &&
           /* A deadlock across databases, which neither of them sees, must end. */
           done_well(PQexec(side->connection, "SET lock_timeout = '5s'"), PGRES_COMMAND_OK) &&
           done_well(PQprepare(side->connection, "begin", "BEGIN", 0, NULL), PGRES_COMMAND_OK) &&
           done_well(PQprepare(side->connection, "update", updates[which], 0, NULL),
                     PGRES_COMMAND_OK) &&
           PQsetnonblocking(side->connection, 1) == 0 && PQenterPipelineMode(side->connection);
    if (!well)
        complain("bench: %s", PQerrorMessage(side->connection));
    return well && epoll_ctl(bare->epoll, EPOLL_CTL_ADD, PQsocket(side->connection), &event) == 0;
}

static bool command(struct side *side, const char *sql)
{
    return PQsendQueryParams(side->connection, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

/* The Sync, with which the pipeline leaves in one write. */
static void sync_send(struct bare *bare, struct side *side, bool queued)
{
    side->failed = false;
    side->waits = true;
    if (!queued || PQpipelineSync(side->connection) != 1) {
        complain("bench: %s", PQerrorMessage(side->connection));
        bare->broken = true;
    }
}

static void pair_command(struct bare *bare, struct pair *pair, int which, const char *verb)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "%s 'bare-%llx-%llu'", verb,
                   (unsigned long long)bare->run->seed, (unsigned long long)pair->number);
    sync_send(bare, &pair->side[which], command(&pair->side[which], sql));
}

static void pair_begin(struct bare *bare, struct pair *pair)
{
    as_time now = clock_now();

    if (bench_window_over(bare->run, now)) {
        pair->phase = IDLE;
        bare->idle++;
        return;
    }
    pair->phase = PREPARING;
    pair->begin = now;
    pair->number = bare->next_number++;
    for (int i = 0; i < 2; i++) {
        PGconn *connection = pair->side[i].connection;
        char account[24], sql[96];
        const char *values[2] = {"1", account};
        bool queued;

        (void)snprintf(account, sizeof(account), "%" PRIu64,
                       1 + as_rng_below(&bare->rng, bare->run->accounts));
        (void)snprintf(sql, sizeof(sql), "PREPARE TRANSACTION 'bare-%llx-%llu'",
                       (unsigned long long)bare->run->seed, (unsigned long long)pair->number);
        queued = PQsendQueryPrepared(connection, "begin", 0, NULL, NULL, NULL, 0) == 1 &&
                 PQsendQueryPrepared(connection, "update", 2, values, NULL, NULL, 0) == 1 &&
                 command(&pair->side[i], sql);
        sync_send(bare, &pair->side[i], queued);
    }
}

static void pair_undo(struct bare *bare, struct pair *pair)
{
    pair->phase = UNDOING;
    for (int i = 0; i < 2; i++) {
        if (pair->side[i].failed)
            sync_send(bare, &pair->side[i], command(&pair->side[i], "ROLLBACK"));
        else
            pair_command(bare, pair, i, "ROLLBACK PREPARED");
    }
}

/* Both databases have answered. */
static void pair_go_on(struct bare *bare, struct pair *pair)
{
    as_time now;

    if (pair->phase == PREPARING) {
        if (pair->side[0].failed || pair->side[1].failed) {
            pair_undo(bare, pair);
            return;
        }
        pair->phase = COMMITTING;
        for (int i = 0; i < 2; i++)
            pair_command(bare, pair, i, "COMMIT PREPARED");
        return;
    }
    now = clock_now();
    if (pair->phase == COMMITTING && !pair->side[0].failed && !pair->side[1].failed)
        bench_sample(&bare->run->samples, pair->begin, now);
    else
        bench_error(&bare->run->samples, now,
                    "a transfer was rolled back, or could not be committed");
    pair_begin(bare, pair);
}

/* A success with the wrong tag is none: PREPARE in a failed block answers ROLLBACK. */
static bool tag_is_right(const PGresult *result)
{
    const char *tag = PQcmdStatus((PGresult *)result);

    return strcmp(tag, "PREPARE TRANSACTION") == 0 || strcmp(tag, "COMMIT PREPARED") == 0 ||
           strcmp(tag, "UPDATE 1") == 0 || strcmp(tag, "BEGIN") == 0;
}

static void side_read(struct bare *bare, struct side *side)
{
    if (PQconsumeInput(side->connection) != 1) {
        complain("bench: %s", PQerrorMessage(side->connection));
        bare->broken = true;
        return;
    }
    while (side->waits && !PQisBusy(side->connection)) {
        PGresult *result = PQgetResult(side->connection);

        if (!result) /* between two commands of the pipeline */
            continue;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            side->waits = false;
        } else if (PQresultStatus(result) != PGRES_COMMAND_OK || !tag_is_right(result)) {
            if (!side->failed && PQresultStatus(result) == PGRES_FATAL_ERROR)
                bench_error(&bare->run->samples, 0, PQresultErrorMessage(result));
            side->failed = true;
        }
        PQclear(result);
    }
}

static void bare_loop(struct bare *bare)
{
    struct epoll_event events[64];

    for (uint64_t i = 0; i < bare->run->clients; i++)
        pair_begin(bare, &bare->pairs[i]);
    while (bare->idle < bare->run->clients && !bare->broken) {
        int count = epoll_wait(bare->epoll, events, AS_COUNT_OF(events), -1);

        for (int i = 0; i < count && !bare->broken; i++) {
            struct pair *pair = &bare->pairs[events[i].data.u32 / 2];

            side_read(bare, &pair->side[events[i].data.u32 % 2]);
            if (pair->phase != IDLE && !pair->side[0].waits && !pair->side[1].waits)
                pair_go_on(bare, pair);
        }
    }
}

void bench_bare_thread(void *ctx)
{
    struct bench_run *run = ctx;
    struct bare bare = {.run = run, .rng = {run->seed}, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    bool open = bare.epoll >= 0;

    bare.pairs = must_alloc(run->clients, sizeof(*bare.pairs));
    for (uint32_t i = 0; i < run->clients && open; i++)
        open = side_open(&bare, &bare.pairs[i], i, 0) && side_open(&bare, &bare.pairs[i], i, 1);
    bench_window_open(run);
    if (open)
        bare_loop(&bare);
    run->failed = !open || bare.broken;
    for (uint64_t i = 0; i < run->clients; i++)
        for (int j = 0; j < 2; j++)
            PQfinish(bare.pairs[i].side[j].connection);
    free(bare.pairs);
    if (bare.epoll >= 0)
        (void)close(bare.epoll);
    atomic_store(&run->ended, true);
}
