/*
 * Request bodies become what a node is asked: every value, the exact numbers, the hash of R9.
 */
#include "tests/support/support.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/work.h"
#include "coordinator/api/body.h"

#define BRANCH_OF(rest) "{\"participant\":\"bank_a\"," rest "}"
#define SIMPLE BRANCH_OF("\"statements\":[{\"sql\":\"SELECT 1\"}]")

static struct as_bytes bytes_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static void assert_text(struct as_bytes bytes, const char *expected)
{
    if (!bytes.data || bytes.len != strlen(expected) ||
        memcmp(bytes.data, expected, bytes.len) != 0)
        fail_msg("\"%.*s\", expected \"%s\"", (int)bytes.len, (const char *)bytes.data, expected);
}

static void read_body(struct body_reader *reader, const char *body, struct as_submit *ret)
{
    struct problem problem;

    if (!body_submit(reader, bytes_of(body), ret, &problem))
        fail_msg("%s: %s %s in %s", problem.code, problem.detail, problem.pointer, body);
}

static void test_everything(void **state)
{
    const char *body =
        "{ \"branches\": [ {\"statements\":[{\"params\":[null,\"x\",true,false,9007199254740993,"
        "1.10, {\"a\" : [1,\"\\u00e9\"]},[ ],\"\",\"\\u00e9\\\"\"],\"expect_rows\":3,"
        "\"sql\":\"SELECT \\u0024\\n1\"},{\"sql\":\"SELECT 2\"}],"
        "\"participant\":\"bank_a\",\"isolation\":\"serializable\",\"read_only\":true},"
        "{\"participant\":\"b\",\"statements\":[{\"sql\":\"x\",\"params\":[]}]}],"
        "\"wait\":\"decided\",\"timeout_ms\":1234,\"id\":\"order:1\" }";
    static const char *const params[] = {
        NULL,  "x", "true",      "false", "9007199254740993", "1.10", "{\"a\" : [1,\"\\u00e9\"]}",
        "[ ]", "",  "\xc3\xa9\""};
    struct as_work_reader work;
    struct as_statement statement;
    struct body_reader reader;
    struct as_submit submit;
    struct as_bytes param;

    (void)state;
    body_init(&reader, 30000, 1 << 20);
    read_body(&reader, body, &submit);
    assert_string_equal(submit.id, "order:1");
    assert_int_equal(submit.timeout_ms, 1234);
    assert_int_equal(submit.wait, AS_WAIT_DECIDED);
    assert_int_equal(submit.branch_count, 2);
    assert_text(submit.branches[0].participant, "bank_a");
    assert_text(submit.branches[1].participant, "b");
    assert_true(submit.branches[0].read_only);
    assert_false(submit.branches[1].read_only);
    assert_int_equal(as_work_check(submit.branches[1].work), AS_OK);
    assert_int_equal(as_work_open(&work, submit.branches[0].work), AS_OK);
    assert_int_equal(work.isolation, AS_ISOLATION_SERIALIZABLE);
    assert_true(work.read_only);
    assert_int_equal(work.statement_count, 2);
    assert_int_equal(as_work_next_statement(&work, &statement), AS_OK);
    assert_text(statement.sql, "SELECT $\n1");
    assert_int_equal(statement.expect_rows, 3);
    assert_int_equal(statement.param_count, AS_COUNT_OF(params));
    for (size_t i = 0; i < AS_COUNT_OF(params); i++) {
        assert_int_equal(as_work_next_param(&work, &param), AS_OK);
        if (params[i])
            assert_text(param, params[i]);
        else
            assert_null(param.data);
    }
    assert_int_equal(as_work_next_statement(&work, &statement), AS_OK);
    assert_text(statement.sql, "SELECT 2");
    assert_int_equal(statement.expect_rows, AS_EXPECT_NONE);
    body_close(&reader);
}

static void test_operation(void **state)
{
    struct as_work_reader work;
    struct as_statement statement;
    struct body_reader reader;
    struct as_submit submit;
    struct as_bytes param;

    (void)state;
    body_init(&reader, 30000, 1 << 20);
    read_body(&reader,
              "{\"branches\":[" BRANCH_OF(
                  "\"statements\":[{\"sql\":\"SELECT 1\"},{\"params\":[7],\"expect_rows\":1,"
                  "\"operation\":\"acc.debit_1\"}]") "," SIMPLE "]}",
              &submit);
    assert_int_equal(as_work_check(submit.branches[0].work), AS_OK);
    assert_int_equal(as_work_open(&work, submit.branches[0].work), AS_OK);
    assert_true(work.operations);
    assert_int_equal(as_work_next_statement(&work, &statement), AS_OK);
    assert_false(statement.operation);
    assert_int_equal(as_work_next_statement(&work, &statement), AS_OK);
    assert_true(statement.operation);
    assert_text(statement.sql, "acc.debit_1");
    assert_int_equal(statement.expect_rows, 1);
    assert_int_equal(as_work_next_param(&work, &param), AS_OK);
    assert_text(param, "7");
    assert_int_equal(as_work_open(&work, submit.branches[1].work), AS_OK);
    assert_false(work.operations);
    body_close(&reader);
}

