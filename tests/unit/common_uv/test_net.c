/*
 * common/uv/net: two nets on one loop talk to each other, and raw sockets play the peers that
 * misbehave.
 */
#include "tests/support/support.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "assent/limits.h"
#include "assent/map.h"
#include "common/uv/net.h"

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
};

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

/*
 * In the C library's place, so that names mean the same on every machine: "localhost" is one
 * address, "three.test" has two before it where nobody listens, any other does not exist.
 */
static struct addrinfo *answer(const char *host, struct addrinfo *next)
{
    struct addrinfo *info = calloc(1, sizeof(*info));
    struct sockaddr_in *address = calloc(1, sizeof(struct sockaddr_storage));

    if (!info || !address ||
        (uv_ip4_addr(host, 0, address) != 0 &&
         uv_ip6_addr(host, 0, (struct sockaddr_in6 *)address) != 0))
        abort();
    info->ai_addr = (struct sockaddr *)address;
    info->ai_family = address->sin_family;
    info->ai_addrlen = sizeof(struct sockaddr_storage);
    info->ai_next = next;
    return info;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_found)
{
    (void)service;
    (void)hints;
    if (strcmp(host, "localhost") == 0)
        *ret_found = answer("127.0.0.1", NULL);
    else if (strcmp(host, "three.test") == 0)
        *ret_found = answer("::1", answer("127.0.0.2", answer("127.0.0.1", NULL)));
    else
        return EAI_NONAME;
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info) {
        struct addrinfo *next = info->ai_next;

        free(info->ai_addr);
        free(info);
        info = next;
    }
}

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

    end->rig = rig;
    return net_new(&end->net, &rig->loop, &callbacks);
}

