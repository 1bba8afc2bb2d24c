/*
 * Sessions, and which participant each of their slots serves (R7). A participant is used only when
 * the table holds exactly the facts that its agent reported.
 *
 * Fault model: sessions end at any moment; several agents may serve one participant, restart, or
 * report from a database that was restored or failed over. A session that ended is kept until the
 * votes it owes are counted as no, a few at a time.
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/txn/core.h"

/* The log may refuse PARTICIPANT (no space): it is proposed again as long as somebody offers to
 * serve. */
#define PROPOSE_AGAIN AS_SECOND
#define EVALUATE_BYTES (TXN_SMALL_RECORD_BYTES + 16)

/* --- Finding --- */

struct txn_session *txn_session_find(const struct txn *txn, uint64_t id)
{
    const struct txn_link *head = &txn->drive.sessions;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_session *session = TXN_OF(link, struct txn_session, link);

        if (session->id == id)
            return session;
    }
    return NULL;
}

static struct txn_serving *slot_of(const struct txn_session *session, uint16_t slot)
{
    const struct txn_link *head = session ? &session->servings : NULL;

    for (struct txn_link *link = head ? head->next : NULL; link != head; link = link->next) {
        struct txn_serving *serving = TXN_OF(link, struct txn_serving, of_session);

        if (serving->slot == slot)
            return serving;
    }
    return NULL;
}

struct txn_participant *txn_serving_participant(const struct txn *txn, uint64_t session,
                                                uint16_t slot)
{
    const struct txn_serving *serving = slot_of(txn_session_find(txn, session), slot);

    return serving ? txn_participant_find(txn, serving->name, strlen(serving->name)) : NULL;
}

/* In turn; a silent one only when there is no other: what it is given may wait until its session is
 * given up. */
struct txn_serving *txn_serving_next(struct txn_participant *participant)
{
    struct txn_link *head = &participant->servings, *link = head->next;

    AS_ASSERT(participant->serving_count > 0);
    while (link != head && TXN_OF(link, struct txn_serving, of_participant)->session->silent)
        link = link->next;
    if (link == head)
        link = head->next;
    txn_link_remove(link);
    txn_list_append(&participant->servings, link);
    return TXN_OF(link, struct txn_serving, of_participant);
}

struct txn_serving *txn_serving_of(const struct txn_participant *participant, uint64_t session,
                                   uint16_t slot)
{
    const struct txn_link *head = &participant->servings;

    for (struct txn_link *link = head->next; link != head; link = link->next) {
        struct txn_serving *serving = TXN_OF(link, struct txn_serving, of_participant);

        if (serving->session->id == session && serving->slot == slot)
            return serving;
    }
    return NULL;
}

/* --- Beginning and ceasing to serve --- */

static void begin(struct txn *txn, struct txn_serving *serving, struct txn_participant *participant)
{
    if (serving->state != TXN_SERVING) {
        serving->state = TXN_SERVING;
        serving->participant = participant;
        txn_list_append(&participant->servings, &serving->of_participant);
        participant->serving_count++;
    }
    txn_participant_hurry(txn, participant);
}

/* If nobody serves then, those whose facts another's have outdone may tell theirs again. */
static void cease(struct txn *txn, struct txn_serving *serving)
{
    struct txn_participant *participant = serving->participant;

    if (serving->state == TXN_SERVING) {
        txn_link_remove(&serving->of_participant);
        serving->participant = NULL;
        if (--participant->serving_count == 0 && txn->drive.leading)
            txn_timer_soon(txn, &txn->drive.serve_timer, txn->now);
    }
    serving->state = TXN_SERVING_NOT;
}

static bool same_token(const struct as_identity *a, const struct as_identity *b)
{
    return memcmp(a->token, b->token, AS_IDENTITY_LEN) == 0;
}

