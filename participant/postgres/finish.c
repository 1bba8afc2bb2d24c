/*
 * COMMIT PREPARED and ROLLBACK PREPARED, and what the agent asks about prepared transactions:
 * PROBE, SCAN, LIST, ROTATE.
 *
 * Fault model: the gid is not there, busy, or another role's; the database is a standby; it warns
 * instead of committing durably. Nothing is guessed here: the agent gets what the server said.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/alloc.h"
#include "participant/postgres/inside.h"

/* A gid that parses holds nothing that needs quoting, so it may stand in the text as it is. */
static bool send_decision(struct conn *conn, struct job *job, const char *verb)
{
    struct as_gid gid;
    char sql[AS_GID_LEN_MAX + 32];

    if (as_gid_parse(job->op.gid, strlen(job->op.gid), &gid)) {
        job_fail(job, AS_PG_REFUSED, AS_REASON_PREPARE_REFUSED, "the gid is malformed");
        return conn_sync(conn, true);
    }
    snprintf(sql, sizeof sql, "%s PREPARED '%s'", verb, job->op.gid);
    return conn_send_text(conn, sql, EXPECT_FINISH) && conn_sync(conn, true);
}

/*
 * Two statements, so that the second has a snapshot younger than what the first saw: a gid that is
 * not listed any more has left its outcome, and its marker, where the second looks. In one
 * statement the marker would be looked up as of its start, and a commit in between would pass for a
 * lost prepare.
 *
 * pg_xact_status fails for an id in the future (22023): that is an answer, and the rest is asked
 * again without it.
 */
static bool send_probe(struct conn *conn, struct job *job)
{
    char xid[24];
    const char *params[2] = {xid, job->op.gid};
    const char *gid = job->op.gid;
    bool status = job->op.xid != 0 && job->xact != AS_PG_XACT_INVALID;

    snprintf(xid, sizeof xid, "%" PRIu64, job->op.xid);
    job->asked_again = job->xact == AS_PG_XACT_INVALID;
    job->listed = false;
    return conn_send_fixed(conn, FIXED_LISTED, 1, &gid) &&
           conn_send_fixed(conn, status ? FIXED_STATUS : FIXED_NO_STATUS, 2, params) &&
           conn_sync(conn, true);
}

static bool send_rotate(struct conn *conn, const struct job *job)
{
    char counter[24];
    const char *param = counter;

    snprintf(counter, sizeof counter, "%" PRIu64, job->op.counter);
    return conn_send_fixed(conn, FIXED_ROTATE, 1, &param) && conn_sync(conn, true);
}

bool finish_send(struct conn *conn, struct job *job)
{
    const char *prefix = conn->pg->prefix;

    switch (job->op.kind) {
    case AS_PG_COMMIT_PREPARED:
        return send_decision(conn, job, "COMMIT");
    case AS_PG_ROLLBACK_PREPARED:
        return send_decision(conn, job, "ROLLBACK");
    case AS_PG_PROBE:
        return send_probe(conn, job);
    case AS_PG_ROTATE:
        return send_rotate(conn, job);
    case AS_PG_LIST:
        return conn_send_fixed(conn, FIXED_LIST, 0, NULL) && conn_sync(conn, true);
    default:
        if (job->internal)
            return conn_send_fixed(conn, FIXED_UNMARK, 0, NULL) && conn_sync(conn, true);
        return conn_send_fixed(conn, FIXED_SCAN, 1, &prefix) && conn_sync(conn, true);
    }
}

bool finish_goes_on(const struct job *job)
{
    return job->op.kind == AS_PG_PROBE && job->xact == AS_PG_XACT_INVALID && !job->failed &&
           !job->asked_again;
}

static void decided(struct conn *conn, PGresult *result)
{
    struct job *job = conn->job;
    bool commit = job->op.kind == AS_PG_COMMIT_PREPARED;
    const char *tag = commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
    char text[100];

    if (strcmp(PQcmdStatus(result), tag) != 0) {
        snprintf(text, sizeof text, "the server answered %.40s to %s", PQcmdStatus(result), tag);
        job_fail(job, AS_PG_WARNED, AS_REASON_PREPARE_REFUSED, text);
    } else if (conn->warned) {
        job_fail(job, AS_PG_WARNED, AS_REASON_PREPARE_REFUSED, conn->warning);
    }
}

static enum as_pg_xact xact_of(const char *text)
{
    return strcmp(text, "committed") == 0     ? AS_PG_XACT_COMMITTED
           : strcmp(text, "aborted") == 0     ? AS_PG_XACT_ABORTED
           : strcmp(text, "in progress") == 0 ? AS_PG_XACT_IN_PROGRESS
                                              : AS_PG_XACT_NONE;
}

