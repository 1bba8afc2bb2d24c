/*
 * Delay and reordering, for kernels without netem: arriving packets are sent to a queue of netfilter, and a thread here lets each
 * of them go on when its time has come. The packets themselves stay in the kernel; only their numbers come here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "inside.h"

#define PLACES_MAX 4
#define HELD_MAX 16384 /* packets; further ones go on at once */
#define QUEUE 7

struct held {
    int64_t due_us;
    uint32_t packet;
    uint8_t place;
};

struct hold {
    struct place *places[PLACES_MAX];
    int sockets[PLACES_MAX];
    size_t count;
    struct rules rules;
    int base_ms, jitter_ms;
    struct as_rng rng;
    pthread_t thread;
    atomic_bool stopping;
    struct held held[HELD_MAX]; /* in no order */
    size_t held_count;
};

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- Messages --- */

struct message {
    struct nlmsghdr head;
    struct nfgenmsg family;
    struct nlattr attribute;
    union {
        struct nfqnl_msg_config_cmd command;
        struct nfqnl_msg_config_params params;
        struct nfqnl_msg_verdict_hdr verdict;
        uint32_t number;
    } as;
} __attribute__((packed, aligned(4)));

static bool message_send(int fd, uint16_t type, uint16_t attribute, const void *data, size_t len)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct message message = {
        .head = {.nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type),
                 .nlmsg_flags = NLM_F_REQUEST},
        .family = {AF_UNSPEC, NFNETLINK_V0, htons(QUEUE)},
        .attribute = {(uint16_t)(sizeof(struct nlattr) + len), attribute},
    };

    memcpy(&message.as, data, len);
    message.head.nlmsg_len =
        (uint32_t)(sizeof(message) - sizeof(message.as) + ((len + 3) & ~(size_t)3));
    return sendto(fd, &message, message.head.nlmsg_len, 0, (struct sockaddr *)&kernel,
                  sizeof(kernel)) == (ssize_t)message.head.nlmsg_len;
}

static void let_go(const struct hold *hold, const struct held *held)
{
    struct nfqnl_msg_verdict_hdr verdict = {htonl(NF_ACCEPT), held->packet};

    (void)message_send(hold->sockets[held->place], NFQNL_MSG_VERDICT, NFQA_VERDICT_HDR, &verdict,
                       sizeof(verdict));
}

/* A socket of that namespace, with the queue bound to it. */
static int queue_open(const struct place *place)
{
    struct nfqnl_msg_config_cmd bind_queue = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_INET)};
    struct nfqnl_msg_config_params numbers_only = {htonl(0), NFQNL_COPY_META};
    uint32_t length = htonl(HELD_MAX);
    int bytes = 16 << 20, home, fd = -1;

    /* The process's main thread is the only one that starts others, and it is here. */
    home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home >= 0 && setns(place->netns, CLONE_NEWNET) == 0) {
        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
        AS_ASSERT(setns(home, CLONE_NEWNET) == 0);
    }
    if (home >= 0)
        (void)close(home);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    if (message_send(fd, NFQNL_MSG_CONFIG, NFQA_CFG_CMD, &bind_queue, sizeof(bind_queue)) &&
        message_send(fd, NFQNL_MSG_CONFIG, NFQA_CFG_PARAMS, &numbers_only, sizeof(numbers_only)) &&
        message_send(fd, NFQNL_MSG_CONFIG, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length)))
        return fd;
    (void)close(fd);
    return -1;
}

/* --- The thread --- */

