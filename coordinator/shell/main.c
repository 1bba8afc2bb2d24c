/*
 * assentd: one coordinator node. Arguments in, exit code out.
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "common/uv/arguments.h"
#include "common/uv/say.h"
#include "coordinator/shell/shell.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "assentd, a coordinator node of Assent\n"
    "\n"
    "  assentd --config FILE               run\n"
    "  assentd --config FILE --bootstrap   make a new cluster's data directory, then run\n"
    "  assentd --config FILE --join        the same for a node that a running cluster takes in\n"
    "  assentd --config FILE --restore BACKUP\n"
    "                                      the same for each node of a new cluster that goes on "
    "where a\n"
    "                                      backup ends (assent backup; docs/operations.md, "
    "\"Restore\")\n"
    "    --no-run                          only make it: a service manager starts the node\n"
    "  assentd --config FILE --check-config\n"
    "  assentd --help | --version\n"
    "\n"
    "The smallest FILE:\n"
    "\n"
    "  [node]\n"
    "  cluster = demo\n"
    "  data_dir = /var/lib/assent\n"
    "\n"
    "In each of three nodes of one cluster, with another id, too:\n"
    "\n"
    "  [cluster]\n"
    "  nodes = 1=10.0.0.1:7481, 2=10.0.0.2:7481, 3=10.0.0.3:7481\n"
    "  incarnation = 16 hex digits, drawn once: openssl rand -hex 8\n"
    "\n"
    "Databases are served by assent-agent; or, without another process, by assentd itself:\n"
    "\n"
    "  [participant.bank_a]\n"
    "  dsn = host=db1 dbname=bank user=assent\n"
    "\n"
    "To be reached from other machines it needs TLS (assent certs --help, docs/security.md):\n"
    "\n"
    "  [tls]\n"
    "  ca = ca.pem\n"
    "  certificate = node-1.pem\n"
    "  key = node-1-key.pem\n"
    "  [api]\n"
    "  tls = yes\n"
    "  tokens = tokens                     who may do what: assent token --help\n"
    "\n"
    "SIGHUP reloads certificates, tokens and named operations. Log lines go to stderr. SIGTERM\n"
    "and SIGINT let what is under way end, a second one does not.\n"
    "Exit codes: 0 stopped when asked, 1 could not start, 2 wrong arguments or configuration,\n"
    "70 the decision log failed: look at its disk before you start again.\n";

static int run(const struct settings *settings, const struct shell_origin *origin)
{
    struct shell *shell = NULL;
    char error[2048];
    as_err err;

    mallopt(M_ARENA_MAX, 1);  /* only the loop's thread allocates */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file size is a full disk, not a death */
    err = shell_open(&shell, settings, origin, error);
    if (err)
        say(AS_TRACE_ALARM, "cannot_start", "why", error, NULL);
    else
        shell_run(shell);
    shell_close(shell);
    if (!err)
        say(AS_TRACE_INFO, "stopped", NULL);
    return err ? EXIT_FAILED : EXIT_FINE;
}

/* What every line of this process has. */
static void prepare_log(const struct settings *settings)
{
    char node[24];

    say_level_set((enum as_trace_level)settings->log_level);
    say_format_set((enum say_format)settings->log_format);
    snprintf(node, sizeof(node), "%" PRIu64, settings->id);
    say_origin_set("node", node);
}

static int make(const struct settings *settings, const struct shell_origin *origin)
{
    char error[2048];

    if (shell_make(settings, origin, error) == AS_OK)
        return EXIT_FINE;
    say(AS_TRACE_ALARM, "cannot_make", "why", error, NULL);
    return EXIT_FAILED;
}

/* NULL: these go together. */
static const char *wrong_switches(bool bootstrap, bool join, bool restore, bool no_run)
{
    if (bootstrap + join + restore > 1)
        return "--bootstrap founds a cluster, --join enters one, --restore makes one of a backup: "
               "not both at once";
    if (no_run && !bootstrap && !join && !restore)
        return "--no-run is for a first start: with --bootstrap, --join or --restore";
    return NULL;
}

static int check_files(const char *config, const struct settings *settings)
{
    struct settings_identity identity;
    char error[512];

    if (settings_identity(settings, &identity, error) != AS_OK) {
        fprintf(stderr, "assentd: %s\n", error);
        return EXIT_USAGE;
    }
    settings_identity_close(&identity);
    printf("%s: good\n", config);
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    bool bootstrap = false, join = false, no_run = false, check_config = false;
    struct shell_origin origin = {0};
    const struct arguments_switch switches[] = {{.name = "--bootstrap", .given = &bootstrap},
                                                {.name = "--join", .given = &join},
                                                {.name = "--restore", .file = &origin.backup},
                                                {.name = "--no-run", .given = &no_run},
                                                {.name = "--check-config", .given = &check_config}};
    const struct arguments arguments = {"assentd", help, AS_VERSION, switches,
                                        AS_COUNT_OF(switches)};
    struct settings settings;
    const char *config, *wrong;
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
    wrong = wrong_switches(bootstrap, join, origin.backup != NULL, no_run);
    if (wrong) {
        fprintf(stderr, "assentd: %s\n", wrong);
        return EXIT_USAGE;
    }
    origin.start = bootstrap       ? SHELL_BOOTSTRAP
                   : join          ? SHELL_JOIN
                   : origin.backup ? SHELL_RESTORE
                                   : SHELL_START;
    if (settings_read(config, &settings, error) != AS_OK) {
        fprintf(stderr, "assentd: %s\n", error);
        code = EXIT_USAGE;
    } else if (check_config) {
        code = check_files(config, &settings);
    } else {
        prepare_log(&settings);
        code = no_run ? make(&settings, &origin) : run(&settings, &origin);
    }
    settings_close(&settings);
    return code;
}