/* The same database in the same history, whatever its agents count. */
static bool same_database(const struct txn_serving *serving,
                          const struct txn_participant *participant)
{
    return same_token(&serving->identity, &participant->identity) &&
           serving->system_id == participant->system_id &&
           serving->timeline == participant->timeline;
}

static void propose_participant(struct txn *txn, struct txn_serving *serving)
{
    struct txn_record record = {.type = TXN_RECORD_PARTICIPANT};

    memcpy(record.participant.name, serving->name, sizeof(record.participant.name));
    record.participant.identity = serving->identity;
    record.participant.counter = serving->counter;
    record.participant.system_id = serving->system_id;
    record.participant.timeline = serving->timeline;
    serving->state = serving->state == TXN_SERVING ? TXN_SERVING : TXN_SERVING_PROPOSED;
    txn_propose(txn, &record, true, (struct as_attempt){0, 0}, TXN_SMALL_RECORD_BYTES);
    txn_timer_soon(txn, &txn->drive.serve_timer, txn->now + PROPOSE_AGAIN);
}

/* One effect and EVALUATE_BYTES are reserved. */
static void evaluate(struct txn *txn, struct txn_serving *serving)
{
    struct txn_participant *participant =
        txn_participant_find(txn, serving->name, strlen(serving->name));
    struct as_wire_msg *msg;

    if (!participant) {
        if (txn->table.participant_count < AS_PARTICIPANTS_MAX)
            propose_participant(txn, serving);
        return;
    }
    if (same_token(&serving->identity, &participant->identity) &&
        serving->counter < participant->counter) {
        /* R7: the storage was rolled back. It serves again when it has a token of its own. */
        cease(txn, serving);
        msg = txn_send(txn, serving->session->id, AS_WIRE_ROTATE);
        msg->rotate.slot = serving->slot;
        msg->rotate.counter = participant->counter;
        return;
    }
    if (same_database(serving, participant) && serving->counter == participant->counter) {
        begin(txn, serving, participant);
        return;
    }
    if (!same_database(serving, participant))
        cease(txn, serving); /* until the table knows which database it is now */
    propose_participant(txn, serving);
}

/* --- Events --- */

static struct txn_session *session_make(struct txn *txn, uint64_t id)
{
    struct txn_session *session;

    if (txn->drive.session_count >= AS_AGENT_SESSIONS_MAX)
        return NULL;
    session = as_alloc_zero(1, sizeof(*session));
    if (!session)
        return NULL;
    session->id = id;
    txn_list_init(&session->servings);
    txn_list_init(&session->votes);
    txn_list_append(&txn->drive.sessions, &session->link);
    txn->drive.session_count++;
    return session;
}

static uint32_t slots_of(const struct txn_session *session)
{
    uint32_t count = 0;

    for (const struct txn_link *link = session->servings.next; link != &session->servings;
         link = link->next)
        count++;
    return count;
}

static struct txn_serving *serving_make(struct txn_session *session, uint16_t slot)
{
    struct txn_serving *serving = as_alloc_zero(1, sizeof(*serving));

    if (!serving)
        return NULL;
    serving->session = session;
    serving->slot = slot;
    txn_list_append(&session->servings, &serving->of_session);
    return serving;
}

static void keep_facts(struct txn *txn, struct txn_serving *serving,
                       const struct as_wire_participant *facts)
{
    if (strlen(serving->name) != facts->name.len ||
        memcmp(serving->name, facts->name.data, facts->name.len) != 0) {
        cease(txn, serving); /* a slot with another name is another one */
        memset(serving->name, 0, sizeof(serving->name));
        memcpy(serving->name, facts->name.data, facts->name.len);
    }
    serving->identity = facts->identity;
    serving->counter = facts->counter;
    serving->system_id = facts->system_id;
    serving->timeline = facts->timeline;
}

