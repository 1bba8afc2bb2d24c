/*
 * The file of tokens: what a line may say, and what refuses the file.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>

#include "assent/grant.h"
#include "common/utc.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct as_bytes bytes(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static struct as_grant parsed(const char *line)
{
    char why[AS_GRANT_WHY_BYTES];
    struct as_grant grant;

    if (as_grant_parse(bytes(line), &grant, why))
        fail_msg("%s: %s", line, why);
    return grant;
}

static void a_line_says_who_may_do_what(void **state)
{
    struct as_grant grant = parsed("shop\trole=app,viewer  sha256=" HASH
                                   " participants=bank_a,bank_b expires=2027-01-31T00:00:00Z "
                                   "rate=200/s ");

    (void)state;
    assert_string_equal(grant.name, "shop");
    assert_int_equal(grant.roles, AS_ROLE_APP | AS_ROLE_VIEWER);
    assert_int_equal(grant.sha256[1], 0x11);
    assert_int_equal(grant.sha256[31], 0xff);
    assert_false(grant.certificate);
    assert_int_equal(grant.rate, 200);
    assert_int_equal(grant.expires, 1801353600);
    assert_true(as_participants_name(grant.participants, bytes("bank_a")));
    assert_true(as_participants_name(grant.participants, bytes("bank_b")));
    assert_false(as_participants_name(grant.participants, bytes("bank_")));
    assert_false(as_participants_name(grant.participants, bytes("bank_a,bank_b")));
    assert_false(as_participants_name(grant.participants, bytes("")));

    grant = parsed("billing role=app participants=bank_a certificate");
    assert_true(grant.certificate);
    assert_int_equal(grant.rate, 0);
    assert_int_equal(grant.expires, 0);
}

static void what_a_line_says_is_written_so(void **state)
{
    static const char *const lines[] = {
        "shop role=app,viewer,operator participants=a,b sha256=" HASH
        " rate=1/s expires=2000-02-29T23:59:59Z",
        "ops role=operator certificate",
        "grafana role=viewer sha256=" HASH " rate=1000000/s",
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(lines); i++) {
        struct as_grant grant = parsed(lines[i]);
        struct as_buf buf;

        as_buf_init(&buf, 4096);
        as_grant_put(&buf, &grant);
        as_put_u8(&buf, 0);
        assert_string_equal((const char *)buf.data, lines[i]);
        as_buf_close(&buf);
    }
}

static void nothing_else_is_a_line(void **state)
{
    static const struct {
        const char *line, *why;
    } bad[] = {
        {"", "begins with a name"},
        {"a/b role=viewer sha256=" HASH, "begins with a name"},
        {"role=viewer sha256=" HASH, "begins with a name"},
        {"a sha256=" HASH, "role= is missing"},
        {"a role= sha256=" HASH, "role is one or several"},
        {"a role=admin sha256=" HASH, "role is one or several"},
        {"a role=viewer,viewer sha256=" HASH, "role is one or several"},
        {"a role=viewer, sha256=" HASH, "role is one or several"},
        {"a role=,viewer sha256=" HASH, "role is one or several"},
        {"a role=Viewer sha256=" HASH, "role is one or several"},
        {"a role=viewer role=viewer sha256=" HASH, "role is given twice"},
        {"a role=viewer", "either sha256= of a token"},
        {"a role=viewer certificate sha256=" HASH, "either sha256= of a token"},
        {"a role=viewer certificate=yes", "nothing else"},
        {"a role=viewer sha256", "nothing else"},
        {"a role=viewer sha256=" HASH " user=me", "nothing else"},
        {"a role=viewer sha256=" HASH " # comment", "nothing else"},
        {"a role=viewer sha256=" HASH "\r", "sha256 is 64"},
        {"a role=viewer sha256=" HASH "0", "sha256 is 64"},
        {"a role=viewer sha256=0011", "sha256 is 64"},
        {"a role=viewer sha256=0G112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
         "small letters"},
        {"a role=viewer participants=b sha256=" HASH, "is for the role app"},
        {"a role=app sha256=" HASH, "participants= is missing"},
        {"a role=app participants= sha256=" HASH, "participants are names"},
        {"a role=app participants=* sha256=" HASH, "participants are names"},
        {"a role=app participants=b, sha256=" HASH, "participants are names"},
        {"a role=app participants=b,,c sha256=" HASH, "participants are names"},
        {"a role=app,viewer participants=b certificate", "has one role"},
        {"a role=viewer sha256=" HASH " rate=0/s", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " rate=007/s", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " rate=1000001/s", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " rate=99999999999999999999/s", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " rate=7", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " rate=7/m", "rate is requests a second"},
        {"a role=viewer sha256=" HASH " expires=2027-02-29T00:00:00Z", "expires is a time"},
        {"a role=viewer sha256=" HASH " expires=2027-01-31", "expires is a time"},
        {"a role=viewer sha256=" HASH " expires=1970-01-01T00:00:00Z", "expires is a time"},
    };
    char why[AS_GRANT_WHY_BYTES];
    struct as_grant grant;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++) {
        if (as_grant_parse(bytes(bad[i].line), &grant, why) != AS_ERR_MALFORMED)
            fail_msg("taken: %s", bad[i].line);
        if (!strstr(why, bad[i].why))
            fail_msg("%s: %s", bad[i].line, why);
    }
}

static void times_are_times(void **state)
{
    static const struct {
        const char *text;
        int64_t time;
    } rows[] = {{"1970-01-01T00:00:00Z", 0},
                {"2000-02-29T00:00:00Z", 951782400},
                {"2027-01-31T12:34:56Z", 1801398896},
                {"9999-12-31T23:59:59Z", 253402300799}};
    static const char *const bad[] = {"1969-12-31T23:59:59Z",  "2027-13-01T00:00:00Z",
                                      "2027-00-01T00:00:00Z",  "2027-01-00T00:00:00Z",
                                      "2027-04-31T00:00:00Z",  "2100-02-29T00:00:00Z",
                                      "2027-01-31T24:00:00Z",  "2027-01-31T00:60:00Z",
                                      "2027-01-31T00:00:60Z",  "2027-01-31 00:00:00Z",
                                      "2027-01-31T00:00:00",   "2027-01-31T00:00:00z",
                                      "+027-01-31T00:00:00Z",  "2027-01-31T00:00:00+00:00",
                                      "2027-01-31T00:00:00ZZ", ""};
    char text[AS_UTC_LEN + 1];
    int64_t time = -1;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        assert_int_equal(as_utc_parse(bytes(rows[i].text), &time), AS_OK);
        assert_int_equal(time, rows[i].time);
        assert_string_equal(as_utc_format(time, text), rows[i].text);
    }
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++)
        if (as_utc_parse(bytes(bad[i]), &time) != AS_ERR_MALFORMED)
            fail_msg("taken: %s", bad[i]);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    static const char good[] = "# who may do what\n"
                               "\n"
                               "shop role=app participants=bank_a sha256=" HASH "\n"
                               "  \t\n"
                               "shop role=app participants=bank_a sha256=" OTHER "\n"
                               "ops role=operator certificate\n"
                               "ops role=viewer certificate"; /* no newline at its end */
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"a role=viewer sha256=" HASH "\n\nb role=viewer sha256=" HASH "\n",
         "line 3: this token has a line already"},
        {"a role=viewer certificate\na role=viewer certificate\n",
         "line 2: this certificate has a line already"},
        {"a role=viewer certificate\nb\n",
         "line 2: role= is missing: app, viewer, operator, or several with commas"},
    };
    uint8_t hash[AS_HASH_LEN] = {0};
    char why[AS_GRANT_WHY_BYTES];
    struct as_grants grants;

    (void)state;
    assert_int_equal(as_grants_parse(bytes(good), &grants, why), AS_OK);
    assert_int_equal(grants.count, 4);
    assert_int_equal(as_grants_by_hash(&grants, grants.list[1].sha256), 1);
    assert_int_equal(as_grants_by_hash(&grants, grants.list[0].sha256), 0);
    assert_int_equal(as_grants_by_hash(&grants, hash), 4); /* not that of a certificate's line */
    assert_int_equal(as_grants_by_certificate(&grants, AS_ROLE_OPERATOR, "ops"), 2);
    assert_int_equal(as_grants_by_certificate(&grants, AS_ROLE_VIEWER, "ops"), 3);
    assert_int_equal(as_grants_by_certificate(&grants, AS_ROLE_APP, "shop"), 4);
    as_grants_close(&grants);
    assert_int_equal(as_grants_parse(bytes(""), &grants, why), AS_OK);
    assert_int_equal(grants.count, 0);
    as_grants_close(&grants);
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++) {
        assert_int_equal(as_grants_parse(bytes(bad[i].text), &grants, why), AS_ERR_MALFORMED);
        assert_string_equal(why, bad[i].why);
    }
}

