/*
 * The HTTP server: libmicrohttpd, driven by the process's one loop through its epoll descriptor.
 *
 * Fault model: a client may send anything, at any speed, read nothing, and leave at any time: see
 * clients.c. Whatever it does, it holds no more than a connection's memory and its part of
 * `memory_max`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "assent/hist.h"
#include "common/uv/tls.h"
#include "coordinator/api/server.h"

#define CONNECTIONS_MAX 10000
#define IDLE_TIMEOUT_S 120
#define REQUEST_TIMEOUT_S 30
#define ANSWER_TIMEOUT_S 60
#define MEMORY_MAX ((size_t)256 << 20)
#define PASSING_MS 10000
#define TURN_US 20000 /* less than a heartbeat */
#define HELD_MAX 32   /* that are taken up again at a time */
#define CONNECTION_BYTES 16384
#define STRANGERS_BODY_MAX \
    65536 /* of who is not known: read and thrown away, so that the connection stays */

/* --- libmicrohttpd's callbacks --- */

/* The request line is there: from here on a request is being read. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct api *api = cls;
    struct request *request = request_new(api, connection);
    const union MHD_ConnectionInfo *info;

    if (!request)
        return NULL;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->conn = info ? info->socket_context : NULL;
    target_take(request, uri, strlen(uri));
    if (request->conn) {
        request->conn->request = request;
        request->conn->asked = true;
        client_move(request->conn, CONN_READING);
    }
    return request;
}

static void body_take(struct request *request, const char *data, size_t len)
{
    struct api *api = request->api;

    request->body_seen += len;
    api->http.bytes_in += len;
    /* What is refused anyway is read and thrown away: unread, it would cost the connection. What is
     * too long stops at the buffer's maximum. */
    if (request->answer.status)
        return;
    as_put_bytes(&request->body, data, len);
    if (!client_body_memory(request)) {
        as_buf_close(&request->body);
        handler_refuse(request, 503, "overloaded",
                       "all the memory for large requests is taken; try again later");
        request->state = REQUEST_READING; /* to its end, without keeping it */
        (void)client_body_memory(request);
    }
}

static bool turn_lasts(const struct api *api)
{
    return uv_hrtime() - api->run_ns < (uint64_t)api->config.turn_us * 1000;
}

/*
 * True: requests have had their part of this turn, and this one waits for the next. Agents, other nodes
 * and the disk would wait for all of them otherwise: ten thousand clients can send one each at the same
 * moment.
 */
static bool hold(struct request *request)
{
    struct api *api = request->api;

    if (request->granted || (!api->held && turn_lasts(api)))
        return false;
    client_move(request->conn, CONN_WAITING);
    request->next_due = NULL;
    if (api->held)
        api->held_last->next_due = request;
    else
        api->held = request;
    api->held_last = request;
    MHD_suspend_connection(request->connection);
    return true;
}

static void release_held(struct api *api, size_t count)
{
    while (api->held && count-- > 0) {
        struct request *request = api->held;

        api->held = request->next_due;
        request->granted = true;
        client_move(request->conn, CONN_READING);
        MHD_resume_connection(request->connection);
    }
}

