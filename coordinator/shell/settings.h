/*
 * What an operator may set for a coordinator node: the file of `assentd --config`.
 */
#ifndef ASSENT_SHELL_SETTINGS_H
#define ASSENT_SHELL_SETTINGS_H

#include "assent/limits.h"
#include "common/uv/tls.h"
#include "coordinator/api/api.h"
#include "coordinator/node/node.h"
#include "coordinator/shell/members.h"
#include "participant/host/participants.h"

/* What a node is to its cluster. Told by the file alone, at every start: what the log does not hold
 * yet cannot tell a node that founds its cluster from one that joins. */
enum settings_origin {
    SETTINGS_LONE,    /* no [cluster] */
    SETTINGS_FOUNDER, /* `nodes` names it: --bootstrap */
    SETTINGS_JOINS,   /* [cluster] does not: --join, then `assent cluster add` */
};

#define SETTINGS_PATH_MAX 512

struct settings {
    /* [node] */
    uint64_t id;
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    char data_dir[1024];
    int log_level;  /* enum as_trace_level */
    int log_format; /* enum say_format */
    uint64_t drain_ms;
    /* [tls] */
    char tls_ca[SETTINGS_PATH_MAX], tls_certificate[SETTINGS_PATH_MAX], tls_key[SETTINGS_PATH_MAX];
    /* [api] */
    char api_listen[256];
    bool api_insecure, api_tls;
    char api_certificate[SETTINGS_PATH_MAX], api_key[SETTINGS_PATH_MAX]; /* "": those of [tls] */
    char api_client_ca[SETTINGS_PATH_MAX], api_tokens[SETTINGS_PATH_MAX];
    bool api_health_open;
    uint64_t connections_max, body_bytes_max, memory_mib;
    uint64_t idle_timeout_s, request_timeout_s, answer_timeout_s;
    /* [agents] */
    char agents_listen[256];
    bool agents_insecure;
    /* [cluster] */
    char cluster_nodes[MEMBERS_TEXT_MAX], cluster_incarnation[24];
    uint64_t heartbeat_ms, election_min_ms, election_max_ms; /* 0: raft.h's */
    struct raft_members members;                             /* read from cluster_nodes */
    uint64_t incarnation;                                    /* 0: not given */
    enum settings_origin origin;
    /* [log] */
    uint64_t segment_kib, snapshot_kib, mark_ms;
    int sync_in_place; /* 0: auto, 1: never */
    /* [limits] */
    uint64_t undecided_max, outcomes_max, retention_ms, committed_set_mib;
    uint64_t timeout_ms_default, resend_first_ms, resend_max_ms;
    /* [participant.NAME]: those that this node serves itself */
    struct host_participants participants;
};

/* INVALID and others: ret_error says what is wrong and what is allowed. Close them either way. */
as_err settings_read(const char *path, struct settings *ret, char ret_error[512]) AS_MUSTCHECK;
void settings_close(struct settings *settings);
/* The files by which this node and its peers know each other, read. */
struct settings_identity {
    struct tls_credentials *links, *api; /* NULL: links, or the API, without TLS */
    struct tokens *tokens;               /* of the API; NULL: none */
};

/* Reads the files that the settings name. INVALID and others: ret_error says what is wrong; nothing is held then. */
as_err settings_identity(const struct settings *settings, struct settings_identity *ret,
                         char ret_error[512]) AS_MUSTCHECK;
void settings_identity_close(struct settings_identity *identity);
void settings_node(const struct settings *settings, struct node_config *ret);
void settings_api(const struct settings *settings, struct api_config *ret);

#endif
