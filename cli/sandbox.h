/*
 * A sandbox: private PostgreSQL servers, an agent for each, one coordinator node or several, all in
 * one directory and all children of this process. `assent sandbox` serves one until Ctrl-C; demo and bench make
 * their own.
 *
 *   DIR/database-bank_a/   a server's data          DIR/run/    unix sockets of the servers
 *   DIR/node-1/            the decision log         DIR/etc/    config files
 *   DIR/log/               output of each process   DIR/control.sock, DIR/sandbox.json
 *
 * Processes have names: node-1, agent-bank_a, database-bank_a.
 */
#ifndef ASSENT_CLI_SANDBOX_H
#define ASSENT_CLI_SANDBOX_H

#include <cjson/cJSON.h>
#include <libpq-fe.h>

#include "cli/options.h"
#include "cli/process.h"

#define SANDBOX_CLUSTER "sandbox"
#define SANDBOX_DATABASES_MAX 26 /* bank_a to bank_z */
#define SANDBOX_NODES_MAX 9      /* as many as a cluster may have */
#define SANDBOX_DIR_LEN_MAX 80   /* a unix socket's path has 107 bytes at most */
#define SANDBOX_READY_MS 60000

struct sandbox_options {
    uint64_t databases;
    uint64_t nodes;  /* 0: 1 */
    const char *dir; /* NULL: a temporary one, removed at the end unless `keep` */
    bool keep;
    bool null;                   /* no databases: agents that answer at once */
    bool databases_only;         /* no coordinator and no agents */
    bool tls;                    /* links and API; certificates in DIR/etc/tls */
    bool no_agents;              /* each node serves the databases itself */
    bool quiet;                  /* says nothing while it starts */
    uint64_t accounts;           /* in each database, numbered from 1 */
    uint64_t balance;            /* of each account; 0: BANK_BALANCE_START */
    uint64_t prepared_max;       /* max_prepared_transactions of each server; 0: 200 */
    const char *incarnation;     /* 16 hex digits; NULL: drawn */
    struct option_list settings; /* of every node: "section.key=value" */
    const char *node_program;    /* NULL: assentd */
    struct option_list node_env; /* of every node: "K=V" */
    const char *wrap; /* a command that runs coordinator and agents, as valgrind does; NULL: none */
};

struct database {
    char participant[8];
    char dir[128];
    char dsn[256];
    uint16_t port;
    struct process server;
    struct process agent;
};

struct node {
    uint64_t id; /* from 1 */
    char dir[128];
    uint16_t api_port, agents_port;
    char api[64];
    struct process process;
};

struct sandbox {
    struct loop *loop;
    struct sandbox_options options;
    char dir[128];
    bool dir_is_ours; /* made by us, and nothing but ours is in it */
    char binaries[400];
    char postgres[256]; /* where initdb and postgres are */
    const char *user;   /* that servers run as; NULL: as we do */
    uint64_t incarnation;
    char api[SANDBOX_NODES_MAX * 64]; /* of all nodes, with commas */
    size_t node_count;
    struct node nodes[SANDBOX_NODES_MAX];
    size_t count;
    struct database databases[SANDBOX_DATABASES_MAX];
    struct process *failed; /* the process whose log explains `error` */
    char error[512];
};

/* All is up when it returns true. Else it has said why, and nothing of it is left running. */
bool sandbox_start(struct sandbox *sandbox, struct loop *loop,
                   const struct sandbox_options *options);
/* Stops everything, by force if need be; removes a temporary directory. Takes a half-started one.
 */
void sandbox_stop(struct sandbox *sandbox);

/* SIGKILL; of a database: the server and all its backends. False: ret_error says why. */
bool sandbox_kill(struct sandbox *sandbox, const char *name, char ret_error[512]);
/* Kills it if it runs, starts it with `env` and waits until it is ready. */
bool sandbox_restart(struct sandbox *sandbox, const char *name, const struct option_list *env,
                     char ret_error[512]);

