/*
 * The certificates and tokens of a sandbox with --tls: DIR/etc/tls has a working set, as `assent certs` makes it;
 * DIR/etc/tokens says who may do what, and DIR/etc/ROLE.token is one that may.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/certs.h"
#include "cli/rest.h"
#include "cli/sandbox.h"
#include "common/uv/token.h"

#define DAYS 30

static bool add_node(struct certs *certs, uint64_t id, char *ret_error)
{
    char text[24];

    (void)text_format(text, sizeof(text), "%llu", (unsigned long long)id);
    return certs_add_node(certs, text, strlen(text), NULL, ret_error);
}

static bool add_all(struct sandbox *sandbox, struct certs *certs, char *ret_error)
{
    for (size_t i = 0; i < sandbox->node_count; i++)
        if (!add_node(certs, i + 1, ret_error))
            return false;
    for (size_t i = 0; i < sandbox->count; i++)
        if (!certs_add_agent(certs, sandbox->databases[i].participant, ret_error))
            return false;
    return certs_add_client(certs, "operator", "sandbox", ret_error) &&
           certs_add_client(certs, "viewer", "sandbox", ret_error) &&
           certs_add_client(certs, "app", "sandbox", ret_error);
}

/* `node` NULL: all that there are. */
static bool make(struct sandbox *sandbox, const struct node *node, const char *dir)
{
    struct certs certs = {
        .dir = dir, .cluster = SANDBOX_CLUSTER, .days = DAYS, .renew = node != NULL};
    char error[CERTS_ERROR_BYTES];
    bool made = (node ? add_node(&certs, node->id, error) : add_all(sandbox, &certs, error)) &&
                certs_make(&certs, error);

    certs_close(&certs);
    return made ? true : sandbox_fail(sandbox, "%s", error);
}

bool sandbox_tls_node(struct sandbox *sandbox, const struct node *node)
{
    char dir[256];

    (void)text_format(dir, sizeof(dir), "%s/etc/tls", sandbox->dir);
    return !sandbox->options.tls || make(sandbox, node, dir);
}

/* --- Tokens --- */

static const struct {
    const char *name, *roles;
    bool app;
} clients[] = {
    {"app", "app", true},
    {"viewer", "viewer", false},
    {"operator", "operator", false},
    {"all", "app,viewer,operator", true}, /* the sandbox's own */
};

/* For its user alone, as a token is to be kept. */
static bool token_write(struct sandbox *sandbox, const char *name, const char *token)
{
    char path[256];
    FILE *file;
    int fd;

    (void)text_format(path, sizeof(path), "%s/etc/%s.token", sandbox->dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file || fprintf(file, "%s\n", token) < 0 || fclose(file))
        return sandbox_fail(sandbox, "cannot write %s", path);
    return true;
}

/* All participants, for an app. */
static void participants_put(const struct sandbox *sandbox, struct as_buf *line)
{
    for (size_t i = 0; i < sandbox->count; i++) {
        const char *name = sandbox->databases[i].participant;

        as_put_bytes(line, i ? "," : " participants=", i ? 1 : strlen(" participants="));
        as_put_bytes(line, name, strlen(name));
    }
}

static bool line_put(struct sandbox *sandbox, struct as_buf *file, size_t i)
{
    char token[TOKEN_LEN + 1], text[160];
    uint8_t hash[AS_HASH_LEN];
    int len = snprintf(text, sizeof(text), "%s role=%s", clients[i].name, clients[i].roles);

    if (!token_make(token) || !token_hash(token, hash))
        return sandbox_fail(sandbox, "the system gives no random bytes");
    as_put_bytes(file, text, (size_t)len);
    if (clients[i].app)
        participants_put(sandbox, file);
    as_put_bytes(file, " sha256=", strlen(" sha256="));
    for (size_t h = 0; h < AS_HASH_LEN; h++) {
        (void)snprintf(text, sizeof(text), "%02x", hash[h]);
        as_put_bytes(file, text, 2);
    }
    as_put_u8(file, '\n');
    return token_write(sandbox, clients[i].name, token);
}

static bool tokens_make(struct sandbox *sandbox)
{
    char path[256];
    struct as_buf file;
    bool made = true;

    as_buf_init(&file, TOKEN_FILE_BYTES_MAX);
    for (size_t i = 0; i < AS_COUNT_OF(clients) && made; i++)
        made = line_put(sandbox, &file, i);
    as_put_bytes(&file, "sandbox role=app", strlen("sandbox role=app"));
    participants_put(sandbox, &file);
    as_put_bytes(&file, " certificate\n", sizeof(" certificate\n")); /* and the NUL */
    (void)text_format(path, sizeof(path), "%s/etc/tokens", sandbox->dir);
    made = made && sandbox_write_file(sandbox, path, (const char *)file.data);
    as_buf_close(&file);
    (void)text_format(path, sizeof(path), "%s/etc/all.token", sandbox->dir);
    return made && rest_token_file(path);
}

void sandbox_tls_json(const struct sandbox *sandbox, cJSON *json)
{
    cJSON *tokens;
    char path[256];

    if (!sandbox->options.tls)
        return;
    (void)text_format(path, sizeof(path), "%s/etc/tls", sandbox->dir);
    cJSON_AddStringToObject(json, "tls", path);
    tokens = cJSON_AddObjectToObject(json, "tokens");
    (void)text_format(path, sizeof(path), "%s/etc/tokens", sandbox->dir);
    cJSON_AddStringToObject(tokens, "file", path);
    for (size_t i = 0; i < AS_COUNT_OF(clients); i++) {
        (void)text_format(path, sizeof(path), "%s/etc/%s.token", sandbox->dir, clients[i].name);
        cJSON_AddStringToObject(tokens, clients[i].name, path);
    }
}

/* --- All of it --- */

bool sandbox_tls_make(struct sandbox *sandbox)
{
    char dir[256], path[320];

    if (!sandbox->options.tls)
        return true;
    (void)text_format(dir, sizeof(dir), "%s/etc/tls", sandbox->dir);
    (void)text_format(path, sizeof(path), "%s/ca.pem", dir);
    return make(sandbox, NULL, dir) && setenv(REST_CA, path, 1) == 0 && tokens_make(sandbox);
}

void sandbox_tls_section(const struct sandbox *sandbox, const char *name, char *ret_text,
                         size_t size)
{
    const char *dir = sandbox->dir;

    ret_text[0] = 0;
    if (sandbox->options.tls)
        (void)text_format(ret_text, size,
                          "[tls]\nca=%s/etc/tls/ca.pem\ncertificate=%s/etc/tls/%s.pem\n"
                          "key=%s/etc/tls/%s-key.pem\n",
                          dir, dir, name, dir, name);
}
