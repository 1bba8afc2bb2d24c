/*
 * Tokens by which clients of the API say who they are, and the file that knows them by their hashes
 * (assent/grant.h).
 *
 * A token is 256 random bits, so one round of SHA-256 keeps it: nobody finds it by trying, as
 * passwords are found, and a slow hash would cost every request what it costs an attacker.
 */
#ifndef ASSENT_UV_TOKEN_H
#define ASSENT_UV_TOKEN_H

#include "assent/grant.h"

/* What scanners of repositories and logs can look for: assent_[0-9a-f]{64} */
#define TOKEN_PREFIX "assent_"
#define TOKEN_LEN (sizeof(TOKEN_PREFIX) - 1 + 64)
#define TOKEN_FILE_BYTES_MAX ((size_t)4 << 20)
#define TOKEN_WHY_BYTES 512

/* False: the system gives no random bytes. */
bool token_make(char ret_token[TOKEN_LEN + 1]);
/* False: it has not the form of a token. */
bool token_hash(const char *token, uint8_t ret_sha256[AS_HASH_LEN]);
/* Reads such a file. Refuses one that everybody may write. ret_why names it; close `ret` only if this succeeds. */
as_err token_file_read(const char *path, struct as_grants *ret,
                       char ret_why[TOKEN_WHY_BYTES]) AS_MUSTCHECK;

#endif
