/*
 * A small world for the agent: two databases that behave as PostgreSQL does (prepared transactions,
 * xids, lost connections, a backend that prepares late, failover with xids used again, a person's
 * hand), and a coordinator that follows R1 to R4. Everything that may happen next is drawn from one
 * seed; `calm` ends all faults.
 *
 * The checks stand where the deed is done: a rule broken fails the test at once, with the seed.
 */
#ifndef ASSENT_TEST_AGENT_WORLD_H
#define ASSENT_TEST_AGENT_WORLD_H

#include "fake.h"

#include <stdio.h>

#include "assent/map.h"

#define W_ATTEMPTS 48
#define W_DBS 2
#define W_NODES 2
#define W_OPS 512
#define W_INBOX 4096
#define W_XIDS 4096
#define W_INCARNATION 0x5f3a9c01d2e4b687u

enum w_db_state { W_NONE, W_PREPARED, W_COMMITTED, W_ABORTED };

struct w_branch {
    bool exists, read_only;
    /* the database's side */
    enum w_db_state in_db;
    uint64_t xid;
    char history; /* in which the xid was given */
    as_time prepared_at;
    bool late; /* a backend is preparing it still, nobody waits for it */
    bool ever_committed, by_hand, failed_over;
    /* the agent's side */
    unsigned runs;
    bool voted_yes;
    /* the coordinator's side */
    uint64_t session; /* dispatched on this connection */
    enum as_vote vote;
    uint64_t vote_xid;
    struct as_identity vote_identity;
    bool commit_sent, abort_sent, xid_told, read_finish_sent, final;
};

struct w_attempt {
    struct as_attempt attempt;
    char id[16];
    enum { W_UNDECIDED, W_COMMIT, W_ABORT } decision;
    bool aborts_sent;
    as_time resend_at;
    struct w_branch branches[W_DBS]; /* branch number i + 1 at participant i */
};

struct w_op {
    struct as_pg_op op;
    uint64_t work_hash;
    bool cancelled;
    bool old; /* runs on a connection of a history that is over */
    char history;
};

struct w_db {
    bool up;      /* as the agent was told */
    char history; /* its identity's letter */
    uint64_t next_xid;
    uint8_t status[W_XIDS];               /* enum as_pg_xact of this history */
    uint64_t connection, connection_open; /* numbers below are closed */
};

struct w_msg {
    uint64_t connection;
    enum as_wire_type type;
    struct as_wire_branch branch;
    enum as_vote vote;
    enum as_ack ack;
    uint64_t xid;
    struct as_identity identity;
};

struct w_node {
    uint64_t connection; /* dialled by the agent; 0: none */
    bool connected, welcomed, up[W_DBS];
};

struct world {
    struct as_env env;
    struct agent *agent;
    struct as_rng rng;
    uint64_t seed;
    bool calm;
    struct w_db dbs[W_DBS];
    struct w_node nodes[W_NODES];
    uint32_t leader;
    uint64_t term, seq;
    struct w_attempt attempts[W_ATTEMPTS];
    uint32_t attempt_count;
    struct w_op ops[W_OPS];
    uint32_t op_count;
    struct w_msg inbox[W_INBOX];
    uint32_t inbox_first, inbox_count;
    uint64_t ever[AS_ACK_RETRY + 1], yes, no, read_only; /* what the runs have reached */
};

#define W_CHECK(world, condition)                                                              \
    do {                                                                                       \
        if (!(condition))                                                                      \
            fail_msg("seed %llu: %s (line %d)", (unsigned long long)(world)->seed, #condition, \
                     __LINE__);                                                                \
    } while (0)

static inline bool w_chance(struct world *world, unsigned percent)
{
    return as_rng_below(&world->rng, 100) < percent;
}

/* A fault may happen; never while it is calm. */
static inline bool w_fault(struct world *world, unsigned percent)
{
    return !world->calm && w_chance(world, percent);
}

static inline struct as_identity w_identity(char history)
{
    struct as_identity identity;

    memset(identity.token, history, sizeof identity.token);
    return identity;
}

