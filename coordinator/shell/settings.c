/*
 * The table of settings with defaults and ranges. Fault model: a person wrote the file
 * (common/uv/config.h).
 */
#include "coordinator/shell/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/uv/config.h"
#include "common/uv/net.h"
#include "common/uv/say.h"

#define TEXT(s, k, f, ...)                                                                   \
    {                                                                                        \
        .section = s, .key = k, .kind = CONFIG_TEXT, .offset = offsetof(struct settings, f), \
        .size = sizeof(((struct settings *)0)->f), __VA_ARGS__                               \
    }
#define NUMBER(s, f, least, most)                                                               \
    {                                                                                           \
        .section = s, .key = #f, .kind = CONFIG_NUMBER, .offset = offsetof(struct settings, f), \
        .min = (least), .max = (most)                                                           \
    }
#define CHOICE(s, f, words)                                                                     \
    {                                                                                           \
        .section = s, .key = #f, .kind = CONFIG_CHOICE, .offset = offsetof(struct settings, f), \
        .choices = (words)                                                                      \
    }
#define SWITCH(s, k, f)                                                                     \
    {                                                                                       \
        .section = s, .key = k, .kind = CONFIG_BOOL, .offset = offsetof(struct settings, f) \
    }

static const struct config_key keys[] = {
    TEXT("node", "cluster", cluster, .required = true),
    TEXT("node", "data_dir", data_dir, .required = true),
    NUMBER("node", id, 1, UINT32_MAX),
    CHOICE("node", log_level, "debug|info|warn|alarm"),
    CHOICE("node", log_format, SAY_FORMATS),
    NUMBER("node", drain_ms, 0, 3600000),
    TEXT("tls", "ca", tls_ca, .required = false),
    TEXT("tls", "certificate", tls_certificate, .required = false),
    TEXT("tls", "key", tls_key, .required = false),
    TEXT("api", "listen", api_listen, .required = false),
    SWITCH("api", "insecure", api_insecure),
    SWITCH("api", "tls", api_tls),
    TEXT("api", "certificate", api_certificate, .required = false),
    TEXT("api", "key", api_key, .required = false),
    TEXT("api", "client_ca", api_client_ca, .required = false),
    TEXT("api", "tokens", api_tokens, .required = false),
    SWITCH("api", "health_open", api_health_open),
    NUMBER("api", connections_max, 1, 1000000),
    NUMBER("api", body_bytes_max, 1024, 3u << 20),
    NUMBER("api", memory_mib, 16, 1u << 20),
    NUMBER("api", idle_timeout_s, 1, 86400),
    NUMBER("api", request_timeout_s, 1, 3600),
    NUMBER("api", answer_timeout_s, 1, 3600),
    TEXT("agents", "listen", agents_listen, .required = false),
    SWITCH("agents", "insecure", agents_insecure),
    TEXT("cluster", "nodes", cluster_nodes, .required = false),
    TEXT("cluster", "incarnation", cluster_incarnation, .required = false),
    NUMBER("cluster", heartbeat_ms, 0, 10000),
    NUMBER("cluster", election_min_ms, 0, 60000),
    NUMBER("cluster", election_max_ms, 0, 120000),
    NUMBER("log", segment_kib, AS_SEGMENT_BYTES_MIN >> 10, 1u << 20),
    NUMBER("log", snapshot_kib, 16, NODE_SNAPSHOT_BYTES_MAX >> 10),
    NUMBER("log", mark_ms, 1, 10000),
    CHOICE("log", sync_in_place, "auto|never"),
    NUMBER("limits", undecided_max, 1, 1000000),
    NUMBER("limits", outcomes_max, 1000, 100000000),
    NUMBER("limits", retention_ms, 1000, 86400000),
    NUMBER("limits", committed_set_mib, 1, 4096),
    NUMBER("limits", timeout_ms_default, 1, AS_TIMEOUT_MS_MAX),
    NUMBER("limits", resend_first_ms, 1, 60000),
    NUMBER("limits", resend_max_ms, 1, 600000),
    HOST_PARTICIPANT_KEYS,
};

