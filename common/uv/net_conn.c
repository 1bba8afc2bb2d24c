/*
 * One TCP connection. Fault model: see net.h. It ends in one of two ways: the world ends it and the
 * caller hears closed, or the caller does by net_close and hears nothing more.
 *
 * What a net_* call finds failed is reported later from the loop: such a connection is FAILED and
 * waits in net->failed. What a callback of libuv finds failed is reported at once.
 */
#include "net_conn.h"

#include <string.h>

#include "assent/alloc.h"
#include "assent/limits.h"

#define KEEPALIVE_S 30u
#define LINGER_MS 1000u
#define KEEP_BYTES_MAX (256u << 10) /* an empty buffer that grew beyond is given back */

void net_release(struct net *net)
{
    if (--net->holds)
        return;
    tls_credentials_release(net->credentials);
    as_buf_close(&net->plain);
    as_free(net);
}

/* --- Connections and their memory --- */

static struct conn **bucket_of(struct net *net, uint64_t number)
{
    return &net->buckets[(number >> 1) % NET_BUCKETS];
}

struct conn *conn_find(struct net *net, uint64_t number)
{
    struct conn *conn = *bucket_of(net, number);

    while (conn && conn->number != number)
        conn = conn->bucket_next;
    return conn;
}

void conn_forget(struct conn *conn)
{
    struct conn **at = bucket_of(conn->net, conn->number);

    if (!conn->number)
        return;
    while (*at != conn)
        at = &(*at)->bucket_next;
    *at = conn->bucket_next;
    conn->number = 0;
}

void conn_release(struct conn *conn)
{
    struct net *net = conn->net;

    if (--conn->holds)
        return;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        net->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    as_buf_close(&conn->out);
    as_buf_close(&conn->sending);
    as_buf_close(&conn->plain);
    tls_free(conn->tls);
    as_free(conn);
    net_release(net);
}

static void on_handle_closed(uv_handle_t *handle)
{
    conn_release(handle->data);
}

struct conn *conn_new(struct net *net, uint64_t number, enum conn_state state)
{
    struct conn *conn = as_alloc_zero(1, sizeof(*conn));
    struct conn **bucket = bucket_of(net, number);

    if (!conn)
        return NULL;
    conn->net = net;
    conn->number = number;
    conn->state = state;
    as_buf_init(&conn->out, TLS_OUT_BYTES_MAX);
    as_buf_init(&conn->sending, TLS_OUT_BYTES_MAX);
    as_buf_init(&conn->plain, AS_SEND_QUEUE_BYTES_MAX);
    AS_ASSERT(uv_tcp_init(net->loop, &conn->tcp) == 0); /* makes no socket yet: cannot fail */
    AS_ASSERT(uv_timer_init(net->loop, &conn->timer) == 0);
    conn->tcp.data = conn;
    conn->timer.data = conn;
    conn->holds = 2;
    conn->next = net->conns;
    if (conn->next)
        conn->next->prev = conn;
    net->conns = conn;
    conn->bucket_next = *bucket;
    *bucket = conn;
    net->holds++;
    return conn;
}

void conn_end(struct conn *conn)
{
    if (conn->state == CONN_ENDED)
        return;
    if (conn->state == CONN_RESOLVING)
        uv_cancel((uv_req_t *)&conn->resolve); /* either way its callback comes */
    conn->net->shaking -= conn->state == CONN_SHAKING && conn->accepted;
    conn->net->accepted -= conn->accepted;
    conn->state = CONN_ENDED;
    conn_forget(conn);
    if (!uv_is_closing((uv_handle_t *)&conn->tcp)) /* it may be, between two addresses */
        uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
}

void conn_report(struct conn *conn, as_err err, int error)
{
    struct net *net = conn->net;
    uint64_t number = conn->number;

    bool unheard_of = conn->state == CONN_SHAKING && conn->accepted;

    conn_end(conn);
    if (unheard_of)
        return;
    net->why = error;
    net->callbacks.closed(net->callbacks.ctx, number, err);
    net->why = 0;
}

void net_on_idle(uv_idle_t *idle)
{
    struct net *net = idle->data;
    struct conn *conn = net->failed;
    uint32_t unborn_count = net->unborn_count;
    uint64_t unborn[NET_UNBORN_MAX];

    net->failed = NULL;
    net->unborn_count = 0;
    memcpy(unborn, net->unborn, sizeof(unborn));
    uv_idle_stop(idle);
    while (conn) {
        struct conn *next = conn->failed_next;

        if (conn->state == CONN_FAILED)
            conn_report(conn, conn->err, conn->error);
        conn_release(conn);
        conn = next;
    }
    for (uint32_t i = 0; i < unborn_count; i++) {
        net->why = UV_ENOMEM;
        net->callbacks.closed(net->callbacks.ctx, unborn[i], AS_ERR_NOMEM);
        net->why = 0;
    }
}

void conn_fail(struct conn *conn, as_err err, int error)
{
    struct net *net = conn->net;

    if (conn->state == CONN_LEAVING || (conn->state == CONN_SHAKING && conn->accepted)) {
        conn_end(conn);
        return;
    }
    if (conn->state == CONN_FAILED || conn->state == CONN_ENDED)
        return;
    if (conn->state == CONN_OPEN || conn->state == CONN_SHAKING)
        uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->state = CONN_FAILED;
    conn->err = err;
    conn->error = error;
    conn->failed_next = net->failed;
    net->failed = conn;
    conn->holds++;
    uv_idle_start(&net->idle, net_on_idle);
}

