/*
 * Answers over HTTP: every route, waiting and leaving clients, pipelining, shutting down, lack of
 * memory.
 */
#include "fake.h"

#include <cjson/cJSON.h>

#include "coordinator/api/answer.h"

#define BODY                                                                           \
    "{\"id\":\"order-4711\",\"branches\":[{\"participant\":\"bank_a\",\"statements\":" \
    "[{\"sql\":\"UPDATE a SET b = $1\",\"params\":[9007199254740993]}]}]}"
#define BODY_WITHOUT_ID \
    "{\"branches\":[{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"SELECT 1\"}]}]}"

static cJSON *parse(const struct reply *reply)
{
    cJSON *json = cJSON_Parse(reply->body);

    if (!json)
        fail_msg("no JSON: %s", reply->body);
    return json;
}

static void test_committed(void **state)
{
    const char *expected =
        "{\"id\":\"order-4711\",\"state\":\"committed\",\"applied\":true,\"attempt\":\"7.42\","
        "\"index\":1042,\"created_at\":\"2026-01-31T12:00:00.000Z\","
        "\"decided_at\":\"2026-01-31T12:00:00.004Z\",\"branches\":["
        "{\"number\":1,\"participant\":\"bank_a\",\"state\":\"committed\","
        "\"gid\":\"assent/demo/5f3a9c01d2e4b687/7.42/1/order-4711\","
        "\"results\":[{\"rows_affected\":1,\"columns\":[\"balance\"],\"rows\":[[\"600\"]]}]},"
        "{\"number\":2,\"participant\":\"bank_b\",\"state\":\"committed\","
        "\"gid\":\"assent/demo/5f3a9c01d2e4b687/7.42/2/order-4711\",\"results\":null}]}";
    struct as_work_reader work;
    struct as_statement statement;
    struct as_bytes param;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "POST", "/v1/transactions", BODY);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, expected);
    assert_string_equal(reply_header(&reply, "Content-Type"), "application/json");
    assert_string_equal(reply_header(&reply, "Location"), "/v1/transactions/order-4711");
    assert_null(reply_header(&reply, "Retry-After"));
    free(reply.body);
    assert_string_equal(fake.node.id, "order-4711");
    assert_int_equal(fake.node.timeout_ms, AS_TIMEOUT_MS_DEFAULT);
    assert_int_equal(as_work_open(&work, (struct as_bytes){fake.node.work, fake.node.work_len}),
                     AS_OK);
    assert_int_equal(as_work_next_statement(&work, &statement), AS_OK);
    assert_int_equal(as_work_next_param(&work, &param), AS_OK);
    assert_memory_equal(param.data, "9007199254740993", 17);
    fake_close(&fake);
}

/* api.md's table of statuses. */
static void test_statuses(void **state)
{
    static const struct {
        enum as_txn_state state;
        bool applied;
        int post, get;
    } rows[] = {
        {AS_TXN_COMMITTED, true, 200, 200}, {AS_TXN_COMMITTED, false, 202, 200},
        {AS_TXN_ACTIVE, false, 202, 200},   {AS_TXN_PREPARING, false, 202, 200},
        {AS_TXN_ABORTED, true, 409, 200},
    };
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        fake.node.view.state = rows[i].state;
        fake.node.view.applied = rows[i].applied;
        reply = ask(&fake, "POST", "/v1/transactions", BODY);
        assert_int_equal(reply.status, rows[i].post);
        free(reply.body);
        reply = ask(&fake, "GET", "/v1/transactions/x?wait_ms=60000&consistency=session", NULL);
        assert_int_equal(reply.status, rows[i].get);
        assert_int_equal(fake.node.wait_ms, 60000);
        free(reply.body);
    }
    reply = ask(&fake, "HEAD", "/v1/transactions/x", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    fake_close(&fake);
}

static void test_aborted(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    as_reason_set(&fake.node.reason, AS_REASON_STATEMENT_FAILED, "no \"such\" row");
    fake.node.reason.branch = 2;
    fake.node.reason.statement = 0;
    (void)snprintf(fake.node.reason.participant, sizeof(fake.node.reason.participant), "bank_b");
    (void)snprintf(fake.node.reason.sqlstate, sizeof(fake.node.reason.sqlstate), "23514");
    fake.node.view.state = AS_TXN_ABORTED;
    fake.node.view.index = 0;
    fake.node.view.decided_ms = 0;
    fake.node.view.branch_count = 0;
    fake.node.view.reason = &fake.node.reason;
    reply = ask(&fake, "POST", "/v1/transactions", BODY);
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply.body,
                        "{\"id\":\"order-4711\",\"state\":\"aborted\",\"applied\":true,"
                        "\"attempt\":\"7.42\",\"index\":null,"
                        "\"created_at\":\"2026-01-31T12:00:00.000Z\",\"decided_at\":null,"
                        "\"branches\":[],\"reason\":{\"code\":\"statement_failed\","
                        "\"message\":\"no \\\"such\\\" row\",\"participant\":\"bank_b\","
                        "\"branch\":2,\"statement\":0,\"sqlstate\":\"23514\"}}");
    free(reply.body);
    /* A reason that names nothing. */
    as_reason_set(&fake.node.reason, AS_REASON_TIMEOUT, "30000 ms");
    fake.node.reason.branch = 0;
    fake.node.reason.statement = -1;
    fake.node.reason.participant[0] = fake.node.reason.sqlstate[0] = 0;
    reply = ask(&fake, "GET", "/v1/transactions/x", NULL);
    assert_non_null(strstr(reply.body, "\"participant\":null,\"branch\":null,\"statement\":null,"
                                       "\"sqlstate\":null}}"));
    free(reply.body);
    fake_close(&fake);
}

