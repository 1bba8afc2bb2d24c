/*
 * The one allocator. A test replaces it to fail the Nth allocation (architecture.md, pure core, 6).
 */
#ifndef ASSENT_ALLOC_H
#define ASSENT_ALLOC_H

#include "assent/base.h"

struct as_allocator {
    void *(*resize)(void *ctx, void *old, size_t size); /* size 0 frees and returns NULL */
    void *(*zeroed)(void *ctx, size_t size);            /* as calloc: pages stay untouched */
    void *ctx;
};

/* Replaces the allocator of this process; NULL brings libc's back. Only while nothing is allocated. */
void as_allocator_set(const struct as_allocator *allocator);

void *as_alloc(size_t size) AS_MUSTCHECK; /* uninitialised; NULL: out of memory */
void *as_alloc_zero(size_t count,
                    size_t size) AS_MUSTCHECK; /* zeroed, overflow-checked, lazily paged */
void *as_resize(void *old, size_t size) AS_MUSTCHECK;
void as_free(void *memory); /* takes NULL */

#endif
