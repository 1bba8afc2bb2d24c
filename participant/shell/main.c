/*
 * assent-agent: serves PostgreSQL databases to the coordinator. Arguments in, exit code out.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "common/uv/arguments.h"
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
    "To nodes on other machines it needs TLS (assent certs --help, docs/security.md):\n"
    "\n"
    "  [tls]\n"
    "  ca = ca.pem\n"
    "  certificate = agent-bank_a.pem\n"
    "  key = agent-bank_a-key.pem\n"
    "\n"
    "SIGHUP reloads certificates and named operations. Log lines go to stderr. SIGTERM and SIGINT\n"
    "let what is executing end, a second one does not.\n"
    "Exit codes: 0 stopped when asked, 1 could not start, 2 wrong arguments or configuration.\n";

static int run(const struct settings *settings)
{
    struct shell *shell = NULL;
    char error[512], pid[32], count[32];
    as_err err;

    say_level_set((enum as_trace_level)settings->log_level);
    say_format_set((enum say_format)settings->log_format);
    say_origin_set("agent", settings->name);
    mallopt(M_ARENA_MAX, 1); /* only the loop's thread allocates */
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    snprintf(count, sizeof(count), "%" PRIu32, settings->participants.count);
    say(AS_TRACE_INFO, "starting", "version", AS_VERSION, "cluster", settings->cluster,
        "coordinators", settings->coordinators, "participants", count, "pid", pid, NULL);
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

static int check_files(const char *config, const struct settings *settings)
{
    struct tls_credentials *credentials;
    char error[512];

    if (settings_tls(settings, &credentials, error) != AS_OK) {
        fprintf(stderr, "assent-agent: %s\n", error);
        return EXIT_USAGE;
    }
    tls_credentials_release(credentials);
    printf("%s: good\n", config);
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    bool check = false;
    /* --check-config is what assentd calls it. */
    const struct arguments_switch switches[] = {{.name = "--check", .given = &check},
                                                {.name = "--check-config", .given = &check}};
    const struct arguments arguments = {"assent-agent", help, AS_VERSION, switches,
                                        AS_COUNT_OF(switches)};
    struct settings settings;
    const char *config;
    char error[512];
    int code;

    switch (arguments_read(&arguments, argc, argv, &config)) {
    case ARGUMENTS_DONE:
        return EXIT_FINE;
    case ARGUMENTS_WRONG:
        return EXIT_USAGE;
    case ARGUMENTS_RUN:
        break;
    }
    if (settings_read(config, &settings, error) != AS_OK) {
        fprintf(stderr, "assent-agent: %s\n", error);
        code = EXIT_USAGE;
    } else if (check) {
        code = check_files(config, &settings);
    } else {
        code = run(&settings);
    }
    settings_close(&settings);
    return code;
}
