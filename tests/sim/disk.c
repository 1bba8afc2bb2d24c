/*
 * A node's disk: tests/support/fake_disk.h with time. An operation takes a while; a crash meanwhile leaves it
 * done, undone or torn.
 */
#include <stdlib.h>

#include "observe.h"
#include "sim.h"
#include "tests/support/fake_disk.h"

#define RECORDS_AT 4096 /* docs/log-format.md, "Segment" */
#define MARK_BYTES 56
#define KIND_AT 48
#define KIND_MARK 3

struct sim_disk {
    struct fake_disk fake;
    char marked[AS_FILE_NAME_MAX +
                1]; /* the last write was a MARK into this file: all before it is claimed */
    uint64_t mark_at;
    struct {
        char name[AS_FILE_NAME_MAX + 1];
        uint64_t at;
        uint8_t bit;
    } rot;
};

void disk_new(struct as_env *env)
{
    env->disk = sim_alloc(env->sim, sizeof *env->disk);
    fake_init(&env->disk->fake, as_rng_next(&env->sim->rng));
}

void disk_free(struct as_env *env)
{
    fake_close(&env->disk->fake);
}

struct as_disk disk_door(struct as_env *env)
{
    return fake_door(&env->disk->fake);
}

/* --- Operations --- */

static void note_mark(struct sim_disk *disk, const struct as_disk_op *op)
{
    disk->marked[0] = '\0';
    if (op->kind != AS_DISK_WRITE || op->offset < RECORDS_AT || op->bytes.len != MARK_BYTES ||
        op->bytes.data[KIND_AT] != KIND_MARK)
        return;
    memcpy(disk->marked, op->name, sizeof disk->marked);
    disk->mark_at = op->offset;
}

static void complete(struct as_env *env, uint64_t ticket)
{
    struct fake_disk *fake = &env->disk->fake;
    struct as_disk_op op;
    size_t i = 0;
    as_err err;

    while (i < fake->queued && fake->queue[i].ticket != ticket)
        i++;
    AS_ASSERT(i < fake->queued);
    err = fake_finish(fake, i, &op);
    if (err == AS_ERR_IO && sim_percent(env->sim, 50))
        (void)fake_apply(fake, &op, true);
    note_mark(env->disk, &op);
    SIM_SAY(env->sim, 2, "%s: disk operation %d of %s at %llu, %zu bytes: %s", env->name,
            (int)op.kind, op.name, (unsigned long long)op.offset, op.bytes.len, as_err_text(err));
    sim_mix(env->sim, ticket, (uint64_t)err);
    if (!err && op.kind == AS_DISK_WRITE)
        observe_written(env, &op, true);
    node_on_disk_done(env->node, ticket, err);
}

static void completes(struct sim *sim, const struct sim_event *event)
{
    struct as_env *env = event->proc;

    (void)sim;
    if (env->held == event)
        env->held = NULL;
    complete(env, event->a);
    proc_after(env);
}

void disk_start(struct as_env *env, const struct as_disk_op *op)
{
    struct sim *sim = env->sim;
    as_time takes = sim_latency(sim, sim->plan.write_max);
    struct sim_event *event;

    if (sim_strikes(sim, SIM_DISK_SLOW))
        takes += sim_latency(sim, 3 * AS_SECOND);
    fake_start(&env->disk->fake, op);
    event = sim_at(sim, sim->now + takes, env, completes, NULL, op->ticket, 0);
    if (op->kind == AS_DISK_WRITE) {
        observe_written(env, op, false);
        env->held = event;
    }
}

void disk_write_here(struct as_env *env)
{
    struct sim_event *event = env->held;
    uint64_t ticket = event->a;

    env->held = NULL;
    sim_cancel(env->sim, event);
    complete(env, ticket);
}

/* --- What goes wrong --- */

void disk_died(struct as_env *env, bool power)
{
    if (env->disk->fake.queued > 0)
        env->disk->marked[0] = '\0';
    if (power)
        fake_power_cut(&env->disk->fake);
    else
        fake_kill(&env->disk->fake);
}

void disk_fail_soon(struct as_env *env, as_err err, uint64_t operations)
{
    struct fake_disk *fake = &env->disk->fake;

    fake->fail_at = fake->ops + 1 + operations;
    fake->fail_err = err;
    fake->fail_in_part = true;
    fake->failed = false;
}

bool disk_failed(struct as_env *env)
{
    struct fake_disk *fake = &env->disk->fake;
    bool failed = fake->failed;

    fake->fail_at = 0;
    fake->failed = false;
    return failed;
}

void disk_fill(struct as_env *env, bool full)
{
    struct fake_disk *fake = &env->disk->fake;

    fake->space = full ? fake_used(fake) + 1 : 0;
}

static void flip(struct sim_disk *disk)
{
    struct fake_file *file = fake_find(&disk->fake, disk->rot.name);

    if (!file || disk->rot.at >= file->seen.size || disk->rot.at >= file->durable.size)
        return;
    file->seen.data[disk->rot.at] ^= disk->rot.bit;
    file->durable.data[disk->rot.at] ^= disk->rot.bit;
}

bool disk_rot(struct as_env *env)
{
    struct sim_disk *disk = env->disk;

    if (!disk->marked[0] || disk->mark_at <= RECORDS_AT || disk->fake.queued > 0)
        return false;
    memcpy(disk->rot.name, disk->marked, sizeof disk->rot.name);
    disk->rot.at = RECORDS_AT + sim_below(env->sim, disk->mark_at - RECORDS_AT);
    disk->rot.bit = (uint8_t)(1u << sim_below(env->sim, 8));
    flip(disk);
    return true;
}

void disk_unrot(struct as_env *env)
{
    flip(env->disk);
}

void disk_copy(struct as_env *to, const struct as_env *from)
{
    to->disk = sim_alloc(to->sim, sizeof *to->disk);
    fake_copy(&to->disk->fake, &from->disk->fake);
    to->disk->fake.queued = 0;
}
