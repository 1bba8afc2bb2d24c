/*
 * Handles. Fault model: growing may fail, and then nothing changed.
 */
#include "coordinator/txn/slots.h"

#include "assent/alloc.h"

static void *free_mark(uint32_t next)
{
    return (void *)(((uintptr_t)next << 1) | 1u);
}

void txn_slots_close(struct txn_slots *slots)
{
    for (uint32_t i = 0; i < slots->chunk_count; i++)
        as_free(slots->chunks[i]);
    as_free(slots->chunks);
    *slots = (struct txn_slots){0};
}

as_err txn_slots_reserve(struct txn_slots *slots)
{
    void **chunk;

    if (slots->free_count > 0)
        return AS_OK;
    if (slots->chunk_count == slots->chunk_cap) {
        uint32_t cap = slots->chunk_cap ? slots->chunk_cap * 2 : 8;
        void ***chunks = as_resize(slots->chunks, cap * sizeof(*chunks));

        if (!chunks)
            return AS_ERR_NOMEM;
        slots->chunks = chunks;
        slots->chunk_cap = cap;
    }
    chunk = as_alloc(TXN_SLOTS_CHUNK * sizeof(*chunk));
    if (!chunk)
        return AS_ERR_NOMEM;
    /* The chain goes upwards, and its last link is never followed: free_count says when it ends. */
    for (uint32_t i = 0; i < TXN_SLOTS_CHUNK; i++)
        chunk[i] = free_mark(slots->chunk_count * TXN_SLOTS_CHUNK + i + 1);
    slots->free_first = slots->chunk_count * TXN_SLOTS_CHUNK;
    slots->free_count = TXN_SLOTS_CHUNK;
    slots->chunks[slots->chunk_count++] = chunk;
    return AS_OK;
}

uint32_t txn_slots_take(struct txn_slots *slots, void *object)
{
    uint32_t handle = slots->free_first;
    void **at;

    AS_ASSERT(slots->free_count > 0);
    at = &slots->chunks[handle / TXN_SLOTS_CHUNK][handle % TXN_SLOTS_CHUNK];
    AS_ASSERT((uintptr_t)*at & 1u);
    slots->free_first = (uint32_t)((uintptr_t)*at >> 1);
    slots->free_count--;
    *at = object;
    return handle;
}

void txn_slots_drop(struct txn_slots *slots, uint32_t handle)
{
    void **at = &slots->chunks[handle / TXN_SLOTS_CHUNK][handle % TXN_SLOTS_CHUNK];

    AS_ASSERT(!((uintptr_t)*at & 1u));
    *at = free_mark(slots->free_first);
    slots->free_first = handle;
    slots->free_count++;
}
