/*
 * How long until the next commit after the leader dies, with the default settings: in virtual time,
 * over a network of 0.1 to 0.5 ms and disks that sync in 1 to 5 ms. Once with the closed connection
 * as a hint, once cut off without a word.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "coordinator/raft/raft.h"

#define NODES 3
#define TRIES 400
#define EVENTS_MAX 512

enum what { MESSAGE, SYNCED, LINK_DOWN };

struct happening {
    as_time at;
    enum what what;
    uint64_t node, from, write;
    struct as_buf bytes;
};

struct node {
    struct raft *raft;
    uint64_t writes, asked; /* given out; told to the disk */
    as_time disk_free_at;
    bool dead;
};

static struct as_rng rng = {1};
static struct node nodes[NODES];
static struct happening events[EVENTS_MAX];
static uint32_t event_count;
static as_time now, committed_at;
static uint64_t new_leader;

static as_time between(as_time low, as_time high)
{
    return low + (as_time)as_rng_below(&rng, (uint64_t)(high - low));
}

static struct happening *plan(as_time at, enum what what, uint64_t node)
{
    struct happening *event = &events[event_count++];

    assert_true(event_count < EVENTS_MAX);
    *event = (struct happening){.at = at, .what = what, .node = node};
    return event;
}

static void step(uint64_t id, struct raft_event event)
{
    struct node *node = &nodes[id - 1];
    struct raft_effects effects;

    if (node->dead)
        return;
    event.now = now;
    assert_int_equal(raft_step(node->raft, &event, &effects), AS_OK);
    for (size_t i = 0; i < effects.count; i++) {
        const struct raft_effect *effect = &effects.list[i];

        if (effect->kind == RAFT_SEND) {
            struct happening *packet =
                plan(now + between(100 * AS_US, 500 * AS_US), MESSAGE, effect->send.to);

            packet->from = id;
            as_buf_init(&packet->bytes, RAFT_MESSAGE_BYTES_MAX);
            raft_message_put(&packet->bytes, &effect->send.message);
        } else if (effect->kind == RAFT_WRITE_VOTE) {
            node->writes = effect->vote.write;
        } else if (effect->kind == RAFT_WRITE_ENTRIES) {
            node->writes = effect->entries.write + effect->entries.count - 1;
        } else if (effect->kind == RAFT_WRITE_TRUNCATE) {
            node->writes = effect->truncate.write;
        } else if (effect->kind == RAFT_COMMITTED) {
            struct raft_status status;

            raft_look(node->raft, &status);
            if (status.ready) {
                committed_at = now;
                new_leader = id;
            }
        }
    }
}

/* The end of a turn: one sync at a time. */
static void turn_end(uint64_t id)
{
    struct node *node = &nodes[id - 1];

    step(id, (struct raft_event){.kind = RAFT_FLUSH});
    if (node->writes > node->asked && node->disk_free_at <= now) {
        node->disk_free_at = now + between(AS_MS, 5 * AS_MS);
        node->asked = node->writes;
        plan(node->disk_free_at, SYNCED, id)->write = node->writes;
    }
}

static void happen(const struct happening *event)
{
    struct raft_event step_of = {.kind = RAFT_MESSAGE};
    struct raft_message message;

    switch (event->what) {
    case MESSAGE:
        assert_int_equal(raft_message_take(as_buf_bytes(&event->bytes), &message), AS_OK);
        step_of.message.from = event->from;
        step_of.message.message = &message;
        break;
    case SYNCED:
        step_of.kind = RAFT_PERSISTED;
        step_of.write = event->write;
        break;
    case LINK_DOWN:
        step_of.kind = RAFT_PEER_DOWN;
        step_of.peer = event->from;
        break;
    }
    step(event->node, step_of);
    turn_end(event->node);
}

/* The next thing in time: an event or a timer. */
static void go_on(void)
{
    uint32_t first = 0;
    uint64_t timer = 0;

    for (uint32_t i = 1; i < event_count; i++)
        first = events[i].at < events[first].at ? i : first;
    for (uint64_t id = 1; id <= NODES; id++) {
        as_time at = nodes[id - 1].dead ? AS_NEVER : raft_deadline(nodes[id - 1].raft);

        if (at < (timer ? raft_deadline(nodes[timer - 1].raft)
                        : (event_count ? events[first].at : AS_NEVER)))
            timer = id;
    }
    if (timer) {
        now = raft_deadline(nodes[timer - 1].raft);
        step(timer, (struct raft_event){.kind = RAFT_TIMER});
        turn_end(timer);
        return;
    }
    assert_true(event_count > 0);
    struct happening event = events[first];

    events[first] = events[--event_count];
    now = event.at > now ? event.at : now;
    happen(&event);
    as_buf_close(&event.bytes);
}

/* From the leader's death to the next commit of another one. */
static as_time fail_over(bool hint, uint64_t seed)
{
    struct raft_config config = {.members = {.count = NODES}};
    uint64_t leader;
    as_time died;

    rng.state = seed;
    memset(nodes, 0, sizeof(nodes));
    now = AS_SECOND;
    committed_at = 0;
    for (uint32_t i = 0; i < NODES; i++)
        config.members.list[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
    for (uint64_t id = 1; id <= NODES; id++) {
        config.id = id;
        config.seed = as_rng_next(&rng);
        assert_int_equal(raft_new(&nodes[id - 1].raft, &config), AS_OK);
        step(id, (struct raft_event){.kind = RAFT_START});
    }
    while (!committed_at)
        go_on();
    for (died = now + between(500 * AS_MS, AS_SECOND); now < died;)
        go_on();
    leader = new_leader;
    nodes[leader - 1].dead = true;
    died = now;
    for (uint64_t id = 1; hint && id <= NODES; id++) {
        if (id != leader)
            plan(now + between(50 * AS_US, AS_MS), LINK_DOWN, id)->from = leader;
    }
    while (committed_at < died || new_leader == leader)
        go_on();
    while (event_count > 0)
        as_buf_close(&events[--event_count].bytes);
    for (int i = 0; i < NODES; i++)
        raft_free(nodes[i].raft);
    return committed_at - died;
}

static int by_time(const void *a, const void *b)
{
    as_time x = *(const as_time *)a, y = *(const as_time *)b;

    return (x > y) - (x < y);
}

static void measure(const char *name, bool hint, as_time median, as_time worst)
{
    static as_time took[TRIES];

    for (int i = 0; i < TRIES; i++)
        took[i] = fail_over(hint, (uint64_t)i + 1);
    qsort(took, TRIES, sizeof(took[0]), by_time);
    print_message("%s: median %.1f ms, worst %.1f ms\n", name, (double)took[TRIES / 2] / AS_MS,
                  (double)took[TRIES - 1] / AS_MS);
    assert_true(took[TRIES / 2] <= median && took[TRIES - 1] <= worst);
}

static void test_closed(void **state)
{
    (void)state;
    measure("closed connection", true, 60 * AS_MS, 800 * AS_MS);
}

static void test_cut_off(void **state)
{
    (void)state;
    measure("cut off", false, 400 * AS_MS, 2 * AS_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_cut_off),
    };

    return cmocka_run_group_tests_name("failover", tests, NULL, NULL);
}
