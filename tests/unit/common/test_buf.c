/* Buffer and reader: limits, sticky errors, and no read past the end. */
#include <string.h>

#include "assent/buf.h"
#include "tests/support/support.h"

static void fields_come_back(void **state)
{
    struct as_buf buf;
    struct as_reader in;
    struct as_bytes text;
    char name[4];

    (void)state;
    as_buf_init(&buf, 4096);
    as_put_u8(&buf, 0xfe);
    as_put_u16(&buf, 0xfedc);
    as_put_u32(&buf, 0xfedcba98);
    as_put_u64(&buf, 0xfedcba9876543210);
    as_put_i64(&buf, -2);
    as_put_text8(&buf, "abc", 3);
    as_put_text16(&buf, "defg", 4);
    as_put_bytes32(&buf, (struct as_bytes){(const uint8_t *)"hi", 2});
    as_put_bytes32(&buf, (struct as_bytes){NULL, 0});
    as_put_text8(&buf, "xyz", 3);
    assert_int_equal(buf.err, AS_OK);
    assert_memory_equal(buf.data, "\xfe\xdc\xfe\x98\xba\xdc\xfe\x10\x32\x54", 10);

    in = as_reader_of(as_buf_bytes(&buf));
    assert_int_equal(as_read_u8(&in), 0xfe);
    assert_int_equal(as_read_u16(&in), 0xfedc);
    assert_int_equal(as_read_u32(&in), 0xfedcba98);
    assert_true(as_read_u64(&in) == 0xfedcba9876543210);
    assert_int_equal(as_read_i64(&in), -2);
    text = as_read_text8(&in);
    assert_int_equal(text.len, 3);
    assert_memory_equal(text.data, "abc", 3);
    text = as_read_text16(&in);
    assert_int_equal(text.len, 4);
    text = as_read_bytes32(&in);
    assert_memory_equal(text.data, "hi", 2);
    assert_int_equal(as_read_bytes32(&in).len, 0);
    assert_false(as_reader_done(&in));
    as_read_string8(&in, name, sizeof(name));
    assert_string_equal(name, "xyz");
    assert_true(as_reader_done(&in));
    as_buf_close(&buf);
}

static void the_maximum_holds_and_sticks(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 10);
    as_put_u64(&buf, 1);
    as_put_u16(&buf, 2);
    assert_int_equal(buf.len, 10);
    assert_int_equal(buf.err, AS_OK);
    as_put_bytes(&buf, NULL, 0);
    assert_int_equal(buf.err, AS_OK);
    as_put_u8(&buf, 3);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    assert_int_equal(buf.len, 10);
    as_buf_consume(&buf, 8);
    assert_int_equal(buf.len, 2);
    assert_int_equal(buf.data[0], 2);
    as_put_u8(&buf, 3); /* there is room now, but the error stands */
    assert_int_equal(buf.len, 2);
    assert_null(as_buf_extend(&buf, 0));
    as_buf_clear(&buf);
    as_put_u8(&buf, 3);
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(buf.len, 1);
    as_buf_close(&buf);
    as_buf_close(&buf);
    as_buf_close(NULL);
}

static void lengths_fit_their_field(void **state)
{
    static const char text[70000];
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 1 << 20);
    as_put_text8(&buf, text, 255);
    as_put_text16(&buf, text, 65535);
    assert_int_equal(buf.err, AS_OK);
    assert_int_equal(buf.len, 256 + 65537);
    as_put_text8(&buf, text, 256);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    as_buf_clear(&buf);
    as_put_text16(&buf, text, 65536);
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    as_buf_clear(&buf);
    as_put_bytes32(&buf, (struct as_bytes){(const uint8_t *)text, (size_t)UINT32_MAX + 1});
    assert_int_equal(buf.err, AS_ERR_TOOBIG);
    assert_int_equal(buf.len, 0);
    as_buf_close(&buf);
}

