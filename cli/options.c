/*
 * The option parser: long options only, `--name value` or `--name=value`; `--` ends them.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rest.h"

static const char usual_exits[] = "  0  done\n"
                                  "  1  it failed, or the answer is no\n"
                                  "  2  wrong command line\n"
                                  "  3  no coordinator answers there\n";

static const char *token_file; /* NULL: not given */
static const struct option token_option = {
    OPTION_TEXT, "token-file", "FILE", "holds a token to show ($ASSENT_TOKEN)", &token_file, 0, 0};

/* Whoever talks to a node may have to say who it is. */
static bool takes_token(const struct command *command)
{
    for (size_t i = 0; i < command->option_count; i++)
        if (strcmp(command->options[i].name, "api") == 0)
            return true;
    return false;
}

static void print_option(const struct option *option)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "--%s%s%s", option->name, option->value ? " " : "",
                   option->value ? option->value : "");
    printf("  %-20s %s\n", left, option->help);
}

static void print_help(const struct command *command)
{
    printf("Usage: assent %s [options]%s%s\n\n%s\n\nOptions:\n", command->name,
           command->usage ? " " : "", command->usage ? command->usage : "", command->about);
    for (size_t i = 0; i < command->option_count; i++)
        print_option(&command->options[i]);
    if (takes_token(command))
        print_option(&token_option);
    printf("  %-20s %s\n\nExit codes:\n%s", "--help", "this text",
           command->exits ? command->exits : usual_exits);
}

static bool usage_error(const struct command *command, const char *what, const char *which)
{
    complain("%s: %s%s%s (see `assent %s --help`)", command->name, what, which ? " " : "",
             which ? which : "", command->name);
    return false;
}

static const struct option *option_find(const struct command *command, const char *name, size_t len)
{
    for (size_t i = 0; i < command->option_count; i++)
        if (strlen(command->options[i].name) == len &&
            memcmp(command->options[i].name, name, len) == 0)
            return &command->options[i];
    if (takes_token(command) && strlen(token_option.name) == len &&
        memcmp(token_option.name, name, len) == 0)
        return &token_option;
    return NULL;
}

static bool number_set(const struct command *command, const struct option *option,
                       const char *value)
{
    unsigned long long number;
    char *end;
    char range[160];

    errno = 0;
    number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end || errno || number < option->min ||
        number > option->max) {
        (void)snprintf(range, sizeof(range), "must be a number from %llu to %llu",
                       (unsigned long long)option->min, (unsigned long long)option->max);
        return usage_error(command, option->name, range);
    }
    *(uint64_t *)option->target = number;
    return true;
}

static bool option_set(const struct command *command, const struct option *option,
                       const char *value)
{
    struct option_list *list = option->target;

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->target = true;
        return true;
    case OPTION_NUMBER:
        return number_set(command, option, value);
    case OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case OPTION_LIST:
        if (list->count == OPTION_LIST_MAX)
            return usage_error(command, "too many of --", option->name);
        list->items[list->count++] = value;
        return true;
    }
    return false;
}

/* Takes the option at argv[*at], and its value if it stands apart. */
static bool option_take(const struct command *command, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    const struct option *option =
        option_find(command, name, equals ? (size_t)(equals - name) : strlen(name));
    const char *value = equals ? equals + 1 : NULL;

    if (!option)
        return usage_error(command, "unknown option", argv[*at]);
    if (option->kind == OPTION_FLAG && value)
        return usage_error(command, "takes no value:", argv[*at]);
    if (option->kind != OPTION_FLAG && !value) {
        if (*at + 1 == argc)
            return usage_error(command, "needs a value:", argv[*at]);
        value = argv[++*at];
    }
    return option_set(command, option, value);
}

bool options_parse(const struct command *command, int argc, char **argv, const char **words,
                   size_t *ret_count, int *ret_exit)
{
    size_t count = 0;
    bool options_over = false;

    for (int i = 1; i < argc; i++) {
        if (!options_over && strcmp(argv[i], "--help") == 0) {
            print_help(command);
            *ret_exit = CLI_OK;
            return false;
        }
    }
    *ret_exit = CLI_USAGE;
    for (int i = 1; i < argc; i++) {
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (!options_over && argv[i][0] == '-' && argv[i][1]) {
            if (argv[i][1] != '-')
                return usage_error(command, "unknown option", argv[i]);
            if (!option_take(command, argc, argv, &i))
                return false;
        } else {
            if (count == command->words_max)
                return usage_error(command, "unexpected argument", argv[i]);
            words[count++] = argv[i];
        }
    }
    if (count < command->words_min)
        return usage_error(command, "missing argument:", command->usage);
    if (ret_count)
        *ret_count = count;
    return !token_file || rest_token_file(token_file);
}

const char *options_api(const char *given)
{
    const char *from_environment = getenv("ASSENT_API");

    if (given)
        return given;
    return from_environment && *from_environment ? from_environment : "http://127.0.0.1:7480";
}