static void test_defaults(void **state)
{
    struct body_reader reader;
    struct as_submit submit;

    (void)state;
    body_init(&reader, 777, 1 << 20);
    read_body(&reader, "{\"branches\":[" SIMPLE "," SIMPLE "]}", &submit);
    assert_string_equal(submit.id, "");
    assert_int_equal(submit.timeout_ms, 777);
    assert_int_equal(submit.wait, AS_WAIT_APPLIED);
    assert_int_equal(submit.branch_count, 2);
    body_close(&reader);
}

static void hash_of(const char *body, uint8_t ret_hash[AS_HASH_LEN])
{
    struct body_reader reader;
    struct as_submit submit;

    body_init(&reader, 1000, 1 << 20);
    read_body(&reader, body, &submit);
    memcpy(ret_hash, submit.body_hash, AS_HASH_LEN);
    body_close(&reader);
}

/* R9: the same work, however it is written down, has the same hash; other work has another. */
static void test_hash(void **state)
{
    static const char *const same[] = {
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[1]}]}]}",
        "{ \"id\":\"q\", \"wait\":\"none\", \"timeout_ms\":5, \"branches\" : [ { \"statements\" : "
        "[ { \"params\" : [ 1 ] , \"sql\" : \"\\u0078\" } ], \"participant\" : \"a\" } ] }",
        "{\"branches\":[{\"participant\":\"a\",\"isolation\":\"read committed\","
        "\"read_only\":false,\"statements\":[{\"sql\":\"x\",\"params\":[\"1\"]}]}]}",
    };
    static const char *const others[] = {
        "{\"branches\":[{\"participant\":\"b\",\"statements\":[{\"sql\":\"x\",\"params\":[1]}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"y\",\"params\":[1]}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"operation\":\"x\",\"params\":[1]}"
        "]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[2]}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[]}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[null]}]}]"
        "}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[\"\"]}]}]"
        "}",
        "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",\"params\":[1],"
        "\"expect_rows\":1}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"read_only\":true,\"statements\":[{\"sql\":\"x\","
        "\"params\":[1]}]}]}",
        "{\"branches\":[{\"participant\":\"a\",\"isolation\":\"serializable\",\"statements\":"
        "[{\"sql\":\"x\",\"params\":[1]}]}]}",
    };
    uint8_t first[AS_HASH_LEN], hash[AS_HASH_LEN], expected[AS_HASH_LEN];
    struct as_buf canonical;
    uint8_t len[4] = {0};

    (void)state;
    hash_of(same[0], first);
    for (size_t i = 1; i < AS_COUNT_OF(same); i++) {
        hash_of(same[i], hash);
        assert_memory_equal(hash, first, AS_HASH_LEN);
    }
    for (size_t i = 0; i < AS_COUNT_OF(others); i++) {
        hash_of(others[i], hash);
        assert_memory_not_equal(hash, first, AS_HASH_LEN);
    }
    /* Over: name, length of the work, work. */
    as_buf_init(&canonical, 1000);
    as_put_text8(&canonical, "a", 1);
    as_put_bytes(&canonical, len, 4);
    as_work_put_begin(&canonical, AS_ISOLATION_READ_COMMITTED, false, 1);
    as_work_put_statement(&canonical, bytes_of("x"), AS_EXPECT_NONE, 1);
    as_work_put_param(&canonical, bytes_of("1"));
    canonical.data[2] = (uint8_t)(canonical.len - 6);
    assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, canonical.data, canonical.len, expected),
                     0);
    assert_memory_equal(first, expected, AS_HASH_LEN);
    as_buf_close(&canonical);
}

/* Where and why, for a person. */
static void test_problems(void **state)
{
    static const struct {
        const char *body, *code, *pointer;
        uint32_t branch;
        int32_t statement;
    } rows[] = {
        {"{\"branchs\":1}", "unknown_field", "/branchs", 0, -1},
        {"{\"a/b~\":1}", "unknown_field", "/a~1b~0", 0, -1},
        {"{\"timeout_ms\":0}", "bad_value", "/timeout_ms", 0, -1},
        {"{\"branches\":[" SIMPLE ",{\"x\":1}]}", "unknown_field", "/branches/1/x", 2, -1},
        {"{\"branches\":[" SIMPLE
         "," BRANCH_OF("\"statements\":[{\"sql\":\"x\"},{\"sql\":1}]") "]}",
         "bad_type", "/branches/1/statements/1/sql", 2, 1},
        {"{\"branches\":[" BRANCH_OF("\"statements\":[{\"operation\":\"Debit\"}]") "]}",
         "bad_operation", "/branches/0/statements/0/operation", 1, 0},
        {"{\"branches\":[" BRANCH_OF("\"statements\":[{\"sql\":\"x\"},{\"sql\":\"END\"}]") "]}",
         "statement_refused", "/branches/0/statements/1/sql", 1, 1},
    };
    struct body_reader reader;
    struct as_submit submit;
    struct problem problem;

    (void)state;
    body_init(&reader, 1000, 1 << 20);
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        assert_false(body_submit(&reader, bytes_of(rows[i].body), &submit, &problem));
        assert_string_equal(problem.code, rows[i].code);
        assert_true(problem.has_pointer);
        assert_string_equal(problem.pointer, rows[i].pointer);
        assert_int_equal(problem.branch, rows[i].branch);
        assert_int_equal(problem.statement, rows[i].statement);
    }
    assert_string_equal(problem.keyword, "END");
    assert_false(body_submit(&reader, bytes_of("{\"id\":\"a\",\n  oops}"), &submit, &problem));
    assert_true(problem.has_position);
    assert_int_equal(problem.offset, 13);
    assert_int_equal(problem.line, 2);
    assert_int_equal(problem.column, 3);
    body_close(&reader);
}

