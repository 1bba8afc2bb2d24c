/*
 * What an operator asks about prepared transactions: which are there, and to finish one that nobody
 * can answer for (R6). Only an agent can say, and do: so a client waits here for it.
 *
 * A branch is resolved in three steps: the agent lists it, with the transaction id it bears; who
 * decides, what, and why is logged with that; only then the agent is told. What the leader can
 * answer for (R3) it refuses, first thing and once more before the word leaves: an invented branch
 * is unknown only as long as its attempt's outcome is kept. What is below the horizon stays unknown,
 * under later leaders too, so no decision of a coordinator ever meets the operator's.
 *
 * Fault model: the agent may be gone, silent, or say anything; the log may not take the record now;
 * a client may leave. Only a word that has left can have been carried out: before, the answer is
 * that nothing was done, afterwards that nobody knows, and asking again is harmless.
 */
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

#define ASK_WAIT (30 * AS_SECOND)
#define ASKS_MAX 64u
#define RECORD_BYTES \
    ((size_t)(2 + 1 + AS_GID_LEN_MAX + 8 + 1 + 2 + AS_WHO_LEN_MAX + 2 + AS_REASON_LEN_MAX))
#define NO_REFUSAL AS_REFUSAL_COUNT

static struct as_bytes text(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

/* The id that an answer names: of a listing none. */
static const char *id_of(const struct txn_ask *ask)
{
    return ask->resolves ? ask->resolve.gid.id : "";
}

/* --- The clients that wait --- */

static void leave(struct txn *txn, struct txn_ask *ask)
{
    txn_timer_stop(txn, &ask->timer);
    txn->drive.timers--;
    txn->drive.ask_count--;
    txn_link_remove(&ask->link);
    txn_out_free(&txn->out, &ask->trash);
}

/* One effect is reserved. */
static void refuse(struct txn *txn, struct txn_ask *ask, enum as_refusal why)
{
    txn_reply_refused(txn, ask->client, id_of(ask), why);
    leave(txn, ask);
}

/* The one that waits for this answer; NULL: nobody does any more. */
static struct txn_ask *find(struct txn *txn, uint64_t session, uint64_t ticket,
                            enum txn_ask_state state)
{
    struct txn_link *head = &txn->drive.asks;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_ask *ask = TXN_OF(link, struct txn_ask, link);

        if (ask->ticket == ticket && ask->session == session && ask->state == state && !ask->lost)
            return ask;
    }
    return NULL;
}

void txn_ask_forget(struct txn *txn, uint64_t client)
{
    struct txn_link *head = &txn->drive.asks;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_ask *ask = TXN_OF(link, struct txn_ask, link);

        if (ask->client == client) {
            leave(txn, ask);
            return;
        }
    }
}

void txn_asks_session_down(struct txn *txn, uint64_t session)
{
    struct txn_link *head = &txn->drive.asks;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_ask *ask = TXN_OF(link, struct txn_ask, link);

        if (ask->session != session)
            continue;
        ask->lost = true;
        txn_timer_soon(txn, &ask->timer, txn->now);
    }
}

as_err txn_due_ask(struct txn *txn, struct txn_ask *ask)
{
    if (txn_out_reserve(&txn->out, 1, 0))
        return AS_ERR_NOMEM;
    refuse(txn, ask,
           ask->state == TXN_ASK_TOLD ? AS_REFUSAL_RESOLVE_UNKNOWN
           : ask->lost                ? AS_REFUSAL_PARTICIPANT_DOWN
                                      : AS_REFUSAL_NOT_IN_TIME);
    return AS_OK;
}

void txn_asks_refuse(struct txn *txn)
{
    struct txn_link *head = &txn->drive.asks;

    while (!txn_list_empty(head)) {
        struct txn_ask *ask = TXN_OF(head->next, struct txn_ask, link);

        refuse(txn, ask,
               ask->state == TXN_ASK_TOLD ? AS_REFUSAL_RESOLVE_UNKNOWN : AS_REFUSAL_NO_LEADER);
    }
}

void txn_asks_close(struct txn *txn)
{
    struct txn_link *head = &txn->drive.asks;

    while (!txn_list_empty(head)) {
        struct txn_ask *ask = TXN_OF(head->next, struct txn_ask, link);

        txn_link_remove(&ask->link);
        as_free(ask);
    }
}

