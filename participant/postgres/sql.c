/*
 * The fixed statements. What stands between a branch's own statements and its PREPARE has to put
 * the session back as it was (R11), and why each of them is needed, and enough, is told where it
 * stands.
 *
 * Fault model: a branch's statements may have run anything that its login may run, through
 * functions and triggers too: settings, roles, search_path, advisory locks, sequences, deferred
 * triggers.
 */
#include "participant/postgres/sql.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * After the branch's statements, in this order, inside its transaction:
 *
 * FIXED_CONSTRAINTS fires deferred triggers now. PREPARE would fire them after everything below,
 * and a trigger can SET ROLE (the branch then has an owner who is not the agent's login, and nobody
 * but him may finish it), change settings and take advisory locks.
 *
 * FIXED_RESET_ALL: settings, SET LOCAL ones too, go back to those the connection started with; its
 * start-up options carry synchronous_commit and the transaction defaults (part.c). A setting
 * changed in a transaction that fails goes back by itself, so this is needed only before PREPARE;
 * it is part of the transaction, so it holds if and only if PREPARE succeeds.
 *
 * FIXED_SEAL: RESET SESSION AUTHORIZATION and RESET ROLE (which RESET ALL leaves out), if who acts
 * is not the agent's login any more, so that PREPARE runs as that login; session-level advisory
 * locks, which PREPARE would leave with the session; and the transaction id (R7).
 *
 * FIXED_SEQUENCES: currval, lastval and cached values, which outlive any transaction.
 *
 * Not needed: temporary objects, WITH HOLD cursors, LISTEN and exported snapshots make PREPARE fail
 * (0A000). A branch that fails is rolled back, which undoes settings and roles; locks and sequences
 * are then reset with the ROLLBACK. A read-only branch ends with COMMIT instead, which lets cursors
 * WITH HOLD and LISTEN live: see branch.c.
 *
 * Cost: 6 us of the server's processor for a branch when its caches are warm, up to 15 when they
 * are not, where BEGIN, UPDATE, PREPARE and COMMIT PREPARED take 130 to 165 (PostgreSQL 15). One
 * function in PL/pgSQL that does all of it costs more.
 */

/* The timeline of this moment: right at once after a promotion, where pg_control_checkpoint() lags.
 */
#define WAL_FILE "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())"
#define TIMELINE "('x' || pg_catalog.substr(" WAL_FILE ", 1, 8))::bit(32)::bigint"
/* The token, but only while it was written in this history of this system (R7). */
#define IDENTITY_NOW                                                            \
    "(SELECT i.token FROM assent.identity i, pg_catalog.pg_control_system() s " \
    "WHERE i.system_id = s.system_identifier AND i.timeline = " TIMELINE ")"
#define SYSTEM "(SELECT system_identifier FROM pg_catalog.pg_control_system())"
#define ROLLED_BACK "counter < $1::bigint OR system_id <> " SYSTEM " OR timeline <> " TIMELINE
#define MARKER_NOW "EXISTS (SELECT FROM assent.marker WHERE gid = $2)"
#define NO_MARKER "$2::text IS NULL"

/* Plain BEGIN is READ COMMITTED, READ WRITE: the connection's start-up options say so (part.c), and
 * RESET ALL brings them back. Naming them costs the server 1 us more. */
