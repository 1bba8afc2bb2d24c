/*
 * assent bench: which runs are made, in what order, on what, and what is printed of them.
 */
#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/bank.h"
#include "cli/options.h"
#include "cli/rest.h"
#include "cli/sandbox.h"

#define COMPARE_PAIRS 2 /* 32 clients, 1 client */

struct bench {
    struct loop loop;
    struct sandbox sandbox;
    bool own; /* the sandbox is ours and up */
    char api[SANDBOX_NODES_MAX * 64];
    char dsn[2][256];
    uint64_t clients, seconds, warmup, rounds, accounts, nodes, tries;
    bool as_json, bare, compare, null, idle, all, cluster, log, restart, agents;
    struct bench_table table;
    const char *use_api, *use_dir;
    cJSON *raw; /* every run's figures, as they come */
};

/* --- Where it runs --- */

/* Clients begin at the leader: no request makes a detour. */
static void api_leader_first(struct bench *bench)
{
    const struct sandbox *sandbox = &bench->sandbox;
    int leader = sandbox->node_count > 1 ? sandbox_leader(&bench->sandbox) : 0;
    size_t first = leader < 0 ? 0 : (size_t)leader, len = 0;

    for (size_t i = 0; i < sandbox->node_count; i++)
        len += (size_t)snprintf(bench->api + len, sizeof(bench->api) - len, "%s%s", i ? "," : "",
                                sandbox->nodes[(first + i) % sandbox->node_count].api);
}

static bool sandbox_open(struct bench *bench, bool null, bool databases_only, bool agents)
{
    struct sandbox_options options = {.databases = 2,
                                      .nodes = bench->nodes,
                                      .null = null,
                                      .databases_only = databases_only,
                                      .no_agents = !agents,
                                      .accounts = bench->accounts,
                                      .balance = BENCH_BALANCE};

    if (!sandbox_start(&bench->sandbox, &bench->loop, &options))
        return false;
    bench->own = true;
    if (!databases_only)
        api_leader_first(bench);
    for (int i = 0; i < 2; i++)
        (void)text_format(bench->dsn[i], sizeof(bench->dsn[i]), "%s",
                          null ? "" : bench->sandbox.databases[i].dsn);
    return true;
}

static void sandbox_close(struct bench *bench)
{
    if (bench->own)
        sandbox_stop(&bench->sandbox);
    bench->own = false;
}

/* Addresses from DIR/sandbox.json of a running sandbox. */
static bool use_running(struct bench *bench)
{
    char path[512], text[16384] = "";
    const cJSON *databases;
    cJSON *json = NULL;
    FILE *file = NULL;
    int64_t accounts;
    char error[256] = "";

    if (text_format(path, sizeof(path), "%s/sandbox.json", bench->use_dir))
        file = fopen(path, "re");
    if (file && fread(text, 1, sizeof(text) - 1, file))
        json = cJSON_Parse(text);
    if (file)
        (void)fclose(file);
    databases = cJSON_GetObjectItemCaseSensitive(json, "databases");
    if (cJSON_GetArraySize(databases) < 2) {
        complain("bench: %s names no sandbox with two databases", path);
        cJSON_Delete(json);
        return false;
    }
    for (int i = 0; i < 2; i++)
        (void)text_format(bench->dsn[i], sizeof(bench->dsn[i]), "%s",
                          json_text(cJSON_GetArrayItem(databases, i), "dsn", ""));
    (void)text_format(
        bench->api, sizeof(bench->api), "%s",
        cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "api"), 0)));
    cJSON_Delete(json);
    for (int i = 0; i < 2; i++) {
        if (!bank_number(bench->dsn[i], "SELECT count(*) FROM accounts", &accounts, error) ||
            accounts < (int64_t)bench->accounts) {
            complain("bench: %s", error[0]
                                      ? error
                                      : "that sandbox has fewer accounts than --accounts says; "
                                        "start it with --accounts and --balance");
            return false;
        }
    }
    return true;
}

/* --- One run --- */

