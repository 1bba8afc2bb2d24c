/*
 * Standby servers of PostgreSQL, for the failover nemeses. Each database has a second place; whoever of the two serves is
 * database->server, and the other one is dead until a strike makes a standby of it, from a base backup.
 */
#ifndef ASSENT_TORTURE_STANDBY_H
#define ASSENT_TORTURE_STANDBY_H

#include "world.h"

/* The places, and both servers in the agents' dsn. Once, whoever asks first. */
bool standbys_prepare(struct world *world);

/* --- Steps of a failover. False: the world has failed --- */

/* A standby that streams. `ret_lsn`: where the primary's log was before. */
bool standby_start(struct world *world, struct database *database, char ret_lsn[80]);
/* The primary waits for it at every commit and PREPARE from when this returns. */
bool standby_make_synchronous(struct world *world, struct database *database);
/* Nothing more reaches it. */
bool standby_cut_off(struct world *world, struct database *database);
/* The primary has been killed: it is the server now. `ret_old`: the data directory of the one before. */
bool standby_promote(struct world *world, struct database *database, char ret_old[200]);

/* Where in the write-ahead log of the old primary the new one has left it: "1" and "0/3000148". */
bool standby_left_at(struct world *world, const struct database *database, char ret_timeline[16],
                     char ret_lsn[24]);

/* --- lost.c --- */
struct failover {
    const struct database *database;
    char old_data[200], timeline[16];
    char begin
        [80]; /* where the old primary's log was when nothing was under way of what was before */
    char left_at[24]; /* and where the new one has left it */
    bool synchronous; /* nothing that was acknowledged may stand behind that */
};
/* Marks what the checks must expect. How many branches were lost, and of them how many had not been committed there; -1: failed. */
int lost_mark(struct world *world, const struct failover *failover, int *ret_open);

#endif
