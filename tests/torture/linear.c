/*
 * The search of linear.h: Lowe's just-in-time linearization. Time goes from call to call and return to return; all the while the
 * set of ways to order what has been called so far is kept ("configs"). At a return every config must have that operation in its
 * order; those that cannot are dropped, and when none is left the history is refused. Two configs with the same state are one, so
 * the set stays small: its size depends on what is open at the same time, not on the length of the history.
 *
 * POSTs of unknown outcome are all alike for ever after their call, so they are counted, not told apart.
 */
#include "linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE 255u

/* The state of the object in one order, and who is in that order. */
struct config {
    uint64_t shown;      /* open operations (by slot) whose answer is accounted for */
    uint64_t began;      /* open POSTs (by slot) that have begun an attempt */
    uint32_t began_late; /* of the POSTs of unknown outcome, how many have begun one */
    uint8_t live;        /* the attempt under way, or NONE */
    uint8_t next;        /* the lowest attempt that may begin still: one above the highest seen */
    bool committed;
    uint8_t zero[5]; /* compared as bytes */
};

struct search {
    const struct linear_op *ops;
    size_t count;
    struct as_attempt attempts[LINEAR_ATTEMPTS_MAX]; /* told of, ascending */
    size_t attempt_count;
    uint8_t committed; /* the one that was told as committed, or NONE */
    const struct linear_op *open[LINEAR_OPEN_MAX];
    uint64_t open_slots;
    uint32_t late; /* POSTs of unknown outcome called so far */
    struct config *configs;
    size_t config_count, config_cap;
    uint32_t *table; /* of configs by content: place + 1 */
    size_t table_cap;
    enum linear_verdict verdict;
    char *why;
};

static enum linear_verdict broken(struct search *search, enum linear_verdict verdict,
                                  const char *text)
{
    search->verdict = verdict;
    snprintf(search->why, 256, "%s", text);
    return verdict;
}

/* --- Attempts --- */

static uint8_t attempt_place(const struct search *search, struct as_attempt attempt)
{
    for (size_t i = 0; i < search->attempt_count; i++)
        if (as_attempt_equal(search->attempts[i], attempt))
            return (uint8_t)i;
    return NONE;
}

static int by_number(const void *a, const void *b)
{
    return as_attempt_compare(*(const struct as_attempt *)a, *(const struct as_attempt *)b);
}

static bool is_told(const struct linear_op *op)
{
    return op->attempt.seq != 0 && op->answer >= LINEAR_UNDER_WAY;
}

static enum linear_verdict attempts_collect(struct search *search, size_t *ret_place)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct linear_op *op = &search->ops[i];

        *ret_place = op->place;
        if (!is_told(op) || attempt_place(search, op->attempt) != NONE)
            continue;
        if (search->attempt_count == LINEAR_ATTEMPTS_MAX)
            return broken(search, LINEAR_TOO_MUCH, "more attempts than are looked through");
        search->attempts[search->attempt_count++] = op->attempt;
    }
    qsort(search->attempts, search->attempt_count, sizeof(search->attempts[0]), by_number);
    return LINEAR_HOLDS;
}

/* What holds whenever it was said: one attempt commits, the others are lower, and what commits is never aborted (R1, R9). */
static enum linear_verdict attempts_check(struct search *search, size_t *ret_place)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct linear_op *op = &search->ops[i];

        *ret_place = op->place;
        if (op->answer != LINEAR_COMMITTED)
            continue;
        if (!is_told(op))
            return broken(search, LINEAR_BROKEN, "committed, and no attempt is named");
        if (search->committed != NONE &&
            !as_attempt_equal(op->attempt, search->attempts[search->committed]))
            return broken(search, LINEAR_BROKEN, "committed twice, by two attempts");
        search->committed = attempt_place(search, op->attempt);
    }
    for (size_t i = 0; i < search->count && search->committed != NONE; i++) {
        const struct linear_op *op = &search->ops[i];
        int order =
            is_told(op) ? as_attempt_compare(op->attempt, search->attempts[search->committed]) : -1;

        *ret_place = op->place;
        if (op->answer == LINEAR_ABORTED && order == 0)
            return broken(search, LINEAR_BROKEN, "the attempt that committed is told as aborted");
        if (order > 0)
            return broken(search, LINEAR_BROKEN, "an attempt was begun after one had committed");
    }
    return LINEAR_HOLDS;
}

