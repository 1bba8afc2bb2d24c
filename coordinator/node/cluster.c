/*
 * The other nodes: links to them, requests passed on to the leader, members.
 *
 * A link is a session like an agent's, but begun with PEER by both. Every node dials every member
 * that it has no link with, so two nodes may have two; either serves. A node that is not a member
 * yet knows nobody, and answers on the link that a member made.
 *
 * Fault model: that of session.c. Raft lives with lost, late and doubled messages; a link that ends
 * is a hint to it. A request that was passed on when its link ended may have been carried out or
 * not, and its client is told so.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/node/internal.h"

#define DIAL_FIRST (50 * AS_MS)
#define DIAL_MAX AS_SECOND
#define FORWARDS_MAX 8192 /* of each direction; more are refused, not carried out */
#define FORWARDS_MAX 8192
#define HAND_OVER_RETRY AS_SECOND

/* --- Finding --- */

static struct node_session *link_to(const struct node *node, uint64_t id)
{
    for (uint32_t i = 0; i < node->session_count; i++) {
        struct node_session *session = node->sessions[i];

        if (session->peer_id == id && session->welcome && !session->broken)
            return session;
    }
    return NULL;
}

bool node_is_alone(const struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);

    return members->count == 0 || (members->count == 1 && members->list[0].id == node->report.node);
}

static struct node_peer *peer_of(struct node *node, uint64_t id)
{
    for (uint32_t i = 0; i < node->peer_count; i++)
        if (node->peers[i].id == id)
            return &node->peers[i];
    return NULL;
}

/* --- Raft's messages --- */

void node_link_send(struct node *node, uint64_t peer, const struct raft_message *message)
{
    const struct node_session *session = link_to(node, peer);
    struct as_wire_msg msg = {.type = AS_WIRE_RAFT};

    if (!session)
        return; /* as if it had been lost on the way */
    as_buf_clear(&node->raft_out);
    raft_message_put(&node->raft_out, message);
    if (node->raft_out.err)
        return;
    msg.raft = as_buf_bytes(&node->raft_out);
    node_send(node, session->connection, &msg);
}

static const char *on_raft(struct node *node, const struct node_session *session,
                           struct as_bytes bytes)
{
    struct raft_message message;
    struct raft_event event = {.kind = RAFT_MESSAGE, .message = {session->peer_id, &message}};

    if (raft_message_take(bytes, &message))
        return "a malformed message of Raft";
    /* A vote or a truncation may come of it: as if it had been lost on the way, until there is room. Nor is a full
     * disk one to hand leadership over to. */
    if (!log_has_state_room(node->log) || (message.type == RAFT_TIMEOUT_NOW && node->disk_full))
        return NULL;
    (void)node_raft(node, &event);
    return NULL;
}

/* --- Links --- */

static void send_peer(struct node *node, uint64_t connection)
{
    const char *cluster = node->report.cluster;
    struct as_wire_msg msg = {.type = AS_WIRE_PEER,
                              .peer = {.node_id = node->report.node,
                                       .incarnation = node->report.incarnation,
                                       .cluster = {(const uint8_t *)cluster, strlen(cluster)}}};

    node_send(node, connection, &msg);
}

/* One list for each member but this node; what is known of dials stays. */
static void peers_update(struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);
    struct node_peer peers[RAFT_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct node_peer *known = peer_of(node, members->list[i].id);

        if (members->list[i].id == node->report.node)
            continue;
        peers[count++] =
            known ? *known : (struct node_peer){.id = members->list[i].id, .dial_at = 0};
    }
    memcpy(node->peers, peers, count * sizeof(peers[0]));
    node->peer_count = count;
}

static void dial(struct node *node, struct node_peer *peer)
{
    const struct raft_member *member = raft_member_find(raft_members(node->raft), peer->id);

    peer->dialing = node->dial_next;
    node->dial_next += 2;
    node->ops->net_dial(node->env, peer->dialing, member->address);
}

as_time node_links_tend(struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);
    as_time now = node->ops->now(node->env), at = AS_NEVER;

    if (node_is_alone(node) && node->peer_count == 0)
        return AS_NEVER;
    peers_update(node);
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct node_peer *peer = &node->peers[i];
        const struct raft_member *member = raft_member_find(members, peer->id);

        if (peer->dialing || link_to(node, peer->id) || !member || member->address[0] == '\0')
            continue;
        if (peer->dial_at <= now)
            dial(node, peer);
        else if (peer->dial_at < at)
            at = peer->dial_at;
    }
    return at;
}

