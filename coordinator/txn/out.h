/*
 * What a step gives out: its effects, the bytes they point to, and what may be freed only when the
 * next step begins because they point to it.
 *
 * A step first reserves what it may need at most and then changes the core; adding cannot fail any
 * more.
 */
#ifndef ASSENT_TXN_OUT_H
#define ASSENT_TXN_OUT_H

#include "coordinator/txn/txn.h"

/* First member of what waits to be freed. */
struct txn_trash {
    struct txn_trash *next;
};

/* Bytes of its own, freed by way of the trash. */
struct txn_blob {
    struct txn_trash trash;
    size_t len;
    uint8_t data[];
};

struct txn_block; /* of bytes */

struct txn_out {
    struct txn_effect *list;
    size_t count, cap;
    struct txn_block *blocks; /* the first one is being filled */
    struct txn_trash *trash;
};

/* Bytes are handed out in pieces of this alignment. */
#define TXN_ALIGN(size) (((size) + 15u) & ~(size_t)15u)

/* The effects of the step before are over. */
void txn_out_begin(struct txn_out *out);
void txn_out_close(struct txn_out *out);
/* Room for so many effects and bytes more. */
as_err txn_out_reserve(struct txn_out *out, size_t effects, size_t bytes) AS_MUSTCHECK;
/* From what was reserved. */
struct txn_effect *txn_out_add(struct txn_out *out, enum txn_effect_kind kind);
void *txn_out_bytes(struct txn_out *out, size_t size);
/* A buffer over reserved bytes; it is never closed. */
struct as_buf txn_out_buf(struct txn_out *out, size_t size);
const char *txn_out_text(struct txn_out *out, const char *text, size_t len);

struct txn_blob *txn_blob_new(const void *data, size_t len);
/* Frees at the beginning of the next step; takes NULL. */
static inline void txn_out_free(struct txn_out *out, struct txn_trash *trash)
{
    if (!trash)
        return;
    trash->next = out->trash;
    out->trash = trash;
}

#endif
