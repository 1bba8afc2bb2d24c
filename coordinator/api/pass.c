/*
 * Requests that only the leader can answer: a node that does not lead passes them on and answers as
 * the leader did; the leader carries out what others pass on.
 *
 * Fault model: the link between the two may be lost, or the leader fall silent, at any time. A
 * request that was sent may then have been carried out: its client hears outcome_unknown, asks again
 * with the same id, and that settles it (R9). What was sent once is never sent again from here, and
 * no node passes on what was passed on to it: two nodes that each take the other for the leader
 * would do so for ever.
 */
#include <string.h>

#include "coordinator/api/server.h"

/* At most so much waits here for the leader; what lies unsent in a link is less. */
#define PASSED_MAX 1024
#define PASSED_BYTES_MAX (16u << 20)
/* And so much is served here for all other nodes. */
#define SERVED_MAX ((RAFT_MEMBERS_MAX - 1) * PASSED_MAX)
#define PASSING_KEPT 65536

/* --- At the node that was asked --- */

/* The request as bytes for the leader, in api->passing. */
static void encode(struct request *request, struct as_bytes body)
{
    struct as_buf *buf = &request->api->passing;
    struct forward_request out = {
        .method = request->method,
        .session = request->session,
        .participants = auth_sees_all(request) ? (struct as_bytes){NULL, 0}
                                               : as_buf_bytes(&request->caller.participants),
        .target = target_text(request),
        .body = body,
    };

    memcpy(out.id, request->id, sizeof(out.id));
    if (request->method == FORWARD_POST)
        memcpy(out.content_type, TYPE_JSON, sizeof(TYPE_JSON));
    as_buf_clear(buf);
    forward_request_put(buf, &out);
}

static void trim(struct as_buf *buf)
{
    if (buf->cap > PASSING_KEPT)
        as_buf_close(buf);
}

static void refuse_no_leader(struct request *request)
{
    struct problem problem;

    problem_of_refusal(&problem, AS_REFUSAL_NO_LEADER, request->id);
    request_refuse(request, &problem);
}

static void send_on(struct request *request, uint64_t patience_ms)
{
    struct api *api = request->api;
    struct as_bytes bytes = as_buf_bytes(&api->passing);

    request->state = REQUEST_ASKED;
    request->passed_bytes = bytes.len;
    request->give_up_ns = uv_hrtime() + (patience_ms + api->config.passing_ms) * 1000000;
    api->asked = true;
    api->passed_bytes += bytes.len;
    api->http.passed++;
    if (node_forward(api->node, request_client(request), bytes)) {
        api->http.passed_total++;
        return;
    }
    api->http.passed--;
    api->passed_bytes -= bytes.len;
    request->passed_bytes = 0;
    refuse_no_leader(request);
}

bool pass_on_as(struct request *request, uint64_t patience_ms, struct as_bytes body)
{
    struct api *api = request->api;
    struct node_info info;

    node_info(api->node, &info);
    if (info.leading)
        return false;
    if (!request->connection) {
        refuse_no_leader(request);
        return true;
    }
    encode(request, body);
    if (api->passing.err == AS_ERR_TOOBIG)
        handler_refuse(request, 413, "body_too_large",
                       "this node does not lead, and passes on at most %u bytes; ask the leader",
                       (unsigned)FORWARD_REQUEST_BYTES_MAX);
    else if (api->passing.err)
        handler_refuse(request, 503, "out_of_memory",
                       "this node has no memory left for the request; try again later");
    else if (api->http.passed >= PASSED_MAX ||
             api->passed_bytes + api->passing.len > PASSED_BYTES_MAX)
        handler_refuse(request, 503, "overloaded",
                       "too many requests wait for the leader here; try again later");
    else
        send_on(request, patience_ms);
    trim(&api->passing);
    return true;
}

bool pass_on(struct request *request, uint64_t patience_ms)
{
    return pass_on_as(request, patience_ms, as_buf_bytes(&request->body));
}

void pass_lost(struct request *request)
{
    struct problem problem;

    request->api->http.passed_lost++;
    if (request->method == FORWARD_GET) {
        refuse_no_leader(request);
    } else if (request->id[0]) {
        problem_of_refusal(&problem, AS_REFUSAL_OUTCOME_UNKNOWN, request->id);
        request_refuse(request, &problem);
    } else {
        handler_refuse(
            request, 503, "outcome_unknown",
            "the leader was lost before it answered, and may have carried this out; look "
            "before you ask again");
    }
}

