/*
 * Mounting a faultfs and telling it what to do; what can be told stands at the head of faultfs/faultfs.c.
 */
#ifndef ASSENT_TORTURE_FAULTFS_H
#define ASSENT_TORTURE_FAULTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether this machine lets us mount one. False: ret_why says what is missing. */
bool faultfs_usable(const char *program, char *ret_why, size_t size);
/* Starts it; true when it is mounted. It ends with this process, or when it is unmounted. */
bool faultfs_mount(const char *program, const char *backing, const char *mountpoint,
                   const char *socket_path, pid_t *ret_pid);
/* Nobody may use it any more. */
bool faultfs_unmount(const char *mountpoint, pid_t pid);
/* One order; the answer without its newline. True: it begins with "ok". */
bool faultfs_tell(const char *socket_path, char *ret_answer, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
