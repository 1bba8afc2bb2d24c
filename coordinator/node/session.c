/*
 * Sessions with agents and other nodes: bytes in, messages to the transaction core, frames out.
 *
 * Fault model: a peer may send anything. A frame or a message that is not right ends the session,
 * and that is always safe (R2): what had not voted counts as a no, what is prepared is asked about
 * on the next session.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/node/internal.h"

/* A session that stays silent for so many pings is closed. */
#define SILENT_PINGS_MAX 5

static uint64_t connection_hash(uint64_t connection)
{
    return as_hash(&connection, sizeof(connection), 0);
}

static bool connection_match(const void *owner, uint32_t handle, const void *key)
{
    const struct node *node = owner;

    return node->sessions[handle]->connection == *(const uint64_t *)key;
}

struct node_session *node_session_find(struct node *node, uint64_t connection)
{
    uint32_t at = as_map_find(&node->session_map, connection_hash(connection), &connection,
                              connection_match, node);

    return at == AS_MAP_NONE ? NULL : node->sessions[at];
}

static void session_free(struct node_session *session)
{
    as_buf_close(&session->in);
    as_free(session->slots);
    as_free(session);
}

/* Takes it out of the tables; the core hears of it last, so that nothing is sent to it any more. */
static void session_end(struct node *node, struct node_session *session, const char *why)
{
    uint64_t connection = session->connection;
    uint32_t at = as_map_find(&node->session_map, connection_hash(connection), &connection,
                              connection_match, node);
    struct txn_event event = {.kind = TXN_SESSION_DOWN, .session = connection};
    bool welcome = session->welcome;
    uint64_t peer_id = session->peer_id;
    uint32_t last = node->session_count - 1;

    node_trace(node, &(struct as_trace){.kind = AS_TRACE_SESSION_DOWN,
                                        .number = connection,
                                        .name = session->name[0] ? session->name : session->peer,
                                        .detail = why});
    as_map_remove(&node->session_map, connection_hash(connection), at);
    if (at != last) {
        uint64_t moved = node->sessions[last]->connection;

        /* Removing made room, so the insert of the moved one needs none. */
        as_map_remove(&node->session_map, connection_hash(moved), last);
        node->sessions[at] = node->sessions[last];
        if (as_map_insert(&node->session_map, connection_hash(moved), at))
            node_fail(node, "out of memory while moving a session");
    }
    node->session_count--;
    node->broken_sessions -= session->broken;
    session_free(session);
    if (peer_id)
        node_link_ended(node, peer_id, connection);
    else if (welcome)
        node_txn(node, &event);
}

/* Ends a session for what its peer sent, and tells both sides why. */
static void session_refuse(struct node *node, struct node_session *session, const char *why)
{
    uint64_t connection = session->connection;
    struct as_wire_msg msg = {.type = AS_WIRE_REFUSE,
                              .refuse = {(const uint8_t *)why, strlen(why)}};

    node->wire_errors++;
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_WIRE_REFUSED,
                                        .number = connection,
                                        .name = session->peer,
                                        .detail = why});
    node_send(node, connection, &msg);
    node->ops->net_close(node->env, connection);
    session_end(node, session, why);
}

struct node_session *node_session_new(struct node *node, uint64_t connection, const char *peer)
{
    struct node_session *session;

    if (node->failed || node->session_count == AS_AGENT_SESSIONS_MAX)
        return NULL;
    session = as_alloc_zero(1, sizeof(*session));
    if (!session)
        return NULL;
    if (as_map_insert(&node->session_map, connection_hash(connection), node->session_count)) {
        as_free(session);
        return NULL;
    }
    session->connection = connection;
    session->heard_at = node->ops->now(node->env);
    strncpy(session->peer, peer, NODE_PEER_LEN_MAX);
    as_buf_init(&session->in, AS_FRAME_BYTES_MAX + AS_FRAME_HEADER_LEN);
    node->sessions[node->session_count++] = session;
    return session;
}

