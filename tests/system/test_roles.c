/*
 * Every route and every method of the API, asked by everybody there may be: strangers, apps, viewers and operators with
 * tokens and with certificates, and those whose certificates are for something else. At the leader and at a follower.
 *
 * `rows` has one row for each route of answer.h: a route without one fails the test.
 */
#include "nodes.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "coordinator/api/answer.h"
#include "tests/support/tls_files.h"

#define CALL_MS 30000L
#define APP AS_ROLE_APP
#define VIEWER AS_ROLE_VIEWER
#define OPERATOR AS_ROLE_OPERATOR
#define ANYBODY (APP | VIEWER | OPERATOR)
#define BRANCH(participant) \
    "{\"participant\":\"" participant "\",\"statements\":[{\"sql\":\"SELECT 1\"}]}"
#define PREPARED "/v1/participants/bank_a/prepared"

static struct sandbox sandbox;
static char tls_dir[300], own_dir[300];

/* --- What may be asked --- */

struct row {
    const char *method, *path, *body;
    unsigned roles; /* who may */
    int status;     /* what those hear */
    int of_others;  /* what an app hears that may not use bank_a; 0: the same */
};

static const struct row rows[ROUTE_COUNT] = {
    [ROUTE_NONE] = {"GET", "/nothing/here", NULL, ANYBODY, 404, 0},
    [ROUTE_TXN_SUBMIT] = {"POST", "/v1/transactions",
                          "{\"branches\":[" BRANCH("bank_b") "," BRANCH("bank_a") "]}", APP, 200,
                          403},
    [ROUTE_TXN_LIST] = {"GET", "/v1/transactions", NULL, ANYBODY, 200, 0},
    [ROUTE_TXN_GET] = {"GET", "/v1/transactions/known", NULL, ANYBODY, 200, 403},
    [ROUTE_TXN_ACKNOWLEDGE] = {"POST", "/v1/transactions/known/branches/1/acknowledge",
                               "{\"reason\":\"a test\"}", OPERATOR, 409, 0},
    [ROUTE_PARTICIPANTS] = {"GET", "/v1/participants", NULL, VIEWER | OPERATOR, 200, 0},
    [ROUTE_PARTICIPANT] = {"GET", "/v1/participants/bank_a", NULL, VIEWER | OPERATOR, 200, 0},
    [ROUTE_PREPARED] = {"GET", PREPARED, NULL, VIEWER | OPERATOR, 200, 0},
    [ROUTE_RESOLVE] = {"POST", PREPARED "/not-ours/resolve",
                       "{\"decision\":\"abort\",\"reason\":\"a test\"}", OPERATOR, 409, 0},
    [ROUTE_CLUSTER] = {"GET", "/v1/cluster", NULL, VIEWER | OPERATOR, 200, 0},
    [ROUTE_CLUSTER_ADD] = {"POST", "/v1/cluster/nodes", "{\"id\":1,\"address\":\"127.0.0.1:1\"}",
                           OPERATOR, 409, 0},
    [ROUTE_CLUSTER_REMOVE] = {"DELETE", "/v1/cluster/nodes/99", NULL, OPERATOR, 409, 0},
    [ROUTE_CLUSTER_TRANSFER] = {"POST", "/v1/cluster/transfer", "{\"to\":99}", OPERATOR, 409, 0},
    [ROUTE_CLUSTER_SNAPSHOT] = {"POST", "/v1/cluster/snapshot", "{}", OPERATOR, 202, 0},
    [ROUTE_HEALTH] = {"GET", "/healthz", NULL, ANYBODY, 200, 0},
    [ROUTE_READY] = {"GET", "/readyz", NULL, ANYBODY, 200, 0},
    [ROUTE_METRICS] = {"GET", "/metrics", NULL, VIEWER | OPERATOR, 200, 0},
    [ROUTE_OPENAPI] = {"GET", "/openapi.yaml", NULL, ANYBODY, 200, 0},
    [ROUTE_PAGE] = {"GET", "/", NULL, ANYBODY, 200, 0},
};

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};

