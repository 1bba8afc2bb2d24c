/*
 * Operations of the fake PostgreSQL: a backend for each, which goes on by itself when its client is gone; and the
 * agents' connections, which have to be made anew when a server has died or become another one.
 *
 * Where PostgreSQL's behaviour is imitated, docs/protocol.md, "PostgreSQL facts", tells what was tried.
 */
#include "db.h"

#include <stdlib.h>

#include "assent/work.h"
#include "observe.h"

#define GIDS_ARE_OURS "assent/" SIM_CLUSTER "/"

struct sim_backend {
    struct sim_db *db;
    struct as_env *agent;
    uint32_t life;
    struct sim_view *view;
    struct as_pg_op op;
    struct sim_tx *tx;
    struct as_work_reader work;
    uint32_t at; /* the statement it is at */
    struct {
        uint32_t account;
        int64_t delta, expect_rows, rows;
    } statements[SIM_STATEMENTS_MAX];
    bool detached; /* nobody hears its answer any more */
    bool answered, over;
    bool waiting; /* for the row lock of its statement */
    bool reading; /* READ: its transaction is open */
    bool warns;
    struct as_pg_done probe;
    struct sim_backend *next;
};

static void runs(struct sim *sim, const struct sim_event *event);

static void run_in(struct sim_backend *backend, as_time wait)
{
    struct sim *sim = backend->db->sim;

    sim_at(sim, sim->now + wait, NULL, runs, backend, 0, 0);
}

static as_time pace(struct sim *sim)
{
    as_time wait = sim_latency(sim, sim->plan.query_max);

    return sim_strikes(sim, SIM_DB_SLOW) ? wait + sim_latency(sim, 4 * AS_SECOND) : wait;
}

/* --- Answers --- */

static void hears_done(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->proc;
    const struct as_pg_done *done = event->what;

    SIM_SAY(sim, 2, "%s: operation %llu of kind %d has ended: status %d %s", env->name,
            (unsigned long long)done->id, (int)done->kind, (int)done->status, done->sqlstate);
    sim_mix(sim, done->id, (uint64_t)done->status);
    agent_on_pg_done(env->agent, done);
    proc_after(env);
}

static void answer_agent(struct sim_backend *backend, const struct as_pg_done *done, as_time wait)
{
    struct sim *sim = backend->db->sim;
    struct as_pg_done *copy = sim_alloc(sim, sizeof *copy);

    if (backend->answered)
        return;
    backend->answered = true;
    if (backend->detached || !backend->agent->up || backend->agent->life != backend->life)
        return;
    *copy = *done;
    copy->id = backend->op.id;
    copy->participant = backend->op.participant;
    copy->kind = backend->op.kind;
    if (!copy->message)
        copy->message = "as the simulator draws it";
    sim_at(sim, sim->now + wait, backend->agent, hears_done, copy, 0, 0);
}

static void answer(struct sim_backend *backend, const struct as_pg_done *done)
{
    answer_agent(backend, done, sim_latency(backend->db->sim, backend->db->sim->plan.query_max));
}

/* The backend's part is over; what it had not prepared is rolled back. */
static void end(struct sim_backend *backend)
{
    struct sim_tx *tx = backend->tx;

    backend->over = true;
    backend->waiting = backend->reading = false;
    if (tx)
        db_drop(tx);
}

static void refuse(struct sim_backend *backend, const char *sqlstate, int32_t statement)
{
    struct as_pg_done done = {.status = AS_PG_REFUSED, .statement = statement};

    memcpy(done.sqlstate, sqlstate, 6);
    end(backend);
    answer(backend, &done);
}

static void end_with(struct sim_backend *backend, enum as_pg_status status)
{
    struct as_pg_done done = {.status = status, .statement = -1};

    if (status == AS_PG_CANCELLED)
        done.code = AS_REASON_TIMEOUT;
    end(backend);
    answer(backend, &done);
}

/* --- Statements --- */