static const struct settings defaults = {
    .id = 1,
    .log_level = AS_TRACE_INFO,
    .drain_ms = 10000,
    .api_listen = "127.0.0.1:7480",
    .connections_max = 10000,
    .body_bytes_max = AS_BODY_BYTES_MAX,
    .memory_mib = 256,
    .idle_timeout_s = 120,
    .request_timeout_s = 30,
    .answer_timeout_s = 60,
    .agents_listen = "127.0.0.1:7481",
    .segment_kib = AS_SEGMENT_BYTES >> 10,
    .snapshot_kib = 64u << 10,
    .mark_ms = 100,
    .undecided_max = AS_UNDECIDED_MAX,
    .outcomes_max = AS_OUTCOMES_MAX,
    .retention_ms = AS_RETENTION_MS,
    .committed_set_mib = AS_COMMITTED_SET_BYTES_MAX >> 20,
    .timeout_ms_default = AS_TIMEOUT_MS_DEFAULT,
    .resend_first_ms = 100,
    .resend_max_ms = 5000,
};

static as_err refuse(char *ret_error, const char *path, const char *why)
{
    snprintf(ret_error, 512, "%.100s: %.400s", path, why);
    return AS_ERR_INVALID;
}

/* `safe`: TLS is on, or the operator has said that it need not be. */
static as_err check_address(const char *path, const char *section, const char *address, bool safe,
                            const char *tls, char *ret_error)
{
    char why[400], host[256];
    uint16_t port;

    if (net_address_split(address, host, &port) != AS_OK) {
        snprintf(why, sizeof(why), "[%s] listen: \"%.100s\" is not host:port or [v6]:port", section,
                 address);
        return refuse(ret_error, path, why);
    }
    if (safe || net_address_loopback(address))
        return AS_OK;
    snprintf(why, sizeof(why),
             "[%s] listen: %.100s can be reached from other machines, by anybody there: %s, or set "
             "insecure = yes in [%s] if everybody on that network may do everything; or listen on "
             "127.0.0.1",
             section, address, tls, section);
    return refuse(ret_error, path, why);
}

/* An API that others can reach must ask them who they are, too. */
static as_err check_identity(const struct settings *settings, const char *path, char *ret_error)
{
    char why[400];

    if (settings->api_tokens[0] || settings->api_client_ca[0] || settings->api_insecure ||
        net_address_loopback(settings->api_listen))
        return AS_OK;
    snprintf(why, sizeof(why),
             "[api] listen: whoever reaches %.100s may do everything: name a file of tokens "
             "(tokens = FILE, assent token new --help) or client_ca in [api], or set insecure = "
             "yes there if everybody on that network may; or listen on 127.0.0.1",
             settings->api_listen);
    return refuse(ret_error, path, why);
}

static as_err check_tls(const struct settings *settings, const char *path, char *ret_error)
{
    bool any = settings->tls_ca[0] || settings->tls_certificate[0] || settings->tls_key[0];
    bool all = settings->tls_ca[0] && settings->tls_certificate[0] && settings->tls_key[0];
    bool own = settings->api_certificate[0] != '\0';

    if (any && !all)
        return refuse(ret_error, path, "[tls] needs all of ca, certificate and key, or none");
    if (own != (settings->api_key[0] != '\0'))
        return refuse(ret_error, path, "[api] needs both of certificate and key, or none");
    if (settings->api_tls && !all && !own)
        return refuse(ret_error, path,
                      "[api] tls = yes needs a certificate: that of [tls], or certificate and key "
                      "in [api]");
    if (!settings->api_tls && (own || settings->api_client_ca[0]))
        return refuse(ret_error, path, "[api] has certificates, but not tls = yes");
    return AS_OK;
}

