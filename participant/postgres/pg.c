/*
 * The door of the room: operations come in, their ends go out. An end is noted in pg->ended and
 * delivered when the loop is not inside a pg_* call.
 *
 * Fault model: a caller may start an operation whatever state the database is in. Out of memory for
 * bookkeeping ends the process: its branches wait, prepared, for the next agent (R6).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "participant/postgres/inside.h"

void pg_out_of_memory(void)
{
    fputs("assent-agent: out of memory\n", stderr);
    _exit(1);
}

as_time pg_now(const struct pg *pg)
{
    return (as_time)uv_now(pg->loop) * AS_MS;
}

/* --- alarms --- */

static void on_timer(uv_timer_t *timer);

static void timer_arm(struct pg *pg)
{
    as_time at = as_heap_deadline(&pg->alarms);
    as_time now = pg_now(pg);

    if (pg->closing || at >= pg->armed)
        return;
    pg->armed = at;
    uv_timer_start(&pg->timer, on_timer, at <= now ? 0 : (uint64_t)((at - now + AS_MS - 1) / AS_MS),
                   0);
}

static void on_timer(uv_timer_t *timer)
{
    struct pg *pg = timer->data;
    struct as_heap_node *node;
    as_time now = pg_now(pg);

    pg_enter(pg);
    pg->armed = AS_NEVER;
    while ((node = as_heap_first(&pg->alarms)) && node->at <= now) {
        struct alarm *alarm = OWNER_OF(node, struct alarm, node);

        as_heap_remove(&pg->alarms, node);
        alarm->ring(alarm);
    }
    timer_arm(pg);
    pg_leave(pg);
}

void pg_alarm_set(struct pg *pg, struct alarm *alarm, as_time at)
{
    if (at == AS_NEVER) {
        as_heap_remove(&pg->alarms, &alarm->node);
        return;
    }
    if (as_heap_set(&pg->alarms, &alarm->node, at))
        pg_out_of_memory();
    timer_arm(pg);
}

/* --- jobs --- */

static bool job_matches(const void *owner, uint32_t handle, const void *key)
{
    const struct pg *pg = owner;

    return pg->jobs[handle]->op.id == *(const uint64_t *)key;
}

struct job *job_of(struct pg *pg, uint64_t op_id)
{
    uint32_t handle = as_map_find(&pg->by_id, op_id, &op_id, job_matches, pg);

    return handle == AS_MAP_NONE ? NULL : pg->jobs[handle];
}

static void on_job_timer(struct alarm *alarm);

static struct job *job_take(struct pg *pg)
{
    struct job *job;

    if (!link_empty(&pg->free_jobs)) {
        job = OWNER_OF(pg->free_jobs.next, struct job, link);
        link_remove(&job->link);
        return job;
    }
    if (pg->job_count == pg->job_cap) {
        uint32_t cap = pg->job_cap ? pg->job_cap * 2 : 64;
        struct job **jobs = as_resize(pg->jobs, cap * sizeof(struct job *));

        if (!jobs)
            pg_out_of_memory();
        pg->jobs = jobs;
        pg->job_cap = cap;
    }
    job = as_alloc_zero(1, sizeof *job);
    if (!job)
        pg_out_of_memory();
    job->handle = pg->job_count;
    pg->jobs[pg->job_count++] = job;
    link_init(&job->link);
    as_buf_init(&job->results, AS_RESULT_BYTES_MAX);
    job->timer.ring = on_job_timer;
    job->pg = pg;
    return job;
}

/* Field by field: gid and message are large, and only their first bytes matter. */
static void job_reset(struct job *job, const struct as_pg_op *op)
{
    job->op.id = op->id;
    job->op.participant = op->participant;
    job->op.kind = op->kind;
    memcpy(job->op.gid, op->gid, strnlen(op->gid, AS_GID_LEN_MAX) + 1);
    job->op.gid[AS_GID_LEN_MAX] = '\0';
    job->op.work = op->work;
    job->op.xid = op->xid;
    job->op.connection = op->connection;
    job->op.target = op->target;
    job->op.counter = op->counter;
    job->op.timeout_ms = op->timeout_ms;
    job->part = &job->pg->parts[op->participant];
    job->conn = NULL;
    job->mapped = job->internal = job->failed = job->cancelled = false;
    job->too_large = job->prepared = job->listed = job->marker = job->asked_again = false;
    job->cancel_code = AS_REASON_NONE;
    job->status = AS_PG_OK;
    job->xid = job->connection = 0;
    as_buf_clear(&job->results);
    job->code = AS_REASON_NONE;
    job->statement = -1;
    job->sqlstate[0] = job->message[0] = '\0';
    job->listed_xid32 = 0;
    job->xact = AS_PG_XACT_NONE;
    memset(&job->identity, 0, sizeof job->identity);
    job->rows = NULL;
    job->row_count = job->foreign = job->slots_used = job->slots_ours = 0;
    job->xmin_age = job->foreign_xmin_age = 0;
    job->foreign_oldest_age_ms = 0;
    job->rows_of = NULL;
}

