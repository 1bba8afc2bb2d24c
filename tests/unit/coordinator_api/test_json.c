/*
 * The strict reader and the writer of JSON; cJSON is the second opinion on what both accept.
 */
#include "tests/support/support.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/api/json.h"

static struct as_bytes bytes_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static void assert_text(struct as_bytes bytes, const char *expected)
{
    if (bytes.len != strlen(expected) || memcmp(bytes.data, expected, bytes.len) != 0)
        fail_msg("\"%.*s\", expected \"%s\"", (int)bytes.len, (const char *)bytes.data, expected);
}

static void test_tokens(void **state)
{
    const char *text = " {\"a\" : [1, {\"b\":null}, []], \"c\":\"x\\ny\" ,\"d\":{}} ";
    struct as_buf scratch;
    struct json json = {0};

    (void)state;
    as_buf_init(&scratch, 1000);
    assert_int_equal(json_parse(&json, bytes_of(text)), AS_OK);
    assert_int_equal(json.tokens[0].type, JSON_OBJECT);
    assert_int_equal(json.tokens[0].count, 3);
    assert_text(json_raw(&json, 1), "a");
    assert_int_equal(json.tokens[2].type, JSON_ARRAY);
    assert_int_equal(json.tokens[2].count, 3);
    assert_text(json_raw(&json, 2), "[1, {\"b\":null}, []]");
    assert_text(json_raw(&json, json.tokens[2].next), "c");
    assert_text(json_string(&json, json.tokens[2].next + 1, &scratch), "x\ny");
    assert_int_equal(json.tokens[0].next, json.count);
    as_buf_close(&scratch);
    json_close(&json);
}

/* A number is its own text, however long. */
static void test_numbers(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "9007199254740993",
        "-9223372036854775808",
        "123456789012345678901234567890.000000000000000000000000000001",
        "1e400",
        "1E-400",
        "0.1000",
        "100000000000000000000000.50",
        "1.5e+3",
    };
    struct json json = {0};
    int64_t value;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(good); i++) {
        assert_int_equal(json_parse(&json, bytes_of(good[i])), AS_OK);
        assert_int_equal(json.tokens[0].type, JSON_NUMBER);
        assert_text(json_raw(&json, 0), good[i]);
    }
    assert_int_equal(json_parse(&json, bytes_of("9223372036854775807")), AS_OK);
    assert_true(json_integer(&json, 0, &value));
    assert_true(value == INT64_MAX);
    assert_int_equal(json_parse(&json, bytes_of("9223372036854775808")), AS_OK);
    assert_false(json_integer(&json, 0, &value));
    assert_int_equal(json_parse(&json, bytes_of("-12")), AS_OK);
    assert_true(json_integer(&json, 0, &value));
    assert_int_equal(value, -12);
    assert_int_equal(json_parse(&json, bytes_of("1.0")), AS_OK);
    assert_false(json_integer(&json, 0, &value));
    json_close(&json);
}

static void test_strings(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"\"\"", ""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\"",
         "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80"},
        {"\"\\uFFFF\\u0001\x7f\"", "\xef\xbf\xbf\x01\x7f"},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf"},
    };
    struct as_buf scratch;
    struct json json = {0};

    (void)state;
    as_buf_init(&scratch, 1000);
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        assert_int_equal(json_parse(&json, bytes_of(rows[i].json)), AS_OK);
        assert_text(json_string(&json, 0, &scratch), rows[i].text);
    }
    as_buf_close(&scratch);
    json_close(&json);
}

