/*
 * GET /metrics: Prometheus text exposition format 0.0.4. Base units: seconds, bytes; counters end
 * in _total.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "assent/hist.h"
#include "coordinator/api/answer.h"

static void head(struct as_buf *buf, const char *name, const char *type, const char *help)
{
    char line[320];
    int len = snprintf(line, sizeof(line), "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);

    as_put_bytes(buf, line, (size_t)len);
}

/* `labels` is "" or "{a=\"b\"}". */
static void sample(struct as_buf *buf, const char *name, const char *labels, double value)
{
    char line[320];
    int len = snprintf(line, sizeof(line), "%s%s %.15g\n", name, labels, value);

    as_put_bytes(buf, line, (size_t)len);
}

static void counter(struct as_buf *buf, const char *name, uint64_t value, const char *help)
{
    head(buf, name, "counter", help);
    sample(buf, name, "", (double)value);
}

static void gauge(struct as_buf *buf, const char *name, double value, const char *help)
{
    head(buf, name, "gauge", help);
    sample(buf, name, "", value);
}

static const double seconds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                 0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
static const double sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};

/* The series of one histogram; `label` is "" or "a=\"b\"". `scale` makes base units of its values.
 */
static void hist(struct as_buf *buf, const char *name, const char *label, const struct as_hist *h,
                 const double *bounds, size_t count, double scale)
{
    static const struct as_hist none;
    const char *comma = *label ? "," : "";
    char series[160], labels[160];

    h = h ? h : &none;
    (void)snprintf(series, sizeof(series), "%s_bucket", name);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(labels, sizeof(labels), "{%s%sle=\"%g\"}", label, comma, bounds[i]);
        sample(buf, series, labels,
               (double)as_hist_count_upto(h, (uint64_t)(bounds[i] / scale + 0.5)));
    }
    (void)snprintf(labels, sizeof(labels), "{%s%sle=\"+Inf\"}", label, comma);
    sample(buf, series, labels, (double)h->count);
    (void)snprintf(labels, sizeof(labels), *label ? "{%s}" : "%s", label);
    (void)snprintf(series, sizeof(series), "%s_sum", name);
    sample(buf, series, labels, (double)h->sum * scale);
    (void)snprintf(series, sizeof(series), "%s_count", name);
    sample(buf, series, labels, (double)h->count);
}

static void hist_seconds(struct as_buf *buf, const char *name, const struct as_hist *h,
                         const char *help)
{
    head(buf, name, "histogram", help);
    hist(buf, name, "", h, seconds, AS_COUNT_OF(seconds), 1e-9);
}

size_t answer_status_column(int status)
{
#define STATUS_ROW(s) s,
    static const int rows[] = {ANSWER_STATUS_MAP(STATUS_ROW)};
#undef STATUS_ROW
    size_t i = 0;

    while (i < AS_COUNT_OF(rows) && rows[i] != status)
        i++;
    return i;
}

static void http_limits(struct as_buf *buf, const struct answer_http *http)
{
#define LIMIT_ROW(name, key) key,
    static const char *const keys[] = {ANSWER_LIMIT_MAP(LIMIT_ROW)};
#undef LIMIT_ROW
    const char *name = "assent_http_limited_total";
    char labels[64];

    head(buf, name, "counter", "Requests refused and connections ended, by the limit they passed.");
    for (size_t i = 0; i < ANSWER_LIMIT_COUNT; i++) {
        (void)snprintf(labels, sizeof(labels), "{limit=\"%s\"}", keys[i]);
        sample(buf, name, labels, (double)http->limited[i]);
    }
    name = "assent_http_memory_bytes";
    head(buf, name, "gauge", "Memory of large request bodies and answers (memory_mib).");
    sample(buf, name, "{of=\"bodies\"}", (double)http->body_memory);
    sample(buf, name, "{of=\"answers\"}", (double)http->answer_memory);
}

