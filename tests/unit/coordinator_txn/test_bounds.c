/*
 * What one step does has a bound: a participant with very many pending branches, or a session that
 * ends with very many votes missing, stalls nobody. And what a burst took is given back.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/txn/core.h"

#define PENDING 20000u
#define SENDS_MAX 256u

struct tally {
    size_t commits, aborts, executes, replies, proposals;
};

static struct {
    struct txn *txn;
    as_time now;
    uint64_t index;
    struct tally tally;
    struct {
        uint8_t type;
        size_t len;
        uint8_t bytes[9000];
    } * pending;
    size_t pending_count, pending_cap;
} world;

static void keep(const struct txn_effect *effect)
{
    if (world.pending_count == world.pending_cap) {
        world.pending_cap = world.pending_cap ? world.pending_cap * 2 : 1024;
        world.pending = realloc(world.pending, world.pending_cap * sizeof(*world.pending));
        assert_non_null(world.pending);
    }
    world.pending[world.pending_count].type = effect->propose.type;
    world.pending[world.pending_count].len = effect->propose.payload.len;
    assert_true(effect->propose.payload.len <= 9000);
    memcpy(world.pending[world.pending_count++].bytes, effect->propose.payload.data,
           effect->propose.payload.len);
}

/* Returns the number of effects. */
static size_t step(struct txn_event event)
{
    struct txn_effects effects;

    event.now = world.now;
    assert_int_equal(txn_step(world.txn, &event, &effects), AS_OK);
    for (size_t i = 0; i < effects.count; i++) {
        const struct txn_effect *effect = &effects.list[i];

        if (effect->kind == TXN_PROPOSE) {
            world.tally.proposals++;
            keep(effect);
        } else if (effect->kind == TXN_SEND) {
            world.tally.commits += effect->send.msg.type == AS_WIRE_COMMIT;
            world.tally.aborts += effect->send.msg.type == AS_WIRE_ABORT;
            world.tally.executes += effect->send.msg.type == AS_WIRE_EXECUTE;
        } else if (effect->kind == TXN_REPLY) {
            world.tally.replies++;
        }
    }
    return effects.count;
}

static void apply(void)
{
    for (size_t i = 0; i < world.pending_count; i++) {
        struct txn_event event = {.kind = TXN_APPLY};

        event.entry = (struct txn_entry){++world.index,
                                         1,
                                         world.now / AS_MS,
                                         world.pending[i].type,
                                         {world.pending[i].bytes, world.pending[i].len}};
        step(event);
    }
    world.pending_count = 0;
}

static void serve(uint64_t session, const char *name)
{
    struct as_wire_participant facts = {
        .up = true, .name = {(const uint8_t *)name, strlen(name)}, .counter = 1};

    step((struct txn_event){.kind = TXN_SERVE, .serve = {session, &facts}});
    apply();
}

static void submit(uint64_t client, const char *name)
{
    struct as_submit_branch branch = {.participant = {(const uint8_t *)name, strlen(name)},
                                      .work = {(const uint8_t *)"w", 1}};
    struct as_submit submit = {.branches = &branch, .branch_count = 1, .timeout_ms = 3600000};

    snprintf(submit.id, sizeof(submit.id), "t-%llu", (unsigned long long)client);
    step((struct txn_event){.kind = TXN_SUBMIT, .submit = {client, &submit}});
}

static void vote(uint64_t session, uint64_t seq)
{
    struct as_wire_vote vote = {.branch = {0, 1, {1, seq}}, .vote = AS_VOTE_YES, .xid = seq};

    step((struct txn_event){.kind = TXN_VOTE, .vote = {session, &vote}});
}

static void ack(uint64_t session, uint64_t seq)
{
    struct as_wire_ack ack = {.branch = {0, 1, {1, seq}}, .ack = AS_ACK_COMMITTED};

    step((struct txn_event){.kind = TXN_ACK, .ack = {session, &ack}});
}

static int open_world(void **state)
{
    struct txn_config config = {.seed = 1};
    struct txn_event noop = {.kind = TXN_APPLY};

    (void)state;
    memset(&world, 0, sizeof(world));
    test_leaks_begin();
    assert_int_equal(txn_new(&world.txn, &config), AS_OK);
    noop.entry = (struct txn_entry){++world.index, 1, 0, TXN_RECORD_NOOP, {NULL, 0}};
    step(noop);
    step((struct txn_event){.kind = TXN_LEAD, .term = 1});
    serve(1, "a");
    serve(2, "b");
    return 0;
}

