/*
 * Sessions with the coordinator nodes: dial, greet, ping, frames in and out.
 *
 * Fault model: a node may be gone, silent, of another cluster, or send anything. Ending a session
 * is always safe: what has not voted on it is rolled back, what voted yes stays prepared and waits
 * (R2, R6).
 */
#include <string.h>

#include "participant/agent/inside.h"

void agent_session_init(struct agent *agent, uint32_t index)
{
    struct agent_session *session = &agent->sessions[index];

    session->redial_ms = AGENT_REDIAL_FIRST_MS;
    session->timer.kind = AGENT_TIMER_SESSION;
    session->timer.index = index;
    as_buf_init(&session->in, 2 * (size_t)(AS_FRAME_BYTES_MAX + AS_FRAME_HEADER_LEN));
}

struct agent_session *agent_session_use(struct agent *agent, struct as_bytes address)
{
    AS_ASSERT(address.len <= AGENT_ADDRESS_LEN_MAX);
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
        struct agent_session *session = &agent->sessions[i];

        if (session->used)
            continue;
        memcpy(session->address, address.data, address.len);
        session->address[address.len] = '\0';
        session->used = true;
        session->told = session->leaving = session->plain = false;
        session->node_id = 0;
        session->redial_ms = AGENT_REDIAL_FIRST_MS;
        session->complaint = NULL;
        return session;
    }
    return NULL;
}

void agent_session_unuse(struct agent *agent, struct agent_session *session)
{
    AS_ASSERT(session->state == AGENT_WAITING && !session->ending);
    agent_timer_set(agent, &session->timer, AS_NEVER);
    session->used = false;
}

static struct agent_session *session_find(struct agent *agent, uint64_t connection)
{
    for (uint32_t i = 0; connection && i < AGENT_SESSIONS_MAX; i++) {
        if (agent->sessions[i].connection == connection && !agent->sessions[i].ending)
            return &agent->sessions[i];
    }
    return NULL;
}

void agent_session_dial(struct agent *agent, struct agent_session *session)
{
    agent->next_connection += 2; /* even numbers are the dialler's */
    session->connection = agent->next_connection;
    session->state = AGENT_DIALING;
    session->silent_pings = 0;
    agent_timer_set(agent, &session->timer, agent_now(agent) + AGENT_PING_MS * AS_MS);
    agent->ops->net_dial(agent->env, session->connection, session->address);
}

/* --- Ending --- */

static const char older_node[] = "the node speaks an older version: it is greeted again in that";

void agent_session_doom(struct agent *agent, struct agent_session *session, const char *why)
{
    if (session->ending)
        return;
    session->ending = true;
    session->why = why;
    agent->ending = true;
}

static bool voted_on(const struct agent_live *live, uint64_t connection)
{
    return live->vote_session == connection;
}

/* Half to all of the wait, then twice as long the next time. */
static void redial_later(struct agent *agent, struct agent_session *session)
{
    uint64_t wait = (uint64_t)(session->redial_ms * AS_MS);

    wait = wait / 2 + as_rng_below(&agent->rng, wait / 2 + 1);
    agent_timer_set(agent, &session->timer, agent_now(agent) + (as_time)wait);
    session->redial_ms = session->redial_ms < agent->config.redial_max_ms / 2
                             ? session->redial_ms * 2
                             : agent->config.redial_max_ms;
}

void agent_session_end(struct agent *agent, struct agent_session *session)
{
    uint64_t connection = session->connection;
    struct as_trace trace = {.kind = AS_TRACE_SESSION_DOWN,
                             .number = session->node_id,
                             .name = session->address,
                             .detail = session->why};

    if (session->state == AGENT_OPEN || session->complaint != session->why)
        agent->ops->trace(agent->env, &trace);
    session->complaint = session->why;
    if (!session->gone)
        agent->ops->net_close(agent->env, connection);
    session->plain =
        session->why == older_node; /* for one greeting: it may come back as a newer one */
    session->state = AGENT_WAITING;
    session->connection = 0;
    session->term = 0;
    session->ending = session->gone = false;
    as_buf_close(&session->in);
    as_buf_init(&session->in, 2 * (size_t)(AS_FRAME_BYTES_MAX + AS_FRAME_HEADER_LEN));
    if (session->leaving)
        agent_session_unuse(agent, session);
    else
        redial_later(agent, session);

    /* R2: what has not voted on this session never will. Its no cannot be sent, and need not. */
    agent_give_up_where(agent, voted_on, connection, AS_REASON_PARTICIPANT_UNAVAILABLE,
                        "the session with the coordinator ended");
    for (uint32_t slot = 0; slot < agent->live_made; slot++) {
        struct agent_live *live = agent->lives[slot];

        if (live->vote_session == connection)
            live->vote_session = 0;
        if (live->ack_session == connection)
            live->ack_session = 0;
    }
}

