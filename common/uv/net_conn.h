/*
 * One TCP connection: its memory, its buffers, its end. Of net.c and net_conn.c alone.
 */
#ifndef ASSENT_UV_NET_CONN_H
#define ASSENT_UV_NET_CONN_H

#include "assent/buf.h"
#include "net.h"
#include "net_address.h"

#define NET_READ_BYTES 65536u
#define NET_LISTENERS_MAX 4
#define NET_BUCKETS 256u
#define NET_UNBORN_MAX 16

enum conn_state {
    CONN_RESOLVING,
    CONN_CONNECTING,
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
    uint32_t holds; /* handles, requests and lists that still point here; freed by the last */
    as_err err;     /* of FAILED */
    int error;      /* libuv's code for it */

    struct as_buf out;     /* gathers this turn's bytes */
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
    uint32_t holds; /* handles and connections; freed by the last */
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
/* Connected: reads from now on. Returns libuv's code. */
int conn_open(struct conn *conn);
void conn_dirty(struct conn *conn);
void conn_flush(struct conn *conn);

/* Reports what is failed or unborn. */
void net_on_idle(uv_idle_t *idle);
void net_release(struct net *net);

#endif
