/*
 * What opening changes, once the whole directory was judged sound; and the making of a new log.
 *
 * A kill of the process, unlike a power cut, leaves what was never synced visible: records, renamed
 * files. The caller will act on what it was handed (send commits), so all of it is made durable
 * here first. Each step may be cut off by a crash: the next opening finds a state that the truth
 * table knows, and does it again.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/log/recover.h"

#define ZERO_BYTES ((size_t)1 << 20)

static as_err failed(struct log_recovery *in, as_err err, const char *what, const char *name)
{
    return log_refuse(in, err, "%s: cannot %s (%s)", name, what, as_err_text(err));
}

/* Renames and removals of an earlier life become durable: a synced rename syncs the directory. */
static as_err sync_directory(struct log_recovery *in)
{
    const struct as_disk *disk = in->disk;
    as_err err = disk->create(disk->ctx, "sync-0.tmp", 0);

    if (!err)
        err = disk->rename(disk->ctx, "sync-0.tmp", "sync-1.tmp");
    if (!err)
        err = disk->remove(disk->ctx, "sync-1.tmp");
    return err ? failed(in, err, "sync the directory", "sync-0.tmp") : AS_OK;
}

static as_err remove_all(struct log_recovery *in, enum log_name kind, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = log_file_at(in, kind, i)->name;
        as_err err = in->disk->remove(in->disk->ctx, name);

        if (err && err != AS_ERR_NOTFOUND)
            return failed(in, err, "remove", name);
    }
    return AS_OK;
}

/*
 * The seal of the last but one segment is written (again): it must be durable before the last one
 * gets another record. Written where it stands already, it changes no byte.
 */
static as_err seal_again(struct log_recovery *in)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);
    const struct log_segment *segment;
    const struct log_record seal = {.kind = LOG_KIND_SEAL,
                                    .index = log_header_at(in, count - 1)->first,
                                    .term = log_header_at(in, count - 1)->fold.last_term};
    const char *name;
    uint8_t bytes[LOG_RECORD_HEADER];
    uint64_t position;
    as_err err;

    if (count - in->base < 2)
        return AS_OK;
    segment = log_header_at(in, count - 2);
    name = log_file_at(in, LOG_NAME_SEGMENT, count - 2)->name;
    position = segment->start + in->seal_offset;
    log_record_put(bytes, &seal);
    log_record_close(bytes, log_segment_salt(segment), position, position);
    err = in->disk->write(in->disk->ctx, name, in->seal_offset,
                          (struct as_bytes){bytes, sizeof bytes});
    return err ? failed(in, err, "write", name) : AS_OK;
}

