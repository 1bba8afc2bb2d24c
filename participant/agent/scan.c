/*
 * The scan of pg_prepared_xacts: for every branch of ours that has been prepared for longer than
 * the grace time a coordinator is asked (R6), and the nodes are told what was seen.
 *
 * Fault model: a listing is some milliseconds old when it arrives; a gid is something any database
 * user can write, so it proves nothing and only leads to a question.
 */
#include <string.h>

#include "participant/agent/inside.h"

struct scan {
    struct agent *agent;
    struct agent_participant *participant;
    uint32_t index;
    as_time now;
    uint32_t budget;   /* inquiries left */
    bool spent;        /* some branch was not asked about for want of budget */
    uint32_t spent_at; /* the row of the first such */
    struct as_wire_status status;
};

void agent_scan_start(struct agent *agent, uint32_t index)
{
    struct agent_participant *participant = &agent->participants[index];
    struct as_pg_op op = {.participant = index, .kind = AS_PG_SCAN};

    agent_timer_set(agent, &participant->scan_timer,
                    agent_now(agent) + agent->config.scan_ms * AS_MS);
    /* Without the incarnation nothing can be told to be ours. */
    if (!participant->up || participant->scan_op || !agent->incarnation)
        return;
    op.id = agent_op_new(agent, AGENT_OP_SLOT_NONE);
    participant->scan_op = op.id;
    participant->scan_seq++;
    agent->ops->pg_start(agent->env, &op);
}

/* Another agent may have made the counter grow since this one has read it: PostgreSQL compares (R7). */
void agent_on_rotate(struct agent *agent, uint16_t slot, uint64_t counter)
{
    struct as_pg_op op = {.participant = slot, .kind = AS_PG_ROTATE, .counter = counter};
    struct agent_participant *participant;

    if (slot >= agent->config.participant_count)
        return;
    participant = &agent->participants[slot];
    if (!participant->up || participant->rotate_op)
        return; /* it will be said again when the participant is announced again */
    op.id = agent_op_new(agent, AGENT_OP_SLOT_NONE);
    participant->rotate_op = op.id;
    agent->ops->pg_start(agent->env, &op);
}

/* The session of the highest term announced, or NULL. */
static struct agent_session *leader(struct agent *agent)
{
    struct agent_session *best = NULL;

    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
        struct agent_session *session = &agent->sessions[i];

        if (session->state == AGENT_OPEN && !session->ending && session->term > 0 &&
            (!best || session->term > best->term))
            best = session;
    }
    return best;
}

/* It was answered so, and no other leader has come since. */
static bool is_unknown(const struct agent *agent, const struct agent_live *live)
{
    return live->orphaned && live->orphan_term >= agent->term_max;
}

/* An inquiry is not a vote (R2): it can be asked at any time, of anybody, about anything. */
static void inquire(struct scan *scan, struct agent_live *live)
{
    struct agent *agent = scan->agent;
    struct agent_session *session = leader(agent);
    struct as_wire_msg msg = {.type = AS_WIRE_INQUIRE};

    if (is_unknown(agent, live))
        return;
    msg.inquire.branch =
        (struct as_wire_branch){(uint16_t)scan->index, live->key.number, live->key.attempt};
    msg.inquire.id = (struct as_bytes){(const uint8_t *)live->id, strlen(live->id)};
    scan->budget--;
    agent->counts.inquiries++;
    if (!live->doubted)
        agent_trace_live(agent, AS_TRACE_BRANCH_IN_DOUBT, live, NULL);
    live->doubted = true;
    if (session)
        agent_send(agent, session, &msg);
    else
        agent_send_all(agent, &msg);
}

/* Listed, and not known here: found prepared. NULL: no memory for it now, the next scan tries
 * again. */
static struct agent_live *find_or_make(struct scan *scan, const struct as_gid *gid)
{
    struct agent_key key = {gid->attempt, scan->index, gid->branch};
    struct branch_event event = {.kind = BRANCH_FIND};
    struct agent_live *live = agent_live_find(scan->agent, &key);

    if (live)
        return live;
    live = agent_live_new(scan->agent, &key,
                          (struct as_bytes){(const uint8_t *)gid->id, strlen(gid->id)});
    if (!live)
        return NULL;
    live->holds = true;
    scan->participant->held++;
    agent_step(scan->agent, live, &event);
    return live;
}

/* Whether to ask before the grace time is over: nobody here waits for its decision in the usual
 * way. */
static bool impatient(const struct agent *agent, const struct agent_live *live)
{
    const struct agent_past *past;

    if (!live->branch.found)
        return live->branch.state == BRANCH_PREPARED &&
               (!live->branch.voted || live->vote_session == 0);
    past = agent_past_find(agent, &live->key);
    return past && past->outcome == AS_ACK_ABORTED; /* it came up after its abort */
}

