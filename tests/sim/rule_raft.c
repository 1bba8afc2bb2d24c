/*
 * Raft's promises, seen from the disks: one leader in a term, and what a majority holds stays: no node ever has another
 * entry in its place, in memory, after a crash, or in a later term. What is committed here is the decision of R1; a
 * lone node is a majority of one.
 *
 * An entry counts as committed when a majority holds it durable and no later term has begun by then without it
 * (figure 8), and with it everything before it in that log.
 */
#include "observe.h"
#include "oracle.h"

static struct oracle_log *log_of(struct as_env *env)
{
    struct sim_oracle *oracle = env->sim->oracle;
    struct oracle_log **log = &oracle->logs[oracle->lost[env->id] ? 0 : env->id];

    if (!*log)
        *log = sim_alloc(env->sim, sizeof **log);
    return *log;
}

static struct oracle_entry *held_by(const struct sim *sim, uint64_t id, uint64_t index)
{
    struct oracle_log *log = sim->oracle->logs[id];

    return log && log->entries[index].term ? &log->entries[index] : NULL;
}

static void commits(struct sim *sim, uint64_t index, uint64_t in_term)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_entry *found = NULL;

    for (uint64_t id = 1; id <= sim->id_last && !found; id++)
        found = held_by(sim, id, index);
    if (!found)
        return;
    oracle->committed[index] = *found;
    oracle->committed[index].committed_in = in_term;
    if (found->noop) {
        oracle->led[found->term % ORACLE_TERMS] = found->term;
        oracle->noop[found->term % ORACLE_TERMS] = index;
    }
    if (found->members) {
        oracle->members = found->members;
        for (uint32_t i = 0; i < found->members->count; i++)
            oracle->was_member[found->members->list[i].id] = true;
    }
    rule_r8_committed(sim, found, index);
    operator_record_committed(found->resolve);
    if (found->attempt) {
        found->attempt->index = index;
        rule_r1_committed(found->attempt);
    }
}

/* By this list a majority holds that entry. */
static bool majority_holds(const struct sim *sim, const struct oracle_members *members,
                           uint64_t index, uint64_t term)
{
    uint32_t voters = 0, holders = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct oracle_entry *entry = held_by(sim, members->list[i].id, index);

        voters += members->list[i].voter;
        holders += members->list[i].voter && entry && entry->term == term;
    }
    return 2 * holders > voters;
}

/* Two lists that follow each other have no majorities that do not meet, so either may count: that before
 * the entry, and the next one, which a leader goes by as soon as it has it in memory. */
static bool is_held(const struct sim *sim, const struct oracle_log *log, uint64_t index)
{
    const struct sim_oracle *oracle = sim->oracle;
    uint64_t term = log->entries[index].term, i = index;

    while (i > 0 && !log->entries[i].members)
        i--;
    if (majority_holds(sim, i ? log->entries[i].members : &oracle->first, index, term))
        return true;
    for (i = index + 1; i <= log->last && !log->entries[i].members;)
        i++;
    if (i <= log->last && majority_holds(sim, log->entries[i].members, index, term))
        return true;
    for (uint32_t p = 0; p < sim->node_count; p++) {
        const struct oracle_members *members = oracle->in_force[p];

        if (members && members->term == term && members->index > index &&
            majority_holds(sim, members, index, term))
            return true;
    }
    return false;
}

/* Later terms have begun, but whoever has written for one of them has this entry: a leader that was deposed and does not
 * know it may have counted its own disk last. */
static bool is_in_later_terms(const struct sim *sim, uint64_t index, uint64_t term)
{
    const struct sim_oracle *oracle = sim->oracle;

    for (uint64_t id = 1; id <= sim->id_last; id++) {
        const struct oracle_entry *entry = held_by(sim, id, index);

        if (!oracle->lost[id] && oracle->written[id] > term && (!entry || entry->term != term))
            return false;
    }
    return true;
}

/* What any of the holders of the newest entry has before it is the same in all of them. */
static bool try_commit(struct sim *sim, const struct oracle_log *log, uint64_t index)
{
    struct sim_oracle *oracle = sim->oracle;
    uint64_t term = log->entries[index].term;
    uint64_t in_term = term < oracle->term_begun ? oracle->term_begun : term;

    if ((term < oracle->term_begun && !is_in_later_terms(sim, index, term)) ||
        !is_held(sim, log, index))
        return false;
    for (uint64_t i = oracle->committed_last + 1; i <= index; i++) {
        struct oracle_entry own = log->entries[i];

        /* It is this log that is committed, whatever others hold there. */
        for (uint64_t id = 1; own.term && id <= sim->id_last; id++) {
            struct oracle_entry *entry = held_by(sim, id, i);

            if (entry && entry->term != own.term)
                *entry = (struct oracle_entry){0};
        }
        commits(sim, i, in_term);
    }
    if (index > oracle->committed_last)
        oracle->committed_last = index;
    return true;
}

void rule_raft_recount(struct sim *sim)
{
    struct sim_oracle *oracle = sim->oracle;

    for (uint64_t id = 1; id <= sim->id_last; id++) {
        const struct oracle_log *log = oracle->logs[id];
        bool found = false;

        for (uint64_t i = log && !log->reopening ? log->last : 0;
             i > oracle->committed_last && !found; i--)
            found = log->entries[i].term && try_commit(sim, log, i);
    }
}

/* What it held when it was lost still counts: it never votes again, so a majority must have been without it,
 * and that one meets every other. What an empty one of the same id takes counts for nothing. */
