/*
 * The demo's proof, from the databases alone and what clients were told: the money is all there,
 * every transfer acknowledged as committed is in both databases exactly once, every aborted one in
 * none, and no prepared transaction is left anywhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bank.h"
#include "cli/demo.h"

struct ledger {
    struct demo_proof *proof;
    const struct demo_load *load;
    uint8_t *seen; /* of each transfer: bit 0 its payment, bit 1 its receipt */
};

static bool ledger_wrong(struct ledger *ledger, const char *what, const char *id, const char *where)
{
    (void)snprintf(ledger->proof->ledger, sizeof(ledger->proof->ledger), "%s: %s%s%s", what, id,
                   where ? " in " : "", where ? where : "");
    return false;
}

/* A row must be one side of a transfer of ours, and the only one. */
static bool ledger_row(struct ledger *ledger, const struct database *database, uint8_t number,
                       const char *id, const char *account, const char *amount)
{
    const char *dash = strrchr(id, '-');
    size_t index = dash ? (size_t)strtoull(dash + 1, NULL, 10) : SIZE_MAX;
    const struct transfer *transfer;
    char expected[TRANSFER_ID_SIZE];
    int side;

    if (index >= ledger->load->count)
        return ledger_wrong(ledger, "a transfer that no client sent", id, database->participant);
    demo_transfer_id(ledger->load, index, expected);
    transfer = &ledger->load->transfers[index].what;
    side = transfer->database[0] == number ? 0 : 1;
    if (strcmp(id, expected) != 0 || transfer->database[side] != number)
        return ledger_wrong(ledger, "a transfer that no client sent", id, database->participant);
    if (strtoll(account, NULL, 10) != transfer->account[side] ||
        strtoll(amount, NULL, 10) != (side ? 1 : -1) * (int64_t)transfer->amount)
        return ledger_wrong(ledger, "a transfer with other contents", id, database->participant);
    if (ledger->seen[index] & (1 << side))
        return ledger_wrong(ledger, "twice there", id, database->participant);
    ledger->seen[index] |= (uint8_t)(1 << side);
    return true;
}

static bool ledger_read(struct ledger *ledger, const struct database *database, uint8_t number)
{
    PGconn *connection = PQconnectdb(database->dsn);
    PGresult *result = PQexec(connection, "SELECT txn, account, amount FROM ledger");
    bool well = PQresultStatus(result) == PGRES_TUPLES_OK;

    if (!well)
        (void)ledger_wrong(ledger, "cannot read the ledger", PQerrorMessage(connection), NULL);
    for (int i = 0; well && i < PQntuples(result); i++)
        well = ledger_row(ledger, database, number, PQgetvalue(result, i, 0),
                          PQgetvalue(result, i, 1), PQgetvalue(result, i, 2));
    PQclear(result);
    PQfinish(connection);
    return well;
}

static bool ledger_matches(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->load->count; i++) {
        uint8_t outcome = ledger->load->transfers[i].outcome;
        char id[65];

        demo_transfer_id(ledger->load, i, id);
        if (outcome == DEMO_UNKNOWN)
            return ledger_wrong(ledger, "no client learnt the outcome of", id, NULL);
        if (outcome == DEMO_COMMITTED && ledger->seen[i] != 3)
            return ledger_wrong(ledger,
                                ledger->seen[i] ? "acknowledged, but only in one database"
                                                : "acknowledged, but in no database",
                                id, NULL);
        if (outcome == DEMO_ABORTED && ledger->seen[i])
            return ledger_wrong(ledger, "aborted, but in a database", id, NULL);
    }
    return true;
}

static void prove_ledger(struct sandbox *sandbox, const struct demo_load *load,
                         struct demo_proof *proof)
{
    struct ledger ledger = {proof, load, must_alloc(load->count + 1, 1)};
    bool well = true;

    for (size_t i = 0; well && i < sandbox->count; i++)
        well = ledger_read(&ledger, &sandbox->databases[i], (uint8_t)i);
    proof->ledger_well = well && ledger_matches(&ledger);
    if (proof->ledger_well)
        (void)text_format(proof->ledger, sizeof(proof->ledger),
                          "%llu transfers acknowledged as committed are in both databases exactly "
                          "once, %llu aborted ones in none",
                          (unsigned long long)proof->committed, (unsigned long long)proof->aborted);
    else if (load->surprise[0])
        (void)snprintf(proof->ledger + strlen(proof->ledger),
                       sizeof(proof->ledger) - strlen(proof->ledger), " (a client was told %s)",
                       load->surprise);
    free(ledger.seen);
}

static void prove_money(struct sandbox *sandbox, struct demo_proof *proof)
{
    char error[256];

    proof->money_before = (int64_t)sandbox->count * DEMO_ACCOUNTS * BANK_BALANCE_START;
    for (size_t i = 0; i < sandbox->count; i++) {
        int64_t sum;

        if (!bank_number(sandbox->databases[i].dsn, "SELECT sum(balance)::bigint FROM accounts",
                         &sum, error)) {
            (void)snprintf(proof->money, sizeof(proof->money), "%.190s", error);
            return;
        }
        proof->money_after += sum;
    }
    proof->money_well = proof->money_after == proof->money_before;
    (void)text_format(proof->money, sizeof(proof->money),
                      "the money in all databases: %lld at the start, %lld at the end",
                      (long long)proof->money_before, (long long)proof->money_after);
}

static void prove_nothing_prepared(struct sandbox *sandbox, struct demo_proof *proof)
{
    char error[256];

    for (size_t i = 0; i < sandbox->count; i++) {
        int64_t count;

        if (!bank_number(sandbox->databases[i].dsn, "SELECT count(*) FROM pg_prepared_xacts",
                         &count, error)) {
            (void)snprintf(proof->prepared, sizeof(proof->prepared), "%.190s", error);
            return;
        }
        if (count) {
            (void)text_format(proof->prepared, sizeof(proof->prepared),
                              "%lld prepared transactions are left in %s", (long long)count,
                              sandbox->databases[i].participant);
            return;
        }
    }
    proof->prepared_well = true;
    (void)text_format(proof->prepared, sizeof(proof->prepared),
                      "pg_prepared_xacts is empty in all %zu databases", sandbox->count);
}

bool demo_prove(struct sandbox *sandbox, const struct demo_load *load, struct demo_proof *ret)
{
    *ret = (struct demo_proof){.committed = atomic_load(&load->committed),
                               .aborted = atomic_load(&load->aborted)};
    prove_ledger(sandbox, load, ret);
    prove_money(sandbox, ret);
    prove_nothing_prepared(sandbox, ret);
    return ret->ledger_well && ret->money_well && ret->prepared_well && ret->committed > 0;
}
