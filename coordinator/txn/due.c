/*
 * One heap of deadlines for everything. Each step does a bounded part of what is due; the rest
 * stays due, so the next TIMER, with a deadline that has passed, goes on. Fault model: where memory
 * is short, what could not be done stays due.
 */
#include "coordinator/txn/core.h"

/* Deadlines handled, or messages sent, in one step. */
#define DUE_MAX 256u
/* A step makes no more objects with timers than this before they enter. */
#define TIMERS_AHEAD 4u

as_err txn_timer_reserve(struct txn *txn)
{
    size_t timers = (size_t)txn->drive.timers + TIMERS_AHEAD;

    return as_heap_reserve(&txn->drive.heap, timers - txn->drive.heap.count);
}

void txn_timer_set(struct txn *txn, struct txn_timer *timer, as_time at)
{
    txn_must(as_heap_set(&txn->drive.heap, &timer->node, at));
}

void txn_timer_soon(struct txn *txn, struct txn_timer *timer, as_time at)
{
    if (timer->node.slot == 0 || timer->node.at > at)
        txn_timer_set(txn, timer, at);
}

void txn_timer_stop(struct txn *txn, struct txn_timer *timer)
{
    as_heap_remove(&txn->drive.heap, &timer->node);
}

/* A run's voting time is up, and that of the clients that ride on it. */
static as_err due_run(struct txn *txn, struct txn_run *run)
{
    struct txn_link *link, *next;

    if (run->state == TXN_RUN_ACTIVE || run->state == TXN_RUN_PREPARING)
        return txn_abort_late(txn, run);
    if (txn_out_reserve(&txn->out, run->waiter_count,
                        run->waiter_count * txn_view_bytes(run->branch_count)))
        return AS_ERR_NOMEM;
    txn_timer_stop(txn, &run->timer);
    for (link = run->waiters.next; link != &run->waiters; link = next) {
        struct txn_waiter *waiter = TXN_OF(link, struct txn_waiter, link);

        next = link->next;
        if (waiter->rides)
            txn_waiter_expire(txn, waiter);
    }
    if (run->waiter_count == 0 && !txn_run_undecided(run))
        txn_run_drop_results(txn, run);
    return AS_OK;
}

static as_err due_waiter(struct txn *txn, struct txn_waiter *waiter)
{
    if (txn_out_reserve(&txn->out, 1, txn_view_bytes(waiter->run->branch_count)))
        return AS_ERR_NOMEM;
    txn_waiter_expire(txn, waiter);
    return AS_OK;
}

static as_err due_one(struct txn *txn, struct txn_timer *timer, uint32_t *budget)
{
    (*budget)--;
    switch (timer->kind) {
    case TXN_TIMER_RUN:
        return due_run(txn, TXN_OF(timer, struct txn_run, timer));
    case TXN_TIMER_WAITER:
        return due_waiter(txn, TXN_OF(timer, struct txn_waiter, timer));
    case TXN_TIMER_ACKNOWLEDGER:
        return txn_due_acknowledger(txn, TXN_OF(timer, struct txn_acknowledger, timer));
    case TXN_TIMER_RESEND:
        return txn_due_resend(txn, TXN_OF(timer, struct txn_participant, resend), budget);
    case TXN_TIMER_LAZY:
        return txn_due_lazy(txn, budget);
    case TXN_TIMER_DYING:
        return txn_due_dying(txn);
    case TXN_TIMER_SERVE:
        return txn_due_serve(txn);
    case TXN_TIMER_ADOPTED:
        return txn_due_adopted(txn);
    case TXN_TIMER_ASK:
        return txn_due_ask(txn, TXN_OF(timer, struct txn_ask, timer));
    }
    return AS_OK;
}

as_err txn_due(struct txn *txn)
{
    uint32_t budget = DUE_MAX;

    while (budget > 0 && as_heap_deadline(&txn->drive.heap) <= txn->now) {
        struct as_heap_node *node = as_heap_first(&txn->drive.heap);
        bool first = budget == DUE_MAX;
        as_err err = due_one(txn, TXN_OF(node, struct txn_timer, node), &budget);

        if (err)
            return first ? err : AS_OK;
    }
    return AS_OK;
}
