/*
 * Inside the node room: the node's parts and how they call each other.
 *
 *   session.c    bytes from agents -> events of the transaction core; its SEND effects -> bytes
 *   replicate.c  PROPOSE effects -> Raft -> the log -> durable, committed -> APPLY events
 *   snapshot.c   the table's snapshots: taken, sent to a node that lags, received
 *   read.c       when a client may be told what the table holds
 *   cluster.c    the other nodes: links, requests passed on, members
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
    as_time status_at; /* 0: none came yet */
};

/* One connection, of an agent or of another node. An agent's number in the core is the
 * connection's. */
struct node_session {
    uint64_t connection;
    uint64_t peer_id; /* of the other node; 0: an agent, or not known yet */
    bool dialed;      /* by this node, to peer_id */
    bool welcome;     /* HELLO or PEER was accepted */
    bool broken;      /* a message to it was lost: it ends with this turn */
    bool silent;      /* of an agent that has not answered the last ping: others come first */
    char peer[NODE_PEER_LEN_MAX + 1];
    char name[NODE_PEER_LEN_MAX + 1];
    struct as_buf in; /* a frame that is not whole yet */
    as_time heard_at;
    struct node_slot *slots; /* slot_count of them */
    uint32_t slot_count;
};

/* Another member: the dials to it. Sessions with it are found by their peer_id. */
struct node_peer {
    uint64_t id;
    uint64_t dialing; /* the connection being made; 0: none */
    as_time dial_at;
    uint32_t failures; /* since it was last reached */
};

/* A request that the leader is asked to answer, or that this leader answers for another node. */
struct node_forwarded {
    uint64_t number;     /* the asking node's */
    uint64_t connection; /* of the other node */
    uint64_t client;     /* here: of the API, or of env->forwarded */
};

struct node_forwards {
    struct node_forwarded *list;
    uint32_t count, cap;
    uint64_t last; /* number given */
};

/* A client that waits for the table to be new enough. */
struct node_reader {
    uint64_t client;
    uint64_t request; /* of RAFT_READ_INDEX; 0: none, `index` is known */
    uint64_t index;   /* answered once this is applied; UINT64_MAX: not known yet */
    uint32_t wait_ms;
    bool refused;
    as_time until;
    char id[AS_ID_LEN_MAX + 1];
};

struct node {
    struct node_config config;
    struct as_env *env;
    const struct as_env_ops *ops;
    struct txn *txn;
    struct log *log;
    struct raft *raft;
    struct log_report report; /* of opening */

    /* What Raft has said and the node not done yet: its effects are borrowed until its next step. */
    bool settling;
    uint32_t carrying;  /* inside the transaction core's effects */
    uint64_t committed; /* entries up to here are to be applied */
    uint64_t applied;   /* and up to here they are, those among them that the table does not know */
    enum raft_role role, role_told;
    uint64_t leader;
    uint64_t write_refused; /* the log had no room for this write; 0: none */
    as_err write_err;
    uint64_t persisted_seq;
    struct node_reader *readers;
    uint32_t reader_count, reader_cap;
    uint64_t read_request;

    uint64_t term; /* Raft's */
    bool leading;  /* this term's NOOP is applied */
    bool draining;
    bool failed; /* env->fatal was called */
    bool disk_full;
    as_time hand_over_at; /* not before */
    uint32_t hand_overs;  /* tried since it was full */

    uint32_t commits_proposed; /* as leader, and not applied yet */

    /* COMMIT proposals that the log refused; told to the core once its effects are carried out. */
    struct {
        struct as_attempt attempt;
        enum as_refusal why;
    } * refused;
    uint32_t refused_count, refused_cap;

    bool snapshot_running;
    bool snapshot_wished; /* one is to be begun now, however little was logged */
    uint64_t snapshot_index, snapshot_term;
    as_time snapshot_at; /* not before: the last one was given up */
    bool snapshot_begun; /* its first chunk, which is the node's own, has been given */
    struct as_buf snapshot_chunk;
    struct raft_members replayed_members; /* of the snapshot being replayed; count 0: none yet */

    /* Chunks that followers wait for; the first one is being read while `chunk_reading`. */
    struct {
        uint64_t peer, index;
        uint32_t chunk;
    } chunks[RAFT_MEMBERS_MAX];
    uint32_t chunk_count;
    bool chunk_reading;

