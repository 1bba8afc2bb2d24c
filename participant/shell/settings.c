/*
 * The table of settings with defaults and ranges. Fault model: a person wrote the file
 * (common/uv/config.h).
 */
#include "participant/shell/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "common/uv/config.h"
#include "common/uv/net.h"

#define FIELD(struct_type, f) .offset = offsetof(struct struct_type, f)
#define TEXT(s, t, f)                                              \
    {                                                              \
        .section = s, .key = #f, .kind = CONFIG_TEXT, FIELD(t, f), \
        .size = sizeof(((struct t *)0)->f)                         \
    }
#define NEEDED(s, t, f)                                            \
    {                                                              \
        .section = s, .key = #f, .kind = CONFIG_TEXT, FIELD(t, f), \
        .size = sizeof(((struct t *)0)->f), .required = true       \
    }
#define NUMBER(s, t, f, least, most)                                                               \
    {                                                                                              \
        .section = s, .key = #f, .kind = CONFIG_NUMBER, FIELD(t, f), .min = (least), .max = (most) \
    }
#define CHOICE(s, t, f, words)                                                          \
    {                                                                                   \
        .section = s, .key = #f, .kind = CONFIG_CHOICE, FIELD(t, f), .choices = (words) \
    }
/* Between arrays of one limit: the table of keys has checked the length. */
#define COPY(to, from) snprintf(to, sizeof(to), "%s", from)
#define SWITCH(s, t, f)                                           \
    {                                                             \
        .section = s, .key = #f, .kind = CONFIG_BOOL, FIELD(t, f) \
    }

static const struct config_key keys[] = {
    NEEDED("agent", settings, cluster),
    TEXT("agent", settings, name),
    NEEDED("agent", settings, coordinators),
    CHOICE("agent", settings, log_level, "debug|info|warn|alarm"),
    NUMBER("agent", settings, drain_ms, 0, 3600000),
    NUMBER("agent", settings, grace_ms, 1, 3600000),
    NUMBER("agent", settings, scan_ms, 10, 3600000),
    TEXT("participant.", settings_participant, dsn),
    NUMBER("participant.", settings_participant, connections, 1, 1000),
    NUMBER("participant.", settings_participant, prepared_max, 1, 262143),
    NUMBER("participant.", settings_participant, queue_max, 1, 10000),
    CHOICE("participant.", settings_participant, proof, "xact_status|marker"),
    SWITCH("participant.", settings_participant, null),
};

/* config.h gives the same name once more for each of its keys. */
static void *participant_of(void *ctx, const char *section, const char *name, char ret_error[256])
{
    struct settings *settings = ctx;
    struct settings_participant *grown;

    (void)section;
    for (uint32_t i = 0; i < settings->participant_count; i++)
        if (strcmp(settings->participants[i].name, name) == 0)
            return &settings->participants[i];
    if (!as_participant_valid(name, strlen(name))) {
        snprintf(ret_error, 256,
                 "a participant's name is 1 to 63 of a-z, 0-9, _ and -, the first a letter");
        return NULL;
    }
    if (settings->participant_count == AS_PARTICIPANTS_MAX) {
        snprintf(ret_error, 256, "more than %d participants", AS_PARTICIPANTS_MAX);
        return NULL;
    }
    grown = as_resize(settings->participants,
                      (settings->participant_count + 1) * sizeof(*settings->participants));
    if (!grown) {
        snprintf(ret_error, 256, "out of memory");
        return NULL;
    }
    settings->participants = grown;
    grown = &settings->participants[settings->participant_count++];
    memset(grown, 0, sizeof(*grown));
    COPY(grown->name, name);
    return grown;
}

static as_err refuse(char *ret_error, const char *path, const char *section, const char *why)
{
    snprintf(ret_error, 512, "%.100s: [%.80s] %.300s", path, section, why);
    return AS_ERR_INVALID;
}

static as_err check_participant(const struct settings_participant *participant, const char *path,
                                char *ret_error)
{
    char section[AS_PARTICIPANT_LEN_MAX + 16], why[300], detail[256];

    snprintf(section, sizeof(section), "participant.%s", participant->name);
    if (participant->null)
        return participant->dsn[0]
                   ? refuse(ret_error, path, section, "null = yes means no database: remove dsn")
                   : AS_OK;
    if (!participant->dsn[0])
        return refuse(ret_error, path, section,
                      "dsn is missing: a libpq connection string, such as "
                      "host=db1 dbname=bank user=assent");
    if (pg_dsn_check(participant->dsn, detail) == AS_OK)
        return AS_OK;
    snprintf(why, sizeof(why), "dsn: %.250s", detail);
    return refuse(ret_error, path, section, why);
}

