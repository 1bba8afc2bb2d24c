/*
 * One participant: its pool of connections, the operations that wait for one, and whether it is up.
 *
 * Down -> preflight (one connection checks the server) -> warming (the first of the pool is coming)
 * -> up. The last usable connection lost, or a connection that finds another identity, leads back
 * to preflight; a preflight that fails leads to down, and with jitter to the next try.
 *
 * Fault model: the server is gone, restarts, is replaced by a standby, has no connection left for
 * us.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "participant/postgres/inside.h"

/* --- connection parameters --- */

/* What every session starts with, and so what RESET ALL goes back to (sql.c). Plain BEGIN relies on
 * the first three. */
#define OPTIONS                                                                               \
    "-c default_transaction_isolation=read\\ committed -c default_transaction_read_only=off " \
    "-c default_transaction_deferrable=off"

/*
 * A server process that waits for a lock does not notice by itself that its agent was killed: it goes on when it has
 * the lock, and prepares what nobody waits for any more (R6), which holds the lock until the scan has found it. The
 * operator's own options may say otherwise.
 */
#define NOTICE_OPTION "-c client_connection_check_interval=500ms "

static const char *const defaults[][2] = {
    {"connect_timeout", "5"},     {"keepalives", "1"},       {"keepalives_idle", "10"},
    {"keepalives_interval", "5"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "20000"},
};
static const char *const ours[][2] = {
    {"fallback_application_name", "assent-agent"},
    {"client_encoding", "UTF8"},
};

static char *copy_text(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = as_alloc(len);

    if (copy)
        memcpy(copy, text, len);
    return copy;
}

static as_err add_param(struct part *part, size_t *count, const char *keyword, const char *value)
{
    part->keywords[*count] = copy_text(keyword);
    part->values[*count] = copy_text(value);
    if (!part->keywords[*count] || !part->values[*count])
        return AS_ERR_NOMEM;
    (*count)++;
    return AS_OK;
}

/* Writes the `options` parameter: the operator's own, then those of ours that win. */
static as_err set_options(struct part *part)
{
    char **value = &part->values[part->options_at];
    size_t size = strlen(part->options) + sizeof NOTICE_OPTION + sizeof OPTIONS + 64;
    char *text = as_alloc(size);

    if (!text)
        return AS_ERR_NOMEM;
    snprintf(text, size, "%s%s " OPTIONS "%s%s", part->notices ? NOTICE_OPTION : "", part->options,
             part->sync_value[0] ? " -c synchronous_commit=" : "", part->sync_value);
    as_free(*value);
    *value = text;
    return AS_OK;
}

/* libpq takes the last of two equal keywords: our defaults, the operator's dsn, what we insist on.
 */
static as_err make_params(struct part *part, const PQconninfoOption *dsn)
{
    size_t count = 0, max = AS_COUNT_OF(defaults) + AS_COUNT_OF(ours) + 2;
    as_err err = AS_OK;

    for (const PQconninfoOption *option = dsn; option->keyword; option++)
        max += option->val != NULL;
    part->keywords = as_alloc_zero(max, sizeof *part->keywords);
    part->values = as_alloc_zero(max, sizeof *part->values);
    if (!part->keywords || !part->values)
        return AS_ERR_NOMEM;
    for (size_t i = 0; i < AS_COUNT_OF(defaults) && !err; i++)
        err = add_param(part, &count, defaults[i][0], defaults[i][1]);
    for (; dsn->keyword && !err; dsn++) {
        if (!dsn->val)
            continue;
        if (strcmp(dsn->keyword, "options") == 0 && !(part->options = copy_text(dsn->val)))
            err = AS_ERR_NOMEM;
        else if (strcmp(dsn->keyword, "options") != 0)
            err = add_param(part, &count, dsn->keyword, dsn->val);
    }
    for (size_t i = 0; i < AS_COUNT_OF(ours) && !err; i++)
        err = add_param(part, &count, ours[i][0], ours[i][1]);
    if (!err && !part->options && !(part->options = copy_text("")))
        err = AS_ERR_NOMEM;
    part->options_at = count;
    if (!err)
        err = add_param(part, &count, "options", "");
    return err ? err : set_options(part);
}

/* libpq repeats what it does not understand: `password=a b` is told as missing "=" after "b". What
 * stands from the first quote to the last one is left out; the harmless "=" is kept. */
