/*
 * From "propose" to "applied". A lone node is a Raft group of one: its majority is itself, so an
 * entry is committed as soon as it is durable here. Raft's core goes between node_propose and the
 * log, and decides in apply_durable how far the log is committed; nothing else in the node knows
 * the difference.
 *
 * Fault model: a write or sync that fails ends the process; what was proposed then is found again
 * in the log or was never there (R3 answers for it either way).
 */
#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/node/internal.h"

#define SNAPSHOT_CHUNK_BYTES (64u << 10)

static as_err reserve_proposed(struct node *node)
{
    struct node_proposed *ring;
    uint32_t cap;

    if (node->proposed_count < node->proposed_cap)
        return AS_OK;
    cap = node->proposed_cap ? node->proposed_cap * 2 : 256;
    ring = as_alloc(cap * sizeof(*ring));
    if (!ring)
        return AS_ERR_NOMEM;
    for (uint32_t i = 0; i < node->proposed_count; i++)
        ring[i] = node->proposed[(node->proposed_head + i) & (node->proposed_cap - 1)];
    as_free(node->proposed);
    node->proposed = ring;
    node->proposed_cap = cap;
    node->proposed_head = 0;
    return AS_OK;
}

/* The log's own time moves with the leader's monotonic clock from where the log stood
 * (protocol.md). */
static int64_t log_time_ms(struct node *node)
{
    int64_t time_ms = node->lead_time_ms + (node->ops->now(node->env) - node->lead_at) / AS_MS;

    if (time_ms > node->time_ms)
        node->time_ms = time_ms;
    return node->time_ms;
}

static void refuse(struct node *node, struct as_attempt attempt, enum as_refusal why)
{
    if (node->refused_count == node->refused_cap) {
        uint32_t cap = node->refused_cap ? node->refused_cap * 2 : 64;
        void *grown = as_resize(node->refused, cap * sizeof(*node->refused));

        if (!grown) {
            /* Without this the attempt would stay undecided here for ever; the log is the truth
             * (R1). */
            node_fail(node, "out of memory while refusing a proposal");
            return;
        }
        node->refused = grown;
        node->refused_cap = cap;
    }
    node->refused[node->refused_count].attempt = attempt;
    node->refused[node->refused_count].why = why;
    node->refused_count++;
}

static as_err append(struct node *node, uint8_t type, bool forced, struct as_bytes payload)
{
    struct node_proposed *proposed;
    struct log_effects effects;
    struct log_event event = {
        .kind = LOG_APPEND,
        .now = node->ops->now(node->env),
        .append = {.forced = forced,
                   .entry = {.index = log_last_index(node->log) + 1,
                             .term = node->term,
                             .time_ms = log_time_ms(node),
                             .type = type,
                             .payload = payload}},
    };
    size_t len = node->proposed_bytes.len;
    as_err err = reserve_proposed(node);

    if (err)
        return err;
    as_put_bytes(&node->proposed_bytes, payload.data, payload.len);
    if (node->proposed_bytes.err) {
        err = node->proposed_bytes.err;
        node->proposed_bytes.err = AS_OK;
        return err;
    }
    err = log_step(node->log, &event, &effects);
    if (err) {
        node->proposed_bytes.len = len;
        return err;
    }
    proposed =
        &node->proposed[(node->proposed_head + node->proposed_count) & (node->proposed_cap - 1)];
    *proposed = (struct node_proposed){
        .index = event.append.entry.index,
        .seq = effects.written_seq,
        .time_ms = event.append.entry.time_ms,
        .type = type,
        .len = (uint32_t)payload.len,
    };
    node->proposed_count++;
    node->commits_proposed += type == TXN_RECORD_COMMIT;
    return AS_OK;
}

void node_propose(struct node *node, uint8_t type, bool forced, struct as_attempt attempt,
                  struct as_bytes payload)
{
    as_err err = node->failed ? AS_ERR_CLOSED : append(node, type, forced, payload);

    if (!err)
        return;
    /* A FINISH or ABORT that is not logged only means that the next leader asks again: nothing is
     * lost. A HEURISTIC comes again with the next acknowledgement. A COMMIT was never accepted: R4,
     * abort. */
    if (type == TXN_RECORD_COMMIT)
        refuse(node, attempt, err == AS_ERR_NOSPACE ? AS_REFUSAL_DISK_FULL : AS_REFUSAL_OVERLOADED);
}

/* The payloads of applied entries leave the front of the buffer now and then, not one by one. */
static void drop_applied_bytes(struct node *node)
{
    if (node->proposed_taken == node->proposed_bytes.len) {
        as_buf_clear(&node->proposed_bytes);
        node->proposed_taken = 0;
    } else if (node->proposed_taken > (1u << 20)) {
        as_buf_consume(&node->proposed_bytes, node->proposed_taken);
        node->proposed_taken = 0;
    }
}

static void lead(struct node *node)
{
    struct txn_event event = {.kind = TXN_LEAD, .term = node->term};

    node->leading = true;
    node_txn(node, &event);
    node_sessions_announce(node);
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_LEADING, .number = node->term});
}

/* Of the entry to be applied next; NULL if there are no bytes at all (a NOOP has none). */
static const uint8_t *proposed_payload(const struct node *node)
{
    const uint8_t *bytes = node->proposed_bytes.data;

    return bytes ? bytes + node->proposed_taken : NULL;
}

