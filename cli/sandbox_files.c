/*
 * What of a sandbox lies on disk: its directory, config files, the programs it starts, ports.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/sandbox.h"

bool sandbox_fail(struct sandbox *sandbox, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(sandbox->error, sizeof(sandbox->error), format, args);
    va_end(args);
    return false;
}

void sandbox_process_name(struct sandbox *sandbox, struct process *process, const char *kind,
                          const char *name)
{
    (void)text_format(process->name, sizeof(process->name), "%s-%s", kind, name);
    (void)text_format(process->log_path, sizeof(process->log_path), "%s/log/%s.log", sandbox->dir,
                      process->name);
}

/* An empty directory of this name, made or found; the servers' user may enter it. */
static bool dir_take(struct sandbox *sandbox, const char *path)
{
    char full[4096];

    if (mkdir(path, 0755) && errno != EEXIST)
        return sandbox_fail(sandbox, "cannot make %s: %s", path, strerror(errno));
    if (!realpath(path, full) || !text_format(sandbox->dir, sizeof(sandbox->dir), "%s", full))
        return sandbox_fail(sandbox, "%s: the path is too long", path);
    /* rmdir refuses one that is not empty, so nobody's files get mixed with ours. */
    if (rmdir(full) || mkdir(full, 0755))
        return sandbox_fail(sandbox, "%s must be empty or not exist", full);
    return true;
}

static bool dir_make_temporary(struct sandbox *sandbox)
{
    const char *parent = getenv("TMPDIR");

    if (!text_format(sandbox->dir, sizeof(sandbox->dir), "%s/assent-XXXXXX",
                     parent && *parent ? parent : "/tmp"))
        return sandbox_fail(sandbox, "the path in TMPDIR is too long");
    if (!mkdtemp(sandbox->dir))
        return sandbox_fail(sandbox, "cannot make %s: %s", sandbox->dir, strerror(errno));
    sandbox->dir_is_ours = !sandbox->options.keep;
    (void)chmod(sandbox->dir, 0755); /* the servers' user must pass */
    return true;
}

static bool subdir_make(struct sandbox *sandbox, const char *name, bool of_servers)
{
    const struct passwd *owner = of_servers && sandbox->user ? getpwnam(sandbox->user) : NULL;
    char path[256];

    (void)text_format(path, sizeof(path), "%s/%s", sandbox->dir, name);
    if (mkdir(path, of_servers ? 0700 : 0755) ||
        (of_servers && sandbox->user && (!owner || chown(path, owner->pw_uid, owner->pw_gid))))
        return sandbox_fail(sandbox, "cannot make %s: %s", path, strerror(errno));
    return true;
}

/* Named after its id. */
static bool node_dir_make(struct sandbox *sandbox, struct node *node)
{
    char number[8];

    (void)text_format(number, sizeof(number), "%u", (unsigned)node->id);
    sandbox_process_name(sandbox, &node->process, "node", number);
    (void)text_format(node->dir, sizeof(node->dir), "%s/%s", sandbox->dir, node->process.name);
    return subdir_make(sandbox, node->process.name, false);
}

static bool node_dirs_make(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->node_count; i++) {
        sandbox->nodes[i].id = i + 1;
        if (!node_dir_make(sandbox, &sandbox->nodes[i]))
            return false;
    }
    return true;
}

