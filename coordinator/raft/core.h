/*
 * Inside the raft room: its state and how its files call each other.
 *
 *   raft.c      a step: reserve, handle, settle. What leaves, and when
 *   elect.c     terms, votes, campaigns
 *   lead.c      the leader: replication, commit, heartbeats, check-quorum, transfer
 *   follow.c    the follower: APPEND
 *   members.c   who counts
 *   read.c      ReadIndex
 *   snapshot.c  both ends of a snapshot
 *   tail.c      the log's newest part in memory
 *   message.c   bytes
 *
 * A step first reserves all the memory it can need (raft_reserve), so handling cannot fail. It
 * changes the state and sends what depends on nothing; then raft_settle looks at the state and
 * emits the rest: writes, news of commit and role, and the answers that have become durable. Those
 * are kept as state (`owed`), not as messages: what was asked twice is answered once, and the
 * answer is true when it leaves.
 */
#ifndef ASSENT_RAFT_CORE_H
#define ASSENT_RAFT_CORE_H

#include "assent/rng.h"
#include "coordinator/raft/raft.h"
#include "coordinator/raft/tail.h"

#define RAFT_PEERS_MAX RAFT_MEMBERS_MAX
#define RAFT_MEMBERS_BYTES_MAX (1 + RAFT_MEMBERS_MAX * (10 + RAFT_ADDRESS_LEN_MAX))
#define RAFT_PAGE_BYTES_MIN 4096 /* MEMBERS must fit */
#define RAFT_SENDS_PER_FLUSH 8   /* to one peer; what is left follows its answers */

enum raft_vote { RAFT_VOTE_OPEN, RAFT_VOTE_YES, RAFT_VOTE_NO };

/* Another member, as a leader or a candidate sees it. */
struct raft_peer {
    uint64_t id;
    bool voter;
    enum raft_vote vote;
    enum raft_progress progress;
    bool probing;        /* PROBE: one message with entries is under way */
    uint64_t match;      /* its log is durable and equal to ours up to here */
    uint64_t next;       /* the next entry to send */
    uint64_t sent;       /* PROBE: the last entry in the message under way */
    uint64_t round;      /* the highest it answered */
    as_time heard_at;    /* in this term */
    uint64_t snapshot;   /* SENDING_SNAPSHOT: its index */
    uint32_t chunk;      /* the one it waits for */
    bool chunk_reading;  /* SNAPSHOT_READ is not answered yet */
    as_time chunk_again; /* when it is asked for again */
};

struct raft_read {
    uint64_t request;
    uint64_t index; /* 0: the NOOP of this term is not committed yet */
    uint64_t round; /* a majority must have answered this one */
};

struct raft {
    struct raft_config config; /* defaults filled in */
    struct as_rng rng;
    as_time now; /* of this step */
    bool started;
    bool emptied; /* told */

    /* The log. */
    struct raft_tail tail;
    uint64_t write_last, persisted_write;
    uint64_t durable; /* entries up to here are */
    uint64_t commit;
    uint64_t unwritten; /* the first entry appended in this step; 0: none */
    uint64_t truncated; /* entries from here on were truncated in this step; 0: none */
    uint64_t taken;     /* entries up to here were given to the log by an earlier step */

    /* Hard state. */
    uint64_t term, voted_for;
    bool vote_unwritten; /* changed in this step */
    uint64_t vote_write; /* the write that holds it */

    enum raft_role role;
    uint64_t leader;
    as_time leader_heard_at; /* AS_NEVER: not heard */
    as_time election_at;
    bool transferred; /* this campaign was asked for by the leader */

    /* Follower. */
    uint64_t matched; /* our log equals the leader's up to here */
    uint64_t leader_commit;
    uint64_t round; /* the leader's; when leading, our own */

    /* What is sent as soon as it is durable (raft_settle). */
    struct {
        bool requests;   /* of votes, for the present campaign */
        uint64_t vote;   /* granted to; 0: none */
        uint64_t ack_to; /* the leader of this term; 0: none */
        bool ack;        /* even if nothing new is durable */
        uint64_t acked;  /* the last match told */
        bool reject;
        struct raft_message rejection;
        bool chunk; /* SNAPSHOT_REPLY */
    } owed;

    /* Members. */
    struct raft_members members;
    uint64_t members_index;           /* of their entry; 0: from the config */
    bool listed;                      /* some list since the start has had this node */
    bool leaving;                     /* a voter in the list before, and not in this one */
    struct raft_members base_members; /* as of the tail's base */
    uint64_t base_members_index;
    struct raft_peer peers[RAFT_PEERS_MAX];
    uint32_t peer_count;

    /* Leader. */
    uint64_t noop_index;
    as_time lead_at;
    int64_t lead_time_ms;
    as_time heartbeat_at;
    uint64_t transfer_to; /* 0: nobody */
    as_time transfer_until;
    bool transfer_sent;
    struct raft_read *reads; /* ring */
    uint32_t read_head, read_count, read_cap;

    /* Snapshots: our newest, and the one being received. */
    uint64_t snapshot_index, snapshot_term;
    int64_t snapshot_time_ms;
    uint8_t snapshot_members[RAFT_MEMBERS_BYTES_MAX];
    uint32_t snapshot_members_len;
    struct {
        uint64_t index, term, from;
        int64_t time_ms;
        uint32_t chunk; /* wanted next */
        bool storing;   /* SNAPSHOT_WRITE is not answered yet */
        bool last;      /* it was the last one: installing */
        struct raft_members members;
    } receiving; /* index 0: none */

