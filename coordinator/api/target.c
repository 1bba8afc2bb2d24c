/*
 * What stands in a request line: the path, and the parameters behind its "?". Read here and not by
 * libmicrohttpd, so that a request from a client and one from another node are read alike.
 *
 * Fault model: any bytes but NUL. An escape that is none, or that hides a NUL, refuses the request.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/server.h"

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* In place. In a query "+" is a space. */
static bool unescape(char *text, bool query)
{
    char *out = text;

    for (const char *at = text; *at; at++) {
        if (*at == '%') {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);

            if (low < 0 || high + low == 0)
                return false;
            *out++ = (char)(high << 4 | low);
            at += 2;
        } else {
            *out++ = query && *at == '+' ? ' ' : *at;
        }
    }
    *out = 0;
    return true;
}

void target_take(struct request *request, const char *text, size_t len)
{
    as_put_bytes(&request->target, text, len);
    as_put_u8(&request->target, 0);
}

struct as_bytes target_text(const struct request *request)
{
    return (struct as_bytes){request->target.data, request->target.len - 1};
}

/* A copy of the target from `at` on, to be cut into words; NULL: no memory. */
static char *words_of(struct request *request, size_t at)
{
    as_buf_clear(&request->words);
    as_put_bytes(&request->words, request->target.data + at, request->target.len - at);
    return request->words.err ? NULL : (char *)request->words.data;
}

static void refuse_memory(struct request *request)
{
    handler_refuse(request, 503, "out_of_memory",
                   "this node has no memory left for the request; try again later");
}

const char *target_path(struct request *request)
{
    char *path = request->target.err ? NULL : words_of(request, 0);

    if (!path) {
        refuse_memory(request);
        return NULL;
    }
    path[strcspn(path, "?")] = 0;
    if (unescape(path, false))
        return path;
    handler_refuse(request, 404, "no_such_route",
                   "there is nothing at this path: an escape in it is none; see /openapi.yaml");
    return NULL;
}

/* `text` is "name=value"; without "=" the value is empty. */
static bool take_parameter(struct query *query, char *text)
{
    char *value = text + strcspn(text, "=");
    size_t i = 0;

    if (*value)
        *value++ = 0;
    if (!unescape(text, true) || !unescape(value, true)) {
        handler_refuse(query->request, 400, "bad_parameter",
                       "an escape in the query is none: \"%%\" and two hex digits, not 00");
        return false;
    }
    while (i < query->count && strcmp(query->names[i], text) != 0)
        i++;
    if (i == query->count)
        handler_refuse(query->request, 400, "unknown_parameter",
                       "there is no parameter \"%.64s\" here", text);
    else if (query->values[i])
        handler_refuse(query->request, 400, "duplicate_parameter",
                       "the parameter \"%s\" is given twice", text);
    else
        query->values[i] = value;
    return query->request->answer.status == 0;
}

bool query_read(struct query *query, struct request *request, const char *const *names,
                size_t count)
{
    size_t path_len = strcspn((const char *)request->target.data, "?");
    char *at;

    *query = (struct query){.request = request, .names = names, .count = count};
    AS_ASSERT(count <= QUERY_MAX);
    if (path_len + 1 >= request->target.len)
        return true;
    at = words_of(request, path_len + 1);
    if (!at) {
        refuse_memory(request);
        return false;
    }
    while (*at) {
        char *end = at + strcspn(at, "&"), *next = *end ? end + 1 : end;

        *end = 0;
        if (!take_parameter(query, at))
            return false;
        at = next;
    }
    return true;
}

bool text_number(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t at = 0;

    for (; text[at] >= '0' && text[at] <= '9' && at < 20; at++) {
        uint64_t digit = (uint64_t)(text[at] - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (at == 0 || text[at])
        return false;
    *ret_value = value;
    return true;
}

bool query_number(struct query *query, size_t i, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!query->values[i])
        return true;
    if (!text_number(query->values[i], &value) || value < min || value > max) {
        handler_refuse(query->request, 400, "bad_parameter", "\"%s\" is a number from %llu to %llu",
                       query->names[i], (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret_value = value;
    return true;
}
