/*
 * Waiting in the main thread; see loop.h.
 */
#include "cli/loop.h"

#include <signal.h>

static const int loop_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;

    (void)number;
    loop->interrupted = true;
}

static void on_tick(uv_timer_t *handle)
{
    (void)handle;
}

bool loop_open(struct loop *loop)
{
    *loop = (struct loop){0};
    if (uv_loop_init(&loop->uv) || uv_timer_init(&loop->uv, &loop->tick))
        return false;
    for (size_t i = 0; i < AS_COUNT_OF(loop_signals); i++) {
        if (uv_signal_init(&loop->uv, &loop->signals[i]))
            return false;
        loop->signals[i].data = loop;
        if (uv_signal_start(&loop->signals[i], on_signal, loop_signals[i]))
            return false;
    }
    return true;
}

enum loop_end loop_wait(struct loop *loop, bool (*met)(void *ctx), void *ctx, uint64_t timeout_ms,
                        uint64_t tick_ms)
{
    as_time deadline = clock_now() + (as_time)timeout_ms * AS_MS;
    enum loop_end end;

    (void)uv_timer_start(&loop->tick, on_tick, tick_ms, tick_ms);
    for (;;) {
        if (loop->interrupted && !loop->stopping) {
            end = LOOP_INTERRUPTED;
            break;
        }
        if (met(ctx)) {
            end = LOOP_MET;
            break;
        }
        if (clock_now() >= deadline) {
            end = LOOP_TIMEOUT;
            break;
        }
        (void)uv_run(&loop->uv, UV_RUN_ONCE);
    }
    (void)uv_timer_stop(&loop->tick);
    return end;
}

void loop_close(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->tick, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(loop_signals); i++)
        uv_close((uv_handle_t *)&loop->signals[i], NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop->uv);
}
