/*
 * HTTPS: libmicrohttpd makes the sessions, and each gets our credentials before its handshake. So new certificates
 * are for new connections, and the old ones stay for those that began with them.
 *
 * Fault model: a client may speak plain HTTP here, trust another authority, or show a certificate that ours has not
 * signed. Its connection ends, and a line in the log tells of it; of a flood of such clients, a few lines.
 */
#include <stdio.h>
#include <string.h>

#include "common/uv/tls.h"
#include "coordinator/api/server.h"

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

void https_end(struct conn *conn, struct MHD_Connection *connection)
{
    if (!conn->credentials)
        return;
    if (!conn->asked)
        refused_say(conn->api, &conn->api->said_https,
                    &(struct refused){.connection = connection,
                                      .event = "https_refused",
                                      .why = "no request came over this connection: plain HTTP to "
                                             "an https port, a client that does not trust our "
                                             "certificate, or one whose own is not signed by "
                                             "client_ca"});
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

static void look(struct auth_certificate *certificate, const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    struct as_principal principal;
    struct node_info node;

    certificate->looked = true;
    if (!info || !info->tls_session ||
        tls_peer_principal(info->tls_session, &principal, &certificate->expires))
        return;
    certificate->shown = true;
    node_info(request->api->node, &node);
    if (principal.kind != AS_PRINCIPAL_CLIENT || strcmp(principal.cluster, node.cluster) != 0)
        return;
    certificate->role = principal.role;
    (void)snprintf(certificate->name, sizeof(certificate->name), "%.*s", AS_ID_LEN_MAX,
                   principal.text + principal.name_at);
}

const struct auth_certificate *https_certificate(const struct request *request)
{
    struct conn *conn = request->conn;

    if (!conn || !conn->credentials)
        return NULL;
    if (!conn->certificate.looked)
        look(&conn->certificate, request);
    return &conn->certificate;
}
