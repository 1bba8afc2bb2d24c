/*
 * Atomicity, looked at in the databases when all is over: every branch of a committed attempt is committed, of any other
 * none is, and no money was made or lost. Where a person, a failover or a restore has taken one apart, the log says so.
 */
#include "observe.h"
#include "oracle.h"

static void check_branch(struct sim *sim, const struct sim_branch *branch)
{
    bool committed = branch->tx && branch->tx->state == TX_COMMITTED;
    bool meddled = branch->hand_commit || branch->hand_rollback || branch->undone;

    if (branch->read_only || committed == branch->attempt->durable)
        return;
    SIM_CHECK(sim, "atomicity", meddled,
              "at the end %s (%llu.%llu/%u) is %s, which its attempt is not", BRANCH_ARGS(branch),
              committed ? "committed" : "not committed");
    /* What a failover took after it was finished nobody can know. */
    SIM_CHECK(sim, "R7", branch->undone || !branch->attempt->durable || branch->heuristic,
              "%s (%llu.%llu/%u) was rolled back by hand, and nobody has reported that",
              BRANCH_ARGS(branch));
}

static int64_t moved(const struct sim_attempt *attempt)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < attempt->branch_count; i++) {
        const struct sim_tx *tx = attempt->branches[i].tx;

        for (uint32_t w = 0; tx && tx->state == TX_COMMITTED && w < tx->write_count; w++)
            sum += tx->writes[w].delta;
    }
    return sum;
}

void rule_atomicity_end(struct sim *sim)
{
    int64_t total = 0, expected = 0;

    for (uint32_t d = 0; d < sim->plan.dbs; d++) {
        for (uint32_t account = 0; account < SIM_ACCOUNTS; account++) {
            SIM_CHECK(sim, "atomicity", sim->dbs[d].balances[account] >= 0 || sim->dbs[d].disturbed,
                      "account %u of %s is overdrawn", account, sim->dbs[d].name);
            total += sim->dbs[d].balances[account];
            expected += SIM_BALANCE;
        }
    }
    for (uint32_t i = 0; i < sim->attempt_count; i++) {
        const struct sim_attempt *attempt = sim->attempts[i];
        bool meddled = false;

        for (uint32_t b = 0; b < attempt->branch_count; b++) {
            check_branch(sim, &attempt->branches[b]);
            meddled |= attempt->branches[b].hand_commit || attempt->branches[b].hand_rollback ||
                       attempt->branches[b].undone;
        }
        SIM_CHECK(sim, "atomicity", meddled || moved(attempt) == 0, "%s (%llu.%llu) has moved %lld",
                  ATTEMPT_ARGS(attempt), (long long)moved(attempt));
        expected += moved(attempt);
    }
    SIM_CHECK(sim, "atomicity", total == expected, "all money is %lld, and should be %lld",
              (long long)total, (long long)expected);
}
