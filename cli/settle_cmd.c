/*
 * assent participant settle: after a restore, finishes what is prepared under an incarnation before and whose commit stands in
 * the restored log (decisions/0015). What the log does not answer for stays for a person to resolve.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/rest.h"

#define CALL_MS 90000

static const char api_help[] = OPTIONS_API_HELP;

struct settle {
    const char *api, *reason, *who;
    unsigned committed, left, failed;
};

static int call(const struct settle *settle, const char *path, const char *body,
                struct rest_reply *ret_reply)
{
    const struct rest_request request = {.api = options_api(settle->api),
                                         .path = path,
                                         .body = body,
                                         .timeout_ms = CALL_MS,
                                         .once = body != NULL};

    return rest_command(&request, ret_reply);
}

static bool commit(const struct settle *settle, const char *participant, const char *gid)
{
    cJSON *request = cJSON_CreateObject();
    char path[1024], *escaped = rest_escape(gid), *body;
    struct rest_reply reply = {0};
    int exit_code = CLI_NEGATIVE;

    cJSON_AddStringToObject(request, "decision", "commit");
    cJSON_AddStringToObject(request, "reason", settle->reason);
    if (settle->who)
        cJSON_AddStringToObject(request, "who", settle->who);
    cJSON_AddTrueToObject(request, "other_incarnation");
    body = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    if (text_format(path, sizeof(path), "/v1/participants/%s/prepared/%s/resolve", participant,
                    escaped))
        exit_code = call(settle, path, body, &reply);
    if (exit_code == CLI_OK)
        printf("%s  committed at %s\n", gid, participant);
    rest_reply_close(&reply);
    free(body);
    free(escaped);
    return exit_code == CLI_OK;
}

/* What is prepared there now: commits what the log has the commit of. How many that were; -1: could not ask. */
static int settle_once(struct settle *settle, const char *participant)
{
    struct rest_reply reply = {0};
    char path[512];
    const cJSON *row;
    int done = 0;

    (void)text_format(path, sizeof(path), "/v1/participants/%s/prepared", participant);
    if (call(settle, path, NULL, &reply) != CLI_OK) {
        rest_reply_close(&reply);
        return -1;
    }
    settle->left = 0;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply.json, "prepared"))
    {
        if (strcmp(json_text(row, "state", ""), "other_incarnation") != 0)
            continue;
        if (strcmp(json_text(row, "answer", ""), "commit") != 0)
            settle->left++;
        else if (commit(settle, participant, json_text(row, "gid", "")))
            done++;
        else
            settle->failed++;
    }
    rest_reply_close(&reply);
    return done;
}

/* A listing has only so many: it is asked for until nothing more was done. */
static bool settle_participant(struct settle *settle, const char *participant)
{
    int done;

    do {
        done = settle_once(settle, participant);
        settle->committed += done > 0 ? (unsigned)done : 0;
    } while (done > 0 && settle->failed == 0);
    if (done >= 0 && settle->left > 0)
        printf("%s: %u more of another incarnation, of which the log does not know; see `assent "
               "participant prepared %s`\n",
               participant, settle->left, participant);
    return done >= 0 && settle->left == 0 && settle->failed == 0;
}

int cmd_participant_settle(int argc, char **argv)
{
    struct settle settle = {.reason = "its commit stands in the restored log"};
    const struct option table[] = {
        {OPTION_TEXT, "api", "URL", api_help, &settle.api, 0, 0},
        {OPTION_TEXT, "reason", "TEXT", "for the log (its commit stands in the restored log)",
         &settle.reason, 0, 0},
        {OPTION_TEXT, "who", "NAME", "who does it (operator)", &settle.who, 0, 0}};
    const struct command command = {
        .name = "participant settle",
        .about = "For a cluster that was restored from a backup, and only if no coordinator of the "
                 "one\nbefore is left: commits, in all participants, each branch of another "
                 "incarnation whose\nCOMMIT this cluster's log has. What it has no answer for is "
                 "counted, and stays.",
        .exits = "  0  nothing of another incarnation is left\n"
                 "  1  some is (a person must resolve it), or it failed\n"
                 "  2  wrong command line\n",
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    struct rest_reply reply = {0};
    const cJSON *one;
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    exit_code = call(&settle, "/v1/participants", NULL, &reply);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(reply.json, "participants"))
    {
        if (exit_code <= CLI_NEGATIVE && !settle_participant(&settle, json_text(one, "name", "")))
            exit_code = CLI_NEGATIVE;
    }
    rest_reply_close(&reply);
    if (exit_code <= CLI_NEGATIVE)
        printf("%u committed\n", settle.committed);
    return exit_code;
}
