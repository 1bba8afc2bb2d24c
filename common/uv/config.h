/*
 * INI files (inih) with a table of known keys: an unknown section or key, a value out of range, a key given
 * twice or a missing required one is an error that names file and line and says what is allowed.
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
    bool required;
};

/*
 * For a "name." section, `target_of` gives the struct for that name (a new one at its first key), or NULL with
 * a message in ret_error. NULL function: there are no such sections.
 */
struct config_schema {
    const struct config_key *keys;
    size_t key_count;
    void *target; /* of plain sections; holds the defaults */
    void *(*target_of)(void *ctx, const char *section, const char *name, char ret_error[256]);
    void *ctx;
};

as_err config_read(const char *path, const struct config_schema *schema, char ret_error[512]) AS_MUSTCHECK;

#endif
