/*
 * Prepared transactions (R6): those of a participant, with what the decision log says of each; and the answer about one that
 * an operator has finished (operator.c).
 */
#include "coordinator/api/server.h"

void run_prepared(struct request *request)
{
    struct query query;

    if (!query_read(&query, request, NULL, 0) || pass_on(request, ASK_AGENT_MS))
        return;
    request->state = REQUEST_ASKED;
    request->api->asked = true;
    node_prepared(request->api->node, request_client(request), request->name);
}

/* What its gid says, and what the leader answers about it (R3). */
static void put_parts(struct as_buf *buf, const struct as_prepared_view *row)
{
    const struct as_gid *parts = &row->parts;

    JSON_PUT(buf, ",\"id\":");
    json_put_text(buf, parts->id);
    JSON_PUT(buf, ",\"attempt\":\"");
    json_put_u64(buf, parts->attempt.term);
    as_put_u8(buf, '.');
    json_put_u64(buf, parts->attempt.seq);
    JSON_PUT(buf, "\",\"branch\":");
    json_put_u64(buf, parts->branch);
    JSON_PUT(buf, ",\"incarnation\":");
    json_put_hex64(buf, parts->incarnation);
    JSON_PUT(buf, ",\"answer\":");
    if (row->verdict == AS_VERDICT_NONE)
        JSON_PUT(buf, "null");
    else
        json_put_text(buf, as_verdict_text(row->verdict));
}

static void put_prepared(struct as_buf *buf, const struct as_prepared_view *row)
{
    JSON_PUT(buf, "{\"gid\":");
    json_put_string(buf, row->gid);
    JSON_PUT(buf, ",\"state\":");
    json_put_text(buf, as_prepared_text(row->state));
    JSON_PUT(buf, ",\"age_ms\":");
    json_put_i64(buf, row->age_ms);
    JSON_PUT(buf, ",\"xid\":\"");
    json_put_u64(buf, row->xid);
    JSON_PUT(buf, "\",\"owner\":");
    json_put_string(buf, row->owner);
    if (row->state == AS_PREPARED_FOREIGN)
        JSON_PUT(buf, ",\"id\":null,\"attempt\":null,\"branch\":null,\"incarnation\":null,"
                      "\"answer\":null");
    else
        put_parts(buf, row);
    as_put_u8(buf, '}');
}

void answer_prepared(struct as_buf *buf, const struct as_prepared_list *list)
{
    JSON_PUT(buf, "{\"participant\":");
    json_put_text(buf, list->participant);
    JSON_PUT(buf, ",\"total\":");
    json_put_u64(buf, list->total);
    JSON_PUT(buf, ",\"foreign\":");
    json_put_u64(buf, list->foreign);
    JSON_PUT(buf, ",\"prepared\":[");
    for (uint32_t i = 0; i < list->count; i++) {
        if (i)
            as_put_u8(buf, ',');
        put_prepared(buf, &list->rows[i]);
    }
    JSON_PUT(buf, "]}");
}

void answer_resolved(struct as_buf *buf, const struct as_resolve *resolved, bool tag)
{
    char gid[AS_GID_LEN_MAX + 1];

    as_gid_format(&resolved->gid, gid);
    JSON_PUT(buf, "{\"participant\":");
    json_put_text(buf, resolved->participant);
    JSON_PUT(buf, ",\"gid\":");
    json_put_text(buf, gid);
    JSON_PUT(buf, ",\"outcome\":");
    json_put_text(buf, resolved->commit ? "committed" : "aborted");
    JSON_PUT(buf, ",\"proof\":");
    json_put_text(buf, tag ? "command_tag" : "xact_status");
    JSON_PUT(buf, ",\"who\":");
    json_put_string(buf, resolved->who);
    JSON_PUT(buf, ",\"reason\":");
    json_put_string(buf, resolved->why);
    as_put_u8(buf, '}');
}
