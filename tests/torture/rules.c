/*
 * Packet filters of one strike: two chains of its own in a place, so that strikes which overlap do not know of each other.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "inside.h"

void rules_init(struct rules *rules)
{
    static int numbers;

    *rules = (struct rules){.number = ++numbers};
    rules_add(rules, true, "-s " WORLD_RUNNER_IP " -j RETURN");
    rules_add(rules, false, "-d " WORLD_RUNNER_IP " -j RETURN");
    rules_add(rules, true, "-i lo -j RETURN");
    rules_add(rules, false, "-o lo -j RETURN");
}

void rules_add(struct rules *rules, bool input, const char *format, ...)
{
    size_t room = sizeof(rules->text) - rules->len;
    va_list args;
    int len;

    len =
        snprintf(rules->text + rules->len, room, "-A %s-%d ", input ? "in" : "out", rules->number);
    AS_ASSERT(len > 0 && (size_t)len < room);
    rules->len += (size_t)len;
    room -= (size_t)len;
    va_start(args, format);
    len = vsnprintf(rules->text + rules->len, room, format, args);
    va_end(args);
    AS_ASSERT(len > 0 && (size_t)len + 1 < room);
    rules->len += (size_t)len;
    rules->text[rules->len++] = '\n';
}

/* Gives `text` to iptables-restore in that place, all at once. */
static bool restore(struct world *world, const struct place *place, const struct rules *rules,
                    const char *text)
{
    char path[200];
    FILE *file;
    bool bad;

    (void)snprintf(path, sizeof(path), "%s/etc/rules-%d-%s", world->dir, rules->number,
                   place->name);
    file = fopen(path, "we");
    bad = !file || fprintf(file, "*filter\n%sCOMMIT\n", text) < 0;
    if (file && fclose(file))
        bad = true;
    if (bad)
        return world_fail(world, "cannot write %s", path);
    return place_run(world, place, "iptables-restore -n <%s && rm %s", path, path) ||
           world_fail(world, "iptables refuses %s: see log/commands.log", path);
}

bool rules_put(struct world *world, const struct place *place, const struct rules *rules)
{
    char text[sizeof(rules->text) + 256];
    int n = rules->number;

    (void)snprintf(text, sizeof(text),
                   ":in-%d - [0:0]\n:out-%d - [0:0]\n%.*s-I INPUT 1 -j in-%d\n"
                   "-I OUTPUT 1 -j out-%d\n",
                   n, n, (int)rules->len, rules->text, n, n);
    return restore(world, place, rules, text);
}

bool rules_take_away(struct world *world, const struct place *place, const struct rules *rules)
{
    char text[256];
    int n = rules->number;

    (void)snprintf(text, sizeof(text),
                   "-D INPUT -j in-%d\n-D OUTPUT -j out-%d\n-F in-%d\n-F out-%d\n-X in-%d\n"
                   "-X out-%d\n",
                   n, n, n, n, n, n);
    return restore(world, place, rules, text);
}
