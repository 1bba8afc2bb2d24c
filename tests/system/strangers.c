#include "strangers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED
#endif

#define HONEST_MS 30000 /* in which an honest request is served, also on a busy machine */

static const struct sandbox *watched;
static int64_t first_kib, more_kib;

/* --- The coordinator from outside --- */

static int64_t status_kib(const char *field)
{
    char path[64], line[256];
    int64_t kib = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", sandbox_pid(watched, "node-1"));
    file = fopen(path, "re");
    assert_non_null(file);
    while (kib < 0 && fgets(line, sizeof(line), file)) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = atoll(line + strlen(field) + 1);
    }
    fclose(file);
    assert_true(kib > 0);
    return kib;
}

/* The highest it ever was. */
static void assert_memory_bounded(const char *what)
{
    int64_t peak = status_kib("VmHWM:");

    print_message("%s: %lld MiB at first, %lld now, %lld at most; bound %lld\n", what,
                  (long long)first_kib >> 10, (long long)status_kib("VmRSS:") >> 10,
                  (long long)peak >> 10, (long long)(first_kib + more_kib) >> 10);
#ifndef SANITIZED /* it keeps what was freed */
    assert_true(peak <= first_kib + more_kib);
#endif
}

/* The sum of that metric's samples; -1: it is not there, or all memory for answers is taken. */
double metric(const char *name)
{
    struct answer answer;
    double value = -1;

    http(watched, "/metrics", NULL, HONEST_MS, &answer);
    if (answer.status != 503)
        assert_status(&answer, 200);
    for (const char *at = strstr(answer.body, name); at; at = strstr(at + 1, name)) {
        const char *space = strchr(at, ' ');

        value = (value < 0 ? 0 : value) + strtod(space, NULL);
    }
    answer_free(&answer);
    return value;
}

double requests(void)
{
    return metric("\nassent_http_requests_total{");
}

struct passed {
    const char *limit;
    double than;
};

static bool has_passed(void *ctx)
{
    const struct passed *passed = ctx;
    char name[128];

    snprintf(name, sizeof(name), "\nassent_http_limited_total{limit=\"%s\"}", passed->limit);
    return metric(name) > passed->than;
}

void wait_limited(const char *limit, double than)
{
    struct passed passed = {limit, than};
    char what[128];

    snprintf(what, sizeof(what), "assent_http_limited_total of %s passes %.0f", limit, than);
    wait_for(what, has_passed, &passed, DEADLINE_MS);
}

/* --- The honest client --- */

static struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_int served;
    const char *failed;
    long status;
    char body[900];
    int64_t slowest_ms;
} honest;

static void *be_honest(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&honest.stop)) {
        int64_t began = now_ms();
        struct answer answer;

        http(
            watched, "/v1/transactions",
            "{\"branches\":[{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"SELECT 1\"}]}]}",
            HONEST_MS, &answer);
        honest.status = answer.status;
        if (answer.status != 200 && answer.status != 202 && answer.body)
            snprintf(honest.body, sizeof(honest.body), "%s", answer.body);
        answer_free(&answer);
        if (now_ms() - began > honest.slowest_ms)
            honest.slowest_ms = now_ms() - began;
        if (honest.status != 200 && honest.status != 202) {
            honest.failed = "an honest request was not served";
            break;
        }
        atomic_fetch_add(&honest.served, 1);
    }
    return NULL;
}

void honest_start(void)
{
    memset(&honest, 0, sizeof(honest));
    assert_int_equal(pthread_create(&honest.thread, NULL, be_honest, NULL), 0);
}

static bool honest_went_on(void *ctx)
{
    return honest.failed || atomic_load(&honest.served) > *(int *)ctx;
}

/* Some more are served, now. */
void honest_more(int count)
{
    int than = atomic_load(&honest.served) + count - 1;

    wait_for("honest requests are served", honest_went_on, &than, DEADLINE_MS);
}

void honest_stop(const char *what)
{
    honest_more(1);
    atomic_store(&honest.stop, true);
    pthread_join(honest.thread, NULL);
    if (honest.failed)
        fail_msg("%s: %s: %ld %s", what, honest.failed, honest.status, honest.body);
    print_message("%s: %d honest requests served, the slowest in %lld ms\n", what, honest.served,
                  (long long)honest.slowest_ms);
    assert_memory_bounded(what);
}

void watch(const struct sandbox *sandbox, int64_t kib)
{
    watched = sandbox;
    honest_start();
    honest_more(200);
    atomic_store(&honest.stop, true);
    pthread_join(honest.thread, NULL);
    assert_null(honest.failed);
    first_kib = status_kib("VmHWM:");
    more_kib = kib;
}

/* --- The others --- */

/* From an address of its own, so that no other test runs out of ports. `deaf`: with as little room for
 * answers as there may be. -1: refused. */
int try_connect(bool deaf)
{
    static atomic_uint number;
    unsigned n = atomic_fetch_add(&number, 1);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, small = 1000;

    assert_true(fd >= 0);
    from.sin_addr.s_addr = htonl(0x7f4d0001 + n % 16);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(watched->api, ':') + 1));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (deaf) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &small, sizeof(small)); /* the peer's buffer, too */
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int must_connect(void)
{
    int fd = try_connect(false);

    if (fd < 0)
        fail_msg("cannot connect: %s", strerror(errno));
    return fd;
}

/* With a reset: no port waits behind it. */
void hang_up(int fd)
{
    struct linger none = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    close(fd);
}

/* False: the coordinator has ended the connection. Gives up after DEADLINE_MS. */
bool send_some(int fd, const char *bytes, size_t len)
{
    int64_t until = now_ms() + DEADLINE_MS;

    while (len > 0) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            assert_true(now_ms() < until);
            poll(&wait, 1, 100);
            continue;
        }
        if (sent < 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool is_ended(int fd)
{
    char bytes[512];
    ssize_t got;

    do
        got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (got > 0);
    return got == 0 || (errno != EAGAIN && errno != EINTR);
}

void group_open(struct group *group, int count, const char *text)
{
    group->fds = malloc((size_t)count * sizeof(int));
    assert_non_null(group->fds);
    for (group->count = 0; group->count < count; group->count++) {
        group->fds[group->count] = must_connect();
        (void)send_some(group->fds[group->count], text, strlen(text));
    }
}

void group_close(struct group *group)
{
    for (int i = 0; i < group->count; i++)
        hang_up(group->fds[i]);
    free(group->fds);
}

bool group_ended(void *ctx)
{
    const struct group *group = ctx;

    for (int i = 0; i < group->count; i++) {
        if (!is_ended(group->fds[i]))
            return false;
    }
    return true;
}

/* The answer's beginning, until it ends or its first line is there. */
void first_line(int fd, char ret_text[256])
{
    int64_t until = now_ms() + DEADLINE_MS;
    size_t len = 0;

    ret_text[0] = 0;
    while (len < 255 && !strchr(ret_text, '\n')) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t got;

        assert_true(now_ms() < until);
        if (poll(&wait, 1, 1000) != 1)
            continue;
        got = recv(fd, ret_text + len, 255 - len, 0);
        if (got <= 0)
            return;
        len += (size_t)got;
        ret_text[len] = 0;
    }
}
