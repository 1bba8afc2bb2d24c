/*
 * Consensus on the decision log: Raft (Ongaro & Ousterhout 2014; Ongaro's thesis for pre-vote,
 * check-quorum, transfer, learners, one-at-a-time membership change and ReadIndex). protocol.md,
 * "Raft, points that must not be missed", is what it must do; architecture.md, why it is our own.
 *
 * Pure: one event in, effects out. It holds the newest part of the log in memory (the tail), so it
 * reads nothing back from disk but snapshots.
 *
 *   proposal -> tail + WRITE_ENTRIES -> log -> PERSISTED --+-> majority -> COMMITTED -> table
 *                  \--> FLUSH -> SEND -> peers -> ACK ------+
 *
 * The leader's own disk is one vote like any other: an entry is committed as soon as a majority has
 * it durable, with or without the leader. A lone node is a group of one on the same path: it leads
 * from its first step, and the step that is told PERSISTED says COMMITTED.
 *
 * Fault model: messages are lost, doubled, delayed and reordered; a crash loses any part of what
 * was not persisted; peers are slow, but honest. The effects of one step may be carried out in any
 * order or be lost in a crash, which rests on two rules that are kept in one place each:
 *
 *   1. Every message bears its sender's term; none leaves before that term, and the vote in it, is
 *      durable here (raft_send).
 *   2. What a step appends is sent by a later one, FLUSH at the earliest; what is acknowledged is
 *      what PERSISTED has told of (raft_settle).
 */
#ifndef ASSENT_RAFT_H
#define ASSENT_RAFT_H

#include "assent/buf.h"
#include "assent/limits.h"
#include "assent/trace.h"

#define RAFT_MEMBERS_MAX AS_NODES_MAX /* voters and learners of a cluster */
#define RAFT_ADDRESS_LEN_MAX 255
#define RAFT_MESSAGE_BYTES_MAX (3u << 20) /* encoded */
#define RAFT_CHUNK_BYTES_MAX (2u << 20)   /* of a snapshot */

/* The two types of entries that Raft itself makes; all others are opaque. */
enum raft_entry_type {
    RAFT_ENTRY_NOOP = 1,      /* the first of each term; no payload */
    RAFT_ENTRY_MEMBERS = 200, /* raft_members_put; effective as soon as it is appended */
};

struct raft_entry {
    uint64_t index;
    uint64_t term;
    int64_t time_ms; /* the log's own time (protocol.md, "Log records"); made here */
    uint8_t type;
    struct as_bytes payload;
};

/* --- Members --- */

enum raft_member_role { RAFT_LEARNER, RAFT_VOTER };

struct raft_member {
    uint64_t id; /* never 0, never used twice: a wiped node comes back under a new one */
    enum raft_member_role role;
    char address[RAFT_ADDRESS_LEN_MAX + 1]; /* opaque: how other nodes reach it */
};

struct raft_members {
    uint32_t count;                            /* 0: not known */
    struct raft_member list[RAFT_MEMBERS_MAX]; /* ascending by id */
};

/* NULL if it is none. */
const struct raft_member *raft_member_find(const struct raft_members *members, uint64_t id);
/* Payload of a MEMBERS entry; a node also keeps it in its snapshots. */
void raft_members_put(struct as_buf *buf, const struct raft_members *members);
/* Strict: MALFORMED. At least one voter. */
as_err raft_members_take(struct as_bytes bytes, struct raft_members *ret) AS_MUSTCHECK;

/* --- Messages --- */

/* name, text */
#define RAFT_MESSAGE_MAP(X)                                           \
    X(PRE_VOTE, "would you vote for me in this (later) term?")        \
    X(PRE_VOTE_REPLY, "I would, or not")                              \
    X(VOTE, "RequestVote")                                            \
    X(VOTE_REPLY, "granted, or not")                                  \
    X(APPEND, "AppendEntries; without entries: a heartbeat, a probe") \
    X(ACK, "my log matches yours up to here, and it is durable")      \
    X(REJECT, "I do not have that entry; with a hint where to look")  \
    X(SNAPSHOT, "InstallSnapshot: one chunk")                         \
    X(SNAPSHOT_REPLY, "give me that chunk next")                      \
    X(TIMEOUT_NOW, "campaign at once: I hand my leadership over to you")

