/*
 * A disk in memory that can be crashed, filled, broken and rotted, for the tests of the decision
 * log.
 *
 * Fault model: include/assent/disk.h. Every file has what a reader sees and what is durable; a
 * crash makes of each sector of 512 bytes that was not synced the old one or the new one, and of
 * each change of the directory that was not synced a change or none. A kill of the process alone
 * loses nothing, and syncs nothing.
 */
#ifndef ASSENT_TEST_FAKE_DISK_H
#define ASSENT_TEST_FAKE_DISK_H

#include <stdlib.h>
#include <string.h>

#include "assent/disk.h"
#include "assent/rng.h"

#define FAKE_FILES 128
#define FAKE_OPS 16
#define FAKE_SECTOR 512
#define FAKE_UNUSED __attribute__((unused))

struct fake_image {
    uint8_t *data;
    uint64_t size;
};

struct fake_file {
    bool used;
    char name[AS_FILE_NAME_MAX + 1];         /* as seen; "" removed, not durably */
    char durable_name[AS_FILE_NAME_MAX + 1]; /* "" if a crash may find it under no name */
    struct fake_image seen, durable;
    uint64_t dirty_from, dirty_to; /* where seen and durable may differ */
    bool replaced; /* by a rename: loses its name durably with that rename, never alone */
};

struct fake_disk {
    struct fake_file files[FAKE_FILES];
    struct as_rng rng;
    struct as_disk_op queue[FAKE_OPS]; /* started, not done */
    size_t queued;
    uint64_t space;   /* bytes that all files together may have; 0: no limit */
    uint64_t ops;     /* counted, both doors */
    uint64_t fail_at; /* which of them fails; 0: none */
    as_err fail_err;
    bool fail_in_part; /* a failing change is seen in part: what a crash in the middle of it leaves
                        */
    bool failed;
    uint64_t changes; /* of anything */
};

static FAKE_UNUSED void fake_init(struct fake_disk *disk, uint64_t seed)
{
    memset(disk, 0, sizeof *disk);
    disk->rng.state = seed;
    disk->fail_err = AS_ERR_IO;
}

static FAKE_UNUSED void fake_drop(struct fake_file *file)
{
    free(file->seen.data);
    free(file->durable.data);
    memset(file, 0, sizeof *file);
}

static FAKE_UNUSED void fake_close(struct fake_disk *disk)
{
    for (size_t i = 0; i < FAKE_FILES; i++)
        fake_drop(&disk->files[i]);
    disk->queued = 0;
}

static FAKE_UNUSED void fake_copy_image(struct fake_image *to, const struct fake_image *from)
{
    to->data = realloc(to->data, from->size + 1);
    if (from->size)
        memcpy(to->data, from->data, from->size);
    to->size = from->size;
}

/* A second disk with the same contents; `to` is closed or zeroed. */
static FAKE_UNUSED void fake_copy(struct fake_disk *to, const struct fake_disk *from)
{
    memset(to, 0, sizeof *to);
    *to = *from;
    for (size_t i = 0; i < FAKE_FILES; i++) {
        to->files[i].seen.data = NULL;
        to->files[i].durable.data = NULL;
        if (!from->files[i].used)
            continue;
        fake_copy_image(&to->files[i].seen, &from->files[i].seen);
        fake_copy_image(&to->files[i].durable, &from->files[i].durable);
    }
}

static FAKE_UNUSED struct fake_file *fake_find(struct fake_disk *disk, const char *name)
{
    for (size_t i = 0; i < FAKE_FILES; i++)
        if (disk->files[i].used && strcmp(disk->files[i].name, name) == 0)
            return &disk->files[i];
    return NULL;
}

static FAKE_UNUSED struct fake_file *fake_new(struct fake_disk *disk, const char *name)
{
    for (size_t i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &disk->files[i];

        if (file->used)
            continue;
        file->used = true;
        strcpy(file->name, name);
        return file;
    }
    abort();
}

