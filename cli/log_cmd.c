/*
 * assent log verify and dump: a decision log's files, read only, also those of a node that runs
 * (its newest record may then be half written, which is taken for the torn tail it looks like).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "assent/alloc.h"
#include "cli/backup.h"
#include "cli/options.h"
#include "cli/rest.h"
#include "common/uv/disk.h"
#include "coordinator/log/log.h"
#include "coordinator/raft/raft.h"
#include "coordinator/txn/record.h"

static const char exits[] = "  0  the log is clean (a torn tail of a crash is)\n"
                            "  1  it is corrupt or cannot be read; file and offset are named\n"
                            "  2  wrong command line\n";

struct dump {
    bool print, as_json;
    uint64_t snapshot_bytes, entries, last_index, unreadable;
    struct txn_record record; /* large: not for the stack */
};

static void add_attempt(cJSON *object, const char *key, struct as_attempt attempt)
{
    char text[48];

    (void)text_format(text, sizeof(text), "%" PRIu64 ".%" PRIu64, attempt.term, attempt.seq);
    cJSON_AddStringToObject(object, key, text);
}

/* As text, since 64 bits do not fit into a JSON number that everybody reads. */
static void add_u64(cJSON *object, const char *key, uint64_t value)
{
    char text[24];

    (void)text_format(text, sizeof(text), "%" PRIu64, value);
    cJSON_AddRawToObject(object, key, text);
}

static void add_bytes(cJSON *object, const char *key, struct as_bytes bytes)
{
    char *text = must_alloc(bytes.len + 1, 1);

    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    cJSON_AddStringToObject(object, key, text);
    free(text);
}

