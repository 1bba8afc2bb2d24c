/*
 * The set of committed attempts. Fault model: growing may fail, and then no bit changed. Numbers
 * may lie as far apart as a log can say; memory is taken only for the chunks that have bits.
 */
#include "coordinator/txn/set.h"

#include <string.h>

#include "assent/alloc.h"

void txn_set_close(struct txn_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        as_free(set->chunks[i]);
    as_free(set->chunks);
    *set = (struct txn_set){0};
}

static struct as_attempt chunk_start(struct as_attempt attempt)
{
    return (struct as_attempt){attempt.term, attempt.seq - attempt.seq % TXN_CHUNK_BITS};
}

/* Position of the first chunk that is not before `start`. */
static uint32_t position(const struct txn_set *set, struct as_attempt start)
{
    uint32_t low = 0, high = set->count;

    /* Nearly always the newest one, or behind it. */
    if (high > 0 && as_attempt_compare(set->chunks[high - 1]->first, start) <= 0)
        return high - as_attempt_equal(set->chunks[high - 1]->first, start);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (as_attempt_compare(set->chunks[middle]->first, start) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct txn_chunk *txn_set_from(const struct txn_set *set, struct as_attempt attempt)
{
    uint32_t at = position(set, attempt);

    return at < set->count ? set->chunks[at] : NULL;
}

struct txn_chunk *txn_set_chunk(const struct txn_set *set, struct as_attempt attempt)
{
    struct txn_chunk *chunk = txn_set_from(set, chunk_start(attempt));

    return chunk && as_attempt_equal(chunk->first, chunk_start(attempt)) ? chunk : NULL;
}

bool txn_set_has(const struct txn_set *set, struct as_attempt attempt)
{
    const struct txn_chunk *chunk = txn_set_chunk(set, attempt);
    uint64_t bit = attempt.seq % TXN_CHUNK_BITS;

    return chunk && (chunk->bits[bit / 64] >> (bit % 64) & 1u);
}

void txn_set_add(struct txn_set *set, struct as_attempt attempt)
{
    struct txn_chunk *chunk = txn_set_chunk(set, attempt);
    uint64_t bit = attempt.seq % TXN_CHUNK_BITS;

    AS_ASSERT(chunk);
    chunk->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
}

as_err txn_set_reserve(struct txn_set *set, struct as_attempt attempt)
{
    uint32_t at;
    struct txn_chunk *chunk;

    if (txn_set_chunk(set, attempt))
        return AS_OK;
    if (set->count == set->cap) {
        uint32_t cap = set->cap ? set->cap * 2 : 16;
        struct txn_chunk **chunks = as_resize(set->chunks, cap * sizeof(struct txn_chunk *));

        if (!chunks)
            return AS_ERR_NOMEM;
        set->chunks = chunks;
        set->cap = cap;
    }
    chunk = as_alloc_zero(1, sizeof(*chunk));
    if (!chunk)
        return AS_ERR_NOMEM;
    chunk->first = chunk_start(attempt);
    at = position(set, chunk->first);
    memmove(&set->chunks[at + 1], &set->chunks[at], (set->count - at) * sizeof(struct txn_chunk *));
    set->chunks[at] = chunk;
    set->count++;
    set->bytes += sizeof(*chunk);
    return AS_OK;
}

void txn_set_cut(struct txn_set *set, struct as_attempt horizon)
{
    struct as_attempt next = {horizon.term, horizon.seq + 1};
    uint32_t drop = 0;

    if (as_attempt_compare(horizon, set->horizon) <= 0)
        return;
    set->horizon = horizon;
    while (drop < set->count &&
           as_attempt_compare(set->chunks[drop]->first, chunk_start(next)) < 0) {
        set->bytes -= sizeof(struct txn_chunk);
        as_free(set->chunks[drop++]);
    }
    if (drop > 0) {
        set->count -= drop;
        memmove(set->chunks, set->chunks + drop, set->count * sizeof(struct txn_chunk *));
    }
    /* The chunk in which the horizon lies keeps what is above it. */
    if (set->count > 0 && as_attempt_equal(set->chunks[0]->first, chunk_start(next))) {
        for (uint64_t bit = 0; bit < next.seq % TXN_CHUNK_BITS; bit++)
            set->chunks[0]->bits[bit / 64] &= ~((uint64_t)1 << (bit % 64));
    }
}

struct as_attempt txn_set_horizon_for(const struct txn_set *set, size_t bytes)
{
    size_t freed = 0;

    for (uint32_t i = 0; i < set->count; i++) {
        freed += sizeof(struct txn_chunk);
        if (freed >= bytes)
            return (struct as_attempt){set->chunks[i]->first.term,
                                       set->chunks[i]->first.seq + TXN_CHUNK_BITS - 1};
    }
    return (struct as_attempt){0, 0};
}
