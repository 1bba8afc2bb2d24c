/*
 * The Nth-failure loops: the 1st, 2nd, 3rd ... allocation or disk operation of a fixed life fails,
 * until a run has no failure left. And a crash at each operation of a snapshot.
 */
#include "world.h"

/* A life that meets everything: segments, votes, truncations, snapshots taken and received,
 * recycling, marks. Returns at the first failure. */
static void life(struct world *world)
{
    for (int i = 0; i < 24 && !world->fatal; i++) {
        for (int n = 0; n < 20; n++)
            if (world_append(world, true) != AS_OK)
                return;
        if (world_vote(world) != AS_OK)
            return;
        if (i % 6 == 5 && world_truncate(world, log_last_index(world->log) - 5) != AS_OK)
            return;
        if (i == 20 && world_install(world, log_last_index(world->log) + 9, 70) != AS_OK)
            return;
        world_flush(world);
        if (i % 8 == 7 && !world->fatal)
            (void)world_snapshot_at(world, log_persisted_index(world->log));
        world_settle(world);
        if (i % 5 == 0 && !world->fatal) {
            world_timer(world);
            world_settle(world);
        }
    }
}

static void must_open_whole(struct world *world)
{
    world->disk.fail_at = 0;
    world_crash(world, true);
    if (world_open(world) != AS_OK)
        fail_msg("refused: %s", world->report.detail);
}

/* A failed operation is fatal, the log takes nothing more, and the next start has all that was
 * acknowledged. */
static void test_each_operation_fails(void **state)
{
    uint64_t n = 1;

    (void)state;
    for (bool failed = true; failed; n++) {
        struct world world;

        world_start(&world, 1);
        world.disk.fail_at = world.disk.ops + n;
        life(&world);
        failed = world.disk.failed;
        assert_int_equal(failed, world.fatal != NULL);
        if (failed) {
            assert_non_null(strstr(world.fatal, "decision log: cannot "));
            assert_int_equal(world_append(&world, true), AS_ERR_IO);
            assert_int_equal(log_deadline(world.log), AS_NEVER);
            assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_FLUSH}), AS_ERR_IO);
            assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_TIMER}), AS_ERR_IO);
        }
        must_open_whole(&world);
        world_commit(&world, 1);
        world_close(&world);
    }
    assert_true(n > 60);
}

/* Want of space at each operation: fatal only where blocks were written before, and for directory
 * work of a roll. */
static void test_each_operation_lacks_space(void **state)
{
    uint64_t fatal = 0;

    (void)state;
    for (uint64_t n = 1;; n++) {
        struct world world;
        bool failed;

        world_start(&world, 2);
        world.disk.fail_err = AS_ERR_NOSPACE;
        world.disk.fail_at = world.disk.ops + n;
        life(&world);
        failed = world.disk.failed;
        fatal += world.fatal != NULL;
        if (!world.fatal) {
            world_flush(&world);
            world_settle(&world);
            world_timer(&world);
            world_settle(&world);
            assert_int_equal(world.acked, world.count);
        }
        must_open_whole(&world);
        world_commit(&world, 1);
        world_close(&world);
        if (!failed)
            break;
    }
    assert_true(fatal > 10);
}

/* An opening whose Nth operation fails says so and has broken nothing. */
static void test_each_operation_of_an_opening_fails(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct world world;
        struct as_disk_op op;
        as_err err;
        bool failed;

        world_start(&world, 3);
        life(&world);
        /* Torn tail, old segments, leftovers: everything that an opening repairs. */
        assert_int_equal(world_snapshot_at(&world, log_persisted_index(world.log)), AS_OK);
        while (world.disk.queued || world.wants_chunk) {
            if (world.wants_chunk) {
                world_feed(&world);
                continue;
            }
            if (world.disk.queue[0].kind == AS_DISK_RENAME)
                break;
            (void)world_finish(&world, 0);
        }
        (void)fake_finish(&world.disk, 0, &op);
        world.snapshot = world.snapshot_next;
        for (int i = 0; i < 9; i++)
            assert_int_equal(world_append(&world, true), AS_OK);
        world_flush(&world);
        world_crash(&world, true);
        world.disk.fail_at = world.disk.ops + n;
        world.disk.failed = false;
        world.disk.fail_in_part = n % 2;
        err = world_open(&world);
        failed = world.disk.failed;
        assert_int_equal(err, failed ? AS_ERR_IO : AS_OK);
        if (failed)
            assert_true(world.report.detail[0]);
        must_open_whole(&world);
        world_commit(&world, 1);
        world_close(&world);
        if (!failed)
            break;
    }
}

/* A step that fails with NOMEM changed nothing: the same step again goes on as if nothing had been.
 */
