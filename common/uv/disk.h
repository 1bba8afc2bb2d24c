/*
 * A directory on a real file system as `struct as_disk` and `struct as_disk_op` see it
 * (assent/disk.h).
 *
 * Four threads of our own carry operations out: WRITE, which a decision waits for, has one; RENAME
 * and REMOVE have one; CREATE, APPEND and SYNC have one, so that zeroing a segment delays no
 * decision; READ has one. Each takes its operations in order; what must come after another kind is
 * started when that is reported done.
 *
 * Fault model: any system call may fail or be cut short. Full disk, quota and file size limit are
 * NOSPACE, a missing file NOTFOUND, anything else IO. Nothing is retried but interrupted calls and
 * short writes. A crash leaves at most "<name>.creating" and "<name>.removing" files behind, which
 * the next disk_open removes.
 */
#ifndef ASSENT_UV_DISK_H
#define ASSENT_UV_DISK_H

#include <uv.h>

#include "assent/disk.h"

struct disk;

enum disk_mode {
    DISK_READ,  /* looks only: takes no lock, every change is REFUSED */
    DISK_WRITE, /* takes the lock: a second process gets BUSY */
    DISK_MAKE,  /* as WRITE; makes the directory (0700) if there is none */
};

/* NOTFOUND: no such directory. BUSY: another process has it open. On failure *ret_error is for
 * people. */
as_err disk_open(struct disk **ret_disk, const char *directory, enum disk_mode mode,
                 char ret_error[512]) AS_MUSTCHECK;
/* The blocking door; it lives as long as `disk`. `list` leaves out our lock, our temporary files
 * and whatever is no regular file. */
struct as_disk disk_door(struct disk *disk);

/* Starts the threads; from now on `done` is called on the loop's thread, never from inside a
 * disk_* call. */
as_err disk_run(struct disk *disk, uv_loop_t *loop,
                void (*done)(void *ctx, uint64_t ticket, as_err err), void *ctx) AS_MUSTCHECK;
/* The op is copied, its bytes are borrowed until done. An APPEND at offset 0 begins the file anew.
 * NOMEM. */
as_err disk_start(struct disk *disk, const struct as_disk_op *op) AS_MUSTCHECK;
/* A WRITE carried out on the calling thread, the loop's: returns what `done` would report. */
as_err disk_write_here(struct disk *disk, const struct as_disk_op *op) AS_MUSTCHECK;
/* True while a WRITE given to disk_start has not been reported: then disk_write_here would overtake
 * it. */
bool disk_writing(const struct disk *disk);

/* Ends the threads after what they are at; a CREATE is given up. Nothing more is reported. Before
 * the loop is closed, run it once more. Takes NULL. */
void disk_close(struct disk *disk);

#endif
