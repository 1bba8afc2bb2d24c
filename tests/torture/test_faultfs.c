/*
 * faultfs itself: what it passes through, and exactly what may be left after a power cut.
 */
#include "faultfs.h"

#include "../support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultfs/unsynced.h"

#define SKIPPED 77 /* CTest's SKIP_RETURN_CODE */
#define SECTORS 8u
#define BYTES (SECTORS * SECTOR_BYTES)
#define SEEDS 40u /* enough that each kind of luck is drawn */

static char base[64], mountpoint[96], backing[96], control[96];
static pid_t pid;

static void tell(const char *order)
{
    char answer[256];

    if (!faultfs_tell(control, answer, sizeof(answer), "%s", order))
        fail_msg("%s: %s", order, answer);
}

static void cut(uint64_t seed)
{
    char order[40];

    snprintf(order, sizeof(order), "cut %llu", (unsigned long long)seed);
    tell(order);
}

static int setup(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/assent-faultfs-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(mountpoint, sizeof(mountpoint), "%s/mnt", base);
    snprintf(backing, sizeof(backing), "%s/backing", base);
    snprintf(control, sizeof(control), "%s/control", base);
    assert_int_equal(mkdir(mountpoint, 0700), 0);
    assert_int_equal(mkdir(backing, 0700), 0);
    assert_true(faultfs_mount(FAULTFS_PROGRAM, backing, mountpoint, control, &pid));
    assert_int_equal(chdir(mountpoint), 0);
    return 0;
}

static int teardown(void **state)
{
    char command[160];

    (void)state;
    assert_int_equal(chdir("/"), 0);
    assert_true(faultfs_unmount(mountpoint, pid));
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    return system(command);
}

static void remove_all(void)
{
    char command[160];

    snprintf(command, sizeof(command), "rm -rf '%s'/*", mountpoint);
    assert_int_equal(system(command), 0);
}

static int clean(void **state)
{
    (void)state;
    tell("heal");
    remove_all();
    tell("settle");
    return 0;
}

/* --- Files by hand --- */

static int file_open(const char *name, int flags)
{
    int fd = open(name, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        fail_msg("%s: %s", name, strerror(errno));
    return fd;
}

static void fill(int fd, char letter, size_t len, off_t offset)
{
    char bytes[BYTES];

    memset(bytes, letter, sizeof(bytes));
    assert_true(len <= sizeof(bytes));
    assert_int_equal(pwrite(fd, bytes, len, offset), (ssize_t)len);
}

/* One letter for each sector: of what fills it, '.' for zeros, '?' for a sector torn inside. */
static void file_letters(const char *name, char ret_letters[64])
{
    char bytes[BYTES * 2];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));
    size_t sectors;

    assert_true(n >= 0);
    sectors = ((size_t)n + SECTOR_BYTES - 1) / SECTOR_BYTES;
    for (size_t i = 0; i < sectors; i++) {
        size_t end = (i + 1) * SECTOR_BYTES < (size_t)n ? (i + 1) * SECTOR_BYTES : (size_t)n;

        ret_letters[i] = bytes[i * SECTOR_BYTES] ? bytes[i * SECTOR_BYTES] : '.';
        for (size_t at = i * SECTOR_BYTES; at < end; at++)
            if (bytes[at] != bytes[i * SECTOR_BYTES])
                ret_letters[i] = '?';
    }
    ret_letters[sectors] = '\0';
    if (fd >= 0)
        close(fd);
    else
        strcpy(ret_letters, "-"); /* there is none */
}

/* What was seen over all seeds, each once. */
struct seen {
    char texts[256][64];
    size_t count;
};

static void see(struct seen *seen, const char *text)
{
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->texts[i], text) == 0)
            return;
    assert_true(seen->count < AS_COUNT_OF(seen->texts));
    snprintf(seen->texts[seen->count++], 64, "%s", text);
}

static bool was_seen(const struct seen *seen, const char *text)
{
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->texts[i], text) == 0)
            return true;
    return false;
}