static void test_refusals(void **state)
{
#define ROW(name, status, code, text) {AS_REFUSAL_##name, status, code},
    static const struct {
        enum as_refusal refusal;
        int status;
        const char *code;
    } rows[] = {AS_REFUSAL_MAP(ROW)};
#undef ROW
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_REFUSE;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        const char *retry;
        struct reply reply;
        cJSON *json;

        fake.node.refusal = rows[i].refusal;
        reply = ask(&fake, "POST", "/v1/transactions", BODY);
        assert_int_equal(reply.status, rows[i].status);
        retry = reply_header(&reply, "Retry-After");
        assert_int_equal(retry && strcmp(retry, "1") == 0, rows[i].status == 503);
        json = parse(&reply);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "code")), rows[i].code);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "id")), "order-4711");
        cJSON_Delete(json);
        free(reply.body);
    }
    fake_close(&fake);
}

/* Without an id one is made: a UUIDv7 of now, each time another. */
static void test_made_id(void **state)
{
    char before[AS_ID_LEN_MAX + 1];
    int64_t ms, now = (int64_t)time(NULL) * 1000;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "POST", "/v1/transactions", BODY_WITHOUT_ID);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    assert_true(as_id_uuid7_ms(fake.node.id, strlen(fake.node.id), &ms));
    assert_true(ms >= now - 1000 && ms < now + 600000);
    memcpy(before, fake.node.id, sizeof(before));
    reply = ask(&fake, "POST", "/v1/transactions", BODY_WITHOUT_ID);
    free(reply.body);
    assert_string_not_equal(before, fake.node.id);
    fake_close(&fake);
}

/* Answers that come later, in another order than the questions. */
static void test_later(void **state)
{
    struct client clients[8];
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_LATER;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&fake);
        client_ask(&fake, &clients[i], i % 2 ? "GET" : "POST",
                   i % 2 ? "/v1/transactions/x?wait_ms=5000" : "/v1/transactions",
                   i % 2 ? NULL : BODY);
        FAKE_WAIT(&fake, fake.node.waiting_count == i + 1);
    }
    fake_reply_all(&fake);
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        struct reply reply = client_reply(&fake, &clients[i], false);

        assert_int_equal(reply.status, 200);
        free(reply.body);
        client_close(&clients[i]);
    }
    /* A number that was answered finds nobody any more. */
    fake.node.view.id = "late";
    api_reply(fake.api, (uint64_t)1 << 32,
              &(struct as_reply){.id = "late", .view = &fake.node.view});
    api_reply(fake.api, UINT64_MAX, &(struct as_reply){.id = "late", .view = &fake.node.view});
    fake_close(&fake);
}

/* Requests sent at once on one connection are answered in order; also when each has to wait. */
static void test_pipelined(void **state)
{
    char text[16384];
    size_t len = 0;
    struct client client;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (int round = 0; round < 2; round++) {
        fake.node.answer = round ? FAKE_LATER : FAKE_AT_ONCE;
        client = client_open(&fake);
        len = 0;
        for (int i = 0; i < 20; i++) {
            char path[64];

            (void)snprintf(path, sizeof(path), "/v1/transactions/id-%d", i);
            len += request_text(text + len, sizeof(text) - len, "GET", path, NULL);
            len += request_text(text + len, sizeof(text) - len, "POST", "/v1/transactions", BODY);
        }
        client_send(&fake, &client, text, len);
        for (int i = 0; i < 40; i++) {
            char expected[64];
            struct reply reply;

            if (round) {
                FAKE_WAIT(&fake, fake.node.waiting_count == 1);
                fake_reply(&fake.node, 0, "nobody");
                fake_reply(&fake.node, fake.node.waiting[0], fake.node.id);
                fake.node.waiting_count = 0;
            }
            reply = client_reply(&fake, &client, false);
            (void)snprintf(expected, sizeof(expected), "{\"id\":\"id-%d\"", i / 2);
            assert_int_equal(reply.status, 200);
            assert_int_equal(strncmp(reply.body, i % 2 ? "{\"id\":\"order-4711\"" : expected,
                                     strlen(i % 2 ? "{\"id\":\"order-4711\"" : expected)),
                             0);
            free(reply.body);
        }
        client_close(&client);
    }
    fake_close(&fake);
}

