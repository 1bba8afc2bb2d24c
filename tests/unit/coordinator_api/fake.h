/*
 * A real API on a real socket with a fake node behind it, and a client for it; all in one thread,
 * so that a test decides when the node answers.
 */
#ifndef ASSENT_TEST_API_FAKE_H
#define ASSENT_TEST_API_FAKE_H

#include "tests/support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "assent/alloc.h"
#include "assent/hist.h"
#include "assent/work.h"
#include "coordinator/api/api.h"
#include "coordinator/node/node.h"

#define FAKE_DEADLINE_S 30
#define FAKE_WAITING_MAX 64
#define FAKE_LETTERS_MAX 64

enum fake_answer { FAKE_AT_ONCE, FAKE_LATER, FAKE_REFUSE };

/* What one fake node sends to another; delivered when a turn ends, as the contract has it. */
struct fake_letter {
    struct node *to;
    bool reply;
    uint64_t number; /* of the forward, or the client it answers */
    as_err err;
    uint8_t *data;
    size_t len;
};

/* What node_* below were asked, and what they answer. */
struct node {
    struct api *api;
    enum fake_answer answer;
    enum as_refusal refusal;
    bool not_leading;
    unsigned submits, gets, acknowledges, forgets;
    /* The last submit. */
    char id[AS_ID_LEN_MAX + 1];
    uint8_t hash[AS_HASH_LEN];
    uint32_t timeout_ms, branch_count;
    enum as_wait wait;
    char participant[AS_PARTICIPANT_LEN_MAX + 1]; /* of its last branch */
    bool read_only;
    uint8_t work[1 << 16];
    size_t work_len;
    /* The last get or acknowledge. */
    uint32_t wait_ms, branch;
    enum node_read read;
    uint64_t index;
    char who[128], why[AS_REASON_LEN_MAX + 1];
    /* The last resolve. */
    unsigned resolves;
    char gid[AS_GID_LEN_MAX + 1];
    bool commit, other_incarnation, proven;
    const char *detail; /* of a refusal of it */
    struct txn_list_query query;
    char query_participant[AS_PARTICIPANT_LEN_MAX + 1];
    uint64_t waiting[FAKE_WAITING_MAX];
    size_t waiting_count;
    unsigned list_length; /* 0: 2 */
    bool unserved;        /* its agent is up, and its record is not applied yet */
    /* Other nodes. */
    uint64_t id_of_node;
    enum raft_role role; /* unless it leads */
    enum raft_refusal member_refusal;
    unsigned member_changes, transfers, snapshots;
    enum raft_member_change change; /* the last one */
    uint64_t member;
    char address[RAFT_ADDRESS_LEN_MAX + 1];
    struct node *leader; /* where node_forward goes; NULL: none is known */
    bool held;           /* its letters stay where they are */
    struct fake_letter letters[FAKE_LETTERS_MAX];
    size_t letter_count;
    struct {
        struct node *from;
        uint64_t client;
    } forwards[FAKE_LETTERS_MAX]; /* that came here; their numbers count from 1 */
    size_t forward_count;
    uint64_t passed[FAKE_WAITING_MAX]; /* clients here that wait for the leader */
    size_t passed_count;
    /* The view that is answered. */
    struct as_txn_view view;
    struct as_branch_view branches[2];
    struct as_reason reason;
    struct as_buf results;
};

static inline void fake_reply(struct node *node, uint64_t client, const char *id)
{
    struct as_reply reply = {.id = id, .view = &node->view};

    if (!*id) {
        reply.refused = true;
        reply.refusal = AS_REFUSAL_NOT_FOUND;
    }
    if (node->answer == FAKE_REFUSE) {
        reply.refused = true;
        reply.refusal = node->refusal;
    }
    node->view.id = id;
    api_reply(node->api, client, &reply);
}

static inline void fake_asked(struct node *node, uint64_t client, const char *id)
{
    assert_int_not_equal(client, 0);
    if (node->answer != FAKE_LATER) {
        fake_reply(node, client, id);
        return;
    }
    assert_true(node->waiting_count < FAKE_WAITING_MAX);
    node->waiting[node->waiting_count++] = client;
}

