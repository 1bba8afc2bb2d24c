/*
 * Rot, cuts and strangers: every single-bit flip and every truncation of a small log, pairs of
 * flips, files missing, renamed or foreign. The outcome is the whole content, a torn tail that
 * loses nothing that something intact claims durable, or a refusal that changes nothing and says
 * where and what to do; never wrong content.
 */
#include "assent/map.h"
#include "coordinator/log/format.h"
#include "world.h"

static void append_short(struct world *world)
{
    static uint8_t bytes[16384];
    uint64_t content;
    size_t len;

    do {
        content = as_rng_next(&world->rng);
        len = world_payload(content, bytes);
    } while (len > 40);
    assert_int_equal(world_append_len(world, true, len, bytes, content), AS_OK);
}

/* Two segments and a snapshot, taken or received; small records in the last segment, a truncation
 * among them, a mark at its end. */
static void make_log(struct world *world, uint64_t seed, bool mark, bool received)
{
    world_start(world, seed);
    while (world->traces[AS_TRACE_SEGMENT_OPENED] < 1)
        world_commit(world, 20);
    if (received)
        assert_int_equal(world_install(world, log_last_index(world->log) + 7, 9), AS_OK);
    else
        assert_int_equal(world_snapshot_at(world, 30), AS_OK);
    world_settle(world);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world_vote(world), AS_OK);
        if (i == 2)
            assert_int_equal(world_truncate(world, log_last_index(world->log) - 1), AS_OK);
        for (int n = 0; n < 2; n++)
            append_short(world);
        world_flush(world);
        world_settle(world);
    }
    if (mark) {
        world_timer(world);
        world_settle(world);
    }
}

struct outcome {
    uint64_t whole, torn, refused;
};

/*
 * Opens the damaged log: read-only first, which must change nothing and say the same, then for
 * real, and a second time, which must find what the first one left. `durable`: at least so many
 * records must be kept.
 */
static void open_damaged(struct world *world, size_t durable, struct outcome *outcome,
                         const char *what)
{
    struct log_config reading = world->config;
    uint64_t changes = world->disk.changes;
    struct log *log = NULL;
    struct log_report report;
    as_err seen, err;
    bool install;
    size_t kept;

    reading.read_only = true;
    seen = world_open_as(world, &reading, &log);
    log_free(log);
    log = NULL;
    report = world->report;
    assert_true(world->disk.changes == changes);
    err = world_open_as(world, &world->config, &log);
    if (err != seen)
        fail_msg("%s: read-only says %s, opening says %s", what, as_err_text(seen),
                 as_err_text(err));
    if (err) {
        if (err != AS_ERR_CORRUPT && err != AS_ERR_FOREIGN && err != AS_ERR_VERSION)
            fail_msg("%s: %s: %s", what, as_err_text(err), world->report.detail);
        assert_non_null(strstr(world->report.detail, "Nothing was changed"));
        assert_true(strstr(world->report.detail, ".log") || strstr(world->report.detail, ".snap"));
        assert_true(world->disk.changes == changes);
        outcome->refused++;
        return;
    }
    if (!world_sound(world, &kept, &install) || kept < durable)
        fail_msg("%s: %zu of %zu records, %zu durable, replay %s: %s", what, kept, world->count,
                 durable, world->replay_wrong ? "wrong" : "right", world->report.detail);
    assert_int_equal(report.cut_bytes, world->report.cut_bytes);
    log_free(log);
    if (kept == world->count)
        outcome->whole++;
    else
        outcome->torn++;
    log = NULL;
    report = world->report;
    assert_int_equal(world_open_as(world, &world->config, &log), AS_OK);
    log_free(log);
    assert_int_equal(world->report.last_index, report.last_index);
    assert_int_equal(world->report.vote_term, report.vote_term);
    assert_int_equal(world->report.cut_bytes, 0);
}

static void restore_image(struct fake_image *to, const struct fake_image *from)
{
    if (to->size == from->size && to->data)
        memcpy(to->data, from->data, from->size);
    else
        fake_copy_image(to, from);
}

