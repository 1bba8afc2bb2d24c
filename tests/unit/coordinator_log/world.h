/*
 * A log on a fake disk, beside an oracle that remembers every record ever appended and which of
 * them were acknowledged. After each opening the oracle demands: what came back is what a prefix of
 * the records amounts to, the prefix holds all that was acknowledged, and the contents are right to
 * the byte. A truncated entry that comes back, a lost vote, an old entry in a new one's place: all
 * of these are states that no such prefix has.
 */
#ifndef ASSENT_TEST_LOG_WORLD_H
#define ASSENT_TEST_LOG_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/support.h"
#include "assent/alloc.h"
#include "assent/map.h"
#include "coordinator/log/log.h"
#include "tests/support/fake_disk.h"

#define WORLD_RECORDS 20000
#define WORLD_INDEXES (3 * WORLD_RECORDS)
#define WORLD_NODE 3
#define WORLD_CHUNKS 3 /* of a snapshot */

enum world_kind { WORLD_ENTRY, WORLD_VOTE, WORLD_TRUNCATE, WORLD_INSTALL };

struct world_record {
    enum world_kind kind;
    uint64_t index, term; /* of a vote: voted_for, term. Of a truncation: the first void one */
    uint64_t hash;        /* of an entry: all that it says */
};

/* What the first so many records amount to. */
struct world_state {
    uint64_t last, floor, floor_term; /* floor: an installed snapshot; entries up to it are in it */
    uint64_t vote_term, voted_for;
    uint32_t live[WORLD_INDEXES]; /* which record an entry is */
};

struct world {
    struct fake_disk disk;
    struct log_config config;
    struct log *log;
    struct log_report report;
    struct log_effects effects; /* of the last step */
    as_time now;
    struct as_rng rng;
    struct world_record *records;   /* WORLD_RECORDS */
    size_t count, acked, base;      /* base: what the last opening brought back */
    size_t installed;               /* records among them since then that have no sequence number */
    struct world_state *state;      /* of all of them */
    struct world_state *found;      /* scratch of an opening */
    uint64_t term;                  /* entries appended have at least this one */
    uint64_t snapshot;              /* the newest that was reported done */
    uint64_t snapshot_next;         /* being written */
    uint64_t install, install_term; /* being received */
    bool switching;                 /* from its last chunk on: a crash may find it or not */
    uint32_t chunk;
    bool wants_chunk, given_up, install_given_up;
    const char *fatal;
    uint64_t first_handed, last_handed; /* entries, by the opening under way */
    uint64_t *handed;                   /* their hashes, by index */
    uint64_t lowest_term;               /* of them */
    bool replay_wrong;
    uint32_t writes_in_flight;
    uint64_t reading; /* the snapshot of which a chunk is being read */
    uint32_t reading_chunk;
    uint64_t reads, installs; /* that came to an end */
    uint64_t traces[AS_TRACE_COUNT];
};

/* --- What a record and a snapshot hold --- */

static FAKE_UNUSED size_t world_payload(uint64_t content, uint8_t *ret_bytes)
{
    struct as_rng rng = {content};
    uint64_t kind = as_rng_below(&rng, 16);
    size_t len = (size_t)as_rng_below(&rng, kind == 0 ? 16000 : kind < 4 ? 1500 : 200);

    for (size_t i = 0; i < len; i += 8) {
        uint64_t value = as_rng_next(&rng);

        memcpy(ret_bytes + i, &value, len - i < 8 ? len - i : 8);
    }
    return len;
}

static FAKE_UNUSED size_t world_chunk(uint64_t index, uint32_t number, uint8_t *ret_bytes)
{
    return world_payload(index * 1000 + number, ret_bytes);
}

static FAKE_UNUSED uint64_t world_hash(const struct log_entry *entry)
{
    uint64_t envelope[4] = {entry->index, entry->term, (uint64_t)entry->time_ms, entry->type};

    return as_hash(entry->payload.data, entry->payload.len, as_hash(envelope, sizeof envelope, 1));
}

/* --- The oracle --- */

