/*
 * common/uv/say: the form of a line, byte by byte, read back from a pipe in stderr's place.
 */
#include "tests/support/support.h"

#include <cjson/cJSON.h>
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
    assert_string_equal(line,
                        "level=alarm event=heuristic id=order-4711 attempt=7.42 term=7 branch=2 "
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

/* --- JSON --- */

static cJSON *json_capture_end(void)
{
    cJSON *object;
    ssize_t len;

    dup2(stderr_saved, STDERR_FILENO);
    close(stderr_saved);
    len = read(read_end, line, sizeof(line) - 1);
    close(read_end);
    assert_true(len > 0 && len <= 4096);
    line[len] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    object = cJSON_Parse(line);
    if (!object)
        fail_msg("no JSON: %s", line);
    assert_int_equal(strlen(cJSON_GetObjectItem(object, "time")->valuestring), strlen(STAMP) - 1);
    return object;
}

static void assert_member(const cJSON *object, const char *key, const char *value)
{
    const char *found = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    if (!found || strcmp(found, value) != 0)
        fail_msg("%s: expected %s, found %s", key, value, found ? found : "nothing");
}

static void json_lines_have_their_form(void **state)
{
    struct as_trace trace = {.kind = AS_TRACE_HEURISTIC,
                             .attempt = {7, 42},
                             .branch = 2,
                             .number = UINT64_MAX,
                             .id = "order-4711",
                             .name = "bank_a"};
    cJSON *object;

    (void)state;
    say_format_set(SAY_JSON);
    say_origin_set("node", "3");
    capture_begin();
    say_trace(&trace);
    object = json_capture_end();
    assert_member(object, "level", "alarm");
    assert_member(object, "node", "3");
    assert_member(object, "event", "heuristic");
    assert_member(object, "id", "order-4711");
    assert_member(object, "attempt", "7.42");
    assert_member(object, "term", "7");
    assert_member(object, "branch", "2");
    assert_member(object, "name", "bank_a");
    assert_member(object, "number", "18446744073709551615");
    cJSON_Delete(object);

    capture_begin();
    say(AS_TRACE_INFO, "x", "text", "say \"no\" \\ \n\t\x01\x7f", "utf8",
        "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "none", NULL, "bytes",
        "\xff \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82", "empty", "", NULL);
    object = json_capture_end();
    assert_member(object, "text", "say \"no\" \\ \n\t\x01\x7f");
    assert_member(object, "utf8", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
#define X "\xef\xbf\xbd"
    assert_member(object, "bytes", X " " X X " " X X X " " X X X X " " X X);
#undef X
    assert_member(object, "empty", "");
    assert_null(cJSON_GetObjectItem(object, "none"));
    cJSON_Delete(object);
}

/* Whatever does not fit is left out, and what is written is still one object. */
static void long_json_lines_are_cut(void **state)
{
    static char value[12000];

    (void)state;
    for (size_t len = 1900; len < sizeof(value); len += len < 4300 ? 1 : 997) {
        for (int variant = 0; variant < 3; variant++) {
            cJSON *object;

            memset(value, "a\n\xff"[variant], len);
            value[len] = '\0';
            capture_begin();
            say(AS_TRACE_WARN, "long", "value", value, "after", "x", NULL);
            object = json_capture_end();
            assert_member(object, "event", "long");
            if (cJSON_GetObjectItem(object, "cut"))
                assert_null(cJSON_GetObjectItem(object, "after"));
            else
                assert_member(object, "after", "x");
            cJSON_Delete(object);
        }
    }
}

/* All further lines bear it; so this is the last of these tests. */
static void a_text_line_tells_who_speaks(void **state)
{
    (void)state;
    say_format_set(SAY_TEXT);
    say_origin_set("agent", "db 1");
    capture_begin();
    say(AS_TRACE_INFO, "x", NULL);
    capture_end();
    assert_string_equal(line, "level=info agent=\"db 1\" event=x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_their_form),        cmocka_unit_test(levels_are_respected),
        cmocka_unit_test(traces_are_printed),           cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(json_lines_have_their_form),   cmocka_unit_test(long_json_lines_are_cut),
        cmocka_unit_test(a_text_line_tells_who_speaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