void node_submit(struct node *node, uint64_t client, const struct as_submit *submit)
{
    const struct as_submit_branch *last = &submit->branches[submit->branch_count - 1];

    node->submits++;
    memcpy(node->id, submit->id, sizeof(node->id));
    memcpy(node->hash, submit->body_hash, AS_HASH_LEN);
    node->timeout_ms = submit->timeout_ms;
    node->wait = submit->wait;
    node->branch_count = submit->branch_count;
    memset(node->participant, 0, sizeof(node->participant));
    memcpy(node->participant, last->participant.data, last->participant.len);
    node->read_only = last->read_only;
    for (uint32_t i = 0; i < submit->branch_count; i++)
        assert_int_equal(as_work_check(submit->branches[i].work), AS_OK);
    node->work_len = last->work.len < sizeof(node->work) ? last->work.len : sizeof(node->work);
    memcpy(node->work, last->work.data, node->work_len);
    fake_asked(node, client, submit->id);
}

void node_get(struct node *node, uint64_t client, const char *id, uint32_t wait_ms,
              enum node_read read, uint64_t index)
{
    node->read = read;
    node->index = index;
    node->gets++;
    node->wait_ms = wait_ms;
    memset(node->id, 0, sizeof(node->id));
    memcpy(node->id, id, strlen(id));
    if (strcmp(id, "no-such-transaction") == 0) {
        struct as_reply reply = {.refused = true, .refusal = AS_REFUSAL_NOT_FOUND, .id = id};

        api_reply(node->api, client, &reply);
        return;
    }
    fake_asked(node, client, id);
}

void node_acknowledge(struct node *node, uint64_t client, const char *id, uint32_t branch,
                      struct as_bytes who, struct as_bytes why)
{
    node->acknowledges++;
    node->branch = branch;
    (void)snprintf(node->who, sizeof(node->who), "%.*s", (int)who.len, (const char *)who.data);
    (void)snprintf(node->why, sizeof(node->why), "%.*s", (int)why.len, (const char *)why.data);
    if (strcmp(id, "no-such-transaction") == 0) {
        struct as_reply reply = {.refused = true, .refusal = AS_REFUSAL_NOT_FOUND, .id = id};

        api_reply(node->api, client, &reply);
        return;
    }
    fake_asked(node, client, id);
}

static inline void fake_operator_reply(struct node *node, uint64_t client, struct as_reply reply)
{
    reply.id = "";
    if (node->answer == FAKE_REFUSE) {
        reply.refused = true;
        reply.refusal = node->refusal;
        reply.detail = node->detail;
    }
    api_reply(node->api, client, &reply);
}

void node_prepared(struct node *node, uint64_t client, const char *participant)
{
    static const char ours[] = "assent/demo/5f3a9c01d2e4b687/7.42/1/order-4711";
    static const char foreign[] = "it's \"mine\" \xff";
    struct as_prepared_view rows[2] = {
        {.gid = {(const uint8_t *)ours, sizeof(ours) - 1},
         .owner = {(const uint8_t *)"agent", 5},
         .xid = 4294967369,
         .age_ms = 90000,
         .state = AS_PREPARED_ORPHANED,
         .verdict = AS_VERDICT_UNKNOWN},
        {.gid = {(const uint8_t *)foreign, sizeof(foreign) - 1},
         .owner = {(const uint8_t *)"ann", 3},
         .xid = 7,
         .age_ms = 5,
         .state = AS_PREPARED_FOREIGN},
    };
    struct as_prepared_list list = {
        .participant = participant, .count = 2, .rows = rows, .total = 7, .foreign = 1};

    assert_int_equal(as_gid_parse(ours, sizeof(ours) - 1, &rows[0].parts), AS_OK);
    fake_operator_reply(node, client, (struct as_reply){.prepared = &list});
}