static void refuse_busy(struct request *request)
{
    handler_refuse(request, 503, "overloaded",
                   "the leader serves too many requests for other nodes; try again later");
}

static bool take_answer(struct request *request, struct as_bytes bytes)
{
    struct forward_answer in;

    if (forward_answer_take(bytes, &in) != AS_OK)
        return false;
    as_buf_clear(&request->answer.body);
    as_put_bytes(&request->answer.body, in.body.data, in.body.len);
    request->answer.location = in.location;
    request->answer.session = in.session;
    request_answer(request, in.status, in.problem ? TYPE_PROBLEM : TYPE_JSON);
    return true;
}

void api_forward_done(struct api *api, uint64_t client, as_err err, struct as_bytes answer)
{
    struct request *request = request_find(api, client);
    bool aside;

    if (!request || !request->passed_bytes ||
        (request->state != REQUEST_ASKED && request->state != REQUEST_SUSPENDED))
        return;
    aside = request->state == REQUEST_SUSPENDED;
    if (err == AS_ERR_BUSY)
        refuse_busy(request);
    else if (err || !take_answer(request, answer))
        pass_lost(request);
    if (aside)
        request_resume(request);
}

/* --- At the leader --- */

void pass_due(struct request *request)
{
    struct api *api = request->api;

    request->next_due = NULL;
    if (api->due)
        api->due_last->next_due = request;
    else
        api->due = request;
    api->due_last = request;
}

static void begin(struct request *request, const struct forward_request *in)
{
    struct request_head head = {forward_method_text(in->method),
                                in->content_type[0] ? in->content_type : NULL, NULL, NULL};

    target_take(request, (const char *)in->target.data, in->target.len);
    as_put_bytes(&request->body, in->body.data, in->body.len);
    request->body_seen = in->body.len;
    memcpy(request->id, in->id, sizeof(request->id));
    request->session = in->session;
    request->state = REQUEST_READING;
    if (auth_passed_on(request, in->participants))
        handler_begin(request, &head);
}

void api_forwarded(struct api *api, uint64_t forward, struct as_bytes bytes)
{
    struct request *request = request_new(api, NULL);
    struct forward_request in;

    if (!request) {
        /* No memory. Of more than these, the other nodes give up by themselves. */
        if (api->unheard_count < AS_COUNT_OF(api->unheard))
            api->unheard[api->unheard_count++] = forward;
        return;
    }
    request->forward = forward;
    api->http.served_total++;
    if (forward_request_take(bytes, &in) != AS_OK)
        handler_refuse(request, 503, "no_leader",
                       "the leader does not understand what this node passes on (it runs another "
                       "version); ask the leader itself");
    else if (api->http.served > SERVED_MAX)
        refuse_busy(request);
    else
        begin(request, &in);
    /* An environment's call must not call the node back (assent/env.h): at the turn's end. */
    pass_due(request);
}

static void send_back(struct request *request)
{
    struct api *api = request->api;
    struct answer *answer = &request->answer;
    struct as_bytes body = as_buf_bytes(&answer->body), bytes = {NULL, 0};
    char text[REQUEST_NO_ROOM_LEN];

    if (answer->body.err)
        body = request_no_room(request, text);
    as_buf_clear(&api->passing);
    forward_answer_put(&api->passing,
                       &(struct forward_answer){.status = answer->status,
                                                .problem = strcmp(answer->type, TYPE_PROBLEM) == 0,
                                                .location = answer->location,
                                                .session = answer->session,
                                                .body = body});
    /* No memory for it. No bytes are no answer, and are taken so. */
    if (!api->passing.err)
        bytes = as_buf_bytes(&api->passing);
    node_forward_reply(api->node, request->forward, bytes);
    trim(&api->passing);
    api->asked = true;
}

/* Runs one that just came, or ends one that is answered. */
static void advance(struct request *request)
{
    if (request->state == REQUEST_READING && !request->answer.status)
        handler_run(request);
    if (request->state == REQUEST_ASKED) {
        request->state = REQUEST_SUSPENDED;
        return;
    }
    if (request->state != REQUEST_GONE)
        send_back(request);
    request_release(request);
}

void pass_turn(struct api *api)
{
    while (api->unheard_count) {
        node_forward_refuse(api->node, api->unheard[--api->unheard_count]);
        api->asked = true;
    }
    /* What comes due meanwhile is done in the same turn: each comes due twice at most. */
    while (api->due) {
        struct request *request = api->due;

        api->due = request->next_due;
        advance(request);
    }
}