#define RAFT_MESSAGE_ENUM(name, text) RAFT_##name,
enum raft_message_type { RAFT_MESSAGE_MAP(RAFT_MESSAGE_ENUM) RAFT_MESSAGE_COUNT };
#undef RAFT_MESSAGE_ENUM

/* Sender and receiver are the connection's business. Byte fields are borrowed. */
struct raft_message {
    enum raft_message_type type;
    uint64_t term; /* the sender's; PRE_VOTE and a granted PRE_VOTE_REPLY: the term to come */
    union {
        struct {
            uint64_t last_index, last_term;
            bool transfer; /* the leader asked for it: who hears the leader may vote all the same */
        } vote;            /* PRE_VOTE, VOTE */
        struct {
            bool granted;
        } vote_reply; /* PRE_VOTE_REPLY, VOTE_REPLY */
        struct {
            uint64_t prev_index, prev_term;
            uint64_t commit;
            uint64_t round;          /* comes back in the answer: counts for ReadIndex */
            bool voter;              /* the receiver counts as one */
            uint32_t count;          /* of entries: prev_index + 1 and on */
            struct as_bytes entries; /* read with raft_entry_take */
        } append;
        struct {
            uint64_t match;
            uint64_t round;
        } ack;
        struct {
            uint64_t prev_index; /* what is refused */
            uint64_t hint_index; /* the first entry of hint_term; or, hint_term 0: past my last */
            uint64_t hint_term;  /* of my entry at prev_index */
            uint64_t round;
        } reject;
        struct {
            uint64_t index, snapshot_term; /* of the last entry in the snapshot */
            int64_t time_ms;               /* and its log time */
            uint32_t chunk;                /* its number, from 0 */
            bool last;
            bool voter;              /* the receiver counts as one */
            uint64_t checksum;       /* raft_chunk_checksum */
            struct as_bytes members; /* as of index: raft_members_put */
            struct as_bytes bytes;
        } snapshot;
        struct {
            uint64_t index;
            uint32_t chunk; /* wanted next */
        } snapshot_reply;
    };
};

/* Appends the encoded message; the buffer's error is sticky. */
void raft_message_put(struct as_buf *buf, const struct raft_message *message);
/* Strict: MALFORMED for anything that raft_message_put does not write. Views point into `bytes`. */
as_err raft_message_take(struct as_bytes bytes, struct raft_message *ret_message) AS_MUSTCHECK;
const char *raft_message_text(enum raft_message_type type); /* "APPEND" */
/* The next entry of an APPEND's `entries`; false: there is none, or not a whole one (in->bad).
 * `index` of the result is left 0. */
bool raft_entry_take(struct as_reader *in, struct raft_entry *ret_entry);
/* Appends one entry as it stands in `entries`. */
void raft_entry_put(struct as_buf *buf, const struct raft_entry *entry);
/* XXH3 of a snapshot's chunk, seeded with its place: made by the leader's core, checked by the
 * follower's. */
uint64_t raft_chunk_checksum(uint64_t index, uint32_t chunk, bool last, struct as_bytes bytes);

/* --- Making one --- */

struct raft;

