/*
 * Runs: the one place where an attempt changes its state, and their memory. Fault model: memory may
 * be short; making and reserving can fail, entering, moving and leaving cannot.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* So many free runs are kept for the next ones; what a burst made beyond that is given back. */
#define RUNS_KEPT 512u

/* --- States (drive.h shows the picture) --- */

#define TO(state) (1u << TXN_RUN_##state)

static const unsigned allowed[TXN_RUN_STATES] = {
    [TXN_RUN_NONE] = TO(ACTIVE) | TO(COMMITTED),
    [TXN_RUN_ACTIVE] = TO(PREPARING) | TO(ABORTING) | TO(GONE),
    [TXN_RUN_PREPARING] = TO(DECIDING) | TO(ABORTING) | TO(GONE),
    [TXN_RUN_DECIDING] = TO(COMMITTED) | TO(GONE),
    [TXN_RUN_COMMITTED] = TO(FINISHED) | TO(GONE),
    [TXN_RUN_FINISHED] = TO(GONE),
    [TXN_RUN_ABORTING] = TO(GONE),
    [TXN_RUN_GONE] = 0,
};

static bool every_vote_is_yes(const struct txn_run *run)
{
    bool writes = false;

    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].state == TXN_BRANCH_PREPARED)
            writes = true;
        else if (run->branches[i].state != TXN_BRANCH_READ)
            return false;
    }
    return writes; /* a transaction that only reads is never proposed (R10) */
}

static bool every_branch_is_done(const struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].state != TXN_BRANCH_DONE && !run->branches[i].read_only)
            return false;
    }
    return run->unacknowledged + run->heuristics == 0;
}

static bool holds(const struct txn *txn, const struct txn_run *run, enum txn_run_state to)
{
    switch (to) {
    case TXN_RUN_ACTIVE:
    case TXN_RUN_PREPARING:
    case TXN_RUN_ABORTING:
        return run->attempt.term == txn->drive.term && !run->outcome;
    case TXN_RUN_DECIDING: /* R2 */
        return run->attempt.term == txn->drive.term && every_vote_is_yes(run);
    case TXN_RUN_COMMITTED: /* R1 */
        return run->outcome && run->outcome->committed && !run->outcome->finished &&
               as_attempt_equal(run->outcome->attempt, run->attempt);
    case TXN_RUN_FINISHED: /* R8 */
        return run->outcome && every_branch_is_done(run);
    default:
        return true;
    }
}

static void count_undecided(struct txn *txn, struct txn_run *run, bool in)
{
    txn->drive.undecided += in ? 1 : UINT32_MAX;
    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].participant)
            run->branches[i].participant->undecided += in ? 1 : UINT32_MAX;
    }
}

void txn_run_move(struct txn *txn, struct txn_run *run, enum txn_run_state to)
{
    bool undecided = txn_run_undecided(run);

    AS_ASSERT(allowed[run->state] & (1u << to));
    AS_ASSERT(holds(txn, run, to));
    txn->drive.committed -= run->state == TXN_RUN_COMMITTED;
    run->state = to;
    txn->drive.committed += to == TXN_RUN_COMMITTED;
    if (txn_run_undecided(run) != undecided)
        count_undecided(txn, run, !undecided);
    if (to == TXN_RUN_ACTIVE)
        txn_list_append(&txn->drive.live, &run->live);
    else if (!txn_run_undecided(run) && to != TXN_RUN_ABORTING)
        txn_link_remove(&run->live);
}

/* --- Finding --- */

static struct txn_run *run_at(const struct txn *txn, uint32_t handle)
{
    return handle == AS_MAP_NONE ? NULL : txn_slots_get(&txn->drive.runs, handle);
}

static bool match_id(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct txn_run *run = txn_slots_get(&txn->drive.runs, handle);

    return strcmp(run->id, key) == 0;
}

static bool match_attempt(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct txn_run *run = txn_slots_get(&txn->drive.runs, handle);

    return as_attempt_equal(run->attempt, *(const struct as_attempt *)key);
}

struct txn_run *txn_run_by_id(const struct txn *txn, const char *id)
{
    return run_at(txn,
                  as_map_find(&txn->drive.runs_by_id, txn_id_hash(txn, id), id, match_id, txn));
}

struct txn_run *txn_run_by_attempt(const struct txn *txn, struct as_attempt attempt)
{
    return run_at(txn, as_map_find(&txn->drive.runs_by_attempt, txn_attempt_hash(txn, attempt),
                                   &attempt, match_attempt, txn));
}

struct txn_branch *txn_run_branch(struct txn_run *run, uint32_t number)
{
    /* Numbers ascend; they have gaps only where read-only branches stand in no record. */
    for (uint32_t i = number < run->branch_count ? number : run->branch_count; i-- > 0;) {
        if (run->branches[i].number == number)
            return &run->branches[i];
    }
    return NULL;
}

/* --- Memory --- */

static unsigned class_of(uint32_t branch_count)
{
    unsigned class = 0;

    while ((2u << class) < branch_count)
        class ++;
    AS_ASSERT(class < TXN_RUN_CLASSES);
    return class;
}