static void http_metrics(struct as_buf *buf, const struct answer_http *http)
{
#define ROUTE_ROW(name, method, path, roles) {method, path},
#define STATUS_ROW(s) s,
    static const struct {
        const char *method, *path;
    } routes[] = {ANSWER_ROUTE_MAP(ROUTE_ROW)};
    static const int statuses[] = {ANSWER_STATUS_MAP(STATUS_ROW)};
#undef ROUTE_ROW
#undef STATUS_ROW
    const char *name = "assent_http_requests_total";
    char labels[160];

    head(buf, name, "counter", "HTTP requests answered, by route and status.");
    for (size_t r = 0; r < ROUTE_COUNT; r++) {
        for (size_t s = 0; s < ANSWER_STATUS_COUNT; s++) {
            if (!http->requests[r][s])
                continue;
            (void)snprintf(labels, sizeof(labels), "{method=\"%s\",route=\"%s\",status=\"%d\"}",
                           routes[r].method, routes[r].path, statuses[s]);
            sample(buf, name, labels, (double)http->requests[r][s]);
        }
    }
    name = "assent_http_clients_gone_total";
    head(buf, name, "counter", "HTTP requests whose client left before the answer, by route.");
    for (size_t r = 0; r < ROUTE_COUNT; r++) {
        if (!http->gone[r])
            continue;
        (void)snprintf(labels, sizeof(labels), "{method=\"%s\",route=\"%s\"}", routes[r].method,
                       routes[r].path);
        sample(buf, name, labels, (double)http->gone[r]);
    }
    name = "assent_http_request_duration_seconds";
    head(buf, name, "histogram", "From the request line until the answer was written, by route.");
    for (size_t r = 0; r < ROUTE_COUNT; r++) {
        if (!http->duration_ns[r].count)
            continue;
        (void)snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", routes[r].method,
                       routes[r].path);
        hist(buf, name, labels, &http->duration_ns[r], seconds, AS_COUNT_OF(seconds), 1e-9);
    }
    gauge(buf, "assent_http_connections", (double)http->connections, "Open HTTP connections.");
    gauge(buf, "assent_http_waiting_requests", (double)http->waiting,
          "HTTP requests that wait for the node's answer.");
    gauge(buf, "assent_passed_on_waiting", (double)http->passed,
          "Requests passed on to the leader that wait for its answer.");
    counter(buf, "assent_passed_on_total", http->passed_total, "Requests passed on to the leader.");
    counter(buf, "assent_passed_on_lost_total", http->passed_lost,
            "Of these, without an answer: the link was lost, or the leader was silent too long.");
    gauge(buf, "assent_served_for_others", (double)http->served,
          "Requests that other nodes passed on and that are being served here.");
    counter(buf, "assent_served_for_others_total", http->served_total,
            "Requests that other nodes passed on.");
    counter(buf, "assent_http_body_bytes_total", http->bytes_in, "Bytes of request bodies read.");
    name = "assent_http_refused_total";
    head(buf, name, "counter", "HTTP requests refused for who asked, by the code of the answer.");
    for (size_t i = 0; i < AUTH_REFUSAL_COUNT; i++) {
        (void)snprintf(labels, sizeof(labels), "{code=\"%s\"}",
                       auth_refusal_code((enum auth_refusal)i));
        sample(buf, name, labels, (double)http->refused[i]);
    }
    http_limits(buf, http);
}

