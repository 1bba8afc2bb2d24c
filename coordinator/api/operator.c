/*
 * What an operator says of a branch that only a person can close: a heuristic outcome is acknowledged (R7), a prepared
 * branch that nobody can answer for is finished (R6). Who and why go into the decision log; of whoever showed a token or a
 * certificate, the name that these bear (docs/decisions/0017).
 *
 * Fault model: a client may write any name. The node that a client has connected to knows who asks; where the request is
 * passed on, its body says what that node knows.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/server.h"

/* Reason and who, every byte of them escaped, and the rest. */
#define BODY_MAX (6 * (AS_REASON_LEN_MAX + AS_WHO_LEN_MAX) + 200)

/* Which words a name begins with that was proven. */
static bool looks_proven(struct as_bytes who)
{
    return (who.len >= 6 && memcmp(who.data, "token:", 6) == 0) ||
           (who.len >= 5 && memcmp(who.data, "cert:", 5) == 0);
}

static bool refuse_who(struct request *request, const char *detail)
{
    struct problem problem;

    problem_set(&problem, 400, "bad_value", "%s", detail);
    memcpy(problem.id, request->id, sizeof(problem.id));
    problem.has_pointer = true;
    memcpy(problem.pointer, "/who", sizeof("/who"));
    request_refuse(request, &problem);
    return false;
}

/* Nobody has asked the client, here: he may be called what he likes, but for what only a node writes. */
static bool name_unproven(struct request *request, struct as_bytes *who)
{
    if (request->connection && looks_proven(*who))
        return refuse_who(request,
                          "\"token:\" and \"cert:\" are for those who have shown a token or a "
                          "certificate; nobody asks for one here");
    if (who->len == 0)
        *who = (struct as_bytes){(const uint8_t *)"operator", 8};
    return true;
}

/* `who`: what the client wrote, nothing perhaps; then what goes into the log. False: refused. */
static bool name_operator(struct request *request, struct as_bytes *who,
                          char ret_text[AS_WHO_LEN_MAX])
{
    const struct auth_caller *caller = &request->caller;
    char name[AS_WHO_LEN_MAX], detail[200];
    size_t len;

    if (!caller->proof)
        return name_unproven(request, who);
    len = (size_t)snprintf(name, sizeof(name), "%s:%s%s", caller->proof, caller->name,
                           who->len ? " " : "");
    AS_ASSERT(len < sizeof(name));
    if (len + who->len > AS_WHO_LEN_MAX) {
        (void)snprintf(detail, sizeof(detail), "expected at most %d bytes behind \"%s\"",
                       (int)(AS_WHO_LEN_MAX - len), name);
        return refuse_who(request, detail);
    }
    memcpy(ret_text, name, len);
    if (who->len)
        memcpy(ret_text + len, who->data, who->len);
    *who = (struct as_bytes){(const uint8_t *)ret_text, len + who->len};
    return true;
}

static void put_who_and_why(struct as_buf *buf, struct as_bytes who, struct as_bytes why)
{
    JSON_PUT(buf, "\"who\":");
    json_put_string(buf, who);
    JSON_PUT(buf, ",\"reason\":");
    json_put_string(buf, why);
    as_put_u8(buf, '}');
    AS_ASSERT(!buf->err);
}

static bool read_acknowledge(struct request *request, struct body_acknowledge *ret)
{
    struct problem problem;
    struct as_bytes body;
    struct query query;

    if (!query_read(&query, request, NULL, 0) || !handler_body(request, &body))
        return false;
    if (body_acknowledge(&request->api->reader, body, ret, &problem))
        return true;
    memcpy(problem.id, request->id, sizeof(problem.id));
    request_refuse(request, &problem);
    return false;
}

void run_acknowledge(struct request *request)
{
    struct body_acknowledge acknowledge;
    uint8_t bytes[BODY_MAX];
    struct as_buf passed = {.data = bytes, .cap = sizeof(bytes), .max = sizeof(bytes)};
    char who[AS_WHO_LEN_MAX];

    if (!read_acknowledge(request, &acknowledge) || !name_operator(request, &acknowledge.who, who))
        return;
    as_put_u8(&passed, '{');
    put_who_and_why(&passed, acknowledge.who, acknowledge.why);
    if (pass_on_as(request, 0, as_buf_bytes(&passed)))
        return;
    request->state = REQUEST_ASKED;
    request->api->asked = true;
    node_acknowledge(request->api->node, request_client(request), request->id, request->branch,
                     acknowledge.who, acknowledge.why);
}

static bool read_resolve(struct request *request, struct as_resolve *resolve)
{
    struct problem problem;
    struct as_bytes body;
    struct query query;

    if (!query_read(&query, request, NULL, 0) || !handler_body(request, &body))
        return false;
    if (!body_resolve(&request->api->reader, body, resolve, &problem)) {
        request_refuse(request, &problem);
        return false;
    }
    if (as_gid_parse(request->gid, strlen(request->gid), &resolve->gid) == AS_OK)
        return true;
    problem_of_refusal(&problem, AS_REFUSAL_FOREIGN_GID, NULL);
    request_refuse(request, &problem);
    return false;
}

void run_resolve(struct request *request)
{
    struct as_resolve resolve = {.participant = request->name};
    uint8_t bytes[BODY_MAX];
    struct as_buf passed = {.data = bytes, .cap = sizeof(bytes), .max = sizeof(bytes)};
    char who[AS_WHO_LEN_MAX];

    if (!read_resolve(request, &resolve) || !name_operator(request, &resolve.who, who))
        return;
    JSON_PUT(&passed, "{\"decision\":");
    json_put_text(&passed, resolve.commit ? "commit" : "abort");
    JSON_PUT(&passed, ",\"other_incarnation\":");
    json_put_bool(&passed, resolve.other_incarnation);
    as_put_u8(&passed, ',');
    put_who_and_why(&passed, resolve.who, resolve.why);
    if (pass_on_as(request, ASK_AGENT_MS, as_buf_bytes(&passed)))
        return;
    request->state = REQUEST_ASKED;
    request->api->asked = true;
    node_resolve(request->api->node, request_client(request), &resolve);
}
