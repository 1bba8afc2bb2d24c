/*
 * A snapshot received from the leader takes the place of the log: at any moment the log is the old
 * one or the new one, votes stand, and nothing of the old log comes back behind the new one.
 */
#include "coordinator/log/format.h"
#include "world.h"

static void reopen(struct world *world, bool power)
{
    world_crash(world, power);
    if (world_open(world) != AS_OK)
        fail_msg("refused: %s", world->report.detail);
}

static void install(struct world *world, uint64_t index, uint64_t term)
{
    assert_int_equal(world_install(world, index, term), AS_OK);
    world_settle(world);
    assert_int_equal(world->snapshot, index);
    assert_int_equal(log_last_index(world->log), index);
    assert_int_equal(log_persisted_index(world->log), index);
}

/* Further than the log, to its last index in another term, and back behind it. */
static void test_takes_the_logs_place(void **state)
{
    static const uint64_t at[] = {300, 61, 60, 59, 31};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(at); i++) {
        struct world world;

        world_start(&world, 1);
        world_commit(&world, 60);
        assert_int_equal(world_vote(&world), AS_OK);
        assert_int_equal(world_snapshot_at(&world, 30), AS_OK);
        world_flush(&world);
        world_settle(&world);
        world_timer(&world);
        world_settle(&world);
        assert_int_equal(log_deadline(world.log), AS_NEVER);
        install(&world, at[i], 7);
        assert_int_equal(log_deadline(world.log),
                         world.now + 100 * AS_MS); /* it wants a mark too */
        world_commit(&world, 5);
        assert_int_equal(log_last_index(world.log), at[i] + 5);
        reopen(&world, true);
        assert_int_equal(world.report.snapshot_index, at[i]);
        assert_true(world.report.snapshot_received);
        assert_int_equal(world.report.last_index, at[i] + 5);
        assert_int_equal(world.report.vote_term, 1);
        world_commit(&world, 100);
        world_snapshot(&world);
        reopen(&world, true);
        assert_false(world.report.snapshot_received);
        install(&world, 1000, 8); /* and once more */
        reopen(&world, true);
        assert_int_equal(world.report.last_index, 1000);
        assert_int_equal(world.report.last_term, 8);
        world_close(&world);
    }
}

static void test_an_empty_log_gets_one(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 2);
    install(&world, 500, 3);
    reopen(&world, true);
    world_commit(&world, 1);
    assert_int_equal(world_truncate(&world, 501), AS_OK); /* term 3 lies before it */
    assert_int_equal(world_truncate(&world, 500), AS_ERR_INVALID);
    world_commit(&world, 1);
    reopen(&world, false);
    assert_int_equal(world.report.last_index, 501);
    world_close(&world);
}

/* Between the last chunk and the end nothing is appended, or it would be acknowledged and lost;
 * votes go on. */
static void test_what_is_taken_meanwhile(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 3);
    world_commit(&world, 20);
    assert_int_equal(world_install(&world, 40, 2), AS_OK);
    assert_true(world.wants_chunk);
    assert_int_equal(world_step(&world, (struct log_event){.kind = LOG_SNAPSHOT_CHUNK}),
                     AS_ERR_INVALID);
    while (!world.switching) {
        assert_int_equal(world_append(&world, true), AS_OK);
        assert_int_equal(world_truncate(&world, log_last_index(world.log)), AS_OK);
        assert_int_equal(world_append(&world, true), AS_OK);
        world_flush(&world);
        if (world.wants_chunk)
            world_feed(&world);
        else
            (void)world_finish(&world, (size_t)as_rng_below(&world.rng, world.disk.queued));
    }
    assert_int_equal(world_append(&world, true), AS_ERR_BUSY);
    while (world.switching) {
        assert_int_equal(world_append(&world, true), AS_ERR_BUSY);
        assert_int_equal(world_truncate(&world, log_last_index(world.log)), AS_ERR_BUSY);
        assert_int_equal(world_install(&world, 50, 2), AS_ERR_BUSY);
        assert_int_equal(world_vote(&world), AS_OK);
        world_flush(&world);
        if (world.disk.queued)
            (void)world_finish(&world, (size_t)as_rng_below(&world.rng, world.disk.queued));
    }
    assert_int_equal(world_append(&world, true), AS_OK);
    world_flush(&world);
    world_settle(&world);
    assert_int_equal(world.acked, world.count);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 41);
    world_close(&world);
}

