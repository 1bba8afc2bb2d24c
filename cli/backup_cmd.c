/*
 * assent backup: copies the newest snapshot of a node's decision log, that runs or not, and judges the copy.
 *
 * Fault model: the node may take a new snapshot meanwhile and remove the one that is being copied: what is open is read to
 * its end. A copy bears its name only when it is whole, sound and synced.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/backup.h"
#include "cli/options.h"
#include "cli/rest.h"
#include "common/uv/read_at.h"

#define PATH_MAX_HERE 1200
#define SNAPSHOT_WAIT_S 600 /* for the node's snapshot, of whatever size */
#define CALL_MS 10000

/* --- Judging --- */

static as_err read_file(void *ctx, uint64_t offset, void *ret_data, size_t len, size_t *ret_len)
{
    return read_at(*(const int *)ctx, offset, ret_data, len, ret_len);
}

bool backup_verify(const char *path, struct node_backup_report *ret_report)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct log_backup_source source = {&fd, read_file};
    as_err err;

    if (fd < 0) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    err = node_backup_verify(&source, 0, ret_report);
    (void)close(fd);
    if (err)
        complain("%s: %s%s%s", path, as_err_text(err), ret_report->detail[0] ? ": " : "",
                 ret_report->detail);
    return err == AS_OK;
}

void backup_print(const char *path, const struct node_backup_report *report, bool as_json)
{
    const struct log_snapshot *head = &report->head;
    char incarnation[24];

    (void)text_format(incarnation, sizeof(incarnation), "%016" PRIx64, head->identity.incarnation);
    if (as_json) {
        cJSON *all = cJSON_CreateObject();

        cJSON_AddTrueToObject(all, "clean");
        cJSON_AddStringToObject(all, "backup", path);
        cJSON_AddStringToObject(all, "cluster", head->identity.cluster);
        cJSON_AddStringToObject(all, "incarnation", incarnation);
        cJSON_AddNumberToObject(all, "node", (double)head->identity.node);
        cJSON_AddNumberToObject(all, "index", (double)head->index);
        cJSON_AddNumberToObject(all, "term", (double)head->term);
        cJSON_AddNumberToObject(all, "outcomes", report->counts.outcomes);
        cJSON_AddNumberToObject(all, "unfinished", report->counts.unfinished);
        cJSON_AddNumberToObject(all, "heuristic", report->counts.heuristic);
        cJSON_AddNumberToObject(all, "bytes", (double)report->bytes);
        json_print(all);
        cJSON_Delete(all);
        return;
    }
    printf("clean backup: cluster %s, incarnation %s, of node %" PRIu64 "\n"
           "  everything committed up to entry %" PRIu64 ", term %" PRIu64 ": %" PRIu32
           " outcomes, %" PRIu32 " unfinished, %" PRIu32 " heuristic, %" PRIu64 " bytes\n",
           head->identity.cluster, incarnation, head->identity.node, head->index, head->term,
           report->counts.outcomes, report->counts.unfinished, report->counts.heuristic,
           report->bytes);
}

/* --- A fresh snapshot --- */

struct fresh {
    char incarnation[24];
    double node, index; /* the backup must hold this entry */
};

static int ask_cluster(const char *api, const char *path, const char *body, cJSON **ret_json)
{
    const struct rest_request request = {
        .api = api, .path = path, .body = body, .timeout_ms = CALL_MS};
    struct rest_reply reply = {0};
    int exit_code = rest_command(&request, &reply);

    *ret_json = NULL;
    if (exit_code == CLI_OK) {
        *ret_json = reply.json;
        reply.json = NULL;
    }
    rest_reply_close(&reply);
    return exit_code;
}

/* Has the node write a snapshot of all that it has applied by now, and waits for it. */
static int make_fresh(const char *api, struct fresh *ret_fresh)
{
    as_time until = clock_now() + SNAPSHOT_WAIT_S * AS_SECOND;
    cJSON *json;
    int exit_code = ask_cluster(api, "/v1/cluster", NULL, &json);

    if (exit_code != CLI_OK)
        return exit_code;
    ret_fresh->index = json_number(json, "table_index", 0);
    ret_fresh->node = json_number(json, "node", 0);
    (void)text_format(ret_fresh->incarnation, sizeof(ret_fresh->incarnation), "%s",
                      json_text(json, "incarnation", ""));
    cJSON_Delete(json);
    exit_code = ask_cluster(api, "/v1/cluster/snapshot", "{}", &json);
    while (exit_code == CLI_OK) {
        struct timespec pause = {.tv_nsec = 50000000};
        bool full = json_true(json, "disk_full");
        double done = json_number(json, "snapshot_index", 0);

        cJSON_Delete(json);
        if (done >= ret_fresh->index)
            return CLI_OK;
        if (full || clock_now() > until) {
            complain(full ? "backup: the disk of %s is full: it cannot take a snapshot"
                          : "backup: %s took no snapshot within ten minutes",
                     api);
            return CLI_NEGATIVE;
        }
        (void)nanosleep(&pause, NULL);
        exit_code = ask_cluster(api, "/v1/cluster", NULL, &json);
    }
    return exit_code;
}

