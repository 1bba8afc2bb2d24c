/*
 * Writing a snapshot, taken here or received from the leader, and taking away what is not needed any
 * more:
 *
 *   chunks under a temporary name -> sync -> rename -> (received: INSTALL) -> old segments, oldest
 *   first -> the old snapshot
 *
 * Each arrow waits. A crash before the rename leaves a temporary file, which is removed at open;
 * after it, older segments that the next opening takes away. A missing INSTALL is the first thing
 * that the log writes after its opening. The vote stands in every segment's header, so none is lost here.
 */
#include <string.h>

#include "assent/crash.h"
#include "coordinator/log/state.h"

/* --- Beginning and ending --- */

static void begin(struct log *log, uint64_t index, uint64_t term, bool received)
{
    log->snapshot = (struct log_snapshot){
        .identity = log->identity,
        .index = index,
        .term = term,
        .durable = log->segment.start + log->tail,
        .last_time_ms = log->durable.last_time_ms,
        .received = received,
    };
    log->shot_bytes = log->shot_offset = 0;
    log->shot_entry_bytes = log->entry_bytes;
    log->shot_last = log->shot_give_up = false;
    as_buf_clear(&log->shot_at);
}

static void want_chunk(struct log *log)
{
    log->shot = LOG_SHOT_WANTS;
    if (log->snapshot.received)
        log->effects.install_wants_chunk = true;
    else
        log->effects.snapshot_wants_chunk = true;
}

static void start_remove(struct log *log)
{
    struct as_disk_op *op = log_start(log, LOG_SNAPSHOT, AS_DISK_REMOVE);

    log_name_snapshot(op->name, log->snapshot.index, true);
    log->shot = LOG_SHOT_REMOVE;
}

/* False: it is too late, or there is nothing to stop. */
static bool stop_writing(struct log *log)
{
    if (!log_shot_writes(log) || log->shot == LOG_SHOT_RENAME)
        return false;
    log->shot_give_up = true;
    log->switching = false;
    if (log->shot == LOG_SHOT_WANTS)
        start_remove(log);
    return true;
}

as_err log_snapshot_begin(struct log *log, uint64_t index, uint64_t term)
{
    if (log->shot != LOG_SHOT_IDLE)
        return AS_ERR_BUSY;
    if (index > log_persisted_index(log) || index <= log->newest.index ||
        term != log_terms_at(&log->runs, index))
        return AS_ERR_INVALID;
    begin(log, index, term, false);
    want_chunk(log);
    return AS_OK;
}

as_err log_snapshot_give_up(struct log *log)
{
    if (!log->snapshot.received)
        (void)stop_writing(log);
    return AS_OK; /* later it is complete and stays */
}

/* --- Received --- */

/* The entry itself, appended if not yet durable: then those behind it may count. */
static bool holds(const struct log *log, uint64_t index, uint64_t term)
{
    return index <= log->fold.last_index && log_terms_at(&log->runs, index) == term;
}

as_err log_install_begin(struct log *log, uint64_t index, uint64_t term)
{
    bool local = log_shot_writes(log) && !log->snapshot.received;

    if (!term || index <= log->newest.index || (local && index <= log->snapshot.index))
        return AS_ERR_INVALID;
    if (log->switching)
        return AS_ERR_BUSY;
    if (holds(log, index, term))
        return AS_ERR_EXISTS;
    if (stop_writing(log) && local)
        log->effects.snapshot_given_up = true;
    log->awaited_index = index;
    log->awaited_term = term;
    log_tidy(log);
    return AS_OK;
}

as_err log_install_give_up(struct log *log)
{
    if (log->awaited_index)
        log->awaited_index = 0;
    else if (log->snapshot.received)
        (void)stop_writing(log);
    return AS_OK;
}

/* What the switch will need when it may not fail any more. */
static as_err prepare_switch(struct log *log)
{
    size_t len = log->runs.len;
    as_err err;

    if (holds(log, log->snapshot.index, log->snapshot.term))
        return AS_ERR_EXISTS;
    err = log_terms_add(&log->runs, UINT64_MAX, 1);
    log->runs.len = len;
    return err;
}

/* Its name is durable, so the log begins anew whatever happens; now the log itself must say so. */
static void switch_log(struct log *log)
{
    log->shot = LOG_SHOT_SWITCH;
    log->switch_seq = log->written_seq; /* what was gathered before comes before */
    log->flush = log->gather.len != 0;
}

