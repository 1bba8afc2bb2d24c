/*
 * The linearizability checker: histories that must be accepted and refused, written as lines, and random ones made by a model of
 * the object.
 */
#include "linear.h"

#include "../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assent/rng.h"

#define OPS_MAX 64

/* --- Histories as text: "kind called returned answer [attempt] [@index]", ";" between; session reads: "session:TOKEN" --- */

static enum linear_answer answer_of(const char *word)
{
    static const char *const words[] = {"unknown", "refused", "missing",
                                        "running", "aborted", "committed"};

    for (size_t i = 0; i < AS_COUNT_OF(words); i++)
        if (strcmp(words[i], word) == 0)
            return (enum linear_answer)i;
    fail_msg("no such answer: %s", word);
    return LINEAR_UNKNOWN;
}

static size_t parse(const char *text, struct linear_op ops[OPS_MAX])
{
    char copy[4096], *line, *rest = copy;
    size_t count = 0;

    snprintf(copy, sizeof(copy), "%s", text);
    while ((line = strsep(&rest, ";"))) {
        char kind[32], answer[32];
        unsigned long long term = 0, seq = 0, index = 0, token = 0;
        long long called, returned;
        struct linear_op *op = &ops[count];
        int used = 0;

        assert_true(count < OPS_MAX);
        assert_int_equal(
            sscanf(line, " %31s %lld %lld %31s%n", kind, &called, &returned, answer, &used), 4);
        sscanf(line + used, " %llu.%llu @%llu", &term, &seq, &index);
        *op = (struct linear_op){.called = called,
                                 .returned = returned,
                                 .answer = answer_of(answer),
                                 .attempt = {term, seq},
                                 .index = index,
                                 .place = count};
        op->kind = strcmp(kind, "post") == 0       ? LINEAR_POST
                   : strcmp(kind, "get") == 0      ? LINEAR_GET
                   : strcmp(kind, "eventual") == 0 ? LINEAR_EVENTUAL
                                                   : LINEAR_SESSION;
        if (sscanf(kind, "session:%llu", &token) == 1)
            op->token = token;
        count++;
    }
    return count;
}

static void expect(const char *text, bool holds, size_t place)
{
    struct linear_op ops[OPS_MAX];
    size_t count = parse(text, ops), at;
    char why[256];
    enum linear_verdict verdict = linear_check(ops, count, &at, why);

    if (verdict != (holds ? LINEAR_HOLDS : LINEAR_BROKEN))
        fail_msg("verdict %d at operation %zu (%s): %s", verdict, at, why, text);
    if (!holds && at != place)
        fail_msg("refused at operation %zu (%s), not %zu: %s", at, why, place, text);
}

static void accepts(const char *text)
{
    expect(text, true, 0);
}

/* At operation `place` of the line, from 0. */
static void refuses(const char *text, size_t place)
{
    expect(text, false, place);
}

/* --- Accepted --- */

static void plain_lives_are_accepted(void **state)
{
    (void)state;
    accepts("get 1 2 missing");
    accepts(
        "get 1 2 missing; post 3 9 committed 1.1; get 5 6 running 1.1; get 10 11 committed 1.1");
    accepts("post 1 9 aborted 1.1; get 2 3 running 1.1; get 10 11 aborted 1.1");
    accepts("post 1 2 running 1.1; get 3 4 running 1.1; get 5 6 committed 1.1");
}

static void aborted_and_missing_tell_of_now(void **state)
{
    (void)state;
    /* The record of an abort is lost with its leader; that of an earlier one shows again. */
    accepts("post 1 2 aborted 1.1; get 3 4 aborted 1.1; get 5 6 missing");
    accepts("post 1 2 aborted 1.1; post 3 4 aborted 1.7; get 5 6 aborted 1.7; get 7 8 aborted 1.1");
    /* Posted again, it may commit. */
    accepts(
        "post 1 2 aborted 1.1; get 3 4 aborted 1.1; post 5 6 committed 1.2; get 7 8 committed 1.2");
    /* A delayed duplicate of a request without an answer commits it, however late. */
    accepts("post 1 2 unknown; post 3 4 aborted 1.1; get 5 6 missing; get 100 101 committed 2.1");
    accepts("post 1 2 unknown; get 3 4 missing; get 5 6 running 1.1; get 7 8 missing");
    /* One under way at the same time. */
    accepts("post 1 9 committed 1.2; post 2 3 aborted 1.1; get 4 5 aborted 1.1");
}

