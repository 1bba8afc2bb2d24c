/*
 * assent doctor: the command, and its list of findings.
 */
#include "cli/doctor.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/rest.h"

static const char *const verdict_texts[] = {"ok", "warn", "fail"};

void doctor_finding(struct doctor *doctor, enum verdict verdict, const char *check,
                    const char *subject, const char *todo, const char *format, ...)
{
    cJSON *finding = cJSON_CreateObject();
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!finding || !cJSON_AddStringToObject(finding, "verdict", verdict_texts[verdict]) ||
        !cJSON_AddStringToObject(finding, "check", check) ||
        !cJSON_AddStringToObject(finding, "subject", subject) ||
        !cJSON_AddStringToObject(finding, "found", text) ||
        (todo && !cJSON_AddStringToObject(finding, "do", todo)) ||
        !cJSON_AddItemToArray(doctor->findings, finding)) {
        complain("out of memory");
        exit(CLI_NEGATIVE);
    }
    doctor->counts[verdict]++;
}

/* --- Printing --- */

static void print_findings(const struct doctor *doctor)
{
    const cJSON *finding;

    cJSON_ArrayForEach(finding, doctor->findings)
    {
        const char *verdict = json_text(finding, "verdict", "");
        const char *todo = json_text(finding, "do", NULL);

        printf("%-4s  %-9s %s: %s\n", strcmp(verdict, "fail") == 0 ? "FAIL" : verdict,
               json_text(finding, "check", ""), json_text(finding, "subject", ""),
               json_text(finding, "found", ""));
        if (todo)
            printf("      %-9s -> %s\n", "", todo);
    }
    printf("\n%zu good, %zu to look at, %zu wrong\n", doctor->counts[VERDICT_OK],
           doctor->counts[VERDICT_WARN], doctor->counts[VERDICT_FAIL]);
}

static void print_json(struct doctor *doctor)
{
    cJSON *root = cJSON_CreateObject();

    (void)cJSON_AddBoolToObject(root, "healthy", doctor->counts[VERDICT_FAIL] == 0);
    (void)cJSON_AddNumberToObject(root, "warnings", (double)doctor->counts[VERDICT_WARN]);
    (void)cJSON_AddNumberToObject(root, "failures", (double)doctor->counts[VERDICT_FAIL]);
    (void)cJSON_AddItemReferenceToObject(root, "findings", doctor->findings);
    json_print(root);
    cJSON_Delete(root);
}

/* --- Which files --- */

/* What the packages install and what assent-new-cluster makes, as far as it is there. */
static void usual_files(struct doctor *doctor, const char *pattern,
                        void (*look)(struct doctor *doctor, const char *path))
{
    glob_t found;

    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            look(doctor, found.gl_pathv[i]);
    }
    globfree(&found);
}

static void add_api(struct doctor *doctor, const char *api)
{
    size_t len = strlen(doctor->apis);

    if (!text_format(doctor->apis + len, sizeof(doctor->apis) - len, "%s%s", len ? "," : "", api))
        doctor->apis[len] = '\0';
}

static void look(struct doctor *doctor, const struct option_list *nodes,
                 const struct option_list *agents, const char *api)
{
    if (nodes->count + agents->count == 0 && !api) {
        /* The template's own file stands unused beside those of several nodes. */
        if (access("/etc/assent/assentd-1.ini", F_OK) == 0)
            usual_files(doctor, "/etc/assent/assentd-*.ini", doctor_node_file);
        else
            usual_files(doctor, "/etc/assent/assentd.ini", doctor_node_file);
        usual_files(doctor, "/etc/assent/agent.ini", doctor_agent_file);
    }
    for (size_t i = 0; i < nodes->count; i++)
        doctor_node_file(doctor, nodes->items[i]);
    for (size_t i = 0; i < agents->count; i++)
        doctor_agent_file(doctor, agents->items[i]);
    if (api)
        add_api(doctor, api);
    if (!doctor->apis[0])
        add_api(doctor, options_api(NULL));
    doctor_cluster(doctor);
}

int cmd_doctor(int argc, char **argv)
{
    struct option_list nodes = {0}, agents = {0};
    const char *api = NULL, *words[1];
    bool as_json = false;
    const struct option options[] = {
        {OPTION_LIST, "node", "FILE",
         "check this assentd.ini and what it names; may be given again", &nodes, 0, 0},
        {OPTION_LIST, "agent", "FILE", "check this agent.ini and what it names; may be given again",
         &agents, 0, 0},
        {OPTION_TEXT, "api", "URL", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_FLAG, "json", NULL, "print one JSON object", &as_json, 0, 0},
    };
    const struct command command = {
        .name = "doctor",
        .about =
            "Checks an installation and says what to do: configuration files, disks (free space,\n"
            "speed of a sync), databases (settings and rights), nodes (reachable, one leader, one\n"
            "version, clocks), and what is stuck. Changes nothing. Without --node, --agent and "
            "--api:\n"
            "the files in /etc/assent and the nodes that they name; run it as root then, so that "
            "it\n"
            "may read them.",
        .exits = "  0  nothing is wrong; there may be things to look at\n"
                 "  1  something is wrong\n"
                 "  2  wrong command line\n",
        .options = options,
        .option_count = AS_COUNT_OF(options)};
    struct doctor doctor = {0};
    int exit_code;

    if (!options_parse(&command, argc, argv, words, NULL, &exit_code))
        return exit_code;
    doctor.findings = cJSON_CreateArray();
    look(&doctor, &nodes, &agents, api);
    if (as_json)
        print_json(&doctor);
    else
        print_findings(&doctor);
    cJSON_Delete(doctor.findings);
    return doctor.counts[VERDICT_FAIL] ? CLI_NEGATIVE : CLI_OK;
}
