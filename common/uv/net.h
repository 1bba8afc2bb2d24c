/*
 * TCP for both daemons, on libuv: connections are numbers, what a turn of the loop sends leaves
 * together. TCP_NODELAY everywhere. Addresses are "host:port" or "[v6]:port"; names are resolved
 * without blocking.
 *
 * Fault model: peers are slow, silent, gone or hostile. A peer that does not read is closed when
 * its unsent bytes pass AS_SEND_QUEUE_BYTES_MAX (FULL); a dial that is not up within 5 s failed, and
 * a TLS handshake that is not done by then, too. Of those at most AS_AGENT_SESSIONS_MAX are under
 * way for accepted connections: one more ends the oldest, so that silent peers cannot keep others out.
 */
#ifndef ASSENT_UV_NET_H
#define ASSENT_UV_NET_H

#include <uv.h>

#include "assent/base.h"
#include "assent/limits.h"

/* Accepted connections: sessions, and as many that begin or end. One more is closed at once. */
#define NET_ACCEPTED_MAX (2 * AS_AGENT_SESSIONS_MAX)

struct net;
struct as_principal;
struct tls_credentials;

/* Never called from inside a net_* call. After net_close nothing more is called for that
 * connection. */
struct net_callbacks {
    void *ctx;
    void (*accepted)(void *ctx, uint64_t connection, const char *peer);
    void (*connected)(void *ctx, uint64_t connection); /* of net_dial */
    void (*bytes)(void *ctx, uint64_t connection,
                  struct as_bytes bytes); /* borrowed for the call */
    /* OK: the peer closed it. NOTFOUND: the name does not resolve. INVALID: no such form of
     * address. FULL, NOMEM, IO. REFUSED, MALFORMED: by TLS. The number is free again. */
    void (*closed)(void *ctx, uint64_t connection, as_err err);
};

/* Ignores SIGPIPE in this process: a peer that left is an error of a write. */
as_err net_new(struct net **ret_net, uv_loop_t *loop,
               const struct net_callbacks *callbacks) AS_MUSTCHECK;
/*
 * Every connection is TLS, and the caller hears of it when the peer's certificate has been checked. Before anything
 * else; later calls are for the handshakes to come: what is connected goes on. A peer that is refused is a line in
 * the log, with its address and the reason. Holds `credentials`.
 */
void net_tls(struct net *net, struct tls_credentials *credentials);
/* Who is at the other end of a connection that is up; NULL: nothing tells, there is no TLS. */
const struct as_principal *net_principal(const struct net *net, uint64_t connection);
/* Port 0 takes a free one. On failure *ret_error says why, for people. A name is resolved here and
 * now. */
as_err net_listen(struct net *net, const char *address, uint16_t *ret_port,
                  char ret_error[256]) AS_MUSTCHECK;
/* Accepts nothing more; what is connected goes on. */
void net_listen_stop(struct net *net);
/* Accepted connections get odd numbers; a caller that dials takes even ones. Failure is reported
 * closed. */
void net_dial(struct net *net, uint64_t connection, const char *address);
void net_send(struct net *net, uint64_t connection, struct as_bytes bytes); /* copies */
void net_close(struct net *net, uint64_t connection); /* after what was sent has left, within 1 s */
/* The turn ends: writes what gathered, one system call a connection if the kernel takes it. */
void net_flush(struct net *net);
/* While `closed` runs: the system's text for it ("connection refused"), for people. Never NULL. */
const char *net_why(const struct net *net);
/* Closes everything; the memory goes once the loop has run its close callbacks. Takes NULL. Not
 * from inside a callback of net_callbacks. */
void net_free(struct net *net);

/* Splits "host:port" or "[v6]:port"; a port is 0 to 65535. INVALID. */
as_err net_address_split(const char *address, char ret_host[256], uint16_t *ret_port) AS_MUSTCHECK;
/* True for "localhost" and addresses in 127.0.0.0/8 and ::1: reachable from this machine only. */
bool net_address_loopback(const char *address);

#endif
