/*
 * A private PostgreSQL and a running postgres room on it, for the tests of this folder. The server
 * lives in a new directory under /tmp, speaks by unix socket only, runs as a user who is not root,
 * and dies with the test.
 */
#ifndef ASSENT_TEST_SERVER_H
#define ASSENT_TEST_SERVER_H

#include "tests/support/support.h"

#include <errno.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "assent/work.h"
#include "participant/postgres/pg.h"

#define DEADLINE_S 60
#define GID "assent/demo/5f3a9c01d2e4b687/7.%d/1/order-%d"

/* --- the server --- */

static struct {
    char dir[64];
    char bin[64];
    pid_t pid;
    char dsn[128];
} server;

static void as_user(void)
{
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    if (user && (setgid(user->pw_gid) || setuid(user->pw_uid)))
        _exit(120);
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* after setuid, which clears it */
}

static pid_t spawn(char *const argv[])
{
    pid_t pid = fork();

    if (pid == 0) {
        as_user();
        if (!freopen("/dev/null", "r", stdin) || chdir("/"))
            _exit(121);
        if (!freopen("/dev/null", "w", stdout))
            _exit(122);
        execv(argv[0], argv);
        _exit(123);
    }
    assert_true(pid > 0);
    return pid;
}

static int run_and_wait(char *const argv[])
{
    int status = -1;
    pid_t pid = spawn(argv);

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void find_bin(void)
{
    static const char *const dirs[] = {"17", "16", "15", "14", "13"};
    char path[128];

    for (size_t i = 0; i < AS_COUNT_OF(dirs); i++) {
        snprintf(server.bin, sizeof server.bin, "/usr/lib/postgresql/%s/bin", dirs[i]);
        snprintf(path, sizeof path, "%s/initdb", server.bin);
        if (access(path, X_OK) == 0)
            return;
    }
    fail_msg("no PostgreSQL found under /usr/lib/postgresql");
}

static PGconn *server_connect(void)
{
    PGconn *conn = PQconnectdb(server.dsn);

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

static void server_start(void)
{
    char path[128], log[128];
    char *argv[] = {path, "-D", server.dir, "-k", server.dir, NULL};
    time_t until = time(NULL) + DEADLINE_S;

    (void)log;
    snprintf(path, sizeof path, "%s/postgres", server.bin);
    server.pid = spawn(argv);
    while (PQping(server.dsn) != PQPING_OK) {
        assert_true(time(NULL) < until);
        assert_int_equal(waitpid(server.pid, NULL, WNOHANG), 0);
        usleep(20000);
    }
}

static void server_stop(int with)
{
    int status;

    if (server.pid <= 0)
        return;
    kill(server.pid, with);
    while (waitpid(server.pid, &status, 0) < 0 && errno == EINTR)
        ;
    server.pid = 0;
}

__attribute__((unused)) static void server_configure(const char *lines)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/postgresql.conf", server.dir);
    file = fopen(path, "a");
    assert_non_null(file);
    fputs(lines, file);
    assert_int_equal(fclose(file), 0);
}

static void server_make(const char *extra)
{
    char path[128];
    char *argv[] = {path, "--no-sync", "-A", "trust",    "-U", "boss",
                    "-E", "UTF8",      "-D", server.dir, NULL};
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    find_bin();
    strcpy(server.dir, "/tmp/assent-pg-XXXXXX");
    assert_non_null(mkdtemp(server.dir));
    if (user)
        assert_int_equal(chown(server.dir, user->pw_uid, user->pw_gid), 0);
    snprintf(path, sizeof path, "%s/initdb", server.bin);
    assert_int_equal(run_and_wait(argv), 0);
    server_configure("listen_addresses = ''\nmax_prepared_transactions = 20\nfsync = on\n"
                     "log_min_messages = panic\nautovacuum = off\nshared_buffers = 4MB\n");
    server_configure(extra);
    snprintf(server.dsn, sizeof server.dsn, "host=%s dbname=postgres user=boss", server.dir);
    server_start();
}

static void server_remove(void)
{
    char *argv[] = {"/bin/rm", "-rf", server.dir, NULL};

    server_stop(SIGINT);
    assert_int_equal(run_and_wait(argv), 0);
    (void)rmdir(server.dir);
}

/* The first column of the first row, in a buffer that the next call reuses; several statements may
 * stand in one. */
static const char *sql(const char *text)
{
    static char value[512];
    PGconn *conn = server_connect();
    PGresult *result = PQexec(conn, text);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    value[0] = '\0';
    if (PQntuples(result) > 0)
        snprintf(value, sizeof value, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    return value;
}

/* --- the room --- */

#define OPS_MAX 4096

struct answer {
    bool there;
    struct as_pg_done done;
    char message[512];
    char results[4096]; /* as text: one line a row, cells with "|" */
    char gids[32][AS_GID_LEN_MAX + 1], owners[32][AS_ROLE_LEN_MAX + 1];
    uint64_t xids[32];
};

static struct {
    uv_loop_t loop;
    struct pg *pg;
    uint64_t next_id;
    struct answer answers[OPS_MAX];
    struct as_pg_up up;
    char detail[512];
    uint32_t ups, downs;
    char why[512];
    bool inside; /* a pg_* call is under way: nothing may be called back */
    bool closed;
    bool counting; /* more operations than places: ends are only counted */
    uint32_t ended;
} room;

static void results_text(struct as_bytes bytes, char *text, size_t size)
{
    struct as_results_reader reader;
    struct as_result result;
    struct as_bytes cell;
    size_t len = 0;

    text[0] = '\0';
    if (bytes.len == 0)
        return;
    assert_int_equal(as_results_open(&reader, bytes), AS_OK);
    for (uint32_t i = 0; i < reader.statement_count; i++) {
        assert_int_equal(as_results_next(&reader, &result), AS_OK);
        len += (size_t)snprintf(text + len, size - len, "[%lld]", (long long)result.rows_affected);
        for (uint32_t k = 0; k < result.column_count * (result.row_count + 1); k++) {
            assert_int_equal(as_results_next_text(&reader, &cell), AS_OK);
            len += (size_t)snprintf(text + len, len < size ? size - len : 0, "%s%s",
                                    k % result.column_count ? "|" : "\n",
                                    cell.data ? (const char *)cell.data : "NULL");
            if (len >= size)
                len = size - 1;
        }
    }
}

static void on_up(void *ctx, const struct as_pg_up *up)
{
    (void)ctx;
    assert_false(room.inside);
    room.up = *up;
    snprintf(room.detail, sizeof room.detail, "%s", up->detail);
    room.ups++;
}

static void on_down(void *ctx, uint32_t participant, const char *why)
{
    (void)ctx;
    (void)participant;
    assert_false(room.inside);
    snprintf(room.why, sizeof room.why, "%s", why);
    room.downs++;
}

static void on_done(void *ctx, const struct as_pg_done *done)
{
    struct answer *answer = &room.answers[done->id % OPS_MAX];

    (void)ctx;
    assert_false(room.inside);
    if (room.counting) {
        room.ended++;
        return;
    }
    assert_false(answer->there); /* an operation ends once */
    answer->there = true;
    answer->done = *done;
    snprintf(answer->message, sizeof answer->message, "%s", done->message);
    results_text(done->results, answer->results, sizeof answer->results);
    for (uint32_t i = 0; i < done->row_count && i < 32; i++) {
        strcpy(answer->gids[i], done->rows[i].gid);
        strcpy(answer->owners[i], done->rows[i].owner);
        answer->xids[i] = done->rows[i].xid;
    }
}

/* Turns the loop until the condition holds; the deadline is only for a test that hangs. */
static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

#define WAIT_FOR(condition)                                                                   \
    do {                                                                                      \
        time_t until_ = time(NULL) + DEADLINE_S;                                              \
        while (!(condition)) {                                                                \
            if (time(NULL) > until_)                                                          \
                fail_msg("not within %d s: %s (down: %s)", DEADLINE_S, #condition, room.why); \
            turn();                                                                           \
        }                                                                                     \
    } while (0)

static void turn(void)
{
    uv_timer_t timer;

    uv_timer_init(&room.loop, &timer);
    uv_timer_start(&timer, on_tick, 20, 0);
    uv_run(&room.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&room.loop, UV_RUN_NOWAIT);
}

__attribute__((unused)) static void room_open_dsn(const char *dsn, uint32_t connections,
                                                  enum as_proof proof, bool null)
{
    struct pg_participant_config participant = {.connections = connections, .proof = proof};
    struct pg_config config = {.cluster = "demo", .participant_count = 1};
    struct pg_callbacks callbacks = {NULL, on_up, on_down, on_done};

    participant.null = null;
    strcpy(participant.name, "bank");
    strcpy(participant.dsn, dsn);
    config.participants = &participant;
    memset(room.answers, 0, sizeof room.answers);
    room.ups = room.downs = 0;
    room.why[0] = room.detail[0] = '\0';
    room.closed = false;
    assert_int_equal(uv_loop_init(&room.loop), 0);
    room.inside = true;
    assert_int_equal(pg_new(&room.pg, &config, &room.loop, &callbacks), AS_OK);
    room.inside = false;
}

__attribute__((unused)) static void room_open(uint32_t connections, enum as_proof proof)
{
    room_open_dsn(server.dsn, connections, proof, false);
    WAIT_FOR(room.ups == 1);
}

static void on_room_closed(void *ctx)
{
    (void)ctx;
    room.closed = true;
}

static void room_close(void)
{
    room.inside = true;
    pg_close(room.pg, on_room_closed, NULL);
    room.inside = false;
    WAIT_FOR(room.closed);
    uv_run(&room.loop, UV_RUN_DEFAULT);
    pg_free(room.pg);
    assert_int_equal(uv_loop_close(&room.loop), 0);
}

/* --- operations --- */

/* Work from texts: statements, each may be followed by "=N" (expect_rows) and "$text" (a
 * parameter). */
static struct as_bytes work(struct as_buf *buf, enum as_isolation isolation,
                            const char *const *texts)
{
    uint32_t count = 0;

    for (size_t i = 0; texts[i]; i++)
        count += texts[i][0] != '=' && texts[i][0] != '$';
    as_buf_init(buf, 1 << 20);
    as_work_put_begin(buf, isolation, false, count);
    for (size_t i = 0; texts[i];) {
        const char *text = texts[i++];
        int64_t expect_rows = AS_EXPECT_NONE;
        uint32_t params = 0;

        if (texts[i] && texts[i][0] == '=')
            expect_rows = atoll(texts[i++] + 1);
        while (texts[i + params] && texts[i + params][0] == '$')
            params++;
        as_work_put_statement(buf, (struct as_bytes){(const uint8_t *)text, strlen(text)},
                              expect_rows, params);
        for (; params > 0; params--, i++)
            as_work_put_param(
                buf, (struct as_bytes){(const uint8_t *)texts[i] + 1, strlen(texts[i]) - 1});
    }
    assert_int_equal(buf->err, AS_OK);
    return as_buf_bytes(buf);
}

static uint64_t start(struct as_pg_op *op)
{
    op->id = ++room.next_id;
    memset(&room.answers[op->id % OPS_MAX], 0, sizeof room.answers[0]);
    room.inside = true;
    pg_start(room.pg, op);
    room.inside = false;
    return op->id;
}

static struct answer *wait_for(uint64_t id)
{
    struct answer *answer = &room.answers[id % OPS_MAX];

    WAIT_FOR(answer->there);
    assert_int_equal(answer->done.id, id);
    return answer;
}

__attribute__((unused)) static void cancel(uint64_t id)
{
    room.inside = true;
    pg_cancel(room.pg, 0, id);
    room.inside = false;
}

static int gid_number;
static char gid_last[AS_GID_LEN_MAX + 1];
static struct as_buf work_buffers[64]; /* borrowed until the operation is done */

__attribute__((unused)) static uint64_t start_branch(enum as_pg_kind kind,
                                                     enum as_isolation isolation,
                                                     uint32_t timeout_ms, const char *const *texts)
{
    struct as_pg_op op = {.kind = kind, .timeout_ms = timeout_ms};
    struct as_buf *buf = &work_buffers[++gid_number % 64];

    as_buf_close(buf);
    op.work = work(buf, isolation, texts);
    snprintf(op.gid, sizeof op.gid, GID, gid_number, gid_number);
    strcpy(gid_last, op.gid);
    return start(&op);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PREPARE(...) \
    wait_for(start_branch(AS_PG_PREPARE, AS_ISOLATION_READ_COMMITTED, 0, TEXTS(__VA_ARGS__)))
#define READ(...) \
    wait_for(start_branch(AS_PG_READ, AS_ISOLATION_READ_COMMITTED, 0, TEXTS(__VA_ARGS__)))

__attribute__((unused)) static struct answer *finish(enum as_pg_kind kind, const char *gid,
                                                     uint64_t connection, uint64_t xid)
{
    struct as_pg_op op = {.kind = kind, .connection = connection, .xid = xid};

    strcpy(op.gid, gid);
    return wait_for(start(&op));
}

__attribute__((unused)) static struct answer *read_end(enum as_pg_kind kind, uint64_t target)
{
    struct as_pg_op op = {.kind = kind, .target = target};

    return wait_for(start(&op));
}

static void release_work(void)
{
    for (size_t i = 0; i < AS_COUNT_OF(work_buffers); i++)
        as_buf_close(&work_buffers[i]);
}

/* --- a synchronous standby that never comes --- */

#define WAITING_FOR_STANDBY "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

/* The checkpointer tells the backends, some time after the reload: a write shows whether it has. */
static bool write_waits(void)
{
    PGconn *conn = server_connect();
    bool waits = false;

    assert_true(PQsendQuery(conn, "COMMENT ON DATABASE postgres IS 'written'"));
    while (!waits && PQconsumeInput(conn) && PQisBusy(conn))
        waits = strcmp(sql(WAITING_FOR_STANDBY), "0") != 0;
    if (waits) {
        PGcancel *request = PQgetCancel(conn);
        char error[256];

        assert_true(PQcancel(request, error, sizeof error));
        PQfreeCancel(request);
        WAIT_FOR(strcmp(sql(WAITING_FOR_STANDBY), "0") == 0);
    }
    PQfinish(conn);
    return waits;
}

__attribute__((unused)) static void standby_wanted(bool wanted)
{
    sql(wanted ? "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
               : "ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    if (wanted)
        WAIT_FOR(write_waits());
    else
        WAIT_FOR(strcmp(sql("SHOW synchronous_standby_names"), "") == 0);
}

#define assert_status(answer, expected)                                                 \
    do {                                                                                \
        if ((answer)->done.status != (expected))                                        \
            fail_msg("status %d, not %s: %s %s", (int)(answer)->done.status, #expected, \
                     (answer)->done.sqlstate, (answer)->message);                       \
    } while (0)

#endif
