/*
 * TCP for both daemons, on libuv: connections are numbers, what a turn of the loop sends leaves together.
 * TCP_NODELAY everywhere. Addresses are "host:port" or "[v6]:port"; names are resolved without blocking.
 */
#ifndef ASSENT_UV_NET_H
#define ASSENT_UV_NET_H

#include <uv.h>

#include "assent/base.h"

struct net;

/* Never called from inside a net_* call. After net_close nothing more is called for that connection. */
struct net_callbacks {
    void *ctx;
    void (*accepted)(void *ctx, uint64_t connection, const char *peer);
    void (*connected)(void *ctx, uint64_t connection); /* of net_dial */
    void (*bytes)(void *ctx, uint64_t connection, struct as_bytes bytes); /* borrowed for the call */
    void (*closed)(void *ctx, uint64_t connection, as_err err);
};

as_err net_new(struct net **ret_net, uv_loop_t *loop, const struct net_callbacks *callbacks) AS_MUSTCHECK;
/* Port 0 takes a free one. On failure *ret_error says why, for people. */
as_err net_listen(struct net *net, const char *address, uint16_t *ret_port,
                  char ret_error[256]) AS_MUSTCHECK;
/* Accepted connections get odd numbers; a caller that dials takes even ones. Failure is reported closed. */
void net_dial(struct net *net, uint64_t connection, const char *address);
void net_send(struct net *net, uint64_t connection, struct as_bytes bytes); /* copies */
void net_close(struct net *net, uint64_t connection); /* after what was sent has left, within 1 s */
/* The turn ends: writes what gathered, one system call a connection if the kernel takes it. */
void net_flush(struct net *net);
/* Closes everything; the memory goes once the loop has run its close callbacks. */
void net_free(struct net *net);

#endif