static inline struct w_attempt *w_find(struct world *world, struct as_attempt attempt)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        if (as_attempt_equal(world->attempts[i].attempt, attempt))
            return &world->attempts[i];
    }
    fail_msg("seed %llu: no such attempt", (unsigned long long)world->seed);
    return NULL;
}

static inline struct w_branch *w_branch_of_gid(struct world *world, const char *text,
                                               struct w_attempt **ret_attempt)
{
    struct as_gid gid;
    struct w_attempt *attempt;

    W_CHECK(world, as_gid_parse(text, strlen(text), &gid) == AS_OK);
    attempt = w_find(world, gid.attempt);
    W_CHECK(world, strcmp(gid.id, attempt->id) == 0);
    W_CHECK(world, gid.branch >= 1 && gid.branch <= W_DBS);
    if (ret_attempt)
        *ret_attempt = attempt;
    return &attempt->branches[gid.branch - 1];
}

/* --- Hooks of the fake env: they only note down --- */

static inline void w_on_dialed(void *test, uint64_t connection, const char *address)
{
    struct world *world = test;

    world->nodes[address[4] - '0'] = (struct w_node){.connection = connection};
}

static inline void w_on_closed(void *test, uint64_t connection);

static inline void w_on_traced(void *test, const struct as_trace *trace)
{
    (void)test;
    (void)trace;
}

static inline void w_on_cancelled(void *test, uint32_t participant, uint64_t op_id)
{
    struct world *world = test;

    for (uint32_t i = 0; i < world->op_count; i++) {
        if (world->ops[i].op.id == op_id) {
            W_CHECK(world, world->ops[i].op.participant == participant);
            world->ops[i].cancelled = true;
        }
    }
}

static inline void w_on_started(void *test, const struct as_pg_op *op)
{
    struct world *world = test;
    struct w_op *kept = &world->ops[world->op_count];
    struct w_attempt *attempt = NULL;
    struct w_branch *branch = NULL;

    W_CHECK(world, world->op_count < W_OPS);
    if (op->kind != AS_PG_SCAN && op->kind != AS_PG_ROTATE)
        branch = w_branch_of_gid(world, op->gid, &attempt);
    if (op->kind == AS_PG_PREPARE || op->kind == AS_PG_READ)
        W_CHECK(world, ++branch->runs == 1); /* R2 */
    if (op->kind == AS_PG_COMMIT_PREPARED)
        W_CHECK(world, attempt->decision == W_COMMIT && branch->commit_sent); /* R1 */
    if (op->kind == AS_PG_ROLLBACK_PREPARED) {
        W_CHECK(world, attempt->decision != W_COMMIT);
        if (branch->voted_yes)
            W_CHECK(world, branch->abort_sent); /* R6 */
    }
    *kept = (struct w_op){.op = *op, .history = world->dbs[op->participant].history};
    kept->work_hash = op->work.len ? as_hash(op->work.data, op->work.len, 0) : 0;
    world->op_count++;
}

static inline void w_on_vote(struct world *world, const struct as_wire_vote *vote)
{
    struct w_branch *branch =
        &w_find(world, vote->branch.attempt)->branches[vote->branch.number - 1];

    world->yes += vote->vote == AS_VOTE_YES;
    world->no += vote->vote == AS_VOTE_NO;
    world->read_only += vote->vote == AS_VOTE_READ_ONLY;
    if (vote->vote != AS_VOTE_YES)
        return;
    W_CHECK(world, !branch->voted_yes);
    branch->voted_yes = true;
    /* R7: xid and identity are of one history, or one day a false outcome is proven. */
    W_CHECK(world, vote->xid == branch->xid);
    W_CHECK(world, vote->identity.token[0] == (uint8_t)branch->history);
}