static void a_file_has_limits(void **state)
{
    char why[AS_GRANT_WHY_BYTES], line[160];
    struct as_grants grants;
    struct as_buf text;

    (void)state;
    as_buf_init(&text, 1u << 20);
    for (int i = 0; i <= AS_GRANTS_MAX; i++) {
        if (i == AS_GRANTS_MAX) {
            assert_int_equal(as_grants_parse(as_buf_bytes(&text), &grants, why), AS_OK);
            assert_int_equal(grants.count, AS_GRANTS_MAX);
            as_grants_close(&grants);
        }
        snprintf(line, sizeof(line), "n%d role=viewer certificate\n", i);
        as_put_bytes(&text, line, strlen(line));
    }
    assert_int_equal(as_grants_parse(as_buf_bytes(&text), &grants, why), AS_ERR_TOOBIG);
    assert_string_equal(why, "there are more than 1000 lines");
    as_buf_clear(&text);
    as_put_bytes(&text, "a role=viewer certificate", 25);
    while (text.len <= AS_GRANT_LINE_MAX)
        as_put_u8(&text, ' ');
    assert_int_equal(as_grants_parse(as_buf_bytes(&text), &grants, why), AS_ERR_MALFORMED);
    assert_string_equal(why, "line 1: it is longer than 4095 bytes");
    as_buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_who_may_do_what),
        cmocka_unit_test(what_a_line_says_is_written_so),
        cmocka_unit_test(nothing_else_is_a_line),
        cmocka_unit_test(times_are_times),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
        cmocka_unit_test(a_file_has_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
