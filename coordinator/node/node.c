/*
 * The node: opening, what the loop calls, and the effects of the transaction core.
 *
 * Fault model: everything outside may be lost, late or repeated; a crash at any line leaves what
 * the log holds, and node_open makes the same table of it again.
 */
#include "coordinator/node/node.h"

#include <string.h>

#include "assent/alloc.h"
#include "assent/crash.h"
#include "coordinator/node/internal.h"

#define SNAPSHOT_BYTES_DEFAULT (64ull << 20)
#define PING_MS_DEFAULT 1000
#define LONE_ENTRIES 2 /* a COMMIT, and the FINISH of the one before */

void node_trace(struct node *node, const struct as_trace *trace)
{
    node->ops->trace(node->env, trace);
}

void node_fail(struct node *node, const char *why)
{
    if (node->failed)
        return;
    node->failed = true;
    node->ops->fatal(node->env, why);
}

/* --- Opening --- */

static as_err replay_snapshot(void *ctx, struct as_bytes chunk, bool last)
{
    return node_replay_snapshot(ctx, chunk, last);
}

static as_err replay_entry(void *ctx, const struct log_entry *entry)
{
    return node_replay_entry(ctx, entry);
}

static as_err replay_vote(void *ctx, uint64_t term, uint64_t voted_for)
{
    struct node *node = ctx;

    return raft_load_vote(node->raft, term, voted_for);
}

static as_err replay_truncate(void *ctx, uint64_t index)
{
    struct node *node = ctx;

    return raft_load_truncate(node->raft, index);
}

/* A node that was told of no others is a group of one. */
static as_err open_raft(struct node *node)
{
    struct raft_config *config = &node->config.raft;

    config->id = node->config.log.node;
    config->seed = node->ops->random(node->env);
    if (config->members.count == 0 && !node->config.joins) {
        config->members.count = 1;
        config->members.list[0].id = config->id;
        config->members.list[0].role = RAFT_VOTER;
    }
    return raft_new(&node->raft, config);
}

static as_err open_parts(struct node *node, const struct as_disk *disk)
{
    struct log_replay replay = {node, replay_snapshot, replay_entry, replay_vote, replay_truncate};
    as_err err;

    node->sessions = as_alloc_zero(AS_AGENT_SESSIONS_MAX, sizeof(struct node_session *));
    if (!node->sessions)
        return AS_ERR_NOMEM;
    err = txn_new(&node->txn, &node->config.txn);
    if (!err)
        err = open_raft(node);
    if (err)
        return err;
    return log_open(&node->log, &node->config.log, disk, &replay, &node->report);
}

as_err node_open(struct node **ret_node, const struct node_config *config,
                 const struct as_disk *disk, struct as_env *env, const struct as_env_ops *ops,
                 struct log_report *ret_report)
{
    struct node *node = as_alloc_zero(1, sizeof(*node));
    as_err err;

    if (!node)
        return AS_ERR_NOMEM;
    node->config = *config;
    node->env = env;
    node->ops = ops;
    node->timer_at = AS_NEVER;
    if (node->config.snapshot_bytes == 0)
        node->config.snapshot_bytes = SNAPSHOT_BYTES_DEFAULT;
    if (node->config.snapshot_bytes > NODE_SNAPSHOT_BYTES_MAX)
        node->config.snapshot_bytes = NODE_SNAPSHOT_BYTES_MAX;
    if (node->config.ping_ms == 0)
        node->config.ping_ms = PING_MS_DEFAULT;
    if (node->config.txn.seed == 0)
        node->config.txn.seed = ops->random(env);
    as_map_init(&node->session_map);
    as_buf_init(&node->out, AS_FRAME_BYTES_MAX + AS_FRAME_HEADER_LEN);
    as_buf_init(&node->snapshot_chunk, AS_FRAME_BYTES_MAX);
    as_buf_init(&node->raft_out, AS_FRAME_BYTES_MAX);
    as_buf_init(&node->received.bytes, RAFT_CHUNK_BYTES_MAX);
    node->dial_next = 2;
    err = open_parts(node, disk);
    *ret_report = node->report;
    if (err) {
        node_free(node);
        return err;
    }
    *ret_node = node;
    return AS_OK;
}