/* What an acknowledgement says must be so. */
static inline void w_on_ack(struct world *world, const struct as_wire_ack *ack)
{
    struct w_attempt *attempt = w_find(world, ack->branch.attempt);
    struct w_branch *branch = &attempt->branches[ack->branch.number - 1];

    world->ever[ack->ack]++;
    switch (ack->ack) {
    case AS_ACK_COMMITTED:
        W_CHECK(world, attempt->decision == W_COMMIT && branch->ever_committed);
        break;
    case AS_ACK_ABORTED:
        W_CHECK(world, attempt->decision == W_ABORT);
        /* Committed by a person: found out wherever the coordinator knew the xid (R7). */
        W_CHECK(world, branch->in_db != W_COMMITTED || branch->failed_over ||
                           (branch->by_hand && !branch->xid_told));
        break;
    case AS_ACK_HEURISTIC_ABORT:
        W_CHECK(world, attempt->decision == W_COMMIT && branch->by_hand);
        W_CHECK(world, branch->in_db == W_ABORTED);
        break;
    case AS_ACK_HEURISTIC_COMMIT:
        W_CHECK(world, attempt->decision == W_ABORT && branch->by_hand);
        W_CHECK(world, branch->in_db == W_COMMITTED);
        break;
    case AS_ACK_LOST_PREPARE:
        W_CHECK(world, branch->failed_over && branch->in_db != W_PREPARED);
        break;
    case AS_ACK_UNVERIFIED:
        W_CHECK(world, false); /* every record here has an xid, and no status is too old */
        break;
    case AS_ACK_RETRY:
        break;
    }
}

static inline void w_on_sent(void *test, uint64_t connection, const struct as_wire_msg *msg)
{
    struct world *world = test;
    struct w_msg *kept = &world->inbox[(world->inbox_first + world->inbox_count) % W_INBOX];

    *kept = (struct w_msg){.connection = connection, .type = msg->type};
    switch (msg->type) {
    case AS_WIRE_VOTE:
        w_on_vote(world, &msg->vote);
        kept->branch = msg->vote.branch;
        kept->vote = msg->vote.vote;
        kept->xid = msg->vote.xid;
        kept->identity = msg->vote.identity;
        break;
    case AS_WIRE_ACK:
        w_on_ack(world, &msg->ack);
        kept->branch = msg->ack.branch;
        kept->ack = msg->ack.ack;
        break;
    case AS_WIRE_INQUIRE:
        kept->branch = msg->inquire.branch;
        break;
    case AS_WIRE_PARTICIPANT:
        kept->branch.slot = msg->participant.slot;
        kept->xid = msg->participant.up;
        break;
    default:
        break;
    }
    W_CHECK(world, world->inbox_count < W_INBOX);
    world->inbox_count++;
}

/* --- The databases --- */

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
            (struct as_pg_prepared){gids[done->row_count], (uint32_t)branch->xid,
                                    (world->env.now - branch->prepared_at) / AS_MS};
        done->row_count++;
    }
    done->rows = rows;
    done->slots_used = done->row_count;
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

/* --- The coordinator --- */

static inline struct w_node *w_session(struct world *world, uint64_t connection)
{
    for (uint32_t i = 0; i < W_NODES; i++) {
        if (connection && world->nodes[i].connection == connection && world->nodes[i].welcomed)
            return &world->nodes[i];
    }
    return NULL;
}

static inline void w_decide(struct world *world, struct w_attempt *attempt, bool commit)
{
    W_CHECK(world, attempt->decision == W_UNDECIDED);
    attempt->decision = commit ? W_COMMIT : W_ABORT;
    attempt->resend_at = world->env.now;
}

static inline void w_lose_session(struct world *world, uint64_t connection)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        struct w_attempt *attempt = &world->attempts[i];

        for (uint32_t b = 0; b < W_DBS; b++) {
            const struct w_branch *branch = &attempt->branches[b];

            if (attempt->decision == W_UNDECIDED && branch->exists &&
                branch->session == connection && branch->vote != AS_VOTE_YES &&
                branch->vote != AS_VOTE_READ_ONLY)
                w_decide(world, attempt, false); /* R2 */
        }
    }
    for (uint32_t i = 0; i < W_NODES; i++) {
        if (world->nodes[i].connection == connection)
            world->nodes[i] = (struct w_node){0};
    }
}