/* Every run starts alike: pages flushed, dead rows gone. */
static bool settle(struct bench *bench)
{
    char error[256];

    for (int i = 0; i < 2; i++) {
        if (!bench->dsn[i][0])
            continue;
        if (!bank_run(bench->dsn[i], "VACUUM accounts", error) ||
            !bank_run(bench->dsn[i], "CHECKPOINT", error)) {
            complain("bench: %s", error);
            return false;
        }
    }
    return true;
}

static bool run_once(struct bench *bench, const char *what, uint64_t clients, const char *round,
                     struct bench_figures *ret_figures)
{
    void (*work)(void *) = strcmp(what, "bare") == 0 ? bench_bare_thread : bench_http_thread;
    struct bench_run run = {.clients = clients,
                            .accounts = bench->accounts,
                            .seconds = bench->seconds,
                            .warmup = bench->warmup,
                            .api = bench->api,
                            .dsn = {bench->dsn[0], bench->dsn[1]}};

    if (!settle(bench) || getrandom(&run.seed, sizeof(run.seed), 0) != sizeof(run.seed) ||
        !bench_carry_out(&bench->loop, &run, work, what, round, ret_figures))
        return false;
    cJSON_AddItemToArray(bench->raw, bench_figures_json(ret_figures));
    return true;
}

/* --- Memory --- */

static double rss_mib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    FILE *status;

    (void)text_format(path, sizeof(path), "/proc/%d/status", (int)pid);
    status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "VmRSS: %lf kB", &kib) == 1)
            break;
    if (status)
        (void)fclose(status);
    return kib / 1024;
}

struct resting {
    pid_t pid;
    double last;
    as_time since;
};

/* The same size for two seconds. */
static bool has_come_to_rest(void *ctx)
{
    struct resting *resting = ctx;
    double now = rss_mib(resting->pid);

    if (now < resting->last || now > resting->last) {
        resting->last = now;
        resting->since = clock_now();
    }
    return clock_now() - resting->since >= 2 * AS_SECOND;
}

/* Of the coordinator of a sandbox that has served nothing yet. */
static bool measure_idle(struct bench *bench, cJSON *result)
{
    struct resting resting = {.pid = bench->sandbox.nodes[0].process.pid, .since = clock_now()};
    enum loop_end end = loop_wait(&bench->loop, has_come_to_rest, &resting, 20000, 100);
    char text[32];

    if (end == LOOP_INTERRUPTED)
        return false;
    (void)text_format(text, sizeof(text), "%.1f", resting.last);
    cJSON_AddRawToObject(result, "idle_rss_mib", text);
    (void)text_format(text, sizeof(text), "%.1f", rss_mib(bench->sandbox.databases[0].agent.pid));
    cJSON_AddRawToObject(result, "idle_agent_rss_mib", text);
    fprintf(stderr, "idle coordinator: %.1f MiB resident; an idle agent: %s MiB\n", resting.last,
            text);
    return true;
}

/* --- Comparison --- */

static void add_ratio(cJSON *result, const char *key, double value)
{
    char text[32];

    (void)text_format(text, sizeof(text), "%.3f", value);
    cJSON_AddRawToObject(result, key, text);
}

static double ratio_add(cJSON *result, const char *name, const char *suffix, double part,
                        double whole)
{
    char key[64];

    (void)text_format(key, sizeof(key), "%s%s", name, suffix);
    add_ratio(result, key, whole > 0 ? part / whole : 0);
    return whole > 0 ? part / whole : 0;
}

