/*
 * Binary heap of deadlines. Fault model: growing may fail; removing and moving cannot.
 */
#include "assent/heap.h"

#include "assent/alloc.h"

#define HEAP_CAP_MIN 16

void as_heap_init(struct as_heap *heap)
{
    *heap = (struct as_heap){0};
}

void as_heap_close(struct as_heap *heap)
{
    if (!heap)
        return;
    as_free(heap->array);
    *heap = (struct as_heap){0};
}

as_err as_heap_reserve(struct as_heap *heap, size_t count)
{
    size_t cap = heap->cap < HEAP_CAP_MIN ? HEAP_CAP_MIN : heap->cap;
    struct as_heap_node **array;

    if (count <= heap->cap - heap->count)
        return AS_OK;
    if (count > SIZE_MAX / sizeof(*array) / 2 - heap->count)
        return AS_ERR_NOMEM;
    while (cap < heap->count + count)
        cap *= 2;
    array = as_resize(heap->array, cap * sizeof(*array));
    if (!array)
        return AS_ERR_NOMEM;
    heap->array = array;
    heap->cap = cap;
    return AS_OK;
}

static bool before(const struct as_heap_node *a, const struct as_heap_node *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void place(struct as_heap *heap, size_t position, struct as_heap_node *node)
{
    heap->array[position] = node;
    node->slot = position + 1;
}

static void sift_up(struct as_heap *heap, size_t position, struct as_heap_node *node)
{
    while (position > 0) {
        size_t parent = (position - 1) / 2;

        if (!before(node, heap->array[parent]))
            break;
        place(heap, position, heap->array[parent]);
        position = parent;
    }
    place(heap, position, node);
}

static void sift_down(struct as_heap *heap, size_t position, struct as_heap_node *node)
{
    for (;;) {
        size_t child = 2 * position + 1;

        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap->array[child + 1], heap->array[child]))
            child++;
        if (!before(heap->array[child], node))
            break;
        place(heap, position, heap->array[child]);
        position = child;
    }
    place(heap, position, node);
}

/* Puts `node` at a position whose holder is gone or is itself. */
static void settle(struct as_heap *heap, size_t position, struct as_heap_node *node)
{
    if (position > 0 && before(node, heap->array[(position - 1) / 2]))
        sift_up(heap, position, node);
    else
        sift_down(heap, position, node);
}

static bool is_in(const struct as_heap *heap, const struct as_heap_node *node)
{
    if (node->slot == 0)
        return false;
    AS_ASSERT(node->slot <= heap->count && heap->array[node->slot - 1] == node);
    return true;
}

as_err as_heap_set(struct as_heap *heap, struct as_heap_node *node, as_time at)
{
    if (at == AS_NEVER) {
        as_heap_remove(heap, node);
        return AS_OK;
    }
    if (is_in(heap, node)) {
        node->at = at;
        node->order = ++heap->order;
        settle(heap, node->slot - 1, node);
        return AS_OK;
    }
    if (as_heap_reserve(heap, 1))
        return AS_ERR_NOMEM;
    node->at = at;
    node->order = ++heap->order;
    sift_up(heap, heap->count++, node);
    return AS_OK;
}

void as_heap_remove(struct as_heap *heap, struct as_heap_node *node)
{
    struct as_heap_node *last;
    size_t position;

    if (!is_in(heap, node))
        return;
    position = node->slot - 1;
    last = heap->array[--heap->count];
    node->slot = 0;
    if (last != node)
        settle(heap, position, last);
}

struct as_heap_node *as_heap_first(const struct as_heap *heap)
{
    return heap->count > 0 ? heap->array[0] : NULL;
}

as_time as_heap_deadline(const struct as_heap *heap)
{
    return heap->count > 0 ? heap->array[0]->at : AS_NEVER;
}
