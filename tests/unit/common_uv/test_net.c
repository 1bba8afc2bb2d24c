/*
 * common/uv/net: two nets on one loop talk to each other, and raw sockets play the peers that
 * misbehave. All that does not need a raw socket once more with TLS.
 */
#include "net_rig.h"

#include <netdb.h>

#include "tests/support/tls_files.h"

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
    enum { COUNT = 250 };
    /* With TLS in groups: a handshake must be done within its 5 s, on a busy machine, too. */
    const uint64_t group = server_credentials ? 50 : COUNT;
    struct rig rig;

    (void)state;
    test_leaks_begin();
    assert_int_equal(rig_open(&rig), AS_OK);
    rig.server.echo = true;
    for (uint64_t i = 1; i <= COUNT; i++) {
        dial(&rig, 2 * i, rig.address);
        put(&rig, &rig.client, 2 * i, "before it is up", 15);
        if (i % group == 0)
            RUN_UNTIL(&rig, rig.client.connected == i && rig.client.bytes == 15 * i);
    }
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

static char dir[64];

static int setup_tls(void **state)
{
    struct certificate_pem authority;

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    test_tls_make(dir, "ca", NULL, 0, 2, NULL, &authority);
    test_tls_leaf(dir, "node", "assent://test/node/1", 0, 1, &authority);
    certificate_close(&authority);
    server_credentials = client_credentials = test_tls_load(dir, "ca", "node");
    return 0;
}

static int teardown_tls(void **state)
{
    char command[128];

    (void)state;
    tls_credentials_release(server_credentials);
    server_credentials = client_credentials = NULL;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
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
    const struct CMUnitTest tests_with_tls[] = {
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
        cmocka_unit_test(listening_twice_is_refused_with_a_reason),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) +
           cmocka_run_group_tests(tests_with_tls, setup_tls, teardown_tls);
}
