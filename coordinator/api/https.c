/*
 * HTTPS: libmicrohttpd makes the sessions, and each gets our credentials before its handshake. So new certificates
 * are for new connections, and the old ones stay for those that began with them.
 *
 * Fault model: a client may speak plain HTTP here, trust another authority, or show a certificate that ours has not
 * signed. Its connection ends, and a line in the log tells of it; of a flood of such clients, a few lines.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/uv/say.h"
#include "common/uv/tls.h"
#include "coordinator/api/server.h"

#define SAID_MAX 20u
#define SAID_MS 10000u

int https_no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
                         const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                         gnutls_pcert_st **ret_certificate, unsigned *ret_len,
                         gnutls_privkey_t *ret_key)
{
    (void)session;
    (void)authorities;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    (void)ret_certificate;
    (void)ret_len;
    (void)ret_key;
    return -1;
}

bool https_begin(struct api *api, struct conn *conn, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    if (!api->credentials)
        return true;
    if (!conn || !info || !info->tls_session ||
        tls_credentials_lend(api->credentials, info->tls_session, api->asks_clients))
        return false;
    conn->credentials = tls_credentials_hold(api->credentials);
    conn->session = info->tls_session;
    return true;
}

/* As it was accepted: the socket itself forgets its peer as soon as that has gone. */
static void print_peer(struct MHD_Connection *connection, char *ret, size_t cap)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[64] = "", port[8] = "";

    if (info && info->client_addr)
        (void)getnameinfo(info->client_addr,
                          info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                   : sizeof(struct sockaddr_in),
                          host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(ret, cap, "%s:%s", host, port);
}

static void complain(struct api *api, struct MHD_Connection *connection)
{
    uint64_t now_ms = uv_now(api->loop);
    char peer[80];

    if (now_ms - api->said_since_ms > SAID_MS) {
        api->said_since_ms = now_ms;
        api->said = 0;
    }
    if (api->said++ >= SAID_MAX)
        return;
    print_peer(connection, peer, sizeof(peer));
    say(AS_TRACE_WARN, "https_refused", "peer", peer, "why",
        "no request came over this connection: plain HTTP to an https port, a client that does not "
        "trust our certificate, or one whose own is not signed by client_ca",
        "more", api->said == SAID_MAX ? "not told for up to 10 s" : NULL, NULL);
}

void https_end(struct conn *conn, struct MHD_Connection *connection)
{
    if (!conn->credentials)
        return;
    if (!conn->asked)
        complain(conn->api, connection);
    tls_credentials_release(conn->credentials);
    conn->credentials = NULL;
}

void api_tls(struct api *api, struct tls_credentials *credentials)
{
    tls_credentials_hold(credentials);
    tls_credentials_release(api->credentials);
    api->credentials = credentials;
    api->asks_clients = tls_credentials_trust(credentials);
}

as_err https_principal(const struct request *request, struct as_principal *ret)
{
    const union MHD_ConnectionInfo *info;

    if (!request->connection || !request->api->credentials)
        return AS_ERR_NOTFOUND;
    info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return AS_ERR_NOTFOUND;
    return tls_peer_principal(info->tls_session, ret);
}
