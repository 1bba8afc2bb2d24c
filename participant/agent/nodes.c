/*
 * Which nodes there are: those that the configuration names, to begin with, and those that the leader
 * names, who come and go with its word.
 *
 * Fault model: a deposed leader may name who is a member no more, or not yet; the next one's word
 * replaces its. One node under two addresses has two sessions, which does no harm.
 */
#include <string.h>

#include "participant/agent/inside.h"

static bool is_at(const struct agent_session *session, struct as_bytes address)
{
    return strlen(session->address) == address.len &&
           memcmp(session->address, address.data, address.len) == 0;
}

static bool is_named(struct as_bytes nodes, const struct agent_session *session)
{
    struct as_reader in = as_reader_of(nodes);
    struct as_wire_node node;

    while (in.left > 0 && as_wire_node_take(&in, &node) == AS_OK)
        if (is_at(session, node.address))
            return true;
    return false;
}

static void leave(struct agent *agent, struct agent_session *session)
{
    session->leaving = true;
    if (session->state == AGENT_WAITING)
        agent_session_unuse(agent, session);
    else
        agent_session_doom(agent, session, "the leader names this node no more");
}

/* Under this address, or under another one that the configuration has for it. */
static bool is_known(const struct agent *agent, const struct as_wire_node *node)
{
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
        const struct agent_session *session = &agent->sessions[i];

        if (session->used && !session->leaving &&
            (is_at(session, node->address) ||
             (session->state == AGENT_OPEN && session->node_id == node->id)))
            return true;
    }
    return node->id == agent->config.self;
}

static void meet(struct agent *agent, const struct as_wire_node *node)
{
    struct agent_session *session;

    if (is_known(agent, node))
        return;
    session = agent_session_use(agent, node->address);
    if (!session)
        return; /* only while many leave: the leader's next word comes */
    session->told = true;
    agent_session_dial(agent, session);
}

void agent_on_nodes(struct agent *agent, const struct agent_session *from, struct as_bytes nodes)
{
    struct as_reader in = as_reader_of(nodes);
    struct as_wire_node node;

    if (from->term == 0 || from->term < agent->term_max)
        return;
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
        struct agent_session *session = &agent->sessions[i];

        if (session->used && session->told && !session->leaving && !is_named(nodes, session))
            leave(agent, session);
    }
    while (in.left > 0 && as_wire_node_take(&in, &node) == AS_OK)
        meet(agent, &node);
}