static void test_positions(void **state)
{
    static const struct {
        const char *text, *code;
        size_t at;
    } rows[] = {
        {"", "malformed_json", 0},           {"{\"a\":1,}", "malformed_json", 7},
        {"[1 2]", "malformed_json", 3},      {"[1,\n tru]", "malformed_json", 5},
        {"\"a\\u0000\"", "bad_string", 2},   {"\"\xc3\"", "bad_utf8", 1},
        {"[01]", "malformed_json", 1},       {"[1.]", "malformed_json", 3},
        {"{\"a\" 1}", "malformed_json", 5},  {"1 1", "malformed_json", 2},
        {"[\"\\ud800x\"]", "bad_string", 2}, {"[[", "malformed_json", 2},
    };
    struct json json = {0};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        assert_int_equal(json_parse(&json, bytes_of(rows[i].text)), AS_ERR_MALFORMED);
        assert_string_equal(json.fault_code, rows[i].code);
        assert_int_equal(json.fault_at, rows[i].at);
        assert_non_null(json.fault);
    }
    json_close(&json);
}

static void test_depth(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 8] = "";
    struct json json = {0};

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(json_parse(&json, bytes_of(text)), AS_OK);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(json_parse(&json, bytes_of(text)), AS_ERR_MALFORMED);
    assert_string_equal(json.fault_code, "too_deep");
    json_close(&json);
}

/* Walks both trees: same kinds, same strings, same sizes. */
static void assert_same(const struct json *json, uint32_t *token, const cJSON *other,
                        struct as_buf *scratch)
{
    const struct json_token *t = &json->tokens[*token];
    const cJSON *child;

    if (t->type == JSON_STRING)
        assert_text(json_string(json, *token, scratch), cJSON_GetStringValue(other));
    assert_int_equal(t->type == JSON_NUMBER, cJSON_IsNumber(other));
    assert_int_equal(t->type == JSON_NULL, cJSON_IsNull(other));
    assert_int_equal(t->type == JSON_TRUE, cJSON_IsTrue(other));
    assert_int_equal(t->type == JSON_OBJECT, cJSON_IsObject(other));
    assert_int_equal(t->type == JSON_ARRAY, cJSON_IsArray(other));
    ++*token;
    if (t->type != JSON_ARRAY && t->type != JSON_OBJECT)
        return;
    assert_int_equal(t->count, cJSON_GetArraySize(other));
    cJSON_ArrayForEach(child, other)
    {
        if (t->type == JSON_OBJECT)
            assert_text(json_string(json, (*token)++, scratch), child->string);
        assert_same(json, token, child, scratch);
    }
    assert_int_equal(*token, t->next);
}

/* A random value as text; sometimes broken afterwards. */
static void put_random(struct as_buf *buf, unsigned *seed, int depth)
{
    static const char *const scalars[] = {"null",
                                          "true",
                                          "false",
                                          "0",
                                          "-1.5",
                                          "1e3",
                                          "\"\"",
                                          "\"a\\n\\u00e9\"",
                                          "12",
                                          "\"x\"",
                                          "\"\xe2\x82\xac\"",
                                          "\"\\ud83d\\ude00\""};
    unsigned kind = depth > 5 ? 2 : (unsigned)rand_r(seed) % 4;
    unsigned count = (unsigned)rand_r(seed) % 4;

    if (kind >= 2) {
        const char *text = scalars[(unsigned)rand_r(seed) % AS_COUNT_OF(scalars)];

        as_put_bytes(buf, text, strlen(text));
        return;
    }
    as_put_u8(buf, kind ? '{' : '[');
    for (unsigned i = 0; i < count; i++) {
        if (i)
            as_put_u8(buf, ',');
        if (kind) {
            JSON_PUT(buf, " \"k\\t\" : ");
        }
        put_random(buf, seed, depth + 1);
    }
    as_put_u8(buf, kind ? '}' : ']');
}

