/*
 * The inside of the postgres room: operations (job), connections (conn) and their participants
 * (part).
 *
 *   pg.c         the door: start, cancel, flush, close; the list of ended operations and its
 * delivery part.c       one participant: its pool, queues, backoff, up and down preflight.c  what
 * is checked, installed and read before a participant is up conn.c       one connection: connect,
 * read, cancel, close check.c      the first pipeline of a connection: prepares the fixed
 * statements, compares identity branch.c     PREPARE, READ and their ends as pipelines, and what
 * comes back finish.c     COMMIT PREPARED, ROLLBACK PREPARED, PROBE, SCAN, ROTATE cache.c
 * statements kept prepared on a connection rows.c       result rows to bytes null.c       the
 * participant without a database sql.c        every fixed statement
 *
 * Fault model: the server may refuse, warn, die, hang or be replaced by another one at any byte;
 * libpq may fail to allocate. Whatever happens, a started operation ends once, and a connection
 * whose state is not known to be clean is closed, never used again.
 */
#ifndef ASSENT_PG_INSIDE_H
#define ASSENT_PG_INSIDE_H

#include <libpq-fe.h>
#include <uv.h>

#include "assent/buf.h"
#include "assent/heap.h"
#include "assent/limits.h"
#include "assent/map.h"
#include "assent/rng.h"
#include "participant/postgres/pg.h"
#include "participant/postgres/sql.h"

#define CONNECTIONS_DEFAULT 16
#define CONNECTIONS_MAX 1000   /* per participant */
#define CONN_SLOTS 2048        /* a connection's number modulo this is its slot */
#define CONNECTIONS_WARM 2     /* work connections opened ahead of need */
#define CONNECTIONS_RESERVED 2 /* for finishing only: it never waits behind waiting branches */
#define DEPTH_MAX 4            /* operations sent on one connection, when every other one is busy */
#define WAITING_MAX 10000      /* operations of one participant that wait for a connection */
#define STATEMENTS_KEPT 256    /* prepared on one connection; more only within one branch */
#define CONNECT_LIMIT (5 * AS_SECOND)
#define PREFLIGHT_LIMIT (10 * AS_SECOND)
#define FINISH_LIMIT (30 * AS_SECOND) /* COMMIT PREPARED may wait for a synchronous standby */
#define CANCEL_LIMIT (5 * AS_SECOND)
#define CANCEL_AGAIN (200 * AS_MS)
#define BACKOFF_MIN (50 * AS_MS)
#define BACKOFF_MAX AS_SECOND
#define MARKER_EVERY (3600 * AS_SECOND)
#define RESULTS_KEPT ((size_t)64 << 10) /* a larger buffer is given back */

/* In a list or not: an intrusive, circular, doubly linked one. */
struct link {
    struct link *prev, *next;
};

/* A deadline in the room's one heap. */
struct alarm {
    struct as_heap_node node;
    void (*ring)(struct alarm *alarm);
};

enum job_state {
    JOB_FREE,
    JOB_WAITING, /* in a queue of its participant */
    JOB_RUNNING, /* on its connection */
    JOB_OPEN,    /* a READ that has been reported: its transaction is open on its connection */
    JOB_ENDED,   /* in pg->ended, waiting to be delivered */
};

/* Where the agent's operation stands. Everything of `op` is a copy but `work`. */
struct job {
    struct link link;
    struct alarm timer;
    struct as_pg_op op;
    struct pg *pg;
    struct part *part;
    struct conn *conn; /* RUNNING, OPEN */
    uint32_t handle;
    enum job_state state;
    bool mapped;    /* in pg->by_id */
    bool internal;  /* the room's own: nobody is told */
    bool failed;    /* the outcome below is not OK */
    bool cancelled; /* by the agent or by its timer */
    enum as_reason_code cancel_code;
    bool too_large; /* results passed their limit */
    enum as_pg_status status;
    bool prepared;
    uint64_t xid;
    uint64_t connection;
    struct as_buf results;
    enum as_reason_code code;
    int32_t statement;
    char sqlstate[6];
    char message[AS_REASON_LEN_MAX + 1];
    /* PROBE */
    bool listed, marker, asked_again;
    uint32_t listed_xid32;
    enum as_pg_xact xact;
    struct as_identity identity;
    /* SCAN */
    struct as_pg_prepared *rows;
    uint32_t row_count, foreign, slots_used, slots_ours, xmin_age, foreign_xmin_age;
    int64_t foreign_oldest_age_ms;
    PGresult *rows_of; /* what the gids point into */
};

