/*
 * ./dev torture: a cluster of real processes on a network of their own is struck while money moves; see docs/torture.md.
 */
#include <curl/curl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "isolate.h"
#include "report.h"
#include "schedule.h"

#define SHORT_MINUTES 3.0 /* below it, strikes are brief */
#define EXIT_SKIPPED 77   /* CTest: SKIP_RETURN_CODE */

struct options {
    double minutes;
    uint64_t seed;
    const char *only;
    bool keep, list, tls;
};

static struct world world;

static const char usage[] =
    "Usage: torture [--minutes N] [--seed S] [--only NEMESIS[,...]] [--tls] [--list] [--keep]\n"
    "\n"
    "  --minutes N   how long (default 5, fractions allowed); from 40 on each nemesis must strike "
    "3 times\n"
    "  --seed S      the same order of strikes as an earlier run\n"
    "  --only N,...  these nemeses only\n"
    "  --tls         with TLS between all, and HTTPS\n"
    "  --list        name them and end\n"
    "  --keep        keep the directory with data, logs and history; it is kept anyway when a "
    "check fails\n"
    "\n"
    "Exit codes: 0 passed, 1 failed, 2 wrong usage, 77 this machine cannot (no root or no "
    "namespaces)\n";

static int options_read(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"minutes", required_argument, NULL, 'm'}, {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},    {"list", no_argument, NULL, 'l'},
        {"tls", no_argument, NULL, 't'},           {"keep", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    char *end = "";
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'm')
            options->minutes = strtod(optarg, &end);
        else if (option == 's')
            options->seed = strtoull(optarg, &end, 0);
        else if (option == 'o')
            options->only = optarg;
        else if (option == 'l')
            options->list = true;
        else if (option == 't')
            options->tls = true;
        else if (option == 'k')
            options->keep = true;
        else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
        if (*end || options->minutes <= 0) {
            fprintf(stderr, "torture: %s is no number for that\n", optarg);
            return 2;
        }
    }
    return -1;
}

static void on_signal(int number)
{
    (void)number;
    world.interrupted = true;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* --- A run --- */

static void dir_remove(void)
{
    (void)nftw(world.dir, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}

static bool dir_make(void)
{
    static const char *const parts[] = {"etc", "log", "run"};
    const char *base = getenv("TMPDIR");
    char path[200];

    (void)snprintf(world.dir, sizeof(world.dir), "%s/assent-torture-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(world.dir) || chmod(world.dir, 0755))
        return world_fail(&world, "cannot make a directory like %s", world.dir);
    for (size_t i = 0; i < AS_COUNT_OF(parts); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", world.dir, parts[i]);
        if (mkdir(path, 0755) || chmod(path, i == 2 ? 01777 : 0755))
            return world_fail(&world, "cannot make %s", path);
    }
    (void)snprintf(path, sizeof(path), "%s/history.txt", world.dir);
    world.history = history_open(path, world.seed);
    return world.history || world_fail(&world, "cannot write %s", path);
}

static bool history_is_well(void)
{
    char why[512];

    return history_linearizable(world.history, why, sizeof(why)) || world_fail(&world, "%s", why);
}

/* Events that nothing here may provoke. */
static bool logs_are_well(void)
{
    if (!world_run(&world,
                   "! grep -E 'event=(commit_without_effect|branch_orphaned|raft_emptied|"
                   "snapshot_damaged)' %s/log/node-*.log %s/log/agent-*.log",
                   world.dir, world.dir))
        return world_fail(&world, "an alarm: see the end of log/commands.log");
    return true;
}

static bool play(struct schedule *schedule, double minutes)
{
    int64_t until = world_now_ms() + (int64_t)(minutes * 60000);
    struct clients *clients = clients_start(&world);
    bool well = true;

    while (well && world_now_ms() < until)
        well = schedule_round(schedule, clients);
    well = well && clients_pause(&world, clients);
    clients_stop(clients);
    return well && schedule_check(schedule, 0) && history_is_well() && logs_are_well();
}

static bool run(const struct options *options, struct schedule *schedule)
{
    world_say("seed %" PRIu64 ", %g minutes%s, in %s", world.seed, options->minutes,
              world.tls ? ", with TLS" : "", world.dir);
    schedule_look(schedule);
    if (!cluster_make(&world) || !schedule_prepare(schedule) || !cluster_start(&world) ||
        !schedule_started(schedule))
        return false;
    world_say("the cluster works; clients begin");
    return play(schedule, options->minutes);
}

static int run_and_report(const struct options *options, struct schedule *schedule)
{
    bool passed = run(options, schedule), kept;

    if (world.interrupted)
        printf("torture: interrupted\n");
    processes_kill_all(&world);
    schedule_finish(schedule);
    passed = report(schedule, options->minutes, passed) && passed;
    history_close(world.history);
    kept = options->keep || !(passed || world.interrupted);
    if (kept)
        printf("torture: history.txt, logs and data are kept in %s\n", world.dir);
    else
        dir_remove();
    return passed ? 0 : 1;
}

static void signals_take(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int inner(void *ctx)
{
    const struct options *options = ctx;
    struct schedule schedule;

    signals_take();
    (void)curl_global_init(CURL_GLOBAL_ALL);
    (void)umask(022);
    (void)snprintf(world.bin, sizeof(world.bin), "%s", AS_TEST_BIN);
    world.seed = options->seed;
    world.tls = options->tls;
    world_clock_start();
    if (!schedule_init(&schedule, &world, options->only))
        return 2;
    schedule.is_short = options->minutes < SHORT_MINUTES;
    if (!dir_make())
        return 1;
    if (!bridge_make(&world)) {
        printf("torture: SKIPPED, nothing was tested: this machine makes no bridge, or has no ip "
               "(iproute2)\n");
        dir_remove();
        return EXIT_SKIPPED;
    }
    return run_and_report(options, &schedule);
}

static int list(void)
{
    for (size_t i = 0; i < nemesis_count; i++)
        printf("%-18s %s\n", nemeses[i]->name, nemeses[i]->about);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.minutes = 5};
    char why[160] = "";
    int status;

    if (getrandom(&options.seed, sizeof(options.seed), 0) < 0)
        options.seed = (uint64_t)getpid();
    options.seed %= 1000000; /* easy to type */
    status = options_read(&options, argc, argv);
    if (status >= 0)
        return status;
    if (options.list)
        return list();
    if (!isolate_possible(why, sizeof(why))) {
        printf("torture: SKIPPED, nothing was tested: %s\n", why);
        return EXIT_SKIPPED;
    }
    return isolate_run(inner, &options);
}
