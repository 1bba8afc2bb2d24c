/*
 * A fast HTTP/1.1 load client: many keep-alive connections in one thread, one request in flight on
 * each. It shares the machine with what it measures, so it does no more than it must: one write and
 * one read a request, requests prepared by the caller, of the answer only status, length and body.
 */
#ifndef ASSENT_CLI_HTTP_H
#define ASSENT_CLI_HTTP_H

#include "cli/cli.h"

struct http_response {
    int status;
    const char *body; /* borrowed for the call */
    size_t body_len;
};

struct http_load_ops {
    /* The next request of this client, borrowed until it is answered or failed. False: it has no
     * more. */
    bool (*request)(void *ctx, uint32_t client, struct as_bytes *ret_request);
    /* How long this client pauses before its next request: nanoseconds. */
    as_time (*response)(void *ctx, uint32_t client, const struct http_response *response);
    /* No answer: it cannot tell whether the request was carried out. */
    as_time (*failed)(void *ctx, uint32_t client, const char *why);
};

#define HTTP_NODES_MAX 9

struct http_load {
    /* Nodes of one cluster. A client whose request fails, or is answered 503, goes to the next. */
    struct http_node {
        char host[64]; /* numeric IPv4 */
        uint16_t port;
        bool tls; /* the authority is $ASSENT_CA */
    } nodes[HTTP_NODES_MAX];
    uint32_t node_count;
    bool spread; /* clients begin at different nodes; else all at the first */
    uint32_t clients;
    as_time answer_timeout; /* then the connection is given up */
    const struct http_load_ops *ops;
    void *ctx;
};

/* Fills in `nodes`: "http://127.0.0.1:7480" (or https), or several with commas; only that form. */
bool http_load_address(struct http_load *load, const char *urls);
/* Until every client has no more requests. False: not enough files or memory (complained about). */
bool http_load_run(const struct http_load *load);

/* The value of the body's first "state": "committed", ...; false: there is none. */
bool http_body_state(const struct http_response *response, struct as_bytes *ret_state);
bool as_bytes_are(struct as_bytes bytes, const char *text);

#endif
