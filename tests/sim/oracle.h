/* What the oracles remember beside the attempts. */
#ifndef ASSENT_SIM_ORACLE_H
#define ASSENT_SIM_ORACLE_H

#include "sim.h"

#define ORACLE_ENTRIES 16384
#define ORACLE_TERMS 4096
#define ORACLE_PASSED 4096

/* Who counts, by an entry of the log. */
struct oracle_members {
    uint64_t index, term; /* 0: by the bootstrap */
    uint32_t count;
    struct {
        uint64_t id;
        bool voter;
    } list[RAFT_MEMBERS_MAX];
};

struct oracle_finish {
    uint32_t count;
    struct sim_attempt *attempts[];
};

struct oracle_entry {
    uint64_t term;         /* 0: none, or not known */
    uint64_t committed_in; /* the term of the leader that did */
    bool noop;
    struct sim_attempt *attempt;          /* of a COMMIT */
    const struct oracle_members *members; /* of a MEMBERS */
    const struct as_attempt *horizon;     /* of a HORIZON */
    const struct oracle_finish *finish;   /* of a FINISH */
    struct sim_resolve *resolve;          /* of a RESOLVE */
};

/* What a node's disk holds for good. */
struct oracle_log {
    uint64_t last, before_last;
    bool reopening; /* what is read is old */
    struct oracle_entry entries[ORACLE_ENTRIES];
    struct oracle_entry *before; /* the crash */
    uint64_t before_cap;
};

/* The newest vote that a node has given away, and its newest campaign: term 0: none. */
struct oracle_vote {
    uint64_t term, to;
};

struct oracle_candidacy {
    uint64_t term, last_term, last_index;
};

struct sim_oracle {
    struct oracle_log *logs[SIM_IDS_MAX + 1]; /* by the node's id; 0: of one that was emptied */
    bool lost[SIM_IDS_MAX + 1];               /* with its directory */
    bool was_member[SIM_IDS_MAX + 1];         /* by a list that was committed */
    struct oracle_members first;              /* of the bootstrap */
    const struct oracle_members *members;     /* the newest list that is committed */
    const struct oracle_members *in_force[SIM_PROCS_MAX]; /* as each node has it in memory */
    struct oracle_entry committed[ORACLE_ENTRIES];
    uint64_t committed_last;
    struct as_attempt horizon;         /* the highest that is committed */
    uint64_t term_begun;               /* the newest term of which a NOOP was written anywhere */
    uint64_t term_max;                 /* the newest that somebody leads */
    uint64_t written[SIM_IDS_MAX + 1]; /* the newest term of which each node has written an entry */
    uint64_t led[ORACLE_TERMS];        /* terms whose NOOP is committed */
    uint64_t noop[ORACLE_TERMS];       /* and where it stands */
    struct as_env *leaders[ORACLE_TERMS]; /* of each term */
    struct oracle_vote votes[SIM_IDS_MAX + 1];
    struct oracle_candidacy candidacies[SIM_IDS_MAX + 1];
    uint64_t passed[ORACLE_PASSED]; /* requests that have come to another node */
    uint64_t leads[SIM_PROCS_MAX];  /* in this life of the node; 0: it never led */
};

static inline bool oracle_members_has(const struct oracle_members *members, uint64_t id,
                                      bool as_voter)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].id == id)
            return !as_voter || members->list[i].voter;
    }
    return false;
}

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
