/*
 * common/uv/tls: two sessions talk over buffers; peers that misbehave; the files.
 */
#include "tests/support/tls_files.h"

#include <unistd.h>

#include <gnutls/gnutls.h>

#include "assent/limits.h"

static char dir[64];
static struct certificate_pem ours;

/* --- Two sessions and the wire between them --- */

struct pair {
    struct tls *server, *client;
    struct as_buf at_server, at_client; /* plain bytes that arrived */
    as_err server_err, client_err;
    size_t step; /* bytes delivered at a time; 0: all */
    uint64_t to_server, to_client;
    uint64_t flip_at; /* this byte to the server is damaged; 0: none */
    bool flipped;
};

static void pair_open(struct pair *pair, const char *server_ca, const char *server,
                      const char *client_ca, const char *client)
{
    struct tls_credentials *credentials[2] = {test_tls_load(dir, server_ca, server),
                                              test_tls_load(dir, client_ca, client)};

    memset(pair, 0, sizeof(*pair));
    assert_int_equal(tls_new(&pair->server, credentials[0], TLS_SERVER, NULL), AS_OK);
    assert_int_equal(tls_new(&pair->client, credentials[1], TLS_CLIENT, NULL), AS_OK);
    tls_credentials_release(credentials[0]); /* the sessions hold what they need */
    tls_credentials_release(credentials[1]);
    as_buf_init(&pair->at_server, 64u << 20);
    as_buf_init(&pair->at_client, 64u << 20);
    assert_int_equal(tls_begin(pair->client), AS_OK);
}

static void pair_close(struct pair *pair)
{
    tls_free(pair->server);
    tls_free(pair->client);
    as_buf_close(&pair->at_server);
    as_buf_close(&pair->at_client);
}

/* Moves what `from` wants to say to `to`. False: nothing, or `to` has failed. */
static bool carry(struct pair *pair, struct tls *from, struct tls *to, struct as_buf *plain,
                  as_err *err)
{
    struct as_buf *out = tls_out(from);
    uint64_t *count = to == pair->server ? &pair->to_server : &pair->to_client;
    size_t len = out->len;

    if (len == 0 || *err)
        return false;
    if (pair->step && len > pair->step)
        len = pair->step;
    if (to == pair->server && pair->flip_at > *count && pair->flip_at <= *count + len) {
        out->data[pair->flip_at - *count - 1] ^= 0x40;
        pair->flipped = true;
    }
    *err = tls_receive(to, (struct as_bytes){out->data, len}, plain);
    *count += len;
    as_buf_consume(out, len);
    return true;
}

static void pump(struct pair *pair)
{
    bool moved;

    do {
        moved = carry(pair, pair->client, pair->server, &pair->at_server, &pair->server_err);
        moved |= carry(pair, pair->server, pair->client, &pair->at_client, &pair->client_err);
    } while (moved);
}

static void say_text(struct tls *tls, const char *text)
{
    assert_int_equal(tls_send(tls, (struct as_bytes){(const uint8_t *)text, strlen(text)}), AS_OK);
}

static void expect_text(struct as_buf *buf, const char *text)
{
    assert_int_equal(buf->len, strlen(text));
    assert_memory_equal(buf->data, text, buf->len);
    as_buf_clear(buf);
}

static void talk(size_t step)
{
    struct pair pair;

    pair_open(&pair, "ca", "node", "ca", "agent");
    pair.step = step;
    pump(&pair);
    assert_true(tls_open(pair.server));
    assert_true(tls_open(pair.client));
    assert_string_equal(tls_principal(pair.server)->text, "assent://test/agent/bank_a,bank_b");
    assert_int_equal(tls_principal(pair.client)->kind, AS_PRINCIPAL_NODE);
    assert_int_equal(tls_principal(pair.client)->node_id, 1);
    for (int i = 0; i < 3; i++) {
        say_text(pair.client, "question");
        say_text(pair.client, " two");
        pump(&pair);
        expect_text(&pair.at_server, "question two");
        say_text(pair.server, "answer");
        pump(&pair);
        expect_text(&pair.at_client, "answer");
    }
    tls_bye(pair.client);
    tls_bye(pair.client);
    assert_int_equal(tls_send(pair.client, (struct as_bytes){(const uint8_t *)"x", 1}),
                     AS_ERR_CLOSED);
    pump(&pair);
    assert_int_equal(pair.server_err, AS_ERR_CLOSED);
    assert_int_equal(tls_stream_end(pair.server), AS_ERR_CLOSED);
    assert_string_equal(tls_why(pair.server), "");
    pair_close(&pair);
}

