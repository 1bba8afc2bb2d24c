/*
 * Disks fail (EIO), are full, and lose what was not synced (power cuts).
 *
 * After an EIO the victim is always healed by a power cut: what a failed sync has left in a page cache is nothing to go on with,
 * neither for a node (which ends by itself, and whose operator is told to look at the disk) nor for PostgreSQL.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disks.h"
#include "nemesis.h"
#include "tests/support/http.h"

#define VICTIMS_MAX (WORLD_NODES + WORLD_DATABASES)
#define END_MS 5000
#define FULL_MS 30000
#define ASK_MS 1000

struct victims {
    struct process *each[VICTIMS_MAX];
    int count;
    const char *what; /* of EIO: read, write, sync */
    unsigned long long failed_before;
};

static void name_add(struct strike *strike, const char *text)
{
    (void)snprintf(strike->what + strlen(strike->what), sizeof(strike->what) - strlen(strike->what),
                   "%s", text);
}

static void victim_add(struct strike *strike, struct victims *victims, struct process *process)
{
    if (victims->count)
        name_add(strike, ", ");
    name_add(strike, process->name);
    victims->each[victims->count++] = process;
}

static void victims_take(struct world *world, struct strike *strike, struct victims *victims,
                         int nodes, int databases)
{
    for (int i = 0; i < nodes; i++) {
        struct node *node = world_take_node(world, strike->rng, strike);

        if (node)
            victim_add(strike, victims, &node->process);
    }
    for (int i = 0; i < databases; i++) {
        struct database *database = world_take_database(world, strike->rng, strike);

        if (database)
            victim_add(strike, victims, &database->server);
    }
}

static struct victims *victims_new(struct strike *strike)
{
    struct victims *victims = calloc(1, sizeof(*victims));

    AS_ASSERT(victims);
    strike->own = victims;
    return victims;
}

static bool start_again(struct world *world, struct strike *strike)
{
    struct victims *victims = strike->own;
    bool well = true;

    for (int i = 0; i < victims->count && well; i++)
        well = process_start(world, victims->each[i]);
    world_give_back(world, strike);
    free(victims);
    return well;
}

/* --- Power cuts --- */

static enum strike_result power_strike(struct world *world, struct strike *strike)
{
    static const struct {
        int nodes, databases;
    } kinds[] = {{1, 0}, {1, 0}, {0, 1},           {0, 1},
                 {1, 1}, {2, 1}, {WORLD_NODES, 0}, {WORLD_NODES, WORLD_DATABASES}};
    size_t kind = (size_t)as_rng_below(strike->rng, AS_COUNT_OF(kinds));
    struct victims *victims = victims_new(strike);

    victims_take(world, strike, victims, kinds[kind].nodes, kinds[kind].databases);
    for (int i = 0; i < victims->count; i++)
        if (!disk_power_cut(world, victims->each[i], as_rng_next(strike->rng)))
            return STRIKE_FAILED;
    if (as_rng_below(strike->rng, 2))
        strike->hold_ms = 0;
    return victims->count ? STRIKE_DONE : STRIKE_NOTHING;
}

const struct nemesis nemesis_power = {
    .name = "power-cut",
    .about = "nodes and PostgreSQL servers lose what they had not synced, torn by sector",
    .usable = disks_usable,
    .prepare = disks_prepare,
    .started = disks_settle,
    .strike = power_strike,
    .heal = start_again,
    .finish = disks_finish,
};

/* --- EIO --- */

/*
 * A server is told that nothing can be synced or written any more, not only once: it starts again by itself after a panic, and
 * would acknowledge what stands on pages that the kernel has given up.
 */
static enum strike_result eio_strike(struct world *world, struct strike *strike)
{
    static const char *const kinds[] = {"sync", "sync", "write", "read"};
    struct victims *victims = victims_new(strike);
    bool database = as_rng_below(strike->rng, 3) == 0;
    struct process *process;
    const struct disk *disk;
    uint64_t count;