/* A long unknown name is cut at a character, and stays valid UTF-8. */
static void test_long_name(void **state)
{
    char body[400] = "{\"";
    struct body_reader reader;
    struct as_submit submit;
    struct problem problem;

    (void)state;
    for (int i = 0; i < 50; i++)
        strcat(body, "\xe2\x82\xac");
    strcat(body, "\":1}");
    body_init(&reader, 1000, 1 << 20);
    assert_false(body_submit(&reader, bytes_of(body), &submit, &problem));
    assert_string_equal(problem.code, "unknown_field");
    assert_int_equal(strlen(problem.pointer), 1 + 63);
    body_close(&reader);
}

/* The most that fits into a body still fits into a branch, and its memory is given back. */
static void test_large(void **state)
{
    static const char *const elements[] = {"0", "\"\"", "null"};

    (void)state;
    for (size_t e = 0; e < AS_COUNT_OF(elements); e++) {
        size_t max = 1 << 20, at, step = strlen(elements[e]) + 1;
        char *body = malloc(max + 100);
        struct body_reader reader;
        struct as_submit submit;
        int statements = 0;

        assert_non_null(body);
        at = (size_t)sprintf(body, "{\"branches\":[{\"participant\":\"a\",\"statements\":[");
        while (at + 65000 * step + 100 < max) {
            at += (size_t)sprintf(body + at, "%s{\"sql\":\"x\",\"params\":[%s",
                                  statements++ ? "," : "", elements[e]);
            for (int i = 1; i < 65000; i++)
                at += (size_t)sprintf(body + at, ",%s", elements[e]);
            at += (size_t)sprintf(body + at, "]}");
        }
        (void)sprintf(body + at, "]}]}");
        body_init(&reader, 1000, max);
        read_body(&reader, body, &submit);
        assert_int_equal(as_work_check(submit.branches[0].work), AS_OK);
        body_trim(&reader);
        assert_null(reader.json.tokens);
        assert_null(reader.canonical.data);
        read_body(&reader, "{\"branches\":[" SIMPLE "]}", &submit);
        body_close(&reader);
        free(body);
    }
}

static void test_acknowledge(void **state)
{
    struct body_acknowledge acknowledge;
    struct body_reader reader;
    struct problem problem;

    (void)state;
    body_init(&reader, 1000, 1 << 20);
    assert_true(body_acknowledge(&reader, bytes_of("{\"reason\":\"paid \\u0062y hand\"}"),
                                 &acknowledge, &problem));
    assert_text(acknowledge.why, "paid by hand");
    assert_int_equal(acknowledge.who.len, 0);
    assert_true(body_acknowledge(&reader,
                                 bytes_of("{\"who\":\"\\u0061nn\",\"reason\":\"\\u0062\"}"),
                                 &acknowledge, &problem));
    assert_text(acknowledge.why, "b");
    assert_text(acknowledge.who, "ann");
    body_close(&reader);
}

static void read_with_failures(void *ctx)
{
    struct body_reader reader;
    struct as_submit submit;
    struct problem problem;

    (void)ctx;
    body_init(&reader, 1000, 1 << 20);
    if (!body_submit(&reader,
                     bytes_of("{\"branches\":[" BRANCH_OF(
                         "\"statements\":[{\"sql\":\"\\u0078\",\"params\":[\"\\u0079\"]}]") "]}"),
                     &submit, &problem)) {
        assert_true(test_allocation_failed());
        assert_int_equal(problem.status, 503);
        assert_string_equal(problem.code, "out_of_memory");
    } else {
        assert_false(test_allocation_failed());
    }
    body_close(&reader);
}

static void test_memory(void **state)
{
    (void)state;
    test_fail_each_allocation(read_with_failures, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything), cmocka_unit_test(test_operation),
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_hash),
        cmocka_unit_test(test_problems),   cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_large),      cmocka_unit_test(test_acknowledge),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
