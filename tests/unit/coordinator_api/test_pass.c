/*
 * Requests that are passed on: two APIs, of which the second one's node leads. Whoever asks the
 * first hears what the second would have said, or that nobody knows.
 */
#include "fake.h"

#include <cjson/cJSON.h>

#include "coordinator/api/forward.h"

#define BODY                                                                           \
    "{\"id\":\"order-4711\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":" \
    "[{\"sql\":\"UPDATE a SET b = $1\",\"params\":[9007199254740993]}]}]}"
#define BODY_WITHOUT_ID \
    "{\"branches\":[{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"SELECT 1\"}]}]}"
#define ACKNOWLEDGE "/v1/transactions/order-4711/branches/2/acknowledge"

struct pair {
    struct fake a, b; /* a follows b */
};

static void pair_open(struct pair *pair, const struct api_config *config)
{
    fake_open(&pair->b, NULL);
    fake_open(&pair->a, config);
    fake_follow(&pair->a, &pair->b);
}

static void pair_close(struct pair *pair)
{
    pair->a.other = NULL;
    fake_close(&pair->a);
    fake_close(&pair->b);
}

static void check_code(const struct reply *reply, int status, const char *code, const char *id)
{
    cJSON *json = cJSON_Parse(reply->body);
    const char *retry = reply_header(reply, "Retry-After");

    assert_non_null(json);
    if (reply->status != status ||
        strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(json, "code")), code) != 0)
        fail_msg("expected %d %s: %d %s", status, code, reply->status, reply->body);
    if (id)
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "id")), id);
    else
        assert_null(cJSON_GetObjectItem(json, "id"));
    assert_int_equal(status == 503, retry && strcmp(retry, "1") == 0);
    cJSON_Delete(json);
}

static void cut_date(char *head)
{
    char *date = strstr(head, "\r\nDate: ");

    assert_non_null(date);
    memmove(date, date + 8 + strcspn(date + 8, "\r"),
            strlen(date + 8 + strcspn(date + 8, "\r")) + 1);
}

/* The same bytes, but for the date. */
static void check_same(struct reply *passed, struct reply *direct)
{
    cut_date(passed->head);
    cut_date(direct->head);
    assert_string_equal(passed->head, direct->head);
    assert_int_equal(passed->body_len, direct->body_len);
    assert_memory_equal(passed->body, direct->body, direct->body_len);
    free(passed->body);
    free(direct->body);
}

static void ask_both(struct pair *pair, const char *method, const char *path, const char *body)
{
    struct reply passed = ask(&pair->a, method, path, body);
    struct reply direct = ask(&pair->b, method, path, body);

    check_same(&passed, &direct);
}

static void test_same_bytes(void **state)
{
    static const struct {
        const char *method, *path, *body;
    } asked[] = {
        {"POST", "/v1/transactions", BODY},
        {"GET", "/v1/transactions/order-4711", NULL},
        {"GET", "/v1/transactions/order%2D4711?wait_ms=7&consistency=linearizable", NULL},
        {"HEAD", "/v1/transactions/order-4711", NULL},
        {"GET", "/v1/transactions/no-such-transaction", NULL},
        {"GET", "/v1/transactions?state=pending&participant=bank%5Fa&limit=7&after=12", NULL},
        {"POST", ACKNOWLEDGE, "{\"reason\":\"booked by hand\",\"who\":\"ann\"}"},
        {"GET", "/v1/participants", NULL},
        {"GET", "/v1/participants/bank_a", NULL},
        {"GET", "/v1/participants/bank_b", NULL},
    };
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(asked); i++)
        ask_both(&pair, asked[i].method, asked[i].path, asked[i].body);
    assert_int_equal(pair.b.node.forward_count, AS_COUNT_OF(asked));
    assert_int_equal(pair.b.node.submits, 2);
    assert_int_equal(pair.b.node.query.limit, 7);
    assert_int_equal(pair.b.node.query.after, 12);
    assert_string_equal(pair.b.node.query_participant, "bank_a");
    pair.b.node.view.state = AS_TXN_ABORTED;
    as_reason_set(&pair.b.node.reason, AS_REASON_TIMEOUT, "late");
    pair.b.node.view.reason = &pair.b.node.reason;
    ask_both(&pair, "POST", "/v1/transactions", BODY);
    pair.b.node.answer = FAKE_REFUSE;
    for (int i = 0; i < AS_REFUSAL_COUNT; i++) {
        pair.b.node.refusal = (enum as_refusal)i;
        ask_both(&pair, "POST", "/v1/transactions", BODY);
        ask_both(&pair, "GET", "/v1/transactions/x", NULL);
    }
    assert_int_equal(pair.a.node.submits + pair.a.node.gets + pair.a.node.acknowledges, 0);
    assert_int_equal(pair.a.node.passed_count, 0);
    pair_close(&pair);
}

