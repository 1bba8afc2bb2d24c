/*
 * Dialling, listening and the calls of net.h. Fault model: see net.h.
 */
#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/limits.h"
#include "net_conn.h"

#define DIAL_MS 5000u
#define BACKLOG 511

/* --- Sending and closing --- */

void net_flush(struct net *net)
{
    struct conn *conn = net->dirty;

    net->dirty = NULL;
    while (conn) {
        struct conn *next = conn->dirty_next;

        conn->dirty = false;
        conn_flush(conn);
        conn_release(conn);
        conn = next;
    }
}

void net_send(struct net *net, uint64_t connection, struct as_bytes bytes)
{
    struct conn *conn = conn_find(net, connection);
    struct as_buf *gathers;

    if (!conn || conn->state == CONN_FAILED)
        return;
    if (conn->plain.len + conn->out.len +
            uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) + bytes.len >
        AS_SEND_QUEUE_BYTES_MAX) {
        conn_fail(conn, AS_ERR_FULL, UV_ENOBUFS);
        return;
    }
    gathers = net->credentials ? &conn->plain : &conn->out;
    as_put_bytes(gathers, bytes.data, bytes.len);
    if (gathers->err) {
        conn_fail(conn, gathers->err, UV_ENOMEM);
        return;
    }
    if (conn->state == CONN_OPEN)
        conn_dirty(conn);
}

static void on_timer(uv_timer_t *timer)
{
    struct conn *conn = timer->data;

    if (conn->state == CONN_SHAKING)
        conn_tls_late(conn);
    else if (conn->state == CONN_RESOLVING || conn->state == CONN_CONNECTING)
        conn_report(conn, AS_ERR_IO, UV_ETIMEDOUT);
}

void net_close(struct net *net, uint64_t connection)
{
    struct conn *conn = conn_find(net, connection);

    if (!conn)
        return;
    if (conn->state == CONN_OPEN)
        conn_leave(conn);
    else
        conn_end(conn);
}

/* --- Dialling --- */

static void connect_next(struct conn *conn);

/* A handle that failed to connect is of no more use: the next address gets a fresh one. */
static void on_retry(uv_handle_t *handle)
{
    struct conn *conn = handle->data;

    if (conn->state != CONN_CONNECTING) {
        conn_release(conn); /* conn_end sees the handle closing and leaves it to us */
        return;
    }
    AS_ASSERT(uv_tcp_init(conn->net->loop, &conn->tcp) == 0);
    conn->tcp.data = conn;
    connect_next(conn);
}

static void connect_failed(struct conn *conn, int error)
{
    if (conn->target_next == conn->target_count)
        conn_fail(conn, AS_ERR_IO, error);
    else
        uv_close((uv_handle_t *)&conn->tcp, on_retry);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct conn *conn = connect->handle->data;
    struct net *net = conn->net;

    if (conn->state != CONN_CONNECTING || status == UV_ECANCELED)
        return;
    if (status == 0)
        status = conn_open(conn);
    if (status != 0) {
        connect_failed(conn, status);
        return;
    }
    if (conn->state == CONN_SHAKING)
        return; /* the timer runs on */
    uv_timer_stop(&conn->timer);
    if (conn->out.len)
        conn_dirty(conn);
    net->callbacks.connected(net->callbacks.ctx, conn->number);
}

static void connect_next(struct conn *conn)
{
    const struct sockaddr_storage *target = &conn->targets[conn->target_next++];
    int error;

    error = uv_tcp_connect(&conn->connect, &conn->tcp, (const struct sockaddr *)target, on_connect);
    if (error)
        connect_failed(conn, error);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct conn *conn = resolve->data;

    if (conn->state == CONN_RESOLVING) {
        if (status == 0)
            conn->target_count = net_targets_of(found, conn->port, conn->targets);
        if (conn->target_count) {
            conn->state = CONN_CONNECTING;
            connect_next(conn);
        } else {
            conn_report(conn, AS_ERR_NOTFOUND, status ? status : UV_EAI_NODATA);
        }
    }
    uv_freeaddrinfo(found);
    conn_release(conn);
}

