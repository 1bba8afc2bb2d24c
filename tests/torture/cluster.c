/*
 * The cluster: places, directories, configs, three nodes, three agents, three servers; and whether it works.
 */
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "inside.h"
#include "tests/support/http.h"

#define READY_MS 60000
#define ASK_MS 1000
#define SEGMENT_KIB 64 /* the smallest: many segments in one run, and a full disk is felt soon */
#define SNAPSHOT_KIB 1024

/* From one field of the world to another: the compiler would fear that they overlap. */
static void path_write(char *ret_path, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void path_write(char *ret_path, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    AS_ASSERT(vsnprintf(ret_path, size, format, args) < (int)size);
    va_end(args);
}

static bool write_file(struct world *world, const char *name, const char *text)
{
    char path[200];
    FILE *file;
    bool bad;

    (void)snprintf(path, sizeof(path), "%s/etc/%s.ini", world->dir, name);
    file = fopen(path, "we");
    bad = !file || fputs(text, file) < 0;
    if (file && fclose(file))
        bad = true;
    return bad ? world_fail(world, "cannot write %s: %s", path, strerror(errno)) : true;
}

/* The [tls] section of node-1, agent-bank_a ...; "" without TLS. */
static void tls_section(const struct world *world, const char *name, char ret_text[640])
{
    const char *dir = world->dir;

    ret_text[0] = 0;
    if (world->tls)
        (void)snprintf(ret_text, 640,
                       "[tls]\nca = %s/etc/tls/ca.pem\ncertificate = %s/etc/tls/%s.pem\n"
                       "key = %s/etc/tls/%s-key.pem\n",
                       dir, dir, name, dir, name);
}

/* The token that our own requests show. */
static bool token_make(struct world *world)
{
    char path[200], token[128] = "";
    FILE *file;

    if (!world_run(world,
                   "%s/assent token new --name torture --role app --role viewer --role operator"
                   " --participant bank_a --participant bank_b --participant bank_c"
                   " --file %s/etc/tokens > %s/etc/token",
                   world->bin, world->dir, world->dir))
        return world_fail(world, "assent token failed: see log/commands.log");
    (void)snprintf(path, sizeof(path), "%s/etc/token", world->dir);
    file = fopen(path, "re");
    if (file && fscanf(file, "%127s", token) != 1)
        token[0] = 0;
    if (file)
        (void)fclose(file);
    return setenv("ASSENT_TOKEN", token, 1) == 0;
}

/* Certificates for all, and the authority and a token for our own requests. */
static bool tls_make(struct world *world)
{
    char ca[200];

    if (!world->tls)
        return true;
    (void)snprintf(ca, sizeof(ca), "%s/etc/tls/ca.pem", world->dir);
    if (!world_run(world,
                   "%s/assent certs %s/etc/tls --cluster " WORLD_CLUSTER
                   " --node 1=10.77.0.11 --node 2=10.77.0.12 --node 3=10.77.0.13"
                   " --agent bank_a --agent bank_b --agent bank_c",
                   world->bin, world->dir))
        return world_fail(world, "assent certs failed: see log/commands.log");
    return setenv("ASSENT_CA", ca, 1) == 0 && token_make(world);
}

static bool node_configure(struct world *world, const struct node *node)
{
    char text[2048], tls[640], api[256] = "insecure = yes\n";

    tls_section(world, node->process.name, tls);
    if (world->tls)
        (void)snprintf(api, sizeof(api), "tls = yes\ntokens = %s/etc/tokens\n", world->dir);
    (void)snprintf(text, sizeof(text),
                   "[node]\nid = %d\ncluster = " WORLD_CLUSTER "\ndata_dir = %s\n"
                   "[api]\nlisten = %s:%d\n%s"
                   "[agents]\nlisten = %s:%d\n%s"
                   "[log]\nsegment_kib = %d\nsnapshot_kib = %d\n"
                   "[cluster]\nincarnation = %016llx\n"
                   "nodes = 1=10.77.0.11:%d, 2=10.77.0.12:%d, 3=10.77.0.13:%d\n%s",
                   node->id, node->dir, node->process.place->ip, WORLD_API_PORT, api,
                   node->process.place->ip, WORLD_LINK_PORT, world->tls ? "" : "insecure = yes\n",
                   SEGMENT_KIB, SNAPSHOT_KIB, (unsigned long long)(world->seed | 1),
                   WORLD_LINK_PORT, WORLD_LINK_PORT, WORLD_LINK_PORT, tls);
    return write_file(world, node->process.name, text);
}

static bool agent_configure(struct world *world, const struct database *database)
{
    char text[2048], tls[640];

    tls_section(world, database->agent.name, tls);
    (void)snprintf(text, sizeof(text),
                   "[agent]\ncluster = " WORLD_CLUSTER "\nname = %s\n"
                   "coordinators = 10.77.0.11:%d, 10.77.0.12:%d, 10.77.0.13:%d\n"
                   "[participant.%s]\nconnections = 16\n"
                   "dsn = host=%s port=%s user=assent dbname=bank %s\n%s%s",
                   database->agent.name, WORLD_LINK_PORT, WORLD_LINK_PORT, WORLD_LINK_PORT,
                   database->participant, database->agent_hosts, database->agent_ports,
                   database->agent_dsn_more, database->marker ? "proof = marker\n" : "", tls);
    return write_file(world, database->agent.name, text);
}

static void program_of(const struct world *world, struct process *process, enum process_kind kind,
                       int number, struct place *place, const char *program)
{
    char path[400], config[200];

    (void)snprintf(path, sizeof(path), "%s/%s", world->bin, program);
    process_init(world, process, kind, number, place->name, place, path);
    (void)snprintf(config, sizeof(config), "%s/etc/%s.ini", world->dir, place->name);
    process_argument(process, "--config");
    process_argument(process, config);
}

static bool node_make(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    struct place *place;
    char name[24];

    (void)snprintf(name, sizeof(name), "node-%d", number + 1);
    place = place_make(world, name, 11 + number);
    if (!place)
        return false;
    program_of(world, &node->process, PROCESS_NODE, number, place, "assentd");
    node->id = number + 1;
    path_write(node->dir, sizeof(node->dir), "%s/%s", world->dir, name);
    (void)snprintf(node->api, sizeof(node->api), "%s://%s:%d", world->tls ? "https" : "http",
                   place->ip, WORLD_API_PORT);
    return mkdir(node->dir, 0700) == 0 || world_fail(world, "cannot make %s", node->dir);
}

static bool database_make(struct world *world, int number)
{
    struct database *database = &world->databases[number];
    struct place *place, *agent_place;
    char name[24], path[300];

    (void)snprintf(database->participant, sizeof(database->participant), "bank_%c", 'a' + number);
    (void)snprintf(name, sizeof(name), "agent-%s", database->participant);
    agent_place = place_make(world, name, 21 + number);
    (void)snprintf(name, sizeof(name), "database-%s", database->participant);
    place = agent_place ? place_make(world, name, 31 + number) : NULL;
    if (!place)
        return false;
    program_of(world, &database->agent, PROCESS_AGENT, number, agent_place, "assent-agent");
    path_write(path, sizeof(path), "%s/postgres", world->postgres);
    process_init(world, &database->server, PROCESS_DATABASE, number, name, place, path);
    database->server.user = world->postgres_user;
    database->port = 5432 + number;
    path_write(database->dir, sizeof(database->dir), "%s/%s/data", world->dir, name);
    process_argument(&database->server, "-D");
    process_argument(&database->server, database->dir);
    (void)snprintf(database->agent_hosts, sizeof(database->agent_hosts), "%s", place->ip);
    (void)snprintf(database->agent_ports, sizeof(database->agent_ports), "%d", database->port);
    path_write(database->check_host, sizeof(database->check_host), "%s/run", world->dir);
    database->check_port = database->port;
    return world_run(world, "install -d -o %s -m 700 %s/%s", world->postgres_user, world->dir,
                     name) ||
           world_fail(world, "cannot make the directory of %s", name);
}

/* The directory with the newest version's initdb, where Debian has it. */
static bool find_postgres(struct world *world)
{
    glob_t found;
    int best = 0;

    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int version = atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));

            if (version > best) {
                best = version;
                (void)snprintf(world->postgres, sizeof(world->postgres),
                               "/usr/lib/postgresql/%d/bin", version);
            }
        }
        globfree(&found);
    }
    world->postgres_user = "postgres"; /* the server refuses to run as root */
    return best || world_fail(world, "PostgreSQL's initdb was not found: ./dev setup");
}

