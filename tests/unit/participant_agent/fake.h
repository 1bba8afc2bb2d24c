/*
 * A fake `struct as_env` for the agent: keeps what the agent asked for and hands it to the test's
 * hooks. It checks what every implementation may rely on: operation numbers are unique, connections
 * are even and new, nothing is sent on a connection that is not open, bytes sent are whole valid
 * frames.
 */
#ifndef ASSENT_TEST_AGENT_FAKE_H
#define ASSENT_TEST_AGENT_FAKE_H

#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "assent/wire.h"
#include "assent/work.h"
#include "participant/agent/agent.h"

struct as_env {
    as_time now;
    as_time armed;
    uint64_t last_op, last_connection;
    struct as_rng rng;
    struct as_buf frames; /* scratch of fake_feed */
    bool in_pieces;       /* what a node sends arrives in two pieces, cut anywhere */
    void *test;
    void (*dialed)(void *test, uint64_t connection, const char *address);
    void (*sent)(void *test, uint64_t connection, const struct as_wire_msg *msg);
    void (*closed)(void *test, uint64_t connection);
    void (*started)(void *test, const struct as_pg_op *op);
    void (*cancelled)(void *test, uint32_t participant, uint64_t op_id);
    void (*traced)(void *test, const struct as_trace *trace);
};

static inline as_time fake_now(struct as_env *env)
{
    return env->now;
}

static inline int64_t fake_wall_ms(struct as_env *env)
{
    return env->now / AS_MS;
}

static inline uint64_t fake_random(struct as_env *env)
{
    return as_rng_next(&env->rng);
}

static inline void fake_timer_arm(struct as_env *env, as_time at)
{
    env->armed = at;
}

static inline void fake_net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    assert_true(connection > env->last_connection && connection % 2 == 0);
    env->last_connection = connection;
    env->dialed(env->test, connection, address);
}

static inline void fake_net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    struct as_wire_msg msg;
    size_t used;

    while (bytes.len > 0) {
        assert_int_equal(as_wire_take(bytes, &msg, &used), AS_OK);
        env->sent(env->test, connection, &msg);
        bytes.data += used;
        bytes.len -= used;
    }
}

static inline void fake_net_close(struct as_env *env, uint64_t connection)
{
    env->closed(env->test, connection);
}

static inline void fake_pg_start(struct as_env *env, const struct as_pg_op *op)
{
    assert_true(op->id > env->last_op);
    env->last_op = op->id;
    env->started(env->test, op);
}

static inline void fake_pg_cancel(struct as_env *env, uint32_t participant, uint64_t op_id)
{
    env->cancelled(env->test, participant, op_id);
}

static inline void fake_trace(struct as_env *env, const struct as_trace *trace)
{
    assert_true(trace->kind < AS_TRACE_COUNT);
    env->traced(env->test, trace);
}

static const struct as_env_ops fake_ops = {
    .now = fake_now,
    .wall_ms = fake_wall_ms,
    .random = fake_random,
    .timer_arm = fake_timer_arm,
    .net_dial = fake_net_dial,
    .net_send = fake_net_send,
    .net_close = fake_net_close,
    .pg_start = fake_pg_start,
    .pg_cancel = fake_pg_cancel,
    .trace = fake_trace,
};

static inline void fake_init(struct as_env *env, uint64_t seed)
{
    *env = (struct as_env){.now = 1000 * AS_SECOND, .armed = AS_NEVER, .rng = {seed}};
    as_buf_init(&env->frames, 2 * AS_FRAME_BYTES_MAX);
}

static inline void fake_close(struct as_env *env)
{
    as_buf_close(&env->frames);
}

/* The node's side of a connection sends a message. */
static inline void fake_feed(struct as_env *env, struct agent *agent, uint64_t connection,
                             const struct as_wire_msg *msg)
{
    size_t cut;

    do { /* again, if the one allocation that was to fail was this one */
        as_buf_clear(&env->frames);
        as_wire_put(&env->frames, msg);
    } while (env->frames.err == AS_ERR_NOMEM);
    assert_int_equal(env->frames.err, AS_OK);
    cut = env->in_pieces ? as_rng_below(&env->rng, env->frames.len + 1) : 0;
    if (cut > 0)
        agent_on_bytes(agent, connection, (struct as_bytes){env->frames.data, cut});
    agent_on_bytes(agent, connection,
                   (struct as_bytes){env->frames.data + cut, env->frames.len - cut});
}

/* Lets time pass, calling the timer when it is due. */
static inline void fake_advance(struct as_env *env, struct agent *agent, as_time by)
{
    as_time until = env->now + by;

    while (env->armed <= until) {
        if (env->now < env->armed)
            env->now = env->armed;
        env->armed = AS_NEVER;
        agent_on_timer(agent);
    }
    env->now = until;
}

static inline struct as_bytes fake_text(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

/* Work of one statement. Its bytes are the same every time. */
static inline struct as_bytes fake_work(bool read_only)
{
    static uint8_t bytes[2][64];
    static size_t len[2];

    if (len[read_only] == 0) {
        struct as_buf buf;

        as_buf_init(&buf, sizeof bytes[0]);
        as_work_put_begin(&buf, AS_ISOLATION_READ_COMMITTED, read_only, 1);
        as_work_put_statement(&buf, fake_text("SELECT 1"), AS_EXPECT_NONE, 0);
        assert_int_equal(buf.err, AS_OK);
        memcpy(bytes[read_only], buf.data, buf.len);
        len[read_only] = buf.len;
        as_buf_close(&buf);
    }
    return (struct as_bytes){bytes[read_only], len[read_only]};
}

#endif
