/*
 * Request bodies: JSON into what a node is asked (assent/request.h). Knows nothing of HTTP and of
 * the node.
 *
 * Fault model: the body is hostile. A field that is unknown, given twice, of the wrong type or out
 * of its range refuses the whole request: a typo never changes a transaction silently (api.md).
 */
#ifndef ASSENT_API_BODY_H
#define ASSENT_API_BODY_H

#include "assent/request.h"
#include "coordinator/api/json.h"
#include "coordinator/api/problem.h"
#include "coordinator/raft/raft.h"

#define BODY_NODE_ID_MAX UINT32_MAX /* as [node] id */

/* Reads one body after the other; what it hands out is borrowed until the next one. */
struct body_reader {
    uint32_t timeout_ms_default;
    struct json json;
    struct as_buf
        canonical;         /* per branch: participant, length, work: what R9's hash is taken over */
    struct as_buf scratch; /* a string with escapes, decoded */
    struct as_buf text;    /* a second one, where two are needed at a time */
    struct as_submit_branch branches[AS_BRANCHES_MAX];
};

void body_init(struct body_reader *reader, uint32_t timeout_ms_default, size_t body_bytes_max);
void body_close(struct body_reader *reader);

/* POST /v1/transactions. `id` stays empty if the body names none. False: *ret_problem says why. */
bool body_submit(struct body_reader *reader, struct as_bytes body, struct as_submit *ret_submit,
                 struct problem *ret_problem) AS_MUSTCHECK;

/* POST /v1/transactions/{id}/branches/{n}/acknowledge: {reason, who}. `who` is empty if the body names nobody. */
struct body_acknowledge {
    struct as_bytes who, why;
};
bool body_acknowledge(struct body_reader *reader, struct as_bytes body,
                      struct body_acknowledge *ret_acknowledge,
                      struct problem *ret_problem) AS_MUSTCHECK;

/* POST /v1/participants/{name}/prepared/{gid}/resolve: {decision, reason, who, other_incarnation}.
 * The participant and the gid stand in the path. */
bool body_resolve(struct body_reader *reader, struct as_bytes body, struct as_resolve *resolve,
                  struct problem *ret_problem) AS_MUSTCHECK;

/* POST /v1/cluster/nodes: {id, address}. */
struct body_node {
    uint64_t id;
    char address[RAFT_ADDRESS_LEN_MAX + 1]; /* host:port */
};
bool body_node(struct body_reader *reader, struct as_bytes body, struct body_node *ret_node,
               struct problem *ret_problem) AS_MUSTCHECK;

/* POST /v1/cluster/transfer: {to}; 0: not given. */
bool body_transfer(struct body_reader *reader, struct as_bytes body, uint64_t *ret_to,
                   struct problem *ret_problem) AS_MUSTCHECK;

/* A body was large: give its memory back. */
void body_trim(struct body_reader *reader);

#endif
