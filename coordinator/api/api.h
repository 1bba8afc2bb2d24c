/*
 * HTTP/JSON over libmicrohttpd (api.md): turns requests into node_* calls and replies into JSON. A
 * request that waits is suspended and resumed by its number; one thread, one loop.
 */
#ifndef ASSENT_API_H
#define ASSENT_API_H

#include <uv.h>

#include "assent/request.h"

struct node;
struct api;
struct tls_credentials;
struct tokens;

/* So many more than `connections_max` are accepted, to be told that they are too many. */
#define API_SURPLUS_MAX 64

struct api_config {
    char listen[256];            /* "127.0.0.1:7480"; port 0 takes a free one */
    uint32_t connections_max;    /* 0: 10000 */
    size_t body_bytes_max;       /* 0: AS_BODY_BYTES_MAX */
    uint32_t idle_timeout_s;     /* 0: 120: of a connection on which nothing happens */
    uint32_t request_timeout_s;  /* 0: 30: in which a request must have arrived whole */
    uint32_t answer_timeout_s;   /* 0: 60: in which a client must have taken its answer */
    size_t memory_max;           /* 0: 256 MiB: of all bodies and answers beyond 16 KiB each */
    uint32_t timeout_ms_default; /* of a transaction; 0: AS_TIMEOUT_MS_DEFAULT */
    uint32_t turn_us;    /* 0: 20000: of a turn of the loop, for requests that come all at once */
    uint32_t passing_ms; /* 0: 10000: in which a leader answers beyond what a request may take */
    const char *version;
    /* NULL: plain HTTP. Else HTTPS; if they have an authority, clients are asked for a certificate, and one that it
     * has not signed is refused. Held. */
    struct tls_credentials *credentials;
    /* Who may do what (auth.h); NULL: no tokens. With these, or with credentials that have an authority, every request
     * must say who asks. Borrowed. */
    struct tokens *tokens;
    bool health_open; /* but those for /healthz and /readyz */
};

/* The file of [api] tokens. Refuses what is not right; ret_why names file and line. */
as_err tokens_read(struct tokens **ret, const char *path, char ret_why[512]) AS_MUSTCHECK;
void tokens_free(struct tokens *tokens); /* takes NULL */
uint32_t tokens_count(const struct tokens *tokens);

/*
 * On failure *ret_error says why, for people. It listens when this returns. The node must be open
 * already, and outlive the API.
 */
as_err api_new(struct api **ret_api, const struct api_config *config, uv_loop_t *loop,
               struct node *node, uint16_t *ret_port, char ret_error[256]) AS_MUSTCHECK;
/* For the handshakes to come; only if it was opened with credentials. Holds them. */
void api_tls(struct api *api, struct tls_credentials *credentials);
/* Other ones, for the requests to come; only if it was opened with some. */
void api_tokens(struct api *api, struct tokens *tokens);
/* env->client_reply. A client that is not known (any more) is ignored. */
void api_reply(struct api *api, uint64_t client, const struct as_reply *reply);
/*
 * env->forwarded: another node passed a request on to this one, which leads. It is carried out when
 * the turn ends, as a client's would be, and answered by node_forward_reply.
 */
void api_forwarded(struct api *api, uint64_t forward, struct as_bytes request);
/* env->forward_done: the leader's answer for a client here, or the link to it was lost. */
void api_forward_done(struct api *api, uint64_t client, as_err err, struct as_bytes answer);
/*
 * The turn ends: lets libmicrohttpd write what was answered. Behind node_turn_end. It may also read
 * new requests and bring them to the node; then the loop does not block before its next turn.
 */
void api_turn_end(struct api *api);
/* No new connections; waiting requests are still answered. True when none is open or waiting. */
bool api_drain(struct api *api);
/* Forgets those that wait and closes everything; the memory goes once the loop has run its close
 * callbacks. */
void api_free(struct api *api); /* takes NULL */

#endif
