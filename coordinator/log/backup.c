/*
 * Backups: read and judged, and made into the log of a new cluster's node.
 *
 * Fault model: a backup has been copied about, so any byte of it may be anything. A crash while a log is made leaves a
 * snapshot without a segment, which no node opens.
 */
#include "coordinator/log/backup.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "assent/buf.h"
#include "coordinator/log/recover.h"

/* --- Reading --- */

struct reading {
    const struct log_backup_source *source;
    char *detail;
    struct as_buf bytes; /* what was read last */
    uint64_t offset;
};

__attribute__((format(printf, 3, 4))) static as_err refuse(struct reading *in, as_err err,
                                                           const char *what, ...)
{
    int len =
        snprintf(in->detail, LOG_BACKUP_DETAIL, "offset %llu: ", (unsigned long long)in->offset);
    va_list args;

    va_start(args, what);
    (void)vsnprintf(in->detail + len, LOG_BACKUP_DETAIL - (size_t)len, what, args);
    va_end(args);
    return err;
}

/* The next `len` bytes, into in->bytes. */
static as_err take(struct reading *in, size_t len)
{
    size_t got = 0;
    uint8_t *to;
    as_err err;

    as_buf_clear(&in->bytes);
    to = as_buf_extend(&in->bytes, len);
    if (!to)
        return refuse(in, AS_ERR_NOMEM, "out of memory");
    err = in->source->read(in->source->ctx, in->offset, to, len, &got);
    if (err)
        return refuse(in, err, "cannot be read");
    if (got < len)
        return refuse(in, AS_ERR_CORRUPT, "it ends too early");
    in->offset += len;
    return AS_OK;
}

static as_err take_head(struct reading *in, struct log_snapshot *ret_head)
{
    as_err err = take(in, LOG_HEADER_BYTES);

    if (err)
        return err;
    err = log_snapshot_take(in->bytes.data, ret_head);
    in->offset = 0;
    if (err == AS_ERR_VERSION)
        return refuse(in, err, "written by another format version than %d", LOG_FORMAT_VERSION);
    if (err)
        return refuse(in, AS_ERR_CORRUPT, "this is no backup, or its header is damaged");
    in->offset = LOG_HEADER_BYTES;
    return AS_OK;
}

/* Its frame and its bytes; *ret_chunk borrows from in->bytes. */
static as_err take_chunk(struct reading *in, uint64_t salt, uint64_t number,
                         struct as_bytes *ret_chunk, bool *ret_last)
{
    uint8_t frame[LOG_CHUNK_HEADER];
    as_err err = take(in, sizeof(frame));

    if (err)
        return err;
    memcpy(frame, in->bytes.data, sizeof(frame));
    if (log_chunk_len(frame) >= LOG_CHUNK_BYTES_MAX)
        return refuse(in, AS_ERR_CORRUPT, "a chunk's length is damaged");
    err = take(in, log_chunk_len(frame));
    if (err)
        return err;
    *ret_chunk = as_buf_bytes(&in->bytes);
    *ret_last = log_chunk_last(frame);
    if (!log_chunk_matches(frame, salt, number, *ret_chunk))
        return refuse(in, AS_ERR_CORRUPT, "the checksum of the chunk before does not match");
    return AS_OK;
}

static as_err take_end(struct reading *in, uint64_t salt, uint64_t chunks, uint64_t total)
{
    uint8_t trailer[LOG_TRAILER_BYTES], more;
    size_t got = 0;
    as_err err = take(in, sizeof(trailer));

    if (err)
        return err;
    log_trailer_put(trailer, salt, chunks, total);
    if (memcmp(in->bytes.data, trailer, sizeof(trailer)) != 0)
        return refuse(in, AS_ERR_CORRUPT, "the trailer before does not match");
    err = in->source->read(in->source->ctx, in->offset, &more, 1, &got);
    if (err)
        return refuse(in, err, "cannot be read");
    return got ? refuse(in, AS_ERR_CORRUPT, "there are bytes behind its end") : AS_OK;
}

static as_err read_all(struct reading *in, const struct log_backup_sink *sink)
{
    struct log_snapshot head;
    uint64_t number = 0, total = 0, salt;
    bool last = false;
    as_err err = take_head(in, &head);

    if (!err)
        err = sink->head(sink->ctx, &head);
    if (err)
        return err;
    salt = log_snapshot_salt(&head);
    while (!last) {
        struct as_bytes chunk = {0};

        err = take_chunk(in, salt, number++, &chunk, &last);
        total += err ? 0 : chunk.len;
        if (!err)
            err = sink->chunk(sink->ctx, chunk, last);
        if (err)
            return err;
    }
    return take_end(in, salt, number, total);
}

