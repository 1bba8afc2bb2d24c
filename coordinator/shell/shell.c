/*
 * A coordinator process from its first to its last system call. Fault model: whatever cannot be
 * opened is named, and nothing is changed that a second start could not mend. A process that dies
 * without draining loses nothing but time.
 */
#include "coordinator/shell/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "common/uv/say.h"
#include "coordinator/shell/env.h"
#include "coordinator/shell/files.h"
#include "coordinator/shell/restore.h"

#define ERROR_BYTES 2048
#define DRAIN_LOOK_MS 20
#define CLOSE_MS 10000   /* more than closing takes when the drain is over */
#define HAND_OVER_MS 500 /* within which the next leader has caught up, or is not there */

/* --- Opening --- */

static const char no_log[] =
    "no decision log here. The first start of a new cluster needs --bootstrap. A node that lost "
    "its "
    "log must not come back under its id: remove it (assent cluster remove), give it a new one, "
    "start it with --join and add that (assent cluster add)";

/* check_alone would refuse the log that was made. */
static const char no_section[] =
    "--no-run needs [cluster] nodes in the file, of a single node as well: an empty log does not "
    "tell whose it is. For example: nodes = 1=127.0.0.1:7481";

static as_err fail(char *ret_error, as_err err, const char *what, const char *detail)
{
    snprintf(ret_error, ERROR_BYTES, "%.1000s%s%.1000s", what, detail[0] ? ": " : "", detail);
    return err;
}

/* What was asked for must be what the file says this node is. */
static as_err check_start(const struct settings *settings, enum shell_start start, char *ret_error)
{
    bool joins = settings->origin == SETTINGS_JOINS;

    if ((start == SHELL_BOOTSTRAP || start == SHELL_RESTORE) && joins)
        return fail(ret_error, AS_ERR_INVALID,
                    "--bootstrap and --restore are for the nodes that [cluster] nodes names, and "
                    "this one is not among them: name it there, or let it join a running cluster "
                    "with --join",
                    "");
    if (start == SHELL_JOIN && !joins)
        return fail(ret_error, AS_ERR_INVALID,
                    "--join is for a node that a running cluster takes in: give it a new [node] "
                    "id, the cluster's [cluster] incarnation, and, in [cluster] nodes, none or "
                    "only the other nodes",
                    "");
    return AS_OK;
}

/* A directory without a log is never filled in silence: a wiped node would then vote anew
 * (protocol.md). */
static as_err make_log(struct shell *shell, const struct node_config *config, const char *backup,
                       char *ret_error)
{
    struct log_config made = config->log;
    struct as_disk door = disk_door(shell->env.disk);
    char incarnation[24];
    as_err err;

    while (made.incarnation == 0) {
        if (getrandom(&made.incarnation, sizeof(made.incarnation), 0) !=
            (ssize_t)sizeof(made.incarnation))
            return fail(ret_error, AS_ERR_IO, "the system gives no random numbers", "");
    }
    if (backup)
        return shell_restore(&made, &config->raft.members, backup, &door, ret_error);
    err = log_bootstrap(&made, &door);
    if (err == AS_ERR_EXISTS)
        return fail(ret_error, err, shell->settings.data_dir,
                    "there is a decision log here already; start without --bootstrap and --join");
    if (err)
        return fail(ret_error, err, "cannot make the decision log", as_err_text(err));
    snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, made.incarnation);
    say(AS_TRACE_INFO, shell->settings.origin == SETTINGS_JOINS ? "joining" : "bootstrapped",
        "cluster", made.cluster, "incarnation", incarnation, "data_dir", shell->settings.data_dir,
        NULL);
    return AS_OK;
}

