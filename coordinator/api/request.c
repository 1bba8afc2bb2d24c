/*
 * One HTTP request's memory, its number, and its answer.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/api/server.h"

#define BODY_KEPT 4096
#define TARGET_KEPT 1024
#define ANSWER_BYTES_MAX ((size_t)512 << 20) /* 64 branches of 1 MiB, every byte escaped to six */

/* --- Requests: a slab, so that a number finds one, and an old number finds none --- */

struct request *request_new(struct api *api, struct MHD_Connection *connection)
{
    struct request *request;

    if (api->first_free != REQUEST_NONE) {
        request = api->requests[api->first_free];
        api->first_free = request->next_free;
    } else {
        if (api->request_count == api->request_cap) {
            uint32_t cap = api->request_cap ? api->request_cap * 2 : 64;
            void *grown = as_resize(api->requests, cap * sizeof(struct request *));

            if (!grown)
                return NULL;
            api->requests = grown;
            api->request_cap = cap;
        }
        request = as_alloc_zero(1, sizeof(*request));
        if (!request)
            return NULL;
        request->api = api;
        request->index = api->request_count;
        as_buf_init(&request->body, api->config.body_bytes_max);
        as_buf_init(&request->target, FORWARD_TARGET_LEN_MAX + 1);
        as_buf_init(&request->words, FORWARD_TARGET_LEN_MAX + 1);
        as_buf_init(&request->answer.body, ANSWER_BYTES_MAX);
        as_buf_init(&request->caller.participants, AS_GRANT_LINE_MAX);
        api->requests[api->request_count++] = request;
    }
    api->in_flight++;
    if (!connection)
        api->http.served++;
    /* A late reply to the request that had this place before must not find this one. */
    request->generation++;
    request->generation += request->generation == 0;
    request->state = REQUEST_NEW;
    request->route = ROUTE_NONE;
    request->method = FORWARD_GET;
    request->connection = connection;
    request->answer.body.max = connection ? ANSWER_BYTES_MAX : FORWARD_BODY_BYTES_MAX;
    request->began_ns = uv_hrtime();
    request->read = NODE_READ_LINEARIZABLE;
    request->session = 0;
    request->granted = false;
    request->body_seen = 0;
    request->id[0] = request->name[0] = request->gid[0] = 0;
    request->branch = 0;
    request->caller.anybody = false;
    request->caller.roles = 0;
    request->caller.name[0] = 0;
    request->caller.proof = NULL;
    return request;
}

static void answer_clear(struct answer *answer)
{
    as_buf_close(&answer->body);
    answer->allow = answer->challenge = NULL;
    answer->retry_s = 0;
    answer->location = false;
    answer->session = 0;
    answer->status = 0;
}

static void buf_trim(struct as_buf *buf, size_t kept)
{
    if (buf->cap > kept)
        as_buf_close(buf);
    as_buf_clear(buf);
}

void request_forget_body(struct request *request)
{
    buf_trim(&request->body, BODY_KEPT);
    (void)client_body_memory(request);
}

void request_release(struct request *request)
{
    struct api *api = request->api;

    buf_trim(&request->body, BODY_KEPT);
    buf_trim(&request->target, TARGET_KEPT);
    buf_trim(&request->words, TARGET_KEPT);
    buf_trim(&request->caller.participants, TARGET_KEPT);
    answer_clear(&request->answer);
    (void)client_body_memory(request);
    (void)client_answer_memory(request, 0);
    if (!request->connection)
        api->http.served--;
    if (request->passed_bytes) {
        api->http.passed--;
        api->passed_bytes -= request->passed_bytes;
        request->passed_bytes = 0;
    }
    request->state = REQUEST_FREE;
    request->conn = NULL;
    request->connection = NULL;
    request->generation++; /* no number finds it until it is taken again */
    request->next_free = api->first_free;
    api->first_free = request->index;
    api->in_flight--;
}

struct request *request_find(struct api *api, uint64_t client)
{
    uint32_t index = (uint32_t)client;

    if (index >= api->request_count || api->requests[index]->generation != client >> 32)
        return NULL;
    return api->requests[index];
}

void requests_free(struct api *api)
{
    for (uint32_t i = 0; i < api->request_count; i++) {
        as_buf_close(&api->requests[i]->body);
        as_buf_close(&api->requests[i]->target);
        as_buf_close(&api->requests[i]->words);
        as_buf_close(&api->requests[i]->caller.participants);
        answer_clear(&api->requests[i]->answer);
        as_free(api->requests[i]);
    }
    as_free(api->requests);
}

