/*
 * What the files of this room share; nobody outside includes it.
 *
 *   session.c  the links to the nodes: dial, greet, ping, frames in and out
 *   table.c    live branches by key and by operation, and what is remembered of ended ones
 *   drive.c    steps of the branch core, and their effects
 *   execute.c  new work: EXECUTE, fencing (R5), admission, deadlines
 *   finish.c   COMMIT, ABORT, READ_FINISH, ANSWER
 *   scan.c     pg_prepared_xacts: inquiries and STATUS (R6)
 *   ask.c      what an operator asks: LIST, RESOLVE (R6)
 *   agent.c    participants, timer, and the end of every call
 *
 * Every call of agent.h ends in agent_settle: sessions that were found bad in the meantime are
 * ended there, free slots are given to waiting branches, and the timer is armed. So no handler ever
 * sees a session or a branch vanish beneath it, but one: a step of a branch may end it, and then
 * its `struct agent_live` must not be touched any more.
 *
 * Out of memory: a branch that cannot be registered is voted no (overloaded) or told to come again
 * (RETRY); a message that cannot be sent or kept ends its session, which is always safe (R2).
 */
#ifndef ASSENT_AGENT_INSIDE_H
#define ASSENT_AGENT_INSIDE_H

#include "assent/heap.h"
#include "assent/map.h"
#include "assent/rng.h"
#include "participant/agent/agent.h"
#include "participant/branch/branch.h"

#define AGENT_LIVE_MAX (1u << 20) /* branches at one time, queued and found ones included */
#define AGENT_PAST_MAX 4096       /* ended branches remembered (R5) */
#define AGENT_QUEUE_MAX 1000      /* default of queue_max */
#define AGENT_ASKS_MAX 16         /* an operator's questions under way */
#define AGENT_INQUIRIES_MAX 1000  /* per participant and scan */
#define AGENT_WORK_KEEP_BYTES \
    65536 /* a work buffer up to this size is kept for the next branch \
           */
#define AGENT_DETAIL_LEN_MAX 500
#define AGENT_GRACE_MS 2000
#define AGENT_SCAN_MS 2000
#define AGENT_REDIAL_FIRST_MS 20
#define AGENT_REDIAL_MAX_MS 1000
#define AGENT_PING_MS 1000
#define AGENT_SILENT_PINGS_MAX 5 /* then the session is ended */
#define AGENT_GUARD_MS 1000      /* PostgreSQL's own answer to a timeout may come so much later */
#define AGENT_STATUS_MS 2000

struct agent_timer {
    struct as_heap_node node; /* first: a heap node is its timer */
    enum agent_timer_kind { AGENT_TIMER_SESSION, AGENT_TIMER_SCAN, AGENT_TIMER_LIVE } kind;
    uint32_t index;
};

struct agent_key {
    struct as_attempt attempt;
    uint32_t participant;
    uint32_t number;
};

/* A branch that is not done. Its address is stable while it lives, and reused afterwards. */
struct agent_live {
    struct branch branch;
    struct agent_key key;
    char id[AS_ID_LEN_MAX + 1];
    bool used;
    bool queued;             /* idle, in its participant's queue */
    bool holds;              /* counts against the participant's slots */
    bool working;            /* counted in agent->working */
    bool doubted;            /* BRANCH_IN_DOUBT was traced */
    bool orphaned;           /* answered unknown, under `orphan_term` */
    bool vanished;           /* the last scan did not list it */
    uint32_t slot;           /* its own index */
    uint32_t before, behind; /* in the queue, or behind: in the free list */
    uint64_t vote_session;   /* the one its EXECUTE came on; 0: gone, or not run here */
    uint64_t ack_session;    /* the one its last decision came on; 0: gone */
    uint64_t op_id;          /* in flight; 0: none */
    uint64_t read_op_id;     /* of its READ, whose transaction is open */
    uint64_t prepared_scan;  /* the participant's scan number when it became prepared */
    uint64_t seen_scan;      /* the last scan that listed it */
    uint64_t orphan_term;
    struct as_identity identity; /* of the database when PREPARE was started */
    as_time deadline;
    as_time prepared_at;
    struct as_buf work; /* lives until its operation is done; the memory is used again */
    struct agent_timer timer;
};

struct agent_participant {
    struct agent_participant_config config;
    struct operations *operations; /* NULL: none */
    bool up;
    struct as_pg_up facts; /* `detail` points below */
    char detail[AGENT_DETAIL_LEN_MAX + 1];
    uint32_t held;   /* branches that use or will use a slot: executing, prepared, finishing */
    uint32_t others; /* slots that others used at the last scan */
    uint32_t queued, queue_head, queue_tail;
    bool pump; /* the queue's head may start now */
    struct agent_timer scan_timer;
    uint64_t scan_op, scan_seq;
    uint32_t
        scan_from; /* where the next round of inquiries begins, when there are too many for one */
    uint64_t rotate_op;
    struct as_wire_status status; /* last sent; no gid, age 0 */
    as_time status_at;
    bool status_due; /* a new session has not seen it */
};

