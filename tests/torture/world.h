/*
 * The tortured cluster: real processes, each in a network namespace of its own ("place"), on one bridge.
 *
 *   10.77.0.1 the runner   .11 .12 .13 nodes   .21 ... agents   .31 ... databases   .41 ... clients   .51 ... free for others
 *
 * The runner is process 1 of a PID, mount and network namespace of its own: names of places and mounts are seen by nobody else,
 * and when the runner ends, however that happens, the kernel takes everything down with it.
 *
 * The runner itself is out of reach of every strike: its address is let through by all rules of packet filters, and it may reach
 * servers by their unix sockets in DIR/run.
 *
 * Only the runner's main thread calls what is declared here, unless it says otherwise.
 */
#ifndef ASSENT_TORTURE_WORLD_H
#define ASSENT_TORTURE_WORLD_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "assent/base.h"
#include "assent/rng.h"

#define WORLD_NODES 3
#define WORLD_DATABASES 3
#define WORLD_CLIENTS 8
#define WORLD_PLACES_MAX 32
#define WORLD_API_PORT 7480
#define WORLD_LINK_PORT 7481
#define WORLD_CLUSTER "torture"
#define WORLD_RUNNER_IP "10.77.0.1"
#define WORLD_ACCOUNTS 64
#define WORLD_BALANCE 1000000

/* --- Places --- */

struct place {
    char name[24]; /* of the namespace: node-1, agent-bank_a, database-bank_a, client-1, ... */
    char ip[16];
    int netns;         /* a file descriptor of it */
    const void *taken; /* by a strike: see world_take() */
};

/* --- Processes --- */

enum process_kind { PROCESS_NODE, PROCESS_AGENT, PROCESS_DATABASE, PROCESS_OTHER };

#define PROCESS_ARGS_MAX 24
#define PROCESS_ENV_MAX 8

struct process {
    char name[40]; /* as its place */
    enum process_kind kind;
    int number; /* of its kind, from 0 */
    struct place *place;
    char *argv[PROCESS_ARGS_MAX]; /* argv[0] is the path of the program */
    char *env[PROCESS_ENV_MAX];   /* "K=V" besides our own: LD_PRELOAD ... */
    const char *user;             /* NULL: as we do */
    char log_path[160];
    pid_t pid;    /* 0: does not run */
    bool wanted;  /* meant to run: its end by itself fails the run */
    bool stopped; /* SIGSTOP */
    int end;      /* how it ended last: as of waitpid() */
};

struct world;

/* Starts it in its place; does not wait until it is ready. False: the world has failed (world_fail). */
bool process_start(struct world *world, struct process *process);
/* SIGKILL to all in its place (a server's backends too), and waits until they are gone. */
void process_kill(struct world *world, struct process *process);
/* A signal to all in its place. */
void process_signal(struct process *process, int number);
/* From now on its end by itself is expected (wanted = false), or is a failure again. */
void process_expect_end(struct process *process, bool expected);
/* Kills it if it runs, then starts it. */
bool process_restart(struct world *world, struct process *process);

/* --- The world --- */

struct node {
    struct process process;
    int id; /* from 1 */
    char dir
        [160]; /* data_dir: on the runner's file system, unless a nemesis mounts something there before the start */
    char api[64]; /* http://10.77.0.11:7480 */
};

struct database {
    char participant[8]; /* bank_a ... */
    struct process server, agent;
    char dir[160]; /* PGDATA */
    int port;      /* 5431 + its number from 1: TCP and unix socket */
    char agent_hosts
        [128]; /* what the agent's dsn has as host=; default: the server's address. Written at the start: a nemesis'
                              prepare() may append ",10.77.0.51" and more to agent_dsn_more */
    char agent_ports[64];
    char agent_dsn_more[128];
    bool marker; /* its agent proves outcomes by marker rows: set by prepare() */
    /* Whom the checks ask. Changed by a failover. Socket directory or address, and port. */
    char check_host[160];
    int check_port;
    char settings[1024]; /* lines for postgresql.conf: a nemesis' prepare() may append */
};

struct history;

struct world {
    char dir[128];      /* data, logs, etc, run */
    char bin[256];      /* assentd, assent-agent, assent */
    char postgres[256]; /* where initdb, postgres, pg_basebackup are */
    const char *postgres_user;
    uint64_t seed;
    bool tls;         /* links and API */
    bool interrupted; /* Ctrl-C: unwind */
    struct place places[WORLD_PLACES_MAX];
    size_t place_count;
    struct node nodes[WORLD_NODES];
    struct database databases[WORLD_DATABASES];
    struct place *clients[WORLD_CLIENTS];
    struct process *others[16]; /* standbys ...: world_adopt() */
    size_t other_count;
    struct history *history;
    char error[1024]; /* "": all is well so far */
};

/* Says why this run fails; the first one counts. Always false. Any thread. */
bool world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line for the operator of the test, with the time since the start. Any thread. */
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A further place, for instance of a standby: 10.77.0.51 for last = 51. NULL: failed. */
struct place *place_make(struct world *world, const char *name, int last);
/* The process is reaped and killed with the others, and its end by itself is a failure. */
void world_adopt(struct world *world, struct process *process);

/*
 * So that two strikes at once do not undo each other: what restarts or stops a process, or changes what it stands on, takes its
 * place first, until it gives it back in heal(). Network rules need not: they overlap.
 */
bool world_take(struct place *place, const void *by);
void world_give_back(struct world *world, const void *by);
/* One of the free ones, drawn and taken; NULL: none is free. */
struct node *world_take_node(struct world *world, struct as_rng *rng, const void *by);
struct database *world_take_database(struct world *world, struct as_rng *rng,
                                     const void *by); /* its server's place */
struct process *world_take_process(struct world *world, struct as_rng *rng,
                                   const void *by); /* node, agent or server */

/* Number of the node that leads by the highest term, asked now; -1: none. */
int world_leader(struct world *world);
/* Waits while reaping; false: failed, interrupted, or the condition did not hold in time. `met` NULL: waits that long. */
bool world_wait(struct world *world, bool (*met)(void *ctx), void *ctx, int64_t timeout_ms);
int64_t world_now_ms(void);

/* A shell command in the runner's namespaces; true: exit code 0. Its output goes to DIR/log/commands.log. */
bool world_run(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same in a place's network namespace. */
bool place_run(struct world *world, const struct place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* To the bank of a database, as the checks see it (check_host). NULL: cannot connect. */
PGconn *database_connect(const struct database *database);

#endif
