/*
 * A sandbox as a whole: start, stop, and kill or restart one process of it; see sandbox.h.
 */
#include "cli/sandbox.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cli/rest.h"

#define STOP_MS 15000
#define RETURN_MS 5000

static void progress(const struct sandbox *sandbox, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void progress(const struct sandbox *sandbox, const char *format, ...)
{
    va_list args;

    if (sandbox->options.quiet)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* --- The daemons --- */

/* One of our programs with its config, run by --wrap's command if there is one. */
static bool daemon_start(struct sandbox *sandbox, struct process *process, const char *name,
                         const char *config_name, bool bootstrap, const struct option_list *env)
{
    char program[450], config[256], wrap[600];
    const char *argv[] = {
        "/bin/sh", "-c", wrap, program, "--config", config, bootstrap ? "--bootstrap" : NULL, NULL};
    struct process_spec spec = {sandbox->options.wrap ? argv : argv + 3, NULL, SIGKILL, env};

    (void)text_format(program, sizeof(program), "%s/%s", sandbox->binaries, name);
    (void)text_format(config, sizeof(config), "%s/etc/%s.ini", sandbox->dir, config_name);
    if (sandbox->options.wrap &&
        !text_format(wrap, sizeof(wrap), "exec %s \"$0\" \"$@\"", sandbox->options.wrap))
        return sandbox_fail(sandbox, "--wrap: the command is too long");
    return process_start(sandbox->loop, process, &spec, sandbox->error);
}

static bool node_start(struct sandbox *sandbox, bool bootstrap, const struct option_list *env)
{
    return daemon_start(sandbox, &sandbox->node, "assentd", "node-1", bootstrap, env);
}

static bool agent_start(struct sandbox *sandbox, struct database *database,
                        const struct option_list *env)
{
    return daemon_start(sandbox, &database->agent, "assent-agent", database->agent.name, false,
                        env);
}

/* Whose life a participant depends on. */
static struct process *serving(struct sandbox *sandbox, struct database *database)
{
    return sandbox->options.no_agents ? &sandbox->node : &database->agent;
}

struct readiness {
    struct sandbox *sandbox;
    struct process *process; /* gives up when it has ended */
    const struct database
        *database; /* whose participant must be up; NULL: the node must be ready */
};

static bool is_ready(void *ctx)
{
    const struct readiness *wanted = ctx;
    struct rest_reply reply;
    char path[64] = "/readyz", error[256];
    bool ready;

    if (!wanted->process->alive)
        return true;
    if (wanted->database)
        (void)text_format(path, sizeof(path), "/v1/participants/%s", wanted->database->participant);
    if (!rest_call(wanted->sandbox->api, path, NULL, 1000, &reply, error))
        return false;
    ready = reply.status == 200 &&
            (!wanted->database || strcmp(json_text(reply.json, "state", ""), "up") == 0);
    rest_reply_close(&reply);
    return ready;
}

/* Waits for the node (database NULL) or for a participant, which `process` is to bring. */
static bool ready_wait(struct sandbox *sandbox, struct process *process,
                       const struct database *database)
{
    struct readiness wanted = {sandbox, process, database};
    enum loop_end end = loop_wait(sandbox->loop, is_ready, &wanted, SANDBOX_READY_MS, 10);
    char how[64];

    if (end == LOOP_MET && process->alive)
        return true;
    sandbox->failed = process;
    if (end == LOOP_INTERRUPTED)
        return sandbox_fail(sandbox, "interrupted");
    if (process->alive)
        return sandbox_fail(sandbox, "%s is not ready after %d s", process->name,
                            SANDBOX_READY_MS / 1000);
    process_end_text(process, how, sizeof(how));
    return sandbox_fail(sandbox, "%s ended before it was ready: %s", process->name, how);
}

/*
 * After a restart: the participant comes back by itself, if its agent, its database and the node
 * all can. A test may have one of them stand still, so this is no condition.
 */
static bool participant_wait(struct sandbox *sandbox, const struct process *process,
                             struct database *database)
{
    struct process *server = serving(sandbox, database);
    struct readiness wanted = {sandbox, server, database};

    if (sandbox->node.alive && server->alive && (sandbox->options.null || database->server.alive))
        (void)loop_wait(sandbox->loop, is_ready, &wanted, RETURN_MS, 10);
    return process->alive ? true : sandbox_fail(sandbox, "%s ended again", process->name);
}

static bool node_first_start(struct sandbox *sandbox)
{
    /* Twice: somebody may have taken the port between our look and its bind. */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!sandbox_pick_ports(sandbox) || !sandbox_write_configs(sandbox) ||
            !node_start(sandbox, true, NULL))
            return false;
        if (ready_wait(sandbox, &sandbox->node, NULL))
            return true;
        if (sandbox->node.alive || sandbox->node.exit_status != 1 || sandbox->loop->interrupted ||
            attempt)
            return false;
        sandbox_node_dir_clear(sandbox);
    }
    return false;
}

