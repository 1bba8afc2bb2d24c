/*
 * faultfs: a file system that loses what was not synced. Passes through to a backing directory, and does what it is told:
 *
 *     faultfs BACKING MOUNTPOINT SOCKET          in the foreground, until it is unmounted
 *
 *     echo 'fail sync 1' | nc -U SOCKET          one line, one answer: "ok ..." or "error ..."
 *
 *   fail read|write|sync COUNT    the next COUNT (0: all) reads, writes (and whatever else changes something), or syncs: EIO
 *   heal                          no more of that
 *   freeze                        the power is gone: from now on no operation is carried out or answered. Kill who uses it next
 *   cut SEED                      see unsynced.h for what is left. Descriptors from before get EIO, and after a freeze everybody
 *                                 else too, so that the dying change nothing more. Answers how much there was and what is lost
 *   thaw                          the power is back: once the killed are gone
 *   settle                        everything is durable, as after a sync of all
 *   status                        how many operations failed, of how many; whether one waits because all is frozen
 *
 * One thread serves all, and nothing stays in the kernel: every read and write comes here (direct_io), so a power cut cannot be
 * outlived by the page cache. The backing is never synced: this file system is the disk. No mmap that is shared.
 */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "unsynced.h"

enum fault { FAULT_READ, FAULT_WRITE, FAULT_SYNC, FAULT_COUNT };

struct handle {
    int fd;
    uint64_t epoch; /* power cuts before it was opened */
    bool synced;    /* O_SYNC, O_DSYNC */
};

static struct {
    int root;
    struct unsynced *unsynced;
    pthread_mutex_t lock;
    pthread_cond_t thawed;
    bool frozen, dark; /* dark: after the cut, until the power is back */
    bool waiting;      /* one is held back; the others wait in the kernel */
    uint64_t epoch;
    uint64_t fail[FAULT_COUNT]; /* so many more; UINT64_MAX: all */
    uint64_t done[FAULT_COUNT], failed[FAULT_COUNT];
} fs = {.lock = PTHREAD_MUTEX_INITIALIZER, .thawed = PTHREAD_COND_INITIALIZER};

/* --- Every operation is between these two --- */

/* 0, or -EIO: it is to fail. Either way the lock is held. */
static int begin(enum fault fault, const struct handle *handle)
{
    uint64_t epoch;

    pthread_mutex_lock(&fs.lock);
    epoch = fs.epoch;
    fs.waiting = fs.frozen;
    while (fs.frozen)
        pthread_cond_wait(&fs.thawed, &fs.lock);
    fs.waiting = false;
    if (fs.dark || epoch != fs.epoch || (handle && handle->epoch != fs.epoch))
        return -EIO; /* whoever asked is dead */
    fs.done[fault]++;
    if (fs.fail[fault] == 0)
        return 0;
    if (fs.fail[fault] != UINT64_MAX)
        fs.fail[fault]--;
    fs.failed[fault]++;
    return -EIO;
}

static int end(int result)
{
    pthread_mutex_unlock(&fs.lock);
    return result;
}

static int of_call(int result)
{
    return result < 0 ? -errno : 0;
}

static const char *inside(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static struct handle *handle_of(const struct fuse_file_info *info)
{
    return (struct handle *)(uintptr_t)info->fh;
}

static int handle_new(int fd, struct fuse_file_info *info)
{
    struct handle *handle = calloc(1, sizeof(*handle));

    if (!handle) {
        close(fd);
        return -ENOMEM;
    }
    handle->fd = fd;
    handle->epoch = fs.epoch;
    handle->synced = info->flags & (O_SYNC | O_DSYNC);
    info->fh = (uintptr_t)handle;
    info->direct_io = 1;
    return 0;
}

/* --- Looking --- */

static int on_getattr(const char *path, struct stat *stat, struct fuse_file_info *info)
{
    const struct handle *handle = info ? handle_of(info) : NULL;
    int error = begin(FAULT_READ, handle);

    if (!error)
        error = of_call(handle ? fstat(handle->fd, stat)
                               : fstatat(fs.root, inside(path), stat, AT_SYMLINK_NOFOLLOW));
    return end(error);
}

static int on_readlink(const char *path, char *text, size_t size)
{
    int error = begin(FAULT_READ, NULL);
    ssize_t n;

    if (error)
        return end(error);
    n = readlinkat(fs.root, inside(path), text, size - 1);
    if (n < 0)
        return end(-errno);
    text[n] = '\0';
    return end(0);
}

static int on_opendir(const char *path, struct fuse_file_info *info)
{
    int error = begin(FAULT_READ, NULL);
    int fd;

    if (error)
        return end(error);
    fd = openat(fs.root, inside(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return end(fd < 0 ? -errno : handle_new(fd, info));
}

static int list(int directory, void *buffer, fuse_fill_dir_t fill)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!stream)
        return -errno;
    while ((entry = readdir(stream)))
        if (strcmp(entry->d_name, ".grave") != 0 && fill(buffer, entry->d_name, NULL, 0, 0))
            break;
    closedir(stream);
    return 0;
}

static int on_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    int error = begin(FAULT_READ, handle_of(info));

    (void)path;
    (void)offset;
    (void)flags;
    return end(error ? error : list(handle_of(info)->fd, buffer, fill));
}

