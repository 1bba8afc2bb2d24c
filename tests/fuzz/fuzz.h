/*
 * The shape of a fuzz target: one function that takes any bytes and checks properties with
 * AS_ASSERT, not merely that nothing crashes. The bytes lie in memory of exactly their size; data
 * is NULL only if size is 0.
 */
#ifndef ASSENT_FUZZ_H
#define ASSENT_FUZZ_H

#include <string.h>

#include "assent/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline bool fuzz_same(struct as_bytes a, struct as_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
