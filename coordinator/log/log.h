/*
 * The decision log on disk: where a decision is made durable (protocol.md, "Decision log on disk").
 *
 * Pure: opening uses the blocking `struct as_disk`; running is `log_step`, which asks for disk
 * operations and is told when they are done. One write is in flight at a time; what is appended
 * meanwhile gathers and goes with the next (group commit).
 *
 * A record is an ENTRY (index, term, log time, type, payload: opaque here), a VOTE (Raft's hard
 * state: term and who was voted for), a TRUNCATE (entries from an index on are void), an INSTALL
 * (all entries before it are void: a received snapshot stands in their place), or a MARK (says only:
 * everything before me is durable). Every record says up to which position the log was known durable
 * when it was written; that tells a torn tail from corruption.
 */
#ifndef ASSENT_LOG_H
#define ASSENT_LOG_H

#include "assent/attempt.h"
#include "assent/disk.h"
#include "assent/trace.h"

#define LOG_FORMAT_VERSION 2

struct log;

struct log_config {
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    /* At log_open, cluster "", incarnation 0 and node 0 mean: whatever the directory says. */
    uint64_t incarnation;
    uint64_t node;
    uint64_t segment_bytes; /* 0: AS_SEGMENT_BYTES */
    uint32_t mark_ms;       /* 0: 100 */
    uint32_t full_retry_ms; /* 0: 1000: how often a failed creation of a segment is tried again */
    bool read_only;         /* verify and dump: nothing is repaired */
};

struct log_entry {
    uint64_t index;
    uint64_t term;
    int64_t time_ms;
    uint8_t type; /* of the table's records; opaque */
    struct as_bytes payload;
};

/*
 * What opening hands over, in order: the newest snapshot's chunks, then entries behind it, votes,
 * and truncations, as they stand in the log. The first entry is the one behind the snapshot, each
 * further one follows the one before; after truncate(i) the next one is i. Only the end tells which
 * entries stand, so none may be acted on before log_open has returned. If opening then fails, all of
 * it is to be thrown away. An error of a callback ends the opening and is returned. Any callback, or
 * the whole, may be NULL; but where entries are wanted and some of them are truncated, a missing
 * `truncate` ends the opening with INVALID.
 */
struct log_replay {
    void *ctx;
    as_err (*snapshot)(void *ctx, struct as_bytes chunk, bool last);
    as_err (*entry)(void *ctx, const struct log_entry *entry);
    as_err (*vote)(void *ctx, uint64_t term, uint64_t voted_for);
    as_err (*truncate)(void *ctx, uint64_t index); /* entries from here on that were handed over */
};

/* What was found. On an error `detail` names file and offset and says what to do. */
struct log_report {
    uint64_t incarnation;
    uint64_t node;
    char cluster[AS_CLUSTER_LEN_MAX + 1];
    uint64_t snapshot_index, snapshot_term;      /* 0: none */
    bool snapshot_received;                      /* from a leader, not taken here */
    uint64_t first_index, last_index, last_term; /* of entries behind the snapshot; first 0: none */
    uint64_t vote_term, voted_for;
    int64_t last_time_ms;
    uint32_t segments;
    uint64_t records, truncations;
    uint64_t cut_bytes; /* of a torn tail */
    char detail[512];
};

/* Makes the log of a new node in an empty directory. EXISTS: it is not empty. */
as_err log_bootstrap(const struct log_config *config, const struct as_disk *disk) AS_MUSTCHECK;

/*
 * Scans, repairs a torn tail, replays. NOTFOUND: no log here. CORRUPT, FOREIGN, VERSION: refuses,
 * and nothing was changed; `ret_report->detail` tells where and what to do. `ret_report` is filled
 * in as far as known.
 */
as_err log_open(struct log **ret_log, const struct log_config *config, const struct as_disk *disk,
                const struct log_replay *replay, struct log_report *ret_report) AS_MUSTCHECK;
void log_free(struct log *log);

enum log_event_kind {
    LOG_APPEND, /* gather one record: no operations, no traces; nothing is written before FLUSH */
    LOG_VOTE,   /* gather a VOTE record, likewise */
    /*
     * Gather a TRUNCATE record, likewise: entries from `index` on are void, the next one appended is
     * `index` again. It takes effect in the order of the write sequence numbers, which alone tell
     * the new entry's persistence from that of the old one. INVALID: the log has no such entry, or a
     * snapshot covers it.
     */
    LOG_TRUNCATE,
    LOG_FLUSH,     /* the turn ends: write what gathered, unless a write is in flight */
    LOG_DISK_DONE, /* `ticket` ended with `err` */
    LOG_TIMER,
    LOG_SNAPSHOT_BEGIN, /* of the table at index, term: at most the durable index */
    LOG_SNAPSHOT_CHUNK, /* copied; only after effect `snapshot_wants_chunk` */
    LOG_SNAPSHOT_GIVE_UP,
    /*
     * A snapshot received from the leader takes the place of the whole log. BEGIN may come at any
     * time: a local snapshot under way is given up, and so is a received one before its last chunk;
     * then effect `install_wants_chunk` asks for each chunk. After the last one the log takes no
     * APPEND and no TRUNCATE (BUSY; votes it takes) until `install_done` or `install_given_up`. Done
     * means durable: log_last_index is then its index. A crash before leaves the log as it was, or,
     * once the file has its name, as it will be. EXISTS (also at the last chunk): the log holds that
     * very entry itself; what follows it may have been acknowledged and must stay.
     */
    LOG_INSTALL_BEGIN,
    LOG_INSTALL_CHUNK, /* copied */
    LOG_INSTALL_GIVE_UP,
    /*
     * Reads one chunk of the newest snapshot, whichever was written or received here, for a follower
     * that needs it: answered by effect `chunk`, perhaps in this very step. BUSY: one is being read,
     * ask again when it was answered. NOTFOUND: no such chunk, or no snapshot at all.
     */
    LOG_READ_CHUNK,
};

