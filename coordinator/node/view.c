/*
 * Looking into a node: nothing here changes it.
 */
#include <stdlib.h>
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
    void (*each)(void *ctx, const struct node_participant_view *view);
    void *ctx;
    uint32_t count;
    struct txn_participant_view all[AS_PARTICIPANTS_MAX];
    struct node_agent_view agents[AS_AGENT_SESSIONS_MAX];
};

static int64_t audit_age_ms(const struct participants_walk *walk, const struct node_slot *slot)
{
    return slot->status_at ? (walk->node->ops->now(walk->node->env) - slot->status_at) / AS_MS : -1;
}

static void show_participant(struct participants_walk *walk,
                             const struct txn_participant_view *participant)
{
    struct node_participant_view view = {.txn = *participant, .agents = walk->agents};

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
                .audit_age_ms = audit_age_ms(walk, slot),
                .oldest_gid = slot->oldest_gid,
                .refusal = slot->refusal,
            };
        }
    }
    walk->each(walk->ctx, &view);
}

/* Those of the table, then those that never came up: they are in no table, but their agent says why. */
static void gather(void *ctx, const struct txn_participant_view *participant)
{
    struct participants_walk *walk = ctx;

    for (uint32_t i = 0; i < walk->count; i++)
        if (strcmp(walk->all[i].name, participant->name) == 0)
            return;
    if (walk->count < AS_COUNT_OF(walk->all))
        walk->all[walk->count++] = *participant;
}

static int compare_names(const void *a, const void *b)
{
    const struct txn_participant_view *left = a, *right = b;

    return strcmp(left->name, right->name);
}

void node_participants(struct node *node, const char *name,
                       void (*each)(void *ctx, const struct node_participant_view *view), void *ctx)
{
    struct participants_walk walk = {.node = node, .each = each, .ctx = ctx};

    txn_participants(node->txn, gather, &walk);
    for (uint32_t i = 0; i < node->session_count; i++)
        for (uint32_t s = 0; s < node->sessions[i]->slot_count; s++)
            if (node->sessions[i]->slots[s].known)
                gather(&walk,
                       &(struct txn_participant_view){.name = node->sessions[i]->slots[s].name});
    qsort(walk.all, walk.count, sizeof(walk.all[0]), compare_names);
    for (uint32_t i = 0; i < walk.count; i++)
        if (!name || strcmp(name, walk.all[i].name) == 0)
            show_participant(&walk, &walk.all[i]);
}

void node_info(const struct node *node, struct node_info *ret)
{
    struct raft_status raft;

    raft_look(node->raft, &raft);
    *ret = (struct node_info){
        .cluster = node->report.cluster,
        .incarnation = node->report.incarnation,
        .node_id = node->report.node,
        .term = raft.term,
        .commit_index = raft.commit_index,
        .leader = raft.leader,
        .role = raft.role,
        .last_index = log_last_index(node->log),
        .table_index = txn_applied_index(node->txn),
        .applied_index = node->applied, /* the table's own misses entries that are Raft's */
        .persisted_index = log_persisted_index(node->log),
        .snapshot_index = raft.snapshot_index,
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
