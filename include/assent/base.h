/*
 * What every room uses: time, borrowed bytes, assertions.
 */
#ifndef ASSENT_BASE_H
#define ASSENT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "assent/err.h"

/* Monotonic time in nanoseconds since an arbitrary origin. Cores receive it, they never read a clock. */
typedef int64_t as_time;

#define AS_NEVER INT64_MAX
#define AS_US ((as_time)1000)
#define AS_MS ((as_time)1000000)
#define AS_SECOND ((as_time)1000000000)

/* A borrowed view: whoever hands it over says for how long it holds. */
struct as_bytes {
    const uint8_t *data;
    size_t len;
};

/* A programmer's error: stays on in release builds and ends the process. Input is never asserted. */
#define AS_ASSERT(condition) \
    ((condition) ? (void)0 : as_assert_failed(#condition, __FILE__, __LINE__))

_Noreturn void as_assert_failed(const char *condition, const char *file, int line);

#define AS_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
