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
 *
 * A request that another node passed on (pass.c) takes the same way without a connection: it is run,
 * and its answer sent back, at the end of a turn. One that this node passes on is ASKED and SUSPENDED
 * like any other; the leader takes the node's place.
 */
#ifndef ASSENT_API_SERVER_H
#define ASSENT_API_SERVER_H

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <uv.h>

#include "assent/hist.h"
#include "coordinator/api/answer.h"
#include "coordinator/api/api.h"
#include "coordinator/api/body.h"
#include "coordinator/api/forward.h"

#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"

enum request_state {
    REQUEST_FREE,
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
    struct as_buf body;    /* libmicrohttpd takes its memory */
    const char *allow;     /* for 405, or NULL */
    const char *challenge; /* WWW-Authenticate, for 401, or NULL */
    uint32_t retry_s;      /* for 429 and 503; 0: 1 */
    bool location;         /* of the request's id */
    uint64_t session;      /* Assent-Session; 0: none */
};

struct request {
    struct api *api;
    struct conn *conn;                 /* NULL: there was no memory to keep track of it */
    struct MHD_Connection *connection; /* NULL: another node passed it on */
    uint32_t index, generation, next_free;
    enum request_state state;
    enum route route;
    enum forward_method method;
    struct auth_caller caller;
    enum node_read read;
    uint64_t session;     /* highest log index that the client has seen; 0: none */
    struct as_buf target; /* path and query as they came, and a NUL */
    struct as_buf words;  /* of the target, while they are read */
    uint64_t began_ns;
    uint64_t forward;         /* connection NULL: the node's number for it */
    struct request *next_due; /* and behind it in api.due, or in api.held */
    bool granted;             /* it was held, and is to be run now */
    size_t passed_bytes;      /* passed on to the leader, which answers it; 0: it was not */
    uint64_t give_up_ns;      /* then */
    struct as_buf body;
    size_t body_seen;
    size_t body_memory, answer_memory; /* as clients.c counts them */
    char id[AS_ID_LEN_MAX + 1];
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    char gid[AS_GID_LEN_MAX + 1];
    uint32_t branch;
    uint64_t node_id; /* in the path */
    struct answer answer;
};

/* Where a TCP connection stands: a list of api.places each, those longest there first. */
enum conn_place {
    CONN_IDLE,    /* no request line: between two requests, or in the handshake */
    CONN_READING, /* a request line, and the rest has not come yet */
    CONN_WAITING, /* the node has the request */
    CONN_WRITING, /* the answer leaves */
    CONN_ENDING,  /* shut down: libmicrohttpd will see it */
    CONN_PLACES,
};

struct conn {
    struct api *api;
    struct conn *next, *prev; /* of its place */
    enum conn_place place;
    struct request *request; /* NULL: between two requests */
    int fd;
    gnutls_session_t session;            /* NULL: plain */
    struct tls_credentials *credentials; /* NULL: plain; else those of its handshake */
    bool asked;                          /* a request line has come: the handshake is done */
    bool surplus;                        /* over the limit, and there was nobody to end for it */
    uint32_t dribbles;                   /* looks in a row that found bytes but no request */
    uint64_t since_ms;                   /* in this place since then */
    uint64_t looked_ms;                  /* dribbles: the last look */
    struct auth_certificate certificate;
};

/* How many log lines of one kind there were since then. */
struct said {
    uint64_t since_ms;
    uint32_t count;
};