void node_resolve(struct node *node, uint64_t client, const struct as_resolve *resolve)
{
    node->resolves++;
    as_gid_format(&resolve->gid, node->gid);
    (void)snprintf(node->participant, sizeof(node->participant), "%s", resolve->participant);
    node->commit = resolve->commit;
    node->other_incarnation = resolve->other_incarnation;
    fake_operator_reply(node, client, (struct as_reply){.resolved = resolve, .tag = !node->proven});
}

static inline bool fake_unpass(struct node *node, uint64_t client)
{
    for (size_t i = 0; i < node->passed_count; i++) {
        if (node->passed[i] == client) {
            node->passed[i] = node->passed[--node->passed_count];
            return true;
        }
    }
    return false;
}

void node_forget(struct node *node, uint64_t client)
{
    if (fake_unpass(node, client)) {
        node->forgets++;
        return;
    }
    for (size_t i = 0; i < node->waiting_count; i++) {
        if (node->waiting[i] == client) {
            node->waiting[i] = node->waiting[--node->waiting_count];
            node->forgets++;
            return;
        }
    }
    fail_msg("forgets a client that does not wait");
}

void node_list(struct node *node, const struct txn_list_query *query,
               void (*each)(void *ctx, const struct as_txn_view *view), void *ctx,
               uint64_t *ret_next)
{
    node->query = *query;
    (void)snprintf(node->query_participant, sizeof(node->query_participant), "%s",
                   query->participant ? query->participant : "");
    for (unsigned i = 0; i < (node->list_length ? node->list_length : 2); i++) {
        node->view.id = i ? "second" : "first";
        each(ctx, &node->view);
    }
    *ret_next = query->after ? 0 : UINT64_MAX;
}

void node_participants(struct node *node, const char *name,
                       void (*each)(void *ctx, const struct node_participant_view *view), void *ctx)
{
    static const struct as_wire_participant facts = {
        .server_version = 150018, .prepared_max = 100, .connections = 16};
    static const struct as_wire_status status = {.slots_used = 7,
                                                 .prepared = 5,
                                                 .in_doubt = 2,
                                                 .orphaned = 1,
                                                 .foreign = 3,
                                                 .oldest_age_ms = 2500,
                                                 .audited = true,
                                                 .slots_ours = 6,
                                                 .xmin_age = 41,
                                                 .foreign_xmin_age = 42,
                                                 .foreign_oldest_age_ms = 43500};
    static const struct as_wire_status older = {.slots_used = 7};
    static const struct node_agent_view agents[] = {
        {"agent-1", "127.0.0.1:5", true, "fsync is off", &facts, &status, 1500, "assent/x", ""},
        {"agent-2", "127.0.0.1:6", false, "", NULL, &older, -1, "", ""},
    };
    struct node_participant_view view = {
        {"bank_a", {{0xab, 1}}, 18446744073709551615u, 7000000000000000001u, 3, 2, 4, 9},
        2,
        agents};

    if (node->unserved)
        view.txn.sessions = 0;
    if (!name || strcmp(name, "bank_a") == 0)
        each(ctx, &view);
}

void node_info(const struct node *node, struct node_info *ret)
{
    *ret = (struct node_info){.cluster = "demo",
                              .incarnation = 0x5f3a9c01d2e4b687,
                              .node_id = node->id_of_node ? node->id_of_node : 1,
                              .term = 7,
                              .last_index = 1042,
                              .applied_index = 1041,
                              .table_index = 1041,
                              .commit_index = 1042,
                              .leader = node->leader ? 1 : 0,
                              .role = node->not_leading ? node->role : RAFT_LEADER,
                              .leading = !node->not_leading};
    if (!node->not_leading)
        ret->leader = ret->node_id;
}

void node_members(struct node *node, void (*each)(void *ctx, const struct node_member_view *view),
                  void *ctx)
{
    bool leads = !node->not_leading;
    struct node_member_view views[] = {
        {.id = 1,
         .address = "10.0.0.1:7481",
         .voter = true,
         .self = leads,
         .leader = true,
         .linked = true,
         .match = leads ? 1042 : 0,
         .heard_ms_ago = -1,
         .caught_up = leads},
        {.id = 2,
         .address = "10.0.0.2:7481",
         .voter = true,
         .self = !leads,
         .match = leads ? 1000 : 0,
         .heard_ms_ago = leads ? 12 : -1},
        {.id = 7, .address = "[::1]:7481", .linked = true, .heard_ms_ago = -1},
    };

    for (size_t i = 0; i < AS_COUNT_OF(views); i++)
        each(ctx, &views[i]);
}