static void packet_take(struct hold *hold, size_t place, const struct nlmsghdr *head)
{
    const char *at = (const char *)head + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
    const char *end = (const char *)head + head->nlmsg_len;
    struct held held = {0, 0, (uint8_t)place};

    for (struct nlattr attribute; at + sizeof(attribute) <= end;
         at += NLA_ALIGN(attribute.nla_len)) {
        memcpy(&attribute, at, sizeof(attribute));
        if (attribute.nla_len < sizeof(attribute))
            return;
        if ((attribute.nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR)
            break;
    }
    if (at + sizeof(struct nlattr) + sizeof(struct nfqnl_msg_packet_hdr) > end)
        return;
    memcpy(&held.packet, at + sizeof(struct nlattr), sizeof(held.packet));
    held.due_us = now_us() + (int64_t)hold->base_ms * 1000;
    if (hold->jitter_ms)
        held.due_us += (int64_t)as_rng_below(&hold->rng, (uint64_t)hold->jitter_ms * 1000);
    if (hold->stopping || hold->held_count == HELD_MAX)
        let_go(hold, &held);
    else
        hold->held[hold->held_count++] = held;
}

static void packets_take(struct hold *hold, size_t place)
{
    _Alignas(8) char buffer[65536];
    ssize_t len;

    while ((len = recv(hold->sockets[place], buffer, sizeof(buffer), 0)) > 0) {
        const struct nlmsghdr *head = (const struct nlmsghdr *)(const void *)buffer;
        unsigned left = (unsigned)len;

        for (; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left))
            if (head->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
                packet_take(hold, place, head);
    }
}

/* In the order in which they are due. Returns ms until the next one is, at most 20. */
static int due_let_go(struct hold *hold)
{
    for (;;) {
        size_t first = 0;
        int64_t wait;

        if (hold->held_count == 0)
            return 20;
        for (size_t i = 1; i < hold->held_count; i++)
            if (hold->held[i].due_us < hold->held[first].due_us)
                first = i;
        wait = hold->held[first].due_us - now_us();
        if (wait > 0 && !hold->stopping)
            return wait > 20000 ? 20 : (int)(wait / 1000) + 1;
        let_go(hold, &hold->held[first]);
        /* Keeps the others in order of arrival: equal times go in that order. */
        memmove(&hold->held[first], &hold->held[first + 1],
                (--hold->held_count - first) * sizeof(hold->held[0]));
    }
}

static void *hold_run(void *ctx)
{
    struct hold *hold = ctx;

    while (!hold->stopping) {
        struct pollfd polls[PLACES_MAX];

        for (size_t i = 0; i < hold->count; i++)
            polls[i] = (struct pollfd){.fd = hold->sockets[i], .events = POLLIN};
        if (poll(polls, hold->count, due_let_go(hold)) > 0)
            for (size_t i = 0; i < hold->count; i++)
                packets_take(hold, i);
    }
    for (size_t i = 0; i < hold->count; i++)
        packets_take(hold, i);
    (void)due_let_go(hold);
    return NULL;
}

/* --- The door --- */

static bool places_queue(struct world *world, struct hold *hold)
{
    rules_init(&hold->rules);
    rules_add(&hold->rules, true, "-j NFQUEUE --queue-num %d", QUEUE);
    for (size_t i = 0; i < hold->count; i++) {
        hold->sockets[i] = queue_open(hold->places[i]);
        if (hold->sockets[i] < 0)
            return world_fail(world, "no queue of packets in %s: %s", hold->places[i]->name,
                              strerror(errno));
        if (!rules_put(world, hold->places[i], &hold->rules))
            return false;
    }
    return true;
}

struct hold *hold_begin(struct world *world, struct place *const *places, size_t count, int base_ms,
                        int jitter_ms, uint64_t seed)
{
    struct hold *hold = calloc(1, sizeof(*hold));
    sigset_t all, before;

    AS_ASSERT(hold && count <= PLACES_MAX);
    memcpy(hold->places, places, count * sizeof(*places));
    hold->count = count;
    hold->base_ms = base_ms;
    hold->jitter_ms = jitter_ms;
    hold->rng.state = seed;
    if (!places_queue(world, hold)) {
        free(hold);
        return NULL;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    AS_ASSERT(pthread_create(&hold->thread, NULL, hold_run, hold) == 0);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return hold;
}

bool hold_end(struct world *world, struct hold *hold)
{
    bool well = true;

    for (size_t i = 0; i < hold->count; i++) /* first, so that no further packet comes */
        well = rules_take_away(world, hold->places[i], &hold->rules) && well;
    hold->stopping = true;
    (void)pthread_join(hold->thread, NULL);
    for (size_t i = 0; i < hold->count; i++)
        (void)close(hold->sockets[i]);
    free(hold);
    return well;
}
