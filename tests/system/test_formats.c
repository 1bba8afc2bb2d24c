/*
 * Logs of the formats that this version claims to read (tests/data/log): the records they hold are
 * read as they were written, a node starts with such a log and knows its outcomes. One of a format
 * that is not read is refused, and left as it was.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assent/map.h"
#include "coordinator/log/format.h"
#include "coordinator/log/log.h"

#define GOLDEN AS_TEST_DATA "/log/format-2"

static char dir[64];

static char *file_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    if (!file)
        fail_msg("no file %s", path);
    assert_non_null(text);
    (void)fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

/* A node must never write into the data of the tests. */
static void copy_log(const char *name)
{
    char command[400];

    snprintf(command, sizeof(command), "rm -rf %s/log && cp -r %s/%s %s/log && chmod 700 %s/log",
             dir, GOLDEN, name, dir, dir);
    assert_int_equal(system(command), 0);
}

static void records_are_read_as_they_were_written(void **state)
{
    static const char *const names[] = {"one", "three"};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(names); i++) {
        char path[300], golden[300], *printed, *expected;

        snprintf(path, sizeof(path), "%s/%s", GOLDEN, names[i]);
        snprintf(golden, sizeof(golden), "%s/%s.dump", GOLDEN, names[i]);
        expected = file_text(golden);
        assert_int_equal(run_assent((const char *[]){"log", "dump", path, NULL}, &printed), 0);
        assert_string_equal(printed, expected);
        free(printed);
        free(expected);
        assert_int_equal(run_assent((const char *[]){"log", "verify", path, NULL}, NULL), 0);
    }
}

/* --- A node with such a log --- */

struct node {
    pid_t pid;
    char api[64];
};

static char *log_line(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/stderr", dir);
    return file_text(path);
}

static bool has_started(void *ctx)
{
    struct node *node = ctx;
    char *said = log_line(), *at = strstr(said, " api=");
    bool there = at && strstr(said, "event=started");
    int status;

    if (there)
        snprintf(node->api, sizeof(node->api), "http://%.*s", (int)strcspn(at + 5, " "), at + 5);
    else if (waitpid(node->pid, &status, WNOHANG) == node->pid)
        fail_msg("assentd ended: %s", said);
    free(said);
    return there;
}

static bool is_ready(void *ctx)
{
    const struct node *node = ctx;
    struct answer answer;
    bool ready;

    http_at(node->api, NULL, "/readyz", NULL, DEADLINE_MS, &answer);
    ready = answer.status == 200;
    answer_free(&answer);
    return ready;
}

static pid_t start_assentd(void)
{
    char config[128], output[128];
    char program[] = AS_TEST_BIN "/assentd", option[] = "--config";
    char *argv[] = {program, option, config, NULL};
    FILE *file;
    pid_t pid;
    int fd;

    snprintf(config, sizeof(config), "%s/node.ini", dir);
    snprintf(output, sizeof(output), "%s/stderr", dir);
    file = fopen(config, "w");
    assert_non_null(file);
    fprintf(file,
            "[node]\ncluster = sandbox\ndata_dir = %s/log\n[api]\nlisten = 127.0.0.1:0\n"
            "[agents]\nlisten = 127.0.0.1:0\n[log]\nsegment_kib = 64\n"
            "[cluster]\nnodes = 1=127.0.0.1:7481\n",
            dir);
    fclose(file);
    fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || dup2(fd, STDERR_FILENO) < 0)
            _exit(126);
        execv(argv[0], argv);
        _exit(127);
    }
    close(fd);
    return pid;
}

static void expect_outcome(const struct node *node, const char *id, const char *state,
                           const char *attempt, const char *index)
{
    struct answer answer;
    char path[128];
    const cJSON *item;

    snprintf(path, sizeof(path), "/v1/transactions/%s", id);
    http_at(node->api, NULL, path, NULL, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    assert_string_equal(answer_text(&answer, "state"), state);
    assert_string_equal(answer_text(&answer, "attempt"), attempt);
    item = cJSON_GetObjectItem(answer.json, "index");
    if (strcmp(index, "-") != 0)
        assert_int_equal((int64_t)item->valuedouble, strtoll(index, NULL, 10));
    answer_free(&answer);
}

static void a_node_goes_on_with_an_older_log(void **state)
{
    char *outcomes = file_text(GOLDEN "/one.outcomes"), *rest = NULL;
    struct node node = {0};
    int count = 0, status;

    (void)state;
    copy_log("one");
    node.pid = start_assentd();
    wait_for("assentd has started", has_started, &node, DEADLINE_MS);
    wait_for("it leads", is_ready, &node, DEADLINE_MS);
    for (char *line = strtok_r(outcomes, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char id[80], was[16], attempt[48], index[24];

        assert_int_equal(sscanf(line, "%79s %15s %47s %23s", id, was, attempt, index), 4);
        expect_outcome(&node, id, was, attempt, index);
        count++;
    }
    assert_true(count >= 50);
    free(outcomes);
    assert_int_equal(kill(node.pid, SIGTERM), 0);
    assert_int_equal(waitpid(node.pid, &status, 0), node.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- Formats that are not read --- */

static void make_format(uint8_t version)
{
    static uint8_t bytes[1 << 17];
    char path[128];
    uint64_t hash;
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), "%s/log/0000000000000000.log", dir);
    file = fopen(path, "r+");
    assert_non_null(file);
    len = fread(bytes, 1, sizeof(bytes), file);
    assert_true(len > LOG_HEADER_BYTES);
    bytes[8] = version;
    hash = as_hash(bytes, LOG_HEADER_BYTES - 8, 0);
    memcpy(bytes + LOG_HEADER_BYTES - 8, &hash, 8);
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void another_format_is_refused_and_left_alone(void **state)
{
    static const uint8_t versions[] = {1, LOG_FORMAT_VERSION + 1};
    char before[200], after[200], log[128];

    (void)state;
    snprintf(log, sizeof(log), "%s/log", dir);
    snprintf(before, sizeof(before), "cd %s/log && sha256sum *.log *.snap > ../before", dir);
    snprintf(after, sizeof(after), "cd %s/log && sha256sum --quiet -c ../before", dir);
    for (size_t i = 0; i < AS_COUNT_OF(versions); i++) {
        char *said;
        int status;
        pid_t pid;

        copy_log("one");
        make_format(versions[i]);
        assert_int_equal(system(before), 0);
        assert_int_equal(run_assent((const char *[]){"log", "verify", log, NULL}, NULL), 1);
        pid = start_assentd();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        said = log_line();
        if (!strstr(said, "written by another format version"))
            fail_msg("assentd said: %s", said);
        free(said);
        assert_int_equal(system(after), 0);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[100];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read_as_they_were_written),
        cmocka_unit_test(a_node_goes_on_with_an_older_log),
        cmocka_unit_test(another_format_is_refused_and_left_alone),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
