/*
 * The running log: one step per event. What is durable is told only by the step that handles the
 * end of a write; nothing is started before what it depends on has ended.
 *
 * Fault model: include/assent/disk.h. Any operation may fail. Want of space is lived with, except
 * inside a segment, whose blocks were written before; every other failure is fatal, because after a
 * failed write or sync nobody knows what the disk holds.
 */
#include "coordinator/log/log.h"

#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/log/recover.h"
#include "coordinator/log/state.h"

#define MARK_MS 100
#define FULL_RETRY_MS 1000

/* --- Operations and traces of a step --- */

static void begin_step(struct log *log)
{
    uint32_t run = 0;

    log->trace_count = 0;
    log->run_count = 0;
    for (uint32_t i = 0; i < LOG_OPS && run < LOG_LANES; i++) {
        run = log->op_used[i] ? 0 : run + 1;
        log->run = i + 1 - run;
    }
    AS_ASSERT(run == LOG_LANES);
}

struct as_disk_op *log_start(struct log *log, enum log_lane lane, enum as_disk_kind kind)
{
    uint32_t at = log->run + log->run_count++;
    struct as_disk_op *op = &log->ops[at];

    AS_ASSERT(!log->lane_ticket[lane] && log->run_count <= LOG_LANES);
    *op = (struct as_disk_op){.ticket = ++log->ticket_last, .kind = kind};
    log->op_used[at] = true;
    log->lane_op[lane] = at;
    log->lane_ticket[lane] = op->ticket;
    return op;
}

void log_trace(struct log *log, enum as_trace_kind kind, uint64_t number, const char *name,
               const char *detail)
{
    if (log->trace_count == LOG_TRACES)
        return;
    if (name)
        snprintf(log->trace_name, sizeof log->trace_name, "%s", name);
    log->traces[log->trace_count++] = (struct as_trace){
        .kind = kind, .number = number, .name = name ? log->trace_name : NULL, .detail = detail};
}

void log_fail(struct log *log, const struct as_disk_op *op, as_err err)
{
    static const char *const what[] = {
        [AS_DISK_WRITE] = "write and sync",
        [AS_DISK_CREATE] = "create",
        [AS_DISK_APPEND] = "append to",
        [AS_DISK_SYNC] = "sync",
        [AS_DISK_RENAME] = "rename",
        [AS_DISK_REMOVE] = "remove",
        [AS_DISK_READ] = "read",
    };

    if (!log->fatal[0])
        snprintf(log->fatal, sizeof log->fatal,
                 "decision log: cannot %s %s (%s): what the disk holds is not known any more",
                 what[op->kind], op->name, as_err_text(err));
}

/* --- Appending --- */

/* Segments that what is pending may need, so that opening one never has to allocate. */
static as_err reserve_kept(struct log *log, uint64_t total)
{
    uint64_t wanted = 2 + (log_pending(log) + total) / (log->config.segment_bytes / 2);
    size_t bytes = (log_kept_count(log) + (size_t)wanted) * sizeof(struct log_kept);

    if (bytes <= log->kept.cap)
        return AS_OK;
    bytes -= log->kept.len;
    if (!as_buf_extend(&log->kept, bytes)) {
        log->kept.err = AS_OK;
        return AS_ERR_NOMEM;
    }
    log->kept.len -= bytes;
    return AS_OK;
}

static as_err gather(struct log *log, const struct log_record *record)
{
    uint64_t total = log_record_bytes(record->payload.len);
    struct log_fold fold = log->fold;
    uint8_t *bytes;
    as_err err;

    if (!log_fold_record(&fold, record, 0))
        return AS_ERR_INVALID;
    err = reserve_kept(log, total);
    if (err)
        return err;
    bytes = as_buf_extend(&log->gather, (size_t)total);
    if (!bytes) {
        log->gather.err = AS_OK;
        return AS_ERR_NOMEM;
    }
    if (record->kind == LOG_KIND_ENTRY && fold.last_term != log->fold.last_term)
        err = log_terms_add(&log->runs, record->index, record->term);
    if (err) {
        log->gather.len -= (size_t)total;
        return err;
    }
    log_record_put(bytes, record);
    log->fold = fold;
    log->written_seq++;
    return AS_OK;
}

