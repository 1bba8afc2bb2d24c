/*
 * assent-agent: serves PostgreSQL databases to the coordinator. Arguments in, exit code out.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/uv/say.h"
#include "participant/shell/shell.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "assent-agent, serves PostgreSQL databases to an Assent coordinator\n"
    "\n"
    "  assent-agent --config FILE          run\n"
    "  assent-agent --config FILE --check  read the file, say what is wrong with it\n"
    "  assent-agent --help | --version\n"
    "\n"
    "The smallest FILE:\n"
    "\n"
    "  [agent]\n"
    "  cluster = demo\n"
    "  coordinators = 127.0.0.1:7481\n"
    "\n"
    "  [participant.bank_a]\n"
    "  dsn = host=db1 dbname=bank user=assent\n"
    "\n"
    "Log lines go to stderr. SIGTERM and SIGINT let what is executing end, a second one does not.\n"
    "Exit codes: 0 stopped when asked, 1 could not start, 2 wrong arguments or configuration.\n";

struct arguments {
    const char *config;
    bool check, help, version;
};

static bool arguments_read(int count, char **list, struct arguments *ret)
{
    struct {
        const char *name;
        bool *given;
    } switches[] = {{"--check", &ret->check},
                    {"--check-config", &ret->check}, /* as assentd names it */
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
            fprintf(stderr, "assent-agent: %s: %s\nTry assent-agent --help.\n", list[i],
                    strcmp(list[i], "--config") == 0 ? "needs a file" : "no such argument");
            return false;
        }
    }
    return true;
}

static int run(const struct settings *settings)
{
    struct shell *shell = NULL;
    char error[512], pid[32], count[32];
    as_err err;

    say_level_set((enum as_trace_level)settings->log_level);
    mallopt(M_ARENA_MAX, 1); /* only the loop's thread allocates */
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    snprintf(count, sizeof(count), "%" PRIu32, settings->participant_count);
    say(AS_TRACE_INFO, "starting", "version", AS_VERSION, "cluster", settings->cluster, "name",
        settings->name, "coordinators", settings->coordinators, "participants", count, "pid", pid,
        NULL);
    err = shell_open(&shell, settings, error);
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
    struct settings settings = {0};
    char error[512];
    int code;

    if (!arguments_read(argc, argv, &arguments))
        return EXIT_USAGE;
    if (arguments.help || arguments.version) {
        if (arguments.help)
            fputs(help, stdout);
        else
            puts("assent-agent " AS_VERSION);
        return EXIT_FINE;
    }
    if (!arguments.config) {
        fputs("assent-agent: --config FILE is needed\nTry assent-agent --help.\n", stderr);
        return EXIT_USAGE;
    }
    if (settings_read(arguments.config, &settings, error) != AS_OK) {
        fprintf(stderr, "assent-agent: %s\n", error);
        code = EXIT_USAGE;
    } else if (arguments.check) {
        printf("%s: good\n", arguments.config);
        code = EXIT_FINE;
    } else {
        code = run(&settings);
    }
    settings_close(&settings);
    return code;
}
