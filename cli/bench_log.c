/*
 * The replicated log by itself: decisions per second, and how long one takes, through three
 * processes and one disk. The load is inside the node that leads (tests/bench/bench_node.c, which
 * is assentd with a driver), so nothing but the log is measured.
 */
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/sandbox.h"

#define LINE_MAX_BYTES 1024
#define SLACK_MS 60000
#define FLIGHT 256

static const char mark[] = "BENCH ";

/* --- What a node of ours has said --- */

/* The steps that stand in this log file; true: it has said that it is done. */
static bool steps_read(const char *path, cJSON *steps)
{
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "re");
    bool done = false;

    while (file && fgets(line, sizeof(line), file)) {
        cJSON *step = strncmp(line, mark, strlen(mark)) == 0 && strchr(line, '\n')
                          ? cJSON_Parse(line + strlen(mark))
                          : NULL;

        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(step, "done")))
            done = true;
        else if (step && steps)
            cJSON_AddItemToArray(steps, cJSON_Duplicate(step, true));
        cJSON_Delete(step);
    }
    if (file)
        (void)fclose(file);
    return done;
}

static bool some_node_is_done(void *ctx)
{
    const struct sandbox *sandbox = ctx;

    for (size_t i = 0; i < sandbox->node_count; i++)
        if (!sandbox->nodes[i].process.alive ||
            steps_read(sandbox->nodes[i].process.log_path, NULL))
            return true;
    return false;
}

cJSON *bench_steps(struct sandbox *sandbox, uint64_t seconds)
{
    enum loop_end end =
        loop_wait(sandbox->loop, some_node_is_done, sandbox, seconds * 1000 + SLACK_MS, 100);
    cJSON *steps = cJSON_CreateArray();

    for (size_t i = 0; i < sandbox->node_count && end == LOOP_MET; i++)
        if (steps_read(sandbox->nodes[i].process.log_path, steps))
            return steps;
    cJSON_Delete(steps);
    complain("bench: %s",
             end == LOOP_INTERRUPTED ? "interrupted" : "the nodes did not end the run");
    for (size_t i = 0; i < sandbox->node_count; i++)
        process_log_tail(&sandbox->nodes[i].process);
    return NULL;
}

const cJSON *bench_step(const cJSON *steps, const char *name)
{
    const cJSON *step;

    cJSON_ArrayForEach(step, steps)
    {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, "step"));

        if (text && strcmp(text, name) == 0)
            return step;
    }
    return NULL;
}

double bench_number(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

void bench_add(cJSON *result, const char *key, int decimals, double value)
{
    char text[32];

    (void)text_format(text, sizeof(text), "%.*f", decimals, value);
    cJSON_AddRawToObject(result, key, text);
}

/* --- The runs --- */

/* NULL: it was complained about. The settings are the usual ones of assentd, but for the election
 * timeouts: a run during which leadership changes is worth nothing. */
static cJSON *run_nodes(struct loop *loop, uint64_t nodes, const char *plan, uint64_t seconds)
{
    static struct sandbox sandbox;
    char environment[256];
    struct sandbox_options options = {
        .nodes = nodes,
        .null = true,
        .quiet = true,
        .node_program = "assent-bench-node",
        .node_env = {1, {environment}},
        .settings = {4,
                     {"log.segment_kib=65536", "limits.outcomes_max=4000000",
                      "cluster.election_min_ms=1000", "cluster.election_max_ms=2000"}}};
    cJSON *steps;

    (void)text_format(environment, sizeof(environment), "ASSENT_BENCH_PLAN=%s", plan);
    if (!sandbox_start(&sandbox, loop, &options))
        return NULL;
    steps = bench_steps(&sandbox, seconds);
    sandbox_stop(&sandbox);
    return steps;
}

static void one_line(const char *nodes, const cJSON *one, cJSON *result, const char *key)
{
    double bare = bench_number(one, "bare_p50_us"), own = bench_number(one, "p50_us");

    fprintf(stderr,
            "%s, one decision at a time: median %.0f us, p99 %.0f us; a bare 4 KiB overwrite and "
            "sync: %.0f us; ratio %.2f\n",
            nodes, own, bench_number(one, "p99_us"), bare, bare > 0 ? own / bare : 0);
    bench_add(result, key, 2, bare > 0 ? own / bare : 0);
}

static void many_line(const cJSON *many, cJSON *result)
{
    fprintf(stderr,
            "three nodes, %d in flight: %.0f decisions/s; from proposed to applied: median %.0f "
            "us, longest %.1f ms; longest silence %.1f ms\n",
            FLIGHT, bench_number(many, "per_s"), bench_number(many, "p50_us"),
            bench_number(many, "max_ms"), bench_number(many, "longest_silence_ms"));
    bench_add(result, "log_3n_256_per_s", 0, bench_number(many, "per_s"));
    bench_add(result, "log_3n_256_max_ms", 1, bench_number(many, "max_ms"));
}

bool bench_log(struct loop *loop, uint64_t seconds, uint64_t warmup, cJSON *result)
{
    unsigned long long s = seconds, w = warmup;
    cJSON *three, *one, *raw = cJSON_AddObjectToObject(result, "log_raw");
    char plan[128];

    (void)text_format(plan, sizeof(plan), "one:%llu:%llu,many:%llu:%llu:%d", s, w, s, w, FLIGHT);
    three = run_nodes(loop, 3, plan, 2 * (seconds + warmup));
    if (!three)
        return false;
    cJSON_AddItemToObject(raw, "three_nodes", three);
    one_line("three nodes", bench_step(three, "one"), result, "log_3n_1_sync_ratio");
    many_line(bench_step(three, "many"), result);
    one = run_nodes(loop, 1, plan, 2 * (seconds + warmup));
    if (!one)
        return false;
    cJSON_AddItemToObject(raw, "one_node", one);
    one_line("one node", bench_step(one, "one"), result, "log_1n_sync_ratio");
    return true;
}
