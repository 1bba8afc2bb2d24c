/*
 * common/uv/disk on a real directory: what each operation leaves, order, the lock, and the faults
 * that a process can bring about itself (a limit on file size stands for a full disk).
 */
#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/uv/disk.h"
#include "common/uv/disk_dir.h"

#define DEADLINE_MS 60000
#define DONE_MAX 4096

struct rig {
    char path[64];
    struct disk *disk;
    struct as_disk door;
    uv_loop_t loop;
    uv_timer_t deadline;
    bool looping, late, inside;
    struct {
        uint64_t ticket;
        as_err err;
    } done[DONE_MAX];
    uint32_t done_count;
    uint64_t chain; /* WRITEs still to start from inside `done` */
};

static int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    char error[512];

    assert_non_null(rig);
    strcpy(rig->path, "/tmp/assent-disk-XXXXXX");
    assert_non_null(mkdtemp(rig->path));
    test_leaks_begin();
    assert_int_equal(disk_open(&rig->disk, rig->path, DISK_WRITE, error), AS_OK);
    rig->door = disk_door(rig->disk);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = *state;
    char command[128];

    disk_close(rig->disk);
    if (rig->looping) {
        uv_close((uv_handle_t *)&rig->deadline, NULL);
        uv_run(&rig->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&rig->loop), 0);
    }
    test_leaks_end();
    snprintf(command, sizeof(command), "rm -r '%s'", rig->path);
    assert_int_equal(system(command), 0);
    free(rig);
    return 0;
}

static void start(struct rig *rig, const struct as_disk_op *op)
{
    rig->inside = true;
    assert_int_equal(disk_start(rig->disk, op), AS_OK);
    rig->inside = false;
}