static void short_of_memory(void *ctx)
{
    struct world *world = ctx;
    as_err err;

    world_clear(world);
    world_init(world, 4);
    {
        struct as_disk door = fake_door(&world->disk);

        err = log_bootstrap(&world->config, &door);
        assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
        if (err)
            assert_int_equal(log_bootstrap(&world->config, &door), AS_OK);
    }
    err = world_open(world);
    assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
    if (err)
        assert_int_equal(world_open(world), AS_OK);
    for (int i = 0; i < 300; i++) {
        uint64_t last = log_last_index(world->log), rng = world->rng.state;

        err = world_append(world, true);
        assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
        if (err) {
            assert_int_equal(log_last_index(world->log), last);
            world->rng.state = rng;
            assert_int_equal(world_append(world, true), AS_OK);
        }
        if (i % 40 == 0) {
            err = world_vote(world);
            assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
        }
        if (i % 90 == 20) {
            world_flush(world);
            world_settle(world);
        }
        if (i == 150) {
            err = world_truncate(world, last - 20);
            assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
            if (err)
                assert_int_equal(world_truncate(world, last - 20), AS_OK);
        }
        if (i == 200) {
            static uint8_t bytes[16384];
            struct log_event chunk = {.kind = LOG_SNAPSHOT_CHUNK};

            assert_int_equal(world_snapshot_at(world, 100), AS_OK);
            chunk.chunk.bytes = (struct as_bytes){bytes, world_chunk(100, 0, bytes)};
            err = world_step(world, chunk);
            assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
            if (err)
                assert_int_equal(world_step(world, chunk), AS_OK);
            world->wants_chunk = false;
            world->chunk = 1;
        }
    }
    world_flush(world);
    world_settle(world);
    assert_int_equal(world->acked, world->count);
    assert_int_equal(world->snapshot, 100);
    err = world_read(world, 100, 1);
    assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
    if (err)
        assert_int_equal(world_read(world, 100, 1), AS_OK);
    assert_int_equal(world_install(world, 1000, 70), AS_OK);
    world_settle(world);
    assert_int_equal(world->snapshot, 1000);
    assert_int_equal(world->reads, 1);
    world_crash(world, true);
    err = world_open(world);
    assert_true(err == AS_OK || (err == AS_ERR_NOMEM && test_allocation_failed()));
    if (err)
        assert_int_equal(world_open(world), AS_OK);
    log_free(world->log);
    world->log = NULL;
}

static void test_each_allocation_fails(void **state)
{
    static struct world world;

    (void)state;
    test_fail_each_allocation(short_of_memory, &world);
    world_close(&world);
}

/* Crash before, in and after each operation from the beginning of a snapshot until all is tidied.
 */
static void test_snapshot_crashes(void **state)
{
    (void)state;
    for (int power = 0; power < 2; power++) {
        for (int after = 0;; after++) {
            struct world world;
            bool ended = false;

            world_start(&world, 5 + (uint64_t)after);
            while (world.traces[AS_TRACE_SEGMENT_OPENED] < 4)
                world_commit(&world, 20);
            world_snapshot(&world);
            while (world.traces[AS_TRACE_SEGMENT_OPENED] < 8)
                world_commit(&world, 20);
            assert_int_equal(world_snapshot_at(&world, log_persisted_index(world.log)), AS_OK);
            for (int i = 0; i < after && !ended; i++) {
                if (world.wants_chunk)
                    world_feed(&world);
                else if (world.disk.queued)
                    (void)world_finish(&world, 0);
                else
                    ended = true;
            }
            world_crash(&world, power);
            assert_int_equal(world_open(&world), AS_OK);
            /* Exactly the newest snapshot is left, and no segment that it covers. */
            {
                int snapshots = 0, others = 0;

                for (size_t i = 0; i < FAKE_FILES; i++) {
                    const char *name = world.disk.files[i].name;

                    if (!world.disk.files[i].used || !name[0])
                        continue;
                    snapshots += strstr(name, ".snap") != NULL;
                    others += strstr(name, ".tmp") != NULL;
                }
                assert_int_equal(snapshots, 1);
                assert_int_equal(others, 0);
            }
            world_commit(&world, 30);
            world_close(&world);
            if (ended)
                break;
        }
    }
}

static void test_give_up_at_any_moment(void **state)
{
    (void)state;
    for (int after = 0; after < 16; after++) {
        struct world world;

        world_start(&world, 50);
        world_commit(&world, 40);
        assert_int_equal(world_snapshot_at(&world, 20), AS_OK);
        assert_int_equal(world_snapshot_at(&world, 21), AS_ERR_BUSY);
        world.snapshot_next = 20;
        for (int i = 0; i < after; i++) {
            if (world.wants_chunk)
                world_feed(&world);
            else if (world.disk.queued)
                (void)world_finish(&world, 0);
        }
        assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_SNAPSHOT_GIVE_UP}),
                         AS_OK);
        world.wants_chunk = false;
        world_settle(&world);
        assert_int_equal(world_snapshot_at(&world, 30), AS_OK);
        world_settle(&world);
        assert_int_equal(world.snapshot, 30);
        world_crash(&world, true);
        assert_int_equal(world_open(&world), AS_OK);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_operation_fails),
        cmocka_unit_test(test_each_operation_lacks_space),
        cmocka_unit_test(test_each_operation_of_an_opening_fails),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_snapshot_crashes),
        cmocka_unit_test(test_give_up_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