void node_on_accepted(struct node *node, uint64_t connection, const char *peer)
{
    if (node_session_new(node, connection, peer))
        return;
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_WIRE_REFUSED,
                                        .number = connection,
                                        .name = peer,
                                        .detail = "too many sessions, or out of memory"});
    node->ops->net_close(node->env, connection);
}

void node_on_closed(struct node *node, uint64_t connection, as_err err)
{
    struct node_session *session = node_session_find(node, connection);

    if (session)
        session_end(node, session, err ? as_err_text(err) : "closed by the peer");
    else
        (void)node_link_failed(node, connection);
}

void node_send(struct node *node, uint64_t session, const struct as_wire_msg *msg)
{
    struct node_session *to;

    as_buf_clear(&node->out);
    as_wire_put(&node->out, msg);
    if (!node->out.err) {
        node->frames_out++;
        node->ops->net_send(node->env, session, as_buf_bytes(&node->out));
        return;
    }
    /* Out of memory. A session may be lost, but not a message in the middle of it. It is ended when the turn ends: here
     * the core's effects are being carried out, and its next step would take them away. */
    to = node_session_find(node, session);
    if (to && !to->broken) {
        to->broken = true;
        node->broken_sessions++;
        node->ops->net_close(node->env, session);
    }
}

void node_sessions_reap(struct node *node)
{
    for (uint32_t i = node->session_count; i-- > 0 && node->broken_sessions > 0;) {
        if (node->sessions[i]->broken)
            session_end(node, node->sessions[i], as_err_text(AS_ERR_NOMEM));
    }
}

/* --- Messages --- */

static void copy_text(char *ret, size_t size, struct as_bytes text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;

    if (len > 0)
        memcpy(ret, text.data, len);
    ret[len] = 0;
}

const struct as_principal *node_principal(const struct node *node, uint64_t connection)
{
    return node->ops->net_principal ? node->ops->net_principal(node->env, connection) : NULL;
}

/* NULL, or why this agent cannot be served. */
static const char *hello_refusal(const struct node *node, uint64_t connection,
                                 const struct as_wire_hello *hello)
{
    const char *cluster = node->report.cluster;
    const char *why = as_principal_refuses_agent(node_principal(node, connection), cluster);

    if (why)
        return why;

    if (hello->cluster.len != strlen(cluster) ||
        memcmp(hello->cluster.data, cluster, hello->cluster.len) != 0)
        return "this agent is configured for another cluster";
    if (hello->incarnation != 0 && hello->incarnation != node->report.incarnation)
        return "this agent has served another incarnation of the cluster; restart it if the "
               "cluster "
               "was rebuilt on purpose";
    return NULL;
}

/* Where agents find the cluster from now on. The members of a lone node bear no address. */
static void put_nodes(const struct node *node, struct as_buf *buf)
{
    const struct raft_members *members = raft_members(node->raft);

    for (uint32_t i = 0; i < members->count; i++) {
        const char *address = members->list[i].address;
        struct as_wire_node one = {members->list[i].id,
                                   {(const uint8_t *)address, strlen(address)}};

        if (one.address.len > 0)
            as_wire_node_put(buf, &one);
    }
}

static void tell_nodes(struct node *node, const struct node_session *session)
{
    struct as_wire_msg msg = {.type = AS_WIRE_NODES};
    struct as_buf list;

    as_buf_init(&list, AS_NODES_MAX * (size_t)(RAFT_ADDRESS_LEN_MAX + 16));
    put_nodes(node, &list);
    msg.nodes = as_buf_bytes(&list);
    /* Without memory for it the agent goes on with those that it knows. */
    if (!list.err && msg.nodes.len > 0)
        node_send(node, session->connection, &msg);
    as_buf_close(&list);
}

