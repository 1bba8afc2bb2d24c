/*
 * One HTTP request at a time, by libcurl, and what its JSON answer says. Any thread.
 */
#ifndef ASSENT_TEST_HTTP_H
#define ASSENT_TEST_HTTP_H

#include <cjson/cJSON.h>

/* An answer; `json` is NULL if the body is not JSON. Status 0: no answer came (refused, cut off). */
struct answer {
    long status;
    char *body;
    cJSON *json;
    char content_type[64];
};

/* `timeout_ms` of the whole exchange. `method` NULL: GET, or POST if there is a body. $ASSENT_CA: whose
 * certificates are trusted; $ASSENT_TOKEN: shown. */
void http_at(const char *api, const char *method, const char *path, const char *body,
             long timeout_ms, struct answer *ret_answer);
void answer_free(struct answer *answer);
/* The text at a path of names as "branches.1.state"; "" if it is not there. */
const char *answer_text(const struct answer *answer, const char *path);

#endif