/* The nodes' addresses, separated by commas and spaces. Counts them when `ret` is NULL. */
static as_err split_coordinators(const struct settings *settings, struct agent_config *ret,
                                 char ret_why[300])
{
    char list[SETTINGS_COORDINATORS_LEN_MAX], host[256], *rest = NULL;
    uint32_t count = 0;
    uint16_t port;

    COPY(list, settings->coordinators);
    for (char *at = strtok_r(list, ", ", &rest); at; at = strtok_r(NULL, ", ", &rest)) {
        if (net_address_split(at, host, &port) != AS_OK || port == 0) {
            snprintf(ret_why, 300, "coordinators: \"%.100s\" is not host:port or [v6]:port", at);
            return AS_ERR_INVALID;
        }
        if (strlen(at) > AGENT_ADDRESS_LEN_MAX) {
            snprintf(ret_why, 300, "coordinators: \"%.100s...\" is longer than %d bytes", at,
                     AGENT_ADDRESS_LEN_MAX);
            return AS_ERR_INVALID;
        }
        if (count == AGENT_NODES_MAX) {
            snprintf(ret_why, 300, "coordinators: more than %d", AGENT_NODES_MAX);
            return AS_ERR_INVALID;
        }
        if (ret)
            COPY(ret->nodes[count], at);
        count++;
    }
    if (count == 0) {
        snprintf(ret_why, 300, "coordinators is empty: host:port of each node, with commas");
        return AS_ERR_INVALID;
    }
    if (ret)
        ret->node_count = count;
    return AS_OK;
}

static as_err check(const struct settings *settings, const char *path, char *ret_error)
{
    char why[300];
    as_err err = AS_OK;

    if (!as_cluster_valid(settings->cluster, strlen(settings->cluster)))
        return refuse(ret_error, path, "agent", "cluster must be 1 to 32 of a-z, 0-9 and -");
    if (split_coordinators(settings, NULL, why))
        return refuse(ret_error, path, "agent", why);
    if (settings->participant_count == 0)
        return refuse(ret_error, path, "participant.NAME", "there is no participant to serve");
    for (uint32_t i = 0; i < settings->participant_count && !err; i++)
        err = check_participant(&settings->participants[i], path, ret_error);
    return err;
}

as_err settings_read(const char *path, struct settings *ret, char ret_error[512])
{
    const struct config_schema schema = {.keys = keys,
                                         .key_count = AS_COUNT_OF(keys),
                                         .target = ret,
                                         .target_of = participant_of,
                                         .ctx = ret};
    as_err err;

    memset(ret, 0, sizeof(*ret));
    ret->log_level = AS_TRACE_INFO;
    ret->drain_ms = 10000;
    err = config_read(path, &schema, ret_error);
    if (err)
        return err;
    if (!ret->name[0] && gethostname(ret->name, sizeof(ret->name) - 1))
        COPY(ret->name, "agent");
    return check(ret, path, ret_error);
}

void settings_close(struct settings *settings)
{
    as_free(settings->participants);
    settings->participants = NULL;
}

void settings_agent(const struct settings *settings, struct agent_config *ret,
                    struct agent_participant_config *participants)
{
    char why[300];
    as_err err;

    memset(ret, 0, sizeof(*ret));
    COPY(ret->cluster, settings->cluster);
    COPY(ret->name, settings->name);
    ret->grace_ms = (uint32_t)settings->grace_ms;
    ret->scan_ms = (uint32_t)settings->scan_ms;
    err = split_coordinators(settings, ret, why);
    AS_ASSERT(!err); /* settings_read has checked it */
    for (uint32_t i = 0; i < settings->participant_count; i++) {
        const struct settings_participant *from = &settings->participants[i];

        memset(&participants[i], 0, sizeof(participants[i]));
        COPY(participants[i].name, from->name);
        participants[i].prepared_max = (uint32_t)from->prepared_max;
        participants[i].queue_max = (uint32_t)from->queue_max;
    }
    ret->participants = participants;
    ret->participant_count = settings->participant_count;
}

void settings_pg(const struct settings *settings, struct pg_config *ret,
                 struct pg_participant_config *participants)
{
    memset(ret, 0, sizeof(*ret));
    COPY(ret->cluster, settings->cluster);
    for (uint32_t i = 0; i < settings->participant_count; i++) {
        const struct settings_participant *from = &settings->participants[i];

        memset(&participants[i], 0, sizeof(participants[i]));
        COPY(participants[i].name, from->name);
        COPY(participants[i].dsn, from->dsn);
        participants[i].connections = (uint32_t)from->connections;
        participants[i].proof = (enum as_proof)from->proof;
        participants[i].null = from->null;
    }
    ret->participants = participants;
    ret->participant_count = settings->participant_count;
}
