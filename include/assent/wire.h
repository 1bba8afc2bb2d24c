/*
 * The link between agent and node, and between nodes: checksummed frames with one flat message each.
 *
 * Frame: u32 payload length, u8 type, u8 wire version, u16 zero, u64 XXH3 of the payload seeded with these
 * eight bytes; then the payload. AS_FRAME_BYTES_MAX counts all of it. A frame that fails any check ends the
 * session: after it nothing on that byte stream can be trusted, and ending a session is always safe (R2).
 *
 * The wire version is that of the layout of this type of message; a message that has not changed keeps its number. Fields are
 * added at the end, never changed: `msg.version` says which layout came, and fields of a later one are zero. An agent greets
 * with the newest HELLO, which says what it speaks; WELCOME answers. A node that does not know that HELLO refuses it with the
 * text of AS_ERR_VERSION, and is greeted again in version 1. So nobody sends a layout that the other does not speak.
 *
 * A participant is named once per session, in PARTICIPANT, with a slot number that the other messages use.
 */
#ifndef ASSENT_WIRE_H
#define ASSENT_WIRE_H

#include "assent/buf.h"
#include "assent/pgop.h"
#include "assent/reason.h"

#define AS_WIRE_VERSION 2 /* the newest layout of any message: what this program speaks */
#define AS_FRAME_HEADER_LEN 16
#define AS_FRAME_VERSION_AT 5
#define AS_WIRE_TEXT_MAX \
    2000 /* texts for people (message, detail, refuse): longer ones are cut by put */

enum as_wire_type {
    AS_WIRE_HELLO = 1,   /* agent: who I am */
    AS_WIRE_WELCOME,     /* node: accepted; my cluster and incarnation */
    AS_WIRE_REFUSE,      /* node: not accepted, and why; then it closes */
    AS_WIRE_LEADER,      /* node: I lead `term` and have applied its NOOP (R3, R5) */
    AS_WIRE_PARTICIPANT, /* agent: this slot is this participant, up or down, with its facts */
    AS_WIRE_ROTATE,      /* node: your identity counter went back: write a new token (R7) */
    AS_WIRE_STATUS,      /* agent: what the scan of a participant saw (R6) */
    AS_WIRE_EXECUTE,     /* node: run this branch, then prepare and vote */
    AS_WIRE_VOTE,        /* agent: yes, no, ready or read-only (R2, R10) */
    AS_WIRE_READ_FINISH, /* node: all other votes are in; commit the read-only branch (R10) */
    AS_WIRE_COMMIT,      /* node: the decision is in the log (R1) */
    AS_WIRE_ABORT,       /* node: presumed or decided abort */
    AS_WIRE_ACK,         /* agent: what became of a branch that was told to commit or abort */
    AS_WIRE_INQUIRE,     /* agent: what about this prepared branch? (R6) */
    AS_WIRE_ANSWER,      /* node: pending or unknown (commit and abort have their own messages) */
    AS_WIRE_PING,        /* either side, when nothing was sent for a while */
    AS_WIRE_PONG,
    AS_WIRE_PEER,      /* node: to another node, first; answered by its own */
    AS_WIRE_RAFT,      /* node: a message of coordinator/raft */
    AS_WIRE_FORWARD,   /* node: a request of my API that the leader must answer */
    AS_WIRE_FORWARDED, /* node: its answer */
    AS_WIRE_LIST,      /* node: what is prepared there? all of ours, or this gid */
    AS_WIRE_LISTED,    /* agent: the answer to LIST */
    AS_WIRE_RESOLVE,   /* node: an operator's word about a branch nobody can answer for (R6) */
    AS_WIRE_RESOLVED,  /* agent: what became of a RESOLVE */
    AS_WIRE_NODES,     /* node: the members, from the leader, after LEADER */
    AS_WIRE_FORWARD_REFUSED, /* node: FORWARD was not carried out: too much to do; ask again later */
    AS_WIRE_TYPE_END,
};

enum as_vote {
    AS_VOTE_NO = 1,
    AS_VOTE_YES,   /* prepared, with xid and identity (R7) */
    AS_VOTE_READY, /* read-only branch has run; its transaction is open, its results are here (R10) */
    AS_VOTE_READ_ONLY, /* its COMMIT succeeded */
};

