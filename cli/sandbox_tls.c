/*
 * The certificates of a sandbox with --tls: DIR/etc/tls has a working set, as `assent certs` makes it.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/certs.h"
#include "cli/rest.h"
#include "cli/sandbox.h"

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
    return certs_add_client(certs, "operator", "sandbox", ret_error);
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

bool sandbox_tls_make(struct sandbox *sandbox)
{
    char dir[256], path[320];

    if (!sandbox->options.tls)
        return true;
    (void)text_format(dir, sizeof(dir), "%s/etc/tls", sandbox->dir);
    (void)text_format(path, sizeof(path), "%s/ca.pem", dir);
    return make(sandbox, NULL, dir) && setenv(REST_CA, path, 1) == 0;
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
