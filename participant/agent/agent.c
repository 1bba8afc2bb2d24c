/*
 * One agent: its participants, its timer, and what ends every call; see agent.h and inside.h.
 *
 * Fault model: calls come in any order, for numbers that mean nothing any more; memory may run out.
 * A database or a node may be gone at any moment. What must not happen: a prepared branch finished
 * without a coordinator's word after it voted yes (R6), or a branch run twice (R2).
 */
#include <string.h>

#include "assent/alloc.h"
#include "participant/agent/inside.h"
#include "participant/agent/operations.h"

static as_err config_check(const struct agent_config *config)
{
    if (config->node_count == 0 || config->node_count > AGENT_NODES_MAX ||
        config->participant_count == 0 || config->participant_count > AS_PARTICIPANTS_MAX)
        return AS_ERR_INVALID;
    if (!as_cluster_valid(config->cluster, strnlen(config->cluster, sizeof config->cluster)))
        return AS_ERR_INVALID;
    for (uint32_t i = 0; i < config->participant_count; i++) {
        const char *name = config->participants[i].name;

        if (!as_participant_valid(name, strnlen(name, AS_PARTICIPANT_LEN_MAX + 1)))
            return AS_ERR_INVALID;
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(name, config->participants[k].name) == 0)
                return AS_ERR_INVALID;
        }
    }
    return AS_OK;
}

static void take_config(struct agent *agent, const struct agent_config *config)
{
    agent->config = *config;
    agent->config.participants = NULL; /* copied below, one by one */
    if (!agent->config.grace_ms)
        agent->config.grace_ms = AGENT_GRACE_MS;
    if (!agent->config.scan_ms)
        agent->config.scan_ms = AGENT_SCAN_MS;
    if (!agent->config.redial_max_ms)
        agent->config.redial_max_ms = AGENT_REDIAL_MAX_MS;
    for (uint32_t i = 0; i < config->node_count; i++) {
        const char *address = agent->config.nodes[i];

        (void)agent_session_use(agent,
                                (struct as_bytes){(const uint8_t *)address, strlen(address)});
    }
    for (uint32_t i = 0; i < config->participant_count; i++) {
        struct agent_participant *participant = &agent->participants[i];

        participant->config = config->participants[i];
        if (!participant->config.queue_max)
            participant->config.queue_max = AGENT_QUEUE_MAX;
        participant->queue_head = participant->queue_tail = AS_MAP_NONE;
        participant->facts.detail = participant->detail;
        memcpy(participant->detail, "not connected yet", sizeof "not connected yet");
        participant->scan_timer.kind = AGENT_TIMER_SCAN;
        participant->scan_timer.index = i;
    }
}

as_err agent_new(struct agent **ret_agent, const struct agent_config *config, struct as_env *env,
                 const struct as_env_ops *ops)
{
    struct agent *agent;

    if (config_check(config))
        return AS_ERR_INVALID;
    agent = as_alloc_zero(1, sizeof *agent);
    if (!agent)
        return AS_ERR_NOMEM;
    agent->env = env;
    agent->ops = ops;
    agent->armed = AS_NEVER;
    agent->live_free = AS_MAP_NONE;
    as_heap_init(&agent->heap);
    as_map_init(&agent->live_map);
    as_map_init(&agent->past_map);
    as_buf_init(&agent->out, AS_FRAME_BYTES_MAX + AS_FRAME_HEADER_LEN);
    as_buf_init(&agent->expanded, AS_FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++)
        agent_session_init(agent, i);
    agent->participants =
        as_alloc_zero(config->participant_count, sizeof(struct agent_participant));
    agent->past = as_alloc_zero(AGENT_PAST_MAX, sizeof(struct agent_past));
    if (!agent->participants || !agent->past ||
        as_heap_reserve(&agent->heap, AGENT_SESSIONS_MAX + config->participant_count)) {
        agent_free(agent);
        return AS_ERR_NOMEM;
    }
    take_config(agent, config);
    agent->rng.state = ops->random(env);
    agent->agent_id = ops->random(env);
    *ret_agent = agent;
    return AS_OK;
}

void agent_free(struct agent *agent)
{
    if (!agent)
        return;
    for (uint32_t slot = 0; slot < agent->live_made; slot++) {
        as_buf_close(&agent->lives[slot]->work);
        as_free(agent->lives[slot]);
    }
    as_free(agent->lives);
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++)
        as_buf_close(&agent->sessions[i].in);
    as_map_close(&agent->live_map);
    as_map_close(&agent->past_map);
    as_heap_close(&agent->heap);
    as_buf_close(&agent->out);
    as_buf_close(&agent->expanded);
    for (uint32_t i = 0; agent->participants && i < agent->config.participant_count; i++)
        operations_free(agent->participants[i].operations);
    as_free(agent->past);
    as_free(agent->participants);
    as_free(agent);
}

void agent_operations(struct agent *agent, uint32_t participant, struct operations *operations)
{
    AS_ASSERT(participant < agent->config.participant_count);
    operations_free(agent->participants[participant].operations);
    agent->participants[participant].operations = operations;
}

void agent_start(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++)
        if (agent->sessions[i].used)
            agent_session_dial(agent, &agent->sessions[i]);
    agent_settle(agent);
}