static void announce(struct node *node, struct node_session *session)
{
    struct as_wire_msg msg = {.type = AS_WIRE_LEADER, .term = node->term};

    if (!node->leading || !session->welcome)
        return;
    node_send(node, session->connection, &msg);
    tell_nodes(node, session);
}

void node_sessions_members(struct node *node)
{
    for (uint32_t i = 0; i < node->session_count && node->leading; i++)
        if (!node->sessions[i]->peer_id && node->sessions[i]->welcome)
            tell_nodes(node, node->sessions[i]);
}

static void silence(struct node *node, struct node_session *session, bool silent)
{
    if (session->silent == silent || session->peer_id)
        return;
    session->silent = silent;
    node_txn(node,
             &(struct txn_event){.kind = TXN_SILENT, .silent = {session->connection, silent}});
}

static void ping(struct node *node, const struct node_session *session)
{
    as_time now = node->ops->now(node->env);

    node_send(node, session->connection,
              &(struct as_wire_msg){.type = AS_WIRE_PING, .ping = (uint64_t)now});
}

/*
 * Whoever led before may stand still together with what it serves itself, and be silent for less time than a ping
 * needs to show. So those who answer now come first.
 */
void node_sessions_announce(struct node *node)
{
    for (uint32_t i = 0; i < node->session_count && !node->failed; i++) {
        struct node_session *session = node->sessions[i];

        if (session->peer_id || !session->welcome)
            continue;
        announce(node, session);
        ping(node, session);
        silence(node, session, true);
    }
}

void node_sessions_serve(struct node *node)
{
    for (uint32_t i = 0; i < node->session_count; i++) {
        struct node_session *session = node->sessions[i];

        for (uint32_t s = 0; s < session->slot_count; s++) {
            struct node_slot *slot = &session->slots[s];
            struct as_wire_participant facts = slot->facts;

            if (!slot->known || !slot->up)
                continue;
            facts.name = (struct as_bytes){(const uint8_t *)slot->name, strlen(slot->name)};
            node_txn(node, &(struct txn_event){.kind = TXN_SERVE,
                                               .serve = {session->connection, &facts}});
        }
    }
}

static const char *on_hello(struct node *node, struct node_session *session,
                            const struct as_wire_msg *msg_in)
{
    const struct as_wire_hello *hello = &msg_in->hello;
    const char *why =
        session->welcome ? "HELLO came twice" : hello_refusal(node, session->connection, hello);
    struct as_wire_msg msg = {
        .type = AS_WIRE_WELCOME,
        .version = msg_in->version, /* who greets in version 1 knows no other WELCOME */
        .welcome = {.node_id = node->report.node,
                    .incarnation = node->report.incarnation,
                    .cluster = {(const uint8_t *)node->report.cluster,
                                strlen(node->report.cluster)},
                    .speaks = AS_WIRE_VERSION},
    };

    if (why)
        return why;
    session->welcome = true;
    copy_text(session->name, sizeof(session->name), hello->name);
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_SESSION_UP,
                                        .number = session->connection,
                                        .name = session->name,
                                        .detail = session->peer});
    node_send(node, session->connection, &msg);
    announce(node, session);
    return NULL;
}

static struct node_slot *slot_of(struct node_session *session, uint16_t number)
{
    uint32_t count;
    void *grown;

    if (number < session->slot_count)
        return &session->slots[number];
    if (number >= NODE_SLOTS_MAX)
        return NULL;
    count = number + 1u;
    grown = as_resize(session->slots, count * sizeof(*session->slots));
    if (!grown)
        return NULL;
    session->slots = grown;
    memset(session->slots + session->slot_count, 0,
           (count - session->slot_count) * sizeof(*session->slots));
    session->slot_count = count;
    return &session->slots[number];
}

