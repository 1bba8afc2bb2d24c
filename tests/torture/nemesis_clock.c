/*
 * Wall clocks jump, by libfaketime. Monotonic clocks do not: no machine's does. So nothing may stop meanwhile: every node must go on
 * with clocks that are wrong.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

#define WORK_MS 30000
#define LIBRARY "/usr/lib/*/faketime/libfaketimeMT.so.1"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static bool library_find(char *ret_path, size_t size)
{
    glob_t found;
    bool there = glob(LIBRARY, 0, NULL, &found) == 0;

    if (there) {
        (void)snprintf(ret_path, size, "%s", found.gl_pathv[0]);
        globfree(&found);
    }
    return there;
}

static bool clock_usable(const struct world *world, char *ret_why, size_t size)
{
    char path[256];

    (void)world;
#ifdef SANITIZED
    (void)snprintf(ret_why, size, "a sanitizer must be the first library of a process");
    return false;
#endif
    if (library_find(path, sizeof(path)))
        return true;
    (void)snprintf(ret_why, size, "libfaketime is missing");
    return false;
}

static void environment_add(struct process *process, const char *name, const char *value)
{
    char text[400];
    size_t at = 0;

    (void)snprintf(text, sizeof(text), "%s=%s", name, value);
    while (process->env[at])
        at++;
    AS_ASSERT(at < PROCESS_ENV_MAX);
    process->env[at] = strdup(text);
    AS_ASSERT(process->env[at]);
}

static bool clock_set(struct world *world, const struct process *process, const char *offset)
{
    char path[200];
    FILE *file;
    bool bad;

    (void)snprintf(path, sizeof(path), "%s/run/clock-%s", world->dir, process->name);
    file = fopen(path, "we");
    bad = !file || fprintf(file, "%s\n", offset) < 0;
    if (file && fclose(file))
        bad = true;
    return bad ? world_fail(world, "cannot write %s", path) : true;
}

static struct process *clock_process(struct world *world, int i)
{
    return i < WORLD_NODES ? &world->nodes[i].process : &world->databases[i - WORLD_NODES].agent;
}

static bool clock_prepare(struct world *world)
{
    char library[256], path[200];

    if (!library_find(library, sizeof(library)))
        return world_fail(world, "libfaketime has gone");
    for (int i = 0; i < WORLD_NODES + WORLD_DATABASES; i++) {
        struct process *process = clock_process(world, i);

        (void)snprintf(path, sizeof(path), "%s/run/clock-%s", world->dir, process->name);
        environment_add(process, "LD_PRELOAD", library);
        environment_add(process, "FAKETIME_TIMESTAMP_FILE", path);
        environment_add(process, "FAKETIME_CACHE_DURATION", "1"); /* s: how soon a jump is felt */
        environment_add(process, "FAKETIME_DONT_FAKE_MONOTONIC", "1");
        if (!clock_set(world, process, "+0"))
            return false;
    }
    return true;
}

static enum strike_result clock_strike(struct world *world, struct strike *strike)
{
    static const char *const jumps[] = {"+61",   "-61",   "+600",   "-600",
                                        "+7200", "-7200", "+90000", "-90000"};
    int count = 1 + (int)as_rng_below(strike->rng, 3);

    for (int i = 0; i < count; i++) {
        const struct process *process =
            clock_process(world, (int)as_rng_below(strike->rng, WORLD_NODES + WORLD_DATABASES));
        const char *jump = jumps[as_rng_below(strike->rng, AS_COUNT_OF(jumps))];

        (void)snprintf(strike->what + strlen(strike->what),
                       sizeof(strike->what) - strlen(strike->what), "%s%s %s s", i ? ", " : "",
                       process->name, jump);
        if (!clock_set(world, process, jump))
            return STRIKE_FAILED;
    }
    return STRIKE_DONE;
}

static bool works(void *ctx)
{
    struct requester *requester = ctx;
    char why[200];

    if (!cluster_works(requester->world, why, sizeof(why)))
        return false;
    for (int i = 0; i < WORLD_NODES; i++)
        if (request_post(requester, transfer_invent_probe(requester), i, NULL) != RESULT_COMMITTED)
            return false;
    return true;
}

static bool clock_heal(struct world *world, struct strike *strike)
{
    struct requester requester = {world, WORLD_CLIENTS, {as_rng_next(strike->rng)}};
    bool well = world_wait(world, works, &requester, WORK_MS) ||
                world_fail(world, "nothing works while clocks are wrong");

    for (int i = 0; i < WORLD_NODES + WORLD_DATABASES && well; i++)
        well = clock_set(world, clock_process(world, i), "+0");
    return well;
}

const struct nemesis nemesis_clock = {
    .name = "clock",
    .about = "wall clocks of nodes and agents jump by minutes, hours, a day, either way, and back",
    .usable = clock_usable,
    .prepare = clock_prepare,
    .strike = clock_strike,
    .heal = clock_heal,
    .alone = true,
};
