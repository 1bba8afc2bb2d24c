/*
 * The other nodes: links, requests passed on, members. A lone node has none.
 */
#include "coordinator/node/internal.h"

void node_on_connected(struct node *node, uint64_t connection)
{
    (void)node;
    (void)connection;
}

bool node_forward(struct node *node, uint64_t client, struct as_bytes request)
{
    (void)node;
    (void)client;
    (void)request;
    return false;
}

void node_forward_reply(struct node *node, uint64_t forward, struct as_bytes reply)
{
    (void)node;
    (void)forward;
    (void)reply;
}

enum raft_refusal node_member_change(struct node *node, enum raft_member_change change, uint64_t id,
                                     const char *address)
{
    (void)node;
    (void)change;
    (void)id;
    (void)address;
    return RAFT_REFUSED_NOT_LEADER;
}

enum raft_refusal node_transfer(struct node *node, uint64_t to)
{
    (void)node;
    (void)to;
    return RAFT_REFUSED_NO_SUCH_MEMBER;
}

void node_members(struct node *node, void (*each)(void *ctx, const struct node_member_view *view),
                  void *ctx)
{
    each(ctx, &(struct node_member_view){.id = node->report.node,
                                         .address = "",
                                         .voter = true,
                                         .self = true,
                                         .leader = true,
                                         .linked = true,
                                         .heard_ms_ago = -1,
                                         .caught_up = true});
}

void node_link_send(struct node *node, uint64_t peer, const struct raft_message *message)
{
    (void)node;
    (void)peer;
    (void)message;
}
