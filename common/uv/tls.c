/*
 * One TLS session over buffers. Fault model: see tls.h. GnuTLS pulls from the bytes that tls_receive was given and
 * pushes to `out`; both are memory, so nothing here ever waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/limits.h"
#include "tls_inside.h"

#define RECORD_BYTES 16384
#define RECORD_TYPE_ALERT 0x15
#define RECORD_TYPE_HANDSHAKE 0x16
#define VERSION_MAJOR 3 /* of SSL 3: every version since calls itself so in its records */

enum state { SHAKING, OPEN, ENDED, FAILED };

struct tls {
    gnutls_session_t session;
    struct tls_credentials *credentials;
    enum tls_end end;
    enum state state;
    bool shaken; /* the handshake is done, whatever came after */
    bool heard;  /* anything at all */
    bool said_bye;
    bool peer_ended; /* it said so */
    bool by_host;
    char host[256];
    struct as_bytes wire; /* not pulled yet; borrowed by tls_receive */
    struct as_buf out;
    struct as_principal principal;
    char why[TLS_WHY_BYTES];
};

/* --- GnuTLS's door to the world --- */

static ssize_t on_pull(gnutls_transport_ptr_t ctx, void *data, size_t len)
{
    struct tls *tls = ctx;

    if (tls->wire.len == 0) {
        gnutls_transport_set_errno(tls->session, EAGAIN);
        return -1;
    }
    if (len > tls->wire.len)
        len = tls->wire.len;
    memcpy(data, tls->wire.data, len);
    tls->wire.data += len;
    tls->wire.len -= len;
    return (ssize_t)len;
}

/* Never: what is not there now comes with the next tls_receive. */
static int on_pull_timeout(gnutls_transport_ptr_t ctx, unsigned ms)
{
    struct tls *tls = ctx;

    (void)ms;
    return tls->wire.len > 0;
}

static ssize_t on_push(gnutls_transport_ptr_t ctx, const void *data, size_t len)
{
    struct tls *tls = ctx;

    as_put_bytes(&tls->out, data, len);
    if (!tls->out.err)
        return (ssize_t)len;
    gnutls_transport_set_errno(tls->session, ENOMEM);
    return -1;
}

/* --- Ends --- */

static as_err failed(struct tls *tls, as_err err, const char *why)
{
    tls->state = FAILED;
    if (!tls->why[0])
        snprintf(tls->why, sizeof(tls->why), "%s", why);
    return err;
}

/* What the peer's alert means for our side's operator. */
static const char *alert_text(gnutls_alert_description_t alert)
{
    switch (alert) {
    case GNUTLS_A_CERTIFICATE_EXPIRED:
        return "the peer says that our certificate is not valid now: make a new one, or set the "
               "clocks";
    case GNUTLS_A_UNKNOWN_CA:
        return "the peer does not know the authority that signed our certificate: compare the ca "
               "files";
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_ACCESS_DENIED:
        return "the peer refuses our certificate: its log says why";
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return "the peer demands a certificate, and we have shown none";
    case GNUTLS_A_PROTOCOL_VERSION:
    case GNUTLS_A_HANDSHAKE_FAILURE:
    case GNUTLS_A_INSUFFICIENT_SECURITY:
        return "the peer has no version of TLS, or no cipher, in common with us (TLS 1.2 or newer)";
    default:
        return NULL;
    }
}

/* After a fatal error of GnuTLS. */
static as_err fatal(struct tls *tls, int error)
{
    gnutls_alert_description_t alert;
    char why[200];
    const char *text;

    if (error == GNUTLS_E_MEMORY_ERROR || tls->out.err)
        return failed(tls, AS_ERR_NOMEM, as_err_text(AS_ERR_NOMEM));
    if (error == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        alert = gnutls_alert_get(tls->session);
        text = alert_text(alert);
        snprintf(why, sizeof(why), "the peer ended it with the alert \"%s\"",
                 gnutls_alert_get_name(alert));
        return failed(tls, AS_ERR_REFUSED, text ? text : why);
    }
    if (error != GNUTLS_E_CERTIFICATE_ERROR) /* then it has been said */
        (void)gnutls_alert_send_appropriate(tls->session, error);
    if (error == GNUTLS_E_NO_CERTIFICATE_FOUND || error == GNUTLS_E_CERTIFICATE_REQUIRED)
        return failed(tls, AS_ERR_REFUSED,
                      "the peer has shown no certificate: give it one (certificate and key)");
    snprintf(why, sizeof(why), "%s", gnutls_strerror(error));
    return failed(tls, error == GNUTLS_E_CERTIFICATE_ERROR ? AS_ERR_REFUSED : AS_ERR_MALFORMED,
                  why);
}

