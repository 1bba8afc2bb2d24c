/*
 * Effects of a step. Fault model: reserving may fail, and then nothing changed.
 */
#include "coordinator/txn/out.h"

#include <string.h>

#include "assent/alloc.h"

#define EFFECTS_CAP_MIN 64
/* What a burst made larger than this is given back afterwards: an idle coordinator stays small. */
#define EFFECTS_CAP_KEPT 4096
#define BLOCK_BYTES ((size_t)32 << 10)

struct txn_block {
    struct txn_block *next;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

static void free_trash(struct txn_out *out)
{
    while (out->trash) {
        struct txn_trash *trash = out->trash;

        out->trash = trash->next;
        as_free(trash);
    }
}

static void free_blocks(struct txn_block *block)
{
    while (block) {
        struct txn_block *next = block->next;

        as_free(block);
        block = next;
    }
}

void txn_out_begin(struct txn_out *out)
{
    out->count = 0;
    free_trash(out);
    if (out->cap > EFFECTS_CAP_KEPT) {
        as_free(out->list);
        out->list = NULL;
        out->cap = 0;
    }
    if (!out->blocks)
        return;
    free_blocks(out->blocks->next);
    out->blocks->next = NULL;
    out->blocks->used = 0;
    if (out->blocks->size > BLOCK_BYTES) {
        as_free(out->blocks);
        out->blocks = NULL;
    }
}

void txn_out_close(struct txn_out *out)
{
    free_trash(out);
    free_blocks(out->blocks);
    as_free(out->list);
    *out = (struct txn_out){0};
}

static as_err reserve_bytes(struct txn_out *out, size_t bytes)
{
    struct txn_block *block = out->blocks;
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

    if (block && bytes <= block->size - block->used)
        return AS_OK;
    block = as_alloc(sizeof(*block) + size);
    if (!block)
        return AS_ERR_NOMEM;
    block->next = out->blocks;
    block->used = 0;
    block->size = size;
    out->blocks = block;
    return AS_OK;
}

as_err txn_out_reserve(struct txn_out *out, size_t effects, size_t bytes)
{
    if (out->count + effects > out->cap) {
        size_t cap = out->cap ? out->cap : EFFECTS_CAP_MIN;
        struct txn_effect *list;

        while (cap < out->count + effects)
            cap *= 2;
        list = as_resize(out->list, cap * sizeof(*list));
        if (!list)
            return AS_ERR_NOMEM;
        out->list = list;
        out->cap = cap;
    }
    return bytes ? reserve_bytes(out, TXN_ALIGN(bytes)) : AS_OK;
}

struct txn_effect *txn_out_add(struct txn_out *out, enum txn_effect_kind kind)
{
    struct txn_effect *effect;

    AS_ASSERT(out->count < out->cap);
    effect = &out->list[out->count++];
    effect->kind = kind;
    return effect;
}

void *txn_out_bytes(struct txn_out *out, size_t size)
{
    struct txn_block *block = out->blocks;
    void *bytes;

    size = TXN_ALIGN(size);
    AS_ASSERT(block && size <= block->size - block->used);
    bytes = block->data + block->used;
    block->used += size;
    return bytes;
}

struct as_buf txn_out_buf(struct txn_out *out, size_t size)
{
    return (struct as_buf){.data = txn_out_bytes(out, size), .cap = size, .max = size};
}

const char *txn_out_text(struct txn_out *out, const char *text, size_t len)
{
    char *copy = txn_out_bytes(out, len + 1);

    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

struct txn_blob *txn_blob_new(const void *data, size_t len)
{
    struct txn_blob *blob = as_alloc(sizeof(*blob) + len);

    if (!blob)
        return NULL;
    blob->len = len;
    if (len > 0)
        memcpy(blob->data, data, len);
    return blob;
}
