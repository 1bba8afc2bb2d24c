/*
 * How many entries a second go through three cores in one thread, 256 in flight, with all messages
 * encoded and decoded and every disk a turn of the loop away. Prints a figure and asserts only that
 * all of them came through: it is there to be looked at when something changes.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/raft/raft.h"

#define NODES 3
#define IN_FLIGHT 256
#define PAYLOAD 150
#define QUEUE 4096

struct node {
    struct raft *raft;
    uint64_t writes, synced, committed, term;
    bool leads, ready;
};

struct packet {
    uint64_t from, to;
    struct as_buf bytes;
};

static struct node nodes[NODES];
static struct packet queue[QUEUE];
static uint32_t queue_head, queue_count;
static as_time now;
static uint64_t messages, steps;

static void post(uint64_t from, uint64_t to, const struct raft_message *message)
{
    struct packet *packet = &queue[(queue_head + queue_count++) % QUEUE];

    assert_true(queue_count <= QUEUE);
    packet->from = from;
    packet->to = to;
    packet->bytes.max = RAFT_MESSAGE_BYTES_MAX;
    as_buf_clear(&packet->bytes);
    raft_message_put(&packet->bytes, message);
    assert_int_equal(packet->bytes.err, AS_OK);
    messages++;
}

static void step(struct node *node, struct raft_event event)
{
    struct raft_effects effects;

    event.now = now;
    steps++;
    assert_int_equal(raft_step(node->raft, &event, &effects), AS_OK);
    for (size_t i = 0; i < effects.count; i++) {
        const struct raft_effect *effect = &effects.list[i];

        switch (effect->kind) {
        case RAFT_SEND:
            post((uint64_t)(node - nodes) + 1, effect->send.to, &effect->send.message);
            break;
        case RAFT_WRITE_VOTE:
            node->writes = effect->vote.write;
            break;
        case RAFT_WRITE_ENTRIES:
            node->writes = effect->entries.write + effect->entries.count - 1;
            break;
        case RAFT_COMMITTED:
            node->committed = effect->committed.last;
            break;
        case RAFT_ROLE_CHANGED:
            node->leads = effect->role.role == RAFT_LEADER;
            node->term = effect->role.term;
            break;
        default:
            break;
        }
    }
}

static void deliver_all(void)
{
    for (uint32_t n = queue_count; n > 0; n--) {
        struct packet *packet = &queue[queue_head % QUEUE];
        struct raft_message message;
        struct raft_event event = {.kind = RAFT_MESSAGE};

        assert_int_equal(raft_message_take(as_buf_bytes(&packet->bytes), &message), AS_OK);
        event.message.from = packet->from;
        event.message.message = &message;
        queue_head++;
        queue_count--;
        step(&nodes[packet->to - 1], event);
    }
}

static void snapshot_if_due(struct node *node)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_TAKEN};
    struct raft_status status;
    struct raft_entry entry;

    raft_look(node->raft, &status);
    if (status.tail_bytes < (64u << 20))
        return;
    event.snapshot.index =
        node->committed < status.durable_index ? node->committed : status.durable_index;
    assert_int_equal(raft_entry(node->raft, event.snapshot.index, &entry), AS_OK);
    event.snapshot.term = entry.term;
    step(node, event);
}

static void turn(void)
{
    now += 100 * AS_US;
    deliver_all();
    for (int i = 0; i < NODES; i++) {
        struct node *node = &nodes[i];

        if (node->synced < node->writes)
            step(node, (struct raft_event){.kind = RAFT_PERSISTED, .write = node->writes});
        node->synced = node->writes;
        if (raft_deadline(node->raft) <= now)
            step(node, (struct raft_event){.kind = RAFT_TIMER});
        step(node, (struct raft_event){.kind = RAFT_FLUSH});
        snapshot_if_due(node);
    }
}

static struct node *leader(void)
{
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].leads && nodes[i].committed > 0)
            return &nodes[i];
    }
    return NULL;
}

static double seconds(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void test_speed(void **state)
{
    const char *many = getenv("ASSENT_ENTRIES");
    uint64_t wanted = many ? strtoull(many, NULL, 10) : 100000, done = 0, proposed = 0;
    uint8_t payload[PAYLOAD] = {1};
    struct raft_config config = {.members = {.count = NODES}};
    double began;

    (void)state;
    for (uint32_t i = 0; i < NODES; i++)
        config.members.list[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
    for (uint32_t i = 0; i < NODES; i++) {
        config.id = config.seed = i + 1;
        assert_int_equal(raft_new(&nodes[i].raft, &config), AS_OK);
        step(&nodes[i], (struct raft_event){.kind = RAFT_START});
    }
    while (!leader())
        turn();
    began = seconds();
    messages = steps = 0;
    proposed = done = leader()->committed;
    wanted += done;
    while (done < wanted) {
        struct node *node = leader();

        for (; proposed < done + IN_FLIGHT; proposed++)
            step(node, (struct raft_event){.kind = RAFT_PROPOSE,
                                           .propose = {node->term, 2, {payload, sizeof(payload)}}});
        turn();
        assert_ptr_equal(leader(), node);
        done = node->committed;
    }
    began = seconds() - began;
    print_message("%llu entries in %.3f s: %.0f a second, %.2f messages and %.2f steps for each\n",
                  (unsigned long long)wanted, began, (double)wanted / began,
                  (double)messages / (double)wanted, (double)steps / (double)wanted);
    for (int i = 0; i < NODES; i++)
        raft_free(nodes[i].raft);
    for (int i = 0; i < QUEUE; i++)
        as_buf_close(&queue[i].bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speed),
    };

    return cmocka_run_group_tests_name("speed", tests, NULL, NULL);
}
