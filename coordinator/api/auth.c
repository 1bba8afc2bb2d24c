/*
 * Who may do what at the API: see auth.h.
 */
#include "coordinator/api/auth.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "assent/alloc.h"
#include "common/uv/token.h"
#include "coordinator/api/rate.h"
#include "coordinator/api/server.h"

/* --- The file of tokens --- */

struct tokens {
    struct as_grants grants;
    struct rate *rates; /* one for each grant */
};

as_err tokens_read(struct tokens **ret, const char *path, char ret_why[512])
{
    struct tokens *tokens = as_alloc_zero(1, sizeof(*tokens));
    as_err err = AS_ERR_NOMEM;

    if (tokens)
        err = token_file_read(path, &tokens->grants, ret_why);
    else
        (void)snprintf(ret_why, 512, "%s", as_err_text(err));
    if (!err) {
        tokens->rates = as_alloc_zero(tokens->grants.count + 1, sizeof(*tokens->rates));
        if (!tokens->rates) {
            err = AS_ERR_NOMEM;
            (void)snprintf(ret_why, 512, "%s", as_err_text(err));
        }
    }
    if (err) {
        tokens_free(tokens);
        return err;
    }
    for (uint32_t i = 0; i < tokens->grants.count; i++)
        tokens->rates[i].per_s = tokens->grants.list[i].rate;
    *ret = tokens;
    return AS_OK;
}

void tokens_free(struct tokens *tokens)
{
    if (!tokens)
        return;
    as_grants_close(&tokens->grants);
    as_free(tokens->rates);
    as_free(tokens);
}

uint32_t tokens_count(const struct tokens *tokens)
{
    return tokens->grants.count;
}

void api_tokens(struct api *api, struct tokens *tokens)
{
    api->config.tokens = tokens;
}

/* --- Refusals --- */

static const struct {
    int status;
    const char *code, *text;
} refusals[] = {
#define ROW(name, status, code, text) {status, code, text},
    AUTH_REFUSAL_MAP(ROW)
#undef ROW
};

const char *auth_refusal_code(enum auth_refusal refusal)
{
    return refusals[refusal].code;
}

void auth_refuse(struct request *request, enum auth_refusal refusal, const char *detail)
{
    struct api *api = request->api;

    handler_refuse(request, refusals[refusal].status, refusals[refusal].code, "%s",
                   detail ? detail : refusals[refusal].text);
    if (refusals[refusal].status == 401)
        request->answer.challenge =
            refusal == AUTH_NO_CREDENTIALS ? "Bearer" : "Bearer error=\"invalid_token\"";
    api->http.refused[refusal]++;
    refused_say(api, &api->said_auth,
                &(struct refused){.connection = request->connection,
                                  .event = "request_refused",
                                  .why = refusals[refusal].code,
                                  .who = request->caller.name,
                                  .route = request->route});
}

/* --- Who asks --- */

/* False: no memory (refused). */
static bool caller_set(struct request *request, unsigned roles, struct as_bytes participants)
{
    struct auth_caller *caller = &request->caller;

    caller->roles = roles;
    as_put_bytes(&caller->participants, participants.data, participants.len);
    if (!caller->participants.err)
        return true;
    handler_refuse(request, 503, "out_of_memory",
                   "this node has no memory left for the request; try again later");
    return false;
}