static void test_refusals(void **state)
{
    struct world world;
    struct log_event chunk = {.kind = LOG_INSTALL_CHUNK};

    (void)state;
    world_start(&world, 4);
    world_commit(&world, 120);
    assert_int_equal(world_step(&world, chunk), AS_ERR_INVALID);
    assert_int_equal(world_install(&world, 0, 1), AS_ERR_INVALID);
    assert_int_equal(world_install(&world, 200, 0), AS_ERR_INVALID);
    assert_int_equal(world_install(&world, 99, 2), AS_ERR_EXISTS); /* that very entry */
    assert_int_equal(world_snapshot_at(&world, 60), AS_OK);
    assert_int_equal(world_install(&world, 60, 9), AS_ERR_INVALID); /* that snapshot comes */
    assert_true(world.wants_chunk);
    world_settle(&world);
    assert_int_equal(world_install(&world, 60, 9), AS_ERR_INVALID);

    /* The entry comes while the snapshot is being received. */
    assert_int_equal(world_install(&world, 125, 3), AS_OK);
    assert_int_equal(world_snapshot_at(&world, 70), AS_ERR_BUSY);
    for (int i = 0; i < 5; i++)
        assert_int_equal(world_append(&world, true), AS_OK);
    while (world.chunk + 1 < WORLD_CHUNKS) {
        if (world.wants_chunk)
            world_feed(&world);
        else
            (void)world_finish(&world, 0);
    }
    while (!world.wants_chunk)
        (void)world_finish(&world, 0);
    chunk.chunk.last = true;
    assert_int_equal(world_step(&world, chunk), AS_ERR_EXISTS);
    assert_int_equal(world_append(&world, true), AS_OK);
    world_install_give_up(&world);
    world.install = 0;
    world_flush(&world);
    world_settle(&world);
    assert_int_equal(log_snapshot_index(world.log), 60);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 126);
    world_close(&world);
}

/* A crash at each operation, with votes, old entries and a full segment about. */
static void test_crashes(void **state)
{
    (void)state;
    for (int how = 0; how < 8; how++) {
        bool ended = false;

        for (int after = 0; !ended; after++) {
            struct world world;

            world_start(&world, 5 + (uint64_t)after);
            while (world.traces[AS_TRACE_SEGMENT_OPENED] < 3)
                world_commit(&world, 20);
            if (how & 2)
                world_snapshot(&world);
            for (int i = 0; i < 40; i++)
                assert_int_equal(world_append(&world, true), AS_OK);
            assert_int_equal(world_vote(&world), AS_OK);
            world_flush(&world);
            for (int i = 0; i < 9; i++)
                assert_int_equal(world_append(&world, true), AS_OK);
            assert_int_equal(
                world_install(&world, how & 4 ? log_last_index(world.log) - 3 : 900, 50), AS_OK);
            for (int i = 0; i < after && !ended; i++) {
                if (i % 5 == 4)
                    assert_int_equal(world_vote(&world), AS_OK);
                if (i % 7 == 3)
                    world_flush(&world);
                if (world.wants_chunk)
                    world_feed(&world);
                else if (world.disk.queued)
                    (void)world_finish(&world, (size_t)as_rng_below(&world.rng, world.disk.queued));
                else
                    ended = !world.install;
            }
            reopen(&world, how & 1);
            world_commit(&world, 3);
            reopen(&world, true);
            assert_int_equal(world.report.cut_bytes, 0);
            world_commit(&world, 200);
            reopen(&world, true);
            world_close(&world);
        }
    }
}

/* A local snapshot at any stage gives way; what it had on the disk is gone. */
static void test_a_local_snapshot_gives_way(void **state)
{
    (void)state;
    for (int after = 0; after < 20; after++) {
        struct world world;

        world_start(&world, 6);
        while (world.traces[AS_TRACE_SEGMENT_OPENED] < 2)
            world_commit(&world, 20);
        assert_int_equal(world_snapshot_at(&world, 20), AS_OK);
        for (int i = 0; i < after; i++) {
            if (world.wants_chunk)
                world_feed(&world);
            else if (world.disk.queued)
                (void)world_finish(&world, 0);
        }
        install(&world, 1000, 40);
        assert_true(world.given_up != (world.traces[AS_TRACE_SNAPSHOT_WRITTEN] == 2));
        for (size_t i = 0; i < FAKE_FILES; i++)
            assert_true(!world.disk.files[i].used || !strstr(world.disk.files[i].name, ".tmp"));
        world_commit(&world, 1);
        reopen(&world, true);
        world_close(&world);
    }
}