static void dial_later(struct node *node, struct node_peer *peer)
{
    as_time wait = DIAL_FIRST << (peer->failures < 5 ? peer->failures : 5);

    peer->dialing = 0;
    peer->failures++;
    if (wait > DIAL_MAX)
        wait = DIAL_MAX;
    /* Not all at the same time after a fault that hit all. */
    wait += (as_time)(node->ops->random(node->env) % (uint64_t)(wait / 2 + 1));
    peer->dial_at = node->ops->now(node->env) + wait;
}

static struct node_peer *peer_dialing(struct node *node, uint64_t connection)
{
    for (uint32_t i = 0; i < node->peer_count; i++)
        if (node->peers[i].dialing == connection)
            return &node->peers[i];
    return NULL;
}

bool node_link_failed(struct node *node, uint64_t connection)
{
    struct node_peer *peer = peer_dialing(node, connection);

    if (peer)
        dial_later(node, peer);
    return peer != NULL;
}

void node_on_connected(struct node *node, uint64_t connection)
{
    struct node_peer *peer = peer_dialing(node, connection);
    const struct raft_member *member =
        peer ? raft_member_find(raft_members(node->raft), peer->id) : NULL;
    struct node_session *session =
        member ? node_session_new(node, connection, member->address) : NULL;

    if (!session) {
        /* Not a member any more, or no memory. */
        node->ops->net_close(node->env, connection);
        if (peer)
            dial_later(node, peer);
        return;
    }
    session->dialed = true;
    session->peer_id = peer->id;
    send_peer(node, connection);
}

/* NULL, or why this is no node to talk to. */
static const char *peer_refusal(const struct node *node, const struct node_session *session,
                                const struct as_wire_welcome *peer)
{
    const char *cluster = node->report.cluster;

    if (session->welcome)
        return "PEER or HELLO came twice";
    if (peer->cluster.len != strlen(cluster) ||
        memcmp(peer->cluster.data, cluster, peer->cluster.len) != 0)
        return "a node of another cluster";
    if (peer->incarnation != node->report.incarnation)
        return "a node of another incarnation of this cluster";
    if (peer->node_id == 0 || peer->node_id == node->report.node)
        return "two nodes bear this id: give one of them another, see [node] id";
    if (session->dialed && peer->node_id != session->peer_id)
        return "another node answers at this address: see the addresses of the members";
    return as_principal_refuses_node(node_principal(node, session->connection), cluster,
                                     peer->node_id);
}

const char *node_on_peer(struct node *node, struct node_session *session,
                         const struct as_wire_welcome *peer)
{
    const char *why = peer_refusal(node, session, peer);
    struct raft_event event = {.kind = RAFT_PEER_UP, .peer = peer->node_id};
    bool known = !why && link_to(node, peer->node_id);
    struct node_peer *of;

    if (why)
        return why;
    session->peer_id = peer->node_id;
    session->welcome = true;
    if (!session->dialed)
        send_peer(node, session->connection);
    of = peer_of(node, peer->node_id);
    if (of) {
        of->failures = 0;
        if (of->dialing == session->connection)
            of->dialing = 0;
    }
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_PEER_UP,
                                        .number = session->peer_id,
                                        .detail = session->peer});
    if (!known)
        (void)node_raft(node, &event);
    return NULL;
}

/* Ends the requests that wait for an answer over this connection, or over any other one. */
static void asking_end(struct node *node, uint64_t connection, bool same)
{
    for (uint32_t i = 0; i < node->asking.count;) {
        struct node_forwarded lost = node->asking.list[i];

        if ((lost.connection == connection) != same) {
            i++;
            continue;
        }
        node->asking.list[i] = node->asking.list[--node->asking.count];
        node->ops->forward_done(node->env, lost.client, AS_ERR_CLOSED, (struct as_bytes){NULL, 0});
    }
}

/* Who led before may be cut off, and never answer: its clients are to ask again, the new leader. */
void node_leader_known(struct node *node)
{
    const struct node_session *session = link_to(node, node->leader);

    asking_end(node, session ? session->connection : 0, false);
}