/* Errors only where allocations are made to fail. */
static as_err rig_open(struct rig *rig)
{
    char error[256] = "";
    as_err err;

    memset(rig, 0, sizeof(*rig));
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

static void dial(struct rig *rig, uint64_t number, const char *address)
{
    INSIDE(rig, net_dial(rig->client.net, number, address));
}

static void put(struct rig *rig, struct end *end, uint64_t number, const void *data, size_t len)
{
    INSIDE(rig, net_send(end->net, number, (struct as_bytes){data, len}));
}

static uint8_t *noise(size_t len)
{
    uint8_t *data = test_malloc(len);

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((i * 2654435761u) >> 13);
    return data;
}

static void small_messages_go_and_come(void **state)
{
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.server.echo = true;
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    for (uint64_t i = 1; i <= 100; i++) {
        put(&rig, &rig.client, 2, "ping", 4);
        RUN_UNTIL(&rig, rig.client.bytes == 4 * i);
    }
    assert_int_equal(rig.server.accepted, 1);
    rig_close(&rig);
    assert_int_equal(rig.client.closed + rig.server.closed, 0); /* net_free reports nothing */
    test_leaks_end();
}

/* Far more than a socket holds: written in parts, gathered behind a write under way, in order both
 * ways. */
static void large_messages_survive_partial_writes(void **state)
{
    enum { PART = 3 << 20, PARTS = 4 };
    uint8_t *data = noise(PART);
    uint64_t hash = 0;
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.server.echo = true;
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    for (uint64_t i = 1; i <= PARTS; i++) {
        data[0] = (uint8_t)i;
        hash = fold(hash, data, PART);
        put(&rig, &rig.client, 2, data, PART);
        RUN_UNTIL(&rig, rig.server.bytes >= (i - 1) * PART + PART / 2);
    }
    RUN_UNTIL(&rig, rig.client.bytes == (uint64_t)PART * PARTS);
    assert_true(rig.server.hash == hash);
    assert_true(rig.client.hash == hash);
    rig_close(&rig);
    test_leaks_end();
    test_free(data);
}

static void many_connections(void **state)
{
    enum { COUNT = 300 };
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.server.echo = true;
    for (uint64_t i = 1; i <= COUNT; i++) {
        dial(&rig, 2 * i, rig.address);
        put(&rig, &rig.client, 2 * i, "before it is up", 15);
    }
    RUN_UNTIL(&rig, rig.client.connected == COUNT && rig.client.bytes == 15 * COUNT);
    for (uint64_t i = 1; i <= COUNT; i += 2)
        INSIDE(&rig, net_close(rig.client.net, 2 * i));
    RUN_UNTIL(&rig, rig.server.closed == COUNT / 2);
    assert_int_equal(rig.server.last_err, AS_OK);
    for (uint64_t i = 1; i <= COUNT; i++)
        put(&rig, &rig.client, 2 * i, "x", 1);
    RUN_UNTIL(&rig, rig.client.bytes == 15 * COUNT + COUNT / 2);
    assert_int_equal(rig.client.closed, 0);
    rig_close(&rig);
    test_leaks_end();
}

static void failed_dials_are_reported(void **state)
{
    static const struct {
        const char *address;
        as_err err;
    } table[] = {
        {"nonsense", AS_ERR_INVALID},
        {"127.0.0.1:0", AS_ERR_INVALID},
        {"127.0.0.1:1", AS_ERR_IO}, /* nobody listens on tcpmux */
        {"::1:7481", AS_ERR_INVALID},
    };
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    for (uint32_t i = 0; i < AS_COUNT_OF(table); i++) {
        dial(&rig, 8, table[i].address);
        assert_int_equal(rig.client.closed, i);
        RUN_UNTIL(&rig, rig.client.closed == i + 1);
        assert_int_equal(rig.client.last_err, table[i].err);
        assert_true(rig.client.last_why);
        assert_int_equal(rig.client.last, 8);
    }
    assert_int_equal(rig.client.connected, 0);
    rig_close(&rig);
    test_leaks_end();
}

static void names_are_resolved(void **state)
{
    struct rig rig;
    char address[64];

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    snprintf(address, sizeof(address), "localhost:%u", rig.port);
    dial(&rig, 2, address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    dial(&rig, 4, address); /* freed while it is being resolved */
    dial(&rig, 6, address);
    INSIDE(&rig, net_close(rig.client.net, 6));
    rig_close(&rig);
    assert_int_equal(rig.client.closed, 0);
    test_leaks_end();
}

/* On the first address nobody listens: the next is tried, and so on to the last. */
static void each_address_of_a_name_is_tried(void **state)
{
    struct rig rig;
    char address[64];

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    snprintf(address, sizeof(address), "three.test:%u", rig.port);
    dial(&rig, 2, address);
    put(&rig, &rig.client, 2, "hello", 5);
    RUN_UNTIL(&rig, rig.server.bytes == 5);
    assert_int_equal(rig.client.connected, 1);
    dial(&rig, 4, "three.test:1");
    RUN_UNTIL(&rig, rig.client.closed == 1);
    assert_int_equal(rig.client.last_err, AS_ERR_IO);
    dial(&rig, 6, "nowhere.test:1");
    RUN_UNTIL(&rig, rig.client.closed == 2);
    assert_int_equal(rig.client.last_err, AS_ERR_NOTFOUND);
    assert_true(rig.client.last_why);
    dial(&rig, 8, address); /* ended between two addresses, at whatever point that is */
    for (int turns = 0; turns < 3; turns++)
        uv_run(&rig.loop, UV_RUN_ONCE);
    rig_close(&rig);
    test_leaks_end();
}

static void close_lets_what_was_sent_leave(void **state)
{
    enum { LEN = 4 << 20 };
    uint8_t *data = noise(LEN);
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    put(&rig, &rig.client, 2, data, LEN);
    INSIDE(&rig, net_close(rig.client.net, 2));
    put(&rig, &rig.client, 2, "after", 5);
    RUN_UNTIL(&rig, rig.server.closed == 1);
    assert_int_equal(rig.server.bytes, LEN);
    assert_true(rig.server.hash == fold(0, data, LEN));
    assert_int_equal(rig.server.last_err, AS_OK);
    assert_int_equal(rig.client.closed, 0);
    rig_close(&rig);
    test_leaks_end();
    test_free(data);
}

/* As with REFUSE: the node answers and closes while the other side still talks. */
static void last_words_reach_a_talking_peer(void **state)
{
    enum { LEN = 1 << 20 };
    uint8_t *data = noise(LEN);

    (void)state;
    test_leaks_begin();
    for (int round = 0; round < 20; round++) {
        struct rig rig;

        assert_int_equal(rig_open(&rig), AS_OK);
        rig.server.greeting = (struct as_bytes){(const uint8_t *)"refused", 7};
        rig.server.close_on_bytes = true;
        dial(&rig, 2, rig.address);
        put(&rig, &rig.client, 2, data, LEN);
        RUN_UNTIL(&rig, rig.client.closed == 1);
        assert_int_equal(rig.client.bytes, 7);
        assert_int_equal(rig.client.last_err, AS_OK); /* an end, not a reset */
        assert_in_range(rig.server.bytes, 1, 65536);
        assert_int_equal(rig.server.closed, 0);
        rig_close(&rig);
    }
    test_leaks_end();
    test_free(data);
}

static void a_number_is_free_when_closed_is_reported(void **state)
{
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.client.redial = 2;
    dial(&rig, 2, "127.0.0.1:1");
    RUN_UNTIL(&rig, rig.client.connected == 1);
    assert_int_equal(rig.client.closed, 1);
    INSIDE(&rig, net_close(rig.client.net, 2));
    dial(&rig, 2, rig.address); /* at once after net_close, too */
    RUN_UNTIL(&rig, rig.client.connected == 2 && rig.server.closed == 1);
    rig_close(&rig);
    test_leaks_end();
}

static void closing_inside_a_callback_ends_the_events(void **state)
{
    uint8_t *data = noise(1 << 20);
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.server.close_on_bytes = true;
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    put(&rig, &rig.client, 2, data, 1 << 20);
    RUN_UNTIL(&rig, rig.client.closed == 1);
    assert_in_range(rig.server.bytes, 1, 65536);
    assert_int_equal(rig.server.closed, 0);
    rig_close(&rig);
    test_leaks_end();
    test_free(data);
}

/* --- Peers that are raw sockets --- */

static int raw_connect(struct rig *rig)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    uv_ip4_addr("127.0.0.1", rig->port, &to);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void a_peer_that_does_not_read_is_closed_at_the_limit(void **state)
{
    enum { PART = 1 << 20 };
    uint8_t *data = noise(PART);
    struct rig rig;
    uint64_t sent = 0;
    int fd;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    fd = raw_connect(&rig);
    RUN_UNTIL(&rig, rig.server.accepted == 1);
    while (!rig.server.closed && sent < 4ull * AS_SEND_QUEUE_BYTES_MAX) {
        put(&rig, &rig.server, rig.server.last, data, PART);
        sent += PART;
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rig.server.closed, 1);
    assert_int_equal(rig.server.last_err, AS_ERR_FULL);
    assert_true(sent > AS_SEND_QUEUE_BYTES_MAX);
    close(fd);
    rig_close(&rig);
    test_leaks_end();
    test_free(data);
}

static void a_reset_is_reported(void **state)
{
    struct linger hard = {1, 0};
    struct rig rig;
    int fd;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    fd = raw_connect(&rig);
    RUN_UNTIL(&rig, rig.server.accepted == 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
    RUN_UNTIL(&rig, rig.server.closed == 1);
    assert_int_equal(rig.server.last_err, AS_ERR_IO);
    rig_close(&rig);
    test_leaks_end();
}

/* A silent peer that never closes its end does not hold a left connection for ever. */
static void leaving_ends_without_the_peer(void **state)
{
    struct rig rig;
    char byte;
    int fd;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    fd = raw_connect(&rig);
    RUN_UNTIL(&rig, rig.server.accepted == 1);
    INSIDE(&rig, net_close(rig.server.net, rig.server.last));
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(read(fd, &byte, 1), 0); /* our end is shut */
    /* Its linger timer is what keeps the loop's handles: the peer's write is answered by a reset
     * after. */
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1 && !rig.late)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_false(rig.late);
    close(fd);
    rig_close(&rig);
    test_leaks_end();
}

static void listening_twice_is_refused_with_a_reason(void **state)
{
    struct rig rig;
    char error[256];
    uint16_t port;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    assert_int_equal(net_listen(rig.client.net, rig.address, &port, error), AS_ERR_IO);
    assert_non_null(strstr(error, rig.address));
    assert_non_null(strstr(error, "in use"));
    assert_int_equal(net_listen(rig.client.net, "127.0.0.1", &port, error), AS_ERR_INVALID);
    net_listen_stop(rig.server.net);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.closed == 1);
    rig_close(&rig);
    test_leaks_end();
}

static void body_out_of_memory(void *ctx)
{
    struct rig rig;
    as_err err = rig_open(&rig);

    (void)ctx;
    if (err) {
        assert_int_equal(err, AS_ERR_NOMEM);
        assert_true(test_allocation_failed());
    } else {
        rig.server.echo = true;
        dial(&rig, 2, rig.address);
        put(&rig, &rig.client, 2, "hello", 5);
        /* Either it works, or the failure is reported on the dialling side. */
        RUN_UNTIL(&rig, rig.client.bytes == 5 || rig.client.closed == 1);
        assert_true(rig.client.bytes == 5 || test_allocation_failed());
    }
    rig_close(&rig);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    test_fail_each_allocation(body_out_of_memory, NULL);
}

static void addresses(void **state)
{
    static const struct {
        const char *address;
        const char *host; /* NULL: refused */
        uint16_t port;
        bool loopback;
    } table[] = {
        {"127.0.0.1:7480", "127.0.0.1", 7480, true},
        {"127.9.9.9:0", "127.9.9.9", 0, true},
        {"localhost:65535", "localhost", 65535, true},
        {"[::1]:1", "::1", 1, true},
        {"[::]:1", "::", 1, false},
        {"0.0.0.0:1", "0.0.0.0", 1, false},
        {"10.0.0.127:80", "10.0.0.127", 80, false},
        {"localhost.example.org:80", "localhost.example.org", 80, false},
        {"db-1.example.org:7481", "db-1.example.org", 7481, false},
        {"", NULL, 0, false},
        {":80", NULL, 0, false},
        {"host", NULL, 0, false},
        {"host:", NULL, 0, false},
        {"host:65536", NULL, 0, false},
        {"host:000080", NULL, 0, false},
        {"host:+80", NULL, 0, false},
        {"host:80 ", NULL, 0, false},
        {"ho st:80", NULL, 0, false},
        {"::1:80", NULL, 0, false},
        {"[::1:80", NULL, 0, false},
        {"[]:80", NULL, 0, false},
        {"[:80", NULL, 0, false},
        {"]:80", NULL, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(table); i++) {
        char host[256];
        uint16_t port = 0;
        as_err err = net_address_split(table[i].address, host, &port);

        if (err != (table[i].host ? AS_OK : AS_ERR_INVALID))
            fail_msg("%s gives %d", table[i].address, err);
        if (table[i].host) {
            assert_string_equal(host, table[i].host);
            assert_int_equal(port, table[i].port);
        }
        if (net_address_loopback(table[i].address) != table[i].loopback)
            fail_msg("%s: loopback is not %d", table[i].address, table[i].loopback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(small_messages_go_and_come),
        cmocka_unit_test(large_messages_survive_partial_writes),
        cmocka_unit_test(many_connections),
        cmocka_unit_test(failed_dials_are_reported),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(each_address_of_a_name_is_tried),
        cmocka_unit_test(close_lets_what_was_sent_leave),
        cmocka_unit_test(last_words_reach_a_talking_peer),
        cmocka_unit_test(a_number_is_free_when_closed_is_reported),
        cmocka_unit_test(closing_inside_a_callback_ends_the_events),
        cmocka_unit_test(a_peer_that_does_not_read_is_closed_at_the_limit),
        cmocka_unit_test(a_reset_is_reported),
        cmocka_unit_test(leaving_ends_without_the_peer),
        cmocka_unit_test(listening_twice_is_refused_with_a_reason),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
