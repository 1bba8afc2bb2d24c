/*
 * Clients of the API that mean harm: ten thousand idle connections, slow ones, bodies without end,
 * nonsense as fast as it goes, answers that nobody takes. All the while an honest client, a new
 * connection for each request, must be served, and the coordinator's memory stays under a bound:
 *
 *   each connection   libmicrohttpd's 16 KiB, and 8 KiB for what is small of a request and its answer
 *   all of them       [api] memory_mib for what is large
 *   and SLACK_KIB     what transactions, the log and the allocator take for a moment
 *
 * With ASSENT_TLS=1 the same on a TLS port, as far as it can be done without a handshake.
 */
#include "nodes.h"
#include "strangers.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 10000
#define FILES_OURS \
    500 /* of the node beyond its clients, and of this program: more than both have */
#define MEMORY_MIB 16
#define REQUEST_TIMEOUT_S 3
#define ANSWER_TIMEOUT_S 3
#define CONNECTION_KIB 24
#define SLACK_KIB (48 << 10)
#define FLOOD_MS 2000

static struct sandbox sandbox;
static int connections_max;

/* --- Connections --- */

static int setup(void **state)
{
    const char *extra[] = {"--null", "--set", NULL,    "--set", NULL,
                           "--set",  NULL,    "--set", NULL,    NULL};
    char texts[4][64];
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    connections_max = CONNECTIONS_MAX;
    if (limit.rlim_max != RLIM_INFINITY &&
        (int64_t)limit.rlim_max < CONNECTIONS_MAX + 2 * FILES_OURS)
        connections_max = (int)limit.rlim_max - 2 * FILES_OURS;
    assert_true(connections_max > 0);
    snprintf(texts[0], sizeof(texts[0]), "api.connections_max=%d", connections_max);
    snprintf(texts[1], sizeof(texts[1]), "api.memory_mib=%d", MEMORY_MIB);
    snprintf(texts[2], sizeof(texts[2]), "api.request_timeout_s=%d", REQUEST_TIMEOUT_S);
    snprintf(texts[3], sizeof(texts[3]), "api.answer_timeout_s=%d", ANSWER_TIMEOUT_S);
    for (int i = 0; i < 4; i++)
        extra[2 + 2 * i] = texts[i];
    sandbox_start(&sandbox, extra);
    watch(&sandbox, (int64_t)connections_max * CONNECTION_KIB + (MEMORY_MIB << 10) + SLACK_KIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

/* As many as there may be, and then some: those that were idle longest end, newcomers are served. */
static void idle_connections_keep_nobody_out(void **state)
{
    enum { MORE = 200 };
    struct group group;

    (void)state;
    honest_start();
    group_open(&group, connections_max + MORE, "");
    honest_more(20);
    group.count = MORE;
    wait_for("the oldest have ended", group_ended, &group, DEADLINE_MS);
    group.count = connections_max + MORE;
    assert_false(is_ended(group.fds[group.count - 1]));
    wait_limited("connections_max", MORE - 1);
    honest_stop("idle");
    group_close(&group);
}

static void *connect_and_leave(void *ctx)
{
    int64_t until = now_ms() + FLOOD_MS;
    long *count = ctx;

    for (; now_ms() < until; ++*count) {
        int fd = try_connect(false);

        if (fd >= 0)
            hang_up(fd);
    }
    return NULL;
}

static void a_flood_of_connections(void **state)
{
    pthread_t threads[2];
    long counts[2] = {0};

    (void)state;
    honest_start();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, connect_and_leave, &counts[i]), 0);
    honest_more(20);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    print_message("%ld connections a second\n", (counts[0] + counts[1]) * 1000 / FLOOD_MS);
    honest_stop("connections");
}

/* --- Requests --- */

static const char *const floods[] = {
    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "BREW /coffee HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ("POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
     "Content-Length: 9\r\n\r\n{\"a\":[[[["),
    "GET / HTTP/7.3\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "\r\n\r\n\x16\x03\x01 what is this\r\n\r\n",
    "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
};

struct flood {
    int first;
    char *long_header;
};

/* Sends until the coordinator ends the connection or `until` has come; reads what it is told. */
static void flood_one(const char *text, int64_t until)
{
    size_t len = strlen(text), copies = 16384 / len + 1;
    char *bytes = malloc(copies * len);
    int fd = try_connect(false);

    assert_non_null(bytes);
    for (size_t i = 0; i < copies; i++)
        memcpy(bytes + i * len, text, len);
    for (int round = 0; fd >= 0 && round < 200 && now_ms() < until; round++) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t sent = send(fd, bytes, copies * len, MSG_NOSIGNAL | MSG_DONTWAIT);

        poll(&wait, 1, sent < 0 ? 10 : 0);
        if (is_ended(fd))
            break;
    }
    if (fd >= 0)
        hang_up(fd);
    free(bytes);
}

