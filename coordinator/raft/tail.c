/*
 * The log's newest part in memory. Fault model: reserving may fail, and then nothing changed;
 * everything else cannot.
 */
#include "coordinator/raft/tail.h"

#include <string.h>

#include "assent/alloc.h"

#define SLOTS 1024u /* of a page of them */
#define PAGES_MIN 8
#define SPARES_KEPT 4 /* an idle node gives the rest back */

struct raft_page {
    struct raft_page *next;
};

void raft_tail_init(struct raft_tail *tail, uint32_t page_bytes)
{
    *tail = (struct raft_tail){.page_bytes = page_bytes};
}

static void free_spares(struct raft_tail *tail, uint32_t kept)
{
    while (tail->spare_count > kept) {
        struct raft_page *page = tail->spare;

        tail->spare = page->next;
        tail->spare_count--;
        as_free(page);
    }
}

static void give_back(struct raft_tail *tail, uint8_t *bytes)
{
    struct raft_page *page = (struct raft_page *)(void *)bytes;

    page->next = tail->spare;
    tail->spare = page;
    tail->spare_count++;
}

/* The last ones go. */
static void drop_slot_pages(struct raft_tail *tail, uint64_t kept)
{
    while (tail->slot_page_count > kept) {
        tail->slot_page_count--;
        as_free(tail->slots[(tail->slot_page_head + tail->slot_page_count) &
                            (tail->slot_page_cap - 1)]);
    }
}

void raft_tail_close(struct raft_tail *tail)
{
    for (uint32_t i = 0; i < tail->page_count; i++)
        as_free(tail->pages[(tail->page_head + i) & (tail->page_cap - 1)]);
    free_spares(tail, 0);
    as_free(tail->pages);
    drop_slot_pages(tail, 0);
    as_free(tail->slots);
    *tail = (struct raft_tail){0};
}

static uint64_t slot_count(const struct raft_tail *tail)
{
    return tail->last_index - tail->base_index;
}

/* Pages that hold so many slots. */
static uint64_t slot_pages(const struct raft_tail *tail, uint64_t count)
{
    return (tail->slot_head + count + SLOTS - 1) / SLOTS;
}

struct raft_slot *raft_tail_slot(const struct raft_tail *tail, uint64_t index)
{
    uint64_t at = tail->slot_head + (index - tail->base_index - 1);
    struct raft_slot *page;

    AS_ASSERT(index > tail->base_index && index <= tail->last_index);
    page = tail->slots[(tail->slot_page_head + (uint32_t)(at / SLOTS)) & (tail->slot_page_cap - 1)];
    return &page[at % SLOTS];
}

/* --- Reserving --- */

/* A ring of `count` pointers from `head` on, larger: at least `wanted`, a power of two. */
static as_err grow_ring(void ***ring, uint32_t *head, uint32_t count, uint32_t *ret_cap,
                        uint64_t wanted)
{
    uint32_t cap = *ret_cap ? *ret_cap : PAGES_MIN;
    void **pages;

    if (wanted <= *ret_cap)
        return AS_OK;
    if (wanted > UINT32_MAX / 2)
        return AS_ERR_NOMEM;
    while (cap < wanted)
        cap *= 2;
    pages = as_alloc(cap * sizeof(*pages));
    if (!pages)
        return AS_ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        pages[i] = (*ring)[(*head + i) & (*ret_cap - 1)];
    as_free(*ring);
    *ring = pages;
    *ret_cap = cap;
    *head = 0;
    return AS_OK;
}

static as_err reserve_slots(struct raft_tail *tail, uint64_t wanted)
{
    uint64_t pages = slot_pages(tail, wanted);
    as_err err = grow_ring(&tail->slots, &tail->slot_page_head, tail->slot_page_count,
                           &tail->slot_page_cap, pages);

    while (!err && tail->slot_page_count < pages) {
        struct raft_slot *page = as_alloc(SLOTS * sizeof(*page));

        if (!page)
            return AS_ERR_NOMEM;
        tail->slots[(tail->slot_page_head + tail->slot_page_count) & (tail->slot_page_cap - 1)] =
            page;
        tail->slot_page_count++;
    }
    return err;
}

