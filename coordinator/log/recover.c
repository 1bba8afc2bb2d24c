/*
 * Judging a directory: lists it, checks that every file is ours and continues the one before it,
 * scans the records, and asks the truth table at the end of each segment. Changes nothing; repair.c
 * does.
 */
#include "coordinator/log/recover.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/alloc.h"

#define WHAT_TO_DO                                                                              \
    " Nothing was changed. Rebuild this node from its peers (remove it and let it join empty, " \
    "under a "                                                                                  \
    "new id); a single node: restore a backup of the directory."

as_err log_refuse(struct log_recovery *in, as_err err, const char *format, ...)
{
    char *detail = in->report->detail;
    size_t size = sizeof in->report->detail;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(detail, size, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < size && (err == AS_ERR_CORRUPT || err == AS_ERR_FOREIGN))
        snprintf(detail + len, size - (size_t)len, ".%s", WHAT_TO_DO);
    return err;
}

/* --- What lies there --- */

static void list_one(void *ctx, const char *name, uint64_t size)
{
    struct log_recovery *in = ctx;
    struct log_file file = {.size = size};
    size_t len = strnlen(name, AS_FILE_NAME_MAX + 1);
    enum log_name kind;

    if (len > AS_FILE_NAME_MAX)
        return;
    memcpy(file.name, name, len);
    kind = log_name_parse(file.name, &file.number);
    if (kind != LOG_NAME_OTHER)
        as_put_bytes(&in->files[kind], &file, sizeof file);
}

static int by_number(const void *a, const void *b)
{
    const struct log_file *left = a, *right = b;

    return left->number < right->number ? -1 : left->number > right->number;
}

as_err log_list(struct log_recovery *in)
{
    as_err err = in->disk->list(in->disk->ctx, list_one, in);

    if (err)
        return log_refuse(in, err, "the log's directory cannot be listed (%s)", as_err_text(err));
    for (size_t kind = 0; kind < AS_COUNT_OF(in->files); kind++) {
        struct as_buf *files = &in->files[kind];

        if (files->err)
            return AS_ERR_NOMEM;
        if (files->len)
            qsort(files->data, log_file_count(in, (enum log_name)kind), sizeof(struct log_file),
                  by_number);
    }
    return AS_OK;
}

/* --- Whose it is --- */

as_err log_identity_check(struct log_recovery *in, const char *name,
                          const struct log_identity *found)
{
    struct log_identity *ours = &in->identity;

    if (!ours->cluster[0])
        memcpy(ours->cluster, found->cluster, sizeof ours->cluster);
    if (!ours->incarnation)
        ours->incarnation = found->incarnation;
    if (!ours->node)
        ours->node = found->node;
    if (strcmp(ours->cluster, found->cluster) == 0 && ours->incarnation == found->incarnation &&
        ours->node == found->node)
        return AS_OK;
    return log_refuse(in, AS_ERR_FOREIGN,
                      "%s: belongs to cluster \"%s\", incarnation %016llx, node %llu, but this is "
                      "\"%s\", %016llx, %llu",
                      name, found->cluster, (unsigned long long)found->incarnation,
                      (unsigned long long)found->node, ours->cluster,
                      (unsigned long long)ours->incarnation, (unsigned long long)ours->node);
}

static as_err header_refused(struct log_recovery *in, const char *name, as_err err)
{
    if (err == AS_ERR_VERSION)
        return log_refuse(in, err,
                          "%s: written by another format version than %d; use the program version "
                          "that wrote it. Nothing was changed",
                          name, LOG_FORMAT_VERSION);
    return log_refuse(in, AS_ERR_CORRUPT, "%s: offset 0: the header is damaged (%s)", name,
                      as_err_text(err));
}

