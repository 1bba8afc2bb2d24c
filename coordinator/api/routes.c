/*
 * From a method and a path to a route.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "coordinator/api/server.h"

void handler_refuse(struct request *request, int status, const char *code, const char *detail, ...)
{
    struct problem problem;
    char text[sizeof(problem.detail)];
    va_list args;

    va_start(args, detail);
    (void)vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    problem_set(&problem, status, code, "%s", text);
    memcpy(problem.id, request->id, sizeof(problem.id));
    request_refuse(request, &problem);
}

/* --- Which route --- */

/* The next part of a path: up to '/' or its end. */
static const char *part(const char **path, size_t *ret_len)
{
    const char *begin = *path;

    *ret_len = strcspn(begin, "/");
    *path = begin + *ret_len;
    return begin;
}

static bool take_id(struct request *request, const char *text, size_t len)
{
    if (!as_id_valid(text, len)) {
        handler_refuse(request, 400, "bad_id", "an id is 1 to %d of A-Z a-z 0-9 . _ : -",
                       AS_ID_LEN_MAX);
        return false;
    }
    memcpy(request->id, text, len);
    request->id[len] = 0;
    return true;
}

/* The part behind "/branches/" of an acknowledge route. False: refused. */
static bool take_branch(struct request *request, const char *text, size_t len)
{
    for (size_t i = 0; i < len && i < 3; i++) {
        if (text[i] < '0' || text[i] > '9')
            break;
        request->branch = request->branch * 10 + (uint32_t)(text[i] - '0');
        if (i + 1 == len && text[0] != '0' && request->branch <= AS_BRANCHES_MAX)
            return true;
    }
    handler_refuse(request, 400, "bad_branch", "a branch's number is 1 to %d", AS_BRANCHES_MAX);
    return false;
}

/* `path` is what stands behind "/v1/transactions/". */
static void route_txn(struct request *request, const char *path)
{
    size_t id_len, branch_len;
    const char *id = part(&path, &id_len);

    if (!*path) {
        request->route = ROUTE_TXN_GET;
        (void)take_id(request, id, id_len);
        return;
    }
    if (strncmp(path, "/branches/", 10) == 0) {
        const char *branch = path + 10;

        path = branch;
        (void)part(&path, &branch_len);
        if (strcmp(path, "/acknowledge") == 0) {
            request->route = ROUTE_TXN_ACKNOWLEDGE;
            if (take_id(request, id, id_len))
                (void)take_branch(request, branch, branch_len);
        }
    }
}

/* `path` is "<gid>/resolve". A gid has slashes, escaped or not; a foreign one may hold anything. */
static bool route_resolve(struct request *request, const char *path)
{
    static const char verb[] = "/resolve";
    size_t len = strlen(path), gid_len = len - (sizeof(verb) - 1);

    if (len < sizeof(verb) || strcmp(path + gid_len, verb) != 0)
        return false;
    if (gid_len < sizeof(request->gid)) /* PostgreSQL has no longer ones: it stays "", foreign */
        memcpy(request->gid, path, gid_len);
    request->gid[gid_len < sizeof(request->gid) ? gid_len : 0] = 0;
    return true;
}

/* `path` is what stands behind "/v1/participants/". */
static void route_participant(struct request *request, const char *path)
{
    size_t len;
    const char *name = part(&path, &len);

    if (!*path)
        request->route = ROUTE_PARTICIPANT;
    else if (strcmp(path, "/prepared") == 0)
        request->route = ROUTE_PREPARED;
    else if (strncmp(path, "/prepared/", 10) == 0 && route_resolve(request, path + 10))
        request->route = ROUTE_RESOLVE;
    else
        return;
    if (as_participant_valid(name, len)) {
        memcpy(request->name, name, len);
        request->name[len] = 0;
    } else {
        handler_refuse(request, 400, "bad_participant",
                       "a participant's name is 1 to %d of a-z 0-9 _ - and begins with a letter",
                       AS_PARTICIPANT_LEN_MAX);
    }
}

/* What stands behind "/v1/cluster/nodes/". */
static void route_node(struct request *request, const char *id)
{
    if (strchr(id, '/'))
        return;
    request->route = ROUTE_CLUSTER_REMOVE;
    if (!text_number(id, &request->node_id) || request->node_id == 0 ||
        request->node_id > BODY_NODE_ID_MAX)
        handler_refuse(request, 400, "bad_node", "a node's id is a number from 1 to %u",
                       (unsigned)BODY_NODE_ID_MAX);
}

