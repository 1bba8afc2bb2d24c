/*
 * A branch's work, results, and SQL text, from anywhere. Work and results that decode encode back
 * to the same bytes, as_work_check says OK exactly for those, and no decode runs longer than its
 * bytes. What a statement is refused for does not depend on comments and empty statements before it
 * (R11).
 */
#include <stdlib.h>

#include "assent/work.h"
#include "tests/fuzz/fuzz.h"

static as_err copy_work(struct as_bytes bytes, struct as_buf *again)
{
    struct as_work_reader reader;
    struct as_statement statement;
    struct as_bytes param;
    bool operations = false;

    if (as_work_open(&reader, bytes))
        return AS_ERR_MALFORMED;
    as_work_put_begin(again, reader.isolation, reader.read_only, reader.statement_count);
    for (uint32_t i = 0; i < reader.statement_count; i++) {
        if (as_work_next_statement(&reader, &statement))
            return AS_ERR_MALFORMED;
        AS_ASSERT(strlen((const char *)statement.sql.data) == statement.sql.len);
        if (statement.operation)
            as_work_put_operation(again, 0, statement.sql, statement.expect_rows,
                                  statement.param_count);
        else
            as_work_put_statement(again, statement.sql, statement.expect_rows,
                                  statement.param_count);
        operations |= statement.operation;
        for (uint32_t k = 0; k < statement.param_count; k++) {
            if (as_work_next_param(&reader, &param))
                return AS_ERR_MALFORMED;
            as_work_put_param(again, param);
        }
    }
    return as_reader_done(&reader.in) && operations == reader.operations ? AS_OK : AS_ERR_MALFORMED;
}

static as_err copy_results(struct as_bytes bytes, struct as_buf *again)
{
    struct as_results_reader reader;
    struct as_result result;
    struct as_bytes text;

    if (as_results_open(&reader, bytes))
        return AS_ERR_MALFORMED;
    as_results_put_begin(again, reader.statement_count);
    for (uint32_t i = 0; i < reader.statement_count; i++) {
        uint64_t texts;

        if (as_results_next(&reader, &result))
            return AS_ERR_MALFORMED;
        texts = result.column_count * ((uint64_t)result.row_count + 1);
        AS_ASSERT(texts <= bytes.len / 4);
        as_results_put_statement(again, result.rows_affected, result.column_count,
                                 result.row_count);
        for (uint64_t k = 0; k < texts; k++) {
            if (as_results_next_text(&reader, &text))
                return AS_ERR_MALFORMED;
            as_results_put_text(again, text);
        }
    }
    return as_reader_done(&reader.in) ? AS_OK : AS_ERR_MALFORMED;
}

static as_err check_copy(as_err (*copy)(struct as_bytes, struct as_buf *), struct as_bytes bytes)
{
    struct as_buf again;
    as_err err;

    as_buf_init(&again, SIZE_MAX / 2);
    err = copy(bytes, &again);
    if (err == AS_OK)
        AS_ASSERT(again.err == AS_OK && fuzz_same(as_buf_bytes(&again), bytes));
    as_buf_close(&again);
    return err;
}

static void check_sql(struct as_bytes sql)
{
    static const char dress[] = ";/* SELECT /* 1 */ */ -- x\r; ";
    const char *refused = as_sql_refused(sql);
    uint8_t *dressed = malloc(sizeof(dress) - 1 + sql.len);

    AS_ASSERT(dressed);
    memcpy(dressed, dress, sizeof(dress) - 1);
    if (sql.len > 0)
        memcpy(dressed + sizeof(dress) - 1, sql.data, sql.len);
    AS_ASSERT(as_sql_refused((struct as_bytes){dressed, sizeof(dress) - 1 + sql.len}) == refused);
    free(dressed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct as_bytes bytes = {data, size};

    AS_ASSERT(check_copy(copy_work, bytes) == as_work_check(bytes));
    (void)check_copy(copy_results, bytes);
    check_sql(bytes);
    return 0;
}