struct job *job_new(struct pg *pg, const struct as_pg_op *op)
{
    struct job *job = job_take(pg);

    job_reset(job, op);
    job->state = JOB_WAITING;
    return job;
}

void job_drop(struct job *job)
{
    struct pg *pg = job->pg;

    link_remove(&job->link);
    pg_alarm_set(pg, &job->timer, AS_NEVER);
    if (job->mapped)
        (void)as_map_remove(&pg->by_id, job->op.id, job->handle);
    job->mapped = false;
    as_free(job->rows);
    job->rows = NULL;
    PQclear(job->rows_of);
    job->rows_of = NULL;
    if (job->results.cap > RESULTS_KEPT)
        as_buf_close(&job->results), as_buf_init(&job->results, AS_RESULT_BYTES_MAX);
    job->conn = NULL;
    job->state = JOB_FREE;
    link_push(&pg->free_jobs, &job->link);
}

void job_fail(struct job *job, enum as_pg_status status, enum as_reason_code code,
              const char *message)
{
    struct as_reason reason;

    if (job->failed)
        return;
    job->failed = true;
    job->status = status;
    job->code = code;
    as_reason_set(&reason, code, message);
    memcpy(job->message, reason.message, sizeof job->message);
}

void job_end(struct job *job)
{
    AS_ASSERT(job->state != JOB_ENDED && job->state != JOB_FREE);
    if (job->internal) {
        job_drop(job);
        return;
    }
    pg_alarm_set(job->pg, &job->timer, AS_NEVER);
    link_remove(&job->link);
    job->state = JOB_ENDED;
    link_append(&job->pg->ended, &job->link);
    pg_wake(job->pg);
}

/* The time allowed ran out. */
static void on_job_timer(struct alarm *alarm)
{
    struct job *job = OWNER_OF(alarm, struct job, timer);
    char text[80];

    job->cancelled = true;
    if (job->state == JOB_WAITING) {
        snprintf(text, sizeof text, "timed out after %u ms, waiting for a connection",
                 job->op.timeout_ms);
        job->part->waiting[QUEUE_WORK]--;
        job_fail(job, AS_PG_CANCELLED, AS_REASON_TIMEOUT, text);
        job_end(job);
    } else if (job->state == JOB_RUNNING) {
        job->cancel_code = AS_REASON_TIMEOUT;
        job_cancel(job);
    }
}

/* --- delivery --- */

static void deliver_job(struct pg *pg, struct job *job)
{
    struct as_pg_done done = {
        .id = job->op.id,
        .participant = job->op.participant,
        .kind = job->op.kind,
        .status = job->status,
        .prepared = job->prepared,
        .xid = job->xid,
        .connection = job->connection,
        .results = job->failed ? (struct as_bytes){0} : as_buf_bytes(&job->results),
        .code = job->code,
        .statement = job->statement,
        .message = job->message,
        .listed = job->listed,
        .listed_xid32 = job->listed_xid32,
        .xact = job->xact,
        .marker = job->marker,
        .identity = job->identity,
        .rows = job->rows,
        .row_count = job->row_count,
        .foreign = job->foreign,
        .slots_used = job->slots_used,
        .slots_ours = job->slots_ours,
        .xmin_age = job->xmin_age,
        .foreign_xmin_age = job->foreign_xmin_age,
        .foreign_oldest_age_ms = job->foreign_oldest_age_ms,
    };

    memcpy(done.sqlstate, job->sqlstate, sizeof done.sqlstate);
    link_remove(&job->link);
    /* An open READ keeps its record: READ_COMMIT and READ_ABORT name it. */
    if (job->op.kind == AS_PG_READ && job->conn) {
        job->state = JOB_OPEN;
        pg->callbacks.done(pg->callbacks.ctx, &done);
        return;
    }
    /* The operation is over before its end is told: the agent may use its id no more. */
    if (job->mapped)
        (void)as_map_remove(&pg->by_id, job->op.id, job->handle);
    job->mapped = false;
    pg->callbacks.done(pg->callbacks.ctx, &done);
    job_drop(job);
}

