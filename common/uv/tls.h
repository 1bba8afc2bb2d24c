/*
 * TLS 1.2 and 1.3 by GnuTLS, without sockets: bytes of the wire in, plain bytes out, and the other way. What a
 * session wants to say gathers in `tls_out`; who owns the socket sends it.
 *
 * Fault model: the peer may send anything. A session that fails says why (`tls_why`), with what the operator can do;
 * it has put an alert into its output, and takes nothing more. Only a peer whose certificate the authority has signed,
 * which is valid now and bears what is demanded of it, ever gets a session to the state OPEN.
 */
#ifndef ASSENT_UV_TLS_H
#define ASSENT_UV_TLS_H

#include "assent/buf.h"
#include "assent/principal.h"

/* Forward secrecy and authenticated encryption only. Every client of the last ten years has one of these. */
#define TLS_PRIORITY                                                                        \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-128-GCM:" \
    "+AES-256-GCM:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

#define TLS_WHY_BYTES 512
#define TLS_FILE_BYTES_MAX ((size_t)1 << 20)
/* What a sender may have waiting, and TLS's own bytes with it. */
#define TLS_OUT_BYTES_MAX ((size_t)AS_SEND_QUEUE_BYTES_MAX + ((size_t)1 << 20))

struct gnutls_session_int; /* gnutls_session_t points to one */

/* --- Credentials: the files, read and checked; shared by sessions, freed with the last --- */

struct tls_credentials;

/* PEM. */
struct tls_files {
    const char *ca; /* NULL or "": peers' certificates are not asked for */
    const char *
        certificate; /* and the certificates between it and the authority; NULL or "": none, a client's */
    const char *key; /* of the certificate; no business of other users */
};

/*
 * Refuses (INVALID, and ret_why says which file and what to do) what no peer would accept either: a certificate that
 * is not valid now, another key's, or not signed by an authority of `ca`. NOTFOUND, IO, NOMEM.
 */
as_err tls_credentials_read(struct tls_credentials **ret, const struct tls_files *files,
                            char ret_why[TLS_WHY_BYTES]) AS_MUSTCHECK;
struct tls_credentials *tls_credentials_hold(struct tls_credentials *credentials);
void tls_credentials_release(struct tls_credentials *credentials); /* takes NULL */
/* Of the own certificate; NULL: it bears none. */
const struct as_principal *tls_credentials_principal(const struct tls_credentials *credentials);
/* When the own certificate ends, Unix time; 0: there is none. */
int64_t tls_credentials_expire(const struct tls_credentials *credentials);

/* Whether there is an authority by which peers can be checked. */
bool tls_credentials_trust(const struct tls_credentials *credentials);

/* For a session that somebody else has made (libmicrohttpd): these credentials instead of its own; with `ask` a
 * client's certificate is asked for, and checked if there is one. Before its handshake. */
as_err tls_credentials_lend(struct tls_credentials *credentials, struct gnutls_session_int *session,
                            bool ask) AS_MUSTCHECK;
/* Of the peer of such a session, and when its certificate ends. NOTFOUND: it has shown none, or one without a principal. */
as_err tls_peer_principal(struct gnutls_session_int *session, struct as_principal *ret,
                          int64_t *ret_expires) AS_MUSTCHECK;

/* --- Sessions --- */

struct tls;

enum tls_end { TLS_SERVER, TLS_CLIENT };

/* `host` NULL: both ends show certificates with principals. Else, of a client: the server's must be for this host (a
 * name or an address), and ours is shown if there is one. */
as_err tls_new(struct tls **ret_tls, struct tls_credentials *credentials, enum tls_end end,
               const char *host) AS_MUSTCHECK;
void tls_free(struct tls *tls); /* takes NULL */

/* A client's first words. The server's come of what it receives. */
as_err tls_begin(struct tls *tls) AS_MUSTCHECK;
/*
 * Takes all of `wire`; what it says is appended to `plain`, also when this fails. CLOSED: the peer has ended the
 * session in order. Anything else: it has failed, see tls_why. MALFORMED: the peer does not speak TLS. REFUSED: the
 * peer's certificate, or ours in the peer's opinion.
 */
as_err tls_receive(struct tls *tls, struct as_bytes wire, struct as_buf *plain) AS_MUSTCHECK;
/* The stream has ended: CLOSED if the session had, else IO: it was cut off. */
as_err tls_stream_end(struct tls *tls) AS_MUSTCHECK;
/* The handshake has been done: the peer is who it must be. The session may be over already. */
bool tls_shaken(const struct tls *tls);
/* It may be sent. */
bool tls_open(const struct tls *tls);
as_err tls_send(struct tls *tls, struct as_bytes plain) AS_MUSTCHECK;
/* Says that nothing more will be sent. Once; nothing before the handshake is done. */
void tls_bye(struct tls *tls);

/* For the wire; whoever sends it consumes it. */
struct as_buf *tls_out(struct tls *tls);
/* The peer's, once the session is open; NULL: of a host. */
const struct as_principal *tls_principal(const struct tls *tls);
/* For people; "" while nothing is wrong. */
const char *tls_why(const struct tls *tls);

/* True if the first bytes of a peer are TLS's, and cannot be our own protocol's without it. */
bool tls_looks_like(struct as_bytes first);

#endif
