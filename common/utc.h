/*
 * Points in time as people write them: 2027-01-31T00:00:00Z, and nothing else.
 */
#ifndef ASSENT_COMMON_UTC_H
#define ASSENT_COMMON_UTC_H

#include "assent/base.h"

#define AS_UTC_LEN 20

/* Unix time, from the year 1970 to 9999. MALFORMED. */
as_err as_utc_parse(struct as_bytes text, int64_t *ret) AS_MUSTCHECK;
/* A time of these years. Returns ret_text. */
const char *as_utc_format(int64_t time, char ret_text[AS_UTC_LEN + 1]);

#endif
