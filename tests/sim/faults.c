/*
 * What goes wrong by itself, at random moments; and how all of it ends.
 */
#include "db.h"
#include "observe.h"
#include "sim.h"

#define OPERATOR_EVERY AS_SECOND
#define WALL_JUMP_MAX_MS 120000
#define ACKNOWLEDGED_MAX 64

/* --- Picking --- */

static struct as_env *any_node(struct sim *sim)
{
    return &sim->procs[sim_below(sim, sim->node_count)];
}

static struct as_env *any_agent(struct sim *sim)
{
    return &sim->procs[sim->node_count + sim_below(sim, sim->plan.agents)];
}

static struct sim_db *any_db(struct sim *sim)
{
    return &sim->dbs[sim_below(sim, sim->plan.dbs)];
}

/* A prepared branch of ours. */
static struct sim_tx *any_prepared(struct sim_db *db)
{
    uint64_t count = 0;
    struct sim_tx *tx;

    for (tx = db->txs; tx; tx = tx->next)
        count += tx->state == TX_PREPARED && tx->branch && !tx->impostor;
    if (count == 0)
        return NULL;
    count = sim_below(db->sim, count);
    for (tx = db->txs; tx; tx = tx->next) {
        if (tx->state == TX_PREPARED && tx->branch && !tx->impostor && count-- == 0)
            return tx;
    }
    return NULL;
}

/* --- A person --- */

static void by_hand(struct sim *sim)
{
    struct sim_tx *tx = any_prepared(any_db(sim));
    bool commit = sim_percent(sim, 50);

    if (!tx)
        return;
    SIM_SAY(sim, 1, "a person %s %s", commit ? "commits" : "rolls back", tx->gid);
    if (commit)
        tx->branch->hand_commit = true;
    else
        tx->branch->hand_rollback = true;
    db_finish(tx, commit);
}

/* False: some agent is stopped and cannot hear of it now. */
static bool cut_all_views(struct sim *sim, const struct sim_db *db)
{
    for (uint32_t p = sim->node_count; p < sim->proc_count; p++) {
        if (sim->procs[p].up && sim->procs[p].paused_until > sim->now)
            return false;
    }
    for (uint32_t p = sim->node_count; p < sim->proc_count; p++) {
        struct as_env *env = &sim->procs[p];

        for (uint32_t i = 0; env->up && i < env->view_count; i++) {
            if (env->views[i].db == db)
                pg_view_lost(&env->views[i], "the connections are cut");
        }
    }
    return true;
}

/* Something else is prepared under a gid of ours. While the connection is open that saw PREPARE succeed R7 asks for no
 * proof, so this comes with the end of the connections. */
static void impose(struct sim *sim)
{
    struct sim_tx *tx = any_prepared(any_db(sim)), *other;

    if (!tx || !cut_all_views(sim, tx->db) || tx->state != TX_PREPARED)
        return;
    SIM_SAY(sim, 1, "a person puts something else in the place of %s", tx->gid);
    pg_end_commits(tx->db);
    tx->branch->hand_rollback = tx->branch->imposed = true;
    db_finish(tx, false);
    other = db_tx_new(tx->db);
    other->impostor = true;
    other->branch = tx->branch;
    memcpy(other->gid, tx->gid, sizeof other->gid);
    db_tx_xid(other);
    db_prepare(other);
}

static void lets_go(struct sim *sim, const struct sim_event *event)
{
    struct sim_tx *tx = event->what;

    (void)sim;
    if (tx->state == TX_PREPARED)
        db_finish(tx, false);
}

static void take_slots(struct sim *sim)
{
    struct sim_db *db = any_db(sim);
    uint32_t count = (uint32_t)sim_between(sim, 1, 6);

    SIM_SAY(sim, 1, "others prepare %u transactions at %s", count, db->name);
    while (count-- > 0 && db_prepared_count(db) < db->slots) {
        struct sim_tx *tx = db_tx_new(db);

        tx->foreign = true;
        snprintf(tx->gid, sizeof tx->gid, "theirs-%u-%u", db->wal_count, count);
        db_tx_xid(tx);
        db_prepare(tx);
        sim_at(sim, sim->now + sim_latency(sim, 5 * AS_SECOND), NULL, lets_go, tx, 0, 0);
    }
}

static void forget_status(struct sim *sim)
{
    struct sim_db *db = any_db(sim);

    for (struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        if (tx->branch && !tx->impostor && tx->state != TX_RUNNING && tx->state != TX_PREPARED &&
            sim_percent(sim, 20))
            tx->branch->forgotten = true;
    }
}

/* --- Processes, network, disks, databases --- */

static void rot(struct sim *sim)
{
    struct as_env *env = any_node(sim);

    if (!proc_alive(env) || env->rotten || !disk_rot(env))
        return;
    SIM_SAY(sim, 1, "a bit of the log of %s flips", env->name);
    env->rotten = true;
    proc_crash(env, false);
}

static void pause_one(struct sim *sim)
{
    struct as_env *env = &sim->procs[sim_below(sim, sim->proc_count)];

    SIM_SAY(sim, 1, "%s is stopped", env->name);
    env->paused_until = sim->now + sim_latency(sim, 8 * AS_SECOND);
}

