/*
 * The branch core: one branch of one attempt at one participant, from its statements to its proven
 * end.
 *
 *                       yes               COMMIT               proven (R7)
 *   idle --> executing -------> prepared ---------> committing ------------> done
 *             |     |               |
 *             |     | ready         | ABORT
 *             |     v               v             rolled back, or not there
 *             |   read_only ----> aborting --------------------------------> done
 *             |     |    given up   ^
 *             |     |               |
 *             +-----|---------------+  given up, or prepared and yet a no
 *                   |
 *                   +-- its COMMIT ended (R10) ----------------------------> done
 *
 *   idle -> prepared                  found prepared, not run here (R6)
 *   idle, executing -> done           given up before it ran; a no of which nothing is left
 *   committing, aborting -> prepared  not now: RETRY, until resent or asked for again (R8, R6)
 *   prepared -> done                  not listed any more, and nobody's vote
 *
 * "given up": by ABORT, or by the agent itself before it voted yes.
 *
 * What each state waits for (`busy`: an operation of PostgreSQL is in flight, one at any time):
 *
 * - idle: a free slot of the participant; nothing has been sent to PostgreSQL.
 * - executing: PREPARE or READ to end; no yes has left, so the agent may still roll back (R2).
 * - read_only: READ_FINISH, then the COMMIT of the open transaction: its success is the vote (R10).
 * - prepared: a coordinator's answer. A branch that voted yes leaves by nothing else (R6).
 * - committing: COMMIT PREPARED, or the PROBE that proves what became of it (R7).
 * - aborting: what was in flight when the abort came, then ROLLBACK PREPARED, then maybe a PROBE.
 *
 * Pure, without memory of its own and without a clock: deadlines are events that the agent sends.
 * Of the effects of one step any may be carried out first, or be lost in a crash: a lost vote is a
 * no (R2), a lost acknowledgement makes the leader ask again (R8), a lost ROLLBACK PREPARED is
 * found by the scan (R6).
 */
#ifndef ASSENT_BRANCH_H
#define ASSENT_BRANCH_H

#include "assent/pgop.h"
#include "assent/wire.h"

enum branch_state {
    BRANCH_IDLE = 0,
    BRANCH_EXECUTING,
    BRANCH_READ_ONLY,
    BRANCH_PREPARED,
    BRANCH_COMMITTING,
    BRANCH_ABORTING,
    BRANCH_DONE,
    BRANCH_STATE_COUNT,
};

/* A zeroed struct is an idle branch. Only branch_step changes it; everybody may read. */
struct branch {
    enum branch_state state;
    bool busy; /* `op` is in flight */
    enum as_pg_kind op;
    bool read_only; /* R10 */
    bool found;     /* not run here: what it voted is the coordinator's knowledge */
    bool voted;     /* yes was given: from now on only a coordinator finishes it (R6) */
    bool told;      /* a decision waits for its acknowledgement */
    bool may_exist; /* its PREPARE was lost, or ROLLBACK PREPARED did not find it: not final (R6) */
    uint8_t probes; /* for this decision */
    enum as_ack outcome; /* when done: what became of it; 0: read-only, or somebody else ended it */
    uint64_t connection; /* that saw PREPARE succeed; 0: none, or not to be trusted any more */
    uint64_t xid;        /* of the yes; 0: not known */
    struct as_identity identity; /* of the database at the yes */
    uint64_t decided_xid;        /* of the decision: what stands in the log */
    struct as_identity decided_identity;
};

enum branch_event_kind {
    BRANCH_EXECUTE, /* a slot is free: run it */
    BRANCH_FIND,    /* listed in pg_prepared_xacts, or named by a decision, and not run here */
    BRANCH_GIVE_UP, /* the agent's own no, before it voted: session lost, higher term, out of time
                     */
    BRANCH_READ_FINISH, /* R10: all other votes are in */
    BRANCH_COMMIT,
    BRANCH_ABORT,
    BRANCH_VANISH,  /* the scan does not list it any more */
    BRANCH_PG_DONE, /* the operation in flight has ended */
};

struct branch_event {
    enum branch_event_kind kind;
    union {
        bool read_only; /* EXECUTE */
        struct {
            enum as_reason_code code;
            const char *message;
        } give_up;
        struct {
            uint64_t xid; /* 0: not known to the coordinator */
            struct as_identity identity;
        } decision;   /* COMMIT, ABORT */
        bool unknown; /* VANISH: the coordinator cannot tell either (R3, unknown) */
        struct {
            const struct as_pg_done *done;
            struct as_identity identity; /* PREPARE: the database's when it was started */
            bool moved;                  /* PREPARE: it bears another one by now */
            enum as_proof proof;
            bool late; /* this branch's time is over */
        } pg;
    };
};

/* Texts and results are borrowed from the event. */
struct branch_effects {
    bool start; /* begin `op`, with these fields; gid, work, target and timeout are the agent's */
    enum as_pg_kind op;
    uint64_t connection;
    uint64_t xid;
    bool cancel;              /* end the operation in flight soon */
    enum as_vote vote;        /* 0: none; xid and identity stand in the branch */
    enum as_reason_code code; /* of a NO: these four */
    int32_t statement;
    char sqlstate[6];
    const char *message;
    struct as_bytes results; /* of YES and READY */
    enum as_ack ack;         /* 0: none */
    const char *ack_message; /* never NULL with an ack */
};

/*
 * OK: the event happened; effects hold until the event's own memory goes. INVALID: this event
 * cannot come in this state; REFUSED: a rule forbids it. In both nothing changed and there are no
 * effects.
 */
as_err branch_step(struct branch *branch, const struct branch_event *event,
                   struct branch_effects *ret_effects) AS_MUSTCHECK;

/* What a PROBE says about a branch that is to be committed (R7). */
enum branch_proof {
    BRANCH_PROOF_LISTED, /* it is there, and it is ours: COMMIT PREPARED */
    BRANCH_PROOF_COMMITTED,
    BRANCH_PROOF_HEURISTIC_ABORT, /* this history says: rolled back */
    BRANCH_PROOF_LOST_PREPARE, /* another history: it was never prepared in it, or not any more */
    BRANCH_PROOF_UNVERIFIED,
    BRANCH_PROOF_BUSY, /* still in progress: try again */
};

/* R7 as a function of what is known. `xid` 0: not known, then only the listing and a marker prove.
 */
enum branch_proof branch_prove(const struct as_pg_done *probe, uint64_t xid,
                               struct as_identity identity, enum as_proof kept);

/* Why a PREPARE or READ that did not succeed is a no. `late`: the branch's time is over. */
enum as_reason_code branch_reason(const struct as_pg_done *done, bool late);

const char *branch_state_text(enum branch_state state); /* "prepared" */

#endif
