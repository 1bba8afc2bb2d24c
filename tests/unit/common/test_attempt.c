/* Names: what is taken, what is not, and that the gid parser is the exact inverse of the formatter.
 */
#include <string.h>

#include "assent/attempt.h"
#include "assent/rng.h"
#include "tests/support/support.h"

static const char example[] = "assent/demo/5f3a9c01d2e4b687/7.42/1/order-4711";

static as_err parse(const char *text, struct as_gid *ret_gid)
{
    return as_gid_parse(text, strlen(text), ret_gid);
}

static void the_gid_of_the_manual(void **state)
{
    struct as_gid gid;
    char text[AS_GID_LEN_MAX + 1];

    (void)state;
    assert_int_equal(parse(example, &gid), AS_OK);
    assert_string_equal(gid.cluster, "demo");
    assert_true(gid.incarnation == 0x5f3a9c01d2e4b687);
    assert_int_equal(gid.attempt.term, 7);
    assert_int_equal(gid.attempt.seq, 42);
    assert_int_equal(gid.branch, 1);
    assert_string_equal(gid.id, "order-4711");
    assert_int_equal(as_gid_format(&gid, text), strlen(example));
    assert_string_equal(text, example);
}

static void the_longest_gid_fits(void **state)
{
    struct as_gid gid = {
        .incarnation = UINT64_MAX, .attempt = {UINT64_MAX, UINT64_MAX}, .branch = UINT32_MAX};
    struct as_gid back;
    char text[AS_GID_LEN_MAX + 1];
    size_t len;

    (void)state;
    memset(gid.cluster, 'c', AS_CLUSTER_LEN_MAX);
    memset(gid.id, 'X', AS_ID_LEN_MAX);
    len = as_gid_format(&gid, text);
    assert_int_equal(len, 174);
    assert_int_equal(strlen(text), len);
    assert_int_equal(as_gid_parse(text, len, &back), AS_OK);
    assert_memory_equal(&gid, &back, sizeof(gid));
}

static void any_gid_comes_back(void **state)
{
    static const char id_chars[] = "ABCXYZabcxyz0189._:-";
    static const char cluster_chars[] = "abcxyz0189-";
    struct as_rng rng = {11};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct as_gid gid = {0}, back;
        char text[AS_GID_LEN_MAX + 1];
        size_t cluster_len = 1 + as_rng_below(&rng, AS_CLUSTER_LEN_MAX);
        size_t id_len = 1 + as_rng_below(&rng, AS_ID_LEN_MAX);

        for (size_t i = 0; i < cluster_len; i++)
            gid.cluster[i] = cluster_chars[as_rng_below(&rng, sizeof(cluster_chars) - 1)];
        for (size_t i = 0; i < id_len; i++)
            gid.id[i] = id_chars[as_rng_below(&rng, sizeof(id_chars) - 1)];
        gid.incarnation = as_rng_next(&rng);
        gid.attempt.term = 1 + (as_rng_next(&rng) >> 1 >> as_rng_below(&rng, 63));
        gid.attempt.seq = 1 + (as_rng_next(&rng) >> 1 >> as_rng_below(&rng, 63));
        gid.branch = 1 + (uint32_t)as_rng_below(&rng, UINT32_MAX);
        assert_int_equal(as_gid_parse(text, as_gid_format(&gid, text), &back), AS_OK);
        assert_memory_equal(&gid, &back, sizeof(gid));
    }
}

static void everything_else_is_foreign(void **state)
{
    static const char *const foreign[] = {
        "",
        "assent/",
        "Assent/demo/5f3a9c01d2e4b687/7.42/1/a",
        "assent//5f3a9c01d2e4b687/7.42/1/a",
        "assent/Demo/5f3a9c01d2e4b687/7.42/1/a",
        "assent/de_mo/5f3a9c01d2e4b687/7.42/1/a",
        "assent/abcdefghijklmnopqrstuvwxyz0123456/5f3a9c01d2e4b687/7.42/1/a",
        "assent/demo/5f3a9c01d2e4b68/7.42/1/a",
        "assent/demo/5f3a9c01d2e4b6877/7.42/1/a",
        "assent/demo/5F3A9C01D2E4B687/7.42/1/a",
        "assent/demo/5f3a9c01d2e4b68g/7.42/1/a",
        "assent/demo/0x3a9c01d2e4b687/7.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/07.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.042/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.42/01/a",
        "assent/demo/5f3a9c01d2e4b687/0.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.0/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.42/0/a",
        "assent/demo/5f3a9c01d2e4b687/+7.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/-7.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/ 7.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7,42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.42.1/1/a",
        "assent/demo/5f3a9c01d2e4b687/.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7./1/a",
        "assent/demo/5f3a9c01d2e4b687/7.42//a",
        "assent/demo/5f3a9c01d2e4b687/7.42/1/",
        "assent/demo/5f3a9c01d2e4b687/7.42/1",
        "assent/demo/5f3a9c01d2e4b687/7.42/1/a/b",
        "assent/demo/5f3a9c01d2e4b687/7.42/1/a b",
        "assent/demo/5f3a9c01d2e4b687/7.42/1/a'",
        "assent/demo/5f3a9c01d2e4b687/7.42/1/\xc3\xa4",
        "assent/demo/5f3a9c01d2e4b687/18446744073709551616.42/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.18446744073709551616/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.99999999999999999999/1/a",
        "assent/demo/5f3a9c01d2e4b687/7.42/4294967296/a",
    };
    char long_id[33 + AS_ID_LEN_MAX + 1];
    struct as_gid gid, before;

    (void)state;
    memset(&gid, 0xa5, sizeof(gid));
    before = gid;
    for (size_t i = 0; i < AS_COUNT_OF(foreign); i++) {
        if (parse(foreign[i], &gid) != AS_ERR_MALFORMED)
            fail_msg("taken: %s", foreign[i]);
        assert_memory_equal(&gid, &before, sizeof(gid));
    }
    memset(long_id, 'x', sizeof(long_id));
    memcpy(long_id, "assent/d/5f3a9c01d2e4b687/7.42/1/", 33);
    assert_int_equal(as_gid_parse(long_id, 33 + AS_ID_LEN_MAX + 1, &gid), AS_ERR_MALFORMED);
    assert_int_equal(as_gid_parse(long_id, 33 + AS_ID_LEN_MAX, &gid), AS_OK);
    assert_int_equal(as_gid_parse("assent/demo/5f3a9c01d2e4b687/7.42/1/a\0b", 40, &gid),
                     AS_ERR_MALFORMED);
    assert_int_equal(
        parse("assent/demo/5f3a9c01d2e4b687/18446744073709551615.1/4294967295/a", &gid), AS_OK);
}