static FAKE_UNUSED void world_state_add(struct world_state *state, const struct world *world,
                                        uint32_t number)
{
    const struct world_record *record = &world->records[number];

    switch (record->kind) {
    case WORLD_ENTRY:
        assert_true(record->index == state->last + 1 && record->index < WORLD_INDEXES);
        state->live[record->index] = number;
        state->last = record->index;
        break;
    case WORLD_VOTE:
        state->vote_term = record->term;
        state->voted_for = record->index;
        break;
    case WORLD_TRUNCATE:
        state->last = record->index - 1;
        break;
    case WORLD_INSTALL:
        state->last = state->floor = record->index;
        state->floor_term = record->term;
        break;
    }
}

/* 0: there is no such entry. */
static FAKE_UNUSED uint64_t world_state_term(const struct world *world,
                                             const struct world_state *state, uint64_t index)
{
    if (!index || index > state->last || index < state->floor)
        return 0;
    return index == state->floor ? state->floor_term : world->records[state->live[index]].term;
}

static FAKE_UNUSED uint64_t world_term_at(const struct world *world, uint64_t index)
{
    return world_state_term(world, world->state, index);
}

/* Whether an opening found exactly this. */
static FAKE_UNUSED bool world_state_is(const struct world *world, const struct world_state *state)
{
    const struct log_report *report = &world->report;

    if (state->last != report->last_index ||
        world_state_term(world, state, state->last) != report->last_term ||
        state->vote_term != report->vote_term || state->voted_for != report->voted_for ||
        report->snapshot_index < state->floor)
        return false;
    if (world->last_handed
            ? world->last_handed != state->last || world->first_handed != report->snapshot_index + 1
            : state->last != report->snapshot_index)
        return false;
    for (uint64_t i = state->last; i > report->snapshot_index; i--)
        if (world->records[state->live[i]].hash != world->handed[i])
            return false;
    return true;
}

/*
 * How many records in order make exactly what was found; count + 1: no prefix does. *ret_install: a
 * received snapshot has taken the place of their entries. Leaves their state in world->found.
 */
static FAKE_UNUSED size_t world_prefix(struct world *world, bool *ret_install)
{
    struct world_state *state = world->found;
    size_t found = world->count + 1;

    memset(state, 0, offsetof(struct world_state, live));
    *ret_install = false;
    for (size_t i = 0;; i++) {
        bool plain = world_state_is(world, state), installed = false;

        if (world->switching && !plain) {
            struct world_state kept = {
                .last = state->last, .floor = state->floor, .floor_term = state->floor_term};

            state->last = state->floor = world->install;
            state->floor_term = world->install_term;
            installed = world_state_is(world, state);
            state->last = kept.last;
            state->floor = kept.floor;
            state->floor_term = kept.floor_term;
        }
        if (plain || installed) {
            found = i;
            *ret_install = installed;
        }
        if (i == world->count)
            return found;
        world_state_add(state, world, (uint32_t)i);
    }
}

static FAKE_UNUSED void world_forget(struct world *world, size_t count)
{
    world->count = count;
    memset(world->state, 0, offsetof(struct world_state, live));
    for (size_t i = 0; i < count; i++)
        world_state_add(world->state, world, (uint32_t)i);
}

static FAKE_UNUSED void world_remember(struct world *world, struct world_record record)
{
    assert_true(world->count < WORLD_RECORDS);
    world->records[world->count] = record;
    world_state_add(world->state, world, (uint32_t)world->count++);
}

/* An installation has no sequence number: its place is where all before it is acknowledged; only
 * votes can be appended and not acknowledged then, and they do not mind. */
static FAKE_UNUSED void world_installed(struct world *world, size_t at)
{
    for (size_t i = world->count++; i > at; i--) {
        world->records[i] = world->records[i - 1];
        assert_int_equal(world->records[i].kind, WORLD_VOTE);
    }
    world->records[at] =
        (struct world_record){WORLD_INSTALL, world->install, world->install_term, 0};
    world->installed++;
    world->installs++;
    world_forget(world, world->count);
    if (world->snapshot < world->install)
        world->snapshot = world->install;
    world->install = 0;
    world->switching = false;
}

