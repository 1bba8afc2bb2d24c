/*
 * Samples of a bench run and the figures made of them. Percentiles are exact: every latency is
 * kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

#define SAMPLES_FIRST ((size_t)1 << 20) /* paged in as they come */

void bench_window_open(struct bench_run *run)
{
    run->samples = (struct bench_samples){.cap = SAMPLES_FIRST};
    run->samples.latency_ns = must_alloc(SAMPLES_FIRST, sizeof(uint32_t));
    run->samples.from = clock_now() + (as_time)run->warmup * AS_SECOND;
    run->samples.until = run->samples.from + (as_time)run->seconds * AS_SECOND;
}

bool bench_window_over(const struct bench_run *run, as_time now)
{
    return now >= run->samples.until || atomic_load_explicit(&run->stop, memory_order_relaxed);
}

void bench_sample(struct bench_samples *samples, as_time begin, as_time end)
{
    uint64_t took = (uint64_t)(end - begin);

    if (end < samples->from || end >= samples->until)
        return;
    if (samples->count == samples->cap) {
        uint32_t *larger = must_alloc(samples->cap * 2, sizeof(*larger));

        memcpy(larger, samples->latency_ns, samples->count * sizeof(*larger));
        free(samples->latency_ns);
        samples->latency_ns = larger;
        samples->cap *= 2;
    }
    samples->latency_ns[samples->count++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    if (took > samples->max_ns)
        samples->max_ns = took;
}

void bench_error(struct bench_samples *samples, as_time at, const char *what)
{
    if (!samples->first_error[0])
        (void)snprintf(samples->first_error, sizeof(samples->first_error), "%s", what);
    if (at >= samples->from && at < samples->until)
        samples->errors++;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Nearest rank. */
static double quantile_us(const struct bench_samples *samples, double quantile)
{
    size_t rank = (size_t)(quantile * (double)samples->count);

    if (!samples->count)
        return 0;
    if (rank >= samples->count)
        rank = samples->count - 1;
    return (double)samples->latency_ns[rank] / 1e3;
}

void bench_figures(const char *what, struct bench_run *run, struct bench_figures *ret)
{
    struct bench_samples *samples = &run->samples;

    qsort(samples->latency_ns, samples->count, sizeof(*samples->latency_ns), compare_u32);
    *ret = (struct bench_figures){.what = what,
                                  .clients = run->clients,
                                  .seconds = (double)run->seconds,
                                  .tps = (double)samples->count / (double)run->seconds,
                                  .transactions = samples->count,
                                  .errors = samples->errors,
                                  .p50_us = quantile_us(samples, 0.5),
                                  .p90_us = quantile_us(samples, 0.9),
                                  .p99_us = quantile_us(samples, 0.99),
                                  .p99_9_us = quantile_us(samples, 0.999),
                                  .max_us = (double)samples->max_ns / 1e3};
    if (samples->first_error[0])
        complain("bench: the first error of %s with %llu clients: %s", what,
                 (unsigned long long)run->clients, samples->first_error);
    free(samples->latency_ns);
    samples->latency_ns = NULL;
}

static void add_rounded(cJSON *object, const char *key, double value)
{
    char text[32];

    (void)text_format(text, sizeof(text), "%.1f", value);
    cJSON_AddRawToObject(object, key, text);
}

cJSON *bench_figures_json(const struct bench_figures *figures)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "what", figures->what);
    cJSON_AddNumberToObject(object, "clients", (double)figures->clients);
    add_rounded(object, "seconds", figures->seconds);
    cJSON_AddNumberToObject(object, "transactions", (double)figures->transactions);
    cJSON_AddNumberToObject(object, "errors", (double)figures->errors);
    add_rounded(object, "tps", figures->tps);
    add_rounded(object, "p50_us", figures->p50_us);
    add_rounded(object, "p90_us", figures->p90_us);
    add_rounded(object, "p99_us", figures->p99_us);
    add_rounded(object, "p99_9_us", figures->p99_9_us);
    add_rounded(object, "max_us", figures->max_us);
    return object;
}

void bench_figures_line(const struct bench_figures *figures, const char *round)
{
    fprintf(stderr,
            "%-5s %-6s %2llu clients  %8.0f tx/s   us: p50 %7.0f  p90 %7.0f  p99 %7.0f  "
            "p99.9 %7.0f  max %7.0f   errors %llu\n",
            round, figures->what, (unsigned long long)figures->clients, figures->tps,
            figures->p50_us, figures->p90_us, figures->p99_us, figures->p99_9_us, figures->max_us,
            (unsigned long long)figures->errors);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double bench_median(const double *values, size_t count)
{
    double sorted[BENCH_ROUNDS_MAX];

    if (!count || count > BENCH_ROUNDS_MAX)
        return 0;
    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare_double);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static bool run_has_ended(void *ctx)
{
    struct bench_run *run = ctx;

    return atomic_load(&run->ended);
}

/* The load thread does not share this core's time with us: we look ten times a second. */
bool bench_carry_out(struct loop *loop, struct bench_run *run, void (*work)(void *run),
                     const char *what, const char *round, struct bench_figures *ret_figures)
{
    uv_thread_t thread;
    enum loop_end end;

    if (uv_thread_create(&thread, work, run)) {
        complain("bench: cannot start a thread");
        return false;
    }
    end = loop_wait(loop, run_has_ended, run, (run->seconds + run->warmup + 120) * 1000, 100);
    atomic_store(&run->stop, true);
    (void)uv_thread_join(&thread);
    bench_figures(what, run, ret_figures);
    if (run->failed || end != LOOP_MET) {
        complain("bench: %s", end == LOOP_INTERRUPTED ? "interrupted" : "the run failed");
        return false;
    }
    bench_figures_line(ret_figures, round);
    return true;
}
