/*
 * What a read must have seen (docs/consistency.md). Session: every decision up to the index that its client was told
 * before, whichever node told it. Eventual: what this node has said before in this life of it. And nobody is told
 * an index that is not committed.
 */
#include "observe.h"
#include "oracle.h"

/* The index of the log that this answer shows its client (coordinator/api/handlers.c: bear_session). */
uint64_t rule_reads_token(struct as_env *env, const struct sim_request *request,
                          const struct as_reply *reply)
{
    struct sim *sim = env->sim;
    struct node_info info;
    uint64_t token;

    node_info(env->node, &info);
    token = request->get ? info.applied_index : reply->refused ? 0 : reply->view->index;
    if (token > sim->oracle->committed_last)
        rule_raft_recount(sim);
    SIM_CHECK(sim, "reads", token <= sim->oracle->committed_last,
              "%s shows a client index %llu, and committed is %llu", env->name,
              (unsigned long long)token, (unsigned long long)sim->oracle->committed_last);
    return token;
}

bool rule_reads_must_know(const struct sim_request *request)
{
    const struct sim *sim = request->node->sim;
    const struct sim_txn *txn = request->txn;

    if (!txn->committed || !rule_r9_kept(sim, txn->committed))
        return false;
    if (txn->seen[request->node->proc] == request->node->life + 1)
        return true;
    return request->read == NODE_READ_SESSION && txn->committed->index <= request->session;
}

void rule_reads_answer(struct sim_request *request, const struct as_txn_view *view)
{
    if (view->state == AS_TXN_COMMITTED)
        request->txn->seen[request->node->proc] = request->node->life + 1;
}