static void two_sessions_talk(void **state)
{
    (void)state;
    test_leaks_begin();
    talk(0);
    test_leaks_end();
}

static void bytes_may_come_one_by_one(void **state)
{
    (void)state;
    talk(1);
    talk(7);
}

/* The client's last words of the handshake and what it says first come in one piece. */
static void plain_bytes_behind_the_handshake(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, "ca", "node", "ca", "agent");
    while (!tls_open(pair.client)) {
        (void)carry(&pair, pair.client, pair.server, &pair.at_server, &pair.server_err);
        assert_true(carry(&pair, pair.server, pair.client, &pair.at_client, &pair.client_err));
    }
    assert_false(tls_open(pair.server));
    say_text(pair.client, "hello");
    pump(&pair);
    expect_text(&pair.at_server, "hello");
    pair_close(&pair);
}

static void much_goes_through(void **state)
{
    enum { LEN = 9 << 20 };
    uint8_t *data = test_malloc(LEN);
    struct pair pair;

    (void)state;
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    pair_open(&pair, "ca", "node", "ca", "agent");
    pump(&pair);
    assert_int_equal(tls_send(pair.client, (struct as_bytes){data, LEN}), AS_OK);
    pair.step = 65536;
    pump(&pair);
    assert_int_equal(pair.at_server.len, LEN);
    assert_memory_equal(pair.at_server.data, data, LEN);
    pair_close(&pair);
    test_free(data);
}

/* --- What ends a session --- */

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* Neither side gets to talk, and both say why. */
static void refused(const char *server_ca, const char *server, const char *client_ca,
                    const char *client, const char *server_says, const char *client_says)
{
    struct pair pair;

    pair_open(&pair, server_ca, server, client_ca, client);
    pump(&pair);
    assert_false(tls_open(pair.server));
    assert_false(tls_open(pair.client));
    assert_int_equal(pair.at_server.len, 0);
    if (pair.server_err != AS_ERR_REFUSED || pair.client_err != AS_ERR_REFUSED)
        fail_msg("%s, %s: %d %d", server, client, pair.server_err, pair.client_err);
    has(tls_why(pair.server), server_says);
    has(tls_why(pair.client), client_says);
    /* And nothing more is taken. */
    assert_int_equal(tls_receive(pair.server, (struct as_bytes){(const uint8_t *)"\x16\x03\x03", 3},
                                 &pair.at_server),
                     AS_ERR_CLOSED);
    pair_close(&pair);
}

static void a_wrong_certificate_is_refused_on_both_sides(void **state)
{
    (void)state;
    refused("ca", "node", "both", "foreign", "not signed by an authority",
            "does not know the authority");
    refused("two", "foreign", "ca", "agent", "does not know the authority",
            "not signed by an authority");
    refused("ca", "node", "ca", "nameless", "exactly one name assent://",
            "refuses our certificate");
    refused("ca", "nameless", "ca", "agent", "refuses our certificate",
            "exactly one name assent://");
}

static time_t days_away; /* GnuTLS's clock */

static time_t other_time(time_t *ret)
{
    time_t now = time(NULL) + days_away * TEST_DAY;

    if (ret)
        *ret = now;
    return now;
}

