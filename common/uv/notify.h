/*
 * What a service manager is told of this process by the protocol of sd_notify(3): that it serves, a
 * line on how it is, that its loop still turns, that it is stopping. Without a manager that asks
 * for it (NOTIFY_SOCKET) every call does nothing.
 *
 * Not libsystemd: the protocol is one datagram, documented as stable for implementations of one's
 * own, and the library would bring its compressors into a process that holds passwords.
 */
#ifndef ASSENT_UV_NOTIFY_H
#define ASSENT_UV_NOTIFY_H

#include <uv.h>

#include "assent/base.h"

#define NOTIFY_STATUS_MAX 200

struct notify {
    int fd; /* -1: nobody listens */
    uv_timer_t timer;
    uint64_t watchdog_ms; /* 0: nobody wants to hear that the loop turns */
    uint64_t watchdog_at_ms;
    void (*status)(void *ctx, char ret_text[NOTIFY_STATUS_MAX]);
    void *ctx;
    char told[NOTIFY_STATUS_MAX];
};

/* `status` is asked about once a second; what it says for people is passed on when it has changed.
 * A socket that cannot be had is said in the log, and the process goes on without. */
as_err notify_open(struct notify *notify, uv_loop_t *loop,
                   void (*status)(void *ctx, char ret_text[NOTIFY_STATUS_MAX]),
                   void *ctx) AS_MUSTCHECK;
/* Serves; from now on the watchdog is fed from the loop. */
void notify_ready(struct notify *notify);
/* Stops within so long: the manager shall not kill it before. */
void notify_stopping(struct notify *notify, uint64_t within_ms);
/* Then the loop must run its close callbacks. Takes a zeroed one, and one that did not open. */
void notify_close(struct notify *notify);

#endif
