/*
 * Addresses: text to sockaddr and back. Of net.c alone.
 */
#ifndef ASSENT_UV_NET_ADDRESS_H
#define ASSENT_UV_NET_ADDRESS_H

#include "net.h"

#define NET_TARGETS_MAX 4
#define NET_PEER_BYTES 64

/* True if `host` is a number, not a name. */
bool net_target_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret_target);
/* Copies the first few of what a name resolved to; returns how many. */
uint32_t net_targets_of(const struct addrinfo *found, uint16_t port,
                        struct sockaddr_storage ret_targets[NET_TARGETS_MAX]);
void net_peer_text(const uv_tcp_t *tcp, char ret_text[NET_PEER_BYTES]);
uint16_t net_local_port(const uv_tcp_t *tcp);

#endif