/* A request that arrives byte by byte. */
static void test_piecemeal(void **state)
{
    char text[1024];
    size_t len = request_text(text, sizeof(text), "POST", "/v1/transactions", BODY);
    struct client client;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    client = client_open(&fake);
    for (size_t i = 0; i < len; i++)
        client_send(&fake, &client, text + i, 1);
    reply = client_reply(&fake, &client, false);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    client_close(&client);
    fake_close(&fake);
}

/* The largest body goes in, and comes out again as a parameter. */
static void test_huge(void **state)
{
    size_t max = AS_BODY_BYTES_MAX;
    char *body = malloc(max + 1);
    struct reply reply;
    struct fake fake;
    int at;

    (void)state;
    assert_non_null(body);
    fake_open(&fake, NULL);
    at = sprintf(body, "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\","
                       "\"params\":[\"");
    memset(body + at, 'y', max - (size_t)at);
    memcpy(body + max - 8, "\"]}]}]}", 8);
    assert_int_equal(strlen(body), max - 1);
    reply = ask(&fake, "POST", "/v1/transactions", body);
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.work_len, sizeof(fake.node.work));
    free(reply.body);
    free(body);
    fake_close(&fake);
}

/* Results larger than any socket buffer, with every kind of character. */
static void test_large_results(void **state)
{
    struct reply reply;
    struct fake fake;
    cJSON *json, *rows;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.results.max = 64 << 20;
    as_buf_clear(&fake.node.results);
    as_results_put_begin(&fake.node.results, 1);
    as_results_put_statement(&fake.node.results, 100000, 2, 100000);
    as_results_put_text(&fake.node.results, (struct as_bytes){(const uint8_t *)"a\"", 2});
    as_results_put_text(&fake.node.results, (struct as_bytes){(const uint8_t *)"", 0});
    for (int i = 0; i < 100000; i++) {
        as_results_put_text(&fake.node.results,
                            (struct as_bytes){(const uint8_t *)"\xe2\x82\xac\n\xff<>", 7});
        as_results_put_text(&fake.node.results, (struct as_bytes){NULL, 0});
    }
    assert_int_equal(fake.node.results.err, AS_OK);
    fake.node.branches[0].results = as_buf_bytes(&fake.node.results);
    reply = ask(&fake, "POST", "/v1/transactions", BODY);
    assert_int_equal(reply.status, 200);
    json = parse(&reply);
    rows = cJSON_GetObjectItem(json, "branches")->child;
    rows = cJSON_GetObjectItem(cJSON_GetObjectItem(rows, "results")->child, "rows");
    assert_int_equal(cJSON_GetArraySize(rows), 100000);
    assert_string_equal(rows->child->child->valuestring, "\xe2\x82\xac\n\xef\xbf\xbd<>");
    assert_true(cJSON_IsNull(rows->child->child->next));
    cJSON_Delete(json);
    free(reply.body);
    fake_close(&fake);
}

