/*
 * Starting, killing and burying child processes; see process.h.
 *
 * Fault model: a child may end at any moment by itself; we may be killed at any moment, and then
 * the kernel signals every child (a race with our death before the child asked for that is closed
 * by a look at its parent).
 */
#include "cli/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TREE_MAX 4096
#define TAIL_LINES 15

int process_launch(int argc, char **argv)
{
    const char *user = argc > 3 ? argv[0] : NULL;

    if (!user)
        return CLI_USAGE;
    if (strcmp(user, "-") != 0) {
        const struct passwd *entry = getpwnam(user);

        if (!entry || setgroups(0, NULL) || setgid(entry->pw_gid) || setuid(entry->pw_uid)) {
            complain("cannot become user %s: %s", user, strerror(errno));
            return CLI_NEGATIVE;
        }
    }
    /* After setuid, which would undo it. */
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)atoi(argv[1]))) {
        complain("cannot ask for a signal at our parent's death: %s", strerror(errno));
        return CLI_NEGATIVE;
    }
    if (getppid() != (pid_t)atol(argv[2])) /* it died before we asked */
        return CLI_NEGATIVE;
    (void)execv(argv[3], argv + 3);
    complain("cannot run %s: %s", argv[3], strerror(errno));
    return 127;
}

static void on_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;

    process->alive = false;
}

static void on_exit_(uv_process_t *handle, int64_t exit_status, int term_signal)
{
    struct process *process = handle->data;

    process->exit_status = exit_status;
    process->term_signal = term_signal;
    if (process->wanted) {
        char text[64];

        process_end_text(process, text, sizeof(text));
        complain("%s (pid %d) ended by itself: %s; its log is %s", process->name, (int)process->pid,
                 text, process->log_path);
    }
    process->wanted = false;
    uv_close((uv_handle_t *)handle, on_closed);
}

/* Our environment and `extra`, which comes first because getenv finds the first one. */
static char **environment_make(const struct option_list *extra)
{
    size_t count = 0, at = 0;
    char **all;

    while (environ[count])
        count++;
    all = must_alloc(count + (extra ? extra->count : 0) + 1, sizeof(*all));
    for (size_t i = 0; extra && i < extra->count; i++)
        all[at++] = must_copy(extra->items[i]);
    for (size_t i = 0; i < count; i++)
        all[at++] = must_copy(environ[i]);
    return all;
}

static char **launch_arguments(const struct process_spec *spec, const char *self)
{
    size_t count = 0, at = 0;
    char number[32];
    char **argv;

    while (spec->argv[count])
        count++;
    argv = must_alloc(count + 6, sizeof(*argv));
    argv[at++] = must_copy(self);
    argv[at++] = must_copy(PROCESS_LAUNCH);
    argv[at++] = must_copy(spec->user ? spec->user : "-");
    (void)text_format(number, sizeof(number), "%d", spec->death_signal);
    argv[at++] = must_copy(number);
    (void)text_format(number, sizeof(number), "%d", (int)getpid());
    argv[at++] = must_copy(number);
    for (size_t i = 0; i < count; i++)
        argv[at++] = must_copy(spec->argv[i]);
    return argv;
}

static void list_free(char **list)
{
    for (size_t i = 0; list[i]; i++)
        free(list[i]);
    free(list);
}

bool process_start(struct loop *loop, struct process *process, const struct process_spec *spec,
                   char ret_error[256])
{
    char self[512] = "";
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    int log = open(process->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD}, {.flags = UV_INHERIT_FD}};
    uv_process_options_t options = {
        .exit_cb = on_exit_, .stdio = stdio, .stdio_count = 3, .flags = UV_PROCESS_DETACHED};
    int err;

    AS_ASSERT(!process->alive);
    if (len <= 0 || log < 0) {
        (void)snprintf(ret_error, 256, "cannot write %.150s: %s", process->log_path,
                       strerror(errno));
        if (log >= 0)
            (void)close(log);
        return false;
    }
    stdio[1].data.fd = stdio[2].data.fd = log;
    options.file = self;
    options.args = launch_arguments(spec, self);
    options.env = environment_make(spec->env);
    process->handle = (uv_process_t){.data = process};
    err = uv_spawn(&loop->uv, &process->handle, &options);
    (void)close(log);
    list_free(options.args);
    list_free(options.env);
    process->alive = true; /* until on_closed, also when it could not be started */
    process->started = true;
    process->pid = process->handle.pid;
    process->wanted = err == 0;
    if (err) {
        (void)snprintf(ret_error, 256, "cannot start %s: %s", process->name, uv_strerror(err));
        uv_close((uv_handle_t *)&process->handle, on_closed);
    }
    return err == 0;
}

