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
        if (strcmp(text, arguments->switches[i].name) == 0)
            return *arguments->switches[i].given = true;
    }
    return false;
}

enum arguments_next arguments_read(const struct arguments *arguments, int count, char **list,
                                   const char **ret_config)
{
    *ret_config = NULL;
    for (int i = 1; i < count; i++) {
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
        if (strcmp(list[i], "--config") == 0 && i + 1 < count)
            *ret_config = list[++i];
        else if (strcmp(list[i], "--config") == 0)
            return wrong(arguments, list[i], "needs a file");
        else if (strncmp(list[i], "--config=", 9) == 0 && list[i][9])
            *ret_config = list[i] + 9;
        else
            return wrong(arguments, list[i], "is no argument of it");
    }
    return *ret_config ? ARGUMENTS_RUN : wrong(arguments, "--config FILE", "is needed");
}
