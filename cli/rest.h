/*
 * One HTTP request at a time to the API of a coordinator node, or of whichever of several answers
 * it, by libcurl; answers are JSON.
 */
#ifndef ASSENT_CLI_REST_H
#define ASSENT_CLI_REST_H

#include <cjson/cJSON.h>

#include "cli/cli.h"

/* Environment: with https:// the authority of the nodes' certificates (default: the system's), and a certificate to
 * show, with its key. */
#define REST_CA "ASSENT_CA"
#define REST_CERTIFICATE "ASSENT_CERTIFICATE"
#define REST_KEY "ASSENT_KEY"
/* A token to show, with http:// as well. */
#define REST_TOKEN "ASSENT_TOKEN"

struct rest_reply {
    long status;
    char *body;  /* NUL-terminated */
    cJSON *json; /* NULL: the body is no JSON */
};

struct rest_request {
    const char *api;    /* "http://a:7480", or several with commas: nodes of one cluster */
    const char *method; /* NULL: GET, or POST if there is a body */
    const char *path;
    const char *body; /* NULL: none */
    long timeout_ms;  /* at each node */
    bool once;        /* it must not be carried out twice: sent to another node only if this one has
                  surely not taken it */
};

/*
 * Asks one node after the other, until one answers anything but 503 no_leader; while an election
 * may still go on, from the first one again. False: nobody answered; ret_error says why.
 */
bool rest_send(const struct rest_request *request, struct rest_reply *ret_reply,
               char ret_error[256]);
/* The same. `body` NULL: GET; else a POST that may be carried out twice. */
bool rest_call(const char *api, const char *path, const char *body, long timeout_ms,
               struct rest_reply *ret_reply, char ret_error[256]);
/* Authority, certificate and token of the environment, for a request (a CURL *) that is made elsewhere. */
void rest_curl_identity(void *curl);
/* The token as a header line with its end, or "", for a request that is written by hand; returns ret_text. */
#define REST_TOKEN_HEADER_MAX 256
const char *rest_token_header(char ret_text[REST_TOKEN_HEADER_MAX]);
/* Has this process, and what it starts, show the token in the file. False: complained about. */
bool rest_token_file(const char *path);
/* The next address of a list with commas; false: there is none. */
bool rest_api_next(const char **list, char *ret_api, size_t size);
/* For a command: the exit code if it cannot go on: unreachable, or a problem (complained about). */
int rest_command(const struct rest_request *request, struct rest_reply *ret_reply);
/* The same of a reply that is there. */
int rest_verdict(const struct rest_reply *reply);
void rest_reply_close(struct rest_reply *reply);
/* `text` with what a URL needs escaped; the caller frees it. */
char *rest_escape(const char *text);

/* Readers that take NULL and any type of value. */
const char *json_text(const cJSON *object, const char *key, const char *otherwise);
double json_number(const cJSON *object, const char *key, double otherwise);
bool json_true(const cJSON *object, const char *key);
/* Prints the value on one line of stdout. */
void json_print(const cJSON *value);

#endif
