/*
 * Inside the transaction core: the whole of it, and how its files call each other.
 *
 *   record.c    payloads of log records        set.c, outcome.c, table.c, snapshot.c   the
 * replicated table run.c       runs: states, waiters, memory  submit.c, vote.c, decide.c, phase2.c
 * the way of a transaction serve.c     sessions and participants      lead.c, due.c, inquire.c,
 * heuristic.c out.c       effects                        view.c, list.c looking in
 */
#ifndef ASSENT_TXN_CORE_H
#define ASSENT_TXN_CORE_H

#include "coordinator/txn/drive.h"
#include "coordinator/txn/table.h"

struct txn {
    uint64_t hash_seed;
    as_time now; /* of the event being handled */
    int64_t wall_ms;
    struct txn_out out;
    struct txn_table table;
    struct txn_drive drive;
    struct txn_counts counts; /* only those since the start */
};

/* After a reserve nothing can fail. */
static inline void txn_must(as_err err)
{
    AS_ASSERT(err == AS_OK);
}

/* --- Effects, all from what was reserved --- */

void txn_trace(struct txn *txn, enum as_trace_kind kind, const struct txn_run *run,
               uint64_t number);
void txn_trace_put(struct txn *txn, const struct as_trace *trace);
void txn_reply(struct txn *txn, uint64_t client, const char *id, const struct as_txn_view *view);
void txn_reply_refused(struct txn *txn, uint64_t client, const char *id, enum as_refusal why);
/* With a message, which is copied: its length and one byte are reserved. */
void txn_reply_refused_for(struct txn *txn, uint64_t client, const char *id, enum as_refusal why,
                           struct as_bytes message);
void txn_reply_with(struct txn *txn, uint64_t client, const struct as_reply *reply);
/* Reserves for itself; `id` is copied. */
as_err txn_refuse(struct txn *txn, uint64_t client, const char *id,
                  enum as_refusal why) AS_MUSTCHECK;
struct as_wire_msg *txn_send(struct txn *txn, uint64_t session, enum as_wire_type type);
struct as_wire_branch txn_wire_branch(const struct txn_branch *branch);
/* COMMIT or ABORT of a branch, to this session and the branch's slot there. */
void txn_send_decision(struct txn *txn, uint64_t session, enum as_wire_type type,
                       const struct txn_branch *branch);
/* The record's payload is at most `size` bytes, which were reserved. */
void txn_propose(struct txn *txn, const struct txn_record *record, bool forced,
                 struct as_attempt attempt, size_t size);

#define TXN_COMMIT_BYTES(branches) \
    ((size_t)(1 + 64 + 16 + AS_HASH_LEN + 16 + 1) + 27 * (size_t)(branches))
#define TXN_ABORT_BYTES \
    ((size_t)(1 + 64 + 16 + AS_HASH_LEN + 16 + 1 + 1 + 4 + 6 + 64 + 2 + AS_REASON_LEN_MAX))
#define TXN_SMALL_RECORD_BYTES ((size_t)160) /* HEURISTIC, HORIZON, PARTICIPANT */

/* --- view.c: bytes that a view takes, and views in the step's bytes --- */

size_t txn_view_bytes(uint32_t branch_count);
struct as_txn_view *txn_view_run(struct txn *txn, const struct txn_run *run);
struct as_txn_view *txn_view_outcome(struct txn *txn, const struct txn_outcome *outcome);

/* --- run.c --- */

void txn_run_move(struct txn *txn, struct txn_run *run, enum txn_run_state to);
struct txn_run *txn_run_by_id(const struct txn *txn, const char *id);
struct txn_run *txn_run_by_attempt(const struct txn *txn, struct as_attempt attempt);
struct txn_branch *txn_run_branch(struct txn_run *run, uint32_t number);
/* A run that nothing knows yet; discard or enter it. */
struct txn_run *txn_run_new(struct txn *txn, const char *id, uint32_t branch_count);
void txn_run_discard(struct txn *txn, struct txn_run *run);
/* Room in maps and heap for one more run. */
as_err txn_run_reserve(struct txn *txn) AS_MUSTCHECK;
void txn_run_enter(struct txn *txn, struct txn_run *run);
/* Out of everything; freed when the next step begins. Nobody waits for it any more. */
void txn_run_gone(struct txn *txn, struct txn_run *run);
void txn_runs_sweep(struct txn *txn);
void txn_runs_close(struct txn *txn);
void txn_run_drop_results(struct txn *txn, struct txn_run *run);
static inline bool txn_run_undecided(const struct txn_run *run)
{
    return run->state >= TXN_RUN_ACTIVE && run->state <= TXN_RUN_DECIDING;
}