/* Results that cannot be read are left out: the outcome is told all the same. */
static void test_broken_results(void **state)
{
    static const uint8_t endless[] = {1, 0, 0, 0, 1, 0, 0,    0,    0,    0,
                                      0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (size_t cut = 1; cut < fake.node.results.len; cut++) {
        fake.node.branches[0].results.len = cut;
        reply = ask(&fake, "POST", "/v1/transactions", BODY);
        assert_int_equal(reply.status, 200);
        assert_non_null(strstr(reply.body, "order-4711\",\"results\":null},{\"number\":2"));
        free(reply.body);
    }
    as_put_u8(&fake.node.results, 0); /* one byte too many */
    fake.node.branches[0].results = as_buf_bytes(&fake.node.results);
    reply = ask(&fake, "POST", "/v1/transactions", BODY);
    assert_non_null(strstr(reply.body, "order-4711\",\"results\":null},{\"number\":2"));
    free(reply.body);
    fake.node.branches[0].results = (struct as_bytes){endless, sizeof(endless)};
    reply = ask(&fake, "POST", "/v1/transactions", BODY);
    assert_int_equal(reply.status, 200);
    assert_true(reply.body_len < 1000);
    free(reply.body);
    fake_close(&fake);
}

/* A client that leaves while it waits is forgotten; the others are not. */
static void test_client_leaves(void **state)
{
    const char *half = "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json"
                       "\r\nContent-Length: 100\r\n\r\n{\"bra";
    struct client leaves, stays;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_LATER;
    leaves = client_open(&fake);
    client_ask(&fake, &leaves, "POST", "/v1/transactions", BODY);
    FAKE_WAIT(&fake, fake.node.waiting_count == 1);
    stays = client_open(&fake);
    client_ask(&fake, &stays, "GET", "/v1/transactions/y?wait_ms=60000", NULL);
    FAKE_WAIT(&fake, fake.node.waiting_count == 2);
    client_close(&leaves);
    FAKE_WAIT(&fake, fake.node.forgets == 1);
    assert_int_equal(fake.node.waiting_count, 1);
    fake_reply_all(&fake);
    reply = client_reply(&fake, &stays, false);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    client_close(&stays);
    /* One that leaves in the middle of its body was never heard of. */
    leaves = client_open(&fake);
    client_send(&fake, &leaves, half, strlen(half));
    client_close(&leaves);
    reply = ask(&fake, "GET", "/metrics", NULL);
    FAKE_WAIT(&fake, strstr(reply.body, "assent_http_connections 1\n") ||
                         (free(reply.body), reply = ask(&fake, "GET", "/metrics", NULL), false));
    free(reply.body);
    assert_int_equal(fake.node.submits, 1);
    fake_close(&fake);
}

/* Bytes that keep coming and never become a request do not hold a connection for ever. */
static void test_slow_client(void **state)
{
    const char *half = "POST /v1/transactions HTTP/1.1\r\nHost: a\r\n"
                       "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    const char *const begins[] = {"", "GE", "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ", half};
    struct api_config config = {.version = "x", .request_timeout_s = 1};
    struct client slow[AS_COUNT_OF(begins)], idle;
    struct reply reply;
    struct fake fake;
    bool ended = false;

    (void)state;
    fake_open(&fake, &config);
    idle = client_open(&fake);
    for (size_t i = 0; i < AS_COUNT_OF(begins); i++) {
        slow[i] = client_open(&fake);
        client_send(&fake, &slow[i], begins[i], strlen(begins[i]));
    }
    for (time_t began = time(NULL); !ended && time(NULL) - began < FAKE_DEADLINE_S;) {
        struct timespec pause = {0, 50000000};

        (void)nanosleep(&pause, NULL); /* the client's slowness */
        ended = true;
        for (size_t i = 0; i < AS_COUNT_OF(begins); i++) {
            client_send(&fake, &slow[i], " ", 1);
            client_read(&slow[i]);
            ended = ended && slow[i].ended;
        }
        fake_turn(&fake);
    }
    for (size_t i = 0; i < AS_COUNT_OF(begins); i++) {
        if (!slow[i].ended)
            fail_msg("still open: %s", begins[i]);
        client_close(&slow[i]);
    }
    /* One that sends nothing at all has the longer idle timeout. */
    client_ask(&fake, &idle, "GET", "/metrics", NULL);
    reply = client_reply(&fake, &idle, false);
    assert_non_null(
        strstr(reply.body, "assent_http_limited_total{limit=\"request_timeout_s\"} 4\n"));
    free(reply.body);
    client_close(&idle);
    fake_close(&fake);
}

/* A connection over the limit ends the one that was idle longest. */
static void test_connection_limit(void **state)
{
    struct api_config config = {.version = "x", .connections_max = 2};
    struct client clients[4];
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, &config);
    for (size_t i = 0; i < 2; i++)
        clients[i] = client_open(&fake);
    for (size_t i = 2; i-- > 0;) { /* the first one asks last */
        client_ask(&fake, &clients[i], "GET", "/healthz", NULL);
        reply = client_reply(&fake, &clients[i], false);
        free(reply.body);
    }
    for (size_t i = 2; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&fake);
        client_ask(&fake, &clients[i], "GET", "/healthz", NULL);
        reply = client_reply(&fake, &clients[i], false);
        assert_int_equal(reply.status, 200);
        free(reply.body);
        FAKE_WAIT(&fake, (client_read(&clients[3 - i]), clients[3 - i].ended));
    }
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++)
        client_close(&clients[i]);
    fake_close(&fake);
}

/* All wait for the node: none of them ends, and the one too many is told so. */
static void test_connection_limit_waiting(void **state)
{
    struct api_config config = {.version = "x", .connections_max = 2};
    struct client clients[3];
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, &config);
    fake.node.answer = FAKE_LATER;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&fake);
        client_ask(&fake, &clients[i], "POST", "/v1/transactions", BODY_WITHOUT_ID);
        if (i < 2)
            FAKE_WAIT(&fake, fake.node.waiting_count == i + 1);
    }
    reply = client_reply(&fake, &clients[2], false);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "\"code\":\"overloaded\""));
    assert_string_equal(reply_header(&reply, "Connection"), "close");
    free(reply.body);
    assert_int_equal(fake.node.submits, 2);
    fake_reply_all(&fake);
    for (size_t i = 0; i < 2; i++) {
        reply = client_reply(&fake, &clients[i], false);
        assert_int_equal(reply.status, 200);
        free(reply.body);
    }
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++)
        client_close(&clients[i]);
    fake_close(&fake);
}