enum as_ack {
    AS_ACK_COMMITTED = 1,
    AS_ACK_ABORTED,
    AS_ACK_HEURISTIC_ABORT,  /* told to commit, but somebody rolled it back */
    AS_ACK_HEURISTIC_COMMIT, /* told to abort, but somebody committed it */
    AS_ACK_LOST_PREPARE,     /* the database bears another identity than at the vote */
    AS_ACK_UNVERIFIED,       /* the database cannot tell any more */
    AS_ACK_RETRY,            /* not now (down, busy, in progress): send it again later */
};

enum as_answer {
    AS_ANSWER_PENDING = 1, /* undecided here: keep it, ask again */
    AS_ANSWER_UNKNOWN,     /* below the horizon: an operator resolves it (R6) */
};

/* What became of LIST (DONE, BUSY, REFUSED, DOWN) and RESOLVE. */
enum as_asked {
    AS_ASKED_DONE = 1,
    AS_ASKED_GONE,      /* not prepared there (any more) */
    AS_ASKED_OTHERWISE, /* proven: somebody else finished it the other way (R7) */
    AS_ASKED_REPLACED,  /* the gid bears another transaction than the one that was listed */
    AS_ASKED_BUSY,      /* not now: nothing was done */
    AS_ASKED_REFUSED,   /* by the database: nothing was done */
    AS_ASKED_DOWN,      /* the database is not to be reached: nothing was done */
    AS_ASKED_UNKNOWN,   /* sent to the database, and nothing proves what came of it */
};

/* Which branch of which attempt, at which participant of this session. */
struct as_wire_branch {
    uint16_t slot;
    uint32_t number;
    struct as_attempt attempt;
};

struct as_wire_hello {
    uint64_t agent_id;    /* random at each start of the process */
    uint64_t incarnation; /* the one it knows from earlier sessions; 0: none yet */
    struct as_bytes cluster;
    struct as_bytes name; /* for people */
    uint16_t speaks;      /* 2: the agent's AS_WIRE_VERSION */
};

struct as_wire_welcome {
    uint64_t node_id;
    uint64_t incarnation;
    struct as_bytes cluster;
    uint16_t speaks; /* 2, and in WELCOME only: the node's AS_WIRE_VERSION */
};

struct as_wire_participant {
    uint16_t slot;
    bool up;
    struct as_bytes name;
    struct as_identity identity;
    uint64_t counter; /* grows at every start of an agent on this database */
    uint64_t system_id;
    uint32_t timeline;
    uint32_t server_version; /* 150018 */
    uint32_t prepared_max;   /* max_prepared_transactions */
    uint16_t connections;
    enum as_proof proof;
    struct as_bytes detail; /* why it is down, or warnings of the preflight; may be empty */
};

struct as_wire_status {
    uint16_t slot;
    uint32_t slots_used; /* of max_prepared_transactions, by anybody */
    uint32_t prepared;   /* ours: this cluster and incarnation, this database */
    uint32_t in_doubt;   /* ours, prepared longer than the grace time and still without an answer */
    uint32_t orphaned;   /* ours, answered unknown */
    uint32_t foreign;    /* not ours, in this database */
    uint32_t queued;     /* branches waiting for a connection or a slot */
    int64_t oldest_age_ms; /* of ours; 0: none */
    struct as_bytes oldest_gid;
    /* Version 2. Ours: of this cluster's name, whatever the incarnation. */
    bool audited;              /* false: an older agent, and nothing of these is known */
    uint32_t slots_ours;       /* of slots_used, in all databases of the server */
    uint32_t xmin_age;         /* how many transactions ours hold vacuum back; 0: none */
    uint32_t foreign_xmin_age; /* and those of others, in this database */
    int64_t foreign_oldest_age_ms;
};

struct as_wire_execute {
    struct as_wire_branch branch;
    uint32_t timeout_ms;
    struct as_bytes id;
    struct as_bytes work; /* assent/work.h; says too whether it is read-only */
};

struct as_wire_vote {
    struct as_wire_branch branch;
    enum as_vote vote;
    uint64_t xid; /* YES: pg_current_xact_id() */
    struct as_identity identity;
    struct as_bytes results;  /* YES and READY */
    enum as_reason_code code; /* NO: these and the message */
    int32_t statement;
    char sqlstate[6];
    struct as_bytes message;
};

/* COMMIT and ABORT. In an ABORT xid may be 0: not known to the node. */
struct as_wire_decision {
    struct as_wire_branch branch;
    uint64_t xid;
    struct as_identity identity;
    struct as_bytes id;
};

struct as_wire_ack {
    struct as_wire_branch branch;
    enum as_ack ack;
    struct as_bytes message;
};