/* What the next result on a connection belongs to. */
enum expect_kind {
    EXPECT_SYNC,
    EXPECT_FIXED,     /* index: which of enum fixed */
    EXPECT_PARSE,     /* of a user's statement; entry: its place in the cache */
    EXPECT_STATEMENT, /* index: its number in the branch */
    EXPECT_PREPARE,   /* PREPARE TRANSACTION */
    EXPECT_FINISH,    /* COMMIT PREPARED, ROLLBACK PREPARED */
    EXPECT_DROP,      /* DEALLOCATE */
    EXPECT_INSTALL,   /* PQsendPrepare of a fixed statement */
};

struct expect {
    enum expect_kind kind;
    uint32_t index;
    uint32_t entry;
    int64_t expect_rows;
};

/* A statement kept prepared on one connection. */
struct cached {
    struct link link; /* in conn->used, the most recent first, or in conn->unused */
    uint64_t hash;
    uint32_t place;
    uint32_t sql_len;
    char *sql;     /* NULL: unused */
    char name[12]; /* "s17", never used twice on a connection */
};

enum preflight_step { STEP_FACTS, STEP_INSTALL, STEP_IDENTITY, STEP_DONE };

enum conn_state {
    CONN_CONNECTING,
    CONN_PREFLIGHT, /* the one that checks the server; never joins the pool */
    CONN_CHECKING,  /* its first pipeline is under way */
    CONN_IDLE,
    CONN_BUSY,
    CONN_OPEN, /* idle in a READ's transaction */
};

struct poller; /* conn.c: owns the uv_poll_t, which outlives the connection's socket */

struct conn {
    struct link link; /* in part->idle[reserved] while IDLE, in part->sharing[reserved] */
    struct alarm timer;
    struct pg *pg;
    struct part *part;
    PGconn *pq;
    struct poller *poller;
    enum conn_state state;
    uint64_t number; /* its slot in the low bits; never used again */
    uint32_t slot;
    bool preflight, reserved;
    enum preflight_step step; /* of the preflight: the next one, once a result has said which */
    bool installed;

    struct job *job;        /* BUSY, OPEN: whose results are coming */
    struct link behind;     /* sent too: their results come after */
    uint32_t depth;         /* job and those behind it */
    bool shares;            /* the last of them is a decision: more may be sent behind it */
    struct expect *expects; /* from `head` to `count` */
    uint32_t head, count, cap;
    bool answered; /* the one at `head` has had a result */
    uint8_t nulls; /* from PQgetResult, in a row */
    bool closed;   /* freed when the loop callback ends */
    bool failed;   /* an error came since the last Sync: the rest of it is skipped by the server */
    bool warned;   /* a WARNING came while PREPARE or COMMIT PREPARED was the next to be answered */
    bool cleaning; /* the pipeline under way only rolls back and resets */
    bool doomed;   /* to be closed as soon as its job is told */
    bool cancelling; /* a cancel request is on its way on a thread: not to be used meanwhile */
    as_time cancel_until;
    char warning[AS_REASON_LEN_MAX + 1];

    /* the statement whose rows are coming */
    struct as_buf cells;
    uint32_t cell_rows;

    struct as_map by_sql;  /* to cached, by position in `cache` */
    struct cached **cache; /* by place */
    uint32_t cache_room, cache_cap, cache_count, cache_next;
    uint32_t retired; /* that many at the end of `used` are to go */
    struct link used, unused;
};

enum part_state {
    PART_DOWN,      /* waiting to try again */
    PART_PREFLIGHT, /* one connection checks the server */
    PART_WARMING,   /* checked; the first connection of the pool is coming */
    PART_UP,
};

