/*
 * The fold: what each record does to the replicated table (R1). Fault model: a record may be one
 * that has no effect, which is an alarm, or one that cannot be, which is CORRUPT; memory may be
 * short. In all three cases but the first nothing has changed.
 */
#include "coordinator/txn/table.h"

#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

#define EXPECT_AHEAD 6 /* attempts of a FINISH: memory is some hundred nanoseconds away */

/* --- Participants --- */

static uint64_t name_hash(const struct txn *txn, const char *name, size_t len)
{
    return as_hash(name, len, txn->hash_seed);
}

static bool match_name(const void *owner, uint32_t handle, const void *key)
{
    const struct txn *txn = owner;
    const struct as_bytes *name = key;
    const char *have = txn->table.participants[handle]->name;

    return memcmp(have, name->data, name->len) == 0 && have[name->len] == 0;
}

struct txn_participant *txn_participant_find(const struct txn *txn, const char *name, size_t len)
{
    struct as_bytes key = {(const uint8_t *)name, len};
    uint32_t at;

    if (len == 0 || len > AS_PARTICIPANT_LEN_MAX)
        return NULL;
    at = as_map_find(&txn->table.participants_by_name, name_hash(txn, name, len), &key, match_name,
                     txn);
    return at == AS_MAP_NONE ? NULL : txn->table.participants[at];
}

as_err txn_participant_make(struct txn *txn, const char *name, struct txn_participant **ret)
{
    struct txn_table *table = &txn->table;
    struct txn_participant *participant;
    size_t len = strlen(name);

    AS_ASSERT(table->participant_count < AS_PARTICIPANTS_MAX);
    if (txn_timer_reserve(txn) || as_map_reserve(&table->participants_by_name, 1))
        return AS_ERR_NOMEM;
    participant = as_alloc_zero(1, sizeof(*participant));
    if (!participant)
        return AS_ERR_NOMEM;
    participant->id = table->participant_count;
    memcpy(participant->name, name, len);
    txn_list_init(&participant->servings);
    for (int i = 0; i < TXN_QUEUES; i++)
        txn_list_init(&participant->queue[i]);
    participant->resend.kind = TXN_TIMER_RESEND;
    txn->drive.timers++;
    txn_must(
        as_map_insert(&table->participants_by_name, name_hash(txn, name, len), participant->id));
    table->participants[table->participant_count++] = participant;
    *ret = participant;
    return AS_OK;
}

/* --- One function per record --- */

bool txn_table_committed(const struct txn *txn, struct as_attempt attempt)
{
    const struct txn_outcome *outcome;

    if (txn_set_has(&txn->table.set, attempt))
        return true;
    outcome = txn_outcome_by_attempt(txn, attempt); /* one that the horizon has passed */
    return outcome && outcome->committed;
}

static as_err check_participants(const struct txn *txn, const struct txn_record *record)
{
    for (uint32_t i = 0; i < record->commit.branch_count; i++) {
        if (record->commit.branches[i].participant >= txn->table.participant_count)
            return AS_ERR_CORRUPT;
    }
    return AS_OK;
}

/* What stands in the table when a record with effect is folded. */
static void stamp(struct txn_outcome *outcome, const struct txn_entry *entry,
                  struct as_attempt attempt, int64_t time_ms)
{
    outcome->attempt = attempt;
    outcome->index = entry->index;
    outcome->time_ms = time_ms;
}

static int64_t time_of(const struct txn *txn, const struct txn_entry *entry)
{
    return entry->time_ms > txn->table.time_ms ? entry->time_ms : txn->table.time_ms;
}

/*
 * R1: without effect if its entry is of another term than its attempt, or its id is committed. The
 * rest cannot come from a leader of ours (R2): a number used twice, or aborted before.
 */
static bool commit_counts(const struct txn *txn, const struct txn_entry *entry,
                          const struct txn_record *record)
{
    const struct txn_outcome *before = txn_outcome_by_id(txn, record->commit.id);
    struct as_attempt attempt = record->commit.attempt;

    return entry->term == attempt.term && !(before && before->committed) &&
           !txn_set_has(&txn->table.set, attempt) && !txn_outcome_by_attempt(txn, attempt);
}

