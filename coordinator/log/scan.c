/*
 * Reading one segment: its records in order, and the search behind the place where they end.
 */
#include <string.h>

#include "coordinator/log/recover.h"

void log_window_open(struct log_window *window, const struct log_file *file)
{
    window->name = file->name;
    window->size = file->size;
    window->at = 0;
    window->len = 0;
    window->err = AS_OK;
}

const uint8_t *log_window_load(struct log_window *window, uint64_t offset, size_t len)
{
    uint64_t left = window->size - offset;
    size_t want = left < window->cap ? (size_t)left : window->cap;
    size_t got = 0;
    as_err err;

    AS_ASSERT(len <= want);
    window->len = 0;
    err = window->disk->read(window->disk->ctx, window->name, offset, window->data, want, &got);
    if (!err && got < len)
        err = AS_ERR_IO; /* the file got shorter under us */
    if (err) {
        window->err = err;
        return NULL;
    }
    window->at = offset;
    window->len = got;
    return window->data;
}

static as_err read_failed(struct log_recovery *in, uint64_t offset)
{
    return log_refuse(in, in->window.err, "%s: cannot be read at offset %llu (%s)", in->window.name,
                      (unsigned long long)offset, as_err_text(in->window.err));
}

static as_err deliver_entry(struct log_recovery *in, const struct log_record *record,
                            uint64_t total)
{
    const struct log_replay *replay = in->replay;

    if (record->index <= in->snapshot.index)
        return AS_OK;
    /* What cannot stand behind the snapshot is void, and all behind it, by a TRUNCATE or INSTALL still to come: whoever
     * takes the entries would refuse it before he hears of that. */
    if (!in->void_from && record->term < in->snapshot.term)
        in->void_from = record->index;
    if (in->void_from)
        return AS_OK;
    in->entry_bytes += total;
    in->handed_last = record->index;
    if (replay && replay->entry) {
        struct log_entry entry = {.index = record->index,
                                  .term = record->term,
                                  .time_ms = record->time_ms,
                                  .type = record->type,
                                  .payload = record->payload};

        return replay->entry(replay->ctx, &entry);
    }
    return AS_OK;
}

/* Entries from `index` on are void. Those that the snapshot covers were never handed over. */
as_err log_deliver_truncation(struct log_recovery *in, uint64_t index)
{
    const struct log_replay *replay = in->replay;

    if (index <= in->snapshot.index)
        index = in->snapshot.index + 1;
    if (index <= in->void_from)
        in->void_from = 0;
    if (in->handed_last < index)
        return AS_OK;
    in->handed_last = index - 1;
    if (!replay || !replay->entry)
        return AS_OK;
    return replay->truncate ? replay->truncate(replay->ctx, index)
                            : log_refuse(in, AS_ERR_INVALID,
                                         "%s: entries from %llu on were truncated, which is not "
                                         "expected here",
                                         in->window.name, (unsigned long long)index);
}

static as_err deliver(struct log_recovery *in, const struct log_record *record, uint64_t total)
{
    const struct log_replay *replay = in->replay;

    in->report->records++;
    switch (record->kind) {
    case LOG_KIND_ENTRY:
        return deliver_entry(in, record, total);
    case LOG_KIND_VOTE:
        return replay && replay->vote ? replay->vote(replay->ctx, record->term, record->index)
                                      : AS_OK;
    case LOG_KIND_TRUNCATE:
        in->report->truncations++;
        return log_deliver_truncation(in, record->index);
    case LOG_KIND_INSTALL:
        if (record->index > in->snapshot.index)
            return log_refuse(in, AS_ERR_CORRUPT,
                              "%s: the snapshot that it continues, %016llx.snap, was removed",
                              in->window.name, (unsigned long long)record->index);
        return log_deliver_truncation(in, 0);
    case LOG_KIND_MARK:
    case LOG_KIND_SEAL:
        break;
    }
    return AS_OK;
}

/* Whether the record can stand here; moves what is known of the log over it. */
static bool follow(struct log_recovery *in, const struct log_record *record, uint64_t position,
                   as_err *ret_err)
{
    uint64_t last_term = in->fold.last_term;
    uint64_t known = record->kind == LOG_KIND_TRUNCATE && record->index
                         ? log_terms_at(&in->runs, record->index - 1)
                         : 0;

    if ((known && known != record->term) || !log_fold_record(&in->fold, record, position))
        return false;
    switch (record->kind) {
    case LOG_KIND_ENTRY:
        if (record->term != last_term)
            *ret_err = log_terms_add(&in->runs, record->index, record->term);
        break;
    case LOG_KIND_TRUNCATE:
        log_terms_cut(&in->runs, record->index);
        if (!known && record->term)
            *ret_err = log_terms_add(&in->runs, record->index - 1, record->term);
        break;
    case LOG_KIND_INSTALL:
        log_terms_cut(&in->runs, 0);
        *ret_err = log_terms_add(&in->runs, record->index, record->term);
        break;
    case LOG_KIND_VOTE:
    case LOG_KIND_MARK:
    case LOG_KIND_SEAL:
        break;
    }
    return true;
}

