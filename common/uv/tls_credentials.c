/*
 * The files of TLS: read, checked as a peer would check them, and kept as long as a session needs them.
 *
 * Fault model: a person, or a program of theirs, wrote the files, perhaps this very moment. What is not right is
 * refused as a whole, with the name of the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "tls_inside.h"

static as_err refuse(char *ret_why, as_err err, const char *path, const char *why)
{
    snprintf(ret_why, TLS_WHY_BYTES, "%.200s: %.300s", path, why);
    return err;
}

static as_err from_gnutls(char *ret_why, const char *path, int error)
{
    return refuse(ret_why, error == GNUTLS_E_MEMORY_ERROR ? AS_ERR_NOMEM : AS_ERR_INVALID, path,
                  gnutls_strerror(error));
}

static bool given(const char *path)
{
    return path && path[0];
}

/* --- Files --- */

static as_err read_open(int fd, const char *path, bool secret, struct as_buf *ret, char *ret_why)
{
    struct stat status;
    uint8_t *room;
    ssize_t n;

    if (fstat(fd, &status))
        return refuse(ret_why, AS_ERR_IO, path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return refuse(ret_why, AS_ERR_INVALID, path, "this is no file");
    if (secret && (status.st_mode & S_IRWXO))
        return refuse(ret_why, AS_ERR_INVALID, path,
                      "everybody on this machine may use this key: chmod 600 (or 640)");
    if (status.st_size > (off_t)TLS_FILE_BYTES_MAX)
        return refuse(ret_why, AS_ERR_TOOBIG, path, "this file is larger than 1 MiB");
    for (;;) {
        room = as_buf_extend(ret, 16384);
        if (!room)
            return refuse(ret_why, ret->err, path, as_err_text(ret->err));
        n = read(fd, room, 16384);
        ret->len -= 16384 - (n > 0 ? (size_t)n : 0);
        if (n < 0 && errno != EINTR)
            return refuse(ret_why, AS_ERR_IO, path, strerror(errno));
        if (n == 0)
            return AS_OK;
    }
}

static as_err read_file(const char *path, bool secret, struct as_buf *ret, char *ret_why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    as_err err;

    as_buf_init(ret, TLS_FILE_BYTES_MAX + 16384);
    if (fd < 0)
        return refuse(ret_why, errno == ENOENT ? AS_ERR_NOTFOUND : AS_ERR_IO, path,
                      strerror(errno));
    err = read_open(fd, path, secret, ret, ret_why);
    (void)close(fd);
    return err;
}

/* A copy of a secret must not stay behind in freed memory. */
static void wipe(struct as_buf *buf)
{
    if (buf->data)
        gnutls_memset(buf->data, 0, buf->cap);
    as_buf_close(buf);
}

static gnutls_datum_t datum_of(const struct as_buf *buf)
{
    return (gnutls_datum_t){buf->data, (unsigned)buf->len};
}

static as_err read_authorities(struct tls_credentials *credentials, const char *path, char *ret_why)
{
    struct as_buf text;
    gnutls_datum_t datum;
    as_err err = read_file(path, false, &text, ret_why);
    int count;

    if (!err) {
        datum = datum_of(&text);
        count =
            gnutls_certificate_set_x509_trust_mem(credentials->x509, &datum, GNUTLS_X509_FMT_PEM);
        if (count == 0 || count == GNUTLS_E_NO_CERTIFICATE_FOUND)
            err = refuse(ret_why, AS_ERR_INVALID, path, "there is no certificate in it (PEM)");
        else if (count < 0)
            err = from_gnutls(ret_why, path, count);
        credentials->trusts = !err;
    }
    as_buf_close(&text);
    return err;
}

static as_err check_certificate(const gnutls_datum_t *text, const char *path, char *ret_why)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0;

    if (gnutls_x509_crt_list_import2(&chain, &count, text, GNUTLS_X509_FMT_PEM, 0) < 0)
        return refuse(ret_why, AS_ERR_INVALID, path, "there is no certificate in it (PEM)");
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    return AS_OK;
}

