/* The allocator, the error texts, the assertion. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assent/alloc.h"
#include "tests/support/support.h"

static void nothing_is_still_something(void **state)
{
    void *a = as_alloc(0), *b = as_alloc_zero(0, 8);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    a = as_resize(a, 0);
    assert_non_null(a);
    as_free(a);
    as_free(b);
    as_free(NULL);
}

static void sizes_that_cannot_be_are_out_of_memory(void **state)
{
    size_t volatile huge = SIZE_MAX;

    (void)state;
    assert_null(as_alloc(huge));
    assert_null(as_alloc_zero(huge / 2, 3));
    assert_null(as_alloc_zero(huge, 1));
}

static void zeroed_memory_is_zero(void **state)
{
    uint8_t *memory = as_alloc_zero(1000, 3);

    (void)state;
    assert_non_null(memory);
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(memory[i], 0);
    as_free(memory);
}

static void *refuse_resize(void *ctx, void *old, size_t size)
{
    (void)old;
    ++*(int *)ctx;
    assert_int_not_equal(size, 0);
    return NULL;
}

static void *refuse_zeroed(void *ctx, size_t size)
{
    (void)size;
    ++*(int *)ctx;
    return NULL;
}

static void a_test_may_replace_it(void **state)
{
    int calls = 0;
    const struct as_allocator refusing = {refuse_resize, refuse_zeroed, &calls};
    void *memory;

    (void)state;
    as_allocator_set(&refusing);
    assert_null(as_alloc(8));
    assert_null(as_alloc_zero(1, 8));
    assert_int_equal(calls, 2);
    as_allocator_set(NULL);
    memory = as_alloc(8);
    assert_non_null(memory);
    as_free(memory);
}

static void every_error_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(as_err_text(AS_OK), "no error");
    assert_string_equal(as_err_text(AS_ERR_CHECKSUM), "checksum does not match");
    assert_string_equal(as_err_text(1), "unknown error");
    assert_string_equal(as_err_text(-1000), "unknown error");
    for (as_err err = AS_ERR_REFUSED; err <= AS_OK; err++)
        assert_string_not_equal(as_err_text(err), "unknown error");
}

static void an_assertion_says_where_and_ends_the_process(void **state)
{
    char said[512] = "";
    int pipes[2], status;
    size_t len = 0;
    ssize_t got;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(pipes[1], STDERR_FILENO);
        AS_ASSERT(pipes[0] < 0);
        _exit(0);
    }
    close(pipes[1]);
    while ((got = read(pipes[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)got;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(said, "test_alloc.c:"));
    assert_non_null(strstr(said, "assertion failed: pipes[0] < 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_something),
        cmocka_unit_test(sizes_that_cannot_be_are_out_of_memory),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(a_test_may_replace_it),
        cmocka_unit_test(every_error_has_a_text),
        cmocka_unit_test(an_assertion_says_where_and_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