/* Another leader, another snapshot: begun anew, or given up, at any moment before its last chunk. */
static void test_begun_anew_at_any_moment(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++)
        for (int after = 0; after < 8; after++) {
            struct world world;

            world_start(&world, 7);
            world_commit(&world, 20);
            assert_int_equal(world_install(&world, 100, 2), AS_OK);
            for (int i = 0; i < after && !world.switching; i++) {
                if (world.wants_chunk)
                    world_feed(&world);
                else if (world.disk.queued)
                    (void)world_finish(&world, 0);
            }
            if (how == 0) {
                world_install_give_up(&world);
                if (world.switching) { /* in time still: its bytes had not been synced */
                    world.switching = false;
                    assert_int_equal(world_append(&world, true), AS_OK);
                }
                world.install = 0;
                world_settle(&world);
                world_commit(&world, 3);
                assert_int_equal(log_snapshot_index(world.log), 0);
            } else if (!world.switching) {
                if (how == 2)
                    world_install_give_up(&world);
                install(&world, how == 1 ? 100 : 90, 3);
            } else {
                assert_int_equal(world_install(&world, 90, 3), AS_ERR_BUSY);
                world_settle(&world);
            }
            reopen(&world, true);
            world_commit(&world, 1);
            world_close(&world);
        }
}

/* Given up once it has its name: too late, the log begins anew all the same. */
static void test_given_up_too_late(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 8);
    world_commit(&world, 20);
    assert_int_equal(world_install(&world, 100, 2), AS_OK);
    while (log_snapshot_index(world.log) == 0) {
        if (world.wants_chunk)
            world_feed(&world);
        else
            (void)world_finish(&world, 0);
    }
    world_install_give_up(&world);
    world_settle(&world);
    assert_int_equal(log_last_index(world.log), 100);
    world_commit(&world, 1);
    reopen(&world, true);
    world_close(&world);
}

/* The segment is full when the log must say INSTALL: another one is opened first; without space the
 * log waits until there is some. */
static void test_no_room_in_the_segment(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct world world;
        as_err err = AS_OK;

        world_start(&world, 9);
        world_commit(&world, 5);
        if (full) {
            world.disk.space = fake_used(&world.disk) + 60000; /* a snapshot fits, no segment */
            while (!err) {
                err = world_vote(&world);
                world_flush(&world);
                world_settle(&world);
            }
            assert_int_equal(err, AS_ERR_NOSPACE);
            assert_true(world.effects.full);
        }
        while (!full && world.disk.queue[0].offset + LOG_RECORD_HEADER + 2 * LOG_RECORD_HEADER <=
                            AS_SEGMENT_BYTES_MIN - LOG_RECORD_HEADER) {
            world_settle(&world);
            assert_int_equal(world_append_len(&world, true, 0, NULL, 1), AS_OK);
            world_flush(&world);
        }
        world_settle(&world);
        assert_int_equal(world_install(&world, 2000, 20), AS_OK);
        world_settle(&world);
        if (full) {
            assert_true(world.switching);
            assert_int_equal(world_append(&world, true), AS_ERR_BUSY);
            world.disk.space = 0;
            world_timer(&world);
            world_settle(&world);
        }
        assert_false(world.switching);
        assert_int_equal(log_last_index(world.log), 2000);
        assert_int_equal(world.traces[AS_TRACE_SEGMENT_OPENED], 1);
        world_commit(&world, 5);
        reopen(&world, true);
        world_close(&world);
    }
}

/* The segment is full to its last byte when the crash comes, and again when the next one does: what
 * the log must say has a segment of its own, or room. */
static void test_crashes_at_the_end_of_a_segment(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 10);
    while (log_last_index(world.log) < 1095)
        assert_int_equal(world_append_len(&world, true, 0, NULL, 1), AS_OK);
    world_flush(&world);
    world_settle(&world);
    world_timer(&world); /* the mark takes the room kept for it */
    world_settle(&world);
    assert_int_equal(world.traces[AS_TRACE_SEGMENT_OPENED], 0);
    assert_int_equal(world_append_len(&world, true, 0, NULL, 1), AS_OK);
    for (uint64_t i = 1; i < 9; i++) {
        assert_int_equal(world_install(&world, 5000 * i, 60 * i), AS_OK);
        while (log_snapshot_index(world.log) < 5000 * i) {
            if (world.wants_chunk)
                world_feed(&world);
            else
                (void)world_finish(&world, 0);
        }
        reopen(&world, i % 2);
        assert_int_equal(world.report.last_index, 5000 * i);
        if (i % 3 == 0) /* else the next crash finds it unsaid still */
            world_commit(&world, 1);
    }
    world_commit(&world, 3);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 40003);
    world_close(&world);
}

/* Want of space while it is written: given up. At its rename: the next opening may find it, so the
 * process ends before anything is written that it would undo. */
