/*
 * Time, chance and the one timer; see pulse.h.
 */
#include "common/uv/pulse.h"

#include <sys/random.h>
#include <time.h>

#include "common/uv/say.h"

as_time pulse_now(struct pulse *pulse)
{
    if (pulse->now == 0)
        pulse->now = (as_time)uv_hrtime();
    return pulse->now;
}

int64_t pulse_wall_ms(struct pulse *pulse)
{
    struct timespec now;

    if (pulse->wall_ms == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        pulse->wall_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    return pulse->wall_ms;
}

void pulse_turn(struct pulse *pulse)
{
    pulse->now = 0;
    pulse->wall_ms = 0;
}

uint64_t pulse_random(struct pulse *pulse)
{
    if (pulse->random_left == 0) {
        if (getrandom(pulse->random, sizeof(pulse->random), 0) != (ssize_t)sizeof(pulse->random))
            say(AS_TRACE_ALARM, "fatal", "why", "the system gives no random numbers", NULL);
        else
            pulse->random_left = PULSE_RANDOM_COUNT;
        AS_ASSERT(pulse->random_left > 0);
    }
    return pulse->random[--pulse->random_left];
}

static void on_timer(uv_timer_t *timer);

/* libuv counts whole milliseconds from the start of the turn: rounded up, and looked at when it fires. */
static void timer_start(struct pulse *pulse)
{
    as_time wait = pulse->wanted - pulse_now(pulse);
    uint64_t wait_ms = wait > 0 ? (uint64_t)((wait + AS_MS - 1) / AS_MS) : 0;

    pulse->set = pulse->wanted;
    uv_timer_start(&pulse->timer, on_timer, wait_ms, 0);
}

/* A timer that is too early is left alone: when it fires it is set anew, which is cheaper than at each turn. */
void pulse_arm(struct pulse *pulse, as_time at)
{
    pulse->wanted = at;
    if (at < pulse->set)
        timer_start(pulse);
}

static void on_timer(uv_timer_t *timer)
{
    struct pulse *pulse = timer->data;

    pulse->set = AS_NEVER;
    if (pulse->wanted == AS_NEVER)
        return;
    if (pulse->wanted > pulse_now(pulse)) {
        timer_start(pulse);
        return;
    }
    pulse->wanted = AS_NEVER;
    pulse->beat(pulse->ctx);
}

void pulse_again(struct pulse *pulse)
{
    pulse->set = 0;
    uv_timer_start(&pulse->timer, on_timer, 0, 0);
}

as_err pulse_init(struct pulse *pulse, uv_loop_t *loop, void (*beat)(void *ctx), void *ctx)
{
    pulse->wanted = pulse->set = AS_NEVER;
    pulse->beat = beat;
    pulse->ctx = ctx;
    if (uv_timer_init(loop, &pulse->timer))
        return AS_ERR_IO;
    pulse->timer.data = pulse;
    return AS_OK;
}
