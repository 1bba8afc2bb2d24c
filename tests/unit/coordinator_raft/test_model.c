/*
 * Random lives of a cluster: three to seven nodes whose messages are lost, doubled and reordered,
 * whose links are cut, whose disks lose any part of what was not synced, which take and send
 * snapshots, change members, are wiped, hand leadership over. The oracle of world.h judges every
 * effect. In the end everything heals, and the cluster must commit again, on every member.
 *
 * ASSENT_SEEDS=<count> runs so many, ASSENT_SEED=<n> that one; both: so many from there on.
 * ASSENT_PRINT=1 names each seed before it runs, for one that ends the process.
 */
#include "world.h"

#define STEPS 3000
#define HEAL_STEPS 60000

static struct node *any_node(bool alive)
{
    for (int tries = 0; tries < 20; tries++) {
        struct node *node = &world.nodes[below(NODES)];

        if (node->id && (node->raft != NULL) == alive)
            return node;
    }
    return NULL;
}

static struct node *ready_leader(void)
{
    struct node *best = NULL;
    uint64_t term = 0;

    for (int i = 0; i < NODES; i++) {
        struct raft_status status;

        if (!world.nodes[i].raft)
            continue;
        raft_look(world.nodes[i].raft, &status);
        if (status.ready && status.term > term) {
            best = &world.nodes[i];
            term = status.term;
        }
    }
    return best;
}

static void draw_rates(void)
{
    struct rates *rates = &world.rates;

    *rates = (struct rates){
        .lose = chance(50) ? (unsigned)below(25) : 0,
        .late = chance(40) ? (unsigned)below(15) : 0,
        .twice = chance(50) ? (unsigned)below(20) : 0,
        .crash = chance(60) ? (unsigned)below(5) : 0,
        .cut = chance(50) ? (unsigned)below(4) : 0,
        .refuse = chance(25) ? (unsigned)below(20) : 0,
        .disturb = chance(50) ? (unsigned)below(4) : 0,
        .snapshot = chance(70) ? (unsigned)below(10) : 0,
        .member = chance(60) ? (unsigned)below(6) : 0,
        .read = (unsigned)below(20),
        .propose = 1 + (unsigned)below(40),
        .pace = (as_time)(50 + below(3000)) * AS_US,
        .deliver = 1 + (unsigned)below(8),
        .sync = 5 + (unsigned)below(90),
        .small = chance(50),
    };
    /* Leaders come and go before they commit: logs diverge (figure 8). */
    if (chance(50)) {
        rates->storm = 1 + (unsigned)below(12);
        rates->sync = 5 + (unsigned)below(30);
        rates->deliver = 2 + (unsigned)below(8);
        rates->pace = (as_time)(1000 + below(12000)) * AS_US;
        rates->propose = 30;
        rates->tiny = chance(60);
        rates->starve = (unsigned)below(90);
        if (chance(50)) /* nothing else: more of it */
            rates->member = rates->snapshot = rates->read = rates->refuse = rates->twice = 0;
        else if (chance(30))
            rates->member = 40;
    }
    world.founders = chance(50) ? 3 : 5;
}

static uint32_t voters(const struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++)
        count += members->list[i].role == RAFT_VOTER;
    return count;
}

/* --- What may happen --- */

static void propose(struct node *node)
{
    uint8_t bytes[400];
    struct raft_event event = {.kind = RAFT_PROPOSE};
    struct raft_status status;

    raft_look(node->raft, &status);
    if (status.role != RAFT_LEADER || status.last_index + 50 > INDEX_MAX)
        return;
    world.next_payload++;
    memset(bytes, (int)world.next_payload, sizeof(bytes));
    memcpy(bytes, &world.next_payload, sizeof(world.next_payload));
    event.propose.term = status.term;
    event.propose.type = 2;
    event.propose.payload = (struct as_bytes){bytes, 8 + below(world.rates.small ? 30 : 390)};
    step(node, event);
}

static void ask_read(struct node *node)
{
    struct raft_event event = {.kind = RAFT_READ_INDEX, .request = world.read_count};

    if (world.read_count == READS_MAX)
        return;
    world.reads[world.read_count++] = world.commit_max;
    step(node, event);
}

