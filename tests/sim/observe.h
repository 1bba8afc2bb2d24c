/*
 * What the oracles see, and the oracles. observe.c turns what passes by (frames, log records, operations of
 * PostgreSQL, answers) into what is known of attempts and branches, and asks the rules; each rule stands in
 * a file of its own.
 */
#ifndef ASSENT_SIM_OBSERVE_H
#define ASSENT_SIM_OBSERVE_H

#include "coordinator/txn/record.h"
#include "db.h"
#include "sim.h"

struct oracle_members; /* oracle.h */
struct oracle_entry;
struct oracle_finish;
struct sim_resolve; /* operator.c */

void observe_open(struct sim *sim);
struct sim_attempt *attempt_of(struct sim *sim, struct as_attempt attempt);
struct sim_branch *branch_of(struct sim *sim, const struct as_wire_branch *branch);

/* Whole frames that a process gives to the network. */
void observe_sent(struct as_env *env, uint64_t connection, struct as_bytes frames);
void observe_trace(struct as_env *env, const struct as_trace *trace);
/* A write to the log begins; and is durable. */
void observe_written(struct as_env *env, const struct as_disk_op *op, bool durable);
/* The node has opened its log: what stands in it is durable. */
void observe_opened(struct as_env *env);
/* Returns the index of the log that the client is shown with it. */
uint64_t observe_reply(struct as_env *env, struct sim_request *request,
                       const struct as_reply *reply);
void observe_agent_died(struct as_env *env);
void observe_pg_start(struct as_env *env, const struct sim_db *db, const struct as_pg_op *op);
/* An agent's COMMIT or ROLLBACK PREPARED takes effect. */
void observe_pg_finish(struct as_env *env, struct sim_tx *tx, bool commit);
/* After healing: NULL when all has come to its end, else what has not. */
const char *observe_unsettled(struct sim *sim);
void observe_end(struct sim *sim);

/* --- operator.c: a person who resolves whatever he sees (R6) --- */
void operator_start(struct sim *sim);
/* Left behind by another incarnation. */
bool operator_orphan(const struct sim_tx *tx);
struct sim_resolve *operator_record_of(struct sim *sim, const struct txn_entry *entry);
void operator_record_committed(struct sim_resolve *ask);
/* False: it is not his. */
bool operator_reply(struct as_env *env, uint64_t client, const struct as_reply *reply);
void rule_r6_resolve_sent(struct as_env *env, const struct as_wire_resolve *msg);
void rule_r6_resolve_starts(struct sim *sim, const struct as_pg_op *op);

/* --- rule_r1.c: the decision is the log --- */
void rule_r1_written(struct sim *sim, struct as_env *env, const struct txn_entry *entry);
struct sim_attempt *rule_r1_attempt(struct sim *sim, const struct txn_entry *entry);
void rule_r1_committed(struct sim_attempt *attempt);
void rule_r1_commit_sent(struct sim_branch *branch, const struct as_wire_decision *decision);
void rule_r1_answer(struct sim_request *request, const struct as_txn_view *view);

/* --- rule_raft.c: what a majority holds stays --- */
void rule_raft_written(struct as_env *env, const struct txn_entry *entry);
void rule_raft_durable(struct as_env *env, uint64_t index, const struct oracle_entry *entry);
/* Who counts has changed: what a majority holds may be more. */
void rule_raft_recount(struct sim *sim);
/* A directory is gone. */
void rule_raft_lost(struct as_env *env);
void rule_raft_truncated(struct as_env *env, uint64_t from);
void rule_raft_snapshot(struct as_env *env, uint64_t index);
void rule_raft_reopens(struct as_env *env);
void rule_raft_reopened(struct as_env *env, uint64_t snapshot_index);
void rule_raft_leads(struct as_env *env, uint64_t term);
bool rule_raft_newest(const struct as_env *env);

