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

bool sandbox_daemon_start(struct sandbox *sandbox, struct process *process, const char *program,
                          const char *argument, const struct option_list *env)
{
    char path[450], config[256], wrap[600];
    const char *argv[] = {"/bin/sh", "-c", wrap, path, "--config", config, argument, NULL};
    struct process_spec spec = {sandbox->options.wrap ? argv : argv + 3, NULL, SIGKILL, env};

    (void)text_format(path, sizeof(path), "%s/%s", sandbox->binaries, program);
    (void)text_format(config, sizeof(config), "%s/etc/%s.ini", sandbox->dir, process->name);
    if (sandbox->options.wrap &&
        !text_format(wrap, sizeof(wrap), "exec %s \"$0\" \"$@\"", sandbox->options.wrap))
        return sandbox_fail(sandbox, "--wrap: the command is too long");
    return process_start(sandbox->loop, process, &spec, sandbox->error);
}

static bool agent_start(struct sandbox *sandbox, struct database *database,
                        const struct option_list *env)
{
    return sandbox_daemon_start(sandbox, &database->agent, "assent-agent", NULL, env);
}

struct readiness {
    const struct process *process;
    bool (*ready)(void *ctx);
    void *ctx;
};

static bool is_ready_or_ended(void *ctx)
{
    const struct readiness *wanted = ctx;

    return !wanted->process->alive || wanted->ready(wanted->ctx);
}