static int on_statfs(const char *path, struct statvfs *statvfs)
{
    int error = begin(FAULT_READ, NULL);

    (void)path;
    return end(error ? error : of_call(fstatvfs(fs.root, statvfs)));
}

/* --- Names --- */

static int made(const char *path, int error)
{
    return error ? error : unsynced_created(fs.unsynced, inside(path));
}

/* What is made belongs to whoever asked for it. */
static int give(const char *path)
{
    const struct fuse_context *context = fuse_get_context();

    return of_call(
        fchownat(fs.root, inside(path), context->uid, context->gid, AT_SYMLINK_NOFOLLOW));
}

static int on_mkdir(const char *path, mode_t mode)
{
    int error = begin(FAULT_WRITE, NULL);

    if (!error)
        error = of_call(mkdirat(fs.root, inside(path), mode));
    if (!error)
        error = made(path, give(path));
    return end(error);
}

static int on_symlink(const char *to, const char *path)
{
    int error = begin(FAULT_WRITE, NULL);

    if (!error)
        error = of_call(symlinkat(to, fs.root, inside(path)));
    if (!error)
        error = made(path, give(path));
    return end(error);
}

static int on_link(const char *from, const char *to)
{
    int error = begin(FAULT_WRITE, NULL);

    if (!error)
        error = made(to, of_call(linkat(fs.root, inside(from), fs.root, inside(to), 0)));
    return end(error);
}

static int on_unlink(const char *path)
{
    int error = begin(FAULT_WRITE, NULL);

    return end(error ? error : unsynced_remove(fs.unsynced, inside(path), false));
}

static int on_rmdir(const char *path)
{
    int error = begin(FAULT_WRITE, NULL);

    return end(error ? error : unsynced_remove(fs.unsynced, inside(path), true));
}

static int on_rename(const char *from, const char *to, unsigned int flags)
{
    int error = begin(FAULT_WRITE, NULL);

    if (!error && flags)
        error = -EINVAL;
    return end(error ? error : unsynced_rename(fs.unsynced, inside(from), inside(to)));
}

static int on_fsyncdir(const char *path, int data, struct fuse_file_info *info)
{
    int error = begin(FAULT_SYNC, handle_of(info));

    (void)path;
    (void)data;
    if (!error)
        unsynced_sync_names(fs.unsynced, handle_of(info)->fd);
    return end(error);
}

/* --- Attributes: not of what is torn --- */

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
    int error = begin(FAULT_WRITE, info ? handle_of(info) : NULL);

    if (!error)
        error = of_call(info ? fchmod(handle_of(info)->fd, mode)
                             : fchmodat(fs.root, inside(path), mode, 0));
    return end(error);
}

static int on_chown(const char *path, uid_t owner, gid_t group, struct fuse_file_info *info)
{
    int error = begin(FAULT_WRITE, info ? handle_of(info) : NULL);

    if (!error)
        error = of_call(info ? fchown(handle_of(info)->fd, owner, group)
                             : fchownat(fs.root, inside(path), owner, group, AT_SYMLINK_NOFOLLOW));
    return end(error);
}

static int on_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
    int error = begin(FAULT_WRITE, info ? handle_of(info) : NULL);

    if (!error)
        error = of_call(info ? futimens(handle_of(info)->fd, times)
                             : utimensat(fs.root, inside(path), times, AT_SYMLINK_NOFOLLOW));
    return end(error);
}

