/*
 * A backup of the decision log: the file of one snapshot, as the node that took it has it in its directory. It holds what was
 * committed up to one index, and checks itself (docs/log-format.md, "Snapshot").
 *
 * Pure: bytes come by a callback, the new log goes through the blocking door.
 */
#ifndef ASSENT_LOG_BACKUP_H
#define ASSENT_LOG_BACKUP_H

#include "coordinator/log/format.h"
#include "coordinator/log/log.h"

struct log_backup_source {
    void *ctx;
    /* Reads up to len bytes; fewer only at the end of the file. IO. */
    as_err (*read)(void *ctx, uint64_t offset, void *ret_data, size_t len, size_t *ret_len);
};

/*
 * Gives `head` once, then each chunk; an error of theirs ends it and is returned. CORRUPT, VERSION, IO: ret_detail says where
 * and what. What was given before is then to be thrown away.
 */
struct log_backup_sink {
    void *ctx;
    as_err (*head)(void *ctx, const struct log_snapshot *head);
    as_err (*chunk)(void *ctx, struct as_bytes chunk, bool last);
};
#define LOG_BACKUP_DETAIL 200
as_err log_backup_read(const struct log_backup_source *source, const struct log_backup_sink *sink,
                       char ret_detail[LOG_BACKUP_DETAIL]) AS_MUSTCHECK;

/*
 * Makes the log of a node out of a backup's chunks, in an empty directory: `config` says whose it is from now on. The node
 * finds it as a log whose whole past is a received snapshot. Its term is `term`, higher than any that was there before.
 * A crash in the middle leaves a directory that does not open, never an empty log: remove it and begin anew.
 */
struct log_restore {
    const struct log_config *config;
    const struct as_disk *disk;
    struct log_snapshot head;
    uint64_t offset, chunks, bytes;
};
/* EXISTS: there is a log. `of` gives index, term and time; so many chunks will come, which have so many bytes together. */
as_err log_restore_begin(struct log_restore *restore, const struct log_config *config,
                         const struct as_disk *disk, const struct log_snapshot *of, uint64_t chunks,
                         uint64_t bytes) AS_MUSTCHECK;
as_err log_restore_chunk(struct log_restore *restore, struct as_bytes chunk,
                         bool last) AS_MUSTCHECK;
as_err log_restore_end(struct log_restore *restore, uint64_t term) AS_MUSTCHECK;

#endif
