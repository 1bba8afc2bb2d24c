/*
 * The running log, shared by the files of this room only.
 *
 * Four lanes, each with at most one disk operation in flight, so that nothing that depends on
 * another is ever started together with it (the effects of one step may be carried out in any
 * order): writer    records into the last segment, in order; opens the next segment maker creates a
 * spare segment ahead of use snapshot  writes a snapshot, then removes or recycles what it made
 * superfluous
 */
#ifndef ASSENT_LOG_STATE_H
#define ASSENT_LOG_STATE_H

#include "assent/buf.h"
#include "coordinator/log/format.h"
#include "coordinator/log/log.h"
#include "coordinator/log/terms.h"

#define LOG_GATHER_BYTES_MAX (64u << 20) /* waiting to be written; more is refused with NOMEM */
#define LOG_OPS 20                       /* any 4 in use leave a run of 4 free */
#define LOG_TRACES 8

enum log_lane { LOG_WRITER, LOG_MAKER, LOG_SNAPSHOT, LOG_READER, LOG_LANES };

enum log_writer {
    LOG_WRITER_IDLE,
    LOG_WRITER_DATA,
    LOG_WRITER_MARK,
    LOG_WRITER_HEADER, /* of the next segment, into a spare */
    LOG_WRITER_RENAME, /* the spare gets its name */
    LOG_WRITER_SEAL,   /* of the segment left: its successor exists */
    LOG_WRITER_SWITCH, /* INSTALL: a received snapshot took the place of all before */
};

enum log_maker { LOG_MAKER_IDLE, LOG_MAKER_CREATE, LOG_MAKER_RENAME, LOG_MAKER_REMOVE };

enum log_shot {
    LOG_SHOT_IDLE,
    LOG_SHOT_WANTS, /* the next chunk; no operation in flight */
    LOG_SHOT_APPEND,
    LOG_SHOT_SYNC,
    LOG_SHOT_RENAME,
    LOG_SHOT_SWITCH, /* received: waits until the writer has said so in the log */
    LOG_SHOT_TIDY_SEGMENT,
    LOG_SHOT_TIDY_SNAPSHOT,
    LOG_SHOT_TIDY_WAIT, /* the old snapshot is being read */
    LOG_SHOT_REMOVE,    /* given up */
};

enum log_spare { LOG_SPARE_NONE, LOG_SPARE_MAKING, LOG_SPARE_READY, LOG_SPARE_TAKEN };

struct log_kept { /* a segment file that exists */
    uint64_t start, first, size;
};

struct log {
    struct log_config config; /* defaults filled in */
    struct log_identity identity;
    char fatal[256]; /* not empty: nothing is accepted any more */

    /* Operations in flight. */
    struct as_disk_op ops[LOG_OPS];
    bool op_used[LOG_OPS];
    uint64_t lane_ticket[LOG_LANES]; /* 0: none */
    uint32_t lane_op[LOG_LANES];
    uint64_t ticket_last;
    uint32_t run, run_count; /* this step's */
    struct log_effects effects;
    struct as_trace traces[LOG_TRACES];
    size_t trace_count;
    char trace_name[AS_FILE_NAME_MAX + 1];

    /* Records: gather -> out -> segment. `fold` tells what was appended, `durable` what was synced.
     */
    struct as_buf gather, out;
    size_t out_at; /* what of `out` is durable */
    bool flush;    /* write what gathered as soon as the writer is idle */
    struct log_fold fold, durable;
    struct as_buf runs; /* terms of what was appended (terms.h) */
    uint64_t written_seq, persisted_seq;
    uint64_t cut_seq,
        cut_index; /* until the first is persisted, entries only up to the second are */
    uint64_t entry_bytes, entry_bytes_gone; /* ever appended; behind the newest snapshot's */
    as_time mark_at;
    bool marked; /* the last record is a MARK, or there is none */

    /* The last segment. */
    struct log_segment segment;
    uint64_t salt;
    uint64_t tail;      /* offset behind its last durable record */
    struct as_buf kept; /* of struct log_kept: all segments, the last one too */

    /* Writer lane. */
    enum log_writer writer;
    struct {
        uint64_t bytes, records; /* one sequence number each */
        struct log_fold fold;    /* behind it */
    } batch;
    struct log_segment next; /* being opened */
    uint32_t next_slot;
    uint8_t scratch[LOG_HEADER_BYTES]; /* header, seal, mark: bytes of the writer's operation */

    /* Maker lane and spares. */
    enum log_maker maker;
    uint32_t maker_slot;
    enum log_spare spares[LOG_SPARES];
    bool starved; /* the last creation failed for want of space, and no spare came since */
    bool full;
    as_time retry_at;