static void txn_metrics(struct as_buf *buf, const struct node_metrics *m)
{
    const char *name = "assent_decisions_aborted_total";
    char labels[96];

    counter(buf, "assent_submits_total", m->submits, "Transactions submitted.");
    counter(buf, "assent_decisions_committed_total", m->txn.committed, "Transactions committed.");
    head(buf, name, "counter", "Transactions aborted, by reason.");
    for (size_t i = AS_REASON_NONE + 1; i < AS_REASON_COUNT; i++) {
        (void)snprintf(labels, sizeof(labels), "{reason=\"%s\"}",
                       as_reason_text((enum as_reason_code)i));
        sample(buf, name, labels, (double)m->txn.aborted[i]);
    }
    counter(buf, "assent_transactions_finished_total", m->txn.finished,
            "Committed transactions of which every branch was finished.");
    name = "assent_votes_total";
    head(buf, name, "counter", "Votes of branches.");
    sample(buf, name, "{vote=\"yes\"}", (double)m->votes_yes);
    sample(buf, name, "{vote=\"no\"}", (double)m->votes_no);
    counter(buf, "assent_acks_total", m->acks, "Acknowledgements of finished branches.");
    counter(buf, "assent_inquiries_total", m->inquiries,
            "Questions of agents about prepared branches (R6).");
    counter(buf, "assent_alarms_total", m->txn.alarms,
            "Records without effect and other things that must not happen (R1).");
    name = "assent_resolved_total";
    head(buf, name, "counter", "Prepared branches that an operator had finished (R6).");
    sample(buf, name, "{decision=\"commit\"}", (double)m->txn.resolved_commit);
    sample(buf, name, "{decision=\"abort\"}", (double)m->txn.resolved_abort);
    gauge(buf, "assent_undecided", m->txn.undecided, "Attempts in flight.");
    gauge(buf, "assent_unfinished", m->txn.unfinished, "Committed, some branch not finished yet.");
    gauge(buf, "assent_heuristic", m->txn.heuristic,
          "Branches with a heuristic outcome that wait for an operator (R7).");
    gauge(buf, "assent_outcomes", m->txn.outcomes, "Outcomes kept by id (R9).");
    gauge(buf, "assent_committed_set_bytes", (double)m->txn.committed_set_bytes,
          "Memory of the set of committed attempts (R8).");
    hist_seconds(buf, "assent_prepare_seconds", m->prepare_ns, "From submit until the last vote.");
    hist_seconds(buf, "assent_decide_seconds", m->decide_ns,
                 "From the last vote until the decision was durable and applied.");
    hist_seconds(buf, "assent_finish_seconds", m->finish_ns,
                 "Phase-two lag: from the decision until every branch was finished.");
}

static void log_metrics(struct as_buf *buf, const struct node_metrics *m)
{
    counter(buf, "assent_log_records_total", m->log.records, "Records appended to the log.");
    counter(buf, "assent_log_bytes_total", m->log.bytes, "Bytes appended to the log.");
    counter(buf, "assent_log_syncs_total", m->log.syncs, "Syncs of the log.");
    counter(buf, "assent_log_snapshots_total", m->log.snapshots, "Snapshots written.");
    gauge(buf, "assent_log_segments", (double)m->log.segments, "Segments of the log on disk.");
    hist_seconds(buf, "assent_log_sync_seconds", m->sync_ns, "Write and sync of one batch.");
    head(buf, "assent_log_batch_records", "histogram", "Records that one sync made durable.");
    hist(buf, "assent_log_batch_records", "", m->batch_records, sizes, AS_COUNT_OF(sizes), 1);
}

struct member_list {
    struct as_buf *buf;
    const struct node_info *info;
    const char *name;
    double (*value)(const struct node_info *info, const struct node_member_view *view);
};

static double member_linked(const struct node_info *info, const struct node_member_view *view)
{
    (void)info;
    return view->linked;
}

static double member_lag(const struct node_info *info, const struct node_member_view *view)
{
    return (double)answer_lag(info, view);
}

static void put_member(void *ctx, const struct node_member_view *view)
{
    struct member_list *list = ctx;
    char labels[64];

    (void)snprintf(labels, sizeof(labels), "{member=\"%llu\"}", (unsigned long long)view->id);
    sample(list->buf, list->name, labels, list->value(list->info, view));
}

static void members_metrics(struct as_buf *buf, struct node *node, const struct node_info *info)
{
    struct member_list list = {buf, info, "assent_member_linked", member_linked};

    head(buf, list.name, "gauge", "1 if this node has a link to that node of the cluster.");
    node_members(node, put_member, &list);
    list.name = "assent_member_lag_entries";
    list.value = member_lag;
    head(buf, list.name, "gauge", "Log entries that a node lacks; told by the leader only.");
    if (info->leading)
        node_members(node, put_member, &list);
}

static void role_metric(struct as_buf *buf, const struct node_info *info)
{
    static const enum raft_role roles[] = {RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER};
    const char *name = "assent_role", *role = answer_role(info->role);
    char labels[64];

    head(buf, name, "gauge", "1 for the role that this node has.");
    for (size_t i = 0; i < AS_COUNT_OF(roles); i++) {
        (void)snprintf(labels, sizeof(labels), "{role=\"%s\"}", answer_role(roles[i]));
        sample(buf, name, labels, strcmp(role, answer_role(roles[i])) == 0);
    }
}

