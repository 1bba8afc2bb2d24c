/*
 * What assent-agent's file says (docs/operations.md is its reference).
 */
#ifndef ASSENT_AGENT_SETTINGS_H
#define ASSENT_AGENT_SETTINGS_H

#include "common/uv/tls.h"
#include "participant/host/participants.h"

#define SETTINGS_COORDINATORS_LEN_MAX 2400

struct settings {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    char name[64];
    char coordinators[SETTINGS_COORDINATORS_LEN_MAX];
    int log_level;
    int log_format; /* enum say_format */
    uint64_t drain_ms;
    uint64_t grace_ms, scan_ms;
    /* [tls] */
    char ca[512], certificate[512], key[512];
    struct host_participants participants;
};

/* INVALID and others: ret_error names file and reason. Free them either way. */
as_err settings_read(const char *path, struct settings *ret, char ret_error[512]) AS_MUSTCHECK;
void settings_close(struct settings *settings);

/* Reads the files of [tls]; *ret NULL: there is no such section. */
as_err settings_tls(const struct settings *settings, struct tls_credentials **ret,
                    char ret_error[512]) AS_MUSTCHECK;

/* All but the participants. */
void settings_agent(const struct settings *settings, struct agent_config *ret);

#endif
