/*
 * The list of nodes as a person writes it. Fault model: a typo must not make another cluster than
 * the one that was meant, so nothing is guessed or passed over.
 */
#include "coordinator/shell/members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/uv/net.h"

static as_err refuse(char ret_why[300], const char *what, const char *at)
{
    snprintf(ret_why, 300, "nodes: \"%.100s\" %s", at, what);
    return AS_ERR_INVALID;
}

static as_err member_read(const char *at, struct raft_member *ret, char ret_why[300])
{
    unsigned long long id;
    char *end, host[256];
    uint16_t port;

    id = at[0] >= '1' && at[0] <= '9' ? strtoull(at, &end, 10) : 0;
    if (id == 0 || id > UINT32_MAX || *end != '=')
        return refuse(ret_why, "is not ID=HOST:PORT, with the node's id from 1 on", at);
    if (strlen(end + 1) > RAFT_ADDRESS_LEN_MAX)
        return refuse(ret_why, "has an address that is too long", at);
    if (net_address_split(end + 1, host, &port) != AS_OK || port == 0 || host[0] == '\0')
        return refuse(ret_why, "has no address like host:port or [v6]:port", at);
    *ret = (struct raft_member){.id = id, .role = RAFT_VOTER};
    memcpy(ret->address, end + 1, strlen(end + 1) + 1);
    return AS_OK;
}

/* Keeps the list ascending by id. */
static as_err member_add(struct raft_members *members, const struct raft_member *member,
                         const char *at, char ret_why[300])
{
    uint32_t place = members->count;

    if (members->count == RAFT_MEMBERS_MAX)
        return refuse(ret_why, "is one node more than a cluster may have", at);
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].id == member->id)
            return refuse(ret_why, "bears an id that another one bears already", at);
        if (strcmp(members->list[i].address, member->address) == 0)
            return refuse(ret_why, "has the address of another one", at);
    }
    while (place > 0 && members->list[place - 1].id > member->id) {
        members->list[place] = members->list[place - 1];
        place--;
    }
    members->list[place] = *member;
    members->count++;
    return AS_OK;
}

as_err members_read(const char *text, struct raft_members *ret, char ret_why[300])
{
    char list[MEMBERS_TEXT_MAX], *rest = NULL;
    as_err err = AS_OK;

    memset(ret, 0, sizeof(*ret));
    snprintf(list, sizeof(list), "%s", text);
    for (char *at = strtok_r(list, ", ", &rest); at && !err; at = strtok_r(NULL, ", ", &rest)) {
        struct raft_member member;

        err = member_read(at, &member, ret_why);
        if (!err)
            err = member_add(ret, &member, at, ret_why);
    }
    return err;
}

as_err members_incarnation(const char *text, uint64_t *ret)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdefABCDEF") != 16)
        return AS_ERR_INVALID;
    *ret = strtoull(text, NULL, 16);
    return *ret ? AS_OK : AS_ERR_INVALID;
}