static bool daemons_start(struct sandbox *sandbox)
{
    if (!node_first_start(sandbox))
        return false;
    for (size_t i = 0; i < sandbox->count && !sandbox->options.no_agents; i++)
        if (!agent_start(sandbox, &sandbox->databases[i], NULL))
            return false;
    for (size_t i = 0; i < sandbox->count; i++) {
        struct database *database = &sandbox->databases[i];

        if (!ready_wait(sandbox, serving(sandbox, database), database))
            return false;
    }
    return true;
}

/* --- All of it --- */

/* libpq and the server read these; the sandbox is to be the same whoever starts it. */
static void environment_clean(void)
{
    static const char *const names[] = {"PGHOST",    "PGHOSTADDR",  "PGPORT",    "PGDATABASE",
                                        "PGUSER",    "PGPASSWORD",  "PGOPTIONS", "PGSERVICE",
                                        "PGDATA",    "PGSSLMODE",   "PGTZ",      "PGDATESTYLE",
                                        "PGAPPNAME", "PGREQUIRESSL"};

    for (size_t i = 0; i < AS_COUNT_OF(names); i++)
        (void)unsetenv(names[i]);
}

static bool start_steps(struct sandbox *sandbox)
{
    as_time begin = clock_now();

    if (!sandbox_find_programs(sandbox) || !sandbox_dir_make(sandbox))
        return false;
    if (!sandbox->options.null) {
        progress(sandbox, "starting %zu PostgreSQL servers in %s", sandbox->count, sandbox->dir);
        if (!databases_start(sandbox))
            return false;
    }
    if (!sandbox->options.databases_only) {
        if (sandbox->options.no_agents)
            progress(sandbox, "starting the coordinator");
        else
            progress(sandbox, "starting the coordinator and %zu agents", sandbox->count);
        if (!daemons_start(sandbox))
            return false;
    }
    progress(sandbox, "ready after %.1f s", (double)(clock_now() - begin) / 1e9);
    return true;
}

