/*
 * The faults by which a Raft library was seen to lose data when it was tried for this project, as far
 * as they are the log's: one test each, by name. (The sixth, figure 8, is coordinator/raft's.)
 */
#include "coordinator/log/format.h"
#include "world.h"

static void must_refuse(struct world *world, const char *file, uint64_t offset, const char *why)
{
    struct log *log = NULL;
    uint64_t changes = world->disk.changes;
    char where[64];

    assert_int_equal(world_open_as(world, &world->config, &log), AS_ERR_CORRUPT);
    snprintf(where, sizeof where, "%s: offset %llu: ", file, (unsigned long long)offset);
    if (!strstr(world->report.detail, where) || !strstr(world->report.detail, why) ||
        !strstr(world->report.detail, "Rebuild this node from its peers"))
        fail_msg("wanted \"%s...%s\": %s", where, why, world->report.detail);
    assert_true(world->disk.changes == changes);
}

/* One EIO on the log's write: fatal at once, never retried, and what is refused or not acknowledged
 * is all that may be missing at the next start. */
static void test_one_eio_on_a_write(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 1);
    world_commit(&world, 10);
    for (int i = 0; i < 5; i++)
        assert_int_equal(world_append(&world, true), AS_OK);
    world.disk.fail_at = world.disk.ops + 1;
    world_flush(&world);
    (void)world_finish(&world, 0);
    assert_non_null(strstr(world.fatal, "cannot write and sync 0000000000000000.log"));
    assert_int_equal(world.acked, 10);
    assert_int_equal(world.disk.queued, 0);
    assert_int_equal(world_append(&world, true), AS_ERR_IO);
    assert_int_equal(world_vote(&world), AS_ERR_IO);
    assert_int_equal(world_truncate(&world, 5), AS_ERR_IO);
    assert_int_equal(world_install(&world, 50, 5), AS_ERR_IO);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

/* A follower's disk is full; it restarts, still full; then there is space. Nothing acknowledged is
 * lost, and it goes on by itself. */
static void test_full_disk_then_restart(void **state)
{
    struct world world;
    as_err err = AS_OK;

    (void)state;
    world_start(&world, 2);
    world_commit(&world, 20);
    world.disk.space = fake_used(&world.disk) + 1000;
    while (!err) {
        err = world_append(&world, false);
        world_flush(&world);
        world_settle(&world);
    }
    assert_int_equal(err, AS_ERR_NOSPACE);
    assert_null(world.fatal);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.acked, world.count);
    world_flush(&world);
    world_settle(&world);
    while (!(err = world_append_len(&world, false, 0, NULL, 1)))
        world_settle(&world);
    assert_int_equal(err, AS_ERR_NOSPACE);
    world.disk.space = 0;
    world_timer(&world);
    world_settle(&world);
    world_timer(&world);
    world_settle(&world);
    world_commit(&world, 100);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