static void route_find(struct request *request, const char *url, bool post)
{
    static const struct {
        const char *path;
        enum route route;
    } fixed[] = {
        {"/v1/participants", ROUTE_PARTICIPANTS},
        {"/v1/cluster", ROUTE_CLUSTER},
        {"/v1/cluster/nodes", ROUTE_CLUSTER_ADD},
        {"/v1/cluster/transfer", ROUTE_CLUSTER_TRANSFER},
        {"/v1/cluster/snapshot", ROUTE_CLUSTER_SNAPSHOT},
        {"/healthz", ROUTE_HEALTH},
        {"/readyz", ROUTE_READY},
        {"/metrics", ROUTE_METRICS},
        {"/openapi.yaml", ROUTE_OPENAPI},
        {"/", ROUTE_PAGE},
    };

    if (strncmp(url, "/v1/transactions", 16) == 0 && (!url[16] || url[16] == '/')) {
        if (!url[16])
            request->route = post ? ROUTE_TXN_SUBMIT : ROUTE_TXN_LIST;
        else
            route_txn(request, url + 17);
        return;
    }
    if (strncmp(url, "/v1/participants/", 17) == 0) {
        route_participant(request, url + 17);
        return;
    }
    if (strncmp(url, "/v1/cluster/nodes/", 18) == 0) {
        route_node(request, url + 18);
        return;
    }
    for (size_t i = 0; i < AS_COUNT_OF(fixed); i++) {
        if (strcmp(url, fixed[i].path) == 0)
            request->route = fixed[i].route;
    }
}

/* What a path takes. */
#define TAKES(method) (1u << FORWARD_##method)

static unsigned methods_of(enum route route)
{
    switch (route) {
    case ROUTE_TXN_SUBMIT:
    case ROUTE_TXN_LIST:
        return TAKES(GET) | TAKES(POST);
    case ROUTE_TXN_ACKNOWLEDGE:
    case ROUTE_RESOLVE:
    case ROUTE_CLUSTER_ADD:
    case ROUTE_CLUSTER_TRANSFER:
    case ROUTE_CLUSTER_SNAPSHOT:
        return TAKES(POST);
    case ROUTE_CLUSTER_REMOVE:
        return TAKES(DELETE);
    default:
        return TAKES(GET);
    }
}

/* A HEAD is a GET whose body libmicrohttpd does not send. */
static enum forward_method method_of(const char *text)
{
    int method = 0;

    if (strcmp(text, "HEAD") == 0)
        return FORWARD_GET;
    while (method < FORWARD_METHOD_COUNT &&
           strcmp(text, forward_method_text((enum forward_method)method)) != 0)
        method++;
    return (enum forward_method)method;
}

static void refuse_method(struct request *request, unsigned allowed)
{
    static const char *const allows[] = {"", "GET, HEAD", "POST", "GET, HEAD, POST", "DELETE"};

    AS_ASSERT(allowed < AS_COUNT_OF(allows));
    handler_refuse(request, 405, "method_not_allowed", "this path takes %s", allows[allowed]);
    request->answer.allow = allows[allowed];
}

static bool is_json(const char *type)
{
    size_t len = strlen(TYPE_JSON);

    return type && strncasecmp(type, TYPE_JSON, len) == 0 &&
           (!type[len] || type[len] == ';' || type[len] == ' ' || type[len] == '\t');
}

void handler_begin(struct request *request, const struct request_head *head)
{
    const char *path = target_path(request);
    unsigned allowed;

    request->method = method_of(head->method);
    if (path)
        route_find(request, path, request->method == FORWARD_POST);
    /* First of all, whatever else is wrong with it: who is not known hears no more than that. */
    if (!auth_admit(request, head) || !path)
        return;
    if (request->route == ROUTE_NONE) {
        handler_refuse(request, 404, "no_such_route",
                       "there is nothing at this path; see /openapi.yaml");
        return;
    }
    allowed = methods_of(request->route);
    if (request->method == FORWARD_METHOD_COUNT || !(allowed & 1u << request->method)) {
        refuse_method(request, allowed);
        return;
    }
    if (!auth_route(request))
        return;
    if (request->answer.status)
        return;
    if (request->method == FORWARD_POST && !is_json(head->content_type))
        handler_refuse(request, 415, "unsupported_media_type",
                       "send the body as Content-Type: application/json");
    else if (head->session && !text_number(head->session, &request->session))
        handler_refuse(request, 400, "bad_session",
                       "Assent-Session is a decimal number: the one that the last answer bore");
}