/* --- Whom we talk to --- */

static gnutls_alert_description_t alert_for(unsigned status)
{
    if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
        return GNUTLS_A_CERTIFICATE_EXPIRED;
    if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE))
        return GNUTLS_A_UNKNOWN_CA;
    return GNUTLS_A_BAD_CERTIFICATE;
}

static int turn_down(struct tls *tls, gnutls_x509_crt_t certificate,
                     gnutls_alert_description_t alert, const char *what)
{
    char subject[160] = "";
    size_t len = sizeof(subject);

    if (certificate)
        (void)gnutls_x509_crt_get_dn(certificate, subject, &len);
    snprintf(tls->why, sizeof(tls->why), "the peer's certificate (%.150s) is refused: %.300s",
             subject, what);
    (void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, alert);
    if (certificate)
        gnutls_x509_crt_deinit(certificate);
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static unsigned verify_status(struct tls *tls)
{
    const char *purpose =
        tls->end == TLS_CLIENT ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st demands[2] = {
        {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)purpose},
        {.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)tls->host}};
    unsigned status = 0;

    if (gnutls_certificate_verify_peers(tls->session, demands, tls->by_host ? 2 : 1, &status) < 0)
        return GNUTLS_CERT_INVALID;
    return status;
}

static int on_verify(gnutls_session_t session)
{
    struct tls *tls = gnutls_session_get_ptr(session);
    gnutls_x509_crt_t certificate = tls_peer_certificate(session);
    unsigned status;
    char text[200];

    if (!certificate)
        return turn_down(tls, NULL, GNUTLS_A_BAD_CERTIFICATE, "there is none, or it is malformed");
    status = verify_status(tls);
    if (status) {
        tls_status_text(status, certificate, text, sizeof(text));
        return turn_down(tls, certificate, alert_for(status), text);
    }
    if (!tls->by_host && tls_certificate_principal(certificate, &tls->principal))
        return turn_down(tls, certificate, GNUTLS_A_ACCESS_DENIED,
                         "it must bear exactly one name " AS_PRINCIPAL_SCHEME
                         "... (assent certs makes such)");
    gnutls_x509_crt_deinit(certificate);
    return 0;
}

/* --- Birth and death --- */

static as_err session_make(struct tls *tls)
{
    unsigned flags = (tls->end == TLS_SERVER ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
                     GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;

    if (gnutls_init(&tls->session, flags) < 0)
        return AS_ERR_NOMEM;
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, on_pull);
    gnutls_transport_set_pull_timeout_function(tls->session, on_pull_timeout);
    gnutls_transport_set_push_function(tls->session, on_push);
    gnutls_session_set_verify_function(tls->session, on_verify);
    gnutls_handshake_set_timeout(tls->session, 0); /* whoever owns the socket has the deadline */
    if (gnutls_priority_set(tls->session, tls->credentials->priority) < 0 ||
        gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials->x509) < 0)
        return AS_ERR_NOMEM;
    if (tls->end == TLS_SERVER) {
        gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
        /* A client that is told our authorities shows nothing if it has only a foreign certificate, and its log says
         * nothing useful. */
        gnutls_certificate_send_x509_rdn_sequence(tls->session, 1);
    }
    return AS_OK;
}

as_err tls_new(struct tls **ret_tls, struct tls_credentials *credentials, enum tls_end end,
               const char *host)
{
    struct tls *tls;
    as_err err;

    if (!credentials->trusts || (host && (end == TLS_SERVER || strlen(host) > 255)) ||
        (!host && !credentials->certified))
        return AS_ERR_INVALID;
    tls = as_alloc_zero(1, sizeof(*tls));
    if (!tls)
        return AS_ERR_NOMEM;
    tls->credentials = tls_credentials_hold(credentials);
    tls->end = end;
    tls->by_host = host != NULL;
    if (host)
        memcpy(tls->host, host, strlen(host) + 1);
    as_buf_init(&tls->out, TLS_OUT_BYTES_MAX);
    err = session_make(tls);
    if (err) {
        tls_free(tls);
        return err;
    }
    *ret_tls = tls;
    return AS_OK;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    if (tls->session)
        gnutls_deinit(tls->session);
    tls_credentials_release(tls->credentials);
    as_buf_close(&tls->out);
    as_free(tls);
}

/* --- Bytes --- */

static bool later(int error)
{
    return error == GNUTLS_E_AGAIN || error == GNUTLS_E_INTERRUPTED;
}