/* The log that is appended to begins anew; at open it has done so already. */
static void begin_anew(struct log *log)
{
    as_err err;

    log->fold.last_index = log->newest.index;
    log->fold.last_term = log->newest.term;
    log_terms_cut(&log->runs, 0);
    err = log_terms_add(&log->runs, log->newest.index, log->newest.term);
    AS_ASSERT(!err); /* prepare_switch */
    log->entry_bytes_gone = log->entry_bytes;
    log->switching = false;
    log->effects.install_done = log->newest.index;
}

void log_switched(struct log *log)
{
    log->durable.last_index = log->newest.index;
    log->durable.last_term = log->newest.term;
    if (log->switching)
        begin_anew(log);
    log->shot = LOG_SHOT_IDLE;
    log_tidy(log);
}

/* --- Writing --- */

static uint64_t chunk_count(const struct log *log)
{
    return log->shot_at.len / 8;
}

/* Where the chunk begins is kept, so that it can be read again by its number. */
static as_err put_chunk(struct log *log, struct as_bytes bytes, bool last)
{
    bool first = log->shot_offset == 0;
    size_t total = (first ? (size_t)LOG_HEADER_BYTES : 0) + LOG_CHUNK_HEADER + bytes.len +
                   (last ? (size_t)LOG_TRAILER_BYTES : 0);
    uint64_t salt = log_snapshot_salt(&log->snapshot), number = chunk_count(log);
    uint8_t *at;

    as_buf_clear(&log->shot_buf);
    at = as_buf_extend(&log->shot_buf, total);
    if (!at)
        return AS_ERR_NOMEM;
    as_put_u64(&log->shot_at, log->shot_offset + (first ? (size_t)LOG_HEADER_BYTES : 0));
    if (log->shot_at.err) {
        log->shot_at.err = AS_OK;
        return AS_ERR_NOMEM;
    }
    if (first) {
        log_snapshot_put(at, &log->snapshot);
        at += LOG_HEADER_BYTES;
    }
    log_chunk_put(at, salt, number, bytes, last);
    at += LOG_CHUNK_HEADER;
    if (bytes.len)
        memcpy(at, bytes.data, bytes.len);
    if (last)
        log_trailer_put(at + bytes.len, salt, number + 1, log->shot_bytes + bytes.len);
    return AS_OK;
}

as_err log_snapshot_chunk(struct log *log, struct as_bytes bytes, bool last, bool received)
{
    struct as_disk_op *op;
    as_err err = AS_OK;

    if (log->shot != LOG_SHOT_WANTS || log->snapshot.received != received)
        return AS_ERR_INVALID;
    if (bytes.len > LOG_CHUNK_BYTES_MAX - LOG_TRAILER_BYTES - LOG_CHUNK_HEADER)
        return AS_ERR_TOOBIG;
    if (received && last)
        err = prepare_switch(log);
    if (!err)
        err = put_chunk(log, bytes, last);
    if (err)
        return err;
    log->shot_bytes += bytes.len;
    log->shot_last = last;
    log->switching = received && last;
    op = log_start(log, LOG_SNAPSHOT, AS_DISK_APPEND);
    log_name_snapshot(op->name, log->snapshot.index, true);
    op->offset = log->shot_offset;
    op->bytes = as_buf_bytes(&log->shot_buf);
    log->shot_offset += log->shot_buf.len;
    log->shot = LOG_SHOT_APPEND;
    return AS_OK;
}

/* --- Tidying --- */

/* Whether all entries of the oldest segment are in the snapshot or void: when a later one was
 * opened, none stood that the snapshot does not hold. The firsts need not ascend. */
static bool oldest_is_superfluous(const struct log *log)
{
    for (size_t i = 1; i < log_kept_count(log); i++)
        if (log_kept_at(log, i)->first <= log->newest.index + 1)
            return true;
    return false;
}

static void tidy_segment(struct log *log)
{
    const struct log_kept *oldest = log_kept_at(log, 0);
    struct as_disk_op *op;

    log->shot_slot = oldest->size == log->config.segment_bytes ? log_spare_find(log, LOG_SPARE_NONE)
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
}

