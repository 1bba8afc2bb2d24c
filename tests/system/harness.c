#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGS_MAX 48
#define OUTPUT_MAX (4u << 20)

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void wait_for(const char *what, bool (*met)(void *ctx), void *ctx, int64_t deadline_ms)
{
    int64_t until = now_ms() + deadline_ms;

    while (!met(ctx)) {
        if (now_ms() >= until)
            fail_msg("waited %lld ms in vain for: %s", (long long)deadline_ms, what);
        poll(NULL, 0, 20);
    }
}

/* --- Processes --- */

static char *assent_program(void)
{
    return AS_TEST_BIN "/assent";
}

/* Starts `assent args...` with stdout in a pipe. The child dies with this process. */
static pid_t start_assent(const char *const *args, int *ret_stdout)
{
    char *argv[ARGS_MAX] = {assent_program()};
    int pipe_fds[2];
    pid_t pid;
    int count = 1;

    for (; args[count - 1]; count++) {
        assert_true(count < ARGS_MAX - 1);
        argv[count] = (char *)(uintptr_t)args[count - 1];
    }
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(pipe_fds[1], STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    close(pipe_fds[1]);
    *ret_stdout = pipe_fds[0];
    return pid;
}

/* Reads until `stop_at_newline` finds one, or the end. */
static char *read_output(int fd, bool stop_at_newline, int64_t deadline_ms)
{
    int64_t until = now_ms() + deadline_ms;
    size_t len = 0, cap = 4096;
    char *text = malloc(cap);

    assert_non_null(text);
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        ssize_t got;

        if (left <= 0 || poll(&wait, 1, (int)left) == 0)
            fail_msg("no output within %lld ms", (long long)deadline_ms);
        got = read(fd, text + len, cap - len - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
        if (stop_at_newline && memchr(text, '\n', len))
            break;
        if (len + 1 == cap) {
            assert_true(cap < OUTPUT_MAX);
            text = realloc(text, cap *= 2);
            assert_non_null(text);
        }
    }
    text[len] = 0;
    return text;
}

int run_assent(const char *const *args, char **ret_out)
{
    int out, status;
    pid_t pid = start_assent(args, &out);
    char *text = read_output(out, false, DEADLINE_MS * 2);

    close(out);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (ret_out)
        *ret_out = text;
    else
        free(text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- The sandbox --- */

void token_read(const char *path, char ret_token[128])
{
    FILE *file = fopen(path, "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%127s", ret_token), 1);
    fclose(file);
}

static void read_description(struct sandbox *sandbox, const char *line)
{
    cJSON *json = cJSON_Parse(line);
    const cJSON *databases, *database, *node;

    if (!json)
        fail_msg("assent sandbox --json printed: %s", line);
    snprintf(sandbox->api, sizeof(sandbox->api), "%s",
             cJSON_GetArrayItem(cJSON_GetObjectItem(json, "api"), 0)->valuestring);
    snprintf(sandbox->incarnation, sizeof(sandbox->incarnation), "%s",
             cJSON_GetObjectItem(json, "incarnation")->valuestring);
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(json, "nodes"))
    {
        int i = sandbox->node_count++;

        assert_true(i < SANDBOX_NODES_MAX);
        sandbox->nodes[i].id = cJSON_GetObjectItem(node, "id")->valueint;
#define COPY_TEXT(to, key) \
    snprintf(to, sizeof(to), "%s", cJSON_GetObjectItem(node, key)->valuestring)
        COPY_TEXT(sandbox->nodes[i].name, "name");
        COPY_TEXT(sandbox->nodes[i].api, "api");
        COPY_TEXT(sandbox->nodes[i].agents, "agents");
        COPY_TEXT(sandbox->nodes[i].dir, "dir");
#undef COPY_TEXT
    }
    if (cJSON_GetObjectItem(json, "tls")) {
        char ca[400], token[128];

        snprintf(ca, sizeof(ca), "%s/ca.pem", cJSON_GetObjectItem(json, "tls")->valuestring);
        setenv("ASSENT_CA", ca, 1); /* of our own requests, and of `assent` */
        token_read(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "tokens"), "all")->valuestring,
                   token);
        setenv("ASSENT_TOKEN", token, 1);
    }
    databases = cJSON_GetObjectItem(json, "databases");
    cJSON_ArrayForEach(database, databases)
    {
        int i = sandbox->database_count++;

        assert_true(i < SANDBOX_DATABASES_MAX);
        snprintf(sandbox->participant[i], sizeof(sandbox->participant[i]), "%s",
                 cJSON_GetObjectItem(database, "participant")->valuestring);
        snprintf(sandbox->dsn[i], sizeof(sandbox->dsn[i]), "%s",
                 cJSON_GetObjectItem(database, "dsn")->valuestring);
    }
    cJSON_Delete(json);
}

