/*
 * The preflight: what a server must be, what is installed in its database, and who it is.
 *
 * It runs on a connection of its own with simple queries, one after the other; the connection is
 * closed afterwards, because the pool's connections start with options that follow from what is
 * learnt here.
 *
 * Fault model: a server too old, a standby, without prepared transactions, unsafe settings, missing
 * rights, another history than at the last visit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "participant/postgres/inside.h"

/* The columns of sql_facts. */
enum fact {
    FACT_VERSION,
    FACT_PREPARED_MAX,
    FACT_FSYNC,
    FACT_PAGE_WRITES,
    FACT_SYNC,
    FACT_STANDBY,
    FACT_USER,
    FACT_DATABASE,
    FACT_IDENTITY_THERE,
    FACT_MARKER_THERE,
    FACT_NOT_OURS,
    FACT_NOTICES,
    FACT_COUNT = FACT_NOTICES + 2, /* the last one is of no interest */
};

bool identity_read(const char *text, struct as_identity *ret_identity)
{
    struct as_identity identity;
    size_t digits = 0;

    for (; *text; text++) {
        int value = *text >= '0' && *text <= '9'   ? *text - '0'
                    : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10
                                                   : -1;

        if (*text == '-')
            continue;
        if (value < 0 || digits == sizeof identity.token * 2)
            return false;
        if (digits % 2 == 0)
            identity.token[digits / 2] = (uint8_t)(value << 4);
        else
            identity.token[digits / 2] |= (uint8_t)value;
        digits++;
    }
    if (digits != sizeof identity.token * 2)
        return false;
    *ret_identity = identity;
    return true;
}

static void send_step(struct conn *conn, enum preflight_step step)
{
    const struct part *part = conn->part;
    char identity[SQL_IDENTITY_BYTES];
    const char *sql = step == STEP_FACTS     ? sql_facts
                      : step == STEP_INSTALL ? sql_install
                                             : identity;

    sql_identity(identity, sizeof identity, part->counted ? &part->facts.identity : NULL,
                 part->facts.counter);
    conn->step = step;
    if (!PQsendQuery(conn->pq, sql))
        conn_drop(conn, PQerrorMessage(conn->pq));
    else
        conn_watch(conn);
}

void preflight_begin(struct conn *conn)
{
    conn->part->detail[0] = '\0';
    conn_limit(conn, PREFLIGHT_LIMIT);
    send_step(conn, STEP_FACTS);
}

static void warn(struct part *part, const char *text)
{
    size_t len = strlen(part->detail);

    snprintf(part->detail + len, sizeof part->detail - len, "%s%s", len ? "; " : "", text);
}

static bool is(const PGresult *result, enum fact fact, const char *text)
{
    return strcmp(PQgetvalue(result, 0, (int)fact), text) == 0;
}

/* Settings that lose prepared transactions when the server crashes: its operator may want that, but
 * must know. */
static void read_warnings(struct part *part, const PGresult *result)
{
    char text[200];

    if (is(result, FACT_FSYNC, "off"))
        warn(part, "fsync is off: a crash of the server may lose or damage what was committed");
    if (is(result, FACT_PAGE_WRITES, "off"))
        warn(part, "full_page_writes is off: a crash of the server may damage its data");
    /* What is stricter stays as it is. Anything weaker would let a vote be lost that was already
     * counted. */
    if (is(result, FACT_SYNC, "remote_apply")) {
        snprintf(part->sync_value, sizeof part->sync_value, "remote_apply");
    } else {
        if (!is(result, FACT_SYNC, "on")) {
            snprintf(text, sizeof text, "synchronous_commit is %.20s: the agent's sessions use on",
                     PQgetvalue(result, 0, FACT_SYNC));
            warn(part, text);
        }
        snprintf(part->sync_value, sizeof part->sync_value, "on");
    }
    if (!is(result, FACT_NOT_OURS, "0")) {
        snprintf(text, sizeof text,
                 "%.20s prepared transactions belong to another role than %.63s, which cannot "
                 "finish them",
                 PQgetvalue(result, 0, FACT_NOT_OURS), PQgetvalue(result, 0, FACT_USER));
        warn(part, text);
    }
}

