/*
 * Processes in their places. A place holds one of them with all its children (the backends of a server have sessions of their
 * own), so whoever is in the namespace is what a signal goes to.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inside.h"

extern char **environ;

#define PIDS_MAX 1024
#define KILL_MS 20000

void signals_default(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGHUP, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
}

static char *copy(const char *text)
{
    char *copied = strdup(text);

    AS_ASSERT(copied);
    return copied;
}

void process_argument(struct process *process, const char *argument)
{
    size_t count = 0;

    while (process->argv[count])
        count++;
    AS_ASSERT(count + 1 < PROCESS_ARGS_MAX);
    process->argv[count] = copy(argument);
}

void process_init(const struct world *world, struct process *process, enum process_kind kind,
                  int number, const char *name, struct place *place, const char *program)
{
    *process = (struct process){.kind = kind, .number = number, .place = place};
    (void)snprintf(process->name, sizeof(process->name), "%s", name);
    (void)snprintf(process->log_path, sizeof(process->log_path), "%s/log/%s.log", world->dir, name);
    process_argument(process, program);
}

/* --- Start --- */

struct launch {
    char **env;
    uid_t uid;
    gid_t gid;
    int log, netns;
};

static char **environment_make(const struct process *process)
{
    size_t count = 0, at = 0;
    char **all;

    while (environ[count])
        count++;
    all = calloc(count + PROCESS_ENV_MAX + 1, sizeof(*all));
    AS_ASSERT(all);
    for (size_t i = 0; i < PROCESS_ENV_MAX && process->env[i];
         i++) /* first, so that getenv finds it */
        all[at++] = process->env[i];
    for (size_t i = 0; i < count; i++)
        all[at++] = environ[i];
    return all;
}

/* Between fork and exec of a process with threads: system calls only. */
static _Noreturn void become(const struct process *process, const struct launch *launch)
{
    signals_default();
    if (setsid() < 0 || dup2(launch->log, 1) < 0 || dup2(launch->log, 2) < 0 ||
        (launch->netns >= 0 && setns(launch->netns, CLONE_NEWNET)))
        _exit(126);
    if (launch->uid && (setgroups(0, NULL) || setgid(launch->gid) || setuid(launch->uid)))
        _exit(126);
    (void)execve(process->argv[0], process->argv, launch->env);
    _exit(127);
}

bool process_start(struct world *world, struct process *process)
{
    struct launch launch = {.netns = process->place ? process->place->netns : -1};
    const struct passwd *user = process->user ? getpwnam(process->user) : NULL;

    AS_ASSERT(process->pid == 0);
    if (process->user && !user)
        return world_fail(world, "there is no user %s", process->user);
    if (user) {
        launch.uid = user->pw_uid;
        launch.gid = user->pw_gid;
    }
    launch.log = open(process->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (launch.log < 0)
        return world_fail(world, "%s: %s", process->log_path, strerror(errno));
    launch.env = environment_make(process);
    process->pid = fork();
    if (process->pid == 0)
        become(process, &launch);
    free(launch.env);
    (void)close(launch.log);
    process->stopped = false;
    process->wanted = process->pid > 0;
    if (process->pid > 0)
        return true;
    process->pid = 0;
    return world_fail(world, "cannot start %s: %s", process->name, strerror(errno));
}

/* --- Signals --- */

/* Whoever is in that network namespace. */
static size_t place_pids(const struct place *place, pid_t pids[PIDS_MAX])
{
    struct stat wanted, found;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    size_t count = 0;
    bool known = fstat(place->netns, &wanted) == 0;

    while (known && proc && count < PIDS_MAX && (entry = readdir(proc))) {
        char path[300];

        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%s/ns/net", entry->d_name);
        if (stat(path, &found) == 0 && found.st_ino == wanted.st_ino &&
            found.st_dev == wanted.st_dev)
            pids[count++] = (pid_t)atol(entry->d_name);
    }
    if (proc)
        (void)closedir(proc);
    return count;
}

static size_t signal_all(const struct process *process, int number)
{
    pid_t pids[PIDS_MAX];
    size_t count;

    if (!process->place)
        return process->pid > 0 && kill(process->pid, number) == 0;
    count = place_pids(process->place, pids);
    for (size_t i = 0; i < count; i++)
        (void)kill(pids[i], number);
    return count;
}

void process_signal(struct process *process, int number)
{
    /* Twice: a server may have started a backend while we looked. The first one reached the server itself. */
    (void)signal_all(process, number);
    if (number == SIGSTOP)
        (void)signal_all(process, number);
    if (number == SIGSTOP || number == SIGCONT)
        process->stopped = number == SIGSTOP;
}

void process_expect_end(struct process *process, bool expected)
{
    process->wanted = !expected;
}

void process_kill(struct world *world, struct process *process)
{
    int64_t until = world_now_ms() + KILL_MS;

    process->wanted = false;
    while (signal_all(process, SIGKILL) > 0 || process->pid > 0) {
        processes_reap(world);
        if (world_now_ms() > until) {
            (void)world_fail(world, "%s survives kill -9", process->name);
            return;
        }
        (void)usleep(2000);
    }
    process->stopped = false;
}

bool process_restart(struct world *world, struct process *process)
{
    process_kill(world, process);
    return process_start(world, process);
}

void processes_kill_all(struct world *world)
{
    struct process *process;

    for (size_t i = 0; (process = world_process(world, i)); i++)
        if (process->log_path[0])
            process_kill(world, process);
}

/* --- Ends --- */

static void ended(struct world *world, struct process *process, int status)
{
    process->pid = 0;
    process->end = status;
    if (!process->wanted)
        return;
    process->wanted = false;
    if (WIFSIGNALED(status))
        (void)world_fail(world, "%s ended by itself: signal %d; its log is %s", process->name,
                         WTERMSIG(status), process->log_path);
    else
        (void)world_fail(world, "%s ended by itself: exit code %d; its log is %s", process->name,
                         WEXITSTATUS(status), process->log_path);
}

/* Those of killed parents are ours as well, as we are process 1; nobody waits for them. */
void processes_reap(struct world *world)
{
    struct process *process;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; (process = world_process(world, i)); i++)
            if (process->pid == pid)
                ended(world, process, status);
}