static void listed(struct scan *scan, const struct as_pg_prepared *row, uint32_t i)
{
    struct agent *agent = scan->agent;
    bool old = row->age_ms >= (int64_t)agent->config.grace_ms;
    struct agent_live *live;
    struct as_gid gid;

    if (as_gid_parse(row->gid, strlen(row->gid), &gid) ||
        strcmp(gid.cluster, agent->config.cluster) != 0) {
        scan->status.foreign++;
        return;
    }
    if (!scan->status.oldest_gid.data || row->age_ms > scan->status.oldest_age_ms) {
        scan->status.oldest_age_ms = row->age_ms;
        scan->status.oldest_gid = (struct as_bytes){(const uint8_t *)row->gid, strlen(row->gid)};
    }
    if (gid.incarnation != agent->incarnation) { /* nobody here can be asked: an operator's */
        scan->status.orphaned++;
        return;
    }
    scan->status.prepared++;
    live = find_or_make(scan, &gid);
    if (!live || strcmp(live->id, gid.id) != 0) {
        scan->status.in_doubt +=
            old; /* another id: not the branch of that number; shown, not touched */
        return;
    }
    live->seen_scan = scan->participant->scan_seq;
    live->vanished = false;
    if (agent_live_finishing(live))
        return;
    scan->status.orphaned += live->orphaned;
    scan->status.in_doubt += old && !live->orphaned;
    if (!old && !impatient(agent, live))
        return;
    if (scan->budget > 0) {
        inquire(scan, live);
    } else if (!scan->spent) {
        scan->spent = true;
        scan->spent_at = i;
    }
}

/*
 * Prepared before the scan began, and not listed: somebody finished it. A branch that voted yes
 * asks for its decision all the same, for that has to be compared with what happened (R7), unless it was told
 * already that nobody knows it. Others are forgotten.
 */
static void sweep(struct scan *scan)
{
    struct agent *agent = scan->agent;
    struct branch_event event = {.kind = BRANCH_VANISH};
    uint64_t seq = scan->participant->scan_seq;

    for (uint32_t slot = 0; slot < agent->live_made; slot++) {
        struct agent_live *live = agent->lives[slot];

        if (!live->used || live->key.participant != scan->index ||
            live->branch.state != BRANCH_PREPARED || live->prepared_scan >= seq ||
            live->seen_scan >= seq)
            continue;
        live->vanished = true;
        event.unknown = is_unknown(agent, live);
        if (!live->branch.voted || event.unknown)
            agent_step(agent, live, &event);
        else if (scan->budget > 0 &&
                 (live->vote_session == 0 ||
                  scan->now - live->prepared_at >= agent->config.grace_ms * AS_MS))
            inquire(scan, live);
    }
}

static bool status_equal(const struct as_wire_status *a, const struct as_wire_status *b)
{
    return a->slots_used == b->slots_used && a->prepared == b->prepared &&
           a->in_doubt == b->in_doubt && a->orphaned == b->orphaned && a->foreign == b->foreign &&
           a->queued == b->queued && a->slots_ours == b->slots_ours;
}

static void tell(struct scan *scan)
{
    struct agent_participant *participant = scan->participant;
    struct as_wire_msg msg = {.type = AS_WIRE_STATUS, .status = scan->status};

    if (!participant->status_due && status_equal(&scan->status, &participant->status) &&
        scan->now - participant->status_at < AGENT_STATUS_MS * AS_MS)
        return;
    agent_send_status(scan->agent, &msg);
    participant->status = scan->status;
    participant->status.oldest_gid = (struct as_bytes){0};
    participant->status_at = scan->now;
    participant->status_due = false;
}

void agent_scan_done(struct agent *agent, uint32_t index, const struct as_pg_done *done)
{
    struct agent_participant *participant = &agent->participants[index];
    struct scan scan = {.agent = agent,
                        .participant = participant,
                        .index = index,
                        .now = agent_now(agent),
                        .budget = AGENT_INQUIRIES_MAX};

    participant->scan_op = 0;
    if (done->status != AS_PG_OK)
        return; /* a standby, or gone: the next scan tells */
    scan.status.slot = (uint16_t)index;
    scan.status.slots_used = done->slots_used;
    scan.status.foreign = done->foreign;
    scan.status.queued = participant->queued;
    scan.status.audited = true;
    scan.status.slots_ours = done->slots_ours;
    scan.status.xmin_age = done->xmin_age;
    scan.status.foreign_xmin_age = done->foreign_xmin_age;
    scan.status.foreign_oldest_age_ms = done->foreign_oldest_age_ms;
    for (uint32_t n = 0; n < done->row_count; n++) {
        uint32_t i = (participant->scan_from + n) % done->row_count;

        listed(&scan, &done->rows[i], i);
    }
    participant->scan_from = scan.spent ? scan.spent_at : 0;
    sweep(&scan);
    participant->others =
        done->slots_used > scan.status.prepared ? done->slots_used - scan.status.prepared : 0;
    agent_pump_wanted(agent, participant);
    tell(&scan);
}