static as_err read_header(struct log_recovery *in, size_t i)
{
    const struct log_file *file = log_file_at(in, LOG_NAME_SEGMENT, i);
    struct log_segment segment;
    const uint8_t *bytes;
    as_err err;

    if (file->size < LOG_DATA_OFFSET)
        return log_refuse(in, AS_ERR_CORRUPT, "%s: too short for a segment (%llu bytes)",
                          file->name, (unsigned long long)file->size);
    log_window_open(&in->window, file);
    bytes = log_window_get(&in->window, 0, LOG_HEADER_BYTES);
    if (!bytes)
        return log_refuse(in, in->window.err, "%s: cannot be read at offset 0 (%s)", file->name,
                          as_err_text(in->window.err));
    err = log_segment_take(bytes, &segment);
    if (err)
        return header_refused(in, file->name, err);
    err = log_identity_check(in, file->name, &segment.identity);
    if (err)
        return err;
    if (segment.start != file->number)
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: offset 40: the file was renamed; its header says %016llx.log",
                          file->name, (unsigned long long)segment.start);
    if (segment.size != file->size)
        return log_refuse(in, AS_ERR_CORRUPT, "%s: the file has %llu bytes instead of %llu",
                          file->name, (unsigned long long)file->size,
                          (unsigned long long)segment.size);
    as_put_bytes(&in->headers, &segment, sizeof segment);
    return in->headers.err ? AS_ERR_NOMEM : AS_OK;
}

/* Newest first would do for identity; in order is needed for all else. */
static as_err read_headers(struct log_recovery *in)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);

    for (size_t i = 0; i < count; i++) {
        as_err err = read_header(in, i);

        if (err)
            return err;
    }
    return AS_OK;
}

/*
 * Where the needed part of the log begins: the last segment before which no entry stood that the
 * snapshot does not hold. (The firsts need not ascend: a truncation may go back over segments.)
 */
static as_err find_base(struct log_recovery *in)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);
    size_t base = count;

    if (!count)
        return log_refuse(in, AS_ERR_CORRUPT, "%016llx.snap has no log segment beside it",
                          (unsigned long long)in->snapshot.index);
    while (base > 0 && log_header_at(in, base - 1)->first > in->snapshot.index + 1)
        base--;
    if (base == 0)
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: entries %llu to %llu before it are missing: a segment or snapshot "
                          "was removed",
                          log_file_at(in, LOG_NAME_SEGMENT, 0)->name,
                          (unsigned long long)in->snapshot.index + 1,
                          (unsigned long long)log_header_at(in, 0)->first - 1);
    in->base = base - 1;
    if (log_header_at(in, in->base)->first == 1)
        return AS_OK;
    return log_terms_add(&in->runs, log_header_at(in, in->base)->first - 1,
                         log_header_at(in, in->base)->fold.last_term);
}

/* --- Segment by segment --- */

static bool follows(const struct log_recovery *in, const struct log_segment *segment,
                    const struct log_segment *next, uint64_t offset)
{
    const struct log_fold *fold = &in->fold;

    return next->start == segment->start + segment->size &&
           next->prev_end == segment->start + offset && next->fold.last_index == fold->last_index &&
           next->fold.last_term == fold->last_term &&
           next->fold.last_time_ms == fold->last_time_ms &&
           next->fold.vote_term == fold->vote_term && next->fold.voted_for == fold->voted_for;
}

static as_err refuse_verdict(struct log_recovery *in, enum log_verdict verdict, size_t i,
                             uint64_t offset)
{
    const char *name = log_file_at(in, LOG_NAME_SEGMENT, i)->name;
    unsigned long long at = offset;
    unsigned long long next = in->fold.last_index + 1;
    unsigned long long after = log_header_at(in, i)->start + log_header_at(in, i)->size;

    switch (verdict) {
    case LOG_VERDICT_GAP:
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: offset %llu: the next segment, %016llx.log, is missing", name, at,
                          after);
    case LOG_VERDICT_MISFIT:
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: offset %llu: an intact record that cannot follow entry %llu", name,
                          at, next - 1);
    case LOG_VERDICT_STRANGER:
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: does not continue %s, which ends at offset %llu with entry %llu: a "
                          "segment is missing or from elsewhere",
                          log_file_at(in, LOG_NAME_SEGMENT, i + 1)->name, name, at, next - 1);
    default:
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%s: offset %llu: the record behind entry %llu is damaged, and later "
                          "bytes prove that it was durable",
                          name, at, next - 1);
    }
}