/* What is wrong is refused where it is asked; what any node knows is answered there. */
static void test_not_passed(void **state)
{
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    reply = ask(&pair.a, "POST", "/v1/transactions", "{\"id\":\"x\",\"branches\":7}");
    check_code(&reply, 400, "bad_type", "x");
    free(reply.body);
    reply = ask(&pair.a, "GET", "/v1/transactions?limit=0", NULL);
    check_code(&reply, 400, "bad_parameter", NULL);
    free(reply.body);
    reply = ask(&pair.a, "GET", "/v1/transactions/x?consistency=eventual", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    reply = ask(&pair.a, "GET", "/v1/transactions/x?consistency=session", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    assert_int_equal(pair.a.node.gets, 2);
    reply = ask(&pair.a, "GET", "/healthz", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    assert_int_equal(pair.b.node.forward_count, 0);
    pair_close(&pair);
}

/* Several at once, answered later and in another order, on connections of their own. */
static void test_later(void **state)
{
    struct client clients[8];
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.answer = FAKE_LATER;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&pair.a);
        client_ask(&pair.a, &clients[i], "GET", "/v1/transactions/x?wait_ms=5000", NULL);
        FAKE_WAIT(&pair.a, pair.b.node.waiting_count == i + 1);
    }
    assert_false(api_drain(pair.b.api)); /* it still owes answers */
    fake_reply_all(&pair.b);
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        struct reply reply = client_reply(&pair.a, &clients[i], false);

        assert_int_equal(reply.status, 200);
        free(reply.body);
        client_close(&clients[i]);
    }
    FAKE_WAIT(&pair.a, api_drain(pair.b.api));
    pair_close(&pair);
}

/* The node that was asked makes the id: so the client can ask again, whatever is lost. */
static void test_made_id(void **state)
{
    char id[AS_ID_LEN_MAX + 1];
    struct client client;
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.answer = FAKE_LATER;
    client = client_open(&pair.a);
    client_ask(&pair.a, &client, "POST", "/v1/transactions", BODY_WITHOUT_ID);
    FAKE_WAIT(&pair.a, pair.b.node.waiting_count == 1);
    memcpy(id, pair.b.node.id, sizeof(id));
    assert_int_equal(strlen(id), 36);
    api_forward_done(pair.a.api, pair.a.node.passed[0], AS_ERR_CLOSED, (struct as_bytes){NULL, 0});
    pair.a.node.passed_count = 0;
    reply = client_reply(&pair.a, &client, false);
    check_code(&reply, 503, "outcome_unknown", id);
    free(reply.body);
    client_close(&client);
    fake_reply_all(&pair.b);
    fake_turn(&pair.a);
    pair_close(&pair);
}

