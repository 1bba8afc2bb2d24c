/*
 * assent demo: load that knows the outcome of every transfer it ever sent, things that are killed
 * meanwhile, and the proof at the end.
 */
#ifndef ASSENT_CLI_DEMO_H
#define ASSENT_CLI_DEMO_H

#include <stdatomic.h>

#include "cli/http.h"
#include "cli/sandbox.h"
#include "cli/transfer.h"

#define DEMO_CLIENTS 16
#define DEMO_ACCOUNTS 1000

enum demo_outcome { DEMO_UNKNOWN, DEMO_COMMITTED, DEMO_ABORTED };

struct demo_transfer {
    uint8_t outcome; /* as the client was told */
    struct transfer what;
};

struct demo_poster {
    char request[2048];
    size_t len;
    size_t transfer; /* its index */
    bool open;       /* its outcome is not known yet: the same id goes on */
};

/* The counters may be read while it runs, the transfers once it has ended. */
struct demo_load {
    const char *api; /* of all nodes */
    uint64_t run;    /* random: part of every id */
    uint32_t database_count;
    atomic_bool stop;    /* start no new transfer */
    atomic_bool give_up; /* and settle none either */
    atomic_bool ended;
    atomic_ulong committed, aborted, retries, in_flight;
    struct demo_poster posters[DEMO_CLIENTS];
    struct demo_transfer *transfers;
    size_t count, cap;
    char surprise[300]; /* the first answer that nobody expected; "": none */
};

/* Entry of the load's thread. */
void demo_load_thread(void *load);
/* "demo-<run>-<index>" */
void demo_transfer_id(const struct demo_load *load, size_t index, char ret_id[65]);

struct demo_proof {
    uint64_t committed, aborted;
    int64_t money_before, money_after;
    bool money_well, ledger_well, prepared_well;
    char money[200], ledger[400], prepared[200]; /* what was found, for people */
};

/* True when every point holds. */
bool demo_prove(struct sandbox *sandbox, const struct demo_load *load, struct demo_proof *ret);

#endif