/* Files that are not valid now are not loaded; they can become so afterwards. */
static void not_valid_now(const char *name, int loaded_days_away, const char *says)
{
    struct tls_credentials *credentials = NULL;
    struct pair pair;
    char why[TLS_WHY_BYTES];

    assert_int_equal(test_tls_read(&credentials, dir, "ca", name, name, why), AS_ERR_INVALID);
    has(why, name);
    has(why, says);
    gnutls_global_set_time_function(other_time);
    days_away = loaded_days_away;
    credentials = test_tls_load(dir, "ca", name);
    days_away = 0;
    pair_open(&pair, "ca", "node", "ca", "agent");
    tls_free(pair.client);
    assert_int_equal(tls_new(&pair.client, credentials, TLS_CLIENT, NULL), AS_OK);
    tls_credentials_release(credentials);
    assert_int_equal(tls_begin(pair.client), AS_OK);
    pump(&pair);
    gnutls_global_set_time_function(time);
    assert_false(tls_open(pair.server));
    has(tls_why(pair.server), says);
    has(tls_why(pair.client), "our certificate is not valid now");
    pair_close(&pair);
}

static void a_certificate_has_its_time(void **state)
{
    (void)state;
    not_valid_now("expired", -1, "has expired at 20");
    not_valid_now("early", 1, "is not valid before 20");
}

static void two_names_are_none(void **state)
{
    struct tls_credentials *credentials = NULL;
    char why[TLS_WHY_BYTES];

    (void)state;
    assert_int_equal(test_tls_read(&credentials, dir, "ca", "wrong", "wrong", why), AS_ERR_INVALID);
    has(why, "malformed");
    assert_null(credentials);
}

static void a_peer_without_tls_is_told_from_a_broken_one(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } table[] = {{"GET / HTTP/1.1\r\n\r\n", 18, "plain HTTP"},
                 {"\x40\0\0\0\x01\x01\0\0", 8, "without TLS"},
                 {"\x16\0\0\0\x03\x01\0\0", 8, "without TLS"},
                 {"x", 1, "without TLS"}};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(table); i++) {
        for (int side = 0; side < 2; side++) {
            struct pair pair;
            struct tls *tls;

            pair_open(&pair, "ca", "node", "ca", "agent");
            tls = side ? pair.client : pair.server;
            assert_int_equal(
                tls_receive(tls, (struct as_bytes){(const uint8_t *)table[i].bytes, table[i].len},
                            &pair.at_server),
                AS_ERR_MALFORMED);
            has(tls_why(tls), table[i].says);
            assert_false(tls_open(tls));
            pair_close(&pair);
        }
    }
}

static void every_damaged_byte_ends_the_session(void **state)
{
    struct pair pair;
    uint64_t total;

    (void)state;
    pair_open(&pair, "ca", "node", "ca", "agent");
    pump(&pair);
    say_text(pair.client, "the word");
    pump(&pair);
    total = pair.to_server;
    pair_close(&pair);
    for (uint64_t at = total; at > 0; at -= at > 97 ? 97 : at) {
        pair_open(&pair, "ca", "node", "ca", "agent");
        pair.flip_at = at;
        pump(&pair);
        if (!pair.server_err && !pair.client_err && tls_open(pair.client)) {
            say_text(pair.client, "the word");
            pump(&pair);
        }
        /* A byte of a length may leave the server waiting for more; then it has heard nothing. */
        if (pair.at_server.len && pair.flipped) /* signatures differ in length by a byte or two */
            fail_msg("damaged at %d of %d, and not noticed", (int)at, (int)total);
        pair_close(&pair);
    }
}

static void a_stream_that_is_cut_off_is_no_end(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, "ca", "node", "ca", "agent");
    assert_int_equal(tls_stream_end(pair.server), AS_ERR_IO);
    has(tls_why(pair.server), "during the TLS handshake");
    pair_close(&pair);
    pair_open(&pair, "ca", "node", "ca", "agent");
    pump(&pair);
    say_text(pair.client, "half a");
    tls_out(pair.client)->len -= 1;
    pump(&pair);
    assert_int_equal(pair.at_server.len, 0);
    assert_int_equal(tls_stream_end(pair.server), AS_ERR_IO);
    has(tls_why(pair.server), "cut off");
    pair_close(&pair);
}

