/*
 * The agent's process: libuv behind `struct as_env`, signals, start and end.
 *
 * A turn of the loop: what came in is given to the agent, which only gathers; on_turn, before the
 * loop sleeps, lets the bytes leave.
 *
 * Fault model: killed at any instruction; what was prepared waits in the database for the next
 * agent (R6), what was not is rolled back by the server when the connection ends. A second signal
 * ends the process at once, which is therefore as safe as the first.
 */
#include "participant/shell/shell.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "common/uv/net.h"
#include "common/uv/pulse.h"
#include "common/uv/say.h"

#define EXIT_SECOND_SIGNAL 1
#define EXIT_FATAL 1
#define DRAIN_LOOK_MS 10

struct as_env {
    uv_loop_t *loop;
    struct pulse pulse;
    struct net *net;
    struct pg *pg;
    struct agent *agent;
};

struct shell {
    uv_loop_t loop;
    struct as_env env;
    uv_prepare_t turn;
    uv_signal_t terminate, interrupt;
    uv_timer_t drain;
    bool handles; /* the above are open */
    bool draining, closing;
    uint64_t drain_ms, drain_until;
};

_Noreturn static void end_process(const char *why)
{
    say(AS_TRACE_ALARM, "fatal", "why", why, NULL);
    _exit(EXIT_FATAL);
}

/* --- the agent's door --- */

static as_time env_now(struct as_env *env)
{
    return pulse_now(&env->pulse);
}

static int64_t env_wall_ms(struct as_env *env)
{
    return pulse_wall_ms(&env->pulse);
}

static uint64_t env_random(struct as_env *env)
{
    return pulse_random(&env->pulse);
}

static void env_timer_arm(struct as_env *env, as_time at)
{
    pulse_arm(&env->pulse, at);
}

static void on_beat(void *ctx)
{
    struct as_env *env = ctx;

    agent_on_timer(env->agent);
}

static void env_net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    net_dial(env->net, connection, address);
}

static void env_net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    net_send(env->net, connection, bytes);
}

static void env_net_close(struct as_env *env, uint64_t connection)
{
    net_close(env->net, connection);
}

static void env_disk_start(struct as_env *env, const struct as_disk_op *op)
{
    (void)env;
    (void)op;
    AS_ASSERT(false); /* an agent has no log */
}

static void env_client_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    (void)env;
    (void)client;
    (void)reply;
    AS_ASSERT(false); /* an agent has no clients */
}

static void env_pg_start(struct as_env *env, const struct as_pg_op *op)
{
    pg_start(env->pg, op);
}

static void env_pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    pg_cancel(env->pg, participant, op_id);
}

static void env_trace(struct as_env *env, const struct as_trace *trace)
{
    (void)env;
    say_trace(trace);
}

static void env_fatal(struct as_env *env, const char *why)
{
    (void)env;
    end_process(why);
}

static const struct as_env_ops env_ops = {
    .now = env_now,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .timer_arm = env_timer_arm,
    .net_dial = env_net_dial,
    .net_send = env_net_send,
    .net_close = env_net_close,
    .disk_start = env_disk_start,
    .client_reply = env_client_reply,
    .pg_start = env_pg_start,
    .pg_cancel = env_pg_cancel,
    .trace = env_trace,
    .fatal = env_fatal,
};

/* --- what comes in --- */

static void on_connected(void *ctx, uint64_t connection)
{
    struct as_env *env = ctx;

    agent_on_connected(env->agent, connection);
}

static void on_bytes(void *ctx, uint64_t connection, struct as_bytes bytes)
{
    struct as_env *env = ctx;

    agent_on_bytes(env->agent, connection, bytes);
}

static void on_closed(void *ctx, uint64_t connection, as_err err)
{
    struct as_env *env = ctx;

    agent_on_closed(env->agent, connection, err);
}

static void on_pg_up(void *ctx, const struct as_pg_up *up)
{
    struct as_env *env = ctx;

    agent_on_pg_up(env->agent, up);
}

static void on_pg_down(void *ctx, uint32_t participant, const char *why)
{
    struct as_env *env = ctx;

    agent_on_pg_down(env->agent, participant, why);
}

static void on_pg_done(void *ctx, const struct as_pg_done *done)
{
    struct as_env *env = ctx;

    agent_on_pg_done(env->agent, done);
}

/* The turn ends: all that it caused leaves now. A crash before this line loses what the agent may
 * lose. */
