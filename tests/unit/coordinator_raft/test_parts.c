/*
 * The parts by themselves: the tail against a plain list, messages cut at every byte, and the named
 * maxima.
 */
#include "../../support/support.h"

#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "coordinator/raft/raft.h"
#include "coordinator/raft/tail.h"

/* --- The tail --- */

#define LIST_MAX 3000

struct plain {
    uint64_t term, number;
    size_t len;
};

static struct plain list[LIST_MAX * 4]; /* by index */
static uint8_t payload[4096];

static size_t fill(uint64_t number, size_t len)
{
    for (size_t i = 0; i < len; i++)
        payload[i] = (uint8_t)(number * 31 + i);
    return len;
}

static void check_entry(const struct raft_tail *tail, uint64_t index)
{
    struct raft_entry entry;

    raft_tail_entry(tail, index, &entry);
    assert_int_equal(entry.index, index);
    assert_int_equal(entry.term, list[index].term);
    assert_int_equal(entry.time_ms, (int64_t)list[index].number);
    assert_int_equal(entry.payload.len, fill(list[index].number, list[index].len));
    assert_memory_equal(entry.payload.data, payload, entry.payload.len);
}

static void check_tail(const struct raft_tail *tail, struct as_rng *rng)
{
    uint64_t count = tail->last_index - tail->base_index, from, i;
    struct raft_entry entry;
    struct as_reader in;
    uint32_t run = 0, seen = 0;

    if (count == 0)
        return;
    check_entry(tail, tail->base_index + 1);
    check_entry(tail, tail->last_index);
    from = tail->base_index + 1 + as_rng_below(rng, count);
    in = as_reader_of(raft_tail_run(tail, from, 1 + as_rng_below(rng, 3000), &run));
    for (i = from; raft_entry_take(&in, &entry); i++, seen++) {
        assert_int_equal(entry.term, list[i].term);
        assert_int_equal(entry.payload.len, list[i].len);
    }
    assert_true(run > 0 && seen == run && as_reader_done(&in));
    i = raft_tail_seek(tail, list[from].term);
    assert_true(i <= from && raft_tail_term(tail, i) == list[from].term);
    assert_true(i == tail->base_index || raft_tail_term(tail, i - 1) < list[from].term);
    assert_int_equal(raft_tail_seek(tail, UINT64_MAX), tail->last_index + 1);
    assert_true(raft_tail_span(tail, from, from + 1) >= RAFT_ENTRY_HEADER + list[from].len);
    assert_int_equal(raft_tail_span(tail, 0, from) + raft_tail_span(tail, from, from + 1),
                     raft_tail_span(tail, 0, from + 1));
}

static void append_some(struct raft_tail *tail, struct as_rng *rng, uint64_t *number,
                        uint64_t *term)
{
    static size_t lens[64];
    uint64_t count = 1 + as_rng_below(rng, 64), bytes = 0;

    for (uint64_t i = 0; i < count; i++) {
        lens[i] = as_rng_below(rng, 10) ? as_rng_below(rng, 200)
                                        : as_rng_below(rng, 4096 - RAFT_ENTRY_HEADER + 1);
        bytes += RAFT_ENTRY_HEADER + lens[i];
    }
    assert_int_equal(raft_tail_reserve(tail, count, bytes), AS_OK);
    *term += as_rng_below(rng, 3) == 0;
    for (uint64_t i = 0; i < count; i++) {
        struct raft_entry entry = {.term = *term, .time_ms = (int64_t)++ * number, .type = 9};

        entry.payload = (struct as_bytes){payload, fill(*number, lens[i])};
        raft_tail_append(tail, &entry);
        list[tail->last_index] = (struct plain){.term = *term, .number = *number, .len = lens[i]};
    }
}

