/*
 * Strict JSON (RFC 8259) as a flat array of tokens over the text it came from, and a writer.
 *
 * Reading keeps every value's own text: a number arrives in PostgreSQL digit for digit, which a
 * parser that makes doubles of them cannot promise (docs/decisions/0002-json-numbers.md).
 *
 * Fault model: the text is hostile. What is refused: anything RFC 8259 does not allow, invalid
 * UTF-8, NUL and lone surrogates in strings (PostgreSQL's text holds neither), more than
 * JSON_DEPTH_MAX levels.
 */
#ifndef ASSENT_API_JSON_H
#define ASSENT_API_JSON_H

#include "assent/buf.h"

#define JSON_DEPTH_MAX 32
#define JSON_NONE 0 /* no token: token 0 is the root, which is nobody's member */

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* Members of an object follow it as key, value, key, value; elements of an array follow it. */
struct json_token {
    uint32_t start; /* first byte; of a string the one behind its quote */
    uint32_t end;   /* behind its last byte; of a string its closing quote */
    uint32_t next;  /* the token behind this value and all inside it */
    uint32_t count; /* elements or members */
    uint8_t type;
    bool escaped; /* a string with a backslash in it */
};

struct json {
    struct as_bytes text; /* borrowed */
    struct json_token *tokens;
    uint32_t count, cap;
    /* After MALFORMED: what, where and a stable code for it. */
    const char *fault;
    const char *fault_code;
    size_t fault_at;
};

/* MALFORMED (see `fault`), NOMEM, TOOBIG. A struct may be used for any number of texts. */
as_err json_parse(struct json *json, struct as_bytes text) AS_MUSTCHECK;
/* Gives back what a large text took; a small array of tokens stays for the next one. */
void json_trim(struct json *json);
void json_close(struct json *json);

const char *json_type_text(uint8_t type); /* "a string" */

/* The text as written, quotes of a string not included. */
static inline struct as_bytes json_raw(const struct json *json, uint32_t token)
{
    const struct json_token *t = &json->tokens[token];

    return (struct as_bytes){json->text.data + t->start, t->end - t->start};
}

/*
 * The characters of a string. Borrowed from the text, or from `scratch` (cleared first) if it has
 * escapes. Data NULL: out of memory.
 */
struct as_bytes json_string(const struct json *json, uint32_t token, struct as_buf *scratch);

/* An integer literal without fraction and exponent that fits; false otherwise. */
bool json_integer(const struct json *json, uint32_t token, int64_t *ret_value);

/* Bytes of the valid UTF-8 character at `at`, 0 if there is none (RFC 3629). */
size_t json_utf8_len(const uint8_t *at, size_t left);

/* --- Writing: straight into a buffer, no tree --- */

#define JSON_PUT(buf, literal) as_put_bytes((buf), (literal), sizeof(literal) - 1)

/* With quotes. Bytes that are not UTF-8 become U+FFFD: the answer is JSON whatever a database sent.
 */
void json_put_string(struct as_buf *buf, struct as_bytes text);
void json_put_text(struct as_buf *buf, const char *text);
void json_put_text_or_null(struct as_buf *buf, const char *text); /* NULL and "" are null */
void json_put_u64(struct as_buf *buf, uint64_t value);
void json_put_i64(struct as_buf *buf, int64_t value);
void json_put_bool(struct as_buf *buf, bool value);
void json_put_hex64(struct as_buf *buf, uint64_t value); /* 16 hex digits, quoted */
/* Unix milliseconds as "2026-01-31T12:00:00.000Z"; 0 is null. */
void json_put_time(struct as_buf *buf, int64_t unix_ms);

#endif
