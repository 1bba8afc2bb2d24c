/*
 * The arguments of both daemons: --config FILE, switches, other files, --help and --version.
 */
#ifndef ASSENT_UV_ARGUMENTS_H
#define ASSENT_UV_ARGUMENTS_H

#include "assent/base.h"

struct arguments_switch {
    const char *name;
    bool *given;       /* or: */
    const char **file; /* it names a file; stays as it is without it */
};

struct arguments {
    const char *program; /* as it calls itself */
    const char *help;    /* for --help */
    const char *version;
    const struct arguments_switch *switches; /* its own; may be NULL */
    size_t switch_count;
};

enum arguments_next {
    ARGUMENTS_RUN,   /* *ret_config is the file */
    ARGUMENTS_DONE,  /* help or version was printed: exit with 0 */
    ARGUMENTS_WRONG, /* stderr says what: exit with 2 */
};

enum arguments_next arguments_read(const struct arguments *arguments, int count, char **list,
                                   const char **ret_config) AS_MUSTCHECK;

#endif