static as_err shake(struct tls *tls)
{
    int error;

    do {
        error = gnutls_handshake(tls->session);
    } while (error < 0 && !later(error) && !gnutls_error_is_fatal(error));
    if ((error < 0 && !later(error)) || tls->out.err)
        return fatal(tls, error); /* GnuTLS does not tell of every push that failed */
    if (error == 0) {
        tls->state = OPEN;
        tls->shaken = true;
    }
    return AS_OK;
}

as_err tls_begin(struct tls *tls)
{
    return shake(tls);
}

static as_err take_records(struct tls *tls, struct as_buf *plain)
{
    for (;;) {
        uint8_t *room = as_buf_extend(plain, RECORD_BYTES);
        ssize_t n;

        if (!room)
            return failed(tls, plain->err, as_err_text(plain->err));
        n = gnutls_record_recv(tls->session, room, RECORD_BYTES);
        plain->len -= RECORD_BYTES - (n > 0 ? (size_t)n : 0);
        if (tls->out.err)
            return fatal(tls, GNUTLS_E_PUSH_ERROR);
        if (n > 0)
            continue;
        if (n == 0) {
            tls->peer_ended = true;
            tls->state = ENDED;
            return AS_ERR_CLOSED;
        }
        if (later((int)n))
            return AS_OK;
        /* A peer that wants another handshake in an open session does not get one; a warning is none. */
        if (n == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)n))
            return fatal(tls, (int)n);
    }
}

static const char *plain_text(struct as_bytes first)
{
    static const char *const http[] = {"GET ", "POST", "PUT ", "HEAD", "HTTP", "DELE", "OPTI"};

    for (size_t i = 0; i < AS_COUNT_OF(http) && first.len >= 4; i++)
        if (memcmp(first.data, http[i], 4) == 0)
            return "the peer speaks plain HTTP: this is a link of nodes and agents, and with TLS";
    return "the peer speaks without TLS: give it a [tls] section too, or take ours away";
}

static bool is_record(struct as_bytes first)
{
    return (first.data[0] == RECORD_TYPE_HANDSHAKE || first.data[0] == RECORD_TYPE_ALERT) &&
           (first.len < 2 || first.data[1] == VERSION_MAJOR);
}

as_err tls_receive(struct tls *tls, struct as_bytes wire, struct as_buf *plain)
{
    as_err err = AS_OK;

    if (tls->state == ENDED || tls->state == FAILED)
        return AS_ERR_CLOSED;
    if (wire.len == 0)
        return AS_OK;
    if (!tls->heard && !is_record(wire)) {
        if (tls->end == TLS_SERVER) /* so that the peer, too, can tell what is wrong */
            (void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_UNEXPECTED_MESSAGE);
        return failed(tls, AS_ERR_MALFORMED, plain_text(wire));
    }
    tls->heard = true;
    tls->wire = wire;
    if (tls->state == SHAKING)
        err = shake(tls);
    if (!err && tls->state == OPEN)
        err = take_records(tls, plain);
    tls->wire = (struct as_bytes){NULL, 0};
    return err;
}

as_err tls_stream_end(struct tls *tls)
{
    if (tls->peer_ended)
        return AS_ERR_CLOSED;
    return failed(tls, AS_ERR_IO,
                  tls->state == SHAKING ? "the peer hung up during the TLS handshake"
                                        : "the stream was cut off: the peer has not ended it");
}

bool tls_shaken(const struct tls *tls)
{
    return tls->shaken;
}

bool tls_open(const struct tls *tls)
{
    return tls->state == OPEN;
}

as_err tls_send(struct tls *tls, struct as_bytes plain)
{
    if (tls->state != OPEN || tls->said_bye)
        return AS_ERR_CLOSED;
    while (plain.len > 0) {
        ssize_t n = gnutls_record_send(tls->session, plain.data, plain.len);

        if (n < 0)
            return fatal(tls, (int)n); /* memory is always ready to be written: no AGAIN */
        plain.data += n;
        plain.len -= (size_t)n;
    }
    return AS_OK;
}

void tls_bye(struct tls *tls)
{
    if (tls->state != OPEN || tls->said_bye)
        return;
    tls->said_bye = true;
    (void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}

/* --- Looking in --- */

struct as_buf *tls_out(struct tls *tls)
{
    return &tls->out;
}

const struct as_principal *tls_principal(const struct tls *tls)
{
    return tls->principal.kind ? &tls->principal : NULL;
}

const char *tls_why(const struct tls *tls)
{
    return tls->why;
}

/* As one of our frames it would be 65 KiB long at least, and the first one never is. */
bool tls_looks_like(struct as_bytes first)
{
    return first.len >= 3 && is_record(first) && first.data[2] >= 1 && first.data[2] <= 4;
}