/* Every attempt that a client has heard of was begun by a POST called before. */
static enum linear_verdict attempts_count(struct search *search, size_t *ret_place)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct linear_op *op = &search->ops[i];
        uint64_t told = 0;
        int posts = 0;

        for (size_t j = 0; j < search->count && is_told(op); j++) {
            const struct linear_op *other = &search->ops[j];

            if (is_told(other) && other->returned <= op->returned)
                told |= 1ull << attempt_place(search, other->attempt);
            posts += other->kind == LINEAR_POST && other->called < op->returned;
        }
        *ret_place = op->place;
        if (__builtin_popcountll(told) > posts)
            return broken(search, LINEAR_BROKEN, "more attempts than POSTs that could begin one");
    }
    return LINEAR_HOLDS;
}

/* docs/consistency.md, "Session". */
static enum linear_verdict sessions_check(struct search *search, size_t *ret_place)
{
    uint64_t index = 0;

    for (size_t i = 0; i < search->count; i++)
        if (search->ops[i].answer == LINEAR_COMMITTED && search->ops[i].index)
            index = search->ops[i].index;
    for (size_t i = 0; i < search->count && index; i++) {
        const struct linear_op *op = &search->ops[i];

        *ret_place = op->place;
        if (op->kind == LINEAR_SESSION && op->answer >= LINEAR_NOT_FOUND &&
            op->answer != LINEAR_COMMITTED && op->token >= index)
            return broken(search, LINEAR_BROKEN,
                          "a session read does not show what its token covers");
    }
    return LINEAR_HOLDS;
}

/* --- What an answer says of the object --- */

/* Of an attempt of an earlier term than another one, or of none: the leader may have been deposed. */
static bool may_be_stale(const struct search *search, const struct linear_op *op)
{
    return !is_told(op) || op->attempt.term < search->attempts[search->attempt_count - 1].term;
}

static bool binds(const struct search *search, const struct linear_op *op)
{
    if (op->answer == LINEAR_COMMITTED)
        return true;
    if (op->answer < LINEAR_NOT_FOUND)
        return false;
    return op->kind == LINEAR_GET || (op->kind == LINEAR_POST && !may_be_stale(search, op));
}

/* Whether the object, as it is in `config`, may give that answer. */
static bool may_show(const struct search *search, const struct config *config,
                     const struct linear_op *op)
{
    switch (op->answer) {
    case LINEAR_COMMITTED:
        return config->committed;
    case LINEAR_UNDER_WAY:
        return !config->committed && config->live != NONE &&
               config->live == attempt_place(search, op->attempt);
    case LINEAR_ABORTED:
    case LINEAR_NOT_FOUND:
        return !config->committed && config->live == NONE;
    default:
        return true;
    }
}

/* --- The set of configs --- */

static size_t hash_of(const struct config *config)
{
    uint64_t hash = config->shown * 0x9e3779b97f4a7c15u;

    hash = (hash ^ hash >> 32 ^ config->began) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 32 ^ config->began_late ^ (uint64_t)config->live << 32 ^
            (uint64_t)config->next << 40 ^ (uint64_t)config->committed << 48) *
           0x94d049bb133111ebu;
    return (size_t)(hash ^ hash >> 29);
}

