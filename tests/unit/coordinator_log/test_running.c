/*
 * The running log: group commit, marks, segments, refusals.
 */
#include "coordinator/log/format.h"
#include "world.h"

static void test_bootstrap(void **state)
{
    struct world world;
    struct as_disk door;

    (void)state;
    world_init(&world, 1);
    door = fake_door(&world.disk);
    assert_int_equal(world_open(&world), AS_ERR_NOTFOUND);
    world.config.incarnation = 0;
    assert_int_equal(log_bootstrap(&world.config, &door), AS_ERR_INVALID);
    world.config.incarnation = 99;
    world.config.segment_bytes = 4096;
    assert_int_equal(log_bootstrap(&world.config, &door), AS_ERR_INVALID);
    world.config.segment_bytes = AS_SEGMENT_BYTES_MIN;
    assert_int_equal(log_bootstrap(&world.config, &door), AS_OK);
    assert_int_equal(log_bootstrap(&world.config, &door), AS_ERR_EXISTS);
    world.config.incarnation = 0;
    world.config.node = 0;
    world.config.cluster[0] = '\0';
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.report.incarnation, 99);
    assert_int_equal(world.report.node, WORLD_NODE);
    assert_string_equal(world.report.cluster, "demo");
    assert_int_equal(log_deadline(world.log), AS_NEVER);
    world_close(&world);
}

/* A bootstrap cut off anywhere is no log, and can be begun again. */
static void test_bootstrap_crash(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct world world;
        struct as_disk door;
        as_err err;
        bool failed;

        world_init(&world, n);
        door = fake_door(&world.disk);
        world.disk.fail_at = n;
        world.disk.fail_in_part = true;
        err = log_bootstrap(&world.config, &door);
        failed = world.disk.failed;
        assert_int_equal(err, failed ? AS_ERR_IO : AS_OK);
        world_crash(&world, true);
        err = world_open(&world);
        if (err) {
            assert_int_equal(err, AS_ERR_NOTFOUND);
            assert_int_equal(log_bootstrap(&world.config, &door), AS_OK);
            assert_int_equal(world_open(&world), AS_OK);
        }
        world_commit(&world, 1);
        world_close(&world);
        if (!failed)
            return;
    }
}

static void test_group_commit(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 2);
    assert_int_equal(world_append(&world, true), AS_OK);
    assert_int_equal(world.disk.queued, 0); /* nothing before the flush */
    world_flush(&world);
    assert_int_equal(world.disk.queued, 1);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(world_append(&world, true), AS_OK);
        world_flush(&world);
        assert_int_equal(world.disk.queued, 1); /* one write in flight */
    }
    assert_int_equal(world.acked, 0);
    (void)world_finish(&world, 0);
    assert_int_equal(world.acked, 1);
    assert_int_equal(world.disk.queued, 1); /* the flushes before were not forgotten */
    assert_int_equal(world_append(&world, true), AS_OK);
    (void)world_finish(&world, 0);
    assert_int_equal(world.acked, 8);       /* one sync for all that gathered */
    assert_int_equal(world.disk.queued, 0); /* the ninth was not flushed */
    world_flush(&world);
    world_settle(&world);
    assert_int_equal(world.acked, 9);
    {
        struct log_counts counts;

        log_count(world.log, &counts);
        assert_int_equal(counts.records, 9);
        assert_int_equal(counts.syncs, 3);
        assert_int_equal(counts.batch_records_last, 1);
    }
    world_close(&world);
}

static void test_mark_once(void **state)
{
    struct world world;
    as_time at;

    (void)state;
    world_start(&world, 3);
    world_commit(&world, 3);
    at = log_deadline(world.log);
    assert_int_equal(at, world.now + 100 * AS_MS);
    world.now = at - 1;
    assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_TIMER}), AS_OK);
    assert_int_equal(world.disk.queued, 0);
    world.now = at;
    assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_TIMER}), AS_OK);
    assert_int_equal(world.disk.queued, 1);
    assert_int_equal(world.disk.queue[0].kind, AS_DISK_WRITE);
    assert_int_equal(world.disk.queue[0].bytes.len, LOG_RECORD_HEADER);
    assert_int_equal(log_deadline(world.log), AS_NEVER);
    world_settle(&world);
    assert_int_equal(log_deadline(world.log), AS_NEVER); /* no mark after a mark */
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(log_deadline(world.log), AS_NEVER);
    world_commit(&world, 1);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    assert_true(log_deadline(world.log) <= world.now); /* replayed without a mark: due at once */
    world_close(&world);
}

/* A mark is due while a write is in flight: it comes right after it. */
static void test_mark_after_a_long_write(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 4);
    assert_int_equal(world_append(&world, true), AS_OK);
    world_flush(&world);
    assert_int_equal(log_deadline(world.log), AS_NEVER);
    world.now += AS_SECOND;
    (void)world_finish(&world, 0);
    assert_int_equal(world.disk.queued, 1);
    assert_int_equal(world.disk.queue[0].bytes.len, LOG_RECORD_HEADER);
    world_settle(&world);
    world_close(&world);
}