/* The record at `offset`, if an intact one stands there; *ret_total 0: none. */
static as_err record_at(struct log_recovery *in, uint64_t salt, uint64_t start, uint64_t offset,
                        struct log_record *ret_record, uint64_t *ret_total)
{
    struct log_window *window = &in->window;
    uint64_t room = window->size - offset;
    const uint8_t *at = log_window_get(window, offset, 8);
    uint64_t total;

    *ret_total = 0;
    if (!at)
        return read_failed(in, offset);
    if (room > window->cap)
        room = window->cap;
    total = log_record_probe(at, salt, start + offset, room);
    if (!total)
        return AS_OK;
    at = log_window_get(window, offset, (size_t)total);
    if (!at)
        return read_failed(in, offset);
    if (log_record_take(at, total, salt, start + offset, ret_record))
        *ret_total = total;
    return AS_OK;
}

as_err log_scan_records(struct log_recovery *in, size_t i, struct log_scan *ret_scan)
{
    const struct log_segment *segment = log_header_at(in, i);
    uint64_t salt = log_segment_salt(segment);
    uint64_t offset = LOG_DATA_OFFSET;

    log_window_open(&in->window, log_file_at(in, LOG_NAME_SEGMENT, i));
    *ret_scan = (struct log_scan){LOG_END_NONE, offset};
    while (offset + LOG_RECORD_HEADER <= segment->size) {
        struct log_record record;
        uint64_t total;
        as_err err = record_at(in, salt, segment->start, offset, &record, &total);

        if (err)
            return err;
        if (!total)
            break;
        /* Room for the seal is always left: a record that takes it was not written by us. */
        if ((record.kind != LOG_KIND_SEAL && offset + total + LOG_RECORD_HEADER > segment->size) ||
            !follow(in, &record, segment->start + offset, &err)) {
            ret_scan->end = LOG_END_MISFIT;
            break;
        }
        if (err)
            return err;
        if (record.kind == LOG_KIND_SEAL) {
            ret_scan->end = LOG_END_SEAL;
            break;
        }
        err = deliver(in, &record, total);
        if (err)
            return err;
        in->marked = record.kind == LOG_KIND_MARK;
        offset += total;
    }
    ret_scan->offset = offset;
    return AS_OK;
}

/* One segment from `from` on; stops at the first record that claims more than `position`. */
static as_err search(struct log_recovery *in, size_t i, uint64_t from, uint64_t position,
                     bool *ret_claimed, uint64_t *ret_end)
{
    const struct log_segment *segment = log_header_at(in, i);
    uint64_t salt = log_segment_salt(segment);
    uint64_t offset = from;

    while (offset + LOG_RECORD_HEADER <= segment->size) {
        struct log_record record;
        uint64_t total;
        as_err err = record_at(in, salt, segment->start, offset, &record, &total);

        if (err)
            return err;
        if (!total) {
            offset += 8;
            continue;
        }
        offset += total;
        *ret_end = offset;
        if (record.durable > position) {
            *ret_claimed = true;
            return AS_OK;
        }
    }
    return AS_OK;
}

as_err log_scan_claims(struct log_recovery *in, size_t i, uint64_t offset, bool *ret_claimed,
                       uint64_t *ret_end)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);
    uint64_t position = log_header_at(in, i)->start + offset;
    as_err err = AS_OK;

    *ret_claimed = in->snapshot.durable > position;
    *ret_end = offset;
    for (size_t j = i + 1; j < count && !*ret_claimed; j++)
        *ret_claimed = log_header_at(in, j)->prev_end > position;
    for (size_t j = i; j < count && !*ret_claimed && !err; j++) {
        uint64_t end = 0;

        log_window_open(&in->window, log_file_at(in, LOG_NAME_SEGMENT, j));
        err = search(in, j, j == i ? offset : LOG_DATA_OFFSET, position, ret_claimed,
                     j == i ? ret_end : &end);
    }
    return err;
}
