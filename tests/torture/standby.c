#include "standby.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disks.h"
#include "inside.h"

#define PORT_MORE 100 /* of the standby's port: both have their socket in one directory */
#define STREAM_MS 120000
#define PROMOTE_S 30

/* Of each database the one of its two servers that is not database->server. */
static struct {
    struct process process;
    char dir[200]; /* PGDATA */
    int port;
    struct rules rules;
} others[WORLD_DATABASES];

static char serving_dir[WORLD_DATABASES][200];
static bool prepared;

static int number_of(const struct world *world, const struct database *database)
{
    return (int)(database - world->databases);
}

static bool standby_prepare(struct world *world, int number)
{
    struct database *database = &world->databases[number];
    struct process *process = &others[number].process;
    char name[24], path[300], above[200];
    struct place *place;

    (void)snprintf(name, sizeof(name), "standby-%s", database->participant);
    place = place_make(world, name, 51 + number);
    if (!place)
        return false;
    (void)snprintf(above, sizeof(above), "%s/%s", world->dir, name);
    (void)snprintf(serving_dir[number], sizeof(serving_dir[number]), "%s", database->dir);
    (void)snprintf(others[number].dir, sizeof(others[number].dir), "%s/%s/data", world->dir, name);
    (void)snprintf(path, sizeof(path), "%s/postgres", world->postgres);
    process_init(world, process, PROCESS_DATABASE, number, name, place, path);
    process->user = world->postgres_user;
    process_argument(process, "-D");
    process_argument(process, others[number].dir);
    others[number].port = database->port + PORT_MORE;
    (void)snprintf(database->settings + strlen(database->settings),
                   sizeof(database->settings) - strlen(database->settings),
                   "wal_keep_size = 1GB\n"); /* for lost.c */
    database->marker = number == 0;          /* one of them proves its outcomes across a failover */
    world_adopt(world, process);
    (void)snprintf(database->agent_hosts + strlen(database->agent_hosts),
                   sizeof(database->agent_hosts) - strlen(database->agent_hosts), ",%s", place->ip);
    (void)snprintf(database->agent_ports + strlen(database->agent_ports),
                   sizeof(database->agent_ports) - strlen(database->agent_ports), ",%d",
                   others[number].port);
    (void)snprintf(database->agent_dsn_more + strlen(database->agent_dsn_more),
                   sizeof(database->agent_dsn_more) - strlen(database->agent_dsn_more),
                   " target_session_attrs=read-write connect_timeout=3");
    return (world_run(world, "install -d -o %s -m 700 %s", world->postgres_user, above) ||
            world_fail(world, "cannot make %s", above)) &&
           disk_under(world, place, above, world->postgres_user);
}

bool standbys_prepare(struct world *world)
{
    bool well = true;

    for (int i = 0; i < WORLD_DATABASES && well && !prepared; i++)
        well = standby_prepare(world, i);
    prepared = true;
    return well;
}

/* --- Asking --- */

struct question {
    struct world *world;
    const struct database *database;
    int port;
    const char *sql;
    char answer[80];
};

static PGconn *connect_to(const struct question *question)
{
    char dsn[300];
    PGconn *connection;

    (void)snprintf(dsn, sizeof(dsn),
                   "host=%s/run port=%d user=assent dbname=postgres connect_timeout=5",
                   question->world->dir, question->port);
    connection = PQconnectdb(dsn);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    PQfinish(connection);
    return NULL;
}

