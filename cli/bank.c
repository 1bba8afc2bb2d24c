/*
 * The bank in a database; see bank.h.
 */
#include "cli/bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* sql/bank.sql as a NUL-terminated text. */
__asm__(".section .rodata\n"
        ".global bank_sql\n"
        "bank_sql:\n"
        ".incbin \"" AS_SOURCE_DIR "/sql/bank.sql\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char bank_sql[];

static PGconn *bank_connect(const char *dsn, char ret_error[256])
{
    PGconn *connection = PQconnectdb(dsn);

    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    (void)snprintf(ret_error, 256, "%.250s", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

static void on_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

bool bank_run(const char *dsn, const char *sql, char ret_error[256])
{
    PGconn *connection = bank_connect(dsn, ret_error);
    PGresult *result;
    bool ok;

    if (!connection)
        return false;
    (void)PQsetNoticeProcessor(connection, on_notice, NULL);
    result = PQexec(connection, sql);
    ok = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok)
        (void)snprintf(ret_error, 256, "%.250s", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return ok;
}

bool bank_make(const char *dsn, uint64_t accounts, uint64_t balance, char ret_error[256])
{
    char fill[256];

    (void)text_format(fill, sizeof(fill), "SELECT bank_seed(%llu, %llu)",
                      (unsigned long long)accounts, (unsigned long long)balance);
    return bank_run(dsn, bank_sql, ret_error) && bank_run(dsn, fill, ret_error) &&
           bank_run(dsn, "VACUUM ANALYZE accounts", ret_error);
}

bool bank_number(const char *dsn, const char *sql, int64_t *ret_number, char ret_error[256])
{
    PGconn *connection = bank_connect(dsn, ret_error);
    PGresult *result;
    bool ok;

    if (!connection)
        return false;
    result = PQexec(connection, sql);
    ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (ok)
        *ret_number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    else
        (void)snprintf(ret_error, 256, "%.250s", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return ok;
}
