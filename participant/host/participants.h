/*
 * The sections [participant.NAME] of a configuration file: assent-agent's, and assentd's for the
 * participants that it serves itself (docs/operations.md is the reference).
 */
#ifndef ASSENT_HOST_PARTICIPANTS_H
#define ASSENT_HOST_PARTICIPANTS_H

#include "common/uv/config.h"
#include "participant/agent/agent.h"
#include "participant/postgres/pg.h"

#define HOST_PATH_MAX 512

enum host_sql { HOST_SQL_ALLOWED, HOST_SQL_NAMED };

struct host_participant {
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    char dsn[1024];
    uint64_t connections;
    uint64_t prepared_max;
    uint64_t queue_max;
    int proof;                      /* enum as_proof */
    char operations[HOST_PATH_MAX]; /* a file; "": none */
    int sql;                        /* enum host_sql */
    bool null;
};

struct host_participants {
    uint32_t count;
    struct host_participant *list; /* owned */
};

#define HOST_PARTICIPANT_FIELD(kind_, field, ...)                       \
    {                                                                   \
        .section = "participant.", .key = #field, .kind = (kind_),      \
        .offset = offsetof(struct host_participant, field), __VA_ARGS__ \
    }
/* Rows of a table of struct config_key; `target_of` is host_participant_of. */
#define HOST_PARTICIPANT_KEYS                                                          \
    HOST_PARTICIPANT_FIELD(CONFIG_TEXT, dsn, .size = 1024),                            \
        HOST_PARTICIPANT_FIELD(CONFIG_NUMBER, connections, .min = 1, .max = 1000),     \
        HOST_PARTICIPANT_FIELD(CONFIG_NUMBER, prepared_max, .min = 1, .max = 262143),  \
        HOST_PARTICIPANT_FIELD(CONFIG_NUMBER, queue_max, .min = 1, .max = 10000),      \
        HOST_PARTICIPANT_FIELD(CONFIG_CHOICE, proof, .choices = "xact_status|marker"), \
        HOST_PARTICIPANT_FIELD(CONFIG_TEXT, operations, .size = HOST_PATH_MAX),        \
        HOST_PARTICIPANT_FIELD(CONFIG_CHOICE, sql, .choices = "allowed|named"),        \
        HOST_PARTICIPANT_FIELD(CONFIG_BOOL, null, .size = 0)

/* Of struct config_schema; ctx is the struct host_participants. */
void *host_participant_of(void *ctx, const char *section, const char *name, char ret_error[256]);
/* INVALID: ret_error names file and section. */
as_err host_participants_check(const struct host_participants *participants, const char *path,
                               char ret_error[512]) AS_MUSTCHECK;
void host_participants_close(struct host_participants *participants);

/* The operations of each, read from its file; NULL where it has none. INVALID and others: ret_error names the file and
 * says what is wrong; nothing is held then. `ret` has room for `count`. */
struct operations;
as_err host_participants_operations(const struct host_participants *participants,
                                    struct operations **ret, char ret_error[512]) AS_MUSTCHECK;

/* The two rooms' own configs, in memory that the caller gives: one for each participant. */
void host_participants_agent(const struct host_participants *participants,
                             struct agent_participant_config *ret);
void host_participants_pg(const struct host_participants *participants,
                          struct pg_participant_config *ret);

#endif
