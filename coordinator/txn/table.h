/*
 * The replicated table: a fold of the log, equal on every node at equal index. Everything that
 * decides what it holds comes from the entries and from two settings that must be the same on all
 * nodes of a cluster (outcomes_max, retention_ms). What is marked "volatile" is the leader's and in
 * no digest.
 *
 * An outcome is made by COMMIT or ABORT (or by a HEURISTIC of an attempt that no record speaks of)
 * and is in the ring   in order of decision, until it is evicted; by id      the committed attempt,
 * else the highest aborted one; open       while it is committed and not finished, or a heuristic
 * branch waits for an operator. Open ones are never freed: the ring lets them go when their turn
 * comes, and they go on without it.
 */
#ifndef ASSENT_TXN_TABLE_H
#define ASSENT_TXN_TABLE_H

#include "assent/heap.h"
#include "assent/map.h"
#include "coordinator/txn/list.h"
#include "coordinator/txn/out.h"
#include "coordinator/txn/set.h"
#include "coordinator/txn/slots.h"

enum txn_timer_kind {
    TXN_TIMER_RUN,
    TXN_TIMER_WAITER,
    TXN_TIMER_ACKNOWLEDGER,
    TXN_TIMER_RESEND,
    TXN_TIMER_LAZY,
    TXN_TIMER_DYING,
    TXN_TIMER_SERVE,
    TXN_TIMER_ADOPTED,
    TXN_TIMER_ASK,
};

struct txn_timer {
    struct as_heap_node node; /* first */
    enum txn_timer_kind kind;
};

/* Why an attempt was aborted, packed: two texts follow, each with its NUL. */
struct txn_why {
    enum as_reason_code code;
    uint32_t branch;
    int32_t statement;
    char sqlstate[6];
    uint16_t message_at; /* in texts; the participant's name is at 0 */
    char texts[];
};

struct txn_outcome_branch {
    uint64_t xid;
    struct as_identity identity;
    uint16_t number;
    uint16_t participant;
    uint8_t heuristic; /* 0, or an as_branch_state */
    bool acknowledged; /* by an operator */
};

struct txn_outcome {
    union {
        struct txn_trash trash; /* when it has left */
        struct txn_link ring;
    };
    struct txn_link open;
    struct as_attempt attempt;
    uint8_t body_hash[AS_HASH_LEN]; /* zero: not known */
    uint64_t index;                 /* of the entry that made it: unique */
    int64_t created_ms, decided_ms; /* wall clock, for display */
    int64_t time_ms;                /* log time of the decision */
    uint32_t handle;
    uint32_t gen; /* volatile: of the snapshot that has it already */
    bool committed, finished;
    bool acknowledged; /* not finished: a heuristic branch waits; every other one is (R8) */
    bool named;        /* found by its id */
    uint8_t branch_count;
    uint8_t heuristics;                  /* branches with a heuristic outcome */
    uint8_t waiting;                     /* of these, not acknowledged */
    struct txn_outcome_branch *branches; /* of an aborted one: a block of their own, or NULL */
    struct txn_why *why;                 /* of an aborted one; NULL: no record says why */
    const char *id;
};

/* Backoff levels of resending; queue 0 is what is to be sent as soon as a session serves. */
#define TXN_QUEUES 8

struct txn_participant {
    uint32_t id;
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    struct as_identity identity;
    uint64_t counter;
    uint64_t system_id;
    uint32_t timeline;
    /* volatile */
    struct txn_link servings; /* in turn: the first one is next */
    uint32_t serving_count;
    uint32_t undecided;
    uint32_t queued; /* committed branches that nobody acknowledged yet */
    struct txn_link queue[TXN_QUEUES];
    struct txn_timer resend;
};

/* A snapshot under way: what changes before it is written is saved as it was. */
struct txn_snapshot {
    bool active;
    bool failed; /* out of memory while saving: it must be given up */
    uint32_t gen;
    enum { TXN_SNAP_HEAD, TXN_SNAP_SET, TXN_SNAP_RING, TXN_SNAP_OPEN, TXN_SNAP_SAVED } stage;
    struct as_buf head;
    struct as_attempt chunk;  /* the next one to write */
    struct txn_link *ring_at; /* the next outcome to write */
    struct txn_link *open_at;
    struct as_buf saved;
    size_t saved_at;
    uint64_t items, saved_items;
};

/* What is read in pieces. */
struct txn_restore {
    bool begun, ended;
    struct as_buf rest; /* of an item that is not whole yet */
    struct txn_outcome **all;
    size_t count, cap;
    uint64_t items;
};

