/*
 * The reader of json.h: one pass, no recursion, every byte checked.
 */
#include "coordinator/api/json.h"

#include <string.h>

#include "assent/alloc.h"

#define TOKENS_FIRST 128
#define TOKENS_KEPT 4096

/* What may come next. */
enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING,
};

struct scan {
    struct json *json;
    const uint8_t *begin, *at, *end;
    enum expect expect;
    uint32_t depth;
    uint32_t parent[JSON_DEPTH_MAX];
};

static as_err fault_at(struct scan *scan, const uint8_t *at, const char *code, const char *what)
{
    scan->json->fault = what;
    scan->json->fault_code = code;
    scan->json->fault_at = (size_t)(at - scan->begin);
    return AS_ERR_MALFORMED;
}

static as_err fault(struct scan *scan, const char *what)
{
    return fault_at(scan, scan->at, "malformed_json", what);
}

static as_err token_new(struct json *json, uint8_t type, const uint8_t *start, uint32_t *ret_token)
{
    struct json_token *token;

    if (json->count == json->cap) {
        uint32_t cap = json->cap ? json->cap * 2 : TOKENS_FIRST;
        void *grown = as_resize(json->tokens, cap * sizeof(*token));

        if (!grown)
            return AS_ERR_NOMEM;
        json->tokens = grown;
        json->cap = cap;
    }
    token = &json->tokens[json->count];
    token->type = type;
    token->escaped = false;
    token->count = 0;
    token->start = token->end = (uint32_t)(start - json->text.data);
    *ret_token = json->count;
    token->next = ++json->count;
    return AS_OK;
}

size_t json_utf8_len(const uint8_t *at, size_t left)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (len == 0 || at[0] > 0xf4 || left < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return len;
}

