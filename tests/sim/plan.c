/*
 * What a seed draws before anything happens: sizes, latencies, settings, and which kinds of fault there are in
 * its world (swarm testing: a world with few kinds of fault goes deeper into each than one that has them all).
 */
#include "sim.h"

const char *sim_fault_name(enum sim_fault fault)
{
#define SIM_FAULT_NAME(name) #name,
    static const char *const names[] = {SIM_FAULT_MAP(SIM_FAULT_NAME)};

    return names[fault];
}

/* 1 to 4 times `unit`, in steps of a factor of about two. */
static as_time magnitude(struct sim *sim, as_time unit, unsigned steps)
{
    as_time size = unit << sim_below(sim, steps);

    return sim_between(sim, size, 2 * size);
}

static void draw_cluster(struct sim *sim, struct sim_plan *plan)
{
    plan->nodes = sim_percent(sim, 50) ? 1 : sim_percent(sim, 80) ? 3 : 5;
    plan->agents = (uint32_t)sim_between(sim, 1, SIM_AGENTS_MAX);
    plan->dbs = (uint32_t)sim_between(sim, 2, SIM_DBS_MAX);
    plan->clients = (uint32_t)sim_between(sim, 1, SIM_CLIENTS_MAX);
    for (uint32_t db = 0; db < plan->dbs; db++) {
        plan->serves[sim_below(sim, plan->agents)][db] = true;
        plan->serves[sim_below(sim, plan->agents)][db] = true; /* perhaps a second agent */
        plan->proof[db] = sim_percent(sim, 30) ? AS_PROOF_MARKER : AS_PROOF_XACT_STATUS;
    }
    for (uint32_t agent = 0; agent < plan->agents; agent++)
        plan->serves[agent][sim_below(sim, plan->dbs)] = true; /* none is idle */
}

static void draw_faults(struct sim *sim, struct sim_plan *plan)
{
    unsigned percent = (unsigned)sim_between(sim, 0, 60);

    for (int fault = 0; fault < SIM_FAULT_COUNT; fault++)
        plan->on[fault] = sim_percent(sim, percent);
    plan->permille = (uint32_t)magnitude(sim, 5, 6);
    plan->misfortune = magnitude(sim, 100 * AS_MS, 5);
}

static void draw_settings(struct sim *sim, struct sim_plan *plan)
{
    plan->slots = sim_percent(sim, 30) ? (uint32_t)sim_between(sim, 2, 6) : 64;
    plan->timeout_max_ms = (uint32_t)magnitude(sim, 300, 5);
    plan->read_percent = sim_percent(sim, 50) ? (uint32_t)sim_below(sim, 60) : 0;
    plan->short_percent = (uint32_t)sim_below(sim, 15);
    plan->uuids = sim_percent(sim, 20);
    plan->passes = sim_percent(sim, 70);
    plan->snapshot_bytes = sim_percent(sim, 50) ? (uint64_t)magnitude(sim, 1024, 5) : 0;
    if (sim_percent(sim, 25)) {
        plan->outcomes_max = (uint32_t)sim_between(sim, 4, 24);
        plan->retention_ms = (uint32_t)magnitude(sim, 1000, 5);
    }
    if (plan->outcomes_max && sim_percent(sim, 60))
        plan->committed_bytes_max = (uint64_t)sim_between(sim, 300, 2500);
    if (sim_percent(sim, 50)) {
        plan->tail_keep_bytes = (uint64_t)magnitude(sim, 256, 6);
        plan->message_bytes = (uint32_t)magnitude(sim, 64, 6);
        plan->window_entries = (uint32_t)sim_between(sim, 1, 20);
        plan->caught_up_entries = (uint32_t)sim_between(sim, 1, 40);
    }
    plan->resend_first_ms = (uint32_t)magnitude(sim, 50, 3);
    plan->resend_max_ms = (uint32_t)magnitude(sim, 500, 4);
    plan->lazy_ms = (uint32_t)magnitude(sim, 10, 4);
}

/* A lone node mostly stays alone. */
static void draw_members(struct sim *sim, struct sim_plan *plan)
{
    if (plan->nodes == 1 && sim_percent(sim, 80))
        plan->on[SIM_MEMBERS] = plan->on[SIM_NODE_WIPE] = false;
    if (plan->on[SIM_MEMBERS] || plan->on[SIM_NODE_WIPE])
        plan->spares = (uint32_t)sim_below(sim, SIM_NODES_MAX + 1 - plan->nodes);
    if (plan->spares > 2)
        plan->spares = 2;
}

void sim_plan_draw(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;

    draw_cluster(sim, plan);
    draw_faults(sim, plan);
    draw_settings(sim, plan);
    draw_members(sim, plan);
    plan->duration = sim_between(sim, 2 * AS_SECOND, 25 * AS_SECOND);
    plan->full_max = magnitude(sim, AS_SECOND, 6);
    plan->restart = magnitude(sim, 20 * AS_MS, 9);
    plan->wander = (uint32_t)sim_below(sim, 80);
    plan->think = magnitude(sim, 20 * AS_MS, 5);
    plan->net_max = magnitude(sim, 100 * AS_US, 8);
    plan->turn_max = magnitude(sim, 5 * AS_US, 8);
    plan->write_max = magnitude(sim, 50 * AS_US, 8);
    plan->query_max = magnitude(sim, 100 * AS_US, 7);
    plan->in_place = sim_percent(sim, 50);
    plan->drift_ppm_max = sim_percent(sim, 50) ? (uint32_t)magnitude(sim, 50, 10) : 0;
}
