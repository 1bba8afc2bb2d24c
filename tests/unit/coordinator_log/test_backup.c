/*
 * coordinator/log/backup: a log made of a backup's chunks is opened as one whose past is a received snapshot; a crash or a
 * failure while it is made leaves nothing that opens as an empty log.
 */
#include "../../support/fake_disk.h"
#include "../../support/support.h"
#include "coordinator/log/backup.h"

static const struct log_config config = {
    .cluster = "demo", .incarnation = 77, .node = 3, .segment_bytes = 65536};
static const struct log_snapshot from = {
    .identity = {"demo", 5, 1}, .index = 42, .term = 7, .durable = 9999, .last_time_ms = 1234};

#define CHUNKS 3
static uint8_t chunks[CHUNKS][5000];

/* Like node_restore: all chunks, then the end. */
static as_err make(struct fake_disk *disk)
{
    struct as_disk door = fake_door(disk);
    struct log_restore restore;
    as_err err = log_restore_begin(&restore, &config, &door, &from, CHUNKS,
                                   CHUNKS * sizeof(chunks[0]) - (0 + 1 + 2));

    for (int i = 0; i < CHUNKS && !err; i++) {
        memset(chunks[i], 'a' + i, sizeof(chunks[i]));
        err = log_restore_chunk(
            &restore, (struct as_bytes){chunks[i], sizeof(chunks[i]) - (size_t)i}, i == CHUNKS - 1);
    }
    return err ? err : log_restore_end(&restore, 1000007);
}

static int seen;

static as_err on_chunk(void *ctx, struct as_bytes chunk, bool last)
{
    (void)ctx;
    assert_int_equal(chunk.len, sizeof(chunks[0]) - (size_t)seen);
    assert_memory_equal(chunk.data, chunks[seen], chunk.len);
    seen++;
    assert_int_equal(last, seen == CHUNKS);
    return AS_OK;
}

static uint64_t vote_term;

static as_err on_vote(void *ctx, uint64_t term, uint64_t voted_for)
{
    (void)ctx;
    assert_int_equal(voted_for, 0);
    vote_term = term;
    return AS_OK;
}

static as_err open_log(struct fake_disk *disk, struct log_report *report)
{
    struct as_disk door = fake_door(disk);
    const struct log_replay replay = {.snapshot = on_chunk, .vote = on_vote};
    struct log *log = NULL;
    as_err err;

    seen = 0;
    vote_term = 0;
    err = log_open(&log, &config, &door, &replay, report);
    if (!err) {
        assert_int_equal(log_last_index(log), 42);
        assert_int_equal(log_snapshot_index(log), 42);
        log_free(log);
    }
    return err;
}

static void a_log_is_made_of_it(void **state)
{
    struct log_report report;
    struct fake_disk disk;

    (void)state;
    fake_init(&disk, 1);
    assert_int_equal(make(&disk), AS_OK);
    assert_int_equal(make(&disk), AS_ERR_EXISTS);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(open_log(&disk, &report), AS_OK);
        assert_int_equal(seen, CHUNKS);
        assert_int_equal(vote_term, 1000007);
        assert_int_equal(report.incarnation, 77);
        assert_true(report.snapshot_received);
        assert_int_equal(report.snapshot_term, 7);
    }
    fake_close(&disk);
}

static void a_failure_leaves_no_log(void **state)
{
    struct log_report report;
    struct fake_disk disk;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        as_err err;

        fake_init(&disk, n);
        disk.fail_at = n;
        disk.fail_in_part = n % 2 == 0;
        err = make(&disk);
        failed = disk.failed;
        assert_int_equal(err != AS_OK, failed);
        disk.fail_at = 0;
        err = open_log(&disk, &report);
        /* All of it or nothing: a rename that failed in part may have happened. */
        assert_true(err == AS_OK ? seen == CHUNKS
                                 : err == AS_ERR_NOTFOUND || err == AS_ERR_CORRUPT);
        assert_true(failed || err == AS_OK);
        fake_close(&disk);
    }
}

/* --- Reading --- */

static struct as_bytes file;

static as_err read_file(void *ctx, uint64_t offset, void *ret_data, size_t len, size_t *ret_len)
{
    (void)ctx;
    *ret_len = offset >= file.len ? 0 : file.len - offset < len ? file.len - offset : len;
    memcpy(ret_data, file.data + (offset < file.len ? offset : 0), *ret_len);
    return AS_OK;
}

static as_err on_head(void *ctx, const struct log_snapshot *head)
{
    (void)ctx;
    assert_int_equal(head->index, 42);
    assert_int_equal(head->identity.incarnation, 77);
    return AS_OK;
}

static as_err take_any(void *ctx, struct as_bytes chunk, bool last)
{
    (void)ctx, (void)chunk, (void)last;
    return AS_OK;
}

static void every_flipped_bit_is_found(void **state)
{
    const struct log_backup_source source = {NULL, read_file};
    const struct log_backup_sink sink = {NULL, on_head, on_chunk}, any = {NULL, on_head, take_any};
    char detail[LOG_BACKUP_DETAIL];
    struct fake_disk disk;
    uint8_t *bytes;

    (void)state;
    fake_init(&disk, 1);
    assert_int_equal(make(&disk), AS_OK);
    bytes = fake_find(&disk, "000000000000002a.snap")->seen.data;
    file = (struct as_bytes){bytes, (size_t)fake_find(&disk, "000000000000002a.snap")->seen.size};
    seen = 0;
    assert_int_equal(log_backup_read(&source, &sink, detail), AS_OK);
    assert_int_equal(seen, CHUNKS);
    for (size_t at = 0; at < file.len; at += at < 600 || at + 60 > file.len ? 1 : 37) {
        bytes[at] ^= (uint8_t)(1u << at % 8);
        if (log_backup_read(&source, &any, detail) == AS_OK)
            fail_msg("a flipped bit at byte %zu passes", at);
        assert_true(detail[0]);
        bytes[at] ^= (uint8_t)(1u << at % 8);
    }
    for (size_t whole = file.len, len = 0; len < whole; len += 101) {
        file.len = len;
        assert_int_equal(log_backup_read(&source, &any, detail), AS_ERR_CORRUPT);
        file.len = whole;
    }
    fake_close(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_is_made_of_it),
        cmocka_unit_test(a_failure_leaves_no_log),
        cmocka_unit_test(every_flipped_bit_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
