/*
 * common/uv/net with TLS: who gets in, who does not, and what each side is told. What holds with and without TLS is
 * in test_net.c.
 */
#include "net_rig.h"

#include <fcntl.h>

#include "tests/support/tls_files.h"

static char dir[64];
static int log_fd; /* what this process says */

static struct tls_credentials *load(const char *name)
{
    return test_tls_load(dir, strcmp(name, "foreign") == 0 ? "two" : "ca", name);
}

/* NULL: a net without TLS. */
static void open_with(struct rig *rig, const char *server, const char *client)
{
    server_credentials = server ? load(server) : NULL;
    client_credentials = client ? load(client) : NULL;
    assert_int_equal(rig_open(rig), AS_OK);
    tls_credentials_release(server_credentials);
    tls_credentials_release(client_credentials);
    assert_int_equal(ftruncate(log_fd, 0), 0);
}

static bool said(const char *part)
{
    static char text[1 << 16];
    ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return strstr(text, part) != NULL;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void each_side_knows_the_other(void **state)
{
    struct rig rig;

    (void)state;
    test_leaks_begin();
    open_with(&rig, "node", "agent");
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1 && rig.server.accepted == 1);
    assert_string_equal(net_principal(rig.client.net, 2)->text, "assent://test/node/1");
    assert_string_equal(net_principal(rig.server.net, rig.server.last)->text,
                        "assent://test/agent/bank_a");
    rig_close(&rig);
    test_leaks_end();
    open_with(&rig, NULL, NULL);
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    assert_null(net_principal(rig.client.net, 2));
    rig_close(&rig);
}

static void a_foreign_certificate_is_refused_and_told(void **state)
{
    struct rig rig;

    (void)state;
    test_leaks_begin();
    open_with(&rig, "node", "foreign");
    dial(&rig, 2, rig.address);
    put(&rig, &rig.client, 2, "secret", 6);
    RUN_UNTIL(&rig, rig.client.closed == 1);
    assert_int_equal(rig.client.connected, 0);
    assert_int_equal(rig.client.last_err, AS_ERR_REFUSED);
    has(rig.client.why, "not signed by an authority");
    RUN_UNTIL(&rig, said("does not know the authority that signed our certificate"));
    assert_int_equal(rig.server.accepted + rig.server.closed + (uint32_t)rig.server.bytes, 0);
    assert_true(said("event=tls_refused peer=127.0.0.1:"));
    rig_close(&rig);
    test_leaks_end();
}

static void plain_bytes_to_tls_are_told_on_both_sides(void **state)
{
    struct rig rig;

    (void)state;
    open_with(&rig, "node", NULL);
    dial(&rig, 2, rig.address);
    put(&rig, &rig.client, 2, "\x20\0\0\0\1\1\0\0", 8);
    RUN_UNTIL(&rig, rig.client.closed == 1);
    assert_true(said("the peer speaks without TLS: give it a [tls] section"));
    has(rig.client.why, "the peer speaks TLS, and there is no [tls] section here");
    assert_int_equal(rig.server.accepted, 0);
    rig_close(&rig);
}

static void tls_to_a_plain_port_is_told_on_both_sides(void **state)
{
    struct rig rig;

    (void)state;
    open_with(&rig, NULL, "agent");
    rig.server.greeting = (struct as_bytes){(const uint8_t *)"\x20\0\0\0\1\1\0\0", 8};
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.closed == 1 && rig.server.closed == 1);
    assert_int_equal(rig.client.connected, 0);
    assert_int_equal(rig.server.bytes, 0);
    has(rig.server.why, "the peer speaks TLS, and there is no [tls] section here");
    has(rig.client.why, "the peer speaks without TLS");
    rig_close(&rig);
}