static void one_tail(uint64_t seed)
{
    struct as_rng rng = {seed};
    struct raft_tail tail;
    uint64_t number = 0, term = 1;

    raft_tail_init(&tail, 4096);
    while (tail.last_index < LIST_MAX) {
        uint64_t count = tail.last_index - tail.base_index;

        switch (as_rng_below(&rng, 8)) {
        case 0:
            if (count > 0) {
                raft_tail_truncate(&tail, tail.last_index - as_rng_below(&rng, count));
                term++;
            }
            break;
        case 1:
            raft_tail_cut(&tail, tail.base_index + as_rng_below(&rng, count + 1));
            break;
        case 2:
            if (as_rng_below(&rng, 20) == 0)
                raft_tail_reset(&tail, tail.last_index + as_rng_below(&rng, 100), ++term, 7);
            break;
        default:
            append_some(&tail, &rng, &number, &term);
        }
        check_tail(&tail, &rng);
        assert_true(tail.spare_count < 200);
    }
    for (uint64_t i = tail.base_index + 1; i <= tail.last_index; i++)
        check_entry(&tail, i);
    raft_tail_close(&tail);
}

static void test_tail(void **state)
{
    (void)state;
    test_leaks_begin();
    for (uint64_t seed = 1; seed <= 40; seed++)
        one_tail(seed);
    test_leaks_end();
}

/* A tail that found no memory is as it was. */
static void fill_tail(void *ctx)
{
    struct raft_tail tail;
    uint64_t last = 0;

    (void)ctx;
    raft_tail_init(&tail, 4096);
    for (uint64_t i = 1; i <= 600; i++) {
        struct raft_entry entry = {.term = 1, .time_ms = (int64_t)i, .payload = {payload, 100}};
        as_err err = raft_tail_reserve(&tail, 1, RAFT_ENTRY_HEADER + 100);

        if (err)
            err = raft_tail_reserve(&tail, 1, RAFT_ENTRY_HEADER + 100);
        assert_int_equal(err, AS_OK);
        raft_tail_append(&tail, &entry);
        if (i % 200 == 0) /* the ring turns before it grows again */
            raft_tail_cut(&tail, last = i - 150);
    }
    for (uint64_t i = last + 1; i <= 600; i++) {
        assert_int_equal(raft_tail_time_ms(&tail, i), (int64_t)i);
        assert_int_equal(raft_tail_bytes(&tail, i).len, RAFT_ENTRY_HEADER + 100);
    }
    raft_tail_close(&tail);
}

static void test_tail_nomem(void **state)
{
    (void)state;
    test_fail_each_allocation(fill_tail, NULL);
}

/* --- Messages --- */

static uint8_t coded_members[2600];

static struct as_bytes three_members(void)
{
    struct raft_members members = {.count = 3};
    struct as_buf buf = {
        .data = coded_members, .cap = sizeof(coded_members), .max = sizeof(coded_members)};

    for (uint32_t i = 0; i < 3; i++)
        members.list[i] =
            (struct raft_member){.id = i + 1, .role = RAFT_VOTER, .address = "host:1"};
    raft_members_put(&buf, &members);
    return as_buf_bytes(&buf);
}

static void test_messages(void **state)
{
    uint8_t entries[64];
    struct as_buf some = {.data = entries, .cap = sizeof(entries), .max = sizeof(entries)};
    struct raft_entry entry = {.term = 3, .type = 2, .payload = {payload, 10}};

    (void)state;
    raft_entry_put(&some, &entry);
    for (int type = 0; type < RAFT_MESSAGE_COUNT; type++) {
        struct raft_message message = {.type = (enum raft_message_type)type, .term = 5}, taken;
        struct as_buf buf;

        if (type == RAFT_APPEND) {
            message.append.entries = as_buf_bytes(&some);
            message.append.count = 1;
        } else if (type == RAFT_SNAPSHOT) {
            message.snapshot.index = message.snapshot.snapshot_term = 4;
            message.snapshot.members = three_members();
            message.snapshot.bytes = (struct as_bytes){payload, 20};
        }
        as_buf_init(&buf, RAFT_MESSAGE_BYTES_MAX);
        raft_message_put(&buf, &message);
        assert_int_equal(raft_message_take(as_buf_bytes(&buf), &taken), AS_OK);
        assert_int_equal(taken.type, type);
        for (size_t len = 0; len < buf.len; len++)
            assert_int_equal(raft_message_take((struct as_bytes){buf.data, len}, &taken),
                             AS_ERR_MALFORMED);
        as_put_u8(&buf, 0);
        assert_int_equal(raft_message_take(as_buf_bytes(&buf), &taken), AS_ERR_MALFORMED);
        as_buf_close(&buf);
    }
}

