/*
 * The bucket as one point in time (the generic cell rate algorithm): each request moves it on by 1/rate, and it may lie
 * at most one second ahead.
 */
#include "coordinator/api/rate.h"

#define SECOND_NS 1000000000u

uint64_t rate_take(struct rate *rate, uint64_t now_ns)
{
    uint64_t then;

    if (!rate->per_s)
        return 0;
    then = (rate->full_ns > now_ns ? rate->full_ns : now_ns) + SECOND_NS / rate->per_s;
    if (then > now_ns + SECOND_NS)
        return then - now_ns - SECOND_NS;
    rate->full_ns = then;
    return 0;
}