/* What the header knows of the vote; with the first segment, of everything before. */
static as_err enter_segment(struct log_recovery *in, size_t i)
{
    const struct log_fold *fold = &log_header_at(in, i)->fold;
    const struct log_replay *replay = in->replay;
    bool voted = fold->vote_term != in->fold.vote_term || fold->voted_for != in->fold.voted_for;

    in->fold = *fold;
    return voted && replay && replay->vote
               ? replay->vote(replay->ctx, fold->vote_term, fold->voted_for)
               : AS_OK;
}

static as_err judge_segment(struct log_recovery *in, size_t i)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);
    const struct log_segment *segment = log_header_at(in, i);
    struct log_ending ending = {.last = i + 1 == count};
    struct log_scan scan;
    enum log_verdict verdict;
    uint64_t end;
    as_err err = enter_segment(in, i);

    if (!err)
        err = log_scan_records(in, i, &scan);
    if (err)
        return err;
    end = scan.offset;
    ending.end = scan.end;
    if (scan.end == LOG_END_NONE)
        err = log_scan_claims(in, i, scan.offset, &ending.claimed, &end);
    if (err)
        return err;
    ending.follows = !ending.last && follows(in, segment, log_header_at(in, i + 1), scan.offset);
    verdict = log_judge(&ending);
    switch (verdict) {
    case LOG_VERDICT_END:
        in->tail = scan.offset;
        in->garbage_end = end;
        return AS_OK;
    case LOG_VERDICT_RESEAL:
        in->reseal = true;
        in->seal_offset = scan.offset;
        return AS_OK;
    case LOG_VERDICT_NEXT:
        in->seal_offset = scan.offset;
        return AS_OK;
    default:
        return refuse_verdict(in, verdict, i, scan.offset);
    }
}

/* The record that stands, torn, at the tail counts too where its first bytes still tell its length.
 */
static as_err measure_tail(struct log_recovery *in)
{
    size_t last = log_file_count(in, LOG_NAME_SEGMENT) - 1;
    const struct log_segment *segment = log_header_at(in, last);
    uint64_t cut = in->garbage_end - in->tail;

    if (!cut && in->tail + LOG_RECORD_HEADER <= segment->size) {
        const uint8_t *at;

        log_window_open(&in->window, log_file_at(in, LOG_NAME_SEGMENT, last));
        at = log_window_get(&in->window, in->tail, 8);
        if (!at)
            return in->window.err;
        cut = log_record_probe(at, log_segment_salt(segment), segment->start + in->tail,
                               segment->size - in->tail);
    }
    in->report->cut_bytes = cut;
    if (cut)
        snprintf(in->report->detail, sizeof in->report->detail,
                 "%s: offset %llu: torn tail of %llu bytes, none of it ever acknowledged: %s",
                 in->window.name, (unsigned long long)in->tail, (unsigned long long)cut,
                 in->config->read_only ? "a node that opens this log will cut it" : "cut");
    return AS_OK;
}

static void fill_report(struct log_recovery *in)
{
    struct log_report *report = in->report;

    report->incarnation = in->identity.incarnation;
    report->node = in->identity.node;
    memcpy(report->cluster, in->identity.cluster, sizeof report->cluster);
    report->snapshot_index = in->snapshot.index;
    report->snapshot_term = in->snapshot.term;
    report->snapshot_received = in->snapshot.received;
    report->first_index = in->fold.last_index > in->snapshot.index ? in->snapshot.index + 1 : 0;
    report->last_index = in->fold.last_index;
    report->last_term = in->fold.last_term;
    report->last_time_ms = in->fold.last_time_ms;
    report->vote_term = in->fold.vote_term;
    report->voted_for = in->fold.voted_for;
}

/*
 * The snapshot was taken of this log: its last entry stands in it, in the same term. Or it was
 * received, and the log is about to begin anew behind it: a crash came before the log said so.
 */