static void concurrent_ones_may_come_in_any_order(void **state)
{
    (void)state;
    accepts("post 1 20 committed 1.1; get 2 9 committed 1.1; get 3 8 missing");
    accepts("post 1 20 aborted 1.1; get 2 9 aborted 1.1; get 3 8 running 1.1; get 4 7 missing");
    accepts("post 1 20 committed 1.2; post 2 10 aborted 1.1; get 3 19 running 1.1; get 4 18 "
            "running 1.2");
}

static void a_deposed_leader_may_answer_the_end_of_what_it_began(void **state)
{
    (void)state;
    /* 2.1 has committed and its client knows, when the leader of term 1 takes a POST and aborts its own attempt. */
    accepts("post 1 2 committed 2.1; post 3 4 aborted 1.9; get 5 6 committed 2.1");
    accepts("post 1 2 committed 2.1; post 3 4 aborted; get 5 6 committed 2.1");
    /* Refused by a leader that resigns: what it began was seen, and ended. */
    accepts("post 1 9 refused; get 2 3 running 1.1; get 10 11 missing");
    /* A read that waits at a leader that is deposed while it waits. */
    accepts(
        "post 1 30 unknown; get 3 20 aborted 1.1; post 5 6 committed 2.1; get 7 8 committed 2.1");
}

static void weaker_reads_may_be_old(void **state)
{
    (void)state;
    accepts("post 1 2 committed 1.1 @50; eventual 3 4 missing; eventual 5 6 committed 1.1");
    accepts("post 1 2 committed 1.1 @50; session:49 3 4 missing; session:50 5 6 committed 1.1");
}

/* --- Refused: each of these is one way to be wrong --- */

static void a_commit_is_final(void **state)
{
    (void)state;
    refuses("post 1 2 committed 1.1; get 3 4 missing", 1);
    refuses("post 1 2 committed 1.1; get 3 4 running 1.1", 1);
    refuses("post 1 2 unknown; get 3 4 committed 1.1; get 5 6 missing; get 7 8 committed 1.1", 2);
    refuses("post 1 9 committed 1.1; get 2 3 committed 1.1; get 4 5 running 1.1", 2);
    refuses("post 1 2 committed 1.1; post 3 4 aborted 1.1", 1);
    refuses("post 1 2 aborted 1.1; get 3 4 committed 1.1", 0);
    /* Also what a weaker read has shown is true from then on. */
    refuses("post 1 2 unknown; eventual 3 4 committed 1.1; get 5 6 missing", 2);
}

static void one_attempt_commits_and_none_begins_after_it(void **state)
{
    (void)state;
    refuses("post 1 2 committed 1.1; post 3 4 committed 1.2", 1);
    refuses("post 1 2 committed 1.1; post 3 4 aborted 1.2", 1);
    refuses("post 1 2 committed 1.1; post 3 4 aborted 2.1", 1);
    refuses("post 1 2 committed 1.1; post 3 4 unknown; eventual 5 6 aborted 2.1", 2);
    refuses("post 1 2 committed 1.5; post 3 4 aborted 1.2", 1); /* the leader itself knew */
}

static void nothing_commits_that_nobody_can_have_posted(void **state)
{
    (void)state;
    refuses("post 1 2 aborted 1.1; get 3 4 aborted 1.1; get 5 6 committed 1.2", 2);
    refuses("get 1 2 committed 1.1; post 3 4 unknown", 0);
    refuses("post 1 2 refused; get 3 4 committed 1.1",
            1); /* 503 no_leader, and it was carried out */
    refuses("post 1 2 refused; get 3 4 missing; post 5 20 committed 1.3; get 6 7 running 1.2", 2);
    refuses("post 1 2 refused; get 3 4 missing; post 5 6 unknown; get 7 8 running 1.1; get 9 10 "
            "missing; get 11 12 running 1.2",
            5);
    refuses("post 1 2 aborted 1.1; get 3 4 aborted 1.2", 1);
    refuses("post 1 2 unknown; get 3 4 running 1.1; get 5 6 missing; get 7 8 running 1.2", 3);
    refuses("post 1 2 unknown; get 3 4 running 1.1; get 5 6 missing; get 7 8 committed 1.2", 3);
}

