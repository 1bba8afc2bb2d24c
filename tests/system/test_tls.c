/*
 * TLS between real processes: money moves; who may not talk to a node, or pose as one, is refused with a line in the
 * log; certificates are replaced while money moves.
 */
#include "load.h"
#include "nodes.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assent/wire.h"
#include "tests/support/tls_files.h"

#define TRANSFERS 20
#define PREPARED_GONE_MS 40000

static struct sandbox sandbox;
static char tls_dir[300]; /* the sandbox's */
static char
    evil_dir[300]; /* ours, with certificates that the sandbox's authority has signed, and others */

/* --- A peer of our own --- */

struct peer {
    int fd;
    struct tls *tls;
    struct as_buf plain;
};

static int tcp_connect(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    unsigned port;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(sscanf(strrchr(address, ':'), ":%u", &port), 1);
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void peer_send(struct peer *peer)
{
    struct as_buf *out = tls_out(peer->tls);

    while (out->len) {
        ssize_t n = send(peer->fd, out->data, out->len, MSG_NOSIGNAL);

        if (n <= 0)
            return; /* it has hung up */
        as_buf_consume(out, (size_t)n);
    }
}

/* True while the peer goes on. */
static bool peer_turn(struct peer *peer)
{
    struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
    uint8_t bytes[16384];
    ssize_t n;
    as_err err;

    peer_send(peer);
    if (poll(&wait, 1, DEADLINE_MS) != 1)
        fail_msg("the peer says nothing");
    n = recv(peer->fd, bytes, sizeof(bytes), 0);
    if (n <= 0)
        return false;
    err = tls_receive(peer->tls, (struct as_bytes){bytes, (size_t)n}, &peer->plain);
    peer_send(peer);
    return !err;
}

/* With the certificate NAME of our directory, to the first node's port for links. */
static void peer_open(struct peer *peer, const char *ca, const char *name)
{
    struct tls_credentials *credentials = test_tls_load(evil_dir, ca, name);

    peer->fd = tcp_connect(sandbox.nodes[0].agents);
    as_buf_init(&peer->plain, 1u << 20);
    assert_int_equal(tls_new(&peer->tls, credentials, TLS_CLIENT, NULL), AS_OK);
    tls_credentials_release(credentials);
    assert_int_equal(tls_begin(peer->tls), AS_OK);
    while (!tls_open(peer->tls) && peer_turn(peer))
        ;
}

static void peer_close(struct peer *peer)
{
    close(peer->fd);
    tls_free(peer->tls);
    as_buf_close(&peer->plain);
}

static void say_msg(struct peer *peer, const struct as_wire_msg *msg)
{
    struct as_buf frame;

    as_buf_init(&frame, 1u << 20);
    as_wire_put(&frame, msg);
    assert_int_equal(frame.err, AS_OK);
    assert_int_equal(tls_send(peer->tls, as_buf_bytes(&frame)), AS_OK);
    as_buf_close(&frame);
}

static struct as_bytes text(const char *string)
{
    return (struct as_bytes){(const uint8_t *)string, strlen(string)};
}

/* Says all of it; then the node must hang up, with this reason in its log and in its last message. */
static void must_be_refused(const char *name, const struct as_wire_msg *msgs, size_t count,
                            const char *why)
{
    struct peer peer;

    peer_open(&peer, "ca", name);
    assert_true(tls_open(peer.tls));
    for (size_t i = 0; i < count; i++)
        say_msg(&peer, &msgs[i]);
    while (peer_turn(&peer))
        ;
    if (!memmem(peer.plain.data, peer.plain.len, why, strlen(why)))
        fail_msg("%s: the node does not say: %s", name, why);
    peer_close(&peer);
    wait_log_says(&sandbox, "node-1", why);
}

/* --- Who may not talk to a node --- */

static void money_moves(void **state)
{
    (void)state;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

static void an_agent_serves_only_what_it_is_named_for(void **state)
{
    const struct as_wire_msg msgs[] = {
        {.type = AS_WIRE_HELLO,
         .hello = {.agent_id = 77, .cluster = text("sandbox"), .name = text("evil")}},
        {.type = AS_WIRE_PARTICIPANT,
         .participant = {.up = true,
                         .name = text("bank_a"),
                         .identity = {{1}},
                         .counter = 1,
                         .server_version = 150000,
                         .prepared_max = 10,
                         .connections = 4}}};

    (void)state;
    must_be_refused("other-agent", msgs, 2, "does not name a participant that it serves");
    must_be_refused("elsewhere", msgs, 1, "certificate names another cluster");
    must_be_refused("operator", msgs, 1, "neither an agent's nor a node's");
}

/* What a node has asked its clients, another node believes; nobody else may pass on anything. */
static void only_nodes_pass_requests_on(void **state)
{
    const struct as_wire_msg msgs[] = {
        {.type = AS_WIRE_HELLO,
         .hello = {.agent_id = 77, .cluster = text("sandbox"), .name = text("evil")}},
        {.type = AS_WIRE_FORWARD, .forward = {.number = 1, .bytes = text("anything")}}};

    (void)state;
    must_be_refused("other-agent", msgs, 2, "a message that only a node sends");
    must_be_refused("other-agent", &msgs[1], 1, "the first message must be HELLO or PEER");
}

static void a_node_is_only_itself(void **state)
{
    struct as_wire_msg msg = {.type = AS_WIRE_PEER,
                              .peer = {.node_id = 2,
                                       .incarnation = strtoull(sandbox.incarnation, NULL, 16),
                                       .cluster = text("sandbox")}};

    (void)state;
    must_be_refused("other-agent", &msg, 1, "certificate is not a node's");
    must_be_refused("node-3", &msg, 1, "names another node than it claims to be");
    must_be_refused("elsewhere-node", &msg, 1, "certificate names another cluster");
}

/* The expired one ended a minute ago; the authority is a few minutes old. */
static time_t before(time_t *ret)
{
    time_t at = time(NULL) - 100;

    if (ret)
        *ret = at;
    return at;
}

static void wrong_certificates_do_not_get_in(void **state)
{
    struct peer peer;

    (void)state;
    peer_open(&peer, "both", "foreign");
    while (peer_turn(&peer))
        ;
    if (!strstr(tls_why(peer.tls), "does not know the authority"))
        fail_msg("the foreign peer hears: %s", tls_why(peer.tls));
    wait_log_says(&sandbox, "node-1", "it is not signed by an authority of our ca file");
    peer_close(&peer);

    gnutls_global_set_time_function(before); /* in this process alone */
    peer_open(&peer, "ca", "expired");
    while (peer_turn(&peer))
        ;
    gnutls_global_set_time_function(time);
    if (!strstr(tls_why(peer.tls), "our certificate is not valid now"))
        fail_msg("the expired peer hears: %s", tls_why(peer.tls));
    wait_log_says(&sandbox, "node-1", "it has expired at 20");
    peer_close(&peer);
}

/* What the node's log says of the client at this socket. */
static void said_of(int fd, char *ret, size_t cap)
{
    struct sockaddr_in self;
    socklen_t len = sizeof(self);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &len), 0);
    snprintf(ret, cap, "event=https_refused peer=127.0.0.1:%u ", ntohs(self.sin_port));
}

