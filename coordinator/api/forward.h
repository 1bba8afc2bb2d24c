/*
 * A request that one node passes on to the leader, and the leader's answer, as bytes. The node
 * carries them and does not look inside.
 *
 * Request: u8 version, u8 method, u64 session, text8 id, text8 content type, of version 2 text16
 * participants, text16 target, bytes32 body. Version 2 is for a client that may see only what is about these: a leader
 * that does not know it refuses, and so tells nothing. Answer: u8 version, u16 status, u8 type, u8 location, u64 session,
 * bytes32 body. Little-endian.
 *
 * Fault model: another node is trusted, its version is not: bytes that this version would not have
 * written are refused, so that nothing is carried out that was understood by half.
 */
#ifndef ASSENT_API_FORWARD_H
#define ASSENT_API_FORWARD_H

#include "assent/buf.h"
#include "assent/limits.h"

#define FORWARD_VERSION 1
#define FORWARD_VERSION_LIMITED 2
/* What fits in a frame between nodes with room for its own fields. */
#define FORWARD_REQUEST_BYTES_MAX (AS_FRAME_BYTES_MAX - 65536)
#define FORWARD_BODY_BYTES_MAX (3u << 20) /* of an answer */
#define FORWARD_TYPE_LEN_MAX 127
#define FORWARD_TARGET_LEN_MAX 32767

/* A HEAD is passed on as a GET. */
#define FORWARD_METHOD_MAP(X) \
    X(GET)                    \
    X(POST)                   \
    X(DELETE)
#define FORWARD_METHOD_ENUM(name) FORWARD_##name,
enum forward_method { FORWARD_METHOD_MAP(FORWARD_METHOD_ENUM) FORWARD_METHOD_COUNT };
#undef FORWARD_METHOD_ENUM

/* Views are borrowed. */
struct forward_request {
    enum forward_method method;
    uint64_t session;                            /* Assent-Session; 0: not given */
    char id[AS_ID_LEN_MAX + 1];                  /* of the transaction; "": it is about none */
    char content_type[FORWARD_TYPE_LEN_MAX + 1]; /* "": not given */
    struct as_bytes participants; /* the client may see only what is about these; empty: all */
    struct as_bytes target;       /* path and query as the client sent them */
    struct as_bytes body;
};

struct forward_answer {
    int status;       /* one of ANSWER_STATUS_MAP */
    bool problem;     /* its type: problem details, or plain JSON */
    bool location;    /* it bears the Location of the transaction */
    uint64_t session; /* Assent-Session; 0: none */
    struct as_bytes body;
};

const char *forward_method_text(enum forward_method method);

/* Appends; the buffer's error is sticky. */
void forward_request_put(struct as_buf *buf, const struct forward_request *request);
void forward_answer_put(struct as_buf *buf, const struct forward_answer *answer);
/* Strict: MALFORMED for anything that put does not write. */
as_err forward_request_take(struct as_bytes bytes, struct forward_request *ret) AS_MUSTCHECK;
as_err forward_answer_take(struct as_bytes bytes, struct forward_answer *ret) AS_MUSTCHECK;

#endif
