/*
 * What an operator asks by way of a coordinator: what is prepared here (LIST), and to finish a
 * branch that no coordinator can answer for (RESOLVE, R6).
 *
 * Beside the branch core on purpose: there only a decision of the log finishes what voted yes. Here
 * a person's word does, about exactly the transaction that was listed and logged:
 *
 *   LOOK --(listed, with that transaction id)--> FINISH --(its tag)---------------> done
 *                                                  +--(anything else)--> PROVE --(R7)
 *
 * What this agent itself is finishing is left alone, and what is not of our cluster is not touched.
 *
 * Fault model: the same may be asked twice or by two, and the branch may be finished by anybody
 * meanwhile; the session may end before the answer. What was sent to the database is proven by its
 * tag or by R7; what is not proven is told as unknown, never guessed.
 */
#include <string.h>

#include "participant/agent/inside.h"

static struct as_bytes text(const char *chars)
{
    return (struct as_bytes){(const uint8_t *)chars, strlen(chars)};
}

/* --- Those under way --- */

static struct agent_ask *find(struct agent *agent, uint64_t op_id)
{
    for (uint32_t i = 0; op_id && i < AGENT_ASKS_MAX; i++) {
        if (agent->asks[i].op_id == op_id)
            return &agent->asks[i];
    }
    return NULL;
}

/* A free place for it. NULL: the database is not asked; *ret_asked and *ret_why say why. */
static struct agent_ask *take(struct agent *agent, const struct agent_session *session,
                              uint16_t slot, enum as_asked *ret_asked, const char **ret_why)
{
    bool known = slot < agent->config.participant_count;

    *ret_asked = AS_ASKED_BUSY;
    *ret_why = "the agent has too many questions at a time";
    if (session->term == 0 || session->term < agent->term_max) {
        *ret_why = "this coordinator does not lead (R5)";
        return NULL;
    }
    if (!known || !agent->participants[slot].up || agent->draining) {
        *ret_asked = AS_ASKED_DOWN;
        *ret_why = !known            ? "the agent serves no such participant"
                   : agent->draining ? "the agent is stopping"
                                     : agent->participants[slot].detail;
        return NULL;
    }
    for (uint32_t i = 0; i < AGENT_ASKS_MAX; i++) {
        if (!agent->asks[i].op_id)
            return &agent->asks[i];
    }
    return NULL;
}

static void start(struct agent *agent, struct agent_ask *ask, enum as_pg_kind kind)
{
    struct as_pg_op op = {.id = agent_op_new(agent, AGENT_OP_SLOT_NONE),
                          .participant = ask->slot,
                          .kind = kind,
                          .xid = ask->xid};

    memcpy(op.gid, ask->gid, sizeof op.gid);
    agent->working++;
    ask->op_id = op.id;
    agent->ops->pg_start(agent->env, &op);
}

/* --- Answers --- */

static void tell_listed(struct agent *agent, const struct agent_ask *ask,
                        struct as_wire_listed listed)
{
    struct as_wire_msg msg = {.type = AS_WIRE_LISTED, .listed = listed};

    msg.listed.slot = ask->slot;
    msg.listed.ticket = ask->ticket;
    (void)agent_send_to(agent, ask->connection, &msg);
}

static void tell_resolved(struct agent *agent, const struct agent_ask *ask, enum as_asked asked,
                          bool tag, const char *message)
{
    struct as_reason room;
    struct as_wire_msg msg = {
        .type = AS_WIRE_RESOLVED,
        .resolved = {.slot = ask->slot, .ticket = ask->ticket, .asked = asked, .tag = tag}};

    as_reason_set(&room, AS_REASON_NONE, message); /* cut at a character's end */
    msg.resolved.message = text(room.message);
    (void)agent_send_to(agent, ask->connection, &msg);
}

/* --- LIST --- */

/* The branch of this gid that the agent works on; NULL: none. */
static struct agent_live *live_of(const struct agent *agent, uint32_t index,
                                  const struct as_gid *gid)
{
    struct agent_key key = {gid->attempt, index, gid->branch};
    struct agent_live *live =
        gid->incarnation == agent->incarnation ? agent_live_find(agent, &key) : NULL;

    return live && strcmp(live->id, gid->id) == 0 ? live : NULL;
}

static bool ours(const struct agent *agent, const char *name, struct as_gid *ret_gid)
{
    return !as_gid_parse(name, strlen(name), ret_gid) &&
           strcmp(ret_gid->cluster, agent->config.cluster) == 0;
}

static bool waits(const struct agent *agent, uint32_t index, const struct as_pg_prepared *row)
{
    const struct agent_live *live;
    struct as_gid gid;

    if (row->age_ms < (int64_t)agent->config.grace_ms)
        return false;
    live = ours(agent, row->gid, &gid) ? live_of(agent, index, &gid) : NULL;
    return !live || !agent_live_finishing(live);
}

