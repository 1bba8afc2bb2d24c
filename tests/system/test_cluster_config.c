/*
 * Section [cluster] of assentd.ini, and the first starts --bootstrap and --join: what is refused, and that the refusal
 * tells what to do.
 */
#include "harness.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define INCARNATION "incarnation = 00000000000000ab\n"

static char dir[64];

/* Runs assentd on a file with this id and [cluster] until it has ended; its exit code and its output. */
static int assentd(int id, const char *cluster, const char *arguments, char ret_output[4096])
{
    char path[128], command[512];
    FILE *file, *output;
    size_t len;
    int status;

    snprintf(path, sizeof(path), "%s/node.ini", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "[node]\nid = %d\ncluster = test\ndata_dir = %s/data\n"
            "[api]\nlisten = 127.0.0.1:0\n[agents]\nlisten = 127.0.0.1:0\n[cluster]\n%s",
            id, dir, cluster);
    fclose(file);
    snprintf(command, sizeof(command), "%s/assentd --config %s %s 2>&1", AS_TEST_BIN, path,
             arguments);
    output = popen(command, "r");
    assert_non_null(output);
    len = fread(ret_output, 1, 4095, output);
    ret_output[len] = 0;
    status = pclose(output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(int id, const char *cluster, const char *arguments, int exit_code,
                   const char *said)
{
    char output[4096];
    int code = assentd(id, cluster, arguments, output);

    if (code != exit_code || !strstr(output, said))
        fail_msg("id %d, \"%s\", %s: exit %d, expected %d and \"%s\", said: %s", id, cluster,
                 arguments, code, exit_code, said, output);
}

static void a_wrong_section_is_refused(void **state)
{
    (void)state;
    expect(1, "nodes = 1=h:1, 1=h:2\n" INCARNATION, "--check-config", 2, "another one bears");
    expect(1, "nodes = 1=h:1, 2=h:1\n" INCARNATION, "--check-config", 2, "address of another");
    expect(1, "nodes = 0=h:1\n" INCARNATION, "--check-config", 2, "not ID=HOST:PORT");
    expect(1, "nodes = h:1\n" INCARNATION, "--check-config", 2, "not ID=HOST:PORT");
    expect(1, "nodes = 1=h:1, 2=h\n" INCARNATION, "--check-config", 2, "host:port");
    expect(1, "nodes = 1=h:1, 2=h:0\n" INCARNATION, "--check-config", 2, "host:port");
    expect(1, "nodes = 1=h:1,2=h:2,3=h:3,4=h:4,5=h:5,6=h:6,7=h:7,8=h:8,9=h:9,10=h:10\n" INCARNATION,
           "--check-config", 2, "more than a cluster may have");
    expect(10, "nodes = 1=h:1,2=h:2,3=h:3,4=h:4,5=h:5,6=h:6,7=h:7,8=h:8,9=h:9\n" INCARNATION,
           "--check-config", 2, "one too many");
    expect(1, "nodes = 1=h:1, 2=h:2\n", "--check-config", 2, "incarnation is missing");
    expect(3, "nodes = 1=h:1\n", "--check-config", 2, "incarnation is missing");
    expect(1, "incarnation = 0000000000000000\n", "--check-config", 2, "16 hex digits");
    expect(1, "incarnation = ab\n", "--check-config", 2, "16 hex digits");
    expect(1, "heartbeat_ms = 60\n", "--check-config", 2, "three times heartbeat_ms");
    expect(1, "election_min_ms = 250\n", "--check-config", 2, "election_max_ms");
    expect(1, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "--check-config", 0, "good");
    expect(1, "nodes = 1=h:1\n", "--check-config", 0, "good");
    expect(3, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "--check-config", 0, "good");
    expect(3, INCARNATION, "--check-config", 0, "good");
}

static void a_first_start_must_fit_the_section(void **state)
{
    (void)state;
    expect(3, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "--bootstrap", 1, "not among them");
    expect(3, INCARNATION, "--bootstrap", 1, "not among them");
    expect(1, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "--join", 1, "only the other nodes");
    expect(1, "", "--join", 1, "[cluster] incarnation");
    expect(1, "", "--join --bootstrap", 2, "not both");
    expect(1, "", "--no-run", 2, "first start");
    expect(1, "", "--bootstrap --no-run", 1, "needs [cluster] nodes");
    expect(3, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "--bootstrap --no-run", 1, "not among them");
    /* What is said then, in the other form. */
    expect(7, "[node]\nlog_format = json\n", "--bootstrap --no-run", 1,
           "\"level\":\"alarm\",\"node\":\"7\",\"event\":\"cannot_make\",\"why\":\"");
    expect(7, "[node]\nlog_format = xml\n", "--check-config", 2, "one of text|json");
    /* And without either, a node without a log tells of both. */
    expect(1, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "", 1, "--bootstrap");
    expect(1, "nodes = 1=h:1, 2=h:2\n" INCARNATION, "", 1, "--join");
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/node.ini", dir);
    unlink(path);
    return rmdir(dir); /* no refused start has made anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_section_is_refused),
        cmocka_unit_test(a_first_start_must_fit_the_section),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
