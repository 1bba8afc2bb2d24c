/*
 * Which nemeses strike when. Everything follows from the seed but for what the cluster itself does meanwhile.
 */
#ifndef ASSENT_TORTURE_SCHEDULE_H
#define ASSENT_TORTURE_SCHEDULE_H

#include "inside.h"

#define NEMESES_MAX 32

struct tally {
    const struct nemesis *nemesis;
    bool chosen;        /* by --only, or all */
    char unusable[160]; /* why this machine cannot have it; "": it can */
    uint64_t strikes;
    int64_t recovery_ms; /* the worst, of a round that it was part of */
};

struct schedule {
    struct world *world;
    struct as_rng rng;
    bool is_short; /* many brief strikes */
    struct tally tallies[NEMESES_MAX];
    size_t count;
    struct tally *queue[2 * NEMESES_MAX]; /* what is left of the permutation */
    size_t queued;
    uint64_t rounds;
    uint64_t checked; /* transfers, at the last check */
};

/* `only`: names with commas, or NULL. False: no such name (complained about). */
bool schedule_init(struct schedule *schedule, struct world *world, const char *only);
/* Whether all that were chosen can be had here: asks each. */
void schedule_look(struct schedule *schedule);
bool schedule_prepare(struct schedule *schedule);
bool schedule_started(struct schedule *schedule);
/* One or two strike, are healed, the cluster recovers, all is checked. */
bool schedule_round(struct schedule *schedule, struct clients *clients);
/* All checks, while clients are paused; asks for open ids from that number on. */
bool schedule_check(struct schedule *schedule, uint64_t asked_from);
void schedule_finish(struct schedule *schedule);
/* The fewest strikes of any one that was chosen and can be had. */
uint64_t schedule_fewest(const struct schedule *schedule);

#endif
