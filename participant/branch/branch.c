/*
 * The branch core; see branch.h for the diagram and the waiting points.
 *
 * Fault model: any operation may end in any status at any time, decisions may come late, twice, or
 * never. What must not happen whatever comes: COMMIT PREPARED without a COMMIT, or ROLLBACK
 * PREPARED of a branch that voted yes without an ABORT.
 */
#include "participant/branch/branch.h"

#include <string.h>

/* How often one decision looks again before it says RETRY: two actors cannot keep each other busy.
 */
#define PROBES_MAX 2

#define TO(state) (1u << BRANCH_##state)

/* The diagram of branch.h as data. */
static const unsigned allowed[BRANCH_STATE_COUNT] = {
    [BRANCH_IDLE] = TO(EXECUTING) | TO(PREPARED) | TO(DONE),
    [BRANCH_EXECUTING] = TO(READ_ONLY) | TO(PREPARED) | TO(ABORTING) | TO(DONE),
    [BRANCH_READ_ONLY] = TO(ABORTING) | TO(DONE),
    [BRANCH_PREPARED] = TO(COMMITTING) | TO(ABORTING) | TO(DONE),
    [BRANCH_COMMITTING] = TO(PREPARED) | TO(DONE),
    [BRANCH_ABORTING] = TO(PREPARED) | TO(DONE),
    [BRANCH_DONE] = 0,
};

static void move(struct branch *branch, enum branch_state to)
{
    AS_ASSERT(allowed[branch->state] & (1u << to));
    AS_ASSERT(to != BRANCH_DONE || !branch->busy);
    branch->state = to;
}

static void start(struct branch *branch, enum as_pg_kind op, uint64_t connection,
                  struct branch_effects *out)
{
    AS_ASSERT(!branch->busy);
    branch->busy = true;
    branch->op = op;
    out->start = true;
    out->op = op;
    out->connection = connection;
    out->xid = branch->decided_xid;
}

static void acknowledge(struct branch *branch, enum as_ack ack, const char *message,
                        struct branch_effects *out)
{
    if (!branch->told)
        return;
    branch->told = false;
    out->ack = ack;
    out->ack_message = message;
}

static void finish(struct branch *branch, enum as_ack outcome, const char *message,
                   struct branch_effects *out)
{
    move(branch, BRANCH_DONE);
    branch->outcome = outcome;
    acknowledge(branch, outcome, message, out);
}

/* The decision could not be carried out now: prepared again, until it is resent (R8) or asked for
 * (R6). */
static void retry(struct branch *branch, const char *message, struct branch_effects *out)
{
    move(branch, BRANCH_PREPARED);
    acknowledge(branch, AS_ACK_RETRY, message, out);
}

static void vote_no(enum as_reason_code code, const char *message, struct branch_effects *out)
{
    out->vote = AS_VOTE_NO;
    out->code = code;
    out->statement = -1;
    out->message = message;
}

static void vote_no_for(const struct as_pg_done *done, bool late, struct branch_effects *out)
{
    vote_no(branch_reason(done, late), done->message, out);
    out->statement = done->statement;
    memcpy(out->sqlstate, done->sqlstate, sizeof out->sqlstate);
    out->sqlstate[sizeof out->sqlstate - 1] = '\0';
}

static bool state_is(const struct as_pg_done *done, const char *sqlstate)
{
    return done->status == AS_PG_REFUSED &&
           strncmp(done->sqlstate, sqlstate, sizeof done->sqlstate) == 0;
}

/* --- What the agent and the coordinator say --- */

static as_err on_execute(struct branch *branch, bool read_only, struct branch_effects *out)
{
    if (branch->state != BRANCH_IDLE)
        return AS_ERR_INVALID;
    branch->read_only = read_only;
    move(branch, BRANCH_EXECUTING);
    start(branch, read_only ? AS_PG_READ : AS_PG_PREPARE, 0, out);
    return AS_OK;
}

static as_err on_find(struct branch *branch)
{
    if (branch->state != BRANCH_IDLE)
        return AS_ERR_INVALID;
    branch->found = true;
    move(branch, BRANCH_PREPARED);
    return AS_OK;
}

/* Leaves executing or read_only for aborting: ends what is in flight, or the open transaction. */
static void unwind(struct branch *branch, struct branch_effects *out)
{
    bool reading = branch->state == BRANCH_READ_ONLY;

    move(branch, BRANCH_ABORTING);
    if (!reading)
        out->cancel = true;
    else if (!branch->busy)
        start(branch, AS_PG_READ_ABORT, 0, out);
    /* else its COMMIT is under way, and whether it succeeds makes no difference any more */
}

