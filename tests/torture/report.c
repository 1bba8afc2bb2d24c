/*
 * The report at the end of a run.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LONG_MINUTES 40.0 /* from here on, each nemesis must have struck LONG_STRIKES times */
#define LONG_STRIKES 3

struct outcomes {
    uint64_t committed, aborted, unknown, posts, gets, again;
};

/* As the clients know it. */
static struct outcomes outcomes_count(const struct history *history)
{
    struct outcomes outcomes = {0};
    uint8_t *known =
        calloc(history->transfer_count + 1, 1); /* 1 + result, the best that was heard */

    AS_ASSERT(known);
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];

        outcomes.posts += op->kind == OP_POST;
        outcomes.gets += op->kind == OP_GET;
        if (known[op->transfer] == 1 + RESULT_COMMITTED)
            continue;
        if (op->result == RESULT_COMMITTED || op->result == RESULT_ABORTED)
            known[op->transfer] = (uint8_t)(1 + op->result);
    }
    for (size_t i = 0; i < history->transfer_count; i++) {
        outcomes.committed += known[i] == 1 + RESULT_COMMITTED;
        outcomes.aborted += known[i] == 1 + RESULT_ABORTED;
        outcomes.unknown += known[i] == 0;
    }
    free(known);
    return outcomes;
}

static void table_print(const struct schedule *schedule)
{
    printf("\n%-18s %8s %16s\n", "nemesis", "strikes", "worst recovery");
    for (size_t i = 0; i < schedule->count; i++) {
        const struct tally *tally = &schedule->tallies[i];

        if (tally->chosen && tally->unusable[0])
            printf("%-18s %8s   left out: %s\n", tally->nemesis->name, "-", tally->unusable);
        else if (tally->chosen)
            printf("%-18s %8" PRIu64 " %14.1f s\n", tally->nemesis->name, tally->strikes,
                   (double)tally->recovery_ms / 1000);
    }
}

static bool strikes_suffice(const struct schedule *schedule, double minutes)
{
    uint64_t promised = minutes >= LONG_MINUTES ? LONG_STRIKES : 0;

    for (size_t i = 0; promised && i < schedule->count; i++)
        if (schedule->tallies[i].chosen && schedule->tallies[i].unusable[0]) {
            printf("torture: %s was left out: this run shows less than it is to show\n",
                   schedule->tallies[i].nemesis->name);
            return false;
        }
    if (schedule_fewest(schedule) < promised) {
        printf("torture: some nemesis struck fewer than %" PRIu64 " times\n", promised);
        return false;
    }
    printf("every nemesis struck at least %" PRIu64 " times\n", schedule_fewest(schedule));
    return true;
}

bool report(const struct schedule *schedule, double minutes, bool passed)
{
    const struct world *world = schedule->world;
    struct outcomes outcomes = {0};

    if (world->history)
        outcomes = outcomes_count(world->history);
    table_print(schedule);
    printf("\n%" PRIu64 " rounds, each followed by all checks; %" PRIu64 " POSTs, %" PRIu64
           " GETs\n",
           schedule->rounds, outcomes.posts, outcomes.gets);
    printf("transactions: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64
           " of which no client learnt the outcome\n",
           outcomes.committed, outcomes.aborted, outcomes.unknown);
    passed = passed && strikes_suffice(schedule, minutes);
    if (passed)
        printf("torture: passed (seed %" PRIu64 ")\n", world->seed);
    else if (!world->interrupted)
        printf("torture: FAILED (seed %" PRIu64 "): %s\n", world->seed,
               world->error[0] ? world->error : "see above");
    return passed;
}
