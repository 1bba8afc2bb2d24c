/*
 * From "propose" to "applied". Raft decides which entries are committed; here its effects are
 * carried out: entries and votes go to the log, what the log has made durable is told to Raft, what
 * Raft says is committed is applied to the table. A lone node is a group of one and takes the same
 * way.
 *
 * Fault model: a write or sync that fails ends the process; what was proposed then is found again
 * in the log or was never there (R3 answers for it either way).
 */
#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/node/internal.h"

#define EXPECT_AHEAD 6 /* entries: memory is some hundred nanoseconds away */

/* --- Refused proposals --- */

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

void node_propose(struct node *node, uint8_t type, struct as_attempt attempt,
                  struct as_bytes payload)
{
    struct raft_event event = {.kind = RAFT_PROPOSE,
                               .propose = {.term = node->term, .type = type, .payload = payload}};
    enum raft_refusal refusal;

    if (node->failed)
        return;
    node->write_err = AS_OK;
    refusal = node_raft(node, &event);
    if (refusal == RAFT_REFUSED_NONE && !node->write_err) {
        node->commits_proposed += type == TXN_RECORD_COMMIT;
        return;
    }
    /* A FINISH or ABORT that is not logged only means that the next leader asks again: nothing is
     * lost. A HEURISTIC comes again with the next acknowledgement. A COMMIT was never accepted: R4,
     * abort. */
    if (type != TXN_RECORD_COMMIT)
        return;
    if (refusal == RAFT_REFUSED_NOT_LEADER || refusal == RAFT_REFUSED_TRANSFERRING)
        refuse(node, attempt, AS_REFUSAL_NO_LEADER);
    else
        refuse(node, attempt,
               node->write_err == AS_ERR_NOSPACE ? AS_REFUSAL_DISK_FULL : AS_REFUSAL_OVERLOADED);
}

/* --- Applying --- */

static void lead(struct node *node)
{
    struct txn_event event = {.kind = TXN_LEAD, .term = node->term};

    node->leading = true;
    node_txn(node, &event);
    node_sessions_announce(node);
    node_trace(node, &(struct as_trace){.kind = AS_TRACE_LEADING, .number = node->term});
}

/* A crash here: the entry is in the logs of a majority, and is applied again (R1, R8). */
static void apply(struct node *node, const struct raft_entry *entry)
{
    struct txn_event event = {
        .kind = TXN_APPLY,
        .entry = {entry->index, entry->term, entry->time_ms, entry->type, entry->payload}};
    bool own_noop = entry->type == RAFT_ENTRY_NOOP && entry->term == node->term &&
                    node->role == RAFT_LEADER && !node->leading;

    node->applied = entry->index;
    if (entry->type == RAFT_ENTRY_MEMBERS) {
        node_sessions_members(node);
        return; /* Raft's own: the table knows nothing of nodes */
    }
    if (entry->type == TXN_RECORD_COMMIT) {
        if (entry->term == node->term && node->commits_proposed > 0)
            node->commits_proposed--;
        AS_CRASH_POINT("node.commit.persisted");
    } else if (entry->type == TXN_RECORD_FINISH) {
        AS_CRASH_POINT("node.finish.persisted");
    }
    node_txn(node, &event);
    if (own_noop && !node->failed)
        lead(node);
}

/* Of an entry that is applied a few after this one. */
static void expect(struct node *node, uint64_t index)
{
    struct raft_entry entry;

    if (index <= node->committed && !raft_entry(node->raft, index, &entry))
        txn_expect(node->txn, entry.type, entry.payload);
}

static void apply_committed(struct node *node)
{
    while (node->applied < node->committed && !node->failed) {
        struct raft_entry entry;

        expect(node, node->applied + 1 + EXPECT_AHEAD);

        if (raft_entry(node->raft, node->applied + 1, &entry)) {
            node_fail(node, "a committed entry is not in memory");
            return;
        }
        apply(node, &entry);
    }
}

static void change_role(struct node *node)
{
    bool led = node->role_told == RAFT_LEADER;

    node->role_told = node->role;
    if (node->role == RAFT_LEADER || !led)
        return;
    /* R4: what Raft accepted is decided by the log, at whoever leads next. */
    node->commits_proposed = 0;
    if (node->leading) {
        node->leading = false;
        node_txn(node, &(struct txn_event){.kind = TXN_RESIGN});
    }
}

