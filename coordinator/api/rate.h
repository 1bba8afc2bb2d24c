/*
 * How often somebody may ask: a token bucket that holds one second's requests, full at first. Pure.
 */
#ifndef ASSENT_API_RATE_H
#define ASSENT_API_RATE_H

#include "assent/base.h"

struct rate {
    uint32_t per_s;   /* 0: any number */
    uint64_t full_ns; /* the bucket is full again then, if nobody asks */
};

/* Takes one request from the bucket: 0. Else nothing is taken, and it would be possible in so many nanoseconds. */
uint64_t rate_take(struct rate *rate, uint64_t now_ns);

#endif
