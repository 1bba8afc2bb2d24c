/*
 * A storm over the elections: in a quarter of the worlds with several coordinators, what random moments seldom hit comes
 * again and again. All of them lose power at once, so that several campaign; whoever has voted loses power with the vote
 * barely said, and is back within the same election; and who was told to campaign hears it when others have moved on.
 *
 * It draws from a seed of its own, so that the other worlds are as they were without it.
 */
#include "observe.h"
#include "sim.h"

#define BLACKOUT_EVERY (4 * AS_SECOND)
#define DOWN_MAX (30 * AS_MS)
#define SAID_MAX (2 * AS_MS)
#define LATE_MAX (3 * AS_SECOND)
#define VOTER_PERCENT 40
#define CANDIDATE_PERCENT 5

struct sim_storm {
    struct as_rng rng;
    bool on;
};

static uint64_t draw(struct sim *sim, uint64_t bound)
{
    return as_rng_below(&sim->storm->rng, bound);
}

static as_time soon(struct sim *sim, as_time max)
{
    return sim->now + 1 + (as_time)draw(sim, (uint64_t)max);
}

static void cut_power(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->what;

    if (sim->healed || !env->up)
        return;
    proc_crash(env, true);
    proc_boot_at(env, soon(sim, DOWN_MAX));
}

static void blackout(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    if (sim->healed)
        return;
    for (uint32_t p = 0; p < sim->node_count; p++)
        sim_at(sim, soon(sim, DOWN_MAX), NULL, cut_power, &sim->procs[p], 0, 0);
    if (draw(sim, 2))
        members_transfer(sim);
    sim_at(sim, soon(sim, BLACKOUT_EVERY), NULL, blackout, NULL, 0, 0);
}

void storm_start(struct sim *sim)
{
    sim->storm = sim_alloc(sim, sizeof *sim->storm);
    sim->storm->rng.state = sim->seed ^ 0x73746f726dU;
    sim->storm->on = sim->seed % 4 == 1 && sim->plan.nodes > 1;
    if (sim->storm->on)
        sim_at(sim, soon(sim, BLACKOUT_EVERY), NULL, blackout, NULL, 0, 0);
}

void storm_hears(struct as_env *from, const struct as_env *to, const struct raft_message *message)
{
    struct sim *sim = from->sim;
    bool grants = message->type == RAFT_VOTE_REPLY && message->vote_reply.granted;

    if (!sim->storm->on || sim->healed)
        return;
    if ((grants && draw(sim, 100) < VOTER_PERCENT) ||
        (message->type == RAFT_VOTE && draw(sim, 100) < CANDIDATE_PERCENT))
        sim_at(sim, soon(sim, SAID_MAX), from, cut_power, from, 0, 0);
    if (message->type == RAFT_TIMEOUT_NOW && to)
        net_clog(sim, from->proc, to->proc, soon(sim, LATE_MAX));
}