void net_dial(struct net *net, uint64_t connection, const char *address)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct conn *conn;
    char host[256];
    int error;

    AS_ASSERT(connection % 2 == 0 && connection != 0 && !conn_find(net, connection));
    conn = conn_new(net, connection, CONN_CONNECTING);
    if (!conn) {
        AS_ASSERT(net->unborn_count < NET_UNBORN_MAX);
        net->unborn[net->unborn_count++] = connection;
        uv_idle_start(&net->idle, net_on_idle);
        return;
    }
    if (net_address_split(address, host, &conn->port) != AS_OK || conn->port == 0) {
        conn_fail(conn, AS_ERR_INVALID, UV_EINVAL);
        return;
    }
    uv_update_time(net->loop); /* a start that took long must not shorten the first dial */
    uv_timer_start(&conn->timer, on_timer, DIAL_MS, 0);
    if (net_target_numeric(host, conn->port, &conn->targets[0])) {
        conn->target_count = 1;
        connect_next(conn);
        return;
    }
    conn->resolve.data = conn;
    error = uv_getaddrinfo(net->loop, &conn->resolve, on_resolved, host, NULL, &hints);
    if (error) {
        conn_fail(conn, AS_ERR_NOTFOUND, error);
        return;
    }
    conn->state = CONN_RESOLVING;
    conn->holds++;
}

/* --- Listening --- */

static void on_turned_away(uv_handle_t *handle)
{
    struct net *net = handle->data;

    net->turning_away = false;
    net_release(net);
}

/* Without memory the connection must still be taken, or the listener would wait for us for ever. */
static void turn_away(struct net *net, uv_stream_t *listener)
{
    if (net->turning_away)
        return;
    net->turning_away = true;
    net->holds++;
    AS_ASSERT(uv_tcp_init(net->loop, &net->turned_away) == 0);
    net->turned_away.data = net;
    (void)uv_accept(listener, (uv_stream_t *)&net->turned_away);
    uv_close((uv_handle_t *)&net->turned_away, on_turned_away);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct net *net = listener->data;
    struct conn *conn;
    char peer[NET_PEER_BYTES];

    if (status < 0)
        return; /* the peer has gone again, or files ran out: libuv goes on */
    conn = net->accepted < NET_ACCEPTED_MAX
               ? conn_new(net, 2 * net->accepted_last + 1, CONN_CONNECTING)
               : NULL;
    if (!conn) {
        turn_away(net, listener);
        return;
    }
    net->accepted_last++;
    net->accepted++;
    conn->accepted = true;
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0 || conn_open(conn) != 0) {
        conn_end(conn); /* nobody has heard of it */
        return;
    }
    if (conn->state == CONN_SHAKING) {
        uv_timer_start(&conn->timer, on_timer, NET_HANDSHAKE_MS, 0);
        return;
    }
    net_peer_text(&conn->tcp, peer);
    net->callbacks.accepted(net->callbacks.ctx, conn->number, peer);
}

static void on_net_handle_closed(uv_handle_t *handle)
{
    net_release(handle->data);
}

static int listen_on(struct net *net, uv_tcp_t *listener, const char *host, uint16_t port,
                     uint16_t *ret_port)
{
    struct sockaddr_storage targets[NET_TARGETS_MAX];
    uv_getaddrinfo_t resolve;
    int error = 0;

    if (!net_target_numeric(host, port, &targets[0])) {
        error = uv_getaddrinfo(net->loop, &resolve, NULL, host, NULL,
                               &(struct addrinfo){.ai_socktype = SOCK_STREAM});
        if (error)
            return error;
        error = net_targets_of(resolve.addrinfo, port, targets) ? 0 : UV_EAI_NODATA;
        uv_freeaddrinfo(resolve.addrinfo);
    }
    if (!error)
        error = uv_tcp_bind(listener, (const struct sockaddr *)&targets[0], 0);
    if (!error)
        error = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
    if (!error)
        *ret_port = net_local_port(listener);
    return error;
}