static void plain_bytes_to_tls_ports(void **state)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    static const char http_request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct as_buf frame;
    char bytes[1024], says[80];
    int fd = tcp_connect(sandbox.nodes[0].agents);

    (void)state;
    as_buf_init(&frame, 4096);
    as_wire_put(&frame, &(struct as_wire_msg){.type = AS_WIRE_PING, .ping = 1});
    assert_int_equal(send(fd, frame.data, frame.len, MSG_NOSIGNAL), frame.len);
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
    close(fd);
    as_buf_close(&frame);
    wait_log_says(&sandbox, "node-1", "the peer speaks without TLS");

    fd = tcp_connect(sandbox.nodes[0].api);
    said_of(fd, says, sizeof(says));
    assert_int_equal(send(fd, http_request, strlen(http_request), MSG_NOSIGNAL),
                     strlen(http_request));
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
    close(fd);
    wait_log_says(&sandbox, "node-1", says);

    /* This one is gone before the node can look at it, and still it is said who it was. */
    fd = tcp_connect(sandbox.nodes[0].api);
    said_of(fd, says, sizeof(says));
    assert_int_equal(send(fd, http_request, strlen(http_request), MSG_NOSIGNAL),
                     strlen(http_request));
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(fd);
    wait_log_says(&sandbox, "node-1", says);
}

/* --- Daemons that are configured wrongly --- */