/* --- waiter.c --- */

struct txn_waiter *txn_waiter_new(struct txn *txn, uint64_t client);
void txn_waiter_discard(struct txn *txn, struct txn_waiter *waiter);
void txn_waiter_enter(struct txn *txn, struct txn_waiter *waiter, struct txn_run *run,
                      enum txn_waiter_kind kind, as_time deadline);
void txn_waiter_leave(struct txn *txn, struct txn_waiter *waiter);
struct txn_waiter *txn_waiter_find(const struct txn *txn, uint64_t client);
/* Everybody who waits for what has come now; one view serves them all. */
void txn_waiters_tell(struct txn *txn, struct txn_run *run, bool decided_only);
void txn_waiters_refuse(struct txn *txn, struct txn_run *run, enum as_refusal why);
/* Its time is up. */
void txn_waiter_expire(struct txn *txn, struct txn_waiter *waiter);
/* Effects and bytes to answer everybody who waits for a run. */
as_err txn_waiters_reserve(struct txn *txn, const struct txn_run *run, size_t effects,
                           size_t bytes) AS_MUSTCHECK;
void txn_waiters_close(struct txn *txn);

/* --- due.c: one heap of deadlines --- */

/* The heap's room for one more object with a timer; then ++drive.timers when it enters. */
as_err txn_timer_reserve(struct txn *txn) AS_MUSTCHECK;
void txn_timer_set(struct txn *txn, struct txn_timer *timer, as_time at);
/* Sets it unless it is set for an earlier time: what is due then looks again. */
void txn_timer_soon(struct txn *txn, struct txn_timer *timer, as_time at);
void txn_timer_stop(struct txn *txn, struct txn_timer *timer);
/*
 * Does what is due, a bounded part of it. NOMEM only if nothing was done; what is not done stays
 * due.
 */
as_err txn_due(struct txn *txn) AS_MUSTCHECK;

/* --- submit.c, vote.c, decide.c, phase2.c, heuristic.c, inquire.c, ask.c, serve.c, lead.c: one per
 * event --- */