static void partition(struct sim *sim)
{
    uint32_t one = (uint32_t)sim_below(sim, sim->proc_count);
    as_time until = sim->now + sim_latency(sim, 8 * AS_SECOND);

    for (uint32_t other = 0; other < sim->proc_count; other++) {
        net_clog(sim, one, other, until);
        net_clog(sim, other, one, until);
    }
}

static void has_space(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->what;

    if (sim->full == env)
        return;
    SIM_SAY(sim, 1, "%s has space again", env->name);
    disk_fill(env, false);
}

static void fill_disk(struct sim *sim)
{
    struct as_env *env = any_node(sim);

    SIM_SAY(sim, 1, "the disk of %s is full", env->name);
    disk_fill(env, true);
    sim_at(sim, sim->now + sim_latency(sim, sim->plan.full_max), NULL, has_space, env, 0, 0);
}

static void db_starts(struct sim *sim, const struct sim_event *event)
{
    struct sim_db *db = event->what;

    SIM_SAY(sim, 1, "%s is up again", db->name);
    db->up = true;
}

static void kill_db(struct sim *sim)
{
    struct sim_db *db = any_db(sim);

    if (!db->up)
        return;
    db->up = false;
    db_kill(db);
    sim_at(sim, sim->now + sim_latency(sim, 4 * AS_SECOND), NULL, db_starts, db, 0, 0);
}

static void cut_view(struct sim *sim)
{
    struct as_env *env = any_agent(sim);
    struct sim_view *view;

    if (!proc_alive(env) || env->paused_until > sim->now)
        return;
    view = &env->views[sim_below(sim, env->view_count)];
    view->broken_until = sim->now + sim_latency(sim, 3 * AS_SECOND);
    pg_view_lost(view, "the connections are cut");
}

static void strike(struct sim *sim, enum sim_fault fault)
{
    uint32_t agent = any_agent(sim)->proc, node = any_node(sim)->proc;
    bool up = sim_percent(sim, 50);

    switch (fault) {
    case SIM_NODE_KILL:
    case SIM_NODE_POWER:
        proc_crash(any_node(sim), fault == SIM_NODE_POWER);
        break;
    case SIM_AGENT_KILL:
        proc_crash(any_agent(sim), false);
        break;
    case SIM_PAUSE:
        pause_one(sim);
        break;
    case SIM_LINK_CUT:
        net_cut_one(sim);
        break;
    case SIM_LINK_STALL:
        net_stall_one(sim);
        break;
    case SIM_CLOG:
        net_clog(sim, up ? agent : node, up ? node : agent,
                 sim->now + sim_latency(sim, 8 * AS_SECOND));
        break;
    case SIM_PARTITION:
        partition(sim);
        break;
    case SIM_DISK_ERROR:
        disk_fail_soon(any_node(sim), AS_ERR_IO, sim_below(sim, 4));
        break;
    case SIM_DISK_FULL:
        fill_disk(sim);
        break;
    case SIM_DISK_ROT:
        rot(sim);
        break;
    case SIM_MEMBERS:
        members_change(sim);
        break;
    case SIM_NODE_WIPE:
        members_wipe(sim);
        break;
    case SIM_TRANSFER:
        members_transfer(sim);
        break;
    case SIM_DB_KILL:
        kill_db(sim);
        break;
    case SIM_DB_LINK:
        cut_view(sim);
        break;
    case SIM_DB_FAILOVER:
        db_failover(any_db(sim));
        break;
    case SIM_DB_RESTORE:
        (void)db_restore(any_db(sim));
        break;
    case SIM_DB_SLOTS:
        take_slots(sim);
        break;
    case SIM_DB_FORGETS:
        forget_status(sim);
        break;
    case SIM_HAND:
        by_hand(sim);
        break;
    case SIM_IMPOSTOR:
        impose(sim);
        break;
    case SIM_WALL_JUMP:
        any_node(sim)->wall_base_ms += sim_between(sim, -WALL_JUMP_MAX_MS, WALL_JUMP_MAX_MS);
        break;
    default: /* these strike where they may, with sim_strikes */
        return;
    }
    sim->counts.faults++;
    sim->counts.struck[fault]++;
}

static void misfortune(struct sim *sim, const struct sim_event *event)
{
    enum sim_fault fault = (enum sim_fault)sim_below(sim, SIM_FAULT_COUNT);

    (void)event;
    if (sim->healed)
        return;
    /* Most seeds have few kinds: look further until one is found. */
    for (int tries = 0; tries < SIM_FAULT_COUNT && !sim->plan.on[fault]; tries++)
        fault = (enum sim_fault)sim_below(sim, SIM_FAULT_COUNT);
    if (sim->plan.on[fault])
        strike(sim, fault);
    sim_at(sim, sim->now + sim_latency(sim, 3 * sim->plan.misfortune), NULL, misfortune, NULL, 0,
           0);
}

/* --- The operator, who closes what only a person can close (R7) --- */

