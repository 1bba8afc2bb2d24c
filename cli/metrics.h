/*
 * Reads what GET /metrics answers (Prometheus text 0.0.4), for commands that look at nodes.
 */
#ifndef ASSENT_CLI_METRICS_H
#define ASSENT_CLI_METRICS_H

#include "cli/cli.h"

#define METRICS_BUCKETS_MAX 32

struct metrics_sample {
    const char *name;
    const char *labels; /* `a="b",c="d"`, or "" */
    double value;
};

struct metrics {
    char *text; /* owned; the samples point into it */
    size_t count;
    struct metrics_sample *list; /* owned */
};

/* Lines that are no samples are passed over. */
void metrics_read(struct metrics *ret, const char *text);
void metrics_close(struct metrics *metrics); /* takes a zeroed one */

/* The first sample of that name whose labels hold `label` ("": any), or `otherwise`. */
double metrics_value(const struct metrics *metrics, const char *name, const char *label,
                     double otherwise);
/* The sum over all samples of that name whose labels hold `label`. */
double metrics_sum(const struct metrics *metrics, const char *name, const char *label);

/* Cumulative, as Prometheus has it. */
struct metrics_hist {
    size_t count;
    double le[METRICS_BUCKETS_MAX], upto[METRICS_BUCKETS_MAX]; /* the last le is infinite */
};

/* Adds the buckets of the series `name` whose labels hold `label`; all have the same bounds. */
void metrics_hist_add(struct metrics_hist *hist, const struct metrics *metrics, const char *name,
                      const char *label);
/* What has come since `before`: the value at or below which that part of it lies. Negative: nothing
 * came, or a counter began anew. */
double metrics_hist_quantile(const struct metrics_hist *now, const struct metrics_hist *before,
                             double quantile);

#endif
