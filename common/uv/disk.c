/*
 * Disk operations off the loop's thread. The threads share with the loop only the two queues and
 * the list of what is done, all under one lock; an operation belongs to one side at a time.
 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "disk_dir.h"

#define STACK_BYTES (256u << 10)
#define ERROR_BYTES 512

struct job {
    struct job *next;
    struct as_disk_op op;
    as_err err;
};

struct queue {
    struct job *first;
    struct job **end;
};

struct worker {
    struct disk *disk;
    uv_thread_t thread;
    uv_cond_t wake;
    struct queue todo;
};

enum { WRITER, NAMER, MAKER, READER, WORKERS };

struct disk {
    struct disk_dir dir;
    enum disk_mode mode;
    int lock_fd;

    /* Of the loop's thread. */
    uv_async_t wake;
    void (*done)(void *ctx, uint64_t ticket, as_err err);
    void *ctx;
    struct job *spare;
    uint32_t writes; /* started, not reported */
    bool running, closing;

    uv_mutex_t lock; /* of the fields below and of the workers' queues */
    struct worker workers[WORKERS];
    struct queue finished;
    bool stop;
};

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct job *queue_take(struct queue *queue)
{
    struct job *job = queue->first;

    if (job) {
        queue->first = job->next;
        if (!queue->first)
            queue->end = &queue->first;
    }
    return job;
}

/* --- Opening --- */

static as_err open_failed(const char *directory, const char *what, char *ret_error)
{
    as_err err = disk_err_of(errno);

    snprintf(ret_error, ERROR_BYTES, "%s: %s: %s", directory, what, strerror(errno));
    return err;
}

