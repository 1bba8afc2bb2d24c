/*
 * assent token: tokens by which clients of the API say who they are, and the file that knows them (docs/security.md).
 *
 * Fault model: a file that is not right, or would not be with one line more, is left as it is. A crash may leave half a
 * line at its end, which the daemon refuses by its number.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/rest.h"
#include "cli/table.h"
#include "common/utc.h"
#include "common/uv/token.h"

#define DAY_S 86400

struct wanted {
    const char *name, *expires, *file;
    struct option_list roles, participants;
    uint64_t rate, days;
};

/* --- One more line --- */

static void join(const struct option_list *list, char *ret_text, size_t size)
{
    size_t len = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < list->count && len < size; i++)
        len += (size_t)snprintf(ret_text + len, size - len, "%s%s", i ? "," : "", list->items[i]);
}

/* What was asked for as a line of the file. False: it has been complained about. */
static bool line_make(const struct wanted *wanted, const char *token,
                      char ret_line[AS_GRANT_LINE_MAX + 1])
{
    char roles[128], participants[AS_GRANT_LINE_MAX], hash[2 * AS_HASH_LEN + 1], rate[40] = "";
    char expires[64] = "", until[AS_UTC_LEN + 1], why[AS_GRANT_WHY_BYTES];
    uint8_t sha256[AS_HASH_LEN];
    struct as_grant grant;

    join(&wanted->roles, roles, sizeof(roles));
    join(&wanted->participants, participants, sizeof(participants));
    if (!token_hash(token, sha256))
        return false;
    for (size_t i = 0; i < AS_HASH_LEN; i++)
        (void)snprintf(hash + 2 * i, 3, "%02x", sha256[i]);
    if (wanted->rate)
        (void)text_format(rate, sizeof(rate), " rate=%llu/s", (unsigned long long)wanted->rate);
    if (wanted->days)
        (void)text_format(
            expires, sizeof(expires), " expires=%s",
            as_utc_format((int64_t)time(NULL) + (int64_t)wanted->days * DAY_S, until));
    else if (wanted->expires)
        (void)text_format(expires, sizeof(expires), " expires=%.40s", wanted->expires);
    if (!text_format(ret_line, AS_GRANT_LINE_MAX + 1, "%s role=%s%s%s sha256=%s%s%s", wanted->name,
                     roles, wanted->participants.count ? " participants=" : "", participants, hash,
                     rate, expires)) {
        complain("token new: the line would be longer than %d bytes", AS_GRANT_LINE_MAX);
        return false;
    }
    if (!as_grant_parse((struct as_bytes){(const uint8_t *)ret_line, strlen(ret_line)}, &grant,
                        why))
        return true;
    complain("token new: %s", why);
    return false;
}

static bool file_fail(const char *path, const char *why)
{
    complain("%s: %s", path, why);
    return false;
}

/* The file as it would be with the line. */
static bool check_with(const char *path, const struct as_buf *text)
{
    char why[AS_GRANT_WHY_BYTES];
    struct as_grants grants;

    if (text->err || as_grants_parse(as_buf_bytes(text), &grants, why))
        return file_fail(path, text->err ? as_err_text(text->err) : why);
    as_grants_close(&grants);
    return true;
}

static bool append_open(int fd, const char *path, const char *line)
{
    struct as_buf text;
    uint8_t *room;
    ssize_t n;
    size_t before;
    bool well;

    as_buf_init(&text, TOKEN_FILE_BYTES_MAX);
    do {
        room = as_buf_extend(&text, 4096);
        n = room ? read(fd, room, 4096) : 0;
        text.len -= room ? 4096 - (n > 0 ? (size_t)n : 0) : 0;
    } while (n > 0);
    before = text.len;
    if (text.len && text.data[text.len - 1] != '\n')
        as_put_u8(&text, '\n');
    as_put_bytes(&text, line, strlen(line));
    as_put_u8(&text, '\n');
    well = n < 0 ? file_fail(path, strerror(errno)) : check_with(path, &text);
    if (well && (write(fd, text.data + before, text.len - before) != (ssize_t)(text.len - before) ||
                 fsync(fd)))
        well = file_fail(path, strerror(errno));
    as_buf_close(&text);
    return well;
}

static bool line_append(const char *path, const char *line)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    bool well;

    if (fd < 0)
        return file_fail(path, strerror(errno));
    well = append_open(fd, path, line);
    return close(fd) == 0 && well;
}

int cmd_token_new(int argc, char **argv)
{
    struct wanted wanted = {.name = NULL};
    const struct option table[] = {
        {OPTION_TEXT, "name", "NAME", "who will show it (required)", &wanted.name, 0, 0},
        {OPTION_LIST, "role", "ROLE", "app, viewer or operator (required); may be repeated",
         &wanted.roles, 0, 0},
        {OPTION_LIST, "participant", "NAME", "that an app may use; may be repeated",
         &wanted.participants, 0, 0},
        {OPTION_NUMBER, "rate", "N", "requests a second at each node (any number)", &wanted.rate, 1,
         AS_GRANT_RATE_MAX},
        {OPTION_NUMBER, "days", "N", "so long it is valid (for ever)", &wanted.days, 1, 36500},
        {OPTION_TEXT, "expires", "TIME", "until then: 2027-01-31T00:00:00Z", &wanted.expires, 0, 0},
        {OPTION_TEXT, "file", "FILE", "adds the line to it, so that only the token is printed",
         &wanted.file, 0, 0}};
    const struct command command = {
        .name = "token new",
        .about =
            "Makes a token, prints it, and below it the line for the file of [api] tokens, which\n"
            "holds only its hash: nobody can print the token again. Then send SIGHUP to each node\n"
            "whose file has the line; a deleted line ends a token in the same way.\n"
            "\n"
            "  assent token new --name shop --role app --participant bank_a --participant bank_b\n"
            "  (umask 077; assent token new --name ops --role operator --file tokens > ops.token)",
        .options = table,
        .option_count = AS_COUNT_OF(table)};
    char token[TOKEN_LEN + 1], line[AS_GRANT_LINE_MAX + 1];
    int exit_code;

    if (!options_parse(&command, argc, argv, NULL, NULL, &exit_code))
        return exit_code;
    if (!wanted.name || !wanted.roles.count || (wanted.days && wanted.expires)) {
        complain("token new: --name and --role are required, and only one of --days and --expires "
                 "(see `assent token new --help`)");
        return CLI_USAGE;
    }
    if (!token_make(token)) {
        complain("the system gives no random bytes");
        return CLI_NEGATIVE;
    }
    if (!line_make(&wanted, token, line))
        return CLI_USAGE;
    if (wanted.file && !line_append(wanted.file, line))
        return CLI_NEGATIVE;
    printf("%s\n", token);
    if (!wanted.file)
        printf("%s\n", line);
    return fflush(stdout) == 0 ? CLI_OK : CLI_NEGATIVE;
}

