/*
 * A branch as one pipeline, which is one round trip:
 *
 *   PREPARE      BEGIN, its statements, what seals it (sql.c), PREPARE TRANSACTION gid, Sync
 *   READ         BEGIN ... READ ONLY, a snapshot, its statements, Sync: the transaction stays open
 * (R10) READ_COMMIT  COMMIT, what resets the session, Sync READ_ABORT   ROLLBACK, the same, Sync
 *
 * After an error the server skips the rest until Sync; then ROLLBACK and the same resets follow,
 * and only after these is the end told: the session is idle and rolled back. `expect_rows` and the
 * size of the results are looked at when all is back, and then the branch may be prepared already:
 * the agent rolls it back.
 *
 * Fault model: a statement fails, warns, blocks, returns too much, or destroys what the session
 * keeps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/work.h"
#include "participant/postgres/inside.h"

/* --- sending --- */

static as_err read_params(struct pg *pg, struct as_work_reader *work, uint32_t count)
{
    struct as_bytes param;

    if (count > pg->param_cap) {
        const char **params = as_resize(pg->params, count * sizeof *params);

        if (!params)
            return AS_ERR_NOMEM;
        pg->params = params;
        pg->param_cap = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (as_work_next_param(work, &param))
            return AS_ERR_MALFORMED;
        pg->params[i] = (const char *)param.data;
    }
    return AS_OK;
}

static as_err send_statement(struct conn *conn, struct as_work_reader *work, uint32_t index)
{
    struct as_statement statement;
    struct expect *expect;
    uint32_t entry;
    bool fresh;
    as_err err = as_work_next_statement(work, &statement);

    if (err)
        return err;
    err = read_params(conn->pg, work, statement.param_count);
    if (!err)
        err = cache_take(conn, statement.sql, &entry, &fresh);
    if (err)
        return err;
    if (fresh) {
        expect = conn_expect(conn, EXPECT_PARSE);
        if (!expect || !PQsendPrepare(conn->pq, cache_name(conn, entry),
                                      (const char *)statement.sql.data, 0, NULL))
            return AS_ERR_NOMEM;
        expect->index = index;
        expect->entry = entry;
    }
    expect = conn_expect(conn, EXPECT_STATEMENT);
    if (!expect ||
        !PQsendQueryPrepared(conn->pq, cache_name(conn, entry), (int)statement.param_count,
                             conn->pg->params, NULL, NULL, 0))
        return AS_ERR_NOMEM;
    expect->index = index;
    expect->entry = entry;
    expect->expect_rows = statement.expect_rows;
    return AS_OK;
}

/* What puts the session back as it was, and PREPARE: sql.c tells why, and why in this order. */
static bool send_seal(struct conn *conn, struct job *job)
{
    const char *gid = job->op.gid;
    char sql[AS_GID_LEN_MAX + 32];

    snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
    return conn_send_fixed(conn, FIXED_CONSTRAINTS, 0, NULL) &&
           conn_send_fixed(conn, FIXED_RESET_ALL, 0, NULL) &&
           conn_send_fixed(conn, FIXED_SEAL, 0, NULL) &&
           (conn->part->config.proof != AS_PROOF_MARKER ||
            conn_send_fixed(conn, FIXED_MARK, 1, &gid)) &&
           conn_send_fixed(conn, FIXED_SEQUENCES, 0, NULL) &&
           conn_send_text(conn, sql, EXPECT_PREPARE);
}

static bool send_begin(struct conn *conn, const struct job *job, enum as_isolation isolation)
{
    bool read_only = job->op.kind == AS_PG_READ;
    enum fixed first = read_only ? FIXED_READ_READ_COMMITTED : FIXED_BEGIN_READ_COMMITTED;

    return conn_send_fixed(conn, (enum fixed)((int)first + (int)isolation), 0, NULL) &&
           (!read_only || conn_send_fixed(conn, FIXED_SNAPSHOT, 0, NULL));
}

static bool send_branch(struct conn *conn, struct job *job)
{
    struct as_work_reader work;
    struct as_gid gid;
    as_err err;

    if (as_work_open(&work, job->op.work) ||
        (job->op.kind == AS_PG_PREPARE && as_gid_parse(job->op.gid, strlen(job->op.gid), &gid))) {
        job_fail(job, AS_PG_REFUSED, AS_REASON_STATEMENT_FAILED,
                 "the branch's work or gid is malformed");
        return conn_sync(conn, true);
    }
    as_results_put_begin(&job->results, work.statement_count);
    if (!cache_trim(conn) || !send_begin(conn, job, work.isolation))
        return false;
    for (uint32_t i = 0; i < work.statement_count; i++) {
        err = send_statement(conn, &work, i);
        if (err == AS_ERR_MALFORMED) {
            /* No PREPARE follows, so the transaction is open at Sync and is rolled back there. */
            job->statement = (int32_t)i;
            job_fail(job, AS_PG_REFUSED, AS_REASON_STATEMENT_FAILED,
                     "the statement or one of its parameters holds a zero byte or is malformed");
            return conn_sync(conn, true);
        }
        if (err)
            return false;
    }
    return (job->op.kind == AS_PG_READ || send_seal(conn, job)) && conn_sync(conn, true);
}