/* [32 clients, 1 client][bare, Assent][round] */
static void add_medians(cJSON *result, const char *suffix,
                        double tps[COMPARE_PAIRS][2][BENCH_ROUNDS_MAX],
                        double p50[COMPARE_PAIRS][2][BENCH_ROUNDS_MAX], size_t rounds)
{
    double bare_tps = bench_median(tps[0][0], rounds), own_tps = bench_median(tps[0][1], rounds);
    double bare_p50 = bench_median(p50[1][0], rounds), own_p50 = bench_median(p50[1][1], rounds);
    cJSON *medians;
    char key[64];

    fprintf(stderr, "at 32 clients, Assent / bare throughput: %.3f\n",
            ratio_add(result, "throughput_ratio_32", suffix, own_tps, bare_tps));
    fprintf(stderr, "at 1 client, Assent / bare median latency: %.3f\n",
            ratio_add(result, "latency_ratio_1", suffix, own_p50, bare_p50));
    (void)text_format(key, sizeof(key), "medians%s", suffix);
    medians = cJSON_AddObjectToObject(result, key);
    add_ratio(medians, "bare_tps_32", bare_tps);
    add_ratio(medians, "assent_tps_32", own_tps);
    add_ratio(medians, "bare_p50_us_1", bare_p50);
    add_ratio(medians, "assent_p50_us_1", own_p50);
}

/* In turn, and each round in the other order, so that what drifts (cache, disk, neighbours) hits
 * both. */
static bool compare(struct bench *bench, const char *suffix, cJSON *result)
{
    static const uint64_t clients[COMPARE_PAIRS] = {32, 1};
    static const char *const whats[2] = {"bare", "assent"};
    double tps[COMPARE_PAIRS][2][BENCH_ROUNDS_MAX], p50[COMPARE_PAIRS][2][BENCH_ROUNDS_MAX];

    for (uint64_t round = 0; round < bench->rounds; round++) {
        char name[16];

        (void)text_format(name, sizeof(name), "%llu/%llu", (unsigned long long)round + 1,
                          (unsigned long long)bench->rounds);
        for (int pair = 0; pair < COMPARE_PAIRS; pair++) {
            for (uint64_t turn = 0; turn < 2; turn++) {
                uint64_t which = (turn + round) % 2;
                struct bench_figures figures;

                if (!run_once(bench, whats[which], clients[pair], name, &figures))
                    return false;
                tps[pair][which][round] = figures.tps;
                p50[pair][which][round] = figures.p50_us;
            }
        }
    }
    add_medians(result, suffix, tps, p50, (size_t)bench->rounds);
    return true;
}

/* Throughput alone, at 32 clients: `key` is Assent / bare. */
static bool compare_throughput(struct bench *bench, const char *key, cJSON *result)
{
    static const char *const whats[2] = {"bare", "assent"};
    double tps[2][BENCH_ROUNDS_MAX], bare, own;

    for (uint64_t round = 0; round < bench->rounds; round++) {
        char name[16];

        (void)text_format(name, sizeof(name), "%llu/%llu", (unsigned long long)round + 1,
                          (unsigned long long)bench->rounds);
        for (uint64_t turn = 0; turn < 2; turn++) {
            uint64_t which = (turn + round) % 2;
            struct bench_figures figures;

            if (!run_once(bench, whats[which], 32, name, &figures))
                return false;
            tps[which][round] = figures.tps;
        }
    }
    bare = bench_median(tps[0], (size_t)bench->rounds);
    own = bench_median(tps[1], (size_t)bench->rounds);
    add_ratio(result, key, bare > 0 ? own / bare : 0);
    fprintf(stderr, "at 32 clients, Assent with %llu nodes / bare throughput: %.3f\n",
            (unsigned long long)bench->nodes, bare > 0 ? own / bare : 0);
    return true;
}

static bool measure_null(struct bench *bench, uint64_t clients, cJSON *result)
{
    struct bench_figures figures;
    char text[32];

    if (!run_once(bench, "null", clients, "", &figures))
        return false;
    (void)text_format(text, sizeof(text), "%.0f", figures.tps);
    cJSON_AddRawToObject(result, clients == 64 ? "null_tps_64" : "null_tps", text);
    return true;
}

/* --- What was asked for --- */

