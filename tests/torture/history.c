/*
 * The history: see history.h.
 */
#include "history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"plain", "read-only", "fails", "unmet"};
static const char *const waits[] = {"applied", "decided", "none"};
static const char *const ops[] = {"post", "get"};
static const char *const results[] = {"committed", "aborted", "under-way", "not-found",
                                      "refused",   "unknown", "odd"};
static const char *const marks[] = {"rolled-back", "lost", "gone", "doubt"};

struct history *history_open(const char *path, uint64_t run)
{
    struct history *history = calloc(1, sizeof(*history));

    AS_ASSERT(history);
    (void)pthread_mutex_init(&history->lock, NULL);
    history->run = run;
    history->file = fopen(path, "we");
    if (!history->file) {
        free(history);
        return NULL;
    }
    fprintf(history->file,
            "# transfer INDEX kind wait database:account:amount ...\n"
            "# op INDEX kind client node invoked_ns returned_ns result http applied attempt "
            "reason\n"
            "# mark INDEX attempt database what\n");
    return history;
}

void history_close(struct history *history)
{
    if (!history)
        return;
    (void)fclose(history->file);
    free(history->transfers);
    free(history->ops);
    free(history->marks);
    free(history);
}

void history_id(const struct history *history, uint64_t transfer, char ret_id[65])
{
    (void)snprintf(ret_id, 65, "t-%" PRIx64 "-%" PRIu64, history->run, transfer);
}

bool history_parse_id(const struct history *history, const char *id, uint64_t *ret_transfer)
{
    uint64_t run, transfer;
    char again[65];

    if (sscanf(id, "t-%" SCNx64 "-%" SCNu64, &run, &transfer) != 2 || run != history->run ||
        transfer >= history->transfer_count)
        return false;
    history_id(history, transfer, again);
    *ret_transfer = transfer;
    return strcmp(id, again) == 0;
}

/* The list with room for one more. */
static void *room_for_one(void *list, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return list;
    *cap = *cap ? *cap * 2 : 4096;
    list = realloc(list, *cap * size);
    AS_ASSERT(list);
    return list;
}

uint64_t history_add_transfer(struct history *history, const struct transfer *transfer)
{
    uint64_t index;

    (void)pthread_mutex_lock(&history->lock);
    index = history->transfer_count;
    history->transfers =
        room_for_one(history->transfers, index, &history->transfer_cap, sizeof(*transfer));
    history->transfers[history->transfer_count++] = *transfer;
    fprintf(history->file, "transfer %" PRIu64 " %s %s", index, kinds[transfer->kind],
            waits[transfer->wait]);
    for (int i = 0; i < WORLD_DATABASES; i++)
        fprintf(history->file, " %c:%u:%d", 'a' + i, transfer->account[i], transfer->amount[i]);
    fputc('\n', history->file);
    (void)pthread_mutex_unlock(&history->lock);
    return index;
}

void history_add_op(struct history *history, const struct op *op)
{
    (void)pthread_mutex_lock(&history->lock);
    history->ops = room_for_one(history->ops, history->op_count, &history->op_cap, sizeof(*op));
    history->ops[history->op_count++] = *op;
    fprintf(history->file, "op %" PRIu64 " %s %d %d %" PRId64 " %" PRId64 " %s %d %s %s %s\n",
            op->transfer, ops[op->kind], op->client + 1, op->node + 1, op->invoked_ns,
            op->returned_ns, results[op->result], op->status, op->applied ? "applied" : "-",
            op->attempt[0] ? op->attempt : "-", op->reason[0] ? op->reason : "-");
    (void)pthread_mutex_unlock(&history->lock);
}

void history_mark(struct history *history, uint64_t transfer, struct as_attempt attempt,
                  uint8_t database, enum mark mark)
{
    struct history_mark added = {transfer, "", database, (uint8_t)mark};

    (void)snprintf(added.attempt, sizeof(added.attempt), "%" PRIu64 ".%" PRIu64, attempt.term,
                   attempt.seq);
    (void)pthread_mutex_lock(&history->lock);
    history->marks =
        room_for_one(history->marks, history->mark_count, &history->mark_cap, sizeof(added));
    history->marks[history->mark_count++] = added;
    fprintf(history->file, "mark %" PRIu64 " %s %c %s\n", transfer, added.attempt, 'a' + database,
            marks[mark]);
    (void)pthread_mutex_unlock(&history->lock);
}

/* Another attempt of the same id may have committed, after one that was struck was aborted. */
static bool is_of_committed(const struct history *history, const struct history_mark *mark)
{
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];

        if (op->transfer == mark->transfer && op->result == RESULT_COMMITTED)
            return strcmp(op->attempt, mark->attempt) == 0;
    }
    return false;
}

bool history_is_marked(const struct history *history, uint64_t transfer, uint8_t database,
                       enum mark *ret_mark)
{
    for (size_t i = 0; i < history->mark_count; i++) {
        const struct history_mark *mark = &history->marks[i];

        if (mark->transfer == transfer && mark->database == database &&
            is_of_committed(history, mark)) {
            *ret_mark = (enum mark)mark->mark;
            return true;
        }
    }
    return false;
}
