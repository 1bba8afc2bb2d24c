/*
 * The PostgreSQL servers: set up as a real one should be (docs/operations.md), with the bank of sql/bank.sql in each.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inside.h"

#define READY_MS 60000

static const char settings[] = "listen_addresses = '*'\n"
                               "port = %d\n"
                               "unix_socket_directories = '%s/run'\n"
                               "max_connections = 100\n"
                               "max_prepared_transactions = 100\n"
                               "shared_buffers = 32MB\n"
                               "fsync = on\n"
                               "synchronous_commit = on\n"
                               "tcp_keepalives_idle = 10\n"
                               "tcp_keepalives_interval = 5\n"
                               "tcp_keepalives_count = 3\n"
                               "log_line_prefix = '%%m [%%p] '\n"
                               "timezone = 'UTC'\n"
                               "%s";

static const char access_rules[] = "local all all trust\n"
                                   "host all all 10.77.0.0/24 trust\n"
                                   "host replication all 10.77.0.0/24 trust\n";

static bool file_append(struct world *world, const struct database *database, const char *name,
                        const char *mode, const char *text)
{
    char path[256];
    FILE *file;
    bool bad;

    (void)snprintf(path, sizeof(path), "%s/%s", database->dir, name);
    file = fopen(path, mode);
    bad = !file || fputs(text, file) < 0;
    if (file && fclose(file))
        bad = true;
    return bad ? world_fail(world, "cannot write %s: %s", path, strerror(errno)) : true;
}

static bool server_configure(struct world *world, struct database *database)
{
    char text[2048];

    (void)snprintf(text, sizeof(text), settings, database->port, world->dir, database->settings);
    return file_append(world, database, "postgresql.conf", "ae", text) &&
           file_append(world, database, "pg_hba.conf", "we", access_rules);
}

bool servers_init(struct world *world)
{
    for (int i = 0; i < WORLD_DATABASES; i++) {
        struct database *database = &world->databases[i];

        if (!world_run(world,
                       "runuser -u %s -- %s/initdb -D %s -U assent -A trust -E UTF8 --locale=C"
                       " --no-sync --no-instructions",
                       world->postgres_user, world->postgres, database->dir))
            return world_fail(world, "initdb failed: see log/commands.log");
        if (!server_configure(world, database))
            return false;
    }
    return true;
}

static PGconn *connect_to(const struct database *database, const char *name)
{
    char dsn[300];
    PGconn *connection;

    (void)snprintf(dsn, sizeof(dsn), "host=%s port=%d user=assent dbname=%s connect_timeout=5",
                   database->check_host, database->check_port, name);
    connection = PQconnectdb(dsn);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    PQfinish(connection);
    return NULL;
}

static bool answers(void *ctx)
{
    PGconn *connection = connect_to(ctx, "postgres");

    PQfinish(connection);
    return connection != NULL;
}

static bool execute_in(const struct database *database, const char *name, const char *sql)
{
    PGconn *connection = connect_to(database, name);
    PGresult *result = connection ? PQexec(connection, sql) : NULL;
    ExecStatusType status = PQresultStatus(result);

    PQclear(result);
    PQfinish(connection);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

bool database_execute(const struct database *database, const char *sql)
{
    return execute_in(database, "bank", sql);
}

static char *bank_read(void)
{
    FILE *file = fopen(AS_SOURCE_DIR "/sql/bank.sql", "re");
    char *text = calloc(1, 65536);

    AS_ASSERT(text);
    if (file) {
        text[fread(text, 1, 65535, file)] = 0;
        (void)fclose(file);
    }
    return text;
}

static bool bank_make(struct world *world, const struct database *database, const char *schema)
{
    char fill[160];

    (void)snprintf(fill, sizeof(fill), "SELECT bank_seed(%d, %d)", WORLD_ACCOUNTS, WORLD_BALANCE);
    if (execute_in(database, "postgres", "CREATE DATABASE bank") &&
        database_execute(database, schema) && database_execute(database, fill))
        return true;
    return world_fail(world, "cannot make the bank in %s", database->participant);
}

bool servers_start(struct world *world)
{
    char *schema = bank_read();
    bool well = true;

    for (int i = 0; well && i < WORLD_DATABASES; i++)
        well = process_start(world, &world->databases[i].server);
    for (int i = 0; well && i < WORLD_DATABASES; i++) {
        struct database *database = &world->databases[i];

        well = world_wait(world, answers, database, READY_MS) ||
               world_fail(world, "%s does not answer: see %s", database->server.name,
                          database->server.log_path);
        well = well && bank_make(world, database, schema);
    }
    free(schema);
    return well;
}
