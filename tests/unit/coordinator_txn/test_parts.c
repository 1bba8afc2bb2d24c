/*
 * The parts of the core by themselves: records (every truncation, every flipped bit), the set of
 * committed attempts against a plain array, snapshots that are damaged or restored with memory
 * short.
 */
#include "../../support/support.h"

#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "coordinator/txn/set.h"
#include "coordinator/txn/txn.h"

static const uint8_t long_text[AS_REASON_LEN_MAX + 1];

/* --- Records --- */

static struct txn_record sample(enum txn_record_type type)
{
    static const char gid[] = "assent/demo/5f3a9c01d2e4b687/7.44/2/order-4711";
    static uint8_t attempts[32] = {7, [8] = 2, [16] = 7, [24] = 3};
    struct txn_record record;

    memset(&record, 0, sizeof(record));
    record.type = type;
    switch (type) {
    case TXN_RECORD_COMMIT:
        memset(record.commit.id, 'x', AS_ID_LEN_MAX);
        record.commit.attempt = (struct as_attempt){7, 42};
        record.commit.created_ms = -1;
        record.commit.decided_ms = INT64_MAX;
        record.commit.branch_count = AS_BRANCHES_MAX;
        for (uint32_t i = 0; i < AS_BRANCHES_MAX; i++)
            record.commit.branches[i] = (struct txn_record_branch){i + 1, i % 7, i, {{9}}};
        break;
    case TXN_RECORD_FINISH:
        record.finish.count = 2;
        record.finish.attempts = (struct as_bytes){attempts, sizeof(attempts)};
        break;
    case TXN_RECORD_ABORT:
        strcpy(record.abort.id, "order-4711");
        record.abort.attempt = (struct as_attempt){7, 43};
        as_reason_set(&record.abort.reason, AS_REASON_STATEMENT_FAILED, "no");
        memset(record.abort.reason.message, 'm', AS_REASON_LEN_MAX);
        memset(record.abort.reason.participant, 'p', AS_PARTICIPANT_LEN_MAX);
        strcpy(record.abort.reason.sqlstate, "23505");
        record.abort.reason.branch = AS_BRANCHES_MAX;
        break;
    case TXN_RECORD_HEURISTIC:
        record.heuristic.attempt = (struct as_attempt){7, 44};
        record.heuristic.branch = 64;
        record.heuristic.what = AS_BRANCH_UNVERIFIED;
        record.heuristic.participant = AS_PARTICIPANTS_MAX - 1;
        strcpy(record.heuristic.id, "a");
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        record.acknowledge.attempt = (struct as_attempt){7, 44};
        record.acknowledge.branch = 1;
        record.acknowledge.who = (struct as_bytes){(const uint8_t *)"me", 2};
        record.acknowledge.why = (struct as_bytes){(const uint8_t *)"", 0};
        break;
    case TXN_RECORD_HORIZON:
        record.horizon = (struct as_attempt){INT64_MAX, INT64_MAX};
        break;
    case TXN_RECORD_PARTICIPANT:
        memset(record.participant.name, 'p', AS_PARTICIPANT_LEN_MAX);
        record.participant.counter = UINT64_MAX;
        record.participant.timeline = UINT32_MAX;
        break;
    case TXN_RECORD_RESOLVE:
        record.resolve.participant = AS_PARTICIPANTS_MAX - 1;
        assert_int_equal(as_gid_parse(gid, strlen(gid), &record.resolve.gid), AS_OK);
        record.resolve.xid = UINT64_MAX;
        record.resolve.commit = true;
        record.resolve.who = (struct as_bytes){long_text, AS_WHO_LEN_MAX};
        record.resolve.why = (struct as_bytes){long_text, AS_REASON_LEN_MAX};
        break;
    case TXN_RECORD_NOOP:
    case TXN_RECORD_END:
        break;
    }
    return record;
}

static void put(struct as_buf *buf, const struct txn_record *record)
{
    as_buf_clear(buf);
    txn_record_put(buf, record);
    assert_int_equal(buf->err, AS_OK);
}

