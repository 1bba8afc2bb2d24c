/*
 * A nemesis: one way to torture the world. Plugged in by its line in nemeses.c.
 *
 * The runner calls prepare() once before anything is started; then again and again strike(), holds it for a while, heal(), and
 * waits until the cluster works again. Two nemeses may have struck at the same time, never the same one twice.
 */
#ifndef ASSENT_TORTURE_NEMESIS_H
#define ASSENT_TORTURE_NEMESIS_H

#include "world.h"

struct strike {
    struct as_rng *rng; /* all chance of it: the same seed draws the same */
    char what
        [160]; /* strike() says what it did: "node-2 and database-bank_a lose 30 % of packets" */
    int64_t
        hold_ms; /* how long until heal(): drawn by the runner, strike() may change it; 0: nothing to hold */
    void *own; /* the nemesis' own; heal() frees it */
};

enum strike_result {
    STRIKE_DONE,
    STRIKE_NOTHING, /* nothing to strike now (all places taken, nothing prepared): heal() is called at once, it is not counted, and drawn again later */
    STRIKE_FAILED,  /* world_fail() has been called */
};

struct nemesis {
    const char *name;  /* as in --only: lower case, "-" between words */
    const char *about; /* one line for --list */
    /* What this machine needs for it. False: ret_why says what is missing; then it is left out, and the report says so. NULL: nothing */
    bool (*usable)(const struct world *world, char *ret_why, size_t size);
    /* Before directories are made (initdb), places exist: mounts on node->dir, standbys, settings. NULL: nothing */
    bool (*prepare)(struct world *world);
    /* Once all runs, before the load: base backups of standbys ... NULL: nothing */
    bool (*started)(struct world *world);
    enum strike_result (*strike)(struct world *world, struct strike *strike);
    /* Puts everything back: processes run again, rules are gone. Does not wait for the cluster. False: failed */
    bool (*heal)(struct world *world, struct strike *strike);
    /* At each check, after the general ones, while nothing is under way: its own demands. NULL: none. False: failed */
    bool (*check)(struct world *world);
    /* At the end, when all processes are killed: unmounts, loop devices. NULL: nothing */
    void (*finish)(struct world *world);
    bool alone; /* never together with another one */
};

extern const struct nemesis *const nemeses[];
extern const size_t nemesis_count;

#endif