/* --- Timer, and the end of every call --- */

void agent_timer_set(struct agent *agent, struct agent_timer *timer, as_time at)
{
    /* Room was made when the timer's owner was (agent_new, table.c). */
    as_err err = as_heap_set(&agent->heap, &timer->node, at);

    AS_ASSERT(!err);
}

void agent_settle(struct agent *agent)
{
    as_time at;

    /* Ending a session frees slots, and starting what waited may find a session bad. */
    while (agent->ending || agent->pumping) {
        agent->ending = false;
        for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
            if (agent->sessions[i].ending)
                agent_session_end(agent, &agent->sessions[i]);
        }
        if (agent->pumping)
            agent_pump(agent);
    }
    at = as_heap_deadline(&agent->heap);
    if (at != agent->armed) {
        agent->armed = at;
        agent->ops->timer_arm(agent->env, at);
    }
}

void agent_on_timer(struct agent *agent)
{
    as_time now = agent_now(agent);
    const struct as_heap_node *first;

    agent->armed = AS_NEVER;
    /* Each handler sets its timer later, or takes it out. */
    while ((first = as_heap_first(&agent->heap)) != NULL && first->at <= now) {
        const struct agent_timer *timer = (const struct agent_timer *)first;

        switch (timer->kind) {
        case AGENT_TIMER_SESSION:
            agent_session_timer(agent, &agent->sessions[timer->index]);
            break;
        case AGENT_TIMER_SCAN:
            agent_scan_start(agent, timer->index);
            break;
        case AGENT_TIMER_LIVE:
            agent_live_timer(agent, agent->lives[timer->index]);
            break;
        }
    }
    agent_settle(agent);
}

void agent_trace_live(struct agent *agent, enum as_trace_kind kind, const struct agent_live *live,
                      const char *detail)
{
    struct as_trace trace = {.kind = kind,
                             .attempt = live->key.attempt,
                             .branch = live->key.number,
                             .id = live->id,
                             .name = agent->participants[live->key.participant].config.name,
                             .detail = detail};

    agent->ops->trace(agent->env, &trace);
}

/* --- Participants --- */

static void set_detail(struct agent_participant *participant, const char *detail)
{
    struct as_reason cut;

    _Static_assert(sizeof cut.message <= sizeof participant->detail,
                   "a detail is cut as a message");
    as_reason_set(&cut, AS_REASON_NONE, detail);
    memcpy(participant->detail, cut.message, sizeof cut.message);
}

static void trace_participant(struct agent *agent, uint32_t index, enum as_trace_kind kind)
{
    const struct agent_participant *participant = &agent->participants[index];
    struct as_trace trace = {
        .kind = kind, .name = participant->config.name, .detail = participant->detail};

    agent->ops->trace(agent->env, &trace);
}

static void announce(struct agent *agent, uint32_t index, enum as_trace_kind kind)
{
    trace_participant(agent, index, kind);
    for (uint32_t i = 0; i < AGENT_SESSIONS_MAX; i++)
        agent_send_participant(agent, &agent->sessions[i], index);
}

void agent_on_pg_up(struct agent *agent, const struct as_pg_up *up)
{
    struct agent_participant *participant;
    struct as_identity before;
    static const struct as_identity none;

    if (up->participant >= agent->config.participant_count)
        return;
    participant = &agent->participants[up->participant];
    before = participant->facts.identity;
    set_detail(participant, up->detail);
    participant->facts = *up;
    participant->facts.detail = participant->detail;
    participant->up = true;
    if (memcmp(&before, &up->identity, sizeof before) != 0) {
        agent_past_doubt(agent, up->participant);
        if (memcmp(&before, &none, sizeof before) != 0)
            trace_participant(agent, up->participant, AS_TRACE_IDENTITY_CHANGED);
    }
    announce(agent, up->participant, AS_TRACE_PARTICIPANT_UP);
    agent_scan_start(agent, up->participant);
    agent_pump_wanted(agent, participant);
    agent_settle(agent);
}

void agent_on_pg_down(struct agent *agent, uint32_t index, const char *why)
{
    struct agent_participant *participant;

    if (index >= agent->config.participant_count)
        return;
    participant = &agent->participants[index];
    participant->up = false;
    set_detail(participant, why);
    announce(agent, index, AS_TRACE_PARTICIPANT_DOWN);
    /* What runs is ended by its own operation; what waits for a slot need not wait for one here. */
    while (participant->queued > 0)
        agent_give_up(agent, agent->lives[participant->queue_head],
                      AS_REASON_PARTICIPANT_UNAVAILABLE, participant->detail);
    agent_settle(agent);
}

/* --- Stopping and counting --- */

bool agent_drain(struct agent *agent)
{
    agent->draining = true;
    for (uint32_t i = 0; i < agent->config.participant_count; i++) {
        struct agent_participant *participant = &agent->participants[i];

        while (participant->queued > 0)
            agent_give_up(agent, agent->lives[participant->queue_head],
                          AS_REASON_PARTICIPANT_UNAVAILABLE, "the agent is stopping");
    }
    agent_settle(agent);
    return agent->working == 0;
}

void agent_count(const struct agent *agent, struct agent_counts *ret)
{
    *ret = agent->counts;
}
