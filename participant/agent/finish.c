/*
 * What coordinators say of branches that may be prepared: COMMIT, ABORT, READ_FINISH, and the
 * answers to inquiries that decide nothing. Whether it was done is proven by participant/branch
 * (R7).
 *
 * Fault model: a decision may come for a branch that this process never saw (another agent ran it,
 * or this one restarted), twice, or after the branch is finished.
 */
#include <string.h>

#include "assent/crash.h"
#include "participant/agent/inside.h"

bool agent_branch_valid(const struct agent *agent, const struct as_wire_branch *branch)
{
    return branch->slot < agent->config.participant_count && branch->number > 0 &&
           branch->attempt.term > 0 && branch->attempt.seq > 0;
}

struct agent_key agent_key_of(const struct as_wire_branch *branch)
{
    return (struct agent_key){branch->attempt, branch->slot, branch->number};
}

/* The branch that a decision is about; NULL with a text why there is none now. */
static struct agent_live *decided_live(struct agent *agent, const struct agent_key *key,
                                       struct as_bytes id, const char **ret_why)
{
    struct branch_event event = {.kind = BRANCH_FIND};
    struct agent_live *live = agent_live_find(agent, key);

    if (live) {
        bool same =
            id.len == 0 || (strlen(live->id) == id.len && !memcmp(live->id, id.data, id.len));

        if (same)
            return live;
        /* A gid can be made up by any database user, the coordinator's word counts. */
        if (!live->branch.found || live->branch.busy) {
            *ret_why = "this branch belongs to a transaction of another id";
            return NULL;
        }
        memcpy(live->id, id.data, id.len);
        live->id[id.len] = '\0';
        return live;
    }
    if (id.len == 0) {
        *ret_why = "the agent does not know this branch, and the message names no transaction";
        return NULL;
    }
    live = agent_live_new(agent, key, id);
    if (!live) {
        *ret_why = "the agent is out of memory or holds too many branches";
        return NULL;
    }
    live->holds = true;
    agent_of(agent, live)->held++;
    agent_step(agent, live, &event);
    return live;
}

/*
 * Answered from memory: the same branch was finished a short while ago, and the ack got lost (R8). That it was
 * found committed against an abort (R7) is not proven a second time by an abort that bears no xid, as the next
 * leader's answer to an inquiry does not.
 */
static bool answered(struct agent *agent, struct agent_session *session,
                     const struct agent_key *key, bool commit)
{
    const struct agent_past *past =
        agent_live_find(agent, key) ? NULL : agent_past_find(agent, key);
    enum as_ack wanted = commit ? AS_ACK_COMMITTED : AS_ACK_ABORTED;
    bool read_only = past && past->outcome == 0; /* ended in itself: nothing to abort */

    if (past && !commit && past->outcome == AS_ACK_HEURISTIC_COMMIT) {
        agent_ack(agent, session->connection, key, AS_ACK_HEURISTIC_COMMIT,
                  "decided abort, but the database said that it was committed");
        return true;
    }
    if (!past || !past->certain || !(past->outcome == wanted || (read_only && !commit)))
        return false;
    agent_ack(agent, session->connection, key, wanted, "");
    return true;
}

void agent_on_decision(struct agent *agent, struct agent_session *session,
                       const struct as_wire_msg *msg)
{
    const struct as_wire_decision *decision = &msg->decision;
    struct agent_key key = agent_key_of(&decision->branch);
    bool commit = msg->type == AS_WIRE_COMMIT;
    struct branch_event event = {.kind = commit ? BRANCH_COMMIT : BRANCH_ABORT,
                                 .decision = {decision->xid, decision->identity}};
    struct agent_live *live;
    const char *why;

    if (!agent_branch_valid(agent, &decision->branch) ||
        (decision->id.len > 0 && !as_id_valid((const char *)decision->id.data, decision->id.len))) {
        agent_session_doom(agent, session, "a decision names no possible branch");
        return;
    }
    if (commit)
        AS_CRASH_POINT("agent.commit.received");
    if (answered(agent, session, &key, commit))
        return;
    live = decided_live(agent, &key, decision->id, &why);
    if (!live) {
        agent_ack(agent, session->connection, &key, AS_ACK_RETRY, why);
        return;
    }
    live->ack_session = session->connection;
    agent_step(agent, live, &event);
}

void agent_on_read_finish(struct agent *agent, const struct as_wire_branch *branch)
{
    struct branch_event event = {.kind = BRANCH_READ_FINISH};
    struct agent_key key = agent_key_of(branch);
    struct agent_live *live = agent_live_find(agent, &key);

    if (live)
        agent_step(agent, live, &event);
    /* else it has voted no already, or never ran here: its vote is known or will time out */
}

/* PENDING: the next scan asks again. UNKNOWN: a person must look, once per term of a leader (R6).
 */
void agent_on_answer(struct agent *agent, const struct as_wire_answer *answer)
{
    struct branch_event event = {.kind = BRANCH_VANISH, .unknown = true};
    struct agent_key key = agent_key_of(&answer->branch);
    struct agent_live *live = agent_live_find(agent, &key);

    if (!live || answer->answer != AS_ANSWER_UNKNOWN || live->branch.state != BRANCH_PREPARED)
        return;
    if (!live->orphaned)
        agent_trace_live(agent, AS_TRACE_BRANCH_ORPHANED, live, NULL);
    live->orphaned = true;
    live->orphan_term = agent->term_max;
    if (live->vanished)
        agent_step(agent, live, &event);
}
