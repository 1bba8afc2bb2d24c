/*
 * The simulator's world: every process of a cluster, their network, disks and databases, and a clock
 * that only moves when nothing is left to do. Everything that may happen is drawn from one seed, so a
 * seed is a test: the same one does the same twice.
 *
 *   world.c     time, chance, events, memory       net.c      connections between processes
 *   plan.c      what a seed draws                  disk.c     a node's disk
 *   node.c      a coordinator process              db*.c      the fake PostgreSQL
 *   members.c   who joins, leaves, is wiped
 *   agent.c     an agent process                   client.c   who asks, and remembers the answers
 *   pass.c      requests passed on to the leader
 *   faults.c    what goes wrong, and healing       observe.c  what the oracles see
 *   rule_*.c    the oracles, one rule each         run.c      one seed from beginning to end
 *
 * The processes run the very code of production (coordinator/node, participant/agent); only
 * `struct as_env` is another one.
 */
#ifndef ASSENT_SIM_H
#define ASSENT_SIM_H

#include <stdio.h>
#include <string.h>

#include "assent/env.h"
#include "assent/heap.h"
#include "assent/rng.h"
#include "assent/wire.h"
#include "coordinator/node/node.h"
#include "participant/agent/agent.h"

#define SIM_NODES_MAX 7 /* those of the bootstrap, and spares */
#define SIM_AGENTS_MAX 3
#define SIM_PROCS_MAX (SIM_NODES_MAX + SIM_AGENTS_MAX)
#define SIM_DBS_MAX 3
#define SIM_ACCOUNTS 6
#define SIM_BRANCHES_MAX 4
#define SIM_STATEMENTS_MAX 3
#define SIM_CLIENTS_MAX 8
#define SIM_CLUSTER "sim"
#define SIM_INCARNATION 0x5f3a9c01d2e4b687u
#define SIM_IDS_MAX 32  /* of nodes: a wiped one comes back under a new id */
#define SIM_BALANCE 100 /* of every account at the beginning */

struct sim;

/* --- What a seed draws (plan.c) --- */

/* name: each seed switches a random part of them on (swarm testing) */
#define SIM_FAULT_MAP(X)                                                                  \
    X(NODE_KILL)  /* kill -9: the page cache survives */                                  \
    X(NODE_POWER) /* what was not synced is applied, lost or torn by sector */            \
    X(NODE_OPEN)  /* the process dies, or its disk fails, while it opens its log */       \
    X(AGENT_KILL)                                                                         \
    X(PAUSE)      /* SIGSTOP, and later SIGCONT */                                        \
    X(LINK_CUT)   /* both sides learn of it, one of them late */                          \
    X(LINK_STALL) /* nothing gets through for a while */                                  \
    X(CLOG)       /* one direction between two processes */                               \
    X(PARTITION)  /* both directions, of one process with all others */                   \
    X(DIAL_REFUSED)                                                                       \
    X(DISK_ERROR) /* EIO: the process must end */                                         \
    X(DISK_FULL)                                                                          \
    X(DISK_SLOW)                                                                          \
    X(DISK_ROT)  /* a bit of what was durable flips while the node is down */             \
    X(MEMBERS)   /* the operator adds, promotes and removes nodes */                      \
    X(NODE_WIPE) /* a directory is lost: the node comes back as another one */            \
    X(TRANSFER)  /* the operator hands leadership over */                                 \
    X(DB_KILL)                                                                            \
    X(DB_LINK)     /* an agent loses its connections to a database */                     \
    X(DB_FAILOVER) /* an asynchronous standby is promoted: the last changes are gone */   \
    X(DB_RESTORE)  /* the storage is put back to an older state, in the same timeline */  \
    X(DB_REFUSES)  /* a statement or PREPARE fails */                                     \
    X(DB_WARNS)    /* a success that does not count (R11) */                              \
    X(DB_LOSES)    /* the answer is lost, and perhaps the statement goes on without us */ \
    X(DB_BUSY)     /* 55000, 42501, 25006 */                                              \
    X(DB_SLOW)                                                                            \
    X(DB_SLOTS)   /* somebody else takes the prepared slots */                            \
    X(DB_FORGETS) /* pg_xact_status is null for what is old */                            \
    X(HAND)       /* a person commits or rolls back a prepared branch */                  \
    X(IMPOSTOR)   /* and prepares something else under its gid */                         \
    X(CLIENT_FORGETS)                                                                     \
    X(CLIENT_REPEATS) /* the same request twice, at the same time or later */             \
    X(CLIENT_CHANGES) /* another body under a known id */                                 \
    X(WALL_JUMP)      /* the wall clock is set */

