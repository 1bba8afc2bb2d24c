#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultfs.h"

#define MOUNT_TRIES 1000 /* of 10 ms */
#define ANSWER_S 60      /* a cut of a large tree */

static bool may_mount(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(unshare(CLONE_NEWNS) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

bool faultfs_usable(const char *program, char *ret_why, size_t size)
{
    if (access(program, X_OK) != 0)
        snprintf(ret_why, size, "%s is not built: libfuse3-dev is missing", program);
    else if (access("/dev/fuse", R_OK | W_OK) != 0)
        snprintf(ret_why, size, "/dev/fuse: %s", strerror(errno));
    else if (geteuid() != 0 || !may_mount())
        snprintf(ret_why, size, "only root may mount it");
    else
        return true;
    return false;
}

static bool is_mounted(const char *mountpoint)
{
    char above[4096];
    struct stat inside, outside;

    snprintf(above, sizeof(above), "%s/..", mountpoint);
    return stat(mountpoint, &inside) == 0 && stat(above, &outside) == 0 &&
           inside.st_dev != outside.st_dev;
}

bool faultfs_mount(const char *program, const char *backing, const char *mountpoint,
                   const char *socket_path, pid_t *ret_pid)
{
    pid_t pid = fork();

    if (pid < 0)
        return false;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, program, backing, mountpoint, socket_path, (char *)NULL);
        _exit(127);
    }
    *ret_pid = pid;
    for (int i = 0; i < MOUNT_TRIES && !is_mounted(mountpoint); i++) {
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return false;
        poll(NULL, 0, 10);
    }
    return is_mounted(mountpoint);
}

bool faultfs_unmount(const char *mountpoint, pid_t pid)
{
    bool gone = umount2(mountpoint, 0) == 0 || umount2(mountpoint, MNT_DETACH) == 0;

    if (!gone)
        kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return gone;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

bool faultfs_tell(const char *socket_path, char *ret_answer, size_t size, const char *format, ...)
{
    char line[128];
    size_t len = 0;
    ssize_t n;
    va_list args;
    int fd;

    va_start(args, format);
    vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    strcat(line, "\n");
    snprintf(ret_answer, size, "no answer");
    fd = connect_to(socket_path);
    if (fd < 0)
        return false;
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line)) {
        while (len < size - 1 && (n = read(fd, ret_answer + len, size - 1 - len)) > 0)
            len += (size_t)n;
        if (len > 0)
            ret_answer[len] = '\0';
        ret_answer[strcspn(ret_answer, "\n")] = '\0';
    }
    close(fd);
    return strncmp(ret_answer, "ok", 2) == 0;
}