/* The words behind "Bearer "; NULL: it is something else. */
static const char *bearer(const char *authorization)
{
    static const char scheme[] = "Bearer ";

    if (strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    authorization += sizeof(scheme) - 1;
    while (*authorization == ' ')
        authorization++;
    return authorization;
}

/* The place of what was shown in the file. */
static enum auth_refusal by_token(const struct tokens *tokens, const char *authorization,
                                  uint32_t *ret_place)
{
    const char *token = bearer(authorization);
    uint8_t sha256[AS_HASH_LEN];

    if (!tokens || !token || !token_hash(token, sha256))
        return AUTH_UNKNOWN_TOKEN;
    *ret_place = as_grants_by_hash(&tokens->grants, sha256);
    return *ret_place < tokens->grants.count ? AUTH_ADMITTED : AUTH_UNKNOWN_TOKEN;
}

/* The same for a certificate; its role and name if it has no line, which an app must have. */
static enum auth_refusal by_certificate(struct request *request, const struct tokens *tokens,
                                        uint32_t *ret_place, struct as_grant *ret_grant)
{
    const struct auth_certificate *shown = https_certificate(request);

    if (!shown || !shown->shown)
        return AUTH_NO_CREDENTIALS;
    memcpy(request->caller.name, shown->name, sizeof(shown->name));
    if (shown->role == AS_ROLE_NONE)
        return AUTH_NO_ROLE;
    if (shown->expires <= (int64_t)time(NULL))
        return AUTH_EXPIRED;
    if (tokens) {
        *ret_place = as_grants_by_certificate(&tokens->grants, shown->role, shown->name);
        if (*ret_place < tokens->grants.count)
            return AUTH_ADMITTED;
    }
    *ret_grant = (struct as_grant){.roles = shown->role};
    memcpy(ret_grant->name, shown->name, sizeof(shown->name));
    return shown->role == AS_ROLE_APP ? AUTH_NO_ROLE : AUTH_ADMITTED;
}

/* Seconds, rounded up. */
static uint32_t retry_after(uint64_t wait_ns)
{
    return (uint32_t)((wait_ns + 999999999u) / 1000000000u);
}

static bool identify(struct request *request, const char *authorization)
{
    struct tokens *tokens = request->api->config.tokens;
    uint32_t place = UINT32_MAX;
    struct as_grant grant = {.roles = AS_ROLE_NONE};
    uint64_t wait_ns = 0;
    enum auth_refusal refusal = authorization ? by_token(tokens, authorization, &place)
                                              : by_certificate(request, tokens, &place, &grant);
    bool in_file = refusal == AUTH_ADMITTED && tokens && place < tokens->grants.count;

    if (in_file) {
        grant = tokens->grants.list[place];
        memcpy(request->caller.name, grant.name, sizeof(grant.name));
        if (grant.expires && grant.expires <= (int64_t)time(NULL))
            refusal = AUTH_EXPIRED;
        else
            wait_ns = rate_take(&tokens->rates[place], uv_hrtime());
    }
    if (wait_ns)
        refusal = AUTH_TOO_OFTEN;
    if (refusal != AUTH_ADMITTED) {
        auth_refuse(request, refusal, NULL);
        request->answer.retry_s = retry_after(wait_ns);
        return false;
    }
    request->caller.proof = authorization ? "token" : "cert";
    return caller_set(request, grant.roles, grant.participants);
}

bool auth_passed_on(struct request *request, struct as_bytes participants)
{
    request->caller.anybody = participants.len == 0;
    return request->caller.anybody || caller_set(request, AS_ROLE_APP, participants);
}

static bool is_health(const struct request *request)
{
    return (request->route == ROUTE_HEALTH || request->route == ROUTE_READY) &&
           request->method == FORWARD_GET;
}

bool auth_admit(struct request *request, const struct request_head *head)
{
    const struct api *api = request->api;

    /* Who passed it on has asked already, and says what the leader must look after (pass.c). */
    if (!request->connection)
        return true;
    request->caller.anybody = !api->identifies || (api->config.health_open && is_health(request));
    return request->caller.anybody || identify(request, head->authorization);
}

/* --- What that may --- */

static unsigned route_roles(enum route route)
{
#define ROLES(name, method, path, roles) roles,
    static const unsigned rows[] = {ANSWER_ROUTE_MAP(ROLES)};
#undef ROLES

    return rows[route];
}

bool auth_route(struct request *request)
{
    const struct auth_caller *caller = &request->caller;
    unsigned wanted = route_roles(request->route);
    char roles[AS_ROLES_TEXT_MAX], detail[80];

    if (caller->anybody)
        return true;
    if (caller->roles & wanted) {
        if (wanted == AUTH_OPERATE && request->connection)
            operator_say(request);
        return true;
    }
    (void)as_roles_text(wanted, roles);
    (void)snprintf(detail, sizeof(detail), "this takes %s %s",
                   strchr(roles, ',') ? "one of the roles" : "the role", roles);
    auth_refuse(request, AUTH_WRONG_ROLE, detail);
    return false;
}

bool auth_uses(const struct request *request, struct as_bytes participant)
{
    return request->caller.anybody ||
           as_participants_name(as_buf_bytes(&request->caller.participants), participant);
}

bool auth_sees_all(const struct request *request)
{
    return request->caller.anybody || request->caller.roles & AUTH_VIEW;
}

/* What is known of an aborted transaction may be its reason alone. */
bool auth_sees(const struct request *request, const struct as_txn_view *view)
{
    const char *at = view->reason ? view->reason->participant : "";
    bool sees = !*at || auth_uses(request, (struct as_bytes){(const uint8_t *)at, strlen(at)});

    if (auth_sees_all(request))
        return true;
    for (uint32_t i = 0; i < view->branch_count && sees; i++) {
        at = view->branches[i].participant;
        sees = auth_uses(request, (struct as_bytes){(const uint8_t *)at, strlen(at)});
    }
    return sees;
}
