/*
 * Clients of the API that a test sends against a coordinator: an honest one that must be served all the
 * time, and bare connections that do what they like.
 */
#ifndef ASSENT_TEST_STRANGERS_H
#define ASSENT_TEST_STRANGERS_H

#include "harness.h"

/* Of node-1 of this sandbox. Once it has served some, it may take `kib` more memory; honest_stop looks. */
void watch(const struct sandbox *sandbox, int64_t kib);

/* The sum of a metric's samples, by the beginning of their lines; -1: it is not there, or all memory
 * for answers is taken. */
double metric(const char *name);
/* All that were answered. */
double requests(void);
/* Waits until so many were refused by that limit. */
void wait_limited(const char *limit, double than);

/* Runs one transaction after the other in a thread, each over a connection of its own. */
void honest_start(void);
/* Waits until some more have been served. */
void honest_more(int count);
/* All were; and memory is bounded. `what` was going on. */
void honest_stop(const char *what);

/* `deaf`: with as little room for answers as there may be. -1: refused. */
int try_connect(bool deaf);
int must_connect(void);
/* With a reset: no port waits behind it. */
void hang_up(int fd);
/* False: the coordinator has ended the connection. */
bool send_some(int fd, const char *bytes, size_t len);
/* Throws away what it said. */
bool is_ended(int fd);
/* Until the first line of its answer is there, or it ended the connection. */
void first_line(int fd, char ret_text[256]);

/* Connections that begin with the same text. */
struct group {
    int *fds;
    int count;
};
void group_open(struct group *group, int count, const char *text);
void group_close(struct group *group);
/* All of them have ended. */
bool group_ended(void *ctx);

#endif