static uint64_t record_bytes_max(const struct log *log)
{
    uint64_t quarter = log->config.segment_bytes / 4;

    return quarter < AS_RECORD_BYTES_MAX ? quarter : AS_RECORD_BYTES_MAX;
}

static as_err append(struct log *log, const struct log_event *event)
{
    const struct log_entry *entry = &event->append.entry;
    struct log_record record = {.kind = LOG_KIND_ENTRY,
                                .type = entry->type,
                                .index = entry->index,
                                .term = entry->term,
                                .time_ms = entry->time_ms,
                                .payload = entry->payload};
    uint64_t total = log_record_bytes(entry->payload.len);
    as_err err;

    if (entry->payload.len > record_bytes_max(log) || total > record_bytes_max(log))
        return AS_ERR_TOOBIG;
    if (log->switching)
        return AS_ERR_BUSY;
    if (!log_has_room(log, total, event->append.forced ? LOG_NEED_WORK : LOG_NEED_ENTRY))
        return AS_ERR_NOSPACE;
    err = gather(log, &record);
    if (!err)
        log->entry_bytes += total;
    return err;
}

static as_err vote(struct log *log, const struct log_event *event)
{
    struct log_record record = {
        .kind = LOG_KIND_VOTE, .index = event->vote.voted_for, .term = event->vote.term};

    if (!log_has_room(log, LOG_RECORD_HEADER, LOG_NEED_STATE))
        return AS_ERR_NOSPACE;
    return gather(log, &record);
}

static as_err truncate(struct log *log, const struct log_event *event)
{
    uint64_t index = event->truncate.index;
    struct log_record record = {
        .kind = LOG_KIND_TRUNCATE, .index = index, .term = log_terms_at(&log->runs, index - 1)};
    as_err err;

    if (log->switching)
        return AS_ERR_BUSY;
    if (index <= log->newest.index ||
        (log_shot_writes(log) && !log->snapshot.received && index <= log->snapshot.index))
        return AS_ERR_INVALID; /* what a snapshot holds is committed */
    if (!log_has_room(log, LOG_RECORD_HEADER, LOG_NEED_STATE))
        return AS_ERR_NOSPACE;
    err = gather(log, &record);
    if (err)
        return err;
    log_terms_cut(&log->runs, index);
    if (log->cut_seq <= log->persisted_seq || log->cut_index > index - 1)
        log->cut_index = index - 1;
    log->cut_seq = log->written_seq;
    return AS_OK;
}

static as_err disk_done(struct log *log, const struct log_event *event)
{
    as_err err = event->disk_done.err;
    struct as_disk_op op;
    int lane = 0;

    while (lane < LOG_LANES &&
           (!log->lane_ticket[lane] || log->lane_ticket[lane] != event->disk_done.ticket))
        lane++;
    if (lane == LOG_LANES)
        return AS_ERR_INVALID;
    op = log->ops[log->lane_op[lane]]; /* a copy: its place may be taken again in this step */
    log->lane_ticket[lane] = 0;
    log->op_used[log->lane_op[lane]] = false;
    begin_step(log);
    if (log->fatal[0])
        return AS_OK;
    if (lane == LOG_WRITER)
        log_writer_done(log, &op, err);
    else if (lane == LOG_MAKER)
        log_maker_done(log, &op, err, event->now);
    else if (lane == LOG_READER)
        log_read_done(log, &op, err);
    else
        log_shot_done(log, &op, err);
    return AS_OK;
}

