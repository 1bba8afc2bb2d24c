/*
 * Section [cluster] of assentd's configuration: the nodes of a cluster of several, and what this
 * one is among them.
 */
#ifndef ASSENT_SHELL_MEMBERS_H
#define ASSENT_SHELL_MEMBERS_H

#include "coordinator/raft/raft.h"

#define MEMBERS_TEXT_MAX (RAFT_MEMBERS_MAX * (RAFT_ADDRESS_LEN_MAX + 16))

/* "1=10.0.0.1:7481, 2=10.0.0.2:7481": all of them become voters. INVALID: ret_why, for people. */
as_err members_read(const char *text, struct raft_members *ret, char ret_why[300]) AS_MUSTCHECK;
/* Exactly 16 hex digits, not all of them 0. INVALID. */
as_err members_incarnation(const char *text, uint64_t *ret) AS_MUSTCHECK;

#endif
