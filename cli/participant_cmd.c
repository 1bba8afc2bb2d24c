/*
 * assent participant: databases and what is prepared in them, by the API of a coordinator; and an
 * operator's word about a branch that no coordinator can answer for (R6).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/rest.h"
#include "cli/table.h"

#define CALL_MS 90000

static const char api_help[] = OPTIONS_API_HELP;

/* GET or POST; see rest_command. What a lost answer said nobody can tell: it is not asked twice. */
static int call(const char *api, const char *path, const char *body, struct rest_reply *ret_reply)
{
    const struct rest_request request = {.api = options_api(api),
                                         .path = path,
                                         .body = body,
                                         .timeout_ms = CALL_MS,
                                         .once = body != NULL};

    return rest_command(&request, ret_reply);
}

static double most_of(const cJSON *participant, const char *key)
{
    const cJSON *agent;
    double most = 0;

    /* Each agent looks at the same database: the largest figure, not the sum. */
    cJSON_ArrayForEach(agent, cJSON_GetObjectItemCaseSensitive(participant, "agents"))
    {
        double number = json_number(agent, key, 0);

        most = number > most ? number : most;
    }
    return most;
}

/* The agent that looked last; NULL: none has. */
static const cJSON *last_audit(const cJSON *participant)
{
    const cJSON *agent, *last = NULL;

    cJSON_ArrayForEach(agent, cJSON_GetObjectItemCaseSensitive(participant, "agents"))
    {
        double age = json_number(agent, "audit_age_ms", -1);

        if (age >= 0 && (!last || age < json_number(last, "audit_age_ms", 0)))
            last = agent;
    }
    return last;
}

/* "-": an older agent does not tell. */
static void cell_known(struct table *table, const cJSON *agent, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(agent, key);

    if (cJSON_IsNumber(item))
        table_number(table, item->valuedouble);
    else
        table_cell(table, "-");
}

static void cell_seconds(struct table *table, const cJSON *agent, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(agent, key);
    char text[64] = "-";

    if (cJSON_IsNumber(item))
        (void)text_format(text, sizeof(text), "%.1f s", item->valuedouble / 1000);
    table_cell(table, text);
}

/* Of an array, or of one that stands alone. */
static void print_participants(const cJSON *first)
{
    static const char *const titles[] = {"NAME",       "STATE",    "POSTGRESQL", "PREPARED",
                                         "OLDEST",     "XMIN AGE", "SLOTS USED", "IN DOUBT",
                                         "ORPHANED",   "FOREIGN",  "OLDEST",     "XMIN AGE",
                                         "UNFINISHED", "AUDITED",  "DETAIL"};
    struct table table;

    table_init(&table, AS_COUNT_OF(titles));
    for (size_t i = 0; i < AS_COUNT_OF(titles); i++)
        table_cell(&table, titles[i]);
    for (const cJSON *one = first; one; one = one->next) {
        const cJSON *agents = cJSON_GetObjectItemCaseSensitive(one, "agents");
        const cJSON *agent = cJSON_GetArrayItem(agents, 0), *audit = last_audit(one);
        char slots[64];

        (void)text_format(slots, sizeof(slots), "%.0f of %.0f", most_of(one, "prepared_used"),
                          most_of(one, "max_prepared_transactions"));
        table_cell(&table, json_text(one, "name", NULL));
        table_cell(&table, json_text(one, "state", NULL));
        table_cell(&table, json_text(agent, "postgresql", NULL));
        table_number(&table, most_of(one, "prepared"));
        cell_seconds(&table, audit, "oldest_age_ms");
        cell_known(&table, audit, "xmin_age");
        table_cell(&table, slots);
        table_number(&table, most_of(one, "in_doubt"));
        table_number(&table, most_of(one, "orphaned"));
        table_number(&table, most_of(one, "foreign"));
        cell_seconds(&table, audit, "foreign_oldest_age_ms");
        cell_known(&table, audit, "foreign_xmin_age");
        table_number(&table, json_number(one, "unfinished", 0));
        cell_seconds(&table, audit, "audit_age_ms");
        table_cell(&table, json_text(agent, "detail", NULL));
    }
    table_print(&table);
}

int cmd_participant_list(int argc, char **argv)
{
    const char *api = NULL;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {.name = "participant list",
                                    .about = "Lists the participants a coordinator knows.",
                                    .options = table,
                                    .option_count = AS_COUNT_OF(table)};
    struct rest_reply reply = {0};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    exit_code = call(api, "/v1/participants", NULL, &reply);
    if (as_json && reply.json) {
        json_print(reply.json);
    } else if (exit_code == CLI_OK) {
        const cJSON *array = cJSON_GetObjectItemCaseSensitive(reply.json, "participants");

        print_participants(array ? array->child : NULL);
    }
    rest_reply_close(&reply);
    return exit_code;
}