void node_link_ended(struct node *node, uint64_t peer_id, uint64_t connection)
{
    struct node_peer *peer = peer_of(node, peer_id);
    struct raft_event event = {.kind = RAFT_PEER_DOWN, .peer = peer_id};

    if (peer && (peer->dialing == connection || !peer->dialing))
        dial_later(node, peer);
    for (uint32_t i = 0; i < node->asked.count;) {
        if (node->asked.list[i].connection == connection)
            node->asked.list[i] = node->asked.list[--node->asked.count];
        else
            i++;
    }
    asking_end(node, connection, true);
    if (!link_to(node, peer_id))
        (void)node_raft(node, &event);
}

/* --- Requests passed on --- */

static bool forward_add(struct node_forwards *forwards, uint64_t number, uint64_t connection,
                        uint64_t client)
{
    if (forwards->count == FORWARDS_MAX)
        return false;
    if (forwards->count == forwards->cap) {
        uint32_t cap = forwards->cap ? forwards->cap * 2 : 64;
        void *grown = as_resize(forwards->list, cap * sizeof(*forwards->list));

        if (!grown)
            return false;
        forwards->list = grown;
        forwards->cap = cap;
    }
    forwards->list[forwards->count++] = (struct node_forwarded){number, connection, client};
    return true;
}

/* The one that waits for the longest stands in front as a rule. */
static bool forward_take(struct node_forwards *forwards, bool by_client, uint64_t key,
                         uint64_t connection, struct node_forwarded *ret)
{
    for (uint32_t i = 0; i < forwards->count; i++) {
        const struct node_forwarded *one = &forwards->list[i];

        if ((by_client ? one->client : one->number) != key ||
            (connection && one->connection != connection))
            continue;
        *ret = *one;
        forwards->count--;
        memmove(&forwards->list[i], &forwards->list[i + 1],
                (forwards->count - i) * sizeof(*forwards->list));
        return true;
    }
    return false;
}

static void forward_send(struct node *node, uint64_t connection, enum as_wire_type type,
                         uint64_t number, struct as_bytes bytes)
{
    struct as_wire_msg msg = {.type = type, .forward = {number, bytes}};

    node_send(node, connection, &msg);
}

bool node_forward(struct node *node, uint64_t client, struct as_bytes request)
{
    const struct node_session *session =
        node->leader != 0 && node->leader != node->report.node ? link_to(node, node->leader) : NULL;

    if (node->failed || !session ||
        !forward_add(&node->asking, node->asking.last + 1, session->connection, client))
        return false;
    forward_send(node, session->connection, AS_WIRE_FORWARD, ++node->asking.last, request);
    return true;
}

void node_forward_reply(struct node *node, uint64_t forward, struct as_bytes reply)
{
    struct node_forwarded asked;

    if (!node->failed && forward_take(&node->asked, true, forward, 0, &asked))
        forward_send(node, asked.connection, AS_WIRE_FORWARDED, asked.number, reply);
}

static void forward_refuse(struct node *node, uint64_t connection, uint64_t number)
{
    node_send(node, connection,
              &(struct as_wire_msg){.type = AS_WIRE_FORWARD_REFUSED, .forward_refused = number});
}

void node_forward_refuse(struct node *node, uint64_t forward)
{
    struct node_forwarded asked;

    if (!node->failed && forward_take(&node->asked, true, forward, 0, &asked))
        forward_refuse(node, asked.connection, asked.number);
}

static void on_forward(struct node *node, const struct node_session *session,
                       const struct as_wire_msg *msg)
{
    if (forward_add(&node->asked, msg->forward.number, session->connection, node->asked.last + 1))
        node->ops->forwarded(node->env, ++node->asked.last, msg->forward.bytes);
    else
        forward_refuse(node, session->connection, msg->forward.number);
}

void node_forwards_forget(struct node *node, uint64_t client)
{
    struct node_forwarded forgotten;

    (void)forward_take(&node->asking, true, client, 0, &forgotten);
}

