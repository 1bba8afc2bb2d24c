/*
 * R8: of what FINISH says that it is acknowledged, no later leader asks again, unless an agent asks first. And the horizon of the
 * set of committed attempts: it never passes one that may still commit, and only what lies at or below it is answered as unknown.
 */
#include "observe.h"
#include "oracle.h"

/* NULL: it is of another type. Good until the next call. */
static const struct txn_record *record_of(struct sim *sim, const struct txn_entry *entry,
                                          uint8_t type)
{
    static struct txn_record record;

    if (entry->type != type)
        return NULL;
    SIM_CHECK(sim, "log", !txn_record_take(entry->type, entry->payload, &record),
              "a %s record cannot be read", txn_record_type_text(type));
    return &record;
}

const struct oracle_finish *rule_r8_finish_of(struct sim *sim, const struct txn_entry *entry)
{
    const struct txn_record *record = record_of(sim, entry, TXN_RECORD_FINISH);
    struct oracle_finish *finish;

    if (!record)
        return NULL;
    finish = sim_alloc(sim, sizeof *finish + record->finish.count * sizeof(struct sim_attempt *));
    finish->count = record->finish.count;
    for (uint32_t i = 0; i < finish->count; i++) {
        struct as_attempt number = txn_record_attempt(record, i);

        finish->attempts[i] = attempt_of(sim, number);
        SIM_CHECK(sim, "R8", finish->attempts[i],
                  "FINISH of attempt %llu.%llu, which was never dispatched",
                  (unsigned long long)number.term, (unsigned long long)number.seq);
    }
    return finish;
}

/* What stood in the log before its own NOOP a leader knows. */
void rule_r8_commit_sent(const struct as_env *env, struct sim_branch *branch)
{
    const struct sim_oracle *oracle = env->sim->oracle;
    uint64_t term = oracle->leads[env->proc], finish = branch->attempt->finish;

    if (!finish || finish > oracle->noop[term % ORACLE_TERMS])
        return;
    SIM_CHECK(env->sim, "R8", branch->inquiries > 0,
              "%s asks for %s (%llu.%llu/%u) again, and FINISH has said that it is acknowledged",
              env->name, BRANCH_ARGS(branch));
    branch->inquiries--;
}

const struct as_attempt *rule_r8_horizon_of(struct sim *sim, const struct txn_entry *entry)
{
    const struct txn_record *record = record_of(sim, entry, TXN_RECORD_HORIZON);
    struct as_attempt *horizon;

    if (!record)
        return NULL;
    horizon = sim_alloc(sim, sizeof *horizon);
    *horizon = record->horizon;
    return horizon;
}

void rule_r8_committed(struct sim *sim, const struct oracle_entry *entry, uint64_t index)
{
    struct sim_oracle *oracle = sim->oracle;

    for (uint32_t i = 0; entry->finish && i < entry->finish->count; i++) {
        if (!entry->finish->attempts[i]->finish)
            entry->finish->attempts[i]->finish = index;
    }

    if (entry->attempt && !entry->attempt->durable)
        SIM_CHECK(sim, "R8", as_attempt_compare(entry->attempt->attempt, oracle->horizon) > 0,
                  "%s (%llu.%llu) commits, and the horizon has passed it",
                  ATTEMPT_ARGS(entry->attempt));
    if (!entry->horizon || as_attempt_compare(*entry->horizon, oracle->horizon) <= 0)
        return;
    oracle->horizon = *entry->horizon;
    sim->counts.horizons++;
    SIM_SAY(sim, 1, "the horizon is %llu.%llu", (unsigned long long)oracle->horizon.term,
            (unsigned long long)oracle->horizon.seq);
}

bool rule_r8_covers(struct sim *sim, const struct sim_attempt *attempt)
{
    if (as_attempt_compare(attempt->attempt, sim->oracle->horizon) > 0)
        rule_raft_recount(sim);
    return as_attempt_compare(attempt->attempt, sim->oracle->horizon) <= 0;
}
