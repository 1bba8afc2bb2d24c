/*
 * assent doctor: a node's clock, by the Date of its answers. That has seconds only, so it is asked
 * until the second changes: then its clock is known as well as the way to it is short.
 */
#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "cli/doctor.h"
#include "cli/rest.h"

#define PAUSE_MS 20
#define ASKED_MAX 120
#define CALL_MS 3000

static int64_t wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    time_t *date = ctx;
    char line[128];

    if (size * count < sizeof(line) && size * count > 6 && strncasecmp(data, "date: ", 6) == 0) {
        memcpy(line, data, size * count);
        line[size * count] = '\0';
        *date = curl_getdate(line + 6, NULL);
    }
    return size * count;
}

static size_t no_body(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

bool doctor_clock(const char *api, int64_t *ret_ahead_ms)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * AS_MS};
    CURL *curl = curl_easy_init();
    time_t before = 0;
    char url[600];
    bool told = false;

    if (!curl || !text_format(url, sizeof(url), "%s/healthz", api)) {
        curl_easy_cleanup(curl);
        return false;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    rest_curl_identity(curl);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CALL_MS);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, no_body);
    for (int asked = 0; asked < ASKED_MAX && !told; asked++) {
        time_t date = -1;
        int64_t sent = wall_ms();

        curl_easy_setopt(curl, CURLOPT_HEADERDATA, &date);
        if (curl_easy_perform(curl) != CURLE_OK || date < 0)
            break;
        if (before && date != before) {
            *ret_ahead_ms = (int64_t)date * 1000 - (sent + wall_ms()) / 2;
            told = true;
        }
        before = date;
        (void)nanosleep(&pause, NULL);
    }
    curl_easy_cleanup(curl);
    return told;
}
