/*
 * Names: gid, transaction id, cluster, participant. Fault model: a gid is something any database
 * user can write (R3), so the parser takes exactly what the formatter makes; everything else is
 * foreign.
 */
#include "assent/attempt.h"

#include <string.h>

#define GID_PREFIX "assent/"
#define GID_PREFIX_LEN (sizeof(GID_PREFIX) - 1)
#define INCARNATION_DIGITS 16

/* prefix, cluster, incarnation, term 20 digits, seq 20, branch 10, id; and the separators between.
 */
_Static_assert(GID_PREFIX_LEN + AS_CLUSTER_LEN_MAX + 1 + INCARNATION_DIGITS + 1 + 20 + 1 + 20 + 1 +
                       10 + 1 + AS_ID_LEN_MAX <=
                   AS_GID_LEN_MAX,
               "the longest gid must be one that PostgreSQL takes");

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

bool as_id_valid(const char *text, size_t len)
{
    if (len < 1 || len > AS_ID_LEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (!is_digit(c) && !is_lower(c) && !is_upper(c) && c != '.' && c != '_' && c != ':' &&
            c != '-')
            return false;
    }
    return true;
}

bool as_cluster_valid(const char *text, size_t len)
{
    if (len < 1 || len > AS_CLUSTER_LEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]) && !is_lower(text[i]) && text[i] != '-')
            return false;
    }
    return true;
}

bool as_participant_valid(const char *text, size_t len)
{
    if (len < 1 || len > AS_PARTICIPANT_LEN_MAX || !is_lower(text[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!is_digit(text[i]) && !is_lower(text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    }
    return true;
}

bool as_operation_valid(const char *text, size_t len)
{
    if (len < 1 || len > AS_OPERATION_LEN_MAX || !is_lower(text[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!is_digit(text[i]) && !is_lower(text[i]) && text[i] != '_' && text[i] != '-' &&
            text[i] != '.')
            return false;
    }
    return true;
}

static char *put_text(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put_text(at, digits + i, sizeof(digits) - i);
}

size_t as_gid_format(const struct as_gid *gid, char ret_text[AS_GID_LEN_MAX + 1])
{
    size_t cluster_len = strnlen(gid->cluster, sizeof(gid->cluster));
    size_t id_len = strnlen(gid->id, sizeof(gid->id));
    char *at = ret_text;

    /* A gid that parse would not take back would stay prepared for ever, unseen by the scan (R6).
     */
    AS_ASSERT(as_cluster_valid(gid->cluster, cluster_len));
    AS_ASSERT(as_id_valid(gid->id, id_len));
    AS_ASSERT(gid->attempt.term > 0 && gid->attempt.seq > 0 && gid->branch > 0);
    at = put_text(at, GID_PREFIX, GID_PREFIX_LEN);
    at = put_text(at, gid->cluster, cluster_len);
    *at++ = '/';
    for (int shift = 4 * (INCARNATION_DIGITS - 1); shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[(gid->incarnation >> shift) & 15];
    *at++ = '/';
    at = put_number(at, gid->attempt.term);
    *at++ = '.';
    at = put_number(at, gid->attempt.seq);
    *at++ = '/';
    at = put_number(at, gid->branch);
    *at++ = '/';
    at = put_text(at, gid->id, id_len);
    *at = '\0';
    return (size_t)(at - ret_text);
}

/* What is left of the text; each take_* moves on, or returns false and the parse ends. */
struct cursor {
    const char *at;
    size_t left;
};

static bool take_char(struct cursor *in, char c)
{
    if (in->left == 0 || *in->at != c)
        return false;
    in->at++;
    in->left--;
    return true;
}

/* From 1 to max, without leading zeros. */
static bool take_number(struct cursor *in, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (in->left == 0 || !is_digit(*in->at) || *in->at == '0')
        return false;
    while (in->left > 0 && is_digit(*in->at)) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*in->at - '0'), &value))
            return false;
        in->at++;
        in->left--;
    }
    *ret_value = value;
    return value <= max;
}

static bool take_incarnation(struct cursor *in, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (in->left < INCARNATION_DIGITS)
        return false;
    for (int i = 0; i < INCARNATION_DIGITS; i++) {
        char c = in->at[i];

        if (is_digit(c))
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    in->at += INCARNATION_DIGITS;
    in->left -= INCARNATION_DIGITS;
    *ret_value = value;
    return true;
}

static bool take_cluster(struct cursor *in, char ret_cluster[AS_CLUSTER_LEN_MAX + 1])
{
    size_t len = 0;

    while (len < in->left && in->at[len] != '/')
        len++;
    if (!as_cluster_valid(in->at, len))
        return false;
    memcpy(ret_cluster, in->at, len);
    ret_cluster[len] = '\0';
    in->at += len;
    in->left -= len;
    return true;
}

as_err as_gid_parse(const char *text, size_t len, struct as_gid *ret_gid)
{
    struct cursor in = {text, len};
    struct as_gid gid = {0};
    uint64_t branch;

    if (len > AS_GID_LEN_MAX || len < GID_PREFIX_LEN ||
        memcmp(text, GID_PREFIX, GID_PREFIX_LEN) != 0)
        return AS_ERR_MALFORMED;
    in.at += GID_PREFIX_LEN;
    in.left -= GID_PREFIX_LEN;
    if (!take_cluster(&in, gid.cluster) || !take_char(&in, '/') ||
        !take_incarnation(&in, &gid.incarnation) || !take_char(&in, '/') ||
        !take_number(&in, UINT64_MAX, &gid.attempt.term) || !take_char(&in, '.') ||
        !take_number(&in, UINT64_MAX, &gid.attempt.seq) || !take_char(&in, '/') ||
        !take_number(&in, UINT32_MAX, &branch) || !take_char(&in, '/') ||
        !as_id_valid(in.at, in.left))
        return AS_ERR_MALFORMED;
    gid.branch = (uint32_t)branch;
    memcpy(gid.id, in.at, in.left); /* the struct is zeroed: the NUL is there */
    *ret_gid = gid;
    return AS_OK;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool as_id_uuid7_ms(const char *id, size_t len, int64_t *ret_unix_ms)
{
    static const char form[] = "xxxxxxxx-xxxx-7xxx-vxxx-xxxxxxxxxxxx";
    int64_t ms = 0;

    if (len != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        int value = hex_value(id[i]);

        if (form[i] == '-' ? id[i] != '-' : value < 0)
            return false;
        if ((form[i] == '7' && value != 7) || (form[i] == 'v' && (value & 12) != 8))
            return false;
        if (i < 13 && form[i] == 'x') /* the first 48 bits: RFC 9562, 5.7 */
            ms = ms << 4 | value;
    }
    *ret_unix_ms = ms;
    return true;
}
