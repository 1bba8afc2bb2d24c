/*
 * The API's own listening socket, so that "address already in use" reads so, and port 0 tells its
 * port.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/api/server.h"

#define BACKLOG 1024

/* "host:port", "[v6]:port" or ":port" */
static bool split(const char *address, char ret_host[256], char ret_port[8])
{
    const char *colon = strrchr(address, ':');
    size_t host_len;

    if (!colon || !colon[1] || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    host_len = (size_t)(colon - address);
    if (host_len >= 256)
        return false;
    if (host_len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        host_len -= 2;
    } else if (memchr(address, ':', host_len)) {
        return false;
    }
    memcpy(ret_host, address, host_len);
    ret_host[host_len] = 0;
    (void)snprintf(ret_port, 8, "%s", colon + 1);
    return true;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t len = sizeof(bound);

    if (getsockname(fd, &bound.any, &len) != 0)
        return 0;
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

/* A socket on one resolved address, or -1 with errno. */
static int bind_one(const struct addrinfo *info)
{
    int on = 1, saved;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

as_err listen_open(const char *address, int *ret_fd, uint16_t *ret_port, char ret_error[256])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    char host[256], port[8];
    int fd = -1, failed;

    if (!split(address, host, port)) {
        (void)snprintf(ret_error, 256, "\"%.100s\" is no address: expected host:port", address);
        return AS_ERR_INVALID;
    }
    failed = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
    if (failed) {
        (void)snprintf(ret_error, 256, "cannot resolve \"%.100s\": %s", address,
                       gai_strerror(failed));
        return AS_ERR_IO;
    }
    for (const struct addrinfo *info = list; info && fd < 0; info = info->ai_next)
        fd = bind_one(info);
    failed = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        (void)snprintf(ret_error, 256, "cannot listen on %.100s: %s", address, strerror(failed));
        return AS_ERR_IO;
    }
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return AS_OK;
}
