/*
 * The bank of sql/bank.sql, which is compiled in: accounts with balances, and a row in a ledger for
 * each transfer, by which the demo proves what happened.
 */
#ifndef ASSENT_CLI_BANK_H
#define ASSENT_CLI_BANK_H

#include <libpq-fe.h>

#include "cli/cli.h"

/* Small enough that the demo overdraws one now and then, and it aborts. */
#define BANK_BALANCE_START 1000

/* Runs commands; false: ret_error says why. */
bool bank_run(const char *dsn, const char *sql, char ret_error[256]);
/* The schema, and accounts 1 to `accounts` with `balance` each. */
bool bank_make(const char *dsn, uint64_t accounts, uint64_t balance, char ret_error[256]);
/* The first value of the first row as a number. */
bool bank_number(const char *dsn, const char *sql, int64_t *ret_number, char ret_error[256]);

#endif
