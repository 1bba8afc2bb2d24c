/*
 * kill -9 at every named crash point (include/assent/crash.h) while money moves: of the
 * coordinator, of an agent, and of the database while an agent stands at the point. After the
 * restart nothing may stay prepared for more than ten seconds, the money must be all there, and
 * every acknowledged transfer must stand in both databases exactly once, every aborted one in none.
 * A point that is never hit fails.
 *
 * ASSENT_NODES=3: the coordinator that is killed leads two others, and all that holds before it is
 * started again; then it catches up.
 */
#include "load.h"
#include "nodes.h"

#include <stdio.h>
#include <unistd.h>

#include "assent/crash.h"

#define PREPARED_GONE_MS 10000
#define TRANSFERS_AFTER 8 /* that must commit after the restart before a round ends */

#ifdef AS_CRASH_POINTS

static struct sandbox sandbox;

static const char *const points[] = {
#define POINT_NAME(name) name,
    AS_CRASH_MAP(POINT_NAME)
#undef POINT_NAME
};

/* --- Rounds --- */

struct round {
    const char *point;
    const char *process;
    int node; /* the place of the coordinator to be killed; -1: an agent is */
    char reached[512], go_on[512], after[512];
};

static void make_file(const char *path)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fclose(file);
}

static bool reached(void *ctx)
{
    const struct round *round = ctx;

    return access(round->reached, F_OK) == 0;
}

static bool dead(void *ctx)
{
    const struct round *round = ctx;

    return !sandbox_running(&sandbox, round->process);
}

/* ASSENT_CRASH_POINT=name runs the rounds of that one alone. */
static bool point_wanted(const char *point)
{
    const char *only = getenv("ASSENT_CRASH_POINT");

    return !only || strcmp(only, point) == 0;
}

/* Of several nodes the one whose turn it is leads when it comes to the point. */
static void round_begin(struct round *round, const char *point, bool pause)
{
    static int turn;
    char at[128], dir[320], action[320], after[560];
    const char *env[] = {at, dir, action, after, NULL};
    bool of_agent = strncmp(point, "agent.", 6) == 0;
    char what[160];

    print_message("crash point %s%s\n", point, pause ? ", killing the database" : "");
    round->point = point;
    round->node = of_agent ? -1 : turn++ % sandbox.node_count;
    round->process = of_agent ? agent_of("bank_a") : sandbox.nodes[round->node].name;
    snprintf(at, sizeof(at), "ASSENT_CRASH_AT=%s", point);
    snprintf(dir, sizeof(dir), "ASSENT_CRASH_DIR=%s", sandbox.dir);
    snprintf(action, sizeof(action),
             pause ? "ASSENT_CRASH_ACTION=pause:%s" : "ASSENT_CRASH_ACTION=kill", sandbox.dir);
    snprintf(round->reached, sizeof(round->reached), "%s/%s.reached", sandbox.dir, point);
    snprintf(round->go_on, sizeof(round->go_on), "%s/%s.continue", sandbox.dir, point);
    snprintf(round->after, sizeof(round->after), "%s/armed", sandbox.dir);
    snprintf(after, sizeof(after), "ASSENT_CRASH_AFTER=%s", round->after);
    if (of_agent || sandbox.node_count == 1)
        make_file(round->after);
    else
        unlink(round->after);
    unlink(round->reached);
    unlink(round->go_on);
    /* It may come to its point, and die, before it is ready: then this says so, and that is fine.
     */
    sandbox_try(&sandbox, "restart", round->process, env);
    load_start(&sandbox);
    if (access(round->after, F_OK) != 0) {
        leader_make(&sandbox, round->node);
        make_file(round->after);
    }
    snprintf(what, sizeof(what), "crash point %s is hit", point);
    wait_for(what, reached, round, DEADLINE_MS);
}

static void round_end(void)
{
    load_wait_commits(TRANSFERS_AFTER);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

static void killed_at_every_point(void **state)
{
    struct round round;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(points); i++) {
        if (!point_wanted(points[i]))
            continue;
        round_begin(&round, points[i], false);
        wait_for("the process is dead", dead, &round, DEADLINE_MS);
        if (round.node >= 0 && sandbox.node_count > 1)
            round_end(); /* the others finish what it began */
        sandbox_do(&sandbox, "restart", round.process, NULL);
        if (round.node >= 0 && sandbox.node_count > 1)
            wait_caught_up(&sandbox, round.node);
        else
            round_end();
    }
}

static void database_killed_at_every_point_of_the_agent(void **state)
{
    struct round round;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(points); i++) {
        if (strncmp(points[i], "agent.", 6) != 0 || !point_wanted(points[i]))
            continue;
        round_begin(&round, points[i], true);
        sandbox_do(&sandbox, "kill", "database-bank_a", NULL);
        make_file(round.go_on);
        sandbox_do(&sandbox, "restart", "database-bank_a", NULL);
        round_end();
    }
}

static int setup(void **state)
{
    /* Small segments and frequent snapshots, so that their crash points come up too. */
    static const char *extra[] = {
        "--set", "log.segment_kib=64", "--set", "log.snapshot_kib=32", NULL, NULL, NULL};

    (void)state;
    if (getenv("ASSENT_NODES")) {
        extra[4] = "--nodes";
        extra[5] = getenv("ASSENT_NODES");
    }
    sandbox_start(&sandbox, extra);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (load_abandon())
        sandbox_print_logs(&sandbox); /* a round failed */
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_point),
        cmocka_unit_test(database_killed_at_every_point_of_the_agent),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

#else

int main(void)
{
    print_message(
        "crash points are built in with -DAS_CRASH_POINTS=ON (presets dev, asan-ubsan, tsan)\n");
    return 0;
}

#endif
