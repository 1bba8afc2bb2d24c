/* What the oracles remember beside the attempts. */
#ifndef ASSENT_SIM_ORACLE_H
#define ASSENT_SIM_ORACLE_H

#include "sim.h"

struct sim_oracle {
    uint64_t term_max; /* of a durable NOOP */
    uint64_t leads
        [SIM_PROCS_MAX]; /* the term whose NOOP this life of the node has made durable; 0: none */
};

static inline unsigned long long oracle_term(const struct sim_attempt *attempt)
{
    return attempt->attempt.term;
}

static inline unsigned long long oracle_seq(const struct sim_attempt *attempt)
{
    return attempt->attempt.seq;
}

/* Arguments for "%s (%llu.%llu)" and "%s (%llu.%llu/%u)". */
#define ATTEMPT_ARGS(attempt) (attempt)->txn->id, oracle_term(attempt), oracle_seq(attempt)
#define BRANCH_ARGS(branch) ATTEMPT_ARGS((branch)->attempt), (branch)->number

#endif