int cmd_participant_show(int argc, char **argv)
{
    const char *api = NULL, *name;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "participant show",
        .usage = "NAME",
        .about = "Shows one participant. Exit code 1 if it is unknown or not up.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    struct rest_reply reply = {0};
    char path[512], *escaped;
    int exit_code;

    if (!options_parse(&command, argc, argv, &name, NULL, &exit_code))
        return exit_code;
    escaped = rest_escape(name);
    (void)text_format(path, sizeof(path), "/v1/participants/%s", escaped);
    free(escaped);
    exit_code = call(api, path, NULL, &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        print_participants(reply.json);
    if (exit_code == CLI_OK && strcmp(json_text(reply.json, "state", ""), "up") != 0)
        exit_code = CLI_NEGATIVE;
    rest_reply_close(&reply);
    return exit_code;
}

/* --- Prepared transactions --- */

/* A foreign gid may hold anything: nothing of it moves a terminal's cursor. */
static void cell_of_database(struct table *table, const char *text)
{
    char *shown = must_copy(text ? text : "");

    for (char *at = shown; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    }
    table_cell(table, shown);
    free(shown);
}

static void print_prepared(const cJSON *answer)
{
    static const char *const titles[] = {"AGE", "STATE", "ANSWER", "XID", "OWNER", "GID"};
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(answer, "prepared"), *row;
    double total = json_number(answer, "total", 0);
    struct table table;

    table_init(&table, AS_COUNT_OF(titles));
    for (size_t i = 0; i < AS_COUNT_OF(titles); i++)
        table_cell(&table, titles[i]);
    cJSON_ArrayForEach(row, rows)
    {
        char age[32];

        (void)text_format(age, sizeof(age), "%.1f s", json_number(row, "age_ms", 0) / 1000);
        table_cell(&table, age);
        table_cell(&table, json_text(row, "state", NULL));
        table_cell(&table, json_text(row, "answer", NULL));
        table_cell(&table, json_text(row, "xid", NULL));
        cell_of_database(&table, json_text(row, "owner", NULL));
        cell_of_database(&table, json_text(row, "gid", NULL));
    }
    table_print(&table);
    if (total > cJSON_GetArraySize(rows))
        printf("%.0f more are not shown\n", total - cJSON_GetArraySize(rows));
}

int cmd_participant_prepared(int argc, char **argv)
{
    const char *api = NULL, *name;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "participant prepared",
        .usage = "NAME",
        .about =
            "Lists what is prepared in a database at this moment, foreign transactions too, those\n"
            "that wait for somebody first. STATE: live; in_doubt (for longer than 2 s, and nobody\n"
            "finishes it); orphaned, other_incarnation (only an operator can finish it, see\n"
            "`assent participant resolve`); foreign (not this cluster's: never touched). ANSWER:\n"
            "what the decision log says of it.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    struct rest_reply reply = {0};
    char path[512], *escaped;
    int exit_code;

    if (!options_parse(&command, argc, argv, &name, NULL, &exit_code))
        return exit_code;
    escaped = rest_escape(name);
    (void)text_format(path, sizeof(path), "/v1/participants/%s/prepared", escaped);
    free(escaped);
    exit_code = call(api, path, NULL, &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        print_prepared(reply.json);
    rest_reply_close(&reply);
    return exit_code;
}

struct resolve {
    const char *decision, *reason, *who;
    bool other_incarnation;
};

static char *resolve_body(const struct resolve *resolve)
{
    cJSON *request = cJSON_CreateObject();
    char *body;

    cJSON_AddStringToObject(request, "decision", resolve->decision);
    cJSON_AddStringToObject(request, "reason", resolve->reason);
    if (resolve->who)
        cJSON_AddStringToObject(request, "who", resolve->who);
    if (resolve->other_incarnation)
        cJSON_AddTrueToObject(request, "other_incarnation");
    body = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    return body;
}

static int send_resolve(const char *api, const char *const words[2], const struct resolve *resolve,
                        struct rest_reply *ret_reply)
{
    char path[1024], *name = rest_escape(words[0]), *gid = rest_escape(words[1]);
    char *body = resolve_body(resolve);
    int exit_code = CLI_USAGE;

    if (text_format(path, sizeof(path), "/v1/participants/%s/prepared/%s/resolve", name, gid))
        exit_code = call(api, path, body, ret_reply);
    else
        complain("participant resolve: the gid is too long to be one");
    free(body);
    free(gid);
    free(name);
    return exit_code;
}

int cmd_participant_resolve(int argc, char **argv)
{
    const char *api = NULL, *words[2];
    struct resolve resolve = {NULL, NULL, NULL, false};
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &api, 0, 0},
        {OPTION_TEXT, "decision", "WORD", "commit or abort (required)", &resolve.decision, 0, 0},
        {OPTION_TEXT, "reason", "TEXT", "what was found out about it (required)", &resolve.reason,
         0, 0},
        {OPTION_TEXT, "who", "NAME", "who decides it (operator)", &resolve.who, 0, 0},
        {OPTION_FLAG, "other-incarnation", NULL,
         "it is of another incarnation, and no coordinator with its decision log is left",
         &resolve.other_incarnation, 0, 0},
        {OPTION_FLAG, "json", NULL, "print the answer as it is", &as_json, 0, 0}};
    const struct command command = {
        .name = "participant resolve",
        .usage = "NAME GID",
        .about =
            "Finishes a prepared branch that no coordinator can answer for, as a person decides:\n"
            "one that `assent participant prepared NAME` shows as orphaned or other_incarnation.\n"
            "What the decision log can answer for is refused. Who and why is logged for good, "
            "then\n"
            "the database is told, and its answer is shown.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 2,
        .words_max = 2};
    struct rest_reply reply = {0};
    int exit_code;

    if (!options_parse(&command, argc, argv, words, NULL, &exit_code))
        return exit_code;
    if (!resolve.decision || !resolve.reason || !*resolve.reason) {
        complain("participant resolve: --decision and --reason are required");
        return CLI_USAGE;
    }
    exit_code = send_resolve(api, words, &resolve, &reply);
    if (as_json && reply.json)
        json_print(reply.json);
    else if (exit_code == CLI_OK)
        printf("%s  %s at %s (proof: %s)\n", json_text(reply.json, "gid", "?"),
               json_text(reply.json, "outcome", "?"), json_text(reply.json, "participant", "?"),
               json_text(reply.json, "proof", "?"));
    rest_reply_close(&reply);
    return exit_code;
}