static void deliver_parts(struct pg *pg)
{
    if (!pg->telling)
        return;
    pg->telling = false;
    for (uint32_t i = 0; i < pg->part_count; i++) {
        struct part *part = &pg->parts[i];

        if (part->tell_down) {
            part->tell_down = false;
            pg->callbacks.down(pg->callbacks.ctx, i, part->why);
        }
        if (part->tell_up) {
            part->tell_up = false;
            pg->callbacks.up(pg->callbacks.ctx, &part->facts);
        }
    }
}

/* Takes what is there now; what the callbacks end meanwhile comes with the next turn, so that
 * participants that answer at once cannot keep the loop from its sockets. */
static void deliver(struct pg *pg)
{
    struct link batch;

    deliver_parts(pg);
    if (link_empty(&pg->ended))
        return;
    batch = pg->ended;
    batch.next->prev = batch.prev->next = &batch;
    link_init(&pg->ended);
    while (!link_empty(&batch))
        deliver_job(pg, OWNER_OF(batch.next, struct job, link));
}

static bool something_ended(const struct pg *pg)
{
    return pg->telling || !link_empty(&pg->ended);
}

static void on_idle(uv_idle_t *idle)
{
    struct pg *pg = idle->data;

    pg->idling = false;
    uv_idle_stop(&pg->idle);
    pg_enter(pg);
    pg_leave(pg);
}

void pg_wake(struct pg *pg)
{
    if (pg->in_loop || pg->idling || pg->closed)
        return;
    pg->idling = true;
    uv_idle_start(&pg->idle, on_idle);
}

void pg_enter(struct pg *pg)
{
    pg->in_loop = true;
}

static void close_handles(struct pg *pg);

void pg_leave(struct pg *pg)
{
    deliver(pg);
    conn_free_dead(pg);
    pg->in_loop = false;
    if (something_ended(pg))
        pg_wake(pg);
    else if (pg->closing && !pg->closed)
        close_handles(pg);
}

/* --- starting --- */

static enum part_queue queue_of(enum as_pg_kind kind)
{
    return kind == AS_PG_PREPARE || kind == AS_PG_READ ? QUEUE_WORK : QUEUE_FINISH;
}

/* READ_COMMIT and READ_ABORT go to the connection where their transaction is open. */
static void start_read_end(struct pg *pg, struct job *job)
{
    struct job *read = job_of(pg, job->op.target);
    struct conn *conn = read ? read->conn : NULL;

    if (!conn || conn->state != CONN_OPEN || read->op.kind != AS_PG_READ) {
        if (job->op.kind == AS_PG_READ_COMMIT)
            job_fail(job, AS_PG_LOST, AS_REASON_PARTICIPANT_UNAVAILABLE,
                     "the connection with the open transaction is gone");
        job->state = JOB_RUNNING;
        job_end(job);
        return;
    }
    read->conn = NULL;
    conn->job = NULL;
    if (read->state == JOB_OPEN)
        job_drop(read);
    run_job(conn, job);
}

void pg_start(struct pg *pg, const struct as_pg_op *op)
{
    struct job *job;
    struct part *part;

    AS_ASSERT(op->participant < pg->part_count);
    part = &pg->parts[op->participant];
    job = job_new(pg, op);
    if (part->config.null) {
        null_start(pg, job);
        return;
    }
    if (as_map_insert(&pg->by_id, op->id, job->handle))
        pg_out_of_memory();
    job->mapped = true;
    if (op->kind == AS_PG_READ_COMMIT || op->kind == AS_PG_READ_ABORT) {
        start_read_end(pg, job);
        return;
    }
    if (part->state == PART_DOWN || pg->closing) {
        job_fail(job, AS_PG_UNAVAILABLE, AS_REASON_PARTICIPANT_UNAVAILABLE, part->why);
        job_end(job);
        return;
    }
    if (part->waiting[QUEUE_WORK] + part->waiting[QUEUE_FINISH] >= WAITING_MAX) {
        job_fail(job, AS_PG_UNAVAILABLE, AS_REASON_OVERLOADED,
                 "too many operations wait for a connection to the database");
        job_end(job);
        return;
    }
    if (op->timeout_ms && queue_of(op->kind) == QUEUE_WORK)
        pg_alarm_set(pg, &job->timer, pg_now(pg) + op->timeout_ms * AS_MS);
    link_append(&part->queue[queue_of(op->kind)], &job->link);
    part->waiting[queue_of(op->kind)]++;
    part_pump(part);
}

