/*
 * Connections with TLS: from connected to open, and the bytes of the wire to those of the caller and back.
 *
 * Fault model: see net.h. Whoever is refused hears why by an alert, as far as TLS has one, and our log tells it in
 * full; a flood of refusals is a few lines.
 */
#include "net_conn.h"
#include "say.h"

#define SAID_MAX 20u
#define SAID_MS 10000u

static void complain(struct conn *conn, enum as_trace_level level, const char *why)
{
    struct net *net = conn->net;
    uint64_t now_ms = uv_now(net->loop);

    if (now_ms - net->said_since_ms > SAID_MS) {
        net->said_since_ms = now_ms;
        net->said = 0;
    }
    if (net->said++ >= SAID_MAX)
        return;
    say(level, "tls_refused", "peer", conn->peer, "side", conn->accepted ? "accepted" : "dialed",
        "why", why, "more", net->said == SAID_MAX ? "not told for up to 10 s" : NULL, NULL);
}

/* The oldest of those accepted, if there are too many. */
static void make_room(struct net *net)
{
    struct conn *oldest = NULL;

    if (net->shaking < NET_HANDSHAKES_MAX)
        return;
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->state == CONN_SHAKING && conn->accepted)
            oldest = conn;
    AS_ASSERT(oldest);
    complain(oldest, AS_TRACE_WARN,
             "too many TLS handshakes are under way, and this one is the oldest");
    conn_end(oldest);
}

as_err conn_tls_start(struct conn *conn)
{
    struct net *net = conn->net;
    as_err err =
        tls_new(&conn->tls, net->credentials, conn->accepted ? TLS_SERVER : TLS_CLIENT, NULL);

    if (!err && !conn->accepted)
        err = tls_begin(conn->tls);
    if (err)
        return err;
    net_peer_text(&conn->tcp, conn->peer);
    if (conn->accepted) {
        make_room(net);
        net->shaking++;
    }
    conn->state = CONN_SHAKING;
    conn_dirty(conn);
    return AS_OK;
}

/* Ends it: the last words still leave. */
static void end(struct conn *conn, as_err err, const char *why)
{
    struct net *net = conn->net;
    bool unheard_of = conn->state == CONN_SHAKING && conn->accepted;
    uint64_t number = conn->number;

    conn_leave(conn);
    if (unheard_of)
        return;
    net->why_text = why;
    net->callbacks.closed(net->callbacks.ctx, number, err == AS_ERR_CLOSED ? AS_OK : err);
    net->why_text = NULL;
}

static void shaken(struct conn *conn)
{
    struct net *net = conn->net;

    net->shaking -= conn->accepted;
    uv_timer_stop(&conn->timer);
    conn->state = CONN_OPEN;
    if (conn->plain.len)
        conn_dirty(conn);
    if (!conn->accepted) {
        net->callbacks.connected(net->callbacks.ctx, conn->number);
        return;
    }
    net->callbacks.accepted(net->callbacks.ctx, conn->number, conn->peer);
}

/* Each callback may close the connection: it lives on until the loop has run, but is not OPEN then. */
void conn_tls_read(struct conn *conn, struct as_bytes wire)
{
    struct net *net = conn->net;
    as_err err;

    as_buf_clear(&net->plain);
    err = tls_receive(conn->tls, wire, &net->plain);
    if (tls_out(conn->tls)->len)
        conn_dirty(conn);
    if (conn->state == CONN_SHAKING && tls_shaken(conn->tls))
        shaken(conn);
    if (conn->state == CONN_OPEN && net->plain.len)
        net->callbacks.bytes(net->callbacks.ctx, conn->number, as_buf_bytes(&net->plain));
    if (!err || (conn->state != CONN_SHAKING && conn->state != CONN_OPEN))
        return;
    if (err != AS_ERR_CLOSED || conn->state == CONN_SHAKING)
        complain(conn, AS_TRACE_WARN, tls_why(conn->tls));
    end(conn, err, tls_why(conn->tls));
}

void conn_tls_stream_end(struct conn *conn)
{
    as_err err = tls_stream_end(conn->tls);

    /* A connection that says nothing at all is somebody's look whether we listen. */
    if (conn->state == CONN_SHAKING)
        complain(conn, conn->heard || !conn->accepted ? AS_TRACE_WARN : AS_TRACE_DEBUG,
                 tls_why(conn->tls));
    end(conn, err, tls_why(conn->tls));
}

void conn_tls_late(struct conn *conn)
{
    complain(conn, AS_TRACE_WARN, "the TLS handshake is not done after 5 s");
    conn_report(conn, AS_ERR_IO, UV_ETIMEDOUT);
}

as_err conn_tls_seal(struct conn *conn)
{
    struct as_buf *sealed = tls_out(conn->tls), swap;
    as_err err = AS_OK;

    if (conn->plain.len && tls_open(conn->tls)) {
        err = tls_send(conn->tls, as_buf_bytes(&conn->plain));
        conn_buf_empty(&conn->plain, AS_SEND_QUEUE_BYTES_MAX);
    }
    if (conn->state == CONN_LEAVING)
        tls_bye(conn->tls);
    if (!sealed->len)
        return err;
    AS_ASSERT(conn->out.len == 0);
    swap = conn->out;
    conn->out = *sealed;
    *sealed = swap;
    return err;
}

bool conn_plain_check(struct conn *conn, struct as_bytes first)
{
    static const char why[] =
        "the peer speaks TLS, and there is no [tls] section here: give us one, "
        "or take the peer's away";
    struct net *net = conn->net;

    if (!tls_looks_like(first))
        return false;
    net_peer_text(&conn->tcp, conn->peer);
    complain(conn, AS_TRACE_WARN, why);
    net->why_text = why;
    conn_report(conn, AS_ERR_REFUSED, UV_EPROTO);
    net->why_text = NULL;
    return true;
}
