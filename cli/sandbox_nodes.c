/*
 * The coordinator nodes of a sandbox: started together, waited for, asked who leads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rest.h"
#include "cli/sandbox.h"

#define ASK_MS 1000

static bool answers(const struct node *node, const char *path)
{
    struct rest_reply reply;
    char error[256];
    bool well;

    if (!rest_call(node->api, path, NULL, ASK_MS, &reply, error))
        return false;
    well = reply.status == 200;
    rest_reply_close(&reply);
    return well;
}

/* It leads, or follows a leader. */
static bool is_ready(void *ctx)
{
    return answers(ctx, "/readyz");
}

static bool node_start(struct sandbox *sandbox, struct node *node, bool first,
                       const struct option_list *env)
{
    const struct sandbox_options *options = &sandbox->options;

    return sandbox_daemon_start(sandbox, &node->process,
                                options->node_program ? options->node_program : "assentd",
                                first ? "--bootstrap" : NULL, env ? env : &options->node_env);
}

static bool majority_runs(const struct sandbox *sandbox)
{
    size_t alive = 0;

    for (size_t i = 0; i < sandbox->node_count; i++)
        alive += sandbox->nodes[i].process.alive;
    return alive > sandbox->node_count / 2;
}

struct returning {
    const struct sandbox *sandbox;
    const struct node *node;
};

/* Looked at again each time: we may hear late that others died. */
static bool is_back(void *ctx)
{
    const struct returning *returning = ctx;

    return answers(returning->node, majority_runs(returning->sandbox) ? "/readyz" : "/healthz");
}

bool node_restart(struct sandbox *sandbox, struct node *node, const struct option_list *env)
{
    if (!node_start(sandbox, node, false, env))
        return false;
    return sandbox_wait_ready(sandbox, &node->process, is_back, &(struct returning){sandbox, node});
}

static bool start_all(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->node_count; i++)
        if (!node_start(sandbox, &sandbox->nodes[i], true, NULL))
            return false;
    for (size_t i = 0; i < sandbox->node_count; i++) {
        struct node *node = &sandbox->nodes[i];

        if (!sandbox_wait_ready(sandbox, &node->process, is_ready, node))
            return false;
    }
    return true;
}

bool nodes_start(struct sandbox *sandbox)
{
    /* Twice: somebody may have taken a port between our look and the bind. */
    for (int attempt = 0; attempt < 2; attempt++) {
        const struct process *failed;

        if (!sandbox_pick_ports(sandbox) || !sandbox_write_configs(sandbox))
            return false;
        if (start_all(sandbox))
            return true;
        failed = sandbox->failed;
        if (!failed || failed->alive || failed->exit_status != 1 || sandbox->loop->interrupted)
            return false;
        for (size_t i = 0; i < sandbox->node_count; i++)
            if (!process_kill_tree(sandbox->loop, &sandbox->nodes[i].process))
                return false;
        if (attempt == 0)
            sandbox_node_dirs_clear(sandbox);
    }
    return false;
}

bool nodes_see_participant(const struct sandbox *sandbox, const struct database *database)
{
    char path[64], error[256];

    (void)text_format(path, sizeof(path), "/v1/participants/%s", database->participant);
    for (size_t i = 0; i < sandbox->node_count; i++) {
        struct rest_reply reply;
        bool up;

        if (!sandbox->nodes[i].process.alive)
            continue;
        if (!rest_call(sandbox->nodes[i].api, path, NULL, ASK_MS, &reply, error))
            return false;
        up = reply.status == 200 && strcmp(json_text(reply.json, "state", ""), "up") == 0;
        rest_reply_close(&reply);
        if (!up)
            return false;
    }
    return true;
}

/* Its term if it says of itself that it leads, else 0. */
static double leads_in_term(const struct node *node)
{
    struct rest_reply reply;
    char error[256];
    double term = 0;

    if (!node->process.alive || !rest_call(node->api, "/v1/cluster", NULL, ASK_MS, &reply, error))
        return 0;
    if ((uint64_t)json_number(reply.json, "leader", 0) == node->id)
        term = json_number(reply.json, "term", 0);
    rest_reply_close(&reply);
    return term;
}

/* A leader that was cut off may believe in itself for a while: the highest term counts. */
int sandbox_leader(struct sandbox *sandbox)
{
    double highest = 0;
    int leader = -1;

    for (size_t i = 0; i < sandbox->node_count; i++) {
        double term = leads_in_term(&sandbox->nodes[i]);

        if (term > highest) {
            highest = term;
            leader = (int)i;
        }
    }
    return leader;
}
