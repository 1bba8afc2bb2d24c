/*
 * The branch core against independent statements of the rules: R7's table in every combination of
 * inputs, the mapping of SQLSTATEs, and random walks through all events with the invariants
 * demanded at each step.
 */
#include "tests/support/support.h"

#include <string.h>

#include "assent/rng.h"
#include "participant/branch/branch.h"

static struct as_identity token(uint8_t byte)
{
    struct as_identity identity;

    memset(identity.token, byte, sizeof identity.token);
    return identity;
}

/* R7 as protocol.md says it, sentence by sentence. */
static enum branch_proof oracle(bool listed_same, bool same_history, enum as_pg_xact status,
                                bool keeps_marker, bool marker)
{
    if (listed_same)
        return BRANCH_PROOF_LISTED;
    if (same_history && status == AS_PG_XACT_COMMITTED)
        return BRANCH_PROOF_COMMITTED;
    if (same_history && status == AS_PG_XACT_ABORTED)
        return BRANCH_PROOF_HEURISTIC_ABORT;
    if (same_history && status == AS_PG_XACT_IN_PROGRESS)
        return BRANCH_PROOF_BUSY;
    if (keeps_marker && marker)
        return BRANCH_PROOF_COMMITTED;
    if (!same_history)
        return BRANCH_PROOF_LOST_PREPARE;
    if (keeps_marker)
        return status == AS_PG_XACT_INVALID ? BRANCH_PROOF_LOST_PREPARE
                                            : BRANCH_PROOF_HEURISTIC_ABORT;
    return BRANCH_PROOF_UNVERIFIED;
}

static void test_prove_every_row(void **state)
{
    const uint64_t xid = 0x500000007u;
    unsigned seen[BRANCH_PROOF_BUSY + 1] = {0};

    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        for (int status = AS_PG_XACT_NONE; status <= AS_PG_XACT_INVALID; status++) {
            bool listed = bits & 1, other_xid = bits & 2, same = bits & 4, keeps = bits & 8;
            bool marker = bits & 16, known = bits & 32;
            struct as_pg_done probe = {.kind = AS_PG_PROBE,
                                       .listed = listed,
                                       .listed_xid32 = other_xid ? 8 : 7,
                                       .xact = (enum as_pg_xact)status,
                                       .marker = marker,
                                       .identity = token(same ? 'A' : 'B')};
            enum branch_proof got = branch_prove(&probe, known ? xid : 0, token('A'),
                                                 keeps ? AS_PROOF_MARKER : AS_PROOF_XACT_STATUS);
            enum branch_proof want =
                oracle(listed && (!known || !other_xid), same,
                       known ? (enum as_pg_xact)status : AS_PG_XACT_NONE, keeps, marker);

            assert_int_equal(got, want);
            seen[got]++;
        }
    }
    for (size_t i = 0; i < AS_COUNT_OF(seen); i++)
        assert_true(seen[i] > 0);
}

/* An identity that nobody knows equals none, not even another unknown one. */
static void test_prove_without_identity(void **state)
{
    struct as_pg_done probe = {.xact = AS_PG_XACT_COMMITTED};

    (void)state;
    assert_int_equal(branch_prove(&probe, 7, token(0), AS_PROOF_XACT_STATUS),
                     BRANCH_PROOF_UNVERIFIED);
    assert_int_equal(branch_prove(&probe, 7, token(0), AS_PROOF_MARKER), BRANCH_PROOF_UNVERIFIED);
    probe.marker = true;
    assert_int_equal(branch_prove(&probe, 7, token(0), AS_PROOF_MARKER), BRANCH_PROOF_COMMITTED);
}

static void test_reasons(void **state)
{
    static const struct {
        enum as_pg_status status;
        int32_t statement;
        const char *sqlstate;
        bool late;
        enum as_reason_code want;
    } rows[] = {
        {AS_PG_REFUSED, 0, "40001", false, AS_REASON_LOCK_CONFLICT},
        {AS_PG_REFUSED, 2, "40P01", false, AS_REASON_LOCK_CONFLICT},
        {AS_PG_REFUSED, 0, "55P03", false, AS_REASON_LOCK_CONFLICT},
        {AS_PG_REFUSED, 0, "57014", true, AS_REASON_TIMEOUT},
        {AS_PG_REFUSED, 0, "57014", false, AS_REASON_STATEMENT_FAILED},
        {AS_PG_REFUSED, 0, "23505", false, AS_REASON_STATEMENT_FAILED},
        {AS_PG_REFUSED, -1, "23503", false, AS_REASON_PREPARE_REFUSED},
        {AS_PG_REFUSED, -1, "53200", false, AS_REASON_OVERLOADED},
        {AS_PG_REFUSED, 0, "53200", false, AS_REASON_STATEMENT_FAILED},
        {AS_PG_REFUSED, -1, "57014", true, AS_REASON_TIMEOUT},
        {AS_PG_EXPECTATION, 1, "", false, AS_REASON_EXPECTATION_FAILED},
        {AS_PG_WARNED, -1, "", false, AS_REASON_PREPARE_REFUSED},
        {AS_PG_OK, -1, "", false, AS_REASON_PREPARE_REFUSED},
        {AS_PG_LOST, -1, "", false, AS_REASON_PARTICIPANT_UNAVAILABLE},
        {AS_PG_UNAVAILABLE, -1, "", false, AS_REASON_PARTICIPANT_UNAVAILABLE},
        {AS_PG_CANCELLED, -1, "", false, AS_REASON_TIMEOUT},
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        struct as_pg_done done = {.status = rows[i].status, .statement = rows[i].statement};

        strncpy(done.sqlstate, rows[i].sqlstate, sizeof done.sqlstate - 1);
        assert_int_equal(branch_reason(&done, rows[i].late), rows[i].want);
        done.code = AS_REASON_UNKNOWN_PARTICIPANT;
        assert_int_equal(branch_reason(&done, rows[i].late), AS_REASON_UNKNOWN_PARTICIPANT);
    }
}