/* Bytes left in the page that is being filled; its number is that of `end`, if there is such a
 * page. */
static uint64_t room(const struct raft_tail *tail)
{
    uint64_t end_of_pages = (tail->page_first + tail->page_count) * tail->page_bytes;

    return end_of_pages - tail->end;
}

as_err raft_tail_reserve(struct raft_tail *tail, uint64_t count, uint64_t bytes)
{
    /* No entry is split, so a page may be left with a gap; but two neighbours together hold more
     * than one page's worth, or the second would have gone into the first. */
    uint64_t pages = bytes <= room(tail) ? 0 : 2 * bytes / tail->page_bytes + 1;
    as_err err = reserve_slots(tail, slot_count(tail) + count);

    if (!err)
        err = grow_ring(&tail->pages, &tail->page_head, tail->page_count, &tail->page_cap,
                        tail->page_count + pages);
    while (!err && tail->spare_count < pages) {
        uint8_t *page = as_alloc(tail->page_bytes);

        if (page)
            give_back(tail, page);
        else
            err = AS_ERR_NOMEM;
    }
    return err;
}

/* --- Changing --- */

static void open_page(struct raft_tail *tail)
{
    struct raft_page *page = tail->spare;

    AS_ASSERT(page && tail->page_count < tail->page_cap);
    tail->spare = page->next;
    tail->spare_count--;
    tail->end = (tail->page_first + tail->page_count) * tail->page_bytes;
    tail->pages[(tail->page_head + tail->page_count) & (tail->page_cap - 1)] = (uint8_t *)page;
    tail->page_count++;
}

void raft_tail_append(struct raft_tail *tail, const struct raft_entry *entry)
{
    uint32_t len = (uint32_t)(RAFT_ENTRY_HEADER + entry->payload.len);
    uint8_t *page;
    struct as_buf buf;

    AS_ASSERT(len <= tail->page_bytes &&
              slot_pages(tail, slot_count(tail) + 1) <= tail->slot_page_count);
    if (len > room(tail))
        open_page(tail);
    page = tail->pages[(tail->page_head + tail->page_count - 1) & (tail->page_cap - 1)];
    buf = (struct as_buf){.data = page + (tail->page_bytes - room(tail)), .cap = len, .max = len};
    raft_entry_put(&buf, entry);
    AS_ASSERT(!buf.err && buf.len == len);
    tail->last_index++;
    *raft_tail_slot(tail, tail->last_index) =
        (struct raft_slot){.term = entry->term, .at = tail->end, .bytes = buf.data, .len = len};
    tail->end += len;
}

void raft_tail_truncate(struct raft_tail *tail, uint64_t from)
{
    if (from > tail->last_index)
        return;
    tail->end = raft_tail_slot(tail, from)->at;
    tail->last_index = from - 1;
    while (tail->page_count > 0 &&
           (tail->page_first + tail->page_count - 1) * tail->page_bytes >= tail->end) {
        tail->page_count--;
        give_back(tail, tail->pages[(tail->page_head + tail->page_count) & (tail->page_cap - 1)]);
    }
    free_spares(tail, SPARES_KEPT);
}

static void drop_first_page(struct raft_tail *tail)
{
    give_back(tail, tail->pages[tail->page_head]);
    tail->page_head = (tail->page_head + 1) & (tail->page_cap - 1);
    tail->page_first++;
    tail->page_count--;
}

