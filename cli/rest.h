/*
 * One HTTP request at a time to the API of a coordinator, by libcurl; answers are JSON.
 */
#ifndef ASSENT_CLI_REST_H
#define ASSENT_CLI_REST_H

#include <cjson/cJSON.h>

#include "cli/cli.h"

struct rest_reply {
    long status;
    char *body;  /* NUL-terminated */
    cJSON *json; /* NULL: the body is no JSON */
};

/* `body` NULL: GET. False: nobody answered; ret_error says why. */
bool rest_call(const char *api, const char *path, const char *body, long timeout_ms,
               struct rest_reply *ret_reply, char ret_error[256]);
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
