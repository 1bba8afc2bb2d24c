/*
 * A histogram in the manner of HdrHistogram: 16 buckets per power of two (error at most 1/16),
 * from 1 to 2^63, fixed size, no allocation. Units are the caller's.
 */
#ifndef ASSENT_HIST_H
#define ASSENT_HIST_H

#include "assent/base.h"

#define AS_HIST_SUB_BITS 4
#define AS_HIST_BUCKETS ((64 - AS_HIST_SUB_BITS) << AS_HIST_SUB_BITS)

struct as_hist {
    uint64_t count;
    uint64_t sum;
    uint64_t min, max;                /* of count > 0 */
    uint32_t bucket[AS_HIST_BUCKETS]; /* saturating */
};

void as_hist_reset(struct as_hist *hist);
void as_hist_add(struct as_hist *hist, uint64_t value);
void as_hist_merge(struct as_hist *into, const struct as_hist *from);
/* The value at or below which `quantile` (0..1) of the values lie; 0 when empty. */
uint64_t as_hist_quantile(const struct as_hist *hist, double quantile);
/* How many values are at most `bound` (exact to the bucket): for Prometheus. */
uint64_t as_hist_count_upto(const struct as_hist *hist, uint64_t bound);

#endif