/* A text of the database, or as much of it as has room. */
static struct as_bytes upto(const char *chars, size_t max)
{
    return (struct as_bytes){(const uint8_t *)chars, strnlen(chars, max)};
}

/* Those that wait, or the others; at most AS_PREPARED_LISTED_MAX altogether. */
static void put_rows(const struct agent *agent, const struct agent_ask *ask,
                     const struct as_pg_done *done, bool waiting, struct as_buf *rows,
                     uint32_t *count)
{
    for (uint32_t i = 0; i < done->row_count && *count < AS_PREPARED_LISTED_MAX; i++) {
        const struct as_pg_prepared *row = &done->rows[i];
        struct as_wire_prepared put = {.gid = upto(row->gid, AS_GID_LEN_MAX),
                                       .owner = upto(row->owner, AS_ROLE_LEN_MAX),
                                       .xid = row->xid,
                                       .age_ms = row->age_ms,
                                       .waits = waiting};

        if ((ask->gid[0] && strcmp(row->gid, ask->gid) != 0) ||
            waits(agent, ask->slot, row) != waiting)
            continue;
        as_wire_prepared_put(rows, &put);
        ++*count;
    }
}

static void list_done(struct agent *agent, const struct agent_ask *ask,
                      const struct as_pg_done *done)
{
    struct as_wire_listed listed = {.asked = AS_ASKED_DONE, .total = done->row_count};
    struct as_buf rows;
    struct as_gid gid;
    uint32_t count = 0;

    if (done->status != AS_PG_OK) {
        listed = (struct as_wire_listed){.asked = done->status == AS_PG_REFUSED ? AS_ASKED_REFUSED
                                                                                : AS_ASKED_DOWN,
                                         .message = text(done->message)};
        tell_listed(agent, ask, listed);
        return;
    }
    for (uint32_t i = 0; i < done->row_count; i++)
        listed.foreign += !ours(agent, done->rows[i].gid, &gid);
    as_buf_init(&rows, AS_FRAME_BYTES_MAX);
    put_rows(agent, ask, done, true, &rows, &count);
    put_rows(agent, ask, done, false, &rows, &count);
    listed.rows = as_buf_bytes(&rows);
    if (rows.err)
        listed = (struct as_wire_listed){.asked = AS_ASKED_BUSY,
                                         .message = text("the agent is out of memory")};
    tell_listed(agent, ask, listed);
    as_buf_close(&rows);
}

void agent_on_list(struct agent *agent, struct agent_session *session,
                   const struct as_wire_list *list)
{
    struct agent_ask asked = {.connection = session->connection,
                              .slot = list->slot,
                              .ticket = list->ticket,
                              .step = AGENT_ASK_LIST};
    struct as_wire_listed answer = {.slot = list->slot};
    const char *why;
    struct agent_ask *ask = take(agent, session, list->slot, &answer.asked, &why);

    memcpy(asked.gid, list->gid.data, list->gid.len);
    if (ask) {
        *ask = asked;
        start(agent, ask, AS_PG_LIST);
        return;
    }
    answer.message = text(why);
    tell_listed(agent, &asked, answer);
}

/* --- RESOLVE --- */

/* It is finished, so nobody's decision is waited for any more. */
static void forget_live(struct agent *agent, const struct agent_ask *ask, const struct as_gid *gid)
{
    struct branch_event event = {.kind = BRANCH_VANISH, .unknown = true};
    struct agent_live *live = live_of(agent, ask->slot, gid);

    if (live && live->branch.state == BRANCH_PREPARED && !live->branch.busy)
        agent_step(agent, live, &event);
}

static void resolved(struct agent *agent, struct agent_ask *ask, const struct as_gid *gid, bool tag)
{
    struct as_trace trace = {.kind = AS_TRACE_BRANCH_RESOLVED,
                             .attempt = gid->attempt,
                             .branch = gid->branch,
                             .id = gid->id,
                             .name = agent->participants[ask->slot].config.name,
                             .detail = ask->commit ? "committed" : "aborted"};

    agent->counts.resolved++;
    agent->ops->trace(agent->env, &trace);
    tell_resolved(agent, ask, AS_ASKED_DONE, tag, "");
    forget_live(agent, ask, gid);
    agent_scan_start(agent, ask->slot); /* so that its slot and the counts follow soon */
}

/* Nothing was sent: what the database said, or why it was not asked. */
static enum as_asked not_done(const struct as_pg_done *done)
{
    if (done->status != AS_PG_REFUSED)
        return AS_ASKED_DOWN;
    return strcmp(done->sqlstate, "55000") == 0 ? AS_ASKED_BUSY : AS_ASKED_REFUSED;
}

