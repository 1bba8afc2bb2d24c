/*
 * Spare segments: made ahead of use, so that a commit never waits for 64 MiB of zeros, and
 * overwritten blocks sync faster than fresh ones. And what happens when there is no space for one:
 * new work is refused in time, while what must still be said (aborts, finishes, votes) has room,
 * until a creation succeeds.
 *
 * Fault model: a crash during creation leaves a temporary name, which the next opening removes.
 */
#include "coordinator/log/state.h"

/* Below this room new work is refused, besides the reserve: so that `full` shows before a record is
 * refused. */
#define FULL_MARGIN_BYTES 4096

uint32_t log_spare_find(const struct log *log, enum log_spare state)
{
    uint32_t slot = 0;

    while (slot < LOG_SPARES && log->spares[slot] != state)
        slot++;
    return slot;
}

void log_spare_ready(struct log *log, uint32_t slot)
{
    log->spares[slot] = LOG_SPARE_READY;
    log->starved = false;
}

/* What ordinary records may still take of the last segment; negative when more is pending than
 * fits. */
static int64_t room_left(const struct log *log)
{
    return (int64_t)log_data_end(log->segment.size) - (int64_t)(log->tail + log_pending(log));
}

static int64_t reserve_bytes(const struct log *log)
{
    return (int64_t)(log->segment.size / 8);
}

bool log_has_room(const struct log *log, uint64_t total, enum log_need need)
{
    const int64_t kept[] = {[LOG_NEED_WORK] = reserve_bytes(log),
                            [LOG_NEED_ENTRY] = reserve_bytes(log) / 8,
                            [LOG_NEED_STATE] = 0};

    return !log->starved || room_left(log) >= (int64_t)total + kept[need];
}

bool log_has_state_room(const struct log *log)
{
    return log_has_room(log, 2 * LOG_RECORD_HEADER, LOG_NEED_STATE);
}

void log_update_full(struct log *log)
{
    bool full = log->starved && room_left(log) < reserve_bytes(log) + FULL_MARGIN_BYTES;

    if (full != log->full)
        log_trace(log, full ? AS_TRACE_DISK_FULL : AS_TRACE_DISK_RECOVERED, log->segment.first,
                  NULL, full ? "no space for another segment; tried again until there is" : NULL);
    log->full = full;
}

void log_make_spare(struct log *log, as_time now)
{
    uint64_t used = log->tail + log_pending(log) - LOG_DATA_OFFSET;
    struct as_disk_op *op;

    if (log->maker != LOG_MAKER_IDLE || used < (log->segment.size - LOG_DATA_OFFSET) / 2)
        return;
    for (uint32_t slot = 0; slot < LOG_SPARES; slot++)
        if (log->spares[slot] != LOG_SPARE_NONE)
            return;
    if (log->starved && now < log->retry_at)
        return;
    log->maker_slot = 0;
    log->spares[0] = LOG_SPARE_MAKING;
    op = log_start(log, LOG_MAKER, AS_DISK_CREATE);
    log_name_spare(op->name, log->maker_slot, true);
    op->size = log->config.segment_bytes;
    log->maker = LOG_MAKER_CREATE;
}

static void no_space(struct log *log, as_time now)
{
    struct as_disk_op *op = log_start(log, LOG_MAKER, AS_DISK_REMOVE);

    /* Half a file would keep the space that is missing. */
    log_name_spare(op->name, log->maker_slot, true);
    log->maker = LOG_MAKER_REMOVE;
    log->starved = log_spare_find(log, LOG_SPARE_READY) == LOG_SPARES;
    log->retry_at = now + log->config.full_retry_ms * AS_MS;
}

void log_maker_done(struct log *log, const struct as_disk_op *op, as_err err, as_time now)
{
    if (err && (err != AS_ERR_NOSPACE || log->maker == LOG_MAKER_REMOVE)) {
        log_fail(log, op, err);
        return;
    }
    if (err) {
        no_space(log, now);
    } else if (log->maker == LOG_MAKER_CREATE) {
        struct as_disk_op *rename = log_start(log, LOG_MAKER, AS_DISK_RENAME);

        log_name_spare(rename->name, log->maker_slot, true);
        log_name_spare(rename->to, log->maker_slot, false);
        log->maker = LOG_MAKER_RENAME;
    } else {
        if (log->maker == LOG_MAKER_RENAME)
            log_spare_ready(log, log->maker_slot);
        else
            log->spares[log->maker_slot] = LOG_SPARE_NONE;
        log->maker = LOG_MAKER_IDLE;
    }
}
