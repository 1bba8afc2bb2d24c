/*
 * The connections of all clients, and what they may hold together.
 *
 * Fault model: clients open connections and say nothing, send a byte a second, never take their
 * answers, and do so by the ten thousand. None of that may keep an honest newcomer out, or make the
 * process grow:
 *
 *  - A request has `request_timeout_s` to arrive whole, an answer `answer_timeout_s` to be taken:
 *    libmicrohttpd's own timeout is one of inactivity, which a byte a second outlives.
 *  - Past `connections_max` the one that was idle longest ends for the newcomer; if none is idle, one
 *    that has dawdled over its request or answer for PATIENCE_MS. One that waits for the node never
 *    does: if all wait, the newcomer's request is answered 503.
 *  - Bodies beyond SMALL_BYTES share half of `memory_max`, such answers the other half. Past it the
 *    next one is refused, and those that dawdle over theirs end. Small ones always pass:
 *    connections_max bounds them.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "assent/alloc.h"
#include "coordinator/api/server.h"

#define PATIENCE_MS 1000
#define SMALL_BYTES 16384

/* --- Their places --- */

static void take_out(struct conn *conn)
{
    struct api *api = conn->api;

    if (conn->next)
        conn->next->prev = conn->prev;
    else
        api->places[conn->place].last = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        api->places[conn->place].first = conn->next;
    api->places[conn->place].count--;
}

static void put_last(struct conn *conn, enum conn_place place)
{
    struct api *api = conn->api;

    conn->place = place;
    conn->since_ms = conn->looked_ms = uv_now(api->loop);
    conn->dribbles = 0;
    conn->next = NULL;
    conn->prev = api->places[place].last;
    if (conn->prev)
        conn->prev->next = conn;
    else
        api->places[place].first = conn;
    api->places[place].last = conn;
    api->places[place].count++;
}

void client_move(struct conn *conn, enum conn_place place)
{
    if (!conn || conn->place == place || conn->place == CONN_ENDING)
        return;
    take_out(conn);
    put_last(conn, place);
}

