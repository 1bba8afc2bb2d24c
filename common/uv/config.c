/*
 * Reads a configuration file by a table of its keys. Fault model: a person wrote it; every mistake
 * is named with file, line and what would be right, and nothing is guessed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/alloc.h"

#define SECTION_BYTES_MAX 128
#define ERROR_BYTES 512

/* A key that was given: where, to refuse a second time and to find what is missing. */
struct given {
    char section[SECTION_BYTES_MAX];
    const struct config_key *key; /* NULL: the section was opened */
    unsigned line;
};

struct reading {
    const char *path;
    const struct config_schema *schema;
    char *error;
    unsigned line;
    char section[SECTION_BYTES_MAX]; /* "" before the first */
    const char *pattern;             /* the table's name for it: "node", "participant." */
    bool passed_over;                /* the section is not known, which is lenient's right */
    struct given *given;
    size_t given_count, given_cap;
};

static as_err fail(struct reading *in, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static as_err fail(struct reading *in, const char *format, ...)
{
    va_list args;
    int len = snprintf(in->error, ERROR_BYTES, "%s:%u: ", in->path, in->line);

    if (len < 0 || len >= ERROR_BYTES)
        return AS_ERR_INVALID;
    va_start(args, format);
    vsnprintf(in->error + len, (size_t)(ERROR_BYTES - len), format, args);
    va_end(args);
    return AS_ERR_INVALID;
}

/* "participant." is a pattern: it matches "participant.bank_a", not "participant.". */
static bool section_matches(const char *pattern, const char *section)
{
    size_t len = strlen(pattern);

    if (len && pattern[len - 1] == '.')
        return strncmp(pattern, section, len) == 0 && section[len];
    return strcmp(pattern, section) == 0;
}

/* The table's sections (section NULL), or the keys of one, each once, as "a, b, c". */
static const char *allowed(const struct config_schema *schema, const char *section,
                           char ret_text[ERROR_BYTES / 2])
{
    size_t len = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct config_key *key = &schema->keys[i];
        const char *text = section ? key->key : key->section;
        const char *name = !section && text[strlen(text) - 1] == '.' ? "NAME" : "";
        bool repeated = false;
        int n;

        if (section && strcmp(key->section, section) != 0)
            continue;
        for (size_t j = 0; !section && j < i; j++)
            repeated |= strcmp(schema->keys[j].section, text) == 0;
        if (repeated)
            continue;
        n = snprintf(ret_text + len, ERROR_BYTES / 2 - len, "%s%s%s", len ? ", " : "", text, name);
        if (n < 0 || (size_t)n >= ERROR_BYTES / 2 - len)
            break;
        len += (size_t)n;
    }
    return ret_text;
}

static const struct given *find_given(const struct reading *in, const char *section,
                                      const struct config_key *key)
{
    for (size_t i = 0; i < in->given_count; i++) {
        if (in->given[i].key == key && strcmp(in->given[i].section, section) == 0)
            return &in->given[i];
    }
    return NULL;
}

static as_err add_given(struct reading *in, const struct config_key *key)
{
    struct given *given;

    if (in->given_count == in->given_cap) {
        size_t cap = in->given_cap ? 2 * in->given_cap : 32;

        given = as_resize(in->given, cap * sizeof(*given));
        if (!given)
            return AS_ERR_NOMEM;
        in->given = given;
        in->given_cap = cap;
    }
    given = &in->given[in->given_count++];
    memcpy(given->section, in->section, sizeof(given->section));
    given->key = key;
    given->line = in->line;
    return AS_OK;
}

/* The struct that the keys of the current section fill in. */
static as_err find_target(struct reading *in, void **ret_target)
{
    const struct config_schema *schema = in->schema;
    size_t len = strlen(in->pattern);
    char why[256] = "";

    if (in->pattern[len - 1] != '.') {
        *ret_target = schema->target;
        return AS_OK;
    }
    *ret_target = schema->target_of(schema->ctx, in->pattern, in->section + len, why);
    return *ret_target ? AS_OK : fail(in, "[%s]: %s", in->section, why);
}

static as_err open_section(struct reading *in, char *text)
{
    char *end = strchr(text, ']');
    const struct config_schema *schema = in->schema;
    char names[ERROR_BYTES / 2];
    void *target;
    as_err err;

    if (!end || !strchr("#;", end[1 + strspn(end + 1, " \t")])) /* or nothing: strchr finds NUL */
        return fail(in, "a section is [name], alone on its line");
    *end = '\0';
    if (strlen(text) >= sizeof(in->section))
        return fail(in, "the name of this section is longer than %d bytes", SECTION_BYTES_MAX - 1);
    for (size_t i = 0; i < schema->key_count; i++) {
        if (!section_matches(schema->keys[i].section, text))
            continue;
        in->pattern = schema->keys[i].section;
        in->passed_over = false;
        memset(in->section, 0, sizeof(in->section));
        memcpy(in->section, text, strlen(text));
        err = find_target(in, &target);
        if (err)
            return err;
        return find_given(in, text, NULL) ? AS_OK : add_given(in, NULL);
    }
    in->passed_over = schema->lenient;
    if (schema->lenient)
        return AS_OK;
    return fail(in, "there is no section [%s]; known are: %s", text, allowed(schema, NULL, names));
}

static as_err set_text(struct reading *in, const struct config_key *key, const char *value,
                       char *field)
{
    size_t len = strlen(value);

    if (len >= key->size)
        return fail(in, "%s is longer than %zu bytes", key->key, key->size - 1);
    memset(field, 0, key->size);
    memcpy(field, value, len);
    return AS_OK;
}

