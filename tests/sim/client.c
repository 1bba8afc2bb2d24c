/*
 * Clients: they move money between databases, ask again with the same id, at the same time, with another body, forget to
 * wait; and every answer is put before the oracles.
 */
#include <stdlib.h>

#include "assent/map.h"
#include "assent/work.h"
#include "observe.h"
#include "sim.h"

#define ANSWER_MARGIN (40 * AS_SECOND) /* beyond the time allowed: pauses and slow disks */
#define REQUESTS_MAX 800   /* of one seed: many short seeds find more than few long ones */
#define SHORT_DELTA 100000 /* no account has so much */

struct sim_client {
    struct sim *sim;
    uint32_t index;
    struct sim_txn *again; /* to be asked again */
    uint64_t session;      /* the highest index that it has seen (docs/consistency.md) */
};

/* --- Transactions --- */

struct sim_txn *txn_of_id(struct sim *sim, const char *id)
{
    for (struct sim_txn *txn = sim->txns; txn; txn = txn->next) {
        if (strcmp(txn->id, id) == 0)
            return txn;
    }
    return NULL;
}

static void make_id(struct sim *sim, struct sim_txn *txn)
{
    uint64_t ms = 1700000000000u + (uint64_t)(sim->now / AS_MS), noise = as_rng_next(&sim->rng);

    if (sim->plan.uuids)
        snprintf(txn->id, sizeof txn->id, "%08llx-%04llx-7%03llx-8%03llx-%012llx",
                 (unsigned long long)(ms >> 16), (unsigned long long)(ms & 0xffff),
                 (unsigned long long)(noise & 0xfff), (unsigned long long)(noise >> 12 & 0xfff),
                 (unsigned long long)(noise >> 24 & 0xffffffffff));
    else
        snprintf(txn->id, sizeof txn->id, "order-%u", sim->txn_count);
}

static void add_statement(struct sim *sim, struct sim_body *body, uint32_t branch, int64_t delta)
{
    uint32_t at = body->branches[branch].statement_count++;

    body->branches[branch].statements[at].account = (uint32_t)sim_below(sim, SIM_ACCOUNTS);
    body->branches[branch].statements[at].delta = delta;
    body->branches[branch].statements[at].expect = delta < 0 || sim_percent(sim, 50);
}

/* Money out of one branch and into the others; some only look. */
static void draw_branches(struct sim *sim, struct sim_body *body)
{
    uint32_t writers = (uint32_t)sim_between(sim, 1, 3), readers = 0;
    int64_t left = sim_between(sim, 1, 30);
    bool lacks = sim_percent(sim, sim->plan.short_percent);

    if (sim_percent(sim, sim->plan.read_percent))
        readers = (uint32_t)sim_between(sim, 1, SIM_BRANCHES_MAX - writers);
    if (readers > 0 && sim_percent(sim, 20))
        writers = 0;
    body->branch_count = writers + readers;
    for (uint32_t i = 0; i < body->branch_count; i++) {
        body->branches[i].db = (uint32_t)((sim_below(sim, 100) < 90 ? i : 0) % sim->plan.dbs);
        body->branches[i].read_only = i >= writers;
        if (i >= writers)
            add_statement(sim, body, i, 0);
    }
    if (writers == 1) {
        add_statement(sim, body, 0, -left);
        add_statement(sim, body, 0, left);
    } else if (writers > 1) {
        add_statement(sim, body, 0, lacks ? -SHORT_DELTA : -left);
        add_statement(sim, body, 1, lacks ? SHORT_DELTA : writers == 3 ? left / 2 : left);
        if (writers == 3)
            add_statement(sim, body, 2, lacks ? 0 : left - left / 2);
    }
}

