/*
 * kill -9 at every named crash point (include/assent/crash.h) while money moves: of the
 * coordinator, of an agent, and of the database while an agent stands at the point. After the
 * restart nothing may stay prepared for more than ten seconds, the money must be all there, and
 * every acknowledged transfer must stand in both databases exactly once, every aborted one in none.
 * A point that is never hit fails.
 */
#include "load.h"

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
    char reached[512], go_on[512];
};

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

static void round_begin(struct round *round, const char *point, bool pause)
{
    char at[128], dir[320], action[320];
    const char *env[] = {at, dir, action, NULL};
    char what[160];

    print_message("crash point %s%s\n", point, pause ? ", killing the database" : "");
    round->point = point;
    round->process = strncmp(point, "agent.", 6) == 0 ? agent_of("bank_a") : "node-1";
    snprintf(at, sizeof(at), "ASSENT_CRASH_AT=%s", point);
    snprintf(dir, sizeof(dir), "ASSENT_CRASH_DIR=%s", sandbox.dir);
    snprintf(action, sizeof(action),
             pause ? "ASSENT_CRASH_ACTION=pause:%s" : "ASSENT_CRASH_ACTION=kill", sandbox.dir);
    snprintf(round->reached, sizeof(round->reached), "%s/%s.reached", sandbox.dir, point);
    snprintf(round->go_on, sizeof(round->go_on), "%s/%s.continue", sandbox.dir, point);
    unlink(round->reached);
    unlink(round->go_on);
    /* It may come to its point, and die, before it is ready: then this says so, and that is fine.
     */
    sandbox_try(&sandbox, "restart", round->process, env);
    load_start(&sandbox);
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
        sandbox_do(&sandbox, "restart", round.process, NULL);
        round_end();
    }
}

static void database_killed_at_every_point_of_the_agent(void **state)
{
    struct round round;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(points); i++) {
        FILE *file;

        if (strncmp(points[i], "agent.", 6) != 0 || !point_wanted(points[i]))
            continue;
        round_begin(&round, points[i], true);
        sandbox_do(&sandbox, "kill", "database-bank_a", NULL);
        file = fopen(round.go_on, "w");
        assert_non_null(file);
        fclose(file);
        sandbox_do(&sandbox, "restart", "database-bank_a", NULL);
        round_end();
    }
}

static int setup(void **state)
{
    /* Small segments and frequent snapshots, so that their crash points come up too. */
    static const char *const extra[] = {"--set", "log.segment_kib=64", "--set",
                                        "log.snapshot_kib=32", NULL};

    (void)state;
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
