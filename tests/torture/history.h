/*
 * What the clients did and saw: the transfers they made up, and every request with its answer. Kept in memory for the checks and
 * written to DIR/history.txt as it grows, a line for each operation.
 */
#ifndef ASSENT_TORTURE_HISTORY_H
#define ASSENT_TORTURE_HISTORY_H

#include <pthread.h>
#include <stdio.h>

#include "assent/attempt.h"
#include "world.h"

/* --- Transfers: what an id stands for. Written once, by the client that makes it up --- */

enum transfer_kind {
    TRANSFER_PLAIN,     /* moves money among two or three databases; a row in the ledger of each */
    TRANSFER_READ_ONLY, /* the same, and the database that is left has a read-only branch */
    TRANSFER_FAILS,     /* a statement of it fails: must abort */
    TRANSFER_UNMET,     /* expect_rows is not met: must abort */
};

struct transfer {
    uint8_t kind;
    uint8_t wait;                    /* enum wait */
    int32_t amount[WORLD_DATABASES]; /* the sum is 0; 0: no row in that database */
    uint16_t account[WORLD_DATABASES];
};

enum wait { WAIT_APPLIED, WAIT_DECIDED, WAIT_NONE };

/* --- Operations --- */

enum op_kind { OP_POST, OP_GET }; /* GET by id, linearizable */

enum op_result {
    RESULT_COMMITTED,
    RESULT_ABORTED, /* now: an earlier POST of the same id without an answer may still commit it */
    RESULT_UNDER_WAY, /* active or preparing */
    RESULT_NOT_FOUND, /* GET: 404 */
    RESULT_REFUSED,   /* surely not carried out: 503 no_leader and such */
    RESULT_UNKNOWN, /* no answer, or outcome_unknown: a POST may take effect even much later; a GET says nothing */
    RESULT_ODD, /* what nobody may answer: fails the run */
};

struct op {
    uint64_t transfer;               /* whose id: index into transfers; its text is history_id() */
    int64_t invoked_ns, returned_ns; /* CLOCK_MONOTONIC of the runner */
    uint8_t kind, result;
    uint8_t client, node; /* from 0 */
    bool applied;
    uint16_t status;  /* HTTP; 0: no answer */
    char attempt[22]; /* of the answer: "7.42"; "": none */
    char reason[24];  /* of an abort or problem: "statement_failed", "no_leader"; "": none */
};

/* What a nemesis has done to a branch by force, so that the checks expect it if that very attempt is committed. */
enum mark {
    MARK_ROLLED_BACK, /* a person's ROLLBACK PREPARED: its row is missing there, and it is reported as heuristic */
    MARK_LOST, /* failover to a standby that had not got its PREPARE: as above, reported as lost or unverified */
    MARK_GONE, /* the same, but it had been committed: its row is missing. If that was acknowledged nobody can know; else reported */
    MARK_DOUBT, /* it had been committed before a failover, and its database proves nothing across one (R7): its row is there, and it
                   may be reported */
};

struct history_mark {
    uint64_t transfer;
    char attempt[22];
    uint8_t database, mark;
};

struct history {
    pthread_mutex_t lock; /* of all below; checks run while clients are paused and need it not */
    uint64_t run;         /* in every id */
    struct transfer *transfers;
    size_t transfer_count, transfer_cap;
    struct op *ops; /* in the order in which they returned */
    size_t op_count, op_cap;
    struct history_mark *marks;
    size_t mark_count, mark_cap;
    FILE *file;
};

struct history *history_open(const char *path, uint64_t run);
void history_close(struct history *history);
/* "t-<run>-<index>" */
void history_id(const struct history *history, uint64_t transfer, char ret_id[65]);
/* False: no id of this run. */
bool history_parse_id(const struct history *history, const char *id, uint64_t *ret_transfer);
/* Any thread. */
uint64_t history_add_transfer(struct history *history, const struct transfer *transfer);
void history_add_op(struct history *history, const struct op *op);
void history_mark(struct history *history, uint64_t transfer, struct as_attempt attempt,
                  uint8_t database, enum mark mark);
/* Of a transfer that is committed: whether that attempt was marked. */
bool history_is_marked(const struct history *history, uint64_t transfer, uint8_t database,
                       enum mark *ret_mark);

/* --- linearizable.c: reads by id --- */

/* Every id is an object of its own. False: ret_why names the id and the operations that have no order. */
bool history_linearizable(const struct history *history, char *ret_why, size_t size);

#endif