static as_err handle(struct log *log, const struct log_event *event)
{
    if (event->kind == LOG_DISK_DONE)
        return disk_done(log, event);
    if (log->fatal[0])
        return AS_ERR_IO;
    switch (event->kind) {
    case LOG_APPEND:
    case LOG_VOTE:
    case LOG_TRUNCATE: {
        as_err err = event->kind == LOG_APPEND ? append(log, event)
                     : event->kind == LOG_VOTE ? vote(log, event)
                                               : truncate(log, event);

        if (!err) {
            log->marked = false;
            log->mark_at = event->now + log->config.mark_ms * AS_MS;
            log->effects.written_seq = log->written_seq;
        }
        return err;
    }
    case LOG_FLUSH:
        log->flush = log->gather.len != 0;
        return AS_OK;
    case LOG_SNAPSHOT_BEGIN:
        return log_snapshot_begin(log, event->snapshot.index, event->snapshot.term);
    case LOG_SNAPSHOT_CHUNK:
    case LOG_INSTALL_CHUNK:
        return log_snapshot_chunk(log, event->chunk.bytes, event->chunk.last,
                                  event->kind == LOG_INSTALL_CHUNK);
    case LOG_SNAPSHOT_GIVE_UP:
        return log_snapshot_give_up(log);
    case LOG_INSTALL_BEGIN:
        return log_install_begin(log, event->install.index, event->install.term);
    case LOG_INSTALL_GIVE_UP:
        return log_install_give_up(log);
    case LOG_READ_CHUNK:
        return log_read_chunk(log, event->read.index, event->read.number);
    case LOG_TIMER:
    case LOG_DISK_DONE:
        return AS_OK;
    }
    return AS_ERR_INVALID;
}

as_err log_step(struct log *log, const struct log_event *event, struct log_effects *ret_effects)
{
    struct log_effects *effects = &log->effects;
    as_err err;

    begin_step(log);
    *effects = (struct log_effects){0};
    err = log->config.read_only ? AS_ERR_INVALID : handle(log, event);
    /* Appending only gathers: its caller need not look for operations. */
    if (!err && !log->fatal[0] && event->kind != LOG_APPEND && event->kind != LOG_VOTE &&
        event->kind != LOG_TRUNCATE) {
        log_write_next(log, event->now);
        log_make_spare(log, event->now);
        log_update_full(log);
    }
    effects->ops = &log->ops[log->run];
    effects->op_count = log->run_count;
    effects->persisted_seq = log->persisted_seq;
    effects->persisted_index = log_persisted_index(log);
    effects->full = log->full;
    effects->traces = log->traces;
    effects->trace_count = log->trace_count;
    effects->fatal = log->fatal[0] ? log->fatal : NULL;
    *ret_effects = *effects;
    return err;
}

as_time log_deadline(const struct log *log)
{
    as_time mark = log_mark_deadline(log);
    as_time retry = log->starved && log->maker == LOG_MAKER_IDLE ? log->retry_at : AS_NEVER;

    if (log->fatal[0] || log->config.read_only)
        return AS_NEVER;
    return mark < retry ? mark : retry;
}

uint64_t log_last_index(const struct log *log)
{
    return log->fold.last_index;
}

uint64_t log_persisted_index(const struct log *log)
{
    uint64_t last = log->durable.last_index;
    return log->cut_seq > log->persisted_seq && last > log->cut_index ? log->cut_index : last;
}

uint64_t log_snapshot_index(const struct log *log)
{
    return log->newest.index;
}

uint64_t log_snapshot_bytes(const struct log *log)
{
    return log->newest.index ? log->newest_end : 0;
}

uint64_t log_bytes_since_snapshot(const struct log *log)
{
    return log->entry_bytes - log->entry_bytes_gone;
}

void log_count(const struct log *log, struct log_counts *ret)
{
    *ret = log->counts;
    ret->segments = log_kept_count(log);
}

/* --- Opening --- */

uint64_t log_segment_bytes(const struct log_config *config)
{
    uint64_t bytes = config->segment_bytes ? config->segment_bytes : AS_SEGMENT_BYTES;

    bytes &= ~(uint64_t)(LOG_DATA_OFFSET - 1);
    return bytes >= AS_SEGMENT_BYTES_MIN && bytes <= (uint64_t)1 << 40 ? bytes : 0;
}