as_err net_listen(struct net *net, const char *address, uint16_t *ret_port, char ret_error[256])
{
    uv_tcp_t *listener = &net->listeners[net->listener_count];
    char host[256];
    uint16_t port;
    int error;

    if (net_address_split(address, host, &port) != AS_OK) {
        snprintf(ret_error, 256, "\"%.180s\" is not host:port or [v6]:port", address);
        return AS_ERR_INVALID;
    }
    if (net->listener_count == NET_LISTENERS_MAX) {
        snprintf(ret_error, 256, "cannot listen on more than %d addresses", NET_LISTENERS_MAX);
        return AS_ERR_FULL;
    }
    net->listener_count++;
    AS_ASSERT(uv_tcp_init(net->loop, listener) == 0);
    listener->data = net;
    net->holds++;
    error = listen_on(net, listener, host, port, ret_port);
    if (!error)
        return AS_OK;
    uv_close((uv_handle_t *)listener, on_net_handle_closed);
    snprintf(ret_error, 256, "cannot listen on %.180s: %.50s", address, uv_strerror(error));
    return error == UV_ENOMEM ? AS_ERR_NOMEM : AS_ERR_IO;
}

void net_listen_stop(struct net *net)
{
    for (uint32_t i = 0; i < net->listener_count; i++) {
        if (!uv_is_closing((uv_handle_t *)&net->listeners[i]))
            uv_close((uv_handle_t *)&net->listeners[i], on_net_handle_closed);
    }
}

/* --- The whole --- */

as_err net_new(struct net **ret_net, uv_loop_t *loop, const struct net_callbacks *callbacks)
{
    struct net *net = as_alloc_zero(1, sizeof(*net));

    if (!net)
        return AS_ERR_NOMEM;
    net->loop = loop;
    net->callbacks = *callbacks;
    AS_ASSERT(uv_idle_init(loop, &net->idle) == 0);
    net->idle.data = net;
    net->holds = 1;
    as_buf_init(&net->plain, NET_PLAIN_BYTES_MAX);
    signal(SIGPIPE, SIG_IGN);
    *ret_net = net;
    return AS_OK;
}

const char *net_why(const struct net *net)
{
    if (net->why_text)
        return net->why_text;
    return net->why ? uv_strerror(net->why) : "";
}

void net_tls(struct net *net, struct tls_credentials *credentials)
{
    AS_ASSERT(net->credentials || (!net->listener_count && !net->conns));
    tls_credentials_hold(credentials);
    tls_credentials_release(net->credentials);
    net->credentials = credentials;
}

const struct as_principal *net_principal(const struct net *net, uint64_t connection)
{
    const struct conn *conn = conn_find((struct net *)net, connection);

    /* With TLS a connection that is not known has nobody at its end. */
    AS_ASSERT(!net->credentials || (conn && conn->tls));
    return conn && conn->tls ? tls_principal(conn->tls) : NULL;
}

void net_free(struct net *net)
{
    struct conn *conn, *next;

    if (!net)
        return;
    net_listen_stop(net);
    for (conn = net->conns; conn; conn = conn->next)
        conn_end(conn); /* frees nothing yet: its handles close in the loop */
    for (conn = net->dirty; conn; conn = next) {
        next = conn->dirty_next;
        conn_release(conn);
    }
    for (conn = net->failed; conn; conn = next) {
        next = conn->failed_next;
        conn_release(conn);
    }
    net->dirty = NULL;
    net->failed = NULL;
    uv_close((uv_handle_t *)&net->idle, on_net_handle_closed);
}
