/*
 * Views of a node as JSON: see answer.h. Results come from an agent and were not looked at on their
 * way (R9 keeps none): bytes that cannot be read are left out, they never break the answer.
 */
#include "coordinator/api/answer.h"

#include <stdio.h>
#include <string.h>

#include "assent/work.h"

static as_err put_columns(struct as_buf *buf, struct as_results_reader *in, uint32_t count)
{
    struct as_bytes text;

    JSON_PUT(buf, ",\"columns\":[");
    for (uint32_t i = 0; i < count; i++) {
        as_err err = as_results_next_text(in, &text);

        if (err)
            return err;
        if (i)
            as_put_u8(buf, ',');
        json_put_string(buf, text);
    }
    as_put_u8(buf, ']');
    return AS_OK;
}

static as_err put_rows(struct as_buf *buf, struct as_results_reader *in,
                       const struct as_result *result)
{
    struct as_bytes text;

    JSON_PUT(buf, ",\"rows\":[");
    for (uint32_t row = 0; row < result->row_count && !buf->err; row++) {
        if (row)
            as_put_u8(buf, ',');
        as_put_u8(buf, '[');
        for (uint32_t i = 0; i < result->column_count; i++) {
            as_err err = as_results_next_text(in, &text);

            if (err)
                return err;
            if (i)
                as_put_u8(buf, ',');
            if (text.data)
                json_put_string(buf, text);
            else
                JSON_PUT(buf, "null");
        }
        as_put_u8(buf, ']');
    }
    as_put_u8(buf, ']');
    return AS_OK;
}

static as_err put_results(struct as_buf *buf, struct as_bytes bytes)
{
    struct as_results_reader in;
    as_err err = as_results_open(&in, bytes);

    if (err)
        return err;
    as_put_u8(buf, '[');
    for (uint32_t i = 0; i < in.statement_count; i++) {
        struct as_result result;

        err = as_results_next(&in, &result);
        if (err)
            return err;
        /* Rows without columns cost their sender no bytes: a lie about their number would cost us
         * many. */
        if (result.column_count == 0 && result.row_count > AS_RESULT_BYTES_MAX)
            return AS_ERR_MALFORMED;
        if (i)
            as_put_u8(buf, ',');
        JSON_PUT(buf, "{\"rows_affected\":");
        json_put_i64(buf, result.rows_affected);
        err = put_columns(buf, &in, result.column_count);
        if (err)
            return err;
        err = put_rows(buf, &in, &result);
        if (err)
            return err;
        as_put_u8(buf, '}');
    }
    as_put_u8(buf, ']');
    return as_reader_done(&in.in) ? AS_OK : AS_ERR_MALFORMED;
}

static void put_branch(struct as_buf *buf, const struct as_txn_view *view, uint32_t i,
                       struct as_gid *gid, bool results)
{
    const struct as_branch_view *branch = &view->branches[i];
    char text[AS_GID_LEN_MAX + 1];
    size_t mark;

    if (i)
        as_put_u8(buf, ',');
    JSON_PUT(buf, "{\"number\":");
    json_put_u64(buf, branch->number);
    JSON_PUT(buf, ",\"participant\":");
    json_put_text(buf, branch->participant);
    JSON_PUT(buf, ",\"state\":");
    json_put_text(buf, as_branch_state_text(branch->state));
    JSON_PUT(buf, ",\"gid\":");
    gid->branch = branch->number;
    if (gid->attempt.seq) {
        size_t len = as_gid_format(gid, text);

        /* Every character of a gid stands for itself in JSON. */
        as_put_u8(buf, '"');
        as_put_bytes(buf, text, len);
        as_put_u8(buf, '"');
    } else {
        JSON_PUT(buf, "null");
    }
    if (results) {
        JSON_PUT(buf, ",\"results\":");
        mark = buf->len;
        if (!branch->results.data || put_results(buf, branch->results)) {
            buf->len = mark;
            JSON_PUT(buf, "null");
        }
    }
    as_put_u8(buf, '}');
}

