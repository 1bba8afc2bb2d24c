/*
 * assent doctor: what a database must be for an agent (participant/postgres/preflight.c demands it
 * at each connect), and what is better otherwise. Connects as the agent would: with its dsn.
 */
#include <libpq-fe.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor.h"

#define CONNECTIONS_DEFAULT 16
#define CONNECTIONS_MORE 3 /* two for finishing, one for the preflight */
#define OLD_PREPARED_S 30

enum fact {
    VERSION,
    VERSION_TEXT,
    PREPARED_MAX,
    FSYNC,
    PAGE_WRITES,
    SYNC,
    STANDBY,
    ROLE,
    MAY_INSTALL,
    INSTALLED,
    RIGHTS,
    PREPARED,
    NOT_OURS,
    OLDEST_S,
    CONNECTIONS_LEFT,
    FACT_COUNT,
};

static const char facts_sql[] =
    "SELECT current_setting('server_version_num'), current_setting('server_version'),"
    " current_setting('max_prepared_transactions'), current_setting('fsync'),"
    " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " pg_is_in_recovery(), current_user,"
    " has_database_privilege(current_database(), 'CREATE'),"
    " i.oid IS NOT NULL,"
    " i.oid IS NOT NULL AND has_schema_privilege('assent', 'USAGE') AND"
    " has_table_privilege(i.oid, 'SELECT') AND has_table_privilege(i.oid, 'INSERT') AND"
    " has_table_privilege(i.oid, 'UPDATE'),"
    " p.all, p.not_ours, p.oldest_s,"
    " current_setting('max_connections')::int -"
    " current_setting('superuser_reserved_connections')::int -"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') + 1"
    " FROM (SELECT count(*) AS all, count(*) FILTER (WHERE owner <> current_user AND"
    " database = current_database() AND gid LIKE 'assent/%') AS not_ours,"
    " coalesce(extract(epoch FROM max(now() - prepared))::bigint, 0) AS oldest_s"
    " FROM pg_prepared_xacts) p"
    " LEFT JOIN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'assent' AND c.relname = 'identity') i ON true";

struct database {
    struct doctor *doctor;
    const struct doctor_participant *participant;
    const PGresult *facts;
};

static const char *text(const struct database *database, enum fact fact)
{
    return PQgetvalue(database->facts, 0, (int)fact);
}

static long long number(const struct database *database, enum fact fact)
{
    return strtoll(text(database, fact), NULL, 10);
}

static bool is(const struct database *database, enum fact fact, const char *value)
{
    return strcmp(text(database, fact), value) == 0;
}

#define FOUND(database, verdict, todo, ...)                                                      \
    doctor_finding((database)->doctor, verdict, "database", (database)->participant->name, todo, \
                   __VA_ARGS__)

static void check_settings(const struct database *database)
{
    uint64_t given = database->participant->connections;
    long long wanted = given ? (long long)given : CONNECTIONS_DEFAULT;

    if (number(database, VERSION) < 130000)
        FOUND(database, VERDICT_FAIL, "upgrade it to PostgreSQL 13 or later",
              "PostgreSQL %s is too old", text(database, VERSION_TEXT));
    if (is(database, STANDBY, "t"))
        FOUND(database, VERDICT_FAIL,
              "let the dsn lead to the primary (target_session_attrs=read-write)",
              "it is a standby");
    if (number(database, PREPARED_MAX) == 0)
        FOUND(database, VERDICT_FAIL,
              "ALTER SYSTEM SET max_prepared_transactions = 100, and restart PostgreSQL",
              "max_prepared_transactions is 0");
    else if (number(database, PREPARED_MAX) < wanted)
        FOUND(database, VERDICT_WARN,
              "raise it (needs a restart) to as many transactions as may be under way",
              "max_prepared_transactions is %s, below the agent's %lld connections: branches queue",
              text(database, PREPARED_MAX), wanted);
    if (is(database, FSYNC, "off"))
        FOUND(database, VERDICT_FAIL, "ALTER SYSTEM SET fsync = on, and reload",
              "fsync is off: a crash of the server loses what was committed");
    if (is(database, PAGE_WRITES, "off"))
        FOUND(database, VERDICT_WARN, "ALTER SYSTEM SET full_page_writes = on, and reload",
              "full_page_writes is off: a crash of the server may damage its data");
    if (!is(database, SYNC, "on") && !is(database, SYNC, "remote_apply"))
        FOUND(database, VERDICT_WARN,
              "nothing, if that is meant for other applications: the agent's sessions use on",
              "synchronous_commit is %s", text(database, SYNC));
    if (number(database, CONNECTIONS_LEFT) < wanted + CONNECTIONS_MORE)
        FOUND(database, VERDICT_WARN,
              "if its agent is not connected yet: raise max_connections, or lower connections",
              "%s connections are free; an agent takes up to %lld",
              text(database, CONNECTIONS_LEFT), wanted + CONNECTIONS_MORE);
}

