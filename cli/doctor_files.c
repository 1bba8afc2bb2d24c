/*
 * assent doctor: the daemons' configuration files. Whether a file is right its daemon says, by
 * --check-config; here its keys are only read, to look at what they name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/rest.h"
#include "common/utc.h"
#include "common/uv/config.h"
#include "common/uv/tls.h"
#include "common/uv/token.h"

#define CERTIFICATE_DAYS_MIN 30

#define TEXT(section_, key_, field)                                \
    {                                                              \
        .section = (section_), .key = (key_), .kind = CONFIG_TEXT, \
        .offset = offsetof(struct doctor_file, field),             \
        .size = sizeof(((struct doctor_file *)0)->field)           \
    }

static const struct config_key keys[] = {
    TEXT("node", "cluster", cluster),
    TEXT("node", "data_dir", data_dir),
    TEXT("api", "listen", api),
    TEXT("agents", "listen", agents),
    TEXT("cluster", "nodes", nodes),
    TEXT("tls", "ca", tls[0]),
    TEXT("tls", "certificate", tls[1]),
    TEXT("tls", "key", tls[2]),
    TEXT("api", "tokens", tokens),
    {.section = "api",
     .key = "tls",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct doctor_file, api_tls)},
    {.section = "log",
     .key = "segment_kib",
     .kind = CONFIG_NUMBER,
     .offset = offsetof(struct doctor_file, segment_kib),
     .max = UINT64_MAX},
    TEXT("agent", "cluster", cluster),
    TEXT("agent", "coordinators", coordinators),
    {.section = "participant.",
     .key = "dsn",
     .kind = CONFIG_TEXT,
     .offset = offsetof(struct doctor_participant, dsn),
     .size = sizeof(((struct doctor_participant *)0)->dsn)},
    {.section = "participant.",
     .key = "connections",
     .kind = CONFIG_NUMBER,
     .offset = offsetof(struct doctor_participant, connections),
     .max = UINT64_MAX},
};

static void *participant_of(void *ctx, const char *section, const char *name, char ret_error[256])
{
    struct doctor_file *file = ctx;
    struct doctor_participant *participant;

    (void)section;
    for (size_t i = 0; i < file->participant_count; i++)
        if (strcmp(file->participants[i].name, name) == 0)
            return &file->participants[i];
    if (file->participant_count == DOCTOR_PARTICIPANTS_MAX) {
        (void)snprintf(ret_error, 256, "more participants than the doctor looks at (%d)",
                       DOCTOR_PARTICIPANTS_MAX);
        return NULL;
    }
    participant = &file->participants[file->participant_count++];
    (void)snprintf(participant->name, sizeof(participant->name), "%.63s", name);
    return participant;
}

/* --- The daemon's own word --- */

/* The exit code, and what it said on stderr. -1: it cannot be run. */
static int run(char *const *argv, char *ret_said, size_t size)
{
    int ends[2], status;
    size_t len = 0;
    ssize_t got;
    pid_t pid;

    ret_said[0] = '\0';
    if (pipe(ends))
        return -1;
    pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    (void)close(ends[1]);
    while (
        pid > 0 && len + 1 < size &&
        ((got = read(ends[0], ret_said + len, size - 1 - len)) > 0 || (got < 0 && errno == EINTR)))
        len += got > 0 ? (size_t)got : 0;
    ret_said[len] = '\0';
    ret_said[strcspn(ret_said, "\n")] = '\0';
    (void)close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) == 127)
        return -1;
    return WEXITSTATUS(status);
}

/* Beside this program, as all of them are installed. */
static void ask_daemon(struct doctor *doctor, const char *path, const char *daemon)
{
    char self[512] = "", program[600], said[700];
    char check[] = "--check-config", config[] = "--config", file[1024];
    char *argv[] = {program, config, file, check, NULL};
    int code;

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || !strrchr(self, '/'))
        return;
    *strrchr(self, '/') = '\0';
    if (!text_format(program, sizeof(program), "%s/%s", self, daemon) ||
        !text_format(file, sizeof(file), "%s", path))
        return;
    code = run(argv, said, sizeof(said));
    if (code == 0)
        doctor_finding(doctor, VERDICT_OK, "config", path, NULL, "%s finds it good", daemon);
    else if (code < 0)
        doctor_finding(
            doctor, VERDICT_WARN, "config", path,
            "install the daemon's package on this machine, or check the file where it is",
            "%s is not here to check it", daemon);
    else
        doctor_finding(doctor, VERDICT_FAIL, "config", path,
                       "repair the line; docs/operations.md names all keys", "%s", said);
}

/* --- Both kinds of files --- */

static void check_secret(struct doctor *doctor, const struct doctor_file *file)
{
    struct stat status;
    bool secret = false;

    for (size_t i = 0; i < file->participant_count; i++)
        secret |= strstr(file->participants[i].dsn, "password") != NULL ||
                  strstr(file->participants[i].dsn, "://") != NULL;
    if (secret && stat(file->path, &status) == 0 && (status.st_mode & S_IROTH))
        doctor_finding(doctor, VERDICT_FAIL, "config", file->path,
                       "chmod o-r, with the daemon's group as the file's group",
                       "everybody may read it, and a dsn in it may hold a password");
}