/* --- Random walks --- */

struct walk {
    struct as_rng rng;
    struct branch branch;
    bool in_flight;
    enum as_pg_kind op;
    bool commit_came, abort_came, yes_left, no_left, decision_vote;
    unsigned runs, votes;
};

static struct branch_event pick(struct walk *walk, struct as_pg_done *done)
{
    static const char *const sqlstates[] = {"42704", "55000", "42501", "25006", "40001"};
    struct branch_event event = {
        .kind = (enum branch_event_kind)as_rng_below(&walk->rng, BRANCH_PG_DONE + 1)};
    uint64_t bits = as_rng_next(&walk->rng);

    if (walk->branch.state == BRANCH_IDLE && bits % 8 != 0)
        event.kind = bits % 4 ? BRANCH_EXECUTE : BRANCH_FIND;
    if (walk->in_flight && bits % 3 != 0)
        event.kind = BRANCH_PG_DONE;
    if (event.kind == BRANCH_EXECUTE)
        event.read_only = bits & 8;
    if (event.kind == BRANCH_VANISH)
        event.unknown = bits & 8;
    if (event.kind == BRANCH_GIVE_UP)
        event.give_up.message = "";
    if (event.kind == BRANCH_COMMIT || event.kind == BRANCH_ABORT) {
        event.decision.xid = bits & 8 ? 7 : 0;
        event.decision.identity = token(bits & 16 ? 'A' : 0);
    }
    if (event.kind == BRANCH_PG_DONE) {
        *done = (struct as_pg_done){.kind = walk->op,
                                    .status = (enum as_pg_status)as_rng_below(&walk->rng, 8),
                                    .prepared = bits & 8,
                                    .xid = 7,
                                    .connection = bits & 16 ? 5 : 0,
                                    .message = "",
                                    .listed = bits & 32,
                                    .listed_xid32 = bits & 64 ? 7 : 8,
                                    .xact = (enum as_pg_xact)as_rng_below(&walk->rng, 5),
                                    .marker = bits & 128,
                                    .identity = token(bits & 256 ? 'A' : 'B')};
        memcpy(done->sqlstate, sqlstates[as_rng_below(&walk->rng, 5)], 6);
        event.pg.done = done;
        event.pg.identity = token('A');
        event.pg.proof = bits & 512 ? AS_PROOF_MARKER : AS_PROOF_XACT_STATUS;
        event.pg.moved = (bits >> 10) % 8 == 0;
    }
    return event;
}

static void check_start(struct walk *walk, const struct branch_effects *effects)
{
    assert_false(walk->in_flight); /* one at a time */
    walk->in_flight = true;
    walk->op = effects->op;
    if (effects->op == AS_PG_PREPARE || effects->op == AS_PG_READ)
        assert_int_equal(++walk->runs, 1); /* R2 */
    if (effects->op == AS_PG_COMMIT_PREPARED)
        assert_true(walk->commit_came); /* R1 */
    if (effects->op == AS_PG_ROLLBACK_PREPARED && walk->yes_left)
        assert_true(walk->abort_came); /* R6 */
    if (effects->op == AS_PG_ROLLBACK_PREPARED && !walk->abort_came)
        assert_true(walk->no_left);
}

static void check_vote(struct walk *walk, const struct branch_effects *effects)
{
    assert_false(walk->yes_left || walk->no_left || walk->decision_vote);
    if (effects->vote == AS_VOTE_YES)
        walk->yes_left = true;
    if (effects->vote == AS_VOTE_NO)
        walk->no_left = true;
    if (effects->vote == AS_VOTE_READ_ONLY)
        walk->decision_vote = true;
}

static void test_random_walks(void **state)
{
    unsigned ends[AS_ACK_RETRY + 1] = {0};

    (void)state;
    for (uint64_t seed = 0; seed < 200000; seed++) {
        struct walk walk = {.rng = {seed}};

        for (int i = 0; i < 40 && walk.branch.state != BRANCH_DONE; i++) {
            struct branch before = walk.branch;
            struct branch_effects effects;
            struct as_pg_done done;
            struct branch_event event = pick(&walk, &done);

            if (branch_step(&walk.branch, &event, &effects)) {
                assert_memory_equal(&before, &walk.branch, sizeof before);
                continue;
            }
            if (event.kind == BRANCH_PG_DONE)
                walk.in_flight = false;
            walk.commit_came |= event.kind == BRANCH_COMMIT;
            walk.abort_came |= event.kind == BRANCH_ABORT;
            if (effects.vote)
                check_vote(&walk, &effects);
            if (effects.start)
                check_start(&walk, &effects);
            if (effects.ack)
                assert_true(walk.commit_came || walk.abort_came);
            assert_int_equal(walk.branch.busy, walk.in_flight);
            assert_int_equal(walk.branch.voted, walk.yes_left);
        }
        if (walk.branch.state == BRANCH_DONE) {
            assert_false(walk.in_flight); /* its work bytes may be freed */
            ends[walk.branch.outcome]++;
        }
    }
    for (int i = 0; i < AS_ACK_RETRY; i++)
        assert_true(ends[i] > 0);
    assert_int_equal(ends[AS_ACK_RETRY], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prove_every_row),
        cmocka_unit_test(test_prove_without_identity),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_random_walks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