bool cluster_make(struct world *world)
{
    if (!find_postgres(world))
        return false;
    for (int i = 0; i < WORLD_NODES; i++)
        if (!node_make(world, i))
            return false;
    for (int i = 0; i < WORLD_DATABASES; i++)
        if (!database_make(world, i))
            return false;
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        char name[24];

        (void)snprintf(name, sizeof(name), "client-%d", i + 1);
        world->clients[i] = place_make(world, name, 41 + i);
        if (!world->clients[i])
            return false;
    }
    return true;
}

/* --- Does it work --- */

static bool answers_well(const struct node *node)
{
    struct answer answer;
    bool well;

    http_at(node->api, NULL, "/readyz", NULL, ASK_MS, &answer);
    well = answer.status == 200;
    answer_free(&answer);
    return well;
}

static bool participants_up(const struct node *node, char *ret_why, size_t size)
{
    const cJSON *list, *one;
    struct answer answer;
    int up = 0;

    http_at(node->api, NULL, "/v1/participants", NULL, ASK_MS, &answer);
    list = cJSON_GetObjectItem(answer.json, "participants");
    (void)snprintf(ret_why, size, "the list of participants: HTTP %ld", answer.status);
    cJSON_ArrayForEach(one, list)
    {
        const char *state = cJSON_GetStringValue(cJSON_GetObjectItem(one, "state"));
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(one, "name"));

        if (state && strcmp(state, "up") == 0)
            up++;
        else
            (void)snprintf(ret_why, size, "%s is %s", name ? name : "?", state ? state : "?");
    }
    answer_free(&answer);
    return up == WORLD_DATABASES;
}