static void looked(struct agent *agent, struct agent_ask *ask, const struct as_pg_done *done,
                   const struct as_gid *gid)
{
    const struct agent_live *live = live_of(agent, ask->slot, gid);

    if (done->status != AS_PG_OK) {
        tell_resolved(agent, ask, not_done(done), false, done->message);
    } else if (!done->listed) {
        tell_resolved(agent, ask, AS_ASKED_GONE, false, "");
    } else if (done->listed_xid32 != (uint32_t)ask->xid) {
        tell_resolved(agent, ask, AS_ASKED_REPLACED, false, "");
    } else if (live && (live->branch.busy || live->branch.state != BRANCH_PREPARED)) {
        tell_resolved(agent, ask, AS_ASKED_BUSY, false,
                      "a coordinator's decision is being carried out");
    } else {
        ask->identity = done->identity;
        ask->step = AGENT_ASK_FINISH;
        start(agent, ask, ask->commit ? AS_PG_COMMIT_PREPARED : AS_PG_ROLLBACK_PREPARED);
    }
}

static void finished(struct agent *agent, struct agent_ask *ask, const struct as_pg_done *done,
                     const struct as_gid *gid)
{
    bool refused = done->status == AS_PG_REFUSED;

    if (done->status == AS_PG_OK) {
        resolved(agent, ask, gid, true);
    } else if (done->status == AS_PG_UNAVAILABLE || done->status == AS_PG_STALE) {
        tell_resolved(agent, ask, AS_ASKED_DOWN, false, done->message); /* it was not sent */
    } else {
        ask->step = AGENT_ASK_PROVE;
        ask->refused = refused ? not_done(done) : AS_ASKED_UNKNOWN;
        as_reason_set(&ask->refusal, AS_REASON_NONE, done->message);
        start(agent, ask, AS_PG_PROBE);
    }
}

/* By its transaction id only: markers are not kept as long as an old branch may be. */
static enum branch_proof prove(const struct agent_ask *ask, const struct as_pg_done *done)
{
    return done->status == AS_PG_OK
               ? branch_prove(done, ask->xid, ask->identity, AS_PROOF_XACT_STATUS)
               : BRANCH_PROOF_UNVERIFIED;
}

static void proved(struct agent *agent, struct agent_ask *ask, const struct as_pg_done *done,
                   const struct as_gid *gid)
{
    enum branch_proof proof = prove(ask, done);
    bool committed = proof == BRANCH_PROOF_COMMITTED;

    if (committed || proof == BRANCH_PROOF_HEURISTIC_ABORT) {
        if (committed == ask->commit) {
            resolved(agent, ask, gid, false);
            return;
        }
        tell_resolved(agent, ask, AS_ASKED_OTHERWISE, false,
                      committed ? "pg_xact_status says: committed"
                                : "pg_xact_status says: aborted");
        forget_live(agent, ask, gid);
    } else if (proof == BRANCH_PROOF_LISTED) {
        /* The server said no, and it is there. A command without an answer may still be carried out. */
        tell_resolved(agent, ask, ask->refused, false, ask->refusal.message);
    } else {
        tell_resolved(agent, ask, AS_ASKED_UNKNOWN, false,
                      done->status == AS_PG_OK ? "the database cannot prove what came of it"
                                               : done->message);
    }
}

void agent_on_resolve(struct agent *agent, struct agent_session *session,
                      const struct as_wire_resolve *resolve)
{
    struct agent_ask asked = {.connection = session->connection,
                              .slot = resolve->slot,
                              .ticket = resolve->ticket,
                              .step = AGENT_ASK_LOOK,
                              .commit = resolve->commit,
                              .xid = resolve->xid};
    enum as_asked answer;
    const char *why;
    struct agent_ask *ask = take(agent, session, resolve->slot, &answer, &why);
    struct as_gid gid;

    memcpy(asked.gid, resolve->gid.data, resolve->gid.len);
    if (!ours(agent, asked.gid, &gid)) {
        agent_session_doom(agent, session, "RESOLVE names a branch of another cluster");
        return;
    }
    if (!ask) {
        tell_resolved(agent, &asked, answer, false, why);
        return;
    }
    *ask = asked;
    start(agent, ask, AS_PG_PROBE);
}

bool agent_ask_done(struct agent *agent, const struct as_pg_done *done)
{
    struct agent_ask *ask = find(agent, done->id);
    struct as_gid gid;
    bool mine;

    if (!ask || ask->slot != done->participant)
        return false;
    ask->op_id = 0;
    agent->working--;
    if (ask->step == AGENT_ASK_LIST) {
        list_done(agent, ask, done);
        return true;
    }
    mine = ours(agent, ask->gid, &gid);
    AS_ASSERT(mine);
    if (ask->step == AGENT_ASK_LOOK)
        looked(agent, ask, done, &gid);
    else if (ask->step == AGENT_ASK_FINISH)
        finished(agent, ask, done, &gid);
    else
        proved(agent, ask, done, &gid);
    return true;
}