static as_err fold_commit(struct txn *txn, const struct txn_entry *entry,
                          const struct txn_record *record, struct txn_folded *ret)
{
    struct txn_outcome *outcome;
    as_err err = check_participants(txn, record);

    if (err || !commit_counts(txn, entry, record))
        return err;
    outcome = txn_outcome_committed(record->commit.id, record->commit.branch_count);
    if (!outcome)
        return AS_ERR_NOMEM;
    if (txn_set_reserve(&txn->table.set, record->commit.attempt) || txn_outcome_reserve(txn)) {
        txn_outcome_discard(outcome);
        return AS_ERR_NOMEM;
    }
    stamp(outcome, entry, record->commit.attempt, time_of(txn, entry));
    memcpy(outcome->body_hash, record->commit.body_hash, AS_HASH_LEN);
    outcome->created_ms = record->commit.created_ms;
    outcome->decided_ms = record->commit.decided_ms;
    for (uint32_t i = 0; i < record->commit.branch_count; i++) {
        const struct txn_record_branch *branch = &record->commit.branches[i];

        outcome->branches[i] = (struct txn_outcome_branch){
            .xid = branch->xid,
            .identity = branch->identity,
            .number = (uint16_t)branch->number,
            .participant = (uint16_t)branch->participant,
        };
    }
    txn_snapshot_touch_chunk(txn, outcome->attempt);
    txn_set_add(&txn->table.set, outcome->attempt);
    txn_outcome_enter(txn, outcome, true);
    ret->outcome = outcome;
    ret->effective = true;
    return AS_OK;
}

static void finish(struct txn *txn, struct txn_outcome *outcome)
{
    outcome->finished = true;
    outcome->acknowledged = false;
    txn->table.unfinished--;
}

/* While a heuristic branch waits for an operator: only of the others, which nobody asks any more (R8). */
static as_err fold_finish(struct txn *txn, const struct txn_record *record)
{
    for (uint32_t i = 0; i < record->finish.count; i++) {
        struct txn_outcome *outcome;

        if (i + EXPECT_AHEAD < record->finish.count)
            txn_outcome_expect(txn, NULL, txn_record_attempt(record, i + EXPECT_AHEAD));
        outcome = txn_outcome_by_attempt(txn, txn_record_attempt(record, i));
        if (!outcome || !outcome->committed || outcome->finished || outcome->acknowledged)
            continue;
        txn_snapshot_touch(txn, outcome);
        if (outcome->waiting > 0)
            outcome->acknowledged = true;
        else
            finish(txn, outcome);
        txn_outcome_settle(txn, outcome);
    }
    return AS_OK;
}

/* A late ABORT never touches another attempt, and never a committed id (R1). */
static as_err fold_abort(struct txn *txn, const struct txn_entry *entry,
                         const struct txn_record *record)
{
    struct as_attempt attempt = record->abort.attempt;
    struct txn_outcome *before = txn_outcome_by_id(txn, record->abort.id), *outcome;

    if (txn_table_committed(txn, attempt) || txn_outcome_by_attempt(txn, attempt))
        return AS_OK;
    if (before && (before->committed || as_attempt_compare(before->attempt, attempt) > 0))
        return AS_OK;
    outcome = txn_outcome_aborted(record->abort.id, &record->abort.reason);
    if (!outcome)
        return AS_ERR_NOMEM;
    if (txn_outcome_reserve(txn)) {
        txn_outcome_discard(outcome);
        return AS_ERR_NOMEM;
    }
    stamp(outcome, entry, attempt, time_of(txn, entry));
    memcpy(outcome->body_hash, record->abort.body_hash, AS_HASH_LEN);
    outcome->created_ms = record->abort.created_ms;
    outcome->decided_ms = record->abort.decided_ms;
    txn_outcome_enter(txn, outcome, true);
    return AS_OK;
}

static void mark_heuristic(struct txn *txn, struct txn_outcome *outcome,
                           struct txn_outcome_branch *branch, const struct txn_record *record,
                           struct txn_folded *ret)
{
    branch->heuristic = (uint8_t)record->heuristic.what;
    branch->acknowledged = false;
    outcome->heuristics++;
    outcome->waiting++;
    txn->table.waiting++;
    ret->outcome = outcome;
    ret->branch = branch;
    ret->effective = true;
}

/* Of an aborted attempt no record lists the branches: they are added as they turn out. */
static void add_aborted_branch(struct txn *txn, struct txn_outcome *outcome,
                               const struct txn_record *record, struct txn_folded *ret)
{
    struct txn_outcome_branch *branch = &outcome->branches[outcome->branch_count++];

    AS_ASSERT(outcome->branch_count <= AS_BRANCHES_MAX);
    *branch = (struct txn_outcome_branch){
        .number = (uint16_t)record->heuristic.branch,
        .participant = (uint16_t)record->heuristic.participant,
    };
    mark_heuristic(txn, outcome, branch, record, ret);
}

