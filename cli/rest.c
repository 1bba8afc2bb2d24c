/*
 * The plain HTTP client of the commands; the bench has its own, faster one (http.c).
 */
#include "cli/rest.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/buf.h"

#define BODY_BYTES_MAX ((size_t)64 << 20)

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct as_buf *body = ctx;

    as_put_bytes(body, data, size * count);
    return body->err ? 0 : size * count;
}

static void request_prepare(CURL *curl, const char *url, const char *body, long timeout_ms,
                            struct as_buf *answer, char *error, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    }
}

bool rest_call(const char *api, const char *path, const char *body, long timeout_ms,
               struct rest_reply *ret_reply, char ret_error[256])
{
    char url[2048], error[CURL_ERROR_SIZE] = "";
    size_t api_len = strlen(api);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct as_buf answer;
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_FAILED_INIT;

    as_buf_init(&answer, BODY_BYTES_MAX);
    *ret_reply = (struct rest_reply){0};
    while (api_len && api[api_len - 1] == '/')
        api_len--;
    if (!text_format(url, sizeof(url), "%.*s%s", (int)api_len, api, path)) {
        code = CURLE_URL_MALFORMAT;
    } else if (curl && headers) {
        request_prepare(curl, url, body, timeout_ms, &answer, error, headers);
        code = curl_easy_perform(curl);
    }
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_reply->status);
        ret_reply->body = must_alloc(answer.len + 1, 1);
        if (answer.len)
            memcpy(ret_reply->body, answer.data, answer.len);
        ret_reply->json = cJSON_Parse(ret_reply->body);
    } else {
        (void)snprintf(ret_error, 256, "%.120s: %.120s", api,
                       error[0] ? error : curl_easy_strerror(code));
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    as_buf_close(&answer);
    return code == CURLE_OK;
}

void rest_reply_close(struct rest_reply *reply)
{
    cJSON_Delete(reply->json);
    free(reply->body);
    *reply = (struct rest_reply){0};
}

char *rest_escape(const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    char *copy = must_copy(escaped ? escaped : "");

    curl_free(escaped);
    return copy;
}

const char *json_text(const cJSON *object, const char *key, const char *otherwise)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    return text ? text : otherwise;
}

double json_number(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool json_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

void json_print(const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);

    puts(text ? text : "null");
    (void)fflush(stdout);
    free(text);
}
