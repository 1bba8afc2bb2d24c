/*
 * assent doctor: what is checked, and the list of what was found. Each finding says what was looked
 * at, how it is, and, when it is not good, what to do.
 */
#ifndef ASSENT_CLI_DOCTOR_H
#define ASSENT_CLI_DOCTOR_H

#include <cjson/cJSON.h>

#include "assent/attempt.h"
#include "cli/options.h"

#define DOCTOR_PARTICIPANTS_MAX 64 /* of one file; the rest is named and not looked at */

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct doctor_participant {
    char name[64]; /* for people: as in the file, cut if need be */
    char dsn[1024];
    uint64_t connections; /* 0: the default */
};

/* What of a daemon's file is checked; the daemon itself says whether the file is right. */
struct doctor_file {
    const char *path;
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    char data_dir[1024];        /* of a node */
    char api[256], agents[256]; /* of a node: where it listens */
    char nodes[4096];           /* of a node: [cluster] nodes */
    char coordinators[4096];    /* of an agent */
    char tls[3][1024];          /* [tls] ca, certificate, key */
    char tokens[1024];          /* [api] tokens */
    bool api_tls;
    uint64_t segment_kib;
    size_t participant_count;
    struct doctor_participant participants[DOCTOR_PARTICIPANTS_MAX];
};

struct doctor {
    cJSON *findings;
    size_t counts[VERDICT_FAIL + 1];
    char apis[4096]; /* of the files of nodes, with commas, and those that were given */
};

/* `todo` is NULL if the verdict is OK. */
void doctor_finding(struct doctor *doctor, enum verdict verdict, const char *check,
                    const char *subject, const char *todo, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* --- doctor_files.c: a file, and what it names of this machine --- */
void doctor_node_file(struct doctor *doctor, const char *path);
void doctor_agent_file(struct doctor *doctor, const char *path);

/* --- doctor_disk.c --- */
/* Where the decision log is, or will be made. */
void doctor_disk(struct doctor *doctor, const struct doctor_file *file);

/* --- doctor_database.c --- */
void doctor_databases(struct doctor *doctor, const struct doctor_file *file);

/* --- doctor_nodes.c: what runs --- */
/* Can be connected to; `address` is host:port. */
void doctor_address(struct doctor *doctor, const char *address, const char *of);
void doctor_cluster(struct doctor *doctor);

/* --- doctor_clock.c --- */
/* How far that node's clock is ahead of ours, to about 50 ms; false: it was not told. */
bool doctor_clock(const char *api, int64_t *ret_ahead_ms);

#endif
