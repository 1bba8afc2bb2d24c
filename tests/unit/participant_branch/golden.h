/*
 * Golden scripts: a command a line, and behind each, indented by two spaces, what came of it. Lines
 * that begin with # and empty lines are for people. The whole text is made anew from the commands
 * and compared with the file; with ASSENT_GOLDEN_REWRITE=1 in the environment the file is written
 * instead, to be reviewed as a diff.
 */
#ifndef ASSENT_TEST_GOLDEN_H
#define ASSENT_TEST_GOLDEN_H

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_WORDS_MAX 24

struct golden {
    char *out; /* the text made anew */
    size_t len, cap;
    char *words[GOLDEN_WORDS_MAX]; /* of the command at hand */
    int count;
    int line;
    const char *file;
};

__attribute__((format(printf, 2, 3))) static inline void golden_put(struct golden *golden,
                                                                    const char *format, ...)
{
    char text[4096];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(len >= 0 && (size_t)len < sizeof text);
    if (golden->len + (size_t)len + 1 > golden->cap) {
        golden->cap = 2 * (golden->cap + (size_t)len + 1);
        golden->out = realloc(golden->out, golden->cap);
        assert_non_null(golden->out);
    }
    memcpy(golden->out + golden->len, text, (size_t)len + 1);
    golden->len += (size_t)len;
}

/* The word behind "name=", or NULL; for a bare word the word itself. */
static inline const char *golden_word(const struct golden *golden, const char *name)
{
    size_t len = strlen(name);

    for (int i = 1; i < golden->count; i++) {
        const char *word = golden->words[i];

        if (strncmp(word, name, len) == 0 && (word[len] == '=' || word[len] == '\0'))
            return word[len] == '=' ? word + len + 1 : word;
    }
    return NULL;
}

static inline uint64_t golden_number(const struct golden *golden, const char *name,
                                     uint64_t otherwise)
{
    const char *word = golden_word(golden, name);

    return word ? strtoull(word, NULL, 0) : otherwise;
}

static inline char *golden_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t cap = 1u << 20, len;
    char *text;

    if (!file)
        fail_msg("cannot open %s", path);
    text = malloc(cap);
    assert_non_null(text);
    len = fread(text, 1, cap - 1, file);
    assert_true(len < cap - 1);
    text[len] = '\0';
    fclose(file);
    return text;
}

static inline void golden_compare(struct golden *golden, const char *path, const char *wanted)
{
    size_t i = 0;
    int line = 1;
    FILE *file;

    if (getenv("ASSENT_GOLDEN_REWRITE")) {
        file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(golden->out, 1, golden->len, file), golden->len);
        fclose(file);
        return;
    }
    while (golden->out[i] && golden->out[i] == wanted[i])
        line += golden->out[i++] == '\n';
    if (golden->out[i] != wanted[i]) {
        while (i > 0 && golden->out[i - 1] != '\n')
            i--;
        fail_msg("%s:%d differs\nwanted: %.200s\ngot:    %.200s", path, line, wanted + i,
                 golden->out + i);
    }
}

/* `command` runs golden->words and puts what came of it. */
static inline void golden_run(const char *path, void (*command)(void *ctx, struct golden *golden),
                              void *ctx)
{
    struct golden golden = {.file = path};
    char *wanted = golden_read(path);
    char *script = strdup(wanted);
    char *rest = script, *line;

    assert_non_null(script);
    golden_put(&golden, "%s", "");
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *word;

        golden.line++;
        if (line[0] == ' ' || (rest == NULL && line[0] == '\0'))
            continue;
        golden_put(&golden, "%s\n", line);
        if (line[0] == '#' || line[0] == '\0')
            continue;
        golden.count = 0;
        while ((word = strsep(&line, " ")) != NULL) {
            assert_true(golden.count < GOLDEN_WORDS_MAX);
            if (*word)
                golden.words[golden.count++] = word;
        }
        command(ctx, &golden);
    }
    golden_compare(&golden, path, wanted);
    free(golden.out);
    free(script);
    free(wanted);
}

/* The position of `text` among names; fails the test if it is none. */
static inline int golden_choice(const struct golden *golden, const char *text,
                                const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (names[i] && strcmp(names[i], text) == 0)
            return i;
    }
    fail_msg("%s:%d: no such word: %s", golden->file, golden->line, text);
    return 0;
}

#endif
