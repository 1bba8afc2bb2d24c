/*
 * An intrusive binary heap of deadlines: the one timer heap of a core. Ties leave in the order they came.
 */
#ifndef ASSENT_HEAP_H
#define ASSENT_HEAP_H

#include "assent/base.h"

/* Embedded in what has a deadline; zeroed means "not in a heap". The owner outlives its stay. */
struct as_heap_node {
    as_time at;
    uint64_t order;
    size_t slot; /* 1 + position in the heap's array; 0: not in it */
};

struct as_heap {
    struct as_heap_node **array; /* owned; the nodes are not */
    size_t count, cap;
    uint64_t order;
};

void as_heap_init(struct as_heap *heap);
void as_heap_close(struct as_heap *heap);
/* Makes room for `count` more nodes, so that as many inserts cannot fail. */
as_err as_heap_reserve(struct as_heap *heap, size_t count) AS_MUSTCHECK;
/* Inserts or moves the node to `at`; AS_NEVER removes it. NOMEM only for a node that was not in. */
as_err as_heap_set(struct as_heap *heap, struct as_heap_node *node, as_time at) AS_MUSTCHECK;
void as_heap_remove(struct as_heap *heap, struct as_heap_node *node);
/* The earliest node, or NULL; it stays in. */
struct as_heap_node *as_heap_first(const struct as_heap *heap);
/* Its time, or AS_NEVER. */
as_time as_heap_deadline(const struct as_heap *heap);

#endif