#define SIM_FAULT_ENUM(name) SIM_##name,
enum sim_fault { SIM_FAULT_MAP(SIM_FAULT_ENUM) SIM_FAULT_COUNT };

struct sim_plan {
    uint32_t nodes, spares, agents, dbs, clients; /* spares: nodes that join later */
    bool serves[SIM_AGENTS_MAX][SIM_DBS_MAX];
    enum as_proof proof[SIM_DBS_MAX];
    bool on[SIM_FAULT_COUNT];
    uint32_t permille;  /* how often a fault strikes where it may */
    as_time misfortune; /* mean time between two faults that come by themselves */
    as_time duration;   /* of the time of faults */
    as_time full_max;   /* how long a disk stays full, at most */
    as_time restart;    /* how long a process stays dead, at most */
    uint32_t wander;    /* percent of requests that go to any node, not to the leader */
    as_time think;      /* mean pause of a client */
    as_time net_max, turn_max, write_max, sync_max, query_max; /* latencies */
    bool in_place; /* the node syncs in place where it may (architecture.md) */
    uint32_t drift_ppm_max;
    uint32_t slots; /* max_prepared_transactions */
    uint32_t timeout_max_ms;
    uint32_t read_percent, short_percent; /* read-only branches; statements that match no row */
    bool uuids;                           /* ids are UUIDv7 */
    bool passes;                          /* who does not lead passes requests on */
    uint64_t snapshot_bytes, tail_keep_bytes;
    uint32_t message_bytes, window_entries, caught_up_entries; /* of Raft; 0: defaults */
    uint32_t outcomes_max, retention_ms;                       /* 0: defaults */
    uint64_t committed_bytes_max; /* of their set: above it the horizon moves; 0: default */
    uint32_t resend_first_ms, resend_max_ms, lazy_ms;
};

void sim_plan_draw(struct sim *sim);
const char *sim_fault_name(enum sim_fault fault);

/* --- Events (world.c) --- */

struct sim_event;
typedef void (*sim_fire)(struct sim *sim, const struct sim_event *event);

struct sim_event {
    struct as_heap_node node; /* first */
    sim_fire fire;
    struct as_env *proc; /* whose: dropped if that life of it is over; NULL: the world's */
    uint32_t life;
    void *what;
    uint64_t a, b;
    struct sim_event *next_free;
};

/* --- A process --- */

struct sim_view; /* an agent's connections to a database (db.h) */

/* A process: what `struct as_env` is here. */
struct as_env {
    struct sim *sim;
    uint32_t proc; /* its number: nodes first, then agents */
    bool is_node;
    char name[16];
    bool up;
    bool dying; /* env->fatal was called: nothing of it is heard any more */
    uint32_t life;
    as_time clock_base, paused_until;
    int64_t drift_ppm, wall_base_ms;
    struct sim_event *timer;
    bool turn_due;
    uint64_t connection_last; /* odd numbers, of accepted ones */
    /* a coordinator */
    uint64_t id;  /* a new one with each directory */
    bool born;    /* its directory holds a log */
    bool joins;   /* it was not bootstrapped with the others */
    bool emptied; /* its directory was lost, and it bears its old id */
    struct node *node;
    struct sim_disk *disk;
    struct sim_event *held; /* a log write begun in this turn */
    bool rotten;            /* its disk has a flipped bit */
    /* an agent */
    struct agent *agent;
    struct sim_view *views; /* one per participant, in the order of its configuration */
    uint32_t view_count;
};

