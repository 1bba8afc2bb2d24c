/*
 * Places: network namespaces with one cable each to the bridge; and commands in them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inside.h"

/* 127: it could not be run at all. */
static int shell(const struct world *world, int netns, const char *command)
{
    char log_path[200];
    pid_t child;
    int status;

    (void)snprintf(log_path, sizeof(log_path), "%s/log/commands.log", world->dir);
    child = fork();
    if (child == 0) {
        int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);

        signals_default();
        if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
            (netns >= 0 && setns(netns, CLONE_NEWNET)))
            _exit(127);
        (void)dprintf(log, "$ %s\n", command);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

static bool run(const struct world *world, int netns, const char *format, va_list args)
{
    char command[4096];
    int len = vsnprintf(command, sizeof(command), format, args);

    return len > 0 && (size_t)len < sizeof(command) && shell(world, netns, command) == 0;
}

bool world_run(const struct world *world, const char *format, ...)
{
    va_list args;
    bool well;

    va_start(args, format);
    well = run(world, -1, format, args);
    va_end(args);
    return well;
}

bool place_run(struct world *world, const struct place *place, const char *format, ...)
{
    va_list args;
    bool well;

    va_start(args, format);
    well = run(world, place->netns, format, args);
    va_end(args);
    return well;
}

bool bridge_make(struct world *world)
{
    return world_run(world,
                     "mkdir -p /run/netns && ip link set lo up &&"
                     " ip link add bridge type bridge forward_delay 0 stp_state 0 &&"
                     " ip addr add " WORLD_RUNNER_IP "/24 dev bridge && ip link set bridge up");
}

struct place *place_make(struct world *world, const char *name, int last)
{
    struct place *place = &world->places[world->place_count];
    char path[64];

    AS_ASSERT(world->place_count < WORLD_PLACES_MAX);
    (void)snprintf(place->name, sizeof(place->name), "%s", name);
    (void)snprintf(place->ip, sizeof(place->ip), "10.77.0.%d", last);
    (void)snprintf(path, sizeof(path), "/run/netns/%s", name);
    if (!world_run(world,
                   "ip netns add %s && ip link add cable-%d type veth peer name eth0 netns %s &&"
                   " ip link set cable-%d master bridge up && ip -n %s addr add %s/24 dev eth0 &&"
                   " ip -n %s link set lo up && ip -n %s link set eth0 up",
                   name, last, name, last, name, place->ip, name, name)) {
        (void)world_fail(world, "cannot make the place %s: see log/commands.log", name);
        return NULL;
    }
    place->netns = open(path, O_RDONLY | O_CLOEXEC);
    if (place->netns < 0) {
        (void)world_fail(world, "%s: %s", path, strerror(errno));
        return NULL;
    }
    world->place_count++;
    return place;
}
