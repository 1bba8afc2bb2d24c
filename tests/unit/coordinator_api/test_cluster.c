/*
 * The cluster's routes: what a leader and a follower show, changes, and why they are refused.
 */
#include "fake.h"

#include <cjson/cJSON.h>

static cJSON *ask_json(struct fake *fake, const char *method, const char *path, const char *body,
                       int status)
{
    struct reply reply = ask(fake, method, path, body);
    cJSON *json = cJSON_Parse(reply.body);

    if (reply.status != status || !json)
        fail_msg("%s %s: %d %s", method, path, reply.status, reply.body);
    free(reply.body);
    return json;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static const char *text(const cJSON *object, const char *key)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));

    assert_non_null(value);
    return value;
}

static void test_leader(void **state)
{
    const cJSON *nodes, *node;
    struct fake fake;
    cJSON *json;

    (void)state;
    fake_open(&fake, NULL);
    json = ask_json(&fake, "GET", "/v1/cluster", NULL, 200);
    assert_string_equal(text(json, "cluster"), "demo");
    assert_string_equal(text(json, "incarnation"), "5f3a9c01d2e4b687");
    assert_string_equal(text(json, "role"), "leader");
    assert_int_equal(number(json, "node"), 1);
    assert_int_equal(number(json, "leader"), 1);
    assert_int_equal(number(json, "term"), 7);
    assert_int_equal(number(json, "last_index"), 1042);
    assert_int_equal(number(json, "commit_index"), 1042);
    assert_int_equal(number(json, "applied_index"), 1041);
    nodes = cJSON_GetObjectItem(json, "nodes");
    assert_int_equal(cJSON_GetArraySize(nodes), 3);
    node = cJSON_GetArrayItem(nodes, 0);
    assert_string_equal(text(node, "role"), "leader");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(node, "self")));
    assert_int_equal(number(node, "lag"), 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(node, "heard_ms_ago")));
    node = cJSON_GetArrayItem(nodes, 1);
    assert_string_equal(text(node, "role"), "follower");
    assert_string_equal(text(node, "address"), "10.0.0.2:7481");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(node, "linked")));
    assert_int_equal(number(node, "match_index"), 1000);
    assert_int_equal(number(node, "lag"), 42);
    assert_int_equal(number(node, "heard_ms_ago"), 12);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(node, "caught_up")));
    node = cJSON_GetArrayItem(nodes, 2);
    assert_string_equal(text(node, "role"), "learner");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(node, "voter")));
    cJSON_Delete(json);
    fake_close(&fake);
}

/* A follower answers for itself, also when nobody leads; how far others are it does not know. */
static void test_follower(void **state)
{
    struct fake fake, leader;
    const cJSON *node;
    cJSON *json;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&fake, NULL);
    fake_follow(&fake, &leader);
    json = ask_json(&fake, "GET", "/v1/cluster", NULL, 200);
    assert_string_equal(text(json, "role"), "follower");
    assert_int_equal(number(json, "node"), 2);
    assert_int_equal(number(json, "leader"), 1);
    node = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "nodes"), 1);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(node, "self")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(node, "match_index")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(node, "lag")));
    cJSON_Delete(json);
    fake.node.leader = NULL;
    fake.node.role = RAFT_PRE_CANDIDATE;
    json = ask_json(&fake, "GET", "/v1/cluster", NULL, 200);
    assert_string_equal(text(json, "role"), "candidate");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "leader")));
    cJSON_Delete(json);
    fake.other = NULL;
    fake_close(&fake);
    fake_close(&leader);
}

