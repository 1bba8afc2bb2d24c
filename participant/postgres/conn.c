/*
 * One connection: to get it, to read what comes, to cancel what it is at, to close it.
 *
 * Results come back in the order in which commands were sent, so a queue of expectations tells what
 * each belongs to. A connection has one operation at a time.
 *
 * Fault model: the server ends the connection at any byte, or never answers; libpq cannot allocate.
 * Then the connection is closed and its operation is LOST: it may have happened or not.
 * PQconnectStart resolves host names blocking, as libpq does; use addresses or a local resolver.
 */
#include <string.h>

#include "assent/alloc.h"
#include "assent/work.h"
#include "participant/postgres/inside.h"

/* libuv's handle outlives the socket by a turn of the loop, so it has a life of its own. */
struct poller {
    uv_poll_t handle;
    struct conn *conn;
    struct pg *pg;
    int fd;
    int events;
};

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_conn_timer(struct alarm *alarm);

/* --- watching the socket --- */

static void on_poller_closed(uv_handle_t *handle)
{
    struct poller *poller = OWNER_OF(handle, struct poller, handle);
    struct pg *pg = poller->pg;

    as_free(poller);
    pg_handle_gone(pg);
}

static void poller_drop(struct conn *conn)
{
    if (!conn->poller)
        return;
    conn->poller->conn = NULL;
    uv_close((uv_handle_t *)&conn->poller->handle, on_poller_closed);
    conn->poller = NULL;
}

/* False: no memory, or libuv refuses the socket. */
static bool poll_for(struct conn *conn, int events)
{
    struct poller *poller = conn->poller;
    int fd = PQsocket(conn->pq);

    if (poller && poller->fd != fd) {
        poller_drop(conn);
        poller = NULL;
    }
    if (!poller) {
        poller = as_alloc_zero(1, sizeof *poller);
        if (!poller)
            return false;
        if (uv_poll_init(conn->pg->loop, &poller->handle, fd)) {
            as_free(poller);
            return false;
        }
        poller->conn = conn;
        poller->pg = conn->pg;
        poller->fd = fd;
        conn->pg->handles++;
        conn->poller = poller;
    }
    if (poller->events == events)
        return true;
    poller->events = events;
    return uv_poll_start(&poller->handle, events, on_poll) == 0;
}

void conn_watch(struct conn *conn)
{
    int left = PQflush(conn->pq);

    if (left < 0)
        conn_drop(conn, PQerrorMessage(conn->pq));
    else if (!poll_for(conn, left ? UV_READABLE | UV_WRITABLE : UV_READABLE))
        conn_drop(conn, "cannot watch the socket: out of memory");
}

/* --- sending --- */

struct expect *conn_expect(struct conn *conn, enum expect_kind kind)
{
    struct expect *expect;

    if (conn->head == conn->count)
        conn->head = conn->count = 0;
    if (conn->count == conn->cap) {
        uint32_t cap = conn->cap ? conn->cap * 2 : 32;
        struct expect *expects = as_resize(conn->expects, cap * sizeof *expects);

        if (!expects)
            return NULL;
        conn->expects = expects;
        conn->cap = cap;
    }
    expect = &conn->expects[conn->count++];
    expect->kind = kind;
    expect->index = expect->entry = 0;
    expect->expect_rows = AS_EXPECT_NONE;
    return expect;
}

bool conn_send_fixed(struct conn *conn, enum fixed fixed, int count, const char *const *params)
{
    struct expect *expect = conn_expect(conn, EXPECT_FIXED);

    if (!expect)
        return false;
    expect->index = fixed;
    return PQsendQueryPrepared(conn->pq, sql_fixed_name(fixed), count, params, NULL, NULL, 0);
}

bool conn_send_text(struct conn *conn, const char *sql, enum expect_kind kind)
{
    return conn_expect(conn, kind) &&
           PQsendQueryParams(conn->pq, sql, 0, NULL, NULL, NULL, NULL, 0);
}

/* This is what sends: PQpipelineSync pushes all that gathered with one system call. */
bool conn_sync(struct conn *conn, bool ends_job)
{
    struct expect *expect = conn_expect(conn, EXPECT_SYNC);

    if (!expect)
        return false;
    expect->index = ends_job;
    return PQpipelineSync(conn->pq);
}

/* --- closing --- */

void conn_limit(struct conn *conn, as_time within)
{
    pg_alarm_set(conn->pg, &conn->timer, within == AS_NEVER ? AS_NEVER : pg_now(conn->pg) + within);
}

