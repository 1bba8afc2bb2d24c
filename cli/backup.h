/*
 * A backup's file, read and judged.
 */
#ifndef ASSENT_CLI_BACKUP_H
#define ASSENT_CLI_BACKUP_H

#include "coordinator/node/backup.h"

/* Complains if it is not sound. */
bool backup_verify(const char *path, struct node_backup_report *ret_report);
/* Says what is in it. */
void backup_print(const char *path, const struct node_backup_report *report, bool as_json);

#endif
