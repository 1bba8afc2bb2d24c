/*
 * assentd with a load inside: the same node, log, Raft, links and loop, and a driver that proposes
 * decisions at whichever node leads, as if its transaction core had taken them. It measures the
 * replicated log alone: no HTTP, no agents, no votes. A program of its own, so that no coordinator
 * can ever be made to do this.
 *
 *   ASSENT_BENCH_PLAN=STEP,STEP,...  assent-bench-node --config FILE [--bootstrap]
 *
 *   one:SECONDS:WARMUP          one decision at a time, in turn with bare 4 KiB overwrites + syncs
 *   many:SECONDS:WARMUP:FLIGHT  so many in flight
 *   fill:FINISHED:UNFINISHED    until the table holds so many outcomes of either kind
 *
 * A decision is a COMMIT record of two branches; what is applied is finished by FINISH records that
 * name many, as the core's do. The leader begins as soon as it is linked with all the others, and
 * prints a line "BENCH {...}" for each step, and "BENCH {"done":true}" at the end. Then the node runs
 * on until SIGTERM. Leadership lost, or a proposal refused, ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/uv/arguments.h"
#include "common/uv/say.h"
#include "coordinator/node/internal.h"
#include "coordinator/shell/env.h"
#include "coordinator/txn/table.h"

#define STEPS_MAX 8
#define RING 65536u /* entries in flight, FINISH too */
#define FINISH_MAX 1024u
#define FILL_FLIGHT 1024u
#define SLICE 8u /* decisions, then as many bare syncs: few, for the loop waits for them */
#define BARE_BLOCKS 1024u
#define BARE_BYTES 4096u
#define SAMPLES_MAX 1000000u
#define STALL_NS (20 * AS_MS)
#define ID_SEQ_AT 23 /* bench-TERM-SEQ, 16 hexadecimal and 12 decimal digits */
#define ID_SEQ_DIGITS 12
#define SETTLE_NS (500 * AS_MS) /* linked for so long before it begins */

enum step_kind { STEP_ONE, STEP_MANY, STEP_FILL };

struct step {
    enum step_kind kind;
    uint64_t seconds, warmup, flight; /* ONE, MANY */
    uint64_t finished, unfinished;    /* FILL */
};

struct samples {
    uint32_t *ns;
    size_t count;
};

struct driver {
    struct shell *shell;
    uv_prepare_t turn;
    struct step steps[STEPS_MAX];
    uint32_t step_count, at;
    as_time linked_at; /* 0: not yet */
    uint64_t term;     /* that it began in; 0: not yet */
    uint32_t participants[2];
    struct as_buf payload;
    int64_t wall_ms; /* at the beginning of this turn */

    uint64_t seq;  /* of the next attempt */
    uint64_t seen; /* applied entries up to here are counted */
    as_time submitted[RING];
    uint64_t attempt[RING]; /* 0: no COMMIT */
    uint64_t in_flight;     /* COMMITs */
    uint64_t finishing;     /* entries of FINISH in flight */
    uint64_t to_finish[RING];
    uint32_t to_finish_count;

    /* The step under way. */
    as_time from, until; /* 0: it has not begun */
    uint64_t proposed, done, window_count, stalls;
    as_time latency_max, gap_max, done_at;
    struct samples decisions, bare;
    uint32_t slice;
    int bare_fd;
    uint32_t bare_block;
};

static struct driver driver;

static _Noreturn void end(const char *why)
{
    fprintf(stderr, "assent-bench-node: %s\n", why);
    _exit(1);
}

static as_time now(void)
{
    return (as_time)uv_hrtime();
}

static struct node *the_node(void)
{
    return driver.shell->env.node;
}

