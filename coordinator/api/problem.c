/*
 * Problem details: see problem.h.
 */
#include "coordinator/api/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/json.h"

void problem_set(struct problem *problem, int status, const char *code, const char *detail, ...)
{
    va_list args;

    memset(problem, 0, sizeof(*problem));
    problem->status = status;
    problem->code = code;
    problem->statement = -1;
    va_start(args, detail);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), detail, args);
    va_end(args);
}

void problem_of_refusal(struct problem *problem, enum as_refusal refusal, const char *id)
{
#define ROW(name, status, code, text) {status, code, text},
    static const struct {
        int status;
        const char *code, *text;
    } rows[] = {AS_REFUSAL_MAP(ROW)};
#undef ROW

    AS_ASSERT((size_t)refusal < AS_COUNT_OF(rows));
    problem_set(problem, rows[refusal].status, rows[refusal].code, "%s", rows[refusal].text);
    if (id)
        (void)snprintf(problem->id, sizeof(problem->id), "%s", id);
}

void problem_add(struct problem *problem, const char *detail)
{
    size_t len = strlen(problem->detail);

    (void)snprintf(problem->detail + len, sizeof(problem->detail) - len, " (%s)", detail);
}

const char *problem_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } rows[] = {
        {400, "Bad Request"},       {401, "Unauthorized"},           {403, "Forbidden"},
        {404, "Not Found"},         {405, "Method Not Allowed"},     {409, "Conflict"},
        {413, "Content Too Large"}, {415, "Unsupported Media Type"}, {422, "Unprocessable Content"},
        {429, "Too Many Requests"}, {500, "Internal Server Error"},  {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        if (rows[i].status == status)
            return rows[i].title;
    }
    return "Error";
}

void problem_put(struct as_buf *buf, const struct problem *problem)
{
    JSON_PUT(buf, "{\"type\":\"about:blank\",\"title\":");
    json_put_text(buf, problem_title(problem->status));
    JSON_PUT(buf, ",\"status\":");
    json_put_i64(buf, problem->status);
    JSON_PUT(buf, ",\"code\":");
    json_put_text(buf, problem->code);
    JSON_PUT(buf, ",\"detail\":");
    json_put_text(buf, problem->detail);
    if (problem->id[0]) {
        JSON_PUT(buf, ",\"id\":");
        json_put_text(buf, problem->id);
    }
    if (problem->has_pointer) {
        JSON_PUT(buf, ",\"pointer\":");
        json_put_text(buf, problem->pointer);
    }
    if (problem->has_position) {
        JSON_PUT(buf, ",\"offset\":");
        json_put_u64(buf, problem->offset);
        JSON_PUT(buf, ",\"line\":");
        json_put_u64(buf, problem->line);
        JSON_PUT(buf, ",\"column\":");
        json_put_u64(buf, problem->column);
    }
    if (problem->branch) {
        JSON_PUT(buf, ",\"branch\":");
        json_put_u64(buf, problem->branch);
    }
    if (problem->statement >= 0) {
        JSON_PUT(buf, ",\"statement\":");
        json_put_i64(buf, problem->statement);
    }
    if (problem->keyword) {
        JSON_PUT(buf, ",\"keyword\":");
        json_put_text(buf, problem->keyword);
    }
    as_put_u8(buf, '}');
}
