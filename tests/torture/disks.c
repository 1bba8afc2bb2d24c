#include "disks.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "faultfs.h"

#ifndef FAULTFS_PROGRAM
#define FAULTFS_PROGRAM "assent-faultfs"
#endif

#define SMALL_MIB 256
#define DISKS_MAX 12

static struct {
    struct disk each[DISKS_MAX];
    size_t count;
    bool used;
} disks;

bool disks_usable(const struct world *world, char *ret_why, size_t size)
{
    (void)world;
    return faultfs_usable(FAULTFS_PROGRAM, ret_why, size);
}

struct disk *disk_of(const struct place *place)
{
    for (size_t i = 0; i < disks.count; i++)
        if (disks.each[i].place == place)
            return &disks.each[i];
    return NULL;
}

/* --- Telling --- */

static bool tell(const struct disk *disk, char answer[256], const char *format, va_list args)
{
    char order[100];

    (void)vsnprintf(order, sizeof(order), format, args);
    return faultfs_tell(disk->control, answer, 256, "%s", order);
}

bool disk_tell(struct world *world, const struct disk *disk, const char *format, ...)
{
    char answer[256];
    va_list args;
    bool well;

    va_start(args, format);
    well = tell(disk, answer, format, args);
    va_end(args);
    return well || world_fail(world, "the disk of %s was told \"%s\": %s", disk->place->name,
                              format, answer);
}

unsigned long long disk_syncs_failed(const struct disk *disk)
{
    unsigned long long failed = 0;
    char answer[256];
    const char *at;

    if (faultfs_tell(disk->control, answer, sizeof(answer), "status") &&
        (at = strstr(answer, "sync=")))
        (void)sscanf(at, "sync=%llu", &failed);
    return failed;
}

bool disk_power_cut(struct world *world, struct process *process, uint64_t seed)
{
    struct disk *disk = disk_of(process->place);
    char answer[256];
    bool well;

    if (!disk_tell(world, disk, "freeze"))
        return false;
    /* Who waits for an answer of the disk dies when it has one, and that is after the cut. */
    process_expect_end(process, true);
    process_signal(process, SIGKILL);
    well =
        faultfs_tell(disk->control, answer, sizeof(answer), "cut %llu", (unsigned long long)seed);
    if (!well)
        return world_fail(world, "the power cut of %s: %s", process->name, answer);
    world_say("  power cut of %s, seed %llu: %s", process->name, (unsigned long long)seed,
              answer + strlen("ok "));
    process_kill(world, process);
    return disk_tell(world, disk, "heal") && disk_tell(world, disk, "thaw");
}

/* --- Mounting --- */

/* Without reserved blocks: full is full. Where there are no loop devices, in memory. */
static bool small_make(struct world *world, struct disk *disk)
{
    (void)snprintf(disk->small, sizeof(disk->small), "%s/disk/%s.small", world->dir,
                   disk->place->name);
    return world_run(world,
                     "d=%s; mkdir -p $d && truncate -s %dM $d.img && mkfs.ext4 -q -F -m 0"
                     " -E lazy_itable_init=0,lazy_journal_init=0 $d.img && mount -o loop $d.img $d"
                     " || mount -t tmpfs -o size=%dm none $d",
                     disk->small, SMALL_MIB, SMALL_MIB) ||
           world_fail(world, "no small disk for %s: see log/commands.log", disk->place->name);
}

static struct disk *disk_new(struct world *world, const struct place *place, const char *directory)
{
    struct disk *disk = &disks.each[disks.count];

    AS_ASSERT(disks.count < DISKS_MAX);
    *disk = (struct disk){.place = place};
    (void)snprintf(disk->mountpoint, sizeof(disk->mountpoint), "%s", directory);
    (void)snprintf(disk->backing, sizeof(disk->backing), "%s/disk/%s", world->dir, place->name);
    if (snprintf(disk->control, sizeof(disk->control), "%s/disk/%s.sock", world->dir,
                 place->name) >= (int)sizeof(disk->control)) {
        (void)world_fail(world, "%s is too long a path for a socket", world->dir);
        return NULL;
    }
    disks.count++;
    return disk;
}

static bool disk_mount(struct world *world, struct disk *disk, const char *user)
{
    if (!world_run(world, "install -d %s%s -m 700 %s", user ? "-o " : "", user ? user : "",
                   disk->backing))
        return world_fail(world, "cannot make %s", disk->backing);
    return faultfs_mount(FAULTFS_PROGRAM, disk->backing, disk->mountpoint, disk->control,
                         &disk->pid) ||
           world_fail(world, "cannot mount a faultfs at %s", disk->mountpoint);
}

bool disk_under(struct world *world, const struct place *place, const char *directory,
                const char *user)
{
    struct disk *disk;

    if (!disks.used)
        return true;
    disk = disk_new(world, place, directory);
    return disk && disk_mount(world, disk, user);
}

static bool node_disk(struct world *world, const struct node *node)
{
    struct disk *disk = disk_new(world, node->process.place, node->dir);

    if (!disk || !small_make(world, disk))
        return false;
    (void)snprintf(disk->backing, sizeof(disk->backing), "%s/data", disk->small);
    return disk_mount(world, disk, NULL);
}

/* The directory above PGDATA: initdb makes that itself. */
static bool database_disk(struct world *world, const struct database *database)
{
    char above[200];

    (void)snprintf(above, sizeof(above), "%s/%s", world->dir, database->server.place->name);
    return disk_under(world, database->server.place, above, world->postgres_user);
}

bool disks_prepare(struct world *world)
{
    if (disks.used)
        return true;
    disks.used = true;
    if (!world_run(world, "mkdir -p %s/disk && chmod 755 %s/disk", world->dir, world->dir))
        return world_fail(world, "cannot make %s/disk", world->dir);
    for (int i = 0; i < WORLD_NODES; i++)
        if (!node_disk(world, &world->nodes[i]))
            return false;
    for (int i = 0; i < WORLD_DATABASES; i++)
        if (!database_disk(world, &world->databases[i]))
            return false;
    return true;
}

bool disks_settle(struct world *world)
{
    for (size_t i = 0; i < disks.count; i++)
        if (!disk_tell(world, &disks.each[i], "settle"))
            return false;
    return true;
}

void disks_finish(struct world *world)
{
    for (size_t i = 0; i < disks.count; i++) {
        struct disk *disk = &disks.each[i];

        if (!disk->pid)
            continue;
        (void)kill(disk->pid, SIGKILL);
        (void)world_run(world, "umount -l %s", disk->mountpoint);
        if (disk->small[0])
            (void)world_run(world, "umount -l %s", disk->small);
        disk->pid = 0;
    }
}
