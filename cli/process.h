/*
 * Child processes of a sandbox. Each runs in a session of its own, so that Ctrl-C reaches only us,
 * writes its output to a file, and dies when we die, however that happens (PR_SET_PDEATHSIG).
 */
#ifndef ASSENT_CLI_PROCESS_H
#define ASSENT_CLI_PROCESS_H

#include <sys/types.h>

#include "cli/loop.h"
#include "cli/options.h"

/* Hidden first word: this program starts itself as the launcher, which then becomes the child. */
#define PROCESS_LAUNCH "__launch"

struct process {
    uv_process_t handle;
    char name[96];
    char log_path[512];
    pid_t pid;
    bool alive;   /* runs, or its end has not been noticed yet */
    bool started; /* at least once */
    bool wanted;  /* it is meant to run: an end would be a surprise */
    int64_t exit_status;
    int term_signal;
};

struct process_spec {
    const char *const *argv;       /* argv[0] is the path of the program */
    const char *user;              /* to run as; NULL: as we do */
    int death_signal;              /* what it gets when we die */
    const struct option_list *env; /* K=V besides our own environment; NULL: none */
};

/* `process->name` and `log_path` are set by the caller, who keeps it where it is while it is alive.
 */
bool process_start(struct loop *loop, struct process *process, const struct process_spec *spec,
                   char ret_error[256]);
void process_signal(struct process *process, int number);
/* True when it has ended within the time; a signal to us does not cut this short. */
bool process_wait_end(struct loop *loop, struct process *process, uint64_t timeout_ms);
/* kill -9 it and all its children (a PostgreSQL server's backends), and wait until all are gone. */
bool process_kill_tree(struct loop *loop, struct process *process);
/* "killed by signal 9", "exit code 1" */
void process_end_text(const struct process *process, char *ret_text, size_t size);
/* The last lines of its log file, to stderr. */
void process_log_tail(const struct process *process);
/* Reaps children that became ours when their parent died; `known` of ours are left alone. */
void process_reap_orphans(struct process *const *known, size_t count);

/* What runs as the launcher: [user|-] [death signal] [our pid] program args... */
int process_launch(int argc, char **argv);

#endif
