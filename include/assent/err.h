/*
 * Errors: one list of negative codes with their texts, shared by every room.
 *
 * A function that can fail returns `as_err`: AS_OK (0) or one of these codes. On an error nothing has
 * changed and the caller keeps what it owns. What the protocol knows as an outcome (aborted, not
 * leader, in doubt) is data, never an error.
 */
#ifndef ASSENT_ERR_H
#define ASSENT_ERR_H

typedef int as_err;

#define AS_MUSTCHECK __attribute__((warn_unused_result))

/* name, code, text for people */
#define AS_ERR_MAP(X)                                                  \
    X(OK, 0, "no error")                                               \
    X(NOMEM, -1, "out of memory")                                      \
    X(INVALID, -2, "invalid argument or state")                        \
    X(TOOBIG, -3, "larger than the limit set for it")                  \
    X(FULL, -4, "a table is at its named maximum")                     \
    X(NOTFOUND, -5, "not found")                                       \
    X(EXISTS, -6, "exists already")                                    \
    X(MALFORMED, -7, "bytes do not have the expected form")            \
    X(CHECKSUM, -8, "checksum does not match")                         \
    X(VERSION, -9, "written by an unsupported format version")         \
    X(IO, -10, "input/output error")                                   \
    X(NOSPACE, -11, "no space left on device")                         \
    X(CORRUPT, -12, "durable data is corrupt")                         \
    X(FOREIGN, -13, "belongs to another cluster, incarnation or node") \
    X(AGAIN, -14, "more input is needed")                              \
    X(BUSY, -15, "busy, try again")                                    \
    X(CLOSED, -16, "closed")                                           \
    X(REFUSED, -17, "refused by a rule")

#define AS_ERR_ENUM(name, code, text) AS_ERR_##name = (code),
enum { AS_ERR_MAP(AS_ERR_ENUM) };
#undef AS_ERR_ENUM
#define AS_OK 0

/* The text of a code; "unknown error" for a number that is none. Never NULL. */
const char *as_err_text(as_err err);

#endif
