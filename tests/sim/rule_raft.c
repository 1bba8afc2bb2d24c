/*
 * Raft's promises, seen from the disks: one leader in a term, and what a majority holds stays: no node ever has another
 * entry in its place, in memory, after a crash, or in a later term. What is committed here is the decision of R1; a
 * lone node is a majority of one.
 *
 * An entry counts as committed when a majority holds it durable and no later term has begun by then (figure 8), and with
 * it everything before it in that log.
 */
#include "observe.h"
#include "oracle.h"

static struct oracle_log *log_of(struct as_env *env)
{
    return &env->sim->oracle->logs[env->proc];
}

static void commits(struct sim *sim, uint64_t index, uint64_t in_term)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_entry found = {0};

    for (uint32_t n = 0; n < sim->plan.nodes && !found.term; n++)
        found = oracle->logs[n].entries[index];
    found.committed_in = in_term;
    oracle->committed[index] = found;
    if (found.noop)
        oracle->led[found.term % ORACLE_TERMS] = found.term;
    if (found.attempt)
        rule_r1_committed(found.attempt);
}

/* What any of the holders of the newest entry has before it is the same in all of them. */
static void try_commit(struct sim *sim, struct as_env *env, uint64_t index)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct oracle_log *log = log_of(env);
    uint64_t term = log->entries[index].term;
    uint32_t holders = 0;

    for (uint32_t n = 0; n < sim->plan.nodes; n++)
        holders += oracle->logs[n].entries[index].term == term;
    if (2 * holders <= sim->plan.nodes || term < oracle->term_begun)
        return;
    for (uint64_t i = oracle->committed_last + 1; i <= index; i++) {
        struct oracle_entry own = log->entries[i];

        if (own.term) { /* it is this log that is committed, whatever others hold there */
            for (uint32_t n = 0; n < sim->plan.nodes; n++) {
                if (oracle->logs[n].entries[i].term != own.term)
                    oracle->logs[n].entries[i] = (struct oracle_entry){0};
            }
        }
        commits(sim, i, term);
    }
    if (index > oracle->committed_last)
        oracle->committed_last = index;
}

void rule_raft_written(struct as_env *env, const struct txn_entry *entry)
{
    struct sim_oracle *oracle = env->sim->oracle;

    if (entry->type == TXN_RECORD_NOOP && entry->term > oracle->term_begun)
        oracle->term_begun = entry->term;
}

void rule_raft_durable(struct as_env *env, const struct txn_entry *entry,
                       struct sim_attempt *attempt)
{
    struct sim *sim = env->sim;
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_log *log = log_of(env);
    uint64_t i = entry->index;

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
    log->entries[i] =
        (struct oracle_entry){entry->term, 0, entry->type == TXN_RECORD_NOOP, attempt};
    if (i > log->last)
        log->last = i;
    if (!log->reopening || sim->plan.nodes == 1)
        try_commit(sim, env, i);
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

    memcpy(log->before, log->entries, sizeof log->entries);
    log->before_last = log->last;
    log->reopening = true;
    memset(log->entries, 0, (log->last + 1) * sizeof log->entries[0]);
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
            try_commit(env->sim, env, i);
    }
}

/* Its NOOP is committed, and nobody else leads that term. */
void rule_raft_leads(struct as_env *env, uint64_t term)
{
    struct sim_oracle *oracle = env->sim->oracle;
    struct as_env **leader = &oracle->leaders[term % ORACLE_TERMS];

    SIM_CHECK(env->sim, "R3", oracle->led[term % ORACLE_TERMS] == term,
              "%s leads term %llu before its NOOP is committed", env->name,
              (unsigned long long)term);
    SIM_CHECK(env->sim, "raft", !*leader || *leader == env, "%s and %s both lead term %llu",
              env->name, (*leader)->name, (unsigned long long)term);
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
