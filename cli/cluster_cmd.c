/*
 * assent cluster: the nodes of a cluster, and changes of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/rest.h"
#include "cli/table.h"

#define CALL_MS 30000

/* Carries it out and prints the answer; `said` for people, NULL: as it came. */
static int change(const struct rest_request *request, bool as_json, const char *said)
{
    struct rest_reply reply = {0};
    int exit_code = rest_command(request, &reply);

    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        puts(said);
    rest_reply_close(&reply);
    return exit_code;
}

/* --- status --- */

/* A number of the node's, or "-" where this answer does not tell it. */
static void cell_number(struct table *table, const cJSON *node, const char *key)
{
    if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(node, key)))
        table_number(table, json_number(node, key, 0));
    else
        table_cell(table, NULL);
}

static void print_status(const cJSON *answer)
{
    static const char *const titles[] = {"NODE", "ADDRESS", "ROLE",        "MEMBER",
                                         "LINK", "MATCH",   "HEARD MS AGO"};
    double leader = json_number(answer, "leader", 0);
    const cJSON *node;
    struct table table;

    printf("cluster %s  incarnation %s  term %.0f  ", json_text(answer, "cluster", "?"),
           json_text(answer, "incarnation", "?"), json_number(answer, "term", 0));
    if (leader > 0)
        printf("leader %.0f\n\n", leader);
    else
        printf("no leader\n\n");
    table_init(&table, AS_COUNT_OF(titles));
    for (size_t i = 0; i < AS_COUNT_OF(titles); i++)
        table_cell(&table, titles[i]);
    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(answer, "nodes"))
    {
        const cJSON *voter = cJSON_GetObjectItemCaseSensitive(node, "voter");
        const cJSON *linked = cJSON_GetObjectItemCaseSensitive(node, "linked");

        table_number(&table, json_number(node, "id", 0));
        table_cell(&table, json_text(node, "address", NULL));
        table_cell(&table, json_text(node, "role", NULL));
        table_cell(&table, !voter ? NULL : cJSON_IsTrue(voter) ? "voter" : "learner");
        table_cell(&table, !linked ? NULL : cJSON_IsTrue(linked) ? "up" : "down");
        cell_number(&table, node, "match_index");
        cell_number(&table, node, "heard_ms_ago");
    }
    table_print(&table);
}

/* Every node tells what it sees; only the leader sees how far the others are. Of several, the one
 * that leads, else the last that answers. */
static int status_read(const char *apis, struct rest_reply *ret_reply)
{
    struct rest_request request = {.path = "/v1/cluster", .timeout_ms = CALL_MS};
    int exit_code = CLI_UNREACHABLE;
    char api[512], error[256] = "no address was given";

    request.api = api;
    while (rest_api_next(&apis, api, sizeof(api))) {
        struct rest_reply reply;

        if (!rest_send(&request, &reply, error))
            continue;
        rest_reply_close(ret_reply);
        *ret_reply = reply;
        exit_code = CLI_OK;
        if (strcmp(json_text(reply.json, "role", ""), "leader") == 0)
            break;
    }
    if (exit_code != CLI_OK)
        complain("%s", error);
    else
        exit_code = rest_verdict(ret_reply);
    return exit_code;
}

int cmd_cluster_status(int argc, char **argv)
{
    const char *api = NULL;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL,...", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "cluster status",
        .about =
            "Shows the nodes of a cluster, who leads, and how far the others are. Exit code 1\n"
            "if nobody leads.",
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    struct rest_reply reply = {0};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    exit_code = status_read(options_api(api), &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        print_status(reply.json);
    if (exit_code == CLI_OK && json_number(reply.json, "leader", 0) <= 0)
        exit_code = CLI_NEGATIVE;
    rest_reply_close(&reply);
    return exit_code;
}

/* --- changes --- */

/* A node's id as a person types it; 0: it is none (complained about). */
static uint64_t id_read(const char *command, const char *text)
{
    char *end;
    unsigned long long id = text[0] >= '1' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;

    if (id && id <= UINT32_MAX && !*end)
        return id;
    complain("%s: %s is not a node's id, a number from 1 on", command, text);
    return 0;
}

int cmd_cluster_add(int argc, char **argv)
{
    const char *api = NULL, *words[2];
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL,...", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "cluster add",
        .usage = "ID ADDRESS",
        .about =
            "Adds a node that runs with --join, under an id that no node has ever had. ADDRESS\n"
            "is how the other nodes reach its [agents] listener, host:port. It learns the log\n"
            "first and votes once it has caught up: see `assent cluster status`.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 2,
        .words_max = 2};
    struct rest_request request = {.path = "/v1/cluster/nodes", .timeout_ms = CALL_MS};
    cJSON *body;
    char *text;
    uint64_t id;
    int exit_code;

    if (!options_parse(&command, argc, argv, words, NULL, &exit_code))
        return exit_code;
    id = id_read(command.name, words[0]);
    if (!id)
        return CLI_USAGE;
    body = cJSON_CreateObject();
    cJSON_AddNumberToObject(body, "id", (double)id);
    cJSON_AddStringToObject(body, "address", words[1]);
    text = cJSON_PrintUnformatted(body);
    request.api = options_api(api);
    request.body = text;
    exit_code = change(&request, as_json, "it is added, and learns the log");
    free(text);
    cJSON_Delete(body);
    return exit_code;
}

int cmd_cluster_remove(int argc, char **argv)
{
    const char *api = NULL, *word;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL,...", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "cluster remove",
        .usage = "ID",
        .about = "Removes a node for good; its id may not be used again. Stop it afterwards, and\n"
                 "take its address out of the agents' and the other nodes' files.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    struct rest_request request = {.method = "DELETE", .timeout_ms = CALL_MS};
    char path[64];
    uint64_t id;
    int exit_code;

    if (!options_parse(&command, argc, argv, &word, NULL, &exit_code))
        return exit_code;
    id = id_read(command.name, word);
    if (!id)
        return CLI_USAGE;
    (void)text_format(path, sizeof(path), "/v1/cluster/nodes/%llu", (unsigned long long)id);
    request.api = options_api(api);
    request.path = path;
    return change(&request, as_json, "it is removed");
}

int cmd_cluster_transfer(int argc, char **argv)
{
    const char *api = NULL, *word = NULL;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL,...", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "cluster transfer",
        .usage = "[ID]",
        .about = "Hands leadership to that node, or to the one that is furthest; do so before you\n"
                 "stop a leader, and nobody waits for an election.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_max = 1};
    struct rest_request request = {
        .path = "/v1/cluster/transfer", .timeout_ms = CALL_MS, .once = true};
    char body[64] = "{}";
    size_t count;
    uint64_t id;
    int exit_code;

    if (!options_parse(&command, argc, argv, &word, &count, &exit_code))
        return exit_code;
    if (count) {
        id = id_read(command.name, word);
        if (!id)
            return CLI_USAGE;
        (void)text_format(body, sizeof(body), "{\"to\":%llu}", (unsigned long long)id);
    }
    request.api = options_api(api);
    request.body = body;
    return change(&request, as_json, "it is being handed over");
}
