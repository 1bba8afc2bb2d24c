/*
 * The databases of the random world: prepared transactions, xids and their status, lost
 * connections, a backend that prepares late, a failover after which xids are used again, a person's
 * hand.
 */
#ifndef ASSENT_TEST_AGENT_WORLD_DB_H
#define ASSENT_TEST_AGENT_WORLD_DB_H

#include "world_state.h"

static inline void w_prepare(struct world *world, struct w_db *db, struct w_branch *branch)
{
    W_CHECK(world, branch->in_db == W_NONE && db->next_xid < W_XIDS);
    branch->in_db = W_PREPARED;
    branch->late = false;
    branch->xid = db->next_xid++;
    branch->history = db->history;
    branch->prepared_at = world->env.now;
    db->status[branch->xid] = AS_PG_XACT_IN_PROGRESS;
}

static inline void w_end(struct w_db *db, struct w_branch *branch, enum w_db_state state)
{
    branch->in_db = state;
    branch->ever_committed |= state == W_COMMITTED;
    db->status[branch->xid] = state == W_COMMITTED ? AS_PG_XACT_COMMITTED : AS_PG_XACT_ABORTED;
}

static inline enum as_pg_status w_lost(struct world *world)
{
    return w_fault(world, 8) ? AS_PG_LOST : w_fault(world, 5) ? AS_PG_UNAVAILABLE : AS_PG_OK;
}

static inline void w_done_prepare(struct world *world, const struct w_op *op, struct w_db *db,
                                  struct w_branch *branch, struct as_pg_done *done)
{
    unsigned draw = (unsigned)as_rng_below(&world->rng, 100);

    done->status = AS_PG_OK;
    if (op->cancelled && draw < 70)
        done->status = AS_PG_CANCELLED;
    else if (!world->calm && draw < 75)
        done->status = draw < 8    ? AS_PG_REFUSED
                       : draw < 14 ? AS_PG_EXPECTATION
                       : draw < 18 ? AS_PG_WARNED
                       : draw < 26 ? AS_PG_LOST
                       : draw < 30 ? AS_PG_UNAVAILABLE
                                   : AS_PG_OK;
    switch (done->status) {
    case AS_PG_OK:
    case AS_PG_WARNED:
        done->prepared = true;
        break;
    case AS_PG_EXPECTATION:
        done->prepared = w_chance(world, 50);
        break;
    case AS_PG_LOST:
        if (w_chance(world, 40))
            w_prepare(world, db, branch);
        else
            branch->late = w_chance(world, 50);
        break;
    default:
        break;
    }
    if (!done->prepared)
        return;
    w_prepare(world, db, branch);
    done->xid = branch->xid;
    done->connection = ++db->connection;
}

static inline void w_done_finish(struct world *world, const struct w_op *op, struct w_db *db,
                                 struct w_branch *branch, struct as_pg_done *done)
{
    bool commit = op->op.kind == AS_PG_COMMIT_PREPARED;

    done->status = w_lost(world);
    if (op->op.connection && op->op.connection < db->connection_open) {
        done->status = AS_PG_STALE;
    } else if (done->status == AS_PG_UNAVAILABLE ||
               (done->status == AS_PG_LOST && w_chance(world, 50))) {
        return;
    } else if (branch->in_db != W_PREPARED) {
        done->status = done->status == AS_PG_LOST ? AS_PG_LOST : AS_PG_REFUSED;
        memcpy(done->sqlstate, "42704", 6);
    } else if (w_fault(world, 8)) {
        done->status = AS_PG_REFUSED;
        memcpy(done->sqlstate, w_chance(world, 80) ? "55000" : "42501", 6);
    } else {
        w_end(db, branch, commit ? W_COMMITTED : W_ABORTED);
        if (done->status == AS_PG_OK && w_fault(world, 5))
            done->status = AS_PG_WARNED;
    }
}

static inline void w_done_scan(struct world *world, uint32_t index, struct as_pg_done *done)
{
    static struct as_pg_prepared rows[W_ATTEMPTS];
    static char gids[W_ATTEMPTS][AS_GID_LEN_MAX + 1];

    done->status = w_lost(world);
    if (done->status != AS_PG_OK)
        return;
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        const struct w_attempt *attempt = &world->attempts[i];
        const struct w_branch *branch = &attempt->branches[index];
        struct as_gid gid = {"demo", W_INCARNATION, attempt->attempt, index + 1, ""};

        if (branch->in_db != W_PREPARED)
            continue;
        strcpy(gid.id, attempt->id);
        as_gid_format(&gid, gids[done->row_count]);
        rows[done->row_count] =
            (struct as_pg_prepared){gids[done->row_count], "agent", branch->xid,
                                    (world->env.now - branch->prepared_at) / AS_MS};
        done->row_count++;
    }
    done->rows = rows;
    done->slots_used = done->slots_ours = done->row_count;
}

