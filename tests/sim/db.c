/*
 * The data of the fake PostgreSQL. What changes it stands in a write-ahead log first, so that a promoted standby,
 * or restored storage, is that log without its end: prepared transactions are gone or back, transaction ids are
 * given out again (R7).
 */
#include "db.h"

#include <stdlib.h>

#include "observe.h"

#define LOST_MAX 6 /* records that a standby may lack */

/* A transaction of other people's that has committed: whoever asks for its status believes in it. */
static struct sim_tx foreign_committed = {.state = TX_COMMITTED};

void dbs_open(struct sim *sim)
{
    sim->dbs = sim_alloc(sim, sim->plan.dbs * sizeof *sim->dbs);
    for (uint32_t i = 0; i < sim->plan.dbs; i++) {
        struct sim_db *db = &sim->dbs[i];

        db->sim = sim;
        db->index = i;
        snprintf(db->name, sizeof db->name, "bank_%c", (char)('a' + i));
        db->up = true;
        db->epoch = 1;
        db->proof = sim->plan.proof[i];
        db->slots = sim->plan.slots;
        db->timeline = 1;
        db->system_id = as_rng_next(&sim->rng);
        /* Ids longer than 32 bits: pg_prepared_xacts shows only half of them. */
        db->xid_base = sim_below(sim, 4) << 32 | (1000 + sim_below(sim, 100000));
        db->next_xid = db->xid_base;
        for (uint32_t account = 0; account < SIM_ACCOUNTS; account++)
            db->balances[account] = SIM_BALANCE;
    }
}

struct sim_branch *db_branch_of(struct sim *sim, const char *text)
{
    struct sim_attempt *attempt;
    struct as_gid gid;

    if (as_gid_parse(text, strlen(text), &gid) || strcmp(gid.cluster, SIM_CLUSTER) != 0 ||
        gid.incarnation != SIM_INCARNATION)
        return NULL;
    attempt = attempt_of(sim, gid.attempt);
    return attempt && gid.branch >= 1 && gid.branch <= attempt->branch_count
               ? &attempt->branches[gid.branch - 1]
               : NULL;
}

/* --- The write-ahead log --- */

static struct wal_record *wal_add(struct sim_db *db, enum wal_kind kind, struct sim_tx *tx)
{
    struct wal_record *record = &db->wal[db->wal_count++];

    AS_ASSERT(db->wal_count < DB_WAL);
    *record = (struct wal_record){.kind = kind, .tx = tx, .next_xid = db->next_xid};
    record->before = db->row;
    return record;
}

static void apply_writes(struct sim_tx *tx, int64_t sign)
{
    for (uint32_t i = 0; i < tx->write_count; i++)
        tx->db->balances[tx->writes[i].account] += sign * tx->writes[i].delta;
}

static void lock_all(struct sim_tx *tx)
{
    for (uint32_t i = 0; i < tx->write_count; i++)
        tx->db->locks[tx->writes[i].account] = tx;
}

static void unlock_all(struct sim_tx *tx)
{
    for (uint32_t i = 0; i < SIM_ACCOUNTS; i++) {
        if (tx->db->locks[i] == tx)
            tx->db->locks[i] = NULL;
    }
    pg_locks_released(tx->db);
}

/* --- Transactions --- */

struct sim_tx *db_tx_new(struct sim_db *db)
{
    struct sim_tx *tx = sim_alloc(db->sim, sizeof *tx);

    tx->db = db;
    tx->next = db->txs;
    db->txs = tx;
    return tx;
}

void db_tx_xid(struct sim_tx *tx)
{
    struct sim_db *db = tx->db;

    if (tx->xid)
        return;
    tx->xid = db->next_xid++;
    tx->identity = db_identity(db);
    AS_ASSERT(tx->xid - db->xid_base < DB_XIDS);
    db->by_xid[tx->xid - db->xid_base] = tx;
}

struct sim_tx *db_prepared(struct sim_db *db, const char *gid)
{
    for (struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        if (tx->state == TX_PREPARED && strcmp(tx->gid, gid) == 0)
            return tx;
    }
    return NULL;
}

uint32_t db_prepared_count(const struct sim_db *db)
{
    uint32_t count = 0;

    for (const struct sim_tx *tx = db->txs; tx; tx = tx->next)
        count += tx->state == TX_PREPARED;
    return count;
}

void db_prepare(struct sim_tx *tx)
{
    wal_add(tx->db, WAL_PREPARE, tx);
    tx->state = TX_PREPARED;
    tx->prepared_at = tx->db->sim->now;
    if (tx->branch && !tx->impostor && !tx->foreign)
        tx->branch->tx = tx;
    SIM_SAY(tx->db->sim, 1, "%s: %s is prepared, xid %llu", tx->db->name, tx->gid,
            (unsigned long long)tx->xid);
    sim_mix(tx->db->sim, 'P', tx->xid);
}

void db_finish(struct sim_tx *tx, bool commit)
{
    AS_ASSERT(tx->state == TX_PREPARED);
    wal_add(tx->db, commit ? WAL_COMMIT : WAL_ROLLBACK, tx);
    tx->state = commit ? TX_COMMITTED : TX_ABORTED;
    if (commit)
        apply_writes(tx, 1);
    if (commit && tx->branch && !tx->impostor && !tx->foreign)
        tx->branch->committed_ever = true;
    SIM_SAY(tx->db->sim, 1, "%s: %s is %s", tx->db->name, tx->gid,
            commit ? "committed" : "rolled back");
    sim_mix(tx->db->sim, commit ? 'C' : 'R', tx->xid);
    unlock_all(tx);
}

void db_drop(struct sim_tx *tx)
{
    if (tx->state != TX_RUNNING)
        return;
    tx->state = TX_ABORTED;
    unlock_all(tx);
}