static void a_record_replayed_ends_the_session(void **state)
{
    struct pair pair;
    uint8_t record[256];
    size_t len;

    (void)state;
    pair_open(&pair, "ca", "node", "ca", "agent");
    pump(&pair);
    say_text(pair.client, "pay 100");
    len = tls_out(pair.client)->len;
    assert_in_range(len, 1, sizeof(record));
    memcpy(record, tls_out(pair.client)->data, len);
    pump(&pair);
    expect_text(&pair.at_server, "pay 100");
    assert_int_equal(tls_receive(pair.server, (struct as_bytes){record, len}, &pair.at_server),
                     AS_ERR_MALFORMED);
    assert_int_equal(pair.at_server.len, 0);
    pair_close(&pair);
}

/* --- A client that knows the server by its host --- */

static as_err to_host(const char *host, struct pair *pair)
{
    struct tls_credentials *server = test_tls_load(dir, "ca", "node"), *client = NULL;
    char why[TLS_WHY_BYTES];

    memset(pair, 0, sizeof(*pair));
    assert_int_equal(test_tls_read(&client, dir, "ca", "agent", "agent", why), AS_OK);
    assert_int_equal(tls_new(&pair->server, server, TLS_SERVER, NULL), AS_OK);
    assert_int_equal(tls_new(&pair->client, client, TLS_CLIENT, host), AS_OK);
    as_buf_init(&pair->at_server, 64u << 10);
    as_buf_init(&pair->at_client, 64u << 10);
    tls_credentials_release(server);
    tls_credentials_release(client);
    assert_int_equal(tls_begin(pair->client), AS_OK);
    pump(pair);
    return pair->client_err;
}

static void a_host_must_be_the_one(void **state)
{
    struct pair pair;

    (void)state;
    assert_int_equal(to_host("127.0.0.1", &pair), AS_OK);
    assert_true(tls_open(pair.client));
    assert_null(tls_principal(pair.client));
    pair_close(&pair);
    assert_int_equal(to_host("localhost", &pair), AS_OK);
    pair_close(&pair);
    assert_int_equal(to_host("127.0.0.2", &pair), AS_ERR_REFUSED);
    has(tls_why(pair.client), "another host");
    pair_close(&pair);
}

/* --- Files --- */

static void files_are_checked(void **state)
{
    static const struct {
        const char *ca, *certificate, *key;
        as_err err;
        const char *says;
    } table[] = {
        {"ca", "node", "agent", AS_ERR_INVALID, "agent-key.pem: this is not the certificate's key"},
        {"two", "node", "node", AS_ERR_INVALID, "node.pem: it is not signed by an authority"},
        {"nowhere", "node", "node", AS_ERR_NOTFOUND, "nowhere.pem: No such file"},
        {"ca", "nowhere", "node", AS_ERR_NOTFOUND, "nowhere.pem: No such file"},
        {"ca", "node", "nowhere", AS_ERR_NOTFOUND, "nowhere-key.pem: No such file"},
        {"ca", "node", NULL, AS_ERR_INVALID, "its key is not named"},
        {"empty", "node", "node", AS_ERR_INVALID, "empty.pem: there is no certificate"},
        {"ca", "node", "open", AS_ERR_INVALID, "open-key.pem: everybody on this machine"},
        {"ca", "ca-key", "node", AS_ERR_INVALID, ".pem: "},
        {"ca", "empty", "node", AS_ERR_INVALID, "empty.pem: "},
    };
    struct tls_credentials *credentials = NULL;
    char why[TLS_WHY_BYTES];

    (void)state;
    test_leaks_begin();
    for (size_t i = 0; i < AS_COUNT_OF(table); i++) {
        as_err err =
            test_tls_read(&credentials, dir, table[i].ca, table[i].certificate, table[i].key, why);

        if (err != table[i].err || !strstr(why, table[i].says))
            fail_msg("%d: %d: \"%s\"", (int)i, err, why);
        assert_null(credentials);
    }
    credentials = test_tls_load(dir, "both", "foreign"); /* as while an authority is replaced */
    assert_string_equal(tls_credentials_principal(credentials)->text, "assent://test/agent/bank_a");
    assert_true(tls_credentials_expire(credentials) > (int64_t)time(NULL));
    tls_credentials_release(credentials);
    test_leaks_end();
}

