/*
 * Transactions as clients see them, and the lists of them. Nothing here changes anything. Fault
 * model: none; a view's memory is reserved before it is made.
 */
#include <string.h>

#include "coordinator/txn/core.h"

size_t txn_view_bytes(uint32_t branch_count)
{
    return TXN_ALIGN(sizeof(struct as_txn_view)) + TXN_ALIGN(sizeof(struct as_reason)) +
           TXN_ALIGN(branch_count * sizeof(struct as_branch_view)) + 16;
}

/* --- Of a run --- */

static enum as_txn_state run_state(const struct txn_run *run)
{
    switch (run->state) {
    case TXN_RUN_NONE:
    case TXN_RUN_ACTIVE:
        return AS_TXN_ACTIVE;
    case TXN_RUN_PREPARING:
    case TXN_RUN_DECIDING: /* until the decision is durable */
        return AS_TXN_PREPARING;
    case TXN_RUN_ABORTING:
        return AS_TXN_ABORTED;
    default: /* GONE is shown when it only read and is over */
        return AS_TXN_COMMITTED;
    }
}

static enum as_branch_state branch_state(const struct txn_run *run, const struct txn_branch *branch)
{
    const struct txn_outcome_branch *recorded = NULL;

    if (run->state == TXN_RUN_ABORTING)
        return AS_BRANCH_ABORTED;
    if (run->outcome && run->outcome->heuristics > 0)
        recorded = txn_outcome_branch(run->outcome, branch->number);
    if (recorded && recorded->heuristic)
        return (enum as_branch_state)recorded->heuristic;
    switch ((enum txn_branch_state)branch->state) {
    case TXN_BRANCH_PREPARED:
    case TXN_BRANCH_COMMITTING:
        return AS_BRANCH_PREPARED;
    case TXN_BRANCH_READ:
        return AS_BRANCH_READ_ONLY;
    case TXN_BRANCH_DONE:
        return AS_BRANCH_COMMITTED;
    default:
        return AS_BRANCH_ACTIVE;
    }
}

static const char *participant_name(const struct txn_run *run, uint32_t i)
{
    if (run->branches[i].participant)
        return run->branches[i].participant->name;
    return run->names ? (const char *)run->names->data + (size_t)i * (AS_PARTICIPANT_LEN_MAX + 1)
                      : "?";
}

/* `branches` has room for all of them. */
static void fill_run(const struct txn_run *run, struct as_txn_view *view,
                     struct as_branch_view *branches)
{
    *view = (struct as_txn_view){
        .id = run->id,
        .state = run_state(run),
        .applied = run->state == TXN_RUN_FINISHED || run->state == TXN_RUN_GONE,
        .attempt = run->attempt,
        .index = run->index,
        .created_ms = run->created_ms,
        .decided_ms = txn_run_undecided(run) ? 0 : run->decided_ms,
        .branch_count = run->branch_count,
        .branches = branches,
        .reason = run->reason ? txn_reason(run->reason) : NULL,
    };
    for (uint32_t i = 0; i < run->branch_count; i++) {
        const struct txn_branch *branch = &run->branches[i];
        const struct txn_blob *results = view->state == AS_TXN_ABORTED ? NULL : branch->results;

        branches[i] = (struct as_branch_view){
            .number = branch->number,
            .participant = participant_name(run, i),
            .state = branch_state(run, branch),
        };
        if (results)
            branches[i].results = (struct as_bytes){results->data, results->len};
    }
}

struct as_txn_view *txn_view_run(struct txn *txn, const struct txn_run *run)
{
    struct as_txn_view *view = txn_out_bytes(&txn->out, sizeof(*view));
    struct as_branch_view *branches =
        txn_out_bytes(&txn->out, run->branch_count * sizeof(*branches));

    fill_run(run, view, branches);
    return view;
}

/* --- Of an outcome --- */

static enum as_branch_state recorded_state(const struct txn_outcome *outcome,
                                           const struct txn_outcome_branch *branch)
{
    if (branch->heuristic)
        return (enum as_branch_state)branch->heuristic;
    if (!outcome->committed)
        return AS_BRANCH_ABORTED;
    return outcome->finished || outcome->acknowledged ? AS_BRANCH_COMMITTED : AS_BRANCH_PREPARED;
}

