/*
 * Which term each entry has, as runs of equal terms: what a truncation leaves as the last term, and
 * whether the log holds a snapshot's last entry, without reading entries back.
 */
#ifndef ASSENT_LOG_TERMS_H
#define ASSENT_LOG_TERMS_H

#include "assent/buf.h"

#define LOG_TERMS_BYTES_MAX (64u << 20) /* 4 million elections since the newest snapshot */

struct log_run {
    uint64_t first, term; /* of the entries from here to the next run */
};

/* `runs` is a buffer of struct log_run, ascending. */

/* From `first` on, which lies behind all other runs, entries have this term. */
as_err log_terms_add(struct as_buf *runs, uint64_t first, uint64_t term) AS_MUSTCHECK;
/* Entries from `index` on are gone. */
void log_terms_cut(struct as_buf *runs, uint64_t index);
/* Nobody asks for entries before `index` any more. */
void log_terms_forget(struct as_buf *runs, uint64_t index);
/* Of an entry the log has; 0: not known, it lies before all runs. */
uint64_t log_terms_at(const struct as_buf *runs, uint64_t index);

#endif
