/*
 * What the databases hold: every row of every ledger against what the clients made up, and every balance against its rows.
 */
#include <stdlib.h>
#include <string.h>

#include "inside.h"

static bool row_take(struct world *world, struct ledger *ledger, int database, const char *id,
                     long long account, long long amount)
{
    const char *participant = world->databases[database].participant;
    const struct transfer *transfer;
    uint64_t index;

    if (!history_parse_id(world->history, id, &index) || index >= ledger->count)
        return world_fail(world, "%s is in the ledger of %s, and no client sent it", id,
                          participant);
    transfer = &world->history->transfers[index];
    if (transfer->amount[database] != amount || transfer->account[database] != account)
        return world_fail(world, "%s is in the ledger of %s with account %lld and amount %lld", id,
                          participant, account, amount);
    if (++ledger->seen[database][index] > 1)
        return world_fail(world, "%s is in the ledger of %s twice", id, participant);
    return true;
}

static bool rows_take(struct world *world, struct ledger *ledger, int database, PGconn *connection)
{
    PGresult *result = PQexec(connection, "SELECT txn, account, amount FROM ledger");
    bool well = PQresultStatus(result) == PGRES_TUPLES_OK ||
                world_fail(world, "cannot read the ledger of %s: %s",
                           world->databases[database].participant, PQerrorMessage(connection));

    for (int i = 0; well && i < PQntuples(result); i++)
        well = row_take(world, ledger, database, PQgetvalue(result, i, 0),
                        strtoll(PQgetvalue(result, i, 1), NULL, 10),
                        strtoll(PQgetvalue(result, i, 2), NULL, 10));
    PQclear(result);
    return well;
}

static bool balances_match(struct world *world, struct ledger *ledger, int database,
                           PGconn *connection)
{
    static const char query[] =
        "SELECT sum(a.balance), count(*) FILTER (WHERE a.balance <> $1::bigint + coalesce(l.sum, "
        "0))"
        " FROM accounts a LEFT JOIN (SELECT account, sum(amount) FROM ledger GROUP BY account) l"
        " ON l.account = a.id";
    char balance[16];
    const char *params[] = {balance};
    PGresult *result;
    bool well;

    (void)snprintf(balance, sizeof(balance), "%d", WORLD_BALANCE);
    result = PQexecParams(connection, query, 1, NULL, params, NULL, NULL, 0);
    well = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (!well)
        (void)world_fail(world, "cannot read the accounts of %s: %s",
                         world->databases[database].participant, PQerrorMessage(connection));
    else if (strcmp(PQgetvalue(result, 0, 1), "0") != 0)
        well = world_fail(world, "%s accounts of %s do not match its ledger",
                          PQgetvalue(result, 0, 1), world->databases[database].participant);
    else
        ledger->total += strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return well;
}

static bool database_read(struct world *world, struct ledger *ledger, int database)
{
    PGconn *connection = database_connect(&world->databases[database]);
    bool well = connection ||
                world_fail(world, "cannot connect to %s", world->databases[database].participant);

    if (well) /* one snapshot for both */
        PQclear(PQexec(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    well = well && rows_take(world, ledger, database, connection) &&
           balances_match(world, ledger, database, connection);
    PQfinish(connection);
    return well;
}

bool ledger_read(struct world *world, struct ledger *ledger)
{
    bool well = true;

    *ledger = (struct ledger){.count = world->history->transfer_count};
    for (int i = 0; i < WORLD_DATABASES; i++) {
        ledger->seen[i] = calloc(ledger->count + 1, 1);
        AS_ASSERT(ledger->seen[i]);
    }
    for (int i = 0; well && i < WORLD_DATABASES; i++)
        well = database_read(world, ledger, i);
    return well;
}

void ledger_free(struct ledger *ledger)
{
    for (int i = 0; i < WORLD_DATABASES; i++)
        free(ledger->seen[i]);
    *ledger = (struct ledger){.count = 0};
}
