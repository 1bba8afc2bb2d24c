/*
 * A file of named operations from anywhere: what is taken has operations that run as they should, what is
 * refused says where. The first byte of the input splits it: the rest is the file, and the name that is
 * asked for stands at its beginning.
 */
#include "assent/attempt.h"
#include "assent/work.h"
#include "participant/agent/operations.h"
#include "tests/fuzz/fuzz.h"

static void ask(const struct operations *operations, struct as_bytes name)
{
    struct operations_refusal why = {-1, NULL, ""};
    struct as_work_reader in;
    struct as_statement statement;
    struct as_buf work, out;
    as_err err;

    as_buf_init(&work, 1 << 16);
    as_buf_init(&out, 4 << 20);
    as_work_put_begin(&work, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_operation(&work, 0, name, AS_EXPECT_NONE, 0);
    err = operations_expand(operations, true, as_buf_bytes(&work), &out, &why);
    AS_ASSERT(err == AS_OK || (err == AS_ERR_REFUSED && strcmp(why.sqlstate, "OP002") == 0));
    if (err == AS_OK) {
        AS_ASSERT(as_work_check(as_buf_bytes(&out)) == AS_OK);
        AS_ASSERT(as_work_open(&in, as_buf_bytes(&out)) == AS_OK && !in.operations);
        AS_ASSERT(as_work_next_statement(&in, &statement) == AS_OK);
        AS_ASSERT(statement.sql.len > 0 && !as_sql_refused(statement.sql));
        AS_ASSERT(statement.expect_rows >= AS_EXPECT_NONE);
    }
    as_buf_close(&work);
    as_buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t name_len = size > 0 ? data[0] % (AS_OPERATION_LEN_MAX + 1) : 0;
    struct operations *operations = NULL;
    char error[256] = "";
    as_err err;

    if (size < 1 + name_len)
        return 0;
    err = operations_parse((struct as_bytes){data + 1 + name_len, size - 1 - name_len}, &operations,
                           error);
    if (err) {
        AS_ASSERT(err == AS_ERR_INVALID && strncmp(error, "line ", 5) == 0);
        return 0;
    }
    AS_ASSERT(operations_count(operations) <= AS_OPERATIONS_MAX);
    if (as_operation_valid((const char *)data + 1, name_len))
        ask(operations, (struct as_bytes){data + 1, name_len});
    operations_free(operations);
    return 0;
}
