/*
 * What each route does: from a request to the node, and from the node's answer to HTTP.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "coordinator/api/server.h"

#define WAIT_MS_MAX 60000
#define LIST_LIMIT_DEFAULT 100
#define LIST_LIMIT_MAX 1000

/* --- Transactions --- */

/* UUIDv7 (RFC 9562, 5.7). */
static bool make_id(char ret_id[AS_ID_LEN_MAX + 1])
{
    static const char digits[] = "0123456789abcdef";
    struct timespec now;
    uint8_t bytes[16];
    uint64_t ms;
    char *out = ret_id;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (gnutls_rnd(GNUTLS_RND_NONCE, bytes + 6, 10) != 0)
        return false;
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = 0;
    return true;
}

bool handler_body(struct request *request, struct as_bytes *ret_body)
{
    if (request->body_seen > request->api->config.body_bytes_max) {
        handler_refuse(request, 413, "body_too_large", "a body is at most %zu bytes here",
                       request->api->config.body_bytes_max);
        return false;
    }
    if (request->body.err) {
        handler_refuse(request, 503, "out_of_memory",
                       "this node has no memory left for the request; try again later");
        return false;
    }
    *ret_body = as_buf_bytes(&request->body);
    return true;
}

/* Every branch where the caller may run one. */
static bool may_submit(struct request *request, const struct as_submit *submit)
{
    char detail[160];

    for (uint32_t i = 0; i < submit->branch_count; i++) {
        struct as_bytes participant = submit->branches[i].participant;

        if (auth_uses(request, participant))
            continue;
        (void)snprintf(detail, sizeof(detail), "branch %u: you may not use participant \"%.*s\"",
                       (unsigned)i + 1, (int)participant.len, (const char *)participant.data);
        auth_refuse(request, AUTH_WRONG_PARTICIPANT, detail);
        return false;
    }
    return true;
}

static void run_submit(struct request *request)
{
    struct api *api = request->api;
    struct as_submit submit;
    struct problem problem;
    struct as_bytes body;
    struct query query;

    if (!query_read(&query, request, NULL, 0) || !handler_body(request, &body))
        return;
    if (!body_submit(&api->reader, body, &submit, &problem)) {
        memcpy(problem.id, submit.id, sizeof(problem.id));
        request_refuse(request, &problem);
        return;
    }
    /* One that was passed on without an id has been given one there. */
    if (!submit.id[0])
        memcpy(submit.id, request->id, sizeof(submit.id));
    if (!submit.id[0] && !make_id(submit.id)) {
        handler_refuse(request, 503, "out_of_memory", "no random bytes for an id; try again later");
        return;
    }
    memcpy(request->id, submit.id, sizeof(request->id));
    if (!may_submit(request, &submit))
        return;
    /* Undecided until its timeout, then not applied until as long after. */
    if (pass_on(request, 2 * (uint64_t)submit.timeout_ms))
        return;
    request->state = REQUEST_ASKED;
    api->asked = true;
    node_submit(api->node, request_client(request), &submit);
}

/* docs/consistency.md. False: refused. */
static bool read_level(struct request *request, const char *text)
{
    static const char *const levels[] = {"linearizable", "session", "eventual"};
    size_t level = NODE_READ_LINEARIZABLE;

    while (text && level < AS_COUNT_OF(levels) && strcmp(text, levels[level]) != 0)
        level++;
    request->read = (enum node_read)level;
    if (level < AS_COUNT_OF(levels))
        return true;
    handler_refuse(request, 400, "bad_parameter",
                   "\"consistency\" is linearizable, session or eventual");
    return false;
}

/* Asks the node for a transaction. No transaction has the id "": it is not found as soon as the
 * table here is as new as the request wants it to be. */
static void ask_node(struct request *request, const char *id, uint32_t wait_ms)
{
    request->state = REQUEST_ASKED;
    request->api->asked = true;
    node_get(request->api->node, request_client(request), id, wait_ms, request->read,
             request->session);
}

static void run_get(struct request *request)
{
    static const char *const names[] = {"wait_ms", "consistency"};
    uint64_t wait_ms = 0;
    struct query query;

    if (!query_read(&query, request, names, AS_COUNT_OF(names)) ||
        !query_number(&query, 0, 0, WAIT_MS_MAX, &wait_ms) || !read_level(request, query.values[1]))
        return;
    if (request->read == NODE_READ_LINEARIZABLE && pass_on(request, wait_ms))
        return;
    ask_node(request, request->id, (uint32_t)wait_ms);
}

/* api.md's table. */
static int status_of(const struct request *request, const struct as_txn_view *view)
{
    if (request->route != ROUTE_TXN_SUBMIT)
        return 200;
    if (view->state == AS_TXN_ABORTED)
        return 409;
    return view->state == AS_TXN_COMMITTED && view->applied ? 200 : 202;
}

