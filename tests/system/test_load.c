/*
 * assent load: what its journal says is what the databases hold.
 */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRANSFERS 60

static struct sandbox sandbox;
static char journal[320];

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, NULL);
    snprintf(journal, sizeof(journal), "%s/journal", sandbox.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

/* Lines "ID word"; with `check`, each one against both databases. */
static int journal_count(const char *word, bool check)
{
    char line[200], id[80], outcome[40];
    FILE *file = fopen(journal, "re");
    int count = 0;

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%79s %39s", id, outcome) != 2 || strcmp(outcome, word) != 0)
            continue;
        count++;
        for (int i = 0; check && i < 2; i++)
            assert_int_equal(ledger_count(&sandbox, i, id), strcmp(word, "committed") == 0);
    }
    if (file)
        (void)fclose(file);
    return count;
}

/* Half of the accounts are not there, so that three of four transfers abort. */
static void the_journal_says_what_the_databases_hold(void **state)
{
    const char *const args[] = {"load",      "--api",       sandbox.api,  "--journal", journal,
                                "--clients", "4",           "--pause-ms", "0",         "--accounts",
                                "2000",      "--transfers", "60",         NULL};
    int64_t total = money_total(&sandbox);
    char *out;

    (void)state;
    assert_int_equal(run_assent(args, &out), 0);
    assert_non_null(strstr(out, " committed, "));
    free(out);
    assert_int_equal(journal_count("committed", true) + journal_count("aborted", true), TRANSFERS);
    assert_true(journal_count("committed", false) > 0 && journal_count("aborted", false) > 0);
    assert_int_equal(money_total(&sandbox), total);
}

static bool more_is_committed(void *ctx)
{
    const int *wanted = ctx;

    return journal_count("committed", false) >= *wanted;
}

/* A line that a kill has torn damages no other; the signal ends it with every outcome known. */
static void a_signal_ends_it(void **state)
{
    FILE *file = fopen(journal, "ae");
    int before = journal_count("committed", false), wanted = before + 20, status = 0;
    pid_t pid;

    (void)state;
    assert_non_null(file);
    fputs("load-0-0-0 comm", file);
    (void)fclose(file);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(AS_TEST_BIN "/assent", "assent", "load", "--api", sandbox.api, "--journal", journal,
              "--pause-ms", "0", (char *)NULL);
        _exit(127);
    }
    wait_for("the load commits", more_is_committed, &wanted, DEADLINE_MS);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(journal_count("committed", true) >= wanted);
    assert_int_equal(journal_count("comm", false), 1);
    wait_nothing_prepared(&sandbox, DEADLINE_MS);
}

static void wrong_arguments_are_refused(void **state)
{
    const char *const no_journal[] = {"load", NULL};
    const char *const no_address[] = {"load", "--journal", journal, "--api", ",", NULL};
    char *out;

    (void)state;
    assert_int_equal(run_assent(no_journal, &out), 2);
    free(out);
    assert_int_equal(run_assent(no_address, &out), 2);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_says_what_the_databases_hold),
        cmocka_unit_test(a_signal_ends_it),
        cmocka_unit_test(wrong_arguments_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