static const char *const fixed_sql[FIXED_COUNT] = {
    [FIXED_BEGIN_READ_COMMITTED] = "BEGIN",
    [FIXED_BEGIN_REPEATABLE_READ] = "BEGIN ISOLATION LEVEL REPEATABLE READ",
    [FIXED_BEGIN_SERIALIZABLE] = "BEGIN ISOLATION LEVEL SERIALIZABLE",
    [FIXED_READ_READ_COMMITTED] = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
    [FIXED_READ_REPEATABLE_READ] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    [FIXED_READ_SERIALIZABLE] = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    /* A transaction that has a snapshot cannot be made READ WRITE any more (R10). */
    [FIXED_SNAPSHOT] = "SELECT 1",
    [FIXED_CONSTRAINTS] = "SET CONSTRAINTS ALL IMMEDIATE",
    [FIXED_RESET_ALL] = "RESET ALL",
    [FIXED_SEAL] = NULL, /* sql_seal */
    [FIXED_SEQUENCES] = "DISCARD SEQUENCES",
    [FIXED_COMMIT] = "COMMIT",
    [FIXED_ROLLBACK] = "ROLLBACK",
    [FIXED_UNLOCK] = "SELECT pg_catalog.set_config('session_authorization', NULL, false), "
                     "pg_catalog.set_config('role', NULL, false), "
                     "pg_catalog.pg_advisory_unlock_all()",
    [FIXED_CLOSE_ALL] = "CLOSE ALL",
    [FIXED_UNLISTEN] = "UNLISTEN *",
    [FIXED_CHECK] = "SELECT s.system_identifier, " WAL_FILE ", (SELECT token FROM assent.identity) "
                    "FROM pg_catalog.pg_control_system() s",
    [FIXED_LISTED] = "SELECT transaction FROM pg_catalog.pg_prepared_xacts "
                     "WHERE gid = $1 AND database = pg_catalog.current_database()",
    [FIXED_STATUS] = "SELECT pg_catalog.pg_xact_status($1::xid8), " NO_MARKER ", " IDENTITY_NOW,
    [FIXED_NO_STATUS] = "SELECT $1::text, " NO_MARKER ", " IDENTITY_NOW,
    [FIXED_SCAN] =
        "WITH p AS MATERIALIZED (SELECT gid, transaction, database = pg_catalog.current_database() "
        "AS here, pg_catalog.starts_with(gid, $1) AS ours, pg_catalog.age(transaction) AS "
        "xmin_age, "
        "(extract(epoch FROM pg_catalog.clock_timestamp() - prepared) * 1000)::bigint AS age_ms "
        "FROM pg_catalog.pg_prepared_xacts) "
        "SELECT gid, NULL::bigint, age_ms, NULL::bigint, NULL::integer, NULL::integer, "
        "NULL::bigint "
        "FROM p WHERE here AND ours "
        "UNION ALL SELECT NULL, count(*) FILTER (WHERE here AND NOT ours), count(*), "
        "count(*) FILTER (WHERE ours), max(xmin_age) FILTER (WHERE here AND ours), "
        "max(xmin_age) FILTER (WHERE here AND NOT ours), "
        "max(age_ms) FILTER (WHERE here AND NOT ours) FROM p",
    /* The listed id is the low half of the transaction's; it is less than 2^31 away from the next
     * one, before or behind it. The oldest come first. */
    [FIXED_LIST] =
        "SELECT p.gid, n.next + ((p.transaction::text::bigint - n.next + 2147483648) & 4294967295) "
        "- 2147483648, (extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared) * "
        "1000)::bigint, p.owner FROM pg_catalog.pg_prepared_xacts p, "
        "(SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint AS "
        "next) n WHERE p.database = pg_catalog.current_database() ORDER BY p.prepared",
    /* $1 is the counter that the cluster remembers. A row that is not older than that stays: the token it bears is
     * the one of this history, and a new one would make every vote under it unprovable. */
    [FIXED_ROTATE] =
        "UPDATE assent.identity SET "
        "token = CASE WHEN " ROLLED_BACK " THEN pg_catalog.gen_random_uuid() ELSE token END, "
        "written_at = CASE WHEN " ROLLED_BACK " THEN pg_catalog.now() ELSE written_at END, "
        "system_id = " SYSTEM ", timeline = " TIMELINE
        " RETURNING token, counter, system_id, timeline",
    [FIXED_MARK] = "INSERT INTO assent.marker (gid) VALUES ($1)",
    [FIXED_UNMARK] = "DELETE FROM assent.marker WHERE ctid = ANY (ARRAY(SELECT ctid "
                     "FROM assent.marker WHERE created < pg_catalog.now() - interval '7 days' "
                     "LIMIT 10000))",
};

static const char *const fixed_names[] = {
    "f0",  "f1",  "f2",  "f3",  "f4",  "f5",  "f6",  "f7",  "f8",  "f9",  "f10", "f11", "f12",
    "f13", "f14", "f15", "f16", "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24"};
_Static_assert(AS_COUNT_OF(fixed_names) == FIXED_COUNT, "a name for each fixed statement");

