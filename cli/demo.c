/*
 * assent demo: what happens when, and what is seen of it; the load is demo_load.c, the proof
 * demo_proof.c.
 */
#include "cli/demo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/bank.h"
#include "cli/rest.h"

#define DOWN_MS 1000    /* between kill -9 and the restart */
#define SETTLE_MS 60000 /* clients learn every outcome, branches are finished */
#define KILLS_MAX 2048
#define PERIOD (2 * AS_SECOND) /* from one kill to the next, with several nodes */
#define CALM (3 * AS_SECOND)   /* at the end, in which nothing is killed */

struct demo {
    struct loop loop;
    struct sandbox sandbox;
    struct demo_load load;
    uv_timer_t timer; /* the progress line */
    FILE *out;        /* stderr with --json */
    bool live;        /* a terminal: one line that changes */
    as_time begin, seen_at;
    unsigned long seen_committed;
    char doing[80];
    char killed[KILLS_MAX][32];
    size_t killed_count, leaders_killed;
};

static void on_timer(uv_timer_t *timer)
{
    struct demo *demo = timer->data;
    as_time now = clock_now();
    unsigned long committed = atomic_load(&demo->load.committed);
    double rate = (double)(committed - demo->seen_committed) * 1e9 / (double)(now - demo->seen_at);

    fprintf(
        demo->out,
        "%s%3.0f s  %6.0f tx/s  committed %7lu  aborted %5lu  retries %5lu  in flight %3lu  %s%s",
        demo->live ? "\r" : "", (double)(now - demo->begin) / 1e9, rate, committed,
        atomic_load(&demo->load.aborted), atomic_load(&demo->load.retries),
        atomic_load(&demo->load.in_flight), demo->doing, demo->live ? "\033[K" : "\n");
    (void)fflush(demo->out);
    demo->seen_committed = committed;
    demo->seen_at = now;
}

static void doing(struct demo *demo, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void doing(struct demo *demo, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(demo->doing, sizeof(demo->doing), format, args);
    va_end(args);
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

/* Until so long after the begin. False: interrupted. */
static bool wait_until(struct demo *demo, as_time since_begin)
{
    as_time left = demo->begin + since_begin - clock_now();

    return left <= 0 ||
           loop_wait(&demo->loop, never, NULL, (uint64_t)(left / AS_MS) + 1, 100) == LOOP_TIMEOUT;
}

static bool kill_and_restart(struct demo *demo, const char *name, const char *what)
{
    char error[512];

    doing(demo, "<- kill -9 %s%s", name, what);
    if (!sandbox_kill(&demo->sandbox, name, error)) {
        complain("%s", error);
        return false;
    }
    (void)text_format(demo->killed[demo->killed_count++], sizeof(demo->killed[0]), "%s", name);
    if (loop_wait(&demo->loop, never, NULL, DOWN_MS, 100) != LOOP_TIMEOUT)
        return false;
    doing(demo, "<- restarting %s", name);
    if (!sandbox_restart(&demo->sandbox, name, NULL, error)) {
        complain("%s", error);
        return false;
    }
    doing(demo, "%s", "");
    return true;
}

static bool somebody_leads(void *ctx)
{
    struct demo *demo = ctx;

    return sandbox_leader(&demo->sandbox) >= 0;
}

static bool kill_leader(struct demo *demo)
{
    int leader;

    if (loop_wait(&demo->loop, somebody_leads, demo, SETTLE_MS, 20) == LOOP_INTERRUPTED)
        return false;
    leader = sandbox_leader(&demo->sandbox);
    if (leader < 0) {
        complain("no node leads");
        return false;
    }
    demo->leaders_killed++;
    return kill_and_restart(demo, demo->sandbox.nodes[leader].process.name, ", the leader");
}

static bool load_has_ended(void *ctx)
{
    struct demo *demo = ctx;

    return atomic_load(&demo->load.ended);
}

/* Every branch of every committed transaction is finished, and no aborted one is still prepared. */
static bool all_is_finished(void *ctx)
{
    struct demo *demo = ctx;
    struct rest_reply reply;
    char error[256];
    bool none;

    if (!rest_call(demo->sandbox.api, "/v1/transactions?state=pending&limit=1", NULL, 1000, &reply,
                   error))
        return false;
    none = reply.status == 200 &&
           cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply.json, "transactions")) == 0;
    rest_reply_close(&reply);
    for (size_t i = 0; none && i < demo->sandbox.count; i++) {
        int64_t count;

        none = bank_number(demo->sandbox.databases[i].dsn, "SELECT count(*) FROM pg_prepared_xacts",
                           &count, error) &&
               count == 0;
    }
    return none;
}

