/*
 * Who the other end of a link is, as a certificate says it (docs/decisions/0011): one URI among its subject
 * alternative names,
 *
 *   assent://CLUSTER/node/ID
 *   assent://CLUSTER/agent/PARTICIPANT[,PARTICIPANT...]
 *   assent://CLUSTER/operator/NAME, assent://CLUSTER/viewer/NAME, assent://CLUSTER/app/NAME
 *
 * The link's encryption has proven it; what a peer may then do, its messages' reader decides. A node decides what
 * becomes of every branch anyway, so its certificate may serve any participant, too.
 */
#ifndef ASSENT_PRINCIPAL_H
#define ASSENT_PRINCIPAL_H

#include "assent/base.h"
#include "assent/grant.h"
#include "assent/limits.h"

#define AS_PRINCIPAL_SCHEME "assent://"
#define AS_PRINCIPAL_LEN_MAX \
    2047 /* of the URI: an agent of some thirty participants with the longest names */

enum as_principal_kind {
    AS_PRINCIPAL_NODE = 1,
    AS_PRINCIPAL_AGENT,
    AS_PRINCIPAL_CLIENT, /* of the API: nobody on a link */
};

struct as_principal {
    enum as_principal_kind kind;
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    uint64_t node_id;                    /* of a NODE */
    enum as_role role;                   /* of a CLIENT */
    char text[AS_PRINCIPAL_LEN_MAX + 1]; /* the URI */
    size_t name_at;                      /* in text: what stands behind the last slash */
};

/* MALFORMED: it is none, or no strict one; TOOBIG. */
as_err as_principal_parse(const char *text, size_t len, struct as_principal *ret) AS_MUSTCHECK;

/*
 * What follows takes NULL for a link that nothing certifies: no TLS is configured, or both ends are in one
 * process. Then all is allowed. Each returns NULL, or why not, for both ends' people.
 */
const char *as_principal_refuses_node(const struct as_principal *principal, const char *cluster,
                                      uint64_t node_id);
/* Any node of the cluster: the id is not known yet. */
const char *as_principal_refuses_nodes(const struct as_principal *principal, const char *cluster);
const char *as_principal_refuses_agent(const struct as_principal *principal, const char *cluster);
const char *as_principal_refuses_participant(const struct as_principal *principal,
                                             struct as_bytes participant);

#endif