static as_err on_give_up(struct branch *branch, enum as_reason_code code, const char *message,
                         struct branch_effects *out)
{
    switch (branch->state) {
    case BRANCH_IDLE:
        vote_no(code, message, out);
        finish(branch, AS_ACK_ABORTED, "", out);
        return AS_OK;
    case BRANCH_EXECUTING:
    case BRANCH_READ_ONLY:
        vote_no(code, message, out);
        unwind(branch, out);
        return AS_OK;
    default:
        return AS_ERR_REFUSED; /* R6: what voted is not the agent's to give up */
    }
}

static as_err on_read_finish(struct branch *branch, struct branch_effects *out)
{
    if (branch->state != BRANCH_READ_ONLY || branch->busy)
        return AS_ERR_INVALID;
    start(branch, AS_PG_READ_COMMIT, 0, out);
    return AS_OK;
}

/* What the log says, or what this agent knows of its own yes where the message says nothing. */
static void take_decision(struct branch *branch, const struct branch_event *event)
{
    static const struct as_identity none;

    branch->told = true;
    branch->probes = 0;
    branch->decided_xid = event->decision.xid ? event->decision.xid : branch->xid;
    branch->decided_identity = event->decision.identity;
    if (branch->decided_xid == branch->xid &&
        memcmp(&branch->decided_identity, &none, sizeof none) == 0)
        branch->decided_identity = branch->identity;
}

static void probe(struct branch *branch, struct branch_effects *out)
{
    if (branch->probes >= PROBES_MAX) {
        retry(branch, "the branch comes and goes: looking again later", out);
        return;
    }
    branch->probes++;
    start(branch, AS_PG_PROBE, 0, out);
}

static as_err on_commit(struct branch *branch, const struct branch_event *event,
                        struct branch_effects *out)
{
    const char *cannot = NULL;

    if (branch->state == BRANCH_DONE)
        return AS_ERR_INVALID;
    if (branch->state == BRANCH_COMMITTING) {
        branch->told = true;
        return AS_OK; /* resent: the answer is on its way */
    }
    if (branch->state != BRANCH_PREPARED)
        cannot = "told to commit a branch that has not voted";
    else if (!branch->found && !branch->voted)
        cannot = "told to commit a branch that never voted yes (R2)";
    if (cannot) {
        out->ack = AS_ACK_RETRY;
        out->ack_message = cannot;
        return AS_OK;
    }

    take_decision(branch, event);
    move(branch, BRANCH_COMMITTING);
    /*
     * The connection that saw PREPARE succeed proves, while it is open, that the gid still bears
     * this very transaction. Without it the listing must show the recorded xid first (R7).
     */
    if (branch->connection && branch->xid == branch->decided_xid)
        start(branch, AS_PG_COMMIT_PREPARED, branch->connection, out);
    else
        probe(branch, out);
    return AS_OK;
}

static as_err on_abort(struct branch *branch, const struct branch_event *event,
                       struct branch_effects *out)
{
    switch (branch->state) {
    case BRANCH_IDLE:
        take_decision(branch, event);
        finish(branch, AS_ACK_ABORTED, "", out);
        return AS_OK;
    case BRANCH_EXECUTING:
    case BRANCH_READ_ONLY:
        take_decision(branch, event);
        unwind(branch, out);
        return AS_OK;
    case BRANCH_PREPARED:
        /* Whatever bears this gid belongs to an aborted attempt: no xid has to be compared here. */
        take_decision(branch, event);
        move(branch, BRANCH_ABORTING);
        start(branch, AS_PG_ROLLBACK_PREPARED, 0, out);
        return AS_OK;
    case BRANCH_ABORTING:
        branch->told = true;
        return AS_OK;
    case BRANCH_COMMITTING:
        out->ack = AS_ACK_RETRY;
        out->ack_message = "told to abort a branch that is being committed";
        return AS_OK;
    default:
        return AS_ERR_INVALID;
    }
}

static as_err on_vanish(struct branch *branch, bool unknown, struct branch_effects *out)
{
    if (branch->state != BRANCH_PREPARED)
        return AS_ERR_INVALID;
    if (branch->voted && !unknown)
        return AS_ERR_REFUSED; /* its decision has yet to be compared with what happened (R7) */
    branch->may_exist = true;
    finish(branch, branch->found || branch->voted ? 0 : AS_ACK_ABORTED, "", out);
    return AS_OK;
}

/* --- What PostgreSQL says --- */

/* Prepared, and a no: nobody can have committed it, so the agent ends it by itself (R2, R11). */
static void roll_back(struct branch *branch, struct branch_effects *out)
{
    if (branch->state != BRANCH_ABORTING)
        move(branch, BRANCH_ABORTING);
    start(branch, AS_PG_ROLLBACK_PREPARED, 0, out);
}

static void prepare_done(struct branch *branch, const struct branch_event *event,
                         struct branch_effects *out)
{
    const struct as_pg_done *done = event->pg.done;

