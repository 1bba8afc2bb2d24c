/*
 * What a directory tree holds that no sync has made durable, and what is left of it after a power cut. For faultfs.
 *
 * The tree ("backing") always holds what processes see. Kept here is how to go back: of each file the sectors as they were at its
 * last sync, and of the names what was created, renamed and removed since. A power cut goes back by chance:
 *
 *   data     each 512-byte sector written since the last fsync, fdatasync or O_SYNC write of its file is as it was, or as it was
 *            written; new ones that are lost read as zeros or are beyond the end. So a write of several sectors is torn.
 *   names    of all creations, renames and removals since the last fsync of their directory, the first so many have happened,
 *            in order (as with a journal); an fsync of a file makes no name durable, that of a directory all up to its last change
 *
 * A sync that was made to fail makes nothing durable, and no later one of the same file does until the next power cut: the kernel
 * may have dropped the pages.
 */
#ifndef ASSENT_TORTURE_UNSYNCED_H
#define ASSENT_TORTURE_UNSYNCED_H

#include <stddef.h>
#include <sys/types.h>

#include "assent/rng.h"

#define SECTOR_BYTES 512u

struct unsynced;

/* `root`: a descriptor of the backing directory; paths are relative to it. The name `.grave` in it is ours. NULL: errno. */
struct unsynced *unsynced_new(int root);
void unsynced_free(struct unsynced *unsynced);

/* --- Data: called before it happens; `fd` can read and write. 0, or -errno: then it must not happen --- */

/* These bytes are about to be written. */
int unsynced_write(struct unsynced *unsynced, int fd, off_t offset, size_t len);
/* It is about to have this size. */
int unsynced_resize(struct unsynced *unsynced, int fd, off_t size);
/* All of the file is durable; `failed`: never will be. */
void unsynced_sync(struct unsynced *unsynced, int fd, bool failed);

/* --- Names: these do it, too. 0 or -errno --- */

/* Just made, by open or mkdir, symlink, link. */
int unsynced_created(struct unsynced *unsynced, const char *path);
int unsynced_remove(struct unsynced *unsynced, const char *path, bool directory);
int unsynced_rename(struct unsynced *unsynced, const char *from, const char *to);
/* The directory was synced. */
void unsynced_sync_names(struct unsynced *unsynced, int directory);

/* --- All of it --- */

struct unsynced_counts {
    uint64_t files, sectors, sectors_lost, names, names_lost;
};

/* Everything is durable. */
void unsynced_settle(struct unsynced *unsynced);
/* The power is cut. 0 or -errno. */
int unsynced_cut(struct unsynced *unsynced, uint64_t seed, struct unsynced_counts *ret_counts);

#endif
