/*
 * What a read asks of the node, and the session token that goes with it (docs/consistency.md).
 */
#include "fake.h"

#define BODY                                                                           \
    "{\"id\":\"order-4711\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":" \
    "[{\"sql\":\"SELECT 1\"}]}]}"

static struct reply ask_in_session(struct fake *fake, const char *method, const char *path,
                                   const char *body, const char *session)
{
    struct client client = client_open(fake);
    struct reply reply;
    char header[128] = "";

    if (session)
        (void)snprintf(header, sizeof(header), "assent-session: %s\r\n", session);
    client_ask_with(fake, &client, method, path, body, header);
    reply = client_reply(fake, &client, false);
    client_close(&client);
    return reply;
}

static void check_session(const struct reply *reply, const char *expected)
{
    const char *session = reply_header(reply, "Assent-Session");

    if (!expected)
        assert_null(session);
    else if (!session || strcmp(session, expected) != 0)
        fail_msg("Assent-Session is %s, expected %s", session ? session : "missing", expected);
}

static void test_levels(void **state)
{
    static const struct {
        const char *path;
        enum node_read read;
    } rows[] = {
        {"/v1/transactions/x", NODE_READ_LINEARIZABLE},
        {"/v1/transactions/x?consistency=linearizable", NODE_READ_LINEARIZABLE},
        {"/v1/transactions/x?consistency=session", NODE_READ_SESSION},
        {"/v1/transactions/x?consistency=eventual", NODE_READ_EVENTUAL},
        {"/v1/transactions", NODE_READ_LINEARIZABLE},
        {"/v1/transactions?consistency=linearizable&limit=3", NODE_READ_LINEARIZABLE},
        {"/v1/transactions?limit=3&consistency=session", NODE_READ_SESSION},
        {"/v1/transactions?limit=3&consistency=eventual", NODE_READ_EVENTUAL},
    };
    struct fake fake, leader;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&fake, NULL);
    fake_follow(&fake, &leader);
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        bool here = rows[i].read != NODE_READ_LINEARIZABLE;
        struct fake *asked = here ? &fake : &leader;
        unsigned before = asked->node.gets;
        struct reply reply = ask_in_session(&fake, "GET", rows[i].path, NULL, "77");

        assert_int_equal(reply.status, 200);
        assert_int_equal(asked->node.gets, before + 1);
        assert_int_equal(asked->node.read, rows[i].read);
        assert_int_equal(asked->node.index, 77);
        check_session(&reply, "1041"); /* applied: both nodes say so */
        free(reply.body);
    }
    assert_int_equal(fake.node.gets, 4);
    assert_int_equal(leader.node.gets, 4);
    /* A node that is cut off from the leader still answers what it can. */
    fake.node.leader = NULL;
    struct reply reply = ask(&fake, "GET", "/v1/transactions?consistency=eventual", NULL);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"second\""));
    free(reply.body);
    reply = ask(&fake, "GET", "/v1/transactions", NULL);
    assert_int_equal(reply.status, 503);
    free(reply.body);
    fake.other = NULL;
    fake_close(&fake);
    fake_close(&leader);
}

/* A list waits for the table to be new enough, as a transaction does. */
static void test_list_waits(void **state)
{
    struct client client;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_LATER;
    client = client_open(&fake);
    client_ask(&fake, &client, "GET", "/v1/transactions?participant=bank_a&limit=9", NULL);
    FAKE_WAIT(&fake, fake.node.waiting_count == 1);
    assert_int_equal(fake.node.query.limit, 0); /* not looked at yet */
    fake_reply_all(&fake);
    reply = client_reply(&fake, &client, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.query.limit, 9);
    assert_string_equal(fake.node.query_participant, "bank_a");
    free(reply.body);
    client_close(&client);
    fake.node.answer = FAKE_REFUSE;
    fake.node.refusal = AS_REFUSAL_NO_LEADER; /* deposed meanwhile */
    reply = ask(&fake, "GET", "/v1/transactions", NULL);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"no_leader\""));
    assert_null(strstr(reply.body, "\"id\""));
    free(reply.body);
    fake_close(&fake);
}

/* The answer bears the larger of what was given and what it shows. */
static void test_token(void **state)
{
    static const struct {
        const char *method, *path, *body, *given, *borne;
        bool follower;
    } rows[] = {
        {"POST", "/v1/transactions", BODY, NULL, "1042", false},
        {"POST", "/v1/transactions", BODY, "0", "1042", true},
        {"POST", "/v1/transactions", BODY, "1043", "1043", true},
        {"GET", "/v1/transactions/x", NULL, NULL, "1041", true},
        {"GET", "/v1/transactions/x", NULL, "18446744073709551615", "18446744073709551615", true},
        {"GET", "/v1/transactions/x?consistency=eventual", NULL, "5", "1041", true},
        {"GET", "/v1/transactions/no-such-transaction", NULL, "5", "1041", true},
        {"GET", "/v1/transactions", NULL, "5000", "5000", false},
        {"GET", "/v1/transactions/x?wait_ms=x", NULL, "5000", NULL, true},
        {"GET", "/healthz", NULL, "5000", NULL, false},
    };
    struct fake fake, leader;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&fake, NULL);
    fake_follow(&fake, &leader);
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        struct reply reply = ask_in_session(rows[i].follower ? &fake : &leader, rows[i].method,
                                            rows[i].path, rows[i].body, rows[i].given);

        check_session(&reply, rows[i].borne);
        free(reply.body);
    }
    /* Nothing waits for an abort to be in the log. */
    leader.node.view.index = 0;
    leader.node.view.state = AS_TXN_ABORTED;
    struct reply reply = ask_in_session(&fake, "POST", "/v1/transactions", BODY, NULL);
    check_session(&reply, NULL);
    free(reply.body);
    fake.other = NULL;
    fake_close(&fake);
    fake_close(&leader);
}

/* The node waited in vain for what the client has seen already. */
static void test_behind(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_REFUSE;
    fake.node.refusal = AS_REFUSAL_NO_LEADER;
    reply = ask_in_session(&fake, "GET", "/v1/transactions/x?consistency=session", NULL, "9000");
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"behind\""));
    assert_non_null(strstr(reply.body, "9000"));
    free(reply.body);
    fake_close(&fake);
}

static void test_bad_token(void **state)
{
    static const char *const bad[] = {
        "-1",  "x", "1x", "0x10", "1.5", "18446744073709551616", "99999999999999999999999999",
        "1 2", "+1"};
    struct fake fake, leader;

    (void)state;
    fake_open(&leader, NULL);
    fake_open(&fake, NULL);
    fake_follow(&fake, &leader);
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++) {
        struct reply reply = ask_in_session(&fake, "GET", "/v1/transactions/x", NULL, bad[i]);

        if (reply.status != 400 || !strstr(reply.body, "\"code\":\"bad_session\""))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
        free(reply.body);
    }
    assert_int_equal(leader.node.gets, 0);
    fake.other = NULL;
    fake_close(&fake);
    fake_close(&leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),    cmocka_unit_test(test_list_waits),
        cmocka_unit_test(test_token),     cmocka_unit_test(test_behind),
        cmocka_unit_test(test_bad_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
