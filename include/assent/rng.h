/*
 * A small seeded generator (SplitMix64) for jitter and test choices; never for secrets.
 */
#ifndef ASSENT_RNG_H
#define ASSENT_RNG_H

#include "assent/base.h"

struct as_rng {
    uint64_t state;
};

static inline uint64_t as_rng_next(struct as_rng *rng)
{
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Evenly from 0 to bound - 1; bound > 0. */
static inline uint64_t as_rng_below(struct as_rng *rng, uint64_t bound)
{
    return (uint64_t)(((__uint128_t)as_rng_next(rng) * bound) >> 64);
}

#endif
