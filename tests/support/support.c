#include "support.h"

#include <stdlib.h>

#include "assent/alloc.h"

/* Counts down to the allocation that fails; 0: none does. */
static struct {
    uint64_t fail_at;
    uint64_t seen;
    uint64_t live;
    bool failed;
} state;

static bool fails_now(void)
{
    state.seen++;
    if (state.fail_at == 0 || state.seen != state.fail_at)
        return false;
    state.failed = true;
    return true;
}

static void *test_resize(void *ctx, void *old, size_t size)
{
    void *memory;

    (void)ctx;
    if (size == 0) {
        state.live -= old != NULL;
        free(old);
        return NULL;
    }
    if (fails_now())
        return NULL;
    memory = realloc(old, size);
    state.live += memory && !old;
    return memory;
}

static void *test_zeroed(void *ctx, size_t size)
{
    void *memory;

    (void)ctx;
    if (fails_now())
        return NULL;
    memory = calloc(1, size);
    state.live += memory != NULL;
    return memory;
}

static const struct as_allocator test_allocator = {test_resize, test_zeroed, NULL};

void test_leaks_begin(void)
{
    state.fail_at = 0;
    state.seen = 0;
    state.live = 0;
    state.failed = false;
    as_allocator_set(&test_allocator);
}

void test_leaks_end(void)
{
    as_allocator_set(NULL);
    assert_int_equal(state.live, 0);
}

bool test_allocation_failed(void)
{
    return state.failed;
}

void test_fail_each_allocation(void (*body)(void *ctx), void *ctx)
{
    for (uint64_t n = 1;; n++) {
        bool failed;

        test_leaks_begin();
        state.fail_at = n;
        body(ctx);
        failed = state.failed;
        test_leaks_end();
        if (!failed)
            return;
    }
}
