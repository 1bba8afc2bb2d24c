/*
 * The set of committed attempts. Fault model: growing may fail, and then no bit changed.
 */
#include "coordinator/txn/set.h"

#include <string.h>

#include "assent/alloc.h"

/* Chunks of one term must stay addressable; a term with more commits than this is not of this
 * world. */
#define CHUNKS_MAX (1u << 30)

void txn_set_close(struct txn_set *set)
{
    for (uint32_t t = 0; t < set->term_count; t++) {
        for (uint32_t i = 0; i < set->terms[t].count; i++)
            as_free(set->terms[t].chunks[i]);
        as_free(set->terms[t].chunks);
    }
    as_free(set->terms);
    *set = (struct txn_set){0};
}

/* Position of the first term that is not before `term`. */
static uint32_t term_position(const struct txn_set *set, uint64_t term)
{
    uint32_t low = 0, high = set->term_count;

    if (high > 0 && set->terms[high - 1].term == term)
        return high - 1; /* nearly always the newest */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (set->terms[middle].term < term)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct txn_set_term *find_term(const struct txn_set *set, uint64_t term)
{
    uint32_t at = term_position(set, term);

    return at < set->term_count && set->terms[at].term == term ? &set->terms[at] : NULL;
}

struct txn_chunk *txn_set_chunk(const struct txn_set *set, struct as_attempt attempt)
{
    const struct txn_set_term *term = find_term(set, attempt.term);
    uint64_t number = attempt.seq / TXN_CHUNK_BITS;

    if (!term || number < term->first || number - term->first >= term->count)
        return NULL;
    return term->chunks[number - term->first];
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

static as_err reserve_term(struct txn_set *set, uint64_t number, struct txn_set_term **ret_term)
{
    uint32_t at = term_position(set, number);

    if (at < set->term_count && set->terms[at].term == number) {
        *ret_term = &set->terms[at];
        return AS_OK;
    }
    if (set->term_count == set->term_cap) {
        uint32_t cap = set->term_cap ? set->term_cap * 2 : 4;
        struct txn_set_term *terms = as_resize(set->terms, cap * sizeof(*terms));

        if (!terms)
            return AS_ERR_NOMEM;
        set->terms = terms;
        set->term_cap = cap;
    }
    memmove(&set->terms[at + 1], &set->terms[at], (set->term_count - at) * sizeof(*set->terms));
    set->terms[at] = (struct txn_set_term){.term = number};
    set->term_count++;
    set->bytes += sizeof(*set->terms);
    *ret_term = &set->terms[at];
    return AS_OK;
}

/* Makes the range of chunk numbers of a term cover `number`. */
static as_err cover(struct txn_set_term *term, uint64_t number)
{
    uint64_t first = term->count == 0 || number < term->first ? number : term->first;
    uint64_t last = term->count == 0 ? number : term->first + term->count - 1;
    uint64_t count;

    if (number > last)
        last = number;
    count = last - first + 1;
    if (count > CHUNKS_MAX)
        return AS_ERR_NOMEM;
    if (count > term->cap) {
        uint32_t cap = term->cap ? term->cap : 4;
        struct txn_chunk **chunks;

        while (cap < count)
            cap *= 2;
        chunks = as_resize(term->chunks, cap * sizeof(struct txn_chunk *));
        if (!chunks)
            return AS_ERR_NOMEM;
        term->chunks = chunks;
        term->cap = cap;
    }
    if (term->count > 0 && first < term->first)
        memmove(&term->chunks[term->first - first], term->chunks,
                term->count * sizeof(struct txn_chunk *));
    for (uint64_t i = first; i <= last; i++) {
        if (term->count == 0 || i < term->first || i >= term->first + term->count)
            term->chunks[i - first] = NULL;
    }
    term->first = first;
    term->count = (uint32_t)count;
    return AS_OK;
}

as_err txn_set_reserve(struct txn_set *set, struct as_attempt attempt)
{
    uint64_t number = attempt.seq / TXN_CHUNK_BITS;
    struct txn_set_term *term;
    struct txn_chunk *chunk;

    if (txn_set_chunk(set, attempt))
        return AS_OK;
    if (reserve_term(set, attempt.term, &term))
        return AS_ERR_NOMEM;
    if (cover(term, number))
        return AS_ERR_NOMEM;
    chunk = as_alloc_zero(1, sizeof(*chunk));
    if (!chunk)
        return AS_ERR_NOMEM;
    term->chunks[number - term->first] = chunk;
    set->bytes += sizeof(*chunk);
    return AS_OK;
}

struct txn_chunk *txn_set_next(const struct txn_set *set, struct as_attempt *attempt)
{
    uint64_t number = attempt->seq / TXN_CHUNK_BITS + (attempt->seq % TXN_CHUNK_BITS != 0);

    for (uint32_t t = term_position(set, attempt->term); t < set->term_count; t++) {
        const struct txn_set_term *term = &set->terms[t];
        uint64_t i = term->term == attempt->term && number > term->first ? number - term->first : 0;

        for (; i < term->count; i++) {
            if (!term->chunks[i])
                continue;
            *attempt = (struct as_attempt){term->term, (term->first + i) * TXN_CHUNK_BITS};
            return term->chunks[i];
        }
    }
    return NULL;
}

/* Frees the chunks that lie below the horizon and clears what is left of it in the next one. */
static void cut_term(struct txn_set *set, struct txn_set_term *term, uint64_t seq)
{
    uint64_t keep = (seq + 1) / TXN_CHUNK_BITS; /* the first chunk of which something may stay */
    uint32_t drop = 0;

    while (drop < term->count && term->first + drop < keep) {
        if (term->chunks[drop])
            set->bytes -= sizeof(struct txn_chunk);
        as_free(term->chunks[drop++]);
    }
    if (drop > 0) {
        term->count -= drop;
        memmove(term->chunks, term->chunks + drop, term->count * sizeof(struct txn_chunk *));
        term->first += drop;
    }
    if (term->count > 0 && term->first == keep && term->chunks[0]) {
        for (uint64_t bit = 0; bit < (seq + 1) % TXN_CHUNK_BITS; bit++)
            term->chunks[0]->bits[bit / 64] &= ~((uint64_t)1 << (bit % 64));
    }
}

void txn_set_cut(struct txn_set *set, struct as_attempt horizon)
{
    uint32_t drop = 0;

    if (as_attempt_compare(horizon, set->horizon) <= 0)
        return;
    set->horizon = horizon;
    while (drop < set->term_count && set->terms[drop].term < horizon.term) {
        struct txn_set_term *term = &set->terms[drop++];

        for (uint32_t i = 0; i < term->count; i++) {
            if (term->chunks[i])
                set->bytes -= sizeof(struct txn_chunk);
            as_free(term->chunks[i]);
        }
        as_free(term->chunks);
        set->bytes -= sizeof(*term);
    }
    if (drop > 0) {
        set->term_count -= drop;
        memmove(set->terms, set->terms + drop, set->term_count * sizeof(*set->terms));
    }
    if (set->term_count > 0 && set->terms[0].term == horizon.term)
        cut_term(set, &set->terms[0], horizon.seq);
}

struct as_attempt txn_set_horizon_for(const struct txn_set *set, size_t bytes)
{
    struct as_attempt at = {0, 0};
    size_t freed = 0;

    while (txn_set_next(set, &at)) {
        freed += sizeof(struct txn_chunk);
        /* The last number of this chunk; its successor is where the next one may begin. */
        at.seq += TXN_CHUNK_BITS;
        if (freed >= bytes)
            return (struct as_attempt){at.term, at.seq - 1};
    }
    return (struct as_attempt){0, 0};
}