static void fill_outcome(const struct txn *txn, const struct txn_outcome *outcome,
                         struct as_txn_view *view, struct as_branch_view *branches,
                         struct as_reason *reason)
{
    *view = (struct as_txn_view){
        .id = outcome->id,
        .state = outcome->committed ? AS_TXN_COMMITTED : AS_TXN_ABORTED,
        .applied = outcome->finished,
        .attempt = outcome->attempt,
        .index = outcome->committed ? outcome->index : 0,
        .created_ms = outcome->created_ms,
        .decided_ms = outcome->decided_ms,
        .branch_count = outcome->branch_count,
        .branches = branches,
    };
    for (uint32_t i = 0; i < outcome->branch_count; i++) {
        const struct txn_outcome_branch *branch = &outcome->branches[i];

        branches[i] = (struct as_branch_view){
            .number = branch->number,
            .participant = txn->table.participants[branch->participant]->name,
            .state = recorded_state(outcome, branch),
        };
    }
    if (!outcome->committed) {
        txn_why_reason(outcome->why, reason);
        view->reason = reason;
    }
}

struct as_txn_view *txn_view_outcome(struct txn *txn, const struct txn_outcome *outcome)
{
    struct as_txn_view *view = txn_out_bytes(&txn->out, sizeof(*view));
    struct as_branch_view *branches =
        txn_out_bytes(&txn->out, outcome->branch_count * sizeof(*branches));
    struct as_reason *reason =
        outcome->committed ? NULL : txn_out_bytes(&txn->out, sizeof(*reason));

    fill_outcome(txn, outcome, view, branches, reason);
    return view;
}

as_err txn_view(struct txn *txn, const char *id, struct as_txn_view *ret_view)
{
    const struct txn_run *run = txn_run_by_id(txn, id);
    const struct txn_outcome *outcome = run ? NULL : txn_outcome_by_id(txn, id);

    if (!run && !outcome)
        return AS_ERR_NOTFOUND;
    if (txn_out_reserve(&txn->out, 0,
                        txn_view_bytes(run ? run->branch_count : outcome->branch_count)))
        return AS_ERR_NOMEM;
    *ret_view = run ? *txn_view_run(txn, run) : *txn_view_outcome(txn, outcome);
    return AS_OK;
}

/* --- Lists --- */

/* One call looks at no more outcomes than this; the cursor goes on from there. */
#define LIST_LOOKS_MAX 20000u
/* A cursor is the index of the last one shown, or of an undecided one this and its number. */
#define CURSOR_RUN ((uint64_t)1 << 63)

struct listing {
    struct txn *txn;
    const struct txn_list_query *query;
    void (*each)(void *ctx, const struct as_txn_view *view);
    void *ctx;
    uint32_t shown, looks;
    struct as_txn_view view;
    struct as_branch_view branches[AS_BRANCHES_MAX];
    struct as_reason reason;
};

static bool state_wanted(const struct listing *list)
{
    const struct as_txn_view *view = &list->view;

    switch (list->query->state) {
    case TXN_LIST_ANY:
        return true;
    case TXN_LIST_ACTIVE:
        return view->state == AS_TXN_ACTIVE;
    case TXN_LIST_PREPARING:
        return view->state == AS_TXN_PREPARING;
    case TXN_LIST_COMMITTED:
        return view->state == AS_TXN_COMMITTED;
    case TXN_LIST_ABORTED:
        return view->state == AS_TXN_ABORTED;
    case TXN_LIST_PENDING:
        return view->state == AS_TXN_COMMITTED && !view->applied;
    case TXN_LIST_HEURISTIC:
        return true; /* only those are walked */
    }
    return false;
}

static bool participant_wanted(const struct listing *list)
{
    const char *name = list->query->participant;

    if (!name)
        return true;
    for (uint32_t i = 0; i < list->view.branch_count; i++) {
        if (strcmp(list->view.branches[i].participant, name) == 0)
            return true;
    }
    return list->view.reason && strcmp(list->view.reason->participant, name) == 0;
}

/* False when the page is full. */
static bool show(struct listing *list)
{
    if (!state_wanted(list) || !participant_wanted(list))
        return true;
    list->each(list->ctx, &list->view);
    return ++list->shown < list->query->limit;
}

static bool list_runs(struct listing *list, uint64_t after, uint64_t *ret_next)
{
    struct txn_link *head = &list->txn->drive.live;

    for (struct txn_link *link = head->prev; link != head; link = link->prev) {
        const struct txn_run *run = TXN_OF(link, struct txn_run, live);

        if (after && run->attempt.seq >= (after & ~CURSOR_RUN))
            continue;
        fill_run(run, &list->view, list->branches);
        if (!show(list)) {
            *ret_next = CURSOR_RUN | run->attempt.seq;
            return false;
        }
    }
    return true;
}

static void fill_listed(struct listing *list, const struct txn_outcome *outcome)
{
    const struct txn_run *run =
        outcome->finished ? NULL : txn_run_by_attempt(list->txn, outcome->attempt);

    if (run && run->outcome) /* the leader knows more than the table */
        fill_run(run, &list->view, list->branches);
    else
        fill_outcome(list->txn, outcome, &list->view, list->branches, &list->reason);
}