/* --- What is known of transactions: the truth that the oracles compare with --- */

struct sim_tx; /* a transaction in a database (db.h) */

struct sim_branch {
    struct sim_attempt *attempt;
    uint32_t number;
    uint32_t db;
    bool read_only;
    /* dispatched: on which connection of which node's life, to which agent */
    bool executed;
    uint64_t connection;
    uint32_t prepares;         /* started at PostgreSQL */
    struct sim_tx *tx;         /* prepared; NULL: never */
    bool warned;               /* PREPARE did not count (R11) */
    bool read_committed;       /* read-only: its COMMIT has succeeded */
    bool yes, ready, read, no; /* votes sent */
    uint64_t vote_xid;
    struct as_identity vote_identity;
    bool abort_told, commit_told; /* to an agent */
    bool unknown_told;            /* a person must finish it */
    uint32_t inquiries;           /* by agents; one that may have been answered is gone */
    uint32_t xid_told;            /* with an abort: bits of the agents, as long as they live */
    bool committed_ever;
    enum as_ack heuristic; /* reported by an agent; 0: none */
    /* what was done to it behind the coordinator's back */
    bool hand_commit, hand_rollback, imposed, undone, forgotten;
};

struct sim_attempt {
    struct sim *sim;
    struct as_attempt attempt;
    struct sim_txn *txn;
    uint32_t variant; /* of the body */
    uint64_t index;   /* of its COMMIT, once it is durable */
    uint64_t finish;  /* of its first FINISH, likewise */
    as_time begun_at;
    uint32_t branch_count;
    struct sim_branch branches[SIM_BRANCHES_MAX];
    bool proposed; /* COMMIT is being written */
    bool durable;  /* COMMIT is durable at a majority: the decision is commit (R1) */
    bool told;     /* and some leader has said so */
    as_time told_at;
    bool aborted_said;   /* to a client or an agent */
    bool committed_said; /* to a client */
};

struct sim_body {
    uint8_t hash[AS_HASH_LEN];
    uint32_t branch_count;
    struct {
        uint32_t db;
        bool read_only;
        uint32_t statement_count;
        struct {
            uint32_t account;
            int64_t delta;
            bool expect; /* one row */
        } statements[SIM_STATEMENTS_MAX];
        struct as_bytes work;
    } branches[SIM_BRANCHES_MAX];
};

/* A transaction as a client thinks of it: an id and the body, and another body. */
struct sim_txn {
    char id[AS_ID_LEN_MAX + 1];
    struct sim_body bodies[2];
    bool read_only;                    /* all of body 0: nothing is logged (R10) */
    struct sim_attempt *committed;     /* the one with a durable COMMIT */
    bool committed_said, aborted_said; /* answered to a client, by whatever attempt */
    as_time said_at;
    uint32_t requests;
    uint32_t
        seen[SIM_NODES_MAX]; /* answered as committed by this node in this life (plus 1) of it */
    struct sim_txn *next;
};

/* --- The world --- */

struct sim {
    uint64_t seed;
    int verbose; /* 0: nothing, 1: what matters, 2: all */
    struct as_rng rng;
    struct sim_plan plan;
    as_time now;
    bool healed;
    struct as_env *full; /* what is not healed at once: this disk is full */
    uint64_t hash, steps;
    struct as_heap events;
    struct sim_event *free_events;

    struct as_env procs[SIM_PROCS_MAX]; /* nodes, then agents */
    uint32_t proc_count, node_count;
    bool lone;        /* there is one node, and never another */
    uint64_t id_last; /* of a node */
    struct sim_net *net;
    struct sim_db *dbs;
    struct sim_client *clients;
    struct sim_txn *txns; /* newest first */
    uint32_t txn_count;
    struct sim_attempt **attempts;
    uint32_t attempt_count, attempt_cap;
    uint64_t request_last, served_last, answer_last;
    struct sim_request *requests; /* that wait for an answer */
    struct sim_oracle *oracle;
    struct sim_operator *operator;
    struct sim_storm *storm;
    struct {
        uint64_t committed, aborted, replies, refused, heuristic, crashes, faults, members,
            resolved, passed, horizons, unknown, handed_over;
        uint64_t acks[AS_ACK_RETRY + 1], struck[SIM_FAULT_COUNT];
    } counts;
};