static void test_no_space(void **state)
{
    bool fatal = false, lived = false;

    (void)state;
    for (uint64_t n = 1; n < 12; n++) {
        struct world world;
        enum as_disk_kind kind;

        world_start(&world, 11);
        world_commit(&world, 20);
        world.disk.fail_err = AS_ERR_NOSPACE;
        world.disk.fail_at = world.disk.ops + n;
        assert_int_equal(world_install(&world, 100, 2), AS_OK);
        kind = AS_DISK_APPEND;
        while (!world.fatal && !world.disk.failed && world.install) {
            if (world.wants_chunk) {
                world_feed(&world);
            } else {
                kind = world.disk.queue[0].kind;
                (void)world_finish(&world, 0);
            }
        }
        if (world.disk.failed && (kind == AS_DISK_APPEND || kind == AS_DISK_SYNC)) {
            lived = true;
            assert_null(world.fatal);
            assert_true(world.install_given_up);
            world_settle(&world);
            world_commit(&world, 5);
            install(&world, 100, 2);
        } else if (world.disk.failed) {
            fatal |= kind == AS_DISK_RENAME;
            assert_non_null(world.fatal);
        }
        world.disk.fail_at = 0;
        reopen(&world, true);
        world_close(&world);
    }
    assert_true(fatal && lived);
}

/* Given up, and then there is no space for what was under way: the other's business by now. */
static void test_no_space_for_what_is_given_up(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 14);
    world_commit(&world, 20);
    world.disk.fail_err = AS_ERR_NOSPACE;
    assert_int_equal(world_install(&world, 100, 2), AS_OK);
    world_feed(&world);
    world.disk.fail_at = world.disk.ops + 1;
    install(&world, 90, 3); /* in its place */
    assert_true(world.disk.failed);
    assert_false(world.install_given_up);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 90);
    world_close(&world);
}

static void make_installed(struct world *world, uint64_t seed)
{
    world_start(world, seed);
    world_commit(world, 30);
    install(world, 90, 5);
    world_commit(world, 4);
    world_crash(world, true);
}

static void must_refuse(struct world *world, const char *why)
{
    struct log *log = NULL;
    uint64_t changes = world->disk.changes;

    assert_int_equal(world_open_as(world, &world->config, &log), AS_ERR_CORRUPT);
    if (!strstr(world->report.detail, why))
        fail_msg("%s", world->report.detail);
    assert_true(world->disk.changes == changes);
}

/* The log relies on the snapshot: without it the void entries would be back. */
static void test_without_its_snapshot(void **state)
{
    struct world world;

    (void)state;
    make_installed(&world, 12);
    fake_drop(fake_find(&world.disk, "000000000000005a.snap"));
    must_refuse(&world, "000000000000005a.snap, was removed");
    world_close(&world);
}

/* A snapshot, sound in itself, that was not taken of this log. */
static void test_a_snapshot_of_another_history(void **state)
{
    static uint8_t bytes[1024];

    (void)state;
    for (int how = 0; how < 3; how++) {
        struct log_snapshot snapshot = {.identity = {.cluster = "demo", .node = WORLD_NODE},
                                        .index = how == 2 ? 95 : 90,
                                        .term = how == 1 ? 6 : 5};
        struct as_bytes chunk = {bytes + LOG_HEADER_BYTES + LOG_CHUNK_HEADER, 100};
        size_t total = LOG_HEADER_BYTES + LOG_CHUNK_HEADER + 100;
        struct world world;
        char name[AS_FILE_NAME_MAX + 1];
        uint64_t salt;

        make_installed(&world, 13);
        snapshot.identity.incarnation = world.config.incarnation;
        salt = log_snapshot_salt(&snapshot);
        log_snapshot_put(bytes, &snapshot);
        log_chunk_put(bytes + LOG_HEADER_BYTES, salt, 0, chunk, true);
        log_trailer_put(bytes + total, salt, 1, 100);
        log_name_snapshot(name, snapshot.index, false);
        if (!fake_find(&world.disk, name))
            fake_new(&world.disk, name);
        fake_resize(&fake_find(&world.disk, name)->seen, 0);
        fake_store(fake_find(&world.disk, name), 0,
                   (struct as_bytes){bytes, total + LOG_TRAILER_BYTES});
        if (how == 0) {
            struct log *log = NULL;

            assert_int_equal(world_open_as(&world, &world.config, &log), AS_OK);
            log_free(log);
        } else {
            must_refuse(&world, how == 1 ? "in term 5, not 6" : "the log ends with entry 94");
        }
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_the_logs_place),
        cmocka_unit_test(test_an_empty_log_gets_one),
        cmocka_unit_test(test_what_is_taken_meanwhile),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_a_local_snapshot_gives_way),
        cmocka_unit_test(test_begun_anew_at_any_moment),
        cmocka_unit_test(test_given_up_too_late),
        cmocka_unit_test(test_no_room_in_the_segment),
        cmocka_unit_test(test_crashes_at_the_end_of_a_segment),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_space_for_what_is_given_up),
        cmocka_unit_test(test_without_its_snapshot),
        cmocka_unit_test(test_a_snapshot_of_another_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
