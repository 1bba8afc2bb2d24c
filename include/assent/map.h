/*
 * A hash index from a key to a 32-bit handle of the owner's (a slot, a position). The keys stay with the
 * owner: the index keeps hash and handle, and asks back whether a handle bears the key.
 *
 * It grows step by step: two tables while it moves, a few entries per insert, so that no single insert
 * stalls however large it is (uthash was measured to stall 93 ms at a million).
 */
#ifndef ASSENT_MAP_H
#define ASSENT_MAP_H

#include "assent/base.h"

#define AS_MAP_NONE UINT32_MAX /* no handle; never a value */

typedef bool (*as_map_match)(const void *owner, uint32_t handle, const void *key);

struct as_map_entry {
    uint32_t tag; /* of the hash; 0: free */
    uint32_t handle;
};

struct as_map {
    struct as_map_entry *table[2]; /* [0] is being emptied into [1] while moving */
    size_t mask[2];
    size_t count;
    size_t moved;
};

void as_map_init(struct as_map *map);
void as_map_close(struct as_map *map);
/* The handle that matches, or AS_MAP_NONE. */
uint32_t as_map_find(const struct as_map *map, uint64_t hash, const void *key, as_map_match match,
                     const void *owner);
/* Fetches what a find or an insert of this hash will look at: for whoever knows in advance. */
void as_map_expect(const struct as_map *map, uint64_t hash);
/* Room for `count` more, so that as many inserts cannot fail. Stalls only if it asks for more than double. */
as_err as_map_reserve(struct as_map *map, size_t count) AS_MUSTCHECK;
/* The caller has made sure that the key is not in yet. */
as_err as_map_insert(struct as_map *map, uint64_t hash, uint32_t handle) AS_MUSTCHECK;
/* Removes this very handle; false if it is not in under that hash. */
bool as_map_remove(struct as_map *map, uint64_t hash, uint32_t handle);

/* XXH3 of bytes, for keys and checksums. */
uint64_t as_hash(const void *data, size_t len, uint64_t seed);

#endif
