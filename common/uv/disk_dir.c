/*
 * The system calls of the decision log's directory. Fault model: see disk.h. A failed sync is
 * reported once and never retried: the kernel may have dropped the pages already.
 */
#include "disk_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CREATING ".creating"
#define REMOVING ".removing" /* as long, see is_ours */
#define LOCK_NAME "lock"
#define ZERO_BYTES 65536u
#define ZERO_BLOCKS 16u /* of ZERO_BYTES in one system call: 1 MiB */
#define SHRINK_BYTES (4 << 20)

as_err disk_err_of(int error)
{
    switch (error) {
    case 0:
        return AS_OK;
    case ENOENT:
        return AS_ERR_NOTFOUND;
    case EEXIST:
        return AS_ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* the limit on a file's size: as good as a full disk */
        return AS_ERR_NOSPACE;
    case ENOMEM:
        return AS_ERR_NOMEM;
    default:
        return AS_ERR_IO;
    }
}

/* Of a call that has just failed: never OK. */
static as_err last_err(void)
{
    as_err err = disk_err_of(errno);

    return err ? err : AS_ERR_IO;
}

as_err disk_dir_init(struct disk_dir *dir, int fd)
{
    memset(dir, 0, sizeof(*dir));
    if (uv_mutex_init(&dir->lock))
        return AS_ERR_NOMEM;
    dir->fd = fd;
    for (size_t i = 0; i < DISK_FILES_OPEN_MAX; i++)
        dir->files[i].fd = -1;
    return AS_OK;
}

void disk_dir_close(struct disk_dir *dir)
{
    for (size_t i = 0; i < DISK_FILES_OPEN_MAX; i++) {
        if (dir->files[i].fd >= 0)
            close(dir->files[i].fd);
    }
    close(dir->fd);
    uv_mutex_destroy(&dir->lock);
}

void disk_dir_stop(struct disk_dir *dir)
{
    uv_mutex_lock(&dir->lock);
    dir->stopping = true;
    uv_mutex_unlock(&dir->lock);
}

static bool stopping(struct disk_dir *dir)
{
    bool now;

    uv_mutex_lock(&dir->lock);
    now = dir->stopping;
    uv_mutex_unlock(&dir->lock);
    return now;
}

/* --- Open files --- */

static void file_shut(struct disk_file *file)
{
    close(file->fd);
    file->fd = -1;
    file->stale = false;
}

static struct disk_file *file_find(struct disk_dir *dir, const char *name)
{
    for (size_t i = 0; i < DISK_FILES_OPEN_MAX; i++) {
        struct disk_file *file = &dir->files[i];

        if (file->fd >= 0 && !file->stale && strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}

/* A free place, else the one longest unused. Few threads, one file each: never all of them. */
static struct disk_file *file_place(struct disk_dir *dir)
{
    struct disk_file *place = NULL;

    for (size_t i = 0; i < DISK_FILES_OPEN_MAX; i++) {
        struct disk_file *file = &dir->files[i];

        if (file->fd < 0)
            return file;
        if (!file->users && (!place || file->used_at < place->used_at))
            place = file;
    }
    AS_ASSERT(place != NULL);
    file_shut(place);
    return place;
}

static as_err file_take(struct disk_dir *dir, const char *name, int flags,
                        struct disk_file **ret_file)
{
    struct disk_file *file = NULL;
    as_err err = AS_OK;

    uv_mutex_lock(&dir->lock);
    file = file_find(dir, name);
    if (!file) {
        int fd = openat(dir->fd, name, O_WRONLY | O_CLOEXEC | flags, 0600);

        if (fd < 0) {
            err = last_err();
        } else {
            file = file_place(dir);
            snprintf(file->name, sizeof(file->name), "%s", name);
            file->fd = fd;
            file->users = 0;
            file->stale = false;
        }
    }
    if (file) {
        file->users++;
        file->used_at = ++dir->uses;
        *ret_file = file;
    }
    uv_mutex_unlock(&dir->lock);
    return err;
}

static void file_release(struct disk_dir *dir, struct disk_file *file)
{
    uv_mutex_lock(&dir->lock);
    file->users--;
    if (file->stale && !file->users)
        file_shut(file);
    uv_mutex_unlock(&dir->lock);
}

/* The name means another file from now on, or none. */
static void file_forget(struct disk_dir *dir, const char *name)
{
    struct disk_file *file = NULL;

    uv_mutex_lock(&dir->lock);
    file = file_find(dir, name);
    if (file) {
        file->stale = true;
        if (!file->users)
            file_shut(file);
    }
    uv_mutex_unlock(&dir->lock);
}

/* --- Operations --- */

static as_err write_all(int fd, struct as_bytes bytes, uint64_t offset)
{
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)offset);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return last_err();
        }
        bytes.data += n;
        bytes.len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return AS_OK;
}