/* The number of the transaction and of the body stand in the text, so that a branch's work is of one body only. */
static void encode_branch(struct sim *sim, struct sim_body *body, uint32_t i, uint32_t variant)
{
    uint32_t count = body->branches[i].statement_count;
    char sql[160], account[16], delta[32];
    struct as_buf buf;
    uint8_t *copy;

    as_buf_init(&buf, 65536);
    as_work_put_begin(&buf, (enum as_isolation)sim_below(sim, 3), body->branches[i].read_only,
                      count);
    for (uint32_t s = 0; s < count; s++) {
        snprintf(
            sql, sizeof sql, "%s /* %u.%u.%u */",
            body->branches[i].read_only
                ? "SELECT balance FROM accounts WHERE id = $1"
                : "UPDATE accounts SET balance = balance + $2 WHERE id = $1 AND balance + $2 >= 0",
            sim->txn_count, variant, i);
        snprintf(account, sizeof account, "%u", body->branches[i].statements[s].account);
        snprintf(delta, sizeof delta, "%lld", (long long)body->branches[i].statements[s].delta);
        as_work_put_statement(&buf, (struct as_bytes){(const uint8_t *)sql, strlen(sql)},
                              body->branches[i].statements[s].expect ? 1 : AS_EXPECT_NONE,
                              body->branches[i].read_only ? 1 : 2);
        as_work_put_param(&buf, (struct as_bytes){(const uint8_t *)account, strlen(account)});
        if (!body->branches[i].read_only)
            as_work_put_param(&buf, (struct as_bytes){(const uint8_t *)delta, strlen(delta)});
    }
    AS_ASSERT(!buf.err);
    copy = sim_alloc(sim, buf.len);
    memcpy(copy, buf.data, buf.len);
    body->branches[i].work = (struct as_bytes){copy, buf.len};
    as_buf_close(&buf);
}

static void make_body(struct sim *sim, struct sim_body *body, uint32_t variant)
{
    uint64_t hash[AS_HASH_LEN / 8] = {variant, sim->txn_count};

    draw_branches(sim, body);
    for (uint32_t i = 0; i < body->branch_count; i++)
        encode_branch(sim, body, i, variant);
    hash[2] = as_hash(hash, sizeof hash, sim->seed);
    memcpy(body->hash, hash, sizeof body->hash);
}

static struct sim_txn *txn_make(struct sim *sim)
{
    struct sim_txn *txn = sim_alloc(sim, sizeof *txn);

    sim->txn_count++;
    make_id(sim, txn);
    for (uint32_t variant = 0; variant < 2; variant++)
        make_body(sim, &txn->bodies[variant], variant);
    txn->next = sim->txns;
    sim->txns = txn;
    return txn;
}

/* --- Requests --- */

static void acts(struct sim *sim, const struct sim_event *event);

static void act_later(struct sim_client *client)
{
    struct sim *sim = client->sim;

    sim_at(sim, sim->now + sim_latency(sim, 2 * sim->plan.think), NULL, acts, client, 0, 0);
}

static void drop(struct sim *sim, struct sim_request *request)
{
    struct sim_request **at = &sim->requests;

    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
}

/* No answer: the connection has failed. Most ask again. */
void request_failed(struct sim_request *request)
{
    struct sim *sim = request->node->sim;

    drop(sim, request);
    request->gone = true;
    if (!request->asker)
        return;
    if (sim_percent(sim, 70))
        request->asker->again = request->txn;
    act_later(request->asker);
}

void request_answered(struct sim_request *request, bool committed)
{
    struct sim *sim = request->node->sim;

    drop(sim, request);
    request->gone = true;
    if (!request->asker)
        return;
    if (!committed && sim_percent(sim, 40))
        request->asker->again = request->txn;
    act_later(request->asker);
}

static void loses_patience(struct sim *sim, const struct sim_event *event)
{
    struct sim_request *request = event->what;

    if (request->gone)
        return;
    SIM_CHECK(sim, "answer", event->a, "a request for %s was not answered in its time",
              request->txn->id);
    SIM_SAY(sim, 2, "a client does not wait for %s any more", request->txn->id);
    if (proc_alive(request->node) && request->node->life == request->life) {
        node_forget(request->node->node, request->client);
        proc_after(request->node);
    }
    request_failed(request);
}

static uint32_t draw_timeout(struct sim *sim)
{
    return (uint32_t)sim_between(sim, 50, (as_time)sim->plan.timeout_max_ms);
}