static bool parse_work(struct sim_backend *backend)
{
    struct as_statement statement;
    struct as_bytes param;
    char text[32];

    if (as_work_open(&backend->work, backend->op.work))
        return false;
    AS_ASSERT(backend->work.statement_count <= SIM_STATEMENTS_MAX);
    for (uint32_t i = 0; i < backend->work.statement_count; i++) {
        if (as_work_next_statement(&backend->work, &statement))
            return false;
        backend->statements[i].expect_rows = statement.expect_rows;
        for (uint32_t p = 0; p < statement.param_count; p++) {
            if (as_work_next_param(&backend->work, &param) || param.len >= sizeof text)
                return false;
            memcpy(text, param.data, param.len);
            text[param.len] = '\0';
            if (p == 0)
                backend->statements[i].account = (uint32_t)strtoul(text, NULL, 10);
            else
                backend->statements[i].delta = strtoll(text, NULL, 10);
        }
    }
    return true;
}

/* Whether granting what this backend waits for must wait for this backend. */
static bool deadlocked(const struct sim_backend *backend)
{
    const struct sim_backend *at = backend;

    for (int depth = 0; depth < 16; depth++) {
        const struct sim_tx *holder = at->db->locks[at->statements[at->at].account];
        const struct sim_backend *next = at->db->backends;

        while (next && !(next->tx == holder && next->waiting))
            next = next->next;
        if (!holder || !next)
            return false;
        if (next == backend)
            return true;
        at = next;
    }
    return false;
}

static int64_t own_delta(const struct sim_tx *tx, uint32_t account)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < tx->write_count; i++)
        sum += tx->writes[i].account == account ? tx->writes[i].delta : 0;
    return sum;
}

/* UPDATE accounts SET balance = balance + $2 WHERE id = $1 AND balance + $2 >= 0 */
static bool update(struct sim_backend *backend)
{
    uint32_t account = backend->statements[backend->at].account;
    int64_t delta = backend->statements[backend->at].delta;
    struct sim_tx *tx = backend->tx, **lock = &backend->db->locks[account];

    if (*lock && *lock != tx) {
        backend->waiting = true;
        if (deadlocked(backend))
            refuse(backend, "40P01", (int32_t)backend->at);
        return false;
    }
    db_tx_xid(tx);
    if (backend->db->balances[account] + own_delta(tx, account) + delta < 0) {
        backend->statements[backend->at].rows = 0;
        return true;
    }
    *lock = tx;
    tx->writes[tx->write_count].account = account;
    tx->writes[tx->write_count++].delta = delta;
    backend->statements[backend->at].rows = 1;
    return true;
}

static struct as_bytes results_of(const struct sim_backend *backend)
{
    struct sim *sim = backend->db->sim;
    struct as_buf buf;
    struct as_bytes results;
    uint8_t *copy;

    as_buf_init(&buf, 65536);
    as_results_put_begin(&buf, backend->work.statement_count);
    for (uint32_t i = 0; i < backend->work.statement_count; i++)
        as_results_put_statement(&buf, backend->statements[i].rows, 0, 0);
    AS_ASSERT(!buf.err);
    copy = sim_alloc(sim, buf.len);
    memcpy(copy, buf.data, buf.len);
    results = (struct as_bytes){copy, buf.len};
    as_buf_close(&buf);
    return results;
}

/* The first statement that did not find as many rows as it had to; -1: all did. */
static int32_t unexpected(const struct sim_backend *backend)
{
    for (uint32_t i = 0; i < backend->work.statement_count; i++) {
        if (backend->statements[i].expect_rows != AS_EXPECT_NONE &&
            backend->statements[i].expect_rows != backend->statements[i].rows)
            return (int32_t)i;
    }
    return -1;
}

static uint64_t connection_opened(struct sim_view *view)
{
    static const uint64_t first = 1000;
    uint64_t number = first + view->open_next;

    view->open[view->open_next++ % DB_OPEN_MAX] = number;
    return number;
}