/* The disk as it was before. What is durable does not matter here: nothing crashes. */
static void restore(struct fake_disk *disk, const struct fake_disk *from)
{
    for (size_t i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &disk->files[i];

        if (!from->files[i].used) {
            if (file->used)
                fake_drop(file);
            continue;
        }
        file->used = true;
        memcpy(file->name, from->files[i].name, sizeof file->name);
        restore_image(&file->seen, &from->files[i].seen);
        restore_image(&file->durable, &from->files[i].durable);
    }
}

static bool is_log_file(const struct fake_file *file)
{
    uint64_t number;
    enum log_name kind = log_name_parse(file->name, &number);

    return file->used && (kind == LOG_NAME_SEGMENT || kind == LOG_NAME_SNAPSHOT);
}

/* Bytes that mean something in the last segment: up to a little behind its tail. */
static uint64_t used_bytes(const struct fake_file *file)
{
    uint64_t end = file->seen.size;

    while (end > 0 && file->seen.data[end - 1] == 0)
        end--;
    return end + 64 < file->seen.size ? end + 64 : file->seen.size;
}

static void flip_every_bit(bool mark, bool received, size_t lost_max)
{
    struct world world;
    struct fake_disk sound;
    struct outcome outcome = {0};

    make_log(&world, 11, mark, received);
    log_free(world.log);
    world.log = NULL;
    fake_copy(&sound, &world.disk);
    for (size_t f = 0; f < FAKE_FILES; f++) {
        const struct fake_file *file = &sound.files[f];
        uint64_t end = is_log_file(file) ? used_bytes(file) : 0;

        /* All bits of headers and of the records at the end; elsewhere one of each 64 bytes. */
        for (uint64_t bit = 0; bit < end * 8;
             bit += bit < 520 * 8 || bit + 1200 * 8 > end * 8 ? 1 : 509) {
            char what[128];

            restore(&world.disk, &sound);
            world.disk.files[f].seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            snprintf(what, sizeof what, "%s bit %llu", file->name, (unsigned long long)bit);
            open_damaged(&world, world.count - lost_max, &outcome, what);
        }
    }
    print_message("%llu whole, %llu torn, %llu refused\n", (unsigned long long)outcome.whole,
                  (unsigned long long)outcome.torn, (unsigned long long)outcome.refused);
    assert_true(outcome.refused > 10000);
    assert_true(outcome.whole > 1000);
    assert_true((outcome.torn > 0) == (lost_max > 0));
    fake_close(&sound);
    world_close(&world);
}

/* Behind a mark nothing can be lost. */
static void test_flips_behind_a_mark(void **state)
{
    (void)state;
    flip_every_bit(true, false, 0);
}

static void test_flips_with_a_received_snapshot(void **state)
{
    (void)state;
    flip_every_bit(true, true, 0);
}

/* Without one the last write (two entries) is claimed by nothing yet: the vote before it is. */
static void test_flips_without_a_mark(void **state)
{
    (void)state;
    flip_every_bit(false, false, 3);
}

/*
 * docs/decisions/0001: a vote, then an entry that was never acknowledged. A flipped bit in the
 * vote: were the claim an index, both would pass for a torn tail, and the node would vote twice in
 * one term.
 */
static void test_a_vote_is_claimed_too(void **state)
{
    struct world world;
    struct outcome outcome = {0};
    struct fake_file *file;
    uint64_t vote_at;

    (void)state;
    world_start(&world, 12);
    world_commit(&world, 1);
    world_timer(&world);
    world_settle(&world);
    file = fake_find(&world.disk, "0000000000000000.log");
    assert_int_equal(world_vote(&world), AS_OK);
    world_flush(&world);
    vote_at = world.disk.queue[0].offset;
    world_settle(&world);
    assert_int_equal(world_append(&world, true), AS_OK);
    world_flush(&world);
    (void)fake_apply(&world.disk, &world.disk.queue[0], false); /* written, not acknowledged */
    world_crash(&world, false);
    file->seen.data[vote_at + 20] ^= 1;
    open_damaged(&world, world.acked, &outcome, "flipped vote");
    assert_int_equal(outcome.refused, 1);
    world_close(&world);
}

