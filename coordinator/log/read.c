/*
 * Reading the newest snapshot while the log runs, chunk by chunk, for a follower that needs it.
 *
 * Fault model: what is read may have rotted since it was written. That is no reason to end the
 * process, which holds the same state in memory: the reader is told, and the next snapshot replaces
 * this one.
 */
#include "coordinator/log/state.h"

static uint64_t chunk_count(const struct log *log)
{
    return log->chunk_at.len / 8;
}

/* From its frame to the next one's, or to the trailer. */
static uint64_t chunk_offset(const struct log *log, uint64_t number)
{
    return number < chunk_count(log) ? log_get64(log->chunk_at.data + number * 8) : log->newest_end;
}

as_err log_read_chunk(struct log *log, uint64_t index, uint32_t number)
{
    struct as_disk_op *op;
    uint64_t offset;
    size_t size;

    if (log->lane_ticket[LOG_READER])
        return AS_ERR_BUSY;
    if (!log->newest.index)
        return AS_ERR_NOTFOUND;
    log->read = (struct log_chunk){.index = index, .number = number};
    if (index != log->newest.index) {
        log->read.err = AS_ERR_NOTFOUND;
        log->effects.chunk = log->read;
        return AS_OK;
    }
    if (number >= chunk_count(log))
        return AS_ERR_NOTFOUND;
    offset = chunk_offset(log, number);
    size = (size_t)(chunk_offset(log, number + 1ull) - offset);
    as_buf_clear(&log->read_buf);
    if (!as_buf_extend(&log->read_buf, size))
        return AS_ERR_NOMEM;
    log->read_salt = log_snapshot_salt(&log->newest);
    log->read.last = number + 1ull == chunk_count(log);
    op = log_start(log, LOG_READER, AS_DISK_READ);
    log_name_snapshot(op->name, index, false);
    op->offset = offset;
    op->size = size;
    op->into = log->read_buf.data;
    return AS_OK;
}

void log_read_done(struct log *log, const struct as_disk_op *op, as_err err)
{
    struct log_chunk *read = &log->read;
    const uint8_t *frame = log->read_buf.data;

    read->bytes = (struct as_bytes){frame + LOG_CHUNK_HEADER, log->read_buf.len - LOG_CHUNK_HEADER};
    if (!err && !log_chunk_matches(frame, log->read_salt, read->number, read->bytes))
        err = AS_ERR_CORRUPT;
    if (err) {
        log_trace(log, AS_TRACE_SNAPSHOT_DAMAGED, op->offset, op->name, as_err_text(err));
        read->bytes = (struct as_bytes){NULL, 0};
    }
    read->err = err;
    log->effects.chunk = *read;
    log_tidy(log); /* a newer one may wait to take this one's place */
}
