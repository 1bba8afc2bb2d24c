/* Texts of states, reasons and traces; cutting messages. */
#include <string.h>

#include "assent/reason.h"
#include "assent/trace.h"
#include "tests/support/support.h"

static void states_have_their_texts(void **state)
{
    enum as_txn_state found = AS_TXN_ACTIVE;

    (void)state;
    assert_string_equal(as_txn_state_text(AS_TXN_PREPARING), "preparing");
    assert_string_equal(as_txn_state_text((enum as_txn_state)99), "?");
    assert_string_equal(as_branch_state_text(AS_BRANCH_READ_ONLY), "read_only");
    assert_string_equal(as_branch_state_text(AS_BRANCH_STATE_COUNT), "?");
    assert_string_equal(as_verdict_text(AS_VERDICT_UNKNOWN), "unknown");
    assert_string_equal(as_verdict_text(AS_VERDICT_COUNT), "?");
    assert_string_equal(as_prepared_text(AS_PREPARED_OTHER_INCARNATION), "other_incarnation");
    assert_string_equal(as_prepared_text(AS_PREPARED_COUNT), "?");
    assert_string_equal(as_reason_text(AS_REASON_OVERLOADED), "overloaded");
    assert_string_equal(as_reason_text((enum as_reason_code) - 1), "?");
    for (unsigned i = 0; i < AS_TXN_STATE_COUNT; i++) {
        assert_int_equal(as_txn_state_of(as_txn_state_text((enum as_txn_state)i), &found), AS_OK);
        assert_int_equal(found, i);
    }
    assert_int_equal(as_txn_state_of("Active", &found), AS_ERR_NOTFOUND);
    assert_int_equal(as_txn_state_of("", &found), AS_ERR_NOTFOUND);
    assert_int_equal(found, AS_TXN_ABORTED);
}

static void traces_have_their_texts(void **state)
{
    (void)state;
    assert_string_equal(as_trace_name(AS_TRACE_TXN_BEGUN), "TXN_BEGUN");
    assert_string_equal(as_trace_text(AS_TRACE_TXN_ABORTED), "aborted");
    assert_int_equal(as_trace_level_of(AS_TRACE_HEURISTIC), AS_TRACE_ALARM);
    assert_int_equal(as_trace_level_of(AS_TRACE_TXN_BEGUN), AS_TRACE_DEBUG);
    assert_string_equal(as_trace_name(AS_TRACE_COUNT), "?");
    assert_string_equal(as_trace_text(AS_TRACE_COUNT), "?");
}

static void a_reason_begins_clean(void **state)
{
    struct as_reason reason;

    (void)state;
    memset(&reason, 0xa5, sizeof(reason));
    as_reason_set(&reason, AS_REASON_TIMEOUT, "too late");
    assert_int_equal(reason.code, AS_REASON_TIMEOUT);
    assert_int_equal(reason.branch, 0);
    assert_int_equal(reason.statement, -1);
    assert_string_equal(reason.sqlstate, "");
    assert_string_equal(reason.participant, "");
    assert_string_equal(reason.message, "too late");
    as_reason_set(&reason, AS_REASON_TIMEOUT, NULL);
    assert_string_equal(reason.message, "");
    as_reason_set_bytes(&reason, AS_REASON_TIMEOUT,
                        (struct as_bytes){(const uint8_t *)"ab\0cd", 5});
    assert_memory_equal(reason.message, "ab\0\0\0", 5); /* nothing unseen goes along */
    as_reason_set_bytes(&reason, AS_REASON_TIMEOUT, (struct as_bytes){NULL, 0});
    assert_string_equal(reason.message, "");
}

/* A message of characters of `width` bytes, behind `shift` single ones, is never cut inside of one.
 */
static void check_cut(const char *character, size_t width, size_t shift)
{
    char message[AS_REASON_LEN_MAX * 2 + 1];
    struct as_reason reason;
    size_t len = shift, kept;

    memset(message, '.', shift);
    while (len + width < sizeof(message)) {
        memcpy(message + len, character, width);
        len += width;
    }
    message[len] = '\0';
    as_reason_set(&reason, AS_REASON_TIMEOUT, message);
    kept = strlen(reason.message) - 3;
    assert_true(kept + 3 <= AS_REASON_LEN_MAX && kept + 3 + width > AS_REASON_LEN_MAX);
    assert_int_equal((kept - shift) % width, 0);
    assert_memory_equal(reason.message, message, kept);
    assert_string_equal(reason.message + kept, "...");
}

static void messages_are_cut_between_characters(void **state)
{
    char message[AS_REASON_LEN_MAX + 2];
    struct as_reason reason;

    (void)state;
    for (size_t shift = 0; shift < 8; shift++) {
        check_cut("x", 1, shift);
        check_cut("\xc3\xa4", 2, shift);
        check_cut("\xe2\x82\xac", 3, shift);
        check_cut("\xf0\x9f\x98\x80", 4, shift);
    }
    memset(message, 'x', sizeof(message));
    message[AS_REASON_LEN_MAX] = '\0';
    as_reason_set(&reason, AS_REASON_TIMEOUT, message); /* just fits */
    assert_string_equal(reason.message, message);
    memset(message, 0x80, sizeof(message)); /* no UTF-8 at all: cut anywhere */
    message[AS_REASON_LEN_MAX + 1] = '\0';
    as_reason_set(&reason, AS_REASON_TIMEOUT, message);
    assert_int_equal(strlen(reason.message), AS_REASON_LEN_MAX);
    assert_string_equal(reason.message + AS_REASON_LEN_MAX - 3, "...");
}

static void the_heuristic_states(void **state)
{
    (void)state;
    assert_false(as_branch_state_heuristic(AS_BRANCH_READ_ONLY));
    assert_true(as_branch_state_heuristic(AS_BRANCH_HEURISTIC_ABORT));
    assert_true(as_branch_state_heuristic(AS_BRANCH_UNVERIFIED));
    assert_false(as_branch_state_heuristic(AS_BRANCH_STATE_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_have_their_texts),
        cmocka_unit_test(traces_have_their_texts),
        cmocka_unit_test(a_reason_begins_clean),
        cmocka_unit_test(messages_are_cut_between_characters),
        cmocka_unit_test(the_heuristic_states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
