/*
 * Writing a snapshot, and taking away what it made superfluous:
 *
 *   chunks under a temporary name -> sync -> rename -> old segments, oldest first -> the old
 * snapshot
 *
 * Each arrow waits. A crash before the rename leaves a temporary file, which is removed at open;
 * after it, older segments that the next opening takes away. The vote stands in every segment's
 * header, so none is lost here.
 */
#include <string.h>

#include "assent/crash.h"
#include "coordinator/log/state.h"

as_err log_snapshot_begin(struct log *log, uint64_t index, uint64_t term,
                          struct log_effects *effects)
{
    if (log->shot != LOG_SHOT_IDLE)
        return AS_ERR_BUSY;
    if (index > log_persisted_index(log) || index <= log->snapshot_index ||
        term != log_terms_at(&log->runs, index))
        return AS_ERR_INVALID;
    log->snapshot = (struct log_snapshot){
        .identity = log->identity,
        .index = index,
        .term = term,
        .durable = log->segment.start + log->tail,
        .last_time_ms = log->durable.last_time_ms,
    };
    log->shot_bytes = log->shot_chunks = log->shot_offset = 0;
    log->shot_entry_bytes = log->entry_bytes;
    log->shot_last = log->shot_give_up = false;
    log->shot = LOG_SHOT_WANTS;
    effects->snapshot_wants_chunk = true;
    return AS_OK;
}

as_err log_snapshot_chunk(struct log *log, struct as_bytes bytes, bool last)
{
    bool first = log->shot_offset == 0;
    size_t total = (first ? (size_t)LOG_HEADER_BYTES : 0) + LOG_CHUNK_HEADER + bytes.len +
                   (last ? (size_t)LOG_TRAILER_BYTES : 0);
    uint64_t salt = log_snapshot_salt(&log->snapshot);
    struct as_disk_op *op;
    uint8_t *at;

    if (log->shot != LOG_SHOT_WANTS)
        return AS_ERR_INVALID;
    if (bytes.len > LOG_CHUNK_BYTES_MAX - LOG_TRAILER_BYTES - LOG_CHUNK_HEADER)
        return AS_ERR_TOOBIG;
    as_buf_clear(&log->shot_buf);
    at = as_buf_extend(&log->shot_buf, total);
    if (!at)
        return AS_ERR_NOMEM;
    if (first) {
        log_snapshot_put(at, &log->snapshot);
        at += LOG_HEADER_BYTES;
    }
    log_chunk_put(at, salt, log->shot_chunks, bytes, last);
    at += LOG_CHUNK_HEADER;
    if (bytes.len)
        memcpy(at, bytes.data, bytes.len);
    log->shot_chunks++;
    log->shot_bytes += bytes.len;
    if (last)
        log_trailer_put(at + bytes.len, salt, log->shot_chunks, log->shot_bytes);
    log->shot_last = last;
    op = log_start(log, LOG_SNAPSHOT, AS_DISK_APPEND);
    log_name_snapshot(op->name, log->snapshot.index, true);
    op->offset = log->shot_offset;
    op->bytes = as_buf_bytes(&log->shot_buf);
    log->shot_offset += total;
    log->shot = LOG_SHOT_APPEND;
    return AS_OK;
}

static void start_remove(struct log *log)
{
    struct as_disk_op *op = log_start(log, LOG_SNAPSHOT, AS_DISK_REMOVE);

    log_name_snapshot(op->name, log->snapshot.index, true);
    log->shot = LOG_SHOT_REMOVE;
}

as_err log_snapshot_give_up(struct log *log)
{
    if (log->shot == LOG_SHOT_WANTS)
        start_remove(log);
    else if (log->shot == LOG_SHOT_APPEND || log->shot == LOG_SHOT_SYNC)
        log->shot_give_up = true;
    return AS_OK; /* later it is complete and stays */
}

/* Whether all entries of the oldest segment are in the snapshot or void: when a later one was
 * opened, none stood that the snapshot does not hold. The firsts need not ascend. */
static bool oldest_is_superfluous(const struct log *log)
{
    for (size_t i = 1; i < log_kept_count(log); i++)
        if (log_kept_at(log, i)->first <= log->snapshot_index + 1)
            return true;
    return false;
}