static void check_rights(const struct database *database)
{
    if (is(database, INSTALLED, "f") && is(database, MAY_INSTALL, "f"))
        FOUND(database, VERDICT_FAIL,
              "GRANT CREATE ON DATABASE to it, or run sql/agent.sql as an administrator",
              "role %s may not make the schema assent, which is not there", text(database, ROLE));
    else if (is(database, INSTALLED, "t") && is(database, RIGHTS, "f"))
        FOUND(database, VERDICT_FAIL, "the grants stand at the end of sql/agent.sql",
              "role %s may not use assent.identity", text(database, ROLE));
    if (number(database, NOT_OURS) > 0)
        FOUND(
            database, VERDICT_FAIL,
            "let the agent log in as the role that prepared them (SELECT * FROM pg_prepared_xacts)",
            "%s of Assent's prepared transactions belong to another role than %s, which cannot "
            "finish them",
            text(database, NOT_OURS), text(database, ROLE));
}

static void check_prepared(const struct database *database)
{
    long long used = number(database, PREPARED), most = number(database, PREPARED_MAX);

    if (number(database, OLDEST_S) > OLD_PREPARED_S)
        FOUND(database, VERDICT_WARN,
              "assent participant prepared NAME tells whose it is; it holds its locks and vacuum "
              "back",
              "the oldest prepared transaction of the server is %s s old",
              text(database, OLDEST_S));
    if (most > 0 && used * 10 >= most * 8)
        FOUND(database, VERDICT_WARN, "raise max_prepared_transactions, or look at what is stuck",
              "%lld of %lld slots for prepared transactions are used", used, most);
}

static void check(struct database *database, PGconn *connection)
{
    size_t before = database->doctor->counts[VERDICT_WARN] + database->doctor->counts[VERDICT_FAIL];
    PGresult *facts = PQexec(connection, facts_sql);

    database->facts = facts;
    if (PQresultStatus(facts) != PGRES_TUPLES_OK || PQntuples(facts) != 1 ||
        PQnfields(facts) != FACT_COUNT) {
        FOUND(database, VERDICT_FAIL, "is it a PostgreSQL server, 13 or later?",
              "it does not tell its settings: %s", PQresultErrorMessage(facts));
    } else {
        check_settings(database);
        check_rights(database);
        check_prepared(database);
        if (database->doctor->counts[VERDICT_WARN] + database->doctor->counts[VERDICT_FAIL] ==
            before)
            FOUND(database, VERDICT_OK, NULL,
                  "PostgreSQL %s, max_prepared_transactions %s, role %s has its rights",
                  text(database, VERSION_TEXT), text(database, PREPARED_MAX), text(database, ROLE));
    }
    PQclear(facts);
}

/* --- As whom --- */

#define PACKAGED "/etc/assent/"

/* As root, a file of the packages is looked at as the user whose daemon reads it: peer
 * authentication and password files go by that. NULL: as we are. */
static const struct passwd *user_of(const struct doctor_file *file)
{
    if (geteuid() != 0 || strncmp(file->path, PACKAGED, strlen(PACKAGED)) != 0)
        return NULL;
    return getpwnam(file->coordinators[0] ? "assent-agent" : "assent");
}

static PGconn *connect_as(const struct passwd *user, const char *const *names,
                          const char *const *values)
{
    PGconn *connection = NULL;

    if (!user || (setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0))
        connection = PQconnectdbParams(names, values, 1);
    if (user && (seteuid(0) || setegid(0))) {
        complain("cannot be root again");
        exit(CLI_NEGATIVE);
    }
    return connection;
}

void doctor_databases(struct doctor *doctor, const struct doctor_file *file)
{
    const struct passwd *user = user_of(file);

    for (size_t i = 0; i < file->participant_count; i++) {
        struct database database = {doctor, &file->participants[i], NULL};
        const char *const names[] = {"connect_timeout", "dbname", "fallback_application_name",
                                     NULL};
        const char *const values[] = {"5", file->participants[i].dsn, "assent doctor", NULL};
        PGconn *connection;

        if (!file->participants[i].dsn[0])
            continue; /* without a database (null), or the daemon has said so */
        connection = connect_as(user, names, values);
        if (PQstatus(connection) == CONNECTION_OK)
            check(&database, connection);
        else
            FOUND(&database, VERDICT_FAIL,
                  "is the server up, and does pg_hba.conf let this user in? (with peer "
                  "authentication run assent doctor as the agent's user)",
                  "%.*s", (int)strcspn(PQerrorMessage(connection), "\n"),
                  PQerrorMessage(connection));
        PQfinish(connection);
    }
}
