/*
 * A log on a fake disk, beside an oracle that remembers every record ever appended and which of
 * them were acknowledged. After each opening the oracle demands: what came back is a prefix of what
 * was appended, it holds all that was acknowledged, and its contents are right to the byte.
 */
#ifndef ASSENT_TEST_LOG_WORLD_H
#define ASSENT_TEST_LOG_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/support.h"
#include "assent/alloc.h"
#include "coordinator/log/log.h"
#include "tests/support/fake_disk.h"

#define WORLD_RECORDS 20000
#define WORLD_NODE 3
#define WORLD_CHUNKS 3 /* of a snapshot */

struct world_record {
    bool vote;
    uint64_t index, term; /* of a vote: voted_for, term */
    uint64_t content;     /* seeds the payload */
};

struct world {
    struct fake_disk disk;
    struct log_config config;
    struct log *log;
    struct log_report report;
    struct log_effects effects; /* of the last step */
    as_time now;
    struct as_rng rng;
    struct world_record *records; /* WORLD_RECORDS */
    size_t count, acked, base;    /* base: what the last opening brought back */
    uint64_t snapshot;            /* the newest that was reported done */
    uint64_t snapshot_next;       /* being written */
    uint32_t chunk;
    bool wants_chunk, given_up;
    const char *fatal;
    uint64_t replayed; /* by the opening under way */
    bool replay_wrong;
    uint32_t writes_in_flight;
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

/* --- Replay: compares with the oracle --- */

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
                           last != (world->chunk == WORLD_CHUNKS) || world->replayed;
    return AS_OK;
}

static FAKE_UNUSED const struct world_record *world_entry(const struct world *world, uint64_t index)
{
    for (size_t i = index ? (size_t)index - 1 : 0; i < world->count; i++)
        if (!world->records[i].vote && world->records[i].index == index)
            return &world->records[i];
    return NULL;
}

static FAKE_UNUSED as_err world_on_entry(void *ctx, const struct log_entry *entry)
{
    static uint8_t bytes[16384];
    struct world *world = ctx;
    const struct world_record *record = world_entry(world, entry->index);
    size_t len = record ? world_payload(record->content, bytes) : 0;

    if (!record || record->term != entry->term || entry->payload.len != len ||
        memcmp(entry->payload.data, bytes, len) != 0 || entry->type != (uint8_t)record->content ||
        entry->time_ms != (int64_t)(record->content >> 8) ||
        (world->replayed && entry->index != world->replayed + 1))
        world->replay_wrong = true;
    world->replayed = entry->index;
    return AS_OK;
}

/* How many records in order make exactly what the report says; count + 1: no prefix does. */
static FAKE_UNUSED size_t world_prefix(const struct world *world, const struct log_report *report)
{
    uint64_t last = 0, vote_term = 0, voted_for = 0;
    size_t found = world->count + 1;

    for (size_t i = 0; i <= world->count; i++) {
        if (last == report->last_index && vote_term == report->vote_term &&
            voted_for == report->voted_for)
            found = i;
        if (i == world->count)
            break;
        if (world->records[i].vote) {
            vote_term = world->records[i].term;
            voted_for = world->records[i].index;
        } else {
            last = world->records[i].index;
        }
    }
    return found;
}

static FAKE_UNUSED as_err world_open_as(struct world *world, const struct log_config *config,
                                        struct log **ret_log)
{
    struct as_disk door = fake_door(&world->disk);
    struct log_replay replay = {world, world_on_snapshot, world_on_entry, NULL, NULL};

    world->chunk = 0;
    world->replayed = 0;
    world->replay_wrong = false;
    return log_open(ret_log, config, &door, &replay, &world->report);
}

/* Whether what an opening handed over is a prefix of what was appended; *ret_kept: how long. */
static FAKE_UNUSED bool world_sound(const struct world *world, size_t *ret_kept)
{
    const struct log_report *report = &world->report;

    *ret_kept = world_prefix(world, report);
    return !world->replay_wrong && *ret_kept <= world->count &&
           (world->replayed ? world->replayed == report->last_index
                            : report->last_index == report->snapshot_index);
}

