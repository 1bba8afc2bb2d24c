/*
 * Processes are killed, and stopped for a while.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis.h"

#define VICTIMS_MAX 3

struct victims {
    struct process *each[VICTIMS_MAX];
    int count;
};

static void name_victim(struct strike *strike, const struct victims *victims)
{
    const char *name = victims->each[victims->count - 1]->name;

    (void)snprintf(strike->what + strlen(strike->what), sizeof(strike->what) - strlen(strike->what),
                   "%s%s", victims->count > 1 ? ", " : "", name);
}

/* One as a rule, now and then two or three. */
static struct victims *victims_take(struct world *world, struct strike *strike)
{
    static const int counts[] = {1, 1, 1, 1, 1, 2, 2, 3};
    int wanted = counts[as_rng_below(strike->rng, AS_COUNT_OF(counts))];
    struct victims *victims = calloc(1, sizeof(*victims));

    AS_ASSERT(victims);
    while (victims->count < wanted) {
        struct process *process = world_take_process(world, strike->rng, strike);

        if (!process)
            break;
        victims->each[victims->count++] = process;
        name_victim(strike, victims);
    }
    strike->own = victims;
    return victims;
}

static enum strike_result kill_strike(struct world *world, struct strike *strike)
{
    struct victims *victims = victims_take(world, strike);

    for (int i = 0; i < victims->count; i++) {
        struct process *process = victims->each[i];

        if (process->kind == PROCESS_DATABASE && process->pid > 0 && as_rng_below(strike->rng, 2)) {
            /* The postmaster alone: its backends find out by themselves. */
            process_expect_end(process, true);
            (void)kill(process->pid, SIGKILL);
        } else {
            process_kill(world, process);
        }
    }
    if (as_rng_below(strike->rng, 3) == 0)
        strike->hold_ms = 0; /* started again at once */
    return victims->count ? STRIKE_DONE : STRIKE_NOTHING;
}

static bool kill_heal(struct world *world, struct strike *strike)
{
    struct victims *victims = strike->own;
    bool well = true;

    for (int i = 0; i < victims->count && well; i++)
        well = process_restart(world, victims->each[i]);
    world_give_back(world, strike);
    free(victims);
    return well;
}

const struct nemesis nemesis_kill = {
    .name = "kill",
    .about = "kill -9 of nodes, agents, PostgreSQL servers (all of one, or its postmaster alone)",
    .strike = kill_strike,
    .heal = kill_heal,
};

static enum strike_result pause_strike(struct world *world, struct strike *strike)
{
    struct victims *victims = victims_take(world, strike);

    for (int i = 0; i < victims->count; i++)
        process_signal(victims->each[i], SIGSTOP);
    return victims->count ? STRIKE_DONE : STRIKE_NOTHING;
}

static bool pause_heal(struct world *world, struct strike *strike)
{
    struct victims *victims = strike->own;

    for (int i = 0; i < victims->count; i++)
        process_signal(victims->each[i], SIGCONT);
    world_give_back(world, strike);
    free(victims);
    return true;
}

const struct nemesis nemesis_pause = {
    .name = "pause",
    .about = "SIGSTOP of nodes, agents, PostgreSQL servers with all backends; later SIGCONT",
    .strike = pause_strike,
    .heal = pause_heal,
};
