/*
 * sd_notify(3) without libsystemd; see notify.h. Fault model: the manager may be gone, or not read:
 * what cannot be sent at once is lost, and the process goes on.
 */
#include "common/uv/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/uv/say.h"

#define LOOK_MS 1000
/* A ping is lost if the manager's queue is full: there must be time for another one. */
#define PINGS_WITHIN 3

static void tell(struct notify *notify, const char *text)
{
    if (notify->fd >= 0)
        (void)send(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* "/path" or "@abstract". The variable is for this process: a child must not speak for it. */
static int connect_manager(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len;
    int fd;

    if (!path)
        return -1;
    len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(address.sun_path)) {
        say(AS_TRACE_WARN, "notify_failed", "why", "NOTIFY_SOCKET is no socket's name", NULL);
        return -1;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
        return fd;
    say(AS_TRACE_WARN, "notify_failed", "why", strerror(errno), "socket", path, NULL);
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* Of this very process, or of nobody: the variables are inherited. */
static uint64_t watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    return strtoull(usec, NULL, 10) / 1000 / PINGS_WITHIN;
}

static void tell_status(struct notify *notify, const char *before)
{
    char text[NOTIFY_STATUS_MAX] = "", message[NOTIFY_STATUS_MAX + 64];

    notify->status(notify->ctx, text);
    if (!*before && strcmp(text, notify->told) == 0)
        return;
    memcpy(notify->told, text, sizeof(text));
    (void)snprintf(message, sizeof(message), "%sSTATUS=%s", before, text);
    tell(notify, message);
}

static void on_timer(uv_timer_t *timer)
{
    struct notify *notify = timer->data;

    if (notify->watchdog_ms && uv_now(timer->loop) >= notify->watchdog_at_ms) {
        notify->watchdog_at_ms = uv_now(timer->loop) + notify->watchdog_ms;
        tell(notify, "WATCHDOG=1");
    }
    tell_status(notify, "");
}

as_err notify_open(struct notify *notify, uv_loop_t *loop,
                   void (*status)(void *ctx, char ret_text[NOTIFY_STATUS_MAX]), void *ctx)
{
    memset(notify, 0, sizeof(*notify));
    notify->fd = -1;
    notify->status = status;
    notify->ctx = ctx;
    if (uv_timer_init(loop, &notify->timer))
        return AS_ERR_IO;
    notify->timer.data = notify;
    notify->fd = connect_manager();
    if (notify->fd >= 0)
        notify->watchdog_ms = watchdog_ms();
    return AS_OK;
}

void notify_ready(struct notify *notify)
{
    uint64_t every = LOOK_MS;

    if (notify->fd < 0)
        return;
    if (notify->watchdog_ms && notify->watchdog_ms < every)
        every = notify->watchdog_ms;
    tell_status(notify, "READY=1\n");
    (void)uv_timer_start(&notify->timer, on_timer, 0, every);
}

void notify_stopping(struct notify *notify, uint64_t within_ms)
{
    char before[64];

    (void)snprintf(before, sizeof(before), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n",
                   within_ms * 1000);
    if (notify->fd >= 0)
        tell_status(notify, before);
}

void notify_close(struct notify *notify)
{
    if (!notify->timer.data)
        return;
    if (notify->fd >= 0)
        (void)close(notify->fd);
    notify->fd = -1;
    notify->timer.data = NULL;
    uv_close((uv_handle_t *)&notify->timer, NULL);
}