static void change_member(struct node *node)
{
    struct raft_event event = {.kind = RAFT_MEMBER};
    const struct raft_members *members = raft_members(node->raft);
    const struct node *other;

    if (members->count == 0)
        return;
    switch (below(5)) {
    case 0:
        if (world.next_id + 1 >= NODES * 4 || members->count >= 5)
            return;
        event.member.id = world.next_id + 1;
        event.member.address = "somewhere";
        if (!new_node(false))
            return;
        break;
    case 1:
        event.member.change = RAFT_MEMBER_REMOVE;
        event.member.id = members->list[below(members->count)].id;
        other = node_of(event.member.id);
        if (voters(node) < 4 && (!other || !other->wiped))
            return; /* three, so that one may be wiped */
        break;
    default:
        event.member.change = RAFT_MEMBER_PROMOTE;
        event.member.id = members->list[below(members->count)].id;
    }
    if (node->raft)
        step(node, event);
    world.changes++;
}

/* A leader, if one is met: the others refuse. */
static struct node *some_leader(void)
{
    struct node *node = any_node(true);
    struct raft_status status;

    for (int tries = 0; node && tries < 8; tries++) {
        raft_look(node->raft, &status);
        if (status.role == RAFT_LEADER)
            return node;
        node = any_node(true);
    }
    return node;
}

/* One that nobody counts any more goes; its place is free for a new one. */
static void bury(struct node *node)
{
    struct node *leader = ready_leader();

    if (!leader || leader == node || raft_member_find(raft_members(leader->raft), node->id))
        return;
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].raft && raft_member_find(raft_members(world.nodes[i].raft), node->id))
            return;
    }
    crash(node);
    node->id = 0;
    node->wiped = false;
}

/* Its disk is replaced: it comes back under its old id, which it must not. At most one at a time:
 * more than a minority of lost disks is more than Raft promises to bear. */
static void wipe(struct node *node)
{
    for (int i = 0; i < NODES; i++) {
        const struct node *other = &world.nodes[i];
        const struct raft_member *member;

        if (!other->id)
            continue;
        if (other->wiped || !other->raft || voters(other) < 3)
            return;
        member = raft_member_find(raft_members(other->raft), node->id);
        if (!member || member->role != RAFT_VOTER)
            return;
    }
    crash(node);
    memset(&node->disk, 0, sizeof(node->disk));
    node->wiped = true;
    node->bootstrapped = false;
}

static void cut_links(void)
{
    bool apart = chance(50);
    struct node *node = &world.nodes[below(NODES)];

    for (int i = 0; i < NODES; i++) {
        for (int k = 0; k < NODES; k++) {
            if (apart && (&world.nodes[i] == node) != (&world.nodes[k] == node))
                world.cut[i][k] = true;
            else if (!apart)
                world.cut[i][k] = chance(30);
        }
    }
}

static void drop_link(void)
{
    struct node *a = any_node(true), *b = any_node(true);

    if (!a || !b || a == b)
        return;
    step(a, (struct raft_event){.kind = RAFT_PEER_DOWN, .peer = b->id});
    if (b->raft)
        step(b, (struct raft_event){.kind = RAFT_PEER_DOWN, .peer = a->id});
    if (a->raft && chance(50))
        step(a, (struct raft_event){.kind = RAFT_PEER_UP, .peer = b->id});
}

/* Whoever leads is cut off, dies, or must hand over: just then. */
static void storm(void)
{
    struct raft_status status;
    struct node *node = any_node(true);

    if (!node)
        return;
    raft_look(node->raft, &status);
    if (status.role != RAFT_LEADER || (status.ready && chance(50)))
        return;
    memset(world.cut, 0, sizeof(world.cut));
    for (int i = 0; i < NODES; i++)
        world.cut[i][node - world.nodes] = chance(70); /* it does not hear */
    if (chance(50)) {
        for (int i = 0; i < NODES; i++)
            world.cut[node - world.nodes][i] = chance(60);
    }
    if (chance(30)) {
        crash(node);
        return;
    }
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].raft && chance(50))
            step(&world.nodes[i], (struct raft_event){.kind = RAFT_PEER_DOWN, .peer = status.id});
    }
}

