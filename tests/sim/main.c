/*
 * assent_sim: many seeds in parallel processes, or one with its trace.
 *
 *   assent_sim --seeds N [--from S] [--kept FILE] [-j JOBS]     quietly
 *   assent_sim --seed N [-v]                                    told as it happens
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define JOBS_MAX 64
#define KEPT_MAX 4096
#define TWICE_EVERY 16 /* so many seeds: one of them is played twice */

struct totals {
    uint64_t seeds, events, replies, committed, crashes, faults, heuristic, resolved;
    uint64_t members, passed, horizons, unknown, handed_over;
    uint64_t acks[AS_ACK_RETRY + 1], struck[SIM_FAULT_COUNT];
};

/* Between the parent and its workers. */
struct shared {
    uint64_t next; /* position in the list of seeds */
    bool stop;
    struct sim_verdict verdicts[JOBS_MAX];
    struct totals totals[JOBS_MAX];
};

struct options {
    uint64_t from, count, one;
    bool single, tell;
    int verbose;
    unsigned jobs;
    uint64_t kept[KEPT_MAX];
    uint64_t kept_count;
};

static struct shared *shared;

static void add(struct totals *totals, const struct sim *sim)
{
    totals->seeds++;
    totals->events += sim->steps;
    totals->replies += sim->counts.replies;
    totals->committed += sim->counts.committed;
    totals->crashes += sim->counts.crashes;
    totals->faults += sim->counts.faults;
    totals->heuristic += sim->counts.heuristic;
    totals->resolved += sim->counts.resolved;
    totals->members += sim->counts.members;
    totals->passed += sim->counts.passed;
    totals->horizons += sim->counts.horizons;
    totals->unknown += sim->counts.unknown;
    totals->handed_over += sim->counts.handed_over;
    for (size_t i = 0; i < AS_COUNT_OF(totals->acks); i++)
        totals->acks[i] += sim->counts.acks[i];
    for (size_t i = 0; i < AS_COUNT_OF(totals->struck); i++)
        totals->struck[i] += sim->counts.struck[i];
}

static void run_one(struct sim *sim, uint64_t seed, int verbose, bool twice)
{
    uint64_t first = sim_run(sim, seed, verbose);

    if (twice && sim_run(sim, seed, 0) != first)
        sim_fail(sim, "determinism", "the same seed has played differently the second time");
}

/* --- Many --- */

static uint64_t seed_at(const struct options *options, uint64_t at)
{
    return at < options->kept_count ? options->kept[at]
                                    : options->from + (at - options->kept_count);
}

static _Noreturn void work(const struct options *options, unsigned worker)
{
    static struct sim sim;
    uint64_t all = options->kept_count + options->count;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never to go on alone */
    sim_verdict = &shared->verdicts[worker];
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        uint64_t at = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED), seed;

        if (at >= all)
            break;
        seed = seed_at(options, at);
        sim_verdict->seed = seed;
        run_one(&sim, seed, 0, seed % TWICE_EVERY == 0);
        add(&shared->totals[worker], &sim);
    }
    _exit(0);
}

static struct totals sum(unsigned jobs)
{
    struct totals sum = {0};