/* Everything there is, once. False: interrupted, or something could not be restarted. */
static bool play_one_node(struct demo *demo, as_time whole)
{
    static const char *const names[] = {"node-1", "agent-bank_a", "database-bank_b"};

    for (size_t i = 0; i < AS_COUNT_OF(names); i++)
        if (!wait_until(demo, whole * (3 + 5 * (as_time)i) / 18) ||
            !kill_and_restart(demo, names[i], ""))
            return false;
    return wait_until(demo, whole);
}

/* The leader again and again, and now and then an agent or a database instead. Likewise. */
static bool play_cluster(struct demo *demo, as_time whole)
{
    for (as_time at = PERIOD; at + CALM <= whole && demo->killed_count < KILLS_MAX; at += PERIOD) {
        bool well = wait_until(demo, at);

        if (well && demo->killed_count % 6 == 2)
            well = kill_and_restart(demo, "agent-bank_a", "");
        else if (well && demo->killed_count % 6 == 4)
            well = kill_and_restart(demo, "database-bank_b", "");
        else if (well)
            well = kill_leader(demo);
        if (!well)
            return false;
    }
    return wait_until(demo, whole);
}

static bool play(struct demo *demo, uint64_t seconds)
{
    as_time whole = (as_time)seconds * AS_SECOND;

    return demo->sandbox.node_count > 1 ? play_cluster(demo, whole) : play_one_node(demo, whole);
}

/* Runs the load and everything that happens meanwhile. False: no proof can be made. */
static bool run(struct demo *demo, uint64_t seconds)
{
    uv_thread_t thread;
    bool well;

    demo->load.api = demo->sandbox.api;
    demo->load.database_count = (uint32_t)demo->sandbox.count;
    if (getrandom(&demo->load.run, sizeof(demo->load.run), 0) != sizeof(demo->load.run) ||
        uv_thread_create(&thread, demo_load_thread, &demo->load)) {
        complain("cannot start the load");
        return false;
    }
    demo->begin = demo->seen_at = clock_now();
    (void)uv_timer_init(&demo->loop.uv, &demo->timer);
    demo->timer.data = demo;
    (void)uv_timer_start(&demo->timer, on_timer, demo->live ? 200 : 1000, demo->live ? 200 : 1000);
    well = play(demo, seconds);
    doing(demo, "%s", well ? "clients learn the last outcomes" : "stopping");
    atomic_store(&demo->load.stop, true);
    if (well)
        well = loop_wait(&demo->loop, load_has_ended, demo, SETTLE_MS, 20) != LOOP_INTERRUPTED;
    atomic_store(&demo->load.give_up, true);
    (void)uv_thread_join(&thread);
    doing(demo, "%s", "branches are finished");
    if (well)
        well = loop_wait(&demo->loop, all_is_finished, demo, SETTLE_MS, 50) != LOOP_INTERRUPTED;
    doing(demo, "%s", "");
    on_timer(&demo->timer);
    if (demo->live)
        fputc('\n', demo->out);
    uv_close((uv_handle_t *)&demo->timer, NULL);
    return well;
}

/* "node-1 (2 times), node-2, ..." in the order of their first time. */
static void print_killed(const struct demo *demo)
{
    const char *separator = " ";

    printf("\nkilled with SIGKILL and restarted under load:");
    for (size_t i = 0; i < demo->killed_count; i++) {
        size_t times = 0, first = 0;

        while (strcmp(demo->killed[first], demo->killed[i]) != 0)
            first++;
        if (first < i)
            continue;
        for (size_t j = i; j < demo->killed_count; j++)
            times += strcmp(demo->killed[j], demo->killed[i]) == 0;
        printf("%s%s", separator, demo->killed[i]);
        if (times > 1)
            printf(" (%zu times)", times);
        separator = ", ";
    }
    printf("\n");
    if (demo->leaders_killed)
        printf("the leader was killed %zu time%s\n", demo->leaders_killed,
               demo->leaders_killed > 1 ? "s" : "");
}

static void print_proof(const struct demo *demo, const struct demo_proof *proof)
{
    const struct {
        bool well;
        const char *text;
    } points[] = {{proof->ledger_well, proof->ledger},
                  {proof->money_well, proof->money},
                  {proof->prepared_well, proof->prepared}};

    print_killed(demo);
    for (size_t i = 0; i < AS_COUNT_OF(points); i++)
        printf("%s: %s\n", points[i].well ? "proved" : "NOT PROVED", points[i].text);
    if (!proof->committed)
        printf("NOT PROVED: no transfer was committed at all\n");
}