struct api {
    struct api_config config;
    uv_loop_t *loop;
    struct node *node;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer; /* when libmicrohttpd wants to run next */
    uv_timer_t sweep;
    uv_idle_t again; /* libmicrohttpd has more to do at once: in the next turn */
    unsigned open_handles;
    bool running; /* inside MHD_run */
    bool resumed; /* some connection waits for MHD_run */
    bool asked;   /* the node was called since this was cleared */
    bool draining;
    uint64_t run_ns;                  /* when MHD_run began */
    struct request *held, *held_last; /* put aside until the next turn; oldest first */
    struct {
        struct conn *first, *last;
        uint32_t count;
    } places[CONN_PLACES];
    struct request **requests;
    uint32_t request_count, request_cap, first_free;
    uint32_t in_flight;
    /* Passed on by other nodes: to be run, or to be sent back answered; oldest first. */
    struct request *due, *due_last;
    uint64_t unheard[16]; /* for these there was no memory */
    uint32_t unheard_count;
    struct as_buf passing; /* one encoded request or answer */
    size_t passed_bytes;   /* of requests that wait for the leader */
    struct body_reader reader;
    struct answer_http http;
    struct tls_credentials *credentials; /* NULL: plain HTTP */
    bool asks_clients;                   /* for certificates */
    bool identifies;                     /* a request must say who asks */
    struct said said_https, said_auth;
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
#define REQUEST_NO_ROOM_LEN 400

/*
 * A slab, so that a number finds its request, and an old number finds none. NULL: out of memory.
 * `connection` NULL: it comes from another node.
 */
struct request *request_new(struct api *api, struct MHD_Connection *connection);
void request_release(struct request *request);
/* It has been read: a large one's memory is given back. */
void request_forget_body(struct request *request);
struct request *request_find(struct api *api, uint64_t client);
void requests_free(struct api *api);

void request_refuse(struct request *request, const struct problem *problem);
/* The answer is in request->answer.body; a failure of that buffer becomes a 503. */
void request_answer(struct request *request, int status, const char *type);
/* When the answer's buffer has failed: the body to send instead, written to ret_text. */
struct as_bytes request_no_room(struct request *request, char ret_text[REQUEST_NO_ROOM_LEN]);
/* Hands the answer to libmicrohttpd. */
enum MHD_Result request_respond(struct request *request);

/* --- routes.c, handlers.c --- */

/* What of a request's head is of interest, besides its target. */
struct request_head {
    const char *method;
    const char *content_type, *session, *authorization; /* NULL: not given */
};

/* The headers are there: finds the route and refuses what needs no body to be refused. */
void handler_begin(struct request *request, const struct request_head *head);
/* The body is there: answers, or asks the node. */
void handler_run(struct request *request);
/* The node's answer. */
void handler_reply(struct request *request, const struct as_reply *reply);

/* The body as a whole. False: refused. */
bool handler_body(struct request *request, struct as_bytes *ret_body);

/* --- prepared.c --- */

#define ASK_AGENT_MS 30000 /* the node gives an agent so long, and the log */
void run_prepared(struct request *request);

/* --- operator.c --- */

void run_acknowledge(struct request *request);
void run_resolve(struct request *request);

/* --- cluster.c --- */

void run_cluster(struct request *request);
void run_cluster_add(struct request *request);
void run_cluster_remove(struct request *request);
void run_cluster_transfer(struct request *request);
void run_cluster_snapshot(struct request *request);
void run_ready(struct request *request);

/* Refuses with the request's id, if it is known by now. */
void handler_refuse(struct request *request, int status, const char *code, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* --- server.c --- */

/* It was put aside, and is answered now. */
void request_resume(struct request *request);
/* Leaves the node's list of those that wait; its client has left, too. */
void request_abandon(struct request *request);

/* --- clients.c --- */

/* A new connection; past the limit another one ends for it. NULL: no memory, it is not tracked. */
struct conn *client_new(struct api *api, int fd);
void client_free(struct conn *conn);
/* Takes NULL. */
void client_move(struct conn *conn, enum conn_place place);
/* Counts what the request's body holds now. False: it is too much, over all clients. */
bool client_body_memory(struct request *request);
/* The same for the bytes of an answer. */
bool client_answer_memory(struct request *request, size_t bytes);
/* Once a second: those that are slow, and those that left. */
void clients_sweep(struct api *api);

/* --- pass.c --- */

/*
 * True: this node does not lead; the request is passed on to the one that does, or refused. False:
 * it leads, so its node can be asked. `patience_ms`: the leader's answer may take so long.
 */
bool pass_on(struct request *request, uint64_t patience_ms);
/* With another body than the client's. */
bool pass_on_as(struct request *request, uint64_t patience_ms, struct as_bytes body);
/* Refuses a request whose leader was lost, or was silent for too long, after it was passed on. */
void pass_lost(struct request *request);
/* Another node's request has its answer: send it back when the turn ends. */
void pass_due(struct request *request);
/* The turn ends: runs what other nodes passed on, sends back what is answered. */
void pass_turn(struct api *api);

/* --- https.c --- */

/* MHD_OPTION_HTTPS_CERT_CALLBACK, of sessions without our credentials: nobody is served by one. */
gnutls_certificate_retrieve_function2 https_no_certificate;
/* A new connection: false if it cannot be served. */
bool https_begin(struct api *api, struct conn *conn, struct MHD_Connection *connection);
/* It ends. */
void https_end(struct conn *conn, struct MHD_Connection *connection);
/* What the certificate of the client says; NULL: plain HTTP. */
const struct auth_certificate *https_certificate(const struct request *request);

/* --- refused.c --- */

struct refused {
    struct MHD_Connection *connection; /* NULL: another node passed it on */
    const char *event, *why, *who;     /* who: NULL or "": not known */
    enum route route;
};

/* A line about somebody who was refused; of a flood of them, a few. */
void refused_say(struct api *api, struct said *said, const struct refused *refused);
/* What an operator asks for. */
void operator_say(const struct request *request);

/* --- target.c --- */

void target_take(struct request *request, const char *text, size_t len);
/* As it came. */
struct as_bytes target_text(const struct request *request);
/* The path, without escapes; valid until query_read. NULL: refused. */
const char *target_path(struct request *request);
/* Decimal digits, nothing else. */
bool text_number(const char *text, uint64_t *ret_value);

/* Query parameters: each known, each once. Values are valid until the next query_read. */
#define QUERY_MAX 5

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