static void node_gauges(struct as_buf *buf, const struct node_info *info,
                        const struct node_metrics *m)
{
    role_metric(buf, info);
    gauge(buf, "assent_leader_id", (double)info->leader, "The leader's id; 0: none is known.");
    gauge(buf, "assent_commit_index", (double)info->commit_index, "Last committed index.");
    gauge(buf, "assent_leading", info->leading, "1 if this node leads and answers.");
    gauge(buf, "assent_term", (double)info->term, "Raft term.");
    gauge(buf, "assent_last_index", (double)info->last_index, "Last index of the log.");
    gauge(buf, "assent_applied_index", (double)info->applied_index, "Last applied index.");
    gauge(buf, "assent_persisted_index", (double)info->persisted_index, "Last durable index.");
    gauge(buf, "assent_snapshot_index", (double)info->snapshot_index, "Index of the snapshot.");
    gauge(buf, "assent_disk_full", info->disk_full, "1 if new work is refused for lack of space.");
    gauge(buf, "assent_draining", info->draining, "1 if this node is stopping.");
    gauge(buf, "assent_agent_sessions", info->sessions, "Sessions of agents.");
    counter(buf, "assent_frames_received_total", m->frames_in, "Frames from agents.");
    counter(buf, "assent_frames_sent_total", m->frames_out, "Frames to agents.");
    counter(buf, "assent_wire_errors_total", m->wire_errors,
            "Sessions ended for bad or refused bytes.");
}

/* A participant's figures: two agents scan the same database, so the larger of both. */
struct figures {
    double up, agents, undecided, unfinished, prepared, in_doubt, orphaned, foreign, queued, used,
        max, oldest_s, used_ours, xmin_age, foreign_xmin_age, foreign_oldest_s, audit_s;
};

#define FIGURE_MAP(X)                                                                       \
    X(up, "participant_up", "1 if an agent serves the participant.")                        \
    X(agents, "participant_agents", "Agents that know the participant.")                    \
    X(undecided, "participant_undecided", "Branches of attempts in flight.")                \
    X(unfinished, "participant_unfinished", "Committed branches not yet acknowledged.")     \
    X(prepared, "participant_prepared", "Prepared transactions of this cluster.")           \
    X(in_doubt, "participant_in_doubt", "Of these, without an answer for too long (R6).")   \
    X(orphaned, "participant_orphaned",                                                     \
      "Answered unknown, or of another incarnation: an operator resolves them (R6).")       \
    X(foreign, "participant_foreign_prepared", "Prepared transactions that are not ours.")  \
    X(queued, "participant_queued", "Branches that wait for a connection or a slot.")       \
    X(used, "participant_prepared_slots_used", "Of max_prepared_transactions, by anybody.") \
    X(max, "participant_prepared_slots", "max_prepared_transactions.")                      \
    X(oldest_s, "participant_oldest_prepared_seconds",                                      \
      "Age of the oldest one of this cluster's name.")                                      \
    X(used_ours, "participant_prepared_slots_ours", "Of these, by this cluster's name.")    \
    X(xmin_age, "participant_xmin_age",                                                     \
      "Transactions that the oldest one of this cluster's name holds vacuum back.")         \
    X(foreign_xmin_age, "participant_foreign_xmin_age",                                     \
      "Likewise, the oldest one that is not ours.")                                         \
    X(foreign_oldest_s, "participant_foreign_oldest_prepared_seconds",                      \
      "Age of the oldest one that is not ours.")                                            \
    X(audit_s, "participant_audit_age_seconds",                                             \
      "Since pg_prepared_xacts was last reconciled with the log.")

#define FIGURE_ROW(field, name, help) {"assent_" name, help, offsetof(struct figures, field)},
static const struct {
    const char *name, *help;
    size_t offset;
} figure_rows[] = {FIGURE_MAP(FIGURE_ROW)};
#undef FIGURE_ROW

struct figures_list {
    struct as_buf *buf;
    size_t row;
};

