/*
 * One agent on a libuv loop: `struct as_env` for the agent room, with the database connections
 * behind it. assent-agent is this and a configuration file; assentd hosts one for the participants
 * that it serves itself (docs/decisions/0008).
 *
 * Holds no ordering knowledge of the protocol: whatever the agent asks for may be done in any
 * order, or be lost in a crash.
 */
#ifndef ASSENT_HOST_H
#define ASSENT_HOST_H

#include "participant/host/participants.h"

/* As the address of a node: that node lives in this process, at the other end of the link. */
#define HOST_LINK_ADDRESS "here"

/* The way to a node in the same process, as a pair of byte streams. The same rules as
 * common/uv/net.h: connections are numbers, nothing is called back from inside a call. */
struct host_link {
    void *ctx;
    void (*dial)(void *ctx, uint64_t connection);
    void (*send)(void *ctx, uint64_t connection, struct as_bytes bytes); /* copies */
    void (*close)(void *ctx, uint64_t connection);
};

struct host;
struct tls_credentials;

/*
 * Begins to connect to databases and nodes. `config` needs no participants; `link` may be NULL if
 * no address is HOST_LINK_ADDRESS. `credentials` NULL: nodes are dialed without TLS. `fatal` must not return. On failure nothing is left open once
 * the loop has run.
 */
as_err host_open(struct host **ret_host, uv_loop_t *loop, const struct agent_config *config,
                 const struct host_participants *participants, const struct host_link *link,
                 struct tls_credentials *credentials, void (*fatal)(const char *why)) AS_MUSTCHECK;

/* For the connections to come (net_tls); only if it was opened with credentials. */
void host_tls(struct host *host, struct tls_credentials *credentials);

/* Reads the files of named operations once more; if one of them is not right, those from before stay. A line in the log
 * tells. False: there are none. */
bool host_reload(struct host *host, const struct host_participants *participants);

/* What comes over the link, for its dials. */
void host_on_connected(struct host *host, uint64_t connection);
void host_on_bytes(struct host *host, uint64_t connection, struct as_bytes bytes);
void host_on_closed(struct host *host, uint64_t connection, as_err err);

/* How many of the databases are up. */
uint32_t host_up_count(const struct host *host);
/* The turn of the loop ends: all that it caused leaves now. */
void host_turn_end(struct host *host);
/* No new branches; true when nothing is executing any more. */
bool host_drain(struct host *host);
/* Cancels and closes; `closed` is called from the loop, then host_free. Once. */
void host_close(struct host *host, void (*closed)(void *ctx), void *ctx);
/* Then the loop must run its close callbacks once more. Takes NULL. */
void host_free(struct host *host);

#endif
