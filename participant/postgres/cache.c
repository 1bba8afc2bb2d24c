/*
 * Statements kept prepared on a connection, by their text. The least recently used go when there
 * are too many.
 *
 * Fault model: a PREPARE that the server skipped, because the branch had failed before, is
 * forgotten again; one whose plan has become invalid is dropped. A statement may also DEALLOCATE
 * ALL from inside a function: the next use fails (26000) and the connection is closed then
 * (branch.c).
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "participant/postgres/inside.h"

struct cache_key {
    uint64_t hash;
    struct as_bytes sql;
};

void cache_init(struct conn *conn)
{
    as_map_init(&conn->by_sql);
    link_init(&conn->used);
    link_init(&conn->unused);
}

void cache_close(struct conn *conn)
{
    for (uint32_t i = 0; i < conn->cache_cap; i++) {
        as_free(conn->cache[i]->sql);
        as_free(conn->cache[i]);
    }
    as_free(conn->cache);
    as_map_close(&conn->by_sql);
}

static bool matches(const void *owner, uint32_t handle, const void *key)
{
    const struct conn *conn = owner;
    const struct cached *cached = conn->cache[handle];
    const struct cache_key *wanted = key;

    return cached->hash == wanted->hash && cached->sql_len == wanted->sql.len &&
           memcmp(cached->sql, wanted->sql.data, wanted->sql.len) == 0;
}

static struct cached *entry_new(struct conn *conn)
{
    struct cached *cached;

    if (!link_empty(&conn->unused)) {
        cached = OWNER_OF(conn->unused.next, struct cached, link);
        link_remove(&cached->link);
        return cached;
    }
    if (conn->cache_cap == conn->cache_room) {
        uint32_t room = conn->cache_room ? conn->cache_room * 2 : 16;
        struct cached **cache = as_resize(conn->cache, room * sizeof(struct cached *));

        if (!cache)
            return NULL;
        conn->cache = cache;
        conn->cache_room = room;
    }
    cached = as_alloc_zero(1, sizeof *cached);
    if (!cached)
        return NULL;
    cached->place = conn->cache_cap;
    link_init(&cached->link);
    conn->cache[conn->cache_cap++] = cached;
    return cached;
}

as_err cache_take(struct conn *conn, struct as_bytes sql, uint32_t *ret_entry, bool *ret_fresh)
{
    struct cache_key key = {as_hash(sql.data, sql.len, 0), sql};
    uint32_t place = as_map_find(&conn->by_sql, key.hash, &key, matches, conn);
    struct cached *cached;

    if (place != AS_MAP_NONE) {
        cached = conn->cache[place];
        link_remove(&cached->link);
        link_push(&conn->used, &cached->link);
        *ret_entry = place;
        *ret_fresh = false;
        return AS_OK;
    }
    cached = entry_new(conn);
    if (!cached)
        return AS_ERR_NOMEM;
    cached->sql = as_alloc(sql.len ? sql.len : 1);
    if (!cached->sql || as_map_insert(&conn->by_sql, key.hash, cached->place)) {
        as_free(cached->sql);
        cached->sql = NULL;
        link_push(&conn->unused, &cached->link);
        return AS_ERR_NOMEM;
    }
    memcpy(cached->sql, sql.data, sql.len);
    cached->sql_len = (uint32_t)sql.len;
    cached->hash = key.hash;
    snprintf(cached->name, sizeof cached->name, "s%u", conn->cache_next++);
    link_push(&conn->used, &cached->link);
    conn->cache_count++;
    *ret_entry = cached->place;
    *ret_fresh = true;
    return AS_OK;
}

void cache_forget(struct conn *conn, uint32_t entry)
{
    struct cached *cached = conn->cache[entry];

    if (!cached->sql)
        return;
    (void)as_map_remove(&conn->by_sql, cached->hash, entry);
    as_free(cached->sql);
    cached->sql = NULL;
    link_remove(&cached->link);
    link_push(&conn->unused, &cached->link);
    conn->cache_count--;
}

const char *cache_name(const struct conn *conn, uint32_t entry)
{
    return conn->cache[entry]->name;
}

void cache_retire(struct conn *conn, uint32_t entry)
{
    struct cached *cached = conn->cache[entry];

    if (!cached->sql)
        return;
    link_remove(&cached->link);
    link_append(&conn->used, &cached->link);
    conn->retired++;
}

/* In a pipeline of its own ahead of the branch, so that neither can make the other fail. */
bool cache_trim(struct conn *conn)
{
    uint32_t surplus =
        conn->cache_count > STATEMENTS_KEPT ? conn->cache_count - STATEMENTS_KEPT : 0;

    if (surplus < conn->retired)
        surplus = conn->retired;
    conn->retired = 0;
    if (surplus == 0)
        return true;
    for (; surplus > 0 && !link_empty(&conn->used); surplus--) {
        struct cached *cached = OWNER_OF(conn->used.prev, struct cached, link);
        char sql[48];

        snprintf(sql, sizeof sql, "DEALLOCATE %s", cached->name);
        if (!conn_send_text(conn, sql, EXPECT_DROP))
            return false;
        cache_forget(conn, cached->place);
    }
    return conn_sync(conn, false);
}
