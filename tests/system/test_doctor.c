/*
 * assent doctor: finds nothing wrong in a good cluster, and each thing that is broken, with what to do.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct sandbox sandbox;
static char agent_file[400], node_file[400];

struct diagnosis {
    int exit_code;
    char *text;
    cJSON *json;
};

static void doctor(struct diagnosis *ret, const char *const *arguments)
{
    const char *args[24] = {"doctor", "--json"};

    for (int i = 0; arguments[i]; i++) {
        assert_true(i < 20);
        args[2 + i] = arguments[i];
    }
    ret->exit_code = run_assent(args, &ret->text);
    ret->json = cJSON_Parse(ret->text);
    if (!ret->json)
        fail_msg("doctor printed: %s", ret->text);
}

static void diagnosis_free(struct diagnosis *diagnosis)
{
    cJSON_Delete(diagnosis->json);
    free(diagnosis->text);
}

static const char *member(const cJSON *finding, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(finding, key));

    return text ? text : "";
}

/* A finding of that check whose text holds `found`; whatever is not good says what to do. */
static void expect(const struct diagnosis *diagnosis, const char *verdict, const char *check,
                   const char *found)
{
    const cJSON *finding;
    bool there = false;

    cJSON_ArrayForEach(finding, cJSON_GetObjectItem(diagnosis->json, "findings"))
    {
        there |= strcmp(member(finding, "verdict"), verdict) == 0 &&
                 strcmp(member(finding, "check"), check) == 0 &&
                 strstr(member(finding, "found"), found) != NULL;
        assert_true((strcmp(member(finding, "verdict"), "ok") == 0) == !*member(finding, "do"));
    }
    if (!there)
        fail_msg("no finding %s %s \"%s\" in %s", verdict, check, found, diagnosis->text);
}

static void write_agent_file(const char *more)
{
    FILE *file = fopen(agent_file, "w");

    assert_non_null(file);
    fprintf(file, "[agent]\ncluster = sandbox\ncoordinators = %s\n%s", sandbox.nodes[0].agents,
            more);
    fclose(file);
    assert_int_equal(chmod(agent_file, 0640), 0);
}

static void write_node_file(const char *data_dir, const char *more)
{
    FILE *file = fopen(node_file, "w");

    assert_non_null(file);
    fprintf(file, "[node]\ncluster = sandbox\ndata_dir = %s\n[api]\nlisten = %s\n%s", data_dir,
            sandbox.nodes[0].api + strlen("http://"), more);
    fclose(file);
}

/* A node's file that names a file of tokens with this line. */
static void write_tokens(const char *line)
{
    char path[400], more[500];
    FILE *file;

    snprintf(path, sizeof(path), "%s/tokens", sandbox.dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(line, file);
    fclose(file);
    snprintf(more, sizeof(more), "tokens = %s\n", path);
    write_node_file(sandbox.nodes[0].dir, more);
}

static void a_good_cluster_is_found_good(void **state)
{
    char nodes[3][400], agents[2][400];
    struct diagnosis found;

    (void)state;
    for (int i = 0; i < 3; i++)
        snprintf(nodes[i], sizeof(nodes[i]), "%s/etc/node-%d.ini", sandbox.dir, i + 1);
    for (int i = 0; i < 2; i++)
        snprintf(agents[i], sizeof(agents[i]), "%s/etc/agent-%s.ini", sandbox.dir,
                 sandbox.participant[i]);
    doctor(&found, (const char *[]){"--node", nodes[0], "--node", nodes[1], "--node", nodes[2],
                                    "--agent", agents[0], "--agent", agents[1], NULL});
    if (found.exit_code != 0)
        fail_msg("exit %d: %s", found.exit_code, found.text);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(found.json, "healthy")));
    expect(&found, "ok", "config", "assentd finds it good");
    expect(&found, "ok", "config", "assent-agent finds it good");
    expect(&found, "ok", "disk", "MiB are free");
    expect(&found, "ok", "reach", "it answers");
    expect(&found, "ok", "database", "has its rights");
    expect(&found, "ok", "node", "leader in term");
    expect(&found, "ok", "clock", "of each other");
    expect(&found, "ok", "served", "up, served by");
    diagnosis_free(&found);
}