void process_signal(struct process *process, int number)
{
    process->wanted = false;
    if (process->alive)
        (void)uv_process_kill(&process->handle, number);
}

static bool has_ended(void *ctx)
{
    return !((struct process *)ctx)->alive;
}

bool process_wait_end(struct loop *loop, struct process *process, uint64_t timeout_ms)
{
    bool stopping = loop->stopping;
    enum loop_end end;

    loop->stopping = true;
    end = loop_wait(loop, has_ended, process, timeout_ms, 20);
    loop->stopping = stopping;
    return end == LOOP_MET;
}

/* The processes whose parent is `parent`, from /proc. */
static size_t children_of(pid_t parent, pid_t *ret_pids, size_t max)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    size_t count = 0;

    while (proc && count < max && (entry = readdir(proc))) {
        char path[300], line[512] = "";
        const char *after_name;
        FILE *stat;
        int ppid;

        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        stat = fopen(path, "re");
        if (!stat)
            continue;
        if (!fgets(line, sizeof(line), stat))
            line[0] = 0;
        (void)fclose(stat);
        /* The name may hold anything; the last ')' ends it: "12 (name) S 1 ..." */
        after_name = strrchr(line, ')');
        if (after_name && sscanf(after_name + 1, " %*c %d", &ppid) == 1 && ppid == parent)
            ret_pids[count++] = (pid_t)atol(entry->d_name);
    }
    if (proc)
        (void)closedir(proc);
    return count;
}

struct tree {
    pid_t *pids;
    size_t count;
};

static bool tree_is_gone(void *ctx)
{
    struct tree *tree = ctx;

    while (tree->count) {
        pid_t pid = tree->pids[tree->count - 1];

        /* Ours once its parent is dead, as we are the subreaper; else it goes elsewhere. */
        if (waitpid(pid, NULL, WNOHANG) != pid && kill(pid, 0) == 0)
            return false;
        tree->count--;
    }
    return true;
}

bool process_kill_tree(struct loop *loop, struct process *process)
{
    struct tree tree = {must_alloc(TREE_MAX, sizeof(pid_t)), 0};
    bool stopping = loop->stopping;
    bool gone;

    process->wanted = false;
    if (process->alive) {
        /* Stopped, it starts no further child while we look. */
        process_signal(process, SIGSTOP);
        tree.count = children_of(process->pid, tree.pids, TREE_MAX);
        process_signal(process, SIGKILL);
        for (size_t i = 0; i < tree.count; i++)
            (void)kill(tree.pids[i], SIGKILL);
    }
    gone = process_wait_end(loop, process, 10000);
    loop->stopping = true;
    gone = loop_wait(loop, tree_is_gone, &tree, 10000, 5) == LOOP_MET && gone;
    loop->stopping = stopping;
    free(tree.pids);
    return gone;
}

void process_end_text(const struct process *process, char *ret_text, size_t size)
{
    if (process->term_signal)
        (void)snprintf(ret_text, size, "killed by signal %d", process->term_signal);
    else
        (void)snprintf(ret_text, size, "exit code %d", (int)process->exit_status);
}

void process_log_tail(const struct process *process)
{
    char lines[TAIL_LINES][256];
    size_t count = 0;
    FILE *log = fopen(process->log_path, "re");

    if (!log)
        return;
    while (fgets(lines[count % TAIL_LINES], sizeof(lines[0]), log))
        count++;
    (void)fclose(log);
    fprintf(stderr, "--- the end of %s\n", process->log_path);
    for (size_t i = count > TAIL_LINES ? count - TAIL_LINES : 0; i < count; i++)
        fputs(lines[i % TAIL_LINES], stderr);
    fputs("---\n", stderr);
}

void process_reap_orphans(struct process *const *known, size_t count)
{
    pid_t *pids = must_alloc(TREE_MAX, sizeof(*pids));
    size_t children = children_of(getpid(), pids, TREE_MAX);

    for (size_t i = 0; i < children; i++) {
        bool ours = false;

        for (size_t j = 0; j < count && !ours; j++)
            ours = known[j]->alive && known[j]->pid == pids[i];
        if (!ours)
            (void)waitpid(pids[i], NULL, WNOHANG);
    }
    free(pids);
}
