/*
 * An operator with a heavy hand: in a fifth of the worlds somebody asks what is prepared, and resolves whatever he sees,
 * either way and at any node (R6). What the decision log answers for must be refused; what another incarnation left
 * behind must end as he said, logged first, and after healing all of it must be gone.
 *
 * He draws from a seed of his own, so that the other worlds are as they were without him.
 */
#include <stdlib.h>

#include "observe.h"
#include "oracle.h"

#define ACTS_EVERY (120 * AS_MS)
#define OTHER_INCARNATION 0xaau
#define ORPHANS_MAX 2 /* at a time, in one database */
#define CLIENT_FIRST (UINT64_C(1) << 40)

struct sim_resolve {
    uint64_t client;
    struct sim_db *db;
    struct sim_tx *tx; /* as it was when he asked */
    bool lists, commit;
    char gid[AS_GID_LEN_MAX + 1], who[32];
    bool logged; /* its record is committed */
    bool told;   /* some agent was */
    struct sim_resolve *next;
};

struct sim_operator {
    struct as_rng rng;
    uint32_t asked, orphans;
    struct sim_resolve *asks;
};

static uint64_t draw(struct sim *sim, uint64_t bound)
{
    return as_rng_below(&sim->operator->rng, bound);
}

static bool of_another_incarnation(const char *gid)
{
    struct as_gid parts;

    return !as_gid_parse(gid, strlen(gid), &parts) && parts.incarnation == OTHER_INCARNATION;
}

bool operator_orphan(const struct sim_tx *tx)
{
    return of_another_incarnation(tx->gid);
}

/* --- What he does --- */

static void leave_orphan(struct sim *sim, struct sim_db *db)
{
    struct sim_tx *tx;
    uint32_t count = 0;

    for (tx = db->txs; tx; tx = tx->next)
        count += tx->state == TX_PREPARED && operator_orphan(tx);
    if (!db->up || count >= ORPHANS_MAX || db_prepared_count(db) >= db->slots)
        return;
    tx = db_tx_new(db);
    tx->foreign = true;
    snprintf(tx->gid, sizeof tx->gid, "assent/" SIM_CLUSTER "/%016x/1.%u/1/old", OTHER_INCARNATION,
             ++sim->operator->orphans);
    db_tx_xid(tx);
    db_prepare(tx);
}

/* Any, or the one that has waited longest. */
static struct sim_tx *any_prepared(struct sim *sim, struct sim_db *db, bool orphan)
{
    struct sim_tx *found = NULL;
    bool oldest = draw(sim, 2);
    uint64_t count = 0;

    for (struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        struct as_gid parts;

        if (tx->state == TX_PREPARED && !as_gid_parse(tx->gid, strlen(tx->gid), &parts) &&
            (!orphan || operator_orphan(tx)) &&
            (oldest ? !found || tx->prepared_at < found->prepared_at : draw(sim, ++count) == 0))
            found = tx;
    }
    return found;
}

static struct sim_resolve *ask_new(struct sim *sim, struct sim_db *db)
{
    struct sim_resolve *ask = sim_alloc(sim, sizeof *ask);

    ask->client = CLIENT_FIRST + sim->operator->asked++;
    ask->db = db;
    ask->next = sim->operator->asks;
    sim->operator->asks = ask;
    return ask;
}

static void list(struct sim *sim, struct as_env *env, struct sim_db *db)
{
    struct sim_resolve *ask = ask_new(sim, db);

    ask->lists = true;
    SIM_SAY(sim, 1, "the operator asks %s what is prepared in %s", env->name, db->name);
    node_prepared(env->node, ask->client, db->name);
}

static void resolve(struct sim *sim, struct as_env *env, struct sim_tx *tx)
{
    struct sim_resolve *ask = ask_new(sim, tx->db);
    bool ours =
        sim->plan.committed_bytes_max && tx->branch; /* perhaps beyond the horizon: told truly */
    struct as_resolve words = {.participant = tx->db->name,
                               .commit = ours ? tx->branch->attempt->durable : draw(sim, 2),
                               .other_incarnation = sim->healed || draw(sim, 4) > 0,
                               .why = {(const uint8_t *)"drawn", 5}};
    as_err err = as_gid_parse(tx->gid, strlen(tx->gid), &words.gid);

    AS_ASSERT(!err);
    snprintf(ask->who, sizeof ask->who, "operator-%llu", (unsigned long long)ask->client);
    words.who = (struct as_bytes){(const uint8_t *)ask->who, strlen(ask->who)};
    memcpy(ask->gid, tx->gid, sizeof ask->gid);
    ask->tx = tx;
    ask->commit = words.commit;
    SIM_SAY(sim, 1, "the operator asks %s to %s %s", env->name, ask->commit ? "commit" : "abort",
            tx->gid);
    node_resolve(env->node, ask->client, &words);
}

static void acts(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = &sim->procs[draw(sim, sim->node_count)];
    struct sim_db *db = &sim->dbs[draw(sim, sim->plan.dbs)];
    struct sim_tx *tx;

    (void)event;
    sim_at(sim, sim->now + ACTS_EVERY / 4 + (as_time)draw(sim, ACTS_EVERY), NULL, acts, NULL, 0, 0);
    if (!sim->healed && draw(sim, 8) == 0)
        leave_orphan(sim, db);
    if (!proc_alive(env) || env->paused_until > sim->now)
        return;
    tx = any_prepared(sim, db, sim->healed);
    if (draw(sim, 3) == 0)
        list(sim, env, db);
    else if (tx)
        resolve(sim, env, tx);
    else
        return;
    proc_after(env);
}

