/*
 * The decision log of a real node: what `assent log` says of it, and that a node refuses a log in which one byte has
 * rotted, names the place, and starts again once the byte is back.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TRANSFERS 20

static struct sandbox sandbox;
static char log_dir[300], segment[600];

static int setup(void **state)
{
    char id[32], body[2048];

    (void)state;
    sandbox_start(&sandbox, NULL);
    for (int i = 0; i < TRANSFERS; i++) {
        struct answer answer;

        snprintf(id, sizeof(id), "log-%d", i);
        transfer_body(body, sizeof(body), id, 1 + i, 2 + i, 1, NULL);
        http(&sandbox, "/v1/transactions", body, DEADLINE_MS, &answer);
        assert_status(&answer, 200);
        answer_free(&answer);
    }
    snprintf(log_dir, sizeof(log_dir), "%s/node-1", sandbox.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

static int log_command(const char *verb, char **ret_out)
{
    const char *args[] = {"log", verb, "--json", log_dir, NULL};

    return run_assent(args, ret_out);
}

static void a_killed_nodes_log_is_clean(void **state)
{
    char *out;

    (void)state;
    sandbox_do(&sandbox, "kill", "node-1", NULL);
    assert_int_equal(log_command("verify", &out), 0);
    free(out);
    assert_int_equal(log_command("dump", &out), 0);
    assert_non_null(strstr(out, "\"log-0\""));
    assert_non_null(strstr(out, "\"log-19\""));
    free(out);
}

/* The one segment there is. */
static void find_segment(void)
{
    DIR *dir = opendir(log_dir);
    const struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (strlen(entry->d_name) == strlen("0000000000000001.log") &&
            strstr(entry->d_name, ".log") && strncmp(entry->d_name, "0000", 4) == 0)
            snprintf(segment, sizeof(segment), "%s/%s", log_dir, entry->d_name);
    }
    closedir(dir);
    assert_true(segment[0]);
}

/* Flips one bit in the middle of the record that holds this id; returns its offset. */
static off_t flip_in_record(const char *id)
{
    static char bytes[1 << 20];
    int fd = open(segment, O_RDWR | O_CLOEXEC);
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    const char *found = memmem(bytes, (size_t)len, id, strlen(id));
    char byte;

    assert_non_null(found);
    byte = (char)(*found ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, found - bytes), 1);
    close(fd);
    return found - bytes;
}

static void a_rotten_byte_is_refused_and_named(void **state)
{
    char log[300], text[8192] = "", *out;
    FILE *file;
    int status;

    (void)state;
    find_segment();
    flip_in_record("log-3");
    status = log_command("verify", &out);
    assert_int_equal(status, 1);
    free(out);
    assert_int_not_equal(sandbox_try(&sandbox, "restart", "node-1", NULL), 0);
    snprintf(log, sizeof(log), "%s/log/node-1.log", sandbox.dir);
    file = fopen(log, "r");
    assert_non_null(file);
    while (fgets(text, sizeof(text), file)) /* the last line stays */
        ;
    fclose(file);
    if (!strstr(text, strrchr(segment, '/') + 1) || !strstr(text, "offset"))
        fail_msg("the refusal names no file and offset: %s", text);

    /* Nothing was changed by the refusal: with the byte back all is well. */
    flip_in_record("mog-3");
    sandbox_do(&sandbox, "restart", "node-1", NULL);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_nodes_log_is_clean),
        cmocka_unit_test(a_rotten_byte_is_refused_and_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
