/*
 * Every fixed statement of the room. They are prepared once on each connection under the names f0,
 * f1, ...
 */
#ifndef ASSENT_PG_SQL_H
#define ASSENT_PG_SQL_H

#include "assent/attempt.h"

enum fixed {
    FIXED_BEGIN_READ_COMMITTED,
    FIXED_BEGIN_REPEATABLE_READ,
    FIXED_BEGIN_SERIALIZABLE,
    FIXED_READ_READ_COMMITTED,
    FIXED_READ_REPEATABLE_READ,
    FIXED_READ_SERIALIZABLE,
    FIXED_SNAPSHOT,
    FIXED_CONSTRAINTS,
    FIXED_RESET_ALL,
    FIXED_SEAL,
    FIXED_SEQUENCES,
    FIXED_COMMIT,
    FIXED_ROLLBACK,
    FIXED_UNLOCK,
    FIXED_CLOSE_ALL,
    FIXED_UNLISTEN,
    FIXED_CHECK,
    FIXED_LISTED,
    FIXED_STATUS,
    FIXED_NO_STATUS,
    FIXED_SCAN,
    FIXED_LIST,
    FIXED_ROTATE,
    FIXED_MARK, /* the last two: only where proof = marker */
    FIXED_UNMARK,
    FIXED_COUNT,
    FIXED_COUNT_UNMARKED = FIXED_MARK,
};

/* The text of a fixed statement; some ask the marker table only where the participant keeps one. */
const char *sql_fixed(enum fixed fixed, bool marker);
/* That of FIXED_SEAL: it names the login, given as a quoted literal. */
void sql_seal(char *ret_text, size_t size, const char *login);
/* Its name on a connection, "f17". */
const char *sql_fixed_name(enum fixed fixed);

/* The preflight's questions; one column each in the order of enum fact (preflight.c). $ is not
 * used: they go as simple queries, and nothing in them comes from outside. */
extern const char sql_facts[];
/* Makes or renews the identity row. `known` and `counter`: what this process has read of it before; NULL: nothing, an
 * agent starts, and the counter grows. */
#define SQL_IDENTITY_BYTES 1500
void sql_identity(char *ret_text, size_t size, const struct as_identity *known, uint64_t counter);
/* sql/agent.sql, embedded when the program is built. */
extern const char sql_install[];

#endif
