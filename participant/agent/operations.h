/*
 * Named operations: SQL that an operator has written down for a participant, so that a client names
 * it instead of sending SQL of its own (docs/operations.md, "Named operations").
 *
 * The file:
 *
 *   -- name: debit
 *   -- expect_rows: 1
 *   UPDATE accounts SET balance = balance - $2 WHERE id = $1
 *
 *   -- name: ...
 */
#ifndef ASSENT_AGENT_OPERATIONS_H
#define ASSENT_AGENT_OPERATIONS_H

#include "assent/buf.h"
#include "assent/limits.h"

struct operations;

/* INVALID: ret_error says which line is wrong and what is allowed. Copies the text. */
as_err operations_parse(struct as_bytes text, struct operations **ret_operations,
                        char ret_error[256]) AS_MUSTCHECK;
void operations_free(struct operations *operations); /* takes NULL */
uint32_t operations_count(const struct operations *operations);

/* Why work may not be run. SQLSTATEs of class OP are ours: api.md lists them. */
struct operations_refusal {
    int32_t statement;
    const char *sqlstate;
    char why[300];
};

/*
 * Appends the work with each operation's SQL in the place of its name. `operations` may be NULL:
 * none are known. `named`: SQL of the client's own is refused. REFUSED: *ret_refusal says why. NOMEM,
 * TOOBIG, MALFORMED: as the buffer or the work has it.
 */
as_err operations_expand(const struct operations *operations, bool named, struct as_bytes work,
                         struct as_buf *out, struct operations_refusal *ret_refusal) AS_MUSTCHECK;

#endif