/* Bytes of TLS, one by one with a turn between, from a socket that then leaves. */
static void a_peer_that_leaves_halfway_is_told(void **state)
{
    struct rig rig;
    int fd;

    (void)state;
    open_with(&rig, "node", "agent");
    fd = raw_connect(&rig);
    assert_int_equal(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    while (rig.server.net && !said("hung up") && !rig.late) {
        shutdown(fd, SHUT_WR);
        uv_run(&rig.loop, UV_RUN_ONCE);
    }
    assert_true(said("the peer hung up during the TLS handshake"));
    assert_int_equal(rig.server.accepted + rig.server.closed, 0);
    close(fd);
    rig_close(&rig);
}

/* They are ended after five seconds; and more than 256 of them do not keep a good one out. */
static void silent_peers_keep_nobody_out(void **state)
{
    enum { SILENT = 300 };
    struct rig rig;
    int fds[SILENT];
    char byte;

    (void)state;
    open_with(&rig, "node", "agent");
    for (int i = 0; i < SILENT; i++)
        fds[i] = raw_connect(&rig);
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    assert_true(said("too many TLS handshakes are under way"));
    put(&rig, &rig.client, 2, "hello", 5);
    RUN_UNTIL(&rig, rig.server.bytes == 5);
    RUN_UNTIL(&rig, recv(fds[SILENT - 1], &byte, 1, MSG_DONTWAIT) == 0);
    assert_true(said("the TLS handshake is not done after 5 s") || said("not told for up to 10 s"));
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
    rig_close(&rig);
}

/* What is connected goes on; the next handshakes use the new files. */
static void new_credentials_are_for_new_handshakes(void **state)
{
    struct tls_credentials *foreign, *other = load("node2");
    struct rig rig;

    (void)state;
    test_leaks_begin();
    foreign = load("foreign");
    open_with(&rig, "node", "agent");
    rig.server.echo = true;
    dial(&rig, 2, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 1);
    net_tls(rig.server.net, other);
    put(&rig, &rig.client, 2, "hello", 5);
    RUN_UNTIL(&rig, rig.client.bytes == 5);
    dial(&rig, 4, rig.address);
    RUN_UNTIL(&rig, rig.client.connected == 2);
    assert_int_equal(net_principal(rig.client.net, 2)->node_id, 1);
    assert_int_equal(net_principal(rig.client.net, 4)->node_id, 2);
    net_tls(rig.client.net, foreign);
    dial(&rig, 6, rig.address);
    RUN_UNTIL(&rig, rig.client.closed == 1);
    assert_int_equal(rig.client.last, 6);
    put(&rig, &rig.client, 2, "again", 5);
    RUN_UNTIL(&rig, rig.client.bytes == 10);
    tls_credentials_release(foreign);
    rig_close(&rig);
    test_leaks_end();
    tls_credentials_release(other);
}

static int setup(void **state)
{
    struct certificate_pem ours, two;
    char path[128];

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    test_tls_make(dir, "ca", NULL, 0, 2, NULL, &ours);
    test_tls_make(dir, "two", NULL, 0, 2, NULL, &two);
    test_tls_leaf(dir, "node", "assent://test/node/1", 0, 1, &ours);
    test_tls_leaf(dir, "node2", "assent://test/node/2", 0, 1, &ours);
    test_tls_leaf(dir, "agent", "assent://test/agent/bank_a", 0, 1, &ours);
    test_tls_leaf(dir, "foreign", "assent://test/agent/bank_a", 0, 1, &two);
    certificate_close(&ours);
    certificate_close(&two);
    snprintf(path, sizeof(path), "%s/log", dir);
    log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log_fd >= 0);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    close(log_fd);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

/* The process's log goes to the file while a test runs. */
static int stderr_fd;

static int log_begin(void **state)
{
    (void)state;
    stderr_fd = dup(STDERR_FILENO);
    return dup2(log_fd, STDERR_FILENO) < 0;
}

static int log_end(void **state)
{
    (void)state;
    (void)dup2(stderr_fd, STDERR_FILENO);
    return close(stderr_fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_begin, log_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_side_knows_the_other),
        TEST(a_foreign_certificate_is_refused_and_told),
        TEST(plain_bytes_to_tls_are_told_on_both_sides),
        TEST(tls_to_a_plain_port_is_told_on_both_sides),
        TEST(a_peer_that_leaves_halfway_is_told),
        TEST(silent_peers_keep_nobody_out),
        TEST(new_credentials_are_for_new_handshakes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