const char *sql_fixed(enum fixed fixed, bool marker)
{
    AS_ASSERT(fixed < FIXED_COUNT);
    if (marker && fixed == FIXED_STATUS)
        return "SELECT pg_catalog.pg_xact_status($1::xid8), " MARKER_NOW ", " IDENTITY_NOW;
    if (marker && fixed == FIXED_NO_STATUS)
        return "SELECT $1::text, " MARKER_NOW ", " IDENTITY_NOW;
    return fixed_sql[fixed];
}

void sql_seal(char *ret_text, size_t size, const char *login)
{
    snprintf(ret_text, size,
             "SELECT pg_catalog.pg_current_xact_id(), pg_catalog.pg_advisory_unlock_all(), "
             "CASE WHEN current_user <> %s OR session_user <> %s THEN "
             "pg_catalog.set_config('session_authorization', NULL, false) || "
             "pg_catalog.set_config('role', NULL, false) END",
             login, login);
}

const char *sql_fixed_name(enum fixed fixed)
{
    AS_ASSERT(fixed < FIXED_COUNT);
    return fixed_names[fixed];
}

#define TABLE_THERE(name)                                                       \
    "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n " \
    "ON n.oid = c.relnamespace WHERE n.nspname = 'assent' AND c.relname = '" name "')"

/* The preflight's own session is made durable first, for the identity row it may write. */
const char sql_facts[] =
    "SELECT pg_catalog.current_setting('server_version_num'), "
    "pg_catalog.current_setting('max_prepared_transactions'), pg_catalog.current_setting('fsync'), "
    "pg_catalog.current_setting('full_page_writes'), "
    "pg_catalog.current_setting('synchronous_commit'), pg_catalog.pg_is_in_recovery(), "
    "current_user, pg_catalog.current_database(), " TABLE_THERE("identity") ", " TABLE_THERE(
        "marker") ", "
                  "(SELECT count(*) FROM pg_catalog.pg_prepared_xacts p WHERE p.database = "
                  "pg_catalog.current_database() AND p.gid LIKE 'assent/%' AND p.owner <> "
                  "current_user "
                  "AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = "
                  "current_user)), "
                  "pg_catalog.current_setting('server_version_num')::int >= 140000 "
                  "AND pg_catalog.version() LIKE '%linux%', "
                  "pg_catalog.set_config('synchronous_commit', CASE "
                  "pg_catalog.current_setting('synchronous_commit') WHEN 'remote_apply' THEN "
                  "'remote_apply' ELSE 'on' END, false)";

/*
 * The token stays while it was written in this history of this system; but not the token that this process knows, in a
 * row older than it has read before: then the storage was rolled back, and ids are given out again (R7).
 */
void sql_identity(char *ret_text, size_t size, const struct as_identity *known, uint64_t counter)
{
    char same[200], token[2 * AS_IDENTITY_LEN + 1] = "";
    int len = snprintf(same, sizeof same,
                       "i.system_id = EXCLUDED.system_id AND i.timeline = EXCLUDED.timeline");

    for (size_t i = 0; known && i < AS_IDENTITY_LEN; i++)
        snprintf(token + 2 * i, 3, "%02x", known->token[i]);
    if (known)
        snprintf(same + len, sizeof same - (size_t)len,
                 " AND NOT (i.token = '%s' AND i.counter < %" PRIu64 ")", token, counter);
    snprintf(ret_text, size,
             "INSERT INTO assent.identity AS i (token, counter, system_id, timeline) "
             "SELECT pg_catalog.gen_random_uuid(), 1, s.system_identifier, " TIMELINE
             " FROM pg_catalog.pg_control_system() s ON CONFLICT (one) DO UPDATE SET "
             "token = CASE WHEN %s THEN i.token ELSE EXCLUDED.token END, "
             "written_at = CASE WHEN %s THEN i.written_at ELSE EXCLUDED.written_at END, "
             "counter = i.counter + %d, system_id = EXCLUDED.system_id, "
             "timeline = EXCLUDED.timeline RETURNING token, counter, system_id, timeline",
             same, same, !known);
}

/* The assembler reads the file: what an operator can read and what the agent runs cannot differ. */
__asm__(".section .rodata\n"
        ".global sql_install\n"
        "sql_install:\n"
        ".incbin \"" AS_SOURCE_DIR "/sql/agent.sql\"\n"
        ".byte 0\n"
        ".previous\n");