/* --- Replay --- */

static FAKE_UNUSED as_err world_on_snapshot(void *ctx, struct as_bytes chunk, bool last)
{
    static uint8_t bytes[16384];
    struct world *world = ctx;
    uint64_t index = 0;
    size_t len;

    /* The report is not filled in yet: the name of the newest snapshot tells which it is. */
    for (size_t i = 0; i < FAKE_FILES; i++) {
        unsigned long long found;
        const char *name = world->disk.files[i].name;

        if (world->disk.files[i].used && strlen(name) == 21 &&
            sscanf(name, "%16llx.snap", &found) == 1 && found > index)
            index = found;
    }
    len = world_chunk(index, world->chunk++, bytes);
    world->replay_wrong |= chunk.len != len || memcmp(chunk.data, bytes, len) != 0 ||
                           last != (world->chunk == WORLD_CHUNKS) || world->last_handed;
    return AS_OK;
}

static FAKE_UNUSED as_err world_on_entry(void *ctx, const struct log_entry *entry)
{
    struct world *world = ctx;

    if (entry->index >= WORLD_INDEXES ||
        (world->last_handed && entry->index != world->last_handed + 1)) {
        world->replay_wrong = true;
        return AS_OK;
    }
    /* Who takes them rests on that: of the old log nothing that cannot stand behind the snapshot. */
    if (entry->term < world->lowest_term)
        world->lowest_term = entry->term;
    if (!world->last_handed)
        world->first_handed = entry->index;
    world->last_handed = entry->index;
    world->handed[entry->index] = world_hash(entry);
    return AS_OK;
}

static FAKE_UNUSED as_err world_on_truncate(void *ctx, uint64_t index)
{
    struct world *world = ctx;

    world->replay_wrong |=
        !world->last_handed || index < world->first_handed || index > world->last_handed;
    world->last_handed = index > world->first_handed ? index - 1 : 0;
    return AS_OK;
}

static FAKE_UNUSED as_err world_open_as(struct world *world, const struct log_config *config,
                                        struct log **ret_log)
{
    struct as_disk door = fake_door(&world->disk);
    struct log_replay replay = {world, world_on_snapshot, world_on_entry, NULL, world_on_truncate};

    world->chunk = 0;
    world->last_handed = world->first_handed = 0;
    world->lowest_term = UINT64_MAX;
    world->replay_wrong = false;
    return log_open(ret_log, config, &door, &replay, &world->report);
}

/* Whether what an opening handed over is a prefix of what was appended; *ret_kept: how long. */
static FAKE_UNUSED bool world_sound(struct world *world, size_t *ret_kept, bool *ret_install)
{
    *ret_kept = world_prefix(world, ret_install);
    return !world->replay_wrong && world->lowest_term >= world->report.snapshot_term &&
           *ret_kept <= world->count;
}

static FAKE_UNUSED as_err world_open(struct world *world)
{
    as_err err = world_open_as(world, &world->config, &world->log);
    bool install;
    size_t kept;

    if (err)
        return err;
    if (!world_sound(world, &kept, &install) || kept < world->acked ||
        world->report.snapshot_index < world->snapshot)
        fail_msg("after opening: %zu of %zu records, %zu acknowledged; replay %s; snapshot %llu of "
                 "%llu",
                 kept, world->count, world->acked, world->replay_wrong ? "wrong" : "right",
                 (unsigned long long)world->report.snapshot_index,
                 (unsigned long long)world->snapshot);
    world_forget(world, kept);
    if (install)
        world_installed(world, kept);
    /* What was handed over will be acted on: it counts as acknowledged. */
    world->acked = world->base = world->count;
    world->installed = 0;
    world->snapshot = world->report.snapshot_index;
    world->snapshot_next = world->install = 0;
    world->switching = world->wants_chunk = false;
    world->writes_in_flight = 0;
    world->reading = 0;
    world->fatal = NULL;
    assert_int_equal(world->report.last_term, world_term_at(world, world->report.last_index));
    assert_int_equal(log_last_index(world->log), world->report.last_index);
    assert_int_equal(log_persisted_index(world->log), world->report.last_index);
    assert_int_equal(log_snapshot_index(world->log), world->report.snapshot_index);
    return AS_OK;
}