struct log_event {
    enum log_event_kind kind;
    as_time now;
    union {
        struct {
            struct log_entry entry; /* index must be last_index + 1 */
            bool forced;            /* new work: refused with NOSPACE when the log is nearly full */
        } append;
        struct {
            uint64_t term, voted_for;
        } vote;
        struct {
            uint64_t index;
        } truncate;
        struct {
            uint64_t ticket;
            as_err err;
        } disk_done;
        struct {
            uint64_t index, term;
        } snapshot;
        struct {
            uint64_t index, term; /* of the last entry in it */
        } install;
        struct {
            struct as_bytes bytes;
            bool last;
        } chunk; /* SNAPSHOT_CHUNK, INSTALL_CHUNK */
        struct {
            uint64_t index;  /* of the snapshot that is being read */
            uint32_t number; /* from 0 */
        } read;
    };
};

/* What a LOG_READ_CHUNK got. */
struct log_chunk {
    uint64_t index; /* of the snapshot; 0: no answer in this step */
    uint32_t number;
    /* NOTFOUND: this snapshot is not the newest any more, begin anew with log_snapshot_index.
     * CORRUPT, IO: it is damaged or cannot be read (traced); the next snapshot replaces it. */
    as_err err;
    bool last;
    struct as_bytes bytes;
};

/* Belongs to the log until its next step; the ops and their bytes until each is done. */
struct log_effects {
    const struct as_disk_op *ops;
    size_t op_count;
    uint64_t written_seq;   /* APPEND, VOTE, TRUNCATE: this record's write sequence number: the
                               first since opening has 1, each further one the next */
    uint64_t persisted_seq; /* everything up to this number is durable (grows; contract 4) */
    /* The log as it was appended is durable up to this entry. Goes back at once with TRUNCATE, and
     * forth only when what took the place of old entries is durable. */
    uint64_t persisted_index;
    bool full;                 /* new work is refused now; recovers by itself */
    bool snapshot_wants_chunk; /* in one step's effects only: give the next chunk, once */
    bool snapshot_given_up;    /* in one step's effects only: no space for it; it is over */
    uint64_t snapshot_done;    /* index of a snapshot that just became the newest; 0: none */
    bool install_wants_chunk;  /* these three: likewise */
    bool install_given_up;
    uint64_t install_done;
    struct log_chunk chunk;
    const struct as_trace *traces;
    size_t trace_count;
    const char *fatal; /* NULL, or why the process must end now: a sync or write failed */
};

/*
 * NOSPACE: a forced record is refused, the disk is full; or any record does not fit any more.
 * TOOBIG: over AS_RECORD_BYTES_MAX or a quarter of a segment, or a chunk of 2 MiB and more. NOMEM.
 * INVALID: not the next index, a lower term, a second vote in a term, an unknown ticket, a chunk
 * nobody asked for, a snapshot older than the newest. BUSY: a snapshot is under way. IO: the log has
 * failed before. In all of them nothing changed. A snapshot that fails for want of space is given up
 * (traced), never fatal.
 * DISK_DONE, FLUSH and TIMER never fail for want of memory.
 */
as_err log_step(struct log *log, const struct log_event *event,
                struct log_effects *ret_effects) AS_MUSTCHECK;
as_time log_deadline(const struct log *log);

/* A VOTE and a TRUNCATE would both be taken now. Raft cannot go on without them, so while this is
 * false it must be given nothing that they may come of. */
bool log_has_state_room(const struct log *log);
uint64_t log_last_index(const struct log *log);
uint64_t log_persisted_index(const struct log *log);
uint64_t log_snapshot_index(const struct log *log); /* of the newest; 0: none */
uint64_t log_snapshot_bytes(const struct log *log); /* of its file; 0: none */
/* Bytes of entries behind the newest snapshot: the node snapshots when they pass its limit. */
uint64_t log_bytes_since_snapshot(const struct log *log);

struct log_counts {
    uint64_t records, bytes, syncs, segments, snapshots;
    uint32_t batch_records_last;
};
void log_count(const struct log *log, struct log_counts *ret);

#endif