enum part_queue { QUEUE_FINISH, QUEUE_WORK, QUEUE_COUNT };

struct part {
    struct pg *pg;
    uint32_t index;
    struct pg_participant_config config;
    char error[AS_REASON_LEN_MAX + 1]; /* of its dsn, if that is wrong */
    const char **keywords;             /* for PQconnectStartParams, NULL-terminated */
    char **values;                     /* values[options_at] changes with sync_value */
    size_t options_at;
    char *options;
    char sync_value[32]; /* synchronous_commit of our sessions; empty: not known yet */
    bool notices; /* its server processes can notice that we are gone: PostgreSQL 14, on Linux */

    enum part_state state;
    struct alarm timer; /* the next try while DOWN, or the next growth while UP */
    as_time backoff;
    as_time grow_after;
    struct conn **conns; /* by slot */
    uint32_t slots;
    uint32_t work_count, reserved_count; /* opening ones included */
    uint32_t opening[2];                 /* of these, not usable yet; by `reserved` */
    uint32_t usable;
    struct link idle[2];    /* by `reserved`, the most recently used first */
    struct link sharing[2]; /* busy, and more may be sent behind what they are at */
    struct link queue[QUEUE_COUNT];
    uint32_t waiting[QUEUE_COUNT];

    struct as_pg_up facts;
    char detail[AS_REASON_LEN_MAX + 1];
    bool counted;        /* the identity's counter has grown for this process */
    as_time marker_next; /* when old markers are removed */
    bool tell_up, tell_down;
    char why[AS_REASON_LEN_MAX + 1];
};

struct pg {
    uv_loop_t *loop;
    struct pg_callbacks callbacks;
    char prefix[AS_CLUSTER_LEN_MAX + 10]; /* assent/<cluster>/ */
    struct part *parts;
    uint32_t part_count;
    struct as_heap alarms;
    as_time armed; /* what uv_timer is set to */
    uv_timer_t timer;
    uv_idle_t idle; /* active while something waits to be delivered */
    struct as_rng rng;
    uint64_t conn_seq;
    bool in_loop; /* inside a loop callback of ours: it delivers at its end */
    bool idling;
    bool telling; /* some participant's tell_up or tell_down is set */
    bool closing, closed;
    uint32_t handles; /* of libuv, and cancel requests, not yet gone */
    void (*on_closed)(void *ctx);
    void *on_closed_ctx;

    struct job **jobs; /* by handle, each allocated once and reused */
    uint32_t job_count, job_cap;
    struct link free_jobs;
    struct link ended;
    struct link dead; /* closed connections, freed when the callback ends */
    struct as_map by_id;

    /* scratch of the statement being sent */
    const char **params;
    uint32_t param_cap;
    struct as_buf null_results;
    uint32_t null_statements;
    struct as_identity null_identity;
    uint64_t null_xid;
};

/* --- lists --- */
static inline void link_init(struct link *list)
{
    list->prev = list->next = list;
}
static inline bool link_empty(const struct link *list)
{
    return list->next == list;
}
static inline void link_remove(struct link *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    link_init(item);
}
static inline void link_push(struct link *list, struct link *item) /* to the front */
{
    item->next = list->next;
    item->prev = list;
    list->next->prev = item;
    list->next = item;
}
static inline void link_append(struct link *list, struct link *item)
{
    link_push(list->prev, item);
}
#define OWNER_OF(pointer, type, field) ((type *)(void *)((char *)(pointer)-offsetof(type, field)))

/* --- pg.c --- */
as_time pg_now(const struct pg *pg);
void pg_enter(struct pg *pg); /* every loop callback of ours stands between these two */
void pg_leave(struct pg *pg);
void pg_wake(struct pg *pg); /* something waits to be delivered */
void pg_alarm_set(struct pg *pg, struct alarm *alarm, as_time at);
void pg_handle_gone(struct pg *pg);
struct job *job_new(struct pg *pg, const struct as_pg_op *op);
struct job *job_of(struct pg *pg, uint64_t op_id);
void job_end(struct job *job); /* with what stands in it; delivered soon */
void job_ok(struct job *job);
void job_fail(struct job *job, enum as_pg_status status, enum as_reason_code code,
              const char *message); /* notes it; the first failure stays */