static void listed(struct job *job, const PGresult *result)
{
    if (PQntuples(result) == 0)
        return;
    job->listed = true;
    job->listed_xid32 = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
}

static void status_read(struct job *job, const PGresult *result, bool with_status)
{
    if (with_status)
        job->xact = xact_of(PQgetvalue(result, 0, 0));
    job->marker = PQgetvalue(result, 0, 1)[0] == 't';
    if (!identity_read(PQgetvalue(result, 0, 2), &job->identity))
        memset(&job->identity, 0, sizeof job->identity);
}

/* The row of SCAN that counts. Of what is not there the maximum is null, which reads as 0. */
static void counted(struct job *job, const PGresult *result, int row)
{
    job->foreign = (uint32_t)strtoul(PQgetvalue(result, row, 1), NULL, 10);
    job->slots_used = (uint32_t)strtoul(PQgetvalue(result, row, 2), NULL, 10);
    job->slots_ours = (uint32_t)strtoul(PQgetvalue(result, row, 3), NULL, 10);
    job->xmin_age = (uint32_t)strtoul(PQgetvalue(result, row, 4), NULL, 10);
    job->foreign_xmin_age = (uint32_t)strtoul(PQgetvalue(result, row, 5), NULL, 10);
    job->foreign_oldest_age_ms = strtoll(PQgetvalue(result, row, 6), NULL, 10);
}

static void scanned(struct job *job, PGresult **result, bool list)
{
    int count = PQntuples(*result);
    struct as_pg_prepared *rows = as_alloc_zero((size_t)count + 1, sizeof *rows);

    if (!rows)
        pg_out_of_memory();
    for (int i = 0; i < count; i++) {
        if (PQgetisnull(*result, i, 0)) {
            counted(job, *result, i);
            continue;
        }
        rows[job->row_count++] = (struct as_pg_prepared){
            .gid = PQgetvalue(*result, i, 0),
            .owner = list ? PQgetvalue(*result, i, 3) : "",
            .xid = list ? strtoull(PQgetvalue(*result, i, 1), NULL, 10) : 0,
            .age_ms = strtoll(PQgetvalue(*result, i, 2), NULL, 10),
        };
    }
    job->rows = rows;
    job->rows_of = *result;
    *result = NULL;
}

static void rotated(struct conn *conn, const PGresult *result)
{
    struct part *part = conn->part;
    struct as_identity identity;

    if (PQntuples(result) != 1 || !identity_read(PQgetvalue(result, 0, 0), &identity)) {
        conn->doomed = true;
        job_fail(conn->job, AS_PG_REFUSED, AS_REASON_PARTICIPANT_UNAVAILABLE,
                 "the row of assent.identity is gone");
        return;
    }
    part->facts.identity = identity;
    part->facts.counter = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    part->facts.system_id = strtoull(PQgetvalue(result, 0, 2), NULL, 10);
    part->facts.timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 10);
    part_tell_up(part);
}

static void fixed_done(struct conn *conn, enum fixed fixed, PGresult **result)
{
    struct job *job = conn->job;

    switch (fixed) {
    case FIXED_LISTED:
        listed(job, *result);
        return;
    case FIXED_STATUS:
    case FIXED_NO_STATUS:
        if (PQntuples(*result) == 1)
            status_read(job, *result, fixed == FIXED_STATUS);
        return;
    case FIXED_SCAN:
    case FIXED_LIST:
        scanned(job, result, fixed == FIXED_LIST);
        return;
    case FIXED_ROTATE:
        rotated(conn, *result);
        return;
    default:
        return;
    }
}

void finish_result(struct conn *conn, const struct expect *expect, PGresult **result)
{
    struct job *job = conn->job;
    ExecStatusType status = PQresultStatus(*result);
    const char *sqlstate = PQresultErrorField(*result, PG_DIAG_SQLSTATE);

    if (status == PGRES_PIPELINE_ABORTED)
        return;
    if (status != PGRES_FATAL_ERROR) {
        if (expect->kind == EXPECT_FINISH)
            decided(conn, *result);
        else if (expect->kind == EXPECT_FIXED && status == PGRES_TUPLES_OK)
            fixed_done(conn, (enum fixed)expect->index, result);
        return;
    }
    if (expect->kind == EXPECT_FIXED && expect->index == FIXED_STATUS && sqlstate &&
        strcmp(sqlstate, "22023") == 0)
        job->xact = AS_PG_XACT_INVALID;
    else
        job_fail_result(job, *result, -1);
}
