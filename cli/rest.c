/*
 * The plain HTTP client of the commands; the bench has its own, faster one (http.c).
 */
#include "cli/rest.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assent/buf.h"

#define BODY_BYTES_MAX ((size_t)64 << 20)
#define CONNECT_MS 3000
#define ELECTION_MS 3000 /* a few of them, with the usual timeouts */

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct as_buf *body = ctx;

    as_put_bytes(body, data, size * count);
    return body->err ? 0 : size * count;
}

/* A file that the environment names. */
static void file_set(CURL *curl, CURLoption option, const char *name)
{
    const char *path = getenv(name);

    if (path && *path)
        curl_easy_setopt(curl, option, path);
}

static const char *token_get(void)
{
    const char *token = getenv(REST_TOKEN);

    return token && *token ? token : NULL;
}

const char *rest_token_header(char ret_text[REST_TOKEN_HEADER_MAX])
{
    const char *token = token_get();

    ret_text[0] = 0;
    if (token &&
        !text_format(ret_text, REST_TOKEN_HEADER_MAX, "Authorization: Bearer %s\r\n", token))
        ret_text[0] = 0;
    return ret_text;
}

bool rest_token_file(const char *path)
{
    char text[1024];
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

    if (!file) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    (void)fclose(file);
    text[len] = 0;
    text[strcspn(text, " \t\r\n")] = 0;
    if (text[0] && setenv(REST_TOKEN, text, 1) == 0)
        return true;
    complain("%s: there is no token in it", path);
    return false;
}

void rest_curl_identity(void *curl)
{
    const char *token = token_get();

    if (token) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, token);
    }
    file_set(curl, CURLOPT_CAINFO, REST_CA);
    file_set(curl, CURLOPT_SSLCERT, REST_CERTIFICATE);
    file_set(curl, CURLOPT_SSLKEY, REST_KEY);
}

static void request_prepare(CURL *curl, const struct rest_request *request, const char *url,
                            struct as_buf *answer, char *error, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(request->body));
    }
    rest_curl_identity(curl);
    if (request->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

enum asked {
    ASKED_ANSWERED,
    ASKED_NOT_SENT, /* the node surely has not got it */
    ASKED_LOST,     /* it may have */
};

static enum asked ask_one(const struct rest_request *request, const char *api,
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
    if (!text_format(url, sizeof(url), "%.*s%s", (int)api_len, api, request->path)) {
        code = CURLE_URL_MALFORMAT;
    } else if (curl && headers) {
        request_prepare(curl, request, url, &answer, error, headers);
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
    if (code == CURLE_OK)
        return ASKED_ANSWERED;
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
                   code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
                   code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
                   code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM
               ? ASKED_NOT_SENT
               : ASKED_LOST;
}

bool rest_api_next(const char **list, char *ret_api, size_t size)
{
    size_t len;

    *list += strspn(*list, ", ");
    len = strcspn(*list, ", ");
    if (!len || !text_format(ret_api, size, "%.*s", (int)len, *list))
        return false;
    *list += len;
    return true;
}

static bool no_leader(const struct rest_reply *reply)
{
    return reply->status == 503 && strcmp(json_text(reply->json, "code", ""), "no_leader") == 0;
}

/* Every node once. ANSWERED: the reply is there, and perhaps the last one's 503 no_leader. */
static enum asked ask_each(const struct rest_request *request, struct rest_reply *ret_reply,
                           char ret_error[256])
{
    const char *list = request->api;
    enum asked asked = ASKED_NOT_SENT;
    char api[512];

    while (rest_api_next(&list, api, sizeof(api))) {
        struct rest_reply reply;
        enum asked one = ask_one(request, api, &reply, ret_error);

        if (one == ASKED_ANSWERED) {
            rest_reply_close(ret_reply);
            *ret_reply = reply;
            if (!no_leader(&reply))
                return one;
            asked = one;
        } else if (one == ASKED_LOST && request->once) {
            return one;
        }
    }
    return asked;
}

bool rest_send(const struct rest_request *request, struct rest_reply *ret_reply,
               char ret_error[256])
{
    as_time until = clock_now() + ELECTION_MS * AS_MS;
    bool several = strchr(request->api, ',') != NULL;

    *ret_reply = (struct rest_reply){0};
    (void)snprintf(ret_error, 256, "no address in \"%.200s\"", request->api);
    for (;;) {
        const struct timespec pause = {.tv_nsec = 50 * AS_MS};
        enum asked asked = ask_each(request, ret_reply, ret_error);

        if (asked == ASKED_LOST && request->once) {
            rest_reply_close(ret_reply); /* an earlier node's */
            return false;
        }
        if (asked != ASKED_ANSWERED || !several || !no_leader(ret_reply) || clock_now() > until)
            return asked == ASKED_ANSWERED;
        rest_reply_close(ret_reply);
        (void)nanosleep(&pause, NULL);
    }
}

bool rest_call(const char *api, const char *path, const char *body, long timeout_ms,
               struct rest_reply *ret_reply, char ret_error[256])
{
    const struct rest_request request = {
        .api = api, .path = path, .body = body, .timeout_ms = timeout_ms};

    return rest_send(&request, ret_reply, ret_error);
}

void rest_reply_close(struct rest_reply *reply)
{
    cJSON_Delete(reply->json);
    /* The analyzer takes the bodies of two nodes' answers, one after the other, for the same. */
    free(reply->body); /* NOLINT(clang-analyzer-unix.Malloc) */
    *reply = (struct rest_reply){0};
}

int rest_verdict(const struct rest_reply *reply)
{
    if (reply->json && !cJSON_HasObjectItem(reply->json, "code"))
        return CLI_OK;
    complain("HTTP %ld %s: %s", reply->status, json_text(reply->json, "code", ""),
             json_text(reply->json, "detail", reply->json ? "" : "the answer is no JSON"));
    return CLI_NEGATIVE;
}

int rest_command(const struct rest_request *request, struct rest_reply *ret_reply)
{
    char error[256];

    if (!rest_send(request, ret_reply, error)) {
        complain("%s", error);
        return CLI_UNREACHABLE;
    }
    return rest_verdict(ret_reply);
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
