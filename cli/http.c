/*
 * The load client; see http.h. Level-triggered epoll; a client that pauses is looked for only while
 * one does.
 *
 * Fault model: the server may vanish, answer late or never. Whatever is not a whole answer with a
 * Content-Length is a failure of that request, and the connection is made anew.
 */
#include "cli/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/rest.h"
#include "common/uv/tls.h"

#define ANSWER_BYTES_FIRST ((size_t)16384)
#define ANSWER_BYTES_MAX ((size_t)16 << 20)
#define CHECK_EVERY (AS_SECOND / 4) /* for answers that do not come */

enum state { PAUSED, CONNECTING, SHAKING, WAITING, FINISHED };

struct client {
    int fd; /* -1: none */
    enum state state;
    uint32_t number;
    uint32_t node; /* whom it talks to */
    struct as_bytes request;
    size_t sent;
    struct tls *tls; /* NULL: plain */
    char *answer;
    size_t answer_len, answer_cap;
    size_t answer_total; /* 0: the head is not complete yet */
    size_t body_at;
    int status;
    as_time due; /* PAUSED: when it goes on; else when it gives up */
};

struct run {
    const struct http_load *load;
    struct client *clients;
    int epoll;
    uint32_t paused, finished;
    struct tls_credentials *credentials; /* NULL: no node has TLS */
    struct as_buf plain;                 /* what one read has brought, with TLS */
    struct sockaddr_in address[HTTP_NODES_MAX];
};

static bool node_read(struct http_node *node, const char *url)
{
    unsigned port;
    int end = 0;

    node->tls = strncmp(url, "https://", 8) == 0;
    if (!node->tls && strncmp(url, "http://", 7) != 0)
        return false;
    url += node->tls ? 8 : 7;
    if (sscanf(url, "%63[0-9.]:%u%n", node->host, &port, &end) != 2 || port > 65535 ||
        (url[end] && strcmp(url + end, "/") != 0)) {
        if (sscanf(url, "localhost:%u%n", &port, &end) != 1 || port > 65535 || url[end])
            return false;
        (void)snprintf(node->host, sizeof(node->host), "127.0.0.1");
    }
    node->port = (uint16_t)port;
    return true;
}

bool http_load_address(struct http_load *load, const char *urls)
{
    char url[128];

    load->node_count = 0;
    while (rest_api_next(&urls, url, sizeof(url)))
        if (load->node_count == HTTP_NODES_MAX || !node_read(&load->nodes[load->node_count++], url))
            return false;
    return load->node_count > 0;
}

bool as_bytes_are(struct as_bytes bytes, const char *text)
{
    return strlen(text) == bytes.len && memcmp(bytes.data, text, bytes.len) == 0;
}

bool http_body_state(const struct http_response *response, struct as_bytes *ret_state)
{
    static const char key[] = "\"state\"";
    const char *end = response->body + response->body_len;
    const char *at = memmem(response->body, response->body_len, key, sizeof(key) - 1);
    const char *close;

    if (!at)
        return false;
    at += sizeof(key) - 1;
    while (at < end && (*at == ' ' || *at == ':'))
        at++;
    close = at < end && *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
    if (!close)
        return false;
    *ret_state = (struct as_bytes){(const uint8_t *)at + 1, (size_t)(close - at - 1)};
    return true;
}

static void watch(struct run *run, struct client *client, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = client->number};

    (void)epoll_ctl(run->epoll, op, client->fd, &event);
}

static void hang_up(struct client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
    tls_free(client->tls);
    client->tls = NULL;
    client->answer_len = client->answer_total = 0;
}

static void pause_for(struct run *run, struct client *client, as_time pause)
{
    client->state = PAUSED;
    client->due = clock_now() + pause;
    run->paused++;
}

static void go_elsewhere(const struct run *run, struct client *client)
{
    hang_up(client);
    if (++client->node >= run->load->node_count)
        client->node = 0;
}

static void fail(struct run *run, struct client *client, const char *why)
{
    go_elsewhere(run, client);
    pause_for(run, client, run->load->ops->failed(run->load->ctx, client->number, why));
}

