/*
 * The control socket of a running sandbox: one line of JSON in, one line out, and the connection
 * closes.
 *
 *   {"command": "kill", "name": "agent-bank_a"}       {"ok": true, ...} or {"ok": false, "error":
 * "..."} commands: kill, restart (and "env": ["K=V"]), add-node, status, stop
 *
 * Only the user who runs the sandbox may connect (the socket's mode). A line longer than 64 KiB
 * closes it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/sandbox.h"

#define CONNECTIONS_MAX 8
#define LINE_MAX_BYTES 65536
#define ASK_TIMEOUT_S 300
#define HOUR_MS UINT64_C(3600000)

struct connection {
    uv_pipe_t pipe;
    struct control *control;
    bool used;
    size_t len;
    char line[LINE_MAX_BYTES];
};

struct control {
    struct sandbox *sandbox;
    uv_pipe_t server;
    size_t open;                /* handles */
    struct connection *stopper; /* asked for stop; is answered when all is gone */
    struct connection connections[CONNECTIONS_MAX];
};

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    connection->used = false;
    connection->len = 0;
    connection->control->open--;
}

static void connection_close(struct connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->pipe))
        uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(connection->line + connection->len,
                           (unsigned)(sizeof(connection->line) - 1 - connection->len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;

    (void)buf;
    if (len < 0) {
        if (connection->control->stopper == connection)
            connection->control->stopper = NULL;
        connection_close(connection);
        return;
    }
    connection->len += (size_t)len;
    connection->line[connection->len] = 0;
}

static void on_connect(uv_stream_t *server, int status)
{
    struct control *control = server->data;

    for (size_t i = 0; i < CONNECTIONS_MAX && status == 0; i++) {
        struct connection *connection = &control->connections[i];

        if (connection->used)
            continue;
        connection->used = true;
        connection->control = control;
        (void)uv_pipe_init(server->loop, &connection->pipe, 0);
        connection->pipe.data = connection;
        control->open++;
        if (uv_accept(server, (uv_stream_t *)&connection->pipe) ||
            uv_read_start((uv_stream_t *)&connection->pipe, on_alloc, on_read))
            connection_close(connection);
        return;
    }
}

struct control *control_open(struct sandbox *sandbox)
{
    struct control *control = must_alloc(1, sizeof(*control));
    char path[256];
    int err;

    (void)text_format(path, sizeof(path), "%s/control.sock", sandbox->dir);
    control->sandbox = sandbox;
    (void)uv_pipe_init(&sandbox->loop->uv, &control->server, 0);
    control->server.data = control;
    err = uv_pipe_bind(&control->server, path);
    if (!err)
        err = uv_listen((uv_stream_t *)&control->server, 8, on_connect);
    if (err)
        complain("cannot listen on %s: %s", path, uv_strerror(err));
    return control;
}

static void answer(struct connection *connection, cJSON *reply)
{
    char *text = cJSON_PrintUnformatted(reply);
    uv_buf_t parts[2] = {uv_buf_init(text, text ? (unsigned)strlen(text) : 0),
                         uv_buf_init((char[]){'\n'}, 1)};

    (void)uv_try_write((uv_stream_t *)&connection->pipe, parts, 2);
    free(text);
    cJSON_Delete(reply);
    connection_close(connection);
}

static cJSON *outcome(bool ok, const char *error)
{
    cJSON *reply = cJSON_CreateObject();

    cJSON_AddBoolToObject(reply, "ok", ok);
    if (!ok)
        cJSON_AddStringToObject(reply, "error", error);
    return reply;
}

static cJSON *restart(struct sandbox *sandbox, const char *name, const cJSON *request)
{
    struct option_list env = {0};
    const cJSON *item;
    char error[512] = "";
    bool ok;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(request, "env"))
    {
        if (cJSON_IsString(item) && env.count < OPTION_LIST_MAX)
            env.items[env.count++] = item->valuestring;
    }
    ok = sandbox_restart(sandbox, name, &env, error);
    return outcome(ok, error);
}

/* With what `sandbox_json` says of the new node. */
static cJSON *add_node(struct sandbox *sandbox)
{
    char error[512] = "";
    const struct node *node = sandbox_node_add(sandbox, error);
    cJSON *reply = outcome(node != NULL, error), *all, *nodes;

    if (node) {
        all = sandbox_json(sandbox);
        nodes = cJSON_GetObjectItemCaseSensitive(all, "nodes");
        cJSON_AddItemToObject(reply, "node",
                              cJSON_DetachItemFromArray(nodes, cJSON_GetArraySize(nodes) - 1));
        cJSON_Delete(all);
    }
    return reply;
}