struct txn_run *txn_run_new(struct txn *txn, const char *id, uint32_t branch_count)
{
    unsigned class = class_of(branch_count);
    uint32_t cap = 2u << class;
    struct txn_run *run = txn->drive.runs_free[class];
    size_t size = sizeof(*run) + branch_count * sizeof(struct txn_branch);

    if (run) {
        txn->drive.runs_free[class] = run->next_free;
        txn->drive.runs_free_count--;
    } else {
        run = as_alloc(sizeof(*run) + cap * sizeof(struct txn_branch));
        if (!run)
            return NULL;
    }
    memset(run, 0, size);
    run->branch_cap = cap;
    run->branch_count = branch_count;
    memcpy(run->id, id, strlen(id) + 1);
    run->timer.kind = TXN_TIMER_RUN;
    txn_list_init(&run->waiters);
    for (uint32_t i = 0; i < branch_count; i++) {
        run->branches[i].run = run;
        run->branches[i].number = (uint8_t)(i + 1);
    }
    return run;
}

void txn_run_discard(struct txn *txn, struct txn_run *run)
{
    unsigned class;

    if (!run)
        return;
    if (txn->drive.runs_free_count >= RUNS_KEPT) {
        as_free(run);
        return;
    }
    class = class_of(run->branch_cap);
    run->next_free = txn->drive.runs_free[class];
    txn->drive.runs_free[class] = run;
    txn->drive.runs_free_count++;
}

as_err txn_run_reserve(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;

    if (txn_slots_reserve(&drive->runs) || as_map_reserve(&drive->runs_by_id, 1) ||
        as_map_reserve(&drive->runs_by_attempt, 1))
        return AS_ERR_NOMEM;
    return txn_timer_reserve(txn);
}

static void unname(struct txn *txn, struct txn_run *run)
{
    if (!run->named)
        return;
    as_map_remove(&txn->drive.runs_by_id, txn_id_hash(txn, run->id), run->handle);
    run->named = false;
}

void txn_run_enter(struct txn *txn, struct txn_run *run)
{
    struct txn_drive *drive = &txn->drive;
    struct txn_run *before = txn_run_by_id(txn, run->id);

    if (before) {
        AS_ASSERT(before->state == TXN_RUN_ABORTING); /* R9: only then a new attempt begins */
        unname(txn, before);
    }
    run->handle = txn_slots_take(&drive->runs, run);
    txn_must(as_map_insert(&drive->runs_by_id, txn_id_hash(txn, run->id), run->handle));
    txn_must(
        as_map_insert(&drive->runs_by_attempt, txn_attempt_hash(txn, run->attempt), run->handle));
    run->named = true;
    drive->timers++;
}

void txn_run_drop_results(struct txn *txn, struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++) {
        if (run->branches[i].results)
            txn_out_free(&txn->out, &run->branches[i].results->trash);
        run->branches[i].results = NULL;
    }
}

void txn_run_gone(struct txn *txn, struct txn_run *run)
{
    struct txn_drive *drive = &txn->drive;

    AS_ASSERT(run->waiter_count == 0);
    if (run->state != TXN_RUN_GONE)
        txn_run_move(txn, run, TXN_RUN_GONE);
    txn_lazy_remove(txn, run);
    txn_timer_stop(txn, &run->timer);
    drive->timers--;
    unname(txn, run);
    as_map_remove(&drive->runs_by_attempt, txn_attempt_hash(txn, run->attempt), run->handle);
    txn_slots_drop(&drive->runs, run->handle);
    txn_run_drop_results(txn, run);
    if (run->reason)
        txn_out_free(&txn->out, &run->reason->trash);
    if (run->names)
        txn_out_free(&txn->out, &run->names->trash);
    for (uint32_t i = 0; i < run->branch_count; i++)
        AS_ASSERT(!txn_link_in(&run->branches[i].link));
    run->next_free = drive->runs_dead;
    drive->runs_dead = run;
}

void txn_runs_sweep(struct txn *txn)
{
    while (txn->drive.runs_dead) {
        struct txn_run *run = txn->drive.runs_dead;

        txn->drive.runs_dead = run->next_free;
        txn_run_discard(txn, run);
    }
}

static void free_run(struct txn_run *run)
{
    for (uint32_t i = 0; i < run->branch_count; i++)
        as_free(run->branches[i].results);
    as_free(run->reason);
    as_free(run->names);
    as_free(run);
}

void txn_runs_close(struct txn *txn)
{
    struct txn_drive *drive = &txn->drive;

    txn_runs_sweep(txn);
    for (uint32_t c = 0; c < drive->runs.chunk_count; c++) {
        for (uint32_t i = 0; i < TXN_SLOTS_CHUNK; i++) {
            void *object = drive->runs.chunks[c][i];

            if (!((uintptr_t)object & 1u))
                free_run(object);
        }
    }
    for (int i = 0; i < TXN_RUN_CLASSES; i++) {
        while (drive->runs_free[i]) {
            struct txn_run *run = drive->runs_free[i];

            drive->runs_free[i] = run->next_free;
            as_free(run);
        }
    }
    txn_slots_close(&drive->runs);
    as_map_close(&drive->runs_by_id);
    as_map_close(&drive->runs_by_attempt);
}