/* Zero means the default named here. */
struct raft_config {
    uint64_t id;
    uint64_t seed;
    /*
     * Who the cluster was bootstrapped with. Only a log that holds no MEMBERS yet goes by it, and
     * the first leader then writes one. Count 0: this node joins. It does not vote nor campaign
     * before its log names it a member; and it takes nothing from a leader that counts it a voter
     * already (trace RAFT_EMPTIED): then its directory was wiped, with all that it had promised,
     * and it must come back under a new id.
     */
    struct raft_members members;
    uint32_t heartbeat_ms;      /* 30 */
    uint32_t election_min_ms;   /* 150: nobody votes who heard a leader within this */
    uint32_t election_max_ms;   /* 300 */
    uint32_t hint_ms;           /* 30: at most so long after the leader's connection closed */
    uint32_t snapshot_retry_ms; /* 500: a chunk that nobody answered for is sent again */
    uint32_t message_bytes;     /* 256 KiB: entries of one APPEND; one larger entry goes alone */
    uint32_t window_entries;    /* 65536: sent to a peer and not acknowledged */
    uint32_t window_bytes;      /* 8 MiB */
    uint32_t reads_max;         /* 65536: ReadIndex requests waiting */
    uint32_t page_bytes;        /* 1 MiB: the tail's unit of memory, and the largest entry */
    /* 512 MiB: then proposals are refused until a snapshot is taken. A follower refuses entries when
     * so much of its tail is committed; it may hold as much again that is not. */
    uint64_t tail_bytes_max;
    uint64_t tail_entries_max;  /* 4,000,000 */
    uint64_t tail_keep_bytes;   /* 16 MiB: kept behind a snapshot for peers that lag a little */
    uint32_t caught_up_entries; /* 1024: a learner that lacks no more than this may be promoted */
};

as_err raft_new(struct raft **ret_raft, const struct raft_config *config) AS_MUSTCHECK;
void raft_free(struct raft *raft); /* takes NULL */

/*
 * What the disk held, before START, as the log replays it: the snapshot first, then the rest in the
 * order in which it was written. All of it is taken as durable. Time and members
 * are those of the snapshot's last entry; members of count 0: it was written before there were any.
 * INVALID: not in order. NOMEM.
 */
as_err raft_load_snapshot(struct raft *raft, uint64_t index, uint64_t term, int64_t time_ms,
                          const struct raft_members *members) AS_MUSTCHECK;
as_err raft_load_vote(struct raft *raft, uint64_t term, uint64_t voted_for) AS_MUSTCHECK;
as_err raft_load_entry(struct raft *raft, const struct raft_entry *entry) AS_MUSTCHECK;
/* The entries from `from` on were truncated: the next one loaded is `from` again. */
as_err raft_load_truncate(struct raft *raft, uint64_t from) AS_MUSTCHECK;

/* --- Events --- */

enum raft_event_kind {
    RAFT_START,   /* once, first */
    RAFT_MESSAGE, /* from a peer */
    /* Links are hints: they never decide anything. A leader's closed connection shortens the timer
     * (pre-vote keeps that safe), an opened one is probed at once. */
    RAFT_PEER_UP,
    RAFT_PEER_DOWN,
    RAFT_PROPOSE, /* append one entry, as the leader of that very term (R1); see effects.refusal */
    RAFT_FLUSH,   /* the turn ends: what gathered is sent, one message for each peer */
    RAFT_PERSISTED,       /* every write up to this number is durable (contract 4) */
    RAFT_WRITE_REFUSED,   /* the log had no room for the entry of this write; see WRITE_ENTRIES */
    RAFT_READ_INDEX,      /* answered by READ_READY or READ_REFUSED */
    RAFT_TRANSFER,        /* hand leadership over */
    RAFT_MEMBER,          /* change one member; see effects.refusal */
    RAFT_SNAPSHOT_TAKEN,  /* this node's own snapshot is durable, at most at its durable index */
    RAFT_SNAPSHOT_CHUNK,  /* leader: what SNAPSHOT_READ asked for */
    RAFT_SNAPSHOT_STORED, /* follower: SNAPSHOT_WRITE was taken, the next may come */
    RAFT_SNAPSHOT_INSTALLED, /* follower: after the last chunk: durable, and the log starts anew */
    RAFT_SNAPSHOT_FAILED,    /* follower: it could not be stored; tried again from its beginning */
    RAFT_TIMER,
};

enum raft_member_change {
    RAFT_MEMBER_ADD,     /* as a learner */
    RAFT_MEMBER_PROMOTE, /* a learner that has caught up becomes a voter */
    RAFT_MEMBER_REMOVE,
};

