/*
 * assent doctor: what runs, as the nodes tell it by their API.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/rest.h"
#include "common/uv/net.h"

#define CALL_MS 5000
#define CONNECT_MS 3000
#define CLOCKS_APART_MS 1000
#define LAG_MANY 100000.0

/* --- Addresses --- */

/* 0 or an errno. */
static int connect_once(const struct addrinfo *target)
{
    int fd = socket(target->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = 0;
    socklen_t len = sizeof(err);

    if (fd < 0)
        return errno;
    if (connect(fd, target->ai_addr, target->ai_addrlen) && errno != EINPROGRESS) {
        err = errno;
    } else {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};

        if (poll(&wait, 1, CONNECT_MS) != 1)
            err = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
            err = errno;
    }
    (void)close(fd);
    return err;
}

void doctor_address(struct doctor *doctor, const char *address, const char *of)
{
    static const char todo[] =
        "does that node run, is its [agents] listen an address that this machine reaches, does a "
        "firewall let it through?";
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[256], service[8];
    uint16_t port;
    int err;

    if (net_address_split(address, host, &port) != AS_OK)
        return; /* the daemon has said so */
    (void)snprintf(service, sizeof(service), "%u", port);
    err = getaddrinfo(host, service, &hints, &found);
    if (err) {
        doctor_finding(doctor, VERDICT_FAIL, "reach", address,
                       "repair the name, or the name server", "named in %s: %s", of,
                       gai_strerror(err));
        return;
    }
    for (const struct addrinfo *one = found; one; one = one->ai_next) {
        err = connect_once(one);
        if (!err)
            break;
    }
    freeaddrinfo(found);
    if (err)
        doctor_finding(doctor, VERDICT_FAIL, "reach", address, todo, "named in %s: %s", of,
                       strerror(err));
    else
        doctor_finding(doctor, VERDICT_OK, "reach", address, NULL, "named in %s: it answers", of);
}

/* --- Nodes --- */

struct cluster {
    struct doctor *doctor;
    cJSON *first;  /* the first answer, to which others are compared */
    cJSON *leader; /* the leader's answer */
    size_t answered;
    int64_t ahead_min, ahead_max;
    char slowest[512], fastest[512];
    bool clocks;
};

static void compare(struct cluster *cluster, const char *api, const cJSON *answer, const char *key,
                    enum verdict verdict, const char *todo)
{
    const char *here = json_text(answer, key, "?"), *there = json_text(cluster->first, key, "?");

    if (strcmp(here, there) != 0)
        doctor_finding(cluster->doctor, verdict, "node", api, todo,
                       "its %s is %s; another node's is %s", key, here, there);
}

static void check_node(struct cluster *cluster, const char *api, const cJSON *answer)
{
    size_t wrong = cluster->doctor->counts[VERDICT_FAIL];

    compare(cluster, api, answer, "cluster", VERDICT_FAIL, "ask one cluster at a time");
    compare(cluster, api, answer, "incarnation", VERDICT_FAIL,
            "two clusters of one name: one of them was bootstrapped again; see docs/operations.md");
    compare(cluster, api, answer, "version", VERDICT_WARN,
            "finish the upgrade: one node after the other, the leader last");
    if (json_true(answer, "disk_full"))
        doctor_finding(cluster->doctor, VERDICT_FAIL, "node", api,
                       "make space: it goes on by itself", "the disk of its decision log is full");
    if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(answer, "leader")))
        doctor_finding(cluster->doctor, VERDICT_FAIL, "node", api,
                       "most nodes must run and reach each other: assent cluster status at each",
                       "it knows no leader: no transaction is taken");
    if (cluster->doctor->counts[VERDICT_FAIL] == wrong)
        doctor_finding(cluster->doctor, VERDICT_OK, "node", api, NULL,
                       "node %.0f of %s, %s in term %.0f, version %s",
                       json_number(answer, "node", 0), json_text(answer, "cluster", "?"),
                       json_text(answer, "role", "?"), json_number(answer, "term", 0),
                       json_text(answer, "version", "?"));
}

static void note_clock(struct cluster *cluster, const char *api)
{
    int64_t ahead;

    if (!doctor_clock(api, &ahead))
        return;
    if (!cluster->clocks || ahead < cluster->ahead_min) {
        cluster->ahead_min = ahead;
        (void)snprintf(cluster->slowest, sizeof(cluster->slowest), "%s", api);
    }
    if (!cluster->clocks || ahead > cluster->ahead_max) {
        cluster->ahead_max = ahead;
        (void)snprintf(cluster->fastest, sizeof(cluster->fastest), "%s", api);
    }
    cluster->clocks = true;
}

static void ask_node(struct cluster *cluster, const char *api)
{
    const struct rest_request request = {.api = api, .path = "/v1/cluster", .timeout_ms = CALL_MS};
    struct rest_reply reply = {0};
    char error[256];

    if (!rest_send(&request, &reply, error) || reply.status != 200 || !reply.json) {
        doctor_finding(cluster->doctor, VERDICT_FAIL, "node", api,
                       "does it run (systemctl status assentd), and is this its [api] listen?",
                       "it does not answer: %s",
                       reply.status ? json_text(reply.json, "detail", "no JSON") : error);
        rest_reply_close(&reply);
        return;
    }
    cluster->answered++;
    if (!cluster->first)
        cluster->first = cJSON_Duplicate(reply.json, true);
    check_node(cluster, api, reply.json);
    if (strcmp(json_text(reply.json, "role", ""), "leader") == 0 && !cluster->leader)
        cluster->leader = cJSON_Duplicate(reply.json, true);
    rest_reply_close(&reply);
    note_clock(cluster, api);
}