void node_free(struct node *node)
{
    if (!node)
        return;
    node_sessions_free(node);
    log_free(node->log);
    raft_free(node->raft);
    txn_free(node->txn);
    as_buf_close(&node->out);
    as_buf_close(&node->snapshot_chunk);
    as_buf_close(&node->raft_out);
    as_buf_close(&node->received.bytes);
    txn_free(node->received.txn);
    as_free(node->asked.list);
    as_free(node->asking.list);
    as_free(node->readers);
    as_free(node->refused);
    as_free(node);
}

/*
 * A lone node leads from here on: a new term for each start, by the vote of a majority of one. VOTE
 * and NOOP become durable together; what was undecided in earlier terms is closed for good by this
 * NOOP (R3). A crash before that: the next start takes the same or a higher term, and no attempt of
 * this one began.
 */
void node_start(struct node *node)
{
    node->ping_at = node->ops->now(node->env) + (as_time)node->config.ping_ms * AS_MS;
    (void)node_raft(node, &(struct raft_event){.kind = RAFT_START});
    node_turn_end(node);
}

/* --- The transaction core's effects --- */

static void send_effect(struct node *node, uint64_t session, const struct as_wire_msg *msg)
{
    node_send(node, session, msg);
    if (msg->type == AS_WIRE_EXECUTE)
        AS_CRASH_POINT_SENT("node.execute.sent");
    else if (msg->type == AS_WIRE_COMMIT)
        AS_CRASH_POINT_SENT("node.commit.sent");
    else if (msg->type == AS_WIRE_ABORT)
        AS_CRASH_POINT_SENT("node.abort.sent");
}

/* Where the time goes: the core's traces carry how long the step before took. */
static void measure(struct node *node, const struct as_trace *trace)
{
    if (trace->kind == AS_TRACE_TXN_PROPOSED)
        as_hist_add(&node->prepare_ns, trace->number);
    else if (trace->kind == AS_TRACE_TXN_COMMITTED)
        as_hist_add(&node->decide_ns, trace->number);
    else if (trace->kind == AS_TRACE_TXN_FINISHED)
        as_hist_add(&node->finish_ns, trace->number);
}

static void carry_out(struct node *node, const struct txn_effect *effect)
{
    switch (effect->kind) {
    case TXN_SEND:
        send_effect(node, effect->send.session, &effect->send.msg);
        break;
    case TXN_PROPOSE:
        node_propose(node, effect->propose.type, effect->propose.attempt, effect->propose.payload);
        break;
    case TXN_REPLY:
        node->ops->client_reply(node->env, effect->reply.client, &effect->reply.reply);
        AS_CRASH_POINT_SENT("node.reply.sent");
        break;
    case TXN_TRACE:
        measure(node, &effect->trace);
        node_trace(node, &effect->trace);
        break;
    }
}

void node_txn(struct node *node, struct txn_event *event)
{
    struct txn_effects effects;
    as_err err;

    if (node->failed)
        return;
    event->now = node->ops->now(node->env);
    event->wall_ms = node->ops->wall_ms(node->env);
    err = txn_step(node->txn, event, &effects);
    if (err) {
        node_fail(node, event->kind == TXN_APPLY ? "a committed entry could not be applied"
                                                 : "out of memory");
        return;
    }
    node->carrying++;
    for (size_t i = 0; i < effects.count && !node->failed; i++)
        carry_out(node, &effects.list[i]);
    node->carrying--;
    while (node->refused_count > 0 && !node->failed) {
        struct txn_event refused = {.kind = TXN_REFUSED};

        node->refused_count--;
        refused.refused.attempt = node->refused[node->refused_count].attempt;
        refused.refused.why = node->refused[node->refused_count].why;
        node_txn(node, &refused);
    }
    node_settle(node);
}

/* --- The loop's calls --- */

void node_on_disk_done(struct node *node, uint64_t ticket, as_err err)
{
    struct log_event event = {.kind = LOG_DISK_DONE, .disk_done = {ticket, err}};

    (void)node_log(node, &event);
    node_settle(node);
}

/* A node whose disk is full could not write what a leader must: it does not stand for election, whose
 * votes would take the little room that is left. A lone node has nobody to leave it to, and stands as
 * long as the log can take its vote. A leader's timer makes it write nothing. */
static as_time raft_due(const struct node *node)
{
    bool stands = !node->disk_full || node_is_alone(node);

    if (node->role != RAFT_LEADER && !(stands && log_has_state_room(node->log)))
        return AS_NEVER;
    return raft_deadline(node->raft);
}