static void wrong_files_are_found(void **state)
{
    struct diagnosis found;

    (void)state;
    write_agent_file("nonsense = 1\n");
    doctor(&found, (const char *[]){"--agent", agent_file, "--api", sandbox.api, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "config", "has no key nonsense");
    diagnosis_free(&found);

    /* A file that holds a password: nobody else may read it, and nobody reads it here either. */
    write_agent_file("[participant.bank_a]\ndsn = host=127.0.0.1 port=1 password=sesame\n");
    assert_int_equal(chmod(agent_file, 0644), 0);
    doctor(&found, (const char *[]){"--agent", agent_file, "--api", sandbox.api, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "config", "everybody may read it");
    expect(&found, "fail", "database", "onnection");
    assert_null(strstr(found.text, "sesame"));
    diagnosis_free(&found);

    /* Tokens: one that is over, and a file that its daemon refuses. */
    write_tokens("old role=viewer certificate expires=2020-01-01T00:00:00Z\n");
    doctor(&found, (const char *[]){"--node", node_file, "--api", sandbox.api, NULL});
    expect(&found, "warn", "tokens", "old may ask until 2020-01-01T00:00:00Z");
    diagnosis_free(&found);
    write_tokens("old role=king certificate\n");
    doctor(&found, (const char *[]){"--node", node_file, "--api", sandbox.api, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "config", "line 1: role is one or several");
    expect(&found, "fail", "tokens", "line 1: role is one or several");
    diagnosis_free(&found);

    doctor(&found, (const char *[]){"--node", "/nonexistent.ini", "--api", sandbox.api, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "config", "No such file");
    diagnosis_free(&found);
}

static void bad_disks_are_found(void **state)
{
    struct diagnosis found;
    char missing[400];

    (void)state;
    write_node_file("/dev/shm/assent-test-doctor", "");
    doctor(&found, (const char *[]){"--node", node_file, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "disk", "it is in memory");
    expect(&found, "warn", "disk", "there is no decision log");
    diagnosis_free(&found);

    snprintf(missing, sizeof(missing), "%s/no/such/dir", sandbox.dir);
    write_node_file(missing, "");
    doctor(&found, (const char *[]){"--node", node_file, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "disk", "No such file");
    diagnosis_free(&found);

    /* No machine has room for segments of 8 PiB; the daemon refuses them, too. */
    snprintf(missing, sizeof(missing), "%s/new", sandbox.dir);
    write_node_file(missing, "[log]\nsegment_kib = 9000000000000\n");
    doctor(&found, (const char *[]){"--node", node_file, NULL});
    expect(&found, "fail", "disk", "MiB are free;");
    expect(&found, "fail", "config", "segment_kib");
    diagnosis_free(&found);
}

static void wrong_databases_are_found(void **state)
{
    PGconn *db = db_connect(&sandbox, 0);
    struct diagnosis found;
    char more[900];

    (void)state;
    db_exec(db, "CREATE ROLE poor LOGIN");
    db_exec(db, "ALTER ROLE poor SET synchronous_commit = off");
    db_exec(db, "ALTER SYSTEM SET fsync = off");
    db_exec(db, "ALTER SYSTEM SET full_page_writes = off");
    db_exec(db, "SELECT pg_reload_conf()");
    snprintf(more, sizeof(more), "[participant.bank_a]\ndsn = %s user=poor\nconnections = 900\n",
             sandbox.dsn[0]);
    write_agent_file(more);
    /* The server takes the settings in when it likes. */
    for (int64_t until = now_ms() + DEADLINE_MS;;) {
        doctor(&found, (const char *[]){"--agent", agent_file, "--api", sandbox.api, NULL});
        if (strstr(found.text, "full_page_writes is off") || now_ms() > until)
            break;
        diagnosis_free(&found);
    }
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "database", "fsync is off");
    expect(&found, "warn", "database", "full_page_writes is off");
    expect(&found, "warn", "database", "synchronous_commit is off");
    expect(&found, "warn", "database", "below the agent's 900 connections");
    expect(&found, "warn", "database", "connections are free");
    expect(&found, "fail", "database", "may not use assent.identity");
    diagnosis_free(&found);
    db_exec(db, "ALTER SYSTEM RESET ALL");
    db_exec(db, "SELECT pg_reload_conf()");
    PQfinish(db);
}

/* --- A node whose clock is an hour ahead: one that only answers what doctor asks --- */

static void answer_one(int client, const char *body, int64_t ahead_s)
{
    char request[2048], date[64], answer[1024];
    time_t then = time(NULL) + (time_t)ahead_s;
    struct tm utc;

    if (read(client, request, sizeof(request)) > 0) {
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &utc));
        snprintf(
            answer, sizeof(answer),
            "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
            date, strlen(body), body);
        if (write(client, answer, strlen(answer)) < 0)
            _exit(1);
    }
    close(client);
}

static pid_t start_node_ahead(uint16_t *ret_port, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            int client = accept(listener, NULL, NULL);

            if (client >= 0)
                answer_one(client, body, 3600);
        }
    }
    close(listener);
    return pid;
}

static void clocks_apart_and_strangers_are_found(void **state)
{
    struct diagnosis found;
    char apis[300];
    uint16_t port;
    pid_t pid =
        start_node_ahead(&port, "{\"cluster\":\"other\",\"incarnation\":\"x\",\"node\":9,"
                                "\"version\":\"9.9.9\",\"role\":\"follower\",\"leader\":1}");

    (void)state;
    snprintf(apis, sizeof(apis), "%s,http://127.0.0.1:%u", sandbox.api, port);
    doctor(&found, (const char *[]){"--api", apis, NULL});
    kill(pid, SIGKILL);
    assert_int_equal(found.exit_code, 1);
    expect(&found, "warn", "clock", "it is 36"); /* 3600.0 s, or 3599.9 */
    expect(&found, "fail", "node", "its cluster is other");
    expect(&found, "fail", "node", "its incarnation is x");
    expect(&found, "warn", "node", "its version is 9.9.9");
    diagnosis_free(&found);
}

static bool agent_is_down(void *ctx)
{
    const char *args[] = {"participant", "show",      sandbox.participant[1],
                          "--api",       sandbox.api, NULL};

    (void)ctx;
    return run_assent(args, NULL) == 1;
}

/* The last one: it breaks the sandbox. */
static void what_does_not_run_is_found(void **state)
{
    char apis[500], more[900];
    struct diagnosis found;

    (void)state;
    snprintf(apis, sizeof(apis), "%s,%s,%s", sandbox.nodes[0].api, sandbox.nodes[1].api,
             sandbox.nodes[2].api);
    sandbox_do(&sandbox, "kill", "agent-bank_b", NULL);
    wait_for("the agent's end is seen", agent_is_down, NULL, DEADLINE_MS);
    sandbox_do(&sandbox, "kill", "node-2", NULL);
    snprintf(more, sizeof(more), "[participant.bank_a]\ndsn = %s\n", sandbox.dsn[0]);
    write_agent_file(more);
    doctor(&found, (const char *[]){"--api", apis, "--agent", agent_file, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "node", "does not answer");
    expect(&found, "fail", "served", "it is down");
    diagnosis_free(&found);

    sandbox_do(&sandbox, "kill", "node-1", NULL);
    doctor(&found, (const char *[]){"--api", apis, "--agent", agent_file, NULL});
    assert_int_equal(found.exit_code, 1);
    expect(&found, "fail", "reach", "efused");
    diagnosis_free(&found);
}

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, (const char *[]){"--nodes", "3", NULL});
    snprintf(agent_file, sizeof(agent_file), "%s/doctor-agent.ini", sandbox.dir);
    snprintf(node_file, sizeof(node_file), "%s/doctor-node.ini", sandbox.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sandbox_stop(&sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_cluster_is_found_good),
        cmocka_unit_test(wrong_files_are_found),
        cmocka_unit_test(bad_disks_are_found),
        cmocka_unit_test(wrong_databases_are_found),
        cmocka_unit_test(clocks_apart_and_strangers_are_found),
        cmocka_unit_test(what_does_not_run_is_found),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
