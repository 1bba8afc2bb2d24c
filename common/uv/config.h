/*
 * INI files with a table of known keys: an unknown section or key, a value out of range, a key
 * given twice or a missing required one is an error that names file and line and says what is
 * allowed.
 *
 *   # a comment, as is a line that begins with ";"
 *   [section]
 *   key = value     ; and so is the rest of a line after a space and ";"
 *
 * A value stands on one line; spaces around it do not count. A bool is yes, no, true, false, on or
 * off. Not inih: Debian's cuts lines at 199 bytes and section names at 49, in silence, and tells a
 * handler no line.
 */
#ifndef ASSENT_UV_CONFIG_H
#define ASSENT_UV_CONFIG_H

#include "assent/base.h"

enum config_kind { CONFIG_TEXT, CONFIG_NUMBER, CONFIG_BOOL, CONFIG_CHOICE };

struct config_key {
    const char *section; /* "node"; "participant." matches any section that begins so */
    const char *key;
    enum config_kind kind;
    size_t offset;       /* of the field in the target struct: char[size], uint64_t, bool, int */
    size_t size;         /* of a TEXT field */
    uint64_t min, max;   /* of a NUMBER */
    const char *choices; /* of a CHOICE: "a|b|c"; the field gets the position */
    bool required;       /* of a "name." section: in each of them */
};

/*
 * For a "name." section, `target_of` gives the struct for that name (a new one at its first
 * mention), or NULL with a message in ret_error; it is called once more for each key. `section` is
 * the one of the table ("name."). NULL function: there are no such sections.
 */
struct config_schema {
    const struct config_key *keys;
    size_t key_count;
    void *target; /* of plain sections; holds the defaults */
    void *(*target_of)(void *ctx, const char *section, const char *name, char ret_error[256]);
    void *ctx;
    bool lenient; /* what the table does not know is passed over: for a reader of a few keys of a
                     file that its owner has checked */
};

/* NOTFOUND: no such file. INVALID: what ret_error says. IO, NOMEM. The targets may be half filled
 * in then. */
as_err config_read(const char *path, const struct config_schema *schema,
                   char ret_error[512]) AS_MUSTCHECK;

#endif