as_err log_backup_read(const struct log_backup_source *source, const struct log_backup_sink *sink,
                       char ret_detail[LOG_BACKUP_DETAIL])
{
    struct reading in = {.source = source, .detail = ret_detail};
    as_err err;

    ret_detail[0] = '\0';
    as_buf_init(&in.bytes, LOG_CHUNK_BYTES_MAX);
    err = read_all(&in, sink);
    as_buf_close(&in.bytes);
    return err;
}

/* --- Making a log of it --- */

static as_err is_empty(const struct log_config *config, const struct as_disk *disk)
{
    struct log_report report = {0};
    struct log_recovery in = {.config = config, .disk = disk, .report = &report};
    as_err err;

    for (size_t kind = 0; kind < AS_COUNT_OF(in.files); kind++)
        as_buf_init(&in.files[kind], SIZE_MAX / 2);
    err = log_list(&in);
    for (size_t kind = 0; kind < AS_COUNT_OF(in.files) && !err; kind++)
        err = log_file_count(&in, (enum log_name)kind) ? AS_ERR_EXISTS : AS_OK;
    log_recovery_close(&in);
    return err;
}

as_err log_restore_begin(struct log_restore *restore, const struct log_config *config,
                         const struct as_disk *disk, const struct log_snapshot *of, uint64_t chunks,
                         uint64_t bytes)
{
    char name[AS_FILE_NAME_MAX + 1];
    uint8_t header[LOG_HEADER_BYTES];
    as_err err;

    if (!config->incarnation || !config->node || !of->index || !of->term ||
        !as_cluster_valid(config->cluster, strnlen(config->cluster, sizeof config->cluster)))
        return AS_ERR_INVALID;
    *restore = (struct log_restore){.config = config, .disk = disk, .head = *of};
    restore->head.identity =
        (struct log_identity){.incarnation = config->incarnation, .node = config->node};
    memcpy(restore->head.identity.cluster, config->cluster, sizeof(config->cluster));
    restore->head.received = true; /* the log holds no entry of it */
    restore->head.durable = 0;
    restore->offset = sizeof(header);
    err = is_empty(config, disk);
    log_name_snapshot(name, of->index, true);
    log_snapshot_put(header, &restore->head);
    if (!err)
        err = disk->create(disk->ctx, name,
                           sizeof(header) + chunks * LOG_CHUNK_HEADER + bytes + LOG_TRAILER_BYTES);
    if (!err)
        err = disk->write(disk->ctx, name, 0, (struct as_bytes){header, sizeof(header)});
    return err;
}

static as_err put(struct log_restore *restore, const void *data, size_t len)
{
    char name[AS_FILE_NAME_MAX + 1];
    as_err err;

    if (!len)
        return AS_OK;
    log_name_snapshot(name, restore->head.index, true);
    err = restore->disk->write(restore->disk->ctx, name, restore->offset,
                               (struct as_bytes){data, len});
    restore->offset += len;
    return err;
}

as_err log_restore_chunk(struct log_restore *restore, struct as_bytes chunk, bool last)
{
    uint64_t salt = log_snapshot_salt(&restore->head);
    uint8_t frame[LOG_CHUNK_HEADER], trailer[LOG_TRAILER_BYTES];
    as_err err;

    if (chunk.len >= LOG_CHUNK_BYTES_MAX)
        return AS_ERR_TOOBIG;
    log_chunk_put(frame, salt, restore->chunks++, chunk, last);
    restore->bytes += chunk.len;
    err = put(restore, frame, sizeof(frame));
    if (!err)
        err = put(restore, chunk.data, chunk.len);
    if (err || !last)
        return err;
    log_trailer_put(trailer, salt, restore->chunks, restore->bytes);
    return put(restore, trailer, sizeof(trailer));
}

as_err log_restore_end(struct log_restore *restore, uint64_t term)
{
    char made[AS_FILE_NAME_MAX + 1], name[AS_FILE_NAME_MAX + 1];
    as_err err;

    log_name_snapshot(made, restore->head.index, true);
    log_name_snapshot(name, restore->head.index, false);
    err = restore->disk->rename(restore->disk->ctx, made, name);
    /* Only now a segment: without the snapshot it would be the log of a new cluster. */
    return err ? err : log_make_first(restore->config, restore->disk, term);
}
