/*
 * Steps of the branch core and their effects: votes, acknowledgements, operations of PostgreSQL.
 *
 * Fault model: a done may belong to nothing any more; a session may be gone when its vote is ready,
 * and then the vote is lost, which the coordinator counts as a no (R2).
 */
#include <stdio.h>
#include <string.h>

#include "assent/crash.h"
#include "participant/agent/inside.h"

static struct as_wire_branch wire_branch(const struct agent_key *key)
{
    return (struct as_wire_branch){(uint16_t)key->participant, key->number, key->attempt};
}

/* Cut at a character's end, for a message that travels. */
static struct as_bytes people(struct as_reason *room, const char *message)
{
    if (!*message)
        return (struct as_bytes){0};
    as_reason_set(room, AS_REASON_NONE, message);
    return (struct as_bytes){(const uint8_t *)room->message, strlen(room->message)};
}

void agent_vote_no(struct agent *agent, struct agent_session *session,
                   const struct as_wire_branch *branch, enum as_reason_code code, const char *why)
{
    agent_vote_no_at(agent, session, branch, code, -1, "", why);
}

void agent_vote_no_at(struct agent *agent, struct agent_session *session,
                      const struct as_wire_branch *branch, enum as_reason_code code,
                      int32_t statement, const char *sqlstate, const char *why)
{
    struct as_reason room;
    struct as_wire_msg msg = {.type = AS_WIRE_VOTE,
                              .vote = {.branch = *branch,
                                       .vote = AS_VOTE_NO,
                                       .code = code,
                                       .statement = statement,
                                       .message = people(&room, why)}};

    (void)snprintf(msg.vote.sqlstate, sizeof msg.vote.sqlstate, "%.5s", sqlstate);
    agent->counts.voted_no++;
    if (agent_send(agent, session, &msg))
        AS_CRASH_POINT_SENT("agent.vote.sent");
}

void agent_ack(struct agent *agent, uint64_t connection, const struct agent_key *key,
               enum as_ack ack, const char *message)
{
    struct as_reason room;
    struct as_wire_msg msg = {
        .type = AS_WIRE_ACK,
        .ack = {.branch = wire_branch(key), .ack = ack, .message = people(&room, message)}};

    if (agent_send_to(agent, connection, &msg))
        AS_CRASH_POINT_SENT("agent.ack.sent");
}

static void vote(struct agent *agent, struct agent_live *live, const struct branch_effects *effects)
{
    struct as_reason room;
    struct as_wire_msg msg = {
        .type = AS_WIRE_VOTE,
        .vote = {.branch = wire_branch(&live->key), .vote = effects->vote, .statement = -1}};

    switch (effects->vote) {
    case AS_VOTE_YES:
        msg.vote.xid = live->branch.xid;
        msg.vote.identity = live->branch.identity;
        msg.vote.results = effects->results;
        agent->counts.voted_yes++;
        agent_trace_live(agent, AS_TRACE_BRANCH_PREPARED, live, NULL);
        break;
    case AS_VOTE_READY:
        msg.vote.results = effects->results;
        break;
    case AS_VOTE_READ_ONLY:
        agent->counts.voted_read_only++;
        break;
    case AS_VOTE_NO:
        msg.vote.code = effects->code;
        msg.vote.statement = effects->statement;
        memcpy(msg.vote.sqlstate, effects->sqlstate, sizeof msg.vote.sqlstate);
        msg.vote.message = people(&room, effects->message);
        agent->counts.voted_no++;
        agent_trace_live(agent, AS_TRACE_BRANCH_REFUSED, live, effects->message);
        break;
    }
    if (agent_send_to(agent, live->vote_session, &msg))
        AS_CRASH_POINT_SENT("agent.vote.sent");
}

static void start(struct agent *agent, struct agent_live *live,
                  const struct branch_effects *effects)
{
    struct as_gid gid = {.incarnation = agent->incarnation,
                         .attempt = live->key.attempt,
                         .branch = live->key.number};
    struct as_pg_op op = {.id = agent_op_new(agent, live->slot),
                          .participant = live->key.participant,
                          .kind = effects->op,
                          .xid = effects->xid,
                          .connection = effects->connection};

    memcpy(gid.cluster, agent->config.cluster, sizeof gid.cluster);
    memcpy(gid.id, live->id, sizeof gid.id);
    as_gid_format(&gid, op.gid);
    live->op_id = op.id;
    if (op.kind == AS_PG_PREPARE || op.kind == AS_PG_READ) {
        as_time left = live->deadline - agent_now(agent);

        op.work = as_buf_bytes(&live->work);
        op.timeout_ms = left > AS_MS ? (uint32_t)(left / AS_MS) : 1;
        live->read_op_id = op.id;
        live->identity = agent_of(agent, live)->facts.identity;
    } else {
        op.target = live->read_op_id;
    }
    agent->ops->pg_start(agent->env, &op);
    if (op.kind == AS_PG_PREPARE)
        AS_CRASH_POINT_SENT("agent.prepare.sent");
    if (op.kind == AS_PG_COMMIT_PREPARED)
        AS_CRASH_POINT_SENT("agent.commit.sent");
}

