/*
 * An intrusive doubly linked list. A zeroed link is in no list; a head is a link that points at
 * itself.
 */
#ifndef ASSENT_TXN_LIST_H
#define ASSENT_TXN_LIST_H

#include "assent/base.h"

struct txn_link {
    struct txn_link *prev, *next;
};

#define TXN_OF(link, type, field) ((type *)(void *)((char *)(link)-offsetof(type, field)))

static inline void txn_list_init(struct txn_link *head)
{
    head->prev = head->next = head;
}

static inline bool txn_list_empty(const struct txn_link *head)
{
    return head->next == head;
}

static inline bool txn_link_in(const struct txn_link *link)
{
    return link->next != NULL;
}

static inline void txn_link_before(struct txn_link *at, struct txn_link *link)
{
    link->prev = at->prev;
    link->next = at;
    at->prev->next = link;
    at->prev = link;
}

static inline void txn_list_append(struct txn_link *head, struct txn_link *link)
{
    txn_link_before(head, link);
}

/* Takes a link out; nothing happens if it is in no list. */
static inline void txn_link_remove(struct txn_link *link)
{
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* Moves all of `from` behind what `to` holds. */
static inline void txn_list_splice(struct txn_link *to, struct txn_link *from)
{
    if (txn_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    txn_list_init(from);
}

#endif
