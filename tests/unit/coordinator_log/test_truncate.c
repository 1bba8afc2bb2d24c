/*
 * Truncation, as Raft needs it: entries from an index on are void, the same indexes are written
 * again, and whatever happens in between, no old entry ever stands in a new one's place or comes
 * back behind it. The oracle of world.h judges what is told to be persisted in every step.
 */
#include "coordinator/log/format.h"
#include "world.h"

static void append(struct world *world, int entries)
{
    for (int i = 0; i < entries; i++)
        assert_int_equal(world_append(world, true), AS_OK);
}

static void truncate(struct world *world, uint64_t index)
{
    assert_int_equal(world_truncate(world, index), AS_OK);
}

static void flush_and_settle(struct world *world)
{
    world_flush(world);
    world_settle(world);
    assert_int_equal(world->acked, world->count);
}

static void reopen(struct world *world, bool power)
{
    size_t acked = world->acked;

    world_crash(world, power);
    if (world_open(world) != AS_OK)
        fail_msg("refused: %s", world->report.detail);
    assert_true(world->acked >= acked);
}

static void test_the_new_entry_is_not_the_old_one(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 1);
    world_commit(&world, 10);
    truncate(&world, 5);
    assert_int_equal(world.effects.written_seq, 11);
    assert_int_equal(log_last_index(world.log), 4);
    assert_int_equal(log_persisted_index(world.log), 4); /* at once */
    append(&world, 3);
    assert_int_equal(log_last_index(world.log), 7);
    assert_int_equal(world.effects.written_seq, 14);
    assert_int_equal(log_persisted_index(world.log), 4); /* 7 is durable, but another 7 */
    world_flush(&world);
    assert_int_equal(world.disk.queued, 1); /* the cut and what follows it: one write, one sync */
    assert_int_equal(world.effects.persisted_seq, 10);
    world_settle(&world);
    assert_int_equal(world.effects.persisted_seq, 14);
    assert_int_equal(world.effects.persisted_index, 7);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 7);
    assert_int_equal(world.report.truncations, 1);
    world_close(&world);
}

static void finish_the_write(struct world *world)
{
    size_t i = 0;

    while (i < world->disk.queued && world->disk.queue[i].kind != AS_DISK_WRITE)
        i++;
    assert_true(i < world->disk.queued);
    (void)world_finish(world, i);
}

/* Old entries in every stage: durable, in flight, and only gathered. */
static void test_a_write_is_in_flight(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct world world;

        world_start(&world, 2);
        world_commit(&world, 10);
        append(&world, 10);
        world_flush(&world); /* 11 to 20 in flight */
        append(&world, 10);  /* 21 to 30 gathered */
        truncate(&world, how == 0 ? 25 : how == 1 ? 15 : 6);
        append(&world, 2);
        world_flush(&world);
        finish_the_write(&world); /* the oracle looks at what is told of it */
        assert_int_equal(world.effects.persisted_index, how == 0 ? 20 : how == 1 ? 14 : 5);
        if (how == 3) { /* once more, while the first cut is being written */
            truncate(&world, 7);
            append(&world, 9);
            finish_the_write(&world);
            assert_int_equal(world.effects.persisted_index, 5); /* careful: 6 would be right too */
        }
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.acked, world.count);
        world_close(&world);
    }
}

/* Again and again at the same place, in one write and in many. */
static void test_repeated(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 3);
    world_commit(&world, 5);
    for (int i = 0; i < 30; i++) {
        append(&world, i % 4 + 1);
        if (i % 3 == 0)
            world_flush(&world);
        if (i % 5 == 0)
            world_settle(&world);
        truncate(&world, i % 7 == 0 ? log_last_index(world.log) : 5);
        if (i % 11 == 0)
            truncate(&world, 1 + log_last_index(world.log) / 2);
        append(&world, 6);
    }
    truncate(&world, 1); /* nothing is left */
    assert_int_equal(log_last_index(world.log), 0);
    flush_and_settle(&world);
    assert_int_equal(log_persisted_index(world.log), 0);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 0);
    assert_int_equal(world.report.first_index, 0);
    world_commit(&world, 3);
    reopen(&world, true);
    assert_int_equal(world.report.last_index, 3);
    world_close(&world);
}

