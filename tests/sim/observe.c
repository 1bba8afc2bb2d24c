/*
 * What the oracles see: frames that leave, log records that are written, operations of PostgreSQL, answers. Each is
 * turned into what is known of attempts and branches, and put before the rules.
 */
#include "observe.h"

#include <stdlib.h>

#include "oracle.h"

#define RECORDS_AT 4096 /* docs/log-format.md */
#define RECORD_HEADER 56
#define KIND_ENTRY 1
#define KIND_TRUNCATE 5
#define KIND_INSTALL 6

void observe_open(struct sim *sim)
{
    sim->oracle = sim_alloc(sim, sizeof *sim->oracle);
    rule_members_open(sim);
}

/* --- Attempts --- */

struct sim_attempt *attempt_of(struct sim *sim, struct as_attempt attempt)
{
    for (uint32_t i = sim->attempt_count; i-- > 0;) {
        if (as_attempt_equal(sim->attempts[i]->attempt, attempt))
            return sim->attempts[i];
    }
    return NULL;
}

struct sim_branch *branch_of(struct sim *sim, const struct as_wire_branch *branch)
{
    struct sim_attempt *attempt = attempt_of(sim, branch->attempt);

    return attempt && branch->number >= 1 && branch->number <= attempt->branch_count
               ? &attempt->branches[branch->number - 1]
               : NULL;
}

static struct sim_attempt *attempt_new(struct sim *sim, struct as_attempt number,
                                       struct sim_txn *txn, uint32_t variant)
{
    const struct sim_body *body = &txn->bodies[variant];
    struct sim_attempt *attempt = sim_alloc(sim, sizeof *attempt);

    if (sim->attempt_count == sim->attempt_cap) {
        uint32_t cap = sim->attempt_cap ? sim->attempt_cap * 2 : 64;
        struct sim_attempt **grown = sim_alloc(sim, cap * sizeof(struct sim_attempt *));

        if (sim->attempt_count > 0)
            memcpy(grown, sim->attempts, sim->attempt_count * sizeof(struct sim_attempt *));
        sim->attempts = grown;
        sim->attempt_cap = cap;
    }
    sim->attempts[sim->attempt_count++] = attempt;
    attempt->sim = sim;
    attempt->attempt = number;
    attempt->txn = txn;
    attempt->variant = variant;
    attempt->begun_at = sim->now;
    attempt->branch_count = body->branch_count;
    for (uint32_t i = 0; i < body->branch_count; i++)
        attempt->branches[i] = (struct sim_branch){.attempt = attempt,
                                                   .number = i + 1,
                                                   .db = body->branches[i].db,
                                                   .read_only = body->branches[i].read_only};
    return attempt;
}

/* --- Frames --- */