static as_err open_disk(struct shell *shell, enum shell_start start, char *ret_error)
{
    enum disk_mode mode = start == SHELL_START ? DISK_WRITE : DISK_MAKE;
    char why[512];
    as_err err = disk_open(&shell->env.disk, shell->settings.data_dir, mode, why);

    if (err == AS_ERR_NOTFOUND && start == SHELL_START)
        return fail(ret_error, err, shell->settings.data_dir, no_log);
    return err ? fail(ret_error, err, why, "") : AS_OK;
}

/*
 * An empty log does not tell whose it is: that of a node of several, which must not lead alone
 * because its [cluster] was lost on the way, or that of a lone node which died in its first moment.
 */
static as_err check_alone(const struct settings *settings, enum shell_start start,
                          const struct log_report *report, char *ret_error)
{
    if (start != SHELL_START || settings->origin != SETTINGS_LONE || report->snapshot_index != 0 ||
        report->first_index != 0)
        return AS_OK;
    return fail(ret_error, AS_ERR_INVALID, settings->data_dir,
                "the decision log here is empty still. If this node is one of several, its "
                "[cluster] section is missing. If it is the only one, it died in its first moment, "
                "and nothing is lost: remove the directory and start with --bootstrap");
}

static as_err open_node(struct shell *shell, const struct shell_origin *origin,
                        struct log_report *ret_report, char *ret_error)
{
    struct node_config config;
    struct as_disk door = disk_door(shell->env.disk);
    as_err err = AS_OK;

    settings_node(&shell->settings, &config);
    if (origin->start != SHELL_START)
        err = make_log(shell, &config, origin->backup, ret_error);
    if (err)
        return err;
    err = node_open(&shell->env.node, &config, &door, &shell->env, &shell_env_ops, ret_report);
    if (err == AS_ERR_NOTFOUND)
        return fail(ret_error, err, shell->settings.data_dir, no_log);
    if (err)
        return fail(ret_error, err, "the decision log does not open",
                    ret_report->detail[0] ? ret_report->detail : as_err_text(err));
    return check_alone(&shell->settings, origin->start, ret_report, ret_error);
}

static as_err open_net(struct shell *shell, uint16_t *ret_agents_port, uint16_t *ret_api_port,
                       char *ret_error)
{
    struct net_callbacks callbacks = shell_net_callbacks;
    struct api_config config;
    struct as_env *env = &shell->env;
    char why[256] = "";
    as_err err;

    callbacks.ctx = env;
    err = disk_run(env->disk, &env->loop, env_on_disk_done, env);
    if (err)
        return fail(ret_error, err, "cannot start the disk's threads", as_err_text(err));
    err = net_new(&env->net, &env->loop, &callbacks);
    if (err)
        return fail(ret_error, err, as_err_text(err), "");
    if (shell->identity.links)
        net_tls(env->net, shell->identity.links);
    err = net_listen(env->net, shell->settings.agents_listen, ret_agents_port, why);
    if (err)
        return fail(ret_error, err, "[agents] listen", why);
    settings_api(&shell->settings, &config);
    err = files_prepare(&shell->settings, &config.connections_max, why);
    if (err)
        return fail(ret_error, err, why, "");
    config.credentials = shell->identity.api;
    config.tokens = shell->identity.tokens;
    err = api_new(&env->api, &config, &env->loop, env->node, ret_api_port, why);
    return err ? fail(ret_error, err, "[api] listen", why) : AS_OK;
}

/* Participants of the file itself: the agent's name is for people, in GET /v1/participants. */
static as_err open_local(struct shell *shell, char *ret_error)
{
    const struct settings *settings = &shell->settings;
    struct raft_members others;
    char name[32];
    as_err err;

    if (settings->participants.count == 0)
        return AS_OK;
    snprintf(name, sizeof(name), "node %" PRIu64, settings->id);
    others = settings->members;
    for (uint32_t i = 0; i < others.count; i++) {
        if (others.list[i].id == settings->id)
            others.list[i--] = others.list[--others.count];
    }
    err = local_open(&shell->env.local, &shell->env.loop, shell->env.node, settings->id,
                     settings->cluster, name, &others, &settings->participants,
                     shell->identity.links, env_end_process);
    return err ? fail(ret_error, err, "cannot serve the participants", as_err_text(err)) : AS_OK;
}