/* Sent at once, without a turn of the loop in between. */
static void send_at_once(struct client *client, const char *text, int times)
{
    for (int i = 0; i < times; i++)
        assert_int_equal(send(client->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int answers_of(struct client *client)
{
    int count = 0;

    client_read(client);
    for (const char *at = client->in; at && (at = strstr(at, "HTTP/1.1 200")); at++)
        count++;
    return count;
}

/* Many requests at once, each client's behind one another: agents and the disk have their turns, too. */
static void test_pipelines_leave_turns(void **state)
{
    enum { CLIENTS = 4, REQUESTS = 100, IN_A_TURN = 16 };
    struct client clients[CLIENTS];
    int turns = 0, answered = 0;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_open(&fake);
        send_at_once(&clients[i], "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", REQUESTS);
    }
    for (; answered < CLIENTS * REQUESTS && turns < 10000; turns++) {
        fake_turn(&fake);
        answered = 0;
        for (int i = 0; i < CLIENTS; i++)
            answered += answers_of(&clients[i]);
    }
    assert_int_equal(answered, CLIENTS * REQUESTS);
    assert_in_range(turns, REQUESTS / IN_A_TURN, 9999);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    fake_close(&fake);
}

/* More at once than a turn has time for: so many at a time, and all of them in the end. */
static void test_turns_are_short(void **state)
{
    enum { CLIENTS = 200, IN_A_TURN = 3 * 32 };
    struct api_config config = {.version = "x", .turn_us = 1};
    struct client clients[CLIENTS];
    int answered = 0, turns = 0;
    struct fake fake;

    (void)state;
    fake_open(&fake, &config);
    for (int i = 0; i < CLIENTS; i++) { /* all are accepted before it begins */
        struct reply reply;

        clients[i] = client_open(&fake);
        client_ask(&fake, &clients[i], "GET", "/healthz", NULL);
        reply = client_reply(&fake, &clients[i], false);
        free(reply.body);
    }
    for (int i = 0; i < CLIENTS; i++)
        send_at_once(&clients[i], "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    for (; answered < CLIENTS && turns < 10000; turns++) {
        int before = answered;

        fake_turn(&fake);
        answered = 0;
        for (int i = 0; i < CLIENTS; i++)
            answered += answers_of(&clients[i]);
        assert_in_range(answered, before, before + IN_A_TURN);
    }
    assert_int_equal(answered, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    fake_close(&fake);
}

static void test_acknowledge(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "POST", "/v1/transactions/order-4711/branches/2/acknowledge",
                "{\"reason\":\"booked by hand\",\"who\":\"ann\"}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.acknowledges, 1);
    assert_int_equal(fake.node.branch, 2);
    assert_string_equal(fake.node.who, "ann");
    assert_string_equal(fake.node.why, "booked by hand");
    free(reply.body);
    fake.node.answer = FAKE_REFUSE;
    fake.node.refusal = AS_REFUSAL_NOT_HEURISTIC;
    reply = ask(&fake, "POST", "/v1/transactions/order-4711/branches/64/acknowledge",
                "{\"reason\":\"booked by hand\"}");
    assert_int_equal(reply.status, 409);
    assert_int_equal(fake.node.branch, 64);
    assert_string_equal(fake.node.who, "operator");
    free(reply.body);
    /* Nobody is asked for a token here, so nobody has shown one. */
    fake.node.acknowledges = 0;
    reply = ask(&fake, "POST", "/v1/transactions/order-4711/branches/2/acknowledge",
                "{\"reason\":\"booked by hand\",\"who\":\"token:ann\"}");
    assert_int_equal(reply.status, 400);
    free(reply.body);
    reply = ask(&fake, "POST", "/v1/transactions/order-4711/branches/2/acknowledge",
                "{\"reason\":\"booked by hand\",\"who\":\"cert:ann\"}");
    assert_int_equal(reply.status, 400);
    assert_int_equal(fake.node.acknowledges, 0);
    free(reply.body);
    fake_close(&fake);
}

static void test_list(void **state)
{
    struct reply reply;
    struct fake fake;
    cJSON *json;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", "/v1/transactions", NULL);
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.query.state, TXN_LIST_ANY);
    assert_int_equal(fake.node.query.limit, 100);
    json = parse(&reply);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "transactions")), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "next")),
                        "18446744073709551615");
    assert_null(strstr(reply.body, "results"));
    cJSON_Delete(json);
    free(reply.body);
    reply = ask(&fake, "GET",
                "/v1/transactions?state=pending&participant=bank_a&limit=1000&"
                "after=18446744073709551615",
                NULL);
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.node.query.state, TXN_LIST_PENDING);
    assert_int_equal(fake.node.query.limit, 1000);
    assert_true(fake.node.query.after == UINT64_MAX);
    assert_string_equal(fake.node.query_participant, "bank_a");
    assert_non_null(strstr(reply.body, "],\"next\":null}"));
    free(reply.body);
    fake_close(&fake);
}

/* Escapes are read in paths and queries; "+" is a space in a query only (WHATWG URL, forms). */
static void test_escapes(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", "/v1/%74ransactions/a%2dB%3A9?wait%5Fms=%317", NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(fake.node.id, "a-B:9");
    assert_int_equal(fake.node.wait_ms, 17);
    free(reply.body);
    reply = ask(&fake, "GET", "/v1/transactions/x?a+b%2Bc=1", NULL);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body, "a b+c"));
    free(reply.body);
    reply = ask(&fake, "GET", "/v1/transactions/a+b", NULL);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body, "bad_id"));
    free(reply.body);
    fake_close(&fake);
}