/* --- What a file says --- */

/* Of a token the beginning of its hash, by which its line is found. */
static void proof_text(const struct as_grant *grant, char ret_text[32])
{
    if (grant->certificate)
        (void)text_format(ret_text, 32, "certificate");
    else
        (void)text_format(ret_text, 32, "token %02x%02x%02x%02x", grant->sha256[0],
                          grant->sha256[1], grant->sha256[2], grant->sha256[3]);
}

static void expiry_text(const struct as_grant *grant, char ret_text[64])
{
    char until[AS_UTC_LEN + 1];

    (void)text_format(ret_text, 64, "%s%s",
                      grant->expires ? as_utc_format(grant->expires, until) : "never",
                      grant->expires && grant->expires <= (int64_t)time(NULL) ? " (is over)" : "");
}

static void print_grants(const struct as_grants *grants)
{
    static const char *const titles[] = {"NAME", "ROLES", "BY", "PARTICIPANTS", "RATE", "EXPIRES"};
    struct table table;

    table_init(&table, AS_COUNT_OF(titles));
    for (size_t i = 0; i < AS_COUNT_OF(titles); i++)
        table_cell(&table, titles[i]);
    for (uint32_t i = 0; i < grants->count; i++) {
        const struct as_grant *grant = &grants->list[i];
        char roles[AS_ROLES_TEXT_MAX], proof[32], rate[32] = "", expiry[64];
        char participants[AS_GRANT_LINE_MAX + 1];

        proof_text(grant, proof);
        expiry_text(grant, expiry);
        if (grant->rate)
            (void)text_format(rate, sizeof(rate), "%u/s", (unsigned)grant->rate);
        (void)text_format(participants, sizeof(participants), "%.*s", (int)grant->participants.len,
                          grant->participants.len ? (const char *)grant->participants.data : "");
        table_cell(&table, grant->name);
        table_cell(&table, as_roles_text(grant->roles, roles));
        table_cell(&table, proof);
        table_cell(&table, participants);
        table_cell(&table, rate);
        table_cell(&table, expiry);
    }
    table_print(&table);
}

/* "a,b" as an array. */
static void add_words(cJSON *object, const char *key, const char *text, size_t len)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);
    char *copy = must_alloc(len + 1, 1), *rest = NULL;

    if (len)
        memcpy(copy, text, len);
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        cJSON_AddItemToArray(array, cJSON_CreateString(word));
    free(copy);
}

static void print_grants_json(const struct as_grants *grants)
{
    cJSON *array = cJSON_CreateArray();

    for (uint32_t i = 0; i < grants->count; i++) {
        const struct as_grant *grant = &grants->list[i];
        char roles[AS_ROLES_TEXT_MAX], until[AS_UTC_LEN + 1];
        cJSON *one = cJSON_CreateObject();

        cJSON_AddItemToArray(array, one);
        cJSON_AddStringToObject(one, "name", grant->name);
        (void)as_roles_text(grant->roles, roles);
        add_words(one, "roles", roles, strlen(roles));
        add_words(one, "participants", (const char *)grant->participants.data,
                  grant->participants.len);
        cJSON_AddStringToObject(one, "by", grant->certificate ? "certificate" : "token");
        cJSON_AddItemToObject(one, "rate",
                              grant->rate ? cJSON_CreateNumber(grant->rate) : cJSON_CreateNull());
        cJSON_AddItemToObject(one, "expires",
                              grant->expires
                                  ? cJSON_CreateString(as_utc_format(grant->expires, until))
                                  : cJSON_CreateNull());
    }
    json_print(array);
    cJSON_Delete(array);
}

int cmd_token_list(int argc, char **argv)
{
    bool as_json = false;
    const char *path;
    const struct option table[] = {
        {OPTION_FLAG, "json", NULL, "an array, on one line", &as_json, 0, 0}};
    const struct command command = {
        .name = "token list",
        .usage = "FILE",
        .about = "Checks a file of [api] tokens, and shows who may do what by it.",
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};
    char why[TOKEN_WHY_BYTES];
    struct as_grants grants;
    int exit_code;

    if (!options_parse(&command, argc, argv, &path, NULL, &exit_code))
        return exit_code;
    if (token_file_read(path, &grants, why)) {
        complain("%s", why);
        return CLI_NEGATIVE;
    }
    if (as_json)
        print_grants_json(&grants);
    else
        print_grants(&grants);
    as_grants_close(&grants);
    return CLI_OK;
}
