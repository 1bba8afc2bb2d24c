/*
 * The fake PostgreSQL: accounts with balances, row locks, transactions with xids, prepared ones, a
 * write-ahead log that a failover or a restore takes back, and the agents' connections.
 */
#ifndef ASSENT_SIM_DB_H
#define ASSENT_SIM_DB_H

#include "sim.h"

#define DB_XIDS 8192
#define DB_WAL 8192
#define DB_OPEN_MAX 64

enum tx_state { TX_RUNNING, TX_PREPARED, TX_COMMITTED, TX_ABORTED, TX_LOST };

struct sim_tx {
    struct sim_db *db;
    struct sim_branch *branch; /* of ours, or that it pretends to be */
    char gid[AS_GID_LEN_MAX + 1];
    uint64_t xid;
    enum tx_state state;
    bool impostor, foreign;
    struct as_identity identity; /* of the database when it got its xid */
    as_time prepared_at;
    struct {
        uint32_t account;
        int64_t delta;
    } writes[SIM_STATEMENTS_MAX];
    uint32_t write_count;
    struct sim_tx *next; /* of the database's, newest first */
};

/* What PostgreSQL keeps in assent.identity. */
struct sim_identity_row {
    bool there;
    struct as_identity token;
    uint64_t counter, system_id;
    uint32_t timeline;
};

enum wal_kind { WAL_PREPARE, WAL_COMMIT, WAL_ROLLBACK, WAL_IDENTITY, WAL_TIMELINE };

struct wal_record {
    enum wal_kind kind;
    struct sim_tx *tx;
    struct sim_identity_row before; /* IDENTITY: as it was */
    bool counted;                   /* IDENTITY: an agent's start */
    uint64_t next_xid;              /* before this record */
    bool logged_out;                /* its answer has been sent to somebody */
};

struct sim_db {
    struct sim *sim;
    uint32_t index;
    char name[16];
    bool up;
    uint32_t epoch; /* grows when connections die: a crash, a failover, a restore */
    enum as_proof proof;
    int64_t balances[SIM_ACCOUNTS];
    struct sim_tx *locks[SIM_ACCOUNTS];
    struct sim_tx *txs;
    uint64_t xid_base, next_xid;
    struct sim_tx *by_xid[DB_XIDS]; /* of this history; index is xid - xid_base */
    struct sim_identity_row row;
    uint64_t system_id;
    uint32_t timeline;
    struct wal_record wal[DB_WAL];
    uint32_t wal_count;
    uint32_t slots;
    bool disturbed; /* failed over or restored: nothing here is as it was */
    bool restored;  /* and for a while its token was that of two histories (docs/simulator.md) */
    struct sim_backend *backends;
};

/* An agent's connections to a database. */
struct sim_view {
    struct as_env *agent;
    struct sim_db *db;
    uint32_t index; /* participant number at the agent */
    bool up;
    bool counted; /* this process has made the counter grow */
    uint32_t epoch;
    uint64_t counter; /* the one it has read last */
    struct as_identity identity;
    as_time broken_until;
    uint64_t open[DB_OPEN_MAX]; /* connections that saw a PREPARE succeed */
    uint32_t open_next;
    struct sim_event *connecting;
};

/* --- db.c: the data --- */

void dbs_open(struct sim *sim);
struct sim_tx *db_tx_new(struct sim_db *db);
void db_tx_xid(struct sim_tx *tx); /* gives it one */
struct sim_tx *db_prepared(struct sim_db *db, const char *gid);
uint32_t db_prepared_count(const struct sim_db *db);
void db_prepare(struct sim_tx *tx);
void db_finish(struct sim_tx *tx, bool commit); /* of a prepared one */
void db_drop(struct sim_tx *tx);                /* a running one rolls back */
enum as_pg_xact db_status(const struct sim_db *db, uint64_t xid);
struct as_identity db_identity(const struct sim_db *db); /* zeros: the row is of another history */
/* An agent connects: what it reads and writes in the identity row. */
/* `known` and `counter`: what it has read before. */
void db_visit(struct sim_db *db, bool count, const struct as_identity *known, uint64_t counter);
void db_rotate(struct sim_db *db, uint64_t counter);
void db_kill(struct sim_db *db);
void db_failover(struct sim_db *db);
bool db_restore(struct sim_db *db); /* false: there is no older state that can be told apart */
/* The branch that a gid names; NULL: none of ours. */
struct sim_branch *db_branch_of(struct sim *sim, const char *gid);

/* --- db_ops.c: operations --- */

void pg_start(struct as_env *env, const struct as_pg_op *op);
void pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id);
/* Its connections are gone: what it was asked ends, or goes on without anybody. */
void pg_agent_died(struct as_env *env);
void pg_view_lost(struct sim_view *view, const char *why);
void pg_db_lost(struct sim_db *db); /* every backend of it ends */
/* No COMMIT PREPARED that was sent is still to come, not even of an agent that is gone. */
void pg_end_commits(struct sim_db *db);
void pg_views_start(struct as_env *env);
/* Those who wait for a row lock look again. */
void pg_locks_released(struct sim_db *db);

#endif