/* Runs a program with this configuration, for at most so long; its output. */
static void run_daemon(const char *program, const char *config, int seconds, const char *says)
{
    char path[400], command[900], output[8192];
    FILE *file, *out;
    size_t len;

    snprintf(path, sizeof(path), "%s/run.ini", evil_dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(config, file);
    fclose(file);
    snprintf(command, sizeof(command), "timeout -s KILL %d %s/%s --config %s 2>&1", seconds,
             AS_TEST_BIN, program, path);
    out = popen(command, "r");
    assert_non_null(out);
    len = fread(output, 1, sizeof(output) - 1, out);
    output[len] = 0;
    (void)pclose(out);
    if (!strstr(output, says))
        fail_msg("%s does not say \"%s\", but: %s", program, says, output);
}

static void a_node_listens_wider_only_with_tls(void **state)
{
    char config[2048];

    (void)state;
    snprintf(config, sizeof(config), "[node]\ncluster=x\ndata_dir=%s/x\n[api]\nlisten=0.0.0.0:0\n",
             evil_dir);
    run_daemon("assentd", config, 10, "set tls = yes in [api]");
    run_daemon("assentd", config, 10, "or set insecure = yes in [api]");
    snprintf(config, sizeof(config),
             "[node]\ncluster=x\ndata_dir=%s/x\n[agents]\nlisten=0.0.0.0:0\n", evil_dir);
    run_daemon("assentd", config, 10, "give a [tls] section");
    run_daemon("assentd", config, 10, "or set insecure = yes in [agents]");
    snprintf(config, sizeof(config),
             "[node]\ncluster=x\ndata_dir=%s/x\n[agents]\nlisten=0.0.0.0:0\ninsecure=yes\n"
             "[api]\nlisten=0.0.0.0:0\ninsecure=yes\n",
             evil_dir);
    run_daemon("assentd", config, 10, "no decision log here"); /* the listeners are well */
    snprintf(config, sizeof(config),
             "[node]\ncluster=sandbox\nid=1\ndata_dir=%s/x\n[tls]\nca=%s/ca.pem\n"
             "certificate=%s/node-3.pem\nkey=%s/node-3-key.pem\n",
             evil_dir, evil_dir, evil_dir, evil_dir);
    run_daemon("assentd", config, 10,
               "it names assent://sandbox/node/3, but this node must be assent://sandbox/node/1");
}

/* With TLS, but whoever comes may do everything. */
static void a_node_listens_wider_only_with_an_identity(void **state)
{
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"", "name a file of tokens"},
        {"health_open=yes", "name a file of tokens"},
        {"insecure=yes", "no decision log here"}, /* the listener is well */
        {"client_ca=%s/ca.pem", "no decision log here"},
        {"tokens=%s/none", "none: No such file or directory"},
    };
    char config[2048], line[400];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        const char *dir = strstr(rows[i].line, "%s");

        snprintf(line, sizeof(line), "%.*s%s%s",
                 (int)(dir ? dir - rows[i].line : (ptrdiff_t)strlen(rows[i].line)), rows[i].line,
                 dir ? evil_dir : "", dir ? dir + 2 : "");
        snprintf(config, sizeof(config),
                 "[node]\ncluster=sandbox\nid=3\ndata_dir=%s/x\n[tls]\nca=%s/ca.pem\n"
                 "certificate=%s/node-3.pem\nkey=%s/node-3-key.pem\n"
                 "[api]\ntls=yes\nlisten=0.0.0.0:0\n%s\n",
                 evil_dir, evil_dir, evil_dir, evil_dir, line);
        run_daemon("assentd", config, 10, rows[i].says);
    }
}

static void agent_config(char *ret, size_t size, const char *coordinators, const char *participant)
{
    snprintf(ret, size,
             "[agent]\ncluster=sandbox\ncoordinators=%s\n[tls]\nca=%s/ca.pem\n"
             "certificate=%s/other-agent.pem\nkey=%s/other-agent-key.pem\n"
             "[participant.%s]\nnull=yes\n",
             coordinators, evil_dir, evil_dir, evil_dir, participant);
}

static void an_agent_must_be_named_for_its_participants(void **state)
{
    char config[2048];

    (void)state;
    agent_config(config, sizeof(config), sandbox.nodes[0].agents, "bank_a");
    run_daemon("assent-agent", config, 10, "cannot serve bank_a");
}

