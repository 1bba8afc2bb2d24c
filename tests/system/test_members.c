/*
 * The members of a cluster of three change while money moves: a node that lost its disk does not come
 * back by itself and joins again under a new id; a node is added and another one removed. Real
 * processes.
 */
#include "load.h"
#include "nodes.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>

#define TRANSFERS 20 /* that must commit before, during and after each change */
#define PREPARED_GONE_MS 10000
#define NEW_ID 4
#define NEXT_ID 5

static struct sandbox sandbox;
static struct joiner wiped_again, joined, next;
static int wiped = -1; /* its place in sandbox.nodes */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void a_wiped_node_does_not_come_back_by_itself(void **state)
{
    const char *name;

    (void)state;
    wiped = (leader_find(&sandbox) + 1) % sandbox.node_count;
    name = sandbox.nodes[wiped].name;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS);
    sandbox_do(&sandbox, "kill", name, NULL);
    assert_int_equal(nftw(sandbox.nodes[wiped].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_not_equal(sandbox_try(&sandbox, "restart", name, NULL), 0);
    if (!log_says(&sandbox, name, "must not come back under its id"))
        fail_msg("the refusal does not say what to do");
    load_wait_commits(TRANSFERS); /* and the others go on */
    load_stop();
    load_check(PREPARED_GONE_MS);
}

static void the_old_id_is_refused(void **state)
{
    (void)state;
    assert_true(wiped >= 0);
    load_start(&sandbox);
    joiner_start(&wiped_again, &sandbox, sandbox.nodes[wiped].id, "wiped",
                 sandbox.nodes[wiped].agents);
    /* The leader tells it that its promises are lost. */
    wait_log_says(&sandbox, "wiped", "event=raft_emptied");
    load_wait_commits(TRANSFERS);
    joiner_kill(&wiped_again);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* `asked`: a node that lives. */
static void add(struct joiner *joiner, int id, const char *name, int asked)
{
    char address[64];

    joiner_start(joiner, &sandbox, id, name, "127.0.0.1:0");
    joiner_address(joiner, address);
    assert_int_equal(cluster_command(&sandbox, "add", id, address), 0);
    load_wait_commits(TRANSFERS);
    wait_member(&sandbox, asked, id, true);
    load_wait_commits(TRANSFERS);
    assert_int_not_equal(cluster_command(&sandbox, "add", id, address), 0); /* is there already */
}

static void take_away(int id, int asked)
{
    load_wait_commits(TRANSFERS);
    assert_int_equal(cluster_command(&sandbox, "remove", id, NULL), 0);
    wait_member(&sandbox, asked, id, false);
    load_wait_commits(TRANSFERS);
}

static void it_joins_again_under_a_new_id(void **state)
{
    int stays, other;

    (void)state;
    assert_true(wiped >= 0);
    stays = (wiped + 1) % sandbox.node_count;
    other = (wiped + 2) % sandbox.node_count;
    load_start(&sandbox);
    take_away(sandbox.nodes[wiped].id, stays);
    add(&joined, NEW_ID, "new", stays);
    /* Of three that vote one dies: without the new one nothing would commit. */
    sandbox_do(&sandbox, "kill", sandbox.nodes[other].name, NULL);
    load_wait_commits(TRANSFERS);
    sandbox_do(&sandbox, "restart", sandbox.nodes[other].name, NULL);
    load_wait_commits(TRANSFERS);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* One more, then one less: a founder, and the leader if that is one. It is killed, as a machine that
 * is taken away. */
static void one_is_added_and_another_removed(void **state)
{
    int stays, removed;

    (void)state;
    assert_true(joined.pid > 0);
    stays = (wiped + 1) % sandbox.node_count;
    load_start(&sandbox);
    add(&next, NEXT_ID, "next", stays);
    removed = (wiped + 2) % sandbox.node_count;
    if (leader_id(&sandbox, stays) == sandbox.nodes[stays].id) {
        stays = removed;
        removed = (wiped + 1) % sandbox.node_count;
    }
    take_away(sandbox.nodes[removed].id, stays);
    sandbox_do(&sandbox, "kill", sandbox.nodes[removed].name, NULL);
    load_wait_commits(TRANSFERS);
    /* Now three vote again, two of them joined; the agents were told of these by the leader alone. */
    joiner_kill(&joined);
    load_wait_commits(TRANSFERS);
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
    joiner_kill(&wiped_again);
    joiner_kill(&joined);
    joiner_kill(&next);
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wiped_node_does_not_come_back_by_itself),
        cmocka_unit_test(the_old_id_is_refused),
        cmocka_unit_test(it_joins_again_under_a_new_id),
        cmocka_unit_test(one_is_added_and_another_removed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