/* Nothing is left of what is over: every object that had a timer has given its place back. */
static void check_idle(void)
{
    assert_int_equal(world.txn->drive.timers, 4 + world.txn->table.participant_count);
    assert_true(world.txn->drive.runs_free_count <= 512 &&
                world.txn->drive.waiters_free_count <= 512);
}

static int close_world(void **state)
{
    (void)state;
    txn_free(world.txn);
    free(world.pending);
    test_leaks_end();
    return 0;
}

static void test_many_pending(void **state)
{
    struct txn_counts counts;
    size_t steps = 0;

    (void)state;
    for (uint64_t i = 1; i <= PENDING; i++)
        submit(i, "a");
    for (uint64_t i = 1; i <= PENDING; i++)
        vote(1, i);
    step((struct txn_event){.kind = TXN_SESSION_DOWN, .session = 1});
    apply();
    assert_int_equal(world.tally.commits, 0);
    txn_count(world.txn, &counts);
    assert_int_equal(counts.unfinished, PENDING);
    serve(3, "a");
    while (world.tally.commits < PENDING) {
        size_t before = world.tally.commits;

        assert_true(txn_deadline(world.txn) <= world.now);
        assert_true(step((struct txn_event){.kind = TXN_TIMER}) <= SENDS_MAX);
        assert_true(world.tally.commits > before);
        steps++;
        /* Meanwhile another participant is served as ever. */
        if (steps == 10) {
            submit(PENDING + 1, "b");
            vote(2, PENDING + 1);
            apply();
            ack(2, PENDING + 1);
            assert_int_equal(world.tally.replies, 1);
        }
    }
    assert_int_equal(world.tally.commits, PENDING + 1);
    for (uint64_t i = 1; i <= PENDING; i++)
        ack(3, i);
    assert_int_equal(world.tally.replies, PENDING + 1);
    assert_true(txn_deadline(world.txn) <= world.now); /* enough for a FINISH of its own */
    world.now += AS_SECOND;
    while (txn_deadline(world.txn) <= world.now)
        step((struct txn_event){.kind = TXN_TIMER});
    /* FINISH travels in company. */
    assert_true(world.pending_count <= PENDING / 512 + 2);
    apply();
    assert_int_equal(world.tally.commits, PENDING + 1);
    txn_count(world.txn, &counts);
    assert_int_equal(counts.unfinished, 0);
    step((struct txn_event){.kind = TXN_TIMER}); /* what the last step showed is over, too */
    check_idle();
}

static void test_many_votes_lost(void **state)
{
    struct txn_counts counts;

    (void)state;
    for (uint64_t i = 1; i <= PENDING; i++)
        submit(i, "a");
    assert_true(step((struct txn_event){.kind = TXN_SESSION_DOWN, .session = 1}) <= 3 * SENDS_MAX);
    while (world.tally.replies < PENDING) {
        size_t before = world.tally.replies;

        assert_true(txn_deadline(world.txn) <= world.now);
        assert_true(step((struct txn_event){.kind = TXN_TIMER}) <= 3 * SENDS_MAX);
        assert_true(world.tally.replies > before);
    }
    txn_count(world.txn, &counts);
    assert_int_equal(counts.undecided, 0);
    assert_int_equal(counts.aborted[AS_REASON_PARTICIPANT_UNAVAILABLE], PENDING);
    assert_int_equal(world.tally.aborts, 0); /* there is nobody to tell */
}

static void test_resign_with_many(void **state)
{
    struct txn_counts counts;

    (void)state;
    for (uint64_t i = 1; i <= PENDING; i++)
        submit(i, i % 2 ? "a" : "b");
    step((struct txn_event){.kind = TXN_RESIGN});
    assert_int_equal(world.tally.replies, PENDING);
    assert_int_equal(world.tally.aborts, PENDING);
    txn_count(world.txn, &counts);
    assert_int_equal(counts.undecided, 0);
    step((struct txn_event){.kind = TXN_TIMER});
    check_idle();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_pending, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_many_votes_lost, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_resign_with_many, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
