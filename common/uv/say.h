/*
 * Log lines of a process, one a line on stderr, as key=value or as JSON objects:
 *   2026-01-31T12:00:00.000Z level=info node=1 event=listening address=127.0.0.1:7480
 *   {"time":"2026-01-31T12:00:00.000Z","level":"info","node":"1","event":"listening","address":"127.0.0.1:7480"}
 * As key=value, values with spaces, quotes or control characters are quoted and escaped. In JSON
 * every value is a string. Not for pure rooms: they trace.
 */
#ifndef ASSENT_UV_SAY_H
#define ASSENT_UV_SAY_H

#include "assent/trace.h"

void say_level_set(enum as_trace_level least);
as_err say_level_of(const char *text,
                    enum as_trace_level *ret_level) AS_MUSTCHECK; /* "debug" ... */

enum say_format { SAY_TEXT, SAY_JSON };
#define SAY_FORMATS "text|json" /* of a CONFIG_CHOICE */
void say_format_set(enum say_format format);
/* Who speaks: a pair in every line from now on, as node=1. `key` is borrowed for good. */
void say_origin_set(const char *key, const char *value);

/* Pairs of const char *key, const char *value, ended by NULL: say(AS_TRACE_INFO, "stopped", "why",
 * "SIGTERM", NULL) */
void say(enum as_trace_level level, const char *event, ...) __attribute__((sentinel));
void say_trace(const struct as_trace *trace);

#endif