static void assert_only(const struct seen *seen, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!was_seen(seen, texts[i]))
            fail_msg("never seen: %s", texts[i]);
    for (size_t i = 0; i < seen->count; i++) {
        bool allowed = false;

        for (size_t j = 0; j < count; j++)
            allowed |= strcmp(seen->texts[i], texts[j]) == 0;
        if (!allowed)
            fail_msg("seen, and may not be: %s", seen->texts[i]);
    }
}
#define ASSERT_ONLY(seen, ...)                            \
    assert_only(seen, (const char *const[]){__VA_ARGS__}, \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* --- Passing through --- */

static void what_is_written_is_read(void **state)
{
    char letters[64];
    int fd = file_open("a", O_RDWR | O_CREAT | O_EXCL);

    (void)state;
    fill(fd, 'a', BYTES, 0);
    fill(fd, 'b', SECTOR_BYTES, SECTOR_BYTES);
    file_letters("a", letters);
    assert_string_equal(letters, "abaaaaaa");
    assert_int_equal(ftruncate(fd, SECTOR_BYTES), 0);
    assert_int_equal(fallocate(fd, 0, 0, 3 * SECTOR_BYTES), 0);
    file_letters("a", letters);
    assert_string_equal(letters, "a..");
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(unlink("a"), 0);
    fill(fd, 'c', 10, 0); /* it lives on while it is open */
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(access("a", F_OK), -1);
    assert_int_equal(errno, ENOENT);
    close(fd);
}

static void names_change_as_everywhere(void **state)
{
    char letters[64];
    int fd = file_open("a", O_WRONLY | O_CREAT);
    struct stat stat_b;

    (void)state;
    fill(fd, 'a', BYTES, 0);
    close(fd);
    close(file_open("b", O_WRONLY | O_CREAT));
    assert_int_equal(rename("a", "b"), 0);
    file_letters("b", letters);
    assert_string_equal(letters, "aaaaaaaa");
    assert_int_equal(access("a", F_OK), -1);
    assert_int_equal(link("b", "c"), 0);
    assert_int_equal(stat("b", &stat_b), 0);
    assert_int_equal(stat_b.st_nlink, 2);
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(rename("c", "d/c"), 0);
    assert_int_equal(rmdir("d"), -1);
    assert_int_equal(errno, ENOTEMPTY);
    assert_int_equal(unlink("d/c"), 0);
    assert_int_equal(rmdir("d"), 0);
}

static void direct_access_is_possible(void **state)
{
    void *block = NULL;
    char letters[64];
    int fd = file_open("a", O_RDWR | O_CREAT | O_DIRECT);

    (void)state;
    assert_int_equal(posix_memalign(&block, 4096, BYTES), 0);
    memset(block, 'a', BYTES);
    assert_int_equal(pwrite(fd, block, BYTES, 0), BYTES);
    free(block);
    close(fd);
    file_letters("a", letters);
    assert_string_equal(letters, "aaaaaaaa");
}

/* --- Power cuts: data --- */

/* A durable file of that many bytes 'a'. */
static void durable_file(const char *name, size_t len)
{
    int fd = file_open(name, O_WRONLY | O_CREAT | O_TRUNC);

    fill(fd, 'a', len, 0);
    close(fd);
    tell("settle");
}

static void what_is_not_synced_is_torn_by_sector(void **state)
{
    struct seen seen = {.count = 0};
    bool torn = false;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char letters[64], again[64];
        int fd;

        durable_file("a", BYTES);
        fd = file_open("a", O_WRONLY);
        fill(fd, 'b', 4 * SECTOR_BYTES, 2 * SECTOR_BYTES);
        close(fd); /* no sync */
        cut(seed);
        file_letters("a", letters);
        assert_int_equal(strspn(letters, "ab"), SECTORS);
        assert_true(letters[0] == 'a' && letters[1] == 'a' && letters[6] == 'a' &&
                    letters[7] == 'a');
        torn |= strchr(letters, 'b') && memchr(letters + 2, 'a', 4);
        see(&seen, letters);
        cut(seed + 1000); /* what is left is durable */
        file_letters("a", again);
        assert_string_equal(again, letters);
    }
    assert_true(torn);
    assert_true(was_seen(&seen, "aaaaaaaa") && was_seen(&seen, "aabbbbaa"));
}