/* The configured host with the port that was really taken. */
static const char *address_text(const char *listen, uint16_t port, char ret_text[300])
{
    const char *colon = strrchr(listen, ':');

    snprintf(ret_text, 300, "%.*s:%u", colon ? (int)(colon - listen) : 0, listen, port);
    return ret_text;
}

static void say_started(struct shell *shell, const struct log_report *report, uint16_t api_port,
                        uint16_t agents_port)
{
    struct node_info info;
    char api[300], agents[300], numbers[5][32];

    node_info(shell->env.node, &info);
    snprintf(numbers[0], 32, "%016" PRIx64, info.incarnation);
    snprintf(numbers[1], 32, "%" PRIu64, info.term);
    snprintf(numbers[2], 32, "%" PRIu64, report->records);
    snprintf(numbers[3], 32, "%" PRIu64, report->cut_bytes);
    snprintf(numbers[4], 32, "%ld", (long)getpid());
    say(AS_TRACE_INFO, "started", "version", AS_VERSION, "cluster", info.cluster, "incarnation",
        numbers[0], "term", numbers[1], "api",
        address_text(shell->settings.api_listen, api_port, api), "agents",
        address_text(shell->settings.agents_listen, agents_port, agents), "data_dir",
        shell->settings.data_dir, "records", numbers[2], "cut_bytes", numbers[3], "pid", numbers[4],
        NULL);
    if (report->cut_bytes)
        say(AS_TRACE_WARN, "torn_tail_cut", "bytes", numbers[3], "text",
            "what was being written when the node died was never acknowledged", NULL);
}

static void on_turn(uv_prepare_t *turn)
{
    struct shell *shell = turn->data;

    env_turn_end(&shell->env);
}

/* For `systemctl status`. */
static void put_status(void *ctx, char ret_text[NOTIFY_STATUS_MAX])
{
    struct shell *shell = ctx;
    struct node_metrics metrics;
    struct node_info info;
    char role[64], heuristic[64] = "";

    node_info(shell->env.node, &info);
    node_metrics(shell->env.node, &metrics);
    if (info.role == RAFT_LEADER)
        snprintf(role, sizeof(role), "leader");
    else if (info.leader)
        snprintf(role, sizeof(role), "follower of node %" PRIu64, info.leader);
    else
        snprintf(role, sizeof(role), "no leader known");
    if (metrics.txn.heuristic)
        snprintf(heuristic, sizeof(heuristic), ", %" PRIu32 " heuristic outcomes wait for a person",
                 metrics.txn.heuristic);
    snprintf(ret_text, NOTIFY_STATUS_MAX, "%snode %" PRIu64 ", %s, term %" PRIu64 "%s%s",
             shell->draining ? "stopping: " : "", info.node_id, role, info.term, heuristic,
             info.disk_full ? ", DISK FULL" : "");
}

static void on_signal(uv_signal_t *handle, int number);

static void say_tls(const char *event, const struct tls_credentials *credentials, const char *of)
{
    char days[32];

    if (!credentials)
        return;
    snprintf(days, sizeof(days), "%lld",
             (long long)(tls_credentials_expire(credentials) - (int64_t)time(NULL)) / 86400);
    say(AS_TRACE_INFO, event, "of", of, "days_left", days, NULL);
}

static void say_identity(const struct settings_identity *identity, const char *certificates,
                         const char *tokens)
{
    char count[16];

    say_tls(certificates, identity->links, "links");
    say_tls(certificates, identity->api, "api");
    if (!identity->tokens)
        return;
    snprintf(count, sizeof(count), "%" PRIu32, tokens_count(identity->tokens));
    say(AS_TRACE_INFO, tokens, "count", count, NULL);
}