void request_give(struct as_env *env, struct sim_request *request)
{
    const struct sim_body *body = &request->txn->bodies[request->variant];
    struct as_submit_branch branches[SIM_BRANCHES_MAX];
    struct as_submit submit = {.timeout_ms = request->timeout_ms,
                               .wait = request->wait,
                               .branch_count = body->branch_count,
                               .branches = branches};

    if (request->get) {
        node_get(env->node, request->client, request->txn->id, request->timeout_ms, request->read,
                 request->session);
        return;
    }
    memcpy(submit.id, request->txn->id, sizeof submit.id);
    memcpy(submit.body_hash, body->hash, AS_HASH_LEN);
    for (uint32_t i = 0; i < body->branch_count; i++) {
        const char *name = env->sim->dbs[body->branches[i].db].name;

        branches[i] = (struct as_submit_branch){{(const uint8_t *)name, strlen(name)},
                                                body->branches[i].read_only,
                                                body->branches[i].work};
    }
    node_submit(env->node, request->client, &submit);
}

static void arrives(struct sim *sim, const struct sim_event *event)
{
    struct sim_request *request = event->what;

    if (request->gone)
        return;
    sim_mix(sim, 'q', request->client);
    if (!pass_on(request->node, request))
        request_give(request->node, request);
    proc_after(request->node);
}

static void not_reached(struct sim *sim, const struct sim_event *event)
{
    struct sim_request *request = event->what;

    (void)sim;
    if (!request->gone)
        request_failed(request);
}

/* Most know who leads; after healing nearly all of them. */
static struct as_env *node_to_ask(struct sim *sim)
{
    bool asks_leader = !sim_percent(sim, sim->healed ? 20 : sim->plan.wander);
    struct node_info info;

    for (uint32_t i = 0; i < sim->node_count && asks_leader; i++) {
        if (!proc_alive(&sim->procs[i]))
            continue;
        node_info(sim->procs[i].node, &info);
        if (info.leading)
            return &sim->procs[i];
    }
    return &sim->procs[sim_below(sim, sim->node_count)];
}

static struct sim_request *ask(struct sim *sim, struct sim_client *asker, struct sim_txn *txn,
                               uint32_t variant, bool get)
{
    struct sim_request *request = sim_alloc(sim, sizeof *request);
    as_time at = sim->now + sim_latency(sim, 2 * sim->plan.net_max), patience;
    enum node_read read = asker && get && sim_percent(sim, 50)
                              ? sim_percent(sim, 50) ? NODE_READ_SESSION : NODE_READ_EVENTUAL
                              : NODE_READ_LINEARIZABLE;
    struct as_env *node = node_to_ask(sim);
    uint32_t timeout_ms = draw_timeout(sim);
    bool forgets = asker && sim_strikes_in(sim, SIM_CLIENT_FORGETS, 15);

    *request = (struct sim_request){.client = ++sim->request_last,
                                    .txn = txn,
                                    .variant = variant,
                                    .get = get,
                                    .read = read,
                                    .session = asker ? asker->session : 0,
                                    .timeout_ms = timeout_ms,
                                    .wait = (enum as_wait)sim_below(sim, 3),
                                    .settled = sim->healed,
                                    .node = node,
                                    .life = node->life,
                                    .sent_at = sim->now,
                                    .asker = asker,
                                    .next = sim->requests};
    sim->requests = request;
    txn->requests++;
    SIM_SAY(sim, 1, "a client %s %s, body %u, at %s, %s %llu", get ? "asks for" : "submits",
            txn->id, variant, node->name,
            read == NODE_READ_SESSION    ? "having seen"
            : read == NODE_READ_EVENTUAL ? "eventually,"
                                         : "linearizably,",
            (unsigned long long)request->session);
    if (!proc_alive(node)) {
        sim_at(sim, at, NULL, not_reached, request, 0, 0);
        return request;
    }
    patience = forgets ? sim_latency(sim, 4 * sim->plan.net_max + timeout_ms * AS_MS)
                       : timeout_ms * AS_MS + ANSWER_MARGIN;
    sim_at(sim, at, node, arrives, request, 0, 0);
    sim_at(sim, sim->now + patience, NULL, loses_patience, request, forgets, 0);
    return request;
}