/* Of one that is not a number and one that is, these two are the latter. */
static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static struct figures figures_of(const struct node_participant_view *view)
{
    struct figures f = {
        .used_ours = NAN, /* not a number: nobody has told yet, or an older agent that does not */
        .xmin_age = NAN,
        .foreign_xmin_age = NAN,
        .foreign_oldest_s = NAN,
        .audit_s = NAN,
        .agents = view->agent_count,
        .undecided = view->txn.undecided,
        .unfinished = view->txn.unfinished};

    for (uint32_t i = 0; i < view->agent_count; i++) {
        const struct as_wire_participant *facts = view->agents[i].facts;
        const struct as_wire_status *status = view->agents[i].status;

        f.up = larger(f.up, view->agents[i].up);
        if (facts)
            f.max = larger(f.max, facts->prepared_max);
        if (!status)
            continue;
        f.prepared = larger(f.prepared, status->prepared);
        f.in_doubt = larger(f.in_doubt, status->in_doubt);
        f.orphaned = larger(f.orphaned, status->orphaned);
        f.foreign = larger(f.foreign, status->foreign);
        f.used = larger(f.used, status->slots_used);
        f.oldest_s = larger(f.oldest_s, (double)status->oldest_age_ms / 1000);
        f.queued += status->queued;
        if (view->agents[i].audit_age_ms >= 0) /* the one that looked last */
            f.audit_s = smaller(f.audit_s, (double)view->agents[i].audit_age_ms / 1000);
        if (!status->audited)
            continue;
        f.used_ours = larger(f.used_ours, status->slots_ours);
        f.xmin_age = larger(f.xmin_age, status->xmin_age);
        f.foreign_xmin_age = larger(f.foreign_xmin_age, status->foreign_xmin_age);
        f.foreign_oldest_s =
            larger(f.foreign_oldest_s, (double)status->foreign_oldest_age_ms / 1000);
    }
    return f;
}

static void put_figure(void *ctx, const struct node_participant_view *view)
{
    struct figures_list *list = ctx;
    struct figures f = figures_of(view);
    char labels[AS_PARTICIPANT_LEN_MAX + 32];
    double value;

    memcpy(&value, (const char *)&f + figure_rows[list->row].offset, sizeof(value));
    (void)snprintf(labels, sizeof(labels), "{participant=\"%s\"}", view->txn.name);
    if (!isnan(value))
        sample(list->buf, figure_rows[list->row].name, labels, value);
}

static void process_metrics(struct as_buf *buf, const struct answer_http *http, const char *version)
{
    struct rusage usage;
    unsigned long pages = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    DIR *fds = opendir("/proc/self/fd");
    double count = -1; /* its own does not count */
    char labels[96];

    if (statm) {
        if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
            resident = 0;
        (void)fclose(statm);
    }
    if (fds) {
        for (struct dirent *entry = readdir(fds); entry; entry = readdir(fds))
            count += entry->d_name[0] != '.';
        (void)closedir(fds);
    }
    gauge(buf, "process_resident_memory_bytes", (double)resident * (double)sysconf(_SC_PAGESIZE),
          "Resident memory.");
    gauge(buf, "process_open_fds", count < 0 ? 0 : count, "Open file descriptors.");
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        head(buf, "process_cpu_seconds_total", "counter", "User and system time.");
        sample(buf, "process_cpu_seconds_total", "",
               (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    }
    gauge(buf, "assent_uptime_seconds", http->uptime_s, "Since this process serves HTTP.");
    head(buf, "assent_build_info", "gauge", "1, with the version as a label.");
    (void)snprintf(labels, sizeof(labels), "{version=\"%.40s\"}", version);
    sample(buf, "assent_build_info", labels, 1);
}

void answer_metrics(struct as_buf *buf, struct node *node, const struct answer_http *http,
                    const char *version)
{
    struct figures_list list = {.buf = buf};
    struct node_metrics m = {0};
    struct node_info info = {0};

    node_metrics(node, &m);
    node_info(node, &info);
    http_metrics(buf, http);
    txn_metrics(buf, &m);
    log_metrics(buf, &m);
    node_gauges(buf, &info, &m);
    members_metrics(buf, node, &info);
    for (list.row = 0; list.row < AS_COUNT_OF(figure_rows); list.row++) {
        head(buf, figure_rows[list.row].name, "gauge", figure_rows[list.row].help);
        node_participants(node, NULL, put_figure, &list);
    }
    process_metrics(buf, http, version);
}