    for (unsigned i = 0; i < jobs; i++) {
        const uint64_t *from = (const uint64_t *)&shared->totals[i];

        for (size_t k = 0; k < sizeof sum / sizeof(uint64_t); k++)
            ((uint64_t *)&sum)[k] += from[k];
    }
    return sum;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void worker_ended(unsigned worker, int status)
{
    struct sim_verdict *verdict = &shared->verdicts[worker];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    __atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
    if (verdict->failed)
        return;
    verdict->failed = true;
    snprintf(verdict->rule, sizeof verdict->rule, "assertion");
    snprintf(verdict->message, sizeof verdict->message, "the process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void wait_for_all(const pid_t *pids, unsigned jobs, uint64_t all, bool terminal)
{
    unsigned left = jobs;
    double told = seconds();

    while (left > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        for (unsigned i = 0; pid > 0 && i < jobs; i++) {
            if (pids[i] == pid) {
                worker_ended(i, status);
                left--;
            }
        }
        if (pid == 0)
            usleep(20000);
        else if (pid < 0 && errno != EINTR)
            return;
        if (terminal && seconds() - told > 0.5) {
            told = seconds();
            fprintf(stderr, "\rsim: %llu of %llu seeds", (unsigned long long)sum(jobs).seeds,
                    (unsigned long long)all);
        }
    }
    if (terminal)
        fprintf(stderr, "\r");
}

static void tell_totals(const struct totals *totals)
{
    printf(
        "sim: acknowledgements: %llu committed, %llu aborted, %llu heuristic abort, %llu heuristic "
        "commit, %llu lost prepare, %llu unverified, %llu retry; %llu resolved\n",
        (unsigned long long)totals->acks[1], (unsigned long long)totals->acks[2],
        (unsigned long long)totals->acks[3], (unsigned long long)totals->acks[4],
        (unsigned long long)totals->acks[5], (unsigned long long)totals->acks[6],
        (unsigned long long)totals->acks[7], (unsigned long long)totals->resolved);
    printf("sim: %llu changes of members, %llu requests passed on, %llu horizons, %llu answers "
           "\"unknown\", %llu full disks at the end\n",
           (unsigned long long)totals->members, (unsigned long long)totals->passed,
           (unsigned long long)totals->horizons, (unsigned long long)totals->unknown,
           (unsigned long long)totals->handed_over);
    printf("sim: faults:");
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf(" %s %llu", sim_fault_name((enum sim_fault)i),
               (unsigned long long)totals->struck[i]);
    printf("\n");
}

static int report(const struct options *options, double took)
{
    const struct sim_verdict *worst = NULL;
    struct totals totals = sum(options->jobs);

    for (unsigned i = 0; i < options->jobs; i++) {
        const struct sim_verdict *verdict = &shared->verdicts[i];

        if (verdict->failed && (!worst || verdict->seed < worst->seed))
            worst = verdict;
    }
    if (options->tell)
        tell_totals(&totals);
    if (worst) {
        printf("sim: FAILED, seed %llu after %llu seeds: %s: %s\n", (unsigned long long)worst->seed,
               (unsigned long long)totals.seeds, worst->rule, worst->message);
        printf("sim: replay it with: ./dev sim --seed %llu\n", (unsigned long long)worst->seed);
        return 1;
    }
    printf("sim: %llu seeds in %.1f s (%.0f a minute): %llu commits, %llu answers, %llu crashes, "
           "%llu heuristic outcomes, %.1f M events; no rule broken\n",
           (unsigned long long)totals.seeds, took, (double)totals.seeds / took * 60,
           (unsigned long long)totals.committed, (unsigned long long)totals.replies,
           (unsigned long long)totals.crashes, (unsigned long long)totals.heuristic,
           (double)totals.events / 1e6);
    return 0;
}

static int run_many(const struct options *options)
{
    pid_t pids[JOBS_MAX];
    double began = seconds();

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    fflush(stdout);
    for (unsigned i = 0; i < options->jobs; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            work(options, i);
        if (pids[i] < 0) {
            perror("sim: fork");
            return 2;
        }
    }
    wait_for_all(pids, options->jobs, options->kept_count + options->count, isatty(2));
    return report(options, seconds() - began);
}

/* --- The command line --- */

/* A seed at the beginning of each line; the rest is for people. */
static void read_kept(struct options *options, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[512];

    if (!file) {
        fprintf(stderr, "sim: cannot read %s\n", path);
        exit(2);
    }
    while (options->kept_count < KEPT_MAX && fgets(line, sizeof line, file)) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);

        if (end != line)
            options->kept[options->kept_count++] = seed;
    }
    fclose(file);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: assent_sim --seeds N [--from S] [--kept FILE] [-j JOBS] [--tell]\n"
                    "       assent_sim --seed N [-v | -q]\n");
    exit(2);
}

static void read_options(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "-v") == 0) {
            options->verbose = 2;
        } else if (strcmp(argv[i], "-q") == 0) {
            options->verbose = 0;
        } else if (strcmp(argv[i], "--tell") == 0) {
            options->tell = true;
        } else if (!value) {
            usage();
        } else if (strcmp(argv[i], "--kept") == 0) {
            read_kept(options, argv[++i]);
        } else {
            uint64_t number = strtoull(argv[++i], NULL, 10);

            if (strcmp(argv[i - 1], "--seeds") == 0)
                options->count = number;
            else if (strcmp(argv[i - 1], "--from") == 0)
                options->from = number;
            else if (strcmp(argv[i - 1], "-j") == 0 && number >= 1 && number <= JOBS_MAX)
                options->jobs = (unsigned)number;
            else if (strcmp(argv[i - 1], "--seed") == 0)
                options->single = true, options->one = number;
            else
                usage();
        }
    }
}

int main(int argc, char **argv)
{
    static struct options options = {.from = 1, .jobs = 1, .verbose = 1};
    static struct sim sim;

    read_options(&options, argc, argv);
    if (!options.single && options.count + options.kept_count == 0)
        usage();
    if (!options.single)
        return run_many(&options);
    run_one(&sim, options.one, options.verbose, true);
    printf("sim: seed %llu: no rule broken\n", (unsigned long long)options.one);
    return 0;
}
