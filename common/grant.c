/*
 * The file of [api] tokens. Fault model: a person wrote it, and it says who may move money: what is not exactly of the
 * form refuses the file as a whole, and the message says which line and what would be right.
 */
#include "assent/grant.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/attempt.h"
#include "common/utc.h"

/* --- Words --- */

static bool is_text(struct as_bytes bytes, const char *text)
{
    return strlen(text) == bytes.len && memcmp(bytes.data, text, bytes.len) == 0;
}

/* The part up to `until`, which is taken off too, or all of it. */
static struct as_bytes part_take(struct as_bytes *rest, char until)
{
    const uint8_t *end = rest->len ? memchr(rest->data, until, rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    struct as_bytes part = {rest->data, len};

    rest->data += len + (end ? 1 : 0);
    rest->len -= len + (end ? 1 : 0);
    return part;
}

/* The next word, or an empty one at the end. */
static struct as_bytes word_take(struct as_bytes *rest)
{
    size_t len = 0;
    struct as_bytes word;

    while (rest->len && (rest->data[0] == ' ' || rest->data[0] == '\t')) {
        rest->data++;
        rest->len--;
    }
    while (len < rest->len && rest->data[len] != ' ' && rest->data[len] != '\t')
        len++;
    word = (struct as_bytes){rest->data, len};
    if (len) {
        rest->data += len;
        rest->len -= len;
    }
    return word;
}

static as_err refuse(char *ret_why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static as_err refuse(char *ret_why, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(ret_why, AS_GRANT_WHY_BYTES, format, args);
    va_end(args);
    return AS_ERR_MALFORMED;
}

/* --- Roles, participants --- */

static const struct {
    enum as_role role;
    const char *text;
} roles[] = {
#define ROW(name, bit, text) {AS_ROLE_##name, text},
    AS_ROLE_MAP(ROW)
#undef ROW
};

enum as_role as_role_of(struct as_bytes text)
{
    for (size_t i = 0; i < AS_COUNT_OF(roles); i++)
        if (is_text(text, roles[i].text))
            return roles[i].role;
    return AS_ROLE_NONE;
}

const char *as_roles_text(unsigned set, char ret_text[AS_ROLES_TEXT_MAX])
{
    size_t len = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < AS_COUNT_OF(roles); i++)
        if (set & roles[i].role)
            len += (size_t)snprintf(ret_text + len, AS_ROLES_TEXT_MAX - len, "%s%s", len ? "," : "",
                                    roles[i].text);
    return ret_text;
}

bool as_participants_name(struct as_bytes list, struct as_bytes participant)
{
    while (list.len) {
        struct as_bytes part = part_take(&list, ',');

        if (part.len == participant.len && memcmp(part.data, participant.data, part.len) == 0)
            return true;
    }
    return false;
}

bool as_participants_valid(struct as_bytes list)
{
    /* "a," ends with an empty name that part_take does not show. */
    if (!list.len || list.data[list.len - 1] == ',')
        return false;
    while (list.len) {
        struct as_bytes part = part_take(&list, ',');

        if (!as_participant_valid((const char *)part.data, part.len))
            return false;
    }
    return true;
}

/* --- One line --- */

static as_err role_read(struct as_grant *grant, struct as_bytes value, char *ret_why)
{
    const struct as_bytes all = value;

    while (value.len) {
        enum as_role role = as_role_of(part_take(&value, ','));

        if (role == AS_ROLE_NONE || grant->roles & role)
            break;
        grant->roles |= role;
        if (!value.len && all.data[all.len - 1] != ',')
            return AS_OK;
    }
    return refuse(ret_why, "role is one or several of app, viewer and operator, with commas");
}

static as_err participants_read(struct as_grant *grant, struct as_bytes value, char *ret_why)
{
    grant->participants = value;
    if (as_participants_valid(value))
        return AS_OK;
    return refuse(ret_why, "participants are names of a-z 0-9 _ - with commas");
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static as_err hash_read(struct as_grant *grant, struct as_bytes value, char *ret_why)
{
    if (value.len != (size_t)2 * AS_HASH_LEN)
        return refuse(ret_why, "sha256 is %d hex digits", 2 * AS_HASH_LEN);
    for (size_t i = 0; i < AS_HASH_LEN; i++) {
        int high = hex_digit(value.data[2 * i]), low = hex_digit(value.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return refuse(ret_why, "sha256 is %d hex digits, small letters", 2 * AS_HASH_LEN);
        grant->sha256[i] = (uint8_t)(high << 4 | low);
    }
    return AS_OK;
}

static as_err rate_read(struct as_grant *grant, struct as_bytes value, char *ret_why)
{
    uint64_t rate = 0;
    size_t at = 0;

    for (; at < value.len && value.data[at] >= '0' && value.data[at] <= '9'; at++) {
        rate = rate * 10 + (uint64_t)(value.data[at] - '0');
        if (rate > AS_GRANT_RATE_MAX)
            break;
    }
    grant->rate = (uint32_t)rate;
    if (rate > 0 && rate <= AS_GRANT_RATE_MAX && value.data[0] != '0' && at + 2 == value.len &&
        memcmp(value.data + at, "/s", 2) == 0)
        return AS_OK;
    return refuse(ret_why, "rate is requests a second: 1/s to %d/s", AS_GRANT_RATE_MAX);
}

static as_err expires_read(struct as_grant *grant, struct as_bytes value, char *ret_why)
{
    if (as_utc_parse(value, &grant->expires) || grant->expires == 0)
        return refuse(ret_why, "expires is a time as 2027-01-31T00:00:00Z");
    return AS_OK;
}

enum word { ROLE, PARTICIPANTS, SHA256, CERTIFICATE, RATE, EXPIRES, WORDS };

static const struct {
    const char *key;
    as_err (*read)(struct as_grant *grant, struct as_bytes value, char *ret_why);
} words[WORDS] = {
    [ROLE] = {"role", role_read},     [PARTICIPANTS] = {"participants", participants_read},
    [SHA256] = {"sha256", hash_read}, [CERTIFICATE] = {"certificate", NULL}, /* bears no value */
    [RATE] = {"rate", rate_read},     [EXPIRES] = {"expires", expires_read},
};

static as_err word_read(struct as_grant *grant, struct as_bytes word, bool given[WORDS],
                        char *ret_why)
{
    struct as_bytes value = word, key = part_take(&value, '=');
    bool has_value = key.len < word.len;
    size_t i = 0;

    while (i < WORDS && !is_text(key, words[i].key))
        i++;
    if (i == WORDS || has_value != (words[i].read != NULL))
        return refuse(ret_why,
                      "behind the name stand role=, participants=, sha256= or certificate, rate= "
                      "and expires=; nothing else");
    if (given[i])
        return refuse(ret_why, "%s is given twice", words[i].key);
    given[i] = true;
    return words[i].read ? words[i].read(grant, value, ret_why) : AS_OK;
}

static as_err fields_check(const struct as_grant *grant, const bool given[WORDS], char *ret_why)
{
    if (!given[ROLE])
        return refuse(ret_why, "role= is missing: app, viewer, operator, or several with commas");
    if (given[SHA256] == given[CERTIFICATE])
        return refuse(ret_why, "either sha256= of a token, or the word certificate, is needed");
    if (given[PARTICIPANTS] != ((grant->roles & AS_ROLE_APP) != 0))
        return refuse(ret_why, given[PARTICIPANTS]
                                   ? "participants= is for the role app"
                                   : "participants= is missing: which ones an app may use");
    if (given[CERTIFICATE] && (grant->roles & (grant->roles - 1)))
        return refuse(ret_why, "a certificate has one role, which its name tells");
    return AS_OK;
}

as_err as_grant_parse(struct as_bytes line, struct as_grant *ret, char ret_why[AS_GRANT_WHY_BYTES])
{
    bool given[WORDS] = {false};
    struct as_bytes word = word_take(&line);
    as_err err = AS_OK;

    *ret = (struct as_grant){.rate = 0};
    if (!as_id_valid((const char *)word.data, word.len))
        return refuse(ret_why, "a line begins with a name: 1 to %d of A-Z a-z 0-9 . _ : -",
                      AS_ID_LEN_MAX);
    memcpy(ret->name, word.data, word.len);
    for (word = word_take(&line); word.len && !err; word = word_take(&line))
        err = word_read(ret, word, given, ret_why);
    ret->certificate = given[CERTIFICATE];
    return err ? err : fields_check(ret, given, ret_why);
}

static void put_text(struct as_buf *buf, const char *text)
{
    as_put_bytes(buf, text, strlen(text));
}

void as_grant_put(struct as_buf *buf, const struct as_grant *grant)
{
    char text[AS_ROLES_TEXT_MAX + 32], roles_text[AS_ROLES_TEXT_MAX], until[AS_UTC_LEN + 1];

    put_text(buf, grant->name);
    (void)snprintf(text, sizeof(text), " role=%s", as_roles_text(grant->roles, roles_text));
    put_text(buf, text);
    if (grant->participants.len) {
        put_text(buf, " participants=");
        as_put_bytes(buf, grant->participants.data, grant->participants.len);
    }
    put_text(buf, grant->certificate ? " certificate" : " sha256=");
    for (size_t i = 0; i < AS_HASH_LEN && !grant->certificate; i++) {
        (void)snprintf(text, sizeof(text), "%02x", grant->sha256[i]);
        put_text(buf, text);
    }
    if (grant->rate) {
        (void)snprintf(text, sizeof(text), " rate=%u/s", (unsigned)grant->rate);
        put_text(buf, text);
    }
    if (grant->expires) {
        put_text(buf, " expires=");
        put_text(buf, as_utc_format(grant->expires, until));
    }
}

/* --- A file --- */

static bool is_blank(struct as_bytes line)
{
    struct as_bytes word = word_take(&line);

    return !word.len || word.data[0] == '#';
}

/* The lines that may be grants. */
static size_t lines_count(struct as_bytes text)
{
    size_t count = 0;

    while (text.len)
        count += !is_blank(part_take(&text, '\n'));
    return count;
}

static bool hash_same(const uint8_t *a, const uint8_t *b)
{
    uint64_t left[AS_HASH_LEN / 8], right[AS_HASH_LEN / 8];
    volatile uint64_t differ; /* volatile: all words are looked at before anything is known */

    memcpy(left, a, sizeof(left));
    memcpy(right, b, sizeof(right));
    differ =
        (left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3]);
    return differ == 0;
}

/* A token's name may stand there twice: while clients change from the old token to the new one. */
static bool is_there(const struct as_grants *grants, const struct as_grant *grant)
{
    return (grant->certificate
                ? as_grants_by_certificate(grants, (enum as_role)grant->roles, grant->name)
                : as_grants_by_hash(grants, grant->sha256)) < grants->count;
}

static as_err line_read(struct as_grants *grants, struct as_bytes line, char *ret_why)
{
    struct as_grant grant;
    as_err err;

    if (line.len > AS_GRANT_LINE_MAX)
        return refuse(ret_why, "it is longer than %d bytes", AS_GRANT_LINE_MAX);
    err = as_grant_parse(line, &grant, ret_why);
    if (err)
        return err;
    if (is_there(grants, &grant))
        return refuse(ret_why, grant.certificate ? "this certificate has a line already"
                                                 : "this token has a line already");
    grants->list[grants->count++] = grant;
    return AS_OK;
}

static as_err lines_read(struct as_grants *grants, struct as_bytes text, char *ret_why)
{
    char why[AS_GRANT_WHY_BYTES - 32];
    as_err err = AS_OK;

    for (unsigned number = 1; text.len && !err; number++) {
        struct as_bytes line = part_take(&text, '\n');

        if (!is_blank(line))
            err = line_read(grants, line, ret_why);
        if (err) {
            (void)snprintf(why, sizeof(why), "%s", ret_why);
            (void)refuse(ret_why, "line %u: %s", number, why);
        }
    }
    return err;
}

as_err as_grants_parse(struct as_bytes text, struct as_grants *ret,
                       char ret_why[AS_GRANT_WHY_BYTES])
{
    size_t count = lines_count(text);
    as_err err = AS_ERR_NOMEM;

    *ret = (struct as_grants){.count = 0};
    if (count > AS_GRANTS_MAX) {
        (void)refuse(ret_why, "there are more than %d lines", AS_GRANTS_MAX);
        return AS_ERR_TOOBIG;
    }
    ret->list = as_alloc_zero(count + 1, sizeof(*ret->list));
    ret->text = as_alloc_zero(1, text.len + 1);
    (void)refuse(ret_why, "%s", as_err_text(err));
    if (ret->list && ret->text) {
        if (text.len)
            memcpy(ret->text, text.data, text.len);
        err = lines_read(ret, (struct as_bytes){ret->text, text.len}, ret_why);
    }
    if (err)
        as_grants_close(ret);
    return err;
}

void as_grants_close(struct as_grants *grants)
{
    as_free(grants->list);
    as_free(grants->text);
    *grants = (struct as_grants){.count = 0};
}

uint32_t as_grants_by_hash(const struct as_grants *grants, const uint8_t sha256[AS_HASH_LEN])
{
    uint32_t found = grants->count;

    /* To the end: how long it takes tells nothing of where, or how nearly, one was found. For a thousand lines some
     * microseconds. */
    for (uint32_t i = 0; i < grants->count; i++)
        if (hash_same(grants->list[i].sha256, sha256) && !grants->list[i].certificate)
            found = i;
    return found;
}

uint32_t as_grants_by_certificate(const struct as_grants *grants, enum as_role role,
                                  const char *name)
{
    uint32_t i = 0;

    while (i < grants->count && !(grants->list[i].certificate && grants->list[i].roles == role &&
                                  strcmp(grants->list[i].name, name) == 0))
        i++;
    return i;
}
