/*
 * The transaction core: one event in, effects out. Fault model: every event may come at any time;
 * one that finds no memory has changed nothing and may be given again. Effects may be lost in a
 * crash, or carried out in any order: what must wait for the log is emitted by the step that
 * applies.
 */
#include "coordinator/txn/txn.h"

#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* --- Effects --- */

void txn_trace_put(struct txn *txn, const struct as_trace *trace)
{
    txn_out_add(&txn->out, TXN_TRACE)->trace = *trace;
    txn->counts.alarms += as_trace_level_of(trace->kind) == AS_TRACE_ALARM;
}

void txn_trace(struct txn *txn, enum as_trace_kind kind, const struct txn_run *run, uint64_t number)
{
    txn_out_add(&txn->out, TXN_TRACE)->trace =
        (struct as_trace){.kind = kind, .attempt = run->attempt, .number = number, .id = run->id};
}

void txn_reply_with(struct txn *txn, uint64_t client, const struct as_reply *reply)
{
    struct txn_effect *effect = txn_out_add(&txn->out, TXN_REPLY);

    effect->reply.client = client;
    effect->reply.reply = *reply;
}

void txn_reply(struct txn *txn, uint64_t client, const char *id, const struct as_txn_view *view)
{
    txn_reply_with(txn, client, &(struct as_reply){.id = id, .view = view});
}

void txn_reply_refused(struct txn *txn, uint64_t client, const char *id, enum as_refusal why)
{
    txn_reply_with(txn, client, &(struct as_reply){.refused = true, .refusal = why, .id = id});
}

void txn_reply_refused_for(struct txn *txn, uint64_t client, const char *id, enum as_refusal why,
                           struct as_bytes message)
{
    struct as_reply reply = {.refused = true, .refusal = why, .id = id};

    if (message.len > 0)
        reply.detail = txn_out_text(&txn->out, (const char *)message.data, message.len);
    txn_reply_with(txn, client, &reply);
}

as_err txn_refuse(struct txn *txn, uint64_t client, const char *id, enum as_refusal why)
{
    size_t len = strlen(id);

    if (!client)
        return AS_OK;
    if (txn_out_reserve(&txn->out, 1, len + 1))
        return AS_ERR_NOMEM;
    txn_reply_refused(txn, client, txn_out_text(&txn->out, id, len), why);
    return AS_OK;
}

struct as_wire_msg *txn_send(struct txn *txn, uint64_t session, enum as_wire_type type)
{
    struct txn_effect *effect = txn_out_add(&txn->out, TXN_SEND);

    effect->send.session = session;
    effect->send.msg.type = type;
    effect->send.msg.version = 0; /* the newest */
    return &effect->send.msg;
}

struct as_wire_branch txn_wire_branch(const struct txn_branch *branch)
{
    return (struct as_wire_branch){
        .slot = branch->slot, .number = branch->number, .attempt = branch->run->attempt};
}

void txn_send_decision(struct txn *txn, uint64_t session, enum as_wire_type type,
                       const struct txn_branch *branch)
{
    const char *id = branch->run->id;

    txn_send(txn, session, type)->decision = (struct as_wire_decision){
        .branch = txn_wire_branch(branch),
        .xid = branch->xid,
        .identity = branch->identity,
        .id = {(const uint8_t *)id, strlen(id)},
    };
}

void txn_propose(struct txn *txn, const struct txn_record *record, bool forced,
                 struct as_attempt attempt, size_t size)
{
    struct as_buf buf = txn_out_buf(&txn->out, size);
    struct txn_effect *effect = txn_out_add(&txn->out, TXN_PROPOSE);

    txn_record_put(&buf, record);
    AS_ASSERT(!buf.err);
    effect->propose.type = (uint8_t)record->type;
    effect->propose.forced = forced;
    effect->propose.attempt = attempt;
    effect->propose.payload = as_buf_bytes(&buf);
}

/* --- The core --- */

static void drive_init(struct txn_drive *drive, const struct txn_config *config)
{
    drive->undecided_max = config->undecided_max ? config->undecided_max : AS_UNDECIDED_MAX;
    drive->resend_first_ms = config->resend_first_ms ? config->resend_first_ms : 100;
    drive->resend_max_ms = config->resend_max_ms ? config->resend_max_ms : 5000;
    drive->lazy_ms = config->lazy_ms ? config->lazy_ms : 50;
    drive->committed_bytes_max =
        config->committed_bytes_max ? config->committed_bytes_max : AS_COMMITTED_SET_BYTES_MAX;
    drive->rng.state = config->seed;
    txn_list_init(&drive->live);
    txn_list_init(&drive->acknowledgers);
    txn_list_init(&drive->asks);
    txn_list_init(&drive->finishing);
    txn_list_init(&drive->aborting);
    txn_list_init(&drive->proposed);
    txn_list_init(&drive->sessions);
    txn_list_init(&drive->dying);
    drive->lazy.kind = TXN_TIMER_LAZY;
    drive->dying_timer.kind = TXN_TIMER_DYING;
    drive->serve_timer.kind = TXN_TIMER_SERVE;
    drive->adopted_timer.kind = TXN_TIMER_ADOPTED;
    drive->timers = 4;
}

