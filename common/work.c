/*
 * A branch's work and its results as bytes. Fault model: decoders get any bytes (a peer's, a
 * disk's). A count is believed only as far as the bytes behind it could hold that many, so no loop
 * over it is long.
 *
 *   work       u8 isolation, u8 flags (1 read only, 2 operations), u32 statements, then each:
 *              text sql or name, i64 expect rows, u32 parameters, then each: text or null
 *   results    u32 statements, then each: i64 rows affected, u32 columns, u32 rows, then names and
 *              cells
 *   text       u32 length, bytes, NUL; null is the length 0xffffffff alone
 *
 * An operation is a statement with the highest bit set in its number of parameters; the flag says
 * that there are some. Agents from before operations know no flag but the first: they refuse the work.
 */
#include "assent/work.h"

#include <string.h>

#include "assent/attempt.h"

#define TEXT_NULL UINT32_MAX
#define FLAG_READ_ONLY 1u
#define FLAG_OPERATIONS 2u
#define FLAGS_AT 1 /* behind the isolation */
#define PARAMS_OPERATION 0x80000000u
#define NULLABLE_LEN_MIN 4u
#define STATEMENT_LEN_MIN (4u + 1 + 8 + 4)
#define RESULT_LEN_MIN (8u + 4 + 4)

static void fail(struct as_buf *buf, as_err err)
{
    if (!buf->err)
        buf->err = err;
}

static void put_text(struct as_buf *buf, struct as_bytes text)
{
    if (text.len >= TEXT_NULL) {
        fail(buf, AS_ERR_TOOBIG);
        return;
    }
    if (text.len > 0 && memchr(text.data, '\0', text.len)) {
        fail(buf, AS_ERR_INVALID);
        return;
    }
    as_put_u32(buf, (uint32_t)text.len);
    as_put_bytes(buf, text.data, text.len);
    as_put_u8(buf, 0);
}

static void put_nullable(struct as_buf *buf, struct as_bytes text)
{
    if (text.data)
        put_text(buf, text);
    else
        as_put_u32(buf, TEXT_NULL);
}

/* Bad input stops a reader for good. */
static struct as_bytes refuse(struct as_reader *in)
{
    in->bad = true;
    in->left = 0;
    return (struct as_bytes){NULL, 0};
}

static struct as_bytes read_nullable(struct as_reader *in)
{
    uint32_t len = as_read_u32(in);
    struct as_bytes text;

    if (len == TEXT_NULL || in->bad)
        return (struct as_bytes){NULL, 0};
    if (len >= in->left)
        return refuse(in);
    text = as_read_bytes(in, (size_t)len + 1);
    if (memchr(text.data, '\0', text.len) != text.data + len)
        return refuse(in);
    text.len = len;
    return text;
}

void as_work_put_begin(struct as_buf *buf, enum as_isolation isolation, bool read_only,
                       uint32_t statement_count)
{
    if (statement_count > AS_STATEMENTS_MAX)
        fail(buf, AS_ERR_TOOBIG);
    as_put_u8(buf, (uint8_t)isolation);
    as_put_u8(buf, read_only ? FLAG_READ_ONLY : 0);
    as_put_u32(buf, statement_count);
}

void as_work_put_statement(struct as_buf *buf, struct as_bytes sql, int64_t expect_rows,
                           uint32_t param_count)
{
    if (param_count > AS_PARAMS_MAX)
        fail(buf, AS_ERR_TOOBIG);
    put_text(buf, sql);
    as_put_i64(buf, expect_rows);
    as_put_u32(buf, param_count);
}

void as_work_put_operation(struct as_buf *buf, size_t begin_at, struct as_bytes name,
                           int64_t expect_rows, uint32_t param_count)
{
    AS_ASSERT(as_operation_valid((const char *)name.data, name.len));
    if (param_count > AS_PARAMS_MAX)
        fail(buf, AS_ERR_TOOBIG);
    put_text(buf, name);
    as_put_i64(buf, expect_rows);
    as_put_u32(buf, param_count | PARAMS_OPERATION);
    if (!buf->err)
        buf->data[begin_at + FLAGS_AT] |= FLAG_OPERATIONS;
}

void as_work_put_param(struct as_buf *buf, struct as_bytes text)
{
    put_nullable(buf, text);
}