static inline void w_on_closed(void *test, uint64_t connection)
{
    w_lose_session(test, connection);
}

static inline void w_send(struct world *world, const struct w_node *node,
                          const struct as_wire_msg *msg)
{
    fake_feed(&world->env, world->agent, node->connection, msg);
}

static inline struct as_wire_branch w_wire(const struct w_attempt *attempt, uint32_t b)
{
    return (struct as_wire_branch){(uint16_t)b, b + 1, attempt->attempt};
}

static inline void w_send_decision(struct world *world, const struct w_node *node,
                                   struct w_attempt *attempt, uint32_t b)
{
    struct w_branch *branch = &attempt->branches[b];
    bool commit = attempt->decision == W_COMMIT;
    bool tell = commit || (branch->vote == AS_VOTE_YES && w_chance(world, 70));
    struct as_wire_msg msg = {
        .type = commit ? AS_WIRE_COMMIT : AS_WIRE_ABORT,
        .decision = {.branch = w_wire(attempt, b), .id = fake_text(attempt->id)}};

    branch->xid_told = tell;
    if (tell) {
        msg.decision.xid = branch->vote_xid;
        msg.decision.identity = branch->vote_identity;
    }
    branch->commit_sent |= commit;
    branch->abort_sent |= !commit;
    w_send(world, node, &msg);
}

static inline void w_begin(struct world *world)
{
    struct w_node *node = &world->nodes[world->leader];
    struct w_attempt *attempt = &world->attempts[world->attempt_count];
    uint32_t which = 1 + (uint32_t)as_rng_below(&world->rng, 3);

    if (!node->welcomed || world->attempt_count == W_ATTEMPTS)
        return;
    world->attempt_count++;
    attempt->attempt = (struct as_attempt){world->term, ++world->seq};
    snprintf(attempt->id, sizeof attempt->id, "order-%u", world->attempt_count);
    for (uint32_t b = 0; b < W_DBS; b++) {
        if (which & (1u << b)) {
            attempt->branches[b].exists = true;
            attempt->branches[b].read_only = w_chance(world, 20);
            attempt->branches[b].session = node->connection;
        }
    }
    for (uint32_t b = 0; b < W_DBS && node->welcomed; b++) {
        struct as_wire_msg msg = {.type = AS_WIRE_EXECUTE};
        bool twice = w_fault(world, 5);

        if (!attempt->branches[b].exists)
            continue;
        msg.execute = (struct as_wire_execute){
            w_wire(attempt, b), 200 + (uint32_t)as_rng_below(&world->rng, 3000),
            fake_text(attempt->id), fake_work(attempt->branches[b].read_only)};
        w_send(world, node, &msg);
        if (twice && node->welcomed)
            w_send(world, node, &msg);
    }
}

static inline void w_count_votes(struct world *world, struct w_attempt *attempt)
{
    struct w_node *node = &world->nodes[world->leader];
    bool all = true, rest = true;

    if (attempt->decision != W_UNDECIDED)
        return;
    for (uint32_t b = 0; b < W_DBS; b++) {
        const struct w_branch *branch = &attempt->branches[b];

        if (!branch->exists)
            continue;
        if (branch->vote == AS_VOTE_NO) {
            w_decide(world, attempt, false);
            return;
        }
        all &= branch->vote == AS_VOTE_YES || branch->vote == AS_VOTE_READ_ONLY;
        rest &= branch->vote == AS_VOTE_YES || branch->vote == AS_VOTE_READ_ONLY ||
                branch->vote == AS_VOTE_READY;
    }
    if (all) {
        w_decide(world, attempt, true);
        return;
    }
    for (uint32_t b = 0; rest && b < W_DBS && node->welcomed; b++) {
        struct w_branch *branch = &attempt->branches[b];
        struct as_wire_msg msg = {.type = AS_WIRE_READ_FINISH, .read_finish = w_wire(attempt, b)};

        if (!branch->exists || branch->vote != AS_VOTE_READY || branch->read_finish_sent)
            continue;
        branch->read_finish_sent = true;
        w_send(world, node, &msg);
    }
}