    victims->what = kinds[as_rng_below(strike->rng, AS_COUNT_OF(kinds))];
    (void)snprintf(strike->what, sizeof(strike->what), "EIO at every %s of ", victims->what);
    victims_take(world, strike, victims, !database, database);
    if (!victims->count)
        return STRIKE_NOTHING;
    process = victims->each[0];
    disk = disk_of(process->place);
    count = database ? 0 : as_rng_below(strike->rng, 2);
    if (count)
        (void)snprintf(strike->what, sizeof(strike->what), "EIO at one %s of %s", victims->what,
                       process->name);
    victims->failed_before = disk_syncs_failed(disk);
    process_expect_end(process, true);
    return disk_tell(world, disk, "fail %s %llu", victims->what, (unsigned long long)count)
               ? STRIKE_DONE
               : STRIKE_FAILED;
}

static bool has_ended(void *ctx)
{
    const struct process *process = ctx;

    return process->pid == 0;
}

static bool eio_heal(struct world *world, struct strike *strike)
{
    struct victims *victims = strike->own;
    struct process *process = victims->each[0];

    /* A failed sync ends a node: it is never tried again (common/uv/disk_dir.c). */
    if (victims->count && process->kind == PROCESS_NODE && strcmp(victims->what, "sync") == 0 &&
        disk_syncs_failed(disk_of(process->place)) > victims->failed_before &&
        !world_wait(world, has_ended, process, END_MS))
        return world_fail(world, "a sync of %s failed, and it went on", process->name);
    if (victims->count && !disk_power_cut(world, process, as_rng_next(strike->rng)))
        return false;
    return start_again(world, strike);
}

const struct nemesis nemesis_eio = {
    .name = "eio",
    .about = "reads, writes or syncs of a node's or a server's disk fail, one or all of them",
    .usable = disks_usable,
    .prepare = disks_prepare,
    .started = disks_settle,
    .strike = eio_strike,
    .heal = eio_heal,
    .finish = disks_finish,
};

/* --- Full --- */

static bool says_full(void *ctx)
{
    const struct node *node = ctx;
    struct answer answer;
    bool full;

    http_at(node->api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    full = cJSON_IsTrue(cJSON_GetObjectItem(answer.json, "disk_full"));
    answer_free(&answer);
    return full;
}

/* Until the first of them needs a further segment: what it has laid out ahead it may fill. */
static enum strike_result full_strike(struct world *world, struct strike *strike)
{
    struct victims *victims = victims_new(strike);
    int count = as_rng_below(strike->rng, 4) ? 1 : 1 + (int)as_rng_below(strike->rng, WORLD_NODES);

    victims_take(world, strike, victims, count, 0);
    for (int i = 0; i < victims->count; i++) {
        const struct disk *disk = disk_of(victims->each[i]->place);

        /* In two steps: the second one takes what is less than a block of the first. */
        (void)world_run(world,
                        "dd if=/dev/zero of=%s/filler bs=1M; dd if=/dev/zero bs=4k >>%s/filler",
                        disk->small, disk->small);
    }
    /* Another strike may keep its log from growing. */
    return victims->count &&
                   world_wait(world, says_full, &world->nodes[victims->each[0]->number], FULL_MS)
               ? STRIKE_DONE
               : STRIKE_NOTHING;
}

static bool full_heal(struct world *world, struct strike *strike)
{
    struct victims *victims = strike->own;
    bool well = true;

    for (int i = 0; i < victims->count; i++)
        well &= world_run(world, "rm -f %s/filler", disk_of(victims->each[i]->place)->small);
    world_give_back(world, strike);
    free(victims);
    return well || world_fail(world, "cannot make room again");
}

const struct nemesis nemesis_full = {
    .name = "disk-full",
    .about = "the small disk of one or more nodes is filled to the last block, and has room again",
    .usable = disks_usable,
    .prepare = disks_prepare,
    .started = disks_settle,
    .strike = full_strike,
    .heal = full_heal,
    .finish = disks_finish,
};
