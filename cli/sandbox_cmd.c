/*
 * assent sandbox, and sandbox kill | restart | status | stop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bank.h"
#include "cli/rest.h"
#include "cli/sandbox.h"

static const char exits[] = "  0  done (sandbox: it ran, and was stopped)\n"
                            "  1  it failed; stderr says why\n"
                            "  2  wrong command line\n"
                            "  3  no sandbox answers in that directory\n";

static void print_ready(const struct sandbox *sandbox)
{
    char identity[320] = "";

    printf("\n");
    for (size_t i = 0; i < sandbox->node_count; i++)
        printf("Coordinator:  %s\n", sandbox->nodes[i].api);
    printf("Directory:    %s\n", sandbox->dir);
    for (size_t i = 0; i < sandbox->count; i++) {
        if (sandbox->options.null)
            printf("Participant:  %s (no database behind it)\n", sandbox->databases[i].participant);
        else
            printf("Participant:  %s   psql '%s'\n", sandbox->databases[i].participant,
                   sandbox->databases[i].dsn);
    }
    if (sandbox->options.tls)
        (void)text_format(
            identity, sizeof(identity),
            "--cacert %s/etc/tls/ca.pem -H \"Authorization: Bearer $(cat %s/etc/app.token)\" ",
            sandbox->dir, sandbox->dir);
    if (sandbox->count > 1)
        printf("\nMove 100 from account 1 of bank_a to account 2 of bank_b:\n\n"
               "curl -sS %s%s/v1/transactions -H 'Content-Type: application/json' -d "
               "'{\"branches\":["
               "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance "
               "= balance - $1 WHERE id = $2\",\"params\":[100,1],\"expect_rows\":1}]},"
               "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance "
               "= balance + $1 WHERE id = $2 RETURNING balance\",\"params\":[100,2],"
               "\"expect_rows\":1}]}]}'\n",
               identity, sandbox->nodes[0].api);
    if (sandbox->options.tls)
        printf("\nFor `assent`:  export " REST_CA "=%s/etc/tls/ca.pem " REST_TOKEN
               "=$(cat %s/etc/all.token)\n",
               sandbox->dir, sandbox->dir);
    printf("\nCtrl-C stops everything%s.\n",
           sandbox->dir_is_ours ? " and removes the directory" : "");
    (void)fflush(stdout);
}

int cmd_sandbox(int argc, char **argv)
{
    static struct sandbox sandbox;
    struct sandbox_options options = {.databases = 2, .accounts = 1000};
    bool as_json = false;
    const struct option table[] = {
        {OPTION_NUMBER, "databases", "N", "how many databases: bank_a, bank_b ... (2)",
         &options.databases, 1, SANDBOX_DATABASES_MAX},
        {OPTION_NUMBER, "nodes", "N", "how many coordinator nodes: node-1, node-2 ... (1)",
         &options.nodes, 1, SANDBOX_NODES_MAX},
        {OPTION_TEXT, "dir", "DIR", "an empty or new directory (a temporary one)", &options.dir, 0,
         0},
        {OPTION_FLAG, "keep", NULL, "do not remove the temporary directory", &options.keep, 0, 0},
        {OPTION_NUMBER, "accounts", "N", "accounts in each database (1000)", &options.accounts, 1,
         10000000},
        {OPTION_NUMBER, "balance", "N", "balance of each account (1000)", &options.balance, 1,
         1000000000000},
        {OPTION_NUMBER, "prepared-max", "N", "max_prepared_transactions of each server (200)",
         &options.prepared_max, 1, 10000},
        {OPTION_TEXT, "incarnation", "HEX", "of the cluster: 16 digits (drawn at random)",
         &options.incarnation, 0, 0},
        {OPTION_LIST, "set", "SECTION.KEY=VALUE", "a setting of every node; may be repeated",
         &options.settings, 0, 0},
        {OPTION_TEXT, "wrap", "COMMAND", "runs nodes and agents under COMMAND: valgrind ...",
         &options.wrap, 0, 0},
        {OPTION_FLAG, "no-agents", NULL, "each node serves the databases itself",
         &options.no_agents, 0, 0},
        {OPTION_FLAG, "tls", NULL,
         "with TLS and roles: certificates in DIR/etc/tls, tokens in DIR/etc", &options.tls, 0, 0},
        {OPTION_FLAG, "null", NULL, "no databases: agents that answer at once", &options.null, 0,
         0},
        {OPTION_FLAG, "json", NULL, "one line of JSON on stdout when all is ready", &as_json, 0,
         0}};
    const struct command command = {
        .name = "sandbox",
        .about =
            "Starts private PostgreSQL servers, an agent for each and one coordinator node or\n"
            "several, all on this machine, and runs until Ctrl-C or `assent sandbox stop`. Nothing "
            "of it\n"
            "outlives this process.",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    struct loop loop;
    struct control *control;
    cJSON *json;
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!loop_open(&loop) || !sandbox_start(&sandbox, &loop, &options))
        return CLI_NEGATIVE;
    control = control_open(&sandbox);
    json = sandbox_json(&sandbox);
    sandbox_json_save(&sandbox);
    if (as_json)
        json_print(json);
    else
        print_ready(&sandbox);
    cJSON_Delete(json);
    while (control_serve(control))
        ;
    sandbox_stop(&sandbox);
    control_close(control);
    loop_close(&loop);
    return CLI_OK;
}

static int print_outcome(cJSON *reply)
{
    int exit_code = CLI_UNREACHABLE;

    if (reply) {
        exit_code = json_true(reply, "ok") ? CLI_OK : CLI_NEGATIVE;
        if (exit_code != CLI_OK)
            complain("%s", json_text(reply, "error", "it failed"));
    }
    cJSON_Delete(reply);
    return exit_code;
}

int cmd_sandbox_kill(int argc, char **argv)
{
    const char *dir = NULL, *name;
    const struct option table[] = {
        {OPTION_TEXT, "dir", "DIR", "the sandbox's directory (required)", &dir, 0, 0}};
    const struct command command = {
        .name = "sandbox kill",
        .usage = "NAME",
        .about = "Kills one process of a running sandbox with SIGKILL; of a database the server\n"
                 "and all its backends. Names: node-1, agent-bank_a, database-bank_a ...",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    int exit_code;

    if (!options_parse(&command, argc, argv, &name, NULL, &exit_code))
        return exit_code;
    if (!dir) {
        complain("sandbox kill: --dir is required");
        return CLI_USAGE;
    }
    return print_outcome(control_ask(dir, "kill", name, NULL));
}

int cmd_sandbox_restart(int argc, char **argv)
{
    const char *dir = NULL, *name;
    struct option_list env = {0};
    const struct option table[] = {
        {OPTION_TEXT, "dir", "DIR", "the sandbox's directory (required)", &dir, 0, 0},
        {OPTION_LIST, "env", "K=V", "for the new process; may be given again", &env, 0, 0}};
    const struct command command = {
        .name = "sandbox restart",
        .usage = "NAME",
        .about = "Kills one process of a running sandbox if it runs (SIGKILL), starts it again\n"
                 "with the same config and waits until it is ready. Names: node-1,\n"
                 "agent-bank_a, database-bank_a ...",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    int exit_code;

    if (!options_parse(&command, argc, argv, &name, NULL, &exit_code))
        return exit_code;
    for (size_t i = 0; i < env.count; i++) {
        if (!strchr(env.items[i], '=')) {
            complain("sandbox restart: --env needs K=V, not %s", env.items[i]);
            return CLI_USAGE;
        }
    }
    if (!dir) {
        complain("sandbox restart: --dir is required");
        return CLI_USAGE;
    }
    return print_outcome(control_ask(dir, "restart", name, &env));
}

int cmd_sandbox_add_node(int argc, char **argv)
{
    const char *dir = NULL;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "dir", "DIR", "the sandbox's directory (required)", &dir, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the node as JSON", &as_json, 0, 0}};
    const struct command command = {
        .name = "sandbox add-node",
        .about =
            "Starts one more coordinator node of a running sandbox and has the cluster take it\n"
            "in, under the next id; waits until it votes. The same by hand: `assentd --join` and\n"
            "`assent cluster add`.",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    const cJSON *node;
    cJSON *reply;
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!dir) {
        complain("sandbox add-node: --dir is required");
        return CLI_USAGE;
    }
    reply = control_ask(dir, "add-node", NULL, NULL);
    node = cJSON_GetObjectItemCaseSensitive(reply, "node");
    if (node && as_json)
        json_print(node);
    else if (node)
        printf("%s  %s\n", json_text(node, "name", "?"), json_text(node, "api", "?"));
    return print_outcome(reply);
}

int cmd_sandbox_stop(int argc, char **argv)
{
    const char *dir = NULL;
    const struct option table[] = {
        {OPTION_TEXT, "dir", "DIR", "the sandbox's directory (required)", &dir, 0, 0}};
    const struct command command = {
        .name = "sandbox stop",
        .about = "Stops a running sandbox and waits until all of it is gone.",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!dir) {
        complain("sandbox stop: --dir is required");
        return CLI_USAGE;
    }
    return print_outcome(control_ask(dir, "stop", NULL, NULL));
}

int cmd_sandbox_status(int argc, char **argv)
{
    const char *dir = NULL;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "dir", "DIR", "the sandbox's directory (required)", &dir, 0, 0},
        {OPTION_FLAG, "json", NULL, "print JSON", &as_json, 0, 0}};
    const struct command command = {.name = "sandbox status",
                                    .about = "What of a running sandbox runs.",
                                    .exits = exits,
                                    .options = table,
                                    .option_count = AS_COUNT_OF(table)};
    const cJSON *one, *list = NULL;
    cJSON *reply;
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!dir) {
        complain("sandbox status: --dir is required");
        return CLI_USAGE;
    }
    reply = control_ask(dir, "status", NULL, NULL);
    if (reply && as_json)
        json_print(reply);
    else
        list = cJSON_GetObjectItemCaseSensitive(reply, "processes");
    cJSON_ArrayForEach(one, list)
    {
        printf("%-18s %8.0f  %s\n", json_text(one, "name", "?"), json_number(one, "pid", 0),
               json_text(one, "state", "?"));
    }
    return print_outcome(reply);
}