static FAKE_UNUSED uint64_t fake_used(const struct fake_disk *disk)
{
    uint64_t total = 0;

    for (size_t i = 0; i < FAKE_FILES; i++)
        if (disk->files[i].used && disk->files[i].name[0])
            total += disk->files[i].seen.size;
    return total;
}

/* Nothing always fits: after a power cut, files whose removal was not durable are back, and `used` may be past `space`. */
static FAKE_UNUSED bool fake_room(const struct fake_disk *disk, uint64_t bytes)
{
    return !disk->space || !bytes || fake_used(disk) + bytes <= disk->space;
}

static FAKE_UNUSED void fake_resize(struct fake_image *image, uint64_t size)
{
    image->data = realloc(image->data, size + 1);
    if (size > image->size)
        memset(image->data + image->size, 0, size - image->size);
    image->size = size;
}

/* --- The two halves of an operation: what is seen at once, and what a sync makes of it --- */

static FAKE_UNUSED void fake_store(struct fake_file *file, uint64_t offset, struct as_bytes bytes)
{
    uint64_t end = offset + bytes.len;

    if (end > file->seen.size)
        fake_resize(&file->seen, end);
    if (bytes.len)
        memcpy(file->seen.data + offset, bytes.data, bytes.len);
    if (file->dirty_from == file->dirty_to) {
        file->dirty_from = offset;
        file->dirty_to = end;
    }
    if (offset < file->dirty_from)
        file->dirty_from = offset;
    if (end > file->dirty_to)
        file->dirty_to = end;
}

static FAKE_UNUSED void fake_sync_file(struct fake_file *file)
{
    uint64_t from = file->dirty_from, to = file->dirty_to;

    if (file->durable.size != file->seen.size)
        fake_resize(&file->durable, file->seen.size);
    if (to > from)
        memcpy(file->durable.data + from, file->seen.data + from, to - from);
    file->dirty_from = file->dirty_to = 0;
}

static FAKE_UNUSED void fake_sync_dir(struct fake_disk *disk)
{
    for (size_t i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &disk->files[i];

        if (!file->used)
            continue;
        memcpy(file->durable_name, file->name, sizeof file->name);
        if (!file->name[0])
            fake_drop(file);
    }
}

static FAKE_UNUSED void fake_unlink(struct fake_file *file)
{
    file->name[0] = '\0';
    if (!file->durable_name[0])
        fake_drop(file);
}

static FAKE_UNUSED as_err fake_fail(struct fake_disk *disk)
{
    if (++disk->ops != disk->fail_at)
        return AS_OK;
    disk->failed = true;
    return disk->fail_err;
}

/* What is seen of an operation as soon as the kernel has it. `part`: only some of it, as a kill may
 * leave. */
static FAKE_UNUSED as_err fake_apply(struct fake_disk *disk, const struct as_disk_op *op, bool part)
{
    struct fake_file *file = fake_find(disk, op->name), *to;
    struct as_bytes bytes = op->bytes;

    disk->changes += op->kind != AS_DISK_READ;
    if (part && bytes.len)
        bytes.len = (size_t)as_rng_below(&disk->rng, bytes.len + 1);
    switch (op->kind) {
    case AS_DISK_WRITE:
        if (!file)
            return AS_ERR_NOTFOUND;
        if (op->offset + bytes.len > file->seen.size)
            abort(); /* the contract: the range was written over before */
        fake_store(file, op->offset, bytes);
        return AS_OK;
    case AS_DISK_CREATE:
        if (file)
            return AS_ERR_EXISTS;
        if (!fake_room(disk, op->size))
            return AS_ERR_NOSPACE;
        file = fake_new(disk, op->name);
        fake_resize(&file->seen, part ? as_rng_below(&disk->rng, op->size + 1) : op->size);
        return AS_OK;
    case AS_DISK_APPEND:
        if (!fake_room(disk, bytes.len))
            return AS_ERR_NOSPACE;
        if (!file)
            file = fake_new(disk, op->name);
        if (op->offset == 0)
            fake_resize(&file->seen, 0);
        if (op->offset != file->seen.size)
            abort();
        fake_store(file, op->offset, bytes);
        return AS_OK;
    case AS_DISK_SYNC:
        return file ? AS_OK : AS_ERR_NOTFOUND;
    case AS_DISK_RENAME:
        if (!file)
            return AS_ERR_NOTFOUND;
        to = fake_find(disk, op->to);
        if (to) {
            to->replaced = true;
            fake_unlink(to);
        }
        strcpy(file->name, op->to);
        return AS_OK;
    case AS_DISK_REMOVE:
        if (file)
            fake_unlink(file);
        return AS_OK;
    case AS_DISK_READ:
        if (!file)
            return AS_ERR_NOTFOUND;
        if (op->offset > file->seen.size || op->size > file->seen.size - op->offset)
            return AS_ERR_IO;
        memcpy(op->into, file->seen.data + op->offset, (size_t)op->size);
        return AS_OK;
    }
    return AS_ERR_INVALID;
}

