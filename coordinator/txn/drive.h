/*
 * The drive: what only the leader has, and loses when it stops leading. Runs (one per attempt), who
 * waits for them, which sessions serve which participants, and one heap of deadlines.
 */
#ifndef ASSENT_TXN_DRIVE_H
#define ASSENT_TXN_DRIVE_H

#include "assent/heap.h"
#include "assent/map.h"
#include "assent/rng.h"
#include "coordinator/txn/list.h"
#include "coordinator/txn/out.h"
#include "coordinator/txn/slots.h"
#include "coordinator/txn/table.h"

/*
 * A run is one attempt at the leader.
 *
 *   NONE --submit--> ACTIVE --first yes--> PREPARING --last vote--> DECIDING --applied--> COMMITTED
 * --+ |                 |  \____________________  |  \__all read-only__   | | |                 |
 * \ |                    \  | refused,         last acknowledgement |                 +--no,
 * timeout--> ABORTING <+                   \ | without effect           | | | vv v | +----ABORT
 * applied-------> GONE <---FINISH applied-- FINISHED
 *    +--leads, finds it committed and not finished--> COMMITTED
 *
 * ACTIVE     branches are executing at their agents; a crash here loses it: presumed abort
 * PREPARING  some are prepared; a crash here leaves them to ask (R6)
 * DECIDING   COMMIT is proposed: only the log knows now (R1, R4)
 * COMMITTED  every branch is told until it acknowledges (R8); also when only heuristic outcomes are left,
 *            which wait for an operator: FINISH says so then
 * FINISHED   all have; FINISH waits for company
 * ABORTING   decided; ABORT waits for company
 * Resigning makes any of them GONE.
 */
enum txn_run_state {
    TXN_RUN_NONE,
    TXN_RUN_ACTIVE,
    TXN_RUN_PREPARING,
    TXN_RUN_DECIDING,
    TXN_RUN_COMMITTED,
    TXN_RUN_FINISHED,
    TXN_RUN_ABORTING,
    TXN_RUN_GONE,
    TXN_RUN_STATES,
};

enum txn_branch_state {
    TXN_BRANCH_IDLE,       /* not dispatched, and never will be */
    TXN_BRANCH_EXECUTING,  /* dispatched once, to `session` (R2) */
    TXN_BRANCH_PREPARED,   /* voted yes */
    TXN_BRANCH_READY,      /* read-only: has run (R10) */
    TXN_BRANCH_CLOSING,    /* read-only: READ_FINISH is sent */
    TXN_BRANCH_READ,       /* read-only: voted */
    TXN_BRANCH_REFUSED,    /* voted no */
    TXN_BRANCH_COMMITTING, /* told to commit until it acknowledges */
    TXN_BRANCH_HEURISTIC,  /* waits for an operator, not for its agent */
    TXN_BRANCH_DONE,       /* acknowledged */
};

struct txn_branch {
    /* In its session's votes while a vote is missing, in its participant's queue while committing.
     */
    struct txn_link link;
    struct txn_run *run;
    struct txn_participant *participant; /* NULL: unknown */
    uint64_t session;
    uint64_t xid;
    struct as_identity identity;
    as_time due_at; /* when it is told again */
    struct txn_blob *results;
    uint16_t slot;
    uint8_t number;
    uint8_t state; /* enum txn_branch_state */
    uint8_t level; /* of backoff: the queue it is in */
    bool read_only;
};

struct txn_run {
    struct txn_run *next_free;
    struct txn_link live; /* undecided or aborting, in order of attempt */
    struct txn_link lazy; /* its FINISH or ABORT is gathered, or on its way */
    struct txn_timer timer;
    struct as_attempt attempt;
    char id[AS_ID_LEN_MAX + 1];
    uint8_t body_hash[AS_HASH_LEN];
    uint32_t handle;
    enum txn_run_state state;
    bool named; /* found by its id */
    int64_t created_ms, decided_ms;
    uint64_t index;
    uint32_t timeout_ms;
    as_time deadline; /* of voting */
    as_time since;    /* submitted, proposed, applied: of the state it is in */
    as_time lazy_at;  /* when its FINISH or ABORT was proposed */
    struct txn_link waiters;
    uint32_t waiter_count;
    struct txn_blob *reason;     /* struct as_reason, of an aborted one */
    struct txn_blob *names;      /* of participants, if one of them is unknown */
    struct txn_outcome *outcome; /* of a committed one: the table keeps it until it is finished */
    uint32_t branch_count, branch_cap;
    uint32_t votes_missing;  /* yes and ready */
    uint32_t reads_missing;  /* read-only: CLOSING */
    uint32_t unacknowledged; /* COMMITTING */
    uint32_t heuristics;     /* HEURISTIC */
    struct txn_branch branches[];
};

enum txn_waiter_kind { TXN_WAITS_APPLIED, TXN_WAITS_DECIDED, TXN_WAITS_TOLD };

