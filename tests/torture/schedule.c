/*
 * The schedule: nemeses come in a drawn order, each once, before any comes again; so after K orders each has struck K times. One
 * or two at a time.
 */
#include "schedule.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TOGETHER 2
#define RECOVERY_MS 90000
#define TELL_MS 5000 /* how often the operator is told what does not work yet */
#define HOLD_MIN_MS 1000
#define HOLD_MAX_MS 8000
#define HOLD_LONG_MS 20000 /* one of eight: longer than most timeouts */
#define HOLD_SHORT_MS 3000 /* of all, in a short run */
#define STAGGER_MS 2000

/* --- Which there are --- */

static bool name_is_in(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (list && *list) {
        size_t part = strcspn(list, ",");

        if (part == len && memcmp(list, name, len) == 0)
            return true;
        list += part + (list[part] == ',');
    }
    return list == NULL;
}

static bool names_are_known(const char *only)
{
    for (size_t part; only && *only; only += part + (only[part] == ',')) {
        bool known = false;

        part = strcspn(only, ",");
        for (size_t i = 0; i < nemesis_count; i++)
            known |= strlen(nemeses[i]->name) == part && memcmp(nemeses[i]->name, only, part) == 0;
        if (!known) {
            fprintf(stderr, "torture: there is no nemesis \"%.*s\"; --list names them\n", (int)part,
                    only);
            return false;
        }
    }
    return true;
}

bool schedule_init(struct schedule *schedule, struct world *world, const char *only)
{
    AS_ASSERT(nemesis_count <= NEMESES_MAX);
    *schedule = (struct schedule){.world = world, .rng = {world->seed}, .count = nemesis_count};
    for (size_t i = 0; i < nemesis_count; i++) {
        schedule->tallies[i].nemesis = nemeses[i];
        schedule->tallies[i].chosen = name_is_in(only, nemeses[i]->name);
    }
    return names_are_known(only);
}

static bool is_in(const struct tally *tally)
{
    return tally->chosen && !tally->unusable[0];
}

void schedule_look(struct schedule *schedule)
{
    for (size_t i = 0; i < schedule->count; i++) {
        struct tally *tally = &schedule->tallies[i];

        if (tally->chosen && tally->nemesis->usable &&
            !tally->nemesis->usable(schedule->world, tally->unusable, sizeof(tally->unusable)) &&
            !tally->unusable[0])
            (void)snprintf(tally->unusable, sizeof(tally->unusable), "it cannot be had here");
    }
}

static bool call_each(struct schedule *schedule, bool started)
{
    for (size_t i = 0; i < schedule->count; i++) {
        const struct nemesis *nemesis = schedule->tallies[i].nemesis;
        bool (*call)(struct world *) = started ? nemesis->started : nemesis->prepare;

        if (is_in(&schedule->tallies[i]) && call && !call(schedule->world))
            return world_fail(schedule->world, "%s could not be prepared", nemesis->name);
    }
    return true;
}

bool schedule_prepare(struct schedule *schedule)
{
    return call_each(schedule, false);
}

bool schedule_started(struct schedule *schedule)
{
    return call_each(schedule, true);
}

void schedule_finish(struct schedule *schedule)
{
    for (size_t i = 0; i < schedule->count; i++)
        if (is_in(&schedule->tallies[i]) && schedule->tallies[i].nemesis->finish)
            schedule->tallies[i].nemesis->finish(schedule->world);
}

uint64_t schedule_fewest(const struct schedule *schedule)
{
    uint64_t fewest = UINT64_MAX;

    for (size_t i = 0; i < schedule->count; i++)
        if (is_in(&schedule->tallies[i]) && schedule->tallies[i].strikes < fewest)
            fewest = schedule->tallies[i].strikes;
    return fewest == UINT64_MAX ? 0 : fewest;
}

/* --- The order --- */

static void queue_fill(struct schedule *schedule)
{
    for (size_t i = 0; i < schedule->count; i++)
        if (is_in(&schedule->tallies[i]))
            schedule->queue[schedule->queued++] = &schedule->tallies[i];
    for (size_t i = schedule->queued; i > 1; i--) {
        size_t other = (size_t)as_rng_below(&schedule->rng, i);
        struct tally *swapped = schedule->queue[i - 1];

        schedule->queue[i - 1] = schedule->queue[other];
        schedule->queue[other] = swapped;
    }
}

static struct tally *queue_take(struct schedule *schedule, size_t at)
{
    struct tally *tally = schedule->queue[at];

    memmove(&schedule->queue[at], &schedule->queue[at + 1],
            (--schedule->queued - at) * sizeof(schedule->queue[0]));
    return tally;
}

/* It had nothing to strike: once more at the end of this order. */
static void queue_put_back(struct schedule *schedule, struct tally *tally)
{
    schedule->queue[schedule->queued++] = tally;
}

/* --- A round --- */

struct struck {
    struct tally *tally;
    struct strike strike;
    struct as_rng rng;
    int64_t heal_at; /* ms; 0: healed, or has not struck */
};

struct round {
    struct struck each[TOGETHER];
    size_t count;
};

/* The next of the order, and perhaps another one that may come with it. */
static void round_draw(struct schedule *schedule, struct round *round)
{
    bool two = as_rng_below(&schedule->rng, 5) < 2;

    *round = (struct round){.count = 1};
    if (schedule->queued == 0)
        queue_fill(schedule);
    round->each[0].tally = queue_take(schedule, 0);
    for (size_t i = 0; two && i < schedule->queued; i++) {
        if (round->each[0].tally->nemesis->alone || schedule->queue[i]->nemesis->alone ||
            schedule->queue[i] == round->each[0].tally)
            continue;
        round->each[round->count++].tally = queue_take(schedule, i);
        break;
    }
}