static void prepare(struct sim_backend *backend)
{
    struct sim *sim = backend->db->sim;
    struct sim_tx *tx = backend->tx;
    struct as_pg_done done = {.status = AS_PG_OK, .prepared = true};

    if (sim_strikes(sim, SIM_DB_REFUSES)) {
        refuse(backend, sim_percent(sim, 50) ? "40001" : "0A000", -1);
        return;
    }
    if (db_prepared_count(backend->db) >= backend->db->slots) {
        refuse(backend, "53200", -1);
        return;
    }
    if (db_prepared(backend->db, backend->op.gid)) {
        refuse(backend, "42710", -1);
        return;
    }
    db_tx_xid(tx);
    memcpy(tx->gid, backend->op.gid, sizeof tx->gid);
    tx->branch = db_branch_of(sim, tx->gid);
    if (sim_strikes(sim, SIM_DB_WARNS)) {
        done.status = AS_PG_WARNED;
        done.code = AS_REASON_PREPARE_REFUSED;
        if (tx->branch)
            tx->branch->warned = true;
    }
    db_prepare(tx);
    done.xid = tx->xid;
    done.statement = unexpected(backend);
    if (done.statement >= 0) {
        done.status = AS_PG_EXPECTATION;
        done.code = AS_REASON_EXPECTATION_FAILED;
        if (tx->branch)
            tx->branch->warned = true;
    }
    if (!backend->detached)
        done.connection = connection_opened(backend->view);
    done.results = results_of(backend);
    backend->over = true;
    answer(backend, &done);
}

static void read_is_done(struct sim_backend *backend)
{
    struct as_pg_done done = {.status = AS_PG_OK, .statement = unexpected(backend)};

    if (done.statement >= 0) {
        done.status = AS_PG_EXPECTATION;
        done.code = AS_REASON_EXPECTATION_FAILED;
        end(backend);
    } else {
        backend->reading = true;
        done.results = results_of(backend);
    }
    answer(backend, &done);
}

static void run_branch(struct sim_backend *backend)
{
    static const char *const states[] = {"40001", "23505", "22012", "55P03"};
    struct sim *sim = backend->db->sim;
    bool read = backend->op.kind == AS_PG_READ;

    if (backend->reading)
        return;
    if (backend->at == backend->work.statement_count) {
        if (read)
            read_is_done(backend);
        else
            prepare(backend);
        return;
    }
    if (sim_strikes(sim, SIM_DB_REFUSES)) {
        refuse(backend, states[sim_below(sim, AS_COUNT_OF(states))], (int32_t)backend->at);
        return;
    }
    if (read)
        backend->statements[backend->at].rows = 1;
    else if (!update(backend))
        return;
    backend->at++;
    run_in(backend, pace(sim));
}

/* --- Decisions and questions --- */

static void finish_prepared(struct sim_backend *backend, bool commit)
{
    struct sim *sim = backend->db->sim;
    struct sim_tx *tx = db_prepared(backend->db, backend->op.gid);
    struct as_pg_done done = {.status = AS_PG_OK, .statement = -1};

    if (sim_strikes(sim, SIM_DB_BUSY)) {
        static const char *const states[] = {"55000", "55000", "42501", "25006"};

        refuse(backend, states[sim_below(sim, AS_COUNT_OF(states))], -1);
        return;
    }
    if (!tx) {
        refuse(backend, "42704", -1);
        return;
    }
    observe_pg_finish(backend->agent, tx, commit);
    db_finish(tx, commit);
    if (sim_strikes(sim, SIM_DB_WARNS))
        done.status = AS_PG_WARNED;
    backend->over = true;
    answer(backend, &done);
}

/* Two statements, each with its own snapshot (participant/postgres/finish.c). */
static void probe(struct sim_backend *backend)
{
    struct sim_db *db = backend->db;
    const struct sim_tx *tx = db_prepared(db, backend->op.gid);
    struct as_pg_done *done = &backend->probe;

    if (backend->at++ == 0) {
        done->listed = tx != NULL;
        done->listed_xid32 = tx ? (uint32_t)tx->xid : 0;
        run_in(backend, pace(db->sim));
        return;
    }
    done->status = AS_PG_OK;
    done->statement = -1;
    done->xact = db_status(db, backend->op.xid);
    done->identity = db_identity(db);
    for (tx = db->txs; tx && db->proof == AS_PROOF_MARKER; tx = tx->next) {
        done->marker |= tx->state == TX_COMMITTED && !tx->impostor && !tx->foreign &&
                        strcmp(tx->gid, backend->op.gid) == 0;
    }
    backend->over = true;
    answer(backend, done);
}

