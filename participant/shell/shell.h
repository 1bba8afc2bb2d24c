/*
 * The running agent's process: a loop and a host.
 */
#ifndef ASSENT_AGENT_SHELL_H
#define ASSENT_AGENT_SHELL_H

#include "participant/shell/settings.h"

struct shell;

/* On failure ret_error is for people, and what was opened is closed by shell_close. */
as_err shell_open(struct shell **ret_shell, const struct settings *settings,
                  char ret_error[512]) AS_MUSTCHECK;
/* Until SIGTERM or SIGINT, then until nothing is executing or drain_ms have passed. */
void shell_run(struct shell *shell);
void shell_close(struct shell *shell); /* takes NULL and a half-opened one */

#endif