struct as_wire_inquire {
    struct as_wire_branch branch;
    struct as_bytes id;
};

struct as_wire_answer {
    struct as_wire_branch branch;
    enum as_answer answer;
};

struct as_wire_list {
    uint16_t slot;
    uint64_t ticket;     /* the node's; comes back in the answer */
    struct as_bytes gid; /* empty: everything in this database, foreign ones too */
};

struct as_wire_listed {
    uint16_t slot;
    uint64_t ticket;
    enum as_asked asked;
    uint32_t total;       /* in this database, also those that are not among the rows */
    uint32_t foreign;     /* of these: not of this cluster's name */
    struct as_bytes rows; /* at most AS_PREPARED_LISTED_MAX; whole: as_wire_prepared_take */
    struct as_bytes message;
};

/* A row of LISTED. A gid and an owner hold no NUL, and nothing else is sure of them. */
struct as_wire_prepared {
    struct as_bytes gid;   /* perhaps foreign */
    struct as_bytes owner; /* the role that prepared it */
    uint64_t xid;          /* tells it from another one of that gid */
    int64_t age_ms;
    bool waits; /* prepared for longer than the grace time, and nobody finishes it */
};

struct as_wire_resolve {
    uint16_t slot;
    uint64_t ticket;
    bool commit;
    uint64_t xid; /* as it was listed, and logged */
    struct as_bytes gid;
};

struct as_wire_resolved {
    uint16_t slot;
    uint64_t ticket;
    enum as_asked asked;
    bool tag; /* DONE: the command's own tag came back; false: R7 proved it afterwards */
    struct as_bytes message;
};

/* A member of the cluster that agents may dial. */
struct as_wire_node {
    uint64_t id;
    struct as_bytes address; /* "host:port" */
};

struct as_wire_msg {
    enum as_wire_type type;
    uint8_t version; /* of its layout; put: 0 is the newest */
    union {
        struct as_wire_hello hello;
        struct as_wire_welcome welcome;
        struct as_bytes refuse; /* text */
        uint64_t term;          /* LEADER */
        struct as_wire_participant participant;
        struct {
            uint16_t slot;
            uint64_t counter; /* the one the cluster remembers */
        } rotate;
        struct as_wire_status status;
        struct as_wire_execute execute;
        struct as_wire_vote vote;
        struct as_wire_branch read_finish;
        struct as_wire_decision decision; /* COMMIT, ABORT */
        struct as_wire_ack ack;
        struct as_wire_inquire inquire;
        struct as_wire_answer answer;
        uint64_t ping;               /* PING, PONG: echoed */
        struct as_wire_welcome peer; /* who I am */
        struct as_bytes raft;
        struct {
            uint64_t number; /* the asking node's; comes back */
            struct as_bytes bytes;
        } forward;                /* FORWARD, FORWARDED */
        uint64_t forward_refused; /* its number */
        struct as_bytes nodes;    /* of struct as_wire_node, by as_wire_node_put */
        struct as_wire_list list;
        struct as_wire_listed listed;
        struct as_wire_resolve resolve;
        struct as_wire_resolved resolved;
    };
};

/* Appends one frame; on failure (the buf's sticky error) the buf is as it was before, and in error. */
void as_wire_put(struct as_buf *buf, const struct as_wire_msg *msg);

/*
 * Takes the first frame of `bytes`. OK: *ret_msg borrows from bytes, *ret_used is the frame's length.
 * AGAIN: more bytes are needed. MALFORMED, CHECKSUM, VERSION, TOOBIG: end the session.
 */
as_err as_wire_take(struct as_bytes bytes, struct as_wire_msg *ret_msg,
                    size_t *ret_used) AS_MUSTCHECK;

/* Rows of LISTED. What as_wire_take took holds whole rows only: then `take` does not fail before the end. */
void as_wire_prepared_put(struct as_buf *rows, const struct as_wire_prepared *row);
as_err as_wire_prepared_take(struct as_reader *rows, struct as_wire_prepared *ret_row) AS_MUSTCHECK;

/* One of `nodes` after the other; the reader has `left` bytes. MALFORMED: none that put writes. */
void as_wire_node_put(struct as_buf *nodes, const struct as_wire_node *node);
as_err as_wire_node_take(struct as_reader *nodes, struct as_wire_node *ret_node) AS_MUSTCHECK;

const char *as_wire_type_text(enum as_wire_type type);

#endif
