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
/*
 * A server process whose agent was killed goes on with what it was sent, as soon as it gets its
 * locks: it prepares late (R6), the scan finds and aborts that after some 4 s, and only this lets the
 * next one go on. After many kills such a chain has been seen to outlast 10 s.
 */
#define PREPARED_GONE_MS 40000
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

/* The leader in every other round, else one node after the other. ASSENT_ROUNDS=200 for a longer run. */
static void nodes_are_killed_under_load(void **state)
{
    const char *text = getenv("ASSENT_ROUNDS");
    int rounds = text ? atoi(text) : ROUNDS;

    (void)state;
    load_start(&sandbox);
    for (int i = 0; i < rounds; i++) {
        const char *victim;

        load_wait_commits(TRANSFERS_AFTER);
        find_leader();
        victim = sandbox.nodes[i % 2 ? i / 2 % sandbox.node_count : leader].name;
        print_message("round %d: kill -9 %s, %s leads\n", i + 1, victim,
                      sandbox.nodes[leader].name);
        sandbox_do(&sandbox, "kill", victim, NULL);
        load_wait_commits(TRANSFERS_AFTER); /* with two of three */
        sandbox_do(&sandbox, "restart", victim, NULL);
    }
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* SIGSTOP: it says nothing, and no connection is closed. Continued, it thinks for a moment that it
 * leads still. */
static void a_silent_leader_does_no_harm(void **state)
{
    (void)state;
    load_start(&sandbox);
    for (int i = 0; i < 3; i++) {
        pid_t pid;

        load_wait_commits(TRANSFERS_AFTER);
        find_leader();
        pid = sandbox_pid(&sandbox, sandbox.nodes[leader].name);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        load_wait_commits(TRANSFERS_AFTER);
        assert_int_equal(kill(pid, SIGCONT), 0);
    }
    load_wait_commits(TRANSFERS_AFTER);
    load_stop();
    load_check(PREPARED_GONE_MS);
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

static bool has_stopped(void *ctx)
{
    return sandbox_pid(&sandbox, ctx) == 0;
}

/* SIGTERM, as an upgrade does. */
static void a_stopped_leader_hands_over(void **state)
{
    int stopped;

    (void)state;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS_AFTER);
    find_leader();
    stopped = leader;
    assert_int_equal(kill(sandbox_pid(&sandbox, sandbox.nodes[stopped].name), SIGTERM), 0);
    wait_for("the leader has stopped", has_stopped, sandbox.nodes[stopped].name, DEADLINE_MS);
    if (!log_says(sandbox.nodes[stopped].name, "event=raft_transfer"))
        fail_msg("it did not hand over what it led");
    load_wait_commits(TRANSFERS_AFTER);
    sandbox_do(&sandbox, "restart", sandbox.nodes[stopped].name, NULL);
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

static int wiped = -1; /* its place in sandbox.nodes */

static void a_wiped_node_does_not_come_back_by_itself(void **state)
{
    (void)state;
    find_leader();
    wiped = (leader + 1) % sandbox.node_count;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS_AFTER);
    sandbox_do(&sandbox, "kill", sandbox.nodes[wiped].name, NULL);
    assert_int_equal(nftw(sandbox.nodes[wiped].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_not_equal(sandbox_try(&sandbox, "restart", sandbox.nodes[wiped].name, NULL), 0);
    if (!log_says(sandbox.nodes[wiped].name, "must not come back under its id"))
        fail_msg("the refusal does not say what to do");
    load_wait_commits(TRANSFERS_AFTER); /* and the others go on */
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* --- Joining: a node of our own making beside the sandbox's --- */

static struct joiner {
    char name[32];
    pid_t pid;
} joiner;

static void joiner_kill(void)
{
    if (joiner.pid <= 0)
        return;
    kill(joiner.pid, SIGKILL);
    assert_int_equal(waitpid(joiner.pid, NULL, 0), joiner.pid);
    joiner.pid = 0;
}

/* Starts assentd --join as node `id` with an empty directory, `agents` as its listener. */
static void joiner_start(int id, const char *name, const char *agents)
{
    char config[300], log[300];
    char *argv[] = {AS_TEST_BIN "/assentd", "--config", config, "--join", NULL};
    FILE *file;

    snprintf(joiner.name, sizeof(joiner.name), "%s", name);
    snprintf(config, sizeof(config), "%s/etc/%s.ini", sandbox.dir, name);
    snprintf(log, sizeof(log), "%s/log/%s.log", sandbox.dir, name);
    file = fopen(config, "w");
    assert_non_null(file);
    fprintf(file,
            "[node]\nid = %d\ncluster = sandbox\ndata_dir = %s/%s\n[api]\nlisten = 127.0.0.1:0\n"
            "[agents]\nlisten = %s\n[cluster]\nincarnation = %s\n",
            id, sandbox.dir, name, agents, sandbox.incarnation);
    fclose(file);
    joiner.pid = fork();
    assert_true(joiner.pid >= 0);
    if (joiner.pid == 0) {
        if (!freopen(log, "w", stderr))
            _exit(127);
        execv(argv[0], argv);
        _exit(127);
    }
}

static bool joiner_log_says(void *ctx)
{
    return log_says(joiner.name, ctx);
}

/* Where it listens, from its own log. */
static void joiner_address(char ret_address[64])
{
    static char started[] = "event=started";
    char path[300], line[4096];
    FILE *file;

    wait_for("the new node has started", joiner_log_says, started, DEADLINE_MS);
    snprintf(path, sizeof(path), "%s/log/%s.log", sandbox.dir, joiner.name);
    file = fopen(path, "r");
    assert_non_null(file);
    ret_address[0] = 0;
    while (!ret_address[0] && fgets(line, sizeof(line), file)) {
        const char *at = strstr(line, " agents=");

        if (at)
            sscanf(at, " agents=%63s", ret_address);
    }
    fclose(file);
    assert_true(ret_address[0]);
}

static void the_old_id_is_refused(void **state)
{
    static char emptied[] = "event=raft_emptied";

    (void)state;
    assert_true(wiped >= 0);
    joiner_start(sandbox.nodes[wiped].id, "wiped", sandbox.nodes[wiped].agents);
    wait_for("the leader tells it that its promises are lost", joiner_log_says, emptied,
             DEADLINE_MS);
    joiner_kill();
}

static struct wanted {
    int id;
    bool there, voter;
} wanted;

static bool members_are(void *ctx)
{
    const cJSON *node;
    struct answer answer;
    bool there = false, voter = false;

    (void)ctx;
    http_at(sandbox.nodes[leader].api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(answer.json, "nodes"))
    {
        if (cJSON_GetObjectItem(node, "id")->valueint == wanted.id) {
            there = true;
            voter = cJSON_IsTrue(cJSON_GetObjectItem(node, "voter"));
        }
    }
    there = there && answer.status == 200;
    answer_free(&answer);
    return there == wanted.there && voter == wanted.voter;
}

static int cluster_command(const char *verb, const char *id, const char *address)
{
    char apis[1024] = "";
    const char *args[] = {"cluster", verb, "--api", apis, id, address, NULL};

    for (int i = 0; i < sandbox.node_count; i++)
        snprintf(apis + strlen(apis), sizeof(apis) - strlen(apis), "%s%s", i ? "," : "",
                 sandbox.nodes[i].api);
    return run_assent(args, NULL);
}

#define NEW_ID 4

static void a_node_joins_under_a_new_id(void **state)
{
    char address[64], id[16];
    int other;

    (void)state;
    assert_true(wiped >= 0);
    find_leader();
    load_start(&sandbox);
    snprintf(id, sizeof(id), "%d", sandbox.nodes[wiped].id);
    assert_int_equal(cluster_command("remove", id, NULL), 0);
    wanted = (struct wanted){sandbox.nodes[wiped].id, false, false};
    wait_for("the wiped node is removed", members_are, NULL, DEADLINE_MS);
    joiner_start(NEW_ID, "new", "127.0.0.1:0");
    joiner_address(address);
    snprintf(id, sizeof(id), "%d", NEW_ID);
    assert_int_equal(cluster_command("add", id, address), 0);
    wanted = (struct wanted){NEW_ID, true, true};
    wait_for("the new node votes", members_are, NULL, DEADLINE_MS);
    assert_int_not_equal(cluster_command("add", id, address), 0); /* it is there already */

    /* Of three one dies: without the new one nothing would commit. */
    find_leader();
    other = 3 - leader - wiped;
    sandbox_do(&sandbox, "kill", sandbox.nodes[other].name, NULL);
    load_wait_commits(TRANSFERS_AFTER);
    sandbox_do(&sandbox, "restart", sandbox.nodes[other].name, NULL);
    load_stop();
    load_check(PREPARED_GONE_MS);
    joiner_kill();
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
    joiner_kill();
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_killed_under_load),
        cmocka_unit_test(a_silent_leader_does_no_harm),
        cmocka_unit_test(a_stopped_leader_hands_over),
        cmocka_unit_test(a_wiped_node_does_not_come_back_by_itself),
        cmocka_unit_test(the_old_id_is_refused),
        cmocka_unit_test(a_node_joins_under_a_new_id),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
