/*
 * Participants that this node serves itself: a host (participant/host) on the node's loop, and the
 * link between the two, which is a session like any other, but a pair of buffers instead of a
 * socket. What one side says in a turn of the loop the other hears at its end.
 */
#ifndef ASSENT_SHELL_LOCAL_H
#define ASSENT_SHELL_LOCAL_H

#include <uv.h>

#include "coordinator/node/node.h"
#include "participant/host/host.h"

struct local;

/* See host_open. `cluster` and `name` are the agent's; it serves the `others` as well, over the
 * network: whichever node leads needs its databases. */
as_err local_open(struct local **ret_local, uv_loop_t *loop, struct node *node, uint64_t node_id,
                  const char *cluster, const char *name, const struct raft_members *others,
                  const struct host_participants *participants, struct tls_credentials *credentials,
                  void (*fatal)(const char *why)) AS_MUSTCHECK;
void local_tls(struct local *local, struct tls_credentials *credentials); /* see host_tls */
bool local_reload(struct local *local,
                  const struct host_participants *participants); /* see host_reload */

/* True if `connection` is the link's, at the node. */
bool local_owns(const struct local *local, uint64_t connection);
/* The node's door: true if `connection` is the link's, and it was dealt with. */
bool local_send(struct local *local, uint64_t connection, struct as_bytes bytes);
bool local_hang_up(struct local *local, uint64_t connection);

/* Delivers what gathered on the link; true if there was anything: both may have more to say then. */
bool local_turn(struct local *local);
/* The turn of the loop ends: statements leave for the databases. */
void local_turn_end(struct local *local);

bool local_drain(struct local *local);
void local_close(struct local *local, void (*closed)(void *ctx), void *ctx);
void local_free(struct local *local); /* takes NULL */

#endif