/* SCAN and LIST */
static void scan(struct sim_backend *backend)
{
    bool all = backend->op.kind == AS_PG_LIST;
    struct sim_db *db = backend->db;
    uint32_t count = db_prepared_count(db);
    struct as_pg_prepared *rows = sim_alloc(db->sim, (count + 1) * sizeof *rows);
    struct as_pg_done done = {.status = AS_PG_OK, .statement = -1, .rows = rows};

    for (const struct sim_tx *tx = db->txs; tx; tx = tx->next) {
        if (tx->state != TX_PREPARED)
            continue;
        done.slots_used++;
        if (!all && strncmp(tx->gid, GIDS_ARE_OURS, strlen(GIDS_ARE_OURS)) != 0)
            done.foreign++;
        else
            rows[done.row_count++] = (struct as_pg_prepared){
                tx->gid, "agent", tx->xid, (db->sim->now - tx->prepared_at) / AS_MS};
    }
    backend->over = true;
    answer(backend, &done);
}

static struct sim_backend *reader_of(const struct sim_backend *backend)
{
    struct sim_backend *reader = backend->db->backends;

    while (reader && !(reader->op.id == backend->op.target && reader->agent == backend->agent &&
                       reader->life == backend->life && reader->reading))
        reader = reader->next;
    return reader;
}

static void read_ends(struct sim_backend *backend, bool commit)
{
    struct sim_branch *branch = db_branch_of(backend->db->sim, backend->op.gid);

    if (branch)
        branch->read_committed |= commit;
    end_with(backend, AS_PG_OK);
}

static void finish_read(struct sim_backend *backend)
{
    struct sim_backend *reader = reader_of(backend);
    bool commit = backend->op.kind == AS_PG_READ_COMMIT;

    if (!reader) {
        end_with(backend, AS_PG_LOST);
        return;
    }
    end(reader);
    if (commit && sim_strikes(backend->db->sim, SIM_DB_REFUSES))
        refuse(backend, "40001", -1);
    else
        read_ends(backend, commit);
}

static void tell_up(struct sim_view *view);

static void hears_rotated(struct sim *sim, const struct sim_event *event)
{
    struct sim_view *view = event->what;

    (void)sim;
    if (!view->up)
        return;
    tell_up(view);
    proc_after(event->proc);
}

static void rotate(struct sim_backend *backend)
{
    struct sim *sim = backend->db->sim;
    struct sim_view *view = backend->view;

    db_rotate(backend->db, backend->op.counter);
    if (!backend->detached && view->agent == backend->agent) {
        view->identity = db_identity(backend->db);
        sim_at(sim, sim->now, backend->agent, hears_rotated, view, 0, 0);
    }
    end_with(backend, AS_PG_OK);
}

static void runs(struct sim *sim, const struct sim_event *event)
{
    struct sim_backend *backend = event->what;

    (void)sim;
    if (backend->over || backend->waiting)
        return;
    switch (backend->op.kind) {
    case AS_PG_PREPARE:
    case AS_PG_READ:
        run_branch(backend);
        break;
    case AS_PG_READ_COMMIT:
    case AS_PG_READ_ABORT:
        finish_read(backend);
        break;
    case AS_PG_COMMIT_PREPARED:
    case AS_PG_ROLLBACK_PREPARED:
        finish_prepared(backend, backend->op.kind == AS_PG_COMMIT_PREPARED);
        break;
    case AS_PG_PROBE:
        probe(backend);
        break;
    case AS_PG_SCAN:
    case AS_PG_LIST:
        scan(backend);
        break;
    case AS_PG_ROTATE:
        rotate(backend);
        break;
    }
}

void pg_locks_released(struct sim_db *db)
{
    for (struct sim_backend *backend = db->backends; backend; backend = backend->next) {
        if (backend->over || !backend->waiting)
            continue;
        backend->waiting = false;
        run_in(backend, AS_US);
    }
}

/* --- Starting and cancelling --- */

static void is_late(struct sim *sim, const struct sim_event *event)
{
    struct sim_backend *backend = event->what;

    (void)sim;
    if (!backend->over && !backend->reading && !backend->answered)
        end_with(backend, AS_PG_CANCELLED);
}