static void *flood_all(void *ctx)
{
    int64_t until = now_ms() + FLOOD_MS;
    struct flood *flood = ctx;

    for (size_t i = (size_t)flood->first; now_ms() < until; i++) {
        size_t which = i % (AS_COUNT_OF(floods) + 1);

        flood_one(which < AS_COUNT_OF(floods) ? floods[which] : flood->long_header, until);
    }
    return NULL;
}

static void a_flood_of_nonsense(void **state)
{
    struct flood flood[2] = {{.first = 0}, {.first = 5}};
    char *long_header = malloc(100000);
    pthread_t threads[2];
    double before;

    (void)state;
    assert_non_null(long_header);
    memset(long_header, 'x', 100000);
    memcpy(long_header, "GET / HTTP/1.1\r\nX: ", 19);
    long_header[99999] = 0;
    before = requests();
    honest_start();
    for (int i = 0; i < 2; i++) {
        flood[i].long_header = long_header;
        assert_int_equal(pthread_create(&threads[i], NULL, flood_all, &flood[i]), 0);
    }
    honest_more(20);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    print_message("%.0f requests answered a second\n", (requests() - before) * 1000 / FLOOD_MS);
    honest_stop("nonsense");
    free(long_header);
}

static const char half_head[] = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ";
static const char half_body[] = "POST /v1/transactions HTTP/1.1\r\nHost: a\r\n"
                                "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n";

