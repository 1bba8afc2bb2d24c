/*
 * A PID, mount, network and IPC namespace of its own for the runner; see isolate.c.
 */
#ifndef ASSENT_TORTURE_ISOLATE_H
#define ASSENT_TORTURE_ISOLATE_H

#include "assent/base.h"

/* Whether this process may make namespaces. Else ret_why says what is missing. */
bool isolate_possible(char *ret_why, size_t size);
/* Runs `body` as process 1 of its own namespaces and waits for its end. Returns its exit status. */
int isolate_run(int (*body)(void *ctx), void *ctx);

#endif
