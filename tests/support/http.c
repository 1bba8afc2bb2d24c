/*
 * See http.h.
 */
#include "http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/base.h"

struct text {
    char *data;
    size_t len;
};

static size_t keep_body(char *data, size_t size, size_t count, void *ctx)
{
    struct text *text = ctx;
    char *grown = realloc(text->data, text->len + size * count + 1);

    if (!grown)
        return 0;
    memcpy(grown + text->len, data, size * count);
    text->data = grown;
    text->len += size * count;
    text->data[text->len] = 0;
    return size * count;
}

void http_at(const char *api, const char *method, const char *path, const char *body,
             long timeout_ms, struct answer *ret_answer)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct text text = {NULL, 0};
    const char *type = NULL;
    CURL *curl = curl_easy_init();
    char url[512];

    memset(ret_answer, 0, sizeof(*ret_answer));
    snprintf(url, sizeof(url), "%s%s", api, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (getenv("ASSENT_CA"))
        curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("ASSENT_CA"));
    if (getenv("ASSENT_TOKEN")) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, getenv("ASSENT_TOKEN"));
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    if (method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (curl_easy_perform(curl) == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
        curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
        snprintf(ret_answer->content_type, sizeof(ret_answer->content_type), "%s",
                 type ? type : "");
        ret_answer->body = text.data;
        ret_answer->json = text.data ? cJSON_Parse(text.data) : NULL;
    } else {
        free(text.data);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

void answer_free(struct answer *answer)
{
    cJSON_Delete(answer->json);
    free(answer->body);
    memset(answer, 0, sizeof(*answer));
}

const char *answer_text(const struct answer *answer, const char *path)
{
    const cJSON *at = answer->json;
    char name[64];

    while (at && *path) {
        size_t len = strcspn(path, ".");

        AS_ASSERT(len < sizeof(name));
        memcpy(name, path, len);
        name[len] = 0;
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(name))
                               : cJSON_GetObjectItemCaseSensitive(at, name);
        path += len + (path[len] == '.');
    }
    if (cJSON_IsBool(at))
        return cJSON_IsTrue(at) ? "true" : "false";
    return cJSON_IsString(at) ? at->valuestring : "";
}
