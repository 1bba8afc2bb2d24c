/*
 * At the limits: all prepared slots of a server taken, two hundred bad requests to a real
 * coordinator, and one outcome more than it may keep.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/bad_requests.h"

#define SLOTS 4

static struct sandbox sandbox;

static int setup(void **state)
{
    static const char *const extra[] = {"--prepared-max", "4", NULL};

    (void)state;
    sandbox_start(&sandbox, extra);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

/* --- Slots --- */

static void *transfer_some(void *ctx)
{
    const int *number = ctx;
    char id[64], body[2048];

    for (int i = 0; i < 10; i++) {
        struct answer answer;
        long status;

        snprintf(id, sizeof(id), "slots-%d-%d", *number, i);
        transfer_body(body, sizeof(body), id, *number * 20 + i + 1, *number * 20 + i + 11, 1, NULL);
        http(&sandbox, "/v1/transactions", body, DEADLINE_MS, &answer);
        status = answer.status;
        answer_free(&answer);
        if (status != 200)
            return "a transfer did not commit";
    }
    return NULL;
}

/* Many more at a time than the server has slots: they queue, none fails. */
static void more_transactions_than_slots_queue(void **state)
{
    pthread_t threads[SLOTS * 4];
    int numbers[SLOTS * 4];

    (void)state;
    for (int i = 0; i < SLOTS * 4; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, transfer_some, &numbers[i]), 0);
    }
    for (int i = 0; i < SLOTS * 4; i++) {
        void *why;

        pthread_join(threads[i], &why);
        if (why)
            fail_msg("%s", (const char *)why);
    }
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

static bool commits(void *ctx)
{
    int *number = ctx;
    struct answer answer;
    char id[64], body[2048];
    bool committed;

    snprintf(id, sizeof(id), "freed-%d", (*number)++);
    transfer_body(body, sizeof(body), id, 1, 2, 1, ",\"timeout_ms\":2000");
    http(&sandbox, "/v1/transactions", body, DEADLINE_MS, &answer);
    committed = answer.status == 200;
    answer_free(&answer);
    return committed;
}

/* Somebody else holds every slot: a clear abort, nothing hangs, and it goes on once they are free.
 */
static void slots_taken_by_others_abort_clearly(void **state)
{
    PGconn *person = db_connect(&sandbox, 0);
    struct answer answer;
    char body[2048], sql[128];
    int number = 0;

    (void)state;
    for (int i = 0; i < SLOTS; i++) {
        snprintf(sql, sizeof(sql),
                 "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'foreign-%d'", i);
        db_exec(person, sql);
    }
    transfer_body(body, sizeof(body), "full-1", 1, 2, 1, ",\"timeout_ms\":2000");
    http(&sandbox, "/v1/transactions", body, DEADLINE_MS, &answer);
    assert_status(&answer, 409);
    assert_true(strcmp(answer_text(&answer, "reason.code"), "overloaded") == 0 ||
                strcmp(answer_text(&answer, "reason.code"), "timeout") == 0);
    assert_string_equal(answer_text(&answer, "reason.participant"), "bank_a");
    answer_free(&answer);
    for (int i = 0; i < SLOTS; i++) {
        snprintf(sql, sizeof(sql), "ROLLBACK PREPARED 'foreign-%d'", i);
        db_exec(person, sql); /* foreign ones are shown, never touched: they must still be there */
    }
    PQfinish(person);
    wait_for("transfers commit once the slots are free", commits, &number, DEADLINE_MS);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

/* --- Bad requests --- */

static int connect_api(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(sandbox.api, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return; /* answered and closed before all was sent: 413 */
        bytes += sent;
        len -= (size_t)sent;
    }
}

/* The answer's first 64 KiB, NUL-terminated: as far as the end of its body, or until the server
 * closes. */
static void receive(int fd, char *ret_text, size_t size)
{
    int64_t until = now_ms() + DEADLINE_MS;
    size_t len = 0;

    ret_text[0] = 0;
    while (len < size - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const char *head_end, *length;
        ssize_t got;

        assert_true(now_ms() < until);
        if (poll(&wait, 1, 1000) != 1)
            continue;
        got = recv(fd, ret_text + len, size - 1 - len, 0);
        if (got <= 0)
            return;
        len += (size_t)got;
        ret_text[len] = 0;
        head_end = strstr(ret_text, "\r\n\r\n");
        length = strcasestr(ret_text, "content-length:");
        if (head_end && length && length < head_end &&
            len >= (size_t)(head_end + 4 - ret_text) + (size_t)atoi(length + 15))
            return;
        if (head_end && strncmp(ret_text, "HTTP/1.1 100", 12) != 0 && !length)
            return;
    }
}

static void every_bad_request_has_its_answer(void **state)
{
    static char text[64 << 10];
    struct answer answer;
    char code[128];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(bad_requests); i++) {
        const struct bad_request *bad = &bad_requests[i];
        int fd = connect_api();
        size_t len;
        char *bytes = bad_request_bytes(bad, &len);

        if (bad->method && strcmp(bad->method, "HEAD") == 0) {
            free(bytes);
            close(fd);
            continue; /* an answer without a body: the unit test reads those */
        }
        send_all(fd, bytes, len);
        free(bytes);
        receive(fd, text, sizeof(text));
        close(fd);
        if (atoi(text + strlen("HTTP/1.1 ")) != bad->status)
            fail_msg("%s: expected %d, got %.300s", bad->name, bad->status, text);
        snprintf(code, sizeof(code), "\"code\":\"%s\"", bad->code ? bad->code : "");
        if (bad->code && !strstr(text, code))
            fail_msg("%s: expected code %s, got %s", bad->name, bad->code, text);
    }
    print_message("%zu bad requests\n", AS_COUNT_OF(bad_requests));
    assert_true(AS_COUNT_OF(bad_requests) >= 100);
    http(&sandbox, "/readyz", NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
}

/* --- Outcomes --- */

/* Nothing young is forgotten (R9), so there is an end; who meets it is told which limit it was. */
static void young_outcomes_fill_the_table(void **state)
{
    enum { KEPT = 1000 };
    static const char *const extra[] = {
        "--null", "--set", "limits.outcomes_max=1000", "--set", "limits.retention_ms=3600000",
        NULL};
    static const char body[] = "{\"wait\":\"applied\",\"branches\":[{\"participant\":\"bank_a\","
                               "\"statements\":[{\"sql\":\"UPDATE t SET x = 1\"}]}]}";
    struct sandbox small;
    struct answer answer;

    (void)state;
    sandbox_start(&small, extra);
    for (int i = 0; i < KEPT; i++) {
        http(&small, "/v1/transactions", body, DEADLINE_MS, &answer);
        assert_status(&answer, 200);
        answer_free(&answer);
    }
    http(&small, "/v1/transactions", body, DEADLINE_MS, &answer);
    assert_status(&answer, 503);
    assert_string_equal(answer_text(&answer, "code"), "overloaded");
    assert_non_null(strstr(answer_text(&answer, "detail"), "outcomes_max"));
    answer_free(&answer);
    sandbox_stop(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_transactions_than_slots_queue),
        cmocka_unit_test(slots_taken_by_others_abort_clearly),
        cmocka_unit_test(every_bad_request_has_its_answer),
        cmocka_unit_test(young_outcomes_fill_the_table),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
