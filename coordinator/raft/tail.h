/*
 * The newest part of the log in memory: entries in the form in which messages carry them, end to
 * end in pages, and slots that say where each one stands. So a message to a peer is a view into a
 * page, appending is a copy, and nothing is allocated for a single entry.
 *
 *   base | first ... last      entries up to base are in the snapshot (base_index 0: there are none)
 */
#ifndef ASSENT_RAFT_TAIL_H
#define ASSENT_RAFT_TAIL_H

#include "coordinator/raft/raft.h"

#define RAFT_ENTRY_HEADER 21 /* u64 term, i64 time, u8 type, u32 length */

struct raft_slot {
    uint64_t term;
    uint64_t write; /* its number in the stream of writes; 0: the disk held it at the start */
    uint64_t at;    /* position: page number times page size, plus offset. Grows with the index */
    const uint8_t *bytes; /* there, in its page */
    uint32_t len;
};

struct raft_page; /* spare ones are a list */

struct raft_tail {
    uint32_t page_bytes;
    uint64_t base_index, base_term;
    int64_t base_time_ms;
    uint64_t last_index;
    void **slots; /* ring of pages of raft_slot, of base_index + 1 and on: growing copies none */
    uint32_t slot_page_head, slot_page_count, slot_page_cap;
    uint32_t slot_head; /* in the first of them */
    void **pages;       /* ring */
    uint32_t page_head, page_count, page_cap;
    uint64_t page_first; /* number of the first one */
    uint64_t end;        /* position behind the last entry */
    struct raft_page *spare;
    uint32_t spare_count;
};

void raft_tail_init(struct raft_tail *tail, uint32_t page_bytes);
void raft_tail_close(struct raft_tail *tail);
/* Room for so many entries of so many encoded bytes in all, each of them at most a page. */
as_err raft_tail_reserve(struct raft_tail *tail, uint64_t count, uint64_t bytes) AS_MUSTCHECK;
/* From what was reserved; the index is the next one. */
void raft_tail_append(struct raft_tail *tail, const struct raft_entry *entry);
/* Forgets the entries from `from` on. */
void raft_tail_truncate(struct raft_tail *tail, uint64_t from);
/* Forgets those up to `to`: they are in a snapshot. */
void raft_tail_cut(struct raft_tail *tail, uint64_t to);
/* Forgets all: the log goes on behind a snapshot. */
void raft_tail_reset(struct raft_tail *tail, uint64_t index, uint64_t term, int64_t time_ms);

struct raft_slot *raft_tail_slot(const struct raft_tail *tail, uint64_t index);
/* Of an index from base_index to last_index. */
uint64_t raft_tail_term(const struct raft_tail *tail, uint64_t index);
int64_t raft_tail_time_ms(const struct raft_tail *tail, uint64_t index);
void raft_tail_entry(const struct raft_tail *tail, uint64_t index, struct raft_entry *ret);
/* The entry as it is encoded. */
struct as_bytes raft_tail_bytes(const struct raft_tail *tail, uint64_t index);
/* Entries from `from` on that lie together and have at most `bytes`, but at least one. */
struct as_bytes raft_tail_run(const struct raft_tail *tail, uint64_t from, uint64_t bytes,
                              uint32_t *ret_count);
/* The first index, from base_index on, whose term is at least `term`; last_index + 1: none. */
uint64_t raft_tail_seek(const struct raft_tail *tail, uint64_t term);
/* Bytes from entry `from` on, up to but not including `to`; what is cut counts nothing. */
uint64_t raft_tail_span(const struct raft_tail *tail, uint64_t from, uint64_t to);

#endif