static void disturb(void)
{
    struct node *node = any_node(true);
    struct node *leader = some_leader();

    if (chance(world.rates.storm))
        storm();
    if (chance(world.rates.cut))
        cut_links();
    if (chance(4 + world.rates.cut))
        memset(world.cut, 0, sizeof(world.cut));
    if (chance(world.rates.disturb))
        drop_link();
    if (!node || !node->raft)
        return;
    if (leader && leader->raft && chance(world.rates.member) && world.commit_max > 0)
        change_member(leader);
    if (node->raft && chance(world.rates.snapshot))
        take_snapshot(node);
    if (node->raft && chance(world.rates.disturb))
        step(node, (struct raft_event){.kind = RAFT_TRANSFER,
                                       .peer = chance(50) ? 0 : 1 + below(world.next_id)});
    if (node->raft && world.rates.crash && below(1000) < world.rates.crash)
        crash(node);
    if (world.rates.crash && world.rates.member && below(3000) == 0)
        wipe(node);
    bury(&world.nodes[below(NODES)]);
}

/* --- What goes on by itself --- */

/* As a node does: the tail is bounded by it. */
static void snapshot_if_due(struct node *node)
{
    struct raft_status status;

    raft_look(node->raft, &status);
    if (status.tail_bytes > (world.rates.small ? 4000 : 40000) && chance(20))
        take_snapshot(node);
}

static void work_of(struct node *node)
{
    if (node->raft)
        snapshot_if_due(node);
    if (node->raft && raft_deadline(node->raft) <= world.now)
        step(node, EVENT(RAFT_TIMER));
    if (node->raft && node->reading_count > 0 && chance(50))
        answer_read(node);
    if (node->raft && node->storing && chance(50))
        finish_store(node);
    if (node->raft && node->pending_count > 0 && chance(world.rates.sync))
        sync_and_tell(node, 1 + (uint32_t)below(node->pending_count));
    if (node->raft && node->flush && chance(70)) {
        node->flush = false;
        step(node, EVENT(RAFT_FLUSH));
    }
}

static void go_on(void)
{
    world.now += (as_time)below((uint64_t)world.rates.pace);
    for (unsigned i = 0; i < world.rates.deliver && world.packet_count > 0; i++)
        deliver((uint32_t)(chance(world.rates.late ? 10 : 70) ? 0 : below(world.packet_count)));
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].id)
            work_of(&world.nodes[i]);
    }
}

static void run_wild(void)
{
    for (int i = 0; i < STEPS && world.commit_max + 100 < INDEX_MAX; i++) {
        struct node *node = any_node(true);

        go_on();
        disturb();
        if (node && node->raft && chance(world.rates.propose))
            propose(node);
        if (node && node->raft && chance(world.rates.read))
            ask_read(node);
        node = any_node(false);
        if (node && chance(world.rates.storm ? 20 : 5))
            start(node);
    }
}

/* --- The end: everything heals --- */

static bool all_have(uint64_t index)
{
    struct node *leader = ready_leader();
    const struct raft_members *members;

    if (!leader)
        return false;
    members = raft_members(leader->raft);
    for (uint32_t i = 0; i < members->count; i++) {
        const struct node *node = node_of(members->list[i].id);

        if (node && !node->wiped && node->applied < index)
            return false;
    }
    return leader->applied >= index;
}

static void print_nodes(void)
{
    for (int i = 0; i < NODES; i++) {
        const struct node *node = &world.nodes[i];
        struct raft_status status = {0};

        if (node->raft)
            raft_look(node->raft, &status);
        print_message(
            "node %llu%s: role %d term %llu leader %llu last %llu/%llu durable %llu "
            "commit %llu applied %llu first %llu snapshot %llu receiving %llu members",
            (unsigned long long)node->id, node->wiped ? " wiped" : "", status.role,
            (unsigned long long)status.term, (unsigned long long)status.leader,
            (unsigned long long)status.last_index, (unsigned long long)status.last_term,
            (unsigned long long)status.durable_index, (unsigned long long)status.commit_index,
            (unsigned long long)node->applied, (unsigned long long)status.first_index,
            (unsigned long long)status.snapshot_index, (unsigned long long)status.receiving_index);
        for (uint32_t k = 0; node->raft && k < raft_members(node->raft)->count; k++)
            print_message(" %llu%s", (unsigned long long)raft_members(node->raft)->list[k].id,
                          raft_members(node->raft)->list[k].role == RAFT_VOTER ? "v" : "");
        print_message("\n");
    }
}