/* The value of four hex digits, or -1. */
static int32_t hex4(const uint8_t *at, const uint8_t *end)
{
    int32_t value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : -1;

        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* At a backslash; goes behind its escape. */
static as_err scan_escape(struct scan *scan)
{
    const uint8_t *at = scan->at;
    int32_t code, low;

    if (scan->end - at < 2)
        return fault(scan, "the text ends inside a string");
    if (at[1] != 'u') {
        if (at[1] == 0 || !strchr("\"\\/bfnrt", at[1]))
            return fault(scan, "no such escape");
        scan->at += 2;
        return AS_OK;
    }
    code = hex4(at + 2, scan->end);
    if (code < 0)
        return fault(scan, "\\u needs four hexadecimal digits");
    if (code == 0)
        return fault_at(scan, at, "bad_string", "a NUL character cannot be stored by PostgreSQL");
    scan->at += 6;
    if (code < 0xd800 || code > 0xdfff)
        return AS_OK;
    low = scan->end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, scan->end) : -1;
    if (code > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return fault_at(scan, at, "bad_string", "half of a surrogate pair is no character");
    scan->at += 6;
    return AS_OK;
}

/* At the opening quote; goes behind the closing one. */
static as_err scan_string(struct scan *scan, uint32_t *ret_token)
{
    const uint8_t *end = scan->end;
    bool escaped = false;
    as_err err = token_new(scan->json, JSON_STRING, scan->at + 1, ret_token);

    if (err)
        return err;
    scan->at++;
    for (;;) {
        const uint8_t *at = scan->at;

        while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
            at++;
        scan->at = at;
        if (at == end)
            return fault(scan, "the text ends inside a string");
        if (*at == '"')
            break;
        if (*at == '\\') {
            escaped = true;
            err = scan_escape(scan);
            if (err)
                return err;
        } else if (*at < 0x20) {
            return *at ? fault(scan, "a control character in a string must be escaped")
                       : fault_at(scan, at, "bad_string",
                                  "a NUL character cannot be stored by PostgreSQL");
        } else {
            size_t len = json_utf8_len(at, (size_t)(end - at));

            if (len == 0)
                return fault_at(scan, at, "bad_utf8", "these bytes are not UTF-8");
            scan->at += len;
        }
    }
    scan->json->tokens[*ret_token].end = (uint32_t)(scan->at - scan->begin);
    scan->json->tokens[*ret_token].escaped = escaped;
    scan->at++;
    return AS_OK;
}

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static as_err scan_number(struct scan *scan)
{
    const uint8_t *end = scan->end, *digits;
    uint32_t token;
    as_err err = token_new(scan->json, JSON_NUMBER, scan->at, &token);

    if (err)
        return err;
    scan->at += *scan->at == '-';
    digits = scan->at;
    scan->at = skip_digits(digits, end);
    if (scan->at == digits)
        return fault(scan, "a number needs a digit here");
    if (*digits == '0' && scan->at - digits > 1)
        return fault_at(scan, digits, "malformed_json", "a number must not begin with 0");
    if (scan->at < end && *scan->at == '.') {
        digits = ++scan->at;
        scan->at = skip_digits(digits, end);
        if (scan->at == digits)
            return fault(scan, "a number needs a digit here");
    }
    if (scan->at < end && (*scan->at | 0x20) == 'e') {
        scan->at++;
        scan->at += scan->at < end && (*scan->at == '+' || *scan->at == '-');
        digits = scan->at;
        scan->at = skip_digits(digits, end);
        if (scan->at == digits)
            return fault(scan, "a number needs a digit here");
    }
    scan->json->tokens[token].end = (uint32_t)(scan->at - scan->begin);
    return AS_OK;
}

static as_err scan_word(struct scan *scan, uint8_t type, const char *word, size_t len)
{
    uint32_t token;
    as_err err;

    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return fault(scan, "expected a value");
    err = token_new(scan->json, type, scan->at, &token);
    if (err)
        return err;
    scan->at += len;
    scan->json->tokens[token].end = (uint32_t)(scan->at - scan->begin);
    return AS_OK;
}

static as_err scan_open(struct scan *scan, uint8_t type)
{
    uint32_t token;
    as_err err;

    if (scan->depth == JSON_DEPTH_MAX)
        return fault_at(scan, scan->at, "too_deep", "nested more than 32 levels deep");
    err = token_new(scan->json, type, scan->at, &token);
    if (err)
        return err;
    scan->parent[scan->depth++] = token;
    scan->at++;
    scan->expect = type == JSON_OBJECT ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return AS_OK;
}

static void scan_close(struct scan *scan)
{
    struct json_token *token = &scan->json->tokens[scan->parent[--scan->depth]];

    scan->at++;
    token->end = (uint32_t)(scan->at - scan->begin);
    token->next = scan->json->count;
    scan->expect = scan->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static as_err scan_value(struct scan *scan)
{
    uint32_t token;
    as_err err;

    if (scan->depth && scan->json->tokens[scan->parent[scan->depth - 1]].type == JSON_ARRAY)
        scan->json->tokens[scan->parent[scan->depth - 1]].count++;
    switch (*scan->at) {
    case '{':
        return scan_open(scan, JSON_OBJECT);
    case '[':
        return scan_open(scan, JSON_ARRAY);
    case '"':
        err = scan_string(scan, &token);
        break;
    case 'n':
        err = scan_word(scan, JSON_NULL, "null", 4);
        break;
    case 't':
        err = scan_word(scan, JSON_TRUE, "true", 4);
        break;
    case 'f':
        err = scan_word(scan, JSON_FALSE, "false", 5);
        break;
    default:
        if (*scan->at != '-' && (*scan->at < '0' || *scan->at > '9'))
            return fault(scan, "expected a value");
        err = scan_number(scan);
    }
    scan->expect = scan->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
    return err;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

static as_err scan_key(struct scan *scan)
{
    uint32_t token;
    as_err err;

    if (*scan->at != '"')
        return fault(scan, "expected a field name in double quotes");
    err = scan_string(scan, &token);
    if (err)
        return err;
    scan->json->tokens[scan->parent[scan->depth - 1]].count++;
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return fault(scan, "expected a colon behind the field name");
    scan->at++;
    scan->expect = EXPECT_VALUE;
    return AS_OK;
}

/* Behind a value inside an array or object. */
static as_err scan_comma_or_end(struct scan *scan)
{
    bool object = scan->json->tokens[scan->parent[scan->depth - 1]].type == JSON_OBJECT;

    if (*scan->at == (object ? '}' : ']')) {
        scan_close(scan);
        return AS_OK;
    }
    if (*scan->at != ',')
        return fault(scan, object ? "expected a comma or }" : "expected a comma or ]");
    scan->at++;
    scan->expect = object ? EXPECT_KEY : EXPECT_VALUE;
    return AS_OK;
}

static as_err scan_next(struct scan *scan)
{
    switch (scan->expect) {
    case EXPECT_VALUE_OR_END:
        if (*scan->at == ']') {
            scan_close(scan);
            return AS_OK;
        }
        return scan_value(scan);
    case EXPECT_VALUE:
        return scan_value(scan);
    case EXPECT_KEY_OR_END:
        if (*scan->at == '}') {
            scan_close(scan);
            return AS_OK;
        }
        return scan_key(scan);
    case EXPECT_KEY:
        return scan_key(scan);
    case EXPECT_COMMA_OR_END:
        return scan_comma_or_end(scan);
    case EXPECT_NOTHING:
        break;
    }
    return fault(scan, "unexpected text behind the value");
}

as_err json_parse(struct json *json, struct as_bytes text)
{
    struct scan scan = {.json = json};

    if (!text.data)
        text.data = (const uint8_t *)"";
    json->text = text;
    json->count = 0;
    json->fault = NULL;
    json->fault_code = NULL;
    json->fault_at = 0;
    if (text.len > UINT32_MAX / 4)
        return AS_ERR_TOOBIG;
    scan.begin = scan.at = text.data;
    scan.end = text.data + text.len;
    for (;;) {
        as_err err;

        skip_space(&scan);
        if (scan.at == scan.end)
            break;
        err = scan_next(&scan);
        if (err)
            return err;
    }
    return scan.expect == EXPECT_NOTHING
               ? AS_OK
               : fault(&scan, json->count ? "the text ends too early" : "expected a JSON object");
}

void json_close(struct json *json)
{
    if (!json)
        return;
    as_free(json->tokens);
    json->tokens = NULL;
    json->cap = json->count = 0;
}

void json_trim(struct json *json)
{
    if (json->cap > TOKENS_KEPT)
        json_close(json);
}

const char *json_type_text(uint8_t type)
{
    static const char *const texts[] = {"null",     "a boolean", "a boolean", "a number",
                                        "a string", "an array",  "an object"};

    return type < AS_COUNT_OF(texts) ? texts[type] : "?";
}

static uint8_t *put_utf8(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xc0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xe0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        *out++ = (uint8_t)(0xf0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    }
    return out;
}

struct as_bytes json_string(const struct json *json, uint32_t token, struct as_buf *scratch)
{
    struct as_bytes raw = json_raw(json, token);
    const uint8_t *at = raw.data, *end = raw.data + raw.len;
    uint8_t *out;

    if (!json->tokens[token].escaped)
        return raw;
    as_buf_clear(scratch);
    /* No escape is shorter than what it stands for. */
    out = as_buf_extend(scratch, raw.len);
    if (!out)
        return (struct as_bytes){NULL, 0};
    while (at < end) {
        static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
        const char *name;
        uint32_t code;

        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        if (at[1] != 'u') {
            name = memchr(names, at[1], sizeof(names) - 1);
            *out++ = name ? (uint8_t)values[name - names] : at[1];
            at += 2;
            continue;
        }
        code = (uint32_t)hex4(at + 2, end);
        at += 6;
        if (code >= 0xd800 && code <= 0xdbff) {
            code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)hex4(at + 2, end) - 0xdc00);
            at += 6;
        }
        out = put_utf8(out, code);
    }
    return (struct as_bytes){scratch->data, (size_t)(out - scratch->data)};
}

bool json_integer(const struct json *json, uint32_t token, int64_t *ret_value)
{
    struct as_bytes raw = json_raw(json, token);
    bool negative = raw.data[0] == '-';
    int64_t value = 0;

    for (size_t i = negative; i < raw.len; i++) {
        int digit = raw.data[i] - '0';

        if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = negative ? -value : value;
    return true;
}