/* --- Writing --- */

void conn_buf_empty(struct as_buf *buf, size_t max)
{
    if (buf->cap <= KEEP_BYTES_MAX) {
        as_buf_clear(buf);
        return;
    }
    as_buf_close(buf);
    as_buf_init(buf, max);
}

static bool may_write(const struct conn *conn)
{
    return conn->state == CONN_OPEN || conn->state == CONN_LEAVING || conn->state == CONN_SHAKING;
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    struct conn *conn = shutdown->handle->data;

    if (conn->state == CONN_LEAVING && (status < 0 || conn->peer_shut))
        conn_end(conn);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->handle->data;

    conn->in_write = false;
    conn_buf_empty(&conn->sending, TLS_OUT_BYTES_MAX);
    if (!may_write(conn))
        return;
    if (status == 0)
        conn_flush(conn);
    else if (conn->state == CONN_LEAVING)
        conn_end(conn);
    else
        conn_report(conn, AS_ERR_IO, status);
}

/*
 * One system call if the kernel takes all. What it leaves becomes libuv's, and `out` gathers on
 * behind it. A connection that is leaving shuts its end after the last byte and then waits for the
 * peer's: closing with unread bytes would reset the connection, and the peer might never see our
 * last message.
 */
void conn_flush(struct conn *conn)
{
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;
    struct as_buf swap;
    uv_buf_t buf;
    int n;

    if (conn->in_write || !may_write(conn))
        return;
    if (conn->tls && conn_tls_seal(conn)) {
        conn_fail(conn, AS_ERR_NOMEM, UV_ENOMEM);
        return;
    }
    if (conn->out.len) {
        buf = uv_buf_init((char *)conn->out.data, (unsigned)conn->out.len);
        n = uv_try_write(stream, &buf, 1);
        if (n == UV_EAGAIN)
            n = 0;
        if (n < 0) {
            conn_fail(conn, AS_ERR_IO, n);
            return;
        }
        if ((size_t)n < conn->out.len) {
            swap = conn->sending;
            conn->sending = conn->out;
            conn->out = swap;
            buf = uv_buf_init((char *)conn->sending.data + n,
                              (unsigned)(conn->sending.len - (size_t)n));
            n = uv_write(&conn->write, stream, &buf, 1, on_written);
            conn->in_write = n == 0;
            if (n < 0)
                conn_fail(conn, AS_ERR_IO, n);
            return;
        }
        conn_buf_empty(&conn->out, TLS_OUT_BYTES_MAX);
    }
    if (conn->state == CONN_LEAVING && !conn->shut) {
        conn->shut = true;
        if (uv_shutdown(&conn->shutdown, stream, on_shutdown) < 0)
            conn_end(conn);
    }
}

static void on_linger(uv_timer_t *timer)
{
    conn_end(timer->data);
}

void conn_leave(struct conn *conn)
{
    conn->net->shaking -= conn->state == CONN_SHAKING && conn->accepted;
    conn_forget(conn);
    conn->state = CONN_LEAVING;
    uv_timer_start(&conn->timer, on_linger, LINGER_MS, 0);
    conn_dirty(conn);
}

void conn_dirty(struct conn *conn)
{
    struct net *net = conn->net;

    if (conn->dirty)
        return;
    conn->dirty = true;
    conn->dirty_next = net->dirty;
    net->dirty = conn;
    conn->holds++;
}

/* --- Reading --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct conn *conn = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(conn->net->read_buffer, NET_READ_BYTES);
}

static void on_bytes(struct conn *conn, struct as_bytes bytes)
{
    struct net *net = conn->net;

    if (conn->tls)
        conn_tls_read(conn, bytes);
    else if (conn->heard || !conn_plain_check(conn, bytes))
        net->callbacks.bytes(net->callbacks.ctx, conn->number, bytes);
    conn->heard = true;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;

    if (conn->state == CONN_LEAVING) {
        conn->peer_shut |= n == UV_EOF;
        if (n < 0 && (n != UV_EOF || (conn->shut && !uv_stream_get_write_queue_size(stream))))
            conn_end(conn);
        return;
    }
    if ((conn->state != CONN_OPEN && conn->state != CONN_SHAKING) || n == 0)
        return;
    if (n > 0)
        on_bytes(conn, (struct as_bytes){(const uint8_t *)buf->base, (size_t)n});
    else if (n == UV_EOF && conn->tls)
        conn_tls_stream_end(conn);
    else
        conn_report(conn, n == UV_EOF ? AS_OK : AS_ERR_IO, (int)n);
}

int conn_open(struct conn *conn)
{
    int error = uv_tcp_nodelay(&conn->tcp, 1);

    if (!error)
        error = uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
    if (!error)
        error = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (!error && conn->net->credentials)
        return conn_tls_start(conn) ? UV_ENOMEM : 0;
    if (!error)
        conn->state = CONN_OPEN;
    return error;
}
