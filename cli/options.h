/*
 * Command lines: a table of options for each command, of which --help is made too. Anything the
 * table does not name is an error (exit 2), so that a typo never changes what is done.
 */
#ifndef ASSENT_CLI_OPTIONS_H
#define ASSENT_CLI_OPTIONS_H

#include "cli/cli.h"

#define OPTION_LIST_MAX 32

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_NUMBER, /* uint64_t within min..max */
    OPTION_TEXT,   /* const char * */
    OPTION_LIST,   /* struct option_list: may be given again */
};

struct option_list {
    size_t count;
    const char *items[OPTION_LIST_MAX];
};

struct option {
    enum option_kind kind;
    const char *name;  /* without the dashes */
    const char *value; /* its placeholder in the help; NULL for a flag */
    const char *help;
    void *target;
    uint64_t min, max;
};

struct command {
    const char *name;  /* "txn show" */
    const char *usage; /* arguments after the options: "ID"; NULL: none */
    const char *about; /* a few lines */
    const char *exits; /* NULL: the usual list */
    const struct option *options;
    size_t option_count;
    size_t words_min, words_max; /* arguments that are not options */
};

/*
 * A command with --api takes --token-file, too. Fills the targets and moves the other arguments to words[0..count), at most words_max of them.
 * True: go on; false: leave with *ret_exit (--help was printed, or the error was).
 */
bool options_parse(const struct command *command, int argc, char **argv, const char **words,
                   size_t *ret_count, int *ret_exit);

/* --api, else $ASSENT_API, else the usual address of a coordinator. A list of nodes with commas. */
#define OPTIONS_API_HELP                                                                           \
    "of a node, or of several with commas ($ASSENT_API, else http://127.0.0.1:7480); for https:\n" \
    "                       $ASSENT_CA, and $ASSENT_CERTIFICATE with $ASSENT_KEY to show one"
const char *options_api(const char *given);

#endif