static as_err set_number(struct reading *in, const struct config_key *key, const char *value,
                         uint64_t *field)
{
    char *end = NULL;
    unsigned long long number;

    errno = 0;
    number = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || number < key->min || number > key->max)
        return fail(in, "%s is \"%s\", but must be a whole number from %" PRIu64 " to %" PRIu64,
                    key->key, value, key->min, key->max);
    *field = number;
    return AS_OK;
}

static as_err set_bool(struct reading *in, const struct config_key *key, const char *value,
                       bool *field)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

    for (size_t i = 0; i < AS_COUNT_OF(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            *field = i % 2 == 1;
            return AS_OK;
        }
    }
    return fail(in, "%s is \"%s\", but must be yes or no", key->key, value);
}

static as_err set_choice(struct reading *in, const struct config_key *key, const char *value,
                         int *field)
{
    size_t len = strlen(value);
    const char *choice = key->choices;

    for (int i = 0; choice; i++) {
        const char *end = strchr(choice, '|');
        size_t choice_len = end ? (size_t)(end - choice) : strlen(choice);

        if (choice_len == len && memcmp(choice, value, len) == 0) {
            *field = i;
            return AS_OK;
        }
        choice = end ? end + 1 : NULL;
    }
    return fail(in, "%s is \"%s\", but must be one of %s", key->key, value, key->choices);
}

static as_err set_key(struct reading *in, const struct config_key *key, const char *value)
{
    const struct given *before = find_given(in, in->section, key);
    void *target = NULL;
    char *field;
    as_err err;

    if (before)
        return fail(in, "%s is given a second time; the first is in line %u", key->key,
                    before->line);
    err = find_target(in, &target);
    if (err)
        return err;
    field = (char *)target + key->offset;
    switch (key->kind) {
    case CONFIG_TEXT:
        err = set_text(in, key, value, field);
        break;
    case CONFIG_NUMBER:
        err = set_number(in, key, value, (uint64_t *)(void *)field);
        break;
    case CONFIG_BOOL:
        err = set_bool(in, key, value, (bool *)(void *)field);
        break;
    case CONFIG_CHOICE:
        err = set_choice(in, key, value, (int *)(void *)field);
        break;
    }
    return err ? err : add_given(in, key);
}

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " \t\r\n");
    len = strlen(text);
    while (len && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    return text;
}

static as_err read_pair(struct reading *in, char *text)
{
    char *equals = strchr(text, '=');
    char names[ERROR_BYTES / 2];
    const char *name;
    char *value;

    if (!equals || equals == text)
        return fail(in, "this line is neither [section] nor key = value nor a comment");
    *equals = '\0';
    name = trim(text);
    value = equals + 1;
    for (char *c = value; *c; c++) {
        if (*c == ';' && (c == value || c[-1] == ' ' || c[-1] == '\t')) {
            *c = '\0';
            break;
        }
    }
    if (in->passed_over)
        return AS_OK;
    if (!in->pattern)
        return fail(in, "%s stands before any [section]", name);
    for (size_t i = 0; i < in->schema->key_count; i++) {
        const struct config_key *key = &in->schema->keys[i];

        if (strcmp(key->section, in->pattern) == 0 && strcmp(key->key, name) == 0)
            return set_key(in, key, trim(value));
    }
    if (in->schema->lenient)
        return AS_OK;
    return fail(in, "[%s] has no key %s; known are: %s", in->section, name,
                allowed(in->schema, in->pattern, names));
}

static as_err read_line(struct reading *in, char *text, size_t len)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";

    in->line++;
    if (memchr(text, '\0', len))
        return fail(in, "this line has a zero byte in it");
    if (in->line == 1 && strncmp(text, byte_order_mark, 3) == 0)
        text += 3;
    text = trim(text);
    if (*text == '\0' || *text == '#' || *text == ';')
        return AS_OK;
    return *text == '[' ? open_section(in, text + 1) : read_pair(in, text);
}

static as_err missing(struct reading *in, const char *section, const struct config_key *key)
{
    snprintf(in->error, ERROR_BYTES, "%s: [%s] needs %s", in->path, section, key->key);
    return AS_ERR_INVALID;
}

static as_err check_required(struct reading *in)
{
    for (size_t i = 0; i < in->schema->key_count; i++) {
        const struct config_key *key = &in->schema->keys[i];

        if (!key->required)
            continue;
        if (key->section[strlen(key->section) - 1] != '.') {
            if (!find_given(in, key->section, key))
                return missing(in, key->section, key);
            continue;
        }
        for (size_t j = 0; j < in->given_count; j++) {
            const struct given *opened = &in->given[j];

            if (!opened->key && section_matches(key->section, opened->section) &&
                !find_given(in, opened->section, key))
                return missing(in, opened->section, key);
        }
    }
    return AS_OK;
}

as_err config_read(const char *path, const struct config_schema *schema, char ret_error[512])
{
    struct reading in = {.path = path, .schema = schema, .error = ret_error};
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    as_err err = AS_OK;
    ssize_t len;

    ret_error[0] = '\0';
    if (!file) {
        err = errno == ENOENT ? AS_ERR_NOTFOUND : AS_ERR_IO;
        snprintf(ret_error, ERROR_BYTES, "%s: %s", path, strerror(errno));
        return err;
    }
    errno = 0;
    while (!err && (len = getline(&text, &size, file)) >= 0)
        err = read_line(&in, text, (size_t)len);
    if (!err && !feof(file)) {
        err = AS_ERR_IO;
        snprintf(ret_error, ERROR_BYTES, "%s: %s", path, strerror(errno));
    }
    if (!err)
        err = check_required(&in);
    if (err == AS_ERR_NOMEM)
        snprintf(ret_error, ERROR_BYTES, "%s: %s", path, as_err_text(err));
    free(text);
    as_free(in.given);
    fclose(file);
    return err;
}
