/*
 * The first pipeline of a connection: prepares the fixed statements and looks whether this is the
 * database that the preflight saw (R7).
 *
 * Fault model: behind one address stands now another server, a promoted standby, or restored
 * storage.
 */
#include <stdlib.h>
#include <string.h>

#include "participant/postgres/inside.h"

bool check_send(struct conn *conn)
{
    bool marker = conn->part->config.proof == AS_PROOF_MARKER;
    int count = marker ? FIXED_COUNT : FIXED_COUNT_UNMARKED;

    char *login = PQescapeLiteral(conn->pq, PQuser(conn->pq), strlen(PQuser(conn->pq)));
    char seal[1024];

    if (!login)
        return false;
    sql_seal(seal, sizeof seal, login);
    PQfreemem(login);
    for (int i = 0; i < count; i++) {
        enum fixed fixed = (enum fixed)i;
        const char *sql = fixed == FIXED_SEAL ? seal : sql_fixed(fixed, marker);

        if (!conn_expect(conn, EXPECT_INSTALL) ||
            !PQsendPrepare(conn->pq, sql_fixed_name(fixed), sql, 0, NULL))
            return false;
    }
    return conn_send_fixed(conn, FIXED_CHECK, 0, NULL) && conn_sync(conn, true);
}

static bool same(const struct part *part, const PGresult *result)
{
    struct as_identity identity;
    char timeline[9] = "";

    if (PQntuples(result) != 1 || PQnfields(result) != 3)
        return false;
    memcpy(timeline, PQgetvalue(result, 0, 1), strnlen(PQgetvalue(result, 0, 1), 8));
    return strtoull(PQgetvalue(result, 0, 0), NULL, 10) == part->facts.system_id &&
           strtoul(timeline, NULL, 16) == part->facts.timeline &&
           identity_read(PQgetvalue(result, 0, 2), &identity) &&
           memcmp(&identity, &part->facts.identity, sizeof identity) == 0;
}

void check_result(struct conn *conn, const struct expect *expect, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        /* 55000: a standby has no write-ahead log of its own to tell its timeline from. */
        if (sqlstate && strcmp(sqlstate, "55000") == 0)
            conn->doomed = true;
        else
            conn_drop(conn, PQresultErrorMessage(result));
    } else if (expect->kind == EXPECT_FIXED && !same(conn->part, result)) {
        conn->doomed = true;
    }
}

void check_synced(struct conn *conn)
{
    if (conn->doomed) {
        /* The old connections too may lead to what is not the database any more. */
        part_down(conn->part, "the database bears another identity than before: checking anew");
        return;
    }
    conn_limit(conn, AS_NEVER);
    part_conn_ready(conn);
    conn_idle(conn);
}