void node_on_timer(struct node *node)
{
    as_time now = node->ops->now(node->env);

    if (node->failed)
        return;
    node->timer_at = AS_NEVER; /* it has fired: turn_end arms it anew */
    if (raft_due(node) <= now)
        (void)node_raft(node, &(struct raft_event){.kind = RAFT_TIMER});
    if (!node->failed && txn_deadline(node->txn) <= now)
        node_txn(node, &(struct txn_event){.kind = TXN_TIMER});
    if (!node->failed && log_deadline(node->log) <= now)
        (void)node_log(node, &(struct log_event){.kind = LOG_TIMER});
    if (!node->failed && node->ping_at <= now)
        node_sessions_ping(node);
    if (!node->failed)
        node_readers_serve(node);
}

static as_time earliest(as_time a, as_time b)
{
    return a < b ? a : b;
}

void node_turn_end(struct node *node)
{
    as_time at;

    if (node->failed)
        return;
    node_sessions_reap(node);
    node_members_tend(node);
    node_snapshot_if_due(node);
    (void)node_log(node, &(struct log_event){.kind = LOG_FLUSH});
    if (node->role == RAFT_LEADER && !node_is_alone(node))
        (void)node_raft(node, &(struct raft_event){.kind = RAFT_FLUSH});
    if (node->failed)
        return;
    at = earliest(node->ping_at, earliest(txn_deadline(node->txn), log_deadline(node->log)));
    at = earliest(at, earliest(raft_due(node), node_readers_deadline(node)));
    at = earliest(at, earliest(node_links_tend(node), node_hand_over_tend(node)));
    if (at != node->timer_at) {
        node->timer_at = at;
        node->ops->timer_arm(node->env, at);
    }
}

/* A follower has a transaction or two to write, and its leader waits for it. */
static bool follows_a_lone_one(const struct node *node)
{
    struct raft_status raft;

    raft_look(node->raft, &raft);
    return raft.last_index - raft.durable_index <= LONE_ENTRIES;
}

bool node_waits_for_log(const struct node *node)
{
    struct txn_counts counts;

    if (node->role != RAFT_LEADER)
        return follows_a_lone_one(node);
    if (node->commits_proposed != 1)
        return false;
    txn_count(node->txn, &counts);
    return counts.undecided <= 1 && counts.unfinished == 0;
}

bool node_drain(struct node *node)
{
    struct txn_counts counts;

    node->draining = true;
    txn_count(node->txn, &counts);
    return counts.undecided == 0;
}

/* --- The API's calls --- */

void node_submit(struct node *node, uint64_t client, const struct as_submit *submit)
{
    struct txn_event event = {.kind = TXN_SUBMIT, .submit = {client, submit}};

    node->submits++;
    if (node->draining || node->failed) {
        struct as_reply reply = {
            .refused = true, .refusal = AS_REFUSAL_SHUTTING_DOWN, .id = submit->id};

        node->ops->client_reply(node->env, client, &reply);
        return;
    }
    node_txn(node, &event);
}

void node_acknowledge(struct node *node, uint64_t client, const char *id, uint32_t branch,
                      struct as_bytes who, struct as_bytes why)
{
    node_txn(node, &(struct txn_event){.kind = TXN_ACKNOWLEDGE,
                                       .acknowledge = {client, id, branch, who, why}});
}

void node_prepared(struct node *node, uint64_t client, const char *participant)
{
    node_txn(node, &(struct txn_event){.kind = TXN_PREPARED,
                                       .prepared = {client, participant, node->report.cluster,
                                                    node->report.incarnation}});
}

void node_resolve(struct node *node, uint64_t client, const struct as_resolve *resolve)
{
    struct as_reply reply = {.refused = true, .id = resolve->gid.id};
    bool foreign = strcmp(resolve->gid.cluster, node->report.cluster) != 0;

    if (foreign || node->draining || node->failed || node->disk_full) {
        reply.refusal = foreign                          ? AS_REFUSAL_FOREIGN_GID
                        : node->draining || node->failed ? AS_REFUSAL_SHUTTING_DOWN
                                                         : AS_REFUSAL_DISK_FULL;
        node->ops->client_reply(node->env, client, &reply);
        return;
    }
    node_txn(node, &(struct txn_event){.kind = TXN_RESOLVE,
                                       .resolve = {client, resolve, node->report.incarnation}});
}

void node_forget(struct node *node, uint64_t client)
{
    node_readers_forget(node, client);
    node_forwards_forget(node, client);
    node_txn(node, &(struct txn_event){.kind = TXN_FORGET, .client = client});
}
