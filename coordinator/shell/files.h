/*
 * The limit of open files, shared out: clients get what links, log and databases leave.
 */
#ifndef ASSENT_SHELL_FILES_H
#define ASSENT_SHELL_FILES_H

#include "coordinator/shell/settings.h"

/* Raises the process's limit as far as it may. *ret_connections_max: as the settings say, or lower,
 * with a line in the log. FULL: not even links and log have enough; ret_error says so. */
as_err files_prepare(const struct settings *settings, uint32_t *ret_connections_max,
                     char ret_error[256]) AS_MUSTCHECK;

#endif