/* Too short, and every hiccup of the network is an election; see raft.h for the defaults. */
static const char *check_timeouts(const struct settings *settings)
{
    uint64_t heartbeat = settings->heartbeat_ms ? settings->heartbeat_ms : 30;
    uint64_t least = settings->election_min_ms ? settings->election_min_ms : 150;
    uint64_t most = settings->election_max_ms ? settings->election_max_ms : 300;

    if (least < 3 * heartbeat)
        return "election_min_ms (150) must be at least three times heartbeat_ms (30): one lost "
               "heartbeat is no reason for an election";
    if (most < least + least / 2)
        return "election_max_ms (300) must be at least one and a half times election_min_ms (150): "
               "else nodes stand for election at the same time";
    return NULL;
}

/* Fills in what [cluster] says: members, incarnation, origin. */
static as_err check_cluster(struct settings *settings, const char *path, char *ret_error)
{
    bool given = settings->cluster_nodes[0] || settings->cluster_incarnation[0];
    const char *wrong = check_timeouts(settings);
    char why[400];

    if (wrong) {
        snprintf(why, sizeof(why), "[cluster] %s", wrong);
        return refuse(ret_error, path, why);
    }
    if (!given)
        return AS_OK;
    snprintf(why, sizeof(why), "[cluster] ");
    if (members_read(settings->cluster_nodes, &settings->members, why + strlen(why)))
        return refuse(ret_error, path, why);
    settings->origin =
        raft_member_find(&settings->members, settings->id) ? SETTINGS_FOUNDER : SETTINGS_JOINS;
    if (settings->origin == SETTINGS_JOINS && settings->members.count == RAFT_MEMBERS_MAX)
        return refuse(ret_error, path, "[cluster] nodes: with this node it would be one too many");
    if (settings->cluster_incarnation[0]) {
        if (members_incarnation(settings->cluster_incarnation, &settings->incarnation))
            return refuse(ret_error, path,
                          "[cluster] incarnation must be 16 hex digits, not all of them 0");
    } else if (settings->origin == SETTINGS_JOINS || settings->members.count > 1) {
        return refuse(ret_error, path,
                      "[cluster] incarnation is missing: 16 hex digits, the same in the file of "
                      "every node; for a new cluster draw them once (openssl rand -hex 8), for a "
                      "running one `assent cluster status` tells them");
    }
    return AS_OK;
}

static as_err check(struct settings *settings, const char *path, char *ret_error)
{
    as_err err;

    if (!as_cluster_valid(settings->cluster, strlen(settings->cluster)))
        return refuse(ret_error, path, "[node] cluster must be 1 to 32 of a-z, 0-9 and -");
    if (settings->data_dir[0] == '\0')
        return refuse(ret_error, path, "[node] data_dir is empty");
    if (settings->resend_first_ms > settings->resend_max_ms)
        return refuse(ret_error, path, "[limits] resend_first_ms is larger than resend_max_ms");
    err = check_tls(settings, path, ret_error);
    if (!err)
        err = check_address(path, "api", settings->api_listen,
                            settings->api_tls || settings->api_insecure,
                            "set tls = yes in [api] (docs/security.md)", ret_error);
    if (!err)
        err = check_address(path, "agents", settings->agents_listen,
                            settings->tls_ca[0] || settings->agents_insecure,
                            "give a [tls] section (docs/security.md)", ret_error);
    if (!err)
        err = check_identity(settings, path, ret_error);
    if (!err)
        err = check_cluster(settings, path, ret_error);
    if (!err)
        err = host_participants_check(&settings->participants, path, ret_error);
    return err;
}

as_err settings_read(const char *path, struct settings *ret, char ret_error[512])
{
    const struct config_schema schema = {.keys = keys,
                                         .key_count = AS_COUNT_OF(keys),
                                         .target = ret,
                                         .target_of = host_participant_of,
                                         .ctx = &ret->participants};
    as_err err;

    *ret = defaults;
    err = config_read(path, &schema, ret_error);
    return err ? err : check(ret, path, ret_error);
}

void settings_close(struct settings *settings)
{
    host_participants_close(&settings->participants);
}

