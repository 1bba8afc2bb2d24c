/*
 * A transfer of money between two databases of the demo's bank (bank.h), as a service would post
 * it: what `assent demo` and `assent load` send.
 */
#ifndef ASSENT_CLI_TRANSFER_H
#define ASSENT_CLI_TRANSFER_H

#include "assent/rng.h"
#include "cli/cli.h"

#define TRANSFER_ID_SIZE 65 /* of the longest id, with its NUL */
#define TRANSFER_BODY_SIZE 1500

/* Side 0 pays, side 1 receives. */
struct transfer {
    uint8_t database[2];
    uint32_t account[2];
    uint32_t amount;
};

/* A random one between two of `databases` (bank_a, bank_b, ...), of accounts 1 to `accounts`. */
void transfer_draw(struct as_rng *rng, uint32_t databases, uint32_t accounts,
                   struct transfer *ret_transfer);
/* The body of POST /v1/transactions; returns its length. */
size_t transfer_body(char ret_body[TRANSFER_BODY_SIZE], const struct transfer *transfer,
                     const char *id);

#endif