static void on_done(void *ctx, uint64_t ticket, as_err err)
{
    struct rig *rig = ctx;

    assert_false(rig->inside);
    assert_true(rig->done_count < DONE_MAX);
    rig->done[rig->done_count].ticket = ticket;
    rig->done[rig->done_count++].err = err;
    if (rig->chain && ticket >= 100) {
        struct as_disk_op op = {.ticket = ticket + 1, .kind = AS_DISK_WRITE, .name = "a"};

        rig->chain--;
        op.bytes = (struct as_bytes){(const uint8_t *)"chain", 5};
        start(rig, &op);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct rig *rig = timer->data;

    rig->late = true;
}

static void run(struct rig *rig)
{
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    uv_timer_init(&rig->loop, &rig->deadline);
    rig->deadline.data = rig;
    uv_timer_start(&rig->deadline, on_deadline, DEADLINE_MS, 0);
    rig->looping = true;
    assert_int_equal(disk_run(rig->disk, &rig->loop, on_done, rig), AS_OK);
}

static void wait_done(struct rig *rig, uint32_t count)
{
    while (rig->done_count < count && !rig->late)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(rig->done_count, count);
}

static struct as_disk_op op_of(uint64_t ticket, enum as_disk_kind kind, const char *name)
{
    struct as_disk_op op = {.ticket = ticket, .kind = kind};

    snprintf(op.name, sizeof(op.name), "%s", name);
    return op;
}

static as_err done_err(const struct rig *rig, uint64_t ticket)
{
    for (uint32_t i = 0; i < rig->done_count; i++) {
        if (rig->done[i].ticket == ticket)
            return rig->done[i].err;
    }
    fail_msg("ticket %lu was not reported", (unsigned long)ticket);
    return AS_OK;
}

static void check_file(struct rig *rig, const char *name, uint64_t offset, const char *text)
{
    char data[256];
    size_t len = 0;

    assert_int_equal(rig->door.read(rig->door.ctx, name, offset, data, strlen(text), &len), AS_OK);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(data, text, len);
}

struct listing {
    uint32_t count;
    uint64_t bytes;
    char names[256];
};

static void on_file(void *ctx, const char *name, uint64_t size)
{
    struct listing *listing = ctx;
    size_t len = strlen(listing->names);

    listing->count++;
    listing->bytes += size;
    snprintf(listing->names + len, sizeof(listing->names) - len, "%s ", name);
}

static struct listing list(struct rig *rig)
{
    struct listing listing = {0};

    assert_int_equal(rig->door.list(rig->door.ctx, on_file, &listing), AS_OK);
    return listing;
}

static void touch(struct rig *rig, const char *name)
{
    char path[160];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", rig->path, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static struct as_bytes bytes_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static void the_blocking_door(void **state)
{
    struct rig *rig = *state;
    struct as_disk *door = &rig->door;
    uint8_t zeros[64] = {0}, data[64];
    size_t len = 99;

    assert_int_equal(list(rig).count, 0);
    assert_int_equal(door->create(door->ctx, "a", (3 << 20) + 5), AS_OK);
    assert_int_equal(door->create(door->ctx, "a", 1), AS_ERR_EXISTS);
    assert_int_equal(door->create(door->ctx, "empty", 0), AS_OK);
    assert_int_equal(list(rig).bytes, (3 << 20) + 5);
    assert_int_equal(door->write(door->ctx, "a", 1 << 20, bytes_of("hello")), AS_OK);
    check_file(rig, "a", 1 << 20, "hello");
    assert_int_equal(door->read(door->ctx, "a", (3 << 20) + 1, data, 64, &len), AS_OK);
    assert_int_equal(len, 4);
    assert_memory_equal(data, zeros, 4);
    assert_int_equal(door->read(door->ctx, "a", 4 << 20, data, 64, &len), AS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(door->read(door->ctx, "none", 0, data, 64, &len), AS_ERR_NOTFOUND);
    assert_int_equal(door->write(door->ctx, "none", 0, bytes_of("x")), AS_ERR_NOTFOUND);
    assert_int_equal(door->rename(door->ctx, "none", "b"), AS_ERR_NOTFOUND);
    assert_int_equal(door->rename(door->ctx, "a", "empty"), AS_OK);
    check_file(rig, "empty", 1 << 20, "hello");
    assert_int_equal(door->write(door->ctx, "a", 0, bytes_of("x")), AS_ERR_NOTFOUND);
    assert_int_equal(list(rig).count, 1);
    assert_int_equal(door->remove(door->ctx, "empty"), AS_OK);
    assert_int_equal(door->remove(door->ctx, "empty"), AS_OK);
    assert_int_equal(list(rig).count, 0);
}

static void our_own_files_are_not_listed(void **state)
{
    struct rig *rig = *state;
    char path[160], error[512];
    struct disk *reader;
    struct as_disk door;
    struct listing listing = {0};

    touch(rig, "00.log.creating");
    touch(rig, "01.snap.removing");
    touch(rig, "stranger");
    snprintf(path, sizeof(path), "%s/lost+found", rig->path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_string_equal(list(rig).names, "stranger ");

    /* A reader needs no lock and changes nothing; the next owner clears what a crash left. */
    assert_int_equal(disk_open(&reader, rig->path, DISK_READ, error), AS_OK);
    door = disk_door(reader);
    assert_int_equal(door.list(door.ctx, on_file, &listing), AS_OK);
    assert_string_equal(listing.names, "stranger ");
    assert_int_equal(door.create(door.ctx, "b", 1), AS_ERR_REFUSED);
    assert_int_equal(door.remove(door.ctx, "stranger"), AS_ERR_REFUSED);
    disk_close(reader);
    snprintf(path, sizeof(path), "%s/00.log.creating", rig->path);
    assert_int_equal(access(path, F_OK), 0);
    disk_close(rig->disk);
    assert_int_equal(disk_open(&rig->disk, rig->path, DISK_WRITE, error), AS_OK);
    rig->door = disk_door(rig->disk);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof(path), "%s/01.snap.removing", rig->path);
    assert_int_equal(access(path, F_OK), -1);
    assert_string_equal(list(rig).names, "stranger ");
}

static void two_never_share_a_directory(void **state)
{
    struct rig *rig = *state;
    struct disk *second;
    char error[512], pid[32];

    assert_int_equal(disk_open(&second, rig->path, DISK_WRITE, error), AS_ERR_BUSY);
    snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
    assert_non_null(strstr(error, rig->path));
    assert_non_null(strstr(error, pid));
    assert_int_equal(disk_open(&second, "/tmp/assent-no-such-directory", DISK_WRITE, error),
                     AS_ERR_NOTFOUND);
    assert_non_null(strstr(error, "/tmp/assent-no-such-directory"));
}

static void a_directory_is_made_for_its_owner_only(void **state)
{
    struct rig *rig = *state;
    struct disk *made;
    struct stat facts;
    char path[160], error[512];

    snprintf(path, sizeof(path), "%s/node1", rig->path);
    assert_int_equal(disk_open(&made, path, DISK_WRITE, error), AS_ERR_NOTFOUND);
    assert_int_equal(disk_open(&made, path, DISK_MAKE, error), AS_OK);
    disk_close(made);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0700);
    assert_int_equal(disk_open(&made, path, DISK_MAKE, error), AS_OK); /* is there: fine */
    disk_close(made);
}

static void each_operation_is_carried_out(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;

    run(rig);
    op = op_of(1, AS_DISK_CREATE, "a");
    op.size = 8192;
    start(rig, &op);
    wait_done(rig, 1);
    assert_int_equal(list(rig).bytes, 8192);
    op = op_of(2, AS_DISK_WRITE, "a");
    op.offset = 4000;
    op.bytes = bytes_of("decision");
    start(rig, &op);
    assert_true(disk_writing(rig->disk));
    wait_done(rig, 2);
    assert_false(disk_writing(rig->disk));
    check_file(rig, "a", 4000, "decision");

    /* A snapshot: parts, sync, and in place by rename. */
    op = op_of(3, AS_DISK_APPEND, "snapshot.tmp");
    op.bytes = bytes_of("first part, ");
    start(rig, &op);
    op.ticket = 4;
    op.offset = op.bytes.len;
    op.bytes = bytes_of("second part");
    start(rig, &op);
    op = op_of(5, AS_DISK_SYNC, "snapshot.tmp");
    start(rig, &op);
    wait_done(rig, 5);
    op = op_of(6, AS_DISK_RENAME, "snapshot.tmp");
    strcpy(op.to, "snapshot");
    start(rig, &op);
    op = op_of(7, AS_DISK_REMOVE, "a");
    start(rig, &op);
    op = op_of(8, AS_DISK_REMOVE, "a");
    start(rig, &op);
    wait_done(rig, 8);
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(rig->done[i].ticket, i + 1);
        assert_int_equal(rig->done[i].err, AS_OK);
    }
    check_file(rig, "snapshot", 0, "first part, second part");
    assert_string_equal(list(rig).names, "snapshot ");

    /* The temporary name again: begun anew, shorter, and not the file that was renamed. */
    op = op_of(9, AS_DISK_APPEND, "snapshot.tmp");
    op.bytes = bytes_of("third");
    start(rig, &op);
    wait_done(rig, 9);
    check_file(rig, "snapshot", 0, "first part, second part");
    op.ticket = 10;
    op.bytes = bytes_of("x");
    start(rig, &op);
    wait_done(rig, 10);
    assert_int_equal(list(rig).bytes, 23 + 1);
}

static void failures_are_reported(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;

    run(rig);
    op = op_of(1, AS_DISK_WRITE, "none");
    op.bytes = bytes_of("x");
    start(rig, &op);
    op = op_of(2, AS_DISK_SYNC, "none");
    start(rig, &op);
    op = op_of(3, AS_DISK_RENAME, "none");
    strcpy(op.to, "b");
    start(rig, &op);
    op = op_of(4, AS_DISK_APPEND, "none");
    op.offset = 4;
    op.bytes = bytes_of("x");
    start(rig, &op);
    wait_done(rig, 4);
    for (uint64_t ticket = 1; ticket <= 4; ticket++)
        assert_int_equal(done_err(rig, ticket), AS_ERR_NOTFOUND);
}

/* Nothing of it is left, not even under the name it has meanwhile; and again, there is nothing. */
static void a_large_file_is_removed(void **state)
{
    struct rig *rig = *state;
    struct as_disk *door = &rig->door;
    char path[160];

    for (uint64_t size = 0; size <= 20u << 20; size += 5u << 20) {
        assert_int_equal(door->create(door->ctx, "a", size), AS_OK);
        assert_int_equal(door->remove(door->ctx, "a"), AS_OK);
        assert_int_equal(door->remove(door->ctx, "a"), AS_OK);
        assert_int_equal(list(rig).count, 0);
        snprintf(path, sizeof(path), "%s/a.removing", rig->path);
        assert_int_equal(access(path, F_OK), -1);
    }
}

/* Exactly what was asked for: a file that has less cannot be what the reader takes it for. */
static void a_read_is_whole_or_fails(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;
    uint8_t into[4][8] = {{0}};

    assert_int_equal(rig->door.create(rig->door.ctx, "a", 16), AS_OK);
    assert_int_equal(rig->door.write(rig->door.ctx, "a", 8, bytes_of("decision")), AS_OK);
    run(rig);
    for (uint64_t i = 0; i < 4; i++) {
        op = op_of(i + 1, AS_DISK_READ, i == 3 ? "none" : "a");
        op.offset = 8 + i % 3 * 4; /* all of it, half of it is there, nothing is */
        op.size = 8;
        op.into = into[i];
        start(rig, &op);
    }
    wait_done(rig, 4);
    assert_int_equal(done_err(rig, 1), AS_OK);
    assert_memory_equal(into[0], "decision", 8);
    assert_int_equal(done_err(rig, 2), AS_ERR_IO);
    assert_int_equal(done_err(rig, 3), AS_ERR_IO);
    assert_int_equal(done_err(rig, 4), AS_ERR_NOTFOUND);
}

/* A segment renamed for reuse is written under its new name, though the old one was open. */
static void a_recycled_segment_keeps_its_contents(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;

    run(rig);
    op = op_of(1, AS_DISK_CREATE, "1.log");
    op.size = 100;
    start(rig, &op);
    wait_done(rig, 1);
    for (uint64_t i = 1; i <= 20; i++) {
        op = op_of(2 * i, AS_DISK_WRITE, "");
        snprintf(op.name, sizeof(op.name), "%lu.log", (unsigned long)i);
        op.offset = 4 * i;
        op.bytes = bytes_of("abcd");
        start(rig, &op);
        wait_done(rig, (uint32_t)(2 * i));
        op = op_of(2 * i + 1, AS_DISK_RENAME, op.name);
        snprintf(op.to, sizeof(op.to), "%lu.log", (unsigned long)i + 1);
        start(rig, &op);
        wait_done(rig, (uint32_t)(2 * i + 1));
    }
    assert_string_equal(list(rig).names, "21.log ");
    check_file(rig, "21.log", 0, "");
    for (uint64_t i = 1; i <= 20; i++)
        check_file(rig, "21.log", 4 * i, "abcd");
}

/* Writes, reads and renames begun after a CREATE that takes seconds are reported before it. */
static void creating_a_segment_delays_no_write(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;
    uint8_t into[8];

    assert_int_equal(rig->door.create(rig->door.ctx, "a", 4096), AS_OK);
    assert_int_equal(rig->door.create(rig->door.ctx, "b", 4096), AS_OK);
    run(rig);
    op = op_of(1, AS_DISK_CREATE, "big");
    op.size = 2ull << 30;
    start(rig, &op);
    op = op_of(100, AS_DISK_WRITE, "a");
    op.bytes = bytes_of("x");
    rig->chain = 3;
    start(rig, &op);
    op = op_of(2, AS_DISK_RENAME, "b");
    strcpy(op.to, "c");
    start(rig, &op);
    op = op_of(3, AS_DISK_READ, "a");
    op.size = sizeof into;
    op.into = into;
    start(rig, &op);
    while (rig->done_count < 6 && !rig->late)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(rig->done_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        if (rig->done[i].ticket == 1 && rig->done[i].err == AS_ERR_NOSPACE)
            skip(); /* the place for temporary files is too small to try it */
        assert_int_not_equal(rig->done[i].ticket, 1);
        assert_int_equal(rig->done[i].err, AS_OK);
    }
}

static void closing_gives_up_what_is_under_way(void **state)
{
    struct rig *rig = *state;
    struct as_disk_op op;
    char error[512], creating[160];
    uint32_t done;

    assert_int_equal(rig->door.create(rig->door.ctx, "a", 4096), AS_OK);
    run(rig);
    op = op_of(1, AS_DISK_CREATE, "big");
    op.size = 8ull << 30;
    start(rig, &op);
    snprintf(creating, sizeof(creating), "%s/big.creating", rig->path);
    while (access(creating, F_OK) != 0 && !rig->done_count && !rig->late)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    if (rig->done_count && rig->done[0].err == AS_ERR_NOSPACE)
        skip();
    for (uint64_t i = 2; i < 500; i++) {
        op = op_of(i, i % 2 ? AS_DISK_SYNC : AS_DISK_WRITE, "a");
        op.bytes = bytes_of("x");
        start(rig, &op);
    }
    done = rig->done_count;
    disk_close(rig->disk);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_int_equal(rig->done_count, done);
    assert_int_equal(disk_open(&rig->disk, rig->path, DISK_WRITE, error), AS_OK);
    rig->door = disk_door(rig->disk);
    assert_string_equal(list(rig).names, "a ");
}

static void many_writes_keep_their_order(void **state)
{
    enum { COUNT = 2000 };
    struct rig *rig = *state;
    static uint8_t data[COUNT];
    struct as_disk_op op;

    assert_int_equal(rig->door.create(rig->door.ctx, "a", 4096), AS_OK);
    run(rig);
    for (uint64_t i = 0; i < COUNT; i++) {
        data[i] = (uint8_t)i;
        op = op_of(i, AS_DISK_WRITE, "a");
        op.bytes = (struct as_bytes){&data[i], 1}; /* all at the same place: the last one stays */
        start(rig, &op);
    }
    wait_done(rig, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(rig->done[i].ticket, i);
        assert_int_equal(rig->done[i].err, AS_OK);
    }
    check_file(rig, "a", 0, (char[]){(char)(uint8_t)(COUNT - 1), 0});
    op.bytes = bytes_of("here");
    assert_int_equal(disk_write_here(rig->disk, &op), AS_OK);
    check_file(rig, "a", 0, "here");
}

/* In a child, because the limit is the process's. */
static int child_with_file_limit(const char *path)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    struct disk *disk;
    struct as_disk door;
    char error[512];

    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    if (disk_open(&disk, path, DISK_MAKE, error) != AS_OK)
        return 3;
    door = disk_door(disk);
    if (door.create(door.ctx, "big", 2 << 20) != AS_ERR_NOSPACE)
        return 4;
    if (door.create(door.ctx, "small", 1 << 20) != AS_OK)
        return 5;
    if (door.write(door.ctx, "small", (1 << 20) - 2, bytes_of("abcd")) != AS_ERR_NOSPACE)
        return 6;
    return 0;
}

