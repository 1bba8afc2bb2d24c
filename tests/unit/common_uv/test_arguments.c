/*
 * common/uv/arguments: what a daemon's command line means.
 */
#include "tests/support/support.h"

#include <string.h>

#include "common/uv/arguments.h"

static bool check;
static const struct arguments_switch switches[] = {{.name = "--check", .given = &check}};
static const struct arguments arguments = {"program", "the help\n", "1.2.3", switches, 1};

#define READ(config, ...)                                                   \
    arguments_read(&arguments, (int)AS_COUNT_OF(((char *[]){__VA_ARGS__})), \
                   (char *[]){__VA_ARGS__}, config)

static void file_and_switches(void **state)
{
    const char *config;

    (void)state;
    check = false;
    assert_int_equal(READ(&config, "program", "--config", "a.ini"), ARGUMENTS_RUN);
    assert_string_equal(config, "a.ini");
    assert_false(check);
    assert_int_equal(READ(&config, "program", "--check", "--config=b.ini"), ARGUMENTS_RUN);
    assert_string_equal(config, "b.ini");
    assert_true(check);
}

static void help_and_version_need_nothing_else(void **state)
{
    const char *config;

    (void)state;
    assert_int_equal(READ(&config, "program", "--help"), ARGUMENTS_DONE);
    assert_int_equal(READ(&config, "program", "-h"), ARGUMENTS_DONE);
    assert_int_equal(READ(&config, "program", "--version"), ARGUMENTS_DONE);
}

static void what_is_wrong_is_refused(void **state)
{
    const char *config;

    (void)state;
    assert_int_equal(READ(&config, "program"), ARGUMENTS_WRONG);
    assert_int_equal(READ(&config, "program", "--config"), ARGUMENTS_WRONG);
    assert_int_equal(READ(&config, "program", "--config="), ARGUMENTS_WRONG);
    assert_int_equal(READ(&config, "program", "--config", "a.ini", "more"), ARGUMENTS_WRONG);
    assert_int_equal(READ(&config, "program", "--chec", "--config", "a.ini"), ARGUMENTS_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_and_switches),
        cmocka_unit_test(help_and_version_need_nothing_else),
        cmocka_unit_test(what_is_wrong_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
