/*
 * The work of a branch and its results, as bytes that travel untouched between the API and the agent.
 *
 * The API encodes a branch once; the node stores and dispatches these bytes without looking inside; the
 * agent decodes them. The same bytes, with the participant's name before them, are the canonical form
 * over which the body hash of R9 is taken. Results travel the same way back.
 *
 * Every text inside is followed by a NUL that its length does not count, so that a decoder hands out
 * pointers into the bytes which libpq can take as they are. A NUL inside a text is refused on both sides:
 * libpq would run the half before it.
 */
#ifndef ASSENT_WORK_H
#define ASSENT_WORK_H

#include "assent/base.h"
#include "assent/buf.h"
#include "assent/limits.h"

enum as_isolation {
    AS_ISOLATION_READ_COMMITTED = 0,
    AS_ISOLATION_REPEATABLE_READ = 1,
    AS_ISOLATION_SERIALIZABLE = 2,
};

#define AS_EXPECT_NONE (-1)

struct as_statement {
    bool operation;      /* `sql` is the name of one: the agent knows its SQL */
    struct as_bytes sql; /* NUL behind it */
    int64_t
        expect_rows; /* AS_EXPECT_NONE, or the number of rows that must be affected or returned */
    uint32_t param_count;
};

/* Encoding: begin, then per statement its head and its parameters. Failure shows in the buf's error
 * (TOOBIG too for a count over its limit, INVALID for a NUL inside a text). */
void as_work_put_begin(struct as_buf *buf, enum as_isolation isolation, bool read_only,
                       uint32_t statement_count);
void as_work_put_statement(struct as_buf *buf, struct as_bytes sql, int64_t expect_rows,
                           uint32_t param_count);
/*
 * The same by the name of an operation. `begin_at`: where as_work_put_begin began in the buffer. Work with an
 * operation in it is marked there, so that an agent from before operations refuses it before anything runs.
 */
void as_work_put_operation(struct as_buf *buf, size_t begin_at, struct as_bytes name,
                           int64_t expect_rows, uint32_t param_count);
void as_work_put_param(struct as_buf *buf, struct as_bytes text); /* data NULL: SQL null */

/* Decoding: all counts and lengths are checked; MALFORMED otherwise. Views borrow from the bytes. */
struct as_work_reader {
    struct as_reader in;
    enum as_isolation isolation;
    bool read_only;
    bool operations; /* some statements may be */
    uint32_t statement_count;
};
as_err as_work_open(struct as_work_reader *reader, struct as_bytes bytes) AS_MUSTCHECK;
as_err as_work_next_statement(struct as_work_reader *reader,
                              struct as_statement *ret_statement) AS_MUSTCHECK;
as_err as_work_next_param(struct as_work_reader *reader, struct as_bytes *ret_text) AS_MUSTCHECK;
/* Reads everything once and throws it away: OK means that a full decode cannot fail. */
as_err as_work_check(struct as_bytes bytes) AS_MUSTCHECK;

/*
 * Results: count of statements, then for each: rows affected, columns, rows of nullable texts. Rows without
 * columns hold nothing and are not kept: their row_count is written as 0, rows_affected tells of them.
 */
void as_results_put_begin(struct as_buf *buf, uint32_t statement_count);
void as_results_put_statement(struct as_buf *buf, int64_t rows_affected, uint32_t column_count,
                              uint32_t row_count);
void as_results_put_text(struct as_buf *buf, struct as_bytes text); /* column names, then cells */

struct as_results_reader {
    struct as_reader in;
    uint32_t statement_count;
};
struct as_result {
    int64_t rows_affected; /* affected or returned, as the command tag counts */
    uint32_t column_count;
    uint32_t row_count;
};
as_err as_results_open(struct as_results_reader *reader, struct as_bytes bytes) AS_MUSTCHECK;
as_err as_results_next(struct as_results_reader *reader, struct as_result *ret) AS_MUSTCHECK;
as_err as_results_next_text(struct as_results_reader *reader, struct as_bytes *ret) AS_MUSTCHECK;

/*
 * R11: the upper-case keyword for which a statement is refused, or NULL if it may run. `sql` is scanned
 * past white space and (nested) comments to its first keyword; "SET [SESSION|LOCAL] SESSION
 * AUTHORIZATION" is looked at further. A text with more than one statement is left to the extended
 * protocol, which refuses it (42601).
 */
const char *as_sql_refused(struct as_bytes sql);

#endif