/* A server with an agent's certificate poses as a node; it accepts, and only listens. */
static void nobody_poses_as_a_node(void **state)
{
    char config[2048], address[64];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(here);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct tls_credentials *credentials = test_tls_load(evil_dir, "ca", "other-agent");
    pid_t impostor;

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&here, sizeof(here)), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&here, &len), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(here.sin_port));
    impostor = fork();
    assert_true(impostor >= 0);
    while (impostor == 0) {
        struct peer peer = {.fd = accept(listener, NULL, NULL)};

        as_buf_init(&peer.plain, 1u << 20);
        if (tls_new(&peer.tls, credentials, TLS_SERVER, NULL) != AS_OK)
            _exit(1);
        while (peer_turn(&peer))
            ;
        if (peer.plain.len)
            _exit(2); /* it has been told something */
        peer_close(&peer);
    }
    close(listener);
    agent_config(config, sizeof(config), address, "bank_z");
    run_daemon("assent-agent", config, 3, "the peer's certificate is not a node's");
    assert_int_equal(waitpid(impostor, NULL, WNOHANG), 0);
    kill(impostor, SIGKILL);
    waitpid(impostor, NULL, 0);
    tls_credentials_release(credentials);
}

/* --- New certificates --- */

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

/* The serial number of what the node shows to a client of its API. */
static void serial_of(int node, char ret_serial[128])
{
    struct curl_certinfo *info = NULL;
    CURL *curl = curl_easy_init();
    char url[256];

    ret_serial[0] = 0;
    snprintf(url, sizeof(url), "%s/healthz", sandbox.nodes[node].api);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("ASSENT_CA"));
    curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    assert_int_equal(curl_easy_getinfo(curl, CURLINFO_CERTINFO, &info), CURLE_OK);
    for (struct curl_slist *line = info->certinfo[0]; line; line = line->next)
        if (strncmp(line->data, "Serial Number:", 14) == 0)
            snprintf(ret_serial, 128, "%s", line->data);
    assert_true(ret_serial[0]);
    curl_easy_cleanup(curl);
}

/* Sends SIGHUP and waits until the log says once more what has come of it. */
static void reload(const char *name, const char *what)
{
    node_reload(&sandbox, name, what);
}

static const char *const processes[] = {"node-1", "node-2", "node-3", "agent-bank_a",
                                        "agent-bank_b"};

static int process_count(void)
{
    return no_agents() ? 3 : 5;
}

static int sessions_lost(void)
{
    int count = 0;

    for (int i = 0; i < process_count(); i++)
        count += log_lines(&sandbox, processes[i], "event=session_down");
    return count;
}

static void new_certificates_while_money_moves(void **state)
{
    const char *const renew[] = {"certs",  tls_dir,   "--cluster", "sandbox", "--renew", "--node",
                                 "1",      "--node",  "2",         "--node",  "3",       "--agent",
                                 "bank_a", "--agent", "bank_b",    NULL};
    char before[128], after[128];
    int lost = sessions_lost();

    (void)state;
    serial_of(0, before);
    load_start(&sandbox);
    load_wait_commits(TRANSFERS);
    assert_int_equal(run_assent(renew, NULL), 0);
    serial_of(0, after);
    assert_string_equal(before, after);
    for (int i = 0; i < process_count(); i++) {
        reload(processes[i], "event=certificates_reloaded of=links");
        load_wait_commits(TRANSFERS);
    }
    serial_of(0, after);
    assert_string_not_equal(before, after);
    assert_int_equal(sessions_lost(), lost); /* no link was cut for it */
    sandbox_do(&sandbox, "restart", agent_of("bank_a"), NULL);
    load_wait_commits(TRANSFERS); /* and new ones are made */
    load_stop();
    load_check(PREPARED_GONE_MS);
}

