/*
 * Hash index that grows step by step. Open addressing with linear probing; removal shifts back, so
 * there are no tombstones. Fault model: a table may be unobtainable, then the insert fails and
 * nothing moved.
 *
 * An entry's place follows from its tag alone, so that it can be moved without asking the owner.
 * While moving, table[0] is empty below `moved`, new entries go to table[1], and of each entry of
 * table[0] it holds that it stands behind its home and all places from max(home, moved) to its own
 * are taken. Probing relies on that, removing keeps it; so the entries that wrapped round the end
 * are moved first.
 */
#include "assent/map.h"

#include <xxhash.h>

#include "assent/alloc.h"

#define MAP_SIZE_MIN ((size_t)16)
/* A table of n places starts to grow at n * 3/4 entries and has room for as many more in its
 * successor: moving 4 places with each insert is over after a third of them. */
#define MAP_STEP 4

uint64_t as_hash(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

/* Fibonacci hashing: spreads weak hashes too (a counter, say). Never 0, that means "free". */
static uint32_t tag_of(uint64_t hash)
{
    uint32_t tag = (uint32_t)((hash * 0x9e3779b97f4a7c15u) >> 32);

    return tag ? tag : 1;
}

/* How many entries a table of this mask may hold. */
static size_t room_of(size_t mask)
{
    return mask + 1 - (mask + 1) / 4;
}

void as_map_init(struct as_map *map)
{
    *map = (struct as_map){0};
}

void as_map_close(struct as_map *map)
{
    if (!map)
        return;
    as_free(map->table[0]);
    as_free(map->table[1]);
    *map = (struct as_map){0};
}

/* Where the search for a tag begins in table `which`. */
static size_t home_of(const struct as_map *map, int which, uint32_t tag)
{
    size_t home = tag & map->mask[which];

    return which == 0 && home < map->moved ? map->moved : home;
}

static void put(struct as_map *map, int which, struct as_map_entry entry)
{
    size_t mask = map->mask[which];
    size_t i = entry.tag & mask;

    while (map->table[which][i].tag)
        i = (i + 1) & mask;
    map->table[which][i] = entry;
}

/* Moves up to `steps` places of table[0]; when it is empty, table[1] takes its part. */
static void move_on(struct as_map *map, size_t steps)
{
    size_t size = map->mask[0] + 1;

    for (; steps > 0 && map->moved < size; steps--) {
        struct as_map_entry *entry = &map->table[0][map->moved++];

        if (entry->tag) {
            put(map, 1, *entry);
            *entry = (struct as_map_entry){0};
        }
    }
    if (map->moved < size)
        return;
    as_free(map->table[0]);
    map->table[0] = map->table[1];
    map->mask[0] = map->mask[1];
    map->table[1] = NULL;
    map->mask[1] = 0;
    map->moved = 0;
}

/* Makes `table` the successor of table[0] and moves what wrapped round the end: the first cluster.
 */
static void start_moving(struct as_map *map, struct as_map_entry *table, size_t size)
{
    map->table[1] = table;
    map->mask[1] = size - 1;
    map->moved = 0;
    while (map->table[1] && map->table[0][map->moved].tag)
        move_on(map, 1);
}

as_err as_map_reserve(struct as_map *map, size_t count)
{
    size_t size = MAP_SIZE_MIN;
    struct as_map_entry *table;

    if (count > UINT32_MAX - map->count)
        return AS_ERR_NOMEM;
    if (map->table[1] && map->count + count > room_of(map->mask[1]))
        move_on(map, map->mask[0] + 1);
    if (map->table[1] || (map->table[0] && map->count + count <= room_of(map->mask[0])))
        return AS_OK;
    if (map->table[0])
        size = 2 * (map->mask[0] + 1);
    while (map->count + count > room_of(size - 1))
        size *= 2;
    table = as_alloc_zero(size, sizeof(*table));
    if (!table)
        return AS_ERR_NOMEM;
    if (map->table[0]) {
        start_moving(map, table, size);
    } else {
        map->table[0] = table;
        map->mask[0] = size - 1;
    }
    return AS_OK;
}

as_err as_map_insert(struct as_map *map, uint64_t hash, uint32_t handle)
{
    AS_ASSERT(handle != AS_MAP_NONE);
    if (as_map_reserve(map, 1))
        return AS_ERR_NOMEM;
    if (map->table[1])
        move_on(map, MAP_STEP);
    put(map, map->table[1] ? 1 : 0, (struct as_map_entry){tag_of(hash), handle});
    map->count++;
    return AS_OK;
}

/* The newer table first: who asks mostly asks for what came lately. */
uint32_t as_map_find(const struct as_map *map, uint64_t hash, const void *key, as_map_match match,
                     const void *owner)
{
    uint32_t tag = tag_of(hash);

    for (int which = map->table[1] ? 1 : 0; which >= 0 && map->table[which]; which--) {
        const struct as_map_entry *table = map->table[which];
        size_t mask = map->mask[which];

        for (size_t i = home_of(map, which, tag); table[i].tag; i = (i + 1) & mask) {
            if (table[i].tag == tag && match(owner, table[i].handle, key))
                return table[i].handle;
        }
    }
    return AS_MAP_NONE;
}

void as_map_expect(const struct as_map *map, uint64_t hash)
{
    uint32_t tag = tag_of(hash);

    for (int which = 0; which < 2 && map->table[which]; which++)
        __builtin_prefetch(&map->table[which][home_of(map, which, tag)]);
}

/* Frees place i and closes the gap: whoever may come nearer to its home does. */
static void take_out(struct as_map_entry *table, size_t mask, size_t i)
{
    for (size_t j = (i + 1) & mask; table[j].tag; j = (j + 1) & mask) {
        size_t home = table[j].tag & mask;

        if (((j - home) & mask) >= ((j - i) & mask)) {
            table[i] = table[j];
            i = j;
        }
    }
    table[i] = (struct as_map_entry){0};
}

bool as_map_remove(struct as_map *map, uint64_t hash, uint32_t handle)
{
    uint32_t tag = tag_of(hash);

    for (int which = 0; which < 2 && map->table[which]; which++) {
        struct as_map_entry *table = map->table[which];
        size_t mask = map->mask[which];

        for (size_t i = home_of(map, which, tag); table[i].tag; i = (i + 1) & mask) {
            if (table[i].tag == tag && table[i].handle == handle) {
                take_out(table, mask, i);
                map->count--;
                return true;
            }
        }
    }
    return false;
}
