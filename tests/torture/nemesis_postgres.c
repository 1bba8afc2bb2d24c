/*
 * What happens to PostgreSQL servers in daily life: they are restarted, somebody ends the agent's sessions, somebody finishes a
 * prepared transaction by hand.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "nemesis.h"

#define END_MS 30000
#define PREPARED_MS 1500 /* well below a transaction's timeout */

/* --- Restart --- */

static bool has_ended(void *ctx)
{
    const struct process *process = ctx;

    return process->pid == 0;
}

static enum strike_result restart_strike(struct world *world, struct strike *strike)
{
    struct database *database = world_take_database(world, strike->rng, strike);
    bool fast = as_rng_below(strike->rng, 2);

    if (!database)
        return STRIKE_NOTHING;
    strike->own = database;
    (void)snprintf(strike->what, sizeof(strike->what), "%s shutdown of %s",
                   fast ? "fast" : "immediate", database->server.name);
    process_expect_end(&database->server, true);
    if (database->server.pid > 0)
        (void)kill(database->server.pid, fast ? SIGINT : SIGQUIT);
    if (as_rng_below(strike->rng, 2))
        strike->hold_ms = 0;
    return world_wait(world, has_ended, &database->server, END_MS) ||
                   world_fail(world, "%s does not end", database->server.name)
               ? STRIKE_DONE
               : STRIKE_FAILED;
}

static bool restart_heal(struct world *world, struct strike *strike)
{
    struct database *database = strike->own;
    bool well = !database || process_restart(world, &database->server);

    world_give_back(world, strike);
    return well;
}

const struct nemesis nemesis_restart = {
    .name = "postgres-restart",
    .about = "a PostgreSQL server is shut down, fast or immediately, and started again",
    .strike = restart_strike,
    .heal = restart_heal,
};

/* --- pg_terminate_backend --- */

static int sessions_end(const struct database *database)
{
    PGconn *connection = database_connect(database);
    PGresult *result =
        connection ? PQexec(connection, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                        " WHERE backend_type = 'client backend'"
                                        " AND pid <> pg_backend_pid()")
                   : NULL;
    int count = PQntuples(result);

    PQclear(result);
    PQfinish(connection);
    return count;
}

static enum strike_result terminate_strike(struct world *world, struct strike *strike)
{
    const struct database *database = &world->databases[as_rng_below(strike->rng, WORLD_DATABASES)];
    int times = 1 + (int)as_rng_below(strike->rng, 5), count = 0;

    for (int i = 0; i < times; i++) {
        count += sessions_end(database);
        if (!world_wait(world, NULL, NULL, (int64_t)as_rng_below(strike->rng, 300)))
            return STRIKE_FAILED;
    }
    (void)snprintf(strike->what, sizeof(strike->what), "%d sessions of %s", count,
                   database->participant);
    strike->hold_ms = 0;
    return count ? STRIKE_DONE : STRIKE_NOTHING;
}

static bool nothing_to_heal(struct world *world, struct strike *strike)
{
    (void)world;
    (void)strike;
    return true;
}

const struct nemesis nemesis_terminate = {
    .name = "terminate",
    .about = "pg_terminate_backend() of all sessions of an agent, some times in a row",
    .strike = terminate_strike,
    .heal = nothing_to_heal,
};

/* --- A person's ROLLBACK PREPARED --- */

/*
 * While the agent of one database stands still, what it takes part in waits prepared in the others: some of that is rolled back
 * there. Then the agent goes on and votes, and what it voted for commits: heuristic outcomes. What it was too late for aborts.
 */
struct person {
    struct world *world;
    struct process *agent;     /* stands still */
    struct database *database; /* where something is rolled back */
    int wanted, done;
};

static bool roll_back(struct person *person, PGconn *connection, const char *text)
{
    struct world *world = person->world;
    char sql[AS_GID_LEN_MAX + 64];
    struct as_gid gid;
    uint64_t transfer;
    PGresult *result;
    bool done;

    if (as_gid_parse(text, strlen(text), &gid) ||
        !history_parse_id(world->history, gid.id, &transfer))
        return false;
    (void)snprintf(sql, sizeof(sql), "ROLLBACK PREPARED '%s'", text);
    result = PQexec(connection, sql);
    done = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    if (done)
        history_mark(world->history, transfer, gid.attempt,
                     (uint8_t)(person->database - world->databases), MARK_ROLLED_BACK);
    return done;
}

static bool has_rolled_back(void *ctx)
{
    struct person *person = ctx;
    PGconn *connection = database_connect(person->database);
    PGresult *result =
        connection ? PQexec(connection, "SELECT gid FROM pg_prepared_xacts ORDER BY prepared")
                   : NULL;

    for (int i = 0; i < PQntuples(result) && person->done < person->wanted; i++)
        person->done += roll_back(person, connection, PQgetvalue(result, i, 0));
    PQclear(result);
    PQfinish(connection);
    return person->done > 0;
}

static enum strike_result person_strike(struct world *world, struct strike *strike)
{
    uint64_t first = as_rng_below(strike->rng, WORLD_DATABASES);
    uint64_t other = (first + 1 + as_rng_below(strike->rng, WORLD_DATABASES - 1)) % WORLD_DATABASES;
    struct person person = {.world = world,
                            .agent = &world->databases[first].agent,
                            .database = &world->databases[other],
                            .wanted = 1 + (int)as_rng_below(strike->rng, 3)};

    strike->hold_ms = 0;
    if (!world_take(person.agent->place, strike))
        return STRIKE_NOTHING;
    strike->own = person.agent;
    process_signal(person.agent, SIGSTOP);
    (void)world_wait(world, has_rolled_back, &person, PREPARED_MS);
    (void)snprintf(strike->what, sizeof(strike->what), "ROLLBACK PREPARED of %d in %s", person.done,
                   person.database->participant);
    return person.done ? STRIKE_DONE : STRIKE_NOTHING;
}

static bool person_heal(struct world *world, struct strike *strike)
{
    if (strike->own)
        process_signal(strike->own, SIGCONT);
    world_give_back(world, strike);
    return true;
}

const struct nemesis nemesis_person = {
    .name = "rollback-by-hand",
    .about =
        "a person's ROLLBACK PREPARED of branches that are about to commit: heuristic outcomes",
    .strike = person_strike,
    .heal = person_heal,
};