static bool same_bytes(struct as_bytes a, struct as_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Which body it is: each branch's work is of one body only (client.c). */
static uint32_t variant_of(struct sim *sim, const struct sim_txn *txn,
                           const struct as_wire_execute *execute)
{
    uint32_t i = execute->branch.number - 1;

    for (uint32_t variant = 0; variant < 2; variant++) {
        if (i < txn->bodies[variant].branch_count &&
            same_bytes(txn->bodies[variant].branches[i].work, execute->work))
            return variant;
    }
    sim_fail(sim, "R9", "a branch of %s is dispatched that nobody has asked for", txn->id);
}

static void executes(struct as_env *env, uint64_t connection, const struct as_wire_execute *execute)
{
    struct sim *sim = env->sim;
    struct sim_attempt *attempt = attempt_of(sim, execute->branch.attempt);
    char id[AS_ID_LEN_MAX + 1] = "";
    struct sim_txn *txn;
    uint32_t variant;

    memcpy(id, execute->id.data, execute->id.len);
    txn = txn_of_id(sim, id);
    SIM_CHECK(sim, "R9", txn, "a branch of %s is dispatched, and nobody has asked for that", id);
    variant = variant_of(sim, txn, execute);
    if (!attempt) {
        attempt = attempt_new(sim, execute->branch.attempt, txn, variant);
        rule_r9_begins(env, attempt);
    }
    SIM_CHECK(sim, "R2", attempt->txn == txn && attempt->variant == variant,
              "attempt %llu.%llu is used twice, for %s and %s",
              (unsigned long long)attempt->attempt.term, (unsigned long long)attempt->attempt.seq,
              attempt->txn->id, id);
    rule_r2_execute_sent(&attempt->branches[execute->branch.number - 1], execute);
    attempt->branches[execute->branch.number - 1].connection = connection;
}

static struct sim_branch *known(struct sim *sim, const struct as_wire_branch *branch)
{
    struct sim_branch *found = branch_of(sim, branch);

    SIM_CHECK(sim, "R2", found, "a message is about %llu.%llu/%u, which was never dispatched",
              (unsigned long long)branch->attempt.term, (unsigned long long)branch->attempt.seq,
              branch->number);
    return found;
}

static void node_sends(struct as_env *env, uint64_t connection, const struct as_wire_msg *msg)
{
    struct sim *sim = env->sim;
    const struct as_env *peer;
    struct raft_message raft;
    uint64_t number;

    switch (msg->type) {
    case AS_WIRE_RAFT:
        SIM_CHECK(sim, "wire", !raft_message_take(msg->raft, &raft), "%s sends a bad Raft message",
                  env->name);
        peer = net_peer(env, connection, &number);
        rule_votes_sent(env, peer, &raft);
        storm_hears(env, peer, &raft);
        break;
    case AS_WIRE_LEADER:
        rule_raft_leads(env, msg->term);
        break;
    case AS_WIRE_EXECUTE:
        executes(env, connection, &msg->execute);
        break;
    case AS_WIRE_READ_FINISH:
        rule_r10_read_finish_sent(known(sim, &msg->read_finish));
        break;
    case AS_WIRE_COMMIT:
        rule_r1_commit_sent(known(sim, &msg->decision.branch), &msg->decision);
        rule_r8_commit_sent(env, branch_of(sim, &msg->decision.branch));
        break;
    case AS_WIRE_ABORT:
        peer = net_peer(env, connection, &number);
        if (peer && msg->decision.xid)
            known(sim, &msg->decision.branch)->xid_told |= 1u << peer->proc;
        rule_r3_abort_sent(env, known(sim, &msg->decision.branch));
        break;
    case AS_WIRE_ANSWER:
        rule_r3_answer_sent(env, known(sim, &msg->answer.branch), msg->answer.answer);
        break;
    case AS_WIRE_RESOLVE:
        rule_r6_resolve_sent(env, &msg->resolve);
        break;
    default:
        break;
    }
}

static void agent_sends(struct as_env *env, uint64_t connection, const struct as_wire_msg *msg)
{
    struct sim *sim = env->sim;
    struct sim_branch *branch;
    uint64_t number;

    if (msg->type == AS_WIRE_VOTE) {
        branch = known(sim, &msg->vote.branch);
        SIM_CHECK(sim, "R2", !net_peer(env, connection, &number) || number == branch->connection,
                  "%s votes on a session that the branch was not dispatched to", env->name);
        rule_r2_vote_sent(branch, &msg->vote);
    } else if (msg->type == AS_WIRE_INQUIRE) {
        branch = branch_of(sim, &msg->inquire.branch); /* NULL: somebody has made up the gid */
        if (branch)
            branch->inquiries++;
    } else if (msg->type == AS_WIRE_ACK) {
        branch = known(sim, &msg->ack.branch);
        sim->counts.acks[msg->ack.ack]++;
        rule_r7_ack_sent(env, branch, &msg->ack);
    }
}

static void raft_text(char *to, size_t size, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_APPEND:
        snprintf(to, size, "%u entries behind %llu/%llu, commit %llu", m->append.count,
                 (unsigned long long)m->append.prev_index, (unsigned long long)m->append.prev_term,
                 (unsigned long long)m->append.commit);
        break;
    case RAFT_ACK:
        snprintf(to, size, "up to %llu, round %llu", (unsigned long long)m->ack.match,
                 (unsigned long long)m->ack.round);
        break;
    case RAFT_REJECT:
        snprintf(to, size, "%llu, hint %llu/%llu", (unsigned long long)m->reject.prev_index,
                 (unsigned long long)m->reject.hint_index, (unsigned long long)m->reject.hint_term);
        break;
    case RAFT_SNAPSHOT:
        snprintf(to, size, "of %llu, chunk %u", (unsigned long long)m->snapshot.index,
                 m->snapshot.chunk);
        break;
    case RAFT_VOTE_REPLY:
    case RAFT_PRE_VOTE_REPLY:
        snprintf(to, size, "%s", m->vote_reply.granted ? "granted" : "refused");
        break;
    default:
        to[0] = '\0';
        break;
    }
}