/* A vote that only a snapshot, begun later, claims. */
static void test_a_snapshot_claims_too(void **state)
{
    struct world world;
    struct outcome outcome = {0};
    uint64_t vote_at;

    (void)state;
    world_start(&world, 16);
    world_commit(&world, 5);
    assert_int_equal(world_vote(&world), AS_OK);
    world_flush(&world);
    vote_at = world.disk.queue[0].offset;
    world_settle(&world);
    world_snapshot(&world);
    world_crash(&world, true);
    fake_find(&world.disk, "0000000000000000.log")->seen.data[vote_at + 30] ^= 4;
    open_damaged(&world, world.acked, &outcome, "flipped vote before a snapshot");
    assert_int_equal(outcome.refused, 1);
    world_close(&world);
}

/*
 * Two records in one write, torn: the first is lost, the second is whole. After the cut, another
 * record of the first one's length is written in its place: the second must not come back to life
 * behind it.
 */
static void test_a_torn_record_stays_dead(void **state)
{
    static const uint8_t zeros[1200];
    struct world world;
    struct as_disk_op op;
    struct fake_file *file;

    (void)state;
    world_start(&world, 17);
    world_commit(&world, 2);
    assert_int_equal(world_append_len(&world, true, sizeof zeros, zeros, 1), AS_OK);
    assert_int_equal(world_append(&world, true), AS_OK);
    world_flush(&world);
    op = world.disk.queue[0];
    (void)fake_apply(&world.disk, &op, false);
    file = fake_find(&world.disk, op.name);
    memset(file->seen.data + op.offset, 0, 600);
    world.disk.queued = 0;
    world_crash(&world, false);
    assert_int_equal(world_open(&world), AS_OK);
    assert_int_equal(world.count, 2);
    assert_int_equal(world.report.cut_bytes, op.bytes.len);
    assert_non_null(strstr(world.report.detail, "torn tail"));
    assert_int_equal(world_append_len(&world, true, sizeof zeros, zeros, 2), AS_OK);
    world_flush(&world);
    world_settle(&world);
    world_crash(&world, true);
    {
        struct log *log =
            NULL; /* the oracle does not know these payloads: only the count is asked */

        (void)world_open_as(&world, &world.config, &log);
        log_free(log);
        assert_int_equal(world.report.last_index, 3);
        assert_int_equal(world.report.cut_bytes, 0);
    }
    world_close(&world);
}

static void test_pairs_of_flips(void **state)
{
    struct world world;
    struct fake_disk sound;
    struct outcome outcome = {0};
    struct as_rng rng = {13};

    (void)state;
    make_log(&world, 14, true, false);
    log_free(world.log);
    world.log = NULL;
    fake_copy(&sound, &world.disk);
    for (int i = 0; i < 6000; i++) {
        char what[200] = "";

        restore(&world.disk, &sound);
        for (int flips = 0; flips < 2;) {
            size_t f = (size_t)as_rng_below(&rng, FAKE_FILES);
            struct fake_file *file = &world.disk.files[f];
            uint64_t end, bit;

            if (!is_log_file(&sound.files[f]))
                continue;
            end = used_bytes(&sound.files[f]);
            bit = as_rng_below(&rng, 4) ? end * 8 - 1 - as_rng_below(&rng, 1000 * 8)
                                        : as_rng_below(&rng, end * 8);
            file->seen.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            flips++;
            snprintf(what + strlen(what), sizeof what - strlen(what), "%s bit %llu ", file->name,
                     (unsigned long long)bit);
        }
        /* With its mark rotten too, the last write is claimed by nothing; all before it still is.
         */
        open_damaged(&world, world.count - 3, &outcome, what);
    }
    assert_true(outcome.refused > 1000 && outcome.whole > 10);
    fake_close(&sound);
    world_close(&world);
}

