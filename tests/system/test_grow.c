/*
 * A sandbox that grows from one coordinator node to three while it runs (`assent sandbox add-node`), and then lives
 * without the first one.
 */
#include "harness.h"

#include <stdio.h>

static struct sandbox sandbox;

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

static void transfer(const char *api, const char *id)
{
    struct answer answer;
    char body[2048];

    transfer_body(body, sizeof(body), id, 1, 2, 1, NULL);
    http_at(api, NULL, "/v1/transactions", body, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
    assert_int_equal(ledger_count(&sandbox, 0, id), 1);
    assert_int_equal(ledger_count(&sandbox, 1, id), 1);
}

static void add_node(int expected_id, char ret_api[128])
{
    const char *const args[] = {"sandbox", "add-node", "--dir", sandbox.dir, "--json", NULL};
    cJSON *node;
    char *out;

    assert_int_equal(run_assent(args, &out), 0);
    node = cJSON_Parse(out);
    assert_non_null(node);
    assert_int_equal(cJSON_GetObjectItem(node, "id")->valuedouble, expected_id);
    snprintf(ret_api, 128, "%s", cJSON_GetObjectItem(node, "api")->valuestring);
    cJSON_Delete(node);
    free(out);
}

static int voters(const char *api)
{
    const cJSON *node;
    struct answer answer;
    int count = 0;

    http_at(api, NULL, "/v1/cluster", NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(answer.json, "nodes"))
    {
        count += cJSON_IsTrue(cJSON_GetObjectItem(node, "voter"));
    }
    answer_free(&answer);
    return count;
}

static bool commits(void *ctx)
{
    struct answer answer;
    char body[2048];
    bool done;

    transfer_body(body, sizeof(body), "without-1", 3, 4, 1, NULL);
    http_at(ctx, NULL, "/v1/transactions", body, DEADLINE_MS, &answer);
    done = answer.status == 200;
    answer_free(&answer);
    return done;
}

static void one_node_becomes_three(void **state)
{
    const char *const status[] = {"sandbox", "status", "--dir", sandbox.dir, NULL};
    char second[128], third[128], *out;

    (void)state;
    transfer(sandbox.api, "grow-1");
    add_node(2, second);
    transfer(second, "grow-2");
    add_node(3, third);
    assert_int_equal(voters(third), 3);
    transfer(third, "grow-3");
    assert_int_equal(run_assent(status, &out), 0);
    assert_non_null(strstr(out, "node-3"));
    free(out);

    /* Its word is as good as any: the agents know it. */
    sandbox_do(&sandbox, "kill", "node-1", NULL);
    wait_for("a transfer commits without node-1", commits, third, DEADLINE_MS);
    sandbox_do(&sandbox, "restart", "node-1", NULL);
    sandbox_do(&sandbox, "restart", "node-3", NULL);
    transfer(third, "grow-4");
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_becomes_three),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