static void mask_quoted(char *text)
{
    char *first = strchr(text, '"'), *last = strrchr(text, '"'), *rest;

    if (first && strncmp(first, "\"=\"", 3) == 0)
        first = strchr(first + 3, '"');
    if (!first)
        return;
    rest = last > first ? last + 1 : first + strlen(first);
    memmove(first + 3, rest, strlen(rest) + 1);
    memcpy(first, "...", 3);
}

as_err pg_dsn_check(const char *dsn, char ret_error[256])
{
    char *error = NULL, text[2048];
    PQconninfoOption *options = PQconninfoParse(dsn, &error);

    if (options) {
        PQconninfoFree(options);
        return AS_OK;
    }
    if (!error || strlen(error) >= sizeof(text) - 3) /* three for the mask */
        snprintf(text, sizeof(text), "libpq does not understand it");
    else
        snprintf(text, sizeof(text), "%s", error);
    if (strstr(dsn, "password") || strstr(dsn, "://"))
        mask_quoted(text); /* all of it, before it is cut */
    text[strcspn(text, "\n")] = '\0';
    snprintf(ret_error, 256, "%.255s", text);
    PQfreemem(error);
    return AS_ERR_INVALID;
}

/* --- life --- */

static void on_part_timer(struct alarm *alarm);

as_err part_init(struct part *part, struct pg *pg, uint32_t index,
                 const struct pg_participant_config *config)
{
    PQconninfoOption *dsn;
    char why[256];
    as_err err;

    part->pg = pg;
    part->index = index;
    part->config = *config;
    part->timer.ring = on_part_timer;
    for (int i = 0; i < QUEUE_COUNT; i++)
        link_init(&part->queue[i]);
    link_init(&part->idle[0]);
    link_init(&part->idle[1]);
    link_init(&part->sharing[0]);
    link_init(&part->sharing[1]);
    if (part->config.connections == 0)
        part->config.connections = CONNECTIONS_DEFAULT;
    if (part->config.connections > CONNECTIONS_MAX)
        part->config.connections = CONNECTIONS_MAX;
    /* one more for the preflight */
    part->slots = part->config.connections + CONNECTIONS_RESERVED + 1;
    part->conns = as_alloc_zero(part->slots, sizeof(struct conn *));
    if (!part->conns)
        return AS_ERR_NOMEM;
    if (config->null)
        return AS_OK;
    if (pg_dsn_check(config->dsn, why)) {
        snprintf(part->error, sizeof part->error, "dsn: %s", why);
        return AS_OK;
    }
    dsn = PQconninfoParse(config->dsn, NULL);
    if (!dsn)
        return AS_ERR_NOMEM;
    err = make_params(part, dsn);
    PQconninfoFree(dsn);
    return err;
}

void part_close(struct part *part)
{
    for (size_t i = 0; part->keywords && part->keywords[i]; i++)
        as_free((void *)(uintptr_t)part->keywords[i]);
    for (size_t i = 0; part->values && part->values[i]; i++)
        as_free(part->values[i]);
    as_free(part->keywords);
    as_free(part->values);
    as_free(part->options);
    as_free(part->conns);
}

void part_tell_up(struct part *part)
{
    part->tell_up = true;
    part->pg->telling = true;
    pg_wake(part->pg);
}

static void tell_down(struct part *part, const char *why)
{
    snprintf(part->why, sizeof part->why, "%s", why);
    part->tell_up = false;
    part->tell_down = true;
    part->pg->telling = true;
    pg_wake(part->pg);
}

static void fail_waiting(struct part *part, const char *why)
{
    for (int i = 0; i < QUEUE_COUNT; i++) {
        while (!link_empty(&part->queue[i])) {
            struct job *job = OWNER_OF(part->queue[i].next, struct job, link);

            part->waiting[i]--;
            job_fail(job, AS_PG_UNAVAILABLE, AS_REASON_PARTICIPANT_UNAVAILABLE, why);
            job_end(job);
        }
    }
}

static void close_all(struct part *part, const char *why)
{
    for (uint32_t i = 0; i < part->slots; i++)
        if (part->conns[i])
            conn_drop(part->conns[i], why);
}

/* Half to one and a half of the backoff, which doubles. */
static as_time next_backoff(struct part *part)
{
    as_time wait = part->backoff ? part->backoff : BACKOFF_MIN;

    part->backoff = wait * 2 > BACKOFF_MAX ? BACKOFF_MAX : wait * 2;
    return wait / 2 + (as_time)as_rng_below(&part->pg->rng, (uint64_t)wait);
}

