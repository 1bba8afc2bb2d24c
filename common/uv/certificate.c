/*
 * Keys and certificates. Fault model: nothing here is half made: a failure gives no certificate and says why.
 */
#include "certificate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define SERIAL_BYTES 16

struct making {
    gnutls_x509_crt_t certificate, issuer;
    gnutls_x509_privkey_t key, issuer_key;
};

static int add_hosts(gnutls_x509_crt_t certificate, const struct certificate_spec *spec)
{
    int error = 0;

    for (size_t i = 0; i < spec->host_count && error >= 0; i++) {
        const char *host = spec->hosts[i];
        unsigned char address[16];
        unsigned len = inet_pton(AF_INET, host, address) == 1    ? 4
                       : inet_pton(AF_INET6, host, address) == 1 ? 16
                                                                 : 0;

        error = gnutls_x509_crt_set_subject_alt_name(
            certificate, len ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME,
            len ? (const void *)address : host, len ? len : (unsigned)strlen(host),
            GNUTLS_FSAN_APPEND);
    }
    return error;
}

static int set_purpose(gnutls_x509_crt_t certificate, bool authority)
{
    int error = gnutls_x509_crt_set_basic_constraints(certificate, authority, authority ? 0 : -1);

    if (error >= 0)
        error = gnutls_x509_crt_set_key_usage(
            certificate, authority ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                                   : GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (error >= 0 && !authority)
        error = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (error >= 0 && !authority)
        error = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    return error;
}

static int set_serial(gnutls_x509_crt_t certificate)
{
    unsigned char serial[SERIAL_BYTES];
    int error = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

    serial[0] = (serial[0] & 0x3f) | 0x40; /* positive, and not shorter than it looks */
    return error < 0 ? error : gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
}

static int set_key_ids(struct making *making)
{
    unsigned char id[64];
    size_t len = sizeof(id);
    int error = gnutls_x509_crt_get_key_id(making->certificate, GNUTLS_KEYID_USE_SHA1, id, &len);

    if (error >= 0)
        error = gnutls_x509_crt_set_subject_key_id(making->certificate, id, len);
    len = sizeof(id);
    if (error >= 0 && making->issuer &&
        gnutls_x509_crt_get_subject_key_id(making->issuer, id, &len, NULL) >= 0)
        error = gnutls_x509_crt_set_authority_key_id(making->certificate, id, len);
    return error;
}

static int make(struct making *making, const struct certificate_spec *spec)
{
    gnutls_x509_crt_t certificate = making->certificate;
    bool self = making->issuer == NULL;
    int error = gnutls_x509_privkey_generate(making->key, GNUTLS_PK_ECDSA,
                                             GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);

    if (error >= 0)
        error = gnutls_x509_crt_set_version(certificate, 3);
    if (error >= 0)
        error = gnutls_x509_crt_set_key(certificate, making->key);
    if (error >= 0)
        error = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
                                              spec->name, (unsigned)strlen(spec->name));
    if (error >= 0)
        error = gnutls_x509_crt_set_activation_time(certificate, (time_t)spec->begins);
    if (error >= 0)
        error = gnutls_x509_crt_set_expiration_time(certificate, (time_t)spec->ends);
    if (error >= 0)
        error = set_serial(certificate);
    if (error >= 0)
        error = set_purpose(certificate, spec->authority);
    if (error >= 0 && spec->principal)
        error = gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_URI, spec->principal,
                                                     (unsigned)strlen(spec->principal),
                                                     GNUTLS_FSAN_APPEND);
    if (error >= 0)
        error = add_hosts(certificate, spec);
    if (error >= 0)
        error = set_key_ids(making);
    if (error >= 0)
        error =
            gnutls_x509_crt_sign2(certificate, self ? certificate : making->issuer,
                                  self ? making->key : making->issuer_key, GNUTLS_DIG_SHA256, 0);
    return error;
}

static int read_authority(struct making *making, const struct certificate_pem *authority)
{
    gnutls_datum_t certificate = {authority->certificate.data,
                                  (unsigned)authority->certificate.len};
    gnutls_datum_t key = {authority->key.data, (unsigned)authority->key.len};
    int error = gnutls_x509_crt_init(&making->issuer);

    if (error >= 0)
        error = gnutls_x509_privkey_init(&making->issuer_key);
    if (error >= 0)
        error = gnutls_x509_crt_import(making->issuer, &certificate, GNUTLS_X509_FMT_PEM);
    if (error >= 0)
        error = gnutls_x509_privkey_import2(making->issuer_key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    return error;
}

static as_err export(struct making *making, struct certificate_pem *ret)
{
    gnutls_datum_t text = {NULL, 0};

    if (gnutls_x509_crt_export2(making->certificate, GNUTLS_X509_FMT_PEM, &text) < 0)
        return AS_ERR_NOMEM;
    as_put_bytes(&ret->certificate, text.data, text.size);
    gnutls_free(text.data);
    if (gnutls_x509_privkey_export2_pkcs8(making->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                          &text) < 0)
        return AS_ERR_NOMEM;
    as_put_bytes(&ret->key, text.data, text.size);
    gnutls_memset(text.data, 0, text.size);
    gnutls_free(text.data);
    return ret->certificate.err ? ret->certificate.err : ret->key.err;
}

as_err certificate_make(const struct certificate_spec *spec,
                        const struct certificate_pem *authority, struct certificate_pem *ret,
                        char ret_why[CERTIFICATE_WHY_BYTES])
{
    struct making making = {0};
    int error = gnutls_x509_crt_init(&making.certificate);
    as_err err;

    as_buf_init(&ret->certificate, CERTIFICATE_BYTES_MAX);
    as_buf_init(&ret->key, CERTIFICATE_BYTES_MAX);
    if (error >= 0)
        error = gnutls_x509_privkey_init(&making.key);
    if (error >= 0 && authority)
        error = read_authority(&making, authority);
    if (error >= 0)
        error = make(&making, spec);
    err = error < 0 ? AS_ERR_INVALID : export(&making, ret);
    snprintf(ret_why, CERTIFICATE_WHY_BYTES, "%s",
             error < 0 ? gnutls_strerror(error) : as_err_text(err));
    gnutls_x509_crt_deinit(making.certificate);
    gnutls_x509_privkey_deinit(making.key);
    if (making.issuer)
        gnutls_x509_crt_deinit(making.issuer);
    if (making.issuer_key)
        gnutls_x509_privkey_deinit(making.issuer_key);
    return err;
}

void certificate_close(struct certificate_pem *pem)
{
    as_buf_close(&pem->certificate);
    if (pem->key.data)
        gnutls_memset(pem->key.data, 0, pem->key.cap);
    as_buf_close(&pem->key);
}
