/*
 * A backup of a node's decision log, and the log of a new cluster's node made of one (docs/decisions/0015). The chunks of a
 * snapshot are the members, then the table.
 */
#ifndef ASSENT_NODE_BACKUP_H
#define ASSENT_NODE_BACKUP_H

#include "coordinator/log/backup.h"
#include "coordinator/raft/raft.h"
#include "coordinator/txn/txn.h"

/* So far above the backup's term a restored log begins: the lost cluster cannot have gone there, so no attempt's number is
 * ever used twice, whatever happened after the backup. */
#define NODE_RESTORE_TERMS 1000000u

struct node_backup_report {
    struct log_snapshot head;
    struct raft_members members;
    struct txn_counts counts;
    uint64_t chunks, bytes;
    uint64_t members_bytes;         /* of these, the first chunk */
    char detail[LOG_BACKUP_DETAIL]; /* what is wrong */
};

/* Reads all of it into a table, as a node that starts would. `outcomes_max` 0: the usual. */
as_err node_backup_verify(const struct log_backup_source *source, uint32_t outcomes_max,
                          struct node_backup_report *ret_report) AS_MUSTCHECK;

struct node_restore {
    const struct log_config *log;       /* the new incarnation, this node's number, its segments */
    const struct raft_members *members; /* of the new cluster: the same on each of its nodes */
    int64_t wall_ms;                    /* now */
};

/* EXISTS: the directory is not empty. FOREIGN: of a cluster of another name. INVALID: the incarnation is the backup's own. */
as_err node_restore(const struct node_restore *restore, const struct log_backup_source *source,
                    const struct as_disk *disk, struct node_backup_report *ret_report) AS_MUSTCHECK;

#endif
