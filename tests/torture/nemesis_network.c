/*
 * The network is cut, loses packets, becomes narrow, slow or disorderly. All of it is in the places' own namespaces.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

/* --- What this machine has: tried in the runner's own namespace --- */

static bool tried(const struct world *world, const char *command, const char *what, char *ret_why,
                  size_t size)
{
    if (world_run(world, "%s", command))
        return true;
    (void)snprintf(ret_why, size, "this machine has no %s", what);
    return false;
}

static bool filters_usable(const struct world *world, char *ret_why, size_t size)
{
    return tried(world, "iptables -A INPUT -s 10.78.0.1 -j DROP && iptables -F INPUT", "iptables",
                 ret_why, size);
}

static bool loss_usable(const struct world *world, char *ret_why, size_t size)
{
    return tried(
        world,
        "iptables -A INPUT -s 10.78.0.1 -m statistic --mode random --probability 0.3 -j DROP"
        " && iptables -F INPUT",
        "statistic match of iptables", ret_why, size);
}

static bool queue_usable(const struct world *world, char *ret_why, size_t size)
{
    return tried(world,
                 "iptables -A INPUT -s 10.78.0.1 -j NFQUEUE --queue-num 1 && iptables -F INPUT",
                 "NFQUEUE of iptables", ret_why, size);
}

static bool narrow_usable(const struct world *world, char *ret_why, size_t size)
{
    return tried(world,
                 "tc qdisc add dev lo root tbf rate 100kbit burst 4kb latency 500ms &&"
                 " tc qdisc del dev lo root",
                 "tbf of tc", ret_why, size);
}

/* What a strike has put where. */
struct cut {
    struct place *places[WORLD_PLACES_MAX];
    struct rules *rules[WORLD_PLACES_MAX]; /* one each */
    size_t count;
};

static struct cut *cut_new(struct strike *strike)
{
    struct cut *cut = calloc(1, sizeof(*cut));

    AS_ASSERT(cut);
    strike->own = cut;
    return cut;
}

/* Rules for one more place, to be filled and put. */
static struct rules *cut_add(struct cut *cut, struct place *place)
{
    struct rules *rules = calloc(1, sizeof(*rules));

    AS_ASSERT(rules);
    rules_init(rules);
    cut->places[cut->count] = place;
    cut->rules[cut->count++] = rules;
    return rules;
}

static enum strike_result cut_make(struct world *world, const struct cut *cut)
{
    for (size_t i = 0; i < cut->count; i++)
        if (!rules_put(world, cut->places[i], cut->rules[i]))
            return STRIKE_FAILED;
    return STRIKE_DONE;
}

static bool cut_heal(struct world *world, struct strike *strike)
{
    struct cut *cut = strike->own;
    bool well = true;

    for (size_t i = 0; cut && i < cut->count; i++) { /* NULL: nobody led, nothing was struck */
        well = rules_take_away(world, cut->places[i], cut->rules[i]) && well;
        free(cut->rules[i]);
    }
    free(cut);
    return well;
}

static void say_more(struct strike *strike, const char *word, const char *separator)
{
    size_t len = strlen(strike->what);

    (void)snprintf(strike->what + len, sizeof(strike->what) - len, "%s%s", separator, word);
}

/* Places of nodes, agents and those servers that serve now, by number. */
#define INHABITED (WORLD_NODES + 2 * WORLD_DATABASES)

static struct place *inhabited(struct world *world, uint64_t number)
{
    return world_process(world, (size_t)(number % INHABITED))->place;
}

static struct place *draw_place(struct world *world, struct strike *strike)
{
    return inhabited(world, as_rng_below(strike->rng, INHABITED));
}

/* --- Partitions --- */

/* No place of one side hears one of the other side. */
static enum strike_result sides_cut(struct world *world, struct strike *strike, uint32_t side)
{
    struct cut *cut = cut_new(strike);