void part_down(struct part *part, const char *why)
{
    char text[AS_REASON_LEN_MAX + 1]; /* `why` may lie in a connection that is closed here */

    snprintf(text, sizeof text, "%s", why);
    part->state = PART_DOWN;
    close_all(part, text);
    tell_down(part, text);
    fail_waiting(part, text);
    if (!part->pg->closing)
        pg_alarm_set(part->pg, &part->timer, pg_now(part->pg) + next_backoff(part));
}

void part_begin(struct part *part)
{
    if (part->config.null) {
        part->facts = (struct as_pg_up){
            .participant = part->index,
            .identity = part->pg->null_identity,
            .counter = 1,
            .system_id = 1,
            .timeline = 1,
            .server_version = 150000,
            .prepared_max = 1000000,
            .connections = (uint16_t)part->config.connections,
            .detail = "no database: everything succeeds",
        };
        part->state = PART_UP;
        part_tell_up(part);
        return;
    }
    if (part->error[0]) {
        part->state = PART_DOWN;
        tell_down(part, part->error);
        return;
    }
    part_restart(part);
}

void part_restart(struct part *part)
{
    part->state = PART_PREFLIGHT;
    pg_alarm_set(part->pg, &part->timer, AS_NEVER);
    close_all(part, "the database is being checked anew");
    if (!conn_begin(part, true, false))
        part_down(part, "cannot open a connection: out of memory");
}

void part_stop(struct part *part, const char *why)
{
    part->state = PART_DOWN;
    pg_alarm_set(part->pg, &part->timer, AS_NEVER);
    for (uint32_t i = 0; i < part->slots; i++)
        if (part->conns[i] && part->conns[i]->state == CONN_BUSY)
            conn_cancel(part->conns[i]);
    close_all(part, why);
    fail_waiting(part, why);
    snprintf(part->why, sizeof part->why, "%s", why);
}

/* --- the pool --- */

/* Opens what is missing: the reserved ones, the warm ones, and one for each operation that waits.
 */
static void grow(struct part *part)
{
    uint32_t wanted = part->work_count;
    uint32_t most = part->config.connections;
    as_time now = pg_now(part->pg);

    if (part->state != PART_UP && part->state != PART_WARMING)
        return;
    if (part->waiting[QUEUE_WORK] > part->opening[0])
        wanted += part->waiting[QUEUE_WORK] - part->opening[0];
    if (wanted < CONNECTIONS_WARM)
        wanted = CONNECTIONS_WARM;
    if (wanted > most)
        wanted = most;
    if (part->work_count >= wanted && part->reserved_count >= CONNECTIONS_RESERVED)
        return;
    /* One failed a moment ago: not in a storm. The timer comes back here. */
    if (now < part->grow_after) {
        pg_alarm_set(part->pg, &part->timer, part->grow_after);
        return;
    }
    while (part->work_count < wanted && part->state != PART_DOWN)
        if (!conn_begin(part, false, false))
            return;
    while (part->reserved_count < CONNECTIONS_RESERVED && part->state != PART_DOWN)
        if (!conn_begin(part, false, true))
            return;
}

static void on_part_timer(struct alarm *alarm)
{
    struct part *part = OWNER_OF(alarm, struct part, timer);

    if (part->state == PART_DOWN)
        part_restart(part);
    else
        grow(part);
}

struct conn *part_conn_of(const struct part *part, uint64_t number)
{
    uint64_t slot = number % CONN_SLOTS;
    struct conn *conn = slot < part->slots ? part->conns[slot] : NULL;

    return conn && conn->number == number ? conn : NULL;
}

static struct conn *first_of(struct link *list)
{
    return link_empty(list) ? NULL : OWNER_OF(list->next, struct conn, link);
}

void conn_offer(struct conn *conn)
{
    link_remove(&conn->link);
    if (conn->state == CONN_BUSY && conn->shares && !conn->cancelling && conn->depth < DEPTH_MAX)
        link_append(&conn->part->sharing[conn->reserved], &conn->link);
}

/*
 * The connection that prepared the branch is the best one: its backend has all in its caches. When
 * all are busy, and there may be no more of them, then one that is at a decision, which is over
 * soon: its backend finds the next operation waiting and need not sleep between.
 */
static struct conn *pick(struct part *part, const struct job *job, enum part_queue queue)
{
    bool full = part->work_count >= part->config.connections && part->opening[0] == 0;
    struct conn *conn = NULL;