static void test_refusals_change_nothing(void **state)
{
    static uint8_t bytes[AS_SEGMENT_BYTES_MIN];
    struct world world;
    struct log_event append = {.kind = LOG_APPEND};

    (void)state;
    world_start(&world, 5);
    world_commit(&world, 60); /* terms 1 and 2 */
    append.append.entry = (struct log_entry){.index = 62, .term = 2};
    assert_int_equal(world_step(&world, append), AS_ERR_INVALID);
    append.append.entry = (struct log_entry){.index = 61, .term = 1};
    assert_int_equal(world_step(&world, append), AS_ERR_INVALID);
    assert_int_equal(
        world_append_len(&world, true, sizeof bytes / 4 - LOG_RECORD_HEADER + 1, bytes, 0),
        AS_ERR_TOOBIG);
    append.append.entry = (struct log_entry){.index = 61, .term = 2, .payload = {bytes, SIZE_MAX}};
    assert_int_equal(world_step(&world, append), AS_ERR_TOOBIG);
    assert_int_equal(
        world_step(&world, (struct log_event){.kind = LOG_DISK_DONE, .disk_done = {12345, AS_OK}}),
        AS_ERR_INVALID);
    assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_SNAPSHOT_CHUNK}),
                     AS_ERR_INVALID);
    assert_int_equal(world_snapshot_at(&world, 61), AS_ERR_INVALID);
    assert_int_equal(world_vote(&world), AS_OK);
    assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_VOTE, .vote = {1, 9}}),
                     AS_ERR_INVALID); /* another vote in term 1, or a lower term */
    assert_int_equal(log_last_index(world.log), 60);
    world_commit(&world, 1);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.count, 62);
    world_close(&world);
}

/* Many segments, in writes that the end of a segment cuts in two; votes among them. */
static void test_segments_roll(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 6);
    for (int i = 0; i < 40; i++) {
        for (int n = 0; n < 25; n++)
            assert_int_equal(world_append(&world, true), AS_OK);
        assert_int_equal(world_vote(&world), AS_OK);
        world_flush(&world);
        if (i % 3 == 0)
            world_settle(&world);
    }
    world_settle(&world);
    assert_int_equal(world.acked, world.count);
    assert_true(world.traces[AS_TRACE_SEGMENT_OPENED] >= 8);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.count, 40 * 26);
    assert_int_equal(world.report.cut_bytes, 0);
    assert_true(world.report.segments >= 9);
    world_close(&world);
}

/* Segments that hold only votes go as soon as they are left: each header repeats the last vote. */
static void test_votes_alone(void **state)
{
    struct log_counts counts;
    struct world world;

    (void)state;
    world_start(&world, 7);
    for (int round = 0; round < 3; round++) {
        world_commit(&world, 1);
        world_snapshot(&world);
        for (int i = 0; i < 3000; i++) {
            assert_int_equal(world_vote(&world), AS_OK);
            if (i % 7 == 0)
                world_flush(&world);
            if (i % 100 == 0)
                world_settle(&world);
        }
        world_flush(&world);
        world_settle(&world);
        log_count(world.log, &counts);
        assert_int_equal(counts.segments, 1);
        world_crash(&world, true);
        assert_int_equal(world_open(&world), AS_OK);
    }
    assert_true(fake_used(&world.disk) < 6 * AS_SEGMENT_BYTES_MIN);
    world_close(&world);
}

/* A larger or smaller configured size takes effect with the next segment. */
static void test_segment_size_changes(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 8);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 10; i++)
            world_commit(&world, 25);
        world_crash(&world, true);
        world.config.segment_bytes = AS_SEGMENT_BYTES_MIN << (round % 3);
        assert_int_equal(world_open(&world), AS_OK);
    }
    world_close(&world);
}

static void test_old_segment_of_another_life_is_no_record(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 9);
    /* Recycled again and again: old bytes everywhere behind the tail. */
    for (int i = 0; i < 60; i++) {
        world_commit(&world, 60);
        if (i % 3 == 2)
            world_snapshot(&world);
        if (i % 7 == 6) {
            world_crash(&world, true);
            assert_int_equal(world_open(&world), AS_OK);
            assert_int_equal(world.report.cut_bytes, 0);
        }
    }
    assert_true(fake_used(&world.disk) < 10 * AS_SEGMENT_BYTES_MIN);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_bootstrap_crash),
        cmocka_unit_test(test_group_commit),
        cmocka_unit_test(test_mark_once),
        cmocka_unit_test(test_mark_after_a_long_write),
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_segments_roll),
        cmocka_unit_test(test_votes_alone),
        cmocka_unit_test(test_segment_size_changes),
        cmocka_unit_test(test_old_segment_of_another_life_is_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