struct txn_table {
    uint32_t outcomes_max, retention_ms;
    uint64_t index, term;
    int64_t time_ms;
    struct txn_participant *participants[AS_PARTICIPANTS_MAX];
    uint32_t participant_count;
    struct as_map participants_by_name;
    struct txn_set set;
    struct txn_slots outcomes;
    struct as_map by_id, by_attempt;
    struct txn_link ring; /* ascending index */
    struct txn_link open; /* ascending index */
    uint32_t count;
    uint32_t unfinished; /* committed, no FINISH */
    uint32_t waiting;    /* heuristic branches that wait for an operator */
    int64_t evicted_ms;  /* the youngest UUIDv7 evicted (R9) */
    struct txn_snapshot snap;
    struct txn_restore restore;
    /* volatile: where the last page of a list ended */
    struct txn_outcome *page_at;
};

/* What an entry did, for the leader's drive. */
struct txn_folded {
    struct txn_outcome *outcome; /* COMMIT with effect, HEURISTIC, ACKNOWLEDGE with effect */
    struct txn_outcome_branch *branch;
    struct txn_participant *participant;
    bool effective;
    bool identity_changed;
};

/* table.c */
void txn_table_init(struct txn *txn, const struct txn_config *config);
void txn_table_close(struct txn *txn);
/* NOMEM, CORRUPT: nothing changed. */
as_err txn_table_fold(struct txn *txn, const struct txn_entry *entry,
                      const struct txn_record *record, struct txn_folded *ret_folded) AS_MUSTCHECK;
struct txn_participant *txn_participant_find(const struct txn *txn, const char *name, size_t len);
as_err txn_participant_make(struct txn *txn, const char *name,
                            struct txn_participant **ret) AS_MUSTCHECK;
/* Whether the attempt is committed and applied (R1, R3). */
bool txn_table_committed(const struct txn *txn, struct as_attempt attempt);

/* outcome.c */
uint64_t txn_id_hash(const struct txn *txn, const char *id);
uint64_t txn_attempt_hash(const struct txn *txn, struct as_attempt attempt);
struct txn_outcome *txn_outcome_by_id(const struct txn *txn, const char *id);
struct txn_outcome *txn_outcome_by_attempt(const struct txn *txn, struct as_attempt attempt);
/* Will be asked for soon; `id` NULL: only the attempt. */
void txn_outcome_expect(const struct txn *txn, const char *id, struct as_attempt attempt);
struct txn_outcome_branch *txn_outcome_branch(const struct txn_outcome *outcome, uint32_t number);
/* Not yet in the table; NULL: out of memory. `reason` NULL: no record says why. */
struct txn_outcome *txn_outcome_committed(const char *id, uint32_t branch_count);
struct txn_outcome *txn_outcome_aborted(const char *id, const struct as_reason *reason);
/* The branches of an aborted one, which it gets when the first heuristic outcome comes. */
as_err txn_outcome_make_branches(struct txn_outcome *outcome) AS_MUSTCHECK;
void txn_outcome_discard(struct txn_outcome *outcome);
/* Room for one more, so that entering cannot fail. */
as_err txn_outcome_reserve(struct txn *txn) AS_MUSTCHECK;
void txn_outcome_map(struct txn *txn, struct txn_outcome *outcome);
/* Into the maps; a named one supersedes what its id named before and goes to the end of the ring.
 */
void txn_outcome_enter(struct txn *txn, struct txn_outcome *outcome, bool named);
/* Into or out of the open list, as its state says; frees it if nothing holds it any more. */
void txn_outcome_settle(struct txn *txn, struct txn_outcome *outcome);
static inline bool txn_outcome_open(const struct txn_outcome *outcome)
{
    return (outcome->committed && !outcome->finished) || outcome->waiting > 0;
}
/* R9: makes room in the ring, oldest first, by the log's own time. */
void txn_outcome_evict(struct txn *txn);
/* Whether a new id finds room at log time `time_ms`. */
bool txn_outcome_room(const struct txn *txn, uint32_t coming, int64_t time_ms);
void txn_why_reason(const struct txn_why *why, struct as_reason *ret_reason);
size_t txn_why_size(const struct as_reason *reason);

/* snapshot.c: before any change of what it may not have written yet */
void txn_snapshot_touch(struct txn *txn, struct txn_outcome *outcome);
void txn_snapshot_touch_chunk(struct txn *txn, struct as_attempt attempt);
/* It leaves that list: the walk goes on with the next one. */
void txn_snapshot_unlink(struct txn *txn, const struct txn_link *link);
void txn_restore_close(struct txn *txn);

#endif
