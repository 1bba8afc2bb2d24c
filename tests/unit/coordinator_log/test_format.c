/*
 * The bytes by themselves: names, headers, records, and that a record is one only at its own place.
 */
#include <string.h>

#include "../../support/support.h"
#include "assent/map.h"
#include "coordinator/log/format.h"
#include "coordinator/log/log.h"

#define GOLDEN_SEGMENT 0x5759e922190e745cu
#define GOLDEN_SNAPSHOT 0x3eb0655ca764777du
#define GOLDEN_RECORDS 0x5d15513d70705926u
#define GOLDEN_CHUNK 0x6fef21e27d965430u

static const struct log_segment segment = {
    .identity = {.cluster = "demo", .incarnation = 7, .node = 3},
    .size = 65536,
    .first = 42,
    .start = 131072,
    .prev_end = 131000,
    .fold = {.last_index = 41, .last_term = 5, .last_time_ms = -6, .vote_term = 9, .voted_for = 2},
};

static void test_names(void **state)
{
    static const struct {
        const char *name;
        enum log_name kind;
        uint64_t number;
    } cases[] = {
        {"0000000000000001.log", LOG_NAME_SEGMENT, 1},
        {"fedcba9876543210.log", LOG_NAME_SEGMENT, 0xfedcba9876543210},
        {"00000000000000ff.snap", LOG_NAME_SNAPSHOT, 255},
        {"00000000000000ff.snap.tmp", LOG_NAME_LEFTOVER, 255},
        {"spare-0.log", LOG_NAME_SPARE, 0},
        {"spare-1.log", LOG_NAME_SPARE, 1},
        {"spare-2.log", LOG_NAME_OTHER, 0},
        {"spare-0.tmp", LOG_NAME_LEFTOVER, 0},
        {"sync-1.tmp", LOG_NAME_LEFTOVER, 0},
        {"notes.tmp", LOG_NAME_OTHER, 0},
        {"lock", LOG_NAME_OTHER, 0},
        {"", LOG_NAME_OTHER, 0},
        {"000000000000000G.log", LOG_NAME_OTHER, 0},
        {"00000000000000FF.log", LOG_NAME_OTHER, 0},
        {"1.log", LOG_NAME_OTHER, 0},
    };
    char name[AS_FILE_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(cases); i++) {
        uint64_t number;

        assert_int_equal(log_name_parse(cases[i].name, &number), cases[i].kind);
        if (cases[i].kind != LOG_NAME_OTHER && cases[i].kind != LOG_NAME_LEFTOVER)
            assert_int_equal(number, cases[i].number);
    }
    log_name_segment(name, 0xab);
    assert_string_equal(name, "00000000000000ab.log");
    log_name_snapshot(name, 0xab, true);
    assert_string_equal(name, "00000000000000ab.snap.tmp");
    log_name_spare(name, 1, false);
    assert_string_equal(name, "spare-1.log");
}

static void test_headers_survive_and_no_flip_passes(void **state)
{
    const struct log_snapshot snapshot = {
        .identity = segment.identity, .index = 40, .term = 4, .durable = 999, .last_time_ms = 12};
    struct log_snapshot snapshot_back;
    struct log_segment back;
    uint8_t bytes[LOG_HEADER_BYTES];

    (void)state;
    log_segment_put(bytes, &segment);
    assert_int_equal(log_segment_take(bytes, &back), AS_OK);
    assert_string_equal(back.identity.cluster, "demo");
    assert_int_equal(back.prev_end, segment.prev_end);
    assert_memory_equal(&back.fold, &segment.fold, sizeof back.fold);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(log_segment_take(bytes, &back), AS_OK);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    log_snapshot_put(bytes, &snapshot);
    assert_int_equal(log_snapshot_take(bytes, &snapshot_back), AS_OK);
    assert_int_equal(snapshot_back.durable, 999);
    assert_int_equal(log_segment_take(bytes, &back), AS_ERR_MALFORMED);
}