static inline void w_answer(struct world *world, const struct w_node *node, const struct w_msg *in)
{
    struct w_attempt *attempt = w_find(world, in->branch.attempt);
    struct as_wire_msg msg = {.type = AS_WIRE_ANSWER, .answer = {in->branch, AS_ANSWER_PENDING}};

    if (node != &world->nodes[world->leader] || w_fault(world, 10))
        return;
    if (attempt->decision == W_UNDECIDED)
        w_send(world, node, &msg);
    else
        w_send_decision(world, node, attempt, in->branch.number - 1);
}

static inline void w_receive(struct world *world)
{
    struct w_msg in;
    struct w_node *node;
    struct w_branch *branch = NULL;
    struct w_attempt *attempt = NULL;

    if (world->inbox_count == 0)
        return;
    in = world->inbox[world->inbox_first];
    world->inbox_first = (world->inbox_first + 1) % W_INBOX;
    world->inbox_count--;
    node = w_session(world, in.connection);
    if (!node)
        return; /* the session has ended: its votes do not count (R2) */
    if (in.branch.number) {
        attempt = w_find(world, in.branch.attempt);
        branch = &attempt->branches[in.branch.number - 1];
    }
    switch (in.type) {
    case AS_WIRE_PARTICIPANT:
        node->up[in.branch.slot] = in.xid;
        break;
    case AS_WIRE_VOTE:
        if (branch->session != in.connection || branch->vote == AS_VOTE_YES)
            break;
        branch->vote = in.vote;
        branch->vote_xid = in.xid;
        branch->vote_identity = in.identity;
        w_count_votes(world, attempt);
        break;
    case AS_WIRE_ACK:
        if (attempt->decision == W_COMMIT && in.ack != AS_ACK_RETRY)
            branch->final = true;
        break;
    case AS_WIRE_INQUIRE:
        w_answer(world, node, &in);
        break;
    default:
        break;
    }
}

/* Resends commits until they are acknowledged (R8); an abort is sent once, the rest is the scan's.
 */
static inline void w_resend(struct world *world)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        struct w_attempt *attempt = &world->attempts[i];

        if (attempt->decision == W_UNDECIDED && w_chance(world, world->calm ? 2 : 1))
            w_decide(world, attempt, false); /* its time is over */
        if (attempt->decision == W_UNDECIDED || attempt->resend_at > world->env.now)
            continue;
        attempt->resend_at = world->env.now + 300 * AS_MS;
        for (uint32_t b = 0; b < W_DBS; b++) {
            struct w_branch *branch = &attempt->branches[b];
            const struct w_node *node = &world->nodes[world->leader];
            bool owed = attempt->decision == W_COMMIT
                            ? branch->vote == AS_VOTE_YES && !branch->final
                            : !attempt->aborts_sent && branch->vote != AS_VOTE_NO;

            if (branch->exists && owed && node->welcomed && !w_fault(world, 10))
                w_send_decision(world, node, attempt, b);
        }
        attempt->aborts_sent = attempt->decision == W_ABORT;
    }
}

/* Another node leads: everything undecided is aborted for good (R3). */
static inline void w_new_leader(struct world *world)
{
    struct as_wire_msg msg = {.type = AS_WIRE_LEADER};
    const struct w_node *node;

    world->leader = (uint32_t)as_rng_below(&world->rng, W_NODES);
    msg.term = ++world->term;
    world->seq = 0;
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        if (world->attempts[i].decision == W_UNDECIDED)
            w_decide(world, &world->attempts[i], false);
    }
    node = &world->nodes[world->leader];
    if (node->welcomed)
        w_send(world, node, &msg);
}