    /* Effects of this step. */
    struct raft_effect *effects;
    size_t effect_count, effect_cap;
    struct {
        enum raft_role role;
        uint64_t term, leader, commit;
    } told;
};

static inline bool raft_leads(const struct raft *raft)
{
    return raft->role == RAFT_LEADER;
}

/* The leader whose NOOP is committed: it knows all that is (R3, R9; thesis 6.4). */
static inline bool raft_is_ready(const struct raft *raft)
{
    return raft_leads(raft) && raft->commit >= raft->noop_index;
}

/* raft.c */
struct raft_effect *raft_emit(struct raft *raft, enum raft_effect_kind kind);
void raft_trace(struct raft *raft, enum as_trace_kind kind, uint64_t number);
/* Term and vote are durable as they are now: messages may leave. */
bool raft_hard_state_durable(const struct raft *raft);
/* An effect SEND with the term filled in; the caller fills in the rest. */
struct raft_message *raft_send(struct raft *raft, uint64_t to, enum raft_message_type type);
/* Appends to the tail, from what was reserved; raft_settle gives it to the log. */
void raft_append(struct raft *raft, const struct raft_entry *entry);
/* Entries that never were committed leave the tail, and with them what they changed. */
void raft_truncate(struct raft *raft, uint64_t from);
void raft_commit_to(struct raft *raft, uint64_t index);

/* elect.c */
void raft_reset_election(struct raft *raft);
/* A message shows a term: later than ours, or ours with its leader (0: not known). */
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);
void raft_campaign(struct raft *raft, bool transfer);
void raft_send_requests(struct raft *raft);
/* Somebody who leads this term was heard. */
void raft_hear_leader(struct raft *raft, uint64_t from);
/* A leader was heard so lately that nobody may be elected yet. */
bool raft_is_sticky(const struct raft *raft);
void raft_on_pre_vote(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_vote(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_vote_reply(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_timeout_now(struct raft *raft, uint64_t from);
void raft_on_peer_down(struct raft *raft, uint64_t peer);

/* lead.c */
void raft_become_leader(struct raft *raft);
void raft_lead_close(struct raft *raft); /* not the leader any more */
uint64_t raft_lead_append(struct raft *raft, uint8_t type, struct as_bytes payload);
enum raft_refusal raft_propose(struct raft *raft, const struct raft_event *event,
                               uint64_t *ret_index);
void raft_on_ack(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_reject(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_advance_commit(struct raft *raft);
void raft_lead_flush(struct raft *raft);
void raft_lead_tick(struct raft *raft);
void raft_probe(struct raft_peer *peer, uint64_t next);
enum raft_refusal raft_transfer(struct raft *raft, uint64_t to);
void raft_transfer_continue(struct raft *raft);
/* The value that a majority of voters has reached; `own` is ours. */
uint64_t raft_majority(const struct raft *raft, uint64_t own,
                       uint64_t (*value)(const struct raft_peer *peer));

/* follow.c */
void raft_on_append(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_send_owed(struct raft *raft);
/* The tail up to `last` is at a named maximum. */
bool raft_is_full(const struct raft *raft, uint64_t last);

/* members.c */
struct raft_peer *raft_peer_find(struct raft *raft, uint64_t id);
uint32_t raft_voter_count(const struct raft_members *members);
bool raft_is_voter(const struct raft *raft);
bool raft_may_campaign(const struct raft *raft);
/* The members are now these, by the entry at `index` (0: by the config). */
void raft_members_set(struct raft *raft, const struct raft_members *members, uint64_t index);
void raft_members_append(struct raft *raft, const struct raft_entry *entry);
/* The entry in force was truncated, or all was replaced: look again. */
void raft_members_reload(struct raft *raft);
/* The tail is about to be cut up to `to`. */
void raft_members_rebase(struct raft *raft, uint64_t to);
enum raft_refusal raft_members_change(struct raft *raft, const struct raft_event *event,
                                      uint64_t *ret_index);
/* Our directory was wiped: a leader counts us a voter (`voter`), and we know of no members. */
bool raft_is_emptied(struct raft *raft, bool voter);
uint32_t raft_members_encode(const struct raft_members *members,
                             uint8_t ret_bytes[RAFT_MEMBERS_BYTES_MAX]);

/* read.c */
void raft_read_request(struct raft *raft, uint64_t request);
void raft_reads_ready(struct raft *raft); /* the NOOP is committed */
void raft_reads_serve(struct raft *raft);
void raft_reads_refuse(struct raft *raft);
bool raft_reads_want_round(const struct raft *raft);

/* snapshot.c */
void raft_snapshot_send(struct raft *raft, struct raft_peer *peer);
void raft_snapshot_tick(struct raft *raft, struct raft_peer *peer);
as_err raft_snapshot_taken(struct raft *raft, uint64_t index, uint64_t term);
as_err raft_on_chunk_read(struct raft *raft, const struct raft_event *event);
void raft_on_snapshot(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_snapshot_reply(struct raft *raft, uint64_t from, const struct raft_message *message);
void raft_on_stored(struct raft *raft, uint64_t index, uint32_t chunk);
as_err raft_on_installed(struct raft *raft, uint64_t index, uint64_t term);
void raft_on_snapshot_failed(struct raft *raft, uint64_t index);
void raft_snapshot_drop(struct raft *raft);
void raft_snapshot_set(struct raft *raft, uint64_t index, uint64_t term, int64_t time_ms,
                       const struct raft_members *members);

#endif
