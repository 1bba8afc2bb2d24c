/*
 * assent top: one look at a cluster, and the figures of two looks.
 */
#ifndef ASSENT_CLI_TOP_H
#define ASSENT_CLI_TOP_H

#include <cjson/cJSON.h>

#include "cli/metrics.h"

#define TOP_NODES_MAX 9

struct top_node {
    char api[256];
    bool answers;
    double id;
    char role[16];
    char why[80]; /* it does not tell; "": it does not even answer */
    struct metrics metrics;
};

/* What all nodes said at about the same time. */
struct top_look {
    as_time at;
    char cluster[64], version[32];
    size_t node_count;
    struct top_node nodes[TOP_NODES_MAX];
    int leader; /* its number in `nodes`; -1: none of those that were asked */
};

/* Asks every node of the list. */
void top_look_take(struct top_look *ret, const char *apis);
void top_look_close(struct top_look *look); /* takes a zeroed one */

/* The figures of the time between two looks; see `assent top --help` for the keys. What cannot be
 * told is null. */
cJSON *top_figures(const struct top_look *now, const struct top_look *before);

/* --- top_screen.c --- */
/* One frame, of at most so many lines and columns, as text with ANSI escapes if `ansi`. */
void top_print(const cJSON *figures, int rows, int columns, bool ansi);
/* The terminal is ours (if stdout is one), and given back at exit whatever happens. */
void top_screen_open(void);
void top_screen_close(void);
/* Waits so long; false: a key, Ctrl-C or another signal says that it is over. */
bool top_screen_wait(uint64_t ms);
void top_screen_size(int *ret_rows, int *ret_columns);
bool top_screen_is_terminal(void);

#endif
