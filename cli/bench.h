/*
 * assent bench: the same two-database transfer through Assent and by bare two-phase commit,
 * measured alike.
 *
 * A run warms up, then counts for a while; what completes within that window is a sample. Every run
 * starts from a checkpoint and a vacuumed table, and ends with all its transfers finished.
 */
#ifndef ASSENT_CLI_BENCH_H
#define ASSENT_CLI_BENCH_H

#include <cjson/cJSON.h>
#include <stdatomic.h>

#include "cli/loop.h"

#define BENCH_ROUNDS_MAX 1000 /* and tries of --cluster */
/* No transfer may ever be refused for want of money. */
#define BENCH_BALANCE UINT64_C(1000000000)

/* What was measured in the window of one run. */
struct bench_samples {
    uint32_t *latency_ns; /* of each success, as it came */
    size_t count, cap;
    uint64_t max_ns;
    uint64_t errors;
    char first_error[300];
    as_time from, until;
};

struct bench_figures {
    const char *what; /* "assent", "bare", "null" */
    uint64_t clients;
    double seconds, tps;
    uint64_t transactions, errors;
    double p50_us, p90_us, p99_us, p99_9_us, max_us;
};

/* One run, carried out in a thread of its own by bench_http_thread or bench_bare_thread. */
struct bench_run {
    uint64_t clients, accounts;
    uint64_t seconds, warmup;
    const char *api;    /* bench_http */
    const char *dsn[2]; /* bench_bare */
    uint64_t seed;
    atomic_bool stop; /* asked to end early */
    atomic_bool ended;
    bool failed; /* could not be carried out; it was complained about */
    struct bench_samples samples;
};

void bench_http_thread(void *run);
void bench_bare_thread(void *run);

/* Runs it in a thread, while the loop looks after our processes, and prints its line. False:
 * interrupted, or it was complained about. */
bool bench_carry_out(struct loop *loop, struct bench_run *run, void (*work)(void *run),
                     const char *what, const char *round, struct bench_figures *ret_figures);

/* Counted only within the window. */
void bench_sample(struct bench_samples *samples, as_time begin, as_time end);
void bench_error(struct bench_samples *samples, as_time at, const char *what);
void bench_window_open(struct bench_run *run);
/* True when clients are to start nothing more. */
bool bench_window_over(const struct bench_run *run, as_time now);
/* Sorts the samples; they are gone afterwards. */
void bench_figures(const char *what, struct bench_run *run, struct bench_figures *ret);

struct sandbox;
/*
 * From the leader's end to the next commit, so many times, idle but for the client that asks: killed
 * (failover_median_s, failover_max_s), and silent (partition_median_s, partition_max_s). False: it could not be measured, and was complained about.
 */
bool bench_failover(struct sandbox *sandbox, uint64_t tries, cJSON *result);

/*
 * The replicated log alone: log_3n_1_sync_ratio, log_3n_256_per_s, log_3n_256_max_ms,
 * log_1n_sync_ratio. False: complained about.
 */
bool bench_log(struct loop *loop, uint64_t seconds, uint64_t warmup, cJSON *result);
/* Outcomes that a node holds: finished, and committed but not finished. */
struct bench_table {
    uint64_t finished, unfinished;
};
/* A node with such a table: restart_s, snapshot_max_ms. False: complained about. */
bool bench_restart(struct loop *loop, const struct bench_table *table, uint64_t seconds,
                   uint64_t warmup, cJSON *result);
/* What a sandbox of assent-bench-node has measured, a step each; waits for it. NULL: complained
 * about. */
cJSON *bench_steps(struct sandbox *sandbox, uint64_t seconds);
const cJSON *bench_step(const cJSON *steps, const char *name);
double bench_number(const cJSON *object, const char *key);
void bench_add(cJSON *result, const char *key, int decimals, double value);

cJSON *bench_figures_json(const struct bench_figures *figures);
void bench_figures_line(const struct bench_figures *figures, const char *round);
double bench_median(const double *values, size_t count);

#endif
