/*
 * Tokens, and the file that knows their hashes.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/uv/token.h"

static void a_token_is_known_by_its_hash(void **state)
{
    /* printf %s assent_000...0 | sha256sum */
    static const char zeros[] =
        "assent_0000000000000000000000000000000000000000000000000000000000000000";
    static const uint8_t begins[] = {0xf2, 0x40, 0x02, 0xd2, 0x9e, 0xc6, 0x61, 0x9c};
    char one[TOKEN_LEN + 1], two[TOKEN_LEN + 1];
    uint8_t hash[AS_HASH_LEN];

    (void)state;
    assert_true(token_hash(zeros, hash));
    assert_memory_equal(hash, begins, sizeof(begins));
    assert_true(token_make(one) && token_make(two));
    assert_string_not_equal(one, two);
    assert_true(token_hash(one, hash));
    assert_memory_not_equal(hash, begins, sizeof(begins));
}

static void only_the_form_of_a_token_is_one(void **state)
{
    static const char *const bad[] = {
        "",
        "assent_",
        "assent_000000000000000000000000000000000000000000000000000000000000000",
        "assent_00000000000000000000000000000000000000000000000000000000000000000",
        "assent_000000000000000000000000000000000000000000000000000000000000000A",
        "assent-0000000000000000000000000000000000000000000000000000000000000000",
        "Assent_0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
    };
    uint8_t hash[AS_HASH_LEN];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++)
        if (token_hash(bad[i], hash))
            fail_msg("taken: %s", bad[i]);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_file_is_refused_for_a_reason(void **state)
{
    char dir[] = "/tmp/assent-token-XXXXXX", path[64], why[TOKEN_WHY_BYTES];
    struct as_grants grants;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/tokens", dir);
    assert_int_equal(token_file_read(path, &grants, why), AS_ERR_NOTFOUND);
    assert_non_null(strstr(why, path));
    write_file(path, "ops role=operator certificate\n", 0644);
    assert_int_equal(token_file_read(path, &grants, why), AS_OK);
    assert_int_equal(grants.count, 1);
    as_grants_close(&grants);
    write_file(path, "ops role=operator certificate\n", 0646);
    assert_int_equal(token_file_read(path, &grants, why), AS_ERR_INVALID);
    assert_non_null(strstr(why, "chmod o-w"));
    write_file(path, "ops role=king certificate\n", 0644);
    assert_int_equal(token_file_read(path, &grants, why), AS_ERR_MALFORMED);
    assert_non_null(strstr(why, "line 1: role is one"));
    assert_int_equal(token_file_read(dir, &grants, why), AS_ERR_INVALID);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_known_by_its_hash),
        cmocka_unit_test(only_the_form_of_a_token_is_one),
        cmocka_unit_test(a_file_is_refused_for_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
