/*
 * The agent's process: a loop with one host, signals, start and end.
 *
 * Fault model: that of participant/host. A second signal ends the process at once, which is as safe
 * as the first.
 */
#include "participant/shell/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "common/uv/notify.h"
#include "common/uv/say.h"
#include "participant/host/host.h"

#define EXIT_SECOND_SIGNAL 1
#define EXIT_FATAL 1
#define DRAIN_LOOK_MS 10
#define CLOSE_MS 10000 /* more than closing takes when the drain is over */

struct shell {
    uv_loop_t loop;
    struct host *host;
    uv_prepare_t turn;
    uv_signal_t terminate, interrupt, reload;
    const struct settings *settings; /* the caller's */
    bool tls;
    uv_timer_t drain;
    struct notify notify;
    uint32_t participant_count;
    bool handles; /* the above are open */
    bool draining, closing;
    uint64_t drain_ms, drain_until;
};

_Noreturn static void end_process(const char *why)
{
    say(AS_TRACE_ALARM, "fatal", "why", why, NULL);
    _exit(EXIT_FATAL);
}

/* The turn ends: all that it caused leaves now. A crash before this line loses what the agent may
 * lose. */
static void on_turn(uv_prepare_t *turn)
{
    struct shell *shell = turn->data;

    host_turn_end(shell->host);
    AS_CRASH_FLUSHED();
}

/* For `systemctl status`. */
static void put_status(void *ctx, char ret_text[NOTIFY_STATUS_MAX])
{
    struct shell *shell = ctx;

    snprintf(ret_text, NOTIFY_STATUS_MAX, "%s%" PRIu32 " of %" PRIu32 " databases up",
             shell->draining ? "stopping: " : "", host_up_count(shell->host),
             shell->participant_count);
}

/* --- the end --- */

static void on_host_closed(void *ctx)
{
    struct shell *shell = ctx;

    uv_stop(&shell->loop);
}

static void look_at_drain(uv_timer_t *timer)
{
    struct shell *shell = timer->data;
    bool idle = host_drain(shell->host);

    if (shell->closing || (!idle && uv_now(&shell->loop) < shell->drain_until))
        return;
    if (!idle)
        say(AS_TRACE_WARN, "drain_ended", "text",
            "branches were still executing: they are cancelled", NULL);
    shell->closing = true;
    uv_timer_stop(&shell->drain);
    host_close(shell->host, on_host_closed, shell);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct shell *shell = handle->data;

    if (shell->draining) {
        say(AS_TRACE_WARN, "stopped", "why", "a second signal", NULL);
        _exit(EXIT_SECOND_SIGNAL);
    }
    shell->draining = true;
    shell->drain_until = uv_now(&shell->loop) + shell->drain_ms;
    say(AS_TRACE_INFO, "draining", "why", number == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
    uv_timer_start(&shell->drain, look_at_drain, 0, DRAIN_LOOK_MS);
    notify_stopping(&shell->notify, shell->drain_ms + CLOSE_MS);
}

/* What is connected goes on, with all that is under way there. */
static void reload_certificates(struct shell *shell)
{
    struct tls_credentials *credentials = NULL;
    char why[512];

    if (settings_tls(shell->settings, &credentials, why)) {
        say(AS_TRACE_ALARM, "certificates_not_reloaded", "why", why, "text",
            "the certificates loaded before stay in use", NULL);
        return;
    }
    host_tls(shell->host, credentials);
    tls_credentials_release(credentials); /* the host holds them */
    say(AS_TRACE_INFO, "certificates_reloaded", "of", "links", NULL);
}

static void on_reload(uv_signal_t *handle, int number)
{
    struct shell *shell = handle->data;

    (void)number;
    if (!shell->host || shell->closing)
        return;
    if (shell->tls)
        reload_certificates(shell);
    if (!host_reload(shell->host, &shell->settings->participants) && !shell->tls)
        say(AS_TRACE_INFO, "nothing_to_reload", "text",
            "SIGHUP reloads certificates and named operations, and none are configured", NULL);
}

/* --- opening --- */

static as_err fail(char *ret_error, as_err err, const char *what)
{
    snprintf(ret_error, 512, "%s: %s", what, as_err_text(err));
    return err;
}

static as_err open_handles(struct shell *shell)
{
    uv_loop_t *loop = &shell->loop;

    if (uv_loop_init(loop))
        return AS_ERR_IO;
    shell->handles = true;
    uv_timer_init(loop, &shell->drain);
    uv_prepare_init(loop, &shell->turn);
    uv_signal_init(loop, &shell->terminate);
    uv_signal_init(loop, &shell->interrupt);
    uv_signal_init(loop, &shell->reload);
    shell->reload.data = shell;
    shell->turn.data = shell->drain.data = shell;
    shell->terminate.data = shell->interrupt.data = shell;
    if (notify_open(&shell->notify, loop, put_status, shell))
        return AS_ERR_IO;
    if (uv_prepare_start(&shell->turn, on_turn) ||
        uv_signal_start(&shell->terminate, on_signal, SIGTERM) ||
        uv_signal_start(&shell->interrupt, on_signal, SIGINT) ||
        uv_signal_start(&shell->reload, on_reload, SIGHUP))
        return AS_ERR_IO;
    return AS_OK;
}

as_err shell_open(struct shell **ret_shell, const struct settings *settings, char ret_error[512])
{
    struct shell *shell = as_alloc_zero(1, sizeof(*shell));
    struct tls_credentials *credentials = NULL;
    struct agent_config config;
    as_err err;

    *ret_shell = shell;
    if (!shell)
        return fail(ret_error, AS_ERR_NOMEM, "cannot start");
    shell->drain_ms = settings->drain_ms;
    shell->participant_count = settings->participants.count;
    shell->settings = settings;
    err = open_handles(shell);
    if (err)
        return fail(ret_error, err, "cannot make an event loop");
    err = settings_tls(settings, &credentials, ret_error);
    if (err)
        return err;
    shell->tls = credentials != NULL;
    settings_agent(settings, &config);
    err = host_open(&shell->host, &shell->loop, &config, &settings->participants, NULL, credentials,
                    end_process);
    tls_credentials_release(credentials); /* the host holds them */
    if (err)
        return fail(ret_error, err, "cannot make the agent");
    /* Databases and coordinators may come and go: it serves those that are there. */
    notify_ready(&shell->notify);
    return AS_OK;
}

void shell_run(struct shell *shell)
{
    uv_run(&shell->loop, UV_RUN_DEFAULT);
}

void shell_close(struct shell *shell)
{
    if (!shell)
        return;
    if (shell->host && !shell->closing) {
        host_close(shell->host, on_host_closed, shell);
        uv_run(&shell->loop, UV_RUN_DEFAULT);
    }
    host_free(shell->host);
    notify_close(&shell->notify);
    if (shell->handles) {
        uv_close((uv_handle_t *)&shell->drain, NULL);
        uv_close((uv_handle_t *)&shell->turn, NULL);
        uv_close((uv_handle_t *)&shell->terminate, NULL);
        uv_close((uv_handle_t *)&shell->interrupt, NULL);
        uv_close((uv_handle_t *)&shell->reload, NULL);
        uv_run(&shell->loop, UV_RUN_DEFAULT);
        AS_ASSERT(uv_loop_close(&shell->loop) == 0);
    }
    as_free(shell);
}
