/*
 * The bytes of the decision log: names, segment headers, records, snapshot files
 * (docs/log-format.md). Everything here judges or makes bytes; nothing knows of disks or of order.
 *
 * Fault model: any byte may be anything. A record is believed only by its checksum, and that is
 * seeded with incarnation, node, segment and position: what was written for another place is not a
 * record here.
 */
#ifndef ASSENT_LOG_FORMAT_H
#define ASSENT_LOG_FORMAT_H

#include "assent/attempt.h"
#include "assent/disk.h"

#define LOG_SECTOR_BYTES 512 /* written whole or not at all */
#define LOG_HEADER_BYTES 512 /* of segments and snapshots */
#define LOG_DATA_OFFSET \
    4096 /* of a segment's first record: no write of one shares a page with the header */
#define LOG_RECORD_HEADER 56 /* and the length of a record without payload: VOTE, MARK, SEAL */
#define LOG_WRITE_BYTES_MAX \
    (4u << 20)                         /* of one write: garbage of a torn one reaches no further \
                                        */
#define LOG_CHUNK_BYTES_MAX (2u << 20) /* of a snapshot */
#define LOG_WINDOW_BYTES \
    (LOG_CHUNK_BYTES_MAX + 4096)           /* read at once: holds any record and chunk \
                                  */
#define LOG_CHUNK_AT_BYTES_MAX (16u << 20) /* u64 for each chunk of a snapshot */
#define LOG_CHUNK_HEADER 16
#define LOG_TRAILER_BYTES 32
#define LOG_SPARES 2

/*
 * A position is a segment's start plus the offset in its file; it grows over the whole log and is
 * never used twice. "Durable up to P" is said in positions because a VOTE has no index
 * (docs/decisions/0001).
 */
enum log_kind {
    LOG_KIND_ENTRY = 1,
    LOG_KIND_VOTE,
    LOG_KIND_MARK, /* says only: everything before me is durable */
    LOG_KIND_SEAL, /* the last record of a segment: its successor exists */
    /*
     * A cut is said, not made: entries from `index` on are void. Nothing durable is destroyed, so
     * every claim stays true, votes between the void entries stand, and a crash leaves a log with
     * this record or without it (docs/decisions/0006).
     */
    LOG_KIND_TRUNCATE,
    LOG_KIND_INSTALL, /* all entries are void: the snapshot at `index` stands in their place */
};

/* What a log amounts to at one place, besides its entries. */
struct log_fold {
    uint64_t last_index, last_term;
    int64_t last_time_ms;
    uint64_t vote_term, voted_for;
};

struct log_identity {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    uint64_t incarnation;
    uint64_t node;
};

struct log_segment {
    struct log_identity identity;
    uint64_t size;  /* of the file */
    uint64_t start; /* position of byte 0; the file's name */
    uint64_t first; /* index of the next entry when it was opened; a truncation may go below it */
    uint64_t prev_end; /* position of the seal of the segment before; 0: there was none. Everything
                          before it was durable when this was written */
    struct log_fold fold; /* of everything before this segment; last_index is first - 1 */
};

struct log_record {
    enum log_kind kind;
    uint8_t type;
    uint64_t durable; /* everything before this position was durable when this was written */
    uint64_t index;   /* VOTE: voted_for. MARK: last index. SEAL: next index. TRUNCATE: the first
                         void one. INSTALL: of the snapshot */
    uint64_t term;    /* TRUNCATE: of the entry before. INSTALL: of the snapshot */
    int64_t time_ms;
    struct as_bytes payload;
};

struct log_snapshot {
    struct log_identity identity;
    uint64_t index, term;
    uint64_t durable; /* position, as in a record */
    int64_t last_time_ms;
    bool received; /* from a leader: the log need not hold its last entry */
};

static inline uint32_t log_get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t log_get64(const uint8_t *at)
{
    return (uint64_t)log_get32(at) | (uint64_t)log_get32(at + 4) << 32;
}

/* --- Names --- */

enum log_name {
    LOG_NAME_OTHER, /* not ours: left alone */
    LOG_NAME_SEGMENT,
    LOG_NAME_SNAPSHOT,
    LOG_NAME_SPARE,
    LOG_NAME_LEFTOVER, /* of something a crash interrupted: removed at open */
};