/* A dial comes to something: refused, connected, welcomed. */
static inline void w_connect(struct world *world, uint32_t i)
{
    struct w_node *node = &world->nodes[i];
    uint64_t connection = node->connection;
    struct as_wire_msg welcome = {.type = AS_WIRE_WELCOME,
                                  .welcome = {i + 1, W_INCARNATION, fake_text("demo")}};
    struct as_wire_msg leader = {.type = AS_WIRE_LEADER, .term = world->term};

    if (!connection || node->welcomed)
        return;
    if (w_fault(world, 20)) {
        *node = (struct w_node){0};
        agent_on_closed(world->agent, connection, AS_ERR_IO);
        return;
    }
    node->connected = true;
    agent_on_connected(world->agent, connection);
    if (!node->connection)
        return;
    node->welcomed = true;
    w_send(world, node, &welcome);
    if (node->welcomed && i == world->leader)
        w_send(world, node, &leader);
}

/* --- The world --- */

static inline void w_agent_new(struct world *world)
{
    static const struct agent_participant_config participants[W_DBS] = {
        {.name = "bank_a", .prepared_max = 6, .queue_max = 4}, {.name = "bank_b"}};
    struct agent_config config = {.cluster = "demo",
                                  .name = "test",
                                  .node_count = W_NODES,
                                  .participant_count = W_DBS,
                                  .participants = participants};

    for (uint32_t i = 0; i < W_NODES; i++)
        snprintf(config.nodes[i], sizeof config.nodes[i], "node%u:1", i);
    while (agent_new(&world->agent, &config, &world->env, &fake_ops) == AS_ERR_NOMEM)
        W_CHECK(world, test_allocation_failed());
    agent_start(world->agent);
    for (uint32_t i = 0; i < W_DBS; i++)
        w_up(world, i);
}

/* kill -9: operations under way happen or not, nobody hears of it. */
static inline void w_agent_restart(struct world *world)
{
    for (uint64_t arrive = as_rng_below(&world->rng, 8); arrive > 0; arrive--)
        w_receive(world); /* what was sent before it died */
    world->inbox_count = 0;
    agent_free(world->agent);
    world->env.armed = AS_NEVER;
    world->env.last_op = world->env.last_connection = 0; /* another process */
    for (uint32_t i = 0; i < W_NODES; i++) {
        if (world->nodes[i].connection)
            w_lose_session(world, world->nodes[i].connection);
    }
    for (uint32_t i = 0; i < world->op_count; i++) {
        const struct w_op *op = &world->ops[i];
        struct w_db *db = &world->dbs[op->op.participant];
        struct w_branch *branch;

        if (op->old || op->op.kind == AS_PG_SCAN || op->op.kind == AS_PG_ROTATE)
            continue;
        branch = w_branch_of_gid(world, op->op.gid, NULL);
        if (op->op.kind == AS_PG_PREPARE && branch->in_db == W_NONE)
            branch->late = w_chance(world, 60);
        if (op->op.kind == AS_PG_COMMIT_PREPARED && branch->in_db == W_PREPARED &&
            w_chance(world, 50))
            w_end(db, branch, W_COMMITTED);
    }
    world->op_count = 0;
    for (uint32_t i = 0; i < W_DBS; i++)
        world->dbs[i].connection_open = world->dbs[i].connection + 1;
    w_agent_new(world);
}

static inline void world_open(struct world *world, uint64_t seed)
{
    *world = (struct world){.seed = seed, .rng = {seed}, .term = 1};
    fake_init(&world->env, seed);
    world->env.test = world;
    world->env.dialed = w_on_dialed;
    world->env.closed = w_on_closed;
    world->env.sent = w_on_sent;
    world->env.started = w_on_started;
    world->env.cancelled = w_on_cancelled;
    world->env.traced = w_on_traced;
    for (uint32_t i = 0; i < W_DBS; i++)
        world->dbs[i] = (struct w_db){.history = 'A', .next_xid = 100, .connection_open = 1};
    w_agent_new(world);
}

static inline void w_late_backends(struct world *world)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        for (uint32_t b = 0; b < W_DBS; b++) {
            struct w_branch *branch = &world->attempts[i].branches[b];

            if (branch->late && w_chance(world, 30))
                w_prepare(world, &world->dbs[b], branch);
        }
    }
}

