/*
 * Log lines. Fault model: stderr may be closed or full; a line that cannot be written is lost, the
 * process goes on. A line that is too long is cut, and shows that with "...".
 */
#include "say.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096
#define TAIL_BYTES 16 /* kept free for the mark of a cut line: ,"cut":"..."} and newline */

/* Set before other threads are started, read by all. */
static enum as_trace_level level_least = AS_TRACE_INFO;
static enum say_format line_format = SAY_TEXT;
static const char *origin_key; /* NULL: not told yet */
static char origin_value[72];

static const char *const level_names[] = {"debug", "info", "warn", "alarm"};

struct line {
    char text[LINE_BYTES_MAX];
    size_t len;
    bool cut;
};

static void line_put(struct line *line, const char *text, size_t len)
{
    if (line->cut || len > sizeof(line->text) - TAIL_BYTES - line->len) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static bool plain(const char *value)
{
    if (*value == '\0')
        return false;
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;

        if (c <= ' ' || c == 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return true;
}

static void line_put_quoted(struct line *line, const char *value)
{
    line_put(line, "\"", 1);
    for (; *value && !line->cut; value++) {
        unsigned char c = (unsigned char)*value;
        char escaped[8];

        if (c == '"' || c == '\\')
            line_put(line, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            line_put(line, "\\n", 2);
        else if (c < ' ' || c == 0x7f)
            line_put(line, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x", c));
        else
            line_put(line, (char[]){(char)c}, 1);
    }
    line_put(line, "\"", 1);
    if (line->cut) {
        memcpy(line->text + line->len, "...\"", 4);
        line->len += 4;
    }
}

static void line_put_value(struct line *line, const char *value)
{
    size_t len = strlen(value);

    if (plain(value) && len < sizeof(line->text) - TAIL_BYTES - line->len)
        line_put(line, value, len);
    else
        line_put_quoted(line, value);
}

static void text_put_pair(struct line *line, const char *key, const char *value)
{
    size_t before = line->len;

    if (line->cut)
        return;
    line_put(line, " ", 1);
    line_put(line, key, strlen(key));
    line_put(line, "=\"", 2); /* if a quote has room, so has its cut value */
    if (line->cut) {
        line->len = before;
        memcpy(line->text + line->len, " ...", 4);
        line->len += 4;
    } else {
        line->len--;
        line_put_value(line, value);
    }
}

/* --- JSON (RFC 8259) --- */

/* Bytes of the UTF-8 character at `text`; 0: it is none. */
static size_t utf8_len(const unsigned char *text)
{
    size_t len = text[0] < 0x80                      ? 1
                 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                 : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                     : 0;

    for (size_t i = 1; i < len; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong ones, surrogates, and what is beyond U+10FFFF. */
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return len;
}

static void json_put_text(struct line *line, const char *value)
{
    const unsigned char *at = (const unsigned char *)value;
    char escaped[8];

    line_put(line, "\"", 1);
    while (*at && !line->cut) {
        size_t len = utf8_len(at);

        if (*at == '"' || *at == '\\')
            line_put(line, (char[]){'\\', (char)*at}, 2);
        else if (*at < ' ' || *at == 0x7f)
            line_put(line, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", *at));
        else if (len == 0)
            line_put(line, "\xef\xbf\xbd", 3); /* U+FFFD */
        else
            line_put(line, (const char *)at, len);
        at += len ? len : 1;
    }
    line_put(line, "\"", 1);
}

/* A pair that does not fit is left out whole, so that the line stays an object. */
static void json_put_pair(struct line *line, const char *key, const char *value)
{
    size_t before = line->len;

    if (line->cut)
        return;
    line_put(line, before ? ",\"" : "{\"", 2);
    line_put(line, key, strlen(key));
    line_put(line, "\":", 2);
    json_put_text(line, value);
    if (line->cut) {
        static const char mark[] = ",\"cut\":\"...\"";

        line->len = before;
        memcpy(line->text + line->len, mark, sizeof(mark) - 1);
        line->len += sizeof(mark) - 1;
    }
}

/* --- A line --- */

static void line_put_pair(struct line *line, const char *key, const char *value)
{
    if (line_format == SAY_JSON)
        json_put_pair(line, key, value);
    else
        text_put_pair(line, key, value);
}

static void line_begin(struct line *line, enum as_trace_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    char stamp[64];
    size_t len;

    line->len = 0;
    line->cut = false;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    len = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(stamp + len, sizeof(stamp) - len, ".%03ldZ", now.tv_nsec / 1000000);
    if (line_format == SAY_JSON)
        json_put_pair(line, "time", stamp);
    else
        line_put(line, stamp, len);
    line_put_pair(line, "level", level_names[level]);
    if (origin_key)
        line_put_pair(line, origin_key, origin_value);
    line_put_pair(line, "event", event);
}

/* One write for the whole line, so that lines of several processes do not mix. */
static void line_end(struct line *line)
{
    size_t done = 0;

    if (line_format == SAY_JSON)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
    while (done < line->len) {
        ssize_t n = write(STDERR_FILENO, line->text + done, line->len - done);

        if (n < 0 && errno != EINTR)
            return;
        if (n > 0)
            done += (size_t)n;
    }
}

void say_level_set(enum as_trace_level least)
{
    level_least = least;
}

void say_format_set(enum say_format format)
{
    line_format = format;
}

void say_origin_set(const char *key, const char *value)
{
    snprintf(origin_value, sizeof(origin_value), "%s", value);
    origin_key = key;
}

as_err say_level_of(const char *text, enum as_trace_level *ret_level)
{
    for (size_t i = 0; i < AS_COUNT_OF(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum as_trace_level)i;
            return AS_OK;
        }
    }
    return AS_ERR_INVALID;
}

void say(enum as_trace_level level, const char *event, ...)
{
    struct line line;
    const char *key;
    va_list pairs;

    if (level < level_least)
        return;
    line_begin(&line, level, event);
    va_start(pairs, event);
    while ((key = va_arg(pairs, const char *)) != NULL) {
        const char *value = va_arg(pairs, const char *);

        if (value)
            line_put_pair(&line, key, value);
    }
    va_end(pairs);
    line_end(&line);
}

/* TXN_BEGUN -> txn_begun */
static void event_name(enum as_trace_kind kind, char *ret_name, size_t size)
{
    const char *name = as_trace_name(kind);
    size_t i;

    for (i = 0; name[i] && i + 1 < size; i++)
        ret_name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    ret_name[i] = '\0';
}

void say_trace(const struct as_trace *trace)
{
    enum as_trace_level level = as_trace_level_of(trace->kind);
    struct line line;
    char number[48];

    if (level < level_least)
        return;
    event_name(trace->kind, number, sizeof(number));
    line_begin(&line, level, number);
    if (trace->id)
        line_put_pair(&line, "id", trace->id);
    if (trace->attempt.term) {
        snprintf(number, sizeof(number), "%" PRIu64 ".%" PRIu64, trace->attempt.term,
                 trace->attempt.seq);
        line_put_pair(&line, "attempt", number);
    }
    if (trace->attempt.term) { /* the leader's; that of its later words about it may be higher */
        snprintf(number, sizeof(number), "%" PRIu64, trace->attempt.term);
        line_put_pair(&line, "term", number);
    }
    if (trace->branch) {
        snprintf(number, sizeof(number), "%" PRIu32, trace->branch);
        line_put_pair(&line, "branch", number);
    }
    if (trace->name)
        line_put_pair(&line, "name", trace->name);
    if (trace->number) {
        snprintf(number, sizeof(number), "%" PRIu64, trace->number);
        line_put_pair(&line, "number", number);
    }
    line_put_pair(&line, "text", as_trace_text(trace->kind));
    if (trace->detail)
        line_put_pair(&line, "detail", trace->detail);
    line_end(&line);
}