static void say_raft(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    struct raft_message message;
    uint64_t number;
    const struct as_env *to = net_peer(env, connection, &number);
    char text[120];

    if (raft_message_take(bytes, &message))
        return;
    raft_text(text, sizeof text, &message);
    SIM_SAY(env->sim, 2, "%s sends %s %s, term %llu %s", env->name, to ? to->name : "nobody",
            raft_message_text(message.type), (unsigned long long)message.term, text);
}

static void say_message(struct as_env *env, uint64_t connection, const struct as_wire_msg *msg)
{
    const struct as_wire_branch *branch =
        msg->type == AS_WIRE_EXECUTE                                ? &msg->execute.branch
        : msg->type == AS_WIRE_VOTE                                 ? &msg->vote.branch
        : msg->type == AS_WIRE_COMMIT || msg->type == AS_WIRE_ABORT ? &msg->decision.branch
        : msg->type == AS_WIRE_ACK                                  ? &msg->ack.branch
        : msg->type == AS_WIRE_INQUIRE                              ? &msg->inquire.branch
        : msg->type == AS_WIRE_ANSWER                               ? &msg->answer.branch
        : msg->type == AS_WIRE_READ_FINISH                          ? &msg->read_finish
                                                                    : NULL;
    int number = msg->type == AS_WIRE_VOTE     ? (int)msg->vote.vote
                 : msg->type == AS_WIRE_ACK    ? (int)msg->ack.ack
                 : msg->type == AS_WIRE_ANSWER ? (int)msg->answer.answer
                                               : 0;

    if (msg->type == AS_WIRE_RAFT)
        say_raft(env, connection, msg->raft);
    else if (branch)
        SIM_SAY(env->sim, 1, "%s sends %s %llu.%llu/%u %d", env->name, as_wire_type_text(msg->type),
                (unsigned long long)branch->attempt.term, (unsigned long long)branch->attempt.seq,
                branch->number, number);
    else
        SIM_SAY(env->sim, 2, "%s sends %s", env->name, as_wire_type_text(msg->type));
}

void observe_sent(struct as_env *env, uint64_t connection, struct as_bytes frames)
{
    struct as_wire_msg msg;
    size_t used;

    while (frames.len > 0) {
        as_err err = as_wire_take(frames, &msg, &used);

        SIM_CHECK(env->sim, "wire", !err, "%s sends bytes that are no message", env->name);
        frames.data += used;
        frames.len -= used;
        sim_mix(env->sim, (uint64_t)msg.type, connection);
        if (env->sim->verbose)
            say_message(env, connection, &msg);
        if (env->is_node)
            node_sends(env, connection, &msg);
        else
            agent_sends(env, connection, &msg);
    }
}

void observe_agent_died(struct as_env *env)
{
    for (uint32_t i = 0; i < env->sim->attempt_count; i++) {
        for (uint32_t b = 0; b < env->sim->attempts[i]->branch_count; b++)
            env->sim->attempts[i]->branches[b].xid_told &= ~(1u << env->proc);
    }
}

/* --- The log --- */

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | at[bytes];
    return value;
}

static void entry_seen(struct as_env *env, const struct txn_entry *entry, bool durable)
{
    if (durable) {
        struct oracle_entry seen = {.term = entry->term,
                                    .noop = entry->type == TXN_RECORD_NOOP,
                                    .attempt = rule_r1_attempt(env->sim, entry),
                                    .members = rule_members_of(env->sim, entry),
                                    .horizon = rule_r8_horizon_of(env->sim, entry),
                                    .finish = rule_r8_finish_of(env->sim, entry),
                                    .resolve = operator_record_of(env->sim, entry)};

        rule_raft_durable(env, entry->index, &seen);
    } else {
        rule_r1_written(env->sim, env, entry);
        rule_raft_written(env, entry);
    }
}

