/*
 * The one allocator: libc's, unless a test put another in its place. The only file of the pure
 * rooms that may name libc's. Fault model: any call but a free may fail; a size that no object can
 * have fails too.
 */
#include "assent/alloc.h"

#include <stdlib.h>

static void *libc_resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static void *libc_zeroed(void *ctx, size_t size)
{
    (void)ctx;
    return calloc(1, size);
}

static const struct as_allocator libc_allocator = {libc_resize, libc_zeroed, NULL};
static struct as_allocator current = {libc_resize, libc_zeroed, NULL};

void as_allocator_set(const struct as_allocator *allocator)
{
    current = allocator ? *allocator : libc_allocator;
}

void *as_alloc(size_t size)
{
    return as_resize(NULL, size);
}

void *as_alloc_zero(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total) || total > PTRDIFF_MAX)
        return NULL;
    return current.zeroed(current.ctx, total ? total : 1);
}

void *as_resize(void *old, size_t size)
{
    if (size > PTRDIFF_MAX)
        return NULL;
    /* NULL means "out of memory" to every caller, so nothing is still something. */
    return current.resize(current.ctx, old, size ? size : 1);
}

void as_free(void *memory)
{
    if (memory)
        (void)current.resize(current.ctx, memory, 0);
}
