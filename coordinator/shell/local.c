/*
 * The link in numbers: the host's connections are what its agent dials; the node's begin at the top
 * of the odd numbers, which no accepted connection reaches, and no number is used twice.
 *
 * Fault model: one process, so nothing is lost on the way; but either side may end the session, and
 * a side that does not listen while the other fills AS_SEND_QUEUE_BYTES_MAX has ended it too.
 */
#include "coordinator/shell/local.h"

#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/limits.h"

struct end {
    uint64_t connection; /* 0: closed */
    struct as_buf to;    /* bytes for it */
    struct as_buf given; /* those it is reading now */
    bool cut;            /* it is to hear that the link has ended */
    as_err why;
};

struct local {
    struct node *node;
    struct host *host;
    struct end at_node, at_host;
    bool dialed; /* the host has dialed and was not answered yet */
    uint64_t node_number_next;
};

/* `end` hears of it with the next local_turn, the other end knows. */
static void cut(struct end *end, as_err why)
{
    if (end->connection == 0)
        return;
    end->cut = true;
    end->why = why;
}

static void pass(struct end *to, struct end *from, struct as_bytes bytes)
{
    if (to->connection == 0 || to->cut)
        return;
    as_put_bytes(&to->to, bytes.data, bytes.len);
    if (to->to.err) {
        cut(to, AS_ERR_FULL);
        cut(from, AS_ERR_FULL);
    }
}

static void hang_up(struct end *mine, struct end *theirs)
{
    mine->connection = 0;
    mine->cut = false;
    cut(theirs, AS_OK);
}

/* --- The host's side --- */

static void link_dial(void *ctx, uint64_t connection)
{
    struct local *local = ctx;

    local->at_host.connection = connection;
    local->dialed = true;
}

static void link_send(void *ctx, uint64_t connection, struct as_bytes bytes)
{
    struct local *local = ctx;

    if (connection == local->at_host.connection)
        pass(&local->at_node, &local->at_host, bytes);
}

static void link_close(void *ctx, uint64_t connection)
{
    struct local *local = ctx;

    if (connection != local->at_host.connection)
        return;
    local->dialed = false;
    hang_up(&local->at_host, &local->at_node);
}

/* --- The node's side --- */

bool local_owns(const struct local *local, uint64_t connection)
{
    return local && connection == local->at_node.connection;
}

bool local_send(struct local *local, uint64_t connection, struct as_bytes bytes)
{
    if (!local || connection != local->at_node.connection)
        return false;
    pass(&local->at_host, &local->at_node, bytes);
    return true;
}

bool local_hang_up(struct local *local, uint64_t connection)
{
    if (!local || connection != local->at_node.connection)
        return false;
    hang_up(&local->at_node, &local->at_host);
    return true;
}

/* --- Delivery --- */

static bool answer_dial(struct local *local)
{
    /* The node may not have heard yet that the session before ended: then it waits for that. */
    if (!local->dialed || local->at_node.connection != 0)
        return false;
    local->dialed = false;
    as_buf_clear(&local->at_node.to);
    as_buf_clear(&local->at_host.to);
    local->at_node.connection = local->node_number_next;
    local->node_number_next -= 2;
    node_on_accepted(local->node, local->at_node.connection, "this process");
    host_on_connected(local->host, local->at_host.connection);
    return true;
}

/* What the reader says meanwhile gathers in other buffers. */
static bool take(struct end *end)
{
    struct as_buf given = end->given;

    if (end->connection == 0 || end->to.len == 0)
        return false;
    end->given = end->to;
    end->to = given;
    as_buf_clear(&end->to);
    return true;
}

static bool tell_cut(struct local *local)
{
    struct end *node = &local->at_node, *host = &local->at_host;
    uint64_t connection;
    bool told = false;

    if (node->connection != 0 && node->cut) {
        told = true;
        connection = node->connection;
        node->connection = 0;
        node->cut = false;
        node_on_closed(local->node, connection, node->why);
    }
    if (host->connection != 0 && host->cut) {
        told = true;
        connection = host->connection;
        host->connection = 0;
        host->cut = false;
        host_on_closed(local->host, connection, host->why);
    }
    return told;
}

bool local_turn(struct local *local)
{
    bool moved = false;

    if (!local)
        return false;
    if (take(&local->at_node)) {
        moved = true;
        node_on_bytes(local->node, local->at_node.connection, as_buf_bytes(&local->at_node.given));
    }
    if (take(&local->at_host)) {
        moved = true;
        host_on_bytes(local->host, local->at_host.connection, as_buf_bytes(&local->at_host.given));
    }
    moved |= tell_cut(local);
    moved |= answer_dial(local);
    return moved;
}

void local_turn_end(struct local *local)
{
    if (local)
        host_turn_end(local->host);
}

/* --- Opening and closing --- */

as_err local_open(struct local **ret_local, uv_loop_t *loop, struct node *node, uint64_t node_id,
                  const char *cluster, const char *name, const struct raft_members *others,
                  const struct host_participants *participants, struct tls_credentials *credentials,
                  void (*fatal)(const char *why))
{
    struct local *local = as_alloc_zero(1, sizeof(*local));
    struct agent_config config = {.self = node_id, .node_count = 1};
    const struct host_link link = {local, link_dial, link_send, link_close};
    as_err err;

    if (!local)
        return AS_ERR_NOMEM;
    snprintf(config.cluster, sizeof(config.cluster), "%s", cluster);
    snprintf(config.name, sizeof(config.name), "%s", name);
    snprintf(config.nodes[0], sizeof(config.nodes[0]), "%s", HOST_LINK_ADDRESS);
    AS_ASSERT(others->count < AGENT_NODES_MAX);
    for (uint32_t i = 0; i < others->count; i++)
        memcpy(config.nodes[config.node_count++], others->list[i].address,
               sizeof(others->list[i].address));
    local->node = node;
    local->node_number_next = UINT64_MAX;
    as_buf_init(&local->at_node.to, AS_SEND_QUEUE_BYTES_MAX);
    as_buf_init(&local->at_node.given, AS_SEND_QUEUE_BYTES_MAX);
    as_buf_init(&local->at_host.to, AS_SEND_QUEUE_BYTES_MAX);
    as_buf_init(&local->at_host.given, AS_SEND_QUEUE_BYTES_MAX);
    err = host_open(&local->host, loop, &config, participants, &link, credentials, fatal);
    if (err) {
        local_free(local);
        return err;
    }
    *ret_local = local;
    return AS_OK;
}

void local_tls(struct local *local, struct tls_credentials *credentials)
{
    if (local)
        host_tls(local->host, credentials);
}

bool local_reload(struct local *local, const struct host_participants *participants)
{
    return local && host_reload(local->host, participants);
}

bool local_drain(struct local *local)
{
    return !local || host_drain(local->host);
}

void local_close(struct local *local, void (*closed)(void *ctx), void *ctx)
{
    host_close(local->host, closed, ctx);
}

void local_free(struct local *local)
{
    if (!local)
        return;
    host_free(local->host);
    as_buf_close(&local->at_node.to);
    as_buf_close(&local->at_node.given);
    as_buf_close(&local->at_host.to);
    as_buf_close(&local->at_host.given);
    as_free(local);
}
