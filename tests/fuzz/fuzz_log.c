/*
 * A log directory written by a script: the input says which segments, records, raw bytes and
 * snapshot stand there. Checksums are made right, for no search finds one; fields may be wrong.
 * Opening must say the same read-only and for real, change nothing when it refuses, hand over
 * entries in unbroken order, and find on the second opening what the first one left.
 */
#include <stdlib.h>

#include "coordinator/log/format.h"
#include "coordinator/log/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_disk.h"

#define SEGMENT_BYTES (64u << 10)

struct script {
    const uint8_t *at;
    size_t left;
    struct fake_disk *disk;
    struct fake_file *file; /* of the segment being written */
    struct log_segment segment;
    struct log_fold fold;
    uint64_t offset;
};

struct seen {
    uint64_t snapshot_bytes, first, last, votes, truncations; /* last 0: no entry */
    bool broken;
};

static uint8_t next(struct script *in)
{
    if (!in->left)
        return 0;
    in->left--;
    return *in->at++;
}

static struct fake_file *put_file(struct script *in, const char *name, uint64_t size)
{
    struct fake_file *file = fake_find(in->disk, name);

    if (!file)
        file = fake_new(in->disk, name);
    fake_resize(&file->seen, size);
    return file;
}

static void put_segment(struct script *in, uint8_t wrong)
{
    struct log_segment *segment = &in->segment;
    char name[AS_FILE_NAME_MAX + 1];
    uint8_t header[LOG_HEADER_BYTES];

    segment->prev_end = in->file ? segment->start + in->offset : 0;
    segment->start += in->file ? SEGMENT_BYTES : 0;
    segment->first = in->fold.last_index + 1 + (wrong == 1);
    segment->size = SEGMENT_BYTES - (wrong == 2);
    segment->fold = in->fold;
    segment->prev_end += wrong == 3 ? 8 : 0;
    segment->fold.last_term += wrong == 4;
    segment->fold.vote_term += wrong == 5;
    segment->identity.node += wrong == 6;
    log_segment_put(header, segment);
    log_name_segment(name, segment->start);
    in->file = put_file(in, name, SEGMENT_BYTES);
    fake_store(in->file, 0, (struct as_bytes){header, sizeof header});
    in->offset = LOG_DATA_OFFSET;
}

static void put_record(struct script *in, enum log_kind kind)
{
    uint8_t bytes[512];
    uint64_t position = in->segment.start + in->offset;
    uint8_t claim = next(in), wrong = next(in), len = kind == LOG_KIND_ENTRY ? next(in) : 0;
    struct log_record record = {.kind = kind,
                                .index =
                                    in->fold.last_index + (kind != LOG_KIND_MARK) + (wrong & 1),
                                .term = in->fold.last_term + (wrong >> 1 & 3),
                                .type = wrong,
                                .payload = {bytes, len}};
    uint64_t total = log_record_bytes(len);

    record.term += record.term == 0;
    if (kind == LOG_KIND_VOTE)
        record.term = in->fold.vote_term + (wrong >> 1 & 3);
    if (kind == LOG_KIND_TRUNCATE) {
        record.index = in->fold.last_index + 1 - (wrong & 15);
        record.term = in->fold.last_term - (wrong >> 4 & 3);
    } else if (kind == LOG_KIND_INSTALL) {
        record.index = in->fold.last_index + (wrong & 7) - (wrong >> 3 & 7);
        record.term = in->fold.last_term + (wrong >> 6);
    }
    memset(bytes, wrong, sizeof bytes);
    if (in->offset + total > SEGMENT_BYTES)
        return;
    uint8_t *at = in->file->seen.data + in->offset;

    log_record_put(at, &record);
    log_record_close(at, log_segment_salt(&in->segment), position,
                     claim == 255            ? position + 8
                     : position > claim * 8u ? position - claim * 8u
                                             : 0);
    (void)log_fold_record(&in->fold, &record, position);
    in->offset += total;
}

static void put_raw(struct script *in)
{
    size_t len = next(in) * 8u;

    if (in->offset + len > SEGMENT_BYTES)
        return;
    for (size_t i = 0; i < len; i++)
        in->file->seen.data[in->offset + i] = next(in);
    in->offset += len;
}

static void put_snapshot(struct script *in)
{
    uint8_t wrong = next(in), len = next(in), bytes[1024] = {0};
    struct log_snapshot snapshot = {.identity = in->segment.identity,
                                    .index = in->fold.last_index + (wrong & 1),
                                    .term = in->fold.last_term + (wrong >> 1 & 1),
                                    .durable = in->segment.start + in->offset,
                                    .received = wrong >> 6 & 1};
    struct as_bytes chunk = {bytes + LOG_HEADER_BYTES + LOG_CHUNK_HEADER, len};
    uint64_t salt = log_snapshot_salt(&snapshot);
    size_t total = LOG_HEADER_BYTES + LOG_CHUNK_HEADER + len + LOG_TRAILER_BYTES;
    char name[AS_FILE_NAME_MAX + 1];
    struct fake_file *file;

    log_snapshot_put(bytes, &snapshot);
    log_chunk_put(bytes + LOG_HEADER_BYTES, salt, 0, chunk, !(wrong & 4));
    log_trailer_put(bytes + total - LOG_TRAILER_BYTES, salt, 1 + (wrong >> 3 & 1), len);
    log_name_snapshot(name, snapshot.index, wrong & 16);
    file = put_file(in, name, 0);
    fake_store(file, 0, (struct as_bytes){bytes, total - (wrong & 32)});
}