as_err txn_new(struct txn **ret_txn, const struct txn_config *config)
{
    struct txn *txn = as_alloc_zero(1, sizeof(*txn));

    if (!txn)
        return AS_ERR_NOMEM;
    txn->hash_seed = config->seed;
    drive_init(&txn->drive, config);
    txn_table_init(txn, config);
    if (txn_timer_reserve(txn)) {
        txn_free(txn);
        return AS_ERR_NOMEM;
    }
    *ret_txn = txn;
    return AS_OK;
}

void txn_free(struct txn *txn)
{
    if (!txn)
        return;
    txn_runs_close(txn);
    txn_waiters_close(txn);
    txn_acknowledgers_close(txn);
    txn_asks_close(txn);
    txn_sessions_close(txn);
    txn_table_close(txn);
    as_free(txn->drive.doubts);
    as_heap_close(&txn->drive.heap);
    txn_out_close(&txn->out);
    as_free(txn);
}

/* What became due by an event is begun at once; if memory is short, the next TIMER does it. */
static void begin_due(struct txn *txn)
{
    as_err err = txn_due(txn);

    (void)err;
}

static as_err handle(struct txn *txn, const struct txn_event *event)
{
    switch (event->kind) {
    case TXN_LEAD:
        return txn_on_lead(txn, event);
    case TXN_RESIGN:
        return txn_on_resign(txn);
    case TXN_APPLY:
        return txn_on_apply(txn, event);
    case TXN_REFUSED:
        return txn_on_refused(txn, event);
    case TXN_SUBMIT:
        return txn_on_submit(txn, event);
    case TXN_GET:
        return txn_on_get(txn, event);
    case TXN_FORGET:
        txn_on_forget(txn, event->client);
        return AS_OK;
    case TXN_SERVE:
        return txn_on_serve(txn, event);
    case TXN_UNSERVE:
        txn_on_unserve(txn, event);
        return AS_OK;
    case TXN_SILENT:
        txn_on_silent(txn, event);
        return AS_OK;
    case TXN_SESSION_DOWN:
        txn_on_session_down(txn, event->session);
        txn_asks_session_down(txn, event->session);
        begin_due(txn);
        return AS_OK;
    case TXN_VOTE:
        return txn_on_vote(txn, event);
    case TXN_ACK:
        return txn_on_ack(txn, event);
    case TXN_INQUIRE:
        return txn_on_inquire(txn, event);
    case TXN_ACKNOWLEDGE:
        return txn_on_acknowledge(txn, event);
    case TXN_PREPARED:
        return txn_on_prepared(txn, event);
    case TXN_RESOLVE:
        return txn_on_resolve(txn, event);
    case TXN_LISTED:
        return txn_on_listed(txn, event);
    case TXN_RESOLVED:
        return txn_on_resolved(txn, event);
    case TXN_TIMER:
        return txn_due(txn);
    }
    AS_ASSERT(false);
    return AS_ERR_INVALID;
}

as_err txn_step(struct txn *txn, const struct txn_event *event, struct txn_effects *ret_effects)
{
    as_err err;

    txn_out_begin(&txn->out);
    txn_runs_sweep(txn);
    txn->now = event->now;
    txn->wall_ms = event->wall_ms;
    err = handle(txn, event);
    if (err)
        return err;
    ret_effects->list = txn->out.list;
    ret_effects->count = txn->out.count;
    return AS_OK;
}

void txn_expect(const struct txn *txn, uint8_t type, struct as_bytes payload)
{
    char id[AS_ID_LEN_MAX + 1];
    struct as_attempt attempt;

    if (txn_record_peek(type, payload, id, &attempt))
        txn_outcome_expect(txn, id, attempt);
}

as_time txn_deadline(const struct txn *txn)
{
    return as_heap_deadline(&txn->drive.heap);
}

uint64_t txn_applied_index(const struct txn *txn)
{
    return txn->table.index;
}

uint64_t txn_applied_term(const struct txn *txn)
{
    return txn->table.term;
}

int64_t txn_log_time_ms(const struct txn *txn)
{
    return txn->table.time_ms;
}

void txn_count(const struct txn *txn, struct txn_counts *ret)
{
    *ret = txn->counts;
    ret->undecided = txn->drive.undecided;
    /* The leader knows of acknowledgements that no FINISH has told yet. */
    ret->unfinished = txn->drive.leading ? txn->drive.committed : txn->table.unfinished;
    ret->heuristic = txn->table.waiting;
    ret->outcomes = txn->table.count;
    ret->committed_set_bytes = txn->table.set.bytes;
}