static void a_bad_file_changes_nothing(void **state)
{
    char command[2000], before[128], after[128];

    (void)state;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS);
    serial_of(0, before);
    snprintf(command, sizeof(command),
             "cp %s/node-1.pem %s/kept.pem && cp %s/node-2.pem %s/node-1.pem", tls_dir, evil_dir,
             tls_dir, tls_dir);
    assert_int_equal(system(command), 0);
    reload("node-1", "event=certificates_not_reloaded");
    assert_true(log_says(&sandbox, "node-1", "this is not the certificate"));
    serial_of(0, after);
    assert_string_equal(before, after);
    load_wait_commits(TRANSFERS);
    snprintf(command, sizeof(command), "cp %s/kept.pem %s/node-1.pem", evil_dir, tls_dir);
    assert_int_equal(system(command), 0);
    reload("node-1", "event=certificates_reloaded of=links");
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* Tokens and certificates together, all or nothing; the load shows a token all the time. */
static void new_tokens_while_money_moves(void **state)
{
    const char *const renew[] = {"certs",   tls_dir,  "--cluster", "sandbox",
                                 "--renew", "--node", "1",         NULL};
    char command[2000], before[128], after[128];
    int lost = sessions_lost();

    (void)state;
    load_start(&sandbox);
    load_wait_commits(TRANSFERS);
    serial_of(0, before);
    snprintf(command, sizeof(command),
             "cp %s/etc/tokens %s/kept.tokens && echo nonsense >> %s/etc/tokens", sandbox.dir,
             evil_dir, sandbox.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(run_assent(renew, NULL), 0);
    reload("node-1", "event=certificates_not_reloaded");
    assert_true(log_says(&sandbox, "node-1", "etc/tokens: line 6: role= is missing"));
    serial_of(0, after);
    assert_string_equal(before, after);
    load_wait_commits(TRANSFERS);
    snprintf(command, sizeof(command),
             "cp %s/kept.tokens %s/etc/tokens && %s/assent token new --name new --role viewer "
             "--file %s/etc/tokens > %s/new.token",
             evil_dir, sandbox.dir, AS_TEST_BIN, sandbox.dir, evil_dir);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < sandbox.node_count; i++) {
        reload(sandbox.nodes[i].name, "event=tokens_reloaded count=6");
        load_wait_commits(TRANSFERS);
    }
    serial_of(0, after);
    assert_string_not_equal(before, after);
    assert_int_equal(sessions_lost(), lost);
    load_stop();
    load_check(PREPARED_GONE_MS);
}

/* --- Setting up --- */

static void make_evil(void)
{
    struct certificate_pem ours, two;
    char command[2000];

    snprintf(evil_dir, sizeof(evil_dir), "%s/evil", sandbox.dir);
    assert_int_equal(mkdir(evil_dir, 0700), 0);
    test_tls_take(tls_dir, "ca.pem", &ours.certificate);
    test_tls_take(tls_dir, "ca-key.pem", &ours.key);
    test_tls_make(evil_dir, "two", NULL, -2, 1, NULL, &two);
    test_tls_leaf(evil_dir, "foreign", "assent://sandbox/agent/bank_a", 0, 1, &two);
    test_tls_leaf(evil_dir, "other-agent", "assent://sandbox/agent/bank_z", 0, 1, &ours);
    test_tls_leaf(evil_dir, "operator", "assent://sandbox/operator/me", 0, 1, &ours);
    test_tls_leaf(evil_dir, "node-3", "assent://sandbox/node/3", 0, 1, &ours);
    test_tls_leaf(evil_dir, "expired", "assent://sandbox/agent/bank_a", -2, 0, &ours);
    test_tls_leaf(evil_dir, "elsewhere", "assent://elsewhere/agent/bank_a", 0, 1, &ours);
    test_tls_leaf(evil_dir, "elsewhere-node", "assent://elsewhere/node/2", 0, 1, &ours);
    snprintf(command, sizeof(command),
             "cp %s/ca.pem %s/ca.pem && cat %s/ca.pem %s/two.pem > %s/both.pem", tls_dir, evil_dir,
             tls_dir, evil_dir, evil_dir);
    assert_int_equal(system(command), 0);
    certificate_close(&ours);
    certificate_close(&two);
}

static int setup(void **state)
{
    static const char *const extra[] = {"--nodes", "3", "--tls", NULL};

    (void)state;
    sandbox_start(&sandbox, extra);
    snprintf(tls_dir, sizeof(tls_dir), "%s/etc/tls", sandbox.dir);
    make_evil();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (load_abandon())
        sandbox_print_logs(&sandbox);
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_moves),
        cmocka_unit_test(an_agent_serves_only_what_it_is_named_for),
        cmocka_unit_test(only_nodes_pass_requests_on),
        cmocka_unit_test(a_node_is_only_itself),
        cmocka_unit_test(wrong_certificates_do_not_get_in),
        cmocka_unit_test(plain_bytes_to_tls_ports),
        cmocka_unit_test(a_node_listens_wider_only_with_tls),
        cmocka_unit_test(a_node_listens_wider_only_with_an_identity),
        cmocka_unit_test(an_agent_must_be_named_for_its_participants),
        cmocka_unit_test(nobody_poses_as_a_node),
        cmocka_unit_test(new_certificates_while_money_moves),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(new_tokens_while_money_moves),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
