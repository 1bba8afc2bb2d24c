/*
 * What a node says of itself, as JSON and as Prometheus text. Written straight into a buffer;
 * failure shows in the buffer's error.
 */
#ifndef ASSENT_API_ANSWER_H
#define ASSENT_API_ANSWER_H

#include "coordinator/api/auth.h"
#include "coordinator/api/json.h"
#include "coordinator/node/node.h"

/* A transaction object (api.md). `results`: lists leave them out. */
void answer_txn(struct as_buf *buf, const struct as_txn_view *view, const struct node_info *info,
                bool results);
void answer_participant(struct as_buf *buf, const struct node_participant_view *view);
/* What is prepared there; and what an operator had done about one of them (R6). */
void answer_prepared(struct as_buf *buf, const struct as_prepared_list *list);
void answer_resolved(struct as_buf *buf, const struct as_resolve *resolved, bool tag);
/* As /v1/cluster and the metrics name a node's role, by enum raft_role. */
#define ANSWER_ROLE_MAP(X)             \
    X(RAFT_FOLLOWER, "follower")       \
    X(RAFT_PRE_CANDIDATE, "candidate") \
    X(RAFT_CANDIDATE, "candidate")     \
    X(RAFT_LEADER, "leader")
const char *answer_role(enum raft_role role);
/* Entries that a member lacks, as its leader knows. */
uint64_t answer_lag(const struct node_info *info, const struct node_member_view *view);
/* This node, and its cluster's nodes as it sees them. */
void answer_cluster(struct as_buf *buf, struct node *node, const char *version);

/* HTTP's own figures. */
/* name, method in the metrics, path in openapi.yaml, roles that may use it */
#define ANSWER_ROUTE_MAP(X)                                                                    \
    X(NONE, "other", "other", AUTH_ANY)                                                        \
    X(TXN_SUBMIT, "POST", "/v1/transactions", AUTH_RUN)                                        \
    X(TXN_LIST, "GET", "/v1/transactions", AUTH_READ)                                          \
    X(TXN_GET, "GET", "/v1/transactions/{id}", AUTH_READ)                                      \
    X(TXN_ACKNOWLEDGE, "POST", "/v1/transactions/{id}/branches/{n}/acknowledge", AUTH_OPERATE) \
    X(PARTICIPANTS, "GET", "/v1/participants", AUTH_VIEW)                                      \
    X(PARTICIPANT, "GET", "/v1/participants/{name}", AUTH_VIEW)                                \
    X(PREPARED, "GET", "/v1/participants/{name}/prepared", AUTH_VIEW)                          \
    X(RESOLVE, "POST", "/v1/participants/{name}/prepared/{gid}/resolve", AUTH_OPERATE)         \
    X(CLUSTER, "GET", "/v1/cluster", AUTH_VIEW)                                                \
    X(CLUSTER_ADD, "POST", "/v1/cluster/nodes", AUTH_OPERATE)                                  \
    X(CLUSTER_REMOVE, "DELETE", "/v1/cluster/nodes/{id}", AUTH_OPERATE)                        \
    X(CLUSTER_TRANSFER, "POST", "/v1/cluster/transfer", AUTH_OPERATE)                          \
    X(CLUSTER_SNAPSHOT, "POST", "/v1/cluster/snapshot", AUTH_OPERATE)                          \
    X(HEALTH, "GET", "/healthz", AUTH_ANY)                                                     \
    X(READY, "GET", "/readyz", AUTH_ANY)                                                       \
    X(METRICS, "GET", "/metrics", AUTH_VIEW)                                                   \
    X(OPENAPI, "GET", "/openapi.yaml", AUTH_ANY)                                               \
    X(PAGE, "GET", "/", AUTH_ANY)
#define ANSWER_ROUTE_ENUM(name, method, path, roles) ROUTE_##name,
enum route { ANSWER_ROUTE_MAP(ANSWER_ROUTE_ENUM) ROUTE_COUNT };

#define ANSWER_STATUS_MAP(X) \
    X(200)                   \
    X(202)                   \
    X(400)                   \
    X(401)                   \
    X(403)                   \
    X(404)                   \
    X(405)                   \
    X(409)                   \
    X(413)                   \
    X(415)                   \
    X(422)                   \
    X(429)                   \
    X(500)                   \
    X(503)
#define ANSWER_STATUS_ENUM(status) ANSWER_STATUS_##status,
enum { ANSWER_STATUS_MAP(ANSWER_STATUS_ENUM) ANSWER_STATUS_COUNT };

/* By which limit of clients.c somebody was turned away. */
#define ANSWER_LIMIT_MAP(X)              \
    X(CONNECTIONS, "connections_max")    \
    X(REQUEST_TIME, "request_timeout_s") \
    X(ANSWER_TIME, "answer_timeout_s")   \
    X(MEMORY, "memory_mib")              \
    X(BODY, "body_bytes_max")
#define ANSWER_LIMIT_ENUM(name, key) ANSWER_LIMIT_##name,
enum answer_limit { ANSWER_LIMIT_MAP(ANSWER_LIMIT_ENUM) ANSWER_LIMIT_COUNT };

struct as_hist;
struct answer_http {
    uint64_t requests[ROUTE_COUNT][ANSWER_STATUS_COUNT];
    uint64_t gone[ROUTE_COUNT];  /* the client closed before its answer */
    struct as_hist *duration_ns; /* ROUTE_COUNT of them */
    uint64_t connections, waiting, bytes_in;
    uint64_t passed, passed_total;        /* on to the leader: waiting for its answer; ever */
    uint64_t passed_lost;                 /* of these, without an answer */
    uint64_t served, served_total;        /* for other nodes: now; ever */
    uint64_t refused[AUTH_REFUSAL_COUNT]; /* who may not */
    uint64_t limited[ANSWER_LIMIT_COUNT];
    uint64_t body_memory, answer_memory; /* bytes of large ones */
    double uptime_s;
};
/* The column of `requests` for a status; ANSWER_STATUS_COUNT: it has none. */
size_t answer_status_column(int status);

void answer_metrics(struct as_buf *buf, struct node *node, const struct answer_http *http,
                    const char *version);

void answer_openapi(struct as_buf *buf); /* docs/openapi.yaml */
void answer_page(struct as_buf *buf);

#endif
