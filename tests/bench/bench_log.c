/*
 * What the pure log costs by itself: nanoseconds of this processor for each record appended, and how
 * fast a log is opened. The disk is memory, so that nothing else is measured. Nothing is asserted.
 *
 *   bench_log [RECORDS] [PAYLOAD_BYTES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/log/log.h"

#define FILES 256
#define CHUNK_BYTES (64u << 10)

struct file {
    char name[AS_FILE_NAME_MAX + 1];
    uint8_t *data;
    uint64_t size;
};

struct memory {
    struct file files[FILES];
    bool keep; /* else what is written is thrown away */
};

static struct memory memory;

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct file *find(const char *name)
{
    for (size_t i = 0; i < FILES; i++)
        if (strcmp(memory.files[i].name, name) == 0)
            return &memory.files[i];
    return NULL;
}

static as_err on_list(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t size),
                      void *each_ctx)
{
    (void)ctx;
    for (size_t i = 0; i < FILES; i++)
        if (memory.files[i].name[0])
            each(each_ctx, memory.files[i].name, memory.files[i].size);
    return AS_OK;
}

static as_err on_read(void *ctx, const char *name, uint64_t offset, void *ret_data, size_t len,
                      size_t *ret_len)
{
    const struct file *file = find(name);

    (void)ctx;
    if (!file)
        return AS_ERR_NOTFOUND;
    *ret_len = offset >= file->size ? 0 : len < file->size - offset ? len : file->size - offset;
    memcpy(ret_data, file->data + offset, *ret_len);
    return AS_OK;
}

static as_err on_write(void *ctx, const char *name, uint64_t offset, struct as_bytes bytes)
{
    struct file *file = find(name);

    (void)ctx;
    if (!file)
        return AS_ERR_NOTFOUND;
    memcpy(file->data + offset, bytes.data, bytes.len);
    return AS_OK;
}

static as_err on_create(void *ctx, const char *name, uint64_t size)
{
    struct file *file = find("");

    (void)ctx;
    AS_ASSERT(file);
    file->data = calloc(1, size + 1);
    AS_ASSERT(file->data);
    file->size = size;
    strcpy(file->name, name);
    return AS_OK;
}

static as_err on_remove(void *ctx, const char *name)
{
    struct file *file = find(name);

    (void)ctx;
    if (file) {
        free(file->data);
        memset(file, 0, sizeof *file);
    }
    return AS_OK;
}

static as_err on_rename(void *ctx, const char *name, const char *to)
{
    (void)on_remove(ctx, to);
    strcpy(find(name)->name, to);
    return AS_OK;
}

static as_err on_append(const struct as_disk_op *op)
{
    struct file *file = find(op->name);
    uint64_t end = op->offset + op->bytes.len;

    if (!file && on_create(NULL, op->name, 0))
        return AS_ERR_IO;
    file = find(op->name);
    if (end > file->size) {
        file->data = realloc(file->data, end);
        AS_ASSERT(file->data);
        file->size = end;
    }
    return on_write(NULL, op->name, op->offset, op->bytes);
}

static const struct as_disk disk = {NULL,      on_list,   on_read,  on_write,
                                    on_create, on_rename, on_remove};

static as_err carry_out(const struct as_disk_op *op)
{
    size_t len;

    switch (op->kind) {
    case AS_DISK_WRITE:
        return memory.keep || op->offset == 0 ? on_write(NULL, op->name, op->offset, op->bytes)
                                              : AS_OK;
    case AS_DISK_CREATE:
        return on_create(NULL, op->name, op->size);
    case AS_DISK_APPEND:
        return on_append(op);
    case AS_DISK_SYNC:
        return AS_OK;
    case AS_DISK_RENAME:
        return on_rename(NULL, op->name, op->to);
    case AS_DISK_REMOVE:
        return on_remove(NULL, op->name);
    case AS_DISK_READ:
        return on_read(NULL, op->name, op->offset, op->into, op->size, &len);
    }
    return AS_ERR_INVALID;
}

/* --- The log --- */

static const struct log_config config = {.cluster = "bench", .incarnation = 1, .node = 1};
static struct log_effects effects;

static void step(struct log *log, const struct log_event *event)
{
    as_err err = log_step(log, event, &effects);

    if (err || effects.fatal) {
        fprintf(stderr, "bench_log: %s\n", effects.fatal ? effects.fatal : as_err_text(err));
        exit(1);
    }
}