/* Whatever a session can be left with; the transaction has ended before. CLOSE ALL and UNLISTEN are
 * for the COMMIT of a read-only branch, the only one that lets these outlive it; it can make no
 * temporary objects (25006). */
static bool send_resets(struct conn *conn, bool committed)
{
    return conn_send_fixed(conn, FIXED_UNLOCK, 0, NULL) &&
           conn_send_fixed(conn, FIXED_RESET_ALL, 0, NULL) &&
           conn_send_fixed(conn, FIXED_SEQUENCES, 0, NULL) &&
           (!committed || (conn_send_fixed(conn, FIXED_CLOSE_ALL, 0, NULL) &&
                           conn_send_fixed(conn, FIXED_UNLISTEN, 0, NULL))) &&
           conn_sync(conn, true);
}

static bool send_rollback(struct conn *conn)
{
    conn->cleaning = true;
    return conn_send_fixed(conn, FIXED_ROLLBACK, 0, NULL) && send_resets(conn, false);
}

static bool send_job(struct conn *conn, struct job *job)
{
    switch (job->op.kind) {
    case AS_PG_PREPARE:
    case AS_PG_READ:
        return send_branch(conn, job);
    case AS_PG_READ_COMMIT:
        return conn_send_fixed(conn, FIXED_COMMIT, 0, NULL) && send_resets(conn, true);
    case AS_PG_READ_ABORT:
        return send_rollback(conn);
    default:
        return finish_send(conn, job);
    }
}

static bool is_decision(const struct job *job)
{
    return job->op.kind == AS_PG_COMMIT_PREPARED || job->op.kind == AS_PG_ROLLBACK_PREPARED;
}

/* Its results are the next to come. */
static void job_begins(struct conn *conn, struct job *job)
{
    bool branch = job->op.kind == AS_PG_PREPARE || job->op.kind == AS_PG_READ;

    conn->job = job;
    conn->warned = false;
    conn->cancel_until = 0;
    conn_limit(conn, branch ? AS_NEVER : FINISH_LIMIT); /* a branch has its own time */
    if (job->cancelled)
        conn_cancel(conn);
}

/*
 * On an idle connection, or behind a decision that it is at. Behind a branch nothing is sent: a
 * branch may wait for the very lock that the decision behind it would release.
 */
void run_job(struct conn *conn, struct job *job)
{
    bool first = conn->state != CONN_BUSY;

    conn->state = CONN_BUSY;
    conn->depth = first ? 1 : conn->depth + 1;
    conn->shares = is_decision(job);
    job->conn = conn;
    job->connection = conn->number;
    job->state = JOB_RUNNING;
    if (first) {
        conn->failed = conn->cleaning = false;
        job_begins(conn, job);
    } else {
        link_append(&conn->behind, &job->link);
    }
    conn_offer(conn);
    if (!send_job(conn, job))
        conn_drop(conn, PQerrorMessage(conn->pq)[0] ? PQerrorMessage(conn->pq) : "out of memory");
    else
        conn_watch(conn);
}

/* A request hits whatever the server is at: it is sent only for what stands alone, or last and its
 * turn has come. */
void job_cancel(struct job *job)
{
    struct conn *conn = job->conn;

    if (conn->job == job && link_empty(&conn->behind))
        conn_cancel(conn);
}

/* --- results --- */

/* The server's own refusal: what it means for the vote is the branch's to say (branch_reason). */
void job_fail_result(struct job *job, const PGresult *result, int32_t statement)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char text[80];

    if (job->failed)
        return;
    sqlstate = sqlstate ? sqlstate : "";
    job->statement = statement;
    snprintf(job->sqlstate, sizeof job->sqlstate, "%.5s", sqlstate);
    /* 57014: query_canceled. Without a request of ours it was the server's statement_timeout. */
    if (!job->cancelled || strcmp(sqlstate, "57014") != 0) {
        job_fail(job, AS_PG_REFUSED, AS_REASON_NONE, message ? message : "no message");
        return;
    }
    if (job->cancel_code == AS_REASON_TIMEOUT)
        snprintf(text, sizeof text, "timed out after %u ms", job->op.timeout_ms);
    else
        snprintf(text, sizeof text, "cancelled");
    job_fail(job, AS_PG_CANCELLED, job->cancel_code, text);
}

static void refused(struct conn *conn, const struct expect *expect, const PGresult *result)
{
    struct job *job = conn->job;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool user = expect->kind == EXPECT_PARSE || expect->kind == EXPECT_STATEMENT;

    sqlstate = sqlstate ? sqlstate : "";
    if (expect->kind == EXPECT_PARSE)
        cache_forget(conn, expect->entry);
    /* Columns may have changed their types since it was prepared (0A000, class 22): prepare it
     * anew. */
    else if (user && (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "0A", 2) == 0))
        cache_retire(conn, expect->entry);
    /* 26000, 42P05: some statement has touched what is prepared here. */
    if (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0)
        conn->doomed = true;
    /* What follows the COMMIT of a READ only resets; if that fails the connection goes, not the
     * outcome. */
    if (job->op.kind == AS_PG_READ_COMMIT && expect->index != FIXED_COMMIT) {
        conn->doomed = true;
        return;
    }
    rows_drop(conn);
    job_fail_result(job, result, user ? (int32_t)expect->index : -1);
}

