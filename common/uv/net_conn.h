/*
 * One TCP connection: its memory, its buffers, its end. Of net.c, net_conn.c and net_tls.c alone.
 */
#ifndef ASSENT_UV_NET_CONN_H
#define ASSENT_UV_NET_CONN_H

#include "assent/buf.h"
#include "assent/limits.h"
#include "net.h"
#include "net_address.h"
#include "tls.h"

#define NET_READ_BYTES 65536u
#define NET_PLAIN_BYTES_MAX (4u * NET_READ_BYTES) /* one read, and a record begun before it */
#define NET_LISTENERS_MAX 4
#define NET_BUCKETS 256u
#define NET_UNBORN_MAX 16
#define NET_HANDSHAKE_MS 5000u
/* Of accepted connections, unfinished: as many as may be there at all. One more ends the oldest. */
#define NET_HANDSHAKES_MAX AS_AGENT_SESSIONS_MAX

enum conn_state {
    CONN_RESOLVING,
    CONN_CONNECTING,
    CONN_SHAKING, /* connected, and no more than that: TLS is not done yet */
    CONN_OPEN,
    CONN_FAILED,  /* to be reported */
    CONN_LEAVING, /* net_close was called: what was sent leaves */
    CONN_ENDED,   /* its handles are closing */
};

struct conn {
    struct net *net;
    struct conn *prev, *next; /* of net->conns */
    struct conn *bucket_next;
    uint64_t number; /* 0: in no bucket any more */
    enum conn_state state;
    uint32_t holds;  /* handles, requests and lists that still point here; freed by the last */
    as_err err;      /* of FAILED */
    int error;       /* libuv's code for it */
    bool accepted;   /* by the peer's dial; the caller hears of it when it is OPEN */
    bool heard;      /* the peer has said something */
    struct tls *tls; /* NULL: plain */
    char peer[NET_PEER_BYTES]; /* with TLS: its address */
    struct as_buf plain;       /* with TLS: gathers this turn's bytes */

    struct as_buf out;     /* gathers this turn's bytes; with TLS: those of the wire */
    struct as_buf sending; /* libuv's while in_write: what the kernel did not take at once */
    bool in_write;
    bool shut;      /* our end is shut */
    bool peer_shut; /* theirs is */
    bool dirty;     /* stands in net->dirty */
    struct conn *dirty_next;
    struct conn *failed_next;

    uint32_t target_count, target_next;
    struct sockaddr_storage targets[NET_TARGETS_MAX]; /* to dial, one after the other */
    uint16_t port;

    uv_tcp_t tcp;
    uv_timer_t timer; /* of the dial, or of leaving */
    uv_write_t write;
    uv_shutdown_t shutdown;
    union {
        uv_getaddrinfo_t resolve;
        uv_connect_t connect;
    };
};

struct net {
    uv_loop_t *loop;
    struct net_callbacks callbacks;
    uv_tcp_t listeners[NET_LISTENERS_MAX];
    uint32_t listener_count;
    uv_tcp_t turned_away; /* takes a connection for which there is no memory */
    bool turning_away;
    struct conn *conns;
    struct conn *buckets[NET_BUCKETS];
    struct conn *dirty;
    struct conn *failed;
    uint64_t unborn[NET_UNBORN_MAX]; /* dials for which there was no memory */
    uint32_t unborn_count;
    uv_idle_t idle; /* runs while something is failed or unborn */
    uint64_t accepted_last;
    int why;
    const char *why_text;                /* instead, if it is not NULL */
    struct tls_credentials *credentials; /* NULL: no TLS */
    uint32_t accepted;                   /* connections that are open */
    uint32_t shaking;                    /* of these, in that state */
    uint64_t said_since_ms;              /* complaints about TLS are counted from here on */
    uint32_t said;
    struct as_buf plain; /* what one read has brought */
    uint32_t holds;      /* handles and connections; freed by the last */
    char read_buffer[NET_READ_BYTES];
};

/* NULL: no memory. The number is free. */
struct conn *conn_new(struct net *net, uint64_t number, enum conn_state state);
struct conn *conn_find(struct net *net, uint64_t number);
/* The number means this connection no more. */
void conn_forget(struct conn *conn);
/* Begins to close it; nobody hears of it again. */
void conn_end(struct conn *conn);
/* Ends it and calls `closed`. Only from the loop. */
void conn_report(struct conn *conn, as_err err, int error);
/* The same from inside a net_* call: the report waits for the loop. */
void conn_fail(struct conn *conn, as_err err, int error);
void conn_release(struct conn *conn);
/* Connected: reads from now on, and is OPEN or SHAKING. Returns libuv's code. */
int conn_open(struct conn *conn);
/* Nobody hears of it again; what was sent leaves, within LINGER. */
void conn_leave(struct conn *conn);
void conn_dirty(struct conn *conn);
void conn_flush(struct conn *conn);
/* Gives the memory of one that grew large back. */
void conn_buf_empty(struct as_buf *buf, size_t max);

/* --- net_tls.c: of connections with TLS --- */

as_err conn_tls_start(struct conn *conn) AS_MUSTCHECK;
void conn_tls_read(struct conn *conn, struct as_bytes wire);
void conn_tls_stream_end(struct conn *conn);
void conn_tls_late(struct conn *conn); /* the handshake takes too long */
/* What gathered goes to `out`, which is empty. */
as_err conn_tls_seal(struct conn *conn) AS_MUSTCHECK;
/* A peer that speaks TLS to a net without. True: it has been reported. */
bool conn_plain_check(struct conn *conn, struct as_bytes first);

/* Reports what is failed or unborn. */
void net_on_idle(uv_idle_t *idle);
void net_release(struct net *net);

#endif