/* --- Sending --- */

bool agent_send(struct agent *agent, struct agent_session *session, const struct as_wire_msg *msg)
{
    bool greeting =
        session->state == AGENT_GREETING &&
        (msg->type == AS_WIRE_HELLO || msg->type == AS_WIRE_PING || msg->type == AS_WIRE_PONG);

    if (session->ending || !(greeting || session->state == AGENT_OPEN))
        return false;
    as_buf_clear(&agent->out);
    as_wire_put(&agent->out, msg);
    if (agent->out.err) {
        agent_session_doom(agent, session, "out of memory for a message");
        return false;
    }
    agent->ops->net_send(agent->env, session->connection, as_buf_bytes(&agent->out));
    return true;
}

bool agent_send_to(struct agent *agent, uint64_t connection, const struct as_wire_msg *msg)
{
    struct agent_session *session = session_find(agent, connection);

    return session && agent_send(agent, session, msg);
}

void agent_send_all(struct agent *agent, const struct as_wire_msg *msg)
{
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++)
        (void)agent_send(agent, &agent->sessions[i], msg);
}

void agent_send_status(struct agent *agent, struct as_wire_msg *msg)
{
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
        msg->version = agent->sessions[i].speaks > 1 ? 0 : 1;
        (void)agent_send(agent, &agent->sessions[i], msg);
    }
}

static struct as_bytes text(const char *string)
{
    return (struct as_bytes){(const uint8_t *)string, strlen(string)};
}

void agent_send_participant(struct agent *agent, struct agent_session *session, uint32_t index)
{
    const struct agent_participant *participant = &agent->participants[index];
    const struct as_pg_up *facts = &participant->facts;
    struct as_wire_msg msg = {.type = AS_WIRE_PARTICIPANT,
                              .participant = {.slot = (uint16_t)index,
                                              .up = participant->up,
                                              .name = text(participant->config.name),
                                              .identity = facts->identity,
                                              .counter = facts->counter,
                                              .system_id = facts->system_id,
                                              .timeline = facts->timeline,
                                              .server_version = facts->server_version,
                                              .prepared_max = facts->prepared_max,
                                              .connections = facts->connections,
                                              .proof = facts->proof,
                                              .detail = text(participant->detail)}};

    (void)agent_send(agent, session, &msg);
}

/* --- Greeting --- */

static const char other_cluster[] = "the node belongs to another cluster";
static const char other_incarnation[] = "the node's cluster is of another incarnation than the one "
                                        "served so far; if that is meant, restart the agent";
static const char other_node[] = "another node than before answers at this address: dialed again";
static const char refused_by_node[] = "refused by the node";
static const char unexpected[] = "a message that no node sends now";
static const char bad_bytes[] = "bytes that are no message";

/* `why` is one of the constants above, told once an outage; `detail` may say more. */
static void refuse(struct agent *agent, struct agent_session *session, const char *why,
                   const char *detail)
{
    struct as_trace trace = {.kind = AS_TRACE_WIRE_REFUSED,
                             .number = session->node_id,
                             .name = session->address,
                             .detail = detail};

    if (session->state == AGENT_OPEN || session->complaint != why)
        agent->ops->trace(agent->env, &trace);
    session->redial_ms = agent->config.redial_max_ms; /* it will not be better in a moment */
    agent_session_doom(agent, session, why);
}

static const struct as_principal *principal_of(const struct agent *agent,
                                               const struct agent_session *session)
{
    return agent->ops->net_principal ? agent->ops->net_principal(agent->env, session->connection)
                                     : NULL;
}