bool cluster_works(struct world *world, char *ret_why, size_t size)
{
    for (int i = 0; i < WORLD_NODES; i++)
        if (!world->nodes[i].process.pid || !answers_well(&world->nodes[i])) {
            (void)snprintf(ret_why, size, "node-%d is not ready", i + 1);
            return false;
        }
    return participants_up(&world->nodes[0], ret_why, size);
}

static bool works(void *ctx)
{
    char why[128];

    return cluster_works(ctx, why, sizeof(why));
}

/* --- Start --- */

static bool nodes_start(struct world *world)
{
    for (int i = 0; i < WORLD_NODES; i++) {
        struct process *process = &world->nodes[i].process;

        if (!node_configure(world, &world->nodes[i]))
            return false;
        process_argument(process, "--bootstrap");
        if (!process_start(world, process))
            return false;
        free(process->argv[3]); /* only the first time */
        process->argv[3] = NULL;
    }
    return true;
}

bool cluster_start(struct world *world)
{
    if (!tls_make(world) || !servers_init(world) || !servers_start(world) || !nodes_start(world))
        return false;
    for (int i = 0; i < WORLD_DATABASES; i++) {
        if (!agent_configure(world, &world->databases[i]) ||
            !process_start(world, &world->databases[i].agent))
            return false;
    }
    return world_wait(world, works, world, READY_MS) ||
           world_fail(world, "the cluster is not ready after %d s", READY_MS / 1000);
}
