/*
 * The name in a certificate. Fault model: the certificate is signed by our authority, but the text in it was written
 * by a person; what is not exactly of the form is no principal, and nobody is let in on a guess.
 */
#include "assent/principal.h"

#include <string.h>

#include "assent/attempt.h"

/* The part of `text` up to the next slash or comma (as `until` says), or its end. */
static struct as_bytes part_of(const char *text, char until)
{
    const char *end = strchr(text, until);

    return (struct as_bytes){(const uint8_t *)text, end ? (size_t)(end - text) : strlen(text)};
}

static bool part_is(struct as_bytes part, const char *text)
{
    return strlen(text) == part.len && memcmp(part.data, text, part.len) == 0;
}

/* Decimal, from 1 to UINT32_MAX, as people write it: no sign, no leading zero. */
static bool node_id_read(const char *text, uint64_t *ret_id)
{
    uint64_t id = 0;

    if (*text == '0' || *text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        id = id * 10 + (uint64_t)(*text - '0');
        if (id > UINT32_MAX)
            return false;
    }
    *ret_id = id;
    return true;
}

static bool name_read(struct as_principal *principal, struct as_bytes kind, const char *name)
{
    if (part_is(kind, "node")) {
        principal->kind = AS_PRINCIPAL_NODE;
        return node_id_read(name, &principal->node_id);
    }
    if (part_is(kind, "agent")) {
        principal->kind = AS_PRINCIPAL_AGENT;
        return as_participants_valid((struct as_bytes){(const uint8_t *)name, strlen(name)});
    }
    principal->kind = AS_PRINCIPAL_CLIENT;
    principal->role = as_role_of(kind);
    return principal->role != AS_ROLE_NONE && as_id_valid(name, strlen(name));
}

as_err as_principal_parse(const char *text, size_t len, struct as_principal *ret)
{
    const size_t scheme_len = sizeof(AS_PRINCIPAL_SCHEME) - 1;
    struct as_bytes cluster, kind;
    const char *at;

    memset(ret, 0, sizeof(*ret));
    if (len < scheme_len || memcmp(text, AS_PRINCIPAL_SCHEME, scheme_len) != 0)
        return AS_ERR_MALFORMED;
    if (len > AS_PRINCIPAL_LEN_MAX)
        return AS_ERR_TOOBIG;
    if (memchr(text, '\0', len))
        return AS_ERR_MALFORMED;
    memcpy(ret->text, text, len);
    at = ret->text + scheme_len;
    cluster = part_of(at, '/');
    if (!as_cluster_valid(at, cluster.len) || at[cluster.len] == '\0')
        return AS_ERR_MALFORMED;
    memcpy(ret->cluster, cluster.data, cluster.len);
    at += cluster.len + 1;
    kind = part_of(at, '/');
    if (at[kind.len] == '\0')
        return AS_ERR_MALFORMED;
    at += kind.len + 1;
    ret->name_at = (size_t)(at - ret->text);
    return name_read(ret, kind, at) ? AS_OK : AS_ERR_MALFORMED;
}

/* --- What it may --- */

static const char other_cluster[] = "the peer's certificate names another cluster";

static bool of_cluster(const struct as_principal *principal, const char *cluster)
{
    return strcmp(principal->cluster, cluster) == 0;
}

const char *as_principal_refuses_nodes(const struct as_principal *principal, const char *cluster)
{
    if (!principal)
        return NULL;
    if (principal->kind != AS_PRINCIPAL_NODE)
        return "the peer's certificate is not a node's";
    return of_cluster(principal, cluster) ? NULL : other_cluster;
}

const char *as_principal_refuses_node(const struct as_principal *principal, const char *cluster,
                                      uint64_t node_id)
{
    const char *why = as_principal_refuses_nodes(principal, cluster);

    if (why || !principal || principal->node_id == node_id)
        return why;
    return "the peer's certificate names another node than it claims to be";
}

const char *as_principal_refuses_agent(const struct as_principal *principal, const char *cluster)
{
    if (!principal)
        return NULL;
    if (principal->kind != AS_PRINCIPAL_AGENT && principal->kind != AS_PRINCIPAL_NODE)
        return "the peer's certificate is neither an agent's nor a node's";
    return of_cluster(principal, cluster) ? NULL : other_cluster;
}

const char *as_principal_refuses_participant(const struct as_principal *principal,
                                             struct as_bytes participant)
{
    const char *list;

    if (!principal || principal->kind == AS_PRINCIPAL_NODE)
        return NULL;
    list = principal->text + principal->name_at;
    if (principal->kind == AS_PRINCIPAL_AGENT &&
        as_participants_name((struct as_bytes){(const uint8_t *)list, strlen(list)}, participant))
        return NULL;
    return "the peer's certificate does not name a participant that it serves";
}
