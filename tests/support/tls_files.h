/*
 * Certificates for tests, in a directory of their own: made here, good and bad ones.
 */
#ifndef ASSENT_TEST_TLS_FILES_H
#define ASSENT_TEST_TLS_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/uv/certificate.h"
#include "common/uv/tls.h"
#include "tests/support/support.h"

#define TEST_DAY 86400

static inline void test_tls_write(const char *path, const struct as_buf *text, mode_t mode)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* DIR/NAME.pem and DIR/NAME-key.pem, valid from a minute before `begins` to as much before `ends`, days from now. `authority` NULL: by itself. */
static inline void test_tls_make(const char *dir, const char *name, const char *principal,
                                 int begins, int ends, const struct certificate_pem *authority,
                                 struct certificate_pem *ret)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    int64_t now = (int64_t)time(NULL);
    struct certificate_spec spec = {.name = name,
                                    .principal = principal,
                                    .hosts = hosts,
                                    .host_count = authority ? 2 : 0,
                                    .begins = now + (int64_t)begins * TEST_DAY - 60,
                                    .ends = now + (int64_t)ends * TEST_DAY - 60,
                                    .authority = !authority};
    char path[512], why[CERTIFICATE_WHY_BYTES];

    if (certificate_make(&spec, authority, ret, why))
        fail_msg("%s: %s", name, why);
    snprintf(path, sizeof(path), "%s/%s.pem", dir, name);
    test_tls_write(path, &ret->certificate, 0644);
    snprintf(path, sizeof(path), "%s/%s-key.pem", dir, name);
    test_tls_write(path, &ret->key, 0600);
}

/* The same, when nothing is to be signed with it. */
static inline void test_tls_leaf(const char *dir, const char *name, const char *principal,
                                 int begins, int ends, const struct certificate_pem *authority)
{
    struct certificate_pem pem;

    test_tls_make(dir, name, principal, begins, ends, authority, &pem);
    certificate_close(&pem);
}

/* A PEM file that is there. */
static inline void test_tls_take(const char *dir, const char *name, struct as_buf *ret)
{
    char path[512];
    FILE *file;
    uint8_t *room;

    as_buf_init(ret, 1u << 20);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "re");
    assert_non_null(file);
    room = as_buf_extend(ret, 65536);
    assert_non_null(room);
    ret->len = fread(room, 1, 65536, file);
    fclose(file);
}

/* Certificate and key may be of different names, to see what comes of it. */
static inline as_err test_tls_read(struct tls_credentials **ret, const char *dir, const char *ca,
                                   const char *certificate, const char *key, char *ret_why)
{
    char paths[3][512] = {"", "", ""};
    struct tls_files files = {paths[0], paths[1], paths[2]};

    if (ca)
        snprintf(paths[0], sizeof(paths[0]), "%s/%s.pem", dir, ca);
    if (certificate)
        snprintf(paths[1], sizeof(paths[1]), "%s/%s.pem", dir, certificate);
    if (key)
        snprintf(paths[2], sizeof(paths[2]), "%s/%s-key.pem", dir, key);
    return tls_credentials_read(ret, &files, ret_why);
}

static inline struct tls_credentials *test_tls_load(const char *dir, const char *ca,
                                                    const char *name)
{
    struct tls_credentials *credentials = NULL;
    char why[TLS_WHY_BYTES];

    if (test_tls_read(&credentials, dir, ca, name, name, why))
        fail_msg("%s", why);
    return credentials;
}

#endif