void client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    struct sim *sim = env->sim;
    struct sim_request *request = sim->requests;
    uint64_t token;

    if (operator_reply(env, client, reply))
        return;
    while (request && !(request->client == client && request->node == env))
        request = request->next;
    SIM_CHECK(sim, "answer", request, "%s answers a request for %s that nobody waits for",
              env->name, reply->id);
    SIM_SAY(sim, 1, "%s answers %s: %s", env->name, reply->id,
            reply->refused ? "refused" : as_txn_state_text(reply->view->state));
    sim_mix(sim, client,
            reply->refused ? 100 + (uint64_t)reply->refusal : (uint64_t)reply->view->state);
    sim->counts.replies++;
    token = observe_reply(env, request, reply);
    if (request->origin) {
        pass_answer(env, request, reply);
        drop(sim, request);
        return;
    }
    if (request->asker && token > request->asker->session)
        request->asker->session = token;
    request_answered(request, !reply->refused && reply->view->state == AS_TXN_COMMITTED);
}

void clients_node_died(struct as_env *env)
{
    struct sim *sim = env->sim;
    struct sim_request *request = sim->requests, *next;

    for (; request; request = next) {
        next = request->next;
        if (request->node != env || request->gone)
            continue;
        if (request->origin)
            drop(sim, request); /* its asker hears of the lost link */
        else
            sim_at(sim, sim->now + sim_latency(sim, AS_SECOND), NULL, not_reached, request, 0, 0);
    }
}

/* --- What a client does next --- */

static struct sim_txn *known_txn(struct sim *sim)
{
    uint64_t back = sim_below(sim, sim->txn_count < 12 ? sim->txn_count : 12);
    struct sim_txn *txn = sim->txns;

    if (sim_percent(sim, 15)) /* or a very old one */
        back = sim_below(sim, sim->txn_count);
    while (back-- > 0)
        txn = txn->next;
    return txn;
}

static void acts(struct sim *sim, const struct sim_event *event)
{
    struct sim_client *client = event->what;
    struct sim_txn *again = client->again;
    bool known = sim->txns != NULL;

    client->again = NULL;
    if (sim_percent(sim, 10)) { /* somebody tells what he has seen, and with it his token */
        const struct sim_client *other = &sim->clients[sim_below(sim, sim->plan.clients)];

        if (other->session > client->session)
            client->session = other->session;
    }
    if (sim->healed || sim->request_last >= REQUESTS_MAX)
        return;
    if (again)
        ask(sim, client, again, 0, sim_percent(sim, 25));
    else if (known && sim_strikes_in(sim, SIM_CLIENT_CHANGES, 15))
        ask(sim, client, known_txn(sim), 1, false);
    else if (known && sim_strikes_in(sim, SIM_CLIENT_REPEATS, 20))
        ask(sim, client, known_txn(sim), 0, false);
    else if (known && sim_percent(sim, 8))
        ask(sim, client, known_txn(sim), 0, true);
    else
        ask(sim, client, txn_make(sim), 0, false);
}

void clients_start(struct sim *sim)
{
    sim->clients = sim_alloc(sim, sim->plan.clients * sizeof *sim->clients);
    for (uint32_t i = 0; i < sim->plan.clients; i++) {
        sim->clients[i].sim = sim;
        sim->clients[i].index = i;
        act_later(&sim->clients[i]);
    }
}

void clients_ask_all(struct sim *sim)
{
    for (struct sim_txn *txn = sim->txns; txn; txn = txn->next)
        ask(sim, NULL, txn, txn->committed ? txn->committed->variant : 0,
            !txn->committed || !rule_r9_kept(sim, txn->committed) || sim_percent(sim, 50));
}

bool clients_waiting(const struct sim *sim)
{
    return sim->requests != NULL;
}
