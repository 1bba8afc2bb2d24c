/*
 * Who is who in a transaction: attempt, branch, gid, identity of a database. protocol.md, "Words".
 */
#ifndef ASSENT_ATTEMPT_H
#define ASSENT_ATTEMPT_H

#include "assent/base.h"
#include "assent/limits.h"

/* One run of a transaction by one leader: that leader's term and a counter from 1 in each term. */
struct as_attempt {
    uint64_t term;
    uint64_t seq;
};

static inline bool as_attempt_equal(struct as_attempt a, struct as_attempt b)
{
    return a.term == b.term && a.seq == b.seq;
}

/* Negative, zero or positive as a is before, is, or comes after b. */
static inline int as_attempt_compare(struct as_attempt a, struct as_attempt b)
{
    if (a.term != b.term)
        return a.term < b.term ? -1 : 1;
    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}

/* A random token that an agent keeps in the database it serves (R7). All zero: none. */
struct as_identity {
    uint8_t token[AS_IDENTITY_LEN];
};

/* The name of a prepared transaction: assent/<cluster>/<incarnation>/<term>.<seq>/<branch>/<id> */
struct as_gid {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    uint64_t incarnation;
    struct as_attempt attempt;
    uint32_t branch; /* from 1 */
    char id[AS_ID_LEN_MAX + 1];
};

/* Writes the NUL-terminated gid. Every valid `struct as_gid` fits. Returns its length. */
size_t as_gid_format(const struct as_gid *gid, char ret_text[AS_GID_LEN_MAX + 1]);

/* Strict inverse of format: what it accepts formats back to the same bytes. MALFORMED: a foreign gid. */
as_err as_gid_parse(const char *text, size_t len, struct as_gid *ret_gid) AS_MUSTCHECK;

/* 1..64 of [A-Za-z0-9._:-] */
bool as_id_valid(const char *text, size_t len);
/* 1..32 of [a-z0-9-] */
bool as_cluster_valid(const char *text, size_t len);
/* 1..63 of [a-z0-9_-], first a letter */
bool as_participant_valid(const char *text, size_t len);
/* 1..63 of [a-z0-9_.-], first a letter */
bool as_operation_valid(const char *text, size_t len);

/*
 * The millisecond timestamp of an id that is a UUIDv7 in its usual text form (RFC 9562, 5.7), either
 * case. False: the id has another form and tells no time (R9, `id_expired`).
 */
bool as_id_uuid7_ms(const char *id, size_t len, int64_t *ret_unix_ms);

#endif