static void ask_and_lose(struct pair *pair, const char *method, const char *path, const char *body,
                         as_err err, struct as_bytes answer, struct reply *ret)
{
    struct client client = client_open(&pair->a);
    uint64_t number;

    pair->a.node.held = true;
    client_ask(&pair->a, &client, method, path, body);
    FAKE_WAIT(&pair->a, pair->a.node.passed_count == 1);
    number = pair->a.node.passed[0];
    assert_true(fake_unpass(&pair->a.node, number));
    api_forward_done(pair->a.api, number, err, answer);
    *ret = client_reply(&pair->a, &client, false);
    /* Told twice: nobody waits any more. */
    api_forward_done(pair->a.api, number, err, answer);
    client_close(&client);
    fake_burn_letters(&pair->a.node);
}

static void test_lost(void **state)
{
    static const uint8_t strange[] = {FORWARD_VERSION, 200, 0, 0, 0};
    static const struct {
        as_err err;
        struct as_bytes answer;
    } ends[] = {
        {AS_ERR_CLOSED, {NULL, 0}},
        {AS_OK, {NULL, 0}},
        {AS_OK, {strange, sizeof(strange)}},
    };
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(ends); i++) {
        ask_and_lose(&pair, "POST", "/v1/transactions", BODY, ends[i].err, ends[i].answer, &reply);
        check_code(&reply, 503, "outcome_unknown", "order-4711");
        free(reply.body);
        ask_and_lose(&pair, "POST", ACKNOWLEDGE, "{\"reason\":\"y\"}", ends[i].err, ends[i].answer,
                     &reply);
        check_code(&reply, 503, "outcome_unknown", "order-4711");
        free(reply.body);
        ask_and_lose(&pair, "GET", "/v1/transactions/x", NULL, ends[i].err, ends[i].answer, &reply);
        check_code(&reply, 503, "no_leader", "x");
        free(reply.body);
        ask_and_lose(&pair, "GET", "/v1/participants", NULL, ends[i].err, ends[i].answer, &reply);
        check_code(&reply, 503, "no_leader", NULL);
        free(reply.body);
    }
    assert_int_equal(pair.b.node.submits, 0);
    pair_close(&pair);
}

/* No leader is known: nothing was sent, the client may ask anybody again. */
static void test_no_leader(void **state)
{
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.a.node.leader = NULL;
    reply = ask(&pair.a, "POST", "/v1/transactions", BODY);
    check_code(&reply, 503, "no_leader", "order-4711");
    free(reply.body);
    reply = ask(&pair.a, "GET", "/v1/participants", NULL);
    check_code(&reply, 503, "no_leader", NULL);
    free(reply.body);
    pair_close(&pair);
}

/* Two nodes that take each other for the leader do not play ball with a request. */
static void test_never_twice(void **state)
{
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.not_leading = true;
    pair.b.node.leader = &pair.a.node;
    reply = ask(&pair.a, "POST", "/v1/transactions", BODY);
    check_code(&reply, 503, "no_leader", "order-4711");
    free(reply.body);
    assert_int_equal(pair.b.node.forward_count, 1);
    assert_int_equal(pair.a.node.forward_count, 0);
    assert_int_equal(pair.b.node.submits, 0);
    pair_close(&pair);
}

/* It was not carried out, so it is not "outcome unknown". */
static void test_leader_has_no_room(void **state)
{
    struct client client;
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.answer = FAKE_LATER;
    client = client_open(&pair.a);
    client_ask(&pair.a, &client, "POST", "/v1/transactions", BODY);
    FAKE_WAIT(&pair.a, pair.b.node.waiting_count == 1);
    node_forward_refuse(&pair.b.node, 1);
    reply = client_reply(&pair.a, &client, false);
    check_code(&reply, 503, "overloaded", "order-4711");
    free(reply.body);
    client_close(&client);
    pair_close(&pair);
}

