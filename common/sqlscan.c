/*
 * R11: which statements are refused by their first keyword. Fault model: any bytes, written by
 * somebody who wants the keyword overlooked; so white space, comments and words end exactly where
 * PostgreSQL's scanner (scan.l) ends them.
 */
#include "assent/work.h"

#include <string.h>

#define WORD_LEN_MAX 24 /* longer than every word looked for */

struct scan {
    const uint8_t *at;
    size_t left;
};

static void skip(struct scan *in, size_t len)
{
    in->at += len;
    in->left -= len;
}

static bool starts_with(const struct scan *in, char a, char b)
{
    return in->left >= 2 && in->at[0] == a && in->at[1] == b;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Up to the end of the line: a carriage return ends it too. */
static void skip_line(struct scan *in)
{
    while (in->left > 0 && *in->at != '\n' && *in->at != '\r')
        skip(in, 1);
}

/* A block comment with those inside it; an unfinished one takes the rest. */
static void skip_block(struct scan *in)
{
    size_t depth = 0;

    while (in->left > 0) {
        if (starts_with(in, '/', '*')) {
            depth++;
            skip(in, 2);
        } else if (starts_with(in, '*', '/')) {
            skip(in, 2);
            if (--depth == 0)
                return;
        } else {
            skip(in, 1);
        }
    }
}

static void skip_blank(struct scan *in)
{
    while (in->left > 0) {
        if (is_space(*in->at))
            skip(in, 1);
        else if (starts_with(in, '-', '-'))
            skip_line(in);
        else if (starts_with(in, '/', '*'))
            skip_block(in);
        else
            return;
    }
}

static bool is_word_start(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

/* The next word in upper case, "" if what follows is none or is longer than any word of interest.
 */
static void next_word(struct scan *in, char ret_word[WORD_LEN_MAX + 1])
{
    size_t len = 0;

    ret_word[0] = '\0';
    skip_blank(in);
    if (in->left == 0 || !is_word_start(*in->at))
        return;
    while (in->left > 0 &&
           (is_word_start(*in->at) || (*in->at >= '0' && *in->at <= '9') || *in->at == '$')) {
        uint8_t c = *in->at;

        if (len < WORD_LEN_MAX)
            ret_word[len] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        len++;
        skip(in, 1);
    }
    ret_word[len <= WORD_LEN_MAX ? len : 0] = '\0';
}

/* After SET: [SESSION | LOCAL] SESSION AUTHORIZATION, or the setting of that name. */
static bool sets_session_authorization(struct scan *in)
{
    char first[WORD_LEN_MAX + 1], second[WORD_LEN_MAX + 1], third[WORD_LEN_MAX + 1];

    next_word(in, first);
    next_word(in, second);
    if (strcmp(first, "SESSION_AUTHORIZATION") == 0)
        return true;
    if (strcmp(first, "SESSION") == 0 && strcmp(second, "AUTHORIZATION") == 0)
        return true;
    if (strcmp(first, "SESSION") != 0 && strcmp(first, "LOCAL") != 0)
        return false;
    if (strcmp(second, "SESSION_AUTHORIZATION") == 0)
        return true;
    next_word(in, third);
    return strcmp(second, "SESSION") == 0 && strcmp(third, "AUTHORIZATION") == 0;
}

const char *as_sql_refused(struct as_bytes sql)
{
    static const char *const refused[] = {
        "BEGIN",     "START",   "COMMIT", "END",    "ROLLBACK", "ABORT",  "PREPARE", "DEALLOCATE",
        "SAVEPOINT", "RELEASE", "COPY",   "LISTEN", "UNLISTEN", "NOTIFY", "DISCARD",
    };
    struct scan in = {sql.data, sql.len};
    char word[WORD_LEN_MAX + 1];

    /* Empty statements vanish in the parser: "; COMMIT" is one COMMIT. */
    for (skip_blank(&in); in.left > 0 && *in.at == ';'; skip_blank(&in))
        skip(&in, 1);
    next_word(&in, word);
    for (size_t i = 0; i < AS_COUNT_OF(refused); i++) {
        if (strcmp(word, refused[i]) == 0)
            return refused[i];
    }
    if (strcmp(word, "SET") == 0 && sets_session_authorization(&in))
        return "SET SESSION AUTHORIZATION";
    return NULL;
}
