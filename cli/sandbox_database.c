/*
 * The PostgreSQL servers of a sandbox: initdb, start, waiting until they answer, the bank in each.
 *
 * They are set up like real ones where it matters here: fsync and synchronous_commit are on.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bank.h"
#include "cli/sandbox.h"

static const char settings[] = "\n# Assent sandbox\n"
                               "listen_addresses = ''\n"
                               "max_connections = 200\n"
                               "max_prepared_transactions = %u\n"
                               "fsync = on\n"
                               "synchronous_commit = on\n"
                               "max_wal_size = 4GB\n"
                               "checkpoint_timeout = 30min\n"
                               "log_line_prefix = '%%m [%%p] '\n"
                               "unix_socket_directories = '%s/run'\n"
                               "port = %u\n";

static bool initdb_start(struct sandbox *sandbox, struct database *database)
{
    char program[300];
    const char *argv[] = {
        program,      "-D",        database->dir,       "-U", "assent", "-A", "trust", "-E", "UTF8",
        "--locale=C", "--no-sync", "--no-instructions", NULL};
    struct process_spec spec = {argv, sandbox->user, SIGKILL, NULL};

    (void)text_format(program, sizeof(program), "%s/initdb", sandbox->postgres);
    return process_start(sandbox->loop, &database->server, &spec, sandbox->error);
}

static bool initdb_ended(void *ctx)
{
    const struct sandbox *sandbox = ctx;

    for (size_t i = 0; i < sandbox->count; i++)
        if (sandbox->databases[i].server.alive)
            return false;
    return true;
}

static bool settings_append(struct sandbox *sandbox, const struct database *database)
{
    unsigned prepared_max = (unsigned)sandbox->options.prepared_max;
    char path[256];
    FILE *file;
    bool bad;

    (void)text_format(path, sizeof(path), "%s/postgresql.conf", database->dir);
    file = fopen(path, "ae");
    bad = !file || fprintf(file, settings, prepared_max ? prepared_max : 200u, sandbox->dir,
                           database->port) < 0;
    if (file && fclose(file))
        bad = true;
    return bad ? sandbox_fail(sandbox, "cannot write %s", path) : true;
}

static bool initdb_all(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->count; i++) {
        if (!initdb_start(sandbox, &sandbox->databases[i]))
            return false;
        sandbox->databases[i].server.wanted = false; /* it is meant to end */
    }
    if (loop_wait(sandbox->loop, initdb_ended, sandbox, SANDBOX_READY_MS, 20) != LOOP_MET)
        return sandbox_fail(sandbox, "initdb has not ended");
    for (size_t i = 0; i < sandbox->count; i++) {
        struct database *database = &sandbox->databases[i];
        char how[64];

        if (database->server.exit_status || database->server.term_signal) {
            process_end_text(&database->server, how, sizeof(how));
            sandbox->failed = &database->server;
            return sandbox_fail(sandbox, "initdb for %s: %s", database->participant, how);
        }
        if (!settings_append(sandbox, database))
            return false;
    }
    return true;
}

bool database_server_start(struct sandbox *sandbox, struct database *database)
{
    char program[300];
    const char *argv[] = {program, "-D", database->dir, NULL};
    /* Immediate shutdown: a dead server's backends do not linger, as they might after SIGKILL. */
    struct process_spec spec = {argv, sandbox->user, SIGQUIT, NULL};

    (void)text_format(program, sizeof(program), "%s/postgres", sandbox->postgres);
    return process_start(sandbox->loop, &database->server, &spec, sandbox->error);
}

struct awaited {
    struct sandbox *sandbox;
    struct database *database;
    bool ended;
};

static bool server_answers(void *ctx)
{
    struct awaited *awaited = ctx;
    char dsn[300];

    if (!awaited->database->server.alive) {
        awaited->ended = true;
        return true;
    }
    (void)text_format(dsn, sizeof(dsn), "%s dbname=postgres connect_timeout=5",
                      awaited->database->dsn);
    return PQping(dsn) == PQPING_OK;
}

/*
 * A server whose predecessor was killed from outside may find that one's backends still alive and
 * refuse
 * ("pre-existing shared memory block"); they leave within moments, so it is started again for a
 * while.
 */
bool database_wait_ready(struct sandbox *sandbox, struct database *database)
{
    as_time deadline = clock_now() + (as_time)SANDBOX_READY_MS * AS_MS;
    struct awaited awaited = {sandbox, database, false};

    for (;;) {
        enum loop_end end =
            loop_wait(sandbox->loop, server_answers, &awaited, SANDBOX_READY_MS, 20);

        if (end == LOOP_MET && !awaited.ended)
            return true;
        if (end != LOOP_MET || clock_now() > deadline ||
            database->server.term_signal /* killed again: not for us to undo */) {
            sandbox->failed = &database->server;
            return sandbox_fail(sandbox, "%s does not answer", database->server.name);
        }
        awaited.ended = false;
        if (!database_server_start(sandbox, database))
            return false;
    }
}

static bool bank_make_in(struct sandbox *sandbox, struct database *database)
{
    char dsn[300], error[256];

    (void)text_format(dsn, sizeof(dsn), "%s dbname=postgres", database->dsn);
    if (bank_run(dsn, "CREATE DATABASE bank", error) &&
        bank_make(database->dsn, sandbox->options.accounts,
                  sandbox->options.balance ? sandbox->options.balance : BANK_BALANCE_START, error))
        return true;
    sandbox->failed = &database->server;
    return sandbox_fail(sandbox, "%s: %s", database->participant, error);
}

bool databases_start(struct sandbox *sandbox)
{
    if (!initdb_all(sandbox))
        return false;
    for (size_t i = 0; i < sandbox->count; i++)
        if (!database_server_start(sandbox, &sandbox->databases[i]))
            return false;
    for (size_t i = 0; i < sandbox->count; i++) {
        if (!database_wait_ready(sandbox, &sandbox->databases[i]) ||
            !bank_make_in(sandbox, &sandbox->databases[i]))
            return false;
    }
    return true;
}
