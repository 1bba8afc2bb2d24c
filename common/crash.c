/*
 * The named crash points (assent/crash.h); test builds only, so this one file of a pure room may
 * use libc. Fault model: it is the fault. A point without a name in AS_CRASH_MAP, or an environment
 * that asks for such a one, would make a test pass for nothing: both end the process.
 */
#include "assent/crash.h"

#include "assent/base.h"

#ifdef AS_CRASH_POINTS

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_ENTRY(name) name,

static const char *const names[] = {AS_CRASH_MAP(NAME_ENTRY)};

static struct {
    bool ready;
    char name[64];         /* empty: no point is armed */
    unsigned long left;    /* hits until it is taken; 0: it was */
    unsigned long marked;  /* hits that wait for as_crash_flush */
    const char *pause_dir; /* NULL: kill */
    const char *dir;       /* may be NULL */
    const char *after;     /* this file exists from when on hits count; NULL: they do */
} armed;

static bool is_known(const char *name)
{
    for (size_t i = 0; i < AS_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

_Noreturn static void refuse(const char *variable, const char *value)
{
    fprintf(stderr, "%s: cannot be \"%s\"\n", variable, value);
    abort();
}

static void read_environment(void)
{
    const char *at = getenv("ASSENT_CRASH_AT"), *action = getenv("ASSENT_CRASH_ACTION");
    const char *colon;
    char *end;
    size_t len;

    armed.ready = true;
    if (!at || !*at)
        return;
    colon = strchr(at, ':');
    len = colon ? (size_t)(colon - at) : strlen(at);
    armed.left = 1;
    if (colon) {
        armed.left = strtoul(colon + 1, &end, 10);
        if (*end || armed.left == 0)
            refuse("ASSENT_CRASH_AT", at);
    }
    if (len >= sizeof(armed.name))
        refuse("ASSENT_CRASH_AT", at);
    memcpy(armed.name, at, len);
    if (!is_known(armed.name))
        refuse("ASSENT_CRASH_AT", at);
    armed.dir = getenv("ASSENT_CRASH_DIR");
    armed.after = getenv("ASSENT_CRASH_AFTER");
    if (action && strncmp(action, "pause:", 6) == 0 && action[6])
        armed.pause_dir = action + 6;
    else if (action && strcmp(action, "kill") != 0)
        refuse("ASSENT_CRASH_ACTION", action);
}

static void make_path(char ret_path[PATH_MAX], const char *dir, const char *what)
{
    int len = snprintf(ret_path, PATH_MAX, "%s/%s.%s", dir, armed.name, what);

    if (len < 0 || len >= PATH_MAX)
        refuse("directory of crash points", dir);
}

static void leave_file(const char *dir)
{
    char path[PATH_MAX];
    int file;

    make_path(path, dir, "reached");
    file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        refuse("directory of crash points", dir);
    close(file);
}

static void take(void)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    char path[PATH_MAX];

    if (armed.dir)
        leave_file(armed.dir);
    if (!armed.pause_dir) {
        kill(getpid(), SIGKILL);
        for (;;) /* SIGKILL is on its way: nothing more of this process may happen */
            nanosleep(&pause, NULL);
    }
    leave_file(armed.pause_dir);
    make_path(path, armed.pause_dir, "continue");
    while (access(path, F_OK) != 0)
        nanosleep(&pause, NULL);
}

/* Whether this is the armed point. */
static bool is_armed(const char *name)
{
    if (!armed.ready)
        read_environment();
    AS_ASSERT(is_known(name));
    if (strcmp(armed.name, name) != 0)
        return false;
    if (armed.after && access(armed.after, F_OK) == 0)
        armed.after = NULL;
    return !armed.after;
}

static void hit(void)
{
    if (armed.left > 0 && --armed.left == 0)
        take();
}

void as_crash_point(const char *name)
{
    if (is_armed(name))
        hit();
}

void as_crash_mark(const char *name)
{
    armed.marked += is_armed(name);
}

void as_crash_flush(void)
{
    for (; armed.marked > 0; armed.marked--)
        hit();
}

#endif