/*
 * What was just written is on its way to the disk before more is: a sync of a decision then never
 * finds a whole segment's or snapshot's dirty pages before it in the queue.
 */
static as_err drain(int fd, uint64_t offset, uint64_t len)
{
    if (sync_file_range(fd, (off_t)offset, (off_t)len,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER) != 0 &&
        errno != ENOSYS && errno != EINVAL && errno != ESPIPE)
        return last_err();
    return AS_OK;
}

static as_err sync_dir(struct disk_dir *dir)
{
    return fsync(dir->fd) == 0 ? AS_OK : last_err();
}

static as_err do_write(struct disk_dir *dir, const struct as_disk_op *op)
{
    struct disk_file *file = NULL;
    as_err err = file_take(dir, op->name, 0, &file);

    if (err)
        return err;
    err = write_all(file->fd, op->bytes, op->offset);
    /* A crash before this returns leaves any part of the bytes; after it, all of them. */
    if (!err && fdatasync(file->fd) != 0)
        err = last_err();
    file_release(dir, file);
    return err;
}

static as_err do_append(struct disk_dir *dir, const struct as_disk_op *op)
{
    struct disk_file *file = NULL;
    as_err err;

    if (op->offset == 0)
        file_forget(dir, op->name);
    err = file_take(dir, op->name, op->offset == 0 ? O_CREAT | O_TRUNC : 0, &file);
    if (err)
        return err;
    err = write_all(file->fd, op->bytes, op->offset);
    if (!err)
        err = drain(file->fd, op->offset, op->bytes.len);
    file_release(dir, file);
    return err;
}

static as_err do_sync(struct disk_dir *dir, const struct as_disk_op *op)
{
    struct disk_file *file = NULL;
    as_err err = file_take(dir, op->name, 0, &file);

    if (err)
        return err;
    if (fsync(file->fd) != 0)
        err = last_err();
    file_release(dir, file);
    return err;
}

static as_err write_zeros(struct disk_dir *dir, int fd, uint64_t size)
{
    static uint8_t zeros[ZERO_BYTES]; /* read only: its pages stay the kernel's zero page */
    struct iovec iov[ZERO_BLOCKS];

    for (uint64_t at = 0; at < size;) {
        uint64_t left = size - at;
        int count = 0;
        ssize_t n;
        as_err err;

        if (stopping(dir))
            return AS_ERR_CLOSED;
        for (; count < (int)ZERO_BLOCKS && left; count++) {
            iov[count].iov_base = zeros;
            iov[count].iov_len = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;
            left -= iov[count].iov_len;
        }
        n = pwritev(fd, iov, count, (off_t)at);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return last_err();
        }
        err = drain(fd, at, (uint64_t)n);
        if (err)
            return err;
        at += (uint64_t)n;
    }
    return AS_OK;
}

static as_err fill(struct disk_dir *dir, int fd, uint64_t size)
{
    as_err err;

    /* Says at once whether there is space, and keeps the file in one piece. Not every file system
     * can. */
    if (size && fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP && errno != EINTR)
        return last_err();
    err = write_zeros(dir, fd, size);
    if (!err && fsync(fd) != 0)
        err = last_err();
    return err;
}

/* Under a temporary name until all of it is durable, so that a crash never leaves a short segment.
 */