const char *node_on_peer_message(struct node *node, struct node_session *session,
                                 const struct as_wire_msg *msg)
{
    struct node_forwarded asked;

    if (msg->type == AS_WIRE_REFUSE && session->dialed)
        return "the other node refuses this one: see its log";
    if (!session->welcome)
        return "the first message must be PEER";
    switch (msg->type) {
    case AS_WIRE_RAFT:
        return on_raft(node, session, msg->raft);
    case AS_WIRE_FORWARD:
        on_forward(node, session, msg);
        return NULL;
    case AS_WIRE_FORWARDED:
        if (forward_take(&node->asking, false, msg->forward.number, session->connection, &asked))
            node->ops->forward_done(node->env, asked.client, AS_OK, msg->forward.bytes);
        return NULL; /* else its client has left */
    case AS_WIRE_FORWARD_REFUSED:
        if (forward_take(&node->asking, false, msg->forward_refused, session->connection, &asked))
            node->ops->forward_done(node->env, asked.client, AS_ERR_BUSY,
                                    (struct as_bytes){NULL, 0});
        return NULL;
    case AS_WIRE_PING:
        node_send(node, session->connection,
                  &(struct as_wire_msg){.type = AS_WIRE_PONG, .ping = msg->ping});
        return NULL;
    case AS_WIRE_PONG:
        return NULL;
    default:
        return "a message that no node sends to another";
    }
}

/* --- Members --- */

enum raft_refusal node_member_change(struct node *node, enum raft_member_change change, uint64_t id,
                                     const char *address)
{
    struct raft_event event = {.kind = RAFT_MEMBER, .member = {change, id, address}};

    return node_raft(node, &event);
}

enum raft_refusal node_transfer(struct node *node, uint64_t to)
{
    return node_raft(node, &(struct raft_event){.kind = RAFT_TRANSFER, .peer = to});
}

/* To the one that is furthest first, then to each in turn: some may be cut off, or full as well. */
static uint64_t next_in_turn(const struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);
    uint64_t voters[RAFT_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++)
        if (members->list[i].role == RAFT_VOTER && members->list[i].id != node->report.node)
            voters[count++] = members->list[i].id;
    return node->hand_overs == 0 || count == 0 ? 0 : voters[(node->hand_overs - 1) % count];
}

/* New work is refused here, and another node may have space (protocol.md, "Decision log on disk"). */
as_time node_hand_over_tend(struct node *node)
{
    as_time now = node->ops->now(node->env);

    if (!node->leading || !node->disk_full || node_is_alone(node)) {
        node->hand_overs = 0;
        return AS_NEVER;
    }
    if (now >= node->hand_over_at) {
        node->hand_over_at = now + HAND_OVER_RETRY;
        (void)node_transfer(node, next_in_turn(node));
        node->hand_overs++;
    }
    return node->hand_over_at;
}

/* A learner that has caught up becomes a voter by itself. */
static void promote(struct node *node)
{
    const struct raft_members *members = raft_members(node->raft);

    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_peer_view view;

        if (members->list[i].role != RAFT_LEARNER ||
            raft_peer(node->raft, members->list[i].id, &view) || !view.caught_up)
            continue;
        (void)node_member_change(node, RAFT_MEMBER_PROMOTE, members->list[i].id, NULL);
        return;
    }
}

void node_members_tend(struct node *node)
{
    struct raft_status status;

    if (!node->leading || node_is_alone(node))
        return;
    raft_look(node->raft, &status);
    if (!status.changing)
        promote(node);
}

void node_members(struct node *node, void (*each)(void *ctx, const struct node_member_view *view),
                  void *ctx)
{
    const struct raft_members *members = raft_members(node->raft);
    as_time now = node->ops->now(node->env);

    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->list[i];
        bool self = member->id == node->report.node;
        struct raft_peer_view peer = {0};
        bool seen = raft_peer(node->raft, member->id, &peer) == AS_OK;
        struct node_member_view view = {
            .id = member->id,
            .address = member->address,
            .voter = member->role == RAFT_VOTER,
            .self = self,
            .leader = member->id == node->leader,
            .linked = self || link_to(node, member->id),
            .match = self ? log_persisted_index(node->log) : peer.match,
            .heard_ms_ago = seen && peer.heard_at ? (now - peer.heard_at) / AS_MS : -1,
            .caught_up = self || (seen && peer.caught_up),
        };

        each(ctx, &view);
    }
}