static void test_record_is_one_only_at_its_place(void **state)
{
    const uint8_t payload[] = "all or nothing";
    const struct log_record record = {.kind = LOG_KIND_ENTRY,
                                      .type = 2,
                                      .index = 42,
                                      .term = 5,
                                      .time_ms = 77,
                                      .payload = {payload, sizeof payload}};
    uint64_t salt = log_segment_salt(&segment), total = log_record_bytes(sizeof payload);
    struct log_segment other = segment;
    struct log_record back;
    uint8_t bytes[256];

    (void)state;
    log_record_put(bytes, &record);
    log_record_close(bytes, salt, 4096, 4000);
    assert_int_equal(log_record_probe(bytes, salt, 4096, sizeof bytes), total);
    assert_true(log_record_take(bytes, total, salt, 4096, &back));
    assert_int_equal(back.durable, 4000);
    assert_int_equal(back.index, 42);
    assert_memory_equal(back.payload.data, payload, sizeof payload);
    assert_int_equal(log_record_probe(bytes, salt, 4096, total - 1), 0);
    assert_int_equal(log_record_probe(bytes, salt, 4104, sizeof bytes), 0);
    other.first++;
    assert_int_equal(log_record_probe(bytes, log_segment_salt(&other), 4096, sizeof bytes), 0);
    assert_false(log_record_take(bytes, total, log_segment_salt(&other), 4096, &back));
    for (size_t bit = 0; bit < total * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(log_record_probe(bytes, salt, 4096, sizeof bytes) == total &&
                     log_record_take(bytes, total, salt, 4096, &back));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(log_record_probe(bytes, salt, 4096, sizeof bytes), 0);
}

/* The bytes themselves. Whoever has to change a number here changes LOG_FORMAT_VERSION too. */
static void test_golden(void **state)
{
    const struct log_snapshot snapshot = {.identity = segment.identity,
                                          .index = 40,
                                          .term = 4,
                                          .durable = 999,
                                          .last_time_ms = 12,
                                          .received = true};
    const uint8_t payload[] = "all or nothing";
    uint8_t bytes[LOG_HEADER_BYTES];
    uint64_t kinds = 0;

    (void)state;
    assert_int_equal(LOG_FORMAT_VERSION, 2);
    log_segment_put(bytes, &segment);
    assert_int_equal(as_hash(bytes, sizeof bytes, 0), GOLDEN_SEGMENT);
    log_snapshot_put(bytes, &snapshot);
    assert_int_equal(as_hash(bytes, sizeof bytes, 0), GOLDEN_SNAPSHOT);
    for (int kind = LOG_KIND_ENTRY; kind <= LOG_KIND_INSTALL; kind++) {
        const struct log_record record = {
            .kind = (enum log_kind)kind,
            .type = kind == LOG_KIND_ENTRY ? 2 : 0,
            .index = 42,
            .term = 5,
            .time_ms = -77,
            .payload = {payload, kind == LOG_KIND_ENTRY ? sizeof payload : 0}};
        uint64_t total = log_record_bytes(record.payload.len);

        log_record_put(bytes, &record);
        log_record_close(bytes, log_segment_salt(&segment), 4096, 4000);
        kinds = as_hash(bytes, (size_t)total, kinds);
    }
    assert_int_equal(kinds, GOLDEN_RECORDS);
    log_chunk_put(bytes, log_snapshot_salt(&snapshot), 3,
                  (struct as_bytes){payload, sizeof payload}, true);
    log_trailer_put(bytes + LOG_CHUNK_HEADER, log_snapshot_salt(&snapshot), 4, 99);
    assert_int_equal(as_hash(bytes, LOG_CHUNK_HEADER + LOG_TRAILER_BYTES, 0), GOLDEN_CHUNK);
}

static void test_fold(void **state)
{
    struct log_fold fold = {.last_index = 10, .last_term = 3, .vote_term = 4};
    struct log_record record = {.kind = LOG_KIND_ENTRY, .index = 12, .term = 3};

    (void)state;
    assert_false(log_fold_record(&fold, &record, 0)); /* a gap */
    record.index = 11;
    record.term = 2;
    assert_false(log_fold_record(&fold, &record, 0)); /* a lower term */
    record.term = 3;
    record.durable = 9;
    assert_false(log_fold_record(&fold, &record, 8)); /* claims itself */
    assert_true(log_fold_record(&fold, &record, 9));
    assert_int_equal(fold.last_index, 11);
    record = (struct log_record){.kind = LOG_KIND_VOTE, .index = 1, .term = 4};
    assert_true(
        log_fold_record(&fold, &record, 0)); /* the term was known, the vote not yet given */
    assert_true(log_fold_record(&fold, &record, 0));
    record.index = 2;
    assert_false(log_fold_record(&fold, &record, 0)); /* two votes in one term */
    record = (struct log_record){.kind = LOG_KIND_MARK, .index = 10, .term = 3};
    assert_false(log_fold_record(&fold, &record, 0));
    record = (struct log_record){.kind = (enum log_kind)77, .index = 12, .term = 3};
    assert_false(log_fold_record(&fold, &record, 0));
}

static void test_fold_back(void **state)
{
    static const struct {
        uint64_t index, term;
        bool fits;
    } cuts[] = {{0, 3, false}, {12, 3, false}, {11, 4, false}, {5, 0, false}, {1, 1, false},
                {11, 3, true}, {5, 2, true},   {1, 0, true},   {1, 0, false}};
    struct log_fold fold = {.last_index = 11, .last_term = 3, .vote_term = 4, .voted_for = 2};
    struct log_record record = {.kind = LOG_KIND_TRUNCATE};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(cuts); i++) {
        struct log_fold before = fold;

        record.index = cuts[i].index;
        record.term = cuts[i].term;
        assert_int_equal(log_fold_record(&fold, &record, 0), cuts[i].fits);
        if (!cuts[i].fits)
            assert_memory_equal(&fold, &before, sizeof fold);
        else
            assert_true(fold.last_index == cuts[i].index - 1 && fold.last_term == cuts[i].term);
    }
    assert_int_equal(fold.vote_term, 4);
    record = (struct log_record){.kind = LOG_KIND_ENTRY, .index = 1};
    assert_false(log_fold_record(&fold, &record, 0)); /* there is no term 0 */
    record = (struct log_record){.kind = LOG_KIND_INSTALL, .term = 2};
    assert_false(log_fold_record(&fold, &record, 0));
    record.index = 90;
    assert_true(log_fold_record(&fold, &record, 0));
    assert_true(fold.last_index == 90 && fold.last_term == 2 && fold.voted_for == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_headers_survive_and_no_flip_passes),
        cmocka_unit_test(test_record_is_one_only_at_its_place),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_fold_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