static void roll(struct world *world, uint64_t segments)
{
    segments += world->traces[AS_TRACE_SEGMENT_OPENED];
    while (world->traces[AS_TRACE_SEGMENT_OPENED] < segments)
        world_commit(world, 10);
}

static uint64_t segments_there(struct world *world)
{
    struct log_counts counts;

    log_count(world->log, &counts);
    return counts.segments;
}

/*
 * Back over several segments, with votes between the entries that become void: the votes stand.
 * Then the same indexes once more over several segments, whose firsts therefore do not ascend; a
 * snapshot in the middle of them takes away what it covers and nothing else.
 */
static void test_over_segments(void **state)
{
    (void)state;
    for (uint64_t at = 20; at <= 26; at += 3) {
        struct world world;
        uint64_t vote_term;

        world_start(&world, at);
        world_commit(&world, 30);
        for (int i = 0; i < 4; i++) {
            roll(&world, 1);
            assert_int_equal(world_vote(&world), AS_OK);
            world_commit(&world, 3);
        }
        vote_term = world.state->vote_term;
        truncate(&world, at);
        append(&world, 2);
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.report.last_index, at + 1);
        assert_int_equal(world.report.vote_term, vote_term);
        assert_int_equal(segments_there(&world), 5);
        roll(&world, 3);
        reopen(&world, true);
        assert_int_equal(segments_there(&world), 8);
        assert_int_equal(world_snapshot_at(&world, at + 1), AS_OK);
        world_settle(&world);
        reopen(&world, true);
        roll(&world, 1);
        world_snapshot(&world);
        assert_int_equal(segments_there(&world), 1);
        reopen(&world, true);
        world_commit(&world, 3);
        world_close(&world);
    }
}

/* At the first entry of a segment: of the last one, of one before, and when nothing follows yet. */
static void test_at_the_first_entry_of_a_segment(void **state)
{
    (void)state;
    for (uint64_t back = 1; back <= 3; back++) {
        struct log_segment segment;
        struct world world;
        char name[AS_FILE_NAME_MAX + 1];

        world_start(&world, 30);
        roll(&world, 4);
        log_name_segment(name, (5 - back) * AS_SEGMENT_BYTES_MIN);
        assert_int_equal(log_segment_take(fake_find(&world.disk, name)->seen.data, &segment),
                         AS_OK);
        assert_true(segment.first > 1 && segment.first <= log_last_index(world.log));
        truncate(&world, segment.first);
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.report.last_index, segment.first - 1);
        append(&world, 1);
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.report.last_index, segment.first);
        roll(&world, 2);
        reopen(&world, false);
        world_close(&world);
    }
}

static void test_refusals(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 4);
    assert_int_equal(world_truncate(&world, 0), AS_ERR_INVALID);
    assert_int_equal(world_truncate(&world, 1), AS_ERR_INVALID);
    world_commit(&world, 60);
    assert_int_equal(world_truncate(&world, 0), AS_ERR_INVALID);
    assert_int_equal(world_truncate(&world, 61), AS_ERR_INVALID);
    assert_int_equal(
        world_step(&world, (struct log_event){.kind = LOG_SNAPSHOT_BEGIN, .snapshot = {30, 2}}),
        AS_ERR_INVALID); /* in term 1 */
    assert_int_equal(world_snapshot_at(&world, 30), AS_OK);
    assert_int_equal(world_truncate(&world, 30), AS_ERR_INVALID); /* it will hold that one */
    truncate(&world, 55);
    world_settle(&world);
    assert_int_equal(world.snapshot, 30);
    assert_int_equal(world_truncate(&world, 30), AS_ERR_INVALID);
    truncate(&world, 31);
    assert_int_equal(log_last_index(world.log), 30);
    append(&world, 3);
    /* What is not durable in its new form is in no snapshot, though an old form is durable. */
    assert_int_equal(world_snapshot_at(&world, 32), AS_ERR_INVALID);
    flush_and_settle(&world);
    assert_int_equal(world_snapshot_at(&world, 32), AS_OK);
    world_settle(&world);
    reopen(&world, true);
    assert_int_equal(world.report.snapshot_index, 32);
    assert_int_equal(world.report.last_index, 33);
    world_close(&world);
}

