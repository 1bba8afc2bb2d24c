/*
 * Making a core from what the disk held, and looking at one. Fault model: want of memory; an order
 * that cannot be is INVALID.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/raft/core.h"

static void or_default(uint32_t *value, uint32_t number)
{
    if (*value == 0)
        *value = number;
}

static void or_default64(uint64_t *value, uint64_t number)
{
    if (*value == 0)
        *value = number;
}

static void fill_in(struct raft_config *config)
{
    or_default(&config->heartbeat_ms, 30);
    or_default(&config->election_min_ms, 150);
    or_default(&config->election_max_ms, 300);
    or_default(&config->hint_ms, 30);
    or_default(&config->snapshot_retry_ms, 500);
    or_default(&config->message_bytes, 256u << 10);
    or_default(&config->window_entries, 65536);
    or_default(&config->window_bytes, 8u << 20);
    or_default(&config->reads_max, 65536);
    or_default(&config->page_bytes, 1u << 20);
    or_default64(&config->tail_bytes_max, 512u << 20);
    or_default64(&config->tail_entries_max, 4000000);
    or_default64(&config->tail_keep_bytes, 16u << 20);
    or_default(&config->caught_up_entries, 1024);
}

as_err raft_new(struct raft **ret_raft, const struct raft_config *config)
{
    struct raft *raft = as_alloc_zero(1, sizeof(*raft));

    if (!raft)
        return AS_ERR_NOMEM;
    raft->config = *config;
    fill_in(&raft->config);
    if (raft->config.id == 0 || raft->config.page_bytes < RAFT_PAGE_BYTES_MIN ||
        raft->config.election_max_ms < raft->config.election_min_ms ||
        raft->config.tail_keep_bytes >= raft->config.tail_bytes_max) {
        as_free(raft);
        return AS_ERR_INVALID;
    }
    raft->rng.state = config->seed;
    raft->election_at = AS_NEVER;
    raft_tail_init(&raft->tail, raft->config.page_bytes);
    raft->base_members = config->members;
    raft_members_set(raft, &config->members, 0);
    *ret_raft = raft;
    return AS_OK;
}

void raft_free(struct raft *raft)
{
    if (!raft)
        return;
    raft_tail_close(&raft->tail);
    as_free(raft->reads);
    as_free(raft->effects);
    as_free(raft);
}

/* --- What the disk held --- */

as_err raft_load_snapshot(struct raft *raft, uint64_t index, uint64_t term, int64_t time_ms,
                          const struct raft_members *members)
{
    if (raft->started || raft->tail.last_index > 0 || index == 0 || term == 0)
        return AS_ERR_INVALID;
    raft_tail_reset(&raft->tail, index, term, time_ms);
    if (members->count > 0) {
        raft->base_members = *members;
        raft->base_members_index = index;
        raft_members_set(raft, members, index);
    }
    raft_snapshot_set(raft, index, term, time_ms, &raft->members);
    return AS_OK;
}

as_err raft_load_vote(struct raft *raft, uint64_t term, uint64_t voted_for)
{
    if (raft->started || term < raft->term ||
        (term == raft->term && raft->voted_for && raft->voted_for != voted_for))
        return AS_ERR_INVALID;
    raft->term = term;
    raft->voted_for = voted_for;
    return AS_OK;
}

as_err raft_load_entry(struct raft *raft, const struct raft_entry *entry)
{
    uint64_t last = raft->tail.last_index;
    size_t len = RAFT_ENTRY_HEADER + entry->payload.len;
    struct raft_members members;
    as_err err;

    if (raft->started || entry->index != last + 1 || entry->term == 0 ||
        entry->term < raft_tail_term(&raft->tail, last) || len > raft->config.page_bytes)
        return AS_ERR_INVALID;
    if (entry->type == RAFT_ENTRY_MEMBERS) {
        err = raft_members_take(entry->payload, &members);
        if (err)
            return err;
    }
    err = raft_tail_reserve(&raft->tail, 1, len);
    if (err)
        return err;
    raft_tail_append(&raft->tail, entry);
    if (entry->type == RAFT_ENTRY_MEMBERS)
        raft_members_set(raft, &members, entry->index);
    return AS_OK;
}

as_err raft_load_truncate(struct raft *raft, uint64_t from)
{
    if (raft->started || from <= raft->tail.base_index || from > raft->tail.last_index)
        return AS_ERR_INVALID;
    raft_tail_truncate(&raft->tail, from);
    if (raft->members_index >= from)
        raft_members_reload(raft);
    return AS_OK;
}

/* --- Looking in --- */

as_err raft_entry(const struct raft *raft, uint64_t index, struct raft_entry *ret)
{
    if (index <= raft->tail.base_index || index > raft->tail.last_index)
        return AS_ERR_NOTFOUND;
    raft_tail_entry(&raft->tail, index, ret);
    return AS_OK;
}

const struct raft_members *raft_members(const struct raft *raft)
{
    return &raft->members;
}

void raft_look(const struct raft *raft, struct raft_status *ret)
{
    const struct raft_tail *tail = &raft->tail;
    uint32_t sending = 0;

    for (uint32_t i = 0; raft_leads(raft) && i < raft->peer_count; i++)
        sending += raft->peers[i].progress == RAFT_SENDING_SNAPSHOT;
    *ret = (struct raft_status){
        .id = raft->config.id,
        .term = raft->term,
        .voted_for = raft->voted_for,
        .leader = raft->leader,
        .role = raft->role,
        .ready = raft_is_ready(raft),
        .transferring = raft->transfer_to != 0,
        .changing = raft->members_index > raft->commit,
        .first_index = tail->base_index + 1,
        .last_index = tail->last_index,
        .last_term = raft_tail_term(tail, tail->last_index),
        .durable_index = raft->durable,
        .commit_index = raft->commit,
        .snapshot_index = raft->snapshot_index,
        .snapshot_term = raft->snapshot_term,
        .receiving_index = raft->receiving.index,
        .sending = sending,
        .tail_bytes = raft_tail_span(tail, 0, tail->last_index + 1),
    };
}
