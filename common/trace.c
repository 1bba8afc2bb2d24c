/* Names of the trace events. Fault model: none. */
#include "assent/trace.h"

#define NAME_ENTRY(name, level, text) #name,
#define TEXT_ENTRY(name, level, text) text,
#define LEVEL_ENTRY(name, level, text) AS_TRACE_##level,

static const char *const names[] = {AS_TRACE_MAP(NAME_ENTRY)};
static const char *const texts[] = {AS_TRACE_MAP(TEXT_ENTRY)};
static const enum as_trace_level levels[] = {AS_TRACE_MAP(LEVEL_ENTRY)};

const char *as_trace_name(enum as_trace_kind kind)
{
    return (size_t)kind < AS_COUNT_OF(names) ? names[kind] : "?";
}

const char *as_trace_text(enum as_trace_kind kind)
{
    return (size_t)kind < AS_COUNT_OF(texts) ? texts[kind] : "?";
}

enum as_trace_level as_trace_level_of(enum as_trace_kind kind)
{
    return (size_t)kind < AS_COUNT_OF(levels) ? levels[kind] : AS_TRACE_ALARM;
}