/* --- Who may ask --- */

#define STRANGER 401 /* hears that everywhere */
#define NO_ROLE 403  /* the same */
#define CUT_OFF 1    /* no answer at all: the handshake fails */

struct caller {
    const char *name;
    const char
        *token; /* the sandbox's, or one of ours by its name; else what is shown as it stands */
    const char *certificate; /* in the sandbox's directory, or ours; NULL: none */
    unsigned roles;
    bool others; /* an app of bank_b alone */
    int fate;    /* 0: its roles count */
};

static const struct caller callers[] = {
    {"nobody", NULL, NULL, 0, false, STRANGER},
    {"garbage", "Bearer garbage", NULL, 0, false, STRANGER},
    {"an unknown token",
     "Bearer assent_0000000000000000000000000000000000000000000000000000000000000000", NULL, 0,
     false, STRANGER},
    {"no token", "Basic YWxhZGRpbjpvcGVuc2VzYW1l", NULL, 0, false, STRANGER},
    {"an expired token", "past", NULL, 0, false, STRANGER},
    {"an app", "app", NULL, APP, false, 0},
    {"an app of another participant", "narrow", NULL, APP, true, 0},
    {"a viewer", "viewer", NULL, VIEWER, false, 0},
    {"an operator", "operator", NULL, OPERATOR, false, 0},
    {"one with all roles", "all", NULL, ANYBODY, false, 0},
    {"an app and viewer of another participant", "both", NULL, APP | VIEWER, true, 0},
    {"an app's certificate", NULL, "app-sandbox", APP, false, 0},
    {"an app's certificate of another participant", NULL, "app-narrow", APP, true, 0},
    {"an app's certificate without a line", NULL, "app-lineless", 0, false, NO_ROLE},
    {"a viewer's certificate", NULL, "viewer-sandbox", VIEWER, false, 0},
    {"a viewer's certificate that was ended", NULL, "viewer-gone", 0, false, STRANGER},
    {"an operator's certificate", NULL, "operator-sandbox", OPERATOR, false, 0},
    {"an operator's certificate and garbage", "Bearer garbage", "operator-sandbox", 0, false,
     STRANGER},
    {"an operator's certificate and an app's token", "app", "operator-sandbox", APP, false, 0},
    {"an agent's certificate", NULL, "agent-bank_a", 0, false, NO_ROLE},
    {"a node's certificate", NULL, "node-1", 0, false, NO_ROLE},
    {"another cluster's operator", NULL, "elsewhere", 0, false, NO_ROLE},
    {"a certificate without a name", NULL, "nameless", 0, false, STRANGER},
    {"a foreign authority's operator", NULL, "foreign", 0, false, CUT_OFF},
    {"an operator's certificate that is over", NULL, "over", 0, false, CUT_OFF},
};

static bool is_there(const char *dir, const char *name, const char *suffix, char ret_path[400])
{
    snprintf(ret_path, 400, "%s/%s%s", dir, name, suffix);
    return access(ret_path, R_OK) == 0;
}

static void show_certificate(CURL *curl, const char *name)
{
    char path[400], key[400];
    bool well =
        (is_there(tls_dir, name, ".pem", path) && is_there(tls_dir, name, "-key.pem", key)) ||
        (is_there(own_dir, name, ".pem", path) && is_there(own_dir, name, "-key.pem", key));

    if (!well)
        fail_msg("there is no certificate %s", name);
    curl_easy_setopt(curl, CURLOPT_SSLCERT, path);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, key);
}

/* The header's value. */
static void token_text(const char *token, char ret_text[200])
{
    char path[400], value[128], etc[300];

    snprintf(ret_text, 200, "%s", token);
    snprintf(etc, sizeof(etc), "%s/etc", sandbox.dir);
    if (!is_there(etc, token, ".token", path) && !is_there(own_dir, token, ".token", path))
        return;
    token_read(path, value);
    snprintf(ret_text, 200, "Bearer %s", value);
}

