/*
 * common/uv/notify: the datagrams, as a service manager receives them.
 */
#include "tests/support/support.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/uv/notify.h"

static int manager;
static uv_loop_t loop;
static char dir[64], path[108], status[NOTIFY_STATUS_MAX];

static void put_status(void *ctx, char ret_text[NOTIFY_STATUS_MAX])
{
    (void)ctx;
    snprintf(ret_text, NOTIFY_STATUS_MAX, "%s", status);
}

/* NULL: nobody; a name that begins with "@" is an abstract one. */
static void manager_open(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_int_equal(uv_loop_init(&loop), 0);
    snprintf(status, sizeof(status), "first");
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    manager = -1;
    if (!name)
        return;
    snprintf(path, sizeof(path), "%s", name);
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    else
        unlink(path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))),
                     0);
    setenv("NOTIFY_SOCKET", path, 1);
}

static const char *received(void)
{
    static char text[512];
    ssize_t len = recv(manager, text, sizeof(text) - 1, 0);

    if (len < 0) {
        assert_int_equal(errno, EAGAIN);
        return "";
    }
    text[len] = '\0';
    return text;
}

/* Turns the loop until a datagram is there. */
static const char *next_received(void)
{
    const char *text;

    while (*(text = received()) == '\0')
        uv_run(&loop, UV_RUN_ONCE);
    return text;
}

static void finish(struct notify *notify)
{
    notify_close(notify);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    if (manager >= 0)
        close(manager);
    if (path[0] == '/')
        unlink(path);
}

static void a_life_is_told(void **state)
{
    struct notify notify;
    char name[108];

    (void)state;
    snprintf(name, sizeof(name), "%s/manager", dir);
    manager_open(name);
    assert_int_equal(notify_open(&notify, &loop, put_status, NULL), AS_OK);
    assert_string_equal(received(), ""); /* it does not serve yet */
    notify_ready(&notify);
    assert_string_equal(received(), "READY=1\nSTATUS=first");
    snprintf(status, sizeof(status), "second");
    assert_string_equal(next_received(), "STATUS=second");
    assert_string_equal(received(), "");
    notify_stopping(&notify, 15000);
    assert_string_equal(received(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=second");
    finish(&notify);
}

/* Fed by the loop and by nothing else. */
static void the_watchdog_is_fed_while_the_loop_turns(void **state)
{
    struct notify notify;
    char pid[32];

    (void)state;
    manager_open("@assent-test-notify");
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("WATCHDOG_USEC", "30000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_open(&notify, &loop, put_status, NULL), AS_OK);
    assert_int_equal(notify.watchdog_ms, 10); /* thrice in the time that is allowed */
    notify_ready(&notify);
    assert_string_equal(received(), "READY=1\nSTATUS=first");
    usleep(30000); /* not to wait for anything: the loop hangs */
    assert_string_equal(received(), "");
    for (int i = 0; i < 5; i++)
        assert_string_equal(next_received(), "WATCHDOG=1");
    finish(&notify);
}

static void the_watchdog_of_another_process_is_not_fed(void **state)
{
    struct notify notify;

    (void)state;
    manager_open("@assent-test-notify");
    setenv("WATCHDOG_USEC", "30000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_open(&notify, &loop, put_status, NULL), AS_OK);
    assert_int_equal(notify.watchdog_ms, 0);
    finish(&notify);
}

static void without_a_manager_nothing_happens(void **state)
{
    const char *const sockets[] = {NULL,
                                   "",
                                   "relative",
                                   "@",
                                   "/nonexistent/socket",
                                   "/1234567890123456789012345678901234567890123456789012345678901"
                                   "2345678901234567890123456789012345678901234567890"};
    struct notify notify, zeroed = {0};

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(sockets); i++) {
        manager_open(NULL);
        if (sockets[i])
            setenv("NOTIFY_SOCKET", sockets[i], 1);
        assert_int_equal(notify_open(&notify, &loop, put_status, NULL), AS_OK);
        assert_int_equal(notify.fd, -1);
        notify_ready(&notify);
        notify_stopping(&notify, 1);
        assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 0);
        finish(&notify);
    }
    notify_close(&zeroed);
}

/* The manager went away, or does not read: nothing blocks. */
static void a_manager_that_does_not_read_delays_nothing(void **state)
{
    struct notify notify;

    (void)state;
    manager_open("@assent-test-notify");
    assert_int_equal(notify_open(&notify, &loop, put_status, NULL), AS_OK);
    for (int i = 0; i < 5000; i++)
        notify_stopping(&notify, 1);
    close(manager);
    manager = -1;
    notify_stopping(&notify, 1);
    finish(&notify);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/assent-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_is_told),
        cmocka_unit_test(the_watchdog_is_fed_while_the_loop_turns),
        cmocka_unit_test(the_watchdog_of_another_process_is_not_fed),
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test(a_manager_that_does_not_read_delays_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
