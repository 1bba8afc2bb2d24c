/* Work and results as bytes: what goes in comes out, and no damaged or hostile bytes get through.
 */
#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "assent/work.h"
#include "tests/support/support.h"

static struct as_bytes text_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

static void put_example(struct as_buf *buf)
{
    as_work_put_begin(buf, AS_ISOLATION_SERIALIZABLE, true, 2);
    as_work_put_statement(buf, text_of("SELECT $1, $2, $3"), AS_EXPECT_NONE, 3);
    as_work_put_param(buf, text_of("100"));
    as_work_put_param(buf, text_of(NULL));
    as_work_put_param(buf, text_of(""));
    as_work_put_statement(buf, text_of("SELECT 1"), 7, 0);
}

static void put_results(struct as_buf *buf)
{
    as_results_put_begin(buf, 3);
    as_results_put_statement(buf, 1, 0, 0);
    as_results_put_statement(buf, 2, 2, 2);
    as_results_put_text(buf, text_of("id"));
    as_results_put_text(buf, text_of("balance"));
    as_results_put_text(buf, text_of("alice"));
    as_results_put_text(buf, text_of(NULL));
    as_results_put_text(buf, text_of(""));
    as_results_put_text(buf, text_of("600"));
    as_results_put_statement(buf, 5, 0, 5); /* SELECT FROM t: rows without columns */
}

static void assert_text(struct as_bytes found, const char *expected)
{
    if (!expected) {
        assert_null(found.data);
        return;
    }
    assert_non_null(found.data);
    assert_int_equal(found.len, strlen(expected));
    assert_string_equal((const char *)found.data, expected); /* the NUL is there */
}