/* With TLS: what the session has to say, its own words and ours. */
static void send_sealed(struct run *run, struct client *client)
{
    struct as_buf *out = tls_out(client->tls);

    while (out->len) {
        ssize_t sent = send(client->fd, out->data, out->len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            watch(run, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            fail(run, client, strerror(errno));
            return;
        }
        as_buf_consume(out, (size_t)sent);
    }
}

static void send_more(struct run *run, struct client *client)
{
    if (client->tls) {
        if (client->state == WAITING && client->sent < client->request.len) {
            client->sent = client->request.len;
            if (tls_send(client->tls, client->request)) {
                fail(run, client, tls_why(client->tls));
                return;
            }
        }
        send_sealed(run, client);
        return;
    }
    while (client->sent < client->request.len) {
        ssize_t sent = send(client->fd, client->request.data + client->sent,
                            client->request.len - client->sent, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            watch(run, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            fail(run, client, strerror(errno));
            return;
        }
        client->sent += (size_t)sent;
    }
}

static void dial(struct run *run, struct client *client)
{
    int on = 1;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        fail(run, client, strerror(errno));
        return;
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    client->state = CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&run->address[client->node],
                sizeof(run->address[0])) &&
        errno != EINPROGRESS) {
        fail(run, client, strerror(errno));
        return;
    }
    watch(run, client, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The next request of a client that waits for nothing. */
static void go_on(struct run *run, struct client *client)
{
    if (!run->load->ops->request(run->load->ctx, client->number, &client->request)) {
        hang_up(client);
        client->state = FINISHED;
        run->finished++;
        return;
    }
    client->sent = 0;
    client->due = clock_now() + run->load->answer_timeout;
    if (client->fd < 0) {
        dial(run, client);
        return;
    }
    client->state = WAITING;
    send_more(run, client);
}

static void connected(struct run *run, struct client *client)
{
    int error = 0;
    socklen_t len = sizeof(error);

    (void)getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        fail(run, client, strerror(error));
        return;
    }
    watch(run, client, EPOLL_CTL_MOD, EPOLLIN);
    client->state = WAITING;
    if (run->load->nodes[client->node].tls) {
        client->state = SHAKING;
        if (tls_new(&client->tls, run->credentials, TLS_CLIENT,
                    run->load->nodes[client->node].host) ||
            tls_begin(client->tls)) {
            fail(run, client, "out of memory for a TLS session");
            return;
        }
    }
    send_more(run, client);
}

/* Status and length from a complete head; false: not an answer that we can read. */
static bool head_parse(struct client *client, const char *head_end)
{
    const char *line = client->answer;
    bool has_length = false;

    if (head_end - line < 12 || memcmp(line, "HTTP/1.1 ", 9) != 0)
        return false;
    client->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    client->body_at = (size_t)(head_end - client->answer) + 4;
    for (;;) {
        line = memchr(line, '\n', (size_t)(head_end + 2 - line));
        if (!line || ++line >= head_end)
            break;
        if ((*line | 0x20) == 'c' && strncasecmp(line, "Content-Length:", 15) == 0) {
            client->answer_total = client->body_at + strtoul(line + 15, NULL, 10);
            has_length = true;
        }
    }
    return has_length && client->answer_total <= ANSWER_BYTES_MAX;
}

/* True when the whole answer is there. */
static bool answer_look(struct run *run, struct client *client)
{
    if (!client->answer_total) {
        const char *head_end = memmem(client->answer, client->answer_len, "\r\n\r\n", 4);

        if (!head_end) {
            if (client->answer_len == client->answer_cap)
                fail(run, client, "the head of the answer is too long");
            return false;
        }
        if (!head_parse(client, head_end)) {
            fail(run, client, "the answer cannot be read");
            return false;
        }
        if (client->answer_total > client->answer_cap) {
            char *larger = realloc(client->answer, client->answer_total);

            if (!larger) {
                fail(run, client, "out of memory");
                return false;
            }
            client->answer = larger;
            client->answer_cap = client->answer_total;
        }
    }
    return client->answer_len >= client->answer_total;
}

/* As recv, of what the session makes of the bytes; -1 with EAGAIN: nothing yet. */
static ssize_t receive_sealed(struct run *run, struct client *client)
{
    static uint8_t wire[65536];
    ssize_t got = recv(client->fd, wire, sizeof(wire), 0);
    struct as_buf *plain = &run->plain;

    if (got <= 0)
        return got;
    as_buf_clear(plain);
    if (tls_receive(client->tls, (struct as_bytes){wire, (size_t)got}, plain) && !plain->len)
        return 0;
    if (client->state == SHAKING && tls_open(client->tls)) {
        client->state = WAITING;
        send_more(run, client);
    } else if (tls_out(client->tls)->len) {
        send_sealed(run, client);
    }
    if (client->answer_len + plain->len > client->answer_cap) {
        size_t cap = client->answer_len + plain->len;
        char *larger = cap <= ANSWER_BYTES_MAX ? realloc(client->answer, cap) : NULL;

        if (!larger)
            return 0;
        client->answer = larger;
        client->answer_cap = cap;
    }
    if (plain->len)
        memcpy(client->answer + client->answer_len, plain->data, plain->len);
    errno = EAGAIN;
    return plain->len ? (ssize_t)plain->len : -1;
}

static void receive(struct run *run, struct client *client)
{
    struct http_response response;
    bool sealed = client->tls != NULL;
    ssize_t got = sealed ? receive_sealed(run, client)
                         : recv(client->fd, client->answer + client->answer_len,
                                client->answer_cap - client->answer_len, 0);
    as_time pause;

    if (client->state == PAUSED)
        return; /* sending failed meanwhile */

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        fail(run, client,
             got                                 ? strerror(errno)
             : sealed && tls_why(client->tls)[0] ? tls_why(client->tls)
                                                 : "the connection was closed");
        return;
    }
    client->answer_len += (size_t)got;
    if (!answer_look(run, client))
        return;
    response = (struct http_response){client->status, client->answer + client->body_at,
                                      client->answer_total - client->body_at};
    pause = run->load->ops->response(run->load->ctx, client->number, &response);
    client->answer_len = client->answer_total = 0;
    if (response.status == 503 && run->load->node_count > 1)
        go_elsewhere(run, client);
    if (pause)
        pause_for(run, client, pause);
    else
        go_on(run, client);
}

