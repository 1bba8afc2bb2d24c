/*
 * Who joins, leaves and is wiped: an operator who changes members at random through whoever leads, and directories
 * that are lost. A wiped node is one that has forgotten what it promised, so only so many may be lost at a
 * time as the others can bear: one member, and the next one only after the first is removed.
 */
#include "coordinator/node/internal.h"
#include "observe.h"
#include "oracle.h"

#define EMPTIED_PERCENT 25

static bool is_lost(const struct sim *sim, uint64_t id)
{
    return sim->oracle->lost[id];
}

bool members_has(const struct sim *sim, const struct as_env *env)
{
    return oracle_members_has(sim->oracle->members, env->id, false);
}

uint32_t members_voters(const struct sim *sim)
{
    const struct oracle_members *members = sim->oracle->members;
    uint32_t voters = 0;

    for (uint32_t i = 0; i < members->count; i++)
        voters += members->list[i].voter;
    return voters;
}

/* It was a member, and is not any more: its id is never used again. */
static bool is_retired(const struct sim *sim, const struct as_env *env)
{
    return sim->oracle->was_member[env->id] && !members_has(sim, env);
}

/* One that takes itself for the leader; there may be an older one, or its first entry may not be committed yet. */
static struct as_env *leader_to_ask(struct sim *sim)
{
    uint64_t first = sim_below(sim, sim->node_count);

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct as_env *env = &sim->procs[(first + i) % sim->node_count];
        struct node_info info;

        if (!proc_alive(env) || env->paused_until > sim->now)
            continue;
        node_info(env->node, &info);
        if (info.role == RAFT_LEADER)
            return env;
    }
    return NULL;
}

static enum raft_refusal change(struct as_env *leader, enum raft_member_change what, uint64_t id,
                                const char *address)
{
    static const char *const words[] = {"adds", "promotes", "removes"};
    enum raft_refusal refusal;

    SIM_SAY(leader->sim, 1, "the operator %s node %llu through %s", words[what],
            (unsigned long long)id, leader->name);
    refusal = node_member_change(leader->node, what, id, address);
    SIM_SAY(leader->sim, 1, "%s", raft_refusal_text(refusal));
    sim_mix(leader->sim, id, (uint64_t)refusal);
    leader->sim->counts.members += !refusal;
    proc_after(leader);
    return refusal;
}

/* --- Wiping --- */

/* Every list that may still be in force has a majority without it: it is the committed one, which has lost
 * nobody else, and no other is on its way. */
static bool can_be_borne(struct sim *sim, const struct as_env *env)
{
    const struct sim_oracle *oracle = sim->oracle;

    if (sim->id_last == SIM_IDS_MAX)
        return false;
    for (uint32_t p = 0; p < sim->node_count; p++) {
        const struct oracle_members *members = oracle->in_force[p];

        if (members && members->index > oracle->members->index)
            return false;
    }
    if (!oracle->was_member[env->id])
        return env->emptied || !oracle_members_has(oracle->members, env->id, false);
    if (env->emptied || is_retired(sim, env))
        return true;
    for (uint32_t i = 0; i < oracle->members->count; i++) {
        if (is_lost(sim, oracle->members->list[i].id))
            return false;
    }
    /* A learner may be promoted before anybody misses it. */
    return members_voters(sim) >= (oracle_members_has(oracle->members, env->id, true) ? 3 : 2);
}

/* `same`: somebody thinks that it is enough to start it again. */
static void wipe(struct as_env *env, bool same)
{
    struct sim *sim = env->sim;

    proc_crash(env, false);
    rule_raft_lost(env);
    disk_free(env);
    disk_new(env);
    env->rotten = env->born = false;
    env->joins = true;
    env->emptied = same;
    if (!same)
        env->id = ++sim->id_last;
    SIM_SAY(sim, 1, "the directory of %s is lost: it comes back as node %llu", env->name,
            (unsigned long long)env->id);
}

void members_wipe(struct sim *sim)
{
    struct as_env *env = &sim->procs[sim_below(sim, sim->node_count)];

    /* Who was a learner once may be taken for one by a leader that was deposed: decisions/0009. */
    if (can_be_borne(sim, env))
        wipe(env, !env->emptied && env->id <= sim->plan.nodes && members_has(sim, env) &&
                      sim_percent(sim, EMPTIED_PERCENT));
}

/* --- Changing --- */

static uint64_t lost_member(const struct sim *sim, const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (is_lost(sim, members->list[i].id))
            return members->list[i].id;
    }
    return 0;
}

static struct as_env *node_to_add(struct sim *sim, const struct raft_members *members)
{
    uint64_t first = sim_below(sim, sim->node_count);

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct as_env *env = &sim->procs[(first + i) % sim->node_count];

        if (!env->emptied && !is_retired(sim, env) && !raft_member_find(members, env->id))
            return env;
    }
    return NULL;
}

void members_change(struct sim *sim)
{
    struct as_env *leader = leader_to_ask(sim), *joins;
    const struct raft_members *members;
    uint64_t id;

    if (!leader)
        return;
    members = raft_members(leader->node->raft);
    id = members->list[sim_below(sim, members->count)].id;
    joins = node_to_add(sim, members);
    if (lost_member(sim, members) && sim_percent(sim, 50))
        (void)change(leader, RAFT_MEMBER_REMOVE, lost_member(sim, members), NULL);
    else if (joins && sim_percent(sim, 60))
        (void)change(leader, RAFT_MEMBER_ADD, joins->id, joins->name);
    else if (!lost_member(sim, members)) /* one more gone could leave no majority */
        (void)change(leader, sim_percent(sim, 25) ? RAFT_MEMBER_PROMOTE : RAFT_MEMBER_REMOVE, id,
                     NULL);
}

void members_transfer(struct sim *sim)
{
    struct as_env *leader = leader_to_ask(sim);
    const struct raft_members *members;
    uint64_t to;

    if (!leader)
        return;
    members = raft_members(leader->node->raft);
    to = sim_percent(sim, 50) ? members->list[sim_below(sim, members->count)].id : 0;
    SIM_SAY(sim, 1, "the operator hands leadership over from %s to %llu", leader->name,
            (unsigned long long)to);
    sim_mix(sim, to, (uint64_t)node_transfer(leader->node, to));
    proc_after(leader);
}

/* --- At the end --- */

void members_mend(struct sim *sim)
{
    struct as_env *leader = leader_to_ask(sim), *joins;
    const struct raft_members *members;

    if (!leader || sim->node_count == 1)
        return;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->procs[i].emptied && can_be_borne(sim, &sim->procs[i])) {
            wipe(&sim->procs[i], false);
            return;
        }
    }
    members = raft_members(leader->node->raft);
    joins = node_to_add(sim, members);
    if (lost_member(sim, members))
        (void)change(leader, RAFT_MEMBER_REMOVE, lost_member(sim, members), NULL);
    else if (joins)
        (void)change(leader, RAFT_MEMBER_ADD, joins->id, joins->name);
}

const char *members_unsettled(const struct sim *sim)
{
    const struct oracle_members *members = sim->oracle->members;

    for (uint32_t i = 0; i < members->count && sim->node_count > 1; i++) {
        if (is_lost(sim, members->list[i].id))
            return "a lost node is still a member";
        if (!members->list[i].voter)
            return "a learner has not become a voter";
    }
    for (uint32_t p = 0; p < sim->node_count; p++) {
        if (!members_has(sim, &sim->procs[p]) && !is_retired(sim, &sim->procs[p]))
            return "a node has not joined";
    }
    return NULL;
}