/* The highest log index that the client has seen with this answer: that of what it wrote, or of the
 * table it read. */
static void bear_session(struct request *request, const struct as_txn_view *view)
{
    struct node_info info;
    uint64_t seen;

    node_info(request->api->node, &info);
    seen = request->route != ROUTE_TXN_SUBMIT ? info.applied_index : view ? view->index : 0;
    request->answer.session = seen > request->session ? seen : request->session;
}

static void answer_list(struct request *request);

static void reply_refused(struct request *request, const struct as_reply *reply)
{
    struct problem problem;

    /* The node gave up waiting: nobody has to lead for such a read. */
    if (reply->refusal == AS_REFUSAL_NO_LEADER && request->read == NODE_READ_SESSION) {
        handler_refuse(
            request, 503, "behind",
            "this node has not come to log index %llu of your Assent-Session in time; ask "
            "another node, or again",
            (unsigned long long)request->session);
        return;
    }
    problem_of_refusal(&problem, reply->refusal, reply->id);
    if (reply->detail && *reply->detail)
        problem_add(&problem, reply->detail);
    request_refuse(request, &problem);
    request->answer.location = request->route == ROUTE_TXN_SUBMIT;
    if (reply->refusal == AS_REFUSAL_NOT_FOUND)
        bear_session(request, NULL);
}

void handler_reply(struct request *request, const struct as_reply *reply)
{
    struct as_buf *buf = &request->answer.body;
    struct node_info info;

    if (reply->refused && reply->refusal == AS_REFUSAL_NOT_FOUND &&
        request->route == ROUTE_TXN_LIST) {
        answer_list(request);
        return;
    }
    if (reply->refused) {
        reply_refused(request, reply);
        return;
    }
    as_buf_clear(buf);
    if (reply->prepared || reply->resolved) {
        if (reply->prepared)
            answer_prepared(buf, reply->prepared);
        else
            answer_resolved(buf, reply->resolved, reply->tag);
        request_answer(request, 200, TYPE_JSON);
        return;
    }
    if (request->route == ROUTE_TXN_GET && !auth_sees(request, reply->view)) {
        auth_refuse(request, AUTH_WRONG_PARTICIPANT, NULL);
        return;
    }
    node_info(request->api->node, &info);
    answer_txn(buf, reply->view, &info, true);
    /* The decision matters more than the rows: without memory for both, the rows go. */
    if (buf->err) {
        as_buf_close(buf);
        answer_txn(buf, reply->view, &info, false);
    }
    request_answer(request, status_of(request, reply->view), TYPE_JSON);
    request->answer.location = request->route == ROUTE_TXN_SUBMIT;
    bear_session(request, reply->view);
}

struct list {
    const struct request *request;
    struct as_buf *buf;
    struct node_info info;
    uint32_t count;
};

static void list_txn(void *ctx, const struct as_txn_view *view)
{
    struct list *list = ctx;

    /* Of one whose participants are not known any more, a list tells nobody but who may see all. */
    if (!auth_sees(list->request, view) ||
        (view->branch_count == 0 && !auth_sees_all(list->request)))
        return;
    if (list->count++)
        as_put_u8(list->buf, ',');
    answer_txn(list->buf, view, &list->info, false);
}

static bool list_state(struct request *request, const char *text, enum txn_list_state *ret_state)
{
    static const struct {
        const char *text;
        enum txn_list_state state;
    } rows[] = {
        {"active", TXN_LIST_ACTIVE},       {"preparing", TXN_LIST_PREPARING},
        {"committed", TXN_LIST_COMMITTED}, {"aborted", TXN_LIST_ABORTED},
        {"pending", TXN_LIST_PENDING},     {"heuristic", TXN_LIST_HEURISTIC},
    };

    *ret_state = TXN_LIST_ANY;
    if (!text)
        return true;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        if (strcmp(text, rows[i].text) == 0) {
            *ret_state = rows[i].state;
            return true;
        }
    }
    handler_refuse(request, 400, "bad_parameter",
                   "\"state\" is active, preparing, committed, aborted, pending or heuristic");
    return false;
}

/* What is asked for; its texts are valid until the next query_read. False: refused. */
static bool list_read(struct request *request, struct txn_list_query *ret_wanted)
{
    static const char *const names[] = {"state", "participant", "limit", "after", "consistency"};
    uint64_t limit = LIST_LIMIT_DEFAULT;
    const char *participant;
    struct query query;

    *ret_wanted = (struct txn_list_query){0};
    if (!query_read(&query, request, names, AS_COUNT_OF(names)) ||
        !list_state(request, query.values[0], &ret_wanted->state) ||
        !query_number(&query, 2, 1, LIST_LIMIT_MAX, &limit) ||
        !query_number(&query, 3, 0, UINT64_MAX, &ret_wanted->after) ||
        !read_level(request, query.values[4]))
        return false;
    participant = query.values[1];
    ret_wanted->participant = participant;
    ret_wanted->limit = (uint32_t)limit;
    if (!participant || as_participant_valid(participant, strlen(participant)))
        return true;
    handler_refuse(request, 400, "bad_participant",
                   "a participant's name is 1 to %d of a-z 0-9 _ - and begins with a letter",
                   AS_PARTICIPANT_LEN_MAX);
    return false;
}

