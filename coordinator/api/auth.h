/*
 * Who asks at the API, and what that may: bearer tokens and client certificates with roles
 * (docs/decisions/0013). Which roles a route takes stands in ANSWER_ROUTE_MAP.
 *
 * Fault model: a client may show anything. Who is not known gets 401 on every path, there or not; who may not, 403.
 * Both are decided by the head of a request, before its body is looked at.
 */
#ifndef ASSENT_API_AUTH_H
#define ASSENT_API_AUTH_H

#include "assent/grant.h"

/* What a route takes. */
#define AUTH_RUN (AS_ROLE_APP)
#define AUTH_READ (AS_ROLE_APP | AS_ROLE_VIEWER | AS_ROLE_OPERATOR)
#define AUTH_VIEW (AS_ROLE_VIEWER | AS_ROLE_OPERATOR)
#define AUTH_OPERATE (AS_ROLE_OPERATOR)
#define AUTH_ANY (AS_ROLE_APP | AS_ROLE_VIEWER | AS_ROLE_OPERATOR)

/* Why somebody is refused: status, stable code, text that says what to do. */
#define AUTH_REFUSAL_MAP(X)                                                                        \
    X(NO_CREDENTIALS, 401, "no_credentials",                                                       \
      "say who you are: a token, as \"Authorization: Bearer assent_...\", or a client "            \
      "certificate; "                                                                              \
      "an operator makes them (docs/security.md)")                                                 \
    X(UNKNOWN_TOKEN, 401, "unknown_token",                                                         \
      "this is no token that is known here, or not in the form \"Authorization: Bearer "           \
      "assent_...\"; ask an operator for one")                                                     \
    X(EXPIRED, 401, "credentials_expired",                                                         \
      "this token, or certificate, is valid no longer; ask an operator for a new one")             \
    X(NO_ROLE, 403, "no_role",                                                                     \
      "this certificate has no role here: it is a node's, an agent's or another cluster's, or an " \
      "app's that has no line in the file of [api] tokens")                                        \
    X(WRONG_ROLE, 403, "wrong_role", "this takes another role")                                    \
    X(WRONG_PARTICIPANT, 403, "wrong_participant",                                                 \
      "this is not only about participants that you may use")                                      \
    X(TOO_OFTEN, 429, "rate_exceeded",                                                             \
      "this token, or certificate, may not ask so often; wait as Retry-After says")
#define AUTH_REFUSAL_ENUM(name, status, code, text) AUTH_##name,
enum auth_refusal { AUTH_REFUSAL_MAP(AUTH_REFUSAL_ENUM) AUTH_REFUSAL_COUNT, AUTH_ADMITTED };
#undef AUTH_REFUSAL_ENUM

/* As the metrics name them. */
const char *auth_refusal_code(enum auth_refusal refusal);

/* What a client certificate says, found out once for each connection. */
struct auth_certificate {
    bool looked, shown;
    enum as_role role; /* NONE: of no client of this cluster */
    char name[AS_ID_LEN_MAX + 1];
    int64_t expires;
};

/* Of a request: */
struct auth_caller {
    bool anybody;   /* nothing is asked: by no configuration, or another node has asked */
    unsigned roles; /* enum as_role */
    struct as_buf participants;   /* of an APP: names with commas */
    char name[AS_ID_LEN_MAX + 1]; /* for log lines */
    const char *proof; /* of that name: "token" or "cert"; NULL: nobody was asked for one */
};

struct as_txn_view;
struct request;
struct request_head;

/* Finds out who asks. False: refused. */
bool auth_admit(struct request *request, const struct request_head *head);
/*
 * The same for a request that another node passed on. It has asked who asks, and whether that may: here the leader
 * looks after what only its answer shows. `participants`: those of an app; empty: of somebody who may see all. False: refused.
 */
bool auth_passed_on(struct request *request, struct as_bytes participants);
/* Whether that may use the request's route. False: refused. */
bool auth_route(struct request *request);
/* Whether that may run branches there. */
bool auth_uses(const struct request *request, struct as_bytes participant);
/* Whether that may read any transaction. */
bool auth_sees_all(const struct request *request);
/* Whether that may read this one. */
bool auth_sees(const struct request *request, const struct as_txn_view *view);
/* Refuses, counts it, and says so in the log. `detail` NULL: the usual words. */
void auth_refuse(struct request *request, enum auth_refusal refusal, const char *detail);

#endif