bool sandbox_start(struct sandbox *sandbox, struct loop *loop,
                   const struct sandbox_options *options)
{
    *sandbox = (struct sandbox){.loop = loop, .options = *options};
    sandbox->count = (size_t)options->databases;
    environment_clean();
    (void)umask(022);
    /* Backends of a killed server become our children, so that we can tell when they are gone. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1UL);
    if (start_steps(sandbox))
        return true;
    if (loop->interrupted) {
        complain("interrupted");
    } else {
        complain("%s", sandbox->error[0] ? sandbox->error : "the sandbox did not start");
        if (sandbox->failed)
            process_log_tail(sandbox->failed);
    }
    sandbox_stop(sandbox);
    return false;
}

static bool all_ended(void *ctx)
{
    struct process *const *process = ctx;

    for (; *process; process++)
        if ((*process)->alive)
            return false;
    return true;
}

/* Asks the processes of a NULL-ended list to end; those that do not are killed. */
static void stop_some(struct sandbox *sandbox, struct process **list, int number)
{
    for (struct process **process = list; *process; process++)
        process_signal(*process, number);
    if (loop_wait(sandbox->loop, all_ended, list, STOP_MS, 20) == LOOP_MET)
        return;
    for (struct process **process = list; *process; process++) {
        if (!(*process)->alive)
            continue;
        complain("%s did not stop within %d s and is killed", (*process)->name, STOP_MS / 1000);
        (void)process_kill_tree(sandbox->loop, *process);
    }
}

void sandbox_stop(struct sandbox *sandbox)
{
    struct process *agents[SANDBOX_DATABASES_MAX + 1] = {NULL};
    struct process *servers[SANDBOX_DATABASES_MAX + 1] = {NULL};
    struct process *node[2] = {&sandbox->node, NULL};

    for (size_t i = 0; i < sandbox->count; i++) {
        agents[i] = &sandbox->databases[i].agent;
        servers[i] = &sandbox->databases[i].server;
    }
    sandbox->loop->stopping = true;
    stop_some(sandbox, agents, SIGTERM);
    stop_some(sandbox, node, SIGTERM);
    stop_some(sandbox, servers, SIGINT); /* fast shutdown */
    sandbox->loop->stopping = false;
    sandbox_dir_remove(sandbox);
}

/* --- One process --- */

enum process_kind { KIND_NONE, KIND_NODE, KIND_AGENT, KIND_DATABASE };

static enum process_kind process_find(struct sandbox *sandbox, const char *name,
                                      struct process **ret_process, struct database **ret_database)
{
    *ret_database = NULL;
    *ret_process = &sandbox->node;
    if (strcmp(name, sandbox->node.name) == 0)
        return sandbox->options.databases_only ? KIND_NONE : KIND_NODE;
    for (size_t i = 0; i < sandbox->count; i++) {
        *ret_database = &sandbox->databases[i];
        *ret_process = &sandbox->databases[i].agent;
        if (strcmp(name, (*ret_process)->name) == 0)
            return sandbox->options.databases_only || sandbox->options.no_agents ? KIND_NONE
                                                                                 : KIND_AGENT;
        *ret_process = &sandbox->databases[i].server;
        if (strcmp(name, (*ret_process)->name) == 0)
            return sandbox->options.null ? KIND_NONE : KIND_DATABASE;
    }
    return KIND_NONE;
}

static bool kill_found(struct sandbox *sandbox, struct process *process, char ret_error[512])
{
    if (process_kill_tree(sandbox->loop, process))
        return true;
    (void)snprintf(ret_error, 512, "%s survived kill -9", process->name);
    return false;
}

static bool not_found(const char *name, char ret_error[512])
{
    (void)snprintf(ret_error, 512,
                   "no process is named %.60s; names are node-1, agent-bank_a, database-bank_a ...",
                   name);
    return false;
}

bool sandbox_kill(struct sandbox *sandbox, const char *name, char ret_error[512])
{
    struct process *process;
    struct database *database;

    if (process_find(sandbox, name, &process, &database) == KIND_NONE)
        return not_found(name, ret_error);
    return kill_found(sandbox, process, ret_error);
}

static bool database_restart(struct sandbox *sandbox, struct database *database)
{
    struct process *known[2 * SANDBOX_DATABASES_MAX + 1] = {&sandbox->node};

    for (size_t i = 0; i < sandbox->count; i++) {
        known[2 * i + 1] = &sandbox->databases[i].server;
        known[2 * i + 2] = &sandbox->databases[i].agent;
    }
    process_reap_orphans(known, 2 * sandbox->count + 1);
    if (!database_server_start(sandbox, database) || !database_wait_ready(sandbox, database))
        return false;
    return participant_wait(sandbox, &database->server, database);
}

bool sandbox_restart(struct sandbox *sandbox, const char *name, const struct option_list *env,
                     char ret_error[512])
{
    struct process *process;
    struct database *database;
    enum process_kind kind = process_find(sandbox, name, &process, &database);
    bool started = false;

    if (kind == KIND_NONE)
        return not_found(name, ret_error);
    if (process->alive && !kill_found(sandbox, process, ret_error))
        return false;
    sandbox->failed = NULL;
    sandbox->error[0] = 0;
    switch (kind) {
    case KIND_NODE:
        started = node_start(sandbox, false, env) && ready_wait(sandbox, process, NULL);
        for (size_t i = 0; i < sandbox->count && started; i++)
            started = participant_wait(sandbox, process, &sandbox->databases[i]);
        break;
    case KIND_AGENT:
        started =
            agent_start(sandbox, database, env) && participant_wait(sandbox, process, database);
        break;
    default:
        started = database_restart(sandbox, database);
    }
    if (!started)
        (void)snprintf(ret_error, 512, "%s", sandbox->error);
    return started;
}

/* --- Telling --- */

static void add_object(cJSON *array, const char *key, const char *value, const struct process *pid,
                       cJSON **ret_object)
{
    *ret_object = cJSON_CreateObject();
    cJSON_AddItemToArray(array, *ret_object);
    if (key)
        cJSON_AddStringToObject(*ret_object, key, value);
    if (pid)
        cJSON_AddNumberToObject(*ret_object, "pid", pid->alive ? pid->pid : 0);
}

cJSON *sandbox_json(const struct sandbox *sandbox)
{
    cJSON *all = cJSON_CreateObject(), *one;
    cJSON *apis = cJSON_AddArrayToObject(all, "api");
    cJSON *nodes = cJSON_AddArrayToObject(all, "nodes");
    cJSON *agents = cJSON_AddArrayToObject(all, "agents");
    cJSON *databases = cJSON_AddArrayToObject(all, "databases");
    char path[256];

    (void)text_format(path, sizeof(path), "%s/node-1", sandbox->dir);
    cJSON_AddItemToArray(apis, cJSON_CreateString(sandbox->api));
    one = cJSON_CreateObject();
    cJSON_AddItemToArray(nodes, one);
    cJSON_AddNumberToObject(one, "id", 1);
    cJSON_AddNumberToObject(one, "pid", sandbox->node.alive ? sandbox->node.pid : 0);
    cJSON_AddStringToObject(one, "api", sandbox->api);
    cJSON_AddStringToObject(one, "dir", path);
    for (size_t i = 0; i < sandbox->count; i++) {
        const struct database *database = &sandbox->databases[i];

        if (!sandbox->options.no_agents)
            add_object(agents, "participant", database->participant, &database->agent, &one);
        if (sandbox->options.null)
            continue;
        add_object(databases, "participant", database->participant, NULL, &one);
        cJSON_AddStringToObject(one, "dsn", database->dsn);
        cJSON_AddNumberToObject(one, "pid", database->server.alive ? database->server.pid : 0);
        cJSON_AddStringToObject(one, "dir", database->dir);
    }
    cJSON_AddStringToObject(all, "binaries", sandbox->binaries);
    cJSON_AddStringToObject(all, "dir", sandbox->dir);
    return all;
}

static void status_add(cJSON *array, const struct process *process)
{
    char how[64] = "running";
    cJSON *one;

    add_object(array, "name", process->name, process, &one);
    cJSON_AddBoolToObject(one, "running", process->alive);
    if (!process->alive)
        process_end_text(process, how, sizeof(how));
    cJSON_AddStringToObject(one, "state", how);
    cJSON_AddStringToObject(one, "log", process->log_path);
}

cJSON *sandbox_status_json(struct sandbox *sandbox)
{
    cJSON *all = sandbox_json(sandbox);
    cJSON *array = cJSON_AddArrayToObject(all, "processes");

    if (!sandbox->options.databases_only)
        status_add(array, &sandbox->node);
    for (size_t i = 0; i < sandbox->count; i++) {
        if (!sandbox->options.databases_only && !sandbox->options.no_agents)
            status_add(array, &sandbox->databases[i].agent);
        if (!sandbox->options.null)
            status_add(array, &sandbox->databases[i].server);
    }
    return all;
}
