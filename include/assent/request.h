/*
 * What the API asks of a node and what a node answers. The API room turns JSON into these and back; the
 * node knows nothing of HTTP. A `client` is a number of the API's own for one waiting request.
 */
#ifndef ASSENT_REQUEST_H
#define ASSENT_REQUEST_H

#include "assent/reason.h"

enum as_wait {
    AS_WAIT_APPLIED, /* every branch is finished, or the timeout passed after the decision */
    AS_WAIT_DECIDED, /* the decision is durable */
    AS_WAIT_NONE,    /* answer at once */
};

struct as_submit_branch {
    struct as_bytes participant;
    bool read_only;       /* R10 */
    struct as_bytes work; /* assent/work.h */
};

/* Borrowed for the call. */
struct as_submit {
    char id[AS_ID_LEN_MAX + 1];
    uint8_t body_hash[AS_HASH_LEN]; /* R9 */
    uint32_t timeout_ms;
    enum as_wait wait;
    uint32_t branch_count; /* 1..AS_BRANCHES_MAX; branch i has number i + 1 */
    const struct as_submit_branch *branches;
};

struct as_branch_view {
    uint32_t number;
    const char *participant;
    enum as_branch_state state;
    struct as_bytes results; /* assent/work.h; data NULL: not kept */
};

/* A transaction as it is seen now. Everything in it is borrowed for the call it arrives in. */
struct as_txn_view {
    const char *id;
    enum as_txn_state state;
    bool applied;
    struct as_attempt attempt;
    uint64_t index;     /* of the COMMIT record; 0: none */
    int64_t created_ms; /* Unix time, milliseconds; 0: not known any more */
    int64_t decided_ms; /* 0: undecided */
    uint32_t branch_count;
    const struct as_branch_view *branches;
    const struct as_reason *reason; /* NULL unless aborted */
};

/* name, HTTP status, stable code, text that says what to do */
#define AS_REFUSAL_MAP(X)                                                                       \
    X(NOT_FOUND, 404, "not_found",                                                              \
      "no transaction of this id is known now: it has not committed so far, or is older than "  \
      "retention_ms; post it again to settle it")                                               \
    X(ID_REUSED, 422, "id_reused",                                                              \
      "this id belongs to a transaction with another body; use a new id")                       \
    X(ID_EXPIRED, 422, "id_expired",                                                            \
      "this UUIDv7 is older than the outcomes kept here, or in the future; use a new id")       \
    X(NO_LEADER, 503, "no_leader", "no coordinator leads now; try again with the same id")      \
    X(OUTCOME_UNKNOWN, 503, "outcome_unknown",                                                  \
      "the outcome is not known here; ask again with the same id")                              \
    X(DISK_FULL, 503, "disk_full",                                                              \
      "the decision log has no space left; free some on its disk and try again")                \
    X(SHUTTING_DOWN, 503, "shutting_down", "this node is stopping; try another or again later") \
    X(OVERLOADED, 503, "overloaded", "too many transactions are in flight; try again later")    \
    X(NOT_HEURISTIC, 409, "not_heuristic",                                                      \
      "this branch has no heuristic outcome that awaits an operator")

#define AS_REFUSAL_ENUM(name, status, code, text) AS_REFUSAL_##name,
enum as_refusal { AS_REFUSAL_MAP(AS_REFUSAL_ENUM) AS_REFUSAL_COUNT };

struct as_reply {
    bool refused;
    enum as_refusal refusal;        /* if refused */
    const char *id;                 /* always, NUL-terminated */
    const struct as_txn_view *view; /* unless refused */
};

#endif
