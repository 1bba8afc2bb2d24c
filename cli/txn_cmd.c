/*
 * assent txn: transactions, by the API of a coordinator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/rest.h"
#include "cli/table.h"

#define BODY_BYTES_MAX ((size_t)64 << 20)
#define CALL_MS 90000
#define RUN_MS 7200000 /* twice the longest timeout */

static const char api_help[] = OPTIONS_API_HELP;

/* GET or POST; see rest_command. */
static int call(const char *api, const char *path, const char *body, long timeout_ms,
                struct rest_reply *ret_reply)
{
    const struct rest_request request = {
        .api = options_api(api), .path = path, .body = body, .timeout_ms = timeout_ms};

    return rest_command(&request, ret_reply);
}

static void print_results(const cJSON *branch)
{
    const cJSON *result, *row, *value;

    cJSON_ArrayForEach(result, cJSON_GetObjectItemCaseSensitive(branch, "results"))
    {
        cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(result, "rows"))
        {
            printf("    ");
            cJSON_ArrayForEach(value, row)
            {
                printf(" %s", cJSON_IsString(value) ? value->valuestring : "NULL");
            }
            printf("\n");
        }
    }
}

static void print_reason(const cJSON *reason)
{
    const char *participant = json_text(reason, "participant", NULL);
    const char *sqlstate = json_text(reason, "sqlstate", NULL);

    if (!reason)
        return;
    printf("  reason     %s: %s", json_text(reason, "code", "?"), json_text(reason, "message", ""));
    if (participant)
        printf(" (at %s%s%s)", participant, sqlstate ? ", SQLSTATE " : "",
               sqlstate ? sqlstate : "");
    printf("\n");
}

static void print_txn(const cJSON *txn)
{
    const cJSON *branch;

    printf("%s  %s%s\n", json_text(txn, "id", "?"), json_text(txn, "state", "?"),
           strcmp(json_text(txn, "state", ""), "committed") != 0 ? ""
           : json_true(txn, "applied")                           ? ", applied everywhere"
                                                                 : ", not yet applied everywhere");
    printf("  attempt    %s\n  created    %s\n  decided    %s\n", json_text(txn, "attempt", "-"),
           json_text(txn, "created_at", "-"), json_text(txn, "decided_at", "-"));
    print_reason(cJSON_GetObjectItemCaseSensitive(txn, "reason"));
    cJSON_ArrayForEach(branch, cJSON_GetObjectItemCaseSensitive(txn, "branches"))
    {
        printf("  branch %-3.0f %-16s %s\n", json_number(branch, "number", 0),
               json_text(branch, "participant", "?"), json_text(branch, "state", "?"));
        print_results(branch);
    }
}

/* An aborted transaction is a negative answer. */
static int print_txn_reply(struct rest_reply *reply, bool as_json)
{
    int exit_code =
        strcmp(json_text(reply->json, "state", ""), "aborted") == 0 ? CLI_NEGATIVE : CLI_OK;

    if (as_json)
        json_print(reply->json);
    else
        print_txn(reply->json);
    return exit_code;
}

static char *read_all(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = NULL;
    size_t len = 0, cap = 0, got = 1;

    while (file && got && len < BODY_BYTES_MAX) {
        if (len + 1 >= cap) {
            char *larger = realloc(text, cap = cap * 2 + 65536);

            if (!larger)
                break;
            text = larger;
        }
        got = fread(text + len, 1, cap - len - 1, file);
        len += got;
        text[len] = 0;
    }
    if (!file || ferror(file) || got) {
        complain("cannot read %s", path);
        free(text);
        text = NULL;
    }
    if (file && file != stdin)
        (void)fclose(file);
    return text;
}

/* With an id, the same request again is the same transaction (R9), at any node. */
static bool has_id(const char *body)
{
    cJSON *json = cJSON_Parse(body);
    bool has = json_text(json, "id", NULL) != NULL;

    cJSON_Delete(json);
    return has;
}

int cmd_txn_run(int argc, char **argv)
{
    const char *api = NULL, *path;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "txn run",
        .usage = "FILE|-",
        .about =
            "Posts a transaction (a JSON object with \"branches\", see docs/api.md) and prints\n"
            "its outcome. An aborted one is exit code 1.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    struct rest_request request;
    struct rest_reply reply = {0};
    int exit_code;
    char *body;

    if (!options_parse(&command, argc, argv, &path, NULL, &exit_code))
        return exit_code;
    body = read_all(path);
    if (!body)
        return CLI_NEGATIVE;
    request = (struct rest_request){.api = options_api(api),
                                    .path = "/v1/transactions",
                                    .body = body,
                                    .timeout_ms = RUN_MS,
                                    .once = !has_id(body)};
    exit_code = rest_command(&request, &reply);
    if (exit_code == CLI_OK)
        exit_code = print_txn_reply(&reply, as_json);
    else if (as_json && reply.json)
        json_print(reply.json);
    free(body);
    rest_reply_close(&reply);
    return exit_code;
}

