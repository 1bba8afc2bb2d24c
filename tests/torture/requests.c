/*
 * One request of a client and what its answer means, as docs/api.md has it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "inside.h"
#include "tests/support/http.h"

#define BODY_MAX 4096
#define TIMEOUT_MS \
    3000 /* of a transaction: two that wait for each other in different databases are ended by it */
#define ANSWER_MS 5000

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- Transfers --- */

static void split(struct as_rng *rng, struct transfer *transfer, uint64_t parts)
{
    uint64_t first = as_rng_below(rng, WORLD_DATABASES);
    int32_t sum = 0;

    for (uint64_t i = 0; i < parts; i++) {
        uint64_t at = (first + i) % WORLD_DATABASES;
        int32_t amount = 1 + (int32_t)as_rng_below(rng, 50);

        /* The others pay, the last one receives. */
        transfer->amount[at] = i + 1 == parts ? sum : -amount;
        transfer->account[at] = (uint16_t)(1 + as_rng_below(rng, WORLD_ACCOUNTS));
        sum += amount;
    }
}

uint64_t transfer_invent(struct requester *requester)
{
    struct transfer transfer = {0};
    struct as_rng *rng = &requester->rng;
    uint64_t kind = as_rng_below(rng, 100), wait = as_rng_below(rng, 10);

    transfer.kind = kind < 80   ? TRANSFER_PLAIN
                    : kind < 90 ? TRANSFER_READ_ONLY
                    : kind < 95 ? TRANSFER_FAILS
                                : TRANSFER_UNMET;
    transfer.wait = wait < 7 ? WAIT_APPLIED : wait < 9 ? WAIT_DECIDED : WAIT_NONE;
    split(rng, &transfer, transfer.kind == TRANSFER_READ_ONLY ? 2 : 2 + as_rng_below(rng, 2));
    return history_add_transfer(requester->world->history, &transfer);
}

uint64_t transfer_invent_probe(struct requester *requester)
{
    struct transfer transfer = {.kind = TRANSFER_PLAIN, .wait = WAIT_APPLIED};

    split(&requester->rng, &transfer, WORLD_DATABASES);
    return history_add_transfer(requester->world->history, &transfer);
}

static size_t branch_write(char *at, size_t size, const struct transfer *transfer, int database,
                           const char *id, bool first)
{
    int32_t amount = transfer->amount[database];
    int len;

    if (amount == 0)
        len = transfer->kind == TRANSFER_READ_ONLY
                  ? snprintf(at, size,
                             ",{\"participant\":\"bank_%c\",\"read_only\":true,\"statements\":["
                             "{\"sql\":\"SELECT count(*) FROM accounts\",\"expect_rows\":1}]}",
                             'a' + database)
                  : 0;
    else
        len = snprintf(at, size,
                       "%s{\"participant\":\"bank_%c\",\"statements\":["
                       "{\"sql\":\"UPDATE accounts SET balance = balance + $1 WHERE id = $2\","
                       "\"params\":[%d,%u],\"expect_rows\":1},"
                       "{\"sql\":\"INSERT INTO ledger (txn, account, amount) VALUES ($1, $2, $3)\","
                       "\"params\":[\"%s\",%u,%d],\"expect_rows\":%d}%s]}",
                       first ? "" : ",", 'a' + database, amount, transfer->account[database], id,
                       transfer->account[database], amount,
                       transfer->kind == TRANSFER_UNMET && amount > 0 ? 2 : 1,
                       transfer->kind == TRANSFER_FAILS && amount > 0 ? ",{\"sql\":\"SELECT 1/0\"}"
                                                                      : "");
    AS_ASSERT(len >= 0 && (size_t)len < size);
    return (size_t)len;
}

static void body_write(char body[BODY_MAX], const struct transfer *transfer, const char *id)
{
    static const char *const waits[] = {"applied", "decided", "none"};
    size_t len = (size_t)snprintf(body, BODY_MAX,
                                  "{\"id\":\"%s\",\"timeout_ms\":%d,\"wait\":\"%s\",\"branches\":[",
                                  id, TIMEOUT_MS, waits[transfer->wait]);
    bool first = true;

    /* Those that write come first: a read-only branch begins with a comma. */
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < WORLD_DATABASES; i++)
            if ((transfer->amount[i] != 0) == (round == 0)) {
                len += branch_write(body + len, BODY_MAX - len, transfer, i, id, first);
                first = false;
            }
    AS_ASSERT(snprintf(body + len, BODY_MAX - len, "]}") == 2);
}

