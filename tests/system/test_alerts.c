/*
 * The alerts of packaging/alerts.yml: every metric in them is told by /metrics, and each stands in
 * docs/operations.md with the same metrics and threshold.
 */
#include "harness.h"

#include <stdio.h>

#define RULES_MIN 10 /* fewer: the file is not read as it is meant to be */

static char *file_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

/* The value of `key: value` in this line, or NULL. */
static char *value_of(char *line, const char *key)
{
    char *at = strstr(line, key);

    return at ? at + strlen(key) : NULL;
}

/* Each name that begins with assent_ or process_ is a series, with or without labels. */
static void metrics_are_told(const char *expr, const char *metrics)
{
    for (const char *at = strstr(expr, "assent_"); at; at = strstr(at, "assent_")) {
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
        char series[128], type[160];

        snprintf(series, sizeof(series), "\n%.*s", (int)len, at);
        snprintf(type, sizeof(type), "# TYPE %.*s ", (int)len, at);
        if (!strstr(metrics, series) || (!strstr(metrics, type) && !strstr(series, "_bucket")))
            fail_msg("no such metric: %.*s in %s", (int)len, at, expr);
        at += len;
    }
}

/* The row of the table that begins with the alert's name. */
static void row_is_there(const char *docs, const char *alert, const char *expr, const char *lasting)
{
    char begin[128], row[2048];
    const char *at;

    snprintf(begin, sizeof(begin), "\n| %s | `", alert);
    at = strstr(docs, begin);
    if (!at)
        fail_msg("docs/operations.md has no alert %s", alert);
    snprintf(row, sizeof(row), "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
    if (!strstr(row, expr))
        fail_msg("docs/operations.md tells another expression of %s: %s", alert, row);
    if (*lasting && !strstr(row, lasting))
        fail_msg("docs/operations.md does not tell that %s is to last %s: %s", alert, lasting, row);
}

static void alerts_are_of_metrics_that_are_told(void **state)
{
    char *rules = file_text(AS_SOURCE_DIR "/packaging/alerts.yml");
    char *docs = file_text(AS_SOURCE_DIR "/docs/operations.md"), *rest = NULL;
    char alert[64] = "", expr[512] = "";
    struct sandbox sandbox;
    struct answer answer;
    int count = 0;

    (void)state;
    sandbox_start(&sandbox, NULL);
    http(&sandbox, "/metrics", NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    for (char *line = strtok_r(rules, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *name = value_of(line, "- alert: "), *rule = value_of(line, " expr: ");
        const char *lasting = value_of(line, " for: ");

        if (name) {
            snprintf(alert, sizeof(alert), "%s", name);
        } else if (rule) {
            snprintf(expr, sizeof(expr), "%s", rule);
            metrics_are_told(expr, answer.body);
            row_is_there(docs, alert, expr, "");
            count++;
        } else if (lasting) {
            row_is_there(docs, alert, expr, lasting);
        }
    }
    assert_true(count >= RULES_MIN);
    answer_free(&answer);
    sandbox_stop(&sandbox);
    free(rules);
    free(docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(alerts_are_of_metrics_that_are_told)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