enum agent_session_state { AGENT_WAITING, AGENT_DIALING, AGENT_GREETING, AGENT_OPEN };

/* Those that the configuration names, those that a leader does, and those that it does no more. */
#define AGENT_SESSIONS_MAX (3 * AGENT_NODES_MAX)

struct agent_session {
    bool used;
    bool told;       /* a leader names it, the configuration does not */
    bool leaving;    /* and does no more: it is not dialed again */
    bool plain;      /* the node does not know our HELLO: it is greeted in version 1 */
    uint16_t speaks; /* the newest layout that the node knows */
    char address[AGENT_ADDRESS_LEN_MAX + 1];
    enum agent_session_state state;
    uint64_t connection;
    uint64_t node_id;
    uint64_t term; /* it announced to lead; 0: none */
    uint32_t redial_ms;
    uint32_t silent_pings;
    bool ending; /* nothing is sent or read any more; agent_settle ends it */
    bool gone;   /* the peer closed it */
    const char *why;
    const char *complaint; /* the last one traced: an outage does not repeat itself every second */
    struct as_buf in;
    struct agent_timer timer;
};

/* A LIST or RESOLVE under way. */
struct agent_ask {
    uint64_t op_id; /* in flight; 0: this place is free */
    enum { AGENT_ASK_LIST, AGENT_ASK_LOOK, AGENT_ASK_FINISH, AGENT_ASK_PROVE } step;
    uint64_t connection, ticket; /* where the answer goes */
    uint16_t slot;
    bool commit;
    uint64_t xid;                 /* of the transaction that the operator saw */
    struct as_identity identity;  /* of the database that listed it */
    enum as_asked refused;        /* PROVE: what FINISH ended with; UNKNOWN: without an answer */
    struct as_reason refusal;     /* and its message */
    char gid[AS_GID_LEN_MAX + 1]; /* of LIST perhaps "": all of them */
};

/* An ended branch: its attempt is never run again (R5), a resent decision is answered at once. */
struct agent_past {
    struct agent_key key;
    enum as_ack outcome; /* 0: not known */
    bool certain;        /* nothing of it can turn up in the database by itself */
    bool used;
};

struct agent {
    struct agent_config config;
    struct as_env *env;
    const struct as_env_ops *ops;
    struct as_rng rng;
    uint64_t agent_id;
    uint64_t incarnation; /* 0: no node has told yet */
    uint64_t term_max;    /* highest announced (R5) */
    bool draining;
    bool ending;  /* some session is */
    bool pumping; /* some participant's queue may move */
    as_time armed;
    struct as_heap heap;
    struct as_buf out;
    struct as_buf expanded; /* work with the SQL of its operations */
    uint64_t next_connection, next_op;

    struct agent_participant *participants;
    struct agent_session sessions[AGENT_SESSIONS_MAX];

    struct agent_live **lives;
    uint32_t live_cap, live_made, live_free;
    struct as_map live_map;
    uint32_t working; /* with an operation in flight or an open transaction; asks too */

    struct agent_ask asks[AGENT_ASKS_MAX];

    struct agent_past *past;
    uint32_t past_next;
    struct as_map past_map;

    struct agent_counts counts;
};

static inline as_time agent_now(const struct agent *agent)
{
    return agent->ops->now(agent->env);
}

/* A decision about it is being carried out. */
static inline bool agent_live_finishing(const struct agent_live *live)
{
    return live->branch.state != BRANCH_PREPARED && live->branch.state != BRANCH_EXECUTING;
}

static inline struct agent_participant *agent_of(struct agent *agent, const struct agent_live *live)
{
    return &agent->participants[live->key.participant];
}

/* agent.c */
void agent_settle(struct agent *agent);
void agent_timer_set(struct agent *agent, struct agent_timer *timer, as_time at);
void agent_trace_live(struct agent *agent, enum as_trace_kind kind, const struct agent_live *live,
                      const char *detail);

