/*
 * The writer: what gathered goes into the last segment, one write at a time (group commit), and
 * when a record does not fit any more, the next segment is opened:
 *
 *   header into a spare -> the spare gets its name -> seal of the old segment -> records go on
 *
 * Each arrow waits until the step before is durable. A crash before the rename leaves a spare;
 * between rename and seal, an empty last segment behind an unsealed one (RESEAL in the truth
 * table); after it, all is said.
 */
#include <string.h>

#include "assent/crash.h"
#include "coordinator/log/state.h"

#define OUT_KEEP_BYTES (1u << 20) /* a larger buffer is given back once it is written */

static void start_batch(struct log *log)
{
    struct as_disk_op *op = log_start(log, LOG_WRITER, AS_DISK_WRITE);

    log_name_segment(op->name, log->segment.start);
    op->offset = log->tail;
    op->bytes = (struct as_bytes){log->out.data + log->out_at, (size_t)log->batch.bytes};
    log->writer = LOG_WRITER_DATA;
}

/*
 * Takes as many records as fit into the segment and one write, and closes them: only now their
 * place is known, and up to where the log is durable at this moment, which is their claim.
 */
static void fit_batch(struct log *log)
{
    uint64_t room = log_data_end(log->segment.size) - log->tail;
    uint64_t durable = log->segment.start + log->tail;
    uint64_t left = log->out.len - log->out_at;

    memset(&log->batch, 0, sizeof log->batch);
    log->batch.fold = log->durable;
    if (log->tail > log_data_end(log->segment.size))
        return; /* its last record is a MARK in the place kept for that */
    while (log->batch.bytes < left) {
        uint8_t *bytes = log->out.data + log->out_at + log->batch.bytes;
        uint64_t total = log_record_total(bytes);
        uint64_t position = durable + log->batch.bytes;
        struct log_record record;
        bool sound;

        if (log->batch.bytes + total > room || log->batch.bytes + total > LOG_WRITE_BYTES_MAX)
            break;
        log_record_close(bytes, log->salt, position, durable);
        log_record_peek(bytes, &record);
        sound = log_fold_record(&log->batch.fold, &record, position);
        AS_ASSERT(sound);
        log->batch.bytes += total;
        log->batch.records++;
    }
}

/* --- Opening the next segment --- */

static void start_header(struct log *log)
{
    uint32_t slot = log_spare_find(log, LOG_SPARE_READY);
    struct as_disk_op *op;

    if (slot == LOG_SPARES)
        return; /* what gathered waits */
    log->spares[slot] = LOG_SPARE_TAKEN;
    log->next_slot = slot;
    log->next = (struct log_segment){
        .identity = log->identity,
        .size = log->config.segment_bytes,
        .start = log->segment.start + log->segment.size,
        .first = log->durable.last_index + 1,
        .prev_end = log->segment.start + log->tail,
        .fold = log->durable,
    };
    log_segment_put(log->scratch, &log->next);
    op = log_start(log, LOG_WRITER, AS_DISK_WRITE);
    log_name_spare(op->name, slot, false);
    op->bytes = (struct as_bytes){log->scratch, LOG_HEADER_BYTES};
    log->writer = LOG_WRITER_HEADER;
}

static void start_rename(struct log *log)
{
    struct as_disk_op *op = log_start(log, LOG_WRITER, AS_DISK_RENAME);

    log_name_spare(op->name, log->next_slot, false);
    log_name_segment(op->to, log->next.start);
    log->writer = LOG_WRITER_RENAME;
}

static void start_seal(struct log *log)
{
    struct log_record seal = {
        .kind = LOG_KIND_SEAL, .index = log->next.first, .term = log->next.fold.last_term};
    uint64_t position = log->segment.start + log->tail;
    struct as_disk_op *op = log_start(log, LOG_WRITER, AS_DISK_WRITE);

    log_record_put(log->scratch, &seal);
    log_record_close(log->scratch, log->salt, position, position);
    log_name_segment(op->name, log->segment.start);
    op->offset = log->tail;
    op->bytes = (struct as_bytes){log->scratch, LOG_RECORD_HEADER};
    log->writer = LOG_WRITER_SEAL;
}

static void enter_next(struct log *log)
{
    struct log_kept kept = {log->next.start, log->next.first, log->next.size};

    as_put_bytes(&log->kept, &kept, sizeof kept);
    AS_ASSERT(!log->kept.err); /* reserved when the records were appended */
    log->segment = log->next;
    log->salt = log_segment_salt(&log->segment);
    log->tail = LOG_DATA_OFFSET;
    log->writer = LOG_WRITER_IDLE;
    log_tidy(log); /* the segment left may hold nothing that is needed: votes alone, say */
}