static FAKE_UNUSED void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    fake_init(&world->disk, seed ^ 0x5eed);
    world->rng.state = seed;
    world->config = (struct log_config){.cluster = "demo",
                                        .incarnation = 0x5f3a9c01d2e4b687,
                                        .node = WORLD_NODE,
                                        .segment_bytes = AS_SEGMENT_BYTES_MIN};
    world->records = malloc(WORLD_RECORDS * sizeof *world->records);
    world->state = calloc(1, sizeof *world->state);
    world->found = calloc(1, sizeof *world->found);
    world->handed = calloc(WORLD_INDEXES, sizeof *world->handed);
    world->now = AS_SECOND;
}

static FAKE_UNUSED void world_start(struct world *world, uint64_t seed)
{
    struct as_disk door;

    world_init(world, seed);
    door = fake_door(&world->disk);
    assert_int_equal(log_bootstrap(&world->config, &door), AS_OK);
    assert_int_equal(world_open(world), AS_OK);
}

static FAKE_UNUSED void world_clear(struct world *world)
{
    fake_close(&world->disk);
    free(world->records);
    free(world->state);
    free(world->found);
    free(world->handed);
}

static FAKE_UNUSED void world_close(struct world *world)
{
    log_free(world->log);
    world_clear(world);
}

/* --- Running --- */

/* What is told to be persisted is what was appended last at each index, and acknowledged. */
static FAKE_UNUSED void world_check_persisted(const struct world *world)
{
    uint64_t index = world->effects.persisted_index;

    assert_int_equal(index, log_persisted_index(world->log));
    if (world->switching) /* the log is about to begin anew */
        return;
    assert_true(index <= world->state->last);
    assert_true(index <= world->state->floor || world->state->live[index] < world->acked);
    if (world->acked == world->count)
        assert_int_equal(index, world->state->last);
}

static FAKE_UNUSED void world_snapshots(struct world *world)
{
    const struct log_effects *effects = &world->effects;

    world->wants_chunk |= effects->snapshot_wants_chunk || effects->install_wants_chunk;
    world->given_up |= effects->snapshot_given_up;
    if (effects->snapshot_given_up)
        world->wants_chunk = effects->install_wants_chunk;
    if (effects->install_wants_chunk)
        assert_true(world->install != 0);
    if (effects->install_given_up) {
        assert_true(world->install != 0);
        world->install = 0;
        world->switching = false;
        world->install_given_up = true;
    }
    if (effects->snapshot_done) {
        assert_int_equal(effects->snapshot_done, world->snapshot_next);
        world->snapshot = effects->snapshot_done;
    }
    if (effects->install_done) {
        assert_true(world->switching);
        assert_int_equal(effects->install_done, world->install);
        assert_int_equal(log_last_index(world->log), world->install);
        assert_int_equal(log_persisted_index(world->log), world->install);
        world_installed(world, world->acked);
        world->acked++;
    }
}

/* A chunk that is handed over is the one that was asked for, to the byte. */
static FAKE_UNUSED void world_check_chunk(struct world *world)
{
    static uint8_t bytes[16384];
    const struct log_chunk *chunk = &world->effects.chunk;
    size_t len;

    if (!chunk->index)
        return;
    assert_true(chunk->index == world->reading && chunk->number == world->reading_chunk);
    world->reading = 0;
    if (chunk->err)
        return;
    world->reads++;
    len = world_chunk(chunk->index, chunk->number, bytes);
    assert_int_equal(chunk->bytes.len, len);
    assert_memory_equal(chunk->bytes.data, bytes, len);
    assert_int_equal(chunk->last, chunk->number + 1 == WORLD_CHUNKS);
}

