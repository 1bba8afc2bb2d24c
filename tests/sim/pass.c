/*
 * Requests passed on to the leader, as coordinator/api/pass.c does it: bytes that the nodes carry and do not look into.
 * Here they are the number of the request, and of the answer; what the leader serves in its place is a request of
 * its own.
 */
#include "observe.h"
#include "sim.h"

#define SERVED_FIRST ((uint64_t)1 << 41) /* numbers that no other request has */

static struct sim_request *request_of(struct sim *sim, uint64_t client)
{
    struct sim_request *request = sim->requests;

    while (request && request->client != client)
        request = request->next;
    return request;
}

bool pass_on(struct as_env *env, struct sim_request *request)
{
    struct node_info info;

    node_info(env->node, &info);
    if (!env->sim->plan.passes || request->read != NODE_READ_LINEARIZABLE || info.leading)
        return false;
    if (!node_forward(env->node, request->client,
                      (struct as_bytes){(const uint8_t *)&request->client, sizeof(uint64_t)}))
        return false;
    SIM_SAY(env->sim, 1, "%s passes on the request for %s", env->name, request->txn->id);
    request->passed = true;
    env->sim->counts.passed++;
    return true;
}

/* --- At the leader --- */

/* What was said to the node from inside its own call comes when that is over (assent/env.h). */
static void serves(struct sim *sim, const struct sim_event *event)
{
    struct sim_request *served = event->what;

    (void)sim;
    request_give(event->proc, served);
    proc_after(event->proc);
}

void pass_arrives(struct as_env *env, uint64_t forward, struct as_bytes bytes)
{
    struct sim *sim = env->sim;
    struct sim_request *served, *origin;
    uint64_t client = 0;

    SIM_CHECK(sim, "pass", bytes.len == sizeof client, "%s is passed on %zu bytes that nobody sent",
              env->name, bytes.len);
    memcpy(&client, bytes.data, sizeof client);
    SIM_CHECK(sim, "pass", client > 0 && client <= sim->request_last,
              "%s is passed on a request that nobody made", env->name);
    rule_pass_arrives(env, client);
    origin = request_of(sim, client);
    if (!origin)
        return; /* its asker has left */
    served = sim_alloc(sim, sizeof *served);
    *served = *origin;
    served->client = SERVED_FIRST + ++sim->served_last;
    served->node = env;
    served->life = env->life;
    served->asker = NULL;
    served->passed = false;
    served->origin = origin;
    served->forward = forward;
    served->next = sim->requests;
    sim->requests = origin->served = served;
    sim_at(sim, sim->now, env, serves, served, 0, 0);
}

static void sends_back(struct sim *sim, const struct sim_event *event)
{
    const struct sim_request *served = event->what;

    (void)sim;
    node_forward_reply(event->proc->node, served->forward,
                       (struct as_bytes){(const uint8_t *)&served->answer, sizeof(uint64_t)});
    proc_after(event->proc);
}

void pass_answer(struct as_env *env, struct sim_request *served, const struct as_reply *reply)
{
    struct sim *sim = env->sim;

    served->committed = !reply->refused && reply->view->state == AS_TXN_COMMITTED;
    served->answer = ++sim->answer_last;
    sim_at(sim, sim->now, env, sends_back, served, 0, 0);
}

/* --- And back --- */

void pass_done(struct as_env *env, uint64_t client, as_err err, struct as_bytes bytes)
{
    struct sim *sim = env->sim;
    struct sim_request *request = request_of(sim, client);
    uint64_t answer = 0;

    SIM_CHECK(sim, "pass", request && request->node == env && request->passed,
              "%s ends a request that nobody waits for", env->name);
    request->passed = false;
    SIM_SAY(sim, 1, "%s hears of the request for %s: %s", env->name, request->txn->id,
            as_err_text(err));
    sim_mix(sim, client, (uint64_t)err);
    if (err) {
        request_failed(request);
        return;
    }
    SIM_CHECK(sim, "pass", bytes.len == sizeof answer, "%s is answered with %zu bytes", env->name,
              bytes.len);
    memcpy(&answer, bytes.data, sizeof answer);
    rule_pass_answered(request, answer);
    request_answered(request, request->served->committed);
}