static void test_views(void **state)
{
    struct reply reply;
    struct fake fake;
    cJSON *json, *agent;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", "/v1/participants", NULL);
    json = parse(&reply);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "participants")), 1);
    cJSON_Delete(json);
    free(reply.body);
    reply = ask(&fake, "GET", "/v1/participants/bank_a", NULL);
    json = parse(&reply);
    assert_string_equal(cJSON_GetObjectItem(json, "state")->valuestring, "up");
    assert_string_equal(cJSON_GetObjectItem(json, "counter")->valuestring, "18446744073709551615");
    assert_string_equal(cJSON_GetObjectItem(json, "identity")->valuestring,
                        "ab010000000000000000000000000000");
    agent = cJSON_GetObjectItem(json, "agents")->child;
    assert_string_equal(cJSON_GetObjectItem(agent, "postgresql")->valuestring, "15.18");
    assert_string_equal(cJSON_GetObjectItem(agent, "detail")->valuestring, "fsync is off");
    assert_int_equal(cJSON_GetObjectItem(agent, "in_doubt")->valueint, 2);
    assert_int_equal(cJSON_GetObjectItem(agent, "audit_age_ms")->valueint, 1500);
    assert_int_equal(cJSON_GetObjectItem(agent, "xmin_age")->valueint, 41);
    assert_int_equal(cJSON_GetObjectItem(agent, "prepared_used_foreign")->valueint, 1);
    assert_string_equal(cJSON_GetObjectItem(agent->next, "state")->valuestring, "down");
    /* an agent of an older version, and one that has not looked yet */
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(agent->next, "xmin_age")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(agent->next, "prepared_used_foreign")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(agent->next, "audit_age_ms")));
    cJSON_Delete(json);
    free(reply.body);
    fake.node.unserved = true; /* work for it would be refused: unknown_participant */
    reply = ask(&fake, "GET", "/v1/participants/bank_a", NULL);
    json = parse(&reply);
    assert_string_equal(cJSON_GetObjectItem(json, "state")->valuestring, "down");
    cJSON_Delete(json);
    free(reply.body);
    reply = ask(&fake, "GET", "/v1/cluster", NULL);
    json = parse(&reply);
    assert_string_equal(cJSON_GetObjectItem(json, "incarnation")->valuestring, "5f3a9c01d2e4b687");
    assert_int_equal(cJSON_GetObjectItem(json, "leader")->valueint, 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "nodes")), 3);
    cJSON_Delete(json);
    free(reply.body);
    reply = ask(&fake, "GET", "/", NULL);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "/v1/transactions"));
    free(reply.body);
    fake_close(&fake);
}

static void test_health(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", "/healthz", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    reply = ask(&fake, "GET", "/readyz", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    fake.node.not_leading = true;
    reply = ask(&fake, "GET", "/readyz", NULL);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "no_leader"));
    free(reply.body);
    fake.node.leader = &fake.node;
    reply = ask(&fake, "GET", "/readyz", NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body,
                        "{\"status\":\"ready\",\"role\":\"follower\",\"leader\":1,\"term\":7}");
    free(reply.body);
    /* It asks for votes: it has stopped to follow that leader. */
    fake.node.role = RAFT_PRE_CANDIDATE;
    reply = ask(&fake, "GET", "/readyz", NULL);
    assert_int_equal(reply.status, 503);
    free(reply.body);
    reply = ask(&fake, "GET", "/healthz", NULL);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    fake_close(&fake);
}

/* What is served is the file that people read. */
static void test_openapi(void **state)
{
    FILE *file = fopen(AS_TEST_DATA "/../../docs/openapi.yaml", "rb");
    char *expected = calloc(1, 1 << 20);
    struct reply reply;
    struct fake fake;

    (void)state;
    assert_non_null(file);
    assert_non_null(expected);
    assert_true(fread(expected, 1, (1 << 20) - 1, file) > 1000);
    (void)fclose(file);
    fake_open(&fake, NULL);
    reply = ask(&fake, "GET", "/openapi.yaml", NULL);
    assert_int_equal(reply.status, 200);
    if (strcmp(reply.body, expected) != 0)
        fail_msg("run coordinator/api/openapi.sh");
    free(reply.body);
    free(expected);
    fake_close(&fake);
}

/* The method's line below the path's line, before the next path; behind it, the roles. */
static bool openapi_has(const char *yaml, const char *path, const char *method, unsigned roles)
{
    char line[128], lower[16] = "", text[AS_ROLES_TEXT_MAX], spaced[64] = "", *out = spaced;
    const char *at, *end;

    for (size_t i = 0; method[i] && i < sizeof(lower) - 1; i++)
        lower[i] = (char)(method[i] | 0x20);
    (void)snprintf(line, sizeof(line), "\n  %s:\n", path);
    at = strstr(yaml, line);
    if (!at)
        return false;
    at += strlen(line) - 1;
    for (end = at; strncmp(end, "\n  /", 4) != 0 && *end && strncmp(end, "\ncomp", 6) != 0;)
        end++;
    (void)snprintf(line, sizeof(line), "\n    %s:\n", lower);
    at = strstr(at, line);
    if (!at || at >= end)
        return false;
    for (const char *in = as_roles_text(roles, text); *in; in++) {
        *out++ = *in;
        if (*in == ',')
            *out++ = ' ';
    }
    (void)snprintf(line, sizeof(line), "{ token: [%s] }", spaced);
    at = strstr(at, "\n      security: ");
    end = at ? strchr(at + 1, '\n') : NULL;
    at = at ? strstr(at, line) : NULL;
    return at && at < end;
}