/* Ready to be answered, or already so: answers, or puts the connection aside. */
static enum MHD_Result proceed(struct request *request)
{
    if (request->state == REQUEST_READING) {
        if (request->answer.status)
            request->state = REQUEST_ANSWERED;
        else
            handler_run(request);
        request_forget_body(request);
    }
    if (request->state == REQUEST_ANSWERED)
        return request_respond(request);
    AS_ASSERT(request->state == REQUEST_ASKED);
    request->state = REQUEST_SUSPENDED;
    request->api->http.waiting++;
    client_move(request->conn, CONN_WAITING);
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

static const char *header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result on_headers(struct request *request, const char *method)
{
    struct request_head head = {method, header(request, "Content-Type"),
                                header(request, "Assent-Session"),
                                header(request, MHD_HTTP_HEADER_AUTHORIZATION)};
    const char *length = header(request, "Content-Length");
    uint64_t len = length ? strtoull(length, NULL, 10) : 0;
    size_t max = request->api->config.body_bytes_max;

    request->state = REQUEST_READING;
    handler_begin(request, &head);
    if (request->conn && request->conn->surplus && request->answer.status != 401)
        handler_refuse(request, 503, "overloaded",
                       "more connections than [api] connections_max, and each one waits for an "
                       "answer; try again later, or ask another node");
    else if (len > max && !request->answer.status)
        handler_refuse(request, 413, "body_too_large", "a body is at most %zu bytes here", max);
    /* Not read at all: libmicrohttpd closes the connection behind the answer. */
    if (len > max || (request->conn && request->conn->surplus) ||
        (request->answer.status == 401 &&
         (len > STRANGERS_BODY_MAX || header(request, "Transfer-Encoding"))))
        return request_respond(request);
    request->state = REQUEST_READING;
    /* Called again behind the body. An answer now would make libmicrohttpd close the connection of
     * any method that may have one, whether there is a body or not. */
    return MHD_YES;
}

/* A chunked body far over the limit: it is not worth reading to its end, to be answered 413. */
static bool endless(struct request *request)
{
    if (request->body_seen / 16 <= request->api->config.body_bytes_max)
        return false;
    request->api->http.limited[ANSWER_LIMIT_BODY]++;
    return true;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **request_cls)
{
    struct request *request = *request_cls;

    (void)cls;
    (void)connection;
    (void)url; /* see target.c */
    (void)version;
    if (!request)
        return MHD_NO; /* no memory: the client sees a closed connection */
    if ((request->state == REQUEST_NEW || (request->state == REQUEST_READING && *data_len == 0)) &&
        hold(request))
        return MHD_YES;
    switch (request->state) {
    case REQUEST_NEW:
        return on_headers(request, method);
    case REQUEST_READING:
        if (*data_len == 0)
            return proceed(request);
        request->granted = false;
        body_take(request, data, *data_len);
        *data_len = 0;
        return endless(request) ? MHD_NO : MHD_YES;
    case REQUEST_ANSWERED:
        return request_respond(request);
    case REQUEST_GONE:
        return MHD_NO;
    case REQUEST_FREE:
    case REQUEST_ASKED:
    case REQUEST_SUSPENDED:
        break; /* put aside: libmicrohttpd does not call for it */
    }
    return MHD_NO;
}

void request_resume(struct request *request)
{
    AS_ASSERT(request->state != REQUEST_SUSPENDED);
    if (!request->connection) {
        pass_due(request);
        return;
    }
    request->api->http.waiting--;
    MHD_resume_connection(request->connection);
    request->api->resumed = true;
}

void request_abandon(struct request *request)
{
    node_forget(request->api->node, request_client(request));
    request->state = REQUEST_GONE;
    request_resume(request);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **request_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct api *api = cls;
    struct request *request = *request_cls;

    (void)connection;
    if (!request)
        return;
    *request_cls = NULL;
    /* 0.9.75 never ends a suspended request by itself; another version may. */
    if (request->state == REQUEST_SUSPENDED) {
        api->http.waiting--;
        node_forget(api->node, request_client(request));
    }
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK && request->answer.status) {
        api->http.limited[ANSWER_LIMIT_BODY] += request->answer.status == 413;
        api->http.requests[request->route][answer_status_column(request->answer.status)]++;
        as_hist_add(&api->duration_ns[request->route], uv_hrtime() - request->began_ns);
    } else {
        api->http.gone[request->route]++;
    }
    if (request->conn) {
        request->conn->request = NULL;
        client_move(request->conn, CONN_IDLE);
    }
    request_release(request);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct api *api = cls;
    struct conn *conn = *socket_context;
    int fd;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        api->http.connections++;
        fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        conn = client_new(api, fd);
        if (!https_begin(api, conn, connection))
            (void)shutdown(fd, SHUT_RDWR);
        *socket_context = conn;
        return;
    }
    api->http.connections--;
    if (!conn)
        return;
    https_end(conn, connection);
    client_free(conn);
    *socket_context = NULL;
}

/* --- The loop --- */

static void on_timer(uv_timer_t *timer);

static void on_again(uv_idle_t *again);

/* A timer of 0 ms, set by a timer, would fire before anything else in the loop had its turn. */
static void run_soon(struct api *api, uint64_t ms)
{
    if (ms == 0)
        (void)uv_idle_start(&api->again, on_again);
    else if (!uv_is_active((uv_handle_t *)&api->timer) || uv_timer_get_due_in(&api->timer) > ms)
        (void)uv_timer_start(&api->timer, on_timer, ms, 0);
}

static void run(struct api *api)
{
    MHD_UNSIGNED_LONG_LONG ms;

    AS_ASSERT(!api->running);
    api->running = true;
    api->resumed = false;
    (void)uv_idle_stop(&api->again);
    api->run_ns = uv_hrtime();
    do {
        release_held(api, HELD_MAX);
        (void)MHD_run(api->daemon);
    } while (api->held && turn_lasts(api));
    api->running = false;
    if (api->held)
        run_soon(api, 0);
    /* An earlier timer stays: it finds nothing to do and is set anew, cheaper than moving it each
     * time. */
    if (MHD_get_timeout(api->daemon, &ms) == MHD_YES)
        run_soon(api, ms);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_again(uv_idle_t *again)
{
    run(again->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

void api_reply(struct api *api, uint64_t client, const struct as_reply *reply)
{
    struct request *request = request_find(api, client);
    bool aside;

    if (!request || (request->state != REQUEST_ASKED && request->state != REQUEST_SUSPENDED))
        return;
    aside = request->state == REQUEST_SUSPENDED;
    handler_reply(request, reply);
    AS_ASSERT(request->state == REQUEST_ANSWERED);
    if (aside)
        request_resume(request);
}

void api_turn_end(struct api *api)
{
    if (api->running || (!api->resumed && !api->due && !api->unheard_count))
        return;
    api->asked = false;
    pass_turn(api);
    if (api->resumed)
        run(api);
    /* libmicrohttpd also read: what was brought to the node needs another end of a turn. */
    if (api->asked || api->resumed || api->due)
        run_soon(api, 0);
}

/* --- Birth and death --- */

static void on_sweep(uv_timer_t *timer)
{
    struct api *api = timer->data;

    clients_sweep(api);
    /* Also when nobody was found: at its limit of connections, or out of descriptors, libmicrohttpd
     * stops listening, and starts again only in the MHD_run after one has ended. */
    run_soon(api, 0);
}

static as_err daemon_start(struct api *api, int fd, char ret_error[256])
{
    unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (api->credentials ? MHD_USE_TLS : 0);

    api->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)api->config.connections_max + API_SURPLUS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)api->config.idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, api, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, api,
        MHD_OPTION_HTTPS_CERT_CALLBACK, https_no_certificate, MHD_OPTION_END);
    if (api->daemon)
        return AS_OK;
    (void)snprintf(ret_error, 256, "libmicrohttpd does not start");
    return AS_ERR_IO;
}

