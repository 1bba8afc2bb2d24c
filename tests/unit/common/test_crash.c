/* The crash points: a child that reaches the named one dies or waits there, and nowhere else. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assent/crash.h"
#include "tests/support/support.h"

#ifdef AS_CRASH_POINTS

static char dir[] = "/tmp/assent-crash-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static const char *path_of(const char *file)
{
    static char path[200];

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return path;
}

/* Reaches one point five times, a turn's flush after each three, and another one in between. */
static void child_runs(void)
{
    static const char done[] = "x";

    for (int i = 0; i < 5; i++) {
        AS_CRASH_POINT("agent.commit.done");
        AS_CRASH_POINT("log.segment.opened");
        AS_CRASH_POINT_SENT("agent.ack.sent");
        if (i == 2)
            AS_CRASH_FLUSHED();
        if (write(STDOUT_FILENO, done, 1) != 1)
            _exit(3);
    }
    AS_CRASH_FLUSHED();
    _exit(0);
}

static pid_t start(const char *at, const char *action, int *ret_output)
{
    int pipes[2];
    pid_t child;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        if (!freopen("/dev/null", "w", stderr))
            _exit(4);
        close(pipes[0]);
        close(pipes[1]);
        signal(SIGABRT, SIG_DFL);
        setenv("ASSENT_CRASH_DIR", dir, 1);
        if (at)
            setenv("ASSENT_CRASH_AT", at, 1);
        if (action)
            setenv("ASSENT_CRASH_ACTION", action, 1);
        child_runs();
    }
    assert_true(child > 0);
    close(pipes[1]);
    *ret_output = pipes[0];
    return child;
}

/* How many rounds it ended, once it is dead. */
static int rounds(int output)
{
    char byte;
    int count = 0;

    while (read(output, &byte, 1) == 1)
        count++;
    close(output);
    return count;
}

static void expect_kill(const char *at, const char *file, int rounds_expected)
{
    int output, status;
    pid_t child = start(at, NULL, &output);

    assert_int_equal(rounds(output), rounds_expected);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(unlink(path_of(file)), 0);
}

static void the_named_point_kills(void **state)
{
    (void)state;
    expect_kill("agent.commit.done", "agent.commit.done.reached", 0);
    expect_kill("agent.commit.done:1", "agent.commit.done.reached", 0);
    expect_kill("agent.commit.done:4", "agent.commit.done.reached", 3);
    /* Marked ones are taken when the turn's bytes have left. */
    expect_kill("agent.ack.sent", "agent.ack.sent.reached", 2);
    expect_kill("agent.ack.sent:3", "agent.ack.sent.reached", 2);
    expect_kill("agent.ack.sent:4", "agent.ack.sent.reached", 5);
}

/* The child's rounds are over long before somebody makes this file; or it is there from the start. */
static void hits_before_a_file_exists_do_not_count(void **state)
{
    int output, status;
    pid_t child;

    (void)state;
    setenv("ASSENT_CRASH_AFTER", path_of("never"), 1);
    child = start("agent.commit.done", NULL, &output);
    assert_int_equal(rounds(output), 5);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    setenv("ASSENT_CRASH_AFTER", dir, 1);
    expect_kill("agent.commit.done:4", "agent.commit.done.reached", 3);
    unsetenv("ASSENT_CRASH_AFTER");
}

static void expect_exit(const char *at, int rounds_expected)
{
    int output, status;
    pid_t child = start(at, NULL, &output);

    assert_int_equal(rounds(output), rounds_expected);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_other_point_does(void **state)
{
    (void)state;
    expect_exit(NULL, 5);
    expect_exit("", 5);
    expect_exit("node.abort.sent", 5);
    expect_exit("agent.commit.done:6", 5);
}

static void a_wrong_environment_ends_the_process(void **state)
{
    static const char *const wrong[] = {"agent.commit.don",
                                        "agent.commit.donee",
                                        "agent.commit.done:0",
                                        "agent.commit.done:x",
                                        "x",
                                        "agent.commit.done:1x"};
    int output, status;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(wrong); i++) {
        pid_t child = start(wrong[i], NULL, &output);

        assert_int_equal(rounds(output), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

static void wait_for_file(const char *path)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; access(path, F_OK) != 0; i++) {
        assert_in_range(i, 0, 60000);
        nanosleep(&pause, NULL);
    }
}

static void a_pause_ends_when_told(void **state)
{
    struct pollfd more = {.events = POLLIN};
    char action[200], byte;
    int output, status;
    pid_t child;
    FILE *file;

    (void)state;
    snprintf(action, sizeof(action), "pause:%s", dir);
    child = start("agent.commit.done:2", action, &output);
    more.fd = output;
    wait_for_file(path_of("agent.commit.done.reached"));
    assert_int_equal(read(output, &byte, 1), 1);
    assert_int_equal(poll(&more, 1, 100), 0); /* it waits: no second round ends */
    file = fopen(path_of("agent.commit.done.continue"), "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(rounds(output), 4);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(unlink(path_of("agent.commit.done.reached")), 0);
    assert_int_equal(unlink(path_of("agent.commit.done.continue")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_named_point_kills),
        cmocka_unit_test(hits_before_a_file_exists_do_not_count),
        cmocka_unit_test(no_other_point_does),
        cmocka_unit_test(a_wrong_environment_ends_the_process),
        cmocka_unit_test(a_pause_ends_when_told),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

#else

static void release_has_none(void **state)
{
    (void)state;
    setenv("ASSENT_CRASH_AT", "agent.commit.done", 1);
    AS_CRASH_POINT("agent.commit.done");
    AS_CRASH_POINT_SENT("agent.commit.done");
    AS_CRASH_FLUSHED();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(release_has_none)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
