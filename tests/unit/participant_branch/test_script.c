/*
 * Golden scripts of the branch core: tests/data/branch.
 *
 *   branch                                    a new one
 *   execute [read_only] | find | read_finish | vanish [unknown] | give_up
 *   commit [xid=N] [identity=A] | abort [xid=N] [identity=A]
 *   done STATUS [kind=K] [late] [moved] [started=A] [proof=marker] [fields of as_pg_done]
 */
#include "tests/support/support.h"

#include "golden.h"
#include "names.h"
#include "participant/branch/branch.h"

static void put_effects(struct golden *golden, const struct branch *branch,
                        const struct branch_effects *effects)
{
    if (effects->vote == AS_VOTE_YES)
        golden_put(golden, "  vote YES xid=%llu identity=%c\n", (unsigned long long)branch->xid,
                   identity_name(&branch->identity));
    else if (effects->vote == AS_VOTE_NO)
        golden_put(golden, "  vote NO %s statement=%d sqlstate=%s \"%s\"\n",
                   as_reason_text(effects->code), effects->statement, effects->sqlstate,
                   effects->message);
    else if (effects->vote)
        golden_put(golden, "  vote %s\n", vote_names[effects->vote]);
    if (effects->ack)
        golden_put(golden, "  ack %s \"%s\"\n", ack_names[effects->ack], effects->ack_message);
    if (effects->cancel)
        golden_put(golden, "  cancel\n");
    if (effects->start)
        golden_put(golden, "  start %s connection=%llu xid=%llu\n", op_names[effects->op],
                   (unsigned long long)effects->connection, (unsigned long long)effects->xid);
    golden_put(golden, "  %s%s%s", branch_state_text(branch->state), branch->busy ? ", busy" : "",
               branch->voted ? ", voted" : "");
    if (branch->state == BRANCH_DONE)
        golden_put(golden, ": %s%s", ack_names[branch->outcome],
                   branch->may_exist ? ", may exist" : "");
    golden_put(golden, "\n");
}

static struct branch_event event_of(const struct golden *golden, const struct branch *branch,
                                    struct as_pg_done *done)
{
    static const char *const kinds[] = {
        [BRANCH_EXECUTE] = "execute", [BRANCH_FIND] = "find",
        [BRANCH_GIVE_UP] = "give_up", [BRANCH_READ_FINISH] = "read_finish",
        [BRANCH_COMMIT] = "commit",   [BRANCH_ABORT] = "abort",
        [BRANCH_VANISH] = "vanish",   [BRANCH_PG_DONE] = "done",
    };
    struct branch_event event = {.kind = (enum branch_event_kind)golden_choice(
                                     golden, golden->words[0], kinds, AS_COUNT_OF(kinds))};
    const char *kind = golden_word(golden, "kind");

    switch (event.kind) {
    case BRANCH_EXECUTE:
        event.read_only = golden_word(golden, "read_only");
        break;
    case BRANCH_GIVE_UP:
        event.give_up.code = AS_REASON_TIMEOUT;
        event.give_up.message = "given up";
        break;
    case BRANCH_COMMIT:
    case BRANCH_ABORT:
        event.decision.xid = golden_number(golden, "xid", 0);
        event.decision.identity = identity_of(golden_word(golden, "identity"));
        break;
    case BRANCH_VANISH:
        event.unknown = golden_word(golden, "unknown");
        break;
    case BRANCH_PG_DONE:
        *done = done_of(golden, golden->words[1]);
        done->kind =
            kind ? (enum as_pg_kind)golden_choice(golden, kind, op_names, AS_COUNT_OF(op_names))
                 : branch->op;
        event.pg.done = done;
        event.pg.identity = identity_of(golden_word(golden, "started"));
        event.pg.proof = golden_word(golden, "proof") ? AS_PROOF_MARKER : AS_PROOF_XACT_STATUS;
        event.pg.late = golden_word(golden, "late");
        event.pg.moved = golden_word(golden, "moved");
        break;
    case BRANCH_FIND:
    case BRANCH_READ_FINISH:
        break;
    }
    return event;
}

static void command(void *ctx, struct golden *golden)
{
    struct branch *branch = ctx;
    struct branch_effects effects;
    struct branch before = *branch;
    struct branch_event event;
    struct as_pg_done done;
    as_err err;

    if (strcmp(golden->words[0], "branch") == 0) {
        *branch = (struct branch){0};
        return;
    }
    event = event_of(golden, branch, &done);
    err = branch_step(branch, &event, &effects);
    if (err) {
        golden_put(golden, "  %s\n", err == AS_ERR_REFUSED ? "refused" : "invalid");
        assert_memory_equal(&before, branch, sizeof before);
        return;
    }
    put_effects(golden, branch, &effects);
}

static void run(const char *name)
{
    struct branch branch = {0};
    char path[512];

    snprintf(path, sizeof path, AS_TEST_DATA "/branch/%s.txt", name);
    golden_run(path, command, &branch);
}

static void test_execute(void **state)
{
    (void)state;
    run("execute");
}

static void test_commit(void **state)
{
    (void)state;
    run("commit");
}

static void test_abort(void **state)
{
    (void)state;
    run("abort");
}

static void test_read_only(void **state)
{
    (void)state;
    run("read_only");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_execute),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_read_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
