/*
 * The agent in a random world (world.h): many seeds, every rule checked where it could be broken;
 * and the same with each allocation failing in turn.
 */
#include "world.h"

static void test_many_seeds(void **state)
{
    static struct world world;
    uint64_t ever[AS_ACK_RETRY + 1] = {0}, yes = 0, no = 0, read_only = 0;
    const char *one = getenv("ASSENT_SEED"), *many = getenv("ASSENT_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : many ? strtoull(many, NULL, 10) : 3000;

    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) {
        test_leaks_begin();
        world_open(&world, seed);
        world_run(&world, 1500);
        world_close(&world);
        test_leaks_end();
        for (size_t i = 0; i < AS_COUNT_OF(ever); i++)
            ever[i] += world.ever[i];
        yes += world.yes;
        no += world.no;
        read_only += world.read_only;
    }
    print_message("yes %llu, no %llu, read-only %llu\n", (unsigned long long)yes,
                  (unsigned long long)no, (unsigned long long)read_only);
    for (size_t i = AS_ACK_COMMITTED; i < AS_COUNT_OF(ever); i++)
        print_message("ack %zu: %llu\n", i, (unsigned long long)ever[i]);
    /* A world in which nothing happens proves nothing. */
    if (one)
        return;
    assert_true(yes > 1000 && no > 1000 && read_only > 100);
    for (size_t i = AS_ACK_COMMITTED; i < AS_COUNT_OF(ever); i++)
        assert_true(i == AS_ACK_UNVERIFIED || ever[i] > 50);
}

static void run_once(void *ctx)
{
    static struct world world;

    world_open(&world, *(const uint64_t *)ctx);
    world_run(&world, 400);
    world_close(&world);
}

static void test_each_allocation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        test_fail_each_allocation(run_once, &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_seeds),
        cmocka_unit_test(test_each_allocation),
    };

    fake_work(false);
    fake_work(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