enum raft_refusal node_member_change(struct node *node, enum raft_member_change change, uint64_t id,
                                     const char *address)
{
    node->member_changes++;
    node->change = change;
    node->member = id;
    (void)snprintf(node->address, sizeof(node->address), "%s", address ? address : "");
    return node->member_refusal;
}

void node_snapshot(struct node *node)
{
    node->snapshots++;
}

enum raft_refusal node_transfer(struct node *node, uint64_t to)
{
    node->transfers++;
    node->member = to;
    return node->member_refusal;
}

void node_metrics(const struct node *node, struct node_metrics *ret)
{
    *ret = (struct node_metrics){.submits = node->submits, .votes_yes = 12, .votes_no = 3};
    ret->txn.committed = 11;
    ret->txn.aborted[AS_REASON_TIMEOUT] = 2;
}

/* --- Other nodes --- */

static inline void fake_post(struct node *from, struct node *to, bool reply, uint64_t number,
                             struct as_bytes bytes)
{
    struct fake_letter *letter = &from->letters[from->letter_count++];

    assert_true(from->letter_count <= FAKE_LETTERS_MAX);
    *letter = (struct fake_letter){to, reply, number, AS_OK, malloc(bytes.len + 1), bytes.len};
    assert_non_null(letter->data);
    if (bytes.len)
        memcpy(letter->data, bytes.data, bytes.len);
}

bool node_forward(struct node *node, uint64_t client, struct as_bytes request)
{
    struct node *leader = node->leader;

    if (!leader)
        return false;
    assert_true(leader->forward_count < FAKE_LETTERS_MAX && node->passed_count < FAKE_WAITING_MAX);
    leader->forwards[leader->forward_count].from = node;
    leader->forwards[leader->forward_count++].client = client;
    node->passed[node->passed_count++] = client;
    fake_post(node, leader, false, leader->forward_count, request);
    return true;
}

void node_forward_reply(struct node *node, uint64_t forward, struct as_bytes reply)
{
    assert_true(forward > 0 && forward <= node->forward_count);
    fake_post(node, node->forwards[forward - 1].from, true, node->forwards[forward - 1].client,
              reply);
}

void node_forward_refuse(struct node *node, uint64_t forward)
{
    assert_true(forward > 0 && forward <= node->forward_count);
    fake_post(node, node->forwards[forward - 1].from, true, node->forwards[forward - 1].client,
              (struct as_bytes){NULL, 0});
    node->letters[node->letter_count - 1].err = AS_ERR_BUSY;
}

/* Brings what a node has sent; what it held and what was lost with the link as well. */
static inline void fake_deliver(struct node *node)
{
    size_t count = node->held ? 0 : node->letter_count;
    struct fake_letter letters[FAKE_LETTERS_MAX];

    memcpy(letters, node->letters, sizeof(letters));
    node->letter_count -= count;
    for (size_t i = 0; i < count; i++) {
        struct fake_letter *letter = &letters[i];
        struct as_bytes bytes = {letter->data, letter->len};

        if (!letter->reply)
            api_forwarded(letter->to->api, letter->number, bytes);
        else if (fake_unpass(letter->to, letter->number))
            api_forward_done(letter->to->api, letter->number, letter->err, bytes);
        free(letter->data);
    }
}

static inline void fake_burn_letters(struct node *node)
{
    while (node->letter_count)
        free(node->letters[--node->letter_count].data);
}

/* --- The API under test --- */

struct fake {
    struct fake *other; /* turned as well; NULL: none */
    uv_loop_t loop;
    struct node node;
    struct api *api;
    uint16_t port;
};

