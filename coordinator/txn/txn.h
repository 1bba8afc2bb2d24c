/*
 * The transaction core: the replicated table (a fold of the log, equal on every node) and the drive
 * of what is undecided (leader only, volatile). Pure: events in, effects out (architecture.md, "The
 * contract").
 *
 *   active -> preparing -> deciding -> committed -> finished      at the leader
 *   active | preparing -> aborting -> aborted
 *
 * Where a decision is taken: here, when the last vote is yes (R2) -> effect PROPOSE(COMMIT).
 * Where it is made durable: coordinator/log. It comes back as event APPLY, and only then is it true
 * (R1).
 */
#ifndef ASSENT_TXN_H
#define ASSENT_TXN_H

#include "assent/buf.h"
#include "assent/request.h"
#include "assent/trace.h"
#include "assent/wire.h"
#include "coordinator/txn/record.h"

struct txn;

/* Zero in a field means its default of assent/limits.h or the one named here. */
struct txn_config {
    uint64_t seed;
    uint32_t undecided_max;
    uint32_t outcomes_max; /* these two decide what the table holds: */
    uint32_t retention_ms; /* they must be equal on all nodes */
    size_t committed_bytes_max;
    uint32_t resend_first_ms; /* 100; doubles with jitter up to */
    uint32_t resend_max_ms;   /* 5000 */
    uint32_t lazy_ms;         /* 50: how long FINISH and ABORT may wait for company */
};

enum txn_event_kind {
    TXN_LEAD,    /* the NOOP of `term` is applied: lead (R3, R9) */
    TXN_RESIGN,  /* not the leader any more (R4) */
    TXN_APPLY,   /* `entry` is committed in the log; entries come in order, each once */
    TXN_REFUSED, /* the proposal of COMMIT for `attempt` was not accepted by the log: abort it (R4)
                  */
    TXN_SUBMIT,
    TXN_GET,          /* answer now, or when decided, or after wait_ms */
    TXN_FORGET,       /* `client` waits no longer; its transaction goes on */
    TXN_SERVE,        /* a session serves a participant (again): facts may have changed */
    TXN_UNSERVE,      /* that participant is down on that session */
    TXN_SILENT,       /* nothing is heard on a session, or something is again: others come first */
    TXN_SESSION_DOWN, /* and with it all it served */
    TXN_VOTE,
    TXN_ACK,
    TXN_INQUIRE,
    TXN_ACKNOWLEDGE, /* an operator closes a heuristic outcome */
    TXN_PREPARED,    /* an operator asks what is prepared at a participant */
    TXN_RESOLVE,     /* an operator finishes a branch that nobody can answer for (R6) */
    TXN_LISTED,      /* an agent's answers to these two */
    TXN_RESOLVED,
    TXN_TIMER,
};

struct txn_event {
    enum txn_event_kind kind;
    as_time now;
    int64_t wall_ms;
    union {
        uint64_t term;
        struct txn_entry entry;
        struct {
            struct as_attempt attempt;
            enum as_refusal why; /* DISK_FULL or NO_LEADER: what waiting clients are told */
        } refused;
        struct {
            uint64_t client; /* 0: nobody waits */
            const struct as_submit *submit;
        } submit;
        struct {
            uint64_t client;
            const char *id;
            uint32_t wait_ms;
        } get;
        uint64_t client; /* FORGET */
        struct {
            uint64_t session;
            const struct as_wire_participant *facts;
        } serve;
        struct {
            uint64_t session;
            uint16_t slot;
        } unserve;
        struct {
            uint64_t session;
            bool silent;
        } silent;
        uint64_t session; /* SESSION_DOWN */
        struct {
            uint64_t session;
            const struct as_wire_vote *vote;
        } vote;
        struct {
            uint64_t session;
            const struct as_wire_ack *ack;
        } ack;
        struct {
            uint64_t session;
            const struct as_wire_inquire *inquire;
        } inquire;
        struct {
            uint64_t client;
            const char *id;
            uint32_t branch;
            struct as_bytes who, why;
        } acknowledge;
        struct {
            uint64_t client;
            const char *participant;
            const char *cluster;
            uint64_t incarnation; /* the cluster's */
        } prepared;
        struct {
            uint64_t client;
            const struct as_resolve *resolve; /* its gid is of our cluster */
            uint64_t incarnation;             /* the cluster's */
        } resolve;
        struct {
            uint64_t session;
            const struct as_wire_listed *listed;
        } listed;
        struct {
            uint64_t session;
            const struct as_wire_resolved *resolved;
        } resolved;
    };
};

enum txn_effect_kind {
    TXN_SEND,    /* `msg` to `session`: EXECUTE, READ_FINISH, COMMIT, ABORT, ANSWER, ROTATE, LIST
                    or RESOLVE */
    TXN_PROPOSE, /* append `type` + `payload`; if not forced it may wait for company, nobody waits
                    for it */
    TXN_REPLY,
    TXN_TRACE,
};