/* *ret_number: the start of a segment, the index of a snapshot, the slot of a spare. */
enum log_name log_name_parse(const char *name, uint64_t *ret_number);
void log_name_segment(char ret_name[AS_FILE_NAME_MAX + 1], uint64_t start);
void log_name_snapshot(char ret_name[AS_FILE_NAME_MAX + 1], uint64_t index, bool temporary);
void log_name_spare(char ret_name[AS_FILE_NAME_MAX + 1], uint32_t slot, bool temporary);

/* --- Headers: MALFORMED (other magic), CHECKSUM, VERSION --- */

void log_segment_put(uint8_t ret_bytes[LOG_HEADER_BYTES], const struct log_segment *segment);
as_err log_segment_take(const uint8_t bytes[LOG_HEADER_BYTES],
                        struct log_segment *ret_segment) AS_MUSTCHECK;
void log_snapshot_put(uint8_t ret_bytes[LOG_HEADER_BYTES], const struct log_snapshot *snapshot);
as_err log_snapshot_take(const uint8_t bytes[LOG_HEADER_BYTES],
                         struct log_snapshot *ret_snapshot) AS_MUSTCHECK;

/* --- Records --- */

static inline uint64_t log_record_bytes(uint64_t payload_len)
{
    return (LOG_RECORD_HEADER + payload_len + 7) & ~(uint64_t)7;
}

/* Seeds the checksums of one segment. */
uint64_t log_segment_salt(const struct log_segment *segment);

/* The first eight bytes: length, and a value that only this length at this very position has. */
static inline uint32_t log_record_check(uint64_t salt, uint64_t position, uint32_t length)
{
    uint64_t mix = (salt ^ position * 0x9e3779b97f4a7c15u) + length * 0xc2b2ae3d27d4eb4fu;

    return (uint32_t)((mix ^ mix >> 29) * 0x165667b19e3779f9u >> 32) | 1;
}

/* The total length if a record of ours may begin here and fits into `room`; else 0. Eight bytes are
 * read. */
static inline uint64_t log_record_probe(const uint8_t *at, uint64_t salt, uint64_t position,
                                        uint64_t room)
{
    uint32_t length = log_get32(at);
    uint64_t total = log_record_bytes(length);

    return log_get32(at + 4) == log_record_check(salt, position, length) && total <= room ? total
                                                                                          : 0;
}

/* Writes header and payload; claim and checksum come with log_record_close, once its place is
 * known. */
void log_record_put(uint8_t *ret_bytes, const struct log_record *record);
void log_record_close(uint8_t *bytes, uint64_t salt, uint64_t position, uint64_t durable);
/* Of a record made by log_record_put. */
uint64_t log_record_total(const uint8_t *bytes);
/* What the bytes of one of our own making say; nothing is checked, there is no payload. */
void log_record_peek(const uint8_t *bytes, struct log_record *ret_record);
/* `total` as probed. False: the checksum or the form is wrong. The payload borrows. */
bool log_record_take(const uint8_t *bytes, uint64_t total, uint64_t salt, uint64_t position,
                     struct log_record *ret_record);
/*
 * Whether a record at `position` can follow what `fold` tells, and moves the fold over it. False:
 * it is intact but does not belong there, and the fold is as it was.
 */
bool log_fold_record(struct log_fold *fold, const struct log_record *record, uint64_t position);

/* --- Snapshot chunks --- */

uint64_t log_snapshot_salt(const struct log_snapshot *snapshot);
/* The frame before the `number`th chunk, from 0. */
void log_chunk_put(uint8_t ret_frame[LOG_CHUNK_HEADER], uint64_t salt, uint64_t number,
                   struct as_bytes chunk, bool last);
bool log_chunk_matches(const uint8_t frame[LOG_CHUNK_HEADER], uint64_t salt, uint64_t number,
                       struct as_bytes chunk);
static inline uint32_t log_chunk_len(const uint8_t frame[LOG_CHUNK_HEADER])
{
    return log_get32(frame);
}
static inline bool log_chunk_last(const uint8_t frame[LOG_CHUNK_HEADER])
{
    return log_get32(frame + 4) != 0;
}
void log_trailer_put(uint8_t ret_bytes[LOG_TRAILER_BYTES], uint64_t salt, uint64_t chunks,
                     uint64_t total_bytes);

#endif