/* --- Answers --- */

void request_refuse(struct request *request, const struct problem *problem)
{
    struct answer *answer = &request->answer;

    as_buf_clear(&answer->body);
    problem_put(&answer->body, problem);
    answer->status = problem->status;
    answer->type = TYPE_PROBLEM;
    request->state = REQUEST_ANSWERED;
}

void request_answer(struct request *request, int status, const char *type)
{
    request->answer.status = status;
    request->answer.type = type;
    request->state = REQUEST_ANSWERED;
}

/* The transaction may be decided all the same: the id settles it. */
struct as_bytes request_no_room(struct request *request, char ret_text[REQUEST_NO_ROOM_LEN])
{
    bool too_big = request->answer.body.err == AS_ERR_TOOBIG;
    int len;

    request->answer.status = too_big ? 500 : 503;
    request->answer.type = TYPE_PROBLEM;
    len = snprintf(
        ret_text, REQUEST_NO_ROOM_LEN,
        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\","
        "\"detail\":\"%s\"%s%s%s}",
        problem_title(request->answer.status), request->answer.status,
        too_big ? "answer_too_large" : "out_of_memory",
        too_big ? "the answer is larger than one node may pass to another; ask for less of it, or "
                  "ask the leader itself"
                : "this node has no memory left for the answer; ask again with the same id",
        request->id[0] ? ",\"id\":\"" : "", request->id, request->id[0] ? "\"" : "");
    return (struct as_bytes){(const uint8_t *)ret_text, (size_t)len};
}

static struct MHD_Response *response_of(struct request *request)
{
    struct answer *answer = &request->answer;
    struct MHD_Response *response;

    if (answer->body.err) {
        char text[REQUEST_NO_ROOM_LEN];
        struct as_bytes body = request_no_room(request, text);

        return MHD_create_response_from_buffer(body.len, text, MHD_RESPMEM_MUST_COPY);
    }
    response = MHD_create_response_from_buffer_with_free_callback(answer->body.len,
                                                                  answer->body.data, as_free);
    if (response) {
        /* The response owns the bytes now. */
        answer->body.data = NULL;
        answer->body.len = answer->body.cap = 0;
    }
    return response;
}

enum MHD_Result request_respond(struct request *request)
{
    struct answer *answer = &request->answer;
    struct MHD_Response *response;
    enum MHD_Result queued;
    bool ok;

    if (!client_answer_memory(request, answer->body.len)) {
        (void)client_answer_memory(request, 0);
        as_buf_close(&answer->body);
        answer->body.err = AS_ERR_NOMEM;
    }
    response = response_of(request);
    client_move(request->conn, CONN_WRITING);
    if (!response)
        return MHD_NO;
    ok = MHD_add_response_header(response, "Content-Type", answer->type) == MHD_YES;
    if (answer->allow)
        ok = MHD_add_response_header(response, "Allow", answer->allow) == MHD_YES && ok;
    if (answer->challenge && answer->status == 401)
        ok = MHD_add_response_header(response, "WWW-Authenticate", answer->challenge) == MHD_YES &&
             ok;
    if (answer->status == 503 || answer->status == 429) {
        char retry[16];

        (void)snprintf(retry, sizeof(retry), "%u", answer->retry_s ? answer->retry_s : 1u);
        ok = MHD_add_response_header(response, "Retry-After", retry) == MHD_YES && ok;
    }
    if (answer->location) {
        char location[AS_ID_LEN_MAX + 32];

        (void)snprintf(location, sizeof(location), "/v1/transactions/%s", request->id);
        ok = MHD_add_response_header(response, "Location", location) == MHD_YES && ok;
    }
    if (answer->session) {
        char session[24];

        (void)snprintf(session, sizeof(session), "%llu", (unsigned long long)answer->session);
        ok = MHD_add_response_header(response, "Assent-Session", session) == MHD_YES && ok;
    }
    if (request->api->draining || (request->conn && request->conn->surplus))
        ok = MHD_add_response_header(response, "Connection", "close") == MHD_YES && ok;
    queued =
        ok ? MHD_queue_response(request->connection, (unsigned)answer->status, response) : MHD_NO;
    MHD_destroy_response(response);
    return queued;
}
