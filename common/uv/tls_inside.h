/*
 * Between tls.c and tls_credentials.c.
 */
#ifndef ASSENT_UV_TLS_INSIDE_H
#define ASSENT_UV_TLS_INSIDE_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tls.h"

struct tls_credentials {
    uint32_t holds;
    gnutls_certificate_credentials_t x509;
    gnutls_priority_t priority;
    bool trusts;    /* there is an authority: peers can be asked */
    bool certified; /* there is an own certificate */
    int64_t expires;
    struct as_principal principal; /* kind 0: none */
};

/* NOTFOUND: it has none. INVALID: one that is malformed, or several. */
as_err tls_certificate_principal(gnutls_x509_crt_t certificate,
                                 struct as_principal *ret) AS_MUSTCHECK;
/* Why `certificate` was not verified: one sentence. */
void tls_status_text(unsigned status, gnutls_x509_crt_t certificate, char *ret_text, size_t size);
/* The first certificate that the peer has shown; free it. NULL: none. */
gnutls_x509_crt_t tls_peer_certificate(gnutls_session_t session);

#endif
