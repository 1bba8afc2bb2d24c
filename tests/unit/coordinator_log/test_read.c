/*
 * Reading the newest snapshot while the log runs: the right bytes or a refusal, never others; and it
 * is not taken away under its reader.
 */
#include "coordinator/log/format.h"
#include "world.h"

static void read_all(struct world *world)
{
    uint64_t before = world->reads;

    for (uint32_t number = 0; number < WORLD_CHUNKS; number++) {
        assert_int_equal(world_read(world, log_snapshot_index(world->log), number), AS_OK);
        world_settle(world);
    }
    assert_int_equal(world->reads, before + WORLD_CHUNKS);
    assert_int_equal(world_read(world, log_snapshot_index(world->log), WORLD_CHUNKS),
                     AS_ERR_NOTFOUND);
}

/* Taken here, received, and found at opening: all the same. */
static void test_every_snapshot_can_be_read(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 1);
    assert_int_equal(world_read(&world, 0, 0), AS_ERR_NOTFOUND);
    assert_int_equal(world_read(&world, 7, 0), AS_ERR_NOTFOUND);
    world_commit(&world, 50);
    world_snapshot(&world);
    read_all(&world);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    read_all(&world);
    assert_int_equal(world_install(&world, 90, 9), AS_OK);
    world_settle(&world);
    read_all(&world);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    read_all(&world);
    world_close(&world);
}

/* One at a time; while a newer one is written the reader goes on; then it is told to begin anew. */
static void test_a_newer_one_comes(void **state)
{
    (void)state;
    for (int after = 0; after < 9; after++) {
        struct world world;

        world_start(&world, 2);
        world_commit(&world, 50);
        world_snapshot(&world);
        world_commit(&world, 10);
        assert_int_equal(world_snapshot_at(&world, 60), AS_OK);
        for (int i = 0; i < after; i++) {
            if (world.wants_chunk)
                world_feed(&world);
            else if (world.disk.queued)
                (void)world_finish(&world, 0);
        }
        if (log_snapshot_index(world.log) == 60) {
            assert_int_equal(world_read(&world, 50, 1), AS_OK);
            assert_int_equal(world.effects.chunk.index, 50);
            assert_int_equal(world.effects.chunk.err, AS_ERR_NOTFOUND);
            assert_int_equal(world_read(&world, 60, 0), AS_OK);
            world_settle(&world);
            assert_int_equal(world.reads, 1);
            world_close(&world);
            continue;
        }
        assert_int_equal(world_read(&world, 50, 1), AS_OK);
        assert_int_equal(world_read(&world, 50, 2), AS_ERR_BUSY);
        /* Its end comes last: the file may not be gone by then. */
        while (world.wants_chunk || world.disk.queued > 1) {
            size_t i = 0;

            if (world.wants_chunk) {
                world_feed(&world);
                continue;
            }
            while (world.disk.queue[i].kind == AS_DISK_READ)
                i++;
            (void)world_finish(&world, i);
        }
        assert_int_equal(log_snapshot_index(world.log), 60);
        assert_non_null(fake_find(&world.disk, "0000000000000032.snap"));
        /* Nor does the next one begin before it is. */
        world_commit(&world, 0);
        assert_int_equal(world.reads, 1);
        world_settle(&world);
        assert_null(fake_find(&world.disk, "0000000000000032.snap"));
        world_commit(&world, 5);
        world_snapshot(&world);
        read_all(&world);
        world_close(&world);
    }
}

/* Every bit of every chunk: found, told, and no reason to end the process. */
static void test_rot(void **state)
{
    struct world world;
    struct fake_file *file;
    uint64_t bits;

    (void)state;
    world_start(&world, 3);
    world_commit(&world, 50);
    assert_int_equal(world_snapshot_at(&world, 44), AS_OK);
    world_settle(&world);
    file = fake_find(&world.disk, "000000000000002c.snap");
    bits = (file->seen.size - LOG_TRAILER_BYTES) * 8;
    for (uint64_t bit = LOG_HEADER_BYTES * 8; bit < bits; bit += bit < 700 * 8 ? 1 : 101) {
        int damaged = 0;

        file->seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (uint32_t number = 0; number < WORLD_CHUNKS; number++) {
            assert_int_equal(world_read(&world, 44, number), AS_OK);
            (void)world_finish(&world, 0);
            damaged += world.effects.chunk.err == AS_ERR_CORRUPT;
            assert_true(!world.effects.chunk.err || !world.effects.chunk.bytes.len);
            assert_null(world.fatal);
        }
        assert_int_equal(damaged, 1);
        file->seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(world.traces[AS_TRACE_SNAPSHOT_DAMAGED] > 1000);
    read_all(&world);
    world_close(&world);
}

/* A read that fails, a file that got shorter, no memory: told; the log goes on. */
static void test_failures(void **state)
{
    struct world world;
    struct fake_file *file;

    (void)state;
    world_start(&world, 4);
    world_commit(&world, 50);
    assert_int_equal(world_snapshot_at(&world, 44), AS_OK);
    world_settle(&world);
    world.disk.fail_at = world.disk.ops + 1;
    assert_int_equal(world_read(&world, 44, 0), AS_OK);
    (void)world_finish(&world, 0);
    assert_int_equal(world.effects.chunk.err, AS_ERR_IO);
    assert_null(world.fatal);
    file = fake_find(&world.disk, "000000000000002c.snap");
    fake_resize(&file->seen, file->seen.size - LOG_TRAILER_BYTES - 1);
    assert_int_equal(world_read(&world, 44, WORLD_CHUNKS - 1), AS_OK);
    (void)world_finish(&world, 0);
    assert_int_equal(world.effects.chunk.err, AS_ERR_IO);
    world_commit(&world, 5);
    assert_int_equal(world_snapshot_at(&world, 50), AS_OK); /* the next one replaces it */
    world_settle(&world);
    read_all(&world);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_snapshot_can_be_read),
        cmocka_unit_test(test_a_newer_one_comes),
        cmocka_unit_test(test_rot),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
