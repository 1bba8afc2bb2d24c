/*
 * assentd: one coordinator node. Arguments in, exit code out.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/uv/say.h"
#include "coordinator/shell/shell.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "assentd, a coordinator node of Assent\n"
    "\n"
    "  assentd --config FILE               run\n"
    "  assentd --config FILE --bootstrap   make a new cluster's data directory, then run\n"
    "  assentd --config FILE --check-config\n"
    "  assentd --help | --version\n"
    "\n"
    "The smallest FILE:\n"
    "\n"
    "  [node]\n"
    "  cluster = demo\n"
    "  data_dir = /var/lib/assent\n"
    "\n"
    "Log lines go to stderr. SIGTERM and SIGINT let what is under way end, a second one does not.\n"
    "Exit codes: 0 stopped when asked, 1 could not start, 2 wrong arguments or configuration,\n"
    "70 the decision log failed: look at its disk before you start again.\n";

struct arguments {
    const char *config;
    bool bootstrap, check_config, help, version;
};

static bool arguments_read(int count, char **list, struct arguments *ret)
{
    struct {
        const char *name;
        bool *given;
    } switches[] = {{"--bootstrap", &ret->bootstrap},
                    {"--check-config", &ret->check_config},
                    {"--help", &ret->help},
                    {"-h", &ret->help},
                    {"--version", &ret->version}};

    for (int i = 1; i < count; i++) {
        bool known = false;

        for (size_t j = 0; j < AS_COUNT_OF(switches); j++) {
            if (strcmp(list[i], switches[j].name) == 0)
                *switches[j].given = known = true;
        }
        if (known)
            continue;
        if (strcmp(list[i], "--config") == 0 && i + 1 < count) {
            ret->config = list[++i];
        } else if (strncmp(list[i], "--config=", 9) == 0 && list[i][9]) {
            ret->config = list[i] + 9;
        } else {
            fprintf(stderr, "assentd: %s: %s\nTry assentd --help.\n", list[i],
                    strcmp(list[i], "--config") == 0 ? "needs a file" : "no such argument");
            return false;
        }
    }
    return true;
}

static int run(const struct settings *settings, bool bootstrap)
{
    struct shell *shell = NULL;
    char error[2048];
    as_err err;

    say_level_set((enum as_trace_level)settings->log_level);
    mallopt(M_ARENA_MAX, 1);  /* only the loop's thread allocates */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file size is a full disk, not a death */
    err = shell_open(&shell, settings, bootstrap, error);
    if (err)
        say(AS_TRACE_ALARM, "cannot_start", "why", error, NULL);
    else
        shell_run(shell);
    shell_close(shell);
    if (!err)
        say(AS_TRACE_INFO, "stopped", NULL);
    return err ? EXIT_FAILED : EXIT_FINE;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct settings settings;
    char error[512];

    if (!arguments_read(argc, argv, &arguments))
        return EXIT_USAGE;
    if (arguments.help || arguments.version) {
        if (arguments.help)
            fputs(help, stdout);
        else
            puts("assentd " AS_VERSION);
        return EXIT_FINE;
    }
    if (!arguments.config) {
        fputs("assentd: --config FILE is needed\nTry assentd --help.\n", stderr);
        return EXIT_USAGE;
    }
    if (settings_read(arguments.config, &settings, error) != AS_OK) {
        fprintf(stderr, "assentd: %s\n", error);
        return EXIT_USAGE;
    }
    if (arguments.check_config) {
        printf("%s: good\n", arguments.config);
        return EXIT_FINE;
    }
    return run(&settings, arguments.bootstrap);
}
