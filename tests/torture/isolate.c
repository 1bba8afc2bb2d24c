/*
 * Two processes: the outer one waits; the inner one is process 1 of its own PID namespace and does all the work. When the inner
 * one ends, killed or not, the kernel ends all that it has started, and with the last process go the network namespaces, the
 * bridge, the mounts and the loop devices. When the outer one dies, the inner one is killed with it. So nothing has to be
 * cleaned up by name.
 */
#include "isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)

static volatile sig_atomic_t inner;

/* What is mounted from here on, nobody else sees. EINVAL: the root is no mount point. */
static bool mounts_part(void)
{
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

bool isolate_possible(char *ret_why, size_t size)
{
    pid_t child;
    int status;

    if (geteuid() != 0) {
        (void)snprintf(ret_why, size, "it needs root, for network namespaces");
        return false;
    }
    child = fork();
    if (child == 0)
        _exit(unshare(NAMESPACES) || !mounts_part() ? errno : 0);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return false;
    if (WEXITSTATUS(status) == EINVAL)
        (void)snprintf(ret_why, size, "its root is no mount point, as in a plain chroot");
    else if (WEXITSTATUS(status))
        (void)snprintf(ret_why, size, "this machine makes no namespaces: %s",
                       strerror(WEXITSTATUS(status)));
    return WEXITSTATUS(status) == 0;
}

static void pass_on(int number)
{
    if (inner > 0)
        (void)kill((pid_t)inner, number);
}

/* Names of network namespaces, the lock of iptables and shared memory are to be ours alone. */
static bool mounts_make(void)
{
    return mounts_part() &&
           mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 &&
           mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 &&
           mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0 &&
           mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0;
}

static int inner_run(int (*body)(void *ctx), void *ctx, int gate)
{
    char byte;

    /* Then look whether it is gone already: the gate would be at its end. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || read(gate, &byte, 1) != 1)
        return 1;
    (void)close(gate);
    if (!mounts_make()) {
        perror("torture: mounts");
        return 1;
    }
    return body(ctx);
}

int isolate_run(int (*body)(void *ctx), void *ctx)
{
    struct sigaction action = {.sa_handler = pass_on};
    int gate[2], status;

    if (pipe2(gate, O_CLOEXEC) || unshare(NAMESPACES)) {
        perror("torture: namespaces");
        return 1;
    }
    (void)fflush(NULL);
    inner = fork();
    if (inner == 0) {
        (void)close(gate[1]);
        exit(inner_run(body, ctx, gate[0]));
    }
    if (inner < 0) {
        perror("torture: fork");
        return 1;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)close(gate[0]);
    if (write(gate[1], "", 1) != 1)
        perror("torture: start");
    while (waitpid((pid_t)inner, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    fprintf(
        stderr,
        "torture: the runner died of signal %d; the kernel has taken down what it had started\n",
        WTERMSIG(status));
    return 1;
}
