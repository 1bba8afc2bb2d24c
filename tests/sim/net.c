/*
 * Connections between processes, as TCP has them: bytes in order, cut anywhere, late, or stuck. Nothing is lost
 * in the middle: a connection ends, and each side learns of it in its own time, one of them perhaps much later.
 * What one connection carries may be overtaken by another one.
 */
#include <stdlib.h>

#include "sim.h"

#define HALF_OPEN_MAX (9 * AS_SECOND)
#define SPLIT_PERCENT 15

/* Side 0 has dialled, side 1 has accepted. */
struct sim_link {
    struct as_env *env[2];
    uint64_t number[2];
    bool hears[2];  /* the side has this connection */
    bool ending[2]; /* and will soon learn that it is over */
    bool cut;       /* what is sent from now on arrives nowhere */
    bool dead;
    as_time arrived[2]; /* of what side i has sent: later bytes come no earlier */
    as_time stalled[2];
    struct as_buf out[2];  /* gathered in this turn of side i */
    struct as_buf pipe[2]; /* on the way from side i */
    struct sim_link *next;
};

struct sim_net {
    struct sim_link *links;
    as_time clogged[SIM_PROCS_MAX][SIM_PROCS_MAX];
    struct as_buf piece;
};

void net_open(struct sim *sim)
{
    sim->net = sim_alloc(sim, sizeof *sim->net);
    as_buf_init(&sim->net->piece, SIZE_MAX / 2);
}

static void link_free(struct sim_link *link)
{
    for (int side = 0; side < 2; side++) {
        as_buf_close(&link->out[side]);
        as_buf_close(&link->pipe[side]);
    }
    link->dead = true;
}

void net_close_all(struct sim *sim)
{
    for (struct sim_link *link = sim->net->links; link; link = link->next)
        link_free(link);
    as_buf_close(&sim->net->piece);
}

static void sweep(struct sim_net *net)
{
    struct sim_link **at = &net->links;

    while (*at) {
        struct sim_link *link = *at;

        if (link->hears[0] || link->hears[1]) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        link_free(link);
    }
}

static struct sim_link *link_of(struct as_env *env, uint64_t number, int *ret_side)
{
    for (struct sim_link *link = env->sim->net->links; link; link = link->next) {
        for (int side = 0; side < 2; side++) {
            if (link->env[side] == env && link->number[side] == number && link->hears[side]) {
                *ret_side = side;
                return link;
            }
        }
    }
    return NULL;
}

struct as_env *net_peer(struct as_env *env, uint64_t connection, uint64_t *ret_number)
{
    int side;
    struct sim_link *link = link_of(env, connection, &side);

    if (!link || !link->hears[!side])
        return NULL;
    *ret_number = link->number[!side];
    return link->env[!side];
}

/* --- The end of a connection --- */

static void hears_closed(struct sim *sim, const struct sim_event *event)
{
    struct sim_link *link = event->what;
    int side = (int)event->a;
    struct as_env *env = link->env[side];

    if (link->dead || !link->hears[side])
        return;
    SIM_SAY(sim, 2, "%s: connection %llu is closed", env->name,
            (unsigned long long)link->number[side]);
    sim_mix(sim, 'c', link->number[side]);
    link->hears[side] = false;
    as_buf_clear(&link->out[side]);
    if (env->is_node)
        node_on_closed(env->node, link->number[side], (as_err)event->b);
    else
        agent_on_closed(env->agent, link->number[side], (as_err)event->b);
    proc_after(env);
}

static void tell_closed(struct sim *sim, struct sim_link *link, int side, as_time at, as_err err)
{
    if (!link->hears[side] || link->ending[side])
        return;
    link->ending[side] = true;
    sim_at(sim, at, link->env[side], hears_closed, link, (uint64_t)side, (uint64_t)err);
}

/* --- Bytes --- */

static as_time stuck_until(struct sim *sim, const struct sim_link *link, int from)
{
    as_time clogged = sim->net->clogged[link->env[from]->proc][link->env[!from]->proc];

    return clogged > link->stalled[from] ? clogged : link->stalled[from];
}

static void arrives(struct sim *sim, const struct sim_event *event);

