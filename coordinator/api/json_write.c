/*
 * The writer of json.h. Whatever bytes it is given, what comes out is valid JSON in UTF-8.
 */
#include <string.h>

#include "coordinator/api/json.h"

static bool plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void put_escape(struct as_buf *buf, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    size_t len = 2;

    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        len = 6;
    }
    as_put_bytes(buf, text, len);
}

void json_put_string(struct as_buf *buf, struct as_bytes text)
{
    const uint8_t *at = text.data, *end = text.len ? text.data + text.len : at;

    as_put_u8(buf, '"');
    while (at < end) {
        const uint8_t *run = at;

        while (at < end) {
            size_t len = plain(*at) ? 1 : *at < 0x80 ? 0 : json_utf8_len(at, (size_t)(end - at));

            if (len == 0)
                break;
            at += len;
        }
        if (at != run)
            as_put_bytes(buf, run, (size_t)(at - run));
        if (at == end)
            break;
        if (*at >= 0x80)
            JSON_PUT(buf, "\xef\xbf\xbd");
        else
            put_escape(buf, *at);
        at++;
    }
    as_put_u8(buf, '"');
}

void json_put_text(struct as_buf *buf, const char *text)
{
    json_put_string(buf, (struct as_bytes){(const uint8_t *)text, strlen(text)});
}

void json_put_text_or_null(struct as_buf *buf, const char *text)
{
    if (text && *text)
        json_put_text(buf, text);
    else
        JSON_PUT(buf, "null");
}

void json_put_u64(struct as_buf *buf, uint64_t value)
{
    char text[20];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    as_put_bytes(buf, text + at, sizeof(text) - at);
}

void json_put_i64(struct as_buf *buf, int64_t value)
{
    if (value < 0)
        as_put_u8(buf, '-');
    json_put_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_put_bool(struct as_buf *buf, bool value)
{
    if (value)
        JSON_PUT(buf, "true");
    else
        JSON_PUT(buf, "false");
}

void json_put_hex64(struct as_buf *buf, uint64_t value)
{
    char text[18];

    text[0] = text[17] = '"';
    for (int i = 16; i > 0; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15];
    as_put_bytes(buf, text, sizeof(text));
}

/* Two digits at a place; `value` below 100. */
static void two(char *at, uint32_t value)
{
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
}

void json_put_time(struct as_buf *buf, int64_t unix_ms)
{
    char text[] = "\"0000-00-00T00:00:00.000Z\"";
    uint32_t ms, second, era_day, era_year, year_day, month, year;
    uint64_t days;

    /* Years 1970 to 9999. */
    if (unix_ms <= 0 || unix_ms >= INT64_C(253402300800000)) {
        JSON_PUT(buf, "null");
        return;
    }
    ms = (uint32_t)(unix_ms % 1000);
    second = (uint32_t)(unix_ms / 1000 % 86400);
    /* Days to a date in the proleptic Gregorian calendar, with years that begin in March. */
    days = (uint64_t)unix_ms / 86400000 + 719468;
    era_day = (uint32_t)(days % 146097);
    era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    month = (5 * year_day + 2) / 153;
    year = (uint32_t)(days / 146097) * 400 + era_year + (month >= 10);
    two(text + 1, year / 100);
    two(text + 3, year % 100);
    two(text + 6, month < 10 ? month + 3 : month - 9);
    two(text + 9, year_day - (153 * month + 2) / 5 + 1);
    two(text + 12, second / 3600);
    two(text + 15, second / 60 % 60);
    two(text + 18, second % 60);
    text[21] = (char)('0' + ms / 100);
    two(text + 22, ms % 100);
    as_put_bytes(buf, text, sizeof(text) - 1);
}
