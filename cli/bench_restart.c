/*
 * A node with a large table: how long it takes from its start to its first "ready", and what the
 * writing of a snapshot costs those who wait for an answer meanwhile. The table is made by the
 * decision log itself (tests/bench/bench_node.c) and holds a million outcomes and a hundred
 * thousand transactions that are committed and not finished, of participants that nobody serves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/bench.h"
#include "cli/rest.h"
#include "cli/sandbox.h"

#define FILL_MAX_S 300
#define RESTARTS 5
#define CLIENTS 32
#define ASK_MS 5000
#define KEPT_MAX "8000000" /* outcomes: more than all runs make within retention_ms */
#define SNAPSHOTS 1
#define PLAIN_RUNS_MAX 4
#define SNAPSHOT_RUNS_MAX 60 /* each of --seconds, until so many came */

struct large {
    struct sandbox *sandbox;
    struct bench_table table;
    uint64_t seconds, warmup;
};

/* --- Restart --- */

/* From fork to ready, as a supervisor would see it; negative: it was complained about. */
static double restart(struct sandbox *sandbox)
{
    struct node *node = &sandbox->nodes[0];
    as_time begin;

    if (node->process.alive && !process_kill_tree(sandbox->loop, &node->process)) {
        complain("bench: the node survived kill -9");
        return -1;
    }
    begin = clock_now();
    if (node_restart(sandbox, node, NULL))
        return (double)(clock_now() - begin) / 1e9;
    complain("bench: %s", sandbox->error);
    process_log_tail(&node->process);
    return -1;
}

static bool measure_restart(struct large *large, cJSON *result, cJSON *raw)
{
    double seconds[RESTARTS];
    cJSON *all = cJSON_AddArrayToObject(raw, "restart_s");

    for (int i = 0; i < RESTARTS; i++) {
        char text[32];

        seconds[i] = restart(large->sandbox);
        if (seconds[i] < 0)
            return false;
        (void)text_format(text, sizeof(text), "%.3f", seconds[i]);
        cJSON_AddItemToArray(all, cJSON_CreateRaw(text));
        fprintf(stderr, "killed and started again: ready after %s s\n", text);
    }
    bench_add(result, "restart_s", 3, bench_median(seconds, RESTARTS));
    return true;
}

/* --- Snapshots --- */

static double metric(const struct sandbox *sandbox, const char *name)
{
    char line[128], error[256];
    struct rest_reply reply;
    const char *at;
    double value = -1;

    if (!rest_call(sandbox->nodes[0].api, "/metrics", NULL, ASK_MS, &reply, error))
        return -1;
    (void)text_format(line, sizeof(line), "\n%s ", name);
    at = strstr(reply.body, line);
    if (at)
        value = strtod(at + strlen(line), NULL);
    rest_reply_close(&reply);
    return value;
}

static bool warm_up(const struct large *large)
{
    struct bench_figures figures;
    struct bench_run load = {.clients = CLIENTS,
                             .accounts = 1000,
                             .seconds = large->warmup,
                             .api = large->sandbox->nodes[0].api};

    return large->warmup == 0 ||
           (getrandom(&load.seed, sizeof(load.seed), 0) == sizeof(load.seed) &&
            bench_carry_out(large->sandbox->loop, &load, bench_http_thread, "warm", "", &figures));
}

/* So that no snapshot is taken, or the usual ones; behind the two settings that bench_restart makes. The
 * node starts again. */
static bool configure(const struct large *large, const char *setting)
{
    struct sandbox *sandbox = large->sandbox;
    char error[512];

    sandbox->options.settings.items[2] = setting;
    sandbox->options.settings.count = setting ? 3 : 2;
    if (sandbox_write_configs(sandbox) && sandbox_restart(sandbox, "node-1", NULL, error))
        return warm_up(large);
    complain("bench: %s", sandbox->error[0] ? sandbox->error : error);
    return false;
}

