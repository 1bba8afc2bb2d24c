/*
 * What there is in the random world of world.h, and the hooks through which the agent acts on it:
 * every rule is checked here, at the moment when it could be broken.
 */
#ifndef ASSENT_TEST_AGENT_WORLD_STATE_H
#define ASSENT_TEST_AGENT_WORLD_STATE_H

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

#endif