/* --- Answers --- */

static enum op_result state_result(const char *state)
{
    if (strcmp(state, "committed") == 0)
        return RESULT_COMMITTED;
    if (strcmp(state, "aborted") == 0)
        return RESULT_ABORTED;
    return strcmp(state, "active") == 0 || strcmp(state, "preparing") == 0 ? RESULT_UNDER_WAY
                                                                           : RESULT_ODD;
}

static enum op_result post_result(const struct answer *answer)
{
    enum op_result result = state_result(answer_text(answer, "state"));

    switch (answer->status) {
    case 0:
        return RESULT_UNKNOWN;
    case 200:
        return result == RESULT_COMMITTED ? result : RESULT_ODD;
    case 202:
        return result == RESULT_COMMITTED || result == RESULT_UNDER_WAY ? result : RESULT_ODD;
    case 409:
        return result == RESULT_ABORTED ? result : RESULT_ODD;
    case 429:
    case 503:
        return strcmp(answer_text(answer, "code"), "outcome_unknown") == 0 ? RESULT_UNKNOWN
                                                                           : RESULT_REFUSED;
    default:
        return RESULT_ODD;
    }
}

static enum op_result get_result(const struct answer *answer)
{
    switch (answer->status) {
    case 0:
    case 429:
    case 503:
        return RESULT_UNKNOWN;
    case 200:
        return state_result(answer_text(answer, "state"));
    case 404:
        return strcmp(answer_text(answer, "code"), "not_found") == 0 ? RESULT_NOT_FOUND
                                                                     : RESULT_ODD;
    default:
        return RESULT_ODD;
    }
}

static void take_text(char *ret_text, size_t size, const struct answer *answer, const char *path)
{
    if (!ret_text[0])
        (void)snprintf(ret_text, size, "%s", answer_text(answer, path));
}

static void record(const struct requester *requester, const struct answer *answer, struct op *op,
                   const char *id)
{
    struct world *world = requester->world;

    op->returned_ns = now_ns();
    op->client = requester->number;
    op->status = (uint16_t)answer->status;
    op->applied = strcmp(answer_text(answer, "applied"), "true") == 0;
    take_text(op->attempt, sizeof(op->attempt), answer, "attempt");
    take_text(op->reason, sizeof(op->reason), answer, "reason.code");
    take_text(op->reason, sizeof(op->reason), answer, "code");
    history_add_op(world->history, op);
    if (op->result == RESULT_ODD)
        (void)world_fail(world, "node-%d answers %s of %s with HTTP %d: %.300s", op->node + 1,
                         op->kind == OP_POST ? "a POST" : "a GET", id, op->status,
                         answer->body ? answer->body : "");
}

enum op_result request_post(const struct requester *requester, uint64_t transfer, int node,
                            struct op *ret_op)
{
    struct history *history = requester->world->history;
    struct op op = {.transfer = transfer, .kind = OP_POST, .node = (uint8_t)node};
    char id[65], body[BODY_MAX];
    struct transfer what;
    struct answer answer;

    (void)pthread_mutex_lock(&history->lock);
    what = history->transfers[transfer];
    (void)pthread_mutex_unlock(&history->lock);
    history_id(history, transfer, id);
    body_write(body, &what, id);
    op.invoked_ns = now_ns();
    http_at(requester->world->nodes[node].api, NULL, "/v1/transactions", body, ANSWER_MS, &answer);
    op.result = (uint8_t)post_result(&answer);
    record(requester, &answer, &op, id);
    answer_free(&answer);
    if (ret_op)
        *ret_op = op;
    return (enum op_result)op.result;
}

enum op_result request_get(const struct requester *requester, uint64_t transfer, int node,
                           int wait_ms, struct op *ret_op)
{
    struct op op = {.transfer = transfer, .kind = OP_GET, .node = (uint8_t)node};
    char id[65], path[128];
    struct answer answer;

    history_id(requester->world->history, transfer, id);
    (void)snprintf(path, sizeof(path), "/v1/transactions/%s?wait_ms=%d", id, wait_ms);
    op.invoked_ns = now_ns();
    http_at(requester->world->nodes[node].api, NULL, path, NULL, ANSWER_MS, &answer);
    op.result = (uint8_t)get_result(&answer);
    record(requester, &answer, &op, id);
    answer_free(&answer);
    if (ret_op)
        *ret_op = op;
    return (enum op_result)op.result;
}