static FAKE_UNUSED as_err world_step(struct world *world, struct log_event event)
{
    struct log_effects *effects = &world->effects;
    size_t acked;
    as_err err;

    event.now = world->now;
    err = log_step(world->log, &event, effects);
    for (size_t i = 0; i < effects->op_count; i++) {
        if (effects->ops[i].kind == AS_DISK_WRITE)
            world->writes_in_flight++;
        fake_start(&world->disk, &effects->ops[i]);
    }
    assert_true(world->writes_in_flight <= 1);
    for (size_t i = 0; i < effects->trace_count; i++)
        world->traces[effects->traces[i].kind]++;
    acked = world->base + world->installed + effects->persisted_seq;
    assert_true(acked >= world->acked);
    assert_true(acked <= world->count);
    world->acked = acked;
    world->fatal = effects->fatal;
    world_snapshots(world);
    world_check_chunk(world);
    if (err)
        assert_int_equal(effects->op_count, 0);
    else if (event.kind != LOG_APPEND && event.kind != LOG_VOTE && event.kind != LOG_TRUNCATE)
        world_check_persisted(world);
    return err;
}

static FAKE_UNUSED as_err world_gather(struct world *world, struct log_event event,
                                       struct world_record record)
{
    as_err err = world_step(world, event);

    if (err)
        return err;
    world_remember(world, record);
    assert_int_equal(world->base + world->installed + world->effects.written_seq, world->count);
    assert_int_equal(log_last_index(world->log), world->state->last);
    world_check_persisted(world);
    return AS_OK;
}

static FAKE_UNUSED as_err world_append_len(struct world *world, bool forced, size_t len,
                                           const uint8_t *bytes, uint64_t content)
{
    uint64_t index = log_last_index(world->log) + 1;
    uint64_t term = index / 50 + 1 < world->term ? world->term : index / 50 + 1;
    struct log_event event = {
        .kind = LOG_APPEND,
        .append = {{index, term, (int64_t)(content >> 8), (uint8_t)content, {bytes, len}}, forced}};
    as_err err = world_gather(
        world, event,
        (struct world_record){WORLD_ENTRY, index, term, world_hash(&event.append.entry)});

    if (!err)
        world->term = term;
    return err;
}

static FAKE_UNUSED as_err world_append(struct world *world, bool forced)
{
    static uint8_t bytes[16384];
    uint64_t content = as_rng_next(&world->rng);
    size_t len = world_payload(content, bytes);

    return world_append_len(world, forced, len, bytes, content);
}

static FAKE_UNUSED as_err world_vote(struct world *world)
{
    uint64_t term = world->state->vote_term + 1, who = as_rng_below(&world->rng, 5) + 1;

    return world_gather(world, (struct log_event){.kind = LOG_VOTE, .vote = {term, who}},
                        (struct world_record){WORLD_VOTE, who, term, 0});
}

/* Another leader: entries from here on are void, and what follows has a later term. */
static FAKE_UNUSED as_err world_truncate(struct world *world, uint64_t index)
{
    as_err err = world_gather(world, (struct log_event){.kind = LOG_TRUNCATE, .truncate = {index}},
                              (struct world_record){WORLD_TRUNCATE, index, 0, 0});

    if (!err)
        world->term++;
    return err;
}

static FAKE_UNUSED void world_flush(struct world *world)
{
    as_err err = world_step(world, (struct log_event){.kind = LOG_FLUSH});

    assert_true(err == AS_OK || world->fatal);
}

/* Finishes one waiting operation and tells the log. */
static FAKE_UNUSED as_err world_finish(struct world *world, size_t i)
{
    struct as_disk_op op;
    as_err err = fake_finish(&world->disk, i, &op);

    if (op.kind == AS_DISK_WRITE)
        world->writes_in_flight--;
    if (err == AS_ERR_NOTFOUND || err == AS_ERR_EXISTS) /* a read too: it was not taken away */
        fail_msg("%s %s: %s", op.name, op.to, as_err_text(err));
    assert_int_equal(
        world_step(world, (struct log_event){.kind = LOG_DISK_DONE, .disk_done = {op.ticket, err}}),
        AS_OK);
    return err;
}

static FAKE_UNUSED void world_install_give_up(struct world *world)
{
    assert_int_equal(world_step(world, (struct log_event){.kind = LOG_INSTALL_GIVE_UP}), AS_OK);
    world->wants_chunk = false;
}

