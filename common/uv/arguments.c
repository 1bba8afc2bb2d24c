/*
 * Fault model: a person or a unit file wrote them; what is not known is refused by name.
 */
#include "common/uv/arguments.h"

#include <stdio.h>
#include <string.h>

static enum arguments_next wrong(const struct arguments *arguments, const char *what,
                                 const char *why)
{
    fprintf(stderr, "%s: %s %s\nTry %s --help.\n", arguments->program, what, why,
            arguments->program);
    return ARGUMENTS_WRONG;
}

static bool read_switch(const struct arguments *arguments, const char *text)
{
    for (size_t i = 0; i < arguments->switch_count; i++) {
        const struct arguments_switch *one = &arguments->switches[i];

        if (one->given && strcmp(text, one->name) == 0)
            return *one->given = true;
    }
    return false;
}

/* Where the file that `text` asks for is to be put; *ret_value: it stands in the same argument; NULL: in the next one. */
static const char **read_file(const struct arguments *arguments, const char *text,
                              const char **ret_config, const char **ret_value)
{
    const struct arguments_switch config = {.name = "--config", .file = ret_config};

    for (size_t i = 0; i <= arguments->switch_count; i++) {
        const struct arguments_switch *one =
            i < arguments->switch_count ? &arguments->switches[i] : &config;
        size_t len = strlen(one->name);

        if (!one->file || strncmp(text, one->name, len) != 0 ||
            (text[len] != '\0' && text[len] != '='))
            continue;
        *ret_value = text[len] ? text + len + 1 : NULL;
        return one->file;
    }
    return NULL;
}

enum arguments_next arguments_read(const struct arguments *arguments, int count, char **list,
                                   const char **ret_config)
{
    *ret_config = NULL;
    for (int i = 1; i < count; i++) {
        const char *value, **file;

        if (strcmp(list[i], "--help") == 0 || strcmp(list[i], "-h") == 0) {
            fputs(arguments->help, stdout);
            return ARGUMENTS_DONE;
        }
        if (strcmp(list[i], "--version") == 0) {
            printf("%s %s\n", arguments->program, arguments->version);
            return ARGUMENTS_DONE;
        }
        if (read_switch(arguments, list[i]))
            continue;
        file = read_file(arguments, list[i], ret_config, &value);
        if (!file || (value && !*value))
            return wrong(arguments, list[i], "is no argument of it");
        if (!value && i + 1 == count)
            return wrong(arguments, list[i], "needs a file");
        *file = value ? value : list[++i];
    }
    return *ret_config ? ARGUMENTS_RUN : wrong(arguments, "--config FILE", "is needed");
}