enum as_pg_xact db_status(const struct sim_db *db, uint64_t xid)
{
    const struct sim_tx *tx;

    if (xid == 0)
        return AS_PG_XACT_NONE;
    if (xid >= db->next_xid)
        return AS_PG_XACT_INVALID;
    tx = xid < db->xid_base ? &foreign_committed : db->by_xid[xid - db->xid_base];
    if (!tx)
        return AS_PG_XACT_ABORTED; /* it ran, and nothing is left of it */
    if (tx->branch && tx->branch->forgotten)
        return AS_PG_XACT_NONE;
    return tx->state == TX_COMMITTED                             ? AS_PG_XACT_COMMITTED
           : tx->state == TX_RUNNING || tx->state == TX_PREPARED ? AS_PG_XACT_IN_PROGRESS
                                                                 : AS_PG_XACT_ABORTED;
}

/* --- Identity (protocol.md, "Words") --- */

struct as_identity db_identity(const struct sim_db *db)
{
    static const struct as_identity none;

    return db->row.there && db->row.system_id == db->system_id && db->row.timeline == db->timeline
               ? db->row.token
               : none;
}

static void write_token(struct sim_db *db)
{
    uint64_t token[2] = {as_rng_next(&db->sim->rng) | 1, as_rng_next(&db->sim->rng)};

    memcpy(db->row.token.token, token, sizeof db->row.token.token);
    db->row.there = true;
    db->row.system_id = db->system_id;
    db->row.timeline = db->timeline;
}

void db_visit(struct sim_db *db, bool count, const struct as_identity *known, uint64_t counter)
{
    bool older =
        !count && db->row.counter < counter && memcmp(&db->row.token, known, sizeof *known) == 0;
    bool ours = db->row.there && db->row.system_id == db->system_id &&
                db->row.timeline == db->timeline && !older;

    if (ours && !count)
        return;
    wal_add(db, WAL_IDENTITY, NULL)->counted = count;
    if (!ours)
        write_token(db);
    db->row.counter += count;
}

void db_rotate(struct sim_db *db, uint64_t counter)
{
    if (db->row.counter >= counter)
        return; /* this agent's knowledge was old, not the storage */
    wal_add(db, WAL_IDENTITY, NULL);
    write_token(db);
}

/* --- What happens to a server --- */

void db_kill(struct sim_db *db)
{
    SIM_SAY(db->sim, 1, "%s is killed", db->name);
    db->epoch++;
    pg_db_lost(db);
}

static void undo_tx(struct sim_db *db, const struct wal_record *record)
{
    struct sim_tx *tx = record->tx;

    if (tx->branch)
        tx->branch->undone = true;
    if (record->kind == WAL_PREPARE) {
        tx->state = TX_LOST;
        return;
    }
    if (record->kind == WAL_COMMIT)
        apply_writes(tx, -1);
    tx->state = TX_PREPARED;
    SIM_SAY(db->sim, 1, "%s: %s is back", db->name, tx->gid);
}

/* The last records never happened; whoever ran then is gone. */
static void undo(struct sim_db *db, uint32_t count)
{
    while (count-- > 0) {
        const struct wal_record *record = &db->wal[--db->wal_count];

        if (record->kind == WAL_TIMELINE)
            db->timeline--;
        else if (record->kind == WAL_IDENTITY)
            db->row = record->before;
        else
            undo_tx(db, record);
        if (record->next_xid < db->next_xid)
            db->next_xid = record->next_xid;
    }
    /* Its own xid is younger than what the log knew when a transaction began: none is given twice while it
     * is prepared. */
    for (const struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        if (tx->state == TX_PREPARED || tx->state == TX_COMMITTED)
            db->next_xid = tx->xid >= db->next_xid ? tx->xid + 1 : db->next_xid;
    }
    for (uint64_t i = db->next_xid - db->xid_base; i < DB_XIDS; i++)
        db->by_xid[i] = NULL;
    memset(db->locks, 0, sizeof db->locks);
    for (struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        if (tx->state == TX_PREPARED)
            lock_all(tx);
    }
}

/* "Five of five lost prepares then read committed": others get the same ids, and commit. */
static void others_go_on(struct sim_db *db)
{
    for (uint64_t count = sim_below(db->sim, 12); count > 0; count--)
        db->by_xid[db->next_xid++ - db->xid_base] = &foreign_committed;
}

static void go_back(struct sim_db *db, uint32_t count)
{
    db->epoch++;
    db->disturbed = true;
    pg_db_lost(db); /* before: what ran holds locks and ids */
    undo(db, count);
}

void db_failover(struct sim_db *db)
{
    uint32_t max = db->wal_count < LOST_MAX ? db->wal_count : LOST_MAX;
    uint32_t count = (uint32_t)sim_below(db->sim, max + 1);

    SIM_SAY(db->sim, 1, "%s fails over: %u records are lost", db->name, count);
    go_back(db, count);
    wal_add(db, WAL_TIMELINE, NULL);
    db->timeline++;
    others_go_on(db);
}

/* Seen by the counter (R7): so the state put back is older than some agent's last start. */
bool db_restore(struct sim_db *db)
{
    uint32_t count = 0;
    bool counted = false;

    while (count < db->wal_count && count < 40 && !counted) {
        const struct wal_record *record = &db->wal[db->wal_count - ++count];

        if (record->kind == WAL_TIMELINE || (record->kind == WAL_IDENTITY && !record->counted))
            return false;
        counted = record->kind == WAL_IDENTITY && record->before.there;
    }
    if (!counted)
        return false;
    SIM_SAY(db->sim, 1, "%s is restored: %u records are lost", db->name, count);
    go_back(db, count);
    db->restored = true;
    others_go_on(db);
    return true;
}
