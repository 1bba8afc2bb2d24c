/*
 * Prometheus text; see metrics.h.
 */
#include "cli/metrics.h"

#include <stdlib.h>
#include <string.h>

/* `name{labels} value` or `name value`, which is cut into its parts. */
static bool read_sample(char *line, struct metrics_sample *ret)
{
    char *labels = strchr(line, '{'), *value, *end;

    if (*line == '#' || *line == '\0')
        return false;
    *ret = (struct metrics_sample){.name = line, .labels = ""};
    if (labels) {
        value = strrchr(labels, '}');
        if (!value)
            return false;
        *labels = '\0';
        *value++ = '\0';
        ret->labels = labels + 1;
    } else {
        value = strchr(line, ' ');
        if (!value)
            return false;
        *value++ = '\0';
    }
    ret->value = strtod(value, &end);
    return end != value;
}

void metrics_read(struct metrics *ret, const char *text)
{
    size_t cap = 0;
    char *rest = NULL;

    *ret = (struct metrics){.text = must_copy(text)};
    for (const char *c = text; *c; c++)
        cap += *c == '\n';
    ret->list = must_alloc(cap + 1, sizeof(*ret->list));
    for (char *line = strtok_r(ret->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (read_sample(line, &ret->list[ret->count]))
            ret->count++;
}

void metrics_close(struct metrics *metrics)
{
    free(metrics->text);
    free(metrics->list);
    *metrics = (struct metrics){0};
}

static bool matches(const struct metrics_sample *sample, const char *name, const char *label)
{
    return strcmp(sample->name, name) == 0 && strstr(sample->labels, label) != NULL;
}

double metrics_value(const struct metrics *metrics, const char *name, const char *label,
                     double otherwise)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (matches(&metrics->list[i], name, label))
            return metrics->list[i].value;
    return otherwise;
}

double metrics_sum(const struct metrics *metrics, const char *name, const char *label)
{
    double sum = 0;

    for (size_t i = 0; i < metrics->count; i++)
        if (matches(&metrics->list[i], name, label))
            sum += metrics->list[i].value;
    return sum;
}

void metrics_hist_add(struct metrics_hist *hist, const struct metrics *metrics, const char *name,
                      const char *label)
{
    char bucket[128];

    if (!text_format(bucket, sizeof(bucket), "%s_bucket", name))
        return;
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metrics_sample *sample = &metrics->list[i];
        const char *le = strstr(sample->labels, "le=\"");
        double bound = le ? strtod(le + 4, NULL) : -1; /* "+Inf" is infinite */
        size_t at = 0;

        if (!matches(sample, bucket, label) || !le)
            continue;
        while (at < hist->count && hist->le[at] < bound)
            at++;
        if (at == METRICS_BUCKETS_MAX)
            continue;
        if (at == hist->count) {
            hist->le[hist->count] = bound;
            hist->upto[hist->count++] = 0;
        }
        hist->upto[at] += sample->value;
    }
}

double metrics_hist_quantile(const struct metrics_hist *now, const struct metrics_hist *before,
                             double quantile)
{
    double below = 0, lower = 0, all, wanted;

    if (now->count == 0)
        return -1;
    all = now->upto[now->count - 1] - (before->count ? before->upto[before->count - 1] : 0);
    if (all <= 0)
        return -1;
    wanted = all * quantile;
    for (size_t i = 0; i < now->count; i++) {
        double upto = now->upto[i] - (i < before->count ? before->upto[i] : 0);

        if (upto >= wanted && upto > below) {
            if (i + 1 == now->count) /* beyond the last bound that is a number */
                return lower;
            return lower + (now->le[i] - lower) * (wanted - below) / (upto - below);
        }
        below = upto;
        lower = now->le[i];
    }
    return lower;
}