static void arrive_at(struct sim *sim, struct sim_link *link, int from, as_time at, size_t len)
{
    if (at < link->arrived[from])
        at = link->arrived[from];
    link->arrived[from] = at;
    sim_at(sim, at, link->env[!from], arrives, link, (uint64_t)from, len);
}

static void arrives(struct sim *sim, const struct sim_event *event)
{
    struct sim_link *link = event->what;
    int from = (int)event->a;
    size_t len = (size_t)event->b;
    struct as_env *env = link->env[!from];
    struct as_buf *piece = &sim->net->piece;

    if (link->dead)
        return;
    if (!link->hears[!from]) { /* nobody there: reset */
        tell_closed(sim, link, from, sim->now + sim_latency(sim, sim->plan.net_max), AS_ERR_CLOSED);
        return;
    }
    if (stuck_until(sim, link, from) > sim->now) {
        arrive_at(sim, link, from, stuck_until(sim, link, from), len);
        return;
    }
    if (len > link->pipe[from].len)
        len = link->pipe[from].len;
    if (len > 1 && sim_percent(sim, SPLIT_PERCENT)) {
        size_t first = 1 + (size_t)sim_below(sim, len - 1);

        arrive_at(sim, link, from, sim->now + sim_latency(sim, sim->plan.net_max), len - first);
        len = first;
    }
    if (len == 0)
        return;
    as_buf_clear(piece);
    as_put_bytes(piece, link->pipe[from].data, len);
    as_buf_consume(&link->pipe[from], len);
    sim_mix(sim, len, link->number[!from]);
    if (env->is_node)
        node_on_bytes(env->node, link->number[!from], as_buf_bytes(piece));
    else
        agent_on_bytes(env->agent, link->number[!from], as_buf_bytes(piece));
    proc_after(env);
}

void net_send(struct as_env *env, uint64_t connection, struct as_bytes bytes)
{
    int side;
    struct sim_link *link = link_of(env, connection, &side);

    if (link)
        as_put_bytes(&link->out[side], bytes.data, bytes.len);
}

static void flush(struct sim *sim, struct sim_link *link, int side)
{
    size_t len = link->out[side].len;

    if (len == 0)
        return;
    if (!link->cut) {
        as_put_bytes(&link->pipe[side], link->out[side].data, len);
        arrive_at(sim, link, side, sim->now + sim_latency(sim, sim->plan.net_max), len);
    }
    as_buf_clear(&link->out[side]);
}

void net_flush(struct as_env *env)
{
    struct sim *sim = env->sim;

    for (struct sim_link *link = sim->net->links; link; link = link->next) {
        for (int side = 0; side < 2; side++) {
            if (link->env[side] == env && link->hears[side])
                flush(sim, link, side);
        }
    }
}

void net_close(struct as_env *env, uint64_t connection)
{
    struct sim *sim = env->sim;
    int side;
    struct sim_link *link = link_of(env, connection, &side);
    as_time at;

    if (!link)
        return;
    flush(sim, link, side);
    link->hears[side] = false;
    link->cut = true;
    at = link->arrived[side] > sim->now ? link->arrived[side] : sim->now;
    tell_closed(sim, link, !side, at + sim_latency(sim, sim->plan.net_max), AS_OK);
    sweep(sim->net);
}

/* --- Dialling --- */

static void accepts(struct sim *sim, const struct sim_event *event)
{
    struct sim_link *link = event->what;
    struct as_env *env = link->env[1];

    if (link->dead || !link->hears[1])
        return;
    sim_mix(sim, 'a', link->number[1]);
    node_on_accepted(env->node, link->number[1], link->env[0]->name);
    proc_after(env);
}

static void connects(struct sim *sim, const struct sim_event *event)
{
    struct sim_link *link = event->what;

    if (link->dead || !link->hears[0])
        return;
    sim_mix(sim, 'd', link->number[0]);
    if (link->env[0]->is_node)
        node_on_connected(link->env[0]->node, link->number[0]);
    else
        agent_on_connected(link->env[0]->agent, link->number[0]);
    proc_after(link->env[0]);
}