struct asker {
    CURL *curl;
    struct curl_slist *headers;
};

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

static struct asker asker_open(const struct caller *caller)
{
    struct asker asker = {curl_easy_init(),
                          curl_slist_append(NULL, "Content-Type: application/json")};
    char value[200], header[256];

    assert_non_null(asker.curl);
    curl_easy_setopt(asker.curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(asker.curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(asker.curl, CURLOPT_TIMEOUT_MS, CALL_MS);
    curl_easy_setopt(asker.curl, CURLOPT_CAINFO, getenv("ASSENT_CA"));
    curl_easy_setopt(asker.curl, CURLOPT_WRITEFUNCTION, drop);
    if (caller->token) {
        token_text(caller->token, value);
        snprintf(header, sizeof(header), "Authorization: %s", value);
        asker.headers = curl_slist_append(asker.headers, header);
    }
    if (caller->certificate)
        show_certificate(asker.curl, caller->certificate);
    curl_easy_setopt(asker.curl, CURLOPT_HTTPHEADER, asker.headers);
    return asker;
}

static void asker_close(struct asker *asker)
{
    curl_easy_cleanup(asker->curl);
    curl_slist_free_all(asker->headers);
}

/* The status; 0: there was no answer. */
static long ask(struct asker *asker, const char *api, const char *method, const char *path,
                const char *body)
{
    char url[512];
    long status = 0;
    bool head = strcmp(method, "HEAD") == 0;

    snprintf(url, sizeof(url), "%s%s", api, path);
    curl_easy_setopt(asker->curl, CURLOPT_URL, url);
    curl_easy_setopt(asker->curl, CURLOPT_HTTPGET, 1L);
    if (body) {
        curl_easy_setopt(asker->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(asker->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    }
    curl_easy_setopt(asker->curl, CURLOPT_NOBODY, head ? 1L : 0L);
    curl_easy_setopt(asker->curl, CURLOPT_CUSTOMREQUEST, head ? NULL : method);
    if (curl_easy_perform(asker->curl) == CURLE_OK)
        curl_easy_getinfo(asker->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* --- All of them --- */

/* What that path takes by that method; NULL: nothing. */
static const struct row *row_of(const char *path, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if (strcmp(rows[i].path, path) == 0 && strcmp(rows[i].method, method) == 0)
            return &rows[i];
    return NULL;
}

static long expected(const struct caller *caller, const char *path, const char *method)
{
    const struct row *row = row_of(path, method);

    if (caller->fate == CUT_OFF)
        return 0;
    if (caller->fate)
        return caller->fate;
    if (strcmp(path, rows[ROUTE_NONE].path) == 0)
        return 404;
    if (!row)
        return 405;
    if (!(row->roles & caller->roles))
        return 403;
    /* Who is a viewer too may read what is about others, and still not write there. */
    if (caller->others && row->of_others && !(row->roles & caller->roles & VIEWER))
        return row->of_others;
    return row->status;
}

static void walk(const struct caller *caller, const char *api)
{
    struct asker asker = asker_open(caller);

    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        for (size_t m = 0; m < AS_COUNT_OF(methods); m++) {
            const struct row *row = row_of(rows[i].path, methods[m]);
            const char *body = row ? row->body : strcmp(methods[m], "POST") == 0 ? "{}" : NULL;
            long status = ask(&asker, api, methods[m], rows[i].path, body);

            if (status != expected(caller, rows[i].path, methods[m]))
                fail_msg("%s: %s %s: %ld, not %ld", caller->name, methods[m], rows[i].path, status,
                         expected(caller, rows[i].path, methods[m]));
        }
    }
    asker_close(&asker);
}

static void every_route_has_a_row(void **state)
{
#define ROW(name, method, path, roles) {#name, method},
    static const struct {
        const char *name, *method;
    } routes[] = {ANSWER_ROUTE_MAP(ROW)};
#undef ROW

    (void)state;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!rows[i].path)
            fail_msg("route %s has no row here", routes[i].name);
        if (i != ROUTE_NONE)
            assert_string_equal(rows[i].method, routes[i].method);
    }
}

static void every_route_with_every_role(void **state)
{
    static const struct caller app = {"an app", "app", NULL, APP, false, 0};
    struct asker asker = asker_open(&app);
    int leader = leader_find(&sandbox);
    int follower = (leader + 1) % sandbox.node_count;

    (void)state;
    assert_int_equal(ask(&asker, sandbox.api, "POST", "/v1/transactions",
                         "{\"id\":\"known\",\"branches\":[" BRANCH("bank_a") "]}"),
                     200);
    asker_close(&asker);
    for (size_t i = 0; i < AS_COUNT_OF(callers); i++) {
        walk(&callers[i], sandbox.nodes[leader].api);
        walk(&callers[i], sandbox.nodes[follower].api);
    }
    assert_int_equal(leader_find(&sandbox), leader); /* nobody has changed the cluster */
}

/* What is counted, and what is written down. */
static void refusals_and_operators_are_told(void **state)
{
    static const char *const codes[] = {"no_credentials", "unknown_token", "credentials_expired",
                                        "no_role",        "wrong_role",    "wrong_participant"};
    int leader = leader_find(&sandbox);
    char line[128];
    struct answer answer;

    (void)state;
    http_at(sandbox.nodes[leader].api, NULL, "/metrics", NULL, CALL_MS, &answer);
    assert_status(&answer, 200);
    for (size_t i = 0; i < AS_COUNT_OF(codes); i++) {
        snprintf(line, sizeof(line), "assent_http_refused_total{code=\"%s\"} ", codes[i]);
        assert_non_null(strstr(answer.body, line));
        strcat(line, "0\n");
        if (strstr(answer.body, line))
            fail_msg("was not counted: %s", line);
    }
    answer_free(&answer);
    wait_log_says(&sandbox, sandbox.nodes[leader].name, "event=request_refused peer=127.0.0.1:");
    wait_log_says(&sandbox, sandbox.nodes[leader].name, "event=operator who=operator");
}

static void no_log_has_a_token(void **state)
{
    char command[700];

    (void)state;
    snprintf(command, sizeof(command), "! grep -rEl 'assent_[0-9a-f]{64}' %s/log", sandbox.dir);
    assert_int_equal(system(command), 0);
}

/* --- Other tokens --- */

static char tokens_path[300];

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
    char command[1200];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Has the node read its files again; the log says what has come of it. */
static void reload(int place, const char *what)
{
    node_reload(&sandbox, sandbox.nodes[place].name, what);
}

/* A token of ours: in a file of its own, and its line in the sandbox's. */
static void token_add(const char *name, const char *rest)
{
    shell("umask 077; %s/assent token new --name %s %s --file %s > %s/%s.token", AS_TEST_BIN, name,
          rest, tokens_path, own_dir, name);
}

static void a_lost_token_is_shut_out_at_once(void **state)
{
    static const struct caller lost = {"a lost one", "lost", NULL, VIEWER, false, 0};
    struct asker asker;

    (void)state;
    token_add("lost", "--role viewer");
    reload(0, "event=tokens_reloaded");
    asker = asker_open(&lost);
    assert_int_equal(ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL), 200);
    shell("sed -i /^lost/d %s", tokens_path);
    reload(0, "event=tokens_reloaded");
    /* On the connection that it has. */
    assert_int_equal(ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL), 401);
    asker_close(&asker);
}

/* A viewer's, that ends in so many seconds. */
static void make_short(int seconds)
{
    struct certificate_spec spec = {.name = "short",
                                    .principal = "assent://sandbox/viewer/short",
                                    .begins = (int64_t)time(NULL) - 60,
                                    .ends = (int64_t)time(NULL) + seconds};
    struct certificate_pem ours, made;
    char path[400], why[CERTIFICATE_WHY_BYTES];

    test_tls_take(tls_dir, "ca.pem", &ours.certificate);
    test_tls_take(tls_dir, "ca-key.pem", &ours.key);
    if (certificate_make(&spec, &ours, &made, why))
        fail_msg("%s", why);
    snprintf(path, sizeof(path), "%s/short.pem", own_dir);
    test_tls_write(path, &made.certificate, 0644);
    snprintf(path, sizeof(path), "%s/short-key.pem", own_dir);
    test_tls_write(path, &made.key, 0600);
    certificate_close(&ours);
    certificate_close(&made);
}

static bool is_over(void *ctx)
{
    long status = ask(ctx, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL);

    assert_true(status == 200 || status == 401);
    return status == 401;
}

static void a_certificate_ends_on_an_open_connection(void **state)
{
    static const struct caller caller = {"a short one", NULL, "short", VIEWER, false, 0};
    bool used = false;

    (void)state;
    /* The next one is for a machine that is too slow for this one. */
    for (int seconds = 3; seconds < 100 && !used; seconds *= 2) {
        struct asker asker;
        long connects = -1;

        make_short(seconds);
        asker = asker_open(&caller);
        used = ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL) == 200;
        if (used) {
            wait_for("its certificate is over", is_over, &asker, DEADLINE_MS);
            curl_easy_getinfo(asker.curl, CURLINFO_NUM_CONNECTS, &connects);
            assert_int_equal(connects, 0); /* on the connection that it had */
        }
        asker_close(&asker);
    }
    assert_true(used);
}