    for (size_t i = 0; i < world->place_count; i++) {
        struct rules *rules = cut_add(cut, &world->places[i]);

        for (size_t j = 0; j < world->place_count; j++)
            if ((side >> i & 1) != (side >> j & 1))
                rules_add(rules, true, "-s %s -j DROP", world->places[j].ip);
    }
    return cut_make(world, cut);
}

static enum strike_result partition_strike(struct world *world, struct strike *strike)
{
    uint32_t nodes = 1 + (uint32_t)as_rng_below(strike->rng, (1u << WORLD_NODES) - 2);
    uint32_t side = (uint32_t)as_rng_next(strike->rng);

    side = (side & ~((1u << WORLD_NODES) - 1)) | nodes; /* never all nodes on one side */
    say_more(strike, "one side:", "");
    for (size_t i = 0; i < INHABITED; i++) {
        const struct place *place = inhabited(world, i);

        if (side >> (place - world->places) & 1)
            say_more(strike, place->name, " ");
    }
    return sides_cut(world, strike, side);
}

const struct nemesis nemesis_partition = {
    .name = "partition",
    .about = "two halves, of nodes, agents, servers and clients, hear nothing of each other",
    .usable = filters_usable,
    .strike = partition_strike,
    .heal = cut_heal,
};

static enum strike_result isolate_strike(struct world *world, struct strike *strike)
{
    int leader = world_leader(world);
    struct place *place;
    struct rules *rules;
    struct cut *cut;

    if (leader < 0)
        return STRIKE_NOTHING;
    place = world->nodes[leader].process.place;
    say_more(strike, place->name, "");
    if (as_rng_below(strike->rng, 2))
        return sides_cut(world, strike, 1u << (place - world->places));
    say_more(strike, "from the other nodes only", " ");
    cut = cut_new(strike);
    rules = cut_add(cut, place);
    for (int i = 0; i < WORLD_NODES; i++)
        if (i != leader) {
            rules_add(rules, true, "-s %s -j DROP", world->nodes[i].process.place->ip);
            rules_add(rules, false, "-d %s -j DROP", world->nodes[i].process.place->ip);
        }
    return cut_make(world, cut);
}

const struct nemesis nemesis_isolate = {
    .name = "isolate-leader",
    .about = "the node that leads is cut off from all, or from the other nodes",
    .usable = filters_usable,
    .strike = isolate_strike,
    .heal = cut_heal,
};

/* Nodes speak with nodes and agents, an agent with nodes and its server. */
static bool they_talk(const struct world *world, const struct place *one, const struct place *other)
{
    const struct place *node = world->nodes[WORLD_NODES - 1].process.place; /* the last node's */

    for (int i = 0; i < WORLD_DATABASES; i++) {
        const struct place *server = world->databases[i].server.place;
        const struct place *agent = world->databases[i].agent.place;

        if (one == server || other == server)
            return one == agent || other == agent;
    }
    return one != other && (one <= node || other <= node);
}

static enum strike_result one_way_strike(struct world *world, struct strike *strike)
{
    struct place *deaf = draw_place(world, strike), *unheard;
    struct cut *cut;
    struct rules *rules;

    do
        unheard = draw_place(world, strike);
    while (!they_talk(world, deaf, unheard));
    cut = cut_new(strike);
    rules = cut_add(cut, deaf);
    say_more(strike, deaf->name, "");
    if (as_rng_below(strike->rng, 2)) {
        rules_add(rules, true, "-j DROP");
        say_more(strike, "hears nobody", " ");
    } else {
        rules_add(rules, true, "-s %s -j DROP", unheard->ip);
        say_more(strike, "does not hear ", " ");
        say_more(strike, unheard->name, "");
    }
    return cut_make(world, cut);
}

const struct nemesis nemesis_one_way = {
    .name = "one-way",
    .about = "packets to a place are lost, from one other or from all; what it sends arrives",
    .usable = filters_usable,
    .strike = one_way_strike,
    .heal = cut_heal,
};