/* --- Asking --- */

static enum as_refusal cannot_ask(const struct txn *txn, const struct txn_participant *participant)
{
    if (!participant)
        return AS_REFUSAL_NO_SUCH_PARTICIPANT;
    if (participant->serving_count == 0)
        return AS_REFUSAL_PARTICIPANT_DOWN;
    return txn->drive.ask_count >= ASKS_MAX ? AS_REFUSAL_OVERLOADED : NO_REFUSAL;
}

/* R6: an operator finishes only what no coordinator can answer for. Of another incarnation this one
 * cannot even be asked; only the operator can know that nobody else can. */
static enum as_refusal cannot_resolve(const struct txn *txn, const struct as_resolve *resolve,
                                      uint64_t incarnation)
{
    const struct as_gid *gid = &resolve->gid;

    if (gid->incarnation != incarnation)
        return resolve->other_incarnation ? NO_REFUSAL : AS_REFUSAL_OTHER_INCARNATION;
    switch (txn_verdict(txn, gid->attempt, gid->branch, text(gid->id))) {
    case AS_VERDICT_COMMIT:
        return AS_REFUSAL_DECIDED_COMMIT;
    case AS_VERDICT_ABORT:
        return AS_REFUSAL_DECIDED_ABORT;
    case AS_VERDICT_PENDING:
        return AS_REFUSAL_UNDECIDED;
    case AS_VERDICT_UNKNOWN:
        return NO_REFUSAL;
    case AS_VERDICT_NONE:
    case AS_VERDICT_COUNT:
        break;
    }
    return AS_REFUSAL_NO_ANSWER;
}

/*
 * A branch of another incarnation of which this log has the decision all the same: the log was restored from a backup
 * (decisions/0015). A gid of that kind proves nothing, but the transaction id in the COMMIT record does: no other prepared
 * transaction of that gid has it.
 */
static bool restored_commit(const struct txn *txn, const struct txn_participant *participant,
                            const struct as_gid *gid, uint64_t xid)
{
    const struct txn_outcome *outcome = txn_outcome_by_id(txn, gid->id);

    if (!outcome || !outcome->committed || xid == 0 ||
        !as_attempt_equal(outcome->attempt, gid->attempt))
        return false;
    for (uint32_t i = 0; i < outcome->branch_count; i++) {
        const struct txn_outcome_branch *branch = &outcome->branches[i];

        if (branch->number == gid->branch && branch->participant == participant->id)
            return branch->xid == xid;
    }
    return false;
}

static struct txn_ask *ask_new(struct txn *txn, uint64_t client,
                               struct txn_participant *participant, uint64_t incarnation)
{
    struct txn_ask *ask = txn_timer_reserve(txn) ? NULL : as_alloc_zero(1, sizeof(*ask));

    if (!ask)
        return NULL;
    ask->timer.kind = TXN_TIMER_ASK;
    ask->client = client;
    ask->participant = participant;
    ask->incarnation = incarnation;
    return ask;
}

/* Enters it and sends LIST: one effect is reserved. */
static void begin(struct txn *txn, struct txn_ask *ask)
{
    const struct txn_serving *serving = txn_serving_next(ask->participant);

    txn->drive.timers++;
    txn->drive.ask_count++;
    txn_list_append(&txn->drive.asks, &ask->link);
    txn_timer_set(txn, &ask->timer, txn->now + ASK_WAIT);
    ask->ticket = ++txn->drive.ticket;
    ask->session = serving->session->id;
    ask->state = TXN_ASK_LISTING;
    txn_send(txn, ask->session, AS_WIRE_LIST)->list =
        (struct as_wire_list){.slot = serving->slot, .ticket = ask->ticket, .gid = text(ask->gid)};
}