as_err txn_on_serve(struct txn *txn, const struct txn_event *event)
{
    const struct as_wire_participant *facts = event->serve.facts;
    struct txn_session *session = txn_session_find(txn, event->serve.session);
    struct txn_serving *serving;

    if (!as_participant_valid((const char *)facts->name.data, facts->name.len))
        return AS_OK;
    if (!facts->up) {
        serving = slot_of(session, facts->slot);
        if (serving)
            cease(txn, serving);
        return AS_OK;
    }
    if (txn_out_reserve(&txn->out, 1, EVALUATE_BYTES))
        return AS_ERR_NOMEM;
    if (!session) {
        if (txn->drive.session_count >= AS_AGENT_SESSIONS_MAX)
            return AS_OK;
        session = session_make(txn, event->serve.session);
        if (!session)
            return AS_ERR_NOMEM;
    }
    serving = slot_of(session, facts->slot);
    if (!serving) {
        if (slots_of(session) >= AS_PARTICIPANTS_MAX)
            return AS_OK;
        serving = serving_make(session, facts->slot);
        if (!serving)
            return AS_ERR_NOMEM; /* an empty session means nothing */
    }
    keep_facts(txn, serving, facts);
    if (txn->drive.leading)
        evaluate(txn, serving);
    return AS_OK;
}

void txn_on_unserve(struct txn *txn, const struct txn_event *event)
{
    struct txn_serving *serving =
        slot_of(txn_session_find(txn, event->unserve.session), event->unserve.slot);

    if (serving)
        cease(txn, serving);
}

void txn_on_silent(struct txn *txn, const struct txn_event *event)
{
    struct txn_session *session = txn_session_find(txn, event->silent.session);

    if (session)
        session->silent = event->silent.silent;
}

static void session_free(struct txn *txn, struct txn_session *session)
{
    AS_ASSERT(txn_list_empty(&session->votes));
    txn_link_remove(&session->link);
    txn->drive.session_count--;
    as_free(session);
}

void txn_on_session_down(struct txn *txn, uint64_t id)
{
    struct txn_session *session = txn_session_find(txn, id);

    if (!session)
        return;
    while (!txn_list_empty(&session->servings)) {
        struct txn_serving *serving =
            TXN_OF(session->servings.next, struct txn_serving, of_session);
        struct txn_participant *participant = serving->participant;

        cease(txn, serving);
        if (participant) /* what it was told may not have arrived; another one may serve it */
            txn_participant_hurry(txn, participant);
        txn_link_remove(&serving->of_session);
        as_free(serving);
    }
    txn_link_remove(&session->link);
    txn_list_append(&txn->drive.dying, &session->link);
    txn_timer_soon(txn, &txn->drive.dying_timer, txn->now);
}

/* One vote that will not come any more (R2). */
as_err txn_due_dying(struct txn *txn)
{
    while (!txn_list_empty(&txn->drive.dying)) {
        struct txn_session *session = TXN_OF(txn->drive.dying.next, struct txn_session, link);

        if (!txn_list_empty(&session->votes))
            return txn_vote_lost(txn, TXN_OF(session->votes.next, struct txn_branch, link));
        session_free(txn, session);
    }
    txn_timer_stop(txn, &txn->drive.dying_timer);
    return AS_OK;
}

/* --- Facts and the table --- */

/* Calls `each` for every slot of every session that is up. */
static void servings_each(struct txn *txn, void (*each)(struct txn *, struct txn_serving *, void *),
                          void *ctx)
{
    struct txn_link *sessions = &txn->drive.sessions;

    for (struct txn_link *s = sessions->next; s != sessions; s = s->next) {
        struct txn_link *servings = &TXN_OF(s, struct txn_session, link)->servings;

        for (struct txn_link *link = servings->next; link != servings; link = link->next)
            each(txn, TXN_OF(link, struct txn_serving, of_session), ctx);
    }
}

