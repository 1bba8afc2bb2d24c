/*
 * Log lines about those who are refused, and about what operators do. Anybody can bring refusals about: of a flood of
 * them, a few lines are written. None has a token in it, nor a path: people put tokens into paths.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/uv/say.h"
#include "coordinator/api/server.h"

#define SAID_MAX 20u
#define SAID_MS 10000u

/* As it was accepted: the socket itself forgets its peer as soon as that has gone. */
static void print_peer(struct MHD_Connection *connection, char *ret, size_t cap)
{
    const union MHD_ConnectionInfo *info =
        connection ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS) : NULL;
    char host[64] = "", port[8] = "";

    if (info && info->client_addr)
        (void)getnameinfo(info->client_addr,
                          info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                   : sizeof(struct sockaddr_in),
                          host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(ret, cap, "%s:%s", host, port);
}

static const char *route_text(enum route route, char ret_text[80])
{
#define ROW(name, method, path, roles) {method, path},
    static const struct {
        const char *method, *path;
    } rows[] = {ANSWER_ROUTE_MAP(ROW)};
#undef ROW

    (void)snprintf(ret_text, 80, "%s %s", rows[route].method, rows[route].path);
    return ret_text;
}

void refused_say(struct api *api, struct said *said, const struct refused *refused)
{
    uint64_t now_ms = uv_now(api->loop);
    char peer[80], route[80];

    if (now_ms - said->since_ms > SAID_MS) {
        said->since_ms = now_ms;
        said->count = 0;
    }
    if (said->count++ >= SAID_MAX)
        return;
    print_peer(refused->connection, peer, sizeof(peer));
    say(AS_TRACE_WARN, refused->event, "peer", refused->connection ? peer : NULL, "why",
        refused->why, "who", refused->who && *refused->who ? refused->who : NULL, "route",
        refused->route == ROUTE_NONE ? NULL : route_text(refused->route, route), "more",
        said->count == SAID_MAX ? "not told for up to 10 s" : NULL, NULL);
}

void operator_say(const struct request *request)
{
    char peer[80], route[80], node[24] = "";

    if (request->node_id && request->route == ROUTE_CLUSTER_REMOVE)
        (void)snprintf(node, sizeof(node), "%llu", (unsigned long long)request->node_id);
    print_peer(request->connection, peer, sizeof(peer));
    say(AS_TRACE_INFO, "operator", "who", request->caller.name, "peer", peer, "route",
        route_text(request->route, route), "id", request->id[0] ? request->id : NULL, "participant",
        request->name[0] ? request->name : NULL, "gid", request->gid[0] ? request->gid : NULL,
        "node", node[0] ? node : NULL, NULL);
}