    if (done->prepared) {
        branch->xid = done->xid;
        branch->connection = done->connection;
        branch->identity = event->pg.identity;
    }
    /* LOST: a backend may be preparing still. The scan finds it, and its attempt is answered abort.
     */
    branch->may_exist = done->status == AS_PG_LOST;

    /*
     * A yes names xid and identity of one history (R7). With another identity since the start it
     * cannot be told in which of the two the xid was given, and a wrong pair would one day prove a
     * false outcome.
     */
    if (branch->state == BRANCH_EXECUTING && done->status == AS_PG_OK && done->prepared &&
        !event->pg.moved) {
        /* A crash from here on leaves a prepared branch that the scan asks about (R6). */
        branch->voted = true;
        move(branch, BRANCH_PREPARED);
        out->vote = AS_VOTE_YES;
        out->results = done->results;
        return;
    }
    if (branch->state == BRANCH_EXECUTING && done->status == AS_PG_OK && done->prepared)
        vote_no(AS_REASON_PARTICIPANT_UNAVAILABLE,
                "the database changed its identity while the branch ran (R7)", out);
    else if (branch->state == BRANCH_EXECUTING)
        vote_no_for(done, event->pg.late, out);
    if (done->prepared) {
        if (branch->decided_xid == 0) {
            branch->decided_xid = branch->xid;
            branch->decided_identity = branch->identity;
        }
        roll_back(branch, out);
    } else {
        finish(branch, AS_ACK_ABORTED, "", out);
    }
}

/* Only a READ that ended OK leaves its transaction open. */
static void read_done(struct branch *branch, const struct branch_event *event,
                      struct branch_effects *out)
{
    const struct as_pg_done *done = event->pg.done;
    bool open = done->status == AS_PG_OK;

    if (branch->state == BRANCH_ABORTING) {
        if (open)
            start(branch, AS_PG_READ_ABORT, 0, out);
        else
            finish(branch, AS_ACK_ABORTED, "", out);
        return;
    }
    if (open) {
        move(branch, BRANCH_READ_ONLY);
        out->vote = AS_VOTE_READY;
        out->results = done->results;
        return;
    }
    vote_no_for(done, event->pg.late, out);
    finish(branch, AS_ACK_ABORTED, "", out);
}

static void read_commit_done(struct branch *branch, const struct branch_event *event,
                             struct branch_effects *out)
{
    const struct as_pg_done *done = event->pg.done;

    if (branch->state == BRANCH_ABORTING) {
        finish(branch, AS_ACK_ABORTED, "", out);
    } else if (done->status == AS_PG_OK) {
        out->vote = AS_VOTE_READ_ONLY;
        finish(branch, 0, "", out);
    } else {
        vote_no_for(done, event->pg.late, out);
        finish(branch, AS_ACK_ABORTED, "", out);
    }
}

static void commit_done(struct branch *branch, const struct as_pg_done *done,
                        struct branch_effects *out)
{
    if (done->status == AS_PG_OK) {
        finish(branch, AS_ACK_COMMITTED, "", out);
        return;
    }
    if (done->status == AS_PG_STALE || state_is(done, "42704")) {
        branch->connection = 0;
        probe(branch, out);
        return;
    }
    /*
     * LOST, CANCELLED, WARNED: it may have happened; the next COMMIT begins with a PROBE (R7).
     * 55000: busy. 25006 (a standby), 42501 (another role), 0A000 (another database) and the rest
     * need a person, who reads the message that the leader shows.
     */
    if (done->status != AS_PG_REFUSED && done->status != AS_PG_UNAVAILABLE)
        branch->connection = 0;
    retry(branch, done->message, out);
}

static void rollback_done(struct branch *branch, const struct as_pg_done *done,
                          struct branch_effects *out)
{
    /* A warning is no matter here: should it come back after a failover, the scan asks again. */
    if (done->status == AS_PG_OK || done->status == AS_PG_WARNED) {
        branch->may_exist = false;
        finish(branch, AS_ACK_ABORTED, "", out);
    } else if (!state_is(done, "42704")) {
        retry(branch, done->message, out);
    } else {
        branch->may_exist = true; /* a backend may be preparing still: not final (R6) */
        if (branch->decided_xid)
            probe(branch, out); /* somebody may have committed it (R7) */
        else
            finish(branch, AS_ACK_ABORTED, "", out);
    }
}