/* At the leader, and at a follower, which passes it on. */
static void test_changes(void **state)
{
    struct fake leader, follower;
    struct fake *asked[] = {&leader, &follower};

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&follower, NULL);
    fake_follow(&follower, &leader);
    for (unsigned i = 0; i < 2; i++) {
        cJSON *json = ask_json(asked[i], "POST", "/v1/cluster/nodes",
                               "{\"id\":4294967295,\"address\":\"node-9.example:7481\"}", 202);

        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "nodes")), 3);
        assert_int_equal(number(json, "node"), 1);
        cJSON_Delete(json);
        assert_int_equal(leader.node.change, RAFT_MEMBER_ADD);
        assert_int_equal(leader.node.member, 4294967295);
        assert_string_equal(leader.node.address, "node-9.example:7481");
        cJSON_Delete(ask_json(asked[i], "DELETE", "/v1/cluster/nodes/3", NULL, 202));
        assert_int_equal(leader.node.change, RAFT_MEMBER_REMOVE);
        assert_int_equal(leader.node.member, 3);
        cJSON_Delete(ask_json(asked[i], "POST", "/v1/cluster/transfer", "{\"to\":2}", 202));
        assert_int_equal(leader.node.member, 2);
        cJSON_Delete(ask_json(asked[i], "POST", "/v1/cluster/transfer", "{}", 202));
        assert_int_equal(leader.node.member, 0);
        assert_int_equal(leader.node.member_changes, 2 * (i + 1));
        assert_int_equal(leader.node.transfers, 2 * (i + 1));
        /* the asked node's own */
        cJSON_Delete(ask_json(asked[i], "POST", "/v1/cluster/snapshot", "{}", 202));
        assert_int_equal(leader.node.snapshots + follower.node.snapshots, i + 1);
    }
    assert_int_equal(follower.node.snapshots, 1);
    assert_int_equal(follower.node.member_changes + follower.node.transfers, 0);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

static void test_refusals(void **state)
{
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (int i = RAFT_REFUSED_NONE + 1; i < RAFT_REFUSAL_COUNT; i++) {
        struct reply reply;
        cJSON *json;

        fake.node.member_refusal = (enum raft_refusal)i;
        reply = ask(&fake, "DELETE", "/v1/cluster/nodes/3", NULL);
        assert_true(reply.status == 409 || reply.status == 503);
        assert_string_equal(reply_header(&reply, "Content-Type"), "application/problem+json");
        assert_int_equal(reply_header(&reply, "Retry-After") != NULL, reply.status == 503);
        json = cJSON_Parse(reply.body);
        assert_true(strlen(text(json, "code")) > 0 && strlen(text(json, "detail")) > 0);
        cJSON_Delete(json);
        free(reply.body);
    }
    fake.node.member_refusal = RAFT_REFUSED_IS_MEMBER;
    cJSON *json =
        ask_json(&fake, "POST", "/v1/cluster/nodes", "{\"id\":1,\"address\":\"a:1\"}", 409);
    assert_string_equal(text(json, "code"), "is_member");
    cJSON_Delete(json);
    fake_close(&fake);
}

/* A change whose answer was lost may have been made. */
static void test_lost(void **state)
{
    struct fake leader, follower;
    struct client client;
    struct reply reply;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&follower, NULL);
    fake_follow(&follower, &leader);
    follower.node.held = true;
    client = client_open(&follower);
    client_ask(&follower, &client, "DELETE", "/v1/cluster/nodes/3", NULL);
    FAKE_WAIT(&follower, follower.node.passed_count == 1);
    api_forward_done(follower.api, follower.node.passed[0], AS_ERR_CLOSED,
                     (struct as_bytes){NULL, 0});
    reply = client_reply(&follower, &client, false);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"outcome_unknown\""));
    free(reply.body);
    client_close(&client);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

static void test_metrics(void **state)
{
    struct fake leader, follower;
    struct reply reply;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&follower, NULL);
    fake_follow(&follower, &leader);
    reply = ask(&leader, "GET", "/metrics", NULL);
    assert_non_null(strstr(reply.body, "\nassent_role{role=\"leader\"} 1\n"));
    assert_non_null(strstr(reply.body, "\nassent_role{role=\"follower\"} 0\n"));
    assert_non_null(strstr(reply.body, "\nassent_leader_id 1\n"));
    assert_non_null(strstr(reply.body, "\nassent_term 7\n"));
    assert_non_null(strstr(reply.body, "\nassent_commit_index 1042\n"));
    assert_non_null(strstr(reply.body, "\nassent_member_lag_entries{member=\"2\"} 42\n"));
    assert_non_null(strstr(reply.body, "\nassent_member_linked{member=\"2\"} 0\n"));
    free(reply.body);
    reply = ask(&follower, "GET", "/metrics", NULL);
    assert_non_null(strstr(reply.body, "\nassent_role{role=\"follower\"} 1\n"));
    assert_null(strstr(reply.body, "\nassent_member_lag_entries{"));
    free(reply.body);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader),  cmocka_unit_test(test_follower),
        cmocka_unit_test(test_changes), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lost),    cmocka_unit_test(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
