#include "coordinator/log/format.h"

#include <stdio.h>
#include <string.h>

#include "assent/map.h"
#include "coordinator/log/log.h"

#define CHECKSUM_AT (LOG_HEADER_BYTES - 8)
#define CLUSTER_AT 128

static const char segment_magic[8] = "ASSENTLG";
static const char snapshot_magic[8] = "ASSENTSN";
static const char trailer_magic[8] = "ASSENTSE";

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void put64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* --- Names --- */

static bool hex16(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (int i = 0; i < 16; i++) {
        char c = text[i];

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_value = value;
    return true;
}

enum log_name log_name_parse(const char *name, uint64_t *ret_number)
{
    size_t len = strlen(name);

    *ret_number = 0;
    if (len >= 4 && strcmp(name + len - 4, ".tmp") == 0) {
        if (len == 25 && hex16(name, ret_number) && strcmp(name + 16, ".snap.tmp") == 0)
            return LOG_NAME_LEFTOVER;
        if (strncmp(name, "spare-", 6) == 0 || strncmp(name, "sync-", 5) == 0)
            return LOG_NAME_LEFTOVER;
        return LOG_NAME_OTHER;
    }
    if (len == 11 && strncmp(name, "spare-", 6) == 0 && strcmp(name + 7, ".log") == 0 &&
        name[6] >= '0' && name[6] < '0' + LOG_SPARES) {
        *ret_number = (uint64_t)(name[6] - '0');
        return LOG_NAME_SPARE;
    }
    if (len == 20 && strcmp(name + 16, ".log") == 0 && hex16(name, ret_number))
        return LOG_NAME_SEGMENT;
    if (len == 21 && strcmp(name + 16, ".snap") == 0 && hex16(name, ret_number))
        return LOG_NAME_SNAPSHOT;
    return LOG_NAME_OTHER;
}

void log_name_segment(char ret_name[AS_FILE_NAME_MAX + 1], uint64_t start)
{
    snprintf(ret_name, AS_FILE_NAME_MAX + 1, "%016llx.log", (unsigned long long)start);
}

void log_name_snapshot(char ret_name[AS_FILE_NAME_MAX + 1], uint64_t index, bool temporary)
{
    snprintf(ret_name, AS_FILE_NAME_MAX + 1, "%016llx.snap%s", (unsigned long long)index,
             temporary ? ".tmp" : "");
}

void log_name_spare(char ret_name[AS_FILE_NAME_MAX + 1], uint32_t slot, bool temporary)
{
    snprintf(ret_name, AS_FILE_NAME_MAX + 1, "spare-%u.%s", (unsigned)slot,
             temporary ? "tmp" : "log");
}

/* --- Headers --- */

static void header_put(uint8_t *bytes, const char magic[8], const struct log_identity *identity)
{
    memset(bytes, 0, LOG_HEADER_BYTES);
    memcpy(bytes, magic, 8);
    put32(bytes + 8, LOG_FORMAT_VERSION);
    put64(bytes + 16, identity->incarnation);
    put64(bytes + 24, identity->node);
    memcpy(bytes + CLUSTER_AT, identity->cluster, strnlen(identity->cluster, AS_CLUSTER_LEN_MAX));
}

/* Magic, version and checksum keep their places in every version, so that rot is told from a newer
 * format. */
static as_err header_take(const uint8_t *bytes, const char magic[8],
                          struct log_identity *ret_identity)
{
    if (memcmp(bytes, magic, 8) != 0)
        return AS_ERR_MALFORMED;
    if (log_get64(bytes + CHECKSUM_AT) != as_hash(bytes, CHECKSUM_AT, 0))
        return AS_ERR_CHECKSUM;
    if (log_get32(bytes + 8) != LOG_FORMAT_VERSION)
        return AS_ERR_VERSION;
    ret_identity->incarnation = log_get64(bytes + 16);
    ret_identity->node = log_get64(bytes + 24);
    memcpy(ret_identity->cluster, bytes + CLUSTER_AT, AS_CLUSTER_LEN_MAX);
    ret_identity->cluster[AS_CLUSTER_LEN_MAX] = '\0';
    return AS_OK;
}

void log_segment_put(uint8_t ret_bytes[LOG_HEADER_BYTES], const struct log_segment *segment)
{
    header_put(ret_bytes, segment_magic, &segment->identity);
    put64(ret_bytes + 32, segment->size);
    put64(ret_bytes + 40, segment->start);
    put64(ret_bytes + 48, segment->first);
    put64(ret_bytes + 56, segment->prev_end);
    put64(ret_bytes + 64, segment->fold.last_term);
    put64(ret_bytes + 72, (uint64_t)segment->fold.last_time_ms);
    put64(ret_bytes + 80, segment->fold.vote_term);
    put64(ret_bytes + 88, segment->fold.voted_for);
    put64(ret_bytes + CHECKSUM_AT, as_hash(ret_bytes, CHECKSUM_AT, 0));
}

as_err log_segment_take(const uint8_t bytes[LOG_HEADER_BYTES], struct log_segment *ret_segment)
{
    struct log_segment segment = {0};
    as_err err = header_take(bytes, segment_magic, &segment.identity);

    if (err)
        return err;
    segment.size = log_get64(bytes + 32);
    segment.start = log_get64(bytes + 40);
    segment.first = log_get64(bytes + 48);
    segment.prev_end = log_get64(bytes + 56);
    segment.fold.last_index = segment.first - 1;
    segment.fold.last_term = log_get64(bytes + 64);
    segment.fold.last_time_ms = (int64_t)log_get64(bytes + 72);
    segment.fold.vote_term = log_get64(bytes + 80);
    segment.fold.voted_for = log_get64(bytes + 88);
    *ret_segment = segment;
    return segment.first ? AS_OK : AS_ERR_MALFORMED;
}

void log_snapshot_put(uint8_t ret_bytes[LOG_HEADER_BYTES], const struct log_snapshot *snapshot)
{
    header_put(ret_bytes, snapshot_magic, &snapshot->identity);
    put64(ret_bytes + 32, snapshot->index);
    put64(ret_bytes + 40, snapshot->term);
    put64(ret_bytes + 48, snapshot->durable);
    put64(ret_bytes + 56, (uint64_t)snapshot->last_time_ms);
    put64(ret_bytes + 64, snapshot->received);
    put64(ret_bytes + CHECKSUM_AT, as_hash(ret_bytes, CHECKSUM_AT, 0));
}

as_err log_snapshot_take(const uint8_t bytes[LOG_HEADER_BYTES], struct log_snapshot *ret_snapshot)
{
    struct log_snapshot snapshot = {0};
    as_err err = header_take(bytes, snapshot_magic, &snapshot.identity);

    if (err)
        return err;
    snapshot.index = log_get64(bytes + 32);
    snapshot.term = log_get64(bytes + 40);
    snapshot.durable = log_get64(bytes + 48);
    snapshot.last_time_ms = (int64_t)log_get64(bytes + 56);
    snapshot.received = log_get64(bytes + 64) != 0;
    *ret_snapshot = snapshot;
    return snapshot.index && snapshot.index < UINT64_MAX ? AS_OK : AS_ERR_MALFORMED;
}

/* --- Records: 0 u32 length, 4 u32 check, 8 u64 XXH3 of all that follows, 16 durable, 24 index, 32
 * term, 40 time_ms, 48 u8 kind, 49 u8 type, 50 zeros, 56 payload, zeros to a multiple of eight ---
 */

uint64_t log_segment_salt(const struct log_segment *segment)
{
    uint8_t bytes[32];

    put64(bytes, segment->identity.incarnation);
    put64(bytes + 8, segment->identity.node);
    put64(bytes + 16, segment->start);
    put64(bytes + 24, segment->first);
    return as_hash(bytes, sizeof bytes, LOG_FORMAT_VERSION);
}

static uint64_t record_hash(const uint8_t *bytes, uint64_t total, uint64_t salt, uint64_t position)
{
    uint64_t seed = (salt + position * 0x9e3779b97f4a7c15u) ^ log_get32(bytes);

    return as_hash(bytes + 16, (size_t)total - 16, seed);
}

void log_record_put(uint8_t *ret_bytes, const struct log_record *record)
{
    uint64_t total = log_record_bytes(record->payload.len);

    put32(ret_bytes, (uint32_t)record->payload.len);
    memset(ret_bytes + 4, 0, 20);
    put64(ret_bytes + 24, record->index);
    put64(ret_bytes + 32, record->term);
    put64(ret_bytes + 40, (uint64_t)record->time_ms);
    ret_bytes[48] = (uint8_t)record->kind;
    ret_bytes[49] = record->type;
    memset(ret_bytes + 50, 0, 6);
    memset(ret_bytes + total - 8, 0, record->payload.len ? 8 : 0);
    if (record->payload.len)
        memcpy(ret_bytes + LOG_RECORD_HEADER, record->payload.data, record->payload.len);
}

uint64_t log_record_total(const uint8_t *bytes)
{
    return log_record_bytes(log_get32(bytes));
}

void log_record_close(uint8_t *bytes, uint64_t salt, uint64_t position, uint64_t durable)
{
    put32(bytes + 4, log_record_check(salt, position, log_get32(bytes)));
    put64(bytes + 16, durable);
    put64(bytes + 8, record_hash(bytes, log_record_total(bytes), salt, position));
}

void log_record_peek(const uint8_t *bytes, struct log_record *ret_record)
{
    *ret_record = (struct log_record){
        .kind = (enum log_kind)bytes[48],
        .type = bytes[49],
        .durable = log_get64(bytes + 16),
        .index = log_get64(bytes + 24),
        .term = log_get64(bytes + 32),
        .time_ms = (int64_t)log_get64(bytes + 40),
    };
}

bool log_record_take(const uint8_t *bytes, uint64_t total, uint64_t salt, uint64_t position,
                     struct log_record *ret_record)
{
    if (log_get64(bytes + 8) != record_hash(bytes, total, salt, position))
        return false;
    log_record_peek(bytes, ret_record);
    ret_record->payload = (struct as_bytes){bytes + LOG_RECORD_HEADER, log_get32(bytes)};
    return true;
}

bool log_fold_record(struct log_fold *fold, const struct log_record *record, uint64_t position)
{
    if (record->durable > position)
        return false;
    switch (record->kind) {
    case LOG_KIND_ENTRY:
        if (record->index != fold->last_index + 1 || record->term < fold->last_term ||
            record->term == 0 || record->index == UINT64_MAX)
            return false;
        fold->last_index = record->index;
        fold->last_term = record->term;
        fold->last_time_ms = record->time_ms;
        return true;
    case LOG_KIND_VOTE:
        /* In one term a vote may be given once, to one (Raft paper, 5.2). */
        if (record->term < fold->vote_term || (record->term == fold->vote_term && fold->voted_for &&
                                               fold->voted_for != record->index))
            return false;
        fold->vote_term = record->term;
        fold->voted_for = record->index;
        return true;
    case LOG_KIND_MARK:
        return record->index == fold->last_index && record->term == fold->last_term;
    case LOG_KIND_SEAL:
        return record->index == fold->last_index + 1;
    case LOG_KIND_TRUNCATE:
        if (record->index == 0 || record->index > fold->last_index ||
            record->term > fold->last_term || (record->index == 1) != (record->term == 0))
            return false;
        fold->last_index = record->index - 1;
        fold->last_term = record->term;
        return true;
    case LOG_KIND_INSTALL:
        if (record->index == 0 || record->index == UINT64_MAX || record->term == 0)
            return false;
        fold->last_index = record->index;
        fold->last_term = record->term;
        return true;
    }
    return false;
}

/* --- Snapshot chunks: frame u32 length, u32 last, u64 XXH3; trailer magic, chunks, bytes, XXH3 ---
 */

uint64_t log_snapshot_salt(const struct log_snapshot *snapshot)
{
    uint8_t bytes[32];

    put64(bytes, snapshot->identity.incarnation);
    put64(bytes + 8, snapshot->identity.node);
    put64(bytes + 16, snapshot->index);
    put64(bytes + 24, snapshot->term);
    return as_hash(bytes, sizeof bytes, LOG_FORMAT_VERSION);
}

static uint64_t chunk_hash(uint64_t salt, uint64_t number, struct as_bytes chunk, bool last)
{
    uint64_t seed = (salt + number * 0x9e3779b97f4a7c15u) ^ (chunk.len << 1 | last);

    return as_hash(chunk.len ? chunk.data : (const uint8_t *)"", chunk.len, seed);
}

void log_chunk_put(uint8_t ret_frame[LOG_CHUNK_HEADER], uint64_t salt, uint64_t number,
                   struct as_bytes chunk, bool last)
{
    put32(ret_frame, (uint32_t)chunk.len);
    put32(ret_frame + 4, last);
    put64(ret_frame + 8, chunk_hash(salt, number, chunk, last));
}

bool log_chunk_matches(const uint8_t frame[LOG_CHUNK_HEADER], uint64_t salt, uint64_t number,
                       struct as_bytes chunk)
{
    uint32_t last = log_get32(frame + 4);

    return last <= 1 && log_get32(frame) == chunk.len &&
           log_get64(frame + 8) == chunk_hash(salt, number, chunk, last);
}

void log_trailer_put(uint8_t ret_bytes[LOG_TRAILER_BYTES], uint64_t salt, uint64_t chunks,
                     uint64_t total_bytes)
{
    memcpy(ret_bytes, trailer_magic, 8);
    put64(ret_bytes + 8, chunks);
    put64(ret_bytes + 16, total_bytes);
    put64(ret_bytes + 24, as_hash(ret_bytes, 24, salt));
}
