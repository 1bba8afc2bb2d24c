/*
 * Is what clients were told of one transaction id linearizable? Knossos' question (Wing and Gong 1993, Lowe 2017), for the one
 * kind of object that Assent has. Pure.
 *
 * The object, as docs/api.md and docs/protocol.md (R1, R3, R4, R9) describe it, between requests:
 *
 *             a POST begins attempt e                       the COMMIT record of e is applied
 *     idle ----------------------------> under way (e) -------------------------------------> committed (e), for ever
 *      ^                                      |
 *      +--------------------------------------+   e has ended: aborted by vote or timeout, or its leader is gone
 *
 *   - Idle shows as "not found", or as "aborted" with any attempt that has ended. Which one may change by itself, also back from
 *     aborted to not found: the ABORT record is not forced and may be lost with its leader. This is why 409 and 404 tell of now,
 *     not of ever.
 *   - An attempt is begun by a POST, between its call and its return, and each POST begins one at most; joined to what is under
 *     way or committed it begins none. A POST whose outcome its client does not know may begin one at any later time, or never.
 *     So once every POST of an id has returned with an outcome, and none is under way, nothing can commit it any more. One that is
 *     refused may have begun an attempt (its leader has resigned since), but that one does not commit.
 *   - Attempts of an id begin in the order of their numbers, and none begins after one has committed: a leader of a term begins
 *     nothing before its NOOP is applied, and with that every COMMIT of an earlier term (R9).
 *   - A linearizable GET shows the object as it was at one moment between its call and its return. "Committed" is true for ever,
 *     so it binds every kind of answer: by its return the object is committed.
 *   - A POST is no ReadIndex: a leader that is deposed and does not know it yet may begin an attempt that cannot commit any more
 *     and answer its end. Such an answer says nothing of the object: its attempt is of an earlier term than another one that was
 *     told of, or it is not told.
 *   - A session read with a token at or above the index of the COMMIT record must show it (docs/consistency.md). What else session
 *     and eventual reads show may be old.
 */
#ifndef ASSENT_TORTURE_LINEAR_H
#define ASSENT_TORTURE_LINEAR_H

#include "assent/attempt.h"

enum linear_kind { LINEAR_POST, LINEAR_GET, LINEAR_SESSION, LINEAR_EVENTUAL };

enum linear_answer {
    LINEAR_UNKNOWN, /* no answer, or outcome_unknown: a POST may take effect later; a read said nothing */
    LINEAR_REFUSED, /* 503 no_leader and such: whatever it began has ended, and cannot commit */
    LINEAR_NOT_FOUND,
    LINEAR_UNDER_WAY, /* active or preparing */
    LINEAR_ABORTED,
    LINEAR_COMMITTED,
};

struct linear_op {
    int64_t called,
        returned; /* one clock for all; an op that returns at the moment another is called comes before it */
    enum linear_kind kind;
    enum linear_answer answer;
    struct as_attempt attempt; /* of the answer; 0.0: none was told */
    uint64_t index;            /* of the COMMIT record, as the answer says; 0: it does not */
    uint64_t token;            /* LINEAR_SESSION: what was sent along */
    size_t place;              /* the caller's */
};

enum linear_verdict {
    LINEAR_HOLDS,
    LINEAR_BROKEN,
    LINEAR_TOO_MUCH, /* more at the same time than this looks through: LINEAR_OPEN_MAX, LINEAR_CONFIGS_MAX */
    LINEAR_NO_MEMORY,
};

#define LINEAR_OPEN_MAX \
    64 /* requests of one id at the same time, but for POSTs of unknown outcome */
#define LINEAR_ATTEMPTS_MAX 64    /* of one id, that clients were told of */
#define LINEAR_CONFIGS_MAX 200000 /* ways to order them, looked at together */

/* All operations of one id, in any order; they are sorted by `called`. Unless it holds, `ret_why` says why and *ret_place is the
 * place of the operation at which no order was left. */
enum linear_verdict linear_check(struct linear_op *ops, size_t count, size_t *ret_place,
                                 char ret_why[256]);

#endif