/* --- rule_members.c: who counts --- */
void rule_members_open(struct sim *sim);
/* The list that a MEMBERS entry bears; NULL: it is none. */
const struct oracle_members *rule_members_of(struct sim *sim, const struct txn_entry *entry);
void rule_members_opened(struct as_env *env);
/* The list in force at this node is another one, by the entry at `index`. */
void rule_members_changed(struct as_env *env, uint64_t index);
/* A leader speaks. */
void rule_members_leads(struct as_env *env);
/* At the end every member goes by the list that is committed. */
void rule_members_end(struct sim *sim);

/* --- storm.c: over the elections --- */
void storm_start(struct sim *sim);
/* `to` NULL: nobody hears it. */
void storm_hears(struct as_env *from, const struct as_env *to, const struct raft_message *message);

/* --- rule_votes.c: one in a term --- */
/* `to` NULL: it does not hear any more. */
void rule_votes_sent(struct as_env *env, const struct as_env *to,
                     const struct raft_message *message);

/* --- rule_r2.c: unanimity, one dispatch --- */
void rule_r2_execute_sent(struct sim_branch *branch, const struct as_wire_execute *execute);
void rule_r2_proposed(struct sim_attempt *attempt, const struct txn_record *record);
void rule_r2_prepare_starts(struct sim_branch *branch);
void rule_r2_vote_sent(struct sim_branch *branch, const struct as_wire_vote *vote);

/* --- rule_r3.c: what is said of an attempt --- */
void rule_r3_abort_sent(struct as_env *env, struct sim_branch *branch);
void rule_r3_answer_sent(struct as_env *env, struct sim_branch *branch, enum as_answer answer);

/* --- rule_r6.c: no branch decides alone --- */
void rule_r6_finish_starts(struct sim_branch *branch, bool commit);
void rule_r6_finished(struct sim_tx *tx, bool commit);

/* --- rule_r7.c: proven outcomes --- */
void rule_r7_ack_sent(struct as_env *env, struct sim_branch *branch, const struct as_wire_ack *ack);
void rule_r7_settled(struct sim_attempt *attempt, const struct as_txn_view *view);
void rule_r7_view(struct sim *sim, struct sim_attempt *attempt, const struct as_txn_view *view);

/* --- rule_r8.c: what is acknowledged, and the horizon --- */
const struct as_attempt *rule_r8_horizon_of(struct sim *sim, const struct txn_entry *entry);
/* The attempts that a FINISH names; NULL: it is none. */
const struct oracle_finish *rule_r8_finish_of(struct sim *sim, const struct txn_entry *entry);
void rule_r8_committed(struct sim *sim, const struct oracle_entry *entry, uint64_t index);
void rule_r8_commit_sent(const struct as_env *env, struct sim_branch *branch);
/* That attempt may be answered as unknown. */
bool rule_r8_covers(struct sim *sim, const struct sim_attempt *attempt);

/* --- rule_r9.c: one outcome per id --- */
void rule_r9_begins(struct as_env *env, struct sim_attempt *attempt);
void rule_r9_reply(struct sim_request *request, const struct as_reply *reply);
bool rule_r9_kept(const struct sim *sim, const struct sim_attempt *attempt);

/* --- rule_reads.c: what a read must have seen --- */
uint64_t rule_reads_token(struct as_env *env, const struct sim_request *request,
                          const struct as_reply *reply);
bool rule_reads_must_know(const struct sim_request *request);
void rule_reads_answer(struct sim_request *request, const struct as_txn_view *view);

/* --- rule_pass.c: requests passed on --- */
void rule_pass_arrives(struct as_env *env, uint64_t client);
void rule_pass_answered(struct sim_request *request, uint64_t answer);

/* --- rule_r10.c: read-only branches --- */
void rule_r10_read_finish_sent(struct sim_branch *branch);

/* --- rule_log.c: durability, and the log's replay --- */
void rule_log_opened(struct as_env *env);
void rule_log_end(struct sim *sim);

/* --- rule_full.c: a full disk --- */
void rule_full_handed_over(struct sim *sim);

/* --- rule_atomicity.c, rule_settled.c: at the end --- */
void rule_atomicity_end(struct sim *sim);
const char *rule_settled(struct sim *sim);

#endif
