/*
 * States and reasons as the API names them (api.md): one list each, so that core, wire and JSON agree.
 */
#ifndef ASSENT_REASON_H
#define ASSENT_REASON_H

#include "assent/attempt.h"

#define AS_TXN_STATE_MAP(X)   \
    X(ACTIVE, "active")       \
    X(PREPARING, "preparing") \
    X(COMMITTED, "committed") \
    X(ABORTED, "aborted")

#define AS_BRANCH_STATE_MAP(X)              \
    X(ACTIVE, "active")                     \
    X(PREPARED, "prepared")                 \
    X(COMMITTED, "committed")               \
    X(ABORTED, "aborted")                   \
    X(READ_ONLY, "read_only")               \
    X(HEURISTIC_ABORT, "heuristic_abort")   \
    X(HEURISTIC_COMMIT, "heuristic_commit") \
    X(LOST_PREPARE, "lost_prepare")         \
    X(UNVERIFIED, "unverified")

/* What a leader answers about an attempt (R3). */
#define AS_VERDICT_MAP(X) \
    X(NONE, "none")       \
    X(PENDING, "pending") \
    X(COMMIT, "commit")   \
    X(ABORT, "abort")     \
    X(UNKNOWN, "unknown")

/* What a prepared transaction is to this cluster. */
#define AS_PREPARED_MAP(X)                    \
    X(LIVE, "live")                           \
    X(IN_DOUBT, "in_doubt")                   \
    X(ORPHANED, "orphaned")                   \
    X(OTHER_INCARNATION, "other_incarnation") \
    X(FOREIGN, "foreign")

#define AS_REASON_MAP(X)                                  \
    X(NONE, "none")                                       \
    X(STATEMENT_FAILED, "statement_failed")               \
    X(EXPECTATION_FAILED, "expectation_failed")           \
    X(TIMEOUT, "timeout")                                 \
    X(PARTICIPANT_UNAVAILABLE, "participant_unavailable") \
    X(PREPARE_REFUSED, "prepare_refused")                 \
    X(CLIENT_ABORT, "client_abort")                       \
    X(LOCK_CONFLICT, "lock_conflict")                     \
    X(UNKNOWN_PARTICIPANT, "unknown_participant")         \
    X(OVERLOADED, "overloaded")

#define AS_TXN_STATE_ENUM(name, text) AS_TXN_##name,
#define AS_BRANCH_STATE_ENUM(name, text) AS_BRANCH_##name,
#define AS_VERDICT_ENUM(name, text) AS_VERDICT_##name,
#define AS_PREPARED_ENUM(name, text) AS_PREPARED_##name,
#define AS_REASON_ENUM(name, text) AS_REASON_##name,
enum as_txn_state { AS_TXN_STATE_MAP(AS_TXN_STATE_ENUM) AS_TXN_STATE_COUNT };
enum as_branch_state { AS_BRANCH_STATE_MAP(AS_BRANCH_STATE_ENUM) AS_BRANCH_STATE_COUNT };
enum as_verdict { AS_VERDICT_MAP(AS_VERDICT_ENUM) AS_VERDICT_COUNT };
enum as_prepared { AS_PREPARED_MAP(AS_PREPARED_ENUM) AS_PREPARED_COUNT };
enum as_reason_code { AS_REASON_MAP(AS_REASON_ENUM) AS_REASON_COUNT };

/* Texts of the API; never NULL ("?" for a number that is none). */
const char *as_txn_state_text(enum as_txn_state state);
const char *as_branch_state_text(enum as_branch_state state);
const char *as_verdict_text(enum as_verdict verdict);
const char *as_prepared_text(enum as_prepared prepared);
const char *as_reason_text(enum as_reason_code code);
/* The state of that API text; NOTFOUND if there is none. */
as_err as_txn_state_of(const char *text, enum as_txn_state *ret_state) AS_MUSTCHECK;

/* True for the four outcomes of a branch that only an operator may close (R7). */
static inline bool as_branch_state_heuristic(enum as_branch_state state)
{
    return state >= AS_BRANCH_HEURISTIC_ABORT && state <= AS_BRANCH_UNVERIFIED;
}

/* Why an attempt was aborted. Plain data, copied by value. */
struct as_reason {
    enum as_reason_code code;
    uint32_t branch;   /* number, 0: none in particular */
    int32_t statement; /* index from 0 within the branch, -1: none */
    char sqlstate[6];  /* five characters or empty */
    char participant[AS_PARTICIPANT_LEN_MAX + 1];
    char message[AS_REASON_LEN_MAX + 1];
};

/* Fills in a reason; the message is cut at a UTF-8 boundary and marked with "..." when too long. */
void as_reason_set(struct as_reason *reason, enum as_reason_code code, const char *message);
void as_reason_set_bytes(struct as_reason *reason, enum as_reason_code code,
                         struct as_bytes message);

#endif