/* A leader of another version says so; it carries nothing out. */
static void test_strange_request(void **state)
{
    struct client client;
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.a.node.held = true;
    client = client_open(&pair.a);
    client_ask(&pair.a, &client, "POST", "/v1/transactions", BODY);
    FAKE_WAIT(&pair.a, pair.a.node.letter_count == 1);
    pair.a.node.letters[0].data[0]++;
    pair.a.node.held = false;
    reply = client_reply(&pair.a, &client, false);
    check_code(&reply, 503, "no_leader", NULL);
    assert_non_null(strstr(reply.body, "version"));
    assert_int_equal(pair.b.node.submits, 0);
    free(reply.body);
    client_close(&client);
    pair_close(&pair);
}

/* A leader that never answers does not keep a client for ever. */
static void test_silent_leader(void **state)
{
    struct api_config config = {.version = "x", .passing_ms = 1};
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, &config);
    pair.a.node.held = true;
    reply = ask(&pair.a, "GET", "/v1/transactions/x", NULL);
    check_code(&reply, 503, "no_leader", "x");
    free(reply.body);
    assert_int_equal(pair.a.node.forgets, 1);
    assert_int_equal(pair.a.node.passed_count, 0);
    reply = ask(&pair.a, "GET", "/metrics", NULL);
    assert_non_null(strstr(reply.body, "\nassent_passed_on_total 1\n"));
    assert_non_null(strstr(reply.body, "\nassent_passed_on_lost_total 1\n"));
    assert_non_null(strstr(reply.body, "\nassent_passed_on_waiting 0\n"));
    free(reply.body);
    /* Its answer comes after all. */
    pair.a.node.held = false;
    fake_turn(&pair.a);
    fake_turn(&pair.a);
    reply = ask(&pair.b, "GET", "/metrics", NULL);
    assert_non_null(strstr(reply.body, "\nassent_served_for_others_total 1\n"));
    assert_non_null(strstr(reply.body, "\nassent_served_for_others 0\n"));
    free(reply.body);
    pair_close(&pair);
}

static void test_client_leaves(void **state)
{
    struct client client;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.answer = FAKE_LATER;
    client = client_open(&pair.a);
    client_ask(&pair.a, &client, "POST", "/v1/transactions", BODY);
    FAKE_WAIT(&pair.a, pair.b.node.waiting_count == 1);
    client_close(&client);
    FAKE_WAIT(&pair.a, pair.a.node.forgets == 1);
    fake_reply_all(&pair.b); /* what it asked for goes on */
    fake_turn(&pair.a);
    fake_turn(&pair.a);
    pair_close(&pair);
}

/* Both end while clients wait. */
static void test_free_while_waiting(void **state)
{
    struct client clients[2];
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.answer = FAKE_LATER;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&pair.a);
        client_ask(&pair.a, &clients[i], "POST", "/v1/transactions", BODY);
        FAKE_WAIT(&pair.a, pair.b.node.waiting_count == i + 1);
    }
    pair_close(&pair);
    assert_int_equal(pair.a.node.forgets, 2);
    assert_int_equal(pair.b.node.forgets, 2);
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++)
        client_close(&clients[i]);
}

/* A body of nearly the largest size, in a POST. */
static char *large_body(void)
{
    size_t max = AS_BODY_BYTES_MAX;
    char *body = malloc(max + 1);
    int at;

    assert_non_null(body);
    at = sprintf(body, "{\"id\":\"x\",\"branches\":[{\"participant\":\"a\",\"statements\":["
                       "{\"sql\":\"x\",\"params\":[\"");
    memset(body + at, 'y', max - (size_t)at);
    memcpy(body + max - 8, "\"]}]}]}", 8);
    return body;
}