static void probe_for_commit(struct branch *branch, const struct branch_event *event,
                             struct branch_effects *out)
{
    switch (branch_prove(event->pg.done, branch->decided_xid, branch->decided_identity,
                         event->pg.proof)) {
    case BRANCH_PROOF_LISTED:
        start(branch, AS_PG_COMMIT_PREPARED, 0, out);
        return;
    case BRANCH_PROOF_COMMITTED:
        finish(branch, AS_ACK_COMMITTED, "", out);
        return;
    case BRANCH_PROOF_HEURISTIC_ABORT:
        finish(branch, AS_ACK_HEURISTIC_ABORT,
               "decided commit, but the database says that it was rolled back", out);
        return;
    case BRANCH_PROOF_LOST_PREPARE:
        finish(branch, AS_ACK_LOST_PREPARE,
               "decided commit, but the database has another history and the branch is not in it",
               out);
        return;
    case BRANCH_PROOF_UNVERIFIED:
        finish(branch, AS_ACK_UNVERIFIED,
               "decided commit, but the database cannot tell what became of the branch", out);
        return;
    case BRANCH_PROOF_BUSY:
        retry(branch, "the branch's transaction is still in progress", out);
        return;
    }
}

static void probe_for_abort(struct branch *branch, const struct branch_event *event,
                            struct branch_effects *out)
{
    struct as_pg_done seen = *event->pg.done;

    if (seen.listed) { /* it came up in between */
        start(branch, AS_PG_ROLLBACK_PREPARED, 0, out);
        return;
    }
    switch (branch_prove(&seen, branch->decided_xid, branch->decided_identity, event->pg.proof)) {
    case BRANCH_PROOF_COMMITTED:
        finish(branch, AS_ACK_HEURISTIC_COMMIT,
               "decided abort, but the database says that it was committed", out);
        return;
    case BRANCH_PROOF_BUSY:
        retry(branch, "the branch's transaction is still in progress", out);
        return;
    default: /* not committed, as far as can be known: what an abort wants */
        finish(branch, AS_ACK_ABORTED, "", out);
        return;
    }
}

static void probe_done(struct branch *branch, const struct branch_event *event,
                       struct branch_effects *out)
{
    if (event->pg.done->status != AS_PG_OK)
        retry(branch, event->pg.done->message, out);
    else if (branch->state == BRANCH_COMMITTING)
        probe_for_commit(branch, event, out);
    else
        probe_for_abort(branch, event, out);
}

static as_err on_pg_done(struct branch *branch, const struct branch_event *event,
                         struct branch_effects *out)
{
    const struct as_pg_done *done = event->pg.done;

    if (!branch->busy || branch->op != done->kind)
        return AS_ERR_INVALID;
    branch->busy = false;
    switch (branch->op) {
    case AS_PG_PREPARE:
        prepare_done(branch, event, out);
        break;
    case AS_PG_READ:
        read_done(branch, event, out);
        break;
    case AS_PG_READ_COMMIT:
        read_commit_done(branch, event, out);
        break;
    case AS_PG_READ_ABORT: /* however it ended: its connection is rolled back or gone */
        finish(branch, AS_ACK_ABORTED, "", out);
        break;
    case AS_PG_COMMIT_PREPARED:
        commit_done(branch, done, out);
        break;
    case AS_PG_ROLLBACK_PREPARED:
        rollback_done(branch, done, out);
        break;
    case AS_PG_PROBE:
        probe_done(branch, event, out);
        break;
    case AS_PG_SCAN:
    case AS_PG_LIST:
    case AS_PG_ROTATE:
        AS_ASSERT(false); /* a branch never starts these */
    }
    return AS_OK;
}

as_err branch_step(struct branch *branch, const struct branch_event *event,
                   struct branch_effects *ret_effects)
{
    memset(ret_effects, 0, sizeof *ret_effects);
    ret_effects->statement = -1;
    switch (event->kind) {
    case BRANCH_EXECUTE:
        return on_execute(branch, event->read_only, ret_effects);
    case BRANCH_FIND:
        return on_find(branch);
    case BRANCH_GIVE_UP:
        return on_give_up(branch, event->give_up.code, event->give_up.message, ret_effects);
    case BRANCH_READ_FINISH:
        return on_read_finish(branch, ret_effects);
    case BRANCH_COMMIT:
        return on_commit(branch, event, ret_effects);
    case BRANCH_ABORT:
        return on_abort(branch, event, ret_effects);
    case BRANCH_VANISH:
        return on_vanish(branch, event->unknown, ret_effects);
    case BRANCH_PG_DONE:
        return on_pg_done(branch, event, ret_effects);
    }
    return AS_ERR_INVALID;
}

const char *branch_state_text(enum branch_state state)
{
    static const char *const texts[BRANCH_STATE_COUNT] = {
        [BRANCH_IDLE] = "idle",
        [BRANCH_EXECUTING] = "executing",
        [BRANCH_READ_ONLY] = "read_only",
        [BRANCH_PREPARED] = "prepared",
        [BRANCH_COMMITTING] = "committing",
        [BRANCH_ABORTING] = "aborting",
        [BRANCH_DONE] = "done",
    };

    return state < BRANCH_STATE_COUNT ? texts[state] : "?";
}
