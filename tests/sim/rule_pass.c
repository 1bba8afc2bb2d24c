/*
 * Requests passed on: each comes to one node, once; and the answer that its client gets is the one that was given to it.
 */
#include "observe.h"
#include "oracle.h"

void rule_pass_arrives(struct as_env *env, uint64_t client)
{
    struct sim *sim = env->sim;
    uint64_t *last = &sim->oracle->passed[client % ORACLE_PASSED];

    SIM_CHECK(sim, "pass", *last != client, "%s is passed on a request for the second time",
              env->name);
    *last = client;
}

void rule_pass_answered(struct sim_request *request, uint64_t answer)
{
    struct sim *sim = request->node->sim;

    SIM_CHECK(sim, "pass", request->served && request->served->answer == answer,
              "%s gives a client the answer to another request than that for %s",
              request->node->name, request->txn->id);
}
