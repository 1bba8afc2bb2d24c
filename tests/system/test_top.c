/*
 * assent top: its figures are those of the cluster, and a terminal is left as it was found.
 */
#include "harness.h"

#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static struct sandbox sandbox;
static char apis[500];

static double figure(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);

    if (!cJSON_IsNumber(item))
        fail_msg("%s is no number", key);
    return item->valuedouble;
}

static cJSON *top_once(const char *api)
{
    const char *const args[] = {"top", "--once",        "--json", "--api",
                                api,   "--interval-ms", "1000",   NULL};
    char *text;
    cJSON *json;

    assert_int_equal(run_assent(args, &text), 0);
    json = cJSON_Parse(text);
    if (!json)
        fail_msg("top printed: %s", text);
    free(text);
    return json;
}

static void move_money(const char *id)
{
    struct answer answer;
    char body[1024];

    transfer_body(body, sizeof(body), id, 1, 1, 1, "");
    http(&sandbox, "/v1/transactions", body, DEADLINE_MS, &answer);
    assert_status(&answer, 200);
    answer_free(&answer);
}

static void figures_are_those_of_the_cluster(void **state)
{
    const cJSON *node, *participant;
    int leaders = 0, nodes = 0, up = 0, seen = 0;
    pid_t mover = fork();
    cJSON *json;

    (void)state;
    assert_true(mover >= 0);
    if (mover == 0) {
        char id[32];

        for (int i = 0;; i++) {
            snprintf(id, sizeof(id), "top-%d", i);
            move_money(id);
        }
    }
    /* The first second may be one before the first transfer. */
    for (int i = 0; i < 30 && seen == 0; i++) {
        json = top_once(apis);
        seen = figure(json, "committed_per_s") > 0;
        if (!seen)
            cJSON_Delete(json);
    }
    kill(mover, SIGKILL);
    waitpid(mover, NULL, 0);
    assert_true(seen);
    assert_in_range((int64_t)figure(json, "leader"), 1, 3);
    assert_true(figure(json, "term") >= 1);
    assert_true(figure(cJSON_GetObjectItem(json, "answer"), "p50_ms") > 0);
    assert_true(figure(cJSON_GetObjectItem(json, "decide"), "p99_ms") >=
                figure(cJSON_GetObjectItem(json, "decide"), "p50_ms"));
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(json, "nodes"))
    {
        nodes++;
        assert_true(cJSON_IsTrue(cJSON_GetObjectItem(node, "answers")));
        assert_true(figure(node, "lag_entries") >= 0);
        leaders += strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(node, "role")), "leader") == 0;
    }
    assert_int_equal(nodes, 3);
    assert_int_equal(leaders, 1);
    cJSON_ArrayForEach(participant, cJSON_GetObjectItem(json, "participants"))
    {
        up += cJSON_IsTrue(cJSON_GetObjectItem(participant, "up"));
        assert_int_equal((int)figure(participant, "slots"), 200);
    }
    assert_int_equal(up, 2);
    cJSON_Delete(json);
}

/* Asked of followers alone, what only the leader knows is null, not 0. */
static void what_is_not_known_is_null(void **state)
{
    for (int i = 0; i < 3; i++) {
        cJSON *json = top_once(sandbox.nodes[i].api);

        (void)state;
        if (cJSON_IsNumber(cJSON_GetObjectItem(json, "leader")))
            assert_true(figure(json, "undecided") >= 0);
        else
            assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "undecided")) &&
                        cJSON_IsNull(cJSON_GetObjectItem(json, "committed_per_s")));
        cJSON_Delete(json);
    }
}

static void nobody_there_is_said(void **state)
{
    const char *const args[] = {"top", "--once", "--api", "http://127.0.0.1:1", NULL};

    (void)state;
    assert_int_equal(run_assent(args, NULL), 3);
}

/* --- In a terminal --- */

struct terminal {
    int master;
    pid_t pid;
    struct termios before;
    char seen[1 << 18];
    size_t len;
};

static void open_terminal(struct terminal *terminal, unsigned short rows)
{
    const struct winsize size = {.ws_row = rows, .ws_col = 90};
    char program[] = AS_TEST_BIN "/assent", top[] = "top", api[] = "--api", interval[] = "100";
    char option[] = "--interval-ms";
    char *argv[] = {program, top, api, apis, option, interval, NULL};
    int slave;

    memset(terminal, 0, sizeof(*terminal));
    assert_int_equal(openpty(&terminal->master, &slave, NULL, NULL, &size), 0);
    assert_int_equal(tcgetattr(slave, &terminal->before), 0);
    terminal->pid = fork();
    assert_true(terminal->pid >= 0);
    if (terminal->pid == 0) {
        setenv("TERM", "vt100", 1);
        close(terminal->master);
        if (login_tty(slave))
            _exit(126);
        execv(argv[0], argv);
        _exit(127);
    }
    /* `slave` stays open here, so that the terminal outlives the program: settings can be read. */
}

/* Reads until `until` was seen `times` times. */
static void read_terminal(struct terminal *terminal, const char *until, int times)
{
    for (;;) {
        const char *at = terminal->seen;
        ssize_t got;
        int count = 0;

        while ((at = strstr(at, until)) != NULL && ++at)
            count++;
        if (count >= times)
            return;
        got = read(terminal->master, terminal->seen + terminal->len,
                   sizeof(terminal->seen) - 1 - terminal->len);
        if (got <= 0)
            fail_msg("the terminal ended before \"%s\"", until);
        terminal->len += (size_t)got;
    }
}

