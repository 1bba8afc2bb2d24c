/*
 * Inside the node room: the node's parts and how they call each other.
 *
 *   session.c    bytes from agents -> events of the transaction core; its SEND effects -> bytes
 *   replicate.c  PROPOSE effects -> the log -> durable -> APPLY events (Raft's place); snapshots
 *   node.c       opening, the loop's calls, the effects of the transaction core
 *   view.c       looking in
 */
#ifndef ASSENT_NODE_INTERNAL_H
#define ASSENT_NODE_INTERNAL_H

#include "assent/hist.h"
#include "assent/map.h"
#include "coordinator/node/node.h"

#define NODE_SLOTS_MAX AS_PARTICIPANTS_MAX
#define NODE_PEER_LEN_MAX 63
#define NODE_DETAIL_LEN_MAX 300

/* A participant as one session serves it. */
struct node_slot {
    bool known; /* a PARTICIPANT message named it */
    bool up;
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    char detail[NODE_DETAIL_LEN_MAX + 1];
    char refusal[NODE_DETAIL_LEN_MAX +
                 1]; /* the last time a branch could not be finished; "": never */
    char oldest_gid[AS_GID_LEN_MAX + 1];
    struct as_wire_participant facts;
    struct as_wire_status status;
};

/* One connection of an agent. Its number in the core is the connection's. */
struct node_session {
    uint64_t connection;
    bool welcome; /* HELLO was accepted */
    bool broken;  /* a message to it was lost: it ends with this turn */
    char peer[NODE_PEER_LEN_MAX + 1];
    char name[NODE_PEER_LEN_MAX + 1];
    struct as_buf in; /* a frame that is not whole yet */
    as_time heard_at;
    struct node_slot *slots; /* slot_count of them */
    uint32_t slot_count;
};

/* A proposed entry that is not applied yet; its payload is in node.proposed_bytes. */
struct node_proposed {
    uint64_t index;
    uint64_t seq; /* the log's write sequence number (contract 4) */
    int64_t time_ms;
    uint8_t type;
    uint32_t len;
};

struct node {
    struct node_config config;
    struct as_env *env;
    const struct as_env_ops *ops;
    struct txn *txn;
    struct log *log;
    struct log_report report; /* of opening */

    uint64_t term;
    bool leading; /* this term's NOOP is applied */
    bool draining;
    bool failed; /* env->fatal was called */
    bool disk_full;

    /* Entries on their way from proposal to application: a ring, and their payloads end to end. */
    struct node_proposed *proposed;
    uint32_t proposed_head, proposed_count, proposed_cap;
    struct as_buf proposed_bytes;
    size_t proposed_taken; /* bytes at the front already applied */
    uint32_t commits_proposed;
    as_time lead_at; /* where this term's log time starts */
    int64_t lead_time_ms;
    int64_t time_ms; /* the last one given to an entry */

    /* COMMIT proposals that the log refused; told to the core once its effects are carried out. */
    struct {
        struct as_attempt attempt;
        enum as_refusal why;
    } * refused;
    uint32_t refused_count, refused_cap;

    bool snapshot_running;
    uint64_t snapshot_index;
    struct as_buf snapshot_chunk;

    struct node_session **sessions;
    uint32_t session_count, broken_sessions;
    struct as_map session_map; /* connection -> position in sessions */
    as_time ping_at;

    struct as_buf out; /* one frame on its way to net_send */
    as_time write_started_at;
    uint64_t write_ticket;
    as_time timer_at;

    uint64_t submits, votes_yes, votes_no, acks, inquiries, frames_in, frames_out, wire_errors;
    struct as_hist sync_ns, batch_records, prepare_ns, decide_ns, finish_ns;
};

/* node.c */
void node_trace(struct node *node, const struct as_trace *trace);
/* The process must not go on. */
void node_fail(struct node *node, const char *why);
/* Gives the event to the transaction core, with the time filled in, and carries out what comes of
 * it. */
void node_txn(struct node *node, struct txn_event *event);

/* replicate.c */
void node_propose(struct node *node, uint8_t type, bool forced, struct as_attempt attempt,
                  struct as_bytes payload);
void node_log(struct node *node, struct log_event *event);
void node_snapshot_if_due(struct node *node);

/* session.c */
void node_send(struct node *node, uint64_t session, const struct as_wire_msg *msg);
void node_sessions_announce(struct node *node);
void node_sessions_ping(struct node *node);
void node_sessions_reap(struct node *node);
void node_sessions_free(struct node *node);

#endif