/* The texts of what an operator has to do. */
static void refuse_install(struct conn *conn, const char *message)
{
    char text[AS_REASON_LEN_MAX + 1];

    snprintf(
        text, sizeof text,
        "cannot install schema assent: %.120s. GRANT CREATE ON DATABASE \"%.63s\" TO \"%.63s\", or "
        "let an administrator run sql/agent.sql and the grants at its end",
        message, PQdb(conn->pq), PQuser(conn->pq));
    conn_drop(conn, text);
}

static void read_facts(struct conn *conn, const PGresult *result)
{
    struct part *part = conn->part;
    bool marker = part->config.proof == AS_PROOF_MARKER;

    if (PQntuples(result) != 1 || PQnfields(result) != FACT_COUNT) {
        conn_drop(conn, "preflight: the server's answer has an unexpected form");
        return;
    }
    part->facts.server_version = (uint32_t)strtoul(PQgetvalue(result, 0, FACT_VERSION), NULL, 10);
    part->facts.prepared_max =
        (uint32_t)strtoul(PQgetvalue(result, 0, FACT_PREPARED_MAX), NULL, 10);
    if (part->facts.server_version < 130000) {
        conn_drop(conn, "PostgreSQL is too old: version 13 or later is needed");
        return;
    }
    if (is(result, FACT_STANDBY, "t")) {
        conn_drop(conn, "the server is a standby: waiting until it is promoted");
        return;
    }
    if (part->facts.prepared_max == 0) {
        conn_drop(conn, "max_prepared_transactions is 0: set it in postgresql.conf to as many "
                        "transactions as may be under way (100, say) and restart PostgreSQL");
        return;
    }
    read_warnings(part, result);
    part->notices = is(result, FACT_NOTICES, "t");
    conn->step =
        !is(result, FACT_IDENTITY_THERE, "t") || (marker && !is(result, FACT_MARKER_THERE, "t"))
            ? STEP_INSTALL
            : STEP_IDENTITY;
}

static void read_identity(struct conn *conn, const PGresult *result)
{
    struct as_pg_up *facts = &conn->part->facts;

    if (PQntuples(result) != 1 || PQnfields(result) != 4 ||
        !identity_read(PQgetvalue(result, 0, 0), &facts->identity)) {
        conn_drop(conn, "preflight: assent.identity has an unexpected form");
        return;
    }
    facts->counter = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    facts->system_id = strtoull(PQgetvalue(result, 0, 2), NULL, 10);
    facts->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 10);
    conn->part->counted = true;
    conn->step = STEP_DONE;
}

static void failed(struct conn *conn, const PGresult *result)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char text[AS_REASON_LEN_MAX + 1];

    message = message ? message : PQresultErrorMessage(result);
    if (sqlstate && strcmp(sqlstate, "42501") == 0 && conn->step != STEP_FACTS) {
        refuse_install(conn, message);
        return;
    }
    snprintf(text, sizeof text, "preflight: %.300s%s%s", message, sqlstate ? ", sqlstate " : "",
             sqlstate ? sqlstate : "");
    conn_drop(conn, text);
}

/* STEP_INSTALL has several results; the others one. */
void preflight_result(struct conn *conn, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        if (conn->step == STEP_FACTS)
            read_facts(conn, result);
        else if (conn->step == STEP_IDENTITY)
            read_identity(conn, result);
        return;
    case PGRES_COMMAND_OK:
        return;
    default:
        failed(conn, result);
    }
}

void preflight_step_done(struct conn *conn)
{
    struct part *part = conn->part;

    if (conn->step == STEP_DONE) {
        /* A crash here has only made the counter grow, which is harmless. */
        part_preflight_done(part);
        conn_drop(conn, "the preflight is over");
        return;
    }
    /* read_facts has named the next step; after the installation there is only one */
    if (conn->step == STEP_INSTALL && conn->installed)
        conn->step = STEP_IDENTITY;
    conn->installed = conn->step == STEP_INSTALL;
    send_step(conn, conn->step);
}
