/* The map against an array: growth to a million, removal, places that wrap round the end of a
 * table. */
#include <string.h>

#include "assent/alloc.h"
#include "assent/map.h"
#include "assent/rng.h"
#include "tests/support/support.h"

/* The hash whose tag, and so whose home in every table, is `tag`: undoes the map's multiplication.
 */
static uint64_t hash_of_tag(uint32_t tag)
{
    const uint64_t factor = 0x9e3779b97f4a7c15u;
    uint64_t inverse = factor;

    for (int i = 0; i < 6; i++)
        inverse *= 2 - factor * inverse; /* Newton: each step doubles the right bits */
    return ((uint64_t)tag << 32) * inverse;
}

/* Keys are numbers; handle h of the owner `keys` bears keys[h]. */
static bool match_number(const void *owner, uint32_t handle, const void *key)
{
    const uint64_t *keys = owner;

    return keys[handle] == *(const uint64_t *)key;
}

static uint64_t number_hash(uint64_t key)
{
    return as_hash(&key, sizeof(key), 5);
}

static uint32_t find(const struct as_map *map, const uint64_t *keys, uint64_t key)
{
    return as_map_find(map, number_hash(key), &key, match_number, keys);
}

static void an_empty_map_finds_nothing(void **state)
{
    struct as_map map;
    uint64_t key = 1;

    (void)state;
    as_map_init(&map);
    assert_int_equal(find(&map, &key, 1), AS_MAP_NONE);
    assert_false(as_map_remove(&map, 1, 1));
    as_map_close(&map);
    as_map_close(NULL);
}

enum { MILLION = 1000000 };

static void a_million_entries(void **state)
{
    uint64_t *keys = as_alloc(MILLION * sizeof(*keys));
    struct as_rng rng = {17};
    struct as_map map;
    uint32_t growths = 0;

    (void)state;
    assert_non_null(keys);
    as_map_init(&map);
    for (uint32_t i = 0; i < MILLION; i++) {
        const bool moving = map.table[1];
        size_t moved = map.moved;
        uint32_t other;

        keys[i] = as_rng_next(&rng);
        assert_int_equal(as_map_insert(&map, number_hash(keys[i]), i), AS_OK);
        if (map.table[1] && !moving) {
            growths++;
            moved = 0;
        }
        if (map.table[1] && map.moved > moved + 100) /* a step stays a step */
            fail_msg("insert %u moved %zu places", i, map.moved - moved);
        other = (uint32_t)as_rng_below(&rng, i + 1);
        as_map_expect(&map, number_hash(keys[other])); /* changes nothing */
        assert_int_equal(find(&map, keys, keys[other]), other);
        assert_int_equal(find(&map, keys, ~keys[other]), AS_MAP_NONE);
    }
    assert_int_equal(map.count, MILLION);
    assert_in_range(growths, 10, 20);
    for (uint32_t i = 0; i < MILLION; i += 2)
        assert_true(as_map_remove(&map, number_hash(keys[i]), i));
    for (uint32_t i = 0; i < MILLION; i++)
        assert_int_equal(find(&map, keys, keys[i]), i % 2 ? i : AS_MAP_NONE);
    assert_false(as_map_remove(&map, number_hash(keys[1]), 3));
    assert_int_equal(map.count, MILLION / 2);
    as_map_close(&map);
    as_free(keys);
}

/*
 * Random inserts and removals with tags whose homes crowd at the end of the table, so that clusters
 * wrap round it, and with many equal tags; from empty to growing, at every stage of a move.
 */
static void crowded_tables(uint64_t seed, uint32_t homes)
{
    enum { HANDLES = 300 };
    struct as_rng rng = {seed};
    uint64_t keys[HANDLES], hashes[HANDLES];
    bool in[HANDLES] = {0};
    struct as_map map;
    size_t count = 0;
    uint32_t limit = 1 + (uint32_t)as_rng_below(&rng, HANDLES);

    as_map_init(&map);
    for (uint32_t i = 0; i < HANDLES; i++) {
        keys[i] = i;
        hashes[i] = hash_of_tag(1023 - (uint32_t)as_rng_below(&rng, homes) +
                                1024 * (uint32_t)as_rng_below(&rng, 3));
    }
    for (int round = 0; round < 3000; round++) {
        uint32_t i = (uint32_t)as_rng_below(&rng, limit);

        if (in[i]) {
            assert_true(as_map_remove(&map, hashes[i], i));
            count--;
        } else {
            assert_int_equal(as_map_insert(&map, hashes[i], i), AS_OK);
            count++;
        }
        in[i] = !in[i];
        assert_int_equal(map.count, count);
        for (uint32_t k = (uint32_t)round % 7; k < HANDLES; k += 7) {
            uint32_t found = as_map_find(&map, hashes[k], &keys[k], match_number, keys);

            assert_int_equal(found, in[k] ? k : AS_MAP_NONE);
        }
        if (as_rng_below(&rng, 100) == 0)
            limit = 1 + (uint32_t)as_rng_below(&rng, HANDLES);
    }
    as_map_close(&map);
}

static void clusters_that_wrap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        crowded_tables(seed, (uint32_t[]){1, 2, 7, 20, 300}[seed % 5]);
}

static void insert_many(void *ctx)
{
    enum { MANY = 500 };
    static uint64_t keys[MANY];
    struct as_map map;
    uint32_t n = 0;

    (void)ctx;
    as_map_init(&map);
    for (; n < MANY; n++) {
        keys[n] = n * 77u;
        if (as_map_insert(&map, number_hash(keys[n]), n)) {
            assert_true(test_allocation_failed());
            break;
        }
    }
    assert_int_equal(map.count, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(find(&map, keys, keys[i]), i);
    as_map_close(&map);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    test_fail_each_allocation(insert_many, NULL);
}

static void reserve_in_every_state(void *ctx)
{
    enum { MANY = 4000 };
    static uint64_t keys[MANY];
    struct as_rng rng = {*(uint64_t *)ctx};
    struct as_map map;
    uint32_t n = 0;

    as_map_init(&map);
    while (n < MANY) {
        size_t ahead = as_rng_below(&rng, 20) == 0 ? as_rng_below(&rng, 2 * n + 20) : 1;

        if (as_map_reserve(&map, ahead)) {
            assert_true(test_allocation_failed());
            break;
        }
        for (; ahead > 0 && n < MANY; ahead--, n++) {
            struct as_map_entry *table = map.table[1] ? map.table[1] : map.table[0];

            keys[n] = n;
            assert_int_equal(as_map_insert(&map, number_hash(n), n), AS_OK);
            /* what was reserved is used: no new table */
            assert_ptr_equal(table, map.table[1] ? map.table[1] : map.table[0]);
        }
    }
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(find(&map, keys, i), i);
    as_map_close(&map);
}

static void reserved_inserts_cannot_fail(void **state)
{
    struct as_map map;

    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++)
        test_fail_each_allocation(reserve_in_every_state, &seed);
    as_map_init(&map);
    assert_int_equal(as_map_reserve(&map, SIZE_MAX), AS_ERR_NOMEM);
    as_map_close(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing),   cmocka_unit_test(a_million_entries),
        cmocka_unit_test(clusters_that_wrap),           cmocka_unit_test(no_memory_changes_nothing),
        cmocka_unit_test(reserved_inserts_cannot_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
