/*
 * Handles for the owners of as_map: a number for each object, given back when it goes. Grows by
 * chunks, so that nothing is ever moved and an empty one costs nothing.
 */
#ifndef ASSENT_TXN_SLOTS_H
#define ASSENT_TXN_SLOTS_H

#include "assent/base.h"

#define TXN_SLOTS_CHUNK 1024u

struct txn_slots {
    void ***chunks; /* of TXN_SLOTS_CHUNK pointers; a free one holds its successor, marked by an odd
                       value */
    uint32_t chunk_count, chunk_cap;
    uint32_t free_count, free_first;
};

void txn_slots_close(struct txn_slots *slots);
/* Makes room for one more, so that the next take cannot fail. */
as_err txn_slots_reserve(struct txn_slots *slots) AS_MUSTCHECK;
uint32_t txn_slots_take(struct txn_slots *slots, void *object);
void txn_slots_drop(struct txn_slots *slots, uint32_t handle);

static inline void *txn_slots_get(const struct txn_slots *slots, uint32_t handle)
{
    return slots->chunks[handle / TXN_SLOTS_CHUNK][handle % TXN_SLOTS_CHUNK];
}

#endif
