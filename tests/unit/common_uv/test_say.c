/*
 * common/uv/say: the form of a line, byte by byte, read back from a pipe in stderr's place.
 */
#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/uv/say.h"

#define STAMP "dddd-dd-ddTdd:dd:dd.dddZ "

static char line[65536];
static int read_end, stderr_saved;

static void capture_begin(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = ends[0];
    stderr_saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
}

/* Leaves in `line` what was said, without time stamp and newline. */
static void capture_end(void)
{
    ssize_t len;

    dup2(stderr_saved, STDERR_FILENO);
    close(stderr_saved);
    len = read(read_end, line, sizeof(line) - 1);
    close(read_end);
    line[len > 0 ? len : 0] = '\0';
    if (len <= 0)
        return;
    assert_int_equal(line[len - 1], '\n');
    line[len - 1] = '\0';
    assert_null(strchr(line, '\n'));
    for (size_t i = 0; i < strlen(STAMP); i++) {
        if (STAMP[i] == 'd')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], STAMP[i]);
    }
    memmove(line, line + strlen(STAMP), strlen(line + strlen(STAMP)) + 1);
}

static void lines_have_their_form(void **state)
{
    (void)state;
    capture_begin();
    say(AS_TRACE_INFO, "listening", "address", "127.0.0.1:7480", NULL);
    capture_end();
    assert_string_equal(line, "level=info event=listening address=127.0.0.1:7480");

    capture_begin();
    say(AS_TRACE_ALARM, "x", "empty", "", "space", "a b", "quote", "say \"no\"", "back", "a\\b",
        "none", NULL, "newline", "a\nb", "control", "\x01\x7f", "equals", "a=b", "utf8", "\xc3\xa9",
        NULL);
    capture_end();
    assert_string_equal(line,
                        "level=alarm event=x empty=\"\" space=\"a b\" quote=\"say \\\"no\\\"\" "
                        "back=\"a\\\\b\" newline=\"a\\nb\" control=\"\\x01\\x7f\" "
                        "equals=\"a=b\" utf8=\xc3\xa9");
}

static void levels_are_respected(void **state)
{
    enum as_trace_level level = AS_TRACE_ALARM;

    (void)state;
    capture_begin();
    say(AS_TRACE_DEBUG, "hidden", NULL);
    capture_end();
    assert_string_equal(line, "");
    assert_int_equal(say_level_of("debug", &level), AS_OK);
    assert_int_equal(level, AS_TRACE_DEBUG);
    assert_int_equal(say_level_of("loud", &level), AS_ERR_INVALID);
    say_level_set(AS_TRACE_DEBUG);
    capture_begin();
    say(AS_TRACE_DEBUG, "shown", NULL);
    capture_end();
    say_level_set(AS_TRACE_INFO);
    assert_string_equal(line, "level=debug event=shown");
}

static void traces_are_printed(void **state)
{
    struct as_trace trace = {.kind = AS_TRACE_HEURISTIC,
                             .attempt = {7, 42},
                             .branch = 2,
                             .number = 9,
                             .id = "order-4711",
                             .name = "bank_a",
                             .detail = "rolled back by hand"};

    (void)state;
    capture_begin();
    say_trace(&trace);
    capture_end();
    assert_string_equal(line, "level=alarm event=heuristic id=order-4711 attempt=7.42 branch=2 "
                              "name=bank_a number=9 "
                              "text=\"heuristic outcome: an operator must look (R7)\" "
                              "detail=\"rolled back by hand\"");
    trace = (struct as_trace){.kind = AS_TRACE_TXN_BEGUN};
    capture_begin();
    say_trace(&trace);
    capture_end();
    assert_string_equal(line, "");
}

/* Whatever the length and the bytes: one line, within its maximum, quotes closed. */
static void long_lines_are_cut(void **state)
{
    static char value[12000];

    (void)state;
    for (size_t len = 1900; len < sizeof(value); len += len < 4300 ? 1 : 997) {
        for (int variant = 0; variant < 3; variant++) {
            memset(value, "a \n"[variant], len);
            value[len] = '\0';
            capture_begin();
            say(AS_TRACE_WARN, "long", "value", value, "after", "x", NULL);
            capture_end();
            assert_true(strlen(line) < 4096);
            assert_memory_equal(line, "level=warn event=long value=", 28);
            if (strstr(line, " after=x"))
                assert_true(strlen(line) > len);
            else if (strcmp(line + strlen(line) - 4, "...\"") != 0)
                assert_string_equal(line + strlen(line) - 4, " ...");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_their_form),
        cmocka_unit_test(levels_are_respected),
        cmocka_unit_test(traces_are_printed),
        cmocka_unit_test(long_lines_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