static void test_against_cjson(void **state)
{
    struct as_buf buf, scratch;
    struct json json = {0};
    unsigned seed = 7, accepted = 0;

    (void)state;
    as_buf_init(&buf, 1 << 20);
    as_buf_init(&scratch, 1 << 20);
    for (int round = 0; round < 20000; round++) {
        cJSON *other;
        as_err err;

        as_buf_clear(&buf);
        put_random(&buf, &seed, 0);
        if (round % 2)
            buf.data[(size_t)rand_r(&seed) % buf.len] = (uint8_t)(32 + rand_r(&seed) % 95);
        err = json_parse(&json, as_buf_bytes(&buf));
        as_put_u8(&buf, 0);
        other = cJSON_ParseWithOpts((const char *)buf.data, NULL, 1);
        /* cJSON accepts more (01, raw control characters), never less. */
        if (err == AS_OK) {
            uint32_t token = 0;

            if (!other)
                fail_msg("cJSON refuses %s", (const char *)buf.data);
            assert_same(&json, &token, other, &scratch);
            accepted++;
        }
        if (round % 2 == 0)
            assert_int_equal(err, AS_OK);
        cJSON_Delete(other);
    }
    assert_true(accepted > 10000 && accepted < 20000);
    as_buf_close(&buf);
    as_buf_close(&scratch);
    json_close(&json);
}

/* What is written reads back as it was. */
static void test_write(void **state)
{
    char every[256];
    struct as_buf buf, scratch;
    struct json json = {0};

    (void)state;
    as_buf_init(&buf, 10000);
    as_buf_init(&scratch, 10000);
    for (int i = 1; i < 128; i++)
        every[i - 1] = (char)i;
    every[127] = 0;
    json_put_text(&buf, every);
    assert_int_equal(json_parse(&json, as_buf_bytes(&buf)), AS_OK);
    assert_text(json_string(&json, 0, &scratch), every);
    as_buf_clear(&buf);
    json_put_string(&buf, (struct as_bytes){(const uint8_t *)"a\0b\xff\xc3(\xe2\x82\xac", 9});
    assert_text(as_buf_bytes(&buf), "\"a\\u0000b\xef\xbf\xbd\xef\xbf\xbd(\xe2\x82\xac\"");
    as_buf_clear(&buf);
    json_put_string(&buf, (struct as_bytes){NULL, 0});
    json_put_u64(&buf, UINT64_MAX);
    as_put_u8(&buf, ' ');
    json_put_i64(&buf, INT64_MIN);
    as_put_u8(&buf, ' ');
    json_put_u64(&buf, 0);
    json_put_hex64(&buf, 0x00ab);
    assert_text(as_buf_bytes(&buf),
                "\"\"18446744073709551615 -9223372036854775808 0\"00000000000000ab\"");
    as_buf_close(&buf);
    as_buf_close(&scratch);
    json_close(&json);
}

/* Against the C library, over leap years and centuries. */
static void test_time(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 100);
    for (int64_t ms = 1; ms < INT64_C(253402300800000); ms += INT64_C(86399999) * 13 + 7) {
        time_t seconds = (time_t)(ms / 1000);
        char expected[40];
        struct tm tm;
        size_t len;

        assert_non_null(gmtime_r(&seconds, &tm));
        len = strftime(expected, sizeof(expected), "\"%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(expected + len, sizeof(expected) - len, ".%03dZ\"", (int)(ms % 1000));
        as_buf_clear(&buf);
        json_put_time(&buf, ms);
        assert_text(as_buf_bytes(&buf), expected);
    }
    as_buf_clear(&buf);
    json_put_time(&buf, 0);
    json_put_time(&buf, -5);
    json_put_time(&buf, INT64_MAX);
    assert_text(as_buf_bytes(&buf), "nullnullnull");
    as_buf_close(&buf);
}

static void parse_large(void *ctx)
{
    struct json json = {0};
    struct as_buf *text = ctx;
    as_err err = json_parse(&json, as_buf_bytes(text));

    assert_int_equal(err, test_allocation_failed() ? AS_ERR_NOMEM : AS_OK);
    json_trim(&json);
    json_close(&json);
}

static void test_memory(void **state)
{
    struct as_buf text;

    (void)state;
    as_buf_init(&text, 1 << 20);
    JSON_PUT(&text, "[0");
    for (int i = 0; i < 20000; i++)
        JSON_PUT(&text, ",1");
    JSON_PUT(&text, "]");
    test_fail_each_allocation(parse_large, &text);
    as_buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings), cmocka_unit_test(test_positions),
        cmocka_unit_test(test_depth),   cmocka_unit_test(test_against_cjson),
        cmocka_unit_test(test_write),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
