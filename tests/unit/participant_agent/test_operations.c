/*
 * The file of named operations: what is read, and what is refused, with its line.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/work.h"
#include "participant/agent/operations.h"

static struct as_bytes text_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static const char good[] =
    "-- What the shop may do.\n"
    "\n"
    "-- name: debit\n"
    "-- expect_rows: 1\n"
    "-- Takes money. Never below zero: the table's constraint sees to that.\n"
    "UPDATE accounts\n"
    "   SET balance = balance - $2 -- name of nothing\n"
    " WHERE id = $1;\n"
    "\n"
    "  --name:accounts.list-2  \r\n"
    "SELECT '\n"
    "-- expect_rows: 3 belongs to the text here\n"
    "'";

/* One statement of that operation; what it becomes. */
static as_err expand_one(const struct operations *operations, bool named, const char *name,
                         int64_t expect_rows, struct as_buf *out, struct operations_refusal *why)
{
    struct as_buf work;
    as_err err;

    as_buf_init(&work, 100000);
    as_buf_init(out, 100000);
    as_work_put_begin(&work, AS_ISOLATION_SERIALIZABLE, true, 1);
    as_work_put_operation(&work, 0, text_of(name), expect_rows, 1);
    as_work_put_param(&work, text_of("42"));
    err = operations_expand(operations, named, as_buf_bytes(&work), out, why);
    as_buf_close(&work);
    return err;
}

static void assert_expands(const struct operations *operations, const char *name,
                           int64_t expect_rows, const char *sql, int64_t then_rows)
{
    struct operations_refusal why;
    struct as_work_reader in;
    struct as_statement statement;
    struct as_bytes param;
    struct as_buf out;

    assert_int_equal(expand_one(operations, true, name, expect_rows, &out, &why), AS_OK);
    assert_int_equal(as_work_check(as_buf_bytes(&out)), AS_OK);
    assert_int_equal(as_work_open(&in, as_buf_bytes(&out)), AS_OK);
    assert_true(in.read_only && !in.operations && in.isolation == AS_ISOLATION_SERIALIZABLE);
    assert_int_equal(as_work_next_statement(&in, &statement), AS_OK);
    assert_false(statement.operation);
    assert_string_equal((const char *)statement.sql.data, sql);
    assert_int_equal(statement.expect_rows, then_rows);
    assert_int_equal(as_work_next_param(&in, &param), AS_OK);
    assert_string_equal((const char *)param.data, "42");
    as_buf_close(&out);
}

static void a_file_is_read(void **state)
{
    struct operations *operations;
    struct operations_refusal why;
    struct as_buf out;
    char error[256];

    (void)state;
    assert_int_equal(operations_parse(text_of(good), &operations, error), AS_OK);
    assert_int_equal(operations_count(operations), 2);
    assert_expands(operations, "debit", AS_EXPECT_NONE,
                   "UPDATE accounts\n   SET balance = balance - $2 -- name of nothing\n"
                   " WHERE id = $1;",
                   1);
    assert_expands(operations, "debit", 1,
                   "UPDATE accounts\n   SET balance = balance - $2 -- name of nothing\n"
                   " WHERE id = $1;",
                   1);
    assert_expands(operations, "accounts.list-2", 7,
                   "SELECT '\n-- expect_rows: 3 belongs to the text here\n'", 7);
    assert_int_equal(expand_one(operations, false, "debit", 2, &out, &why), AS_ERR_REFUSED);
    assert_string_equal(why.sqlstate, "OP003");
    as_buf_close(&out);
    assert_int_equal(expand_one(operations, false, "debi", 2, &out, &why), AS_ERR_REFUSED);
    assert_string_equal(why.sqlstate, "OP002");
    as_buf_close(&out);
    assert_int_equal(expand_one(NULL, false, "debit", 2, &out, &why), AS_ERR_REFUSED);
    assert_string_equal(why.sqlstate, "OP002");
    as_buf_close(&out);
    operations_free(operations);
    /* Nothing but comments, or nothing at all, is a list of none. */
    assert_int_equal(operations_parse(text_of("-- later\n\n"), &operations, error), AS_OK);
    assert_int_equal(operations_count(operations), 0);
    operations_free(operations);
    assert_int_equal(operations_parse((struct as_bytes){NULL, 0}, &operations, error), AS_OK);
    operations_free(operations);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"SELECT 1\n", "line 1: SQL before the first \"-- name: NAME\""},
        {"-- x\n\n-- name: Debit\nSELECT 1",
         "line 3: \"Debit\" is no name of an operation: 1 to 63 "
         "of a-z 0-9 _ . -, the first a letter"},
        {"-- name:\nSELECT 1", "line 1: \"\" is no name of an operation: 1 to 63 of a-z 0-9 _ . -, "
                               "the first a letter"},
        {"-- name: a\n\n-- name: b\nSELECT 1", "line 1: \"a\" has no statement below its name"},
        {"-- name: a\n-- just words\n", "line 1: \"a\" has no statement below its name"},
        {"-- name: a\nSELECT 1\n-- name: a\nSELECT 2",
         "line 3: \"a\" is given a second time; the first is in line 1"},
        {"-- name: a\n-- expect_row: 1\nSELECT 1",
         "line 2: there is no \"expect_row\" here; known are: name, expect_rows"},
        {"-- name: a\n-- expect_rows: 1\n-- expect_rows: 1\nSELECT 1",
         "line 3: expect_rows is given a second time"},
        {"-- name: a\n-- expect_rows: one\nSELECT 1",
         "line 2: expect_rows is a whole number up to 999999999"},
        {"-- name: a\n-- expect_rows:\nSELECT 1",
         "line 2: expect_rows is a whole number up to 999999999"},
        {"-- name: a\n-- expect_rows: 1000000000\nSELECT 1",
         "line 2: expect_rows is a whole number up to 999999999"},
        {"-- name: a\nSELECT 1\n-- name: b\n/* x */ commit",
         "line 3: \"b\": COMMIT is not allowed: Assent itself begins, prepares and ends the "
         "transaction (R11)"},
    };
    struct operations *operations;
    char error[256];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        assert_int_equal(operations_parse(text_of(rows[i].text), &operations, error),
                         AS_ERR_INVALID);
        assert_string_equal(error, rows[i].error);
    }
    assert_int_equal(
        operations_parse((struct as_bytes){(const uint8_t *)"-- name: a\nSELECT \0 1", 21},
                         &operations, error),
        AS_ERR_INVALID);
    assert_string_equal(error, "line 2: this line has a zero byte in it");
}

static void there_is_a_most(void **state)
{
    char *text = malloc((AS_OPERATIONS_MAX + 1) * 40), error[256];
    struct operations *operations;
    size_t len = 0, full = 0;

    (void)state;
    assert_non_null(text);
    for (int i = 0; i <= AS_OPERATIONS_MAX; i++) {
        full = len;
        len += (size_t)snprintf(text + len, 40, "-- name: o%d\nSELECT 1\n", i);
    }
    assert_int_equal(
        operations_parse((struct as_bytes){(const uint8_t *)text, len}, &operations, error),
        AS_ERR_INVALID);
    assert_string_equal(error, "line 2001: more than 1000 operations");
    assert_int_equal(
        operations_parse((struct as_bytes){(const uint8_t *)text, full}, &operations, error),
        AS_OK);
    assert_int_equal(operations_count(operations), AS_OPERATIONS_MAX);
    assert_expands(operations, "o999", AS_EXPECT_NONE, "SELECT 1", AS_EXPECT_NONE);
    operations_free(operations);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(there_is_a_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