/* What only the first ones needed is there for later ones, or given back. */
static void cut_slots(struct raft_tail *tail, uint64_t count)
{
    uint64_t at = tail->slot_head + count, left = slot_count(tail) - count;

    for (; at >= SLOTS; at -= SLOTS) {
        uint32_t mask = tail->slot_page_cap - 1;
        void *first = tail->slots[tail->slot_page_head];

        tail->slot_page_head = (tail->slot_page_head + 1) & mask;
        tail->slots[(tail->slot_page_head + tail->slot_page_count - 1) & mask] = first;
    }
    tail->slot_head = (uint32_t)at;
    drop_slot_pages(tail, slot_pages(tail, left) + SPARES_KEPT);
}

void raft_tail_cut(struct raft_tail *tail, uint64_t to)
{
    uint64_t keep;

    if (to <= tail->base_index)
        return;
    keep = to < tail->last_index ? raft_tail_slot(tail, to + 1)->at : tail->end;
    tail->base_term = raft_tail_term(tail, to);
    tail->base_time_ms = raft_tail_time_ms(tail, to);
    cut_slots(tail, to - tail->base_index);
    tail->base_index = to;
    while (tail->page_count > 0 && (tail->page_first + 1) * tail->page_bytes <= keep)
        drop_first_page(tail);
    free_spares(tail, SPARES_KEPT);
}

void raft_tail_reset(struct raft_tail *tail, uint64_t index, uint64_t term, int64_t time_ms)
{
    while (tail->page_count > 0)
        drop_first_page(tail);
    free_spares(tail, SPARES_KEPT);
    tail->end = tail->page_first * tail->page_bytes;
    tail->slot_head = 0;
    drop_slot_pages(tail, SPARES_KEPT);
    tail->base_index = tail->last_index = index;
    tail->base_term = term;
    tail->base_time_ms = time_ms;
}

/* --- Reading --- */

uint64_t raft_tail_term(const struct raft_tail *tail, uint64_t index)
{
    return index == tail->base_index ? tail->base_term : raft_tail_slot(tail, index)->term;
}

int64_t raft_tail_time_ms(const struct raft_tail *tail, uint64_t index)
{
    struct raft_entry entry;

    if (index == tail->base_index)
        return tail->base_time_ms;
    raft_tail_entry(tail, index, &entry);
    return entry.time_ms;
}

struct as_bytes raft_tail_bytes(const struct raft_tail *tail, uint64_t index)
{
    const struct raft_slot *slot = raft_tail_slot(tail, index);

    return (struct as_bytes){slot->bytes, slot->len};
}

void raft_tail_entry(const struct raft_tail *tail, uint64_t index, struct raft_entry *ret)
{
    struct as_reader in = as_reader_of(raft_tail_bytes(tail, index));
    bool whole = raft_entry_take(&in, ret);

    AS_ASSERT(whole);
    ret->index = index;
}

struct as_bytes raft_tail_run(const struct raft_tail *tail, uint64_t from, uint64_t bytes,
                              uint32_t *ret_count)
{
    struct as_bytes run = raft_tail_bytes(tail, from);

    *ret_count = 1;
    for (uint64_t i = from + 1; i <= tail->last_index; i++) {
        struct as_bytes next = raft_tail_bytes(tail, i);

        if (next.data != run.data + run.len || run.len + next.len > bytes)
            break; /* in another page, or too much */
        run.len += next.len;
        ++*ret_count;
    }
    return run;
}

uint64_t raft_tail_seek(const struct raft_tail *tail, uint64_t term)
{
    uint64_t low = tail->base_index, high = tail->last_index + 1;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (raft_tail_term(tail, middle) < term)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t position(const struct raft_tail *tail, uint64_t index)
{
    if (index <= tail->base_index)
        index = tail->base_index + 1;
    return index > tail->last_index ? tail->end : raft_tail_slot(tail, index)->at;
}

uint64_t raft_tail_span(const struct raft_tail *tail, uint64_t from, uint64_t to)
{
    return from < to ? position(tail, to) - position(tail, from) : 0;
}
