/*
 * Three coordinator nodes, real processes: the leader is killed again and again while money moves, and a node that lost
 * its disk neither comes back under its old id nor is missed.
 */
#include "load.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 10
#define TRANSFERS_AFTER 20 /* that must commit after a kill before the next */
#define PREPARED_GONE_MS 10000
#define ASK_MS 2000

static struct sandbox sandbox;

/* What a node says of the cluster: its answer's number, 0 if there is none. */
static double says(int node, const char *key)
{
    struct answer answer;
    double number = 0;

    http_at(sandbox.nodes[node].api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    if (cJSON_IsNumber(cJSON_GetObjectItem(answer.json, key)))
        number = cJSON_GetObjectItem(answer.json, key)->valuedouble;
    answer_free(&answer);
    return number;
}

static int leader; /* its place in sandbox.nodes */

/* The node that says of itself that it leads; of two, the one with the higher term. */
static bool somebody_leads(void *ctx)
{
    double highest = 0;

    (void)ctx;
    for (int i = 0; i < sandbox.node_count; i++) {
        double term = says(i, "leader") == sandbox.nodes[i].id ? says(i, "term") : 0;

        if (term > highest) {
            highest = term;
            leader = i;
        }
    }
    return highest > 0;
}

static void find_leader(void)
{
    wait_for("a node leads", somebody_leads, NULL, DEADLINE_MS);
}

static void the_leader_is_killed_under_load(void **state)
{
    (void)state;
    load_start(&sandbox);
    for (int i = 0; i < ROUNDS; i++) {
        load_wait_commits(TRANSFERS_AFTER);
        find_leader();
        print_message("round %d: kill -9 %s\n", i + 1, sandbox.nodes[leader].name);
        sandbox_do(&sandbox, "kill", sandbox.nodes[leader].name, NULL);
        load_wait_commits(TRANSFERS_AFTER); /* with two of three */
        sandbox_do(&sandbox, "restart", sandbox.nodes[leader].name, NULL);
    }
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* --- A lost disk --- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static bool log_says(const char *name, const char *what)
{
    char path[300], line[4096];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof(path), "%s/log/%s.log", sandbox.dir, name);
    file = fopen(path, "r");
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, what) != NULL;
    if (file)
        fclose(file);
    return found;
}

static void a_wiped_node_does_not_come_back_under_its_id(void **state)
{
    int victim;

    (void)state;
    find_leader();
    victim = (leader + 1) % sandbox.node_count;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS_AFTER);
    sandbox_do(&sandbox, "kill", sandbox.nodes[victim].name, NULL);
    assert_int_equal(nftw(sandbox.nodes[victim].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_not_equal(sandbox_try(&sandbox, "restart", sandbox.nodes[victim].name, NULL), 0);
    if (!log_says(sandbox.nodes[victim].name, "must not come back under its id"))
        fail_msg("the refusal does not say what to do");
    load_wait_commits(TRANSFERS_AFTER); /* and the others go on */
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
        cmocka_unit_test(the_leader_is_killed_under_load),
        cmocka_unit_test(a_wiped_node_does_not_come_back_under_its_id),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