static void print_json(const struct demo *demo, const struct demo_proof *proof, bool proved)
{
    cJSON *all = cJSON_CreateObject();
    cJSON *killed = cJSON_AddArrayToObject(all, "killed");

    for (size_t i = 0; i < demo->killed_count; i++)
        cJSON_AddItemToArray(killed, cJSON_CreateString(demo->killed[i]));
    cJSON_AddNumberToObject(all, "nodes", (double)demo->sandbox.node_count);
    cJSON_AddNumberToObject(all, "leaders_killed", (double)demo->leaders_killed);
    cJSON_AddNumberToObject(all, "databases", (double)demo->sandbox.count);
    cJSON_AddNumberToObject(all, "committed", (double)proof->committed);
    cJSON_AddNumberToObject(all, "aborted", (double)proof->aborted);
    cJSON_AddNumberToObject(all, "retries", (double)atomic_load(&demo->load.retries));
    cJSON_AddNumberToObject(all, "money_before", (double)proof->money_before);
    cJSON_AddNumberToObject(all, "money_after", (double)proof->money_after);
    cJSON_AddBoolToObject(all, "money_proved", proof->money_well);
    cJSON_AddStringToObject(all, "money", proof->money);
    cJSON_AddBoolToObject(all, "ledger_proved", proof->ledger_well);
    cJSON_AddStringToObject(all, "ledger", proof->ledger);
    cJSON_AddBoolToObject(all, "prepared_proved", proof->prepared_well);
    cJSON_AddStringToObject(all, "prepared", proof->prepared);
    cJSON_AddBoolToObject(all, "proved", proved);
    json_print(all);
    cJSON_Delete(all);
}

static int demo_main(struct demo *demo, uint64_t seconds, const struct sandbox_options *options,
                     bool as_json)
{
    struct demo_proof proof;
    bool ran, proved = false;

    demo->out = as_json ? stderr : stdout;
    demo->live = isatty(fileno(demo->out)) == 1;
    if (!loop_open(&demo->loop) || !sandbox_start(&demo->sandbox, &demo->loop, options))
        return CLI_NEGATIVE;
    fprintf(demo->out,
            "%d clients move money between random accounts of %zu databases for %llu s, through "
            "%s\n",
            DEMO_CLIENTS, demo->sandbox.count, (unsigned long long)seconds, demo->sandbox.api);
    ran = run(demo, seconds);
    if (ran)
        proved = demo_prove(&demo->sandbox, &demo->load, &proof);
    if (!proved && !demo->loop.interrupted) {
        demo->sandbox.dir_is_ours = false; /* what happened is in there */
        complain("the demo failed; its databases, logs and decision log are kept in %s",
                 demo->sandbox.dir);
    }
    sandbox_stop(&demo->sandbox);
    if (ran && as_json)
        print_json(demo, &proof, proved);
    else if (ran)
        print_proof(demo, &proof);
    else if (demo->loop.interrupted)
        complain("interrupted");
    free(demo->load.transfers);
    loop_close(&demo->loop);
    return proved ? CLI_OK : CLI_NEGATIVE;
}

int cmd_demo(int argc, char **argv)
{
    static struct demo demo;
    struct sandbox_options options = {.databases = 2, .nodes = 3, .accounts = DEMO_ACCOUNTS};
    uint64_t seconds = 20;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_NUMBER, "seconds", "S", "how long money moves (20)", &seconds, 3, 3600},
        {OPTION_NUMBER, "nodes", "N", "how many coordinator nodes (3)", &options.nodes, 1,
         SANDBOX_NODES_MAX},
        {OPTION_NUMBER, "databases", "N", "how many databases (2)", &options.databases, 2,
         SANDBOX_DATABASES_MAX},
        {OPTION_FLAG, "json", NULL, "the result as one line of JSON on stdout", &as_json, 0, 0}};
    const struct command command = {
        .name = "demo",
        .about =
            "Moves money between PostgreSQL databases, kills the coordinators' leader again and\n"
            "again, an agent and a database with SIGKILL under way, restarts them, and proves\n"
            "at the end that nothing was lost, doubled or left behind. Everything it starts is\n"
            "its own and goes with it.",
        .exits = "  0  proved\n  1  not proved, or it could not run; the directory is kept\n"
                 "  2  wrong command line\n",
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    return demo_main(&demo, seconds, &options, as_json);
}