static void work_comes_back(void **state)
{
    struct as_work_reader reader;
    struct as_statement statement;
    struct as_bytes param;
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    put_example(&buf);
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(as_work_open(&reader, as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(reader.isolation, AS_ISOLATION_SERIALIZABLE);
    assert_true(reader.read_only);
    assert_int_equal(reader.statement_count, 2);
    assert_int_equal(as_work_next_statement(&reader, &statement), AS_OK);
    assert_text(statement.sql, "SELECT $1, $2, $3");
    assert_int_equal(statement.expect_rows, AS_EXPECT_NONE);
    assert_int_equal(statement.param_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(as_work_next_param(&reader, &param), AS_OK);
        assert_text(param, (const char *[]){"100", NULL, ""}[i]);
    }
    assert_int_equal(as_work_next_statement(&reader, &statement), AS_OK);
    assert_text(statement.sql, "SELECT 1");
    assert_int_equal(statement.expect_rows, 7);
    assert_true(as_reader_done(&reader.in));
    assert_int_equal(as_work_next_statement(&reader, &statement), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

/* The mark at the beginning is what agents from before operations refuse all of the work for: they
 * know 0 and 1 there, and refuse anything else. */
static void operations_are_marked(void **state)
{
    struct as_work_reader reader;
    struct as_statement statement;
    struct as_bytes param;
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    as_put_u8(&buf, 0xee); /* work need not be the first in a buffer */
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, true, 2);
    as_work_put_statement(&buf, text_of("SELECT 1"), AS_EXPECT_NONE, 0);
    assert_int_equal(buf.data[2], 1);
    as_work_put_operation(&buf, 1, text_of("debit"), 1, 1);
    as_work_put_param(&buf, text_of("100"));
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(buf.data[0], 0xee);
    assert_int_equal(buf.data[2], 3);
    assert_int_equal(as_work_check((struct as_bytes){buf.data + 1, buf.len - 1}), AS_OK);
    assert_int_equal(as_work_open(&reader, (struct as_bytes){buf.data + 1, buf.len - 1}), AS_OK);
    assert_true(reader.operations && reader.read_only);
    assert_int_equal(as_work_next_statement(&reader, &statement), AS_OK);
    assert_false(statement.operation);
    assert_int_equal(as_work_next_statement(&reader, &statement), AS_OK);
    assert_true(statement.operation);
    assert_text(statement.sql, "debit");
    assert_int_equal(statement.expect_rows, 1);
    assert_int_equal(statement.param_count, 1);
    assert_int_equal(as_work_next_param(&reader, &param), AS_OK);
    assert_text(param, "100");
    assert_true(as_reader_done(&reader.in));
    /* Without the mark it is no operation, but nonsense; and so is a name that is none. */
    buf.data[2] = 1;
    assert_int_equal(as_work_check((struct as_bytes){buf.data + 1, buf.len - 1}), AS_ERR_MALFORMED);
    buf.data[2] = 3;
    buf.data[buf.len - 8 - 4 - 8 - 1 - 5] = 'D';
    assert_int_equal(as_work_check((struct as_bytes){buf.data + 1, buf.len - 1}), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

static as_err check_results(struct as_bytes bytes)
{
    struct as_results_reader reader;
    struct as_result result;
    struct as_bytes text;

    if (as_results_open(&reader, bytes))
        return AS_ERR_MALFORMED;
    for (uint32_t i = 0; i < reader.statement_count; i++) {
        if (as_results_next(&reader, &result))
            return AS_ERR_MALFORMED;
        for (uint64_t k = 0; k < result.column_count * ((uint64_t)result.row_count + 1); k++) {
            if (as_results_next_text(&reader, &text))
                return AS_ERR_MALFORMED;
        }
    }
    return as_reader_done(&reader.in) ? AS_OK : AS_ERR_MALFORMED;
}

static void results_come_back(void **state)
{
    static const char *const texts[] = {"id", "balance", "alice", NULL, "", "600"};
    struct as_results_reader reader;
    struct as_result result;
    struct as_bytes text;
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    put_results(&buf);
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(check_results(as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(as_results_open(&reader, as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(reader.statement_count, 3);
    assert_int_equal(as_results_next(&reader, &result), AS_OK);
    assert_int_equal(result.rows_affected, 1);
    assert_int_equal(result.column_count, 0);
    assert_int_equal(as_results_next(&reader, &result), AS_OK);
    assert_int_equal(result.column_count, 2);
    assert_int_equal(result.row_count, 2);
    for (size_t i = 0; i < AS_COUNT_OF(texts); i++) {
        assert_int_equal(as_results_next_text(&reader, &text), AS_OK);
        assert_text(text, texts[i]);
    }
    assert_int_equal(as_results_next(&reader, &result), AS_OK);
    assert_int_equal(result.rows_affected, 5);
    assert_int_equal(result.row_count, 0);
    assert_true(as_reader_done(&reader.in));
    as_buf_close(&buf);
}

/* A check of bytes in memory of exactly their length, so that a sanitizer sees a read behind them.
 */
static as_err check_copy(as_err (*check)(struct as_bytes), const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    as_err err;

    assert_non_null(copy);
    memcpy(copy, data, len);
    err = check((struct as_bytes){copy, len});
    free(copy);
    return err;
}

static void no_part_and_no_more(void (*put)(struct as_buf *), as_err (*check)(struct as_bytes))
{
    struct as_buf buf;

    as_buf_init(&buf, 1000);
    put(&buf);
    for (size_t len = 0; len < buf.len; len++)
        assert_int_equal(check_copy(check, buf.data, len), AS_ERR_MALFORMED);
    assert_int_equal(check_copy(check, buf.data, buf.len), AS_OK);
    as_put_u8(&buf, 0);
    assert_int_equal(check_copy(check, buf.data, buf.len), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

static void truncated_or_longer_is_refused(void **state)
{
    (void)state;
    no_part_and_no_more(put_example, as_work_check);
    no_part_and_no_more(put_results, check_results);
}

/* Whatever bytes change, the decoder reads inside of them; the sanitizer watches. */
static void damaged_bytes_are_read_safely(void **state)
{
    struct as_rng rng = {31};
    struct as_buf buf;
    int taken = 0;

    (void)state;
    as_buf_init(&buf, 1000);
    for (int round = 0; round < 20000; round++) {
        const bool work = round % 2;

        as_buf_clear(&buf);
        (work ? put_example : put_results)(&buf);
        for (uint64_t n = 1 + as_rng_below(&rng, 3); n > 0; n--)
            buf.data[as_rng_below(&rng, buf.len)] =
                (uint8_t)(as_rng_below(&rng, 2) * as_rng_next(&rng));
        taken += check_copy(work ? as_work_check : check_results, buf.data, buf.len) == AS_OK;
    }
    assert_in_range(taken, 1, 19999);
    as_buf_close(&buf);
}

static void every_text_ends_with_its_nul(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_statement(&buf, text_of("AB"), 0, 0);
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_OK);
    buf.data[6 + 4 + 2] = 'x'; /* behind the text */
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    buf.data[6 + 4 + 2] = 0;
    buf.data[6 + 4 + 1] = 0; /* inside it: libpq would run "A" */
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_clear(&buf);
    as_work_put_param(&buf, (struct as_bytes){(const uint8_t *)"a\0b", 3});
    assert_int_equal(buf.err, AS_ERR_INVALID);
    as_buf_close(&buf);
}

static void values_out_of_range_are_refused(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 0);
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_OK);
    buf.data[0] = 3;
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    buf.data[0] = 0;
    buf.data[1] = 2; /* operations, and there are none */
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    buf.data[1] = 4;
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_clear(&buf);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_statement(&buf, text_of(""), -2, 0);
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_clear(&buf);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_put_u32(&buf, UINT32_MAX); /* the SQL is null */
    as_put_i64(&buf, 0);
    as_put_u32(&buf, 1);
    as_work_put_param(&buf, text_of(NULL));
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

static void counts_have_limits(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1 << 20);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, AS_STATEMENTS_MAX + 1);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    as_buf_clear(&buf);
    as_work_put_statement(&buf, text_of("x"), 0, AS_PARAMS_MAX + 1);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    as_buf_clear(&buf);
    as_results_put_begin(&buf, AS_STATEMENTS_MAX + 1);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);

    /* The largest that is allowed is taken, one more is not. */
    as_buf_clear(&buf);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, AS_STATEMENTS_MAX);
    for (uint32_t i = 0; i < AS_STATEMENTS_MAX; i++)
        as_work_put_statement(&buf, text_of(""), 0, 0);
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_OK);
    as_work_put_statement(&buf, text_of(""), 0, 0);
    buf.data[2]++;
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_clear(&buf);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_statement(&buf, text_of(""), 0, AS_PARAMS_MAX);
    for (uint32_t i = 0; i <= AS_PARAMS_MAX; i++)
        as_work_put_param(&buf, text_of(NULL));
    assert_int_equal(as_work_check((struct as_bytes){buf.data, buf.len - 4}), AS_OK);
    buf.data[6 + 4 + 1 + 8] = 0; /* 65536 of them */
    buf.data[6 + 4 + 1 + 8 + 1] = 0;
    buf.data[6 + 4 + 1 + 8 + 2] = 1;
    assert_int_equal(as_work_check(as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

/* A few bytes that claim billions are refused at once, before anybody loops or allocates. */
static void claims_are_compared_with_the_bytes(void **state)
{
    struct as_work_reader work;
    struct as_statement statement;
    struct as_results_reader results;
    struct as_result result;
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1000);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 2);
    as_work_put_statement(&buf, text_of("a"), 0, 0);
    assert_int_equal(as_work_open(&work, as_buf_bytes(&buf)), AS_ERR_MALFORMED);

    as_buf_clear(&buf);
    as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_statement(&buf, text_of("a"), 0, 2);
    as_work_put_param(&buf, text_of(NULL));
    assert_int_equal(as_work_open(&work, as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(as_work_next_statement(&work, &statement), AS_ERR_MALFORMED);

    as_buf_clear(&buf);
    as_results_put_begin(&buf, 2);
    as_results_put_statement(&buf, 0, 0, 0);
    assert_int_equal(as_results_open(&results, as_buf_bytes(&buf)), AS_ERR_MALFORMED);
    for (int i = 0; i < 4; i++) {
        static const uint32_t claims[4][2] = {
            {UINT32_MAX, UINT32_MAX}, {1, UINT32_MAX}, {UINT32_MAX, 0}, {0x10000, 0xffff}};

        as_buf_clear(&buf);
        as_results_put_begin(&buf, 1);
        as_results_put_statement(&buf, 0, claims[i][0], claims[i][1]);
        as_put_u64(&buf, 0);
        assert_int_equal(as_results_open(&results, as_buf_bytes(&buf)), AS_OK);
        assert_int_equal(as_results_next(&results, &result), AS_ERR_MALFORMED);
    }
    as_buf_clear(&buf);
    as_results_put_begin(&buf, 1);
    as_put_i64(&buf, 0);
    as_put_u32(&buf, 0);
    as_put_u32(&buf,
               UINT32_MAX); /* rows without columns take no bytes, so they could be without end */
    assert_int_equal(as_results_open(&results, as_buf_bytes(&buf)), AS_OK);
    assert_int_equal(as_results_next(&results, &result), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_comes_back),
        cmocka_unit_test(operations_are_marked),
        cmocka_unit_test(results_come_back),
        cmocka_unit_test(truncated_or_longer_is_refused),
        cmocka_unit_test(damaged_bytes_are_read_safely),
        cmocka_unit_test(every_text_ends_with_its_nul),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(counts_have_limits),
        cmocka_unit_test(claims_are_compared_with_the_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
