/*
 * R8: the horizon of the set of committed attempts. It never passes one that may still commit, and only what lies at or
 * below it is answered as unknown.
 */
#include "observe.h"
#include "oracle.h"

const struct as_attempt *rule_r8_horizon_of(struct sim *sim, const struct txn_entry *entry)
{
    static struct txn_record record;
    struct as_attempt *horizon;

    if (entry->type != TXN_RECORD_HORIZON)
        return NULL;
    SIM_CHECK(sim, "log", !txn_record_take(entry->type, entry->payload, &record),
              "a HORIZON record cannot be read");
    horizon = sim_alloc(sim, sizeof *horizon);
    *horizon = record.horizon;
    return horizon;
}

void rule_r8_committed(struct sim *sim, const struct oracle_entry *entry)
{
    struct sim_oracle *oracle = sim->oracle;

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
