/*
 * Opening a log: what lies in the directory is judged as a whole before anything is changed.
 *
 * Fault model: include/assent/disk.h. After a crash, what was not synced may be there, be missing
 * or be torn by sector, and what is visible after a mere kill of the process may still not be
 * durable.
 */
#ifndef ASSENT_LOG_RECOVER_H
#define ASSENT_LOG_RECOVER_H

#include "assent/buf.h"
#include "coordinator/log/format.h"
#include "coordinator/log/log.h"
#include "coordinator/log/terms.h"

/* --- The truth table: what stands where a segment's records end, and what that means --- */

enum log_end {
    LOG_END_NONE, /* no record of ours: zeros, old bytes, a torn or a rotten record */
    LOG_END_SEAL,
    LOG_END_MISFIT, /* an intact record that cannot follow the one before it */
};

struct log_ending {
    enum log_end end;
    bool last;    /* no segment comes after this one */
    bool claimed; /* something intact that was written later says: durable beyond this place */
    bool follows; /* the next segment's header continues exactly here; false for the last one */
};

enum log_verdict {
    LOG_VERDICT_END,     /* the log ends here; what stands behind is a torn tail: cut it */
    LOG_VERDICT_NEXT,    /* go on with the next segment */
    LOG_VERDICT_RESEAL,  /* crash between opening the next segment and sealing this one: seal, go on
                          */
    LOG_VERDICT_DAMAGED, /* from here on refusals */
    LOG_VERDICT_MISFIT,
    LOG_VERDICT_GAP,      /* sealed, but the successor is missing */
    LOG_VERDICT_STRANGER, /* there is a next segment, but it does not continue this one */
};

enum { LOG_NO, LOG_YES, LOG_ANY };

struct log_truth {
    enum log_end end;
    uint8_t last, claimed, follows; /* LOG_NO, LOG_YES or LOG_ANY */
    enum log_verdict verdict;
};

extern const struct log_truth log_truth_table[];
extern const size_t log_truth_count;

bool log_truth_matches(const struct log_truth *row, const struct log_ending *ending);
enum log_verdict log_judge(const struct log_ending *ending);

/* The configured size as used; 0: out of range. */
uint64_t log_segment_bytes(const struct log_config *config);

/* --- What is found --- */

struct log_file {
    uint64_t number; /* start of a segment, index of a snapshot, slot of a spare */
    uint64_t size;
    char name[AS_FILE_NAME_MAX + 1];
};

/* A sliding view of one file: large blocks, so that memory stays bounded however long a segment is.
 */
struct log_window {
    const struct as_disk *disk;
    const char *name;
    uint64_t size; /* of the file */
    uint64_t at;
    size_t len, cap;
    uint8_t *data; /* owned */
    as_err err;    /* why a view is NULL */
};

struct log_recovery {
    const struct log_config *config;
    const struct as_disk *disk;
    const struct log_replay *replay;
    struct log_report *report;
    struct as_buf files[LOG_NAME_LEFTOVER + 1]; /* of struct log_file, by kind; two are sorted */
    struct as_buf headers;                      /* of struct log_segment, as the segments */
    struct log_window window;
    struct log_identity identity;
    struct log_snapshot snapshot; /* index 0: none */
    size_t base;                  /* segments before it lie wholly below the snapshot: not needed */
    struct log_fold fold;         /* at the end of the log */
    struct as_buf runs;           /* terms of its entries (terms.h) */
    struct as_buf chunk_at;       /* u64: where the snapshot's chunks begin */
    uint64_t snapshot_end;        /* and where the last one ends */
    bool install;                 /* the received snapshot takes the place of the log found */
    uint64_t handed_last;         /* the last entry handed over that stands; 0: none */
    uint64_t
        void_from; /* entries from here on are void already, and are not handed over; 0: none */
    uint64_t entry_bytes; /* of entries behind the snapshot */
    bool marked;          /* the last record is a MARK */
    bool reseal;          /* the segment before the last one lacks its seal */
    uint64_t seal_offset; /* in the segment before the last one */
    uint64_t tail;        /* offset in the last segment where the log ends */
    uint64_t garbage_end; /* no intact record of a torn write reaches further */
    uint32_t spares;      /* a bit for each slot that is ready */
};

static inline size_t log_file_count(const struct log_recovery *in, enum log_name kind)
{
    return in->files[kind].len / sizeof(struct log_file);
}

static inline struct log_file *log_file_at(const struct log_recovery *in, enum log_name kind,
                                           size_t i)
{
    return (struct log_file *)(void *)in->files[kind].data + i;
}

static inline struct log_segment *log_header_at(const struct log_recovery *in, size_t i)
{
    return (struct log_segment *)(void *)in->headers.data + i;
}

/* Reads and judges all of it and replays; changes nothing. log_recovery_close in any case. */
as_err log_recover(struct log_recovery *in) AS_MUSTCHECK;
void log_recovery_close(struct log_recovery *in);

/* Lists the directory into in->files. */
as_err log_list(struct log_recovery *in) AS_MUSTCHECK;
/* Makes durable what was found, cuts the tail, removes what is not needed. Nothing before it is
 * acted on. */
as_err log_repair(struct log_recovery *in) AS_MUSTCHECK;
as_err log_snapshot_replay(struct log_recovery *in, const struct log_file *file) AS_MUSTCHECK;
/* Whose file it is; sets *identity from the first one where config leaves it open. */
as_err log_identity_check(struct log_recovery *in, const char *name,
                          const struct log_identity *found) AS_MUSTCHECK;
/* Entries from `index` on that were handed over are void; scan.c. */
as_err log_deliver_truncation(struct log_recovery *in, uint64_t index) AS_MUSTCHECK;
/* Fills report->detail and returns err. */
as_err log_refuse(struct log_recovery *in, as_err err, const char *format, ...) AS_MUSTCHECK
    __attribute__((format(printf, 3, 4)));

void log_window_open(struct log_window *window, const struct log_file *file);
/* `len` bytes at `offset`, which the file has; at most `cap`. NULL: window->err. */
const uint8_t *log_window_load(struct log_window *window, uint64_t offset, size_t len);
static inline const uint8_t *log_window_get(struct log_window *window, uint64_t offset, size_t len)
{
    if (offset >= window->at && offset + len <= window->at + window->len)
        return window->data + (offset - window->at);
    return log_window_load(window, offset, len);
}

/* Where records of segment `i` end, what stands there, and what an intact later record claims. */
struct log_scan {
    enum log_end end;
    uint64_t offset;
};
as_err log_scan_records(struct log_recovery *in, size_t i, struct log_scan *ret_scan) AS_MUSTCHECK;
/* Whether anything intact written later claims `position` durable; *ret_end: where the last such or
 * any other intact record behind `offset` of segment `i` ends (offset: none). */
as_err log_scan_claims(struct log_recovery *in, size_t i, uint64_t offset, bool *ret_claimed,
                       uint64_t *ret_end) AS_MUSTCHECK;

/* The first segment of a new log; `term` is the one it begins in, with no vote given: 0 of a new cluster. */
as_err log_make_first(const struct log_config *config, const struct as_disk *disk,
                      uint64_t term) AS_MUSTCHECK;

#endif
