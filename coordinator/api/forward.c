/*
 * Requests between nodes as bytes: see forward.h.
 */
#include "coordinator/api/forward.h"

#include <string.h>

#include "assent/attempt.h"
#include "assent/grant.h"
#include "coordinator/api/answer.h"

const char *forward_method_text(enum forward_method method)
{
#define METHOD_TEXT(name) #name,
    static const char *const texts[] = {FORWARD_METHOD_MAP(METHOD_TEXT)};
#undef METHOD_TEXT

    AS_ASSERT((size_t)method < AS_COUNT_OF(texts));
    return texts[method];
}

void forward_request_put(struct as_buf *buf, const struct forward_request *request)
{
    as_put_u8(buf, request->participants.len ? FORWARD_VERSION_LIMITED : FORWARD_VERSION);
    as_put_u8(buf, (uint8_t)request->method);
    as_put_u64(buf, request->session);
    as_put_text8(buf, request->id, strlen(request->id));
    as_put_text8(buf, request->content_type, strlen(request->content_type));
    if (request->participants.len)
        as_put_text16(buf, (const char *)request->participants.data, request->participants.len);
    as_put_text16(buf, (const char *)request->target.data, request->target.len);
    as_put_bytes32(buf, request->body);
}

static bool target_valid(struct as_bytes target)
{
    return target.len > 0 && target.len <= FORWARD_TARGET_LEN_MAX && target.data[0] == '/' &&
           !memchr(target.data, 0, target.len);
}

as_err forward_request_take(struct as_bytes bytes, struct forward_request *ret)
{
    struct as_reader in = as_reader_of(bytes);
    struct forward_request request = {0};
    uint8_t version = as_read_u8(&in), method = as_read_u8(&in);

    request.method = (enum forward_method)method;
    request.session = as_read_u64(&in);
    as_read_string8(&in, request.id, sizeof(request.id));
    as_read_string8(&in, request.content_type, sizeof(request.content_type));
    if (version == FORWARD_VERSION_LIMITED)
        request.participants = as_read_text16(&in);
    request.target = as_read_text16(&in);
    request.body = as_read_bytes32(&in);
    if (!as_reader_done(&in) ||
        (version != FORWARD_VERSION &&
         (version != FORWARD_VERSION_LIMITED || !as_participants_valid(request.participants))) ||
        method >= FORWARD_METHOD_COUNT ||
        (request.id[0] && !as_id_valid(request.id, strlen(request.id))) ||
        !target_valid(request.target))
        return AS_ERR_MALFORMED;
    *ret = request;
    return AS_OK;
}

void forward_answer_put(struct as_buf *buf, const struct forward_answer *answer)
{
    as_put_u8(buf, FORWARD_VERSION);
    as_put_u16(buf, (uint16_t)answer->status);
    as_put_u8(buf, answer->problem);
    as_put_u8(buf, answer->location);
    as_put_u64(buf, answer->session);
    as_put_bytes32(buf, answer->body);
}

as_err forward_answer_take(struct as_bytes bytes, struct forward_answer *ret)
{
    struct as_reader in = as_reader_of(bytes);
    struct forward_answer answer = {0};
    uint8_t version = as_read_u8(&in), problem, location;

    answer.status = as_read_u16(&in);
    problem = as_read_u8(&in);
    location = as_read_u8(&in);
    answer.problem = problem;
    answer.location = location;
    answer.session = as_read_u64(&in);
    answer.body = as_read_bytes32(&in);
    if (!as_reader_done(&in) || version != FORWARD_VERSION || problem > 1 || location > 1 ||
        answer_status_column(answer.status) == ANSWER_STATUS_COUNT)
        return AS_ERR_MALFORMED;
    *ret = answer;
    return AS_OK;
}
