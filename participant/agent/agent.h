/*
 * One agent: the branches of its participants, and its sessions with the coordinator nodes. Pure:
 * speaks only to `struct as_env`.
 *
 * Where a branch is finished: on COMMIT or ABORT from a node (R6), by participant/branch, which
 * tells when an outcome is proven (R7).
 */
#ifndef ASSENT_AGENT_H
#define ASSENT_AGENT_H

#include "assent/env.h"
#include "assent/limits.h"

#define AGENT_NODES_MAX AS_NODES_MAX
#define AGENT_ADDRESS_LEN_MAX 255

struct agent_participant_config {
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    uint32_t prepared_max; /* branches of ours that may be executing or prepared; 0: from the
                              server's setting */
    uint32_t queue_max;    /* branches that may wait for one of these; 0: 1000 */
    bool named;            /* runs named operations only, no SQL of a client's own */
};

struct agent_config {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    char name[64]; /* for people */
    uint64_t
        self; /* the node in whose process this is, which is dialed as the file says; 0: none */
    uint32_t node_count; /* to begin with: a leader names the others */
    char nodes[AGENT_NODES_MAX][AGENT_ADDRESS_LEN_MAX + 1];
    uint32_t participant_count;
    const struct agent_participant_config *participants; /* copied */
    uint32_t grace_ms; /* 0: 2000: how old a prepared branch is before it is asked about (R6) */
    uint32_t scan_ms;  /* 0: 2000 */
    uint32_t redial_max_ms; /* 0: 1000 */
};

struct agent;

as_err agent_new(struct agent **ret_agent, const struct agent_config *config, struct as_env *env,
                 const struct as_env_ops *ops) AS_MUSTCHECK;
void agent_free(struct agent *agent);

/* What that participant's operations are, from now on. Takes them; NULL: none. */
struct operations;
void agent_operations(struct agent *agent, uint32_t participant, struct operations *operations);

/* Dials the nodes. Participants come up by agent_on_pg_up. */
void agent_start(struct agent *agent);

/* `err` of closed is for the trace: AS_OK when the peer closed it. */
void agent_on_connected(struct agent *agent, uint64_t connection);
void agent_on_bytes(struct agent *agent, uint64_t connection, struct as_bytes bytes);
void agent_on_closed(struct agent *agent, uint64_t connection, as_err err);

void agent_on_pg_up(struct agent *agent, const struct as_pg_up *up);
void agent_on_pg_down(struct agent *agent, uint32_t participant, const char *why);
void agent_on_pg_done(struct agent *agent, const struct as_pg_done *done);

void agent_on_timer(struct agent *agent);

/* No new branches; true when nothing is executing any more. Prepared branches wait for the next
 * agent. */
bool agent_drain(struct agent *agent);

struct agent_counts {
    uint64_t executed, voted_yes, voted_no, voted_read_only, committed, aborted, heuristic,
        inquiries, fenced, resolved; /* resolved: on an operator's word */
    uint32_t branches;               /* live now */
    uint32_t queued;
};
void agent_count(const struct agent *agent, struct agent_counts *ret);

#endif
