/*
 * assent doctor: the disk of a decision log. Every decision waits for a sync of it (R1).
 *
 * Nothing may be in a data directory but the log, so the trial is made beside it, on the same file
 * system.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "assent/limits.h"
#include "cli/doctor.h"

#define TRIALS 64
#define TRIAL_BYTES 4096
#define SYNC_SLOW_US 10000.0
#define SYNC_BAD_US 100000.0
#define SYNC_HOLLOW_US 5.0 /* no disk is that fast */
#define SEGMENTS_MIN 8     /* two snapshots, the log between them, and spares */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* As the log does: over space that was written before. False: errno says why. */
static bool time_syncs(int fd, double ret_us[TRIALS])
{
    char block[TRIAL_BYTES];

    memset(block, 0x5a, sizeof(block));
    for (int i = 0; i < TRIALS; i++)
        if (pwrite(fd, block, sizeof(block), (off_t)i * TRIAL_BYTES) != TRIAL_BYTES)
            return false;
    if (fsync(fd))
        return false;
    for (int i = 0; i < TRIALS; i++) {
        as_time began = clock_now();

        if (pwrite(fd, block, sizeof(block), (off_t)i * TRIAL_BYTES) != TRIAL_BYTES ||
            fdatasync(fd))
            return false;
        ret_us[i] = (double)(clock_now() - began) / AS_US;
    }
    qsort(ret_us, TRIALS, sizeof(*ret_us), compare);
    return true;
}

static void check_sync(struct doctor *doctor, const char *data_dir, const char *beside)
{
    double us[TRIALS], median;
    char path[1100];
    bool timed;
    int fd;

    if (!text_format(path, sizeof(path), "%s/.assent-doctor-XXXXXX", beside))
        return;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        doctor_finding(doctor, VERDICT_WARN, "disk", data_dir,
                       "run assent doctor as root, or as the coordinator's user",
                       "the speed of a sync was not tried: no file can be made in %s: %s", beside,
                       strerror(errno));
        return;
    }
    timed = time_syncs(fd, us);
    (void)unlink(path);
    (void)close(fd);
    if (!timed) {
        doctor_finding(doctor, VERDICT_FAIL, "disk", data_dir, "look at the disk: dmesg",
                       "writing beside it failed: %s", strerror(errno));
        return;
    }
    median = us[TRIALS / 2];
    if (median >= SYNC_SLOW_US)
        doctor_finding(doctor, median >= SYNC_BAD_US ? VERDICT_FAIL : VERDICT_WARN, "disk",
                       data_dir, "put the log on a faster disk: every decision waits for one sync",
                       "a sync takes %.1f ms (median of %d)", median / 1000, TRIALS);
    else if (median < SYNC_HOLLOW_US)
        doctor_finding(doctor, VERDICT_WARN, "disk", data_dir,
                       "make sure that the disk keeps what it acknowledged when the power fails",
                       "a sync takes %.1f us: no disk is that fast", median);
    else
        doctor_finding(doctor, VERDICT_OK, "disk", data_dir, NULL,
                       "a sync takes %.0f us (median of %d), the slowest %.0f us", median, TRIALS,
                       us[TRIALS - 1]);
}

static void check_kind(struct doctor *doctor, const char *data_dir, const char *where)
{
    struct statfs kind;

    if (statfs(where, &kind))
        return;
    if (kind.f_type == TMPFS_MAGIC || kind.f_type == RAMFS_MAGIC)
        doctor_finding(doctor, VERDICT_FAIL, "disk", data_dir, "move it to a disk",
                       "it is in memory: a power cut loses every decision");
    else if (kind.f_type == NFS_SUPER_MAGIC || kind.f_type == SMB2_SUPER_MAGIC)
        doctor_finding(doctor, VERDICT_WARN, "disk", data_dir, "move it to a disk of this machine",
                       "it is on a network file system, which may be slow to sync or not reach");
}

static void check_space(struct doctor *doctor, const struct doctor_file *file, const char *where)
{
    uint64_t segment = file->segment_kib ? file->segment_kib << 10 : AS_SEGMENT_BYTES;
    struct statvfs space;
    uint64_t available;

    if (statvfs(where, &space))
        return;
    available = (uint64_t)space.f_bavail * space.f_frsize;
    if (available < SEGMENTS_MIN * segment)
        doctor_finding(doctor, available < 2 * segment ? VERDICT_FAIL : VERDICT_WARN, "disk",
                       file->data_dir,
                       "make space: without it new work is refused with 503 disk_full",
                       "%" PRIu64 " MiB are free; %" PRIu64 " MiB (%d segments) should be",
                       available >> 20, (SEGMENTS_MIN * segment) >> 20, SEGMENTS_MIN);
    else
        doctor_finding(doctor, VERDICT_OK, "disk", file->data_dir, NULL, "%" PRIu64 " MiB are free",
                       available >> 20);
}

void doctor_disk(struct doctor *doctor, const struct doctor_file *file)
{
    char copy[1024], *parent;
    struct stat dir, beside;

    if (!file->data_dir[0])
        return; /* the daemon has said so */
    (void)snprintf(copy, sizeof(copy), "%s", file->data_dir);
    parent = dirname(copy);
    if (stat(parent, &beside)) {
        doctor_finding(doctor, VERDICT_FAIL, "disk", file->data_dir,
                       "make that directory, for the coordinator's user", "%s: %s", parent,
                       strerror(errno));
        return;
    }
    if (stat(file->data_dir, &dir) && errno == ENOENT)
        doctor_finding(
            doctor, VERDICT_WARN, "disk", file->data_dir,
            "for the first start of a new node: assentd --bootstrap, or --join; otherwise "
            "the log is lost, see docs/operations.md",
            "there is no decision log");
    else if (dir.st_dev != beside.st_dev)
        parent = NULL; /* a mount point: nothing beside it is on the same disk */
    check_kind(doctor, file->data_dir, parent ? parent : file->data_dir);
    check_space(doctor, file, parent ? parent : file->data_dir);
    if (parent)
        check_sync(doctor, file->data_dir, parent);
    else
        doctor_finding(doctor, VERDICT_WARN, "disk", file->data_dir,
                       "let data_dir be a directory inside the mounted file system",
                       "it is a mount point itself: the speed of a sync cannot be tried beside it");
}
