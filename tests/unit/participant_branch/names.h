/*
 * Names of operations, statuses, votes and acknowledgements for golden scripts.
 */
#ifndef ASSENT_TEST_NAMES_H
#define ASSENT_TEST_NAMES_H

#include "assent/pgop.h"
#include "assent/wire.h"

static const char *const op_names[] = {
    [AS_PG_PREPARE] = "PREPARE",
    [AS_PG_READ] = "READ",
    [AS_PG_READ_COMMIT] = "READ_COMMIT",
    [AS_PG_READ_ABORT] = "READ_ABORT",
    [AS_PG_COMMIT_PREPARED] = "COMMIT_PREPARED",
    [AS_PG_ROLLBACK_PREPARED] = "ROLLBACK_PREPARED",
    [AS_PG_PROBE] = "PROBE",
    [AS_PG_SCAN] = "SCAN",
    [AS_PG_LIST] = "LIST",
    [AS_PG_ROTATE] = "ROTATE",
};
static const char *const status_names[] = {
    [AS_PG_OK] = "OK",
    [AS_PG_REFUSED] = "REFUSED",
    [AS_PG_EXPECTATION] = "EXPECTATION",
    [AS_PG_WARNED] = "WARNED",
    [AS_PG_LOST] = "LOST",
    [AS_PG_UNAVAILABLE] = "UNAVAILABLE",
    [AS_PG_CANCELLED] = "CANCELLED",
    [AS_PG_STALE] = "STALE",
};
static const char *const xact_names[] = {
    [AS_PG_XACT_NONE] = "none",           [AS_PG_XACT_IN_PROGRESS] = "in_progress",
    [AS_PG_XACT_COMMITTED] = "committed", [AS_PG_XACT_ABORTED] = "aborted",
    [AS_PG_XACT_INVALID] = "invalid",
};
static const char *const vote_names[] = {
    [AS_VOTE_NO] = "NO",
    [AS_VOTE_YES] = "YES",
    [AS_VOTE_READY] = "READY",
    [AS_VOTE_READ_ONLY] = "READ_ONLY",
};
static const char *const ack_names[] = {
    [0] = "nothing",
    [AS_ACK_COMMITTED] = "COMMITTED",
    [AS_ACK_ABORTED] = "ABORTED",
    [AS_ACK_HEURISTIC_ABORT] = "HEURISTIC_ABORT",
    [AS_ACK_HEURISTIC_COMMIT] = "HEURISTIC_COMMIT",
    [AS_ACK_LOST_PREPARE] = "LOST_PREPARE",
    [AS_ACK_UNVERIFIED] = "UNVERIFIED",
    [AS_ACK_RETRY] = "RETRY",
};

static const char *const asked_names[] = {
    [AS_ASKED_DONE] = "DONE",           [AS_ASKED_GONE] = "GONE",
    [AS_ASKED_OTHERWISE] = "OTHERWISE", [AS_ASKED_REPLACED] = "REPLACED",
    [AS_ASKED_BUSY] = "BUSY",           [AS_ASKED_REFUSED] = "REFUSED",
    [AS_ASKED_DOWN] = "DOWN",           [AS_ASKED_UNKNOWN] = "UNKNOWN",
};

/* "A" stands for a token of sixteen As, "-" for none. */
static inline struct as_identity identity_of(const char *text)
{
    struct as_identity identity = {{0}};

    if (text && *text != '-')
        memset(identity.token, *text, sizeof identity.token);
    return identity;
}

static inline char identity_name(const struct as_identity *identity)
{
    return identity->token[0] ? (char)identity->token[0] : '-';
}

/* The fields of a `done` command, but for id, kind and rows. */
static inline struct as_pg_done done_of(const struct golden *golden, const char *status)
{
    static const char *const codes[] = {"none", "statement_failed", "expectation_failed",
                                        "timeout"};
    const char *code = golden_word(golden, "code");
    const char *xact = golden_word(golden, "xact");
    const char *sqlstate = golden_word(golden, "sqlstate");
    const char *message = golden_word(golden, "message");
    struct as_pg_done done = {
        .status = (enum as_pg_status)golden_choice(golden, status, status_names,
                                                   AS_COUNT_OF(status_names)),
        .prepared = golden_word(golden, "prepared"),
        .xid = golden_number(golden, "xid", 0),
        .connection = golden_number(golden, "connection", 0),
        .statement = (int32_t)golden_number(golden, "statement", (uint64_t)-1),
        .message = message ? message : "",
        .listed = golden_word(golden, "listed"),
        .listed_xid32 = (uint32_t)golden_number(golden, "listed", 0),
        .marker = golden_word(golden, "marker"),
        .identity = identity_of(golden_word(golden, "identity")),
        .foreign = (uint32_t)golden_number(golden, "foreign", 0),
        .slots_used = (uint32_t)golden_number(golden, "used", 0),
        .slots_ours = (uint32_t)golden_number(golden, "ours", 0),
        .xmin_age = (uint32_t)golden_number(golden, "xmin", 0),
        .foreign_xmin_age = (uint32_t)golden_number(golden, "foreign_xmin", 0),
        .foreign_oldest_age_ms = (int64_t)golden_number(golden, "foreign_oldest", 0),
    };

    if (code)
        done.code = (enum as_reason_code)golden_choice(golden, code, codes, AS_COUNT_OF(codes));
    if (xact)
        done.xact =
            (enum as_pg_xact)golden_choice(golden, xact, xact_names, AS_COUNT_OF(xact_names));
    if (sqlstate)
        strncpy(done.sqlstate, sqlstate, sizeof done.sqlstate - 1);
    return done;
}

#endif
