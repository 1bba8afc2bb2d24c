/*
 * What the runner's own files share; nemeses need none of it.
 */
#ifndef ASSENT_TORTURE_INSIDE_H
#define ASSENT_TORTURE_INSIDE_H

#include "history.h"
#include "nemesis.h"
#include "world.h"

/* --- place.c --- */
/* False: this machine cannot. */
bool bridge_make(struct world *world);

/* --- process.c --- */
/* In a child, before it becomes something else. */
void signals_default(void);
/* Takes note of those that have ended. */
void processes_reap(struct world *world);
/* A name, a log file, nothing that runs yet. `program` is copied; arguments follow with process_argument(). */
void process_init(const struct world *world, struct process *process, enum process_kind kind,
                  int number, const char *name, struct place *place, const char *program);
void process_argument(struct process *process, const char *argument);
/* All in all places. */
void processes_kill_all(struct world *world);

/* --- world.c --- */
/* Number i of all processes; NULL: no more. */
struct process *world_process(struct world *world, size_t i);
void world_clock_start(void);

/* --- cluster.c --- */
/* Places, directories, configs; then all processes, until a transaction could be run. */
bool cluster_make(struct world *world);
bool cluster_start(struct world *world);
/* Every node follows one leader and every participant is up, as that leader says. Else ret_why says what is not so. */
bool cluster_works(struct world *world, char *ret_why, size_t size);

/* --- server.c --- */
bool servers_init(struct world *world);
bool servers_start(struct world *world);
bool database_execute(const struct database *database, const char *sql);

/* --- clients.c --- */
struct clients;
struct clients *clients_start(struct world *world);
/* All of them have ended what they were at, and wait. False: failed. */
bool clients_pause(struct world *world, struct clients *clients);
void clients_resume(struct clients *clients);
void clients_stop(struct clients *clients);

/* --- requests.c: one operation, recorded. Any thread --- */
struct requester {
    struct world *world;
    uint8_t number; /* WORLD_CLIENTS: the runner itself */
    struct as_rng rng;
};
enum op_result request_post(const struct requester *requester, uint64_t transfer, int node,
                            struct op *ret_op);
enum op_result request_get(const struct requester *requester, uint64_t transfer, int node,
                           int wait_ms, struct op *ret_op);
uint64_t transfer_invent(struct requester *requester);
/* Plain, over all databases. */
uint64_t transfer_invent_probe(struct requester *requester);

/* --- check.c --- */
/* While clients are paused: waits until all is settled, then looks at every row of every id; asks a node for those whose
 * outcome no client knows, from that number on. */
bool check_world(struct world *world, uint64_t asked_from);

/* --- settle.c --- */
bool settle(struct world *world);
/* For each transfer a bit for each database whose branch is reported as heuristic, lost or unverified. */
bool heuristics_read(struct world *world, uint8_t *ret_flags);

/* --- rules.c: packet filters --- */
/* A chain of its own in front of INPUT and OUTPUT of the place; rules as of iptables, "%s" being the chain. The runner's packets pass. */
struct rules {
    int number; /* names the chain */
    char text[4096];
    size_t len;
};
void rules_init(struct rules *rules);
/* "-A INPUT-chain -s 1.2.3.4 -j DROP" is rules_add(rules, true, "-s 1.2.3.4 -j DROP") */
void rules_add(struct rules *rules, bool input, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool rules_put(struct world *world, const struct place *place, const struct rules *rules);
bool rules_take_away(struct world *world, const struct place *place, const struct rules *rules);

/* --- hold.c: packets held back in a place, by NFQUEUE --- */
struct hold;
/* Those that arrive at the places wait for `base_ms` and up to `jitter_ms` more, each for itself. */
struct hold *hold_begin(struct world *world, struct place *const *places, size_t count, int base_ms,
                        int jitter_ms, uint64_t seed);
bool hold_end(struct world *world, struct hold *hold);

/* --- ledger.c: what the databases hold --- */
struct ledger {
    uint8_t *seen[WORLD_DATABASES]; /* for each transfer: how often it is there */
    size_t count;
    int64_t total;
};
/* False: failed; rows nobody wrote, wrong amounts, balances that do not match the rows. */
bool ledger_read(struct world *world, struct ledger *ledger);
void ledger_free(struct ledger *ledger);

#endif
