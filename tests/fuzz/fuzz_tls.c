/*
 * What comes from the wire into a TLS session. The first byte says how the rest is meant:
 *
 *   bit 0    the bytes as they are, to a session that has said nothing yet (and a client's that has)
 *   else     two sessions talk; each three bytes damage one byte of what the server (bit 1: the client) hears
 *   bits 2.. how many bytes are delivered at a time; 0: all
 *
 * Nothing is heard from a peer that has not proven who it is, and nothing but what it said, in that order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/uv/certificate.h"
#include "common/uv/tls.h"
#include "tests/fuzz/fuzz.h"

#define NAME "assent://fuzz/node/1"
#define ROUNDS_MAX 200000 /* far beyond what two sessions can say */

static const char words[] = "what the one says and the other must hear";
static struct tls_credentials *credentials;

static void write_file(const char *path, const struct as_buf *text)
{
    FILE *file = fopen(path, "we");

    AS_ASSERT(file && fwrite(text->data, 1, text->len, file) == text->len && fclose(file) == 0);
}

/* Keys are drawn anew in each process: no input can depend on them. */
static void prepare(void)
{
    char dir[] = "/tmp/assent-fuzz-XXXXXX", paths[3][64], why[TLS_WHY_BYTES];
    const char *const names[3] = {"ca", "certificate", "key"};
    const struct tls_files files = {paths[0], paths[1], paths[2]};
    int64_t now = (int64_t)time(NULL);
    struct certificate_spec spec = {
        .name = "ca", .begins = now - 60, .ends = now + 86400, .authority = true};
    struct certificate_pem ca, leaf;

    AS_ASSERT(mkdtemp(dir));
    for (int i = 0; i < 3; i++)
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, names[i]);
    (void)umask(077);
    AS_ASSERT(!certificate_make(&spec, NULL, &ca, why));
    spec.authority = false;
    spec.principal = NAME;
    AS_ASSERT(!certificate_make(&spec, &ca, &leaf, why));
    write_file(paths[0], &ca.certificate);
    write_file(paths[1], &leaf.certificate);
    write_file(paths[2], &leaf.key);
    AS_ASSERT(!tls_credentials_read(&credentials, &files, why));
    for (int i = 0; i < 3; i++)
        (void)unlink(paths[i]);
    (void)rmdir(dir);
    certificate_close(&ca);
    certificate_close(&leaf);
}

/* --- One end --- */

struct end {
    struct tls *tls;
    struct as_buf heard;
    bool failed, spoke;
};

static void end_open(struct end *end, enum tls_end which)
{
    *end = (struct end){.tls = NULL};
    AS_ASSERT(!tls_new(&end->tls, credentials, which, NULL));
    as_buf_init(&end->heard, 1u << 20);
    if (which == TLS_CLIENT)
        AS_ASSERT(!tls_begin(end->tls));
}

static void end_close(struct end *end)
{
    tls_free(end->tls);
    as_buf_close(&end->heard);
}

static void hear(struct end *end, const uint8_t *data, size_t len)
{
    as_err err = tls_receive(end->tls, (struct as_bytes){data, len}, &end->heard);
    const struct as_principal *principal = tls_principal(end->tls);

    AS_ASSERT(!end->failed || err == AS_ERR_CLOSED);
    end->failed |= err != AS_OK;
    AS_ASSERT(!err || err == AS_ERR_CLOSED || tls_why(end->tls)[0]);
    AS_ASSERT(end->heard.len == 0 || tls_shaken(end->tls));
    if (tls_shaken(end->tls))
        AS_ASSERT(principal && strcmp(principal->text, NAME) == 0);
    AS_ASSERT(end->heard.len <= sizeof(words) &&
              (!end->heard.len || memcmp(end->heard.data, words, end->heard.len) == 0));
}

/* --- As they are --- */

static void raw(enum tls_end which, const uint8_t *data, size_t size, size_t step)
{
    struct end end;

    end_open(&end, which);
    for (size_t at = 0; at < size; at += step)
        hear(&end, data + at, size - at < step ? size - at : step);
    AS_ASSERT(!tls_shaken(end.tls));
    AS_ASSERT(tls_stream_end(end.tls) != AS_OK);
    end_close(&end);
}

/* --- Damaged --- */

struct damage {
    const uint8_t *data; /* offset (two bytes), what is flipped (one) */
    size_t size;
    uint64_t passed;
};

static void spoil(struct damage *damage, uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at + 3 <= damage->size; at += 3) {
        uint64_t offset = (uint64_t)damage->data[at] | (uint64_t)damage->data[at + 1] << 8;

        if (offset >= damage->passed && offset < damage->passed + len)
            bytes[offset - damage->passed] ^= damage->data[at + 2];
    }
    damage->passed += len;
}

static bool carry(struct end *from, struct end *to, struct damage *damage, size_t step)
{
    struct as_buf *out = tls_out(from->tls);
    size_t len = out->len < step ? out->len : step;

    if (tls_open(from->tls) && !from->spoke) {
        from->spoke = true;
        AS_ASSERT(!tls_send(from->tls, (struct as_bytes){(const uint8_t *)words, sizeof(words)}));
        tls_bye(from->tls);
        len = out->len < step ? out->len : step;
    }
    if (len == 0)
        return false;
    if (damage)
        spoil(damage, out->data, len);
    hear(to, out->data, len);
    as_buf_consume(out, len);
    return true;
}

static void talk(struct damage *damage, bool at_client, size_t step)
{
    struct end server, client;
    bool moved = true;

    end_open(&server, TLS_SERVER);
    end_open(&client, TLS_CLIENT);
    for (int round = 0; moved; round++) {
        AS_ASSERT(round < ROUNDS_MAX);
        moved = carry(&client, &server, at_client ? NULL : damage, step);
        moved |= carry(&server, &client, at_client ? damage : NULL, step);
    }
    /* The client is done first, and who hears the other's end says nothing more. */
    if (damage->size < 3)
        AS_ASSERT(server.heard.len == sizeof(words));
    end_close(&server);
    end_close(&client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct damage damage;
    size_t step;

    if (!credentials)
        prepare();
    if (size == 0 || size > 8192)
        return 0;
    step = data[0] >> 2 ? data[0] >> 2 : SIZE_MAX;
    damage = (struct damage){data + 1, size - 1, 0};
    if (data[0] & 1) {
        raw(TLS_SERVER, data + 1, size - 1, step);
        raw(TLS_CLIENT, data + 1, size - 1, step);
    } else {
        talk(&damage, data[0] & 2, step);
    }
    return 0;
}