static as_err heuristic_without_outcome(struct txn *txn, const struct txn_entry *entry,
                                        const struct txn_record *record, struct txn_folded *ret)
{
    struct txn_outcome *before = txn_outcome_by_id(txn, record->heuristic.id);
    struct txn_outcome *outcome = txn_outcome_aborted(record->heuristic.id, NULL);
    bool named;

    if (!outcome)
        return AS_ERR_NOMEM;
    if (txn_outcome_make_branches(outcome) || txn_outcome_reserve(txn)) {
        txn_outcome_discard(outcome);
        return AS_ERR_NOMEM;
    }
    stamp(outcome, entry, record->heuristic.attempt, time_of(txn, entry));
    named = !before || (!before->committed &&
                        as_attempt_compare(before->attempt, record->heuristic.attempt) < 0);
    /* Entering counts what waits, so the branch stands in it before. */
    outcome->branches[0] = (struct txn_outcome_branch){
        .number = (uint16_t)record->heuristic.branch,
        .participant = (uint16_t)record->heuristic.participant,
        .heuristic = (uint8_t)record->heuristic.what,
    };
    outcome->branch_count = outcome->heuristics = outcome->waiting = 1;
    txn_outcome_enter(txn, outcome, named);
    ret->outcome = outcome;
    ret->branch = &outcome->branches[0];
    ret->effective = true;
    return AS_OK;
}

static as_err fold_heuristic(struct txn *txn, const struct txn_entry *entry,
                             const struct txn_record *record, struct txn_folded *ret)
{
    struct as_attempt attempt = record->heuristic.attempt;
    struct txn_outcome *outcome = txn_outcome_by_attempt(txn, attempt);
    struct txn_outcome_branch *branch;

    if (record->heuristic.participant >= txn->table.participant_count)
        return AS_ERR_CORRUPT;
    if (!outcome)
        return txn_set_has(&txn->table.set, attempt)
                   ? AS_OK
                   : heuristic_without_outcome(txn, entry, record, ret);
    branch = txn_outcome_branch(outcome, record->heuristic.branch);
    if (outcome->committed) {
        if (outcome->finished || !branch || branch->heuristic)
            return AS_OK;
        txn_snapshot_touch(txn, outcome);
        mark_heuristic(txn, outcome, branch, record, ret);
        return AS_OK;
    }
    if (branch)
        return AS_OK; /* said before */
    if (txn_outcome_make_branches(outcome))
        return AS_ERR_NOMEM;
    txn_snapshot_touch(txn, outcome);
    add_aborted_branch(txn, outcome, record, ret);
    txn_outcome_settle(txn, outcome);
    return AS_OK;
}

static as_err fold_acknowledge(struct txn *txn, const struct txn_record *record,
                               struct txn_folded *ret)
{
    struct txn_outcome *outcome = txn_outcome_by_attempt(txn, record->acknowledge.attempt);
    struct txn_outcome_branch *branch =
        outcome ? txn_outcome_branch(outcome, record->acknowledge.branch) : NULL;

    ret->outcome = outcome;
    if (!branch || !branch->heuristic || branch->acknowledged)
        return AS_OK;
    txn_snapshot_touch(txn, outcome);
    branch->acknowledged = true;
    outcome->waiting--;
    txn->table.waiting--;
    if (outcome->acknowledged && outcome->waiting == 0)
        finish(txn, outcome);
    ret->branch = branch;
    ret->effective = true;
    txn_outcome_settle(txn, outcome); /* its memory lasts until the next step, whatever comes */
    return AS_OK;
}

static void fold_horizon(struct txn *txn, const struct txn_record *record, struct txn_folded *ret)
{
    struct as_attempt at = {0, 0}, horizon = record->horizon;
    const struct txn_chunk *chunk;

    if (as_attempt_compare(horizon, txn->table.set.horizon) <= 0)
        return;
    while ((chunk = txn_set_from(&txn->table.set, at)) &&
           as_attempt_compare(chunk->first, horizon) <= 0) {
        txn_snapshot_touch_chunk(txn, chunk->first);
        at = (struct as_attempt){chunk->first.term, chunk->first.seq + 1};
    }
    txn_set_cut(&txn->table.set, horizon);
    ret->effective = true;
}

static as_err fold_participant(struct txn *txn, const struct txn_record *record,
                               struct txn_folded *ret)
{
    const char *name = record->participant.name;
    struct txn_participant *participant = txn_participant_find(txn, name, strlen(name));
    bool same;