/* --- Raft's effects --- */

static void append_entries(struct node *node, uint64_t write, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count && !node->failed; i++) {
        struct raft_entry entry;
        struct log_effects effects;
        struct log_event event = {.kind = LOG_APPEND, .now = node->ops->now(node->env)};
        as_err err;

        if (raft_entry(node->raft, first + i, &entry)) {
            node_fail(node, "an entry to be written is not in memory");
            return;
        }
        event.append.entry =
            (struct log_entry){entry.index, entry.term, entry.time_ms, entry.type, entry.payload};
        /* New work leaves room for what finishes old work. */
        event.append.forced = entry.type == TXN_RECORD_COMMIT;
        err = log_step(node->log, &event, &effects);
        if (err == AS_ERR_NOSPACE || err == AS_ERR_NOMEM) {
            node->write_refused = write + i;
            node->write_err = err;
            node->disk_full |= err == AS_ERR_NOSPACE;
            return;
        }
        if (err || effects.written_seq != write + i) {
            node_fail(node, "the log and Raft do not agree on what is written");
            return;
        }
    }
}

/* A vote or a truncation: without it nothing can go on. */
static void write_record(struct node *node, struct log_event *event, uint64_t write)
{
    struct log_effects effects;
    as_err err;

    event->now = node->ops->now(node->env);
    err = log_step(node->log, event, &effects);
    if (err)
        node_fail(node, "the decision log does not take a vote or a truncation");
    else if (effects.written_seq != write)
        node_fail(node, "the log and Raft do not agree on what is written");
}

static void carry_out(struct node *node, const struct raft_effect *effect)
{
    struct log_event event = {.kind = LOG_VOTE};

    switch (effect->kind) {
    case RAFT_SEND:
        node_link_send(node, effect->send.to, &effect->send.message);
        break;
    case RAFT_WRITE_VOTE:
        event.vote.term = effect->vote.term;
        event.vote.voted_for = effect->vote.voted_for;
        write_record(node, &event, effect->vote.write);
        break;
    case RAFT_WRITE_TRUNCATE:
        event.kind = LOG_TRUNCATE;
        event.truncate.index = effect->truncate.first;
        write_record(node, &event, effect->truncate.write);
        break;
    case RAFT_WRITE_ENTRIES:
        append_entries(node, effect->entries.write, effect->entries.first, effect->entries.count);
        break;
    case RAFT_COMMITTED:
        node->committed = effect->committed.last;
        break;
    case RAFT_ROLE_CHANGED:
        node->role = effect->role.role;
        node->term = effect->role.term;
        node->leader = effect->role.leader;
        if (node->leader != 0)
            node_leader_known(node);
        break;
    case RAFT_READ_READY:
        node_read_ready(node, effect->read.request, effect->read.index);
        break;
    case RAFT_READ_REFUSED:
        node_read_refused(node, effect->read.request);
        break;
    case RAFT_SNAPSHOT_READ:
        node_snapshot_read(node, effect->snapshot_read.peer, effect->snapshot_read.index,
                           effect->snapshot_read.chunk);
        break;
    case RAFT_SNAPSHOT_WRITE:
        node_snapshot_write(node, effect);
        break;
    case RAFT_SNAPSHOT_DROP:
        node_snapshot_drop(node);
        break;
    case RAFT_TRACE:
        node_trace(node, &effect->trace);
        break;
    }
}

static enum raft_refusal step(struct node *node, struct raft_event *event)
{
    struct raft_effects effects;
    as_err err;

    event->now = node->ops->now(node->env);
    err = raft_step(node->raft, event, &effects);
    if (err == AS_ERR_NOMEM && event->kind == RAFT_MESSAGE)
        return RAFT_REFUSED_NONE; /* as if it had been lost on the way */
    if (err == AS_ERR_NOMEM && event->kind == RAFT_PROPOSE)
        return RAFT_REFUSED_TAIL_FULL;
    if (err) {
        node_fail(node,
                  err == AS_ERR_NOMEM ? "out of memory" : "Raft was given an event that cannot be");
        return RAFT_REFUSED_NOT_LEADER;
    }
    for (size_t i = 0; i < effects.count && !node->failed; i++)
        carry_out(node, &effects.list[i]);
    return effects.refusal;
}