    if (queue == QUEUE_WORK) {
        conn = first_of(&part->idle[false]);
        return conn || !full ? conn : first_of(&part->sharing[false]);
    }
    if (job->op.connection)
        conn = part_conn_of(part, job->op.connection);
    if (conn && conn->state == CONN_IDLE)
        return conn;
    for (int i = 0; i < 2; i++)
        if ((conn = first_of(&part->idle[i])))
            return conn;
    conn = first_of(&part->sharing[true]);
    return conn || !full ? conn : first_of(&part->sharing[false]);
}

/* R7: a gid may bear another transaction once the connection that prepared it is gone. */
static bool stale(const struct part *part, const struct job *job)
{
    return job->op.connection && !part_conn_of(part, job->op.connection);
}

void part_pump(struct part *part)
{
    for (int queue = 0; queue < QUEUE_COUNT; queue++) {
        while (!link_empty(&part->queue[queue])) {
            struct job *job = OWNER_OF(part->queue[queue].next, struct job, link);
            struct conn *conn;

            if (queue == QUEUE_FINISH && stale(part, job)) {
                part->waiting[queue]--;
                job_fail(job, AS_PG_STALE, AS_REASON_PARTICIPANT_UNAVAILABLE,
                         "the connection that prepared it is closed");
                job_end(job);
                continue;
            }
            conn = pick(part, job, (enum part_queue)queue);
            if (!conn)
                break;
            part->waiting[queue]--;
            link_remove(&job->link);
            run_job(conn, job);
        }
    }
    if (!link_empty(&part->queue[QUEUE_WORK]))
        grow(part);
}

/* Old markers go only after the agent has served for an hour: by then every branch that could still
 * need its marker as the proof of an outcome (R7) has been told its outcome. */
static void unmark(struct part *part)
{
    struct as_pg_op op = {.participant = part->index, .kind = AS_PG_SCAN};
    struct conn *conn;
    struct job *job;

    if (part->config.proof != AS_PROOF_MARKER || pg_now(part->pg) < part->marker_next)
        return;
    conn = first_of(&part->idle[true]);
    if (!conn)
        return;
    part->marker_next = pg_now(part->pg) + MARKER_EVERY;
    job = job_new(part->pg, &op);
    job->internal = true;
    run_job(conn, job);
}

void part_conn_ready(struct conn *conn)
{
    struct part *part = conn->part;

    part->opening[conn->reserved]--;
    part->usable++;
    part->backoff = 0;
    if (part->state == PART_WARMING) {
        part->state = PART_UP;
        part->marker_next = pg_now(part->pg) + MARKER_EVERY;
        part_tell_up(part);
    }
}

/* `conn` is on its way out and counted no more. */
void part_conn_gone(struct conn *conn, bool was_usable, const char *why)
{
    struct part *part = conn->part;

    if (conn->preflight) {
        if (part->state == PART_PREFLIGHT)
            part_down(part, why);
        return;
    }
    if (conn->reserved)
        part->reserved_count--;
    else
        part->work_count--;
    if (was_usable)
        part->usable--;
    else
        part->opening[conn->reserved]--;
    if (part->pg->closing)
        return;
    if (part->state == PART_WARMING) {
        part_down(part, why);
    } else if (part->state == PART_UP) {
        if (!was_usable)
            part->grow_after = pg_now(part->pg) + next_backoff(part);
        if (part->usable == 0)
            part_restart(part);
        else
            grow(part);
    }
}

void part_preflight_done(struct part *part)
{
    if (part->state != PART_PREFLIGHT)
        return;
    part->facts.detail = part->detail;
    part->facts.participant = part->index;
    part->facts.connections = (uint16_t)part->config.connections;
    part->facts.proof = part->config.proof;
    part->state = PART_WARMING;
    part->grow_after = 0;
    if (set_options(part)) {
        part_down(part, "out of memory");
        return;
    }
    grow(part);
    if (part->state == PART_WARMING && part->work_count == 0)
        part_down(part, "cannot open a connection: out of memory");
}

/* The end of a turn of a connection: it is idle again. */
void conn_idle(struct conn *conn)
{
    conn->state = CONN_IDLE;
    conn->job = NULL;
    link_remove(&conn->link);
    link_push(&conn->part->idle[conn->reserved], &conn->link);
    part_pump(conn->part);
    unmark(conn->part);
}