static int64_t hold_draw(struct schedule *schedule)
{
    bool is_long = as_rng_below(&schedule->rng, 8) == 0;
    uint64_t most = schedule->is_short ? HOLD_SHORT_MS : is_long ? HOLD_LONG_MS : HOLD_MAX_MS;
    uint64_t below = most - HOLD_MIN_MS;

    return HOLD_MIN_MS + (int64_t)as_rng_below(&schedule->rng, below);
}

static bool strike(struct schedule *schedule, struct struck *struck)
{
    const struct nemesis *nemesis = struck->tally->nemesis;
    int64_t hold = hold_draw(schedule);

    struck->rng.state = as_rng_next(&schedule->rng);
    struck->strike = (struct strike){.rng = &struck->rng, .hold_ms = hold};
    switch (nemesis->strike(schedule->world, &struck->strike)) {
    case STRIKE_NOTHING:
        world_say("%s: nothing to strike now", nemesis->name);
        if (!nemesis->heal(schedule->world, &struck->strike))
            return false;
        queue_put_back(schedule, struck->tally);
        return true;
    case STRIKE_FAILED:
        return world_fail(schedule->world, "%s could not strike", nemesis->name);
    case STRIKE_DONE:
        break;
    }
    struck->tally->strikes++;
    struck->heal_at = world_now_ms() + struck->strike.hold_ms;
    world_say("%s: %s (for %.1f s)", nemesis->name, struck->strike.what,
              (double)struck->strike.hold_ms / 1000);
    return true;
}

/* NULL: none is to be healed any more. */
static struct struck *next_to_heal(struct round *round)
{
    struct struck *next = NULL;

    for (size_t i = 0; i < round->count; i++)
        if (round->each[i].heal_at && (!next || round->each[i].heal_at < next->heal_at))
            next = &round->each[i];
    return next;
}

static bool round_strike(struct schedule *schedule, struct round *round)
{
    struct world *world = schedule->world;
    struct struck *next;

    for (size_t i = 0; i < round->count; i++) {
        if (i && !world_wait(world, NULL, NULL, (int64_t)as_rng_below(&schedule->rng, STAGGER_MS)))
            return false;
        if (!strike(schedule, &round->each[i]))
            return false;
    }
    while ((next = next_to_heal(round))) {
        int64_t left = next->heal_at - world_now_ms();

        if (left > 0 && !world_wait(world, NULL, NULL, left))
            return false;
        next->heal_at = 0;
        if (!next->tally->nemesis->heal(world, &next->strike))
            return world_fail(world, "%s could not be healed", next->tally->nemesis->name);
    }
    return true;
}

/* --- Recovery --- */

struct recovery {
    struct schedule *schedule;
    struct requester requester;
    int64_t begin, tell_at;
    char why[128]; /* it has not yet */
};

static bool probes_commit(struct recovery *recovery)
{
    for (int i = 0; i < WORLD_NODES; i++) {
        struct op op;

        if (request_post(&recovery->requester, transfer_invent_probe(&recovery->requester), i,
                         &op) == RESULT_COMMITTED)
            continue;
        (void)snprintf(recovery->why, sizeof(recovery->why),
                       "a transaction through node-%d: HTTP %d %s", i + 1, op.status, op.reason);
        return false;
    }
    return true;
}

/* All nodes answer, all participants are up, and a transaction over all databases commits through each node. */
static bool has_recovered(void *ctx)
{
    struct recovery *recovery = ctx;

    if (cluster_works(recovery->schedule->world, recovery->why, sizeof(recovery->why)) &&
        probes_commit(recovery))
        return true;
    if (world_now_ms() >= recovery->tell_at) {
        world_say("  not yet after %d s: %s", (int)((world_now_ms() - recovery->begin) / 1000),
                  recovery->why);
        recovery->tell_at += TELL_MS;
    }
    return false;
}

static bool round_recover(struct schedule *schedule, const struct round *round)
{
    int64_t begin = world_now_ms(), took;
    struct recovery recovery = {
        .schedule = schedule,
        .requester = {schedule->world, WORLD_CLIENTS, {as_rng_next(&schedule->rng)}},
        .begin = begin,
        .tell_at = begin + TELL_MS};

    if (!world_wait(schedule->world, has_recovered, &recovery, RECOVERY_MS))
        return world_fail(schedule->world, "the cluster does not work again %d s after healing: %s",
                          RECOVERY_MS / 1000, recovery.why);
    took = world_now_ms() - begin;
    for (size_t i = 0; i < round->count; i++)
        if (took > round->each[i].tally->recovery_ms)
            round->each[i].tally->recovery_ms = took;
    world_say("healed; works again after %.1f s", (double)took / 1000);
    return true;
}

bool schedule_check(struct schedule *schedule, uint64_t asked_from)
{
    if (!check_world(schedule->world, asked_from))
        return false;
    for (size_t i = 0; i < schedule->count; i++) {
        const struct tally *tally = &schedule->tallies[i];

        if (is_in(tally) && tally->nemesis->check && !tally->nemesis->check(schedule->world))
            return world_fail(schedule->world, "what %s demands is not so", tally->nemesis->name);
    }
    schedule->checked = schedule->world->history->transfer_count;
    return true;
}

bool schedule_round(struct schedule *schedule, struct clients *clients)
{
    struct round round;

    round_draw(schedule, &round);
    if (!round_strike(schedule, &round) || !round_recover(schedule, &round) ||
        !clients_pause(schedule->world, clients) || !schedule_check(schedule, schedule->checked))
        return false;
    clients_resume(clients);
    schedule->rounds++;
    return true;
}
