/*
 * The demo's clients. Each sends a transfer under an id of its own choice, and the same request
 * again until it is told an outcome (R9): that is all a service has to do to never lose or double
 * one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/demo.h"
#include "cli/rest.h"

struct load_run {
    struct demo_load *load;
    struct as_rng rng;
};

void demo_transfer_id(const struct demo_load *load, size_t index, char ret_id[65])
{
    (void)text_format(ret_id, 65, "demo-%016llx-%zu", (unsigned long long)load->run, index);
}

static struct demo_transfer *transfer_new(struct load_run *run)
{
    struct demo_load *load = run->load;
    struct demo_transfer *transfer;

    if (load->count == load->cap) {
        size_t cap = load->cap ? load->cap * 2 : 65536;
        struct demo_transfer *larger = must_alloc(cap, sizeof(*larger));

        if (load->count)
            memcpy(larger, load->transfers, load->count * sizeof(*larger));
        free(load->transfers);
        load->transfers = larger;
        load->cap = cap;
    }
    transfer = &load->transfers[load->count++];
    transfer_draw(&run->rng, load->database_count, DEMO_ACCOUNTS, &transfer->what);
    return transfer;
}

static void request_write(const struct http_load *http, struct demo_poster *poster,
                          const struct demo_transfer *transfer, const char *id)
{
    char body[TRANSFER_BODY_SIZE], token[REST_TOKEN_HEADER_MAX];
    size_t len = transfer_body(body, &transfer->what, id);

    poster->len = (size_t)snprintf(poster->request, sizeof(poster->request),
                                   "POST /v1/transactions HTTP/1.1\r\nHost: %s:%u\r\n%s"
                                   "Content-Type: application/json\r\n"
                                   "Content-Length: %zu\r\n\r\n%s",
                                   http->nodes[0].host, http->nodes[0].port,
                                   rest_token_header(token), len, body);
    AS_ASSERT(poster->len < sizeof(poster->request));
}

struct context {
    struct load_run run;
    struct http_load http;
};

static bool on_request(void *ctx, uint32_t client, struct as_bytes *ret_request)
{
    struct context *context = ctx;
    struct demo_load *load = context->run.load;
    struct demo_poster *poster = &load->posters[client];

    if (atomic_load(&load->give_up))
        return false;
    if (!poster->open) {
        char id[65];
        const struct demo_transfer *transfer;

        if (atomic_load(&load->stop))
            return false;
        transfer = transfer_new(&context->run);
        poster->transfer = load->count - 1;
        poster->open = true;
        demo_transfer_id(load, poster->transfer, id);
        request_write(&context->http, poster, transfer, id);
        atomic_fetch_add(&load->in_flight, 1);
    }
    *ret_request = (struct as_bytes){(const uint8_t *)poster->request, poster->len};
    return true;
}

static void settle(struct demo_load *load, struct demo_poster *poster, enum demo_outcome outcome)
{
    load->transfers[poster->transfer].outcome = (uint8_t)outcome;
    poster->open = false;
    atomic_fetch_sub(&load->in_flight, 1);
    if (outcome == DEMO_COMMITTED)
        atomic_fetch_add(&load->committed, 1);
    else if (outcome == DEMO_ABORTED)
        atomic_fetch_add(&load->aborted, 1);
}

static as_time on_response(void *ctx, uint32_t client, const struct http_response *response)
{
    struct context *context = ctx;
    struct demo_load *load = context->run.load;
    struct demo_poster *poster = &load->posters[client];
    struct as_bytes state = {NULL, 0};
    bool told = http_body_state(response, &state);

    if ((response->status == 200 || response->status == 202) && told &&
        as_bytes_are(state, "committed")) {
        settle(load, poster, DEMO_COMMITTED);
        return 0;
    }
    if (response->status == 409 && told && as_bytes_are(state, "aborted")) {
        settle(load, poster, DEMO_ABORTED);
        return 50 * AS_MS; /* a database may be down: no hurry */
    }
    if (response->status == 503 || response->status == 429) {
        atomic_fetch_add(&load->retries, 1);
        return 50 * AS_MS;
    }
    if (!load->surprise[0])
        (void)snprintf(load->surprise, sizeof(load->surprise), "HTTP %d: %.*s", response->status,
                       (int)(response->body_len < 200 ? response->body_len : 200), response->body);
    settle(load, poster, DEMO_UNKNOWN);
    return 100 * AS_MS;
}

static as_time on_failed(void *ctx, uint32_t client, const char *why)
{
    struct context *context = ctx;

    (void)client;
    (void)why;
    atomic_fetch_add(&context->run.load->retries, 1);
    return 50 * AS_MS;
}

void demo_load_thread(void *ctx)
{
    static const struct http_load_ops ops = {on_request, on_response, on_failed};
    struct demo_load *load = ctx;
    struct context context = {.run = {load, {load->run}},
                              .http = {.spread = true,
                                       .clients = DEMO_CLIENTS,
                                       .answer_timeout = 15 * AS_SECOND,
                                       .ops = &ops,
                                       .ctx = &context}};

    if (http_load_address(&context.http, load->api))
        (void)http_load_run(&context.http);
    atomic_store(&load->ended, true);
}