as_err txn_on_submit(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_get(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
void txn_on_forget(struct txn *txn, uint64_t client);
as_err txn_on_vote(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_refused(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_ack(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_acknowledge(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_inquire(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_prepared(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_resolve(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_listed(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_resolved(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_serve(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
void txn_on_unserve(struct txn *txn, const struct txn_event *event);
void txn_on_silent(struct txn *txn, const struct txn_event *event);
void txn_on_session_down(struct txn *txn, uint64_t session);
as_err txn_on_lead(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
as_err txn_on_resign(struct txn *txn) AS_MUSTCHECK;
as_err txn_on_apply(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;

/* decide.c: R2. The vote just taken may have been the last one; reserved by decide_reserve. */
as_err txn_decide_reserve(struct txn *txn, const struct txn_run *run) AS_MUSTCHECK;
void txn_decide(struct txn *txn, struct txn_run *run);
/* Reserves, and owns `reason` (a blob of struct as_reason) if it succeeds. */
as_err txn_abort(struct txn *txn, struct txn_run *run, struct txn_blob *reason) AS_MUSTCHECK;
as_err txn_abort_late(struct txn *txn, struct txn_run *run) AS_MUSTCHECK;
as_err txn_vote_lost(struct txn *txn, struct txn_branch *branch) AS_MUSTCHECK;
struct txn_blob *txn_reason_new(enum as_reason_code code, const char *message);
struct txn_blob *txn_reason_of_branch(const struct txn_branch *branch, enum as_reason_code code,
                                      struct as_bytes message);
static inline struct as_reason *txn_reason(const struct txn_blob *blob)
{
    return (struct as_reason *)(void *)(uintptr_t)blob->data;
}
/* From reserved: ABORT to every branch that may still be prepared or executing. */
void txn_rollback(struct txn *txn, struct txn_run *run);
void txn_votes_close(struct txn *txn, struct txn_run *run);

/* phase2.c */
void txn_committed(struct txn *txn, struct txn_run *run, struct txn_outcome *outcome,
                   uint64_t index);
/* From reserved (waiters_reserve and one more): perhaps that was the last acknowledgement. */
void txn_branch_done(struct txn *txn, struct txn_branch *branch);
void txn_branch_heuristic(struct txn *txn, struct txn_branch *branch);
void txn_acknowledged(struct txn *txn, struct txn_run *run);
void txn_queue_urgent(struct txn *txn, struct txn_branch *branch);
/* A session serves it now: everything of it is told again at once. */
void txn_participant_hurry(struct txn *txn, struct txn_participant *participant);
as_err txn_due_resend(struct txn *txn, struct txn_participant *participant,
                      uint32_t *budget) AS_MUSTCHECK;

/* lazy.c: FINISH and ABORT records travel in company */
#define TXN_LAZY_COUNT 512u
#define TXN_LAZY_EFFECTS 1u
#define TXN_LAZY_BYTES (TXN_LAZY_COUNT * 16u + 16u)
void txn_lazy_add(struct txn *txn, struct txn_run *run);
void txn_lazy_remove(struct txn *txn, struct txn_run *run);
/* FINISH of this one now. From reserved. */
void txn_lazy_finish_now(struct txn *txn, const struct txn_run *run);
/* From reserved: FINISH of what gathered, if it is worth a record of its own beside a COMMIT. */
void txn_lazy_ride(struct txn *txn);
as_err txn_due_lazy(struct txn *txn, uint32_t *budget) AS_MUSTCHECK;
/* The ABORT of this one now, before a record that speaks of it. From reserved. */
void txn_lazy_abort_now(struct txn *txn, struct txn_run *run);

/* heuristic.c */
as_err txn_on_ack_aborted(struct txn *txn, const struct txn_event *event) AS_MUSTCHECK;
void txn_acknowledgers_tell(struct txn *txn, const struct txn_outcome *outcome, uint32_t branch,
                            const struct as_txn_view *view);
as_err txn_due_acknowledger(struct txn *txn, struct txn_acknowledger *acknowledger) AS_MUSTCHECK;
bool txn_acknowledger_forget(struct txn *txn, uint64_t client); /* false: there is none */
/* Those of one attempt; 0.0: all. */
as_err txn_acknowledgers_refuse(struct txn *txn, struct as_attempt attempt,
                                enum as_refusal why) AS_MUSTCHECK;
uint32_t txn_acknowledger_count(const struct txn *txn);
void txn_acknowledgers_close(struct txn *txn);
void txn_propose_heuristic(struct txn *txn, struct as_attempt attempt, uint32_t branch,
                           enum as_ack ack, uint32_t participant, const char *id);

/* ask.c */
void txn_ask_forget(struct txn *txn, uint64_t client);
void txn_asks_session_down(struct txn *txn, uint64_t session);
as_err txn_due_ask(struct txn *txn, struct txn_ask *ask) AS_MUSTCHECK;
/* Effects and bytes for an applied RESOLVE, and what it means to those that wait for it. */
#define TXN_RESOLVED_BYTES ((size_t)1024)
void txn_resolve_applied(struct txn *txn, const struct txn_record *record);
/* Resigning: one effect each is reserved. */
void txn_asks_refuse(struct txn *txn);
void txn_asks_close(struct txn *txn);

/* inquire.c */
/* What the leader answers about this branch of this attempt (R3); `id` as its gid has it. */
enum as_verdict txn_verdict(const struct txn *txn, struct as_attempt attempt, uint32_t number,
                            struct as_bytes id);
const char *txn_doubt_id(const struct txn *txn, struct as_attempt attempt);

/* serve.c */
struct txn_session *txn_session_find(const struct txn *txn, uint64_t id);
struct txn_serving *txn_serving_find(const struct txn *txn, uint64_t session, uint16_t slot);
/* The participant whose branch this session and slot may speak for; NULL: none the log knows. */
struct txn_participant *txn_serving_participant(const struct txn *txn, uint64_t session,
                                                uint16_t slot);
/* The session that is next in turn; NULL: none serves. */
struct txn_serving *txn_serving_next(struct txn_participant *participant);
/* The one with this session and slot, while it serves. */
struct txn_serving *txn_serving_of(const struct txn_participant *participant, uint64_t session,
                                   uint16_t slot);
void txn_participant_applied(struct txn *txn, struct txn_participant *participant);
/* Effects and bytes to evaluate all of them. */
as_err txn_servings_reserve(struct txn *txn) AS_MUSTCHECK;
void txn_servings_evaluate(struct txn *txn);
/* Participants that somebody offers to serve and the log does not know. */
void txn_servings_unknown(const struct txn *txn,
                          void (*each)(void *ctx, const struct txn_participant_view *view),
                          void *ctx);
void txn_servings_stop(struct txn *txn);
as_err txn_due_serve(struct txn *txn) AS_MUSTCHECK;
as_err txn_due_dying(struct txn *txn) AS_MUSTCHECK;
void txn_sessions_close(struct txn *txn);

/* lead.c */
as_err txn_due_adopted(struct txn *txn) AS_MUSTCHECK;

#endif