static void a_bad_file_changes_nothing(void **state)
{
    static const struct caller late = {"one in a bad file", "late", NULL, VIEWER, false, STRANGER};
    static const struct caller viewer = {"a viewer", "viewer", NULL, VIEWER, false, 0};
    struct asker asker;

    (void)state;
    token_add("late", "--role viewer");
    shell("cp %s %s/kept && echo 'eve role=king certificate' >> %s", tokens_path, own_dir,
          tokens_path);
    reload(0, "event=certificates_not_reloaded");
    assert_true(log_says(&sandbox, "node-1", "role is one or several of app, viewer and operator"));
    asker = asker_open(&late);
    assert_int_equal(ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL), 401);
    asker_close(&asker);
    asker = asker_open(&viewer);
    assert_int_equal(ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL), 200);
    asker_close(&asker);
    shell("cp %s/kept %s", own_dir, tokens_path);
    reload(0, "event=tokens_reloaded");
    asker = asker_open(&late);
    assert_int_equal(ask(&asker, sandbox.nodes[0].api, "GET", "/v1/cluster", NULL), 200);
    asker_close(&asker);
}

/* --- The command --- */

static int token_new(const char *const *more, const char *file, char **ret_out)
{
    const char *args[16] = {"token", "new", "--name", "x", "--file", file};
    int count = 6;

    while (*more)
        args[count++] = *more++;
    return run_assent(args, ret_out);
}

