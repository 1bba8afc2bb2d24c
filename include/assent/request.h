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

/* An operator's word about a prepared branch that no coordinator can answer for (R6). Borrowed. */
struct as_resolve {
    const char *participant;
    struct as_gid gid;
    bool commit;
    bool other_incarnation; /* the operator knows that nobody else can answer for that one either */
    struct as_bytes who, why;
};

struct as_prepared_view {
    struct as_bytes gid, owner; /* as the database has them; a gid need not be one of ours */
    struct as_gid parts;        /* unless FOREIGN */
    uint64_t xid;
    int64_t age_ms;
    enum as_prepared state;
    enum as_verdict verdict; /* NONE of another incarnation and of foreign ones */
};

/* What is prepared at one participant now; borrowed like a view. */
struct as_prepared_list {
    const char *participant;
    uint32_t count;
    const struct as_prepared_view *rows; /* those in doubt first */
    uint32_t total;                      /* in this database, listed here or not */
    uint32_t foreign;                    /* of these: not of this cluster's name */
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
    X(OUTCOMES_FULL, 503, "overloaded",                                                         \
      "as many outcomes are kept as [limits] outcomes_max allows, and the oldest is younger "   \
      "than retention_ms; try again later")                                                     \
    X(NOT_HEURISTIC, 409, "not_heuristic",                                                      \
      "this branch has no heuristic outcome that awaits an operator")                           \
    X(NO_SUCH_PARTICIPANT, 404, "no_such_participant",                                          \
      "no agent has served a participant of this name yet; see /v1/participants")               \
    X(PARTICIPANT_DOWN, 503, "participant_down",                                                \
      "the participant's agent or database is down: nothing was done; try again later")         \
    X(NOT_IN_TIME, 503, "not_in_time",                                                          \
      "the agent, or the decision log, has not answered in time: nothing was done; try again")  \
    X(BUSY, 503, "busy", "busy now: nothing was done; try again")                               \
    X(NOT_PREPARED, 404, "not_prepared",                                                        \
      "no prepared transaction bears this gid there now: it was finished, or never was")        \
    X(FINISHED_OTHERWISE, 409, "finished_otherwise",                                            \
      "somebody else finished this branch the other way: see what the database says of it")     \
    X(REPLACED, 409, "replaced",                                                                \
      "this gid bears another transaction than a moment ago: nothing was done; list again")     \
    X(FOREIGN_GID, 409, "foreign_gid",                                                          \
      "this is not a branch of this cluster: foreign ones are shown, never touched")            \
    X(OTHER_INCARNATION, 409, "other_incarnation",                                              \
      "this branch is of another incarnation of the cluster, which cannot be asked here: make " \
      "sure that no coordinator with its decision log is left, then say so with "               \
      "\"other_incarnation\": true")                                                            \
    X(UNDECIDED, 409, "undecided",                                                              \
      "its transaction is not decided yet: the coordinator finishes the branch by itself")      \
    X(DECIDED_COMMIT, 409, "decided_commit",                                                    \
      "the coordinator answers commit and finishes the branch by itself; last_refusal of the "  \
      "participant tells why it could not")                                                     \
    X(DECIDED_ABORT, 409, "decided_abort",                                                      \
      "the coordinator answers abort and finishes the branch by itself; last_refusal of the "   \
      "participant tells why it could not")                                                     \
    X(NO_ANSWER, 409, "no_answer",                                                              \
      "the coordinator has no answer yet: the decision is on its way to the log, or the gid "   \
      "is of a later term than this coordinator's")                                             \
    X(DATABASE_REFUSED, 409, "database_refused", "the database refused: nothing was done")      \
    X(RESOLVE_UNKNOWN, 503, "resolve_unknown",                                                  \
      "whether it was done is not known: list what is prepared there, and ask again if need be")

#define AS_REFUSAL_ENUM(name, status, code, text) AS_REFUSAL_##name,
enum as_refusal { AS_REFUSAL_MAP(AS_REFUSAL_ENUM) AS_REFUSAL_COUNT };

struct as_reply {
    bool refused;
    enum as_refusal refusal; /* if refused */
    const char *id;          /* always, NUL-terminated */
    const char *detail;      /* if refused: what the database or the agent said; or NULL */
    /* Unless refused, what was asked for: one of these. */
    const struct as_txn_view *view;
    const struct as_prepared_list *prepared;
    const struct as_resolve *resolved; /* was done, as this says: */
    bool tag;                          /* by the command's own tag; false: by R7, afterwards */
};

#endif