/* --- Copying --- */

/* Opens the newest snapshot of the directory; -1: complained. */
static int open_newest(const char *dir)
{
    DIR *all = opendir(dir);
    uint64_t newest = 0, number;
    char path[PATH_MAX_HERE], name[AS_FILE_NAME_MAX + 1];
    int fd;

    if (!all) {
        complain("%s: %s", dir, strerror(errno));
        return -1;
    }
    for (struct dirent *entry = readdir(all); entry; entry = readdir(all)) {
        if (log_name_parse(entry->d_name, &number) == LOG_NAME_SNAPSHOT && number > newest)
            newest = number;
    }
    (void)closedir(all);
    if (!newest) {
        complain("%s: there is no snapshot in it yet; with --api the node takes one now", dir);
        return -1;
    }
    log_name_snapshot(name, newest, false);
    if (!text_format(path, sizeof(path), "%s/%s", dir, name)) {
        complain("%s: the path is too long", dir);
        return -1;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        complain("%s: %s", path, strerror(errno));
    return fd;
}

static bool copy_all(int from, int to, const char *path)
{
    static uint8_t bytes[1 << 20];
    uint64_t offset = 0;
    size_t got;

    do {
        if (read_at(from, offset, bytes, sizeof(bytes), &got)) {
            complain("the snapshot cannot be read: %s", strerror(errno));
            return false;
        }
        for (size_t done = 0; done < got;) {
            ssize_t n = write(to, bytes + done, got - done);

            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0) {
                complain("%s: %s", path, strerror(errno));
                return false;
            }
            done += (size_t)n;
        }
        offset += got;
    } while (got == sizeof(bytes));
    if (fsync(to)) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/* Under a name of its own until it is known to be sound. */
static bool copy_to(const char *dir, const char *part)
{
    int from = open_newest(dir), to;
    bool copied;

    if (from < 0)
        return false;
    to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0)
        complain("%s: %s", part, strerror(errno));
    copied = to >= 0 && copy_all(from, to, part);
    (void)close(from);
    if (to >= 0 && close(to) && copied) {
        complain("%s: %s", part, strerror(errno));
        copied = false;
    }
    return copied;
}

static bool is_of(const struct node_backup_report *report, const struct fresh *fresh)
{
    char incarnation[24];

    (void)text_format(incarnation, sizeof(incarnation), "%016" PRIx64,
                      report->head.identity.incarnation);
    if (strcmp(incarnation, fresh->incarnation) == 0 &&
        (double)report->head.identity.node == fresh->node &&
        (double)report->head.index >= fresh->index)
        return true;
    complain("backup: the node that --api names is not the one of --data");
    return false;
}

/* The name in its directory is made durable too. */
static bool take_name(const char *part, const char *path)
{
    char dir[PATH_MAX_HERE];
    const char *slash = strrchr(path, '/');
    int fd;

    if (link(part, path)) { /* unlike a rename it never takes the place of an older backup */
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    (void)unlink(part);
    (void)text_format(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1,
                      slash ? path : ".");
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd)) {
        complain("%s: %s", dir, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    (void)close(fd);
    return true;
}

static int back_up(const char *dir, const char *api, const char *path, bool as_json)
{
    struct node_backup_report report;
    struct fresh fresh;
    char part[PATH_MAX_HERE];
    bool done;

    if (!text_format(part, sizeof(part), "%s.part", path)) {
        complain("%s: the path is too long", path);
        return CLI_USAGE;
    }
    if (access(path, F_OK) == 0) {
        complain("%s: is there already; a backup is never written over", path);
        return CLI_NEGATIVE;
    }
    if (api) {
        int exit_code = make_fresh(api, &fresh);

        if (exit_code != CLI_OK)
            return exit_code;
    }
    done = copy_to(dir, part) && backup_verify(part, &report) && (!api || is_of(&report, &fresh)) &&
           take_name(part, path);
    if (!done) {
        (void)unlink(part);
        return CLI_NEGATIVE;
    }
    backup_print(path, &report, as_json);
    return CLI_OK;
}

int cmd_backup(int argc, char **argv)
{
    const char *data = NULL, *api = NULL, *path;
    bool as_json = false;
    const struct option table[] = {
        {OPTION_TEXT, "data", "DIR", "data_dir of a node (required)", &data, 0, 0},
        {OPTION_TEXT, "api", "URL",
         "of that very node, which takes a snapshot now; without it the newest one is copied", &api,
         0, 0},
        {OPTION_FLAG, "json", NULL, "print JSON", &as_json, 0, 0}};
    const struct command command = {
        .name = "backup",
        .usage = "FILE",
        .about = "Writes a backup of the decision log to FILE: everything that was committed up to "
                 "one\nmoment, checked as it is written (`assent log verify FILE` does so again). "
                 "The node may\nrun. `assentd --restore FILE` makes nodes of a new cluster of it.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    int exit_code;

    if (!options_parse(&command, argc, argv, &path, NULL, &exit_code))
        return exit_code;
    if (!data) {
        complain("backup: --data is required");
        return CLI_USAGE;
    }
    return back_up(data, api, path, as_json);
}
