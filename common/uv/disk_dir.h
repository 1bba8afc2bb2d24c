/*
 * The system calls behind disk.h: one directory, its open files, and each operation carried out on
 * the calling thread. Any thread may call; operations on one file are not given to two threads at
 * once.
 */
#ifndef ASSENT_UV_DISK_DIR_H
#define ASSENT_UV_DISK_DIR_H

#include <uv.h>

#include "assent/disk.h"

#define DISK_FILES_OPEN_MAX 8

/* A file kept open under the name it was opened by. */
struct disk_file {
    char name[AS_FILE_NAME_MAX + 1];
    int fd; /* -1: free */
    uint32_t users;
    bool stale; /* renamed, removed or replaced: closed with its last user */
    uint64_t used_at;
};

struct disk_dir {
    int fd;
    uv_mutex_t lock; /* of the fields below */
    struct disk_file files[DISK_FILES_OPEN_MAX];
    uint64_t uses;
    bool stopping;
};

as_err disk_dir_init(struct disk_dir *dir, int fd) AS_MUSTCHECK;
void disk_dir_close(struct disk_dir *dir);

as_err disk_dir_do(struct disk_dir *dir, const struct as_disk_op *op) AS_MUSTCHECK;
/* A CREATE under way ends soon, with CLOSED. */
void disk_dir_stop(struct disk_dir *dir);

as_err disk_dir_list(struct disk_dir *dir,
                     void (*each)(void *each_ctx, const char *name, uint64_t size),
                     void *each_ctx) AS_MUSTCHECK;
as_err disk_dir_read(struct disk_dir *dir, const char *name, uint64_t offset, void *ret_data,
                     size_t len, size_t *ret_len) AS_MUSTCHECK;
/* Removes what a crash left of a CREATE or REMOVE. */
as_err disk_dir_sweep(struct disk_dir *dir) AS_MUSTCHECK;

as_err disk_err_of(int error);

#endif