/* A committed transaction with two branches and a row. */
static inline void fake_view(struct node *node)
{
    as_buf_init(&node->results, 1 << 20);
    as_results_put_begin(&node->results, 1);
    as_results_put_statement(&node->results, 1, 1, 1);
    as_results_put_text(&node->results, (struct as_bytes){(const uint8_t *)"balance", 7});
    as_results_put_text(&node->results, (struct as_bytes){(const uint8_t *)"600", 3});
    assert_int_equal(node->results.err, AS_OK);
    node->branches[0] =
        (struct as_branch_view){1, "bank_a", AS_BRANCH_COMMITTED, as_buf_bytes(&node->results)};
    node->branches[1] = (struct as_branch_view){2, "bank_b", AS_BRANCH_COMMITTED, {NULL, 0}};
    node->view = (struct as_txn_view){.state = AS_TXN_COMMITTED,
                                      .applied = true,
                                      .attempt = {7, 42},
                                      .index = 1042,
                                      .created_ms = 1769860800000,
                                      .decided_ms = 1769860800004,
                                      .branch_count = 2,
                                      .branches = node->branches};
}

static inline void fake_open(struct fake *fake, const struct api_config *config)
{
    struct api_config plain = {.version = "0.1"};
    char error[256];

    memset(fake, 0, sizeof(*fake));
    if (config)
        plain = *config;
    (void)snprintf(plain.listen, sizeof(plain.listen), "127.0.0.1:0");
    assert_int_equal(uv_loop_init(&fake->loop), 0);
    assert_int_equal(api_new(&fake->api, &plain, &fake->loop, &fake->node, &fake->port, error),
                     AS_OK);
    fake->node.api = fake->api;
    fake_view(&fake->node);
}

static inline void fake_turn(struct fake *fake)
{
    for (struct fake *each = fake; each; each = each == fake ? fake->other : NULL) {
        (void)uv_run(&each->loop, UV_RUN_NOWAIT);
        api_turn_end(each->api);
        fake_deliver(&each->node);
    }
}

static inline void fake_close(struct fake *fake)
{
    api_free(fake->api);
    (void)uv_run(&fake->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fake->loop), 0);
    as_buf_close(&fake->node.results);
    fake_burn_letters(&fake->node);
}

/* `fake` follows `leader`, which leads; clients ask `fake`. */
static inline void fake_follow(struct fake *fake, struct fake *leader)
{
    fake->other = leader;
    fake->node.id_of_node = 2;
    fake->node.not_leading = true;
    fake->node.leader = &leader->node;
}

static inline void fake_reply_all(struct fake *fake)
{
    fake->node.answer = fake->node.answer == FAKE_LATER ? FAKE_AT_ONCE : fake->node.answer;
    while (fake->node.waiting_count)
        fake_reply(&fake->node, fake->node.waiting[--fake->node.waiting_count], fake->node.id);
}

/* Turns the loop until `condition` holds. */
#define FAKE_WAIT(fake, condition)                               \
    do {                                                         \
        time_t fake_began = time(NULL);                          \
        while (!(condition)) {                                   \
            if (time(NULL) - fake_began > FAKE_DEADLINE_S)       \
                fail_msg("waited too long for: %s", #condition); \
            fake_turn(fake);                                     \
        }                                                        \
    } while (0)

/* --- A client --- */

struct client {
    int fd;
    char *in;
    size_t len, cap;
    bool ended;
};

struct reply {
    int status;
    size_t head_len, len; /* of the whole */
    char head[4096];
    char *body; /* NUL-terminated; free it */
    size_t body_len;
};

static inline struct client client_open(const struct fake *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fake->port)};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_true(client.fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(client.fd, F_SETFL, O_NONBLOCK), 0);
    return client;
}

static inline void client_close(struct client *client)
{
    (void)close(client->fd);
    free(client->in);
}