static FAKE_UNUSED as_err world_open(struct world *world)
{
    as_err err = world_open_as(world, &world->config, &world->log);
    size_t kept;

    if (err)
        return err;
    if (!world_sound(world, &kept) || kept < world->acked ||
        world->report.snapshot_index < world->snapshot)
        fail_msg("after opening: %zu of %zu records, %zu acknowledged; replay %s; snapshot %llu of "
                 "%llu",
                 kept, world->count, world->acked, world->replay_wrong ? "wrong" : "right",
                 (unsigned long long)world->report.snapshot_index,
                 (unsigned long long)world->snapshot);
    /* What was handed over will be acted on: it counts as acknowledged. */
    world->count = world->acked = world->base = kept;
    world->snapshot = world->report.snapshot_index;
    world->snapshot_next = 0;
    world->wants_chunk = false;
    world->writes_in_flight = 0;
    world->fatal = NULL;
    assert_int_equal(log_last_index(world->log), world->report.last_index);
    assert_int_equal(log_persisted_index(world->log), world->report.last_index);
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

static FAKE_UNUSED void world_close(struct world *world)
{
    log_free(world->log);
    fake_close(&world->disk);
    free(world->records);
}

/* --- Running --- */

static FAKE_UNUSED as_err world_step(struct world *world, struct log_event event)
{
    struct log_effects *effects = &world->effects;
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
    assert_true(world->base + effects->persisted_seq >= world->acked);
    assert_true(world->base + effects->persisted_seq <= world->count);
    world->acked = world->base + effects->persisted_seq;
    assert_int_equal(effects->persisted_index, log_persisted_index(world->log));
    world->wants_chunk |= effects->snapshot_wants_chunk;
    world->given_up |= effects->snapshot_given_up;
    world->fatal = effects->fatal;
    if (effects->snapshot_done) {
        assert_int_equal(effects->snapshot_done, world->snapshot_next);
        world->snapshot = effects->snapshot_done;
    }
    if (err)
        assert_int_equal(effects->op_count, 0);
    return err;
}

static FAKE_UNUSED void world_remember(struct world *world, bool vote, uint64_t index,
                                       uint64_t term, uint64_t content)
{
    assert_true(world->count < WORLD_RECORDS);
    world->records[world->count++] = (struct world_record){vote, index, term, content};
}

static FAKE_UNUSED as_err world_append_len(struct world *world, bool forced, size_t len,
                                           const uint8_t *bytes, uint64_t content)
{
    uint64_t index = log_last_index(world->log) + 1;
    struct log_event event = {
        .kind = LOG_APPEND,
        .append = {{index, index / 50 + 1, (int64_t)(content >> 8), (uint8_t)content, {bytes, len}},
                   forced}};
    as_err err;

    world_remember(world, false, index, index / 50 + 1, content);
    err = world_step(world, event);
    if (err)
        world->count--;
    else
        assert_int_equal(world->base + world->effects.written_seq, world->count);
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
    uint64_t term = 1, who = as_rng_below(&world->rng, 5) + 1;
    as_err err;

    for (size_t i = world->count; i-- > 0;)
        if (world->records[i].vote) {
            term = world->records[i].term + 1;
            break;
        }
    world_remember(world, true, who, term, 0);
    err = world_step(world, (struct log_event){.kind = LOG_VOTE, .vote = {term, who}});
    if (err)
        world->count--;
    else
        assert_int_equal(world->base + world->effects.written_seq, world->count);
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
    if (err == AS_ERR_NOTFOUND || err == AS_ERR_EXISTS)
        fail_msg("%s %s: %s", op.name, op.to, as_err_text(err));
    assert_int_equal(
        world_step(world, (struct log_event){.kind = LOG_DISK_DONE, .disk_done = {op.ticket, err}}),
        AS_OK);
    return err;
}

static FAKE_UNUSED void world_feed(struct world *world)
{
    static uint8_t bytes[16384];
    uint32_t number = world->chunk;
    size_t len = world_chunk(world->snapshot_next, number, bytes);
    struct log_event event = {.kind = LOG_SNAPSHOT_CHUNK,
                              .chunk = {{bytes, len}, number + 1 == WORLD_CHUNKS}};

    as_err err;

    world->wants_chunk = false;
    world->chunk++;
    err = world_step(world, event);
    if (err) { /* nothing changed: it is asked for again */
        assert_true(err == AS_ERR_NOMEM && test_allocation_failed());
        world->wants_chunk = true;
        world->chunk--;
    }
}

static FAKE_UNUSED as_err world_snapshot_at(struct world *world, uint64_t index)
{
    const struct world_record *entry = world_entry(world, index);
    struct log_event event = {.kind = LOG_SNAPSHOT_BEGIN,
                              .snapshot = {index, entry ? entry->term : 0}};
    as_err err = world_step(world, event);

    if (!err) {
        world->snapshot_next = index;
        world->chunk = 0;
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