static void statement_done(struct conn *conn, const struct expect *expect, PGresult *result)
{
    struct job *job = conn->job;
    int64_t rows = rows_end(conn, result);
    char text[100];

    if (expect->expect_rows == AS_EXPECT_NONE || rows == expect->expect_rows || job->failed)
        return;
    snprintf(text, sizeof text, "expected %lld row%s, got %lld", (long long)expect->expect_rows,
             expect->expect_rows == 1 ? "" : "s", (long long)rows);
    job->statement = (int32_t)expect->index;
    job_fail(job, AS_PG_EXPECTATION, AS_REASON_EXPECTATION_FAILED, text);
}

/* In a failed block PREPARE and COMMIT are a success with the tag ROLLBACK: that is a no (R11). */
static void check_tag(struct conn *conn, PGresult *result, const char *tag)
{
    struct job *job = conn->job;
    char text[100];

    if (strcmp(PQcmdStatus(result), tag) == 0) {
        job->prepared = job->op.kind == AS_PG_PREPARE;
        return;
    }
    snprintf(text, sizeof text, "the server answered %.40s to %s", PQcmdStatus(result), tag);
    job_fail(job, AS_PG_REFUSED, AS_REASON_PREPARE_REFUSED, text);
}

void branch_result(struct conn *conn, const struct expect *expect, PGresult *result)
{
    struct job *job = conn->job;

    switch (PQresultStatus(result)) {
    case PGRES_FATAL_ERROR:
        refused(conn, expect, result);
        return;
    case PGRES_PIPELINE_ABORTED:
        if (expect->kind == EXPECT_PARSE)
            cache_forget(conn, expect->entry);
        return;
    case PGRES_SINGLE_TUPLE:
        rows_add(conn, result);
        return;
    default:
        break;
    }
    if (expect->kind == EXPECT_STATEMENT) {
        statement_done(conn, expect, result);
    } else if (expect->kind == EXPECT_PREPARE) {
        check_tag(conn, result, "PREPARE TRANSACTION");
        if (conn->warned && job->prepared)
            job_fail(job, AS_PG_WARNED, AS_REASON_PREPARE_REFUSED, conn->warning);
    } else if (expect->kind == EXPECT_FIXED && expect->index == FIXED_SEAL &&
               PQntuples(result) == 1 && PQnfields(result) == 3) {
        job->xid = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    } else if (expect->kind == EXPECT_FIXED && expect->index == FIXED_COMMIT) {
        check_tag(conn, result, "COMMIT");
    }
}

/* --- the end of a pipeline --- */

/* Whether the session still holds a transaction that must not go on. */
static bool must_roll_back(const struct conn *conn)
{
    const struct job *job = conn->job;

    if (is_decision(job))
        return false; /* it has none, and what stands behind it may have one */
    switch (PQtransactionStatus(conn->pq)) {
    case PQTRANS_IDLE:
        return false;
    case PQTRANS_INTRANS:
        return job->op.kind != AS_PG_READ || job->failed;
    default:
        return true;
    }
}

static void end_job(struct conn *conn)
{
    struct job *job = conn->job;

    conn->cleaning = false;
    if (job->op.kind == AS_PG_READ && !job->failed) {
        conn->state = CONN_OPEN;
        job_end(job);
        return;
    }
    job->conn = NULL;
    conn->job = NULL;
    job_end(job);
    conn->depth--;
    if (!link_empty(&conn->behind)) {
        job = OWNER_OF(conn->behind.next, struct job, link);
        link_remove(&job->link);
        job_begins(conn, job);
        conn_offer(conn);
        return;
    }
    if (conn->doomed)
        conn_drop(conn, "the session cannot be used again");
    else
        conn_idle(conn);
}

/* All of the pipeline is back. While a cancel request is on its way the connection rests: it comes
 * back here when the request has arrived, and nothing that runs later can be hit by it. */
void job_synced(struct conn *conn)
{
    struct job *job = conn->job;
    bool sent = true;

    if (conn->cancelling)
        return;
    AS_ASSERT(job);
    conn->cancel_until = 0;
    conn_limit(conn, AS_NEVER);
    if (!conn->cleaning && must_roll_back(conn)) {
        conn_limit(conn, PREFLIGHT_LIMIT);
        sent = send_rollback(conn);
    } else if (!conn->cleaning && finish_goes_on(job)) {
        conn_limit(conn, FINISH_LIMIT);
        sent = finish_send(conn, job);
    } else {
        end_job(conn);
        return;
    }
    if (sent)
        conn_watch(conn);
    else
        conn_drop(conn, PQerrorMessage(conn->pq));
}