void rule_raft_lost(struct as_env *env)
{
    env->sim->oracle->logs[0] = NULL;
    env->sim->oracle->lost[env->id] = true;
}

void rule_raft_written(struct as_env *env, const struct txn_entry *entry)
{
    struct sim_oracle *oracle = env->sim->oracle;

    if (entry->term > oracle->written[env->id])
        oracle->written[env->id] = entry->term;
    if (entry->type == TXN_RECORD_NOOP && entry->term > oracle->term_begun)
        oracle->term_begun = entry->term;
}

void rule_raft_durable(struct as_env *env, uint64_t i, const struct oracle_entry *entry)
{
    struct sim *sim = env->sim;
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_log *log = log_of(env);

    AS_ASSERT(i < ORACLE_ENTRIES);
    /* On a node that was cut off another one may stand there for a while, of a term before that in which it was
     * committed; a later one never. */
    SIM_CHECK(sim, "raft",
              i > oracle->committed_last || !oracle->committed[i].term ||
                  oracle->committed[i].term == entry->term ||
                  entry->term < oracle->committed[i].committed_in,
              "%s has an entry of term %llu at %llu, where one of term %llu is committed",
              env->name, (unsigned long long)entry->term, (unsigned long long)i,
              (unsigned long long)oracle->committed[i].term);
    log->entries[i] = *entry;
    if (i > log->last)
        log->last = i;
    if (!log->reopening || sim->lone)
        (void)try_commit(sim, log, i);
}

void rule_raft_truncated(struct as_env *env, uint64_t from)
{
    const struct sim_oracle *oracle = env->sim->oracle;
    struct oracle_log *log = log_of(env);

    for (uint64_t i = from; i <= log->last && i <= oracle->committed_last; i++)
        SIM_CHECK(env->sim, "raft",
                  log->reopening || !log->entries[i].term ||
                      log->entries[i].term != oracle->committed[i].term,
                  "%s truncates from %llu, and its entry %llu is committed", env->name,
                  (unsigned long long)from, (unsigned long long)i);
    for (uint64_t i = from; i <= log->last; i++)
        log->entries[i] = (struct oracle_entry){0};
    log->last = from - 1;
}

/* A snapshot holds only what is committed. */
void rule_raft_snapshot(struct as_env *env, uint64_t index)
{
    struct sim_oracle *oracle = env->sim->oracle;
    struct oracle_log *log = log_of(env);

    SIM_CHECK(env->sim, "raft", index <= oracle->committed_last,
              "%s has a snapshot up to %llu, and committed is %llu", env->name,
              (unsigned long long)index, (unsigned long long)oracle->committed_last);
    for (uint64_t i = 1; i <= index; i++)
        log->entries[i] = oracle->committed[i];
    if (index > log->last)
        log->last = index;
}

void rule_raft_reopens(struct as_env *env)
{
    struct oracle_log *log = log_of(env);

    if (log->before_cap <= log->last) {
        log->before_cap = 2 * log->last + 64;
        log->before = sim_alloc(env->sim, log->before_cap * sizeof log->before[0]);
    }
    memcpy(log->before, log->entries, (log->last + 1) * sizeof log->entries[0]);
    memset(log->entries, 0, (log->last + 1) * sizeof log->entries[0]);
    log->before_last = log->last;
    log->reopening = true;
    log->last = 0;
}

void rule_raft_reopened(struct as_env *env, uint64_t snapshot_index)
{
    struct sim_oracle *oracle = env->sim->oracle;
    struct oracle_log *log = log_of(env);

    log->reopening = false;
    if (snapshot_index)
        rule_raft_snapshot(env, snapshot_index);
    for (uint64_t i = 1; i <= log->before_last && i <= oracle->committed_last; i++) {
        SIM_CHECK(env->sim, "durability",
                  !log->before[i].term || log->before[i].term != oracle->committed[i].term ||
                      log->entries[i].term == oracle->committed[i].term,
                  "%s has lost the committed entry %llu in a restart", env->name,
                  (unsigned long long)i);
    }
    /* Opening has made durable what a write that was under way had left. */
    for (uint64_t i = log->last; i > oracle->committed_last; i--) {
        if (log->entries[i].term)
            (void)try_commit(env->sim, log, i);
    }
}

/* Its NOOP is committed, and nobody else leads that term. */
void rule_raft_leads(struct as_env *env, uint64_t term)
{
    struct sim_oracle *oracle = env->sim->oracle;
    struct as_env **leader = &oracle->leaders[term % ORACLE_TERMS];

    if (oracle->led[term % ORACLE_TERMS] != term)
        rule_raft_recount(env->sim);

    SIM_CHECK(env->sim, "R3", oracle->led[term % ORACLE_TERMS] == term,
              "%s leads term %llu before its NOOP is committed", env->name,
              (unsigned long long)term);
    SIM_CHECK(env->sim, "raft", !*leader || *leader == env, "%s and %s both lead term %llu",
              env->name, (*leader)->name, (unsigned long long)term);
    rule_members_leads(env);
    *leader = env;
    oracle->leads[env->proc] = term;
    if (term > oracle->term_max)
        oracle->term_max = term;
}

/* Whether it is the newest leader there is: one that was deposed does not know what others have decided since. */
bool rule_raft_newest(const struct as_env *env)
{
    return env->sim->oracle->leads[env->proc] == env->sim->oracle->term_begun;
}