as_err as_work_open(struct as_work_reader *reader, struct as_bytes bytes)
{
    struct as_reader in = as_reader_of(bytes);
    uint8_t isolation = as_read_u8(&in);
    uint8_t flags = as_read_u8(&in);
    uint32_t count = as_read_u32(&in);

    if (in.bad || isolation > AS_ISOLATION_SERIALIZABLE ||
        flags > (FLAG_READ_ONLY | FLAG_OPERATIONS) || count > AS_STATEMENTS_MAX ||
        count > in.left / STATEMENT_LEN_MIN)
        return AS_ERR_MALFORMED;
    *reader =
        (struct as_work_reader){in, (enum as_isolation)isolation, (flags & FLAG_READ_ONLY) != 0,
                                (flags & FLAG_OPERATIONS) != 0, count};
    return AS_OK;
}

static bool is_operation(const struct as_work_reader *reader, struct as_bytes name)
{
    return reader->operations && name.data && as_operation_valid((const char *)name.data, name.len);
}

as_err as_work_next_statement(struct as_work_reader *reader, struct as_statement *ret_statement)
{
    struct as_reader *in = &reader->in;
    struct as_statement statement;

    statement.sql = read_nullable(in);
    statement.expect_rows = as_read_i64(in);
    statement.param_count = as_read_u32(in);
    statement.operation = (statement.param_count & PARAMS_OPERATION) != 0;
    statement.param_count &= ~PARAMS_OPERATION;
    if (in->bad || (statement.operation && !is_operation(reader, statement.sql)) ||
        !statement.sql.data || statement.expect_rows < AS_EXPECT_NONE ||
        statement.param_count > AS_PARAMS_MAX ||
        statement.param_count > in->left / NULLABLE_LEN_MIN) {
        (void)refuse(in);
        return AS_ERR_MALFORMED;
    }
    *ret_statement = statement;
    return AS_OK;
}

as_err as_work_next_param(struct as_work_reader *reader, struct as_bytes *ret_text)
{
    struct as_bytes text = read_nullable(&reader->in);

    if (reader->in.bad)
        return AS_ERR_MALFORMED;
    *ret_text = text;
    return AS_OK;
}

as_err as_work_check(struct as_bytes bytes)
{
    struct as_work_reader reader;
    struct as_statement statement;
    struct as_bytes param;
    bool operations = false;

    if (as_work_open(&reader, bytes))
        return AS_ERR_MALFORMED;
    for (uint32_t i = 0; i < reader.statement_count; i++) {
        if (as_work_next_statement(&reader, &statement))
            return AS_ERR_MALFORMED;
        operations |= statement.operation;
        for (uint32_t k = 0; k < statement.param_count; k++) {
            if (as_work_next_param(&reader, &param))
                return AS_ERR_MALFORMED;
        }
    }
    return as_reader_done(&reader.in) && operations == reader.operations ? AS_OK : AS_ERR_MALFORMED;
}

void as_results_put_begin(struct as_buf *buf, uint32_t statement_count)
{
    if (statement_count > AS_STATEMENTS_MAX)
        fail(buf, AS_ERR_TOOBIG);
    as_put_u32(buf, statement_count);
}

void as_results_put_statement(struct as_buf *buf, int64_t rows_affected, uint32_t column_count,
                              uint32_t row_count)
{
    as_put_i64(buf, rows_affected);
    as_put_u32(buf, column_count);
    as_put_u32(buf, column_count > 0 ? row_count : 0);
}

void as_results_put_text(struct as_buf *buf, struct as_bytes text)
{
    put_nullable(buf, text);
}

as_err as_results_open(struct as_results_reader *reader, struct as_bytes bytes)
{
    struct as_reader in = as_reader_of(bytes);
    uint32_t count = as_read_u32(&in);

    if (in.bad || count > AS_STATEMENTS_MAX || count > in.left / RESULT_LEN_MIN)
        return AS_ERR_MALFORMED;
    *reader = (struct as_results_reader){in, count};
    return AS_OK;
}

as_err as_results_next(struct as_results_reader *reader, struct as_result *ret)
{
    struct as_reader *in = &reader->in;
    struct as_result result;
    uint64_t texts_max;

    result.rows_affected = as_read_i64(in);
    result.column_count = as_read_u32(in);
    result.row_count = as_read_u32(in);
    texts_max = in->left / NULLABLE_LEN_MIN;
    /* Names and cells: columns * (1 + rows). Divided, for the product may not fit 64 bits. */
    if (in->bad || (result.column_count == 0 && result.row_count > 0) ||
        (result.column_count > 0 &&
         texts_max / result.column_count < (uint64_t)result.row_count + 1)) {
        (void)refuse(in);
        return AS_ERR_MALFORMED;
    }
    *ret = result;
    return AS_OK;
}

as_err as_results_next_text(struct as_results_reader *reader, struct as_bytes *ret)
{
    struct as_bytes text = read_nullable(&reader->in);

    if (reader->in.bad)
        return AS_ERR_MALFORMED;
    *ret = text;
    return AS_OK;
}