static as_err join_snapshot(struct log_recovery *in)
{
    uint64_t index = in->snapshot.index;
    unsigned long long number = index, last = in->fold.last_index;

    if (in->snapshot.received &&
        (index > in->fold.last_index || log_terms_at(&in->runs, index) != in->snapshot.term)) {
        in->install = true;
        in->fold.last_index = index;
        in->fold.last_term = in->snapshot.term;
        log_terms_cut(&in->runs, 0);
        as_err err = log_terms_add(&in->runs, index, in->snapshot.term);

        return err ? err : log_deliver_truncation(in, 0);
    }
    if (index > in->fold.last_index)
        return log_refuse(in, AS_ERR_CORRUPT,
                          "the log ends with entry %llu, before its snapshot %016llx.snap", last,
                          number);
    if (index && log_terms_at(&in->runs, index) != in->snapshot.term)
        return log_refuse(in, AS_ERR_CORRUPT,
                          "%016llx.snap: offset 40: the log has entry %llu in term %llu, not %llu",
                          number, number, (unsigned long long)log_terms_at(&in->runs, index),
                          (unsigned long long)in->snapshot.term);
    return AS_OK;
}

static as_err recover_records(struct log_recovery *in)
{
    size_t count = log_file_count(in, LOG_NAME_SEGMENT);
    as_err err = AS_OK;

    in->report->segments = (uint32_t)(count - in->base);
    for (size_t i = in->base; i < count && !err; i++)
        err = judge_segment(in, i);
    if (err)
        return err;
    err = join_snapshot(in);
    return err ? err : measure_tail(in);
}

/* As large as the largest file, up to a bound that holds any record and chunk. */
static as_err make_window(struct log_recovery *in)
{
    struct log_window *window = &in->window;

    window->disk = in->disk;
    window->cap = LOG_DATA_OFFSET;
    for (size_t kind = LOG_NAME_SEGMENT; kind <= LOG_NAME_SNAPSHOT; kind++)
        for (size_t i = 0; i < log_file_count(in, (enum log_name)kind); i++) {
            uint64_t size = log_file_at(in, (enum log_name)kind, i)->size;

            if (size > window->cap)
                window->cap = size < LOG_WINDOW_BYTES ? (size_t)size : LOG_WINDOW_BYTES;
        }
    window->data = as_alloc(window->cap);
    return window->data ? AS_OK : AS_ERR_NOMEM;
}

as_err log_recover(struct log_recovery *in)
{
    size_t snapshots;
    as_err err;

    in->identity.incarnation = in->config->incarnation;
    in->identity.node = in->config->node;
    memcpy(in->identity.cluster, in->config->cluster, sizeof in->identity.cluster);
    for (size_t kind = 0; kind < AS_COUNT_OF(in->files); kind++)
        as_buf_init(&in->files[kind], SIZE_MAX / 2);
    as_buf_init(&in->headers, SIZE_MAX / 2);
    as_buf_init(&in->runs, LOG_TERMS_BYTES_MAX);
    as_buf_init(&in->chunk_at, LOG_CHUNK_AT_BYTES_MAX);
    err = log_list(in);
    if (!err)
        err = make_window(in);
    if (err)
        return err;
    snapshots = log_file_count(in, LOG_NAME_SNAPSHOT);
    if (!snapshots && !log_file_count(in, LOG_NAME_SEGMENT))
        return log_refuse(in, AS_ERR_NOTFOUND, "there is no log in this directory");
    err = read_headers(in);
    if (!err && snapshots)
        err = log_snapshot_replay(in, log_file_at(in, LOG_NAME_SNAPSHOT, snapshots - 1));
    if (!err)
        err = find_base(in);
    if (!err)
        err = recover_records(in);
    fill_report(in);
    return err;
}

void log_recovery_close(struct log_recovery *in)
{
    for (size_t kind = 0; kind < AS_COUNT_OF(in->files); kind++)
        as_buf_close(&in->files[kind]);
    as_buf_close(&in->headers);
    as_buf_close(&in->runs);
    as_buf_close(&in->chunk_at);
    as_free(in->window.data);
}
