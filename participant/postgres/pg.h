/*
 * PostgreSQL by libpq: for each participant a pool of connections in non-blocking pipeline mode,
 * the preflight checks at connect, and the operations of assent/pgop.h. Decides nothing: the agent
 * does.
 */
#ifndef ASSENT_PG_H
#define ASSENT_PG_H

#include <uv.h>

#include "assent/pgop.h"

struct pg;

struct pg_participant_config {
    char name[AS_PARTICIPANT_LEN_MAX + 1];
    char dsn[1024];       /* libpq connection string */
    uint32_t connections; /* 0: 16: for work; two more are kept for finishing */
    enum as_proof proof;
    bool null; /* no database: everything succeeds at once (bench --null) */
};

/* Called from the loop, never from inside a pg_* call. */
struct pg_callbacks {
    void *ctx;
    void (*up)(void *ctx, const struct as_pg_up *up);
    void (*down)(void *ctx, uint32_t participant, const char *why);
    void (*done)(void *ctx, const struct as_pg_done *done);
};

struct pg_config {
    char cluster[AS_CLUSTER_LEN_MAX + 1]; /* tells our gids from foreign ones */
    uint32_t participant_count;
    const struct pg_participant_config
        *participants; /* copied; the index is as_pg_op.participant */
};

/* INVALID: libpq does not understand it; ret_error says why. Nothing is connected to. */
as_err pg_dsn_check(const char *dsn, char ret_error[256]) AS_MUSTCHECK;

as_err pg_new(struct pg **ret_pg, const struct pg_config *config, uv_loop_t *loop,
              const struct pg_callbacks *callbacks) AS_MUSTCHECK;
void pg_start(struct pg *pg, const struct as_pg_op *op);
void pg_cancel(struct pg *pg, uint32_t participant, uint64_t op_id);
/* The turn ends: sends what the pipelines gathered. */
void pg_flush(struct pg *pg);
/* Cancels and closes; every operation under way ends as LOST or CANCELLED first. */
void pg_close(struct pg *pg, void (*closed)(void *ctx), void *ctx);
void pg_free(struct pg *pg);

#endif
