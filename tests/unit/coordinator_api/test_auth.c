/*
 * Who is let in by a token, what that may see, and what a follower and its leader leave to each other.
 * Every route with every role: tests/system/test_roles.c.
 */
#include "fake.h"

#include <sys/stat.h>

#include "common/uv/token.h"

#define OTHER_TOKEN "assent_ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define SUBMIT(participant)                                                            \
    "{\"id\":\"order-4711\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":" \
    "[{\"sql\":\"SELECT 1\"}]},{\"participant\":\"" participant                        \
    "\",\"statements\":[{\"sql\":\"SELECT 1\"}]}]}"

enum who { NOBODY, APP, NARROW, VIEWER, OPERATOR, ALL, PAST, SLOW, WHOS };

static char bearer[WHOS][128]; /* a header line */
static char path[64];
static struct tokens *tokens;

static void line_put(FILE *file, enum who who, const char *rest)
{
    char token[TOKEN_LEN + 1];
    uint8_t hash[AS_HASH_LEN];

    assert_true(token_make(token) && token_hash(token, hash));
    snprintf(bearer[who], sizeof(bearer[who]), "Authorization: Bearer %s\r\n", token);
    fprintf(file, "%s sha256=", rest);
    for (size_t i = 0; i < AS_HASH_LEN; i++)
        fprintf(file, "%02x", hash[i]);
    fputc('\n', file);
}

static int setup(void **state)
{
    char dir[] = "/tmp/assent-auth-XXXXXX", why[512];
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/tokens", dir);
    file = fopen(path, "we");
    assert_non_null(file);
    line_put(file, APP, "shop role=app participants=bank_a,bank_b");
    line_put(file, NARROW, "narrow role=app participants=bank_a");
    line_put(file, VIEWER, "grafana role=viewer");
    line_put(file, OPERATOR, "ann role=operator");
    line_put(file, ALL, "all role=app,viewer,operator participants=bank_a,bank_b");
    line_put(file, PAST, "past role=viewer expires=2020-01-01T00:00:00Z");
    line_put(file, SLOW, "slow role=viewer rate=2/s");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(tokens_read(&tokens, path, why), AS_OK);
    assert_int_equal(tokens_count(tokens), 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tokens_free(tokens);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    return 0;
}

static void open_guarded(struct fake *fake, bool health_open)
{
    const struct api_config config = {
        .version = "0.1", .tokens = tokens, .health_open = health_open};

    fake_open(fake, &config);
}

static struct reply ask_with(struct fake *fake, const char *header, const char *method,
                             const char *target, const char *body)
{
    struct client client = client_open(fake);
    struct reply reply;

    client_ask_with(fake, &client, method, target, body, header);
    reply = client_reply(fake, &client, strcmp(method, "HEAD") == 0);
    client_close(&client);
    return reply;
}

/* `code` NULL: it is not about an error. */
static void expect(struct fake *fake, const char *header, const char *method, const char *target,
                   const char *body, int status, const char *code)
{
    struct reply reply = ask_with(fake, header, method, target, body);

    if (reply.status != status || (code && !strstr(reply.body, code)))
        fail_msg("%s%s %s: %d %s", header, method, target, reply.status, reply.body);
    free(reply.body);
}

static void check_challenge(struct fake *fake, const char *header, const char *code,
                            const char *challenge)
{
    struct reply reply = ask_with(fake, header, "GET", "/v1/cluster", NULL);
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "\"code\":\"%s\"", code);
    if (reply.status != 401 || !strstr(reply.body, wanted))
        fail_msg("%s: %d %s", header, reply.status, reply.body);
    assert_string_equal(reply_header(&reply, "WWW-Authenticate"), challenge);
    assert_string_equal(reply_header(&reply, "Content-Type"), "application/problem+json");
    assert_null(strstr(reply.body, TOKEN_PREFIX "f"));
    free(reply.body);
}

static void only_a_known_token_gets_in(void **state)
{
    static const char *const bad[] = {
        "Authorization: Bearer " OTHER_TOKEN "\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer assent_\r\n",
        "Authorization: Bearer " OTHER_TOKEN OTHER_TOKEN "\r\n",
        "Authorization: " OTHER_TOKEN "\r\n",
        "Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l\r\n",
        "Authorization:\r\n",
    };
    char spelled[160];
    struct fake fake;

    (void)state;
    open_guarded(&fake, false);
    check_challenge(&fake, "X: y\r\n", "no_credentials", "Bearer");
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++)
        check_challenge(&fake, bad[i], "unknown_token", "Bearer error=\"invalid_token\"");
    check_challenge(&fake, bearer[PAST], "credentials_expired", "Bearer error=\"invalid_token\"");
    snprintf(spelled, sizeof(spelled), "authorization: bearer  %s",
             strstr(bearer[VIEWER], "assent"));
    expect(&fake, spelled, "GET", "/v1/cluster", NULL, 200, NULL);
    fake_close(&fake);
}

/* Who is not known does not even learn what is there. */
static void a_stranger_hears_401_whatever_he_asks(void **state)
{
    static const struct {
        const char *method, *target, *body;
    } asked[] = {
        {"GET", "/", NULL},
        {"GET", "/nothing/here", NULL},
        {"GET", "/%zz", NULL},
        {"PUT", "/v1/transactions", "{}"},
        {"POST", "/v1/transactions", "{ not JSON"},
        {"GET", "/v1/transactions/not%20an%20id", NULL},
        {"OPTIONS", "/v1/cluster", NULL},
        {"GET", "/healthz", NULL},
    };
    struct fake fake;

    (void)state;
    open_guarded(&fake, false);
    for (size_t i = 0; i < AS_COUNT_OF(asked); i++)
        expect(&fake, "X: y\r\n", asked[i].method, asked[i].target, asked[i].body, 401,
               "no_credentials");
    fake_close(&fake);
}

/* A large body of a stranger is not even read. */
static void a_strangers_body_is_not_awaited(void **state)
{
    static const char *const heads[] = {"Content-Length: 900000\r\n",
                                        "Transfer-Encoding: chunked\r\n"};
    struct fake fake;

    (void)state;
    open_guarded(&fake, false);
    for (size_t i = 0; i < AS_COUNT_OF(heads); i++) {
        struct client client = client_open(&fake);
        struct reply reply;

        client_ask_with(&fake, &client, "POST", "/v1/transactions", NULL, heads[i]);
        reply = client_reply(&fake, &client, false);
        assert_int_equal(reply.status, 401);
        free(reply.body);
        client_close(&client);
    }
    assert_int_equal(fake.node.submits, 0);
    fake_close(&fake);
}

static void health_may_be_open(void **state)
{
    struct fake fake;

    (void)state;
    open_guarded(&fake, true);
    expect(&fake, "X: y\r\n", "GET", "/healthz", NULL, 200, NULL);
    expect(&fake, "X: y\r\n", "HEAD", "/readyz", NULL, 200, NULL);
    expect(&fake, "Authorization: Bearer nonsense\r\n", "GET", "/readyz", NULL, 200, NULL);
    expect(&fake, "X: y\r\n", "POST", "/healthz", "{}", 401, "no_credentials");
    expect(&fake, "X: y\r\n", "GET", "/metrics", NULL, 401, "no_credentials");
    fake_close(&fake);
}

static void an_app_runs_only_where_it_may(void **state)
{
    struct fake fake;

    (void)state;
    open_guarded(&fake, false);
    expect(&fake, bearer[APP], "POST", "/v1/transactions", SUBMIT("bank_b"), 200, NULL);
    assert_int_equal(fake.node.submits, 1);
    expect(&fake, bearer[NARROW], "POST", "/v1/transactions", SUBMIT("bank_b"), 403,
           "branch 2: you may not use participant \\\"bank_b\\\"");
    expect(&fake, bearer[APP], "POST", "/v1/transactions", SUBMIT("bank_c"), 403,
           "wrong_participant");
    expect(&fake, bearer[ALL], "POST", "/v1/transactions", SUBMIT("bank_c"), 403,
           "wrong_participant");
    expect(&fake, bearer[VIEWER], "POST", "/v1/transactions", SUBMIT("bank_b"), 403, "wrong_role");
    expect(&fake, bearer[OPERATOR], "POST", "/v1/transactions", SUBMIT("bank_b"), 403,
           "this takes the role app");
    assert_int_equal(fake.node.submits, 1);
    expect(&fake, bearer[ALL], "POST", "/v1/transactions", SUBMIT("bank_b"), 200, NULL);
    fake_close(&fake);
}

/* The fake's transactions are of bank_a and bank_b. */
static void check_reading(struct fake *fake, struct fake *leader)
{
    struct node *node = &leader->node;

    expect(fake, bearer[APP], "GET", "/v1/transactions/first", NULL, 200, "bank_b");
    expect(fake, bearer[NARROW], "GET", "/v1/transactions/first", NULL, 403, "wrong_participant");
    expect(fake, bearer[VIEWER], "GET", "/v1/transactions/first", NULL, 200, "bank_b");
    expect(fake, bearer[NARROW], "GET", "/v1/transactions", NULL, 200, "{\"transactions\":[],");
    expect(fake, bearer[APP], "GET", "/v1/transactions", NULL, 200, "\"first\"");
    /* An aborted one of which the reason alone is known. */
    node->view.state = AS_TXN_ABORTED;
    node->view.branch_count = 0;
    node->view.reason = &node->reason;
    as_reason_set(&node->reason, AS_REASON_TIMEOUT, "it took too long");
    expect(fake, bearer[NARROW], "GET", "/v1/transactions/first", NULL, 200, "took too long");
    expect(fake, bearer[NARROW], "GET", "/v1/transactions", NULL, 200, "{\"transactions\":[],");
    expect(fake, bearer[VIEWER], "GET", "/v1/transactions", NULL, 200, "\"first\"");
    snprintf(node->reason.participant, sizeof(node->reason.participant), "bank_b");
    expect(fake, bearer[NARROW], "GET", "/v1/transactions/first", NULL, 403, "wrong_participant");
    expect(fake, bearer[APP], "GET", "/v1/transactions/first", NULL, 200, "took too long");
}

static void an_app_reads_what_it_may_write(void **state)
{
    struct fake fake;

    (void)state;
    open_guarded(&fake, false);
    check_reading(&fake, &fake);
    fake_close(&fake);
}

/* What only the leader's answer shows, the leader looks after. */
static void a_follower_passes_on_what_an_app_may_see(void **state)
{
    struct fake follower, leader;

    (void)state;
    open_guarded(&leader, false);
    open_guarded(&follower, false);
    fake_follow(&follower, &leader);
    check_reading(&follower, &leader);
    assert_true(leader.node.gets > 0 && follower.node.gets == 0);
    /* The entry node has asked who asks: nothing of a stranger is passed on. */
    leader.node.gets = leader.node.submits = 0;
    expect(&follower, "X: y\r\n", "GET", "/v1/transactions/first", NULL, 401, "no_credentials");
    expect(&follower, bearer[NARROW], "POST", "/v1/transactions", SUBMIT("bank_b"), 403,
           "wrong_participant");
    expect(&follower, bearer[VIEWER], "POST", "/v1/cluster/transfer", "{}", 403, "wrong_role");
    assert_int_equal(leader.node.gets + leader.node.submits + leader.node.transfers, 0);
    expect(&follower, bearer[OPERATOR], "POST", "/v1/cluster/transfer", "{}", 202, NULL);
    assert_int_equal(leader.node.transfers, 1);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

#define ACKNOWLEDGE "/v1/transactions/order-4711/branches/2/acknowledge"
#define RESOLVE \
    "/v1/participants/bank_a/prepared/assent%2Fdemo%2f5f3a9c01d2e4b687%2F7.42%2F1%2Fo/resolve"
#define THIRTY "thirty bytes of a name, or so.."

/* Into the log of the one who leads goes whose token it was, whatever the client writes. */
static void check_who(struct fake *fake, struct fake *leader)
{
    const char *who = leader->node.who;

    expect(fake, bearer[OPERATOR], "POST", ACKNOWLEDGE, "{\"reason\":\"r\"}", 200, NULL);
    assert_string_equal(who, "token:ann");
    assert_string_equal(leader->node.why, "r");
    expect(fake, bearer[OPERATOR], "POST", ACKNOWLEDGE,
           "{\"reason\":\"a \\\"b\\\"\",\"who\":\"token:eve\"}", 200, NULL);
    assert_string_equal(who, "token:ann token:eve");
    assert_string_equal(leader->node.why, "a \"b\"");
    expect(fake, bearer[ALL], "POST", RESOLVE,
           "{\"decision\":\"commit\",\"other_incarnation\":true,\"reason\":\"r\",\"who\":\"bob\"}",
           200, "\"who\":\"token:all bob\"");
    assert_true(leader->node.commit && leader->node.other_incarnation);
    expect(fake, bearer[OPERATOR], "POST", RESOLVE, "{\"decision\":\"abort\",\"reason\":\"r\"}",
           200, "\"who\":\"token:ann\"");
    assert_false(leader->node.commit || leader->node.other_incarnation);
    /* Nothing is cut. */
    leader->node.acknowledges = 0;
    expect(fake, bearer[OPERATOR], "POST", ACKNOWLEDGE,
           "{\"reason\":\"r\",\"who\":\"" THIRTY THIRTY THIRTY "\"}", 400, "\"pointer\":\"/who\"");
    assert_int_equal(leader->node.acknowledges, 0);
}

static void the_log_names_whose_token_it_was(void **state)
{
    struct fake follower, leader;

    (void)state;
    open_guarded(&leader, false);
    check_who(&leader, &leader);
    open_guarded(&follower, false);
    fake_follow(&follower, &leader);
    check_who(&follower, &leader);
    follower.other = NULL;
    fake_close(&follower);
    fake_close(&leader);
}

static void who_asks_too_often_is_told_to_wait(void **state)
{
    struct reply reply;
    struct fake fake;
    bool refused = false;

    (void)state;
    open_guarded(&fake, false);
    /* Two at once; then it depends on how fast these are asked. */
    for (int i = 0; i < 1000 && !refused; i++) {
        reply = ask_with(&fake, bearer[SLOW], "GET", "/v1/cluster", NULL);
        assert_true(i >= 2 || reply.status == 200);
        if (reply.status == 429) {
            refused = true;
            assert_non_null(strstr(reply.body, "\"code\":\"rate_exceeded\""));
            assert_string_equal(reply_header(&reply, "Retry-After"), "1");
        }
        free(reply.body);
    }
    assert_true(refused);
    expect(&fake, bearer[VIEWER], "GET", "/v1/cluster", NULL, 200, NULL); /* others may */
    reply = ask_with(&fake, bearer[VIEWER], "GET", "/metrics", NULL);
    assert_non_null(strstr(reply.body, "assent_http_refused_total{code=\"rate_exceeded\"} "));
    assert_null(strstr(reply.body, "assent_http_refused_total{code=\"rate_exceeded\"} 0\n"));
    free(reply.body);
    fake_close(&fake);
}

static void other_tokens_count_from_the_next_request_on(void **state)
{
    struct client client;
    struct tokens *none;
    struct reply reply;
    struct fake fake;
    char empty[80], why[512];
    FILE *file;

    (void)state;
    snprintf(empty, sizeof(empty), "%s.empty", path);
    file = fopen(empty, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(tokens_read(&none, empty, why), AS_OK);
    unlink(empty);
    open_guarded(&fake, false);
    client = client_open(&fake);
    for (int i = 0; i < 3; i++) {
        client_ask_with(&fake, &client, "GET", "/v1/cluster", NULL, bearer[VIEWER]);
        reply = client_reply(&fake, &client, false);
        assert_int_equal(reply.status, i == 1 ? 401 : 200);
        free(reply.body);
        api_tokens(fake.api, i == 0 ? none : tokens);
    }
    client_close(&client);
    tokens_free(none);
    fake_close(&fake);
}

struct memory_case {
    struct fake fake;
    enum who who;
    const char *method, *target, *body;
    int status; /* when there is enough */
};

/* With too little memory somebody may be turned away, but nobody is let in. */
static void ask_with_failures(void *ctx)
{
    struct memory_case *test = ctx;
    struct fake *fake = &test->fake;
    const struct api_config config = {.listen = "127.0.0.1:0", .tokens = tokens};
    struct client client;
    struct reply reply;
    char error[256];

    if (api_new(&fake->api, &config, &fake->loop, &fake->node, &fake->port, error)) {
        assert_true(test_allocation_failed());
        return;
    }
    fake->node.api = fake->api;
    client = client_open(fake);
    client_ask_with(fake, &client, test->method, test->target, test->body, bearer[test->who]);
    FAKE_WAIT(fake, (client_read(&client), client.ended || reply_parse(&client, false, &reply)));
    if (!client.ended) {
        if (reply.status != test->status && !(test_allocation_failed() && reply.status == 503))
            fail_msg("%s %s: %d %s", test->method, test->target, reply.status, reply.body);
        free(reply.body);
    } else {
        assert_true(test_allocation_failed());
    }
    client_close(&client);
    api_free(fake->api);
    (void)uv_run(&fake->loop, UV_RUN_DEFAULT);
}

static void without_memory_nobody_is_let_in(void **state)
{
    static struct memory_case cases[] = {
        {.who = APP, .method = "GET", .target = "/v1/transactions/first", .status = 200},
        {.who = NARROW, .method = "GET", .target = "/v1/transactions/first", .status = 403},
        {.who = NARROW,
         .method = "POST",
         .target = "/v1/transactions",
         .body = SUBMIT("bank_b"),
         .status = 403},
        {.who = PAST, .method = "GET", .target = "/v1/cluster", .status = 401},
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(cases); i++) {
        assert_int_equal(uv_loop_init(&cases[i].fake.loop), 0);
        fake_view(&cases[i].fake.node);
        test_fail_each_allocation(ask_with_failures, &cases[i]);
        assert_int_equal(uv_loop_close(&cases[i].fake.loop), 0);
        as_buf_close(&cases[i].fake.node.results);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_known_token_gets_in),
        cmocka_unit_test(a_stranger_hears_401_whatever_he_asks),
        cmocka_unit_test(a_strangers_body_is_not_awaited),
        cmocka_unit_test(health_may_be_open),
        cmocka_unit_test(an_app_runs_only_where_it_may),
        cmocka_unit_test(an_app_reads_what_it_may_write),
        cmocka_unit_test(a_follower_passes_on_what_an_app_may_see),
        cmocka_unit_test(the_log_names_whose_token_it_was),
        cmocka_unit_test(who_asks_too_often_is_told_to_wait),
        cmocka_unit_test(without_memory_nobody_is_let_in),
        cmocka_unit_test(other_tokens_count_from_the_next_request_on),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
