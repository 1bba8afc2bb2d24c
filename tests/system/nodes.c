#include "nodes.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASK_MS 2000

/* --- Who leads --- */

/* What a node says of the cluster: its answer's number, 0 if there is none. */
static double says(const struct sandbox *sandbox, int place, const char *key)
{
    struct answer answer;
    double number = 0;

    http_at(sandbox->nodes[place].api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    if (cJSON_IsNumber(cJSON_GetObjectItem(answer.json, key)))
        number = cJSON_GetObjectItem(answer.json, key)->valuedouble;
    answer_free(&answer);
    return number;
}

struct search {
    const struct sandbox *sandbox;
    int leader;
};

static bool somebody_leads(void *ctx)
{
    struct search *search = ctx;
    const struct sandbox *sandbox = search->sandbox;
    double highest = 0;

    for (int i = 0; i < sandbox->node_count; i++) {
        double term =
            says(sandbox, i, "leader") == sandbox->nodes[i].id ? says(sandbox, i, "term") : 0;

        if (term > highest) {
            highest = term;
            search->leader = i;
        }
    }
    return highest > 0;
}

int leader_find(const struct sandbox *sandbox)
{
    struct search search = {sandbox, 0};

    wait_for("a node leads", somebody_leads, &search, DEADLINE_MS);
    return search.leader;
}

struct asked {
    const struct sandbox *sandbox;
    int place, leader;
};

static bool knows_leader(void *ctx)
{
    struct asked *asked = ctx;

    asked->leader = (int)says(asked->sandbox, asked->place, "leader");
    return asked->leader > 0;
}

int leader_id(const struct sandbox *sandbox, int place)
{
    struct asked asked = {sandbox, place, 0};

    wait_for("the node knows who leads", knows_leader, &asked, DEADLINE_MS);
    return asked.leader;
}

/* --- Signals --- */

void node_signal(const struct sandbox *sandbox, int place, int number)
{
    pid_t pid = sandbox_pid(sandbox, sandbox->nodes[place].name);

    assert_true(pid > 0);
    assert_int_equal(kill(pid, number), 0);
}

/* --- Handing over, catching up --- */

static bool is_made_leader(void *ctx)
{
    struct search *search = ctx;
    const struct sandbox *sandbox = search->sandbox;

    if (leader_find(sandbox) == search->leader)
        return true;
    /* Refused while the node is behind, or while nobody leads. */
    (void)cluster_command(sandbox, "transfer", sandbox->nodes[search->leader].id, NULL);
    return false;
}

void leader_make(const struct sandbox *sandbox, int place)
{
    wait_for("the node is made the leader", is_made_leader, &(struct search){sandbox, place},
             DEADLINE_MS);
}

struct catching_up {
    const struct sandbox *sandbox;
    int place;
    double index;
};

static bool has_caught_up(void *ctx)
{
    const struct catching_up *wanted = ctx;

    return says(wanted->sandbox, wanted->place, "applied_index") >= wanted->index;
}

void wait_caught_up(const struct sandbox *sandbox, int place)
{
    struct catching_up wanted = {sandbox, place,
                                 says(sandbox, leader_find(sandbox), "applied_index")};

    assert_true(wanted.index > 0);
    wait_for("the node has caught up", has_caught_up, &wanted, DEADLINE_MS);
}

/* --- Logs --- */

int log_lines(const struct sandbox *sandbox, const char *name, const char *what)
{
    char path[400], line[4096];
    int count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/log/%s.log", sandbox->dir, name);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        count += strstr(line, what) != NULL;
    if (file)
        fclose(file);
    return count;
}

bool log_says(const struct sandbox *sandbox, const char *name, const char *what)
{
    return log_lines(sandbox, name, what) > 0;
}

struct saying {
    const struct sandbox *sandbox;
    const char *name, *what;
};

static bool is_said(void *ctx)
{
    const struct saying *saying = ctx;

    return log_says(saying->sandbox, saying->name, saying->what);
}

void wait_log_says(const struct sandbox *sandbox, const char *name, const char *what)
{
    struct saying saying = {sandbox, name, what};
    char text[160];

    snprintf(text, sizeof(text), "%s says %s", name, what);
    wait_for(text, is_said, &saying, DEADLINE_MS);
}

struct awaited {
    const struct sandbox *sandbox;
    const char *name, *what;
    int more_than;
};

static bool is_counted(void *ctx)
{
    const struct awaited *awaited = ctx;

    return log_lines(awaited->sandbox, awaited->name, awaited->what) > awaited->more_than;
}

void node_reload(const struct sandbox *sandbox, const char *name, const char *what)
{
    struct awaited awaited = {sandbox, name, what, log_lines(sandbox, name, what)};

    kill(sandbox_pid(sandbox, name), SIGHUP);
    wait_for(what, is_counted, &awaited, DEADLINE_MS);
}

/* --- Members --- */

struct wanted {
    const struct sandbox *sandbox;
    int asked, id;
    bool there;
};

static bool member_is(void *ctx)
{
    const struct wanted *wanted = ctx;
    bool there = false, voter = false, answered;
    struct answer answer;
    const cJSON *node;

    http_at(wanted->sandbox->nodes[wanted->asked].api, NULL, "/v1/cluster", NULL, ASK_MS, &answer);
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(answer.json, "nodes"))
    {
        if (cJSON_GetObjectItem(node, "id")->valueint == wanted->id) {
            there = true;
            voter = cJSON_IsTrue(cJSON_GetObjectItem(node, "voter"));
        }
    }
    answered = answer.status == 200;
    answer_free(&answer);
    return answered && there == wanted->there && voter == wanted->there;
}

