/*
 * assent top: a cluster as it is, again and again.
 */
#include "cli/top.h"

#include <stdio.h>

#include "cli/options.h"
#include "cli/rest.h"

#define ROWS_PLAIN 1000 /* where there is no screen, there is no edge */
#define COLUMNS_PLAIN 500

static bool anybody_answered(const struct top_look *look)
{
    for (size_t i = 0; i < look->node_count; i++)
        if (look->nodes[i].answers)
            return true;
    return false;
}

static void show(const cJSON *figures, bool as_json)
{
    int rows = ROWS_PLAIN, columns = COLUMNS_PLAIN;
    bool ansi = !as_json && top_screen_is_terminal();

    if (as_json) {
        json_print(figures);
        return;
    }
    if (ansi)
        top_screen_size(&rows, &columns);
    top_print(figures, rows, columns, ansi);
}

static int watch(const char *apis, uint64_t interval_ms, bool once, bool as_json)
{
    struct top_look before, now;

    top_look_take(&before, apis);
    if (!anybody_answered(&before)) {
        complain("no coordinator answers at %s%s%s", apis, before.nodes[0].why[0] ? ": " : "",
                 before.nodes[0].why);
        top_look_close(&before);
        return CLI_UNREACHABLE;
    }
    if (!once && !as_json)
        top_screen_open();
    while (top_screen_wait(interval_ms)) {
        cJSON *figures;

        top_look_take(&now, apis);
        figures = top_figures(&now, &before);
        if (once && !as_json)
            top_print(figures, ROWS_PLAIN, COLUMNS_PLAIN, false);
        else
            show(figures, as_json);
        cJSON_Delete(figures);
        top_look_close(&before);
        before = now;
        if (once || ferror(stdout)) /* whoever read it is gone */
            break;
    }
    top_screen_close();
    top_look_close(&before);
    return CLI_OK;
}

int cmd_top(int argc, char **argv)
{
    const char *api = NULL;
    uint64_t interval_ms = 1000;
    bool once = false, as_json = false;
    const struct option options[] = {
        {OPTION_TEXT, "api", "URL", OPTIONS_API_HELP, &api, 0, 0},
        {OPTION_NUMBER, "interval-ms", "N", "between two looks (1000)", &interval_ms, 100, 3600000},
        {OPTION_FLAG, "once", NULL, "print one picture, of the first interval, and end", &once, 0,
         0},
        {OPTION_FLAG, "json", NULL, "print an object a line instead", &as_json, 0, 0},
    };
    const struct command command = {
        .name = "top",
        .about =
            "Shows a cluster live: transactions a second, latencies, nodes, participants, and\n"
            "what is stuck (in red). Name all nodes by --api: what their clients see, and who\n"
            "leads, is known of those only. q or Ctrl-C ends it.",
        .options = options,
        .option_count = AS_COUNT_OF(options)};
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    return watch(options_api(api), interval_ms, once, as_json);
}