    if (!participant) {
        /* The leader asks for no more, but several may have been on their way. */
        if (txn->table.participant_count == AS_PARTICIPANTS_MAX)
            return AS_OK;
        if (txn_participant_make(txn, name, &participant))
            return AS_ERR_NOMEM;
        participant->identity = record->participant.identity;
    }
    same = memcmp(&participant->identity, &record->participant.identity,
                  sizeof(participant->identity)) == 0;
    ret->identity_changed = !same;
    /* Two agents of one participant may be overtaken by each other: the higher counter stays. */
    if (!same || record->participant.counter > participant->counter)
        participant->counter = record->participant.counter;
    participant->identity = record->participant.identity;
    participant->system_id = record->participant.system_id;
    participant->timeline = record->participant.timeline;
    ret->participant = participant;
    ret->effective = true;
    return AS_OK;
}

static as_err fold_record(struct txn *txn, const struct txn_entry *entry,
                          const struct txn_record *record, struct txn_folded *ret)
{
    switch (record->type) {
    case TXN_RECORD_NOOP:
        return AS_OK;
    case TXN_RECORD_COMMIT:
        return fold_commit(txn, entry, record, ret);
    case TXN_RECORD_FINISH:
        return fold_finish(txn, record);
    case TXN_RECORD_ABORT:
        return fold_abort(txn, entry, record);
    case TXN_RECORD_HEURISTIC:
        return fold_heuristic(txn, entry, record, ret);
    case TXN_RECORD_ACKNOWLEDGE:
        return fold_acknowledge(txn, record, ret);
    case TXN_RECORD_HORIZON:
        fold_horizon(txn, record, ret);
        return AS_OK;
    case TXN_RECORD_PARTICIPANT:
        return fold_participant(txn, record, ret);
    case TXN_RECORD_RESOLVE: /* durable, so that it is known who decided it; the table is as before */
        return record->resolve.participant < txn->table.participant_count ? AS_OK : AS_ERR_CORRUPT;
    case TXN_RECORD_END:
        break;
    }
    return AS_ERR_CORRUPT;
}

as_err txn_table_fold(struct txn *txn, const struct txn_entry *entry,
                      const struct txn_record *record, struct txn_folded *ret_folded)
{
    struct txn_table *table = &txn->table;
    as_err err;

    *ret_folded = (struct txn_folded){.effective = false};
    if (entry->index <= table->index || entry->term < table->term)
        return AS_ERR_CORRUPT; /* entries come in order, each once */
    err = fold_record(txn, entry, record, ret_folded);
    if (err)
        return err;
    table->index = entry->index;
    table->term = entry->term;
    table->time_ms = time_of(txn, entry);
    txn_outcome_evict(txn);
    return AS_OK;
}

/* --- The table itself --- */

void txn_table_init(struct txn *txn, const struct txn_config *config)
{
    struct txn_table *table = &txn->table;

    table->outcomes_max = config->outcomes_max ? config->outcomes_max : AS_OUTCOMES_MAX;
    table->retention_ms = config->retention_ms ? config->retention_ms : AS_RETENTION_MS;
    txn_list_init(&table->ring);
    txn_list_init(&table->open);
    as_buf_init(&table->snap.head, SIZE_MAX / 2);
    as_buf_init(&table->snap.saved, SIZE_MAX / 2);
    as_buf_init(&table->restore.rest, SIZE_MAX / 2);
}

void txn_table_close(struct txn *txn)
{
    struct txn_table *table = &txn->table;

    txn_restore_close(txn);
    while (!txn_list_empty(&table->ring)) {
        struct txn_outcome *outcome = TXN_OF(table->ring.next, struct txn_outcome, ring);

        txn_link_remove(&outcome->ring);
        txn_link_remove(&outcome->open);
        txn_outcome_discard(outcome);
    }
    while (!txn_list_empty(&table->open)) {
        struct txn_outcome *outcome = TXN_OF(table->open.next, struct txn_outcome, open);

        txn_link_remove(&outcome->open);
        txn_outcome_discard(outcome);
    }
    for (uint32_t i = 0; i < table->participant_count; i++)
        as_free(table->participants[i]);
    as_map_close(&table->participants_by_name);
    as_map_close(&table->by_id);
    as_map_close(&table->by_attempt);
    txn_slots_close(&table->outcomes);
    txn_set_close(&table->set);
    as_buf_close(&table->snap.head);
    as_buf_close(&table->snap.saved);
}
