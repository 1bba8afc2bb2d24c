/*
 * What one node passes to another, from anywhere: a request, or an answer. What is taken encodes
 * back to the same bytes, and every view in it lies within them.
 */
#include "coordinator/api/answer.h"
#include "coordinator/api/forward.h"
#include "tests/fuzz/fuzz.h"

static bool within(struct as_bytes part, struct as_bytes whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void check_request(struct as_bytes bytes)
{
    struct forward_request request;
    struct as_buf again;

    if (forward_request_take(bytes, &request))
        return;
    AS_ASSERT(within(request.target, bytes) && within(request.body, bytes) &&
              within(request.participants, bytes));
    AS_ASSERT(request.target.len > 0 && request.target.data[0] == '/');
    AS_ASSERT(!memchr(request.target.data, 0, request.target.len));
    AS_ASSERT(forward_method_text(request.method)[0]);
    as_buf_init(&again, AS_FRAME_BYTES_MAX);
    forward_request_put(&again, &request);
    AS_ASSERT(!again.err && fuzz_same(as_buf_bytes(&again), bytes));
    as_buf_close(&again);
}

static void check_answer(struct as_bytes bytes)
{
    struct forward_answer answer;
    struct as_buf again;

    if (forward_answer_take(bytes, &answer))
        return;
    AS_ASSERT(within(answer.body, bytes));
    AS_ASSERT(answer_status_column(answer.status) < ANSWER_STATUS_COUNT);
    as_buf_init(&again, AS_FRAME_BYTES_MAX);
    forward_answer_put(&again, &answer);
    AS_ASSERT(!again.err && fuzz_same(as_buf_bytes(&again), bytes));
    as_buf_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request((struct as_bytes){data, size});
    check_answer((struct as_bytes){data, size});
    return 0;
}