/* What is asked here later has a certificate of that authority, unless the environment names one. */
static void trust(const struct doctor_file *file)
{
    if (file->tls[0][0])
        (void)setenv(REST_CA, file->tls[0], 0);
}

/* Whether they fit together its daemon has said. */
static void check_certificate(struct doctor *doctor, const struct doctor_file *file)
{
    const struct tls_files files = {file->tls[0], file->tls[1], file->tls[2]};
    struct tls_credentials *credentials;
    char why[TLS_WHY_BYTES];
    long long days;

    if (!file->tls[1][0])
        return;
    if (tls_credentials_read(&credentials, &files, why) != AS_OK) {
        doctor_finding(doctor, VERDICT_FAIL, "tls", file->path,
                       "assent certs --help; docs/security.md", "%s", why);
        return;
    }
    days = ((long long)tls_credentials_expire(credentials) - (long long)time(NULL)) / 86400;
    tls_credentials_release(credentials);
    if (days < CERTIFICATE_DAYS_MIN)
        doctor_finding(doctor, VERDICT_WARN, "tls", file->tls[1],
                       "assent certs --renew, then systemctl reload", "it ends in %lld days", days);
    else
        doctor_finding(doctor, VERDICT_OK, "tls", file->tls[1], NULL, "it ends in %lld days", days);
}

/* Tokens and certificates that end soon; whether the file is right its daemon has said. */
static void check_tokens(struct doctor *doctor, const struct doctor_file *file)
{
    const int64_t soon = (int64_t)time(NULL) + (int64_t)CERTIFICATE_DAYS_MIN * 86400;
    char why[TOKEN_WHY_BYTES], until[AS_UTC_LEN + 1];
    struct as_grants grants;
    size_t ending = 0;

    if (!file->tokens[0])
        return;
    if (token_file_read(file->tokens, &grants, why)) {
        doctor_finding(doctor, VERDICT_FAIL, "tokens", file->path,
                       "assent token list FILE; docs/security.md", "%s", why);
        return;
    }
    for (uint32_t i = 0; i < grants.count; i++) {
        const struct as_grant *grant = &grants.list[i];

        if (!grant->expires || grant->expires > soon)
            continue;
        ending++;
        doctor_finding(doctor, VERDICT_WARN, "tokens", file->tokens,
                       "assent token new, then systemctl reload; or delete the line",
                       "%s may ask until %s", grant->name, as_utc_format(grant->expires, until));
    }
    if (!ending)
        doctor_finding(doctor, VERDICT_OK, "tokens", file->tokens, NULL, "%u lines",
                       (unsigned)grants.count);
    as_grants_close(&grants);
}

static bool read_file(struct doctor *doctor, struct doctor_file *file, const char *daemon)
{
    const struct config_schema schema = {.keys = keys,
                                         .key_count = AS_COUNT_OF(keys),
                                         .target = file,
                                         .target_of = participant_of,
                                         .ctx = file,
                                         .lenient = true};
    char error[512];

    if (config_read(file->path, &schema, error) != AS_OK) {
        doctor_finding(doctor, VERDICT_FAIL, "config", file->path,
                       access(file->path, R_OK)
                           ? "run assent doctor as a user who may read the file"
                           : "repair the line",
                       "%s", error);
        return false;
    }
    ask_daemon(doctor, file->path, daemon);
    check_secret(doctor, file);
    check_certificate(doctor, file);
    check_tokens(doctor, file);
    trust(file);
    return true;
}

/* Each of "1=a:1, 2=b:2" or "a:1, b:2". */
static void check_addresses(struct doctor *doctor, const char *list, const char *of)
{
    char copy[4096], *rest = NULL;

    (void)snprintf(copy, sizeof(copy), "%s", list);
    for (char *at = strtok_r(copy, ", ", &rest); at; at = strtok_r(NULL, ", ", &rest)) {
        char *equals = strchr(at, '=');

        doctor_address(doctor, equals ? equals + 1 : at, of);
    }
}

void doctor_node_file(struct doctor *doctor, const char *path)
{
    struct doctor_file *file = must_alloc(1, sizeof(*file));
    size_t len = strlen(doctor->apis);

    file->path = path;
    if (read_file(doctor, file, "assentd")) {
        if (!text_format(doctor->apis + len, sizeof(doctor->apis) - len, "%shttp%s://%s",
                         len ? "," : "", file->api_tls ? "s" : "",
                         file->api[0] ? file->api : "127.0.0.1:7480"))
            doctor->apis[len] = '\0';
        doctor_disk(doctor, file);
        check_addresses(doctor, file->nodes, path);
        doctor_databases(doctor, file);
    }
    free(file);
}

void doctor_agent_file(struct doctor *doctor, const char *path)
{
    struct doctor_file *file = must_alloc(1, sizeof(*file));

    file->path = path;
    if (read_file(doctor, file, "assent-agent")) {
        check_addresses(doctor, file->coordinators, path);
        doctor_databases(doctor, file);
    }
    free(file);
}