/* --- Files --- */

/* What was written can be gone back on only if the file can be read too. */
static int backing_flags(int flags)
{
    int access = (flags & O_ACCMODE) == O_RDONLY ? O_RDONLY : O_RDWR;

    return access | O_CLOEXEC | (flags & (O_EXCL | O_NOFOLLOW));
}

static int resize(int fd, off_t size)
{
    int error = unsynced_resize(fs.unsynced, fd, size);

    return error ? error : of_call(ftruncate(fd, size));
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    int error = begin(FAULT_WRITE, NULL);
    int fd;

    if (error)
        return end(error);
    fd = openat(fs.root, inside(path), backing_flags(info->flags) | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return end(-errno);
    error = made(path, give(path));
    if (error)
        close(fd);
    return end(error ? error : handle_new(fd, info));
}

static int on_open(const char *path, struct fuse_file_info *info)
{
    int error = begin(info->flags & O_TRUNC ? FAULT_WRITE : FAULT_READ, NULL);
    int fd;

    if (error)
        return end(error);
    fd = openat(fs.root, inside(path), backing_flags(info->flags));
    if (fd < 0)
        return end(-errno);
    if (info->flags & O_TRUNC)
        error = resize(fd, 0);
    if (error)
        close(fd);
    return end(error ? error : handle_new(fd, info));
}

static int on_read(const char *path, char *data, size_t size, off_t offset,
                   struct fuse_file_info *info)
{
    int error = begin(FAULT_READ, handle_of(info));
    ssize_t n;

    (void)path;
    if (error)
        return end(error);
    n = pread(handle_of(info)->fd, data, size, offset);
    return end(n < 0 ? -errno : (int)n);
}

static int on_write(const char *path, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    const struct handle *handle = handle_of(info);
    int error = begin(FAULT_WRITE, handle);
    ssize_t n;

    (void)path;
    if (!error)
        error = unsynced_write(fs.unsynced, handle->fd, offset, size);
    if (error)
        return end(error);
    n = pwrite(handle->fd, data, size, offset);
    if (n < 0)
        return end(-errno);
    if (handle->synced)
        unsynced_sync(fs.unsynced, handle->fd, false);
    return end((int)n);
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    int error = begin(FAULT_WRITE, info ? handle_of(info) : NULL);
    int fd = -1;

    if (error)
        return end(error);
    if (info)
        return end(resize(handle_of(info)->fd, size));
    fd = openat(fs.root, inside(path), O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return end(-errno);
    error = resize(fd, size);
    close(fd);
    return end(error);
}

static int on_fallocate(const char *path, int mode, off_t offset, off_t len,
                        struct fuse_file_info *info)
{
    const struct handle *handle = handle_of(info);
    int error = begin(FAULT_WRITE, handle);

    (void)path;
    if (!error && mode & ~FALLOC_FL_KEEP_SIZE)
        error = -EOPNOTSUPP; /* punching holes and such: nobody needs it */
    if (!error)
        error = unsynced_write(fs.unsynced, handle->fd, offset, 0);
    return end(error ? error : of_call(fallocate(handle->fd, mode, offset, len)));
}

static int on_fsync(const char *path, int data, struct fuse_file_info *info)
{
    const struct handle *handle = handle_of(info);
    int error = begin(FAULT_SYNC, handle);

    (void)path;
    (void)data;
    if (handle->epoch == fs.epoch)
        unsynced_sync(fs.unsynced, handle->fd, error != 0);
    return end(error);
}

/* The dead close their files too, also while all is frozen. */
static int on_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    close(handle_of(info)->fd);
    free(handle_of(info));
    return 0;
}

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->nullpath_ok = 1;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = on_init,
    .getattr = on_getattr,
    .readlink = on_readlink,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_release,
    .statfs = on_statfs,
    .mkdir = on_mkdir,
    .symlink = on_symlink,
    .link = on_link,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .rename = on_rename,
    .fsyncdir = on_fsyncdir,
    .chmod = on_chmod,
    .chown = on_chown,
    .utimens = on_utimens,
    .create = on_create,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .truncate = on_truncate,
    .fallocate = on_fallocate,
    .fsync = on_fsync,
    .release = on_release,
};

/* --- What it is told --- */