static bool table_grow(struct search *search)
{
    size_t cap = search->table_cap ? search->table_cap * 2 : 64;
    uint32_t *table = calloc(cap, sizeof(*table));

    if (!table)
        return false;
    free(search->table);
    search->table = table;
    search->table_cap = cap;
    for (size_t i = 0; i < search->config_count; i++) {
        size_t at = hash_of(&search->configs[i]) & (cap - 1);

        while (table[at])
            at = (at + 1) & (cap - 1);
        table[at] = (uint32_t)i + 1;
    }
    return true;
}

static void table_clear(struct search *search)
{
    memset(search->table, 0, search->table_cap * sizeof(*search->table));
}

/* Once only. */
static void config_add(struct search *search, const struct config *config)
{
    size_t at;

    if (search->verdict != LINEAR_HOLDS)
        return;
    if ((search->config_count + 1) * 2 > search->table_cap && !table_grow(search)) {
        broken(search, LINEAR_NO_MEMORY, "out of memory");
        return;
    }
    for (at = hash_of(config) & (search->table_cap - 1); search->table[at];
         at = (at + 1) & (search->table_cap - 1))
        if (memcmp(&search->configs[search->table[at] - 1], config, sizeof(*config)) == 0)
            return;
    if (search->config_count == LINEAR_CONFIGS_MAX) {
        broken(search, LINEAR_TOO_MUCH, "too many ways to order what is under way at one time");
        return;
    }
    if (search->config_count == search->config_cap) {
        size_t cap = search->config_cap ? search->config_cap * 2 : 32;
        struct config *grown = realloc(search->configs, cap * sizeof(*grown));

        if (!grown) {
            broken(search, LINEAR_NO_MEMORY, "out of memory");
            return;
        }
        search->configs = grown;
        search->config_cap = cap;
    }
    search->configs[search->config_count++] = *config;
    search->table[at] = (uint32_t)search->config_count;
}

/* --- What may happen next in a config --- */

/* What its client is told as refused does not commit; who has been answered begins nothing more. */
static bool may_begin(const struct search *search, const struct config *config, size_t slot,
                      size_t attempt)
{
    const struct linear_op *op = search->open[slot];
    uint64_t bit = 1ull << slot;

    return op->kind == LINEAR_POST && !(config->began & bit) && !(config->shown & bit) &&
           !(op->answer == LINEAR_REFUSED && attempt == search->committed);
}

static void begin(struct search *search, const struct config *from)
{
    for (size_t e = from->next; e < search->attempt_count; e++) {
        struct config config = *from;

        config.live = (uint8_t)e;
        config.next = (uint8_t)(e + 1);
        if (config.began_late < search->late) {
            config.began_late++;
            config_add(search, &config);
            config.began_late--;
        }
        for (uint64_t left = search->open_slots; left; left &= left - 1) {
            size_t slot = (size_t)__builtin_ctzll(left);

            if (!may_begin(search, from, slot, e))
                continue;
            config.began = from->began | 1ull << slot;
            config_add(search, &config);
        }
    }
}

static void end(struct search *search, const struct config *from)
{
    struct config config = *from;

    config.live = NONE;
    config.committed = from->live == search->committed;
    config_add(search, &config);
}

static void show(struct search *search, const struct config *from)
{
    for (uint64_t left = search->open_slots & ~from->shown; left; left &= left - 1) {
        size_t slot = (size_t)__builtin_ctzll(left);
        const struct linear_op *op = search->open[slot];
        struct config config = *from;

        if (!binds(search, op) || !may_show(search, from, op))
            continue;
        config.shown |= 1ull << slot;
        if (op->answer == LINEAR_ABORTED && is_told(op) &&
            attempt_place(search, op->attempt) >= config.next)
            config.next = (uint8_t)(attempt_place(search, op->attempt) + 1);
        config_add(search, &config);
    }
}

/* Everything that may have happened up to now; the list grows while it is walked. */
static void close_over(struct search *search)
{
    for (size_t i = 0; i < search->config_count && search->verdict == LINEAR_HOLDS; i++) {
        struct config config = search->configs[i];

        if (!config.committed && config.live == NONE)
            begin(search, &config);
        else if (!config.committed)
            end(search, &config);
        show(search, &config);
    }
}

