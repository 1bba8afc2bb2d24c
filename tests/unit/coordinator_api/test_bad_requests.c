/*
 * Every bad request gets its status and code, never reaches the node, and leaves the server able to
 * serve.
 */
#include "fake.h"

#include <cjson/cJSON.h>

#include "tests/support/bad_requests.h"

static void check_problem(const struct bad_request *bad, const struct reply *reply)
{
    const char *type = reply_header(reply, "Content-Type");
    cJSON *json;

    if (!type || strcmp(type, "application/problem+json") != 0)
        fail_msg("%s: Content-Type %s", bad->name, type);
    json = cJSON_Parse(reply->body);
    if (!json)
        fail_msg("%s: no JSON: %s", bad->name, reply->body);
    if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(json, "code")), bad->code) != 0)
        fail_msg("%s: %s", bad->name, reply->body);
    assert_int_equal(cJSON_GetObjectItem(json, "status")->valueint, bad->status);
    assert_non_null(cJSON_GetStringValue(cJSON_GetObjectItem(json, "title")));
    assert_true(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(json, "detail"))) > 0);
    if (bad->status == 405)
        assert_non_null(reply_header(reply, "Allow"));
    cJSON_Delete(json);
}

static void run_one(struct fake *fake, const struct bad_request *bad)
{
    struct client client = client_open(fake);
    struct reply reply;
    size_t len;
    char *text = bad_request_bytes(bad, &len);

    client_send(fake, &client, text, len);
    free(text);
    reply = client_reply(fake, &client, bad->method && strcmp(bad->method, "HEAD") == 0);
    if (reply.status != bad->status)
        fail_msg("%s: status %d, expected %d: %s", bad->name, reply.status, bad->status,
                 reply.body);
    if (bad->code)
        check_problem(bad, &reply);
    free(reply.body);
    client_close(&client);
}

static void test_each(void **state)
{
    struct fake fake;
    struct reply reply;

    (void)state;
    fake_open(&fake, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(bad_requests); i++)
        run_one(&fake, &bad_requests[i]);
    assert_int_equal(fake.node.member_changes + fake.node.transfers, 0);
    assert_true(AS_COUNT_OF(bad_requests) > 100);
    assert_int_equal(fake.node.submits, 0);
    reply = ask(&fake, "POST", BAD_TXN, BAD_GOOD);
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.submits, 1);
    free(reply.body);
    fake_close(&fake);
}

/* A node that does not lead refuses the same, and for the most part without asking the leader. */
static void test_each_at_follower(void **state)
{
    struct fake leader, follower;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&follower, NULL);
    fake_follow(&follower, &leader);
    for (size_t i = 0; i < AS_COUNT_OF(bad_requests); i++)
        run_one(&follower, &bad_requests[i]);
    assert_int_equal(leader.node.submits + leader.node.member_changes + leader.node.transfers, 0);
    assert_true(leader.node.forward_count < 10);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

/* A refused request does not cost its connection, unless its body was not read. */
static void test_keeps_alive(void **state)
{
    struct client client;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    client = client_open(&fake);
    for (size_t i = 0; i < AS_COUNT_OF(bad_requests); i++) {
        const struct bad_request *bad = &bad_requests[i];
        struct reply reply;
        size_t len;
        char *text;

        if (bad->make == BAD_RAW || bad->make == BAD_ANNOUNCED || bad->make == BAD_SPACES)
            continue;
        text = bad_request_bytes(bad, &len);
        client_send(&fake, &client, text, len);
        free(text);
        reply = client_reply(&fake, &client, strcmp(bad->method, "HEAD") == 0);
        assert_int_equal(reply.status, bad->status);
        free(reply.body);
    }
    client_close(&client);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_each_at_follower),
        cmocka_unit_test(test_keeps_alive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