static void add_identity(cJSON *object, const struct as_identity *identity)
{
    char text[2 * AS_IDENTITY_LEN + 1];

    for (size_t i = 0; i < AS_IDENTITY_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", identity->token[i]);
    cJSON_AddStringToObject(object, "identity", text);
}

static void add_commit(cJSON *object, const struct txn_record *record)
{
    cJSON *branches, *one;

    cJSON_AddStringToObject(object, "id", record->commit.id);
    add_attempt(object, "attempt", record->commit.attempt);
    cJSON_AddNumberToObject(object, "decided_ms", (double)record->commit.decided_ms);
    branches = cJSON_AddArrayToObject(object, "branches");
    for (uint32_t i = 0; i < record->commit.branch_count; i++) {
        const struct txn_record_branch *branch = &record->commit.branches[i];

        one = cJSON_CreateObject();
        cJSON_AddItemToArray(branches, one);
        cJSON_AddNumberToObject(one, "number", branch->number);
        cJSON_AddNumberToObject(one, "participant", branch->participant);
        add_u64(one, "xid", branch->xid);
        add_identity(one, &branch->identity);
    }
}

static void add_abort(cJSON *object, const struct txn_record *record)
{
    cJSON_AddStringToObject(object, "id", record->abort.id);
    add_attempt(object, "attempt", record->abort.attempt);
    cJSON_AddStringToObject(object, "reason", as_reason_text(record->abort.reason.code));
    cJSON_AddStringToObject(object, "message", record->abort.reason.message);
}

static void add_finish(cJSON *object, const struct txn_record *record)
{
    cJSON *attempts = cJSON_AddArrayToObject(object, "attempts");

    for (uint32_t i = 0; i < record->finish.count; i++) {
        struct as_attempt attempt = txn_record_attempt(record, i);
        char text[48];

        (void)text_format(text, sizeof(text), "%" PRIu64 ".%" PRIu64, attempt.term, attempt.seq);
        cJSON_AddItemToArray(attempts, cJSON_CreateString(text));
    }
}

static void add_participant(cJSON *object, const struct txn_record *record)
{
    cJSON_AddStringToObject(object, "name", record->participant.name);
    add_identity(object, &record->participant.identity);
    add_u64(object, "counter", record->participant.counter);
    add_u64(object, "system_id", record->participant.system_id);
    cJSON_AddNumberToObject(object, "timeline", record->participant.timeline);
}

static void add_resolve(cJSON *object, const struct txn_record *record)
{
    char gid[AS_GID_LEN_MAX + 1];

    as_gid_format(&record->resolve.gid, gid);
    cJSON_AddNumberToObject(object, "participant", record->resolve.participant);
    cJSON_AddStringToObject(object, "gid", gid);
    add_u64(object, "xid", record->resolve.xid);
    cJSON_AddStringToObject(object, "decision", record->resolve.commit ? "commit" : "abort");
    add_bytes(object, "who", record->resolve.who);
    add_bytes(object, "why", record->resolve.why);
}

static void add_record(cJSON *object, const struct txn_record *record)
{
    switch (record->type) {
    case TXN_RECORD_COMMIT:
        add_commit(object, record);
        break;
    case TXN_RECORD_FINISH:
        add_finish(object, record);
        break;
    case TXN_RECORD_ABORT:
        add_abort(object, record);
        break;
    case TXN_RECORD_HEURISTIC:
        add_attempt(object, "attempt", record->heuristic.attempt);
        cJSON_AddNumberToObject(object, "branch", record->heuristic.branch);
        cJSON_AddStringToObject(object, "what", as_branch_state_text(record->heuristic.what));
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        add_attempt(object, "attempt", record->acknowledge.attempt);
        cJSON_AddNumberToObject(object, "branch", record->acknowledge.branch);
        add_bytes(object, "who", record->acknowledge.who);
        add_bytes(object, "why", record->acknowledge.why);
        break;
    case TXN_RECORD_HORIZON:
        add_attempt(object, "attempt", record->horizon);
        break;
    case TXN_RECORD_PARTICIPANT:
        add_participant(object, record);
        break;
    case TXN_RECORD_RESOLVE:
        add_resolve(object, record);
        break;
    case TXN_RECORD_NOOP:
    case TXN_RECORD_END:
        break;
    }
}

static const char *type_text(uint8_t type)
{
    return type == RAFT_ENTRY_MEMBERS ? "MEMBERS" : txn_record_type_text(type);
}

/* Raft's own entry: everything else is the table's. */
static as_err add_members(cJSON *object, struct as_bytes payload)
{
    struct raft_members members;
    as_err err = raft_members_take(payload, &members);
    cJSON *array;

    if (err)
        return err;
    array = cJSON_AddArrayToObject(object, "members");
    for (uint32_t i = 0; i < members.count; i++) {
        const struct raft_member *member = &members.list[i];
        cJSON *one = cJSON_CreateObject();

        add_u64(one, "id", member->id);
        cJSON_AddStringToObject(one, "role", member->role == RAFT_VOTER ? "voter" : "learner");
        cJSON_AddStringToObject(one, "address", member->address);
        cJSON_AddItemToArray(array, one);
    }
    return AS_OK;
}

static as_err add_payload(struct dump *dump, cJSON *object, const struct log_entry *entry)
{
    as_err err;

    if (entry->type == RAFT_ENTRY_MEMBERS)
        return add_members(object, entry->payload);
    err = txn_record_take(entry->type, entry->payload, &dump->record);
    if (!err)
        add_record(object, &dump->record);
    return err;
}

/* JSON: one object a line. For people: the same, with what the log knows itself in front. */
static void print_entry(const struct dump *dump, const struct log_entry *entry, cJSON *fields)
{
    char *text = cJSON_PrintUnformatted(fields);

    if (dump->as_json)
        puts(text);
    else
        printf("%10" PRIu64 "  term %-4" PRIu64 "  %-11s %s\n", entry->index, entry->term,
               type_text(entry->type), text);
    free(text);
}

static as_err on_entry(void *ctx, const struct log_entry *entry)
{
    struct dump *dump = ctx;
    cJSON *fields = cJSON_CreateObject();
    as_err err;

    dump->entries++;
    dump->last_index = entry->index;
    if (dump->as_json) {
        add_u64(fields, "index", entry->index);
        add_u64(fields, "term", entry->term);
        cJSON_AddNumberToObject(fields, "time_ms", (double)entry->time_ms);
        cJSON_AddStringToObject(fields, "type", type_text(entry->type));
    }
    err = add_payload(dump, fields, entry);
    dump->unreadable += err != AS_OK;
    if (err)
        complain("entry %" PRIu64 " (type %u, %zu bytes): %s", entry->index, entry->type,
                 entry->payload.len, as_err_text(err));
    if (dump->print)
        print_entry(dump, entry, fields);
    cJSON_Delete(fields);
    return AS_OK;
}

static as_err on_snapshot(void *ctx, struct as_bytes chunk, bool last)
{
    struct dump *dump = ctx;

    dump->snapshot_bytes += chunk.len;
    if (last && dump->print)
        fprintf(stderr, "a snapshot of %" PRIu64 " bytes stands before these entries\n",
                dump->snapshot_bytes);
    return AS_OK;
}

static as_err on_vote(void *ctx, uint64_t term, uint64_t voted_for)
{
    const struct dump *dump = ctx;

    if (dump->print && dump->as_json)
        printf("{\"type\":\"VOTE\",\"term\":%" PRIu64 ",\"voted_for\":%" PRIu64 "}\n", term,
               voted_for);
    else if (dump->print)
        printf("%10s  term %-4" PRIu64 "  %-11s {\"voted_for\":%" PRIu64 "}\n", "-", term, "VOTE",
               voted_for);
    return AS_OK;
}

/* Raft's: another leader's entries take the place of these, which were never committed. */
static as_err on_truncate(void *ctx, uint64_t index)
{
    struct dump *dump = ctx;

    dump->entries -= dump->last_index - index + 1;
    dump->last_index = index - 1;
    if (dump->print && dump->as_json)
        printf("{\"type\":\"TRUNCATE\",\"from\":%" PRIu64 "}\n", index);
    else if (dump->print)
        printf("%10s  %-9s  %-11s {\"from\":%" PRIu64 "}\n", "-", "", "TRUNCATE", index);
    return AS_OK;
}

static void print_report(const struct log_report *report, const struct dump *dump, bool as_json)
{
    if (as_json) {
        cJSON *all = cJSON_CreateObject();
        char incarnation[24];

        (void)text_format(incarnation, sizeof(incarnation), "%016" PRIx64, report->incarnation);
        cJSON_AddTrueToObject(all, "clean");
        cJSON_AddStringToObject(all, "cluster", report->cluster);
        cJSON_AddStringToObject(all, "incarnation", incarnation);
        add_u64(all, "node", report->node);
        add_u64(all, "segments", report->segments);
        add_u64(all, "records", report->records);
        add_u64(all, "entries", dump->entries);
        add_u64(all, "snapshot_index", report->snapshot_index);
        cJSON_AddBoolToObject(all, "snapshot_received", report->snapshot_received);
        add_u64(all, "truncations", report->truncations);
        add_u64(all, "first_index", report->first_index);
        add_u64(all, "last_index", report->last_index);
        add_u64(all, "last_term", report->last_term);
        add_u64(all, "torn_bytes", report->cut_bytes);
        json_print(all);
        cJSON_Delete(all);
        return;
    }
    printf("clean: cluster %s, incarnation %016" PRIx64 ", node %" PRIu64 "\n"
           "  %u segments, %" PRIu64 " records, %" PRIu64 " entries %" PRIu64 " to %" PRIu64
           ", last term %" PRIu64 "\n"
           "  %ssnapshot at %" PRIu64 ", %" PRIu64 " truncations, torn tail of %" PRIu64 " bytes\n",
           report->cluster, report->incarnation, report->node, report->segments, report->records,
           dump->entries, report->first_index, report->last_index, report->last_term,
           report->snapshot_received ? "received " : "", report->snapshot_index,
           report->truncations, report->cut_bytes);
}

static int log_read(const char *dir, struct dump *dump, struct log_report *ret_report)
{
    const struct log_config config = {.read_only = true};
    const struct log_replay replay = {dump, on_snapshot, on_entry, on_vote, on_truncate};
    struct disk *disk;
    struct as_disk door;
    struct log *log;
    char error[512];
    as_err err = disk_open(&disk, dir, DISK_READ, error);

    if (err) {
        complain("%s", error);
        return CLI_NEGATIVE;
    }
    door = disk_door(disk);
    err = log_open(&log, &config, &door, &replay, ret_report);
    if (err)
        complain("%s: %s%s%s", dir, as_err_text(err), ret_report->detail[0] ? ": " : "",
                 ret_report->detail);
    else
        log_free(log);
    disk_close(disk);
    return err || dump->unreadable ? CLI_NEGATIVE : CLI_OK;
}

static bool is_file(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static int log_command(const struct command *command, int argc, char **argv, struct dump *dump)
{
    struct log_report report = {0};
    const char *dir;
    int exit_code;

    if (!options_parse(command, argc, argv, &dir, NULL, &exit_code)) {
        dump->print = true; /* nothing more is said */
    } else if (!dump->print && is_file(dir)) {
        struct node_backup_report backup;

        exit_code = backup_verify(dir, &backup) ? CLI_OK : CLI_NEGATIVE;
        if (exit_code == CLI_OK)
            backup_print(dir, &backup, dump->as_json);
        dump->print = true;
    } else {
        exit_code = log_read(dir, dump, &report);
    }
    if (!dump->print && exit_code == CLI_OK)
        print_report(&report, dump, dump->as_json);
    free(dump);
    return exit_code;
}

int cmd_log_verify(int argc, char **argv)
{
    struct dump *dump = must_alloc(1, sizeof(*dump));
    const struct option table[] = {{OPTION_FLAG, "json", NULL, "print JSON", &dump->as_json, 0, 0}};
    const struct command command = {
        .name = "log verify",
        .usage = "DIR|BACKUP",
        .about =
            "Reads a node's decision log (its data_dir) from end to end, or a backup (`assent\n"
            "backup`), checks every checksum and record, and says what it found. Changes\n"
            "nothing.",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};

    return log_command(&command, argc, argv, dump);
}

int cmd_log_dump(int argc, char **argv)
{
    struct dump *dump = must_alloc(1, sizeof(*dump));
    const struct option table[] = {
        {OPTION_FLAG, "json", NULL, "one JSON object a line", &dump->as_json, 0, 0}};
    const struct command command = {
        .name = "log dump",
        .usage = "DIR",
        .about = "Prints the records of a node's decision log (its data_dir) behind its newest\n"
                 "snapshot, oldest first. Participants are numbered as their PARTICIPANT records\n"
                 "came. Changes nothing.",
        .exits = exits,
        .options = table,
        .option_count = AS_COUNT_OF(table),
        .words_min = 1,
        .words_max = 1};

    dump->print = true;
    return log_command(&command, argc, argv, dump);
}