static FAKE_UNUSED void fake_sync(struct fake_disk *disk, const struct as_disk_op *op)
{
    struct fake_file *file = fake_find(disk, op->name);

    if (file &&
        (op->kind == AS_DISK_WRITE || op->kind == AS_DISK_CREATE || op->kind == AS_DISK_SYNC))
        fake_sync_file(file);
    if (op->kind == AS_DISK_CREATE || op->kind == AS_DISK_RENAME || op->kind == AS_DISK_REMOVE)
        fake_sync_dir(disk);
}

/* --- The door of a running log --- */

static FAKE_UNUSED void fake_start(struct fake_disk *disk, const struct as_disk_op *op)
{
    if (disk->queued == FAKE_OPS)
        abort();
    disk->queue[disk->queued++] = *op;
}

/* Carries out the i-th one that waits; *ret_op is it. */
static FAKE_UNUSED as_err fake_finish(struct fake_disk *disk, size_t i, struct as_disk_op *ret_op)
{
    as_err err;

    *ret_op = disk->queue[i];
    memmove(&disk->queue[i], &disk->queue[i + 1], (--disk->queued - i) * sizeof disk->queue[0]);
    err = fake_fail(disk);
    if (!err)
        err = fake_apply(disk, ret_op, false);
    if (!err)
        fake_sync(disk, ret_op);
    return err;
}

/* The process is killed: each operation under way has reached the kernel wholly, in part or not. */
static FAKE_UNUSED void fake_kill(struct fake_disk *disk)
{
    for (size_t i = 0; i < disk->queued; i++) {
        uint64_t choice = as_rng_below(&disk->rng, 3);

        if (choice && disk->queue[i].kind != AS_DISK_READ)
            (void)fake_apply(disk, &disk->queue[i], choice == 1);
    }
    disk->queued = 0;
}

static FAKE_UNUSED void fake_tear(struct fake_disk *disk, struct fake_file *file)
{
    uint64_t size = file->durable.size;

    /* A growing file may have any length between; what was not written reads as zeros. */
    if (file->seen.size > size)
        size += as_rng_below(&disk->rng, file->seen.size - size + 1);
    fake_resize(&file->durable, size);
    for (uint64_t at = file->dirty_from / FAKE_SECTOR * FAKE_SECTOR;
         at < file->dirty_to && at < size; at += FAKE_SECTOR) {
        uint64_t len = size - at < FAKE_SECTOR ? size - at : FAKE_SECTOR;

        if (at + len > file->seen.size)
            len = file->seen.size > at ? file->seen.size - at : 0;
        if (as_rng_next(&disk->rng) & 1)
            memcpy(file->durable.data + at, file->seen.data + at, len);
    }
    fake_copy_image(&file->seen, &file->durable);
    file->dirty_from = file->dirty_to = 0;
}