/* Starts one more node, has the cluster take it in, and waits until it votes. NULL: ret_error says why. */
struct node *sandbox_node_add(struct sandbox *sandbox, char ret_error[512]);

/* Its number in `nodes`, as the nodes tell by themselves; -1: nobody leads, or they do not agree. */
int sandbox_leader(struct sandbox *sandbox);

/* The object printed when ready; the caller deletes it. */
cJSON *sandbox_json(const struct sandbox *sandbox);
/* The same to DIR/sandbox.json, for other commands. */
void sandbox_json_save(struct sandbox *sandbox);
/* Name, pid and state of every process. */
cJSON *sandbox_status_json(struct sandbox *sandbox);

/* --- sandbox_files.c --- */
bool sandbox_fail(struct sandbox *sandbox, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool sandbox_dir_make(struct sandbox *sandbox);
void sandbox_dir_remove(struct sandbox *sandbox);
void sandbox_node_dirs_clear(struct sandbox *sandbox);
/* Directory, ports and config of one that is not among `nodes` yet: its config names the others. */
bool sandbox_node_make(struct sandbox *sandbox, struct node *node);
void sandbox_node_unmake(const struct node *node);
bool sandbox_find_programs(struct sandbox *sandbox);
bool sandbox_pick_ports(struct sandbox *sandbox);
/* DIR/etc/<name>.ini, all at once. */
bool sandbox_write_file(struct sandbox *sandbox, const char *path, const char *text);
bool sandbox_write_configs(struct sandbox *sandbox);
/* --- sandbox_tls.c --- */
/* Makes certificates and tokens, and has this process's own requests show one that may do everything. */
bool sandbox_tls_make(struct sandbox *sandbox);
/* Where they are. */
void sandbox_tls_json(const struct sandbox *sandbox, cJSON *json);
/* That of one more node. */
bool sandbox_tls_node(struct sandbox *sandbox, const struct node *node);
/* The [tls] section of node-1, agent-bank_a ...; "" without TLS. */
void sandbox_tls_section(const struct sandbox *sandbox, const char *name, char *ret_text,
                         size_t size);
void sandbox_process_name(struct sandbox *sandbox, struct process *process, const char *kind,
                          const char *name);

/* --- sandbox.c --- */
/* One of our programs with DIR/etc/<process name>.ini, run by --wrap's command if there is one. */
bool sandbox_daemon_start(struct sandbox *sandbox, struct process *process, const char *program,
                          const char *argument, const struct option_list *env);
/* Waits for `ready`, which `process` is to bring; gives up when that has ended. */
bool sandbox_wait_ready(struct sandbox *sandbox, struct process *process, bool (*ready)(void *ctx),
                        void *ctx);

/* --- sandbox_nodes.c --- */
/* All of them for the first time, until one leads and every one follows it. */
bool nodes_start(struct sandbox *sandbox);
/* One again, until it is ready; while most nodes are down, until it answers at all. */
bool node_restart(struct sandbox *sandbox, struct node *node, const struct option_list *env);
/* True when every node that runs says that the participant is up. */
bool nodes_see_participant(const struct sandbox *sandbox, const struct database *database);

/* --- sandbox_database.c --- */
/* initdb of all at the same time, then all servers, then the bank in each. */
bool databases_start(struct sandbox *sandbox);
bool database_server_start(struct sandbox *sandbox, struct database *database);
bool database_wait_ready(struct sandbox *sandbox, struct database *database);

/* --- control.c --- */
struct control;
/* Serves DIR/control.sock. One command at a time. */
struct control *control_open(struct sandbox *sandbox);
/* Waits for a command and carries it out. False: stop (a command or a signal said so). */
bool control_serve(struct control *control);
/* Answers the `stop` that ended control_serve, if one did; closes. */
void control_close(struct control *control);
/* Sends a command to the sandbox of `dir` and waits for its answer. NULL: it has been complained
 * about. */
cJSON *control_ask(const char *dir, const char *command, const char *name,
                   const struct option_list *env);

#endif
