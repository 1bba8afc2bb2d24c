/*
 * Inside the shell room:
 *
 *   main.c      arguments, exit codes
 *   settings.c  the configuration file
 *   shell.c     opening, running, draining, closing
 *   env.c       the node's one door to the world; the end of a turn
 *   local.c     participants that this node serves itself
 */
#ifndef ASSENT_SHELL_ENV_H
#define ASSENT_SHELL_ENV_H

#include <uv.h>

#include "assent/env.h"
#include "common/uv/disk.h"
#include "common/uv/net.h"
#include "common/uv/notify.h"
#include "common/uv/pulse.h"
#include "coordinator/shell/local.h"
#include "coordinator/shell/shell.h"

/* What the node knows as its env. */
struct as_env {
    uv_loop_t loop;
    struct node *node;
    struct net *net;
    struct disk *disk;
    struct api *api;
    struct local *local; /* NULL: this node serves no participants itself */

    struct pulse pulse;

    bool stirred; /* the node asked for something since this was cleared */

    /* A WRITE that the node asked for in this turn, not begun yet. One at a time (coordinator/log).
     */
    struct as_disk_op held;
    bool holding;
    bool sync_in_place;
    as_time sync_ns; /* moving average of writes */
    uint64_t write_began;
};

struct shell {
    struct as_env env;
    struct settings settings;
    struct settings_identity identity;
    uv_prepare_t turn;
    uv_signal_t terminate, interrupt, reload;
    uv_timer_t drain;
    struct notify notify;
    uint64_t drain_until_ms;
    uint64_t hand_over_until_ms; /* 0: not begun */
    bool draining;
    uint32_t handles; /* initialised, in the order of shell_open */
};

extern const struct as_env_ops shell_env_ops;

/* Says why, and ends the process with exit code 70. */
_Noreturn void env_end_process(const char *why);
/* `env` is zeroed, its loop is there. */
as_err env_init(struct as_env *env) AS_MUSTCHECK;
/* Of struct net_callbacks and disk_run. */
extern const struct net_callbacks shell_net_callbacks;
void env_on_disk_done(void *ctx, uint64_t ticket, as_err err);
/* Everything that this turn brought is done with: writes, syncs, sends, answers. */
void env_turn_end(struct as_env *env);

#endif
