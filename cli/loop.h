/*
 * The main thread's libuv loop, used from straight-line code: "wait until this holds, at most so
 * long". Ctrl-C, SIGTERM and SIGHUP end every wait, so that whoever waits unwinds and cleans up.
 */
#ifndef ASSENT_CLI_LOOP_H
#define ASSENT_CLI_LOOP_H

#include <uv.h>

#include "cli/cli.h"

enum loop_end { LOOP_MET, LOOP_TIMEOUT, LOOP_INTERRUPTED };

struct loop {
    uv_loop_t uv;
    uv_timer_t tick;
    uv_signal_t signals[3];
    bool interrupted;
    bool stopping; /* cleaning up: a signal ends no wait any more */
};

bool loop_open(struct loop *loop);
/*
 * Runs the loop until `met`, which is asked after everything that happens and every tick_ms. Never
 * called from inside a callback.
 */
enum loop_end loop_wait(struct loop *loop, bool (*met)(void *ctx), void *ctx, uint64_t timeout_ms,
                        uint64_t tick_ms);
void loop_close(struct loop *loop);

#endif
