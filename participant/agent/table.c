/*
 * Live branches by key and by operation; ended ones in a bounded ring. Fault model: memory may be
 * short, then a new branch is refused and nothing has changed; operation numbers from outside may
 * be stale or nonsense.
 */
#include <string.h>

#include "assent/alloc.h"
#include "participant/agent/inside.h"

/* An operation's number: a count that never repeats, then the slot of its branch. */
#define SLOT_BITS 24

_Static_assert(AGENT_LIVE_MAX < AGENT_OP_SLOT_NONE, "a slot must fit into an operation's number");

static uint64_t key_hash(const struct agent_key *key)
{
    return as_hash(key, sizeof *key, 0);
}

_Static_assert(sizeof(struct agent_key) == 24, "hashed as bytes: no padding");

static bool key_equal(const struct agent_key *a, const struct agent_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool live_match(const void *owner, uint32_t handle, const void *key)
{
    const struct agent *agent = owner;

    return key_equal(&agent->lives[handle]->key, key);
}

struct agent_live *agent_live_find(const struct agent *agent, const struct agent_key *key)
{
    uint32_t slot = as_map_find(&agent->live_map, key_hash(key), key, live_match, agent);

    return slot == AS_MAP_NONE ? NULL : agent->lives[slot];
}

/* Makes one more and puts it into the free list. */
static bool live_make(struct agent *agent)
{
    struct agent_live *live;
    size_t timers = AGENT_SESSIONS_MAX + agent->config.participant_count + agent->live_made + 1;

    if (agent->live_made == AGENT_LIVE_MAX)
        return false;
    if (agent->live_made == agent->live_cap) {
        uint32_t cap = agent->live_cap ? agent->live_cap * 2 : 64;
        struct agent_live **lives = as_resize(agent->lives, cap * sizeof(struct agent_live *));

        if (!lives)
            return false;
        agent->lives = lives;
        agent->live_cap = cap;
    }
    /* Room for the timer of everything that can have one: setting it cannot fail later. */
    if (as_heap_reserve(&agent->heap, timers - agent->heap.count))
        return false;
    live = as_alloc_zero(1, sizeof *live);
    if (!live)
        return false;
    as_buf_init(&live->work, AS_FRAME_BYTES_MAX);
    live->slot = agent->live_made;
    live->timer.kind = AGENT_TIMER_LIVE;
    live->timer.index = live->slot;
    live->behind = agent->live_free;
    agent->live_free = live->slot;
    agent->lives[agent->live_made++] = live;
    return true;
}

static void live_reset(struct agent_live *live)
{
    struct agent_live fresh = {
        .slot = live->slot, .work = live->work, .timer = live->timer, .deadline = AS_NEVER};

    AS_ASSERT(live->timer.node.slot == 0);
    *live = fresh;
}

struct agent_live *agent_live_new(struct agent *agent, const struct agent_key *key,
                                  struct as_bytes id)
{
    struct agent_live *live;

    AS_ASSERT(id.len <= AS_ID_LEN_MAX);
    if (agent->live_free == AS_MAP_NONE && !live_make(agent))
        return NULL;
    live = agent->lives[agent->live_free];
    if (as_map_insert(&agent->live_map, key_hash(key), live->slot))
        return NULL;
    agent->live_free = live->behind;
    live_reset(live);
    live->used = true;
    live->key = *key;
    memcpy(live->id, id.data, id.len);
    live->before = live->behind = AS_MAP_NONE;
    agent->counts.branches++;
    return live;
}

void agent_live_free(struct agent *agent, struct agent_live *live)
{
    struct agent_participant *participant = agent_of(agent, live);
    bool was_in;

    AS_ASSERT(live->used && !live->op_id && !live->queued);
    agent_timer_set(agent, &live->timer, AS_NEVER);
    if (live->holds) {
        AS_ASSERT(participant->held > 0);
        participant->held--;
        agent_pump_wanted(agent, participant);
    }
    if (live->working)
        agent->working--;
    was_in = as_map_remove(&agent->live_map, key_hash(&live->key), live->slot);
    AS_ASSERT(was_in);
    if (live->work.cap > AGENT_WORK_KEEP_BYTES) {
        as_buf_close(&live->work);
        as_buf_init(&live->work, AS_FRAME_BYTES_MAX);
    }
    as_buf_clear(&live->work);
    live->used = false;
    live->behind = agent->live_free;
    agent->live_free = live->slot;
    agent->counts.branches--;
}

uint64_t agent_op_new(struct agent *agent, uint32_t slot)
{
    return ++agent->next_op << SLOT_BITS | slot;
}

struct agent_live *agent_live_of_op(const struct agent *agent, uint64_t op_id)
{
    uint32_t slot = (uint32_t)op_id & AGENT_OP_SLOT_NONE;
    struct agent_live *live = slot < agent->live_made ? agent->lives[slot] : NULL;

    return live && live->used && op_id && live->op_id == op_id ? live : NULL;
}

/* --- What is remembered of ended branches --- */

static bool past_match(const void *owner, uint32_t handle, const void *key)
{
    const struct agent *agent = owner;

    return key_equal(&agent->past[handle].key, key);
}

static struct agent_past *past_find(const struct agent *agent, const struct agent_key *key)
{
    uint32_t at = as_map_find(&agent->past_map, key_hash(key), key, past_match, agent);

    return at == AS_MAP_NONE ? NULL : &agent->past[at];
}

const struct agent_past *agent_past_find(const struct agent *agent, const struct agent_key *key)
{
    return past_find(agent, key);
}

void agent_past_add(struct agent *agent, const struct agent_key *key, enum as_ack outcome,
                    bool certain)
{
    struct agent_past *past = past_find(agent, key);

    AS_ASSERT(agent->past);
    if (!past) {
        past = &agent->past[agent->past_next];
        if (past->used)
            as_map_remove(&agent->past_map, key_hash(&past->key), agent->past_next);
        past->used = false;
        /* Without memory it is not remembered: R5 is hygiene, single dispatch (R2) keeps it safe.
         */
        if (as_map_insert(&agent->past_map, key_hash(key), agent->past_next))
            return;
        agent->past_next = (agent->past_next + 1) % AGENT_PAST_MAX;
    }
    *past = (struct agent_past){*key, outcome, certain, true};
}

void agent_past_doubt(struct agent *agent, uint32_t participant)
{
    for (uint32_t i = 0; i < AGENT_PAST_MAX; i++) {
        if (agent->past[i].key.participant == participant)
            agent->past[i].certain = false;
    }
}