static bool fail(const char *what, unsigned long long count)
{
    static const char *const names[FAULT_COUNT] = {"read", "write", "sync"};

    for (size_t i = 0; i < FAULT_COUNT; i++) {
        if (strcmp(names[i], what) == 0) {
            fs.fail[i] = count ? count : UINT64_MAX;
            return true;
        }
    }
    return false;
}

static void cut(uint64_t seed, char *answer, size_t size)
{
    struct unsynced_counts counts;
    int error = unsynced_cut(fs.unsynced, seed, &counts);

    fs.epoch++;
    fs.dark = fs.frozen;
    fs.frozen = false;
    pthread_cond_broadcast(&fs.thawed);
    if (error)
        snprintf(answer, size, "error %s\n", strerror(-error));
    else
        snprintf(answer, size, "ok files=%llu sectors=%llu lost=%llu names=%llu lost=%llu\n",
                 (unsigned long long)counts.files, (unsigned long long)counts.sectors,
                 (unsigned long long)counts.sectors_lost, (unsigned long long)counts.names,
                 (unsigned long long)counts.names_lost);
}

static void obey(const char *line, char *answer, size_t size)
{
    unsigned long long number;
    char word[16];

    snprintf(answer, size, "ok\n");
    pthread_mutex_lock(&fs.lock);
    if (sscanf(line, "fail %15s %llu", word, &number) == 2 && fail(word, number))
        ;
    else if (strcmp(line, "heal") == 0)
        memset(fs.fail, 0, sizeof(fs.fail));
    else if (strcmp(line, "freeze") == 0)
        fs.frozen = true;
    else if (strcmp(line, "thaw") == 0)
        fs.dark = false;
    else if (strcmp(line, "settle") == 0)
        unsynced_settle(fs.unsynced);
    else if (sscanf(line, "cut %llu", &number) == 1)
        cut(number, answer, size);
    else if (strcmp(line, "status") == 0)
        snprintf(answer, size, "ok read=%llu/%llu write=%llu/%llu sync=%llu/%llu waiting=%d\n",
                 (unsigned long long)fs.failed[0], (unsigned long long)fs.done[0],
                 (unsigned long long)fs.failed[1], (unsigned long long)fs.done[1],
                 (unsigned long long)fs.failed[2], (unsigned long long)fs.done[2], fs.waiting);
    else
        snprintf(answer, size, "error what?\n");
    pthread_mutex_unlock(&fs.lock);
}

static void serve(int client)
{
    char line[128] = "", answer[256];
    size_t len = 0;
    ssize_t n;

    while (len < sizeof(line) - 1 && !memchr(line, '\n', len) &&
           (n = read(client, line + len, sizeof(line) - 1 - len)) > 0)
        len += (size_t)n;
    line[strcspn(line, "\n")] = '\0';
    obey(line, answer, sizeof(answer));
    if (write(client, answer, strlen(answer)) < 0)
        perror("faultfs: answer");
    close(client);
}

static void *listen_for_orders(void *ctx)
{
    int listener = *(const int *)ctx, client;

    while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        serve(client);
    return NULL;
}

static int listener_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 8) != 0)
        return -1;
    return fd;
}

static int run(char *program, char *mountpoint, int listener)
{
    char *options = geteuid() == 0 ? "fsname=faultfs,default_permissions,allow_other"
                                   : "fsname=faultfs,default_permissions";
    char *argv[] = {program, "-o", options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse *fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
    pthread_t thread;
    int result = 1;

    if (!fuse || fuse_mount(fuse, mountpoint) != 0)
        return 1;
    if (fuse_set_signal_handlers(fuse_get_session(fuse)) == 0 &&
        pthread_create(&thread, NULL, listen_for_orders, &listener) == 0)
        result = fuse_loop(fuse);
    fuse_unmount(fuse);
    fuse_destroy(fuse);
    fuse_opt_free_args(&args);
    return result == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    int listener;

    if (argc != 4) {
        fprintf(stderr, "usage: faultfs BACKING MOUNTPOINT SOCKET\n");
        return 2;
    }
    umask(0);
    fs.root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fs.unsynced = fs.root < 0 ? NULL : unsynced_new(fs.root);
    if (!fs.unsynced) {
        perror(argv[1]);
        return 1;
    }
    listener = listener_open(argv[3]);
    if (listener < 0) {
        perror(argv[3]);
        return 1;
    }
    return run(argv[0], argv[2], listener);
}