/* What is described is what is served, route by route. */
static void test_openapi_routes(void **state)
{
#define ROUTE_ROW(name, method, path, roles) {method, path, roles},
    static const struct {
        const char *method, *path;
        unsigned roles;
    } routes[] = {ANSWER_ROUTE_MAP(ROUTE_ROW)};
#undef ROUTE_ROW
    size_t described = 0;
    struct as_buf yaml;

    (void)state;
    as_buf_init(&yaml, 1 << 20);
    answer_openapi(&yaml);
    as_put_u8(&yaml, 0);
    for (size_t i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++) {
        if (!openapi_has((const char *)yaml.data, routes[i].path, routes[i].method,
                         routes[i].roles))
            fail_msg("docs/openapi.yaml lacks %s %s, or its roles", routes[i].method,
                     routes[i].path);
    }
    for (const char *at = (const char *)yaml.data; (at = strstr(at, "operationId: ")); at++)
        described++;
    assert_int_equal(described, ROUTE_COUNT - 1);
    as_buf_close(&yaml);
}

static bool sample_is(const struct reply *reply, const char *line)
{
    return strstr(reply->body, line) != NULL;
}

/* Every line is a comment or a sample, and every sample's family was declared with HELP and TYPE.
 */
static void check_exposition(char *text)
{
    char family[128] = "", type[32] = "";

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], *end;
        size_t len;

        if (sscanf(line, "# HELP %127s", name) == 1) {
            memcpy(family, name, sizeof(family));
            continue;
        }
        if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
            assert_string_equal(name, family);
            continue;
        }
        len = strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789");
        (void)snprintf(name, sizeof(name), "%.*s", (int)len, line);
        assert_int_equal(strncmp(name, family, strlen(family)), 0);
        if (strcmp(type, "histogram") != 0)
            assert_string_equal(name, family);
        end = strrchr(line, ' ');
        assert_non_null(end);
        (void)strtod(end + 1, &end);
        assert_int_equal(*end, 0);
    }
}

static void test_metrics(void **state)
{
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    for (int i = 0; i < 3; i++) {
        reply = ask(&fake, "POST", "/v1/transactions", BODY);
        free(reply.body);
    }
    reply = ask(&fake, "POST", "/v1/transactions", "{");
    free(reply.body);
    reply = ask(&fake, "GET", "/metrics", NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Content-Type"),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_true(sample_is(&reply, "assent_http_requests_total{method=\"POST\",route=\"/v1/"
                                  "transactions\",status=\"200\"} 3\n"));
    assert_true(sample_is(&reply, "status=\"400\"} 1\n"));
    assert_true(sample_is(&reply, "assent_submits_total 3\n"));
    assert_true(sample_is(&reply, "assent_decisions_committed_total 11\n"));
    assert_true(sample_is(&reply, "assent_decisions_aborted_total{reason=\"timeout\"} 2\n"));
    assert_true(sample_is(&reply, "assent_participant_in_doubt{participant=\"bank_a\"} 2\n"));
    assert_true(sample_is(
        &reply, "assent_participant_oldest_prepared_seconds{participant=\"bank_a\"} 2.5\n"));
    assert_true(sample_is(&reply, "assent_participant_xmin_age{participant=\"bank_a\"} 41\n"));
    assert_true(
        sample_is(&reply, "assent_participant_audit_age_seconds{participant=\"bank_a\"} 1.5\n"));
    assert_true(sample_is(&reply, "assent_http_request_duration_seconds_count{method=\"POST\","
                                  "route=\"/v1/transactions\"} 4\n"));
    assert_true(sample_is(&reply, "assent_build_info{version=\"0.1\"} 1\n"));
    assert_true(sample_is(&reply, "\nprocess_resident_memory_bytes "));
    check_exposition(reply.body);
    free(reply.body);
    fake_close(&fake);
}