/* An APPEND of term 5 behind an entry of term 2, with one entry. */
static as_err take_append(uint64_t entry_term, uint32_t count, uint8_t type, size_t len)
{
    uint8_t entries[128], coded[256];
    struct as_buf some = {.data = entries, .cap = sizeof(entries), .max = sizeof(entries)};
    struct as_buf buf = {.data = coded, .cap = sizeof(coded), .max = sizeof(coded)};
    struct raft_entry entry = {.term = entry_term, .type = type, .payload = {payload, len}};
    struct raft_message message = {.type = RAFT_APPEND, .term = 5}, taken;

    raft_entry_put(&some, &entry);
    message.append.prev_index = 7;
    message.append.prev_term = 2;
    message.append.count = count;
    message.append.entries = as_buf_bytes(&some);
    raft_message_put(&buf, &message);
    assert_int_equal(buf.err, AS_OK);
    return raft_message_take(as_buf_bytes(&buf), &taken);
}

static void test_unsound_entries(void **state)
{
    (void)state;
    assert_int_equal(take_append(2, 1, 2, 3), AS_OK);
    assert_int_equal(take_append(5, 1, 2, 3), AS_OK);
    assert_int_equal(take_append(1, 1, 2, 3), AS_ERR_MALFORMED); /* terms go back */
    assert_int_equal(take_append(6, 1, 2, 3), AS_ERR_MALFORMED); /* later than its sender's */
    assert_int_equal(take_append(2, 0, 2, 3), AS_ERR_MALFORMED);
    assert_int_equal(take_append(2, 2, 2, 3), AS_ERR_MALFORMED);
    assert_int_equal(take_append(2, 1, RAFT_ENTRY_MEMBERS, 3), AS_ERR_MALFORMED);
}

/* --- Maxima --- */

static struct raft *raft;
static struct raft_effects effects;

static void step(struct raft_event event)
{
    assert_int_equal(raft_step(raft, &event, &effects), AS_OK);
}

static void persist(uint64_t write)
{
    step((struct raft_event){.kind = RAFT_PERSISTED, .write = write});
}

/* A lone node that leads; its next write is the 4th. */
static void lone(struct raft_config config)
{
    config.id = 1;
    config.members.count = 1;
    config.members.list[0] = (struct raft_member){.id = 1, .role = RAFT_VOTER};
    assert_int_equal(raft_new(&raft, &config), AS_OK);
    step((struct raft_event){.kind = RAFT_START});
    persist(2);
    persist(3);
}

static void test_too_many_members(void **state)
{
    char longest[RAFT_ADDRESS_LEN_MAX + 2];
    struct raft_event event = {.kind = RAFT_MEMBER, .member = {.address = longest}};
    uint64_t write = 3;

    (void)state;
    lone((struct raft_config){0});
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    event.member.id = 100;
    step(event);
    assert_int_equal(effects.refusal, RAFT_REFUSED_TOO_BIG);
    longest[RAFT_ADDRESS_LEN_MAX] = 0;
    /* From the highest id down: the list stays in order. */
    for (; raft_members(raft)->count < RAFT_MEMBERS_MAX; event.member.id--) {
        step(event);
        assert_int_equal(effects.refusal, RAFT_REFUSED_NONE);
        persist(++write);
    }
    for (uint32_t i = 1; i < RAFT_MEMBERS_MAX; i++)
        assert_true(raft_members(raft)->list[i - 1].id < raft_members(raft)->list[i].id);
    step(event);
    assert_int_equal(effects.refusal, RAFT_REFUSED_TOO_MANY);
    raft_free(raft);
}