void wait_member(const struct sandbox *sandbox, int asked, int id, bool there)
{
    struct wanted wanted = {sandbox, asked, id, there};
    char text[80];

    snprintf(text, sizeof(text), "node %d %s", id, there ? "votes" : "is no member any more");
    wait_for(text, member_is, &wanted, DEADLINE_MS);
}

int cluster_command(const struct sandbox *sandbox, const char *verb, int id, const char *address)
{
    char apis[1024] = "", number[16];
    const char *args[] = {"cluster", verb, "--api", apis, number, address, NULL};

    snprintf(number, sizeof(number), "%d", id);
    for (int i = 0; i < sandbox->node_count; i++)
        snprintf(apis + strlen(apis), sizeof(apis) - strlen(apis), "%s%s", i ? "," : "",
                 sandbox->nodes[i].api);
    return run_assent(args, NULL);
}

/* --- Joining --- */

void joiner_kill(struct joiner *joiner)
{
    if (joiner->pid <= 0)
        return;
    kill(joiner->pid, SIGKILL);
    assert_int_equal(waitpid(joiner->pid, NULL, 0), joiner->pid);
    joiner->pid = 0;
}

void joiner_start(struct joiner *joiner, const struct sandbox *sandbox, int id, const char *name,
                  const char *agents)
{
    char config[300], log[300];
    char *argv[] = {AS_TEST_BIN "/assentd", "--config", config, "--join", NULL};
    FILE *file;

    joiner->sandbox = sandbox;
    snprintf(joiner->name, sizeof(joiner->name), "%s", name);
    snprintf(config, sizeof(config), "%s/etc/%s.ini", sandbox->dir, name);
    snprintf(log, sizeof(log), "%s/log/%s.log", sandbox->dir, name);
    file = fopen(config, "w");
    assert_non_null(file);
    fprintf(file,
            "[node]\nid = %d\ncluster = sandbox\ndata_dir = %s/%s\n[api]\nlisten = 127.0.0.1:0\n"
            "[agents]\nlisten = %s\n[cluster]\nincarnation = %s\n",
            id, sandbox->dir, name, agents, sandbox->incarnation);
    fclose(file);
    joiner->pid = fork();
    assert_true(joiner->pid >= 0);
    if (joiner->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen(log, "w", stderr))
            _exit(127);
        execv(argv[0], argv);
        _exit(127);
    }
}

void joiner_address(const struct joiner *joiner, char ret_address[64])
{
    char path[400], line[4096];
    FILE *file;

    wait_log_says(joiner->sandbox, joiner->name, "event=started");
    snprintf(path, sizeof(path), "%s/log/%s.log", joiner->sandbox->dir, joiner->name);
    file = fopen(path, "r");
    assert_non_null(file);
    ret_address[0] = 0;
    while (!ret_address[0] && fgets(line, sizeof(line), file)) {
        const char *at = strstr(line, " agents=");

        if (at)
            sscanf(at, " agents=%63s", ret_address);
    }
    fclose(file);
    assert_true(ret_address[0]);
}