bool sandbox_dir_make(struct sandbox *sandbox)
{
    if (sandbox->options.dir ? !dir_take(sandbox, sandbox->options.dir)
                             : !dir_make_temporary(sandbox))
        return false;
    if (strlen(sandbox->dir) > SANDBOX_DIR_LEN_MAX)
        return sandbox_fail(sandbox, "%s: the path may have %d bytes at most (unix sockets)",
                            sandbox->dir, SANDBOX_DIR_LEN_MAX);
    if (strpbrk(sandbox->dir, " '\"\\;#"))
        return sandbox_fail(sandbox, "%s: the path may not hold blanks, quotes, ';' or '#'",
                            sandbox->dir);
    if (!subdir_make(sandbox, "etc", false) || !subdir_make(sandbox, "log", false) ||
        !subdir_make(sandbox, "run", true) || !node_dirs_make(sandbox))
        return false;
    for (size_t i = 0; i < sandbox->count; i++) {
        struct database *database = &sandbox->databases[i];
        char name[32];

        (void)text_format(database->participant, sizeof(database->participant), "bank_%c",
                          (char)('a' + (int)i));
        sandbox_process_name(sandbox, &database->server, "database", database->participant);
        sandbox_process_name(sandbox, &database->agent, "agent", database->participant);
        (void)text_format(name, sizeof(name), "%s", database->server.name);
        (void)text_format(database->dir, sizeof(database->dir), "%s/%s", sandbox->dir, name);
        database->port = (uint16_t)(5432 + i); /* part of a socket's name, no TCP port */
        (void)text_format(database->dsn, sizeof(database->dsn),
                          "host=%s/run port=%u user=assent dbname=bank", sandbox->dir,
                          database->port);
        if (!sandbox->options.null && !subdir_make(sandbox, name, true))
            return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    (void)remove(path);
    return 0;
}

void sandbox_node_unmake(const struct node *node)
{
    (void)nftw(node->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Before a second first start. */
void sandbox_node_dirs_clear(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->node_count; i++)
        sandbox_node_unmake(&sandbox->nodes[i]);
    (void)node_dirs_make(sandbox);
}

void sandbox_dir_remove(struct sandbox *sandbox)
{
    if (sandbox->dir_is_ours)
        (void)nftw(sandbox->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    sandbox->dir_is_ours = false;
}

/* The directory with the newest version's initdb: what pg_config says, else where Debian has it. */
static bool find_postgres(struct sandbox *sandbox)
{
    glob_t found;
    FILE *config = popen("pg_config --bindir 2>/dev/null", "re");
    char path[300];
    int best = 0;

    if (config) {
        if (fgets(sandbox->postgres, sizeof(sandbox->postgres), config))
            sandbox->postgres[strcspn(sandbox->postgres, "\n")] = 0;
        (void)pclose(config);
    }
    (void)text_format(path, sizeof(path), "%s/initdb", sandbox->postgres);
    if (sandbox->postgres[0] && access(path, X_OK) == 0)
        return true;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int version = atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));

            if (version > best) {
                best = version;
                (void)text_format(sandbox->postgres, sizeof(sandbox->postgres), "%.*s",
                                  (int)(strlen(found.gl_pathv[i]) - strlen("/initdb")),
                                  found.gl_pathv[i]);
            }
        }
        globfree(&found);
    }
    return best ? true
                : sandbox_fail(sandbox, "PostgreSQL's initdb was not found: install the package "
                                        "postgresql-15, or put pg_config in the PATH");
}

bool sandbox_find_programs(struct sandbox *sandbox)
{
    const char *names[] = {"assentd", "assent-agent",
                           sandbox->options.node_program ? sandbox->options.node_program
                                                         : "assentd"};
    ssize_t len = readlink("/proc/self/exe", sandbox->binaries, sizeof(sandbox->binaries) - 1);
    char *slash;

    sandbox->binaries[len > 0 ? len : 0] = 0;
    slash = strrchr(sandbox->binaries, '/');
    if (!slash)
        return sandbox_fail(sandbox, "cannot tell where this program lies");
    *slash = 0;
    for (size_t i = 0; i < AS_COUNT_OF(names) && !sandbox->options.databases_only; i++) {
        char path[450];

        (void)text_format(path, sizeof(path), "%s/%s", sandbox->binaries, names[i]);
        if (access(path, X_OK))
            return sandbox_fail(sandbox, "%s: %s", path, strerror(errno));
    }
    if (sandbox->options.null)
        return true;
    /* PostgreSQL refuses to run as root. */
    if (geteuid() == 0)
        sandbox->user = getpwnam("postgres") ? "postgres" : "nobody";
    return find_postgres(sandbox);
}

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    if (fd >= 0)
        (void)close(fd);
    return is_free;
}

/*
 * Below the range that the kernel takes ports of outgoing connections from: such a port could be
 * taken, even by a client that dials it, while a killed coordinator is down, and it could not start
 * again.
 */
static uint16_t port_pick(void)
{
    static unsigned attempt;
    unsigned first = 32768;
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (range) {
        if (fscanf(range, "%u", &first) != 1)
            first = 32768;
        (void)fclose(range);
    }
    if (first < 12000 || first > 65535)
        first = 65535;
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint64_t mix = (uint64_t)clock_now() ^ ((uint64_t)getpid() << 20) ^ attempt++;
        uint16_t port =
            (uint16_t)(10000 + (mix * 0x9e3779b97f4a7c15u >> 33) % (uint64_t)(first - 10000));

        if (port_is_free(port))
            return port;
    }
    return 0;
}