static const char *on_participant(struct node *node, struct node_session *session,
                                  const struct as_wire_participant *facts)
{
    struct node_slot *slot = slot_of(session, facts->slot);
    const char *why;
    bool was_up;

    if (!as_participant_valid((const char *)facts->name.data, facts->name.len))
        return "PARTICIPANT with a name that is not one";
    if (!slot)
        return "PARTICIPANT with a slot over the limit";
    if (slot->known && (strlen(slot->name) != facts->name.len ||
                        memcmp(slot->name, facts->name.data, facts->name.len) != 0))
        return "PARTICIPANT gives a slot another name";
    why = as_principal_refuses_participant(node_principal(node, session->connection), facts->name);
    if (why)
        return why;
    was_up = slot->known && slot->up;
    slot->known = true;
    slot->up = facts->up;
    slot->facts = *facts;
    slot->facts.name = slot->facts.detail = (struct as_bytes){NULL, 0};
    copy_text(slot->name, sizeof(slot->name), facts->name);
    copy_text(slot->detail, sizeof(slot->detail), facts->detail);
    if (was_up != facts->up || !facts->up)
        node_trace(node, &(struct as_trace){.kind = facts->up ? AS_TRACE_PARTICIPANT_UP
                                                              : AS_TRACE_PARTICIPANT_DOWN,
                                            .number = session->connection,
                                            .name = slot->name,
                                            .detail = slot->detail});
    if (facts->up)
        node_txn(node,
                 &(struct txn_event){.kind = TXN_SERVE, .serve = {session->connection, facts}});
    else if (was_up)
        node_txn(node, &(struct txn_event){.kind = TXN_UNSERVE,
                                           .unserve = {session->connection, facts->slot}});
    return NULL;
}

static const char *on_status(struct node_session *session, const struct as_wire_status *status,
                             as_time now)
{
    struct node_slot *slot;

    if (status->slot >= session->slot_count || !session->slots[status->slot].known)
        return "STATUS of a slot that was not named";
    slot = &session->slots[status->slot];
    slot->status = *status;
    slot->status_at = now;
    slot->status.oldest_gid = (struct as_bytes){NULL, 0};
    copy_text(slot->oldest_gid, sizeof(slot->oldest_gid), status->oldest_gid);
    return NULL;
}

/* Why a decided branch is not finished yet: what an operator of the database needs to read. */
static void note_refusal(struct node_session *session, const struct as_wire_ack *ack)
{
    uint16_t slot = ack->branch.slot;

    if (ack->ack == AS_ACK_RETRY && slot < session->slot_count)
        copy_text(session->slots[slot].refusal, sizeof(session->slots[slot].refusal), ack->message);
}

/* NULL, or why the session must end. */
static const char *on_message(struct node *node, struct node_session *session,
                              const struct as_wire_msg *msg)
{
    uint64_t id = session->connection;

    if (msg->type == AS_WIRE_PEER)
        return node_on_peer(node, session, &msg->peer);
    if (session->dialed || (session->welcome && session->peer_id))
        return node_on_peer_message(node, session, msg);
    if (!session->welcome && msg->type != AS_WIRE_HELLO)
        return "the first message must be HELLO or PEER";
    switch (msg->type) {
    case AS_WIRE_HELLO:
        return on_hello(node, session, msg);
    case AS_WIRE_PARTICIPANT:
        return on_participant(node, session, &msg->participant);
    case AS_WIRE_STATUS:
        return on_status(session, &msg->status, node->ops->now(node->env));
    case AS_WIRE_VOTE:
        if (msg->vote.vote == AS_VOTE_NO)
            node->votes_no++;
        else
            node->votes_yes++;
        node_txn(node, &(struct txn_event){.kind = TXN_VOTE, .vote = {id, &msg->vote}});
        return NULL;
    case AS_WIRE_ACK:
        node->acks++;
        note_refusal(session, &msg->ack);
        node_txn(node, &(struct txn_event){.kind = TXN_ACK, .ack = {id, &msg->ack}});
        return NULL;
    case AS_WIRE_INQUIRE:
        node->inquiries++;
        node_txn(node, &(struct txn_event){.kind = TXN_INQUIRE, .inquire = {id, &msg->inquire}});
        return NULL;
    case AS_WIRE_LISTED:
        node_txn(node, &(struct txn_event){.kind = TXN_LISTED, .listed = {id, &msg->listed}});
        return NULL;
    case AS_WIRE_RESOLVED:
        node_txn(node, &(struct txn_event){.kind = TXN_RESOLVED, .resolved = {id, &msg->resolved}});
        return NULL;
    case AS_WIRE_PING:
        node_send(node, id, &(struct as_wire_msg){.type = AS_WIRE_PONG, .ping = msg->ping});
        return NULL;
    case AS_WIRE_PONG:
        return NULL;
    default:
        return "a message that only a node sends";
    }
}