/* On a connection of the old primary, after the failover: it succeeds in a history that nobody
 * reads again. */
static inline void w_done_old(struct world *world, const struct w_op *op, struct w_branch *branch,
                              struct as_pg_done *done)
{
    done->status = AS_PG_LOST;
    if (op->op.kind != AS_PG_PREPARE || w_chance(world, 50))
        return;
    done->status = AS_PG_OK;
    done->prepared = true;
    branch->xid = done->xid = 1 + as_rng_below(&world->rng, 20);
    branch->history = op->history;
    done->connection = 1;
}

static inline void w_complete(struct world *world, uint32_t at)
{
    struct w_op op = world->ops[at];
    struct w_db *db = &world->dbs[op.op.participant];
    struct w_branch *branch = NULL;
    struct as_pg_done done = {.id = op.op.id,
                              .participant = op.op.participant,
                              .kind = op.op.kind,
                              .statement = -1,
                              .message = "as drawn"};

    if (op.op.work.len) /* the bytes live until here */
        W_CHECK(world, as_hash(op.op.work.data, op.op.work.len, 0) == op.work_hash);
    world->ops[at] = world->ops[--world->op_count];
    if (op.op.kind != AS_PG_SCAN && op.op.kind != AS_PG_ROTATE)
        branch = w_branch_of_gid(world, op.op.gid, NULL);
    if (!db->up) {
        done.status = AS_PG_UNAVAILABLE;
    } else if (op.old) {
        w_done_old(world, &op, branch, &done);
    } else {
        switch (op.op.kind) {
        case AS_PG_PREPARE:
            w_done_prepare(world, &op, db, branch, &done);
            break;
        case AS_PG_COMMIT_PREPARED:
        case AS_PG_ROLLBACK_PREPARED:
            w_done_finish(world, &op, db, branch, &done);
            break;
        case AS_PG_PROBE:
            done.status = w_lost(world);
            done.listed = branch->in_db == W_PREPARED;
            done.listed_xid32 = (uint32_t)branch->xid;
            done.xact = op.op.xid == 0              ? AS_PG_XACT_NONE
                        : op.op.xid >= db->next_xid ? AS_PG_XACT_INVALID
                                                    : (enum as_pg_xact)db->status[op.op.xid];
            done.identity = w_identity(db->history);
            break;
        case AS_PG_SCAN:
            w_done_scan(world, op.op.participant, &done);
            break;
        default:
            done.status = op.cancelled && w_chance(world, 50) ? AS_PG_CANCELLED : w_lost(world);
            break;
        }
    }
    agent_on_pg_done(world->agent, &done);
}

static inline void w_up(struct world *world, uint32_t index)
{
    struct w_db *db = &world->dbs[index];
    struct as_pg_up up = {.participant = index,
                          .identity = w_identity(db->history),
                          .prepared_max = 16,
                          .detail = ""};

    db->up = true;
    agent_on_pg_up(world->agent, &up);
}

static inline void w_down(struct world *world, uint32_t index)
{
    struct w_db *db = &world->dbs[index];

    db->up = false;
    db->connection_open = db->connection + 1;
    agent_on_pg_down(world->agent, index, "down");
}

/*
 * A standby takes over: it may lack what was prepared or committed last, and it gives xids out
 * again. Whatever was in flight belongs to the old one.
 */
static inline void w_failover(struct world *world, uint32_t index)
{
    struct w_db *db = &world->dbs[index];

    db->history++;
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        struct w_branch *branch = &world->attempts[i].branches[index];

        if (branch->in_db == W_NONE && !branch->late && branch->runs == 0)
            continue;
        branch->failed_over = true;
        branch->late = false;
        if (branch->in_db == W_PREPARED && w_chance(world, 30))
            branch->in_db = W_ABORTED; /* it never reached the standby */
        else if (branch->in_db == W_COMMITTED && w_chance(world, 20))
            branch->in_db = w_chance(world, 50) ? W_PREPARED : W_ABORTED;
    }
    /* Other people's transactions get the same xids, and commit: five of five lost ones read
     * "committed". */
    memset(db->status, AS_PG_XACT_COMMITTED, sizeof db->status);
    for (uint32_t i = 0; i < world->op_count; i++) {
        if (world->ops[i].op.participant == index && world->ops[i].op.kind != AS_PG_SCAN)
            world->ops[i].old = true;
    }
    db->connection_open = db->connection + 1;
    w_up(world, index);
}

static inline void w_by_hand(struct world *world, uint32_t index)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        struct w_branch *branch = &world->attempts[i].branches[index];

        if (branch->in_db == W_PREPARED && w_chance(world, 20)) {
            branch->by_hand = true;
            w_end(&world->dbs[index], branch, w_chance(world, 50) ? W_COMMITTED : W_ABORTED);
            return;
        }
    }
}

#endif
