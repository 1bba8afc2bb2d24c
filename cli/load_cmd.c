/*
 * assent load: a service that moves money all the time, and keeps a journal of what it was told,
 * so that somebody else can prove that nothing was lost (docker/check.sh).
 *
 * A client sends a transfer under an id of its own choice, and the same request to another node
 * until it is told an outcome (R9). One line a transfer is appended to the journal then, in one
 * write, the outcome last: "ID committed". A line that a crash has torn ends in none of the words.
 *
 * Fault model: nodes are silent, gone, or have no leader; this process is killed, and its open
 * transfers are then in no journal: they may be in both databases or in none. The journal survives
 * kill -9 but not a power cut: it is not synced, because nothing depends on it.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "cli/http.h"
#include "cli/options.h"
#include "cli/rest.h"
#include "cli/sandbox.h"
#include "cli/transfer.h"

#define LOAD_CLIENTS_MAX 256
#define ANSWER_MS 8000  /* twice the transfers' own timeout, and a bit for an election */
#define AGAIN_MS 100    /* before a transfer is sent again */
#define LOOK_MS 100     /* between looks at signals and clients */
#define SETTLE_MS 45000 /* after a first signal: to learn the outcomes of open transfers */

/* As they stand in the journal. An abort is final for a transfer that was sent once; of one that
 * was sent again, a delayed duplicate may still commit (docs/api.md, "409 and 404"). */
enum outcome { COMMITTED, ABORTED, UNSETTLED, OUTCOMES };
static const char *const words[OUTCOMES] = {"committed", "aborted", "unsettled"};

struct load {
    char nodes[HTTP_NODES_MAX][512];
    uint64_t node_count, databases, accounts, clients, pause_ms, transfers;
    uint64_t run; /* random: part of every id */
    int journal;
    atomic_bool stop;    /* start no new transfer */
    atomic_bool give_up; /* and settle none either */
    atomic_bool failed;  /* it was complained about */
    atomic_ulong begun, again, outcomes[OUTCOMES], ended;
};

struct client {
    struct load *load;
    uv_thread_t thread;
    struct as_rng rng;
    size_t number, node;
};

static void fail(struct load *load)
{
    atomic_store(&load->failed, true);
    atomic_store(&load->stop, true);
    atomic_store(&load->give_up, true);
}

static void pause_ms(uint64_t ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000 * 1000000)};

    (void)nanosleep(&pause, NULL);
}

/* --- The journal --- */

/* What a killed run has torn stays a line of its own. */
static bool journal_open(struct load *load, const char *path)
{
    struct stat stat;

    load->journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (load->journal >= 0 && fstat(load->journal, &stat) == 0 &&
        (stat.st_size == 0 || write(load->journal, "\n", 1) == 1))
        return true;
    complain("load: cannot write %s: %s", path, strerror(errno));
    return false;
}

static void journal_append(struct load *load, const char *id, enum outcome outcome)
{
    char line[TRANSFER_ID_SIZE + 16];
    int len = snprintf(line, sizeof(line), "%s %s\n", id, words[outcome]);
    ssize_t written = write(load->journal, line, (size_t)len);

    if (written != len) {
        complain("load: cannot write the journal: %s",
                 written < 0 ? strerror(errno) : "no space left");
        fail(load);
        return;
    }
    atomic_fetch_add(&load->outcomes[outcome], 1);
}

/* --- One client --- */

/* True: *ret_outcome is what the node said. False: it said nothing, or not now. */
static bool ask(struct client *client, const char *body, enum outcome *ret_outcome)
{
    const struct rest_request request = {.api = client->load->nodes[client->node],
                                         .path = "/v1/transactions",
                                         .body = body,
                                         .timeout_ms = ANSWER_MS};
    struct rest_reply reply;
    char error[256];
    const char *state;
    bool told = true;

    if (!rest_send(&request, &reply, error))
        return false;
    state = json_text(reply.json, "state", "");
    if ((reply.status == 200 || reply.status == 202) && strcmp(state, "committed") == 0) {
        *ret_outcome = COMMITTED;
    } else if (reply.status == 409 && strcmp(state, "aborted") == 0) {
        *ret_outcome = ABORTED;
    } else {
        told = false;
        if (reply.status != 503 && reply.status != 429) {
            complain("load: %s answered HTTP %ld: %.300s", request.api, reply.status, reply.body);
            fail(client->load);
        }
    }
    rest_reply_close(&reply);
    return told;
}

/* At random: else all clients gather at one node, after a few failures. */
static size_t another_node(struct client *client)
{
    uint64_t others = client->load->node_count - 1;

    if (!others)
        return 0;
    return (client->node + 1 + as_rng_below(&client->rng, others)) % client->load->node_count;
}

static void settle(struct client *client, const char *id, const char *body)
{
    struct load *load = client->load;
    enum outcome outcome;
    bool once = true;

    while (!ask(client, body, &outcome)) {
        if (atomic_load(&load->give_up))
            return;
        once = false;
        client->node = another_node(client);
        atomic_fetch_add(&load->again, 1);
        pause_ms(AGAIN_MS);
    }
    journal_append(load, id, outcome == ABORTED && !once ? UNSETTLED : outcome);
}

static bool may_begin(struct load *load)
{
    return !atomic_load(&load->stop) &&
           (!load->transfers || atomic_fetch_add(&load->begun, 1) < load->transfers);
}

