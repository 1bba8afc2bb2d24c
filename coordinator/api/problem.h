/*
 * A refused request as problem details (RFC 9457): `code` is stable, `detail` says what to do.
 */
#ifndef ASSENT_API_PROBLEM_H
#define ASSENT_API_PROBLEM_H

#include "assent/request.h"

struct problem {
    int status;
    const char *code;
    char detail[640];
    char pointer[192]; /* JSON pointer to the field, when has_pointer: "" is the whole document */
    char id[AS_ID_LEN_MAX + 1];
    bool has_pointer;
    bool has_position;
    uint32_t offset, line, column; /* of a JSON error; line and column from 1, in bytes */
    uint32_t branch;               /* from 1; 0: none */
    int32_t statement;             /* from 0; -1: none */
    const char *keyword;           /* of a refused statement, or NULL */
};

/* Fills in everything; `detail` is a printf format. */
void problem_set(struct problem *problem, int status, const char *code, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));
void problem_of_refusal(struct problem *problem, enum as_refusal refusal, const char *id);
/* What somebody else said of it, behind our own words. */
void problem_add(struct problem *problem, const char *detail);
/* The phrase of RFC 9110 for a status: the title of a problem whose type is about:blank. */
const char *problem_title(int status);

struct as_buf;
void problem_put(struct as_buf *buf, const struct problem *problem);

#endif