/* Memory of the world's own, zeroed; all of it goes with the seed. */
void *sim_alloc(struct sim *sim, size_t size);
void sim_open(struct sim *sim, uint64_t seed, int verbose);
void sim_close(struct sim *sim);

struct sim_event *sim_at(struct sim *sim, as_time at, struct as_env *proc, sim_fire fire,
                         void *what, uint64_t a, uint64_t b);
void sim_cancel(struct sim *sim, struct sim_event *event);
/* Carries out the next event; false: there is none before `until`, and it is `until` now. */
bool sim_step(struct sim *sim, as_time until);

uint64_t sim_below(struct sim *sim, uint64_t bound);
/* From low to high, both included. */
as_time sim_between(struct sim *sim, as_time low, as_time high);
bool sim_percent(struct sim *sim, unsigned percent);
/* Whether this kind of fault strikes here and now; never after healing. */
bool sim_strikes(struct sim *sim, enum sim_fault fault);
/* The same, with a chance of its own. */
bool sim_strikes_in(struct sim *sim, enum sim_fault fault, unsigned percent);
/* A latency up to `max`: mostly short. */
as_time sim_latency(struct sim *sim, as_time max);

/* What happened goes into the hash, and if somebody looks, onto the screen. */
void sim_mix(struct sim *sim, uint64_t a, uint64_t b);
void sim_print(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define SIM_SAY(sim, level, ...)           \
    do {                                   \
        if ((sim)->verbose >= (level))     \
            sim_print((sim), __VA_ARGS__); \
    } while (0)

/* A rule is broken: tells which, how to replay, and ends the process. */
_Noreturn void sim_fail(struct sim *sim, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define SIM_CHECK(sim, rule, condition, ...)      \
    do {                                          \
        if (!(condition))                         \
            sim_fail((sim), (rule), __VA_ARGS__); \
    } while (0)
/* Where the parent of this process reads what failed (main.c); NULL: nobody does. */
struct sim_verdict {
    uint64_t seed;
    bool failed;
    char rule[32], message[400];
};
extern struct sim_verdict *sim_verdict;

/* --- Processes (proc.c) --- */

extern const struct as_env_ops sim_env_ops;
void proc_init(struct sim *sim, struct as_env *env, uint32_t proc, bool is_node);
/* Called after each call into the process: carries out a death, or sees to the end of the turn. */
void proc_after(struct as_env *env);
bool proc_alive(const struct as_env *env);
as_time proc_local(const struct as_env *env);

/* node.c, agent.c */
void node_proc_boot(struct as_env *env);
void node_proc_stop(struct as_env *env); /* the node is freed; its disk stays */
void node_proc_turn(struct as_env *env);
void agent_proc_boot(struct as_env *env);
void agent_proc_stop(struct as_env *env);
/* Ends a process now. `power`: its disk loses what was not synced. */
void proc_crash(struct as_env *env, bool power);
/* What has ended starts at that time, or before. */
void proc_boot_at(struct as_env *env, as_time at);

/* --- Network (net.c) --- */

void net_open(struct sim *sim);
void net_close_all(struct sim *sim);
void net_dial(struct as_env *env, uint64_t connection, const char *address);
void net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes);
void net_close(struct as_env *env, uint64_t connection);
void net_flush(struct as_env *env); /* what the turn has sent leaves */
void net_proc_died(struct as_env *env);
void net_cut_one(struct sim *sim); /* faults */
void net_stall_one(struct sim *sim);
void net_clog(struct sim *sim, uint32_t from, uint32_t to, as_time until);
void net_heal(struct sim *sim);
/* Who is at the other end; NULL: nobody any more. */
struct as_env *net_peer(struct as_env *env, uint64_t connection, uint64_t *ret_number);

/* --- Disk (disk.c) --- */

void disk_new(struct as_env *env);
void disk_free(struct as_env *env);
void disk_start(struct as_env *env, const struct as_disk_op *op);
struct as_disk disk_door(struct as_env *env);
void disk_died(struct as_env *env, bool power);
/* The held write ends at once, in place. */
void disk_write_here(struct as_env *env);
void disk_fail_soon(struct as_env *env, as_err err, uint64_t operations);
bool disk_failed(struct as_env *env); /* the failure asked for has come; asks for none any more */
void disk_fill(struct as_env *env, bool full);
/* Flips a bit of durable, claimed bytes; false: there are none now. And back. */
bool disk_rot(struct as_env *env);
void disk_unrot(struct as_env *env);
/* The same contents for another process. */
void disk_copy(struct as_env *to, const struct as_env *from);

/* --- Members (members.c) --- */

/* The operator changes one thing. */
void members_change(struct sim *sim);
/* A node loses its directory, if the others can bear that. */
void members_wipe(struct sim *sim);
void members_transfer(struct sim *sim);
/* After healing: what was lost is removed, what joins is taken in. */
void members_mend(struct sim *sim);
/* NULL, or what is not mended. */
const char *members_unsettled(const struct sim *sim);
/* By the newest list that is committed. */
uint32_t members_voters(const struct sim *sim);
bool members_has(const struct sim *sim, const struct as_env *env);

/* --- Clients (client.c) --- */

struct sim_request {
    uint64_t client; /* the node's number of it */
    struct sim_txn *txn;
    uint32_t variant;
    bool get, settled; /* settled: asked after healing */
    enum node_read read;
    uint64_t session; /* SESSION: the index that its client has seen */
    uint32_t timeout_ms;
    enum as_wait wait;
    /* Passed on: the leader serves a request of its own in its place. */
    bool passed;                /* waits for env->forward_done */
    struct sim_request *served; /* that of the leader */
    struct sim_request *origin; /* and back; NULL: a client asks */
    uint64_t forward;           /* the leader's number of it */
    uint64_t answer;            /* what it answered: a number of its own */
    bool committed;             /* and whether that was "committed" */
    struct as_env *node;
    uint32_t life;
    as_time sent_at;
    as_time patience;
    bool gone; /* the asker does not wait any more */
    struct sim_client *asker;
    struct sim_request *next;
};

/* What is asked is given to the node, which may answer in this very call. */
void request_give(struct as_env *env, struct sim_request *request);
/* It is over, with an answer or without one. */
void request_answered(struct sim_request *request, bool committed);
void request_failed(struct sim_request *request);
void clients_start(struct sim *sim);
void client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply);
void clients_node_died(struct as_env *env);
/* Asks for every id once more; what comes is checked by rule_r9. */
void clients_ask_all(struct sim *sim);
bool clients_waiting(const struct sim *sim);
struct sim_txn *txn_of_id(struct sim *sim, const char *id);

/* --- Requests passed on (pass.c) --- */

/* False: this node answers itself. */
bool pass_on(struct as_env *env, struct sim_request *request);
void pass_arrives(struct as_env *env, uint64_t forward, struct as_bytes bytes);
void pass_done(struct as_env *env, uint64_t client, as_err err, struct as_bytes bytes);
/* A leader has answered what it serves for another node. */
void pass_answer(struct as_env *env, struct sim_request *served, const struct as_reply *reply);

/* --- Faults (faults.c) --- */

void faults_start(struct sim *sim);
/* All but the one disk that is full, if there is one: while others have space its node must not go on leading. Then
 * faults_space. */
void faults_heal(struct sim *sim);
void faults_space(struct sim *sim);

/* --- One seed (run.c) --- */

/* Returns the trace's hash. */
uint64_t sim_run(struct sim *sim, uint64_t seed, int verbose);

#endif
