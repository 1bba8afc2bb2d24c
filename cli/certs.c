/*
 * Makes the files of TLS. Fault model: a file is there whole or not at all; what exists is not touched unless that was
 * asked for. Who stops this halfway finds the certificates made so far, and can make the rest.
 */
#include "cli/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/uv/certificate.h"

#define DAY_S 86400
#define AUTHORITY_DAYS 3650
#define BACK_S 300 /* clocks differ a little */

static bool fail(char *ret_error, const char *path, const char *why)
{
    (void)snprintf(ret_error, CERTS_ERROR_BYTES, "%.250s: %.200s", path, why);
    return false;
}

/* --- What to make --- */

/* The next one, with its principal written; NULL: it is none. */
static struct cert *add(struct certs *certs, const char *kind, const char *name, size_t len,
                        char *ret_error)
{
    struct as_principal principal;
    struct cert *cert;

    if (certs->count == certs->cap) {
        size_t cap = certs->cap ? 2 * certs->cap : 8;
        struct cert *larger = must_alloc(cap, sizeof(*larger));

        if (certs->count)
            memcpy(larger, certs->list, certs->count * sizeof(*larger));
        free(certs->list);
        certs->list = larger;
        certs->cap = cap;
    }
    cert = &certs->list[certs->count];
    *cert = (struct cert){.host_count = 0};
    if (!text_format(cert->principal, sizeof(cert->principal), AS_PRINCIPAL_SCHEME "%s/%s/%.*s",
                     certs->cluster, kind, (int)len, name) ||
        as_principal_parse(cert->principal, strlen(cert->principal), &principal) ||
        !text_format(cert->name, sizeof(cert->name), "%s-%.*s", kind, (int)len, name)) {
        (void)snprintf(ret_error, CERTS_ERROR_BYTES,
                       "\"%.*s\" is not a name for %s %s of cluster \"%.40s\"",
                       (int)(len < 100 ? len : 100), name, strchr("ao", kind[0]) ? "an" : "a", kind,
                       certs->cluster);
        return NULL;
    }
    for (char *c = cert->name; *c; c++)
        if (*c == ',')
            *c = '+';
    certs->count++;
    return cert;
}

bool certs_add_node(struct certs *certs, const char *id, size_t id_len, const char *hosts,
                    char ret_error[CERTS_ERROR_BYTES])
{
    static const char *const here[] = {"localhost", "127.0.0.1", "::1"};
    struct cert *cert = add(certs, "node", id, id_len, ret_error);
    char *list, *rest = NULL;

    if (!cert)
        return false;
    for (size_t i = 0; i < AS_COUNT_OF(here); i++)
        cert->hosts[cert->host_count++] = here[i];
    if (!hosts)
        return true;
    list = must_copy(hosts); /* lives as long as the program: a few names */
    for (char *host = strtok_r(list, ", ", &rest); host; host = strtok_r(NULL, ", ", &rest)) {
        if (cert->host_count == CERTS_HOSTS_MAX || strlen(host) > 253)
            return fail(ret_error, host, "too many hosts, or too long a name");
        cert->hosts[cert->host_count++] = host;
    }
    return true;
}

bool certs_add_agent(struct certs *certs, const char *participants,
                     char ret_error[CERTS_ERROR_BYTES])
{
    return add(certs, "agent", participants, strlen(participants), ret_error) != NULL;
}

bool certs_add_client(struct certs *certs, const char *role, const char *name,
                      char ret_error[CERTS_ERROR_BYTES])
{
    return add(certs, role, name, strlen(name), ret_error) != NULL;
}

void certs_close(struct certs *certs)
{
    free(certs->list);
    certs->list = NULL;
    certs->count = certs->cap = 0;
}

/* --- Files --- */

static void path_of(const struct certs *certs, const char *name, bool key, char ret_path[4096])
{
    (void)snprintf(ret_path, 4096, "%s/%s%s.pem", certs->dir, name, key ? "-key" : "");
}

static bool write_all(int fd, const struct as_buf *text)
{
    size_t done = 0;

    while (done < text->len) {
        ssize_t n = write(fd, text->data + done, text->len - done);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            done += (size_t)n;
    }
    return fsync(fd) == 0;
}

/* Under a name of its own first, then in one step under the right one. */
static bool write_file(const char *path, const struct as_buf *text, bool secret, bool replace,
                       char *ret_error)
{
    char other[4200];
    bool well;
    int fd;

    (void)snprintf(other, sizeof(other), "%s.%ld", path, (long)getpid());
    fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644);
    if (fd < 0)
        return fail(ret_error, other, strerror(errno));
    well = write_all(fd, text);
    well = close(fd) == 0 && well;
    /* link() refuses where there is something; rename() would not. */
    if (well)
        well = replace ? rename(other, path) == 0 : link(other, path) == 0;
    if (!well)
        (void)fail(ret_error, path, strerror(errno));
    (void)unlink(other);
    return well;
}