/* A file that is not right, or would not be, stays as it is. */
static void the_command_writes_only_good_lines(void **state)
{
    static const char *const good[] = {"--role", "viewer", "--rate", "5", "--days", "1", NULL};
    static const char *const aimless[] = {"--role", "app", NULL};
    static const char *const king[] = {"--role", "king", NULL};
    static const char *const endless[] = {"--role", "viewer", "--expires", "tomorrow", NULL};
    char path[400], *out;
    const char *list[] = {"token", "list", "--json", path, NULL};
    cJSON *all, *json;

    (void)state;
    snprintf(path, sizeof(path), "%s/some-tokens", own_dir);
    assert_int_equal(token_new(aimless, path, NULL), 2);
    assert_int_equal(token_new(king, path, NULL), 2);
    assert_int_equal(token_new(endless, path, NULL), 2);
    assert_int_not_equal(access(path, F_OK), 0);
    shell("printf '# no newline at its end' > %s", path);
    assert_int_equal(token_new(good, path, &out), 0);
    assert_int_equal(strlen(out), strlen("assent_") + 64 + 1); /* the token, and nothing else */
    free(out);
    assert_int_equal(run_assent(list, &out), 0);
    all = cJSON_Parse(out);
    json = cJSON_GetArrayItem(all, 0);
    assert_string_equal(cJSON_GetObjectItem(json, "name")->valuestring, "x");
    assert_int_equal(cJSON_GetObjectItem(json, "rate")->valueint, 5);
    assert_true(cJSON_IsString(cJSON_GetObjectItem(json, "expires")));
    cJSON_Delete(all);
    free(out);
    shell("cp %s %s.bad && echo nonsense >> %s.bad && cp %s.bad %s.kept", path, path, path, path,
          path);
    strcat(path, ".bad");
    assert_int_equal(token_new(good, path, NULL), 1);
    assert_int_equal(run_assent(list, NULL), 1);
    path[strlen(path) - 4] = 0;
    shell("cmp %s.bad %s.kept", path, path);
}