/* Every prefix of a gid before its id is foreign; so is every gid with one byte changed to '/' or
 * NUL. */
static void no_part_of_a_gid_passes_for_one(void **state)
{
    char text[sizeof(example)];
    struct as_gid gid;

    (void)state;
    for (size_t len = 0; len <= strlen(example) - strlen("order-4711"); len++)
        assert_int_equal(as_gid_parse(example, len, &gid), AS_ERR_MALFORMED);
    for (size_t i = 0; i < strlen(example); i++) {
        memcpy(text, example, sizeof(text));
        text[i] = '\0';
        assert_int_equal(as_gid_parse(text, strlen(example), &gid), AS_ERR_MALFORMED);
        text[i] = '/';
        if (example[i] != '/')
            assert_int_equal(as_gid_parse(text, strlen(example), &gid), AS_ERR_MALFORMED);
    }
}

static bool valid(bool (*check)(const char *, size_t), const char *text)
{
    return check(text, strlen(text));
}

static void names(void **state)
{
    static const char long_name[] =
        "a23456789012345678901234567890123456789012345678901234567890123456";

    (void)state;
    assert_true(valid(as_id_valid, "A.z_0:9-"));
    assert_true(as_id_valid(long_name, 64));
    assert_false(as_id_valid(long_name, 65));
    assert_false(valid(as_id_valid, ""));
    assert_false(valid(as_id_valid, "a/b"));
    assert_false(valid(as_id_valid, "a b"));
    assert_false(valid(as_id_valid, "\xc3\xa4"));
    assert_false(as_id_valid("a\0b", 3));

    assert_true(valid(as_cluster_valid, "-0a"));
    assert_true(as_cluster_valid(long_name, 32));
    assert_false(as_cluster_valid(long_name, 33));
    assert_false(valid(as_cluster_valid, ""));
    assert_false(valid(as_cluster_valid, "A"));
    assert_false(valid(as_cluster_valid, "a_b"));

    assert_true(valid(as_participant_valid, "bank_a-1"));
    assert_true(as_participant_valid(long_name, 63));
    assert_false(as_participant_valid(long_name, 64));
    assert_false(valid(as_participant_valid, ""));
    assert_false(valid(as_participant_valid, "1bank"));
    assert_false(valid(as_participant_valid, "_bank"));
    assert_false(valid(as_participant_valid, "Bank"));
    assert_false(valid(as_participant_valid, "bank.a"));
}

static void attempts_are_ordered(void **state)
{
    const struct as_attempt a = {1, 9}, b = {2, 1}, c = {2, 2};

    (void)state;
    assert_true(as_attempt_compare(a, b) < 0);
    assert_true(as_attempt_compare(c, b) > 0);
    assert_int_equal(as_attempt_compare(b, b), 0);
    assert_true(as_attempt_equal(b, b));
    assert_false(as_attempt_equal(a, b));
}

static void only_a_uuid7_tells_its_time(void **state)
{
    static const char *const others[] = {
        "order-4711",
        "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",  /* version 4 */
        "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",  /* variant 0 */
        "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",  /* variant 110 */
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",   /* short */
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", /* long */
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f",  /* no hyphen */
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07-98f",
    };
    int64_t ms = 5;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(others); i++) {
        assert_false(as_id_uuid7_ms(others[i], strlen(others[i]), &ms));
        assert_int_equal(ms, 5);
    }
    /* RFC 9562, appendix A.6: 2022-02-22 14:22:22.000 -05:00 */
    assert_true(as_id_uuid7_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 36, &ms));
    assert_int_equal(ms, 1645557742000);
    assert_true(as_id_uuid7_ms("017f22e2-79b0-7cc3-b8c4-dc0c0c07398f", 36, &ms));
    assert_int_equal(ms, 1645557742000);
    assert_true(as_id_uuid7_ms("ffffffff-ffff-7fff-bfff-ffffffffffff", 36, &ms));
    assert_int_equal(ms, 0xffffffffffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gid_of_the_manual),
        cmocka_unit_test(the_longest_gid_fits),
        cmocka_unit_test(any_gid_comes_back),
        cmocka_unit_test(everything_else_is_foreign),
        cmocka_unit_test(no_part_of_a_gid_passes_for_one),
        cmocka_unit_test(names),
        cmocka_unit_test(attempts_are_ordered),
        cmocka_unit_test(only_a_uuid7_tells_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