static void lose_job(struct job *job, const char *why)
{
    job->conn = NULL;
    if (job->state == JOB_OPEN) {
        job_drop(job);
        return;
    }
    if (job->state != JOB_RUNNING)
        return;
    job->prepared = false;
    job->failed = false; /* what was seen so far proves nothing any more */
    job->sqlstate[0] = '\0';
    job->statement = -1;
    job_fail(job, AS_PG_LOST, AS_REASON_PARTICIPANT_UNAVAILABLE, why);
    job_end(job);
}

static void lose_jobs(struct conn *conn, const char *why)
{
    struct job *job = conn->job;

    conn->job = NULL;
    if (job)
        lose_job(job, why);
    while (!link_empty(&conn->behind))
        lose_job(OWNER_OF(conn->behind.next, struct job, link), why);
}

void conn_drop(struct conn *conn, const char *why)
{
    struct part *part = conn->part;
    bool usable = conn->state >= CONN_IDLE;
    char text[AS_REASON_LEN_MAX + 1];

    if (conn->closed)
        return;
    conn->closed = true;
    /* libpq's texts end in a newline, and are gone with the connection */
    snprintf(text, sizeof text, "%s", why);
    for (size_t len = strlen(text); len > 0 && text[len - 1] == '\n'; len--)
        text[len - 1] = '\0';
    pg_alarm_set(conn->pg, &conn->timer, AS_NEVER);
    link_remove(&conn->link);
    link_append(&conn->pg->dead, &conn->link);
    part->conns[conn->slot] = NULL;
    poller_drop(conn);
    lose_jobs(conn, text);
    part_conn_gone(conn, usable, text);
    pg_wake(conn->pg);
}

/* Not before the loop callback ends: whoever is reading this connection still looks at it. */
void conn_free_dead(struct pg *pg)
{
    while (!link_empty(&pg->dead)) {
        struct conn *conn = OWNER_OF(pg->dead.next, struct conn, link);

        link_remove(&conn->link);
        PQfinish(conn->pq);
        cache_close(conn);
        as_buf_close(&conn->cells);
        as_free(conn->expects);
        as_free(conn);
    }
}

/* --- connecting --- */

/* PostgreSQL's WARNING at PREPARE or COMMIT PREPARED: the success that follows is none (R11). One
 * that a branch's own statement raises is its own affair. */
static void on_notice(void *arg, const PGresult *result)
{
    struct conn *conn = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum expect_kind kind;

    if (!severity || strcmp(severity, "WARNING") != 0 || conn->head == conn->count)
        return;
    kind = conn->expects[conn->head].kind;
    if (kind != EXPECT_PREPARE && kind != EXPECT_FINISH)
        return;
    conn->warned = true;
    conn->warning[0] = '\0';
    strncat(conn->warning, text ? text : "a warning without text", sizeof conn->warning - 1);
}

static void connected(struct conn *conn)
{
    if (PQsetnonblocking(conn->pq, 1)) {
        conn_drop(conn, PQerrorMessage(conn->pq));
        return;
    }
    if (conn->preflight) {
        conn->state = CONN_PREFLIGHT;
        preflight_begin(conn);
        return;
    }
    conn->state = CONN_CHECKING;
    if (!PQenterPipelineMode(conn->pq) || !check_send(conn))
        conn_drop(conn, PQerrorMessage(conn->pq));
    else
        conn_watch(conn);
}

/* libpq may close its socket and open another one in here, so the old one is not watched meanwhile.
 */
static void connect_step(struct conn *conn)
{
    int events;

    if (conn->poller) {
        uv_poll_stop(&conn->poller->handle);
        conn->poller->events = 0;
    }
    switch (PQconnectPoll(conn->pq)) {
    case PGRES_POLLING_OK:
        connected(conn);
        return;
    case PGRES_POLLING_READING:
        events = UV_READABLE;
        break;
    case PGRES_POLLING_WRITING:
        events = UV_WRITABLE;
        break;
    default:
        conn_drop(conn, PQerrorMessage(conn->pq));
        return;
    }
    if (!poll_for(conn, events))
        conn_drop(conn, "cannot watch the socket: out of memory");
}

static struct conn *conn_new(struct part *part, uint32_t slot)
{
    struct pg *pg = part->pg;
    struct conn *conn = as_alloc_zero(1, sizeof *conn);

