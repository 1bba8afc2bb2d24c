/*
 * Inside the API room: one HTTP request and its answer. server.c owns connections, requests and
 * their lives; handlers.c knows the routes.
 *
 *   NEW -> READING -> ASKED -> SUSPENDED -> ANSWERED -> (written, or its client is gone) -> free
 * again |          |________________^    ^
 *            |________________________________|   answered at once, or refused
 *
 * ASKED: the node has it and may answer from inside that very call. SUSPENDED: libmicrohttpd has
 * put the connection aside; api_reply resumes it. GONE: its client left while it waited; resumed
 * only to be ended.
 */
#ifndef ASSENT_API_SERVER_H
#define ASSENT_API_SERVER_H

#include <microhttpd.h>
#include <uv.h>

#include "assent/hist.h"
#include "coordinator/api/answer.h"
#include "coordinator/api/api.h"
#include "coordinator/api/body.h"

#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"

enum request_state {
    REQUEST_NEW,
    REQUEST_READING,
    REQUEST_ASKED,
    REQUEST_SUSPENDED,
    REQUEST_ANSWERED,
    REQUEST_GONE,
};

struct answer {
    int status;
    const char *type;
    struct as_buf body; /* libmicrohttpd takes its memory */
    const char *allow;  /* for 405, or NULL */
    bool location;      /* of the request's id */
};

struct request {
    struct api *api;
    struct conn *conn; /* NULL: there was no memory to keep track of it */
    struct MHD_Connection *connection;
    uint32_t index, generation, next_free;
    enum request_state state;
    enum route route;
    bool odd_uri; /* has a %00, which would end the path early */
    uint64_t began_ns;
    struct as_buf body;
    size_t body_seen;
    char id[AS_ID_LEN_MAX + 1];
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    uint32_t branch;
    struct answer answer;
};

/* A TCP connection: to find those that keep a request half sent. */
struct conn {
    struct conn *next, *prev;
    struct request *request; /* NULL: between two requests */
    int fd;
    uint32_t dribbles; /* looks in a row that found bytes but no request */
    uint64_t since_ms; /* between two requests since then, or last looked at then */
};

struct api {
    struct api_config config;
    uv_loop_t *loop;
    struct node *node;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer; /* when libmicrohttpd wants to run next */
    uv_timer_t sweep;
    unsigned open_handles;
    bool running; /* inside MHD_run */
    bool resumed; /* some connection waits for MHD_run */
    bool asked;   /* the node was called since this was cleared */
    bool draining;
    struct conn *conns;
    struct request **requests;
    uint32_t request_count, request_cap, first_free;
    uint32_t in_flight;
    struct body_reader reader;
    struct answer_http http;
    struct as_hist duration_ns[ROUTE_COUNT];
    uint64_t started_ns;
};

/* The request's number towards the node; never 0. */
static inline uint64_t request_client(const struct request *request)
{
    return (uint64_t)request->generation << 32 | request->index;
}

/* --- request.c --- */

#define REQUEST_NONE UINT32_MAX

/* A slab, so that a number finds its request, and an old number finds none. NULL: out of memory. */
struct request *request_new(struct api *api);
void request_release(struct request *request);
struct request *request_find(struct api *api, uint64_t client);
void requests_free(struct api *api);

void request_refuse(struct request *request, const struct problem *problem);
/* The answer is in request->answer.body; a failure of that buffer becomes a 503. */
void request_answer(struct request *request, int status, const char *type);
/* Hands the answer to libmicrohttpd. */
enum MHD_Result request_respond(struct request *request);

/* --- routes.c, handlers.c --- */

/* The headers are there: finds the route and refuses what needs no body to be refused. */
void handler_begin(struct request *request, const char *method, const char *url);
/* The body is there: answers, or asks the node. */
void handler_run(struct request *request);
/* The node's answer. */
void handler_reply(struct request *request, const struct as_reply *reply);

/* Refuses with the request's id, if it is known by now. */
void handler_refuse(struct request *request, int status, const char *code, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* --- Query parameters: each known, each once --- */

#define QUERY_MAX 4

struct query {
    struct request *request;
    const char *const *names; /* allowed ones */
    size_t count;
    const char *values[QUERY_MAX]; /* NULL: not given */
};

/* False: refused. */
bool query_read(struct query *query, struct request *request, const char *const *names,
                size_t count);
/* A decimal number; *ret_value stays if it is not given. False: refused. */
bool query_number(struct query *query, size_t i, uint64_t min, uint64_t max, uint64_t *ret_value);

/* --- listen.c --- */

/* A bound, listening, non-blocking socket. */
as_err listen_open(const char *address, int *ret_fd, uint16_t *ret_port,
                   char ret_error[256]) AS_MUSTCHECK;

#endif
