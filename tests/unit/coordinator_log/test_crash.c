/*
 * Thousands of random lives: append, vote, truncate, snapshot, fill the disk, and at any moment kill the
 * process or cut the power, also in the middle of an opening. The oracle of world.h judges every
 * opening; none may be refused.
 *
 * ASSENT_SEEDS=<count> runs so many, ASSENT_SEED=<n> that one.
 */
#include "world.h"

/* What the lives together must have met, or they prove little. */
static struct {
    uint64_t opened, rolled, snapshots, truncated, installs, installed, reads, full, recovered, cut;
} met;

/* Elections without end: segments that hold only votes. */
static as_err vote_much(struct world *world)
{
    as_err err = AS_OK;

    for (int i = 0; i < 150 && !err && world->count < WORLD_RECORDS - 10; i++)
        err = world_vote(world);
    return err;
}

/* Mostly the newest entries, which may not be written yet; now and then back over segments. */
static as_err truncate_some(struct world *world)
{
    uint64_t floor =
        world->snapshot_next > world->snapshot ? world->snapshot_next : world->snapshot;
    uint64_t some = log_last_index(world->log) - floor;

    if (as_rng_below(&world->rng, 4) && some > 8)
        some = 8;
    if (!some)
        return AS_OK;
    met.truncated++;
    return world_truncate(world, log_last_index(world->log) - as_rng_below(&world->rng, some));
}

/* A leader sends its snapshot, changes its mind, or another one sends another. */
static as_err install_some(struct world *world)
{
    uint64_t some = log_last_index(world->log) + 60 - log_snapshot_index(world->log);
    as_err err;

    if (world->install && !world->switching && as_rng_below(&world->rng, 3) == 0) {
        world_install_give_up(world);
        world->install = 0;
        return AS_OK;
    }
    err = world_install(world, log_snapshot_index(world->log) + 1 + as_rng_below(&world->rng, some),
                        world->term + 1);
    met.installs += err == AS_OK;
    return err == AS_ERR_INVALID || err == AS_ERR_BUSY ? AS_OK : err;
}

/* Any chunk of the newest snapshot, or of one that is not the newest any more. */
static as_err read_some(struct world *world)
{
    as_err err =
        world_read(world, world->snapshot, (uint32_t)as_rng_below(&world->rng, WORLD_CHUNKS + 1));

    return err == AS_ERR_BUSY || err == AS_ERR_NOTFOUND ? AS_OK : err;
}

static void act(struct world *world, bool votes)
{
    struct as_rng *rng = &world->rng;
    as_err err = AS_OK;

    world->now += (as_time)as_rng_below(rng, 5) * AS_MS;
    switch (as_rng_below(rng, 12)) {
    case 0:
    case 1:
    case 2:
        if (votes && as_rng_below(rng, 8)) {
            err = vote_much(world);
            break;
        }
        for (uint64_t n = as_rng_below(rng, 6); n-- > 0 && !err;)
            err = world_append(world, as_rng_below(rng, 2));
        break;
    case 3:
        if (as_rng_below(rng, 4) == 0)
            err = world_vote(world);
        else if (as_rng_below(rng, 8) == 0)
            err = truncate_some(world);
        break;
    case 4:
    case 5:
        world_flush(world);
        break;
    case 6:
        world_timer(world);
        break;
    case 7:
        if (as_rng_below(rng, 16) == 0) {
            err = install_some(world);
        } else if (as_rng_below(rng, 4) == 0) {
            err = read_some(world);
        } else if (as_rng_below(rng, 8) == 0 && !world->install &&
                   log_persisted_index(world->log) > world->snapshot &&
                   world->snapshot_next <= world->snapshot) {
            uint64_t newer = log_persisted_index(world->log) - world->snapshot;

            err = world_snapshot_at(world, world->snapshot + 1 + as_rng_below(rng, newer));
            err = err == AS_ERR_BUSY ? AS_OK : err;
        } else if (as_rng_below(rng, 64) == 0) {
            world->disk.space = world->disk.space ? 0 : fake_used(&world->disk) + 70000;
        }
        break;
    default:
        if (world->disk.queued)
            (void)world_finish(world, (size_t)as_rng_below(rng, world->disk.queued));
        break;
    }
    assert_true(err == AS_OK || err == AS_ERR_NOSPACE || (err == AS_ERR_BUSY && world->switching));
    assert_null(world->fatal);
    if (world->given_up) {
        world->given_up = false;
        world->snapshot_next = 0;
    }
    if (world->wants_chunk && as_rng_below(rng, 3))
        world_feed(world);
}

/* Opens, now and then crashing in the middle of it first. */
static void reopen(struct world *world)
{
    as_err err;

    while (as_rng_below(&world->rng, 3) == 0) {
        world->disk.fail_at = world->disk.ops + 1 + as_rng_below(&world->rng, 14);
        world->disk.fail_in_part = true;
        world->disk.failed = false;
        err = world_open(world);
        if (err && (err != AS_ERR_IO || !world->disk.failed))
            fail_msg("refused: %s: %s", as_err_text(err), world->report.detail);
        world_crash(world, as_rng_below(&world->rng, 2));
    }
    err = world_open(world);
    if (err)
        fail_msg("refused: %s: %s", as_err_text(err), world->report.detail);
}

static void count_met(const struct world *world)
{
    met.rolled += world->traces[AS_TRACE_SEGMENT_OPENED];
    met.snapshots += world->traces[AS_TRACE_SNAPSHOT_WRITTEN];
    met.installed += world->installs;
    met.reads += world->reads;
    met.full += world->traces[AS_TRACE_DISK_FULL];
    met.recovered += world->traces[AS_TRACE_DISK_RECOVERED];
}

static void live(uint64_t seed)
{
    struct world world;

    world_start(&world, seed);
    for (int life = 0; life < 6; life++) {
        uint64_t steps = as_rng_below(&world.rng, 250);

        while (steps-- > 0 && world.count < WORLD_RECORDS - 10)
            act(&world, seed % 16 == 0);
        world_crash(&world, as_rng_below(&world.rng, 3) != 0);
        world.disk.space = 0;
        reopen(&world);
        met.opened++;
        met.cut += world.report.cut_bytes != 0;
    }
    count_met(&world);
    world_close(&world);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_random_lives(void **state)
{
    uint64_t first = number_of("ASSENT_SEED", 1);
    uint64_t count = number_of("ASSENT_SEEDS", getenv("ASSENT_SEED") ? 1 : 3000);

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("ASSENT_SEED"))
            print_message("seed %llu\n", (unsigned long long)seed);
        live(seed);
    }
    print_message(
        "%llu openings, %llu torn tails; %llu segments opened, %llu snapshots, %llu "
        "truncations, %llu of %llu installations, %llu chunks read, disk full %llu times, "
        "recovered %llu times\n",
        (unsigned long long)met.opened, (unsigned long long)met.cut, (unsigned long long)met.rolled,
        (unsigned long long)met.snapshots, (unsigned long long)met.truncated,
        (unsigned long long)met.installed, (unsigned long long)met.installs,
        (unsigned long long)met.reads, (unsigned long long)met.full,
        (unsigned long long)met.recovered);
    assert_true(count < 1000 ||
                (met.cut > 100 && met.rolled > 100 && met.snapshots > 100 && met.truncated > 1000 &&
                 met.installed > 100 && met.reads > 100 && met.full > 100 && met.recovered > 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_lives)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
