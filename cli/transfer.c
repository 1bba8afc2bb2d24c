/*
 * See transfer.h.
 */
#include "cli/transfer.h"

#include <stdio.h>

void transfer_draw(struct as_rng *rng, uint32_t databases, uint32_t accounts,
                   struct transfer *ret_transfer)
{
    uint64_t payer = as_rng_below(rng, databases);
    uint64_t receiver = (payer + 1 + as_rng_below(rng, databases - 1)) % databases;

    *ret_transfer = (struct transfer){.database = {(uint8_t)payer, (uint8_t)receiver}};
    for (int i = 0; i < 2; i++)
        ret_transfer->account[i] = 1 + (uint32_t)as_rng_below(rng, accounts);
    ret_transfer->amount = 1 + (uint32_t)as_rng_below(rng, 100);
}

/* One branch: the account's new balance, and the row by which the transfer is proved. */
static size_t branch_write(char *at, size_t size, const struct transfer *transfer, int side,
                           const char *id)
{
    int amount = side ? (int)transfer->amount : -(int)transfer->amount;

    return (size_t)snprintf(
        at, size,
        "{\"participant\":\"bank_%c\",\"statements\":["
        "{\"sql\":\"UPDATE accounts SET balance = balance + $1 WHERE id = $2\","
        "\"params\":[%d,%u],\"expect_rows\":1},"
        "{\"sql\":\"INSERT INTO ledger (txn, account, amount) VALUES ($1, $2, $3)\","
        "\"params\":[\"%s\",%u,%d],\"expect_rows\":1}]}",
        'a' + transfer->database[side], amount, transfer->account[side], id,
        transfer->account[side], amount);
}

size_t transfer_body(char ret_body[TRANSFER_BODY_SIZE], const struct transfer *transfer,
                     const char *id)
{
    size_t size = TRANSFER_BODY_SIZE, len;

    /* Two transfers may wait for each other across databases; neither sees it, the timeout ends it.
     */
    len = (size_t)snprintf(ret_body, size, "{\"id\":\"%s\",\"timeout_ms\":3000,\"branches\":[", id);
    len += branch_write(ret_body + len, size - len, transfer, 0, id);
    ret_body[len++] = ',';
    len += branch_write(ret_body + len, size - len, transfer, 1, id);
    len += (size_t)snprintf(ret_body + len, size - len, "]}");
    AS_ASSERT(len < size);
    return len;
}
