/*
 * The disk as the decision log sees it: a flat directory of files. Two doors: blocking calls, used only
 * while a node opens its log, and operations that are started and later reported done, used while it runs.
 *
 * Fault model: a sector (512 bytes) is written whole or not at all; what was not synced may be applied,
 * lost or torn in any order; what was synced may rot. A failed sync leaves the file's state unknown and is
 * never retried: the process ends.
 */
#ifndef ASSENT_DISK_H
#define ASSENT_DISK_H

#include "assent/base.h"

#define AS_FILE_NAME_MAX 63

enum as_disk_kind {
    AS_DISK_WRITE, /* bytes at offset, then fdatasync; the range was written over before */
    AS_DISK_CREATE, /* a new file of `size` zero bytes, written out and synced, and its directory synced */
    AS_DISK_APPEND, /* bytes at offset of a growing file, no sync (a snapshot being written) */
    AS_DISK_SYNC,   /* fsync of the file */
    AS_DISK_RENAME, /* name to to, then the directory is synced; replaces an existing `to` */
    AS_DISK_REMOVE, /* unlink, then the directory is synced; no such file is no error */
    AS_DISK_READ,   /* exactly `size` bytes at offset, to `into`; a file that has fewer: IO */
};

/* Borrowed until it is reported done: bytes and `into` stay untouched by their owner meanwhile. */
struct as_disk_op {
    uint64_t ticket; /* the caller's, unique */
    enum as_disk_kind kind;
    char name[AS_FILE_NAME_MAX + 1];
    char to[AS_FILE_NAME_MAX + 1];
    uint64_t offset;
    uint64_t size;
    struct as_bytes bytes;
    uint8_t *into;
};

/* Blocking door, for opening only. Every write and rename is synced before it returns. */
struct as_disk {
    void *ctx;
    as_err (*list)(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t size),
                   void *each_ctx);
    /* Reads up to len bytes; fewer only at the end of the file. NOTFOUND, IO. */
    as_err (*read)(void *ctx, const char *name, uint64_t offset, void *ret_data, size_t len,
                   size_t *ret_len);
    as_err (*write)(void *ctx, const char *name, uint64_t offset, struct as_bytes bytes);
    as_err (*create)(void *ctx, const char *name, uint64_t size); /* zeros */
    as_err (*rename)(void *ctx, const char *name, const char *to);
    as_err (*remove)(void *ctx, const char *name);
};

#endif