static void what_has_ended_does_not_come_back(void **state)
{
    (void)state;
    refuses("post 1 2 running 1.1; get 3 4 aborted 1.1; get 5 6 running 1.1", 2);
    refuses("post 1 2 running 1.1; get 3 4 missing; get 5 6 running 1.1", 2);
    refuses("post 1 2 running 1.1; get 3 4 missing; get 5 6 committed 1.1", 1);
    refuses("post 1 2 unknown; post 3 4 unknown; get 5 6 running 1.2; get 7 8 running 1.1", 3);
    refuses("post 1 9 unknown; post 2 9 unknown; get 3 4 aborted 1.2; get 5 6 running 1.1", 3);
}

static void an_answer_is_of_now(void **state)
{
    (void)state;
    refuses("post 1 2 running 1.1; post 3 4 running 1.1; get 5 6 running 1.2", 2);
    refuses("post 1 2 aborted 1.1; post 3 4 running 1.2; get 5 6 running 1.1", 2);
    refuses("get 1 2 running 1.1", 0);
    refuses("get 1 3 running 1.1; post 3 9 running 1.1", 0);
}

static void a_session_sees_what_its_token_covers(void **state)
{
    (void)state;
    refuses("post 1 2 committed 1.1 @50; session:50 3 4 missing", 1);
    refuses("post 1 9 committed 1.1 @50; session:77 3 4 aborted 1.0", 1);
}

/* --- Random histories of a true object --- */

#define CLIENTS 5

struct object {
    struct as_rng rng;
    struct as_attempt live, committed, highest; /* seq 0: none */
    struct as_attempt ended;                    /* the last one, while its record is not lost */
    uint32_t duplicates; /* POSTs without an answer that may begin one still */
};

struct request {
    struct linear_op op;
    int steps; /* until it returns; 0: none */
    bool begun, shown, lost;
};

static bool chance(struct object *object, uint64_t one_in)
{
    return as_rng_below(&object->rng, one_in) == 0;
}

static void object_begin(struct object *object)
{
    struct as_attempt next = {object->highest.term, object->highest.seq + 1};

    if (chance(object, 4))
        next = (struct as_attempt){object->highest.term + 1, 1};
    object->live = object->highest = next;
}

static void object_moves(struct object *object)
{
    if (object->committed.seq)
        return;
    if (object->live.seq && chance(object, 4)) {
        if (chance(object, 3))
            object->committed = object->live;
        else if (chance(object, 2))
            object->ended = object->live;
        object->live.seq = 0;
    } else if (!object->live.seq && object->duplicates && chance(object, 4)) {
        object->duplicates--;
        object_begin(object);
    } else if (chance(object, 16)) {
        object->ended.seq = 0; /* the record of the abort is lost */
    }
}

static void object_show(const struct object *object, struct linear_op *op)
{
    op->answer = object->committed.seq ? LINEAR_COMMITTED
                 : object->live.seq    ? LINEAR_UNDER_WAY
                 : object->ended.seq   ? LINEAR_ABORTED
                                       : LINEAR_NOT_FOUND;
    op->attempt = object->committed.seq ? object->committed
                  : object->live.seq    ? object->live
                                        : object->ended;
}

/* Somewhere between call and return it begins what it must, and later sees the object. */
static void request_moves(struct object *object, struct request *request)
{
    if (request->op.kind == LINEAR_POST && !request->begun) {
        if (chance(object, 2))
            return;
        request->begun = true;
        if (!object->live.seq && !object->committed.seq)
            object_begin(object);
    } else if (!request->shown && chance(object, 2)) {
        object_show(object, &request->op);
        request->shown = request->op.kind != LINEAR_POST || request->op.answer != LINEAR_NOT_FOUND;
    }
}

static void request_new(struct object *object, struct request *request, int64_t at)
{
    *request = (struct request){.steps = 6 + (int)as_rng_below(&object->rng, 12)};
    request->op.called = at;
    request->op.kind = chance(object, 3) ? LINEAR_POST : LINEAR_GET;
    request->lost = chance(object, 5);
}

static void request_returns(struct object *object, struct request *request, int64_t at)
{
    request->op.returned = at;
    if (!request->lost && request->shown)
        return;
    if (request->op.kind == LINEAR_POST && !request->begun)
        object->duplicates++;
    request->op.answer = LINEAR_UNKNOWN;
    request->op.attempt.seq = 0;
}