as_err txn_on_prepared(struct txn *txn, const struct txn_event *event)
{
    const char *name = event->prepared.participant;
    struct txn_participant *participant = txn_participant_find(txn, name, strlen(name));
    enum as_refusal why = txn->drive.leading ? cannot_ask(txn, participant) : AS_REFUSAL_NO_LEADER;
    struct txn_ask *ask;

    if (why != NO_REFUSAL)
        return txn_refuse(txn, event->prepared.client, "", why);
    if (txn_out_reserve(&txn->out, 1, 0))
        return AS_ERR_NOMEM;
    ask = ask_new(txn, event->prepared.client, participant, event->prepared.incarnation);
    if (!ask)
        return AS_ERR_NOMEM;
    (void)snprintf(ask->cluster, sizeof(ask->cluster), "%s", event->prepared.cluster);
    begin(txn, ask);
    return AS_OK;
}

static void keep_resolve(struct txn_ask *ask, const struct as_resolve *resolve)
{
    AS_ASSERT(resolve->who.len <= sizeof(ask->who) && resolve->why.len <= sizeof(ask->why));
    memcpy(ask->who, resolve->who.data, resolve->who.len);
    memcpy(ask->why, resolve->why.data, resolve->why.len);
    as_gid_format(&resolve->gid, ask->gid);
    ask->resolves = true;
    ask->resolve = *resolve;
    ask->resolve.participant = ask->participant->name;
    ask->resolve.who.data = (const uint8_t *)ask->who;
    ask->resolve.why.data = (const uint8_t *)ask->why;
}

as_err txn_on_resolve(struct txn *txn, const struct txn_event *event)
{
    const struct as_resolve *resolve = event->resolve.resolve;
    struct txn_participant *participant =
        txn_participant_find(txn, resolve->participant, strlen(resolve->participant));
    enum as_refusal why = txn->drive.leading
                              ? cannot_resolve(txn, resolve, event->resolve.incarnation)
                              : AS_REFUSAL_NO_LEADER;
    struct txn_ask *ask;

    if (why == NO_REFUSAL)
        why = cannot_ask(txn, participant);
    if (why != NO_REFUSAL)
        return txn_refuse(txn, event->resolve.client, resolve->gid.id, why);
    if (txn_out_reserve(&txn->out, 1, 0))
        return AS_ERR_NOMEM;
    ask = ask_new(txn, event->resolve.client, participant, event->resolve.incarnation);
    if (!ask)
        return AS_ERR_NOMEM;
    keep_resolve(ask, resolve);
    begin(txn, ask);
    return AS_OK;
}

/* --- The agent answers --- */

static enum as_refusal refusal_of(enum as_asked asked)
{
    switch (asked) {
    case AS_ASKED_GONE:
        return AS_REFUSAL_NOT_PREPARED;
    case AS_ASKED_OTHERWISE:
        return AS_REFUSAL_FINISHED_OTHERWISE;
    case AS_ASKED_REPLACED:
        return AS_REFUSAL_REPLACED;
    case AS_ASKED_BUSY:
        return AS_REFUSAL_BUSY;
    case AS_ASKED_REFUSED:
        return AS_REFUSAL_DATABASE_REFUSED;
    case AS_ASKED_DOWN:
        return AS_REFUSAL_PARTICIPANT_DOWN;
    case AS_ASKED_DONE:
    case AS_ASKED_UNKNOWN:
        break;
    }
    return AS_REFUSAL_RESOLVE_UNKNOWN;
}

/* With what the agent says of it. */
static as_err refuse_for(struct txn *txn, struct txn_ask *ask, enum as_asked asked,
                         struct as_bytes message)
{
    if (txn_out_reserve(&txn->out, 1, message.len + 1))
        return AS_ERR_NOMEM;
    txn_reply_refused_for(txn, ask->client, id_of(ask), refusal_of(asked), message);
    leave(txn, ask);
    return AS_OK;
}

/* What it is to us, and what the leader answers about it (R3). */
static void judge(const struct txn *txn, const struct txn_ask *ask,
                  const struct as_wire_prepared *row, struct as_prepared_view *view)
{
    const struct as_gid *parts = &view->parts;

    if (as_gid_parse((const char *)row->gid.data, row->gid.len, &view->parts) ||
        strcmp(parts->cluster, ask->cluster) != 0) {
        view->state = AS_PREPARED_FOREIGN;
        return;
    }
    if (parts->incarnation != ask->incarnation) {
        view->state = AS_PREPARED_OTHER_INCARNATION;
        if (restored_commit(txn, ask->participant, parts, row->xid))
            view->verdict = AS_VERDICT_COMMIT;
        return;
    }
    view->verdict = txn_verdict(txn, parts->attempt, parts->branch, text(parts->id));
    view->state = view->verdict == AS_VERDICT_UNKNOWN ? AS_PREPARED_ORPHANED
                  : row->waits                        ? AS_PREPARED_IN_DOUBT
                                                      : AS_PREPARED_LIVE;
}

