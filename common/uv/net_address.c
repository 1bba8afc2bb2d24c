/*
 * Addresses. Fault model: text from a configuration file, checked strictly.
 */
#include "net_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

as_err net_address_split(const char *address, char ret_host[256], uint16_t *ret_port)
{
    const char *colon = strrchr(address, ':');
    const char *host = address;
    const char *host_end = colon;
    unsigned long port;
    size_t digits;

    if (!colon)
        return AS_ERR_INVALID;
    if (*host == '[') {
        host++;
        host_end--;
        if (host_end < host || *host_end != ']')
            return AS_ERR_INVALID;
    } else if (memchr(host, ':', (size_t)(host_end - host))) {
        return AS_ERR_INVALID; /* a v6 address without brackets: which colon is the port's? */
    }
    if (host_end <= host || host_end - host > 255 ||
        strcspn(host, " \t[]") < (size_t)(host_end - host))
        return AS_ERR_INVALID;
    digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits])
        return AS_ERR_INVALID;
    port = strtoul(colon + 1, NULL, 10);
    if (port > UINT16_MAX)
        return AS_ERR_INVALID;
    memcpy(ret_host, host, (size_t)(host_end - host));
    ret_host[host_end - host] = '\0';
    *ret_port = (uint16_t)port;
    return AS_OK;
}

bool net_address_loopback(const char *address)
{
    struct sockaddr_storage target;
    char host[256];
    uint16_t port;

    if (net_address_split(address, host, &port) != AS_OK)
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (!net_target_numeric(host, port, &target))
        return false;
    if (target.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&target;

        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&target)->sin6_addr);
}

bool net_target_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret_target)
{
    memset(ret_target, 0, sizeof(*ret_target));
    return uv_ip4_addr(host, port, (struct sockaddr_in *)ret_target) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret_target) == 0;
}

uint32_t net_targets_of(const struct addrinfo *found, uint16_t port,
                        struct sockaddr_storage ret_targets[NET_TARGETS_MAX])
{
    uint32_t count = 0;

    for (; found && count < NET_TARGETS_MAX; found = found->ai_next) {
        struct sockaddr_storage *target = &ret_targets[count];

        memset(target, 0, sizeof(*target));
        if (found->ai_family == AF_INET) {
            memcpy(target, found->ai_addr, sizeof(struct sockaddr_in));
            ((struct sockaddr_in *)target)->sin_port = htons(port);
        } else if (found->ai_family == AF_INET6) {
            memcpy(target, found->ai_addr, sizeof(struct sockaddr_in6));
            ((struct sockaddr_in6 *)target)->sin6_port = htons(port);
        } else {
            continue;
        }
        count++;
    }
    return count;
}

void net_peer_text(const uv_tcp_t *tcp, char ret_text[NET_PEER_BYTES])
{
    struct sockaddr_storage peer;
    char host[INET6_ADDRSTRLEN] = "";
    int len = sizeof(peer);

    memset(&peer, 0, sizeof(peer));
    (void)uv_tcp_getpeername(tcp, (struct sockaddr *)&peer, &len);
    if (peer.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;

        uv_ip6_name(v6, host, sizeof(host));
        snprintf(ret_text, NET_PEER_BYTES, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;

        uv_ip4_name(v4, host, sizeof(host));
        snprintf(ret_text, NET_PEER_BYTES, "%s:%u", host, ntohs(v4->sin_port));
    }
}

uint16_t net_local_port(const uv_tcp_t *tcp)
{
    struct sockaddr_storage local;
    int len = sizeof(local);

    memset(&local, 0, sizeof(local));
    (void)uv_tcp_getsockname(tcp, (struct sockaddr *)&local, &len);
    /* The port stands at the same place in both families. */
    return ntohs(((const struct sockaddr_in *)&local)->sin_port);
}