static void on_welcome(struct agent *agent, struct agent_session *session,
                       const struct as_wire_welcome *welcome)
{
    size_t len = strlen(agent->config.cluster);
    const char *why = as_principal_refuses_node(principal_of(agent, session), agent->config.cluster,
                                                welcome->node_id);
    struct as_trace trace = {
        .kind = AS_TRACE_SESSION_UP, .number = welcome->node_id, .name = session->address};

    if (welcome->cluster.len != len ||
        memcmp(welcome->cluster.data, agent->config.cluster, len) != 0) {
        refuse(agent, session, other_cluster, other_cluster);
        return;
    }
    if (why) {
        refuse(agent, session, why, why);
        return;
    }
    if (welcome->incarnation == 0 ||
        (agent->incarnation && agent->incarnation != welcome->incarnation)) {
        refuse(agent, session, other_incarnation, other_incarnation);
        return;
    }
    agent->incarnation = welcome->incarnation;
    session->speaks = welcome->speaks > 1 ? welcome->speaks : 1;
    /* When machines start anew, their addresses may go to one another, and a dial that began before arrives
     * at the wrong one: it would stay there, and nobody would look for the right one. A node that has truly
     * taken the place of another says so twice. */
    if (session->node_id && session->node_id != welcome->node_id) {
        session->node_id = welcome->node_id;
        agent_session_doom(agent, session, other_node);
        return;
    }
    session->state = AGENT_OPEN;
    session->node_id = welcome->node_id;
    session->redial_ms = AGENT_REDIAL_FIRST_MS;
    session->complaint = NULL;
    agent->ops->trace(agent->env, &trace);
    for (uint32_t i = 0; i < agent->config.participant_count; i++) {
        agent_send_participant(agent, session, i);
        agent->participants[i].status_due = true;
        agent_scan_start(agent, i);
    }
}

static bool of_earlier_term(const struct agent_live *live, uint64_t term)
{
    return live->key.attempt.term < term;
}

static void on_leader(struct agent *agent, struct agent_session *session, uint64_t term)
{
    session->term = term;
    if (term > agent->term_max) {
        agent->term_max = term;
        agent_give_up_where(agent, of_earlier_term, term, AS_REASON_PREPARE_REFUSED,
                            "a coordinator of a later term leads (R5)");
    }
    for (uint32_t i = 0; i < agent->config.participant_count; i++)
        agent_scan_start(agent, i);
}

/* --- Receiving --- */

/*
 * A node that knows no HELLO of our version says so, in words of version 1 that all later ones keep. It is dialed again
 * soon; when that session ends, the node may be a newer one.
 */
static void on_refuse(struct agent *agent, struct agent_session *session, struct as_bytes text)
{
    const char *version = as_err_text(AS_ERR_VERSION);
    struct as_reason why;

    if (session->state == AGENT_GREETING && !session->plain && text.len >= strlen(version) &&
        memcmp(text.data, version, strlen(version)) == 0) {
        session->redial_ms = AGENT_REDIAL_FIRST_MS;
        agent_session_doom(agent, session, older_node);
        return;
    }
    as_reason_set_bytes(&why, AS_REASON_NONE, text);
    refuse(agent, session, refused_by_node, why.message);
}

static void on_message_open(struct agent *agent, struct agent_session *session,
                            const struct as_wire_msg *msg)
{
    switch (msg->type) {
    case AS_WIRE_LEADER:
        on_leader(agent, session, msg->term);
        break;
    case AS_WIRE_NODES:
        agent_on_nodes(agent, session, msg->nodes);
        break;
    case AS_WIRE_ROTATE:
        agent_on_rotate(agent, msg->rotate.slot, msg->rotate.counter);
        break;
    case AS_WIRE_EXECUTE:
        agent_on_execute(agent, session, &msg->execute);
        break;
    case AS_WIRE_READ_FINISH:
        agent_on_read_finish(agent, &msg->read_finish);
        break;
    case AS_WIRE_COMMIT:
    case AS_WIRE_ABORT:
        agent_on_decision(agent, session, msg);
        break;
    case AS_WIRE_ANSWER:
        agent_on_answer(agent, &msg->answer);
        break;
    case AS_WIRE_LIST:
        agent_on_list(agent, session, &msg->list);
        break;
    case AS_WIRE_RESOLVE:
        agent_on_resolve(agent, session, &msg->resolve);
        break;
    default:
        refuse(agent, session, unexpected, as_wire_type_text(msg->type));
        break;
    }
}