static void write_directory(struct script *in)
{
    in->segment.identity = (struct log_identity){.cluster = "demo", .incarnation = 7, .node = 1};
    in->segment.size = SEGMENT_BYTES;
    put_segment(in, 0);
    for (int i = 0, files = 1; in->left && i < 400 && files < 30; i++) {
        uint8_t what = next(in);

        files += what % 8 >= 6;
        switch (what % 8) {
        case 0:
        case 1:
        case 2:
        case 3:
            put_record(in, what & 64 ? what & 1 ? LOG_KIND_INSTALL : LOG_KIND_TRUNCATE
                                     : (enum log_kind)(what % 8 + 1));
            break;
        case 4:
            put_raw(in);
            break;
        case 5:
            in->offset += in->offset + what * 8u < SEGMENT_BYTES ? what / 8u * 8u : 0;
            break;
        case 6:
            put_segment(in, what / 8 % 8);
            break;
        case 7:
            put_snapshot(in);
            break;
        }
    }
}

static as_err on_snapshot(void *ctx, struct as_bytes chunk, bool last)
{
    struct seen *seen = ctx;

    (void)last;
    seen->broken |= seen->last > 0;
    seen->snapshot_bytes += chunk.len;
    return AS_OK;
}

static as_err on_entry(void *ctx, const struct log_entry *entry)
{
    struct seen *seen = ctx;

    seen->broken |= seen->last && entry->index != seen->last + 1;
    if (!seen->last)
        seen->first = entry->index;
    seen->last = entry->index;
    return AS_OK;
}

static as_err on_truncate(void *ctx, uint64_t index)
{
    struct seen *seen = ctx;

    seen->broken |= !seen->last || index < seen->first || index > seen->last;
    seen->last = index == seen->first ? 0 : index - 1;
    seen->truncations++;
    return AS_OK;
}

static as_err on_vote(void *ctx, uint64_t term, uint64_t voted_for)
{
    struct seen *seen = ctx;

    (void)term;
    (void)voted_for;
    seen->votes++;
    return AS_OK;
}

static as_err open_once(struct fake_disk *disk, bool read_only, struct seen *ret_seen,
                        struct log_report *ret_report)
{
    struct log_config config = {
        .cluster = "demo", .incarnation = 7, .node = 1, .segment_bytes = SEGMENT_BYTES};
    struct log_replay replay = {ret_seen, on_snapshot, on_entry, on_vote, on_truncate};
    struct as_disk door = fake_door(disk);
    struct log *log = NULL;
    as_err err;

    memset(ret_seen, 0, sizeof *ret_seen);
    config.read_only = read_only;
    err = log_open(&log, &config, &door, &replay, ret_report);
    AS_ASSERT(!err == (log != NULL));
    AS_ASSERT(!ret_seen->broken);
    if (!err && ret_seen->last)
        AS_ASSERT(ret_seen->first == ret_report->snapshot_index + 1 &&
                  ret_seen->last == ret_report->last_index);
    else if (!err)
        AS_ASSERT(ret_report->last_index == ret_report->snapshot_index);
    log_free(log);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_disk disk;
    struct script script = {.at = data, .left = size, .disk = &disk};
    struct log_report looked, opened, again;
    struct seen seen[3];
    uint64_t changes;
    as_err err;

    fake_init(&disk, 1);
    write_directory(&script);
    changes = disk.changes;
    err = open_once(&disk, true, &seen[0], &looked);
    AS_ASSERT(disk.changes == changes);
    AS_ASSERT(open_once(&disk, false, &seen[1], &opened) == err);
    AS_ASSERT(memcmp(&seen[0], &seen[1], sizeof seen[0]) == 0);
    if (err) {
        AS_ASSERT(err == AS_ERR_CORRUPT || err == AS_ERR_FOREIGN);
        AS_ASSERT(disk.changes == changes && opened.detail[0]);
    } else {
        AS_ASSERT(open_once(&disk, false, &seen[2], &again) == AS_OK);
        AS_ASSERT(again.last_index == opened.last_index && again.cut_bytes == 0);
        AS_ASSERT(again.vote_term == opened.vote_term && again.voted_for == opened.voted_for);
        AS_ASSERT(seen[2].last == seen[1].last);
    }
    fake_close(&disk);
    return 0;
}