static FAKE_UNUSED void world_feed(struct world *world)
{
    static uint8_t bytes[16384];
    bool last = world->chunk + 1 == WORLD_CHUNKS;
    size_t len =
        world_chunk(world->install ? world->install : world->snapshot_next, world->chunk, bytes);
    as_err err;

    world->wants_chunk = false;
    world->chunk++;
    world->switching = world->install && last;
    err = world_step(
        world, (struct log_event){.kind = world->install ? LOG_INSTALL_CHUNK : LOG_SNAPSHOT_CHUNK,
                                  .chunk = {{bytes, len}, last}});
    if (err == AS_ERR_EXISTS) { /* the log has come so far by itself */
        assert_true(world->switching && world->state->last >= world->install);
        world->switching = false;
        world_install_give_up(world);
        world->install = 0;
    } else if (err) { /* nothing changed: it is asked for again */
        assert_true(err == AS_ERR_NOMEM && test_allocation_failed());
        world->wants_chunk = true;
        world->switching = false;
        world->chunk--;
    }
}

static FAKE_UNUSED as_err world_snapshot_at(struct world *world, uint64_t index)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_BEGIN,
                              .snapshot = {index, world_term_at(world, index)}};
    as_err err = world_step(world, event);

    if (!err) {
        world->snapshot_next = index;
        world->chunk = 0;
    }
    return err;
}

/* Whatever is being written is given up, or goes before. */
static FAKE_UNUSED as_err world_install(struct world *world, uint64_t index, uint64_t term)
{
    uint64_t old = world->install, old_term = world->install_term;
    bool wanted = world->wants_chunk;
    as_err err;

    world->wants_chunk = false;
    world->install = index;
    world->install_term = term;
    err =
        world_step(world, (struct log_event){.kind = LOG_INSTALL_BEGIN, .install = {index, term}});
    if (err) {
        world->wants_chunk = wanted;
        world->install = old;
        world->install_term = old_term;
    } else {
        world->chunk = 0;
        world->term = term > world->term ? term : world->term;
    }
    return err;
}

static FAKE_UNUSED as_err world_read(struct world *world, uint64_t index, uint32_t number)
{
    uint64_t old = world->reading;
    uint32_t old_chunk = world->reading_chunk;
    as_err err;

    world->reading = index;
    world->reading_chunk = number;
    err = world_step(world, (struct log_event){.kind = LOG_READ_CHUNK, .read = {index, number}});
    if (err) {
        world->reading = old;
        world->reading_chunk = old_chunk;
    }
    return err;
}

/* Until nothing is under way and nothing waits. */
static FAKE_UNUSED void world_settle(struct world *world)
{
    while (!world->fatal) {
        if (world->disk.queued)
            (void)world_finish(world, (size_t)as_rng_below(&world->rng, world->disk.queued));
        else if (world->wants_chunk)
            world_feed(world);
        else
            return;
    }
}

static FAKE_UNUSED void world_commit(struct world *world, int entries)
{
    for (int i = 0; i < entries; i++)
        assert_int_equal(world_append(world, true), AS_OK);
    world_flush(world);
    world_settle(world);
    assert_int_equal(world->acked, world->count);
}

static FAKE_UNUSED void world_snapshot(struct world *world)
{
    assert_int_equal(world_snapshot_at(world, log_persisted_index(world->log)), AS_OK);
    world_settle(world);
    assert_int_equal(world->snapshot, world->snapshot_next);
}

static FAKE_UNUSED void world_timer(struct world *world)
{
    as_time at = log_deadline(world->log);

    if (at == AS_NEVER)
        return;
    if (at > world->now)
        world->now = at;
    assert_int_equal(world_step(world, (struct log_event){.kind = LOG_TIMER}), AS_OK);
}

/* The process is gone; what is left is on the disk. */
static FAKE_UNUSED void world_crash(struct world *world, bool power)
{
    if (power)
        fake_power_cut(&world->disk);
    else
        fake_kill(&world->disk);
    log_free(world->log); /* only now: what is under way borrows its bytes */
    world->log = NULL;
    world->disk.fail_at = 0;
}

#endif
