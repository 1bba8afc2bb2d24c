/*
 * What an agent asks of PostgreSQL, at the level of the protocol: not queries, but "run this branch and
 * prepare it". The postgres room answers with libpq, the simulator with a fake. Each operation ends in
 * exactly one `as_pg_done`, whatever happens; nothing here is retried below the agent.
 */
#ifndef ASSENT_PGOP_H
#define ASSENT_PGOP_H

#include "assent/attempt.h"
#include "assent/reason.h"

enum as_pg_kind {
    /* BEGIN, the statements, xid, PREPARE TRANSACTION gid, all before one Sync. */
    AS_PG_PREPARE,
    /* BEGIN READ ONLY and the statements; the transaction stays open under this operation's id (R10). */
    AS_PG_READ,
    /* COMMIT or ROLLBACK of the open transaction of READ `target`. */
    AS_PG_READ_COMMIT,
    AS_PG_READ_ABORT,
    /* COMMIT PREPARED / ROLLBACK PREPARED gid. If `connection` is not 0 and that connection is not open any
     * more, nothing is sent and the status is STALE: the gid may bear another transaction now (R7). */
    AS_PG_COMMIT_PREPARED,
    AS_PG_ROLLBACK_PREPARED,
    /* What the database knows of gid and xid: listed, status, marker, identity, in one snapshot (R7). */
    AS_PG_PROBE,
    /* All prepared transactions of this database that are ours, and counts of the others (R6). */
    AS_PG_SCAN,
    /* All of this database, foreign ones too: for an operator. */
    AS_PG_LIST,
    /* Write a new identity token (R7), if the row's counter is lower than `counter`, so that the storage was
     * rolled back; otherwise the row stays, for only what this agent had read of it was old. Ends with
     * as_pg_up facts anew. */
    AS_PG_ROTATE,
};

enum as_pg_status {
    AS_PG_OK,
    AS_PG_REFUSED,     /* the server said no (sqlstate); the session is idle and rolled back */
    AS_PG_EXPECTATION, /* `expect_rows` did not hold; `prepared` says whether PREPARE had happened */
    AS_PG_WARNED, /* success with a warning: a no at PREPARE, no acknowledgement at COMMIT PREPARED (R11) */
    AS_PG_LOST,        /* sent, then the connection ended: it may have happened or not */
    AS_PG_UNAVAILABLE, /* not sent: no connection to be had, or the queue is full */
    AS_PG_CANCELLED, /* as_env pg_cancel, or the time allowed ran out; the session is rolled back */
    AS_PG_STALE,     /* not sent: `connection` is gone */
};

/* How a participant proves an outcome once the gid is gone (R7). */
enum as_proof { AS_PROOF_XACT_STATUS = 0, AS_PROOF_MARKER = 1 };

/* Result of pg_xact_status */
enum as_pg_xact {
    AS_PG_XACT_NONE, /* null: too old */
    AS_PG_XACT_IN_PROGRESS,
    AS_PG_XACT_COMMITTED,
    AS_PG_XACT_ABORTED,
    AS_PG_XACT_INVALID, /* 22023: in the future, so not of this history */
};

/* Borrowed for the call that starts it, but `work`: that is borrowed until it is done. */
struct as_pg_op {
    uint64_t id; /* the agent's, unique */
    uint32_t participant;
    enum as_pg_kind kind;
    char gid[AS_GID_LEN_MAX + 1];
    struct as_bytes work;
    uint64_t xid;
    uint64_t connection;
    uint64_t target;
    uint64_t counter;    /* ROTATE: the one the cluster remembers */
    uint32_t timeout_ms; /* of PREPARE and READ, from the start, waiting in the queue included */
};

struct as_pg_prepared {
    const char *gid, *owner;
    uint64_t xid; /* 0: not known */
    int64_t age_ms;
};

/* Borrowed for the call it arrives in. */
struct as_pg_done {
    uint64_t id;
    uint32_t participant;
    enum as_pg_kind kind;
    enum as_pg_status status;
    bool prepared;       /* PREPARE: the tag PREPARE TRANSACTION came back */
    uint64_t xid;        /* PREPARE: pg_current_xact_id() */
    uint64_t connection; /* PREPARE: the connection's number, never used again for another one */
    struct as_bytes results; /* PREPARE, READ: assent/work.h */
    /* on REFUSED, EXPECTATION, WARNED, LOST, UNAVAILABLE, CANCELLED */
    enum as_reason_code
        code;          /* NONE: the server's own refusal; branch_reason tells from sqlstate */
    int32_t statement; /* index from 0, -1: none of them */
    char sqlstate[6];
    const char *message; /* never NULL */
    /* PROBE */
    bool listed;
    uint32_t listed_xid32;
    enum as_pg_xact xact;
    bool marker;
    struct as_identity
        identity; /* the one the database bears at this moment, checked against timeline */
    /* SCAN, LIST */
    const struct as_pg_prepared *rows;
    uint32_t row_count;
    uint32_t foreign;    /* SCAN: not ours, in this database */
    uint32_t slots_used; /* in the whole instance */
    uint32_t slots_ours; /* SCAN, of these: by their gid of our cluster's name */
    /* SCAN, this database: how far the oldest ones hold vacuum back, in transactions; 0: none. */
    uint32_t xmin_age, foreign_xmin_age;
    int64_t foreign_oldest_age_ms;
};

/* A participant became usable, or its facts changed (a new identity, a failover seen). */
struct as_pg_up {
    uint32_t participant;
    struct as_identity identity;
    uint64_t counter;
    uint64_t system_id;
    uint32_t timeline;
    uint32_t server_version;
    uint32_t prepared_max;
    uint16_t connections;
    enum as_proof proof;
    const char *detail; /* warnings of the preflight; never NULL */
};

#endif
