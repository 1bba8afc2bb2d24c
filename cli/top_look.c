/*
 * assent top: asks the nodes, and makes figures of two answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rest.h"
#include "cli/top.h"

#define CALL_MS 1000 /* a node that is cut off must not stop the picture for long */

static void look_at(struct top_look *look, struct top_node *node)
{
    struct rest_reply cluster = {0}, metrics = {0};
    char error[256];

    if (rest_call(node->api, "/v1/cluster", NULL, CALL_MS, &cluster, error) &&
        cluster.status == 200 && cluster.json &&
        rest_call(node->api, "/metrics", NULL, CALL_MS, &metrics, error) && metrics.status == 200) {
        node->answers = true;
        node->id = json_number(cluster.json, "node", 0);
        (void)snprintf(node->role, sizeof(node->role), "%.15s",
                       json_text(cluster.json, "role", "?"));
        (void)snprintf(look->cluster, sizeof(look->cluster), "%.63s",
                       json_text(cluster.json, "cluster", "?"));
        (void)snprintf(look->version, sizeof(look->version), "%.31s",
                       json_text(cluster.json, "version", "?"));
        metrics_read(&node->metrics, metrics.body);
    } else if (cluster.status) {
        (void)snprintf(node->why, sizeof(node->why), "HTTP %ld %.60s", cluster.status,
                       json_text(cluster.json, "code", ""));
    }
    rest_reply_close(&cluster);
    rest_reply_close(&metrics);
}

void top_look_take(struct top_look *ret, const char *apis)
{
    *ret = (struct top_look){.at = clock_now(), .leader = -1};
    while (ret->node_count < TOP_NODES_MAX &&
           rest_api_next(&apis, ret->nodes[ret->node_count].api, sizeof(ret->nodes[0].api))) {
        struct top_node *node = &ret->nodes[ret->node_count++];

        look_at(ret, node);
        if (node->answers && metrics_value(&node->metrics, "assent_leading", "", 0) > 0)
            ret->leader = (int)ret->node_count - 1;
    }
}

void top_look_close(struct top_look *look)
{
    for (size_t i = 0; i < look->node_count; i++)
        metrics_close(&look->nodes[i].metrics);
    *look = (struct top_look){.leader = -1};
}

/* --- Figures --- */

struct pair {
    const struct metrics *now, *before; /* before NULL: nothing to compare with */
    double seconds;
};

/* -1: not known. */
static void put(cJSON *object, const char *key, double value)
{
    if (value < 0)
        (void)cJSON_AddNullToObject(object, key);
    else
        (void)cJSON_AddNumberToObject(object, key, (double)(int64_t)(value * 1000 + 0.5) / 1000);
}

static double rate(const struct pair *pair, const char *name, const char *label)
{
    double grown;

    if (!pair->now || !pair->before)
        return -1;
    grown = metrics_sum(pair->now, name, label) - metrics_sum(pair->before, name, label);
    return grown < 0 ? -1 : grown / pair->seconds; /* it was started anew */
}

static void put_latency(cJSON *object, const struct metrics_hist *now,
                        const struct metrics_hist *before, const char *key)
{
    cJSON *latency = cJSON_AddObjectToObject(object, key);
    double p50 = metrics_hist_quantile(now, before, 0.5);
    double p99 = metrics_hist_quantile(now, before, 0.99);

    put(latency, "p50_ms", p50 < 0 ? -1 : p50 * 1000);
    put(latency, "p99_ms", p99 < 0 ? -1 : p99 * 1000);
}

static void put_phase(cJSON *object, const struct pair *leader, const char *name, const char *key)
{
    struct metrics_hist now = {0}, before = {0};

    if (leader->now && leader->before) {
        metrics_hist_add(&now, leader->now, name, "");
        metrics_hist_add(&before, leader->before, name, "");
    }
    put_latency(object, &now, &before, key);
}

static struct pair pair_of(const struct top_look *now, const struct top_look *before, size_t i)
{
    struct pair pair = {.seconds = (double)(now->at - before->at) / (double)AS_SECOND};

    if (now->nodes[i].answers)
        pair.now = &now->nodes[i].metrics;
    if (i < before->node_count && before->nodes[i].answers)
        pair.before = &before->nodes[i].metrics;
    return pair;
}

/* Transactions as clients see them: any node may have been asked. */
static void put_answers(cJSON *root, const struct top_look *now, const struct top_look *before)
{
    static const char name[] = "assent_http_request_duration_seconds";
    static const char label[] = "method=\"POST\",route=\"/v1/transactions\"";
    struct metrics_hist sum = {0}, sum_before = {0};

    for (size_t i = 0; i < now->node_count; i++) {
        struct pair pair = pair_of(now, before, i);

        if (!pair.now || !pair.before)
            continue;
        metrics_hist_add(&sum, pair.now, name, label);
        metrics_hist_add(&sum_before, pair.before, name, label);
    }
    put_latency(root, &sum, &sum_before, "answer");
}

