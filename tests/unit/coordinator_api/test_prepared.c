/*
 * What an operator asks about prepared transactions: what the routes take, what of it reaches the
 * node, and how its answers read (R6).
 */
#include "fake.h"

#define LIST "/v1/participants/bank_a/prepared"
#define GID "assent/demo/5f3a9c01d2e4b687/7.42/1/order-4711"
#define ESCAPED "assent%2Fdemo%2f5f3a9c01d2e4b687%2F7.42%2F1%2Forder-4711"
#define RESOLVE LIST "/" ESCAPED "/resolve"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define LONG HUNDRED HUNDRED /* longer than any that PostgreSQL has */
#define BODY "{\"decision\":\"abort\",\"reason\":\"ticket 812\"}"

static void expect(struct fake *fake, const char *method, const char *path, const char *body,
                   int status, const char *found)
{
    struct reply reply = ask(fake, method, path, body);

    if (reply.status != status || !strstr(reply.body, found))
        fail_msg("%s %s: %d %s", method, path, reply.status, reply.body);
    free(reply.body);
}

static void test_list(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", LIST, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(
        reply.body,
        "{\"participant\":\"bank_a\",\"total\":7,\"foreign\":1,\"prepared\":["
        "{\"gid\":\"" GID "\",\"state\":\"orphaned\",\"age_ms\":90000,\"xid\":\"4294967369\","
        "\"owner\":\"agent\",\"id\":\"order-4711\",\"attempt\":\"7.42\",\"branch\":1,"
        "\"incarnation\":\"5f3a9c01d2e4b687\",\"answer\":\"unknown\"},"
        "{\"gid\":\"it's \\\"mine\\\" \xef\xbf\xbd\",\"state\":\"foreign\",\"age_ms\":5,"
        "\"xid\":\"7\",\"owner\":\"ann\",\"id\":null,\"attempt\":null,\"branch\":null,"
        "\"incarnation\":null,\"answer\":null}]}");
    free(reply.body);
    fake.node.answer = FAKE_REFUSE;
    fake.node.refusal = AS_REFUSAL_PARTICIPANT_DOWN;
    fake.node.detail = "connection refused";
    expect(&fake, "GET", LIST, NULL, 503, "nothing was done; try again later (connection refused)");
    fake_close(&fake);
}

static void test_resolve(void **state)
{
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    expect(&fake, "POST", RESOLVE, BODY, 200,
           "{\"participant\":\"bank_a\",\"gid\":\"" GID "\",\"outcome\":\"aborted\","
           "\"proof\":\"command_tag\",\"who\":\"operator\",\"reason\":\"ticket 812\"}");
    assert_string_equal(fake.node.participant, "bank_a");
    assert_string_equal(fake.node.gid, GID);
    assert_false(fake.node.commit || fake.node.other_incarnation);
    /* The slashes may stand there as they are. */
    fake.node.proven = true;
    expect(&fake, "POST", LIST "/" GID "/resolve",
           "{\"who\":\"ann\",\"other_incarnation\":true,\"reason\":\"\\u00e9\",\"decision\":"
           "\"commit\"}",
           200,
           "\"outcome\":\"committed\",\"proof\":\"xact_status\",\"who\":\"ann\",\"reason\":\"\xc3"
           "\xa9\"}");
    assert_string_equal(fake.node.gid, GID);
    assert_true(fake.node.commit && fake.node.other_incarnation);
    fake.node.answer = FAKE_REFUSE;
    fake.node.refusal = AS_REFUSAL_DECIDED_COMMIT;
    expect(&fake, "POST", RESOLVE, BODY, 409, "\"code\":\"decided_commit\"");
    assert_int_equal(fake.node.resolves, 3);
    /* Foreign ones do not even reach the node. */
    expect(&fake, "POST", LIST "/mine/resolve", BODY, 409, "\"code\":\"foreign_gid\"");
    expect(&fake, "POST", LIST "/" LONG "/resolve", BODY, 409, "\"code\":\"foreign_gid\"");
    expect(&fake, "POST", LIST "/a/resolve/resolve", BODY, 409, "\"code\":\"foreign_gid\"");
    assert_int_equal(fake.node.resolves, 3);
    fake_close(&fake);
}

/* A node that does not lead passes both on, with the gid as it was written. */
static void test_passed_on(void **state)
{
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.not_leading = true;
    expect(&fake, "GET", LIST, NULL, 503, "\"code\":\"no_leader\"");
    expect(&fake, "POST", RESOLVE, BODY, 503, "\"code\":\"no_leader\"");
    assert_int_equal(fake.node.resolves, 0);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