/* The connection ends; what the server does with what it was sent is its own affair. */
static void is_lost(struct sim *sim, const struct sim_event *event)
{
    struct sim_backend *backend = event->what;
    struct as_pg_done done = {.status = AS_PG_LOST, .statement = -1};

    if (backend->answered)
        return;
    answer_agent(backend, &done, 0);
    backend->detached = true;
    if (event->a && !backend->over) /* it never arrived, or the backend has noticed */
        end(backend);
    (void)sim;
}

static bool connection_open(const struct sim_view *view, uint64_t number)
{
    for (uint32_t i = 0; i < DB_OPEN_MAX; i++) {
        if (view->open[i] == number)
            return true;
    }
    return false;
}

static void view_hears_lost(struct sim *sim, const struct sim_event *event);

/* What is known before anything is sent; OK: it is sent. */
static enum as_pg_status unsendable(struct sim_view *view, const struct as_pg_op *op)
{
    struct sim *sim = view->agent->sim;
    const struct sim_db *db = view->db;
    bool other = memcmp(&view->identity, &db->row.token, sizeof view->identity) != 0;

    if (!view->up)
        return AS_PG_UNAVAILABLE;
    /* The server is another one since, or a new connection finds another identity (postgres/check.c). */
    if (view->epoch != db->epoch || (other && sim_percent(sim, 20))) {
        sim_at(sim, sim->now, view->agent, view_hears_lost, view, view->epoch, 0);
        return AS_PG_UNAVAILABLE;
    }
    if (op->connection && !connection_open(view, op->connection))
        return AS_PG_STALE;
    return AS_PG_OK;
}

/* Those that are over and have answered are of no interest any more. */
static void sweep(struct sim_db *db)
{
    struct sim_backend **at = &db->backends;

    while (*at) {
        if ((*at)->over && (*at)->answered)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
}

void pg_start(struct as_env *env, const struct as_pg_op *op)
{
    struct sim *sim = env->sim;
    struct sim_view *view = &env->views[op->participant];
    struct sim_backend *backend = sim_alloc(sim, sizeof *backend);
    enum as_pg_status status = unsendable(view, op);
    bool branch = op->kind == AS_PG_PREPARE || op->kind == AS_PG_READ;

    *backend = (struct sim_backend){
        .db = view->db, .agent = env, .life = env->life, .view = view, .op = *op};
    SIM_SAY(sim, 2, "%s: operation %llu of kind %d at %s begins: %s", env->name,
            (unsigned long long)op->id, (int)op->kind, view->db->name, op->gid);
    observe_pg_start(env, view->db, op);
    if (status != AS_PG_OK) {
        end_with(backend, status);
        return;
    }
    if (op->work.len > 0) {
        uint8_t *copy = sim_alloc(sim, op->work.len);

        memcpy(copy, op->work.data, op->work.len);
        backend->op.work.data = copy;
    }
    if (op->kind == AS_PG_PREPARE)
        backend->tx = db_tx_new(view->db);
    if (branch && !parse_work(backend))
        sim_fail(sim, "work", "%s cannot read the work of %s", env->name, op->gid);
    sweep(view->db);
    backend->next = view->db->backends;
    view->db->backends = backend;
    run_in(backend, pace(sim));
    if (branch)
        sim_at(sim, sim->now + op->timeout_ms * AS_MS, NULL, is_late, backend, 0, 0);
    if (sim_strikes(sim, SIM_DB_LOSES))
        sim_at(sim, sim->now + sim_latency(sim, 4 * sim->plan.query_max), NULL, is_lost, backend,
               sim_percent(sim, 40), 0);
}

void pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    struct sim *sim = env->sim;
    struct sim_db *db = env->views[participant].db;

    for (struct sim_backend *backend = db->backends; backend; backend = backend->next) {
        if (backend->agent == env && backend->life == env->life && backend->op.id == op_id &&
            !backend->over)
            sim_at(sim, sim->now + sim_latency(sim, sim->plan.query_max), NULL, is_late, backend, 0,
                   0);
    }
}

/* --- The agents' connections --- */