/* --- Setting up --- */

static void make_certificates(void)
{
    struct certificate_pem ours, foreign;

    test_tls_take(tls_dir, "ca.pem", &ours.certificate);
    test_tls_take(tls_dir, "ca-key.pem", &ours.key);
    test_tls_make(own_dir, "foreign-ca", NULL, -1, 1, NULL, &foreign);
    test_tls_leaf(own_dir, "foreign", "assent://sandbox/operator/sandbox", 0, 1, &foreign);
    test_tls_leaf(own_dir, "app-narrow", "assent://sandbox/app/narrow", 0, 1, &ours);
    test_tls_leaf(own_dir, "app-lineless", "assent://sandbox/app/lineless", 0, 1, &ours);
    test_tls_leaf(own_dir, "viewer-gone", "assent://sandbox/viewer/gone", 0, 1, &ours);
    test_tls_leaf(own_dir, "elsewhere", "assent://elsewhere/operator/sandbox", 0, 1, &ours);
    test_tls_leaf(own_dir, "nameless", NULL, 0, 1, &ours);
    test_tls_leaf(own_dir, "over", "assent://sandbox/operator/sandbox", -2, 0, &ours);
    certificate_close(&ours);
    certificate_close(&foreign);
}

static int setup(void **state)
{
    static const char *const extra[] = {"--nodes", "3", "--tls", "--null", NULL};

    (void)state;
    sandbox_start(&sandbox, extra);
    snprintf(tls_dir, sizeof(tls_dir), "%s/etc/tls", sandbox.dir);
    snprintf(tokens_path, sizeof(tokens_path), "%s/etc/tokens", sandbox.dir);
    snprintf(own_dir, sizeof(own_dir), "%s/own", sandbox.dir);
    assert_int_equal(mkdir(own_dir, 0700), 0);
    make_certificates();
    token_add("past", "--role viewer --expires 2020-01-01T00:00:00Z");
    token_add("narrow", "--role app --participant bank_b");
    token_add("both", "--role app --role viewer --participant bank_b");
    shell("echo 'narrow role=app participants=bank_b certificate' >> %s", tokens_path);
    shell("echo 'gone role=viewer certificate expires=2020-01-01T00:00:00Z' >> %s", tokens_path);
    for (int i = 0; i < sandbox.node_count; i++)
        reload(i, "event=tokens_reloaded");
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
        cmocka_unit_test(every_route_has_a_row),
        cmocka_unit_test(every_route_with_every_role),
        cmocka_unit_test(refusals_and_operators_are_told),
        cmocka_unit_test(a_lost_token_is_shut_out_at_once),
        cmocka_unit_test(a_certificate_ends_on_an_open_connection),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(the_command_writes_only_good_lines),
        cmocka_unit_test(no_log_has_a_token),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
