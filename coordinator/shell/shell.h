/*
 * The running coordinator: the loop, and `struct as_env` on libuv. Holds no ordering knowledge of
 * the protocol: whatever the node asks for may be done in any order, or be lost in a crash.
 */
#ifndef ASSENT_SHELL_H
#define ASSENT_SHELL_H

#include "coordinator/shell/settings.h"

struct shell;

/* A first start makes the data directory and an empty log; it refuses where there is one. */
enum shell_start {
    SHELL_START,     /* with the log that is there */
    SHELL_BOOTSTRAP, /* first, of a node that founds its cluster */
    SHELL_JOIN,      /* first, of a node that a running cluster takes in */
    SHELL_RESTORE,   /* first, of a node that founds a cluster which goes on where a backup ends */
};

struct shell_origin {
    enum shell_start start;
    const char *backup; /* RESTORE: its file */
};

/* Opens the data directory and the log, listens, and starts the node. On failure ret_error is for
 * people. */
as_err shell_open(struct shell **ret_shell, const struct settings *settings,
                  const struct shell_origin *origin, char ret_error[2048]) AS_MUSTCHECK;
/* A first start that only makes directory and log, for whoever starts the node afterwards. */
as_err shell_make(const struct settings *settings, const struct shell_origin *origin,
                  char ret_error[2048]) AS_MUSTCHECK;
/* Until SIGTERM or SIGINT, then until what is under way is done or drain_ms have passed. */
void shell_run(struct shell *shell);
void shell_close(struct shell *shell); /* takes NULL and a half-opened one */

#endif
