/*
 * One coordinator node: owns the transaction core, the log and the agents' sessions. Pure: speaks
 * only to `struct as_env`. The API calls it, the shell feeds it; every answer to a client goes
 * through env->client_reply.
 *
 * The way of a decision:  txn (takes it) -> propose -> log (durable) -> apply -> txn -> agents.
 * Raft's place is between propose and apply: a lone node is a group of one, whose majority is
 * itself.
 */
#ifndef ASSENT_NODE_H
#define ASSENT_NODE_H

#include "assent/env.h"
#include "assent/wire.h"
#include "coordinator/log/log.h"
#include "coordinator/raft/raft.h"
#include "coordinator/txn/txn.h"

struct node;

/* Half of what Raft keeps in memory (tail_bytes_max): with more it would refuse new work before the
 * snapshot is there. */
#define NODE_SNAPSHOT_BYTES_MAX (256ull << 20)

struct node_config {
    struct log_config log; /* cluster, node id, segment size */
    struct txn_config txn;
    /* `members`: who the cluster was bootstrapped with; none: a group of one, this node. `id` and
     * `seed` are filled in. */
    struct raft_config raft;
    bool joins; /* starts with no members at all: an existing cluster will take it in */
    /* 0: 64 MiB. A snapshot is taken when so much was logged since the last one, and at least as much
     * as that one holds; or NODE_SNAPSHOT_BYTES_MAX. */
    uint64_t snapshot_bytes;
    uint32_t ping_ms; /* 0: 1000: silence after which a session is pinged; closed after five times
                         that */
};

/* Reads the directory through `disk`; see log_open for errors. Then node_start. */
as_err node_open(struct node **ret_node, const struct node_config *config,
                 const struct as_disk *disk, struct as_env *env, const struct as_env_ops *ops,
                 struct log_report *ret_report) AS_MUSTCHECK;
void node_free(struct node *node);
/* Begins a new term; leads once its NOOP is durable. */
void node_start(struct node *node);

/* --- The shell's calls --- */
void node_on_accepted(struct node *node, uint64_t connection, const char *peer);
void node_on_connected(struct node *node, uint64_t connection); /* of env->net_dial */
void node_on_bytes(struct node *node, uint64_t connection, struct as_bytes bytes);
void node_on_closed(struct node *node, uint64_t connection, as_err err);
void node_on_disk_done(struct node *node, uint64_t ticket, as_err err);
void node_on_timer(struct node *node);
/* Once at the end of every turn of the loop: writes what gathered, arms the timer. */
void node_turn_end(struct node *node);
/* True when one transaction is in flight, or a follower is to write no more than that, and it waits
 * for the log write being started: nothing else could run meanwhile, so the shell may sync in place
 * instead of waking its helper thread. */
bool node_waits_for_log(const struct node *node);
/* No new transactions; true when none is undecided. */
bool node_drain(struct node *node);

/* --- The API's calls: `client` is answered once through env->client_reply, perhaps from inside the
 * call --- */
void node_submit(struct node *node, uint64_t client, const struct as_submit *submit);
/* How true to the newest state an answer must be (docs/consistency.md). */
enum node_read {
    NODE_READ_LINEARIZABLE, /* the leader's, after a ReadIndex: refused NO_LEADER elsewhere */
    NODE_READ_SESSION,      /* this node's own, as soon as it has applied up to `index` */
    NODE_READ_EVENTUAL,     /* this node's own, now */
};
void node_get(struct node *node, uint64_t client, const char *id, uint32_t wait_ms,
              enum node_read read, uint64_t index);
void node_acknowledge(struct node *node, uint64_t client, const char *id, uint32_t branch,
                      struct as_bytes who, struct as_bytes why);
/* What is prepared at a participant, from its agent; and an operator's word about a branch (R6). */
void node_prepared(struct node *node, uint64_t client, const char *participant);
void node_resolve(struct node *node, uint64_t client, const struct as_resolve *resolve);
void node_forget(struct node *node, uint64_t client);

