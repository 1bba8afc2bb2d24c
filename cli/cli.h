/*
 * The `assent` command: what its parts share. One process, one libuv loop in the main thread;
 * whatever makes load runs in a second thread. Exit codes are for scripts and stand in every
 * --help.
 */
#ifndef ASSENT_CLI_H
#define ASSENT_CLI_H

#include "assent/base.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_NEGATIVE = 1,    /* it failed, or the answer is no */
    CLI_USAGE = 2,       /* the command line cannot be understood */
    CLI_UNREACHABLE = 3, /* no coordinator answers there */
};

/* argv[0] is the last word of the command's name. */
int cmd_sandbox(int argc, char **argv);
int cmd_sandbox_kill(int argc, char **argv);
int cmd_sandbox_restart(int argc, char **argv);
int cmd_sandbox_add_node(int argc, char **argv);
int cmd_sandbox_status(int argc, char **argv);
int cmd_sandbox_stop(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_txn_run(int argc, char **argv);
int cmd_txn_show(int argc, char **argv);
int cmd_txn_list(int argc, char **argv);
int cmd_txn_acknowledge(int argc, char **argv);
int cmd_participant_list(int argc, char **argv);
int cmd_participant_show(int argc, char **argv);
int cmd_participant_prepared(int argc, char **argv);
int cmd_participant_resolve(int argc, char **argv);
int cmd_participant_settle(int argc, char **argv);
int cmd_cluster_status(int argc, char **argv);
int cmd_cluster_add(int argc, char **argv);
int cmd_cluster_remove(int argc, char **argv);
int cmd_cluster_transfer(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_certs(int argc, char **argv);
int cmd_token_new(int argc, char **argv);
int cmd_token_list(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_log_verify(int argc, char **argv);
int cmd_log_dump(int argc, char **argv);

/* Says on stderr "assent: ..." and a newline. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory; ends the program with a message when there is none. */
void *must_alloc(size_t count, size_t size);
char *must_copy(const char *text);
/* snprintf that says whether all of it fitted. */
bool text_format(char *ret_text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Monotonic, nanoseconds. */
as_time clock_now(void);

#endif