static void sample(struct samples *samples, as_time took)
{
    if (samples->count < SAMPLES_MAX)
        samples->ns[samples->count++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Nearest rank, microseconds; the samples are sorted by it. */
static double quantile_us(const struct samples *samples, double quantile)
{
    size_t rank = (size_t)(quantile * (double)samples->count);

    if (samples->count == 0)
        return 0;
    qsort(samples->ns, samples->count, sizeof(*samples->ns), compare_u32);
    return samples->ns[rank < samples->count ? rank : samples->count - 1] / 1e3;
}

/* --- Proposing --- */

static uint64_t last_index(void)
{
    struct raft_status status;

    raft_look(the_node()->raft, &status);
    return status.last_index;
}

static void propose(const struct txn_record *record, struct as_attempt attempt)
{
    uint64_t index = last_index() + 1;

    as_buf_clear(&driver.payload);
    txn_record_put(&driver.payload, record);
    if (driver.payload.err)
        end("out of memory");
    driver.submitted[index % RING] = now();
    driver.attempt[index % RING] = record->type == TXN_RECORD_COMMIT ? attempt.seq : 0;
    node_propose(the_node(), (uint8_t)record->type, attempt, as_buf_bytes(&driver.payload));
    if (last_index() != index)
        end("a proposal was refused");
}

static void put_decimal(char *ret_text, int digits, uint64_t number)
{
    while (digits-- > 0) {
        ret_text[digits] = (char)('0' + number % 10);
        number /= 10;
    }
}

/* The record is kept and changed: what the driver does for a decision is in its time as well. */
static void propose_commit(void)
{
    static struct txn_record record = {.type = TXN_RECORD_COMMIT};
    struct as_attempt attempt = {driver.term, ++driver.seq};

    if (!record.commit.branch_count) {
        memset(record.commit.body_hash, 0xab, sizeof(record.commit.body_hash));
        record.commit.branch_count = 2;
        for (uint32_t i = 0; i < 2; i++)
            record.commit.branches[i] =
                (struct txn_record_branch){.number = i + 1, .participant = driver.participants[i]};
    }
    if (record.commit.attempt.term != attempt.term)
        snprintf(record.commit.id, sizeof(record.commit.id), "bench-%016" PRIx64 "-%012d",
                 attempt.term, 0);
    put_decimal(record.commit.id + ID_SEQ_AT, ID_SEQ_DIGITS, attempt.seq);
    record.commit.attempt = attempt;
    memcpy(record.commit.body_hash, &attempt.seq, sizeof(attempt.seq));
    record.commit.created_ms = record.commit.decided_ms = driver.wall_ms;
    record.commit.branches[0].xid = record.commit.branches[1].xid = attempt.seq;
    propose(&record, attempt);
    driver.proposed++;
    driver.in_flight++;
}

static void propose_finish(void)
{
    struct txn_record record = {.type = TXN_RECORD_FINISH};
    struct as_buf attempts;

    as_buf_init(&attempts, SIZE_MAX / 2);
    record.finish.count = driver.to_finish_count < FINISH_MAX ? driver.to_finish_count : FINISH_MAX;
    for (uint32_t i = 0; i < record.finish.count; i++) {
        as_put_u64(&attempts, driver.term);
        as_put_u64(&attempts, driver.to_finish[--driver.to_finish_count]);
    }
    if (attempts.err)
        end("out of memory");
    record.finish.attempts = as_buf_bytes(&attempts);
    propose(&record, (struct as_attempt){0, 0});
    driver.finishing++;
    as_buf_close(&attempts);
}

/* --- Counting --- */

static bool in_window(as_time at)
{
    return driver.from && at >= driver.from && at < driver.until;
}

static bool stays_unfinished(uint64_t attempt)
{
    const struct step *step = &driver.steps[driver.at];
    uint64_t every;

    if (step->kind != STEP_FILL || step->unfinished == 0)
        return false;
    every = (step->finished + step->unfinished) / step->unfinished;
    return attempt % every == 0;
}

static void count_commit(uint64_t index, as_time at)
{
    as_time took = at - driver.submitted[index % RING];

    driver.in_flight--;
    driver.done++;
    if (!stays_unfinished(driver.attempt[index % RING]))
        driver.to_finish[driver.to_finish_count++] = driver.attempt[index % RING];
    if (!in_window(at))
        return;
    if (took > driver.latency_max)
        driver.latency_max = took;
    driver.stalls += took > STALL_NS;
    driver.window_count++;
    sample(&driver.decisions, took);
}

/* True: something was applied since the last look. */
static bool count_applied(void)
{
    uint64_t applied = the_node()->applied, before = driver.done;
    as_time at;

    if (applied == driver.seen)
        return false;
    at = now();
    for (; driver.seen < applied; driver.seen++) {
        if (driver.attempt[(driver.seen + 1) % RING])
            count_commit(driver.seen + 1, at);
        else if (driver.submitted[(driver.seen + 1) % RING])
            driver.finishing--;
        driver.attempt[(driver.seen + 1) % RING] = 0;
        driver.submitted[(driver.seen + 1) % RING] = 0;
    }
    if (driver.done == before)
        return true;
    if (in_window(at) && at - driver.done_at > driver.gap_max)
        driver.gap_max = at - driver.done_at;
    driver.done_at = at;
    return true;
}

/* --- Steps --- */

static void bare_open(void)
{
    static uint8_t block[BARE_BYTES];
    char path[1200];

    snprintf(path, sizeof(path), "%s/bench-bare", driver.shell->settings.data_dir);
    driver.bare_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (uint32_t i = 0; i < BARE_BLOCKS; i++)
        if (pwrite(driver.bare_fd, block, sizeof(block), (off_t)i * BARE_BYTES) != BARE_BYTES)
            end("cannot write the bare file");
    if (fsync(driver.bare_fd) != 0)
        end("cannot sync the bare file");
}

/* What a decision is compared with: one block of a file that is there already, and its sync. */
static void bare_sync(void)
{
    static uint8_t block[BARE_BYTES];
    as_time begin = now();
    off_t at = (off_t)(driver.bare_block++ % BARE_BLOCKS) * BARE_BYTES;

    memcpy(block, &begin, sizeof(begin));
    if (pwrite(driver.bare_fd, block, sizeof(block), at) != BARE_BYTES ||
        fdatasync(driver.bare_fd) != 0)
        end("cannot write the bare file");
    if (in_window(begin))
        sample(&driver.bare, now() - begin);
}

static void window_open(const struct step *step)
{
    if (driver.from)
        return;
    if (step->kind == STEP_ONE)
        bare_open();
    driver.from = now() + (as_time)step->warmup * AS_SECOND;
    driver.until = driver.from + (as_time)step->seconds * AS_SECOND;
    driver.done_at = now();
}

/* FINISH is written in between, unmeasured: a decision waits for nothing but itself. */
static void step_one(void)
{
    if (driver.in_flight > 0 || driver.finishing > 0)
        return;
    if (driver.to_finish_count > 0) {
        propose_finish();
        return;
    }
    if (++driver.slice > SLICE) {
        for (uint32_t i = 0; i < SLICE; i++)
            bare_sync();
        driver.slice = 1;
    }
    driver.wall_ms = the_node()->ops->wall_ms(the_node()->env);
    propose_commit();
}

static void step_many(uint64_t flight, uint64_t wanted)
{
    driver.wall_ms = the_node()->ops->wall_ms(the_node()->env);
    if (driver.to_finish_count > 0)
        propose_finish();
    while (driver.in_flight < flight && driver.proposed < wanted)
        propose_commit();
}

static bool is_over(const struct step *step)
{
    if (driver.in_flight > 0 || driver.finishing > 0 || driver.to_finish_count > 0)
        return false;
    return step->kind == STEP_FILL ? driver.done >= step->finished + step->unfinished
                                   : now() >= driver.until;
}

static void print_step(const struct step *step)
{
    double seconds = (double)step->seconds;

    switch (step->kind) {
    case STEP_ONE:
        printf("BENCH {\"step\":\"one\",\"decisions\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
               "\"max_us\":%.1f,\"bare_p50_us\":%.1f,\"bare_p99_us\":%.1f}\n",
               driver.decisions.count, quantile_us(&driver.decisions, 0.5),
               quantile_us(&driver.decisions, 0.99), (double)driver.latency_max / 1e3,
               quantile_us(&driver.bare, 0.5), quantile_us(&driver.bare, 0.99));
        break;
    case STEP_MANY:
        printf("BENCH {\"step\":\"many\",\"in_flight\":%" PRIu64 ",\"per_s\":%.0f,"
               "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_ms\":%.2f,\"longest_silence_ms\":%.2f,"
               "\"over_20_ms\":%" PRIu64 "}\n",
               step->flight, (double)driver.window_count / seconds,
               quantile_us(&driver.decisions, 0.5), quantile_us(&driver.decisions, 0.99),
               (double)driver.latency_max / 1e6, (double)driver.gap_max / 1e6, driver.stalls);
        break;
    case STEP_FILL:
        printf("BENCH {\"step\":\"fill\",\"decisions\":%" PRIu64 ",\"seconds\":%.1f}\n",
               driver.done, (double)(now() - driver.from) / 1e9);
        break;
    }
    fflush(stdout);
}

static void step_next(void)
{
    print_step(&driver.steps[driver.at]);
    driver.at++;
    driver.from = driver.until = 0;
    driver.proposed = driver.done = driver.stalls = driver.window_count = 0;
    driver.latency_max = driver.gap_max = 0;
    driver.decisions.count = driver.bare.count = 0;
    if (driver.at < driver.step_count)
        return;
    printf("BENCH {\"done\":true}\n");
    fflush(stdout);
}

static void work(void)
{
    const struct step *step = &driver.steps[driver.at];

    window_open(step);
    if (step->kind != STEP_FILL && now() >= driver.until) {
        if (driver.to_finish_count > 0)
            propose_finish();
    } else if (step->kind == STEP_ONE) {
        step_one();
    } else if (step->kind == STEP_MANY) {
        step_many(step->flight, UINT64_MAX);
    } else {
        step_many(FILL_FLIGHT, step->finished + step->unfinished);
    }
    if (is_over(step))
        step_next();
}

/* --- Beginning --- */

static void look_at_member(void *ctx, const struct node_member_view *view)
{
    *(bool *)ctx &= view->linked && view->caught_up;
}

static bool has_begun(void)
{
    static const char *const names[2] = {"bench_a", "bench_b"};
    const struct txn_participant *found[2];
    struct node *node = the_node();
    bool all = true;

    if (driver.term) {
        if (!node->leading || node->term != driver.term)
            end("leadership was lost");
        return true;
    }
    if (!node->leading) {
        driver.linked_at = 0;
        return false;
    }
    node_members(node, look_at_member, &all);
    if (!all)
        driver.linked_at = 0;
    else if (!driver.linked_at)
        driver.linked_at = now();
    if (!driver.linked_at || now() - driver.linked_at < SETTLE_NS)
        return false;
    for (int i = 0; i < 2; i++) {
        struct txn_record record = {.type = TXN_RECORD_PARTICIPANT};

        found[i] = txn_participant_find(node->txn, names[i], strlen(names[i]));
        if (found[i]) {
            driver.participants[i] = found[i]->id;
            continue;
        }
        snprintf(record.participant.name, sizeof(record.participant.name), "%s", names[i]);
        if (last_index() == node->applied)
            propose(&record, (struct as_attempt){0, 0});
        return false;
    }
    driver.term = node->term;
    driver.seen = node->applied;
    memset(driver.submitted, 0, sizeof(driver.submitted));
    return true;
}

/* In place of the shell's own end of a turn: before it the driver proposes, after it some of that
 * may be applied already, if the sync was done in place. */
static void on_turn(uv_prepare_t *turn)
{
    struct as_env *env = &driver.shell->env;
    bool active = driver.at < driver.step_count && !driver.shell->draining;

    (void)turn;
    if (active && has_begun()) {
        (void)count_applied();
        work();
    }
    env_turn_end(env);
    if (active && driver.term && (count_applied() || driver.in_flight + driver.finishing == 0))
        pulse_again(&env->pulse);
}

static bool read_step(const char *text, struct step *ret)
{
    unsigned long long a = 0, b = 0, c = 0;
    char kind[8];
    int count = sscanf(text, "%7[a-z]:%llu:%llu:%llu", kind, &a, &b, &c);

    if (count == 3 && strcmp(kind, "one") == 0)
        *ret = (struct step){.kind = STEP_ONE, .seconds = a, .warmup = b};
    else if (count == 4 && strcmp(kind, "many") == 0 && c > 0 && c <= RING / 4)
        *ret = (struct step){.kind = STEP_MANY, .seconds = a, .warmup = b, .flight = c};
    else if (count == 3 && strcmp(kind, "fill") == 0)
        *ret = (struct step){.kind = STEP_FILL, .finished = a, .unfinished = b};
    else
        return false;
    return true;
}

static bool read_plan(const char *plan)
{
    char text[512], *rest = NULL;

    if (!plan || strlen(plan) >= sizeof(text))
        return false;
    strcpy(text, plan);
    for (char *at = strtok_r(text, ",", &rest); at; at = strtok_r(NULL, ",", &rest))
        if (driver.step_count == STEPS_MAX || !read_step(at, &driver.steps[driver.step_count++]))
            return false;
    return driver.step_count > 0;
}

static int run(const struct settings *settings, enum shell_start start)
{
    char error[2048];

    say_level_set((enum as_trace_level)settings->log_level);
    mallopt(M_ARENA_MAX, 1);
    if (shell_open(&driver.shell, settings, &(struct shell_origin){.start = start}, error) !=
        AS_OK) {
        fprintf(stderr, "assent-bench-node: %s\n", error);
        return 1;
    }
    driver.decisions.ns = calloc(SAMPLES_MAX, sizeof(uint32_t));
    driver.bare.ns = calloc(SAMPLES_MAX, sizeof(uint32_t));
    if (!driver.decisions.ns || !driver.bare.ns)
        end("out of memory");
    as_buf_init(&driver.payload, AS_RECORD_BYTES_MAX);
    uv_prepare_stop(&driver.shell->turn);
    uv_prepare_init(&driver.shell->env.loop, &driver.turn);
    uv_prepare_start(&driver.turn, on_turn);
    shell_run(driver.shell);
    _exit(0); /* nothing here is worth an orderly end */
}

int main(int argc, char **argv)
{
    bool bootstrap = false;
    const struct arguments_switch switches[] = {{.name = "--bootstrap", .given = &bootstrap}};
    const struct arguments arguments = {
        "assent-bench-node", "see `assent bench --log`; the head of tests/bench/bench_node.c\n",
        AS_VERSION, switches, AS_COUNT_OF(switches)};
    struct settings settings;
    const char *config;
    char error[512];

    if (arguments_read(&arguments, argc, argv, &config) != ARGUMENTS_RUN)
        return 2;
    if (!read_plan(getenv("ASSENT_BENCH_PLAN"))) {
        fprintf(stderr, "assent-bench-node: ASSENT_BENCH_PLAN is missing or wrong\n");
        return 2;
    }
    if (settings_read(config, &settings, error) != AS_OK) {
        fprintf(stderr, "assent-bench-node: %s\n", error);
        return 2;
    }
    return run(&settings, bootstrap ? SHELL_BOOTSTRAP : SHELL_START);
}
