/*
 * Looking into a node: nothing here changes it.
 */
#include <string.h>

#include "coordinator/node/internal.h"

void node_list(struct node *node, const struct txn_list_query *query,
               void (*each)(void *ctx, const struct as_txn_view *view), void *ctx,
               uint64_t *ret_next)
{
    txn_list(node->txn, query, each, ctx, ret_next);
}

struct participants_walk {
    struct node *node;
    const char *name; /* NULL: all */
    void (*each)(void *ctx, const struct node_participant_view *view);
    void *ctx;
    struct node_agent_view agents[AS_AGENT_SESSIONS_MAX];
};

static void show_participant(void *walk_ctx, const struct txn_participant_view *participant)
{
    struct participants_walk *walk = walk_ctx;
    struct node_participant_view view = {.txn = *participant, .agents = walk->agents};

    if (walk->name && strcmp(walk->name, participant->name) != 0)
        return;
    for (uint32_t i = 0; i < walk->node->session_count; i++) {
        const struct node_session *session = walk->node->sessions[i];

        for (uint32_t s = 0; s < session->slot_count; s++) {
            const struct node_slot *slot = &session->slots[s];

            if (!slot->known || strcmp(slot->name, participant->name) != 0 ||
                view.agent_count == AS_COUNT_OF(walk->agents))
                continue;
            walk->agents[view.agent_count++] = (struct node_agent_view){
                .name = session->name,
                .peer = session->peer,
                .up = slot->up,
                .detail = slot->detail,
                .facts = &slot->facts,
                .status = &slot->status,
                .oldest_gid = slot->oldest_gid,
            };
        }
    }
    walk->each(walk->ctx, &view);
}

struct known_ask {
    const char *name;
    bool known;
};

static void ask_known(void *ctx, const struct txn_participant_view *participant)
{
    struct known_ask *ask = ctx;

    ask->known |= strcmp(ask->name, participant->name) == 0;
}

/* A participant that never came up is in no table, but its agent says why: that is what an operator
 * needs. */
static void show_never_up(struct participants_walk *walk)
{
    struct node *node = walk->node;

    for (uint32_t i = 0; i < node->session_count; i++) {
        for (uint32_t s = 0; s < node->sessions[i]->slot_count; s++) {
            const struct node_slot *slot = &node->sessions[i]->slots[s];
            struct known_ask ask = {slot->name, false};

            if (!slot->known || slot->up)
                continue;
            txn_participants(node->txn, ask_known, &ask);
            for (uint32_t before = 0; before < i && !ask.known; before++)
                for (uint32_t b = 0; b < node->sessions[before]->slot_count; b++)
                    ask.known |= strcmp(node->sessions[before]->slots[b].name, slot->name) == 0;
            if (!ask.known)
                show_participant(walk, &(struct txn_participant_view){.name = slot->name});
        }
    }
}

void node_participants(struct node *node, const char *name,
                       void (*each)(void *ctx, const struct node_participant_view *view), void *ctx)
{
    struct participants_walk walk = {.node = node, .name = name, .each = each, .ctx = ctx};

    txn_participants(node->txn, show_participant, &walk);
    show_never_up(&walk);
}

void node_info(const struct node *node, struct node_info *ret)
{
    *ret = (struct node_info){
        .cluster = node->report.cluster,
        .incarnation = node->report.incarnation,
        .node_id = node->report.node,
        .term = node->term,
        .last_index = log_last_index(node->log),
        .applied_index = txn_applied_index(node->txn),
        .persisted_index = log_persisted_index(node->log),
        .snapshot_index = node->snapshot_index,
        .leading = node->leading,
        .disk_full = node->disk_full,
        .draining = node->draining,
        .sessions = node->session_count,
    };
}

void node_metrics(const struct node *node, struct node_metrics *ret)
{
    *ret = (struct node_metrics){
        .submits = node->submits,
        .votes_yes = node->votes_yes,
        .votes_no = node->votes_no,
        .acks = node->acks,
        .inquiries = node->inquiries,
        .frames_in = node->frames_in,
        .frames_out = node->frames_out,
        .wire_errors = node->wire_errors,
        .sync_ns = &node->sync_ns,
        .batch_records = &node->batch_records,
        .prepare_ns = &node->prepare_ns,
        .decide_ns = &node->decide_ns,
        .finish_ns = &node->finish_ns,
    };
    txn_count(node->txn, &ret->txn);
    log_count(node->log, &ret->log);
}
