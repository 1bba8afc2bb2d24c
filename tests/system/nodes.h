/*
 * What tests of several nodes share: who leads, who is a member, what a log says, and nodes of the
 * test's own making beside the sandbox's.
 */
#ifndef ASSENT_TEST_NODES_H
#define ASSENT_TEST_NODES_H

#include "harness.h"

/* Waits until a node says of itself that it leads; of two, the one with the higher term. Its place in
 * sandbox->nodes. */
int leader_find(const struct sandbox *sandbox);
/* The id of the leader that node `asked` follows, or its own; waits until there is one. */
int leader_id(const struct sandbox *sandbox, int asked);
void node_signal(const struct sandbox *sandbox, int place, int number);

/* Hands leadership to the node. */
void leader_make(const struct sandbox *sandbox, int place);
/* Waits until the node has applied what the leader has now. */
void wait_caught_up(const struct sandbox *sandbox, int place);

/* The log of the process has such a line. */
bool log_says(const struct sandbox *sandbox, const char *name, const char *what);
void wait_log_says(const struct sandbox *sandbox, const char *name, const char *what);
/* In how many lines. */
int log_lines(const struct sandbox *sandbox, const char *name, const char *what);
/* Sends SIGHUP and waits until the log says once more what has come of it. */
void node_reload(const struct sandbox *sandbox, const char *name, const char *what);

/* Waits until node `asked` says that `id` is a member that votes, or is none. */
void wait_member(const struct sandbox *sandbox, int asked, int id, bool there);
/* `assent cluster VERB ID ADDRESS` of all the sandbox's nodes; the exit status. */
int cluster_command(const struct sandbox *sandbox, const char *verb, int id, const char *address);

/* assentd --join with an empty directory. */
struct joiner {
    const struct sandbox *sandbox;
    char name[32];
    pid_t pid; /* 0: does not run */
};
/* `agents`: its listener. */
void joiner_start(struct joiner *joiner, const struct sandbox *sandbox, int id, const char *name,
                  const char *agents);
/* Waits until it listens; where agents and nodes dial, from its own log. */
void joiner_address(const struct joiner *joiner, char ret_address[64]);
void joiner_kill(struct joiner *joiner);

#endif