static bool bench_all(struct bench *bench, cJSON *result)
{
    bool well = sandbox_open(bench, false, false, false) && measure_idle(bench, result) &&
                compare(bench, "", result);

    sandbox_close(bench);
    fprintf(stderr, "the same with agents\n");
    well = well && sandbox_open(bench, false, false, true) && compare(bench, "_agents", result);
    sandbox_close(bench);
    well = well && sandbox_open(bench, true, false, true) && measure_null(bench, 64, result);
    sandbox_close(bench);
    return well;
}

static bool bench_cluster(struct bench *bench, cJSON *result)
{
    char key[64];
    bool well;

    if (bench->nodes == 1)
        bench->nodes = 3;
    (void)text_format(key, sizeof(key), "throughput_ratio_32_%llun",
                      (unsigned long long)bench->nodes);
    well = sandbox_open(bench, false, false, bench->agents) &&
           compare_throughput(bench, key, result) &&
           bench_failover(&bench->sandbox, bench->tries, result);
    sandbox_close(bench);
    return well && bench_log(&bench->loop, bench->seconds, bench->warmup, result) &&
           bench_restart(&bench->loop, &bench->table, bench->seconds, bench->warmup, result);
}

static bool bench_one(struct bench *bench, cJSON *result)
{
    uint64_t clients = bench->clients ? bench->clients : bench->null ? 64 : 32;
    struct bench_figures figures;
    bool well;

    if (bench->use_dir ? !use_running(bench)
        : bench->use_api
            ? !text_format(bench->api, sizeof(bench->api), "%s", bench->use_api)
            : !sandbox_open(bench, bench->null, bench->bare, bench->agents || bench->null))
        return false;
    if (bench->compare)
        well = compare(bench, "", result);
    else if (bench->idle)
        well = measure_idle(bench, result);
    else if (bench->null)
        well = measure_null(bench, clients, result);
    else
        well = run_once(bench, bench->bare ? "bare" : "assent", clients, "", &figures);
    sandbox_close(bench);
    return well;
}

static bool choice_is_clear(const struct bench *bench)
{
    int modes = bench->bare + bench->compare + bench->null + bench->idle + bench->all +
                bench->cluster + bench->log + bench->restart;
    bool elsewhere = bench->use_api || bench->use_dir;

    if (modes > 1)
        complain("bench: only one of --bare, --compare, --null, --idle, --all, --cluster, --log, "
                 "--restart");
    else if (bench->use_api && bench->use_dir)
        complain("bench: --api or --dir, not both");
    else if (bench->use_api && (bench->bare || bench->compare))
        complain("bench: --bare and --compare need the databases: --dir");
    else if (elsewhere && (bench->agents || bench->nodes > 1))
        complain("bench: --agents and --nodes are for a sandbox of its own");
    else if (elsewhere && modes > 0 && !bench->bare && !bench->compare)
        complain("bench: only --bare and --compare can be of a running sandbox");
    else
        return true;
    return false;
}

static const char about[] =
    "Moves money between two PostgreSQL databases as a service would: HTTP with keep-alive,\n"
    "wait: applied, random accounts. It makes a sandbox of its own unless --dir or --api\n"
    "names another. Progress on stderr, figures on stdout.\n\n"
    "  (nothing)  through Assent\n"
    "  --bare     hand-written two-phase commit by libpq, no coordinator, no decision log\n"
    "  --compare  both in turn on the same servers, at 32 clients and at 1; ratio of the medians\n"
    "  --null     through Assent with agents that have no database, 64 clients\n"
    "  --idle     memory of a coordinator that has served nothing\n"
    "  --all      idle, compare with and without agents, null: docs/performance.md\n"
    "  --cluster  with three nodes: throughput at 32 clients as in --compare, and how long it is\n"
    "             from the leader's death, or silence, to the next commit; and --log, --restart\n"
    "  --log      the replicated log alone, three nodes and one: one decision at a time as a\n"
    "             multiple of a bare 4 KiB overwrite and sync; decisions/s with 256 in flight\n"
    "  --restart  a node with a million outcomes: from its start until it is ready; and the\n"
    "             longest request while it writes a snapshot\n\n"
    "The coordinator serves the databases itself, or agents do (--agents).";

