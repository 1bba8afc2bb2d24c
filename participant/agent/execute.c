/*
 * New work: EXECUTE, fencing (R5), admission by prepared slots, and the deadline of what has not
 * voted.
 *
 * Fault model: an EXECUTE may come late, twice, from a leader that leads no more, or be nonsense. A
 * branch runs at most once; finishing is never queued behind new work.
 */
#include <string.h>

#include "assent/crash.h"
#include "assent/work.h"
#include "participant/agent/inside.h"
#include "participant/agent/operations.h"

/* --- The queue of a participant: first come, first served --- */

static void queue_add(struct agent *agent, struct agent_live *live)
{
    struct agent_participant *participant = agent_of(agent, live);

    live->queued = true;
    live->before = participant->queue_tail;
    live->behind = AS_MAP_NONE;
    if (live->before == AS_MAP_NONE)
        participant->queue_head = live->slot;
    else
        agent->lives[live->before]->behind = live->slot;
    participant->queue_tail = live->slot;
    participant->queued++;
    agent->counts.queued++;
}

void agent_queue_remove(struct agent *agent, struct agent_live *live)
{
    struct agent_participant *participant = agent_of(agent, live);

    AS_ASSERT(live->queued && participant->queued > 0);
    if (live->before == AS_MAP_NONE)
        participant->queue_head = live->behind;
    else
        agent->lives[live->before]->behind = live->behind;
    if (live->behind == AS_MAP_NONE)
        participant->queue_tail = live->before;
    else
        agent->lives[live->behind]->before = live->before;
    live->queued = false;
    participant->queued--;
    agent->counts.queued--;
}

/* --- Admission --- */

/* How many branches of ours may be executing or prepared: what the others leave. */
static uint32_t limit(const struct agent_participant *participant)
{
    uint32_t max = participant->facts.prepared_max;

    if (participant->config.prepared_max)
        return participant->config.prepared_max;
    if (max == 0)
        return UINT32_MAX; /* a participant without a database (bench --null) */
    return max > participant->others ? max - participant->others : 0;
}

static bool has_room(const struct agent_participant *participant)
{
    return participant->up && participant->held < limit(participant);
}

static void run(struct agent *agent, struct agent_live *live, bool read_only)
{
    struct branch_event event = {.kind = BRANCH_EXECUTE, .read_only = read_only};

    if (!read_only) {
        live->holds = true;
        agent_of(agent, live)->held++;
    }
    agent->counts.executed++;
    agent_timer_set(agent, &live->timer, live->deadline + AGENT_GUARD_MS * AS_MS);
    agent_step(agent, live, &event);
}

void agent_pump_wanted(struct agent *agent, struct agent_participant *participant)
{
    if (participant->queued > 0) {
        participant->pump = true;
        agent->pumping = true;
    }
}

void agent_pump(struct agent *agent)
{
    agent->pumping = false;
    for (uint32_t i = 0; i < agent->config.participant_count; i++) {
        struct agent_participant *participant = &agent->participants[i];

        if (!participant->pump)
            continue;
        participant->pump = false;
        while (participant->queued > 0 && has_room(participant))
            run(agent, agent->lives[participant->queue_head], false);
    }
}

/* PostgreSQL's side ends a branch at its deadline; this is for when it does not, and for the queue.
 */
void agent_live_timer(struct agent *agent, struct agent_live *live)
{
    agent_timer_set(agent, &live->timer, AS_NEVER);
    if (live->queued)
        agent_give_up(agent, live, AS_REASON_TIMEOUT,
                      "the branch waited for a prepared slot until its time was over");
    else
        agent_give_up(agent, live, AS_REASON_TIMEOUT, "the branch's time is over");
}

/* --- EXECUTE --- */

/* Run already, or of an attempt that is over: refused, so that nothing ever runs twice (R2, R5). */
static bool fenced(struct agent *agent, struct agent_session *session,
                   const struct as_wire_execute *execute, const struct agent_key *key)
{
    const struct agent_live *live = agent_live_find(agent, key);
    const struct agent_past *past = live ? NULL : agent_past_find(agent, key);
    bool ran = live && !live->branch.found;
    const char *why = "this branch has run before (R2)";
    struct as_trace trace = {.kind = AS_TRACE_BRANCH_FENCED,
                             .attempt = key->attempt,
                             .branch = key->number,
                             .name = agent->participants[key->participant].config.name};

    if (key->attempt.term < agent->term_max)
        why = "a coordinator of a later term leads (R5)";
    else if (!live && !past)
        return false;
    trace.detail = why;
    agent->counts.fenced++;
    agent->ops->trace(agent->env, &trace);
    /* The vote of a branch that ran is the one of that run: a second must not gainsay it. */
    if (!ran && !(past && past->outcome != AS_ACK_ABORTED))
        agent_vote_no(agent, session, &execute->branch, AS_REASON_PREPARE_REFUSED, why);
    return true;
}

