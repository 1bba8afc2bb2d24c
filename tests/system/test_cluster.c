/*
 * Three coordinator nodes, real processes: nodes, agents and databases are killed again and again
 * while money moves; a node falls silent and comes back; a leader is stopped as for an upgrade.
 */
#include "load.h"
#include "nodes.h"

#include <signal.h>
#include <stdio.h>

#define ROUNDS 10
#define TRANSFERS_AFTER 20 /* that must commit after a kill before the next */
#define SILENT_MS 5000
#define LEADERLESS_MS_MAX 4000 /* before a silent agent's session is given up */
#define PREPARED_GONE_MS 10000

static struct sandbox sandbox;

/* --- Chance --- */

static unsigned seed;

static int draw(int below)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((uint64_t)seed * (unsigned)below >> 32);
}

/* --- Killed --- */

/* A run of ten rounds has each of them. */
enum round { LEADER, NODE, TWO_NODES, ALL_NODES, AGENT, DATABASE };
static const enum round plan[] = {LEADER, NODE,     TWO_NODES, LEADER,    AGENT,
                                  LEADER, DATABASE, NODE,      ALL_NODES, LEADER};

static void restart(const char *name)
{
    sandbox_do(&sandbox, "restart", name, NULL);
}

static void kill_and_restart(const char *name)
{
    print_message("kill -9 %s\n", name);
    sandbox_do(&sandbox, "kill", name, NULL);
    restart(name);
}

/* Those that are in `victims`, at once. With a majority left, what is under way goes on without them. */
static void kill_nodes(int leader, unsigned victims)
{
    int left = sandbox.node_count, first = draw(sandbox.node_count);
    pid_t pids[SANDBOX_NODES_MAX] = {0};

    for (int i = 0; i < sandbox.node_count; i++) {
        if (!(victims >> i & 1))
            continue;
        print_message("kill -9 %s%s\n", sandbox.nodes[i].name, i == leader ? ", which leads" : "");
        pids[i] = sandbox_pid(&sandbox, sandbox.nodes[i].name);
        assert_true(pids[i] > 0);
        left--;
    }
    for (int i = 0; i < sandbox.node_count; i++)
        assert_true(pids[i] == 0 || kill(pids[i], SIGKILL) == 0);
    if (left > sandbox.node_count / 2)
        load_wait_commits(TRANSFERS_AFTER);
    for (int i = 0; i < sandbox.node_count; i++) {
        int place = (first + i) % sandbox.node_count;

        if (victims >> place & 1)
            restart(sandbox.nodes[place].name);
    }
}

static void play(enum round round)
{
    unsigned all = (1u << sandbox.node_count) - 1;
    int leader = leader_find(&sandbox), node = draw(sandbox.node_count);
    char name[80];

    switch (round) {
    case LEADER:
        kill_nodes(leader, 1u << leader);
        break;
    case TWO_NODES: /* of three: all but one */
        kill_nodes(leader, all & ~(1u << node));
        break;
    case ALL_NODES:
        kill_nodes(leader, all);
        break;
    case AGENT:
        if (!no_agents()) {
            kill_and_restart(agent_of(sandbox.participant[draw(sandbox.database_count)]));
            break;
        }
        /* fall through */
    case NODE:
        kill_nodes(leader, 1u << node);
        break;
    case DATABASE:
        snprintf(name, sizeof(name), "database-%s",
                 sandbox.participant[draw(sandbox.database_count)]);
        kill_and_restart(name);
        break;
    }
}

/* ASSENT_ROUNDS=200 for a longer run, ASSENT_SEED to choose the same victims again. */
static void processes_are_killed_under_load(void **state)
{
    const char *rounds_text = getenv("ASSENT_ROUNDS"), *seed_text = getenv("ASSENT_SEED");
    int rounds = rounds_text ? atoi(rounds_text) : ROUNDS;

    (void)state;
    seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)now_ms();
    print_message("ASSENT_SEED=%u\n", seed);
    load_start(&sandbox);
    for (int i = 0; i < rounds; i++) {
        load_wait_commits(TRANSFERS_AFTER + draw(TRANSFERS_AFTER));
        print_message("round %d: ", i + 1);
        play(plan[i % (int)AS_COUNT_OF(plan)]);
    }
    load_wait_commits(TRANSFERS_AFTER);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* --- Silent --- */

/* SIGSTOP: it says nothing, and no connection is closed. Continued, a leader thinks for a moment that
 * it leads still. */
static int64_t stand_still(int place)
{
    int64_t longest;

    load_wait_commits(TRANSFERS_AFTER);
    node_signal(&sandbox, place, SIGSTOP);
    longest = load_wait_ms(SILENT_MS);
    node_signal(&sandbox, place, SIGCONT);
    load_wait_commits(TRANSFERS_AFTER);
    return longest;
}

static void a_node_that_stands_still_does_no_harm(void **state)
{
    int64_t longest;

    (void)state;
    load_start(&sandbox);
    longest = stand_still(leader_find(&sandbox));
    if (longest > LEADERLESS_MS_MAX)
        fail_msg("without its leader the cluster committed nothing for %lld ms",
                 (long long)longest);
    (void)stand_still((leader_find(&sandbox) + 1) % sandbox.node_count);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* --- Stopped --- */

static bool has_stopped(void *ctx)
{
    return sandbox_pid(&sandbox, ctx) == 0;
}

/* SIGTERM, as an upgrade does. */
static void a_stopped_leader_hands_over(void **state)
{
    char *name;
    int leader;

    (void)state;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS_AFTER);
    leader = leader_find(&sandbox);
    name = sandbox.nodes[leader].name;
    node_signal(&sandbox, leader, SIGTERM);
    wait_for("the leader has stopped", has_stopped, name, DEADLINE_MS);
    if (!log_says(&sandbox, name, "event=raft_transfer"))
        fail_msg("it did not hand over what it led");
    load_wait_commits(TRANSFERS_AFTER);
    restart(name);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

static int setup(void **state)
{
    static const char *const extra[] = {"--nodes", "3", NULL};

    (void)state;
    sandbox_start(&sandbox, extra);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (load_abandon())
        sandbox_print_logs(&sandbox);
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_are_killed_under_load),
        cmocka_unit_test(a_node_that_stands_still_does_no_harm),
        cmocka_unit_test(a_stopped_leader_hands_over),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
