/*
 * Two nets on one loop that talk to each other, for the tests of common/uv/net.
 */
#ifndef ASSENT_TEST_NET_RIG_H
#define ASSENT_TEST_NET_RIG_H

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "assent/limits.h"
#include "assent/map.h"
#include "common/uv/net.h"
#include "common/uv/tls.h"

#define DEADLINE_MS 60000

struct end {
    struct rig *rig;
    struct net *net;
    uint32_t accepted, connected, closed;
    uint64_t last; /* connection of the last event */
    as_err last_err;
    bool last_why;
    uint64_t bytes;
    uint64_t hash; /* folded over all bytes in order */
    bool echo;
    bool close_on_bytes;
    uint64_t redial; /* this number, to the rig's port, when it is reported closed */
    struct as_bytes greeting;
    struct tls_credentials *credentials;
    char why[TLS_WHY_BYTES]; /* of the last closed */
};

/* Of the nets that rig_open makes; NULL: no TLS. */
static struct tls_credentials *server_credentials, *client_credentials;

struct rig {
    uv_loop_t loop;
    uv_prepare_t turn_end;
    uv_timer_t deadline;
    struct end server, client;
    bool inside; /* a net_* call is under way */
    bool late;
    bool done;
    uint16_t port;
    char address[64];
};

#define INSIDE(rig, call)      \
    do {                       \
        (rig)->inside = true;  \
        call;                  \
        (rig)->inside = false; \
    } while (0)

static uint64_t fold(uint64_t hash, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

static void on_accepted(void *ctx, uint64_t connection, const char *peer)
{
    struct end *end = ctx;

    assert_false(end->rig->inside);
    assert_int_equal(connection % 2, 1);
    assert_non_null(strchr(peer, ':'));
    end->accepted++;
    end->last = connection;
    if (end->greeting.len)
        net_send(end->net, connection, end->greeting);
}

static void on_connected(void *ctx, uint64_t connection)
{
    struct end *end = ctx;

    assert_false(end->rig->inside);
    assert_int_equal(connection % 2, 0);
    end->connected++;
    end->last = connection;
}

static void on_bytes(void *ctx, uint64_t connection, struct as_bytes bytes)
{
    struct end *end = ctx;

    assert_false(end->rig->inside);
    end->last = connection;
    end->bytes += bytes.len;
    end->hash = fold(end->hash, bytes.data, bytes.len);
    if (end->echo)
        INSIDE(end->rig, net_send(end->net, connection, bytes));
    if (end->close_on_bytes)
        INSIDE(end->rig, net_close(end->net, connection));
}

static void on_closed(void *ctx, uint64_t connection, as_err err)
{
    struct end *end = ctx;

    assert_false(end->rig->inside);
    end->closed++;
    end->last = connection;
    end->last_err = err;
    end->last_why = net_why(end->net)[0] != '\0';
    snprintf(end->why, sizeof(end->why), "%s", net_why(end->net));
    if (end->redial == connection) {
        end->redial = 0;
        INSIDE(end->rig, net_dial(end->net, connection, end->rig->address));
    }
}

static void on_turn_end(uv_prepare_t *handle)
{
    struct rig *rig = handle->data;

    INSIDE(rig, net_flush(rig->server.net));
    INSIDE(rig, net_flush(rig->client.net));
}

static void on_deadline(uv_timer_t *timer)
{
    struct rig *rig = timer->data;

    rig->late = true;
}

static as_err end_open(struct rig *rig, struct end *end)
{
    struct net_callbacks callbacks = {end, on_accepted, on_connected, on_bytes, on_closed};

    as_err err;

    end->rig = rig;
    err = net_new(&end->net, &rig->loop, &callbacks);
    if (!err && end->credentials)
        net_tls(end->net, end->credentials);
    return err;
}

/* Errors only where allocations are made to fail. */
static as_err rig_open(struct rig *rig)
{
    char error[256] = "";
    as_err err;

    memset(rig, 0, sizeof(*rig));
    rig->server.credentials = server_credentials;
    rig->client.credentials = client_credentials;
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    uv_prepare_init(&rig->loop, &rig->turn_end);
    rig->turn_end.data = rig;
    uv_timer_init(&rig->loop, &rig->deadline);
    rig->deadline.data = rig;
    uv_timer_start(&rig->deadline, on_deadline, DEADLINE_MS, 0);
    err = end_open(rig, &rig->server);
    if (!err)
        err = end_open(rig, &rig->client);
    if (!err)
        err = net_listen(rig->server.net, "127.0.0.1:0", &rig->port, error);
    if (!err) {
        uv_prepare_start(&rig->turn_end, on_turn_end);
        snprintf(rig->address, sizeof(rig->address), "127.0.0.1:%u", rig->port);
    }
    return err;
}

static void rig_close(struct rig *rig)
{
    net_free(rig->server.net);
    net_free(rig->client.net);
    uv_close((uv_handle_t *)&rig->turn_end, NULL);
    uv_close((uv_handle_t *)&rig->deadline, NULL);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
}

#define RUN_UNTIL(rig, condition)                                          \
    do {                                                                   \
        while (!(condition) && !(rig)->late)                               \
            uv_run(&(rig)->loop, UV_RUN_ONCE);                             \
        if (!(condition))                                                  \
            fail_msg("deadline passed while waiting for: %s", #condition); \
    } while (0)

static inline void dial(struct rig *rig, uint64_t number, const char *address)
{
    INSIDE(rig, net_dial(rig->client.net, number, address));
}

static inline void put(struct rig *rig, struct end *end, uint64_t number, const void *data,
                       size_t len)
{
    INSIDE(rig, net_send(end->net, number, (struct as_bytes){data, len}));
}

static inline uint8_t *noise(size_t len)
{
    uint8_t *data = test_malloc(len);

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((i * 2654435761u) >> 13);
    return data;
}

static inline int raw_connect(struct rig *rig)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    uv_ip4_addr("127.0.0.1", rig->port, &to);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

#endif
