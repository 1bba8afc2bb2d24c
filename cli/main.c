/*
 * assent: the command line. Here: which command is which function.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/process.h"

struct entry {
    const char *first, *second; /* second NULL: a command of one word */
    int (*run)(int argc, char **argv);
    const char *summary;
};

static const struct entry entries[] = {
    {"sandbox", NULL, cmd_sandbox, "private databases, agents and a coordinator, to try things"},
    {"sandbox", "kill", cmd_sandbox_kill, "kill -9 one process of a running sandbox"},
    {"sandbox", "restart", cmd_sandbox_restart, "start one process of it again"},
    {"sandbox", "add-node", cmd_sandbox_add_node, "start one more coordinator node of it"},
    {"sandbox", "status", cmd_sandbox_status, "what of it runs"},
    {"sandbox", "stop", cmd_sandbox_stop, "stop all of it"},
    {"demo", NULL, cmd_demo, "move money, kill -9 everything in turn, prove that nothing is lost"},
    {"bench", NULL, cmd_bench,
     "measure throughput and latency, compare with bare two-phase commit"},
    {"load", NULL, cmd_load, "move money through a running cluster and keep a journal of it"},
    {"txn", "run", cmd_txn_run, "run a transaction from a JSON file"},
    {"txn", "show", cmd_txn_show, "one transaction"},
    {"txn", "list", cmd_txn_list, "transactions, newest first"},
    {"txn", "acknowledge", cmd_txn_acknowledge, "close a heuristic outcome"},
    {"participant", "list", cmd_participant_list, "participants and their agents"},
    {"participant", "show", cmd_participant_show, "one participant"},
    {"participant", "prepared", cmd_participant_prepared, "what is prepared in its database"},
    {"participant", "resolve", cmd_participant_resolve, "finish a branch nobody can answer for"},
    {"participant", "settle", cmd_participant_settle,
     "finish what a restored log has the commit of"},
    {"cluster", "status", cmd_cluster_status, "the nodes, who leads, how far the others are"},
    {"cluster", "add", cmd_cluster_add, "take in a node that was started with --join"},
    {"cluster", "remove", cmd_cluster_remove, "remove a node for good"},
    {"cluster", "transfer", cmd_cluster_transfer, "hand leadership to another node"},
    {"top", NULL, cmd_top, "a cluster live: throughput, latencies, nodes, participants"},
    {"doctor", NULL, cmd_doctor, "check an installation, and say what to do"},
    {"certs", NULL, cmd_certs, "make keys and certificates for nodes, agents and clients"},
    {"token", "new", cmd_token_new, "make a token by which a client of the API says who it is"},
    {"token", "list", cmd_token_list, "who may do what, as a file of tokens says it"},
    {"backup", NULL, cmd_backup, "copy what a node's decision log holds, consistent and checked"},
    {"log", "verify", cmd_log_verify, "check a decision log's files, or a backup"},
    {"log", "dump", cmd_log_dump, "print a decision log's records"},
};

void complain(const char *format, ...)
{
    va_list args;

    fputs("assent: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        complain("out of memory");
        exit(CLI_NEGATIVE);
    }
    return memory;
}

char *must_copy(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(must_alloc(1, size), text, size);
}

bool text_format(char *ret_text, size_t size, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(ret_text, size, format, args);
    va_end(args);
    return len >= 0 && (size_t)len < size;
}

as_time clock_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (as_time)now.tv_sec * AS_SECOND + (as_time)now.tv_nsec;
}

static void print_help(FILE *out)
{
    fputs("Usage: assent COMMAND [options]\n\nCommands:\n", out);
    for (size_t i = 0; i < AS_COUNT_OF(entries); i++) {
        char name[64];

        (void)text_format(name, sizeof(name), "%s%s%s", entries[i].first,
                          entries[i].second ? " " : "", entries[i].second ? entries[i].second : "");
        fprintf(out, "  %-21s %s\n", name, entries[i].summary);
    }
    fputs("\n`assent COMMAND --help` tells more. `assent --version` prints the version.\n", out);
}

/* Two words before one: "sandbox kill" is not a sandbox with an argument. */
static const struct entry *entry_find(int argc, char **argv)
{
    const struct entry *found = NULL;

    for (size_t i = 0; i < AS_COUNT_OF(entries); i++) {
        if (strcmp(entries[i].first, argv[1]) != 0)
            continue;
        if (!entries[i].second)
            found = &entries[i];
        else if (argc > 2 && strcmp(entries[i].second, argv[2]) == 0)
            return &entries[i];
    }
    return found;
}

int main(int argc, char **argv)
{
    const struct entry *entry;
    int skip;

    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], PROCESS_LAUNCH) == 0)
        return process_launch(argc - 2, argv + 2);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("assent " AS_VERSION);
        return CLI_OK;
    }
    entry = entry_find(argc, argv);
    if (!entry) {
        complain("no such command: %s%s%s (see `assent --help`)", argv[1], argc > 2 ? " " : "",
                 argc > 2 ? argv[2] : "");
        return CLI_USAGE;
    }
    skip = entry->second ? 2 : 1;
    return entry->run(argc - skip, argv + skip);
}
