/*
 * The clients: a thread each, in its place's network namespace. Each sends transfers one after the other to nodes that it draws;
 * sends one again, with the same body, to another node when no answer came; reads ids of its own and of others, also while they
 * are under way; and leaves some without ever learning what became of them.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

#define PAUSE_MS 30000 /* for what is under way to end */
#define TRIES_MAX 8    /* of one transfer; then its outcome stays unknown to its client */

struct client {
    struct clients *clients;
    struct requester requester;
    pthread_t thread;
};

struct clients {
    struct world *world;
    atomic_bool pausing, stopping;
    atomic_int paused;
    struct client each[WORLD_CLIENTS];
};

static uint64_t draw(struct client *client, uint64_t below)
{
    return as_rng_below(&client->requester.rng, below);
}

static void pause_ms(struct client *client, uint64_t most)
{
    (void)poll(NULL, 0, (int)draw(client, most + 1));
}

/* An id of anybody, most likely one of the newest; false: there is none yet. */
static bool some_transfer(struct client *client, uint64_t *ret_transfer)
{
    struct history *history = client->clients->world->history;
    uint64_t count;

    (void)pthread_mutex_lock(&history->lock);
    count = history->transfer_count;
    (void)pthread_mutex_unlock(&history->lock);
    if (count == 0)
        return false;
    *ret_transfer =
        draw(client, 4) ? count - 1 - draw(client, count < 12 ? count : 12) : draw(client, count);
    return true;
}

static void read_some(struct client *client)
{
    uint64_t transfer;

    if (some_transfer(client, &transfer))
        (void)request_get(&client->requester, transfer, (int)draw(client, WORLD_NODES),
                          draw(client, 4) ? 0 : 500, NULL);
}

static bool settled(enum op_result result)
{
    return result == RESULT_COMMITTED || result == RESULT_ABORTED || result == RESULT_ODD;
}

/* Until its outcome is known, or the client has had enough. */
static void follow(struct client *client, uint64_t transfer, enum op_result result)
{
    for (int tries = 1; tries < TRIES_MAX && !settled(result); tries++) {
        int node = (int)draw(client, WORLD_NODES);

        if (client->clients->stopping || client->clients->pausing || draw(client, 12) == 0)
            return;
        pause_ms(client, 100);
        if (result == RESULT_UNDER_WAY && draw(client, 2))
            (void)request_get(&client->requester, transfer, node, 300, NULL);
        else
            result = request_post(&client->requester, transfer, node, NULL);
    }
}

static void send_one(struct client *client)
{
    uint64_t transfer = transfer_invent(&client->requester);
    enum op_result result =
        request_post(&client->requester, transfer, (int)draw(client, WORLD_NODES), NULL);

    if (draw(client, 40) ==
        0) /* once more, though it has been answered: nothing may happen twice */
        result = request_post(&client->requester, transfer, (int)draw(client, WORLD_NODES), NULL);
    follow(client, transfer, result);
}

static void wait_while_paused(struct clients *clients)
{
    if (!clients->pausing)
        return;
    atomic_fetch_add(&clients->paused, 1);
    while (clients->pausing && !clients->stopping)
        (void)poll(NULL, 0, 5);
    atomic_fetch_sub(&clients->paused, 1);
}

static void *client_run(void *ctx)
{
    struct client *client = ctx;
    struct clients *clients = client->clients;
    struct world *world = clients->world;

    if (setns(world->clients[client->requester.number]->netns, CLONE_NEWNET))
        (void)world_fail(world, "a client cannot go to its place: %s", strerror(errno));
    while (!clients->stopping) {
        wait_while_paused(clients);
        if (clients->stopping)
            break;
        if (draw(client, 3) == 0)
            read_some(client);
        else
            send_one(client);
        pause_ms(client, 20);
    }
    return NULL;
}

struct clients *clients_start(struct world *world)
{
    struct clients *clients = calloc(1, sizeof(*clients));
    sigset_t all, before;

    AS_ASSERT(clients);
    clients->world = world;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        struct client *client = &clients->each[i];

        client->clients = clients;
        client->requester = (struct requester){
            world, (uint8_t)i, {world->seed ^ 0x9e3779b97f4a7c15u * (uint64_t)(i + 1)}};
        AS_ASSERT(pthread_create(&client->thread, NULL, client_run, client) == 0);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return clients;
}

static bool all_paused(void *ctx)
{
    struct clients *clients = ctx;

    return clients->paused == WORLD_CLIENTS;
}

bool clients_pause(struct world *world, struct clients *clients)
{
    clients->pausing = true;
    return world_wait(world, all_paused, clients, PAUSE_MS) ||
           world_fail(world, "clients do not come to rest");
}

void clients_resume(struct clients *clients)
{
    clients->pausing = false;
    while (clients->paused) /* so that nobody counts as paused the next time who has not resumed */
        (void)poll(NULL, 0, 1);
}

void clients_stop(struct clients *clients)
{
    if (!clients)
        return;
    clients->stopping = true;
    for (int i = 0; i < WORLD_CLIENTS; i++)
        (void)pthread_join(clients->each[i].thread, NULL);
    free(clients);
}