/* --- Events --- */

static void on_call(struct search *search, const struct linear_op *op)
{
    size_t slot = 0;

    if (op->kind == LINEAR_POST && op->answer == LINEAR_UNKNOWN) {
        search->late++;
        return;
    }
    if (op->kind != LINEAR_POST && !binds(search, op))
        return;
    while (slot < LINEAR_OPEN_MAX && search->open[slot])
        slot++;
    if (slot == LINEAR_OPEN_MAX)
        broken(search, LINEAR_TOO_MUCH, "more requests at one time than are looked through");
    else
        search->open[slot] = op;
    search->open_slots |= slot < LINEAR_OPEN_MAX ? 1ull << slot : 0;
}

/* The configs that account for its answer stay; its slot is free again. */
static void on_return(struct search *search, const struct linear_op *op)
{
    uint64_t bit;
    size_t slot = 0, before;

    while (slot < LINEAR_OPEN_MAX && search->open[slot] != op)
        slot++;
    if (slot == LINEAR_OPEN_MAX)
        return;
    bit = 1ull << slot;
    close_over(search);
    before = search->config_count;
    search->config_count = 0;
    if (search->table)
        table_clear(search);
    for (size_t i = 0; i < before; i++) {
        struct config config = search->configs[i];

        if (binds(search, op) && !(config.shown & bit))
            continue;
        config.shown &= ~bit;
        config.began &= ~bit;
        config_add(search, &config); /* to a place that has been read already */
    }
    search->open[slot] = NULL;
    search->open_slots &= ~bit;
    if (search->config_count == 0)
        broken(search, LINEAR_BROKEN, "no order of what was called before it explains this answer");
}

struct moment {
    int64_t at;
    const struct linear_op *op;
    bool call;
};

/* What returns as another is called has happened before it. */
static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x->op == y->op)
        return x->call ? -1 : 1;
    return (int)x->call - (int)y->call;
}

static enum linear_verdict play(struct search *search, struct moment *moments, size_t *ret_place)
{
    struct config first = {.live = NONE};
    size_t count = 0;

    for (size_t i = 0; i < search->count; i++) {
        const struct linear_op *op = &search->ops[i];

        moments[count++] = (struct moment){op->called, op, true};
        moments[count++] = (struct moment){op->returned, op, false};
    }
    qsort(moments, count, sizeof(*moments), by_time);
    config_add(search, &first);
    for (size_t i = 0; i < count && search->verdict == LINEAR_HOLDS; i++) {
        *ret_place = moments[i].op->place;
        if (moments[i].call)
            on_call(search, moments[i].op);
        else
            on_return(search, moments[i].op);
    }
    return search->verdict;
}

static int by_call(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;

    return x->called == y->called ? 0 : x->called < y->called ? -1 : 1;
}

enum linear_verdict linear_check(struct linear_op *ops, size_t count, size_t *ret_place,
                                 char ret_why[256])
{
    struct search search = {.ops = ops, .count = count, .committed = NONE, .why = ret_why};
    struct moment *moments = calloc(count * 2 + 1, sizeof(*moments));
    enum linear_verdict verdict;

    ret_why[0] = '\0';
    *ret_place = 0;
    if (!moments)
        return broken(&search, LINEAR_NO_MEMORY, "out of memory");
    qsort(ops, count, sizeof(*ops), by_call);
    verdict = attempts_collect(&search, ret_place);
    if (verdict == LINEAR_HOLDS)
        verdict = attempts_check(&search, ret_place);
    if (verdict == LINEAR_HOLDS)
        verdict = attempts_count(&search, ret_place);
    if (verdict == LINEAR_HOLDS)
        verdict = sessions_check(&search, ret_place);
    if (verdict == LINEAR_HOLDS)
        verdict = play(&search, moments, ret_place);
    free(moments);
    free(search.configs);
    free(search.table);
    return verdict;
}