static void assert_given_back(struct terminal *terminal)
{
    struct termios after;
    int status;

    read_terminal(terminal, LEAVE, 1);
    assert_int_equal(waitpid(terminal->pid, &status, 0), terminal->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(terminal->seen + terminal->len - strlen(LEAVE), LEAVE);
    assert_int_equal(tcgetattr(terminal->master, &after), 0);
    assert_int_equal(after.c_lflag, terminal->before.c_lflag);
    assert_int_equal(after.c_iflag, terminal->before.c_iflag);
    close(terminal->master);
}

static void the_terminal_is_given_back(void **state)
{
    static struct terminal terminal;

    (void)state;
    for (int how = 0; how < 3; how++) {
        open_terminal(&terminal, 40);
        read_terminal(&terminal, "committed/s", 2);
        assert_memory_equal(terminal.seen, ENTER, strlen(ENTER));
        assert_non_null(strstr(terminal.seen, "PARTICIPANT"));
        if (how == 0)
            assert_int_equal(write(terminal.master, "\003", 1), 1); /* Ctrl-C */
        else if (how == 1)
            assert_int_equal(write(terminal.master, "q", 1), 1);
        else
            assert_int_equal(kill(terminal.pid, SIGTERM), 0);
        assert_given_back(&terminal);
    }
}

/* Ctrl-Z gives it back, and whoever continues it gets the picture again. */
static void a_suspended_one_gives_the_terminal_back(void **state)
{
    static struct terminal terminal;
    struct termios meanwhile;
    int status;

    (void)state;
    open_terminal(&terminal, 40);
    read_terminal(&terminal, "committed/s", 1);
    assert_int_equal(write(terminal.master, "\032", 1), 1);
    assert_int_equal(waitpid(terminal.pid, &status, WUNTRACED), terminal.pid);
    assert_true(WIFSTOPPED(status));
    read_terminal(&terminal, LEAVE, 1);
    assert_int_equal(tcgetattr(terminal.master, &meanwhile), 0);
    assert_int_equal(meanwhile.c_lflag, terminal.before.c_lflag);
    memset(terminal.seen, 0, sizeof(terminal.seen));
    terminal.len = 0;
    assert_int_equal(kill(terminal.pid, SIGCONT), 0);
    read_terminal(&terminal, ENTER, 1);
    read_terminal(&terminal, "committed/s", 1);
    assert_int_equal(write(terminal.master, "q", 1), 1);
    assert_given_back(&terminal);
}

static bool writes(void *ctx)
{
    const struct terminal *terminal = ctx;
    char path[64], text[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/syscall", terminal->pid);
    file = fopen(path, "re");
    assert_non_null(file);
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    return atol(text) == SYS_write;
}

/* Nobody reads, so that it is in the middle of a picture. */
static void a_suspended_one_goes_on_with_its_picture(void **state)
{
    static struct terminal terminal;
    int status;

    (void)state;
    open_terminal(&terminal, 40);
    read_terminal(&terminal, "committed/s", 1);
    for (int i = 0; i < 20; i++) { /* the first ones may meet a write that has written something */
        wait_for("assent top waits for the terminal", writes, &terminal, DEADLINE_MS);
        assert_int_equal(kill(terminal.pid, SIGTSTP), 0);
    }
    read_terminal(&terminal, LEAVE, 1);
    assert_int_equal(waitpid(terminal.pid, &status, WUNTRACED), terminal.pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(kill(terminal.pid, SIGCONT), 0);
    read_terminal(&terminal, ENTER, 2);
    assert_int_equal(write(terminal.master, "q", 1), 1);
    read_terminal(&terminal, LEAVE, 2);
    assert_given_back(&terminal);
}

static void a_small_terminal_is_not_overrun(void **state)
{
    static struct terminal terminal;
    const char *frame, *end;
    int lines = 1;

    (void)state;
    open_terminal(&terminal, 5);
    read_terminal(&terminal, "\033[J", 2);
    frame = strstr(terminal.seen, "\033[H");
    assert_non_null(frame);
    end = strstr(frame, "\033[J");
    for (; frame < end; frame++)
        lines += *frame == '\n';
    assert_int_equal(lines, 5);
    assert_int_equal(write(terminal.master, "q", 1), 1);
    assert_given_back(&terminal);
}

/* The last one: it breaks the sandbox. */
static void a_node_that_is_gone_is_shown(void **state)
{
    const char *const args[] = {"top", "--once", "--api", apis, NULL};
    char *text;

    (void)state;
    sandbox_do(&sandbox, "kill", "node-3", NULL);
    assert_int_equal(run_assent(args, &text), 0);
    assert_non_null(strstr(text, "NO ANSWER"));
    assert_null(strchr(text, '\033')); /* no terminal, no escapes */
    free(text);
}

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, (const char *[]){"--nodes", "3", NULL});
    snprintf(apis, sizeof(apis), "%s,%s,%s", sandbox.nodes[0].api, sandbox.nodes[1].api,
             sandbox.nodes[2].api);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_the_cluster),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(nobody_there_is_said),
        cmocka_unit_test(the_terminal_is_given_back),
        cmocka_unit_test(a_suspended_one_gives_the_terminal_back),
        cmocka_unit_test(a_suspended_one_goes_on_with_its_picture),
        cmocka_unit_test(a_small_terminal_is_not_overrun),
        cmocka_unit_test(a_node_that_is_gone_is_shown),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