/* One value; false: none came, or it is null or "f". */
static bool is_answered(void *ctx)
{
    struct question *question = ctx;
    PGconn *connection = connect_to(question);
    PGresult *result = connection ? PQexec(connection, question->sql) : NULL;
    bool well = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
                !PQgetisnull(result, 0, 0) && strcmp(PQgetvalue(result, 0, 0), "f") != 0;

    if (well)
        (void)snprintf(question->answer, sizeof(question->answer), "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    return well;
}

static bool wait_answer(struct world *world, const struct database *database, int port,
                        const char *sql, char ret_answer[80])
{
    struct question question = {world, database, port, sql, ""};

    if (!world_wait(world, is_answered, &question, STREAM_MS))
        return world_fail(world, "%s: waited in vain for: %s", database->participant, sql);
    if (ret_answer)
        (void)snprintf(ret_answer, 80, "%s", question.answer);
    return true;
}

static bool order(struct world *world, const struct database *database, const char *sql)
{
    struct question question = {world, database, database->check_port, sql, ""};
    PGconn *connection = connect_to(&question);
    PGresult *result = connection ? PQexec(connection, sql) : NULL;
    bool well =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK ||
        world_fail(world, "%s: %s: %s", database->participant, sql, PQerrorMessage(connection));

    PQclear(result);
    PQfinish(connection);
    return well;
}

/* --- Steps --- */

bool standby_start(struct world *world, struct database *database, char ret_lsn[80])
{
    int i = number_of(world, database);
    struct process *standby = &others[i].process;
    const char *dir = others[i].dir;

    if (!wait_answer(world, database, database->check_port, "SELECT pg_current_wal_lsn()", ret_lsn))
        return false;
    if (!place_run(world, standby->place,
                   "rm -rf %s && runuser -u %s -- %s/pg_basebackup -h %s -p %d -U assent -D %s -R"
                   " -X stream -c fast --no-sync",
                   dir, world->postgres_user, world->postgres, database->server.place->ip,
                   database->check_port, dir) ||
        !world_run(world,
                   "printf \"port = %d\\nsynchronous_standby_names = ''\\n\""
                   " >>%s/postgresql.auto.conf",
                   others[i].port, dir))
        return world_fail(world, "no base backup of %s: see log/commands.log",
                          database->participant);
    return process_start(world, standby) &&
           wait_answer(world, database, database->check_port,
                       "SELECT state = 'streaming' FROM pg_stat_replication", NULL);
}

bool standby_make_synchronous(struct world *world, struct database *database)
{
    char lsn[80], sql[160];

    if (!order(world, database, "ALTER SYSTEM SET synchronous_standby_names = '*'") ||
        !order(world, database, "SELECT pg_reload_conf()") ||
        !wait_answer(world, database, database->check_port,
                     "SELECT sync_state = 'sync' FROM pg_stat_replication", NULL) ||
        !wait_answer(world, database, database->check_port, "SELECT pg_current_wal_lsn()", lsn))
        return false;
    (void)snprintf(sql, sizeof(sql), "SELECT flush_lsn >= '%s' FROM pg_stat_replication", lsn);
    return wait_answer(world, database, database->check_port, sql, NULL);
}

bool standby_cut_off(struct world *world, struct database *database)
{
    int i = number_of(world, database);

    rules_init(&others[i].rules);
    rules_add(&others[i].rules, true, "-s %s -j DROP", database->server.place->ip);
    rules_add(&others[i].rules, false, "-d %s -j DROP", database->server.place->ip);
    return rules_put(world, others[i].process.place, &others[i].rules);
}

static void swap_texts(char *a, char *b, size_t size)
{
    char kept[200];

    AS_ASSERT(size <= sizeof(kept));
    memcpy(kept, a, size);
    memcpy(a, b, size);
    memcpy(b, kept, size);
}

bool standby_promote(struct world *world, struct database *database, char ret_old[200])
{
    int i = number_of(world, database), port = database->check_port;
    struct process server = database->server;
    char sql[64];
    bool well;

    (void)snprintf(sql, sizeof(sql), "SELECT pg_promote(true, %d)", PROMOTE_S);
    well = wait_answer(world, database, others[i].port, sql, NULL) &&
           wait_answer(world, database, others[i].port, "SELECT NOT pg_is_in_recovery()", NULL);
    database->server = others[i].process;
    others[i].process = server;
    database->check_port = others[i].port;
    others[i].port = port;
    swap_texts(serving_dir[i], others[i].dir, sizeof(others[i].dir));
    (void)snprintf(ret_old, 200, "%s", others[i].dir);
    if (others[i].rules.number) /* on the place of who is the server now */
        well = rules_take_away(world, database->server.place, &others[i].rules) && well;
    others[i].rules.number = 0;
    return well;
}

/* The last line of the new timeline's history: "1<tab>0/3000148<tab>no recovery target specified". */
bool standby_left_at(struct world *world, const struct database *database, char ret_timeline[16],
                     char ret_lsn[24])
{
    char path[300], line[300], file[80];
    FILE *history;

    ret_lsn[0] = '\0';
    if (!wait_answer(world, database, database->check_port,
                     "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)", file))
        return false;
    (void)snprintf(path, sizeof(path), "%s/pg_wal/%.8s.history",
                   serving_dir[number_of(world, database)], file);
    history = fopen(path, "re");
    while (history && fgets(line, sizeof(line), history))
        if (isdigit((unsigned char)line[0]))
            (void)sscanf(line, "%15s %23s", ret_timeline, ret_lsn);
    if (history)
        (void)fclose(history);
    return ret_lsn[0] || world_fail(world, "cannot read %s", path);
}
