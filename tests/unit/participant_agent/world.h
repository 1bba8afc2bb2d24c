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

#include "world_db.h"
#include "world_node.h"

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
    world->env.in_pieces = true;
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