/* Until nothing is under way. */
static void finish(struct log *log, uint64_t chunks)
{
    static uint8_t chunk[CHUNK_BYTES];
    struct as_disk_op queue[64];
    size_t count = 0;
    bool wants = false;

    for (;;) {
        struct log_event event = {.kind = LOG_DISK_DONE};

        for (size_t i = 0; i < effects.op_count; i++)
            queue[count++] = effects.ops[i];
        wants |= effects.snapshot_wants_chunk;
        if (count) {
            event.disk_done.ticket = queue[--count].ticket;
            event.disk_done.err = carry_out(&queue[count]);
        } else if (wants) {
            wants = false;
            event.kind = LOG_SNAPSHOT_CHUNK;
            event.chunk.bytes = (struct as_bytes){chunk, sizeof chunk};
            event.chunk.last = --chunks == 0;
        } else {
            return;
        }
        step(log, &event);
    }
}

static void append(struct log *log, uint64_t records, uint64_t batch, size_t payload_bytes)
{
    static uint8_t payload[AS_RECORD_BYTES_MAX];
    uint64_t index = log_last_index(log);

    for (uint64_t i = 0; i < records; i += batch) {
        for (uint64_t n = 0; n < batch; n++)
            step(log, &(struct log_event){
                          .kind = LOG_APPEND,
                          .append = {{++index, 1, 1, 1, {payload, payload_bytes}}, true}});
        step(log, &(struct log_event){.kind = LOG_FLUSH});
        finish(log, 0);
    }
}

static struct log *open_log(const struct log_replay *replay, struct log_report *report)
{
    struct log *log = NULL;
    as_err err = log_open(&log, &config, &disk, replay, report);

    if (err) {
        fprintf(stderr, "bench_log: %s: %s\n", as_err_text(err), report->detail);
        exit(1);
    }
    return log;
}

static void wipe(void)
{
    for (size_t i = 0; i < FILES; i++)
        if (memory.files[i].name[0])
            (void)on_remove(NULL, memory.files[i].name);
}

static as_err on_entry(void *ctx, const struct log_entry *entry)
{
    *(uint64_t *)ctx += entry->index;
    return AS_OK;
}

static as_err on_snapshot(void *ctx, struct as_bytes chunk, bool last)
{
    *(uint64_t *)ctx += chunk.len + last;
    return AS_OK;
}

static void measure_append(uint64_t records, uint64_t batch, size_t payload_bytes)
{
    struct log_report report;
    struct log *log;
    double begin, taken;

    AS_ASSERT(log_bootstrap(&config, &disk) == AS_OK);
    log = open_log(NULL, &report);
    append(log, batch * 64, batch, payload_bytes); /* warm */
    begin = now_s();
    append(log, records, batch, payload_bytes);
    taken = now_s() - begin;
    printf("append %zu bytes, %4llu to a write: %6.1f ns a record\n", payload_bytes,
           (unsigned long long)batch, taken / (double)records * 1e9);
    log_free(log);
    wipe();
}

/* A snapshot of so many bytes, and so many records behind it. */
static void measure_open(uint64_t records, size_t payload_bytes, uint64_t snapshot_bytes)
{
    struct log_report report;
    struct log *log;
    uint64_t sum = 0;
    struct log_replay replay = {&sum, on_snapshot, on_entry, NULL, NULL};
    double begin, taken;

    memory.keep = true;
    AS_ASSERT(log_bootstrap(&config, &disk) == AS_OK);
    log = open_log(NULL, &report);
    append(log, 1, 1, payload_bytes);
    if (snapshot_bytes) {
        step(log, &(struct log_event){.kind = LOG_SNAPSHOT_BEGIN, .snapshot = {1, 1}});
        finish(log, snapshot_bytes / CHUNK_BYTES);
    }
    append(log, records, 64, payload_bytes);
    log_free(log);
    begin = now_s();
    log = open_log(&replay, &report);
    taken = now_s() - begin;
    printf("open: snapshot of %llu MiB, %llu records of %zu bytes behind it: %.3f s, "
           "%.1f ns a record\n",
           (unsigned long long)(snapshot_bytes >> 20), (unsigned long long)report.records,
           payload_bytes, taken, taken / (double)report.records * 1e9);
    log_free(log);
    wipe();
    memory.keep = false;
}

int main(int argc, char **argv)
{
    uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    size_t payload_bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 160;

    for (uint64_t batch = 1; batch <= 1024; batch *= 4)
        measure_append(records, batch, payload_bytes);
    measure_open(1, payload_bytes, 0);
    measure_open(300000, payload_bytes, 0);
    measure_open(300000, payload_bytes, 160u << 20);
    return 0;
}