int cmd_txn_show(int argc, char **argv)
{
    const char *api = NULL, *id;
    uint64_t wait_ms = 0;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_NUMBER, "wait-ms", "N", "wait so long for its outcome (0)", &wait_ms, 0, 3600000},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "txn show",
        .usage = "ID",
        .about = "Shows one transaction. An aborted or unknown one is exit code 1.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    struct rest_reply reply = {0};
    char path[512], *escaped;
    int exit_code;

    if (!options_parse(&command, argc, argv, &id, NULL, &exit_code))
        return exit_code;
    escaped = rest_escape(id);
    (void)text_format(path, sizeof(path), "/v1/transactions/%s?wait_ms=%llu", escaped,
                      (unsigned long long)wait_ms);
    free(escaped);
    exit_code = call(api, path, NULL, (long)wait_ms + CALL_MS, &reply);
    if (exit_code == CLI_OK)
        exit_code = print_txn_reply(&reply, as_json);
    else if (as_json && reply.json)
        json_print(reply.json);
    rest_reply_close(&reply);
    return exit_code;
}

static void print_list(const cJSON *answer)
{
    const cJSON *txn, *branch;
    struct table table;
    const char *next = json_text(answer, "next", NULL);
    static const char *const titles[] = {"ID",       "STATE",   "APPLIED", "ATTEMPT",
                                         "BRANCHES", "DECIDED", "REASON"};

    table_init(&table, AS_COUNT_OF(titles));
    for (size_t i = 0; i < AS_COUNT_OF(titles); i++)
        table_cell(&table, titles[i]);
    cJSON_ArrayForEach(txn, cJSON_GetObjectItemCaseSensitive(answer, "transactions"))
    {
        char branches[64] = "";

        cJSON_ArrayForEach(branch, cJSON_GetObjectItemCaseSensitive(txn, "branches"))
        {
            size_t len = strlen(branches);

            (void)snprintf(branches + len, sizeof(branches) - len, "%s%s", len ? "," : "",
                           json_text(branch, "participant", "?"));
        }
        table_cell(&table, json_text(txn, "id", NULL));
        table_cell(&table, json_text(txn, "state", NULL));
        table_cell(&table, json_true(txn, "applied") ? "yes" : "no");
        table_cell(&table, json_text(txn, "attempt", NULL));
        table_cell(&table, branches);
        table_cell(&table, json_text(txn, "decided_at", NULL));
        table_cell(&table,
                   json_text(cJSON_GetObjectItemCaseSensitive(txn, "reason"), "code", NULL));
    }
    table_print(&table);
    if (next)
        printf("more: --after %s\n", next);
}

int cmd_txn_list(int argc, char **argv)
{
    const char *api = NULL, *state = NULL, *participant = NULL, *after = NULL;
    uint64_t limit = 50;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_TEXT, "state", "STATE",
         "active, preparing, committed, aborted, pending (committed, not finished) or heuristic",
         &state, 0, 0},
        {OPTION_TEXT, "participant", "NAME", "only those with a branch there", &participant, 0, 0},
        {OPTION_NUMBER, "limit", "N", "at most so many (50)", &limit, 1, 1000},
        {OPTION_TEXT, "after", "CURSOR", "go on behind the page that named it", &after, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {.name = "txn list",
                                    .about = "Lists transactions: undecided ones, then decided "
                                             "ones, newest first.",
                                    .options = table,
                                    .option_count = AS_COUNT_OF(table)};
    const char *const names[] = {"state", "participant", "after"};
    const char *const *const values[] = {&state, &participant, &after};
    struct rest_reply reply = {0};
    char path[1024];
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    (void)text_format(path, sizeof(path), "/v1/transactions?limit=%llu", (unsigned long long)limit);
    for (size_t i = 0; i < AS_COUNT_OF(names); i++) {
        size_t len = strlen(path);
        char *escaped = *values[i] ? rest_escape(*values[i]) : NULL;

        if (escaped)
            (void)text_format(path + len, sizeof(path) - len, "&%s=%s", names[i], escaped);
        free(escaped);
    }
    exit_code = call(api, path, NULL, CALL_MS, &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        print_list(reply.json);
    rest_reply_close(&reply);
    return exit_code;
}

int cmd_txn_acknowledge(int argc, char **argv)
{
    const char *api = NULL, *reason = NULL, *who = NULL, *words[2];
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_TEXT, "reason", "TEXT", "what was found and done about it (required)", &reason, 0,
         0},
        {OPTION_TEXT, "who", "NAME", "who decides it (operator)", &who, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "txn acknowledge",
        .usage = "ID BRANCH",
        .about = "Closes the heuristic outcome of a branch, after a person has looked at it and\n"
                 "set right what had to be. Who and why is logged for good.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 2,
        .words_max = 2};
    struct rest_reply reply = {0};
    char path[512], *escaped, *branch, *body;
    cJSON *request;
    int exit_code;

    if (!options_parse(&command, argc, argv, words, NULL, &exit_code))
        return exit_code;
    if (!reason || !*reason) {
        complain("txn acknowledge: --reason is required");
        return CLI_USAGE;
    }
    escaped = rest_escape(words[0]);
    branch = rest_escape(words[1]);
    (void)text_format(path, sizeof(path), "/v1/transactions/%s/branches/%s/acknowledge", escaped,
                      branch);
    free(escaped);
    free(branch);
    request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "reason", reason);
    if (who)
        cJSON_AddStringToObject(request, "who", who);
    body = cJSON_PrintUnformatted(request);
    exit_code = call(api, path, body, CALL_MS, &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        print_txn(reply.json);
    free(body);
    cJSON_Delete(request);
    rest_reply_close(&reply);
    return exit_code;
}
