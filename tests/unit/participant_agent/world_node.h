/*
 * The coordinator of the random world: dispatches, counts votes, decides, resends and answers as R1
 * to R4 and R8 say.
 */
#ifndef ASSENT_TEST_AGENT_WORLD_NODE_H
#define ASSENT_TEST_AGENT_WORLD_NODE_H

#include "world_state.h"

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
                                  .welcome = {i + 1, W_INCARNATION, fake_text("demo"), 2}};
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

#endif