static void synced_with(int flags, int (*sync_it)(int fd))
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char letters[64];
        int fd;

        durable_file("a", BYTES);
        fd = file_open("a", O_WRONLY | flags);
        fill(fd, 'b', 4 * SECTOR_BYTES, 0);
        if (sync_it)
            assert_int_equal(sync_it(fd), 0);
        close(fd);
        cut(seed);
        file_letters("a", letters);
        assert_string_equal(letters, "bbbbaaaa");
    }
}

static void what_is_synced_stays(void **state)
{
    (void)state;
    synced_with(0, fsync);
    synced_with(0, fdatasync);
    synced_with(O_DSYNC, NULL);
    synced_with(O_SYNC, NULL);
}

static void a_new_end_may_be_lost(void **state)
{
    struct seen seen = {.count = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS * 2; seed++) {
        char letters[64];
        int fd;

        durable_file("a", SECTOR_BYTES);
        fd = file_open("a", O_WRONLY);
        fill(fd, 'b', 2 * SECTOR_BYTES, SECTOR_BYTES);
        close(fd);
        cut(seed);
        file_letters("a", letters);
        see(&seen, letters);
    }
    ASSERT_ONLY(&seen, "a", "abb", "a..", "ab.", "a.b");
}

static void a_shortening_may_be_lost(void **state)
{
    struct seen seen = {.count = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char letters[64];

        durable_file("a", BYTES);
        assert_int_equal(truncate("a", 3 * SECTOR_BYTES), 0);
        cut(seed);
        file_letters("a", letters);
        see(&seen, letters);
    }
    ASSERT_ONLY(&seen, "aaaaaaaa", "aaa");
}

/* --- Power cuts: names --- */

static void directory_sync(const char *path)
{
    int fd = file_open(path, O_RDONLY | O_DIRECTORY);

    assert_int_equal(fsync(fd), 0);
    close(fd);
}

/* "a:aa b:- ..." of the names. */
static void names_seen(struct seen *seen, const char *const *names)
{
    char text[128] = "", letters[64];

    for (; *names; names++) {
        file_letters(*names, letters);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s:%.8s", text[0] ? " " : "",
                 *names, letters);
    }
    see(seen, text);
}

static void names_happen_in_order(void **state)
{
    struct seen seen = {.count = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        int fd;

        remove_all();
        durable_file("old", SECTOR_BYTES);
        fd = file_open("new", O_WRONLY | O_CREAT);
        fill(fd, 'b', SECTOR_BYTES, 0);
        assert_int_equal(fsync(fd), 0); /* of the file: its name is not durable by that */
        close(fd);
        assert_int_equal(rename("new", "old"), 0);
        assert_int_equal(unlink("old"), 0);
        cut(seed);
        names_seen(&seen, (const char *const[]){"old", "new", NULL});
    }
    ASSERT_ONLY(&seen, "old:a new:-", "old:a new:b", "old:b new:-", "old:- new:-");
}

static void names_stay_once_their_directory_is_synced(void **state)
{
    struct seen seen = {.count = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        remove_all();
        durable_file("a", SECTOR_BYTES);
        assert_int_equal(mkdir("d", 0700), 0);
        directory_sync(".");
        assert_int_equal(rename("a", "d/b"), 0);
        directory_sync("d"); /* where it went to */
        assert_int_equal(unlink("d/b"), 0);
        cut(seed);
        names_seen(&seen, (const char *const[]){"a", "d/b", NULL});
    }
    ASSERT_ONLY(&seen, "a:- d/b:a", "a:- d/b:-");
}

static void removed_directories_come_back(void **state)
{
    bool back = false, gone = false;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        remove_all();
        assert_int_equal(mkdir("d", 0750), 0);
        durable_file("d/a", SECTOR_BYTES);
        assert_int_equal(unlink("d/a"), 0);
        assert_int_equal(rmdir("d"), 0);
        cut(seed);
        back |= access("d/a", F_OK) == 0;
        gone |= access("d", F_OK) != 0;
    }
    assert_true(back && gone);
}

/* --- EIO --- */