static as_err do_create(struct disk_dir *dir, const struct as_disk_op *op)
{
    char temporary[AS_FILE_NAME_MAX + sizeof(CREATING)];
    as_err err;
    int fd;

    if (faccessat(dir->fd, op->name, F_OK, 0) == 0)
        return AS_ERR_EXISTS;
    snprintf(temporary, sizeof(temporary), "%s" CREATING, op->name);
    fd = openat(dir->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return last_err();
    err = fill(dir, fd, op->size);
    if (close(fd) != 0 && !err)
        err = last_err();
    if (!err && renameat(dir->fd, temporary, dir->fd, op->name) != 0)
        err = last_err();
    if (err)
        unlinkat(dir->fd, temporary, 0);
    else
        err = sync_dir(dir);
    return err;
}

static as_err do_rename(struct disk_dir *dir, const struct as_disk_op *op)
{
    if (renameat(dir->fd, op->name, dir->fd, op->to) != 0)
        return last_err();
    file_forget(dir, op->name);
    file_forget(dir, op->to);
    return sync_dir(dir);
}

/* A large file gives its blocks back in pieces: all at once holds up the syncs of decisions, 30 ms
 * for 160 MiB. What cannot be shrunk is removed whole. */
static void shrink(struct disk_dir *dir, const char *name)
{
    int fd = openat(dir->fd, name, O_WRONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

    while (size > SHRINK_BYTES && !stopping(dir)) {
        size -= SHRINK_BYTES;
        if (ftruncate(fd, size) != 0)
            break;
    }
    if (fd >= 0)
        close(fd);
}

/* Under another name first: a crash must not leave a shortened file under its own. That name is left
 * to the next disk_open then. */
static as_err do_remove(struct disk_dir *dir, const struct as_disk_op *op)
{
    char temporary[AS_FILE_NAME_MAX + sizeof(REMOVING)];
    as_err err;

    snprintf(temporary, sizeof(temporary), "%s" REMOVING, op->name);
    if (renameat(dir->fd, op->name, dir->fd, temporary) != 0) {
        if (errno == ENOENT)
            return AS_OK;
        if (errno != ENOSPC && errno != EDQUOT)
            return last_err();
        /* The directory has no room for the longer name. */
        if (unlinkat(dir->fd, op->name, 0) != 0)
            return last_err();
        temporary[0] = '\0';
    }
    file_forget(dir, op->name);
    err = sync_dir(dir);
    if (err || !temporary[0])
        return err;
    shrink(dir, temporary);
    return unlinkat(dir->fd, temporary, 0) == 0 ? AS_OK : last_err();
}

static as_err do_read(struct disk_dir *dir, const struct as_disk_op *op)
{
    size_t got = 0;
    as_err err = disk_dir_read(dir, op->name, op->offset, op->into, (size_t)op->size, &got);

    return err ? err : got == op->size ? AS_OK : AS_ERR_IO;
}

as_err disk_dir_do(struct disk_dir *dir, const struct as_disk_op *op)
{
    AS_ASSERT(op->name[0] && !strchr(op->name, '/'));
    switch (op->kind) {
    case AS_DISK_WRITE:
        return do_write(dir, op);
    case AS_DISK_CREATE:
        return do_create(dir, op);
    case AS_DISK_APPEND:
        return do_append(dir, op);
    case AS_DISK_SYNC:
        return do_sync(dir, op);
    case AS_DISK_RENAME:
        AS_ASSERT(op->to[0] && !strchr(op->to, '/'));
        return do_rename(dir, op);
    case AS_DISK_REMOVE:
        return do_remove(dir, op);
    case AS_DISK_READ:
        return do_read(dir, op);
    }
    return AS_ERR_INVALID;
}

/* --- Looking --- */

/* Of an operation under way, or that a crash interrupted. */
static bool is_ours(const char *name)
{
    size_t len = strlen(name), tail = sizeof(CREATING) - 1;

    return len > tail &&
           (strcmp(name + len - tail, CREATING) == 0 || strcmp(name + len - tail, REMOVING) == 0);
}

static as_err dir_begin(struct disk_dir *dir, DIR **ret_stream)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return last_err();
    *ret_stream = fdopendir(fd);
    if (!*ret_stream) {
        as_err err = last_err();

        close(fd);
        return err;
    }
    return AS_OK;
}

as_err disk_dir_list(struct disk_dir *dir,
                     void (*each)(void *each_ctx, const char *name, uint64_t size), void *each_ctx)
{
    struct dirent *entry;
    DIR *stream = NULL;
    as_err err = dir_begin(dir, &stream);

    if (err)
        return err;
    while (errno = 0, (entry = readdir(stream)) != NULL) {
        struct stat facts;

        if (strcmp(entry->d_name, LOCK_NAME) == 0 || is_ours(entry->d_name))
            continue;
        if (fstatat(dir->fd, entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) /* removed meanwhile: a reader beside a running node */
                continue;
            err = last_err();
            break;
        }
        if (S_ISREG(facts.st_mode))
            each(each_ctx, entry->d_name, (uint64_t)facts.st_size);
    }
    if (!err && errno)
        err = last_err();
    closedir(stream);
    return err;
}

as_err disk_dir_read(struct disk_dir *dir, const char *name, uint64_t offset, void *ret_data,
                     size_t len, size_t *ret_len)
{
    int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    as_err err = AS_OK;

    if (fd < 0)
        return last_err();
    while (done < len) {
        ssize_t n = pread(fd, (uint8_t *)ret_data + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = last_err();
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    if (!err)
        *ret_len = done;
    return err;
}

as_err disk_dir_sweep(struct disk_dir *dir)
{
    struct dirent *entry;
    DIR *stream = NULL;
    as_err err = dir_begin(dir, &stream);

    if (err)
        return err;
    while (!err && (errno = 0, (entry = readdir(stream)) != NULL)) {
        if (is_ours(entry->d_name) && unlinkat(dir->fd, entry->d_name, 0) != 0)
            err = last_err();
    }
    if (!err && errno)
        err = last_err();
    closedir(stream);
    return err;
}