/* The metrics are read at both ends, so it has no warmup. */
static bool run(struct large *large, const char *what, double *ret_max_ms, double *ret_snapshots,
                cJSON *raw)
{
    struct bench_figures figures;
    struct bench_run load = {.clients = CLIENTS,
                             .accounts = 1000,
                             .seconds = large->seconds,
                             .api = large->sandbox->nodes[0].api};
    double before = metric(large->sandbox, "assent_log_snapshots_total"), after;

    if (getrandom(&load.seed, sizeof(load.seed), 0) != sizeof(load.seed) ||
        !bench_carry_out(large->sandbox->loop, &load, bench_http_thread, what, "", &figures))
        return false;
    after = metric(large->sandbox, "assent_log_snapshots_total");
    if (before < 0 || after < 0 || figures.errors > 0) {
        complain("bench: the run with %s failed", what);
        return false;
    }
    *ret_snapshots += after - before;
    if (figures.max_us / 1e3 > *ret_max_ms)
        *ret_max_ms = figures.max_us / 1e3;
    cJSON_AddItemToArray(raw, bench_figures_json(&figures));
    return true;
}

/* The log must grow by as much as the last snapshot holds, which takes a slow machine long; without
 * snapshots a few runs do. */
static bool measure_snapshot(struct large *large, cJSON *result, cJSON *raw)
{
    double without = 0, with = 0, none = 0, snapshots = 0;
    cJSON *runs = cJSON_AddArrayToObject(raw, "runs");
    int count = 0;

    if (!configure(large, NULL))
        return false;
    for (; count < SNAPSHOT_RUNS_MAX && snapshots < SNAPSHOTS; count++)
        if (!run(large, "snap", &with, &snapshots, runs))
            return false;
    if (!configure(large, "log.snapshot_kib=262144"))
        return false;
    count = count < PLAIN_RUNS_MAX ? count : PLAIN_RUNS_MAX;
    for (; count > 0; count--)
        if (!run(large, "none", &without, &none, runs))
            return false;
    if (snapshots < SNAPSHOTS || none > 0) {
        complain("bench: %s", none > 0 ? "there was a snapshot where none was wanted"
                                       : "hardly a snapshot was written: ask for more --seconds");
        return false;
    }
    fprintf(stderr,
            "%.0f snapshots under load: the longest request took %.1f ms; without any, %.1f ms\n",
            snapshots, with, without);
    bench_add(result, "snapshot_max_ms", 1, with);
    bench_add(raw, "without_snapshot_max_ms", 1, without);
    bench_add(raw, "snapshots", 0, snapshots);
    return true;
}

/* --- Both --- */

static bool fill(struct large *large, cJSON *raw)
{
    struct sandbox *sandbox = large->sandbox;
    cJSON *steps = bench_steps(sandbox, FILL_MAX_S);

    if (!steps)
        return false;
    cJSON_AddItemToObject(raw, "fill", steps);
    sandbox->options.node_program = NULL;
    sandbox->options.node_env.count = 0;
    return true;
}

bool bench_restart(struct loop *loop, const struct bench_table *table, uint64_t seconds,
                   uint64_t warmup, cJSON *result)
{
    static struct sandbox sandbox;
    char environment[256];
    struct sandbox_options options = {
        .databases = 2,
        .null = true,
        .quiet = true,
        .node_program = "assent-bench-node",
        .node_env = {1, {environment}},
        .settings = {2, {"log.segment_kib=65536", "limits.outcomes_max=" KEPT_MAX}}};
    struct large large = {&sandbox, *table, seconds, warmup};
    cJSON *raw = cJSON_AddObjectToObject(result, "restart_raw");
    bool well;

    (void)text_format(environment, sizeof(environment), "ASSENT_BENCH_PLAN=fill:%llu:%llu",
                      (unsigned long long)table->finished, (unsigned long long)table->unfinished);
    if (!sandbox_start(&sandbox, loop, &options))
        return false;
    well = fill(&large, raw) && measure_restart(&large, result, raw) &&
           measure_snapshot(&large, result, raw);
    sandbox_stop(&sandbox);
    return well;
}
