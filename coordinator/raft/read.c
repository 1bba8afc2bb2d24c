/*
 * ReadIndex (thesis 6.4): a linearizable read without a log entry. The leader notes its commit
 * index, hears from a majority that it still is the leader, and answers; whoever has applied that
 * index reads what was true after the question came.
 *
 * Questions of one turn share one round: a number in every APPEND that comes back in every answer.
 * A group of one is its own majority and answers at once. Fault model: rounds are lost and
 * overtaken; a later one answers for the earlier. A leader whose NOOP is not committed does not
 * know yet what is, and lets them wait.
 */
#include "coordinator/raft/core.h"

static struct raft_read *read_at(const struct raft *raft, uint32_t i)
{
    return &raft->reads[(raft->read_head + i) & (raft->read_cap - 1)];
}

void raft_read_request(struct raft *raft, uint64_t request)
{
    if (!raft_leads(raft) || raft->read_count >= raft->config.reads_max) {
        raft_emit(raft, RAFT_READ_REFUSED)->read.request = request;
        return;
    }
    *read_at(raft, raft->read_count++) = (struct raft_read){
        .request = request,
        .index = raft_is_ready(raft) ? raft->commit : 0,
        .round = raft->round + 1, /* one that is sent after the question came */
    };
}

void raft_reads_ready(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->read_count; i++)
        read_at(raft, i)->index = raft->commit;
}

bool raft_reads_want_round(const struct raft *raft)
{
    return raft->read_count > 0 && read_at(raft, raft->read_count - 1)->round > raft->round;
}

static uint64_t round_of(const struct raft_peer *peer)
{
    return peer->round;
}

void raft_reads_serve(struct raft *raft)
{
    uint64_t confirmed;

    if (raft->read_count == 0 || !raft_is_ready(raft))
        return;
    confirmed = raft_majority(raft, UINT64_MAX, round_of);
    while (raft->read_count > 0 && read_at(raft, 0)->round <= confirmed) {
        struct raft_effect *effect = raft_emit(raft, RAFT_READ_READY);

        effect->read.request = read_at(raft, 0)->request;
        effect->read.index = read_at(raft, 0)->index;
        raft->read_head = (raft->read_head + 1) & (raft->read_cap - 1);
        raft->read_count--;
    }
}

void raft_reads_refuse(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->read_count; i++)
        raft_emit(raft, RAFT_READ_REFUSED)->read.request = read_at(raft, i)->request;
    raft->read_count = 0;
}