/* How many there are; `ret_rows` NULL: only that. */
static uint32_t rows_of(const struct txn *txn, const struct txn_ask *ask, struct as_bytes rows,
                        struct as_prepared_view *ret_rows)
{
    struct as_reader in = as_reader_of(rows);
    struct as_wire_prepared row;
    uint32_t count = 0;

    while (in.left > 0 && !as_wire_prepared_take(&in, &row)) {
        if (ret_rows) {
            ret_rows[count] = (struct as_prepared_view){
                .gid = row.gid, .owner = row.owner, .xid = row.xid, .age_ms = row.age_ms};
            judge(txn, ask, &row, &ret_rows[count]);
        }
        count++;
    }
    return count;
}

static as_err tell_list(struct txn *txn, struct txn_ask *ask, const struct as_wire_listed *listed)
{
    uint32_t count = rows_of(txn, ask, listed->rows, NULL);
    struct as_bytes texts = {NULL, listed->rows.len};
    struct as_prepared_view *rows;
    struct as_prepared_list *list;
    void *copy;

    if (txn_out_reserve(&txn->out, 1,
                        TXN_ALIGN(count * sizeof(*rows)) + TXN_ALIGN(sizeof(*list)) +
                            TXN_ALIGN(texts.len)))
        return AS_ERR_NOMEM;
    copy = txn_out_bytes(&txn->out, texts.len);
    if (texts.len)
        memcpy(copy, listed->rows.data, texts.len);
    texts.data = copy;
    rows = txn_out_bytes(&txn->out, count * sizeof(*rows));
    list = txn_out_bytes(&txn->out, sizeof(*list));
    *list = (struct as_prepared_list){
        .participant = ask->participant->name,
        .count = rows_of(txn, ask, texts, rows),
        .rows = rows,
        .total = listed->total,
        .foreign = listed->foreign,
    };
    txn_reply_with(txn, ask->client, &(struct as_reply){.id = "", .prepared = list});
    leave(txn, ask);
    return AS_OK;
}

static bool listed_as(const struct as_wire_listed *listed, const char *gid, uint64_t *ret_xid)
{
    struct as_reader in = as_reader_of(listed->rows);
    struct as_wire_prepared row;

    while (in.left > 0 && !as_wire_prepared_take(&in, &row)) {
        if (row.gid.len == strlen(gid) && memcmp(row.gid.data, gid, row.gid.len) == 0) {
            *ret_xid = row.xid;
            return true;
        }
    }
    return false;
}

/* It is there: who finishes it, how and why is logged before anything is done. */
static as_err log_it(struct txn *txn, struct txn_ask *ask)
{
    struct txn_record record = {.type = TXN_RECORD_RESOLVE};

    if (txn_out_reserve(&txn->out, 1, RECORD_BYTES))
        return AS_ERR_NOMEM;
    record.resolve.participant = ask->participant->id;
    record.resolve.gid = ask->resolve.gid;
    record.resolve.xid = ask->xid;
    record.resolve.commit = ask->resolve.commit;
    record.resolve.who = ask->resolve.who;
    record.resolve.why = ask->resolve.why;
    ask->state = TXN_ASK_LOGGING;
    ask->session = 0;
    txn_propose(txn, &record, true, (struct as_attempt){0, 0}, RECORD_BYTES);
    return AS_OK;
}

