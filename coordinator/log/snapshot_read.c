/*
 * Reading a snapshot file, chunk by chunk. A file that bears its final name was complete and synced
 * before it was renamed, so whatever is wrong with it is damage, never a crash.
 */
#include <string.h>

#include "coordinator/log/recover.h"

static as_err damaged(struct log_recovery *in, uint64_t offset, const char *what)
{
    if (in->window.err)
        return log_refuse(in, in->window.err, "%s: cannot be read at offset %llu (%s)",
                          in->window.name, (unsigned long long)offset, as_err_text(in->window.err));
    return log_refuse(in, AS_ERR_CORRUPT, "%s: offset %llu: the snapshot is damaged: %s",
                      in->window.name, (unsigned long long)offset, what);
}

/* A view of `len` bytes, or NULL if the file is too short or cannot be read. */
static const uint8_t *view(struct log_recovery *in, uint64_t offset, uint64_t len)
{
    if (offset > in->window.size || len > in->window.size - offset || len > in->window.cap)
        return NULL;
    return log_window_get(&in->window, offset, (size_t)len);
}

static as_err read_header(struct log_recovery *in, const struct log_file *file)
{
    const uint8_t *bytes = view(in, 0, LOG_HEADER_BYTES);
    as_err err;

    if (!bytes)
        return damaged(in, 0, "no header");
    err = log_snapshot_take(bytes, &in->snapshot);
    if (err == AS_ERR_VERSION)
        return log_refuse(in, err,
                          "%s: written by another format version than %d; use the program version "
                          "that wrote it. Nothing was changed",
                          file->name, LOG_FORMAT_VERSION);
    if (err)
        return damaged(in, 0, as_err_text(err));
    err = log_identity_check(in, file->name, &in->snapshot.identity);
    if (err)
        return err;
    if (in->snapshot.index != file->number)
        return damaged(in, 32, "the file was renamed; its header has another index");
    return AS_OK;
}

as_err log_snapshot_replay(struct log_recovery *in, const struct log_file *file)
{
    const struct log_replay *replay = in->replay;
    uint64_t offset = LOG_HEADER_BYTES, total = 0, salt;
    bool last = false;
    as_err err;

    log_window_open(&in->window, file);
    err = read_header(in, file);
    if (err)
        return err;
    salt = log_snapshot_salt(&in->snapshot);
    for (uint64_t number = 0; !last; number++) {
        const uint8_t *frame = view(in, offset, LOG_CHUNK_HEADER);
        uint32_t len = frame ? log_chunk_len(frame) : 0;
        uint64_t whole = LOG_CHUNK_HEADER + (uint64_t)len;
        struct as_bytes chunk;

        last = frame && log_chunk_last(frame);
        frame = view(in, offset, whole + (last ? LOG_TRAILER_BYTES : 0));
        if (!frame)
            return damaged(in, offset, "it ends too early");
        chunk = (struct as_bytes){frame + LOG_CHUNK_HEADER, len};
        if (!log_chunk_matches(frame, salt, number, chunk))
            return damaged(in, offset, "a chunk's checksum does not match");
        as_put_u64(&in->chunk_at, offset);
        if (in->chunk_at.err)
            return AS_ERR_NOMEM;
        offset += whole;
        total += len;
        in->snapshot_end = offset;
        if (last) {
            uint8_t trailer[LOG_TRAILER_BYTES];

            log_trailer_put(trailer, salt, number + 1, total);
            if (memcmp(frame + whole, trailer, sizeof trailer) != 0 ||
                offset + LOG_TRAILER_BYTES != file->size)
                return damaged(in, offset, "the trailer does not match");
        }
        if (replay && replay->snapshot)
            err = replay->snapshot(replay->ctx, chunk, last);
        if (err)
            return err;
    }
    return AS_OK;
}