/* session.c */
void agent_session_init(struct agent *agent, uint32_t index);
/* Takes one that is not used for this address; NULL: there is none. */
struct agent_session *agent_session_use(struct agent *agent, struct as_bytes address);
void agent_session_unuse(struct agent *agent, struct agent_session *session);
void agent_session_dial(struct agent *agent, struct agent_session *session);
void agent_session_timer(struct agent *agent, struct agent_session *session);
/* Marks it; agent_settle ends it. `why` is a constant. */
void agent_session_doom(struct agent *agent, struct agent_session *session, const char *why);
void agent_session_end(struct agent *agent, struct agent_session *session);
/* False: not open, or ending: nothing is sent. */
bool agent_send(struct agent *agent, struct agent_session *session, const struct as_wire_msg *msg);
bool agent_send_to(struct agent *agent, uint64_t connection, const struct as_wire_msg *msg);
void agent_send_all(struct agent *agent, const struct as_wire_msg *msg);
/* To all, and to each in the layout that it speaks. */
void agent_send_status(struct agent *agent, struct as_wire_msg *msg);
void agent_send_participant(struct agent *agent, struct agent_session *session, uint32_t index);

/* nodes.c */
void agent_on_nodes(struct agent *agent, const struct agent_session *from, struct as_bytes nodes);

/* table.c */
struct agent_live *agent_live_find(const struct agent *agent, const struct agent_key *key);
/* NULL: out of memory, or AGENT_LIVE_MAX are there. The key is not in yet. */
struct agent_live *agent_live_new(struct agent *agent, const struct agent_key *key,
                                  struct as_bytes id);
void agent_live_free(struct agent *agent, struct agent_live *live);
/* A new number for an operation of this branch, and back; NULL: not of a branch that waits for it.
 */
uint64_t agent_op_new(struct agent *agent, uint32_t slot);
struct agent_live *agent_live_of_op(const struct agent *agent, uint64_t op_id);
#define AGENT_OP_SLOT_NONE 0xffffffu
const struct agent_past *agent_past_find(const struct agent *agent, const struct agent_key *key);
void agent_past_add(struct agent *agent, const struct agent_key *key, enum as_ack outcome,
                    bool certain);
/* A new identity: what was proven there is proven no more; the fence stays. */
void agent_past_doubt(struct agent *agent, uint32_t participant);

/* drive.c: the only ones that change a branch. After it `live` may be free: do not touch it. */
void agent_step(struct agent *agent, struct agent_live *live, const struct branch_event *event);
void agent_give_up(struct agent *agent, struct agent_live *live, enum as_reason_code code,
                   const char *why);
void agent_vote_no_at(struct agent *agent, struct agent_session *session,
                      const struct as_wire_branch *branch, enum as_reason_code code,
                      int32_t statement, const char *sqlstate, const char *why);
void agent_vote_no(struct agent *agent, struct agent_session *session,
                   const struct as_wire_branch *branch, enum as_reason_code code, const char *why);
void agent_ack(struct agent *agent, uint64_t connection, const struct agent_key *key,
               enum as_ack ack, const char *message);
/* True while the agent may still give it up by itself: it has not voted yes (R2). */
static inline bool agent_undecided(const struct agent_live *live)
{
    return live->branch.state == BRANCH_IDLE || live->branch.state == BRANCH_EXECUTING ||
           live->branch.state == BRANCH_READ_ONLY;
}
/* Gives up every undecided branch that `gone` picks. */
void agent_give_up_where(struct agent *agent,
                         bool (*gone)(const struct agent_live *live, uint64_t argument),
                         uint64_t argument, enum as_reason_code code, const char *why);

/* execute.c */
void agent_on_execute(struct agent *agent, struct agent_session *session,
                      const struct as_wire_execute *execute);
void agent_pump(struct agent *agent);
void agent_pump_wanted(struct agent *agent, struct agent_participant *participant);
void agent_live_timer(struct agent *agent, struct agent_live *live);
void agent_queue_remove(struct agent *agent, struct agent_live *live);

/* finish.c */
void agent_on_decision(struct agent *agent, struct agent_session *session,
                       const struct as_wire_msg *msg);
void agent_on_read_finish(struct agent *agent, const struct as_wire_branch *branch);
void agent_on_answer(struct agent *agent, const struct as_wire_answer *answer);
bool agent_branch_valid(const struct agent *agent, const struct as_wire_branch *branch);
struct agent_key agent_key_of(const struct as_wire_branch *branch);

/* ask.c */
void agent_on_list(struct agent *agent, struct agent_session *session,
                   const struct as_wire_list *list);
void agent_on_resolve(struct agent *agent, struct agent_session *session,
                      const struct as_wire_resolve *resolve);
/* False: not of an ask. */
bool agent_ask_done(struct agent *agent, const struct as_pg_done *done);

/* scan.c */
void agent_scan_start(struct agent *agent, uint32_t index);
void agent_scan_done(struct agent *agent, uint32_t index, const struct as_pg_done *done);
void agent_on_rotate(struct agent *agent, uint16_t slot, uint64_t counter);

#endif