/* --- Loss --- */

static enum strike_result loss_strike(struct world *world, struct strike *strike)
{
    uint64_t first = as_rng_below(strike->rng, INHABITED), step = 1 + as_rng_below(strike->rng, 4);
    struct cut *cut = cut_new(strike);

    for (uint64_t i = 0; i < 3; i++) {
        struct place *place = inhabited(world, first + i * step);
        struct rules *rules = cut_add(cut, place);

        rules_add(rules, true, "-m statistic --mode random --probability 0.3 -j DROP");
        rules_add(rules, false, "-m statistic --mode random --probability 0.3 -j DROP");
        say_more(strike, place->name, i ? " " : "");
    }
    return cut_make(world, cut);
}

const struct nemesis nemesis_loss = {
    .name = "loss",
    .about = "three places lose 30 % of the packets that they send, and of those that they get",
    .usable = loss_usable,
    .strike = loss_strike,
    .heal = cut_heal,
};

/* --- Bandwidth --- */

#define NARROW "root tbf rate 100kbit burst 4kb latency 500ms"

static int cable_of(const struct place *place)
{
    return atoi(strrchr(place->ip, '.') + 1);
}

static enum strike_result bandwidth_strike(struct world *world, struct strike *strike)
{
    struct place *place = draw_place(world, strike);

    strike->own = place;
    say_more(strike, place->name, "");
    if (!place_run(world, place, "tc qdisc add dev eth0 " NARROW) ||
        !world_run(world, "tc qdisc add dev cable-%d " NARROW, cable_of(place))) {
        (void)world_fail(world, "tc refuses: see log/commands.log");
        return STRIKE_FAILED;
    }
    return STRIKE_DONE;
}

static bool bandwidth_heal(struct world *world, struct strike *strike)
{
    const struct place *place = strike->own;

    return (place_run(world, place, "tc qdisc del dev eth0 root") &&
            world_run(world, "tc qdisc del dev cable-%d root", cable_of(place))) ||
           world_fail(world, "tc keeps a place narrow: see log/commands.log");
}

const struct nemesis nemesis_bandwidth = {
    .name = "bandwidth",
    .about = "the cable of a place carries 100 kbit/s each way",
    .usable = narrow_usable,
    .strike = bandwidth_strike,
    .heal = bandwidth_heal,
};

/* --- Delay and order --- */

static enum strike_result hold_strike(struct world *world, struct strike *strike, int base_ms,
                                      int jitter_ms)
{
    uint64_t first = as_rng_below(strike->rng, INHABITED);
    size_t count = 1 + (size_t)as_rng_below(strike->rng, 3);
    struct place *places[3];

    for (size_t i = 0; i < count; i++) {
        places[i] = inhabited(world, first + i);
        say_more(strike, places[i]->name, i ? " " : "");
    }
    strike->own = hold_begin(world, places, count, base_ms, jitter_ms, as_rng_next(strike->rng));
    return strike->own ? STRIKE_DONE : STRIKE_FAILED;
}

static bool hold_heal(struct world *world, struct strike *strike)
{
    return hold_end(world, strike->own);
}

static enum strike_result delay_strike(struct world *world, struct strike *strike)
{
    return hold_strike(world, strike, 300, 0);
}

const struct nemesis nemesis_delay = {
    .name = "delay",
    .about = "every packet to one to three places comes 300 ms late",
    .usable = queue_usable,
    .strike = delay_strike,
    .heal = hold_heal,
};

static enum strike_result reorder_strike(struct world *world, struct strike *strike)
{
    return hold_strike(world, strike, 0, 80);
}

const struct nemesis nemesis_reorder = {
    .name = "reorder",
    .about = "packets to one to three places come up to 80 ms late, each for itself: out of order",
    .usable = queue_usable,
    .strike = reorder_strike,
    .heal = hold_heal,
};