static void it_fails_as_often_as_told(void **state)
{
    char byte = 'x';
    int fd = file_open("a", O_RDWR | O_CREAT);

    (void)state;
    tell("fail write 2");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
        assert_int_equal(errno, EIO);
    }
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    tell("fail sync 0");
    assert_int_equal(fsync(fd), -1);
    assert_int_equal(fdatasync(fd), -1);
    tell("heal");
    assert_int_equal(fsync(fd), 0);
    tell("fail read 0");
    assert_int_equal(pread(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EIO);
    tell("heal");
    close(fd);
}

static void a_sync_that_failed_is_not_made_good_by_the_next(void **state)
{
    struct seen seen = {.count = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char letters[64];
        int fd;

        durable_file("a", SECTOR_BYTES);
        fd = file_open("a", O_WRONLY);
        fill(fd, 'b', SECTOR_BYTES, 0);
        tell("fail sync 1");
        assert_int_equal(fsync(fd), -1);
        assert_int_equal(fsync(fd), 0);
        close(fd);
        cut(seed);
        file_letters("a", letters);
        see(&seen, letters);
    }
    ASSERT_ONLY(&seen, "a", "b");
}

/* --- Freezing --- */

/* Writes when it is told to, and says when that has been answered. */
static pid_t writer_start(int told[2], int answered[2])
{
    pid_t writer;
    char byte;

    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answered, O_CLOEXEC), 0);
    writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        int fd = open("a", O_WRONLY | O_DSYNC | O_CLOEXEC);

        close(told[1]);
        if (fd < 0 || read(told[0], &byte, 1) != 1 || pwrite(fd, "bbbb", 4, 0) != 4)
            _exit(1);
        _exit(write(answered[1], "y", 1) == 1 ? 0 : 1);
    }
    close(told[0]);
    close(answered[1]);
    return writer;
}

static void wait_frozen(void)
{
    char answer[256] = "";

    for (int i = 0; i < 3000 && !strstr(answer, "waiting=1"); i++) {
        assert_true(faultfs_tell(control, answer, sizeof(answer), "status"));
        poll(NULL, 0, 10);
    }
    if (!strstr(answer, "waiting=1"))
        fail_msg("the write did not wait: %s", answer);
}

static void nothing_happens_after_the_power_is_gone(void **state)
{
    int told[2], answered[2], status;
    char letters[64], byte;
    pid_t writer;

    (void)state;
    durable_file("a", SECTOR_BYTES);
    writer = writer_start(told, answered);
    tell("freeze");
    assert_int_equal(write(told[1], "w", 1), 1);
    wait_frozen();
    kill(writer, SIGKILL);
    cut(1);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(read(answered[0], &byte, 1), 0);
    assert_int_equal(unlink("a"), -1); /* nor by one that is not dead yet */
    assert_int_equal(errno, EIO);
    tell("thaw");
    file_letters("a", letters);
    assert_string_equal(letters, "a");
    close(told[1]);
    close(answered[0]);
}

static void descriptors_do_not_outlive_a_power_cut(void **state)
{
    char byte = 'x';
    int fd;

    (void)state;
    durable_file("a", SECTOR_BYTES);
    fd = file_open("a", O_RDWR);
    cut(1);
    assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EIO);
    close(fd);
}

#define MOUNTED(test) cmocka_unit_test_teardown(test, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MOUNTED(what_is_written_is_read),
        MOUNTED(names_change_as_everywhere),
        MOUNTED(direct_access_is_possible),
        MOUNTED(what_is_not_synced_is_torn_by_sector),
        MOUNTED(what_is_synced_stays),
        MOUNTED(a_new_end_may_be_lost),
        MOUNTED(a_shortening_may_be_lost),
        MOUNTED(names_happen_in_order),
        MOUNTED(names_stay_once_their_directory_is_synced),
        MOUNTED(removed_directories_come_back),
        MOUNTED(it_fails_as_often_as_told),
        MOUNTED(a_sync_that_failed_is_not_made_good_by_the_next),
        MOUNTED(nothing_happens_after_the_power_is_gone),
        MOUNTED(descriptors_do_not_outlive_a_power_cut),
    };
    char why[256];

    if (!faultfs_usable(FAULTFS_PROGRAM, why, sizeof(why))) {
        print_message("skipped: %s\n", why);
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