    if (!conn)
        return NULL;
    conn->pg = pg;
    conn->part = part;
    conn->slot = slot;
    conn->number = ++pg->conn_seq * CONN_SLOTS + slot;
    conn->timer.ring = on_conn_timer;
    link_init(&conn->link);
    link_init(&conn->behind);
    as_buf_init(&conn->cells, AS_RESULT_BYTES_MAX);
    cache_init(conn);
    conn->pq = PQconnectStartParams((const char *const *)part->keywords,
                                    (const char *const *)part->values, 0);
    if (!conn->pq) {
        as_free(conn);
        return NULL;
    }
    PQsetNoticeReceiver(conn->pq, on_notice, conn);
    return conn;
}

/* NULL: no memory. Failure to connect comes later, through part_conn_gone. */
struct conn *conn_begin(struct part *part, bool preflight, bool reserved)
{
    struct conn *conn;
    uint32_t slot = 0;

    while (slot < part->slots && part->conns[slot])
        slot++;
    AS_ASSERT(slot < part->slots);
    conn = conn_new(part, slot);
    if (!conn)
        return NULL;
    conn->preflight = preflight;
    conn->reserved = reserved;
    part->conns[slot] = conn;
    if (!preflight) {
        part->opening[reserved]++;
        if (reserved)
            part->reserved_count++;
        else
            part->work_count++;
    }
    conn_limit(conn, CONNECT_LIMIT);
    /* A failure at once (no such socket, no such host) is told as any other, from the loop. */
    if (PQstatus(conn->pq) == CONNECTION_BAD || PQsocket(conn->pq) < 0)
        conn_limit(conn, 0);
    else if (!poll_for(conn, UV_WRITABLE))
        conn_limit(conn, 0);
    return conn;
}

/* --- cancelling --- */

struct cancel {
    uv_work_t work;
    struct pg *pg;
    uint32_t participant;
    uint64_t connection;
    PGcancel *handle;
};

static void cancel_work(uv_work_t *work)
{
    char error[256];

    (void)PQcancel(OWNER_OF(work, struct cancel, work)->handle, error, sizeof error);
}

/* The request has reached the backend or got lost. A signal that finds the backend idle does
 * nothing there. */
static void cancel_done(uv_work_t *work, int status)
{
    struct cancel *cancel = OWNER_OF(work, struct cancel, work);
    struct pg *pg = cancel->pg;
    struct conn *conn = part_conn_of(&pg->parts[cancel->participant], cancel->connection);

    (void)status;
    PQfreeCancel(cancel->handle);
    as_free(cancel);
    pg_enter(pg);
    if (conn) {
        conn->cancelling = false;
        if (conn->head == conn->count)
            job_synced(conn);
        else
            conn_limit(conn, CANCEL_AGAIN);
    }
    pg_leave(pg);
    pg_handle_gone(pg);
}

/*
 * PQcancel connects and blocks, so it runs on a thread. Until the thread is back the connection is
 * not used again: a late cancel would hit the next branch. One that arrives between two statements
 * of a pipeline is lost, so it is sent again until the pipeline has ended or CANCEL_LIMIT is over.
 */
void conn_cancel(struct conn *conn)
{
    struct cancel *cancel;

    if (conn->cancelling || conn->cleaning)
        return;
    if (conn->cancel_until == 0)
        conn->cancel_until = pg_now(conn->pg) + CANCEL_LIMIT;
    conn_limit(conn, conn->cancel_until - pg_now(conn->pg));
    cancel = as_alloc_zero(1, sizeof *cancel);
    if (!cancel)
        return; /* the limit closes the connection */
    cancel->pg = conn->pg;
    cancel->participant = conn->part->index;
    cancel->connection = conn->number;
    cancel->handle = PQgetCancel(conn->pq);
    if (!cancel->handle || uv_queue_work(conn->pg->loop, &cancel->work, cancel_work, cancel_done)) {
        PQfreeCancel(cancel->handle);
        as_free(cancel);
        return;
    }
    conn->cancelling = true;
    conn->pg->handles++;
    conn_offer(conn); /* nothing may stand behind what is cancelled: the request could hit it */
}

static void on_conn_timer(struct alarm *alarm)
{
    struct conn *conn = OWNER_OF(alarm, struct conn, timer);

    if (conn->state == CONN_CONNECTING)
        conn_drop(conn, PQstatus(conn->pq) == CONNECTION_BAD ? PQerrorMessage(conn->pq)
                                                             : "no connection within 5 s");
    else if (conn->cancel_until && !conn->cancelling && pg_now(conn->pg) < conn->cancel_until)
        conn_cancel(conn);
    else
        conn_drop(conn, conn->cancel_until ? "the server did not answer a cancel request"
                                           : "the server did not answer in time");
}