static void on_turn(uv_prepare_t *turn)
{
    struct shell *shell = turn->data;

    net_flush(shell->env.net);
    pg_flush(shell->env.pg);
    AS_CRASH_FLUSHED();
    pulse_turn(&shell->env.pulse);
}

/* --- the end --- */

static void on_pg_closed(void *ctx)
{
    struct shell *shell = ctx;

    uv_stop(&shell->loop);
}

static void look_at_drain(uv_timer_t *timer)
{
    struct shell *shell = timer->data;
    bool idle = agent_drain(shell->env.agent);

    if (shell->closing || (!idle && uv_now(&shell->loop) < shell->drain_until))
        return;
    if (!idle)
        say(AS_TRACE_WARN, "drain_ended", "text",
            "branches were still executing: they are cancelled", NULL);
    shell->closing = true;
    uv_timer_stop(&shell->drain);
    pg_close(shell->env.pg, on_pg_closed, shell);
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
    shell->env.loop = loop;
    if (pulse_init(&shell->env.pulse, loop, on_beat, &shell->env))
        return AS_ERR_IO;
    uv_timer_init(loop, &shell->drain);
    uv_prepare_init(loop, &shell->turn);
    uv_signal_init(loop, &shell->terminate);
    uv_signal_init(loop, &shell->interrupt);
    shell->turn.data = shell->drain.data = shell;
    shell->terminate.data = shell->interrupt.data = shell;
    if (uv_prepare_start(&shell->turn, on_turn) ||
        uv_signal_start(&shell->terminate, on_signal, SIGTERM) ||
        uv_signal_start(&shell->interrupt, on_signal, SIGINT))
        return AS_ERR_IO;
    return AS_OK;
}

static as_err open_agent(struct shell *shell, const struct settings *settings)
{
    struct agent_participant_config *participants =
        as_alloc_zero(settings->participant_count, sizeof(*participants));
    struct agent_config config;
    as_err err;

    if (!participants)
        return AS_ERR_NOMEM;
    settings_agent(settings, &config, participants);
    err = agent_new(&shell->env.agent, &config, &shell->env, &env_ops);
    as_free(participants);
    return err;
}

static as_err open_pg(struct shell *shell, const struct settings *settings)
{
    const struct pg_callbacks callbacks = {&shell->env, on_pg_up, on_pg_down, on_pg_done};
    struct pg_participant_config *participants =
        as_alloc_zero(settings->participant_count, sizeof(*participants));
    struct pg_config config;
    as_err err;

    if (!participants)
        return AS_ERR_NOMEM;
    settings_pg(settings, &config, participants);
    err = pg_new(&shell->env.pg, &config, &shell->loop, &callbacks);
    as_free(participants);
    return err;
}

as_err shell_open(struct shell **ret_shell, const struct settings *settings, char ret_error[512])
{
    const struct net_callbacks callbacks = {NULL, NULL, on_connected, on_bytes, on_closed};
    struct net_callbacks net_callbacks = callbacks;
    struct shell *shell = as_alloc_zero(1, sizeof(*shell));
    as_err err;

    *ret_shell = shell;
    if (!shell)
        return fail(ret_error, AS_ERR_NOMEM, "cannot start");
    shell->drain_ms = settings->drain_ms;
    net_callbacks.ctx = &shell->env;
    err = open_handles(shell);
    if (err)
        return fail(ret_error, err, "cannot make an event loop");
    err = net_new(&shell->env.net, &shell->loop, &net_callbacks);
    if (err)
        return fail(ret_error, err, "cannot open the net");
    err = open_agent(shell, settings);
    if (err)
        return fail(ret_error, err, "cannot make the agent");
    err = open_pg(shell, settings);
    if (err)
        return fail(ret_error, err, "cannot make the database connections");
    agent_start(shell->env.agent);
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
    if (shell->env.pg && !shell->closing) {
        pg_close(shell->env.pg, on_pg_closed, shell);
        uv_run(&shell->loop, UV_RUN_DEFAULT);
    }
    pg_free(shell->env.pg);
    net_free(shell->env.net);
    agent_free(shell->env.agent);
    if (shell->handles) {
        uv_close((uv_handle_t *)&shell->env.pulse.timer, NULL);
        uv_close((uv_handle_t *)&shell->drain, NULL);
        uv_close((uv_handle_t *)&shell->turn, NULL);
        uv_close((uv_handle_t *)&shell->terminate, NULL);
        uv_close((uv_handle_t *)&shell->interrupt, NULL);
        uv_run(&shell->loop, UV_RUN_DEFAULT);
        AS_ASSERT(uv_loop_close(&shell->loop) == 0);
    }
    as_free(shell);
}
