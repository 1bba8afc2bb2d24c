#include "coordinator/log/terms.h"

static struct log_run *run_at(const struct as_buf *runs, size_t i)
{
    return (struct log_run *)(void *)runs->data + i;
}

static size_t run_count(const struct as_buf *runs)
{
    return runs->len / sizeof(struct log_run);
}

as_err log_terms_add(struct as_buf *runs, uint64_t first, uint64_t term)
{
    struct log_run run = {first, term};

    as_put_bytes(runs, &run, sizeof run);
    if (runs->err) {
        runs->err = AS_OK;
        return AS_ERR_NOMEM;
    }
    return AS_OK;
}

void log_terms_cut(struct as_buf *runs, uint64_t index)
{
    while (runs->len && run_at(runs, run_count(runs) - 1)->first >= index)
        runs->len -= sizeof(struct log_run);
}

void log_terms_forget(struct as_buf *runs, uint64_t index)
{
    size_t gone = 0;

    while (gone + 1 < run_count(runs) && run_at(runs, gone + 1)->first <= index)
        gone++;
    as_buf_consume(runs, gone * sizeof(struct log_run));
}

uint64_t log_terms_at(const struct as_buf *runs, uint64_t index)
{
    size_t i = run_count(runs);

    while (i > 0 && run_at(runs, i - 1)->first > index)
        i--;
    return i > 0 ? run_at(runs, i - 1)->term : 0;
}