struct raft_event {
    enum raft_event_kind kind;
    as_time now;
    union {
        struct {
            uint64_t from;
            const struct raft_message *message; /* any bytes that raft_message_take passed */
        } message;
        uint64_t peer; /* PEER_UP, PEER_DOWN; TRANSFER: to whom, 0: the one that is furthest */
        struct {
            uint64_t term;
            uint8_t type; /* neither NOOP nor MEMBERS */
            struct as_bytes payload;
        } propose;
        uint64_t write;   /* PERSISTED, WRITE_REFUSED */
        uint64_t request; /* READ_INDEX: a number of the caller's */
        struct {
            enum raft_member_change change;
            uint64_t id;
            const char *address; /* ADD */
        } member;
        struct {
            uint64_t index, term;
        } snapshot; /* TAKEN, INSTALLED, FAILED */
        struct {
            uint64_t peer;
            uint64_t index;
            uint32_t chunk;
            bool last;
            as_err err; /* it could not be read, or is not the newest any more: asked for anew */
            struct as_bytes bytes; /* at most RAFT_CHUNK_BYTES_MAX */
        } chunk;
        struct {
            uint64_t index;
            uint32_t chunk;
        } stored;
    };
};

/* --- Effects --- */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

/* Why a PROPOSE or MEMBER was not accepted. */
#define RAFT_REFUSAL_MAP(X)                                       \
    X(NONE, "accepted")                                           \
    X(NOT_LEADER, "not the leader of that term")                  \
    X(TRANSFERRING, "leadership is being handed over")            \
    X(TAIL_FULL, "too much is waiting for a snapshot")            \
    X(TOO_BIG, "larger than an entry may be")                     \
    X(NOT_READY, "this term's first entry is not committed yet")  \
    X(CHANGING, "another change of members is not committed yet") \
    X(NOT_CAUGHT_UP, "the learner has not caught up")             \
    X(NO_SUCH_MEMBER, "no such member, or not a learner")         \
    X(IS_MEMBER, "it is a member already")                        \
    X(TOO_MANY, "there are as many members as there may be")      \
    X(LAST_VOTER, "it is the only voter")

#define RAFT_REFUSAL_ENUM(name, text) RAFT_REFUSED_##name,
enum raft_refusal { RAFT_REFUSAL_MAP(RAFT_REFUSAL_ENUM) RAFT_REFUSAL_COUNT };
#undef RAFT_REFUSAL_ENUM
const char *raft_refusal_text(enum raft_refusal refusal);

enum raft_effect_kind {
    RAFT_SEND,
    /*
     * The three writes form one stream: they go to the log in the order of the list. Each record
     * has the next write number, from 1; the log's own numbers run in step with them. A VOTE comes
     * before, a TRUNCATE right before the entries of the same step.
     */
    RAFT_WRITE_VOTE,
    RAFT_WRITE_TRUNCATE, /* the entries from `first` on are gone */
    /*
     * `count` entries from `first` on (raft_entry), `write` is the first one's number. If the log
     * has no room for one, the next step must be WRITE_REFUSED with its number: it and those behind
     * it never were (nobody has seen them yet), and their numbers are used again. A VOTE or
     * TRUNCATE that the log does not take ends the process.
     */
    RAFT_WRITE_ENTRIES,
    RAFT_COMMITTED, /* apply the entries first..last, in order (raft_entry). Perhaps not durable
                       here, but by a majority. The own NOOP among them: now this leader may speak
                       (R3) */
    RAFT_ROLE_CHANGED,
    RAFT_READ_READY,     /* what is applied up to `index` answers the request, linearizably */
    RAFT_READ_REFUSED,   /* not the leader (any more), or too many: ask another node, or again */
    RAFT_SNAPSHOT_READ,  /* give SNAPSHOT_CHUNK: chunk n of the newest snapshot, which is `index` */
    RAFT_SNAPSHOT_WRITE, /* store this chunk; chunk 0 begins anew, forgetting any other */
    RAFT_SNAPSHOT_DROP,  /* the one being received is not wanted any more */
    RAFT_TRACE,
};