static void on_event(struct run *run, const struct epoll_event *event)
{
    struct client *client = &run->clients[event->data.u32];

    if (client->fd < 0)
        return;
    switch (client->state) {
    case CONNECTING:
        connected(run, client);
        return;
    case SHAKING:
    case WAITING:
        if ((event->events & EPOLLOUT) &&
            (client->tls ? tls_out(client->tls)->len > 0 : client->sent < client->request.len)) {
            watch(run, client, EPOLL_CTL_MOD, EPOLLIN);
            send_more(run, client);
        }
        if ((client->state == WAITING || client->state == SHAKING) &&
            (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            receive(run, client);
        return;
    case PAUSED: /* kept alive, and the server closed it */
        hang_up(client);
        return;
    case FINISHED:
        return;
    }
}

/* Wakes those whose pause is over, gives up those whose answer does not come. Returns when to look
 * again. */
static as_time look_at_clocks(struct run *run, as_time now)
{
    as_time next = now + CHECK_EVERY;

    for (uint32_t i = 0; i < run->load->clients; i++) {
        struct client *client = &run->clients[i];

        if (client->state == FINISHED)
            continue;
        if (client->due <= now) {
            if (client->state == PAUSED) {
                run->paused--;
                go_on(run, client);
            } else {
                fail(run, client, "no answer in time");
            }
        }
        if (client->state == PAUSED && client->due < next)
            next = client->due;
    }
    return next;
}

static void run_loop(struct run *run)
{
    struct epoll_event events[64];
    as_time look_at = 0;

    while (run->finished < run->load->clients) {
        as_time now = clock_now();
        int count, timeout_ms;

        if (now >= look_at || run->paused)
            look_at = look_at_clocks(run, now);
        timeout_ms = look_at > now ? (int)((look_at - now + AS_MS - 1) / AS_MS) : 0;
        count = epoll_wait(run->epoll, events, AS_COUNT_OF(events), timeout_ms);
        for (int i = 0; i < count; i++)
            on_event(run, &events[i]);
    }
}

static bool credentials_read(struct run *run)
{
    const struct tls_files files = {.ca = getenv(REST_CA)};
    char why[TLS_WHY_BYTES];
    bool needed = false;

    for (uint32_t i = 0; i < run->load->node_count; i++)
        needed |= run->load->nodes[i].tls;
    if (!needed)
        return true;
    if (!files.ca || !*files.ca) {
        complain("https needs the authority of the nodes' certificates in $" REST_CA);
        return false;
    }
    if (tls_credentials_read(&run->credentials, &files, why)) {
        complain("%s", why);
        return false;
    }
    return true;
}

bool http_load_run(const struct http_load *load)
{
    struct run run = {.load = load, .epoll = epoll_create1(EPOLL_CLOEXEC)};

    if (!credentials_read(&run))
        return false;
    as_buf_init(&run.plain, 4u << 20);

    for (uint32_t i = 0; i < load->node_count; i++) {
        run.address[i].sin_family = AF_INET;
        run.address[i].sin_port = htons(load->nodes[i].port);
        if (run.epoll < 0 ||
            inet_pton(AF_INET, load->nodes[i].host, &run.address[i].sin_addr) != 1) {
            complain("cannot make a load client for %s: %s", load->nodes[i].host, strerror(errno));
            return false;
        }
    }
    run.clients = must_alloc(load->clients, sizeof(*run.clients));
    for (uint32_t i = 0; i < load->clients; i++) {
        run.clients[i] =
            (struct client){.fd = -1,
                            .state = PAUSED,
                            .number = i,
                            .node = load->spread && load->node_count ? i % load->node_count : 0,
                            .answer = must_alloc(1, ANSWER_BYTES_FIRST),
                            .answer_cap = ANSWER_BYTES_FIRST};
        run.paused++;
    }
    run_loop(&run);
    for (uint32_t i = 0; i < load->clients; i++)
        free(run.clients[i].answer);
    free(run.clients);
    as_buf_close(&run.plain);
    tls_credentials_release(run.credentials);
    (void)close(run.epoll);
    return true;
}