/* As the leader sees them: only it knows how far the others are. */
static void check_members(struct cluster *cluster)
{
    const cJSON *node;
    int voters = 0;

    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(cluster->leader, "nodes"))
    {
        char subject[300];

        voters += json_true(node, "voter");
        (void)snprintf(subject, sizeof(subject), "node %.0f at %s", json_number(node, "id", 0),
                       json_text(node, "address", "?"));
        if (!json_true(node, "linked"))
            doctor_finding(cluster->doctor, VERDICT_FAIL, "node", subject,
                           "start it, or look at the network between them",
                           "the leader has no link to it");
        else if (json_number(node, "lag", 0) > LAG_MANY)
            doctor_finding(cluster->doctor, VERDICT_WARN, "node", subject,
                           "look at its disk and network, if it does not catch up by itself",
                           "it lacks %.0f entries of the log", json_number(node, "lag", 0));
    }
    if (voters > 0 && voters % 2 == 0)
        doctor_finding(cluster->doctor, VERDICT_WARN, "node",
                       json_text(cluster->leader, "cluster", ""),
                       "three nodes survive the loss of one, five of two",
                       "%d nodes vote: as safe as %d, and slower", voters, voters - 1);
}

static void check_clocks(struct cluster *cluster)
{
    int64_t apart = cluster->ahead_max - cluster->ahead_min;

    if (!cluster->clocks)
        return;
    if (apart > CLOCKS_APART_MS)
        doctor_finding(
            cluster->doctor, VERDICT_WARN, "clock", cluster->fastest,
            "let all machines keep time (chrony): ids that hold a time may be refused, and "
            "times shown differ; nothing is decided by a clock",
            "it is %.1f s ahead of %s", (double)apart / 1000, cluster->slowest);
    else
        doctor_finding(cluster->doctor, VERDICT_OK, "clock", "all nodes", NULL,
                       "within %" PRId64 " ms of each other", apart);
}

/* --- Participants and transactions --- */

static void check_participant(struct doctor *doctor, const cJSON *participant)
{
    const char *name = json_text(participant, "name", "?");
    const cJSON *agents = cJSON_GetObjectItemCaseSensitive(participant, "agents"), *agent;
    double in_doubt = 0, orphaned = 0;

    cJSON_ArrayForEach(agent, agents)
    {
        in_doubt += json_number(agent, "in_doubt", 0);
        orphaned += json_number(agent, "orphaned", 0);
    }
    if (strcmp(json_text(participant, "state", ""), "up") != 0)
        doctor_finding(doctor, VERDICT_FAIL, "served", name,
                       "start its agent or its database: transactions on it abort",
                       "it is down: %s",
                       json_text(cJSON_GetArrayItem(agents, 0), "detail", "no agent serves it"));
    else
        doctor_finding(doctor, VERDICT_OK, "served", name, NULL, "up, served by %d agents",
                       cJSON_GetArraySize(agents));
    if (orphaned > 0)
        doctor_finding(doctor, VERDICT_FAIL, "served", name,
                       "assent participant prepared NAME, then assent participant resolve",
                       "%.0f prepared transactions that nobody can answer for", orphaned);
    if (in_doubt > 0)
        doctor_finding(
            doctor, VERDICT_WARN, "served", name,
            "it ends by itself when the coordinators answer; see \"A stuck transaction\"",
            "%.0f prepared transactions wait for the coordinator", in_doubt);
}

static void check_served(struct doctor *doctor)
{
    struct rest_reply reply = {0};
    const cJSON *one;
    char error[256];
    int count;

    if (rest_call(doctor->apis, "/v1/participants", NULL, CALL_MS, &reply, error) &&
        reply.status == 200)
        cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(reply.json, "participants"))
            check_participant(doctor, one);
    rest_reply_close(&reply);
    if (!rest_call(doctor->apis, "/v1/transactions?state=heuristic&limit=1000", NULL, CALL_MS,
                   &reply, error) ||
        reply.status != 200)
        return;
    count = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply.json, "transactions"));
    if (count)
        doctor_finding(
            doctor, VERDICT_FAIL, "outcomes", "all participants",
            "assent txn list --state heuristic; compare, repair, then assent txn acknowledge",
            "%d transactions ended otherwise than decided", count);
    rest_reply_close(&reply);
}

void doctor_cluster(struct doctor *doctor)
{
    struct cluster cluster = {.doctor = doctor};
    const char *list = doctor->apis;
    char api[512];

    while (rest_api_next(&list, api, sizeof(api)))
        ask_node(&cluster, api);
    if (cluster.leader)
        check_members(&cluster);
    check_clocks(&cluster);
    if (cluster.answered)
        check_served(doctor);
    cJSON_Delete(cluster.first);
    cJSON_Delete(cluster.leader);
}