static void body_out_of_memory(void *ctx)
{
    struct tls_credentials *credentials = NULL;
    struct tls *tls = NULL;
    char why[TLS_WHY_BYTES];
    as_err err = test_tls_read(&credentials, dir, "ca", "node", "node", why);

    (void)ctx;
    if (!err) {
        err = tls_new(&tls, credentials, TLS_CLIENT, NULL);
        if (!err)
            err = tls_begin(tls);
        tls_free(tls);
        tls_credentials_release(credentials);
    }
    if (err && !test_allocation_failed())
        fail_msg("%d: %s", err, why);
    if (err)
        assert_int_equal(err, AS_ERR_NOMEM);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    test_fail_each_allocation(body_out_of_memory, NULL);
}

static void ours_and_frames_are_told_apart(void **state)
{
    (void)state;
    assert_true(tls_looks_like((struct as_bytes){(const uint8_t *)"\x16\x03\x01\x02\x00", 5}));
    assert_false(tls_looks_like((struct as_bytes){(const uint8_t *)"\x16\x03\x00\x00\x01", 5}));
    assert_false(tls_looks_like((struct as_bytes){(const uint8_t *)"\x16\x03", 2}));
    assert_false(tls_looks_like((struct as_bytes){(const uint8_t *)"GET", 3}));
}

static void copy_both(void)
{
    char command[1024];

    snprintf(command, sizeof(command),
             "cat %s/ca.pem %s/two.pem > %s/both.pem && : > %s/empty.pem && "
             "cp %s/node-key.pem %s/open-key.pem && chmod 644 %s/open-key.pem",
             dir, dir, dir, dir, dir, dir, dir);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct certificate_pem two;

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    test_tls_make(dir, "ca", NULL, -9, 10, NULL, &ours);
    test_tls_make(dir, "two", NULL, 0, 10, NULL, &two);
    test_tls_leaf(dir, "node", "assent://test/node/1", 0, 1, &ours);
    test_tls_leaf(dir, "agent", "assent://test/agent/bank_a,bank_b", 0, 1, &ours);
    test_tls_leaf(dir, "foreign", "assent://test/agent/bank_a", 0, 1, &two);
    test_tls_leaf(dir, "nameless", NULL, 0, 1, &ours);
    test_tls_leaf(dir, "wrong", "assent://test/nodes/1", 0, 1, &ours);
    test_tls_leaf(dir, "expired", "assent://test/agent/bank_a", -2, 0, &ours);
    test_tls_leaf(dir, "early", "assent://test/agent/bank_a", 1, 2, &ours);
    copy_both();
    certificate_close(&two);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    certificate_close(&ours);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sessions_talk),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(plain_bytes_behind_the_handshake),
        cmocka_unit_test(much_goes_through),
        cmocka_unit_test(a_wrong_certificate_is_refused_on_both_sides),
        cmocka_unit_test(a_certificate_has_its_time),
        cmocka_unit_test(two_names_are_none),
        cmocka_unit_test(a_peer_without_tls_is_told_from_a_broken_one),
        cmocka_unit_test(every_damaged_byte_ends_the_session),
        cmocka_unit_test(a_stream_that_is_cut_off_is_no_end),
        cmocka_unit_test(a_record_replayed_ends_the_session),
        cmocka_unit_test(a_host_must_be_the_one),
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(ours_and_frames_are_told_apart),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
