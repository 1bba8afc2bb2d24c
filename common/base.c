/*
 * The end of a process that found itself wrong. Fault model: nothing can be trusted any more, so
 * one line goes out unformatted by anything of ours, and the process dies where it stands; the log
 * recovers it.
 */
#include "assent/base.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void as_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
