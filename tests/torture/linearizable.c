/*
 * The history's view of linear.h: every id is an object of its own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "assent/limits.h"
#include "history.h"
#include "linear.h"

static enum linear_answer answer_of(uint8_t result)
{
    switch ((enum op_result)result) {
    case RESULT_COMMITTED:
        return LINEAR_COMMITTED;
    case RESULT_ABORTED:
        return LINEAR_ABORTED;
    case RESULT_UNDER_WAY:
        return LINEAR_UNDER_WAY;
    case RESULT_NOT_FOUND:
        return LINEAR_NOT_FOUND;
    case RESULT_REFUSED:
        return LINEAR_REFUSED;
    case RESULT_UNKNOWN:
    case RESULT_ODD: /* fails the run by itself */
        break;
    }
    return LINEAR_UNKNOWN;
}

static struct linear_op linear_of(const struct op *op, size_t place)
{
    struct linear_op linear = {
        .called = op->invoked_ns,
        .returned = op->returned_ns,
        .kind = op->kind == OP_POST ? LINEAR_POST : LINEAR_GET,
        .answer = answer_of(op->result),
        .place = place,
    };

    if (sscanf(op->attempt, "%" SCNu64 ".%" SCNu64, &linear.attempt.term, &linear.attempt.seq) != 2)
        linear.attempt = (struct as_attempt){0, 0};
    return linear;
}

struct by_id {
    uint64_t transfer;
    struct linear_op op;
};

static int compare(const void *a, const void *b)
{
    const struct by_id *x = a, *y = b;

    if (x->transfer != y->transfer)
        return x->transfer < y->transfer ? -1 : 1;
    return x->op.place < y->op.place ? -1 : x->op.place > y->op.place;
}

static bool told(const struct history *history, enum linear_verdict verdict, size_t place,
                 const char *why, char *ret_why, size_t size)
{
    const struct op *op = &history->ops[place];
    char id[AS_ID_LEN_MAX + 1];

    if (verdict == LINEAR_HOLDS)
        return true;
    history_id(history, op->transfer, id);
    snprintf(
        ret_why, size,
        "%s is not linearizable: %s (its %s by client %u at node %u, status %u attempt %s, from "
        "%" PRId64 " to %" PRId64 ")",
        id, why, op->kind == OP_POST ? "POST" : "GET", op->client, op->node + 1u, op->status,
        op->attempt[0] ? op->attempt : "none", op->invoked_ns, op->returned_ns);
    return false;
}

static bool check_sorted(const struct history *history, const struct by_id *all,
                         struct linear_op *ops, char *ret_why, size_t size)
{
    for (size_t begin = 0, end; begin < history->op_count; begin = end) {
        enum linear_verdict verdict;
        char why[256];
        size_t place;

        for (end = begin; end < history->op_count && all[end].transfer == all[begin].transfer;
             end++)
            ops[end - begin] = all[end].op;
        verdict = linear_check(ops, end - begin, &place, why);
        if (!told(history, verdict, place, why, ret_why, size))
            return false;
    }
    return true;
}

bool history_linearizable(const struct history *history, char *ret_why, size_t size)
{
    struct by_id *all = calloc(history->op_count + 1, sizeof(*all));
    struct linear_op *ops = calloc(history->op_count + 1, sizeof(*ops));
    bool holds = all && ops;

    if (!holds)
        snprintf(ret_why, size, "out of memory");
    for (size_t i = 0; holds && i < history->op_count; i++)
        all[i] = (struct by_id){history->ops[i].transfer, linear_of(&history->ops[i], i)};
    if (holds) {
        qsort(all, history->op_count, sizeof(*all), compare);
        holds = check_sorted(history, all, ops, ret_why, size);
    }
    free(all);
    free(ops);
    return holds;
}
