/*
 * assentd --restore: the log of a node of a new cluster, made of a backup (docs/decisions/0015).
 */
#ifndef ASSENT_SHELL_RESTORE_H
#define ASSENT_SHELL_RESTORE_H

#include "coordinator/node/backup.h"

/* `members` with none: the node is to be alone. */
as_err shell_restore(const struct log_config *log, const struct raft_members *members,
                     const char *backup, const struct as_disk *disk,
                     char ret_error[2048]) AS_MUSTCHECK;

#endif