/* A client that waits for a run. */
struct txn_waiter {
    struct txn_link link; /* of the run */
    struct txn_timer timer;
    struct txn_waiter *next_free;
    struct txn_run *run;
    uint64_t client;
    uint32_t handle;
    enum txn_waiter_kind kind;
    bool rides; /* has the run's own deadline instead of a timer */
};

/* A client that waits for its ACKNOWLEDGE to be applied. */
struct txn_acknowledger {
    struct txn_trash trash; /* when it is answered */
    struct txn_link link;
    struct txn_timer timer;
    uint64_t client;
    struct as_attempt attempt;
    uint32_t branch;
    char id[AS_ID_LEN_MAX + 1];
};

/*
 * What an operator asks that an agent must answer (R6): what is prepared at a participant, or that
 * a branch be finished.
 *
 *   LISTING --(listed)--> LOGGING --(applied)--> TOLD --(resolved)--> answered
 */
enum txn_ask_state {
    TXN_ASK_LISTING, /* LIST is sent to `session` */
    TXN_ASK_LOGGING, /* RESOLVE is proposed: who and why are durable before anything is done */
    TXN_ASK_TOLD,    /* RESOLVE is sent to `session`: from here on it may have been done */
};

struct txn_ask {
    struct txn_trash trash; /* when it is answered */
    struct txn_link link;
    struct txn_timer timer;
    uint64_t client;
    uint64_t ticket;
    uint64_t session; /* that is asked; 0: none */
    enum txn_ask_state state;
    bool lost; /* that session has ended */
    struct txn_participant *participant;
    bool resolves;                        /* these are for one that does */
    struct as_resolve resolve;            /* its texts are those below */
    char cluster[AS_CLUSTER_LEN_MAX + 1]; /* of now */
    uint64_t incarnation;
    uint64_t xid;
    char gid[AS_GID_LEN_MAX + 1];
    char who[AS_WHO_LEN_MAX];
    char why[AS_REASON_LEN_MAX];
};

enum txn_serving_state {
    TXN_SERVING_NOT,      /* facts only: nobody leads, or its counter went back (R7) */
    TXN_SERVING_PROPOSED, /* PARTICIPANT must be applied first */
    TXN_SERVING_OUTDONE, /* the table holds other facts by now; it serves when they are its own again */
    TXN_SERVING,
};

/* A session's slot for one participant. */
struct txn_serving {
    struct txn_link of_session;
    struct txn_link of_participant; /* while serving */
    struct txn_session *session;
    struct txn_participant *participant; /* while serving */
    enum txn_serving_state state;
    uint16_t slot;
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    struct as_identity identity;
    uint64_t counter, system_id;
    uint32_t timeline;
};

struct txn_session {
    struct txn_link link;
    uint64_t id;
    bool silent;
    struct txn_link servings;
    struct txn_link votes; /* branches whose vote is missing */
};

/* Attempts that an inquiry was answered with abort: only the inquiry told their id. */
struct txn_doubt {
    struct as_attempt attempt;
    char id[AS_ID_LEN_MAX + 1];
};

#define TXN_DOUBTS 512u
#define TXN_RUN_CLASSES 6 /* branch capacities 2, 4, 8 ... 64 */

struct txn_drive {
    /* settings */
    size_t committed_bytes_max;
    uint32_t undecided_max, resend_first_ms, resend_max_ms, lazy_ms;

    bool leading;
    bool horizon_proposed;
    uint32_t timers; /* objects that have one: the heap has room for all of them */
    uint64_t term;
    uint64_t seq; /* the last one used in this term */
    struct as_rng rng;
    as_time applied_at; /* when the last entry was applied: log time goes on from there */
    struct as_heap heap;

    struct txn_slots runs;
    struct as_map runs_by_id, runs_by_attempt;
    struct txn_link live;
    uint32_t undecided, committed; /* runs in these states */
    struct txn_run *runs_free[TXN_RUN_CLASSES];
    struct txn_run *runs_dead; /* free when the next step begins */

    struct txn_slots waiters;
    struct as_map waiters_by_client;
    struct txn_waiter *waiters_free;
    uint32_t runs_free_count, waiters_free_count;
    struct txn_link acknowledgers, asks;
    uint32_t ask_count;
    uint64_t ticket; /* the last one given to an ask */

    struct txn_link finishing, aborting; /* gathered */
    struct txn_link proposed;            /* on their way, oldest first */
    uint32_t finishing_count, aborting_count;
    struct txn_timer lazy;
    as_time gathered_at;

    struct txn_link sessions, dying; /* dying: down, with votes still missing */
    struct txn_timer dying_timer, serve_timer, adopted_timer;
    struct txn_doubt *doubts;
    uint32_t doubt_next;
    uint32_t session_count;
};

#endif
