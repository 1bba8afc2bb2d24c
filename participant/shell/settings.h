/*
 * What assent-agent's file says (docs/operations.md is its reference).
 */
#ifndef ASSENT_AGENT_SETTINGS_H
#define ASSENT_AGENT_SETTINGS_H

#include "participant/agent/agent.h"
#include "participant/postgres/pg.h"

#define SETTINGS_COORDINATORS_LEN_MAX 2400

struct settings_participant {
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    char dsn[1024];
    uint64_t connections;
    uint64_t prepared_max;
    uint64_t queue_max;
    int proof; /* enum as_proof */
    bool null;
};

struct settings {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    char name[64];
    char coordinators[SETTINGS_COORDINATORS_LEN_MAX];
    int log_level;
    uint64_t drain_ms;
    uint64_t grace_ms, scan_ms;
    uint32_t participant_count;
    struct settings_participant *participants; /* owned */
};

/* INVALID and others: ret_error names file and reason. Free them either way. */
as_err settings_read(const char *path, struct settings *ret, char ret_error[512]) AS_MUSTCHECK;
void settings_close(struct settings *settings);

/* The two rooms' own configs; `participants` of these borrow from memory that the caller gives. */
void settings_agent(const struct settings *settings, struct agent_config *ret,
                    struct agent_participant_config *participants);
void settings_pg(const struct settings *settings, struct pg_config *ret,
                 struct pg_participant_config *participants);

#endif