static void put_reason(struct as_buf *buf, const struct as_reason *reason)
{
    JSON_PUT(buf, ",\"reason\":{\"code\":");
    json_put_text(buf, as_reason_text(reason->code));
    JSON_PUT(buf, ",\"message\":");
    json_put_text(buf, reason->message);
    JSON_PUT(buf, ",\"participant\":");
    json_put_text_or_null(buf, reason->participant);
    JSON_PUT(buf, ",\"branch\":");
    if (reason->branch)
        json_put_u64(buf, reason->branch);
    else
        JSON_PUT(buf, "null");
    JSON_PUT(buf, ",\"statement\":");
    if (reason->statement >= 0)
        json_put_i64(buf, reason->statement);
    else
        JSON_PUT(buf, "null");
    JSON_PUT(buf, ",\"sqlstate\":");
    json_put_text_or_null(buf, reason->sqlstate);
    as_put_u8(buf, '}');
}

void answer_txn(struct as_buf *buf, const struct as_txn_view *view, const struct node_info *info,
                bool results)
{
    struct as_gid gid = {.incarnation = info->incarnation, .attempt = view->attempt};

    memcpy(gid.cluster, info->cluster, strnlen(info->cluster, AS_CLUSTER_LEN_MAX));
    memcpy(gid.id, view->id, strnlen(view->id, AS_ID_LEN_MAX));
    JSON_PUT(buf, "{\"id\":");
    json_put_text(buf, view->id);
    JSON_PUT(buf, ",\"state\":");
    json_put_text(buf, as_txn_state_text(view->state));
    JSON_PUT(buf, ",\"applied\":");
    json_put_bool(buf, view->applied);
    JSON_PUT(buf, ",\"attempt\":");
    if (view->attempt.seq) {
        as_put_u8(buf, '"');
        json_put_u64(buf, view->attempt.term);
        as_put_u8(buf, '.');
        json_put_u64(buf, view->attempt.seq);
        as_put_u8(buf, '"');
    } else {
        JSON_PUT(buf, "null");
    }
    JSON_PUT(buf, ",\"index\":");
    if (view->index)
        json_put_u64(buf, view->index);
    else
        JSON_PUT(buf, "null");
    JSON_PUT(buf, ",\"created_at\":");
    json_put_time(buf, view->created_ms);
    JSON_PUT(buf, ",\"decided_at\":");
    json_put_time(buf, view->decided_ms);
    JSON_PUT(buf, ",\"branches\":[");
    for (uint32_t i = 0; i < view->branch_count; i++)
        put_branch(buf, view, i, &gid, results);
    as_put_u8(buf, ']');
    if (view->reason && view->reason->code != AS_REASON_NONE)
        put_reason(buf, view->reason);
    as_put_u8(buf, '}');
}

/* 150018 is 15.18 */
static void put_version(struct as_buf *buf, uint32_t version)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%u.%u", (unsigned)(version / 10000),
                   (unsigned)(version % 10000));
    json_put_text(buf, text);
}

static void put_name_u64(struct as_buf *buf, const char *name, uint64_t value)
{
    as_put_u8(buf, ',');
    json_put_text(buf, name);
    as_put_u8(buf, ':');
    json_put_u64(buf, value);
}

/* Numbers beyond 2^53 go as strings: many JSON readers make doubles of numbers. */
static void put_name_u64_text(struct as_buf *buf, const char *name, uint64_t value)
{
    as_put_u8(buf, ',');
    json_put_text(buf, name);
    JSON_PUT(buf, ":\"");
    json_put_u64(buf, value);
    as_put_u8(buf, '"');
}

