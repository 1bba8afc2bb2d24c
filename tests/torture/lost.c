/*
 * Which branches a failover has lost, from the write-ahead log of the old primary.
 *
 * The new primary has all records before the place where it left the old timeline, and none at or behind it. A branch whose
 * PREPARE stands before is there, and prepared again if its COMMIT PREPARED stands behind: the coordinators finish it once more.
 * One whose PREPARE stands behind has never been there. If its COMMIT PREPARED stands behind as well, its agent may have heard of it,
 * and then it is finished for the coordinators and nobody asks again; else it must be reported, if it is committed at all.
 *
 * A branch of which both stand before is committed. But whether anybody acknowledged it is in no log, and where no marker rows
 * are kept a new primary cannot prove it (R7): then it may be reported.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "standby.h"

#define BRANCHES_MAX 100000

struct branch {
    uint64_t transfer;
    unsigned long xid;
    struct as_attempt attempt;
    bool prepared_behind, committed, committed_behind;
};

struct lost {
    struct world *world;
    unsigned long long left_at;
    struct branch *branches;
    size_t count;
};

static unsigned long long lsn_of(const char *text)
{
    unsigned high = 0, low = 0;

    (void)sscanf(text, "%X/%X", &high, &low);
    return (unsigned long long)high << 32 | low;
}

/* "... tx: 741, lsn: 0/015..., prev ..., desc: PREPARE gid assent/...: 2026-..." */
static void prepare_take(struct lost *lost, unsigned long xid, char *gid_text, bool behind)
{
    struct branch *branch = &lost->branches[lost->count];
    struct as_gid gid;
    char *end = strstr(gid_text, ": ");

    if (end)
        *end = '\0';
    AS_ASSERT(lost->count < BRANCHES_MAX);
    if (as_gid_parse(gid_text, strlen(gid_text), &gid) ||
        !history_parse_id(lost->world->history, gid.id, &branch->transfer))
        return;
    branch->xid = xid;
    branch->attempt = gid.attempt;
    branch->prepared_behind = behind;
    branch->committed = branch->committed_behind = false;
    lost->count++;
}

static void commit_take(struct lost *lost, unsigned long xid, bool behind)
{
    for (size_t i = 0; i < lost->count; i++) {
        if (lost->branches[i].xid != xid)
            continue;
        lost->branches[i].committed = true;
        lost->branches[i].committed_behind = behind;
    }
}

static void line_take(struct lost *lost, char *line)
{
    char *tx = strstr(line, " tx: "), *lsn = strstr(line, "lsn: ");
    char *prepare = strstr(line, "desc: PREPARE gid ");
    char *commit = strstr(line, "desc: COMMIT_PREPARED ");
    bool behind = lsn && lsn_of(lsn + strlen("lsn: ")) >= lost->left_at;

    if (prepare && tx)
        prepare_take(lost, strtoul(tx + strlen(" tx: "), NULL, 10),
                     prepare + strlen("desc: PREPARE gid "), behind);
    else if (commit)
        commit_take(lost, strtoul(commit + strlen("desc: COMMIT_PREPARED "), NULL, 10), behind);
}

/* pg_waldump ends with an error where the log ends: as a crash has left it. */
static bool log_read(struct lost *lost, const struct failover *failover)
{
    struct world *world = lost->world;
    char path[200], line[2048];
    size_t lines = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/log/waldump-%s", world->dir,
                   failover->database->participant);
    (void)world_run(world, "%s/pg_waldump -p %s/pg_wal -t %s -s %s -r Transaction >%s",
                    world->postgres, failover->old_data, failover->timeline, failover->begin, path);
    file = fopen(path, "re");
    for (; file && fgets(line, sizeof(line), file); lines++)
        line_take(lost, line);
    return (file && fclose(file) == 0 && lines > 0) ||
           world_fail(world, "the old log of %s cannot be read: see log/commands.log",
                      failover->database->participant);
}

static int branches_mark(const struct lost *lost, const struct failover *failover, int *ret_open)
{
    uint8_t number = (uint8_t)(failover->database - lost->world->databases);
    int count = 0;

    for (size_t i = 0; i < lost->count; i++) {
        const struct branch *branch = &lost->branches[i];
        enum mark mark = branch->committed_behind ? MARK_GONE : MARK_LOST;

        if (branch->prepared_behind && !failover->synchronous) {
            count++;
            *ret_open += mark == MARK_LOST;
        } else if (branch->committed && !branch->committed_behind && !failover->database->marker) {
            mark = MARK_DOUBT;
        } else {
            continue;
        }
        history_mark(lost->world->history, branch->transfer, branch->attempt, number, mark);
    }
    return count;
}

int lost_mark(struct world *world, const struct failover *failover, int *ret_open)
{
    struct lost lost = {.world = world,
                        .left_at = lsn_of(failover->left_at),
                        .branches = calloc(BRANCHES_MAX, sizeof(struct branch))};
    int count;

    AS_ASSERT(lost.branches);
    *ret_open = 0;
    count = log_read(&lost, failover) ? branches_mark(&lost, failover, ret_open) : -1;
    free(lost.branches);
    return count;
}