/*
 * Takes whole frames off `bytes` and returns how many bytes that were; the rest is the beginning of one. False: the
 * session has been ended.
 */
static const char *refusal_of(as_err err, struct as_bytes frame, char *ret, size_t size)
{
    if (err != AS_ERR_VERSION)
        return as_err_text(err);
    (void)snprintf(ret, size, "%s (%u; this program speaks 1 to %d)", as_err_text(err),
                   frame.data[AS_FRAME_VERSION_AT], AS_WIRE_VERSION);
    return ret;
}

static bool take_frames(struct node *node, struct node_session *session, struct as_bytes bytes,
                        size_t *ret_taken)
{
    size_t taken = 0, used;
    struct as_wire_msg msg;
    char text[120];

    while (taken < bytes.len && !session->broken && !node->failed) {
        struct as_bytes rest = {bytes.data + taken, bytes.len - taken};
        as_err err = as_wire_take(rest, &msg, &used);
        const char *why;

        if (err == AS_ERR_AGAIN)
            break;
        node->frames_in += !err;
        why = err ? refusal_of(err, rest, text, sizeof(text)) : on_message(node, session, &msg);
        if (why) {
            session_refuse(node, session, why);
            return false;
        }
        taken += used;
    }
    *ret_taken = taken;
    return true;
}

void node_on_bytes(struct node *node, uint64_t connection, struct as_bytes bytes)
{
    struct node_session *session = node_session_find(node, connection);
    size_t taken;

    if (!session || session->broken || node->failed)
        return;
    session->heard_at = node->ops->now(node->env);
    silence(node, session, false);
    if (session->in.len == 0) {
        if (!take_frames(node, session, bytes, &taken))
            return;
        if (taken < bytes.len)
            as_put_bytes(&session->in, bytes.data + taken, bytes.len - taken);
    } else {
        /* Messages borrow from `in` while they are handled, so it changes only between them. */
        as_put_bytes(&session->in, bytes.data, bytes.len);
        if (!session->in.err) {
            if (!take_frames(node, session, as_buf_bytes(&session->in), &taken))
                return;
            as_buf_consume(&session->in, taken);
        }
    }
    if (session->in.err)
        session_refuse(node, session, as_err_text(session->in.err));
}

void node_sessions_ping(struct node *node)
{
    as_time now = node->ops->now(node->env);
    as_time every = (as_time)node->config.ping_ms * AS_MS;

    for (uint32_t i = node->session_count; i-- > 0;) {
        struct node_session *session = node->sessions[i];
        as_time silent = now - session->heard_at;

        if (silent > every * SILENT_PINGS_MAX) {
            node->ops->net_close(node->env, session->connection);
            session_end(node, session, "silent for too long");
        } else if (session->welcome && silent >= every) {
            ping(node, session);
            if (silent >= 2 * every) /* the last ping was not answered */
                silence(node, session, true);
        }
    }
    node->ping_at = now + every;
}

void node_sessions_free(struct node *node)
{
    for (uint32_t i = 0; i < node->session_count; i++)
        session_free(node->sessions[i]);
    as_free(node->sessions);
    as_map_close(&node->session_map);
}