void operator_start(struct sim *sim)
{
    sim->operator= sim_alloc(sim, sizeof *sim->operator);
    sim->operator->rng.state = sim->seed ^ 0x6f70657261746f72u;
    if (sim->seed % 5 == 0)
        sim_at(sim, sim->now + ACTS_EVERY, NULL, acts, NULL, 0, 0);
}

/* --- What must be so --- */

static struct sim_resolve *ask_of(struct sim *sim, uint64_t client)
{
    struct sim_resolve *ask = sim->operator->asks;

    while (ask && ask->client != client)
        ask = ask->next;
    return ask;
}

struct sim_resolve *operator_record_of(struct sim *sim, const struct txn_entry *entry)
{
    struct txn_record record;

    if (entry->type != TXN_RECORD_RESOLVE || txn_record_take(entry->type, entry->payload, &record))
        return NULL;
    for (struct sim_resolve *ask = sim->operator->asks; ask; ask = ask->next) {
        if (strlen(ask->who) == record.resolve.who.len &&
            memcmp(ask->who, record.resolve.who.data, record.resolve.who.len) == 0)
            return ask;
    }
    return NULL;
}

void operator_record_committed(struct sim_resolve *ask)
{
    if (ask)
        ask->logged = true;
}

/* A branch of ours whose attempt the horizon has passed: nobody can answer for it. */
static struct sim_branch *beyond_horizon(struct sim *sim, const char *gid)
{
    struct sim_branch *branch = db_branch_of(sim, gid);

    return branch && rule_r8_covers(sim, branch->attempt) ? branch : NULL;
}

void rule_r6_resolve_sent(struct as_env *env, const struct as_wire_resolve *msg)
{
    struct sim *sim = env->sim;
    char gid[AS_GID_LEN_MAX + 1] = "";
    struct sim_branch *branch;
    bool logged = false;

    memcpy(gid, msg->gid.data, msg->gid.len);
    branch = beyond_horizon(sim, gid);
    SIM_CHECK(sim, "R6", of_another_incarnation(gid) || branch,
              "an agent is told to resolve %s, which the log answers for", gid);
    if (branch && msg->commit)
        branch->commit_told = true;
    else if (branch)
        branch->abort_told = true;
    rule_raft_recount(sim);
    for (struct sim_resolve *ask = sim->operator->asks; ask; ask = ask->next) {
        if (ask->commit != msg->commit || strcmp(ask->gid, gid) != 0)
            continue;
        logged |= ask->logged;
        ask->told = true;
    }
    SIM_CHECK(sim, "R6", logged, "an agent is told to %s %s before that is in the log",
              msg->commit ? "commit" : "abort", gid);
}

void rule_r6_resolve_starts(struct sim *sim, const struct as_pg_op *op)
{
    bool commit = op->kind == AS_PG_COMMIT_PREPARED, told = false;

    SIM_CHECK(sim, "R6", of_another_incarnation(op->gid), "an agent acts on a gid of others: %s",
              op->gid);
    if (op->kind == AS_PG_PROBE)
        return;
    for (const struct sim_resolve *ask = sim->operator->asks; ask; ask = ask->next)
        told |= ask->told && ask->commit == commit && strcmp(ask->gid, op->gid) == 0;
    SIM_CHECK(sim, "R6", told, "%s is to be %s, and no operator's word is logged", op->gid,
              commit ? "committed" : "rolled back");
}

static void list_is_true(struct as_env *env, const struct as_prepared_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct as_prepared_view *row = &list->rows[i];
        const struct sim_attempt *attempt;
        char gid[AS_GID_LEN_MAX + 1] = "";

        memcpy(gid, row->gid.data, row->gid.len);
        SIM_CHECK(env->sim, "R6",
                  (row->state == AS_PREPARED_OTHER_INCARNATION) == of_another_incarnation(gid),
                  "%s is listed as %s", gid, as_prepared_text(row->state));
        attempt = row->state == AS_PREPARED_FOREIGN || of_another_incarnation(gid)
                      ? NULL
                      : attempt_of(env->sim, row->parts.attempt);
        SIM_CHECK(env->sim, "R3",
                  !attempt ||
                      ((row->verdict != AS_VERDICT_UNKNOWN || rule_r8_covers(env->sim, attempt)) &&
                       (row->verdict != AS_VERDICT_COMMIT || attempt->durable) &&
                       (row->verdict != AS_VERDICT_ABORT || !attempt->durable)),
                  "%s is listed with the answer %s, and that is not so", gid,
                  as_verdict_text(row->verdict));
    }
}

bool operator_reply(struct as_env *env, uint64_t client, const struct as_reply *reply)
{
    struct sim *sim = env->sim;
    const struct sim_resolve *ask = client >= CLIENT_FIRST ? ask_of(sim, client) : NULL;

    if (!ask)
        return false;
    SIM_SAY(sim, 1, "%s answers the operator: %s", env->name, reply->refused ? "refused" : "done");
    sim_mix(sim, client, reply->refused ? 100 + (uint64_t)reply->refusal : 1);
    if (reply->prepared)
        list_is_true(env, reply->prepared);
    if (!reply->resolved)
        return true;
    sim->counts.resolved++;
    SIM_CHECK(sim, "R6",
              (of_another_incarnation(ask->gid) || beyond_horizon(sim, ask->gid)) && ask->told,
              "%s is resolved, and the log answers for it", ask->gid);
    SIM_CHECK(sim, "R7",
              ask->db->disturbed || ask->tx->state == (ask->commit ? TX_COMMITTED : TX_ABORTED),
              "%s is resolved as %s, and is not", ask->gid, ask->commit ? "committed" : "aborted");
    return true;
}
