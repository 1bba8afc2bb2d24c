/*
 * The world as a whole: who is in it, waiting, taking places, saying and failing.
 */
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inside.h"
#include "tests/support/http.h"

#define ASK_MS 1000

static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;
static int64_t start_ms;

int64_t world_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void world_clock_start(void)
{
    start_ms = world_now_ms();
}

static void say(const char *format, va_list args)
{
    printf("[%7.1f s] ", (double)(world_now_ms() - start_ms) / 1000);
    vprintf(format, args);
    putchar('\n');
    (void)fflush(stdout);
}

void world_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)pthread_mutex_lock(&telling);
    say(format, args);
    (void)pthread_mutex_unlock(&telling);
    va_end(args);
}

bool world_fail(struct world *world, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)pthread_mutex_lock(&telling);
    if (!world->error[0]) {
        (void)vsnprintf(world->error, sizeof(world->error), format, args);
        printf("[%7.1f s] FAILED: %s\n", (double)(world_now_ms() - start_ms) / 1000, world->error);
        (void)fflush(stdout);
    }
    (void)pthread_mutex_unlock(&telling);
    va_end(args);
    return false;
}

/* --- Who is in it --- */

struct process *world_process(struct world *world, size_t i)
{
    if (i < WORLD_NODES)
        return &world->nodes[i].process;
    i -= WORLD_NODES;
    if (i < (size_t)2 * WORLD_DATABASES)
        return i % 2 ? &world->databases[i / 2].agent : &world->databases[i / 2].server;
    i -= (size_t)2 * WORLD_DATABASES;
    return i < world->other_count ? world->others[i] : NULL;
}

void world_adopt(struct world *world, struct process *process)
{
    AS_ASSERT(world->other_count < AS_COUNT_OF(world->others));
    world->others[world->other_count++] = process;
}

bool world_take(struct place *place, const void *by)
{
    if (place->taken)
        return false;
    place->taken = by;
    return true;
}

void world_give_back(struct world *world, const void *by)
{
    for (size_t i = 0; i < world->place_count; i++)
        if (world->places[i].taken == by)
            world->places[i].taken = NULL;
}

struct node *world_take_node(struct world *world, struct as_rng *rng, const void *by)
{
    uint64_t first = as_rng_below(rng, WORLD_NODES);

    for (uint64_t i = 0; i < WORLD_NODES; i++) {
        struct node *node = &world->nodes[(first + i) % WORLD_NODES];

        if (world_take(node->process.place, by))
            return node;
    }
    return NULL;
}

struct database *world_take_database(struct world *world, struct as_rng *rng, const void *by)
{
    uint64_t first = as_rng_below(rng, WORLD_DATABASES);

    for (uint64_t i = 0; i < WORLD_DATABASES; i++) {
        struct database *database = &world->databases[(first + i) % WORLD_DATABASES];

        if (world_take(database->server.place, by))
            return database;
    }
    return NULL;
}

struct process *world_take_process(struct world *world, struct as_rng *rng, const void *by)
{
    uint64_t count = WORLD_NODES + 2 * WORLD_DATABASES, first = as_rng_below(rng, count);

    for (uint64_t i = 0; i < count; i++) {
        struct process *process = world_process(world, (size_t)((first + i) % count));

        if (world_take(process->place, by))
            return process;
    }
    return NULL;
}

/* --- Waiting --- */

bool world_wait(struct world *world, bool (*met)(void *ctx), void *ctx, int64_t timeout_ms)
{
    int64_t until = world_now_ms() + timeout_ms;

    for (;;) {
        processes_reap(world);
        if (world->interrupted || world->error[0])
            return false;
        if (met && met(ctx))
            return true;
        if (world_now_ms() >= until)
            return !met;
        (void)poll(NULL, 0, 20);
    }
}

/* --- Who leads --- */

static double term_led(const struct node *node)
{
    struct answer answer;
    const cJSON *leader, *term;
    double led = 0;

    http_at(node->api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    leader = cJSON_GetObjectItem(answer.json, "leader");
    term = cJSON_GetObjectItem(answer.json, "term");
    if (cJSON_IsNumber(leader) && cJSON_IsNumber(term) && leader->valueint == node->id)
        led = term->valuedouble;
    answer_free(&answer);
    return led;
}

/* One that was cut off may believe in itself for a while: the highest term counts. */
int world_leader(struct world *world)
{
    double highest = 0;
    int leader = -1;

    for (int i = 0; i < WORLD_NODES; i++) {
        double term = world->nodes[i].process.pid ? term_led(&world->nodes[i]) : 0;

        if (term > highest) {
            highest = term;
            leader = i;
        }
    }
    return leader;
}

PGconn *database_connect(const struct database *database)
{
    char dsn[300];
    PGconn *connection;

    (void)snprintf(dsn, sizeof(dsn),
                   "host=%s port=%d user=assent dbname=bank connect_timeout=5 "
                   "options='-c statement_timeout=60s'",
                   database->check_host, database->check_port);
    connection = PQconnectdb(dsn);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    PQfinish(connection);
    return NULL;
}
