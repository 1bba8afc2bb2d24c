/*
 * The truth table of recovery: every ending meets exactly one row, and no row is dead.
 */
#include "../../support/support.h"
#include "coordinator/log/recover.h"

static void test_each_ending_meets_one_row(void **state)
{
    bool met[64] = {false};

    (void)state;
    for (unsigned i = 0; i < 3 * 8; i++) {
        struct log_ending ending = {
            .end = (enum log_end)(i / 8), .last = i & 1, .claimed = i & 2, .follows = i & 4};
        unsigned rows = 0;

        for (size_t row = 0; row < log_truth_count; row++)
            if (log_truth_matches(&log_truth_table[row], &ending)) {
                rows++;
                met[row] = true;
                assert_int_equal(log_judge(&ending), log_truth_table[row].verdict);
            }
        assert_int_equal(rows, 1);
    }
    for (size_t row = 0; row < log_truth_count; row++)
        assert_true(met[row]);
}

/* What may not change however the table is written: a durable record is never cut, a claim always
 * counts. */
static void test_what_must_hold(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * 8; i++) {
        struct log_ending ending = {
            .end = (enum log_end)(i / 8), .last = i & 1, .claimed = i & 2, .follows = i & 4};
        enum log_verdict verdict = log_judge(&ending);

        if (verdict == LOG_VERDICT_END) {
            assert_true(ending.last);
            assert_false(ending.claimed);
            assert_int_equal(ending.end, LOG_END_NONE);
        }
        if (verdict == LOG_VERDICT_NEXT || verdict == LOG_VERDICT_RESEAL) {
            assert_true(ending.follows);
            assert_false(ending.last);
        }
        if (verdict == LOG_VERDICT_RESEAL)
            assert_false(ending.claimed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_ending_meets_one_row),
        cmocka_unit_test(test_what_must_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