static void on_message(struct agent *agent, struct agent_session *session,
                       const struct as_wire_msg *msg)
{
    struct as_wire_msg pong = {.type = AS_WIRE_PONG, .ping = msg->ping};

    if (msg->type == AS_WIRE_PING) {
        (void)agent_send(agent, session, &pong);
    } else if (msg->type == AS_WIRE_REFUSE) {
        on_refuse(agent, session, msg->refuse);
    } else if (msg->type == AS_WIRE_PONG) {
        return;
    } else if (session->state == AGENT_OPEN) {
        on_message_open(agent, session, msg);
    } else if (msg->type == AS_WIRE_WELCOME) {
        on_welcome(agent, session, &msg->welcome);
    } else {
        refuse(agent, session, unexpected, as_wire_type_text(msg->type));
    }
}

/* Handles every whole frame; *ret_used is how much of the bytes that was. */
static void take_frames(struct agent *agent, struct agent_session *session, struct as_bytes bytes,
                        size_t *ret_used)
{
    size_t at = 0;

    while (!session->ending) {
        struct as_wire_msg msg;
        size_t used;
        as_err err = as_wire_take((struct as_bytes){bytes.data + at, bytes.len - at}, &msg, &used);

        if (err == AS_ERR_AGAIN)
            break;
        if (err) {
            refuse(agent, session, bad_bytes, as_err_text(err));
            break;
        }
        at += used;
        on_message(agent, session, &msg);
    }
    *ret_used = at;
}

void agent_on_bytes(struct agent *agent, uint64_t connection, struct as_bytes bytes)
{
    struct agent_session *session = session_find(agent, connection);
    size_t used;

    if (!session || session->state < AGENT_GREETING)
        return;
    session->silent_pings = 0;
    if (session->in.len == 0) {
        take_frames(agent, session, bytes, &used);
        as_put_bytes(&session->in, bytes.data + used, bytes.len - used);
    } else {
        as_put_bytes(&session->in, bytes.data, bytes.len);
        if (!session->in.err) {
            take_frames(agent, session, as_buf_bytes(&session->in), &used);
            as_buf_consume(&session->in, used);
        }
    }
    if (session->in.err)
        agent_session_doom(agent, session, "out of memory for what the node sent");
    agent_settle(agent);
}

void agent_on_connected(struct agent *agent, uint64_t connection)
{
    struct agent_session *session = session_find(agent, connection);
    struct as_wire_msg msg = {.type = AS_WIRE_HELLO,
                              .hello = {.agent_id = agent->agent_id,
                                        .incarnation = agent->incarnation,
                                        .cluster = text(agent->config.cluster),
                                        .name = text(agent->config.name),
                                        .speaks = AS_WIRE_VERSION}};
    const char *why;

    if (!session || session->state != AGENT_DIALING)
        return;
    session->state = AGENT_GREETING;
    session->silent_pings = 0;
    session->speaks = 1;
    msg.version = session->plain ? 1 : 0;
    /* Its id is not known before it says so, but who is no node of ours hears nothing at all. */
    why = as_principal_refuses_nodes(principal_of(agent, session), agent->config.cluster);
    if (why)
        refuse(agent, session, why, why);
    else
        (void)agent_send(agent, session, &msg);
    agent_settle(agent);
}

void agent_on_closed(struct agent *agent, uint64_t connection, as_err err)
{
    struct agent_session *session = session_find(agent, connection);

    if (!session)
        return;
    session->gone = true;
    agent_session_doom(agent, session, err ? as_err_text(err) : "closed by the node");
    agent_settle(agent);
}

/*
 * Silence is counted in pings that went unanswered, not in time: a process that was stopped for a
 * while reads what has come in meanwhile before it judges.
 */
void agent_session_timer(struct agent *agent, struct agent_session *session)
{
    struct as_wire_msg msg = {.type = AS_WIRE_PING, .ping = (uint64_t)agent_now(agent)};

    if (session->state == AGENT_WAITING) {
        agent_session_dial(agent, session);
        return;
    }
    agent_timer_set(agent, &session->timer, agent_now(agent) + AGENT_PING_MS * AS_MS);
    if (session->silent_pings++ >= AGENT_SILENT_PINGS_MAX)
        agent_session_doom(agent, session, "the node is silent");
    else if (session->silent_pings > 1)
        (void)agent_send(agent, session, &msg);
}