static void put_identity(struct as_buf *buf, const struct as_identity *identity)
{
    char text[2 * AS_IDENTITY_LEN + 1];

    for (size_t i = 0; i < AS_IDENTITY_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", identity->token[i]);
    JSON_PUT(buf, ",\"identity\":");
    json_put_text(buf, text);
}

/* What an older agent does not tell is null. */
static void put_name_known(struct as_buf *buf, const char *name, bool known, int64_t value)
{
    as_put_u8(buf, ',');
    json_put_text(buf, name);
    as_put_u8(buf, ':');
    if (known)
        json_put_i64(buf, value);
    else
        JSON_PUT(buf, "null");
}

static void put_audit(struct as_buf *buf, const struct node_agent_view *agent)
{
    const struct as_wire_status *status = agent->status;
    bool known = status->audited;

    put_name_known(buf, "audit_age_ms", agent->audit_age_ms >= 0, agent->audit_age_ms);
    put_name_known(buf, "prepared_used_ours", known, status->slots_ours);
    put_name_known(buf, "prepared_used_foreign", known,
                   (int64_t)status->slots_used - status->slots_ours);
    put_name_known(buf, "xmin_age", known, status->xmin_age);
    put_name_known(buf, "foreign_xmin_age", known, status->foreign_xmin_age);
    put_name_known(buf, "foreign_oldest_age_ms", known, status->foreign_oldest_age_ms);
}

static void put_agent(struct as_buf *buf, const struct node_agent_view *agent)
{
    const struct as_wire_participant *facts = agent->facts;
    const struct as_wire_status *status = agent->status;

    JSON_PUT(buf, "{\"name\":");
    json_put_text_or_null(buf, agent->name);
    JSON_PUT(buf, ",\"peer\":");
    json_put_text_or_null(buf, agent->peer);
    JSON_PUT(buf, ",\"state\":");
    json_put_text(buf, agent->up ? "up" : "down");
    JSON_PUT(buf, ",\"detail\":");
    json_put_text_or_null(buf, agent->detail);
    JSON_PUT(buf, ",\"last_refusal\":");
    json_put_text_or_null(buf, agent->refusal);
    if (facts) {
        JSON_PUT(buf, ",\"postgresql\":");
        if (facts->server_version)
            put_version(buf, facts->server_version);
        else
            JSON_PUT(buf, "null");
        put_name_u64(buf, "max_prepared_transactions", facts->prepared_max);
        put_name_u64(buf, "connections", facts->connections);
        JSON_PUT(buf, ",\"proof\":");
        json_put_text(buf, facts->proof == AS_PROOF_MARKER ? "marker" : "xact_status");
    }
    if (status) {
        put_name_u64(buf, "prepared_used", status->slots_used);
        put_name_u64(buf, "prepared", status->prepared);
        put_name_u64(buf, "in_doubt", status->in_doubt);
        put_name_u64(buf, "orphaned", status->orphaned);
        put_name_u64(buf, "foreign", status->foreign);
        put_name_u64(buf, "queued", status->queued);
        JSON_PUT(buf, ",\"oldest_age_ms\":");
        json_put_i64(buf, status->oldest_age_ms);
        JSON_PUT(buf, ",\"oldest_gid\":");
        json_put_text_or_null(buf, agent->oldest_gid);
        put_audit(buf, agent);
    }
    as_put_u8(buf, '}');
}

void answer_participant(struct as_buf *buf, const struct node_participant_view *view)
{
    bool up = false;

    /* Until the leader has applied its PARTICIPANT record it gets no work. */
    for (uint32_t i = 0; i < view->agent_count && view->txn.sessions > 0; i++)
        up = up || view->agents[i].up;
    JSON_PUT(buf, "{\"name\":");
    json_put_text(buf, view->txn.name);
    JSON_PUT(buf, ",\"state\":");
    json_put_text(buf, up ? "up" : "down");
    put_identity(buf, &view->txn.identity);
    put_name_u64_text(buf, "counter", view->txn.counter);
    put_name_u64_text(buf, "system_id", view->txn.system_id);
    put_name_u64(buf, "timeline", view->txn.timeline);
    put_name_u64(buf, "undecided", view->txn.undecided);
    put_name_u64(buf, "unfinished", view->txn.unfinished);
    JSON_PUT(buf, ",\"agents\":[");
    for (uint32_t i = 0; i < view->agent_count; i++) {
        if (i)
            as_put_u8(buf, ',');
        put_agent(buf, &view->agents[i]);
    }
    JSON_PUT(buf, "]}");
}