static as_err read_pair(struct tls_credentials *credentials, const struct tls_files *files,
                        char *ret_why)
{
    struct as_buf certificate, key;
    gnutls_datum_t certificate_datum, key_datum;
    as_err err = read_file(files->certificate, false, &certificate, ret_why);
    int error;

    as_buf_init(&key, 0);
    if (!err && !given(files->key))
        err = refuse(ret_why, AS_ERR_INVALID, files->certificate, "its key is not named");
    if (!err)
        err = read_file(files->key, true, &key, ret_why);
    certificate_datum = datum_of(&certificate);
    if (!err)
        err = check_certificate(&certificate_datum, files->certificate, ret_why);
    if (!err) {
        key_datum = datum_of(&key);
        error = gnutls_certificate_set_x509_key_mem(credentials->x509, &certificate_datum,
                                                    &key_datum, GNUTLS_X509_FMT_PEM);
        if (error == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
            err = refuse(ret_why, AS_ERR_INVALID, files->key, "this is not the certificate's key");
        else if (error < 0)
            err = from_gnutls(ret_why, files->key, error);
    }
    as_buf_close(&certificate);
    wipe(&key);
    return err;
}

/* --- The own certificate --- */

as_err tls_certificate_principal(gnutls_x509_crt_t certificate, struct as_principal *ret)
{
    char text[AS_PRINCIPAL_LEN_MAX + 1];
    as_err err = AS_ERR_NOTFOUND;

    ret->kind = 0;
    for (unsigned i = 0;; i++) {
        size_t len = sizeof(text);
        int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, text, &len, NULL);

        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return err;
        if (type == GNUTLS_E_SHORT_MEMORY_BUFFER)
            return AS_ERR_INVALID; /* it may be ours */
        if (type < 0)
            return AS_ERR_INVALID;
        if (type != GNUTLS_SAN_URI || len < sizeof(AS_PRINCIPAL_SCHEME) - 1 ||
            memcmp(text, AS_PRINCIPAL_SCHEME, sizeof(AS_PRINCIPAL_SCHEME) - 1) != 0)
            continue;
        if (!err || as_principal_parse(text, len, ret)) {
            ret->kind = 0;
            return AS_ERR_INVALID;
        }
        err = AS_OK;
    }
}

static const char *time_text(time_t at, char ret_text[32])
{
    struct tm utc;

    if (at == (time_t)-1 || !gmtime_r(&at, &utc) ||
        strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(ret_text, 32, "an unknown time");
    return ret_text;
}

void tls_status_text(unsigned status, gnutls_x509_crt_t certificate, char *ret_text, size_t size)
{
    const unsigned unsigned_by_us =
        GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA | GNUTLS_CERT_SIGNATURE_FAILURE;
    time_t ends = gnutls_x509_crt_get_expiration_time(certificate);
    time_t begins = gnutls_x509_crt_get_activation_time(certificate);
    time_t now = time(NULL);
    char at[32];

    if (status & unsigned_by_us)
        snprintf(ret_text, size, "it is not signed by an authority of our ca file");
    else if (ends != (time_t)-1 && now > ends)
        snprintf(ret_text, size, "it has expired at %s; make a new one, or set the clock",
                 time_text(ends, at));
    else if (begins != (time_t)-1 && now < begins)
        snprintf(ret_text, size, "it is not valid before %s; wait, or set the clock",
                 time_text(begins, at));
    else if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
        snprintf(ret_text, size, "the authority that signed it is not valid now");
    else if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
        snprintf(ret_text, size, "it is made for another purpose (extended key usage)");
    else if (status & GNUTLS_CERT_UNEXPECTED_OWNER)
        snprintf(ret_text, size, "it is made for another host");
    else if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        snprintf(ret_text, size, "it is signed with a weak algorithm");
    else
        snprintf(ret_text, size, "it is not valid (status %#x)", status);
}

static unsigned verify_own(struct tls_credentials *credentials, gnutls_x509_crt_t *chain,
                           unsigned count)
{
    gnutls_x509_trust_list_t trusted = NULL;
    unsigned status = GNUTLS_CERT_INVALID;
    time_t now = time(NULL);

    if (credentials->trusts) {
        gnutls_certificate_get_trust_list(credentials->x509, &trusted);
        (void)gnutls_x509_trust_list_verify_crt2(trusted, chain, count, NULL, 0, 0, &status, NULL);
        return status;
    }
    return now > gnutls_x509_crt_get_expiration_time(chain[0])   ? GNUTLS_CERT_EXPIRED
           : now < gnutls_x509_crt_get_activation_time(chain[0]) ? GNUTLS_CERT_NOT_ACTIVATED
                                                                 : 0;
}

static as_err check_own(struct tls_credentials *credentials, const char *path, char *ret_why)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0, status;
    char text[200];
    as_err err = AS_OK;
    int error = gnutls_certificate_get_x509_crt(credentials->x509, 0, &chain, &count);

    if (error < 0)
        return from_gnutls(ret_why, path, error);
    credentials->certified = true;
    credentials->expires = (int64_t)gnutls_x509_crt_get_expiration_time(chain[0]);
    status = verify_own(credentials, chain, count);
    if (status) {
        tls_status_text(status, chain[0], text, sizeof(text));
        err = refuse(ret_why, AS_ERR_INVALID, path, text);
    } else if (tls_certificate_principal(chain[0], &credentials->principal) == AS_ERR_INVALID) {
        err = refuse(ret_why, AS_ERR_INVALID, path,
                     "its " AS_PRINCIPAL_SCHEME " name is malformed, or there are several");
    }
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    return err;
}