/* Whatever they send, they have so many seconds for all of it. */
static bool dribble_until_ended(void *ctx)
{
    const struct group *group = ctx;
    bool ended = true;

    for (int i = 0; i < group->count; i++) {
        (void)send(group->fds[i], " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        ended = is_ended(group->fds[i]) && ended;
    }
    return ended;
}

static void slow_requests_end(void **state)
{
    const char *const begins[] = {"GET /", half_head, half_body};
    struct group groups[AS_COUNT_OF(begins)];
    char line[256];
    int fd;

    (void)state;
    honest_start();
    for (size_t i = 0; i < AS_COUNT_OF(begins); i++)
        group_open(&groups[i], 100, begins[i]);
    fd = must_connect(); /* says no more at all, but listens */
    assert_true(send_some(fd, half_body, strlen(half_body)));
    for (size_t i = 0; i < AS_COUNT_OF(begins); i++) {
        wait_for("slow requests have ended", dribble_until_ended, &groups[i], DEADLINE_MS);
        group_close(&groups[i]);
    }
    first_line(fd, line);
    assert_true(strncmp(line, "HTTP/1.1 408 ", 13) == 0);
    hang_up(fd);
    wait_limited("request_timeout_s", 300);
    honest_stop("slow");
}

/* --- Bodies --- */

static void a_gibibyte_is_refused_unread(void **state)
{
    static const char head[] = "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Type: "
                               "application/json\r\nContent-Length: 1073741824\r\n\r\n{";
    char line[256];
    int fd = must_connect();

    (void)state;
    assert_true(send_some(fd, head, sizeof(head) - 1));
    first_line(fd, line);
    assert_true(strncmp(line, "HTTP/1.1 413 ", 13) == 0);
    hang_up(fd);
    wait_limited("body_bytes_max", 0);
}

static void a_body_without_end_is_cut(void **state)
{
    static const char head[] = "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Type: "
                               "application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    static char chunk[65536 + 16];
    size_t len = (size_t)snprintf(chunk, sizeof(chunk), "10000\r\n"), sent = 0;
    int fd = must_connect();

    (void)state;
    memset(chunk + len, ' ', 65536);
    memcpy(chunk + len + 65536, "\r\n", 2);
    len += 65536 + 2;
    honest_start();
    assert_true(send_some(fd, head, sizeof(head) - 1));
    while (send_some(fd, chunk, len)) {
        sent += len;
        assert_true(sent < (64 << 20));
    }
    hang_up(fd);
    honest_stop("endless");
}

/* Large bodies share memory_mib: past it the next ones are refused, small ones are served. */
static void large_bodies_share_their_memory(void **state)
{
    enum { COUNT = 60, BYTES = 1000000 };
    struct group group;
    char head[200];
    char *body = malloc(BYTES);

    (void)state;
    assert_non_null(body);
    memset(body, ' ', BYTES);
    snprintf(head, sizeof(head),
             "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
             "Content-Length: %d\r\n\r\n",
             BYTES);
    honest_start();
    group_open(&group, COUNT, head);
    for (int i = 0; i < COUNT; i++)
        (void)send_some(group.fds[i], body, BYTES - 1);
    wait_limited("memory_mib", 0);
    honest_more(5);
    assert_true(metric("\nassent_http_memory_bytes{of=\"bodies\"}") <= (MEMORY_MIB << 19));
    wait_for("they have ended", group_ended, &group, DEADLINE_MS);
    honest_stop("large bodies");
    group_close(&group);
    free(body);
}

/* --- Answers --- */

/* So many clients ask for large answers, and take none. */
static void ask_and_not_listen(struct group *group, int count)
{
    static const char request[] = "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { PIPELINED = 20 };
    char bytes[PIPELINED * sizeof(request)] = "";
    size_t len = 0;

    for (int i = 0; i < PIPELINED; i++, len += sizeof(request) - 1)
        memcpy(bytes + len, request, sizeof(request) - 1);
    *group = (struct group){calloc((size_t)count, sizeof(int)), count};
    assert_non_null(group->fds);
    for (int i = 0; i < count; i++) {
        group->fds[i] = try_connect(true);
        assert_true(group->fds[i] >= 0);
        (void)send_some(group->fds[i], bytes, len);
    }
}

/* A few of them run into answer_timeout_s. More than memory_mib has room for end before that, as soon
 * as another large answer, the metrics say, is in want of their room. */
static void answers_that_nobody_takes(void **state)
{
    enum { FEW = 20, MANY = 600 };
    struct group group;
    double memory;

    (void)state;
    honest_start();
    ask_and_not_listen(&group, FEW);
    wait_limited("answer_timeout_s", 0);
    group_close(&group);
    memory = metric("\nassent_http_limited_total{limit=\"memory_mib\"}");
    ask_and_not_listen(&group, MANY);
    honest_more(20);
    wait_limited("memory_mib", memory);
    honest_stop("not read");
    group_close(&group);
}

/* --- Open files --- */

static int open_files(void)
{
    char path[64];
    int count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", sandbox_pid(&sandbox, "node-1"));
    dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static bool participant_up(void *ctx)
{
    struct answer answer;
    bool up;

    (void)ctx;
    http(&sandbox, "/v1/participants/bank_a", NULL, DEADLINE_MS, &answer);
    up = answer.status == 200 && strstr(answer.body, "\"state\":\"up\"");
    answer_free(&answer);
    return up;
}

/* So few files that connections_max cannot be had: links, log and honest clients come first. */
static void files_run_out_for_strangers_only(void **state)
{
    enum { FILES = 900 };
    struct rlimit limit = {FILES, FILES};
    struct group group;

    (void)state;
    assert_int_equal(prlimit(sandbox.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    sandbox_do(&sandbox, "kill", "node-1", NULL);
    sandbox_do(&sandbox, "restart", "node-1", NULL);
    wait_log_says(&sandbox, "node-1", "event=connections_max_lowered");
    wait_for("the agent is back", participant_up, NULL, DEADLINE_MS);
    group_open(&group, FILES, "");
    honest_start();
    honest_more(5);
    honest_stop("files"); /* nobody can be served without a participant */
    sandbox_do(&sandbox, "kill", agent_of("bank_a"), NULL);
    sandbox_do(&sandbox, "restart", agent_of("bank_a"), NULL);
    wait_for("a new link has been made", participant_up, NULL, DEADLINE_MS);
    honest_start();
    honest_more(20);
    assert_true(open_files() < FILES - 100);
    assert_false(is_ended(group.fds[group.count - 1]));
    honest_stop("files and a new link");
    group_close(&group);
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(idle_connections_keep_nobody_out),
        cmocka_unit_test(a_flood_of_connections),
        cmocka_unit_test(a_flood_of_nonsense),
        cmocka_unit_test(slow_requests_end),
        cmocka_unit_test(a_gibibyte_is_refused_unread),
        cmocka_unit_test(a_body_without_end_is_cut),
        cmocka_unit_test(large_bodies_share_their_memory),
        cmocka_unit_test(answers_that_nobody_takes),
        cmocka_unit_test(files_run_out_for_strangers_only),
    };
    const struct CMUnitTest tls[] = {
        cmocka_unit_test(idle_connections_keep_nobody_out),
        cmocka_unit_test(a_flood_of_connections),
        cmocka_unit_test(a_flood_of_nonsense),
        cmocka_unit_test(files_run_out_for_strangers_only),
    };

    return getenv("ASSENT_TLS") ? cmocka_run_group_tests(tls, setup, teardown)
                                : cmocka_run_group_tests(plain, setup, teardown);
}