/* One that no other node of this sandbox has; 0: there is none. */
static uint16_t port_pick_new(const struct sandbox *sandbox)
{
    for (;;) {
        uint16_t port = port_pick();
        bool taken = false;

        for (size_t i = 0; i < sandbox->node_count && port; i++)
            taken |= port == sandbox->nodes[i].api_port || port == sandbox->nodes[i].agents_port;
        if (!taken)
            return port;
    }
}

static bool node_pick_ports(struct sandbox *sandbox, struct node *node)
{
    node->api_port = port_pick_new(sandbox);
    do
        node->agents_port = port_pick_new(sandbox);
    while (node->agents_port && node->agents_port == node->api_port);
    if (!node->api_port || !node->agents_port)
        return sandbox_fail(sandbox, "no free TCP port on 127.0.0.1");
    return text_format(node->api, sizeof(node->api), "%s://127.0.0.1:%u",
                       sandbox->options.tls ? "https" : "http", node->api_port);
}

bool sandbox_pick_ports(struct sandbox *sandbox)
{
    sandbox->api[0] = 0;
    for (size_t i = 0; i < sandbox->node_count; i++) {
        struct node *node = &sandbox->nodes[i];
        size_t len = strlen(sandbox->api);

        if (!node_pick_ports(sandbox, node))
            return false;
        (void)text_format(sandbox->api + len, sizeof(sandbox->api) - len, "%s%s", len ? "," : "",
                          node->api);
    }
    return true;
}

/* Where agents and other nodes dial, with commas; `ids`: "1=127.0.0.1:7481,...". */
static void addresses_text(const struct sandbox *sandbox, bool ids, char *ret_text, size_t size)
{
    size_t len = 0;

    ret_text[0] = 0;
    for (size_t i = 0; i < sandbox->node_count && len < size; i++) {
        len += (size_t)snprintf(ret_text + len, size - len, "%s", i ? ", " : "");
        if (ids && len < size)
            len += (size_t)snprintf(ret_text + len, size - len, "%zu=", i + 1);
        if (len < size)
            len += (size_t)snprintf(ret_text + len, size - len, "127.0.0.1:%u",
                                    sandbox->nodes[i].agents_port);
    }
}

bool sandbox_write_file(struct sandbox *sandbox, const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    bool bad = !file || fputs(text, file) < 0;

    if (file && fclose(file))
        bad = true;
    return bad ? sandbox_fail(sandbox, "cannot write %s: %s", path, strerror(errno)) : true;
}

static void participant_text(const struct sandbox *sandbox, const struct database *database,
                             char *ret_text, size_t size)
{
    if (sandbox->options.null)
        (void)text_format(ret_text, size, "[participant.%s]\nnull = yes\n", database->participant);
    else
        (void)text_format(ret_text, size, "[participant.%s]\ndsn = %s\nconnections = 16\n",
                          database->participant, database->dsn);
}

static bool agent_config_write(struct sandbox *sandbox, const struct database *database)
{
    char path[256], text[4096], participant[512], addresses[512], tls[1024];

    addresses_text(sandbox, false, addresses, sizeof(addresses));
    participant_text(sandbox, database, participant, sizeof(participant));
    sandbox_tls_section(sandbox, database->agent.name, tls, sizeof(tls));
    (void)text_format(path, sizeof(path), "%s/etc/%s.ini", sandbox->dir, database->agent.name);
    (void)text_format(text, sizeof(text),
                      "[agent]\n"
                      "cluster = " SANDBOX_CLUSTER "\n"
                      "name = %s\n"
                      "coordinators = %s\n"
                      "\n%s%s",
                      database->agent.name, addresses, tls, participant);
    return sandbox_write_file(sandbox, path, text);
}

/* Its section, and the "key=value" behind the dot; NULL: it has another form. */
static const char *setting_split(const char *setting, size_t *ret_section_len)
{
    const char *dot = strchr(setting, '.');

    if (!dot || dot == setting || !strchr(dot, '='))
        return NULL;
    *ret_section_len = (size_t)(dot - setting);
    return dot + 1;
}