/* All files or none. What is connected goes on, with all that is under way there. */
static void on_reload(uv_signal_t *handle, int number)
{
    struct shell *shell = handle->data;
    struct settings_identity before = shell->identity, now;
    char why[512];
    bool operations;

    (void)number;
    operations = local_reload(shell->env.local, &shell->settings.participants);
    if (!before.links && !before.api && !before.tokens) {
        if (!operations)
            say(AS_TRACE_INFO, "nothing_to_reload", "text",
                "SIGHUP reloads certificates, tokens and named operations, and none are configured",
                NULL);
        return;
    }
    if (settings_identity(&shell->settings, &now, why)) {
        say(AS_TRACE_ALARM, "certificates_not_reloaded", "why", why, "text",
            "the certificates and tokens loaded before stay in use", NULL);
        return;
    }
    if (now.links) {
        net_tls(shell->env.net, now.links);
        local_tls(shell->env.local, now.links);
    }
    if (now.api)
        api_tls(shell->env.api, now.api);
    if (now.tokens)
        api_tokens(shell->env.api, now.tokens);
    shell->identity = now;
    settings_identity_close(&before);
    say_identity(&now, "certificates_reloaded", "tokens_reloaded");
}

static as_err open_handles(struct shell *shell)
{
    uv_loop_t *loop = &shell->env.loop;

    if (uv_prepare_init(loop, &shell->turn) || uv_timer_init(loop, &shell->drain) ||
        uv_signal_init(loop, &shell->terminate))
        return AS_ERR_IO;
    if (uv_signal_init(loop, &shell->interrupt) || uv_signal_init(loop, &shell->reload))
        return AS_ERR_IO;
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

as_err shell_open(struct shell **ret_shell, const struct settings *settings,
                  const struct shell_origin *origin, char ret_error[2048])
{
    struct shell *shell = as_alloc_zero(1, sizeof(*shell));
    struct log_report report = {0};
    uint16_t agents_port = 0, api_port = 0;
    as_err err;

    if (!shell || uv_loop_init(&shell->env.loop) != 0 || env_init(&shell->env)) {
        as_free(shell);
        return fail(ret_error, AS_ERR_NOMEM, "cannot make an event loop", "");
    }
    shell->settings = *settings;
    shell->env.sync_in_place = settings->sync_in_place == 0;
    *ret_shell = shell;
    err = check_start(settings, origin->start, ret_error);
    if (!err)
        err = settings_identity(settings, &shell->identity, ret_error);
    if (!err)
        err = open_disk(shell, origin->start, ret_error);
    if (!err)
        err = open_node(shell, origin, &report, ret_error);
    if (!err)
        err = open_net(shell, &agents_port, &api_port, ret_error);
    if (!err)
        err = open_local(shell, ret_error);
    if (err)
        return err;
    err = open_handles(shell);
    if (err)
        return fail(ret_error, err, "cannot watch signals", "");
    /* Replaying a long log took time that the loop has not seen; no timer may count it. */
    uv_update_time(&shell->env.loop);
    pulse_turn(&shell->env.pulse);
    node_start(shell->env.node);
    say_started(shell, &report, api_port, agents_port);
    notify_ready(&shell->notify); /* it listens; who leads is found out while it serves */
    say_identity(&shell->identity, "certificates", "tokens");
    return AS_OK;
}

as_err shell_make(const struct settings *settings, const struct shell_origin *origin,
                  char ret_error[2048])
{
    struct shell *shell = as_alloc_zero(1, sizeof(*shell));
    struct node_config config;
    as_err err;

    if (!shell)
        return fail(ret_error, AS_ERR_NOMEM, as_err_text(AS_ERR_NOMEM), "");
    shell->settings = *settings;
    settings_node(settings, &config);
    err = settings->origin == SETTINGS_LONE ? fail(ret_error, AS_ERR_INVALID, no_section, "")
                                            : check_start(settings, origin->start, ret_error);
    if (!err)
        err = open_disk(shell, origin->start, ret_error);
    if (!err)
        err = make_log(shell, &config, origin->backup, ret_error);
    disk_close(shell->env.disk);
    as_free(shell);
    return err;
}

/* --- Running and draining --- */

static void on_local_closed(void *ctx)
{
    struct shell *shell = ctx;

    uv_stop(&shell->env.loop);
}

/* A leader of several hands leadership over, so that nobody waits for an election. Asked again and
 * again; true: it has, or it cannot. */
static bool has_handed_over(struct shell *shell)
{
    struct node_info info;

    node_info(shell->env.node, &info);
    if (info.role != RAFT_LEADER)
        return true;
    if (shell->hand_over_until_ms == 0) {
        shell->hand_over_until_ms = uv_now(&shell->env.loop) + HAND_OVER_MS;
        if (node_transfer(shell->env.node, 0) != RAFT_REFUSED_NONE)
            shell->hand_over_until_ms = 1; /* alone, or nobody is there to take it */
    }
    return uv_now(&shell->env.loop) >= shell->hand_over_until_ms;
}

static void on_drain(uv_timer_t *timer)
{
    struct shell *shell = timer->data;
    bool api_done = api_drain(shell->env.api);
    bool node_done = node_drain(shell->env.node);

    if (node_done && has_handed_over(shell) && api_done && local_drain(shell->env.local)) {
        say(AS_TRACE_INFO, "drained", NULL);
        uv_stop(&shell->env.loop);
    } else if (uv_now(&shell->env.loop) >= shell->drain_until_ms) {
        say(AS_TRACE_WARN, "drain_gave_up", "waiting_for", node_done ? "clients" : "transactions",
            NULL);
        uv_stop(&shell->env.loop);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct shell *shell = handle->data;
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";

    if (shell->draining) {
        say(AS_TRACE_WARN, "stopped_at_once", "signal", name, NULL);
        _exit(128 + number); /* as after a kill: the log has what was decided */
    }
    say(AS_TRACE_INFO, "stopping", "signal", name, NULL);
    shell->draining = true;
    shell->drain_until_ms = uv_now(&shell->env.loop) + shell->settings.drain_ms;
    uv_timer_start(&shell->drain, on_drain, 0, DRAIN_LOOK_MS);
    notify_stopping(&shell->notify, shell->settings.drain_ms + CLOSE_MS);
}

void shell_run(struct shell *shell)
{
    uv_run(&shell->env.loop, UV_RUN_DEFAULT);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    struct shell *shell = ctx;
    uv_handle_t *own[] = {(uv_handle_t *)&shell->turn,      (uv_handle_t *)&shell->drain,
                          (uv_handle_t *)&shell->terminate, (uv_handle_t *)&shell->interrupt,
                          (uv_handle_t *)&shell->reload,    (uv_handle_t *)&shell->env.pulse.timer};

    for (size_t i = 0; i < AS_COUNT_OF(own); i++) {
        if (handle == own[i] && !uv_is_closing(handle))
            uv_close(handle, NULL);
    }
}

void shell_close(struct shell *shell)
{
    if (!shell)
        return;
    if (shell->env.local) {
        uv_timer_stop(&shell->drain);
        local_close(shell->env.local, on_local_closed, shell);
        uv_run(&shell->env.loop, UV_RUN_DEFAULT);
        local_free(shell->env.local);
        shell->env.local = NULL;
    }
    api_free(shell->env.api);
    net_free(shell->env.net);
    disk_close(shell->env.disk);
    node_free(shell->env.node);
    notify_close(&shell->notify);
    uv_walk(&shell->env.loop, close_handle, shell);
    uv_run(&shell->env.loop, UV_RUN_DEFAULT);
    AS_ASSERT(uv_loop_close(&shell->env.loop) == 0);
    settings_identity_close(&shell->identity);
    as_free(shell);
}