/* --- The whole --- */

as_err tls_credentials_read(struct tls_credentials **ret, const struct tls_files *files,
                            char ret_why[TLS_WHY_BYTES])
{
    struct tls_credentials *credentials = as_alloc_zero(1, sizeof(*credentials));
    as_err err = AS_OK;

    ret_why[0] = '\0';
    if (!credentials)
        return refuse(ret_why, AS_ERR_NOMEM, "TLS", as_err_text(AS_ERR_NOMEM));
    credentials->holds = 1;
    if (gnutls_certificate_allocate_credentials(&credentials->x509) < 0 ||
        gnutls_priority_init2(&credentials->priority, TLS_PRIORITY, NULL, 0) < 0)
        err = refuse(ret_why, AS_ERR_NOMEM, "TLS", "GnuTLS does not start");
    if (!err && given(files->ca))
        err = read_authorities(credentials, files->ca, ret_why);
    if (!err && given(files->certificate))
        err = read_pair(credentials, files, ret_why);
    if (!err && given(files->certificate))
        err = check_own(credentials, files->certificate, ret_why);
    if (err) {
        tls_credentials_release(credentials);
        return err;
    }
    *ret = credentials;
    return AS_OK;
}

struct tls_credentials *tls_credentials_hold(struct tls_credentials *credentials)
{
    credentials->holds++;
    return credentials;
}

void tls_credentials_release(struct tls_credentials *credentials)
{
    if (!credentials || --credentials->holds > 0)
        return;
    if (credentials->x509)
        gnutls_certificate_free_credentials(credentials->x509);
    if (credentials->priority)
        gnutls_priority_deinit(credentials->priority);
    as_free(credentials);
}

const struct as_principal *tls_credentials_principal(const struct tls_credentials *credentials)
{
    return credentials->principal.kind ? &credentials->principal : NULL;
}

int64_t tls_credentials_expire(const struct tls_credentials *credentials)
{
    return credentials->expires;
}

bool tls_credentials_trust(const struct tls_credentials *credentials)
{
    return credentials->trusts;
}

/* --- Sessions that somebody else has made --- */

gnutls_x509_crt_t tls_peer_certificate(gnutls_session_t session)
{
    unsigned count = 0;
    const gnutls_datum_t *shown = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate = NULL;

    if (!shown || count == 0 || gnutls_x509_crt_init(&certificate) < 0)
        return NULL;
    if (gnutls_x509_crt_import(certificate, &shown[0], GNUTLS_X509_FMT_DER) < 0) {
        gnutls_x509_crt_deinit(certificate);
        return NULL;
    }
    return certificate;
}

/* A client without a certificate is a client without a certificate; one with a wrong one is refused. */
static int verify_if_shown(gnutls_session_t session)
{
    unsigned count = 0, status = 0;

    if (!gnutls_certificate_get_peers(session, &count) || count == 0)
        return 0;
    return gnutls_certificate_verify_peers2(session, &status) < 0 || status != 0
               ? GNUTLS_E_CERTIFICATE_ERROR
               : 0;
}

as_err tls_credentials_lend(struct tls_credentials *credentials, struct gnutls_session_int *session,
                            bool ask)
{
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials->x509) < 0 ||
        gnutls_priority_set(session, credentials->priority) < 0)
        return AS_ERR_NOMEM;
    gnutls_certificate_server_set_request(session, ask ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
    gnutls_session_set_verify_function(session, verify_if_shown);
    return AS_OK;
}

as_err tls_peer_principal(struct gnutls_session_int *session, struct as_principal *ret,
                          int64_t *ret_expires)
{
    gnutls_x509_crt_t certificate = tls_peer_certificate(session);
    as_err err;

    if (!certificate)
        return AS_ERR_NOTFOUND;
    err = tls_certificate_principal(certificate, ret);
    *ret_expires = (int64_t)gnutls_x509_crt_get_expiration_time(certificate);
    gnutls_x509_crt_deinit(certificate);
    return err ? AS_ERR_NOTFOUND : AS_OK;
}
