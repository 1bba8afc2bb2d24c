/*
 * Histogram. Values up to 15 have a bucket each; above, the highest bit and the four behind it name
 * the bucket. Fault model: none; counters stay at their maximum rather than begin again.
 */
#include "assent/hist.h"

#define SUB_COUNT (1u << AS_HIST_SUB_BITS)

static size_t bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < SUB_COUNT)
        return (size_t)value;
    if (value > INT64_MAX)
        return AS_HIST_BUCKETS - 1;
    shift = 63u - (unsigned)__builtin_clzll(value) - AS_HIST_SUB_BITS;
    return ((size_t)shift << AS_HIST_SUB_BITS) + (size_t)(value >> shift);
}

/* The highest value that falls into the bucket. */
static uint64_t bucket_top(size_t bucket)
{
    size_t shift;

    if (bucket < 2 * SUB_COUNT)
        return bucket;
    shift = (bucket >> AS_HIST_SUB_BITS) - 1;
    return (((uint64_t)(bucket & (SUB_COUNT - 1)) + SUB_COUNT + 1) << shift) - 1;
}

void as_hist_reset(struct as_hist *hist)
{
    *hist = (struct as_hist){0};
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void as_hist_add(struct as_hist *hist, uint64_t value)
{
    uint32_t *bucket = &hist->bucket[bucket_of(value)];

    if (hist->count == 0 || value < hist->min)
        hist->min = value;
    if (value > hist->max)
        hist->max = value;
    hist->count++;
    hist->sum = add_saturating(hist->sum, value);
    *bucket += *bucket < UINT32_MAX;
}

void as_hist_merge(struct as_hist *into, const struct as_hist *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    into->sum = add_saturating(into->sum, from->sum);
    for (size_t i = 0; i < AS_HIST_BUCKETS; i++) {
        uint32_t room = UINT32_MAX - into->bucket[i];

        into->bucket[i] += from->bucket[i] < room ? from->bucket[i] : room;
    }
}

uint64_t as_hist_quantile(const struct as_hist *hist, double quantile)
{
    uint64_t total = 0, seen = 0, rank;
    double wanted;

    for (size_t i = 0; i < AS_HIST_BUCKETS; i++)
        total += hist->bucket[i];
    if (total == 0)
        return 0;
    /* The smallest rank that covers the quantile; `!(>)` also takes a NaN. */
    wanted = !(quantile > 0) ? 0 : (double)total * (quantile < 1 ? quantile : 1);
    rank = (uint64_t)wanted;
    rank += (double)rank < wanted;
    if (rank < 1)
        rank = 1;
    for (size_t i = 0; i < AS_HIST_BUCKETS; i++) {
        seen += hist->bucket[i];
        if (seen >= rank)
            return i < AS_HIST_BUCKETS - 1 && bucket_top(i) < hist->max ? bucket_top(i) : hist->max;
    }
    return hist->max;
}

uint64_t as_hist_count_upto(const struct as_hist *hist, uint64_t bound)
{
    uint64_t count = 0;
    size_t last = bucket_of(bound);

    if (bound >= hist->max)
        return hist->count;
    for (size_t i = 0; i <= last; i++)
        count += hist->bucket[i];
    return count;
}