/*
 * What comes of effects may call for further steps: they come here, one after the other. Not inside
 * the transaction core's effects, which its next step would take away.
 */
void node_settle(struct node *node)
{
    if (node->settling || node->carrying > 0 || node->failed)
        return;
    node->settling = true;
    do {
        if (node->write_refused) {
            struct raft_event event = {.kind = RAFT_WRITE_REFUSED, .write = node->write_refused};

            node->write_refused = 0;
            (void)step(node, &event);
        }
        if (node->role != node->role_told)
            change_role(node);
        apply_committed(node);
        node_snapshot_settle(node);
        node_readers_serve(node);
    } while (!node->failed && (node->write_refused || node->role != node->role_told ||
                               node->applied < node->committed));
    node->settling = false;
}

enum raft_refusal node_raft(struct node *node, struct raft_event *event)
{
    enum raft_refusal refusal;

    if (node->failed)
        return RAFT_REFUSED_NOT_LEADER;
    refusal = step(node, event);
    /* WRITE_REFUSED must be the very next step. */
    while (node->write_refused && !node->failed) {
        struct raft_event refused = {.kind = RAFT_WRITE_REFUSED, .write = node->write_refused};

        node->write_refused = 0;
        (void)step(node, &refused);
    }
    node_settle(node);
    return refusal;
}

/* --- The log --- */

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

static void persisted(struct node *node, uint64_t seq)
{
    struct raft_event event = {.kind = RAFT_PERSISTED, .write = seq};

    if (seq == node->persisted_seq)
        return;
    as_hist_add(&node->batch_records, seq - node->persisted_seq);
    node->persisted_seq = seq;
    (void)node_raft(node, &event);
}

/* An event that the log could not take: true if the node goes on without it. */
static bool log_refused(struct node *node, const struct log_event *event)
{
    switch (event->kind) {
    case LOG_FLUSH:
        return true; /* out of memory: the next turn flushes again */
    case LOG_SNAPSHOT_BEGIN:
    case LOG_SNAPSHOT_CHUNK:
        if (node->snapshot_running)
            node_snapshot_stop(node);
        if (event->kind == LOG_SNAPSHOT_CHUNK)
            (void)node_log(node, &(struct log_event){.kind = LOG_SNAPSHOT_GIVE_UP});
        return true;
    case LOG_INSTALL_BEGIN:
    case LOG_INSTALL_CHUNK:
    case LOG_INSTALL_GIVE_UP:
    case LOG_READ_CHUNK:
        return true; /* snapshot.c asks again, or begins anew */
    default:
        return false;
    }
}

as_err node_log(struct node *node, struct log_event *event)
{
    struct log_effects effects;
    as_err err;

    if (node->failed)
        return AS_ERR_CLOSED;
    event->now = node->ops->now(node->env);
    err = log_step(node->log, event, &effects);
    if (err) {
        if (!log_refused(node, event))
            node_fail(node, "the decision log cannot go on: out of memory");
        return err;
    }
    for (size_t i = 0; i < effects.trace_count; i++)
        node_trace(node, &effects.traces[i]);
    node->disk_full = effects.full;
    if (effects.fatal) {
        node_fail(node, effects.fatal);
        return AS_ERR_IO;
    }
    if (event->kind == LOG_DISK_DONE && event->disk_done.ticket == node->write_ticket)
        as_hist_add(&node->sync_ns, (uint64_t)(node->ops->now(node->env) - node->write_started_at));
    start_ops(node, &effects); /* among them the next write */
    node_snapshot_effects(node, &effects);
    persisted(node, effects.persisted_seq);
    return AS_OK;
}

as_err node_replay_entry(struct node *node, const struct log_entry *entry)
{
    const struct raft_entry loaded = {entry->index, entry->term, entry->time_ms, entry->type,
                                      entry->payload};

    return raft_load_entry(node->raft, &loaded);
}
