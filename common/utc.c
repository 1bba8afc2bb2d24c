/*
 * UTC, without leap seconds, as Unix time has it. Fault model: text that a person wrote, taken only if it is a time.
 */
#include "common/utc.h"

#include <stdio.h>
#include <string.h>

#define DAY_S 86400
#define YEAR_FIRST 1970

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

static bool digits_read(const uint8_t *at, size_t count, unsigned *ret)
{
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(at[i] - '0');
    }
    return true;
}

as_err as_utc_parse(struct as_bytes text, int64_t *ret)
{
    static const char form[] = "....-..-..T..:..:..Z";
    unsigned year, month, day, hour, minute, second;
    int64_t days = 0;

    if (text.len != AS_UTC_LEN)
        return AS_ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++)
        if (form[i] != '.' && text.data[i] != (uint8_t)form[i])
            return AS_ERR_MALFORMED;
    if (!digits_read(text.data, 4, &year) || !digits_read(text.data + 5, 2, &month) ||
        !digits_read(text.data + 8, 2, &day) || !digits_read(text.data + 11, 2, &hour) ||
        !digits_read(text.data + 14, 2, &minute) || !digits_read(text.data + 17, 2, &second))
        return AS_ERR_MALFORMED;
    if (year < YEAR_FIRST || month < 1 || month > 12 || day < 1 || day > month_days(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return AS_ERR_MALFORMED;
    for (unsigned y = YEAR_FIRST; y < year; y++)
        days += is_leap(y) ? 366 : 365;
    for (unsigned m = 1; m < month; m++)
        days += month_days(year, m);
    days += day - 1;
    *ret = days * DAY_S + (int64_t)hour * 3600 + (int64_t)minute * 60 + (int64_t)second;
    return AS_OK;
}

const char *as_utc_format(int64_t time, char ret_text[AS_UTC_LEN + 1])
{
    int64_t days = time / DAY_S;
    unsigned rest = (unsigned)(time % DAY_S), year = YEAR_FIRST, month = 1;

    AS_ASSERT(time >= 0);
    for (; days >= (is_leap(year) ? 366 : 365); year++)
        days -= is_leap(year) ? 366 : 365;
    AS_ASSERT(year <= 9999);
    for (; days >= month_days(year, month); month++)
        days -= month_days(year, month);
    (void)snprintf(ret_text, AS_UTC_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000u,
                   month % 100u, (unsigned)(days + 1) % 100u, rest / 3600 % 100u, rest / 60 % 60,
                   rest % 60);
    return ret_text;
}