static void put_nodes(cJSON *root, const struct top_look *now, const struct top_look *before)
{
    cJSON *nodes = cJSON_AddArrayToObject(root, "nodes");

    for (size_t i = 0; i < now->node_count; i++) {
        const struct top_node *node = &now->nodes[i];
        struct pair pair = pair_of(now, before, i);
        cJSON *one = cJSON_CreateObject();
        char label[64];

        (void)cJSON_AddItemToArray(nodes, one);
        (void)cJSON_AddStringToObject(one, "api", node->api);
        if (node->why[0])
            (void)cJSON_AddStringToObject(one, "why", node->why);
        (void)cJSON_AddBoolToObject(one, "answers", node->answers);
        if (!node->answers)
            continue;
        put(one, "id", node->id);
        (void)cJSON_AddStringToObject(one, "role", node->role);
        put(one, "term", metrics_value(pair.now, "assent_term", "", -1));
        (void)text_format(label, sizeof(label), "member=\"%.0f\"", node->id);
        put(one, "lag_entries",
            now->leader < 0 ? -1
                            : metrics_value(&now->nodes[now->leader].metrics,
                                            "assent_member_lag_entries", label, -1));
        put(one, "requests_per_s", rate(&pair, "assent_http_requests_total", ""));
        put(one, "syncs_per_s", rate(&pair, "assent_log_syncs_total", ""));
        put_phase(one, &pair, "assent_log_sync_seconds", "sync");
        put(one, "resident_mib",
            metrics_value(pair.now, "process_resident_memory_bytes", "", 0) / (1 << 20));
        (void)cJSON_AddBoolToObject(one, "disk_full",
                                    metrics_value(pair.now, "assent_disk_full", "", 0) > 0);
    }
}

static void put_participants(cJSON *root, const struct metrics *metrics)
{
    static const struct {
        const char *name, *key;
    } columns[] = {{"assent_participant_undecided", "undecided"},
                   {"assent_participant_unfinished", "unfinished"},
                   {"assent_participant_prepared", "prepared"},
                   {"assent_participant_in_doubt", "in_doubt"},
                   {"assent_participant_orphaned", "orphaned"},
                   {"assent_participant_queued", "queued"},
                   {"assent_participant_prepared_slots_used", "slots_used"},
                   {"assent_participant_prepared_slots", "slots"},
                   {"assent_participant_oldest_prepared_seconds", "oldest_s"},
                   {"assent_participant_prepared_slots_ours", "slots_ours"},
                   {"assent_participant_xmin_age", "xmin_age"},
                   {"assent_participant_foreign_prepared", "foreign"},
                   {"assent_participant_foreign_xmin_age", "foreign_xmin_age"},
                   {"assent_participant_foreign_oldest_prepared_seconds", "foreign_oldest_s"},
                   {"assent_participant_audit_age_seconds", "audit_age_s"}};
    cJSON *participants = cJSON_AddArrayToObject(root, "participants");

    for (size_t i = 0; metrics && i < metrics->count; i++) {
        const struct metrics_sample *up = &metrics->list[i];
        char name[80] = "";
        cJSON *one;

        if (strcmp(up->name, "assent_participant_up") != 0 ||
            sscanf(up->labels, "participant=\"%79[^\"]\"", name) != 1)
            continue;
        one = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(participants, one);
        (void)cJSON_AddStringToObject(one, "name", name);
        (void)cJSON_AddBoolToObject(one, "up", up->value > 0);
        for (size_t c = 0; c < AS_COUNT_OF(columns); c++)
            put(one, columns[c].key, metrics_value(metrics, columns[c].name, up->labels, -1));
    }
}

cJSON *top_figures(const struct top_look *now, const struct top_look *before)
{
    cJSON *root = cJSON_CreateObject();
    struct pair leader = {0};

    if (now->leader >= 0)
        leader = pair_of(now, before, (size_t)now->leader);
    if (now->leader != before->leader)
        leader.before = NULL; /* another node's counters */
    (void)cJSON_AddStringToObject(root, "cluster", now->cluster);
    (void)cJSON_AddStringToObject(root, "version", now->version);
    put(root, "leader", now->leader < 0 ? -1 : now->nodes[now->leader].id);
    put(root, "term", leader.now ? metrics_value(leader.now, "assent_term", "", -1) : -1);
    put(root, "seconds", (double)(now->at - before->at) / (double)AS_SECOND);
    put(root, "committed_per_s", rate(&leader, "assent_decisions_committed_total", ""));
    put(root, "aborted_per_s", rate(&leader, "assent_decisions_aborted_total", ""));
    put_answers(root, now, before);
    put_phase(root, &leader, "assent_prepare_seconds", "prepare");
    put_phase(root, &leader, "assent_decide_seconds", "decide");
    put_phase(root, &leader, "assent_finish_seconds", "finish");
    put(root, "undecided", leader.now ? metrics_value(leader.now, "assent_undecided", "", -1) : -1);
    put(root, "unfinished",
        leader.now ? metrics_value(leader.now, "assent_unfinished", "", -1) : -1);
    put(root, "heuristic", leader.now ? metrics_value(leader.now, "assent_heuristic", "", -1) : -1);
    put(root, "in_doubt",
        leader.now ? metrics_sum(leader.now, "assent_participant_in_doubt", "") : -1);
    put(root, "orphaned",
        leader.now ? metrics_sum(leader.now, "assent_participant_orphaned", "") : -1);
    put_nodes(root, now, before);
    put_participants(root, leader.now);
    return root;
}