static bool write_pair(const struct certs *certs, const char *name,
                       const struct certificate_pem *pem, bool replace, char *ret_error)
{
    char path[4096];

    path_of(certs, name, true, path);
    if (!write_file(path, &pem->key, true, replace, ret_error))
        return false;
    path_of(certs, name, false, path);
    return write_file(path, &pem->certificate, false, replace, ret_error);
}

static bool read_file(const char *path, struct as_buf *ret, char *ret_error)
{
    FILE *file = fopen(path, "re");
    uint8_t *room;
    size_t n;

    if (!file)
        return fail(ret_error, path, strerror(errno));
    do {
        room = as_buf_extend(ret, 4096);
        n = room ? fread(room, 1, 4096, file) : 0;
        ret->len -= room ? 4096 - n : 0;
    } while (n > 0);
    (void)fclose(file);
    return !ret->err || fail(ret_error, path, as_err_text(ret->err));
}

/* --- Making --- */

static bool make_one(const struct certificate_spec *spec, const struct certificate_pem *authority,
                     struct certificate_pem *ret, char *ret_error)
{
    char why[CERTIFICATE_WHY_BYTES];

    return !certificate_make(spec, authority, ret, why) || fail(ret_error, spec->name, why);
}

/* The authority that is there, or a new one. */
static bool take_authority(const struct certs *certs, int64_t now, struct certificate_pem *ret,
                           char *ret_error)
{
    char path[4096], name[128];
    struct certificate_spec spec = {.name = name,
                                    .begins = now - BACK_S,
                                    .ends = now + (int64_t)AUTHORITY_DAYS * DAY_S,
                                    .authority = true};

    path_of(certs, "ca", false, path);
    if (access(path, F_OK) == 0) {
        as_buf_init(&ret->certificate, CERTIFICATE_BYTES_MAX);
        as_buf_init(&ret->key, CERTIFICATE_BYTES_MAX);
        if (!read_file(path, &ret->certificate, ret_error))
            return false;
        path_of(certs, "ca", true, path);
        return read_file(path, &ret->key, ret_error);
    }
    /* The day is part of its name, so that two authorities of one cluster can be told apart. */
    (void)text_format(name, sizeof(name), "Assent CA of %.60s, %lld", certs->cluster,
                      (long long)(now / DAY_S));
    return make_one(&spec, NULL, ret, ret_error) && write_pair(certs, "ca", ret, false, ret_error);
}

static bool check_absent(const struct certs *certs, char *ret_error)
{
    char path[4096];

    for (size_t i = 0; i < certs->count && !certs->renew; i++) {
        for (int key = 0; key < 2; key++) {
            path_of(certs, certs->list[i].name, key, path);
            if (access(path, F_OK) == 0)
                return fail(ret_error, path, "there is one already; --renew replaces it");
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(certs->list[i].name, certs->list[j].name) == 0)
                return fail(ret_error, certs->list[i].name, "named twice");
    }
    return true;
}

static bool make_leaf(const struct certs *certs, const struct cert *cert, int64_t now,
                      const struct certificate_pem *authority, char *ret_error)
{
    struct certificate_spec spec = {.name = cert->name,
                                    .principal = cert->principal,
                                    .hosts = cert->hosts,
                                    .host_count = cert->host_count,
                                    .begins = now - BACK_S,
                                    .ends = now + (int64_t)certs->days * DAY_S};
    struct certificate_pem pem;
    char subject[65];
    bool made;

    /* A subject's name has 64 bytes at most; it is for people. */
    (void)snprintf(subject, sizeof(subject), "%.64s", cert->name);
    spec.name = subject;
    made = make_one(&spec, authority, &pem, ret_error) &&
           write_pair(certs, cert->name, &pem, certs->renew, ret_error);
    certificate_close(&pem);
    return made;
}

bool certs_make(struct certs *certs, char ret_error[CERTS_ERROR_BYTES])
{
    struct certificate_pem authority;
    int64_t now = (int64_t)time(NULL);
    bool well;

    memset(&authority, 0, sizeof(authority));
    if (strlen(certs->dir) > 3500)
        return fail(ret_error, "DIR", "the path is too long");
    if (mkdir(certs->dir, 0700) && errno != EEXIST)
        return fail(ret_error, certs->dir, strerror(errno));
    well = check_absent(certs, ret_error) && take_authority(certs, now, &authority, ret_error);
    for (size_t i = 0; i < certs->count && well; i++)
        well = make_leaf(certs, &certs->list[i], now, &authority, ret_error);
    certificate_close(&authority);
    return well;
}
