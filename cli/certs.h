/*
 * A directory of keys and certificates for one cluster: DIR/ca.pem and ca-key.pem, and NAME.pem and NAME-key.pem for
 * each node, agent and client of the API.
 */
#ifndef ASSENT_CLI_CERTS_H
#define ASSENT_CLI_CERTS_H

#include "assent/principal.h"
#include "cli/cli.h"

#define CERTS_HOSTS_MAX 16
#define CERTS_NAME_MAX 200
#define CERTS_ERROR_BYTES 512

struct cert {
    char name[CERTS_NAME_MAX + 1]; /* of the files */
    char principal[AS_PRINCIPAL_LEN_MAX + 1];
    const char *hosts[CERTS_HOSTS_MAX]; /* by which clients of its API know it */
    size_t host_count;
};

struct certs {
    const char *dir;
    const char *cluster;
    uint64_t days;
    bool renew; /* replaces what is there */
    size_t count, cap;
    struct cert *list; /* owned */
};

/* What is added is checked; false: ret_error says what is wrong with it. */
bool certs_add_node(struct certs *certs, const char *id, size_t id_len, const char *hosts,
                    char ret_error[CERTS_ERROR_BYTES]);
bool certs_add_agent(struct certs *certs, const char *participants,
                     char ret_error[CERTS_ERROR_BYTES]);
/* A client of the API: "app", "viewer" or "operator". */
bool certs_add_client(struct certs *certs, const char *role, const char *name,
                      char ret_error[CERTS_ERROR_BYTES]);
/* Makes all of them, and the directory and its authority if they are not there. Nothing is overwritten, unless `renew`
 * says so; the authority never is. */
bool certs_make(struct certs *certs, char ret_error[CERTS_ERROR_BYTES]);
void certs_close(struct certs *certs);

#endif