static inline void w_misfortune(struct world *world)
{
    uint32_t index = (uint32_t)as_rng_below(&world->rng, W_DBS);
    struct w_node *node = &world->nodes[as_rng_below(&world->rng, W_NODES)];
    uint64_t connection = node->connection;
    unsigned draw = (unsigned)as_rng_below(&world->rng, 100);

    if (draw < 30 && connection) {
        w_lose_session(world, connection);
        agent_on_closed(world->agent, connection, AS_OK);
    } else if (draw < 50) {
        if (world->dbs[index].up)
            w_down(world, index);
        else
            w_up(world, index);
    } else if (draw < 62 && world->dbs[index].history < 'Z') {
        w_failover(world, index);
    } else if (draw < 72) {
        w_by_hand(world, index);
    } else if (draw < 82) {
        w_new_leader(world);
    } else if (draw < 90) {
        w_agent_restart(world);
    }
}

static inline void world_step(struct world *world)
{
    unsigned draw = (unsigned)as_rng_below(&world->rng, 100);

    fake_advance(&world->env, world->agent, (as_time)as_rng_below(&world->rng, 40) * AS_MS);
    if (draw < 12 && !world->calm)
        w_begin(world);
    else if (draw < 40 && world->op_count > 0)
        w_complete(world, (uint32_t)as_rng_below(&world->rng, world->op_count));
    else if (draw < 75)
        w_receive(world);
    else if (draw < 85)
        w_connect(world, (uint32_t)as_rng_below(&world->rng, W_NODES));
    else if (draw < 92)
        w_resend(world);
    else if (draw < 95)
        w_late_backends(world);
    else if (!world->calm)
        w_misfortune(world);
}

/* Whether everything has come to its end: no branch is prepared anywhere, nothing is owed. */
static inline bool world_settled(const struct world *world)
{
    struct agent_counts counts;

    for (uint32_t i = 0; i < world->attempt_count; i++) {
        const struct w_attempt *attempt = &world->attempts[i];

        if (attempt->decision == W_UNDECIDED)
            return false;
        for (uint32_t b = 0; b < W_DBS; b++) {
            const struct w_branch *branch = &attempt->branches[b];

            if (branch->in_db == W_PREPARED || branch->late)
                return false;
            if (attempt->decision == W_COMMIT && branch->vote == AS_VOTE_YES && !branch->final)
                return false;
        }
    }
    agent_count(world->agent, &counts);
    return counts.branches == 0 && counts.queued == 0;
}

/* All or nothing, but for what a person or a failover took apart. */
static inline void world_check_end(struct world *world)
{
    for (uint32_t i = 0; i < world->attempt_count; i++) {
        const struct w_attempt *attempt = &world->attempts[i];

        for (uint32_t b = 0; b < W_DBS; b++) {
            const struct w_branch *branch = &attempt->branches[b];

            if (!branch->exists || branch->read_only || branch->by_hand || branch->failed_over)
                continue;
            if (attempt->decision == W_COMMIT)
                W_CHECK(world, branch->in_db == W_COMMITTED);
            else
                W_CHECK(world, branch->in_db == W_NONE || branch->in_db == W_ABORTED);
        }
    }
}

/* `steps` with faults, then calm until everything has come to its end. */
static inline void world_run(struct world *world, unsigned steps)
{
    unsigned extra = 0;

    for (unsigned i = 0; i < steps; i++)
        world_step(world);
    world->calm = true;
    for (uint32_t i = 0; i < W_DBS; i++) {
        if (!world->dbs[i].up)
            w_up(world, i);
    }
    while (!world_settled(world)) {
        W_CHECK(world, ++extra < 100000);
        world_step(world);
    }
    world_check_end(world);
    /* Scans may be under way still, branches may not. */
    W_CHECK(world, agent_drain(world->agent));
}

static inline void world_close(struct world *world)
{
    agent_free(world->agent);
    fake_close(&world->env);
}

#endif
