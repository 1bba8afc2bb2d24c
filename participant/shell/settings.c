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
#include "common/uv/say.h"

#define KEY(f, kind_, ...)                                                                      \
    {                                                                                           \
        .section = "agent", .key = #f, .kind = (kind_), .offset = offsetof(struct settings, f), \
        __VA_ARGS__                                                                             \
    }
#define TEXT(f, needed) \
    KEY(f, CONFIG_TEXT, .size = sizeof(((struct settings *)0)->f), .required = (needed))
#define NUMBER(f, least, most) KEY(f, CONFIG_NUMBER, .min = (least), .max = (most))
#define TLS_FILE(f)                                                                               \
    {                                                                                             \
        .section = "tls", .key = #f, .kind = CONFIG_TEXT, .offset = offsetof(struct settings, f), \
        .size = sizeof(((struct settings *)0)->f)                                                 \
    }
/* Between arrays of one limit: the table of keys has checked the length. */
#define COPY(to, from) snprintf(to, sizeof(to), "%s", from)

static const struct config_key keys[] = {
    TEXT(cluster, true),
    TEXT(name, false),
    TEXT(coordinators, true),
    KEY(log_level, CONFIG_CHOICE, .choices = "debug|info|warn|alarm"),
    KEY(log_format, CONFIG_CHOICE, .choices = SAY_FORMATS),
    NUMBER(drain_ms, 0, 3600000),
    NUMBER(grace_ms, 1, 3600000),
    NUMBER(scan_ms, 10, 3600000),
    TLS_FILE(ca),
    TLS_FILE(certificate),
    TLS_FILE(key),
    HOST_PARTICIPANT_KEYS,
};

static as_err refuse(char *ret_error, const char *path, const char *section, const char *why)
{
    snprintf(ret_error, 512, "%.100s: [%.80s] %.300s", path, section, why);
    return AS_ERR_INVALID;
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

    if (!as_cluster_valid(settings->cluster, strlen(settings->cluster)))
        return refuse(ret_error, path, "agent", "cluster must be 1 to 32 of a-z, 0-9 and -");
    if (split_coordinators(settings, NULL, why))
        return refuse(ret_error, path, "agent", why);
    if ((settings->ca[0] || settings->certificate[0] || settings->key[0]) &&
        !(settings->ca[0] && settings->certificate[0] && settings->key[0]))
        return refuse(ret_error, path, "tls", "needs all of ca, certificate and key, or none");
    if (settings->participants.count == 0)
        return refuse(ret_error, path, "participant.NAME", "there is no participant to serve");
    return host_participants_check(&settings->participants, path, ret_error);
}

as_err settings_read(const char *path, struct settings *ret, char ret_error[512])
{
    const struct config_schema schema = {.keys = keys,
                                         .key_count = AS_COUNT_OF(keys),
                                         .target = ret,
                                         .target_of = host_participant_of,
                                         .ctx = &ret->participants};
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
    host_participants_close(&settings->participants);
}

/* Better found here than by every node. */
static as_err check_name(const struct settings *settings, const struct tls_credentials *credentials,
                         char *ret_error)
{
    const struct as_principal *principal = tls_credentials_principal(credentials);
    const char *missing = "this agent";
    bool named = principal && as_principal_refuses_agent(principal, settings->cluster) == NULL;

    for (uint32_t i = 0; i < settings->participants.count && named; i++) {
        missing = settings->participants.list[i].name;
        named =
            as_principal_refuses_participant(
                principal, (struct as_bytes){(const uint8_t *)missing, strlen(missing)}) == NULL;
    }
    if (named)
        return AS_OK;
    snprintf(ret_error, 512,
             "%.150s: it names %.120s, and so cannot serve %.63s: it must be " AS_PRINCIPAL_SCHEME
             "%s/agent/ and the names of all participants, with commas",
             settings->certificate, principal ? principal->text : "nobody", missing,
             settings->cluster);
    return AS_ERR_INVALID;
}

as_err settings_tls(const struct settings *settings, struct tls_credentials **ret,
                    char ret_error[512])
{
    const struct tls_files files = {settings->ca, settings->certificate, settings->key};
    as_err err;

    *ret = NULL;
    if (!settings->ca[0])
        return AS_OK;
    err = tls_credentials_read(ret, &files, ret_error);
    if (!err)
        err = check_name(settings, *ret, ret_error);
    if (err) {
        tls_credentials_release(*ret);
        *ret = NULL;
    }
    return err;
}

void settings_agent(const struct settings *settings, struct agent_config *ret)
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
}