/* --- reading --- */

static void take_result(struct conn *conn, PGresult **result)
{
    struct expect *expect = &conn->expects[conn->head];
    ExecStatusType status = PQresultStatus(*result);

    if (status == PGRES_FATAL_ERROR) {
        const char *severity = PQresultErrorField(*result, PG_DIAG_SEVERITY_NONLOCALIZED);

        /* Without fields it is libpq's own: the connection is broken. */
        if (!severity || strcmp(severity, "ERROR") != 0) {
            conn_drop(conn, severity ? PQresultErrorField(*result, PG_DIAG_MESSAGE_PRIMARY)
                                     : PQresultErrorMessage(*result));
            return;
        }
    } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        conn_drop(conn, "COPY cannot be part of a branch");
        return;
    }
    if (conn->state == CONN_CHECKING)
        check_result(conn, expect, *result);
    else if (conn->cleaning || !conn->job)
        conn->doomed |= status == PGRES_FATAL_ERROR && expect->kind != EXPECT_DROP;
    else if (conn->job->op.kind == AS_PG_PREPARE || conn->job->op.kind == AS_PG_READ ||
             conn->job->op.kind == AS_PG_READ_COMMIT || conn->job->op.kind == AS_PG_READ_ABORT)
        branch_result(conn, expect, *result);
    else
        finish_result(conn, expect, result);
    conn->failed |= status == PGRES_FATAL_ERROR;
}

/* The next command is now the one to be answered. */
static void advance(struct conn *conn)
{
    conn->head++;
    conn->answered = false;
    conn->nulls = 0;
    /* Row by row, so that a huge result never stands in memory (rows.c). */
    if (conn->head < conn->count && conn->expects[conn->head].kind == EXPECT_STATEMENT)
        (void)PQsetSingleRowMode(conn->pq);
}

static void synced(struct conn *conn, bool ends_job)
{
    conn->failed = false;
    if (!ends_job)
        return; /* that of DEALLOCATE, ahead of the branch */
    if (conn->state == CONN_CHECKING)
        check_synced(conn);
    else
        job_synced(conn);
}

static void read_pipeline(struct conn *conn)
{
    while (!conn->closed && conn->head < conn->count && !PQisBusy(conn->pq)) {
        PGresult *result = PQgetResult(conn->pq);

        if (!result) {
            if (conn->answered)
                advance(conn);
            else if (++conn->nulls > 4)
                conn_drop(conn, "libpq and the agent are out of step");
            continue;
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            bool ends_job = conn->expects[conn->head].index;

            PQclear(result);
            if (conn->expects[conn->head].kind != EXPECT_SYNC) {
                conn_drop(conn, "libpq and the agent are out of step");
                continue;
            }
            advance(conn);
            synced(conn, ends_job);
            continue;
        }
        conn->answered = true;
        take_result(conn, &result);
        PQclear(result);
    }
}

static void read_preflight(struct conn *conn)
{
    while (!conn->closed && !PQisBusy(conn->pq)) {
        PGresult *result = PQgetResult(conn->pq);

        if (!result) {
            preflight_step_done(conn);
            return;
        }
        preflight_result(conn, result);
        PQclear(result);
    }
}

static void read_input(struct conn *conn)
{
    bool lost = !PQconsumeInput(conn->pq);

    /* What came before the end of the connection still counts. */
    if (conn->state == CONN_PREFLIGHT)
        read_preflight(conn);
    else
        read_pipeline(conn);
    if (conn->closed)
        return;
    if (!lost && conn->head == conn->count && conn->state != CONN_PREFLIGHT)
        (void)PQisBusy(conn->pq); /* parses what an idle server says */
    if (lost || PQstatus(conn->pq) == CONNECTION_BAD)
        conn_drop(conn, PQerrorMessage(conn->pq)[0] ? PQerrorMessage(conn->pq)
                                                    : "the server closed the connection");
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poller *poller = OWNER_OF(handle, struct poller, handle);
    struct conn *conn = poller->conn;
    struct pg *pg = poller->pg;

    if (!conn)
        return;
    pg_enter(pg);
    if (status < 0)
        poller->events = 0; /* libuv has stopped it; libpq will say why */
    if (conn->state == CONN_CONNECTING) {
        connect_step(conn);
    } else {
        if (status < 0 || (events & UV_READABLE))
            read_input(conn);
        if (!conn->closed && (status < 0 || (events & UV_WRITABLE)))
            conn_watch(conn);
    }
    pg_leave(pg);
}