void pg_cancel(struct pg *pg, uint32_t participant, uint64_t op_id)
{
    struct job *job = job_of(pg, op_id);

    if (!job || job->op.participant != participant)
        return;
    if (job->state == JOB_WAITING) {
        job->part->waiting[queue_of(job->op.kind)]--;
        job->cancelled = true;
        job_fail(job, AS_PG_CANCELLED, AS_REASON_CLIENT_ABORT, "cancelled before it was sent");
        job_end(job);
    } else if (job->state == JOB_RUNNING && !job->cancelled) {
        job->cancelled = true;
        job->cancel_code = AS_REASON_CLIENT_ABORT;
        job_cancel(job);
    }
}

/* A pipeline is sent when it is complete, by PQpipelineSync: the backend works while the turn goes
 * on. What the socket did not take then is sent when it is writable. So there is nothing left for
 * the end of the turn. */
void pg_flush(struct pg *pg)
{
    (void)pg;
}

/* --- life --- */

static as_err init_parts(struct pg *pg, const struct pg_config *config)
{
    pg->parts =
        as_alloc_zero(config->participant_count ? config->participant_count : 1, sizeof *pg->parts);
    if (!pg->parts)
        return AS_ERR_NOMEM;
    for (uint32_t i = 0; i < config->participant_count; i++) {
        as_err err = part_init(&pg->parts[i], pg, i, &config->participants[i]);

        pg->part_count = i + 1;
        if (err)
            return err;
    }
    return AS_OK;
}

as_err pg_new(struct pg **ret_pg, const struct pg_config *config, uv_loop_t *loop,
              const struct pg_callbacks *callbacks)
{
    struct pg *pg = as_alloc_zero(1, sizeof *pg);
    as_err err;

    if (!pg)
        return AS_ERR_NOMEM;
    pg->loop = loop;
    pg->callbacks = *callbacks;
    pg->armed = AS_NEVER;
    link_init(&pg->free_jobs);
    link_init(&pg->ended);
    link_init(&pg->dead);
    as_heap_init(&pg->alarms);
    as_map_init(&pg->by_id);
    as_buf_init(&pg->null_results, AS_RESULT_BYTES_MAX);
    snprintf(pg->prefix, sizeof pg->prefix, "assent/%s/", config->cluster);
    if (uv_random(NULL, NULL, &pg->rng.state, sizeof pg->rng.state, 0, NULL) ||
        uv_random(NULL, NULL, &pg->null_identity, sizeof pg->null_identity, 0, NULL))
        err = AS_ERR_IO;
    else
        err = init_parts(pg, config);
    if (err) {
        pg_free(pg);
        return err;
    }
    uv_timer_init(loop, &pg->timer);
    uv_idle_init(loop, &pg->idle);
    pg->timer.data = pg->idle.data = pg;
    pg->handles = 2;
    for (uint32_t i = 0; i < pg->part_count; i++)
        part_begin(&pg->parts[i]);
    *ret_pg = pg;
    return AS_OK;
}

void pg_handle_gone(struct pg *pg)
{
    AS_ASSERT(pg->handles > 0);
    if (--pg->handles == 0 && pg->on_closed)
        pg->on_closed(pg->on_closed_ctx);
}

static void on_handle_closed(uv_handle_t *handle)
{
    pg_handle_gone(handle->data);
}

static void close_handles(struct pg *pg)
{
    pg->closed = true;
    uv_close((uv_handle_t *)&pg->timer, on_handle_closed);
    uv_close((uv_handle_t *)&pg->idle, on_handle_closed);
}

/* Ends everything; the ends are told in the next turn, then the handles go, then `closed` is
 * called. */
void pg_close(struct pg *pg, void (*closed)(void *ctx), void *ctx)
{
    if (pg->closing)
        return;
    pg->on_closed = closed;
    pg->on_closed_ctx = ctx;
    pg->closing = true;
    for (uint32_t i = 0; i < pg->part_count; i++)
        part_stop(&pg->parts[i], "the agent is closing");
    pg_wake(pg);
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    AS_ASSERT(pg->handles == 0);
    conn_free_dead(pg);
    for (uint32_t i = 0; i < pg->part_count; i++)
        part_close(&pg->parts[i]);
    for (uint32_t i = 0; i < pg->job_count; i++) {
        PQclear(pg->jobs[i]->rows_of);
        as_free(pg->jobs[i]->rows);
        as_buf_close(&pg->jobs[i]->results);
        as_free(pg->jobs[i]);
    }
    as_free(pg->jobs);
    as_free(pg->parts);
    as_free(pg->params);
    as_buf_close(&pg->null_results);
    as_map_close(&pg->by_id);
    as_heap_close(&pg->alarms);
    as_free(pg);
}