struct waiting {
    struct sim *sim;
    uint32_t count;
    struct {
        char id[AS_ID_LEN_MAX + 1];
        uint32_t branch;
    } list[ACKNOWLEDGED_MAX];
};

/* After healing he waits until the log has what the others have acknowledged: it must not wait for him (R8). */
static bool too_early(struct sim *sim, const struct as_txn_view *view)
{
    const struct sim_attempt *attempt = attempt_of(sim, view->attempt);

    return sim->healed && view->state == AS_TXN_COMMITTED && attempt && !attempt->finish;
}

static void note_waiting(void *ctx, const struct as_txn_view *view)
{
    struct waiting *waiting = ctx;

    if (too_early(waiting->sim, view))
        return;
    for (uint32_t i = 0; i < view->branch_count && waiting->count < ACKNOWLEDGED_MAX; i++) {
        if (!as_branch_state_heuristic(view->branches[i].state))
            continue;
        snprintf(waiting->list[waiting->count].id, sizeof waiting->list[0].id, "%s", view->id);
        waiting->list[waiting->count++].branch = view->branches[i].number;
    }
}

static void look(struct as_env *env)
{
    struct txn_list_query query = {.state = TXN_LIST_HEURISTIC, .limit = ACKNOWLEDGED_MAX};
    struct as_bytes who = {(const uint8_t *)"operator", 8};
    struct waiting waiting = {.sim = env->sim};
    uint64_t next;

    if (!proc_alive(env) || env->paused_until > env->sim->now)
        return;
    node_list(env->node, &query, note_waiting, &waiting, &next);
    for (uint32_t i = 0; i < waiting.count && !env->dying; i++) {
        SIM_SAY(env->sim, 1, "the operator acknowledges %s/%u", waiting.list[i].id,
                waiting.list[i].branch);
        node_acknowledge(env->node, 0, waiting.list[i].id, waiting.list[i].branch, who, who);
    }
    if (waiting.count > 0)
        proc_after(env);
}

/* What no coordinator knows any more (R6) is finished as it was decided: other sources tell. */
static void finish_unknown(struct sim_tx *tx)
{
    struct sim_branch *branch = tx->branch;

    if (tx->state == TX_PREPARED && branch && !tx->impostor && branch->unknown_told) {
        SIM_SAY(tx->db->sim, 1, "a person finishes %s", tx->gid);
        db_finish(tx, branch->attempt->durable);
    }
}

static void operator_looks(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->healed || sim_percent(sim, 20))
            look(&sim->procs[i]);
    }
    if (sim->healed)
        members_mend(sim);
    /* What somebody prepared under a gid of ours only that somebody can take away again; what another incarnation has
     * left behind is resolved (operator.c). */
    for (uint32_t d = 0; sim->healed && d < sim->plan.dbs; d++) {
        for (struct sim_tx *tx = sim->dbs[d].txs; tx; tx = tx->next) {
            if (tx->state == TX_PREPARED && (tx->impostor || tx->foreign) && !operator_orphan(tx))
                db_finish(tx, false);
            finish_unknown(tx);
        }
    }
    sim_at(sim, sim->now + OPERATOR_EVERY, NULL, operator_looks, NULL, 0, 0);
}

/* --- Beginning and end --- */

void faults_start(struct sim *sim)
{
    for (int fault = 0; fault < SIM_FAULT_COUNT; fault++) {
        if (sim->plan.on[fault])
            SIM_SAY(sim, 1, "fault: %s", sim_fault_name((enum sim_fault)fault));
    }
    sim_at(sim, sim->now + sim->plan.misfortune, NULL, misfortune, NULL, 0, 0);
    sim_at(sim, sim->now + OPERATOR_EVERY, NULL, operator_looks, NULL, 0, 0);
}

/* The only one, so that the others can do without it. */
static struct as_env *full_alone(struct sim *sim)
{
    struct as_env *full = NULL;

    for (uint32_t p = 0; p < sim->node_count; p++) {
        struct as_env *env = &sim->procs[p];
        struct node_info info;

        if (!proc_alive(env))
            continue;
        node_info(env->node, &info);
        if (info.disk_full && full)
            return NULL;
        if (info.disk_full)
            full = env;
    }
    return full;
}

void faults_space(struct sim *sim)
{
    if (sim->full)
        disk_fill(sim->full, false);
    sim->full = NULL;
}

void faults_heal(struct sim *sim)
{
    sim->full = members_voters(sim) >= 3 && !members_unsettled(sim) ? full_alone(sim) : NULL;
    SIM_SAY(sim, 1, "--- everything is healed ---");
    sim->healed = true;
    net_heal(sim);
    for (uint32_t p = 0; p < sim->proc_count; p++) {
        struct as_env *env = &sim->procs[p];

        env->paused_until = 0;
        if (env->is_node) {
            (void)disk_failed(env);
            if (env != sim->full)
                disk_fill(env, false);
        }
        for (uint32_t i = 0; i < env->view_count; i++)
            env->views[i].broken_until = 0;
    }
    for (uint32_t d = 0; d < sim->plan.dbs; d++)
        sim->dbs[d].up = true;
}