static int bench_main(struct bench *bench)
{
    cJSON *result = cJSON_CreateObject();
    bool well;

    if (!loop_open(&bench->loop))
        return CLI_NEGATIVE;
    bench->raw = cJSON_CreateArray();
    well = bench->all       ? bench_all(bench, result)
           : bench->cluster ? bench_cluster(bench, result)
           : bench->log     ? bench_log(&bench->loop, bench->seconds, bench->warmup, result)
           : bench->restart
               ? bench_restart(&bench->loop, &bench->table, bench->seconds, bench->warmup, result)
               : bench_one(bench, result);
    cJSON_AddItemToObject(result, "raw", bench->raw);
    if (well) {
        char *text = bench->as_json ? cJSON_PrintUnformatted(result) : cJSON_Print(result);

        puts(text ? text : "{}");
        free(text);
    }
    cJSON_Delete(result);
    loop_close(&bench->loop);
    return well ? CLI_OK : CLI_NEGATIVE;
}

int cmd_bench(int argc, char **argv)
{
    static struct bench bench = {.seconds = 5,
                                 .warmup = 2,
                                 .rounds = 5,
                                 .accounts = 100000,
                                 .nodes = 1,
                                 .tries = 50,
                                 .table = {1000000, 100000}};
    const struct option table[] = {
        {OPTION_FLAG, "bare", NULL, "see above", &bench.bare, 0, 0},
        {OPTION_FLAG, "compare", NULL, "see above", &bench.compare, 0, 0},
        {OPTION_FLAG, "null", NULL, "see above", &bench.null, 0, 0},
        {OPTION_FLAG, "idle", NULL, "see above", &bench.idle, 0, 0},
        {OPTION_FLAG, "all", NULL, "see above", &bench.all, 0, 0},
        {OPTION_FLAG, "cluster", NULL, "see above", &bench.cluster, 0, 0},
        {OPTION_FLAG, "log", NULL, "see above", &bench.log, 0, 0},
        {OPTION_FLAG, "restart", NULL, "see above", &bench.restart, 0, 0},
        {OPTION_NUMBER, "outcomes", "N", "that the node of --restart keeps (1000000)",
         &bench.table.finished, 0, 4000000},
        {OPTION_NUMBER, "unfinished", "N", "transactions of --restart, besides (100000)",
         &bench.table.unfinished, 0, 1000000},
        {OPTION_NUMBER, "nodes", "N", "coordinator nodes (1; with --cluster 3)", &bench.nodes, 1,
         SANDBOX_NODES_MAX},
        {OPTION_NUMBER, "tries", "N", "so often --cluster kills the leader, and stops it (50)",
         &bench.tries, 1, BENCH_ROUNDS_MAX},
        {OPTION_FLAG, "agents", NULL, "agents serve the databases", &bench.agents, 0, 0},
        {OPTION_NUMBER, "clients", "N", "connections (32; with --null 64)", &bench.clients, 1,
         1000},
        {OPTION_NUMBER, "seconds", "S", "measured in each run (5)", &bench.seconds, 1, 600},
        {OPTION_NUMBER, "warmup", "S", "before that (2)", &bench.warmup, 0, 600},
        {OPTION_NUMBER, "rounds", "N", "of --compare and --all (5)", &bench.rounds, 1,
         BENCH_ROUNDS_MAX},
        {OPTION_NUMBER, "accounts", "N", "in each database (100000)", &bench.accounts, 1, 10000000},
        {OPTION_TEXT, "dir", "DIR", "use the running sandbox of that directory", &bench.use_dir, 0,
         0},
        {OPTION_TEXT, "api", "URL", "use that coordinator, with bank_a and bank_b", &bench.use_api,
         0, 0},
        {OPTION_FLAG, "json", NULL, "print the figures on one line", &bench.as_json, 0, 0}};
    const struct command command = {
        .name = "bench", .about = about, .options = table, .option_count = AS_COUNT_OF(table)};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    return choice_is_clear(&bench) ? bench_main(&bench) : CLI_USAGE;
}
