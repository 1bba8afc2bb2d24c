/*
 * assent certs: keys and certificates for a cluster.
 */
#include <stdio.h>
#include <string.h>

#include "assent/attempt.h"
#include "cli/certs.h"
#include "cli/options.h"

enum { APP, VIEWER, OPERATOR, ROLES };

static bool add_clients(struct certs *certs, const struct option_list clients[ROLES],
                        char *ret_error)
{
    static const char *const roles[ROLES] = {"app", "viewer", "operator"};

    for (size_t role = 0; role < ROLES; role++)
        for (size_t i = 0; i < clients[role].count; i++)
            if (!certs_add_client(certs, roles[role], clients[role].items[i], ret_error))
                return false;
    return true;
}

static bool add_all(struct certs *certs, const struct option_list *nodes,
                    const struct option_list *agents, const struct option_list clients[ROLES],
                    char *ret_error)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const char *hosts = strchr(nodes->items[i], '=');
        size_t id_len = hosts ? (size_t)(hosts - nodes->items[i]) : strlen(nodes->items[i]);

        if (!certs_add_node(certs, nodes->items[i], id_len, hosts ? hosts + 1 : NULL, ret_error))
            return false;
    }
    for (size_t i = 0; i < agents->count; i++)
        if (!certs_add_agent(certs, agents->items[i], ret_error))
            return false;
    return add_clients(certs, clients, ret_error);
}

static int make(struct certs *certs)
{
    char error[CERTS_ERROR_BYTES];

    if (!certs_make(certs, error)) {
        complain("%s", error);
        return CLI_NEGATIVE;
    }
    printf("%s/ca.pem: the authority; all need it. ca-key.pem signs, and belongs nowhere else.\n",
           certs->dir);
    for (size_t i = 0; i < certs->count; i++)
        printf("%s/%s.pem and -key.pem: %s, for %llu days\n", certs->dir, certs->list[i].name,
               certs->list[i].principal, (unsigned long long)certs->days);
    return CLI_OK;
}

int cmd_certs(int argc, char **argv)
{
    struct option_list nodes = {0}, agents = {0}, clients[ROLES] = {{0}};
    struct certs certs = {.days = 365};
    const struct option table[] = {
        {OPTION_TEXT, "cluster", "NAME", "as in [node] cluster (required)", &certs.cluster, 0, 0},
        {OPTION_LIST, "node", "ID[=HOST,...]",
         "for that node; HOST: by which clients know its API, besides localhost", &nodes, 0, 0},
        {OPTION_LIST, "agent", "NAME[,NAME...]", "for the agent of these participants", &agents, 0,
         0},
        {OPTION_LIST, "operator", "NAME",
         "for a client of the API that may resolve and change the cluster", &clients[OPERATOR], 0,
         0},
        {OPTION_LIST, "viewer", "NAME", "for one that may read", &clients[VIEWER], 0, 0},
        {OPTION_LIST, "app", "NAME",
         "for one that runs transactions; its participants: a line in [api] tokens", &clients[APP],
         0, 0},
        {OPTION_NUMBER, "days", "N", "so long they are valid (365)", &certs.days, 1, 3650},
        {OPTION_FLAG, "renew", NULL, "replaces the certificates and keys that are named",
         &certs.renew, 0, 0}};
    const struct command command = {
        .name = "certs",
        .usage = "DIR",
        .about =
            "Makes keys and certificates in DIR: for each node, agent and client that is named,\n"
            "signed by the authority in DIR, which is made too if there is none. Nothing that is\n"
            "there is overwritten without --renew, and the authority never is. Only the owner can\n"
            "read the keys. After --renew: copy the files to where they are used, then send "
            "SIGHUP\n"
            "to the process; no connection and no transaction is lost. docs/security.md tells "
            "more.\n"
            "\n"
            "  assent certs tls --cluster demo --node 1=db1.example --agent bank_a --operator me",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    char error[CERTS_ERROR_BYTES];
    int exit_code;

    if (!options_parse(&command, argc, argv, &certs.dir, NULL, &exit_code))
        return exit_code;
    exit_code = CLI_USAGE;
    if (!certs.cluster || !as_cluster_valid(certs.cluster, strlen(certs.cluster)))
        complain("certs: --cluster is required: 1 to 32 of a-z, 0-9 and -");
    else if (nodes.count + agents.count + clients[APP].count + clients[VIEWER].count +
                 clients[OPERATOR].count ==
             0)
        complain("certs: name a --node, an --agent or a client (see `assent certs --help`)");
    else if (!add_all(&certs, &nodes, &agents, clients, error))
        complain("certs: %s", error);
    else
        exit_code = make(&certs);
    certs_close(&certs);
    return exit_code;
}