/* False when the page is full: *ret_next is where the next one goes on. */
static bool list_outcome(struct listing *list, const struct txn_outcome *outcome,
                         uint64_t *ret_next)
{
    fill_listed(list, outcome);
    if (show(list) && ++list->looks < LIST_LOOKS_MAX)
        return true;
    *ret_next = outcome->index;
    return false;
}

/* Of the open ones only: committed and not finished, or with a branch that waits for an operator. */
static void list_open(struct listing *list, uint64_t after, uint64_t *ret_next)
{
    struct txn_link *head = &list->txn->table.open;

    for (struct txn_link *link = head->prev; link != head; link = link->prev) {
        const struct txn_outcome *outcome = TXN_OF(link, struct txn_outcome, open);

        if ((after && outcome->index >= after) ||
            (list->query->state == TXN_LIST_HEURISTIC && outcome->waiting == 0))
            continue;
        if (!list_outcome(list, outcome, ret_next))
            return;
    }
}

/* From `link` backwards: the next one in the ring before `after`. */
static struct txn_outcome *ring_before(struct txn *txn, struct txn_link *link, uint64_t after)
{
    for (; link != &txn->table.ring; link = link->prev) {
        struct txn_outcome *outcome = TXN_OF(link, struct txn_outcome, ring);

        if (!after || outcome->index < after)
            return outcome;
    }
    return NULL;
}

/* The same of those that are open and have left the ring. */
static struct txn_outcome *rest_before(struct txn *txn, struct txn_link *link, uint64_t after)
{
    for (; link != &txn->table.open; link = link->prev) {
        struct txn_outcome *outcome = TXN_OF(link, struct txn_outcome, open);

        if (!txn_link_in(&outcome->ring) && (!after || outcome->index < after))
            return outcome;
    }
    return NULL;
}

/* Everything that is decided, newest first: the ring, merged with what had to leave it open. */
static void list_decided(struct listing *list, uint64_t after, uint64_t *ret_next)
{
    struct txn *txn = list->txn;
    struct txn_table *table = &txn->table;
    struct txn_outcome *ring, *rest;

    /* Where the last page ended, if it is still there: deep pages need no walk. */
    ring = ring_before(txn,
                       after && table->page_at && table->page_at->index == after
                           ? &table->page_at->ring
                           : table->ring.prev,
                       after);
    rest = rest_before(txn, table->open.prev, after);
    while (ring || rest) {
        bool from_ring = !rest || (ring && ring->index > rest->index);
        struct txn_outcome *outcome = from_ring ? ring : rest;

        if (!list_outcome(list, outcome, ret_next)) {
            table->page_at = from_ring ? outcome : NULL;
            return;
        }
        if (from_ring)
            ring = ring_before(txn, ring->ring.prev, 0);
        else
            rest = rest_before(txn, rest->open.prev, 0);
    }
}

void txn_list(struct txn *txn, const struct txn_list_query *query,
              void (*each)(void *ctx, const struct as_txn_view *view), void *ctx,
              uint64_t *ret_next)
{
    struct listing list = {.txn = txn, .query = query, .each = each, .ctx = ctx};
    enum txn_list_state state = query->state;
    uint64_t after = query->after;

    *ret_next = 0;
    if (query->limit == 0)
        return;
    if (state == TXN_LIST_PENDING || state == TXN_LIST_HEURISTIC) {
        list_open(&list, after & ~CURSOR_RUN, ret_next);
        return;
    }
    if (state != TXN_LIST_COMMITTED && (after == 0 || (after & CURSOR_RUN))) {
        if (!list_runs(&list, after, ret_next))
            return;
        after = 0;
    }
    if (state != TXN_LIST_ACTIVE && state != TXN_LIST_PREPARING)
        list_decided(&list, after & ~CURSOR_RUN, ret_next);
}

void txn_participants(const struct txn *txn,
                      void (*each)(void *ctx, const struct txn_participant_view *view), void *ctx)
{
    for (uint32_t i = 0; i < txn->table.participant_count; i++) {
        const struct txn_participant *participant = txn->table.participants[i];

        each(ctx, &(struct txn_participant_view){
                      .name = participant->name,
                      .identity = participant->identity,
                      .counter = participant->counter,
                      .system_id = participant->system_id,
                      .timeline = participant->timeline,
                      .sessions = participant->serving_count,
                      .unfinished = participant->queued,
                      .undecided = participant->undecided,
                  });
    }
    txn_servings_unknown(txn, each, ctx);
}
