/*
 * One HTTP request's memory, its number, and its answer.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/api/server.h"

#define BODY_KEPT 16384
#define ANSWER_BYTES_MAX ((size_t)512 << 20) /* 64 branches of 1 MiB, every byte escaped to six */

/* --- Requests: a slab, so that a number finds one, and an old number finds none --- */

struct request *request_new(struct api *api)
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
        as_buf_init(&request->answer.body, ANSWER_BYTES_MAX);
        api->requests[api->request_count++] = request;
    }
    api->in_flight++;
    /* A late reply to the request that had this place before must not find this one. */
    request->generation++;
    request->generation += request->generation == 0;
    request->state = REQUEST_NEW;
    request->route = ROUTE_NONE;
    request->body_seen = 0;
    request->id[0] = request->name[0] = 0;
    request->branch = 0;
    return request;
}

static void answer_clear(struct answer *answer)
{
    as_buf_close(&answer->body);
    answer->allow = NULL;
    answer->location = false;
    answer->status = 0;
}

void request_release(struct request *request)
{
    struct api *api = request->api;

    if (request->body.cap > BODY_KEPT)
        as_buf_close(&request->body);
    as_buf_clear(&request->body);
    answer_clear(&request->answer);
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

/* When there was no memory for the real answer. The transaction may be decided: the id settles it.
 */
static struct MHD_Response *response_without_memory(struct request *request)
{
    char text[320];
    int len =
        snprintf(text, sizeof(text),
                 "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                 "\"code\":\"out_of_memory\",\"detail\":\"this node has no memory left for the "
                 "answer; ask again with the same id\"%s%s%s}",
                 request->id[0] ? ",\"id\":\"" : "", request->id, request->id[0] ? "\"" : "");

    request->answer.status = 503;
    request->answer.type = TYPE_PROBLEM;
    return MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
}

static struct MHD_Response *response_of(struct request *request)
{
    struct answer *answer = &request->answer;
    struct MHD_Response *response;

    if (answer->body.err)
        return response_without_memory(request);
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
    struct MHD_Response *response = response_of(request);
    enum MHD_Result queued;
    bool ok;

    if (!response)
        return MHD_NO;
    ok = MHD_add_response_header(response, "Content-Type", answer->type) == MHD_YES;
    if (answer->allow)
        ok = MHD_add_response_header(response, "Allow", answer->allow) == MHD_YES && ok;
    if (answer->status == 503 || answer->status == 429)
        ok = MHD_add_response_header(response, "Retry-After", "1") == MHD_YES && ok;
    if (answer->location) {
        char location[AS_ID_LEN_MAX + 32];

        (void)snprintf(location, sizeof(location), "/v1/transactions/%s", request->id);
        ok = MHD_add_response_header(response, "Location", location) == MHD_YES && ok;
    }
    if (request->api->draining)
        ok = MHD_add_response_header(response, "Connection", "close") == MHD_YES && ok;
    queued =
        ok ? MHD_queue_response(request->connection, (unsigned)answer->status, response) : MHD_NO;
    MHD_destroy_response(response);
    return queued;
}