as_err txn_on_listed(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_listed *listed = event->listed.listed;
    struct txn_ask *ask = find(txn, event->listed.session, listed->ticket, TXN_ASK_LISTING);

    if (!ask)
        return AS_OK;
    if (listed->asked != AS_ASKED_DONE)
        return refuse_for(txn, ask, listed->asked, listed->message);
    if (!ask->resolves)
        return tell_list(txn, ask, listed);
    if (!listed_as(listed, ask->gid, &ask->xid))
        return refuse_for(txn, ask, AS_ASKED_GONE, (struct as_bytes){NULL, 0});
    if (ask->resolve.gid.incarnation != ask->incarnation && !ask->resolve.commit &&
        restored_commit(txn, ask->participant, &ask->resolve.gid, ask->xid)) {
        if (txn_out_reserve(&txn->out, 1, 0))
            return AS_ERR_NOMEM;
        refuse(txn, ask, AS_REFUSAL_DECIDED_COMMIT);
        return AS_OK;
    }
    return log_it(txn, ask);
}

as_err txn_on_resolved(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_resolved *resolved = event->resolved.resolved;
    struct txn_ask *ask = find(txn, event->resolved.session, resolved->ticket, TXN_ASK_TOLD);

    if (!ask)
        return AS_OK;
    if (resolved->asked != AS_ASKED_DONE)
        return refuse_for(txn, ask, resolved->asked, resolved->message);
    if (txn_out_reserve(&txn->out, 1, 0))
        return AS_ERR_NOMEM;
    txn->counts.resolved_commit += ask->resolve.commit;
    txn->counts.resolved_abort += !ask->resolve.commit;
    txn_reply_with(
        txn, ask->client,
        &(struct as_reply){.id = id_of(ask), .resolved = &ask->resolve, .tag = resolved->tag});
    leave(txn, ask);
    return AS_OK;
}

/* --- The log has it --- */

static void trace_resolve(struct txn *txn, const struct txn_record *record)
{
    const struct as_bytes *who = &record->resolve.who, *why = &record->resolve.why;
    char gid[AS_GID_LEN_MAX + 1], detail[AS_GID_LEN_MAX + AS_WHO_LEN_MAX + AS_REASON_LEN_MAX + 32];

    as_gid_format(&record->resolve.gid, gid);
    (void)snprintf(detail, sizeof(detail), "%s %s by %.*s: %.*s",
                   record->resolve.commit ? "commit" : "abort", gid, (int)who->len, who->data,
                   (int)why->len, why->data);
    txn_trace_put(txn, &(struct as_trace){
                           .kind = AS_TRACE_RESOLVED,
                           .attempt = record->resolve.gid.attempt,
                           .branch = record->resolve.gid.branch,
                           .name = txn->table.participants[record->resolve.participant]->name,
                           .detail = txn_out_text(&txn->out, detail, strlen(detail)),
                       });
}

static void tell_agent(struct txn *txn, struct txn_ask *ask)
{
    enum as_refusal why = cannot_resolve(txn, &ask->resolve, ask->incarnation);
    const struct txn_serving *serving;

    if (why == NO_REFUSAL && ask->participant->serving_count == 0)
        why = AS_REFUSAL_PARTICIPANT_DOWN;
    if (why != NO_REFUSAL) {
        refuse(txn, ask, why);
        return;
    }
    serving = txn_serving_next(ask->participant);
    ask->state = TXN_ASK_TOLD;
    ask->session = serving->session->id;
    txn_send(txn, ask->session, AS_WIRE_RESOLVE)->resolve = (struct as_wire_resolve){
        .slot = serving->slot,
        .ticket = ask->ticket,
        .commit = ask->resolve.commit,
        .xid = ask->xid,
        .gid = text(ask->gid),
    };
}

void txn_resolve_applied(struct txn *txn, const struct txn_record *record)
{
    struct txn_link *head = &txn->drive.asks, *link = head->next, *next;
    char gid[AS_GID_LEN_MAX + 1];

    trace_resolve(txn, record);
    as_gid_format(&record->resolve.gid, gid);
    for (; link != head; link = next) {
        struct txn_ask *ask = TXN_OF(link, struct txn_ask, link);

        next = link->next;
        if (ask->state == TXN_ASK_LOGGING && ask->participant->id == record->resolve.participant &&
            ask->resolve.commit == record->resolve.commit && ask->xid == record->resolve.xid &&
            strcmp(ask->gid, gid) == 0)
            tell_agent(txn, ask);
    }
}