/* What waits for the leader is bounded in bytes; what is over it is refused, not lost. */
static void test_overload(void **state)
{
    struct client clients[20];
    char *body = large_body();
    unsigned refused = 0;
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.a.node.held = true;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&pair.a);
        client_ask(&pair.a, &clients[i], "POST", "/v1/transactions", body);
    }
    FAKE_WAIT(&pair.a, pair.a.node.passed_count >= 15);
    reply = ask(&pair.a, "POST", "/v1/transactions", body);
    check_code(&reply, 503, "overloaded", "x");
    free(reply.body);
    pair.a.node.held = false;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        reply = client_reply(&pair.a, &clients[i], false);
        refused += reply.status == 503;
        assert_true(reply.status == 503 || reply.status == 200);
        free(reply.body);
        client_close(&clients[i]);
    }
    assert_int_equal(pair.b.node.submits + refused, AS_COUNT_OF(clients));
    reply = ask(&pair.a, "POST", "/v1/transactions", body);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    free(body);
    pair_close(&pair);
}

/* Rows too large to pass on are left out: that it committed matters more. A list is refused. */
static void test_large_answers(void **state)
{
    struct reply reply;
    struct pair pair;

    (void)state;
    pair_open(&pair, NULL);
    pair.b.node.results.max = 64 << 20;
    as_buf_clear(&pair.b.node.results);
    as_results_put_begin(&pair.b.node.results, 1);
    as_results_put_statement(&pair.b.node.results, 500000, 1, 500000);
    as_results_put_text(&pair.b.node.results, (struct as_bytes){(const uint8_t *)"a", 1});
    for (int i = 0; i < 500000; i++)
        as_results_put_text(&pair.b.node.results,
                            (struct as_bytes){(const uint8_t *)"12345678", 8});
    assert_int_equal(pair.b.node.results.err, AS_OK);
    pair.b.node.branches[0].results = as_buf_bytes(&pair.b.node.results);
    reply = ask(&pair.a, "POST", "/v1/transactions", BODY);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"state\":\"committed\",\"applied\":true"));
    assert_null(strstr(reply.body, "12345678"));
    free(reply.body);
    reply = ask(&pair.b, "POST", "/v1/transactions", BODY);
    assert_non_null(strstr(reply.body, "12345678"));
    free(reply.body);
    pair.b.node.list_length = 20000;
    reply = ask(&pair.a, "GET", "/v1/transactions", NULL);
    check_code(&reply, 500, "answer_too_large", NULL);
    free(reply.body);
    reply = ask(&pair.b, "GET", "/v1/transactions", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    pair_close(&pair);
}

/*
 * Each allocation of ours fails once, at either node: the client gets its answer, a 503, or a
 * closed connection.
 */
static void ask_with_failures(void *ctx)
{
    struct api_config config = {.listen = "127.0.0.1:0", .passing_ms = 1};
    struct pair *pair = ctx;
    struct fake *both[] = {&pair->b, &pair->a};
    struct client client;
    struct reply reply;
    char error[256];
    size_t opened = 0;

    pair->b.node.submits = 0;
    for (; opened < 2; opened++) {
        struct fake *fake = both[opened];

        if (api_new(&fake->api, &config, &fake->loop, &fake->node, &fake->port, error))
            break;
        fake->node.api = fake->api;
    }
    if (opened == 2) {
        client = client_open(&pair->a);
        client_ask(&pair->a, &client, "POST", "/v1/transactions", BODY);
        FAKE_WAIT(&pair->a,
                  (client_read(&client), client.ended || reply_parse(&client, false, &reply)));
        if (!client.ended) {
            assert_true(reply.status == 200 || (reply.status == 503 && test_allocation_failed()));
            /* Whoever may have started something is told how to ask for it. */
            assert_true(strstr(reply.body, "\"id\":\"order-4711\"") || !pair->b.node.submits);
            free(reply.body);
        } else {
            assert_true(test_allocation_failed());
        }
        client_close(&client);
        fake_turn(&pair->a);
    } else {
        assert_true(test_allocation_failed());
    }
    while (opened-- > 0) {
        api_free(both[opened]->api);
        (void)uv_run(&both[opened]->loop, UV_RUN_DEFAULT);
        fake_burn_letters(&both[opened]->node);
        both[opened]->node.forward_count = both[opened]->node.passed_count = 0;
    }
}

