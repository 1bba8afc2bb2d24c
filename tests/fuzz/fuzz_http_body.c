/*
 * The body of any POST, from anywhere. What is accepted of a transaction is work that decodes, whose
 * numbers stand in the body as they were written; what is refused names a status, a code and a
 * place. Reading the same body again gives the same hash (R9).
 */
#include <stdlib.h>

#include "assent/work.h"
#include "coordinator/api/body.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX (1u << 20)

/* A parameter's characters are part of the body unless escapes were decoded. */
static void check_branch(struct as_bytes body, const struct as_submit_branch *branch)
{
    struct as_work_reader work;
    struct as_statement statement;
    struct as_bytes param;

    AS_ASSERT(
        as_participant_valid((const char *)branch->participant.data, branch->participant.len));
    AS_ASSERT(as_work_check(branch->work) == AS_OK);
    AS_ASSERT(as_work_open(&work, branch->work) == AS_OK);
    AS_ASSERT(work.read_only == branch->read_only);
    while (work.statement_count-- && as_work_next_statement(&work, &statement) == AS_OK) {
        AS_ASSERT(as_sql_refused(statement.sql) == NULL);
        AS_ASSERT(memchr(statement.sql.data, 0, statement.sql.len) == NULL);
        for (uint32_t i = 0; i < statement.param_count; i++) {
            AS_ASSERT(as_work_next_param(&work, &param) == AS_OK);
            AS_ASSERT(!param.data || param.len == 0 || memchr(body.data, '\\', body.len) ||
                      memmem(body.data, body.len, param.data, param.len));
        }
    }
}

static void check_problem(struct as_bytes body, const struct problem *problem)
{
    struct as_buf buf;
    struct json json = {0};

    AS_ASSERT(problem->status == 400 || problem->status == 413);
    AS_ASSERT(problem->code && problem->detail[0]);
    AS_ASSERT(problem->has_pointer || problem->has_position);
    AS_ASSERT(!problem->has_position || problem->offset <= body.len);
    /* Whatever was quoted from the body: the problem is strict JSON itself. */
    as_buf_init(&buf, 1 << 16);
    problem_put(&buf, problem);
    AS_ASSERT(json_parse(&json, as_buf_bytes(&buf)) == AS_OK);
    json_close(&json);
    as_buf_close(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct as_bytes body = {data, size};
    uint8_t hash[AS_HASH_LEN];
    struct body_acknowledge acknowledge;
    struct as_resolve resolve = {0};
    struct body_reader reader;
    struct body_node node;
    struct as_submit submit;
    uint64_t to;
    struct problem problem;

    if (size > BODY_MAX)
        return 0;
    body_init(&reader, 30000, BODY_MAX);
    if (body_submit(&reader, body, &submit, &problem)) {
        AS_ASSERT(submit.branch_count >= 1 && submit.branch_count <= AS_BRANCHES_MAX);
        AS_ASSERT(submit.timeout_ms >= 1 && submit.timeout_ms <= AS_TIMEOUT_MS_MAX);
        AS_ASSERT(!submit.id[0] || as_id_valid(submit.id, strlen(submit.id)));
        for (uint32_t i = 0; i < submit.branch_count; i++)
            check_branch(body, &submit.branches[i]);
        memcpy(hash, submit.body_hash, sizeof(hash));
        AS_ASSERT(body_submit(&reader, body, &submit, &problem));
        AS_ASSERT(memcmp(hash, submit.body_hash, sizeof(hash)) == 0);
    } else {
        check_problem(body, &problem);
    }
    if (body_acknowledge(&reader, body, &acknowledge, &problem))
        AS_ASSERT(acknowledge.why.len > 0 && acknowledge.who.len <= AS_WHO_LEN_MAX);
    else
        check_problem(body, &problem);
    if (body_resolve(&reader, body, &resolve, &problem))
        AS_ASSERT(resolve.why.len > 0 && resolve.why.len <= AS_REASON_LEN_MAX &&
                  resolve.who.len <= AS_WHO_LEN_MAX);
    else
        check_problem(body, &problem);
    if (body_node(&reader, body, &node, &problem))
        AS_ASSERT(node.id >= 1 && node.id <= BODY_NODE_ID_MAX && strchr(node.address, ':'));
    else
        check_problem(body, &problem);
    if (body_transfer(&reader, body, &to, &problem))
        AS_ASSERT(to <= BODY_NODE_ID_MAX);
    else
        check_problem(body, &problem);
    body_close(&reader);
    return 0;
}
