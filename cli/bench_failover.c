/*
 * How long a cluster commits nothing when its leader is gone: from that moment to the first transfer
 * that a client is told is committed, as a client sees it that tries one of the other nodes after
 * the other with the same id. Gone is: killed (SIGKILL, its connections are closed); or silent, as
 * if it was cut off from the network (SIGSTOP, they are not).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cli/bench.h"
#include "cli/rest.h"
#include "cli/sandbox.h"

#define NEXT_COMMIT_MAX (30 * AS_SECOND)
#define ASK_MS 5000
#define LEADER_MS 30000

struct failover {
    struct sandbox *sandbox;
    uint64_t run; /* random: part of every id */
    uint64_t number;
    int signal; /* what happens to the leader */
};

static bool somebody_leads(void *ctx)
{
    struct failover *failover = ctx;

    return sandbox_leader(failover->sandbox) >= 0;
}

static bool commits(const char *api, const char *body)
{
    struct rest_reply reply;
    char error[256];
    bool well;

    if (!rest_call(api, "/v1/transactions", body, ASK_MS, &reply, error))
        return false;
    well = (reply.status == 200 || reply.status == 202) &&
           strcmp(json_text(reply.json, "state", ""), "committed") == 0;
    rest_reply_close(&reply);
    return well;
}

/* Asks every node but `dead` (-1: none is) in turn until one says committed. Seconds since `since`;
 * negative: none did. */
static double commit_somewhere(struct failover *failover, int dead, as_time since)
{
    const struct timespec pause = {.tv_nsec = 2 * AS_MS};
    struct sandbox *sandbox = failover->sandbox;
    char body[1024];

    (void)text_format(
        body, sizeof(body),
        "{\"id\":\"failover-%016llx-%llu\",\"wait\":\"decided\",\"timeout_ms\":5000,\"branches\":["
        "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
        "balance - 1 WHERE id = 1\",\"expect_rows\":1}]},"
        "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE accounts SET balance = "
        "balance + 1 WHERE id = 1\",\"expect_rows\":1}]}]}",
        (unsigned long long)failover->run, (unsigned long long)failover->number++);
    while (clock_now() - since < NEXT_COMMIT_MAX) {
        for (size_t i = 0; i < sandbox->node_count; i++)
            if ((int)i != dead && commits(sandbox->nodes[i].api, body))
                return (double)(clock_now() - since) / 1e9;
        (void)nanosleep(&pause, NULL);
    }
    complain("bench: no commit within %d s after the leader was gone",
             (int)(NEXT_COMMIT_MAX / AS_SECOND));
    return -1;
}

static bool one_try(struct failover *failover, double *ret_seconds)
{
    struct sandbox *sandbox = failover->sandbox;
    struct process *process;
    char error[512];
    int leader;

    if (loop_wait(sandbox->loop, somebody_leads, failover, LEADER_MS, 10) != LOOP_MET) {
        complain("bench: interrupted, or no node leads");
        return false;
    }
    leader = sandbox_leader(sandbox);
    /* A commit first, so that nothing is left of the restart before. */
    if (leader < 0 || commit_somewhere(failover, -1, clock_now()) < 0)
        return false;
    process = &sandbox->nodes[leader].process;
    process->wanted = failover->signal == SIGSTOP;
    process_signal(process, failover->signal);
    *ret_seconds = commit_somewhere(failover, leader, clock_now());
    if (failover->signal == SIGSTOP) {
        process_signal(process, SIGCONT);
        return *ret_seconds >= 0;
    }
    if (*ret_seconds < 0)
        return false;
    if (sandbox_restart(sandbox, process->name, NULL, error))
        return true;
    complain("bench: %s", error);
    return false;
}

static void add_seconds(cJSON *result, const char *key, double seconds)
{
    char text[32];

    (void)text_format(text, sizeof(text), "%.3f", seconds);
    cJSON_AddRawToObject(result, key, text);
}

static bool measure(struct failover *failover, uint64_t tries, const char *name, cJSON *result)
{
    double seconds[BENCH_ROUNDS_MAX], longest = 0;
    char key[64];

    for (uint64_t i = 0; i < tries; i++) {
        if (!one_try(failover, &seconds[i]))
            return false;
        longest = seconds[i] > longest ? seconds[i] : longest;
        fprintf(stderr, "%llu/%llu  leader %s, the next commit after %.3f s\n",
                (unsigned long long)i + 1, (unsigned long long)tries,
                failover->signal == SIGSTOP ? "silent" : "killed", seconds[i]);
    }
    (void)text_format(key, sizeof(key), "%s_median_s", name);
    add_seconds(result, key, bench_median(seconds, (size_t)tries));
    (void)text_format(key, sizeof(key), "%s_max_s", name);
    add_seconds(result, key, longest);
    return true;
}

bool bench_failover(struct sandbox *sandbox, uint64_t tries, cJSON *result)
{
    struct failover failover = {.sandbox = sandbox, .signal = SIGKILL};

    if (getrandom(&failover.run, sizeof(failover.run), 0) != sizeof(failover.run) ||
        !measure(&failover, tries, "failover", result))
        return false;
    failover.signal = SIGSTOP;
    return measure(&failover, tries, "partition", result);
}