    /* A snapshot being received: the table it makes, and the chunk that is to be stored next. */
    struct {
        struct txn *txn;
        uint64_t index, term;
        uint32_t chunk;
        bool last;
        bool begin;   /* `bytes` is a first chunk: the log must hear of it first */
        bool pending; /* `bytes` are to be given to the log */
        bool given;   /* and have been; it has not stored them yet */
        bool wanted;  /* by the log */
        bool drop;
        struct as_buf bytes;
    } received;

    struct node_peer peers[RAFT_MEMBERS_MAX];
    uint32_t peer_count;
    uint64_t dial_next;                 /* even */
    struct node_forwards asked, asking; /* by other nodes, by this one */
    struct as_buf raft_out;

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
void node_propose(struct node *node, uint8_t type, struct as_attempt attempt,
                  struct as_bytes payload);
/* Gives the event to Raft, with the time filled in, and does all that comes of it, unless that is
 * being done already: then it is done when this returns there. */
enum raft_refusal node_raft(struct node *node, struct raft_event *event);
/* Does what Raft has said, if nobody is at it. */
void node_settle(struct node *node);
/* What the log cannot take is given up, or ends the process: the error is for who cares. */
as_err node_log(struct node *node, struct log_event *event);
/* Of opening. */
as_err node_replay_entry(struct node *node, const struct log_entry *entry) AS_MUSTCHECK;

/* snapshot.c */
void node_snapshot_if_due(struct node *node);
/* What the log said of snapshots in this step. */
void node_snapshot_effects(struct node *node, const struct log_effects *effects);
void node_snapshot_stop(struct node *node);
/* Raft's effects: noted, and done by node_snapshot_settle. */
void node_snapshot_read(struct node *node, uint64_t peer, uint64_t index, uint32_t chunk);
void node_snapshot_write(struct node *node, const struct raft_effect *effect);
void node_snapshot_drop(struct node *node);
void node_snapshot_settle(struct node *node);
as_err node_replay_snapshot(struct node *node, struct as_bytes chunk, bool last) AS_MUSTCHECK;

/* read.c */
void node_read_ready(struct node *node, uint64_t request, uint64_t index);
void node_read_refused(struct node *node, uint64_t request);
/* Something was applied, or a reader came. */
void node_readers_serve(struct node *node);
as_time node_readers_deadline(const struct node *node);
void node_readers_forget(struct node *node, uint64_t client);

/* cluster.c */
void node_link_send(struct node *node, uint64_t peer, const struct raft_message *message);
/* Dials members that are not linked; AS_NEVER or when to look again. */
as_time node_links_tend(struct node *node);
/* It knows of no other member. A leader that has removed itself from a list of two is not alone: the other one must hear
 * of it. */
bool node_is_alone(const struct node *node);
/* Hands leadership over while this node's disk is full; AS_NEVER or when to try again. */
as_time node_hand_over_tend(struct node *node);
/* Promotes learners that have caught up. */
void node_members_tend(struct node *node);
/* A dial that came to nothing: true if the connection was one. */
bool node_link_failed(struct node *node, uint64_t connection);
/* NULL, or why the session must end. */
const char *node_on_peer(struct node *node, struct node_session *session,
                         const struct as_wire_welcome *peer);
const char *node_on_peer_message(struct node *node, struct node_session *session,
                                 const struct as_wire_msg *msg);
/* `session` has ended and is out of the table. */
void node_link_ended(struct node *node, uint64_t peer_id, uint64_t connection);
void node_leader_known(struct node *node);
void node_forwards_forget(struct node *node, uint64_t client);

/* session.c */
struct node_session *node_session_new(struct node *node, uint64_t connection, const char *peer);
struct node_session *node_session_find(struct node *node, uint64_t connection);
/* NULL: nothing certifies who is at the other end (include/assent/principal.h). */
const struct as_principal *node_principal(const struct node *node, uint64_t connection);
/* Tells a new table what the agents serve. */
void node_sessions_serve(struct node *node);
void node_send(struct node *node, uint64_t session, const struct as_wire_msg *msg);
void node_sessions_announce(struct node *node);
/* The members have changed. */
void node_sessions_members(struct node *node);
void node_sessions_ping(struct node *node);
void node_sessions_reap(struct node *node);
void node_sessions_free(struct node *node);

#endif
