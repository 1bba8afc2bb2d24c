/*
 * A dsn that libpq does not understand: what is said of it holds no password, however it was mistyped.
 */
#include "tests/support/support.h"

#include <string.h>

#include "participant/postgres/pg.h"

static void a_password_is_not_repeated(void **state)
{
    static const char *const wrong[] = {
        "host=db1 password=my sesame",
        "host=db1 password=\"my sesame",
        "password=x sesame\"sesame",
        "host=db1 password='sesame",
        "postgresql://app:sesame@[::1/bank",
        "postgresql://app:sesame@[::1]x/bank",
        "postgresql://app:ses\"ame sesame@[db1/bank",
        "postgresql://app:sesame@db1/bank?x=%zz",
        "postgresql://app:sesame%zz@db1/bank",
        "sesame://app:sesame@db1",
    };
    char why[256], lengthy[1024] = "postgresql://app:";

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(wrong); i++) {
        assert_int_equal(pg_dsn_check(wrong[i], why), AS_ERR_INVALID);
        assert_true(strlen(why) > 10);
        if (strstr(why, "sesame") || strstr(why, "ame"))
            fail_msg("of %s it is said: %s", wrong[i], why);
    }
    while (strlen(lengthy) < 900)
        strcat(lengthy, "sesame");
    strcat(lengthy, "@[db1/bank");
    assert_int_equal(pg_dsn_check(lengthy, why), AS_ERR_INVALID);
    assert_null(strstr(why, "sesame"));
}

static void what_is_wrong_is_named(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(pg_dsn_check("hots=db1", why), AS_ERR_INVALID);
    assert_non_null(strstr(why, "hots"));
    assert_int_equal(pg_dsn_check("host=db1 password=my sesame", why), AS_ERR_INVALID);
    assert_string_equal(why, "missing \"=\" after ... in connection info string");
    assert_int_equal(pg_dsn_check("host=db1 password=sesame", why), AS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_not_repeated),
        cmocka_unit_test(what_is_wrong_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
