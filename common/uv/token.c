/*
 * Tokens. Fault model: the file is a person's, and may be changed at this very moment; what is shown as a token is
 * anything.
 */
#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define SECRET_BYTES 32
#define READ_BYTES 16384

bool token_make(char ret_token[TOKEN_LEN + 1])
{
    uint8_t secret[SECRET_BYTES];
    char *at = ret_token + sizeof(TOKEN_PREFIX) - 1;

    if (gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof(secret)) < 0)
        return false;
    memcpy(ret_token, TOKEN_PREFIX, sizeof(TOKEN_PREFIX));
    for (size_t i = 0; i < SECRET_BYTES; i++, at += 2)
        (void)snprintf(at, 3, "%02x", secret[i]);
    gnutls_memset(secret, 0, sizeof(secret));
    return true;
}

static bool has_form(const char *token)
{
    size_t at = sizeof(TOKEN_PREFIX) - 1;

    if (strncmp(token, TOKEN_PREFIX, at) != 0)
        return false;
    while ((token[at] >= '0' && token[at] <= '9') || (token[at] >= 'a' && token[at] <= 'f'))
        at++;
    return at == TOKEN_LEN && !token[at];
}

bool token_hash(const char *token, uint8_t ret_sha256[AS_HASH_LEN])
{
    return has_form(token) &&
           gnutls_hash_fast(GNUTLS_DIG_SHA256, token, TOKEN_LEN, ret_sha256) >= 0;
}

static as_err refuse(char *ret_why, as_err err, const char *path, const char *why)
{
    (void)snprintf(ret_why, TOKEN_WHY_BYTES, "%.220s: %.280s", path, why);
    return err;
}

static as_err read_open(int fd, const char *path, struct as_buf *text, char *ret_why)
{
    struct stat status;
    uint8_t *room;
    ssize_t n;

    if (fstat(fd, &status))
        return refuse(ret_why, AS_ERR_IO, path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return refuse(ret_why, AS_ERR_INVALID, path, "this is no file");
    if (status.st_mode & S_IWOTH)
        return refuse(ret_why, AS_ERR_INVALID, path,
                      "everybody on this machine may write it, and so give himself any role: "
                      "chmod o-w");
    do {
        room = as_buf_extend(text, READ_BYTES);
        if (!room)
            return refuse(ret_why, text->err, path,
                          text->err == AS_ERR_TOOBIG ? "this file is larger than 4 MiB"
                                                     : as_err_text(text->err));
        n = read(fd, room, READ_BYTES);
        text->len -= READ_BYTES - (n > 0 ? (size_t)n : 0);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? refuse(ret_why, AS_ERR_IO, path, strerror(errno)) : AS_OK;
}

as_err token_file_read(const char *path, struct as_grants *ret, char ret_why[TOKEN_WHY_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char why[AS_GRANT_WHY_BYTES];
    struct as_buf text;
    as_err err;

    if (fd < 0)
        return refuse(ret_why, errno == ENOENT ? AS_ERR_NOTFOUND : AS_ERR_IO, path,
                      strerror(errno));
    as_buf_init(&text, TOKEN_FILE_BYTES_MAX + READ_BYTES);
    err = read_open(fd, path, &text, ret_why);
    if (!err) {
        err = as_grants_parse(as_buf_bytes(&text), ret, why);
        if (err)
            (void)refuse(ret_why, err, path, why);
    }
    (void)close(fd);
    as_buf_close(&text);
    return err;
}
