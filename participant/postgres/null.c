/*
 * The participant without a database: every operation succeeds, in the next turn of the loop. It
 * measures all that is not PostgreSQL (bench --null).
 *
 * Fault model: none; the work is not even looked at beyond its count of statements.
 */
#include <string.h>

#include "assent/work.h"
#include "participant/postgres/inside.h"

/* One row affected by each statement; the same bytes serve until a branch has another number of
 * them. */
static void fill_results(struct pg *pg, struct job *job)
{
    struct as_work_reader work;
    struct as_buf *results = &pg->null_results;

    if (as_work_open(&work, job->op.work)) {
        job_fail(job, AS_PG_REFUSED, AS_REASON_STATEMENT_FAILED, "the branch's work is malformed");
        return;
    }
    if (results->len == 0 || pg->null_statements != work.statement_count) {
        as_buf_clear(results);
        as_results_put_begin(results, work.statement_count);
        for (uint32_t i = 0; i < work.statement_count; i++)
            as_results_put_statement(results, 1, 0, 0);
        pg->null_statements = work.statement_count;
    }
    as_put_bytes(&job->results, results->data, results->len);
}

void null_start(struct pg *pg, struct job *job)
{
    switch (job->op.kind) {
    case AS_PG_PREPARE:
        job->prepared = true;
        job->xid = ++pg->null_xid;
        job->connection = 1;
        fill_results(pg, job);
        break;
    case AS_PG_READ:
        fill_results(pg, job);
        break;
    case AS_PG_PROBE:
        job->xact = AS_PG_XACT_COMMITTED;
        job->identity = pg->null_identity;
        break;
    case AS_PG_ROTATE:
        part_tell_up(job->part);
        break;
    default:
        break;
    }
    job_end(job);
}