/* Shutting down: no new connections, idle ones end, the waiting are answered. */
static void test_drain(void **state)
{
    struct client waits, idle;
    struct reply reply;
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    idle = client_open(&fake);
    client_ask(&fake, &idle, "GET", "/healthz", NULL);
    reply = client_reply(&fake, &idle, false);
    free(reply.body);
    fake.node.answer = FAKE_LATER;
    waits = client_open(&fake);
    client_ask(&fake, &waits, "POST", "/v1/transactions", BODY);
    FAKE_WAIT(&fake, fake.node.waiting_count == 1);
    assert_false(api_drain(fake.api));
    FAKE_WAIT(&fake, (client_read(&idle), idle.ended));
    client_close(&idle);
    idle = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(
        connect(idle.fd,
                (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
                                                         .sin_port = htons(fake.port),
                                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                sizeof(struct sockaddr_in)),
        -1);
    client_close(&idle);
    assert_false(api_drain(fake.api));
    fake_reply_all(&fake);
    reply = client_reply(&fake, &waits, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Connection"), "close");
    free(reply.body);
    FAKE_WAIT(&fake, api_drain(fake.api));
    client_close(&waits);
    fake_close(&fake);
}

/* Freed while clients wait: they are forgotten, and see the end of the connection. */
static void test_free_while_waiting(void **state)
{
    struct client clients[3];
    struct fake fake;

    (void)state;
    fake_open(&fake, NULL);
    fake.node.answer = FAKE_LATER;
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        clients[i] = client_open(&fake);
        client_ask(&fake, &clients[i], "POST", "/v1/transactions", BODY);
        FAKE_WAIT(&fake, fake.node.waiting_count == i + 1);
    }
    fake_close(&fake);
    assert_int_equal(fake.node.forgets, 3);
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        client_read(&clients[i]);
        assert_true(clients[i].ended);
        client_close(&clients[i]);
    }
}

static void test_listen_errors(void **state)
{
    static const char *const bad[] = {"", "7480", "localhost", "a:b:1", "h:", "h:x", "h:123456"};
    struct api_config config = {.version = "x"};
    struct fake fake;
    struct api *api;
    uint16_t port;
    char error[256];

    (void)state;
    fake_open(&fake, NULL);
    (void)snprintf(config.listen, sizeof(config.listen), "127.0.0.1:%u", (unsigned)fake.port);
    assert_int_equal(api_new(&api, &config, &fake.loop, &fake.node, &port, error), AS_ERR_IO);
    assert_non_null(strstr(error, "Address already in use"));
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++) {
        (void)snprintf(config.listen, sizeof(config.listen), "%s", bad[i]);
        assert_int_equal(api_new(&api, &config, &fake.loop, &fake.node, &port, error),
                         AS_ERR_INVALID);
        assert_non_null(strstr(error, "host:port"));
    }
    fake_close(&fake);
}

/* What the memory tests send, and what the answer holds if memory suffices. */
struct memory_case {
    struct fake fake;
    const char *method, *path, *body;
    int status;
    const char *holds;
};

/*
 * Each allocation of ours fails once: the client gets its answer, a 503, or a closed connection;
 * never a wrong answer, and nothing leaks.
 */
static void ask_with_failures(void *ctx)
{
    struct memory_case *test = ctx;
    struct fake *fake = &test->fake;
    struct api_config config = {.listen = "127.0.0.1:0"};
    struct client client;
    struct reply reply;
    char error[256];
    as_err err;

    err = api_new(&fake->api, &config, &fake->loop, &fake->node, &fake->port, error);
    if (err) {
        assert_true(test_allocation_failed());
        assert_int_equal(err, AS_ERR_NOMEM);
        return;
    }
    fake->node.api = fake->api;
    client = client_open(fake);
    client_ask(fake, &client, test->method, test->path, test->body);
    FAKE_WAIT(fake, (client_read(&client), client.ended || reply_parse(&client, false, &reply)));
    if (client.ended) {
        assert_true(test_allocation_failed());
    } else {
        cJSON_Delete(parse(&reply));
        if (reply.status != test->status) {
            assert_true(test_allocation_failed());
            assert_int_equal(reply.status, 503);
        }
        assert_non_null(
            strstr(reply.body, reply.status == test->status ? test->holds : "out_of_memory"));
        free(reply.body);
    }
    client_close(&client);
    api_free(fake->api);
    (void)uv_run(&fake->loop, UV_RUN_DEFAULT);
}

static void test_memory(void **state)
{
    static struct memory_case cases[] = {
        {.method = "POST",
         .path = "/v1/transactions",
         .body = BODY,
         .status = 200,
         .holds = "\"id\":\"order-4711\""},
        {.method = "POST",
         .path = "/v1/transactions",
         .body = "{\"\\u0061\":1}",
         .status = 400,
         .holds = "unknown_field"},
        {.method = "GET", .path = "/v1/transactions", .status = 200, .holds = "\"second\""},
        {.method = "GET", .path = "/v1/participants/bank_a", .status = 200, .holds = "agent-2"},
        {.method = "GET", .path = "/nothing", .status = 404, .holds = "no_such_route"},
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
        cmocka_unit_test(test_committed),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_aborted),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_made_id),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_piecemeal),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_broken_results),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_slow_client),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_connection_limit_waiting),
        cmocka_unit_test(test_pipelines_leave_turns),
        cmocka_unit_test(test_turns_are_short),
        cmocka_unit_test(test_acknowledge),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_openapi),
        cmocka_unit_test(test_openapi_routes),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_free_while_waiting),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