static size_t history_make(uint64_t seed, size_t wanted, struct linear_op ops[OPS_MAX])
{
    struct object object = {.rng = {seed}, .highest = {1, 0}};
    struct request requests[CLIENTS] = {{.steps = 0}};
    size_t count = 0;

    for (int64_t at = 1; count < wanted; at++) {
        struct request *request = &requests[as_rng_below(&object.rng, CLIENTS)];

        object_moves(&object);
        if (request->steps == 0) {
            request_new(&object, request, at);
            continue;
        }
        request_moves(&object, request);
        if (--request->steps == 0) {
            request_returns(&object, request, at);
            request->op.place = count;
            ops[count++] = request->op;
        }
    }
    /* Those that have not returned: of a POST nobody knows. */
    for (size_t i = 0; i < CLIENTS && count < OPS_MAX; i++) {
        if (requests[i].steps == 0 || requests[i].op.kind != LINEAR_POST)
            continue;
        requests[i].op.returned = INT64_MAX;
        requests[i].op.answer = LINEAR_UNKNOWN;
        requests[i].op.attempt.seq = 0;
        requests[i].op.place = count;
        ops[count++] = requests[i].op;
    }
    return count;
}

static uint64_t seeds(uint64_t usual)
{
    const char *text = getenv("ASSENT_SEEDS");

    return text ? strtoull(text, NULL, 10) : usual;
}

static void true_histories_are_accepted(void **state)
{
    struct timespec begin, end;
    uint64_t operations = 0;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint64_t seed = 1; seed <= seeds(20000); seed++) {
        struct linear_op ops[OPS_MAX];
        size_t count = history_make(seed, 10, ops), at;
        char why[256];

        operations += count;
        if (linear_check(ops, count, &at, why) != LINEAR_HOLDS)
            fail_msg("ASSENT_SEED=%llu: refused at %zu: %s", (unsigned long long)seed, at, why);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    print_message(
        "%llu ids with %llu operations in %lld ms\n", (unsigned long long)seeds(20000),
        (unsigned long long)operations,
        (long long)((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000));
}

/* A read after all the others that shows what the object cannot show any more. */
static bool spoil(struct linear_op *ops, size_t *count)
{
    struct linear_op bad = {.called = 100000, .returned = 100001, .kind = LINEAR_GET};

    for (size_t i = 0; i < *count; i++)
        if (ops[i].answer == LINEAR_COMMITTED)
            bad.attempt = ops[i].attempt;
    if (!bad.attempt.seq)
        return false;
    bad.answer = *count % 2 ? LINEAR_NOT_FOUND : LINEAR_UNDER_WAY;
    bad.place = *count;
    ops[(*count)++] = bad;
    return true;
}

static void spoiled_histories_are_refused(void **state)
{
    uint64_t spoiled = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds(20000); seed++) {
        struct linear_op ops[OPS_MAX];
        size_t count = history_make(seed, 12, ops), at;
        char why[256];

        if (!spoil(ops, &count))
            continue;
        spoiled++;
        if (linear_check(ops, count, &at, why) != LINEAR_BROKEN || at != count - 1)
            fail_msg("ASSENT_SEED=%llu: the false read was not found", (unsigned long long)seed);
    }
    assert_true(spoiled > seeds(20000) / 4);
}

static void what_is_too_much_is_told(void **state)
{
    static struct linear_op ops[LINEAR_OPEN_MAX + 1];
    size_t at;
    char why[256];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(ops); i++)
        ops[i] = (struct linear_op){
            .called = 1, .returned = 2, .kind = LINEAR_GET, .answer = LINEAR_NOT_FOUND, .place = i};
    assert_int_equal(linear_check(ops, AS_COUNT_OF(ops), &at, why), LINEAR_TOO_MUCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lives_are_accepted),
        cmocka_unit_test(aborted_and_missing_tell_of_now),
        cmocka_unit_test(concurrent_ones_may_come_in_any_order),
        cmocka_unit_test(a_deposed_leader_may_answer_the_end_of_what_it_began),
        cmocka_unit_test(weaker_reads_may_be_old),
        cmocka_unit_test(a_commit_is_final),
        cmocka_unit_test(one_attempt_commits_and_none_begins_after_it),
        cmocka_unit_test(nothing_commits_that_nobody_can_have_posted),
        cmocka_unit_test(what_has_ended_does_not_come_back),
        cmocka_unit_test(an_answer_is_of_now),
        cmocka_unit_test(a_session_sees_what_its_token_covers),
        cmocka_unit_test(true_histories_are_accepted),
        cmocka_unit_test(spoiled_histories_are_refused),
        cmocka_unit_test(what_is_too_much_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