    /* Snapshot lane. */
    enum log_shot shot;
    struct log_snapshot snapshot; /* being written */
    struct log_snapshot newest;   /* index 0: there is none */
    struct as_buf chunk_at;       /* u64: where its chunks begin */
    uint64_t newest_end;          /* and where the last one ends */
    uint64_t snapshot_old;        /* to be removed */
    uint64_t shot_bytes, shot_offset, shot_entry_bytes;
    struct as_buf shot_buf, shot_at;
    bool shot_last, shot_give_up;
    uint32_t shot_slot;
    uint64_t awaited_index, awaited_term; /* to be received as soon as the lane is free; 0: none */
    bool switching;      /* its last chunk was taken: the log is about to begin anew */
    uint64_t switch_seq; /* INSTALL comes behind this record; later ones (votes) may wait for it */

    /* Reader lane. */
    struct log_chunk read;
    struct as_buf read_buf;
    uint64_t read_salt;

    struct log_counts counts;
};

static inline struct log_kept *log_kept_at(const struct log *log, size_t i)
{
    return (struct log_kept *)(void *)log->kept.data + i;
}

static inline size_t log_kept_count(const struct log *log)
{
    return log->kept.len / sizeof(struct log_kept);
}

/* Bytes appended and not yet durable. */
static inline uint64_t log_pending(const struct log *log)
{
    return log->out.len - log->out_at + log->gather.len;
}

/* Where ordinary records of a segment must end: behind it a MARK and the SEAL have room. */
static inline uint64_t log_data_end(uint64_t segment_size)
{
    return segment_size - 2 * LOG_RECORD_HEADER;
}

/* A snapshot is being written, and will be the newest. */
static inline bool log_shot_writes(const struct log *log)
{
    return log->shot >= LOG_SHOT_WANTS && log->shot <= LOG_SHOT_RENAME && !log->shot_give_up;
}

/* Chunks of this snapshot are being read. */
static inline bool log_reads(const struct log *log, uint64_t snapshot_index)
{
    return log->lane_ticket[LOG_READER] && log->read.index == snapshot_index;
}

/* The lane must be free. The caller fills in what the kind needs. */
struct as_disk_op *log_start(struct log *log, enum log_lane lane, enum as_disk_kind kind);
/* `name` is copied if it is given. */
void log_trace(struct log *log, enum as_trace_kind kind, uint64_t number, const char *name,
               const char *detail);
void log_fail(struct log *log, const struct as_disk_op *op, as_err err);
void log_spare_ready(struct log *log, uint32_t slot);
/* A slot in that state, or LOG_SPARES. */
uint32_t log_spare_find(const struct log *log, enum log_spare state);

/* writer.c: starts what can be started; `done`s handle the end of their lane's operation. */
void log_write_next(struct log *log, as_time now);
void log_writer_done(struct log *log, const struct as_disk_op *op, as_err err);
as_time log_mark_deadline(const struct log *log);

/* spares.c */
void log_make_spare(struct log *log, as_time now);
void log_maker_done(struct log *log, const struct as_disk_op *op, as_err err, as_time now);
void log_update_full(struct log *log);
/* What may be left of the last segment for others when there is no space for another one. */
enum log_need {
    LOG_NEED_WORK,  /* new work comes first to an end */
    LOG_NEED_ENTRY, /* aborts, finishes */
    LOG_NEED_STATE, /* votes, truncations: without them a node can follow no leader */
};
/* Whether a record of `total` bytes may be taken in (NOSPACE otherwise). */
bool log_has_room(const struct log *log, uint64_t total, enum log_need need);

/* snapshot.c */
as_err log_snapshot_begin(struct log *log, uint64_t index, uint64_t term) AS_MUSTCHECK;
as_err log_snapshot_chunk(struct log *log, struct as_bytes bytes, bool last,
                          bool received) AS_MUSTCHECK;
as_err log_snapshot_give_up(struct log *log) AS_MUSTCHECK;
as_err log_install_begin(struct log *log, uint64_t index, uint64_t term) AS_MUSTCHECK;
as_err log_install_give_up(struct log *log) AS_MUSTCHECK;
/* INSTALL is durable. */
void log_switched(struct log *log);
/* Takes away what is not needed any more, unless the lane is busy: then that comes behind it. */
void log_tidy(struct log *log);
void log_shot_done(struct log *log, const struct as_disk_op *op, as_err err);

/* read.c */
as_err log_read_chunk(struct log *log, uint64_t index, uint32_t number) AS_MUSTCHECK;
void log_read_done(struct log *log, const struct as_disk_op *op, as_err err);

#endif
