/*
 * A server is lost, and its standby is promoted. To a synchronous one nothing may be lost. To an asynchronous one that was cut off
 * before, the last of what the primary did is lost: what exactly stands in the primary's log (lost.c).
 */
#include <stdio.h>
#include <string.h>

#include "nemesis.h"
#include "standby.h"

#define RUN_MIN_MS 500 /* that much goes on under load before the primary dies */
#define RUN_MAX_MS 3000

static bool run_on(struct world *world, struct strike *strike)
{
    return world_wait(world, NULL, NULL,
                      RUN_MIN_MS + (int64_t)as_rng_below(strike->rng, RUN_MAX_MS - RUN_MIN_MS));
}

static bool fail_over(struct world *world, struct database *database, struct failover *failover)
{
    process_kill(world, &database->server);
    return standby_promote(world, database, failover->old_data) &&
           standby_left_at(world, database, failover->timeline, failover->left_at);
}

static enum strike_result strike_done(struct world *world, struct strike *strike,
                                      const struct failover *failover)
{
    int open, lost = lost_mark(world, failover, &open);

    (void)snprintf(strike->what + strlen(strike->what), sizeof(strike->what) - strlen(strike->what),
                   " from %s on: %d branches lost, %d of them open", failover->left_at, lost, open);
    return lost < 0 ? STRIKE_FAILED : STRIKE_DONE;
}

static enum strike_result synchronous_strike(struct world *world, struct strike *strike)
{
    struct database *database = world_take_database(world, strike->rng, strike);
    struct failover failover = {.database = database, .synchronous = true};

    strike->hold_ms = 0;
    if (!database)
        return STRIKE_NOTHING;
    (void)snprintf(strike->what, sizeof(strike->what), "%s dies, its synchronous standby serves",
                   database->server.name);
    if (!standby_start(world, database, failover.begin) ||
        !standby_make_synchronous(world, database) || !run_on(world, strike) ||
        !fail_over(world, database, &failover))
        return STRIKE_FAILED;
    return strike_done(world, strike, &failover);
}

static enum strike_result asynchronous_strike(struct world *world, struct strike *strike)
{
    struct database *database = world_take_database(world, strike->rng, strike);
    struct failover failover = {.database = database};

    strike->hold_ms = 0;
    if (!database)
        return STRIKE_NOTHING;
    (void)snprintf(strike->what, sizeof(strike->what), "%s dies, its asynchronous standby serves",
                   database->server.name);
    if (!standby_start(world, database, failover.begin) || !run_on(world, strike) ||
        !standby_cut_off(world, database) || !run_on(world, strike) ||
        !fail_over(world, database, &failover))
        return STRIKE_FAILED;
    return strike_done(world, strike, &failover);
}

static bool give_back(struct world *world, struct strike *strike)
{
    world_give_back(world, strike);
    return true;
}

const struct nemesis nemesis_failover_sync = {
    .name = "failover-sync",
    .about = "a PostgreSQL server dies, its synchronous standby is promoted: nothing may be lost",
    .prepare = standbys_prepare,
    .strike = synchronous_strike,
    .heal = give_back,
    .alone = true,
};

const struct nemesis nemesis_failover_async = {
    .name = "failover-async",
    .about = "the same with one that lags: exactly what its log lacks is lost, and reported",
    .prepare = standbys_prepare,
    .strike = asynchronous_strike,
    .heal = give_back,
    .alone = true,
};
