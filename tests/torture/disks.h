/*
 * Disks that can fail, for the nemeses of the disk: under each node's data directory and each server's a faultfs, and under that
 * of a node a small ext4 on a loop device, which can be filled.
 */
#ifndef ASSENT_TORTURE_DISKS_H
#define ASSENT_TORTURE_DISKS_H

#include "world.h"

struct disk {
    const struct place *place; /* who uses it */
    char mountpoint[200], backing[256], control[108];
    char small[200]; /* where the loop device is mounted; "": there is none */
    pid_t pid;
};

bool disks_usable(const struct world *world, char *ret_why, size_t size);
/* Mounts them, unless they are. Places exist, directories are empty. */
bool disks_prepare(struct world *world);
/* One more, if disks_prepare() was called: that directory is on it from now on. `user`: whose it is; NULL: ours. */
bool disk_under(struct world *world, const struct place *place, const char *directory,
                const char *user);
/* All that was written so far is durable. */
bool disks_settle(struct world *world);
void disks_finish(struct world *world);

/* That of whoever is in the place; NULL: it has none. */
struct disk *disk_of(const struct place *place);
/* See faultfs/faultfs.c. False: the world has failed. */
bool disk_tell(struct world *world, const struct disk *disk, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* How many syncs it was made to fail so far. */
unsigned long long disk_syncs_failed(const struct disk *disk);

/* The power of its machine is cut: the process is gone, and with it what was not synced. */
bool disk_power_cut(struct world *world, struct process *process, uint64_t seed);

#endif