/* The links' certificate must say what this node claims to be: better found here than by every peer. */
static as_err check_name(const struct settings *settings, const struct tls_credentials *links,
                         char *ret_error)
{
    const struct as_principal *principal = tls_credentials_principal(links);
    char name[AS_CLUSTER_LEN_MAX + 64];

    snprintf(name, sizeof(name), AS_PRINCIPAL_SCHEME "%s/node/%" PRIu64, settings->cluster,
             settings->id);
    if (principal && strcmp(principal->text, name) == 0)
        return AS_OK;
    snprintf(ret_error, 512, "%.200s: it names %.120s, but this node must be %s",
             settings->tls_certificate, principal ? principal->text : "nobody", name);
    return AS_ERR_INVALID;
}

as_err settings_identity(const struct settings *settings, struct settings_identity *ret,
                         char ret_error[512])
{
    bool own = settings->api_certificate[0] != '\0';
    const struct tls_files links = {settings->tls_ca, settings->tls_certificate, settings->tls_key};
    const struct tls_files api = {settings->api_client_ca,
                                  own ? settings->api_certificate : settings->tls_certificate,
                                  own ? settings->api_key : settings->tls_key};
    as_err err = AS_OK;

    memset(ret, 0, sizeof(*ret));
    if (settings->tls_ca[0])
        err = tls_credentials_read(&ret->links, &links, ret_error);
    if (!err && ret->links)
        err = check_name(settings, ret->links, ret_error);
    if (!err && settings->api_tls)
        err = tls_credentials_read(&ret->api, &api, ret_error);
    if (!err && settings->api_tokens[0])
        err = tokens_read(&ret->tokens, settings->api_tokens, ret_error);
    if (err)
        settings_identity_close(ret);
    return err;
}

void settings_identity_close(struct settings_identity *identity)
{
    tls_credentials_release(identity->links);
    tls_credentials_release(identity->api);
    tokens_free(identity->tokens);
    memset(identity, 0, sizeof(*identity));
}

void settings_node(const struct settings *settings, struct node_config *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->log.cluster, settings->cluster, sizeof(ret->log.cluster));
    ret->log.node = settings->id;
    ret->log.incarnation = settings->incarnation;
    ret->log.segment_bytes = settings->segment_kib << 10;
    ret->log.mark_ms = (uint32_t)settings->mark_ms;
    ret->txn.undecided_max = (uint32_t)settings->undecided_max;
    ret->txn.outcomes_max = (uint32_t)settings->outcomes_max;
    ret->txn.retention_ms = (uint32_t)settings->retention_ms;
    ret->txn.committed_bytes_max = (size_t)settings->committed_set_mib << 20;
    ret->txn.resend_first_ms = (uint32_t)settings->resend_first_ms;
    ret->txn.resend_max_ms = (uint32_t)settings->resend_max_ms;
    ret->raft.heartbeat_ms = (uint32_t)settings->heartbeat_ms;
    ret->raft.election_min_ms = (uint32_t)settings->election_min_ms;
    ret->raft.election_max_ms = (uint32_t)settings->election_max_ms;
    ret->joins = settings->origin == SETTINGS_JOINS;
    if (!ret->joins)
        ret->raft.members = settings->members;
    ret->snapshot_bytes = settings->snapshot_kib << 10;
}

void settings_api(const struct settings *settings, struct api_config *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->listen, settings->api_listen, sizeof(ret->listen));
    ret->connections_max = (uint32_t)settings->connections_max;
    ret->body_bytes_max = (size_t)settings->body_bytes_max;
    ret->memory_max = (size_t)settings->memory_mib << 20;
    ret->idle_timeout_s = (uint32_t)settings->idle_timeout_s;
    ret->request_timeout_s = (uint32_t)settings->request_timeout_s;
    ret->answer_timeout_s = (uint32_t)settings->answer_timeout_s;
    ret->timeout_ms_default = (uint32_t)settings->timeout_ms_default;
    ret->health_open = settings->api_health_open;
    ret->version = AS_VERSION;
}
