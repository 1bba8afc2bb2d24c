/*
 * The transfer through Assent: POST /v1/transactions with wait: applied, as a service would send
 * it.
 *
 * Each client has its request as one piece of text with fields of fixed width, so that a new one
 * costs a few digits: numbers are padded with blanks, which JSON allows, and the id with zeros.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assent/rng.h"
#include "cli/bench.h"
#include "cli/http.h"
#include "cli/rest.h"

#define ID_DIGITS 12
#define ACCOUNT_WIDTH 8

struct poster {
    char *request;
    size_t len;
    char *id_digits; /* into request */
    char *account[2];
    as_time begin;
    bool again; /* the last one's outcome is not known: the same id once more */
};

struct http_bench {
    struct bench_run *run;
    struct poster *posters;
    struct as_rng rng;
    uint64_t next_id;
};

static void digits_put(char *at, size_t width, uint64_t value, char pad)
{
    do {
        at[--width] = (char)('0' + value % 10);
        value /= 10;
    } while (value && width);
    while (width)
        at[--width] = pad;
}

static void poster_init(struct poster *poster, const struct http_load *load, uint64_t seed)
{
    char body[1024], all[1600], token[REST_TOKEN_HEADER_MAX];

    (void)text_format(
        body, sizeof(body),
        "{\"id\":\"bench-%016llx-@@@@@@@@@@@@\",\"wait\":\"applied\",\"branches\":["
        "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
        "balance - $1 WHERE id = $2\",\"params\":[1,########],\"expect_rows\":1}]},"
        "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
        "balance + $1 WHERE id = $2\",\"params\":[1,########],\"expect_rows\":1}]}]}",
        (unsigned long long)seed);
    (void)text_format(all, sizeof(all),
                      "POST /v1/transactions HTTP/1.1\r\nHost: %s:%u\r\n%s"
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                      load->nodes[0].host, load->nodes[0].port, rest_token_header(token),
                      strlen(body), body);
    poster->request = must_copy(all);
    poster->len = strlen(all);
    poster->id_digits = strstr(poster->request, "@@@@");
    poster->account[0] = strstr(poster->request, "####");
    poster->account[1] = strstr(poster->account[0] + ACCOUNT_WIDTH, "####");
    poster->again = false;
}

static bool on_request(void *ctx, uint32_t client, struct as_bytes *ret_request)
{
    struct http_bench *bench = ctx;
    struct poster *poster = &bench->posters[client];
    as_time now = clock_now();

    if (bench_window_over(bench->run, now))
        return false;
    if (!poster->again) {
        poster->begin = now;
        digits_put(poster->id_digits, ID_DIGITS, bench->next_id++, '0');
        for (int i = 0; i < 2; i++)
            digits_put(poster->account[i], ACCOUNT_WIDTH,
                       1 + as_rng_below(&bench->rng, bench->run->accounts), ' ');
    }
    poster->again = false;
    *ret_request = (struct as_bytes){(const uint8_t *)poster->request, poster->len};
    return true;
}

static as_time on_response(void *ctx, uint32_t client, const struct http_response *response)
{
    struct http_bench *bench = ctx;
    as_time now = clock_now();
    struct as_bytes state;
    char what[300];

    if (response->status == 200 && http_body_state(response, &state) &&
        as_bytes_are(state, "committed")) {
        bench_sample(&bench->run->samples, bench->posters[client].begin, now);
        return 0;
    }
    (void)snprintf(what, sizeof(what), "HTTP %d: %.*s", response->status,
                   (int)(response->body_len < 250 ? response->body_len : 250), response->body);
    bench_error(&bench->run->samples, now, what);
    return 10 * AS_MS;
}

static as_time on_failed(void *ctx, uint32_t client, const char *why)
{
    struct http_bench *bench = ctx;

    bench->posters[client].again = true;
    bench_error(&bench->run->samples, clock_now(), why);
    return 50 * AS_MS;
}

void bench_http_thread(void *ctx)
{
    static const struct http_load_ops ops = {on_request, on_response, on_failed};
    struct bench_run *run = ctx;
    struct http_bench bench = {.run = run, .rng = {run->seed}, .next_id = 1};
    struct http_load load = {.clients = (uint32_t)run->clients,
                             .answer_timeout = 40 * AS_SECOND,
                             .ops = &ops,
                             .ctx = &bench};

    bench_window_open(run);
    if (!http_load_address(&load, run->api)) {
        complain("bench: cannot read the address %s: http://a.b.c.d:port is what it takes",
                 run->api);
        run->failed = true;
    } else {
        bench.posters = must_alloc(run->clients, sizeof(*bench.posters));
        for (uint64_t i = 0; i < run->clients; i++)
            poster_init(&bench.posters[i], &load, run->seed);
        run->failed = !http_load_run(&load);
        for (uint64_t i = 0; i < run->clients; i++)
            free(bench.posters[i].request);
        free(bench.posters);
    }
    atomic_store(&run->ended, true);
}