/* Everything pointed to belongs to the core until its next step. */
struct txn_effect {
    enum txn_effect_kind kind;
    union {
        struct {
            uint64_t session;
            struct as_wire_msg msg;
        } send;
        struct {
            uint8_t type;
            bool forced;
            struct as_attempt attempt; /* of a COMMIT: comes back in TXN_REFUSED */
            struct as_bytes payload;
        } propose;
        struct {
            uint64_t client;
            struct as_reply reply;
        } reply;
        struct as_trace trace;
    };
};

struct txn_effects {
    const struct txn_effect *list;
    size_t count;
};

as_err txn_new(struct txn **ret_txn, const struct txn_config *config) AS_MUSTCHECK;
void txn_free(struct txn *txn);

/*
 * NOMEM: the event had no effect and may be given again; an APPLY that fails so must end the
 * process. CORRUPT: an APPLY whose record cannot be read. Everything else an outsider can send is
 * data, not an error.
 */
as_err txn_step(struct txn *txn, const struct txn_event *event,
                struct txn_effects *ret_effects) AS_MUSTCHECK;
/* This entry will be applied soon: fetches what that will look at, which in a large table is far
 * away. A hint; changes nothing, and takes any bytes. */
void txn_expect(const struct txn *txn, uint8_t type, struct as_bytes payload);
as_time txn_deadline(const struct txn *txn);

/* Last applied index, its term, and the log's own time there. */
uint64_t txn_applied_index(const struct txn *txn);
uint64_t txn_applied_term(const struct txn *txn);
int64_t txn_log_time_ms(const struct txn *txn);

/* --- Reading; views are borrowed until the next step --- */

/* NOTFOUND; the leader knows undecided ones too, a follower what the table holds. */
as_err txn_view(struct txn *txn, const char *id, struct as_txn_view *ret_view) AS_MUSTCHECK;

enum txn_list_state {
    TXN_LIST_ANY,
    TXN_LIST_ACTIVE, /* undecided, not yet prepared */
    TXN_LIST_PREPARING,
    TXN_LIST_COMMITTED,
    TXN_LIST_ABORTED,
    TXN_LIST_PENDING, /* committed, not finished */
    TXN_LIST_HEURISTIC,
};
struct txn_list_query {
    enum txn_list_state state;
    const char *participant; /* NULL: any */
    uint32_t limit;          /* 1..1000 */
    uint64_t after; /* cursor: 0 starts; undecided ones come first, then decided, newest first */
};
/* Calls `each` for at most `limit` transactions; *ret_next is the cursor of the next page, 0: no
 * more. */
void txn_list(struct txn *txn, const struct txn_list_query *query,
              void (*each)(void *ctx, const struct as_txn_view *view), void *ctx,
              uint64_t *ret_next);

struct txn_counts {
    uint32_t undecided;  /* now */
    uint32_t unfinished; /* committed, and at the leader: some branch not acknowledged */
    uint32_t heuristic;  /* branches that wait for an operator */
    uint32_t outcomes;
    size_t committed_set_bytes;
    uint64_t committed, aborted[AS_REASON_COUNT], finished, inquiries, alarms; /* since the start */
    uint64_t resolved_commit, resolved_abort; /* done on an operator's word */
};
void txn_count(const struct txn *txn, struct txn_counts *ret);

/* Participants the log knows, and those that ever connected. */
struct txn_participant_view {
    const char *name;
    struct as_identity identity;
    uint64_t counter;
    uint64_t system_id;
    uint32_t timeline;
    uint32_t sessions;   /* that serve it now */
    uint32_t unfinished; /* committed branches not yet acknowledged */
    uint32_t undecided;  /* branches of undecided attempts */
};
void txn_participants(const struct txn *txn,
                      void (*each)(void *ctx, const struct txn_participant_view *view), void *ctx);

/* --- Snapshots: the whole table at one index, in chunks, while the table goes on --- */

/* Fixes what the snapshot holds: everything applied so far. One at a time: BUSY. */
as_err txn_snapshot_begin(struct txn *txn, uint64_t *ret_index, uint64_t *ret_term) AS_MUSTCHECK;
/* Appends about `target` bytes; *ret_done with the last ones. Work per call is bounded by target.
 */
as_err txn_snapshot_next(struct txn *txn, struct as_buf *buf, size_t target,
                         bool *ret_done) AS_MUSTCHECK;
void txn_snapshot_end(struct txn *txn); /* also gives up one under way */
/* Into a new core, chunk by chunk as written. CORRUPT: not such a snapshot. */
as_err txn_restore(struct txn *txn, struct as_bytes chunk, bool last) AS_MUSTCHECK;
/*
 * Changes the first chunk of a snapshot of which a new cluster is to be made: it has forgotten what was decided later, so
 * an id that bears a time (UUIDv7) of up to wall_ms is new to nobody (R9). CORRUPT: it is not the first chunk.
 */
as_err txn_snapshot_forget(uint8_t *chunk, size_t len, int64_t wall_ms) AS_MUSTCHECK;

/* A hash of the replicated state: equal on every node at equal index. Walks everything: for tests.
 */
uint64_t txn_digest(struct txn *txn);

#endif
