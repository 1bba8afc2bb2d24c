/*
 * The cluster's own routes: its nodes, changes of them, and whether this one takes work.
 */
#include "coordinator/api/server.h"

/* Why the leader does not do it: refusal of Raft, status, stable code, text that says what to do. */
#define REFUSAL_MAP(X)                                                                         \
    X(NONE, 500, "none", "it was begun")                                                       \
    X(NOT_LEADER, 503, "no_leader", "this node does not lead any more; try again")             \
    X(TRANSFERRING, 503, "transferring", "leadership is being handed over; try again")         \
    X(TAIL_FULL, 503, "overloaded", "too much is waiting for a snapshot; try again later")     \
    X(TOO_BIG, 409, "too_many_nodes", "the list of nodes would be too large")                  \
    X(NOT_READY, 503, "no_leader", "the new leader is not ready yet; try again")               \
    X(CHANGING, 409, "change_in_progress",                                                     \
      "another change of the nodes is not done yet; wait for it (GET /v1/cluster)")            \
    X(NOT_CAUGHT_UP, 409, "not_caught_up", "that node lacks too much of the log; wait for it") \
    X(NO_SUCH_MEMBER, 409, "no_such_node",                                                     \
      "no node of this cluster that could take it has "                                        \
      "that id; see GET /v1/cluster")                                                          \
    X(IS_MEMBER, 409, "is_member", "a node of that id is in the cluster already")              \
    X(TOO_MANY, 409, "too_many_nodes", "the cluster has as many nodes as it may have")         \
    X(LAST_VOTER, 409, "last_voter", "it is the only node that votes: add another one first")

static void answer_change(struct request *request, enum raft_refusal refusal)
{
#define ROW(name, status, code, text) {status, code, text},
    static const struct {
        int status;
        const char *code, *text;
    } rows[] = {REFUSAL_MAP(ROW)};
#undef ROW

    _Static_assert(AS_COUNT_OF(rows) == RAFT_REFUSAL_COUNT, "one row for each refusal");
    if (refusal != RAFT_REFUSED_NONE) {
        handler_refuse(request, rows[refusal].status, rows[refusal].code, "%s", rows[refusal].text);
        return;
    }
    answer_cluster(&request->answer.body, request->api->node, request->api->config.version);
    request_answer(request, 202, TYPE_JSON);
}

void run_cluster(struct request *request)
{
    struct query query;

    if (!query_read(&query, request, NULL, 0))
        return;
    answer_cluster(&request->answer.body, request->api->node, request->api->config.version);
    request_answer(request, 200, TYPE_JSON);
}

void run_cluster_add(struct request *request)
{
    struct api *api = request->api;
    struct body_node node;
    struct problem problem;
    struct as_bytes body;
    struct query query;

    if (!query_read(&query, request, NULL, 0) || !handler_body(request, &body))
        return;
    if (!body_node(&api->reader, body, &node, &problem)) {
        request_refuse(request, &problem);
        return;
    }
    if (pass_on(request, 0))
        return;
    api->asked = true;
    answer_change(request, node_member_change(api->node, RAFT_MEMBER_ADD, node.id, node.address));
}

void run_cluster_remove(struct request *request)
{
    struct api *api = request->api;
    struct query query;

    if (!query_read(&query, request, NULL, 0) || pass_on(request, 0))
        return;
    api->asked = true;
    answer_change(request,
                  node_member_change(api->node, RAFT_MEMBER_REMOVE, request->node_id, NULL));
}

void run_cluster_transfer(struct request *request)
{
    struct api *api = request->api;
    struct problem problem;
    struct as_bytes body;
    struct query query;
    uint64_t to;

    if (!query_read(&query, request, NULL, 0) || !handler_body(request, &body))
        return;
    if (!body_transfer(&api->reader, body, &to, &problem)) {
        request_refuse(request, &problem);
        return;
    }
    if (pass_on(request, 0))
        return;
    api->asked = true;
    answer_change(request, node_transfer(api->node, to));
}

/* The asked node's own, for a backup of it: never passed on. */
void run_cluster_snapshot(struct request *request)
{
    struct query query;

    if (!query_read(&query, request, NULL, 0))
        return;
    node_snapshot(request->api->node);
    answer_change(request, RAFT_REFUSED_NONE);
}

void run_ready(struct request *request)
{
    struct as_buf *buf = &request->answer.body;
    struct node_info info;
    bool follows;

    node_info(request->api->node, &info);
    follows = info.role == RAFT_FOLLOWER && info.leader != 0;
    if (info.draining || request->api->draining) {
        handler_refuse(request, 503, "shutting_down", "this node is stopping");
    } else if (!info.leading && !follows) {
        handler_refuse(request, 503, "no_leader", "this node neither leads nor follows a leader");
    } else {
        JSON_PUT(buf, "{\"status\":\"ready\",\"role\":");
        json_put_text(buf, answer_role(info.role));
        JSON_PUT(buf, ",\"leader\":");
        json_put_u64(buf, info.leader);
        JSON_PUT(buf, ",\"term\":");
        json_put_u64(buf, info.term);
        as_put_u8(buf, '}');
        request_answer(request, 200, TYPE_JSON);
    }
}