/* The power goes: what was not synced is there, lost or torn. */
static FAKE_UNUSED void fake_power_cut(struct fake_disk *disk)
{
    fake_kill(disk);
    for (size_t i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &disk->files[i];

        if (!file->used)
            continue;
        fake_tear(disk, file);
        if (file->replaced || strcmp(file->name, file->durable_name) == 0)
            continue;
        if (as_rng_next(&disk->rng) & 1) {
            /* This change of the directory reached the disk: whoever durably had the name loses it.
             */
            for (size_t j = 0; j < FAKE_FILES; j++)
                if (j != i && disk->files[j].used && file->name[0] &&
                    strcmp(disk->files[j].durable_name, file->name) == 0)
                    disk->files[j].durable_name[0] = '\0';
            memcpy(file->durable_name, file->name, sizeof file->name);
        }
    }
    for (size_t i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &disk->files[i];

        file->replaced = false;
        if (file->used && !file->durable_name[0])
            fake_drop(file);
        else if (file->used)
            memcpy(file->name, file->durable_name, sizeof file->name);
    }
}

/* --- The blocking door: weakest form of its contract, only writes and renames are synced --- */

static FAKE_UNUSED as_err fake_door_list(
    void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t size), void *each_ctx)
{
    struct fake_disk *disk = ctx;
    as_err err = fake_fail(disk);

    for (size_t i = FAKE_FILES; !err && i-- > 0;)
        if (disk->files[i].used && disk->files[i].name[0])
            each(each_ctx, disk->files[i].name, disk->files[i].seen.size);
    return err;
}

static FAKE_UNUSED as_err fake_door_read(void *ctx, const char *name, uint64_t offset,
                                         void *ret_data, size_t len, size_t *ret_len)
{
    struct fake_disk *disk = ctx;
    struct fake_file *file = fake_find(disk, name);
    as_err err = fake_fail(disk);
    uint64_t left;

    if (err)
        return err;
    if (!file)
        return AS_ERR_NOTFOUND;
    left = offset < file->seen.size ? file->seen.size - offset : 0;
    *ret_len = left < len ? (size_t)left : len;
    if (*ret_len)
        memcpy(ret_data, file->seen.data + offset, *ret_len);
    return AS_OK;
}

static FAKE_UNUSED as_err fake_door_do(struct fake_disk *disk, const struct as_disk_op *op)
{
    as_err err = fake_fail(disk);

    if (err && disk->fail_in_part)
        (void)fake_apply(disk, op, true);
    if (!err)
        err = fake_apply(disk, op, false);
    if (!err && (op->kind == AS_DISK_WRITE || op->kind == AS_DISK_RENAME))
        fake_sync(disk, op);
    if (!err && op->kind == AS_DISK_CREATE)
        fake_sync_file(fake_find(disk, op->name));
    return err;
}

static FAKE_UNUSED as_err fake_door_write(void *ctx, const char *name, uint64_t offset,
                                          struct as_bytes bytes)
{
    struct as_disk_op op = {.kind = AS_DISK_WRITE, .offset = offset, .bytes = bytes};

    strcpy(op.name, name);
    return fake_door_do(ctx, &op);
}

static FAKE_UNUSED as_err fake_door_create(void *ctx, const char *name, uint64_t size)
{
    struct as_disk_op op = {.kind = AS_DISK_CREATE, .size = size};

    strcpy(op.name, name);
    return fake_door_do(ctx, &op);
}

static FAKE_UNUSED as_err fake_door_rename(void *ctx, const char *name, const char *to)
{
    struct as_disk_op op = {.kind = AS_DISK_RENAME};

    strcpy(op.name, name);
    strcpy(op.to, to);
    return fake_door_do(ctx, &op);
}

static FAKE_UNUSED as_err fake_door_remove(void *ctx, const char *name)
{
    struct as_disk_op op = {.kind = AS_DISK_REMOVE};

    strcpy(op.name, name);
    return fake_door_do(ctx, &op);
}

static FAKE_UNUSED struct as_disk fake_door(struct fake_disk *disk)
{
    return (struct as_disk){disk,
                            fake_door_list,
                            fake_door_read,
                            fake_door_write,
                            fake_door_create,
                            fake_door_rename,
                            fake_door_remove};
}

#endif