bool no_agents(void)
{
    return getenv("ASSENT_NO_AGENTS") != NULL;
}

const char *agent_of(const char *participant)
{
    static char name[80];

    snprintf(name, sizeof(name), "agent-%s", participant);
    return no_agents() ? "node-1" : name;
}

void sandbox_start(struct sandbox *sandbox, const char *const *extra)
{
    const char *args[ARGS_MAX] = {"sandbox", "--json", "--dir", sandbox->dir};
    const char *base = getenv("TMPDIR");
    int out, count = 4;
    char *line;

    memset(sandbox, 0, sizeof(*sandbox));
    snprintf(sandbox->dir, sizeof(sandbox->dir), "%s/assent-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(sandbox->dir));
    for (int i = 0; extra && extra[i]; i++)
        args[count++] = extra[i];
    if (no_agents())
        args[count++] = "--no-agents";
    if (getenv("ASSENT_TLS"))
        args[count++] = "--tls";
    sandbox->pid = start_assent(args, &out);
    line = read_output(out, true, DEADLINE_MS * 2);
    close(out);
    read_description(sandbox, line);
    free(line);
}

void sandbox_stop(struct sandbox *sandbox)
{
    char command[320];
    int status;

    if (sandbox->pid <= 0)
        return;
    kill(sandbox->pid, SIGTERM);
    assert_int_equal(waitpid(sandbox->pid, &status, 0), sandbox->pid);
    sandbox->pid = 0;
    assert_true(WIFEXITED(status) || WIFSIGNALED(status));
    snprintf(command, sizeof(command), "rm -rf '%s'", sandbox->dir);
    assert_int_equal(system(command), 0);
}

static int control(const struct sandbox *sandbox, const char *verb, const char *name,
                   const char *const *env, char **ret_out)
{
    const char *args[ARGS_MAX] = {"sandbox", verb, name, "--dir", sandbox->dir};
    int count = 5;

    for (int i = 0; env && env[i]; i++) {
        args[count++] = "--env";
        args[count++] = env[i];
    }
    return run_assent(args, ret_out);
}

int sandbox_try(const struct sandbox *sandbox, const char *verb, const char *name,
                const char *const *env)
{
    return control(sandbox, verb, name, env, NULL);
}

void sandbox_do(const struct sandbox *sandbox, const char *verb, const char *name,
                const char *const *env)
{
    char *out;
    int status = control(sandbox, verb, name, env, &out);

    if (status != 0)
        fail_msg("assent sandbox %s %s: exit %d: %s", verb, name, status, out);
    free(out);
}

pid_t sandbox_pid(const struct sandbox *sandbox, const char *name)
{
    const char *args[] = {"sandbox", "status", "--json", "--dir", sandbox->dir, NULL};
    const cJSON *process;
    pid_t pid = 0;
    cJSON *json;
    char *out;

    assert_int_equal(run_assent(args, &out), 0);
    json = cJSON_Parse(out);
    assert_non_null(json);
    cJSON_ArrayForEach(process, cJSON_GetObjectItem(json, "processes"))
    {
        if (strcmp(cJSON_GetObjectItem(process, "name")->valuestring, name) == 0)
            pid = cJSON_GetObjectItem(process, "pid")->valueint;
    }
    cJSON_Delete(json);
    free(out);
    return pid;
}

bool sandbox_running(const struct sandbox *sandbox, const char *name)
{
    return sandbox_pid(sandbox, name) != 0;
}

void sandbox_print_logs(const struct sandbox *sandbox)
{
    char command[400];

    snprintf(command, sizeof(command), "tail -n 40 %s/log/*.log >&2", sandbox->dir);
    assert_int_equal(system(command), 0);
}

/* --- HTTP --- */

void http(const struct sandbox *sandbox, const char *path, const char *body, long timeout_ms,
          struct answer *ret_answer)
{
    http_at(sandbox->api, NULL, path, body, timeout_ms, ret_answer);
}

void assert_status(const struct answer *answer, long status)
{
    if (answer->status != status)
        fail_msg("expected HTTP %ld, got %ld: %s", status, answer->status,
                 answer->body ? answer->body : "(no answer)");
}

/* --- PostgreSQL --- */

static PGconn *try_connect(const struct sandbox *sandbox, int database)
{
    PGconn *db = PQconnectdb(sandbox->dsn[database]);

    if (PQstatus(db) == CONNECTION_OK)
        return db;
    PQfinish(db);
    return NULL;
}

PGconn *db_connect(const struct sandbox *sandbox, int database)
{
    PGconn *db = try_connect(sandbox, database);

    if (!db)
        fail_msg("cannot connect to %s", sandbox->participant[database]);
    return db;
}

void db_exec(PGconn *db, const char *sql)
{
    PGresult *result = PQexec(db, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(db));
    PQclear(result);
}

int64_t db_number(PGconn *db, const char *sql)
{
    PGresult *result = PQexec(db, sql);
    int64_t number;

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        fail_msg("%s: %s", sql, PQerrorMessage(db));
    number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

int64_t db_prepared_count(const struct sandbox *sandbox, int database)
{
    PGconn *db = try_connect(sandbox, database);
    int64_t count = -1;
    PGresult *result;

    if (!db)
        return -1;
    result = PQexec(db, "SELECT count(*) FROM pg_prepared_xacts");
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        count = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(db);
    return count;
}

static bool nothing_prepared(void *ctx)
{
    const struct sandbox *sandbox = ctx;

    for (int i = 0; i < sandbox->database_count; i++)
        if (db_prepared_count(sandbox, i) != 0)
            return false;
    return true;
}

/* What is prepared, since when, for the one who looks for the reason. */
static void print_prepared(const struct sandbox *sandbox, int database)
{
    PGconn *db = try_connect(sandbox, database);
    PGresult *result = PQexec(db, "SELECT gid, now() - prepared FROM pg_prepared_xacts");

    for (int i = 0; i < PQntuples(result); i++)
        print_message("prepared in %s: %s, for %s\n", sandbox->participant[database],
                      PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
    PQclear(result);
    PQfinish(db);
}

void wait_nothing_prepared(const struct sandbox *sandbox, int64_t deadline_ms)
{
    int64_t until = now_ms() + deadline_ms;

    while (!nothing_prepared((void *)(uintptr_t)sandbox)) {
        if (now_ms() >= until) {
            for (int i = 0; i < sandbox->database_count; i++)
                print_prepared(sandbox, i);
            sandbox_print_logs(sandbox);
            fail_msg("something is prepared still after %lld ms", (long long)deadline_ms);
        }
        poll(NULL, 0, 20);
    }
}

/* --- Money --- */

void transfer_body(char *ret_body, size_t size, const char *id, int64_t from, int64_t to,
                   int64_t amount, const char *more)
{
    int len = snprintf(
        ret_body, size,
        "{\"id\":\"%s\"%s,\"branches\":["
        "{\"participant\":\"bank_a\",\"statements\":["
        "{\"sql\":\"UPDATE accounts SET balance = balance - $1 WHERE id = "
        "$2\",\"params\":[%lld,%lld],"
        "\"expect_rows\":1},"
        "{\"sql\":\"INSERT INTO ledger (txn, account, amount) VALUES ($1, $2, -$3::bigint)\","
        "\"params\":[\"%s\",%lld,%lld]}]},"
        "{\"participant\":\"bank_b\",\"statements\":["
        "{\"sql\":\"UPDATE accounts SET balance = balance + $1 WHERE id = "
        "$2\",\"params\":[%lld,%lld],"
        "\"expect_rows\":1},"
        "{\"sql\":\"INSERT INTO ledger (txn, account, amount) VALUES ($1, $2, $3)\","
        "\"params\":[\"%s\",%lld,%lld]}]}]}",
        id, more ? more : "", (long long)amount, (long long)from, id, (long long)from,
        (long long)amount, (long long)amount, (long long)to, id, (long long)to, (long long)amount);

    assert_true(len > 0 && (size_t)len < size);
}

int64_t money_total(const struct sandbox *sandbox)
{
    int64_t total = 0;

    for (int i = 0; i < sandbox->database_count; i++) {
        PGconn *db = db_connect(sandbox, i);

        total += db_number(db, "SELECT coalesce(sum(balance), 0)::bigint FROM accounts");
        PQfinish(db);
    }
    return total;
}

int64_t ledger_count(const struct sandbox *sandbox, int database, const char *id)
{
    PGconn *db = db_connect(sandbox, database);
    char sql[256];
    int64_t count;

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM ledger WHERE txn = '%s'", id);
    count = db_number(db, sql);
    PQfinish(db);
    assert_in_range(count, 0, 1);
    return count;
}