static bool all_zero(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/*
 * Zeros whatever a torn write may have left behind the tail: an intact record among it would
 * otherwise come back to life behind a shorter new one. Something is always written, so that the
 * file is synced.
 */
static as_err cut_tail(struct log_recovery *in)
{
    size_t last = log_file_count(in, LOG_NAME_SEGMENT) - 1;
    const struct log_file *file = log_file_at(in, LOG_NAME_SEGMENT, last);
    uint64_t end = in->tail + LOG_WRITE_BYTES_MAX;
    bool written = false;
    as_err err = AS_OK;

    if (end < in->garbage_end)
        end = in->garbage_end;
    if (end > file->size)
        end = file->size;
    log_window_open(&in->window, file);
    for (uint64_t at = in->tail; at < end && !err;) {
        size_t len = end - at < ZERO_BYTES ? (size_t)(end - at) : ZERO_BYTES;

        if (!log_window_load(&in->window, at, len))
            return failed(in, in->window.err, "read", file->name);
        if (!all_zero(in->window.data, len)) {
            memset(in->window.data, 0, len);
            err = in->disk->write(in->disk->ctx, file->name, at,
                                  (struct as_bytes){in->window.data, len});
            written = true;
        }
        at += len;
    }
    if (!err && !written) {
        static const uint8_t zeros[8];

        err = in->disk->write(in->disk->ctx, file->name, in->tail,
                              (struct as_bytes){zeros, sizeof zeros});
    }
    return err ? failed(in, err, "write", file->name) : AS_OK;
}

/* Spares of another size are of no use; those that stay are told by their slots in `*ret_spares`.
 */
static as_err tidy_spares(struct log_recovery *in, uint32_t *ret_spares)
{
    uint32_t spares = 0;

    for (size_t i = 0; i < log_file_count(in, LOG_NAME_SPARE); i++) {
        const struct log_file *file = log_file_at(in, LOG_NAME_SPARE, i);
        as_err err;

        if (file->size == in->config->segment_bytes) {
            spares |= 1u << file->number;
            continue;
        }
        err = in->disk->remove(in->disk->ctx, file->name);
        if (err && err != AS_ERR_NOTFOUND)
            return failed(in, err, "remove", file->name);
    }
    *ret_spares = spares;
    return AS_OK;
}

/* Oldest first: a crash between two of them leaves no gap. */
static as_err tidy_segments(struct log_recovery *in)
{
    for (size_t i = 0; i < in->base; i++) {
        struct log_file *file = log_file_at(in, LOG_NAME_SEGMENT, i);
        char spare[AS_FILE_NAME_MAX + 1];
        uint32_t slot = 0;
        as_err err;

        while (slot < LOG_SPARES && (in->spares >> slot & 1))
            slot++;
        log_name_spare(spare, slot, false);
        if (slot < LOG_SPARES && file->size == in->config->segment_bytes) {
            err = in->disk->rename(in->disk->ctx, file->name, spare);
            in->spares |= 1u << slot;
        } else {
            err = in->disk->remove(in->disk->ctx, file->name);
        }
        if (err && err != AS_ERR_NOTFOUND)
            return failed(in, err, "recycle", file->name);
    }
    return AS_OK;
}

as_err log_repair(struct log_recovery *in)
{
    size_t snapshots = log_file_count(in, LOG_NAME_SNAPSHOT);
    as_err err = remove_all(in, LOG_NAME_LEFTOVER, log_file_count(in, LOG_NAME_LEFTOVER));

    if (!err)
        err = sync_directory(in);
    if (!err)
        err = seal_again(in);
    if (!err)
        err = cut_tail(in);
    if (!err)
        err = tidy_spares(in, &in->spares);
    if (!err)
        err = tidy_segments(in);
    if (!err && snapshots > 1)
        err = remove_all(in, LOG_NAME_SNAPSHOT, snapshots - 1);
    return err;
}

/* Under its name only once its header stands: a crash before leaves no segment. */
as_err log_make_first(const struct log_config *config, const struct as_disk *disk, uint64_t term)
{
    struct log_segment segment = {
        .identity = {.incarnation = config->incarnation, .node = config->node},
        .size = log_segment_bytes(config),
        .first = 1,
        .fold = {.vote_term = term},
    };
    uint8_t header[LOG_HEADER_BYTES];
    char name[AS_FILE_NAME_MAX + 1], made[AS_FILE_NAME_MAX + 1];
    as_err err;

    memcpy(segment.identity.cluster, config->cluster, sizeof segment.identity.cluster);
    log_name_spare(made, 0, true);
    log_name_segment(name, segment.start);
    log_segment_put(header, &segment);
    err = disk->create(disk->ctx, made, segment.size);
    if (!err)
        err = disk->write(disk->ctx, made, 0, (struct as_bytes){header, sizeof header});
    return err ? err : disk->rename(disk->ctx, made, name);
}

as_err log_bootstrap(const struct log_config *config, const struct as_disk *disk)
{
    struct log_report report = {0};
    struct log_recovery in = {.config = config, .disk = disk, .report = &report};
    as_err err;

    if (!config->incarnation || !log_segment_bytes(config) ||
        !as_cluster_valid(config->cluster, strnlen(config->cluster, sizeof config->cluster)))
        return AS_ERR_INVALID;
    for (size_t kind = 0; kind < AS_COUNT_OF(in.files); kind++)
        as_buf_init(&in.files[kind], SIZE_MAX / 2);
    err = log_list(&in);
    if (!err && (log_file_count(&in, LOG_NAME_SEGMENT) || log_file_count(&in, LOG_NAME_SNAPSHOT)))
        err = AS_ERR_EXISTS;
    if (!err)
        err = remove_all(&in, LOG_NAME_LEFTOVER, log_file_count(&in, LOG_NAME_LEFTOVER));
    if (!err)
        err = remove_all(&in, LOG_NAME_SPARE, log_file_count(&in, LOG_NAME_SPARE));
    log_recovery_close(&in);
    return err ? err : log_make_first(config, disk, 0);
}
