/*
 * Makes keys and certificates: for `assent certs`, and for tests. No daemon does.
 */
#ifndef ASSENT_UV_CERTIFICATE_H
#define ASSENT_UV_CERTIFICATE_H

#include "assent/buf.h"

#define CERTIFICATE_BYTES_MAX ((size_t)64 << 10)
#define CERTIFICATE_WHY_BYTES 256

struct certificate_spec {
    const char *name;         /* for people: the subject's common name */
    const char *principal;    /* include/assent/principal.h; NULL: none */
    const char *const *hosts; /* names or addresses by which clients of HTTPS know it */
    size_t host_count;
    int64_t begins, ends; /* Unix time */
    bool authority;       /* signs others, and nothing else */
};

/* PEM. */
struct certificate_pem {
    struct as_buf certificate, key;
};

/* A new key (P-256) and its certificate, signed by `authority`; NULL: by itself. Close `ret` either way. */
as_err certificate_make(const struct certificate_spec *spec,
                        const struct certificate_pem *authority, struct certificate_pem *ret,
                        char ret_why[CERTIFICATE_WHY_BYTES]) AS_MUSTCHECK;
void certificate_close(struct certificate_pem *pem); /* wipes the key */

#endif