static as_err take_lock(struct disk *disk, const char *directory, char *ret_error)
{
    char holder[24] = "";
    char mine[24];
    ssize_t len;
    int n;

    disk->lock_fd = openat(disk->dir.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (disk->lock_fd < 0)
        return open_failed(directory, "cannot make the lock file", ret_error);
    if (flock(disk->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return open_failed(directory, "cannot lock it", ret_error);
        len = pread(disk->lock_fd, holder, sizeof(holder) - 1, 0);
        holder[len > 0 ? len : 0] = '\0';
        holder[strcspn(holder, "\n")] = '\0';
        snprintf(ret_error, ERROR_BYTES,
                 "%s is in use by another process (pid %s); two must never share a data directory",
                 directory, holder[0] ? holder : "unknown");
        return AS_ERR_BUSY;
    }
    /* The number is for people only; the lock is the kernel's and ends with the process. */
    n = snprintf(mine, sizeof(mine), "%ld\n", (long)getpid());
    if (ftruncate(disk->lock_fd, 0) != 0 || pwrite(disk->lock_fd, mine, (size_t)n, 0) != n)
        return open_failed(directory, "cannot write the lock file", ret_error);
    return AS_OK;
}

/* Makes the directory and has its name in the parent synced. */
static as_err make_directory(const char *directory, char *ret_error)
{
    char parent[4096];
    int fd;
    bool synced;

    if (mkdir(directory, 0700) != 0)
        return errno == EEXIST ? AS_OK : open_failed(directory, "cannot make it", ret_error);
    if (snprintf(parent, sizeof(parent), "%s/..", directory) >= (int)sizeof(parent))
        return AS_ERR_INVALID;
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    synced = fd >= 0 && fsync(fd) == 0;
    if (!synced)
        return open_failed(directory, "cannot sync the directory above it", ret_error);
    close(fd);
    return AS_OK;
}

as_err disk_open(struct disk **ret_disk, const char *directory, enum disk_mode mode,
                 char ret_error[512])
{
    struct disk *disk;
    as_err err = AS_OK;
    int fd;

    ret_error[0] = '\0';
    if (mode == DISK_MAKE)
        err = make_directory(directory, ret_error);
    if (err)
        return err;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return open_failed(directory, "cannot open it", ret_error);
    disk = as_alloc_zero(1, sizeof(*disk));
    err = disk ? disk_dir_init(&disk->dir, fd) : AS_ERR_NOMEM;
    if (err) {
        snprintf(ret_error, ERROR_BYTES, "%s: %s", directory, as_err_text(err));
        close(fd);
        as_free(disk);
        return err;
    }
    disk->mode = mode;
    disk->lock_fd = -1;
    if (mode != DISK_READ) {
        err = take_lock(disk, directory, ret_error);
        if (!err) {
            err = disk_dir_sweep(&disk->dir);
            if (err)
                open_failed(directory, "cannot remove an unfinished file", ret_error);
        }
    }
    if (err) {
        disk_close(disk);
        return err;
    }
    *ret_disk = disk;
    return AS_OK;
}

/* --- The blocking door --- */

static as_err door_list(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t size),
                        void *each_ctx)
{
    struct disk *disk = ctx;

    return disk_dir_list(&disk->dir, each, each_ctx);
}

static as_err door_read(void *ctx, const char *name, uint64_t offset, void *ret_data, size_t len,
                        size_t *ret_len)
{
    struct disk *disk = ctx;

    return disk_dir_read(&disk->dir, name, offset, ret_data, len, ret_len);
}

static as_err door_do(struct disk *disk, enum as_disk_kind kind, const char *name, const char *to,
                      struct as_disk_op *op)
{
    int n = snprintf(op->name, sizeof(op->name), "%s", name);
    int m = snprintf(op->to, sizeof(op->to), "%s", to);

    if (n < 1 || n >= (int)sizeof(op->name) || m < 0 || m >= (int)sizeof(op->to))
        return AS_ERR_INVALID;
    if (disk->mode == DISK_READ)
        return AS_ERR_REFUSED;
    op->kind = kind;
    return disk_dir_do(&disk->dir, op);
}

static as_err door_write(void *ctx, const char *name, uint64_t offset, struct as_bytes bytes)
{
    struct as_disk_op op = {.offset = offset, .bytes = bytes};

    return door_do(ctx, AS_DISK_WRITE, name, "", &op);
}

static as_err door_create(void *ctx, const char *name, uint64_t size)
{
    struct as_disk_op op = {.size = size};

    return door_do(ctx, AS_DISK_CREATE, name, "", &op);
}

static as_err door_rename(void *ctx, const char *name, const char *to)
{
    struct as_disk_op op = {0};

    return door_do(ctx, AS_DISK_RENAME, name, to, &op);
}

static as_err door_remove(void *ctx, const char *name)
{
    struct as_disk_op op = {0};

    return door_do(ctx, AS_DISK_REMOVE, name, "", &op);
}

struct as_disk disk_door(struct disk *disk)
{
    return (struct as_disk){disk,        door_list,   door_read,  door_write,
                            door_create, door_rename, door_remove};
}

/* --- Running --- */

static void work(void *arg)
{
    struct worker *worker = arg;
    struct disk *disk = worker->disk;

    uv_mutex_lock(&disk->lock);
    for (;;) {
        struct job *job = disk->stop ? NULL : queue_take(&worker->todo);

        if (disk->stop)
            break;
        if (!job) {
            uv_cond_wait(&worker->wake, &disk->lock);
            continue;
        }
        uv_mutex_unlock(&disk->lock);
        job->err = disk_dir_do(&disk->dir, &job->op);
        uv_mutex_lock(&disk->lock);
        queue_put(&disk->finished, job);
        uv_async_send(&disk->wake);
    }
    uv_mutex_unlock(&disk->lock);
}

static void report(uv_async_t *wake)
{
    struct disk *disk = wake->data;
    struct job *job;

    uv_mutex_lock(&disk->lock);
    job = disk->finished.first;
    queue_init(&disk->finished);
    uv_mutex_unlock(&disk->lock);
    while (job) {
        struct job *next = job->next;
        uint64_t ticket = job->op.ticket;
        as_err err = job->err;

        /* Put back first: `done` may well start the next operation. */
        disk->writes -= job->op.kind == AS_DISK_WRITE;
        job->next = disk->spare;
        disk->spare = job;
        disk->done(disk->ctx, ticket, err);
        job = next;
    }
}

static void stop_workers(struct disk *disk, size_t started)
{
    disk_dir_stop(&disk->dir);
    uv_mutex_lock(&disk->lock);
    disk->stop = true;
    for (size_t i = 0; i < started; i++)
        uv_cond_signal(&disk->workers[i].wake);
    uv_mutex_unlock(&disk->lock);
    for (size_t i = 0; i < started; i++) {
        uv_thread_join(&disk->workers[i].thread);
        uv_cond_destroy(&disk->workers[i].wake);
    }
}

as_err disk_run(struct disk *disk, uv_loop_t *loop,
                void (*done)(void *ctx, uint64_t ticket, as_err err), void *ctx)
{
    static const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, STACK_BYTES};
    size_t started = 0;

    AS_ASSERT(!disk->running && disk->mode != DISK_READ);
    if (uv_mutex_init(&disk->lock))
        return AS_ERR_NOMEM;
    disk->done = done;
    disk->ctx = ctx;
    queue_init(&disk->finished);
    for (; started < WORKERS; started++) {
        struct worker *worker = &disk->workers[started];

        worker->disk = disk;
        queue_init(&worker->todo);
        if (uv_cond_init(&worker->wake))
            break;
        if (uv_thread_create_ex(&worker->thread, &options, work, worker)) {
            uv_cond_destroy(&worker->wake);
            break;
        }
    }
    /* Last, because what is begun here only the loop can end. */
    if (started < WORKERS || uv_async_init(loop, &disk->wake, report)) {
        stop_workers(disk, started);
        uv_mutex_destroy(&disk->lock);
        return AS_ERR_NOMEM;
    }
    disk->wake.data = disk;
    disk->running = true;
    return AS_OK;
}

