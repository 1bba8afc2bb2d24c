/*
 * System tests: real assentd, assent-agent and PostgreSQL processes, started by `assent sandbox`.
 *
 * Nothing here sleeps to wait: `wait_for` polls a condition with a deadline far beyond what a busy
 * machine needs, and a test that runs into it fails with the name of the condition.
 */
#ifndef ASSENT_TEST_HARNESS_H
#define ASSENT_TEST_HARNESS_H

#include "../support/http.h"
#include "../support/support.h"

#include <cjson/cJSON.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define SANDBOX_DATABASES_MAX 4
#define SANDBOX_NODES_MAX 5
#define DEADLINE_MS 60000

struct sandbox {
    pid_t pid;
    char dir[256];
    char api[128]; /* "http://127.0.0.1:PORT": the first node's */
    int node_count;
    struct {
        char name[32]; /* "node-1" */
        int id;
        char api[128];
        char agents[64]; /* where agents and other nodes dial */
        char dir[300];   /* its decision log */
    } nodes[SANDBOX_NODES_MAX];
    char incarnation[24];
    int database_count;
    char participant[SANDBOX_DATABASES_MAX][64];
    char dsn[SANDBOX_DATABASES_MAX][512];
};

/* `extra`: NULL-terminated further arguments of `assent sandbox`, or NULL. Fails the test if it
 * does not come up. */
void sandbox_start(struct sandbox *sandbox, const char *const *extra);
/* ASSENT_NO_AGENTS is set: the coordinator serves the databases itself. CTest runs some programs
 * both ways. */
bool no_agents(void);
/* The process that serves the participant: its agent, or else the coordinator. */
const char *agent_of(const char *participant);
/* What a ROLE.token of a sandbox with --tls holds. */
void token_read(const char *path, char ret_token[128]);
/* Demands that the sandbox ends by itself and leaves no process. */
void sandbox_stop(struct sandbox *sandbox);
/* `assent sandbox VERB NAME --dir D [--env K=V]...`; names: node-1, agent-bank_a, database-bank_a.
 */
void sandbox_do(const struct sandbox *sandbox, const char *verb, const char *name,
                const char *const *env);
/* The same, but a failure is returned: the exit status. */
int sandbox_try(const struct sandbox *sandbox, const char *verb, const char *name,
                const char *const *env);
/* One process as `assent sandbox status` tells: 0 if it does not run. */
pid_t sandbox_pid(const struct sandbox *sandbox, const char *name);
bool sandbox_running(const struct sandbox *sandbox, const char *name);
/* The last lines of every process's log, to stderr. */
void sandbox_print_logs(const struct sandbox *sandbox);
/* Runs `assent ARGS...`; returns its exit status, what it printed in *ret_out (to be freed). */
int run_assent(const char *const *args, char **ret_out);

/* At the first node. `timeout_ms` of the whole exchange. `body` NULL: GET. */
void http(const struct sandbox *sandbox, const char *path, const char *body, long timeout_ms,
          struct answer *ret_answer);
void assert_status(const struct answer *answer, long status);

/* Waits until `met` holds; fails the test naming `what` after deadline_ms. */
void wait_for(const char *what, bool (*met)(void *ctx), void *ctx, int64_t deadline_ms);
int64_t now_ms(void);

/* --- PostgreSQL --- */

PGconn *db_connect(const struct sandbox *sandbox, int database);
/* One value as a number; fails the test if the query fails. */
int64_t db_number(PGconn *db, const char *sql);
void db_exec(PGconn *db, const char *sql);
/* Prepared transactions in that database, of anybody. Connects for itself; -1: cannot connect. */
int64_t db_prepared_count(const struct sandbox *sandbox, int database);
/* No prepared transaction anywhere: waits for it. */
void wait_nothing_prepared(const struct sandbox *sandbox, int64_t deadline_ms);

/* --- Money: table `accounts` of the demo's bank; a transfer writes its id into `ledger` of both
 * --- */

/* Writes the body of a transfer of `amount` from account `from` of database 0 to `to` of
 * database 1. */
void transfer_body(char *ret_body, size_t size, const char *id, int64_t from, int64_t to,
                   int64_t amount, const char *more);
int64_t money_total(const struct sandbox *sandbox);
/* 1 or 0: whether the transfer is there in that database. More than one fails the test. */
int64_t ledger_count(const struct sandbox *sandbox, int database, const char *id);

#endif