static void ended(struct agent *agent, struct agent_live *live)
{
    const struct branch *branch = &live->branch;

    agent->counts.committed += branch->outcome == AS_ACK_COMMITTED;
    agent->counts.aborted += branch->outcome == AS_ACK_ABORTED;
    agent->counts.heuristic +=
        branch->outcome >= AS_ACK_HEURISTIC_ABORT && branch->outcome <= AS_ACK_UNVERIFIED;
    /* A found one of unknown end is not remembered: a gid is something any database user can write.
     */
    if (branch->outcome || !branch->found)
        agent_past_add(agent, &live->key, branch->outcome, !branch->may_exist);
    agent_live_free(agent, live);
}

static void acknowledged(struct agent *agent, struct agent_live *live,
                         const struct branch_effects *effects)
{
    bool heuristic = effects->ack >= AS_ACK_HEURISTIC_ABORT && effects->ack <= AS_ACK_UNVERIFIED;

    agent_ack(agent, live->ack_session, &live->key, effects->ack, effects->ack_message);
    if (heuristic)
        agent_trace_live(agent, AS_TRACE_HEURISTIC, live, effects->ack_message);
    else if (effects->ack != AS_ACK_RETRY)
        agent_trace_live(agent, AS_TRACE_BRANCH_FINISHED, live,
                         effects->ack == AS_ACK_COMMITTED ? "committed" : "aborted");
}

/* After a step: what is counted and timed by the state it led to. */
static void stand(struct agent *agent, struct agent_live *live, enum branch_state was)
{
    const struct branch *branch = &live->branch;
    bool working = branch->busy || branch->state == BRANCH_READ_ONLY;

    if (working != live->working) {
        live->working = working;
        agent->working += working ? 1 : (uint32_t)-1;
    }
    if (branch->state == was)
        return;
    if (branch->state == BRANCH_PREPARED) {
        live->prepared_at = agent_now(agent);
        live->prepared_scan = agent_of(agent, live)->scan_seq;
        live->vanished = false;
    }
    if (!agent_undecided(live))
        agent_timer_set(agent, &live->timer, AS_NEVER);
}

void agent_step(struct agent *agent, struct agent_live *live, const struct branch_event *event)
{
    enum branch_state was = live->branch.state;
    struct branch_effects effects;

    if (branch_step(&live->branch, event, &effects))
        return; /* late, or forbidden by a rule: nothing has changed */
    if (live->queued && live->branch.state != BRANCH_IDLE)
        agent_queue_remove(agent, live);
    if (event->kind == BRANCH_PG_DONE)
        live->op_id = 0;
    if (effects.vote)
        vote(agent, live, &effects);
    if (effects.ack)
        acknowledged(agent, live, &effects);
    if (effects.start)
        start(agent, live, &effects);
    if (effects.cancel)
        agent->ops->pg_cancel(agent->env, live->key.participant, live->op_id);
    stand(agent, live, was);
    if (live->branch.state == BRANCH_DONE)
        ended(agent, live);
}

void agent_give_up(struct agent *agent, struct agent_live *live, enum as_reason_code code,
                   const char *why)
{
    struct branch_event event = {.kind = BRANCH_GIVE_UP, .give_up = {code, why}};

    agent_step(agent, live, &event);
}

void agent_give_up_where(struct agent *agent,
                         bool (*gone)(const struct agent_live *live, uint64_t argument),
                         uint64_t argument, enum as_reason_code code, const char *why)
{
    for (uint32_t slot = 0; slot < agent->live_made; slot++) {
        struct agent_live *live = agent->lives[slot];

        if (live->used && agent_undecided(live) && gone(live, argument))
            agent_give_up(agent, live, code, why);
    }
}

static void crash_points(const struct as_pg_done *done)
{
    bool ok = done->status == AS_PG_OK;

    if (done->kind == AS_PG_PREPARE && done->prepared)
        AS_CRASH_POINT("agent.prepare.done");
    if (done->kind == AS_PG_COMMIT_PREPARED && ok)
        AS_CRASH_POINT("agent.commit.done");
    if (done->kind == AS_PG_ROLLBACK_PREPARED && ok)
        AS_CRASH_POINT("agent.abort.done");
    (void)ok;
}

void agent_on_pg_done(struct agent *agent, const struct as_pg_done *done)
{
    struct agent_live *live = agent_live_of_op(agent, done->id);

    if (live && live->key.participant == done->participant) {
        const struct agent_participant *participant = agent_of(agent, live);
        struct branch_event event = {
            .kind = BRANCH_PG_DONE,
            .pg = {.done = done,
                   .identity = live->identity,
                   .moved = memcmp(&live->identity, &participant->facts.identity,
                                   sizeof live->identity) != 0,
                   .proof = participant->facts.proof,
                   .late = agent_now(agent) >= live->deadline}};

        crash_points(done);
        agent_step(agent, live, &event);
    } else if (!agent_ask_done(agent, done) &&
               done->participant < agent->config.participant_count) {
        struct agent_participant *participant = &agent->participants[done->participant];

        if (done->id && done->id == participant->scan_op)
            agent_scan_done(agent, done->participant, done);
        else if (done->id && done->id == participant->rotate_op)
            participant->rotate_op = 0;
    }
    agent_settle(agent);
}