/* A rename opens the next segment, and decisions wait for it: it must not queue behind zeroing or
 * the sync of a snapshot. Nor should a chunk that a follower waits for. */
static int worker_for(enum as_disk_kind kind)
{
    switch (kind) {
    case AS_DISK_WRITE:
        return WRITER;
    case AS_DISK_RENAME:
    case AS_DISK_REMOVE:
        return NAMER;
    case AS_DISK_READ:
        return READER;
    case AS_DISK_CREATE:
    case AS_DISK_APPEND:
    case AS_DISK_SYNC:
        break;
    }
    return MAKER;
}

as_err disk_start(struct disk *disk, const struct as_disk_op *op)
{
    struct worker *worker = &disk->workers[worker_for(op->kind)];
    struct job *job = disk->spare;

    AS_ASSERT(disk->running && !disk->closing);
    if (job) {
        disk->spare = job->next;
    } else {
        job = as_alloc(sizeof(*job));
        if (!job)
            return AS_ERR_NOMEM;
    }
    job->op = *op;
    job->err = AS_OK;
    disk->writes += op->kind == AS_DISK_WRITE;
    uv_mutex_lock(&disk->lock);
    queue_put(&worker->todo, job);
    uv_mutex_unlock(&disk->lock);
    uv_cond_signal(&worker->wake); /* after unlocking: the thread need not wait a second time */
    return AS_OK;
}

bool disk_writing(const struct disk *disk)
{
    return disk->writes > 0;
}

as_err disk_write_here(struct disk *disk, const struct as_disk_op *op)
{
    AS_ASSERT(op->kind == AS_DISK_WRITE && !disk_writing(disk));
    return disk_dir_do(&disk->dir, op);
}

/* --- Closing --- */

static void free_jobs(struct job *job)
{
    while (job) {
        struct job *next = job->next;

        as_free(job);
        job = next;
    }
}

static void disk_free(struct disk *disk)
{
    disk_dir_close(&disk->dir);
    if (disk->lock_fd >= 0)
        close(disk->lock_fd);
    as_free(disk);
}

static void wake_closed(uv_handle_t *handle)
{
    as_free(handle->data);
}

void disk_close(struct disk *disk)
{
    if (!disk)
        return;
    if (!disk->running) {
        disk_free(disk);
        return;
    }
    disk->closing = true;
    stop_workers(disk, WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        free_jobs(disk->workers[i].todo.first);
    free_jobs(disk->finished.first);
    free_jobs(disk->spare);
    disk->spare = NULL;
    uv_mutex_destroy(&disk->lock);
    disk_dir_close(&disk->dir);
    close(disk->lock_fd);
    uv_close((uv_handle_t *)&disk->wake, wake_closed);
}