/* Every file cut to every length, and every file's bytes lost (zero) from every offset on. */
static void test_truncations(void **state)
{
    struct world world;
    struct fake_disk sound;
    struct outcome cut = {0}, lost = {0};

    (void)state;
    make_log(&world, 15, true, false);
    log_free(world.log);
    world.log = NULL;
    fake_copy(&sound, &world.disk);
    for (size_t f = 0; f < FAKE_FILES; f++) {
        const struct fake_file *file = &sound.files[f];
        uint64_t end = is_log_file(file) ? used_bytes(file) : 0, number;
        bool first = log_name_parse(file->name, &number) == LOG_NAME_SEGMENT && number == 1;
        char what[128];

        for (uint64_t size = 0; end && size < file->seen.size;
             size += size < 1024 || (size + 1500 > end && size < end) ? 1 : 97) {
            restore(&world.disk, &sound);
            fake_resize(&world.disk.files[f].seen, size);
            snprintf(what, sizeof what, "%s cut to %llu", file->name, (unsigned long long)size);
            open_damaged(&world, world.count, &cut, what);
        }
        for (uint64_t from = 0; from<end; from += from + 1500> end ? 1 : 97) {
            size_t all = (size_t)(file->seen.size - from);

            restore(&world.disk, &sound);
            memset(world.disk.files[f].seen.data + from, 0, all);
            snprintf(what, sizeof what, "%s lost from %llu", file->name, (unsigned long long)from);
            /* In the last segment all claims are gone with what they claim. */
            open_damaged(&world, first ? world.count : 30, &lost, what);
        }
    }
    assert_int_equal(cut.whole + cut.torn, 0); /* a file of another length is never believed */
    assert_true(lost.refused > 100 && lost.torn > 100);
    fake_close(&sound);
    world_close(&world);
}

/* --- Files that are missing, renamed or from elsewhere --- */

static void make_long_log(struct world *world, uint64_t seed)
{
    world_start(world, seed);
    while (world->traces[AS_TRACE_SEGMENT_OPENED] < 4)
        world_commit(world, 20);
    world_commit(world, 5);
    log_free(world->log);
    world->log = NULL;
}

static size_t segments_of(struct fake_disk *disk, size_t ret_files[FAKE_FILES])
{
    size_t count = 0;
    uint64_t number;

    for (size_t i = 0; i < FAKE_FILES; i++)
        if (disk->files[i].used && log_name_parse(disk->files[i].name, &number) == LOG_NAME_SEGMENT)
            ret_files[count++] = i;
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (strcmp(disk->files[ret_files[j]].name, disk->files[ret_files[i]].name) < 0) {
                size_t swap = ret_files[i];

                ret_files[i] = ret_files[j];
                ret_files[j] = swap;
            }
    return count;
}

static void test_missing_and_renamed(void **state)
{
    size_t files[FAKE_FILES], count;
    struct outcome outcome = {0};
    struct fake_disk sound;
    struct world world;

    (void)state;
    make_long_log(&world, 21);
    fake_copy(&sound, &world.disk);
    count = segments_of(&sound, files);
    assert_true(count >= 5);
    for (size_t i = 0; i < count; i++) {
        restore(&world.disk, &sound);
        fake_drop(&world.disk.files[files[i]]);
        open_damaged(&world, world.count, &outcome, "missing segment");
        restore(&world.disk, &sound);
        snprintf(world.disk.files[files[i]].name, AS_FILE_NAME_MAX, "%016x.log", 0x70000000);
        open_damaged(&world, world.count, &outcome, "renumbered to the end");
        restore(&world.disk, &sound);
        snprintf(world.disk.files[files[i]].name, AS_FILE_NAME_MAX, "%016x.log", 2);
        open_damaged(&world, world.count, &outcome, "renumbered to the front");
    }
    for (size_t i = 0; i + 1 < count; i++) {
        char name[AS_FILE_NAME_MAX + 1];

        restore(&world.disk, &sound);
        memcpy(name, world.disk.files[files[i]].name, sizeof name);
        memcpy(world.disk.files[files[i]].name, world.disk.files[files[i + 1]].name, sizeof name);
        memcpy(world.disk.files[files[i + 1]].name, name, sizeof name);
        open_damaged(&world, world.count, &outcome, "swapped");
    }
    assert_int_equal(outcome.refused, count * 3 + count - 1);
    fake_close(&sound);
    world_close(&world);
}

/* A segment of the same name, sound in itself, of another cluster, life or node; or an older copy
 * of it. */
