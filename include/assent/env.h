/*
 * The one door of `node` and `agent` to the world. Two implementations: the libuv shell, and the
 * simulator. Every call returns at once; what comes of it arrives later as a call of node.h or agent.h,
 * never from inside the call that started it.
 */
#ifndef ASSENT_ENV_H
#define ASSENT_ENV_H

#include "assent/disk.h"
#include "assent/pgop.h"
#include "assent/principal.h"
#include "assent/request.h"
#include "assent/trace.h"

struct as_env; /* each implementation's own */

struct as_env_ops {
    /* Monotonic; does not move during one turn of the loop. */
    as_time (*now)(struct as_env *env);
    /* Unix time in milliseconds: for display and UUIDv7 ages, never for a decision about order. */
    int64_t (*wall_ms)(struct as_env *env);
    uint64_t (*random)(struct as_env *env);
    /* One timer; a later call replaces the earlier one. AS_NEVER: none. */
    void (*timer_arm)(struct as_env *env, as_time at);

    /* Connections are numbers. `net_dial` takes a number of the caller's; accepted ones are the shell's.
     * `net_send` copies; bytes of one turn leave together. A connection that fails, or whose unsent bytes
     * pass AS_SEND_QUEUE_BYTES_MAX, is reported closed. After net_close nothing more is heard of it. */
    void (*net_dial)(struct as_env *env, uint64_t connection, const char *address);
    void (*net_send)(struct as_env *env, uint64_t connection, struct as_bytes bytes);
    void (*net_close)(struct as_env *env, uint64_t connection);
    /* Who is at the other end of a connection that is up, as its certificate says; NULL: nothing certifies it (see
     * principal.h). A NULL function: nothing certifies any. Borrowed until the connection ends. */
    const struct as_principal *(*net_principal)(struct as_env *env, uint64_t connection);

    /* node: the log's disk */
    void (*disk_start)(struct as_env *env, const struct as_disk_op *op);
    /* node: an answer for a waiting request of the API */
    void (*client_reply)(struct as_env *env, uint64_t client, const struct as_reply *reply);

    /* node: another node passed on what its API was asked (node_forward there); node_forward_reply answers. */
    void (*forwarded)(struct as_env *env, uint64_t forward, struct as_bytes request);
    /* node: the end of a node_forward. BUSY: the leader did not carry it out, for want of room. Another error: the
     * link was lost, and it may have been carried out or not. */
    void (*forward_done)(struct as_env *env, uint64_t client, as_err err, struct as_bytes reply);

    /* agent: PostgreSQL */
    void (*pg_start)(struct as_env *env, const struct as_pg_op *op);
    /* The operation ends soon, as CANCELLED or as it would have anyway. Unknown ids are ignored. */
    void (*pg_cancel)(struct as_env *env, uint32_t participant, uint64_t op_id);

    void (*trace)(struct as_env *env, const struct as_trace *trace);
    /* The process must not go on: a failed sync, a broken invariant of the log. Does not return in production;
     * in the simulator the node is marked dead and every later call of it is refused. */
    void (*fatal)(struct as_env *env, const char *why);
};

#endif