static void client_thread(void *ctx)
{
    struct client *client = ctx;
    struct load *load = client->load;

    for (uint64_t i = 0; may_begin(load); i++) {
        struct transfer transfer;
        char id[TRANSFER_ID_SIZE], body[TRANSFER_BODY_SIZE];

        transfer_draw(&client->rng, (uint32_t)load->databases, (uint32_t)load->accounts, &transfer);
        (void)text_format(id, sizeof(id), "load-%016llx-%zu-%llu", (unsigned long long)load->run,
                          client->number, (unsigned long long)i);
        (void)transfer_body(body, &transfer, id);
        settle(client, id, body);
        pause_ms(load->pause_ms);
    }
    atomic_fetch_add(&load->ended, 1);
}

/* --- All of them --- */

/* `since`: how long ago the last line was; 0: no rate. */
static void print_state(struct load *load, as_time since)
{
    static unsigned long last;
    unsigned long committed = atomic_load(&load->outcomes[COMMITTED]);

    printf("%lu committed, %lu aborted, %lu unsettled; sent again %lu times", committed,
           atomic_load(&load->outcomes[ABORTED]), atomic_load(&load->outcomes[UNSETTLED]),
           atomic_load(&load->again));
    if (since)
        printf("; %.0f commits/s", (double)(committed - last) * AS_SECOND / (double)since);
    printf("\n");
    (void)fflush(stdout);
    last = committed;
}

static bool clients_start(struct load *load, struct client *clients)
{
    for (size_t i = 0; i < load->clients; i++) {
        clients[i] = (struct client){
            .load = load, .rng = {load->run + i}, .number = i, .node = i % load->node_count};
        if (uv_thread_create(&clients[i].thread, client_thread, &clients[i])) {
            complain("load: cannot start a thread");
            load->clients = i;
            fail(load);
        }
    }
    return !atomic_load(&load->failed);
}

/* Until every client has ended. The signals are blocked in all threads and taken here. */
static void watch(struct load *load, const sigset_t *signals, uint64_t every_s)
{
    const struct timespec look = {.tv_nsec = LOOK_MS * AS_MS};
    as_time said = clock_now(), stopped = 0;

    while (atomic_load(&load->ended) < load->clients) {
        as_time now = clock_now();

        if (sigtimedwait(signals, NULL, &look) > 0) {
            if (stopped)
                atomic_store(&load->give_up, true);
            else
                stopped = now;
            atomic_store(&load->stop, true);
        }
        if (stopped && now - stopped > SETTLE_MS * AS_MS)
            atomic_store(&load->give_up, true);
        if (now - said >= (as_time)every_s * AS_SECOND) {
            print_state(load, now - said);
            said = now;
        }
    }
}

static bool load_run(struct load *load, uint64_t every_s)
{
    struct client *clients = must_alloc(load->clients, sizeof(*clients));
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    if (clients_start(load, clients))
        watch(load, &signals, every_s);
    for (size_t i = 0; i < load->clients; i++)
        (void)uv_thread_join(&clients[i].thread);
    free(clients);
    print_state(load, 0);
    curl_global_cleanup();
    return !atomic_load(&load->failed) && !atomic_load(&load->give_up);
}

static bool nodes_read(struct load *load, const char *list)
{
    while (load->node_count < HTTP_NODES_MAX &&
           rest_api_next(&list, load->nodes[load->node_count], sizeof(load->nodes[0])))
        load->node_count++;
    if (load->node_count && !list[strspn(list, ", ")])
        return true;
    complain("load: --api takes 1 to %d addresses with commas", HTTP_NODES_MAX);
    return false;
}

int cmd_load(int argc, char **argv)
{
    static struct load load = {.databases = 2, .accounts = 1000, .clients = 8, .pause_ms = 50};
    const char *api = NULL, *journal = NULL;
    uint64_t every_s = 5;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL,...", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_TEXT, "journal", "FILE", "where outcomes are appended (required)", &journal, 0, 0},
        {OPTION_NUMBER, "databases", "N", "bank_a, bank_b, ... (2)", &load.databases, 2,
         SANDBOX_DATABASES_MAX},
        {OPTION_NUMBER, "accounts", "N", "in each of them (1000)", &load.accounts, 1, 10000000},
        {OPTION_NUMBER, "clients", "N", "at a time (8)", &load.clients, 1, LOAD_CLIENTS_MAX},
        {OPTION_NUMBER, "pause-ms", "N", "a client's pause after a transfer (50)", &load.pause_ms,
         0, 60000},
        {OPTION_NUMBER, "transfers", "N", "end after so many (0: never)", &load.transfers, 0,
         1000000000},
        {OPTION_NUMBER, "every", "S", "between lines of figures (5)", &every_s, 1, 3600}};
    const struct command command = {
        .name = "load",
        .about =
            "Moves money between databases with the bank of sql/bank.sql through running\n"
            "coordinators, until SIGTERM or SIGINT. A transfer whose answer is lost is sent again\n"
            "under its id, at the next node, until its outcome is known. The journal gets one\n"
            "line for each: \"ID committed\", \"ID aborted\", or \"ID unsettled\": aborted when "
            "last\n"
            "heard of, but sent more than once.",
        .exits = "  0  ended when told, and every outcome is known\n"
                 "  1  it could not run, or outcomes are not known\n"
                 "  2  wrong command line\n",
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!journal) {
        complain("load: --journal is missing (see `assent load --help`)");
        return CLI_USAGE;
    }
    if (!nodes_read(&load, options_api(api)))
        return CLI_USAGE;
    if (!journal_open(&load, journal) ||
        getrandom(&load.run, sizeof(load.run), 0) != sizeof(load.run))
        return CLI_NEGATIVE;
    exit_code = load_run(&load, every_s) ? CLI_OK : CLI_NEGATIVE;
    (void)close(load.journal);
    return exit_code;
}
