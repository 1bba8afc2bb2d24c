/*
 * `assent bench --log` in its shortest form: it runs, and prints what it promises. How fast the
 * machine is, no test says.
 */
#include "harness.h"

static void the_log_is_measured(void **state)
{
    static const char *const keys[] = {"log_3n_1_sync_ratio", "log_3n_256_per_s",
                                       "log_3n_256_max_ms", "log_1n_sync_ratio"};
    const char *args[] = {"bench", "--log", "--json", "--seconds", "1", "--warmup", "0", NULL};
    cJSON *json;
    char *out;

    (void)state;
    assert_int_equal(run_assent(args, &out), 0);
    json = cJSON_Parse(out);
    free(out);
    assert_non_null(json);
    for (size_t i = 0; i < AS_COUNT_OF(keys); i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, keys[i]);

        if (!cJSON_IsNumber(value) || value->valuedouble <= 0)
            fail_msg("%s is missing, or not above zero", keys[i]);
    }
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_log_is_measured)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
