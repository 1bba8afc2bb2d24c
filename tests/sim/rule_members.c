/*
 * Who counts: one member changes at a time, none before the leader's own NOOP is committed nor while another change
 * is not, and who is not on the list does not lead (protocol.md, "Raft, points that must not be missed").
 *
 * A list is in force as soon as its leader has it in memory, before any disk has it: there the oracle
 * believes what the node has just noted, and that it is allowed is what stands here.
 */
#include "coordinator/node/internal.h"
#include "observe.h"
#include "oracle.h"

static const struct oracle_members *note(struct sim *sim, const struct raft_members *members,
                                         uint64_t index, uint64_t term)
{
    struct oracle_members *noted = sim_alloc(sim, sizeof *noted);

    noted->index = index;
    noted->term = term;
    noted->count = members->count;
    for (uint32_t i = 0; i < members->count; i++) {
        noted->list[i].id = members->list[i].id;
        noted->list[i].voter = members->list[i].role == RAFT_VOTER;
    }
    return noted;
}

void rule_members_open(struct sim *sim)
{
    struct oracle_members *first = &sim->oracle->first;

    first->count = sim->plan.nodes;
    for (uint32_t i = 0; i < first->count; i++) {
        first->list[i].id = i + 1;
        first->list[i].voter = true;
        sim->oracle->was_member[i + 1] = true;
    }
    sim->oracle->members = first;
}

const struct oracle_members *rule_members_of(struct sim *sim, const struct txn_entry *entry)
{
    struct raft_members members;

    if (entry->type != RAFT_ENTRY_MEMBERS)
        return NULL;
    SIM_CHECK(sim, "log", !raft_members_take(entry->payload, &members),
              "a MEMBERS entry cannot be read");
    return note(sim, &members, entry->index, entry->term);
}

void rule_members_opened(struct as_env *env)
{
    struct sim_oracle *oracle = env->sim->oracle;
    const struct oracle_log *log = oracle->logs[oracle->lost[env->id] ? 0 : env->id];
    uint64_t i = log ? log->last : 0;

    while (i > 0 && !log->entries[i].members)
        i--;
    oracle->in_force[env->proc] = i ? log->entries[i].members : env->joins ? NULL : &oracle->first;
}

/* How many members are in one list and not in the other, or in another role. */
static uint32_t difference(const struct oracle_members *a, const struct oracle_members *b)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < a->count; i++)
        count += !oracle_members_has(b, a->list[i].id, false) ||
                 oracle_members_has(b, a->list[i].id, true) != a->list[i].voter;
    for (uint32_t i = 0; i < b->count; i++)
        count += !oracle_members_has(a, b->list[i].id, false);
    return count;
}

static void check_change(struct as_env *env, const struct oracle_members *before,
                         const struct oracle_members *now)
{
    struct sim *sim = env->sim;
    const struct sim_oracle *oracle = sim->oracle;

    rule_raft_recount(sim);
    SIM_CHECK(sim, "members", oracle->led[now->term % ORACLE_TERMS] == now->term,
              "%s changes the members before its NOOP of term %llu is committed", env->name,
              (unsigned long long)now->term);
    SIM_CHECK(sim, "members", before->index <= oracle->committed_last,
              "%s changes the members at %llu, and the change at %llu is not committed", env->name,
              (unsigned long long)now->index, (unsigned long long)before->index);
    SIM_CHECK(sim, "members", difference(before, now) <= 1, "%s changes %u members at once at %llu",
              env->name, difference(before, now), (unsigned long long)now->index);
}

void rule_members_changed(struct as_env *env, uint64_t index)
{
    struct sim *sim = env->sim;
    struct sim_oracle *oracle = sim->oracle;
    const struct oracle_members *before = oracle->in_force[env->proc], *now;
    struct raft_status raft;

    raft_look(env->node->raft, &raft);
    now = note(sim, raft_members(env->node->raft), index, raft.term);
    oracle->in_force[env->proc] = now;
    if (raft.role != RAFT_LEADER || !before)
        return;
    if (index > before->index)
        check_change(env, before, now);
    rule_raft_recount(sim);
}

/* A leader that has removed itself leads until it knows that this is committed. */
void rule_members_leads(struct as_env *env)
{
    const struct oracle_members *members = env->sim->oracle->in_force[env->proc];
    struct raft_status raft;

    raft_look(env->node->raft, &raft);
    SIM_CHECK(env->sim, "members",
              members && (members->index > raft.commit_index ||
                          oracle_members_has(members, env->id, true)),
              "%s leads, and is no voter", env->name);
}

void rule_members_end(struct sim *sim)
{
    for (uint32_t p = 0; p < sim->node_count; p++) {
        struct as_env *env = &sim->procs[p];

        if (members_has(sim, env))
            SIM_CHECK(sim, "members",
                      difference(note(sim, raft_members(env->node->raft), 0, 0),
                                 sim->oracle->members) == 0,
                      "%s goes by another list of members than the one that is committed",
                      env->name);
    }
}