static as_err keep_segments(struct log *log, const struct log_recovery *in)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);

    for (size_t i = in->base; i < count; i++) {
        const struct log_segment *segment = log_header_at(in, i);
        struct log_kept kept = {segment->start, segment->first, segment->size};

        as_put_bytes(&log->kept, &kept, sizeof kept);
    }
    return log->kept.err;
}

/* All that may fail for want of memory comes before the repair changes the first byte. */
static as_err new_log(struct log **ret_log, const struct log_config *config,
                      struct log_recovery *in)
{
    struct log *log = as_alloc_zero(1, sizeof *log);
    struct log_fold *fold;
    as_err err;

    if (!log)
        return AS_ERR_NOMEM;
    log->config = *config;
    log->identity = in->identity;
    as_buf_init(&log->gather, LOG_GATHER_BYTES_MAX);
    as_buf_init(&log->out, LOG_GATHER_BYTES_MAX);
    as_buf_init(&log->shot_buf, LOG_CHUNK_BYTES_MAX + 2 * LOG_HEADER_BYTES);
    as_buf_init(&log->kept, SIZE_MAX / 2);
    log->runs = in->runs;
    as_buf_init(&in->runs, 0); /* moved, and so is the next */
    log->chunk_at = in->chunk_at;
    as_buf_init(&in->chunk_at, 0);
    as_buf_init(&log->shot_at, LOG_CHUNK_AT_BYTES_MAX);
    as_buf_init(&log->read_buf, LOG_CHUNK_BYTES_MAX + LOG_CHUNK_HEADER);
    err = keep_segments(log, in);
    if (err) {
        log_free(log);
        return err;
    }
    log->segment = *log_header_at(in, log_file_count(in, LOG_NAME_SEGMENT) - 1);
    log->salt = log_segment_salt(&log->segment);
    fold = &log->fold;
    *fold = in->fold;
    log->durable = *fold;
    log->shot = in->install ? LOG_SHOT_SWITCH : LOG_SHOT_IDLE;
    log->tail = in->tail;
    log->entry_bytes = in->entry_bytes;
    log->newest = in->snapshot;
    log->newest_end = in->snapshot_end;
    log->marked = in->marked || in->tail == LOG_DATA_OFFSET;
    *ret_log = log;
    return AS_OK;
}

as_err log_open(struct log **ret_log, const struct log_config *config, const struct as_disk *disk,
                const struct log_replay *replay, struct log_report *ret_report)
{
    struct log_config resolved = *config;
    struct log_recovery in = {
        .config = &resolved, .disk = disk, .replay = replay, .report = ret_report};
    struct log *log = NULL;
    as_err err;

    memset(ret_report, 0, sizeof *ret_report);
    resolved.segment_bytes = log_segment_bytes(config);
    resolved.mark_ms = config->mark_ms ? config->mark_ms : MARK_MS;
    resolved.full_retry_ms = config->full_retry_ms ? config->full_retry_ms : FULL_RETRY_MS;
    if (!resolved.segment_bytes ||
        strnlen(config->cluster, sizeof config->cluster) == sizeof config->cluster)
        return AS_ERR_INVALID;
    err = log_recover(&in);
    if (!err)
        err = new_log(&log, &resolved, &in);
    if (!err && !config->read_only)
        err = log_repair(&in);
    if (err) {
        log_free(log);
    } else {
        for (uint32_t i = 0; i < LOG_SPARES; i++)
            log->spares[i] = in.spares >> i & 1 ? LOG_SPARE_READY : LOG_SPARE_NONE;
        *ret_log = log;
    }
    log_recovery_close(&in);
    return err;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    as_buf_close(&log->gather);
    as_buf_close(&log->out);
    as_buf_close(&log->shot_buf);
    as_buf_close(&log->kept);
    as_buf_close(&log->runs);
    as_buf_close(&log->chunk_at);
    as_buf_close(&log->shot_at);
    as_buf_close(&log->read_buf);
    as_free(log);
}
