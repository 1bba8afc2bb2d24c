/*
 * Golden scripts in tests/data/txn: one for each rule. ASSENT_GOLDEN_REWRITE=1 in the
 * environment rewrites them; review the diff.
 *
 * Each script also runs with the 1st, the 2nd, ... allocation failing. The step that failed is
 * given again, and all clients must get the same answers, and the table must come out the same, as
 * in the undisturbed run.
 */
#include "script.h"

#include <dirent.h>

#define SCRIPTS_MAX 64

static char paths[SCRIPTS_MAX][512];
static char names[SCRIPTS_MAX][64];
static int script_count;
static bool update;

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    size_t len;

    assert_non_null(file);
    assert_non_null(text);
    len = fread(text, 1, (1 << 20) - 1, file);
    text[len] = 0;
    fclose(file);
    return text;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

/* Shows the first line that differs: a whole file in an assertion helps nobody. */
static void compare(const char *path, const char *expected, const char *actual)
{
    int line = 1;

    while (*expected && *expected == *actual) {
        line += *expected == '\n';
        expected++;
        actual++;
    }
    if (*expected == *actual)
        return;
    while (expected[-1] != '\n') {
        expected--;
        actual--;
    }
    fail_msg("%s:%d differs\nexpected: %.*s\nactual:   %.*s", path, line,
             (int)strcspn(expected, "\n"), expected, (int)strcspn(actual, "\n"), actual);
}

static void test_script(void **state)
{
    const char *path = *state;
    char *text = read_file(path);
    struct script script;

    test_leaks_begin();
    script_open(&script);
    run_text(&script, text);
    if (update)
        write_file(path, script.out);
    else
        compare(path, text, script.out);
    script_close(&script);
    test_leaks_end();
    free(text);
}

struct undisturbed {
    char *text;
    char *replies; /* sorted lines; NULL in the first run */
    uint64_t digest;
};

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted(char *text)
{
    char *lines[4096], *save = NULL, *all = calloc(1, (text ? strlen(text) : 0) + 2);
    size_t count = 0;

    assert_non_null(all);
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        lines[count++] = line;
    if (count > 0)
        qsort(lines, count, sizeof(lines[0]), compare_lines);
    for (size_t i = 0; i < count; i++) {
        strcat(all, lines[i]);
        strcat(all, "\n");
    }
    return all;
}

static void run_once(void *ctx)
{
    struct undisturbed *first = ctx;
    struct script script;
    char *replies;
    uint64_t digest;

    script_open(&script);
    script.quick = true; /* what was put off for want of memory is done before the next command */
    run_text(&script, first->text);
    replies = sorted(script.replies);
    digest = txn_digest(script.txn);
    script_close(&script);
    if (!first->replies) {
        first->replies = replies;
        first->digest = digest;
        return;
    }
    assert_string_equal(replies, first->replies);
    assert_true(digest == first->digest);
    free(replies);
}

static void test_nomem(void **state)
{
    struct undisturbed first = {.text = read_file(*state)};

    if (!update) {
        run_once(&first);
        test_fail_each_allocation(run_once, &first);
    }
    free(first.replies);
    free(first.text);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void find_scripts(void)
{
    DIR *dir = opendir(AS_TEST_DATA "/txn");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len < 5 || strcmp(entry->d_name + len - 4, ".txt") != 0 || script_count == SCRIPTS_MAX)
            continue;
        snprintf(paths[script_count++], sizeof(paths[0]), AS_TEST_DATA "/txn/%s", entry->d_name);
    }
    if (dir)
        closedir(dir);
    qsort(paths, (size_t)script_count, sizeof(paths[0]), by_path);
}

int main(void)
{
    struct CMUnitTest tests[2 * SCRIPTS_MAX];
    size_t count = 0;

    update = getenv("ASSENT_GOLDEN_REWRITE") != NULL;
    find_scripts();
    if (script_count < 10) {
        fprintf(stderr, "the scripts are missing: %s\n", AS_TEST_DATA "/txn");
        return 1;
    }
    for (int i = 0; i < script_count; i++) {
        snprintf(names[i], sizeof(names[0]), "%s", strrchr(paths[i], '/') + 1);
        tests[count++] = (struct CMUnitTest){names[i], test_script, NULL, NULL, paths[i]};
        tests[count++] = (struct CMUnitTest){"  out of memory", test_nomem, NULL, NULL, paths[i]};
    }
    return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
