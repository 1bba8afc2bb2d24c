/*
 * How often somebody may ask.
 */
#include "tests/support/support.h"

#include "coordinator/api/rate.h"

#define MS 1000000u
#define SECOND (1000 * MS)

/* How many of `count` requests at one time are let through. */
static unsigned burst(struct rate *rate, uint64_t now, unsigned count)
{
    unsigned taken = 0;

    while (count--)
        taken += rate_take(rate, now) == 0;
    return taken;
}

static void without_a_rate_there_is_no_limit(void **state)
{
    struct rate rate = {.per_s = 0};

    (void)state;
    assert_int_equal(burst(&rate, 5, 100000), 100000);
}

static void a_second_holds_as_many_as_the_rate(void **state)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 200, 999, 1000000};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rates); i++) {
        struct rate rate = {.per_s = rates[i]};
        uint64_t now = 17 * SECOND;

        /* Full at first, then empty; half full after half a second, and never more than full. */
        assert_int_equal(burst(&rate, now, 2 * rates[i]), rates[i]);
        assert_int_equal(burst(&rate, now + SECOND / 2, 2 * rates[i]), rates[i] / 2);
        assert_int_equal(burst(&rate, now + 100ull * SECOND, 2 * rates[i]), rates[i]);
    }
}

static void who_waits_as_told_is_let_through(void **state)
{
    struct rate rate = {.per_s = 4};
    uint64_t now = 3, wait;

    (void)state;
    assert_int_equal(burst(&rate, now, 4), 4);
    wait = rate_take(&rate, now);
    assert_int_equal(wait, SECOND / 4);
    assert_int_equal(rate_take(&rate, now + wait - 1), 1); /* being refused costs nothing */
    assert_int_equal(rate_take(&rate, now + wait), 0);
    assert_true(rate_take(&rate, now + wait) > 0);
}

/* Over a long time, whatever the requests do: the rate, and one second's burst. */
static void the_rate_is_kept(void **state)
{
    struct rate rate = {.per_s = 30};
    unsigned taken = 0;

    (void)state;
    for (uint64_t now = 0; now < 100ull * SECOND; now += MS)
        taken += rate_take(&rate, now) == 0;
    assert_in_range(taken, 100 * 30, 101 * 30 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_there_is_no_limit),
        cmocka_unit_test(a_second_holds_as_many_as_the_rate),
        cmocka_unit_test(who_waits_as_told_is_let_through),
        cmocka_unit_test(the_rate_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
