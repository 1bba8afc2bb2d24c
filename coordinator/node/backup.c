/*
 * Fault model: the backup may hold anything; it is read into a table before a log is made of it. Nothing of the old cluster's
 * word is taken over but what it had committed: no vote, no members, and not its incarnation, so that no agent takes a
 * branch of the one for a branch of the other (protocol.md, "incarnation").
 */
#include "coordinator/node/backup.h"

#include <stdio.h>
#include <string.h>

/* --- Verify --- */

struct verifying {
    struct txn *txn;
    struct node_backup_report *report;
};

static as_err on_head(void *ctx, const struct log_snapshot *head)
{
    struct verifying *verifying = ctx;

    verifying->report->head = *head;
    return AS_OK;
}

static as_err on_chunk(void *ctx, struct as_bytes chunk, bool last)
{
    struct verifying *verifying = ctx;
    struct node_backup_report *report = verifying->report;
    bool members = report->members.count == 0;
    as_err err = !members ? txn_restore(verifying->txn, chunk, last)
                 : last   ? AS_ERR_CORRUPT
                          : raft_members_take(chunk, &report->members);

    report->chunks++;
    report->bytes += chunk.len;
    if (members)
        report->members_bytes = chunk.len;
    if (err)
        (void)snprintf(report->detail, sizeof(report->detail),
                       "its checksums are right, but %s is not what this program writes",
                       members ? "the list of members" : "the table");
    return err;
}

as_err node_backup_verify(const struct log_backup_source *source, uint32_t outcomes_max,
                          struct node_backup_report *ret_report)
{
    struct txn_config config = {.seed = 1, .outcomes_max = outcomes_max};
    struct verifying verifying = {.report = ret_report};
    struct log_backup_sink sink = {&verifying, on_head, on_chunk};
    char detail[LOG_BACKUP_DETAIL];
    as_err err;

    memset(ret_report, 0, sizeof(*ret_report));
    err = txn_new(&verifying.txn, &config);
    if (err)
        return err;
    err = log_backup_read(source, &sink, detail);
    if (detail[0])
        memcpy(ret_report->detail, detail, sizeof(detail));
    if (!err && (txn_applied_index(verifying.txn) != ret_report->head.index ||
                 txn_applied_term(verifying.txn) != ret_report->head.term)) {
        (void)snprintf(ret_report->detail, sizeof(ret_report->detail),
                       "its header names another entry than its table ends with");
        err = AS_ERR_CORRUPT;
    }
    txn_count(verifying.txn, &ret_report->counts);
    txn_free(verifying.txn);
    return err;
}

/* --- Restore --- */

struct restoring {
    const struct node_restore *what;
    const struct as_disk *disk;
    const struct node_backup_report *report;
    struct log_restore log;
    struct as_buf members, chunk;
    uint64_t number;
};

static as_err begin(void *ctx, const struct log_snapshot *head)
{
    struct restoring *restoring = ctx;

    const struct node_backup_report *report = restoring->report;

    raft_members_put(&restoring->members, restoring->what->members);
    if (restoring->members.err)
        return restoring->members.err;
    return log_restore_begin(&restoring->log, restoring->what->log, restoring->disk, head,
                             report->chunks,
                             report->bytes - report->members_bytes + restoring->members.len);
}

static as_err copy(void *ctx, struct as_bytes chunk, bool last)
{
    struct restoring *restoring = ctx;
    struct as_buf *out = &restoring->chunk;
    as_err err;

    if (restoring->number++ == 0)
        return log_restore_chunk(&restoring->log, as_buf_bytes(&restoring->members), last);
    if (restoring->number > 2)
        return log_restore_chunk(&restoring->log, chunk, last);
    as_put_bytes(out, chunk.data, chunk.len);
    err = out->err;
    if (!err)
        err = txn_snapshot_forget(out->data, out->len, restoring->what->wall_ms);
    return err ? err : log_restore_chunk(&restoring->log, as_buf_bytes(out), last);
}

as_err node_restore(const struct node_restore *restore, const struct log_backup_source *source,
                    const struct as_disk *disk, struct node_backup_report *ret_report)
{
    struct restoring restoring = {.what = restore, .disk = disk, .report = ret_report};
    struct log_backup_sink sink = {&restoring, begin, copy};
    as_err err = node_backup_verify(source, 0, ret_report);

    if (err)
        return err;
    if (strcmp(restore->log->cluster, ret_report->head.identity.cluster) != 0)
        return AS_ERR_FOREIGN;
    if (restore->log->incarnation == ret_report->head.identity.incarnation)
        return AS_ERR_INVALID;
    as_buf_init(&restoring.members, LOG_CHUNK_BYTES_MAX);
    as_buf_init(&restoring.chunk, LOG_CHUNK_BYTES_MAX);
    err = log_backup_read(source, &sink, ret_report->detail);
    as_buf_close(&restoring.members);
    as_buf_close(&restoring.chunk);
    return err ? err : log_restore_end(&restoring.log, ret_report->head.term + NODE_RESTORE_TERMS);
}
