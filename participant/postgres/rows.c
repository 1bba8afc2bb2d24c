/*
 * Result rows to bytes (assent/work.h). Rows come one by one (libpq's single-row mode), so that
 * memory is bound by AS_RESULT_BYTES_MAX and one row, however much a statement selects.
 *
 * Fault model: a branch may select more than anybody wants to carry: its results are dropped, the
 * statement is cancelled, and the branch fails.
 */
#include <stdlib.h>
#include <string.h>

#include "assent/work.h"
#include "participant/postgres/inside.h"

static void too_large(struct conn *conn)
{
    struct job *job = conn->job;

    if (job->too_large)
        return;
    job->too_large = true;
    job->statement = job->failed ? job->statement : (int32_t)conn->expects[conn->head].index;
    job_fail(job, AS_PG_EXPECTATION, AS_REASON_STATEMENT_FAILED,
             "the results of the branch are larger than 1 MiB");
    conn_cancel(conn);
}

void rows_add(struct conn *conn, const PGresult *result)
{
    int rows = PQntuples(result), columns = PQnfields(result);

    if (conn->job->too_large)
        return;
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            struct as_bytes cell = {NULL, 0};

            if (!PQgetisnull(result, row, column)) {
                cell.data = (const uint8_t *)PQgetvalue(result, row, column);
                cell.len = (size_t)PQgetlength(result, row, column);
            }
            as_results_put_text(&conn->cells, cell);
        }
        conn->cell_rows++;
    }
    if (conn->cells.err)
        too_large(conn);
}

void rows_drop(struct conn *conn)
{
    if (conn->cells.cap > RESULTS_KEPT) {
        as_buf_close(&conn->cells);
        as_buf_init(&conn->cells, AS_RESULT_BYTES_MAX);
    }
    as_buf_clear(&conn->cells);
    conn->cell_rows = 0;
}

int64_t rows_end(struct conn *conn, PGresult *result)
{
    struct as_buf *results = &conn->job->results;
    int64_t affected = strtoll(PQcmdTuples(result), NULL, 10);
    int columns = PQnfields(result);

    rows_add(conn, result);
    as_results_put_statement(results, affected, (uint32_t)columns, conn->cell_rows);
    for (int column = 0; column < columns; column++) {
        const char *name = PQfname(result, column);

        as_results_put_text(results, (struct as_bytes){(const uint8_t *)name, strlen(name)});
    }
    if (conn->cells.len)
        as_put_bytes(results, conn->cells.data, conn->cells.len);
    rows_drop(conn);
    if (results->err)
        too_large(conn);
    return affected;
}