static const char unreadable[] =
    "the branch's statements cannot be read: is this agent older than the coordinators?";

/* NULL: it may run. */
static const char *refusal(const struct agent *agent, const struct agent_participant *participant,
                           const struct as_wire_execute *execute, bool *ret_read_only,
                           enum as_reason_code *ret_code)
{
    struct as_work_reader work;
    uint32_t queue_max = participant->config.queue_max;

    *ret_code = AS_REASON_PARTICIPANT_UNAVAILABLE;
    if (agent->draining)
        return "the agent is stopping";
    if (!participant->up)
        return participant->detail;
    *ret_code = AS_REASON_STATEMENT_FAILED;
    if (as_work_open(&work, execute->work))
        return unreadable;
    *ret_read_only = work.read_only;
    *ret_code = AS_REASON_OVERLOADED;
    /* Those that wait go first; a read-only branch never prepares, so it needs no slot (R10). */
    if (!work.read_only && (participant->queued > 0 || !has_room(participant)) &&
        participant->queued >= queue_max)
        return "all prepared slots are taken, and the queue for them is full";
    return NULL;
}

/* What PostgreSQL is to run: with SQL where the work names operations. False: the vote is a no. */
static bool expand(struct agent *agent, struct agent_session *session,
                   const struct as_wire_execute *execute, struct as_bytes *ret_work)
{
    struct agent_participant *participant = &agent->participants[execute->branch.slot];
    struct operations_refusal refusal = {-1, "", ""};
    struct as_work_reader work;
    as_err err = as_work_open(&work, execute->work);

    *ret_work = execute->work;
    if (!err && !work.operations && !participant->config.named)
        return true;
    as_buf_clear(&agent->expanded);
    err = operations_expand(participant->operations, participant->config.named, execute->work,
                            &agent->expanded, &refusal);
    *ret_work = as_buf_bytes(&agent->expanded);
    if (!err)
        return true;
    if (err == AS_ERR_REFUSED)
        agent_vote_no_at(agent, session, &execute->branch, AS_REASON_STATEMENT_FAILED,
                         refusal.statement, refusal.sqlstate, refusal.why);
    else if (err == AS_ERR_TOOBIG)
        agent_vote_no(agent, session, &execute->branch, AS_REASON_STATEMENT_FAILED,
                      "the branch is too large with the SQL of its operations");
    else
        agent_vote_no(agent, session, &execute->branch, AS_REASON_STATEMENT_FAILED,
                      err == AS_ERR_NOMEM ? "the agent is out of memory" : unreadable);
    as_buf_close(&agent->expanded);
    return false;
}

static struct agent_live *take(struct agent *agent, const struct agent_session *session,
                               const struct as_wire_execute *execute, const struct agent_key *key,
                               struct as_bytes work)
{
    struct agent_live *live = agent_live_new(agent, key, execute->id);
    as_time timeout_ms =
        execute->timeout_ms < AS_TIMEOUT_MS_MAX ? execute->timeout_ms : AS_TIMEOUT_MS_MAX;

    if (!live)
        return NULL;
    as_put_bytes(&live->work, work.data, work.len);
    if (live->work.err) {
        agent_live_free(agent, live);
        return NULL;
    }
    live->vote_session = session->connection;
    live->deadline = agent_now(agent) + timeout_ms * AS_MS;
    return live;
}

void agent_on_execute(struct agent *agent, struct agent_session *session,
                      const struct as_wire_execute *execute)
{
    struct agent_key key = agent_key_of(&execute->branch);
    struct agent_participant *participant;
    enum as_reason_code code;
    struct as_bytes work = {NULL, 0};
    bool read_only = false;
    struct agent_live *live;
    const char *why;

    AS_CRASH_POINT("agent.execute.received");
    if (!as_id_valid((const char *)execute->id.data, execute->id.len) ||
        !agent_branch_valid(agent, &execute->branch)) {
        agent_session_doom(agent, session, "EXECUTE names no possible branch");
        return;
    }
    participant = &agent->participants[key.participant];
    if (fenced(agent, session, execute, &key))
        return;
    why = refusal(agent, participant, execute, &read_only, &code);
    if (why) {
        agent_vote_no(agent, session, &execute->branch, code, why);
        return;
    }
    if (!expand(agent, session, execute, &work))
        return;
    live = take(agent, session, execute, &key, work);
    if (agent->expanded.cap > AGENT_WORK_KEEP_BYTES)
        as_buf_close(&agent->expanded);
    if (!live) {
        agent_vote_no(agent, session, &execute->branch, AS_REASON_OVERLOADED,
                      "the agent is out of memory or holds too many branches");
        return;
    }
    if (read_only || (participant->queued == 0 && has_room(participant))) {
        run(agent, live, read_only);
        return;
    }
    queue_add(agent, live);
    agent_timer_set(agent, &live->timer, live->deadline);
    agent_pump_wanted(agent, participant);
}