static void handles_start(struct api *api)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    api->poll.data = api->timer.data = api->sweep.data = api->again.data = api;
    (void)uv_poll_init(api->loop, &api->poll, info->epoll_fd);
    (void)uv_poll_start(&api->poll, UV_READABLE, on_readable);
    (void)uv_timer_init(api->loop, &api->timer);
    (void)uv_timer_init(api->loop, &api->sweep);
    (void)uv_timer_start(&api->sweep, on_sweep, 1000, 1000);
    (void)uv_idle_init(api->loop, &api->again);
    api->open_handles = 4;
}

as_err api_new(struct api **ret_api, const struct api_config *config, uv_loop_t *loop,
               struct node *node, uint16_t *ret_port, char ret_error[256])
{
    struct api *api;
    int fd;
    as_err err = listen_open(config->listen, &fd, ret_port, ret_error);

    if (err)
        return err;
    api = as_alloc_zero(1, sizeof(*api));
    if (!api) {
        (void)close(fd);
        (void)snprintf(ret_error, 256, "out of memory");
        return AS_ERR_NOMEM;
    }
    api->config = *config;
    if (!api->config.connections_max)
        api->config.connections_max = CONNECTIONS_MAX;
    if (!api->config.body_bytes_max)
        api->config.body_bytes_max = AS_BODY_BYTES_MAX;
    if (!api->config.idle_timeout_s)
        api->config.idle_timeout_s = IDLE_TIMEOUT_S;
    if (!api->config.request_timeout_s)
        api->config.request_timeout_s = REQUEST_TIMEOUT_S;
    if (!api->config.answer_timeout_s)
        api->config.answer_timeout_s = ANSWER_TIMEOUT_S;
    if (!api->config.memory_max)
        api->config.memory_max = MEMORY_MAX;
    if (!api->config.timeout_ms_default)
        api->config.timeout_ms_default = AS_TIMEOUT_MS_DEFAULT;
    if (!api->config.turn_us)
        api->config.turn_us = TURN_US;
    if (!api->config.passing_ms)
        api->config.passing_ms = PASSING_MS;
    if (!api->config.version)
        api->config.version = "unknown";
    api->loop = loop;
    api->node = node;
    if (config->credentials)
        api_tls(api, config->credentials);
    api->identifies = config->tokens || api->asks_clients;
    api->first_free = REQUEST_NONE;
    api->http.duration_ns = api->duration_ns;
    api->started_ns = uv_hrtime();
    as_buf_init(&api->passing, FORWARD_REQUEST_BYTES_MAX);
    body_init(&api->reader, api->config.timeout_ms_default, api->config.body_bytes_max);
    err = daemon_start(api, fd, ret_error);
    if (err) {
        (void)close(fd);
        tls_credentials_release(api->credentials);
        as_free(api);
        return err;
    }
    handles_start(api);
    *ret_api = api;
    return AS_OK;
}

bool api_drain(struct api *api)
{
    if (!api->draining) {
        int fd = MHD_quiesce_daemon(api->daemon);

        api->draining = true;
        if (fd >= 0)
            (void)close(fd);
        on_sweep(&api->sweep);
    }
    return api->in_flight == 0 && api->http.connections == 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct api *api = handle->data;

    if (--api->open_handles > 0)
        return;
    requests_free(api);
    body_close(&api->reader);
    as_buf_close(&api->passing);
    tls_credentials_release(api->credentials);
    as_free(api);
}

void api_free(struct api *api)
{
    if (!api)
        return;
    /* libmicrohttpd must not be stopped with a connection put aside. */
    for (uint32_t i = 0; i < api->request_count; i++) {
        if (api->requests[i]->state == REQUEST_SUSPENDED)
            request_abandon(api->requests[i]);
    }
    release_held(api, SIZE_MAX);
    (void)uv_poll_stop(&api->poll);
    MHD_stop_daemon(api->daemon);
    uv_close((uv_handle_t *)&api->poll, on_handle_closed);
    uv_close((uv_handle_t *)&api->timer, on_handle_closed);
    uv_close((uv_handle_t *)&api->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&api->again, on_handle_closed);
}
