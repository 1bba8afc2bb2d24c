/*
 * Golden scripts in tests/data/raft: one for each sentence of the Raft paper's figure 2, of figure
 * 8, of the sections on membership and snapshots, and for what the thesis adds.
 * ASSENT_GOLDEN_REWRITE=1 in the environment rewrites them; review the diff.
 *
 * Each script also runs with the 1st, the 2nd, ... allocation failing. The step that failed is
 * given again, and everything must come out as in the undisturbed run.
 */
#include "script.h"

#include <dirent.h>

#define SCRIPTS_MAX 120

static char paths[SCRIPTS_MAX][512];
static char names[SCRIPTS_MAX][96];
static int script_count;
static bool update;

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 18);
    size_t len;

    assert_non_null(file);
    assert_non_null(text);
    len = fread(text, 1, (1 << 18) - 1, file);
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
    const char *start = expected;
    int line = 1;

    while (*expected && *expected == *actual) {
        line += *expected == '\n';
        expected++;
        actual++;
    }
    if (*expected == *actual)
        return;
    while (expected > start && expected[-1] != '\n') {
        expected--;
        actual--;
    }
    fail_msg("%s:%d differs\nexpected: %.*s\nactual:   %.*s", path, line,
             (int)strcspn(expected, "\n"), expected, (int)strcspn(actual, "\n"), actual);
}

struct run {
    const char *path;
    char *text;
};

static void run_once(void *ctx)
{
    const struct run *run = ctx;
    struct script script = {0};

    run_text(&script, run->text);
    if (update)
        write_file(run->path, script.out);
    else
        compare(run->path, run->text, script.out);
    script_close(&script);
}

static void test_script(void **state)
{
    struct run run = {.path = *state, .text = read_file(*state)};

    test_leaks_begin();
    run_once(&run);
    test_leaks_end();
    free(run.text);
}

static void test_nomem(void **state)
{
    struct run run = {.path = *state, .text = read_file(*state)};

    if (!update)
        test_fail_each_allocation(run_once, &run);
    free(run.text);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void find_scripts(void)
{
    DIR *dir = opendir(AS_TEST_DATA "/raft");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len < 5 || strcmp(entry->d_name + len - 4, ".txt") != 0 || script_count == SCRIPTS_MAX)
            continue;
        snprintf(paths[script_count++], sizeof(paths[0]), AS_TEST_DATA "/raft/%s", entry->d_name);
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
    if (script_count < 20) {
        fprintf(stderr, "the scripts are missing: %s\n", AS_TEST_DATA "/raft");
        return 1;
    }
    for (int i = 0; i < script_count; i++) {
        snprintf(names[i], sizeof(names[0]), "%s", strrchr(paths[i], '/') + 1);
        tests[count++] = (struct CMUnitTest){names[i], test_script, NULL, NULL, paths[i]};
        tests[count++] = (struct CMUnitTest){"  out of memory", test_nomem, NULL, NULL, paths[i]};
    }
    return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