bool sandbox_wait_ready(struct sandbox *sandbox, struct process *process, bool (*ready)(void *ctx),
                        void *ctx)
{
    struct readiness wanted = {process, ready, ctx};
    enum loop_end end = loop_wait(sandbox->loop, is_ready_or_ended, &wanted, SANDBOX_READY_MS, 10);
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

struct awaited {
    const struct sandbox *sandbox;
    const struct database *database;
};

static bool is_up(void *ctx)
{
    const struct awaited *awaited = ctx;

    return nodes_see_participant(awaited->sandbox, awaited->database);
}

/* Whose life a participant depends on. */
static struct process *serving(struct sandbox *sandbox, struct database *database)
{
    return sandbox->options.no_agents ? &sandbox->nodes[0].process : &database->agent;
}

/*
 * After a restart: the participant comes back by itself, if its agent, its database and the nodes
 * all can. A test may have one of them stand still, so this is no condition.
 */
static bool participant_wait(struct sandbox *sandbox, const struct process *process,
                             const struct database *database)
{
    struct awaited awaited = {sandbox, database};

    if ((sandbox->options.null || database->server.alive) &&
        (sandbox->options.no_agents || database->agent.alive) && sandbox_leader(sandbox) >= 0)
        (void)loop_wait(sandbox->loop, is_up, &awaited, RETURN_MS, 10);
    return process->alive ? true : sandbox_fail(sandbox, "%s ended again", process->name);
}

static bool daemons_start(struct sandbox *sandbox)
{
    if (!nodes_start(sandbox))
        return false;
    for (size_t i = 0; i < sandbox->count && !sandbox->options.no_agents; i++)
        if (!agent_start(sandbox, &sandbox->databases[i], NULL))
            return false;
    for (size_t i = 0; i < sandbox->count; i++) {
        struct database *database = &sandbox->databases[i];
        struct awaited awaited = {sandbox, database};

        if (!sandbox_wait_ready(sandbox, serving(sandbox, database), is_up, &awaited))
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
        if (!sandbox_tls_make(sandbox))
            return false;
        progress(sandbox, "starting %zu coordinator node%s and %zu agents", sandbox->node_count,
                 sandbox->node_count > 1 ? "s" : "",
                 sandbox->options.no_agents ? 0 : sandbox->count);
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
    sandbox->node_count = options->nodes ? (size_t)options->nodes : 1;
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
    struct process *nodes[SANDBOX_NODES_MAX + 1] = {NULL};

    for (size_t i = 0; i < sandbox->node_count; i++)
        nodes[i] = &sandbox->nodes[i].process;
    for (size_t i = 0; i < sandbox->count; i++) {
        agents[i] = &sandbox->databases[i].agent;
        servers[i] = &sandbox->databases[i].server;
    }
    sandbox->loop->stopping = true;
    stop_some(sandbox, agents, SIGTERM);
    stop_some(sandbox, nodes, SIGTERM);
    stop_some(sandbox, servers, SIGINT); /* fast shutdown */
    sandbox->loop->stopping = false;
    sandbox_dir_remove(sandbox);
}

/* --- One process --- */

enum process_kind { KIND_NONE, KIND_NODE, KIND_AGENT, KIND_DATABASE };

struct found {
    enum process_kind kind;
    struct process *process;
    struct node *node;         /* KIND_NODE */
    struct database *database; /* KIND_AGENT, KIND_DATABASE */
};

static struct found process_find(struct sandbox *sandbox, const char *name)
{
    const struct sandbox_options *options = &sandbox->options;

    for (size_t i = 0; i < sandbox->node_count && !options->databases_only; i++) {
        struct node *node = &sandbox->nodes[i];

        if (strcmp(name, node->process.name) == 0)
            return (struct found){KIND_NODE, &node->process, node, NULL};
    }
    for (size_t i = 0; i < sandbox->count; i++) {
        struct database *database = &sandbox->databases[i];

        if (strcmp(name, database->agent.name) == 0 && !options->databases_only &&
            !options->no_agents)
            return (struct found){KIND_AGENT, &database->agent, NULL, database};
        if (strcmp(name, database->server.name) == 0 && !options->null)
            return (struct found){KIND_DATABASE, &database->server, NULL, database};
    }
    return (struct found){KIND_NONE, NULL, NULL, NULL};
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
    struct found found = process_find(sandbox, name);

    return found.kind == KIND_NONE ? not_found(name, ret_error)
                                   : kill_found(sandbox, found.process, ret_error);
}

static bool database_restart(struct sandbox *sandbox, struct database *database)
{
    struct process *known[SANDBOX_NODES_MAX + 2 * SANDBOX_DATABASES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < sandbox->node_count; i++)
        known[count++] = &sandbox->nodes[i].process;
    for (size_t i = 0; i < sandbox->count; i++) {
        known[count++] = &sandbox->databases[i].server;
        known[count++] = &sandbox->databases[i].agent;
    }
    process_reap_orphans(known, count);
    if (!database_server_start(sandbox, database) || !database_wait_ready(sandbox, database))
        return false;
    return participant_wait(sandbox, &database->server, database);
}

bool sandbox_restart(struct sandbox *sandbox, const char *name, const struct option_list *env,
                     char ret_error[512])
{
    struct found found = process_find(sandbox, name);
    bool started = false;

    if (found.kind == KIND_NONE)
        return not_found(name, ret_error);
    if (found.process->alive && !kill_found(sandbox, found.process, ret_error))
        return false;
    sandbox->failed = NULL;
    sandbox->error[0] = 0;
    switch (found.kind) {
    case KIND_NODE:
        started = node_restart(sandbox, found.node, env);
        for (size_t i = 0; i < sandbox->count && started; i++)
            started = participant_wait(sandbox, found.process, &sandbox->databases[i]);
        break;
    case KIND_AGENT:
        started = agent_start(sandbox, found.database, env) &&
                  participant_wait(sandbox, found.process, found.database);
        break;
    default:
        started = database_restart(sandbox, found.database);
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

void sandbox_json_save(struct sandbox *sandbox)
{
    cJSON *json = sandbox_json(sandbox);
    char *text = cJSON_PrintUnformatted(json);
    char path[256];

    (void)text_format(path, sizeof(path), "%s/sandbox.json", sandbox->dir);
    if (text && !sandbox_write_file(sandbox, path, text))
        complain("%s", sandbox->error);
    free(text);
    cJSON_Delete(json);
}

cJSON *sandbox_json(const struct sandbox *sandbox)
{
    cJSON *all = cJSON_CreateObject(), *one;
    cJSON *apis = cJSON_AddArrayToObject(all, "api");
    cJSON *nodes = cJSON_AddArrayToObject(all, "nodes");
    cJSON *agents = cJSON_AddArrayToObject(all, "agents");
    cJSON *databases = cJSON_AddArrayToObject(all, "databases");
    char text[64];

    for (size_t i = 0; i < sandbox->node_count; i++) {
        const struct node *node = &sandbox->nodes[i];

        cJSON_AddItemToArray(apis, cJSON_CreateString(node->api));
        add_object(nodes, "name", node->process.name, &node->process, &one);
        cJSON_AddNumberToObject(one, "id", (double)node->id);
        cJSON_AddStringToObject(one, "api", node->api);
        (void)text_format(text, sizeof(text), "127.0.0.1:%u", node->agents_port);
        cJSON_AddStringToObject(one, "agents", text);
        cJSON_AddStringToObject(one, "dir", node->dir);
        cJSON_AddStringToObject(one, "log", node->process.log_path);
    }
    (void)text_format(text, sizeof(text), "%016llx", (unsigned long long)sandbox->incarnation);
    cJSON_AddStringToObject(all, "incarnation", text);
    sandbox_tls_json(sandbox, all);
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

    for (size_t i = 0; i < sandbox->node_count && !sandbox->options.databases_only; i++)
        status_add(array, &sandbox->nodes[i].process);
    for (size_t i = 0; i < sandbox->count; i++) {
        if (!sandbox->options.databases_only && !sandbox->options.no_agents)
            status_add(array, &sandbox->databases[i].agent);
        if (!sandbox->options.null)
            status_add(array, &sandbox->databases[i].server);
    }
    return all;
}
