/*
 * A cluster as one of its nodes sees it, as JSON: GET /v1/cluster.
 */
#include "coordinator/api/answer.h"

static void put_name_u64(struct as_buf *buf, const char *name, uint64_t value)
{
    as_put_u8(buf, ',');
    json_put_text(buf, name);
    as_put_u8(buf, ':');
    json_put_u64(buf, value);
}

static void put_name_bool(struct as_buf *buf, const char *name, bool value)
{
    as_put_u8(buf, ',');
    json_put_text(buf, name);
    as_put_u8(buf, ':');
    json_put_bool(buf, value);
}

const char *answer_role(enum raft_role role)
{
#define ROLE_TEXT(name, text) text,
    static const char *const texts[] = {ANSWER_ROLE_MAP(ROLE_TEXT)};
#undef ROLE_TEXT

    AS_ASSERT((size_t)role < AS_COUNT_OF(texts));
    return texts[role];
}

struct members {
    struct as_buf *buf;
    const struct node_info *info;
    uint32_t count;
};

uint64_t answer_lag(const struct node_info *info, const struct node_member_view *view)
{
    return view->match < info->last_index ? info->last_index - view->match : 0;
}

/* Only a leader knows how far the others are. */
static void put_progress(struct as_buf *buf, const struct node_info *info,
                         const struct node_member_view *view)
{
    if (!info->leading) {
        JSON_PUT(buf,
                 ",\"match_index\":null,\"lag\":null,\"heard_ms_ago\":null,\"caught_up\":null");
        return;
    }
    put_name_u64(buf, "match_index", view->match);
    put_name_u64(buf, "lag", answer_lag(info, view));
    JSON_PUT(buf, ",\"heard_ms_ago\":");
    if (view->self || view->heard_ms_ago < 0)
        JSON_PUT(buf, "null");
    else
        json_put_i64(buf, view->heard_ms_ago);
    put_name_bool(buf, "caught_up", view->caught_up);
}

static void put_member(void *ctx, const struct node_member_view *view)
{
    struct members *members = ctx;
    struct as_buf *buf = members->buf;

    if (members->count++)
        as_put_u8(buf, ',');
    JSON_PUT(buf, "{\"id\":");
    json_put_u64(buf, view->id);
    JSON_PUT(buf, ",\"address\":");
    json_put_text_or_null(buf, view->address);
    JSON_PUT(buf, ",\"role\":");
    json_put_text(buf, !view->voter ? "learner" : view->leader ? "leader" : "follower");
    put_name_bool(buf, "voter", view->voter);
    put_name_bool(buf, "self", view->self);
    put_name_bool(buf, "linked", view->linked);
    put_progress(buf, members->info, view);
    as_put_u8(buf, '}');
}

void answer_cluster(struct as_buf *buf, struct node *node, const char *version)
{
    struct node_info info;
    struct members members = {.buf = buf, .info = &info};

    node_info(node, &info);
    JSON_PUT(buf, "{\"cluster\":");
    json_put_text(buf, info.cluster);
    JSON_PUT(buf, ",\"incarnation\":");
    json_put_hex64(buf, info.incarnation);
    put_name_u64(buf, "node", info.node_id);
    JSON_PUT(buf, ",\"version\":");
    json_put_text(buf, version);
    JSON_PUT(buf, ",\"role\":");
    json_put_text(buf, answer_role(info.role));
    JSON_PUT(buf, ",\"leader\":");
    if (info.leader)
        json_put_u64(buf, info.leader);
    else
        JSON_PUT(buf, "null");
    put_name_u64(buf, "term", info.term);
    put_name_u64(buf, "last_index", info.last_index);
    put_name_u64(buf, "persisted_index", info.persisted_index);
    put_name_u64(buf, "commit_index", info.commit_index);
    put_name_u64(buf, "applied_index", info.applied_index);
    put_name_u64(buf, "table_index", info.table_index);
    put_name_u64(buf, "snapshot_index", info.snapshot_index);
    put_name_u64(buf, "sessions", info.sessions);
    put_name_bool(buf, "disk_full", info.disk_full);
    put_name_bool(buf, "draining", info.draining);
    JSON_PUT(buf, ",\"nodes\":[");
    node_members(node, put_member, &members);
    JSON_PUT(buf, "]}");
}