static void test_records(void **state)
{
    struct as_buf buf, again;

    (void)state;
    as_buf_init(&buf, AS_RECORD_BYTES_MAX);
    as_buf_init(&again, AS_RECORD_BYTES_MAX);
    for (int type = TXN_RECORD_NOOP; type < TXN_RECORD_END; type++) {
        struct txn_record record = sample((enum txn_record_type)type), back;

        put(&buf, &record);
        assert_int_equal(txn_record_take((uint8_t)type, as_buf_bytes(&buf), &back), AS_OK);
        put(&again, &back);
        assert_int_equal(buf.len, again.len);
        assert_true(buf.len == 0 || memcmp(buf.data, again.data, buf.len) == 0);
        for (size_t len = 0; len < buf.len; len++)
            assert_int_equal(
                txn_record_take((uint8_t)type, (struct as_bytes){buf.data, len}, &back),
                AS_ERR_MALFORMED);
        as_put_u8(&buf, 0);
        assert_int_equal(txn_record_take((uint8_t)type, as_buf_bytes(&buf), &back),
                         AS_ERR_MALFORMED);
        /* Another bit is another record, or none: never the same twice. */
        buf.len--;
        for (size_t bit = 0; bit < buf.len * 8; bit++) {
            buf.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            if (!txn_record_take((uint8_t)type, as_buf_bytes(&buf), &back)) {
                put(&again, &back);
                assert_int_equal(buf.len, again.len);
                assert_memory_equal(buf.data, again.data, buf.len);
            }
            buf.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
    as_buf_close(&buf);
    as_buf_close(&again);
}

/* What is told in advance is what will come, and any bytes do no harm. */
static void test_records_expected(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, AS_RECORD_BYTES_MAX);
    for (int type = 0; type <= TXN_RECORD_END; type++) {
        bool known = type == TXN_RECORD_COMMIT || type == TXN_RECORD_ABORT;
        struct txn_record record = sample(TXN_RECORD_COMMIT);
        char id[AS_ID_LEN_MAX + 1];
        struct as_attempt attempt;

        if (known)
            record = sample((enum txn_record_type)type);
        put(&buf, &record);
        for (size_t len = 0; len < 18; len++)
            assert_false(
                txn_record_peek((uint8_t)type, (struct as_bytes){buf.data, len}, id, &attempt));
        assert_int_equal(txn_record_peek((uint8_t)type, as_buf_bytes(&buf), id, &attempt), known);
        if (!known)
            continue;
        assert_string_equal(id, type == TXN_RECORD_COMMIT ? record.commit.id : record.abort.id);
        assert_true(as_attempt_equal(attempt, type == TXN_RECORD_COMMIT ? record.commit.attempt
                                                                        : record.abort.attempt));
    }
    as_buf_close(&buf);
}

static void refuse(struct txn_record record)
{
    struct txn_record back;
    struct as_buf buf;

    as_buf_init(&buf, AS_RECORD_BYTES_MAX);
    put(&buf, &record);
    assert_int_equal(txn_record_take((uint8_t)record.type, as_buf_bytes(&buf), &back),
                     AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

static void test_records_refused(void **state)
{
    struct txn_record record, back;
    uint8_t none[16] = {0};

    (void)state;
    assert_int_equal(txn_record_take(0, (struct as_bytes){NULL, 0}, &back), AS_ERR_MALFORMED);
    assert_int_equal(txn_record_take(TXN_RECORD_END, (struct as_bytes){NULL, 0}, &back),
                     AS_ERR_MALFORMED);
    record = sample(TXN_RECORD_COMMIT);
    strcpy(record.commit.id, "no blank");
    refuse(record);
    record = sample(TXN_RECORD_COMMIT);
    record.commit.attempt.term = 0;
    refuse(record);
    record = sample(TXN_RECORD_COMMIT);
    record.commit.branch_count = 0;
    refuse(record);
    record = sample(TXN_RECORD_COMMIT);
    record.commit.branches[5].number = 5; /* twice */
    refuse(record);
    record = sample(TXN_RECORD_COMMIT);
    record.commit.branches[5].participant = AS_PARTICIPANTS_MAX;
    refuse(record);
    record = sample(TXN_RECORD_FINISH);
    record.finish.attempts = (struct as_bytes){none, 16};
    record.finish.count = 1;
    refuse(record);
    record = sample(TXN_RECORD_ABORT);
    record.abort.reason.code = AS_REASON_COUNT;
    refuse(record);
    record = sample(TXN_RECORD_ABORT);
    strcpy(record.abort.reason.sqlstate, "235");
    refuse(record);
    record = sample(TXN_RECORD_HEURISTIC);
    record.heuristic.what = AS_BRANCH_COMMITTED;
    refuse(record);
    record = sample(TXN_RECORD_HEURISTIC);
    record.heuristic.branch = 0;
    refuse(record);
    record = sample(TXN_RECORD_PARTICIPANT);
    strcpy(record.participant.name, "Upper");
    refuse(record);
    record = sample(TXN_RECORD_RESOLVE);
    record.resolve.participant = AS_PARTICIPANTS_MAX;
    refuse(record);
    record = sample(TXN_RECORD_RESOLVE);
    record.resolve.who.len = 0; /* nobody */
    refuse(record);
    record = sample(TXN_RECORD_RESOLVE);
    record.resolve.who.len = AS_WHO_LEN_MAX + 1;
    refuse(record);
    record = sample(TXN_RECORD_RESOLVE);
    record.resolve.why.len = 0; /* for no reason */
    refuse(record);
    record = sample(TXN_RECORD_RESOLVE);
    record.resolve.why.len = AS_REASON_LEN_MAX + 1;
    refuse(record);
    assert_string_equal(txn_record_type_text(TXN_RECORD_HORIZON), "HORIZON");
    assert_string_equal(txn_record_type_text(0), "?");
}

/* --- The set --- */

#define TERMS 4
#define SEQS 20000

static void compare_set(const struct txn_set *set, const bool (*has)[SEQS])
{
    for (uint64_t t = 0; t < TERMS; t++) {
        for (uint64_t s = 0; s < SEQS; s++)
            assert_int_equal(txn_set_has(set, (struct as_attempt){t + 1, s}), has[t][s]);
    }
}

static void test_set(void **state)
{
    static bool has[TERMS][SEQS];
    struct as_rng rng = {1};
    struct txn_set set = {0};

    (void)state;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 300; i++) {
            struct as_attempt at = {1 + as_rng_below(&rng, TERMS), as_rng_below(&rng, SEQS)};

            if (as_attempt_compare(at, set.horizon) <= 0)
                continue;
            assert_int_equal(txn_set_reserve(&set, at), AS_OK);
            txn_set_add(&set, at);
            has[at.term - 1][at.seq] = true;
        }
        if (round % 4 == 3) {
            struct as_attempt horizon = {1 + as_rng_below(&rng, TERMS), as_rng_below(&rng, SEQS)};

            if (round % 8 == 3)
                horizon.seq |= TXN_CHUNK_BITS - 1; /* just where a chunk ends */
            if (horizon.seq + 1 < SEQS &&
                as_attempt_compare(horizon, set.horizon) > 0) { /* the first one that stays */
                struct as_attempt next = {horizon.term, horizon.seq + 1};

                assert_int_equal(txn_set_reserve(&set, next), AS_OK);
                txn_set_add(&set, next);
                has[next.term - 1][next.seq] = true;
            }
            if (as_attempt_compare(horizon, set.horizon) > 0) {
                for (uint64_t t = 0; t < TERMS; t++)
                    for (uint64_t s = 0; s < SEQS; s++)
                        if (as_attempt_compare((struct as_attempt){t + 1, s}, horizon) <= 0)
                            has[t][s] = false;
            }
            txn_set_cut(&set, horizon);
        }
        compare_set(&set, (const bool(*)[SEQS])has);
    }
    assert_int_equal(set.bytes, set.count * sizeof(struct txn_chunk));
    txn_set_close(&set);
}

static void test_set_horizon(void **state)
{
    struct txn_set set = {0};
    struct as_attempt horizon;

    (void)state;
    assert_int_equal(txn_set_horizon_for(&set, 1).term, 0);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(txn_set_reserve(&set, (struct as_attempt){3, 1 + i * 1000000}), AS_OK);
    horizon = txn_set_horizon_for(&set, set.bytes / 4);
    txn_set_cut(&set, horizon);
    assert_int_equal(set.count, 6); /* a quarter is gone */
    assert_int_equal(txn_set_horizon_for(&set, set.bytes + 1).term, 0);
    txn_set_close(&set);
}

/* --- Snapshots --- */

static void fold(struct txn *txn, uint64_t index, struct txn_record *record)
{
    struct txn_event event = {.kind = TXN_APPLY};
    struct txn_effects effects;
    struct as_buf buf;
    as_err err;

    as_buf_init(&buf, AS_RECORD_BYTES_MAX);
    put(&buf, record);
    event.entry =
        (struct txn_entry){index, 7, (int64_t)index, (uint8_t)record->type, as_buf_bytes(&buf)};
    err = txn_step(txn, &event, &effects);
    assert_int_equal(err, AS_OK);
    as_buf_close(&buf);
}

static struct txn *new_core(void)
{
    struct txn_config config = {.seed = 3};
    struct txn *txn = NULL;

    if (txn_new(&txn, &config))
        assert_true(test_allocation_failed());
    return txn;
}

static void write_snapshot(struct txn *txn, struct as_buf *buf)
{
    uint64_t index, term;
    bool done = false;

    as_buf_init(buf, SIZE_MAX / 2);
    assert_int_equal(txn_snapshot_begin(txn, &index, &term), AS_OK);
    while (!done)
        assert_int_equal(txn_snapshot_next(txn, buf, 300, &done), AS_OK);
    txn_snapshot_end(txn);
}

/* A table with one of everything. */
static struct txn *sample_core(void)
{
    struct txn *txn = new_core();
    struct txn_record record = sample(TXN_RECORD_PARTICIPANT);
    uint64_t index = 0;

    fold(txn, ++index, &record);
    for (uint32_t i = 0; i < 4; i++) {
        record = sample(TXN_RECORD_COMMIT);
        strcpy(record.commit.id, "id-0");
        record.commit.id[3] = (char)('0' + i);
        record.commit.attempt.seq = 2 + i;
        record.commit.branch_count = 2;
        record.commit.branches[1].participant = 0;
        fold(txn, ++index, &record);
    }
    record = sample(TXN_RECORD_HEURISTIC);
    record.heuristic.attempt.seq = 4;
    record.heuristic.branch = 2;
    record.heuristic.participant = 0;
    fold(txn, ++index, &record);
    record = sample(TXN_RECORD_ACKNOWLEDGE);
    record.acknowledge.attempt.seq = 4;
    record.acknowledge.branch = 2;
    fold(txn, ++index, &record);
    record = sample(TXN_RECORD_ABORT);
    fold(txn, ++index, &record);
    record = sample(TXN_RECORD_HEURISTIC);
    record.heuristic.participant = 0;
    record.heuristic.what = AS_BRANCH_HEURISTIC_COMMIT;
    fold(txn, ++index, &record);
    record = sample(TXN_RECORD_FINISH);
    fold(txn, ++index, &record);
    return txn;
}

static void test_snapshot_damage(void **state)
{
    struct txn *txn = sample_core(), *copy;
    uint64_t digest = txn_digest(txn);
    struct as_buf buf;
    int same = 0;

    (void)state;
    write_snapshot(txn, &buf);
    for (size_t len = 0; len < buf.len; len++) {
        copy = new_core();
        assert_int_equal(txn_restore(copy, (struct as_bytes){buf.data, len}, true), AS_ERR_CORRUPT);
        txn_free(copy);
    }
    for (size_t bit = 0; bit < buf.len * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        copy = new_core();
        /* The file's checksum finds these; here nothing may break, and nothing be mistaken for the
         * original. */
        if (txn_restore(copy, as_buf_bytes(&buf), true) == AS_OK)
            same += txn_digest(copy) == digest;
        txn_free(copy);
        buf.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(same, 0);
    as_buf_close(&buf);
    txn_free(txn);
}

/* Two outcomes of one attempt, under different ids: each looks right, together they are no table.
 */
static void test_snapshot_twice(void **state)
{
    struct txn *txn = new_core(), *copy = new_core();
    struct txn_record record = sample(TXN_RECORD_ABORT);
    struct as_buf buf, twice;
    size_t head, item, end;

    (void)state;
    fold(txn, 1, &record);
    write_snapshot(txn, &buf);
    /* HEAD, OUTCOME, END: each u8 type, u32 length. */
    head = 5u + buf.data[1];
    item = 5u + buf.data[head + 1] + 256u * buf.data[head + 2];
    end = head + item;
    assert_int_equal(buf.data[end], 4);
    as_buf_init(&twice, SIZE_MAX / 2);
    as_put_bytes(&twice, buf.data, end);
    as_put_bytes(&twice, buf.data + head, item);
    as_put_bytes(&twice, buf.data + end, buf.len - end);
    twice.data[end + item + 5]++;     /* END counts two */
    twice.data[end + 5 + 2] ^= 1;     /* another id */
    for (size_t at = 0; at < 8; at++) /* another index, behind id, attempt and hash */
        twice.data[end + 5 + 2 + strlen("order-4711") + 16 + AS_HASH_LEN + at] ^= at == 0;
    assert_int_equal(txn_restore(copy, as_buf_bytes(&twice), true), AS_ERR_CORRUPT);
    txn_free(copy);
    /* With another attempt it is a table. */
    twice.data[end + 5 + 2 + strlen("order-4711")] ^= 1;
    copy = new_core();
    assert_int_equal(txn_restore(copy, as_buf_bytes(&twice), true), AS_OK);
    txn_free(copy);
    as_buf_close(&twice);
    as_buf_close(&buf);
    txn_free(txn);
}

/* Log time never goes back, whatever an entry says. */
static void test_log_time(void **state)
{
    struct txn *txn = new_core();
    struct txn_record noop = sample(TXN_RECORD_NOOP);
    struct txn_event event = {.kind = TXN_APPLY};
    struct txn_effects effects;

    (void)state;
    fold(txn, 50, &noop);
    assert_int_equal(txn_log_time_ms(txn), 50);
    event.entry = (struct txn_entry){51, 7, 20, TXN_RECORD_NOOP, {NULL, 0}};
    assert_int_equal(txn_step(txn, &event, &effects), AS_OK);
    assert_int_equal(txn_log_time_ms(txn), 50);
    /* Entries come in order, each once. */
    assert_int_equal(txn_step(txn, &event, &effects), AS_ERR_CORRUPT);
    event.entry.index = 52;
    event.entry.term = 6;
    assert_int_equal(txn_step(txn, &event, &effects), AS_ERR_CORRUPT);
    assert_int_equal(txn_applied_index(txn), 51);
    assert_int_equal(txn_applied_term(txn), 7);
    txn_free(txn);
}

struct restoring {
    struct as_buf buf;
    uint64_t digest;
};

static void restore_once(void *ctx)
{
    const struct restoring *from = ctx;
    struct txn *copy = new_core();
    as_err err;

    if (!copy)
        return;
    err = txn_restore(copy, as_buf_bytes(&from->buf), true);
    if (err)
        assert_true(err == AS_ERR_NOMEM && test_allocation_failed());
    else
        assert_true(txn_digest(copy) == from->digest);
    txn_free(copy);
}

static void write_once(void *ctx)
{
    struct txn *txn = *(struct txn **)ctx;
    struct as_buf buf;
    uint64_t index, term;
    bool done = false;
    as_err err = txn_snapshot_begin(txn, &index, &term);

    as_buf_init(&buf, SIZE_MAX / 2);
    while (!err && !done)
        err = txn_snapshot_next(txn, &buf, 100, &done);
    assert_true(!err || (err == AS_ERR_NOMEM && test_allocation_failed()));
    txn_snapshot_end(txn);
    as_buf_close(&buf);
}

static void test_snapshot_nomem(void **state)
{
    struct txn *txn = sample_core();
    struct restoring from = {.digest = txn_digest(txn)};

    (void)state;
    write_snapshot(txn, &from.buf);
    test_fail_each_allocation(restore_once, &from);
    test_fail_each_allocation(write_once, &txn);
    as_buf_close(&from.buf);
    assert_true(txn_digest(txn) == from.digest);
    txn_free(txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),          cmocka_unit_test(test_records_refused),
        cmocka_unit_test(test_records_expected), cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_horizon),      cmocka_unit_test(test_snapshot_damage),
        cmocka_unit_test(test_snapshot_nomem),   cmocka_unit_test(test_snapshot_twice),
        cmocka_unit_test(test_log_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
