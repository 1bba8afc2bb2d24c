/*
 * Open files. Fault model: the limit is lower than what the settings ask for, and clients take all
 * connections they can get. What keeps the cluster alive comes first: links, the log, the databases
 * that this node serves. Clients get what is left.
 */
#include "coordinator/shell/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/uv/net.h"
#include "common/uv/say.h"

#define FILES_OWN \
    128 /* the log's files, listeners, the loop's own, what libraries open for a moment */
#define FILES_OF_DATABASE 8 /* beyond `connections`: for finishing, a connection that is replaced */
#define CONNECTIONS_MIN 16

static uint64_t kept(const struct settings *settings)
{
    uint64_t count = FILES_OWN + NET_ACCEPTED_MAX + 2 * AS_NODES_MAX + API_SURPLUS_MAX;

    for (uint32_t i = 0; i < settings->participants.count; i++)
        count += settings->participants.list[i].connections + FILES_OF_DATABASE;
    return count;
}

/* The soft limit is for programs that use select(); this one does not. */
static uint64_t limit_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur;
}

as_err files_prepare(const struct settings *settings, uint32_t *ret_connections_max,
                     char ret_error[256])
{
    uint64_t limit = limit_raise(), keep = kept(settings), wanted = settings->connections_max;
    char numbers[3][24];

    if (limit < keep + CONNECTIONS_MIN) {
        snprintf(ret_error, 256,
                 "at most %" PRIu64 " open files, and this node needs %" PRIu64
                 ": raise the limit (LimitNOFILE= of its unit, or ulimit -n)",
                 limit, keep + CONNECTIONS_MIN);
        return AS_ERR_FULL;
    }
    *ret_connections_max = (uint32_t)(limit - keep < wanted ? limit - keep : wanted);
    if (*ret_connections_max == wanted)
        return AS_OK;
    snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu32, *ret_connections_max);
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu64, wanted);
    snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu64, keep + wanted);
    say(AS_TRACE_WARN, "connections_max_lowered", "to", numbers[0], "from", numbers[1],
        "open_files_needed", numbers[2], "text",
        "raise the limit of open files (LimitNOFILE= of the unit, or ulimit -n), or lower [api] "
        "connections_max",
        NULL);
    return AS_OK;
}