/* The usual settings, but those that the user sets: a key given twice is an error. */
static bool node_config_text(struct sandbox *sandbox, const struct node *node, char *ret_text,
                             size_t size)
{
    static const char *const sections[] = {"node", "api", "agents", "log", "limits", "cluster"};
    char usual[AS_COUNT_OF(sections)][512] = {""}, addresses[400], tls[1024];
    const struct option_list *settings = &sandbox->options.settings;
    size_t len = 0, section_len = 0;

    addresses_text(sandbox, true, addresses, sizeof(addresses));
    (void)text_format(usual[0], sizeof(usual[0]),
                      "id=%llu\ncluster=" SANDBOX_CLUSTER "\ndata_dir=%s\n",
                      (unsigned long long)node->id, node->dir);
    (void)text_format(usual[1], sizeof(usual[1]), "listen=127.0.0.1:%u\n", node->api_port);
    if (sandbox->options.tls)
        (void)text_format(usual[1], sizeof(usual[1]),
                          "listen=127.0.0.1:%u\ntls=yes\ntokens=%s/etc/tokens\n"
                          "client_ca=%s/etc/tls/ca.pem\n",
                          node->api_port, sandbox->dir, sandbox->dir);
    (void)text_format(usual[2], sizeof(usual[2]), "listen=127.0.0.1:%u\n", node->agents_port);
    (void)text_format(usual[3], sizeof(usual[3]), "segment_kib=16384\n");
    (void)text_format(usual[5], sizeof(usual[5]), "nodes=%s\nincarnation=%016llx\n", addresses,
                      (unsigned long long)sandbox->incarnation);
    for (size_t i = 0; i < settings->count; i++) {
        const char *setting = settings->items[i];

        if (!setting_split(setting, &section_len))
            return sandbox_fail(sandbox, "--set %s: must be SECTION.KEY=VALUE", setting);
        if (strncmp(setting, "log.segment_kib=", strlen("log.segment_kib=")) == 0)
            usual[3][0] = 0;
    }
    for (size_t s = 0; s < AS_COUNT_OF(sections); s++) {
        len += (size_t)snprintf(ret_text + len, size - len, "[%s]\n%s", sections[s], usual[s]);
        for (size_t i = 0; i < settings->count && len < size; i++) {
            const char *key = setting_split(settings->items[i], &section_len);

            if (section_len == strlen(sections[s]) &&
                memcmp(settings->items[i], sections[s], section_len) == 0)
                len += (size_t)snprintf(ret_text + len, size - len, "%s\n", key);
        }
        if (len >= size)
            return sandbox_fail(sandbox, "--set: too many settings");
    }
    sandbox_tls_section(sandbox, node->process.name, tls, sizeof(tls));
    len += (size_t)snprintf(ret_text + len, size - len, "%s", tls);
    for (size_t i = 0; i < sandbox->count && sandbox->options.no_agents && len < size; i++) {
        char participant[512];

        participant_text(sandbox, &sandbox->databases[i], participant, sizeof(participant));
        len += (size_t)snprintf(ret_text + len, size - len, "%s", participant);
        if (len >= size)
            return sandbox_fail(sandbox, "too many settings and databases");
    }
    return true;
}

static bool node_config_write(struct sandbox *sandbox, const struct node *node)
{
    char path[256], text[4096 + SANDBOX_DATABASES_MAX * 512];

    (void)text_format(path, sizeof(path), "%s/etc/%s.ini", sandbox->dir, node->process.name);
    return node_config_text(sandbox, node, text, sizeof(text)) &&
           sandbox_write_file(sandbox, path, text);
}

bool sandbox_node_make(struct sandbox *sandbox, struct node *node)
{
    return node_dir_make(sandbox, node) && node_pick_ports(sandbox, node) &&
           node_config_write(sandbox, node);
}

bool sandbox_write_configs(struct sandbox *sandbox)
{
    if (sandbox->options.incarnation && sandbox->incarnation == 0) {
        char *end;

        sandbox->incarnation = strtoull(sandbox->options.incarnation, &end, 16);
        if (strlen(sandbox->options.incarnation) != 16 || *end || sandbox->incarnation == 0)
            return sandbox_fail(sandbox, "--incarnation must be 16 hex digits, not all of them 0");
    }
    while (sandbox->incarnation == 0)
        if (getrandom(&sandbox->incarnation, sizeof(sandbox->incarnation), 0) < 0)
            return sandbox_fail(sandbox, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sandbox->node_count; i++)
        if (!node_config_write(sandbox, &sandbox->nodes[i]))
            return false;
    for (size_t i = 0; i < sandbox->count && !sandbox->options.no_agents; i++)
        if (!agent_config_write(sandbox, &sandbox->databases[i]))
            return false;
    return true;
}
