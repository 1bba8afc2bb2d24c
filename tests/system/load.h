/*
 * Clients that move money and note the outcome of every transfer that they were told, and the check
 * at the end: every acknowledged transfer stands in both databases exactly once, every aborted one in
 * none, every other one in both or in none, the money is all there and nothing is prepared.
 */
#ifndef ASSENT_TEST_LOAD_H
#define ASSENT_TEST_LOAD_H

#include "harness.h"

/* At each client's own node first; a client goes to the next one whenever it is not told an
 * outcome. The check covers every load since the sandbox was started. */
void load_start(const struct sandbox *sandbox);
/* When every client has ended its last transfer. */
void load_stop(void);
/* Waits until so many more transfers are committed. */
void load_wait_commits(int count);
/* Waits so long, while transfers must go on; returns the longest time in which none was committed. */
int64_t load_wait_ms(int64_t ms);
/* Prints how many there were. */
void load_check(int64_t prepared_gone_ms);
/* In a teardown: true if a test failed and left it running; it is stopped, whatever is not known. */
bool load_abandon(void);

#endif