/* A request was begun and will not be read: says so, as far as that can be said without waiting. */
static void say_late(const struct conn *conn)
{
    static const char body[] =
        "{\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,"
        "\"code\":\"request_timeout\",\"detail\":\"the request has not arrived whole in time\"}";
    char text[sizeof(body) + 200];
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 408 Request Timeout\r\nContent-Type: " TYPE_PROBLEM
                       "\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                       sizeof(body) - 1, body);

    if (conn->session)
        (void)gnutls_record_send(conn->session, text, (size_t)len);
    else
        (void)send(conn->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* libmicrohttpd sees the end of the stream and closes. */
static void end(struct conn *conn, enum answer_limit limit)
{
    conn->api->http.limited[limit]++;
    if (conn->place == CONN_READING)
        say_late(conn);
    (void)shutdown(conn->fd, SHUT_RDWR);
    client_move(conn, CONN_ENDING);
}

/* False: nobody has been there for so long. */
static bool end_oldest(struct api *api, enum conn_place place, uint64_t age_ms,
                       enum answer_limit limit)
{
    struct conn *conn = api->places[place].first;

    if (!conn || uv_now(api->loop) - conn->since_ms < age_ms)
        return false;
    end(conn, limit);
    return true;
}

struct conn *client_new(struct api *api, int fd)
{
    struct conn *conn = as_alloc_zero(1, sizeof(*conn));

    if (!conn)
        return NULL;
    conn->api = api;
    conn->fd = fd;
    if (api->http.connections - api->places[CONN_ENDING].count > api->config.connections_max)
        conn->surplus = !end_oldest(api, CONN_IDLE, 0, ANSWER_LIMIT_CONNECTIONS) &&
                        !end_oldest(api, CONN_READING, PATIENCE_MS, ANSWER_LIMIT_CONNECTIONS) &&
                        !end_oldest(api, CONN_WRITING, PATIENCE_MS, ANSWER_LIMIT_CONNECTIONS);
    api->http.limited[ANSWER_LIMIT_CONNECTIONS] += conn->surplus;
    put_last(conn, CONN_IDLE);
    return conn;
}

void client_free(struct conn *conn)
{
    take_out(conn);
    as_free(conn);
}

/* --- Memory --- */

static size_t large(size_t bytes)
{
    return bytes > SMALL_BYTES ? bytes : 0;
}

/* All that dawdle over something large in that place. */
static void end_large(struct api *api, enum conn_place place)
{
    uint64_t now_ms = uv_now(api->loop);
    struct conn *next;

    for (struct conn *conn = api->places[place].first; conn; conn = next) {
        next = conn->next;
        if (now_ms - conn->since_ms < PATIENCE_MS)
            break;
        if (conn->request && (conn->request->body_memory || conn->request->answer_memory))
            end(conn, ANSWER_LIMIT_MEMORY);
    }
}

/* Counts `now` instead of *held. False: it grew, and is too much now. */
static bool count(struct api *api, uint64_t *all, size_t *held, size_t now, enum conn_place place)
{
    bool grew = now > *held;

    *all += now - *held;
    *held = now;
    if (!grew || *all <= api->config.memory_max / 2)
        return true;
    api->http.limited[ANSWER_LIMIT_MEMORY]++;
    end_large(api, place);
    return false;
}

bool client_body_memory(struct request *request)
{
    return count(request->api, &request->api->http.body_memory, &request->body_memory,
                 large(request->body.cap), CONN_READING);
}

bool client_answer_memory(struct request *request, size_t bytes)
{
    return count(request->api, &request->api->http.answer_memory, &request->answer_memory,
                 large(bytes), CONN_WRITING);
}

/* --- Once a second: slow clients, and those that left --- */

/* True if bytes came in, look after look, and never made a request line. */
static bool dribbles(struct conn *conn, uint64_t now_ms)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (now_ms - conn->looked_ms < (uint64_t)conn->api->config.request_timeout_s * 500 ||
        getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    conn->dribbles = info.tcpi_last_data_recv < now_ms - conn->looked_ms ? conn->dribbles + 1 : 0;
    conn->looked_ms = now_ms;
    return conn->dribbles >= 2;
}

static bool peer_left(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void sweep_idle(struct api *api)
{
    uint64_t now_ms = uv_now(api->loop);
    struct conn *next;

    for (struct conn *conn = api->places[CONN_IDLE].first; conn; conn = next) {
        next = conn->next;
        if (api->draining)
            (void)shutdown(conn->fd, SHUT_RDWR);
        else if (dribbles(conn, now_ms))
            end(conn, ANSWER_LIMIT_REQUEST_TIME);
    }
}

static void sweep_waiting(struct api *api)
{
    uint64_t now_ns = uv_hrtime();
    struct conn *next;

    for (struct conn *conn = api->places[CONN_WAITING].first; conn; conn = next) {
        struct request *request = conn->request;

        next = conn->next;
        if (!request || request->state != REQUEST_SUSPENDED)
            continue;
        if (peer_left(conn->fd)) {
            /* libmicrohttpd does not watch a suspended connection: it would stay until its answer. */
            request_abandon(request);
        } else if (request->passed_bytes && now_ns > request->give_up_ns) {
            node_forget(api->node, request_client(request));
            pass_lost(request);
            request_resume(request);
        }
    }
}

void clients_sweep(struct api *api)
{
    uint64_t request_ms = (uint64_t)api->config.request_timeout_s * 1000;
    uint64_t answer_ms = (uint64_t)api->config.answer_timeout_s * 1000;

    sweep_idle(api);
    sweep_waiting(api);
    while (end_oldest(api, CONN_READING, request_ms, ANSWER_LIMIT_REQUEST_TIME)) {
    }
    while (end_oldest(api, CONN_WRITING, answer_ms, ANSWER_LIMIT_ANSWER_TIME)) {
    }
}