/*
 * Everything pointed to belongs to the core until its next step; but the bytes of a SNAPSHOT
 * message and of SNAPSHOT_WRITE are those of the event that brought them.
 */
struct raft_effect {
    enum raft_effect_kind kind;
    union {
        struct {
            uint64_t to;
            struct raft_message message;
        } send;
        struct {
            uint64_t write;
            uint64_t term, voted_for; /* 0: nobody yet */
        } vote;
        struct {
            uint64_t write;
            uint64_t first;
        } truncate;
        struct {
            uint64_t write;
            uint64_t first;
            uint32_t count;
        } entries;
        struct {
            uint64_t first, last;
        } committed;
        struct {
            enum raft_role role;
            uint64_t term;
            uint64_t leader; /* 0: not known */
        } role;
        struct {
            uint64_t request;
            uint64_t index;
        } read;
        struct {
            uint64_t peer;
            uint64_t index;
            uint32_t chunk;
        } snapshot_read;
        struct {
            uint64_t index, term; /* of the last entry in it */
            int64_t time_ms;
            uint32_t chunk;
            bool last;
            struct as_bytes bytes;
        } snapshot_write;
        struct as_trace trace;
    };
};

struct raft_effects {
    const struct raft_effect *list;
    size_t count;
    enum raft_refusal refusal; /* of PROPOSE, MEMBER and TRANSFER */
    uint64_t index;            /* PROPOSE, MEMBER: of the entry, if accepted */
};

/*
 * NOMEM: nothing changed, the event may be given again (a MESSAGE may as well be dropped). INVALID:
 * an event that cannot be (a write never made, a snapshot past the durable index). Whatever a peer
 * sends is data, never an error.
 */
as_err raft_step(struct raft *raft, const struct raft_event *event,
                 struct raft_effects *ret_effects) AS_MUSTCHECK;
as_time raft_deadline(const struct raft *raft);

/* --- Looking in; views are borrowed until the next step --- */

/* NOTFOUND: cut already, or past the last one. */
as_err raft_entry(const struct raft *raft, uint64_t index, struct raft_entry *ret) AS_MUSTCHECK;
/* In force now: the newest in the log, committed or not. */
const struct raft_members *raft_members(const struct raft *raft);
/* As of `index`, for a snapshot there. NOTFOUND: below the tail. */
as_err raft_members_at(const struct raft *raft, uint64_t index,
                       struct raft_members *ret) AS_MUSTCHECK;

struct raft_status {
    uint64_t id, term, voted_for, leader;
    enum raft_role role;
    bool ready;           /* leader whose NOOP is committed */
    bool transferring;    /* leader that refuses proposals meanwhile */
    bool changing;        /* the newest MEMBERS entry is not committed */
    uint64_t first_index; /* of the tail; entries before it are in the snapshot */
    uint64_t last_index, last_term, durable_index, commit_index;
    uint64_t snapshot_index, snapshot_term; /* the newest that this node has; 0: none */
    uint64_t receiving_index;               /* of a snapshot being received; 0: none */
    uint32_t sending; /* peers that are being sent the newest snapshot: a newer one would make them
                         begin anew, so better wait with it for a while */
    uint64_t tail_bytes;
};
void raft_look(const struct raft *raft, struct raft_status *ret);

enum raft_progress { RAFT_PROBE, RAFT_PIPELINE, RAFT_SENDING_SNAPSHOT };

/* What a leader knows of another member. */
struct raft_peer_view {
    uint64_t id;
    enum raft_progress progress;
    uint64_t match, next;
    as_time heard_at; /* the last message of this term; 0: none */
    bool caught_up;   /* lacks at most caught_up_entries, and was heard within election_min_ms */
    uint32_t chunk;   /* of the snapshot being sent */
};
/* NOTFOUND: not the leader, or no such peer. */
as_err raft_peer(const struct raft *raft, uint64_t id, struct raft_peer_view *ret) AS_MUSTCHECK;

#endif