/* Reads what has arrived. */
static inline void client_read(struct client *client)
{
    ssize_t got;

    do {
        if (client->cap - client->len < 65536) {
            client->cap = client->cap * 2 + 65537;
            client->in = realloc(client->in, client->cap);
            assert_non_null(client->in);
        }
        got = recv(client->fd, client->in + client->len, client->cap - client->len - 1, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            client->ended = true;
        if (got > 0)
            client->len += (size_t)got;
        client->in[client->len] = 0;
    } while (got > 0);
}

/* Sends all of it; stops early if the other side has closed. */
static inline void client_send(struct fake *fake, struct client *client, const char *data,
                               size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t n = send(client->fd, data + sent, len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return;
        sent += n > 0 ? (size_t)n : 0;
        fake_turn(fake);
    }
}

/* The value of a header in a reply, or NULL; valid until the next call. */
static inline const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[512];

    for (const char *line = reply->head; (line = strstr(line, "\r\n")); line += 2) {
        size_t len = strlen(name);

        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            const char *begin = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");

            (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(begin, "\r"), begin);
            return value;
        }
    }
    return NULL;
}

static inline bool reply_parse(struct client *client, bool head_only, struct reply *ret)
{
    const char *end = client->in ? strstr(client->in, "\r\n\r\n") : NULL;
    const char *length;

    if (!end)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->head_len = (size_t)(end - client->in) + 4;
    assert_true(ret->head_len < sizeof(ret->head));
    memcpy(ret->head, client->in, ret->head_len);
    assert_int_equal(sscanf(ret->head, "HTTP/1.1 %d", &ret->status), 1);
    length = reply_header(ret, "Content-Length");
    assert_non_null(length);
    ret->body_len = head_only ? 0 : strtoul(length, NULL, 10);
    if (client->len < ret->head_len + ret->body_len)
        return false;
    ret->body = calloc(1, ret->body_len + 1);
    assert_non_null(ret->body);
    memcpy(ret->body, client->in + ret->head_len, ret->body_len);
    client->len -= ret->head_len + ret->body_len;
    memmove(client->in, client->in + ret->head_len + ret->body_len, client->len);
    client->in[client->len] = 0;
    return true;
}

/* The next reply. */
static inline struct reply client_reply(struct fake *fake, struct client *client, bool head_only)
{
    struct reply reply;
    time_t began = time(NULL);

    for (;;) {
        client_read(client);
        if (reply_parse(client, head_only, &reply))
            return reply;
        if (client->ended || time(NULL) - began > FAKE_DEADLINE_S)
            fail_msg("no reply (connection %s, %zu bytes: %.200s)",
                     client->ended ? "ended" : "open", client->len, client->in);
        fake_turn(fake);
    }
}

static inline size_t request_text(char *ret_text, size_t size, const char *method, const char *path,
                                  const char *body)
{
    int len =
        body ? snprintf(ret_text, size,
                        "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                        "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        method, path, strlen(body), body)
             : snprintf(ret_text, size, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method, path);

    assert_true(len > 0 && (size_t)len < size);
    return (size_t)len;
}

/* With one more header line, which ends in CRLF. */
static inline void client_ask_with(struct fake *fake, struct client *client, const char *method,
                                   const char *path, const char *body, const char *header)
{
    char text[8192];
    size_t len = request_text(text, sizeof(text) - strlen(header), method, path, body);
    char *at = strstr(text, "\r\n") + 2;

    memmove(at + strlen(header), at, len - (size_t)(at - text));
    memcpy(at, header, strlen(header));
    client_send(fake, client, text, len + strlen(header));
}

static inline void client_ask(struct fake *fake, struct client *client, const char *method,
                              const char *path, const char *body)
{
    size_t size = (body ? strlen(body) : 0) + 4096;
    char *text = malloc(size);

    assert_non_null(text);
    client_send(fake, client, text, request_text(text, size, method, path, body));
    free(text);
}

/* One request on a connection of its own. */
static inline struct reply ask(struct fake *fake, const char *method, const char *path,
                               const char *body)
{
    struct client client = client_open(fake);
    struct reply reply;

    client_ask(fake, &client, method, path, body);
    reply = client_reply(fake, &client, strcmp(method, "HEAD") == 0);
    client_close(&client);
    return reply;
}

#endif