/* The table here is new enough. */
static void answer_list(struct request *request)
{
    struct list list = {.request = request, .buf = &request->answer.body};
    struct txn_list_query wanted;
    uint64_t next = 0;

    if (!list_read(request, &wanted))
        return;
    node_info(request->api->node, &list.info);
    JSON_PUT(list.buf, "{\"transactions\":[");
    node_list(request->api->node, &wanted, list_txn, &list, &next);
    JSON_PUT(list.buf, "],\"next\":");
    if (next) {
        as_put_u8(list.buf, '"');
        json_put_u64(list.buf, next);
        as_put_u8(list.buf, '"');
    } else {
        JSON_PUT(list.buf, "null");
    }
    as_put_u8(list.buf, '}');
    request_answer(request, 200, TYPE_JSON);
    bear_session(request, NULL);
}

static void run_list(struct request *request)
{
    struct txn_list_query wanted;

    if (!list_read(request, &wanted) ||
        (request->read == NODE_READ_LINEARIZABLE && pass_on(request, 0)))
        return;
    ask_node(request, "", 0);
}

/* --- Participants, metrics --- */

static void list_participant(void *ctx, const struct node_participant_view *view)
{
    struct list *list = ctx;

    if (list->count++)
        as_put_u8(list->buf, ',');
    answer_participant(list->buf, view);
}

static void run_participants(struct request *request)
{
    struct list list = {.buf = &request->answer.body};
    struct query query;

    if (!query_read(&query, request, NULL, 0) || pass_on(request, 0))
        return;
    JSON_PUT(list.buf, "{\"participants\":[");
    node_participants(request->api->node, NULL, list_participant, &list);
    JSON_PUT(list.buf, "]}");
    request_answer(request, 200, TYPE_JSON);
}

static void run_participant(struct request *request)
{
    struct list list = {.buf = &request->answer.body};
    struct query query;

    if (!query_read(&query, request, NULL, 0) || pass_on(request, 0))
        return;
    node_participants(request->api->node, request->name, list_participant, &list);
    if (list.count)
        request_answer(request, 200, TYPE_JSON);
    else
        handler_refuse(request, 404, "no_such_participant",
                       "no agent has served a participant \"%s\" yet; see /v1/participants",
                       request->name);
}

static void run_metrics(struct request *request)
{
    struct api *api = request->api;

    api->http.uptime_s = (double)(uv_hrtime() - api->started_ns) / 1e9;
    answer_metrics(&request->answer.body, api->node, &api->http, api->config.version);
    request_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void handler_run(struct request *request)
{
    struct as_buf *buf = &request->answer.body;

    switch (request->route) {
    case ROUTE_TXN_SUBMIT:
        run_submit(request);
        break;
    case ROUTE_TXN_LIST:
        run_list(request);
        break;
    case ROUTE_TXN_GET:
        run_get(request);
        break;
    case ROUTE_TXN_ACKNOWLEDGE:
        run_acknowledge(request);
        break;
    case ROUTE_PARTICIPANTS:
        run_participants(request);
        break;
    case ROUTE_PARTICIPANT:
        run_participant(request);
        break;
    case ROUTE_PREPARED:
        run_prepared(request);
        break;
    case ROUTE_RESOLVE:
        run_resolve(request);
        break;
    case ROUTE_CLUSTER:
        run_cluster(request);
        break;
    case ROUTE_CLUSTER_ADD:
        run_cluster_add(request);
        break;
    case ROUTE_CLUSTER_REMOVE:
        run_cluster_remove(request);
        break;
    case ROUTE_CLUSTER_TRANSFER:
        run_cluster_transfer(request);
        break;
    case ROUTE_CLUSTER_SNAPSHOT:
        run_cluster_snapshot(request);
        break;
    case ROUTE_HEALTH:
        JSON_PUT(buf, "{\"status\":\"ok\"}");
        request_answer(request, 200, TYPE_JSON);
        break;
    case ROUTE_READY:
        run_ready(request);
        break;
    case ROUTE_METRICS:
        run_metrics(request);
        break;
    case ROUTE_OPENAPI:
        answer_openapi(buf);
        request_answer(request, 200, "application/yaml");
        break;
    case ROUTE_PAGE:
        answer_page(buf);
        request_answer(request, 200, "text/html; charset=utf-8");
        break;
    case ROUTE_NONE:
    case ROUTE_COUNT:
        break; /* refused when it began */
    }
    /* A large body's memory is not kept. */
    body_trim(&request->api->reader);
}