/* A flipped byte in a closed segment, and in the open one, at any record that is claimed. */
static void test_flipped_byte(void **state)
{
    static const char *const names[] = {"0000000000000000.log", "0000000000010000.log"};
    struct world world;
    struct as_rng rng = {3};
    uint64_t records = 0;

    (void)state;
    world_start(&world, 3);
    while (world.traces[AS_TRACE_SEGMENT_OPENED] < 1)
        world_commit(&world, 10);
    world_commit(&world, 40);
    assert_int_equal(world.traces[AS_TRACE_SEGMENT_OPENED], 1);
    world_timer(&world);
    world_settle(&world);
    world_crash(&world, true);
    for (size_t i = 0; i < AS_COUNT_OF(names); i++) {
        struct fake_file *file = fake_find(&world.disk, names[i]);
        struct log_segment segment;
        uint64_t at = LOG_DATA_OFFSET, salt, total;

        assert_int_equal(log_segment_take(file->seen.data, &segment), AS_OK);
        salt = log_segment_salt(&segment);
        while ((total = log_record_probe(file->seen.data + at, salt, segment.start + at,
                                         file->seen.size - at)) != 0 &&
               file->seen.data[at + 48] < LOG_KIND_MARK) {
            uint8_t *byte = file->seen.data + at + as_rng_below(&rng, total);
            uint8_t was = *byte;

            *byte ^= (uint8_t)(1 + as_rng_below(&rng, 255));
            must_refuse(&world, names[i], at, "later bytes prove that it was durable");
            *byte = was;
            at += total;
            records++;
        }
    }
    assert_true(records > 50);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

static void test_missing_segment(void **state)
{
    struct world world;
    struct fake_disk sound;
    struct log *log = NULL;

    (void)state;
    world_start(&world, 4);
    while (world.traces[AS_TRACE_SEGMENT_OPENED] < 3)
        world_commit(&world, 10);
    world_crash(&world, true);
    fake_copy(&sound, &world.disk);
    for (uint64_t start = 0; start <= 3 * AS_SEGMENT_BYTES_MIN; start += AS_SEGMENT_BYTES_MIN) {
        char name[AS_FILE_NAME_MAX + 1];

        log_name_segment(name, start);
        fake_drop(fake_find(&world.disk, name));
        assert_int_equal(world_open_as(&world, &world.config, &log), AS_ERR_CORRUPT);
        assert_non_null(strstr(world.report.detail, "missing"));
        fake_close(&world.disk);
        fake_copy(&world.disk, &sound);
    }
    fake_close(&sound);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

/*
 * A flipped bit in the stored term: in the VOTE itself, and in the header that repeats it when the
 * record is gone. Never taken for a torn tail once anything later is durable: the next record, or
 * the mark, which comes within 100 ms. Before that a VOTE is the last write, and no log can tell it
 * from a torn one (docs/log-format.md, "What cannot be told").
 */
static void test_flipped_bit_in_the_stored_term(void **state)
{
    (void)state;
    for (int later = 0; later < 4; later++) { /* nothing, a mark, an entry, another vote */
        const char *name = "0000000000000000.log";
        struct world world;
        struct fake_file *file;
        uint64_t at;

        world_start(&world, 5);
        world_commit(&world, 5);
        assert_int_equal(world_vote(&world), AS_OK);
        world_flush(&world);
        at = world.disk.queue[0].offset;
        world_settle(&world);
        if (later == 1) {
            world_timer(&world);
        } else if (later == 2) {
            assert_int_equal(world_append(&world, true), AS_OK);
        } else if (later == 3) {
            assert_int_equal(world_vote(&world), AS_OK);
        }
        world_flush(&world);
        world_settle(&world);
        world_crash(&world, true);
        file = fake_find(&world.disk, name);
        for (uint64_t bit = 0; bit < LOG_RECORD_HEADER * 8; bit++) {
            file->seen.data[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (later) {
                must_refuse(&world, name, at, "later bytes prove that it was durable");
            } else {
                struct log_config reading = world.config;
                struct log *log = NULL;

                reading.read_only = true;
                assert_int_equal(world_open_as(&world, &reading, &log), AS_OK);
                assert_int_equal(world.report.vote_term, 0); /* the window */
                log_free(log);
            }
            file->seen.data[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        world_close(&world);
    }
}

static void test_flipped_bit_in_the_term_of_a_header(void **state)
{
    const char *name = "0000000000010000.log";
    struct world world;
    struct fake_file *file;

    (void)state;
    world_start(&world, 6);
    assert_int_equal(world_vote(&world), AS_OK);
    while (world.traces[AS_TRACE_SEGMENT_OPENED] < 1)
        world_commit(&world, 10);
    world_snapshot(&world); /* the segment with the VOTE is recycled */
    world_crash(&world, true);
    assert_null(fake_find(&world.disk, "0000000000000000.log"));
    file = fake_find(&world.disk, name);
    for (uint64_t bit = 80 * 8; bit < 96 * 8; bit++) {
        file->seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        must_refuse(&world, name, 0, "the header is damaged");
        file->seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.report.vote_term, 1);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_eio_on_a_write),
        cmocka_unit_test(test_full_disk_then_restart),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_flipped_bit_in_the_stored_term),
        cmocka_unit_test(test_flipped_bit_in_the_term_of_a_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
