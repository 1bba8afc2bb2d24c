/* The heap against a list that is searched from end to end. */
#include <string.h>

#include "assent/heap.h"
#include "assent/rng.h"
#include "tests/support/support.h"

#define NODES 500

static void first_comes_first_and_ties_keep_their_order(void **state)
{
    struct as_heap heap;
    struct as_heap_node node[5] = {0};

    (void)state;
    as_heap_init(&heap);
    assert_null(as_heap_first(&heap));
    assert_true(as_heap_deadline(&heap) == AS_NEVER);
    for (int i = 0; i < 5; i++)
        assert_int_equal(as_heap_set(&heap, &node[i], i == 3 ? 1 : 7), AS_OK);
    assert_ptr_equal(as_heap_first(&heap), &node[3]);
    assert_int_equal(as_heap_deadline(&heap), 1);
    assert_int_equal(as_heap_set(&heap, &node[0], 7), AS_OK); /* set anew: goes behind the others */
    as_heap_remove(&heap, &node[3]);
    as_heap_remove(&heap, &node[3]);
    assert_int_equal(node[3].slot, 0);
    for (int i = 0; i < 4; i++) {
        static const int order[] = {1, 2, 4, 0};

        assert_ptr_equal(as_heap_first(&heap), &node[order[i]]);
        assert_int_equal(as_heap_set(&heap, &node[order[i]], AS_NEVER), AS_OK);
    }
    assert_int_equal(heap.count, 0);
    assert_int_equal(as_heap_set(&heap, &node[0], AS_NEVER), AS_OK);
    as_heap_close(&heap);
    as_heap_close(NULL);
}

static struct as_heap_node *least(struct as_heap_node *nodes)
{
    struct as_heap_node *found = NULL;

    for (int i = 0; i < NODES; i++) {
        if (nodes[i].slot && (!found || nodes[i].at < found->at ||
                              (nodes[i].at == found->at && nodes[i].order < found->order)))
            found = &nodes[i];
    }
    return found;
}

static void agrees_with_a_search(void **state)
{
    static struct as_heap_node nodes[NODES];
    struct as_rng rng = {3};
    struct as_heap heap;
    uint64_t order = 0;

    (void)state;
    as_heap_init(&heap);
    for (int round = 0; round < 30000; round++) {
        struct as_heap_node *node = &nodes[as_rng_below(&rng, NODES)];

        if (as_rng_below(&rng, 3) == 0) {
            as_heap_remove(&heap, node);
        } else {
            assert_int_equal(as_heap_set(&heap, node, (as_time)as_rng_below(&rng, 50)), AS_OK);
            assert_true(node->order > order);
            order = node->order;
        }
        if (round % 5 == 0)
            assert_ptr_equal(as_heap_first(&heap), least(nodes));
    }
    while (heap.count > 0) {
        assert_ptr_equal(as_heap_first(&heap), least(nodes));
        as_heap_remove(&heap, as_heap_first(&heap));
    }
    as_heap_close(&heap);
}

static void reserve_then_insert(void *ctx)
{
    struct as_heap_node nodes[100] = {0};
    struct as_heap heap;

    (void)ctx;
    as_heap_init(&heap);
    for (int i = 0; i < 40; i++) {
        if (as_heap_set(&heap, &nodes[i], 100 - i)) {
            assert_true(test_allocation_failed());
            assert_int_equal(nodes[i].slot, 0);
            assert_int_equal(heap.count, i);
            goto out;
        }
    }
    if (as_heap_reserve(&heap, 60) == AS_OK) {
        struct as_heap_node **array = heap.array;

        for (int i = 40; i < 100; i++)
            assert_int_equal(as_heap_set(&heap, &nodes[i], 100 - i), AS_OK);
        assert_ptr_equal(heap.array, array); /* nothing was asked for */
    } else {
        assert_true(test_allocation_failed());
        assert_int_equal(heap.count, 40);
    }
    assert_ptr_equal(as_heap_first(&heap), &nodes[heap.count - 1]);
out:
    as_heap_close(&heap);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    test_fail_each_allocation(reserve_then_insert, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_comes_first_and_ties_keep_their_order),
        cmocka_unit_test(agrees_with_a_search),
        cmocka_unit_test(no_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