/* The next thing that is not needed any more; then whatever waits for the lane. */
static void tidy(struct log *log)
{
    struct as_disk_op *op;

    if (oldest_is_superfluous(log)) {
        tidy_segment(log);
    } else if (log->snapshot_old && log_reads(log, log->snapshot_old)) {
        log->shot = LOG_SHOT_TIDY_WAIT;
    } else if (log->snapshot_old) {
        op = log_start(log, LOG_SNAPSHOT, AS_DISK_REMOVE);
        log_name_snapshot(op->name, log->snapshot_old, false);
        log->shot = LOG_SHOT_TIDY_SNAPSHOT;
    } else if (log->awaited_index) {
        begin(log, log->awaited_index, log->awaited_term, true);
        log->awaited_index = 0;
        want_chunk(log);
    } else {
        log->shot = LOG_SHOT_IDLE;
    }
}

void log_tidy(struct log *log)
{
    if (log->shot == LOG_SHOT_IDLE || log->shot == LOG_SHOT_TIDY_WAIT)
        tidy(log);
}

/* --- The lane --- */

static void start_next(struct log *log, enum as_disk_kind kind, enum log_shot shot)
{
    struct as_disk_op *op = log_start(log, LOG_SNAPSHOT, kind);

    log_name_snapshot(op->name, log->snapshot.index, true);
    if (kind == AS_DISK_RENAME)
        log_name_snapshot(op->to, log->snapshot.index, false);
    log->shot = shot;
}

static void renamed(struct log *log)
{
    struct as_buf chunk_at = log->chunk_at;
    char name[AS_FILE_NAME_MAX + 1];

    AS_CRASH_POINT("log.snapshot.renamed");
    log->snapshot_old = log->newest.index;
    log->newest = log->snapshot;
    log->newest_end = log->shot_offset - LOG_TRAILER_BYTES;
    log->chunk_at = log->shot_at;
    log->shot_at = chunk_at;
    log->counts.snapshots++;
    log_name_snapshot(name, log->newest.index, false);
    log_trace(log, AS_TRACE_SNAPSHOT_WRITTEN, log->newest.index, name, NULL);
    if (log->newest.received) {
        switch_log(log);
        return;
    }
    log->entry_bytes_gone = log->shot_entry_bytes;
    log_terms_forget(&log->runs, log->newest.index);
    log->effects.snapshot_done = log->newest.index;
    tidy(log);
}

static void ended(struct log *log)
{
    switch (log->shot) {
    case LOG_SHOT_APPEND:
        if (log->shot_give_up)
            start_remove(log);
        else if (log->shot_last)
            start_next(log, AS_DISK_SYNC, LOG_SHOT_SYNC);
        else
            want_chunk(log);
        return;
    case LOG_SHOT_SYNC:
        AS_CRASH_POINT("log.snapshot.written");
        if (log->shot_give_up)
            start_remove(log);
        else
            start_next(log, AS_DISK_RENAME, LOG_SHOT_RENAME);
        return;
    case LOG_SHOT_RENAME:
        renamed(log);
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
    case LOG_SHOT_SWITCH:
    case LOG_SHOT_TIDY_WAIT:
        return;
    }
}

/* Half a snapshot is worth nothing and keeps the space that is missing. */
static void no_space(struct log *log, const struct as_disk_op *op)
{
    log_trace(log, AS_TRACE_DISK_FULL, log->snapshot.index, op->name,
              "no space for a snapshot: given up, the log goes on");
    if (!log->shot_give_up && log->snapshot.received)
        log->effects.install_given_up = true;
    else if (!log->shot_give_up)
        log->effects.snapshot_given_up = true;
    log->switching = false;
    start_remove(log);
}

/*
 * A rename that failed may still be found by the next opening. A snapshot taken here does no harm
 * then; a received one would take the place of what is written from now on, so the process ends.
 */
void log_shot_done(struct log *log, const struct as_disk_op *op, as_err err)
{
    bool lived_with = log->shot == LOG_SHOT_APPEND || log->shot == LOG_SHOT_SYNC ||
                      (log->shot == LOG_SHOT_RENAME && !log->snapshot.received);

    if (err == AS_ERR_NOSPACE && lived_with)
        no_space(log, op);
    else if (err)
        log_fail(log, op, err);
    else
        ended(log);
}