/* Terms: the entry before tells what may follow, over votes, snapshots and openings. */
static void test_terms(void **state)
{
    struct world world;
    struct log_event append_low = {.kind = LOG_APPEND};

    (void)state;
    world_start(&world, 5);
    world_commit(&world, 120); /* 50 to a term: 1, 2, 3 */
    for (int round = 0; round < 2; round++) {
        truncate(&world, 99);
        assert_int_equal(world_term_at(&world, 98), 2);
        append_low.append.entry = (struct log_entry){.index = 99, .term = 1};
        assert_int_equal(world_step(&world, append_low), AS_ERR_INVALID);
        world.term = 2; /* as low as it may be */
        append(&world, 1);
        assert_int_equal(world.records[world.count - 1].term, 2);
        world.term = 7;
        append(&world, 20);
        flush_and_settle(&world);
        if (round == 0)
            reopen(&world, true); /* world_open compares the last term */
        truncate(&world, 100);
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.report.last_term, 2);
        append(&world, 10);
        flush_and_settle(&world);
        if (round == 0) {
            assert_int_equal(world_snapshot_at(&world, 98), AS_OK);
            world_settle(&world);
            reopen(&world, true);
        }
    }
    world_close(&world);
}

/* Entries again in the term that the void ones had, or had not: nothing of theirs is remembered. */
static void test_terms_of_void_entries(void **state)
{
    (void)state;
    for (uint64_t at = 21; at >= 15; at -= 6) {
        struct world world;

        world_start(&world, 10);
        world.term = 9;
        append(&world, 20);
        world.term = 10;
        append(&world, 20); /* 21 to 40 */
        flush_and_settle(&world);
        truncate(&world, at);
        world.term = 9;
        append(&world, 20);
        truncate(&world, 30); /* 29 has term 9 now */
        flush_and_settle(&world);
        reopen(&world, true);
        assert_int_equal(world.report.last_term, 9);
        truncate(&world, at + 1);
        flush_and_settle(&world);
        assert_int_equal(world_snapshot_at(&world, at), AS_OK);
        world_settle(&world);
        reopen(&world, true);
        world_close(&world);
    }
}

/* A cut below all that is still read at opening, and the same term goes on behind it. */
static void test_a_cut_below_the_first_segment_read(void **state)
{
    struct world world;
    uint64_t at;

    (void)state;
    world_start(&world, 11);
    world.term = 9;
    roll(&world, 2);
    at = log_last_index(world.log) - 30;
    truncate(&world, at);
    world.term = 9;
    for (uint64_t i = 0; i < 60; i++)
        assert_int_equal(world_append_len(&world, true, 0, NULL, i), AS_OK);
    flush_and_settle(&world);
    assert_int_equal(world.traces[AS_TRACE_SEGMENT_OPENED], 2);
    assert_int_equal(world_snapshot_at(&world, at + 50), AS_OK);
    world_settle(&world);
    assert_int_equal(segments_there(&world), 1);
    reopen(&world, true);
    assert_int_equal(world.report.last_term, 9);
    world_close(&world);
}

/* A consumer that knows nothing of truncation is not handed entries that do not stand. */
static void test_who_cannot_take_it_is_refused(void **state)
{
    struct world world;
    struct log_replay replay = {&world, world_on_snapshot, world_on_entry, NULL, NULL};
    struct log *log = NULL;
    struct as_disk door;

    (void)state;
    world_start(&world, 6);
    world_commit(&world, 5);
    truncate(&world, 4);
    flush_and_settle(&world);
    world_crash(&world, false);
    door = fake_door(&world.disk);
    assert_int_equal(log_open(&log, &world.config, &door, &replay, &world.report), AS_ERR_INVALID);
    assert_non_null(strstr(world.report.detail, "truncated"));
    replay.entry = NULL;
    assert_int_equal(log_open(&log, &world.config, &door, &replay, &world.report), AS_OK);
    log_free(log);
    log = NULL;
    assert_int_equal(log_open(&log, &world.config, &door, NULL, &world.report), AS_OK);
    assert_int_equal(world.report.last_index, 3);
    log_free(log);
    world_close(&world);
}

