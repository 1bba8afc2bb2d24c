/* The histogram against the sorted values themselves. */
#include <stdlib.h>
#include <string.h>

#include "assent/hist.h"
#include "assent/rng.h"
#include "tests/support/support.h"

static struct as_hist hist, other;

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void quantiles_are_right_to_a_sixteenth(void **state)
{
    enum { COUNT = 4999 };
    static uint64_t values[COUNT];
    static const double quantiles[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    struct as_rng rng = {23};

    (void)state;
    as_hist_reset(&hist);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = as_rng_next(&rng) >> 1 >> as_rng_below(&rng, 63);
        as_hist_add(&hist, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare);
    assert_int_equal(hist.count, COUNT);
    assert_true(hist.min == values[0] && hist.max == values[COUNT - 1]);
    for (size_t i = 0; i < AS_COUNT_OF(quantiles); i++) {
        size_t rank = (size_t)(quantiles[i] * COUNT + 0.999999999);
        uint64_t exact = values[rank ? rank - 1 : 0];
        uint64_t found = as_hist_quantile(&hist, quantiles[i]);

        assert_true(found >= exact && found - exact <= exact / 16);
    }
    for (size_t i = 0; i < COUNT; i += 37) {
        uint64_t upto = as_hist_count_upto(&hist, values[i]), least = i + 1, most;

        for (most = least; most < COUNT && values[most] <= values[i] + values[i] / 16; most++)
            ;
        assert_true(upto >= least && upto <= most);
    }
}

static void small_values_are_exact(void **state)
{
    (void)state;
    as_hist_reset(&hist);
    for (uint64_t value = 0; value < 32; value++)
        as_hist_add(&hist, value);
    for (uint64_t value = 0; value < 32; value++) {
        assert_int_equal(as_hist_quantile(&hist, ((double)value + 1) / 32), value);
        assert_int_equal(as_hist_count_upto(&hist, value), value + 1);
    }
}

static void the_ends(void **state)
{
    (void)state;
    as_hist_reset(&hist);
    assert_int_equal(as_hist_quantile(&hist, 0.5), 0);
    assert_int_equal(as_hist_count_upto(&hist, UINT64_MAX), 0);
    as_hist_add(&hist, 1000);
    assert_int_equal(as_hist_quantile(&hist, 0), 1000); /* never above the maximum */
    assert_int_equal(as_hist_quantile(&hist, 1), 1000);
    assert_int_equal(as_hist_quantile(&hist, 7), 1000);
    assert_int_equal(as_hist_quantile(&hist, -7), 1000);
    assert_int_equal(as_hist_count_upto(&hist, 900), 0);
    assert_int_equal(as_hist_count_upto(&hist, 1000), 1);
    as_hist_add(&hist, UINT64_MAX);
    assert_true(as_hist_quantile(&hist, 1) == UINT64_MAX);
    assert_true(hist.sum == UINT64_MAX); /* full, not begun again */
    as_hist_reset(&hist);
    as_hist_add(&hist, INT64_MAX);
    assert_int_equal(hist.bucket[AS_HIST_BUCKETS - 1], 1);
    as_hist_add(&hist, (uint64_t)INT64_MAX / 32 * 31); /* 2^62 * 1.9375 - ... : the bucket below */
    assert_int_equal(hist.bucket[AS_HIST_BUCKETS - 2], 1);
}

static void buckets_saturate(void **state)
{
    (void)state;
    as_hist_reset(&hist);
    as_hist_add(&hist, 7);
    hist.bucket[7] = UINT32_MAX - 1;
    as_hist_add(&hist, 7);
    as_hist_add(&hist, 7);
    assert_true(hist.bucket[7] == UINT32_MAX);
    as_hist_reset(&other);
    as_hist_add(&other, 7);
    as_hist_merge(&hist, &other);
    assert_true(hist.bucket[7] == UINT32_MAX);
    assert_int_equal(hist.count, 4);
    assert_int_equal(as_hist_quantile(&hist, 0.99), 7);
}

static void merging_is_adding(void **state)
{
    static struct as_hist both;
    struct as_rng rng = {29};

    (void)state;
    as_hist_reset(&hist);
    as_hist_reset(&other);
    as_hist_reset(&both);
    as_hist_merge(&hist, &other);
    assert_memory_equal(&hist, &both, sizeof(both));
    for (int i = 0; i < 1000; i++) {
        uint64_t value = as_rng_below(&rng, 100000);

        as_hist_add(i % 3 ? &hist : &other, value);
        as_hist_add(&both, value);
    }
    as_hist_merge(&hist, &other);
    assert_memory_equal(&hist, &both, sizeof(both));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_right_to_a_sixteenth),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(the_ends),
        cmocka_unit_test(buckets_saturate),
        cmocka_unit_test(merging_is_adding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