static void test_foreign(void **state)
{
    struct outcome outcome = {0};
    size_t files[FAKE_FILES], other_files[FAKE_FILES], count;
    struct fake_disk sound;
    struct world world;

    (void)state;
    make_long_log(&world, 22);
    fake_copy(&sound, &world.disk);
    count = segments_of(&sound, files);
    for (int how = 0; how < 3; how++) {
        struct log_config config = world.config;
        struct log *log = NULL;
        struct world other;
        struct as_disk door;

        world_init(&other, 22);
        strcpy(other.config.cluster, how == 0 ? "other" : "demo");
        other.config.incarnation += how == 1;
        other.config.node += how == 2;
        door = fake_door(&other.disk);
        assert_int_equal(log_bootstrap(&other.config, &door), AS_OK);
        assert_int_equal(world_open(&other), AS_OK);
        while (other.traces[AS_TRACE_SEGMENT_OPENED] < 4)
            world_commit(&other, 20);
        assert_int_equal(segments_of(&other.disk, other_files), count);

        /* One file among ours, then the whole directory. */
        for (size_t i = 0; i < count; i++) {
            restore(&world.disk, &sound);
            assert_string_equal(world.disk.files[files[i]].name,
                                other.disk.files[other_files[i]].name);
            fake_copy_image(&world.disk.files[files[i]].seen,
                            &other.disk.files[other_files[i]].seen);
            assert_int_equal(world_open_as(&world, &config, &log), AS_ERR_FOREIGN);
            open_damaged(&world, world.count, &outcome, "foreign segment");
        }
        log_free(other.log);
        other.log = NULL;
        assert_int_equal(world_open_as(&other, &config, &log), AS_ERR_FOREIGN);
        assert_non_null(strstr(other.report.detail, "Nothing was changed"));
        world_close(&other);
    }
    assert_int_equal(outcome.refused, count * 3);
    fake_close(&sound);
    world_close(&world);
}

/* A later format is refused as such, not as damage. */
static void test_version(void **state)
{
    struct world world;
    struct outcome outcome = {0};
    struct fake_file *file;
    struct log *log = NULL;
    uint64_t hash;

    (void)state;
    world_start(&world, 23);
    world_commit(&world, 3);
    log_free(world.log);
    world.log = NULL;
    file = fake_find(&world.disk, "0000000000000000.log");
    file->seen.data[8] = LOG_FORMAT_VERSION + 1;
    hash = as_hash(file->seen.data, LOG_HEADER_BYTES - 8, 0);
    memcpy(file->seen.data + LOG_HEADER_BYTES - 8, &hash, 8);
    assert_int_equal(world_open_as(&world, &world.config, &log), AS_ERR_VERSION);
    open_damaged(&world, 0, &outcome, "later version");
    assert_int_equal(outcome.refused, 1);
    world_close(&world);
}

/* A snapshot without its segments, segments without their snapshot. */
static void test_snapshot_and_segments_belong_together(void **state)
{
    size_t files[FAKE_FILES], count;
    struct outcome outcome = {0};
    struct fake_disk sound;
    struct world world;
    char name[AS_FILE_NAME_MAX + 1];

    (void)state;
    world_start(&world, 24);
    while (world.traces[AS_TRACE_SEGMENT_OPENED] < 2)
        world_commit(&world, 20);
    world_snapshot(&world);
    world_commit(&world, 20);
    log_free(world.log);
    world.log = NULL;
    fake_copy(&sound, &world.disk);
    count = segments_of(&sound, files);
    for (size_t i = 0; i < count; i++)
        fake_drop(&world.disk.files[files[i]]);
    open_damaged(&world, world.count, &outcome, "snapshot alone");
    restore(&world.disk, &sound);
    log_name_snapshot(name, world.snapshot, false);
    fake_drop(fake_find(&world.disk, name));
    open_damaged(&world, world.count, &outcome, "snapshot missing");
    restore(&world.disk, &sound);
    snprintf(fake_find(&world.disk, name)->name, AS_FILE_NAME_MAX, "%016x.snap", 7);
    open_damaged(&world, world.count, &outcome, "snapshot renamed");
    assert_int_equal(outcome.refused, 3);
    fake_close(&sound);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips_behind_a_mark),
        cmocka_unit_test(test_flips_with_a_received_snapshot),
        cmocka_unit_test(test_flips_without_a_mark),
        cmocka_unit_test(test_a_vote_is_claimed_too),
        cmocka_unit_test(test_a_snapshot_claims_too),
        cmocka_unit_test(test_a_torn_record_stays_dead),
        cmocka_unit_test(test_pairs_of_flips),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_missing_and_renamed),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_snapshot_and_segments_belong_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
