/*
 * Time, chance and the one timer: what `struct as_env` of both daemons needs of libuv and the system.
 *
 * Time does not move during a turn of the loop: the first reader takes it, `pulse_turn` lets go of it.
 */
#ifndef ASSENT_UV_PULSE_H
#define ASSENT_UV_PULSE_H

#include <uv.h>

#include "assent/base.h"

#define PULSE_RANDOM_COUNT 32

struct pulse {
    uv_timer_t timer;
    as_time wanted; /* when to beat */
    as_time set;    /* what libuv has; not later than wanted */
    as_time now;    /* of this turn; 0: not read yet */
    int64_t wall_ms;
    void (*beat)(void *ctx);
    void *ctx;
    uint64_t random[PULSE_RANDOM_COUNT];
    uint32_t random_left;
};

/* `beat` is called from the loop when the time that was armed has come. */
as_err pulse_init(struct pulse *pulse, uv_loop_t *loop, void (*beat)(void *ctx),
                  void *ctx) AS_MUSTCHECK;
as_time pulse_now(struct pulse *pulse);
int64_t pulse_wall_ms(struct pulse *pulse); /* Unix time */
/* From the kernel. Ends the process when there is none to be had: nothing may be made up instead. */
uint64_t pulse_random(struct pulse *pulse);
/* Replaces an earlier time; AS_NEVER: none. */
void pulse_arm(struct pulse *pulse, as_time at);
/* The loop must not sleep now: there is another turn to end. */
void pulse_again(struct pulse *pulse);
void pulse_turn(struct pulse *pulse);

#endif
