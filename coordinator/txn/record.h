/*
 * The records of the decision log that the transaction table folds (protocol.md, "Log records").
 * The envelope of an entry (index, term, log time, type) belongs to the log; here is the payload.
 */
#ifndef ASSENT_TXN_RECORD_H
#define ASSENT_TXN_RECORD_H

#include "assent/buf.h"
#include "assent/reason.h"

enum txn_record_type {
    TXN_RECORD_NOOP = 1,
    TXN_RECORD_COMMIT,
    TXN_RECORD_FINISH,
    TXN_RECORD_ABORT,
    TXN_RECORD_HEURISTIC,
    TXN_RECORD_ACKNOWLEDGE,
    TXN_RECORD_HORIZON,
    TXN_RECORD_PARTICIPANT,
    TXN_RECORD_RESOLVE,
    TXN_RECORD_END,
};

/* A branch of a COMMIT: what proves its outcome later (R7). Read-only branches stand in no record
 * (R10). */
struct txn_record_branch {
    uint32_t number;
    uint32_t participant; /* id in the replicated table of participants */
    uint64_t xid;
    struct as_identity identity;
};

/* An entry as the table sees it. */
struct txn_entry {
    uint64_t index;
    uint64_t term;
    int64_t time_ms; /* the log's own time (protocol.md, "Log records") */
    uint8_t type;
    struct as_bytes payload;
};

struct txn_record {
    enum txn_record_type type;
    union {
        struct {
            char id[AS_ID_LEN_MAX + 1];
            struct as_attempt attempt;
            uint8_t body_hash[AS_HASH_LEN];
            int64_t created_ms, decided_ms; /* the leader's wall clock: for display only */
            uint32_t branch_count;
            struct txn_record_branch branches[AS_BRANCHES_MAX];
        } commit;
        struct {
            uint32_t count;
            struct as_bytes
                attempts; /* count times u64 term, u64 seq; read with txn_record_attempt */
        } finish;
        struct {
            char id[AS_ID_LEN_MAX + 1];
            struct as_attempt attempt;
            uint8_t body_hash[AS_HASH_LEN];
            int64_t created_ms, decided_ms;
            struct as_reason reason;
        } abort;
        struct {
            struct as_attempt attempt;
            uint32_t branch;
            enum as_branch_state what; /* one of the four heuristic states */
            /* An aborted attempt may stand in no other record: these say whose branch it is. */
            uint32_t participant;
            char id[AS_ID_LEN_MAX + 1];
        } heuristic;
        struct {
            struct as_attempt attempt;
            uint32_t branch;
            struct as_bytes who, why;
        } acknowledge;
        struct as_attempt horizon;
        struct {
            char name[AS_PARTICIPANT_LEN_MAX + 1];
            struct as_identity identity;
            uint64_t counter;
            uint64_t system_id;
            uint32_t timeline;
        } participant;
        /* What an operator decides about a prepared branch; changes nothing in the table. */
        struct {
            uint32_t participant;
            struct as_gid gid;
            uint64_t xid;
            bool commit;
            struct as_bytes who, why;
        } resolve;
    };
};

/* Appends the payload. */
void txn_record_put(struct as_buf *buf, const struct txn_record *record);
/* Strict: trailing or missing bytes, counts over their limits and bad names are MALFORMED. */
as_err txn_record_take(uint8_t type, struct as_bytes payload, struct txn_record *ret) AS_MUSTCHECK;
/* Of a COMMIT or ABORT: whose it is. False: of another type, or it cannot be read. */
bool txn_record_peek(uint8_t type, struct as_bytes payload, char ret_id[AS_ID_LEN_MAX + 1],
                     struct as_attempt *ret_attempt);
struct as_attempt txn_record_attempt(const struct txn_record *finish, uint32_t i);
const char *txn_record_type_text(uint8_t type); /* "COMMIT"; "?" */

#endif