static void renamed(struct log *log)
{
    char name[AS_FILE_NAME_MAX + 1];

    AS_CRASH_POINT("log.segment.opened");
    log->spares[log->next_slot] = LOG_SPARE_NONE;
    log_name_segment(name, log->next.start);
    log_trace(log, AS_TRACE_SEGMENT_OPENED, log->next.first, name, NULL);
    start_seal(log); /* until that is done, the snapshot lane does not touch the old one */
}

/* --- Marks --- */

static bool mark_pending(const struct log *log)
{
    return !log->marked && log->writer == LOG_WRITER_IDLE && log_pending(log) == 0 &&
           log->shot != LOG_SHOT_SWITCH && /* INSTALL comes first, perhaps when there is space */
           log->tail + 2 * LOG_RECORD_HEADER <= log->segment.size;
}

as_time log_mark_deadline(const struct log *log)
{
    return mark_pending(log) ? log->mark_at : AS_NEVER;
}

static void start_mark(struct log *log)
{
    struct log_record mark = {.kind = LOG_KIND_MARK,
                              .index = log->durable.last_index,
                              .term = log->durable.last_term,
                              .time_ms = log->durable.last_time_ms};
    uint64_t position = log->segment.start + log->tail;
    struct as_disk_op *op = log_start(log, LOG_WRITER, AS_DISK_WRITE);

    log_record_put(log->scratch, &mark);
    log_record_close(log->scratch, log->salt, position, position);
    log_name_segment(op->name, log->segment.start);
    op->offset = log->tail;
    op->bytes = (struct as_bytes){log->scratch, LOG_RECORD_HEADER};
    log->writer = LOG_WRITER_MARK;
    log->marked = true;
}

/* --- A received snapshot takes the log's place --- */

static void start_switch(struct log *log, as_time now)
{
    struct log_record install = {
        .kind = LOG_KIND_INSTALL, .index = log->newest.index, .term = log->newest.term};
    uint64_t position = log->segment.start + log->tail;
    struct as_disk_op *op;

    if (log->tail + LOG_RECORD_HEADER > log_data_end(log->segment.size)) {
        start_header(log);
        return;
    }
    op = log_start(log, LOG_WRITER, AS_DISK_WRITE);
    log_record_put(log->scratch, &install);
    log_record_close(log->scratch, log->salt, position, position);
    log_name_segment(op->name, log->segment.start);
    op->offset = log->tail;
    op->bytes = (struct as_bytes){log->scratch, LOG_RECORD_HEADER};
    log->writer = LOG_WRITER_SWITCH;
    log->marked = false;
    log->mark_at = now + log->config.mark_ms * AS_MS;
}

/* --- The lane --- */

void log_write_next(struct log *log, as_time now)
{
    struct as_buf done;

    if (log->writer != LOG_WRITER_IDLE)
        return;
    if (log->shot == LOG_SHOT_SWITCH && log->persisted_seq >= log->switch_seq &&
        log->out_at == log->out.len) {
        start_switch(log, now);
        return;
    }
    if (log->out_at == log->out.len && log->flush) {
        if (log->out.cap > OUT_KEEP_BYTES)
            as_buf_close(&log->out);
        as_buf_clear(&log->out);
        done = log->out;
        log->out = log->gather;
        log->gather = done;
        log->out_at = 0;
        log->flush = false;
    }
    if (log->out_at == log->out.len) {
        if (mark_pending(log) && now >= log->mark_at)
            start_mark(log);
        return;
    }
    fit_batch(log);
    if (log->batch.bytes)
        start_batch(log);
    else
        start_header(log);
}

void log_writer_done(struct log *log, const struct as_disk_op *op, as_err err)
{
    if (err) {
        log_fail(log, op, err);
        return;
    }
    switch (log->writer) {
    case LOG_WRITER_DATA:
        log->tail += log->batch.bytes;
        log->out_at += (size_t)log->batch.bytes;
        log->durable = log->batch.fold;
        log->persisted_seq += log->batch.records;
        log->counts.records += log->batch.records;
        log->counts.bytes += log->batch.bytes;
        log->counts.syncs++;
        log->counts.batch_records_last = (uint32_t)log->batch.records;
        log->writer = LOG_WRITER_IDLE;
        return;
    case LOG_WRITER_MARK:
        log->tail += LOG_RECORD_HEADER;
        log->counts.syncs++;
        log->writer = LOG_WRITER_IDLE;
        return;
    case LOG_WRITER_SWITCH:
        log->tail += LOG_RECORD_HEADER;
        log->counts.syncs++;
        log->writer = LOG_WRITER_IDLE;
        log_switched(log);
        return;
    case LOG_WRITER_HEADER:
        start_rename(log);
        return;
    case LOG_WRITER_RENAME:
        renamed(log);
        return;
    case LOG_WRITER_SEAL:
        enter_next(log);
        return;
    case LOG_WRITER_IDLE:
        return;
    }
}
