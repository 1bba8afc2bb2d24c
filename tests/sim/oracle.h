/* What the oracles remember beside the attempts. */
#ifndef ASSENT_SIM_ORACLE_H
#define ASSENT_SIM_ORACLE_H

#include "sim.h"

#define ORACLE_ENTRIES 16384
#define ORACLE_TERMS 4096

struct oracle_entry {
    uint64_t term;         /* 0: none, or not known */
    uint64_t committed_in; /* the term of the leader that did */
    bool noop;
    struct sim_attempt *attempt; /* of a COMMIT */
};

/* What a node's disk holds for good. */
struct oracle_log {
    uint64_t last, before_last;
    bool reopening; /* what is read is old */
    struct oracle_entry entries[ORACLE_ENTRIES];
    struct oracle_entry before[ORACLE_ENTRIES]; /* the crash */
};

struct sim_oracle {
    struct oracle_log *logs; /* one per node */
    struct oracle_entry committed[ORACLE_ENTRIES];
    uint64_t committed_last;
    uint64_t term_begun;                  /* the newest term of which a NOOP was written anywhere */
    uint64_t term_max;                    /* the newest that somebody leads */
    uint64_t led[ORACLE_TERMS];           /* terms whose NOOP is committed */
    struct as_env *leaders[ORACLE_TERMS]; /* of each term */
    uint64_t leads[SIM_PROCS_MAX];        /* in this life of the node; 0: it never led */
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