static void test_too_big(void **state)
{
    struct raft_event event = {.kind = RAFT_PROPOSE, .propose = {.term = 1, .type = 2}};

    (void)state;
    lone((struct raft_config){.page_bytes = 4096});
    event.propose.payload = (struct as_bytes){payload, 4096 - RAFT_ENTRY_HEADER + 1};
    step(event);
    assert_int_equal(effects.refusal, RAFT_REFUSED_TOO_BIG);
    event.propose.payload.len--;
    step(event);
    assert_int_equal(effects.refusal, RAFT_REFUSED_NONE);
    raft_free(raft);
}

/* Reads wait in a ring that grows; the one too many is refused. */
static void many_reads(void *ctx)
{
    struct raft_config config = {.id = 1, .reads_max = 200, .members = {.count = 1}};
    struct raft_event ask = {.kind = RAFT_READ_INDEX};
    uint64_t next = 1000;

    (void)ctx;
    config.members.list[0] = (struct raft_member){.id = 1, .role = RAFT_VOTER};
    if (raft_new(&raft, &config))
        assert_int_equal(raft_new(&raft, &config), AS_OK);
    ask.kind = RAFT_START;
    if (raft_step(raft, &ask, &effects))
        step(ask);
    ask.kind = RAFT_READ_INDEX;
    for (ask.request = 1000; ask.request <= 1200; ask.request++) {
        if (raft_step(raft, &ask, &effects))
            step(ask);
        assert_int_equal(effects.count, ask.request == 1200); /* not ready yet */
    }
    assert_int_equal(effects.list[0].kind, RAFT_READ_REFUSED);
    ask.kind = RAFT_PERSISTED;
    ask.write = 2;
    if (raft_step(raft, &ask, &effects))
        step(ask);
    for (size_t i = 0; i < effects.count; i++) {
        if (effects.list[i].kind == RAFT_READ_READY)
            assert_int_equal(effects.list[i].read.request, next++);
    }
    assert_int_equal(next, 1200);
    raft_free(raft);
}

static void test_reads(void **state)
{
    (void)state;
    test_fail_each_allocation(many_reads, NULL);
}

static void invalid(struct raft_event event)
{
    assert_int_equal(raft_step(raft, &event, &effects), AS_ERR_INVALID);
    assert_int_equal(effects.count, 0);
}

static void test_invalid(void **state)
{
    struct raft_config config = {.id = 1};
    struct raft_entry entry = {.index = 2, .term = 1};

    (void)state;
    config.page_bytes = 100;
    assert_int_equal(raft_new(&raft, &config), AS_ERR_INVALID);
    config = (struct raft_config){.id = 1, .election_min_ms = 500};
    assert_int_equal(raft_new(&raft, &config), AS_ERR_INVALID);
    config = (struct raft_config){.id = 0};
    assert_int_equal(raft_new(&raft, &config), AS_ERR_INVALID);
    config = (struct raft_config){.id = 1};
    assert_int_equal(raft_new(&raft, &config), AS_OK);
    invalid((struct raft_event){.kind = RAFT_TIMER}); /* not started */
    assert_int_equal(raft_load_entry(raft, &entry), AS_ERR_INVALID);
    assert_int_equal(raft_load_vote(raft, 3, 2), AS_OK);
    assert_int_equal(raft_load_vote(raft, 2, 2), AS_ERR_INVALID);
    assert_int_equal(raft_load_vote(raft, 3, 1), AS_ERR_INVALID);
    assert_int_equal(raft_load_truncate(raft, 1), AS_ERR_INVALID);
    raft_free(raft);
    lone((struct raft_config){0});
    invalid((struct raft_event){.kind = RAFT_START});
    invalid((struct raft_event){.kind = RAFT_PERSISTED, .write = 4});
    invalid((struct raft_event){.kind = RAFT_WRITE_REFUSED, .write = 3});
    invalid((struct raft_event){.kind = RAFT_SNAPSHOT_TAKEN, .snapshot = {3, 1}});
    invalid((struct raft_event){.kind = RAFT_SNAPSHOT_TAKEN, .snapshot = {2, 2}});
    invalid((struct raft_event){.kind = RAFT_SNAPSHOT_INSTALLED, .snapshot = {2, 1}});
    raft_free(raft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_tail_nomem),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_unsound_entries),
        cmocka_unit_test(test_too_many_members),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_invalid),
    };

    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