static void participant_applied(struct txn *txn, struct txn_serving *serving, void *ctx)
{
    struct txn_participant *participant = ctx;

    if (strcmp(serving->name, participant->name) != 0)
        return;
    if (serving->state == TXN_SERVING && !same_database(serving, participant)) {
        cease(txn, serving); /* it serves another database than the cluster goes on with */
        serving->state = TXN_SERVING_OUTDONE;
    } else if ((serving->state == TXN_SERVING_PROPOSED || serving->state == TXN_SERVING_OUTDONE) &&
               same_database(serving, participant)) {
        begin(txn, serving, participant);
    }
}

/*
 * Records that were on their way when facts changed are applied all the same. If that leaves nobody who serves, those who
 * could tell their facts again: otherwise the participant would be gone until an agent comes anew.
 */
void txn_participant_applied(struct txn *txn, struct txn_participant *participant)
{
    if (!txn->drive.leading)
        return;
    servings_each(txn, participant_applied, participant);
    if (participant->serving_count == 0)
        txn_timer_soon(txn, &txn->drive.serve_timer, txn->now);
}

static void count_one(struct txn *txn, struct txn_serving *serving, void *ctx)
{
    (void)txn;
    (void)serving;
    (*(size_t *)ctx)++;
}

as_err txn_servings_reserve(struct txn *txn)
{
    size_t count = 0;

    servings_each(txn, count_one, &count);
    return txn_out_reserve(&txn->out, count, count * EVALUATE_BYTES);
}

static void evaluate_one(struct txn *txn, struct txn_serving *serving, void *ctx)
{
    const bool *all = ctx;
    const struct txn_participant *participant =
        txn_participant_find(txn, serving->name, strlen(serving->name));
    bool left =
        serving->state == TXN_SERVING_OUTDONE && participant && participant->serving_count == 0;

    if (*all || left || serving->state == TXN_SERVING_PROPOSED)
        evaluate(txn, serving);
}

void txn_servings_evaluate(struct txn *txn)
{
    bool all = true;

    servings_each(txn, evaluate_one, &all);
}

as_err txn_due_serve(struct txn *txn)
{
    bool all = false;

    if (txn_servings_reserve(txn))
        return AS_ERR_NOMEM;
    txn_timer_stop(txn, &txn->drive.serve_timer);
    servings_each(txn, evaluate_one, &all);
    return AS_OK;
}

void txn_servings_unknown(const struct txn *txn,
                          void (*each)(void *ctx, const struct txn_participant_view *view),
                          void *ctx)
{
    const struct txn_link *sessions = &txn->drive.sessions;

    for (struct txn_link *s = sessions->next; s != sessions; s = s->next) {
        struct txn_link *servings = &TXN_OF(s, struct txn_session, link)->servings;

        for (struct txn_link *link = servings->next; link != servings; link = link->next) {
            const struct txn_serving *serving = TXN_OF(link, struct txn_serving, of_session);

            if (!txn_participant_find(txn, serving->name, strlen(serving->name)))
                each(ctx, &(struct txn_participant_view){
                              .name = serving->name,
                              .identity = serving->identity,
                              .counter = serving->counter,
                              .system_id = serving->system_id,
                              .timeline = serving->timeline,
                          });
        }
    }
}

static void stop_one(struct txn *txn, struct txn_serving *serving, void *ctx)
{
    (void)ctx;
    cease(txn, serving);
}

void txn_servings_stop(struct txn *txn)
{
    servings_each(txn, stop_one, NULL);
}

void txn_sessions_close(struct txn *txn)
{
    txn_list_splice(&txn->drive.sessions, &txn->drive.dying);
    while (!txn_list_empty(&txn->drive.sessions)) {
        struct txn_session *session = TXN_OF(txn->drive.sessions.next, struct txn_session, link);

        while (!txn_list_empty(&session->servings)) {
            struct txn_serving *serving =
                TXN_OF(session->servings.next, struct txn_serving, of_session);

            txn_link_remove(&serving->of_session);
            as_free(serving);
        }
        txn_link_remove(&session->link);
        as_free(session);
    }
}
