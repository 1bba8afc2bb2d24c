/*
 * A full disk: new work is refused in time, what must still be said has room, and it ends by
 * itself.
 */
#include "world.h"

static void fill_until_full(struct world *world)
{
    as_err err = AS_OK;

    world->disk.space = fake_used(&world->disk);
    while (!err) {
        err = world_append(world, true);
        if (err)
            break;
        world_flush(world);
        world_settle(world);
        if (world->effects.full) {
            assert_int_equal(world->traces[AS_TRACE_DISK_FULL], 1);
            err = world_append(world, true);
        }
        assert_true(world->count < 5000);
    }
    assert_int_equal(err, AS_ERR_NOSPACE);
}

static void test_votes_and_unforced_have_room(void **state)
{
    struct world world;
    size_t more = 0;

    (void)state;
    world_start(&world, 2);
    fill_until_full(&world);
    assert_true(world.effects.full || log_deadline(world.log) != AS_NEVER);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(world_vote(&world), AS_OK);
        if (world_append(&world, false) == AS_OK)
            more++;
        world_flush(&world);
        world_settle(&world);
    }
    assert_true(more > 0);
    /* When nothing fits any more everything is refused, and nothing breaks. */
    while (world_append(&world, false) == AS_OK)
        assert_true(world.count < 5000);
    assert_true(log_has_state_room(world.log));
    while (log_has_state_room(world.log)) /* what Raft needs is promised before it is given */
        assert_int_equal(world_vote(&world), AS_OK);
    while (world_vote(&world) == AS_OK)
        assert_true(world.count < 5000);
    assert_false(log_has_state_room(world.log));
    world_flush(&world);
    world_settle(&world);
    assert_int_equal(world.acked, world.count);
    assert_true(world.effects.full);
    world_timer(&world); /* the mark still has its place */
    world_settle(&world);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);

    /* Restarted on the full disk: the same again, then there is space. */
    world_flush(&world);
    world_settle(&world);
    assert_true(world.effects.full);
    assert_int_equal(world_append(&world, true), AS_ERR_NOSPACE);
    world_timer(&world);
    world_settle(&world);
    assert_true(world.effects.full);
    world.disk.space = 0;
    world_timer(&world);
    world_settle(&world);
    assert_false(world.effects.full);
    assert_true(log_has_state_room(world.log));
    assert_true(world.traces[AS_TRACE_DISK_RECOVERED] >= 1);
    world_commit(&world, 300);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

/* A snapshot without space is given up, keeps no bytes, and the next one is taken when it fits. */
static void test_snapshot_given_up(void **state)
{
    struct world world;
    uint64_t used;

    (void)state;
    world_start(&world, 3);
    world_commit(&world, 50);
    used = fake_used(&world.disk);
    world.disk.space = used + 700;
    assert_int_equal(world_snapshot_at(&world, 40), AS_OK);
    world_settle(&world);
    assert_true(world.given_up);
    assert_int_equal(world.snapshot, 0);
    assert_int_equal(fake_used(&world.disk), used);
    world.disk.space = 0;
    world_commit(&world, 1);
    assert_int_equal(world_snapshot_at(&world, 45), AS_OK);
    world_settle(&world);
    assert_int_equal(world.snapshot, 45);
    world_close(&world);
}

/* A recycled segment ends the want as well. */
static void test_snapshot_makes_space(void **state)
{
    struct world world;

    (void)state;
    world_start(&world, 4);
    while (world.traces[AS_TRACE_SEGMENT_OPENED] < 3)
        world_commit(&world, 10);
    fill_until_full(&world);
    world.disk.space = fake_used(&world.disk) + 60000; /* a snapshot fits, a segment does not */
    world_snapshot(&world);
    world_flush(&world);
    world_settle(&world);
    assert_false(world.effects.full);
    world_commit(&world, 200);
    world_crash(&world, true);
    assert_int_equal(world_open(&world), AS_OK);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_votes_and_unforced_have_room),
        cmocka_unit_test(test_snapshot_given_up),
        cmocka_unit_test(test_snapshot_makes_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