/* The next thing that is not needed any more. */
static void tidy(struct log *log)
{
    struct as_disk_op *op;

    if (oldest_is_superfluous(log)) {
        const struct log_kept *oldest = log_kept_at(log, 0);

        log->shot_slot = oldest->size == log->config.segment_bytes
                             ? log_spare_find(log, LOG_SPARE_NONE)
                             : LOG_SPARES;
        if (log->shot_slot < LOG_SPARES) {
            /* Used again: its old records are told by their seed, its header is written anew. */
            op = log_start(log, LOG_SNAPSHOT, AS_DISK_RENAME);
            log_name_spare(op->to, log->shot_slot, false);
            log->spares[log->shot_slot] = LOG_SPARE_MAKING;
        } else {
            op = log_start(log, LOG_SNAPSHOT, AS_DISK_REMOVE);
        }
        log_name_segment(op->name, oldest->start);
        log->shot = LOG_SHOT_TIDY_SEGMENT;
    } else if (log->snapshot_old) {
        op = log_start(log, LOG_SNAPSHOT, AS_DISK_REMOVE);
        log_name_snapshot(op->name, log->snapshot_old, false);
        log->shot = LOG_SHOT_TIDY_SNAPSHOT;
    } else {
        log->shot = LOG_SHOT_IDLE;
    }
}

void log_tidy(struct log *log)
{
    if (log->shot == LOG_SHOT_IDLE)
        tidy(log);
}

static void start_next(struct log *log, enum as_disk_kind kind, enum log_shot shot)
{
    struct as_disk_op *op = log_start(log, LOG_SNAPSHOT, kind);

    log_name_snapshot(op->name, log->snapshot.index, true);
    if (kind == AS_DISK_RENAME)
        log_name_snapshot(op->to, log->snapshot.index, false);
    log->shot = shot;
}

static void renamed(struct log *log, struct log_effects *effects)
{
    char name[AS_FILE_NAME_MAX + 1];

    AS_CRASH_POINT("log.snapshot.renamed");
    log->snapshot_old = log->snapshot_index;
    log->snapshot_index = log->snapshot.index;
    log->entry_bytes_gone = log->shot_entry_bytes;
    log_terms_forget(&log->runs, log->snapshot_index);
    log->counts.snapshots++;
    effects->snapshot_done = log->snapshot_index;
    log_name_snapshot(name, log->snapshot_index, false);
    log_trace(log, AS_TRACE_SNAPSHOT_WRITTEN, log->snapshot_index, name, NULL);
    tidy(log);
}

static void ended(struct log *log, struct log_effects *effects)
{
    switch (log->shot) {
    case LOG_SHOT_APPEND:
        if (log->shot_give_up) {
            start_remove(log);
        } else if (log->shot_last) {
            start_next(log, AS_DISK_SYNC, LOG_SHOT_SYNC);
        } else {
            log->shot = LOG_SHOT_WANTS;
            effects->snapshot_wants_chunk = true;
        }
        return;
    case LOG_SHOT_SYNC:
        AS_CRASH_POINT("log.snapshot.written");
        if (log->shot_give_up)
            start_remove(log);
        else
            start_next(log, AS_DISK_RENAME, LOG_SHOT_RENAME);
        return;
    case LOG_SHOT_RENAME:
        renamed(log, effects);
        return;
    case LOG_SHOT_TIDY_SEGMENT:
        if (log->shot_slot < LOG_SPARES)
            log_spare_ready(log, log->shot_slot);
        as_buf_consume(&log->kept, sizeof(struct log_kept));
        tidy(log);
        return;
    case LOG_SHOT_TIDY_SNAPSHOT:
        log->snapshot_old = 0;
        tidy(log);
        return;
    case LOG_SHOT_REMOVE:
        tidy(log);
        return;
    case LOG_SHOT_IDLE:
    case LOG_SHOT_WANTS:
        return;
    }
}

void log_shot_done(struct log *log, const struct as_disk_op *op, as_err err,
                   struct log_effects *effects)
{
    bool writing =
        log->shot == LOG_SHOT_APPEND || log->shot == LOG_SHOT_SYNC || log->shot == LOG_SHOT_RENAME;

    if (err == AS_ERR_NOSPACE && writing) {
        /* Half a snapshot is worth nothing and keeps the space that is missing. */
        log_trace(log, AS_TRACE_DISK_FULL, log->snapshot.index, op->name,
                  "no space for a snapshot: given up, the log goes on");
        effects->snapshot_given_up = true;
        start_remove(log);
    } else if (err) {
        log_fail(log, op, err);
    } else {
        ended(log, effects);
    }
}