static void a_full_disk_is_told_from_other_failures(void **state)
{
    struct rig *rig = *state;
    char path[160], leftover[200];
    int status = -1;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/full", rig->path);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child_with_file_limit(path));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    snprintf(leftover, sizeof(leftover), "%s/big.creating", path);
    assert_int_equal(access(leftover, F_OK), -1);
    assert_int_equal(disk_err_of(ENOSPC), AS_ERR_NOSPACE);
    assert_int_equal(disk_err_of(EDQUOT), AS_ERR_NOSPACE);
    assert_int_equal(disk_err_of(EIO), AS_ERR_IO);
    assert_int_equal(disk_err_of(EROFS), AS_ERR_IO);
    assert_int_equal(disk_err_of(0), AS_OK);
}

static void body_out_of_memory(void *ctx)
{
    const char *path = ctx;
    struct disk *disk = NULL;
    uv_loop_t loop;
    struct rig rig = {0};
    struct as_disk_op op = op_of(1, AS_DISK_REMOVE, "none");
    char error[512];
    as_err err = disk_open(&disk, path, DISK_WRITE, error);

    if (err) {
        assert_int_equal(err, AS_ERR_NOMEM);
        assert_true(error[0]);
        return;
    }
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(disk_run(disk, &loop, on_done, &rig), AS_OK);
    err = disk_start(disk, &op);
    if (err)
        assert_int_equal(err, AS_ERR_NOMEM);
    else
        while (!rig.done_count)
            uv_run(&loop, UV_RUN_ONCE);
    disk_close(disk);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void each_allocation_may_fail(void **state)
{
    char path[] = "/tmp/assent-disk-XXXXXX";
    char command[128];

    (void)state;
    assert_non_null(mkdtemp(path));
    test_fail_each_allocation(body_out_of_memory, path);
    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
#define RIGGED(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        RIGGED(the_blocking_door),
        RIGGED(our_own_files_are_not_listed),
        RIGGED(two_never_share_a_directory),
        RIGGED(a_directory_is_made_for_its_owner_only),
        RIGGED(each_operation_is_carried_out),
        RIGGED(failures_are_reported),
        RIGGED(a_large_file_is_removed),
        RIGGED(a_read_is_whole_or_fails),
        RIGGED(a_recycled_segment_keeps_its_contents),
        RIGGED(creating_a_segment_delays_no_write),
        RIGGED(closing_gives_up_what_is_under_way),
        RIGGED(many_writes_keep_their_order),
        RIGGED(a_full_disk_is_told_from_other_failures),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