/* --- Other nodes --- */

/* Passes a request of the API on to the leader, as any bytes. False: no leader is known, or it
 * cannot be reached: nothing was sent. Otherwise it ends with env->forward_done once, unless
 * node_forget(client) comes before. */
bool node_forward(struct node *node, uint64_t client, struct as_bytes request);
/* The answer to env->forwarded. Too late, or unknown: ignored. */
void node_forward_reply(struct node *node, uint64_t forward, struct as_bytes reply);
/* Instead: it was not carried out, for want of room. The other node ends with AS_ERR_BUSY. */
void node_forward_refuse(struct node *node, uint64_t forward);
/* At the leader; RAFT_REFUSED_NONE: begun, and node_members shows how it goes. ADD: as a learner,
 * which is promoted by itself when it has caught up. INVALID arguments are IS_MEMBER etc. */
enum raft_refusal node_member_change(struct node *node, enum raft_member_change change, uint64_t id,
                                     const char *address);
/* Hands leadership to `to`; 0: to the one that is furthest. */
enum raft_refusal node_transfer(struct node *node, uint64_t to);

struct node_member_view {
    uint64_t id;
    const char *address; /* "": not known: a lone node that was never given one */
    bool voter, self, leader;
    bool linked; /* self, or a link to it is up */
    /* At the leader, of the others; 0 elsewhere: */
    uint64_t match;       /* durable there up to this index */
    int64_t heard_ms_ago; /* -1: never in this term */
    bool caught_up;
};
void node_members(struct node *node, void (*each)(void *ctx, const struct node_member_view *view),
                  void *ctx);

/* --- Looking in; nothing of it changes the node, views are borrowed for the callback --- */
void node_list(struct node *node, const struct txn_list_query *query,
               void (*each)(void *ctx, const struct as_txn_view *view), void *ctx,
               uint64_t *ret_next);

struct node_agent_view {
    const char *name;
    const char *peer;
    bool up;
    const char *detail;
    const struct as_wire_participant *facts; /* its byte fields are empty: see detail */
    const struct as_wire_status *status;     /* last scan */
    int64_t audit_age_ms;                    /* how long ago it told of one; -1: never */
    const char *oldest_gid;                  /* "" if none */
    const char *refusal; /* why a decided branch could not be finished the last time; "": never */
};
struct node_participant_view {
    struct txn_participant_view txn;
    uint32_t agent_count;
    const struct node_agent_view *agents;
};
/* `name` NULL: all of them, by name. */
void node_participants(struct node *node, const char *name,
                       void (*each)(void *ctx, const struct node_participant_view *view),
                       void *ctx);

/* Takes a snapshot of what is applied now, as soon as it can; node_info tells its index when it is done. */
void node_snapshot(struct node *node);

struct node_info {
    const char *cluster;
    uint64_t incarnation, node_id, term, last_index, applied_index, persisted_index, snapshot_index;
    uint64_t commit_index;
    uint64_t
        table_index; /* the last applied entry that is the table's: a snapshot taken now ends with it */
    uint64_t leader; /* its id; 0: not known */
    enum raft_role role;
    bool leading; /* this node's NOOP is applied */
    bool disk_full;
    bool draining;
    uint32_t sessions;
};
void node_info(const struct node *node, struct node_info *ret);

/* Histograms of the whole path, nanoseconds unless said otherwise; see assent/hist.h. */
struct as_hist;
struct node_metrics {
    struct txn_counts txn;
    struct log_counts log;
    uint64_t submits, votes_yes, votes_no, acks, inquiries, frames_in, frames_out, wire_errors;
    const struct as_hist *sync_ns;       /* log write + sync */
    const struct as_hist *batch_records; /* records per sync */
    const struct as_hist *prepare_ns;    /* submit until the last vote */
    const struct as_hist *decide_ns;     /* last vote until applied */
    const struct as_hist *finish_ns; /* applied until every branch acknowledged: phase-two lag */
};
void node_metrics(const struct node *node, struct node_metrics *ret);

#endif
