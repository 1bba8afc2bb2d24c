/*
 * Clients that move money and know the outcome of every transfer they ever sent, and the check at
 * the end: every acknowledged transfer stands in both databases exactly once, every aborted one in
 * none, the money is all there and nothing is prepared.
 */
#ifndef ASSENT_TEST_LOAD_H
#define ASSENT_TEST_LOAD_H

#include "harness.h"

/* At each client's own node first; a client goes to the next one whenever it is not told an
 * outcome. The check covers every load since the sandbox was started. */
void load_start(const struct sandbox *sandbox);
/* When every client has learnt the outcome of its last transfer. */
void load_stop(void);
/* Waits until so many more transfers are committed. */
void load_wait_commits(int count);
void load_check(int64_t prepared_gone_ms);
/* In a teardown: true if a test failed and left it running; it is stopped, whatever is not known. */
bool load_abandon(void);

#endif