static void carry_out(struct control *control, struct connection *connection)
{
    cJSON *request = cJSON_Parse(connection->line);
    const cJSON *named = cJSON_GetObjectItemCaseSensitive(request, "name");
    const cJSON *which = cJSON_GetObjectItemCaseSensitive(request, "command");
    const char *name = cJSON_IsString(named) ? named->valuestring : "";
    const char *command = cJSON_IsString(which) ? which->valuestring : "";
    char error[512] = "";
    cJSON *reply;

    connection->len = 0;
    if (strcmp(command, "stop") == 0) {
        control->stopper = connection;
        cJSON_Delete(request);
        return;
    }
    if (strcmp(command, "status") == 0) {
        reply = sandbox_status_json(control->sandbox);
        cJSON_AddTrueToObject(reply, "ok");
    } else if (strcmp(command, "kill") == 0) {
        bool ok = sandbox_kill(control->sandbox, name, error);

        reply = outcome(ok, error);
    } else if (strcmp(command, "add-node") == 0) {
        reply = add_node(control->sandbox);
    } else if (strcmp(command, "restart") == 0) {
        reply = restart(control->sandbox, name, request);
    } else {
        reply = outcome(false, "no such command");
    }
    cJSON_Delete(request);
    answer(connection, reply);
}

static struct connection *asking(struct control *control)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &control->connections[i];

        if (!connection->used || uv_is_closing((uv_handle_t *)&connection->pipe))
            continue;
        if (connection->len && memchr(connection->line, '\n', connection->len))
            return connection;
        if (connection->len == sizeof(connection->line) - 1)
            connection_close(connection);
    }
    return NULL;
}

static bool somebody_asks(void *ctx)
{
    return asking(ctx) != NULL;
}

bool control_serve(struct control *control)
{
    struct connection *connection;
    enum loop_end end = loop_wait(control->sandbox->loop, somebody_asks, control, HOUR_MS, HOUR_MS);

    if (end == LOOP_INTERRUPTED)
        return false;
    connection = end == LOOP_MET ? asking(control) : NULL;
    if (connection)
        carry_out(control, connection);
    return !control->stopper;
}

static bool all_closed(void *ctx)
{
    return ((struct control *)ctx)->open == 0;
}

static void on_server_closed(uv_handle_t *handle)
{
    ((struct control *)handle->data)->open--;
}

void control_close(struct control *control)
{
    struct loop *loop = control->sandbox->loop;

    if (control->stopper)
        answer(control->stopper, outcome(true, ""));
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (control->connections[i].used)
            connection_close(&control->connections[i]);
    control->open++;
    uv_close((uv_handle_t *)&control->server, on_server_closed);
    loop->stopping = true;
    (void)loop_wait(loop, all_closed, control, 5000, 10);
    free(control);
}

/* --- The asking side --- */

static int control_connect(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!text_format(address.sun_path, sizeof(address.sun_path), "%s/control.sock", dir)) {
        errno = ENAMETOOLONG;
    } else if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        return fd;
    }
    complain("no sandbox answers in %s: %s", dir, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static cJSON *line_read(int fd)
{
    char *line = must_alloc(LINE_MAX_BYTES, 1);
    size_t len = 0;
    cJSON *reply;

    for (;;) {
        ssize_t got = read(fd, line + len, LINE_MAX_BYTES - 1 - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    reply = len ? cJSON_Parse(line) : NULL;
    free(line);
    return reply;
}

cJSON *control_ask(const char *dir, const char *command, const char *name,
                   const struct option_list *env)
{
    int fd = control_connect(dir);
    cJSON *request, *list, *reply = NULL;
    char *text;

    if (fd < 0)
        return NULL;
    request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "command", command);
    if (name)
        cJSON_AddStringToObject(request, "name", name);
    list = cJSON_AddArrayToObject(request, "env");
    for (size_t i = 0; env && i < env->count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(env->items[i]));
    text = cJSON_PrintUnformatted(request);
    if (text && dprintf(fd, "%s\n", text) > 0)
        reply = line_read(fd);
    if (!reply)
        complain("the sandbox in %s gave no answer", dir);
    free(text);
    cJSON_Delete(request);
    (void)close(fd);
    return reply;
}