static void growth_keeps_the_contents(void **state)
{
    struct as_buf buf;
    uint8_t *at;

    (void)state;
    as_buf_init(&buf, 100001);
    for (uint32_t i = 0; i < 25000; i++)
        as_put_u32(&buf, i * 2654435761u);
    assert_int_equal(buf.err, AS_OK);
    at = as_buf_extend(&buf, 1);
    assert_ptr_equal(at, buf.data + 100000);
    *at = 7;
    for (uint32_t i = 0; i < 25000; i++) {
        struct as_reader in = as_reader_of((struct as_bytes){buf.data + 4 * i, 4});

        assert_int_equal(as_read_u32(&in), i * 2654435761u);
    }
    assert_null(as_buf_extend(&buf, SIZE_MAX));
    as_buf_consume(&buf, buf.len);
    assert_int_equal(buf.len, 0);
    as_buf_close(&buf);
}

static void an_empty_buffer_has_room_for_nothing(void **state)
{
    struct as_buf buf;

    (void)state;
    as_buf_init(&buf, 0);
    assert_non_null(as_buf_extend(&buf, 0));
    as_put_bytes(&buf, "x", 0);
    as_buf_consume(&buf, 0);
    assert_int_equal(buf.err, AS_OK);
    assert_null(as_buf_extend(&buf, 1));
    as_buf_close(&buf);
}

static void no_read_passes_the_end(void **state)
{
    const uint8_t bytes[] = {200, 0, 0, 0, 'a'};
    struct as_reader in;
    char name[8] = "old";

    (void)state;
    in = as_reader_of((struct as_bytes){bytes, sizeof(bytes)});
    assert_true(as_read_u64(&in) == 0);
    assert_true(in.bad);
    assert_int_equal(as_read_u8(&in), 0); /* zeros ever after */
    assert_int_equal(as_read_text8(&in).len, 0);
    assert_null(as_read_bytes(&in, 0).data);
    assert_false(as_reader_done(&in));

    in = as_reader_of((struct as_bytes){bytes, sizeof(bytes)});
    assert_null(as_read_text8(&in).data);
    assert_true(in.bad);
    in = as_reader_of((struct as_bytes){bytes, sizeof(bytes)});
    assert_null(as_read_bytes32(&in).data);
    assert_true(in.bad);
    in = as_reader_of((struct as_bytes){bytes, sizeof(bytes)});
    assert_null(as_read_bytes(&in, SIZE_MAX).data);
    assert_true(in.bad);
    in = as_reader_of((struct as_bytes){bytes, sizeof(bytes)});
    as_read_string8(&in, name, sizeof(name));
    assert_string_equal(name, "");
    assert_true(in.bad);
    in = as_reader_of((struct as_bytes){NULL, 0});
    assert_int_equal(as_read_bytes(&in, 0).len, 0);
    assert_true(as_reader_done(&in));
}

static void strings_fit_and_hold_no_nul(void **state)
{
    struct as_reader in;
    char name[4];

    (void)state;
    in = as_reader_of((struct as_bytes){(const uint8_t *)"\4abcd", 5});
    as_read_string8(&in, name, sizeof(name));
    assert_true(in.bad);
    assert_string_equal(name, "");
    in = as_reader_of((struct as_bytes){(const uint8_t *)"\3a\0c", 4});
    as_read_string8(&in, name, sizeof(name));
    assert_true(in.bad);
    in = as_reader_of((struct as_bytes){(const uint8_t *)"\0", 1});
    as_read_string8(&in, name, sizeof(name));
    assert_true(as_reader_done(&in));
    assert_string_equal(name, "");
}

static void put_much(void *ctx)
{
    struct as_buf buf;

    (void)ctx;
    as_buf_init(&buf, 1 << 16);
    for (uint32_t i = 0; i < 10000; i++)
        as_put_u32(&buf, i);
    assert_int_equal(buf.err, test_allocation_failed() ? AS_ERR_NOMEM : AS_OK);
    for (uint32_t i = 0; i < buf.len / 4; i++)
        assert_int_equal(buf.data[4 * i], i & 255);
    as_buf_close(&buf);
}

static void no_memory_sticks(void **state)
{
    (void)state;
    test_fail_each_allocation(put_much, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_back),
        cmocka_unit_test(the_maximum_holds_and_sticks),
        cmocka_unit_test(lengths_fit_their_field),
        cmocka_unit_test(growth_keeps_the_contents),
        cmocka_unit_test(an_empty_buffer_has_room_for_nothing),
        cmocka_unit_test(no_read_passes_the_end),
        cmocka_unit_test(strings_fit_and_hold_no_nul),
        cmocka_unit_test(no_memory_sticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