/* The records of one write, as docs/log-format.md tells; headers, marks and votes are of no interest here. */
void observe_written(struct as_env *env, const struct as_disk_op *op, bool durable)
{
    const uint8_t *at = op->bytes.data;
    size_t left = op->bytes.len;

    if (op->offset < RECORDS_AT)
        return;
    while (left >= RECORD_HEADER) {
        uint64_t length = get(at, 4), total = (RECORD_HEADER + length + 7) & ~(uint64_t)7;
        struct txn_entry entry = {.index = get(at + 24, 8),
                                  .term = get(at + 32, 8),
                                  .time_ms = (int64_t)get(at + 40, 8),
                                  .type = at[49],
                                  .payload = {at + RECORD_HEADER, (size_t)length}};

        SIM_CHECK(env->sim, "log", total <= left, "%s writes a record that is cut", env->name);
        if (at[48] == KIND_ENTRY)
            entry_seen(env, &entry, durable);
        else if (at[48] == KIND_TRUNCATE && durable)
            rule_raft_truncated(env, entry.index);
        else if (at[48] == KIND_INSTALL && durable)
            rule_raft_snapshot(env, entry.index);
        at += total;
        left -= (size_t)total;
    }
}

/* What a node notes is believed in two cases: that it leads, and which list of members it goes by. */
void observe_trace(struct as_env *env, const struct as_trace *trace)
{
    if (trace->kind == AS_TRACE_LEADING)
        rule_raft_leads(env, trace->number);
    else if (trace->kind == AS_TRACE_RAFT_MEMBERS ||
             trace->kind == AS_TRACE_RAFT_SNAPSHOT_INSTALLED)
        rule_members_changed(env, trace->number);
}

static as_err entry_found(void *ctx, const struct log_entry *entry)
{
    struct txn_entry found = {entry->index, entry->term, entry->time_ms, entry->type,
                              entry->payload};

    entry_seen(ctx, &found, true);
    return AS_OK;
}

static as_err truncation_found(void *ctx, uint64_t from)
{
    rule_raft_truncated(ctx, from);
    return AS_OK;
}

void observe_opened(struct as_env *env)
{
    struct log_config config = {.read_only = true, .segment_bytes = 65536};
    struct log_replay replay = {.ctx = env, .entry = entry_found, .truncate = truncation_found};
    struct as_disk door = disk_door(env);
    struct log_report report;
    struct log *log;
    as_err err;

    rule_raft_reopens(env);
    err = log_open(&log, &config, &door, &replay, &report);
    SIM_CHECK(env->sim, "log", !err,
              "%s has opened its log, and a second time it does not open: %s", env->name,
              report.detail);
    log_free(log);
    env->sim->oracle->leads[env->proc] = 0;
    rule_raft_reopened(env, report.snapshot_index);
    rule_members_opened(env);
    rule_log_opened(env);
}

/* --- PostgreSQL --- */

void observe_pg_start(struct as_env *env, const struct sim_db *db, const struct as_pg_op *op)
{
    struct sim_branch *branch = db_branch_of(env->sim, op->gid);

    (void)db;
    if (op->kind == AS_PG_SCAN || op->kind == AS_PG_LIST || op->kind == AS_PG_ROTATE)
        return;
    if (!branch) {
        rule_r6_resolve_starts(env->sim, op);
        return;
    }
    if (op->kind == AS_PG_PREPARE || op->kind == AS_PG_READ)
        rule_r2_prepare_starts(branch);
    else if (op->kind == AS_PG_COMMIT_PREPARED || op->kind == AS_PG_ROLLBACK_PREPARED)
        rule_r6_finish_starts(branch, op->kind == AS_PG_COMMIT_PREPARED);
}

void observe_pg_finish(struct as_env *env, struct sim_tx *tx, bool commit)
{
    (void)env;
    if (tx->branch)
        rule_r6_finished(tx, commit);
}

/* --- Answers, and the end --- */

uint64_t observe_reply(struct as_env *env, struct sim_request *request,
                       const struct as_reply *reply)
{
    struct sim *sim = env->sim;
    uint64_t token = rule_reads_token(env, request, reply);

    if (!reply->refused)
        rule_r1_answer(request, reply->view);
    rule_r9_reply(request, reply);
    if (!reply->refused) {
        rule_reads_answer(request, reply->view);
        rule_r7_view(sim, attempt_of(sim, reply->view->attempt), reply->view);
    }
    return token;
}

const char *observe_unsettled(struct sim *sim)
{
    return rule_settled(sim);
}

void observe_end(struct sim *sim)
{
    rule_members_end(sim);
    rule_log_end(sim);
    rule_atomicity_end(sim);
}
