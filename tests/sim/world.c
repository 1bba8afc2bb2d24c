/*
 * Time, chance, events and memory of the world. Events of one moment happen in the order in which they were
 * asked for; nothing else decides the order, so a seed is played the same way every time.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

struct sim_verdict *sim_verdict;

/* --- Memory: one arena for a seed, used again by the next if it is not large --- */

#define BLOCK_BYTES (1u << 20)
#define KEPT_BYTES (64u << 20)

static struct block {
    struct block *next;
    size_t size, used;
    _Alignas(16) uint8_t data[];
} * blocks, *block_at;

void *sim_alloc(struct sim *sim, size_t size)
{
    void *memory;

    (void)sim;
    size = (size + 15) & ~(size_t)15;
    while (block_at && block_at->size - block_at->used < size)
        block_at = block_at->next;
    if (!block_at) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct block *fresh = malloc(sizeof *fresh + room);

        AS_ASSERT(fresh);
        *fresh = (struct block){.next = blocks, .size = room};
        blocks = block_at = fresh;
    }
    memory = block_at->data + block_at->used;
    block_at->used += size;
    return memset(memory, 0, size);
}

/* What is passed over for a large piece is not come back to, so a few seeds would need ever more. */
static void memory_begin(void)
{
    struct block *kept = NULL, *next;
    size_t bytes = 0;

    for (struct block *block = blocks; block; block = next) {
        next = block->next;
        bytes += block->size;
        if (bytes > KEPT_BYTES) {
            free(block);
            continue;
        }
        block->used = 0;
        block->next = kept;
        kept = block;
    }
    block_at = blocks = kept;
}

/* --- Chance --- */

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return as_rng_below(&sim->rng, bound);
}

as_time sim_between(struct sim *sim, as_time low, as_time high)
{
    return low + (as_time)sim_below(sim, (uint64_t)(high - low) + 1);
}

bool sim_percent(struct sim *sim, unsigned percent)
{
    return sim_below(sim, 100) < percent;
}

static bool strikes(struct sim *sim, enum sim_fault fault, uint64_t permille)
{
    if (sim->healed || !sim->plan.on[fault] || sim_below(sim, 1000) >= permille)
        return false;
    sim->counts.struck[fault]++;
    return true;
}

bool sim_strikes(struct sim *sim, enum sim_fault fault)
{
    return strikes(sim, fault, sim->plan.permille);
}

bool sim_strikes_in(struct sim *sim, enum sim_fault fault, unsigned percent)
{
    return strikes(sim, fault, 10 * (uint64_t)percent);
}

/* The minimum of two draws: short ones come more often, long ones do come. */
as_time sim_latency(struct sim *sim, as_time max)
{
    as_time a = sim_between(sim, 1, max), b = sim_between(sim, 1, max);

    return a < b ? a : b;
}

/* --- What happened --- */

void sim_mix(struct sim *sim, uint64_t a, uint64_t b)
{
    uint64_t hash = sim->hash;

    hash = (hash ^ a) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 29 ^ b) * 0xbf58476d1ce4e5b9u;
    sim->hash = hash ^ hash >> 32 ^ (uint64_t)sim->now;
}

void sim_print(struct sim *sim, const char *format, ...)
{
    va_list arguments;

    printf("%11.6f ", (double)sim->now / (double)AS_SECOND);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void sim_fail(struct sim *sim, const char *rule, const char *format, ...)
{
    char message[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fflush(stdout);
    if (sim_verdict) {
        sim_verdict->seed = sim->seed;
        sim_verdict->failed = true;
        snprintf(sim_verdict->rule, sizeof sim_verdict->rule, "%s", rule);
        snprintf(sim_verdict->message, sizeof sim_verdict->message, "%s", message);
    }
    if (!sim_verdict || sim->verbose)
        fprintf(stderr, "sim: seed %llu at %.6f s: %s: %s\n", (unsigned long long)sim->seed,
                (double)sim->now / (double)AS_SECOND, rule, message);
    _exit(1);
}

/* --- Events --- */

struct sim_event *sim_at(struct sim *sim, as_time at, struct as_env *proc, sim_fire fire,
                         void *what, uint64_t a, uint64_t b)
{
    struct sim_event *event = sim->free_events;
    as_err err;

    if (event)
        sim->free_events = event->next_free;
    else
        event = sim_alloc(sim, sizeof *event);
    *event = (struct sim_event){
        .fire = fire, .proc = proc, .life = proc ? proc->life : 0, .what = what, .a = a, .b = b};
    err = as_heap_set(&sim->events, &event->node, at < sim->now ? sim->now : at);
    AS_ASSERT(!err);
    return event;
}

static void event_free(struct sim *sim, struct sim_event *event)
{
    event->next_free = sim->free_events;
    sim->free_events = event;
}

void sim_cancel(struct sim *sim, struct sim_event *event)
{
    as_heap_remove(&sim->events, &event->node);
    event_free(sim, event);
}

bool sim_step(struct sim *sim, as_time until)
{
    struct sim_event *event = (struct sim_event *)as_heap_first(&sim->events);
    as_err err;

    if (!event || event->node.at > until) {
        sim->now = until;
        return false;
    }
    sim->now = event->node.at;
    if (event->proc && event->proc->up && event->life == event->proc->life &&
        event->proc->paused_until > sim->now) {
        err = as_heap_set(&sim->events, &event->node, event->proc->paused_until);
        AS_ASSERT(!err);
        return true;
    }
    as_heap_remove(&sim->events, &event->node);
    sim->steps++;
    if (!event->proc || event->life == event->proc->life)
        event->fire(sim, event);
    event_free(sim, event);
    return true;
}

/* --- The world --- */

void sim_open(struct sim *sim, uint64_t seed, int verbose)
{
    memory_begin();
    *sim = (struct sim){.seed = seed, .verbose = verbose, .rng = {seed * 0x2545f4914f6cdd1du}};
    as_heap_init(&sim->events);
    sim_plan_draw(sim);
}

void sim_close(struct sim *sim)
{
    as_heap_close(&sim->events);
}