void job_drop(struct job *job);     /* forgets an operation that was delivered or is internal */
_Noreturn void pg_out_of_memory(void);

/* --- part.c --- */
as_err part_init(struct part *part, struct pg *pg, uint32_t index,
                 const struct pg_participant_config *config) AS_MUSTCHECK;
void part_close(struct part *part);
void part_begin(struct part *part);
void part_stop(struct part *part, const char *why);
void part_enqueue(struct part *part, struct job *job);
void part_pump(struct part *part); /* gives waiting operations to idle connections */
void part_preflight_done(struct part *part);
void part_down(struct part *part, const char *why); /* closes everything and tries again later */
void part_restart(struct part *part);               /* closes everything and checks anew, now */
void part_tell_up(struct part *part);
void part_conn_ready(struct conn *conn);
void part_conn_gone(struct conn *conn, bool was_usable, const char *why);
struct conn *part_conn_of(const struct part *part, uint64_t number);

/* --- conn.c --- */
struct conn *conn_begin(struct part *part, bool preflight, bool reserved);
void conn_drop(struct conn *conn, const char *why); /* ends its job as LOST */
void conn_free_dead(struct pg *pg);
void conn_limit(struct conn *conn, as_time within); /* AS_NEVER: none */
void conn_idle(struct conn *conn);
void conn_watch(struct conn *conn);  /* after sending */
void conn_cancel(struct conn *conn); /* asks the server to stop what the connection is at */
void conn_offer(struct conn *conn);  /* whether more may be sent on it has changed */
struct expect *conn_expect(struct conn *conn, enum expect_kind kind);
bool conn_send_fixed(struct conn *conn, enum fixed fixed, int count, const char *const *params);
bool conn_send_text(struct conn *conn, const char *sql, enum expect_kind kind);
bool conn_sync(struct conn *conn, bool ends_job);

/* --- preflight.c --- */
void preflight_begin(struct conn *conn);
void preflight_result(struct conn *conn, const PGresult *result);
void preflight_step_done(struct conn *conn); /* all results of a step are in */
bool identity_read(const char *text, struct as_identity *ret_identity);

/* --- check.c --- */
bool check_send(struct conn *conn);
void check_result(struct conn *conn, const struct expect *expect, const PGresult *result);
void check_synced(struct conn *conn);

/* --- branch.c --- */
void run_job(struct conn *conn, struct job *job); /* any kind */
void branch_result(struct conn *conn, const struct expect *expect, PGresult *result);
void job_cancel(struct job *job);   /* one that runs */
void job_synced(struct conn *conn); /* the pipeline of its operation has come to its end */
void job_fail_result(struct job *job, const PGresult *result, int32_t statement);

/* --- finish.c --- */
bool finish_send(struct conn *conn, struct job *job);
void finish_result(struct conn *conn, const struct expect *expect, PGresult **result);
bool finish_goes_on(const struct job *job); /* it has more to send */

/* --- cache.c --- */
void cache_init(struct conn *conn);
void cache_close(struct conn *conn);
/* Finds or makes the entry; *ret_fresh: it must be prepared on the server first. NOMEM. */
as_err cache_take(struct conn *conn, struct as_bytes sql, uint32_t *ret_entry,
                  bool *ret_fresh) AS_MUSTCHECK;
void cache_forget(struct conn *conn, uint32_t entry); /* it is not on the server */
const char *cache_name(const struct conn *conn, uint32_t entry);
bool cache_trim(
    struct conn *conn); /* sends DEALLOCATE for what is too much; false: sending failed */
void cache_retire(struct conn *conn, uint32_t entry); /* the first to go at the next trim */

/* --- rows.c --- */
void rows_add(struct conn *conn, const PGresult *result);
/* The statement is over: moves what was gathered into the job's results. Returns the rows counted.
 */
int64_t rows_end(struct conn *conn, PGresult *result);
void rows_drop(struct conn *conn);

/* --- null.c --- */
void null_start(struct pg *pg, struct job *job);

#endif
