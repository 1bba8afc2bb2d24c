/*
 * One more coordinator node for a running sandbox: started with --join, added to the cluster, waited
 * for until it votes.
 *
 * Fault model: what fails before the cluster has taken the node in leaves the sandbox as it was.
 * Afterwards, and when the cluster's answer was lost, the node runs on, and whether it votes is looked
 * at; `assent cluster status` tells the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rest.h"
#include "cli/sandbox.h"

#define ASK_MS 10000

static bool answers(void *ctx)
{
    const struct node *node = ctx;
    struct rest_reply reply;
    char error[256];
    bool well = rest_call(node->api, "/healthz", NULL, ASK_MS, &reply, error);

    if (well)
        rest_reply_close(&reply);
    return well;
}

/* It says so itself, and follows a leader. */
static bool votes(void *ctx)
{
    const struct node *node = ctx;
    struct rest_reply reply;
    const cJSON *one;
    char error[256];
    bool voter = false;

    if (!rest_call(node->api, "/v1/cluster", NULL, ASK_MS, &reply, error))
        return false;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(reply.json, "nodes"))
    {
        if ((uint64_t)json_number(one, "id", 0) == node->id)
            voter = json_true(one, "voter");
    }
    voter = voter && json_number(reply.json, "leader", 0) > 0;
    rest_reply_close(&reply);
    return voter;
}

/* True also when nobody can tell: the question may have come to one node and its answer got lost, and
 * the next one says that the node is a member. */
static bool ask_cluster(struct sandbox *sandbox, const struct node *node)
{
    struct rest_reply reply;
    char body[128], error[256];
    bool added;

    (void)text_format(body, sizeof(body), "{\"id\":%llu,\"address\":\"127.0.0.1:%u\"}",
                      (unsigned long long)node->id, node->agents_port);
    if (!rest_call(sandbox->api, "/v1/cluster/nodes", body, ASK_MS, &reply, error))
        return true;
    added = reply.status == 202 || strcmp(json_text(reply.json, "code", ""), "is_member") == 0 ||
            strcmp(json_text(reply.json, "code", ""), "outcome_unknown") == 0;
    if (!added)
        (void)sandbox_fail(sandbox, "the cluster does not add %s: %.200s", node->process.name,
                           json_text(reply.json, "detail", "no leader answers"));
    rest_reply_close(&reply);
    return added;
}

/* It is there: among the nodes from now on, and stopped with the sandbox. */
static bool take_in(struct sandbox *sandbox, struct node *node)
{
    size_t len = strlen(sandbox->api);

    sandbox->node_count++;
    (void)text_format(sandbox->api + len, sizeof(sandbox->api) - len, ",%s", node->api);
    return sandbox_wait_ready(sandbox, &node->process, votes, node) &&
           sandbox_write_configs(sandbox);
}

static bool join(struct sandbox *sandbox, struct node *node)
{
    return sandbox_tls_node(sandbox, node) && sandbox_node_make(sandbox, node) &&
           sandbox_daemon_start(sandbox, &node->process,
                                sandbox->options.node_program ? sandbox->options.node_program
                                                              : "assentd",
                                "--join", &sandbox->options.node_env) &&
           sandbox_wait_ready(sandbox, &node->process, answers, node) && ask_cluster(sandbox, node);
}

struct node *sandbox_node_add(struct sandbox *sandbox, char ret_error[512])
{
    struct node *node = &sandbox->nodes[sandbox->node_count];

    if (sandbox->options.databases_only || sandbox->node_count == SANDBOX_NODES_MAX) {
        (void)snprintf(ret_error, 512, "%s",
                       sandbox->options.databases_only
                           ? "this sandbox has no coordinator"
                           : "the sandbox has as many nodes as a cluster may have");
        return NULL;
    }
    sandbox->failed = NULL;
    sandbox->error[0] = 0;
    *node = (struct node){.id = sandbox->node_count + 1};
    if (!join(sandbox, node)) {
        (void)process_kill_tree(sandbox->loop, &node->process);
        sandbox_node_unmake(node);
    } else if (take_in(sandbox, node)) {
        sandbox_json_save(sandbox);
        return node;
    }
    (void)snprintf(ret_error, 512, "%s", sandbox->error);
    return NULL;
}
