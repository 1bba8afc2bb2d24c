/*
 * The set of committed attempt numbers (R3, R8): bitmap chunks that exist only where a bit is set,
 * in the order of attempts. It outlives the outcomes by far, because PostgreSQL can bring a
 * finished branch back; attempts at or below the horizon were dropped from it.
 */
#ifndef ASSENT_TXN_SET_H
#define ASSENT_TXN_SET_H

#include "assent/attempt.h"

#define TXN_CHUNK_BITS 4096u

struct txn_chunk {
    struct as_attempt first; /* of the first bit: seq is a multiple of TXN_CHUNK_BITS */
    uint32_t gen;            /* of the snapshot that has it already */
    uint64_t bits[TXN_CHUNK_BITS / 64];
};

struct txn_set {
    struct txn_chunk **chunks; /* ascending */
    uint32_t count, cap;
    size_t bytes; /* of the chunks */
    struct as_attempt horizon;
};

void txn_set_close(struct txn_set *set);
bool txn_set_has(const struct txn_set *set, struct as_attempt attempt);
/* Makes the chunk of an attempt, so that it can be added. An empty chunk is no part of the state.
 */
as_err txn_set_reserve(struct txn_set *set, struct as_attempt attempt) AS_MUSTCHECK;
/* The chunk of an attempt, NULL if there is none. */
struct txn_chunk *txn_set_chunk(const struct txn_set *set, struct as_attempt attempt);
void txn_set_add(struct txn_set *set, struct as_attempt attempt);
/* The first chunk whose first bit is at or after `attempt`; NULL: no more. */
struct txn_chunk *txn_set_from(const struct txn_set *set, struct as_attempt attempt);
/* Drops everything at or below `horizon`. */
void txn_set_cut(struct txn_set *set, struct as_attempt horizon);
/* The lowest horizon that frees at least `bytes`; 0.0: none does. */
struct as_attempt txn_set_horizon_for(const struct txn_set *set, size_t bytes);

#endif