static void run_until(bool (*done)(uint64_t), uint64_t index, const char *what)
{
    for (int i = 0; i < HEAL_STEPS; i++) {
        if (done(index))
            return;
        go_on();
    }
    print_nodes();
    fail_msg("ASSENT_SEED=%llu: after healing: %s", (unsigned long long)world.seed, what);
}

static bool has_leader(uint64_t unused)
{
    (void)unused;
    return ready_leader() != NULL;
}

static void heal(void)
{
    uint64_t before;

    world.healing = true;
    world.rates.pace = 2 * AS_MS;
    world.rates.deliver = 20;
    world.rates.sync = 90;
    memset(world.cut, 0, sizeof(world.cut));
    for (int i = 0; i < NODES; i++) {
        if (world.nodes[i].id && !world.nodes[i].raft)
            start(&world.nodes[i]);
    }
    run_until(has_leader, 0, "no leader");
    before = world.commit_max;
    for (int i = 0; i < 200 && world.commit_max == before; i++) {
        struct node *leader = ready_leader();

        if (leader) {
            propose(leader);
            ask_read(leader);
        }
        for (int k = 0; k < 50; k++)
            go_on();
    }
    if (world.commit_max == before)
        print_nodes();
    CHECK(world.commit_max > before);
    run_until(all_have, world.commit_max, "somebody lacks what is committed");
    for (int i = 0; i < 1000; i++)
        go_on();
    CHECK(world.reads_answered + world.reads_refused > 0 || world.read_count == 0);
}

/* --- Seeds --- */

static void run_seed(uint64_t seed)
{
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    world.rng.state = seed * 0x9e3779b97f4a7c15u + 1;
    draw_rates();
    for (int i = 0; i < world.founders; i++)
        new_node(true);
    run_wild();
    heal();
    for (int i = 0; i < NODES; i++)
        raft_free(world.nodes[i].raft);
    while (world.packet_count > 0) {
        struct packet *packet = &world.packets[--world.packet_count];

        as_buf_close(&(struct as_buf){.data = packet->bytes, .cap = packet->len});
    }
    while (world.all) {
        struct kept *kept = world.all;

        world.all = kept->older;
        free(kept);
    }
}

static struct {
    uint64_t elections, installs, truncations, commits, reads, changes, emptied;
} sum;

static void test_seeds(void **state)
{
    const char *one = getenv("ASSENT_SEED"), *many = getenv("ASSENT_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t count = many ? strtoull(many, NULL, 10) : one ? 1 : 1500;

    (void)state;
    test_leaks_begin();
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("ASSENT_PRINT"))
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
        sum.elections += world.elections;
        sum.installs += world.installs;
        sum.truncations += world.truncations;
        sum.commits += world.commit_max;
        sum.reads += world.reads_answered;
        sum.changes += world.changes;
        sum.emptied += world.emptied;
    }
    test_leaks_end();
    printf("%llu seeds: %llu elections, %llu commits, %llu truncations, %llu snapshots installed, "
           "%llu reads, %llu changes of members, %llu refusals of a wiped node\n",
           (unsigned long long)count, (unsigned long long)sum.elections,
           (unsigned long long)sum.commits, (unsigned long long)sum.truncations,
           (unsigned long long)sum.installs, (unsigned long long)sum.reads,
           (unsigned long long)sum.changes, (unsigned long long)sum.emptied);
    if (count < 300)
        return;
    assert_true(sum.truncations > 10 && sum.installs > 10 && sum.reads > 1000 && sum.emptied > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
    };

    return cmocka_run_group_tests_name("random lives of a cluster", tests, NULL, NULL);
}