static void test_memory(void **state)
{
    static struct pair pair;

    (void)state;
    assert_int_equal(uv_loop_init(&pair.a.loop), 0);
    assert_int_equal(uv_loop_init(&pair.b.loop), 0);
    fake_view(&pair.b.node);
    fake_follow(&pair.a, &pair.b);
    test_fail_each_allocation(ask_with_failures, &pair);
    assert_int_equal(uv_loop_close(&pair.a.loop), 0);
    assert_int_equal(uv_loop_close(&pair.b.loop), 0);
    as_buf_close(&pair.b.node.results);
}

static struct as_bytes bytes_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

/* As written, and nothing else: not cut, not longer, no other version, no value out of its range. */
static void test_bytes(void **state)
{
    struct forward_request request = {.method = FORWARD_DELETE, .session = 77, .id = "order-4711"};
    struct forward_answer answer = {.status = 409, .problem = true, .session = UINT64_MAX};
    struct forward_request request_again;
    struct forward_answer answer_again;
    struct as_buf buf;

    (void)state;
    request.target = bytes_of("/v1/x?y=%20");
    request.body = bytes_of("{}");
    answer.body = bytes_of("[]");
    as_buf_init(&buf, 4096);
    forward_request_put(&buf, &request);
    assert_int_equal(forward_request_take(as_buf_bytes(&buf), &request_again), AS_OK);
    assert_int_equal(request_again.method, FORWARD_DELETE);
    assert_int_equal(request_again.session, 77);
    assert_string_equal(request_again.id, "order-4711");
    assert_int_equal(request_again.target.len, 11);
    assert_int_equal(request_again.body.len, 2);
    for (size_t cut = 0; cut < buf.len; cut++)
        assert_int_equal(forward_request_take((struct as_bytes){buf.data, cut}, &request_again),
                         AS_ERR_MALFORMED);
    buf.data[0]++;
    assert_int_equal(forward_request_take(as_buf_bytes(&buf), &request_again), AS_ERR_MALFORMED);
    buf.data[0]--;
    buf.data[1] = FORWARD_METHOD_COUNT;
    assert_int_equal(forward_request_take(as_buf_bytes(&buf), &request_again), AS_ERR_MALFORMED);
    buf.data[1] = FORWARD_GET;
    as_put_u8(&buf, 0);
    assert_int_equal(forward_request_take(as_buf_bytes(&buf), &request_again), AS_ERR_MALFORMED);
    as_buf_clear(&buf);
    forward_answer_put(&buf, &answer);
    assert_int_equal(forward_answer_take(as_buf_bytes(&buf), &answer_again), AS_OK);
    assert_int_equal(answer_again.status, 409);
    assert_true(answer_again.problem && !answer_again.location);
    assert_true(answer_again.session == UINT64_MAX);
    for (size_t cut = 0; cut < buf.len; cut++)
        assert_int_equal(forward_answer_take((struct as_bytes){buf.data, cut}, &answer_again),
                         AS_ERR_MALFORMED);
    buf.data[3] = 2; /* a type that is none */
    assert_int_equal(forward_answer_take(as_buf_bytes(&buf), &answer_again), AS_ERR_MALFORMED);
    buf.data[3] = 1;
    buf.data[1] = 99; /* a status that is never answered */
    assert_int_equal(forward_answer_take(as_buf_bytes(&buf), &answer_again), AS_ERR_MALFORMED);
    as_buf_close(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_not_passed),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_made_id),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_no_leader),
        cmocka_unit_test(test_never_twice),
        cmocka_unit_test(test_leader_has_no_room),
        cmocka_unit_test(test_strange_request),
        cmocka_unit_test(test_silent_leader),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_free_while_waiting),
        cmocka_unit_test(test_overload),
        cmocka_unit_test(test_large_answers),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
