/*
 * The log on a real disk, by itself: so many records always in flight, each acknowledged one followed
 * by the next. Records per second, syncs, and the longest time that nothing was acknowledged, while
 * segments are made, snapshots written and segments recycled. Nothing is asserted.
 *
 *   bench_disk DIRECTORY [SECONDS] [IN_FLIGHT] [PAYLOAD_BYTES] [SNAPSHOT_MIB]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/uv/disk.h"
#include "coordinator/log/log.h"

#define SNAPSHOT_EVERY (64u << 20)
#define SNAPSHOT_CHUNK (1u << 20)

struct bench {
    uv_loop_t loop;
    uv_check_t turn;
    struct disk *disk;
    struct log *log;
    uint64_t in_flight, payload_bytes, index, seq, persisted;
    uint64_t begun, until, last, longest, done, syncs_over_20_ms;
    uint64_t chunk, snapshot_chunks;
};

static uint8_t bytes[AS_RECORD_BYTES_MAX];

_Noreturn static void end(const char *why)
{
    fprintf(stderr, "bench_disk: %s\n", why);
    exit(1);
}

static void step(struct bench *bench, struct log_event event);

static void persisted(struct bench *bench, uint64_t seq)
{
    uint64_t now = uv_hrtime();

    if (seq == bench->persisted)
        return;
    if (now - bench->last > bench->longest)
        bench->longest = now - bench->last;
    bench->syncs_over_20_ms += now - bench->last > 20000000;
    bench->last = now;
    bench->done += seq - bench->persisted;
    bench->persisted = seq;
}

static void step(struct bench *bench, struct log_event event)
{
    struct log_effects effects;
    as_err err;

    event.now = (as_time)uv_hrtime();
    err = log_step(bench->log, &event, &effects);
    if (event.kind == LOG_SNAPSHOT_BEGIN && err == AS_ERR_BUSY)
        return;
    if (err || effects.fatal)
        end(effects.fatal ? effects.fatal : as_err_text(err));
    if (event.kind == LOG_APPEND) {
        bench->seq = effects.written_seq;
        return;
    }
    for (size_t i = 0; i < effects.op_count; i++)
        if (disk_start(bench->disk, &effects.ops[i]))
            end("out of memory");
    persisted(bench, effects.persisted_seq);
    if (effects.snapshot_wants_chunk)
        step(bench, (struct log_event){.kind = LOG_SNAPSHOT_CHUNK,
                                       .chunk = {{bytes, SNAPSHOT_CHUNK},
                                                 ++bench->chunk % bench->snapshot_chunks == 0}});
}

static void on_done(void *ctx, uint64_t ticket, as_err err)
{
    step(ctx, (struct log_event){.kind = LOG_DISK_DONE, .disk_done = {ticket, err}});
}

/* The end of a turn: as many as were acknowledged are appended, and written together. */
static void on_turn(uv_check_t *turn)
{
    struct bench *bench = turn->data;

    if (uv_hrtime() > bench->until) {
        uv_stop(&bench->loop);
        return;
    }
    while (bench->seq - bench->persisted < bench->in_flight)
        step(bench,
             (struct log_event){
                 .kind = LOG_APPEND,
                 .append = {{++bench->index, 1, 1, 1, {bytes, bench->payload_bytes}}, true}});
    step(bench, (struct log_event){.kind = LOG_FLUSH});
    if (bench->snapshot_chunks && log_bytes_since_snapshot(bench->log) > SNAPSHOT_EVERY)
        step(bench, (struct log_event){.kind = LOG_SNAPSHOT_BEGIN,
                                       .snapshot = {log_persisted_index(bench->log), 1}});
}

static void start(struct bench *bench, const char *directory)
{
    const struct log_config config = {.cluster = "bench", .incarnation = 1, .node = 1};
    struct log_report report;
    struct as_disk door;
    char error[512];

    if (disk_open(&bench->disk, directory, DISK_MAKE, error))
        end(error);
    door = disk_door(bench->disk);
    if (log_bootstrap(&config, &door))
        end("the directory holds a log already");
    if (log_open(&bench->log, &config, &door, NULL, &report))
        end(report.detail);
    uv_loop_init(&bench->loop);
    uv_check_init(&bench->loop, &bench->turn);
    bench->turn.data = bench;
    uv_check_start(&bench->turn, on_turn);
    if (disk_run(bench->disk, &bench->loop, on_done, bench))
        end("out of memory");
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct log_counts counts;
    double seconds;

    if (argc < 2)
        end("usage: bench_disk DIRECTORY [SECONDS] [IN_FLIGHT] [PAYLOAD_BYTES] [SNAPSHOT_MIB]");
    bench.in_flight = number(argc, argv, 3, 256);
    bench.payload_bytes = number(argc, argv, 4, 160);
    bench.snapshot_chunks = number(argc, argv, 5, 160);
    start(&bench, argv[1]);
    bench.begun = bench.last = uv_hrtime();
    bench.until = bench.begun + number(argc, argv, 2, 10) * 1000000000u;
    step(&bench, (struct log_event){.kind = LOG_FLUSH});
    on_turn(&bench.turn);
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    seconds = (double)(uv_hrtime() - bench.begun) / 1e9;
    log_count(bench.log, &counts);
    printf("%llu in flight: %.0f records/s, %.0f syncs/s, %.1f MB/s, %llu snapshots; longest wait "
           "%.1f ms, %llu over 20 ms\n",
           (unsigned long long)bench.in_flight, (double)bench.done / seconds,
           (double)counts.syncs / seconds, (double)counts.bytes / seconds / 1e6,
           (unsigned long long)counts.snapshots, (double)bench.longest / 1e6,
           (unsigned long long)bench.syncs_over_20_ms);
    uv_close((uv_handle_t *)&bench.turn, NULL);
    disk_close(bench.disk);
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    uv_loop_close(&bench.loop);
    log_free(bench.log);
    return 0;
}
