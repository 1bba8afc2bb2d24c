/*
 * Who may do what at the HTTP API: the file of [api] tokens, of which each line is a grant
 * (docs/decisions/0013).
 *
 *   # comment
 *   shop     role=app participants=bank_a,bank_b sha256=HEX rate=200/s expires=2027-01-31T00:00:00Z
 *   billing  role=app participants=bank_a certificate
 *   grafana  role=viewer sha256=HEX
 *
 * A name, then words in any order, each once, with blanks between. With `sha256` it is for whoever
 * shows the token of that hash; with `certificate` for the certificate assent://CLUSTER/ROLE/NAME.
 */
#ifndef ASSENT_GRANT_H
#define ASSENT_GRANT_H

#include "assent/buf.h"
#include "assent/limits.h"

/* name, bit, text */
#define AS_ROLE_MAP(X)     \
    X(APP, 1, "app")       \
    X(VIEWER, 2, "viewer") \
    X(OPERATOR, 4, "operator")
#define AS_ROLE_ENUM(name, bit, text) AS_ROLE_##name = (bit),
enum as_role { AS_ROLE_MAP(AS_ROLE_ENUM) AS_ROLE_NONE = 0 };
#undef AS_ROLE_ENUM

#define AS_GRANT_WHY_BYTES 256

struct as_grant {
    char name[AS_ID_LEN_MAX + 1];
    unsigned roles;               /* enum as_role, several of them */
    struct as_bytes participants; /* of an APP: names with commas; borrowed */
    bool certificate;             /* else: */
    uint8_t sha256[AS_HASH_LEN];  /* of the token */
    uint32_t rate;                /* requests a second; 0: any number */
    int64_t expires;              /* Unix time; 0: never */
};

/* The role of that name; NONE: there is none. */
enum as_role as_role_of(struct as_bytes text);
/* "app,viewer"; returns ret_text. */
#define AS_ROLES_TEXT_MAX 32
const char *as_roles_text(unsigned roles, char ret_text[AS_ROLES_TEXT_MAX]);
/* One participant's name or several, with commas. */
bool as_participants_valid(struct as_bytes list);
/* Whether it is one of these. */
bool as_participants_name(struct as_bytes list, struct as_bytes participant);

/* One line, without its end. MALFORMED: ret_why says what is wrong; participants point into `line`. */
as_err as_grant_parse(struct as_bytes line, struct as_grant *ret,
                      char ret_why[AS_GRANT_WHY_BYTES]) AS_MUSTCHECK;
/* The line that parses to it, without its end. */
void as_grant_put(struct as_buf *buf, const struct as_grant *grant);

/* A whole file. */
struct as_grants {
    struct as_grant *list; /* owned, and so is the text it points into */
    uint32_t count;
    uint8_t *text;
};

/* MALFORMED: ret_why names the line. TOOBIG: too many lines. NOMEM. Nothing is to be closed then. */
as_err as_grants_parse(struct as_bytes text, struct as_grants *ret,
                       char ret_why[AS_GRANT_WHY_BYTES]) AS_MUSTCHECK;
void as_grants_close(struct as_grants *grants); /* takes a zeroed one */
/* The place of the token with that hash, or the count. It takes as long whether there is one or not. */
uint32_t as_grants_by_hash(const struct as_grants *grants, const uint8_t sha256[AS_HASH_LEN]);
/* The place of that certificate's line, or the count. */
uint32_t as_grants_by_certificate(const struct as_grants *grants, enum as_role role,
                                  const char *name);

#endif
