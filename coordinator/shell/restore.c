/*
 * Fault model: the file may be no backup, damaged, or of another cluster; then nothing is made. What is made is said, with
 * the incarnation that every other node's file must have.
 */
#include "coordinator/shell/restore.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/uv/read_at.h"
#include "common/uv/say.h"

static as_err fail(char *ret_error, as_err err, const char *backup, const char *why)
{
    (void)snprintf(ret_error, 2048, "%.500s: %.1000s", backup, why);
    return err;
}

static as_err read_file(void *ctx, uint64_t offset, void *ret_data, size_t len, size_t *ret_len)
{
    return read_at(*(const int *)ctx, offset, ret_data, len, ret_len);
}

static as_err refused(char *ret_error, as_err err, const char *backup,
                      const struct node_backup_report *report)
{
    switch (err) {
    case AS_ERR_EXISTS:
        return fail(ret_error, err, backup,
                    "is restored into an empty data_dir only, and there is a log, or what an "
                    "earlier try left: look at it, then remove it");
    case AS_ERR_INVALID:
        return fail(ret_error, err, backup,
                    "has the incarnation that [cluster] incarnation names: draw a new one (openssl "
                    "rand -hex 8), the same for every node that is restored from it");
    case AS_ERR_FOREIGN: /* its branches bear that name, and agents look for no other */
        return fail(ret_error, err, backup,
                    "is a backup of a cluster of another name than [node] cluster");
    default:
        return fail(ret_error, err, backup, report->detail[0] ? report->detail : as_err_text(err));
    }
}

static void say_restored(const struct log_config *log, const struct node_backup_report *report)
{
    char incarnation[24], before[24], index[24], unfinished[24];

    (void)snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, log->incarnation);
    (void)snprintf(before, sizeof(before), "%016" PRIx64, report->head.identity.incarnation);
    (void)snprintf(index, sizeof(index), "%" PRIu64, report->head.index);
    (void)snprintf(unfinished, sizeof(unfinished), "%" PRIu32, report->counts.unfinished);
    say(AS_TRACE_INFO, "restored", "cluster", log->cluster, "incarnation", incarnation,
        "backup_incarnation", before, "index", index, "unfinished", unfinished, NULL);
}

as_err shell_restore(const struct log_config *log, const struct raft_members *members,
                     const char *backup, const struct as_disk *disk, char ret_error[2048])
{
    struct raft_members alone = {.count = 1, .list = {{.id = log->node, .role = RAFT_VOTER}}};
    struct node_restore restore = {.log = log, .members = members->count ? members : &alone};
    struct node_backup_report report;
    struct timespec now;
    int fd = open(backup, O_RDONLY | O_CLOEXEC);
    struct log_backup_source source = {&fd, read_file};
    as_err err;

    if (fd < 0)
        return fail(ret_error, AS_ERR_IO, backup, "cannot be opened");
    (void)clock_gettime(CLOCK_REALTIME, &now);
    restore.wall_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    err = node_restore(&restore, &source, disk, &report);
    if (err)
        err = refused(ret_error, err, backup, &report);
    else
        say_restored(log, &report);
    (void)close(fd);
    return err;
}