/* A crash here: the entry is in the log, and the next start applies it (R1, R8). */
static void apply(struct node *node, const struct node_proposed *proposed)
{
    struct txn_event event = {
        .kind = TXN_APPLY,
        .entry = {.index = proposed->index,
                  .term = node->term,
                  .time_ms = proposed->time_ms,
                  .type = proposed->type,
                  .payload = {proposed_payload(node), proposed->len}},
    };

    if (proposed->type == TXN_RECORD_COMMIT) {
        node->commits_proposed--;
        AS_CRASH_POINT("node.commit.persisted");
    } else if (proposed->type == TXN_RECORD_FINISH) {
        AS_CRASH_POINT("node.finish.persisted");
    }
    node_txn(node, &event);
    node->proposed_taken += proposed->len;
    if (proposed->type == TXN_RECORD_NOOP && !node->leading)
        lead(node);
}

static void apply_durable(struct node *node, uint64_t persisted_seq)
{
    uint32_t records = 0;

    while (node->proposed_count > 0 && !node->failed) {
        struct node_proposed proposed = node->proposed[node->proposed_head];

        if (proposed.seq > persisted_seq)
            break;
        node->proposed_head = (node->proposed_head + 1) & (node->proposed_cap - 1);
        node->proposed_count--;
        records++;
        apply(node, &proposed);
    }
    if (records > 0)
        as_hist_add(&node->batch_records, records);
    drop_applied_bytes(node);
}

static void start_ops(struct node *node, const struct log_effects *effects)
{
    for (size_t i = 0; i < effects->op_count; i++) {
        const struct as_disk_op *op = &effects->ops[i];

        if (op->kind == AS_DISK_WRITE) {
            node->write_started_at = node->ops->now(node->env);
            node->write_ticket = op->ticket;
        }
        node->ops->disk_start(node->env, op);
        if (op->kind == AS_DISK_WRITE && node->commits_proposed > 0)
            AS_CRASH_POINT("node.commit.writing");
    }
}

static void snapshot_stop(struct node *node)
{
    txn_snapshot_end(node->txn);
    node->snapshot_running = false;
    as_buf_clear(&node->snapshot_chunk);
}

static void snapshot_next(struct node *node)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_CHUNK};
    as_err err;

    as_buf_clear(&node->snapshot_chunk);
    err = txn_snapshot_next(node->txn, &node->snapshot_chunk, SNAPSHOT_CHUNK_BYTES,
                            &event.chunk.last);
    if (err) {
        /* Out of memory: the log stays longer, nothing else; the next one comes when more is
         * logged. */
        event.kind = LOG_SNAPSHOT_GIVE_UP;
        snapshot_stop(node);
    } else {
        event.chunk.bytes = as_buf_bytes(&node->snapshot_chunk);
        if (event.chunk.last)
            snapshot_stop(node);
    }
    node_log(node, &event);
}

void node_snapshot_if_due(struct node *node)
{
    struct log_event event = {.kind = LOG_SNAPSHOT_BEGIN};

    if (node->snapshot_running || node->failed ||
        log_bytes_since_snapshot(node->log) < node->config.snapshot_bytes)
        return;
    if (txn_snapshot_begin(node->txn, &event.snapshot.index, &event.snapshot.term))
        return;
    /* An applied entry is durable here, so the snapshot cannot reach past the durable index. */
    AS_ASSERT(event.snapshot.index <= log_persisted_index(node->log));
    node->snapshot_running = true;
    node->snapshot_index = event.snapshot.index;
    node_log(node, &event);
}

void node_log(struct node *node, struct log_event *event)
{
    struct log_effects effects;
    as_err err;

    if (node->failed)
        return;
    event->now = node->ops->now(node->env);
    err = log_step(node->log, event, &effects);
    if (err) {
        if (event->kind == LOG_SNAPSHOT_BEGIN || event->kind == LOG_SNAPSHOT_CHUNK) {
            if (node->snapshot_running)
                snapshot_stop(node);
            if (event->kind == LOG_SNAPSHOT_CHUNK)
                node_log(node, &(struct log_event){.kind = LOG_SNAPSHOT_GIVE_UP});
            return;
        }
        if (event->kind == LOG_FLUSH)
            return; /* out of memory: the next turn flushes again */
        node_fail(node, "the decision log cannot go on: out of memory");
        return;
    }
    for (size_t i = 0; i < effects.trace_count; i++)
        node_trace(node, &effects.traces[i]);
    node->disk_full = effects.full;
    if (effects.fatal) {
        node_fail(node, effects.fatal);
        return;
    }
    if (event->kind == LOG_DISK_DONE && event->disk_done.ticket == node->write_ticket)
        as_hist_add(&node->sync_ns, (uint64_t)(node->ops->now(node->env) - node->write_started_at));
    start_ops(node, &effects); /* among them the next write */
    apply_durable(node, effects.persisted_seq);
    if (effects.snapshot_given_up && node->snapshot_running)
        snapshot_stop(node); /* for want of space: the next one comes when more is logged */
    else if (effects.snapshot_wants_chunk && node->snapshot_running)
        snapshot_next(node);
}