static void tell_up(struct sim_view *view)
{
    const struct sim_db *db = view->db;
    struct as_pg_up up = {.participant = view->index,
                          .identity = view->identity,
                          .counter = db->row.counter,
                          .system_id = db->system_id,
                          .timeline = db->timeline,
                          .server_version = 150000,
                          .prepared_max = db->slots,
                          .connections = 10,
                          .proof = db->proof,
                          .detail = ""};

    agent_on_pg_up(view->agent->agent, &up);
}

static void connects(struct sim *sim, const struct sim_event *event)
{
    struct sim_view *view = event->what;
    struct sim_db *db = view->db;

    view->connecting = NULL;
    if (view->up)
        return;
    if (!db->up || view->broken_until > sim->now) {
        view->connecting =
            sim_at(sim, sim->now + sim_latency(sim, AS_SECOND), view->agent, connects, view, 0, 0);
        return;
    }
    db_visit(db, !view->counted, &view->identity, view->counter);
    view->counter = db->row.counter;
    view->counted = view->up = true;
    view->epoch = db->epoch;
    view->identity = db->row.token;
    SIM_SAY(sim, 1, "%s has connected to %s", view->agent->name, db->name);
    sim_mix(sim, 'v', db->index);
    tell_up(view);
    proc_after(view->agent);
}

static void connect_later(struct sim_view *view)
{
    struct sim *sim = view->agent->sim;

    if (!view->connecting)
        view->connecting = sim_at(sim, sim->now + sim_latency(sim, 500 * AS_MS), view->agent,
                                  connects, view, 0, 0);
}

void pg_views_start(struct as_env *env)
{
    for (uint32_t i = 0; i < env->view_count; i++)
        connect_later(&env->views[i]);
}

/* Every operation on these connections ends with them. */
static void lose_operations(struct sim_view *view)
{
    struct as_pg_done done = {.status = AS_PG_LOST, .statement = -1};
    struct sim *sim = view->agent->sim;

    for (struct sim_backend *backend = view->db->backends; backend; backend = backend->next) {
        if (backend->view != view || backend->over || backend->detached)
            continue;
        answer_agent(backend, &done, 0);
        backend->detached = true;
        if (backend->op.kind != AS_PG_PREPARE || sim_percent(sim, 50))
            end(backend);
    }
}

void pg_view_lost(struct sim_view *view, const char *why)
{
    if (!view->up)
        return;
    SIM_SAY(view->agent->sim, 1, "%s loses %s: %s", view->agent->name, view->db->name, why);
    view->up = false;
    memset(view->open, 0, sizeof view->open);
    lose_operations(view);
    agent_on_pg_down(view->agent->agent, view->index, why);
    proc_after(view->agent);
    connect_later(view);
}

static void view_hears_lost(struct sim *sim, const struct sim_event *event)
{
    struct sim_view *view = event->what;

    (void)sim;
    if (view->epoch == event->a)
        pg_view_lost(view, "the server is not what it was");
}

void pg_agent_died(struct as_env *env)
{
    struct sim *sim = env->sim;

    for (uint32_t i = 0; i < env->view_count; i++) {
        struct sim_backend *backend = env->views[i].db->backends;

        for (; backend; backend = backend->next) {
            if (backend->view != &env->views[i] || backend->over)
                continue;
            backend->detached = true;
            if (backend->op.kind == AS_PG_READ || sim_percent(sim, 50))
                end(backend);
        }
    }
}

void pg_end_commits(struct sim_db *db)
{
    for (struct sim_backend *backend = db->backends; backend; backend = backend->next) {
        if (!backend->over && backend->op.kind == AS_PG_COMMIT_PREPARED)
            end_with(backend, AS_PG_LOST);
    }
}

void pg_db_lost(struct sim_db *db)
{
    struct sim *sim = db->sim;

    for (struct sim_backend *backend = db->backends; backend; backend = backend->next) {
        if (!backend->over)
            end_with(backend, AS_PG_LOST);
    }
    for (uint32_t p = sim->node_count; p < sim->proc_count; p++) {
        struct as_env *env = &sim->procs[p];

        for (uint32_t i = 0; env->up && i < env->view_count; i++) {
            if (env->views[i].db == db && env->views[i].up)
                sim_at(sim, sim->now + sim_latency(sim, AS_SECOND), env, view_hears_lost,
                       &env->views[i], env->views[i].epoch, 0);
        }
    }
    db->backends = NULL;
}