static void reaches(struct sim *sim, const struct sim_event *event)
{
    struct sim_link *link = event->what;
    struct as_env *to = link->env[1];
    as_time stuck;

    if (link->dead || !link->hears[0])
        return;
    stuck = stuck_until(sim, link, 0) > stuck_until(sim, link, 1) ? stuck_until(sim, link, 0)
                                                                  : stuck_until(sim, link, 1);
    if (stuck > sim->now) {
        sim_at(sim, stuck, link->env[0], reaches, link, 0, 0);
        return;
    }
    if (!proc_alive(to) || sim_strikes(sim, SIM_DIAL_REFUSED)) {
        tell_closed(sim, link, 0, sim->now + sim_latency(sim, sim->plan.net_max), AS_ERR_IO);
        return;
    }
    to->connection_last += 2;
    link->number[1] = to->connection_last;
    link->hears[1] = true;
    sim_at(sim, sim->now, to, accepts, link, 0, 0);
    sim_at(sim, sim->now + sim_latency(sim, sim->plan.net_max), link->env[0], connects, link, 0, 0);
}

void net_dial(struct as_env *env, uint64_t connection, const char *address)
{
    struct sim *sim = env->sim;
    struct sim_link *link = sim_alloc(sim, sizeof *link);

    sweep(sim->net);
    link->env[0] = env;
    link->env[1] = &sim->procs[strtoul(address + strlen("node"), NULL, 10)];
    link->number[0] = connection;
    link->hears[0] = true;
    for (int side = 0; side < 2; side++) {
        as_buf_init(&link->out[side], SIZE_MAX / 2);
        as_buf_init(&link->pipe[side], SIZE_MAX / 2);
    }
    link->next = sim->net->links;
    sim->net->links = link;
    sim_at(sim, sim->now + sim_latency(sim, sim->plan.net_max), env, reaches, link, 0, 0);
}

/* --- What goes wrong --- */

/* Soon, or where the other side just vanished without a word, much later. */
static as_time learns_at(struct sim *sim)
{
    if (sim_percent(sim, 25) && !sim->healed)
        return sim->now + sim_between(sim, 1, HALF_OPEN_MAX);
    return sim->now + sim_latency(sim, sim->plan.net_max);
}

void net_proc_died(struct as_env *env)
{
    struct sim *sim = env->sim;

    for (struct sim_link *link = sim->net->links; link; link = link->next) {
        for (int side = 0; side < 2; side++) {
            if (link->env[side] != env || !link->hears[side])
                continue;
            link->hears[side] = false;
            link->cut = true;
            as_buf_clear(&link->out[side]); /* what the turn had gathered never left */
            tell_closed(sim, link, !side, learns_at(sim), AS_ERR_CLOSED);
        }
    }
    sweep(sim->net);
}

static struct sim_link *any_link(struct sim *sim)
{
    uint64_t count = 0, at;
    struct sim_link *link;

    for (link = sim->net->links; link; link = link->next)
        count++;
    if (count == 0)
        return NULL;
    at = sim_below(sim, count);
    for (link = sim->net->links; at > 0; at--)
        link = link->next;
    return link;
}

void net_cut_one(struct sim *sim)
{
    struct sim_link *link = any_link(sim);

    if (!link)
        return;
    SIM_SAY(sim, 1, "the connection of %s with %s is cut", link->env[0]->name, link->env[1]->name);
    link->cut = true;
    tell_closed(sim, link, 0, learns_at(sim), AS_ERR_CLOSED);
    tell_closed(sim, link, 1, learns_at(sim), AS_ERR_CLOSED);
}

void net_stall_one(struct sim *sim)
{
    struct sim_link *link = any_link(sim);
    int from = (int)sim_below(sim, 2);

    if (!link)
        return;
    SIM_SAY(sim, 1, "the connection of %s with %s stalls", link->env[0]->name, link->env[1]->name);
    link->stalled[from] = sim->now + sim_latency(sim, 5 * AS_SECOND);
}

void net_clog(struct sim *sim, uint32_t from, uint32_t to, as_time until)
{
    SIM_SAY(sim, 1, "nothing gets from %s to %s for %.3f s", sim->procs[from].name,
            sim->procs[to].name, (double)(until - sim->now) / (double)AS_SECOND);
    sim->net->clogged[from][to] = until;
}

void net_heal(struct sim *sim)
{
    memset(sim->net->clogged, 0, sizeof sim->net->clogged);
    for (struct sim_link *link = sim->net->links; link; link = link->next)
        link->stalled[0] = link->stalled[1] = sim->now;
}
