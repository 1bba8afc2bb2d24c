/*
 * Log lines of a process, one a line on stderr, as key=value:
 *   2026-01-31T12:00:00.000Z level=info event=listening address=127.0.0.1:7480
 * Values with spaces, quotes or control characters are quoted and escaped. Not for pure rooms: they
 * trace.
 */
#ifndef ASSENT_UV_SAY_H
#define ASSENT_UV_SAY_H

#include "assent/trace.h"

void say_level_set(enum as_trace_level least);
as_err say_level_of(const char *text,
                    enum as_trace_level *ret_level) AS_MUSTCHECK; /* "debug" ... */

/* Pairs of const char *key, const char *value, ended by NULL: say(AS_TRACE_INFO, "stopped", "why",
 * "SIGTERM", NULL) */
void say(enum as_trace_level level, const char *event, ...) __attribute__((sentinel));
void say_trace(const struct as_trace *trace);

#endif