/* A crash before, in and after each operation of a cut that goes back over segments, of the writing
 * again behind it, and of the segments opened for that. */
static void test_crashes(void **state)
{
    (void)state;
    for (int power = 0; power < 2; power++) {
        bool ended = false;

        for (int after = 0; !ended; after++) {
            struct world world;
            int done = 0;

            world_start(&world, 7 + (uint64_t)after);
            roll(&world, 3);
            truncate(&world, 12);
            append(&world, 10);
            assert_int_equal(world_vote(&world), AS_OK);
            append(&world, 300);
            world_flush(&world);
            truncate(&world, 100);
            append(&world, 100);
            world_flush(&world);
            while (done < after && world.disk.queued) {
                (void)world_finish(&world, 0);
                done++;
            }
            ended = !world.disk.queued;
            reopen(&world, power);
            world_commit(&world, 30);
            reopen(&world, true);
            world_close(&world);
        }
    }
}

/*
 * Rot in the record of a cut. Claimed by what was written behind it, or by a mark, it is refused:
 * else the old entries would be back. Claimed by nothing yet (written within the last 100 ms
 * before the end), it cannot be told from a torn write: that window is in docs/log-format.md.
 */
static void test_rot_in_a_cut(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world world;
        uint64_t at;
        as_err err;

        world_start(&world, 8);
        world_commit(&world, 10);
        truncate(&world, 5);
        world_flush(&world);
        at = world.disk.queue[0].offset;
        world_settle(&world);
        if (how == 1) {
            world_timer(&world);
            world_settle(&world);
        } else if (how == 2) {
            world_commit(&world, 1);
        }
        world_crash(&world, false);
        for (uint64_t bit = 0; bit < LOG_RECORD_HEADER * 8; bit++) {
            struct fake_file *file = fake_find(&world.disk, "0000000000000000.log");
            struct log *log = NULL;
            struct log_config reading = world.config;

            reading.read_only = true;
            file->seen.data[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
            err = world_open_as(&world, &reading, &log);
            file->seen.data[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
            log_free(log);
            assert_int_equal(err, how ? AS_ERR_CORRUPT : AS_OK);
            if (how)
                assert_non_null(strstr(world.report.detail, "0000000000000000.log: offset"));
        }
        assert_int_equal(world_open(&world), AS_OK);
        world_close(&world);
    }
}

/* The disk is full: a cut still has room when entries have not, like a vote. */
static void test_room_on_a_full_disk(void **state)
{
    struct world world;
    as_err err = AS_OK;

    (void)state;
    world_start(&world, 9);
    world_commit(&world, 20);
    world.disk.space = fake_used(&world.disk) + 1000;
    while (!err) {
        err = world_append_len(&world, false, 0, NULL, 1);
        world_flush(&world);
        world_settle(&world);
    }
    assert_int_equal(err, AS_ERR_NOSPACE);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(world_vote(&world), AS_OK);
        truncate(&world, log_last_index(world.log));
    }
    flush_and_settle(&world);
    world.disk.space = 0;
    reopen(&world, true);
    world_commit(&world, 200);
    reopen(&world, true);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_new_entry_is_not_the_old_one),
        cmocka_unit_test(test_a_write_is_in_flight),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_over_segments),
        cmocka_unit_test(test_at_the_first_entry_of_a_segment),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_terms_of_void_entries),
        cmocka_unit_test(test_a_cut_below_the_first_segment_read),
        cmocka_unit_test(test_who_cannot_take_it_is_refused),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_rot_in_a_cut),
        cmocka_unit_test(test_room_on_a_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
